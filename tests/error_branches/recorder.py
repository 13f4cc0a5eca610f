"""A plugin of pytest that notes which `raise` of the package gave an error whose message a test looked at.

A message is looked at if pytest.raises has a pattern for it, if the test reads the error, or if a command
prints it, as the tests of commands read what they print.
"""

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from _pytest._code import ExceptionInfo

from tinygrad_cnn.commands import frame

FOLDER = "ERROR_BRANCHES"  # the variable that says where the notes go
PACKAGE = str(Path(__file__).resolve().parent.parent.parent / "tinygrad_cnn") + os.sep
_seen: set[tuple[str, int]] = set()


def place(traceback: TracebackType | None) -> tuple[str, int] | None:
    """The innermost line of the package that an error passed."""
    found = None
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name.startswith(PACKAGE):
            found = name[len(PACKAGE) :], traceback.tb_lineno
        traceback = traceback.tb_next
    return found


def note(error: BaseException | None) -> None:
    """The message of an error has been looked at, and so has what it was made of."""
    while error is not None:
        where = place(error.__traceback__)
        if where is not None:
            _seen.add(where)
        error = error.__cause__ or error.__context__


def pytest_configure() -> None:
    leave = pytest.RaisesExc.__exit__
    value = ExceptionInfo.value.fget

    def exit_and_note(self: Any, kind: Any, error: Any, traceback: Any) -> bool:
        caught = leave(self, kind, error, traceback)
        if caught and (self.match is not None or self.check is not None):
            note(error)
        return caught

    def value_and_note(self: Any) -> BaseException:
        error = value(self)
        note(error)
        return error

    @functools.wraps(frame.one_line)
    def one_line_and_note(error: BaseException) -> str:
        note(error)
        return one_line(error)

    one_line, frame.one_line = frame.one_line, one_line_and_note
    pytest.RaisesExc.__exit__ = exit_and_note
    ExceptionInfo.value = property(value_and_note)


def pytest_sessionfinish() -> None:
    path = Path(os.environ[FOLDER]) / f"messages-{os.getpid()}.json"
    path.write_text(json.dumps(sorted(_seen)))


def noted(folder: Path) -> Iterator[tuple[str, int]]:
    """What every process has noted: (file of the package, line)."""
    for path in folder.glob("messages-*.json"):
        yield from ((name, line) for name, line in json.loads(path.read_text()))
