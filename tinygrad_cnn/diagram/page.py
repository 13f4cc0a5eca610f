"""A Drawing as a page: one HTML file with the SVG, a panel of details and a step player, that needs no network."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from typing import Any

from ..observation import Summary
from .face import SCHEMES, Face, plain
from .layout import Box
from .model import Card, Drawing, Group, Part, Row
from .steps import backward_steps, forward_steps, path, sent
from .svg import Sheet
from .theme import check_theme, darkened, style

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
SCRIPTS = ("page.js", "page_fold.js", "page_steps.js", "page_panel.js", "page_input.js")  # one, in this order
SAID_AT_ONCE = 2  # lines of the legend; more are there to be opened
FOLDED = "\u25b8 "  # before the title of a folded module; escaped, for the fonts of PNGs need not have it
# What could end the element around the data, or is a line's end to old parsers of scripts.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def to_page(drawing: Drawing) -> str:
    """The picture as one HTML file: zoom, search, folding of modules, details of a card, and the steps one by one.

    Its colours follow the drawing's theme; "auto" follows the reader's system.

    Raises ValueError for another theme and for a Drawing that `layout.place` refuses.
    """
    check_theme(drawing.theme)
    sheet = Sheet(drawing, heading=False)
    stacks = [Face(_stack(drawing, group)) for group in drawing.groups]
    title = escape(plain(drawing.title)) or "Graph"
    lines = [f'<p class="{row.tone}">{escape(plain(row.text))}</p>' for row in drawing.legend]
    signs = "".join(lines[SAID_AT_ONCE:])
    more = f"<details><summary>What the signs mean</summary>{signs}</details>" if signs else ""
    legend = "".join(lines[:SAID_AT_ONCE]) + more
    body = _BODY.format(title=title, legend=legend, svg=_svg(sheet, stacks))
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="{drawing.theme}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>\n{_own('page.css')}</style>\n</head>\n{body}"
        f'<script type="application/json" id="data">{_json(_data(sheet, stacks))}</script>\n'
        f"<script>\n{''.join(map(_own, SCRIPTS))}</script>\n</body>\n</html>\n"
    )


def _own(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """ASCII text that no name can break out of a script element with."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def _stack(drawing: Drawing, group: Group) -> Card:
    """The card that stands for a folded module."""
    if group.stack is not None:
        return replace(group.stack, title=FOLDED + group.stack.title, link="")
    inside = {group.id}
    for other in drawing.groups:  # outermost first
        if other.parent in inside:
            inside.add(other.id)
    n = sum(card.group in inside for card in drawing.cards)
    rows = (Row(group.kind), Row(f"{n} card{'' if n == 1 else 's'}"), Row(group.note, "quiet"))
    return Card(group.id, "stack", "shape", FOLDED + group.title, "MODULE", tuple(row for row in rows if row.text))


def _svg(sheet: Sheet, stacks: Sequence[Face]) -> str:
    """The picture with the stacks, hidden, at its end, and its dark colours."""
    text = sheet.svg()
    hidden = "".join(f'<g class="folded" display="none">{face.svg(Box(0.0, 0.0, *face.size))}</g>\n' for face in stacks)
    start, end, rest = text.removesuffix("</g></svg>\n").partition("\n")
    colours = f"{style(text + hidden)}{end}" if sheet.drawing.theme == "auto" else ""
    page = f"{start}{end}{colours}{rest}{hidden}</g></svg>\n"
    return darkened(page) if sheet.drawing.theme == "dark" else page


def _data(sheet: Sheet, stacks: Sequence[Face]) -> dict[str, Any]:
    drawing, places = sheet.drawing, sheet.places
    number = {card.id: i for i, card in enumerate(drawing.cards)}
    place = {group.id: i for i, group in enumerate(drawing.groups)}
    parts = sent(drawing)
    order = {i: at for at, i in enumerate(sheet.group_order)}
    return {
        "direction": drawing.direction,
        "backward": not drawing.is_before_backward,
        "size": [places.width, places.height],
        "cards": [
            {
                "id": plain(card.id),
                "box": _tenths(places.cards[i]),
                "group": place.get(card.group, -1),
                "path": plain(path(drawing, card)),
                **_said(card),
                "parts": [_part(part, number[part.target]) for part in parts[i]],
                **_detail(drawing, card),
            }
            for i, card in enumerate(drawing.cards)
        ],
        "edges": [
            {
                "source": number[edge.source],
                "target": number[edge.target],
                "kind": edge.kind,
                "label": None if route.label is None else _tenths(route.label),
            }
            for edge, route in zip(drawing.edges, places.routes, strict=True)
        ],
        "groups": [
            {
                "id": plain(group.id),
                "box": _tenths(places.groups[i]),
                "title_box": _tenths(places.titles[i][1]),
                "parent": place.get(group.parent, -1),
                "folded": group.folded,
                "order": order[i],
                "size": _tenths(stacks[i].size),
                **_said(stacks[i].card),
                "title": plain(group.title),
            }
            for i, group in enumerate(drawing.groups)
        ],
        "steps": [{"card": i, "way": "forward"} for i in forward_steps(drawing)]
        + [{"card": i, "way": "backward"} for i in backward_steps(drawing)],
    }


