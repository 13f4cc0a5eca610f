"""Output shapes as pure functions of tuples: no array is needed to know, or to refuse, a shape.

An error says what is there, what is needed, the formula with the numbers put in, and the edits that would fix it.
Source of the formulas: Dumoulin & Visin, A guide to convolution arithmetic (2016), sections 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, cast

import numpy as np

Shape = tuple[int, ...]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

MOST_ELEMENTS = 2**48
NAMED_PADDINGS = ("valid", "same", "same_lower", "full")
NO_PADDING: Padding = ((0, 0), (0, 0))


class ShapeError(ValueError):
    """Shapes or sizes that do not fit together; the message holds the derivation and the edits that would fix it."""


class AxisError(ShapeError, np.exceptions.AxisError):
    """An axis that the array does not have; also a NumPy AxisError, so a ValueError and an IndexError."""


@dataclass(frozen=True, slots=True)
class Conv2dGeometry:
    """Everything a convolution kernel needs to know besides the arrays; `padding` is ((top, bottom), (left, right))."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    size: Pair
    kernel: Pair
    out: Pair
    out_shape: Shape


@dataclass(frozen=True, slots=True)
class ConvTranspose2dGeometry:
    """A transposed convolution: `size` is the image that goes in, `out` the larger one that comes out."""

    stride: Pair
    padding: Padding
    output_padding: Pair
    dilation: Pair
    groups: int
    size: Pair
    kernel: Pair
    out: Pair
    out_shape: Shape


@dataclass(frozen=True, slots=True)
class Pool2dGeometry:
    """The windows of a pooling; with `ceil_mode` the last ones may reach past the padded image."""

    stride: Pair
    padding: Padding
    dilation: Pair
    ceil_mode: bool
    size: Pair
    kernel: Pair
    out: Pair
    out_shape: Shape


# Arguments


