"""Linear layers and batch norm, under PyTorch's names, with its arguments, defaults and state_dict keys.

`generator` is a numpy.random.Generator for the initial weights; without one the package's default generator is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import memory
from ..geometry import checked_integer
from ..graph import Tensor
from ..modes import no_grad
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
        init.default_weight_(drawn, self._generator)
        parts: list[tuple[Parameter | None, Tensor]] = [(self.weight, drawn)]
        if self.bias is not None:
            drawn_bias = Parameter(np.zeros(self.out_features))
            init.default_bias_(drawn_bias, drawn, self._generator)
            parts.append((self.bias, drawn_bias))
        for parameter, values in parts:
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(values.array)
        self._generator = None

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again; a lazy layer that has none yet stays as it is."""
        if self.in_features is not None:
            init.default_weight_(self.weight, generator)
            init.default_bias_(self.bias, self.weight, generator)

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
        if counter is not None and x.shape[0]:
            counter.array[...] += 1
            memory.mark_changed(counter.array, "BatchNorm2d")
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )
