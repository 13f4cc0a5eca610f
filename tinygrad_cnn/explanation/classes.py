"""Softmax, cross-entropy and the squared error: terms by class and by position, and their gradients."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..shapes import normalize_axes
from .calls import Call, Upstream, indices, readers
from .reductions import shifted
from .rules import shows, shows_gradient
from .table import Factor, Index, Shown, Term, constant, product, worked


def _row(call: Call, cell: Index, axes: Sequence[int]) -> list[Index]:
    """The cells that share a softmax with `cell`."""
    return indices([range(n) if i in axes else (cell[i],) for i, n in enumerate(call.shape(0))])


def _axes(call: Call) -> tuple[int, ...]:
    ndim, axis = len(call.shape(0)), call.params["axis"]
    return () if ndim == 0 and axis in (0, -1) else normalize_axes(axis, ndim, call.name)


def _cells(call: Call, places: Sequence[Index]) -> list[Factor]:
    return [call.cell(0, at) for at in places]


@shows("softmax")
def softmax(call: Call, out: Index) -> Shown:
    """exp(x - m) over the sum of all of these."""
    m, total, steps = shifted(_cells(call, _row(call, out, _axes(call))))
    own = call.cell(0, out)
    value = math.exp(own.value - m) / total
    term = worked("exp({x} - {m}) / {s}", value, x=own, m=constant(m, "m"), s=constant(total, "Σ"))
    return Shown("exp(x - m) / Σ exp(x - m)", [term], steps)


@shows("log_softmax")
def log_softmax(call: Call, out: Index) -> Shown:
    """x - m, less the logarithm of the sum."""
    m, total, steps = shifted(_cells(call, _row(call, out, _axes(call))))
    return Shown("x - m - log Σ exp(x - m)", _log_terms(call.cell(0, out), m, total), steps)


def _log_terms(own: Factor, m: float, total: float) -> list[Term]:
    top, s = constant(m, "m"), constant(total, "Σ")
    return [product(own), worked("-{m}", -m, m=top), worked("-log {s}", -math.log(total), s=s)]


def _probabilities(call: Call, places: Sequence[Index]) -> list[float]:
    m, total, _ = shifted(_cells(call, places))
    return [math.exp(float(call.array(0)[at]) - m) / total for at in places]


@shows_gradient("x", "softmax")
def softmax_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each output's gradient times how it moves with the cell: p_j (1 - p_i) for itself, -p_j p_i for others."""
    places = _row(call, cell, _axes(call))
    p = dict(zip(places, _probabilities(call, places), strict=True))
    terms = []
    for at in places:
        slope = constant((at == cell) - p[cell], "(1 - p_i)" if at == cell else "(-p_i)")
        terms.append(product(g.at(at), constant(p[at], "p_j"), slope))
    return Shown("Σ_j ∂out[j] · p_j · (1[i = j] - p_i)", terms, [Term("p_i", "", p[cell])])


@shows_gradient("x", "log_softmax")
def log_softmax_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each output's gradient times 1 - p_i for itself, -p_i for others."""
    places = _row(call, cell, _axes(call))
    p = dict(zip(places, _probabilities(call, places), strict=True))[cell]
    terms = [product(g.at(at), constant((at == cell) - p, "(1 - p_i)" if at == cell else "(-p_i)")) for at in places]
    return Shown("Σ_j ∂out[j] · (1[i = j] - p_i)", terms, [Term("p_i", "", p)])


