"""Convolution and its two gradients: a closed family of three linear maps, each the adjoint of the others.

The images are read in blocks: a block of windows is copied into columns that fit the cache and multiplied there with
the weights. Inside, memory is channels-last (n h w c), whose windows are runs of kw*c; results are views of it.
Source: Chellapilla, Puri & Simard, High performance CNNs for document processing (2006), sec. 3.1 (im2col).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reduce import sum_pairwise
from .windows import channels_last, spans, windows

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

# Bytes of columns in one block: half of a 1 MB second-level cache. 2**18 to 2**21 are within 10 % of each other.
BLOCK = 2**19


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Pair | None = None,
) -> Array:
    """Cross-correlate images with kernels: y[n,o,i,j] = b[o] + sum x[n,c,i*s+p*d,j*s+q*d] w[o,c,p,q] over c, p, q.

    (n c h w), (o c/groups kh kw), (o) -> (n o oh ow), oh = (h + top + bottom - d*(kh-1) - 1) // s + 1

    float16 is summed in float32 and rounded once. `out` asks for the first oh x ow windows only.
    """
    dtype, work = _dtypes(x, w)
    n, c, *size = x.shape
    o, _, kh, kw = w.shape
    oh, ow = out or _out((size[0], size[1]), (kh, kw), stride, padding, dilation)
    if (kh, kw, stride, groups, oh, ow) == (1, 1, (1, 1), 1, *size) and _planes(x):
        plane: Array = np.matmul(
            w.reshape(o, c).astype(work, copy=False), x.reshape(n, c, oh * ow).astype(work, copy=False)
        )
        if b is not None:
            plane += b.astype(work)[:, None]
        return plane.reshape(n, o, oh, ow).astype(dtype, copy=False)
    y = np.empty((n, oh, ow, o), work)
    bias = None if b is None else np.tile(b.astype(work), ow)
    if groups == c > 1:
        taps = _taps(w, c, ow, work)
        for images, block in _padded(x, (kh, kw), stride, padding, dilation, (oh, ow), o // c, work):
            _depthwise(block, taps, y[images], stride, dilation)
    else:
        matrix = _matrix(w, groups, work)
        for images, rows, columns in _columns(x, (kh, kw), stride, padding, dilation, groups, (oh, ow), work):
            np.matmul(columns, matrix, out=_by_group(y[images, rows], groups))
            if bias is not None:
                y[images, rows].reshape(-1, ow * o)[...] += bias
    if bias is not None and groups == c > 1:
        y.reshape(-1, ow * o)[...] += bias
    return y.astype(dtype, copy=False).transpose(0, 3, 1, 2)


def conv2d_input_grad(
    g: Array, w: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in x: every g[n,o,i,j] w[o,c,p,q] is added to x[n,c,i*s+p*d,j*s+q*d].

    (n o oh ow), (o c/groups kh kw) -> (n c *size)
    """
    dtype, work = _dtypes(g, w)
    (n, o, oh, ow), (_, c_group, kh, kw) = g.shape, w.shape
    c = c_group * groups
    (top, _), (left, _) = padding
    before = (dilation[0] * (kh - 1) - top, dilation[1] * (kw - 1) - left)
    after = (size[0] + top - oh, size[1] + left - ow)
    if stride == (1, 1) and min(*before, *after) >= 0 and o <= 2 * c:
        # With stride 1 it is the correlation of g with the turned kernels, input and output channels swapped.
        turned = w.reshape(groups, o // groups, c_group, kh, kw).swapaxes(1, 2).reshape(c, o // groups, kh, kw)
        sides = ((before[0], after[0]), (before[1], after[1]))
        return conv2d(g, turned[:, :, ::-1, ::-1], None, (1, 1), sides, dilation, groups, size)
    # Few channels make short runs: keep the columns as rows of pixels and the image as planes.
    few = c_group <= 4
    x = np.zeros((n, c, *size) if few else (n, *size, c), work)
    rows = spans(kh, stride[0], top, dilation[0], size[0], oh)
    columns = spans(kw, stride[1], left, dilation[1], size[1], ow)
    matrix = _matrix(w, groups, work).swapaxes(1, 2) if not few else _matrix(w, groups, work)
    last = g.transpose(0, 2, 3, 1)
    per_image = max(1, oh * ow * kh * kw * c * work.itemsize)
    step = max(1, BLOCK // per_image)
    for i in range(0, n, step):
        block = np.ascontiguousarray(last[i : i + step], work)
        count = len(block)
        if few:
            # (groups kh*kw*c/groups o/groups) @ (groups o/groups pixels)
            spread = np.matmul(matrix, _by_group(block, groups).swapaxes(1, 2))
            spread = spread.reshape(groups, kh, kw, c_group, count, oh, ow).transpose(4, 0, 3, 1, 2, 5, 6)
            plane = x[i : i + step].reshape(count, groups, c_group, *size)
            for p, (i_out, i_in) in rows:
                for q, (j_out, j_in) in columns:
                    plane[..., i_in, j_in] += spread[:, :, :, p, q, i_out, j_out]
            continue
        # (groups pixels o/groups) @ (groups o/groups kh*kw*c/groups)
        spread = np.matmul(_by_group(block, groups), matrix).reshape(groups, count, oh, ow, kh, kw, c_group)
        image = x[i : i + step].reshape(count, *size, groups, c_group)
        for p, (i_out, i_in) in rows:
            for q, (j_out, j_in) in columns:
                image[:, i_in, j_in] += spread[:, :, i_out, j_out, p, q].transpose(1, 2, 3, 0, 4)
    x = x.astype(dtype, copy=False)
    return x if few else x.transpose(0, 3, 1, 2)


def conv2d_weight_grad(
    x: Array, g: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """Adjoint of conv2d in w: dw[o,c,p,q] = sum g[n,o,i,j] x[n,c,i*s+p*d,j*s+q*d] over n, i, j.

    (n c h w), (n o oh ow) -> (o c/groups *size)
    """
    dtype, work = _dtypes(x, g)
    c, (_, o, oh, ow), (kh, kw) = x.shape[1], g.shape, size
    if (kh, kw, stride, groups, oh, ow) == (1, 1, (1, 1), 1, *x.shape[2:]) and _planes(x) and _planes(g):
        n = len(x)
        planes = np.matmul(
            g.reshape(n, o, oh * ow).astype(work, copy=False),
            x.reshape(n, c, oh * ow).astype(work, copy=False).swapaxes(1, 2),
        )
        return sum_pairwise(planes, (0,), False).astype(dtype, copy=False).reshape(o, c, 1, 1)
    last = g.transpose(0, 2, 3, 1)
    if groups == c > 1:
        taps = np.zeros((kh, kw, o), work)
        for images, block in _padded(x, size, stride, padding, dilation, (oh, ow), o // c, work):
            part = np.ascontiguousarray(last[images], work)
            seen = windows(block, size, stride, dilation, (oh, ow))
            for p in range(kh):
                for q in range(kw):
                    taps[p, q] += sum_pairwise(seen[:, :, :, p, q] * part, (0, 1, 2), False)
        return np.ascontiguousarray(taps.transpose(2, 0, 1), dtype).reshape(o, 1, kh, kw)
    total = np.zeros((groups, kh * kw * (c // groups), o // groups), work)
    for images, rows, columns in _columns(x, size, stride, padding, dilation, groups, (oh, ow), work):
        total += np.matmul(columns.swapaxes(1, 2), _by_group(np.ascontiguousarray(last[images, rows], work), groups))
    # (groups kh*kw*c/groups o/groups) -> (o c/groups kh kw)
    dw = total.reshape(groups, kh, kw, c // groups, o // groups).transpose(0, 4, 3, 1, 2)
    return np.ascontiguousarray(dw, dtype).reshape(o, c // groups, kh, kw)


def _dtypes(a: Array, b: Array) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtype of the result and the one it is summed in."""
    dtype = np.result_type(a, b)
    return dtype, np.dtype(np.float32) if dtype == np.float16 else dtype


def _planes(x: Array) -> bool:
    """Whether the memory is a sequence of planes, (n c h w), and not of pixels."""
    return x.flags.c_contiguous and not channels_last(x)


def _out(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    oh, ow = (
        (h + sum(sides) - d * (k - 1) - 1) // s + 1
        for h, k, s, sides, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    return oh, ow


def _matrix(w: Array, groups: int, dtype: np.dtype[Any]) -> Array:
    """(o c/groups kh kw) -> (groups kh*kw*c/groups o/groups)"""
    o, c, kh, kw = w.shape
    split = w.reshape(groups, o // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(split, dtype).reshape(groups, kh * kw * c, o // groups)


def _by_group(y: Array, groups: int) -> Array:
    """(n oh ow o) -> (groups n*oh*ow o/groups), a view"""
    o = y.shape[-1]
    return y.reshape(-1, groups, o // groups).transpose(1, 0, 2)


def _padded(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    out: Pair,
    repeat: int,
    dtype: np.dtype[Any],
    per_image: int = 0,
) -> Iterator[tuple[slice, Array]]:
    """Blocks of zero-padded images, channels last, in a reused buffer: (n c h w) -> (images, (k h' w' c*repeat)).

    A block holds as many images as fit into BLOCK with `per_image` bytes each (without it, those of the padded image).
    """
    n, c, h, w = x.shape
    (top, _), (left, _) = padding
    last = x.transpose(0, 2, 3, 1)
    # The end of the padding that no window reaches is left out; `out` may reach past the declared one.
    height = max(top + h, (out[0] - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1)
    width = max(left + w, (out[1] - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1)
    step = max(1, min(n, BLOCK // max(1, per_image or height * width * c * repeat * dtype.itemsize)))
    if (height, width, repeat, x.dtype) == (h, w, 1, dtype) and last.flags.c_contiguous:
        for i in range(0, n, step):
            yield slice(i, i + step), last[i : i + step]
        return
    buffer = np.zeros((step, height, width, c * repeat), dtype)
    inside = buffer[:, top : top + h, left : left + w]
    for i in range(0, n, step):
        images = last[i : i + step]
        inside[: len(images)] = images if repeat == 1 else images.repeat(repeat, axis=3)
        yield slice(i, i + step), buffer[: len(images)]


def _columns(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    out: Pair,
    dtype: np.dtype[Any],
) -> Iterator[tuple[slice, slice, Array]]:
    """Blocks of windows as matrices: (n c h w) -> (images, rows, (groups images*rows*ow kh*kw*c/groups)).

    A block is several whole images or several rows of one. The matrix is overwritten by the next block.
    """
    c, (kh, kw), (oh, ow) = x.shape[1], kernel, out
    depth = kh * kw * (c // groups)
    per_row = ow * kh * kw * c * dtype.itemsize
    height = max(1, min(oh, BLOCK // per_row))
    buffer: Array | None = None
    for images, block in _padded(x, kernel, stride, padding, dilation, out, 1, dtype, oh * per_row):
        k = len(block)
        seen = windows(block, kernel, stride, dilation, out)
        if kernel == (1, 1) and stride == (1, 1) and block.shape[1:3] == out:
            yield images, slice(None), block.reshape(-1, groups, depth).transpose(1, 0, 2)
            continue
        split = seen.reshape(k, oh, ow, kh, kw, groups, c // groups) if groups > 1 else seen[:, :, :, :, :, None]
        if buffer is None:
            buffer = np.empty(groups * k * height * ow * depth, dtype)
        for r in range(0, oh, height):
            part = split[:, r : r + height]
            pixels = part.shape[0] * part.shape[1] * ow
            matrix = buffer[: groups * pixels * depth]
            if c <= 2 * groups:
                # Few channels make short runs: copy runs of ow instead (1 channel, 28x28, kernel 3: 3 times faster).
                matrix.reshape(groups, kh, kw, c // groups, *part.shape[:3])[...] = part.transpose(5, 3, 4, 6, 0, 1, 2)
                yield images, slice(r, r + height), matrix.reshape(groups, depth, pixels).swapaxes(1, 2)
            else:
                matrix.reshape(groups, *part.shape[:5], c // groups)[...] = part.transpose(5, 0, 1, 2, 3, 4, 6)
                yield images, slice(r, r + height), matrix.reshape(groups, pixels, depth)


def _taps(w: Array, c: int, ow: int, dtype: np.dtype[Any]) -> Array:
    """(o 1 kh kw) -> (kh kw ow o): depthwise weights repeated along a row, so that one row is one run."""
    o, _, kh, kw = w.shape
    rows = np.empty((kh, kw, ow, o), dtype)
    rows[...] = w.reshape(o, kh, kw).transpose(1, 2, 0)[:, :, None]
    return rows


def _depthwise(x: Array, taps: Array, y: Array, stride: Pair, dilation: Pair) -> None:
    """y[n,i,j,o] = sum x[n,i*s+p*d,j*s+q*d,o] taps[p,q,j,o] over p, q, written into y."""
    kh, kw = taps.shape[:2]
    oh, ow = y.shape[1:3]
    seen = windows(x, (kh, kw), stride, dilation, (oh, ow))
    term = np.empty_like(y)
    for p in range(kh):
        for q in range(kw):
            np.multiply(seen[:, :, :, p, q], taps[p, q], out=term if p or q else y)
            if p or q:
                y += term
