"""`profile`: time, calls, FLOPs and bytes of every op, per op and per module, forward and backward apart.

Nothing here runs while nobody profiles. No array, graph or module is kept: an op leaves one line of numbers and names.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.lib.array_utils import byte_bounds

from . import memory
from .scopes import Scope
from .scopes import current as current_scope
from .watching import Watcher

Chain = tuple[tuple[str, str], ...]  # (path, class) of the running modules, the outermost first


class _Event(NamedTuple):
    """One op's forward or its rules, or an optimizer's step; with phase "enter", the start of a module's forward."""

    name: str
    phase: str
    chain: Chain
    thread: int
    start: float
    seconds: float
    nested: float  # of the seconds, those of other events inside
    flops: int | None
    bytes: int
    shape: tuple[int, ...] | None

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(slots=True)
class _Rules:
    """The rules of one Node while they run."""

    order: int
    name: str
    chain: Chain
    shape: tuple[int, ...]
    bytes: int
    start: float
    nested: float = 0.0
    flops: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What one op, or the ops of one module and of the modules inside, cost in one phase.

    phase: "forward", "backward" (the gradient rules) or "update" (an optimizer's step). calls: of ops.
    seconds: of the ops' own functions, without other ops inside. flops: of the ops that declare them, None if none
    does; backward, of the ops that the rules call, not of arithmetic that they write with operators.
    bytes: of the arrays read and written, memory that two of them share once a call; 0 where the output is a view of an
    input.
    """

    name: str
    phase: str
    calls: int
    seconds: float
    flops: int | None
    bytes: int


class Table(list[Row]):
    """Rows by falling time; printed as a table. total: the seconds of all ops, of which a row's percentage is."""

    def __init__(self, rows: Iterable[Row], total: float) -> None:
        super().__init__(rows)
        self.total = total

    def __str__(self) -> str:
        width = max([24, *(len(row.name) for row in self)])
        lines = [f"{'':{width}} {'phase':8} {'calls':>7} {'ms':>10} {'%':>6} {'MFLOP':>11} {'GFLOP/s':>8} {'MB':>10}"]
        for row in self:
            share = 100 * row.seconds / self.total if self.total else 0.0
            counted = row.flops is not None
            flops = f"{(row.flops or 0) / 1e6:11.3f}" if counted else f"{'-':>11}"
            rate = f"{(row.flops or 0) / row.seconds / 1e9:8.2f}" if counted and row.seconds else f"{'-':>8}"
            lines.append(
                f"{row.name:{width}} {row.phase:8} {row.calls:7} {row.seconds * 1e3:10.3f} {share:6.1f} {flops} {rate}"
                f" {row.bytes / 1e6:10.3f}"
            )
        return "\n".join(lines)


class profile(Watcher):
    """Time what ops do in a block: `with tg.profile() as p:`, of this thread or task; then `print(p)`.

    Seen is what runs in the block: the ops on Tensors, recorded or not, the gradient rules of every backward, and the
    steps of optimizers. `seconds` is the time of the block itself; what is no op's is the engine's and the program's.
    Every call leaves one line of a few hundred bytes. A block that is entered again adds to what it has.

    rows: per op. by_module(): per module. save(path): a trace for chrome://tracing and Perfetto.
    """

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("profiling", default=())

    def __init__(self) -> None:
        self._events: list[_Event] = []
        self._open: dict[int, list[_Rules]] = {}  # of each thread, the innermost last
        self._lock = threading.Lock()
        self._running = 0  # how often it is entered, by all threads
        self._since = self._seconds = 0.0

    def __enter__(self) -> Self:
        with self._lock:
            if not self._running:
                self._since = perf_counter()
            self._running += 1
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        with self._lock:
            self._running -= 1
            if not self._running:
                self._seconds += perf_counter() - self._since

    @property
    def seconds(self) -> float:
        """How long the block has run."""
        return self._seconds + (perf_counter() - self._since if self._running else 0.0)

    @property
    def rows(self) -> Table:
        """A Row for each op and phase, by falling time."""
        return _table((event, [event.name]) for event in self._done())

    def by_module(self) -> Table:
        """A Row for each module and phase, with the modules inside it, by falling time."""
        return _table(
            (event, [f"{path} {kind}".strip() for path, kind in event.chain] or ["outside modules"])
            for event in self._done()
        )

    def __str__(self) -> str:
        rows, seconds = self.rows, self.seconds
        share = f", {rows.total / seconds:.1%} of the {seconds * 1e3:.3f} ms in the block" if seconds else ""
        return f"{rows}\nops: {rows.total * 1e3:.3f} ms{share}"

    def save(self, path: str | Path) -> None:
        """Write a Chrome trace: one complete event per op forward and backward, inside those of its modules."""
        events = list(self._events)
        zero = min((event.start for event in events), default=0.0)
        found = []
        for thread in sorted({event.thread for event in events}):
            own = [event for event in events if event.thread == thread]
            for event in [*_spans(own), *(event for event in own if event.phase != "enter")]:
                details = {"module": event.chain[-1][0] if event.chain else None, "shape": event.shape}
                found.append(
                    {
                        "name": event.name,
                        "cat": event.phase,
                        "ph": "X",
                        "pid": 1,
                        "tid": thread,
                        "ts": (event.start - zero) * 1e6,
                        "dur": event.seconds * 1e6,
                        "args": {**details, "flops": event.flops, "bytes": event.bytes},
                    }
                )
        trace = {"traceEvents": found, "displayTimeUnit": "ms"}
        Path(path).write_text(json.dumps(trace, allow_nan=False) + "\n", encoding="utf-8")

    def _done(self) -> list[_Event]:
        return [event for event in list(self._events) if event.phase != "enter"]

    def _add(self, event: _Event) -> None:
        self._events.append(event)
        if around := self._open.get(event.thread):
            around[-1].nested += event.seconds

    # What the engine tells

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Note an op's forward."""
        flops = op.flops.count([None if a is None else np.shape(a) for a in scope], result.shape, params)
        moved = _moved(scope, result.array)
        chain = _chain(current_scope.get())
        thread = threading.get_ident()
        self._add(_Event(op.name, "forward", chain, thread, began, seconds, 0.0, flops, moved, result.shape))

    def saw_plain(self, op: Any, args: Sequence[Any], params: Any, out: Any) -> None:
        """Count the FLOPs of an op that a rule calls."""
        around = self._open.get(threading.get_ident())
        if around:
            flops = op.flops.count([None if a is None else np.shape(a) for a in args], out.shape, params)
            if flops is not None:
                around[-1].flops = (around[-1].flops or 0) + flops

    def saw_module(self, scope: Scope) -> None:
        """Note that a module's forward starts."""
        path, kind = scope.chain[-1]
        thread, now = threading.get_ident(), perf_counter()
        self._events.append(
            _Event(f"{path} {kind}".strip(), "enter", scope.chain, thread, now, 0.0, 0.0, None, 0, None)
        )

    def rules_begin(self, node: Any, saved: Any, g: Any, needed: Any) -> None:
        """Start the clock of a Node's rules."""
        moved = _kept(saved) + prod(g.shape) * g.dtype.itemsize
        for parent in node.parents:
            if needed is None or parent in needed:
                moved += prod(parent.shape) * parent.dtype.itemsize
        rules = _Rules(node.order, node.plan.op.name, _chain(node.scope), node.shape, moved, perf_counter())
        self._open.setdefault(threading.get_ident(), []).append(rules)

    def rules_end(self, node: Any) -> None:
        """Stop the clock of a Node's rules, and forget those inside that an exception has left."""
        now, thread = perf_counter(), threading.get_ident()
        around = self._open.get(thread, [])
        while around:
            rules = around.pop()
            if rules.order == node.order:
                seconds = now - rules.start
                self._add(
                    _Event(
                        rules.name, "backward", rules.chain, thread, rules.start, seconds, rules.nested, rules.flops,
                        rules.bytes, rules.shape,
                    )
                )  # fmt: skip
                return

    def saw_step(self, name: str, began: float, moved: int) -> None:
        """Note an optimizer's step. moved: the bytes that it read and wrote."""
        thread, seconds = threading.get_ident(), perf_counter() - began
        self._add(_Event(name, "update", (), thread, began, seconds, 0.0, None, moved, None))


def _chain(scope: Scope | None) -> Chain:
    return () if scope is None else scope.chain


def _moved(scope: Sequence[Any], out: Any) -> int:
    """Bytes of the arrays read and of the output; 0 if it is a view of one of them."""
    arrays = [a for a in scope if isinstance(a, np.ndarray)]
    owners = {id(memory.owner(a)) for a in arrays}
    return 0 if id(memory.owner(out)) in owners else _bytes_of(arrays) + out.nbytes


def _kept(saved: Sequence[Sequence[Any]]) -> int:
    """Bytes of the arrays that a Node keeps for its rules, each once."""
    values = [value for kept in saved for value in kept]
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return _bytes_of(part for part in parts if isinstance(part, np.ndarray))


def _bytes_of(arrays: Iterable[Any]) -> int:
    """Bytes of the memory that arrays show, what two of them show once: of those whose addresses overlap the sum, but
    no more than from the first address to the last.
    """
    distinct = {(byte_bounds(a), a.strides, a.shape, a.dtype): a.nbytes for a in arrays if a.size}
    total = own = low = high = 0
    for (first, last), nbytes in sorted((bounds, nbytes) for (bounds, *_), nbytes in distinct.items()):
        if first >= high:
            total, own, low = total + min(own, high - low), 0, first
        own, high = own + min(nbytes, last - first), max(high, last)
    return total + min(own, high - low)


def _table(parts: Iterable[tuple[_Event, list[str]]]) -> Table:
    """The Rows of events under each of their names."""
    sums: dict[tuple[str, str], Row] = {}
    total = 0.0
    for event, names in parts:
        own = event.seconds - event.nested
        total += own
        for name in dict.fromkeys(names):
            old = sums.get((name, event.phase), Row(name, event.phase, 0, 0.0, None, 0))
            flops = old.flops if event.flops is None else (old.flops or 0) + event.flops
            sums[name, event.phase] = Row(
                name, event.phase, old.calls + 1, old.seconds + own, flops, old.bytes + event.bytes
            )
    return Table(sorted(sums.values(), key=lambda row: -row.seconds), total)


def _spans(events: list[_Event]) -> Iterator[_Event]:
    """The times in which modules ran, of one thread's events: from the start of a forward or the first op in it, to
    the end of the last op in it. A backward has spans of its own.
    """
    stack: list[_Event] = []  # the modules that run, each with the end of its last op in `seconds`
    busy = float("-inf")

    def close(depth: int) -> Iterator[_Event]:
        while len(stack) > depth:
            span = stack.pop()
            if span.seconds:
                yield span

    for event in sorted(events, key=lambda event: (event.start, -event.seconds)):
        if event.start < busy:  # inside another op
            continue
        phase = "forward" if event.phase == "enter" else event.phase
        depth = 0
        while depth < min(len(stack), len(event.chain)) and stack[depth].chain == event.chain[: depth + 1]:
            depth += 1
        if stack and stack[0].phase != phase:
            depth = 0
        if event.phase == "enter":
            depth = min(depth, len(event.chain) - 1)
        yield from close(depth)
        for k in range(depth, len(event.chain)):
            path, kind = event.chain[k]
            chain = event.chain[: k + 1]
            stack.append(
                _Event(f"{path} {kind}".strip(), phase, chain, event.thread, event.start, 0.0, 0.0, None, 0, None)
            )
        if event.phase != "enter":
            busy = event.end
            stack[:] = [span._replace(seconds=event.end - span.start) for span in stack]
    yield from close(0)
