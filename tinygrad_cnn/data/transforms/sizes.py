"""Images in another size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, from_numpy
from ...ops.resize import interpolate
from ..arguments import pair, whole
from .base import Transform

__all__ = ["Resize"]

Array = NDArray[Any]
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


class Resize(Transform):
    """Images of `size` = (h, w) pixels; one number is the shorter side, and the longer keeps the shape.

    interpolation: "bilinear", "bicubic" or "nearest", as in nn.functional.interpolate, without antialiasing

    Integers are rounded to the nearest, halves to even, and kept in the range of their dtype.
    """

    def __init__(self, size: int | tuple[int, int], interpolation: str = "bilinear") -> None:
        self.size: int | tuple[int, int]
        self.size = (
            pair("Resize", "size", size) if isinstance(size, (tuple, list)) else whole("Resize", "size", size, 1)
        )
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"Resize: interpolation={interpolation!r}; it can be {', '.join(map(repr, INTERPOLATIONS))}"
            )
        self.interpolation = interpolation

    def apply(self, images: Array) -> Array:
        """The images in the new size."""
        h, w = images.shape[2:]
        if isinstance(self.size, tuple):
            size = self.size
        else:  # as torchvision, which cuts the longer side down to a whole number
            size = (self.size, self.size * w // h) if h <= w else (self.size * h // w, self.size)
        if self.interpolation == "nearest" or images.dtype.kind == "f":
            return _resized(images, size, self.interpolation)
        mixed = _resized(images.astype(np.float64), size, self.interpolation)
        if images.dtype == np.bool_:
            return mixed > 0.5
        limits = np.iinfo(images.dtype)
        result: Array = np.clip(np.rint(mixed), limits.min, limits.max).astype(images.dtype)
        return result


def _resized(images: Array, size: tuple[int, int], interpolation: str) -> Array:
    if 0 in images.shape:
        return np.empty((*images.shape[:2], *size), images.dtype)
    kept = images.dtype if images.dtype.kind == "f" else np.dtype(np.float64)  # exact for the pixels of pictures
    output: Tensor = interpolate(from_numpy(np.ascontiguousarray(images, kept)), size, mode=interpolation)
    return output.array.astype(images.dtype, copy=False)
