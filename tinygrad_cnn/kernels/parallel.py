"""One pool of threads for spans of work: who computes a piece depends on the threads, what it computes never.

A kernel cuts its work into pieces by the shapes alone, and threads take spans of pieces. The result of each piece has
its own place, and what must be added up over pieces is added in their order: results are bitwise equal for any number
of threads.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled

__all__ = ["get_num_threads", "set_num_threads"]

# Below this many elementary steps (values read, or eight multiplications in vector code; about 0.1 ns each) a second
# thread costs more than it brings: handing over takes 15 us and more. From LARGE on each thread takes several spans.
SMALL, LARGE = 2**19, 2**22

# A thread that waits looks at a number so many times before it sleeps (27 ns each on Zen 4), as waking takes 30 to
# 100 us; and a few times more when it has seen it change.
LOOKS, AFTER = 10000, 150

_lock = threading.RLock()  # a finalizer or a signal may come in while its own thread holds it
_bell = np.zeros(1, np.int64)  # rings when there is work in the pool
_size: int | None = None  # of the pool and the caller together; None until asked for
_pool: SimpleQueue[Any] | None = None  # what its threads wait at
_inside = 0  # parallel regions that are running
_blas: list[tuple[Any, int]] = []  # the BLAS libraries and their threads outside


def get_num_threads() -> int:
    """How many threads the kernels of this process use: TINYGRAD_CNN_THREADS, else the CPUs that it may run on."""
    global _size
    if _size is None:
        _size = _size_at_the_start()
    return _size


def set_num_threads(n: int) -> None:
    """Use n threads for the kernels of this process, from the next call on. Results do not depend on it.

    Raises TypeError and ValueError for what is no positive integer.
    """
    global _size, _pool
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is {n!r}; a positive integer is needed")
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}; it must be at least 1")
    with _lock:
        before = get_num_threads()
        old, _pool, _size = _pool, None, int(n)
    if old is not None:
        for _ in range(before - 1):
            old.put(None)  # after the regions that are under way
        _bell[0] += 1


def run(body: Callable[[int], None], chunks: int, steps: float) -> None:
    """body(i) for every i in range(chunks), as `spans` does it, with BLAS held to one thread."""

    def some(first: int, last: int) -> None:
        for i in range(first, last):
            body(i)

    with one_blas_thread():
        spans(some, chunks, steps)


def spans(body: Callable[[int, int], None], length: int, steps: float) -> None:
    """body(first, last) for spans that make up range(length), on the pool if there are enough elementary `steps`.

    What a body computes for each number must not depend on the span that the number is in: spans depend on the number
    of threads, and the fewer they are the less the threads wait for one another. They run in any order, each once, with
    the caller's context (NumPy's error state among it). The first exception ends the region and is raised here. A body
    may call `spans`.
    """
    threads = min(get_num_threads(), length)
    if threads < 2 or steps < SMALL:
        if length > 0:
            body(0, length)
        return
    region = _Region(body, pieces(length, -(-length // (threads * int(min(4, max(1, steps // LARGE)))))))
    _share(region, threads - 1)
    region.work()
    region.wait()
    if region.error is not None:
        raise region.error


class _Region:
    """Spans that threads take one after the other."""

    def __init__(self, body: Callable[[int, int], None], spans: list[tuple[int, int]]) -> None:
        self.body, self.spans, self.open = body, spans, np.array([len(spans)])
        self.lock, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None

    def work(self) -> None:
        """Take spans until none is left; whoever ends the last one opens `done`."""
        while True:
            with self.lock:
                if not self.spans:
                    return
                span = self.spans.pop(0)
            try:
                self.body(*span)
            except BaseException as error:
                with self.lock:
                    self.error = self.error or error
                    self.open[0] -= len(self.spans)
                    self.spans.clear()
            with self.lock:
                self.open[0] -= 1
                if not self.open[0]:
                    self.done.release()

    def wait(self) -> None:
        """Until all spans are done."""
        while (still := int(self.open[0])) and _changes(self.open, still):
            pass
        self.done.acquire()


def pieces(length: int, most: int) -> list[tuple[int, int]]:
    """range(length) in spans of nearly equal length, at most `most` each."""
    count = -(-length // max(1, most))
    return [(length * k // count, length * (k + 1) // count) for k in range(count)]


KEPT = 2**24  # bytes of scratch memory under one name, beyond which it is made anew
_own = threading.local()


def scratch(name: str, size: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Memory of this thread for `size` values, with anything in it, until it asks for the same name again.

    Fresh memory of a megabyte costs 0.1 ms of page faults at its first use.
    """
    kept: dict[str, NDArray[Any]] = _own.__dict__
    needed = size * np.dtype(dtype).itemsize
    if needed > KEPT or np.dtype(dtype).hasobject:  # objects are counted, so their memory has one owner
        return np.empty(size, dtype)
    if name not in kept or kept[name].nbytes < needed:
        whole = np.empty(needed + 64, np.uint8)
        start = -whole.ctypes.data % 64  # a line of the cache
        kept[name] = whole[start : start + needed]
    return kept[name][:needed].view(dtype)


