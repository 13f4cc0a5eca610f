"""What convolutions and pools compute, and their gradients: sums over windows, written from the definition.

Source: Dumoulin & Visin, A guide to convolution arithmetic for deep learning (2016), sections 2 to 4.
"""

from typing import Any

from ..geometry import conv2d_geometry, conv_transpose2d_geometry, pool2d_geometry
from .calls import Call, Upstream, indices
from .rules import shows, shows_gradient
from .table import PADDING, Factor, Index, Shown, Term, constant, product

POOLS = ("max_pool2d", "avg_pool2d", "sum_pool2d")


def _reads(at: Any, i: int, j: int, p: int, q: int) -> tuple[int, int]:
    """The row and column that the window (i, j) reads with its cell (p, q); outside of the image is padding."""
    (sh, sw), ((top, _), (left, _)), (dh, dw) = at.stride, at.padding, at.dilation
    return i * sh - top + p * dh, j * sw - left + q * dw


def _window_at(at: Any, r: int, s: int, p: int, q: int, windows: tuple[int, int]) -> tuple[int, int] | None:
    """The window that reads row r and column s with its cell (p, q), if there is one."""
    (sh, sw), ((top, _), (left, _)), (dh, dw) = at.stride, at.padding, at.dilation
    i, j = r + top - p * dh, s + left - q * dw
    if i % sh or j % sw or not (0 <= i // sh < windows[0] and 0 <= j // sw < windows[1]):
        return None
    return i // sh, j // sw


def _inside(size: tuple[int, int], r: int, s: int) -> bool:
    return 0 <= r < size[0] and 0 <= s < size[1]


def _conv_geometry(call: Call) -> Any:
    p = call.params
    return conv2d_geometry(call.shape(0), call.shape(1), p["stride"], p["padding"], p["dilation"], p["groups"])


def _pixel(call: Call, at: Any, n: int, c: int, r: int, s: int) -> Factor:
    return call.cell(0, (n, c, r, s)) if _inside(at.size, r, s) else PADDING


@shows("conv2d")
def conv2d(call: Call, out: Index) -> Shown:
    """Each pixel under the window times its weight, and the bias."""
    at, (n, o, i, j) = _conv_geometry(call), out
    filters, channels, kh, kw = call.shape(1)
    first = o // (filters // at.groups) * channels
    terms = []
    for c, p, q in indices([range(channels), range(kh), range(kw)]):
        r, s = _reads(at, i, j, p, q)
        terms.append(product(_pixel(call, at, n, first + c, r, s), call.cell(1, (o, c, p, q))))
    bias = call.has(2)
    if bias:
        terms.append(product(call.cell(2, (o,))))
    return Shown("Σ x[n,c,i·s+p·d−pad,j·s+q·d−pad] · w[o,c,p,q]" + " + b[o]" * bias, terms)


@shows_gradient("x", "conv2d")
def conv2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """Every window that reads the pixel sends its gradient times the weight that it reads the pixel with."""
    at, (n, c, r, s) = _conv_geometry(call), cell
    filters, channels, kh, kw = call.shape(1)
    each = filters // at.groups
    terms = []
    for o, p, q in indices([range(c // channels * each, (c // channels + 1) * each), range(kh), range(kw)]):
        window = _window_at(at, r, s, p, q, at.out)
        if window is not None:
            terms.append(product(g.at((n, o, *window)), call.cell(1, (o, c % channels, p, q))))
    return Shown("Σ ∂out[n,o,i,j] · w[o,c,p,q]", terms, note="" if terms else "No window reads this pixel.")


@shows_gradient("w", "conv2d")
def conv2d_weight(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each position's gradient times the pixel that the weight meets there."""
    at, (o, c, p, q) = _conv_geometry(call), cell
    filters, channels, _, _ = call.shape(1)
    first = o // (filters // at.groups) * channels
    terms = []
    for n, i, j in indices([range(call.shape(0)[0]), range(at.out[0]), range(at.out[1])]):
        r, s = _reads(at, i, j, p, q)
        terms.append(product(g.at((n, o, i, j)), _pixel(call, at, n, first + c, r, s)))
    return Shown("Σ ∂out[n,o,i,j] · x[n,c,i·s+p·d−pad,j·s+q·d−pad]", terms)


@shows_gradient("b", "conv2d", "conv_transpose2d")
def conv2d_bias(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each position's gradient, as the bias enters everywhere with factor 1."""
    n, _, h, w = call.out_shape
    places = indices([range(n), cell, range(h), range(w)])
    return Shown("Σ ∂out[n,o,i,j]", [product(g.at(place)) for place in places])


def _transpose_geometry(call: Call) -> Any:
    p = call.params
    return conv_transpose2d_geometry(
        call.shape(0), call.shape(1), p["stride"], p["padding"], p["output_padding"], p["groups"], p["dilation"]
    )


@shows("conv_transpose2d")
def conv_transpose2d(call: Call, out: Index) -> Shown:
    """Every input pixel whose kernel, laid down there, covers the output cell, times the weight that meets it."""
    at, (n, o, r, s) = _transpose_geometry(call), out
    channels, filters, kh, kw = call.shape(1)
    each = channels // at.groups
    terms = []
    for c, p, q in indices([range(o // filters * each, (o // filters + 1) * each), range(kh), range(kw)]):
        pixel = _window_at(at, r, s, p, q, at.size)
        if pixel is not None:
            terms.append(product(call.cell(0, (n, c, *pixel)), call.cell(1, (c, o % filters, p, q))))
    bias = call.has(2)
    if bias:
        terms.append(product(call.cell(2, (o,))))
    note = "" if terms else "No kernel reaches this cell."
    return Shown("Σ x[n,c,i,j] · w[c,o,p,q]" + " + b[o]" * bias, terms, note=note)


@shows_gradient("x", "conv_transpose2d")
def conv_transpose2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of each cell that the pixel's kernel covers, times the weight there."""
    at, (n, c, i, j) = _transpose_geometry(call), cell
    channels, filters, kh, kw = call.shape(1)
    first = c // (channels // at.groups) * filters
    terms = []
    for o, p, q in indices([range(filters), range(kh), range(kw)]):
        r, s = _reads(at, i, j, p, q)
        if _inside(at.out, r, s):
            terms.append(product(g.at((n, first + o, r, s)), call.cell(1, (c, o, p, q))))
    return Shown("Σ ∂out[n,o,i·s+p·d−pad,j·s+q·d−pad] · w[c,o,p,q]", terms)


@shows_gradient("w", "conv_transpose2d")
def conv_transpose2d_weight(call: Call, cell: Index, g: Upstream) -> Shown:
    """Each pixel times the gradient of the cell that it puts the weight into."""
    at, (c, o, p, q) = _transpose_geometry(call), cell
    channels, filters, _, _ = call.shape(1)
    first = c // (channels // at.groups) * filters
    terms = []
    for n, i, j in indices([range(call.shape(0)[0]), range(at.size[0]), range(at.size[1])]):
        r, s = _reads(at, i, j, p, q)
        if _inside(at.out, r, s):
            terms.append(product(g.at((n, first + o, r, s)), call.cell(0, (n, c, i, j))))
    return Shown("Σ ∂out[n,o,i·s+p·d−pad,j·s+q·d−pad] · x[n,c,i,j]", terms)


def _pool_geometry(call: Call) -> Any:
    p = call.params
    return pool2d_geometry(
        call.shape(0), p["kernel_size"], p["stride"], p["padding"], p.get("dilation", 1), p["ceil_mode"], name=call.name
    )


def _window(at: Any, i: int, j: int) -> list[tuple[int, int]]:
    """The row and column of every cell of a window, also of those outside of the image."""
    return [_reads(at, i, j, p, q) for p, q in indices([range(at.kernel[0]), range(at.kernel[1])])]


@shows("max_pool2d")
def max_pool2d(call: Call, out: Index) -> Shown:
    """The window's cells, and the one that is the largest."""
    at, (n, c, i, j) = _pool_geometry(call), out
    cells = [call.cell(0, (n, c, r, s)) for r, s in _window(at, i, j) if _inside(at.size, r, s)]
    winner = cells[0]
    for cell in cells[1:]:
        later = call.params["ties"] == "last" and cell.value == winner.value
        if cell.value > winner.value or later or (cell.value != cell.value and winner.value == winner.value):
            winner = cell
    ties = sum(cell.value == winner.value for cell in cells)
    note = f"{ties} cells hold the maximum: ties={call.params['ties']!r}." if ties > 1 else ""
    return Shown("max x over the window", [product(winner)], [product(cell) for cell in cells], note)


@shows_gradient("x", "max_pool2d")
def max_pool2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of every window that the cell has won, shared where `ties` says so."""
    winners, shares, _ = call.kept("winners")
    n, c, r, s = cell
    flat = r * call.shape(0)[3] + s
    terms = []
    for i, j in indices([range(call.out_shape[2]), range(call.out_shape[3])]):
        if shares is None:
            if int(winners[n, c, i, j]) == flat:
                terms.append(product(g.at((n, c, i, j))))
            continue
        for k, share in enumerate(shares[n, c, i, j]):
            if int(winners[n, c, i, j, k]) == flat and share:
                terms.append(product(g.at((n, c, i, j)), constant(float(share))))
    return Shown("Σ ∂out of the windows that it won", terms, note="" if terms else "The cell has won no window.")


def _divisor(call: Call, at: Any, i: int, j: int) -> int:
    """What an average divides by: the window's cells in the padded image, or those in the image."""
    if call.params["divisor_override"] is not None:
        return int(call.params["divisor_override"])
    (top, bottom), (left, right) = at.padding if call.params["count_include_pad"] else ((0, 0), (0, 0))
    h, w = at.size
    return sum(-top <= r < h + bottom and -left <= s < w + right for r, s in _window(at, i, j))


@shows("avg_pool2d", "sum_pool2d")
def sum_pool2d(call: Call, out: Index) -> Shown:
    """Every cell of the window; an average divides each."""
    at, (n, c, i, j) = _pool_geometry(call), out
    share: list[Factor] = []
    if call.name == "avg_pool2d":
        divisor = _divisor(call, at, i, j)
        share = [constant(1.0 / divisor, f"1/{divisor}")]
    terms: list[Term] = [product(_pixel(call, at, n, c, r, s), *share) for r, s in _window(at, i, j)]
    return Shown("Σ x over the window" + " / count" * bool(share), terms)


@shows_gradient("x", "avg_pool2d", "sum_pool2d")
def sum_pool2d_image(call: Call, cell: Index, g: Upstream) -> Shown:
    """The gradient of every window that reads the cell; of an average, divided."""
    at, (n, c, r, s) = _pool_geometry(call), cell
    terms = []
    for p, q in indices([range(at.kernel[0]), range(at.kernel[1])]):
        window = _window_at(at, r, s, p, q, at.out)
        if window is None:
            continue
        factors = [g.at((n, c, *window))]
        if call.name == "avg_pool2d":
            divisor = _divisor(call, at, *window)
            factors.append(constant(1.0 / divisor, f"1/{divisor}"))
        terms.append(product(*factors))
    formula = "Σ ∂out" + " / count" * (call.name == "avg_pool2d")
    return Shown(formula, terms, note="" if terms else "No window reads this pixel.")
