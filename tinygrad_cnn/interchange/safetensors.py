"""Save and load named arrays in the safetensors format, which PyTorch and others read too.

The file is written here, for the library's own writer stores Fortran-ordered and strided arrays in the wrong order,
puts metadata in another order every time, and lets files through that were damaged or say two things.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Tensor, wrap
from .atomic import replace_file
from .digest import KEY, digest
from .errors import CheckpointError
from .foreign import HEAD, conversion
from .header import DTYPES, METADATA, MOST_BYTES, Entry, parsed, written

__all__ = ["load", "save"]

_CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}


class Content(NamedTuple):
    """What a file holds."""

    state: dict[str, Tensor]
    metadata: dict[str, str]
    is_checked: bool  # whether it had a digest, which was right


def save(state_dict: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write names and values (Tensors or arrays) to `path`, replacing a file there in one step.

    Arrays of any layout and byte order are stored row by row; a digest of all of it is stored with them. If anything
    fails the old file stays and the temporary one is removed. A file that is replaced keeps its permissions; through a
    symbolic link the file that it names is written. What crashed processes left of earlier saves to the same path is
    swept first.

    Raises TypeError for a key that is no string or a value that is no number array, ValueError for a key that the
    format has no room for, and OSError if the file cannot be written.
    """
    write(state_dict, path)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The names and values in a safetensors file, each Tensor in memory of its own.

    A file with a digest, as `save` writes it, is held against it; one without, from others, is read all the same.
    Raises CheckpointError if the content cannot be read, with the line that converts it for .pt files, pickles and
    .npz, none of which is opened; OSError if the file cannot be read.
    """
    return read(path).state


def write(
    state_dict: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """`save`, with metadata beside its own."""
    stored = _stored(state_dict)
    metadata = {"format": "pt", **(metadata or {})}
    metadata[KEY] = digest(metadata, ((name, code, shape, data) for name, (code, shape, data) in stored.items()))
    entries, end = {}, 0
    # The widest first, so that all numbers are aligned in the file.
    for name in sorted(stored, key=lambda name: (-np.dtype(DTYPES[stored[name][0]]).itemsize, name)):
        code, shape, data = stored[name]
        entries[name] = Entry(code, shape, end, end + len(data))
        end += len(data)
    replace_file(path, [written(entries, metadata), *(stored[name][2] for name in entries)])


def read(path: str | os.PathLike[str]) -> Content:
    """All that is in a file. Raises as `load` does."""
    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder is an error anyway, a pipe would wait
        raise CheckpointError(f"{path}: not a regular file; a safetensors file is needed")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(start := file.read(8), "little")
        head = file.read(min(length, MOST_BYTES))
        if len(start) < 8 or length > MOST_BYTES or len(head) < length or not head.startswith(b"{"):
            raise _unreadable(path, size, start + head[:HEAD], length)
        entries, metadata, problems = parsed(head, size - 8 - length)
        arrays = {} if problems else _arrays(file, entries, problems)
    if problems:
        raise CheckpointError(f"{path}: not a readable safetensors file of {size} bytes", problems)
    if KEY in metadata:
        tensors = ((name, entry.dtype, entry.shape, _bytes(arrays[name])) for name, entry in entries.items())
        if metadata[KEY] != (found := digest(metadata, tensors)):
            raise CheckpointError(
                f"{path}: its digest is {found}, {metadata[KEY][:64]!r} was saved: it was damaged, or changed by a "
                f"program that left {KEY} in its metadata; take it from a copy"
            )
    state = {
        name: wrap(arrays[name].astype(arrays[name].dtype.newbyteorder("="), copy=False)) for name in sorted(arrays)
    }
    return Content(state, metadata, KEY in metadata)


def _unreadable(path: Path, size: int, head: bytes, length: int) -> CheckpointError:
    """For a file whose header is not even there."""
    if found := conversion(path, head):
        return CheckpointError(f"{path}: {found}")
    if len(head) < 8:
        problem = "it ends before the length of its header"
    elif length > MOST_BYTES:
        problem = f"its header would have {length} bytes; at most {MOST_BYTES} are read"
    elif length > size - 8:
        problem = f"its header has {length} bytes, {size - 8} are there"
    else:
        problem = f"its header starts with {head[8:9]!r}; b'{{' is needed"
    return CheckpointError(f"{path}: not a readable safetensors file of {size} bytes", [problem])


def _arrays(file: BufferedReader, entries: Mapping[str, Entry], problems: list[str]) -> dict[str, Array]:
    """The arrays behind a header that was checked, in the byte order of the file; adds to the problems."""
    arrays = {}
    for name, entry in entries.items():
        array: Array = np.empty(entry.shape, DTYPES[entry.dtype])
        raw = _bytes(array)
        if file.readinto(raw.data) != len(raw):
            problems.append("it became shorter while it was read")
            break
        if entry.dtype == "BOOL" and (raw > 1).any():
            problems.append(f"{name!r} is BOOL and has a byte that is neither 0 nor 1")
        arrays[name] = array
    return arrays


def _bytes(array: Array) -> Array:
    """The memory of a row-major array."""
    return array.reshape(-1).view(np.uint8)


def _stored(state_dict: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """(dtype, shape, bytes) by name, row-major and little-endian: a copy, whatever else writes to the arrays."""
    if not isinstance(state_dict, Mapping):
        remedy = "; pass its state_dict()" if hasattr(state_dict, "state_dict") else ""
        raise TypeError(f"save: a {type(state_dict).__name__} was given; a dict of name -> Tensor is needed{remedy}")
    stored = {}
    for name, value in state_dict.items():
        array = value.array if isinstance(value, Tensor) else value
        if not isinstance(name, str):
            raise TypeError(f"save: the key {name!r} is a {type(name).__name__}; a string is needed")
        if name == METADATA:
            raise ValueError(f"save: the key {METADATA!r} is reserved by the format; choose another name")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"save: the key {name!r} has half of a surrogate pair, which UTF-8 cannot hold")
        if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind not in "biuf" or array.itemsize > 8:
            kind = array.dtype if isinstance(array, (np.ndarray, np.generic)) else type(value).__name__
            raise TypeError(f"save: {name!r} is {kind}; a Tensor or an array of numbers is needed")
        dtype = array.dtype.newbyteorder("<")
        stored[name] = _CODES[dtype], array.shape, np.asarray(array, dtype).tobytes("C")
    return stored
