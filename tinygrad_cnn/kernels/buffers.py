"""Fresh arrays for results, from memory that earlier results have left.

The first touch of new memory costs a page fault every 4 kB: of a result of 1.6 MB as long as relu takes to fill it.
A training step makes arrays of the same sizes again and again. They are cut from slabs, the first place that fits, so
that what is touched is little more than what is in use at once.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SMALLEST = 2**16  # bytes; below it the C library does the same
PAGE = 4096  # bytes: places begin and end at multiples of it in their slab
SLAB = 2**26  # bytes; a larger array has a slab of its own
MOST = 2**28  # bytes of slabs, beyond which those that are free are given up


class _Slab:
    """A piece of memory and its free places, (start, stop) in order, none of which touches another."""

    def __init__(self, size: int) -> None:
        whole = np.empty(size + PAGE, np.uint8)
        start = -whole.ctypes.data % PAGE
        self.memory = whole[start : start + size]
        self.free = [(0, size)]

    def take(self, size: int) -> int | None:
        """Where the first place of this size begins; None if there is none."""
        for k, (start, stop) in enumerate(self.free):
            if stop - start >= size:
                self.free[k : k + 1] = [(start + size, stop)] if stop - start > size else []
                return start
        return None

    def give(self, start: int, stop: int) -> None:
        """Free a place, and join it to those that touch it."""
        places = self.free
        k = next((k for k, place in enumerate(places) if place[0] > start), len(places))
        first, last = k, k
        if k < len(places) and places[k][0] == stop:
            stop, last = places[k][1], k + 1
        if k and places[k - 1][1] == start:
            start, first = places[k - 1][0], k - 1
        places[first:last] = [(start, stop)]

    def is_free(self) -> bool:
        """Whether nothing of it is in use."""
        return self.free == [(0, len(self.memory))]


_slabs: list[_Slab] = []
_turn = threading.Lock()  # of what changes the slabs


class _Block:
    """Memory that an array borrows: the array's base, so that it lives as long as the array and its views."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, memory: Array) -> None:
        self.__array_interface__ = memory.__array_interface__


class _Loan(weakref.ref[_Block]):
    """A block that is lent, and its place."""

    __slots__ = ("place",)

    place: tuple[_Slab, int, int]


# The loans that are over, whose places the next call of `empty` frees. The callback of a loan is the deque's append: no
# Python code, in which a signal could be lost, and one step, which may come anywhere, in any thread, even in `empty`.
_over: deque[_Loan] = deque()
_loans: dict[int, _Loan] = {}


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """np.empty: an array with anything in it. Its memory may be that of an array that is gone."""
    dtype = np.dtype(dtype)
    needed = math.prod(shape) * dtype.itemsize
    # Whoever finds the slabs in use does without them: waiting, in a finalizer perhaps, could be waiting for oneself.
    if needed < SMALLEST or dtype.hasobject or not _turn.acquire(blocking=False):
        return np.empty(shape, dtype)
    try:
        block = _block(-(-needed // PAGE) * PAGE)
    finally:
        _turn.release()
    array: Array = np.asarray(block)[:needed].view(dtype).reshape(shape)
    return array


def _block(size: int) -> _Block:
    while _over:
        loan = _over.popleft()
        del _loans[id(loan)]
        left, *freed = loan.place
        left.give(*freed)
    slab, start = _place(size)
    held = sum(len(other.memory) for other in _slabs) + (0 if slab else max(SLAB, size))
    for other in _slabs[::-1]:
        if held > MOST and other.is_free():
            _slabs.remove(other)
            held -= len(other.memory)
    if slab is None:
        slab = _Slab(max(SLAB, size))
        _slabs.append(slab)
        slab.take(size)
    block = _Block(slab.memory[start : start + size])
    loan = _Loan(block, _over.append)
    loan.place = slab, start, start + size
    _loans[id(loan)] = loan
    return block


def _place(size: int) -> tuple[_Slab | None, int]:
    """The first slab with a place of this size, and where that begins.

    A slab made for a large array is not for small ones: one of them would hold all of it.
    """
    for slab in _slabs:
        start = slab.take(size) if len(slab.memory) <= max(SLAB, 2 * size) else None
        if start is not None:
            return slab, start
    return None, 0


def _after_fork() -> None:
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
