"""Planes of numbers as small PNG pictures, with zlib alone."""

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..observation import Summary
from .model import Strip

SIDE = 34.0  # of a picture on a card, in pixels
_BLUE, _ORANGE = (
    np.array([0, 97, 154], np.float64),
    np.array([168, 67, 0], np.float64),
)  # of conv's and gradients' lines


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The file of a picture of (h w 3) bytes. Source: PNG specification, third edition (2025), sec. 5 and 7.

    Raises ValueError for another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"png: pixels are {pixels.dtype} {pixels.shape}, needs uint8 (h w 3)")
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # a zero before every row: no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def values(summary: Summary, what: str = "values") -> Strip | None:
    """The first planes from white (the lowest number of all of them) to blue (the highest)."""
    return _strip(summary, what, signed=False)


def gradients(summary: Summary, what: str = "∂") -> Strip | None:
    """The first planes from blue (negative) over white (0) to orange (positive), the largest magnitude full."""
    return _strip(summary, what, signed=True)


def _strip(summary: Summary, what: str, signed: bool) -> Strip | None:
    maps = summary.maps
    if maps is None or maps.shape[1] * maps.shape[2] < 4:
        return None
    known = maps[np.isfinite(maps)]
    finite = np.where(np.isfinite(maps), maps, known[0] if known.size else 0.0).astype(np.float64)
    planes = _diverging(finite) if signed else _sequential(finite)
    planes[~np.isfinite(maps)] = (192, 0, 0)  # nan and inf stand out
    high, wide = maps.shape[1:]
    scale = SIDE / max(high, wide)
    total = _planes(summary.shape)
    label = f"{what}, {len(maps)} of {total}" if len(maps) < total else what
    return Strip(tuple(map(png, planes)), wide * scale, high * scale, label)


def _planes(shape: tuple[int, ...]) -> int:
    """How many planes there are of the first image, or of the kernels."""
    if len(shape) < 4:
        return shape[0] if len(shape) == 3 else 1
    return math.prod(shape[1:-2]) if shape[1] > 1 else shape[0] * math.prod(shape[2:-2])


def _sequential(maps: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = maps.min(), maps.max()
    share = (maps / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros_like(maps)
    return _between(share, _BLUE)


def _diverging(maps: NDArray[Any]) -> NDArray[np.uint8]:
    top = np.abs(maps).max()
    share = maps / top if top > 0 else maps
    return np.where((share > 0)[..., None], _between(share.clip(0), _ORANGE), _between((-share).clip(0), _BLUE))


def _between(share: NDArray[Any], colour: NDArray[Any]) -> NDArray[np.uint8]:
    """White where share is 0, the colour where it is 1."""
    pixels: NDArray[np.uint8] = np.rint(255 + share[..., None] * (colour - 255)).astype(np.uint8)
    return pixels
