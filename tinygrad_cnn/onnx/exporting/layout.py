"""How ops that move values are written: layout, joining, reading and writing by index."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...basics import broadcast_to, sum_to
from ...ops import arrange, index, layout, pool, scatter
from .dims import Dim, Length, Shape
from .merging import Slot
from .table import Call, translation
from .writer import Value


@translation(layout.reshape)
def _reshape(call: Call) -> Value:
    return call.writer.reshape(call.x, call.shape)


@translation(layout.permute)
def _permute(call: Call) -> Value:
    order = [d % call.ndim for d in call["dims"]]
    return call.node("Transpose", call.x, perm=order) if order else call.node("Identity", call.x)


@translation(broadcast_to)
def _broadcast_to(call: Call) -> Value:
    return call.node("Expand", call.x, call.writer.integers(call.shape))


@translation(sum_to)
def _sum_to(call: Call) -> Value:
    shape, target = call.shape_of(), call.shape
    lead = len(shape) - len(target)
    axes = [i for i, n in enumerate(shape) if i < lead or (target[i - lead] == 1 and n != 1)]
    return call.writer.reshape(call.writer.reduce("ReduceSum", call.x, axes, True), target)


@translation(layout.pad)
def _pad(call: Call) -> Value:
    widths = call["widths"]
    pads = [before for before, _ in widths] + [after for _, after in widths]
    if not pads:
        return call.node("Identity", call.x)
    value = call["value"]
    if call.dtype.kind in "iu" and np.isinf(value):
        value = np.iinfo(call.dtype).min if value < 0 else np.iinfo(call.dtype).max
    return call.node("Pad", call.x, call.writer.integers(pads), value)


@translation(layout.flipped)
def _flipped(call: Call) -> Value:
    x = call.x
    for axis in call.axes():
        x = call.writer.slice(x, axis, None, None, -1)
    return x if call.axes() else call.node("Identity", x)


@translation(arrange.rolled)
def _rolled(call: Call) -> Value:
    x = call.x
    for shift, axis in zip(call["shifts"], call.axes(), strict=True):
        length = call.shape_of()[axis]
        if length == 0:
            continue
        cut = -shift if isinstance(length, Dim) else -(shift % length)
        if cut:
            parts = call.writer.slice(x, axis, cut, None), call.writer.slice(x, axis, None, cut)
            x = call.node("Concat", *parts, axis=axis)
    return x if x is not call.x else call.node("Identity", x)


@translation(layout.concatenate)
def _concatenate(call: Call) -> Value:
    return call.node("Concat", *call.inputs, axis=call["axis"] % call.ndim)


@translation(layout.stacked)
def _stacked(call: Call) -> Value:
    axis = call["axis"] % (call.ndim + 1)
    return call.node("Concat", *(call.writer.unsqueeze(x, [axis]) for x in call.inputs), axis=axis)


# By index


@translation(index.getitem)
def _getitem(call: Call) -> Value:
    w, x = call.writer, call.x
    parts = _per_axis(call)
    axis, scalars, arrays, new = 0, [], [], []
    place = 0  # in the result of a basic index
    for part in parts:
        if part is None:
            new.append(place)
            place += 1
            continue
        if isinstance(part, slice):
            if part != slice(None):
                step = 1 if part.step is None else part.step
                x = w.slice(x, axis, part.start, part.stop, step)
            place += 1
        elif isinstance(part, (Slot, _Mask)):
            arrays.append((axis, part))
            place += 1
        else:
            scalars.append((axis, part))
        axis += 1
    if arrays:
        if scalars or new:
            raise call.fail(
                "an index with arrays beside integers or None; index in two steps, the arrays first: x[:, rows][0]"
            )
        return _at_arrays(call, x, arrays)
    for axis, number in reversed(scalars):
        x = call.node("Gather", x, w.reshape(w.integers([number]), ()), axis=axis)
    if new:
        x = w.unsqueeze(x, new)
    return x if x is not call.x else call.node("Identity", x)


class _Mask:
    """One axis of a boolean mask, as the places where it holds."""

    def __init__(self, places: Any) -> None:
        self.places = places


def _per_axis(call: Call) -> list[Any]:
    """The index with one part for every axis, beside None for new ones; masks as their places."""
    given = call.given("index")
    parts: list[Any] = []
    for part in given if isinstance(given, tuple) else (given,):
        is_mask = isinstance(part, Slot) and part.dtype == np.bool_
        if isinstance(part, (bool, np.bool_)) or (is_mask and not part.shape):
            raise call.fail(
                "True or False in an index; write None for a new axis of length 1, or [] for one of length 0"
            )
        if is_mask:
            if part.array is None:
                raise call.fail(
                    "a mask that the inputs change makes a result of any length; use where(mask, x, 0), or a fixed mask"
                )
            parts += [_Mask(places) for places in np.nonzero(part.array)]
        elif isinstance(part, Slot) and not part.shape and part.array is not None:
            parts.append(int(part.array))
        else:
            parts.append(part)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    rest = [slice(None)] * (call.ndim - used)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    return [*parts, *rest] if at is None else [*parts[:at], *rest, *parts[at + 1 :]]


def _at_arrays(call: Call, x: Value, arrays: list[tuple[int, Any]]) -> Value:
    """x at integer arrays along some axes, slices having been taken along the others."""
    w = call.writer
    values = [w.constant(part.places) if isinstance(part, _Mask) else call.value(part) for _, part in arrays]
    axes = [axis for axis, _ in arrays]
    if len(axes) == 1:
        return call.node("Gather", x, _int64(values[0]), axis=axes[0])
    # The indexed axes become one in front: x[i, :, j] reads row i * n + j of (m*n, ...), where j < n.
    shape = list(call.shape_of())
    rest = [i for i in range(call.ndim) if i not in axes]
    first, lengths = shape[axes[0]], call.lengths(tuple(shape[i] for i in axes[1:]), "an axis that an array indexes")
    places = [_from_zero(_int64(value), n) for value, n in zip(values, (first, *lengths), strict=True)]
    rows = places[0]
    for place, n in zip(places[1:], lengths, strict=True):
        rows = rows * n + place
    moved = w.transpose(x, (*axes, *rest))
    joined = w.integers([-1 if isinstance(first, Dim) else first * prod(lengths)])
    if rest:
        joined = w.node("Concat", joined, w.node("Shape", moved, start=len(axes), dtype=np.int64), axis=0)
    zero: dict[str, Any] = {} if isinstance(first, Dim) else {"allowzero": 1}
    found = call.node("Gather", w.node("Reshape", moved, joined, **zero), rows, axis=0)
    ndim = len(call.shape) - len(rest)  # of the broadcast indices, which stand in front
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return found
    before = axes[0]
    order = (*range(ndim, ndim + before), *range(ndim), *range(ndim + before, ndim + len(rest)))
    return w.transpose(found, order)


def _from_zero(places: Value, n: Length) -> Value:
    """Places below 0 count from the end."""
    w = places.writer
    return w.where(w.node("Less", places, 0, dtype=np.bool_), places + w.like(n, places), places)


def _int64(value: Value) -> Value:
    return value.writer.cast(value, np.int64)


def zeros(call: Call, shape: Shape) -> Value:
    """Zeros of the result's dtype."""
    return call.writer.expand(call.writer.constant(np.zeros((), call.dtype)), shape)


