"""Pooling to a size of the output: n cells in m windows, number i from floor(i n/m) to before ceil((i+1) n/m).

Cell j lies in window i just where i lies in window j of m cells in n windows. So the sums over windows are their own
adjoint, with the sizes exchanged.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..geometry import NO_PADDING, check_not_huge, checked_pair
from ..kernels import pool as kernels
from ..kernels.reduce import widened
from ..kernels.windows import channels_last
from ..primitive import op
from ..shapes import ShapeError, is_int, shown, wrong_kind
from .pool import scatter_planes

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d"]

Pair = tuple[int, int]


@lru_cache(maxsize=256)
def windows(n: int, m: int) -> tuple[Any, Any]:
    """(the first of n cells in each of m windows, the lengths of the windows)."""
    i = np.arange(m)
    first = i * n // m
    return first, -(-(i + 1) * n // m) - first


def _sizes(name: str, x_shape: tuple[int, ...], output_size: Any) -> Pair:
    """Height and width of the output; None keeps the image's. Raises ShapeError if there is no cell to pool."""
    if len(x_shape) != 4 or min(x_shape[1:]) == 0:
        raise ShapeError(f"{name}: x has shape {shown(x_shape)}, needs (n, c, h, w) with c, h, w at least 1")
    if is_int(output_size):
        return _possible(name, x_shape, checked_pair(name, "output_size", output_size, 1))
    wanted = "an int or a pair of ints or None (height, width)"
    if not isinstance(output_size, (tuple, list)) or not all(n is None or is_int(n) for n in output_size):
        raise wrong_kind(name, "output_size", output_size, wanted)
    if len(output_size) != 2:
        raise ShapeError(f"{name}: output_size is {tuple(output_size)} with {len(output_size)} numbers, needs {wanted}")
    sizes = tuple(n if m is None else m for n, m in zip(x_shape[2:], output_size, strict=True))
    return _possible(name, x_shape, checked_pair(name, "output_size", sizes, 1))


def _possible(name: str, x_shape: tuple[int, ...], sizes: Pair) -> Pair:
    check_not_huge(name, "the output", (*x_shape[:2], *sizes), "use a smaller output_size")
    return sizes


def _kernel(size: Pair, out: Pair) -> Pair | None:
    """The shape of all windows, where they are equal and do not overlap."""
    if size[0] % out[0] or size[1] % out[1]:
        return None
    return size[0] // out[0], size[1] // out[1]


def _sums(x: Any, out: Pair) -> Any:
    """The sums over all windows: along the columns, then along the rows."""
    kernel = _kernel(x.shape[2:], out)
    if kernel is not None:
        return kernels.sum_pool2d(x, kernel, kernel, NO_PADDING, (1, 1), out)
    if channels_last(x):
        return _sums_along(_sums_along(x.transpose(0, 2, 3, 1), out[0], 1), out[1], 2).transpose(0, 3, 1, 2)
    return _sums_along(_sums_along(x, out[0], 2), out[1], 3)


def _sums_along(x: Any, m: int, axis: int) -> Any:
    first, lengths = windows(x.shape[axis], m)
    y = np.take(x, first, axis)
    for k in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > k)
        y[(slice(None),) * axis + (longer,)] += np.take(x, first[longer] + k, axis)
    return y


def _counts(size: Pair, out: Pair) -> Any:
    """How many cells each window has: (oh ow)."""
    return np.multiply.outer(*(windows(n, m)[1] for n, m in zip(size, out, strict=True)))


