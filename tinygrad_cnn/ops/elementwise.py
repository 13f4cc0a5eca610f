"""Elementwise ops. The engine promotes dtypes and undoes broadcasting, so no rule mentions either."""

from math import prod
from typing import Any

import numpy as np

from ..basics import add
from ..dtypes import common_dtype
from ..flops import moves_data, one_per_output
from ..graph import Tensor, method, wrap
from ..kernels.sweeps import masked, masked_positive, rectified
from ..primitive import op
from ..shapes import ShapeError, broadcast_shape

__all__ = [
    "abs",
    "absolute",
    "add",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "cos",
    "div",
    "exp",
    "log",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "neg",
    "negative",
    "pow",
    "relu",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tanh",
    "where",
]

_AT_TIES: dict[str, float] = {"split": 0.5, "first": 1.0, "last": 0.0}  # the share of the first of two equal operands


@op(operator="sub", method=True, broadcast=True, numpy=np.subtract)
def sub(x: Any, y: Any, /) -> Any:
    """x - y. Raises TypeError for booleans."""
    try:
        return x - y
    except TypeError:
        if np.asarray(x).dtype == np.bool_:
            raise TypeError("sub: booleans do not subtract; x ^ y is where they differ, .int() makes numbers") from None
        raise


sub.vjp(x=lambda g: g, y=lambda g: -g)
sub.formula(x="∂out", y="−∂out")
sub.flops(one_per_output)


@op(operator="mul", method=True, broadcast=True, numpy=np.multiply)
def mul(x: Any, y: Any, /) -> Any:
    """x * y."""
    return x * y


mul.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
mul.formula(x="∂out · y", y="∂out · x")
mul.flops(one_per_output)


@op(operator="truediv", method=True, broadcast=True, floating=True, numpy=np.true_divide)
def div(x: Any, y: Any, /) -> Any:
    """x / y; x/0 is +-inf and 0/0 nan, as IEEE 754 has it. Integers become float32."""
    return x / y


div.vjp(x=lambda g, y: g / y, y=lambda g, out, y: -g * out / y)
div.formula(x="∂out / y", y="−∂out · x / y²")
div.flops(one_per_output)


@div.sample
def _(draw: Any) -> Any:
    x, y = draw.broadcastable(2)
    return (x, draw.positive_like(y)), {}


@op(operator="neg", method=True, numpy=np.negative)
def neg(x: Any, /) -> Any:
    """-x. Raises TypeError for booleans."""
    try:
        return -x
    except TypeError:
        if x.dtype == np.bool_:
            raise TypeError("neg: booleans have no sign; ~x is where x does not hold, .int() makes numbers") from None
        raise


neg.vjp(x=lambda g: -g)
neg.formula(x="−∂out")
neg.flops(one_per_output)


@op(operator="pow", method=True, broadcast=True, numpy=np.power)
def pow(x: Any, y: Any, /) -> Any:
    """x ** y, with 0 ** 0 = 1; a negative base under a fractional exponent is nan."""
    return x**y


def _pow_base_gradient(g: Any, x: Any, y: Any) -> Any:
    """g * y * x ** (y - 1), and 0 where y is 0 (there x ** y is constant, also at x = 0)."""
    if isinstance(y, (int, float)):
        return g * (y * x ** (y - 1)) if y else mask(g, False)
    zero = array_of(y) == 0
    return g * where(zero, 0.0, y * pow(x, where(zero, 1.0, y - 1.0)))


def _pow_exponent_gradient(g: Any, out: Any, x: Any, y: Any) -> Any:
    """g * out * log(x), and 0 where the base is 0 and y >= 0 (0 ** y stays 0 for every y > 0)."""
    if isinstance(x, (int, float)):
        x = np.asarray(x, out.dtype)
    zero = (array_of(x) == 0) & (array_of(y) >= 0)
    return g * (out * log(where(zero, 1.0, x)))


pow.vjp(x=_pow_base_gradient, y=_pow_exponent_gradient)
pow.formula(x="∂out · y · x^(y − 1)", y="∂out · out · log x")
pow.flops(one_per_output)


