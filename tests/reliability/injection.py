"""Faults at a chosen call: an exception out of the k-th call of the package's functions, or of the system's.

No code is changed for it: Python tells a tracer of every call, and an exception that leaves the tracer leaves the call.
"""

import sys
from collections.abc import Callable
from inspect import CO_GENERATOR
from pathlib import Path
from types import FrameType
from typing import Any

import tinygrad_cnn

PACKAGE = str(Path(tinygrad_cnn.__file__).parent)


class Counter:
    """Counts calls, and raises `error` out of the k-th."""

    def __init__(self, k: int = 0, error: BaseException | None = None) -> None:
        self.k, self.error = k, error
        self.calls = 0
        self.place = ""

    def count(self, place: str) -> None:
        self.calls += 1
        if self.error is not None and self.calls == self.k:
            self.place = place
            raise self.error


class Injection(Counter):
    """Of the package's functions."""

    def __enter__(self) -> "Injection":
        self.before = sys.gettrace()  # coverage, perhaps
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_name in ("__exit__", "__del__"):
            return  # what cleans up after an error must be allowed to do so
        if code.co_flags & CO_GENERATOR:
            return  # a call may be the closing of a generator, out of which nothing can be raised
        self.count(f"{Path(code.co_filename).name}:{code.co_name}")


class SystemInjection(Counter):
    """Of these C functions by the file `name`."""

    def __init__(self, name: str, functions: set[str], k: int = 0, error: BaseException | None = None) -> None:
        super().__init__(k, error)
        self.name, self.functions = name, functions

    def __enter__(self) -> "SystemInjection":
        sys.setprofile(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.endswith(self.name) and argument.__name__ in self.functions:
            self.count(argument.__name__)


def each_call(
    run: Callable[[Any], None],
    inject: Callable[..., Any],
    check: Callable[[str], None],
    error: type[BaseException],
    every: int = 1,
) -> tuple[int, int]:
    """Run with the error out of each call in turn, and check after each; how many were raised, and how many calls.

    `run(injection)` runs the action inside the injection. An error that Python cannot raise, as in the callback of a
    weak reference, lets the action complete, and is not counted.
    """
    count = inject()
    run(count)
    raised = 0
    for k in range(1, count.calls + 1, every):
        injection = inject(k, error("injected"))
        try:
            run(injection)
        except error:
            raised += 1
        check(injection.place)
    return raised, count.calls
