"""What `fit` calls while it trains: logs in files, early stopping, the best weights, progress.

A callback is a function of the logs of an epoch, or an object with any of these methods, called in this order:

    on_fit_begin(run)      with the Run: the model, the optimizer, the number of epochs, the history
    on_epoch_begin(epoch)  with its number, from 1
    on_batch_end(epoch, batch, loss)
    on_epoch_end(logs)     with a dict: epoch, train_loss, valid_loss, the metrics, lr, seconds
    on_fit_end(history)    at the end, also after an error or an interrupt; then history.finished is False

Raising StopTraining in on_epoch_end ends the run after this epoch. What `state_dict()` gives, where an object has that
and `load_state_dict(state)`, goes into checkpoints.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..interchange import CheckpointError, load, save
from ..interchange.atomic import replace_file
from ..nn import Module
from ..optim import Optimizer
from .history import History, Logs, check_mode, is_better, line_of

__all__ = ["BestModel", "CSVLog", "EarlyStopping", "JSONLines", "Progress", "Run", "StopTraining"]

Mode = Literal["min", "max"]

HOOKS = ("on_fit_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_fit_end")


class StopTraining(Exception):
    """Raised by a callback in on_epoch_end: fit ends after this epoch, with the text as `history.stopped`."""


@dataclass(frozen=True)
class Run:
    """What a callback may know of the run at its beginning; `epochs` is the number of the last one."""

    model: Module
    optimizer: Optimizer
    loader: Any
    epochs: int
    history: History
    figures: tuple[str, ...]  # what the logs will hold beside the epoch


class EarlyStopping:
    """Stop when `monitor` has not improved for `patience` epochs in a row.

    mode: "min" or "max" is better; an improvement is by more than min_delta. nan is no improvement.
    """

    def __init__(
        self, monitor: str = "valid_loss", patience: int = 5, mode: Mode = "min", min_delta: float = 0.0
    ) -> None:
        check_mode("EarlyStopping", mode)
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(f"EarlyStopping: patience={patience!r}; a whole number >= 1 is needed")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: min_delta={min_delta!r}; a number >= 0 is needed")
        self.monitor, self.patience, self.mode, self.min_delta = monitor, patience, mode, min_delta
        self._begin()

    def _begin(self) -> None:
        self.best, self.best_epoch, self.waited = _worst(self.mode), 0, 0

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run, unless this one goes on from it."""
        check_monitor("EarlyStopping", self.monitor, run.figures)
        if not run.history:
            self._begin()

    def on_epoch_end(self, logs: Logs) -> None:
        """Count; raises StopTraining when it is enough."""
        value = float(logs[self.monitor])
        if is_better(value, self.best, self.mode, self.min_delta):
            self.best, self.best_epoch, self.waited = value, logs["epoch"], 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            raise StopTraining(
                f"{self.monitor} has not improved on {self.best:.6g} of epoch {self.best_epoch} "
                f"for {self.waited} epochs"
            )

    def state_dict(self) -> dict[str, Any]:
        """The best figure, its epoch, and the epochs waited since."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the counts of `state_dict`."""
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]


