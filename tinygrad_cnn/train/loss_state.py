"""LossState: what a loss has beside the model that decides the next steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import wrap
from ..nn import Module
from ..nn.parameter import UninitializedParameter


class LossState:
    """The parameters and persistent buffers of a loss, without those that are the model's too."""

    def __init__(self, loss: Module, model: Module) -> None:
        shared = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
        self._loss = loss
        self._own = {name: tensor for name, tensor in loss._named_state().items() if id(tensor) not in shared}

    def __bool__(self) -> bool:
        return bool(self._own)

    def read(self) -> dict[str, NDArray[Any]]:
        """The values by name, copied. Raises RuntimeError if a lazy layer does not know its shape yet."""
        return {name: value.numpy().copy() for name, value in self._loss.state_dict().items() if name in self._own}

    def write(self, state: Mapping[str, Any]) -> None:
        """Copy values of these names into the loss: all of them or none. Raises ValueError if one does not fit."""
        if set(state) != set(self._own):
            raise ValueError(f"the state of the loss was {', '.join(state)}, now it is {', '.join(self._own)}")
        self._loss.load_state_dict(state, strict=False)

    def keep(self) -> Callable[[], None]:
        """A function that makes the state what it is now, lazy parameters lazy again."""
        lazy = [(tensor, tensor.array) for tensor in self._own.values() if isinstance(tensor, UninitializedParameter)]
        values = {
            name: np.array(tensor.array)
            for name, tensor in self._own.items()
            if not isinstance(tensor, UninitializedParameter)
        }

        def restore() -> None:
            for tensor, array in lazy:
                tensor.data = wrap(array)
                tensor.__class__ = UninitializedParameter
            self._loss.load_state_dict(values, strict=False)

        return restore
