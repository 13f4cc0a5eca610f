"""Activations beside relu, sigmoid and tanh. Each keeps nan and has its limits at both infinities, in its gradient too.

Half precision is computed in float32. Where a rule multiplies by x what vanishes far from 0, x is bounded first: the
product is 0 there already, and 0 * inf would be nan.
"""

from math import pi, prod, sqrt
from typing import Any

import numpy as np

from ..graph import Tensor
from ..kernels import activations as kernels
from ..kernels.reduce import widened
from ..primitive import op
from ..shapes import ShapeError, normalize_axes
from .elementwise import abs, array_of, clip, exp, logistic, mask, select, sigmoid, tanh
from .index import getitem
from .layout import concatenate, reshape

__all__ = [
    "celu",
    "elu",
    "gaussian",
    "gelu",
    "glu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "softsign",
]


def _bounded(x: Any, most: float) -> Any:
    """x limited to |x| <= most."""
    return clip(x, -most, most)


def _between(x: Any, low: float, high: float) -> Any:
    """Where x is neither low nor high nor beyond; nan is between."""
    x = array_of(x)
    return ~((x <= low) | (x >= high))


def _either(x: Any, y: Any, first: Any) -> Any:
    """x where `first` is true, else y: in two sweeps, where np.where takes 5 times as long for signs at random."""
    return mask(x, first) + mask(y, ~first)


# Lines through 0 with a kink


