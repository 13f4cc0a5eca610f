"""Cutting, repeating, moving and turning: what Tensors are rearranged with beyond their layout."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op
from ..shapes import ShapeError, is_int, normalize_axes
from .convert import clone
from .elementwise import array_of, where
from .index import getitem
from .layout import broadcast_to, flip, one_of, permute, reshape, sizes_of, transpose

__all__ = [
    "chunk",
    "masked_fill",
    "movedim",
    "narrow",
    "pixel_shuffle",
    "pixel_unshuffle",
    "repeat",
    "repeat_interleave",
    "roll",
    "rot90",
    "select",
    "split",
    "tile",
    "unbind",
    "unflatten",
]


@op
def rolled(x: Any, /, shifts: Any, axis: Any) -> Any:
    """x with the elements along each axis moved on by its shift, those beyond the end to the beginning."""
    return np.roll(x, shifts, normalize_axes(axis, x.ndim, "roll"))


rolled.vjp(x=lambda g, shifts, axis: rolled(g, tuple(-n for n in shifts), axis))
rolled.formula(x="unroll(∂out, shifts, axis)")
rolled.flops(moves_data)


@rolled.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), draw.choice([{"shifts": (1,), "axis": (2,)}, {"shifts": (-1, 5), "axis": (-2, 0)}])


@method
def roll(x: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None, *, axis: Any = None) -> Any:
    """x with its elements moved on by `shifts` along `dims`, round the end; without dims, of x laid out in one row."""
    dims = one_of("roll", dims=dims, axis=axis)
    steps = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None:
        if len(steps) != 1:
            raise ValueError(f"roll: shifts are {steps} without dims; give one shift, or dims of the same number")
        return reshape(rolled(reshape(x, (-1,)) if prod(x.shape) else x, steps, (0,)), tuple(x.shape))
    axes = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(steps) != len(axes):
        raise ValueError(f"roll: {len(steps)} shifts {steps} for {len(axes)} dims {axes}; give one for each")
    for step, axis in zip(steps, axes, strict=True):  # an axis may be named twice
        x = rolled(x, (step,), (axis,))
    return x


@method
def repeat(x: Any, *sizes: Any) -> Tensor:
    """x laid side by side sizes[i] times along axis i, as PyTorch's repeat: NumPy's tile. New axes come first."""
    counts = sizes_of("repeat", sizes)
    lead = len(counts) - x.ndim
    if lead < 0 or any(n < 0 for n in counts):
        raise ShapeError(f"repeat: sizes {counts} for shape {tuple(x.shape)}; one >= 0 is needed for every axis")
    shape = (1,) * lead + tuple(x.shape)
    apart = reshape(x, tuple(n for length in shape for n in (1, length)))
    stretched = broadcast_to(apart, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return reshape(stretched, tuple(n * length for n, length in zip(counts, shape, strict=True)))


@method
def tile(x: Any, *dims: Any) -> Tensor:
    """x laid side by side dims[i] times along axis i; axes that are not named, the first ones, once."""
    counts = sizes_of("tile", dims)
    return repeat(x, (1,) * (x.ndim - len(counts)) + counts)


@method
def repeat_interleave(x: Any, repeats: Any, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """x with each place along `dim` `repeats` times in a row, or as often as the list says: NumPy's repeat.

    Without dim, of x laid out in one row.
    """
    along = one_of("repeat_interleave", dim=dim, axis=axis)
    if along is None:
        x, along = reshape(x, (prod(x.shape),)), 0
    (along,) = normalize_axes(along, x.ndim, "repeat_interleave")
    counts = np.asarray(array_of(repeats))
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts < 0).any():
        raise ValueError(f"repeat_interleave: repeats={repeats!r}; an integer >= 0, or one for each place, is needed")
    if counts.ndim and len(counts) not in (1, x.shape[along]):
        raise ShapeError(
            f"repeat_interleave: {len(counts)} repeats for an axis of length {x.shape[along]}; one for each is needed"
        )
    return getitem(x, (slice(None),) * along + (np.repeat(np.arange(x.shape[along]), counts),))


@method
def select(x: Any, dim: int, index: int) -> Tensor:
    """The part of x at `index` of `dim`, which it lacks."""
    (along,) = normalize_axes(dim, x.ndim, "select")
    return getitem(x, (slice(None),) * along + (index,))


@method
def narrow(x: Any, dim: int, start: int, length: int) -> Tensor:
    """`length` places of `dim` from `start` on, which may count from the end."""
    (along,) = normalize_axes(dim, x.ndim, "narrow")
    n = x.shape[along]
    first = start + n if start < 0 else start
    if not 0 <= first <= n or length < 0 or first + length > n:
        raise ShapeError(f"narrow: {length} places from {start} on of an axis of length {n}; they must lie in it")
    return getitem(x, (slice(None),) * along + (slice(first, first + length),))


@method
def rot90(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """x turned k times by a quarter, from the first of two axes towards the second: a copy."""
    if len(dims) != 2:
        raise ValueError(f"rot90: dims={tuple(dims)}; two axes are needed")
    (a,), (b,) = (normalize_axes(d, x.ndim, "rot90") for d in dims)
    if a == b:
        raise ValueError(f"rot90: dims={tuple(dims)} are one axis; two are needed")
    quarters = k % 4
    if quarters == 2:
        return flip(x, (a, b))
    return flip(transpose(x, a, b), (a if quarters == 1 else b,)) if quarters else clone(x)


@method
def split(x: Any, split_size: Any, dim: int | None = None, *, axis: int | None = None) -> Any:
    """x cut along `dim` into parts of split_size, the last one shorter, or of the sizes listed: views, in a tuple."""
    (along,) = normalize_axes(one_of("split", dim=dim, axis=axis) or 0, x.ndim, "split")
    n = x.shape[along]
    if is_int(split_size):
        if int(split_size) < 0 or (not split_size and n):
            raise ShapeError(f"split: parts of {split_size} for an axis of length {n}; at least 1 is needed")
        size = int(split_size)
        sizes = [min(size, n - start) for start in range(0, n, size)] if n else [0]
    else:
        sizes = [int(part) for part in split_size]
        if any(part < 0 for part in sizes) or sum(sizes) != n:
            raise ShapeError(f"split: parts of {sizes} for an axis of length {n}; they must add up to it")
    ends = list(accumulate(sizes))
    cuts = (slice(end - part, end) for part, end in zip(sizes, ends, strict=True))
    return tuple(getitem(x, (slice(None),) * along + (cut,)) for cut in cuts)


@method
def chunk(x: Any, chunks: int, dim: int | None = None, *, axis: int | None = None) -> Any:
    """x cut along `dim` into at most `chunks` parts of one length, the last one shorter: views, in a tuple."""
    if not is_int(chunks) or chunks < 1:
        raise ValueError(f"chunk: chunks={chunks!r}; an integer of at least 1 is needed")
    (along,) = normalize_axes(one_of("chunk", dim=dim, axis=axis) or 0, x.ndim, "chunk")
    size = -(-x.shape[along] // chunks)
    return split(x, size or [0] * chunks, along)


@method
def unbind(x: Any, dim: int | None = None, *, axis: int | None = None) -> Any:
    """The parts of x at each place of `dim`, which they lack: views, in a tuple."""
    (along,) = normalize_axes(one_of("unbind", dim=dim, axis=axis) or 0, x.ndim, "unbind")
    return tuple(getitem(x, (slice(None),) * along + (i,)) for i in range(x.shape[along]))


@method
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x with one number where `mask` holds; both broadcast. No gradient flows to x there."""
    if np.ndim(array_of(value)) != 0:
        raise ValueError(f"masked_fill: the value has shape {np.shape(array_of(value))}; one number is needed")
    return where(mask, value, x)


