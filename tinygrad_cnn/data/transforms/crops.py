"""Borders and cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import held, number, pair, whole
from .base import RandomTransform, Transform

__all__ = ["CenterCrop", "Pad", "RandomCrop", "windows"]

Array = NDArray[Any]
MODES = ("constant", "edge", "reflect", "symmetric")  # NumPy's and torchvision's names


class Pad(Transform):
    """The image with a border: of `fill`, of its outermost pixels ("edge"), or mirrored ("reflect", "symmetric").

    padding: one number for all sides, (left and right, top and bottom), or (left, top, right, bottom)

    Raises ValueError for a mirrored border that is wider than the image (less one pixel for "reflect").
    """

    def __init__(self, padding: int | tuple[int, ...], fill: float = 0, padding_mode: str = "constant") -> None:
        self.padding = _sides(type(self).__name__, padding)
        self.fill = number("Pad", "fill", fill)
        self.padding_mode = _mode("Pad", padding_mode)

    def apply(self, images: Array) -> Array:
        """The images with borders."""
        return _padded("Pad", images, self.padding, self.fill, self.padding_mode)


class CenterCrop(Transform):
    """The middle `size` = (h, w) pixels; a smaller image is first given a black border.

    Where an odd number of pixels is left over, the offset is that of PyTorch: half of it, rounded to even.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair("CenterCrop", "size", size)

    def apply(self, images: Array) -> Array:
        """The middle of the images."""
        (h, w), (oh, ow) = images.shape[2:], self.size
        down, right = max(0, oh - h), max(0, ow - w)
        images = _padded("CenterCrop", images, (right // 2, down // 2, -(-right // 2), -(-down // 2)), 0, "constant")
        top, left = round((images.shape[2] - oh) / 2), round((images.shape[3] - ow) / 2)
        return images[:, :, top : top + oh, left : left + ow]


class RandomCrop(RandomTransform):
    """`size` = (h, w) pixels at a place that is drawn for each image, after a border as by Pad.

    Raises ValueError for an image with its border that is smaller, unless `pad_if_needed` widens the border.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int | tuple[int, ...] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
        *,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.size = pair("RandomCrop", "size", size)
        self.padding = None if padding is None else _sides("RandomCrop", padding)
        self.pad_if_needed = pad_if_needed
        self.fill = number("RandomCrop", "fill", fill)
        self.padding_mode = _mode("RandomCrop", padding_mode)

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        """A random part of each image."""
        (oh, ow), before = self.size, images.shape
        if self.padding is not None:
            images = _padded("RandomCrop", images, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            down, right = (max(0, size - length) for size, length in zip(self.size, images.shape[2:], strict=True))
            images = _padded("RandomCrop", images, (right, down, right, down), self.fill, self.padding_mode)
        h, w = images.shape[2:]
        if oh > h or ow > w:
            raise ValueError(
                f"RandomCrop: size={self.size} of images of shape {before}, with the border {h} x {w} pixels; "
                "it needs no more than there are; give padding=, pad_if_needed=True or a smaller size"
            )
        n = len(images)
        tops, lefts = generator.integers(0, h - oh, n, endpoint=True), generator.integers(0, w - ow, n, endpoint=True)
        return windows(images, tops, lefts, oh, ow)


def windows(images: Array, tops: NDArray[np.int64], lefts: NDArray[np.int64], h: int, w: int) -> Array:
    """The part of h x w pixels at (top, left) of each image, copied: (n c H W) -> (n c h w)."""
    # (n c H-h+1 W-w+1 h w): every part, as a view
    parts = np.lib.stride_tricks.sliding_window_view(images, (h, w), axis=(2, 3))
    result: Array = parts[np.arange(len(images)), :, tops, lefts]
    return result


def _padded(name: str, images: Array, sides: tuple[int, int, int, int], fill: float, mode: str) -> Array:
    left, top, right, bottom = sides
    if not any(sides):
        return images
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    if mode == "constant":
        return np.pad(images, widths, constant_values=held(name, "fill", fill, images.dtype))
    h, w = images.shape[2:]
    if mode != "edge" and (max(top, bottom) > h - (mode == "reflect") or max(left, right) > w - (mode == "reflect")):
        raise ValueError(
            f"{name}: a border of {sides} pixels (left, top, right, bottom) with padding_mode={mode!r} around images "
            f"of shape {images.shape}; it can be at most as wide as the image"
            + (" less one pixel" if mode == "reflect" else "")
        )
    if mode == "edge":
        return np.pad(images, widths, mode="edge")
    return np.pad(images, widths, mode="reflect") if mode == "reflect" else np.pad(images, widths, mode="symmetric")


def _sides(name: str, padding: int | tuple[int, ...]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) from one, two or four numbers."""
    given = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,)
    numbers = [whole(name, "padding", value) for value in given]
    if len(numbers) not in (1, 2, 4):
        raise ValueError(f"{name}: padding={padding!r}; it needs one number, two, or four: left, top, right, bottom")
    left, top, right, bottom = (numbers * 4)[:4]
    return left, top, right, bottom


def _mode(name: str, mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"{name}: padding_mode={mode!r}; it can be {', '.join(map(repr, MODES))}")
    return mode
