"""The header of a safetensors file: what stands where, checked before anything is made of it.

A file: 8 bytes with the length of the header (little-endian), the header, the data. The header is a JSON object that
may be padded with spaces: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, with offsets into
the data, and {"__metadata__": {"text": "text"}}.
Source: https://huggingface.co/docs/safetensors, "Format". Beyond it no key may stand twice, which readers understand
in different ways.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["DTYPES", "Entry", "METADATA", "MOST_BYTES", "parsed", "written"]

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
METADATA = "__metadata__"
MOST_BYTES = 2**21  # of a header, 20,000 tensors: JSON of odd content takes 20 times its size in memory
MOST_AXES = 64  # of an array of NumPy
FIELDS = {"dtype", "shape", "data_offsets"}


class Entry(NamedTuple):
    """Where the bytes of a tensor are, and what they mean."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def written(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file, up to the data, which begins at a multiple of 8.

    Raises ValueError for more tensors or metadata than a header holds.
    """
    content: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for name, (dtype, shape, begin, end) in entries.items():
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"save: {len(entries)} tensors with their names make a header of {len(text)} bytes; at most {MOST_BYTES} "
            "are read back; save them to several files, or under shorter names"
        )
    return len(text).to_bytes(8, "little") + text


def parsed(text: bytes, size: int) -> tuple[dict[str, Entry], dict[str, str], list[str]]:
    """The tensors by name in the order of their data, the metadata, and all that is wrong with a header.

    size: how many bytes of data stand behind it. What is wrong is left out of the tensors and the metadata.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice.extend(key for key, count in counts.items() if count > 1)
        return found

    try:
        content = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return {}, {}, [f"its header is no JSON: {error}"]
    if not isinstance(content, dict):
        return {}, {}, ["its header is no JSON object"]
    problems = [f"its header has the key {_short(key)} twice" for key in twice]
    metadata = content.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        problems.append("its metadata is no object of texts")
        metadata = {}
    entries, placed = {}, True
    for name, entry in content.items():
        found, wrong = _entry(name, entry, size)
        problems += [f"{_short(name)} {problem}" for problem in wrong]
        if found is None:
            placed = False
        else:
            entries[name] = found
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    if placed:
        problems += _misplaced(entries, size)
    return entries, metadata, problems


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _entry(name: str, entry: Any, size: int) -> tuple[Entry | None, list[str]]:
    """The entry, None unless it has its place in the data; and what is wrong with it."""
    if not _is_text(name):
        return None, ["is no text: half of a surrogate pair"]
    if not isinstance(entry, dict) or entry.keys() != FIELDS:
        return None, ["is not described by dtype, shape and data_offsets"]
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        return None, [f"lies at {_short(offsets)}, which is no place in {size} bytes"]
    begin, end = offsets
    problems = []
    if not isinstance(dtype, str) or dtype not in DTYPES:
        problems.append(
            f"has the dtype {_short(dtype)}, which NumPy lacks; convert it first; known are {', '.join(DTYPES)}"
        )
    if not _are_sizes(shape) or len(shape) > MOST_AXES:
        problems.append(f"has the shape {_short(shape)}; at most {MOST_AXES} lengths of at least 0 are needed")
    elif not problems:
        itemsize = np.dtype(DTYPES[dtype]).itemsize
        needed = math.prod(shape) * itemsize
        if needed != end - begin or math.prod(max(length, 1) for length in shape) * itemsize >= 2**63:
            problems.append(f"has {end - begin} bytes; {dtype} {_short(shape)} needs {_short(needed)}")
    return Entry(str(dtype), tuple(shape) if not problems else (), begin, end), problems


def _misplaced(entries: Mapping[str, Entry], size: int) -> list[str]:
    """Overlaps, holes and what is left over, for entries in the order of their data."""
    problems, last = [], 0
    for name, entry in entries.items():
        if entry.begin != last:
            kind = "overlaps what ends" if entry.begin < last else "leaves a hole after what ends"
            problems.append(f"{_short(name)} begins at byte {entry.begin} of the data and {kind} at {last}")
        last = max(last, entry.end)
    if last != size:
        problems.append(f"{size - last} bytes stand behind the last tensor")
    return problems


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: Any) -> str:
    """The repr of what stands in a file, cut where it is long, and of few of its parts where they are many."""
    if isinstance(value, int):
        return str(value) if value.bit_length() < 200 else "more than 2^199"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_short, value[:8])) + (", ..." if len(value) > 8 else "")
        return f"[{inner}]" if len(inner) < 200 else f"[{inner[:200]}...]"
    if isinstance(value, str):
        return repr(value) if len(value) <= 80 else f"{value[:80]!r}..."
    return type(value).__name__
