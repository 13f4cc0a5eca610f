"""Hooks of a Module: functions that are called before and after its forward, and before and after its backward.

While no module of the process has had a hook, a call of a module only looks at `registered`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..graph import Hook, Tensor
from ..modes import recording
from ..ops.layout import cast, concat, reshape
from ..scopes import current as _scope

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Gradients = tuple[Tensor | None, ...]

registered: list[bool] = []  # empty until the first hook of the process


class _Entry(NamedTuple):
    hook: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False

    @property
    def name(self) -> str:
        return getattr(self.hook, "__qualname__", None) or repr(self.hook)


@dataclass
class Hooks:
    """The hooks of one module, each kind in the order in which they run."""

    forward_pre: dict[int, _Entry] = field(default_factory=dict)
    forward: dict[int, _Entry] = field(default_factory=dict)
    backward_pre: dict[int, _Entry] = field(default_factory=dict)
    backward: dict[int, _Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        registered[:] = [True]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the hooks of a copy, or of a pickle from another process."""
        vars(self).update(state)
        registered[:] = [True]


class Hooked:
    """The part of Module that takes hooks. Each method returns a handle: `remove()` takes the hook out, as does the end
    of a `with` block. With `prepend` a hook runs before those that are there already.
    """

    _hooks: Hooks | None = None

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Call `hook(module, args)` before every forward; a result replaces the positional arguments.

        The result is a tuple, or one value for one argument. With `with_kwargs` the call is
        `hook(module, args, kwargs)` and the result a pair (args, kwargs).
        """
        return self._register("forward_pre", _Entry(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Hook:
        """Call `hook(module, args, output)` after every forward; a result that is not None replaces the output.

        With `with_kwargs` the call is `hook(module, args, kwargs, output)`. With `always_call` it also comes when the
        forward or an earlier hook raises, then with the output so far, None before there is one; its result is dropped.
        """
        return self._register("forward", _Entry(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Hook:
        """Call `hook(module, grad_output)` when a backward has the gradients of the outputs; a result replaces them.

        grad_output, like the result, is a tuple with one entry for each output, None where no gradient flows. The
        outputs must be a Tensor, or a tuple or list that holds Tensors.
        """
        return self._register("backward_pre", _Entry(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Hook:
        """Call `hook(module, grad_input, grad_output)` when a backward has the gradients of the inputs.

        grad_input has one entry for each positional argument, None where no gradient flows; a result replaces it. These
        are the gradients through this module alone, though an input may be used elsewhere too. Where no input requires
        grad the hook is called with the outputs' gradients, and must return None.
        """
        return self._register("backward", _Entry(hook), prepend)

    def _register(self, kind: str, entry: _Entry, prepend: bool) -> Hook:
        if not callable(entry.hook):
            raise TypeError(
                f"register_{'full_' * ('backward' in kind)}{kind}_hook: the hook is a {type(entry.hook).__name__}; "
                "a function is needed"
            )
        if self._hooks is None:
            self._hooks = Hooks()
        hooks: dict[int, Any] = getattr(self._hooks, kind)
        handle = Hook(hooks, entry)
        if prepend:
            for key in list(hooks)[:-1]:
                hooks[key] = hooks.pop(key)
        return handle


def call_hooked(module: Any, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The module's forward between its hooks."""
    called: set[int] = set()
    output = None
    try:
        for entry in list(hooks.forward_pre.values()):
            args, kwargs = _before(module, entry, args, kwargs)
        gate = None
        if (hooks.backward or hooks.backward_pre) and recording.get():
            gate = _Gate(module, hooks)
            args = gate.enter(args)
        output = module.forward(*args, **kwargs)
        for key, entry in list(hooks.forward.items()):
            called.add(key)
            found = _run(entry, "forward hook", module, args, *([kwargs] if entry.with_kwargs else []), output)
            output = output if found is None else found
        return output if gate is None else gate.leave(output)
    except Exception as error:
        for key, entry in list(hooks.forward.items()):
            if entry.always_call and key not in called:
                try:
                    entry.hook(module, args, *([kwargs] if entry.with_kwargs else []), output)
                except Exception as another:
                    error.add_note(f"the forward hook {entry.name}, which is always called, failed too: {another!r}")
        raise


