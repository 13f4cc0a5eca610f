"""History: what a run of training measured, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ["History"]

Logs = dict[str, Any]


class History:
    """The logs of every epoch: history.logs[-1]["train_loss"], or history["train_loss"] for all epochs.

    logs: a dict per epoch with its number `epoch` from 1, `train_loss`, `valid_loss`, the metrics, `lr` and `seconds`.
    stopped: why a callback ended the run, "" if none did.
    finished: whether the run came to its end; after an error or an interrupt it is False.
    """

    def __init__(self) -> None:
        self.logs: list[Logs] = []
        self.stopped = ""
        self.finished = False

    def best(self, monitor: str = "valid_loss", mode: Literal["min", "max"] = "min") -> Logs:
        """The logs of the epoch with the smallest or largest figure, of equal ones the first; nan is never the best.

        Raises KeyError for an unknown name and ValueError if no epoch has a number there.
        """
        check_mode("History.best", mode)
        best: Logs | None = None
        for logs, value in zip(self.logs, self[monitor], strict=True):
            if not math.isnan(value) and (best is None or is_better(value, best[monitor], mode)):
                best = logs
        if best is None:
            raise ValueError(f"History.best: no epoch of {len(self)} has a number for {monitor!r}; train one first")
        return best

    def __getitem__(self, name: str) -> list[Any]:
        if self.logs and name not in self.logs[0]:
            raise KeyError(f"History: {name!r} was not measured; there are {', '.join(self.logs[0])}")
        return [logs[name] for logs in self.logs]

    def __len__(self) -> int:
        return len(self.logs)

    def __iter__(self) -> Iterator[Logs]:
        return iter(self.logs)

    def __repr__(self) -> str:
        if not self.logs:
            return "History(no epochs)"
        stopped = f", stopped: {self.stopped}" if self.stopped else ""
        return f"History({len(self)} epochs{stopped}, last: {line_of(self.logs[-1])})"

    def state_dict(self) -> dict[str, Any]:
        """The logs and why the run was stopped."""
        return {"logs": [dict(logs) for logs in self.logs], "stopped": self.stopped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the logs of `state_dict`, copied."""
        self.logs, self.stopped = [dict(logs) for logs in state["logs"]], state["stopped"]


def check_mode(name: str, mode: Any) -> None:
    """Raises ValueError for what is no mode."""
    if mode not in ("min", "max"):
        raise ValueError(f"{name}: mode={mode!r}; 'min' or 'max' is needed")


def is_better(value: float, best: float, mode: str, min_delta: float = 0.0) -> bool:
    """Whether a figure is by more than min_delta below the best so far (mode "min") or above it ("max")."""
    return value < best - min_delta if mode == "min" else value > best + min_delta


def line_of(logs: Mapping[str, Any]) -> str:
    """The figures of an epoch as a line of text: train_loss 0.1234  valid_loss 0.2345  lr 0.01  3.5 s."""
    figures = [f"{name} {value:.4f}" for name, value in logs.items() if name not in ("epoch", "lr", "seconds")]
    return "  ".join([*figures, f"lr {logs['lr']:g}", f"{logs['seconds']:.1f} s"])
