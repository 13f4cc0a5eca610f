"""The buffers of modules as they were, to be put back when a run should leave no trace."""

from typing import Any

import numpy as np

from .. import memory
from .module import Module

__all__ = ["KeptBuffers"]


class KeptBuffers:
    """Copies of buffers, each from when its module was added first. by: who is said to have changed them back."""

    def __init__(self, by: str) -> None:
        self.by = by
        self._kept: dict[int, tuple[Module, list[tuple[str, Any, Any]]]] = {}

    def add(self, module: Module) -> None:
        """Keep the buffers of a module, without those of the modules in it."""
        if id(module) not in self._kept:
            buffers = module.named_buffers(recurse=False)
            self._kept[id(module)] = module, [(name, buffer, buffer.array.copy()) for name, buffer in buffers]

    def __enter__(self) -> "KeptBuffers":
        return self

    def __exit__(self, *error: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Put back what has changed since."""
        for module, buffers in self._kept.values():
            for name, buffer, values in buffers:
                if not np.array_equal(buffer.array, values, equal_nan=values.dtype.kind == "f"):
                    memory.mark_changed(buffer.array, self.by)
                    buffer.array[...] = values
                if getattr(module, name) is not buffer:
                    setattr(module, name, buffer)
