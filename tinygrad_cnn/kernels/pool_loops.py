"""Pooling of float images by compiled loops over channels-last memory: every value is read once, or written once.

Values are those of the slices in `pool`, bit by bit. Images in another memory order are copied, a chunk at a time: on
planes of few pixels slices take up to twelve times as long, and would hand planes on to the layers around.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

CHANNELS = 8  # with fewer channels slices are as fast
CHUNK = 2**20  # values that are read or written at once, and copied where that is needed
LARGEST = 16  # the sides of a kernel that the loops visit; slices skip what lies outside the image


def fits(x: Array, kernel: Pair = (1, 1)) -> bool:
    """Whether the loops are for these images and windows."""
    return x.dtype.char in "fd" and x.shape[1] >= CHANNELS and max(kernel) <= LARGEST and compiled.available()


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair, ties: str
) -> tuple[Array, Array]:
    """(y, winners) of windows with one winner each: (n c h w) -> (n c oh ow), (n c oh ow)."""
    n, c = x.shape[:2]
    y, winners = buffers.empty((n, *out, c), x.dtype), buffers.empty((n, *out, c), index_of(x))
    # A step that is never taken may be too large for a compiled integer.
    steps = [s * (length > 1) for s, length in zip(stride, out, strict=True)]
    across, along = (
        np.arange(k) * (d * (k > 1)) - before for k, d, (before, _) in zip(kernel, dilation, padding, strict=True)
    )
    # The cell that wins a tie comes first.
    order = slice(None, None, -1 if ties == "last" else 1)
    rows, columns = np.repeat(across, kernel[1])[order].copy(), np.tile(along, kernel[0])[order].copy()

    vectors = compiled.pool_vectors() if x.dtype.char == "f" and winners.itemsize == 4 else None

    def body(part: slice) -> None:
        images = _last(x, part)
        if vectors:
            at = parallel.scratch("cells", 2 * len(rows), np.int32).reshape(2, len(rows))
            vectors.maxima(images, (0, len(images)), rows, columns, *steps, y[part], winners[part], at)
        else:
            _maxima(images, rows, columns, *steps, y[part], winners[part])

    _in_spans(body, n, y.size * kernel[0] * kernel[1])
    return y.transpose(0, 3, 1, 2), winners.transpose(0, 3, 1, 2)


def scatter(g: Array, winners: Array, size: Pair, distinct: bool, wide: bool) -> Array:
    """Every g at its winner, added in the order of the windows, with `wide` in float64: -> (n c *size)."""
    n, c = g.shape[:2]
    x = buffers.empty((n, *size, c), g.dtype)
    wrong = []

    def body(part: slice) -> None:
        out = x[part]
        total = parallel.scratch("scatter", out.size, np.float64).reshape(out.shape) if wide else out
        flat = total.reshape(len(total), size[0] * size[1], c)
        if _add(*(_last(a, part).reshape(len(total), -1, c) for a in (g, winners)), distinct, flat):
            wrong.append(part)
        if wide:
            out[...] = total

    _in_spans(body, n, x.size)
    if wrong:
        raise IndexError(f"scatter: a winner lies outside the plane of {size[0]} x {size[1]} cells")
    return x.transpose(0, 3, 1, 2)


def sum_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, out: Pair) -> Array:
    """The sum of each window: (n c h w) -> (n c oh ow)."""
    y = buffers.empty((x.shape[0], *out, x.shape[1]), x.dtype)
    steps = _steps(x.shape[2:], kernel, stride, padding, dilation)
    _in_spans(lambda part: _sums(_last(x, part), *kernel, *steps, y[part]), len(x), x.size)
    return y.transpose(0, 3, 1, 2)


def sum_pool2d_input_grad(g: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The adjoint of sum_pool2d: (n c oh ow) -> (n c *size)."""
    x = buffers.empty((g.shape[0], *size, g.shape[1]), g.dtype)
    steps = _steps(size, kernel, stride, padding, dilation)
    _in_spans(lambda part: _spread(_last(g, part), *kernel, *steps, x[part]), len(x), x.size)
    return x.transpose(0, 3, 1, 2)


def index_of(x: Array) -> np.dtype[Any]:
    """An integer that counts the cells of a plane, as wide as the values if it can be: then both fill vectors alike."""
    return np.dtype(np.int32 if x.itemsize == 4 and x.shape[2] * x.shape[3] < 2**31 else np.int64)


