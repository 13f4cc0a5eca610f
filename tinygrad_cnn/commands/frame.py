"""How every command ends: its exit code, and one line on stderr in the place of a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..data import DatasetError
from ..distributed import abort
from ..distributed.group import current
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
    """The command's exit code; 1 for an error that a user can mend, 130 for an interrupt.

    Where several processes run the command together, one that fails ends all.
    """
    code = _framed(name, command)
    if code:
        abort(code)
    return code


def _framed(name: str, command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
    except Interrupted as interrupt:
        _complain(f"interrupted; {interrupt}")
        return 130
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read has enough, as `| head` does; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EXPECTED as error:
        _complain(f"{name}: {one_line(error)}")
        return 1
    return code


def _complain(line: str) -> None:
    """Print a line on stderr. What befalls all processes is said by the first of them, which then ends the others."""
    if rank := current().rank:
        time.sleep(1)
        line = f"rank {rank}: {line}"
    print(line, file=sys.stderr)


def one_line(error: BaseException) -> str:
    """The text of an error without its line breaks; its kind where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def printing(as_json: bool) -> Iterator[Callable[[Callable[[], str], Any], None]]:
    """A function of (text, document) that prints one of the two; as JSON nothing else reaches stdout meanwhile.

    text: is only made where it is printed. Of several processes only the first prints.
    """
    stdout, silent = sys.stdout, current().rank > 0

    def tell(text: Callable[[], str], document: Any) -> None:
        if silent:
            return
        if as_json:
            print(json.dumps(document, indent=1, allow_nan=False), file=stdout)
        else:
            print(text(), file=stdout)

    elsewhere = io.StringIO() if silent else sys.stderr
    with contextlib.redirect_stdout(elsewhere) if as_json or silent else contextlib.nullcontext():
        yield tell
