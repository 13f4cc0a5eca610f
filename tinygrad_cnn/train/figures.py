"""Figures: the mean loss and the metrics of a pass over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..distributed.group import ALONE, Group
from ..metrics import Mean
from ..modes import no_grad
from .checks import named, one_number

Metrics = Mapping[str, Any] | Sequence[Any] | None


class Figures:
    """The mean loss and the metrics of a pass, in which each process of the group counts batches of its own."""

    def __init__(self, caller: str, prefix: str, metrics: Metrics, group: Group = ALONE) -> None:
        self._caller, self._prefix, self._loss, self._group = caller, prefix, Mean(), group
        self._metrics = {
            name: metric if hasattr(metric, "compute") else _Averaged(caller, name, metric)
            for name, metric in named(caller, metrics).items()
        }
        for name, metric in self._metrics.items():
            if group.size > 1 and not hasattr(metric, "merge"):
                raise TypeError(
                    f"{caller}: the metric {name!r} is a {type(metric).__name__} without merge(other), so what "
                    f"{group.size} processes counted cannot be put together; define merge, as "
                    "tinygrad_cnn.metrics.Accuracy does"
                )
        self._reset()

    def _reset(self) -> None:
        for metric in (self._loss, *self._metrics.values()):
            metric.reset()

    def names(self, prefix: str) -> tuple[str, ...]:
        """The names of the figures of a pass."""
        return tuple(f"{prefix}{name}" for name in ("loss", *self._metrics))

    @no_grad()
    def update(self, loss: Any, outputs: Any, targets: Any) -> None:
        """Count a batch."""
        if loss is not None:
            self._loss.update(one_number(f"{self._caller}: the loss", loss), _size(targets))
        for metric in self._metrics.values():
            metric.update(outputs, targets)

    def compute(self) -> dict[str, Any]:
        """The figures by name, over all processes; what was counted is forgotten."""
        if self._group.size > 1:
            self._merge()
        found = {f"{self._prefix}loss": self._loss.compute()} if self._loss.weight else {}
        found |= {f"{self._prefix}{name}": metric.compute() for name, metric in self._metrics.items()}
        self._reset()
        return found

    def _merge(self) -> None:
        """Count what all processes have counted, in their order, which gives all of them the same bits."""
        own = [self._loss, *(m.mean if isinstance(m, _Averaged) else m for m in self._metrics.values())]
        counted = self._group.collect(own)
        for i, metric in enumerate(own):
            metric.reset()
            for found in counted:
                metric.merge(found[i])


class _Averaged:
    """The mean of a function of outputs and targets over batches, weighted by their sizes."""

    def __init__(self, caller: str, name: str, function: Callable[[Any, Any], Any]) -> None:
        self._what, self._function, self.mean = f"{caller}: the metric {name!r}", function, Mean()
        self.reset, self.compute, self.merge = self.mean.reset, self.mean.compute, self.mean.merge

    def update(self, outputs: Any, targets: Any) -> None:
        """Count a batch."""
        self.mean.update(one_number(self._what, self._function(outputs, targets)), _size(targets))


def _size(targets: Any) -> int:
    """How many items a batch has."""
    shape = getattr(targets, "shape", None)
    return len(targets) if shape is None else int(shape[0]) if shape else 1
