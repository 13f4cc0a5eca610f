"""Running sums and products along one axis, and the product over axes.

out_k = a_k · out_(k−1) + b_k is the one recurrence behind them: the gradients of a running product are one, read from
the far end, and so are its own. No rule divides, so that zeros among the factors are no special case.
"""

from math import prod as size_of
from typing import Any

import numpy as np

from ..flops import one_per_input
from ..kernels.reduce import widened
from ..primitive import op
from ..shapes import normalize_axes
from .index import getitem
from .layout import flipped, inverse, pad, permute, reshape
from .reduce import restored

__all__ = ["cumprod", "cumsum", "prod"]


def _running(ufunc: np.ufunc, x: Any, axis: Any, name: str) -> Any:
    """ufunc.accumulate; half precision in single, booleans and integers in int64."""
    if isinstance(axis, (tuple, list)) or axis is None:
        raise TypeError(f"{name}: axis is {axis}; one axis is needed, as an int")
    (axis,) = normalize_axes(axis, x.ndim, name)
    if x.dtype.kind in "biu":
        return ufunc.accumulate(x, axis, dtype=np.int64)
    return ufunc.accumulate(widened(x), axis).astype(x.dtype, copy=False)


@op(method=True)
def cumsum(x: Any, /, axis: int) -> Any:
    """The running sum along one axis: out_k = x_0 + ... + x_k. Booleans and integers are counted in int64."""
    return _running(np.add, x, axis, "cumsum")


cumsum.vjp(x=lambda g, axis: flipped(cumsum(flipped(g, axis), axis), axis))
cumsum.formula(x="backward(1, ∂out, axis)")
cumsum.flops(one_per_input)


@op
def recurrence(a: Any, b: Any, /, axis: int) -> Any:
    """out_k = a_k · out_(k−1) + b_k along one axis, from 0: a_0 is not read."""
    a_rows, b_rows = (np.moveaxis(widened(v), axis, 0) for v in (a, b))
    out = np.empty(b_rows.shape, b_rows.dtype)
    for k, row in enumerate(b_rows):
        out[k] = a_rows[k] * out[k - 1] + row if k else row
    return np.moveaxis(out, 0, axis).astype(b.dtype, copy=False)


def _delayed(x: Any, axis: int, first: float = 0.0) -> Any:
    """x_(k−1) at k, and `first` at 0."""
    axis %= x.ndim
    before = ((0, 0),) * axis
    longer = pad(x, (*before, (1, 0), *((0, 0),) * (x.ndim - 1 - axis)), first)
    return getitem(longer, (slice(None),) * axis + (slice(0, x.shape[axis]),))


def _from_the_end(a: Any, g: Any, axis: int) -> Any:
    """r_k = g_k + a_(k+1) · r_(k+1): how much every b_k, or step k, adds to <g, out>."""
    return flipped(recurrence(_delayed(flipped(a, axis), axis), flipped(g, axis), axis), axis)


recurrence.vjp(
    a=lambda g, a, out, axis: _from_the_end(a, g, axis) * _delayed(out, axis),
    b=lambda g, a, axis: _from_the_end(a, g, axis),
)
recurrence.formula(a="∂b · delayed(out, 0, axis)", b="backward(a, ∂out, axis)")
recurrence.flops(lambda out_shape: 2 * size_of(out_shape))


@op(method=True)
def cumprod(x: Any, /, axis: int) -> Any:
    """The running product along one axis: out_k = x_0 · ... · x_k. Booleans and integers are multiplied in int64."""
    return _running(np.multiply, x, axis, "cumprod")


cumprod.vjp(x=lambda g, x, out, axis: _from_the_end(x, g, axis) * _delayed(out, axis, 1.0))
cumprod.formula(x="backward(x, ∂out, axis) · delayed(out, 1, axis)")
cumprod.flops(one_per_input)


@op(method=True, numpy=np.prod)
def prod(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """The product over `axis`; 1 for none. Booleans and integers are multiplied in int64."""
    axes = normalize_axes(axis, x.ndim, "prod")
    if x.dtype.kind in "biu":
        return np.prod(x, axis=axes, dtype=np.int64, keepdims=keepdims)
    return np.asarray(np.prod(widened(x), axis=axes, keepdims=keepdims)).astype(x.dtype, copy=False)


def _prod_gradient(g: Any, x: Any, x_shape: tuple[int, ...], axis: Any) -> Any:
    """For every element the product of all others: of those before it and of those after it."""
    axes = normalize_axes(axis, len(x_shape), "prod")
    kept = tuple(i for i in range(len(x_shape)) if i not in axes)
    lengths = tuple(x_shape[i] for i in (*kept, *axes))
    rows = reshape(permute(x, (*kept, *axes)), (*lengths[: len(kept)], size_of(lengths[len(kept) :])))
    before = _delayed(cumprod(rows, -1), -1, 1.0)
    after = flipped(_delayed(cumprod(flipped(rows, -1), -1), -1, 1.0), -1)
    return restored(g, x_shape, axis) * permute(reshape(before * after, lengths), inverse((*kept, *axes)))


prod.vjp(x=_prod_gradient)
prod.formula(x="∂out · others x")
prod.flops(one_per_input)


def _run_sample(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"axis": draw.choice([0, 1, 2, -1, -2])}


cumsum.sample(_run_sample)


@cumprod.sample
def _(draw: Any) -> Any:
    return (draw.array(*draw.choice([(4,), (2, 3), (3, 2, 2)])),), {"axis": draw.choice([0, -1])}


@recurrence.sample
def _(draw: Any) -> Any:
    shape = draw.choice([(4,), (2, 3), (3, 2, 2)])
    return (draw.array(*shape), draw.array(*shape)), {"axis": draw.choice([0, -1])}


@prod.sample
def _(draw: Any) -> Any:
    axis = draw.choice([None, 0, 1, -1, (0, 2), (-1, 0), (1,), ()])
    return (draw.array(*draw.choice([(2, 3, 1), (3, 1, 2)])),), {"axis": axis, "keepdims": draw.choice([False, True])}
