"""Kernels as plain Python: loops that numba would compile run as they stand, and memory is never what it should be.

New memory and scratch memory hold nan, so that what is not written is seen; work for threads comes in three spans, the
last one first; a loop takes only what numba could take.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tinygrad_cnn.kernels import buffers, compiled, parallel

TICK = "_mutation_tick"
STEPS = 10**6  # of loops, in one case
_taken = [0]


class Endless(Exception):
    """A loop does not end."""


def tick() -> None:
    _taken[0] += 1
    if _taken[0] > STEPS:
        raise Endless


def start() -> None:
    """A new case begins."""
    _taken[0] = 0


def as_numba(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop that refuses what its compiled form would: objects, float16, and integers beyond 64 bits."""

    def called(*args: Any) -> Any:
        for value in args:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise OverflowError(f"{value} is no 64-bit integer")
            if isinstance(value, np.ndarray) and value.dtype.char in "Oe":
                raise TypeError("numba takes no objects, and no float16")
        return function(*args)

    return called


def _spoilt(shape: Any, dtype: Any = np.float32) -> Any:
    kind = np.dtype(dtype).kind
    return np.full(shape, np.nan if kind == "f" else None if kind == "O" else 99, dtype)


def _spans(body: Callable[[int, int], None], length: int, steps: float) -> None:
    float(steps)
    for first, last in reversed(parallel.pieces(length, max(1, -(-length // 3)))):
        body(first, last)


def loops_of(modules: list[Any]) -> list[compiled.Loop]:
    return [value for module in modules for value in vars(module).values() if isinstance(value, compiled.Loop)]


@contextmanager
def plain(modules: list[Any], *, loops: bool) -> Iterator[None]:
    """loops: as where numba is installed, else as where it is missing."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(compiled, "available", lambda: loops)
        for name in ("vectors", "pool_vectors", "depthwise_vectors", "spin"):
            patch.setattr(compiled, name, lambda: None)
        patch.setattr(buffers, "empty", _spoilt)
        patch.setattr(parallel, "scratch", lambda name, size, dtype=np.float32: _spoilt(size, dtype))
        patch.setattr(parallel, "spans", _spans)
        for loop in loops_of(modules):
            patch.setattr(loop, "_fast", as_numba(loop.python))
        yield
