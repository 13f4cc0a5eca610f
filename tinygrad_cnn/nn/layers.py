"""The layers with weights, under PyTorch's names, with its constructor arguments, default values and state_dict keys.

`generator` is a numpy.random.Generator for the initial weights; without one the package's default generator is used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import memory
from ..geometry import checked_integer, checked_padding, checked_pair, conv2d_geometry
from ..graph import Tensor
from ..modes import no_grad, replaying
from ..shapes import ShapeError
from . import functional as F
from . import init
from .module import Layer, Parameter, UninitializedParameter, trainable_dtype

Generator = np.random.Generator


class Linear(Layer):
    """x w^T + b: (... in_features) -> (... out_features)

    weight (out in) and bias (out) start as U(-1/sqrt(in), 1/sqrt(in)). With in_features=None the first input decides
    it: run one batch through the model before an optimizer is made or the state is saved.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.out_features = checked_integer("Linear", "out_features", out_features, 1)
        self.weight = UninitializedParameter(np.zeros((out_features, 0), trainable_dtype("Linear", dtype)))
        self.bias = UninitializedParameter(np.zeros(out_features, self.weight.dtype)) if bias else None
        self._generator = generator
        if in_features is not None:
            self._materialize(checked_integer("Linear", "in_features", in_features, 1))

    @property
    def in_features(self) -> int | None:
        """The length of the input's last axis; None until it is known."""
        return None if isinstance(self.weight, UninitializedParameter) else self.weight.shape[1]

    def _materialize(self, in_features: int) -> None:
        """Make and draw the parameters that are not there yet."""
        drawn = Parameter(np.zeros((self.out_features, in_features)))
        _reset(drawn, self._generator)
        parts: list[tuple[Parameter | None, Tensor]] = [(self.weight, drawn)]
        if self.bias is not None:
            drawn_bias = Parameter(np.zeros(self.out_features))
            _reset_bias(drawn_bias, drawn, self._generator)
            parts.append((self.bias, drawn_bias))
        for parameter, values in parts:
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(values.array)
        self._generator = None

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again; a lazy layer that has none yet stays as it is."""
        if self.in_features is not None:
            _reset(self.weight, generator)
            _reset_bias(self.bias, self.weight, generator)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.weight, UninitializedParameter):
            if x.ndim == 0 or x.shape[-1] == 0:
                raise ShapeError(f"Linear: x has shape {tuple(x.shape)}; its last axis must hold at least one feature")
            trial = np.zeros((self.out_features, x.shape[-1]), self.weight.dtype)
            with no_grad():  # an input that the op refuses must not decide the size
                F.linear(x, Tensor(trial), None if self.bias is None else Tensor(np.zeros_like(self.bias.array)))
            self._materialize(x.shape[-1])
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class _Conv(Layer):
    """What Conv2d and ConvTranspose2d share: the sizes, the weight and the bias."""

    weight: Parameter
    bias: Parameter | None
    output_padding: tuple[int, int] = (0, 0)

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
        dtype: Any,
        generator: Generator | None,
        transposed: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = checked_integer(name, "in_channels", channels[0], 1)
        self.out_channels = checked_integer(name, "out_channels", channels[1], 1)
        self.kernel_size = checked_pair(name, "kernel_size", kernel_size, 1)
        self.stride = checked_pair(name, "stride", stride, 1)
        self.dilation = checked_pair(name, "dilation", dilation, 1)
        self.groups = checked_integer(name, "groups", groups, 1)
        checked_padding(name, padding, named=not transposed)
        self.padding = (padding, padding) if isinstance(padding, (int, np.integer)) else padding
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(
                f"{name}: groups={groups} does not divide in_channels={self.in_channels} "
                f"and out_channels={self.out_channels}; "
                f"use a divisor of {math.gcd(self.in_channels, self.out_channels)}"
            )
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in (modes[:1] if transposed else modes):
            raise ValueError(f"{name}: padding_mode={padding_mode!r}; it can be {'zeros' if transposed else modes}")
        self.padding_mode = padding_mode
        first, second = (channels[0], channels[1]) if transposed else (channels[1], channels[0])
        dtype = trainable_dtype(name, dtype)
        self.weight = Parameter(np.zeros((first, second // self.groups, *self.kernel_size), dtype))
        self.bias = Parameter(np.zeros(channels[1], dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        _reset(self.weight, generator)
        _reset_bias(self.bias, self.weight, generator)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
            f"padding={self.padding}" if self.padding != (0, 0) else "",
            f"dilation={self.dilation}" if self.dilation != (1, 1) else "",
            f"output_padding={self.output_padding}" if self.output_padding != (0, 0) else "",
            f"groups={self.groups}" if self.groups != 1 else "",
            "bias=False" if self.bias is None else "",
            f"padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "",
        ]
        return ", ".join(filter(None, parts))


class Conv2d(_Conv):
    """Cross-correlate images with learned filters: (n in h w) -> (n out oh ow), or without n.

    padding: an int, (height, width), ((top, bottom), (left, right)), 'valid', 'same', 'same_lower' or 'full'.
    padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'. strict: refuse sizes that leave pixels unread.

    weight (out in/groups kh kw) and bias (out) start as U(-b, b), b = 1/sqrt(in/groups * kh * kw).
    """

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
        *,
        strict: bool = False,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        channels = (in_channels, out_channels)
        super().__init__(
            channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, generator, False
        )
        self.strict = strict

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            shape = x.shape if x.ndim != 3 else (1, *x.shape)
            at = conv2d_geometry(shape, self.weight.shape, self.stride, padding, self.dilation, self.groups)
            (top, bottom), (left, right) = at.padding
            x, padding = F.pad(x, (left, right, top, bottom), mode=self.padding_mode), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, strict=self.strict)


class ConvTranspose2d(_Conv):
    """The transpose of Conv2d(out, in, ...): (n in h w) -> (n out oh ow), or without n.

    oh = (h - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1; weight (in out/groups kh kw).
    """

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
        *,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        channels = (in_channels, out_channels)
        super().__init__(
            channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, generator, True
        )
        self.output_padding = checked_pair("ConvTranspose2d", "output_padding", output_padding, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class BatchNorm2d(Layer):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel: (n c h w) -> (n c h w)

    In training the batch's mean and variance are used, and the running ones move towards them by `momentum` (with
    None they are the average over all batches so far); eval() uses the running ones.
    Source: Ioffe & Szegedy, Batch normalization (2015), algorithms 1 and 2.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features = checked_integer("BatchNorm2d", "num_features", num_features, 1)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        dtype = trainable_dtype("BatchNorm2d", dtype)
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        stats = track_running_stats
        self.register_buffer("running_mean", Tensor(np.zeros(num_features, dtype)) if stats else None)
        self.register_buffer("running_var", Tensor(np.ones(num_features, dtype)) if stats else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if stats else None)

    def reset_running_stats(self) -> None:
        """Forget the batches seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Forget the batches seen, and set weight to 1 and bias to 0."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(
                f"BatchNorm2d: x has shape {tuple(x.shape)}; (n, {self.num_features}, h, w) is needed, "
                f"as num_features={self.num_features}"
            )
        counter = self.num_batches_tracked if self.training else None
        momentum = 0.0 if self.momentum is None else self.momentum
        if counter is not None and self.momentum is None:
            momentum = 1.0 / (int(counter.array) + 1)
        by_batch = self.training or self.running_mean is None
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps)
        if counter is not None and x.shape[0] and not replaying.get():
            counter.array[...] += 1
            memory.mark_changed(counter.array, "BatchNorm2d")
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


def _reset(weight: Parameter, generator: Generator | None) -> None:
    """PyTorch's default: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    init.kaiming_uniform_(weight, a=math.sqrt(5.0), generator=generator)


def _reset_bias(bias: Parameter | None, weight: Parameter, generator: Generator | None) -> None:
    if bias is not None:
        bound = 1.0 / math.sqrt(init.fans(weight)[0])
        init.uniform_(bias, -bound, bound, generator)
