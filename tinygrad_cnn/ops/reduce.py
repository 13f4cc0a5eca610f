"""Reductions. `axis` may be None (all axes), an int, or a tuple; () reduces nothing. dim/keepdim are accepted too."""

from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..basics import broadcast_to
from ..flops import one_per_input
from ..graph import Tensor, method
from ..kernels.reduce import sum_pairwise, widened
from ..primitive import op
from ..shapes import normalize_axes
from .elementwise import array_of, check_ties, exp, maximum, minimum
from .index import take_along_axis
from .layout import reshape

__all__ = ["amax", "amin", "argmax", "argmin", "logsumexp", "max", "mean", "min", "sum", "var"]


def restored(g: Any, x_shape: tuple[int, ...], axis: Any) -> Any:
    """g with the reduced axes put back at length one."""
    axes = normalize_axes(axis, len(x_shape), "reduction")
    return reshape(g, tuple(1 if i in axes else n for i, n in enumerate(x_shape)))


# Below it, squares that have lost digits or vanished may count in a sum of squares.
_LEAST_SQUARES = {np.dtype(kind).char: np.finfo(kind).tiny / np.finfo(kind).eps for kind in (np.float32, np.float64)}


def _spread(g: Any, x_shape: tuple[int, ...], axis: Any) -> Any:
    """g copied to every element that was reduced into it."""
    return broadcast_to(restored(g, x_shape, axis), x_shape)


def count(x_shape: tuple[int, ...], axis: Any) -> int:
    """How many elements are reduced into one."""
    n = 1
    for i in normalize_axes(axis, len(x_shape), "reduction"):
        n *= x_shape[i]
    return n


