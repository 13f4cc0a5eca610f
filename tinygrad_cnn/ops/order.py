"""Sorting. An order is a choice of positions: values are gathered along it, so gradients go where they came from."""

from typing import Any

import numpy as np

from ..graph import Tensor, method, wrap
from ..shapes import ShapeError, normalize_axes
from .elementwise import array_of
from .index import take_along_axis
from .layout import one_of
from .reduce import ValuesIndices

__all__ = ["argsort", "sort", "topk"]


def _order(name: str, x: Any, axis: Any, descending: bool) -> tuple[Any, int]:
    """(the positions along an axis from the smallest value to the largest, or the other way, the axis)."""
    values = array_of(x)
    (axis,) = normalize_axes(axis, values.ndim, name)
    if not descending:
        return np.argsort(values, axis, kind="stable"), axis
    turned = np.flip(np.argsort(np.flip(values, axis), axis, kind="stable"), axis)  # equal values keep their order
    return values.shape[axis] - 1 - turned, axis


def _axis(name: str, dim: Any, axis: Any) -> Any:
    found = one_of(name, dim=dim, axis=axis)
    return -1 if found is None else found


@method
def argsort(
    x: Any, dim: int | None = None, descending: bool = False, stable: bool = True, *, axis: int | None = None
) -> Tensor:
    """The positions that sort x along `dim`, the last axis unless given; equal values keep their order, nan is last."""
    return wrap(_order("argsort", x, _axis("argsort", dim, axis), descending)[0])


@method
def sort(
    x: Any, dim: int | None = None, descending: bool = False, stable: bool = True, *, axis: int | None = None
) -> Any:
    """(values, indices) of x sorted along `dim`, the last axis unless given; equal values keep their order.

    nan counts as the largest. `stable` is accepted for PyTorch's sake: every sort is stable.
    """
    order, along = _order("sort", x, _axis("sort", dim, axis), descending)
    return ValuesIndices(take_along_axis(x, order, along), wrap(order))


@method
def topk(
    x: Any, k: int, dim: int | None = None, largest: bool = True, sorted: bool = True, *, axis: int | None = None
) -> Any:
    """(values, indices) of the k largest along `dim`, or smallest: in order, the first index at ties.

    `sorted` is accepted for PyTorch's sake: they always are. Raises ShapeError for more than there are.
    """
    order, along = _order("topk", x, _axis("topk", dim, axis), largest)
    if not 0 <= k <= order.shape[along]:
        raise ShapeError(f"topk: k={k} of axis {along} of length {order.shape[along]}; k can be 0 to that length")
    order = order[(slice(None),) * along + (slice(0, k),)]
    return ValuesIndices(take_along_axis(x, order, along), wrap(order))
