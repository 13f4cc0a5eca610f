"""What `doctor` looks at: one batch through a copy of the model, its gradients, one step, and a few of overfitting."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backprop import grad
from ..graph import Array, Tensor, wrap
from ..modes import enable_grad, is_grad_enabled, no_grad
from ..nn import (
    AlphaDropout,
    CrossEntropyLoss,
    Dropout,
    Dropout1d,
    Dropout2d,
    Module,
    NLLLoss,
    UninitializedParameter,
)
from ..nn import functional as F
from ..observation import norm
from ..optim import Adam, Optimizer
from ..random import drawing_from
from .trace import Trace

FEW = 16  # examples that are to be learned by heart
LEARNED = 0.7  # of the first loss, below which they count as learned
_DROPOUTS = (Dropout, Dropout1d, Dropout2d, AlphaDropout)
_LABEL_LOSSES = (F.cross_entropy, F.nll_loss)


@dataclass
class Evidence:
    """What is known of a batch. What a check needs and nobody could compute is None or empty.

    xs: the inputs. criterion: the loss as a function. is_training: whether gradients are on.
    names: the parameters that require grad, by path. gradients: of the loss, by path; None where no path leads there.
    moved: by path, the norms of the parameter and of what one step of the optimizer changed.
    curve: the losses of a few steps on a few examples. originals: the identities of what was copied.
    """

    model: Module
    xs: tuple[Tensor, ...]
    y: Tensor
    criterion: Callable[[Any, Any], Any]
    is_training: bool
    optimizer: Optimizer | None = None
    trace: Trace = field(default_factory=Trace)
    output: Tensor | None = None
    loss: Tensor | None = None
    takes_labels: bool = False
    ignore_index: int = -100
    names: dict[str, Tensor] = field(default_factory=dict)
    originals: set[int] = field(default_factory=set)
    gradients: dict[str, Array | None] = field(default_factory=dict)
    moved: dict[str, tuple[float, float]] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)

    def wrong_labels(self) -> Array | None:
        """The labels that name no class of the output, if the loss takes labels."""
        if not self.takes_labels or self.output is None or self.output.ndim < 2:
            return None
        labels = self.y.array
        known = (labels == self.ignore_index) | ((labels >= 0) & (labels < self.output.shape[1]))
        wrong: Array = labels[~known]
        return wrong


def evidence_of(model: Module, xs: tuple[Tensor, ...], y: Tensor, loss: Any, optimizer: Optimizer | None) -> Evidence:
    """The Evidence without any run: copies of all, so that what follows leaves no trace."""
    originals = {id(p) for p in model.parameters()} | {id(x) for x in xs}
    chosen = loss if loss is not None else (F.cross_entropy if y.dtype.kind in "iu" else F.mse_loss)
    try:
        model, chosen, optimizer = copy.deepcopy((model, chosen, optimizer))
    except Exception as error:
        error.add_note("doctor: it looks at a copy of the model, and this model cannot be copied")
        raise
    found = Evidence(model, xs, y, chosen, is_grad_enabled(), optimizer, originals=originals)
    found.takes_labels = y.dtype.kind in "iu" and (
        chosen in _LABEL_LOSSES or isinstance(chosen, CrossEntropyLoss | NLLLoss)
    )
    found.ignore_index = getattr(chosen, "ignore_index", -100)
    return found


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Draw from generators of our own; NumPy's and Python's global ones go on as if nothing had been drawn."""
    ours = np.random.default_rng(0)
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002  (a forward may draw from these)
    try:
        with drawing_from(lambda: ours):
            yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def run(found: Evidence) -> None:
    """Forward, loss, gradients and one step of the optimizer."""
    _materialize(found.model, found.xs)
    before = copy.deepcopy(found.model) if found.is_training else None
    with found.trace:
        found.output = _one_tensor(found.model(*found.xs), "the model")
        wrong = found.wrong_labels()
        if wrong is not None and wrong.size:
            return
        found.trace.is_loss = True
        value = _one_tensor(found.criterion(found.output, found.y), "the loss")
    found.loss = value
    found.names = {name: p for name, p in found.model.named_parameters() if p.requires_grad}
    if before is None:
        return
    total = value if value.array.size == 1 else value.mean()
    if found.names and total.node is not None:
        given = grad(total, list(found.names.values()), allow_unused=True)
        found.gradients = {name: None if g is None else g.array for name, g in zip(found.names, given, strict=True)}
        _step(found)
        found.curve = _overfit(before, found)


def _materialize(model: Module, xs: tuple[Tensor, ...]) -> None:
    """Give lazy parameters what a first forward draws for them; a twin runs it, so that buffers stay what they are."""
    if not any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        return
    twin = copy.deepcopy(model)
    with no_grad():
        twin(*xs)
    for own, made in zip(model.parameters(), twin.parameters(), strict=True):
        if isinstance(own, UninitializedParameter) and not isinstance(made, UninitializedParameter):
            own.materialize(made.array)


def _one_tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise TypeError(f"doctor: {what} gives a {type(value).__name__}; one Tensor is needed")


def _step(found: Evidence) -> None:
    """Let the copy of the optimizer take one step, and see what moved."""
    if found.optimizer is None:
        return
    before = {name: p.array.copy() for name, p in found.names.items()}
    for name, p in found.names.items():
        g = found.gradients[name]
        p.grad = None if g is None else wrap(g.copy())
    found.optimizer.step()
    with np.errstate(all="ignore"):
        found.moved = {name: (norm(before[name]), norm(p.array - before[name])) for name, p in found.names.items()}


def _overfit(model: Module, found: Evidence) -> list[float]:
    """The losses of Adam on a few examples, without dropout, until they are learned or the steps have run out."""
    n = found.xs[0].shape[0] if found.xs[0].ndim else 0
    few = all(t.ndim and t.shape[0] == n for t in (*found.xs, found.y))
    xs, y = (tuple(wrap(x.array[:FEW]) for x in found.xs), wrap(found.y.array[:FEW])) if few else (found.xs, found.y)
    for layer in model.modules():
        if isinstance(layer, _DROPOUTS):
            layer.eval()
    trained = [p for p in model.parameters() if p.requires_grad and not isinstance(p, UninitializedParameter)]
    optimizer = Adam(trained, lr=3e-3)
    curve: list[float] = []
    with enable_grad():
        for _ in range(60):
            loss = found.criterion(model(*xs), y).mean()
            curve.append(float(loss))
            if not math.isfinite(curve[-1]) or curve[-1] < 0.5 * LEARNED * curve[0] or loss.node is None:
                break
            for p, g in zip(trained, grad(loss, trained, allow_unused=True), strict=True):
                p.grad = g
            optimizer.step()
    return curve