class BestModel:
    """Write the weights to `path` whenever `monitor` improves; with `restore`, load the best ones when fit ends.

    mode: "min" or "max" is better; of equal figures the first epoch stays. The file is one for `tg.load`, with the
    model alone: a loss that is a Module stays as the last epoch left it.
    """

    def __init__(
        self, path: str | os.PathLike[str], monitor: str = "valid_loss", mode: Mode = "min", restore: bool = False
    ) -> None:
        check_mode("BestModel", mode)
        self.path, self.monitor, self.mode, self.restore = Path(path), monitor, mode, restore
        self.best, self.best_epoch = _worst(mode), 0

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run, unless this one goes on from it."""
        check_monitor("BestModel", self.monitor, run.figures)
        check_folder("BestModel", self.path)
        self._model = run.model
        if not run.history:
            self.best, self.best_epoch = _worst(self.mode), 0

    def on_epoch_end(self, logs: Logs) -> None:
        """Write the weights if they are the best so far."""
        value = float(logs[self.monitor])
        if is_better(value, self.best, self.mode):
            save(self._model.state_dict(), self.path)
            self.best, self.best_epoch = value, logs["epoch"]

    def on_fit_end(self, history: History) -> None:
        """Load the best weights if that was asked for; after an error the model stays as it is."""
        if not (self.restore and history.finished and self.best_epoch):
            return
        try:
            self._model.load_state_dict(load(self.path))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"BestModel: the weights of epoch {self.best_epoch} cannot be read from {self.path}: {error}"
            ) from error

    def state_dict(self) -> dict[str, Any]:
        """The best figure and its epoch; the weights are in the file."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the figure of `state_dict`."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class _LogFile(ABC):
    """A file with a line per epoch. A run begins it anew; one that is resumed begins with the epochs before."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_begin(self, run: Run) -> None:
        """Write the epochs that are there already, which drops what a killed run wrote beyond its checkpoint."""
        self._names: list[str] = []
        replace_file(self.path, "".join(self._lines(logs) for logs in run.history).encode())

    def on_epoch_end(self, logs: Logs) -> None:
        """Add a line."""
        lines = self._lines(logs)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines)

    @abstractmethod
    def _lines(self, logs: Logs) -> str:
        """What the file gets for an epoch."""


class CSVLog(_LogFile):
    """A line per epoch in a CSV file (RFC 4180, a header first); nan and inf stand as such."""

    def _lines(self, logs: Logs) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not self._names:
            self._names = list(logs)
            writer.writerow(self._names)
        if list(logs) != self._names:
            raise ValueError(
                f"CSVLog: the logs have {', '.join(logs)}, the columns of {self.path} are {', '.join(self._names)}; "
                "use JSONLines where they change"
            )
        writer.writerow(logs.values())
        return text.getvalue()


class JSONLines(_LogFile):
    """A JSON object per epoch, each on its line; nan and inf, which JSON lacks, become null."""

    def _lines(self, logs: Logs) -> str:
        finite = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        return json.dumps(finite, allow_nan=False) + "\n"


class Progress:
    """A line per epoch on stdout, and on a terminal with tqdm installed a bar of the batches on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_fit_begin(self, run: Run) -> None:
        """Look whether there is a terminal and a tqdm."""
        self._epochs, self._loader = run.epochs, run.loader
        self._tqdm = bar()

    def on_epoch_begin(self, epoch: int) -> None:
        """Start a bar."""
        if self._tqdm is not None:
            total = len(self._loader) if hasattr(self._loader, "__len__") else None
            name = f"epoch {epoch}/{self._epochs}"
            self._bar = self._tqdm(total=total, desc=name, unit="batch", leave=False, dynamic_ncols=True)

    def on_batch_end(self, epoch: int, batch: int, loss: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update()

    def on_epoch_end(self, logs: Logs) -> None:
        """Print the figures, in place of the bar."""
        self._close()
        width = len(str(self._epochs))
        print(f"epoch {logs['epoch']:{width}}/{self._epochs}  {line_of(logs)}", flush=True)

    def on_fit_end(self, history: History) -> None:
        """Take the bar away, and say why a callback stopped the run."""
        self._close()
        if history.stopped:
            print(f"stopped: {history.stopped}", flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bar() -> Any:
    """tqdm's bar, None where stderr is no terminal or tqdm is not installed."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def tell(callbacks: Iterable[Any], hook: str, *values: Any) -> None:
    """Call this method of those callbacks that have it; functions take the logs.

    All are called, also when one of them stops the run: the StopTraining is raised after the last.
    """
    stop: StopTraining | None = None
    for callback in callbacks:
        method = getattr(callback, hook, callback if hook == "on_epoch_end" and callable(callback) else None)
        if method is not None:
            try:
                method(*values)
            except StopTraining as reason:
                stop = stop or reason
    if stop is not None:
        raise stop


def _worst(mode: str) -> float:
    return math.inf if mode == "min" else -math.inf


def check_monitor(name: str, monitor: str, figures: tuple[str, ...]) -> None:
    """Refuse to look at a figure that the logs will not have."""
    if monitor not in figures:
        remedy = "; give fit valid=" if monitor.startswith("valid_") and "valid_loss" not in figures else ""
        raise ValueError(f"{name}: monitor={monitor!r} is not measured; there are {', '.join(figures)}{remedy}")


def check_folder(name: str, path: str | os.PathLike[str]) -> None:
    """Refuse a file in a folder that is not there, before an epoch is trained in vain."""
    if not (folder := Path(path).absolute().parent).is_dir():
        raise FileNotFoundError(f"{name}: {path} cannot be written: there is no folder {folder}; make it first")
