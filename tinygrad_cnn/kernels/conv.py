"""Convolution and its two gradients: which algorithm computes a call.

    loops     the textbook: every product is one step of a loop              conv_loops.py
    direct    the same sums in vector code, in float32                       conv_direct.py
    im2col    windows are copied into columns and multiplied with a matrix   conv_im2col.py
    winograd  3x3 with a quarter of the multiplications, in float32          winograd.py

The three functions are a closed family of linear maps, each the adjoint of the others. Inside, memory is
channels-last (n h w c); results are views of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel, winograd
from . import conv_direct as direct
from . import conv_im2col as im2col
from . import conv_loops as loops

__all__ = ["conv_algorithm"]

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

NAMES = ("auto", "loops", "direct", "im2col", "winograd")
_chosen: ContextVar[str] = ContextVar("conv_algorithm", default="auto")

# 'auto' takes Winograd from so many channels on, in and out: (with numba, without). Measured on Zen 4 with AVX-512.
FEWEST = (16, 32)
PIXELS = 128  # and from so many pixels of all images on: for fewer, transforming the kernels costs more than it saves
PIXELS_KEPT = 32  # unless that has been done before


@contextmanager
def conv_algorithm(name: str) -> Iterator[None]:
    """Choose how convolutions and their gradients are computed: `with conv_algorithm("im2col"):`, or as a decorator.

    'auto': by dtype, shape and data, the fastest that is right; the default.
    'loops': one product at a time; slow without numba.
    'direct': one product at a time in vector code, with numba on processors with AVX2, for float32 and float16 and 1
        group; other calls are computed by 'im2col'.
    'im2col': windows as the columns of a matrix product.
    'winograd': fewer multiplications and less accuracy, about 1e-5 of the largest value near an output, for float32,
        3x3, stride 1, dilation 1 and 1 group; other calls, and images that are not finite, are computed by 'im2col'.
        'auto' also computes images with outliers by 'im2col', and all images where one tap is an outlier.

    Holds for this thread and async task, and for a gradient where it is computed. Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"conv_algorithm: name is {name!r}; it can be {', '.join(map(repr, NAMES))}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Pair | None = None,
    *,
    keep: bool = False,
) -> Array:
    """Cross-correlate images with kernels: y[n,o,i,j] = b[o] + sum x[n,c,i*s+p*d,j*s+q*d] w[o,c,p,q] over c, p, q.

    (n c h w), (o c/groups kh kw), (o) -> (n o oh ow), oh = (h + top + bottom - d*(kh-1) - 1) // s + 1

    float16 is summed in float32 and rounded once. `out` asks for the first oh x ow windows only.
    keep: what is made of the kernels, for another call with them.
    """
    name = _chosen.get()
    size = out or _out((x.shape[2], x.shape[3]), (w.shape[2], w.shape[3]), stride, padding, dilation)
    if name == "loops":
        return loops.conv2d(x, w, b, stride, padding, dilation, groups, size)
    corner = (padding[0][0], padding[1][0])
    if _few_products(
        name, x, w, (w.shape[2], w.shape[3]), stride, dilation, groups, len(w), PIXELS_KEPT if keep else PIXELS
    ):
        bias = b if b is None or b.dtype == x.dtype else b.astype(x.dtype)
        y, rest = winograd.forward(_last(x), w, bias, corner, size, trust=name == "winograd", keep=keep)
        if len(rest):
            again = im2col.conv2d(x[rest], w, b, stride, padding, dilation, groups, size)
            y[rest] = again.transpose(0, 2, 3, 1)
        return y.transpose(0, 3, 1, 2)
    if _in_vectors(name, (w.shape[2], w.shape[3]), stride, dilation, groups, x, w):
        y = direct.conv2d(_last(x), w, b, stride, corner, dilation, size, keep=keep).transpose(0, 3, 1, 2)
        return y.astype(np.result_type(x, w), copy=False)
    return im2col.conv2d(x, w, b, stride, padding, dilation, groups, size)


