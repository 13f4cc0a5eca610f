"""The first difference between two lists of steps, and what it looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np

__all__ = ["Diff", "Difference"]

_FLOOR = 0.01  # of the largest number of a kind: smaller arrays are compared on its scale
_CLOSE = {2: 1e-2, 4: 1e-4, 8: 1e-9}  # by the bytes of a float
_EXACT = 2.0**53  # from here on, float64 does not hold every integer


@dataclass(frozen=True)
class Difference:
    """Two arrays of one step that are not the same.

    error: the largest |a - b|, by the largest finite number in them or, if that is more, by 1/100 of the largest in all
    arrays of the kind: the gradient of a bias before a batch normalization is nothing but rounding. inf where only one
    is nan or infinite, or the shapes differ; 0 where zeros have other signs. index: where that is. looks_like: what the
    first one seems to be, or "".
    """

    kind: str
    name: str
    op: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtypes: tuple[str, str]
    error: float
    index: tuple[int, ...] | None
    values: tuple[int | float, int | float] | None
    looks_like: str

    def __str__(self) -> str:
        what = {"value": "", "gradient": "the gradient of ", "parameter gradient": "the gradient of the parameter "}
        text = f"{what[self.kind]}{self.name or 'the whole model'}{f' ({self.op})' if self.op else ''}"
        if self.shapes[0] != self.shapes[1]:
            text += f": shapes {self.shapes[0]} and {self.shapes[1]}"
        else:
            values = self.values or (0.0, 0.0)
            a, b = (f"{value:.6g}" for value in values)
            a, b = map(repr, values) if a == b else (a, b)
            text += f", shape {self.shapes[0]}: relative error {self.error:.3g}"
            text += f", at {list(self.index or ())} {a} and {b}"
        return text + (f"; the first looks like {self.looks_like}" if self.looks_like else "")


@dataclass(frozen=True)
class Diff:
    """What a comparison found: true if there is a difference.

    first: the first Difference, or None. compared: how many steps were found the same before it, or in all.
    only_here, only_there: names that one side alone has; they are not compared.
    """

    first: Difference | None
    compared: int
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.first is not None

    def __str__(self) -> str:
        text = f"no difference in {self.compared} steps"
        if self.first is not None:
            text = f"first difference, after {self.compared} equal steps: {self.first}"
        apart = [
            f"{len(names)} only in the {which}, as {names[0]}"
            for names, which in ((self.only_here, "first"), (self.only_there, "second"))
            if names
        ]
        return "; ".join([text, *apart])


def compared(here: Sequence[Any], there: Sequence[Any], rtol: float | None) -> Diff:
    """The Diff of two lists of steps, matched by kind and name, in the order of the first."""
    others = {(step.kind, step.name): step for step in there}
    keys = {(step.kind, step.name) for step in here}
    only_here = tuple(_shown(step) for step in here if (step.kind, step.name) not in others)
    only_there = tuple(_shown(step) for step in there if (step.kind, step.name) not in keys)
    common = [(step, others[step.kind, step.name]) for step in here if (step.kind, step.name) in others]
    if not common:
        raise ValueError(
            f"diff: the two have no step in common; the first has {', '.join(only_here[:3]) or 'none'}, "
            f"the second {', '.join(only_there[:3]) or 'none'}; record the same model on both sides"
        )
    largest: dict[str, float] = {}
    for a, b in common:
        largest[a.kind] = max(largest.get(a.kind, 0.0), _largest(a.array), _largest(b.array))
    for i, (a, b) in enumerate(common):
        if (found := _difference(a, b, rtol, largest[a.kind] * _FLOOR)) is not None:
            return Diff(found, i, only_here, only_there)
    return Diff(None, len(common), only_here, only_there)


def _shown(step: Any) -> str:
    return step.name if step.kind == "value" else f"{step.kind} {step.name}"


def _difference(a: Any, b: Any, rtol: float | None, least: float) -> Difference | None:
    x, y = a.array, b.array
    close = _tolerance(x, y) if rtol is None else rtol
    if x.shape == y.shape:
        error, index = _error(x, y, least)
        if error <= close and (close or (index := _other_zero(x, y)) is None):
            return None
        values = x[index].item(), y[index].item()
    else:
        error, index, values = np.inf, None, None
    looks = _likeness(np.asarray(x, np.float64), np.asarray(y, np.float64), max(close, 1e-12))
    dtypes = str(x.dtype), str(y.dtype)
    return Difference(a.kind, a.name, a.op, (x.shape, y.shape), dtypes, error, index, values, looks)


def _tolerance(x: Any, y: Any) -> float:
    """By the coarser of two dtypes; integers and booleans are the same or not."""
    sizes = [array.dtype.itemsize for array in (x, y) if array.dtype.kind == "f"]
    return _CLOSE.get(min(sizes), 1e-9) if len(sizes) == 2 else 0.0


def _error(x: Any, y: Any, least: float = 0.0) -> tuple[float, tuple[int, ...] | None]:
    """The largest |x - y| by the largest finite number or `least`, and where; inf where one alone is not finite."""
    if not x.size:
        return 0.0, None
    whole = {x.dtype.kind, y.dtype.kind} & set("iu")
    given, x, y = (x, y), np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        apart = np.where(same, 0.0, np.abs(x - y))
    apart = np.where(np.isfinite(apart), apart, np.inf)
    rounded = same & (np.abs(x) >= _EXACT)
    if whole and rounded.any():
        apart[rounded] = [abs(int(a) - int(b)) for a, b in zip(*(v[rounded].tolist() for v in given), strict=True)]
    index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    if not apart[index]:
        return 0.0, index
    scale = max(_largest(x), _largest(y), least)
    return float(apart[index] / scale) if scale else float("inf"), index


def _other_zero(x: Any, y: Any) -> tuple[int, ...] | None:
    """Where the first zero is whose sign is another on the two sides; None for integers, whose zero has no sign."""
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        return None
    found = np.argwhere((x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y)))
    return tuple(found[0].tolist()) if len(found) else None


def _largest(x: Any) -> float:
    finite = np.abs(np.asarray(x, np.float64)[np.isfinite(x)])
    return float(finite.max(initial=0.0))


def _likeness(x: Any, y: Any, close: float) -> str:
    """What x is of y: minus it, a multiple, transposed, turned by 180 degrees, or shifted by a number."""
    if not (x.size and x.size == y.size and np.isfinite(x).all() and np.isfinite(y).all()):
        return ""

    def is_close(z: Any) -> bool:
        return x.shape == z.shape and _error(x, z)[0] <= close

    if x.shape == y.shape:
        if np.array_equal(x, y):  # but for what float64 cannot tell
            return ""
        if not x.any():
            return "zeros: nothing arrived"
        if is_close(-y):
            return "the second with the other sign"
        square = float((y * y).sum())
        factor = float((x * y).sum()) / square if square else 0.0
        if factor and is_close(y * factor):
            return f"the second times {_number(factor)}"
    if 2 <= x.ndim <= 5:
        for axes in permutations(range(x.ndim)):
            if axes != tuple(range(x.ndim)) and is_close(y.transpose(axes)):
                return f"the second transposed: axes {axes}"
    if x.shape == y.shape and x.ndim >= 2 and is_close(y[..., ::-1, ::-1]):
        return "the second turned by 180 degrees in its last two axes"
    if x.shape != y.shape:
        return "the second in another shape" if is_close(y.reshape(x.shape)) else ""
    shift = float(np.mean(x - y))
    if x.size > 1 and is_close(y + shift):
        return f"the second plus {shift:.6g}"
    changed = int(np.count_nonzero(np.abs(x - y) > close * max(_largest(x), _largest(y))))
    return f"the second but for {changed} of {x.size} elements" if changed * 4 <= x.size else ""


def _number(factor: float) -> str:
    """0.5 as 1/2, where a small fraction is as close as rounding allows."""
    fraction = Fraction(factor).limit_denominator(1000)
    if fraction and abs(factor / float(fraction) - 1) < 1e-6:
        return str(fraction)
    return f"{factor:.6g}"
