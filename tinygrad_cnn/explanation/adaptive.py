"""What pools to a size of the output compute, and their gradients: sums over windows that cover the image."""

from typing import Any

from ..ops.adaptive_pool import windows
from .calls import Call, Upstream, indices
from .rules import shows, shows_gradient
from .table import Factor, Index, Shown, constant, product


def _bounds(call: Call) -> tuple[list[range], list[range]]:
    """The rows that each row of windows reads, and the columns."""
    rows, columns = (
        [range(int(first), int(first + length)) for first, length in zip(*windows(n, m), strict=True)]
        for n, m in zip(call.shape(0)[2:], call.out_shape[2:], strict=True)
    )
    return rows, columns


def _cells(call: Call, out: Index) -> list[Factor]:
    rows, columns = _bounds(call)
    n, c, i, j = out
    return [call.cell(0, (n, c, r, s)) for r, s in indices([rows[i], columns[j]])]


def _share(call: Call, cells: int) -> list[Factor]:
    return [constant(1.0 / cells, f"1/{cells}")] if call.name == "adaptive_avg_pool2d" else []


@shows("adaptive_avg_pool2d", "adaptive_sum_pool2d")
def adaptive_avg_pool2d(call: Call, out: Index) -> Shown:
    """Every cell of the window; an average divides each."""
    cells = _cells(call, out)
    share = _share(call, len(cells))
    return Shown("Σ x over the window" + " / count" * bool(share), [product(cell, *share) for cell in cells])


@shows_gradient("x", "adaptive_avg_pool2d", "adaptive_sum_pool2d")
def adaptive_avg_pool2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of every window that the cell lies in; of an average, divided by how many cells that has."""
    (n, c, r, s), (rows, columns) = cell, _bounds(call)
    found = indices([[i for i, of in enumerate(rows) if r in of], [j for j, of in enumerate(columns) if s in of]])
    terms = [product(g.at((n, c, i, j)), *_share(call, len(rows[i]) * len(columns[j]))) for i, j in found]
    return Shown("Σ ∂out" + " / count" * (call.name == "adaptive_avg_pool2d"), terms)


@shows("adaptive_max_pool2d")
def adaptive_max_pool2d(call: Call, out: Index) -> Shown:
    """The window's cells, and the first that is the largest; nan is larger than all."""
    cells = _cells(call, out)
    nans = [cell for cell in cells if cell.value != cell.value]
    winner = nans[0] if nans else max(cells, key=lambda cell: cell.value)
    ties = sum(cell.value == winner.value for cell in cells)
    note = f"{ties} cells hold the maximum: the first takes the gradient." if ties > 1 else ""
    return Shown("max x over the window", [product(winner)], [product(cell) for cell in cells], note)


@shows_gradient("x", "adaptive_max_pool2d")
def adaptive_max_pool2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of every window that the cell has won."""
    winners: Any = call.kept("winners")
    n, c, r, s = cell
    flat = r * call.shape(0)[3] + s
    won = [at for at in indices([range(k) for k in call.out_shape[2:]]) if int(winners[n, c, *at]) == flat]
    note = "" if won else "The cell has won no window."
    return Shown("Σ ∂out of the windows that it won", [product(g.at((n, c, *at))) for at in won], note=note)
