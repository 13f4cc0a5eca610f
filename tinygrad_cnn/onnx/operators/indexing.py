"""Reading and writing at indices, and what is where."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, wrap
from ...ops.elementwise import maximum, minimum, mul, where
from ...ops.index import getitem, take_along_axis
from ...ops.layout import reshape
from ...ops.matrices import tril, triu
from ...ops.scatter import gather, scatter_added, scattered
from .axes import axis_of
from .casting import dtype_of
from .registry import Node, operator

Indices = NDArray[Any]


def _within(node: Node, indices: Indices, n: Any) -> Indices:
    """Indices counted from 0 into an axis of length n, or into several. Raises OnnxError for one outside."""
    if indices.dtype.kind not in "iu":
        raise node.fail(f"the indices are {indices.dtype}; integers are needed")
    outside = (indices < -n) | (indices >= n)
    if outside.any():
        raise node.fail(f"index {indices[outside][0]} is outside of an axis; lengths are {n}")
    counted: Indices = np.where(indices < 0, indices + n, indices).astype(np.int64)
    return counted


@operator("Gather")
def rows(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """The parts of x at indices along an axis, in whose place the axes of the indices come."""
    axis = axis_of(node, node.attribute("axis", 0), x.ndim)
    node.allow((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.array.itemsize)
    counted = _within(node, indices.array, x.shape[axis])
    y: Tensor = getitem(x, (slice(None),) * axis + (counted if counted.ndim else int(counted),))
    return y


@operator("GatherElements")
def elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """out[i, j, ...] = x[index[i, j, ...], j, ...] for axis 0, and so on."""
    axis = axis_of(node, node.attribute("axis", 0), x.ndim)
    _check_reach(node, x, indices, axis)
    node.allow(indices.shape, x.array.itemsize)
    y: Tensor = gather(x, axis, _within(node, indices.array, x.shape[axis]))
    return y


def _check_reach(node: Node, x: Tensor, indices: Tensor, axis: int) -> None:
    lengths = zip(indices.shape, x.shape, strict=False)
    if indices.ndim != x.ndim or any(m > n and i != axis for i, (m, n) in enumerate(lengths)):
        raise node.fail(
            f"indices of shape {indices.shape} for shape {x.shape}; as many axes are needed, none longer but {axis}"
        )


def _cells(node: Node, x: Tensor, indices: Tensor, batch: int) -> Indices:
    """Where in the flattened x the elements are that indices along the last axis name, behind `batch` shared axes."""
    if not indices.ndim or not 0 <= batch < min(x.ndim, indices.ndim) or x.shape[:batch] != indices.shape[:batch]:
        raise node.fail(f"indices of shape {indices.shape} for shape {x.shape} with {batch} axes shared")
    depth = indices.shape[-1]
    if not 0 < depth <= x.ndim - batch:
        raise node.fail(f"{depth} indices each for shape {x.shape}; 1 to {x.ndim - batch} are needed")
    inner = x.shape[batch + depth :]
    node.allow((*indices.shape[:-1], *inner), 8)
    counted = _within(node, indices.array, np.array(x.shape[batch : batch + depth]))
    strides = np.array([prod(x.shape[i + 1 :]) for i in range(x.ndim)], np.int64)
    at = counted @ strides[batch : batch + depth]
    for i in range(batch):
        at = at + (np.arange(x.shape[i]) * strides[i]).reshape(-1, *(1,) * (at.ndim - 1 - i))
    cells: Indices = at.reshape(*at.shape, *(1,) * len(inner)) + np.arange(prod(inner)).reshape(inner)
    return cells


@operator("GatherND")
def points(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """The parts of x at the points that the last axis of the indices holds, for each place of batch_dims axes."""
    cells = _cells(node, x, indices, node.attribute("batch_dims", 0))
    y: Tensor = getitem(reshape(x, (x.array.size,)), cells)
    return y


_WRITING: dict[str, Callable[..., Any]] = {"mul": mul, "max": maximum, "min": minimum}


def _written(node: Node, x: Tensor, cells: Indices, updates: Tensor) -> Tensor:
    """x with updates at the cells of the flattened x: in place of what is there, or combined with it."""
    how = node.attribute("reduction", "none")
    if how not in ("none", "add", *_WRITING):
        raise node.fail(f"reduction {how!r}; it can be 'none', 'add', {', '.join(map(repr, _WRITING))}")
    at, flat, new = cells.reshape(-1), reshape(x, (x.array.size,)), reshape(updates, (updates.array.size,))
    if how == "none":
        y = scattered(flat, new, 0, at)
    elif how == "add":
        y = scatter_added(flat, new, 0, at)
    else:
        at, new = _combined(at, new, _WRITING[how])
        y = scattered(flat, _WRITING[how](getitem(flat, at), new), 0, at)
    z: Tensor = reshape(y, x.shape)
    return z


def _combined(at: Indices, new: Tensor, combine: Callable[..., Any]) -> tuple[Indices, Tensor]:
    """The updates with those of one cell combined, in pairs, so that n of them take log n steps."""
    order = np.argsort(at, kind="stable")
    at, new = at[order], getitem(new, order)
    while True:
        starts = np.flatnonzero(np.diff(at, prepend=at[:1] - 1))
        rank = np.arange(at.size) - np.repeat(starts, np.diff(starts, append=at.size))
        seconds = np.flatnonzero(rank % 2)
        if not seconds.size:
            return at, new
        new = scattered(new, combine(getitem(new, seconds - 1), getitem(new, seconds)), 0, seconds - 1)
        firsts = np.flatnonzero(rank % 2 == 0)
        at, new = at[firsts], getitem(new, firsts)


@operator("ScatterElements", "Scatter")
def written_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """x with updates[i, j, ...] at [index[i, j, ...], j, ...] for axis 0, and so on; of several the last stays."""
    axis = axis_of(node, node.attribute("axis", 0), x.ndim)
    _check_reach(node, x, indices, axis)
    if updates.shape != indices.shape:
        raise node.fail(
            f"updates of shape {updates.shape} for indices of shape {indices.shape}; one for each is needed"
        )
    grids: list[Any] = list(np.ogrid[tuple(map(slice, indices.shape))])
    grids[axis] = _within(node, indices.array, x.shape[axis])
    strides = [prod(x.shape[i + 1 :]) for i in range(x.ndim)]
    cells = sum(grid * stride for grid, stride in zip(grids, strides, strict=True))
    return _written(node, x, np.broadcast_to(cells, indices.shape), updates)


@operator("ScatterND")
def written_points(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """x with updates at the points that the last axis of the indices holds; of several the last stays."""
    cells = _cells(node, x, indices, 0)
    if updates.shape != cells.shape:
        raise node.fail(f"updates of shape {updates.shape}; {cells.shape} is needed, a part of x for each point")
    return _written(node, x, cells, updates)


@operator("OneHot")
def one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """values[1] where the place along a new axis is the index, values[0] elsewhere, and where an index is outside."""
    if depth.array.size != 1 or values.shape != (2,):
        raise node.fail(f"depth of shape {depth.shape}, values of shape {values.shape}; one number and two are needed")
    n = int(depth.array.reshape(-1)[0])
    axis = axis_of(node, node.attribute("axis", -1), indices.ndim + 1)
    node.allow((*indices.shape[:axis], n, *indices.shape[axis:]), max(values.array.itemsize, 8))
    places = np.expand_dims(indices.array, axis)
    each = np.arange(n).reshape(n, *(1,) * (indices.ndim - axis))
    y: Tensor = where((places == each) | (places == each - n), getitem(values, 1), getitem(values, 0))
    return y


@operator("NonZero")
def places(node: Node, x: Tensor) -> Tensor:
    """The indices of what is not zero, a row for every axis."""
    found = np.argwhere(x.array)
    node.allow(found.shape, 8)
    return wrap(np.ascontiguousarray(found.T.astype(np.int64)))


@operator("Compress")
def kept(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    """The parts of x along an axis, or the elements of the flattened x, where the condition holds."""
    axis = node.attribute("axis")
    if axis is None:
        x, axis = reshape(x, (x.array.size,)), 0
    axis = axis_of(node, axis, x.ndim)
    if condition.dtype != np.bool_ or condition.ndim != 1 or condition.shape[0] > x.shape[axis]:
        raise node.fail(
            f"the condition is {condition.dtype} of shape {condition.shape}; "
            f"a row of at most {x.shape[axis]} booleans is needed"
        )
    y: Tensor = getitem(x, (slice(None),) * axis + (np.flatnonzero(condition.array),))
    return y


@operator("Unique")
def distinct(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(the distinct values or slices of x, where each is first, which each element is, how often each occurs)"""
    axis = node.attribute("axis")
    if axis is None:
        x = reshape(x, (x.array.size,))
    along = 0 if axis is None else axis_of(node, axis, x.ndim)
    _, firsts, inverse, counts = np.unique(
        x.array, return_index=True, return_inverse=True, return_counts=True, axis=along
    )
    inverse = inverse.reshape(-1)
    if not node.attribute("sorted", 1):
        order = np.argsort(firsts)
        firsts, counts, inverse = firsts[order], counts[order], np.argsort(order)[inverse]
    values = getitem(x, (slice(None),) * along + (firsts,))
    return (values, *(wrap(part.astype(np.int64)) for part in (firsts, inverse, counts)))  # type: ignore[return-value]


