"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3), float32, stride 1, channels last.

    y = A^T [(G w G^T) * (B^T x B)] A        for every tile of 4 x 4 outputs, summed over the channels

The products are 36 matrix products over the channels. The weight gradient is the adjoint of the same chain. Chunks of
tiles fit the second-level cache. The error is about 1e-5 of the largest value in a tile, against 4e-7 in direct sums,
and a pixel that is not finite spoils its tile: so `forward` says which images it cannot be trusted with.
Source: Lavin & Gray, Fast algorithms for convolutional neural networks (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from .packing import kept, lanes_of, packed, padded, unpacked
from .tiles import KERNEL, F, from_tiles, spread_tiles, to_tiles

Array = NDArray[Any]
Pair = tuple[int, int]
Span = tuple[int, int]

# Bytes of transformed tiles in a block, in and out: in vector code, and where each step is a call; and tiles, at least,
# for the weight gradient, which adds to all its sums once for each block.
BLOCK, LARGE_BLOCK = 2**20, 2**21
LEAST = 64
# The weight gradient is summed up in at most so many parts, and bytes of them.
PARTS, SUMS = 8, 2**23
ROOM = 16  # values between two lines
FASTER = 8  # multiplications in the time of one elementary step of `parallel.spans`

# An image with a value beyond so many root mean squares, or means, of it is not for Winograd: its tiles would lose the
# small values beside the large one. The second rule is for small images, where one outlier is most of the square.
SQUARES = 64.0
MEANS = 256.0
NONE = np.zeros(0, np.int64)


def forward(
    x: Array,
    w: Array,
    b: Array | None,
    padding: Pair,
    out: Pair,
    *,
    turned: bool = False,
    trust: bool = False,
    keep: bool = False,
) -> tuple[Array, Array]:
    """The convolution, and the images for which it must be done directly: (n h w c), (o c 3 3) -> (n *out o), (k).

    padding: zeros above and to the left; what is needed below and to the right is there. turned: with the kernels
    turned by half a circle and their inputs and outputs swapped, as for the gradient to the image. `trust` takes
    outliers. keep: the transformed kernels, for another call with them.
    """
    o = w.shape[turned]
    y = buffers.empty((len(x), *out, o))
    if not x.size or not y.size:  # there is no tile, or nothing in it
        return y, np.arange(len(x))
    tiles = Tiles(x.shape, (*out, o))
    seen = np.zeros((len(x), tiles.down, 3))  # of every image and row of tiles that begins a block
    method = _forward_vectors if compiled.vectors() else _forward
    chunk, (largest, outlier) = method(tiles, x, w, turned, b, padding, y, seen, keep)
    parallel.spans(chunk, len(tiles.blocks), tiles.steps / FASTER)
    # Nothing finite may overflow in the transforms, whose factors are below 1e3.
    spoilt = not np.isfinite(largest) or (outlier and not trust)
    limit = -1 if spoilt else 1e35 / max(x.shape[3] * largest, 1e-38)
    return y, _refused(seen, x.shape, trust, limit)


def weight_grad(x: Array, g: Array, padding: Pair, *, trust: bool = False) -> Array | None:
    """The weight gradient, None if it must be done directly: (n h w c), (n oh ow o) -> (o c 3 3)."""
    if not x.size or not g.size:
        return None
    tiles = Tiles(x.shape, g.shape[1:], LEAST)
    seen = np.zeros((2, len(x), tiles.down, 3))
    # Each part of the blocks has its own sum; the sums are added in their order.
    most = max(1, min(PARTS, max(4, SUMS // (144 * tiles.c * tiles.o)), len(tiles.blocks) // 2))
    parts = parallel.pieces(len(tiles.blocks), -(-len(tiles.blocks) // most))
    total = buffers.empty((len(parts), 36, tiles.c, tiles.o))
    part = (_weights_vectors if compiled.vectors() else _weights)(tiles, x, g, padding, seen)

    def body(k: int) -> None:
        total[k] = 0
        part(*parts[k], total[k])

    def add_up(first: int, last: int) -> None:
        for more in total[1:, first:last]:
            total[0, first:last] += more

    parallel.run(body, len(parts), tiles.steps / FASTER)
    if len(_refused(seen[0], x.shape, trust)) or len(_refused(seen[1], g.shape, trust)):
        return None
    parallel.spans(add_up, total.shape[1], float(total.size))
    with parallel.one_blas_thread():
        dw = KERNEL.T @ total[0].reshape(36, -1)
    return _kernels(dw.reshape(9, tiles.c, tiles.o), x.shape[3], g.shape[3]) if np.isfinite(dw).all() else None


def _kernels(dw: Array, c: int, o: int) -> Array:
    """(9 channels outputs) -> (o c 3 3), without the channels and outputs that were added."""
    if compiled.available():
        return unpacked(dw[None], o, c).reshape(o, c, 3, 3)
    return np.ascontiguousarray(dw.transpose(2, 1, 0)).reshape(o, c, 3, 3)


class Tiles:
    """The tiles of images (n h w c) with outputs (oh ow o), all at least 1, in blocks: (k 4) first and last image and
    row of tiles.

    In vector code channels come in whole vectors, and outputs in `panels` of `lanes`: c and o are rounded up.
    """

    def __init__(self, x_shape: tuple[int, ...], out: tuple[int, ...], least: int = 1) -> None:
        (n, _, _, c), (oh, ow, o) = x_shape, out
        vectors = compiled.vectors()
        self.lanes = o
        if vectors:
            self.lanes = lanes_of(o, vectors.LANES)
            c, o = (-(-m // lanes) * lanes for m, lanes in ((c, vectors.LANES), (o, self.lanes)))
        self.c, self.o, self.panels = c, o, o // self.lanes
        self.down, self.along = -(-oh // 4), -(-ow // 4)
        self.steps = 36.0 * n * self.down * self.along * c * o
        most = max(least, (BLOCK if vectors else LARGE_BLOCK) // (144 * (c + o)))
        image = self.down * self.along
        if image <= most:
            whole = [(n0, n1, 0, self.down) for n0, n1 in parallel.pieces(n, most // image)]
        else:
            rows = parallel.pieces(self.down, most // self.along)
            whole = [(k, k + 1, *part) for k in range(n) for part in rows]
        self.blocks = np.array(whole, np.int64)
        self.most = max(map(self.count, whole))
        self.rows = max(r1 - r0 for _, _, r0, r1 in whole)

    def count(self, block: Sequence[int]) -> int:
        """How many tiles a block has."""
        n0, n1, r0, r1 = block
        return (n1 - n0) * (r1 - r0) * self.along

    def lines(self) -> tuple[Array, Array]:
        """Room of this thread for a block's transformed tiles, in and out: twice (36 tiles*channels + room)."""
        both = (("v", self.most * self.c + ROOM), ("m", self.most * self.o + ROOM))
        v, m = (parallel.scratch(name, 36 * length).reshape(36, length) for name, length in both)
        return v, m

    def room(self) -> tuple[Array, ...]:
        """What vector code needs for a block: see `vectors.correlate_tiles`."""
        vectors = compiled.vectors()
        pixels = (4 * self.rows + 2) * (4 * self.along + 2) * max(self.c, self.o)
        spare, zeros = parallel.scratch("spare", 16 * vectors.LANES), parallel.scratch("zeros", vectors.PANEL, np.int64)
        zeros[:] = 0
        return parallel.scratch("padded", pixels), *self.lines(), spare, zeros


def _forward(
    tiles: Tiles, x: Array, w: Array, turned: bool, b: Array | None, padding: Pair, y: Array, seen: Array, keep: bool
) -> tuple[Callable[[int, int], None], tuple[float, bool]]:
    """What computes the outputs of a span of blocks, step by step; and what `_largest` says of w."""
    h, c, o = x.shape[1], tiles.c, tiles.o
    if turned:
        w = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    with parallel.one_blas_thread():
        u = (KERNEL @ w.transpose(2, 3, 1, 0).reshape(9, c * o)).reshape(36, c, o)
    bias = np.zeros(o, F) if b is None else b

    def chunk(first: int, last: int) -> None:
        v, m = tiles.lines()
        with parallel.one_blas_thread():
            for block in tiles.blocks[first:last].tolist():
                (n0, n1, r0, r1), count = block, tiles.count(block)
                images, rows = (n0, n1), (r0, r1)
                measure(x, images, (4 * r0, h if r1 == tiles.down else min(h, 4 * r1)), seen[n0:n1, r0])
                to_tiles(x, *padding, images, rows, tiles.along, v)
                np.matmul(_tiles(v, count, c), u, out=_tiles(m, count, o))
                from_tiles(m, bias, images, rows, tiles.along, y)

    return chunk, _largest(w)


def _largest(w: Array) -> tuple[float, bool]:
    """The largest |w|, and whether it is an outlier among the kernels, as in an image."""
    largest = max(float(w.max()), -float(w.min()))
    return largest, not largest * largest * w.size <= SQUARES**2 * float(np.vdot(w, w))


def _forward_vectors(
    tiles: Tiles, x: Array, w: Array, turned: bool, b: Array | None, padding: Pair, y: Array, seen: Array, keep: bool
) -> tuple[Callable[[int, int], None], tuple[float, bool]]:
    """The same in one call."""
    vectors = compiled.vectors()

    def transformed() -> tuple[Array, Array, tuple[float, bool]]:
        order = list(range(9))[:: -1 if turned else 1]
        kernels = packed(w, order, tiles.lanes, channels=tiles.c, swapped=turned)
        shape = (36, tiles.panels, tiles.c, tiles.lanes)
        u = np.empty(shape, F) if keep else buffers.empty(shape)
        parallel.spans(lambda *channels: vectors.kernels_to_tiles(kernels, channels, u), tiles.c, 0.5 * u.size)
        return u, padded(b, tiles.o), _largest(w)

    u, bias, largest = kept(f"tiles, turned: {turned}", w, b, transformed) if keep else transformed()

    def chunk(first: int, last: int) -> None:
        blocks = tiles.blocks[first:last]
        vectors.correlate_tiles(x, blocks, tiles.along, padding, u, bias, y, tiles.room(), seen)

    return chunk, largest


def _weights(tiles: Tiles, x: Array, g: Array, padding: Pair, seen: Array) -> Callable[[int, int, Array], None]:
    """Adds to `total` what a span of blocks brings, step by step."""
    h, oh, c, o = x.shape[1], g.shape[1], tiles.c, tiles.o

    def part(first: int, last: int, total: Array) -> None:
        v, m = tiles.lines()
        product = parallel.scratch("product", 36 * c * o).reshape(36, c, o)
        for block in tiles.blocks[first:last].tolist():
            (n0, n1, r0, r1), count = block, tiles.count(block)
            images, rows = (n0, n1), (r0, r1)
            measure(x, images, (4 * r0, h if r1 == tiles.down else min(h, 4 * r1)), seen[0, n0:n1, r0])
            measure(g, images, (4 * r0, min(oh, 4 * r1)), seen[1, n0:n1, r0])
            to_tiles(x, *padding, images, rows, tiles.along, v)
            spread_tiles(g, images, rows, tiles.along, m)
            total += np.matmul(_tiles(v, count, c).swapaxes(1, 2), _tiles(m, count, o), out=product)

    return part


def _weights_vectors(tiles: Tiles, x: Array, g: Array, padding: Pair, seen: Array) -> Callable[[int, int, Array], None]:
    """The same in one call."""
    vectors = compiled.vectors()

    def part(first: int, last: int, total: Array) -> None:
        blocks = tiles.blocks[first:last]
        vectors.correlate_tiles_weights(x, g, blocks, tiles.along, padding, tiles.lanes, total, tiles.room(), *seen)

    return part


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
    size = float(shape[1] * shape[2] * shape[3])
    if compiled.available():  # in a tenth of the time
        refused = np.zeros(len(seen), np.bool_)
        outliers = (np.inf, np.inf) if trust else (SQUARES**2, MEANS)
        return np.flatnonzero(refused) if _judge(seen, size, limit, *outliers, refused) else NONE
    sums, squares, most = seen[:, :, 0].sum(1), seen[:, :, 1].sum(1), seen[:, :, 2].max(1)
    fine = np.isfinite(squares) & (most <= limit)
    if not trust:
        fine &= (most * most * size <= SQUARES**2 * squares) & (most * size <= MEANS * sums)
    return np.flatnonzero(~fine)


@compiled.compiled
def _judge(seen: Array, size: float, limit: float, most_squares: float, most_means: float, refused: Array) -> bool:
    found = False
    for n in range(len(seen)):
        sums, squares, most = 0.0, 0.0, 0.0
        for i in range(seen.shape[1]):
            sums += seen[n, i, 0]
            squares += seen[n, i, 1]
            most = max(most, seen[n, i, 2])
        fine = np.isfinite(squares) and most <= limit
        if most > 0 and not (most * most * size <= most_squares * squares and most * size <= most_means * sums):
            fine = False
        refused[n] = not fine
        found = found or not fine
    return found


def _tiles(v: Array, count: int, c: int) -> Array:
    """(36 count*c + room) -> (36 count c), a view."""
    return v[:, : count * c].reshape(36, count, c)
