"""Values of mean 0 and variance 1 along axes: what layer, group, instance and RMS normalization are made of."""

from math import prod
from typing import Any

import numpy as np

from ..basics import sum_to
from ..kernels import standardize as kernels
from ..primitive import op
from ..shapes import normalize_axes
from .reduce import mean, var

__all__: list[str] = []


@op(floating=True, residual="statistics")
def standardize(
    x: Any,
    w: Any = None,
    b: Any = None,
    /,
    axis: Any = -1,
    eps: float = 1e-5,
    centred: bool = True,
    known: Any = None,
) -> Any:
    """w (x - mean) / sqrt(var + eps) + b, with the mean and the biased variance along `axis`, an int or several.

    w and b broadcast to x. Not centred, mean is 0 and var the mean square. Half precision is computed in float32.
    Where all values are the same the result is b, and nan for eps = 0.

    The residual is (mean, var) with length 1 along `axis`, the mean in float64. known: the same of this x, which only
    saves computing it again.
    Source: Ba, Kiros & Hinton, Layer normalization (2016), eq. 3; Zhang & Sennrich, Root mean square layer
    normalization (2019), eq. 4.
    """
    axes = normalize_axes(axis, x.ndim, "standardize")
    return kernels.standardized(x, axes, eps, centred, w, b, known)


@op
def standardize_input_grad(
    g: Any, x: Any, /, axis: Any = -1, eps: float = 1e-5, centred: bool = True, known: Any = None
) -> Any:
    """(g - mean(g) - y mean(g y)) / sqrt(var + eps) with y = standardize(x); not centred, without mean(g)."""
    axes = normalize_axes(axis, x.ndim, "standardize_input_grad")
    return kernels.input_gradient(g, x, axes, eps, centred, known)


def _gradients(
    g: Any,
    x: Any,
    w: Any,
    w_shape: Any,
    b_shape: Any,
    statistics: Any,
    axis: Any,
    eps: float,
    centred: bool,
    needs: tuple[bool, ...],
) -> Any:
    """All three, from the statistics of the forward."""
    dx = dw = db = None
    along = {"axis": axis, "eps": eps, "centred": centred, "known": statistics}
    if needs[0]:
        dx = standardize_input_grad(g if w is None else g * w, x, **along)
    if needs[1]:
        dw = sum_to(g * standardize(x, **along), w_shape)
    if needs[2]:
        db = sum_to(g, b_shape)
    return dx, dw, db


standardize.vjp_all(_gradients)
standardize.formula(
    x="(∂out·w − 1[centred]·mean(∂out·w) − x̂·mean(∂out·w·x̂)) / σ",
    w="∂out · x̂",
    b="∂out",
)


def _rows(shape: tuple[int, ...], axis: Any) -> int:
    """How many means there are."""
    axes = normalize_axes(axis, len(shape), "standardize")
    return prod(n for i, n in enumerate(shape) if i not in axes)


def _statistics_flops(shape: tuple[int, ...], rows: int, centred: bool, known: Any) -> int:
    """The deviations, and the statistics unless they are there."""
    n = prod(shape)
    return centred * n + (0 if known is not None else 2 * n + rows + centred * (n + rows))


def _standardize_flops(
    x_shape: tuple[int, ...], w_shape: Any, b_shape: Any, axis: Any, centred: bool, known: Any
) -> int:
    n, rows = prod(x_shape), _rows(x_shape, axis)
    each = 1 + (w_shape is not None) + (b_shape is not None)
    return _statistics_flops(x_shape, rows, centred, known) + 3 * rows + each * n


standardize.flops(_standardize_flops)


def _second_gradient(v: Any, g: Any, x: Any, out: Any, axis: Any, eps: float, centred: bool, known: Any) -> Any:
    """-(r / n) (y <v, out> + <g, y> G(v) + <v, y> G(g)), where G is standardize_input_grad and out is G(g)."""
    along = {"axis": axis, "eps": eps, "centred": centred, "known": known}
    y = standardize(x, **along)
    square = var(x, axis, 0, True) if centred else mean(x * x, axis, True)
    other = standardize_input_grad(v, x, **along)
    terms = y * mean(v * out, axis, True) + mean(g * y, axis, True) * other + mean(v * y, axis, True) * out
    return terms * -((square + eps) ** -0.5)


standardize_input_grad.vjp(
    g=lambda v, x, axis, eps, centred, known: standardize_input_grad(
        v, x, axis=axis, eps=eps, centred=centred, known=known
    ),
    x=_second_gradient,
)
standardize_input_grad.formula(
    g="(∂out − 1[centred]·mean ∂out − x̂·mean(∂out·x̂)) / σ",
    x="−(x̂·mean(∂out·out) + mean(g·x̂)·∂g + mean(∂out·x̂)·out) / σ",
)


def _input_grad_flops(x_shape: tuple[int, ...], axis: Any, centred: bool, known: Any) -> int:
    n, rows = prod(x_shape), _rows(x_shape, axis)
    return _statistics_flops(x_shape, rows, centred, known) + (6 + 2 * centred) * n + (4 + centred) * rows


standardize_input_grad.flops(_input_grad_flops)


def _sample(draw: Any) -> Any:
    """An array with a variance of at least 0.1 along the axes of the parameters."""
    shape, axis = draw.choice(
        [((3, 2), -1), ((2, 4, 3), (1, 2)), ((2, 3, 4), 1), ((4, 3), 0), ((2, 2, 3, 2), (2, -1)), ((5,), None)]
    )
    x = draw.array(*shape)
    axes = normalize_axes(axis, x.ndim, "sample")
    x = x / np.sqrt(np.maximum(x.var(axes, keepdims=True), 0.01))
    return x, {"axis": axis, "eps": draw.choice([1e-5, 0.3]), "centred": draw.choice([True, True, False])}


@standardize.sample
def _(draw: Any) -> Any:
    x, params = _sample(draw)
    at = draw.size(0, x.ndim - 1)
    w, b = draw.array(*x.shape[at:]), draw.array(*x.shape[:1], *[1] * (x.ndim - 1))
    return draw.choice([(x, w, b), (x, w), (x, None, w), (x, b), (x,)]), params


@standardize_input_grad.sample
def _(draw: Any) -> Any:
    x, params = _sample(draw)
    return (draw.array(*x.shape), x), params
