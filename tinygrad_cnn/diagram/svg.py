"""A Drawing as SVG: one file, no script, no font, light and dark in one."""

import gc
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from math import hypot

from .fonts import FAMILY, shorten, text_width
from .layout import Box, Layout, Route, Sizes, place
from .level import Size
from .model import GRADIENT, PALETTE, PROBLEM, Card, Drawing, Edge, Group, Row

TITLE, TAG, ROW, LABEL, HEADING = 12.5, 8.5, 11.0, 10.5, 15.0  # sizes of text
HEADER, ROW_STEP, LABEL_STEP, BAND = 23.0, 16.0, 13.5, 19.0
PAD = 9.0
WIDEST = 300.0  # of a text on a card; a longer one is shortened in the middle
WIDEST_TITLE = 220.0
WIDEST_LABEL = 180.0
SIGN = 28.0
SLANT, FOLD, SHEET = 12.0, 9.0, 3.5
ROUND = 7.0
EDGE_OF_PAGE = 16.0
WARNING = "⚠ "

PAGE, INK, QUIET = "#FFFFFF", "#000000", "#595959"
GROUP, GROUP_LINE = "#F7F7F7", "#9A9A9A"
LINE, CONSTANT = "#333333", "#757575"
ON_BAND = "#FEFEFE"
BAND_FILL = "#BF0000"  # with its text, the same in light and dark

DARK = {
    PAGE: "#1E1E1E",
    INK: "#F0F0F0",
    QUIET: "#B4B4B4",
    GROUP: "#282828",
    GROUP_LINE: "#7A7A7A",
    LINE: "#CCCCCC",
    CONSTANT: "#A0A0A0",
    GRADIENT: "#FFA166",
    PROBLEM: "#FF8585",
    "#D6E8F5": "#10324D",
    "#00619A": "#2B9DFF",
    "#FBF4C6": "#3A3600",
    "#4D4600": "#FED527",
    "#D2EDE2": "#0B3D2D",
    "#004D38": "#64E0AE",
    "#F4E1EC": "#481A36",
    "#9B2F6D": "#EE68BD",
    "#EFEFEF": "#343434",
    "#6B6B6B": "#B8B8B8",
    "#FCE6D4": "#522605",
    "#B34700": "#FFAB74",
    "#FFF6E0": "#3D2E0A",
    "#8A5E00": "#EFC062",
    "#4A4A4A": "#D0D0D0",
}
TONES = {"plain": (INK, False), "bold": (INK, True), "gradient": (GRADIENT, False), "problem": (PROBLEM, True)}
EDGES = {
    "forward": (LINE, ""),
    "parameter": ("#8A5E00", "4 3"),
    "constant": (CONSTANT, "5 3"),
    "gradient": (GRADIENT, ""),
}
SCHEMES = re.compile(r"(https?|file|vscode)://[^\s]+")

# What XML cannot hold, what would turn the reading direction, and halves of a surrogate pair.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff\U0001fffe\U0001ffff]"
)


def to_svg(drawing: Drawing, theme: str = "auto") -> str:
    """The picture as SVG text.

    theme: "light", "dark", or "auto", which follows the reader's system, Jupyter and VS Code.

    Raises ValueError for another theme and for a Drawing that `layout.place` refuses.
    """
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"diagram: theme is 'auto', 'light' or 'dark', not {theme!r}")
    collecting = gc.isenabled()
    gc.disable()  # many small lists and no cycles: 20,000 cards take 1.9 s instead of 2.7 s
    try:
        text = _Page(drawing).svg()
    finally:
        if collecting:
            gc.enable()
    if theme == "dark":
        return _darkened(text)
    first, line, rest = text.partition("\n")
    return f"{first}{line}{_style(text)}{line}{rest}" if theme == "auto" else text


def plain(text: str) -> str:
    """The text on one line, with a visible sign for every control character."""
    return _UNFIT.sub(_visible, text) if _UNFIT.search(text) else text


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code in (9, 10, 13):
        return " "
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else "\ufffd"


def sizes(drawing: Drawing) -> Sizes:
    """The room that everything in the drawing takes as SVG."""
    return _Page(drawing).sizes