@operator("Trilu")
def triangle(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The last two axes with zeros below the k-th diagonal, or with upper=0 above it."""
    if x.ndim < 2:
        raise node.fail(f"shape {x.shape}; at least two axes are needed")
    diagonals = node.integers(k, "k")
    if diagonals is not None and len(diagonals) != 1:
        raise node.fail(f"k is {diagonals}; one number is needed")
    diagonal = max(-x.shape[-2], min(diagonals[0] if diagonals else 0, x.shape[-1]))
    y: Tensor = triu(x, diagonal) if node.attribute("upper", 1) else tril(x, diagonal)
    return y


@operator("EyeLike")
def identity_matrix(node: Node, x: Tensor) -> Tensor:
    """Ones on the k-th diagonal of a matrix of the shape of x, zeros elsewhere."""
    if x.ndim != 2:
        raise node.fail(f"shape {x.shape}; a matrix is needed")
    node.allow(x.shape, 8)
    diagonal = max(-x.shape[0], min(node.attribute("k", 0), x.shape[1]))
    return wrap(np.eye(x.shape[0], x.shape[1], k=diagonal, dtype=dtype_of(node, "dtype", x.dtype)))


@operator("ReverseSequence")
def reversed_sequences(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """x with the first lengths[b] places along the time axis in reverse order, for every b of the batch axis."""
    batch, time = (axis_of(node, node.attribute(f"{name}_axis", i), x.ndim) for i, name in ((1, "batch"), (0, "time")))
    counts = np.array(node.integers(lengths, "sequence_lens") or (), np.int64)
    if batch == time or counts.shape != (x.shape[batch],) or ((counts < 0) | (counts > x.shape[time])).any():
        raise node.fail(f"lengths {counts.tolist()} for axes {batch} and {time} of shape {x.shape}")
    steps = np.arange(x.shape[time])
    order = np.where(steps < counts[:, None], counts[:, None] - 1 - steps, steps)  # (batch time)
    shape = [1] * x.ndim
    shape[batch], shape[time] = order.shape
    y: Tensor = take_along_axis(x, (order if batch < time else order.T).reshape(shape), time)
    return y
