"""What datasets, loaders and transforms are given, as numbers in their ranges, or an error that names it."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_generator", "check_mixable", "held", "native", "number", "pair", "probability", "span", "whole"]

EXACT = 2**53  # the largest whole number below which float64 has all


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
    """`value` as a finite float. Raises ValueError for a whole number that a float would change."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: {argument}={value!r}; it needs a number")
    if isinstance(value, (int, np.integer)):
        _check_exact(name, argument, int(value))
    if not math.isfinite(value):
        raise ValueError(f"{name}: {argument}={value}; it needs a finite number")
    return float(value)


def _check_exact(name: str, argument: str, value: int) -> None:
    try:
        kept = int(float(value))
    except OverflowError:
        kept = 0
    if kept != value:
        raise ValueError(
            f"{name}: {argument}={value}; it needs a number that float64 holds, as it does all whole numbers up to "
            f"2**53 = {EXACT}"
        )


def probability(name: str, value: Any) -> float:
    """`value` as a float from 0 to 1."""
    p = number(name, "p", value)
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p={p}; it needs a probability from 0 to 1")
    return p


def check_mixable(name: str, images: NDArray[Any]) -> None:
    """Raises ValueError for whole numbers beyond 2**53: float64, in which pixels are mixed, would change them."""
    if images.dtype.kind in "iu" and images.dtype.itemsize == 8 and images.size:
        for value in (int(images.min()), int(images.max())):
            if abs(value) > EXACT:
                raise ValueError(
                    f"{name}: images of dtype {images.dtype} hold {value}; between pixels whole numbers up to 2**53 = "
                    f"{EXACT} can be computed; use interpolation='nearest', which only picks, or floats"
                )


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


def native(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the byte order of this machine, a copy only where it has another."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


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