@op
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope * x. The gradient at 0 is that of the negative side.

    Source: Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models (2013), eq. 2.
    """
    return (np.maximum(x, 0) + np.minimum(x, 0) * negative_slope).astype(x.dtype, copy=False)


leaky_relu.vjp(x=lambda g, x, negative_slope: _either(g, g * negative_slope, array_of(x) > 0))
leaky_relu.formula(x="∂out · (1[x > 0] + negative_slope · 1[x ≤ 0])")
leaky_relu.flops(lambda out_shape: 2 * prod(out_shape))


@leaky_relu.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.shape()),), {"negative_slope": draw.choice([0.01, 0.3, -0.5])}


@op(broadcast=True)
def parametric_relu(x: Any, slope: Any, /) -> Any:
    """x where x > 0, else slope * x; see prelu."""
    return np.maximum(x, 0) + np.minimum(x, 0) * slope


parametric_relu.vjp(
    x=lambda g, x, slope: _either(g, g * slope, array_of(x) > 0),
    slope=lambda g, x: mask(g * x, ~(array_of(x) >= 0)),
)
parametric_relu.formula(x="∂out · (1[x > 0] + slope · 1[x ≤ 0])", slope="∂out · x · 1[x < 0]")
parametric_relu.flops(lambda out_shape: 2 * prod(out_shape))


def prelu(input: Any, weight: Any) -> Tensor:
    """x where x > 0, else w * x, with one w for all or one for each channel: (n c ...), (1) or (c) -> (n c ...)

    Source: He et al., Delving deep into rectifiers (2015), eq. 1.
    """
    shape, of = tuple(np.shape(array_of(input))), tuple(np.shape(array_of(weight)))
    channels = shape[1] if len(shape) > 1 else 1
    if len(of) > 1 or prod(of) not in (1, channels):
        raise ShapeError(
            f"prelu: weight has shape {of} for an input of {shape}; (1,) is needed, or ({channels},), one number for "
            "each channel of axis 1"
        )
    return parametric_relu(
        input, reshape(weight, (-1,) + (1,) * (len(shape) - 2) if len(shape) > 1 else (1,) * len(shape))
    )


@op
def hardtanh(x: Any, /, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x limited to min_val <= x <= max_val. The gradient is 0 at both bounds, unlike that of clip."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} is greater than max_val={max_val}; swap them")
    return np.clip(x, min_val, max_val).astype(x.dtype, copy=False)


hardtanh.vjp(x=lambda g, out, min_val, max_val: mask(g, _between(out, min_val, max_val)))
hardtanh.formula(x="∂out · 1[min_val < x < max_val]")
hardtanh.flops(lambda out_shape: 2 * prod(out_shape))


@hardtanh.sample
def _(draw: Any) -> Any:
    low, high = draw.choice([(-1.0, 1.0), (0.0, 6.0), (-0.35, 0.4)])
    return (draw.array(*draw.shape()) * 2.1,), {"min_val": low, "max_val": high}


def relu6(input: Any) -> Tensor:
    """min(max(x, 0), 6), with gradient 0 at both bounds.

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10 (2010).
    """
    return hardtanh(input, 0.0, 6.0)


@op(floating=True)
def hardsigmoid(x: Any, /) -> Any:
    """min(max(x + 3, 0), 6) / 6. The gradient is 0 at -3 and at 3."""
    return np.clip(x + 3.0, 0.0, 6.0) / 6.0


hardsigmoid.vjp(x=lambda g, x: mask(g / 6.0, _between(x, -3.0, 3.0)))
hardsigmoid.formula(x="∂out / 6 · 1[−3 < x < 3]")
hardsigmoid.flops(lambda out_shape: 4 * prod(out_shape))


@op(floating=True)
def hardswish(x: Any, /) -> Any:
    """x * hardsigmoid(x). The gradient is 0 at -3 and 1 at 3.

    Source: Howard et al., Searching for MobileNetV3 (2019), sec. 5.2.
    """
    return kernels.hardswish(widened(x)).astype(x.dtype, copy=False)


@op
def hardswish_gradient(g: Any, x: Any, /) -> Any:
    """g where x >= 3, 0 where x <= -3 whatever g holds, else g * (x / 3 + 1 / 2)."""
    return kernels.hardswish_gradient(widened(g), widened(x)).astype(x.dtype, copy=False)


hardswish.vjp(x=lambda g, x: hardswish_gradient(g, x))
hardswish.formula(x="∂out · (1[x ≥ 3] + (x / 3 + 0.5) · 1[−3 < x < 3])")
hardswish.flops(lambda out_shape: 5 * prod(out_shape))
hardswish_gradient.vjp(
    g=lambda v, x: hardswish_gradient(v, x), x=lambda v, g, x: mask(v * g / 3.0, _between(x, -3.0, 3.0))
)
hardswish_gradient.formula(g="∂out · (1[x ≥ 3] + (x / 3 + 0.5) · 1[−3 < x < 3])", x="∂out · g / 3 · 1[−3 < x < 3]")
hardswish_gradient.flops(lambda out_shape: 5 * prod(out_shape))


@hardswish_gradient.sample
def _(draw: Any) -> Any:
    shape = draw.shape()
    return (draw.array(*shape), draw.array(*shape) * 3.1), {}


@hardsigmoid.sample
@hardswish.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.shape()) * 3.1,), {}


# Exponentials below 0


@op(floating=True)
def elu(x: Any, /, alpha: float = 1.0, scale: float = 1.0) -> Any:
    """scale * x where x > 0, else scale * alpha * (exp(x) - 1). The gradient at 0 is that of the negative side.

    Source: Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by ELUs (2015), eq. 16.
    """
    y = widened(x)
    return ((np.maximum(y, 0) + np.expm1(np.minimum(y, 0)) * alpha) * scale).astype(x.dtype, copy=False)


def _elu_gradient(g: Any, x: Any, alpha: float, scale: float) -> Any:
    below = exp(mask(x, ~(array_of(x) >= 0))) * alpha  # the second derivative at 0 is that of the positive side
    return _either(g, g * below, array_of(x) > 0) * scale


elu.vjp(x=_elu_gradient)
elu.formula(x="∂out · scale · (1[x > 0] + alpha · exp x · 1[x ≤ 0])")
elu.flops(lambda out_shape: 5 * prod(out_shape))


@elu.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.shape()),), {"alpha": draw.choice([1.0, 1.7]), "scale": draw.choice([1.0, 1.1])}


def selu(input: Any) -> Tensor:
    """elu with the alpha and the scale that keep activations at mean 0 and variance 1.

    Source: Klambauer et al., Self-normalizing neural networks (2017), eq. 14.
    """
    return elu(input, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@op(floating=True)
def celu(x: Any, /, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha * (exp(x / alpha) - 1): an elu without a kink. Raises ValueError for alpha = 0.

    Source: Barron, Continuously differentiable exponential linear units (2017), eq. 2.
    """
    if alpha == 0:
        raise ValueError("celu: alpha is 0, by which x is divided; relu is the limit")
    y = widened(x)
    return (np.maximum(y, 0) + np.expm1(np.minimum(y, 0) / alpha) * alpha).astype(x.dtype, copy=False)


celu.vjp(x=lambda g, x, alpha: g * exp(mask(x, ~(array_of(x) >= 0)) / alpha))
celu.formula(x="∂out · (1[x > 0] + exp(x / alpha) · 1[x ≤ 0])")
celu.flops(lambda out_shape: 5 * prod(out_shape))


@celu.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.shape()),), {"alpha": draw.choice([1.0, 1.7, 0.4])}


# Made from the sigmoid


