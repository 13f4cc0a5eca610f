"""Sums, means, extrema and variances over axes, and their gradients."""

import math
from typing import Any

import numpy as np

from ..shapes import normalize_axes
from .calls import Call, Upstream, indices, readers, unstretched
from .rules import shows, shows_gradient
from .table import Factor, Index, Shown, Term, constant, product, total_of, worked


def _axes(call: Call) -> tuple[int, ...]:
    return normalize_axes(call.params["axis"], len(call.shape(0)), call.name)


def _group(call: Call, out: Index) -> list[Factor]:
    """The cells that are reduced into one output."""
    shape, axes = call.shape(0), _axes(call)
    kept = iter(out if not call.params.get("keepdims") else [k for i, k in enumerate(out) if i not in axes])
    ranges = [range(n) if i in axes else (next(kept),) for i, n in enumerate(shape)]
    return [call.cell(0, at) for at in indices(ranges)]


def _out_of(call: Call, cell: Index) -> Index:
    """The output into which a cell is reduced."""
    axes = _axes(call)
    if call.params.get("keepdims"):
        return tuple(0 if i in axes else k for i, k in enumerate(cell))
    return tuple(k for i, k in enumerate(cell) if i not in axes)


def _power(x: float, p: float) -> float:
    """x^p, inf where it is too large, as in arrays: Python's own raises there."""
    with np.errstate(all="ignore"):
        return float(np.float64(x) ** p)


def _fraction(n: float) -> Factor:
    return constant(1.0 / n if n else math.inf, f"1/{n:g}")


@shows("sum")
def total(call: Call, out: Index) -> Shown:
    """Every cell."""
    return Shown("Σ x", [product(cell) for cell in _group(call, out)])


@shows("mean")
def mean(call: Call, out: Index) -> Shown:
    """Every cell divided by their number."""
    cells = _group(call, out)
    return Shown("Σ x / n", [product(cell, _fraction(len(cells))) for cell in cells])


@shows("sum_to")
def sum_to(call: Call, out: Index) -> Shown:
    """Every cell that broadcasting would have copied from there."""
    cells = [call.cell(0, at) for at in readers(call.out_shape, out, call.shape(0))]
    return Shown("Σ x", [product(cell) for cell in cells])


def mean_step(cells: list[Factor], name: str = "mean") -> Term:
    """The step that averages the cells."""
    value = total_of([product(cell) for cell in cells]) / len(cells) if cells else math.nan
    return Term(name, f"of {len(cells)} values", value)


@shows("var")
def var(call: Call, out: Index) -> Shown:
    """Every squared distance from the mean."""
    cells = _group(call, out)
    average, free = mean_step(cells), max(len(cells) - call.params["correction"], 0)
    middle = constant(average.value, "mean")
    terms = [
        worked(
            "({x} - {m})^2 / {n}",
            (cell.value - average.value) ** 2 / free if free else math.nan,
            x=cell,
            m=middle,
            n=constant(free),
        )
        for cell in cells
    ]
    return Shown("Σ (x - mean)^2 / (n - correction)", terms, [average])


@shows("std")
def std(call: Call, out: Index) -> Shown:
    """The root of the variance."""
    inner = var(call, out)
    variance = total_of(inner.terms)
    term = worked("√{v}", math.sqrt(variance) if variance >= 0 else math.nan, v=constant(variance, "var"))
    steps = [*inner.steps, *inner.terms, Term("var = Σ (x - mean)^2 / (n - correction)", "", variance)]
    return Shown("√(Σ (x - mean)^2 / (n - correction))", [term], steps)


@shows("power_norm")
def power_norm(call: Call, out: Index) -> Shown:
    """The p-th root of the sum of |x|^p."""
    p = float(call.params["p"])
    each = [worked("|{x}|^{p}", _power(abs(x.value), p), x=x, p=constant(p)) for x in _group(call, out)]
    total = total_of(each)
    term = worked("{s}^(1/{p})", _power(total, 1.0 / p), s=constant(total, "Σ"), p=constant(p))
    return Shown("(Σ |x|^p)^(1/p)", [term], [*each, Term("Σ |x|^p", "", total)])


def _best(call: Call, cells: list[Factor]) -> Factor:
    pick: Any = np.argmax if call.name == "amax" else np.argmin  # the first nan, where there is one
    return cells[int(pick([cell.value for cell in cells]))]


@shows("amax", "amin")
def extremum(call: Call, out: Index) -> Shown:
    """All cells, and the one that is taken."""
    cells = _group(call, out)
    return Shown("max x" if call.name == "amax" else "min x", [product(_best(call, cells))], list(map(product, cells)))


@shows("logsumexp")
def logsumexp(call: Call, out: Index) -> Shown:
    """The maximum, and the logarithm of the sum of exp(x - maximum)."""
    m, total, steps = shifted(_group(call, out))
    top = constant(m, "m")
    return Shown(
        "m + log Σ exp(x - m)", [product(top), worked("log {s}", math.log(total), s=constant(total, "Σ"))], steps
    )


