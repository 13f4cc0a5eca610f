"""The kernels of a convolution as vector code wants them: the outputs last, in panels as wide as vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled

Array = NDArray[Any]
F = np.float32

MOST = 2**26  # bytes of transformed kernels that are kept
LAYERS = 256  # and of so many layers, whose kernels may be small
_kept: dict[tuple[str, int, tuple[int, ...]], tuple[list[Array], tuple[Any, ...]]] = {}


def lanes_of(outputs: int, least: int = 0) -> int:
    """How many of so many outputs a block of vector code computes: half a vector, one or two, but at least `least`."""
    vectors = compiled.vectors()
    widths = (vectors.LANES // 2, vectors.LANES, vectors.PANEL)
    return int(next(m for m in widths if m >= least and (outputs <= m or m == vectors.PANEL)))


def kept(kind: str, w: Array, b: Array | None, make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """What `make` makes of the kernels w and their bias, first an array; once, as long as they hold the same values.

    They are compared with copies: whoever has changed them need not have said so.
    """
    place = (f"{kind}, {w.dtype}", w.ctypes.data, w.shape)
    values = [np.ascontiguousarray(a).view(f"u{a.itemsize}") for a in ((w,) if b is None else (w, b))]  # nan is itself
    found = _kept.pop(place, None)
    if found is not None and _same(found[0], values):
        _kept[place] = found  # as the last that was asked for
        return found[1]
    _kept[place] = made = ([a.copy() for a in values], make())
    while len(_kept) > 1 and (len(_kept) > LAYERS or _bytes_kept() > MOST):
        _kept.pop(next(iter(list(_kept)), place), None)  # the one that has not been asked for longest
    return made[1]


def _bytes_kept() -> int:
    return sum(made[0].nbytes + old[0].nbytes for old, made in list(_kept.values()))


def _same(old: list[Array], new: list[Array]) -> bool:
    return len(old) == len(new) and all(
        a.shape == b.shape and bool((a == b).all()) for a, b in zip(old, new, strict=True)
    )


def packed(w: Array, taps: list[int], lanes: int, *, channels: int = 0, swapped: bool = False) -> Array:
    """Some taps of kernels: (o c kh kw) -> (panels taps c lanes), with zeros for outputs that there are not.

    channels: as many, with zeros. swapped: o are the channels and c the outputs, for the gradient to the image.
    """
    o, c, kh, kw = w.shape
    inputs, outputs = (o, c) if swapped else (c, o)
    out = np.empty((-(-outputs // lanes), len(taps), max(channels, inputs), lanes), F)
    flat = np.ascontiguousarray(w, F).reshape(o, c, kh * kw)
    _pack(flat, np.array(taps, np.int64), inputs, outputs, swapped, out)
    return out


def padded(b: Array | None, length: int) -> Array:
    """A bias, or zeros if there is none, with zeros for outputs that there are not: (o) -> (length)."""
    bias = np.zeros(length, F)
    if b is not None:
        bias[: len(b)] = b
    return bias


def unpacked(dw: Array, o: int, c: int) -> Array:
    """(panels taps channels lanes) -> (o c taps): what `packed` does, undone."""
    w = np.empty((o, c, dw.shape[1]), F)
    _unpack(dw, w)
    return w


@compiled.compiled
def _pack(w: Array, taps: Array, inputs: int, outputs: int, swapped: bool, out: Array) -> None:
    panels, _, channels, lanes = out.shape
    for p in range(panels):
        used = min(lanes, outputs - p * lanes)
        for k in range(channels):
            for i in range(len(taps)):
                line, t = out[p, i, k], taps[i]
                line[:] = 0
                if k < inputs:
                    for e in range(used):
                        line[e] = w[k, p * lanes + e, t] if swapped else w[p * lanes + e, k, t]


@compiled.compiled
def _unpack(dw: Array, w: Array) -> None:
    panels, taps, _, lanes = dw.shape
    o, c, _ = w.shape
    for p in range(panels):
        for k in range(c):
            for i in range(taps):
                for e in range(min(lanes, o - p * lanes)):
                    w[p * lanes + e, k, i] = dw[p, i, k, e]
