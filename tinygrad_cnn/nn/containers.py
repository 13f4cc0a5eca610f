"""Modules made of other modules, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..graph import Tensor
from .module import Layer, Module


class _Numbered(Module):
    """Modules in order, under the names "0", "1", ... or their own."""

    def _layers(self) -> list[Module]:
        return [value for value in vars(self).values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __getitem__(self, index: int | slice) -> Any:
        """The module at an index, or those of a slice as a container of the same kind, sharing them."""
        layers = self._layers()
        if isinstance(index, slice):
            part = type(self)()
            for name, layer in [(n, m) for n, m in vars(self).items() if isinstance(m, Module)][index]:
                part.add_module(name if isinstance(self, Sequential) else str(len(part)), layer)
            return part
        if not -len(layers) <= index < len(layers):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range, there are {len(layers)} modules")
        return layers[index]

    def append(self, module: Module) -> Self:
        """Put a module at the end; returns self."""
        numbers = [int(name) for name in vars(self) if name.isdecimal()]
        self.add_module(str(max([len(self), *(n + 1 for n in numbers)])), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put modules at the end; returns self."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Numbered, Layer):
    """Modules that run one after the other: Sequential(a, b), or Sequential(OrderedDict(first=a, second=b))."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers():
            x = layer(x)
        return x


class ModuleList(_Numbered):
    """A list of modules that parameters() and state_dict() look into; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class Identity(Layer):
    """x. Takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