@op(method=True, numpy=np.sum)
def sum(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum over `axis`; 0 for none. Booleans and small integers are counted in int64."""
    axes = normalize_axes(axis, x.ndim, "sum")
    if x.dtype.kind in "bu":
        return np.sum(x, axis=axes, dtype=np.int64, keepdims=keepdims)
    return sum_pairwise(x, axes, keepdims)


sum.vjp(x=_spread)
sum.formula(x="∂out")
sum.flops(one_per_input)


def _axis_sample(draw: Any) -> Any:
    axis = draw.choice([None, 0, 1, -1, (0, 2), (-1, 0), (1,), ()])
    return (draw.array(*draw.choice([(2, 3, 4), (3, 1, 2)])),), {"axis": axis, "keepdims": draw.choice([False, True])}


sum.sample(_axis_sample)


@op(method=True, numpy=np.mean)
def mean(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """The arithmetic mean over `axis`; nan over nothing. Raises TypeError for integers."""
    if x.dtype.kind in "biu":
        raise TypeError(f"mean: the input is {x.dtype}, its mean need not be; convert it first, as with .float()")
    axes = normalize_axes(axis, x.ndim, "mean")
    return (sum_pairwise(widened(x), axes, keepdims) / np.asarray(count(x.shape, axis), widened(x).dtype)).astype(
        x.dtype
    )


mean.vjp(x=lambda g, x_shape, axis: _spread(g / float(count(x_shape, axis) or 1), x_shape, axis))
mean.formula(x="∂out / n")
mean.flops(lambda x_shape, out_shape: prod(x_shape) + prod(out_shape))
mean.sample(_axis_sample)


@op(method=True)
def var(x: Any, /, axis: Any = None, correction: float = 1, keepdims: bool = False) -> Any:
    """The variance over `axis`: sum (x - mean)^2 / (n - correction), in two passes; nan where n <= correction.

    Squares that leave the range of the dtype are taken of (x - mean) / 2^k, so that the result is right where the dtype
    has it.

    correction: 1 for the unbiased estimate (PyTorch's default), 0 for NumPy's.
    """
    if x.dtype.kind in "biu":
        raise TypeError(f"var: the input is {x.dtype}; convert it first, as with .float()")
    variance, scale = scaled_variance(widened(x), normalize_axes(axis, x.ndim, "var"), correction, keepdims)
    return (variance if scale is None else variance * scale * scale).astype(x.dtype)


def scaled_variance(x: Any, axes: tuple[int, ...], correction: float, keepdims: bool) -> tuple[Any, Any]:
    """(variance / scale^2, scale) over the axes: scale is None unless squares of a float dtype leave its range.

    Then it is an array of powers of two, of those near the largest |x - mean|, and 1 where all is in range.
    """
    n = prod(x.shape[i] for i in axes)
    free = x.dtype.type(np.maximum(n - correction, 0))
    centred = x - sum_pairwise(x, axes, True) / x.dtype.type(n)
    squares = sum_pairwise(centred * centred, axes, keepdims)
    if x.dtype.char not in _LEAST_SQUARES or not squares.size:
        return squares / free, None
    least, inf = _LEAST_SQUARES[x.dtype.char], np.inf
    if least <= squares.min() and squares.max() < inf:
        return squares / free, None
    largest = np.max(np.abs(centred), axes, keepdims=True, initial=0)
    leaves = ((squares < least) | (squares == inf)).reshape(largest.shape) & (largest > 0) & (largest < inf)
    if not leaves.any():
        return squares / free, None
    scale = np.ldexp(np.ones_like(largest), np.where(leaves, np.frexp(largest)[1] - 1, 0))
    scaled = centred / scale
    squares = sum_pairwise(scaled * scaled, axes, keepdims)
    return squares / free, scale.reshape(squares.shape)


def _var_gradient(g: Any, x: Any, x_shape: tuple[int, ...], axis: Any, correction: float) -> Any:
    """2 (x - mean) / (n - correction) for every element."""
    free = np.maximum(count(x_shape, axis) - correction, 0)
    scale = 2.0 / float(free) if free else np.inf
    return restored(g, x_shape, axis) * ((x - mean(x, axis, True)) * scale)


var.vjp(x=_var_gradient)
var.formula(x="∂out · 2 · (x − mean x) / (n − correction)")
var.flops(lambda x_shape, out_shape: 4 * prod(x_shape) + 2 * prod(out_shape))


@var.sample
def _(draw: Any) -> Any:
    _, params = _axis_sample(draw)
    axis = draw.choice([None, 0, -1, (0, 2)])
    return (draw.array(3, 2, 4),), {**params, "axis": axis, "correction": draw.choice([0, 1])}


@op(method=True, numpy=np.amax)
def amax(x: Any, /, axis: Any = None, keepdims: bool = False, ties: str = "split") -> Any:
    """The largest value over `axis`; ties share the gradient evenly. Raises ValueError over no elements.

    ties: 'split', or 'first' or 'last' for all of it to one, in row-major order.
    """
    check_ties("amax", ties)
    return np.max(x, axis=normalize_axes(axis, x.ndim, "amax"), keepdims=keepdims)


@op(method=True, numpy=np.amin)
def amin(x: Any, /, axis: Any = None, keepdims: bool = False, ties: str = "split") -> Any:
    """The smallest value over `axis`; ties share the gradient evenly. Raises ValueError over no elements.

    ties: as for amax.
    """
    check_ties("amin", ties)
    return np.min(x, axis=normalize_axes(axis, x.ndim, "amin"), keepdims=keepdims)


def _extremum_gradient(g: Any, x: Any, x_shape: tuple[int, ...], out: Any, axis: Any, ties: str) -> Any:
    values, best = array_of(x), restored(array_of(out), x_shape, axis)
    winners = (values == best) | (values != values)  # a nan among them is the extremum
    if ties != "split":
        winners = _one_of(winners, normalize_axes(axis, values.ndim, "amax"), ties)
    share = winners / winners.sum(axis=normalize_axes(axis, values.ndim, "amax"), keepdims=True)
    return restored(g, x_shape, axis) * share.astype(values.dtype)


def _one_of(winners: Any, axes: tuple[int, ...], ties: str) -> Any:
    """Of the winners that are reduced together the first or the last in row-major order."""
    k = winners.ndim - len(axes)
    order = (*(i for i in range(winners.ndim) if i not in axes), *axes)
    moved = winners.transpose(order)
    rows = moved.reshape((*moved.shape[:k], -1))
    place = rows.argmax(-1) if ties == "first" else rows.shape[-1] - 1 - rows[..., ::-1].argmax(-1)
    chosen = np.arange(rows.shape[-1]) == np.expand_dims(place, -1)
    return chosen.reshape(moved.shape).transpose(np.argsort(order))


amax.vjp(x=_extremum_gradient)
amax.formula(x="∂out · 1[x = out] / Σ 1[x = out]")
amax.flops(one_per_input)
amin.vjp(x=_extremum_gradient)
amin.formula(x="∂out · 1[x = out] / Σ 1[x = out]")
amin.flops(one_per_input)
amax.sample(_axis_sample)
amin.sample(_axis_sample)


class ValuesIndices(NamedTuple):
    """What max, min along one axis give: the values, and where they stood."""

    values: Any
    indices: Any


@op(method=True, numpy=np.argmax)
def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the largest value along `axis` (of the flattened Tensor without one), the first at ties: int64."""
    if axis is not None:
        normalize_axes(axis, x.ndim, "argmax")
    return np.argmax(x, axis=axis, keepdims=keepdims)


@op(method=True, numpy=np.argmin)
def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the smallest value along `axis` (of the flattened Tensor without one), the first at ties: int64."""
    if axis is not None:
        normalize_axes(axis, x.ndim, "argmin")
    return np.argmin(x, axis=axis, keepdims=keepdims)


argmax.vjp(x=None)
argmin.vjp(x=None)
argmax.flops(one_per_input)
argmin.flops(one_per_input)


def _one_axis_sample(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"axis": draw.choice([None, 0, 1, -1]), "keepdims": draw.choice([False, True])}


argmax.sample(_one_axis_sample)
argmin.sample(_one_axis_sample)


def _extremum(name: str, x: Any, dim: Any, axis: Any, keepdims: bool, values: Any, arg: Any, pairwise: Any) -> Any:
    """PyTorch's max and min: amax/amin of all or over `axis`, (values, indices) along `dim`, or of two Tensors."""
    if dim is not None and axis is not None:
        raise TypeError(f"{name}: dim and axis were both given; dim gives values and indices, axis values alone")
    if isinstance(dim, Tensor):
        return pairwise(x, dim)
    if dim is None:
        return values(x, axis, keepdims)
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{name}: dim is {dim}, but indices are along one axis; use a{name}, or {name}(axis={dim})")
    (dim,) = normalize_axes(dim, x.ndim, name)
    indices = arg(x, dim, True)
    best = take_along_axis(x, array_of(indices), dim)
    if not keepdims:
        shape = best.shape[:dim] + best.shape[dim + 1 :]
        best, indices = reshape(best, shape), reshape(indices, shape)
    return ValuesIndices(best, indices)


@method
def max(x: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
    """PyTorch's max: without `dim` the largest value; with it (values, indices), the first index at ties.

    `axis=` gives values alone, ties sharing the gradient; a Tensor for `dim` gives the elementwise maximum.
    """
    return _extremum("max", x, dim, axis, keepdim or keepdims, amax, argmax, maximum)


@method
def min(x: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
    """PyTorch's min: without `dim` the smallest value; with it (values, indices), the first index at ties.

    `axis=` gives values alone, ties sharing the gradient; a Tensor for `dim` gives the elementwise minimum.
    """
    return _extremum("min", x, dim, axis, keepdim or keepdims, amin, argmin, minimum)


@op(method=True, floating=True)
def logsumexp(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, shifted by the maximum so that nothing overflows; -inf over nothing."""
    axes = normalize_axes(axis, x.ndim, "logsumexp")
    wide = widened(x)
    top = np.max(wide, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, wide.dtype.type(0))
    total = np.log(sum_pairwise(np.exp(wide - top), axes, True)) + top
    return (total if keepdims else total.squeeze(axes)).astype(x.dtype, copy=False)


logsumexp.vjp(
    x=lambda g, x, x_shape, out, axis: restored(g, x_shape, axis) * exp(x - restored(out, x_shape, axis)),
)
logsumexp.formula(x="∂out · exp(x − out)")
logsumexp.flops(lambda x_shape, out_shape: 4 * prod(x_shape) + 2 * prod(out_shape))
logsumexp.sample(_axis_sample)
