"""Waiting for a number in memory to change without giving the processor back: it comes 30 to 100 us too late.

Importing this module imports numba; it is for x86 processors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from .instructions import INT, entry


def _look_at(context: Any, address: Any) -> Any:
    """The int64 at an address, read anew each time, after a moment's pause."""

    def write(context: Any, b: Any, signature: Any, values: Any) -> Any:
        pause = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause")
        b.call(pause, [])
        return b.load_atomic(b.inttoptr(values[0], INT.as_pointer()), "acquire", 8)

    return types.int64(types.int64), write


_look = intrinsic(_look_at)


@entry
def wait(numbers: NDArray[Any], old: int, looks: int, after: int) -> bool:
    """Whether numbers[0] ceases to be `old` within so many looks; and then a moment more, of `after` looks.

    Whoever changes the number holds Python's lock: one who asked for it at once would fall asleep.
    """
    address = numbers.ctypes.data
    for _ in range(looks):
        if _look(address) != old:
            for _ in range(after):
                _look(address)
            return True
    return False
