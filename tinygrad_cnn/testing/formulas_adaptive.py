"""Functions of formulas for pooling to a size: windows that cover an image, in plain loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .formulas import Scene


def _windows(size: tuple[int, ...], out: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Each place of the output with the cells of its window, in row-major order."""
    for i, j in np.ndindex(*out):
        sides = [
            range(floor(Fraction(k * n, m)), ceil(Fraction((k + 1) * n, m)))
            for k, n, m in zip((i, j), size, out, strict=True)
        ]
        yield (i, j), [(r, s) for r in sides[0] for s in sides[1]]


def _bins(scene: Scene, values: Any) -> Any:
    """How many cells the window of each place has."""
    counts = np.zeros(values.shape[2:])
    for place, cells in _windows(scene.target.shape[2:], values.shape[2:]):
        counts[place] = len(cells)
    return counts


def _spread(scene: Scene, g: Any) -> Any:
    """Every entry of g added to all cells of its window."""
    out = np.zeros(scene.target.shape)
    for (i, j), cells in _windows(out.shape[2:], g.shape[2:]):
        for r, s in cells:
            out[:, :, r, s] += g[:, :, i, j]
    return out


def _highest(scene: Scene, x: Any) -> Any:
    """The NumPy index of the first cell of each window that holds its maximum, or a nan."""
    out = scene.values["out"].shape
    found = np.zeros((4, *out), np.int64)
    for n, c in np.ndindex(*out[:2]):
        for (i, j), cells in _windows(x.shape[2:], out[2:]):
            inside = [x[n, c, r, s] for r, s in cells]
            top = np.max(inside)
            best = next(cell for cell, v in zip(cells, inside, strict=True) if v == top or (v != v and top != top))
            found[:, n, c, i, j] = n, c, *best
    return tuple(found)


FUNCTIONS: dict[str, Callable[..., Any]] = {"bins": _bins, "spread": _spread, "highest": _highest}