@method
def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """Axis `dim` as several of these sizes, one of which may be -1; the inverse of flatten."""
    (along,) = normalize_axes(dim, x.ndim, "unflatten")
    parts = tuple(int(n) for n in sizes)
    known = prod(n for n in parts if n != -1)
    if -1 in parts and known and not x.shape[along] % known and parts.count(-1) == 1:
        parts = tuple(x.shape[along] // known if n == -1 else n for n in parts)
    if -1 in parts or prod(parts) != x.shape[along]:
        raise ShapeError(
            f"unflatten: sizes {tuple(sizes)} for axis {along} of length {x.shape[along]}; that is no product of them"
        )
    return reshape(x, (*x.shape[:along], *parts, *x.shape[along + 1 :]))


@method
def movedim(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """x with the axes of `source` at `destination`; the others keep their order."""
    first, last = normalize_axes(source, x.ndim, "movedim"), normalize_axes(destination, x.ndim, "movedim")
    if source is None or destination is None or len(first) != len(last):
        raise ValueError(f"movedim: {source} to {destination}; as many destinations as sources are needed")
    order = [i for i in range(x.ndim) if i not in first]
    for place, axis in sorted(zip(last, first, strict=True)):
        order.insert(place, axis)
    return permute(x, tuple(order))


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(... c*r*r h w) -> (... c h*r w*r): the r*r channels of a group become a square of pixels.

    Source: Shi et al., Real-time single image and video super-resolution (2016), sec. 3.2.
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle: shape {tuple(input.shape)} by {r}; it needs (... c*{r}*{r} h w), c*{r}*{r} channels"
        )
    *lead, c, h, w = input.shape
    k = len(lead)
    x = reshape(input, (*lead, c // (r * r), r, r, h, w))
    x = permute(x, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(x, (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """(... c h*r w*r) -> (... c*r*r h w): the inverse of pixel_shuffle."""
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise ShapeError(f"pixel_unshuffle: shape {tuple(input.shape)} by {r}; it needs (... c h*{r} w*{r})")
    *lead, c, h, w = input.shape
    k = len(lead)
    x = reshape(input, (*lead, c, h // r, r, w // r, r))
    x = permute(x, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(x, (*lead, c * r * r, h // r, w // r))
