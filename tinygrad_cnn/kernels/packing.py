"""The kernels of a convolution as vector code wants them: the outputs last, in panels as wide as vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled

Array = NDArray[Any]
F = np.float32


def lanes_of(outputs: int, least: int = 0) -> int:
    """How many of so many outputs a block of vector code computes: half a vector, one or two; `least` of them."""
    vectors = compiled.vectors()
    widths = (vectors.LANES // 2, vectors.LANES, vectors.PANEL)
    return int(next(m for m in widths if m >= least and (outputs <= m or m == vectors.PANEL)))


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
