"""Losses that compare each element of x with its target, reduced in the same step. Half precision is summed in float32.

x and y have one shape: (n, 1) against (n,) would broadcast to (n, n) unnoticed. Gradients flow into both.
"""

from math import prod
from typing import Any

import numpy as np

from ..graph import Tensor
from ..kernels.reduce import widened
from ..primitive import op
from ..shapes import ShapeError, broadcast_shape
from .activation import hardtanh, logsigmoid
from .elementwise import array_of, clip, exp, log, sigmoid, sign
from .loss import REDUCTIONS, aligned, check_reduction, reduced, reduction_flops, weighted_logs

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "half_squared_error",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "smooth_l1_loss",
]


def _pair(op: str, x: Any, y: Any, reduction: str) -> tuple[Any, Any]:
    """x and y in the precision that their difference is taken in. Raises ShapeError unless their shapes are equal."""
    check_reduction(op, reduction)
    if np.shape(x) != np.shape(y):
        shapes = tuple(np.shape(x)), tuple(np.shape(y))
        raise ShapeError(f"{op}: the shapes are {shapes[0]} and {shapes[1]}, needs equal shapes; {aligned(*shapes)}")
    return widened(np.asarray(x)), widened(np.asarray(y))


def _all(losses: Any, reduction: str, like: Any) -> Any:
    """The losses of all elements reduced, in the dtype of `like`."""
    losses = np.asarray(losses)
    scale = float(np.divide(1.0, losses.size)) if reduction == "mean" else 1.0
    return reduced(losses, reduction, scale).astype(like.dtype, copy=False)


def _each(g: Any, x: Any, reduction: str) -> Any:
    """The gradient of each element's loss from that of the reduced one."""
    return g * (1.0 / max(array_of(x).size, 1)) if reduction == "mean" else g


def _weights(op: str, name: str, weight: Any, x: Any) -> Any:
    """A factor for each element, in the dtype of x. Raises ShapeError unless it broadcasts to the shape of x."""
    weight = np.asarray(weight)
    if weight.dtype.kind not in "iuf":
        raise TypeError(f"{op}: {name} is {weight.dtype}; numbers are needed")
    if broadcast_shape(x.shape, weight.shape, op=op) != x.shape:
        raise ShapeError(f"{op}: {name} has shape {weight.shape}, which does not fit into {x.shape}; reshape it")
    return weight.astype(x.dtype, copy=False)


def _times(g: Any, weight: Any) -> Any:
    return g if weight is None else g * np.asarray(weight, g.dtype)


def _pairs(draw: Any) -> Any:
    """Two arrays of one shape, and a reduction."""
    shape = draw.choice([(3,), (2, 3), (1,), (2, 1, 3), ()])
    return (draw.array(*shape), draw.array(*shape)), {"reduction": draw.choice(list(REDUCTIONS))}


# Distances


@op(broadcast=True, floating=True)
def l1_loss(x: Any, y: Any, /, reduction: str = "mean") -> Any:
    """|x - y|, averaged, summed ("sum") or for each element ("none"). The gradient is 0 where they are equal."""
    a, b = _pair("l1_loss", x, y, reduction)
    return _all(np.abs(a - b), reduction, x)


def _l1_gradient(g: Any, x: Any, y: Any, reduction: str) -> Any:
    return _each(g, x, reduction) * sign(x - y)


l1_loss.vjp(x=_l1_gradient, y=lambda g, x, y, reduction: _l1_gradient(g, y, x, reduction))
l1_loss.formula(x="∂out · sign(x − y) / N", y="∂out · sign(y − x) / N")
l1_loss.flops(lambda x_shape, reduction: 2 * prod(x_shape) + reduction_flops(prod(x_shape), reduction))
l1_loss.sample(_pairs)


@op(broadcast=True, floating=True)
def half_squared_error(x: Any, y: Any, /, reduction: str = "sum") -> Any:
    """(x - y)^2 / 2, summed unless `reduction` is "mean" or "none", so that the gradient is x - y."""
    a, b = _pair("half_squared_error", x, y, reduction)
    d = a - b
    return _all(d * d * 0.5, reduction, x)


def _half_squared_gradient(g: Any, x: Any, y: Any, reduction: str) -> Any:
    return _each(g, x, reduction) * (x - y)


