"""A Drawing as SVG: one file, no script, no font, light and dark in one."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from html import escape
from math import hypot

from . import collector
from .face import FAINT, ROW, WIDER, WIDEST_TITLE, Face, Text, attribute, line, lines, plain, rounded
from .fonts import FAMILY, text_width
from .layout import Layout, Route, Sizes, place
from .level import Size
from .model import PROBLEM, Drawing, Edge, Group
from .theme import EDGES, GROUP, GROUP_LINE, INK, PAGE, QUIET, check_theme, darkened, style

LABEL, HEADING = 10.5, 15.0  # sizes of text
LABEL_STEP = 13.5
WIDEST_LABEL = 180.0

TITLE_GAP = 6.0  # between the parts of a module's title
EDGE_OF_PAGE = 16.0


def to_svg(drawing: Drawing, theme: str = "auto") -> str:
    """The picture as SVG text.

    theme: "light", "dark", or "auto", which follows the reader's system, Jupyter and VS Code.

    Raises ValueError for another theme and for a Drawing that `layout.place` refuses.
    """
    check_theme(theme)
    with collector.waiting():
        text = Sheet(drawing).svg()
    if theme == "dark":
        return darkened(text)
    first, end, rest = text.partition("\n")
    return f"{first}{end}{style(text)}{end}{rest}" if theme == "auto" else text


def sizes(drawing: Drawing) -> Sizes:
    """The room that everything in the drawing takes as SVG."""
    return Sheet(drawing).sizes


class Sheet:
    """A drawing with its cards, labels and titles measured, and all of them placed.

    heading: whether the title and the legend stand above it.
    """

    def __init__(self, drawing: Drawing, heading: bool = True) -> None:
        self.drawing = drawing
        self.heading = heading
        self.faces = [Face(card) for card in drawing.cards]
        self.labels = [lines(edge.rows, LABEL, WIDEST_LABEL) for edge in drawing.edges]
        self.titles = [_group_titles(group) for group in drawing.groups]
        self.sizes = Sizes(
            [face.size for face in self.faces],
            [_label_size(rows) if rows else None for rows in self.labels],
            [[_title_size(way) for way in ways] for ways in self.titles],
        )

    @cached_property
    def places(self) -> Layout:
        """Where everything is; a sign with words on it is no circle, so edges meet it as they meet a card."""
        cards = self.drawing.cards
        wide = {i for i, face in enumerate(self.faces) if cards[i].shape == "sign" and not face.circle}
        if not wide:
            return place(self.drawing, self.sizes)
        shaped = [replace(card, shape="card") if i in wide else card for i, card in enumerate(cards)]
        return place(replace(self.drawing, cards=shaped), self.sizes)

    def svg(self) -> str:
        """The picture in the light colours."""
        places = self.places
        heading = self._title(max(places.width, 460.0)) if self.heading else []
        legend = lines(self.drawing.legend, LABEL, 1e9) if self.heading else []
        top = EDGE_OF_PAGE + 21.0 * len(heading) + 15.0 * len(legend) + (10.0 if heading or legend else 0.0)
        wide = max([places.width, *(text.width for text in heading + legend)])
        width, height = wide + 2 * EDGE_OF_PAGE, top + places.height + EDGE_OF_PAGE
        left = EDGE_OF_PAGE + (wide - places.width) / 2
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tinygrad-cnn" role="img" '
            f'aria-label="{attribute(self.drawing.title) or "diagram"}" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}" font-size="{ROW:g}" fill="{INK}">',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="{PAGE}"/>',
        ]
        if any(card.faint for card in self.drawing.cards) or any(edge.faint for edge in self.drawing.edges):
            out.insert(1, "<style>svg.tinygrad-cnn .faint:hover{opacity:1}</style>")
        at = EDGE_OF_PAGE + 12.0
        for text in heading:
            out.append(text.at(EDGE_OF_PAGE, at, room=wide))
            at += 21.0
        for text in legend:
            out.append(text.at(EDGE_OF_PAGE, at - 3, room=wide))
            at += 15.0
        out.append(f'<g transform="translate({left:.1f} {top:.1f})">')
        out += self._groups(places)
        out += map(_edge, self.drawing.edges, places.routes)
        out += self._group_titles(places)
        out += [face.svg(box) for face, box in zip(self.faces, places.cards, strict=True)]
        out += self._labels(places)
        out.append("</g></svg>\n")
        return "\n".join(out)

    def _title(self, width: float) -> list[Text]:
        """The title, broken between its parts where it is wider than the picture."""
        rows: list[str] = []
        for part in plain(self.drawing.title).split(" · ") if self.drawing.title else ():
            longer = f"{rows[-1]} · {part}" if rows else part
            if rows and text_width(longer, HEADING, True) <= width:
                rows[-1] = longer
            else:
                rows.append(part)
        return [line(row, HEADING, INK, True, max(width, 460.0)) for row in rows]

    @property
    def group_order(self) -> list[int]:
        """The numbers of the groups as they are drawn: the largest first, behind the others."""
        boxes = self.places.groups
        return sorted(range(len(boxes)), key=lambda i: -boxes[i].width * boxes[i].height)

    def _groups(self, places: Layout) -> Iterable[str]:
        for i in self.group_order:
            x, y, width, height = places.groups[i]
            yield (
                f'<g class="group" data-id="{attribute(self.drawing.groups[i].id)}">'
                + rounded(x, y, width, height, GROUP, f'stroke="{GROUP_LINE}"', 10.0)
                + "</g>"
            )

    def _group_titles(self, places: Layout) -> Iterable[str]:
        for group, (way, box), ways in zip(self.drawing.groups, places.titles, self.titles, strict=True):
            at = box.y + 13.0
            parts = []
            for texts in ways[way]:
                x = box.x
                for text in texts:
                    parts.append(text.at(x, at, room=text.width + TITLE_GAP))
                    x += text.width + TITLE_GAP
                at += 15.0
            yield (
                f'<g class="group-title" data-id="{attribute(group.id)}" stroke="{GROUP}" stroke-width="3" '
                f'paint-order="stroke">{"".join(parts)}</g>'
            )

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
                row.at(x + width / 2 if turned else x, y + 10 + LABEL_STEP * k, anchor, width)
                for k, row in enumerate(rows)
            )
            faint = f' faint" opacity="{FAINT:g}' if edge.faint else ""
            yield (
                f'<g class="label{faint}" data-edge="{number}" stroke="{GROUP if inside else PAGE}" stroke-width="3" '
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
    steps = "".join(map(_step, path))
    more = f' stroke-dasharray="{dash}"' if dash else ""
    faint = f' faint" opacity="{FAINT:g}' if edge.faint else ""
    tooltip = f"<title>{escape(plain(edge.tooltip))}</title>" if edge.tooltip else ""
    return (
        f'<g class="edge{faint}" data-source="{attribute(edge.source)}" data-target="{attribute(edge.target)}">'
        f'{tooltip}<path fill="none" stroke="{colour}" stroke-width="{width:.3g}"{more} d="M{steps[1:]}"/>'
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


def _group_titles(group: Group) -> list[list[list[Text]]]:
    """The title on one line, or on two."""
    path = line(group.title, 12.0, INK, True, WIDEST_TITLE)
    kind = [line(f": {group.kind}", 12.0, INK, False, WIDEST_TITLE)] if group.kind else []
    note = [line(group.note, ROW - 1, QUIET, False, WIDEST_TITLE)] if group.note else []
    return [[[path, *kind, *note]], [[path, *kind], note]] if note else [[[path, *kind]]]


def _title_size(way: list[list[Text]]) -> Size:
    return Size(max(sum(text.width + TITLE_GAP for text in texts) for texts in way), 15.0 * len(way) + 2)


def _label_size(rows: list[Text]) -> Size:
    """With room for a font that is wider than Arial, so that labels keep its letters' shapes."""
    return Size(max(row.width for row in rows) * WIDER, LABEL_STEP * len(rows))
