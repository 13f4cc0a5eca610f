"""What each kernel must compute, against plain loops: one table for the suite and for the mutation gate.

A case calls the public functions of one kernel module and asserts. It is small, as it also runs where the loops are
plain Python; its inputs are read-only.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

Check = Callable[[], None]
_table: dict[str, list[tuple[str, Check]]] = {}


def case(module: str, *rows: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a function into the table of a kernel module, once for each row of arguments."""

    def enter(function: Callable[..., None]) -> Callable[..., None]:
        for row in rows or [()]:
            name = f"{function.__name__} {' '.join(map(str, row))}".strip()
            _table.setdefault(module, []).append((name, lambda row=row: function(*row)))
        return function

    return enter


def cases(module: str) -> list[tuple[str, Check]]:
    """(name, check) of every case of a kernel module."""
    parts = (
        "activations",
        "choice",
        "conv",
        "conv_direct",
        "pool",
        "sums",
        "sweeps",
        "windows",
        "winograd",
        "winograd_vectors",
    )
    for part in (*parts, *_vectors()):
        import_module(f"kernel_cases.{part}")
    return _table[module]


def _vectors() -> tuple[str, ...]:
    """The parts that import vector code, where numba is installed."""
    return ("vector_loops", "vectors") if find_spec("numba") else ()
