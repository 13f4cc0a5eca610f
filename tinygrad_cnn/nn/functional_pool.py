"""torch.nn.functional's spelling of pooling. `functional` has these names too."""

from typing import Any

from ..graph import Tensor
from ..ops import pool as _pool
from .functional_conv import batched

__all__ = ["avg_pool2d", "max_pool2d", "sum_pool2d"]


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    ties: str = "first",
    strict: bool = False,
) -> Tensor:
    """The maximum of each window; padding is minus infinity, stride is kernel_size unless given.

    ties: which of several equal cells takes the gradient: 'first' (row-major, as in PyTorch), 'last' or 'split'.
    """
    return batched(_pool.max_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode, ties, strict)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    strict: bool = False,
) -> Tensor:
    """The mean of each window; the zeros of the padding count unless count_include_pad is False."""
    return batched(
        _pool.avg_pool2d, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, strict
    )


def sum_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    strict: bool = False,
) -> Tensor:
    """The sum of each window."""
    return batched(_pool.sum_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode, strict)
