"""What one may ask of a graph: where does nan come from, why has p no gradient, how does a lead to b, what is kept?"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from ..graph import Node, Outline, Tensor
from ..observation import norm
from .ailments import FIRST, Ailments
from .captions import amount, by, number
from .cuts import find_break
from .kept import because, kept_memory
from .skeleton import COLLECTED, Skeleton, key_of, op_name

Rows = list[tuple[str, ...]]
Named = tuple[Node, str]


class Answer(NamedTuple):
    """A sentence, a table, and the Nodes to mark; None marks nothing."""

    sentence: str
    columns: tuple[str, ...]
    rows: Rows
    marked: set[Node] | None


def nan_causes(skeleton: Skeleton, parameters: Mapping[str, Tensor]) -> Answer:
    """The ops and leaves that hold nan or inf, the first cause first, then what inherited it."""
    ailments = Ailments(skeleton, parameters)
    rows: Rows = []
    marked = {key for key in ailments.sick if isinstance(key, Node)}
    for key, sick in ailments.sick.items():
        if isinstance(key, Outline):
            rows.append((sick.title, ailments.of_constant(key), ""))
        else:
            words = sick.words if key.plan is not None else ailments.of_leaf(key)
            rows.append((skeleton.title(key), words, line(skeleton, key)))
    for node in reversed(skeleton.ops):
        if found := [problem for problem in ailments.of_op(node) if FIRST in problem]:
            marked.add(node)
            rows += [(skeleton.title(node), problem, line(skeleton, node)) for problem in found]
    for leaf in skeleton.leaves:
        gradient = skeleton.gradient(leaf)
        if gradient is not None and not math.isfinite(size := norm(gradient.array)):
            marked.add(leaf)
            rows.append((skeleton.title(leaf), f"‖∂‖ is {size}", ""))
    known = sum(ailments.known.value(node) is not None for node in skeleton.nodes)
    total = len(skeleton.nodes)
    if not rows:
        hint = "" if known == total else "; record the forward pass under tg.watch() to know all"
        return Answer(f"no nan or inf among the values of {known} of {total} nodes that are known{hint}", (), [], None)
    why = next((f"; {sick.why}" for sick in ailments.sick.values() if sick.why), "")
    answer = f"{rows[0][0]}: {rows[0][1]}{why}"
    return Answer(answer, ("where", "what", "recorded at"), rows, marked)


def no_gradient(skeleton: Skeleton, parameter: Tensor, name: str) -> Answer:
    """Why a Tensor has no gradient, or that it has one; the rows are the ops on the way to where it stops."""
    node = parameter.node
    columns = ("step", "op", "output", "recorded at")
    if node is None:
        key = getattr(parameter, "outline", None)
        used = [op for op in skeleton.ops if any(constant is key for _, constant in op.constants)] if key else []
        where = f"; it is used by {', '.join(skeleton.title(op) for op in used[:3])} as a constant" if used else ""
        if parameter.dtype.kind != "f":
            said = f"{name} is {parameter.dtype}, and only float Tensors have gradients{where}"
            return Answer(said, (), [], set(used) or None)
        return Answer(f"{name} does not require grad: call {name}.requires_grad_(){where}", (), [], set(used) or None)
    if node in skeleton.number:
        way = skeleton.between(node, skeleton.root)
        rows = _steps(skeleton, [op for op in skeleton.ops if op in way])
        return Answer(_reached(skeleton, node, name), columns, rows, way)
    cut = find_break(skeleton, node)
    if cut is None:
        hint = (
            ""
            if skeleton.is_watched
            else "; run the forward pass under tg.watch() to see whether something cuts it off"
        )
        return Answer(f"{name} has no path to this result: no op that leads to it uses {name}{hint}", (), [], None)
    rows = [(str(i), op_name(op), by(op.shape), line(skeleton, op)) for i, op in enumerate(cut.way, 1)]
    at = f"{cut.cut.line[0]}:{cut.cut.line[1]}" if cut.cut.line else ""
    rows.append((str(len(rows) + 1), f"{cut.cut.op} ← here it stops", "", at))
    rows.append((str(len(rows) + 1), skeleton.title(cut.user), by(cut.user.shape), line(skeleton, cut.user)))
    where = f" at {at}" if at else ""
    return Answer(
        f"{name} has no path to this result: {cut.words}{where}; {_remedy(cut.cut.why)}", columns, rows, {cut.user}
    )


def _remedy(why: str) -> str:
    return {
        "detach": "leave out the detach (or .data) if the gradient should flow",
        "no_grad": "run it outside no_grad if the gradient should flow",
    }.get(why, "only ops with a gradient rule let gradients through")


def _reached(skeleton: Skeleton, node: Node, name: str) -> str:
    gradient = skeleton.gradient(node)
    if gradient is not None:
        size = norm(gradient.array)
        if size:
            before = "; perhaps of another result, whose backward came first" if skeleton.state == COLLECTED else ""
            return f"{name} has a gradient: ‖∂‖ {number(size)}{before}"
        return f"{name} has a gradient, and it is 0 everywhere{_where_zero(skeleton, node)}"
    if node.plan is not None:
        return f"{name} is the result of an op: call retain_grad() on it before backward to keep its gradient"
    return f"{name} has a path to this result, but no backward has come this way: call backward()"


def _where_zero(skeleton: Skeleton, node: Node) -> str:
    source = Ailments(skeleton, {}).zero_source(node)
    if source is not None:
        return f": {skeleton.title(source)} sends zeros on"
    return "" if skeleton.is_watched else "; run the forward pass under tg.watch() to see which op makes it so"


def between(skeleton: Skeleton, a: Named, b: Named) -> Answer:
    """The ops on all ways from a to b, in order."""
    (first, first_name), (last, last_name) = a, b
    way = skeleton.between(first, last)
    if not way:
        back = " (but one leads back)" if skeleton.between(last, first) else ""
        return Answer(f"no path leads from {first_name} to {last_name}{back}", (), [], None)
    ops = [node for node in skeleton.ops if node in way]
    columns = ("step", "op", "output", "recorded at")
    return Answer(f"{len(ops)} ops from {first_name} to {last_name}", columns, _steps(skeleton, ops), way)


def _steps(skeleton: Skeleton, ops: list[Node]) -> Rows:
    return [(str(i), skeleton.title(op), by(op.shape), line(skeleton, op)) for i, op in enumerate(ops, 1)]


def kept_arrays(skeleton: Skeleton) -> Answer:
    """What every op keeps for backward, which step frees it, and the memory at that step."""
    memory = kept_memory(skeleton)
    rows: Rows = []
    for node in skeleton.ops:
        for kept in memory.kept[node]:
            size = amount(kept.bytes, "B")
            live = amount(memory.live[node], "B")
            why = because(skeleton, kept)
            rows.append((skeleton.title(node), kept.reason, size, why, f"step {memory.step[node]}", live))
    peak = f"; the peak is {amount(memory.peak, 'B')}" if memory.peak else ""
    at = f" at {skeleton.title(memory.at_peak)}" if memory.at_peak is not None else ""
    answer = f"{amount(memory.total, 'B')} are kept for backward{peak}{at}"
    return Answer(answer, ("op", "keeps", "bytes", "counted elsewhere", "freed", "live then"), rows, None)


def line(skeleton: Skeleton, node: Node) -> str:
    """file:line of an op that was watched."""
    record = skeleton.record(node) if node.plan is not None else None
    return f"{record.line[0]}:{record.line[1]}" if record is not None and record.line is not None else ""


def find(skeleton: Skeleton, wanted: Tensor | str) -> tuple[Node | None, str]:
    """The Node of a Tensor, or of a name that the picture shows, and what it is called.

    Raises ValueError for a name that the graph does not have, TypeError for what is neither.
    """
    if isinstance(wanted, Tensor):
        key = key_of(wanted)
        if isinstance(key, Outline) or key is None or key not in skeleton.number:
            name = next((name for name, tensor in skeleton.tensors.items() if tensor is wanted), "the Tensor")
            return key if isinstance(key, Node) else None, name
        return key, skeleton.title(key)
    if not isinstance(wanted, str):
        raise TypeError(f"graph: a {type(wanted).__name__} was given; a Tensor or a name in the picture is needed")
    names = skeleton.names
    if wanted not in names:
        raise ValueError(f"graph: {wanted!r} is not in this graph; there are {', '.join(list(names)[::-1][:12])}")
    return names[wanted], wanted
