"""A ConvMatrix as a table of letters and as SVG: one colour and one letter for each weight.

Up to nine weights have the colours of Okabe & Ito (Color universal design, 2008) and a light grey, which can be told
apart with every form of colour blindness; more run through cividis (Nuñez, Anderton & Renslow, Optimizing colormaps,
2018).
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from .table import place

if TYPE_CHECKING:
    from .matrix import ConvMatrix

MOST = 100_000  # connections that are drawn
WIDEST = 64  # rows and columns of a table of letters
LEGEND = 26  # weights that are listed one by one

_OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000", "#D9D9D9")
_CIVIDIS = ((0, 32, 77), (49, 68, 107), (102, 104, 112), (149, 143, 120), (203, 186, 105), (255, 234, 70))


def heading(m: "ConvMatrix") -> str:
    """The matrix in words."""
    (rows, cols), counts = m.shape, m.counts
    name = "conv2d" if m.row_name == "y" else "conv2d transposed"
    return (
        f"{name} as a {rows} x {cols} matrix: {counts.dense} weights if dense, {counts.connections} connections, "
        f"{counts.shared} different weights"
    )


def text(m: "ConvMatrix") -> str:
    """Letters for weights and dots for zeros; a large matrix is cut at its top left corner."""
    rows, cols = (min(n, WIDEST) for n in m.shape)
    letters = m.letters()
    wide = max(map(len, letters))
    grid = [["·".rjust(wide)] * cols for _ in range(rows)]
    for r, c, k in zip(m.rows.tolist(), m.cols.tolist(), m.which.tolist(), strict=True):
        if r < rows and c < cols:
            grid[r][c] = letters[k].rjust(wide)
    more = " …" if cols < m.shape[1] else ""
    lines = [heading(m), *("  " + " ".join(line) + more for line in grid)]
    lines += ["  …"] * (rows < m.shape[0])
    legend = m.legend()
    lines += [f"  {line}" for line in legend[:LEGEND]]
    if len(legend) > LEGEND:
        lines.append(f"  … and {len(legend) - LEGEND} more weights")
    return "\n".join(lines)


def colour(k: int, n: int) -> str:
    """The colour of weight k of n."""
    if n <= len(_OKABE_ITO):
        return _OKABE_ITO[k]
    where = k / (n - 1) * (len(_CIVIDIS) - 1)
    i = min(int(where), len(_CIVIDIS) - 2)
    mixed = (round(a + (b - a) * (where - i)) for a, b in zip(_CIVIDIS[i], _CIVIDIS[i + 1], strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def ink(background: str) -> str:
    """Black or white, whichever has more contrast with the colour (WCAG 2.2, relative luminance)."""
    channels = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    luminance = sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#FFFFFF"


def svg(m: "ConvMatrix") -> str:
    """One square a connection, a line every row of an image, a heavier one every channel, a legend below."""
    if len(m.data) > MOST:
        raise ValueError(
            f"svg: the matrix has {len(m.data)} connections, more than {MOST} are not drawn; use a smaller image"
        )
    rows, cols = m.shape
    size = max(1.0, min(24.0, 960.0 / max(rows, cols)))
    letters, n = m.letters(), m.weight.size
    roomy = size >= 7.0 * max(map(len, letters)) + 5.0
    named = size >= 12.0
    longest = max(len(_cell(m.row_name, m.row_shape, rows - 1)), 4)
    left, top = (6.75 * longest + 8.0, 92.0) if named else (12.0, 34.0)
    width, height = cols * size, rows * size
    parts = [f'<text x="12" y="20" font-size="13" fill="#000000">{escape(heading(m))}</text>']
    parts.append(f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" fill="#FAFAFA"/>')
    by_weight: dict[int, list[str]] = {}
    words: list[str] = []
    for r, c, k in zip(m.rows.tolist(), m.cols.tolist(), m.which.tolist(), strict=True):
        x, y = left + c * size, top + r * size
        by_weight.setdefault(k, []).append(f"M{x:g} {y:g}h{size:g}v{size:g}h{-size:g}z")
        if roomy:
            fill = ink(colour(k, n))
            words.append(f'<text x="{x + size / 2:g}" y="{y + size / 2 + 4:g}" fill="{fill}">{letters[k]}</text>')
    parts += [f'<path d="{"".join(cells)}" fill="{colour(k, n)}"/>' for k, cells in sorted(by_weight.items())]
    parts += _lines(rows, m.row_shape, lambda at: (left, top + at * size, left + width, top + at * size))
    parts += _lines(cols, m.col_shape, lambda at: (left + at * size, top, left + at * size, top + height))
    if words:
        parts.append(f'<g font-size="12" text-anchor="middle">{"".join(words)}</g>')
    if named:
        parts += _labels(m, left, top, size)
    bottom = top + height + 14
    across = left + width + 12
    if n <= LEGEND:
        entries = m.legend()
        each = 8.0 * max(map(len, entries)) + 34
        across = max(across, each + 24)
        columns = max(1, int((across - 24) // each))
        for k, entry in enumerate(entries):
            x, y = 12 + k % columns * each, bottom + k // columns * 20
            parts.append(f'<rect x="{x:g}" y="{y:g}" width="14" height="14" fill="{colour(k, n)}"/>')
            parts.append(f'<text x="{x + 20:g}" y="{y + 12:g}" font-size="12" fill="#000000">{escape(entry)}</text>')
        bottom += math.ceil(n / columns) * 20
    across = max(across, 7.2 * len(heading(m)) + 24)
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:g}" height="{bottom + 10:g}"'
    start += f' viewBox="0 0 {across:g} {bottom + 10:g}" font-family="Arimo, Arial, sans-serif" role="img">'
    ground = f'<title>{escape(heading(m))}</title><rect width="{across:g}" height="{bottom + 10:g}" fill="#FFFFFF"/>'
    return "\n".join([start, ground, *parts, "</svg>"])


def _lines(n: int, shape: Sequence[int], ends: Callable[[int], tuple[float, float, float, float]]) -> list[str]:
    """Between image rows thin lines, between channels heavier ones."""
    lines = []
    for at in range(0, n + 1, max(shape[2], 1)):
        x1, y1, x2, y2 = ends(at)
        heavy = at % (shape[1] * shape[2]) == 0
        stroke = 'stroke="#333333" stroke-width="1.2"' if heavy else 'stroke="#9A9A9A" stroke-width="0.6"'
        lines.append(f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" {stroke}/>')
    return lines


def _cell(name: str, shape: Sequence[int], flat: int) -> str:
    """y[0,1,2] of the flat index; without the channel where there is one only."""
    _, h, w = shape
    at = (flat // (h * w), flat // w % h, flat % w)
    return place(name, at[1:] if shape[0] == 1 else at)


def _labels(m: "ConvMatrix", left: float, top: float, size: float) -> list[str]:
    out = ['<g font-size="11" fill="#595959">']
    for r in range(m.shape[0]):
        y = top + (r + 0.5) * size + 4
        out.append(f'<text x="{left - 6:g}" y="{y:g}" text-anchor="end">{_cell(m.row_name, m.row_shape, r)}</text>')
    for c in range(m.shape[1]):
        x = left + (c + 0.5) * size + 4
        word = _cell(m.col_name, m.col_shape, c)
        out.append(f'<text transform="translate({x:g} {top - 6:g}) rotate(-90)">{word}</text>')
    return [*out, "</g>"]
