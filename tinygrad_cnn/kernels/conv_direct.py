"""Convolution and its two gradients without columns or tiles: the sums of conv_loops.py in vector code, in float32.

Every call is a correlation at taps: y[i, j] = sum over taps (s, t) of x[i*stride + s, j*stride + t] w[s, t], where x is
zero outside. In the gradient to the image, with a stride, each of the stride's phases is a correlation of its own.
Memory is channels-last (n h w c). Without vector code (vectors.py) nothing here is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from .packing import kept, lanes_of, packed, padded, unpacked

Array = NDArray[Any]
Pair = tuple[int, int]
F = np.float32

# Bytes of padded images in a block, and multiplications.
BLOCK, STEPS = 2**19, 2**22
# The weight gradient is summed up in at most so many parts, and bytes of them.
PARTS, SUMS = 16, 2**24
# The furthest taps and the longest strides; im2col has no such limits.
REACH = 64
FASTER = 8  # multiplications in the time of one elementary step of `parallel.spans`


def fits(kernel: Pair, stride: Pair, dilation: Pair, groups: int, *arrays: Array) -> bool:
    """Whether a call is for this module."""
    return (
        groups == 1
        and all(a.dtype in (F, np.float16) and a.size for a in arrays)
        and max(stride) <= REACH
        and all(d * (k - 1) < REACH for d, k in zip(dilation, kernel, strict=True))
        and compiled.vectors() is not None
    )


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    corner: Pair,
    dilation: Pair,
    out: Pair,
    *,
    keep: bool = False,
) -> Array:
    """Forward: (n h w c), (o c kh kw), (o) -> (n *out o). corner: zeros above and to the left.

    keep: the kernels as they are packed, for another call with them.
    """
    o, c, kh, kw = w.shape
    y = buffers.empty((len(x), *out, o))
    taps = Taps([p * dilation[0] - corner[0] for p in range(kh)], [q * dilation[1] - corner[1] for q in range(kw)], c)
    lanes = lanes_of(o)

    def in_panels() -> tuple[Array, Array]:
        kernels = packed(w, list(range(kh * kw)), lanes)
        return kernels, padded(b, len(kernels) * lanes)

    kernels, bias = kept("direct", w, b, in_panels) if keep else in_panels()
    _correlate(x, kernels, bias, taps, stride, y, (0, 0), (1, 1), out)
    return y


def input_grad(g: Array, w: Array, size: Pair, stride: Pair, corner: Pair, dilation: Pair) -> Array:
    """Adjoint in the image: (n oh ow o), (o c kh kw) -> (n *size c)."""
    o, c, kh, kw = w.shape
    whole = all(d == 1 and s <= k for s, d, k in zip(stride, dilation, (kh, kw), strict=True))
    x = buffers.empty((len(g), *size, c))
    if not whole:
        x[...] = 0
    for i in range(min(stride[0], size[0])):
        for j in range(min(stride[1], size[1])):
            # pixel (i + stride*m) has window m + t for every tap p with stride*t = i + top - p*dilation
            rows = _phase(i + corner[0], kh, stride[0], dilation[0])
            columns = _phase(j + corner[1], kw, stride[1], dilation[1])
            if rows and columns:
                taps = Taps([t for t, _ in rows], [t for t, _ in columns], o)
                chosen = [p * kw + q for _, p in rows for _, q in columns]
                kernels = packed(w, chosen, lanes_of(c), swapped=True)
                bias = padded(None, len(kernels) * lanes_of(c))
                out = (-(-(size[0] - i) // stride[0]), -(-(size[1] - j) // stride[1]))
                _correlate(g, kernels, bias, taps, (1, 1), x, (i, j), stride, out)
    return x


def weight_grad(x: Array, g: Array, size: Pair, stride: Pair, corner: Pair, dilation: Pair) -> Array:
    """Adjoint in the kernels: (n h w c), (n oh ow o) -> (o c *size)."""
    (n, oh, ow, o), c, (kh, kw) = g.shape, x.shape[3], size
    taps = Taps([p * dilation[0] - corner[0] for p in range(kh)], [q * dilation[1] - corner[1] for q in range(kw)], c)
    width = taps.width(ow, stride)
    terms = kh * kw * c
    blocks = _blocks(n, oh, stride[0] * width * c * 4, ow * terms * o)
    parts = parallel.pieces(len(blocks), -(-len(blocks) // max(1, min(PARTS, SUMS // (4 * terms * o)))))
    lanes = lanes_of(o)
    dw = np.zeros((len(parts), -(-o // lanes), terms, lanes), F)
    vectors, offsets = compiled.vectors(), taps.offsets(width)
    rows = _rows(blocks)

    def body(first: int, last: int) -> None:
        pixels = parallel.scratch("padded", taps.area(rows, stride) * width * c)
        lines, panel = parallel.scratch("lines", rows, np.int64), parallel.scratch("panel", rows * ow * lanes)
        for part in range(first, last):
            some = blocks[slice(*parts[part])]
            vectors.correlate_weights(
                x, g, some, taps.window(stride), offsets, taps.length, dw[part], pixels, lines, panel
            )

    parallel.spans(body, len(parts), g.size * terms / FASTER)
    total = dw[0]
    for more in dw[1:]:
        total += more
    return unpacked(total.reshape(len(total), kh * kw, c, lanes), o, c).reshape(o, c, kh, kw)


class Taps:
    """Where a window reads: at every row of `rows` and every column of `columns`, both ascending; c channels each.

    Neighbouring columns are one run of memory.
    """

    def __init__(self, rows: list[int], columns: list[int], c: int) -> None:
        self.rows, self.c = rows, c
        self.corner = (rows[0], columns[0])
        self.size = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        together = self.size[1] == len(columns)
        self.starts = columns[:1] if together else columns
        self.length = len(columns) * c if together else c

    def width(self, windows: int, stride: Pair) -> int:
        """Columns of the pixels that so many windows in a row read."""
        return (windows - 1) * stride[1] + self.size[1]

    def area(self, rows: int, stride: Pair) -> int:
        """Rows of the pixels that so many rows of windows read."""
        return (rows - 1) * stride[0] + self.size[0]

    def window(self, stride: Pair) -> tuple[Pair, Pair, Pair]:
        """What `vectors.correlate` calls a window."""
        return stride, self.corner, self.size

    def offsets(self, width: int) -> Array:
        """Bytes from a window's first pixel to each run, where a row of pixels has this width."""
        (top, left), c = self.corner, self.c
        return np.array([((s - top) * width + t - left) * c * 4 for s in self.rows for t in self.starts], np.int64)


