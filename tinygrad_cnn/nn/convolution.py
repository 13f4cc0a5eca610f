"""Convolution and its transpose as layers, under PyTorch's names, with its arguments, defaults and state_dict keys.

`generator` is a numpy.random.Generator for the initial weights; without one the package's default generator is used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..geometry import (
    checked_integer,
    checked_padding,
    checked_padding_1d,
    checked_pair,
    checked_single,
    conv2d_geometry,
)
from ..graph import Tensor
from ..ops.lines import named
from ..shapes import ShapeError, is_int
from . import functional as F
from . import init
from .module import Layer, trainable_dtype
from .parameter import Parameter

Generator = np.random.Generator
_MODES = ("zeros", "reflect", "replicate", "circular")


def _fixed(padding: Any) -> Any:
    """A padding as tuples of Python's ints, which nobody changes later; a name as it is."""
    if isinstance(padding, (tuple, list)):
        return tuple(map(_fixed, padding))
    return padding if isinstance(padding, str) else int(padding)


class _Conv(Layer):
    """What convolutions and their transposes of one and two axes share: the sizes, the weight and the bias."""

    weight: Parameter
    bias: Parameter | None
    axes = 2
    transposed = False
    output_padding: tuple[int, ...] = (0, 0)

    def __init__(
        self,
        channels: tuple[int, int],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
        generator: Generator | None,
    ) -> None:
        super().__init__()
        name, transposed = type(self).__name__, self.transposed
        self.in_channels = checked_integer(name, "in_channels", channels[0], 1)
        self.out_channels = checked_integer(name, "out_channels", channels[1], 1)
        self.kernel_size = self.sizes("kernel_size", kernel_size, 1)
        self.stride = self.sizes("stride", stride, 1)
        self.dilation = self.sizes("dilation", dilation, 1)
        self.groups = checked_integer(name, "groups", groups, 1)
        (checked_padding_1d if self.axes == 1 else checked_padding)(name, padding, not transposed)
        self.padding = (int(padding),) * self.axes if is_int(padding) else _fixed(padding)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(
                f"{name}: groups={groups} does not divide in_channels={self.in_channels} "
                f"and out_channels={self.out_channels}; "
                f"use a divisor of {math.gcd(self.in_channels, self.out_channels)}"
            )
        if padding_mode not in (_MODES[:1] if transposed else _MODES):
            raise ValueError(f"{name}: padding_mode={padding_mode!r}; it can be {'zeros' if transposed else _MODES}")
        self.padding_mode = padding_mode
        first, second = channels if transposed else channels[::-1]
        dtype = trainable_dtype(name, dtype, device)
        self.weight = Parameter(np.zeros((first, second // self.groups, *self.kernel_size), dtype))
        self.bias = Parameter(np.zeros(channels[1], dtype)) if bias else None
        self.reset_parameters(generator)

    def sizes(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        """One int for each axis of the kernel."""
        layer = type(self).__name__
        if self.axes == 1:
            return (checked_single(layer, name, value, least),)
        return checked_pair(layer, name, value, least)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        init.default_weight_(self.weight, generator)
        init.default_bias_(self.bias, self.weight, generator)

    def padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """(x with the cells around it that padding_mode puts there, the padding with zeros that is left to do)."""
        if self.padding_mode == "zeros":
            return x, self.padding
        name = type(self).__name__
        if x.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(f"{name}: x has {x.ndim} axes, shape {tuple(x.shape)}; it needs {self.axes + 2}")
        ones = (1,) * (2 - self.axes)
        padding = self.padding if self.axes == 2 else checked_padding_1d(name, self.padding)
        sizes = [(*ones, *values) for values in (self.kernel_size, self.stride, self.dilation)]
        # The numbers of a named padding follow from the sizes alone, so channels are left to the convolution.
        shape = (1, 1, *ones, *x.shape[-self.axes :])
        at = conv2d_geometry(shape, (1, 1, *sizes[0]), sizes[1], padding, sizes[2])
        widths = [n for pair in at.padding[: -self.axes - 1 : -1] for n in pair]
        return F.pad(x, widths, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        zeros, ones = (0,) * self.axes, (1,) * self.axes
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
            f"padding={self.padding}" if self.padding != zeros else "",
            f"dilation={self.dilation}" if self.dilation != ones else "",
            f"output_padding={self.output_padding}" if any(self.output_padding) else "",
            f"groups={self.groups}" if self.groups != 1 else "",
            "bias=False" if self.bias is None else "",
            f"padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "",
        ]
        return ", ".join(filter(None, parts))


class _Convolution(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        strict: bool = False,
        generator: Generator | None = None,
    ) -> None:
        channels, sizes = (in_channels, out_channels), (kernel_size, stride, padding, dilation)
        super().__init__(channels, *sizes, groups, bias, padding_mode, device, dtype, generator)
        self.strict = strict


class Conv2d(_Convolution):
    """Cross-correlate images with learned filters: (n in h w) -> (n out oh ow), or without n.

    padding: an int, (height, width), ((top, bottom), (left, right)), 'valid', 'same', 'same_lower' or 'full'.
    padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'. strict: refuse sizes that leave pixels unread.

    weight (out in/groups kh kw) and bias (out) start as U(-b, b), b = 1/sqrt(in/groups * kh * kw).
    """

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, strict=self.strict)


class Conv1d(_Convolution):
    """Cross-correlate lines with learned filters: (n in l) -> (n out ol), or without n.

    padding: an int, (p,), ((left, right),), 'valid', 'same', 'same_lower' or 'full'. Else as Conv2d;
    weight (out in/groups k).
    """

    axes = 1
    output_padding = (0,)

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, strict=self.strict)


class _Transpose(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        channels, sizes = (in_channels, out_channels), (kernel_size, stride, padding, dilation)
        super().__init__(channels, *sizes, groups, bias, padding_mode, device, dtype, generator)
        self.output_padding = self.sizes("output_padding", output_padding, 0)


class ConvTranspose2d(_Transpose):
    """The transpose of Conv2d(out, in, ...): (n in h w) -> (n out oh ow), or without n.

    oh = (h - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1; weight (in out/groups kh kw).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class ConvTranspose1d(_Transpose):
    """The transpose of Conv1d(out, in, ...): (n in l) -> (n out ol), or without n.

    ol = (l - 1)*stride - 2*padding + dilation*(k - 1) + output_padding + 1; weight (in out/groups k).
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class LocalConv2d(Layer):
    """Cross-correlate images of one size with filters of each place's own: (n in h w) -> (n out oh ow), or without n.

    in_size: h and w, an int or (h, w). Other arguments as for Conv2d; no groups.

    weight (oh ow out in kh kw) and bias (out oh ow) start as U(-b, b), b = 1/sqrt(in * kh * kw): weight[i, j] is the
    weight of a Conv2d that gives the output at (i, j).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        in_size: Any,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        name = "LocalConv2d"
        self.in_channels = checked_integer(name, "in_channels", in_channels, 1)
        self.out_channels = checked_integer(name, "out_channels", out_channels, 1)
        self.in_size = checked_pair(name, "in_size", in_size, 1)
        self.kernel_size = checked_pair(name, "kernel_size", kernel_size, 1)
        self.stride = checked_pair(name, "stride", stride, 1)
        self.dilation = checked_pair(name, "dilation", dilation, 1)
        checked_padding(name, padding)
        self.padding = (padding, padding) if isinstance(padding, (int, np.integer)) else padding
        kernels = (out_channels, in_channels, *self.kernel_size)
        with named(name, "conv2d"):
            at = conv2d_geometry((1, in_channels, *self.in_size), kernels, self.stride, self.padding, self.dilation)
        dtype = trainable_dtype(name, dtype, device)
        self.weight = Parameter(np.zeros((*at.out, *kernels), dtype))
        self.bias = Parameter(np.zeros(at.out_shape[1:], dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        bound = 1.0 / math.sqrt(math.prod(self.weight.shape[3:]))
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound, generator)

    def forward(self, x: Tensor) -> Tensor:
        return F.local_conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, in_size={self.in_size}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
            f"padding={self.padding}" if self.padding != (0, 0) else "",
            f"dilation={self.dilation}" if self.dilation != (1, 1) else "",
            "bias=False" if self.bias is None else "",
        ]
        return ", ".join(filter(None, parts))
