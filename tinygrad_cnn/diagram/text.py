"""A drawing in words: for terminals, screen readers and diffs."""

import re
import textwrap

from .model import Card, Drawing, Edge, Group

_WIDTH = 80
_KINDS = {"input": "INPUT", "target": "TARGET", "note": "PARAMETER"}
_INPUTS = {"forward": "from", "parameter": "with", "constant": "using", "gradient": "gradient from"}

# What XML forbids, what moves a terminal's cursor, and what makes text run backward.
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    """The text on one line: line breaks and tabs as spaces, other control characters as U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", _BREAKS.sub(" ", text))


def to_text(drawing: Drawing) -> str:
    """One numbered entry per card, inputs first, indented by group; after "from", its inputs by number.

    An entry longer than 80 columns goes on below itself.
    """
    number = {card.id: i for i, card in enumerate(drawing.cards, 1)}
    inputs: dict[str, list[str]] = {}
    for edge in drawing.edges:
        if edge.source in number and edge.target in number:
            inputs.setdefault(edge.target, []).append(_input(edge, number[edge.source]))
    groups = {group.id: group for group in drawing.groups}
    depth = {"": 0}
    for group in drawing.groups:
        depth.setdefault(group.id, depth.get(group.parent, 0) + 1)
    margin = len(str(len(number))) + 2
    lines = [printable(drawing.title), ""] if drawing.title else []
    named = {""}
    current = ""
    for card in drawing.cards:
        home = card.group if card.group in groups else ""
        opening = []
        outer = home
        while outer not in named:
            named.add(outer)
            opening.append(outer)
            outer = groups[outer].parent if groups[outer].parent in groups else ""
        for inner in reversed(opening):
            lines += _wrapped(" " * margin + _indent(depth[inner] - 1), _heading(groups[inner]))
        if not opening and home not in ("", current):
            again = printable(groups[home].title) + ", continued"
            lines += _wrapped(" " * margin + _indent(depth[home] - 1), again)
        current = home
        start = f"{number[card.id]:>{margin - 2}}  " + _indent(depth[home])
        lines += _wrapped(start, "; ".join([_entry(card), *inputs.get(card.id, ())]))
    return "\n".join(lines) + "\n"


def _entry(card: Card) -> str:
    kind = printable(card.tag).upper() or _KINDS.get(card.shape, "")
    name = printable(card.title) + (f" [{kind}]" if kind else "")
    rows = [printable(row.text) for row in card.rows]
    problem = [f"PROBLEM: {printable(card.problem)}"] if card.problem else []
    mark = [card.mark.upper()] if card.mark else []
    details = ", ".join(mark + problem + rows)
    return f"{name} {details}" if details else name


def _input(edge: Edge, source: int) -> str:
    words = [printable(row.text) for row in edge.rows] + (["PROBLEM"] if edge.problem else [])
    label = f" ({', '.join(words)})" if words else ""
    return f"{_INPUTS.get(edge.kind, 'from')} {source}{label}"


def _heading(group: Group) -> str:
    heading = printable(group.title) + (f" : {printable(group.kind)}" if group.kind else "")
    return f"{heading}, {printable(group.note)}" if group.note else heading


def _indent(depth: int) -> str:
    return "  " * min(depth, 10)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * (len(start) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]
