"""Convolution along one axis: conv2d and its transpose on images of height 1, with kernels of height 1."""

from typing import Any

from ..geometry import checked_padding_1d, checked_single
from ..graph import Tensor
from ..shapes import ShapeError
from .conv import conv2d, conv_transpose2d
from .layout import flip as turned
from .layout import reshape
from .lines import as_images, as_lines, named_of_lines

__all__ = ["conv1d", "conv_transpose1d"]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    flip: bool = False,
    strict: bool = False,
) -> Tensor:
    """Cross-correlate lines with filters: y[n,o,i] = b[o] + sum x[n,c,i*s+p*d] w[o,c,p]; with `flip` convolve them.

    (n c l) or (c l), (o c/groups k), (o) -> (n o ol) or (o ol), ol = (l + padding - dilation*(k - 1) - 1) // stride + 1

    padding: an int, (p,), ((left, right),), 'valid', 'same', 'same_lower' or 'full'. strict: refuse lengths whose last
    places no window reads. Recorded as conv2d; errors as for it.
    """
    lines, kernels = as_images("conv1d", input), _kernels("conv1d", weight, "(o, c/groups, k)")
    step, spread = (checked_single("conv1d", k, v, 1) for k, v in (("stride", stride), ("dilation", dilation)))
    sides = checked_padding_1d("conv1d", padding)
    if flip:
        kernels = turned(kernels, (-1,))
    with named_of_lines("conv1d", "conv2d"):
        y = conv2d(lines, kernels, bias, (1, step), sides, (1, spread), groups, strict)
    return as_lines(y, input.ndim == 3)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of conv1d with the same weight.

    (n c l) or (c l), (c o/groups k), (o) -> (n o ol) or (o ol),
    ol = (l - 1)*stride - 2*padding + dilation*(k - 1) + output_padding + 1

    padding: an int, (p,) or ((left, right),). Recorded as conv_transpose2d; errors as for it.
    """
    name = "conv_transpose1d"
    lines, kernels = as_images(name, input), _kernels(name, weight, "(c, o/groups, k)")
    step, spread = (checked_single(name, k, v, 1) for k, v in (("stride", stride), ("dilation", dilation)))
    sides, extra = checked_padding_1d(name, padding, False), checked_single(name, "output_padding", output_padding, 0)
    with named_of_lines(name, "conv_transpose2d"):
        y = conv_transpose2d(lines, kernels, bias, (1, step), sides, (0, extra), groups, (1, spread))
    return as_lines(y, input.ndim == 3)


def _kernels(name: str, weight: Any, axes: str) -> Any:
    """Kernels of length k as kernels of 1 by k."""
    if weight.ndim != 3:
        raise ShapeError(f"{name}: the weight has {weight.ndim} axes, shape {tuple(weight.shape)}, needs 3: {axes}")
    return reshape(weight, (*weight.shape[:2], 1, weight.shape[2]))
