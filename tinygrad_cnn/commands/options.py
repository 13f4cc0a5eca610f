"""What options of commands have in common: parsers with examples, and the kinds of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

__all__ = ["parser", "positive", "shape", "whole"]


def parser(name: str, description: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """A parser for a command, whose help ends in examples; with the option --json."""
    command = f"python -m tinygrad_cnn {name}"
    found = argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog="\n".join(["examples:", *(f"  {command} {example}".rstrip() for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("--json", action="store_true", help="print one JSON document on stdout, all else on stderr")
    return found


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """An argparse type: a number above zero."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    number.__name__ = kind.__name__
    return number


def whole(text: str) -> int:
    """An argparse type: 0, 1, 2 and so on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def shape(text: str) -> tuple[int, ...]:
    """An argparse type: whole numbers above zero with commas between, as 1,3,32,32."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; give the batch first, as in 1,3,32,32")
    return tuple(map(int, parts))
