"""What the graph keeps for backward: why, how many bytes, when it is freed, and the running peak."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import Node, Outline
from ..records import saved_of
from .skeleton import Skeleton, outlines

_ARRAY = re.compile(r"(\w+)\(([\d, ]*)\)")  # as a freed graph remembers an array


@dataclass
class Kept:
    """One array that an op keeps.

    what: its name in the op: an input, "out", a parameter or a residual. wanted: the inputs whose rule needs it.
    bytes: what it keeps alive, as `records.Saved` says: a view of what an op has made keeps all of it.
    is_leaf: a parameter's memory, which is there anyway.
    first: the earlier op that keeps the same memory, which then counts there.
    """

    what: str
    wanted: list[str]
    bytes: int
    is_leaf: bool
    first: Node | None = None

    @property
    def reason(self) -> str:
        """x for ∂w"""
        return f"{self.what} for {', '.join(f'∂{name}' for name in self.wanted)}"


@dataclass
class Memory:
    """Memory along one forward and one backward, in bytes; leaves' values and gradients are not counted.

    kept: of every op. step: the op's place in backward, from 1.
    freed: bytes that its step frees. live: kept values and gradients while its step runs. at_peak: the op of the peak.
    """

    kept: dict[Node, list[Kept]] = field(default_factory=dict)
    step: dict[Node, int] = field(default_factory=dict)
    freed: dict[Node, int] = field(default_factory=dict)
    live: dict[Node, int] = field(default_factory=dict)
    total: int = 0
    peak: int = 0
    at_peak: Node | None = None


def kept_memory(skeleton: Skeleton) -> Memory:
    """The Memory of a graph, before or after backward."""
    found = Memory()
    holder: dict[Any, Node] = {}  # of a piece of memory, the first op that keeps it: the last one to free it
    size: dict[Any, int] = {}  # of that piece: the most that any op keeps of it
    kept: dict[Node, dict[Any, Kept]] = {}
    for node in skeleton.ops:
        items = kept[node] = {}
        for what, wanted, key, nbytes, is_leaf in _saved(skeleton, node):
            if not is_leaf:
                size[key] = max(size.get(key, 0), nbytes)
            if key in items:
                items[key].wanted += [name for name in wanted if name not in items[key].wanted]
                continue
            items[key] = Kept(what, list(wanted), nbytes, is_leaf, holder.get(key))
            if key not in holder and not is_leaf:
                holder[key] = node
    frees: dict[Node, int] = {}
    for key, node in holder.items():
        kept[node][key].bytes = size[key]
        frees[node] = frees.get(node, 0) + size[key]
    found.total = sum(frees.values())
    found.kept = {node: _merged(items.values()) for node, items in kept.items()}
    _run_backward(skeleton, found, frees)
    return found


def _merged(items: Iterable[Kept]) -> list[Kept]:
    """One Kept for each name, as for the two arrays of batch norm's statistics."""
    found: dict[tuple[str, Node | None], Kept] = {}
    for item in items:
        other = found.setdefault((item.what, item.first), item)
        if other is not item:
            other.bytes += item.bytes
    return list(found.values())


def _run_backward(skeleton: Skeleton, found: Memory, frees: dict[Node, int]) -> None:
    live, gradients = found.total, {skeleton.root}
    live += _bytes(skeleton.root)
    for step, node in enumerate(reversed(skeleton.ops), 1):
        for parent in dict.fromkeys(node.parents):
            if parent.plan is not None and parent not in gradients:
                gradients.add(parent)
                live += _bytes(parent)
        found.step[node], found.live[node], found.freed[node] = step, live, frees.get(node, 0)
        if live > found.peak:
            found.peak, found.at_peak = live, node
        live -= found.freed[node] + _bytes(node)


def _bytes(value: Node | Outline) -> int:
    return math.prod(value.shape) * np.dtype(value.dtype).itemsize


def _saved(skeleton: Skeleton, node: Node) -> Iterator[tuple[str, list[str], Any, int, bool]]:
    """(name, inputs whose rule wants it, key of the memory, bytes, whether it is a leaf's) of all that an op keeps."""
    plan, op = node.plan, node.plan.op
    names = [op.variadic or op.inputs[i] for i in plan.indices]
    leaves = {
        op.inputs[i]
        for i, p in zip(plan.indices, node.parents, strict=False)
        if isinstance(source := _viewed(p), Node) and source.plan is None and not op.variadic
    }
    record = skeleton.record(node)
    known = saved_of(node) if node.saved is not None else record.saved if record is not None else None
    if known is not None:
        for saved in known:
            wanted = [names[saved.rule]] if plan.joint is None else names
            yield saved.want, wanted, saved.memory, saved.nbytes, saved.want in leaves
        return
    for rule, wants in enumerate(plan.wants):
        wanted = [names[rule]] if plan.joint is None else names
        for want in wants:
            yield from ((want, wanted, key, size, want in leaves) for key, size in _remembered(node, want))


def _remembered(node: Node, want: str) -> Iterator[tuple[Any, int]]:
    """(key, bytes) of what a freed graph still knows about something that a rule kept."""
    op = node.plan.op
    inputs = dict(outlines(node)) | dict(zip(node.plan.indices, node.parents, strict=False))
    if want in ("out", op.variadic) or want in op.inputs:
        sources = [node] if want == "out" else list(inputs.values())
        if want in op.inputs:
            sources = [inputs[i] for i in inputs if op.inputs[i] == want]
        for source in sources:
            owner = _viewed(source)
            whole = isinstance(owner, Node) and owner.plan is not None
            yield owner, _bytes(owner) if whole else min(_bytes(source), _bytes(owner))
    elif want == op.residual:
        if node.bytes > 0:
            yield (node, want), node.bytes
    else:
        yield from (((node, want), size) for size in _sizes_of(node.params.get(want)))


def _viewed(value: Node | Outline) -> Node | Outline:
    """What has the memory that a value shows."""
    while isinstance(value, Node) and value.plan is not None and value.bytes < 0:
        value = value.parents[0] if value.plan.indices[0] == 0 else dict(outlines(value))[0]
    return value


def _sizes_of(value: Any) -> Iterator[int]:
    """The bytes of the arrays in a parameter that a freed graph remembers as dtype and shape."""
    for part in value if isinstance(value, tuple) else (value,):
        match = _ARRAY.fullmatch(part) if isinstance(part, str) else None
        if match is not None:
            lengths = [int(length) for length in match[2].split(",") if length.strip()]
            yield math.prod(lengths) * np.dtype(match[1]).itemsize


def because(skeleton: Skeleton, kept: Kept) -> str:
    """Why the bytes of a kept array do not count where it is kept, or ""."""
    if kept.is_leaf:
        return "a parameter, there anyway"
    return f"the same memory as in {skeleton.title(kept.first)}" if kept.first is not None else ""
