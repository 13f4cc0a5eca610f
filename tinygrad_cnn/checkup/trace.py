"""What a model did with a batch: each op with its arrays, its module and its line, and what came from what."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import memory
from ..graph import Array, Tensor
from ..records import line_of_call
from ..scopes import current as current_scope
from ..watching import Watcher

_SAME_VALUES = ("reshape", "cast", "clone", "permute")  # ops that only move what they are given


@dataclass(frozen=True, slots=True)
class Step:
    """An op that ran. inputs: as it was given them. arrays: those of the inputs. is_loss: after the model."""

    name: str
    inputs: tuple[Any, ...]
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    result: Tensor
    path: str
    kind: str
    line: tuple[str, int] | None
    is_loss: bool

    @property
    def out(self) -> Array:
        """What it computed."""
        return self.result.array

    @property
    def x(self) -> Array:
        """Its first input."""
        array: Array = self.arrays[0]
        return array

    @property
    def where(self) -> str:
        """features.0 (Conv2d), conv2d, net.py:12"""
        module = f"{self.path} ({self.kind})" if self.path else self.kind
        line = f"{self.line[0]}:{self.line[1]}" if self.line else ""
        return ", ".join(filter(None, [module, self.name, line]))


class Trace(Watcher):
    """The steps of a block in order. It keeps every Tensor alive, so that none is taken for another."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("tracing", default=())

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.is_loss = False
        self._made: dict[int, Step] = {}

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Keep an op."""
        place = current_scope.get()
        path, kind = place.chain[-1] if place is not None else ("", "")
        kept = {name: memory.freeze(value) for name, value in params.items()}
        step = Step(op.name, tuple(args), tuple(scope), kept, result, path, kind, line_of_call(), self.is_loss)
        self.steps.append(step)
        self._made[id(result)] = step

    def maker(self, tensor: Any) -> Step | None:
        """The step that computed a Tensor, behind those that only reshape or cast; None if no op did."""
        step = self._made.get(id(tensor))
        while step is not None and step.name in _SAME_VALUES:
            step = self._made.get(id(step.inputs[0]))
        return step

    def named(self, *names: str) -> list[Step]:
        """The steps of these ops, the loss's included."""
        return [step for step in self.steps if step.name in names]

    def of_model(self, *names: str) -> list[Step]:
        """The steps of these ops inside the model."""
        return [step for step in self.named(*names) if not step.is_loss]
