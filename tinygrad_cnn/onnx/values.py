"""Tensors, types and attributes as a file holds them, made arrays and plain values.

Sizes are compared before memory is asked for. Nothing is ever read from outside the file.
Source: onnx.proto, messages TensorProto, ValueInfoProto and AttributeProto.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Array, Tensor
from .errors import OnnxError, OnnxUnsupported

__all__ = ["Value", "array_of_tensor", "attribute_value", "shown", "value_of_info"]

MOST_AXES = 32
MOST_ELEMENTS = 2**48  # of the axes that are not empty, beside an empty one

# number of the data type -> its dtype, the field of numbers that may hold it instead of raw_data
_DTYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_data"),
    2: (np.dtype("u1"), "int32_data"),
    3: (np.dtype("i1"), "int32_data"),
    4: (np.dtype("<u2"), "int32_data"),
    5: (np.dtype("<i2"), "int32_data"),
    6: (np.dtype("<i4"), "int32_data"),
    7: (np.dtype("<i8"), "int64_data"),
    9: (np.dtype("?"), "int32_data"),
    10: (np.dtype("<f2"), "int32_data"),
    11: (np.dtype("<f8"), "double_data"),
    12: (np.dtype("<u4"), "uint64_data"),
    13: (np.dtype("<u8"), "uint64_data"),
}
_OTHER = {8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16"}  # known to ONNX, not to the engine
_LAST_KNOWN = 26
_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


@dataclass(frozen=True)
class Value:
    """An input or output of a network: its name, and its dtype and shape as far as they are said."""

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None


def shown(name: str) -> str:
    """A name of a file in quotes, cut to a length that fits in a line."""
    text = repr(name[:60])
    return text if len(name) <= 60 else f"{text}... of {len(name)} characters"


def dtype_of(number: int, what: str) -> np.dtype[Any]:
    """The native dtype of a data type's number."""
    if number in _DTYPES:
        return _DTYPES[number][0].newbyteorder("=")
    if 0 < number <= _LAST_KNOWN:
        kind = _OTHER.get(number, f"of data type {number}")
        raise OnnxUnsupported(f"{what} is {kind}; bool, integers and floats of 16 to 64 bits are supported")
    raise OnnxError(f"{what} has the data type {number}, which ONNX does not have")


def array_of_tensor(proto: Any, what: str) -> Array:
    """The array of a TensorProto.

    Raises OnnxError for data outside the file, for sizes that are not those of the data, and for data said twice.
    """
    if proto.data_location or len(proto.external_data):
        raise OnnxError(
            f"{what} keeps its numbers outside the file (external data), where nothing is ever read; "
            "save the model as one file"
        )
    if proto.HasField("segment"):
        raise OnnxUnsupported(f"{what} is a segment of a tensor; whole tensors are needed")
    dtype = dtype_of(proto.data_type, what)
    shape = tuple(proto.dims)
    _check_shape(shape, what)
    n = math.prod(shape)
    held = [name for name in _FIELDS if (proto.HasField(name) if name == "raw_data" else len(getattr(proto, name)))]
    if len(held) > 1:
        raise OnnxError(f"{what} says its numbers twice, in {' and '.join(held)}")
    little, field = _DTYPES[proto.data_type]
    if held == ["raw_data"]:
        raw = proto.raw_data
        if len(raw) != n * dtype.itemsize:
            raise OnnxError(
                f"{what} of shape {shape} needs {n * dtype.itemsize} bytes of {dtype}, its data has {len(raw)}"
            )
        if dtype == np.bool_:
            return np.frombuffer(raw, np.uint8).reshape(shape).astype(np.bool_)
        return np.frombuffer(raw, little).astype(dtype).reshape(shape)
    if held and held != [field]:
        raise OnnxError(f"{what} of {dtype} has its numbers in {held[0]}; they belong in {field} or raw_data")
    numbers = getattr(proto, field)
    if len(numbers) != n:
        raise OnnxError(f"{what} of shape {shape} needs {n} numbers, its data has {len(numbers)}")
    return _typed(numbers, dtype, what).reshape(shape)


def _check_shape(shape: tuple[int, ...], what: str) -> None:
    if len(shape) > MOST_AXES:
        raise OnnxError(f"{what} has {len(shape)} axes; at most {MOST_AXES} are supported")
    if min(shape, default=0) < 0:
        raise OnnxError(f"{what} has the shape {shape}; no size may be negative")
    if math.prod(n for n in shape if n) > MOST_ELEMENTS:
        raise OnnxError(f"{what} has the shape {shape}, more than 2**48 elements")


def _typed(numbers: Any, dtype: np.dtype[Any], what: str) -> Array:
    if dtype == np.float16:  # its bits, as ONNX has it
        bits = np.array(numbers, np.int64)
        _check_range(bits, 0, 65535, dtype, what)
        return bits.astype(np.uint16).view(np.float16)
    if dtype.kind == "f":
        return np.array(numbers, dtype)
    if dtype.itemsize == 8:
        return np.array(numbers, dtype)
    wide = np.array(numbers, np.uint64 if dtype == np.uint32 else np.int64)
    low, high = (0, 1) if dtype == np.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    _check_range(wide, low, high, dtype, what)
    return wide.astype(dtype)


def _check_range(numbers: Array, low: int, high: int, dtype: np.dtype[Any], what: str) -> None:
    if numbers.size and (numbers.min() < low or numbers.max() > high):
        wrong = numbers.min() if numbers.min() < low else numbers.max()
        raise OnnxError(f"{what} of {dtype} holds the number {wrong}; {low} to {high} are possible")


def value_of_info(info: Any, what: str) -> Value:
    """The name, dtype and shape that a ValueInfoProto says."""
    kind = info.type.WhichOneof("value")
    if kind is None:
        return Value(info.name, None, None)
    if kind != "tensor_type":
        raise OnnxUnsupported(f"{what} is a {kind.removesuffix('_type')}; only tensors are supported")
    tensor = info.type.tensor_type
    dtype = dtype_of(tensor.elem_type, what)
    if not tensor.HasField("shape"):
        return Value(info.name, dtype, None)
    if len(tensor.shape.dim) > MOST_AXES:
        raise OnnxError(f"{what} has {len(tensor.shape.dim)} axes; at most {MOST_AXES} are supported")
    shape: list[int | str | None] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value"):
            if dim.dim_value < 0:
                raise OnnxError(f"{what} has an axis of length {dim.dim_value}; no size may be negative")
            shape.append(int(dim.dim_value))
        else:
            shape.append(str(dim.dim_param) or None)
    return Value(info.name, dtype, tuple(shape))


def attribute_value(proto: Any, what: str) -> Any:
    """The value of an AttributeProto: a number, text, a list of them, or a Tensor."""
    kinds = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
    if proto.type in (5, 10):
        raise OnnxUnsupported(f"{what} is a graph; operators that run graphs (If, Loop, Scan) are not supported")
    if proto.type not in kinds:
        raise OnnxUnsupported(f"{what} has the attribute type {proto.type}; numbers, texts and tensors are supported")
    value = getattr(proto, kinds[proto.type])
    if proto.type == 1:
        return float(value)
    if proto.type == 2:
        return int(value)
    if proto.type == 3:
        return _text(value, what)
    if proto.type == 4:
        return Tensor(array_of_tensor(value, what))
    return [_text(text, what) for text in value] if proto.type == 8 else list(value)


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise OnnxError(f"{what} is not UTF-8") from None