@dataclass(frozen=True)
class Text:
    """A line of text as it will be drawn: shortened, measured, with what it was."""

    text: str
    full: str
    size: float
    fill: str
    bold: bool
    width: float

    def at(self, x: float, y: float, anchor: str = "", room: float = 0.0) -> str:
        """The element with its left end, or its middle, at (x, y).

        room: what it must not exceed where the reader's font is wider than Arial.
        """
        more = f' text-anchor="{anchor}"' if anchor else ""
        if self.fill != INK:
            more += f' fill="{self.fill}"'
        if self.bold:
            more += ' font-weight="bold"'
        if self.size != ROW:
            more += f' font-size="{self.size:g}"'
        if room and self.width * 1.2 > room:
            more += f' textLength="{self.width:.1f}"'
        full = f"<title>{escape(self.full)}</title>" if self.full != self.text else ""
        return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{full}{escape(self.text)}</text>'


@lru_cache(maxsize=4096)
def _text(text: str, size: float, fill: str = INK, bold: bool = False, widest: float = WIDEST) -> Text:
    full = plain(text)
    short = shorten(full, widest, size, bold)
    return Text(short, full, size, fill, bold, text_width(short, size, bold))


def _rows(rows: Iterable[Row], size: float, widest: float) -> list[Text]:
    return [_text(row.text, size, *TONES[row.tone], widest) for row in rows]


