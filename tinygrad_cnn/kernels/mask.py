"""Values where a condition holds and zeros elsewhere, in one pass over memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled, parallel
from .windows import channels_last

Array = NDArray[Any]

CHUNK = 2**18
SMALL = 2**13  # for fewer values np.where is as fast


def masked(x: Array, keep: Array) -> Array:
    """x where `keep` is true, else 0, in the memory order of x. Shapes are equal or broadcast.

    np.where takes 20 times as long where the condition is as good as random.
    """
    if x.size >= SMALL and x.shape == keep.shape and x.dtype.char in "fd" and keep.dtype == bool:
        if x.flags.c_contiguous and keep.flags.c_contiguous:
            return _masked(x.reshape(-1), keep.reshape(-1)).reshape(x.shape)
        if x.ndim == 4 and channels_last(x) and channels_last(keep):
            n, c, h, w = x.shape
            flat = _masked(x.transpose(0, 2, 3, 1).reshape(-1), keep.transpose(0, 2, 3, 1).reshape(-1))
            return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return np.where(keep, x, x.dtype.type(0))


def _masked(x: Array, keep: Array) -> Array:
    if not compiled.available():
        # The bits of x and of -1 or 0: np.where stumbles over branches that nobody can foresee.
        bits = np.dtype(f"i{x.itemsize}")
        which = keep.astype(bits)
        np.negative(which, out=which)
        y: Array = np.bitwise_and(x.view(bits), which, out=which).view(x.dtype)
        return y
    y = np.empty_like(x)
    parallel.run(
        lambda k: _sweep(x, keep, k * CHUNK, min(len(x), (k + 1) * CHUNK), y), -(-len(x) // CHUNK), float(len(x))
    )
    return y


@compiled.compiled
def _sweep(x: Array, keep: Array, start: int, stop: int, y: Array) -> None:
    values, held, out = x[start:stop], keep[start:stop], y[start:stop]
    for e in range(len(out)):
        out[e] = values[e] if held[e] else 0
