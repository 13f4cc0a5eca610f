"""A group whose processes are threads: what ranks do together, without MPI, for many small cases."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tinygrad_cnn.distributed import Group


class ThreadGroup(Group):
    """One rank of several threads, which meet at a barrier and read each other's places."""

    def __init__(self, rank: int, size: int, places: list[Any], barrier: threading.Barrier) -> None:
        super().__init__()
        self.rank, self.size, self._places, self._barrier = rank, size, places, barrier

    def collect(self, value: Any) -> list[Any]:
        self._places[self.rank] = pickle.dumps(value)
        self._barrier.wait()
        found = [pickle.loads(place) for place in self._places]
        self._barrier.wait()
        return found

    def share(self, value: Any) -> Any:
        return self.collect(value)[0]

    def gather(self, values: Any) -> Any:
        return np.stack(self.collect(values.copy()))

    def add(self, values: Any) -> None:
        values[...] = self.gather(values).sum(0)

    def broadcast(self, values: Any) -> None:
        values[...] = self.share(values.copy())

    def barrier(self) -> None:
        self._barrier.wait()


def on_ranks(size: int, work: Callable[[Group], Any]) -> list[Any]:
    """What work(group) returns on each of `size` ranks; an error on one of them ends all, and is raised."""
    barrier, places = threading.Barrier(size, timeout=30), [None] * size

    def run(rank: int) -> Any:
        try:
            return work(ThreadGroup(rank, size, places, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
