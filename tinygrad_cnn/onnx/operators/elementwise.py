"""Arithmetic and the elementary functions."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ...basics import add, cast
from ...graph import Tensor, wrap
from ...ops import elementary, elementwise
from ...ops.elementwise import abs, clip, div, maximum, minimum, mul, neg, pow, sub, where
from ...ops.layout import reshape
from .axes import axis_of, common_shape
from .registry import Node, operator

Function = Callable[..., Any]


def of_one(function: Function) -> Callable[[Node, Tensor], Tensor]:
    """The operator of one input that is a function of the package."""

    def run(node: Node, x: Tensor) -> Tensor:
        y: Tensor = function(x)
        return y

    return run


for _name, _function in {
    "Abs": abs,
    "Acos": elementary.acos,
    "Acosh": elementary.acosh,
    "Asin": elementary.asin,
    "Asinh": elementary.asinh,
    "Atan": elementary.atan,
    "Atanh": elementary.atanh,
    "Ceil": elementary.ceil,
    "Cos": elementwise.cos,
    "Cosh": elementary.cosh,
    "Erf": elementary.erf,
    "Exp": elementwise.exp,
    "Floor": elementary.floor,
    "Log": elementwise.log,
    "Neg": neg,
    "Reciprocal": elementary.reciprocal,
    "Round": elementary.round,
    "Sign": elementwise.sign,
    "Sin": elementwise.sin,
    "Sinh": elementary.sinh,
    "Sqrt": elementwise.sqrt,
    "Tan": elementary.tan,
}.items():
    operator(_name, first=1)(of_one(_function))


def lined_up(node: Node, x: Tensor, y: Tensor) -> Tensor:
    """y with axes of length one behind where, before opset 7, an attribute says at which axis of x it begins.

    Raises OnnxError for shapes that do not broadcast, or, before opset 7, differ without the attribute `broadcast`.
    """
    if node.opset < 7:
        if not node.attribute("broadcast", 0):
            if x.shape != y.shape:
                raise node.fail(f"shapes {x.shape} and {y.shape}; before opset 7 they only broadcast with broadcast=1")
        elif (axis := node.attribute("axis")) is not None and y.ndim:
            behind = x.ndim - axis_of(node, axis, x.ndim) - y.ndim
            if behind < 0:
                raise node.fail(f"shape {y.shape} does not fit into {x.shape} from axis {axis} on")
            y = reshape(y, (*y.shape, *(1,) * behind))
    common_shape(node, x, y)
    return y


def of_two(function: Function) -> Callable[[Node, Tensor, Tensor], Tensor]:
    """The operator of two inputs that broadcast and is a function of the package."""

    def run(node: Node, x: Tensor, y: Tensor) -> Tensor:
        z: Tensor = function(x, lined_up(node, x, y))
        return z

    return run


operator("Add", first=1)(of_two(add))
operator("Sub", first=1)(of_two(sub))
operator("Mul", first=1)(of_two(mul))


def _whole(node: Node, ufunc: np.ufunc, x: Tensor, y: Tensor) -> Tensor:
    """A quotient or a rest of integers. Raises OnnxError over 0."""
    if not y.array.all():
        raise node.fail("integers over 0; there is no such whole number")
    with np.errstate(all="ignore"):  # the smallest integer over -1 is too large by one
        return wrap(np.asarray(ufunc(x.array, y.array)))


@operator("Div", first=1)
def divide(node: Node, x: Tensor, y: Tensor) -> Tensor:
    """x / y; of integers without the fraction, towards zero."""
    y = lined_up(node, x, y)
    if x.dtype.kind == "f":
        return div(x, y)
    floors, rests = _whole(node, np.floor_divide, x, y), _whole(node, np.remainder, x, y)
    up = (rests.array != 0) & ((x.array < 0) != (y.array < 0))
    return wrap(np.asarray(floors.array + up.astype(x.dtype)))


@operator("Mod")
def modulo(node: Node, x: Tensor, y: Tensor) -> Tensor:
    """The rest of x / y: of the sign of y, or with fmod=1 of the sign of x."""
    truncates = bool(node.attribute("fmod", 0))
    y = lined_up(node, x, y)
    if x.dtype.kind != "f":
        return _whole(node, np.fmod if truncates else np.remainder, x, y)
    if not truncates:
        return elementary.remainder(x, y)
    below = np.asarray(x.array < 0)
    rest = elementary.remainder(where(below, neg(x), x), abs(y))
    z: Tensor = where(below, neg(rest), rest)
    return z


@operator("Pow", first=1)
def power(node: Node, x: Tensor, y: Tensor) -> Tensor:
    """x to the power of y, of the dtype of x."""
    y = lined_up(node, x, y)
    if x.dtype.kind != "f" and (y.dtype.kind == "f" or (y.array < 0).any()):
        return cast(pow(cast(x, np.dtype(np.float64)), cast(y, np.dtype(np.float64))), x.dtype)
    z = pow(x, y)
    return z if z.dtype == x.dtype else cast(z, x.dtype)


def _of_several(function: Function) -> Callable[..., Tensor]:
    def run(node: Node, *xs: Tensor) -> Tensor:
        common_shape(node, *xs)
        y: Tensor = reduce(function, xs)
        return y

    return run


operator("Max", first=1)(_of_several(maximum))
operator("Min", first=1)(_of_several(minimum))
operator("Sum", first=1)(_of_several(add))


@operator("Mean", first=1)
def mean(node: Node, *xs: Tensor) -> Tensor:
    """The mean of Tensors that broadcast together."""
    common_shape(node, *xs)
    return div(reduce(add, xs), float(len(xs)))


def _bound(node: Node, name: str, value: Tensor | None) -> Tensor | None:
    if value is None or value.ndim == 0:
        return value
    if value.array.size != 1:
        raise node.fail(f"{name} has shape {value.shape}; one number is needed")
    return reshape(value, ())


@operator("Clip", first=1)
def clipped(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """x within bounds: attributes before opset 11, inputs since."""
    bounds: list[Any] = [_bound(node, "min", low), _bound(node, "max", high)]
    if node.opset < 11:
        bounds = [node.attribute("min"), node.attribute("max")]
    low, high = bounds
    if any(isinstance(bound, Tensor) and bound.requires_grad for bound in bounds):
        y = x if low is None else maximum(x, low, ties="first")
        return y if high is None else minimum(y, high, ties="first")
    return x if low is None and high is None else clip(x, low, high)