def _before(module: Any, entry: _Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The arguments after a forward pre-hook."""
    if not entry.with_kwargs:
        found = _run(entry, "forward pre-hook", module, args)
        return (args if found is None else found if isinstance(found, tuple) else (found,)), kwargs
    found = _run(entry, "forward pre-hook", module, args, kwargs)
    if found is None:
        return args, kwargs
    if not (isinstance(found, tuple) and [type(part) for part in found] == [tuple, dict]):
        raise TypeError(
            f"forward pre-hook {entry.name}: it returned a {type(found).__name__}; with with_kwargs=True None or a "
            "pair (args, kwargs) of a tuple and a dict is needed"
        )
    return found


def _run(entry: _Entry, what: str, *args: Any) -> Any:
    try:
        return entry.hook(*args)
    except Exception as error:
        error.add_note(f"in the {what} {entry.name}")
        raise


class _Gate:
    """The border around one call of a module: every gradient passes one Node on its way in and one on its way out."""

    def __init__(self, module: Any, hooks: Hooks) -> None:
        self.module, self.hooks = module, hooks
        scope = _scope.get()
        path, kind = scope.chain[-1] if scope is not None else ("", type(module).__name__)
        self.where = f"{path} ({kind})" if path else kind
        self.inputs: list[int] = []  # the positional arguments that require grad
        self.n_inputs = 0
        self.grad_output: Gradients | None = None  # between the two Nodes

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, as seen from inside."""
        self.inputs, self.n_inputs = _flowing(args), len(args)
        return _passed(args, self.inputs, self._leaves) if self.hooks.backward else args

    def leave(self, output: Any) -> Any:
        """The output, as seen from outside."""
        if not isinstance(output, (Tensor, tuple, list)):
            raise TypeError(
                f"backward hooks: the output of {self.where} is a {type(output).__name__}; a Tensor, or a tuple or "
                "list of Tensors is needed; return one, or hook the Tensors themselves with register_hook"
            )
        outputs = (output,) if isinstance(output, Tensor) else tuple(output)
        flowing = _flowing(outputs)
        found = _passed(outputs, flowing, lambda grads: self._arrives(_spread(grads, flowing, len(outputs)), flowing))
        if isinstance(output, Tensor):
            return found[0]
        return type(output)(*found) if hasattr(output, "_fields") else type(output)(found)

    def _arrives(self, grads: Gradients, flowing: list[int]) -> Gradients:
        """The gradients of the outputs, which a backward has brought, as the module's own backward is to get them."""
        for entry in list(self.hooks.backward_pre.values()):
            grads = self._replaced(entry, "backward pre-hook", grads, grads)
        if self.inputs:
            self.grad_output = grads
        else:
            nothing: Gradients = (None,) * self.n_inputs
            for entry in list(self.hooks.backward.values()):
                self._replaced(entry, "backward hook", nothing, nothing, grads)
        return tuple(grads[i] for i in flowing)

    def _leaves(self, grads: Gradients) -> Gradients | None:
        """The gradients of the inputs, as what lies before the module is to get them."""
        if self.grad_output is None:  # a backward that started inside the module
            return None
        found = _spread(grads, self.inputs, self.n_inputs)
        for entry in list(self.hooks.backward.values()):
            found = self._replaced(entry, "backward hook", found, found, self.grad_output)
        self.grad_output = None
        return tuple(found[i] for i in self.inputs)

    def _replaced(self, entry: _Entry, what: str, old: Gradients, *args: Any) -> Gradients:
        """The gradients after a hook, which may replace each by one of the same shape and dtype."""
        try:
            found = entry.hook(self.module, *args)
            if found is None:
                return old
            found = found if isinstance(found, tuple) else (found,)
            if len(found) != len(old):
                raise ValueError(f"{what} {entry.name}: it returned {len(found)} gradients; {len(old)} are needed")
            for i, (new, g) in enumerate(zip(found, old, strict=True)):
                if (new is None) != (g is None) or not isinstance(new, Tensor | None):
                    needed = "None, as no gradient flows there," if g is None else "a Tensor"
                    raise TypeError(
                        f"{what} {entry.name}: gradient {i} of those it returned is {_kind(new)}; {needed} is needed"
                    )
                if new is not None and g is not None and (new.shape != g.shape or new.dtype != g.dtype):
                    raise ValueError(
                        f"{what} {entry.name}: gradient {i} of those it returned is {_kind(new)}; {_kind(g)} is needed"
                    )
        except Exception as error:
            error.add_note(f"in the {what} {entry.name} of {self.where}")
            raise
        return found


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"


def _flowing(values: Sequence[Any]) -> list[int]:
    return [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]


def _spread(grads: Gradients, places: Sequence[int], length: int) -> Gradients:
    """The gradients at their places among `length` values, None elsewhere."""
    by_place = dict(zip(places, grads, strict=True))
    return tuple(by_place.get(i) for i in range(length))


def _passed(
    values: tuple[Any, ...], flowing: list[int], meet: Callable[[Gradients], Gradients | None]
) -> tuple[Any, ...]:
    """The values behind one Node that all gradients of the `flowing` ones pass at once, which calls meet(gradients).

    Several are joined into one vector, as a Node has one output, and cut out of it again; a gradient that does not come
    is None.
    """
    if not flowing:
        return values
    given = [values[i] for i in flowing]
    if len(given) == 1:
        parts = [joined := reshape(given[0], given[0].shape)]
    else:
        joined = concat([reshape(t, (-1,)) for t in given])
        parts = _cut(joined, given)
    came: set[int] = set()  # of the parts, in the backward that is under way

    def hook(g: Tensor) -> Tensor | None:
        if len(given) == 1:
            found = meet((g,))
            return None if found is None else found[0]
        there, old = set(came), _cut(g, given)
        came.clear()
        found = meet(tuple(part if k in there else None for k, part in enumerate(old)))
        if found is None:
            return None
        new = [part if part is not None else zero for part, zero in zip(found, old, strict=True)]
        return concat([reshape(part, (-1,)) for part in new])

    for k, part in enumerate(parts if len(parts) > 1 else ()):
        part.register_hook(partial(_mark, came, k))
    joined.register_hook(hook)
    by_place = dict(zip(flowing, parts, strict=True))
    return tuple(by_place.get(i, value) for i, value in enumerate(values))


def is_of_module(hook: Any) -> bool:
    """Whether a hook at a Node stands there for the backward hooks of a module."""
    return getattr(getattr(hook, "func", hook), "__module__", None) == __name__


def _mark(came: set[int], k: int, g: Tensor) -> None:
    came.add(k)


def _cut(joined: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    ends = np.cumsum([t.array.size for t in like]).tolist()
    spans = zip(like, [0, *ends], ends, strict=False)
    return [cast(reshape(joined[begin:end], t.shape), t.dtype) for t, begin, end in spans]
