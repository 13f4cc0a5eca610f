"""Schedules along a cosine: one descent, descents with restarts, and one cycle up and down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ...shapes import whole
from ..optimizer import Optimizer
from .kinds import is_number
from .schedule import LRScheduler, between, per_group

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "OneCycleLR"]


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2; after T_max it rises again.

    Source: Loshchilov & Hutter, SGDR (2017), eq. 5, without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        between("CosineAnnealingLR", "T_max", T_max, 0, open_low=True)
        self.T_max = T_max
        self.eta_min = between("CosineAnnealingLR", "eta_min", eta_min, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        if self._is_initial:
            return lr
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the lowest point no factor leads up
            return lr + (base_lr - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        here, before = (1 + math.cos(math.pi * t / self.T_max) for t in (self.last_epoch, self.last_epoch - 1))
        return here / before * (lr - self.eta_min) + self.eta_min

    def closed_lr(self, base_lr: float) -> float:
        return _descent(base_lr, self.eta_min, self.last_epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi T_cur / T_i)) / 2; at T_cur = T_i T_cur becomes 0 and T_i T_mult times it.

    The first T_i is T_0. `step(epoch)` goes to any epoch, also within one, as `step(epoch + i / batches)` does.
    Source: Loshchilov & Hutter, SGDR (2017), eq. 5.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        name = "CosineAnnealingWarmRestarts"
        self.T_0 = self.T_i = whole(name, "T_0", T_0, 1)
        self.T_mult = whole(name, "T_mult", T_mult, 1)
        self.eta_min = between(name, "eta_min", eta_min, 0)
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        return _descent(base_lr, self.eta_min, self.T_cur / self.T_i)

    def step(self, epoch: float | None = None) -> None:
        """Count a step, or go to `epoch`, and set the rates; to be called after `optimizer.step()`."""
        if epoch is None:
            super().step()
            return
        between(type(self).__name__, "epoch", epoch, 0)
        self._move_within(math.floor(epoch), *self._place(epoch), self.get_lr)

    def _move(self, epoch: int, rates: Callable[[], list[float]]) -> None:
        if self._step_count and epoch:
            cur, length = self.T_cur + 1, self.T_i
            if cur >= length:
                cur, length = cur % length, length * self.T_mult
        else:
            cur, length = self._place(epoch)
        self._move_within(epoch, cur, length, rates)

    def _move_within(self, epoch: int, cur: float, length: int, rates: Callable[[], list[float]]) -> None:
        before = self.T_cur, self.T_i
        self.T_cur, self.T_i = cur, length
        try:
            super()._move(epoch, rates)
        except BaseException:
            self.T_cur, self.T_i = before
            raise

    def _place(self, epoch: float) -> tuple[float, int]:
        """T_cur and T_i at an epoch; counted, since PyTorch's logarithm misses some restarts by rounding."""
        cur, length = epoch, self.T_0
        if self.T_mult == 1:
            return cur % length, length
        while cur >= length:
            cur, length = cur - length, length * self.T_mult
        return cur, length


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr in pct_start of the steps, then down to the first rate / final_div_factor.

    total_steps, or epochs * steps_per_epoch; a step further is a ValueError. three_phase: down to the first rate in as
    many steps as up, then to the last. cycle_momentum: momentum, or the first of betas, goes from max_momentum to
    base_momentum and back. max_lr, max_momentum, base_momentum: numbers, or lists with one for each group.
    Source: Smith & Topin, Super-convergence (2018), sec. 2, in fast.ai's form with cosines; "linear" is theirs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        name = "OneCycleLR"
        if total_steps is not None:
            self.total_steps = whole(name, "total_steps", total_steps, 1)
        elif epochs is None or steps_per_epoch is None:
            raise ValueError(f"{name}: the number of steps is unknown; give total_steps, or epochs and steps_per_epoch")
        else:
            self.total_steps = whole(name, "epochs", epochs, 1) * whole(name, "steps_per_epoch", steps_per_epoch, 1)
        start = between(name, "pct_start", pct_start, 0, 1) * self.total_steps
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{name}: anneal_strategy={anneal_strategy!r}; 'cos' or 'linear' is needed")
        self._anneal_func_type = anneal_strategy
        lrs = [between(name, "max_lr", lr, 0) for lr in per_group(name, "max_lr", max_lr, optimizer)]
        between(name, "div_factor", div_factor, 0, open_low=True)
        between(name, "final_div_factor", final_div_factor, 0, open_low=True)
        self.cycle_momentum = bool(cycle_momentum)
        new: list[dict[str, Any]] = [
            {"initial_lr": lr / div_factor, "max_lr": lr, "min_lr": lr / div_factor / final_div_factor} for lr in lrs
        ]
        if self.cycle_momentum:
            if not {"momentum", "betas"} & optimizer.defaults.keys():
                raise ValueError(
                    f"{name}: {type(optimizer).__name__} has neither momentum nor betas to change; "
                    "give cycle_momentum=False"
                )
            self.use_beta1 = "betas" in optimizer.defaults
            for option, given in (("max_momentum", max_momentum), ("base_momentum", base_momentum)):
                for entry, value in zip(new, per_group(name, option, given, optimizer), strict=True):
                    entry[option] = between(name, option, value, 0, 1)
        self._schedule_phases = _phases(start, self.total_steps, bool(three_phase))
        last_epoch = whole(name, "last_epoch", last_epoch, -1)
        if last_epoch == -1:
            for group, entry in zip(optimizer.param_groups, new, strict=True):
                group.update(entry)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [rate for rate, _ in self._at_last_epoch()]

    def _differences(self, state: Any) -> list[str]:
        problems = super()._differences(state)
        ours = self._schedule_phases
        if not problems and not (
            state["_schedule_phases"] and all(_is_phase(p, ours) for p in state["_schedule_phases"])
        ):
            problems.append(f"_schedule_phases is {state['_schedule_phases']!r}, dicts as in {ours!r} are needed")
        return problems

    def _move(self, epoch: int, rates: Callable[[], list[float]]) -> None:
        super()._move(epoch, rates)
        if not self.cycle_momentum:
            return
        for group, (_, momentum) in zip(self.optimizer.param_groups, self._at_last_epoch(), strict=True):
            if self.use_beta1:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _at_last_epoch(self) -> list[tuple[float, float]]:
        """Rate and momentum at `last_epoch`, by group."""
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t} of a cycle of total_steps={self.total_steps}; stop here, or make the schedule "
                "with as many steps as the training has"
            )
        begin = 0.0
        for phase in self._schedule_phases[:-1]:
            if t <= phase["end_step"]:
                break
            begin = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        length = phase["end_step"] - begin
        done = (t - begin) / length if length else 1.0
        between_two = _descent if self._anneal_func_type == "cos" else _line
        found = []
        for i, group in enumerate(self.optimizer.param_groups):
            if "max_lr" not in group:
                raise RuntimeError(
                    f"OneCycleLR: parameter group {i} came after the schedule; add groups before making it"
                )
            rate = between_two(group[phase["start_lr"]], group[phase["end_lr"]], done)
            momentum = 0.0
            if self.cycle_momentum:
                momentum = between_two(group[phase["start_momentum"]], group[phase["end_momentum"]], done)
            found.append((rate, momentum))
        return found


def _phases(start: float, steps: int, three: bool) -> list[dict[str, Any]]:
    """The parts of one cycle, each with its last step and the names of what it goes between."""
    parts = [(start - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
    if three:
        parts.append((2 * start - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
        parts.append((steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
    else:
        parts.append((steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
    names = "end_step", "start_lr", "end_lr", "start_momentum", "end_momentum"
    return [dict(zip(names, part, strict=True)) for part in parts]


def _is_phase(given: Any, ours: list[dict[str, Any]]) -> bool:
    """Whether a value of a state is a part of a cycle, with the names that ours have."""
    names = {name for phase in ours for name in phase.values() if isinstance(name, str)}
    if not isinstance(given, Mapping) or given.keys() != ours[0].keys():
        return False
    others = [value for key, value in given.items() if key != "end_step"]
    return is_number(given["end_step"]) and all(isinstance(name, str) and name in names for name in others)


def _descent(start: float, end: float, done: float) -> float:
    """From start to end along half a cosine; done goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _line(start: float, end: float, done: float) -> float:
    return (end - start) * done + start
