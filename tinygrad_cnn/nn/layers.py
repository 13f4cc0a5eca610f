"""The layers, under PyTorch's names, with its constructor arguments, default values and state_dict keys.

`generator` is a numpy.random.Generator for the initial weights (for Dropout: for its choices); without one the
package's default generator is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from .. import memory
from ..graph import Tensor
from ..ops.layout import flatten
from ..shapes import ShapeError, checked_integer, checked_padding, checked_pair, conv2d_geometry
from . import functional as F
from . import init
from .module import Module, Parameter, UninitializedParameter

Generator = np.random.Generator

# Containers


class _Numbered(Module):
    """Modules in order, under the names "0", "1", ... or their own."""

    def _layers(self) -> list[Module]:
        return [value for value in vars(self).values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __getitem__(self, index: int | slice) -> Any:
        """The module at an index, or those of a slice as a container of the same kind, sharing them."""
        layers = self._layers()
        if isinstance(index, slice):
            part = type(self)()
            for name, layer in [(n, m) for n, m in vars(self).items() if isinstance(m, Module)][index]:
                part.add_module(name if isinstance(self, Sequential) else str(len(part)), layer)
            return part
        if not -len(layers) <= index < len(layers):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range, there are {len(layers)} modules")
        return layers[index]

    def append(self, module: Module) -> Self:
        """Put a module at the end; returns self."""
        numbers = [int(name) for name in vars(self) if name.isdecimal()]
        self.add_module(str(max([len(self), *(n + 1 for n in numbers)])), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put modules at the end; returns self."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Numbered):
    """Modules that run one after the other: Sequential(a, b), or Sequential(OrderedDict(first=a, second=b))."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        for layer in self._layers():
            x = layer(x)
        return x


class ModuleList(_Numbered):
    """A list of modules that parameters() and state_dict() look into; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class Identity(Module):
    """x. Takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


# Layers with weights


class Linear(Module):
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
        self.weight = UninitializedParameter(np.zeros((out_features, 0), _float("Linear", dtype)))
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

    def forward(self, x: Any) -> Any:
        if isinstance(self.weight, UninitializedParameter):
            if x.ndim == 0 or x.shape[-1] == 0:
                raise ShapeError(f"Linear: x has shape {tuple(x.shape)}; its last axis must hold at least one feature")
            self._materialize(x.shape[-1])
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class _Conv(Module):
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
        dtype = _float(name, dtype)
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

    def forward(self, x: Any) -> Any:
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

    def forward(self, x: Any) -> Any:
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class BatchNorm2d(Module):
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
        dtype = _float("BatchNorm2d", dtype)
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

    def forward(self, x: Any) -> Any:
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
        if counter is not None and x.shape[0]:
            counter.array[...] += 1
            memory.mark_changed(counter.array, "BatchNorm2d")
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


# Layers without weights


class ReLU(Module):
    """max(x, 0)"""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        return F.relu(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """log(softmax(x)) along `dim`."""

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x, self.dim)


class MaxPool2d(Module):
    """The maximum of each window: (n c h w) -> (n c oh ow). ties and strict as in functional.max_pool2d."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        *,
        ties: str = "first",
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode, self.ties, self.strict = padding, dilation, ceil_mode, ties, strict

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            ties=self.ties,
            strict=self.strict,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window: (n c h w) -> (n c oh ow)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.strict = padding, ceil_mode, strict
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
            strict=self.strict,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Dropout(Module):
    """In training, zeros with probability p and the rest divided by 1 - p; in eval, x itself."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p={p}; a probability from 0 to 1 is needed")
        self.p, self.inplace, self.generator = p, inplace, generator

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training, self.inplace, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Flatten(Module):
    """The axes from start_dim to end_dim joined into one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


# Losses


class _Loss(Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r}; it can be 'mean', 'sum' or 'none'")
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """-log softmax(logits)[label], averaged: (n k), (n) -> (). See functional.cross_entropy."""

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing={label_smoothing}; a number from 0 to 1 is needed")
        self.register_buffer("weight", None if weight is None else Tensor(weight))
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """-input[label] for log-probabilities, averaged: (n k), (n) -> ()."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", None if weight is None else Tensor(weight))
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """(input - target)^2, averaged."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, reduction=self.reduction)


def _float(layer: str, dtype: Any) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(np.float32 if dtype is None else dtype)
    if kind.kind != "f":
        raise TypeError(f"{layer}: dtype={kind}; weights must be float16, float32 or float64")
    return kind


def _reset(weight: Parameter, generator: Generator | None) -> None:
    """PyTorch's default: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    init.kaiming_uniform_(weight, a=math.sqrt(5.0), generator=generator)


def _reset_bias(bias: Parameter | None, weight: Parameter, generator: Generator | None) -> None:
    if bias is not None:
        bound = 1.0 / math.sqrt(init.fans(weight)[0])
        init.uniform_(bias, -bound, bound, generator)
