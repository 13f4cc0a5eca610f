"""A second run of a function, with more rows: whether it computes the same for each, or something of their number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..graph import Node, Outline, Tensor
from ..nn.buffers import KeptBuffers
from ..random import on_a_copy
from .values import Seen, forward
from .writer import recorded


def follows(function: Callable[[], Any], nodes: Sequence[Node], seen: Seen, inputs: Sequence[Tensor]) -> bool:
    """Whether `function` records the same with other rows in the inputs: the same ops of the same numbers.

    nodes: of the first run, in the order of the computation. seen: what that run read. inputs: what it took the rows
    from; they hold others while the function runs, and then theirs again, as buffers do. False also where the function
    raises.
    """
    with _other_rows(inputs, 2 * len(inputs[0].array) + 1) as made, on_a_copy(), KeptBuffers("to_numpy"):
        try:
            out, seen_then = forward(function)
        except Exception:  # as from a reshape to the recorded number of rows
            return False
        if not isinstance(out, Tensor) or out.node is None:
            return False
        instead = {old: tensor.node or getattr(tensor, "outline", None) for old, tensor in made.items()}
        return _alike(_ops(nodes), _ops(recorded(out.node)), seen, seen_then, instead)


@contextmanager
def _other_rows(inputs: Sequence[Tensor], length: int) -> Iterator[dict[Any, Tensor]]:
    """Let the inputs hold `length` rows, theirs again and again; gives {Node or Outline of before: Tensor}."""
    before = [(t, t.array, t.node, getattr(t, "outline", None)) for t in {id(t): t for t in inputs}.values()]
    made: dict[Any, Tensor] = {}
    try:
        for t, array, node, outline in before:
            rows = np.resize(array, (length, *array.shape[1:]))
            t.array, t.node = rows, Tensor(rows, requires_grad=True).node if node is not None else None
            if outline is not None:
                del t.outline
            made[node or outline] = t
        yield made
    finally:
        for t, array, node, outline in before:
            t.array, t.node = array, node
            if outline is not None:
                t.outline = outline
            elif hasattr(t, "outline"):
                del t.outline


def _ops(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.plan is not None]


def _alike(first: Sequence[Node], second: Sequence[Node], seen: Seen, seen_then: Seen, instead: dict[Any, Any]) -> bool:
    """Whether two runs recorded the same ops, the inputs aside, for which others stood in the second."""
    if len(first) != len(second):
        return False
    instead = dict(instead)
    for a, b in zip(first, second, strict=True):
        instead[a] = b
        if a.plan.op is not b.plan.op or a.plan.indices != b.plan.indices:
            return False
        if any(instead.get(p, p) is not q for p, q in zip(a.parents, b.parents, strict=True)):
            return False
        if a.plan.op.name != "reshape" and not _same(a.params, b.params):  # a script reshapes to -1 rows
            return False
        if a.shape[1:] != b.shape[1:] or len(a.constants) != len(b.constants):
            return False
        read, read_then = seen.inputs.get(a, []), seen_then.inputs.get(b, [])
        for (i, c), (_, d) in zip(a.constants, b.constants, strict=True):
            if c in instead:
                same = instead[c] is d
            elif isinstance(c, Outline):
                same = isinstance(d, Outline) and _same(read[i : i + 1], read_then[i : i + 1])
            else:
                same = _same(c, d)
            if not same:
                return False
    return True


def _same(a: Any, b: Any) -> bool:
    """Whether two parameters, or two constants, are the same, in kind and number."""
    a, b = (x.array if isinstance(x, Tensor) else x for x in (a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, slice):
        return _same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    return bool(a == b or (a != a and b != b))  # nan
