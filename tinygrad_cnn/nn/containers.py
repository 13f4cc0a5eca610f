"""Modules made of other modules, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from ..graph import Tensor
from ..shapes import is_int
from .module import Layer, Module

Part = TypeVar("Part")


class _Container(Module):
    """Attributes of one kind, modules unless a class says otherwise, by name."""

    _kind: type = Module

    def _parts(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, self._kind)}

    def _put(self, name: str, part: Any) -> None:
        self.add_module(name, part)

    def _known(self, name: str) -> str:
        """The name of a part. Raises KeyError if there is none."""
        if name not in (parts := self._parts()):
            raise KeyError(
                f"{type(self).__name__}: there is no {name!r}; there is {', '.join(map(repr, parts)) or 'nothing'}"
            )
        return name

    def __len__(self) -> int:
        return len(self._parts())


class Numbered(_Container):
    """Modules or Parameters in order, under the names "0", "1", ... or their own."""

    def _empty(self) -> Any:
        """A container of this class, or of the one in front of Numbered where an __init__ of its own may fill it."""
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, Numbered)]
        return (kinds[0] if kinds[0].__init__ is kinds[-2].__init__ else kinds[-2])()

    def _arrange(self, parts: Iterable[tuple[str, Any]]) -> None:
        """Hold these parts, in this order: numbers as names follow the order, other names stay."""
        wanted = [(str(i) if name.isdecimal() else name, part) for i, (name, part) in enumerate(parts)]
        for name in self._parts():
            delattr(self, name)
        for name, part in wanted:
            self._put(name, part)

    def _checked(self, part: Any) -> Any:
        """A part as it is held. Raises TypeError for what cannot be one."""
        if not isinstance(part, Module):
            raise TypeError(f"{type(self).__name__}: a {type(part).__name__} was given; a Module is needed")
        return part

    def _name(self, index: Any) -> str:
        """The name of the part at an index, or the name itself."""
        parts, kind = self._parts(), type(self).__name__
        if isinstance(index, str):
            return self._known(index)
        if not is_int(index):
            raise TypeError(f"{kind}: the index is a {type(index).__name__}; an integer, a slice or a name is needed")
        if not -len(parts) <= index < len(parts):
            word = "modules" if self._kind is Module else "parameters"
            raise IndexError(f"{kind}: index {index} is out of range, there are {len(parts)} {word}")
        names = list(parts)
        return names[int(index)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts().values())

    def __contains__(self, part: object) -> bool:
        return any(part is own for own in self)

    def __getitem__(self, index: int | str | slice) -> Any:
        """The part at an index or under a name, or those of a slice as a container of the same kind, sharing them.

        The slice of a class with an __init__ of its own is a plain Sequential, ModuleList or ParameterList.
        """
        if not isinstance(index, slice):
            return vars(self)[self._name(index)]
        found = self._empty()
        for name, part in list(self._parts().items())[index]:
            found._put(name if isinstance(self, Sequential) else str(len(found)), part)
        return found

    def __setitem__(self, index: int | str, part: Any) -> None:
        """Put a part in the place of another."""
        setattr(self, self._name(index), self._checked(part))

    def __delitem__(self, index: int | str | slice) -> None:
        """Take parts out; the numbers behind them close up, other names stay."""
        parts = list(self._parts().items())
        gone = [name for name, _ in parts[index]] if isinstance(index, slice) else [self._name(index)]
        self._arrange([(name, part) for name, part in parts if name not in gone])

    def insert(self, index: int, part: Any) -> Self:
        """Put a part before an index, as list.insert does; the numbers behind it move up. Returns self."""
        if not is_int(index):
            raise TypeError(f"{type(self).__name__}: the index is a {type(index).__name__}; an integer is needed")
        parts = list(self._parts().items())
        parts.insert(index, ("0", self._checked(part)))
        self._arrange(parts)
        return self

    def pop(self, index: int | str = -1) -> Any:
        """Take a part out and return it."""
        part = self[self._name(index)]
        del self[index]
        return part

    def append(self, part: Any) -> Self:
        """Put a part at the end; returns self."""
        numbers = [int(name) for name in vars(self) if name.isdecimal()]
        self._put(str(max([len(self), *(n + 1 for n in numbers)])), part)
        return self

    def extend(self, parts: Iterable[Any]) -> Self:
        """Put parts at the end, all or none; returns self."""
        for part in [self._checked(part) for part in parts]:
            self.append(part)
        return self

    def __iadd__(self, parts: Iterable[Any]) -> Self:
        return self.extend(parts)

    def __add__(self, parts: Iterable[Any]) -> Self:
        """Both one after the other, as a new container that shares them, numbered from 0; its class as for a slice."""
        if not isinstance(parts, Iterable):
            return NotImplemented
        both: Self = self._empty().extend(self).extend(parts)
        return both


class Sequential(Numbered, Layer):
    """Modules that run one after the other: Sequential(a, b), or Sequential(OrderedDict(first=a, second=b))."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for module in modules:
                self.append(module)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._parts().values():
            x = layer(x)
        return x


class ModuleList(Numbered):
    """A list of modules that parameters() and state_dict() look into; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)


class Named(_Container, Generic[Part]):
    """Modules or Parameters by name."""

    def _checked(self, name: str, part: Any) -> Any:
        """A part as it is held. Raises TypeError for what cannot be one."""
        if not isinstance(part, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} is a {type(part).__name__}; a Module is needed")
        return part

    def __getitem__(self, name: str) -> Part:
        part: Part = self._parts()[self._known(name)]
        return part

    def __setitem__(self, name: str, part: Any) -> None:
        self._put(name, self._checked(name, part))

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts())

    def __contains__(self, name: object) -> bool:
        return name in self._parts()

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parts().keys()

    def values(self) -> Iterable[Part]:
        """The parts."""
        return self._parts().values()

    def items(self) -> Iterable[tuple[str, Part]]:
        """(name, part), ..."""
        return self._parts().items()

    def pop(self, name: str) -> Part:
        """Take a part out and return it."""
        part = self[name]
        delattr(self, name)
        return part

    def clear(self) -> None:
        """Take all parts out."""
        for name in self._parts():
            delattr(self, name)

    def update(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parts, or put them in the place of those of the same names: all or none."""
        new = {name: self._checked(name, part) for name, part in dict(parts).items()}
        for name in new:
            self._check_free(name, type(self).__name__)
        for name, part in new.items():
            self._put(name, part)


class ModuleDict(Named[Module]):
    """Modules by name that parameters() and state_dict() look into; it has no forward of its own.

    A name is a string without dots that is no method of this class.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)


class Identity(Layer):
    """x. Takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
