"""fit: the loop of training that everybody writes, with the checks and the files that everybody should."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from ..distributed import DataParallel
from ..distributed.group import ALONE, Group
from ..graph import Tensor
from ..nn import Module
from ..nn.module import evaluating
from ..ops.elementwise import array_of
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .callbacks import Progress, Run, StopTraining, tell
from .checkpoint import Generators, load_checkpoint, save_checkpoint
from .checks import batches, check_run, monitored, plain, steps_by_batch
from .figures import Figures, Metrics
from .history import History, Logs
from .ranks import begin_pass, check_counted_once, check_loader, check_trained
from .step import Step

__all__ = ["evaluate", "fit"]


def fit(
    model: Module,
    loader: Iterable[Any],
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    *,
    epochs: int,
    valid: Iterable[Any] | None = None,
    scheduler: LRScheduler | None = None,
    scheduler_step: Literal["epoch", "batch"] | None = None,
    monitor: str | None = None,
    metrics: Metrics = None,
    callbacks: Sequence[Any] = (),
    clip_grad_norm: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: Literal[True, False, "auto"] = False,
    generator: Generators = None,
    progress: bool = True,
) -> History:
    """Train for `epochs` passes over `loader`, whose batches are (inputs, targets): loss(model(inputs), targets) falls.

    A batch of more than two is (input, ..., targets). `valid` is measured after each epoch, in eval mode, and in that
    mode the model is left at the end.
    scheduler_step: when the scheduler is stepped; by default after each batch for OneCycleLR, after each epoch for
    others. ReduceLROnPlateau is given the figure `monitor`, by default valid_loss, or train_loss without `valid`.
    metrics: {name: function(outputs, targets) -> number}, whose means over the batches are taken, weighted by their
    sizes, as that of the loss; or objects with reset, update and compute, as in `tinygrad_cnn.metrics`. In a list each
    goes by its own name.
    callbacks: see `tinygrad_cnn.train.callbacks`. progress: a line per epoch, and on a terminal a bar.
    checkpoint: a file that holds the end of the last complete epoch. resume=True goes on from it, to the same bits as
    without the break if model, optimizer, loader and the others are made as at first; "auto" does so if it is there. It
    keeps the parameters and buffers of the model, and those of a loss that is a Module, this thread's default generator
    and those of the modules and loaders; name others in `generator`.

    A model of `tinygrad_cnn.distributed.DataParallel` is trained by all processes together, each with a loader of its
    own part of the data (`DistributedSampler`), on the loss of all (`local_count`), and the figures are those of all.
    Rank 0 alone calls the callbacks, shows progress and writes files. If it stops all stop; at the end all have its
    weights.

    Raises FloatingPointError if a loss or a gradient is not finite, with parameters, buffers (also of a loss that is a
    Module) and optimizer as the last good step left them. An interrupt (Ctrl-C) leaves the checkpoint of the last
    complete epoch and goes on to the caller, after whom Python ends with code 130; SIGTERM and SIGKILL end the process
    at once and leave the same file.
    """
    net, group = (model.module, model.group) if isinstance(model, DataParallel) else (model, ALONE)
    callbacks = [*([Progress()] if progress else []), *callbacks] if group.rank == 0 else []
    check_run(net, loss, optimizer, epochs, callbacks, checkpoint, resume)
    parallel = model if isinstance(model, DataParallel) else DataParallel(model, ALONE)
    check_trained(parallel, optimizer)
    check_loader(group, loader)
    check_counted_once("fit: valid", group, valid)
    by_batch = steps_by_batch(scheduler, scheduler_step, optimizer, epochs, loader)
    figures, loaders = Figures("fit", "train_", metrics, group), (loader, valid)
    names = figures.names("train_") + (() if valid is None else figures.names("valid_")) + ("lr", "seconds")
    monitor = monitored(scheduler, monitor, names)
    history = History()
    if checkpoint is not None and (resume is True or (resume == "auto" and group.share(Path(checkpoint).exists()))):
        history = load_checkpoint(
            checkpoint, model, optimizer, scheduler,
            loss=loss, loader=loaders, generator=generator, callbacks=callbacks,
        ).history  # fmt: skip
    saved = len(history)
    try:
        tell(callbacks, "on_fit_begin", Run(net, optimizer, loader, epochs, history, names))
        for epoch in range(len(history) + 1, epochs + 1):
            if history.stopped:
                break
            began = perf_counter()
            tell(callbacks, "on_epoch_begin", epoch)
            model.train()
            begin_pass(loader, epoch)
            for batch, (inputs, targets) in batches("fit: loader", loader):
                with Step(parallel, loss, optimizer, inputs, epoch, batch) as step:
                    outputs = model(*inputs)
                    value, of_all = step.loss(outputs, targets)
                    optimizer.zero_grad()
                    value.backward()
                    step.gradients(clip_grad_norm)
                    optimizer.step()
                lr = float(array_of(optimizer.param_groups[0]["lr"]))
                if scheduler is not None and by_batch:
                    scheduler.step()
                figures.update(of_all, outputs, targets)
                tell(callbacks, "on_batch_end", epoch, batch, of_all)
            logs: Logs = {"epoch": epoch, **figures.compute()}
            if valid is not None:
                logs |= _measure("fit: valid", "valid_", model, valid, loss, metrics)
            logs = group.share(plain({**logs, "lr": lr, "seconds": perf_counter() - began}))
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(logs[monitor])
            elif scheduler is not None and not by_batch:
                scheduler.step()
            history.logs.append(logs)
            try:
                tell(callbacks, "on_epoch_end", logs)
            except StopTraining as reason:
                history.stopped = str(reason) or "a callback stopped it"
            history.stopped = group.share(history.stopped)
            if checkpoint is not None:
                save_checkpoint(
                    checkpoint, model, optimizer, scheduler,
                    loss=loss, loader=loaders, generator=generator, epoch=epoch, history=history, callbacks=callbacks,
                )  # fmt: skip
                saved = epoch
        history.finished = True
    except KeyboardInterrupt as interrupt:
        if saved:
            interrupt.add_note(f"fit: {checkpoint} holds the end of epoch {saved}; go on with resume=True")
        raise
    finally:
        tell(callbacks, "on_fit_end", history)
    if group.size > 1:
        parallel.synchronize()  # with what rank 0's callbacks gave back, as BestModel does
    model.eval()
    return history


def evaluate(
    model: Module, loader: Iterable[Any], loss: Callable[..., Tensor] | None = None, metrics: Metrics = None
) -> dict[str, Any]:
    """The loss and the metrics over all batches, in eval mode and without a graph: {"loss": ..., "accuracy": ...}.

    Every module's mode is afterwards what it was. For `metrics` see fit; objects may also give arrays here.
    With a DataParallel model the figures are those of the batches of all processes; metrics that are objects need
    merge(other). Raises ValueError for a loader whose sampler repeats items; give DistributedSampler pad=False.
    """
    return _measure("evaluate: loader", "", model, loader, loss, metrics)


def _measure(name: str, prefix: str, model: Module, loader: Any, loss: Any, metrics: Metrics) -> dict[str, Any]:
    group: Group = model.group if isinstance(model, DataParallel) else ALONE
    check_counted_once(name, group, loader)
    figures = Figures(name.partition(":")[0], prefix, metrics, group)
    with evaluating(model):
        for _, (inputs, targets) in batches(name, loader, group):
            outputs = model(*inputs)
            figures.update(None if loss is None else loss(outputs, targets), outputs, targets)
        return figures.compute()
