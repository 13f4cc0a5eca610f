"""Blocks that are told of every op while they run: the base of `watch` (records.py), `profile` (profiling.py)
and `detect_anomaly` (anomaly.py).

The engine looks at `watchers` before it tells, so that nothing is done while no block runs.
"""

import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ClassVar, Self

watchers: list["Watcher"] = []  # the running blocks of every thread
_lock = threading.Lock()


class Watcher:
    """A block of one kind; of several that run in this thread or task, the innermost of each kind is told."""

    running: ClassVar[ContextVar[tuple[Any, ...]]]  # of a kind: its blocks here and now, the innermost last

    def __enter__(self) -> Self:
        with _lock:
            watchers.append(self)
        self.running.set((*self.running.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack = list(self.running.get())
        if self in stack:
            del stack[len(stack) - 1 - stack[::-1].index(self)]
            self.running.set(tuple(stack))
        with _lock:
            watchers.remove(self)

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """An op has made a Tensor. args: as the caller gave them. scope: their arrays. params: as given too,
        not frozen. began, seconds: of the forward.

        result.node is None where nothing was recorded.
        """

    def saw_plain(self, op: Any, args: Sequence[Any], params: Any, out: Any) -> None:
        """An op was called on arrays alone, as by the rules during a backward."""

    def saw_cut(self, op: str, args: Sequence[Any], result: Any) -> None:
        """A result was cut from the graph of its arguments by something that is no op."""

    def saw_module(self, scope: Any) -> None:
        """A module is about to run its forward. scope: its Scope."""

    def rules_begin(self, node: Any, saved: Any, g: Any, needed: Any) -> None:
        """A backward is about to run a Node's rules. saved: what they asked for. needed: the receivers, or None."""

    def saw_rule(self, node: Any, i: int, g: Any, kept: Mapping[str, Any], sent: Any) -> None:
        """A rule has made `sent`, the gradient of input i, of the output's, `g`, and of what it keeps, by name."""

    def rules_end(self, node: Any) -> None:
        """A Node's rules have run, and what they gave has been added up."""

    def rules_failed(self, node: Any) -> None:
        """A backward fails at a Node, whose rules may have begun."""

    def saw_step(self, name: str, began: float, moved: int) -> None:
        """An optimizer has taken a step. moved: the bytes that it read and wrote."""


def told() -> list[Watcher]:
    """The blocks that are to be told of what happens here and now."""
    stacks = {type(block): block.running.get() for block in list(watchers)}
    return [stack[-1] for stack in stacks.values() if stack]
