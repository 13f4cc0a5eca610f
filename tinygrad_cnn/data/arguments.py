"""What datasets, loaders and transforms are given, as numbers in their ranges, or an error that names it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["check_generator", "held", "number", "pair", "probability", "span", "whole"]


def whole(name: str, argument: str, value: Any, least: int = 0) -> int:
    """`value` as an int that is at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: {argument}={value!r}; it needs a whole number, {least} or more")
    if (found := operator.index(value)) < least:
        raise ValueError(f"{name}: {argument}={found}; it needs {least} or more")
    return found


def check_generator(name: str, generator: Any, remedy: str = "") -> None:
    """Raises TypeError for what is neither None nor a NumPy generator; `remedy` is what else can be given."""
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"{name}: generator is of type {type(generator).__name__}; it needs a numpy.random.Generator; "
            f"give numpy.random.default_rng(seed){remedy}"
        )


def number(name: str, argument: str, value: Any) -> float:
    """`value` as a finite float."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: {argument}={value!r}; it needs a number")
    if not math.isfinite(value):
        raise ValueError(f"{name}: {argument}={value}; it needs a finite number")
    return float(value)


def probability(name: str, value: Any) -> float:
    """`value` as a float from 0 to 1."""
    p = number(name, "p", value)
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p={p}; it needs a probability from 0 to 1")
    return p


def held(name: str, argument: str, value: float, dtype: np.dtype[Any]) -> Any:
    """`value` as a number of the dtype. Raises ValueError where an integer dtype does not have it."""
    if dtype.kind == "b":
        limits: tuple[float, float] = (0, 1)
    elif dtype.kind == "f":
        return dtype.type(value)
    else:
        limits = (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if value != round(value) or not limits[0] <= value <= limits[1]:
        raise ValueError(
            f"{name}: {argument}={value:g} for images of dtype {dtype}; it needs a whole number from {limits[0]} to "
            f"{limits[1]}"
        )
    return dtype.type(round(value))


def pair(name: str, argument: str, value: Any, least: int = 1) -> tuple[int, int]:
    """(rows, columns) from one whole number for both, or two."""
    if not isinstance(value, (tuple, list)):
        return (whole(name, argument, value, least),) * 2
    if len(value) != 2:
        raise ValueError(f"{name}: {argument}={value!r}; it needs one number, or two: rows and columns")
    return whole(name, argument, value[0], least), whole(name, argument, value[1], least)


def span(name: str, argument: str, value: Sequence[float]) -> tuple[float, float]:
    """(least, most) from two numbers in this order."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: {argument}={value!r}; it needs two numbers, the least and the most")
    low, high = (number(name, argument, x) for x in value)
    if low > high:
        raise ValueError(f"{name}: {argument}={value!r}; the least comes first")
    return low, high
