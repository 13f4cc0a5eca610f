"""The Tensors, and other things, by the names that the caller's program gives them."""

import inspect
import sys
from types import FrameType
from typing import TypeVar

from ..graph import Tensor

T = TypeVar("T")
COMPREHENSIONS = (
    "<listcomp>",
    "<setcomp>",
    "<dictcomp>",
    "<genexpr>",
)  # frames of their own, the first three until 3.11


def local_tensors(level: int) -> dict[str, Tensor]:
    """The Tensors among the local variables of the caller `level` frames up."""
    return local_values(level + 1, Tensor)


def local_values(level: int, kind: type[T]) -> dict[str, T]:
    """All of one kind among the local variables of the caller `level` frames up, and around a comprehension there."""
    frame: FrameType | None = sys._getframe(level)
    values: dict[str, T] = {}
    while frame is not None:
        found = frame.f_locals
        names = [name for name in found if name.isidentifier() and not name.startswith("_")]  # none that Python made up
        values = {name: value for name in names if isinstance(value := found[name], kind)} | values
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED and type(found) is dict and sys.getrefcount(found) <= 3:
            found.clear()  # before Python 3.13 a function keeps this copy, and what was in it, until it returns
        frame = frame.f_back if frame.f_code.co_name in COMPREHENSIONS else None
    return values


def global_values(level: int, kind: type[T]) -> dict[str, T]:
    """All of one kind among the global variables that the caller `level` frames up sees."""
    found = dict(sys._getframe(level).f_globals)
    return {name: value for name, value in found.items() if isinstance(value, kind)}
