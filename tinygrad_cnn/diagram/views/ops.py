"""What the views `ops`, `arch` and `teach` put on the cards; the other views start from here."""

import math
import re
import textwrap
from collections.abc import Sequence

from ...graph import Node, Outline, Tensor
from ...notation import LEGEND
from ...observation import Summary, norm
from .. import images
from ..captions import by, is_sign, number, operand, percent, some
from ..cuts import Break
from ..folding import Stack
from ..model import Card, Row, Strip
from ..skeleton import COLLECTED, Skeleton, count


class View:
    """One question about a graph: the words, widths and problems that answer it. This one: which ops, which shapes?"""

    is_backward = False  # whether the arrows show gradients on their way back

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton

    def rows(self, node: Node) -> tuple[Row, ...]:
        """Rows of an op's card below its facts."""
        record = self.skeleton.record(node)
        if record is None or record.value is None or is_sign(node):
            return ()
        return statistics(record.value)

    def strips(self, node: Node) -> tuple[Strip, ...]:
        """Small pictures of an op's card."""
        return ()

    def problem(self, node: Node) -> str:
        """What is wrong at an op."""
        return ""

    def causes(self) -> frozenset[Node]:
        """The ops that no picture of this view may fold away."""
        return frozenset()

    def constant_problem(self, outline: Outline) -> str:
        """What is wrong with a constant."""
        return ""

    def leaf_rows(self, leaf: Node) -> tuple[Row, ...]:
        """Rows of a parameter's note below its shape."""
        return (self.leaf_gradient(leaf),)

    def leaf_problem(self, leaf: Node) -> str:
        """What is wrong at a parameter."""
        return ""

    def leaf_gradient(self, leaf: Node) -> Row:
        """The norm of a leaf's gradient, or that there is none."""
        gradient = self.skeleton.gradient(leaf)
        if gradient is None:
            return Row("∂ not computed", "gradient")
        before = " collected" if self.skeleton.state == COLLECTED else ""
        return Row(f"‖∂‖ {number(norm(gradient.array))}{before}", "gradient")

    def flow(self, parent: Node, node: Node, k: int) -> tuple[Row, ...]:
        """The label of the edge to an op from its k-th parent: the shape, and the gradient that came back along it."""
        sent = part(self.skeleton, node, k)
        if sent is None and len(self.skeleton.consumers[parent]) == 1:
            kept = self.skeleton.gradient(parent)
            sent = None if kept is None else norm(kept.array)
        rows = (Row(shape(parent, node, k)),)
        return rows if sent is None else (*rows, Row(f"∂ {number(sent)}", "gradient"))

    def width(self, parent: Node, node: Node, k: int) -> float:
        """Of that edge's line."""
        return 1.2

    def is_poisoned(self, source: Node | Outline, node: Node) -> bool:
        """Whether the edge from what enters an op is drawn as part of a problem."""
        return False

    def stack_rows(self, stack: Stack) -> tuple[Row, ...]:
        """Rows of a stack's card below its class and counts: the norm of the gradient of each copy."""
        norms = [gradient_norm(self.skeleton, copy) for copy in stack.copies]
        if all(value is None for value in norms):
            return ()
        words = ["none" if value is None else number(value) for value in norms]
        return (Row(f"‖∂‖ {some(words, 5, ' → ')}", "gradient"),)

    def note(self, nodes: Sequence[Node]) -> str:
        """What stands beside a module's class."""
        parameters = count(self.skeleton.parameters(list(nodes)))
        return f"{parameters:,} params" if parameters else ""

    def legend(self) -> tuple[Row, ...]:
        """Lines below the title."""
        return (
            Row("arrows: what flows forward, with its shape", "quiet"),
            Row("∂: the gradient of the result, in Euclidean norm ‖·‖, on its way back", "gradient"),
        )

    def loose(self) -> list[tuple[Card, Break | None]]:
        """Cards beside the graph, and where one would lead to if nothing cut it off."""
        return []


class Teach(View):
    """How does every gradient come about? The formula of each rule, statistics, and pictures of what flows."""

    def legend(self) -> tuple[Row, ...]:
        used = " ".join(row.text for node in self.skeleton.ops for row in formulas(node))
        lines = [line for meaning in symbols(used) for line in textwrap.wrap(meaning, 100, subsequent_indent="   ")]
        return (*super().legend(), *(Row(line, "quiet") for line in lines))

    def rows(self, node: Node) -> tuple[Row, ...]:
        return (*super().rows(node), *formulas(node))

    def strips(self, node: Node) -> tuple[Strip, ...]:
        record = self.skeleton.record(node)
        if record is None:
            return ()
        found = [images.values(record.value) if record.value is not None and len(node.shape) > 2 else None]
        if record.gradient is not None and len(node.shape) > 2:
            found.append(images.gradients(record.gradient))
        op = node.plan.op
        if op.name.startswith("conv") and "w" in op.inputs:
            kernel = record.inputs.get(op.inputs.index("w"))
            if kernel is not None:
                first = " of the first filter" if kernel.shape[1] > 1 else ""
                found.append(images.values(kernel, f"kernels{first}"))
        return tuple(strip for strip in found if strip is not None)


def shape(parent: Node, node: Node, k: int) -> str:
    """The shape on the edge to an op from its k-th parent, behind a sign where the order of the operands matters."""
    return f"{operand(node, k)} {by(parent.shape)}".lstrip()


def symbols(used: str) -> list[str]:
    """What the signs in some formulas mean."""
    meanings = [f"{name}: {meaning}" for name, meaning in LEGEND.items() if _occurs(name, used)]
    if "⋆" in used:
        meanings.append("⋆: cross-correlation, ⋆ᵀ and ⋆ʷ: its adjoints in the image and in the kernels")
    return meanings


def _occurs(name: str, used: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", used) is not None


def statistics(summary: Summary) -> tuple[Row, ...]:
    """Mean, deviation and range of an output on one line; of a scalar, nothing that its value does not say."""
    if summary.size < 2:
        return ()
    words = [f"μ {number(summary.mean)}  σ {number(summary.std)}  [{number(summary.low)}, {number(summary.high)}]"]
    if not summary.is_finite:
        kinds = {"nan": summary.nans, "inf": summary.infs - summary.minus_infs, "−inf": summary.minus_infs}
        others = [f"{n:,} {what}" for what, n in kinds.items() if n]
        words = [", ".join(others), *(words if math.isfinite(summary.mean) else [])]
    elif summary.zeros and summary.low == 0:
        words.append(f"{percent(summary.zeros / summary.size)} zero")
    return (Row("  ".join(words), "quiet"),)


def formulas(node: Node) -> tuple[Row, ...]:
    """One line for each input that a gradient flows to."""
    op = node.plan.op
    names = dict.fromkeys([op.variadic] if op.variadic else [op.inputs[i] for i in node.plan.indices])
    return tuple(Row(f"∂{name} = {op.formulas[name]}", "gradient") for name in names if name in op.formulas)


def part(skeleton: Skeleton, node: Node, k: int) -> float | None:
    """The norm of what an op's rule sent back to its k-th parent, where it was watched."""
    record = skeleton.record(node)
    sent = record.parts.get(node.plan.indices[k]) if record is not None else None
    return None if sent is None else sent.norm


def gradient_norm(skeleton: Skeleton, nodes: Sequence[Node]) -> float | None:
    """The norm of the gradients of all parameters of some ops together."""
    kept: list[Tensor | None] = [skeleton.gradient(leaf) for leaf in skeleton.parameters(list(nodes))]
    norms = [norm(gradient.array) for gradient in kept if gradient is not None]
    return math.hypot(*norms) if norms else None
