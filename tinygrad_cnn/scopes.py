"""Which module an op was recorded in: what diagrams group by.

A running module is the current Scope; every recorded Node keeps it. Scopes hold no module alive, and a module that
is called again gets the Scope it had.
"""

import weakref
from contextvars import ContextVar
from typing import Any


class Scope:
    """A place in a tree of modules: (path, class) of every running module, the outermost first."""

    __slots__ = ("_inner", "_module", "_names", "chain")

    def __init__(self, chain: tuple[tuple[str, str], ...], module: Any) -> None:
        self.chain = chain
        self._module = weakref.ref(module)
        self._inner: dict[int, Scope] = {}  # never back to the outer one: that would close a cycle
        self._names: dict[int, str] = {}  # of the modules below at the last walk, by id

    @property
    def path(self) -> str:
        """The innermost module's path from the outermost one, "" for that itself."""
        return self.chain[-1][0]

    @property
    def module(self) -> Any:
        """The innermost module, None if it is gone."""
        return self._module()

    def inner(self, module: Any) -> "Scope":
        """The Scope of a module that is called inside this one."""
        found = self._inner.get(id(module))
        if found is None or found._module() is not module:
            outer = self._module()
            name = type(module).__name__ if outer is None else self._name_of(module, outer)
            path = f"{self.path}.{name}" if self.path and name else self.path or name
            found = self._inner[id(module)] = Scope((*self.chain, (path, type(module).__name__)), module)
        return found

    def _name_of(self, module: Any, outer: Any) -> str:
        """The module's path in the outer one, else its class. One walk serves all modules that stay where they are."""
        name = self._names.get(id(module))
        if name is None or _at(outer, name) is not module:
            self._names = {id(part): path for path, part in outer.named_modules()}
            name = self._names.get(id(module), type(module).__name__)
        return name

    def __repr__(self) -> str:
        return f"Scope({self.chain})"


def _at(module: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module


current: ContextVar[Scope | None] = ContextVar("scope", default=None)
_outermost: "weakref.WeakKeyDictionary[Any, Scope]" = weakref.WeakKeyDictionary()


def outermost_of(module: Any) -> Scope | None:
    """The Scope that a module has had when it was called outside every other module, if it was."""
    return _outermost.get(module)


def scope_of(module: Any) -> Scope:
    """The Scope of a module that is being called here and now."""
    outer = current.get()
    if outer is not None:
        return outer.inner(module)
    found = _outermost.get(module)
    if found is None:
        found = _outermost[module] = Scope((("", type(module).__name__),), module)
    return found
