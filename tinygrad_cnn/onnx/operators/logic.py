"""Comparisons, logic, single bits, and choices made by them."""

import numpy as np

from ...graph import Tensor, wrap
from ...ops import comparison, elementwise
from .axes import common_shape
from .elementwise import of_one, of_two
from .registry import Node, operator

for _name, _function in {
    "And": comparison.logical_and,
    "BitwiseAnd": comparison.bitwise_and,
    "BitwiseOr": comparison.bitwise_or,
    "BitwiseXor": comparison.bitwise_xor,
    "Equal": comparison.eq,
    "Greater": comparison.greater,
    "GreaterOrEqual": comparison.greater_equal,
    "Less": comparison.less,
    "LessOrEqual": comparison.less_equal,
    "Or": comparison.logical_or,
    "Xor": comparison.logical_xor,
}.items():
    operator(_name, first=1)(of_two(_function))

for _name, _function in {
    "BitwiseNot": comparison.bitwise_not,
    "IsNaN": comparison.isnan,
    "Not": comparison.logical_not,
}.items():
    operator(_name, first=1)(of_one(_function))


@operator("IsInf")
def is_infinite(node: Node, x: Tensor) -> Tensor:
    """Where x is infinite, of the signs that are to be detected."""
    above, below = (bool(node.attribute(f"detect_{sign}", 1)) for sign in ("positive", "negative"))
    return wrap(np.asarray((x.array == np.inf) & above | (x.array == -np.inf) & below))


@operator("Where")
def where(node: Node, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition holds, else y."""
    if condition.dtype != np.bool_:
        raise node.fail(f"the condition is {condition.dtype}; booleans are needed")
    common_shape(node, condition, x, y)
    chosen: Tensor = elementwise.where(condition, x, y)
    return chosen


@operator("BitShift")
def shifted(node: Node, x: Tensor, y: Tensor) -> Tensor:
    """The bits of x moved y places to the LEFT or to the RIGHT; those that come in are 0, to the right the sign's."""
    shifts = {"LEFT": np.left_shift, "RIGHT": np.right_shift}
    if (direction := node.attribute("direction")) not in shifts:
        raise node.fail(f"direction is {direction!r}; it can be 'LEFT' or 'RIGHT'")
    if x.dtype.kind not in "iu" or y.dtype.kind not in "iu":
        raise node.fail(f"{x.dtype} by {y.dtype}; integers are needed")
    common_shape(node, x, y)
    return wrap(np.asarray(shifts[direction](x.array, y.array.astype(x.dtype, copy=False))))  # also beyond all bits
