"""Which element types come in, and what two of them become together (PyTorch's rules)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
bool_, uint8, int8 = np.dtype(np.bool_), np.dtype(np.uint8), np.dtype(np.int8)
int16, int32, int64 = np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64)
half, double, short, long = float16, float64, int16, int64  # PyTorch's other names
default_float = float32  # what Python floats, and integers under a floating op, become

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def as_array(data: Any, dtype: Any = None) -> Array:
    """A fresh native-endian array of `data`. Lists of Python floats become float32; arrays keep their dtype.

    Raises TypeError for anything that does not become a bool, integer or float array.
    """
    try:
        with np.errstate(all="ignore"):
            array = np.array(data, dtype=dtype, order="C")
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(
                f"Tensor: the nested lists are ragged ({error}); every row needs the same length"
            ) from None
        raise ValueError(f"Tensor: {_shown(data)} cannot be {np.dtype(dtype)} numbers ({error})") from None
    if array.dtype.kind not in _RANK or array.dtype.itemsize > 8:
        raise TypeError(
            f"Tensor: {array.dtype} data cannot be a Tensor; it needs bool, integer or float numbers of up to 64 bits"
        )
    if dtype is None and array.dtype == float64 and _is_python(data):
        with np.errstate(all="ignore"):
            array = array.astype(default_float)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def element_type(name: str, dtype: Any) -> np.dtype[Any]:
    """`dtype` as a Tensor can have it, in the machine's byte order. Raises TypeError in the name of `name`."""
    wanted: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if wanted.kind not in _RANK or wanted.itemsize > 8:
        raise TypeError(f"{name}: dtype {wanted}; it can be bool, an integer or a float of up to 64 bits")
    return wanted


def _shown(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_python(data: Any) -> bool:
    while isinstance(data, (list, tuple)):
        if not data:
            return True
        data = data[0]
    return type(data) in (float, int, bool)


def promote(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of arrays `a` and `b` together: a float is never widened by an integer (float32 + int64 = float32)."""
    if _rank(a) == _rank(b):
        return np.promote_types(a, b)
    return a if _rank(a) > _rank(b) else b


def _rank(dtype: np.dtype[Any]) -> int:
    return _RANK.get(dtype.kind, 3)  # object arrays (exact checks) stay what they are


def common_dtype(operands: Iterable[Any]) -> np.dtype[Any]:
    """PyTorch's result type: arrays decide; 0-d arrays, then Python scalars, only raise the category.

    >>> common_dtype([np.ones(2, np.float32), np.float64(3.0)])
    dtype('float32')
    """
    groups: list[np.dtype[Any] | None] = [None, None, None]
    for value in operands:
        if isinstance(value, np.ndarray):
            level, dtype = (0 if value.ndim else 1), value.dtype
        elif isinstance(value, (bool, np.bool_)):
            level, dtype = 2, np.dtype(np.bool_)
        elif isinstance(value, (int, np.integer)):
            level, dtype = 2, np.dtype(np.int64)
        else:
            level, dtype = 2, default_float
        known = groups[level]
        groups[level] = dtype if known is None else promote(known, dtype)
    result: np.dtype[Any] | None = None
    for group in groups:
        if group is not None and (result is None or _rank(group) > _rank(result)):
            result = group
    if result is None:
        raise TypeError("common_dtype needs at least one operand")
    return result
