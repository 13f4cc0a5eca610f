"""Pooling: the maximum, its place and the sum of each window, by slices: cell (p, q) of every window at once.

A slice holds only the windows whose cell lies inside the image, so padding is never made and never wins. Where numba
is, `pool_loops` takes float images with enough channels, and answers with channels-last memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import pool_loops
from .windows import cells, channels_last, spans

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair, ties: str
) -> tuple[Array, Array, Array | None]:
    """Maximum of each window, the cells that hold it, and their shares: (y, winners, share).

    (n c h w) -> (n c oh ow)

    winners: int64, or int32 beside float32, index into the h*w plane. ties 'first' or 'last' in row-major order: one
    winner per window, the shape of y, share None. ties 'split': (n c oh ow cells) winners, share 1/k for each of k
    equal cells, else 0, where cells are those of the kernel that some window has inside the image.
    NaN is the largest value. Every window must hold at least one cell of the image.
    """
    if ties != "split" and pool_loops.fits(x, kernel):
        return *pool_loops.max_pool2d(x, kernel, stride, padding, dilation, out, ties), None
    h, w = x.shape[2:]
    rows = spans(kernel[0], stride[0], padding[0][0], dilation[0], h, out[0])
    columns = spans(kernel[1], stride[1], padding[1][0], dilation[1], w, out[1])
    seen = [(a, b) for _, a in rows for _, b in columns]
    lowest = -np.inf if x.dtype.kind in "fO" else np.iinfo(x.dtype).min
    y = np.full_like(x, lowest, shape=(*x.shape[:2], *out), subok=False)
    for (i_out, i_in), (j_out, j_in) in seen:
        part = y[:, :, i_out, j_out]
        np.maximum(part, x[:, :, i_in, j_in], out=part)
    with_nan = x.dtype.kind == "f" and bool(np.isnan(y).any())
    # The plane index of every cell in the window that starts at plane index 0, and that of every window's start.
    (top, _), (left, _) = padding
    place = np.array([(p * dilation[0] - top) * w + q * dilation[1] - left for p, _ in rows for q, _ in columns])
    starts = [[i * step for i in range(n)] for n, step in zip(out, stride, strict=True)]
    corners = np.array(starts[0])[:, None] * w + np.array(starts[1])
    if ties == "split":
        held = np.zeros((*y.shape, len(seen)), bool)
        for k, ((i_out, i_in), (j_out, j_in)) in enumerate(seen):
            held[:, :, i_out, j_out, k] = _equal(x[:, :, i_in, j_in], y[:, :, i_out, j_out], with_nan)
        winners = np.where(held, corners[:, :, None] + place, 0)
        return y, winners, (held / held.sum(-1, keepdims=True)).astype(x.dtype if x.dtype.kind == "f" else np.float64)
    # The largest rank wins; 0 is no cell. Ranks in one byte make the passes below nearly free.
    ranks = range(len(seen), 0, -1) if ties == "first" else range(1, len(seen) + 1)
    code = np.zeros_like(y, np.uint8 if len(seen) < 256 else np.int64)
    for rank, ((i_out, i_in), (j_out, j_in)) in zip(ranks, seen, strict=True):
        found = _equal(x[:, :, i_in, j_in], y[:, :, i_out, j_out], with_nan)
        part = code[:, :, i_out, j_out]
        np.maximum(part, np.multiply(found, rank, dtype=code.dtype), out=part)
    by_rank = np.zeros(len(seen) + 1, np.int64)
    by_rank[list(ranks)] = place
    if channels_last(code):
        winners = (by_rank[code.transpose(0, 2, 3, 1)] + corners[:, :, None]).transpose(0, 3, 1, 2)
    else:
        winners = by_rank[code] + corners
    return y, winners, None


def gather(x: Array, winners: Array) -> Array:
    """The values of each plane at its winners: y[n,c,...] = x[n,c].flat[winners[n,c,...]].

    (n c h w), (n c oh ow ...) -> (n c oh ow ...)
    """
    n, c, h, w = x.shape
    if winners.ndim == 4 and channels_last(x):
        flat = (winners.transpose(0, 2, 3, 1) + (np.arange(n) * (h * w)).reshape(n, 1, 1, 1)) * c + np.arange(c)
        values: Array = np.take(x.transpose(0, 2, 3, 1).reshape(-1), flat)
        return values.transpose(0, 3, 1, 2)
    return np.take(x.reshape(-1), _flat(winners, h * w))


def scatter(g: Array, winners: Array, size: Pair, *, distinct: bool = False) -> Array:
    """Adjoint of gather: add every g[n,c,...] into zeros at its winner.

    (n c oh ow ...), (n c oh ow ...) -> (n c *size)

    Equal winners add up; float16, and float32 with more than 1024 per plane, in float64. `distinct` promises that a
    plane names no cell twice (windows that do not overlap), which is faster.
    """
    n, c = winners.shape[:2]
    h, w = size
    per_plane = math.prod(winners.shape[2:])
    wide = not distinct and g.dtype != np.float64 and per_plane > 1024
    if winners.ndim == 4 and pool_loops.fits(g):
        return pool_loops.scatter(g, winners, size, distinct, wide)
    if winners.ndim == 4 and c > 1 and (channels_last(g) or channels_last(winners)):
        flat = (winners.transpose(0, 2, 3, 1) + (np.arange(n) * (h * w)).reshape(n, 1, 1, 1)) * c + np.arange(c)
        return (
            _add_at(flat, g.transpose(0, 2, 3, 1), n * h * w * c, per_plane, distinct)
            .reshape(n, h, w, c)
            .transpose(0, 3, 1, 2)
        )
    return _add_at(_flat(winners, h * w), g, n * c * h * w, per_plane, distinct).reshape(n, c, h, w)


def sum_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair) -> Array:
    """Sum of each window: first along its rows, then along its columns. float16 is summed in float32.

    (n c h w) -> (n c oh ow)
    """
    if channels_last(x) and pool_loops.fits(x, kernel):  # slices sum planes in less time than a copy takes
        return pool_loops.sum_pool2d(x, kernel, stride, padding, dilation, out)
    work = np.float32 if x.dtype == np.float16 else x.dtype
    n, c, h, w = x.shape
    across = np.zeros_like(x, work, shape=(n, c, h, out[1]), subok=False)
    for _, (j_out, j_in) in spans(kernel[1], stride[1], padding[1][0], dilation[1], w, out[1]):
        across[:, :, :, j_out] += x[:, :, :, j_in]
    y = np.zeros_like(x, work, shape=(n, c, *out), subok=False)
    for _, (i_out, i_in) in spans(kernel[0], stride[0], padding[0][0], dilation[0], h, out[0]):
        y[:, :, i_out] += across[:, :, i_in]
    return y.astype(x.dtype, copy=False)


def sum_pool2d_input_grad(g: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Adjoint of sum_pool2d: every g is added to all cells of its window.

    (n c oh ow) -> (n c *size)
    """
    if pool_loops.fits(g, kernel):
        return pool_loops.sum_pool2d_input_grad(g, size, kernel, stride, padding, dilation)
    work = np.float32 if g.dtype == np.float16 else g.dtype
    n, c, oh, ow = g.shape
    down = np.zeros_like(g, work, shape=(n, c, size[0], ow), subok=False)
    for _, (i_out, i_in) in spans(kernel[0], stride[0], padding[0][0], dilation[0], size[0], oh):
        down[:, :, i_in] += g[:, :, i_out]
    x = np.zeros_like(g, work, shape=(n, c, *size), subok=False)
    for _, (j_out, j_in) in spans(kernel[1], stride[1], padding[1][0], dilation[1], size[1], ow):
        x[:, :, :, j_in] += down[:, :, :, j_out]
    return x.astype(g.dtype, copy=False)


