"""Where a script's numbers come from: the graph keeps only what gradient rules need, so the rest is asked for.

A leaf or a constant is found, in this order, in the model's parameters, among the caller's inputs, in what a block
that watched the forward saw, and in what the rules of the graph keep.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..graph import Node, Outline, Tensor
from ..watching import Watcher


class Seen(Watcher):
    """Keeps, for each Node that is made, the arrays that went in."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("seen", default=())

    def __init__(self) -> None:
        self.inputs: dict[Node, list[Any]] = {}

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Keep what a leaf or a constant held when the op read it; results of ops are computed again by the script."""
        if result.node is not None:
            self.inputs[result.node] = [
                a.copy() if isinstance(a, np.ndarray) and not _is_result(given) else None
                for given, a in zip(args, scope, strict=True)
            ]


def _is_result(given: Any) -> bool:
    return isinstance(given, Tensor) and given.node is not None and given.node.plan is not None


class Values:
    """The arrays of leaves and constants, and what their owners call them."""

    def __init__(self, model: Any, inputs: Mapping[str, Any] | None, seen: Seen) -> None:
        self.seen = seen
        self.named: dict[Any, tuple[str, Tensor]] = {}  # by the Node of a leaf, or the Outline of a constant
        self.results: dict[Node, str] = {}  # what the caller calls a result of an op
        self.arrays: list[tuple[str, Any]] = []  # the caller's, to recognise parameters such as labels by
        for name, parameter in () if model is None else model.named_parameters():
            if parameter.node is not None:
                self.named.setdefault(parameter.node, (name, parameter))
        for name, value in (inputs or {}).items():
            if isinstance(value, Tensor):
                if value.node is not None and value.node.plan is None:
                    self.named.setdefault(value.node, (name, value))
                elif value.node is not None:
                    self.results.setdefault(value.node, name)
                elif hasattr(value, "outline"):
                    self.named.setdefault(value.outline, (name, value))
            self.arrays.append((name, value.array if isinstance(value, Tensor) else np.asarray(value)))

    def of_input(self, node: Node, i: int, key: Any, time: int) -> tuple[str | None, Any]:
        """The name, if it has one, and the array of input i of a Node, a leaf or a constant known by `key`."""
        name, tensor = self.named.get(key, (None, None))
        if (inputs := self.seen.inputs.get(node)) is not None and inputs[i] is not None:
            return name or self._called(inputs[i]), inputs[i]
        if tensor is not None:
            changed = memory.changed_since(tensor.array, time)
            if changed is not None:
                raise RuntimeError(
                    f"to_numpy: {name} was changed in place by {changed} since the forward pass; write the script "
                    "before that, or compute the loss again"
                )
            return name, tensor.array
        found = _saved(node, i)
        return (None if found is None else self._called(found)), found

    def _called(self, array: Any) -> str | None:
        """The caller's name of an array with these values."""
        for name, value in self.arrays:
            if value.shape == array.shape and np.array_equal(value, array, equal_nan=value.dtype.kind == "f"):
                return name
        return None

    def called(self, name: str, array: Any) -> str:
        """The caller's name of an array with these values, or else `name`."""
        return self._called(array) or name


def _saved(node: Node, i: int) -> Any:
    """Input i among what the rules of a Node keep."""
    op = node.plan.op
    for wants, values in zip(node.plan.wants, node.saved or (), strict=False):
        for want, value in zip(wants, values, strict=True):
            if want == op.variadic and isinstance(value, tuple):
                return value[i]
            if not op.variadic and want == op.inputs[i] and value is not None:
                return value
    return None


def key_of_constant(constant: Any) -> Any:
    """What a constant input is known by: its Outline, or nothing for a number."""
    return constant if isinstance(constant, Outline) else None


def forward(loss: Any) -> tuple[Tensor, Seen]:
    """The loss, and what was seen while it was computed, if it is a function."""
    seen = Seen()
    if isinstance(loss, Tensor) or not isinstance(loss, Callable):  # type: ignore[arg-type]
        return loss, seen
    with seen:
        return loss(), seen
