"""A drawing as Graphviz DOT. Needs no `dot` program; drawing the DOT as a picture does (render.py)."""

import re
from typing import TYPE_CHECKING

from .model import GRADIENT, PALETTE, PROBLEM, Card, Drawing, Edge, Group, Row
from .nesting import nested
from .text import printable
from .theme import MARKS

if TYPE_CHECKING:
    import graphviz

_FONT = "Arial"  # browsers have it or a font of the same widths, so that what dot measures fits there
_MANY = 400  # nodes, above which dot's search for good x coordinates is cut short: 6.8 s -> 3.4 s at 5,000
_LONG = 120  # characters, above which a text loses its middle: dot gives up at cards of 65,535 points
_TEXT = "#000000"
_QUIET = "#4A4A4A"
_LINES = {
    "forward": {"color": "#333333"},
    "parameter": {"color": PALETTE["parameter"][1], "style": "dashed", "arrowhead": "none"},
    "constant": {"color": PALETTE["input"][1], "style": "dashed"},
    "gradient": {"color": GRADIENT},
}
_TONES = {"plain": _TEXT, "bold": _TEXT, "quiet": _QUIET, "gradient": GRADIENT, "problem": PROBLEM}
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "]": "&#93;"})  # dot trips over <B>]</B>
_LINK = re.compile(r"(https?|file|vscode):", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def to_digraph(drawing: Drawing) -> "graphviz.Digraph":
    """The drawing as an editable `graphviz.Digraph`: cards as nodes of the same id, groups as clusters.

    The same drawing gives the same text.
    """
    import graphviz

    layout = {"rankdir": "LR" if drawing.direction == "LR" else "TB", "nodesep": "0.3", "ranksep": "0.35"}
    if len(drawing.cards) > _MANY:
        layout["nslimit"] = "0.05"
    else:  # without it a layer that is called twice pulls later cards up to its first call; costs 3.6 times the time
        layout["newrank"] = "true"
    picture = graphviz.Digraph(
        comment="drawn by tinygrad_cnn",
        graph_attr={"fontname": _FONT, "fontsize": "12", "labelloc": "t", **_head(drawing), **layout},
        node_attr={"fontname": _FONT, "fontsize": "10", "shape": "plain"},
        edge_attr={"fontname": _FONT, "fontsize": "9", "arrowsize": "0.7"},
    )
    for card in drawing.cards:
        picture.node(_id(card.id), **_node(card))
        if card.shape == "sign" and (words := [*_problem(card), *_lines(card.rows, 9)]):
            picture.node(f"{_id(card.id)}~rows", f"<{_bare(words)}>", id=f"{_id(card.id)}~rows", **{"class": "rows"})
    level = _beside(drawing)
    clusters: list[Group] = []
    for item in nested(drawing):
        if item is None:
            clusters.pop()
            picture.body.append("\t}\n")
        elif isinstance(item, Group):
            clusters.append(item)
            picture.body.append(f'\tsubgraph "cluster_{_id(item.id)}" {{\n')
            picture.attr(**_cluster(item))
        else:
            if clusters:
                picture.node(_id(item.id))
            row = [_id(card_id) for card_id in [item.id, *level.get(item.id, ())]]
            if item.shape == "sign" and (item.problem or item.rows):
                row.append(f"{row[0]}~rows")
                picture.edge(row[0], row[-1], style="invis")
            if len(row) > 1:
                picture.body.append(f"\t{{rank=same; {'; '.join(map(_quoted, row))}}}\n")
    order = {card.id: i for i, card in enumerate(drawing.cards)}
    for i, edge in enumerate(drawing.edges):
        if edge.source in order and edge.target in order:
            upward = order[edge.source] > order[edge.target]
            on_the_right = level.get(edge.target, [])[:1] == [edge.source]
            ends = [_id(edge.source), _id(edge.target)]
            if upward != on_the_right:
                ends.reverse()
            picture.edge(*ends, id=f"edge{i}", **_arrow(edge, upward))
    return picture


def _beside(drawing: Drawing) -> dict[str, list[str]]:
    """The notes to put on the level of a card: one on its right and one on its left; more stand above it."""
    cards = {card.id: card for card in drawing.cards}
    level: dict[str, list[str]] = {}
    placed = set()
    for edge in drawing.edges:
        note, op = cards.get(edge.source), cards.get(edge.target)
        if edge.kind != "parameter" or note is None or op is None or note.shape != "note" or note.id in placed:
            continue
        placed.add(note.id)
        if note.group == op.group and op.shape != "note" and len(level.get(op.id, ())) < 2:
            level.setdefault(op.id, []).append(note.id)
    return level


def _id(text: str) -> str:
    """The id itself if DOT and XML take it anywhere; else other characters by their number."""
    return _UNSAFE.sub(lambda match: f"~{ord(match[0]):x}~", text)


def _quoted(identifier: str) -> str:
    return f'"{identifier}"'


def _tooltip(text: str) -> str:
    """Text for an attribute that reads entities, and backslashes more than once; its line breaks are kept."""
    return "&#10;".join(printable(line).translate(_XML) for line in text.split("\n")).replace("\\", "∖")


def _run(text: str, color: str, size: int, bold: bool = False) -> str:
    """One run of text for a table cell, which must not be empty markup."""
    line = printable(text).strip()
    if len(line) > _LONG:
        line = f"{line[: _LONG // 2]}…{line[-_LONG // 2 :]}"
    words = line.translate(_XML).replace("\\", r"\\")  # of \N and \G dot makes names, even in a label like this
    if not words:
        return ""
    return f'<FONT POINT-SIZE="{size}" COLOR="{color}">' + (f"<B>{words}</B>" if bold else words) + "</FONT>"


def _lines(rows: tuple[Row, ...], size: int, align: str = "LEFT", gap: int = 0) -> list[str]:
    """A table row for each; gap: points free on the left."""
    start = f'<TR><TD WIDTH="{gap}"></TD>' if gap else "<TR>"
    return [
        f'{start}<TD ALIGN="{align}">'
        + _run(row.text, _TONES.get(row.tone, _TEXT), size, row.tone in ("bold", "problem"))
        + "</TD></TR>"
        for row in rows
    ]


def _bare(lines: list[str], padding: int = 1) -> str:
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">{"".join(lines)}</TABLE>'


def _head(drawing: Drawing) -> dict[str, str]:
    rows = [f'<TR><TD ALIGN="LEFT">{_run(drawing.title, _TEXT, 12, bold=True)}</TD></TR>'] if drawing.title else []
    rows += _lines(drawing.legend, 9)
    return {"label": f"<{_bare(rows, 2)}>"} if rows else {}


def _pointing(tooltip: str, link: str) -> dict[str, str]:
    attributes = {"tooltip": _tooltip(tooltip)} if tooltip else {}
    if _LINK.match(link):
        attributes["URL"] = printable(link).translate(_XML).replace("\\", "%5C")
    return attributes


def _cluster(group: Group) -> dict[str, str]:
    cells = [_run(group.title, _TEXT, 11, bold=True)]
    if group.kind:
        cells.append(_run(f": {group.kind}", _TEXT, 11))
    if group.note:
        cells.append(_run(group.note, _QUIET, 9))
    label = "".join(f"<TD>{cell}</TD>" for cell in cells)
    return {
        "label": f"<{_bare([f'<TR>{label}</TR>'], 2)}>",
        "id": f"cluster_{_id(group.id)}",
        "class": "module",
        "labeljust": "l",
        "style": "rounded,filled",
        "color": "#8A8A8A",
        "fillcolor": "#FAFAFA",
        "tooltip": _tooltip(f"{group.title} : {group.kind}" if group.kind else group.title) or " ",
    }


def _node(card: Card) -> dict[str, str]:
    fill, line = PALETTE.get(card.family, PALETTE["math"])
    width = "1"
    if card.problem:
        line, width = PROBLEM, "3"
    if card.shape == "sign":
        look = _sign(card)
    elif card.shape in ("input", "target", "note"):
        look = {"label": f"<{_bare(_centred(card))}>", **_OUTLINES[card.shape]}
    elif card.shape == "stack":
        look = {"label": f"<{_card(card, fill, '#FFFFFF', '0')}>", "fillcolor": "#FFFFFF", **_OUTLINES["stack"]}
    else:
        look = {"label": f"<{_card(card, fill, line, width)}>"}
    if "shape" in look:
        look = {"fillcolor": fill, "color": line, "penwidth": width, **look}
    kind = f"{_id(card.shape)} {_id(card.family)}" + (" problem" if card.problem else "")
    return {"id": _id(card.id), "class": kind, **look, **_pointing(card.tooltip or card.title, card.link)}


_OUTLINES = {
    "input": {"shape": "parallelogram", "style": "filled", "margin": "0,0"},
    "target": {"shape": "parallelogram", "style": "filled,dashed", "margin": "0,0"},
    "stack": {"shape": "box3d", "style": "filled", "margin": "0.1,0.08"},
    "note": {"shape": "note", "style": "filled", "margin": "0.13,0.03"},
}


def _sign(card: Card) -> dict[str, str]:
    """A circle around the title; its rows are a node of their own on its right."""
    look = {"label": f"<{_run(card.title, _TEXT, 14) or ' '}>", "shape": "circle", "style": "filled", "margin": "0.02"}
    if len(card.title) <= 2:
        look |= {"fixedsize": "true", "width": "0.32"}
    return look


def _centred(card: Card) -> list[str]:
    title = f"<TR><TD>{_run(card.title, _TEXT, 10, bold=True)}</TD></TR>"
    return [title, *_problem(card), *_lines(card.rows, 9, "CENTER")]


def _card(card: Card, fill: str, line: str, width: str) -> str:
    """A rounded white table: the band with title and tag, then the rows."""
    tag = f'<TD ALIGN="RIGHT">{_run(card.tag.upper(), PALETTE.get(card.family, PALETTE["math"])[1], 8, bold=True)}</TD>'
    band = (
        f'<TABLE STYLE="ROUNDED" BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" BGCOLOR="{fill}"><TR>'
        f'<TD ALIGN="LEFT">{_run(card.title, _TEXT, 12, bold=True)}</TD>{tag if card.tag else ""}</TR></TABLE>'
    )
    rows = [f'<TR><TD CELLPADDING="1">{band}</TD></TR>', *_problem(card), *_lines(card.rows, 10)]
    return (
        f'<TABLE STYLE="ROUNDED" BORDER="{width}" COLOR="{line}" BGCOLOR="#FFFFFF" CELLBORDER="0" CELLSPACING="0"'
        f' CELLPADDING="4">{"".join(rows)}</TABLE>'
    )


def _problem(card: Card) -> list[str]:
    """The bands that say what is wrong with a card, and what changed about it."""
    rows = []
    if card.mark:
        words = _run(MARKS[card.mark][0], _TEXT, 10, bold=True)
        rows.append(f'<TR><TD ALIGN="LEFT" BGCOLOR="#E6E6E6">{words}</TD></TR>')
    if card.problem:
        words = _run("⚠ " + card.problem, PROBLEM, 10, bold=True)
        rows.append(f'<TR><TD ALIGN="LEFT" BGCOLOR="#FFE9E9">{words}</TD></TR>')
    return rows


def _arrow(edge: Edge, upward: bool) -> dict[str, str]:
    line = dict(_LINES.get(edge.kind, _LINES["forward"]))
    width = edge.width
    if edge.problem:
        line["color"] = PROBLEM
        width = max(width, 2.0)
    if upward:
        line["dir"] = "back"
    if edge.rows:
        line["label"] = f"<{_bare(_lines(edge.rows, 9, gap=round(4 + width / 2)), 0)}>"
    kind = _id(edge.kind) + (" problem" if edge.problem else "")
    return line | {"penwidth": f"{width:.4g}", "class": kind, **_pointing(edge.tooltip, "")}
