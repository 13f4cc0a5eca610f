"""Ops along an axis: resampling, running sums and products, products, gates; and sums of products over labels."""

from collections.abc import Sequence

import numpy as np

from ..graph import Array
from ..shapes import normalize_axes
from .calls import Call, Upstream, indices
from .pointwise import sigmoid
from .rules import VARIADIC, shows, shows_gradient
from .table import Factor, Index, Shown, constant, product, worked


def _axis(call: Call) -> int:
    (axis,) = normalize_axes(call.params["axis"], len(call.shape(0)), call.name)
    return axis


def _put(cell: Index, axis: int, k: int) -> Index:
    """The cell with another place along one axis."""
    return (*cell[:axis], k, *cell[axis + 1 :])


# Linear along one axis: each output is a weighted sum of the cells of its line


def _reads(call: Call) -> Array:
    """(size, n): the share of each of n cells in each output of a line, read off by giving the op every unit vector."""
    units = np.eye(call.shape(0)[_axis(call)])
    shares: Array = call.op.forward(units, **{**call.params, "axis": 1}).T
    return shares


FORMULAS = {"resampled": ("Σ x · share", "Σ ∂out · share"), "cumsum": ("Σ x up to there", "Σ ∂out from there on")}


def _shared(factor: Factor, share: float) -> list[Factor]:
    return [factor] if share == 1.0 else [factor, constant(share)]


@shows("resampled", "cumsum")
def read_along(call: Call, out: Index) -> Shown:
    """Every cell of the line that counts, times its share."""
    axis = _axis(call)
    shares = _reads(call)[out[axis]]
    terms = [product(*_shared(call.cell(0, _put(out, axis, int(k))), float(shares[k]))) for k in np.flatnonzero(shares)]
    return Shown(FORMULAS[call.name][0], terms)


@shows_gradient("x", "resampled", "cumsum")
def read_along_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of every output that reads the cell, times the cell's share in it."""
    axis = _axis(call)
    shares = _reads(call)[:, cell[axis]]
    terms = [product(*_shared(g.at(_put(cell, axis, int(k))), float(shares[k]))) for k in np.flatnonzero(shares)]
    return Shown(FORMULAS[call.name][1], terms, note="" if terms else "No output reads this cell.")


# Products of cells


def _line(call: Call, cell: Index, last: int) -> list[Factor]:
    """The cells of a line up to the place `last`."""
    return [call.cell(0, _put(cell, _axis(call), k)) for k in range(last + 1)]


@shows("cumprod")
def cumprod(call: Call, out: Index) -> Shown:
    """The product of all cells up to there."""
    return Shown("Π x up to there", [product(*_line(call, out, out[_axis(call)]))])


@shows_gradient("x", "cumprod")
def cumprod_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """For each output from there on its gradient times the product of the other cells in it."""
    axis = _axis(call)
    terms = []
    for k in range(cell[axis], call.shape(0)[axis]):
        others = [x for x in _line(call, cell, k) if x.index != cell]
        terms.append(product(g.at(_put(cell, axis, k)), *others))
    return Shown("Σ ∂out · Π other x", terms)


def _group(call: Call, cell: Index) -> list[Factor]:
    axes = normalize_axes(call.params["axis"], len(call.shape(0)), call.name)
    return [call.cell(0, at) for at in indices([range(n) if i in axes else cell[i : i + 1]
                                                for i, n in enumerate(call.shape(0))])]  # fmt: skip


def _reduced(call: Call, cell: Index) -> Index:
    """The output into which a cell is multiplied."""
    axes = normalize_axes(call.params["axis"], len(call.shape(0)), call.name)
    if call.params["keepdims"]:
        return tuple(0 if i in axes else k for i, k in enumerate(cell))
    return tuple(k for i, k in enumerate(cell) if i not in axes)


