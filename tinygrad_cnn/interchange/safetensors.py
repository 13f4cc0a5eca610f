"""Save and load named arrays in the safetensors format."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors import numpy as safetensors_numpy

from ..graph import Array, Tensor, wrap
from .atomic import replace_file

__all__ = ["CheckpointError", "load", "save"]

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}

_deserialize: Any = deserialize


class CheckpointError(Exception):
    """A file whose content cannot be read: cut off, damaged, of another format, or with a dtype unknown here."""


def save(state_dict: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write names and values (Tensors or arrays) to `path`, replacing a file there in one step.

    If anything fails the old file stays and the temporary one is removed. A file that is replaced keeps its
    permissions; through a symbolic link the file that it names is written. What crashed processes left of earlier
    saves to the same path is swept first.

    Raises TypeError for a key that is no string or a value that is no number array, and OSError if the file cannot be
    written.
    """
    replace_file(path, encoded(state_dict))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The names and values in a safetensors file, each Tensor in memory of its own.

    Raises CheckpointError if the content cannot be read, and OSError if the file cannot.
    """
    return decoded(Path(path).read_bytes(), path)


def encoded(state_dict: Mapping[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file."""
    content: bytes = safetensors_numpy.save(storable(state_dict), metadata)
    return content


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata in the bytes of a file that `decoded` can read."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__", {}))


def decoded(content: bytes, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The names and values in the bytes of a file; `path` is its name in errors."""
    try:
        entries = _deserialize(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file of {len(content)} bytes: {error}") from error
    del content
    state: dict[str, Tensor] = {}
    while entries:
        name, entry = entries.pop()
        if entry["dtype"] not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise CheckpointError(
                f"{path}: {name!r} has the dtype {entry['dtype']}, which NumPy lacks; known are {known}"
            )
        dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
        try:
            array = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
        except ValueError as error:
            raise CheckpointError(f"{path}: {name!r} cannot have the shape {entry['shape']}: {error}") from error
        state[name] = wrap(array.astype(dtype.newbyteorder("=")))
    return dict(sorted(state.items()))


def storable(state_dict: Any) -> dict[str, Array]:
    """Arrays as the format stores them: row-major, native byte order (the library swaps where that is big-endian)."""
    if not isinstance(state_dict, Mapping):
        remedy = "; pass its state_dict()" if hasattr(state_dict, "state_dict") else ""
        raise TypeError(f"save: a {type(state_dict).__name__} was given; a dict of name -> Tensor is needed{remedy}")
    arrays = {}
    for name, value in state_dict.items():
        array = value.array if isinstance(value, Tensor) else value
        if not isinstance(name, str):
            raise TypeError(f"save: the key {name!r} is a {type(name).__name__}; a string is needed")
        if name == "__metadata__":
            raise ValueError("save: the key '__metadata__' is reserved by the format; choose another name")
        if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind not in "biuf" or array.itemsize > 8:
            kind = array.dtype if isinstance(array, (np.ndarray, np.generic)) else type(value).__name__
            raise TypeError(f"save: {name!r} is {kind}; a Tensor or an array of numbers is needed")
        arrays[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return arrays