def conv2d_input_grad(
    g: Array, w: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in x: every g[n,o,i,j] w[o,c,p,q] is added to x[n,c,i*s+p*d,j*s+q*d].

    (n o oh ow), (o c/groups kh kw) -> (n c *size)
    """
    name = _chosen.get()
    if name == "loops":
        return loops.conv2d_input_grad(g, w, size, stride, padding, dilation, groups)
    before = (2 - padding[0][0], 2 - padding[1][0])
    kernel = (w.shape[2], w.shape[3])
    if min(before) >= 0 and _few_products(name, g, w, kernel, stride, dilation, groups, w.shape[1], PIXELS):
        # With stride 1 it is the correlation of g with the turned kernels, input and output channels swapped.
        x, rest = winograd.forward(_last(g), w, None, before, size, turned=True, trust=name == "winograd")
        if len(rest):
            again = im2col.conv2d_input_grad(g[rest], w, size, stride, padding, dilation, groups)
            x[rest] = again.transpose(0, 2, 3, 1)
        return x.transpose(0, 3, 1, 2)
    if _in_vectors(name, kernel, stride, dilation, groups, g, w):
        corner = (padding[0][0], padding[1][0])
        x = direct.input_grad(_last(g), w, size, stride, corner, dilation).transpose(0, 3, 1, 2)
        return x.astype(np.result_type(g, w), copy=False)
    return im2col.conv2d_input_grad(g, w, size, stride, padding, dilation, groups)


def conv2d_weight_grad(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in w: dw[o,c,p,q] = sum g[n,o,i,j] x[n,c,i*s+p*d,j*s+q*d] over n, i, j.

    (n c h w), (n o oh ow) -> (o c/groups *size)
    """
    name = _chosen.get()
    if name == "loops":
        return loops.conv2d_weight_grad(x, g, size, stride, padding, dilation, groups)
    corner = (padding[0][0], padding[1][0])
    if _few_products(name, x, g, size, stride, dilation, groups, g.shape[1], PIXELS):
        dw = winograd.weight_grad(_last(x), _last(g), corner, trust=name == "winograd")
        if dw is not None:
            return dw
    if _in_vectors(name, size, stride, dilation, groups, x, g):
        dw = direct.weight_grad(_last(x), _last(g), size, stride, corner, dilation)
        return dw.astype(np.result_type(x, g), copy=False)
    return im2col.conv2d_weight_grad(x, g, size, stride, padding, dilation, groups)


def _few_products(
    name: str,
    x: Array,
    other: Array,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    groups: int,
    o: int,
    pixels: int,
) -> bool:
    """Whether this is for Winograd, as far as shapes and dtypes say."""
    if name in ("im2col", "direct") or (kernel, stride, dilation, groups) != ((3, 3), (1, 1), (1, 1), 1):
        return False
    if x.dtype != np.float32 or other.dtype != np.float32:
        return False
    if name == "winograd":
        return True
    return bool(min(x.shape[1], o) >= FEWEST[not compiled.available()] and len(x) * x.shape[2] * x.shape[3] >= pixels)


def _in_vectors(name: str, kernel: Pair, stride: Pair, dilation: Pair, groups: int, *arrays: Array) -> bool:
    """Whether this is for direct sums in vector code. A 1x1 kernel has no columns to spare."""
    if name not in ("auto", "direct") or (name == "auto" and kernel == (1, 1)):
        return False
    return direct.fits(kernel, stride, dilation, groups, *arrays)


def _last(x: Array) -> Array:
    """(n c h w) -> (n h w c), contiguous, float32"""
    last = x.transpose(0, 2, 3, 1)
    if last.flags.c_contiguous and last.dtype == np.float32:
        return last
    copy = buffers.empty(last.shape)
    # planes are read with long steps
    parallel.spans(lambda *images: np.copyto(copy[slice(*images)], last[slice(*images)]), len(copy), 8.0 * copy.size)
    return copy


def _out(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    oh, ow = (
        (h + sum(sides) - d * (k - 1) - 1) // s + 1
        for h, k, s, sides, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    return oh, ow
