"""torch.nn.functional's spelling of the pools of lines: those of images of height 1. `functional` has these names too.

Lines are (n, c, l), or (c, l) for a single one. Errors as for the pools of images, which they are recorded as.
"""

from collections.abc import Callable
from typing import Any, Literal, overload

from ..conventions import get_conventions
from ..geometry import checked_padding_1d, checked_single
from ..graph import Tensor, wrap
from ..ops import adaptive_pool as _adaptive
from ..ops import lp_pool as _lp
from ..ops import pool as _pool
from ..ops import unpool as _unpool
from ..ops.elementwise import array_of
from ..ops.lines import as_images, as_lines, named_of_lines
from ..shapes import ShapeError, is_int, wrong_kind
from .functional_pool import indexed

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_max_pool1d",
    "avg_pool1d",
    "lp_pool1d",
    "max_pool1d",
    "max_unpool1d",
    "sum_pool1d",
]


def _pooled(name: str, function: Callable[..., Any], input: Any, *args: Any) -> Tensor:
    """The pool of images on lines."""
    images = as_images(name, input)
    with named_of_lines(name, f"{name[:-2]}2d"):
        y = function(images, *args)
    return as_lines(y, input.ndim == 3)


def _pooled_with_indices(name: str, function: Any, input: Any, *args: Any) -> tuple[Tensor, Tensor]:
    """The pool of images on lines, and which place of its line each value is from."""
    images = as_images(name, input)
    with named_of_lines(name, f"{name[:-2]}2d"):
        y, cells = indexed(function, images, *args)
    return as_lines(y, input.ndim == 3), wrap(array_of(as_lines(cells, input.ndim == 3)))


def _windows(name: str, kernel_size: Any, stride: Any, padding: Any = 0) -> tuple[Any, Any, Any]:
    """(kernel, stride, padding) of images of height 1."""
    kernel = checked_single(name, "kernel_size", kernel_size, 1)
    step = kernel if stride is None else checked_single(name, "stride", stride, 1)
    return (1, kernel), (1, step), checked_padding_1d(name, padding)


@overload
def max_pool1d(
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
def max_pool1d(
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


def max_pool1d(
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
    """The maximum of each window: (n c l) -> (n c ol); padding is minus infinity, stride is kernel_size unless given.

    return_indices: give (maxima, indices), of the place in the line. ties and strict as for max_pool2d.
    """
    name = "max_pool1d"
    spread = (1, checked_single(name, "dilation", dilation, 1))
    ties = get_conventions()["max_pool_ties"] if ties is None else ties
    args = (*_windows(name, kernel_size, stride, padding), spread, ceil_mode, ties, strict)
    if not return_indices:
        return _pooled(name, _pool.max_pool2d, input, *args)
    if ties == "split":
        raise ValueError(f"{name}: ties='split' with return_indices=True; several cells share; use 'first' or 'last'")
    return _pooled_with_indices(name, _pool.max_pool2d, input, *args)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Zeros with every value at the place that `indices` names: the way back from max_pool1d with return_indices=True.

    (n c l) -> (n c ol), ol = (l - 1)*stride - 2*padding + kernel_size, or output_size: an (ol,) or a whole shape.
    """
    name = "max_unpool1d"
    kernel, step, ((_, _), (border, _)) = _windows(
        name, kernel_size, stride, checked_single(name, "padding", padding, 0)
    )
    if output_size is not None:
        if not isinstance(output_size, (tuple, list)) or not all(map(is_int, output_size)):
            raise wrong_kind(name, "output_size", output_size, "a tuple of one int, or a whole shape")
        if len(output_size) not in (1, input.ndim):
            raise ShapeError(f"{name}: output_size is {tuple(output_size)}, needs (length,) or the whole shape")
        output_size = (1, output_size[-1])
    return _pooled(
        name,
        lambda images: _unpool.max_unpool2d(
            images, as_images(name, array_of(indices)), kernel, step, (0, border), output_size
        ),
        input,
    )


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    strict: bool = False,
) -> Tensor:
    """The mean of each window: (n c l) -> (n c ol); the padding's zeros count unless count_include_pad is False."""
    args = _windows("avg_pool1d", kernel_size, stride, padding)
    return _pooled("avg_pool1d", _pool.avg_pool2d, input, *args, ceil_mode, count_include_pad, None, strict)


def sum_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    strict: bool = False,
) -> Tensor:
    """The sum of each window: (n c l) -> (n c ol)."""
    args = _windows("sum_pool1d", kernel_size, stride, padding)
    spread = (1, checked_single("sum_pool1d", "dilation", dilation, 1))
    return _pooled("sum_pool1d", _pool.sum_pool2d, input, *args, spread, ceil_mode, strict)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window, p = norm_type: (n c l) -> (n c ol). Signs and zeros as for lp_pool2d."""
    kernel, step, _ = _windows("lp_pool1d", kernel_size, stride)
    return _pooled("lp_pool1d", _lp.lp_pool2d, input, norm_type, kernel, step, ceil_mode)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """The mean of each of `output_size` windows that cover the line: floor(i l/ol) to before ceil((i+1) l/ol).

    (n c l) -> (n c ol). None keeps the length.
    """
    size = _output_size("adaptive_avg_pool1d", output_size)
    return _pooled("adaptive_avg_pool1d", _adaptive.adaptive_avg_pool2d, input, size)


@overload
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: Literal[False] = False) -> Tensor: ...


@overload
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: Literal[True]) -> tuple[Tensor, Tensor]: ...


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` windows that cover the line: floor(i l/ol) to before ceil((i+1) l/ol).

    (n c l) -> (n c ol). None keeps the length. return_indices: give (maxima, indices), as max_pool1d does.
    """
    pooled = _pooled_with_indices if return_indices else _pooled
    size = _output_size("adaptive_max_pool1d", output_size)
    return pooled("adaptive_max_pool1d", _adaptive.adaptive_max_pool2d, input, size)


def _output_size(name: str, output_size: Any) -> tuple[int, int | None]:
    """The size of images of height 1 for an int, None, or a tuple of one of them."""
    if output_size is None or (isinstance(output_size, (tuple, list)) and list(output_size) == [None]):
        return 1, None
    return 1, checked_single(name, "output_size", output_size, 1)
