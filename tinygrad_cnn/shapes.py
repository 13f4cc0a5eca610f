"""Shapes of arrays as pure functions of tuples: broadcasting, products, joins, reshapes, axes.

An error says what is there, what is needed, and the edits that would fix it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """Shapes or sizes that do not fit together; the message holds the derivation and the edits that would fix it.

    failed: the Node of the op that refused its inputs, None if it was no op on Tensors.
    layers: inside a Module, (path, class, shape) of the input and of what each layer gave before.
    edits: what would make the layer fit, the likeliest first. A note of the error shows both.

        >>> import tinygrad_cnn as tg
        >>> net = tg.nn.Sequential(tg.nn.Conv2d(1, 4, 3), tg.nn.Flatten(), tg.nn.Linear(100, 10))
        >>> try:
        ...     net(tg.zeros(1, 1, 8, 8))
        ... except tg.ShapeError as error:
        ...     print(error.__notes__[1])
        shapes so far:
            the model  input    (1, 1, 8, 8)
            0          Conv2d   (1, 4, 6, 6)
            1          Flatten  (1, 144)
            2          Linear   (1, 144) refused
        to fix it:
            1. 2 (Linear): in_features should be 144 = 4*6*6, not 100
            2. or keep 100 = 4*5*5 with a padding, stride or kernel before that makes images of 5x5 instead of 6x6
    """

    failed: Any = None
    layers: Sequence[tuple[str, str, Shape]] = ()
    edits: Sequence[str] = ()
    draw: ClassVar[Callable[..., Any]]  # handed to it by diagram/picture.py

    def graph(self, **options: Any) -> Any:
        """A Picture of the graph that led here, with the op that refused its inputs in red; options as of `draw`.

        Raises RuntimeError if no op on Tensors raised this.
        """
        return ShapeError.draw(self, **options)


class AxisError(ShapeError, np.exceptions.AxisError):
    """An axis that the array does not have; also a NumPy AxisError, so a ValueError and an IndexError."""


def is_int(value: object) -> bool:
    """Whether value is an integer, Python's or NumPy's, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(name: str, argument: str, value: Any, least: int) -> int:
    """`value` as an int. Raises TypeError for what is no whole number, ValueError for one below `least`."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: {argument}={value!r}; a whole number >= {least} is needed")
    if (number := operator.index(value)) < least:
        raise ValueError(f"{name}: {argument}={number}; a whole number >= {least} is needed")
    return number


def wrong_kind(op: str, name: str, value: object, wanted: str) -> TypeError:
    """The error for an argument that is no such thing as is wanted."""
    return TypeError(f"{op}: {name} is {value!r} ({type(value).__name__}), needs {wanted}")


def shown(values: Sequence[int]) -> str:
    """A shape as text, its NumPy integers too."""
    return str(tuple(int(v) for v in values))


def either(edits: Sequence[str]) -> str:
    """The edits of which each would do, as text."""
    return ", or ".join(edits)


def broadcast_shape(*shapes: Shape, op: str = "broadcast") -> Shape:
    """The common shape: lined up at the right, axes agree or are 1.

    Raises ShapeError that shows the shapes lined up and marks the first axis (from the right) that disagrees.
    """
    ndim = max(map(len, shapes), default=0)
    out = []
    for i in range(-ndim, 0):
        lengths = {shape[i] for shape in shapes if len(shape) >= -i} - {1}
        if len(lengths) > 1:
            raise ShapeError(_misfit(op, shapes, ndim))
        out.append(lengths.pop() if lengths else 1)
    return tuple(out)


def _misfit(op: str, shapes: Sequence[Shape], ndim: int) -> str:
    clash = next(
        i for i in range(-1, -ndim - 1, -1) if len({shape[i] for shape in shapes if len(shape) >= -i} - {1}) > 1
    )
    widths = [max(len(str(shape[i])) if len(shape) >= -i else 1 for shape in shapes) for i in range(-ndim, 0)]
    rows = []
    for shape in shapes:
        cells = [""] * (ndim - len(shape)) + [str(length) for length in shape]
        rows.append("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
    marks = [("^" * width if i == ndim + clash else " " * width) for i, width in enumerate(widths)]
    table = "\n".join(f"    {row}" for row in [*rows, "  ".join(marks).rstrip()])
    lengths = [shape[clash] for shape in shapes if len(shape) >= -clash and shape[clash] != 1]
    edits = ["give one of them length 1 there"]
    for a in shapes:
        for b in shapes:
            if a and len(a) < len(b) and a[0] in b and broadcastable(a + (1,) * (len(b) - 1 - b.index(a[0])), b):
                ones = len(b) - 1 - b.index(a[0])
                edits.append(
                    f"line {shown(a)} up with axis {b.index(a[0])} by reshaping it to {shown(a + (1,) * ones)}"
                )
    return (
        f"{op}: shapes {' and '.join(map(shown, shapes))} do not broadcast: axis {clash} has lengths "
        f"{' and '.join(map(str, dict.fromkeys(lengths)))}, needs equal lengths or 1:\n{table}\n  {either(edits[:3])}"
    )


def broadcastable(*shapes: Shape) -> bool:
    """Whether `broadcast_shape` would accept the shapes."""
    ndim = max(map(len, shapes), default=0)
    return all(len({s[i] for s in shapes if len(s) >= -i} - {1}) <= 1 for i in range(-ndim, 0))


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """(... m k), (... k n) -> (... m n); a vector takes part as a row on the left, as a column on the right."""
    if not a or not b:
        raise ShapeError(
            f"matmul: shapes are {shown(a)} and {shown(b)}, needs at least 1 axis each; multiply scalars with *"
        )
    rows, inner_a = (a[-2:-1], a[-1])
    inner_b, columns = (b[-2] if len(b) > 1 else b[0]), (b[-1:] if len(b) > 1 else ())
    if inner_a != inner_b:
        edits = [f"b of {inner_a} rows", f"a of {inner_b} columns"]
        if len(b) > 1 and b[-1] == inner_a:
            edits.append("the transpose of b: a @ b.mT")
        if len(a) > 1 and a[-2] == inner_b:
            edits.append("the transpose of a: a.mT @ b")
        raise ShapeError(
            f"matmul: a is {shown(a)} with {inner_a} columns, b is {shown(b)} with {inner_b} rows, "
            f"(... m k) @ (... k n) needs them equal; use {either(edits)}"
        )
    batch = broadcast_shape(a[:-2], b[:-2], op="matmul (batch axes)")
    return batch + rows + columns


def linear_shape(x: Shape, w: Shape, b: Shape | None = None) -> Shape:
    """(... in), (out in), (out) -> (... out)"""
    if len(w) != 2:
        raise ShapeError(f"linear: w has {len(w)} axes, shape {shown(w)}, needs 2: (out, in)")
    if not x:
        raise ShapeError("linear: x has no axes, shape (), needs (..., in); use x[None]")
    features, (out, wanted) = x[-1], w
    if features != wanted:
        edits = [f"use Linear({features}, {out}) or in_features=None"]
        if math.prod(x[1:]) == wanted:
            edits.append(f"flatten the image first: x.flatten(1) is ({x[0]}, {wanted})")
        if out == features:
            edits.append(f"if w is (in, out) use its transpose, {shown(w[::-1])}")
        ours, theirs = as_images(features, wanted)
        raise ShapeError(
            f"linear: x gives {ours} features (x is {shown(x)}), w wants in_features={theirs} "
            f"(w is (out, in) = {shown(w)}); {either(edits)}"
        )
    if b is not None and b != (out,):
        raise ShapeError(f"linear: b has shape {shown(b)}, needs ({out},), one number for each row of w {shown(w)}")
    return (*x[:-1], out)


def as_images(a: int, b: int) -> tuple[str, str]:
    """Two feature counts as channels*side*side with the same channels, if there are any: 576 = 16*6*6, 400 = 16*5*5."""
    common = math.gcd(a, b)
    for c in range(min(common, 65536), 1, -1):
        if common % c == 0 and math.isqrt(a // c) ** 2 * c == a and math.isqrt(b // c) ** 2 * c == b:
            i, j = math.isqrt(a // c), math.isqrt(b // c)
            return f"{a} = {c}*{i}*{i}", f"{b} = {c}*{j}*{j}"
    return str(a), str(b)


def concat_shape(shapes: Sequence[Shape], axis: int = 0) -> Shape:
    """The shape of arrays joined along `axis`; all other axes must agree."""
    if not shapes:
        raise ShapeError("concat: no arrays are there, needs at least one")
    first = shapes[0]
    if not first:
        raise ShapeError("concat: the first array has no axes, shape (), needs at least 1; use stack")
    (k,) = normalize_axes(axis, len(first), "concat")
    for i, shape in enumerate(shapes):
        if len(shape) != len(first):
            raise ShapeError(
                f"concat: array {i} has {len(shape)} axes, shape {shown(shape)}, the first has {len(first)}, "
                f"shape {shown(first)}, needs the same number; use stack to make a new axis"
            )
        wrong = [j for j in range(len(first)) if j != k and shape[j] != first[j]]
        if wrong:
            others = [
                j
                for j in range(len(first))
                if all(a == b or m == j for m, (a, b) in enumerate(zip(shape, first, strict=True)))
            ]
            edit = f"; use axis={others[0]}" if others else f"; crop or pad axis {wrong[0]} first"
            raise ShapeError(
                f"concat: array {i} is {shown(shape)}, the first is {shown(first)}, "
                f"all axes but axis {k} need equal lengths, "
                f"axis {wrong[0]} has {shape[wrong[0]]} and {first[wrong[0]]}{edit}"
            )
    return (*first[:k], sum(shape[k] for shape in shapes), *first[k + 1 :])


def reshape_shape(shape: Shape, new: Any) -> Shape:
    """The shape `new` with its -1, if any, put in: size // product of the others."""
    if is_int(new):
        new = (new,)
    if not isinstance(new, (tuple, list)) or not all(map(is_int, new)):
        raise wrong_kind("reshape", "shape", new, "an int or a tuple of ints")
    wanted = tuple(int(length) for length in new)
    size = math.prod(shape)
    if wanted.count(-1) > 1:
        raise ShapeError(f"reshape: {shown(wanted)} holds {wanted.count(-1)} times -1, at most one length can be found")
    if any(length < -1 for length in wanted):
        raise ShapeError(f"reshape: {shown(wanted)} holds {min(wanted)}, needs lengths >= 0 or one -1")
    rest = math.prod(length for length in wanted if length != -1)
    if -1 in wanted:
        if rest == 0:
            raise ShapeError(
                f"reshape: -1 in {shown(wanted)} could be any length, the others multiply to 0; write the length out"
            )
        if size % rest:
            raise ShapeError(
                f"reshape: {shown(shape)} has {size} elements, {shown(wanted)} needs a multiple of {rest}: "
                f"{size} = {size // rest}*{rest} + {size % rest}"
                + (f"; keep the batch axis: ({shape[0]}, -1)" if len(shape) > 1 else "")
            )
        return tuple(size // rest if length == -1 else length for length in wanted)
    if rest != size:
        edits = []
        for i, length in enumerate(wanted):
            others = math.prod(wanted[:i] + wanted[i + 1 :])
            if others and size % others == 0:
                edits.append(f"use {size // others} instead of {length} on axis {i}, or -1 there")
        raise ShapeError(
            f"reshape: {shown(shape)} has {size} elements, {shown(wanted)} has {rest}, needs equal numbers"
            + (f"; {either(edits[:2])}" if edits else "")
        )
    return wanted


def normalize_axes(axis: Any, ndim: int, op: str) -> Shape:
    """Axes counted from 0: None is all of them, () none; negative ones count from the end.

    Raises AxisError out of range, ShapeError for duplicates, TypeError for what is no integer.
    """
    if axis is None:
        return tuple(range(ndim))
    if is_int(axis):
        axis = (axis,)
    if not isinstance(axis, (tuple, list)) or not all(map(is_int, axis)):
        raise wrong_kind(op, "axis", axis, "None, an int or a tuple of ints")
    for a in axis:
        if not -ndim <= a < ndim:
            there = f"-{ndim} to {ndim - 1}" if ndim else "none"
            raise AxisError(f"{op}: axis {a} is out of range, the array has {ndim} axes; the axes are {there}")
    axes = tuple(int(a) % ndim for a in axis)
    if len(set(axes)) < len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        raise ShapeError(
            f"{op}: axis {shown(axis)} names axis {twice} twice, needs different axes; use {tuple(dict.fromkeys(axes))}"
        )
    return axes
