"""Checks of the values: dead and saturated units, outputs that do not depend on the input, the loss and its fall."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .evidence import FEW, LEARNED, Evidence
from .graph_checks import CROSS_ENTROPY, Remark

MOSTLY_ZERO = 0.9  # of the values of a relu
DEAD_UNITS = 0.5  # of its channels, zero in the whole batch, of at least so many examples:
LEAST_BATCH = 8
SATURATED = 0.5  # of the values of a sigmoid or tanh, nearer to an end of its range than 1% of it
GOOD_LOSS = 0.5  # of ln C: a model with less has learned already


def initial_loss(found: Evidence) -> Iterator[Remark]:
    """A model that knows nothing says 1/C for each class, and its loss is ln C."""
    for step in found.trace.named(*CROSS_ENTROPY):
        if step.params.get("reduction") != "mean" or step.x.ndim < 2 or step.x.shape[1] < 2:
            continue
        classes, loss = step.x.shape[1], float(step.out)
        guess = math.log(classes)
        if loss > 1.5 * guess + 0.5:
            yield (
                f"the loss is {loss:.3g}; a model that says 1/{classes} for every class has ln {classes} = {guess:.3g}",
                step.where,
                f"smaller initial weights in the last layer (its outputs reach {np.abs(step.x).max():.3g})",
            )


def dead_relu(found: Evidence) -> Iterator[Remark]:
    """Units that are 0 for the whole batch get no gradient."""
    for step in found.trace.of_model("relu"):
        out = step.out
        if out.size < 2 or out.ndim < 2:
            continue
        zeros = float((out == 0).mean())
        dead = float((~out.any(axis=(0, *range(2, out.ndim)))).mean())
        if zeros >= MOSTLY_ZERO or (dead >= DEAD_UNITS and out.shape[0] >= LEAST_BATCH):
            yield (
                f"{zeros:.0%} of the values behind relu are 0, {dead:.0%} of its {out.shape[1]} channels always",
                step.where,
                "lower lr, kaiming initialisation, biases that are not negative, batch norm, or leaky_relu",
            )


def saturated(found: Evidence) -> Iterator[Remark]:
    """At the ends of sigmoid and tanh the slope is 0."""
    for step in found.trace.of_model("sigmoid", "tanh"):
        if not step.out.size or (found.output is not None and found.trace.maker(found.output) is step):
            continue
        share = float((abs(step.out - 0.5) > 0.49).mean() if step.name == "sigmoid" else (abs(step.out) > 0.98).mean())
        if share > SATURATED:
            yield (
                f"{share:.0%} of the values behind {step.name} are at the ends of its range, where its slope is near 0 "
                f"(its input reaches from {step.x.min():.3g} to {step.x.max():.3g})",
                step.where,
                "smaller weights (xavier initialisation), normalised inputs, batch norm, or relu",
            )


def constant_output(found: Evidence) -> Iterator[Remark]:
    """Different inputs must give different outputs."""
    out = found.output
    if out is None or out.ndim < 1 or out.shape[0] < 2 or not np.isfinite(out.array).all():
        return
    if all(np.ptp(x.array, axis=0).any() for x in found.xs if x.ndim and x.array.dtype.kind != "b"):
        spread, size = float(np.ptp(out.array, axis=0).max(initial=0.0)), float(abs(out.array).max(initial=0.0))
        if spread <= 1e-6 * size:
            yield (
                f"all {out.shape[0]} examples give the same output, up to {spread:.2g}",
                "the output",
                "look for dead units, weights of 0, or an input that is not used",
            )


def no_overfit(found: Evidence) -> Iterator[Remark]:
    """A model that cannot learn a few examples by heart has a mistake in it."""
    curve = found.curve
    if len(curve) < 2 or _has_learned(found, curve[0]):
        return
    best = np.nanmin(curve)
    if not best < LEARNED * curve[0]:
        yield (
            f"{len(curve)} steps of Adam on {_few(found)} bring the loss from {curve[0]:.3g} to {best:.3g} only",
            "",
            "look at the findings above; then whether the targets belong to the inputs, and at the loss",
        )


def _few(found: Evidence) -> str:
    n = min(FEW, found.y.shape[0]) if found.y.ndim else 1
    return f"{n} example{'s' if n > 1 else ''}"


def _has_learned(found: Evidence, loss: float) -> bool:
    """Whether the loss was good already."""
    if not loss > 0:
        return True
    if found.takes_labels and found.output is not None:
        return loss < GOOD_LOSS * math.log(max(found.output.shape[1], 2))
    target = found.y.array
    return target.dtype.kind == "f" and loss < 0.05 * float(np.var(target[:FEW] if target.ndim else target))
