"""The three transforms of Winograd's F(4x4, 3x3), each as compiled loops and as NumPy slices: float32, channels last.

An image is cut into tiles of 4 x 4 outputs; a tile reads 6 x 6 pixels, two of them shared with each neighbour. A chunk
is the tile rows `rows` of the images `images`; its tiles stand in a row as (36 tiles*channels) with a little room at
the end of each line, because lines whose length is a power of two would meet in the same part of the cache.

    to_tiles      V = B^T d B     the pixels of a tile
    from_tiles    Y = A^T M A     the outputs of a tile
    spread_tiles  M = A Y A^T     the adjoint of from_tiles

Both axes use the same six or four sums, first down the columns of a whole row of tiles, then along it.
Source: Lavin & Gray, Fast algorithms for convolutional neural networks (2015), sec. 4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled, parallel

Array = NDArray[Any]
Span = tuple[int, int]
F = np.float32

# The weights' transform, 6 x 3, and that of a whole 3 x 3 kernel, 36 x 9.
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
KERNEL = np.kron(G, G).astype(F)

ZERO, ONE, TWO, FOUR, FIVE, EIGHT = F(0), F(1), F(2), F(4), F(5), F(8)


def to_tiles(x: Array, top: int, left: int, images: Span, rows: Span, tw: int, v: Array) -> None:
    """The transformed pixels of every tile of a chunk: (n h w c) -> v (36 tiles*c + room), padded with zeros."""
    n, h, w, c = x.shape
    width = 4 * tw + 2
    inside = max(0, min(w, width - left))
    if compiled.available():
        line = parallel.scratch("lines", 6 * width * c).reshape(6, width * c)
        line[:, : left * c] = 0
        line[:, (left + inside) * c :] = 0
        _to_tiles(x.reshape(n, h, w * c), c, top, left, inside, *images, *rows, tw, v, line)
        return
    (n0, n1), (r0, r1) = images, rows
    d = np.zeros((n1 - n0, 4 * (r1 - r0) + 2, width, c), F)
    first, last = max(0, 4 * r0 - top), min(h, 4 * r1 + 2 - top)
    start = first - (4 * r0 - top)
    d[:, start : start + max(0, last - first), left : left + inside] = x[n0:n1, first : max(first, last), :inside]
    line = np.empty((6, n1 - n0, r1 - r0, width, c), F)
    _pixels([d[:, k : k + 4 * (r1 - r0) : 4] for k in range(6)], line)
    _pixels([line[:, :, :, k : k + 4 * tw : 4] for k in range(6)], _in_place(v, n1 - n0, r1 - r0, tw, c))


def from_tiles(m: Array, b: Array, images: Span, rows: Span, tw: int, y: Array) -> None:
    """The outputs of every tile of a chunk, plus b: m (36 tiles*o + room) -> y[images, the rows of the tiles]."""
    n, oh, ow, o = y.shape
    if compiled.available():
        line = parallel.scratch("lines", 24 * tw * o).reshape(4, 6, tw * o)
        _from_tiles(m, b, *images, *rows, tw, y.reshape(n, oh, ow * o), line)
        return
    (n0, n1), (r0, r1) = images, rows
    line = np.empty((4, 6, n1 - n0, r1 - r0, tw, o), F)
    _outputs(_in_order(m, n1 - n0, r1 - r0, tw, o), line)
    out = np.empty((4, n1 - n0, 4, r1 - r0, tw, o), F)
    _outputs(line.swapaxes(0, 1), out.transpose(0, 2, 1, 3, 4, 5))
    out += b
    # (across n down rows tw o) -> (n rows*down tw*across o)
    image = out.transpose(1, 3, 2, 4, 0, 5).reshape(n1 - n0, 4 * (r1 - r0), 4 * tw, o)
    y[n0:n1, 4 * r0 : 4 * r1] = image[:, : oh - 4 * r0, :ow]


def spread_tiles(g: Array, images: Span, rows: Span, tw: int, m: Array) -> None:
    """The adjoint of from_tiles: (n oh ow o) -> m (36 tiles*o + room). Beyond the image g is zero."""
    n, oh, ow, o = g.shape
    if compiled.available():
        line = parallel.scratch("lines", 24 * tw * o).reshape(6, 4 * tw * o)
        line[:, ow * o :] = 0
        _spread_tiles(g.reshape(n, oh, ow * o), o, *images, *rows, tw, m, line)
        return
    (n0, n1), (r0, r1) = images, rows
    d = np.zeros((n1 - n0, 4 * (r1 - r0), 4 * tw, o), F)
    part = g[n0:n1, 4 * r0 : 4 * r1]
    d[:, : part.shape[1], :ow] = part
    line = np.empty((6, n1 - n0, r1 - r0, 4 * tw, o), F)
    _spread([d[:, k::4] for k in range(4)], line)
    _spread([line[:, :, :, k::4] for k in range(4)], _in_place(m, n1 - n0, r1 - r0, tw, o))


def _in_place(v: Array, n: int, rows: int, tw: int, c: int) -> Array:
    """(36 tiles*c + room) -> (6 along, 6 down, n rows tw c), a view: the second pass is over the axis along a row."""
    return v[:, : n * rows * tw * c].reshape(6, 6, n, rows, tw, c).swapaxes(0, 1)


def _in_order(m: Array, n: int, rows: int, tw: int, o: int) -> Array:
    return m[:, : n * rows * tw * o].reshape(6, 6, n, rows, tw, o)


def _pixels(d: Any, out: Any) -> None:
    """out = B^T d along the first axis."""
    out[0] = FOUR * d[0] - FIVE * d[2] + d[4]
    even, odd = d[4] - FOUR * d[2], d[3] - FOUR * d[1]
    np.add(even, odd, out=out[1])
    np.subtract(even, odd, out=out[2])
    even, odd = d[4] - d[2], TWO * (d[3] - d[1])
    np.add(even, odd, out=out[3])
    np.subtract(even, odd, out=out[4])
    out[5] = FOUR * d[1] - FIVE * d[3] + d[5]


def _outputs(m: Any, out: Any) -> None:
    """out = A^T m along the first axis."""
    near, far = m[1] + m[2], m[3] + m[4]
    out[0] = m[0] + near + far
    out[2] = near + FOUR * far
    near, far = m[1] - m[2], m[3] - m[4]
    out[1] = near + TWO * far
    out[3] = near + EIGHT * far + m[5]


def _spread(y: Any, out: Any) -> None:
    """out = A y along the first axis."""
    out[0], out[5] = y[0], y[3]
    even, odd = y[0] + y[2], y[1] + y[3]
    np.add(even, odd, out=out[1])
    np.subtract(even, odd, out=out[2])
    even, odd = y[0] + FOUR * y[2], TWO * y[1] + EIGHT * y[3]
    np.add(even, odd, out=out[3])
    np.subtract(even, odd, out=out[4])


# Each loop below writes one or two lines: with six, LLVM gives up proving that they are apart and uses no vectors
# (2.5 times slower).


@compiled.compiled
def _to_tiles(
    x: Array,
    c: int,
    top: int,
    left: int,
    inside: int,
    n0: int,
    n1: int,
    r0: int,
    r1: int,
    tw: int,
    v: Array,
    line: Array,
) -> None:
    h = x.shape[1]
    t = 0
    for n in range(n0, n1):
        for i in range(r0, r1):
            y = 4 * i - top
            in0, in1, in2 = 0 <= y < h, 0 <= y + 1 < h, 0 <= y + 2 < h
            in3, in4, in5 = 0 <= y + 3 < h, 0 <= y + 4 < h, 0 <= y + 5 < h
            x0, x1, x2 = x[n, y if in0 else 0], x[n, y + 1 if in1 else 0], x[n, y + 2 if in2 else 0]
            x3, x4, x5 = x[n, y + 3 if in3 else 0], x[n, y + 4 if in4 else 0], x[n, y + 5 if in5 else 0]
            length, start = inside * c, left * c
            one = line[0, start : start + length]
            for e in range(length):
                d0, d2, d4 = x0[e] if in0 else ZERO, x2[e] if in2 else ZERO, x4[e] if in4 else ZERO
                one[e] = FOUR * d0 - FIVE * d2 + d4
            one = line[5, start : start + length]
            for e in range(length):
                d1, d3, d5 = x1[e] if in1 else ZERO, x3[e] if in3 else ZERO, x5[e] if in5 else ZERO
                one[e] = FOUR * d1 - FIVE * d3 + d5
            for k in range(1, 5, 2):
                near, far, both = (FOUR, FOUR, ONE) if k == 1 else (ONE, TWO, TWO)
                one, two = line[k, start : start + length], line[k + 1, start : start + length]
                for e in range(length):
                    d1, d2 = x1[e] if in1 else ZERO, x2[e] if in2 else ZERO
                    d3, d4 = x3[e] if in3 else ZERO, x4[e] if in4 else ZERO
                    even, odd = d4 - near * d2, both * d3 - far * d1
                    one[e] = even + odd
                    two[e] = even - odd
            for a in range(6):
                for j in range(tw):
                    s, z = 4 * j * c, (t + j) * c
                    y0, y1, y2 = line[a, s : s + c], line[a, s + c : s + 2 * c], line[a, s + 2 * c : s + 3 * c]
                    s += 3 * c
                    y3, y4, y5 = line[a, s : s + c], line[a, s + c : s + 2 * c], line[a, s + 2 * c : s + 3 * c]
                    out = v[6 * a, z : z + c]
                    for e in range(c):
                        out[e] = FOUR * y0[e] - FIVE * y2[e] + y4[e]
                    out = v[6 * a + 1, z : z + c]
                    for e in range(c):
                        out[e] = (y4[e] - FOUR * y2[e]) + (y3[e] - FOUR * y1[e])
                    out = v[6 * a + 2, z : z + c]
                    for e in range(c):
                        out[e] = (y4[e] - FOUR * y2[e]) - (y3[e] - FOUR * y1[e])
                    out = v[6 * a + 3, z : z + c]
                    for e in range(c):
                        out[e] = (y4[e] - y2[e]) + TWO * (y3[e] - y1[e])
                    out = v[6 * a + 4, z : z + c]
                    for e in range(c):
                        out[e] = (y4[e] - y2[e]) - TWO * (y3[e] - y1[e])
                    out = v[6 * a + 5, z : z + c]
                    for e in range(c):
                        out[e] = FOUR * y1[e] - FIVE * y3[e] + y5[e]
            t += tw


@compiled.compiled
def _from_tiles(m: Array, b: Array, n0: int, n1: int, r0: int, r1: int, tw: int, y: Array, line: Array) -> None:
    oh, o = y.shape[1], len(b)
    ow, length = y.shape[2] // o, tw * o
    t = 0
    for n in range(n0, n1):
        for i in range(r0, r1):
            for q in range(6):
                s, z = t * o, t * o + length
                m0, m1, m2, m3 = m[q, s:z], m[6 + q, s:z], m[12 + q, s:z], m[18 + q, s:z]
                m4, m5 = m[24 + q, s:z], m[30 + q, s:z]
                out = line[0, q]
                for e in range(length):
                    out[e] = m0[e] + (m1[e] + m2[e]) + (m3[e] + m4[e])
                out = line[1, q]
                for e in range(length):
                    out[e] = (m1[e] - m2[e]) + TWO * (m3[e] - m4[e])
                out = line[2, q]
                for e in range(length):
                    out[e] = (m1[e] + m2[e]) + FOUR * (m3[e] + m4[e])
                out = line[3, q]
                for e in range(length):
                    out[e] = (m1[e] - m2[e]) + EIGHT * (m3[e] - m4[e]) + m5[e]
            for p in range(min(4, oh - 4 * i)):
                row = y[n, 4 * i + p]
                for j in range(tw):
                    s, z = j * o, j * o + o
                    m0, m1, m2 = line[p, 0, s:z], line[p, 1, s:z], line[p, 2, s:z]
                    m3, m4, m5 = line[p, 3, s:z], line[p, 4, s:z], line[p, 5, s:z]
                    s *= 4
                    out = row[s : s + o]
                    for e in range(o):
                        out[e] = m0[e] + (m1[e] + m2[e]) + (m3[e] + m4[e]) + b[e]
                    if 4 * j + 1 < ow:
                        out = row[s + o : s + 2 * o]
                        for e in range(o):
                            out[e] = (m1[e] - m2[e]) + TWO * (m3[e] - m4[e]) + b[e]
                    if 4 * j + 2 < ow:
                        out = row[s + 2 * o : s + 3 * o]
                        for e in range(o):
                            out[e] = (m1[e] + m2[e]) + FOUR * (m3[e] + m4[e]) + b[e]
                    if 4 * j + 3 < ow:
                        out = row[s + 3 * o : s + 4 * o]
                        for e in range(o):
                            out[e] = (m1[e] - m2[e]) + EIGHT * (m3[e] - m4[e]) + m5[e] + b[e]
            t += tw


@compiled.compiled
def _spread_tiles(g: Array, o: int, n0: int, n1: int, r0: int, r1: int, tw: int, m: Array, line: Array) -> None:
    oh, length = g.shape[1], g.shape[2]
    t = 0
    for n in range(n0, n1):
        for i in range(r0, r1):
            y = 4 * i
            in1, in2, in3 = y + 1 < oh, y + 2 < oh, y + 3 < oh
            g0, g1 = g[n, y], g[n, y + 1 if in1 else 0]
            g2, g3 = g[n, y + 2 if in2 else 0], g[n, y + 3 if in3 else 0]
            one = line[0]
            for e in range(length):
                one[e] = g0[e]
            one = line[5]
            for e in range(length):
                one[e] = g3[e] if in3 else ZERO
            for k in range(1, 5, 2):
                second, first, third = (ONE, ONE, ONE) if k == 1 else (FOUR, TWO, EIGHT)
                one, two = line[k], line[k + 1]
                for e in range(length):
                    y1, y2, y3 = g1[e] if in1 else ZERO, g2[e] if in2 else ZERO, g3[e] if in3 else ZERO
                    even, odd = g0[e] + second * y2, first * y1 + third * y3
                    one[e] = even + odd
                    two[e] = even - odd
            for a in range(6):
                for j in range(tw):
                    s, z = 4 * j * o, (t + j) * o
                    l0, l1 = line[a, s : s + o], line[a, s + o : s + 2 * o]
                    l2, l3 = line[a, s + 2 * o : s + 3 * o], line[a, s + 3 * o : s + 4 * o]
                    out = m[6 * a, z : z + o]
                    for e in range(o):
                        out[e] = l0[e]
                    out = m[6 * a + 1, z : z + o]
                    for e in range(o):
                        out[e] = (l0[e] + l2[e]) + (l1[e] + l3[e])
                    out = m[6 * a + 2, z : z + o]
                    for e in range(o):
                        out[e] = (l0[e] + l2[e]) - (l1[e] + l3[e])
                    out = m[6 * a + 3, z : z + o]
                    for e in range(o):
                        out[e] = (l0[e] + FOUR * l2[e]) + (TWO * l1[e] + EIGHT * l3[e])
                    out = m[6 * a + 4, z : z + o]
                    for e in range(o):
                        out[e] = (l0[e] + FOUR * l2[e]) - (TWO * l1[e] + EIGHT * l3[e])
                    out = m[6 * a + 5, z : z + o]
                    for e in range(o):
                        out[e] = l3[e]
            t += tw
