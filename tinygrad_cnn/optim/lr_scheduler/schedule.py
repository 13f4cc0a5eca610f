"""LRScheduler: what every schedule shares: the count of steps, the rates that it sets, and its state."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...ops.elementwise import array_of
from ...shapes import whole
from ..optimizer import Group, Optimizer
from .kinds import wrong_kinds

__all__ = ["LRScheduler"]


class LRScheduler:
    """Base of the schedules: sets each group's "lr" when it is made, and again at each `step()`.

    optimizer: whose groups it changes. last_epoch: the number of steps so far, -1 for a new run; otherwise the groups
    carry "initial_lr" from an earlier one.
    A group that is added later joins with the rate that it comes with.

    A subclass gives `next_lr`, the new rate from the one that the group has, so that schedules can be chained and rates
    changed by hand, and `closed_lr`, the rate from the first one and `last_epoch` alone. Or `get_lr`, for all groups.

    To go on with an earlier run make the optimizer and the schedule as then, and give both their states.
    """

    _last_lr: list[float]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: the optimizer is a {type(optimizer).__name__}; an optimizer is needed")
        last_epoch = whole(name, "last_epoch", last_epoch, -1)
        self.optimizer = optimizer
        if last_epoch >= 0:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        f"{name}: last_epoch={last_epoch}, but parameter group {i} has no 'initial_lr'; load the "
                        "optimizer's state of the earlier run first, or leave last_epoch out for a new run"
                    )
        self.base_lrs: list[float] = []
        self.last_epoch = last_epoch
        self._step_count = 0
        self._begin()

    def next_lr(self, lr: float, base_lr: float) -> float:
        """The rate at `last_epoch` of a group that has the rate `lr` and began with `base_lr`."""
        raise NotImplementedError(f"{type(self).__name__} has no next_lr; define next_lr(self, lr, base_lr), or get_lr")

    def closed_lr(self, base_lr: float) -> float:
        """The rate at `last_epoch` of a group that began with `base_lr`, whatever its rate is now."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form; its rates depend on those before")

    def get_lr(self) -> list[float]:
        """The rates at `last_epoch`, by group, from those that the groups have. For those last set: `get_last_lr`."""
        groups = self.optimizer.param_groups
        return [self.next_lr(rate_of(g), base) for g, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, by group."""
        return list(self._last_lr)

    def step(self) -> None:
        """Count a step and set the rates; to be called after `optimizer.step()`."""
        if self._step_count == 1 and not self.optimizer.has_stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(), so the first learning rate of the "
                "schedule is never used; call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._move(self.last_epoch + 1, self.get_lr)
        self._step_count += 1

    @property
    def _is_initial(self) -> bool:
        """Whether the rates are being set for the first time, when a resumed run has them already."""
        return self._step_count == 0

    def _begin(self) -> None:
        """Set the rates of the first step, or find those of a resumed run as they are."""
        self._step_count = 0
        self._move(self.last_epoch + 1, self.get_lr)
        self._step_count = 1

    def _restart(self) -> None:
        """Begin anew in the middle of a run, as a part of SequentialLR."""
        has_closed_form = type(self).closed_lr is not LRScheduler.closed_lr
        self._move(0, self._closed_lrs if has_closed_form else self.get_lr)

    def _closed_lrs(self) -> list[float]:
        return [self.closed_lr(base) for base in self.base_lrs]

    def _undo(self) -> None:
        """Take back the step of the beginning."""
        self.last_epoch -= 1

    def _move(self, epoch: int, rates: Callable[[], list[float]]) -> None:
        """Go to `epoch` and set the rates there; where they cannot be computed everything stays as it was."""
        before = self.last_epoch, self.base_lrs
        self.last_epoch = epoch
        try:
            groups = self.optimizer.param_groups
            initial = [group.get("initial_lr", rate_of(group)) for group in groups]
            self.base_lrs = self.base_lrs + [float(lr) for lr in initial[len(self.base_lrs) :]]
            new = rates()
            if len(new) != len(groups):
                raise RuntimeError(
                    f"{type(self).__name__}: {len(new)} rates for {len(groups)} parameter groups; give one for each"
                )
        except BaseException:
            self.last_epoch, self.base_lrs = before
            raise
        for group, base in zip(groups, initial, strict=True):
            group.setdefault("initial_lr", base)
        self._set(new)

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, copied: counts, rates and options."""
        return copy.deepcopy(self._kept())

    def _kept(self) -> dict[str, Any]:
        """What a state holds, not copied."""
        return {key: value for key, value in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the schedule that gave `state_dict` stood; the optimizer's state holds the rates themselves.

        Raises ValueError that lists every difference: entries, their kinds, numbers of groups. It changes nothing then.
        """
        if problems := self._differences(state_dict):
            shown = "\n  ".join(problems)
            raise ValueError(f"{type(self).__name__}.load_state_dict: nothing was changed:\n  {shown}")
        self._adopt(state_dict)

    def _differences(self, state: Any) -> list[str]:
        """What is wrong with a state for this schedule."""
        if not isinstance(state, Mapping):
            return [f"a {type(state).__name__} is given; a dict is needed, as state_dict() gives"]
        ours = self._kept()
        problems = [f"{key} is missing" for key in ours if key not in state]
        problems += [
            f"{type(self).__name__} has no {key!r}" for key in state if key not in ours and key not in _IGNORED
        ]
        if wrong := wrong_kinds(ours, state):
            return problems + wrong
        groups = len(self.optimizer.param_groups)
        for key in ("base_lrs", "_last_lr"):
            if key in ours and key in state and len(state[key]) != groups:
                problems.append(f"{key} has {len(state[key])} rates, the optimizer has {groups} parameter groups")
        return problems

    def _adopt(self, state: Mapping[str, Any]) -> None:
        vars(self).update({key: copy.deepcopy(value) for key, value in state.items() if key not in _IGNORED})

    def __repr__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self._last_lr)
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr=[{rates}])"


_IGNORED = ("_get_lr_called_within_step", "_is_initial")  # kept by PyTorch's states, for its own warnings


def rate_of(group: Group) -> float:
    """The learning rate of a parameter group, as a number."""
    return float(array_of(group["lr"]))


def per_group(name: str, option: str, given: Any, optimizer: Optimizer) -> list[Any]:
    """A value for each group of the optimizer, from one for all or a list."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: the optimizer is a {type(optimizer).__name__}; an optimizer is needed")
    groups = len(optimizer.param_groups)
    if not isinstance(given, (list, tuple)):
        return [given] * groups
    if len(given) != groups:
        raise ValueError(
            f"{name}: {option} has {len(given)} entries, the optimizer has {groups} parameter groups; "
            "give one for each, or a single one for all"
        )
    return list(given)


def between(name: str, option: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
    """A number from low to high; `open_low` leaves low itself out."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: {option}={value!r}; a number is needed")
    number = float(value)
    if not low <= number <= high or (open_low and number == low):
        sign = ">" if open_low else ">="
        above = "" if high == math.inf else f" and <= {high:g}"
        raise ValueError(f"{name}: {option}={value!r}; a number {sign} {low:g}{above} is needed")
    return number
