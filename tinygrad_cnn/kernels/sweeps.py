"""Passes over the values of large arrays, one after the other in memory and shared by threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from .windows import channels_last

Array = NDArray[Any]

SMALL = 2**13  # for fewer values np.where is as fast
FEW = 2**14  # and np.maximum

_ZEROS = {np.dtype(t): np.zeros((), t) for t in (np.float16, np.float32, np.float64)}  # 0.5 us faster than a Python 0


def masked(x: Array, keep: Array) -> Array:
    """x where `keep` is true, else 0, in the memory order of `keep`. Shapes are equal or broadcast.

    The layers below have the order of `keep`, whatever order a mean or a reshape above has given to x. np.where takes
    20 times as long where the condition is as good as random.
    """
    if x.size >= SMALL and x.shape == keep.shape and x.dtype.char in "fd" and keep.dtype == bool:
        flat = in_one_order(x, keep) or in_one_order(ordered_as(keep, x), keep)
        if flat:
            return back(_masked(*flat), keep)
    return np.where(keep, x, x.dtype.type(0))


def masked_positive(x: Array, where: Array) -> Array:
    """x where `where` > 0, else 0, in the memory order of `where`. Of one shape and dtype, or broadcast."""
    if x.size >= SMALL and x.shape == where.shape and x.dtype == where.dtype and x.dtype.char in "fd":
        flat = in_one_order(x, where) or in_one_order(ordered_as(where, x), where)
        if flat and compiled.available():
            return back(_swept(_mask_positive, *flat), where)
    return masked(x, where > 0)


def rectified(x: Array) -> Array:
    """max(x, 0), where nan stays and -0.0 becomes 0.0, in the memory order of x.

    np.maximum takes 3 times as long in the cache, and 1.3 times beyond it with two threads.
    """
    flat = in_one_order(x) if x.size >= FEW and x.dtype.char in "fd" else []
    if flat:
        return back(_swept(_rectify if compiled.available() else _rectify_by_numpy, *flat), x)
    rectified: Array = np.maximum(x, _ZEROS.get(x.dtype, 0))
    return rectified


def added(x: Array, y: Array) -> Array:
    """x + y, in the memory order that they share."""
    flat = []
    if x.size >= FEW and x.shape == y.shape and x.dtype == y.dtype and x.dtype.char in "fd":
        flat = in_one_order(x, y)
    if not flat:
        return np.asarray(x + y)
    return back(_swept(_add_by_numpy, *flat), x)


def in_one_order(*arrays: Array) -> list[Array]:
    """The values of arrays of one shape, in the one order in memory that they have, or no arrays: (...) -> (size)."""
    if all(x.flags.c_contiguous for x in arrays):
        return [x.reshape(-1) for x in arrays]
    if arrays[0].ndim == 4 and all(map(channels_last, arrays)):
        return [x.transpose(0, 2, 3, 1).reshape(-1) for x in arrays]
    return []


def ordered_as(keep: Array, x: Array) -> Array:
    """x in the memory order of `keep`, a copy."""
    copy = np.empty_like(keep, x.dtype)
    copy[...] = x
    return copy


def back(flat: Array, x: Array) -> Array:
    """The values in the order of x in memory, in its shape: (size) -> (...)."""
    if x.flags.c_contiguous:
        return flat.reshape(x.shape)
    n, c, h, w = x.shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _masked(x: Array, keep: Array) -> Array:
    if compiled.available():
        return _swept(_mask, x, keep)
    return masked_by_bits(x, keep)


def masked_by_bits(x: Array, keep: Array) -> Array:
    """x where `keep` is true, else 0, of one contiguous shape: np.where stumbles over branches that nobody foresees."""
    # The bits of x and of -1 or 0.
    bits = np.dtype(f"i{x.itemsize}")
    which = keep.astype(bits)
    np.negative(which, out=which)
    y: Array = np.bitwise_and(x.view(bits), which, out=which).view(x.dtype)
    return y


def _swept(loop: Any, x: Array, *others: Array) -> Array:
    """What the loop writes, in the dtype of x: (size), ... -> (size)."""
    y = buffers.empty(x.shape, x.dtype)

    def body(first: int, last: int) -> None:
        part = slice(first, last)
        loop(x[part], *(other[part] for other in others), y[part])

    parallel.spans(body, len(x), float(len(x)))
    return y


def _rectify_by_numpy(x: Array, y: Array) -> None:
    np.maximum(x, _ZEROS[x.dtype], out=y)


def _add_by_numpy(x: Array, other: Array, y: Array) -> None:
    np.add(x, other, out=y)


@compiled.compiled
def _mask(x: Array, keep: Array, y: Array) -> None:
    for e in range(len(y)):
        y[e] = x[e] if keep[e] else 0


@compiled.compiled
def _mask_positive(x: Array, where: Array, y: Array) -> None:
    for e in range(len(y)):
        y[e] = x[e] if where[e] > 0 else 0


@compiled.compiled
def _rectify(x: Array, y: Array) -> None:
    for e in range(len(y)):
        y[e] = 0 if x[e] <= 0 else x[e]
