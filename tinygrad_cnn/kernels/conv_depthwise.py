"""Depthwise convolution, one or more kernels for each channel: sums of products along runs of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled, parallel
from .reduce import sum_pairwise
from .windows import padded_rows, windows

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

# Bytes of images in one block: half of a 1 MB second-level cache.
BLOCK = 2**19


def conv2d(x: Array, w: Array, b: Array | None, stride: Pair, padding: Padding, dilation: Pair, y: Array) -> None:
    """y[n,i,j,o] = b[o] + sum x[n,o//m,i*s+p*d,j*s+q*d] w[o,0,p,q] with m kernels for each channel, written into y.

    (n c h w), (o 1 kh kw), (o) -> (n oh ow o)
    """
    n, oh, ow, o = y.shape
    c, kh, kw = x.shape[1], *w.shape[2:]
    taps = np.ascontiguousarray(w.reshape(o, kh, kw).transpose(1, 2, 0), y.dtype)
    bias = np.zeros(o, y.dtype) if b is None else b.astype(y.dtype)
    last, corner = x.transpose(0, 2, 3, 1), (padding[0][0], padding[1][0])
    step = _images_at_once((x.shape[2], x.shape[3]), (kh, kw), stride, corner, dilation, y)

    def body(k: int) -> None:
        images = (k * step, min(n, (k + 1) * step))
        block = padded_rows(last, images, (0, oh), (kh, kw), stride, corner, dilation, ow, y.dtype)
        if o == c and y.dtype.char in "fd" and compiled.available():
            steps = (stride[0] * (oh > 1), stride[1] * (ow > 1), dilation[0] * (kh > 1), dilation[1] * (kw > 1))
            vectors = compiled.depthwise_vectors() if y.dtype == np.float32 else None
            if vectors:
                offsets = parallel.scratch("offsets", kh * kw, np.int64)
                # a block may be a part of the images, which vector code cannot step through
                vectors.forward(np.ascontiguousarray(block), taps, bias, *steps, offsets, y[slice(*images)])
            else:
                _forward(block, taps, bias, *steps, y[slice(*images)])
            return
        seen = windows(block if o == c else block.repeat(o // c, axis=3), (kh, kw), stride, dilation, (oh, ow))
        part = y[slice(*images)]
        # One row of images is one run.
        rows = np.tile(taps, ow).reshape(kh, kw, ow, o)
        term = np.empty_like(part)
        for p in range(kh):
            for q in range(kw):
                np.multiply(seen[:, :, :, p, q], rows[p, q], out=term if p or q else part)
                if p or q:
                    part += term
        part.reshape(-1, ow * o)[...] += np.tile(bias, ow)

    parallel.run(body, -(-n // step), float(y.size * kh * kw) if y.dtype.kind == "f" else 0.0)


def weight_grad(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, dtype: np.dtype[Any]
) -> Array:
    """dw[o,0,p,q] = sum g[n,i,j,o] x[n,o//m,i*s+p*d,j*s+q*d]: (n c h w), (n oh ow o) -> (o 1 *size)."""
    (n, oh, ow, o), c, (kh, kw) = g.shape, x.shape[1], size
    last, corner = x.transpose(0, 2, 3, 1), (padding[0][0], padding[1][0])
    step = _images_at_once((x.shape[2], x.shape[3]), size, stride, corner, dilation, g)
    blocks = -(-n // step)
    sums = np.zeros((blocks, kh, kw, o), dtype)

    def body(k: int) -> None:
        images = (k * step, min(n, (k + 1) * step))
        part = np.ascontiguousarray(g[slice(*images)], dtype)
        block = padded_rows(last, images, (0, oh), size, stride, corner, dilation, ow, dtype)
        if o == c and dtype == np.float32 and compiled.available():
            steps = (stride[0] * (oh > 1), stride[1] * (ow > 1), dilation[0] * (kh > 1), dilation[1] * (kw > 1))
            vectors = compiled.depthwise_vectors()
            if vectors:  # every row of outputs has sums of its own, in float32
                rows = np.zeros((oh, kh, kw, o), np.float32)
                vectors.weight_grad(np.ascontiguousarray(block), part, *steps, rows)
                sums[k] = rows.sum(0, np.float64)
                return
            exact = np.zeros((kh, kw, o))
            _weight_grad(block, part, *steps, exact)
            sums[k] = exact
            return
        seen = windows(block if o == c else block.repeat(o // c, axis=3), size, stride, dilation, (oh, ow))
        for p in range(kh):
            for q in range(kw):
                sums[k, p, q] = sum_pairwise(seen[:, :, :, p, q] * part, (0, 1, 2), False)

    parallel.run(body, blocks, float(g.size * kh * kw) if dtype.kind == "f" else 0.0)
    taps = np.zeros((kh, kw, o), dtype)
    for part in sums:
        taps += part
    return np.ascontiguousarray(taps.transpose(2, 0, 1)).reshape(o, 1, kh, kw)


def _images_at_once(size: Pair, kernel: Pair, stride: Pair, corner: Pair, dilation: Pair, y: Array) -> int:
    """How many padded images, with every channel as often as it has kernels, fill a block."""
    n, oh, ow, o = y.shape
    height, width = (
        max(before + h, (length - 1) * s + d * (k - 1) + 1)
        for h, before, length, s, d, k in zip(size, corner, (oh, ow), stride, dilation, kernel, strict=True)
    )
    return int(max(1, min(n, BLOCK // max(1, height * width * o * y.itemsize))))


@compiled.compiled
def _forward(x: Array, taps: Array, bias: Array, sh: int, sw: int, dh: int, dw: int, y: Array) -> None:
    n, oh, ow, c = y.shape
    kh, kw = taps.shape[:2]
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                out = y[image, i, j]
                for p in range(kh):
                    for q in range(kw):
                        pixel, tap = x[image, i * sh + p * dh, j * sw + q * dw], taps[p, q]
                        if p + q == 0:
                            for e in range(c):
                                out[e] = pixel[e] * tap[e]
                        else:
                            for e in range(c):
                                out[e] += pixel[e] * tap[e]
                for e in range(c):
                    out[e] += bias[e]


@compiled.compiled
def _weight_grad(x: Array, g: Array, sh: int, sw: int, dh: int, dw: int, taps: Array) -> None:
    n, oh, ow, c = g.shape
    kh, kw = taps.shape[:2]
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                part = g[image, i, j]
                for p in range(kh):
                    for q in range(kw):
                        pixel, tap = x[image, i * sh + p * dh, j * sw + q * dw], taps[p, q]
                        for e in range(c):
                            tap[e] += pixel[e] * part[e]
