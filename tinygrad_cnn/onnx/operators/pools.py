"""Pools: of windows along one axis or two, and of whole images of any number of axes."""

from typing import Any

import numpy as np

from ...basics import cast
from ...graph import Tensor, wrap
from ...ops.elementwise import abs, pow, where
from ...ops.pool import avg_pool2d, max_pool2d, sum_pool2d
from ...ops.reduce import amax, mean, sum
from .registry import Node, operator
from .windows import Pair, Windows, as_plane, bordered, from_plane, out_sizes, windows

__all__: list[str] = []


@operator("MaxPool")
def max_pool(node: Node, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """The maximum of each window, and where it is in the whole input, of which pads are no part.

    (n c h w) -> (n c oh ow), or with one axis less. Of equal numbers the first takes the gradient. Indices count in
    row-major order, with storage_order=1 in column-major order inside an image.
    """
    at, out = _windows(node, x)
    if node.outputs == 1 and at.dilation == (1, 1) and _is_usual(at):
        ceil_mode = bool(node.attribute("ceil_mode", 0))
        return from_plane(max_pool2d(as_plane(x), at.kernel, at.stride, at.pads, 1, ceil_mode), at.rank)
    borders = _borders(at, out)
    image = bordered(node, as_plane(x), borders, -np.inf)
    y, (cells, _, _) = max_pool2d.with_residual(image, at.kernel, at.stride, 0, at.dilation)
    if node.outputs == 1:
        return from_plane(y, at.rank)
    (top, _), (left, _) = borders
    rows, columns = np.divmod(cells, image.shape[3])
    (h, w), (rows, columns) = at.size, (rows - top, columns - left)
    inside = columns * h + rows if node.attribute("storage_order", 0) else rows * w + columns
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1) * (h * w)
    return from_plane(y, at.rank), from_plane(wrap((planes + inside).astype(np.int64)), at.rank)


@operator("AveragePool")
def average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean of each window: (n c h w) -> (n c oh ow), or with one axis less.

    With count_include_pad the pads count in the divisor, but never what ceil_mode adds.
    """
    at, out = _windows(node, x)
    ceil_mode, counts_pads = (bool(node.attribute(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    if at.dilation == (1, 1) and _is_usual(at):
        return from_plane(avg_pool2d(as_plane(x), at.kernel, at.stride, at.pads, ceil_mode, counts_pads), at.rank)
    counted = at.pads if counts_pads else ((0, 0), (0, 0))
    sums = _sums(node, x, at, out)
    counts = np.multiply.outer(*(_counts(at, out, axis, counted[axis]) for axis in (0, 1)))
    return from_plane(cast(sums / wrap(counts.astype(sums.dtype)), x.dtype), at.rank)


@operator("LpPool")
def lp_pool(node: Node, x: Tensor) -> Tensor:
    """(sum |x|^p)^(1/p) of each window: (n c h w) -> (n c oh ow), or with one axis less. The slope at 0 is 0."""
    at, out = _windows(node, x)
    p = node.attribute("p", 2)
    return from_plane(_root(_sums(node, _powers(node, x, p), at, out), p), at.rank)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Tensor) -> Tensor:
    """The maximum of each channel of an image: (n c ...) -> (n c 1 ...). Of equal numbers the first counts."""
    return amax(x, _spatial(node, x), True, "first")


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean of each channel of an image: (n c ...) -> (n c 1 ...)"""
    return mean(x, _spatial(node, x), True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, x: Tensor) -> Tensor:
    """(sum |x|^p)^(1/p) of each channel of an image: (n c ...) -> (n c 1 ...). The slope at 0 is 0."""
    p = node.attribute("p", 2)
    return _root(sum(_powers(node, x, p), _spatial(node, x), True), p)


def _spatial(node: Node, x: Tensor) -> tuple[int, ...]:
    if x.ndim < 3:
        raise node.fail(f"the input has shape {x.shape}; (n, c, ...) with at least 3 axes is needed")
    return tuple(range(2, x.ndim))


def _windows(node: Node, x: Tensor) -> tuple[Windows, Pair]:
    """The windows, and how many there are; pads are not negative, and smaller than a window."""
    at = windows(node, x, node.attribute("kernel_shape"))
    for (lo, hi), reach in zip(at.pads, at.reach, strict=True):
        if min(lo, hi) < 0 or max(lo, hi) >= reach:
            raise node.fail(f"pads are {at.pads} for windows that reach over {at.reach}; 0 or more and less is needed")
    out = out_sizes(node, at, bool(node.attribute("ceil_mode", 0)))
    node.allow((*x.shape[:2], *out), x.dtype.itemsize)
    return at, out


def _is_usual(at: Windows) -> bool:
    """Whether pads are at most half a window, as the engine's own pools have it."""
    return all(2 * max(pads) <= reach for pads, reach in zip(at.pads, at.reach, strict=True))


def _borders(at: Windows, out: Pair) -> list[Pair]:
    """Rows and columns before and after the image, up to the end of the last window; negative where none reads."""
    ends = [(m - 1) * s + r for m, s, r in zip(out, at.stride, at.reach, strict=True)]
    return [(lo, end - lo - n) for n, (lo, _), end in zip(at.size, at.pads, ends, strict=True)]


def _sums(node: Node, x: Tensor, at: Windows, out: Pair) -> Tensor:
    """The sum of each window of a plane, in float32 at least."""
    wide = x if x.dtype != np.float16 else cast(x, np.dtype(np.float32))
    image = bordered(node, as_plane(wide), _borders(at, out))
    total: Tensor = sum_pool2d(image, at.kernel, at.stride, 0, at.dilation)
    return total


def _counts(at: Windows, out: Pair, axis: int, counted: Pair) -> Any:
    """How many cells of the image, and of the pads that count, the windows have along an axis; at least 1."""
    first = np.arange(out[axis]) * at.stride[axis] - at.pads[axis][0]
    cells = first[:, None] + np.arange(at.kernel[axis]) * at.dilation[axis]
    lo, hi = counted
    return np.maximum(((cells >= -lo) & (cells < at.size[axis] + hi)).sum(1), 1)


def _powers(node: Node, x: Tensor, p: Any) -> Tensor:
    if p < 1:
        raise node.fail(f"p is {p}; at least 1 is needed")
    return x * x if p == 2 else abs(x) if p == 1 else pow(abs(x), float(p))


def _root(sums: Tensor, p: Any) -> Tensor:
    """sums^(1/p), with slope 0 where a sum is 0."""
    if p == 1:
        return sums
    empty = sums.array == 0
    root: Tensor = where(empty, 0.0, pow(where(empty, 1.0, sums), 1.0 / p))
    return root