def _phase(at: int, kernel: int, stride: int, dilation: int) -> list[tuple[int, int]]:
    """(t, p) with stride*t = at - p*dilation, by ascending t."""
    return sorted(((at - p * dilation) // stride, p) for p in range(kernel) if (at - p * dilation) % stride == 0)


def _correlate(
    x: Array,
    w: Array,
    bias: Array,
    taps: Taps,
    stride: Pair,
    y: Array,
    place: Pair,
    step: Pair,
    out: Pair,
) -> None:
    """The correlation of x with w (panels taps c lanes) plus bias (panels*lanes), into y.

    Window (i, j) of range(*out) goes to y[place + step*(i, j)].
    """
    (panels, _, c, lanes), o = w.shape, y.shape[3]
    kernels = w.reshape(panels, -1, lanes)
    width, terms = taps.width(out[1], stride), kernels.shape[1]
    blocks = _blocks(len(x), out[0], stride[0] * width * c * 4, out[1] * terms * o)
    vectors, offsets = compiled.vectors(), taps.offsets(width)
    room = taps.area(_rows(blocks), stride) * width * c

    def body(first: int, last: int) -> None:
        pixels, some = parallel.scratch("padded", room), blocks[first:last]
        window = taps.window(stride)
        vectors.correlate(x, some, window, offsets, taps.length, kernels, bias, y, place, step, out[1], pixels)

    parallel.spans(body, len(blocks), len(x) * out[0] * out[1] * terms * o / FASTER)


def _blocks(n: int, rows: int, by_row: int, steps: int) -> Array:
    """(k 4), first and last image and row of windows: whole images, or parts of one that has more bytes than fit.

    by_row, steps: bytes and multiplications of one row of windows.
    """
    height = min(rows, BLOCK // max(1, by_row), STEPS // max(1, steps))
    images = STEPS // max(1, rows * steps) if height == rows else 1
    parts = parallel.pieces(rows, height)
    blocks = [(*some, *part) for some in parallel.pieces(n, images) for part in parts]
    return np.array(blocks, np.int64)


def _rows(blocks: Array) -> int:
    """The rows of windows in the highest block."""
    return int((blocks[:, 3] - blocks[:, 2]).max())
