"""Values of mean 0 and variance 1 along axes, and the gradient: in blocks that stay in the cache, each its own sums.

A mean in float32 is off by up to half a unit of its last place, which is 5e-4 at 1e4: the deviations from it are
averaged once more, and the mean is kept in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from .reduce import sum_pairwise, widened

Array = NDArray[Any]
Statistics = tuple[Array, Array]

# Values in a block: five arrays of it in the second-level cache.
BLOCK = 2**15


def standardized(
    x: Array,
    axes: tuple[int, ...],
    eps: float,
    centred: bool,
    w: Array | None,
    b: Array | None,
    known: Statistics | None,
) -> tuple[Array, Statistics]:
    """(x - mean) / sqrt(variance + eps) * w + b, and the statistics, with length 1 along `axes`.

    Not centred, the mean is 0. known: the statistics of x, if they are there. w and b broadcast to x.
    """
    y = _like(x)
    mean, variance = known or _no_statistics(x, axes)
    n = _length(x.shape, axes)
    in_rows = _are_rows(x, axes)
    factors = [(np.broadcast_to(a, x.shape), apply) for a, apply in ((w, np.multiply), (b, np.add)) if a is not None]

    def body(at: Any) -> None:
        block, out = widened(x[at]), y[at]
        c = out if out.dtype == block.dtype else block  # a copy then
        if in_rows:
            rows = block.reshape(-1, n)
            if known is None:
                _measure(rows, centred, mean[at].reshape(-1), variance[at].reshape(-1))
            r = _inverse_std(variance[at].reshape(-1), eps)
            _scale(rows, mean[at].reshape(-1), r, c.reshape(-1, n))
        else:
            if known is None:
                mean[at], variance[at] = _measured(block, axes, centred, c)
            else:
                _deviations(block, mean[at], centred, c)
            c *= _inverse_std(variance[at], eps)
        for values, apply in factors:
            apply(c, values[at], out=c)
        if c is not out:
            out[...] = c

    _in_blocks(body, x, axes)
    return y, (mean, variance)


def input_gradient(
    g: Array, x: Array, axes: tuple[int, ...], eps: float, centred: bool, known: Statistics | None
) -> Array:
    """(g - mean(g) - y mean(g y)) / sqrt(variance + eps) with y = standardized(x); not centred, without mean(g)."""
    out = _like(x)
    mean, variance = known or _no_statistics(x, axes)
    n = _length(x.shape, axes)
    in_rows = _are_rows(x, axes)

    def body(at: Any) -> None:
        given, block = widened(g[at]), widened(x[at])
        if in_rows:
            given, rows = np.ascontiguousarray(given).reshape(-1, n), block.reshape(-1, n)
            if known is None:
                _measure(rows, centred, mean[at].reshape(-1), variance[at].reshape(-1))
            d = out[at].reshape(-1, n) if out.dtype == block.dtype else rows  # a copy then
            _combine(given, rows, mean[at].reshape(-1), _inverse_std(variance[at].reshape(-1), eps), centred, d)
            if out.dtype != block.dtype:
                out[at] = d.reshape(block.shape)
            return
        y = np.empty_like(block)
        if known is None:
            _, spread = _measured(block, axes, centred, y)
        else:
            _deviations(block, mean[at], centred, y)
            spread = variance[at]
        r = _inverse_std(spread, eps)
        y *= r
        d = given * y
        y *= sum_pairwise(d, axes, True) / n
        if centred:
            np.subtract(given, sum_pairwise(given, axes, True) / n, out=d)
            d -= y
        else:
            np.subtract(given, y, out=d)
        np.multiply(d, r, out=out[at], casting="same_kind")

    _in_blocks(body, x, axes)
    return out


def _are_rows(x: Array, axes: tuple[int, ...]) -> bool:
    """Whether the loops are for this array: one mean is of neighbours in memory."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    return x.flags.c_contiguous and tuple(sorted(axes)) == last and compiled.available()


def _measured(x: Array, axes: tuple[int, ...], centred: bool, c: Array) -> tuple[Any, Any]:
    """The mean in float64 and the biased variance; the deviations from the mean into c."""
    n = _length(x.shape, axes)
    mean: Any = 0.0
    if centred:
        first = sum_pairwise(x, axes, True) / n
        np.subtract(x, first, out=c)
        rest = sum_pairwise(c, axes, True) / n
        c -= rest
        mean = first + rest.astype(np.float64)
    else:
        c[...] = x
    return mean, sum_pairwise(c * c, axes, True) / n


def _deviations(x: Array, mean: Array, centred: bool, c: Array) -> None:
    """x - mean into c, of a mean in float64."""
    if not centred:
        c[...] = x
        return
    near = mean.astype(x.dtype)
    np.subtract(x, near, out=c)
    if x.dtype != mean.dtype:
        c -= (mean - near).astype(x.dtype)


