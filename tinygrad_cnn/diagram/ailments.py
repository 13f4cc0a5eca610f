"""What is wrong in a graph: nan and inf by their first cause, dead units, gradients that vanish, explode or never come.

The bounds are conventions, wide enough to be silent on networks that train.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..graph import Node, Outline, Tensor
from ..observation import Summary, norm
from ..provenance import came_in_with, not_finite, reason
from .captions import family, number, percent
from .cuts import Break, find_break
from .known import Known
from .skeleton import Skeleton, outlines

MOSTLY_ZERO = 0.9  # of an activation's values, above which its units count as dead
DEAD_CHANNELS = 0.5  # of an activation's channels, zero in the whole batch
LEAST_STEP, LARGEST_STEP = 1e-7, 1e2  # of ‖∂‖ / ‖w‖ of a parameter
LARGEST_FACTOR = 1e3  # by which one op may enlarge or shrink the gradient
FIRST = "of the gradients here"
_STEADY = ("conv", "act", "norm", "math")  # families that should keep a gradient's size; sums and means do not


@dataclass(frozen=True)
class Sick:
    """A value with nan or inf. origin: what has the first one on the way to it, and its title; None if it is this one.

    is_sure: whether all inputs are known. why: what made it so, of an op that made it.
    """

    value: Summary
    origin: Node | Outline | None
    title: str
    is_sure: bool = True
    why: str = ""

    @property
    def words(self) -> str:
        """first −inf (3,136 values) here"""
        what = not_finite(self.value)
        if self.origin is not None:
            came_in = self.origin.plan is None if isinstance(self.origin, Node) else True
            return f"{what}, which came in with {self.title}" if came_in else f"{what}, inherited from {self.title}"
        return f"first {what} here" if self.is_sure else f"first {what} that is known"


class Ailments:
    """The problems of a graph, in words, by Node."""

    def __init__(self, skeleton: Skeleton, parameters: Mapping[str, Tensor]) -> None:
        self.skeleton, self.known = skeleton, Known(skeleton)
        self._parameters = parameters
        self._of_ops: dict[Node, list[str]] = {}  # a card, the legend and the folding ask

    @cached_property
    def sick(self) -> dict[Node | Outline, Sick]:
        """The ops, leaves and constants whose values are known not to be finite, in order."""
        found: dict[Node | Outline, Sick] = {}
        behind: dict[Node | Outline, tuple[Node | Outline, str]] = {}  # the origin of what an unknown value was made of
        for node in self.skeleton.nodes:
            sources: list[Node | Outline] = list(node.parents)
            for i, outline in outlines(node):
                sources.append(outline)
                seen = self.known.value(outline)
                if seen is not None and not seen.is_finite and outline not in found:
                    name = self.skeleton.constant_name(outline, node, i)
                    found[outline] = Sick(seen, None, name)
                    behind[outline] = (outline, name)
            source = came_in_with((source, source in behind) for source in sources)
            origin = behind[source] if source is not None else None
            value = self.known.value(node)
            title = self.skeleton.title(node)
            if value is None:
                if origin is not None:
                    behind[node] = origin
            elif not value.is_finite:
                first, called = origin if origin is not None else (None, title)
                is_sure = None not in map(self.known.value, sources)
                why = self._why(node, value) if is_sure and origin is None and node.plan is not None else ""
                found[node] = Sick(value, first, called, is_sure, why)
                behind[node] = origin or (node, title)
        return found

    def _why(self, node: Node, out: Summary) -> str:
        """What made nan or inf of the finite inputs of an op."""
        op = node.plan.op
        inputs = dict(outlines(node)) | dict(zip(node.plan.indices, node.parents, strict=False))
        known = {op.variadic or op.inputs[i]: self.known.value(key) for i, key in sorted(inputs.items())}
        return reason(op.name, {name: value for name, value in known.items() if value is not None}, out)

    @cached_property
    def causes(self) -> frozenset[Node]:
        """The ops where nan or inf came up first, forward or in the gradients, or came in."""
        first = {key for key, sick in self.sick.items() if sick.origin is None}
        found = {node for node in first if isinstance(node, Node) and node.plan is not None}
        for node in self.skeleton.ops:
            entering = [*(p for p in node.parents if p.plan is None), *(outline for _, outline in outlines(node))]
            if not first.isdisjoint(entering) or any(FIRST in problem for problem in self._gradient(node)):
                found.add(node)
        return frozenset(found)

    def is_sick(self, node: Node | Outline) -> bool:
        """Whether a value is known to hold nan or inf."""
        return node in self.sick

    def sends_sick(self, node: Node, k: int) -> bool:
        """Whether an op's rule is known to have sent nan or inf to its k-th parent."""
        record = self.skeleton.record(node)
        sent = record.parts.get(node.plan.indices[k]) if record is not None else None
        return sent is not None and not sent.is_finite

    def of_op(self, node: Node) -> list[str]:
        """The problems at an op, the gravest first."""
        if node not in self._of_ops:
            self._of_ops[node] = self._problems(node)
        return self._of_ops[node]

    def _problems(self, node: Node) -> list[str]:
        found = []
        if node in self.sick:
            found.append(self.sick[node].words)
        else:
            found += self._gradient(node)
        value = self.known.value(node)
        if value is not None and family(node.plan.op.name)[0] == "act" and value.size > 1:
            share = value.zeros / value.size
            channels = f", {value.dead} of {value.channels} channels never on" if value.dead else ""
            if share >= MOSTLY_ZERO or (value.channels and value.dead / value.channels >= DEAD_CHANNELS):
                found.append(f"dead units: {percent(share)} zero{channels}")
        return found

    def _gradient(self, node: Node) -> list[str]:
        record = self.skeleton.record(node)
        if record is None or record.gradient is None:
            return []
        arrived, op = record.gradient, node.plan.op
        if not arrived.is_finite:
            return []
        parts = [(i, op.variadic or op.inputs[i], sent) for i, sent in record.parts.items()]
        for _, name, sent in parts:
            if not sent.is_finite:
                return [f"∂{name}: first {not_finite(sent)} {FIRST}"]
        for i, name, sent in parts:
            if family(op.name)[0] in _STEADY and i == 0 and arrived.norm > 0:
                factor = sent.norm / arrived.norm
                if factor > LARGEST_FACTOR:
                    return [f"exploding: ‖∂{name}‖ is {number(factor)} times ‖∂out‖"]
                if 0 < factor < 1 / LARGEST_FACTOR:
                    return [f"vanishing: ‖∂{name}‖ is 1/{number(1 / factor)} of ‖∂out‖"]
                if factor == 0:
                    return [f"the gradient stops here: ∂{name} is 0 everywhere"]
        return []

    @cached_property
    def _first_sick_gradient(self) -> bool:
        """Whether it is known where nan or inf came into the gradients: forward, or at the rule of an op."""
        return bool(self.sick) or any(FIRST in p for node in self.skeleton.ops for p in self._gradient(node))

    def of_constant(self, constant: Outline) -> str:
        """The problem at a constant, or ""."""
        return f"holds {not_finite(self.sick[constant].value)}" if constant in self.sick else ""

    def of_leaf(self, leaf: Node) -> str:
        """The problem at a parameter, or ""."""
        if leaf in self.sick:
            return f"holds {not_finite(self.sick[leaf].value)}"
        gradient = self.skeleton.gradient(leaf)
        if gradient is None or not gradient.array.size:
            return ""
        size = norm(gradient.array)
        if not math.isfinite(size):
            return "" if self._first_sick_gradient else f"‖∂‖ is {size}"  # the red way leads from there
        if size == 0:
            source = self.zero_source(leaf)
            return "the gradient is 0 everywhere" + (f": {self.skeleton.title(source)} stops it" if source else "")
        whole = self._norm(leaf)
        if whole is None or not 0 < whole < math.inf:
            return ""
        step = size / whole
        if step < LEAST_STEP:
            return f"vanishing: ‖∂‖ is {number(step)} of ‖w‖"
        return f"exploding: ‖∂‖ is {number(step)} times ‖w‖" if step > LARGEST_STEP else ""

    def zero_source(self, node: Node) -> Node | None:
        """The first op on the way back to a Node that is known to send nothing but zeros there."""
        return self._zero_sources.get(node)

    @cached_property
    def _zero_sources(self) -> dict[Node, Node]:
        found: dict[Node, Node] = {}
        for op in reversed(self.skeleton.ops):
            record = self.skeleton.record(op)
            if record is None or record.gradient is None:
                continue
            for k, parent in enumerate(op.parents):
                sent = record.parts.get(op.plan.indices[k])
                if sent is not None and sent.norm == 0 and (record.gradient.norm or op in found):
                    found.setdefault(parent, op if record.gradient.norm else found[op])
        return found

    def _norm(self, leaf: Node) -> float | None:
        """Of a leaf's values when they were used; of those it has now, where the graph has forgotten them."""
        value = self.known.value(leaf)
        if value is not None:
            return value.norm
        tensor = self.skeleton.tensor(leaf)
        return norm(tensor.array) if tensor is not None else None

    @cached_property
    def unreached(self) -> dict[str, Break | None]:
        """The parameters that no path leads from to the loss, and where it breaks off if that was watched."""
        inside = set(self.skeleton.nodes)
        found: dict[str, Break | None] = {}
        for name, parameter in self._parameters.items():
            if parameter.node is None or parameter.node in inside:
                continue
            found[name] = find_break(self.skeleton, parameter.node)
        return found
