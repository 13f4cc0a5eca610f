"""What the graph keeps for backward: why, how many bytes, when it is freed, and the running peak."""

import math
import re
from collections.abc import Iterator
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
    bytes: None where a freed graph no longer knows. is_leaf: a parameter's memory, which is there anyway.
    first: the earlier op that keeps the same memory, which then counts there.
    """

    what: str
    wanted: list[str]
    bytes: int | None
    is_leaf: bool
    first: Node | None = None

    @property
    def reason(self) -> str:
        """x for ∂w"""
        return f"{self.what} for {', '.join(f'∂{name}' for name in self.wanted)}"


@dataclass
class Memory:
    """Memory along one forward and one backward, in bytes; leaves' values and gradients are not counted.

    kept: of every op. held: bytes kept after the op's forward. step: the op's place in backward, from 1.
    freed: bytes that its step frees. live: kept values and gradients while its step runs. at_peak: the op of the peak.
    """

    kept: dict[Node, list[Kept]] = field(default_factory=dict)
    held: dict[Node, int] = field(default_factory=dict)
    step: dict[Node, int] = field(default_factory=dict)
    freed: dict[Node, int] = field(default_factory=dict)
    live: dict[Node, int] = field(default_factory=dict)
    total: int = 0
    peak: int = 0
    at_peak: Node | None = None
    is_complete: bool = True  # whether every size is known


def kept_memory(skeleton: Skeleton) -> Memory:
    """The Memory of a graph, before or after backward; after it, sizes of residuals are known if they were watched."""
    found = Memory()
    holder: dict[Any, Node] = {}  # of a piece of memory, the first op that keeps it: the last one to free it
    size: dict[Any, int] = {}
    for node in skeleton.ops:
        items: dict[Any, Kept] = {}
        for what, wanted, key, nbytes, is_leaf in _saved(skeleton, node):
            if key in items:
                items[key].wanted += [name for name in wanted if name not in items[key].wanted]
                continue
            items[key] = Kept(what, list(wanted), nbytes, is_leaf, holder.get(key))
            found.is_complete &= nbytes is not None
            if key not in holder and not is_leaf:
                holder[key] = node
                size[key] = nbytes or 0
                found.total += size[key]
        found.kept[node] = list(items.values())
        found.held[node] = found.total
    frees: dict[Node, int] = {}
    for key, node in holder.items():
        frees[node] = frees.get(node, 0) + size[key]
    _run_backward(skeleton, found, frees)
    return found


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


def _saved(skeleton: Skeleton, node: Node) -> Iterator[tuple[str, list[str], Any, int | None, bool]]:
    """(name, inputs whose rule wants it, key of the memory, bytes, whether it is a leaf's) of all that an op keeps."""
    plan, op = node.plan, node.plan.op
    names = [op.variadic or op.inputs[i] for i in plan.indices]
    leaves = {
        op.inputs[i]
        for i, p in zip(plan.indices, node.parents, strict=False)
        if _viewed(p).plan is None and not op.variadic
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


def _remembered(node: Node, want: str) -> Iterator[tuple[Any, int | None]]:
    """(key, bytes) of what a freed graph still knows about something that a rule kept."""
    op = node.plan.op
    inputs = dict(outlines(node)) | dict(zip(node.plan.indices, node.parents, strict=False))
    if want == "out":
        yield node, _bytes(node)
    elif want == op.variadic:
        yield from ((source, _bytes(source)) for source in inputs.values())
    elif want in op.inputs:
        source = inputs.get(op.inputs.index(want))
        if isinstance(source, Node):
            yield _viewed(source), min(_bytes(source), _bytes(_viewed(source)))
        elif source is not None:
            yield source, _bytes(source)
    elif want == op.residual:
        yield (node, want), None
    else:
        yield from (((node, want), size) for size in _sizes_of(node.params.get(want)))


def _viewed(node: Node) -> Node:
    """The Node whose memory a result shows: through axes in another order or another number."""
    while node.plan is not None and node.plan.op.name in ("reshape", "permute", "broadcast_to"):
        below = node.parents[0]
        if node.plan.op.name == "reshape" and _is_rearranged(below):
            break  # reshape had to copy
        node = below
    return node


def _is_rearranged(node: Node) -> bool:
    """Whether the elements of a result need not lie in memory in order."""
    while node.plan is not None and node.plan.op.name == "reshape":
        node = node.parents[0]
    return node.plan is not None and node.plan.op.name in ("permute", "broadcast_to", "flipped", "getitem")


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
