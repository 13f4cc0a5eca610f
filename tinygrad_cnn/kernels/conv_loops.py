"""Convolution and its two gradients as the textbook writes them, one product at a time, compiled where numba is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import Loop, compiled

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Pair,
) -> Array:
    """y[n,o,i,j] = b[o] + sum x[n,c,i*s+p*d,j*s+q*d] w[o,c,p,q]: (n c h w), (o c/groups kh kw), (o) -> (n o *out)."""
    dtype, work = dtypes(x, w)
    y = np.zeros((len(x), len(w), *out), work)
    if b is not None:
        y += b[:, None, None]
    _run(_forward, x, w, y, stride, padding, dilation, groups)
    return y.astype(dtype, copy=False)


def conv2d_input_grad(
    g: Array, w: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in x: (n o oh ow), (o c/groups kh kw) -> (n c *size)."""
    dtype, work = dtypes(g, w)
    x = np.zeros((len(g), w.shape[1] * groups, *size), work)
    _run(_input_grad, x, w, g, stride, padding, dilation, groups)
    return x.astype(dtype, copy=False)


def conv2d_weight_grad(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in w: (n c h w), (n o oh ow) -> (o c/groups *size)."""
    dtype, work = dtypes(x, g)
    w = np.zeros((g.shape[1], x.shape[1] // groups, *size), work)
    _run(_weight_grad, x, w, g, stride, padding, dilation, groups)
    return w.astype(dtype, copy=False)


def dtypes(a: Array, b: Array) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtype of the result and the one it is summed in."""
    dtype = np.result_type(a, b)
    return dtype, np.dtype(np.float32) if dtype == np.float16 else dtype


def _run(loop: Loop, x: Array, w: Array, y: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
    """The loop over arrays of one dtype; objects are for Python alone. What the loop writes has that dtype already."""
    (top, _), (left, _) = padding
    dtype = np.result_type(x, w, y)
    arrays = (a.astype(dtype, copy=False) for a in (x, w, y))
    run = loop.python if dtype.kind == "O" else loop
    # A step that is never taken may be too large for a compiled integer.
    (sh, sw), (dh, dw) = stride, dilation
    (oh, ow), (kh, kw) = y.shape[2:], w.shape[2:]
    run(*arrays, sh * (oh > 1), sw * (ow > 1), top, left, dh * (kh > 1), dw * (kw > 1), groups)


@compiled
def _forward(
    x: Array, w: Array, y: Array, sh: int, sw: int, top: int, left: int, dh: int, dw: int, groups: int
) -> None:
    n, o, oh, ow = y.shape
    _, c, kh, kw = w.shape
    height, width = x.shape[2:]
    for image in range(n):
        for k in range(o):
            first = k // (o // groups) * c
            for i in range(oh):
                for j in range(ow):
                    total = y[image, k, i, j]
                    for channel in range(c):
                        for p in range(kh):
                            for q in range(kw):
                                row, column = i * sh + p * dh - top, j * sw + q * dw - left
                                if 0 <= row < height and 0 <= column < width:
                                    total += x[image, first + channel, row, column] * w[k, channel, p, q]
                    y[image, k, i, j] = total


@compiled
def _input_grad(
    x: Array, w: Array, y: Array, sh: int, sw: int, top: int, left: int, dh: int, dw: int, groups: int
) -> None:
    n, o, oh, ow = y.shape
    _, c, kh, kw = w.shape
    height, width = x.shape[2:]
    for image in range(n):
        for k in range(o):
            first = k // (o // groups) * c
            for i in range(oh):
                for j in range(ow):
                    for channel in range(c):
                        for p in range(kh):
                            for q in range(kw):
                                row, column = i * sh + p * dh - top, j * sw + q * dw - left
                                if 0 <= row < height and 0 <= column < width:
                                    x[image, first + channel, row, column] += y[image, k, i, j] * w[k, channel, p, q]


@compiled
def _weight_grad(
    x: Array, w: Array, y: Array, sh: int, sw: int, top: int, left: int, dh: int, dw: int, groups: int
) -> None:
    n, o, oh, ow = y.shape
    _, c, kh, kw = w.shape
    height, width = x.shape[2:]
    for k in range(o):
        first = k // (o // groups) * c
        for channel in range(c):
            for p in range(kh):
                for q in range(kw):
                    total = w[k, channel, p, q]
                    for image in range(n):
                        for i in range(oh):
                            for j in range(ow):
                                row, column = i * sh + p * dh - top, j * sw + q * dw - left
                                if 0 <= row < height and 0 <= column < width:
                                    total += x[image, first + channel, row, column] * y[image, k, i, j]
                    w[k, channel, p, q] = total
