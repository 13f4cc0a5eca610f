"""torch.nn.functional's spelling of the pools of images. `functional` has these names too.

Images are (n, c, h, w), or (c, h, w) for a single one, which comes back without the batch axis.
"""

from typing import Any, Literal, overload

import numpy as np

from ..conventions import get_conventions
from ..graph import Tensor, wrap
from ..ops import adaptive_pool as _adaptive
from ..ops import layout as _layout
from ..ops import lp_pool as _lp
from ..ops import pool as _pool
from ..ops import unpool as _unpool
from .functional_conv import batched

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "lp_pool2d",
    "max_pool2d",
    "max_unpool2d",
    "sum_pool2d",
]


def indexed(function: Any, input: Any, *args: Any, **params: Any) -> tuple[Any, Tensor]:
    """(the maxima, the cell of its plane that each is from, as int64 and without gradient)."""
    single = getattr(input, "ndim", 4) == 3
    y, winners = function.with_residual(_layout.unsqueeze(input, 0) if single else input, *args, **params)
    cells = np.array(winners[0] if isinstance(winners, tuple) else winners, np.int64)
    if single:
        y, cells = _layout.reshape(y, y.shape[1:]), cells[0]
    return y, wrap(cells)


@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    ties: str | None = None,
    strict: bool = False,
) -> Tensor: ...


@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    ties: str | None = None,
    strict: bool = False,
) -> tuple[Tensor, Tensor]: ...


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str | None = None,
    strict: bool = False,
) -> Any:
    """The maximum of each window; padding is minus infinity, stride is kernel_size unless given.

    return_indices: give (maxima, indices), of the cell in its plane laid out in one row, as max_unpool2d takes them.
    ties: which of several equal cells takes the gradient: 'first' (row-major, as in PyTorch), 'last' or 'split'; what
        `conventions` says unless given, which is 'first'. With 'split' there is no one index.
    """
    ties = get_conventions()["max_pool_ties"] if ties is None else ties
    args = (kernel_size, stride, padding, dilation, ceil_mode, ties, strict)
    if not return_indices:
        return batched(_pool.max_pool2d, input, *args)
    if ties == "split":
        raise ValueError(
            "max_pool2d: ties='split' with return_indices=True; several cells share; use 'first' or 'last'"
        )
    return indexed(_pool.max_pool2d, input, *args)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Zeros with every value at the cell that `indices` names: the way back from max_pool2d with return_indices=True.

    (n c h w) -> (n c oh ow), oh = (h - 1)*stride - 2*padding + kernel_size, or output_size, which may differ from it by
    less than a stride. Where windows overlapped, the last value of a cell stays and takes the gradient.
    """
    if getattr(input, "ndim", 4) != 3:
        return _unpool.max_unpool2d(input, indices, kernel_size, stride, padding, output_size)
    one = _layout.unsqueeze(input, 0), _layout.unsqueeze(indices, 0)
    if output_size is not None and len(output_size) == 3:
        output_size = output_size[1:]
    y = _unpool.max_unpool2d(*one, kernel_size, stride, padding, output_size)
    return _layout.reshape(y, y.shape[1:])


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


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window, p = norm_type: of x and not of |x|, so that an odd p may give nan, as in PyTorch.

    The gradient is 0 where the sum is. With ceil_mode a window's sum is scaled up to a whole window.
    """
    return batched(_lp.lp_pool2d, input, norm_type, kernel_size, stride, ceil_mode)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """The mean of each of oh by ow windows that cover the image: rows floor(i h/oh) to before ceil((i+1) h/oh).

    output_size: an int or (oh, ow); None keeps the image's.
    """
    return batched(_adaptive.adaptive_avg_pool2d, input, output_size)


@overload
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: Literal[False] = False) -> Tensor: ...


@overload
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: Literal[True]) -> tuple[Tensor, Tensor]: ...


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of each of oh by ow windows that cover the image: rows floor(i h/oh) to before ceil((i+1) h/oh).

    output_size: an int or (oh, ow); None keeps the image's. return_indices: give (maxima, indices), as max_pool2d does.
    """
    return (indexed if return_indices else batched)(_adaptive.adaptive_max_pool2d, input, output_size)