class _Targets:
    """The weights q of the classes at every position, and what a mean divides by, from a loss's parameters."""

    def __init__(self, call: Call) -> None:
        shape = call.shape(0)
        self.axis = min(1, len(shape) - 1)
        self.classes = shape[self.axis]
        self.positions = indices([range(n) for n in shape[: self.axis] + shape[self.axis + 1 :]])
        self.soft = call.name == "cross_entropy_of_probabilities"
        self._call, params = call, call.params
        weight = None if params["weight"] is None else np.asarray(call.array_param("weight"), np.float64)
        self.weight = np.ones(self.classes) if weight is None else weight
        self.smoothing = float(params.get("label_smoothing", 0.0))
        self.reduction: str = params["reduction"]
        self.labels = None if self.soft else np.asarray(call.array_param("labels"))
        counted = [self._counts(at) for at in self.positions]
        self.count = math.fsum(counted)

    def label(self, position: Index) -> int | None:
        """The class of a position; None for one that is ignored, and for probabilities."""
        if self.labels is None:
            return None
        label = int(self.labels[position])
        return None if label == self._call.params["ignore_index"] else label

    def _counts(self, position: Index) -> float:
        if self.soft:
            return 1.0
        label = self.label(position)
        return 0.0 if label is None else float(self.weight[label])

    def cell(self, position: Index, c: int) -> Index:
        """Where the logits hold class c of a position."""
        return (*position[: self.axis], c, *position[self.axis :])

    def q(self, position: Index, c: int) -> float:
        """The weight of a class in the loss of a position."""
        share = self.smoothing / self.classes * self.weight[c]
        if self.soft:
            target = float(self._call.array(1)[self.cell(position, c)])
            return float((1.0 - self.smoothing) * target * self.weight[c] + share)
        label = self.label(position)
        if label is None:
            return 0.0
        return float((1.0 - self.smoothing) * self.weight[label] * (c == label) + share)

    def scale(self) -> list[Factor]:
        """1/N of a mean, and nothing else."""
        if self.reduction != "mean":
            return []
        return [constant(1.0 / self.count if self.count else math.inf, f"1/{self.count:g}")]

    def upstream(self, position: Index, g: Upstream) -> Factor:
        """The gradient that reaches the loss of a position."""
        return g.at(position if self.reduction == "none" else ())

    def part(self, out: Index) -> list[Index]:
        """The positions whose losses make up an output."""
        return [out] if self.reduction == "none" else self.positions


@shows("cross_entropy_of_labels", "cross_entropy_of_probabilities")
def cross_entropy(call: Call, out: Index) -> Shown:
    """-q log p for each position and each class that weighs something, with log p = x - m - log Σ exp(x - m)."""
    t = _Targets(call)
    terms: list[Term] = []
    steps: list[Term] = []
    for position in t.part(out):
        weights = [t.q(position, c) for c in range(t.classes)]
        if not any(weights):
            continue
        cells = _cells(call, [t.cell(position, c) for c in range(t.classes)])
        m, total, found = shifted(cells)
        steps += found
        for cell, q in zip(cells, weights, strict=True):
            if q:
                logp = constant(-(cell.value - m - math.log(total)), f"-log p of {cell.text}")
                factor = Factor(logp.text, logp.value, cell.operand, cell.index)
                terms.append(product(*([constant(q, "q")] if q != 1.0 else []), factor, *t.scale()))
    return Shown("Σ -q log softmax(x)" + " / N" * (t.reduction == "mean"), terms, steps)


@shows_gradient("x", "cross_entropy_of_labels", "cross_entropy_of_probabilities")
def cross_entropy_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """∂out/N · (p · Σq - q): how much too large the probability is."""
    t = _Targets(call)
    position, c = (*cell[: t.axis], *cell[t.axis + 1 :]), cell[t.axis]
    weights = [t.q(position, k) for k in range(t.classes)]
    formula = "∂out · (p - q)" + " / N" * (t.reduction == "mean")
    if not any(weights):
        return Shown(formula, [], note="The position does not count.")
    cells = _cells(call, [t.cell(position, k) for k in range(t.classes)])
    m, total, steps = shifted(cells)
    p, whole = math.exp(cells[c].value - m) / total, math.fsum(weights)
    factors = [t.upstream(position, g), *t.scale()]
    sums = [constant(whole, "Σq")] if whole != 1.0 else []
    terms = [product(*factors, constant(p, "p"), *sums), product(*factors, constant(-weights[c], "-q"))]
    return Shown(formula, terms, [*steps, Term("p = exp(x - m)/Σ", "", p), Term("q", "", weights[c])])


