"""ReduceLROnPlateau: the rate falls when a measured number stops to improve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from ...ops.elementwise import array_of
from ...shapes import whole
from ..optimizer import Optimizer
from .schedule import LRScheduler, between, per_group, rate_of

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """lr * factor, but not below min_lr, when `step(metrics)` found no improvement more than `patience` times in a row.

    mode: "min" or "max" is better. An improvement is below best * (1 - threshold), or with threshold_mode "abs" below
    best - threshold; with "max" above best * (1 + threshold) or best + threshold. cooldown: so many steps after a fall
    are not counted. eps: a smaller change is left out. min_lr: a number, or a list with one for each group.
    A nan is no improvement.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        if not isinstance(factor, (bool, str)) and factor == 1:
            raise ValueError(f"{name}: factor={factor!r}; a number < 1 is needed, so that the rate falls")
        self.factor = between(name, "factor", factor, 0, 1)
        self.min_lrs = [between(name, "min_lr", lr, 0) for lr in per_group(name, "min_lr", min_lr, optimizer)]
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else float(min_lr)
        self.patience = whole(name, "patience", patience, 0)
        self.cooldown = whole(name, "cooldown", cooldown, 0)
        self.eps = between(name, "eps", eps, 0)
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode={mode!r}; 'min' or 'max' is needed")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{name}: threshold_mode={threshold_mode!r}; 'rel' or 'abs' is needed")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.threshold = between(name, "threshold", threshold, 0)
        self.optimizer = optimizer
        self.best = self.mode_worse = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = 0
        self.last_epoch = 0
        self._last_lr = [rate_of(group) for group in optimizer.param_groups]

    @property
    def in_cooldown(self) -> bool:
        """Whether steps are not counted now."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any) -> None:  # type: ignore[override]  # as PyTorch's
        """Note the number, a float or a Tensor of one, and set the rates; once an epoch, after validation."""
        current = float(array_of(metrics))
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"ReduceLROnPlateau: min_lr has {len(self.min_lrs)} entries, the optimizer has {len(groups)} "
                    "parameter groups now; append to min_lrs"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        rates = [rate_of(group) for group in groups]
        if self.num_bad_epochs > self.patience:
            lower = [max(lr * self.factor, least) for lr, least in zip(rates, self.min_lrs, strict=True)]
            rates = [new if old - new > self.eps else old for old, new in zip(rates, lower, strict=True)]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._set(rates)

    def get_lr(self) -> list[float]:
        return self.get_last_lr()

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if math.isinf(self.best):
            bound = self.best
        elif self.threshold_mode == "rel":
            bound = self.best * (1 + sign * self.threshold)
        else:
            bound = self.best + sign * self.threshold
        return sign * value > sign * bound

    def _differences(self, state: Any) -> list[str]:
        problems = super()._differences(state)
        if not problems and len(state["min_lrs"]) != len(self.optimizer.param_groups):
            problems.append(f"min_lrs has {len(state['min_lrs'])} entries for {len(self._last_lr)} parameter groups")
        return problems

    def _adopt(self, state: Mapping[str, Any]) -> None:
        super()._adopt(state)
        self.mode_worse = math.inf if self.mode == "min" else -math.inf
