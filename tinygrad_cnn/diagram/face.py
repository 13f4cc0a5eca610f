"""Cards as SVG: what stands on each, how large it is, and its elements."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from .fonts import shorten, text_width
from .layout import Box
from .level import Size
from .model import PALETTE, PROBLEM, Card, Row, Strip
from .theme import BAND_FILL, BAR, GROUP_LINE, INK, MARKS, ON_BAND, PAGE, QUIET, TONES

TITLE, TAG, ROW, SMALL = 12.5, 8.5, 11.0, 9.0  # sizes of text
HEADER, ROW_STEP, BAND = 23.0, 16.0, 19.0
PAD, TAG_GAP = 9.0, 14.0
WIDEST = 300.0  # of a text on a card; a longer one is shortened in the middle
WIDEST_TITLE = 220.0
WIDER = 1.3  # how much wider than Arial a reader's font may be: DejaVu Sans Bold
SIGN = 28.0
SLANT, FOLD, SHEET = 12.0, 9.0, 3.5
ROUND = 7.0
PICTURE_GAP, STRIP_LABEL, STRIP_GAP = 2.0, 12.0, 5.0
FAINT = 0.35
WARNING = "⚠ "
SCHEMES = re.compile(r"(https?|file|vscode)://[^\s]+")

# What XML cannot hold, what would turn the reading direction, and halves of a surrogate pair.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff\U0001fffe\U0001ffff]"
)


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


def attribute(text: str) -> str:
    """The text as it may stand between double quotes."""
    return escape(plain(text))


@dataclass(frozen=True)
class Text:
    """A line of text as it will be drawn: shortened, measured, with what it was.

    look: the attributes of its element. content: what stands in it.
    """

    text: str
    full: str
    width: float
    look: str
    content: str

    def at(self, x: float, y: float, anchor: str = "", room: float = 0.0) -> str:
        """The element with its left end, or its middle or end, at (x, y).

        room: what it must not exceed where the reader's font is wider than Arial.
        """
        more = f' text-anchor="{anchor}"{self.look}' if anchor else self.look
        if room and self.width * WIDER > room:
            more += f' textLength="{self.width:.1f}" lengthAdjust="spacingAndGlyphs"'
        return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{self.content}</text>'


@lru_cache(maxsize=4096)
def line(text: str, size: float, fill: str = INK, bold: bool = False, widest: float = WIDEST) -> Text:
    """The text on one line, shortened to `widest`."""
    full = plain(text)
    short = shorten(full, widest, size, bold)
    look = "" if fill == INK else f' fill="{fill}"'
    if bold:
        look += ' font-weight="bold"'
    if size != ROW:
        look += f' font-size="{size:g}"'
    title = "" if full == short else f"<title>{escape(full)}</title>"
    return Text(short, full, text_width(short, size, bold), look, title + escape(short))


def lines(rows: Iterable[Row], size: float, widest: float) -> list[Text]:
    """The rows in their tones."""
    return [line(row.text, size, *TONES[row.tone], widest) for row in rows]


def rounded(x: float, y: float, width: float, height: float, fill: str, border: str, round_: float = ROUND) -> str:
    """A rectangle with round corners."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} rx="{round_:g}" fill="{fill}" {border}/>'