@shows_gradient("target", "cross_entropy_of_probabilities")
def cross_entropy_target(call: Call, cell: Index, g: Upstream) -> Shown:
    """-log p, weighted as the target is."""
    t = _Targets(call)
    position, c = (*cell[: t.axis], *cell[t.axis + 1 :]), cell[t.axis]
    m, total, steps = shifted(_cells(call, [t.cell(position, k) for k in range(t.classes)]))
    own = call.cell(0, cell)
    logp = constant(own.value - m - math.log(total), f"log p of {own.text}")
    weight = constant(-(1.0 - t.smoothing) * float(t.weight[c]), "-weight")
    return Shown("-∂out · weight · log p", [product(t.upstream(position, g), *t.scale(), weight, logp)], steps)


@shows("nll_of_labels")
def nll(call: Call, out: Index) -> Shown:
    """-w x at each position's label."""
    t = _Targets(call)
    found = [(at, label) for at in t.part(out) if (label := t.label(at)) is not None]
    terms = [
        product(constant(-float(t.weight[label]), "-w"), call.cell(0, t.cell(at, label)), *t.scale())
        for at, label in found
    ]
    return Shown("Σ -w · x[label]" + " / N" * (t.reduction == "mean"), terms)


@shows_gradient("x", "nll_of_labels")
def nll_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """-w at the label, nothing elsewhere."""
    t = _Targets(call)
    position = (*cell[: t.axis], *cell[t.axis + 1 :])
    if t.label(position) != cell[t.axis]:
        return Shown("-w · ∂out", [], note="The label is another class, or does not count.")
    weight = constant(-float(t.weight[cell[t.axis]]), "-w")
    return Shown("-w · ∂out", [product(t.upstream(position, g), *t.scale(), weight)])


def _pairs(call: Call) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(call.shape(0), call.shape(1)))


@shows("squared_error")
def squared_error(call: Call, out: Index) -> Shown:
    """(x - y)^2 of every pair; a mean divides each."""
    shape, reduction = _pairs(call), call.params["reduction"]
    n, terms = math.prod(shape), []
    for at in [out] if reduction == "none" else indices([range(k) for k in shape]):
        x, y = call.stretched(0, at), call.stretched(1, at)
        square = (x.value - y.value) ** 2
        if reduction == "mean":
            terms.append(worked("({x} - {y})^2 / {n}", square / n, x=x, y=y, n=constant(n)))
        else:
            terms.append(worked("({x} - {y})^2", square, x=x, y=y))
    return Shown("Σ (x - y)^2" + " / n" * (reduction == "mean"), terms)


def _squared_error_gradient(i: int, call: Call, cell: Index, g: Upstream) -> Shown:
    shape, reduction = _pairs(call), call.params["reduction"]
    scale: list[Any] = [constant(2.0)] + [constant(1.0 / math.prod(shape), f"1/{math.prod(shape)}")] * (
        reduction == "mean"
    )
    terms = []
    for at in readers(call.shape(i), cell, shape):
        own, other = call.stretched(i, at), call.stretched(1 - i, at)
        away = constant(own.value - other.value, f"({own.text} - {other.text})")
        terms.append(product(g.at(at if reduction == "none" else ()), *scale, away))
    return Shown("∂out · 2 · (x - y)" + " / n" * (reduction == "mean"), terms)


@shows_gradient("x", "squared_error")
def squared_error_x(call: Call, cell: Index, g: Upstream) -> Shown:
    """Twice the distance from the other."""
    return _squared_error_gradient(0, call, cell, g)


@shows_gradient("y", "squared_error")
def squared_error_y(call: Call, cell: Index, g: Upstream) -> Shown:
    """Twice the distance from the other."""
    return _squared_error_gradient(1, call, cell, g)
