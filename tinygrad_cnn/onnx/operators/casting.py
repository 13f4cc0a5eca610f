"""From one element type to another."""

from typing import Any

import numpy as np

from ...basics import cast
from ...graph import Tensor, wrap
from .. import values
from .registry import Node, operator

_NAMES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "BOOL": 9}
_NAMES |= {"FLOAT16": 10, "DOUBLE": 11, "UINT32": 12, "UINT64": 13}  # as they were written before opset 6


def dtype_of(node: Node, attribute: str, default: np.dtype[Any]) -> np.dtype[Any]:
    """The element type that an attribute names by number, before opset 6 by name.

    Raises OnnxError for one that ONNX does not have, OnnxUnsupported for one that no Tensor can hold.
    """
    value = node.attribute(attribute)
    if value is None:
        return default
    number = _NAMES.get(value.upper(), 0) if isinstance(value, str) else value
    return values.dtype_of(number, f"{node.op_type} {node.name!r}: the attribute {attribute!r}")


@operator("Identity")
def identity(node: Node, x: Tensor) -> Tensor:
    """x itself."""
    return x


def _converted(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    return x if x.dtype == dtype else cast(x, dtype)


@operator("Cast", first=1)
def converted(node: Node, x: Tensor) -> Tensor:
    """x in another element type; floats lose their fraction on the way to integers."""
    if node.attribute("to") is None:
        raise node.fail("the attribute 'to' is missing; it says the element type")
    return _converted(x, dtype_of(node, "to", x.dtype))


@operator("CastLike")
def converted_like(node: Node, x: Tensor, like: Tensor) -> Tensor:
    """x in the element type of another Tensor."""
    return _converted(x, like.dtype)


@operator("BitCast")
def reinterpreted(node: Node, x: Tensor) -> Tensor:
    """The bits of x read as another element type of the same size."""
    if node.attribute("to") is None:
        raise node.fail("the attribute 'to' is missing; it says the element type")
    dtype = dtype_of(node, "to", x.dtype)
    if dtype.itemsize != x.dtype.itemsize:
        raise node.fail(f"{x.dtype} cannot be read as {dtype}; they need the same number of bits")
    return wrap(x.array.copy().view(dtype))
