"""Sums, means, extrema and norms over axes, and what runs or ranks along one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...basics import cast
from ...graph import Tensor, wrap
from ...ops.elementwise import abs, log, square
from ...ops.index import getitem
from ...ops.layout import flip, pad
from ...ops.magnitude import power_norm
from ...ops.order import topk
from ...ops.reduce import amax, amin, argmax, argmin, logsumexp
from ...ops.reduce import mean as mean_of
from ...ops.reduce import sum as sum_of
from ...ops.scan import cumprod, cumsum
from ...ops.scan import prod as prod_of
from .axes import axes_of, axis_of, given
from .registry import Node, operator

Reduction = Callable[..., Any]
_FLOAT64 = np.dtype(np.float64)


def _reduction(name: str, since: int, function: Reduction, of_nothing: Callable[[np.dtype[Any]], Any]) -> None:
    """Enter a reduction whose axes are an input since an opset. of_nothing: what it gives where nothing is reduced."""

    def run(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = given(node, "axes", axes, since)
        if not named:
            keeps = node.opset >= since and node.attribute("noop_with_empty_axes", 0)
            named = () if keeps else tuple(range(x.ndim))
        along, keepdims = axes_of(node, named, x.ndim), bool(node.attribute("keepdims", 1))
        shape = tuple(1 if i in along else n for i, n in enumerate(x.shape) if keepdims or i not in along)
        node.allow(shape, x.array.itemsize)
        if any(x.shape[i] == 0 for i in along):
            return wrap(np.full(shape, of_nothing(x.dtype), x.dtype))
        y: Tensor = function(x, along, keepdims)
        return y if y.dtype == x.dtype else cast(y, x.dtype)

    operator(name)(run)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _undefined(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else 0


def _floating(x: Tensor) -> Tensor:
    """Integers as float64, which holds what float32 would round."""
    return x if x.dtype.kind == "f" else cast(x, _FLOAT64)


_reduction("ReduceSum", 13, sum_of, lambda dtype: 0)
_reduction("ReduceMean", 18, lambda x, *how: mean_of(_floating(x), *how), _undefined)
_reduction("ReduceMax", 18, amax, _lowest)
_reduction("ReduceMin", 18, amin, _highest)
_reduction("ReduceProd", 18, prod_of, lambda dtype: 1)
_reduction("ReduceL1", 18, lambda x, *how: sum_of(abs(x), *how), lambda dtype: 0)
_reduction("ReduceL2", 18, lambda x, *how: power_norm(_floating(x), 2.0, *how), lambda dtype: 0)
_reduction("ReduceSumSquare", 18, lambda x, *how: sum_of(square(x), *how), lambda dtype: 0)
_reduction("ReduceLogSum", 18, lambda x, *how: log(sum_of(_floating(x), *how)), _lowest)
_reduction("ReduceLogSumExp", 18, lambda x, *how: logsumexp(_floating(x), *how), _lowest)


def _place(name: str, function: Reduction) -> None:
    """Enter the place of an extremum along one axis, the first of several or the last."""

    def run(node: Node, x: Tensor) -> Tensor:
        axis, keepdims = axis_of(node, node.attribute("axis", 0), x.ndim), bool(node.attribute("keepdims", 1))
        n = x.shape[axis]
        if not n:
            raise node.fail(f"axis {axis} of shape {x.shape} is empty; at least one element is needed")
        node.allow((*x.shape[:axis], *x.shape[axis + 1 :]), 8)
        if node.attribute("select_last_index", 0):
            return wrap(np.asarray(n - 1 - function(np.flip(x.array, axis), axis, keepdims)))
        place: Tensor = function(x, axis, keepdims)
        return place

    operator(name)(run)


_place("ArgMax", argmax)
_place("ArgMin", argmin)


def _running(name: str, function: Reduction, first: int) -> None:
    """Enter a running sum or product; exclusive begins with `first`, reverse runs from the end."""

    def run(node: Node, x: Tensor, axis: Tensor) -> Tensor:
        named = node.integers(axis, "axis") or ()
        if len(named) != 1:
            raise node.fail(f"axis is {named}; one number is needed")
        along = axis_of(node, named[0], x.ndim)
        y = flip(x, along) if node.attribute("reverse", 0) else x
        y = function(y, along)
        if node.attribute("exclusive", 0):
            before = (slice(None),) * along
            widths = tuple((int(i == along), 0) for i in range(x.ndim))
            y = getitem(pad(y, widths, first), (*before, slice(0, x.shape[along])))
        y = flip(y, along) if node.attribute("reverse", 0) else y
        return y if y.dtype == x.dtype else cast(y, x.dtype)

    operator(name)(run)


_running("CumSum", cumsum, 0)
_running("CumProd", cumprod, 1)


@operator("TopK")
def largest(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(values, indices) of the k largest or smallest along an axis, in order, of equal ones the first."""
    along = axis_of(node, node.attribute("axis", -1), x.ndim)
    counts = node.integers(k, "k") if node.opset >= 10 else (node.attribute("k", -1),)
    if counts is None or len(counts) != 1 or not 0 <= counts[0] <= x.shape[along]:
        raise node.fail(f"k is {counts}; one number from 0 to {x.shape[along]}, the length of axis {along}, is needed")
    values, indices = topk(x, counts[0], along, bool(node.attribute("largest", 1)))
    return values, indices
