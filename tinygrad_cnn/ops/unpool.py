"""The way back from max pooling: every value to the cell that its window had it from, zeros elsewhere."""

from typing import Any

import numpy as np

from ..geometry import checked_pair
from ..graph import Tensor
from ..shapes import ShapeError, is_int, shown, wrong_kind
from .elementwise import array_of
from .layout import reshape
from .scatter import scattered


def max_unpool2d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Zeros with every x[n,c,i,j] at the cell indices[n,c,i,j] of its plane: (n c h w) -> (n c oh ow)

    oh = (h - 1)*stride - 2*padding + kernel_size, or as output_size says, less than a stride away from it: several
    sizes give one when they are pooled. indices: those of max_pool2d with return_indices=True.

    Where overlapping windows name a cell twice, the last value stays and takes the gradient.
    Raises IndexError for a cell outside the plane, ShapeError for sizes that do not fit.
    """
    name, cells = "max_unpool2d", np.asarray(array_of(indices))
    if cells.dtype.kind not in "iu":
        raise TypeError(f"{name}: the indices are {cells.dtype}; integers are needed, as from return_indices=True")
    if x.ndim != 4 or cells.shape != tuple(x.shape):
        raise ShapeError(
            f"{name}: the input has shape {tuple(x.shape)}, the indices {cells.shape}; both need one (n, c, h, w)"
        )
    kernel = checked_pair(name, "kernel_size", kernel_size, 1)
    step = kernel if stride is None else checked_pair(name, "stride", stride, 1)
    border = checked_pair(name, "padding", padding, 0)
    plain = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[2:], step, border, kernel, strict=True)]
    size = _size(name, plain, step, output_size, x.shape)
    plane = size[0] * size[1]
    if cells.size and not 0 <= cells.min() <= cells.max() < plane:
        wrong = cells.min() if cells.min() < 0 else cells.max()
        raise IndexError(f"{name}: index {wrong} is outside a plane of {size[0]}*{size[1]} cells; give output_size")
    flat = (*x.shape[:2], x.shape[2] * x.shape[3])
    zeros = np.zeros((*flat[:2], plane), x.dtype)
    image: Tensor = reshape(scattered(zeros, reshape(x, flat), 2, cells.reshape(flat)), (*flat[:2], *size))
    return image


def _size(name: str, plain: list[int], step: tuple[int, int], output_size: Any, x_shape: Any) -> tuple[int, int]:
    """Height and width of the output, from its whole shape or from those two. Raises ShapeError if too far off."""
    if output_size is None:
        wanted = plain
    else:
        if not isinstance(output_size, (tuple, list)) or not all(map(is_int, output_size)):
            raise wrong_kind(name, "output_size", output_size, "a pair of ints, or a whole shape")
        if len(output_size) not in (2, len(x_shape)):
            raise ShapeError(f"{name}: output_size is {shown(output_size)}, needs (oh, ow) or (n, c, oh, ow)")
        wanted = [int(n) for n in output_size[-2:]]
    for n, m, s in zip(wanted, plain, step, strict=True):
        if not m - s < n < m + s or n < 1:
            raise ShapeError(
                f"{name}: output {shown(wanted)} for an input of shape {shown(x_shape)} and stride {shown(step)}; "
                f"it needs to be at least 1 and less than a stride away from {shown(plain)}"
            )
    return wanted[0], wanted[1]