def shifted(cells: list[Factor]) -> tuple[float, float, list[Term]]:
    """(m, the sum of exp(x - m), the steps to it) with m the maximum, so that nothing overflows."""
    values = np.array([cell.value for cell in cells])
    m = float(values.max(initial=-np.inf))
    with np.errstate(all="ignore"):
        e = np.exp(values - m)
    top = constant(m, "m")
    each = [worked("exp({x} - {m})", v, x=cell, m=top) for cell, v in zip(cells, e, strict=True)]
    total = total_of(each)
    return m, total, [Term("m = max x", f"of {len(cells)} values", m), *each, Term("Σ exp(x - m)", "", total)]


@shows_gradient("x", "sum")
def total_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of the sum that the cell is in."""
    return Shown("∂out", [product(g.at(_out_of(call, cell)))])


@shows_gradient("x", "sum_to")
def sum_to_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of the sum that the cell is in."""
    return Shown("∂out", [product(g.at(unstretched(call.out_shape, cell)))])


@shows_gradient("x", "mean")
def mean_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of the mean that the cell is in, divided by how many cells are."""
    n = math.prod(call.shape(0)[i] for i in _axes(call))
    return Shown("∂out / n", [product(g.at(_out_of(call, cell)), _fraction(n))])


@shows_gradient("x", "var")
def var_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """Twice the distance from the mean, divided as the variance is."""
    out = _out_of(call, cell)
    cells = _group(call, out)
    average, x = mean_step(cells), call.cell(0, cell)
    away = constant(x.value - average.value, f"({x.text} - mean)")
    share = _fraction(max(len(cells) - call.params["correction"], 0))
    return Shown(
        "∂out · 2 · (x - mean) / (n - correction)", [product(g.at(out), constant(2.0), away, share)], [average]
    )


@shows_gradient("x", "std")
def std_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The distance from the mean, divided by the deviation and as the variance is; nothing where all are equal."""
    out, x = _out_of(call, cell), call.cell(0, cell)
    formula = "∂out · (x - mean) / (std · (n - correction))"
    inner = std(call, out)
    deviation, average = inner.terms[0].value, inner.steps[0]
    if deviation == 0.0:
        return Shown(formula, [], [average], note="All cells are equal there.")
    share = _fraction(max(math.prod(call.shape(0)[i] for i in _axes(call)) - call.params["correction"], 0))
    away = constant(x.value - average.value, f"({x.text} - mean)")
    return Shown(formula, [product(g.at(out), away, constant(1.0 / deviation, "1/std"), share)], [average])


@shows_gradient("x", "power_norm")
def power_norm_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """sign(x) (|x| / norm)^(p-1), and what `at_zero` says where all of x is 0."""
    out, x, p = _out_of(call, cell), call.cell(0, cell), float(call.params["p"])
    norm = power_norm(call, out).terms[0].value
    if norm == 0.0:
        slope = constant(float(call.params["at_zero"]), "at_zero")
    else:
        size = _power(math.sqrt(abs(x.value)) / math.sqrt(norm), 2.0 * (p - 1.0)) if x.value else 0.0
        slope = constant(math.copysign(size, x.value), f"sign(x)·(|{x.text}|/norm)^{p - 1.0:g}")
    return Shown("∂out · sign(x) · (|x| / norm)^(p-1)", [product(g.at(out), slope)], [Term("norm", "", norm)])


@shows_gradient("x", "amax", "amin")
def extremum_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient where the cell holds the extremum, shared with those that hold it too; else nothing."""
    out = _out_of(call, cell)
    cells = _group(call, out)
    best, own, ties = _best(call, cells).value, call.cell(0, cell), call.params["ties"]
    winners = [c.index for c in cells if c.value == best or c.value != c.value]
    if cell not in winners:
        return Shown("∂out · 1[x = out] / ties", [], note=f"{own.text} is not the extremum.")
    if ties == "split":
        return Shown("∂out · 1[x = out] / ties", [product(g.at(out), _fraction(len(winners)))])
    if cell != winners[0 if ties == "first" else -1]:
        return Shown("∂out · 1[x = out]", [], note=f"{len(winners)} cells hold the extremum: ties={ties!r}.")
    return Shown("∂out · 1[x = out]", [product(g.at(out))])


@shows_gradient("x", "logsumexp")
def logsumexp_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient times the cell's share in the sum."""
    out, own = _out_of(call, cell), call.cell(0, cell)
    m, total, steps = shifted(_group(call, out))
    share = constant(math.exp(own.value - m) / total, f"exp({own.text} - m)/Σ")
    return Shown("∂out · exp(x - m) / Σ exp(x - m)", [product(g.at(out), share)], steps)
