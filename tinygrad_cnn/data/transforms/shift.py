"""Shifts by whole pixels."""

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from .base import RandomTransform
from .crops import windows

__all__ = ["RandomShift", "random_shift"]


def random_shift(images: NDArray[Any], pixels: int, generator: np.random.Generator) -> NDArray[Any]:
    """Move each image by its own whole number of rows and columns, each drawn from -pixels to pixels.

    (n c h w) -> (n c h w), a new array of the same dtype; what moves in from outside is zero

    All channels of an image move together.
    """
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"random_shift: images are of type {type(images).__name__}; it needs an array; give images.numpy()"
        )
    if images.ndim != 4:
        raise ValueError(
            f"random_shift: images have shape {images.shape}; it needs (n, c, h, w); "
            "add the missing axes, as in images[:, None]"
        )
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"random_shift: generator is of type {type(generator).__name__}; "
            "it needs a numpy.random.Generator; give numpy.random.default_rng(seed)"
        )
    if isinstance(pixels, bool) or not hasattr(pixels, "__index__"):
        raise TypeError(f"random_shift: pixels={pixels!r}; it needs a whole number")
    reach = operator.index(pixels)
    if reach < 0:
        raise ValueError(f"random_shift: pixels={reach}; it needs 0 or more, the largest shift to either side")

    n, c, h, w = images.shape
    padded = np.zeros((n, c, h + 2 * reach, w + 2 * reach), images.dtype)
    padded[:, :, reach : reach + h, reach : reach + w] = images
    top, left = generator.integers(0, 2 * reach, size=(2, n), endpoint=True)
    return windows(padded, top, left, h, w)


class RandomShift(RandomTransform):
    """Each image moved by its own whole number of rows and columns, drawn from -pixels to pixels; outside is zero."""

    def __init__(self, pixels: int, *, generator: np.random.Generator | None = None) -> None:
        super().__init__(generator)
        self.pixels = whole("RandomShift", "pixels", pixels)

    def vary(self, images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """The images moved."""
        return random_shift(images, self.pixels, generator)
