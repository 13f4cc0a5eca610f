"""`watch`: keep statistics and pictures of every value and gradient, the line of every op, and where gradients stop.

While a block watches, every op leaves a Record at its Node (`node.watch.record`), and a result that no gradient flows
through remembers what it was made from (`outline.cuts`). Nothing here runs while nobody watches.
"""

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any, ClassVar

import numpy as np

from . import memory
from .graph import Array, Cut, Node, Outline, Tensor
from .modes import recording
from .observation import Summary, summarize
from .watching import Watcher

_PACKAGE = str(Path(__file__).parent / "_")[:-1]  # with what separates it from its files
_READABLE = ("models.py", "digits_net.py")  # of the package: networks, whose lines are worth showing

_NO_OUTLINE = Outline(np.empty(0))
MOST_CUTS = 16  # that a value without gradient remembers: a running mean is made of every step's


@dataclass(frozen=True, slots=True)
class Saved:
    """An array that a rule (its index in the plan) keeps under the name `want`; memory is the identity of its owner.

    nbytes: what it keeps alive. A value that an op of the graph has made counts whole, whatever view of it is kept, as
    the view keeps all its memory; what was there before, as a batch that is a view of a data set, by the bytes of the
    array, or of its owner where that is smaller, as under a broadcast. Of several arrays with one owner the largest
    counts, once.
    """

    rule: int
    want: str
    nbytes: int
    memory: int


def saved_of(node: Node) -> tuple[Saved, ...]:
    """What a Node keeps for its rules; nothing once a backward has freed it."""
    return tuple(
        Saved(rule, want, owner.nbytes if _is_of_an_op(node, want, i) else min(array.nbytes, owner.nbytes), id(owner))
        for rule, (wants, values) in enumerate(zip(node.plan.wants, node.saved or (), strict=False))
        for want, value in zip(wants, values, strict=True)
        for i, array in enumerate(value if isinstance(value, tuple) else (value,))
        if isinstance(array, np.ndarray)
        for owner in (memory.owner(array),)
    )


def _is_of_an_op(node: Node, want: str, i: int) -> bool:
    """Whether an op of the graph has made the memory of what is kept as `want`, of a variadic op of its input i."""
    op, source = node.plan.op, node
    if want != "out":
        if want not in op.inputs and want != op.variadic:
            return False
        place = i if op.variadic else op.inputs.index(want)
        if place not in node.plan.indices:
            return False
        source = node.parents[node.plan.indices.index(place)]
    while source.plan is not None and source.bytes < 0:
        if source.plan.indices[0] != 0:
            return False
        source = source.parents[0]
    return source.plan is not None


class Record:
    """What was seen of one op.

    value: of its output. inputs: by the input's index, the values of leaves and constants that entered here.
    gradient: of the output, in the latest backward that came by. parts: by the input's index, what the rule sent there.
    seconds, backward_seconds: of the forward function and of the rules. line: (file, line) of the call.
    saved: the arrays that the rules keep.
    arrays: copies of the inputs by index and, at -1, of the output, where whole values are watched.
    """

    __slots__ = (
        "_images", "_since", "_stats", "arrays", "backward_seconds", "gradient", "inputs", "line", "parts", "saved",
        "seconds", "value",
    )  # fmt: skip

    def __init__(self, seconds: float, stats: bool, images: bool) -> None:
        self.value: Summary | None = None
        self.gradient: Summary | None = None
        self.inputs: dict[int, Summary] = {}
        self.parts: dict[int, Summary] = {}
        self.seconds, self.backward_seconds = seconds, 0.0
        self.line: tuple[str, int] | None = None
        self.saved: tuple[Saved, ...] = ()
        self.arrays: dict[int, Array] = {}
        self._stats, self._images, self._since = stats, images, 0.0

    def arrived(self, g: Any) -> None:
        """A backward brings the gradient of the output; the clock of the rules starts."""
        if self._stats:
            self.gradient = summarize(g.array if isinstance(g, Tensor) else g, self._images)
        self.parts, self.backward_seconds = {}, 0.0
        self._since = perf_counter()

    def sent(self, i: int, d: Any) -> None:
        """A rule has computed the gradient of input i."""
        self.backward_seconds += perf_counter() - self._since
        if self._stats:
            self.parts[i] = summarize(d.array if isinstance(d, Tensor) else d, self._images)
        self._since = perf_counter()


class watch(Watcher):
    """Watch what ops compute: `with tg.watch():` around the forward pass, of this thread or task.

    stats: keep statistics of every value and, when backward comes by (inside the block or later), of its gradient and
        of what each rule sends to each input; small Tensors are kept whole. Costs a few passes over each array.
    images: also keep the first planes of every value and gradient as small pictures.
    lines: keep the file and line of every op.
    values: also keep a copy of every value, whatever its size, from which `explain` reads.

    Pictures show what was kept. Also a record of cuts: where a detach, no_grad or integer result ends the gradient, the
    graph behind it is kept alive with it. While a block watches, the ops of every thread take a slower way.
    """

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("watching", default=())

    def __init__(self, stats: bool = True, images: bool = False, lines: bool = True, values: bool = False) -> None:
        for name, value in (("stats", stats), ("images", images), ("lines", lines), ("values", values)):
            if not isinstance(value, bool):
                raise TypeError(f"watch: {name} is {value!r}; True or False is needed")
        self.stats, self.images, self.lines, self.values = stats, images, lines, values

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Leave a Record at a new Node, or let a result without one remember what it was made from."""
        if result.node is None:
            self.saw_cut(op.name, args, result)
            return
        record = Record(seconds, self.stats, self.images)
        record.saved = saved_of(result.node)
        if self.stats:
            record.value = summarize(result.array, self.images)
            for i, (given, array) in enumerate(zip(args, scope, strict=True)):
                if isinstance(array, np.ndarray) and not _is_made(given):
                    record.inputs[i] = summarize(array, self.images)
        if self.values:
            record.arrays[-1] = np.array(result.array)
            for i, (given, array) in enumerate(zip(args, scope, strict=True)):
                if isinstance(array, np.ndarray) and not _is_made(given):
                    record.arrays[i] = np.array(array)
        if self.lines:
            record.line = line_of_call()
        result.node.watched().record = record

    def saw_cut(self, op: str, args: Sequence[Any], result: Any) -> None:
        """Let a result without a Node remember what it was made from, if a gradient could have flowed there."""
        sources: list[Node] = []
        cuts: dict[Cut, None] = {}
        for a in args:
            if isinstance(a, Tensor):
                if a.node is not None:
                    sources.append(a.node)
                else:
                    cuts |= dict.fromkeys(getattr(a, "outline", _NO_OUTLINE).cuts)
        if sources:
            why = op if recording.get() or op == "detach" else "no_grad"
            cuts = {Cut(op, why, tuple(sources), line_of_call() if self.lines else None): None, **cuts}
        if cuts:
            result.outline = Outline(result.array)
            result.outline.cuts = tuple(cuts)[:MOST_CUTS]


def _is_made(given: Any) -> bool:
    """Whether an argument is the result of a recorded op, which keeps a Record of its own."""
    return isinstance(given, Tensor) and given.node is not None and given.node.plan is not None


def line_of_call() -> tuple[str, int] | None:
    """The innermost line of code that is not the engine's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) or file.endswith(_READABLE):
            return file, frame.f_lineno
        frame = frame.f_back
    return None
