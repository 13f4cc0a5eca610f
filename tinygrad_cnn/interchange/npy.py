"""Arrays in .npy files and in .npz archives of others' making, with every size checked before memory is taken."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import Array

__all__ = ["npy_array", "npz_arrays"]

_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_PICKLES = "Object arrays cannot be loaded when allow_pickle=False"  # as NumPy says it


def npy_array(content: bytes) -> Array:
    """The array in the bytes of a .npy file, of which all numbers must be there.

    Raises ValueError for anything else, and for arrays of objects, which are pickles.
    Source: NEP 1, A simple file format for NumPy arrays.
    """
    stream = io.BytesIO(content)
    # NumPy's reader of the header, which is Python source, raises nearly any error for a damaged one.
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:
        raise ValueError(f"its header cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
    if dtype.hasobject:
        raise ValueError(_PICKLES)
    if dtype.kind not in "biufc":
        raise ValueError(f"it holds {dtype}; numbers are needed")
    needed, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if min(shape, default=0) < 0 or needed != there or math.prod(max(n, 1) for n in shape) * dtype.itemsize >= 2**63:
        raise ValueError(f"{there} bytes of numbers; {dtype} of shape {str(shape)[:200]} is something else")
    flat = np.frombuffer(content, dtype, offset=stream.tell()) if needed else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if by_columns else "C").copy("K")


def npz_arrays(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays in an archive that `numpy.savez` wrote, by name; one that is compressed could grow to any size.

    Raises ValueError for anything else, and OSError if the file cannot be read.
    """
    arrays: dict[str, Array] = {}
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                    raise ValueError("its members are compressed, and could grow to any size")
                if sum(max(member.file_size, member.compress_size) for member in members) > size:
                    raise ValueError(f"its members have more bytes than the {size} of the file")
                for member in members:
                    arrays[member.filename.removesuffix(".npy")] = npy_array(archive.read(member))
        # A damaged archive can raise nearly any error.
        except Exception as error:
            raise ValueError(f"{path}: {error or type(error).__name__}") from error
    return arrays
