"""Where a sliding window touches an image: the slices and the views shared by convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import parallel

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def span(offset: int, stride: int, size: int, out: int) -> tuple[slice, slice]:
    """The windows i in range(out) whose cell i*stride + offset lies in range(size), and those cells: two equal slices.

    The offset of kernel cell p is p*dilation - padding.
    """
    first = max(0, -(offset // stride))
    stop = max(first, min(out, (size - 1 - offset) // stride + 1))
    start = first * stride + offset
    return slice(first, stop), slice(start, start + (stop - first - 1) * stride + 1 if stop > first else start, stride)


def cells(window: int, kernel: int, stride: int, before: int, dilation: int, size: int) -> range:
    """The kernel cells p of one window that lie in the image: 0 <= window*stride + p*dilation - before < size."""
    start = before - window * stride
    first = max(0, -(-start // dilation))
    return range(first, max(first, min(kernel, (size - 1 + start) // dilation + 1)))


def spans(
    kernel: int, stride: int, before: int, dilation: int, size: int, out: int
) -> list[tuple[int, tuple[slice, slice]]]:
    """(p, its `span`) of every kernel cell p along one axis that some window has inside the image.

    `before` is the padding at the start. Takes time for min(kernel, out) and the cells found, however large the others.
    """
    if kernel <= out:
        found = list(range(kernel))
    else:  # later windows see earlier cells
        found, seen = [], 0
        for window in reversed(range(out)):
            inside = cells(window, kernel, stride, before, dilation, size)
            found.extend(range(max(seen, inside.start), inside.stop))
            seen = max(seen, inside.stop)
    each = ((p, span(p * dilation - before, stride, size, out)) for p in found)
    return [(p, (i_out, i_in)) for p, (i_out, i_in) in each if i_out.stop > i_out.start]


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Array:
    """A read-only view of all windows of a padded image: (n h w c) -> (n oh ow kh kw c).

    The strides are those of `x` itself, which must be the padded array. Raises ValueError if a window would leave `x`.
    """
    n, h, w, c = x.shape
    (oh, ow), (kh, kw), (sh, sw), (dh, dw) = out, kernel, stride, dilation
    if (oh - 1) * sh + (kh - 1) * dh >= h or (ow - 1) * sw + (kw - 1) * dw >= w:
        raise ValueError(
            f"windows: {out} windows of {kernel} with stride {stride}, dilation {dilation} leave {x.shape}"
        )
    along_n, along_h, along_w, along_c = x.strides
    # A step that is never taken may be too large for an index.
    rows, columns = (along_h * sh if oh > 1 else 0), (along_w * sw if ow > 1 else 0)
    down, right = (along_h * dh if kh > 1 else 0), (along_w * dw if kw > 1 else 0)
    strides = (along_n, rows, columns, down, right, along_c)
    view = np.lib.stride_tricks.as_strided(x, (n, oh, ow, kh, kw, c), strides, writeable=False)
    return view


def padded_rows(
    last: Array,
    images: Pair,
    rows: Pair,
    kernel: Pair,
    stride: Pair,
    corner: Pair,
    dilation: Pair,
    ow: int,
    dtype: np.dtype[Any],
) -> Array:
    """The pixels that some rows of windows of some images read, zeros included: (n h w c) -> (images h' w' c).

    A view of the images where they have all of these pixels: with gaps, where they have others too.
    """
    (r0, r1), (top, left), c = rows, corner, last.shape[3]
    start = r0 * stride[0] - top
    # A step that is never taken may be huge.
    height = (r1 - r0 - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1
    width = (ow - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1
    part = last[slice(*images), max(0, start) : max(0, start + height), : max(0, width - left)]
    if part.shape[1:3] == (height, width) and part.dtype == dtype and last.flags.c_contiguous:
        return part
    block = parallel.scratch("padded", len(part) * height * width * c, dtype).reshape(len(part), height, width, c)
    block[...] = 0
    above = max(0, -start)
    block[:, above : above + part.shape[1], left : left + part.shape[2]] = part
    return block


def channels_last(x: Array) -> bool:
    """Whether the memory order of (n c h w) is that of (n h w c), contiguous."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous
