"""Nested states (dicts, lists, numbers, texts, arrays) as one safetensors file: arrays by name, the rest as JSON.

Each array is stored under its path in the tree ("model.conv.weight"), where other programs find it. The JSON, the bytes
of an array named "$tree", holds the tree with {"$array": path} in their places; other kinds that JSON lacks are marked
in the same way. Nothing in the file can run code.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from typing import Any

import numpy as np

from ..graph import Array, Tensor
from .errors import CheckpointError
from .header import DTYPES
from .safetensors import read, write

__all__ = ["load_tree", "save_tree"]

TREE = "$tree"
NUMBERS = {order + dtype[1:] for dtype in DTYPES.values() for order in "<>|"}


def save_tree(tree: dict[str, Any], path: str | os.PathLike[str], kind: str) -> None:
    """Write a tree to `path`, replacing a file there in one step; `kind` says what it is and is asked for again.

    A tree consists of dicts, Counters, lists, tuples, None, numbers, texts, Tensors and arrays.
    Raises TypeError that names the place of anything else, and OSError if the file cannot be written.
    """
    arrays: dict[str, Array] = {TREE: np.empty(0, np.uint8)}
    text = json.dumps(_flat(tree, "", arrays), allow_nan=False)
    arrays[TREE] = np.frombuffer(text.encode(), np.uint8)
    write(arrays, path, {"kind": kind})


def load_tree(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The tree in a file that `save_tree` wrote, with arrays as Tensors in memory of their own.

    Raises CheckpointError if the file is damaged or of another kind, and OSError if it cannot be read.
    """
    content = read(path)
    found = content.metadata.get("kind")
    if found != kind:
        raise CheckpointError(f"{path}: its kind is {found!r}; {kind!r} is needed; for weights alone use load")
    if not content.is_checked or TREE not in content.state:
        raise CheckpointError(f"{path}: it has no digest or no {TREE}; another program wrote it, and it is not trusted")
    try:
        tree = _grown(json.loads(content.state[TREE].array.tobytes()), content.state)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: its tree cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path}: its tree is a {type(tree).__name__}; a dict is needed")
    return tree


def _flat(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """What JSON can hold of a tree; its arrays are put into `arrays`."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        name = path
        while name in arrays:  # {"a.b": x} beside {"a": {"b": y}}
            name += "'"
        arrays[name] = value.array if isinstance(value, Tensor) else value
        return {"$array": name}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.itemsize <= 8:
        return {"$number": [value.dtype.str, _flat(value.item(), path, arrays)]}
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, dict):
        if type(value) is dict and all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _flat(entry, _below(path, key), arrays) for key, entry in value.items()}
        mark = "$counter" if isinstance(value, Counter) else "$items"
        return {
            mark: [[_flat(key, path, arrays), _flat(entry, _below(path, key), arrays)] for key, entry in value.items()]
        }
    if isinstance(value, (list, tuple)):
        entries = [_flat(entry, _below(path, i), arrays) for i, entry in enumerate(value)]
        return entries if isinstance(value, list) else {"$tuple": entries}
    raise TypeError(
        f"save: {path or 'the state'} is a {type(value).__name__}; numbers, texts, arrays, and dicts, lists and tuples "
        "of them can be saved"
    )


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _grown(value: Any, arrays: dict[str, Tensor]) -> Any:
    """The tree of which `_flat` made this."""
    if isinstance(value, list):
        return [_grown(entry, arrays) for entry in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or not (mark := next(iter(value))).startswith("$"):
        return {key: _grown(entry, arrays) for key, entry in value.items()}
    content = value[mark]
    if mark == "$array":
        return arrays[content]
    if mark == "$float":
        return float(content)
    if mark == "$number":
        dtype, number = content
        if dtype not in NUMBERS:  # np.void(n) would take n bytes
            raise ValueError(f"{dtype!r} is no dtype of a number")
        return np.dtype(dtype).type(_grown(number, arrays))
    if mark == "$tuple":
        return tuple(_grown(entry, arrays) for entry in content)
    if mark in ("$items", "$counter"):
        items = {_grown(key, arrays): _grown(entry, arrays) for key, entry in content}
        return Counter(items) if mark == "$counter" else items
    raise ValueError(f"the mark {mark!r} is unknown")