def _steps(size: Any, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> list[int]:
    """Strides, dilations and the padding before: one that is never taken may be too large for a compiled integer."""
    before = [lo for lo, _ in padding]
    strides = [min(s, h + lo + 1) for s, h, lo in zip(stride, size, before, strict=True)]
    return [*strides, *(d * (k > 1) for d, k in zip(dilation, kernel, strict=True)), *before]


def _last(x: Array, part: slice) -> Array:
    """Some images as (n h w c), contiguous: a view of channels-last memory."""
    return np.ascontiguousarray(x[part].transpose(0, 2, 3, 1))


def _in_spans(body: Any, images: int, steps: int) -> None:
    """body(some images) for all images, whose values are read or written `steps` times in all, CHUNK at a time."""
    step = max(1, CHUNK * images // max(1, steps))

    def some(first: int, last: int) -> None:
        for k in range(first, last, step):
            body(slice(k, min(last, k + step)))

    parallel.spans(some, images, float(steps))


@compiled.compiled
def _maxima(x: Array, rows: Array, columns: Array, sh: int, sw: int, y: Array, winners: Array) -> None:
    n, h, w, c = x.shape
    oh, ow = y.shape[1:3]
    flat = x.reshape(n, h * w, c)
    at = np.empty(len(rows) + 3, winners.dtype)
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                cells = 0
                for k in range(len(rows)):
                    row, column = i * sh + rows[k], j * sw + columns[k]
                    if 0 <= row < h and 0 <= column < w:
                        at[cells] = row * w + column
                        cells += 1
                # Four cells at a time, in registers; one that comes again changes nothing.
                for k in range(cells, cells + 3):
                    at[k] = at[cells - 1]
                best, place = y[image, i, j], winners[image, i, j]
                for k in range(0, cells, 4):
                    begun = k > 0
                    at_p, at_q, at_r, at_s = at[k], at[k + 1], at[k + 2], at[k + 3]
                    p, q, r, s = flat[image, at_p], flat[image, at_q], flat[image, at_r], flat[image, at_s]
                    for e in range(c):
                        value, cell = p[e], at_p
                        if (q[e] > value) | ((q[e] != q[e]) & (value == value)):
                            value, cell = q[e], at_q
                        if (r[e] > value) | ((r[e] != r[e]) & (value == value)):
                            value, cell = r[e], at_r
                        if (s[e] > value) | ((s[e] != s[e]) & (value == value)):
                            value, cell = s[e], at_s
                        stays = begun & ((value <= best[e]) | (best[e] != best[e]))
                        place[e] = place[e] if stays else cell
                        best[e] = best[e] if stays else value


@compiled.compiled
def _add(g: Array, winners: Array, distinct: bool, x: Array) -> int:
    """Writes to x, and counts the winners that are no cells."""
    n, cells, c = x.shape
    wrong = 0
    for image in range(n):
        out = x[image]
        out[:] = 0
        for i in range(g.shape[1]):
            given, place = g[image, i], winners[image, i]
            for e in range(c):
                at = np.uint64(place[e])  # below 0 is too large then
                if at >= np.uint64(cells):
                    wrong += 1
                elif distinct:
                    out[at, e] = given[e]
                else:
                    out[at, e] += given[e]
    return wrong


@compiled.compiled
def _sums(x: Array, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, y: Array) -> None:
    n, h, w, c = x.shape
    oh, ow = y.shape[1:3]
    across = np.empty((ow, c), x.dtype)
    for image in range(n):
        y[image] = 0
        for row in range(h):
            line = x[image, row]
            across[:] = 0
            for q in range(kw):
                for j in range(ow):
                    column = j * sw + q * dw - left
                    if 0 <= column < w:
                        for e in range(c):
                            across[j, e] += line[column, e]
            for p in range(kh):
                i, rest = divmod(row + top - p * dh, sh)
                if rest == 0 and 0 <= i < oh:
                    total = y[image, i]
                    for j in range(ow):
                        for e in range(c):
                            total[j, e] += across[j, e]


@compiled.compiled
def _spread(g: Array, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, x: Array) -> None:
    n, h, w, c = x.shape
    oh, ow = g.shape[1:3]
    down = np.empty((ow, c), x.dtype)
    for image in range(n):
        for row in range(h):
            down[:] = 0
            for p in range(kh):
                i, rest = divmod(row + top - p * dh, sh)
                if rest == 0 and 0 <= i < oh:
                    given = g[image, i]
                    for j in range(ow):
                        for e in range(c):
                            down[j, e] += given[j, e]
            line = x[image, row]
            line[:] = 0
            for q in range(kw):
                for j in range(ow):
                    column = j * sw + q * dw - left
                    if 0 <= column < w:
                        for e in range(c):
                            line[column, e] += down[j, e]
