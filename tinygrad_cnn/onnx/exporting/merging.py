"""One graph from several runs of a model that differ in the batch and in what the inputs hold.

What was the same in all runs is a constant; a number that grew with the batch follows it; what else was different
depends on the inputs in a way that no op records, so that no graph can say it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from ...declaration import Op
from ..errors import OnnxError
from .dims import Dim, Shape, fixed, followed
from .tracing import Run, Step, place_of, said

__all__ = ["Graph", "Recorded", "Slot", "merged"]

REMEDY = (
    "leave out what ops do not record (.numpy(), .item(), random numbers, arithmetic with Python numbers), or, where "
    "the batch makes the difference, export with dynamic_batch=False"
)


@dataclass(eq=False)
class Slot:
    """A value of the graph: an input, a result or a constant; loose if it is none of these."""

    shape: Shape
    dtype: Any
    name: str
    arrays: tuple[Any, ...]  # of the runs
    is_made: bool = False
    array: Any = None  # of a constant; with a shape that follows the batch, its one number, as (1)
    counts: bool = False  # 0, 1, 2, ... as far as the batch goes


@dataclass(eq=False)
class Recorded:
    """One call of an op. Its inputs are Slots, numbers and None; its parameters also Dims and nests of all these."""

    op: Op
    inputs: list[Any]
    params: dict[str, Any]
    out: Slot
    path: str


@dataclass(eq=False)
class Graph:
    """Calls in order, and what goes in and comes out."""

    inputs: list[Slot]
    calls: list[Recorded]
    outputs: list[Slot]


def merged(
    runs: Sequence[Run],
    batches: Sequence[int],
    inputs: Sequence[Sequence[Any]],
    outputs: Sequence[Sequence[Any]],
    names: Mapping[Any, str],
) -> Graph:
    """The graph of runs with these batch sizes, inputs and outputs; names: of parameters, by their places.

    Raises OnnxError where the runs took different ways.
    """
    merger = _Merger(batches, names)
    into = [merger.made(each, f"export: input {i}") for i, each in enumerate(zip(*inputs, strict=True))]
    if len({len(found) for found in outputs}) > 1:
        raise OnnxError(f"export: the model gives {_several(map(len, outputs))} results in runs with other inputs")
    ways = [_needed(run.steps, found) for run, found in zip(runs, outputs, strict=True)]
    for way in ways[1:]:
        _same_way(ways[0], way, merger.in_runs)
    calls = [merger.call(steps) for steps in zip(*ways, strict=True)]
    return Graph(
        into, calls, [merger.array(each, f"export: output {i}") for i, each in enumerate(zip(*outputs, strict=True))]
    )


def _same_way(way: Sequence[Step], other: Sequence[Step], in_runs: str) -> None:
    """Raise OnnxError where other ops ran."""
    for a, b in zip_longest(way, other):
        if a is None or b is None or (a.op.name, a.path) != (b.op.name, b.path):
            here, there = ("the end" if step is None else said(step).removeprefix("export: ") for step in (a, b))
            raise OnnxError(
                f"export: the model takes different ways {in_runs}: {here} where there was {there}; ONNX is told one "
                "way, so compute both and choose with where(condition, x, y), or leave out the branch"
            )


def _needed(steps: Sequence[Step], outputs: Sequence[Any]) -> list[Step]:
    """The steps that outputs depend on."""
    wanted, found = set(map(place_of, outputs)), []
    for step in reversed(steps):
        if place_of(step.out) in wanted:
            found.append(step)
            wanted.update(place_of(array) for array in _arrays([step.inputs, list(step.params.values())]))
    return found[::-1]


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays in a nest."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _arrays(part)


class _Merger:
    def __init__(self, batches: Sequence[int], names: Mapping[Any, str]) -> None:
        self.batches, self.names = batches, names
        self.slots: dict[Any, Slot] = {}  # by the places of the arrays in all runs

    @property
    def in_runs(self) -> str:
        if len(set(self.batches)) == 1:
            return "in runs with other inputs"
        return f"for batches of {', '.join(map(str, dict.fromkeys(self.batches)))}"

    def call(self, steps: Sequence[Step]) -> Recorded:
        where, first = said(steps[0]), steps[0]
        names = [first.op.variadic or name for name in first.op.inputs]
        inputs = [
            self.value(each, f"{where}: its input {names[min(i, len(names) - 1)]!r}")
            for i, each in enumerate(zip(*(step.inputs for step in steps), strict=True))
        ]
        params = {
            name: self.value([step.params[name] for step in steps], f"{where}: its parameter {name!r}")
            for name in first.params
        }
        out = self.made([step.out for step in steps], where)
        return Recorded(first.op, inputs, params, out, first.path)

    def made(self, arrays: Sequence[Any], where: str) -> Slot:
        """A Slot for an input or a result."""
        shape = self.shape([a.shape for a in arrays], f"{where}, of which the result")
        slot = self.slots[tuple(map(place_of, arrays))] = Slot(shape, arrays[0].dtype, "", tuple(arrays), True)
        return slot

    def shape(self, shapes: Sequence[tuple[int, ...]], where: str) -> Shape:
        if len(set(map(len, shapes))) == 1:
            found = [followed(each, self.batches) for each in zip(*shapes, strict=True)]
            lengths = tuple(n for n in found if n is not None)
            if len(lengths) == len(found):
                return lengths
        raise OnnxError(
            f"{where} has the shapes {_several(shapes)} {self.in_runs}; lengths that are fixed, or k*batch + c, are "
            f"needed; {REMEDY}"
        )

    def value(self, values: Sequence[Any], where: str) -> Any:
        """What stands in the graph for what was seen in each run."""
        first = values[0]
        if len(set(map(type, values))) == 1:
            if isinstance(first, np.ndarray):
                return self.array(values, where)
            if isinstance(first, (tuple, list)) and len(set(map(len, values))) == 1:
                return tuple(self.value(each, where) for each in zip(*values, strict=True))
            if isinstance(first, slice):
                parts = zip(*((v.start, v.stop, v.step) for v in values), strict=True)
                return slice(*(self.value(each, where) for each in parts))
            if isinstance(first, np.generic):
                return self.value([v.item() for v in values], where)
            if not isinstance(first, (tuple, list)) and all(v == first or (v != v and first != first) for v in values):
                return first
            if isinstance(first, (int, float)) and not isinstance(first, bool):
                found = followed(values, self.batches)
                if isinstance(found, Dim):
                    return found
        raise OnnxError(f"{where} is {_several(values)} {self.in_runs}; {REMEDY}")

    def array(self, arrays: Sequence[Any], where: str) -> Slot:
        """The Slot of an array that was read: made before, or a constant."""
        places = tuple(map(place_of, arrays))
        if places not in self.slots:
            first = arrays[0]
            shape = self.shape([a.shape for a in arrays], where)
            slot = self.slots[places] = Slot(shape, first.dtype, self.names.get(places[0], ""), tuple(arrays))
            if fixed(shape) and all(_equal(first, a) for a in arrays[1:]):
                slot.array = first
            elif not fixed(shape) and first.size and all(_equal(a, np.full_like(a, first.flat[0])) for a in arrays):
                slot.array = first.reshape(-1)[:1]
            elif len(shape) == 1 and all(_equal(a, np.arange(len(a))) for a in arrays):
                slot.counts = True
        return self.slots[places]


def _several(values: Any) -> str:
    texts = dict.fromkeys(str(v) for v in values)
    return " and ".join(text if len(text) < 60 else f"{text[:57]}..." for text in texts)


def _equal(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