@shows("prod")
def prod(call: Call, out: Index) -> Shown:
    """The product of the cells."""
    axes, kept = normalize_axes(call.params["axis"], len(call.shape(0)), call.name), iter(out)
    cell = tuple(0 if i in axes and not call.params["keepdims"] else next(kept) for i in range(len(call.shape(0))))
    cells = _group(call, cell)
    return Shown("Π x", [product(*cells) if cells else product(constant(1.0))])


@shows_gradient("x", "prod")
def prod_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient times the product of the other cells."""
    others = [x for x in _group(call, cell) if x.index != cell]
    return Shown("∂out · Π other x", [product(g.at(_reduced(call, cell)), *others)])


# Gates


def _halves(call: Call, k: int) -> tuple[int, int]:
    """(half the length of the axis, the place within a half)."""
    half = call.shape(0)[_axis(call)] // 2
    return half, k % half


@shows("glu")
def glu(call: Call, out: Index) -> Shown:
    """A cell of the first half, times the sigmoid of its partner in the second."""
    axis = _axis(call)
    half, k = _halves(call, out[axis])
    a, b = call.cell(0, out), call.cell(0, _put(out, axis, half + k))
    return Shown("a · sigmoid(b)", [worked("{a} / (1 + exp(-{b}))", a.value * float(sigmoid(b.value)), a=a, b=b)])


@shows_gradient("x", "glu")
def glu_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gate for what passes it, and how it moves for the gate."""
    axis = _axis(call)
    half, k = _halves(call, cell[axis])
    a, b = call.cell(0, _put(cell, axis, k)), call.cell(0, _put(cell, axis, half + k))
    gate, arrived = float(sigmoid(b.value)), g.at(_put(cell, axis, k))
    if cell[axis] < half:
        return Shown("∂out · sigmoid(b)", [product(arrived, constant(gate, f"sigmoid({b.text})"))])
    slope = constant(gate * float(sigmoid(-b.value)), f"sigmoid'({b.text})")
    return Shown("∂out · a · sigmoid'(b)", [product(arrived, a, slope)])


# Sums of products over labels, as einsum


def _lengths(call: Call) -> dict[int, int]:
    """How far each label runs; a length of 1 is stretched."""
    found: dict[int, int] = {}
    for i, term in enumerate(call.params["terms"]):
        for label, n in zip(term, call.shape(i), strict=True):
            found[label] = n if found.get(label, 1) == 1 else found[label]
    return found


def _factors(call: Call, places: dict[int, int], without: int = -1) -> list[Factor]:
    """The cell of each array at the places of its labels."""
    return [
        call.cell(i, [0 if n == 1 else places[label] for label, n in zip(term, call.shape(i), strict=True)])
        for i, term in enumerate(call.params["terms"])
        if i != without
    ]


def _runs(lengths: dict[int, int], fixed: dict[int, int]) -> list[dict[int, int]]:
    """All places of all labels where some are fixed."""
    ranges: list[Sequence[int]] = [(fixed[label],) if label in fixed else range(n) for label, n in lengths.items()]
    return [dict(zip(lengths, places, strict=True)) for places in indices(ranges)]


@shows("contraction")
def contraction(call: Call, out: Index) -> Shown:
    """The product of the cells at every place of the labels that are summed."""
    fixed = dict(zip(call.params["kept"], out, strict=True))
    return Shown("Σ products", [product(*_factors(call, places)) for places in _runs(_lengths(call), fixed)])


def contraction_gradient(call: Call, cell: Index, g: Upstream, i: int) -> Shown:
    """The gradient of every output that the cell is in, times the other cells of the product."""
    shape, term = call.shape(i), call.params["terms"][i]
    lengths = _lengths(call)
    fixed = {label: k for label, k, n in zip(term, cell, shape, strict=True) if n == lengths[label]}
    terms = [
        product(g.at([places[label] for label in call.params["kept"]]), *_factors(call, places, without=i))
        for places in _runs(lengths, fixed)
    ]
    return Shown("Σ ∂out · the other factors", terms)


VARIADIC["contraction"] = contraction_gradient
