"""Comparisons and logic: booleans, through which no gradient flows."""

from typing import Any

import numpy as np

from ..flops import one_per_input, one_per_output
from ..graph import Tensor, method, wrap
from ..primitive import op
from ..shapes import broadcast_shape, normalize_axes
from .elementwise import array_of

__all__ = [
    "all",
    "allclose",
    "any",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
]


@op(method=("gt", "greater"), numpy=np.greater, broadcast=True)
def greater(x: Any, y: Any, /) -> Any:
    """x > y, as booleans."""
    return np.greater(x, y)


@op(method=("ge", "greater_equal"), numpy=np.greater_equal, broadcast=True)
def greater_equal(x: Any, y: Any, /) -> Any:
    """x >= y, as booleans."""
    return np.greater_equal(x, y)


@op(method=("lt", "less"), numpy=np.less, broadcast=True)
def less(x: Any, y: Any, /) -> Any:
    """x < y, as booleans."""
    return np.less(x, y)


@op(method=("le", "less_equal"), numpy=np.less_equal, broadcast=True)
def less_equal(x: Any, y: Any, /) -> Any:
    """x <= y, as booleans."""
    return np.less_equal(x, y)


@op(method="eq", numpy=np.equal, broadcast=True)
def eq(x: Any, y: Any, /) -> Any:
    """x == y, elementwise, as booleans."""
    return np.equal(x, y)


@op(method=("ne", "not_equal"), numpy=np.not_equal, broadcast=True)
def not_equal(x: Any, y: Any, /) -> Any:
    """x != y, elementwise, as booleans."""
    return np.not_equal(x, y)


@op(method=True, numpy=np.isnan)
def isnan(x: Any, /) -> Any:
    """Where x is nan, as booleans."""
    return np.isnan(x)


@op(method=True, numpy=np.isfinite)
def isfinite(x: Any, /) -> Any:
    """Where x is neither nan nor infinite, as booleans."""
    return np.isfinite(x)


@op(method=True, numpy=np.isinf)
def isinf(x: Any, /) -> Any:
    """Where x is infinite, of either sign, as booleans."""
    return np.isinf(x)


@op(operator="invert", method=True, numpy=np.invert)
def bitwise_not(x: Any, /) -> Any:
    """~x: not x of booleans, the complement -x - 1 of integers. Raises TypeError for floats."""
    return _bitwise(np.invert, x)


@op(operator="and", method=True, broadcast=True, numpy=np.bitwise_and)
def bitwise_and(x: Any, y: Any, /) -> Any:
    """x & y, of booleans or of the bits of integers. Raises TypeError for floats."""
    return _bitwise(np.bitwise_and, x, y)


@op(operator="or", method=True, broadcast=True, numpy=np.bitwise_or)
def bitwise_or(x: Any, y: Any, /) -> Any:
    """x | y, of booleans or of the bits of integers. Raises TypeError for floats."""
    return _bitwise(np.bitwise_or, x, y)


@op(operator="xor", method=True, broadcast=True, numpy=np.bitwise_xor)
def bitwise_xor(x: Any, y: Any, /) -> Any:
    """x ^ y, of booleans or of the bits of integers. Raises TypeError for floats."""
    return _bitwise(np.bitwise_xor, x, y)


def _bitwise(ufunc: np.ufunc, *xs: Any) -> Any:
    if not {np.asarray(x).dtype.kind for x in xs} <= set("biu"):
        kinds = " and ".join(str(np.asarray(x).dtype) for x in xs)
        raise TypeError(f"{ufunc.__name__}: of {kinds} there are no bits; compare first, as in (x > 0) & (y > 0)")
    return ufunc(*xs)


@op(method=True, numpy=np.logical_not)
def logical_not(x: Any, /) -> Any:
    """Where x is zero or False, as booleans."""
    return np.logical_not(x)


@op(method=True, numpy=np.logical_and, broadcast=True)
def logical_and(x: Any, y: Any, /) -> Any:
    """Where neither x nor y is zero or False, as booleans."""
    return np.logical_and(x, y)


@op(method=True, numpy=np.logical_or, broadcast=True)
def logical_or(x: Any, y: Any, /) -> Any:
    """Where x or y is not zero or False, as booleans."""
    return np.logical_or(x, y)


@op(method=True, numpy=np.logical_xor, broadcast=True)
def logical_xor(x: Any, y: Any, /) -> Any:
    """Where one of x and y, but not both, is not zero or False, as booleans."""
    return np.logical_xor(x, y)


for _comparison in (greater, greater_equal, less, less_equal, eq, not_equal):
    _comparison.vjp(x=None, y=None)
    _comparison.flops(one_per_output)


@bitwise_and.sample
@bitwise_or.sample
@bitwise_xor.sample
def _(draw: Any) -> Any:
    return (draw.booleans(2, 3), draw.booleans(3)), {}


@bitwise_not.sample
def _(draw: Any) -> Any:
    return (draw.booleans(2, 3),), {}


for _of_two in (bitwise_and, bitwise_or, bitwise_xor, logical_and, logical_or, logical_xor):
    _of_two.vjp(x=None, y=None)
    _of_two.flops(one_per_output)
for _of_one in (bitwise_not, logical_not, isnan, isfinite, isinf):
    _of_one.vjp(x=None)
    _of_one.flops(one_per_output)

for _name, _comparison in {"__gt__": greater, "__ge__": greater_equal, "__lt__": less, "__le__": less_equal}.items():
    method(_name)(_comparison)

gt, ge, lt, le, ne = greater, greater_equal, less, less_equal, not_equal


@op(method=True, numpy=np.any)
def any(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether x holds, or is not zero, somewhere along `axis`; False over nothing. nan is not zero."""
    return np.any(x, axis=normalize_axes(axis, x.ndim, "any"), keepdims=keepdims)


@op(method=True, numpy=np.all)
def all(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether x holds, or is not zero, everywhere along `axis`; True over nothing. nan is not zero."""
    return np.all(x, axis=normalize_axes(axis, x.ndim, "all"), keepdims=keepdims)


for _reduction in (any, all):
    _reduction.vjp(x=None)
    _reduction.flops(one_per_input)


@any.sample
@all.sample
def _(draw: Any) -> Any:
    axis = draw.choice([None, 0, 1, -1, (0, 2), ()])
    return (draw.booleans(2, 3, 4),), {"axis": axis, "keepdims": draw.choice([False, True])}


@method
def isclose(x: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where |x - other| <= atol + rtol |other|, as booleans; infinities are close to themselves alone."""
    return wrap(_close("isclose", x, other, rtol, atol, equal_nan))


@method
def allclose(x: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere."""
    return bool(_close("allclose", x, other, rtol, atol, equal_nan).all())


def _close(name: str, x: Any, other: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    a, b = array_of(x), array_of(other)
    broadcast_shape(np.shape(a), np.shape(b), op=name)
    return np.asarray(np.isclose(a, b, rtol, atol, equal_nan))


@method
def equal(x: Any, other: Any) -> bool:
    """Whether two Tensors have the same shape and the same values; nan equals nothing. Elementwise it is x == other."""
    return bool(np.array_equal(array_of(x), array_of(other)))


def _comparable(x: Any) -> bool:
    return isinstance(x, (Tensor, np.ndarray, np.generic, bool, int, float))


@method("__eq__")
def _eq(x: Tensor, y: object) -> Any:
    return eq(x, y) if _comparable(y) else NotImplemented


@method("__ne__")
def _ne(x: Tensor, y: object) -> Any:
    return not_equal(x, y) if _comparable(y) else NotImplemented
