"""The sums and the sweeps of batch normalisation over channels-last memory, one pass each: float32, compiled.

Sums are made in float64, chunk by chunk, and the chunks are added in their order.
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
    return enough and compiled.available() and all(map(_is_channels_last, arrays))


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel: (n c ...) -> (c), (c)."""
    rows = _rows(x)
    mean = _summed(rows, lambda r0, r1, sums: _sum(rows, r0, r1, sums)) / len(rows)
    variance = _summed(rows, lambda r0, r1, sums: _squares(rows, mean, r0, r1, sums)) / len(rows)
    return mean.astype(np.float32), variance.astype(np.float32)


def weighted_sum(g: Array, x: Array, centre: Array) -> Array:
    """sum g (x - centre) for each channel: (n c ...), (n c ...), (c) -> (c)."""
    given, rows = _rows(g), _rows(x)
    return _summed(rows, lambda r0, r1, sums: _products(given, rows, centre, r0, r1, sums)).astype(np.float32)


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


def _summed(rows: Array, body: Any) -> Array:
    """The sum over chunks of what body(first row, last row, sums) adds to the sums of the channels."""
    step = max(1, CHUNK // rows.shape[1])
    sums = np.zeros((-(-len(rows) // step), rows.shape[1]))

    def some(first: int, last: int) -> None:
        for k in range(first, last):
            body(k * step, min(len(rows), (k + 1) * step), sums[k])

    parallel.spans(some, len(sums), float(rows.size))
    total: Array = sums[0]
    for part in sums[1:]:
        total += part
    return total


@compiled.compiled
def _sum(x: Array, r0: int, r1: int, sums: Array) -> None:
    for r in range(r0, r1):
        row = x[r]
        for e in range(len(sums)):
            sums[e] += row[e]


@compiled.compiled
def _squares(x: Array, mean: Array, r0: int, r1: int, sums: Array) -> None:
    for r in range(r0, r1):
        row = x[r]
        for e in range(len(sums)):
            centred = row[e] - mean[e]
            sums[e] += centred * centred


@compiled.compiled
def _products(g: Array, x: Array, centre: Array, r0: int, r1: int, sums: Array) -> None:
    for r in range(r0, r1):
        given, row = g[r], x[r]
        for e in range(len(sums)):
            sums[e] += given[e] * (row[e] - centre[e])


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