def _said(card: Card) -> dict[str, Any]:
    """What stands on a card."""
    return {
        "title": plain(card.title),
        "tag": plain(card.tag),
        "shape": card.shape,
        "rows": [[plain(row.text), row.tone] for row in card.rows],
        "about": plain(card.tooltip),
        "link": card.link if SCHEMES.fullmatch(card.link) else "",
        "problem": plain(card.problem),
        "mark": card.mark,
        "strips": [[plain(strip.label), len(strip.pictures)] for strip in card.strips if strip.pictures],
    }


def _detail(drawing: Drawing, card: Card) -> dict[str, Any]:
    detail = drawing.details.get(card.id)
    if detail is None:
        return {"facts": [], "value": None, "gradient": None}
    return {
        "facts": [[plain(name), plain(value)] for name, value in detail.facts],
        "value": _summary(detail.value),
        "gradient": _summary(detail.gradient),
    }


def _part(part: Part, target: int) -> dict[str, Any]:
    return {
        "input": plain(part.input),
        "target": target,
        "formula": plain(part.formula),
        "gradient": _summary(part.gradient),
    }


def _summary(summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    numbers = None
    if summary.numbers is not None:  # the shortest decimals that give the same float32 or float64
        numbers = [_number(value) for value in summary.numbers.ravel()]
    return {
        "shape": list(summary.shape),
        "dtype": summary.dtype,
        "size": summary.size,
        "mean": _number(summary.mean),
        "std": _number(summary.std),
        "low": _number(summary.low),
        "high": _number(summary.high),
        "norm": _number(summary.norm),
        "zeros": summary.zeros,
        "nans": summary.nans,
        "infs": summary.infs,
        "dead": summary.dead,
        "channels": summary.channels,
        "counts": list(summary.counts),
        "numbers": numbers,
    }


def _number(value: Any) -> float | str:
    number = float(str(value)) if str(value) not in ("True", "False") else float(value)
    return number if math.isfinite(number) else str(number)


def _tenths(values: Iterable[float]) -> list[float]:
    return [round(value, 1) for value in values]


_BODY = """<body>
<header><h1>{title}</h1>{legend}</header>
<div id="tools" role="toolbar" aria-label="Picture">
<label>Search <input id="search" type="search" autocomplete="off" spellcheck="false" aria-keyshortcuts="/"></label>
<output id="count" for="search"></output>
<span class="gap"></span>
<button id="fold-all" type="button">Fold all</button>
<button id="unfold-all" type="button">Unfold all</button>
<span class="gap"></span>
<button id="zoom-out" type="button" aria-label="Zoom out" aria-keyshortcuts="-">−</button>
<button id="zoom-in" type="button" aria-label="Zoom in" aria-keyshortcuts="+">+</button>
<button id="fit" type="button" aria-keyshortcuts="0">Fit</button>
</div>
<main>
<div id="canvas">{svg}</div>
<aside id="panel" aria-label="Details" tabindex="-1"></aside>
</main>
<div id="player" role="group" aria-label="Steps">
<button id="first" type="button" title="the whole picture">First</button>
<button id="back" type="button" aria-keyshortcuts="[">Back</button>
<button id="play" type="button" aria-keyshortcuts="Space">Play</button>
<button id="forward" type="button" aria-keyshortcuts="]">Forward</button>
<button id="last" type="button" title="the last step of backward">Last</button>
<input id="slider" type="range" min="0" value="0" aria-label="Step">
<p id="status" role="status" aria-live="polite"></p>
</div>
"""
