"""The pickled batches of CIFAR, read without running what a pickle can run.

A pickle is a program. Its instructions are looked through first, and only those that build numbers, strings, lists and
dicts are let pass; the few functions that a NumPy array is pickled by are replaced by records of what they were given,
so that not even NumPy's own code works on what the file says.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

__all__ = ["read_batch"]

INSTRUCTIONS = frozenset(
    ["PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG",
     "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE",
     "UNICODE", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
     "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "PUT", "BINPUT",
     "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"]
)  # fmt: skip
MOST_REMEMBERED = 2**20  # pickle takes memory for the highest number under which anything is remembered
MOST_BYTES = 2**29


class _Given:
    """What a function was called with, and the state that was set afterwards."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Given):
    """What numpy.dtype was called with."""


class _Array(_Given):
    """What numpy's _reconstruct was called with; the state has the numbers."""


def _encoded(text: Any = "", encoding: Any = "") -> bytes:
    """How Python 3 pickles bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes that are not encoded in latin1")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Given,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encoded,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which may run anything") from None


def read_batch(path: Path) -> dict[str, Any]:
    """The dict in a pickle of strings, numbers, lists and arrays of bytes, its keys as str.

    Raises DatasetError for a pickle that holds, or could run, anything else, and for a damaged one.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DatasetError(f"read_batch: {path} has {size} bytes; a batch of CIFAR has less than {MOST_BYTES}")
    content = path.read_bytes()
    try:
        _look_through(content)
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
        return {_text(key): _value(value) for key, value in found.items()}
    # A damaged pickle can raise nearly any error.
    except Exception as error:
        raise DatasetError(
            f"read_batch: {path}: {error}; it needs a pickled dict of strings, lists and arrays of bytes, "
            "as CIFAR comes; fetch it again"
        ) from error


def _look_through(content: bytes) -> None:
    """Raises ValueError for instructions that no batch needs, and for anything behind the last."""
    import pickletools  # 2 ms of the package's import

    stream = io.BytesIO(content)
    for instruction, argument, position in pickletools.genops(stream):
        if instruction.name not in INSTRUCTIONS:
            raise ValueError(f"the instruction {instruction.name} at byte {position} is not allowed")
        remembers = instruction.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if remembers and not (isinstance(argument, int) and 0 <= argument < MOST_REMEMBERED):
            raise ValueError(f"it remembers a value under the number {argument}")
    if stream.tell() != len(content):
        raise ValueError(f"{len(content) - stream.tell()} bytes stand behind its end")


def _text(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("latin1")
    if not isinstance(key, str):
        raise ValueError(f"a key is a {type(key).__name__}")
    return key


def _value(value: Any) -> Any:
    if isinstance(value, _Array):
        return _bytes_array(value)
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, list):
        return [_text(item) if isinstance(item, bytes) else item for item in value]
    return value


def _bytes_array(array: _Array) -> NDArray[np.uint8]:
    """The array of bytes that a record of a pickled array describes."""
    # (version, shape, dtype, is in Fortran's order, numbers)
    if not isinstance(array.state, tuple) or len(array.state) != 5:
        raise ValueError("an array without its numbers")
    _, shape, dtype, fortran, numbers = array.state
    if not isinstance(dtype, _Dtype) or dtype.arguments[:1] not in (("u1",), (b"u1",)):
        raise ValueError("an array that is not of bytes")
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array of shape {shape!r}")
    if not isinstance(numbers, bytes):
        raise ValueError(f"an array whose numbers are a {type(numbers).__name__}")
    return np.frombuffer(numbers, np.uint8).reshape(shape, order="F" if fortran else "C")
