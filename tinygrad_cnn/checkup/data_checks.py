"""Checks of the batch and of the modes: axes, range, labels, train and eval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..nn import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Dropout1d, Dropout2d, Module
from ..shapes import shown
from .evidence import Evidence
from .graph_checks import Remark

_NORMS = (BatchNorm1d, BatchNorm2d)
_BY_MODE = (*_NORMS, Dropout, Dropout1d, Dropout2d)
LARGEST_INPUT = 16.0  # of values that are never negative, above which they count as not normalised


def channels_last(found: Evidence) -> Iterator[Remark]:
    """Axis 1 is the channels."""
    for x in found.xs:
        if x.ndim != 4 or not 1 <= x.shape[3] <= 4 or x.shape[3] == 2 or min(x.shape[1:3]) <= x.shape[3]:
            continue
        conv = next((m for m in found.model.modules() if isinstance(m, Conv2d)), None)
        if x.shape[3] == 1 and conv is not None and conv.in_channels == x.shape[1]:
            continue  # images of width 1
        yield (
            f"the input is {shown(x.shape)}, which looks like (n, h, w, c); axis 1 is read as {x.shape[1]} channels",
            "the input",
            "x.permute(0, 3, 1, 2)",
        )


def not_normalised(found: Evidence) -> Iterator[Remark]:
    """What the first layer is given."""
    readers = found.trace.of_model("conv2d", "linear", "matmul")
    if readers:
        values, where = readers[0].x, readers[0].where
    else:
        values, where = found.xs[0].array, "the input"
    if values.size and values.dtype.kind in "iuf" and values.min() >= 0 and values.max() > LARGEST_INPUT:
        yield (
            f"the first layer reads values from {values.min():g} to {values.max():g}, mean {values.mean():g}",
            where,
            "divide by 255, or subtract the mean and divide by the standard deviation (transforms.Normalize)",
        )


def labels_out_of_range(found: Evidence) -> Iterator[Remark]:
    """Labels are 0 to C - 1."""
    wrong = found.wrong_labels()
    if wrong is not None and wrong.size and found.output is not None:
        classes = found.output.shape[1]
        labels = found.y.array
        from_one = labels.min() >= 1 and labels.max() == classes
        shape = shown(found.output.shape)
        yield (
            f"{wrong.size} of {labels.size} labels are no class of the {classes} of an output of {shape}: "
            f"{', '.join(map(str, np.unique(wrong)[:5]))}",
            "the targets",
            "labels - 1: they count from 1" if from_one else f"make the last layer as wide as there are classes, or "
            f"use labels 0 to {classes - 1}",
        )  # fmt: skip


def eval_in_training(found: Evidence) -> Iterator[Remark]:
    """Batch norm and dropout must be in training mode, except for what is frozen."""
    if found.is_training:
        still = [
            (path, module)
            for path, module in _modules(found.model, _BY_MODE)
            if not module.training and not (_is_frozen(module) and isinstance(module, _NORMS))
        ]
        yield from _modes(still, "is in eval mode, and gradients are on", "model.train() before training")


def training_in_evaluation(found: Evidence) -> Iterator[Remark]:
    """Batch norm and dropout must be in eval mode."""
    if not found.is_training:
        running = [(path, module) for path, module in _modules(found.model, _BY_MODE) if module.training]
        yield from _modes(
            running, "is in training mode under no_grad: results depend on the batch or on chance",
            "model.eval() before an evaluation",
        )  # fmt: skip


def batch_norm_of_one(found: Evidence) -> Iterator[Remark]:
    """The statistics of one example say nothing of the others."""
    norms = [(path, m) for path, m in _modules(found.model, _NORMS) if m.training]
    if norms and found.xs[0].ndim and found.xs[0].shape[0] == 1:
        yield (
            "batch norm in training mode has a batch of 1: each image is normalised by itself alone",
            f"{norms[0][0]} ({type(norms[0][1]).__name__})",
            "larger batches (drop_last=True for the last one), GroupNorm, or eval()",
        )


def _modules(model: Module, kinds: tuple[type, ...]) -> list[tuple[str, Any]]:
    return [(path, module) for path, module in model.named_modules() if isinstance(module, kinds)]


def _is_frozen(module: Module) -> bool:
    own = list(module.parameters())
    return bool(own) and not any(p.requires_grad for p in own)


def _modes(modules: list[tuple[str, Any]], said: str, remedy: str) -> Iterator[Remark]:
    if modules:
        path, module = modules[0]
        name = f"{path} ({type(module).__name__})" if path else type(module).__name__
        others = f" and {len(modules) - 1} more" if len(modules) > 1 else ""
        yield f"{type(module).__name__} {said}", name + others, remedy
