"""Axes, and shapes that broadcast together, as a node gives them."""

from collections.abc import Sequence

from ...graph import Tensor
from ...shapes import ShapeError, broadcast_shape
from .registry import Node


def axis_of(node: Node, axis: int, ndim: int) -> int:
    """An axis counted from 0. Raises OnnxError for one that is not there."""
    if not -ndim <= axis < ndim:
        raise node.fail(f"axis {axis} of a Tensor of {ndim} axes; -{ndim} to {ndim - 1} are possible")
    return axis % ndim


def axes_of(node: Node, axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Different axes counted from 0, in the order given. Raises OnnxError for one that is not there or comes twice."""
    found = tuple(axis_of(node, axis, ndim) for axis in axes)
    if len(set(found)) < len(found):
        raise node.fail(f"axes {tuple(axes)} of a Tensor of {ndim} axes; each may be named once")
    return found


def given(node: Node, name: str, value: Tensor | None, since: int) -> tuple[int, ...] | None:
    """The integers of an attribute that is an input since an opset: from where this node has them, or None."""
    if node.opset >= since:
        return node.integers(value, name)
    numbers = node.attribute(name)
    return None if numbers is None else tuple(int(number) for number in numbers)


def common_shape(node: Node, *xs: Tensor) -> tuple[int, ...]:
    """The shape of Tensors that broadcast together, if it is allowed."""
    try:
        shape = broadcast_shape(*(x.shape for x in xs), op=node.op_type)
    except ShapeError as error:
        raise node.fail(str(error).removeprefix(f"{node.op_type}: ")) from None
    node.allow(shape, max(x.array.itemsize for x in xs))
    return shape
