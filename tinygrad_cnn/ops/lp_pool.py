"""Pooling by a power mean of sums: the root of the sum of powers of each window."""

from math import isfinite
from typing import Any

from ..geometry import checked_pair
from ..graph import Tensor
from .elementwise import array_of, pow, where
from .pool import avg_pool2d, sum_pool2d


def lp_pool2d(x: Any, norm_type: Any, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window, of x and not of |x|: (n c h w) -> (n c oh ow)

    norm_type: p > 0. As in PyTorch a negative x counts as its power: an even p takes its size, p = 1 its value, and
    nan is where a power or a root of a negative number is none. With ceil_mode the sum of a window that reaches beyond
    the image is scaled up to a whole window.

    The gradient is 0 where the sum is, except for p = 1, whose slope is 1 everywhere; with p < 1 also where x is 0.
    Raises ValueError for another p, TypeError for integers.
    """
    if isinstance(norm_type, bool) or not isinstance(norm_type, (int, float)) or not norm_type > 0 or not isfinite(
        norm_type
    ):  # fmt: skip
        raise ValueError(
            f"lp_pool2d: norm_type={norm_type!r}; a finite number above 0 is needed; for the largest use max_pool2d"
        )
    if x.dtype.kind != "f":
        raise TypeError(f"lp_pool2d: the input is {x.dtype}; convert it first, as with .float()")
    p = float(norm_type)
    kernel = checked_pair("lp_pool2d", "kernel_size", kernel_size, 1)
    powers = x if p == 1 else pow(x, p) if p > 1 else _flat_at_zero(x, p)
    if ceil_mode:
        sums = avg_pool2d(powers, kernel, stride, 0, True) * float(kernel[0] * kernel[1])
    else:
        sums = sum_pool2d(powers, kernel, stride)
    root: Tensor = sums if p == 1 else _flat_at_zero(sums, 1 / p)
    return root


def _flat_at_zero(x: Any, p: float) -> Any:
    """x^p for p < 1, whose slope at 0 is infinite, with the gradient 0 there."""
    at_zero = array_of(x) == 0
    return where(at_zero, 0.0, pow(where(at_zero, 1.0, x), p))
