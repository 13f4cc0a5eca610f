"""More elementary functions, and rounding with what is left over by it."""

import math
from typing import Any

import numpy as np

from ..flops import one_per_output
from ..kernels import normal
from ..kernels.reduce import widened
from ..primitive import op
from .elementwise import exp, mask, sqrt

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cosh",
    "erf",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "log10",
    "log1p",
    "log2",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sinh",
    "tan",
    "trunc",
]


_LOG_2, _LOG_10 = math.log(2.0), math.log(10.0)


@op(method=True, floating=True, numpy=np.log1p)
def log1p(x: Any, /) -> Any:
    """log(1 + x), exact also where x is small; -inf at -1, nan below."""
    return np.log1p(x)


log1p.vjp(x=lambda g, x: g / (x + 1.0))
log1p.formula(x="∂out / (x + 1)")
log1p.flops(one_per_output)


@op(method=True, floating=True, numpy=np.expm1)
def expm1(x: Any, /) -> Any:
    """e ** x - 1, exact also where x is small."""
    return np.expm1(x)


expm1.vjp(x=lambda g, out: g * (out + 1.0))
expm1.formula(x="∂out · (out + 1)")
expm1.flops(one_per_output)


@op(method=True, floating=True, numpy=np.log2)
def log2(x: Any, /) -> Any:
    """The logarithm to the base 2; -inf at 0, nan below."""
    return np.log2(x)


log2.vjp(x=lambda g, x: g / (x * _LOG_2))
log2.formula(x="∂out / (x · log 2)")
log2.flops(one_per_output)


@op(method=True, floating=True, numpy=np.log10)
def log10(x: Any, /) -> Any:
    """The logarithm to the base 10; -inf at 0, nan below."""
    return np.log10(x)


log10.vjp(x=lambda g, x: g / (x * _LOG_10))
log10.formula(x="∂out / (x · log 10)")
log10.flops(one_per_output)


@op(method=True, floating=True, numpy=np.exp2)
def exp2(x: Any, /) -> Any:
    """2 ** x."""
    return np.exp2(x)


exp2.vjp(x=lambda g, out: g * out * _LOG_2)
exp2.formula(x="∂out · out · log 2")
exp2.flops(one_per_output)


@op(method=True, floating=True)
def reciprocal(x: Any, /) -> Any:
    """1 / x; +-inf at +-0. Integers become float32."""
    return 1.0 / x


reciprocal.vjp(x=lambda g, out: -g * (out * out))
reciprocal.formula(x="−∂out · out²")
reciprocal.flops(one_per_output)


@op(method=True, floating=True)
def rsqrt(x: Any, /) -> Any:
    """1 / sqrt(x); inf at 0, nan below."""
    return 1.0 / np.sqrt(x)


rsqrt.vjp(x=lambda g, out, x: g * (out / x) * -0.5)
rsqrt.formula(x="−∂out · out / (2 · x)")
rsqrt.flops(lambda out_shape: 2 * one_per_output(out_shape))


@op(method=True, floating=True, numpy=np.tan)
def tan(x: Any, /) -> Any:
    """The tangent of x, in radians."""
    return np.tan(x)


tan.vjp(x=lambda g, out: g * (out * out + 1.0))
tan.formula(x="∂out · (out² + 1)")
tan.flops(one_per_output)


@op(method=("asin", "arcsin"), floating=True, numpy=np.arcsin)
def asin(x: Any, /) -> Any:
    """The angle, in radians, whose sine is x; nan where |x| > 1."""
    return np.arcsin(x)


asin.vjp(x=lambda g, x: g / sqrt(1.0 - x * x))
asin.formula(x="∂out / sqrt(1 − x²)")
asin.flops(one_per_output)


@op(method=("acos", "arccos"), floating=True, numpy=np.arccos)
def acos(x: Any, /) -> Any:
    """The angle, in radians, whose cosine is x; nan where |x| > 1."""
    return np.arccos(x)


acos.vjp(x=lambda g, x: -g / sqrt(1.0 - x * x))
acos.formula(x="−∂out / sqrt(1 − x²)")
acos.flops(one_per_output)


@op(method=("atan", "arctan"), floating=True, numpy=np.arctan)
def atan(x: Any, /) -> Any:
    """The angle, in radians, whose tangent is x."""
    return np.arctan(x)


atan.vjp(x=lambda g, x: g / (x * x + 1.0))
atan.formula(x="∂out / (x² + 1)")
atan.flops(one_per_output)


@op(method=True, floating=True, numpy=np.sinh)
def sinh(x: Any, /) -> Any:
    """The hyperbolic sine, (e ** x - e ** -x) / 2."""
    return np.sinh(x)


@op(method=True, floating=True, numpy=np.cosh)
def cosh(x: Any, /) -> Any:
    """The hyperbolic cosine, (e ** x + e ** -x) / 2."""
    return np.cosh(x)


sinh.vjp(x=lambda g, x: g * cosh(x))
sinh.formula(x="∂out · (exp(x) + exp(−x)) / 2")
sinh.flops(one_per_output)
cosh.vjp(x=lambda g, x: g * sinh(x))
cosh.formula(x="∂out · (exp(x) − exp(−x)) / 2")
cosh.flops(one_per_output)