@pow.sample
def _(draw: Any) -> Any:
    x, y = draw.broadcastable(2)
    return (draw.positive_like(x), y), {}


@op(method=True, floating=True, numpy=np.exp)
def exp(x: Any, /) -> Any:
    """e ** x."""
    return np.exp(x)


exp.vjp(x=lambda g, out: g * out)
exp.formula(x="∂out · out")
exp.flops(one_per_output)


@op(method=True, floating=True, numpy=np.log)
def log(x: Any, /) -> Any:
    """The natural logarithm; -inf at 0, nan below."""
    return np.log(x)


log.vjp(x=lambda g, x: g / x)
log.formula(x="∂out / x")
log.flops(one_per_output)


@log.sample
def _(draw: Any) -> Any:
    return (draw.positive(*draw.shape()),), {}


@op(method=True, floating=True, numpy=np.sqrt)
def sqrt(x: Any, /) -> Any:
    """The square root; nan below 0. Its gradient at 0 is +inf: no epsilon is hidden in it."""
    return np.sqrt(x)


sqrt.vjp(x=lambda g, out: g / (out * 2.0))
sqrt.formula(x="∂out / (2 · out)")
sqrt.flops(one_per_output)


@sqrt.sample
def _(draw: Any) -> Any:
    return (draw.positive(*draw.shape()),), {}


@op(method=True, numpy=np.square)
def square(x: Any, /) -> Any:
    """x * x."""
    return x * x


square.vjp(x=lambda g, x: g * (x * 2.0))
square.formula(x="∂out · 2 · x")
square.flops(one_per_output)


@op(method=True, floating=True, numpy=np.sin)
def sin(x: Any, /) -> Any:
    """The sine of x, in radians."""
    return np.sin(x)


@op(method=True, floating=True, numpy=np.cos)
def cos(x: Any, /) -> Any:
    """The cosine of x, in radians."""
    return np.cos(x)


sin.vjp(x=lambda g, x: g * cos(x))
sin.formula(x="∂out · cos x")
sin.flops(one_per_output)
cos.vjp(x=lambda g, x: -g * sin(x))
cos.formula(x="−∂out · sin x")
cos.flops(one_per_output)


@op(method=True, numpy=np.sign)
def sign(x: Any, /) -> Any:
    """-1, 0 or 1; nan stays. Its gradient is 0. Raises TypeError for booleans, which have no sign."""
    if x.dtype == np.bool_:
        raise TypeError("sign: booleans have no sign; .int() makes numbers")
    return np.sign(x)


def _flat(g: Any) -> Any:
    """Zeros, whatever g holds."""
    return mask(g, False)


sign.vjp(x=_flat)
sign.formula(x="0")
sign.flops(one_per_output)


@op(method=True, numpy=np.absolute)
def abs(x: Any, /, at_zero: float = 0.0) -> Any:
    """|x|, with gradient `at_zero` at 0."""
    return np.abs(x)


def _abs_gradient(g: Any, x: Any, at_zero: float) -> Any:
    return g * (select(at_zero, sign(x), condition=array_of(x) == 0) if at_zero else sign(x))


abs.vjp(x=_abs_gradient)
abs.formula(x="∂out · sign x")
abs.flops(one_per_output)
method("__abs__")(abs)


@op(method=True, broadcast=True, numpy=np.maximum)
def maximum(x: Any, y: Any, /, ties: str = "split") -> Any:
    """The larger of x and y; nan where either is. A tie splits the gradient in halves.

    ties: 'split', or 'first' for all of it to x, 'last' for all of it to y.
    """
    check_ties("maximum", ties)
    return np.maximum(x, y)


maximum.vjp(
    x=lambda g, x, y, ties: g * _share(x, y, _AT_TIES[ties]),
    y=lambda g, x, y, ties: g * _share(y, x, 1.0 - _AT_TIES[ties]),
)
maximum.formula(x="∂out · (1[x > y] + 1[x = y]/2)", y="∂out · (1[y > x] + 1[x = y]/2)")
maximum.flops(one_per_output)