@translation(index.add_at)
def _add_at(call: Call) -> Value:
    given = call.given("index")
    parts = [
        part.array if isinstance(part, Slot) else part for part in (given if isinstance(given, tuple) else [given])
    ]
    if any(isinstance(part, Slot) and part.array is None for part in (given if isinstance(given, tuple) else [given])):
        raise call.fail("an index that the inputs change; scatter_add takes one")
    shape = call.lengths(call.shape, "the shape that is added to")
    places = np.arange(prod(shape)).reshape(shape)[tuple(parts)].reshape(-1)
    w, flat = call.writer, (prod(shape),)
    g = w.reshape(call.x, (places.size,))
    summed = call.node("ScatterElements", zeros(call, flat), w.constant(places), g, reduction="add")
    return w.reshape(summed, shape)


def _along(call: Call, name: str = "axis") -> int:
    axis: int = call[name]
    return axis % len(call.shape)


@translation(index.take_along_axis)
def _take_along_axis(call: Call) -> Value:
    w, slot, axis = call.writer, call.given("indices"), call["axis"] % call.ndim
    if not slot.is_made and slot.array is None and (order := _order(call, slot, axis)) is not None:
        return order
    indices, x = _int64(call.value(slot)), call.x

    def beside(shape: Shape, other: Shape) -> Shape:
        pairs = enumerate(zip(shape, other, strict=True))
        return tuple(n if i == axis or m == 1 else m for i, (n, m) in pairs)

    shapes = call.shape_of(), slot.shape
    x, indices = w.expand(x, beside(*shapes)), w.expand(indices, beside(*shapes[::-1]))
    return call.node("GatherElements", x, indices, axis=axis)