@op(method=("asinh", "arcsinh"), floating=True, numpy=np.arcsinh)
def asinh(x: Any, /) -> Any:
    """The inverse of sinh, log(x + sqrt(x ** 2 + 1))."""
    return np.arcsinh(x)


asinh.vjp(x=lambda g, x: g / sqrt(x * x + 1.0))
asinh.formula(x="∂out / sqrt(x² + 1)")
asinh.flops(one_per_output)


@op(method=("acosh", "arccosh"), floating=True, numpy=np.arccosh)
def acosh(x: Any, /) -> Any:
    """The inverse of cosh, log(x + sqrt(x ** 2 - 1)); nan below 1. Its gradient at 1 is inf."""
    return np.arccosh(x)


acosh.vjp(x=lambda g, x: g / sqrt(x * x - 1.0))
acosh.formula(x="∂out / sqrt(x² − 1)")
acosh.flops(one_per_output)


@op(method=("atanh", "arctanh"), floating=True, numpy=np.arctanh)
def atanh(x: Any, /) -> Any:
    """The inverse of tanh, log((1 + x) / (1 - x)) / 2; +-inf at +-1, nan outside."""
    return np.arctanh(x)


atanh.vjp(x=lambda g, x: g / (1.0 - x * x))
atanh.formula(x="∂out / (1 − x²)")
atanh.flops(one_per_output)


@op(method=True, floating=True)
def erf(x: Any, /) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t ** 2) from 0 to x."""
    return normal.erf(widened(x)).astype(x.dtype, copy=False)


erf.vjp(x=lambda g, x: g * (exp(-(x * x)) * (2.0 / math.sqrt(math.pi))))
erf.formula(x="∂out · 2 · sqrt(2) · pdf(x · sqrt(2))")
erf.flops(one_per_output)


@asin.sample
@acos.sample
@atanh.sample
def _(draw: Any) -> Any:
    return (np.sin(draw.array(*draw.shape()) * 0.25),), {}


@log1p.sample
@log2.sample
@log10.sample
@rsqrt.sample
@reciprocal.sample
def _(draw: Any) -> Any:
    return (draw.positive(*draw.shape()),), {}


@acosh.sample
def _(draw: Any) -> Any:
    return (draw.positive(*draw.shape()) + 1.0,), {}


@tan.sample
def _(draw: Any) -> Any:
    return (draw.positive(*draw.shape()) - 1.0,), {}


# Rounding


@op(method=True, numpy=np.floor)
def floor(x: Any, /) -> Any:
    """The largest whole number that is not above x. Its gradient is 0."""
    return x.copy() if x.dtype.kind in "biu" else np.floor(x)


@op(method=True, numpy=np.ceil)
def ceil(x: Any, /) -> Any:
    """The smallest whole number that is not below x. Its gradient is 0."""
    return x.copy() if x.dtype.kind in "biu" else np.ceil(x)


@op(method=True, numpy=np.trunc)
def trunc(x: Any, /) -> Any:
    """x without its fraction. Its gradient is 0."""
    return x.copy() if x.dtype.kind in "biu" else np.trunc(x)


@op(method=True, numpy=np.round)
def round(x: Any, /, decimals: int = 0) -> Any:
    """x rounded to `decimals` digits after the point, halves to the even neighbour. Its gradient is 0."""
    return x.copy() if x.dtype.kind == "b" else np.round(x, decimals)


floor.vjp(x=lambda g: mask(g, False))
ceil.vjp(x=lambda g: mask(g, False))
trunc.vjp(x=lambda g: mask(g, False))
round.vjp(x=lambda g: mask(g, False))
for _rounding in (floor, ceil, trunc, round):
    _rounding.formula(x="0")
    _rounding.flops(one_per_output)


@op(operator="floordiv", method=True, broadcast=True, numpy=np.floor_divide)
def floor_divide(x: Any, y: Any, /) -> Any:
    """floor(x / y). Its gradients are 0. Raises ZeroDivisionError for integers over 0."""
    _refuse_zero("floor_divide", x, y)
    return np.floor_divide(x, y)


floor_divide.vjp(x=lambda g: mask(g, False), y=lambda g: mask(g, False))
floor_divide.formula(x="0", y="0")
floor_divide.flops(one_per_output)


@op(operator="mod", method=True, broadcast=True, numpy=np.remainder)
def remainder(x: Any, y: Any, /) -> Any:
    """x - y floor(x / y), of the sign of y, as Python's %. Raises ZeroDivisionError for integers over 0."""
    _refuse_zero("remainder", x, y)
    return np.remainder(x, y)


def _refuse_zero(name: str, x: Any, y: Any) -> None:
    if np.result_type(x, y).kind in "biu" and not np.all(y):
        raise ZeroDivisionError(f"{name}: integers over 0; there is no such whole number, make them float first")


remainder.vjp(x=lambda g: g, y=lambda g, x, y: -g * floor_divide(x, y))
remainder.formula(x="∂out", y="−∂out · (x − out) / y")
remainder.flops(one_per_output)


@round.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.shape()) + 0.02,), {"decimals": draw.choice([0, 1, -1])}  # halves are kinks


@floor_divide.sample
@remainder.sample
def _(draw: Any) -> Any:
    x, y = draw.broadcastable(2)  # x is an odd multiple of 0.1; no quotient by these is whole, where the kinks are
    return (x, draw.rng().choice([0.8, 1.6, -0.8, 3.2], y.shape)), {}
