"""What keeps a state_dict from being loaded into a module, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..graph import Tensor
from .parameter import UninitializedParameter, lengths

__all__ = ["differences", "given_array"]


def differences(
    owner: str, ours: Mapping[str, Tensor], found: Mapping[str, Any], unexpected: Iterable[str] | None
) -> list[str]:
    """A line for each of our Tensors that an array of its name does not fit; with `unexpected`, also for missing ones.

    found: the arrays whose names are ours. unexpected: other names; None where only the common names count.
    """
    problems = [line for name, value in found.items() if (line := _difference(name, ours[name], value))]
    if unexpected is not None:
        problems += [f"{name}: missing; {owner} has it as {_kind(ours[name])}" for name in ours if name not in found]
        problems += [f"{name!s}: not in {owner}" for name in unexpected]
    return problems


def given_array(name: str, value: Any) -> Any:
    """The array of a value of a state_dict. Raises TypeError for what is none."""
    if isinstance(value, UninitializedParameter) or not isinstance(value, (Tensor, np.ndarray, np.generic)):
        raise TypeError(f"load_state_dict: {name!r} is a {type(value).__name__}; a Tensor or an ndarray is needed")
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def _difference(name: str, target: Tensor, value: Any) -> str | None:
    """Why `value` cannot be copied into `target`, or None."""
    fits = target.admits(value.shape) if isinstance(target, UninitializedParameter) else target.shape == value.shape
    if not fits or target.dtype != value.dtype:
        return f"{name}: {value.dtype} {value.shape} is given, {_kind(target)} is needed"
    if not target.array.flags.writeable:
        return f"{name}: its memory is read-only"
    return None


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {lengths(tensor)}"
