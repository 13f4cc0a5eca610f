"""Where a sliding window touches an image: the slices and the views shared by convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def spans(kernel: int, stride: int, before: int, dilation: int, size: int, out: int) -> list[tuple[slice, slice]]:
    """`span` of every kernel cell along one axis; `before` is the padding at the start."""
    return [span(p * dilation - before, stride, size, out) for p in range(kernel)]


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Array:
    """A read-only view of all windows of a padded, contiguous image: (n h w c) -> (n oh ow kh kw c).

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


def channels_last(x: Array) -> bool:
    """Whether the memory order of (n c h w) is that of (n h w c), contiguous."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous
