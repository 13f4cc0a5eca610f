"""Textbook loops that numba compiles, where it is installed (the extra `fast`), and that run as they stand elsewhere.

    @compiled
    def scale(x, factor, y):
        for i in range(len(x)):
            y[i] = factor * x[i]

A loop is compiled at its first call for each combination of dtypes and layouts, and kept on disk where a folder is
writable. It names nothing but NumPy, its arguments and numbers, so that its file's date says whether the copy on
disk is still right. numba itself is imported at the first call: that takes 0.2 s.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_turn = threading.Lock()
_seconds = 0.0  # spent on compiling so far
_told = False


@functools.cache
def available() -> bool:
    """Whether numba is installed and not refused by TINYGRAD_CNN_NUMBA=0. Does not import it."""
    if os.environ.get("TINYGRAD_CNN_NUMBA", "").strip().lower() in ("0", "false", "no", "off"):
        return False
    try:
        return importlib.util.find_spec("numba") is not None
    except (ImportError, ValueError):  # blocked in sys.modules
        return False


@functools.cache
def vectors() -> Any:
    """The module of vector code, vectors.py; None without numba, or where it does not know the processor."""
    if not available():
        return None
    with _turn:  # while one thread imports numba, another that asks for a part of it would find it half made
        from . import vectors as module

    return module if module.AVAILABLE else None


@functools.cache
def pool_vectors() -> Any:
    """The module of pooling in vector code, pool_vectors.py; None where there is no vector code."""
    if vectors() is None:
        return None
    from . import pool_vectors as module

    return module


@functools.cache
def depthwise_vectors() -> Any:
    """The module of depthwise convolution in vector code; None where there is no vector code."""
    if vectors() is None:
        return None
    from . import depthwise_vectors as module

    return module


@functools.cache
def spin() -> Any:
    """The module that waits without sleeping, spin.py; None where there is no vector code."""
    if vectors() is None:
        return None
    from . import spin as module

    return module


class Loop:
    """A function of arrays and numbers, compiled when first called. fast: its form by numba, if there is one."""

    def __init__(self, function: Callable[..., Any], fast: Any = None) -> None:
        functools.update_wrapper(self, function)
        self.python, self._fast = function, fast

    def __call__(self, *args: Any) -> Any:
        fast = self._fast or self._prepared()
        versions = getattr(fast, "overloads", ())
        before, started = len(versions), time.perf_counter()
        try:
            return fast(*args)
        except OSError:  # the folder of compiled code is full or gone: do without it
            fast = self._fast = _jit(self.python, cache=False)
            versions, before = fast.overloads, 0
            return fast(*args)
        finally:
            if len(versions) > before:
                _count(time.perf_counter() - started)

    def _prepared(self) -> Any:
        """What runs instead of the Python function: its compiled form, or itself."""
        with _turn:
            if self._fast is None:
                self._fast = _jit(self.python, cache=True) if available() else self.python
            return self._fast


def compiled(function: Callable[..., Any]) -> Loop:
    """Compile a textbook loop at its first call, if numba is there."""
    return Loop(function)


def _jit(function: Callable[..., Any], *, cache: bool) -> Any:
    """`function` by numba: without the GIL, with exact floating-point rules, kept on disk if that is asked for."""
    import numba

    options = {"nogil": True, "fastmath": False, "error_model": "numpy"}
    if not cache:
        return numba.njit(**options)(function)
    try:
        return numba.njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # no folder is writable
        return _jit(function, cache=False)


def _after_fork() -> None:
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _count(seconds: float) -> None:
    """Say once that loops are being compiled, when it has taken over a second; TINYGRAD_CNN_QUIET=1 says nothing."""
    global _seconds, _told
    with _turn:
        _seconds += seconds
        say = _seconds > 1 and not _told
        _told = _told or say
    if say and os.environ.get("TINYGRAD_CNN_QUIET", "") in ("", "0"):
        print(
            "tinygrad_cnn: compiling kernels with numba for the first time; the next start is faster", file=sys.stderr
        )