class Face:
    """A card as it will be drawn."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.fill, self.line = PALETTE[card.family]
        self.title = line(card.title, TITLE, INK, True, WIDEST_TITLE)
        self.tag = line(card.tag.upper(), TAG, self.line, True, WIDEST_TITLE)
        self.rows = lines(card.rows, ROW, WIDEST)
        self.headed = card.shape in ("card", "stack")
        self.bands = list(self._bands()) if card.problem or card.mark else []
        self.strips = [(s, line(s.label, SMALL, QUIET)) for s in card.strips if s.pictures] if card.strips else ()
        self.circle = card.shape == "sign" and not (self.rows or self.bands or self.strips or len(self.title.text) > 2)
        if card.shape == "sign":
            self.title = line(card.title, 16.0 if len(card.title) <= 2 else TITLE, INK, False, WIDEST_TITLE)
        self.size = self._size()

    def _bands(self) -> Iterator[tuple[Text, str]]:
        """The words of every band and its fill."""
        if self.card.problem:
            yield line(WARNING + self.card.problem, ROW, ON_BAND, True), BAND_FILL
        if self.card.mark:
            words, _, fill, _ = MARKS[self.card.mark]
            yield line(words, ROW, ON_BAND, True), fill

    def _size(self) -> Size:
        if self.circle:
            return Size(SIGN, SIGN)
        widths = [row.width for row in self.rows]
        height = ROW_STEP * len(self.rows)
        if self.bands or self.strips:
            widths += [words.width for words, _ in self.bands]
            widths += [max(label.width, _wide(strip)) for strip, label in self.strips]
            height += BAND * len(self.bands) + sum(_high(strip) for strip, _ in self.strips)
        if self.headed:
            first = self.title.width + (self.tag.width + TAG_GAP if self.tag.text else 0.0)
            width = max([first, *widths, 44.0]) + 2 * PAD
            height += HEADER + (6.0 if self.rows or self.strips else 0.0)
            sheets = 2 * SHEET if self.card.shape == "stack" else 0.0
            return Size(width + sheets, height + sheets)
        width = max([self.title.width, *widths, 12.0]) + 2 * PAD
        height += ROW_STEP + 10.0
        if self.card.shape in ("input", "target"):
            return Size(max(width, 40.0) + 2 * SLANT, height)
        return Size(width + (FOLD if self.card.shape == "note" else 0.0), height)

    def svg(self, box: Box) -> str:
        """The card in its box."""
        card = self.card
        faint = f' faint" opacity="{FAINT:g}' if card.faint else ""
        start = f'<g class="card{faint}" data-id="{attribute(card.id)}">'
        end = "</g>"
        if SCHEMES.fullmatch(card.link):
            start, end = f'<a href="{attribute(card.link)}">{start}', "</g></a>"
        if card.tooltip:
            start += f"<title>{escape(plain(card.tooltip))}</title>"
        return start + (self._headed(box) if self.headed else self._whole(box)) + end

    def _border(self) -> str:
        dash = "5 3" if self.card.shape == "target" else ""
        colour, width = self.line, 1.3
        if self.card.mark:
            _, colour, _, marked = MARKS[self.card.mark]
            width, dash = 2.4, marked or dash
        if self.card.problem:
            colour, width = PROBLEM, 3
        return f'stroke="{colour}" stroke-width="{width:g}"' + (f' stroke-dasharray="{dash}"' if dash else "")

    def _headed(self, box: Box) -> str:
        x, y, width, height = box
        out = []
        border = self._border()
        if self.card.shape == "stack":
            width, height = width - 2 * SHEET, height - 2 * SHEET
            out += [rounded(x + k, y + k, width, height, self.fill, border) for k in (2 * SHEET, SHEET)]
        filled = not (self.rows or self.bands or self.strips)
        if self.card.family == "loss":
            filled = not any(row.share for row in self.card.rows)  # a bar needs another ground
        body = self.fill if filled else PAGE
        out.append(rounded(x, y, width, height, body, border))
        inset = 1.5 if self.card.problem else 1.2 if self.card.mark else 0.65  # a header inside the border
        if body == PAGE and self.fill != PAGE:
            left, right, top, r = x + inset, x + width - inset, y + inset, ROUND - inset
            out.append(
                f'<path fill="{self.fill}" d="M{left:.1f} {y + HEADER:.1f}V{top + r:.1f}a{r:g} {r:g} 0 0 1 {r:g} {-r:g}'
                f'H{right - r:.1f}a{r:g} {r:g} 0 0 1 {r:g} {r:g}V{y + HEADER:.1f}z"/>'
            )
        out += self._header(x, y, width)
        at = y + HEADER
        for words, fill in self.bands:
            out.append(
                f'<rect x="{x + inset:.1f}" y="{at:.1f}" width="{width - 2 * inset:.1f}" height="{BAND:g}" '
                f'fill="{fill}"/>'
            )
            out.append(words.at(x + PAD, at + 13.5, room=width - 2 * PAD))
            at += BAND
        out += self._body(x + PAD, at + 14, width - 2 * PAD, "")
        return "".join(out)

    def _header(self, x: float, y: float, width: float) -> list[str]:
        """The title and the tag, both as wide as in Arial where a wider font would make them meet."""
        title, tag = self.title, self.tag
        if not tag.text:
            return [title.at(x + PAD, y + 16, room=width - 2 * PAD)]
        tight = (title.width + tag.width) * WIDER > width - 2 * PAD - TAG_GAP / 2
        return [
            title.at(x + PAD, y + 16, "", title.width if tight else 0.0),
            tag.at(x + width - PAD, y + 15.5, "end", tag.width if tight else 0.0),
        ]

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
            out = rounded(x, y, width, height, PAGE, border, min(height / 2, SIGN / 2))
        out += self.title.at(middle, y + 17, "middle", room)
        at = y + ROW_STEP + 5
        for words, fill in self.bands:
            place = f'x="{middle - room / 2 - 4:.1f}" y="{at:.1f}" width="{room + 8:.1f}" height="{BAND - 3:g}"'
            out += f'<rect {place} rx="3" fill="{fill}"/>'
            out += words.at(middle, at + 12, "middle", room)
            at += BAND
        return out + "".join(self._body(middle, at + 12, room, "middle"))

    def _body(self, x: float, at: float, room: float, anchor: str) -> Iterable[str]:
        """The rows, with bars behind them, and the strips below the first; `at` is the first base line."""
        if self.strips or any(row.share for row in self.card.rows):
            return self._rich_body(x, at, room, anchor)
        return [row.at(x, at + ROW_STEP * k, anchor, room) for k, row in enumerate(self.rows)]

    def _rich_body(self, x: float, at: float, room: float, anchor: str) -> Iterator[str]:
        left = x - room / 2 if anchor else x
        for k, (row, text) in enumerate(zip(self.card.rows, self.rows, strict=True)):
            if row.share > 0:
                yield self._bar(left - 4, at - 11.5, (room + 8) * min(row.share, 1.0))
            yield text.at(x, at, anchor, room)
            at += ROW_STEP
            if k == 0 and self.strips:
                yield from self._strips(x, at, room, anchor)
                at += sum(_high(strip) for strip, _ in self.strips)
        if not self.rows:
            yield from self._strips(x, at, room, anchor)

    def _bar(self, x: float, y: float, width: float) -> str:
        fill = self.fill if self.headed and self.fill != PAGE else BAR if self.headed else PAGE
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{ROW_STEP - 1.5:g}"'
        return f'<rect class="share" {place} fill="{fill}" stroke="{self.line}" stroke-width=".6"/>'

    def _strips(self, x: float, at: float, room: float, anchor: str) -> Iterator[str]:
        top = at - ROW_STEP + 5 + STRIP_GAP / 2
        for strip, label in self.strips:
            left = x - _wide(strip) / 2 if anchor else x
            size = f'width="{strip.width:g}" height="{strip.height:g}"'
            for picture in strip.pictures:
                place = f'x="{left:.1f}" y="{top:.1f}" {size}'
                data = b64encode(picture).decode("ascii")
                yield (
                    f'<image {place} preserveAspectRatio="none" style="image-rendering:pixelated" '
                    f'href="data:image/png;base64,{data}"/>'
                    f'<rect {place} fill="none" stroke="{GROUP_LINE}" stroke-width=".7"/>'
                )
                left += strip.width + PICTURE_GAP
            yield label.at(x, top + strip.height + STRIP_LABEL - 2.5, anchor, room)
            top += _high(strip)


def _wide(strip: Strip) -> float:
    return len(strip.pictures) * (strip.width + PICTURE_GAP) - PICTURE_GAP


def _high(strip: Strip) -> float:
    return strip.height + STRIP_LABEL + STRIP_GAP
