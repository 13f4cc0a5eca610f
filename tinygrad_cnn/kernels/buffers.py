"""Fresh arrays for results, from memory that earlier results have left.

The first touch of new memory costs a page fault every 4 kB: of a result of 1.6 MB as long as relu takes to fill it.
A training step makes arrays of the same sizes again and again, so what is freed is kept for the next of its size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SMALLEST = 2**16  # bytes; below it the C library does the same
MOST, SIZES = 2**28, 64  # bytes that are kept at most, and different sizes
ALIGNED = 64

# The free memory by its size. Each step on it is one call that cannot be interrupted: `_Block.__del__` may run
# anywhere, in any thread, where a lock could be held.
_free: dict[int, list[Array]] = {}


class _Block:
    """Memory that an array borrows: the array's base, so that it lives as long as the array and its views."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if _free is not None:  # at the end of the interpreter
            keep(self.memory)


def keep(memory: Array) -> None:
    """Leave memory for later arrays; when MOST bytes or SIZES sizes are kept, all of them are given up first."""
    if kept() + memory.nbytes > MOST or len(_free) >= SIZES:
        _free.clear()
    _free.setdefault(memory.nbytes, []).append(memory)


def kept() -> int:
    """The bytes that are kept."""
    return sum(size * len(arrays) for size, arrays in list(_free.items()))


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """np.empty: an array with anything in it. Its memory may be that of an array that is gone."""
    dtype = np.dtype(dtype)
    needed = math.prod(shape) * dtype.itemsize
    if needed < SMALLEST:
        return np.empty(shape, dtype)
    step = 1 << (needed.bit_length() - 4)  # at most an eighth more than needed
    size = -(-needed // step) * step
    try:
        memory = _free[size].pop()
    except (KeyError, IndexError):
        whole = np.empty(size + ALIGNED, np.uint8)
        start = -whole.ctypes.data % ALIGNED
        memory = whole[start : start + size]
    array: Array = np.asarray(_Block(memory))[:needed].view(dtype).reshape(shape)
    return array
