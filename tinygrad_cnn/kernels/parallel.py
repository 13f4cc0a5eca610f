"""One pool of threads for chunks of work: who computes a chunk depends on the threads, what it computes never.

A kernel cuts its work into chunks by the shapes alone and writes each chunk's result into its own place; what must be
added up over chunks is added afterwards in their order. So results are bitwise equal for any number of threads.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["get_num_threads", "set_num_threads"]

# Below this many elementary steps (multiplications, or values read) a second thread costs more than it brings:
# handing over takes 30 to 60 us.
SMALL = 2**20

_lock = threading.Lock()
_size: int | None = None  # of the pool and the caller together; None until asked for
_pool: ThreadPoolExecutor | None = None
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
        old, _pool, _size = _pool, None, int(n)
    if old is not None:
        old.shutdown(wait=False)  # regions that run keep the threads that they have


def run(body: Callable[[int], None], chunks: int, steps: float) -> None:
    """body(i) for every i in range(chunks), on the pool if there are enough elementary `steps` in all.

    The bodies run in any order, each once, with the caller's context (NumPy's error state among it). BLAS is held to
    one thread meanwhile, with one thread of ours too: its results may depend on the number of its threads. The first
    exception ends the region and is raised here. A body may call `run`.
    """
    with one_blas_thread():
        threads = min(get_num_threads(), chunks)
        if threads < 2 or steps < SMALL:
            for i in range(chunks):
                body(i)
            return
        # next() on a count is atomic under the GIL and on free-threaded builds from 3.14; the lock is for the others
        numbers, turn = itertools.count(), threading.Lock()

        def work() -> None:
            while True:
                with turn:
                    i = next(numbers)
                if i >= chunks:
                    return
                try:
                    body(i)
                except BaseException:
                    with turn:
                        for _ in range(chunks - next(numbers)):
                            next(numbers)
                    raise

        others: list[Future[None]] = []
        try:
            for _ in range(threads - 1):
                others.append(_submit(contextvars.copy_context(), work))
            work()
        finally:
            # Those that did not begin are not needed: the work is done. Those that did are waited for.
            running = [future for future in others if not future.cancel()]
            failed = [error for error in (future.exception() for future in running) if error is not None]
        if failed:
            raise failed[0]


def pieces(length: int, most: int) -> list[tuple[int, int]]:
    """range(length) in spans of nearly equal length, at most `most` each."""
    count = -(-length // max(1, most))
    return [(length * k // count, length * (k + 1) // count) for k in range(count)]


_own = threading.local()


def scratch(name: str, size: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Memory of this thread for `size` values, with anything in it, until it asks for the same name again.

    Fresh memory of a megabyte costs 0.1 ms of page faults at its first use.
    """
    kept: dict[str, NDArray[Any]] = _own.__dict__
    needed = size * np.dtype(dtype).itemsize
    if name not in kept or kept[name].nbytes < needed:
        whole = np.empty(needed + 64, np.uint8)
        start = -whole.ctypes.data % 64  # a line of the cache
        kept[name] = whole[start : start + needed]
    return kept[name][:needed].view(dtype)


def _submit(context: contextvars.Context, work: Callable[[], None]) -> Future[None]:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="tinygrad_cnn")
        return _pool.submit(context.run, work)


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
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _after_fork() -> None:
    """A child has none of the parent's threads, and is inside none of its regions."""
    global _lock, _pool, _inside
    _lock, _pool = threading.Lock(), None
    if _inside:
        _inside = 0
        _set_blas(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