half_squared_error.vjp(
    x=_half_squared_gradient, y=lambda g, x, y, reduction: _half_squared_gradient(g, y, x, reduction)
)
half_squared_error.formula(x="∂out · (x − y) / N", y="∂out · (y − x) / N")
half_squared_error.flops(lambda x_shape, reduction: 3 * prod(x_shape) + reduction_flops(prod(x_shape), reduction))
half_squared_error.sample(_pairs)


@op(broadcast=True, floating=True)
def huber_loss(x: Any, y: Any, /, reduction: str = "mean", delta: float = 1.0) -> Any:
    """(x - y)^2 / 2 up to |x - y| = delta, and the tangent delta * (|x - y| - delta / 2) beyond.

    The second derivative is 0 at |x - y| = delta.

    Source: Huber, Robust estimation of a location parameter (1964).
    """
    a, b = _pair("huber_loss", x, y, reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}; a number above 0 is needed")
    d = np.abs(a - b)
    inner = np.minimum(d, delta)
    return _all(inner * (d - inner * 0.5), reduction, x)


def _huber_gradient(g: Any, x: Any, y: Any, reduction: str, delta: float) -> Any:
    return _each(g, x, reduction) * hardtanh(x - y, -delta, delta)


huber_loss.vjp(x=_huber_gradient, y=lambda g, x, y, reduction, delta: _huber_gradient(g, y, x, reduction, delta))
huber_loss.formula(x="∂out · clip(x − y, −delta, delta) / N", y="∂out · clip(y − x, −delta, delta) / N")
huber_loss.flops(lambda x_shape, reduction: 6 * prod(x_shape) + reduction_flops(prod(x_shape), reduction))


@huber_loss.sample
def _(draw: Any) -> Any:
    arrays, params = _pairs(draw)
    return arrays, {**params, "delta": draw.choice([0.5, 1.0])}


@op(broadcast=True, floating=True)
def smooth_l1_loss(x: Any, y: Any, /, reduction: str = "mean", beta: float = 1.0) -> Any:
    """(x - y)^2 / (2 beta) up to |x - y| = beta, and |x - y| - beta / 2 beyond; l1_loss for beta = 0.

    The second derivative is 0 at |x - y| = beta.

    Source: Girshick, Fast R-CNN (2015), eq. 3.
    """
    a, b = _pair("smooth_l1_loss", x, y, reduction)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}; a number of at least 0 is needed")
    d = np.abs(a - b)
    inner = np.minimum(d, beta)
    return _all(inner / beta * (d - inner * 0.5) if beta else d, reduction, x)


def _smooth_l1_gradient(g: Any, x: Any, y: Any, reduction: str, beta: float) -> Any:
    d = x - y
    return _each(g, x, reduction) * (hardtanh(d / beta) if beta else sign(d))


smooth_l1_loss.vjp(
    x=_smooth_l1_gradient, y=lambda g, x, y, reduction, beta: _smooth_l1_gradient(g, y, x, reduction, beta)
)
smooth_l1_loss.formula(x="∂out · clip((x − y) / beta, −1, 1) / N", y="∂out · clip((y − x) / beta, −1, 1) / N")
smooth_l1_loss.flops(
    lambda x_shape, reduction, beta: (7 if beta else 2) * prod(x_shape) + reduction_flops(prod(x_shape), reduction)
)


@smooth_l1_loss.sample
def _(draw: Any) -> Any:
    arrays, params = _pairs(draw)
    return arrays, {**params, "beta": draw.choice([0.5, 1.0, 0.0])}