def _inverse_std(variance: Array, eps: float) -> Any:
    return 1 / np.sqrt(variance + variance.dtype.type(eps))


def _length(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many values one mean is of; 1 for none, so that nothing has mean and variance 0."""
    return max(prod(shape[axis] for axis in axes), 1)


def _no_statistics(x: Array, axes: tuple[int, ...]) -> Statistics:
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    return np.zeros(shape), np.zeros(shape, np.promote_types(x.dtype, np.float32))


def _like(x: Array) -> Array:
    """An array for the result in the memory order of x."""
    return buffers.empty(x.shape, x.dtype) if x.flags.c_contiguous else np.empty_like(x)


def _in_blocks(body: Callable[[Any], None], x: Array, axes: tuple[int, ...]) -> None:
    """body(index) for blocks that make up x, cut along the axes before the first of `axes`, by the shape alone."""
    lead = min(axes, default=x.ndim)
    if not x.flags.c_contiguous:
        lead = min(lead, 1)  # beyond the first axis nothing is said of the order in memory
    depth = next((d for d in range(lead) if prod(x.shape[d:]) <= BLOCK), lead)
    if not depth:
        body(...)
        return
    outer, length = x.shape[: depth - 1], x.shape[depth - 1]
    step = max(1, BLOCK // prod(x.shape[depth:]))
    per = -(-length // step)

    def some(first: int, last: int) -> None:
        for k in range(first, last):
            start = k % per * step
            place = np.unravel_index(k // per, outer) if outer else ()
            body((*(slice(i, i + 1) for i in place), slice(start, start + step)))

    parallel.spans(some, prod(outer) * per, float(x.size))


# Sums are taken in 16 lanes over runs of 1024, and those sums in float64; in the dtype of x otherwise.


@compiled.compiled
def _measure(x: Array, centred: bool, mean: Array, variance: Array) -> None:
    n = x.shape[1]
    whole = n // 16 * 16
    part, other, level = np.empty(16, x.dtype), np.empty(16, x.dtype), np.zeros(1, x.dtype)
    for r in range(len(x)):
        row = x[r]
        if centred:
            total = np.float64(0.0)
            for begin in range(0, whole, 1024):
                part[:] = 0
                for start in range(begin, min(begin + 1024, whole), 16):
                    for e in range(16):
                        part[e] += row[start + e]
                for e in range(16):
                    total += part[e]
            for e in range(whole, n):
                total += row[e]
            level[0] = total / n
        near = level[0]
        away = square = np.float64(0.0)
        for begin in range(0, whole, 1024):
            part[:] = 0
            other[:] = 0
            for start in range(begin, min(begin + 1024, whole), 16):
                for e in range(16):
                    c = row[start + e] - near
                    part[e] += c
                for e in range(16):
                    c = row[start + e] - near
                    other[e] += c * c
            for e in range(16):
                away += part[e]
                square += other[e]
        for e in range(whole, n):
            c = row[e] - near
            away += c
            square += c * c
        if centred:  # sum (x - m)^2 = sum (x - a)^2 - n (a - m)^2 about the mean m, which was rounded to a
            mean[r] = near + away / n
            square -= away * away / n
            variance[r] = 0.0 if square < 0 else square / n
        else:
            variance[r] = square / n


@compiled.compiled
def _scale(x: Array, mean: Array, factor: Array, y: Array) -> None:
    level = np.empty(2, x.dtype)
    for r in range(len(x)):
        row, out, by = x[r], y[r], factor[r]
        level[0] = mean[r]
        level[1] = mean[r] - level[0]
        near, rest = level[0], level[1]
        for e in range(len(row)):
            out[e] = ((row[e] - near) - rest) * by


@compiled.compiled
def _combine(g: Array, x: Array, mean: Array, factor: Array, centred: bool, y: Array) -> None:
    n = x.shape[1]
    whole = n // 16 * 16
    part, other, level = np.empty(16, x.dtype), np.empty(16, x.dtype), np.empty(4, x.dtype)
    for r in range(len(x)):
        given, row, out, by = g[r], x[r], y[r], factor[r]
        level[0] = mean[r]
        level[1] = mean[r] - level[0]
        near, rest = level[0], level[1]
        total = along = np.float64(0.0)
        for begin in range(0, whole, 1024):
            part[:] = 0
            other[:] = 0
            for start in range(begin, min(begin + 1024, whole), 16):
                for e in range(16):
                    part[e] += given[start + e]
                for e in range(16):
                    other[e] += ((row[start + e] - near) - rest) * by * given[start + e]
            for e in range(16):
                total += part[e]
                along += other[e]
        for e in range(whole, n):
            total += given[e]
            along += ((row[e] - near) - rest) * by * given[e]
        level[2] = total / n if centred else 0.0
        level[3] = along / n
        base, slope = level[2], level[3]
        for e in range(n):
            out[e] = ((given[e] - base) - ((row[e] - near) - rest) * by * slope) * by