@op(floating=True)
def softplus(x: Any, /, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.

    Source: Dugas et al., Incorporating second-order functional knowledge (2001), sec. 3.
    """
    y = widened(x)
    z = y * beta
    return np.where(z > threshold, y, _log_sum(z) / beta).astype(x.dtype, copy=False)


def _log_sum(z: Any) -> Any:
    """log(1 + exp(z)) of arrays, without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


softplus.vjp(x=lambda g, x, beta, threshold: select(g, g * sigmoid(x * beta), condition=array_of(x) * beta > threshold))
softplus.formula(x="∂out · sigmoid(x · beta)^1[x · beta ≤ threshold]")
softplus.flops(lambda out_shape: 6 * prod(out_shape))


@softplus.sample
def _(draw: Any) -> Any:
    beta, threshold = draw.choice([(1.0, 20.0), (1.5, 0.52), (0.6, 20.0), (-2.0, 20.0)])
    return (draw.array(*draw.shape()),), {"beta": beta, "threshold": threshold}


@op(floating=True)
def logsigmoid(x: Any, /) -> Any:
    """log(1 / (1 + exp(-x))), computed from exp(-|x|) so that nothing overflows."""
    return (-_log_sum(-widened(x))).astype(x.dtype, copy=False)


logsigmoid.vjp(x=lambda g, x: g * sigmoid(-x))
logsigmoid.formula(x="∂out · sigmoid(−x)")
logsigmoid.flops(lambda out_shape: 5 * prod(out_shape))


@op(floating=True)
def silu(x: Any, /) -> Any:
    """x / (1 + exp(-x)), also named swish.

    Source: Elfwing, Uchibe & Doya, Sigmoid-weighted linear units (2018), eq. 2.
    """
    return kernels.silu(widened(x)).astype(x.dtype, copy=False)


@op
def silu_gradient(g: Any, x: Any, /) -> Any:
    """g * (s + x s (1 - s)) with s = sigmoid(x)."""
    return kernels.silu_gradient(widened(g), widened(x)).astype(x.dtype, copy=False)


def _silu_second_gradient(v: Any, g: Any, x: Any) -> Any:
    x = _bounded(x, 800.0)
    s = sigmoid(x)
    return v * g * (s * (1.0 - s) * (x * (1.0 - s * 2.0) + 2.0))


silu.vjp(x=lambda g, x: silu_gradient(g, x))
silu.formula(x="∂out · (sigmoid x + out · sigmoid(−x))")
silu.flops(lambda out_shape: 5 * prod(out_shape))
silu_gradient.vjp(g=lambda v, x: silu_gradient(v, x), x=_silu_second_gradient)
silu_gradient.formula(
    g="∂out · (sigmoid x + x·sigmoid x·sigmoid(−x))",
    x="∂out · g · sigmoid x · sigmoid(−x) · (2 + x·(1 − 2·sigmoid x))",
)
silu_gradient.flops(lambda out_shape: 9 * prod(out_shape))


@op(floating=True)
def mish(x: Any, /) -> Any:
    """x * tanh(log(1 + exp(x))), computed from exp(-|x|) so that nothing overflows.

    Source: Misra, Mish: a self regularized non-monotonic activation function (2019), eq. 1.
    """
    y = widened(x)
    p, q = np.exp(np.minimum(y, 0)), np.exp(-np.maximum(y, 0))  # p / q = exp(y), neither above 1
    m = p * (p + 2 * q)  # tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2)
    return (np.maximum(y, -800.0) * (m / (m + 2 * q * q))).astype(x.dtype, copy=False)


def _mish_gradient(g: Any, x: Any) -> Any:
    x = _bounded(x, 800.0)
    w = tanh(softplus(x))
    return g * (w + x * sigmoid(x) * (1.0 - w * w))


mish.vjp(x=_mish_gradient)
mish.formula(x="∂out · (tanh softplus x + x·sigmoid x·(1 − (tanh softplus x)²))")
mish.flops(lambda out_shape: 5 * prod(out_shape))


@op(floating=True)
def glu(x: Any, /, axis: int = -1) -> Any:
    """a * sigmoid(b) for the two halves a and b of x along `axis`: (... 2n ...) -> (... n ...)

    Source: Dauphin et al., Language modeling with gated convolutional networks (2017), eq. 1.
    """
    if not x.ndim:
        raise ShapeError("glu: the input has shape (), needs an axis of even length to halve")
    (at,) = normalize_axes(axis, x.ndim, "glu")
    if x.shape[at] % 2:
        raise ShapeError(
            f"glu: axis {axis} of the input {tuple(x.shape)} has length {x.shape[at]}, which has no two halves; "
            "an even length is needed"
        )
    a, b = np.split(widened(x), 2, at)
    return (a * logistic(b)).astype(x.dtype, copy=False)


def _glu_gradient(g: Any, x: Any, out: Any, axis: int) -> Any:
    s = sigmoid(_second_half(x, axis))
    return concatenate(g * s, g * (out * (1.0 - s)), axis=axis)


def _second_half(x: Any, axis: int) -> Any:
    before = (slice(None),) * (axis % x.ndim)
    return getitem(x, (*before, slice(x.shape[axis] // 2, None)))


glu.vjp(x=_glu_gradient)
glu.formula(x="cat(∂out·sigmoid half(x, 1), ∂out·out·sigmoid(−half(x, 1)))")
glu.flops(lambda out_shape: 5 * prod(out_shape))


@glu.sample
def _(draw: Any) -> Any:
    shape, axis = draw.choice([((2, 4), -1), ((6,), 0), ((4, 3), 0), ((2, 2, 3), 1), ((3, 2, 4), -1)])
    return (draw.array(*shape),), {"axis": axis}


# Beside the exponential


@op(floating=True)
def gaussian(x: Any, /) -> Any:
    """exp(-x^2)"""
    y = widened(x)
    return np.exp(-(y * y)).astype(x.dtype, copy=False)


gaussian.vjp(x=lambda g, out, x: g * (out * (_bounded(x, 30.0) * -2.0)))
gaussian.formula(x="−∂out · 2 · x · out")
gaussian.flops(lambda out_shape: 3 * prod(out_shape))


@op(floating=True)
def softsign(x: Any, /) -> Any:
    """x / (1 + |x|)

    Source: Bergstra et al., Quadratic polynomials learn better image features (2009), sec. 2.
    """
    most = np.finfo(x.dtype).max
    y = np.clip(x, -most, most)  # inf / inf would be nan
    return y / (1 + np.abs(y))


def _softsign_gradient(g: Any, x: Any) -> Any:
    d = abs(x) + 1.0
    return g / d / d


softsign.vjp(x=_softsign_gradient)
softsign.formula(x="∂out / (1 + abs x)²")
softsign.flops(lambda out_shape: 3 * prod(out_shape))


@op(floating=True)
def gelu_erf(x: Any, /) -> Any:
    """x times the share of the standard normal distribution below x; see gelu."""
    return kernels.gelu(widened(x)).astype(x.dtype, copy=False)


@op
def gelu_gradient(g: Any, x: Any, /) -> Any:
    """g * (p + x * q), p the share of the standard normal distribution below x, q its density there; see gelu."""
    return kernels.gelu_gradient(widened(g), widened(x)).astype(x.dtype, copy=False)


def _normal_density(x: Any) -> Any:
    """exp(-x^2 / 2) / sqrt(2 pi)"""
    return exp(x * x * -0.5) * (1.0 / sqrt(2.0 * pi))


def _gelu_second_gradient(v: Any, g: Any, x: Any) -> Any:
    x = _bounded(x, 40.0)
    return v * g * (_normal_density(x) * (2.0 - x * x))


gelu_erf.vjp(x=lambda g, x: gelu_gradient(g, x))
gelu_erf.formula(x="∂out · (cdf x + x · pdf x)")
gelu_erf.flops(lambda out_shape: 5 * prod(out_shape))
gelu_gradient.vjp(g=lambda v, x: gelu_gradient(v, x), x=_gelu_second_gradient)
gelu_gradient.formula(g="∂out · (cdf x + x · pdf x)", x="∂out · g · pdf x · (2 − x²)")
gelu_gradient.flops(lambda out_shape: 11 * prod(out_shape))


@gelu_gradient.sample
@silu_gradient.sample
def _(draw: Any) -> Any:
    shape = draw.shape()
    return (draw.array(*shape), draw.array(*shape)), {}


_LINEAR, _CUBIC = sqrt(8.0 / pi), 0.044715 * sqrt(8.0 / pi)


@op(floating=True)
def gelu_tanh(x: Any, /) -> Any:
    """x * sigmoid(sqrt(8 / pi) (x + 0.044715 x^3)); see gelu."""
    y = widened(x)
    return (np.maximum(y, -40.0) * logistic(y * (_LINEAR + _CUBIC * (y * y)))).astype(x.dtype, copy=False)


def _gelu_tanh_gradient(g: Any, x: Any) -> Any:
    x = _bounded(x, 40.0)
    cubic = x * x * _CUBIC
    s = sigmoid(x * (cubic + _LINEAR))
    return g * (s + x * s * (1.0 - s) * (cubic * 3.0 + _LINEAR))


gelu_tanh.vjp(x=_gelu_tanh_gradient)
gelu_tanh.formula(x="∂out · (sigmoid u(x) + out · sigmoid(−u(x)) · du(x))")
gelu_tanh.flops(lambda out_shape: 9 * prod(out_shape))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x times the share of a standard normal distribution below x; with 'tanh' its approximation of eq. 2.

    Source: Hendrycks & Gimpel, Gaussian error linear units (2016), sec. 2.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r}; it can be 'none' or 'tanh'")
    return gelu_erf(input) if approximate == "none" else gelu_tanh(input)