def _share(region: _Region, others: int) -> None:
    """Ask so many threads of the pool for help."""
    global _pool
    with _lock:
        if get_num_threads() < 2:  # since somebody asked
            return
        if _pool is None:
            _pool = SimpleQueue()
            for _ in range(get_num_threads() - 1):
                threading.Thread(target=_serve, args=(_pool,), name="tinygrad_cnn", daemon=True).start()
        for _ in range(others):
            _pool.put((contextvars.copy_context(), region))
        _bell[0] += 1


def _serve(pool: SimpleQueue[Any]) -> None:
    """What a thread of the pool does until it is told to stop."""
    while True:
        rung = int(_bell[0])
        if pool.empty() and _changes(_bell, rung):
            continue
        job = pool.get()
        if job is None:
            return
        context, region = job
        context.run(region.work)
        del job, context, region  # what it refers to is not kept until the next


def _changes(numbers: NDArray[np.int64], old: int) -> bool:
    """Whether numbers[0] is seen to change within LOOKS; False at once where this thread had better sleep."""
    spin = compiled.spin()
    return spin is not None and _can_spin() and spin.wait(numbers, old, LOOKS, AFTER)


def _can_spin() -> bool:
    """Whether every thread has a processor of its own."""
    return get_num_threads() <= _processors()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold NumPy's BLAS to one thread until the last of the regions that overlap has ended.

    For small products too: waking BLAS's threads for one can take longer than the product.
    """
    global _inside
    with _lock:
        if not _inside:
            _blas[:] = [(library, library.get_num_threads() or 1) for library in _libraries()]
            _set_blas(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set_blas(None)


def _set_blas(threads: int | None) -> None:
    """Give every BLAS library so many threads, or what it had outside."""
    for library, outside in _blas:
        if outside != 1:
            # From 3.8 on, threadpoolctl silently does nothing in a thread other than the one that set it first.
            let_go = getattr(library, "clear_controlling_thread", None)
            if let_go:
                let_go(force=True)
            library.set_num_threads(threads or outside)
            if let_go:
                let_go(force=True)


@functools.cache
def _libraries() -> list[Any]:
    """The BLAS libraries in this process. Looking for them takes 2 ms, so it is done once."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _size_at_the_start() -> int:
    wanted = os.environ.get("TINYGRAD_CNN_THREADS", "").strip()
    if wanted:
        try:
            n = int(wanted)
        except ValueError:
            n = 0
        if n < 1:
            raise ValueError(f"TINYGRAD_CNN_THREADS is {wanted!r}; it must be a positive integer")
        return n
    return _processors()


def _processors() -> int:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _after_fork() -> None:
    """A child has none of the parent's threads, and is inside none of its regions."""
    global _lock, _pool, _inside
    _lock, _pool = threading.RLock(), None
    if _inside:
        _inside = 0
        _set_blas(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
