"""Schedules that multiply the rate: in steps, on a line, by a power, or by a function of one's own.

Formulas give the rate at step t (`last_epoch`) from base, the group's first one, where nobody else changes it. What is
computed is the factor from one step to the next, as in PyTorch, so that schedules can be chained.
"""

from __future__ import annotations

import copy
import types
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...shapes import whole
from ..optimizer import Optimizer
from .schedule import LRScheduler, between, per_group, rate_of

__all__ = [
    "ConstantLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]


class StepLR(LRScheduler):
    """base * gamma^(t // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = whole("StepLR", "step_size", step_size, 1)
        self.gamma = between("StepLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        at_a_step = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return lr * self.gamma if at_a_step else lr

    def closed_lr(self, base_lr: float) -> float:
        return base_lr * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """base * gamma^n, n the number of milestones <= t; a milestone that occurs twice counts twice."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones={milestones!r}; a list of steps is needed, as in [30, 80]")
        self.milestones = Counter(whole("MultiStepLR", "a milestone", step, 0) for step in milestones)
        self.gamma = between("MultiStepLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        return lr * self.gamma ** self.milestones[self.last_epoch] if self.last_epoch in self.milestones else lr

    def closed_lr(self, base_lr: float) -> float:
        return base_lr * self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch)


class ConstantLR(LRScheduler):
    """base * factor before step total_iters, then base."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = between("ConstantLR", "factor", factor, 0, 1)
        self.total_iters = whole("ConstantLR", "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        if self.last_epoch != self.total_iters:
            return lr
        return lr * (1.0 / self.factor) if self.factor else base_lr

    def closed_lr(self, base_lr: float) -> float:
        return base_lr * (self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(LRScheduler):
    """base * (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters): a warm-up, or a decay."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = between("LinearLR", "start_factor", start_factor, 0, 1, open_low=True)
        self.end_factor = between("LinearLR", "end_factor", end_factor, 0, 1)
        self.total_iters = whole("LinearLR", "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        factor = 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)
        return lr * max(factor, 0.0)  # on the way to 0 the last factor may round to less

    def closed_lr(self, base_lr: float) -> float:
        done = min(self.total_iters, self.last_epoch)
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done / self.total_iters)


class ExponentialLR(LRScheduler):
    """base * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = between("ExponentialLR", "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        return lr if self._is_initial else lr * self.gamma

    def closed_lr(self, base_lr: float) -> float:
        return base_lr * self.gamma**self.last_epoch


class PolynomialLR(LRScheduler):
    """base * (1 - min(t, total_iters) / total_iters)^power: 0 from step total_iters on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = whole("PolynomialLR", "total_iters", total_iters, 1)
        self.power = between("PolynomialLR", "power", power, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        left, before = (1.0 - t / self.total_iters for t in (self.last_epoch, self.last_epoch - 1))
        return lr * float((left / before) ** self.power)

    def closed_lr(self, base_lr: float) -> float:
        return base_lr * float((1.0 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power)


class LambdaLR(LRScheduler):
    """base * lr_lambda(t); lr_lambda is a function, or a list of one for each group.

    A state holds the attributes of functions that are objects of a class, and nothing of plain functions.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        name = type(self).__name__
        self.lr_lambdas: list[Callable[[int], float]] = per_group(name, "lr_lambda", lr_lambda, optimizer)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(
                    f"{name}: lr_lambda is a {type(function).__name__}; a function of the step is needed, as in "
                    "lambda step: 0.95**step"
                )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * factor for base, factor in zip(self.base_lrs, self._factors(), strict=True)]

    def _factors(self) -> list[float]:
        """What the functions give at `last_epoch`, by group."""
        groups = len(self.optimizer.param_groups)
        if groups != len(self.lr_lambdas):
            raise RuntimeError(
                f"{type(self).__name__}: {len(self.lr_lambdas)} functions for {groups} parameter groups; add groups "
                "before making the schedule, or append to lr_lambdas"
            )
        return [function(self.last_epoch) for function in self.lr_lambdas]

    def _kept(self) -> dict[str, Any]:
        return {**super()._kept(), "lr_lambdas": [_attributes(function) for function in self.lr_lambdas]}

    def _differences(self, state: Any) -> list[str]:
        problems = super()._differences(state)
        if problems:
            return problems
        if not all(given is None or isinstance(given, Mapping) for given in state["lr_lambdas"]):
            return [f"lr_lambdas is {state['lr_lambdas']!r}, a list of dicts and None is needed"]
        if len(state["lr_lambdas"]) != len(self.lr_lambdas):
            return [f"{len(state['lr_lambdas'])} functions are given, there are {len(self.lr_lambdas)}"]
        return [
            f"function {i} has attributes in the state, but is a plain function here"
            for i, (function, given) in enumerate(zip(self.lr_lambdas, state["lr_lambdas"], strict=True))
            if given is not None and _attributes(function) is None
        ]

    def _adopt(self, state: Mapping[str, Any]) -> None:
        for function, attributes in zip(self.lr_lambdas, state["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(function).update(copy.deepcopy(attributes))
        super()._adopt({key: value for key, value in state.items() if key != "lr_lambdas"})


class MultiplicativeLR(LambdaLR):
    """base * lr_lambda(1) * ... * lr_lambda(t); lr_lambda is a function, or a list of one for each group.

    A state holds the attributes of functions that are objects of a class, and nothing of plain functions.
    """

    def get_lr(self) -> list[float]:
        rates = [rate_of(group) for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [rate * factor for rate, factor in zip(rates, self._factors(), strict=True)]


def _attributes(function: Any) -> dict[str, Any] | None:
    """The attributes of a function that is an object of a class; None for a plain function."""
    return None if isinstance(function, types.FunctionType) else getattr(function, "__dict__", None)
