"""From one element type to another."""

from typing import Any

import numpy as np

from ...basics import cast
from ...graph import Tensor, wrap
from .registry import Node, operator

# The element types of TensorProto.DataType that a Tensor can hold, by their numbers.
DTYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
        13: "uint64",
    }.items()
}
_NAMES = {"FLOAT": 1, "DOUBLE": 11} | {
    name: number for number, dtype in DTYPES.items() if number not in (1, 11) for name in (dtype.name.upper(),)
}


def dtype_of(node: Node, attribute: str, default: np.dtype[Any]) -> np.dtype[Any]:
    """The element type that an attribute names by number, before opset 6 by name. Raises OnnxError for another."""
    value = node.attribute(attribute)
    if value is None:
        return default
    number = _NAMES.get(value.upper()) if isinstance(value, str) else value
    if number not in DTYPES:
        raise node.fail(
            f"{attribute} is the element type {value}, which no Tensor can hold; "
            "bool, integers and floats of 16 to 64 bits are possible"
        )
    return DTYPES[number]


@operator("Identity")
def identity(node: Node, x: Tensor) -> Tensor:
    """x itself."""
    return x


def _converted(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    return x if x.dtype == dtype else cast(x, dtype)


@operator("Cast")
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