def pool_counts(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair, count_include_pad: bool
) -> Array:
    """The divisors of average pooling: how many cells of each window lie in the image, or in it and its padding.

    -> (oh ow), int64

    What a window of ceil_mode has beyond the declared padding is never counted.
    """
    sides = []
    for h, k, s, (lo, hi), d, windows in zip(size, kernel, stride, padding, dilation, out, strict=True):
        before, length = (0, h + lo + hi) if count_include_pad else (lo, h)
        sides.append(np.array([len(cells(i, k, s, before, d, length)) for i in range(windows)], np.int64))
    return np.multiply.outer(sides[0], sides[1])


def _equal(x: Array, y: Array, with_nan: bool) -> Array:
    """x == y, where NaN equals NaN."""
    same: Array = x == y
    return same | (x != x) if with_nan else same


def _flat(winners: Array, plane: int) -> Array:
    """Index into (n c h w) taken flat: the plane's start is added."""
    n, c = winners.shape[:2]
    starts: Array = np.arange(n * c) * plane
    return winners + starts.reshape(n, c, *[1] * (winners.ndim - 2))


def _add_at(index: Array, g: Array, size: int, longest: int, distinct: bool) -> Array:
    """zeros(size) with every g added at its index."""
    if distinct:
        y = np.zeros(size, g.dtype)
        y[index.reshape(-1)] = g.reshape(-1)
        return y
    # np.add.at takes half the time of np.bincount, which sums in float64.
    if g.dtype == np.float16 or (g.dtype == np.float32 and longest > 1024):
        return np.bincount(index.reshape(-1), g.reshape(-1), size).astype(g.dtype, copy=False)
    y = np.zeros(size, g.dtype)
    np.add.at(y, index.reshape(-1), g.reshape(-1))
    return y
