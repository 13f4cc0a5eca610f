"""Batch normalisation in training and evaluation, and standardising along axes: mean, variance, scaled and shifted."""

import math
from dataclasses import dataclass

import numpy as np

from ..shapes import normalize_axes
from .calls import Call, Upstream, indices, readers
from .reductions import mean_step
from .rules import shows, shows_gradient
from .table import Factor, Index, Shown, Term, constant, product, worked


@dataclass(frozen=True)
class _Group:
    """The values that are normalised together: their cells, mean, 1/σ, and the steps to these."""

    places: list[Index]
    mean: float
    inverse: float
    steps: list[Term]

    def normal(self, x: Factor) -> Factor:
        """(x - mean)/σ of one value."""
        return constant((x.value - self.mean) * self.inverse, f"({x.text} - mean)/σ")


def _channel(call: Call, cell: Index) -> Index:
    return cell[1:2]


def _group(call: Call, cell: Index) -> _Group:
    """The group that the cell is in."""
    shape, eps = call.shape(0), float(call.params["eps"])
    if call.name == "batch_norm_eval":
        average = float(np.asarray(call.array_param("mean"))[cell[1]])
        variance = float(np.asarray(call.array_param("var"))[cell[1]])
        steps = [Term("mean", "running", average), Term("var", "running", variance)]
        places = indices([range(n) if i != 1 else cell[1:2] for i, n in enumerate(shape)])
        return _finish(places, average, variance, eps, steps)
    axes = _axes(call)
    places = indices([range(n) if i in axes else (cell[i],) for i, n in enumerate(shape)])
    cells = [call.cell(0, at) for at in places]
    centred = call.params.get("centred", True)
    steps = [mean_step(cells)] if centred else []
    average = steps[0].value if centred else 0.0
    variance = math.fsum((x.value - average) ** 2 for x in cells) / len(cells)
    steps.append(Term("var = Σ (x - mean)^2 / n" if centred else "mean square", f"of {len(cells)} values", variance))
    return _finish(places, average, variance, eps, steps)


def _finish(places: list[Index], average: float, variance: float, eps: float, steps: list[Term]) -> _Group:
    deviation = math.sqrt(variance + eps)
    inside = worked("√({v} + {e})", deviation, v=constant(variance, "var"), e=constant(eps, "eps"))
    steps.append(Term(f"σ = {inside.text}", inside.numbers, deviation))
    return _Group(places, average, 1.0 / deviation if deviation else math.inf, steps)


def _axes(call: Call) -> tuple[int, ...]:
    ndim = len(call.shape(0))
    if call.name == "standardize":
        return normalize_axes(call.params["axis"], ndim, "standardize")
    return (0, *range(2, ndim))


def _own(call: Call, i: int, cell: Index) -> list[Factor]:
    """The weight (1) or bias (2) of a cell, if there is one."""
    if not call.has(i):
        return []
    return [call.stretched(i, cell) if call.name == "standardize" else call.cell(i, _channel(call, cell))]


OPS = ("batch_norm_train", "batch_norm_eval", "standardize")


@shows(*OPS)
def normalised(call: Call, out: Index) -> Shown:
    """The normalised value times the weight, and the bias."""
    group, x = _group(call, out), call.cell(0, out)
    normal = group.normal(x)
    step = worked("({x} - {m}) / {s}", normal.value, x=x, m=constant(group.mean, "mean"),
                  s=constant(1.0 / group.inverse, "σ"))  # fmt: skip
    scaled = Factor(normal.text, normal.value, 0, out)
    terms = [product(*_own(call, 1, out), scaled), *map(product, _own(call, 2, out))]
    formula = "w · " * call.has(1) + "(x - mean)/σ" + " + b" * call.has(2)
    return Shown(formula, terms, [*group.steps, step])


@shows_gradient("x", "batch_norm_eval")
def evaluated_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient times w/σ: the statistics are constants."""
    group = _group(call, cell)
    inverse = constant(group.inverse, "1/σ")
    return Shown("∂out · w/σ", [product(g.at(cell), *_own(call, 1, cell), inverse)], group.steps)


@shows_gradient("x", "batch_norm_train", "standardize")
def normalised_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """What the value gets itself, less what it moves the mean by, less what it moves the variance by.

    Source: Ioffe & Szegedy, Batch normalization (2015), sec. 3.
    """
    group = _group(call, cell)
    n = len(group.places)
    weighted = [g.at(at).value * math.prod(f.value for f in _own(call, 1, at)) for at in group.places]
    normals = [group.normal(call.cell(0, at)).value for at in group.places]
    along = math.fsum(v * x for v, x in zip(weighted, normals, strict=True)) / n
    inverse = constant(group.inverse, "1/σ")
    own = group.normal(call.cell(0, cell))
    terms = [product(g.at(cell), *_own(call, 1, cell), inverse)]
    steps = list(group.steps)
    if call.params.get("centred", True):
        average = math.fsum(weighted) / n
        steps.append(Term("mean(∂out·w)", f"of {n} values", average))
        terms.append(product(constant(-average, "-mean(∂out·w)"), inverse))
    steps.append(Term("mean(∂out·w·x̂)", f"of {n} values", along))
    terms.append(product(constant(-along, "-mean(∂out·w·x̂)"), own, inverse))
    return Shown("(∂out·w - mean(∂out·w) - x̂·mean(∂out·w·x̂)) / σ", terms, steps)


def _readers(call: Call, i: int, cell: Index) -> list[Index]:
    """The outputs that a weight or bias enters."""
    if call.name == "standardize":
        return readers(call.shape(i), cell, call.out_shape)
    return indices([range(n) if k != 1 else cell for k, n in enumerate(call.out_shape)])


@shows_gradient("w", *OPS)
def weight_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each output's gradient times the normalised value there."""
    groups: dict[Index, _Group] = {}
    terms = []
    for out in _readers(call, 1, cell):
        if out not in groups:
            group = _group(call, out)
            groups |= dict.fromkeys(group.places, group)
        terms.append(product(g.at(out), groups[out].normal(call.cell(0, out))))
    unique = list({id(group): group for group in groups.values()}.values())
    return Shown("Σ ∂out · (x - mean)/σ", terms, unique[0].steps if len(unique) == 1 else [])


@shows_gradient("b", *OPS)
def bias_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each output's gradient."""
    return Shown("Σ ∂out", [product(g.at(out)) for out in _readers(call, 2, cell)])
