"""Joining Tensors of unequal numbers of axes, and stretching several to one shape."""

from collections.abc import Sequence
from typing import Any

from ..shapes import ShapeError, broadcast_shape
from .layout import broadcast_to, cat, reshape

__all__ = ["broadcast_tensors", "dstack", "hstack", "meshgrid", "vstack"]


def hstack(tensors: Sequence[Any]) -> Any:
    """Side by side: joined along the second axis, vectors along their only one."""
    parts = [x if x.ndim else reshape(x, (1,)) for x in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """On top of each other: joined along the first axis, vectors as rows."""
    return cat([x if x.ndim > 1 else reshape(x, (1, -1)) for x in tensors], 0)


def dstack(tensors: Sequence[Any]) -> Any:
    """Behind each other: joined along the third axis, vectors as rows of depth one."""
    return cat(
        [reshape(x, (1, -1, 1)) if x.ndim < 2 else reshape(x, (*x.shape, 1)) if x.ndim == 2 else x for x in tensors], 2
    )


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All in the shape that they broadcast to."""
    shape = broadcast_shape(*(tuple(x.shape) for x in tensors), op="broadcast_tensors")
    return tuple(broadcast_to(x, shape) for x in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """The coordinates of a grid: of n vectors, n Tensors of n axes, the i-th of which varies along axis i alone.

    indexing="xy" swaps the first two axes, as NumPy does by default.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing={indexing!r}; it is 'ij' or 'xy'")
    if any(x.ndim > 1 for x in tensors):
        raise ShapeError(f"meshgrid: shapes {', '.join(str(tuple(x.shape)) for x in tensors)}; vectors are needed")
    places = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        places[:2] = 1, 0
    columns = [
        reshape(x, tuple(-1 if i == place else 1 for i in range(len(tensors))))
        for x, place in zip(tensors, places, strict=True)
    ]
    return broadcast_tensors(*columns)
