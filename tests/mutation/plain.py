"""Kernels as plain Python: loops that numba would compile run as they stand, and memory is never what it should be.

New memory and scratch memory hold nan, so that what is not written is seen; work for threads comes in three spans, the
last one first; a loop takes only what numba could take. Vector code is left out, or interpreted (interpreter.py).
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from tinygrad_cnn.kernels import buffers, compiled, packing, parallel

TICK = "_mutation_tick"
STEPS = 10**6  # of loops, in one case
INSTRUCTIONS = 4 * 10**5  # of vector code, in one case
VECTORS = ("instructions", "vectors", "pool_vectors", "depthwise_vectors")
VECTOR_CODE = (*VECTORS, "conv_direct")  # what it is, and what does nothing without it
DRIVERS = ("pool_loops", "conv_depthwise")  # judged with it and without
NO_VECTORS = "vector code is emitted with numba, which is not installed"
_taken = [0, 0]


class Endless(Exception):
    """A loop does not end."""


def tick() -> None:
    _taken[0] += 1
    if _taken[0] > STEPS:
        raise Endless


def spend(instructions: int) -> None:
    _taken[1] += instructions
    if _taken[1] > INSTRUCTIONS:
        raise Endless


def start() -> None:
    """A new case begins."""
    _taken[:] = 0, 0


def emitted() -> bool:
    """Whether vector code can be emitted here, whatever the processor."""
    return find_spec("numba") is not None


def drives_vectors(name: str) -> bool:
    """Whether a kernel module is also judged with vector code."""
    return name in DRIVERS and emitted()


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
    if length > STEPS:
        raise Endless
    for first, last in reversed(parallel.pieces(length, max(1, -(-length // 3)))):
        body(first, last)


def loops_of(modules: list[Any]) -> list[compiled.Loop]:
    return [value for module in modules for value in vars(module).values() if isinstance(value, compiled.Loop)]


@contextmanager
def plain(modules: list[Any], *, loops: bool, vectors: bool = False) -> Iterator[None]:
    """loops: as where numba is installed, else as where it is missing. vectors: with vector code, interpreted."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(compiled, "available", lambda: loops)
        for name in ("vectors", "pool_vectors", "depthwise_vectors", "spin"):
            patch.setattr(compiled, name, lambda: None)
        patch.setattr(buffers, "empty", _spoilt)
        patch.setattr(parallel, "scratch", lambda name, size, dtype=np.float32: _spoilt(size, dtype))
        patch.setattr(parallel, "spans", _spans)
        patch.setattr(packing, "_kept", {})
        for loop in loops_of(modules):
            patch.setattr(loop, "_fast", as_numba(loop.python))
        if vectors:
            _interpret(patch)
        yield


def _interpret(patch: pytest.MonkeyPatch) -> None:
    """Vector code in Python: its loops as they stand, and what they call of instructions."""
    from .interpreter import Code, held

    for name in VECTORS:
        module = importlib.import_module(f"tinygrad_cnn.kernels.{name}")
        if hasattr(compiled, name):
            patch.setattr(compiled, name, lambda module=module: module)
        for loop in loops_of([module]):
            patch.setattr(loop, "_fast", held(as_numba(loop.python)))
        patch.setattr(module, "emits", Code)
        codes = _codes(module)
        loops = {other: value.py_func for other, value in vars(module).items() if hasattr(value, "py_func")}
        for other, code in (codes | {other: held(as_numba(loop)) for other, loop in loops.items()}).items():
            patch.setattr(module, other, code)


_kept: dict[str, tuple[list[Any], dict[str, Any]]] = {}


def _codes(module: ModuleType) -> dict[str, Any]:
    """What the module makes with `emits` as it is imported, made anew if one of its functions is broken."""
    functions = list(_functions(module))
    before, found = _kept.get(module.__name__, ([], {}))
    if before != functions:
        found = {}
        for line in _emitting(module.__name__, inspect.getsource(module)):
            exec(line, vars(module), found)
        _kept.setdefault(module.__name__, (functions, found))  # those of the unbroken module, which come first
    return found


def _functions(module: ModuleType) -> Iterator[Any]:
    """All that its vector code may be written with."""
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__.startswith("tinygrad_cnn"):
            yield from (part for part in vars(value).values() if isinstance(part, FunctionType))
        elif isinstance(value, FunctionType) and name not in ("emits", TICK):
            yield value


@cache
def _emitting(name: str, source: str) -> list[CodeType]:
    """The lines of a module that call `emits`, or a function that does."""
    tree = ast.parse(source)
    makers = {"emits"} | {f.name for f in tree.body if isinstance(f, ast.FunctionDef) and _calls(f, {"emits"})}
    lines = [line for line in tree.body if isinstance(line, ast.Assign) and _calls(line, makers)]
    return [compile(ast.Module([line], []), name, "exec") for line in lines]


def _calls(tree: ast.AST, names: set[str]) -> bool:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(isinstance(function, ast.Name) and function.id in names for function in calls)
