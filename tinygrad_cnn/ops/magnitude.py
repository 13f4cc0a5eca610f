"""How large numbers are: the standard deviation and the norms. At zero, where they have no slope, the gradient is 0."""

from math import inf, prod
from typing import Any

import numpy as np

from ..graph import Tensor, method
from ..kernels.reduce import sum_pairwise, widened
from ..primitive import op
from ..shapes import normalize_axes
from .comparison import not_equal
from .elementwise import abs, array_of, pow, select, sign, sqrt
from .layout import cast, one_of
from .reduce import amax, amin, count, mean, restored, scaled_variance, sum

__all__ = ["norm", "std"]


def _divisor(x: Any) -> Any:
    """x with 1 in the place of 0."""
    return select(1.0, x, array_of(x) == 0)


@op(method=True)
def std(x: Any, /, axis: Any = None, correction: float = 1, keepdims: bool = False) -> Any:
    """The square root of `var` over `axis`: sqrt(sum (x - mean)^2 / (n - correction)); nan where n <= correction.

    Right also where squares leave the range of the dtype. correction: 1 for PyTorch's default, 0 for NumPy's.
    """
    if x.dtype.kind in "biu":
        raise TypeError(f"std: the input is {x.dtype}; convert it first, as with .float()")
    variance, scale = scaled_variance(widened(x), normalize_axes(axis, x.ndim, "std"), correction, keepdims)
    return (np.sqrt(variance) if scale is None else np.sqrt(variance) * scale).astype(x.dtype, copy=False)


def _std_gradient(g: Any, x: Any, x_shape: tuple[int, ...], out: Any, axis: Any, correction: float) -> Any:
    """(x - mean) / ((n - correction) out) for every element."""
    # By out and by n apart: their product can overflow where out does not.
    slope = g / _divisor(out) / float(count(x_shape, axis) - correction)
    return restored(slope, x_shape, axis) * (x - mean(x, axis, True))


std.vjp(x=_std_gradient)
std.formula(x="1[out ≠ 0] · (∂out · (x − mean x) / (out · (n − correction)))")
std.flops(lambda x_shape, out_shape: 4 * prod(x_shape) + 3 * prod(out_shape))


@std.sample
def _(draw: Any) -> Any:
    params = {"axis": draw.choice([None, 0, -1, (0, 2)]), "keepdims": draw.choice([False, True])}
    return (draw.array(3, 2, 4),), {**params, "correction": draw.choice([0, 1])}


@op
def power_norm(x: Any, /, p: float = 2.0, axis: Any = None, keepdims: bool = False, at_zero: float = 0.0) -> Any:
    """(sum |x|^p)^(1/p) over `axis`, for 0 < p < infinity; 0 over nothing.

    at_zero: the gradient where all of x is 0: 0, or nan.
    """
    if x.dtype.kind in "biu":
        raise TypeError(f"norm: the input is {x.dtype}; convert it first, as with .float()")
    axes, wide = normalize_axes(axis, x.ndim, "norm"), widened(x)
    if p == 2:
        return np.sqrt(sum_pairwise(wide * wide, axes, keepdims)).astype(x.dtype, copy=False)
    powers = sum_pairwise(np.abs(wide) ** wide.dtype.type(p), axes, keepdims)
    return (powers ** wide.dtype.type(1 / p)).astype(x.dtype, copy=False)


def _power_norm_gradient(
    g: Any, x: Any, x_shape: tuple[int, ...], out: Any, p: float, axis: Any, at_zero: float
) -> Any:
    """sign(x) (|x| / out)^(p - 1) for every element, from roots: the quotient itself may be too small for the dtype."""
    if p == 2:
        slope = x / restored(_divisor(out), x_shape, axis)
    else:
        zero = array_of(x) == 0
        quotient = sqrt(select(1.0, abs(x), zero)) / restored(sqrt(_divisor(out)), x_shape, axis)
        slope = sign(x) * pow(select(1.0, quotient, zero), 2.0 * (p - 1.0))
    if at_zero:
        slope = select(at_zero, slope, condition=restored(array_of(out) == 0, x_shape, axis))
    return restored(g, x_shape, axis) * slope


power_norm.vjp(x=_power_norm_gradient)
power_norm.formula(x="1[x ≠ 0] · (∂out · x / out · ((x / out)²)^(p / 2 − 1))")
power_norm.flops(lambda x_shape, out_shape, p: (2 + (p != 2)) * prod(x_shape) + prod(out_shape))


@power_norm.sample
def _(draw: Any) -> Any:
    params = {"axis": draw.choice([None, 0, -1, (0, 2), ()]), "keepdims": draw.choice([False, True])}
    return (draw.array(3, 2, 4),), {**params, "p": draw.choice([2, 1, 3.0, 1.5])}


@method
def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """The p-norm of all elements, or over `dim`: (sum |x|^p)^(1/p), as of one vector.

    p: 'fro' is 2; inf and -inf are the largest and the smallest |x|, ties sharing the gradient; 0 counts what is not 0.
    Its gradient at x = 0 is 0. Raises ValueError for another p, as 'nuc' or a negative number.
    """
    axis = one_of("norm", dim=dim, axis=axis)
    if p == "fro" or p is None:
        p = 2.0
    if isinstance(p, (bool, str)) or not isinstance(p, (int, float)) or not (p >= 0 or p == -inf):
        raise ValueError(f"norm: p={p!r}; it can be a number >= 0, inf, -inf or 'fro'")
    if p in (inf, -inf):
        return (amax if p > 0 else amin)(abs(x), axis, keepdim)
    if p == 0:
        return sum(cast(not_equal(x, 0.0), x.dtype), axis, keepdim)
    return power_norm(x, p, axis, keepdim)