class Face:
    """A card as it will be drawn."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.fill, self.line = PALETTE[card.family]
        self.title = _text(card.title, TITLE, INK, True, WIDEST_TITLE)
        self.tag = _text(card.tag.upper(), TAG, self.line, True, WIDEST_TITLE)
        self.rows = _rows(card.rows, ROW, WIDEST)
        self.band = _text(WARNING + card.problem, ROW, ON_BAND, True) if card.problem else None
        self.circle = card.shape == "sign" and not self.rows and not self.band and len(self.title.text) <= 2
        self.headed = card.shape in ("card", "stack")
        if card.shape == "sign":
            self.title = _text(card.title, 16.0 if len(card.title) <= 2 else TITLE, INK, False, WIDEST_TITLE)
        self.size = self._size()

    def _size(self) -> Size:
        if self.circle:
            return Size(SIGN, SIGN)
        rows = [row.width for row in self.rows] + ([self.band.width] if self.band else [])
        height = ROW_STEP * len(self.rows) + (BAND if self.band else 0.0)
        if self.headed:
            first = self.title.width + (self.tag.width + 14 if self.tag.text else 0.0)
            width = max([first, *rows, 44.0]) + 2 * PAD
            height += HEADER + (6.0 if self.rows else 0.0)
            sheets = 2 * SHEET if self.card.shape == "stack" else 0.0
            return Size(width + sheets, height + sheets)
        width = max([self.title.width, *rows, 12.0]) + 2 * PAD
        height += ROW_STEP + 10.0
        if self.card.shape in ("input", "target"):
            return Size(max(width, 40.0) + 2 * SLANT, height)
        return Size(width + (FOLD if self.card.shape == "note" else 0.0), height)

    def svg(self, box: Box) -> str:
        card = self.card
        start = f'<g class="card" data-id="{_attribute(card.id)}">'
        end = "</g>"
        if SCHEMES.fullmatch(card.link):
            start, end = f'<a href="{_attribute(card.link)}">{start}', "</g></a>"
        if card.tooltip:
            start += f"<title>{escape(plain(card.tooltip))}</title>"
        return start + (self._headed(box) if self.headed else self._whole(box)) + end

    def _border(self) -> str:
        if self.card.problem:
            return f'stroke="{PROBLEM}" stroke-width="3"'
        dash = ' stroke-dasharray="5 3"' if self.card.shape == "target" else ""
        return f'stroke="{self.line}" stroke-width="1.3"{dash}'

    def _headed(self, box: Box) -> str:
        x, y, width, height = box
        out = []
        border = self._border()
        if self.card.shape == "stack":
            width, height = width - 2 * SHEET, height - 2 * SHEET
            out += [_rounded(x + k, y + k, width, height, self.fill, border) for k in (2 * SHEET, SHEET)]
        body = self.fill if self.card.family == "loss" or not (self.rows or self.band) else PAGE
        out.append(_rounded(x, y, width, height, body, border))
        inset = 1.5 if self.card.problem else 0.65  # a header inside the border
        if body == PAGE and self.fill != PAGE:
            left, right, top, r = x + inset, x + width - inset, y + inset, ROUND - inset
            out.append(
                f'<path fill="{self.fill}" d="M{left:.1f} {y + HEADER:.1f}V{top + r:.1f}a{r:g} {r:g} 0 0 1 {r:g} {-r:g}'
                f'H{right - r:.1f}a{r:g} {r:g} 0 0 1 {r:g} {r:g}V{y + HEADER:.1f}z"/>'
            )
        out.append(self.title.at(x + PAD, y + 16, room=self.title.width * 1.2))
        if self.tag.text:
            out.append(self.tag.at(x + width - PAD - self.tag.width, y + 15.5, room=self.tag.width))
        at = y + HEADER
        if self.band:
            out.append(
                f'<rect x="{x + inset:.1f}" y="{at:.1f}" width="{width - 2 * inset:.1f}" height="{BAND:g}" '
                f'fill="{BAND_FILL}"/>'
            )
            out.append(self.band.at(x + PAD, at + 13.5, room=width - 2 * PAD))
            at += BAND
        out += [row.at(x + PAD, at + 14 + ROW_STEP * k, room=width - 2 * PAD) for k, row in enumerate(self.rows)]
        return "".join(out)

    def _whole(self, box: Box) -> str:
        """A shape filled as a whole with centred text."""
        x, y, width, height = box
        border = self._border()
        middle, room = x + width / 2, width - 2 * PAD
        if self.circle:
            out = f'<circle cx="{middle:.1f}" cy="{y + height / 2:.1f}" r="{SIGN / 2:g}" fill="{PAGE}" {border}/>'
            return out + self.title.at(middle, y + height / 2 + 5.5, "middle")
        if self.card.shape == "note":
            room -= FOLD
            middle -= FOLD / 2
            out = (
                f'<path fill="{self.fill}" {border} d="M{x:.1f} {y:.1f}h{width - FOLD:.1f}l{FOLD:g} {FOLD:g}'
                f'v{height - FOLD:.1f}h{-width:.1f}zm{width - FOLD:.1f} 0v{FOLD:g}h{FOLD:g}"/>'
            )
        elif self.card.shape in ("input", "target"):
            room -= 2 * SLANT
            out = (
                f'<path fill="{self.fill}" {border} d="M{x + SLANT:.1f} {y:.1f}h{width - SLANT:.1f}'
                f'l{-SLANT:g} {height:.1f}h{SLANT - width:.1f}z"/>'
            )
        else:
            out = _rounded(x, y, width, height, PAGE, border, min(height / 2, SIGN / 2))
        out += self.title.at(middle, y + 17, "middle", room)
        at = y + ROW_STEP + 5
        if self.band:
            red = _text(self.band.full, ROW, PROBLEM, True)
            out += red.at(middle, at + 13, "middle", room)
            at += BAND
        return out + "".join(row.at(middle, at + 12 + ROW_STEP * k, "middle", room) for k, row in enumerate(self.rows))


class _Page:
    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.faces = [Face(card) for card in drawing.cards]
        self.labels = [_rows(edge.rows, LABEL, WIDEST_LABEL) for edge in drawing.edges]
        self.titles = [_group_titles(group) for group in drawing.groups]
        self.sizes = Sizes(
            [face.size for face in self.faces],
            [_block_size(rows, LABEL_STEP) if rows else None for rows in self.labels],
            [[_title_size(lines) for lines in ways] for ways in self.titles],
        )

    def svg(self) -> str:
        places = place(self.drawing, self.sizes)
        heading = self._heading(max(places.width, 460.0))
        legend = _rows(self.drawing.legend, LABEL, 1e9)
        top = EDGE_OF_PAGE + 21.0 * len(heading) + 15.0 * len(legend) + (10.0 if heading or legend else 0.0)
        wide = max([places.width, *(line.width for line in heading + legend)])
        width, height = wide + 2 * EDGE_OF_PAGE, top + places.height + EDGE_OF_PAGE
        left = EDGE_OF_PAGE + (wide - places.width) / 2
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tinygrad-cnn" role="img" '
            f'aria-label="{_attribute(self.drawing.title) or "diagram"}" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}" font-size="{ROW:g}" fill="{INK}">',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="{PAGE}"/>',
        ]
        at = EDGE_OF_PAGE + 12.0
        for line in heading:
            out.append(line.at(EDGE_OF_PAGE, at))
            at += 21.0
        for line in legend:
            out.append(line.at(EDGE_OF_PAGE, at - 3))
            at += 15.0
        out.append(f'<g transform="translate({left:.1f} {top:.1f})">')
        out += self._groups(places)
        out += map(_edge, self.drawing.edges, places.routes)
        out += self._group_titles(places)
        out += [face.svg(box) for face, box in zip(self.faces, places.cards, strict=True)]
        out += self._labels(places)
        out.append("</g></svg>\n")
        return "\n".join(out)

    def _heading(self, width: float) -> list[Text]:
        """The title, broken between its parts where it is wider than the picture."""
        lines: list[str] = []
        for part in plain(self.drawing.title).split(" · ") if self.drawing.title else ():
            longer = f"{lines[-1]} · {part}" if lines else part
            if lines and text_width(longer, HEADING, True) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
        return [_text(line, HEADING, INK, True, max(width, 460.0)) for line in lines]

    def _groups(self, places: Layout) -> Iterable[str]:
        order = sorted(range(len(places.groups)), key=lambda i: -places.groups[i].width * places.groups[i].height)
        for i in order:
            x, y, width, height = places.groups[i]
            yield (
                f'<g class="group" data-id="{_attribute(self.drawing.groups[i].id)}">'
                + _rounded(x, y, width, height, GROUP, f'stroke="{GROUP_LINE}"', 10.0)
                + "</g>"
            )

    def _group_titles(self, places: Layout) -> Iterable[str]:
        for (way, box), ways in zip(places.titles, self.titles, strict=True):
            at = box.y + 13.0
            parts = []
            for line in ways[way]:
                x = box.x
                for text in line:
                    parts.append(text.at(x, at))
                    x += text.width + 6.0
                at += 15.0
            yield f'<g stroke="{GROUP}" stroke-width="3" paint-order="stroke">{"".join(parts)}</g>'

    def _labels(self, places: Layout) -> Iterable[str]:
        grouped = {card.id: card.group for card in self.drawing.cards}
        turned = self.drawing.direction == "LR"
        for number, (rows, edge, route) in enumerate(zip(self.labels, self.drawing.edges, places.routes, strict=True)):
            if not rows or route.label is None:
                continue
            inside = grouped[edge.source] and grouped[edge.source] == grouped[edge.target]
            x, y, width, _ = route.label
            anchor = "middle" if turned else ""
            text = "".join(
                row.at(x + width / 2 if turned else x, y + 10 + LABEL_STEP * k, anchor, row.width)
                for k, row in enumerate(rows)
            )
            yield (
                f'<g class="label" data-edge="{number}" stroke="{GROUP if inside else PAGE}" stroke-width="3" '
                f'stroke-linejoin="round" paint-order="stroke">{text}</g>'
            )


def _edge(edge: Edge, route: Route) -> str:
    colour, dash = EDGES[edge.kind]
    width = edge.width
    if edge.problem:
        colour, width = PROBLEM, max(width, 2.4)
    path, head = list(route.path), ""
    if edge.kind != "parameter":
        path, head = _headed(path, min(7.0 + 1.2 * width, 16.0), 2.6 + 0.9 * width)
    line = "".join(_step(part) for part in path)
    more = f' stroke-dasharray="{dash}"' if dash else ""
    tooltip = f"<title>{escape(plain(edge.tooltip))}</title>" if edge.tooltip else ""
    return (
        f'<g class="edge" data-source="{_attribute(edge.source)}" data-target="{_attribute(edge.target)}">{tooltip}'
        f'<path fill="none" stroke="{colour}" stroke-width="{width:.3g}"{more} d="M{line[1:]}"/>'
        + (f'<path fill="{colour}" d="{head}"/>' if head else "")
        + "</g>"
    )


def _step(part: tuple[float, ...]) -> str:
    return ("L%.1f %.1f" if len(part) == 2 else "C%.1f %.1f %.1f %.1f %.1f %.1f") % part


def _headed(path: list[tuple[float, ...]], length: float, half: float) -> tuple[list[tuple[float, ...]], str]:
    """The line cut short for an arrow head, and the head."""
    last = path[-1]
    x, y = last[-2:]
    from_x, from_y = last[2:4] if len(last) == 6 else path[-2][-2:]
    far = hypot(x - from_x, y - from_y)
    if far < 1e-6:
        from_x, from_y, far = x, y - 1, 1.0
    dx, dy = (x - from_x) / far, (y - from_y) / far
    base_x, base_y = x - length * dx, y - length * dy
    cut = (base_x + dx, base_y + dy)
    if len(last) == 6:
        path[-1] = (*last[:2], last[2] - length * dx / 2, last[3] - length * dy / 2, *cut)
    else:
        path[-1] = cut
    head = (
        f"M{x:.1f} {y:.1f}L{base_x - half * dy:.1f} {base_y + half * dx:.1f}"
        f"L{base_x + half * dy:.1f} {base_y - half * dx:.1f}z"
    )
    return path, head


def _rounded(x: float, y: float, width: float, height: float, fill: str, border: str, round_: float = ROUND) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} rx="{round_:g}" fill="{fill}" {border}/>'


def _group_titles(group: Group) -> list[list[list[Text]]]:
    """The title on one line, or on two."""
    path = _text(group.title, 12.0, INK, True, WIDEST_TITLE)
    kind = [_text(f": {group.kind}", 12.0, INK, False, WIDEST_TITLE)] if group.kind else []
    note = [_text(group.note, ROW - 1, QUIET, False, WIDEST_TITLE)] if group.note else []
    return [[[path, *kind, *note]], [[path, *kind], note]] if note else [[[path, *kind]]]


def _title_size(lines: list[list[Text]]) -> Size:
    return Size(max(sum(text.width + 6.0 for text in line) for line in lines), 15.0 * len(lines) + 2)


def _block_size(rows: list[Text], step: float) -> Size:
    return Size(max(row.width for row in rows), step * len(rows))


def _attribute(text: str) -> str:
    return escape(plain(text))


def _style(text: str) -> str:
    """The dark value of every colour in the text, for a dark system, Jupyter or VS Code; light ones stay light."""
    every = [(what, colour) for colour in DARK for what in ("fill", "stroke")]
    found = set(_COLOURED.findall(text)) if len(text) < 1_000_000 else every  # a search would cost more than it saves
    used = [pair for pair in every if pair in found]

    def rules(before: str, dark: bool) -> str:
        return "".join(
            f'{before} [{what}="{colour}"]{{{what}:{DARK[colour] if dark else colour}}}' for what, colour in used
        )

    own = "svg.tinygrad-cnn"
    light_place = f':is([data-jp-theme-light="true"],.vscode-light) {own}'
    dark_place = f':is([data-jp-theme-light="false"],.vscode-dark) {own}'
    return (
        f"<style>@media (prefers-color-scheme:dark){{{own}{{fill:{DARK[INK]}}}{rules(own, True)}"
        f"{light_place}{{fill:{INK}}}{rules(light_place, False)}}}"
        f"{dark_place}{{fill:{DARK[INK]}}}{rules(dark_place, True)}</style>"
    )


_COLOURED = re.compile('(fill|stroke)="(#[0-9A-F]{6})"')
_COLOUR = re.compile('(?<=(?:fill|roke)=")#[0-9A-F]{6}(?=")')


def _darkened(text: str) -> str:
    return _COLOUR.sub(lambda match: DARK.get(match.group(), match.group()), text)
