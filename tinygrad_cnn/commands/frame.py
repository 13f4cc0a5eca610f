"""How every command ends: its exit code, and one line on stderr in the place of a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..data import DatasetError
from ..interchange import CheckpointError

__all__ = ["CommandError", "EXPECTED", "Interrupted", "framed", "one_line", "printing"]


class CommandError(Exception):
    """A command cannot do what was asked; its text is the line that the user sees."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C where there is a way to go on, which its text says."""


# What a user can mend: files, data, what is not installed, numbers that are not finite. Other errors are ours.
EXPECTED: tuple[type[Exception], ...] = (
    CommandError,
    OSError,
    ImportError,
    FloatingPointError,
    DatasetError,
    CheckpointError,
)


def framed(name: str, command: Callable[[], int]) -> int:
    """The command's exit code; 1 for an error that a user can mend, 130 for an interrupt."""
    try:
        code = command()
        sys.stdout.flush()
    except Interrupted as interrupt:
        print(f"interrupted; {interrupt}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has enough, as `| head` does; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EXPECTED as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 1
    return code


def one_line(error: BaseException) -> str:
    """The text of an error without its line breaks; its kind where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def printing(as_json: bool) -> Iterator[Callable[[Callable[[], str], Any], None]]:
    """A function of (text, document) that prints one of the two; as JSON nothing else reaches stdout meanwhile.

    text: is only made where it is printed.
    """
    stdout = sys.stdout

    def tell(text: Callable[[], str], document: Any) -> None:
        if as_json:
            print(json.dumps(document, indent=1, allow_nan=False), file=stdout)
        else:
            print(text(), file=stdout)

    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield tell
