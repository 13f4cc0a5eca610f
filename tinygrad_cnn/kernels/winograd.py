"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3), float32, stride 1, channels last.

    y = A^T [(G w G^T) * (B^T x B)] A        for every tile of 4 x 4 outputs, summed over the channels

The products are 36 matrix products over the channels. The weight gradient is the adjoint of the same chain. Chunks of
tiles fit the second-level cache. The error is about 1e-5 of the largest value in a tile, against 4e-7 in direct sums,
and a pixel that is not finite spoils its tile: so `forward` says which images it cannot be trusted with.
Source: Lavin & Gray, Fast algorithms for convolutional neural networks (2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled, parallel
from .tiles import KERNEL, F, from_tiles, spread_tiles, to_tiles

Array = NDArray[Any]
Pair = tuple[int, int]
Span = tuple[int, int]

# Bytes of transformed tiles in a chunk, in and out.
BLOCK = 2**21
# The weight gradient is summed up in at most so many parts, and bytes of them.
PARTS, SUMS = 8, 2**24
ROOM = 16  # values between two lines

# An image with a value beyond so many root mean squares, or means, of it is not for Winograd: its tiles would lose the
# small values beside the large one. The second rule is for small images, where one outlier is most of the square.
SQUARES = 64.0
MEANS = 256.0


def forward(
    x: Array, w: Array, b: Array | None, padding: Pair, out: Pair, *, trust: bool = False
) -> tuple[Array, Array]:
    """The convolution, and the images for which it must be done directly: (n h w c), (o c 3 3) -> (n *out o), (k).

    padding: zeros above and to the left; what is needed below and to the right is there. `trust` takes outliers.
    """
    largest = float(abs(w).max(initial=0))
    n, h, _, c = x.shape
    o, (oh, ow) = len(w), out
    th, tw = -(-oh // 4), -(-ow // 4)
    with parallel.one_blas_thread():
        u = (KERNEL @ w.transpose(2, 3, 1, 0).reshape(9, c * o)).reshape(36, c, o)
    bias = np.zeros(o, F) if b is None else b
    y = np.empty((n, oh, ow, o), F)
    chunks = _chunks(n, th, tw, BLOCK // (144 * (c + o)))
    seen = np.zeros((n, th, 3))  # of every image and row of tiles that begins a chunk

    def body(k: int) -> None:
        (n0, n1), (r0, r1) = images, rows = chunks[k]
        count = (n1 - n0) * (r1 - r0) * tw
        v, m = _lines("v", count * c), _lines("m", count * o)
        measure(x, images, (4 * r0, h if r1 == th else min(h, 4 * r1)), seen[n0:n1, r0])
        to_tiles(x, *padding, images, rows, tw, v)
        np.matmul(_tiles(v, count, c), u, out=_tiles(m, count, o))
        from_tiles(m, bias, images, rows, tw, y)

    parallel.run(body, len(chunks), 36.0 * n * th * tw * c * o)
    # Nothing finite may overflow in the transforms, whose factors are below 1e3.
    return y, _refused(seen, x.shape, trust, 1e35 / max(c * largest, 1e-38) if np.isfinite(largest) else -1)


def weight_grad(x: Array, g: Array, padding: Pair, *, trust: bool = False) -> Array | None:
    """The weight gradient, None if it must be done directly: (n h w c), (n oh ow o) -> (o c 3 3)."""
    (n, h, _, c), (_, oh, ow, o) = x.shape, g.shape
    th, tw = -(-oh // 4), -(-ow // 4)
    seen = np.zeros((2, n, th, 3))
    chunks = _chunks(n, th, tw, BLOCK // (144 * (c + o)))
    # Each part of the chunks has its own sum; the sums are added in their order.
    most = max(2, min(PARTS, SUMS // (144 * c * o), len(chunks) // 2))
    parts = _spans(len(chunks), -(-len(chunks) // most))
    total = np.empty((len(parts), 36, c, o), F)

    def body(part: int) -> None:
        product = parallel.scratch("product", 36 * c * o).reshape(36, c, o)
        first, last = parts[part]
        for k in range(first, last):
            images, rows = chunks[k]
            count = (images[1] - images[0]) * (rows[1] - rows[0]) * tw
            v, m = _lines("v", count * c), _lines("m", count * o)
            end = h if rows[1] == th else min(h, 4 * rows[1])
            measure(x, images, (4 * rows[0], end), seen[0, slice(*images), rows[0]])
            measure(g, images, (4 * rows[0], min(oh, 4 * rows[1])), seen[1, slice(*images), rows[0]])
            to_tiles(x, *padding, images, rows, tw, v)
            spread_tiles(g, images, rows, tw, m)
            columns, values = _tiles(v, count, c).swapaxes(1, 2), _tiles(m, count, o)
            if k == first:
                np.matmul(columns, values, out=total[part])
            else:
                total[part] += np.matmul(columns, values, out=product)

    parallel.run(body, len(parts), 36.0 * n * th * tw * c * o)
    if len(_refused(seen[0], x.shape, trust)) or len(_refused(seen[1], g.shape, trust)):
        return None
    summed = total[0] if len(total) else np.zeros((36, c, o), F)
    for part in total[1:]:
        summed += part
    # (36 c*o) -> (3 3 c o) -> (o c 3 3)
    with parallel.one_blas_thread():
        dw = (KERNEL.T @ summed.reshape(36, c * o)).reshape(3, 3, c, o).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(dw) if np.isfinite(dw).all() else None


def measure(x: Array, images: Span, rows: Span, seen: Array) -> None:
    """Sum, sum of squares and maximum of |x| over these rows of each of these images, into seen (images, 3)."""
    if rows[0] >= rows[1]:
        return
    if compiled.available():
        c = x.shape[3]
        _measure(x, *images, *rows, parallel.scratch("measured", 3 * c).reshape(3, c), seen)
        return
    size = abs(x[slice(*images), slice(*rows)]).reshape(images[1] - images[0], -1)
    seen[:, 0], seen[:, 1] = size.sum(1), np.vecdot(size, size)
    seen[:, 2] = size.max(1)


@compiled.compiled
def _measure(x: Array, n0: int, n1: int, r0: int, r1: int, lanes: Array, seen: Array) -> None:
    w, c = x.shape[2:]
    sums, squares, most = lanes[0], lanes[1], lanes[2]
    for n in range(n0, n1):
        for e in range(c):
            sums[e] = squares[e] = most[e] = 0
        for i in range(r0, r1):
            for j in range(w):
                pixel = x[n, i, j]
                for e in range(c):
                    size = abs(pixel[e])
                    sums[e] += size
                    squares[e] += size * size
                    most[e] = size if size > most[e] else most[e]
        for e in range(c):
            seen[n - n0, 0] += sums[e]
            seen[n - n0, 1] += squares[e]
            seen[n - n0, 2] = max(seen[n - n0, 2], most[e])


def _refused(seen: Array, shape: tuple[int, ...], trust: bool, limit: float = np.inf) -> Array:
    """The images that are not finite, go beyond the limit, or have outliers."""
    size = shape[1] * shape[2] * shape[3]
    sums, squares, most = seen[:, :, 0].sum(1), seen[:, :, 1].sum(1), seen[:, :, 2].max(1, initial=0)
    fine = np.isfinite(sums) & np.isfinite(squares) & (most <= limit)
    if not trust:
        fine &= (most * most * size <= SQUARES**2 * squares) & (most * size <= MEANS * sums)
    return np.flatnonzero(~fine)


def _chunks(n: int, th: int, tw: int, tiles: int) -> list[tuple[Span, Span]]:
    """(images, rows of tiles) of chunks of at most so many tiles, or of one row."""
    if th * tw <= tiles:
        return [(images, (0, th)) for images in _spans(n, tiles // (th * tw))]
    return [((image, image + 1), rows) for image in range(n) for rows in _spans(th, max(1, tiles // tw))]


def _spans(length: int, most: int) -> list[Span]:
    """range(length) in spans of nearly equal length, at most `most` each."""
    count = -(-length // max(1, most))
    return [(length * k // count, length * (k + 1) // count) for k in range(count)]


def _lines(name: str, length: int) -> Array:
    """36 lines of `length` values, and some room at the end of each."""
    return parallel.scratch(name, 36 * (length + ROOM)).reshape(36, length + ROOM)


def _tiles(v: Array, count: int, c: int) -> Array:
    """(36 count*c + room) -> (36 count c), a view."""
    return v[:, : count * c].reshape(36, count, c)
