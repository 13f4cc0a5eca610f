"""What linear layers and matrix products compute, and their gradients."""

from .calls import Call, Upstream, indices, readers, unstretched
from .rules import shows, shows_gradient
from .table import Index, Shown, product


@shows("linear")
def linear(call: Call, out: Index) -> Shown:
    """Each feature times its weight, and the bias."""
    *rows, o = out
    terms = [product(call.cell(0, (*rows, k)), call.cell(1, (o, k))) for k in range(call.shape(1)[1])]
    if call.has(2):
        terms.append(product(call.cell(2, (o,))))
    return Shown("Σ x[i] · w[o,i]" + " + b[o]" * call.has(2), terms)


@shows_gradient("x", "linear")
def linear_input(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each output's gradient times the weight between."""
    *rows, k = cell
    terms = [product(g.at((*rows, o)), call.cell(1, (o, k))) for o in range(call.shape(1)[0])]
    return Shown("Σ ∂out[o] · w[o,i]", terms)


@shows_gradient("w", "linear")
def linear_weight(call: Call, cell: Index, g: Upstream) -> Shown:
    """In each row of the batch, the output's gradient times the feature."""
    o, k = cell
    rows = indices([range(n) for n in call.shape(0)[:-1]])
    return Shown("Σ ∂out[n,o] · x[n,i]", [product(g.at((*row, o)), call.cell(0, (*row, k))) for row in rows])


@shows_gradient("b", "linear")
def linear_bias(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each row's gradient."""
    rows = indices([range(n) for n in call.shape(0)[:-1]])
    return Shown("Σ ∂out[n,o]", [product(g.at((*row, *cell))) for row in rows])


def _parts(call: Call, out: Index) -> tuple[Index, Index, Index]:
    """The index of an output as (batch, row, column); a vector has no row or no column."""
    row = 1 if len(call.shape(0)) > 1 else 0
    column = 1 if len(call.shape(1)) > 1 else 0
    lead = len(out) - row - column
    return out[:lead], out[lead : lead + row], out[lead + row :]


def _left(call: Call, batch: Index, row: Index, k: int) -> Index:
    return (*unstretched(call.shape(0)[:-2], batch), *row, k)


def _right(call: Call, batch: Index, k: int, column: Index) -> Index:
    return (*unstretched(call.shape(1)[:-2], batch), k, *column)


@shows("matmul")
def matmul(call: Call, out: Index) -> Shown:
    """A row times a column."""
    batch, row, column = _parts(call, out)
    terms = [
        product(call.cell(0, _left(call, batch, row, k)), call.cell(1, _right(call, batch, k, column)))
        for k in range(call.shape(0)[-1])
    ]
    return Shown("Σ x[i,k] · y[k,j]", terms)


def _batch(call: Call) -> tuple[int, ...]:
    rows_and_columns = (len(call.shape(0)) > 1) + (len(call.shape(1)) > 1)
    return call.out_shape[: len(call.out_shape) - rows_and_columns]


@shows_gradient("x", "matmul")
def matmul_left(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradients of the row, each times what met the cell there; over all batches that read it."""
    lead, row, k = cell[:-2], cell[-2:-1], cell[-1]
    columns = indices([range(n) for n in call.shape(1)[-1:]] if len(call.shape(1)) > 1 else [])
    terms = [
        product(g.at((*batch, *row, *column)), call.cell(1, _right(call, batch, k, column)))
        for batch in readers(call.shape(0)[:-2], lead, _batch(call))
        for column in columns
    ]
    return Shown("Σ ∂out[i,j] · y[k,j]", terms)


@shows_gradient("y", "matmul")
def matmul_right(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradients of the column, each times what met the cell there; over all batches that read it."""
    lead, k, column = (cell[:-2], cell[-2], cell[-1:]) if len(cell) > 1 else ((), cell[0], ())
    rows = indices([range(n) for n in call.shape(0)[-2:-1]])
    terms = [
        product(g.at((*batch, *row, *column)), call.cell(0, _left(call, batch, row, k)))
        for batch in readers(call.shape(1)[:-2], lead, _batch(call))
        for row in rows
    ]
    return Shown("Σ ∂out[i,j] · x[i,k]", terms)
