"""What gradients are where there is no one derivative: at ties and kinks. Frameworks choose differently.

A convention is the default of an op's parameter (`ties`, `at_zero`, `at_bounds`). It is looked up when the op is
called and recorded with it, so a backward after the block follows what held when the value was computed. The formulas
that pictures print are those of the defaults.
"""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Any, Self

__all__ = ["conventions", "get_conventions"]

_TIES = ("first", "last", "split")
# convention: (the ops and the parameter whose default it is, the default, the values that can be chosen)
_KINDS: dict[str, tuple[tuple[str, ...], str, Any, tuple[Any, ...]]] = {
    "max_pool_ties": (("max_pool2d",), "ties", "first", _TIES),
    "max_ties": (("amax", "amin"), "ties", "split", _TIES),
    "maximum_ties": (("maximum", "minimum"), "ties", "split", _TIES),
    "abs_at_zero": (("abs",), "at_zero", 0.0, (-1.0, 0.0, 1.0)),
    "clip_at_bounds": (("clip",), "at_bounds", 1.0, (0.0, 0.5, 1.0)),
    "norm_at_zero": (("power_norm",), "at_zero", 0.0, (0.0, float("nan"))),
}
PRESETS: dict[str, dict[str, Any]] = {
    "tinygrad_cnn": {name: default for name, (_, _, default, _) in _KINDS.items()},
    "torch": {},
    "jax": {"abs_at_zero": 1.0, "clip_at_bounds": 0.5, "norm_at_zero": float("nan")},
    "tinygrad": {"max_pool_ties": "split"},
}

active: list["conventions"] = []  # the running blocks of every thread: ops ask no further while there are none
_lock = threading.Lock()
_chosen: ContextVar[Mapping[str, Any]] = ContextVar("conventions", default=MappingProxyType({}))
_NONE: dict[str, Any] = {}


class conventions:
    """Compute with another framework's gradients at ties and kinks: `with tg.conventions("jax"):` around the forward.

    preset: 'tinygrad_cnn' (the defaults), 'torch' (the same), 'jax' or 'tinygrad', as measured; None keeps what holds.
    Single conventions are given by name, on top of it:

    max_pool_ties: of equal cells in a window of max_pool2d the 'first', the 'last' or all of them ('split', evenly)
        take the gradient. max_ties: the same of max() and min() of all elements, amax, amin. maximum_ties: of x and y.
    abs_at_zero: the slope -1, 0 or 1 of abs at 0. clip_at_bounds: the slope 0, 0.5 or 1 of clip at both bounds.
    norm_at_zero: the gradient of norm at x = 0, 0 or nan.

        >>> import tinygrad_cnn as tg
        >>> x = tg.tensor([0.0], requires_grad=True)
        >>> with tg.conventions("jax"):
        ...     y = x.abs()
        >>> y.backward()
        >>> x.grad.tolist()
        [1.0]

    Blocks nest, and hold for this thread or task. An argument of the op goes before a convention: max_pool2d(ties=...).
    Raises ValueError for an unknown preset or value, TypeError for an unknown name.
    """

    def __init__(self, preset: str | None = None, **chosen: Any) -> None:
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"conventions: preset={preset!r}; it can be {', '.join(map(repr, PRESETS))}")
        for name, value in chosen.items():
            if name not in _KINDS:
                raise TypeError(f"conventions: there is none named {name!r}; there are {', '.join(_KINDS)}")
            values = _KINDS[name][3]
            if not any(type(value) in (type(v), int) and (value == v or value != value != v != v) for v in values):
                raise ValueError(f"conventions: {name}={value!r}; it can be {', '.join(map(repr, values))}")
        base = {} if preset is None else PRESETS["tinygrad_cnn"] | PRESETS[preset]
        self._chosen = base | {
            name: value if isinstance(value, str) else float(value) for name, value in chosen.items()
        }
        self._tokens: list[Token[Mapping[str, Any]]] = []

    def __enter__(self) -> Self:
        with _lock:
            active.append(self)
        self._tokens.append(_chosen.set({**_chosen.get(), **self._chosen}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _chosen.reset(self._tokens.pop())
        with _lock:
            active.remove(self)


def held() -> AbstractContextManager[object]:
    """A block in which ops ask for the conventions of this context, which may have been those of a block that ended."""
    return conventions() if _chosen.get() else nullcontext()


def get_conventions() -> dict[str, Any]:
    """Every convention and the value that holds here and now."""
    return {name: _chosen.get().get(name, default) for name, (_, _, default, _) in _KINDS.items()}


def defaults_of(op: str) -> dict[str, Any]:
    """The parameters of an op whose defaults are chosen here and now."""
    chosen = _chosen.get()
    if not chosen:
        return _NONE
    return {param: chosen[name] for name, (ops, param, _, _) in _KINDS.items() if op in ops and name in chosen}
