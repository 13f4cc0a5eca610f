"""Picture files as arrays: binary PPM and PGM and .npy by ourselves, PNG, JPEG and others by Pillow (extra `data`)."""

from __future__ import annotations

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..interchange.npy import npy_array
from .errors import DatasetError

__all__ = ["EXTENSIONS", "read_image"]

OURS = (".npy", ".pgm", ".pnm", ".ppm")
EXTENSIONS = (*OURS, ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
CHANNELS = (1, 3, 4)
MODES = ("UNCHANGED", "GRAY", "RGB")
# "P5" or "P6", then width, height and greatest value as decimal numbers, comments from # to the end of the line
HEADER = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")

Bytes = NDArray[np.uint8]


def read_image(path: str | os.PathLike[str], mode: str = "UNCHANGED") -> Bytes:
    """The picture in a file as bytes (c h w), under torchvision's names.

    mode: "RGB" has 3 channels, "GRAY" 1, (19595 R + 38470 G + 7471 B + 32768) // 65536 as Pillow computes it;
        "UNCHANGED" has those of the file, a palette resolved

    Transparency is dropped, except by "UNCHANGED". .npy files hold uint8 (h w), (h w c) or (c h w), c 1, 3 or 4.
    Raises DatasetError for a file that is no such picture, has values that no byte holds, or could be read as (h w c)
    and as (c h w); ImportError where it takes Pillow and that is not installed.
    """
    if mode not in MODES:
        raise ValueError(f"read_image: mode={mode!r}; it can be {', '.join(map(repr, MODES))}")
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".npy":
        picture = _npy(path)
    elif kind in OURS:
        picture = _netpbm(path)
    else:
        picture = _by_pillow(path)
    return _in_mode(picture, mode)


def _in_mode(picture: Bytes, mode: str) -> Bytes:
    if mode == "UNCHANGED":
        return picture
    colours = picture[: 3 if len(picture) >= 3 else 1]
    if mode == "RGB":
        return colours.copy() if len(colours) == 3 else np.repeat(colours, 3, 0)
    if len(colours) == 1:
        return colours.copy()
    r, g, b = colours.astype(np.uint32)
    grey: Bytes = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)[None]
    return grey


def _npy(path: Path) -> Bytes:
    try:
        array = npy_array(path.read_bytes())
    except ValueError as error:
        raise DatasetError(f"read_image: {path}: {error}; it needs an array as numpy.save writes it") from error
    found = f"{array.dtype} {array.shape}"
    if array.dtype == np.uint8 and array.ndim in (2, 3) and array.size:
        picture: Bytes = array[None] if array.ndim == 2 else array
        first, last = (length in CHANNELS for length in (len(picture), picture.shape[-1]))
        if array.ndim == 3 and first and last:
            raise DatasetError(
                f"read_image: {path} holds {found}, which can be (h, w, c) and (c, h, w); save it as .ppm or .png, "
                "or a grey one as (h, w)"
            )
        if first or last:
            return np.ascontiguousarray(picture if first else np.moveaxis(picture, -1, 0))
    raise DatasetError(f"read_image: {path} holds {found}; it needs uint8 (h, w), (h, w, c) or (c, h, w)")


def _netpbm(path: Path) -> Bytes:
    """Source: Poskanzer, the formats pgm(5) and ppm(5) of Netpbm, their binary forms."""
    content = path.read_bytes()
    found = HEADER.match(content)
    if found is None:
        raise DatasetError(
            f"read_image: {path} starts with {content[:16]!r}; it needs a binary PGM or PPM: P5 or P6, width, height, "
            "greatest value"
        )
    if max(map(len, found.groups())) > 9:
        raise DatasetError(f"read_image: {path}: its header has a number of more than 9 digits")
    kind, w, h, most = map(int, found.groups())
    if most != 255 or w == 0 or h == 0:
        raise DatasetError(f"read_image: {path}: {w} x {h} pixels up to {most}; it needs pixels, and values up to 255")
    c = 3 if kind == 6 else 1
    if len(content) - found.end() != h * w * c:
        raise DatasetError(
            f"read_image: {path}: {len(content) - found.end()} bytes of pixels; {w} x {h} pixels of {c} values need "
            f"{h * w * c}"
        )
    pixels = np.frombuffer(content, np.uint8, offset=found.end()).reshape(h, w, c)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _by_pillow(path: Path) -> Bytes:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            f"read_image: {path} needs Pillow, which is not installed; pip install 'tinygrad_cnn[data]', or use "
            f"{', '.join(OURS)}"
        ) from None
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                raise ValueError(f"its pixels of mode {image.mode} do not fit into bytes")
            bands = "RGBA" if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info else "RGB"
            mode = "L" if image.mode in ("1", "L") and bands == "RGB" else bands
            pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DatasetError(f"read_image: {path}: {error}; it needs a picture that Pillow can read") from error
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) if pixels.ndim == 3 else pixels[None].copy()
