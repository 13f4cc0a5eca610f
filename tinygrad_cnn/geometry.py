"""Geometry of windows: the output shapes of convolution and pooling, known or refused before any array is there.

An error says what is there, what is needed, the formula with the numbers put in, and the edits that would fix it.
Source of the formulas: Dumoulin & Visin, A guide to convolution arithmetic (2016), sections 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, cast

from .shapes import Shape, ShapeError, either, is_int, shown, wrong_kind

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

MOST_ELEMENTS = 2**48
NAMED_PADDINGS = ("valid", "same", "same_lower", "full")
NO_PADDING: Padding = ((0, 0), (0, 0))


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


def checked_integer(op: str, name: str, value: Any, least: int) -> int:
    """An int of at least `least`, whatever kind of integer it came as."""
    if not is_int(value):
        raise wrong_kind(op, name, value, "an int")
    if value < least:
        raise ShapeError(f"{op}: {name} is {value}, needs at least {least}; use {name}={least}")
    return int(value)


def checked_pair(op: str, name: str, value: Any, least: int, wanted: str = "") -> Pair:
    """An int or a pair of ints, as a pair. `wanted` says what else the caller would take."""
    if type(value) is int and value >= least:
        return value, value
    wanted = wanted or f"an int or a pair of ints ({name} of the rows, {name} of the columns)"
    if is_int(value):
        value = (value, value)
    if not isinstance(value, (tuple, list)) or not all(map(is_int, value)):
        raise wrong_kind(op, name, value, wanted)
    if len(value) != 2:
        raise ShapeError(f"{op}: {name} is {tuple(value)} with {len(value)} numbers, needs {wanted}")
    if min(value) < least:
        raise ShapeError(f"{op}: {name} is {shown(value)}, needs at least {least} on both axes; use {name}={least}")
    return int(value[0]), int(value[1])


def checked_single(op: str, name: str, value: Any, least: int) -> int:
    """An int or a tuple of one, as an int: what a parameter of one axis can be."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ShapeError(f"{op}: {name} is {tuple(value)} with {len(value)} numbers, needs one; use an int")
        value = value[0]
    return checked_integer(op, name, value, least)


def checked_padding_1d(op: str, padding: Any, named: bool = True) -> Padding | str:
    """int, (p,) or ((left, right),) as the padding of an image of height 1; a name stays a name."""
    if isinstance(padding, str):
        return checked_padding(op, padding, named)
    names = f", or one of {', '.join(map(repr, NAMED_PADDINGS))}" if named else ""
    if isinstance(padding, (tuple, list)) and len(padding) == 1 and isinstance(padding[0], (tuple, list)):
        return (0, 0), checked_pair(op, "padding", padding[0], 0, "((left, right),)")
    if isinstance(padding, (tuple, list)) and len(padding) != 1:
        raise ShapeError(f"{op}: padding is {tuple(padding)}, needs an int, (p,) or ((left, right),){names}")
    number = checked_single(op, "padding", padding, 0)
    return (0, 0), (number, number)


def checked_padding(op: str, padding: Any, named: bool = True) -> Padding | str:
    """int, (ph, pw) or ((top, bottom), (left, right)) as the last of these; a name stays a name."""
    if type(padding) is int and padding >= 0:
        return (padding, padding), (padding, padding)
    names = ", ".join(map(repr, NAMED_PADDINGS))
    wanted = "an int, (ph, pw) or ((top, bottom), (left, right))" + (f", or one of {names}" if named else "")
    if isinstance(padding, str):
        if not named:
            raise ShapeError(f"{op}: padding is {padding!r}, needs numbers: {wanted}")
        if padding not in NAMED_PADDINGS:
            raise ShapeError(f"{op}: padding is {padding!r}; the names are {names}")
        return padding
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        return checked_pair(op, "padding", padding[0], 0), checked_pair(op, "padding", padding[1], 0)
    ph, pw = checked_pair(op, "padding", padding, 0, wanted)
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


def _by(pair: Sequence[int]) -> str:
    return f"{pair[0]}x{pair[1]}"


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
    raise ShapeError(f"{op}: {name} has {len(shape)} axes, shape {shown(shape)}, needs 4: {axes}; {edit}")


