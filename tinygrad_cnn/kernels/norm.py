"""Sums over each channel, and the sweeps of batch normalisation, one pass each over channels-last memory: float32.

Runs of 32 rows are added in float32, those sums in float64, and the chunks' sums in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel

Array = NDArray[Any]

# Values in a chunk of rows.
CHUNK = 2**17
SMALL = 2**13  # fewer values gain less than 1.3 times


def fits(*arrays: Array) -> bool:
    """Whether the loops are for these images: with few values or channels NumPy is as fast."""
    x = arrays[0]
    enough = x.ndim > 1 and x.shape[1] >= 8 and x.size >= SMALL
    return bool(enough) and compiled.available() and all(map(_is_channels_last, arrays))


def total(x: Array) -> Array:
    """The sum of each channel: (n c ...) -> (c)."""
    rows = _rows(x)
    return _float32(_chunks(rows, lambda *chunks: _sum(rows, *chunks)).sum(0))


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel: (n c ...) -> (c), (c).

    Each chunk has both, and is in the cache when it is read again.
    Source: Chan, Golub & LeVeque, Algorithms for computing the sample variance (1983), eq. 2.1.
    """
    rows = _rows(x)
    means, squares = _chunks(rows, lambda *chunks: _moments(rows, *chunks), 2).swapaxes(0, 1)
    step = _step(rows)
    counts = np.minimum(step, len(rows) - step * np.arange(len(means)))[:, None]
    mean = (counts * means).sum(0) / len(rows)
    variance = (squares + counts * (means - mean) ** 2).sum(0) / len(rows)
    return _float32(mean), _float32(variance)


def weighted_sum(g: Array, x: Array, centre: Array) -> Array:
    """sum g (x - centre) for each channel: (n c ...), (n c ...), (c) -> (c)."""
    given, rows = _rows(g), _rows(x)
    return _float32(_chunks(rows, lambda *chunks: _products(given, rows, centre, *chunks)).sum(0))


def affine(x: Array, centre: Array, scale: Array, shift: Array) -> Array:
    """(x - centre) scale + shift: (n c ...), (c), (c), (c) -> (n c ...)."""
    rows, y = _rows(x), buffers.empty((x.size // x.shape[1], x.shape[1]))
    _swept(rows, lambda r0, r1: _affine(rows, centre, scale, shift, r0, r1, y))
    return _images(y, x.shape)


def combined(g: Array, x: Array, centre: Array, slope: Array, scale: Array, shift: Array) -> Array:
    """(x - centre) slope + g scale + shift: (n c ...), (n c ...), four times (c) -> (n c ...)."""
    given, rows, y = _rows(g), _rows(x), buffers.empty((x.size // x.shape[1], x.shape[1]))
    _swept(rows, lambda r0, r1: _combined(given, rows, centre, slope, scale, shift, r0, r1, y))
    return _images(y, x.shape)


def _is_channels_last(x: Array) -> bool:
    return x.dtype == np.float32 and np.moveaxis(x, 1, -1).flags.c_contiguous


def _rows(x: Array) -> Array:
    """(n c ...) -> (n*... c), a view of channels-last memory"""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _images(y: Array, shape: tuple[int, ...]) -> Array:
    """(n*... c) -> (n c ...)"""
    return np.moveaxis(y.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _swept(rows: Array, body: Any) -> None:
    """body(first, last) for all rows."""
    parallel.spans(body, len(rows), float(rows.size))


def _float32(sums: Array) -> Array:
    narrow: Array = sums.astype(np.float32)
    return narrow


def _step(rows: Array) -> int:
    """The rows of a chunk."""
    return max(1, CHUNK // int(rows.shape[1]))


def _chunks(rows: Array, body: Any, numbers: int = 1) -> Array:
    """What body(step, first, last, results) finds for each channel of each chunk: (chunks [numbers] c), float64."""
    step = _step(rows)
    results = np.zeros((-(-len(rows) // step), numbers, rows.shape[1]))
    if numbers == 1:
        results = results[:, 0]
    parallel.spans(lambda first, last: body(step, first, last, results), len(results), float(rows.size))
    return results


@compiled.compiled
def _sum(x: Array, step: int, first: int, last: int, sums: Array) -> None:
    part = np.empty(x.shape[1], np.float32)
    for k in range(first, last):
        stop = min(len(x), (k + 1) * step)
        for start in range(k * step, stop, 32):
            part[:] = 0
            for r in range(start, min(start + 32, stop)):
                row = x[r]
                for e in range(len(part)):
                    part[e] += row[e]
            for e in range(len(part)):
                sums[k, e] += part[e]


@compiled.compiled
def _moments(x: Array, step: int, first: int, last: int, results: Array) -> None:
    c = x.shape[1]
    part, mean = np.empty(c, np.float32), np.empty(c, np.float32)
    for k in range(first, last):
        begin, stop = k * step, min(len(x), (k + 1) * step)
        means, squares = results[k, 0], results[k, 1]
        for start in range(begin, stop, 32):
            part[:] = 0
            for r in range(start, min(start + 32, stop)):
                row = x[r]
                for e in range(c):
                    part[e] += row[e]
            for e in range(c):
                means[e] += part[e]
        for e in range(c):
            means[e] /= stop - begin
            mean[e] = means[e]
        for start in range(begin, stop, 32):
            part[:] = 0
            for r in range(start, min(start + 32, stop)):
                row = x[r]
                for e in range(c):
                    part[e] += (row[e] - mean[e]) * (row[e] - mean[e])
            for e in range(c):
                squares[e] += part[e]
        # sum (x - m)^2 = sum (x - a)^2 - n (a - m)^2 about the mean m, which was rounded to a
        for e in range(c):
            away = means[e] - mean[e]
            squares[e] = max(0.0, squares[e] - (stop - begin) * away * away)


@compiled.compiled
def _products(g: Array, x: Array, centre: Array, step: int, first: int, last: int, sums: Array) -> None:
    part = np.empty(x.shape[1], np.float32)
    for k in range(first, last):
        stop = min(len(x), (k + 1) * step)
        for start in range(k * step, stop, 32):
            part[:] = 0
            for r in range(start, min(start + 32, stop)):
                given, row = g[r], x[r]
                for e in range(len(part)):
                    part[e] += given[e] * (row[e] - centre[e])
            for e in range(len(part)):
                sums[k, e] += part[e]


@compiled.compiled
def _affine(x: Array, centre: Array, scale: Array, shift: Array, r0: int, r1: int, y: Array) -> None:
    for r in range(r0, r1):
        row, out = x[r], y[r]
        for e in range(len(centre)):
            out[e] = (row[e] - centre[e]) * scale[e] + shift[e]


@compiled.compiled
def _combined(
    g: Array, x: Array, centre: Array, slope: Array, scale: Array, shift: Array, r0: int, r1: int, y: Array
) -> None:
    for r in range(r0, r1):
        given, row, out = g[r], x[r], y[r]
        for e in range(len(centre)):
            out[e] = (row[e] - centre[e]) * slope[e] + given[e] * scale[e] + shift[e]
