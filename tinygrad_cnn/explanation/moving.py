"""Ops that only move numbers: which cell of an input each output cell is, read off by moving the cells' own numbers."""

import math

import numpy as np

from ..graph import Array
from .calls import Call, Upstream
from .rules import BACKWARD, FORWARD, VARIADIC
from .table import Factor, Index, Shown, constant, place, product

MOVES = (
    "broadcast_to", "clone", "concatenate", "flipped", "gather", "gather_planes", "getitem", "pad", "permute",
    "reshape", "rolled", "stacked", "take_along_axis", "unfold",
)  # fmt: skip


def _numbered(call: Call) -> Array:
    """The op on arrays that number the cells of all inputs from 1 on; 0 is padding."""
    ids, first = [], 1
    for i in sorted(call.keys):
        shape = call.shape(i)
        n = int(np.prod(shape))
        ids.append(np.arange(first, first + n, dtype=np.float64).reshape(shape))
        first += n
    params = {name: call.array_param(name) for name in call.params}
    if "value" in params:
        params["value"] = 0.0
    moved: Array = call.op.forward(*ids, **params)
    return moved


def source(call: Call, out: Index) -> tuple[int, Index] | None:
    """The input and the cell that an output cell is a copy of; None for padding."""
    number = int(_numbered(call)[out]) - 1
    if number < 0:
        return None
    for i in sorted(call.keys):
        shape = call.shape(i)
        if number < math.prod(shape):
            break
        number -= math.prod(shape)
    return i, tuple(int(k) for k in np.unravel_index(number, shape))


def _moved(call: Call, out: Index) -> Shown:
    found = source(call, out)
    if found is None:
        return Shown("padding", [product(constant(float(call.params.get("value", 0.0)), "padding"))])
    i, cell = found
    known = call.result(out)  # a copy: known wherever the output is
    if known is None:
        return Shown("the same number", [product(call.cell(i, cell))])
    return Shown("the same number", [product(Factor(place(call.title(i), cell), known, i, cell))])


def moved_gradient(call: Call, cell: Index, g: Upstream, i: int = 0) -> Shown:
    """The gradient of every output cell that is a copy of this cell of input i."""
    number = 1 + sum(int(np.prod(call.shape(k))) for k in sorted(call.keys) if k < i)
    number += int(np.ravel_multi_index(cell, call.shape(i))) if cell else 0
    outs = [tuple(int(k) for k in out) for out in np.argwhere(_numbered(call) == number)]
    note = "" if outs else "The cell is not among what was taken."
    return Shown("Σ ∂out of its copies", [product(g.at(out)) for out in outs], note=note)


FORWARD.update(dict.fromkeys(MOVES, _moved))
BACKWARD.update({(op, "x"): moved_gradient for op in MOVES if op not in ("concatenate", "stacked")})
VARIADIC |= {"concatenate": moved_gradient, "stacked": moved_gradient}
