"""From pictures to what a network is given: in one size, as floats, with a border, augmented, normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import DataLoader, Subset
from ..data.transforms import Compose, Normalize, Pad, RandomCrop, RandomHorizontalFlip, RandomShift, Resize
from ..graph import Tensor, from_numpy
from .frame import CommandError

__all__ = ["AUGMENTATIONS", "Preparation", "augmentation", "prepare"]

Array = NDArray[Any]
AUGMENTATIONS = ("none", "shift", "crop-flip")
MEASURED = 10_000  # images at most whose mean and deviation are taken
AT_ONCE = 500
BORDER = 4  # rows and columns at most that are added for a network that is made for one size


@dataclass(frozen=True)
class Preparation:
    """How pictures become what a network is given, the same for training and for use.

    size: height and width that every picture is brought to first, None leaves them. border: rows and columns of black
    that are added (left, top, right, bottom). mean, std: of each channel after that, in [0, 1].
    """

    size: int | None
    border: tuple[int, int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def pixels(self, pictures: Sequence[Array]) -> Array:
        """Pictures (c h w) of bytes or floats as floats in [0, 1], with their border: (n c h w) float32."""
        if self.size is not None:
            pictures = [_resized(picture, self.size) for picture in pictures]
        shapes = list(dict.fromkeys(picture.shape for picture in pictures))
        if len(shapes) > 1:
            (c, h, w), (d, i, j) = shapes[:2]
            raise CommandError(
                f"images of {h}x{w}x{c} and {i}x{j}x{d} (height, width, channels); all need the same; "
                "give --size to resize them"
            )
        batch: Array = np.stack(pictures)
        batch = np.divide(batch, np.float32(255)) if batch.dtype == np.uint8 else batch.astype(np.float32)
        return Pad(self.border)(batch) if any(self.border) else batch

    def normalised(self, pixels: Array) -> Tensor:
        """What the network is given."""
        return from_numpy(Normalize(self.mean, self.std)(pixels))

    def collate(self, augment: Callable[[Array], Array] | None = None) -> Callable[[list[Any]], tuple[Tensor, Tensor]]:
        """A function from a list of (picture, label) to a batch; `augment` changes its pixels before the norm."""

        def batch(items: list[Any]) -> tuple[Tensor, Tensor]:
            pixels = self.pixels([picture for picture, _ in items])
            if augment is not None:
                pixels = augment(pixels)
            return self.normalised(pixels), from_numpy(np.array([label for _, label in items], np.int64))

        return batch


def prepare(images: Any, size: int | None, side: int | None, network: str, workers: int) -> Preparation:
    """The preparation of a dataset of pictures for a network that is made for `side` x `side` pixels, or any.

    Raises CommandError where the images are too large or too small for it.
    """
    shape = np.asarray(images[0][0]).shape
    h, w = (size, size) if size is not None else shape[1:]
    down, right = (0, 0) if side is None else (side - h, side - w)
    if not (0 <= down <= BORDER and 0 <= right <= BORDER):
        raise CommandError(f"{network} is made for {side}x{side} pixels, the images have {h}x{w}; give --size {side}")
    border = (right // 2, down // 2, right - right // 2, down - down // 2)
    raw = Preparation(size, border, (0.0,), (1.0,))
    mean, std = _mean_and_deviation(raw, images, workers)
    return Preparation(size, border, mean, std)


def augmentation(name: str, h: int, w: int) -> Callable[[Array], Array] | None:
    """The random change of a batch of h x w pixels: by name, None for "none".

    "shift": by up to one pixel in 14. "crop-flip": a part of the size of the image, one pixel in 8 beyond it, of which
    half are mirrored.
    """
    if name == "none":
        return None
    if name == "shift":
        return RandomShift(max(1, min(h, w) // 14))
    return Compose([RandomCrop((h, w), padding=max(1, min(h, w) // 8)), RandomHorizontalFlip()])


def _mean_and_deviation(raw: Preparation, images: Any, workers: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel over images, rows and columns; a deviation of 0 becomes 1."""
    some = Subset(images, range(min(len(images), MEASURED)))
    loader = DataLoader(some, AT_ONCE, num_workers=workers, collate_fn=lambda items: raw.pixels([x for x, _ in items]))
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for pixels in loader:
        # (n c h w) -> (c)
        count += pixels[:, 0].size
        total = total + pixels.sum(axis=(0, 2, 3), dtype=np.float64)
        squares = squares + np.square(pixels, dtype=np.float64).sum(axis=(0, 2, 3))
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _resized(picture: Array, size: int) -> Array:
    return picture if picture.shape[1:] == (size, size) else Resize((size, size))(picture)
