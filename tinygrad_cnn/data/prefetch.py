"""Threads that do tasks ahead of their use and hand over the results in order."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

__all__ = ["ahead"]

NAME = "tinygrad_cnn data"  # of the threads

Task = Callable[[Callable[[], bool]], Any]


class _Result:
    """What one task gave, or the error that it raised."""

    def __init__(self, task: Task) -> None:
        self.task: Task | None = task
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None


class _Crew:
    """Threads that take tasks from one queue until they are dismissed; none knows who waits for the results."""

    def __init__(self, workers: int, begin: Callable[[int], Any] | None) -> None:
        self.queue: SimpleQueue[_Result | None] = SimpleQueue()
        self.dismissed = threading.Event()
        self.threads = [
            # each in the caller's context: NumPy's error state, whether gradients are recorded
            threading.Thread(target=contextvars.copy_context().run, args=(self._work, k, begin), name=NAME, daemon=True)
            for k in range(workers)
        ]

    def start(self) -> None:
        """Let the threads begin."""
        for thread in self.threads:
            thread.start()

    def _work(self, k: int, begin: Callable[[int], Any] | None) -> None:
        while (result := self.queue.get()) is not None:
            task, result.task = result.task, None
            try:
                if begin is not None:
                    begin(k)
                    begin = None
                if task is not None and self._is_wanted():
                    result.value = task(self._is_wanted)
            except BaseException as error:
                result.error = error
            result.done.set()
            del task, result  # what they refer to is not kept while the thread waits

    def _is_wanted(self) -> bool:
        return not self.dismissed.is_set()

    def dismiss(self) -> None:
        """End the threads: each after the item that it is at."""
        self.dismissed.set()
        for _ in self.threads:
            self.queue.put(None)
        here = threading.current_thread()
        # A generator may be finalized in any thread, also in one of these; and at exit they no longer run.
        if here not in self.threads and not sys.is_finalizing():
            for thread in self.threads:
                if thread.ident is not None:  # it was started
                    thread.join()


def ahead(tasks: Iterator[Task], workers: int, most: int, begin: Callable[[int], Any] | None) -> Iterator[Any]:
    """The results of the tasks, in order, which `workers` threads do; at most `most` of them wait to be taken.

    tasks: is advanced in the caller's thread alone; a task is given a function that says whether its result is wanted
    begin: is called in each thread with its number, before its first task

    An error of a task is raised in its place, and ends the others. No thread is started before the first result is
    asked for, and none is left when the iterator has ended, was closed or dropped.
    """
    crew = _Crew(workers, begin)
    try:
        crew.start()
        waiting: deque[_Result] = deque()
        more = True
        while True:
            while more and len(waiting) < most:
                task = next(tasks, None)
                if task is None:
                    more = False
                else:
                    waiting.append(_Result(task))
                    crew.queue.put(waiting[-1])
            if not waiting:
                return
            result = waiting.popleft()
            result.done.wait()
            if result.error is not None:
                try:
                    raise result.error
                finally:
                    del result  # else the error would refer to itself by way of this frame
            value = result.value
            del result
            yield value
            del value
    finally:
        crew.dismiss()
