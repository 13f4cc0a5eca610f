"""Modules as functions of their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import Tensor
from ..nn.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other Tensors in place of its parameters and buffers, by the names of `state_dict`.

    Gradients flow to the Tensors given, and the module is as before, also when it raises. What is not given stays the
    module's own, and running statistics move in place where they are: give copies of the buffers to keep the module's.

    args: a tuple, or the only argument. tie_weights: what the module has under two names is replaced under both.
    strict: every parameter and buffer must be given.

    Not for two threads with one module. Raises ValueError for a name that the module does not have or that is given
    twice, for another shape, and TypeError for what is no Tensor; nothing is run then.
    """
    name = "functional_call"
    if not isinstance(module, Module):
        raise TypeError(f"{name}: module is a {type(module).__name__}; an nn.Module is needed")
    given = _merged(name, parameter_and_buffer_dicts)
    places: dict[str, tuple[Module, str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        own = [key for key, _ in part.named_parameters(recurse=False, remove_duplicate=False)]
        for key in [*own, *(key for key in part._buffers if vars(part)[key] is not None)]:
            places[f"{path}.{key}" if path else key] = part, key
    if unknown := [key for key in given if key not in places]:
        raise ValueError(f"{name}: {type(module).__name__} has no {', '.join(unknown)}; it has {', '.join(places)}")
    if strict and (missing := [key for key in places if key not in given]):
        raise ValueError(f"{name}: {', '.join(missing)} not given; strict needs all")
    swaps: dict[tuple[int, str], tuple[Module, str, Tensor]] = {}
    replaced: dict[int, tuple[str, Tensor]] = {}
    for key, value in given.items():
        part, attribute = places[key]
        old = vars(part)[attribute]
        if old.shape != value.shape:
            raise ValueError(f"{name}: {key} is given with shape {value.shape}; {old.shape} is needed")
        first, other = replaced.setdefault(id(old), (key, value))
        if tie_weights and other is not value:
            raise ValueError(
                f"{name}: {first} and {key} are one Tensor in {type(module).__name__} and are given as two; give one "
                "of them, or tie_weights=False"
            )
        swaps[id(part), attribute] = part, attribute, value
    if tie_weights:
        for part, attribute in places.values():
            if (tied := replaced.get(id(vars(part)[attribute]))) is not None:
                swaps[id(part), attribute] = part, attribute, tied[1]
    before = [(part, attribute, vars(part)[attribute]) for part, attribute, _ in swaps.values()]
    try:
        for part, attribute, value in swaps.values():
            vars(part)[attribute] = value
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for part, attribute, value in before:
            vars(part)[attribute] = value


def _merged(name: str, dicts: Any) -> dict[str, Tensor]:
    merged: dict[str, Tensor] = {}
    for part in [dicts] if isinstance(dicts, Mapping) else dicts:
        if not isinstance(part, Mapping):
            raise TypeError(
                f"{name}: a {type(part).__name__} was given; a dict of name -> Tensor is needed, or several"
            )
        for key, value in part.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}: {key} is a {type(value).__name__}; a Tensor is needed")
            if key in merged:
                raise ValueError(f"{name}: {key} is given in two dicts")
            merged[key] = value
    return merged
