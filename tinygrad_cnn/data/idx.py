"""IDX files, in which MNIST and its kin come: a header with type and shape, then numbers."""

from __future__ import annotations

import gzip
import math
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

__all__ = ["read_idx"]

KINDS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
MOST_RATIO = 1032  # deflate makes no file smaller than by this factor (zlib technical details)
MOST_AXES = 64  # of a NumPy array
PIECE = 2**24


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, plain or compressed by gzip, in the byte order of this machine.

    The file: two zero bytes, a byte for the type, one for the number of axes, their lengths as big-endian 32-bit
    integers, then the numbers, the last axis running fastest.

    Raises DatasetError for a file that is anything else, shorter or longer; FileNotFoundError where there is none.
    Source: LeCun, Cortes & Burges, The MNIST database, section "File formats".
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
        file.seek(0)
        if not compressed:
            return _array(path, file, size)
        try:
            with gzip.open(file, "rb") as content:
                return _array(path, content, size * MOST_RATIO)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DatasetError(f"read_idx: {path}: {error}; it needs a whole gzip file; fetch it again") from error


def _array(path: Path, file: IO[bytes] | gzip.GzipFile, most: int) -> NDArray[Any]:
    """The array in a stream that can hold at most so many bytes."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in KINDS or start[3] == 0:
        raise DatasetError(
            f"read_idx: {path} starts with the bytes {start.hex(' ') or '(none)'}; an IDX file starts with 00 00, "
            f"a type of {', '.join(f'{kind:02x}' for kind in KINDS)}, and its number of axes"
        )
    axes = start[3]
    if axes > MOST_AXES:
        raise DatasetError(
            f"read_idx: {path}: {axes} axes; an array has {MOST_AXES} at most; the file was changed; fetch it again"
        )
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise DatasetError(f"read_idx: {path}: {len(header)} bytes of lengths; {axes} axes need {4 * axes}")
    shape = struct.unpack(f">{axes}I", header)
    dtype = np.dtype(KINDS[start[2]])
    needed = math.prod(shape) * dtype.itemsize
    # Never more memory than the file can fill, whatever the header says.
    pieces, left = [], needed + 1 if needed <= most else 0
    while left and (piece := file.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    there = b"".join(pieces)
    if len(there) != needed:
        found = "more" if len(there) > needed else f"{len(there)}" if needed <= most else f"at most {most}"
        raise DatasetError(
            f"read_idx: {path}: {found} bytes of numbers; its shape {shape} of {dtype.name} needs {needed}; "
            "the file was cut or changed; fetch it again"
        )
    # NumPy counts an axis of no length as one.
    if math.prod(max(1, length) for length in shape) * dtype.itemsize > sys.maxsize:
        lengths = f"its shape {shape} of {dtype.name}"
        raise DatasetError(
            f"read_idx: {path}: {lengths} is larger than an array can be; the file was cut or changed; fetch it again"
        )
    numbers = np.frombuffer(there, dtype).reshape(shape)
    return numbers.astype(dtype.newbyteorder("="))
