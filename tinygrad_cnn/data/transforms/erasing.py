"""Holes in images, so that a network learns to use all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import held, number, probability, span, whole
from .base import RandomTransform

__all__ = ["Cutout", "RandomErasing"]

Array = NDArray[Any]
TRIES = 10


class RandomErasing(RandomTransform):
    """`value` in a rectangle of each image, with probability p.

    scale: the least and the most of the rectangle's area, as a part of the image's
    ratio: the least and the most of its height over its width
    value: one number, one for each channel, or "random": a draw from a normal distribution for each pixel

    A rectangle that does not fit is drawn again, at most 10 times, after which the image stays whole.
    Source: Zhong et al., Random Erasing Data Augmentation (2017), algorithm 1.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        *,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.p = probability("RandomErasing", p)
        self.scale = span("RandomErasing", "scale", scale)
        self.ratio = span("RandomErasing", "ratio", ratio)
        if not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"RandomErasing: scale={self.scale}; it needs parts of the area, from 0 to 1")
        if self.ratio[0] <= 0:
            raise ValueError(f"RandomErasing: ratio={self.ratio}; it needs positive numbers")
        self.value: str | tuple[float, ...]
        if isinstance(value, str):
            if value != "random":
                raise ValueError(
                    f"RandomErasing: value={value!r}; it needs a number, one for each channel, or 'random'"
                )
            self.value = value
        else:
            values = value if isinstance(value, (tuple, list)) else (value,)
            self.value = tuple(number("RandomErasing", "value", v) for v in values)

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        """The images with rectangles erased."""
        n, c, h, w = images.shape
        if isinstance(self.value, str) and images.dtype.kind != "f":
            raise TypeError(f"RandomErasing: value='random' for images of dtype {images.dtype}; it needs floats")
        if isinstance(self.value, tuple) and len(self.value) not in (1, c):
            raise ValueError(f"RandomErasing: {len(self.value)} values for {c} channels; it needs one for each, or one")
        result = images.copy()
        value = self.value
        colour = (
            None
            if isinstance(value, str)
            else np.array([held("RandomErasing", "value", v, images.dtype) for v in value])[:, None, None]
        )
        chosen = generator.random(n) < self.p
        # (n tries): all draws at once, so that each image takes equally many from the generator
        areas = h * w * generator.uniform(*self.scale, (n, TRIES))
        ratios = np.exp(generator.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), (n, TRIES)))
        heights, widths = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
        fits = (heights < h) & (widths < w) & (heights > 0) & (widths > 0)
        places = generator.random((n, 2))
        for i in np.flatnonzero(chosen & fits.any(1)).tolist():
            k = int(fits[i].argmax())
            eh, ew = int(heights[i, k]), int(widths[i, k])
            top, left = int(places[i, 0] * (h - eh + 1)), int(places[i, 1] * (w - ew + 1))
            hole = result[i, :, top : top + eh, left : left + ew]
            hole[...] = generator.standard_normal(hole.shape) if colour is None else colour
        return result


class Cutout(RandomTransform):
    """0 in a square of `size` pixels of each image, whose middle is any pixel: what sticks out is cut off.

    Source: DeVries & Taylor, Improved Regularization of Convolutional Neural Networks with Cutout (2017), sec. 3.2.
    """

    def __init__(self, size: int, *, generator: np.random.Generator | None = None) -> None:
        super().__init__(generator)
        self.size = whole("Cutout", "size", size)

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        """The images with squares cut out."""
        n, _, h, w = images.shape
        tops, lefts = (generator.integers(0, length, (n, 1)) - self.size // 2 for length in (h, w))
        rows, columns = np.arange(h) - tops, np.arange(w) - lefts  # from the corner of the square
        down, right = ((at >= 0) & (at < self.size) for at in (rows, columns))
        return np.where(down[:, None, :, None] & right[:, None, None, :], images.dtype.type(0), images)
