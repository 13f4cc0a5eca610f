"""Every number that an example promises: `check` compares it and prints it, `refused` does so for an error."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_cnn as tg

__all__ = ["check", "refused", "say"]


def say(text: str) -> None:
    """A sentence between the numbers."""
    print(f"\n{text}")


def check(what: str, got: Any, wanted: Any, within: float = 0.0) -> None:
    """Print "ok  what: got" if `got` has the shape and the numbers of `wanted`, or nearly so; else end the program."""
    found, target = _array(got), _array(wanted)
    if found.shape != target.shape:
        raise SystemExit(f"WRONG  {what}: the shape is {found.shape}, {target.shape} was promised")
    same = np.abs(found - target) <= within if within else found == target
    if not np.all(same):
        raise SystemExit(f"WRONG  {what}: got {_text(found)}, promised was {_text(target)}")
    print(f"ok  {what}: {_text(found)}")


def refused(what: str, kind: type[Exception], call: Callable[[], Any], *words: str) -> None:
    """Print "ok  what: message" if `call` raises a `kind` whose message has all `words`; else end the program."""
    try:
        result = call()
    except kind as error:
        if missing := [word for word in words if word not in str(error)]:
            raise SystemExit(f"WRONG  {what}: {error}, which does not say {', '.join(missing)}") from error
        print(f"ok  {what}: {kind.__name__}: {error}")
        return
    raise SystemExit(f"WRONG  {what}: a {kind.__name__} was promised, but the result is {result}")


def _array(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value)


def _text(a: np.ndarray) -> str:
    """Up to 16 numbers in a line, else only how many there are."""
    if a.dtype.kind == "f" and a.ndim == 0:
        return f"{a:.6g}"
    if a.dtype.kind in "US" or a.ndim == 0:
        return str(a)
    if a.size > 16:
        return f"all {a.size} numbers of {' x '.join(map(str, a.shape))}"
    rounded = a.round(4) + 0.0 if a.dtype.kind == "f" else a  # + 0.0: no minus zero
    return " ".join(np.array2string(rounded, separator=" ", max_line_width=1000).split())
