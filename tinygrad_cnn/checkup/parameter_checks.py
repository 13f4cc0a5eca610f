"""Checks of the parameters: registered, used, moved by the optimizer, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..graph import Tensor
from ..observation import norm
from ..ops.elementwise import array_of
from ..shapes import shown
from .evidence import Evidence
from .graph_checks import Remark

LARGEST_UPDATE, LEAST_UPDATE = 0.1, 1e-7  # of ‖Δw‖ / ‖w‖ in one step; 1e-3 is usual
LARGEST_RATIO = 1e4  # of ‖∂‖ / ‖w‖ between the first and the last weights


def unregistered(found: Evidence) -> Iterator[Remark]:
    """A Tensor that requires grad must be an nn.Parameter of a module, or nobody trains it."""
    known = {id(p) for p in found.model.parameters()} | found.originals
    names = {
        id(value): f"{path}.{name}" if path else name
        for path, module in found.model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    for step in found.trace.steps:
        for given in step.inputs:
            if isinstance(given, Tensor) and given.requires_grad and given.is_leaf and id(given) not in known:
                known.add(id(given))
                name = names.get(id(given), "a Tensor")
                yield (
                    f"{name} of shape {shown(given.shape)} requires grad, and model.parameters() does not have it: no "
                    "optimizer trains it and no state_dict saves it",
                    step.where,
                    "assign nn.Parameter(...) to an attribute of the module",
                )


def unused(found: Evidence) -> Iterator[Remark]:
    """No path leads from the parameter to the loss."""
    idle = [name for name, g in found.gradients.items() if g is None]
    if idle:
        yield (
            f"no path leads from {_listed(idle)} to the loss",
            "",
            "use the module in forward, or delete it; a detach(), numpy() or argmax on the way cuts it off, too",
        )


def never_updated(found: Evidence) -> Iterator[Remark]:
    """A parameter with a gradient that the optimizer does not have, or has with lr=0."""
    if found.optimizer is None:
        return
    rates = {id(p): float(array_of(g["lr"])) for g in found.optimizer.param_groups for p in g["params"]}
    absent = [name for name, p in found.names.items() if id(p) not in rates]
    still = [name for name, p in found.names.items() if rates.get(id(p)) == 0]
    if absent:
        yield f"the optimizer does not have {_listed(absent)}", "", "make it from model.parameters(), or freeze them"
    if still:
        yield f"lr is 0 for {_listed(still)}", "", "raise lr, or freeze them with requires_grad_(False)"


def update_ratio(found: Evidence) -> Iterator[Remark]:
    """‖Δw‖ / ‖w‖ of one step, for weights."""
    for large in (True, False):
        rows = [
            (name, moved / size)
            for name, (size, moved) in found.moved.items()
            if found.names[name].ndim >= 2 and size > 0 and moved > 0
            if (moved / size > LARGEST_UPDATE if large else moved / size < LEAST_UPDATE)
        ]
        if rows:
            name, ratio = (max if large else min)(rows, key=lambda row: row[1])
            others = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
            yield (
                f"one step changes {name} by {ratio:.2g} of its norm{others}; around 0.001 is usual",
                name,
                f"{'lower' if large else 'raise'} lr, about {1e-3 / ratio:.1g} times",
            )


def gradient_across_depth(found: Evidence) -> Iterator[Remark]:
    """‖∂‖ / ‖w‖ of the first weights against that of the last ones."""
    rows = []
    for name, g in found.gradients.items():
        size = norm(found.names[name].array) if g is not None and found.names[name].ndim >= 2 else 0.0
        if g is not None and size > 0 and np.isfinite(g).all():
            rows.append((name, norm(g) / size))
    if len(rows) < 2 or rows[-1][1] == 0:
        return
    (first, a), (last, b) = rows[0], rows[-1]
    if a / b < 1 / LARGEST_RATIO or a / b > LARGEST_RATIO:
        word = "vanishes" if a < b else "explodes"
        yield (
            f"the gradient {word} on its way back: ‖∂‖/‖w‖ is {b:.2g} at {last} and {a:.2g} at {first}",
            first,
            "kaiming initialisation, batch norm, residual connections, or relu in place of sigmoid and tanh",
        )


def not_finite(found: Evidence) -> Iterator[Remark]:
    """nan or inf in the output, the loss or a gradient."""
    named = {"the output": found.output, "the loss": found.loss}
    where = next((name for name, t in named.items() if t is not None and not np.isfinite(t.array).all()), "")
    if not where:
        where = next((f"the gradient of {n}" for n, g in found.gradients.items() if g is not None and
                      not math.isfinite(norm(g))), "")  # fmt: skip
    if where:
        yield (
            f"{where} holds nan or inf",
            where,
            "run it in `with tg.detect_anomaly():`, which names the op and the cause",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
