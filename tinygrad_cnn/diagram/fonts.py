"""How wide a text is in Arial, without a font: so that what is drawn elsewhere fits the box made for it here.

Widths of Arial in thousandths of the size (Liberation Sans and Arimo have the same); for signs that Arial lacks, those
of DejaVu Sans, a usual substitute. Another letter with an accent is as wide as the letter; of the rest, more is assumed
than fonts have.
"""

import unicodedata

FAMILY = "Arial, Helvetica, sans-serif"
ELLIPSIS = "…"

_ASCII = "".join(map(chr, range(32, 127)))
_GREEK = "".join(chr(code) for code in range(0x391, 0x3CA) if code != 0x3A2)
_SIGNS = "×·→←−≤≥≠≈∞√∫∑∏∂…–—•‖∇∈⋅∘⊙⊗⊕⋆✓✗⚠ᵀ⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉½ʷ⟨⟩∖∕↑↓↔⇒∝≡′″∅●○■□▲▼"
_LETTERS = "\u00a0¡¢£¤¥¦§¨©ª«¬®¯°±´µ¶¸º»¼¾¿ÆÐØÞßæìíîïð÷øþďĐđĦħĩīĭıĲĳĸľĿŀŁłŉŊŋŒœťŦŧſ"  # unlike those without an accent
_MARKS = "\u0300\u0301\u0302\u0303\u0304\u0307\u0308"  # above the letter before them

# What the font files beside this module draw, in regular and bold.
COVERED = frozenset([*map(chr, range(0x20, 0x7F)), *map(chr, range(0xA0, 0x180)), *_GREEK, *_SIGNS, *_MARKS])

# fmt: off
_PLAIN = """
    278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556
    278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667
    611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833
    556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584 667 667 551 668 667 611 722 778 278
    667 668 833 722 650 778 722 667 618 611 667 798 667 835 748 278 667 578 446 556 222 547 578 575 500 557
    446 441 556 556 222 500 500 576 500 448 556 690 569 482 617 395 547 648 525 713 781 584 333 1000 1000
    584 549 549 549 549 713 549 274 713 823 494 1000 556 1000 350 418 669 871 318 626 838 838 838 626 838
    838 896 433 528 401 333 333 333 430 415 412 362 422 428 415 337 388 407 408 403 403 344 415 396 834
    481 390 390 637 167 500 500 1000 838 714 583 188 354 871 604 604 604 604 990 990
    278 333 556 556 556 556 260 556 333 737 370 556 584 737 552 400 549 333 576 537 333 365 556 834 834 611
    1000 722 778 667 611 889 278 278 278 278 556 549 611 556 615 722 556 722 556 278 278 278 278 735 444 500
    292 556 334 556 222 604 723 556 1000 944 375 611 278 222
"""
_BOLD = """
    278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556
    333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 722 667
    611 722 667 944 667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278 556 278 889
    611 611 611 611 389 556 333 611 556 778 556 556 500 389 280 389 584 722 722 601 719 667 611 722 778 278
    722 667 833 722 644 778 722 667 600 611 667 821 667 809 802 278 667 615 451 611 278 582 615 610 556 606
    475 460 611 541 278 558 556 612 556 445 611 766 619 520 684 446 582 715 576 753 845 584 333 1000 1000
    584 549 549 549 549 713 549 274 713 823 494 1000 556 1000 350 498 697 896 380 626 838 838 838 626 838
    838 896 433 528 438 333 333 333 495 470 460 413 473 475 451 414 444 462 477 458 454 400 468 450 834
    523 457 457 696 167 500 500 1000 838 712 583 240 479 856 604 604 604 604 990 990
    278 333 556 556 556 556 280 556 333 737 370 556 584 737 552 400 549 333 576 556 333 365 556 834 834 611
    1000 722 778 667 611 889 278 278 278 278 611 549 611 611 719 722 611 722 611 278 278 278 278 785 556 556
    385 611 479 611 278 708 723 611 1000 944 479 611 333 278
"""
# fmt: on


class _Widths(dict[str, int]):
    def __init__(self, widths: str) -> None:
        super().__init__(zip(_ASCII + _GREEK + _SIGNS + _LETTERS, map(int, widths.split()), strict=True))

    def __missing__(self, character: str) -> int:
        base = unicodedata.normalize("NFD", character)[0]
        if unicodedata.combining(character):
            width = 0
        elif base != character and base in self:
            width = self[base]
        else:
            width = 1000 if ord(character) < 0x10000 else 1400
        if len(self) < 10_000:
            self[character] = width
        return width


_WIDTHS = (_Widths(_PLAIN), _Widths(_BOLD))


def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of the text in the units of its size."""
    return sum(map(_WIDTHS[bold].__getitem__, text)) * size / 1000


def shorten(text: str, width: float, size: float, bold: bool = False) -> str:
    """The text, or its start and end around an ellipsis if it is wider than that."""
    if text_width(text[:1000], size, bold) <= width and len(text) <= 1000:
        return text
    room = (width - text_width(ELLIPSIS, size, bold)) / 2
    return _fitting(text, room, size, bold) + ELLIPSIS + _fitting(text[::-1], room, size, bold)[::-1]


def _fitting(text: str, width: float, size: float, bold: bool) -> str:
    widths, used = _WIDTHS[bold], 0.0
    for k, character in enumerate(text):
        used += widths[character] * size / 1000
        if used > width:
            return text[:k]
    return text
