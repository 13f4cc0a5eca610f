"""Parameters in order and by name, as modules: ParameterList and ParameterDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..graph import Tensor
from .containers import Named, Numbered
from .parameter import Parameter


def _parameter(owner: str, name: Any, value: Any) -> Parameter:
    """A Parameter as it is, a Tensor as a Parameter with a copy of its values."""
    if isinstance(value, Parameter):
        return value
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner}: {name!r} is a {type(value).__name__}; a Parameter or a Tensor is needed")
    return Parameter(value)


class ParameterList(Numbered):
    """A list of Parameters that parameters() and state_dict() look into, under "0", "1", ...

    Tensors become Parameters; nothing else is taken, where PyTorch's also keeps other values.
    """

    _kind = Parameter

    def __init__(self, values: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.extend(values)

    def _put(self, name: str, part: Any) -> None:
        self.register_parameter(name, self._checked(part))

    def _checked(self, part: Any) -> Parameter:
        return _parameter("ParameterList", len(self), part)

    def extra_repr(self) -> str:
        return "\n".join(f"({name}): {_line(p)}" for name, p in self._parts().items())


class ParameterDict(Named[Parameter]):
    """Parameters by name that parameters() and state_dict() look into; Tensors become Parameters.

    A name is a string without dots that is no method of this class.
    """

    _kind = Parameter

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> None:
        super().__init__()
        self.update(parameters)

    def _put(self, name: str, part: Any) -> None:
        self.register_parameter(name, part)

    def _checked(self, name: str, part: Any) -> Parameter:
        return _parameter("ParameterDict", name, part)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._parts())

    def __or__(self, other: Any) -> ParameterDict:
        """Both, as a new ParameterDict that shares the Parameters; `other` has the last word."""
        return ParameterDict({**self._parts(), **dict(other)}) if isinstance(other, ParameterDict) else NotImplemented

    def get(self, name: str, default: Any = None) -> Any:
        """The Parameter of a name, or `default`."""
        return self._parts().get(name, default)

    def setdefault(self, name: str, default: Tensor) -> Parameter:
        """The Parameter of a name, which is `default` where there was none."""
        if name not in self:
            self[name] = default
        return self[name]

    def popitem(self) -> tuple[str, Parameter]:
        """Take the last Parameter out and return (name, Parameter)."""
        if not len(self):
            raise KeyError("ParameterDict: popitem of an empty one")
        name = list(self._parts())[-1]
        return name, self.pop(name)

    def copy(self) -> ParameterDict:
        """Another ParameterDict of the same Parameters."""
        return ParameterDict(self._parts())

    def fromkeys(self, names: Iterable[str], default: Tensor) -> ParameterDict:
        """Another ParameterDict with `default` under each name."""
        return ParameterDict(dict.fromkeys(names, default))

    def extra_repr(self) -> str:
        """A line for each Parameter."""
        return "\n".join(f"({name}): {_line(p)}" for name, p in self._parts().items())


def _line(parameter: Parameter) -> str:
    return f"Parameter containing: [{parameter.dtype} of size {'x'.join(map(str, parameter.shape))}]"
