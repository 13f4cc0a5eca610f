"""The buffers of modules as they were, to be put back when a run should leave no trace."""

from contextvars import ContextVar
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..graph import Array, Tensor
from ..scopes import Scope
from ..watching import Watcher
from .module import Module

__all__ = ["KeptBuffers"]


class KeptBuffers(Watcher):
    """A block after which the buffers of all modules that ran in it are what they were.

    Without the block: of the modules that are added, when asked to. by: who is said to have changed them back.
    """

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("keeping buffers", default=())

    def __init__(self, by: str) -> None:
        self.by = by
        self._kept: dict[int, tuple[Module, list[tuple[str, Tensor, Array, Array]]]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.restore()

    def saw_module(self, scope: Scope) -> None:
        """Keep the buffers of a module that is about to run."""
        self.add(scope.module)

    def add(self, module: Module) -> None:
        """Keep the buffers of a module as they are now, without those of the modules in it; the first time counts."""
        if id(module) not in self._kept:
            buffers = module.named_buffers(recurse=False)
            kept = [(name, buffer, buffer.array, buffer.array.copy()) for name, buffer in buffers]
            self._kept[id(module)] = module, kept

    def restore(self) -> None:
        """Put back what has changed since."""
        for module, buffers in self._kept.values():
            for name, buffer, array, values in buffers:
                buffer.array = array  # what has taken its place since may be others' memory, and of another shape
                if not np.array_equal(array, values, equal_nan=values.dtype.kind == "f"):
                    memory.mark_changed(array, self.by)
                    array[...] = values
                if getattr(module, name) is not buffer:
                    setattr(module, name, buffer)