@op(floating=True)
def hinge_embedding_loss(x: Any, /, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x where the target is 1, max(0, margin - x) where it is -1; the gradient at x = margin is -1.

    x is a distance, and the target says whether the two are alike. Raises ValueError for any other target.
    """
    target = np.asarray(target)
    x_wide, _ = _pair("hinge_embedding_loss", x, target.astype(x.dtype), reduction)
    alike = target == 1
    if (other := ~alike & (target != -1)).any():
        raise ValueError(
            f"hinge_embedding_loss: the target holds {target[other].flat[0]}; 1 where alike and -1 elsewhere are needed"
        )
    return _all(np.where(alike, x_wide, np.maximum(margin - x_wide, 0)), reduction, x)


def _hinge_gradient(g: Any, x: Any, target: Any, margin: float, reduction: str) -> Any:
    slopes = np.where(np.asarray(target) == 1, 1.0, np.where(array_of(x) <= margin, -1.0, 0.0))
    return _each(g, x, reduction) * slopes.astype(g.dtype)


hinge_embedding_loss.vjp(x=_hinge_gradient)
hinge_embedding_loss.formula(x="∂out · (1[target = 1] − 1[target ≠ 1] · 1[x ≤ margin]) / N")
hinge_embedding_loss.flops(lambda x_shape, reduction: 3 * prod(x_shape) + reduction_flops(prod(x_shape), reduction))


@hinge_embedding_loss.sample
def _(draw: Any) -> Any:
    (x, _), params = _pairs(draw)
    return (x,), {**params, "target": draw.booleans(*x.shape) * 2 - 1, "margin": draw.choice([0.2, -0.2, 1.0])}


# Between distributions


@op(broadcast=True, floating=True)
def divergence(x: Any, y: Any, /, reduction: str = "mean") -> Any:
    """y * (log(y) - x), where y = 0 counts 0; see kl_div."""
    a, b = _pair("kl_div", x, y, reduction)
    return _all(np.where(b == 0, 0, b * (np.log(b) - a)), reduction, x)


divergence.vjp(
    x=lambda g, x, y, reduction: -(_each(g, x, reduction) * y),
    y=lambda g, x, y, reduction: _each(g, x, reduction) * (log(y) + 1.0 - x),
)
divergence.formula(x="−∂out · y / N", y="∂out · (log y + 1 − x) / N")


@op(broadcast=True, floating=True)
def divergence_of_logs(x: Any, y: Any, /, reduction: str = "mean") -> Any:
    """exp(y) * (y - x), where y = -inf counts 0; see kl_div."""
    a, b = _pair("kl_div", x, y, reduction)
    return _all(np.where(b == -np.inf, 0, np.exp(b) * (b - a)), reduction, x)


divergence_of_logs.vjp(
    x=lambda g, x, y, reduction: -(_each(g, x, reduction) * exp(y)),
    y=lambda g, x, y, reduction: _each(g, x, reduction) * (exp(y) * (y + 1.0 - x)),
)
divergence_of_logs.formula(x="−∂out · exp y / N", y="∂out · exp y · (y + 1 − x) / N")

for _of_two in (divergence, divergence_of_logs):
    _of_two.flops(lambda x_shape, reduction: 3 * prod(x_shape) + reduction_flops(prod(x_shape), reduction))


@divergence.sample
@divergence_of_logs.sample
def _(draw: Any) -> Any:
    (x, y), params = _pairs(draw)
    return (x, draw.positive_like(y)), params


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input) of log-probabilities and probabilities, or with log_target their logarithms too.

    reduction: "batchmean" is the divergence, the sum by the length of axis 0; "mean" divides by the number of elements.

    A probability of 0 counts 0. Raises ShapeError unless the shapes are the same.
    """
    if reduction not in (*REDUCTIONS, "batchmean"):
        raise ValueError(f"kl_div: reduction is {reduction!r}; it must be 'none', 'mean', 'sum' or 'batchmean'")
    of = divergence_of_logs if log_target else divergence
    if reduction != "batchmean":
        return of(input, target, reduction=reduction)
    shape = np.shape(array_of(input))
    if not shape:
        raise ShapeError("kl_div: the input has shape (), which has no axis 0 to count for reduction='batchmean'")
    total: Tensor = of(input, target, reduction="sum")
    return total / float(shape[0])


@op(broadcast=True, floating=True)
def binary_cross_entropy(x: Any, y: Any, /, weight: Any = None, reduction: str = "mean") -> Any:
    """-(y log(x) + (1 - y) log(1 - x)) of probabilities, where a logarithm counts -100 at least.

    weight: factors for the elements, in a shape that fits into that of x. The mean divides by the number of elements.

    The gradient's x (1 - x) counts 1e-12 at least. Raises ValueError for x outside 0 to 1; nan stays.
    """
    a, b = _pair("binary_cross_entropy", x, y, reduction)
    if ((a < 0) | (a > 1)).any():
        worst = a.flat[np.argmax(np.nan_to_num(np.abs(a - 0.5)))]
        raise ValueError(
            f"binary_cross_entropy: the input holds {worst}; probabilities from 0 to 1 are needed: take the sigmoid "
            "first, or binary_cross_entropy_with_logits"
        )
    losses = -(b * np.maximum(np.log(a), -100.0) + (1 - b) * np.maximum(np.log1p(-a), -100.0))
    if weight is not None:
        losses = losses * _weights("binary_cross_entropy", "weight", weight, a)
    return _all(losses, reduction, x)


def _binary_gradient(g: Any, x: Any, y: Any, weight: Any, reduction: str) -> Any:
    least = 1e-12 if g.dtype != np.float16 else 6e-8  # float16 has no 1e-12
    return _times(_each(g, x, reduction), weight) * ((x - y) / clip(x * (1.0 - x), least))


def _binary_target_gradient(g: Any, x: Any, weight: Any, reduction: str) -> Any:
    return _times(_each(g, x, reduction), weight) * (clip(log(1.0 - x), -100.0) - clip(log(x), -100.0))


binary_cross_entropy.vjp(x=_binary_gradient, y=_binary_target_gradient)
binary_cross_entropy.formula(
    x="∂out · weight · (x − y) / (x · (1 − x)) / N", y="∂out · weight · (log(1 − x) − log x) / N"
)


def _binary_flops(x_shape: tuple[int, ...], weight: Any, reduction: str) -> int:
    n = prod(x_shape)
    return n * (10 + (weight is not None)) + reduction_flops(n, reduction)


binary_cross_entropy.flops(_binary_flops)


@binary_cross_entropy.sample
def _(draw: Any) -> Any:
    (x, y), params = _pairs(draw)
    x, y = (np.asarray(draw.rng().uniform(0.25, 0.75, a.shape)) for a in (x, y))
    return (x, y), {**params, "weight": _drawn_weight(draw, x.shape)}


def _drawn_weight(draw: Any, shape: tuple[int, ...]) -> Any:
    return draw.choice([None, draw.positive(*shape), draw.positive(*shape[-1:])])


@op(broadcast=True, floating=True)
def binary_cross_entropy_with_logits(
    x: Any, y: Any, /, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """-(pos_weight y log(s) + (1 - y) log(1 - s)) with s = sigmoid(x), in one stable step.

    weight: factors for the elements; pos_weight: for the targets above 0. Both in shapes that fit into that of x.
    The mean divides by the number of elements. 0 * -inf counts 0.
    """
    a, b = _pair("binary_cross_entropy_with_logits", x, y, reduction)
    beyond = np.log1p(np.exp(-np.abs(a)))
    one, zero = np.minimum(a, 0) - beyond, np.minimum(-a, 0) - beyond  # log(s), log(1 - s)
    share = b
    if pos_weight is not None:
        share = b * _weights("binary_cross_entropy_with_logits", "pos_weight", pos_weight, a)
    losses = -(weighted_logs(share, one) + weighted_logs(1 - b, zero))
    if weight is not None:
        losses = losses * _weights("binary_cross_entropy_with_logits", "weight", weight, a)
    return _all(losses, reduction, x)


def _logits_gradient(g: Any, x: Any, y: Any, weight: Any, reduction: str, pos_weight: Any) -> Any:
    h = _times(_each(g, x, reduction), weight)
    if pos_weight is None:
        return h * (sigmoid(x) - y)
    p = np.asarray(pos_weight, g.dtype)
    return h * (sigmoid(x) * (y * (p - 1.0) + 1.0) - y * p)


def _logits_target_gradient(g: Any, x: Any, weight: Any, reduction: str, pos_weight: Any) -> Any:
    h = _times(_each(g, x, reduction), weight)
    if pos_weight is None:
        return -(h * x)
    return h * (logsigmoid(x) * (1.0 - np.asarray(pos_weight, g.dtype)) - x)


binary_cross_entropy_with_logits.vjp(x=_logits_gradient, y=_logits_target_gradient)
binary_cross_entropy_with_logits.formula(
    x="∂out·weight·(sigmoid x·(1−y) − pos_weight·y·sigmoid(−x))/N",
    y="∂out · weight · (pos_weight · softplus(−x) − softplus x) / N",
)


def _logits_flops(x_shape: tuple[int, ...], weight: Any, reduction: str, pos_weight: Any) -> int:
    n = prod(x_shape)
    return n * (15 + (weight is not None) + (pos_weight is not None)) + reduction_flops(n, reduction)


binary_cross_entropy_with_logits.flops(_logits_flops)


@binary_cross_entropy_with_logits.sample
def _(draw: Any) -> Any:
    (x, y), params = _pairs(draw)
    y = np.asarray(draw.rng().uniform(0.1, 0.9, x.shape))
    weights = {"weight": _drawn_weight(draw, x.shape), "pos_weight": _drawn_weight(draw, x.shape)}
    return (draw.logits(*x.shape), y), {**params, **weights}
