"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...shapes import is_int, whole
from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .schedule import LRScheduler, rate_of

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Composed(LRScheduler):
    """A schedule that holds others, and gives its state with theirs."""

    _schedulers: list[LRScheduler]

    def _hold(self, schedulers: Sequence[LRScheduler], optimizer: Any) -> None:
        """Take the schedules on, once all are known to fit."""
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: no schedules are given; at least one is needed")
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"{name}: entry {i} is a {type(scheduler).__name__}; a schedule is needed")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name}: entry {i} is a ReduceLROnPlateau, whose step needs a number; step it by itself"
                )
            if scheduler.optimizer is not (schedulers[0].optimizer if optimizer is None else optimizer):
                raise ValueError(
                    f"{name}: entry {i}, a {type(scheduler).__name__}, has another optimizer; make all with the same"
                )
        self._schedulers, self.optimizer = list(schedulers), schedulers[0].optimizer

    def _parts(self) -> Iterator[LRScheduler]:
        """The schedules below, at any depth."""
        for scheduler in self._schedulers:
            yield scheduler
            if isinstance(scheduler, _Composed):
                yield from scheduler._parts()

    def _read_rates(self) -> None:
        self._last_lr = [rate_of(group) for group in self.optimizer.param_groups]

    def _to_initial_lr(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", rate_of(group))

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo()

    def _restart(self) -> None:
        for part in self._parts():
            part.last_epoch = -1
        self._to_initial_lr()
        self._begin()

    def get_lr(self) -> list[float]:
        return self.get_last_lr()

    def _kept(self) -> dict[str, Any]:
        return {**super()._kept(), "_schedulers": [part._kept() for part in self._schedulers]}

    def _differences(self, state: Any) -> list[str]:
        problems = super()._differences(state)
        if problems:
            return problems
        if len(state["_schedulers"]) != len(self._schedulers):
            return [f"{len(state['_schedulers'])} schedules are given, there are {len(self._schedulers)}"]
        for i, (part, entry) in enumerate(zip(self._schedulers, state["_schedulers"], strict=True)):
            problems += [f"schedule {i}, {type(part).__name__}: {what}" for what in part._differences(entry)]
        return problems

    def _adopt(self, state: Mapping[str, Any]) -> None:
        for part, entry in zip(self._schedulers, state["_schedulers"], strict=True):
            part._adopt(entry)
        super()._adopt({key: value for key, value in state.items() if key != "_schedulers"})


class SequentialLR(_Composed):
    """One schedule after the other: schedulers[i] takes over at step milestones[i - 1], and counts from there.

    Each begins with the rates that the groups began with (a MultiplicativeLR with those that they have).
    The schedules are made first, with the same optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"SequentialLR: the optimizer is a {type(optimizer).__name__}; an optimizer is needed")
        self._hold(schedulers, optimizer)
        steps = [whole("SequentialLR", "a milestone", step, 0) for step in milestones]
        if len(steps) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules and {len(steps)} milestones; a milestone is needed where "
                f"each schedule but the first begins, {len(schedulers) - 1} in all"
            )
        if steps != sorted(steps):
            raise ValueError(f"SequentialLR: milestones={steps}; they must not fall")
        last_epoch = whole("SequentialLR", "last_epoch", last_epoch, -1)
        self._milestones = steps
        self._to_initial_lr()
        self._undo()
        self._begin(last_epoch + 1)

    def _begin(self, epoch: int = 0) -> None:
        self.last_epoch = epoch
        self._schedulers[bisect_right(self._milestones, 0)]._begin()
        self._read_rates()

    def _differences(self, state: Any) -> list[str]:
        problems = super()._differences(state)
        if not problems and not (
            len(state["_milestones"]) == len(self._milestones)
            and all(map(is_int, state["_milestones"]))
            and sorted(state["_milestones"]) == list(state["_milestones"])
        ):
            steps = f"{len(self._milestones)} whole numbers that do not fall"
            problems.append(f"_milestones is {state['_milestones']!r}, {steps} are needed")
        return problems

    def step(self) -> None:
        epoch = self.last_epoch + 1
        i = bisect_right(self._milestones, epoch)
        if i > 0 and self._milestones[i - 1] == epoch:
            self._schedulers[i]._restart()
        else:
            self._schedulers[i].step()
        self.last_epoch = epoch
        self._read_rates()


class ChainedScheduler(_Composed):
    """All schedules at once: each changes the rate that those before it have left. The schedules are made first."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._hold(schedulers, optimizer)
        self.last_epoch = 0
        self._read_rates()

    def _begin(self) -> None:
        self.last_epoch = 0
        for scheduler in self._schedulers:
            scheduler._begin()
        self._read_rates()

    def step(self) -> None:
        before = [(vars(part), dict(vars(part))) for part in self._parts()]
        before += [(group, dict(group)) for group in self.optimizer.param_groups]
        try:
            for scheduler in self._schedulers:
                scheduler.step()
        except BaseException:  # a schedule may end before the others: none has moved then
            for values, kept in before:
                values.update(kept)
            raise
        self.last_epoch += 1
        self._read_rates()
