"""Runs of a model, op by op: what each op read, with which parameters, and what it gave.

An array is known by its place in memory, so that the reader of a value finds its maker whatever Tensor held it. All
arrays of a run stay alive with it: no place is used twice.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ... import memory
from ...declaration import Op
from ...graph import Tensor
from ...scopes import current as current_scope
from ...watching import Watcher
from ..errors import OnnxError

__all__ = ["Run", "Step", "place_of"]


class Step(NamedTuple):
    """One call of an op: its inputs are arrays, numbers or None."""

    op: Op
    inputs: list[Any]
    params: dict[str, Any]
    out: Any
    path: str  # of the module that made it


def place_of(array: Any) -> Any:
    """What an array is known by."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


class Run(Watcher):
    """The steps of one run."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("exporting", default=())

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.alive: list[Any] = []
        self._began: dict[Any, int] = {}  # place -> when its array was first seen

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Keep a call on Tensors."""
        self._keep(op, [_given(a, used) for a, used in zip(args, scope, strict=True)], params, result.array)

    def saw_plain(self, op: Any, args: Sequence[Any], params: Any, out: Any) -> None:
        """Keep a call on arrays."""
        self._keep(op, list(args), params, out)

    def _keep(self, op: Op, inputs: list[Any], params: dict[str, Any], out: Any) -> None:
        scope = current_scope.get()
        step = Step(op, inputs, {**op.defaults, **params}, out, scope.path if scope is not None else "")
        for value in (*inputs, *step.params.values()):
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray):
                    self._read(array, step)
        self._began[place_of(out)] = memory.tick()
        self.alive += [inputs, params, out]
        self.steps.append(step)

    def _read(self, array: Any, step: Step) -> None:
        since = self._began.setdefault(place_of(array), memory.tick())
        self.alive.append(array)
        if (by := memory.changed_since(array, since)) is not None:
            raise OnnxError(
                f"{said(step)} reads an array of shape {array.shape} that {by} has changed in place; ONNX has no "
                "such changes, so compute a new Tensor there"
            )


def said(step: Step) -> str:
    """How errors name a step."""
    return f"export: {step.op.name} in {step.path!r}" if step.path else f"export: {step.op.name}"


def _given(argument: Any, used: Any) -> Any:
    """The caller's array where the op read a copy of it, else what the op read."""
    array = argument.array if isinstance(argument, Tensor) else argument
    same = isinstance(array, np.ndarray) and isinstance(used, np.ndarray) and array.dtype == used.dtype
    return array if same else used
