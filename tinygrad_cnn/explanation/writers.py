"""An Explanation as text, HTML, Markdown and LaTeX."""

import html as escaping
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .table import Term, shown_number, total_of

if TYPE_CHECKING:
    from .explanation import Explanation

Row = tuple[str, str, str]


def ends(terms: Sequence[Term], most: int) -> tuple[Sequence[Term], Sequence[Term], Sequence[Term]]:
    """The terms in three: those shown first, those left out, those shown last."""
    if len(terms) <= most:
        return terms, (), ()
    tail = most // 2
    return terms[: most - tail], terms[most - tail : len(terms) - tail], terms[len(terms) - tail :]


def cut(terms: Sequence[Term], most: int, adds: bool = True) -> list[Row]:
    """The terms as rows of text, numbers and value; of more than `most` the ends, and what is left out."""
    first, left, last = ends(terms, most)
    if not left:
        return [_row(term) for term in terms]
    subtotal = shown_number(total_of(left)) if adds else ""
    words = f"... {len(left)} more" + (", which add up to" if adds else "")
    return [*map(_row, first), (words, "", subtotal), *map(_row, last)]


def _row(term: Term) -> Row:
    value = shown_number(term.value)
    return term.text, "" if term.numbers == value else term.numbers, value


def _rows(it: "Explanation") -> list[Row]:
    """The terms and, below, their sum."""
    rows = cut(it.terms, it.max_terms)
    count = len(it.terms)
    if count != 1:
        rows.append((f"sum of {count} terms", "", shown_number(it.total)))
    return rows


def _remarks(it: "Explanation") -> list[str]:
    remarks = [it.note] if it.note else []
    if not it.agrees and it.value is not None:
        remarks.append(f"The engine's value is {it.value:.9g}, the terms add up to {it.total:.9g}: {it.apart}.")
    return remarks


def text(it: "Explanation") -> str:
    """An aligned table; what lies below follows, indented."""
    steps, terms = cut(it.steps, it.max_terms, adds=False), _rows(it)
    widths = [max((len(row[i]) for row in steps + terms), default=0) for i in range(3)]
    lines = [f"{it.title} = {it.formula}" if it.formula else it.title]
    if it.value is not None:
        lines[0] += f" = {shown_number(it.value)}"
    lines += [_aligned(row, widths) for row in steps]
    if steps:
        lines.append("  " + "-" * (sum(widths) + 4))
    lines += [_aligned(row, widths) for row in terms]
    lines += [f"  {remark}" for remark in _remarks(it)]
    for part in it.below:
        lines += ["", *(f"  {line}" if line else "" for line in text(part).splitlines())]
    return "\n".join(lines)


def _aligned(row: Row, widths: Sequence[int]) -> str:
    return f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip()


_LEFT = '<td style="text-align:left;padding:1px 8px">'
_RIGHT = '<td style="text-align:right;padding:1px 8px;font-variant-numeric:tabular-nums">'


def html(it: "Explanation") -> str:
    """A table of HTML without scripts; what lies below folds."""
    e = escaping.escape
    value = "" if it.value is None else f" = <b>{e(shown_number(it.value))}</b>"
    head = f"{e(it.title)} = {e(it.formula)}{value}" if it.formula else f"{e(it.title)}{value}"
    parts = [f'<div><code>{head}</code><table style="border-collapse:collapse">']
    rows = [(row, "") for row in cut(it.steps, it.max_terms, adds=False)]
    rows += [(row, ' style="border-top:1px solid"' if i == 0 and rows else "") for i, row in enumerate(_rows(it))]
    for (left, middle, right), style in rows:
        cells = f"{_LEFT}{e(left)}</td>{_RIGHT}{e(middle)}</td>{_RIGHT}{e(right)}</td>"
        parts.append(f"<tr{style}>{cells}</tr>")
    parts.append("</table>")
    parts += [f"<p>{e(remark)}</p>" for remark in _remarks(it)]
    parts += [f"<details><summary>{e(part.title)}</summary>{html(part)}</details>" for part in it.below]
    return "".join([*parts, "</div>"])


def markdown(it: "Explanation") -> str:
    """A heading line and a table."""
    value = "" if it.value is None else f" = {shown_number(it.value)}"
    lines = [f"`{it.title} = {it.formula}{value}`" if it.formula else f"`{it.title}{value}`", ""]
    lines += ["| term | numbers | value |", "| --- | ---: | ---: |"]
    for row in [*cut(it.steps, it.max_terms, adds=False), *_rows(it)]:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    lines += [line for remark in _remarks(it) for line in ("", remark)]
    for part in it.below:
        lines += ["", markdown(part)]
    return "\n".join(lines)


_NAME = re.compile(r"(?<![\\\w.])((?:\d+\.)*[^\W\d_][\w.]*)(?:\[([\d,]+)\])?")
_ROOT = re.compile(r"√(?:\(([^()]*)\)|([\w.]+(?:\[[\d,]+\])?))")
_POWER = re.compile(r"\s?\^\s?(?:\(([^()]*)\)|([\w.]+))")
_SIGNS = {
    "·": r"\cdot ", "∂": r"\partial ", "Σ": r"\Sigma ", "σ": r"\sigma ", "Φ": r"\Phi ",
    "φ": r"\phi ", "π": r"\pi ", "−": "-", "²": "^{2}", "≤": r"\leq ", "x̂": r"\hat{x}",
}  # fmt: skip


def latex(it: "Explanation") -> str:
    """The sum as an aligned environment; what lies below follows as environments of their own."""
    name = it.title.rpartition(": ")[2]
    lines = []
    for left, middle, right in cut(it.terms, it.max_terms):
        number = _numbers(middle or right) if not left.startswith("... ") else _left_out(left, right)
        lines.append(number)
    body = r" \\" + "\n  &\\quad + "
    out = [r"\begin{aligned}", f"  {_names(name)} &= {body.join(lines) or '0'}" + r" \\"]
    out += [f"  &= {shown_number(it.total)}", r"\end{aligned}"]
    return "\n\n".join(["\n".join(out), *(latex(part) for part in it.below)])


def _left_out(words: str, subtotal: str) -> str:
    count = words.split()[1]
    return rf"\underbrace{{{subtotal}}}_{{\text{{{count} more}}}}"


def _numbers(text: str) -> str:
    number = _names(text)
    return rf"\left({number}\right)" if text.startswith("-") else number


def _names(text: str) -> str:
    """x[0,1] as x with a subscript, words upright, signs as commands."""
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    text = _NAME.sub(lambda m: _upright(m[1]) + (f"_{{{m[2]}}}" if m[2] else ""), text)
    text = _POWER.sub(lambda m: f"^{{{m[1] or m[2]}}}", text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    return text.replace("  ", " ")


def _upright(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 else rf"\mathrm{{{escaped}}}"
