"""Items as a batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Tensor, from_numpy

__all__ = ["default_collate"]


def default_collate(items: list[Any]) -> Any:
    """Stack a list of items into a batch: numbers, arrays and Tensors become one Tensor with a new first axis.

    Tuples and lists of these become a tuple of batches, mappings a dict of batches; strings stay a list.
    Floats become float32, as in Tensor(data); arrays keep their dtype.

    Raises TypeError for items of which one has a number or an array where another has a tuple, a mapping or a string,
    and for what is none of these; ValueError for other shapes, numbers of parts or keys.
    """
    if not items:
        raise ValueError("default_collate: no items; a batch needs at least one")
    first = items[0]
    for i, item in enumerate(items):
        if _kind(item) is not _kind(first):
            raise TypeError(
                f"default_collate: item {i} of the batch has a {type(item).__name__} where item 0 has a "
                f"{type(first).__name__}; all need the same kind: numbers and arrays, tuples and lists, mappings, or "
                "strings; make them alike in the dataset, or give collate_fn="
            )
    if isinstance(first, (str, bytes)):
        return items
    if isinstance(first, Mapping):
        if any(item.keys() != first.keys() for item in items):
            keys = sorted({str(list(item)) for item in items})
            raise ValueError(f"default_collate: items with the keys {' and '.join(keys)}; all need the same keys")
        return {key: default_collate([item[key] for item in items]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in items):
            lengths = sorted({len(item) for item in items})
            raise ValueError(f"default_collate: items of {lengths} parts; all need the same number of parts")
        return tuple(default_collate(list(part)) for part in zip(*items, strict=True))
    if isinstance(first, (np.ndarray, Tensor)):
        return _stack(items)
    if isinstance(first, (bool, int, float, np.generic)):
        return Tensor(items)
    raise TypeError(
        f"default_collate: items of type {type(first).__name__}; it stacks numbers, arrays, Tensors, and tuples or "
        "dicts of them; give collate_fn=, a function of a list of items"
    )


KINDS: tuple[tuple[type, ...], ...] = (
    (str, bytes),
    (Mapping,),
    (tuple, list),
    (np.ndarray, Tensor, bool, int, float, np.generic),
)


def _kind(item: Any) -> Any:
    """What decides how an item is put into a batch: for each kind of items another object."""
    return next((kind for kind in KINDS if isinstance(item, kind)), type(item))


def _stack(items: list[Any]) -> Tensor:
    if any(isinstance(item, Tensor) and item.requires_grad for item in items):
        raise RuntimeError(
            "default_collate: an item requires a gradient, which the batch would lose; "
            "detach() it in the dataset, or give a collate_fn that stacks Tensors"
        )
    arrays = [item.numpy() if isinstance(item, Tensor) else np.asarray(item) for item in items]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"default_collate: arrays of shapes {', '.join(map(str, shapes))}; a batch needs one shape; "
            "crop or pad them in the dataset, or give collate_fn="
        )
    return from_numpy(np.stack(arrays))
