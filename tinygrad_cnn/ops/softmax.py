"""Softmax and its logarithm, shifted by the maximum so that nothing overflows."""

from math import prod
from typing import Any

import numpy as np

from ..kernels.reduce import sum_pairwise
from ..primitive import op
from ..shapes import normalize_axes
from .elementwise import exp
from .reduce import sum

__all__ = ["log_softmax", "softmax"]


def _axes(axis: Any, ndim: int, name: str = "softmax") -> tuple[int, ...]:
    """The axes as non-negative numbers; a 0-d array has, as in PyTorch, an axis 0 of one element."""
    return () if ndim == 0 and axis in (0, -1) else normalize_axes(axis, ndim, name)


def shifted_exp(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """(x - max, exp(x - max), its sum) over axes that stay at length 1; half precision as float32.

    The sum is at least 1, so its logarithm is at least 0. inf - inf is nan.
    """
    shifted = x.astype(np.promote_types(x.dtype, np.float32), copy=False)
    shifted = shifted - np.maximum.reduce(shifted, axes, keepdims=True, initial=-np.inf)
    e = np.exp(shifted)
    return shifted, e, sum_pairwise(e, axes, True)


@op(method=True, floating=True)
def softmax(x: Any, /, axis: Any) -> Any:
    """exp(x) / sum(exp(x)) over `axis`; a row that holds +inf, or nothing but -inf, is nan.

    Half precision is summed in float32.
    """
    axes = _axes(axis, x.ndim)
    _, e, total = shifted_exp(x, axes)
    return np.divide(e, total, out=e if e.ndim else None).astype(x.dtype, copy=False)


softmax.vjp(x=lambda g, out, axis: (g - sum(g * out, _axes(axis, g.ndim), True)) * out)
softmax.formula(x="out · (∂out − Σ ∂out·out)")
softmax.flops(lambda x_shape: 5 * prod(x_shape))  # maximum, shift, exp, sum, quotient


@op(method=True, floating=True)
def log_softmax(x: Any, /, axis: Any) -> Any:
    """x - log(sum(exp(x))) over `axis`: the logarithm of softmax without its underflow."""
    axes = _axes(axis, x.ndim, "log_softmax")
    shifted, _, total = shifted_exp(x, axes)
    return (shifted - np.log(total)).astype(x.dtype, copy=False)


log_softmax.vjp(x=lambda g, out, axis: g - exp(out) * sum(g, _axes(axis, g.ndim, "log_softmax"), True))
log_softmax.formula(x="∂out − exp out · Σ ∂out")
log_softmax.flops(lambda x_shape, axis: 5 * prod(x_shape) + _rows(x_shape, axis))  # a logarithm for each row


def _rows(shape: tuple[int, ...], axis: Any) -> int:
    """How many sums are taken."""
    axes = _axes(axis, len(shape))
    return prod(n for i, n in enumerate(shape) if i not in axes)


@softmax.sample
@log_softmax.sample
def _(draw: Any) -> Any:
    shape = draw.choice([(2, 5), (3, 1, 4), ()])
    return (draw.logits(*shape),), {"axis": draw.choice([0, -1, 1] if shape else [0, -1])}
