"""The linear layer, under PyTorch's name, with its arguments, defaults and state_dict keys.

`generator` is a numpy.random.Generator for the initial weights; without one the package's default generator is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..geometry import check_not_huge, checked_integer
from ..graph import Tensor
from ..modes import no_grad
from ..shapes import ShapeError
from . import functional as F
from . import init
from .module import Layer, trainable_dtype
from .parameter import Parameter, UninitializedParameter

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
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.out_features = checked_integer("Linear", "out_features", out_features, 1)
        if in_features is not None:
            lengths = self.out_features, checked_integer("Linear", "in_features", in_features, 1)
            check_not_huge("Linear", "the weight", lengths, "use fewer features")
        self.weight = UninitializedParameter(np.zeros((out_features, 0), trainable_dtype("Linear", dtype, device)))
        self.bias = UninitializedParameter(np.zeros(out_features, self.weight.dtype)) if bias else None
        self._generator = generator
        if in_features is not None:
            self._materialize(lengths[1])

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
