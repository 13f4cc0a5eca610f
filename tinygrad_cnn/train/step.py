"""Step: a step of training that is made only with finite numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..distributed import DataParallel, local_count
from ..graph import Tensor
from ..nn import Module
from ..nn.buffers import KeptBuffers
from ..nn.utils import clip_grad_norm_
from ..ops.elementwise import array_of
from ..optim import Optimizer
from .checks import one_number


class Step:
    """A step of training that is made only with finite numbers; else the buffers of model and loss are put back."""

    def __init__(
        self,
        parallel: DataParallel,
        loss: Any,
        optimizer: Optimizer,
        inputs: tuple[Any, ...],
        epoch: int,
        batch: int,
    ) -> None:
        self._parallel, self._loss, self._optimizer, self._inputs = parallel, loss, optimizer, inputs
        model: Module = parallel.module
        self._model = model
        modules = [*model.modules(), *(loss.modules() if isinstance(loss, Module) else ())]
        self._where = f"in epoch {epoch}, batch {batch}"
        self._buffers = KeptBuffers("fit")
        for module in modules:
            self._buffers.add(module)

    def __enter__(self) -> Step:
        return self

    def loss(self, outputs: Any, targets: Any) -> tuple[Tensor, float]:
        """The loss from which backward can begin, and its value: of all processes, of which each begins at its part."""
        value = self._loss(outputs, targets)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"fit: the loss is a {type(value).__name__} {self._where}; a Tensor of one number is needed"
            )
        one_number("fit: the loss", value)
        if not value.requires_grad:
            raise RuntimeError(
                f"fit: the loss {self._where} does not require a gradient, so nothing can be learned from it; look "
                "for detach(), numpy(), argmax or no_grad() between the parameters and the loss"
            )
        count = local_count(self._loss, outputs, targets) if self._parallel.group.size > 1 else None
        weighed, number = self._parallel.weigh(value, count, outputs)
        if not math.isfinite(number):
            raise self._error(f"the loss is {number}")
        return weighed, number

    def gradients(self, max_norm: float | None) -> None:
        """Add up the gradients of all processes, check that they are finite, and clip them."""
        self._parallel.reduce_gradients()
        params = [p for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        for p in params:
            if not np.isfinite(p.grad.array).all():
                raise self._error(f"the gradient of {self._name(p)} is not finite")
        if max_norm is not None:
            clip_grad_norm_(params, max_norm)

    def _name(self, parameter: Tensor) -> str:
        named = list(self._model.named_parameters())
        if isinstance(self._loss, Module):
            named += [(f"loss.{name}", p) for name, p in self._loss.named_parameters()]
        return next((name for name, own in named if own is parameter), "a parameter")

    def _error(self, what: str) -> FloatingPointError:
        lr = float(array_of(self._optimizer.param_groups[0]["lr"]))
        remedy = "try a smaller lr or clip_grad_norm=1.0, and look for the cause in `with tg.detect_anomaly():`"
        for number, value in enumerate(self._inputs):
            if (place := _first_not_finite(array_of(value))) is not None:
                remedy = f"input {number} of the batch is {array_of(value)[place]} at {place}; clean the data"
                break
        return FloatingPointError(f"fit: {what} {self._where} (lr={lr:g}); the step was not made: {remedy}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, FloatingPointError):
            error.add_note(f"fit: {self._where}")
        if kind is not None and issubclass(kind, FloatingPointError):
            self._buffers.restore()


def _first_not_finite(value: Any) -> tuple[int, ...] | None:
    """The index of the first nan or inf of an array of floats."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return None
    places = np.argwhere(~np.isfinite(value))
    return tuple(places[0].tolist()) if len(places) else None