def check_not_huge(op: str, what: str, shape: Shape, edit: str = "use a smaller padding, dilation or image") -> None:
    """Raise MemoryError, before anything is allocated, for a shape of more than MOST_ELEMENTS."""
    elements = math.prod(shape)
    if elements > MOST_ELEMENTS:
        raise MemoryError(
            f"{op}: {what} {shown(shape)} would have {elements} elements, {4 * elements} bytes in float32, "
            f"and no more than 2**48 elements are tried; {edit}"
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
    edits = [f"padding >= {shown(grown)}"]
    if min(padded) > 0:
        fitting = [(p - 1) // d + 1 for p, d in zip(padded, dilation, strict=True)]
        edits.append(f"a kernel of at most {_by(fitting)}")
    closer = [(p - 1) // (k - 1) if k > 1 else d for p, k, d in zip(padded, kernel, dilation, strict=True)]
    if max(dilation) > 1 and min(closer) > 0:
        edits.append(f"dilation <= {shown([min(c, d) for c, d in zip(closer, dilation, strict=True)])}")
    edits.append(f"images of at least {_by([h + m for h, m in zip(size, missing, strict=True)])}")
    dilated = f" (dilated by {shown(dilation)} it reaches over {_by(reach)})" if max(dilation) > 1 else ""
    raise ShapeError(
        f"{op}: kernel {_by(kernel)}{dilated} exceeds the padded image {_by(padded)} "
        f"(x is {shown(x_shape)}, padding {padding}): {', '.join(formulas)}; use {either(edits)}"
    )


def unread_at_end(h: int, before: int, stride: int, reach: int, out: int) -> int:
    """How many of h pixels, with `before` pixels of padding before them, lie behind the last of `out` windows."""
    return max(h + before - ((out - 1) * stride + reach), 0)


def _refuse_unread(
    op: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair
) -> None:
    """The check of `strict`: raise ShapeError if the last window ends before the last row or column of the image."""
    for i, (words, name) in enumerate((("rows", "oh"), ("columns", "ow"))):
        h, k, s, (lo, hi), d = size[i], kernel[i], stride[i], padding[i], dilation[i]
        reach = d * (k - 1) + 1
        unread = unread_at_end(h, lo, s, reach, out[i])
        if not unread:
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
            f"({out[i]}-1)*{s} + {reach} = {(out[i] - 1) * s + reach} of {h + lo + hi}; {either(edits)}"
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
        raise ShapeError(f"{op}: x has 0 channels, shape {shown(x_shape)}, needs at least 1 in (n, c, h, w)")
    if o == 0 or min(kernel) == 0:
        what = "0 output channels" if o == 0 else f"an empty kernel {_by(kernel)}"
        raise ShapeError(f"{op}: w has {what}, shape {shown(w_shape)}, needs (o, c/groups, kh, kw), all at least 1")
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
    check_not_huge(op, "the padded image", (n, c, size[0] + top + bottom, size[1] + left + right))
    check_not_huge(op, "the output", (n, o, oh, ow))
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
        f"{op}: x has {c} channels, w wants {wanted} (x is {shown(x_shape)}, "
        f"w is o c/groups kh kw = {shown(w_shape)}, groups={groups}: {c_group}*{groups} = {wanted}); {either(edits)}"
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
        raise ShapeError(f"{op}: x is empty, shape {shown(x_shape)}, needs (n, c, h, w) with c, h, w at least 1")
    if o_group == 0 or min(kernel) == 0:
        what = "0 output channels" if o_group == 0 else f"an empty kernel {_by(kernel)}"
        raise ShapeError(f"{op}: w has {what}, shape {shown(w_shape)}, needs (c, o/groups, kh, kw), all at least 1")
    if c_w != c:
        edits = [f"make w ({c}, {o_group}, {kernel[0]}, {kernel[1]})"]
        if o_group * groups == c:
            edits.append("if w is a conv2d weight (o, c, kh, kw) use w.transpose(0, 1)")
        if x_shape[3] == c_w:
            edits.append("if x is NHWC use x.permute(0, 3, 1, 2)")
        raise ShapeError(
            f"{op}: x has {c} channels, w wants {c_w} "
            f"(x is {shown(x_shape)}, w is c o/groups kh kw = {shown(w_shape)}); {either(edits)}"
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
                f"{op}: output_padding {shown(output_padding)} must be smaller than stride {shown(stride)} or "
                f"dilation {shown(dilation)}; use output_padding <= {max(s, d) - 1}, or a larger stride"
            )
        out.append((h - 1) * s - lo - hi + d * (k - 1) + extra + 1)
        if out[-1] <= 0:
            most = ((h - 1) * s + d * (k - 1) + extra) // 2
            raise ShapeError(
                f"{op}: nothing is left of the output (x is {shown(x_shape)}, kernel {_by(kernel)}): "
                f"{name} = ({h}-1)*{s} - {lo} - {hi} + {d}*({k}-1) + {extra} + 1 = {out[-1]}; "
                f"use padding <= {most}, or a larger stride or kernel"
            )
    out_shape = (n, o_group * groups, out[0], out[1])
    check_not_huge(op, "the output", out_shape)
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
        raise ShapeError(f"{op}: x is empty, shape {shown(x_shape)}, needs (n, c, h, w) with c, h, w at least 1")
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
                f"(shape {shown(x_shape)}), padding {lo}; use padding=0, or dilation <= {h}"
            )
    (top, bottom), (left, right) = numbers
    check_not_huge(op, "the padded image", (n, c, size[0] + top + bottom, size[1] + left + right))
    check_not_huge(op, "the output", (n, c, out[0], out[1]))
    if strict:
        _refuse_unread(op, size, kernel, stride, numbers, dilation, (out[0], out[1]))
    return Pool2dGeometry(stride, numbers, dilation, ceil_mode, size, kernel, (out[0], out[1]), (n, c, out[0], out[1]))
