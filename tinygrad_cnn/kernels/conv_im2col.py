"""Convolution and its two gradients by matrix products: blocks of windows are copied into columns that fit the cache.

Inside, memory is channels-last (n h w c), whose windows are runs of kw*c; results are views of it. Depthwise
convolution has loops of its own, and a 1x1 convolution of planes is one product.
Source: Chellapilla, Puri & Simard, High performance CNNs for document processing (2006), sec. 3.1 (im2col).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from . import conv_depthwise as depthwise
from .reduce import sum_pairwise
from .windows import channels_last, padded_rows, spans, windows

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_NONE: Padding = ((0, 0), (0, 0))
# Bytes of columns in one block: half of a 1 MB second-level cache. 2**18 to 2**21 are within 10 % of each other.
BLOCK = 2**19
# Bytes of products of the weight gradient that wait to be added.
SUMS = 2**23


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
    if (kh, kw, stride, padding, groups, oh, ow) == (1, 1, (1, 1), _NONE, 1, *size) and _planes(x):
        plane: Array = np.matmul(
            w.reshape(o, c).astype(work, copy=False), x.reshape(n, c, oh * ow).astype(work, copy=False)
        )
        if b is not None:
            plane += b.astype(work)[:, None]
        return plane.reshape(n, o, oh, ow).astype(dtype, copy=False)
    y = buffers.empty((n, oh, ow, o), work)
    if groups == c > 1:
        depthwise.conv2d(x, w, b, stride, padding, dilation, y)
        return y.astype(dtype, copy=False).transpose(0, 3, 1, 2)
    bias = None if b is None else np.tile(b.astype(work), ow)
    matrix = _matrix(w, groups, work)
    columns = Columns(x, (kh, kw), stride, padding, dilation, groups, (oh, ow), work)

    def body(k: int) -> None:
        images, rows = columns.blocks[k]
        part = y[slice(*images), slice(*rows)]
        np.matmul(columns[k], matrix, out=_by_group(part, groups))
        if bias is not None:
            part.reshape(-1, ow * o)[...] += bias

    parallel.run(body, len(columns.blocks), columns.steps * (o // groups))
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
    x = buffers.empty((n, c, *size) if few else (n, *size, c), work)
    x[...] = 0
    rows = spans(kh, stride[0], top, dilation[0], size[0], oh)
    columns = spans(kw, stride[1], left, dilation[1], size[1], ow)
    matrix = _matrix(w, groups, work).swapaxes(1, 2) if not few else _matrix(w, groups, work)
    last = g.transpose(0, 2, 3, 1)
    per_image = max(1, oh * ow * kh * kw * c * work.itemsize)
    step = max(1, BLOCK // per_image)

    def body(k: int) -> None:
        images = slice(k * step, (k + 1) * step)
        block = np.ascontiguousarray(last[images], work)
        count = len(block)
        if few:
            # (groups kh*kw*c/groups o/groups) @ (groups o/groups pixels)
            spread = np.matmul(matrix, _by_group(block, groups).swapaxes(1, 2))
            spread = spread.reshape(groups, kh, kw, c_group, count, oh, ow).transpose(4, 0, 3, 1, 2, 5, 6)
            plane = x[images].reshape(count, groups, c_group, *size)
            for p, (i_out, i_in) in rows:
                for q, (j_out, j_in) in columns:
                    plane[..., i_in, j_in] += spread[:, :, :, p, q, i_out, j_out]
            return
        # (groups pixels o/groups) @ (groups o/groups kh*kw*c/groups)
        spread = np.matmul(_by_group(block, groups), matrix).reshape(groups, count, oh, ow, kh, kw, c_group)
        image = x[images].reshape(count, *size, groups, c_group)
        for p, (i_out, i_in) in rows:
            for q, (j_out, j_in) in columns:
                image[:, i_in, j_in] += spread[:, :, i_out, j_out, p, q].transpose(1, 2, 3, 0, 4)

    parallel.run(body, -(-n // step), g.size * kh * kw * c_group if work.kind == "f" else 0)
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
    is_product = (kh, kw, stride, padding, groups, oh, ow) == (1, 1, (1, 1), _NONE, 1, *x.shape[2:])
    if is_product and _planes(x) and _planes(g):
        n = len(x)
        planes = np.matmul(
            g.reshape(n, o, oh * ow).astype(work, copy=False),
            x.reshape(n, c, oh * ow).astype(work, copy=False).swapaxes(1, 2),
        )
        return sum_pairwise(planes, (0,), False).astype(dtype, copy=False).reshape(o, c, 1, 1)
    last = g.transpose(0, 2, 3, 1)
    if groups == c > 1:
        return depthwise.weight_grad(x, last, size, stride, padding, dilation, work).astype(dtype, copy=False)
    shape = (groups, kh * kw * (c // groups), o // groups)
    total = np.zeros(shape, work)
    columns = Columns(x, size, stride, padding, dilation, groups, (oh, ow), work)
    # Blocks are multiplied several at once, and added in their order.
    at_once = max(2, min(8, SUMS // total.nbytes)) if total.size else 1
    products = np.empty((at_once, *shape), work)
    for start in range(0, len(columns.blocks), at_once):
        count = min(at_once, len(columns.blocks) - start)

        def body(k: int) -> None:
            images, rows = columns.blocks[start + k]  # noqa: B023  (it runs before start changes)
            part = np.ascontiguousarray(last[slice(*images), slice(*rows)], work)
            columns_k = columns[start + k]  # noqa: B023
            np.matmul(columns_k.swapaxes(1, 2), _by_group(part, groups), out=products[k])

        parallel.run(body, count, columns.steps * (o // groups) * count / len(columns.blocks))
        for product in products[:count]:
            total += product
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


class Columns:
    """The windows of images as matrices, block by block: (n c h w) -> (groups images*rows*ow kh*kw*c/groups).

    A block is several whole images or several rows of one. Its matrix is this thread's until it asks for the next.
    `steps` counts the values in all of them; it is 0 for what cannot run on several threads.
    """

    def __init__(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        out: Pair,
        dtype: np.dtype[Any],
    ) -> None:
        (kh, kw), (oh, ow) = kernel, out
        n, self.c = x.shape[:2]
        self.x, self.kernel, self.stride, self.dilation, self.groups = x, kernel, stride, dilation, groups
        self.corner, self.out, self.dtype = (padding[0][0], padding[1][0]), out, dtype
        self.depth = kh * kw * (self.c // groups)
        per_row = max(1, ow * kh * kw * self.c * dtype.itemsize)
        images = max(1, min(n, BLOCK // max(1, oh * per_row)))
        height = max(1, min(oh, BLOCK // per_row))
        heights = [(r, min(oh, r + height)) for r in range(0, oh, height)]
        self.blocks = [((i, min(n, i + images)), rows) for i in range(0, n, images) for rows in heights]
        self.steps = float(n * oh * ow * self.depth * groups) if dtype.kind == "f" else 0.0
        self.last = x.transpose(0, 2, 3, 1)
        # Few channels make short runs: copy runs of ow instead (1 channel, 28x28, kernel 3: 3 times faster).
        self.by_depth = self.c <= (4 if self._compiles and dtype == np.float32 else 2) * groups

    @property
    def _compiles(self) -> bool:
        return self.groups == 1 and self.x.dtype == self.dtype and self.dtype.char in "fd" and compiled.available()

    def __getitem__(self, k: int) -> Array:
        (n0, n1), (r0, r1) = images, rows = self.blocks[k]
        (kh, kw), (sh, sw), (dh, dw), (oh, ow), (top, left) = (
            self.kernel,
            self.stride,
            self.dilation,
            self.out,
            self.corner,
        )
        pixels = (n1 - n0) * (r1 - r0) * ow
        if self.kernel == self.stride == (1, 1):
            return self._padded(images, rows).reshape(pixels, self.groups, self.depth).transpose(1, 0, 2)
        matrix = parallel.scratch("columns", self.groups * pixels * self.depth, self.dtype)
        if self._compiles:
            steps = (sh * (oh > 1), sw * (ow > 1), dh * (kh > 1), dw * (kw > 1))
            if self.by_depth:
                matrix = matrix.reshape(self.depth, pixels)
                _by_depth(self.last, n0, n1, r0, r1, kh, kw, *steps, top, left, ow, matrix)
                return matrix.T[None]
            matrix = matrix.reshape(pixels, self.depth)
            last = self.last if self.last.flags.c_contiguous else np.ascontiguousarray(self.last[n0:n1])
            start = 0 if last is self.last else n0
            _by_pixel(last, n0 - start, n1 - start, r0, r1, kh, kw, *steps, top, left, ow, matrix)
            return matrix[None]
        seen = windows(self._padded(images, rows), self.kernel, self.stride, self.dilation, (r1 - r0, ow))
        split = seen.reshape(*seen.shape[:5], self.groups, self.c // self.groups)
        if self.by_depth:
            matrix.reshape(self.groups, kh, kw, self.c // self.groups, *seen.shape[:3])[...] = split.transpose(
                5, 3, 4, 6, 0, 1, 2
            )
            return matrix.reshape(self.groups, self.depth, pixels).swapaxes(1, 2)
        matrix.reshape(self.groups, *seen.shape[:5], self.c // self.groups)[...] = split.transpose(5, 0, 1, 2, 3, 4, 6)
        return matrix.reshape(self.groups, pixels, self.depth)

    def _padded(self, images: Pair, rows: Pair) -> Array:
        """The pixels that some rows of windows read, zeros included: (images h' w' c)"""
        return padded_rows(
            self.last, images, rows, self.kernel, self.stride, self.corner, self.dilation, self.out[1], self.dtype
        )


# In the loops below arrays are cut first and then read by the loop's own index: an index that may be negative is tested
# at every value, and the loop is not made of vectors (5 times slower).


@compiled.compiled
def _by_pixel(
    x: Array,
    n0: int,
    n1: int,
    r0: int,
    r1: int,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    dh: int,
    dw: int,
    top: int,
    left: int,
    ow: int,
    matrix: Array,
) -> None:
    """(n h w c) -> (pixels kh*kw*c)"""
    h, w, c = x.shape[1:]
    flat, out, length = x.reshape(x.size), matrix.reshape(matrix.size), kw * c
    z = 0
    for n in range(n0, n1):
        for i in range(r0, r1):
            for j in range(ow):
                column = j * sw - left
                fits = dw == 1 and column >= 0 and column + kw <= w
                for p in range(kh):
                    row = i * sh + p * dh - top
                    cells = out[z : z + length]
                    if row < 0 or row >= h:
                        cells[:] = 0
                    elif fits:
                        s = ((n * h + row) * w + column) * c
                        run = flat[s : s + length]
                        for e in range(length):
                            cells[e] = run[e]
                    else:
                        for q in range(kw):
                            at = column + q * dw
                            if 0 <= at < w:
                                s = ((n * h + row) * w + at) * c
                                cells[q * c : q * c + c] = flat[s : s + c]
                            else:
                                cells[q * c : q * c + c] = 0
                    z += length


@compiled.compiled
def _by_depth(
    x: Array,
    n0: int,
    n1: int,
    r0: int,
    r1: int,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    dh: int,
    dw: int,
    top: int,
    left: int,
    ow: int,
    matrix: Array,
) -> None:
    """(n h w c) -> (kh*kw*c pixels)"""
    h, w, c = x.shape[1:]
    out = matrix.reshape(matrix.size)
    for p in range(kh):
        for q in range(kw):
            # the windows whose cell lies in the image: 0 <= j*sw + q*dw - left < w
            shift = q * dw - left
            first = 0
            while first < ow and first * sw + shift < 0:
                first += 1
            stop = first
            while stop < ow and stop * sw + shift < w:
                stop += 1
            for e in range(c):
                z = ((p * kw + q) * c + e) * matrix.shape[1]
                for n in range(n0, n1):
                    for i in range(r0, r1):
                        row = i * sh + p * dh - top
                        cells = out[z : z + ow]
                        if row < 0 or row >= h:
                            cells[:] = 0
                        else:
                            cells[:first] = 0
                            cells[stop:] = 0
                            inside = cells[first:stop]
                            if sw == 1:
                                run = x[n, row, first + shift : stop + shift, e]
                                for j in range(len(inside)):
                                    inside[j] = run[j]
                            else:
                                run = x[n, row, first * sw + shift :, e]
                                for j in range(len(inside)):
                                    inside[j] = run[j * sw]
                        z += ow
