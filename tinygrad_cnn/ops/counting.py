"""What stands where, and how often: integers, through which no gradient flows."""

from typing import Any

import numpy as np

from ..graph import Tensor, method, wrap
from ..shapes import ShapeError, broadcast_shape, normalize_axes
from .elementwise import array_of
from .index import getitem
from .layout import broadcast_to, one_of

__all__ = ["bincount", "count_nonzero", "masked_select", "nonzero", "unique"]


@method
def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The places of what is not zero, in row-major order: (n d) int64, or with `as_tuple` d times (n) to index with."""
    values = np.asarray(array_of(x))
    if as_tuple:
        return tuple(map(wrap, np.nonzero(np.atleast_1d(values))))
    return wrap(np.argwhere(values))


@method
def count_nonzero(x: Any, dim: Any = None, *, axis: Any = None) -> Tensor:
    """How many elements along `dim` are not zero: int64."""
    axes = normalize_axes(one_of("count_nonzero", dim=dim, axis=axis), x.ndim, "count_nonzero")
    return wrap(np.asarray(np.count_nonzero(array_of(x), axis=axes), np.int64))


@method
def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
    *,
    axis: int | None = None,
) -> Any:
    """The distinct values of x, or its distinct slices along `dim`, in ascending order whatever `sorted` says.

    return_inverse: also where each element of x stands among them; return_counts: also how often each occurs.
    """
    along = one_of("unique", dim=dim, axis=axis)
    if along is not None:
        (along,) = normalize_axes(along, x.ndim, "unique")
    values, inverse, counts = np.unique(
        array_of(x), return_inverse=True, return_counts=True, axis=along, equal_nan=False
    )
    inverse = inverse.reshape(x.shape if along is None else -1)
    parts = [values, *[inverse] * return_inverse, *[counts] * return_counts]
    return wrap(values) if len(parts) == 1 else tuple(map(wrap, parts))


@method
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, ... occurs among the integers x, (n) -> (max(minlength, max x + 1)); or the sum of
    their weights (n). Raises ValueError below 0.
    """
    values = array_of(x)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise TypeError(f"bincount: {values.dtype} of shape {values.shape}; a row of integers is needed")
    if values.size and values.min() < 0:
        raise ValueError(f"bincount: the smallest value is {values.min()}; 0 or more is needed")
    amounts = None if weights is None else np.asarray(array_of(weights))
    if amounts is not None and amounts.shape != values.shape:
        raise ShapeError(f"bincount: weights of shape {amounts.shape} for values of shape {values.shape}; one for each")
    found = np.bincount(values, amounts, minlength)
    return wrap(found if amounts is None or amounts.dtype.kind != "f" else found.astype(amounts.dtype))


@method
def masked_select(x: Any, mask: Any) -> Tensor:
    """The elements of x where `mask` holds, in one row; both broadcast. Gradients flow to what was selected."""
    chosen = np.asarray(array_of(mask))
    if chosen.dtype != np.bool_:
        raise TypeError(f"masked_select: the mask is {chosen.dtype}; booleans are needed, as from a comparison")
    shape = broadcast_shape(tuple(x.shape), chosen.shape, op="masked_select")
    return getitem(broadcast_to(x, shape), np.broadcast_to(chosen, shape))