def _cells(x_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> int:
    """How many cells all windows have together."""
    total: int = _counts((x_shape[2], x_shape[3]), (out_shape[2], out_shape[3])).sum()
    return prod(x_shape[:2]) * total


@op
def adaptive_avg_pool2d(x: Any, /, output_size: Any) -> Any:
    """The mean of each of oh by ow windows, which cover the image: rows floor(i h/oh) to before ceil((i+1) h/oh).

    (n c h w) -> (n c oh ow)

    output_size: an int or (oh, ow); None keeps the image's.

    Windows overlap where oh does not divide h. Raises TypeError for integers.
    """
    if x.dtype.kind not in "fO":
        raise TypeError(f"adaptive_avg_pool2d: the input is {x.dtype}; convert it first, as with .float()")
    out = _sizes("adaptive_avg_pool2d", x.shape, output_size)
    y = _sums(widened(x), out)
    return (y / _counts(x.shape[2:], out).astype(y.dtype)).astype(x.dtype, copy=False)


@op
def adaptive_sum_pool2d(x: Any, /, output_size: Any) -> Any:
    """The sum of each window of adaptive_avg_pool2d; its own adjoint, from the size of the output to the image's."""
    out = _sizes("adaptive_sum_pool2d", x.shape, output_size)
    return _sums(widened(x), out).astype(x.dtype, copy=False)


def _adaptive_avg_gradient(g: Any, x_shape: Any) -> Any:
    """g / the number of cells, added to all cells of its window."""
    counts = _counts(x_shape[2:], g.shape[2:]).astype(g.dtype)
    return adaptive_sum_pool2d(g / counts, x_shape[2:])


adaptive_avg_pool2d.vjp(x=_adaptive_avg_gradient)
adaptive_avg_pool2d.formula(x="spread(∂out / bins ∂out)")
adaptive_avg_pool2d.flops(_cells)
adaptive_sum_pool2d.vjp(x=lambda g, x_shape: adaptive_sum_pool2d(g, x_shape[2:]))
adaptive_sum_pool2d.formula(x="spread(∂out)")
adaptive_sum_pool2d.flops(lambda x_shape, out_shape: _cells(x_shape, out_shape) - prod(out_shape))


@op(residual="winners")
def adaptive_max_pool2d(x: Any, /, output_size: Any) -> Any:
    """The maximum of each of oh by ow windows, which cover the image: rows floor(i h/oh) to before ceil((i+1) h/oh).

    (n c h w) -> (n c oh ow)

    output_size: an int or (oh, ow); None keeps the image's.

    Of equal cells the first in row-major order takes the gradient; nan wins. Raises TypeError for booleans.
    Residual: which cell of its h*w plane each window holds.
    """
    if x.dtype.kind == "b":
        raise TypeError("adaptive_max_pool2d: the image is bool; convert it first, as with .float()")
    out = _sizes("adaptive_max_pool2d", x.shape, output_size)
    kernel = _kernel(x.shape[2:], out)
    if kernel is not None:
        return kernels.max_pool2d(x, kernel, kernel, NO_PADDING, (1, 1), out, "first")[:2]
    # Every window as a row of as many cells as the largest has: a smaller one names its last ones again.
    rows, columns = (
        first[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
        for first, lengths in map(windows, x.shape[2:], out)
    )
    places = (rows[:, None, :, None] * x.shape[3] + columns[:, None, :]).reshape(prod(out), -1)
    inside = np.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]))[:, :, places]
    winners = places[np.arange(prod(out)), inside.argmax(-1)].reshape(*x.shape[:2], *out)
    return kernels.gather(x, winners), winners


adaptive_max_pool2d.vjp(x=lambda g, winners, x_shape: scatter_planes(g, winners, x_shape[2:]))
adaptive_max_pool2d.formula(x="scatter(∂out, highest x)")
adaptive_max_pool2d.flops(lambda x_shape, out_shape: _cells(x_shape, out_shape) - prod(out_shape))


def _sample(draw: Any) -> Any:
    size = draw.choice([(3, 5), (4, 2), (1, 3), (6, 4)])
    out = draw.choice([(2, 3), (3, 2), (4, 1), (2, 5), (3, None), 2])
    return (draw.array(draw.size(1, 2), draw.size(1, 3), *size),), {"output_size": out}


adaptive_avg_pool2d.sample(_sample)
adaptive_sum_pool2d.sample(_sample)
adaptive_max_pool2d.sample(_sample)
