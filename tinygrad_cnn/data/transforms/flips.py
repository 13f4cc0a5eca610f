"""Mirror images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import probability
from .base import RandomTransform

__all__ = ["RandomHorizontalFlip", "RandomVerticalFlip"]

Array = NDArray[Any]


class _RandomFlip(RandomTransform):
    axis: int

    def __init__(self, p: float = 0.5, *, generator: np.random.Generator | None = None) -> None:
        super().__init__(generator)
        self.p = probability(type(self).__name__, p)

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        chosen = generator.random(len(images)) < self.p
        return np.where(chosen[:, None, None, None], np.flip(images, self.axis), images)


class RandomHorizontalFlip(_RandomFlip):
    """Each image left to right with probability p."""

    axis = 3


class RandomVerticalFlip(_RandomFlip):
    """Each image upside down with probability p."""

    axis = 2
