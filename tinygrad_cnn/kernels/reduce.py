"""Sums whose rounding error grows with the logarithm of their length, whatever the axes and the memory layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import norm

Array = NDArray[Any]

# NumPy adds runs of 128 plainly before it adds in pairs; sums no longer than SMALL gain nothing from a detour.
RUN = 128
SMALL = 1024
_add: Any = np.add.reduce


def widened(x: Array) -> Array:
    """x, and float16 as float32: half precision is summed in single and rounded once."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def sum_pairwise(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Sum over axes, in pairs: the relative error is of the order of log(n) units, over leading axes too.

    (...) -> (... without axes), or with length 1 there if keepdims

    NumPy adds in pairs along the fastest axis in memory only: np.ones((2**25, 2), np.float32).sum(0) is 16777216.
    float16 is summed in float32. axes are non-negative, without duplicates.
    Source: Higham, The accuracy of floating point summation (1993), sec. 3.
    """
    half = x.dtype == np.float16
    if x.size <= SMALL or x.dtype.kind != "f":
        small = np.asarray(_add(x, axes, np.float32 if half else None, None, keepdims))
        return small.astype(x.dtype) if half else small
    if not axes:
        return x.copy()
    if not keepdims and axes == (0, *range(2, x.ndim)) and norm.fits(x):
        return norm.total(x)
    wide = np.dtype(np.float32) if half else x.dtype
    # Work in memory order, where NumPy reads runs.
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    reduced = [axis in axes for axis in order]
    y = x.transpose(order)
    end = x.ndim
    while end:
        start = end
        while start and reduced[start - 1] == reduced[end - 1]:
            start -= 1
        if reduced[end - 1]:
            y = _sum_run(y, start, end, wide)
        end = start
    kept = [axis for axis in order if axis not in axes]
    y = y.astype(x.dtype, copy=False).transpose([kept.index(axis) for axis in sorted(kept)])
    return np.expand_dims(y, axes) if keepdims else y


def _sum_run(x: Array, start: int, end: int, dtype: np.dtype[Any]) -> Array:
    """Sum over the neighbouring axes start to end - 1."""
    outer, inner = x.shape[:start], x.shape[end:]
    length = int(np.prod(x.shape[start:end], dtype=np.int64))
    width = int(np.prod(inner, dtype=np.int64))
    if width == 1 or length <= RUN:
        return np.asarray(_add(x, tuple(range(start, end)), dtype))
    y = x.reshape(-1, length, width)
    while length > RUN:
        # (m length width) -> (m length/fold fold*width): lines long enough to be added as vectors
        fold = max(1, min(length // RUN, -(-RUN // width)))
        block = RUN * fold
        whole = length // block * block
        parts = _add(y[:, :whole].reshape(-1, whole // block, RUN, fold * width), 2, dtype)
        parts = parts.reshape(-1, whole // RUN, width)
        if whole < length:
            parts = np.concatenate([parts, _sum_run(y[:, whole:], 1, 2, dtype)[:, None]], 1)
        y, length = parts, parts.shape[1]
    return np.asarray(_add(y, 1, dtype)).reshape(*outer, *inner)
