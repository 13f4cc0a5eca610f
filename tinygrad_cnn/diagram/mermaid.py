"""A drawing as a Mermaid flowchart, which GitHub and many editors draw inside Markdown."""

import json
import re

from .model import GRADIENT, PALETTE, PROBLEM, Card, Drawing, Edge, Group, Row
from .nesting import nested
from .text import printable
from .theme import MARKS

# Everything that is markup to Mermaid, to Markdown or to HTML; "%%{" would start a directive even inside a label.
_MARKUP = re.compile(r"""["#&<>%`\\*_~|{}\[\]$@^;']""")
_LIST = re.compile(r"^(\s*\d+)([.)])|^(\s*)([-+])")
_SHAPES = {
    "sign": ('(("', '"))'),
    "input": ('[/"', '"/]'),
    "target": ('[/"', '"/]'),
    "note": ('>"', '"]'),
    "stack": ('[["', '"]]'),
}
_ARROWS = {"forward": "-->", "parameter": "-.-", "constant": "-.->", "gradient": "==>"}
_COLORS = {"parameter": PALETTE["parameter"][1], "gradient": GRADIENT}


def to_mermaid(drawing: Drawing) -> str:
    """The drawing as the text of a Mermaid flowchart, without the fence that Markdown wants around it.

    GitHub refuses more than 500 edges or 50,000 characters.
    """
    number = {card.id: i for i, card in enumerate(drawing.cards)}
    lines = ["---", f"title: {_title(drawing.title)}", "---"] if drawing.title else []
    lines.append(f"flowchart {'LR' if drawing.direction == 'LR' else 'TB'}")
    groups: list[str] = []
    opened = 0
    for item in nested(drawing):
        if item is None:
            lines.append("end")
        elif isinstance(item, Group):
            lines.append(f'subgraph g{opened}["{_group(item)}"]')
            groups.append(f"g{opened}")
            opened += 1
        else:
            lines.append(f"c{number[item.id]}{_card(item)}:::{_family(item)}")
    drawn = [edge for edge in drawing.edges if edge.source in number and edge.target in number]
    for edge in drawn:
        lines.append(f"c{number[edge.source]} {_ARROWS.get(edge.kind, '-->')}{_label(edge)} c{number[edge.target]}")
    lines += _styles(drawing, drawn, groups)
    return "\n".join(lines) + "\n"


def _words(text: str) -> str:
    marked = _MARKUP.sub(lambda match: f"#{ord(match[0])};", printable(text).strip())
    return _LIST.sub(lambda match: (match[1] or match[3] or "") + f"#{ord(match[2] or match[4])};", marked)


def _title(text: str) -> str:
    """A YAML string; markup in it is written as numbers, since Mermaid looks for directives before it reads YAML."""
    quoted = json.dumps(printable(text), ensure_ascii=False)
    return re.sub("[%<>&]", lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _card(card: Card) -> str:
    start, end = _SHAPES.get(card.shape, ('("', '")'))
    head = f"<b>{_words(card.title) or ' '}</b>" + (f" {_words(card.tag.upper())}" if card.tag else "")
    mark = [Row(MARKS[card.mark][0])] if card.mark else []
    problem = [Row(f"⚠ {card.problem}", "problem")] if card.problem else []
    return start + "<br/>".join([head, *(_words(row.text) for row in [*mark, *problem, *card.rows])]) + end


def _family(card: Card) -> str:
    if card.problem:
        return "problem"
    if card.shape == "target":
        return "target"
    return card.family if card.family in PALETTE else "math"


def _group(group: Group) -> str:
    words = f"<b>{_words(group.title) or ' '}</b>" + (f" : {_words(group.kind)}" if group.kind else "")
    return f"{words} {_words(group.note)}" if group.note else words


def _label(edge: Edge) -> str:
    words = "<br/>".join(_words(row.text) for row in edge.rows)
    return f'|"{words}"|' if words else ""


def _styles(drawing: Drawing, edges: list[Edge], groups: list[str]) -> list[str]:
    """The families in use, the modules' boxes, and the arrows that are not plain."""
    lines = []
    used = dict.fromkeys(map(_family, drawing.cards))
    for family in used:
        fill, line, more = (*PALETTE.get(family, PALETTE["input"]), "")
        if family == "target":
            more = ",stroke-dasharray:5 4"
        elif family == "problem":
            fill, line, more = "#FFFFFF", PROBLEM, ",stroke-width:3px"
        lines.append(f"classDef {family} fill:{fill},stroke:{line},color:#000000{more}")
    if groups:
        lines.append("classDef module fill:#FAFAFA,stroke:#8A8A8A,color:#000000")
        lines.append(f"class {','.join(groups)} module")
    colored: dict[str, list[str]] = {}
    for i, edge in enumerate(edges):
        color = PROBLEM if edge.problem else _COLORS.get(edge.kind)
        if color:
            colored.setdefault(color, []).append(str(i))
    return lines + [f"linkStyle {','.join(which)} stroke:{color}" for color, which in colored.items()]