def _order(call: Call, slot: Slot, axis: int) -> Value | None:
    """TopK, where the indices are those that sort x along the axis, or the first of them: what sort and topk read.

    They are computed outside ops, and recognised by what they were in every run.
    """
    source = call.recorded.inputs[0]
    lengths = [a.shape[axis] for a in slot.arrays]
    for largest in (True, False):
        if all(
            np.array_equal(_sorted(x, axis, largest)[(slice(None),) * axis + (slice(0, k),)], indices)
            for x, indices, k in zip(source.arrays, slot.arrays, lengths, strict=True)
        ):
            count = call.writer.integers([slot.shape[axis]])
            values, indices = call.writer.several(
                "TopK", call.x, count, dtypes=(None, np.int64), axis=axis, largest=int(largest)
            )
            call.bind(slot, indices)
            return values
    return None


def _sorted(x: Any, axis: int, descending: bool) -> Any:
    """The positions from the smallest value to the largest, or the other way, equal ones in their order."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


@translation(index.add_along_axis)
def _add_along_axis(call: Call) -> Value:
    indices, shape = call.given("indices"), call.recorded.inputs[0].shape
    if indices.shape != shape:
        raise call.fail(f"indices {tuple(map(str, indices.shape))} that stretch; expand them to the values' shape")
    return call.node(
        "ScatterElements",
        zeros(call, call.shape),
        _int64(call.array("indices")),
        call.x,
        axis=_along(call),
        reduction="add",
    )


@translation(scatter.gather)
def _gather(call: Call) -> Value:
    return call.node("GatherElements", call.x, _int64(call.array("index")), axis=_along(call))


def _writing(op: Any, **attributes: Any) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        x, src = call.pair
        return call.node("ScatterElements", x, _int64(call.array("index")), src, axis=_along(call), **attributes)


_writing(scatter.scatter_added, reduction="add")
_writing(scatter.scattered)  # which of two stays is not ONNX's to say; in onnxruntime it is the last, as here


def _flat(shape: Sequence[Length], call: Call) -> Shape:
    """(n c ...) -> (n c cells)"""
    return (*shape[:2], prod(call.lengths(tuple(shape[2:]), "the plane")))


@translation(pool.gather_planes)
def _gather_planes(call: Call) -> Value:
    w, cells = call.writer, call.given("cells")
    flat = _int64(w.reshape(call.value(cells), _flat(cells.shape, call)))
    found = call.node("GatherElements", w.reshape(call.x, _flat(call.shape_of(), call)), flat, axis=2)
    return w.reshape(found, call.shape)


@translation(pool.scatter_planes)
def _scatter_planes(call: Call) -> Value:
    w, cells = call.writer, call.given("cells")
    flat = _int64(w.reshape(call.value(cells), _flat(cells.shape, call)))
    g = w.reshape(call.x, _flat(call.shape_of(), call))
    summed = call.node("ScatterElements", zeros(call, _flat(call.shape, call)), flat, g, axis=2, reduction="add")
    return w.reshape(summed, call.shape)
