"""The normalization layers, with PyTorch's names, constructor arguments, default values and state_dict keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import memory
from ..geometry import checked_integer
from ..graph import Tensor
from ..modes import replaying
from ..shapes import ShapeError, is_int, wrong_kind
from . import functional as F
from . import init
from .module import Layer, trainable_dtype
from .parameter import Parameter


class _Affine(Layer):
    """A layer with a weight that starts as 1 and a bias that starts as 0, or without."""

    weight: Parameter | None
    bias: Parameter | None

    def _affine_parameters(self, shape: Any, device: Any, dtype: Any, weight: bool, bias: bool) -> None:
        wanted = trainable_dtype(type(self).__name__, dtype, device)
        self.weight = Parameter(np.ones(shape, wanted)) if weight else None
        self.bias = Parameter(np.zeros(shape, wanted)) if weight and bias else None

    def _without_bias(self) -> str:
        return ", bias=False" if self.weight is not None and self.bias is None else ""

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Running(_Affine):
    """A layer with one weight, bias, running mean and running variance for each channel; wants says of which inputs."""

    wants: tuple[str, ...]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features = checked_integer(type(self).__name__, "num_features", num_features, 1)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        self._affine_parameters(num_features, device, dtype, affine, bias)
        dtype, stats = trainable_dtype(type(self).__name__, dtype), track_running_stats
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
        super().reset_parameters()

    def _check(self, x: Tensor) -> str:
        """The axes that x has, one of `wants`."""
        name = type(self).__name__
        for axes in self.wants:
            names = axes.split()
            if x.ndim == len(names) and x.shape[names.index("c")] == self.num_features:
                return axes
        shapes = [f"({axes.replace('c', str(self.num_features)).replace(' ', ', ')})" for axes in self.wants]
        raise ShapeError(
            f"{name}: x has shape {tuple(x.shape)}; {' or '.join(shapes)} is needed, "
            f"as num_features={self.num_features}"
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}{self._without_bias()}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        counter = self.num_batches_tracked if self.training else None
        momentum = 0.0 if self.momentum is None else self.momentum
        if counter is not None and self.momentum is None:
            momentum = 1.0 / (int(counter.array) + 1)
        by_batch = self.training or self.running_mean is None
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps)
        if counter is not None and x.shape[0] and not replaying.get():
            counter.array[...] += 1
            memory.mark_changed(counter.array, type(self).__name__)
        return y


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel: (n c) -> (n c) or (n c l) -> (n c l)

    Otherwise as BatchNorm2d.
    """

    wants = ("n c", "n c l")


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel: (n c h w) -> (n c h w)

    In training the batch's mean and variance are used, and the running ones move towards them by `momentum` (with
    None they are the average over all batches so far); eval() uses the running ones.
    Source: Ioffe & Szegedy, Batch normalization (2015), algorithms 1 and 2.
    """

    wants = ("n c h w",)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, x: Tensor) -> Tensor:
        single = not self._check(x).startswith("n")
        by_sample = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        y = F.instance_norm(
            x.unsqueeze(0) if single else x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_sample,
            momentum,
            self.eps,
        )
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of a sample: (n c l) -> (n c l), or without n

    Otherwise as InstanceNorm2d.
    """

    wants = ("n c l", "c l")


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of a sample: (n c h w) -> (n c h w), or without n

    With track_running_stats, training moves running statistics by `momentum` (None: not at all), and eval() uses them.
    As in PyTorch, num_batches_tracked stays 0.
    Source: Ulyanov, Vedaldi & Lempitsky, Instance normalization (2016), eq. 4 and 5.
    """

    wants = ("n c h w", "c h w")


class LayerNorm(_Affine):
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of each sample: (n ... s) -> (n ... s)

    normalized_shape: the lengths s of the last axes, or the length of the last.
    Source: Ba, Kiros & Hinton, Layer normalization (2016), eq. 3 and 4.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _lengths("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine_parameters(self.normalized_shape, device, dtype, elementwise_affine, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        shown = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return shown + self._without_bias()


class RMSNorm(_Affine):
    """x / sqrt(mean(x^2) + eps) * weight with the mean of each sample: (n ... s) -> (n ... s)

    normalized_shape: the lengths s of the last axes, or the length of the last. eps: the distance of the dtype's
    numbers at 1 unless given.
    Source: Zhang & Sennrich, Root mean square layer normalization (2019), eq. 4.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _lengths("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine_parameters(self.normalized_shape, device, dtype, elementwise_affine, False)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of each group of channels of a sample.

    (n c ...) -> (n c ...); a group is num_channels / num_groups neighbouring channels.
    Source: Wu & He, Group normalization (2018), eq. 1, 2 and 7.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = checked_integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = checked_integer("GroupNorm", "num_channels", num_channels, 1)
        if num_channels % num_groups:
            raise ShapeError(
                f"GroupNorm: num_groups={num_groups} does not divide num_channels={num_channels}; "
                "the groups must be equal in size"
            )
        self.eps, self.affine = eps, affine
        self._affine_parameters(num_channels, device, dtype, affine, bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(
                f"GroupNorm: x has shape {tuple(x.shape)}; (n, {self.num_channels}, ...) is needed, "
                f"as num_channels={self.num_channels}"
            )
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}{self._without_bias()}"


class LocalResponseNorm(Layer):
    """x / (k + alpha * mean(x^2))^beta, with the mean of `size` neighbouring channels: (n c ...) -> (n c ...)

    Source: Krizhevsky, Sutskever & Hinton, ImageNet classification (2012), sec. 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = checked_integer("LocalResponseNorm", "size", size, 1)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _lengths(name: str, normalized_shape: Any) -> tuple[int, ...]:
    """The lengths of the axes that share a mean."""
    lengths = (normalized_shape,) if is_int(normalized_shape) else normalized_shape
    if not isinstance(lengths, (tuple, list)):
        raise wrong_kind(name, "normalized_shape", lengths, "an int or several, the lengths of the last axes")
    if not lengths:
        raise ShapeError(f"{name}: normalized_shape is (), needs at least one length; (1,) leaves single values")
    return tuple(checked_integer(name, "normalized_shape", n, 1) for n in lengths)