@op(method=True, broadcast=True, numpy=np.minimum)
def minimum(x: Any, y: Any, /, ties: str = "split") -> Any:
    """The smaller of x and y; nan where either is. Ties as for maximum."""
    check_ties("minimum", ties)
    return np.minimum(x, y)


minimum.vjp(
    x=lambda g, x, y, ties: g * _share(y, x, _AT_TIES[ties]),
    y=lambda g, x, y, ties: g * _share(x, y, 1.0 - _AT_TIES[ties]),
)
minimum.formula(x="∂out · (1[x < y] + 1[x = y]/2)", y="∂out · (1[y < x] + 1[x = y]/2)")
minimum.flops(one_per_output)


def check_ties(name: str, ties: str) -> None:
    """Raise ValueError unless `ties` says which of equal values takes the gradient."""
    if ties not in _AT_TIES:
        raise ValueError(f"{name}: ties={ties!r}; it can be 'first', 'last' or 'split'")


def _share(x: Any, y: Any, at_ties: float) -> Any:
    """1 where x > y, `at_ties` where they are equal, 0 elsewhere: a constant array in their float dtype."""
    x, y = array_of(x), array_of(y)
    dtype = np.result_type(x, y).type
    return (x > y) * dtype(1.0 - at_ties) + (x >= y) * dtype(at_ties)


@op
def mask(x: Any, /, keep: Any) -> Any:
    """x where `keep` is true, 0 elsewhere, whatever x holds there: an infinity that is masked stays out."""
    return masked(x, keep)


mask.vjp(x=lambda g, keep: mask(g, keep))
mask.formula(x="∂out · 1[keep]")
mask.flops(moves_data)


@op
def mask_positive(x: Any, /, where: Any) -> Any:
    """x where `where` > 0, 0 elsewhere, whatever x holds there: `mask` in one pass over memory."""
    return masked_positive(x, where)


mask_positive.vjp(x=lambda g, where: mask_positive(g, where))
mask_positive.formula(x="∂out · 1[where > 0]")
mask_positive.flops(moves_data)


@mask_positive.sample
def _(draw: Any) -> Any:
    x = draw.array(2, 3)
    return (x,), {"where": draw.booleans(2, 3) * 1.0 - draw.booleans(2, 3)}


@mask.sample
def _(draw: Any) -> Any:
    x = draw.array(2, 3)
    return (x,), {"keep": draw.booleans(2, 3)}


@op
def clip(x: Any, /, min: Any = None, max: Any = None, at_bounds: float = 1.0) -> Any:
    """x limited to min <= x <= max (max wins if they cross); nan stays. The gradient is `at_bounds` at both bounds.

    Integers between float bounds become float32. Raises ShapeError for bounds that x would have to be stretched to.
    """
    if min is None and max is None:
        raise ValueError("clip: neither min nor max was given; give at least one")
    for bound in (min, max):
        if np.ndim(bound) and broadcast_shape(x.shape, bound.shape, op="clip") != x.shape:
            raise ShapeError(
                f"clip: a bound of shape {bound.shape} does not fit into the shape {x.shape} of x; expand x first"
            )
    dtype = x.dtype if x.dtype.kind == "f" else common_dtype([x] + [bound for bound in (min, max) if bound is not None])
    y = x if min is None else np.maximum(x, min)
    return (y if max is None else np.minimum(y, max)).astype(dtype, copy=False)


def _clip_gradient(g: Any, x: Any, min: Any, max: Any, at_bounds: float) -> Any:
    within = mask(g, inside(x, min, max))
    return within if at_bounds == 1 else select(within * at_bounds, within, condition=_at_bound(array_of(x), min, max))


clip.vjp(x=_clip_gradient)
clip.formula(x="∂out · 1[min ≤ x ≤ max]")
clip.flops(lambda out_shape, min, max: prod(out_shape) * ((min is not None) + (max is not None)))


def inside(x: Any, low: Any, high: Any) -> Any:
    """Where low <= x <= high, as booleans."""
    return (x >= (-np.inf if low is None else low)) & (x <= (np.inf if high is None else high))


