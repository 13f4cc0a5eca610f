"""What fit and evaluate refuse, before they begin and batch by batch."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np

from ..distributed.group import ALONE, Group
from ..nn import Module
from ..ops.elementwise import array_of
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau
from .callbacks import HOOKS, check_folder, check_monitor
from .history import Logs


def check_run(
    model: Any, loss: Any, optimizer: Any, epochs: Any, callbacks: Iterable[Any], checkpoint: Any, resume: Any
) -> None:
    """Refuse what cannot be trained or gone on from."""
    for name, value, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind):
            raise TypeError(f"fit: {name} is a {type(value).__name__}; a {kind.__name__} is needed")
    if not callable(loss):
        raise TypeError(f"fit: loss is a {type(loss).__name__}; a function of (outputs, targets) is needed")
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
        raise TypeError(f"fit: epochs={epochs!r}; a whole number >= 1 is needed")
    if epochs < 1:
        raise ValueError(f"fit: epochs={epochs}; a whole number >= 1 is needed")
    for callback in callbacks:
        if isinstance(callback, type) or not (callable(callback) or any(hasattr(callback, hook) for hook in HOOKS)):
            what = f"class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise TypeError(
                f"fit: a callback is a {what}; a function of the logs, or an object with on_epoch_end, is needed"
            )
    _check_checkpoint(checkpoint, resume)
    _check_parameters(model, loss, optimizer)


def _check_checkpoint(checkpoint: str | os.PathLike[str] | None, resume: Any) -> None:
    if not isinstance(resume, bool) and not (isinstance(resume, str) and resume == "auto"):  # 1 == True
        raise ValueError(f"fit: resume={resume!r}; True, False or 'auto' is needed")
    if checkpoint is None:
        if resume:
            raise ValueError(f"fit: resume={resume!r} without a checkpoint; give checkpoint=, the file to go on from")
        return
    check_folder("fit", checkpoint)
    if resume is True and not Path(checkpoint).exists():
        raise FileNotFoundError(f"fit: resume=True, but there is no {checkpoint}; resume='auto' begins where none is")


def _check_parameters(model: Module, loss: Any, optimizer: Optimizer) -> None:
    """Warn of parameters that are not trained, and refuse if none is."""
    known = dict(model.named_parameters())
    if isinstance(loss, Module):
        known |= {f"loss.{name}": p for name, p in loss.named_parameters()}
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trained = {name: p for name, p in known.items() if p.requires_grad}
    left = [name for name, p in trained.items() if id(p) not in moved]
    if len(left) == len(trained):
        raise ValueError(
            f"fit: none of the {len(trained)} parameters that require a gradient is among the {len(moved)} of the "
            "optimizer, so nothing would be trained; make the optimizer from model.parameters()"
        )
    problems = []
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        problems.append(f"{shown} {'are' if len(left) > 1 else 'is'} not in the optimizer and will not be trained")
    if strangers := len(moved - {id(p) for p in known.values()}):
        problems.append(f"{strangers} of the {len(moved)} parameters in the optimizer are not the model's")
    if problems:
        warnings.warn(
            f"fit: {'; '.join(problems)}; make the optimizer from model.parameters(), and freeze with "
            "requires_grad_(False) what is to stay",
            UserWarning,
            stacklevel=4,
        )


def steps_by_batch(scheduler: Any, step: Any, optimizer: Optimizer, epochs: int, loader: Any) -> bool:
    """Whether the scheduler is stepped after each batch; refuses one that cannot be stepped so."""
    if step not in (None, "epoch", "batch"):
        raise ValueError(f"fit: scheduler_step={step!r}; 'epoch', 'batch' or None is needed")
    if scheduler is None:
        return False
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"fit: scheduler is a {type(scheduler).__name__}; a schedule of optim.lr_scheduler is needed")
    if scheduler.optimizer is not optimizer:
        raise ValueError("fit: the scheduler was made for another optimizer, so it would change nothing here")
    if isinstance(scheduler, ReduceLROnPlateau) and step == "batch":
        raise ValueError("fit: ReduceLROnPlateau needs the figures of an epoch; leave scheduler_step='batch' out")
    by_batch = step == "batch" or (step is None and isinstance(scheduler, OneCycleLR))
    if isinstance(scheduler, OneCycleLR) and isinstance(loader, Sized):
        steps = epochs * (len(loader) if by_batch else 1)
        if steps > scheduler.total_steps:
            raise ValueError(
                f"fit: the cycle of OneCycleLR has total_steps={scheduler.total_steps}, the run {steps} steps; "
                f"give OneCycleLR total_steps={steps}"
            )
    return by_batch


def monitored(scheduler: Any, monitor: str | None, figures: tuple[str, ...]) -> str:
    """The figure that ReduceLROnPlateau is given."""
    if not isinstance(scheduler, ReduceLROnPlateau):
        if monitor is not None:
            raise ValueError(f"fit: monitor={monitor!r}, but only ReduceLROnPlateau reads it; leave it out")
        return ""
    monitor = monitor or ("valid_loss" if "valid_loss" in figures else "train_loss")
    check_monitor("fit", monitor, figures)
    return monitor


def batches(
    name: str, loader: Iterable[Any], group: Group = ALONE
) -> Iterator[tuple[int, tuple[tuple[Any, ...], Any]]]:
    """(number from 1, (inputs, targets)) of each batch; one process of the group at least must have one."""
    number = 0
    for batch in loader:
        number += 1
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise TypeError(
                f"{name}: batch {number} is a {type(batch).__name__}{size}; (inputs, targets) is needed, as a "
                "DataLoader of TensorDataset(images, labels) gives"
            )
        yield number, (tuple(batch[:-1]), batch[-1])
    if not any(group.collect(number)):
        raise ValueError(f"{name} gave no batch; an iterator runs out after one pass: give a DataLoader or a list")


def named(caller: str, metrics: Any) -> dict[str, Any]:
    """The metrics by name; in a list functions have theirs, and objects that of their class in small letters."""
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        found = dict(metrics)
    elif isinstance(metrics, (list, tuple)):
        found = {getattr(m, "__name__", type(m).__name__.lower()): m for m in metrics}
        if len(found) < len(metrics):
            raise ValueError(
                f"{caller}: {len(metrics)} metrics have the names {', '.join(found)}; give a dict of name -> metric"
            )
    else:
        raise TypeError(f"{caller}: metrics is a {type(metrics).__name__}; a dict of name -> metric is needed")
    for name, metric in found.items():
        if isinstance(metric, type) or not (callable(metric) or hasattr(metric, "compute")):
            what = f"the class {metric.__name__}" if isinstance(metric, type) else f"a {type(metric).__name__}"
            raise TypeError(
                f"{caller}: the metric {name!r} is {what}; a function of (outputs, targets), or an object with reset, "
                "update and compute, is needed"
            )
    if "loss" in found:
        raise ValueError(f"{caller}: a metric is named 'loss', as the loss is; choose another name")
    return found


def one_number(what: str, value: Any) -> float:
    """The number that a value holds."""
    array = np.asarray(array_of(value))
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{what} is {array.dtype} of shape {array.shape}; one number is needed, as a mean over the batch"
        )
    return float(array.reshape(()))


def plain(logs: Logs) -> Logs:
    """The figures of an epoch as Python's int and float; refuses what is none, and a loss that is not finite."""
    found: Logs = {}
    for name, value in logs.items():
        if np.ndim(array_of(value)) or not hasattr(value, "__float__"):
            raise TypeError(f"fit: {name} is a {type(value).__name__}; a metric of fit gives one number per epoch")
        found[name] = value if type(value) is int else float(value)
    if not math.isfinite(loss := logs.get("valid_loss", 0.0)):
        raise FloatingPointError(
            f"fit: valid_loss is {loss} after epoch {logs['epoch']} (lr={logs['lr']:g}); try a smaller lr"
        )
    return found