def _is_int(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _kind(op: str, name: str, value: object, wanted: str) -> TypeError:
    return TypeError(f"{op}: {name} is {value!r} ({type(value).__name__}), needs {wanted}")


def checked_integer(op: str, name: str, value: Any, least: int) -> int:
    """An int of at least `least`, whatever kind of integer it came as."""
    if not _is_int(value):
        raise _kind(op, name, value, "an int")
    if value < least:
        raise ShapeError(f"{op}: {name} is {value}, needs at least {least}; use {name}={least}")
    return int(value)


def checked_pair(op: str, name: str, value: Any, least: int) -> Pair:
    """An int or a pair of ints, as a pair."""
    if type(value) is int and value >= least:
        return value, value
    wanted = f"an int or a pair of ints ({name} of the rows, {name} of the columns)"
    if _is_int(value):
        value = (value, value)
    if not isinstance(value, (tuple, list)) or not all(map(_is_int, value)):
        raise _kind(op, name, value, wanted)
    if len(value) != 2:
        raise ShapeError(f"{op}: {name} is {tuple(value)} with {len(value)} numbers, needs {wanted}")
    if min(value) < least:
        raise ShapeError(f"{op}: {name} is {_tuple(value)}, needs at least {least} on both axes; use {name}={least}")
    return int(value[0]), int(value[1])


def checked_padding(op: str, padding: Any, named: bool = True) -> Padding | str:
    """int, (ph, pw) or ((top, bottom), (left, right)) as the last of these; a name stays a name."""
    if type(padding) is int and padding >= 0:
        return (padding, padding), (padding, padding)
    if isinstance(padding, str):
        if not named:
            raise ShapeError(
                f"{op}: padding is {padding!r}, needs numbers: an int, (ph, pw) or ((top, bottom), (left, right))"
            )
        if padding not in NAMED_PADDINGS:
            names = ", ".join(map(repr, NAMED_PADDINGS))
            raise ShapeError(f"{op}: padding is {padding!r}; the names are {names}")
        return padding
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        return checked_pair(op, "padding", padding[0], 0), checked_pair(op, "padding", padding[1], 0)
    ph, pw = checked_pair(op, "padding", padding, 0)
    return (ph, ph), (pw, pw)


def _resolved_padding(padding: Padding | str, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """The numbers behind a named padding.

    same: total = max((ceil(h / s) - 1) * s + d * (k - 1) + 1 - h, 0), the odd one last (same_lower: first).
    full: d * (k - 1) on each side.
    """
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return NO_PADDING
    sides = []
    for h, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-h // s) - 1) * s + d * (k - 1) + 1 - h, 0)
        small, large = total // 2, total - total // 2
        full = d * (k - 1)
        sides.append({"same": (small, large), "same_lower": (large, small), "full": (full, full)}[padding])
    return sides[0], sides[1]


# Words


def _tuple(values: Sequence[int]) -> str:
    return str(tuple(int(v) for v in values))


def _by(pair: Sequence[int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def _either(edits: Sequence[str]) -> str:
    return ", or ".join(edits)


def _fit_formula(name: str, h: int, lo: int, hi: int, d: int, k: int, s: int) -> str:
    return f"{name} = ({h} + {lo} + {hi} - {d}*({k}-1) - 1)//{s} + 1 = {(h + lo + hi - d * (k - 1) - 1) // s + 1}"


def _four_axes(op: str, name: str, shape: Shape, axes: str, unbatched: bool) -> None:
    if len(shape) == 4:
        return
    edit = f"reshape {name} to {axes}"
    if unbatched and len(shape) == 3:
        edit = f"give a single image its batch axis with {name}[None]"
    if unbatched and len(shape) == 2:
        edit = f"give a single grey image its batch and channel axes with {name}[None, None]"
    raise ShapeError(f"{op}: {name} has {len(shape)} axes, shape {_tuple(shape)}, needs 4: {axes}; {edit}")


def _not_huge(op: str, what: str, shape: Shape) -> None:
    elements = math.prod(shape)
    if elements > MOST_ELEMENTS:
        raise MemoryError(
            f"{op}: {what} {_tuple(shape)} would have {elements} elements, {4 * elements} bytes in float32, "
            f"and no more than 2**48 elements are tried; use a smaller padding, dilation or image"
        )


def _kernel_too_large(
    op: str, x_shape: Shape, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> NoReturn:
    size = x_shape[2:]
    padded = [h + lo + hi for h, (lo, hi) in zip(size, padding, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    missing = [max(r - p, 0) for r, p in zip(reach, padded, strict=True)]
    formulas = [
        _fit_formula(name, size[i], *padding[i], dilation[i], kernel[i], stride[i])
        for i, name in enumerate(("oh", "ow"))
        if missing[i]
    ]
    grown = [max(p) + -(-m // 2) if m else max(p) for p, m in zip(padding, missing, strict=True)]
    edits = [f"padding >= {_tuple(grown)}"]
    if min(padded) > 0:
        fitting = [(p - 1) // d + 1 for p, d in zip(padded, dilation, strict=True)]
        edits.append(f"a kernel of at most {_by(fitting)}")
    closer = [(p - 1) // (k - 1) if k > 1 else d for p, k, d in zip(padded, kernel, dilation, strict=True)]
    if max(dilation) > 1 and min(closer) > 0:
        edits.append(f"dilation <= {_tuple([min(c, d) for c, d in zip(closer, dilation, strict=True)])}")
    edits.append(f"images of at least {_by([h + m for h, m in zip(size, missing, strict=True)])}")
    dilated = f" (dilated by {_tuple(dilation)} it reaches over {_by(reach)})" if max(dilation) > 1 else ""
    raise ShapeError(
        f"{op}: kernel {_by(kernel)}{dilated} exceeds the padded image {_by(padded)} "
        f"(x is {_tuple(x_shape)}, padding {padding}): {', '.join(formulas)}; use {_either(edits)}"
    )


def _refuse_unread(
    op: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair
) -> None:
    """The check of `strict`: raise ShapeError if the last window ends before the last row or column of the image."""
    for i, (words, name) in enumerate((("rows", "oh"), ("columns", "ow"))):
        h, k, s, (lo, hi), d = size[i], kernel[i], stride[i], padding[i], dilation[i]
        reach = d * (k - 1) + 1
        unread = h + lo - ((out[i] - 1) * s + reach)
        if unread <= 0:
            continue

        def drops(p: int, step: int, h: int = h, reach: int = reach) -> bool:
            return (h + 2 * p - reach) % step > p

        edits = [f"crop the image to {h - unread} {words}"]
        # At most 64 of each are tried: they are suggestions, and sizes may be huge.
        paddings = [p for p in range(min(reach, 64)) if h + 2 * p >= reach and not drops(p, s)]
        if paddings:
            edits.append(f"use padding {paddings[0]} on the {words} (any of {paddings[:4]})")
        edits.append(f"pad the end by {hi + unread} instead of {hi}")
        strides = [t for t in range(1, min(s, 64)) if (h + lo + hi - reach) % t <= hi]
        if strides:
            edits.append(f"use stride {strides[-1]} (any of {strides[-4:]})")
        raise ShapeError(
            f"{op}: strict=True and the last {unread} of {h} {words} are never read: "
            f"{_fit_formula(name, h, lo, hi, d, k, s)}, so the windows end after "
            f"({out[i]}-1)*{s} + {reach} = {(out[i] - 1) * s + reach} of {h + lo + hi}; {_either(edits)}"
        )


# Convolution


def conv2d_geometry(
    x_shape: Shape,
    w_shape: Shape,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    *,
    strict: bool = False,
) -> Conv2dGeometry:
    """oh = (h + top + bottom - dilation*(kh-1) - 1) // stride + 1, and the same for the columns.

    (n c h w), (o c/groups kh kw) -> (n o oh ow)

    stride, dilation: an int or a pair. padding: an int, (ph, pw), ((top, bottom), (left, right)), 'valid', 'same'
    (oh = ceil(h / stride), the odd one at the end), 'same_lower' (at the start) or 'full' (dilation*(k-1) each side).
    strict: refuse sizes whose last rows or columns no window reads.
    Raises ShapeError for sizes that do not fit, TypeError for numbers that are no integers, MemoryError above 2**48
    elements.
    """
    return _conv2d(
        tuple(x_shape),
        tuple(w_shape),
        checked_pair("conv2d", "stride", stride, 1),
        checked_padding("conv2d", padding),
        checked_pair("conv2d", "dilation", dilation, 1),
        checked_integer("conv2d", "groups", groups, 1),
        strict,
    )


@lru_cache(maxsize=1024)
def _conv2d(
    x_shape: Shape, w_shape: Shape, stride: Pair, padding: Padding | str, dilation: Pair, groups: int, strict: bool
) -> Conv2dGeometry:
    op = "conv2d"
    _four_axes(op, "x", x_shape, "(n, c, h, w)", unbatched=True)
    _four_axes(op, "w", w_shape, "(o, c/groups, kh, kw)", unbatched=False)
    (n, c, *_), (o, c_group, *_) = x_shape, w_shape
    size, kernel = (x_shape[2], x_shape[3]), (w_shape[2], w_shape[3])
    if c == 0:
        raise ShapeError(f"{op}: x has 0 channels, shape {_tuple(x_shape)}, needs at least 1 in (n, c, h, w)")
    if o == 0 or min(kernel) == 0:
        what = "0 output channels" if o == 0 else f"an empty kernel {_by(kernel)}"
        raise ShapeError(f"{op}: w has {what}, shape {_tuple(w_shape)}, needs (o, c/groups, kh, kw), all at least 1")
    if c % groups or o % groups:
        edits = [str(g) for g in range(1, min(c, 1024) + 1) if c % g == 0 and o % g == 0]
        raise ShapeError(
            f"{op}: groups={groups} does not divide the {c} channels of x and the {o} of w "
            f"({c} % {groups} = {c % groups}, {o} % {groups} = {o % groups}); use groups={' or '.join(edits)}"
        )
    if c_group * groups != c:
        raise _wrong_channels(op, x_shape, w_shape, groups)
    numbers = _resolved_padding(padding, size, kernel, stride, dilation)
    oh, ow = (
        (h + lo + hi - d * (k - 1) - 1) // s + 1
        for h, k, s, (lo, hi), d in zip(size, kernel, stride, numbers, dilation, strict=True)
    )
    if oh <= 0 or ow <= 0:
        _kernel_too_large(op, x_shape, kernel, stride, numbers, dilation)
    (top, bottom), (left, right) = numbers
    _not_huge(op, "the padded image", (n, c, size[0] + top + bottom, size[1] + left + right))
    _not_huge(op, "the output", (n, o, oh, ow))
    if strict:
        _refuse_unread(op, size, kernel, stride, numbers, dilation, (oh, ow))
    return Conv2dGeometry(stride, numbers, dilation, groups, size, kernel, (oh, ow), (n, o, oh, ow))


def _wrong_channels(op: str, x_shape: Shape, w_shape: Shape, groups: int) -> ShapeError:
    c, (o, c_group, kh, kw) = x_shape[1], w_shape
    wanted = c_group * groups
    edits = [f"make w ({o}, {c // groups}, {kh}, {kw})"]
    if c_group and c % c_group == 0 and o % (c // c_group) == 0:
        edits.append(f"use groups={c // c_group}")
    if x_shape[3] == wanted:
        edits.append("if x is NHWC use x.permute(0, 3, 1, 2)")
    return ShapeError(
        f"{op}: x has {c} channels, w wants {wanted} (x is {_tuple(x_shape)}, "
        f"w is o c/groups kh kw = {_tuple(w_shape)}, groups={groups}: {c_group}*{groups} = {wanted}); {_either(edits)}"
    )


def conv_transpose2d_geometry(
    x_shape: Shape,
    w_shape: Shape,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> ConvTranspose2dGeometry:
    """oh = (h-1)*stride - top - bottom + dilation*(kh-1) + output_padding + 1: the image whose convolution is x.

    (n c h w), (c o/groups kh kw) -> (n o oh ow)

    Raises ShapeError if output_padding is not smaller than stride or dilation, or nothing is left of the output.
    """
    op = "conv_transpose2d"
    numbers = cast(Padding, checked_padding(op, padding, named=False))
    return _conv_transpose2d(
        tuple(x_shape),
        tuple(w_shape),
        checked_pair(op, "stride", stride, 1),
        numbers,
        checked_pair(op, "output_padding", output_padding, 0),
        checked_integer(op, "groups", groups, 1),
        checked_pair(op, "dilation", dilation, 1),
    )


@lru_cache(maxsize=1024)
def _conv_transpose2d(
    x_shape: Shape, w_shape: Shape, stride: Pair, padding: Padding, output_padding: Pair, groups: int, dilation: Pair
) -> ConvTranspose2dGeometry:
    op = "conv_transpose2d"
    _four_axes(op, "x", x_shape, "(n, c, h, w)", unbatched=True)
    _four_axes(op, "w", w_shape, "(c, o/groups, kh, kw)", unbatched=False)
    (n, c, *_), (c_w, o_group, *_) = x_shape, w_shape
    size, kernel = (x_shape[2], x_shape[3]), (w_shape[2], w_shape[3])
    if c == 0 or min(size) == 0:
        raise ShapeError(f"{op}: x is empty, shape {_tuple(x_shape)}, needs (n, c, h, w) with c, h, w at least 1")
    if o_group == 0 or min(kernel) == 0:
        what = "0 output channels" if o_group == 0 else f"an empty kernel {_by(kernel)}"
        raise ShapeError(f"{op}: w has {what}, shape {_tuple(w_shape)}, needs (c, o/groups, kh, kw), all at least 1")
    if c_w != c:
        edits = [f"make w ({c}, {o_group}, {kernel[0]}, {kernel[1]})"]
        if o_group * groups == c:
            edits.append("if w is a conv2d weight (o, c, kh, kw) use w.transpose(0, 1)")
        if x_shape[3] == c_w:
            edits.append("if x is NHWC use x.permute(0, 3, 1, 2)")
        raise ShapeError(
            f"{op}: x has {c} channels, w wants {c_w} "
            f"(x is {_tuple(x_shape)}, w is c o/groups kh kw = {_tuple(w_shape)}); {_either(edits)}"
        )
    if c % groups:
        divisors = [str(g) for g in range(1, min(c, 1024) + 1) if c % g == 0]
        raise ShapeError(
            f"{op}: groups={groups} does not divide the {c} channels of x ({c} % {groups} = {c % groups}); "
            f"use groups={' or '.join(divisors)}"
        )
    out = []
    for i, name in enumerate(("oh", "ow")):
        h, k, s, (lo, hi), extra, d = size[i], kernel[i], stride[i], padding[i], output_padding[i], dilation[i]
        if extra >= max(s, d):
            raise ShapeError(
                f"{op}: output_padding {_tuple(output_padding)} must be smaller than stride {_tuple(stride)} or "
                f"dilation {_tuple(dilation)}; use output_padding <= {max(s, d) - 1}, or a larger stride"
            )
        out.append((h - 1) * s - lo - hi + d * (k - 1) + extra + 1)
        if out[-1] <= 0:
            most = ((h - 1) * s + d * (k - 1) + extra) // 2
            raise ShapeError(
                f"{op}: nothing is left of the output (x is {_tuple(x_shape)}, kernel {_by(kernel)}): "
                f"{name} = ({h}-1)*{s} - {lo} - {hi} + {d}*({k}-1) + {extra} + 1 = {out[-1]}; "
                f"use padding <= {most}, or a larger stride or kernel"
            )
    out_shape = (n, o_group * groups, out[0], out[1])
    _not_huge(op, "the output", out_shape)
    return ConvTranspose2dGeometry(
        stride, padding, output_padding, dilation, groups, size, kernel, (out[0], out[1]), out_shape
    )


# Pooling


def pool2d_geometry(
    x_shape: Shape,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    strict: bool = False,
    name: str = "max_pool2d",
) -> Pool2dGeometry:
    """oh = (h + top + bottom - dilation*(kh-1) - 1) // stride + 1; with ceil_mode the division rounds up.

    (n c h w) -> (n c oh ow)

    stride None is kernel_size. With ceil_mode a window that would start in the bottom or right padding is dropped.
    Raises ShapeError if a padding exceeds half of the (dilated) kernel or a window would see padding only.
    """
    kernel = checked_pair(name, "kernel_size", kernel_size, 1)
    return _pool2d(
        tuple(x_shape),
        kernel,
        kernel if stride is None else checked_pair(name, "stride", stride, 1),
        checked_padding(name, padding),
        checked_pair(name, "dilation", dilation, 1),
        bool(ceil_mode),
        strict,
        name,
    )


@lru_cache(maxsize=1024)
def _pool2d(
    x_shape: Shape,
    kernel: Pair,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
    ceil_mode: bool,
    strict: bool,
    op: str,
) -> Pool2dGeometry:
    _four_axes(op, "x", x_shape, "(n, c, h, w)", unbatched=True)
    n, c, *_ = x_shape
    size = (x_shape[2], x_shape[3])
    if min(x_shape[1:]) == 0:
        raise ShapeError(f"{op}: x is empty, shape {_tuple(x_shape)}, needs (n, c, h, w) with c, h, w at least 1")
    numbers = _resolved_padding(padding, size, kernel, stride, dilation)
    out = []
    for h, k, s, (lo, hi), d in zip(size, kernel, stride, numbers, dilation, strict=True):
        reach = d * (k - 1) + 1
        if max(lo, hi) > reach // 2:
            raise ShapeError(
                f"{op}: padding {max(lo, hi)} is more than half of the kernel {_by(kernel)}, needs at most "
                f"({d}*({k}-1) + 1)//2 = {reach // 2}; use padding <= {reach // 2}, "
                f"or a kernel of at least {2 * max(lo, hi)}, or pad x before with F.pad"
            )
        room = h + lo + hi - reach
        windows = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (windows - 1) * s >= h + lo:
            windows -= 1
        out.append(windows if room >= 0 or ceil_mode else 0)
    if min(out) <= 0:
        _kernel_too_large(op, x_shape, kernel, stride, numbers, dilation)
    for i, (words, (lo, _)) in enumerate(zip(("rows", "columns"), numbers, strict=True)):
        h, s, d = size[i], stride[i], dilation[i]
        # A window that starts at t < 0 first meets the image at t % d.
        if h < d and any(t % d >= h for t in range(-lo, min(0, out[i] * s - lo), s)):
            raise ShapeError(
                f"{op}: dilation {d} lets a window see padding only: x has {h} {words} "
                f"(shape {_tuple(x_shape)}), padding {lo}; use padding=0, or dilation <= {h}"
            )
    (top, bottom), (left, right) = numbers
    _not_huge(op, "the padded image", (n, c, size[0] + top + bottom, size[1] + left + right))
    _not_huge(op, "the output", (n, c, out[0], out[1]))
    if strict:
        _refuse_unread(op, size, kernel, stride, numbers, dilation, (out[0], out[1]))
    return Pool2dGeometry(stride, numbers, dilation, ceil_mode, size, kernel, (out[0], out[1]), (n, c, out[0], out[1]))


# Broadcasting, products, layout


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
                    f"line {_tuple(a)} up with axis {b.index(a[0])} by reshaping it to {_tuple(a + (1,) * ones)}"
                )
    return (
        f"{op}: shapes {' and '.join(map(_tuple, shapes))} do not broadcast: axis {clash} has lengths "
        f"{' and '.join(map(str, dict.fromkeys(lengths)))}, needs equal lengths or 1:\n{table}\n  {_either(edits[:3])}"
    )


def broadcastable(*shapes: Shape) -> bool:
    """Whether `broadcast_shape` would accept the shapes."""
    ndim = max(map(len, shapes), default=0)
    return all(len({s[i] for s in shapes if len(s) >= -i} - {1}) <= 1 for i in range(-ndim, 0))


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """(... m k), (... k n) -> (... m n); a vector takes part as a row on the left, as a column on the right."""
    if not a or not b:
        raise ShapeError(
            f"matmul: shapes are {_tuple(a)} and {_tuple(b)}, needs at least 1 axis each; multiply scalars with *"
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
            f"matmul: a is {_tuple(a)} with {inner_a} columns, b is {_tuple(b)} with {inner_b} rows, "
            f"(... m k) @ (... k n) needs them equal; use {_either(edits)}"
        )
    batch = broadcast_shape(a[:-2], b[:-2], op="matmul (batch axes)")
    return batch + rows + columns


def linear_shape(x: Shape, w: Shape, b: Shape | None = None) -> Shape:
    """(... in), (out in), (out) -> (... out)"""
    if len(w) != 2:
        raise ShapeError(f"linear: w has {len(w)} axes, shape {_tuple(w)}, needs 2: (out, in)")
    if not x:
        raise ShapeError("linear: x has no axes, shape (), needs (..., in); use x[None]")
    features, (out, wanted) = x[-1], w
    if features != wanted:
        edits = [f"use Linear({features}, {out}) or in_features=None"]
        if math.prod(x[1:]) == wanted:
            edits.append(f"flatten the image first: x.flatten(1) is ({x[0]}, {wanted})")
        if out == features:
            edits.append(f"if w is (in, out) use its transpose, {_tuple(w[::-1])}")
        ours, theirs = _as_images(features, wanted)
        raise ShapeError(
            f"linear: x gives {ours} features (x is {_tuple(x)}), w wants in_features={theirs} "
            f"(w is (out, in) = {_tuple(w)}); {_either(edits)}"
        )
    if b is not None and b != (out,):
        raise ShapeError(f"linear: b has shape {_tuple(b)}, needs ({out},), one number for each row of w {_tuple(w)}")
    return (*x[:-1], out)


def _as_images(a: int, b: int) -> tuple[str, str]:
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
                f"concat: array {i} has {len(shape)} axes, shape {_tuple(shape)}, the first has {len(first)}, "
                f"shape {_tuple(first)}, needs the same number; use stack to make a new axis"
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
                f"concat: array {i} is {_tuple(shape)}, the first is {_tuple(first)}, "
                f"all axes but axis {k} need equal lengths, "
                f"axis {wrong[0]} has {shape[wrong[0]]} and {first[wrong[0]]}{edit}"
            )
    return (*first[:k], sum(shape[k] for shape in shapes), *first[k + 1 :])


def reshape_shape(shape: Shape, new: Any) -> Shape:
    """The shape `new` with its -1, if any, put in: size // product of the others."""
    if _is_int(new):
        new = (new,)
    if not isinstance(new, (tuple, list)) or not all(map(_is_int, new)):
        raise _kind("reshape", "shape", new, "an int or a tuple of ints")
    wanted = tuple(int(length) for length in new)
    size = math.prod(shape)
    if wanted.count(-1) > 1:
        raise ShapeError(
            f"reshape: {_tuple(wanted)} holds {wanted.count(-1)} times -1, at most one length can be found"
        )
    if any(length < -1 for length in wanted):
        raise ShapeError(f"reshape: {_tuple(wanted)} holds {min(wanted)}, needs lengths >= 0 or one -1")
    rest = math.prod(length for length in wanted if length != -1)
    if -1 in wanted:
        if rest == 0:
            raise ShapeError(
                f"reshape: -1 in {_tuple(wanted)} could be any length, the others multiply to 0; write the length out"
            )
        if size % rest:
            raise ShapeError(
                f"reshape: {_tuple(shape)} has {size} elements, {_tuple(wanted)} needs a multiple of {rest}: "
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
            f"reshape: {_tuple(shape)} has {size} elements, {_tuple(wanted)} has {rest}, needs equal numbers"
            + (f"; {_either(edits[:2])}" if edits else "")
        )
    return wanted


def normalize_axes(axis: Any, ndim: int, op: str) -> Shape:
    """Axes counted from 0: None is all of them, () none; negative ones count from the end.

    Raises AxisError out of range, ShapeError for duplicates, TypeError for what is no integer.
    """
    if axis is None:
        return tuple(range(ndim))
    if _is_int(axis):
        axis = (axis,)
    if not isinstance(axis, (tuple, list)) or not all(map(_is_int, axis)):
        raise _kind(op, "axis", axis, "None, an int or a tuple of ints")
    for a in axis:
        if not -ndim <= a < ndim:
            there = f"-{ndim} to {ndim - 1}" if ndim else "none"
            raise AxisError(f"{op}: axis {a} is out of range, the array has {ndim} axes; the axes are {there}")
    axes = tuple(int(a) % ndim for a in axis)
    if len(set(axes)) < len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        raise ShapeError(
            f"{op}: axis {_tuple(axis)} names axis {twice} twice, needs different axes; "
            f"use {tuple(dict.fromkeys(axes))}"
        )
    return axes