def _at_bound(x: Any, low: Any, high: Any) -> Any:
    """Where x == low or x == high, as booleans; nothing equals None."""
    return (x == low) | (x == high)


clamp = clip  # PyTorch has several names for some, as has NumPy
absolute, multiply, negative, subtract = abs, mul, neg, sub
method("clip")(clip)
method("clamp")(clip)


@method
def clamp_min(x: Any, min: Any) -> Any:
    """max(x, min)"""
    return clip(x, min, None)


@method
def clamp_max(x: Any, max: Any) -> Any:
    """min(x, max)"""
    return clip(x, None, max)


for _name, _op in (("absolute", abs), ("multiply", mul), ("negative", neg), ("subtract", sub)):
    method(_name)(_op)


@clip.sample
def _(draw: Any) -> Any:
    low, high = draw.choice([(-0.35, 0.4), (None, 0.2), (-0.2, None)])
    return (draw.array(*draw.shape()),), {"min": low, "max": high}


@op(broadcast=True)
def select(x: Any, y: Any, /, condition: Any) -> Any:
    """x where `condition` holds, else y. Raises ShapeError for shapes that do not broadcast together."""
    broadcast_shape(condition.shape, np.shape(x), np.shape(y), op="where")
    return np.where(condition, x, y)


def _select_gradient(g: Any, condition: Any) -> Any:
    return mask(g, condition)


select.vjp(x=_select_gradient, y=lambda g, condition: mask(g, ~condition))
select.formula(x="∂out · 1[condition]", y="∂out · 1[¬condition]")
select.flops(moves_data)


@select.sample
def _(draw: Any) -> Any:
    x, y = draw.broadcastable(2)
    return (x, y), {"condition": draw.booleans(*np.broadcast_shapes(x.shape, y.shape)[-1:])}


@method("where")
def _kept_where(x: Any, condition: Any, other: Any) -> Any:
    """x where `condition` holds, else `other`, all three broadcast together."""
    return where(condition, x, other)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where `condition` holds, else y, all three broadcast together.

    The gradient is 0 where a branch was not taken, but 0 * inf is nan: for sqrt or log of values that the
    condition excludes, put where on the inside as well: where(x > 0, sqrt(where(x > 0, x, 1)), 0).
    """
    of_tensor = isinstance(condition, Tensor)
    condition = np.asarray(array_of(condition))
    if condition.dtype != np.bool_:
        raise TypeError(f"where: the condition is {condition.dtype}; it must be bool, as in x > 0")
    chosen = select(x, y, condition=condition)
    return wrap(chosen) if of_tensor and not isinstance(chosen, Tensor) else chosen


@op(method=True, floating=True)
def sigmoid(x: Any, /) -> Any:
    """1 / (1 + exp(-x)), computed from exp(-|x|) so that nothing overflows."""
    return logistic(x)


def logistic(x: Any) -> Any:
    """The sigmoid of arrays. np.where of 1 and exp(x) would take 5 times as long for signs at random."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


sigmoid.vjp(x=lambda g, out: g * (out * (1.0 - out)))
sigmoid.formula(x="∂out · out · (1 − out)")
sigmoid.flops(lambda out_shape: 4 * prod(out_shape))


@op(method=True, floating=True, numpy=np.tanh)
def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.vjp(x=lambda g, out: g * (1.0 - out * out))
tanh.formula(x="∂out · (1 − out²)")
tanh.flops(one_per_output)


@op(method=True)
def relu(x: Any, /) -> Any:
    """max(x, 0); nan stays. The gradient is 0 at 0 and at nan, and 0 below 0 even where g is inf or nan."""
    return rectified(x)


relu.vjp(x=lambda g, out: mask_positive(g, array_of(out)))
relu.formula(x="∂out · 1[x > 0]")
relu.flops(one_per_output)


def array_of(x: Any) -> Any:
    """The bare array of a Tensor, for what is constant in it: masks, signs, counts."""
    return x.array if isinstance(x, Tensor) else x
