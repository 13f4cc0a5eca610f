"""Images in another size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, from_numpy
from ...ops.resize import interpolate
from ..arguments import check_mixable, pair, whole
from .base import Transform

__all__ = ["Resize"]

Array = NDArray[Any]
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


class Resize(Transform):
    """Images of `size` = (h, w) pixels; one number is the shorter side, and the longer keeps the shape.

    interpolation: "bilinear", "bicubic" or "nearest", as in nn.functional.interpolate, without antialiasing

    Integers are rounded to the nearest, halves to even, and kept in the range of their dtype; "nearest" picks pixels of
    any dtype as they are. Raises ValueError for integers beyond 2**53, unless "nearest".
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
        if self.interpolation == "nearest":
            for axis, length in zip((2, 3), size, strict=True):
                images = images.take(_nearest(images.shape[axis], length), axis)
            return images
        if images.dtype.kind == "f":
            return _mixed(images, size, self.interpolation)
        check_mixable("Resize", images)
        mixed = _mixed(images.astype(np.float64), size, self.interpolation)
        if images.dtype == np.bool_:
            return mixed > 0.5
        limits = np.iinfo(images.dtype)  # as floats those of 64 bits are a little larger, but no mixture comes near
        result: Array = np.clip(np.rint(mixed), limits.min, limits.max).astype(images.dtype)
        return result


def _nearest(n: int, size: int) -> NDArray[np.int64]:
    """Which of n pixels each of `size` is a copy of."""
    places: Tensor = interpolate(from_numpy(np.arange(n, dtype=np.float64)[None, None]), size, mode="nearest")
    found: NDArray[np.int64] = places.array[0, 0].astype(np.int64)
    return found


def _mixed(images: Array, size: tuple[int, int], interpolation: str) -> Array:
    if 0 in images.shape:
        return np.empty((*images.shape[:2], *size), images.dtype)
    output: Tensor = interpolate(from_numpy(np.ascontiguousarray(images)), size, mode=interpolation)
    return output.array
