"""What the mean of a loss divides by: the weight of a process's loss in the loss of all processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..nn import CrossEntropyLoss, NLLLoss
from ..nn import functional as F

__all__ = ["local_count"]

MODULES: dict[Any, Callable[..., CrossEntropyLoss | NLLLoss]] = {
    F.cross_entropy: CrossEntropyLoss,
    F.nll_loss: NLLLoss,
}


def local_count(loss: Any, outputs: Any, targets: Any) -> float | None:
    """What loss(outputs, targets) was divided by as a mean, None for a sum.

    The losses of `nn` know it: CrossEntropyLoss counts the labels that are not ignored, by the weights of their
    classes. So does whatever has a method `count(outputs, targets)`. `F.cross_entropy` and `F.nll_loss`, also in a
    functools.partial, are read as their modules. Every other function is taken as a mean over the items of the batch.
    """
    function, options = (loss.func, loss.keywords) if isinstance(loss, partial) and not loss.args else (loss, {})
    if function in MODULES:
        loss = MODULES[function](**options)
    count = getattr(loss, "count", None)
    if count is not None:
        found = count(outputs, targets)
        return None if found is None else float(found)
    shape = getattr(targets, "shape", None)
    return float(len(targets) if shape is None else shape[0] if shape else 1)
