"""torch.nn.functional's spelling of convolution. `functional` has these names too.

Images are (n, c, h, w), or (c, h, w) for a single one, which comes back without the batch axis; lines without h.
"""

from collections.abc import Callable
from typing import Any

from ..graph import Tensor
from ..ops import conv as _conv
from ..ops import layout as _layout
from ..ops.conv1d import conv1d, conv_transpose1d
from ..ops.local_conv import local_conv2d

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "local_conv2d"]


def batched(function: Callable[..., Any], input: Any, *args: Any, **params: Any) -> Tensor:
    """function(input, ...), a single image being made a batch of one and back."""
    single = getattr(input, "ndim", 4) == 3
    y: Tensor = function(_layout.unsqueeze(input, 0) if single else input, *args, **params)
    return _layout.reshape(y, y.shape[1:]) if single else y


def conv2d(
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
    """Cross-correlate images with filters; with `flip` convolve them, the kernel turned by 180 degrees.

    (n c h w), (o c/groups kh kw), (o) -> (n o oh ow), oh = (h + padding - dilation*(kh - 1) - 1) // stride + 1

    padding: an int, (height, width), ((top, bottom), (left, right)), 'valid', 'same', 'same_lower' or 'full'.
    strict: refuse sizes whose last rows or columns no window reads.
    Integers give the exact integer result, without a gradient. Errors as for `ops.conv.conv2d`.
    """
    if flip:
        weight = _layout.flip(weight, (-2, -1))
    return batched(_conv.conv2d, input, weight, bias, stride, padding, dilation, groups, strict)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of conv2d with the same weight.

    (n c h w), (c o/groups kh kw), (o) -> (n o oh ow),
    oh = (h - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1
    """
    return batched(_conv.conv_transpose2d, input, weight, bias, stride, padding, output_padding, groups, dilation)
