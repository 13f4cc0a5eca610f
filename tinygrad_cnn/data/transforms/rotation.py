"""Images turned by any angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import check_mixable, held, number, span
from .base import RandomTransform

__all__ = ["RandomRotation", "rotated"]

Array = NDArray[Any]
AT_ONCE = 2**18  # pixels of the result that are computed together: the coordinates stay in the cache
INTERPOLATIONS = ("bilinear", "nearest")


class RandomRotation(RandomTransform):
    """Each image turned around its middle by an angle drawn from `degrees`, counter-clockwise.

    degrees: the least and the most, or one number for both sides of 0
    interpolation: "bilinear" (PyTorch's default is "nearest") or "nearest"
    fill: what comes in from outside; bilinear pixels at the border mix with it

    By multiples of 90 degrees a square image is turned exactly, as by numpy.rot90. Raises ValueError for integers
    beyond 2**53, which bilinear interpolation would change.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "bilinear",
        fill: float = 0,
        *,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        if isinstance(degrees, (tuple, list)):
            self.degrees = span("RandomRotation", "degrees", degrees)
        else:
            reach = number("RandomRotation", "degrees", degrees)
            if reach < 0:
                raise ValueError(f"RandomRotation: degrees={degrees}; one number is for both sides of 0: 0 or more")
            self.degrees = (-reach, reach)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"RandomRotation: interpolation={interpolation!r}; it is 'bilinear' or 'nearest'")
        self.interpolation = interpolation
        self.fill = number("RandomRotation", "fill", fill)

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        """The images turned."""
        angles = generator.uniform(*self.degrees, len(images))
        return rotated(images, angles, self.interpolation, self.fill)


def rotated(images: Array, degrees: Array, interpolation: str = "bilinear", fill: float = 0) -> Array:
    """Each image of a batch turned counter-clockwise by its own angle: (n c h w), (n) -> (n c h w), dtype kept.

    Integers are rounded to the nearest, halves to even. Raises ValueError for integers beyond 2**53, unless "nearest".
    """
    n, c, h, w = images.shape
    # One pixel of `fill` all around, so that a corner outside is read without a question.
    padded = np.full((n, c, h + 2, w + 2), held("RandomRotation", "fill", fill, images.dtype))
    padded[:, :, 1:-1, 1:-1] = images
    if interpolation == "bilinear":
        check_mixable("RandomRotation", padded)
    result = np.empty_like(images, order="C")
    step = max(1, AT_ONCE // (c * h * w))
    for first in range(0, n, step):
        some = slice(first, first + step)
        y, x = _sources(degrees[some], h, w)
        result[some] = (_bilinear if interpolation == "bilinear" else _nearest)(padded[some], y, x, images.dtype)
    return result


def _sources(degrees: Array, h: int, w: int) -> tuple[Array, Array]:
    """Where each pixel of the result comes from, in pixels of the padded image: (n) -> (n h*w), (n h*w)."""
    quarters = np.rint(degrees / 90)
    rest = np.deg2rad(degrees - 90 * quarters)  # exactly 0 at multiples of 90
    cos, sin = np.cos(rest), np.sin(rest)
    turns = quarters.astype(np.int64) % 4
    cos, sin = np.choose(turns, [cos, -sin, -cos, sin]), np.choose(turns, [sin, cos, -sin, -cos])
    down = np.arange(h)[:, None] - (h - 1) / 2
    right = np.arange(w) - (w - 1) / 2
    cos, sin = cos[:, None, None], sin[:, None, None]
    # The vertical axis points down: counter-clockwise to the eye takes the source clockwise.
    y = cos * down + sin * right + ((h - 1) / 2 + 1)
    x = cos * right - sin * down + ((w - 1) / 2 + 1)
    return np.clip(y, 0, h + 1).reshape(len(degrees), -1), np.clip(x, 0, w + 1).reshape(len(degrees), -1)


def _bilinear(padded: Array, y: Array, x: Array, dtype: np.dtype[Any]) -> Array:
    n, c, ph, pw = padded.shape
    top, left = np.minimum(y.astype(np.int64), ph - 2), np.minimum(x.astype(np.int64), pw - 2)
    kind = np.float64 if dtype == np.float64 or (dtype.kind in "iu" and dtype.itemsize > 2) else np.float32
    down, right = (y - top).astype(kind)[:, None], (x - left).astype(kind)[:, None]
    flat = padded.reshape(n, c, ph * pw)
    at = (top * pw + left)[:, None]

    def corner(offset: int) -> Array:
        return np.take_along_axis(flat, at + offset, 2).astype(kind, copy=False)

    mixture = _mixture if dtype.kind != "f" or np.isfinite(padded).all() else _mixture_of_any
    upper = mixture(corner(0), corner(1), right)
    lower = mixture(corner(pw), corner(pw + 1), right)
    mixed = mixture(upper, lower, down)
    if dtype.kind != "f":
        mixed = np.rint(mixed)
    result: Array = mixed.astype(dtype).reshape(n, c, ph - 2, pw - 2)
    return result


def _mixture(first: Array, second: Array, share: Array) -> Array:
    """From the first at share 0 to the second at share 1."""
    mixed: Array = first * (1 - share) + second * share
    return mixed


def _mixture_of_any(first: Array, second: Array, share: Array) -> Array:
    """Also of inf and nan: what has no share is not touched by the other, of which 0 times inf would be nan."""
    with np.errstate(invalid="ignore"):
        return np.where(share == 0, first, np.where(share == 1, second, _mixture(first, second, share)))


def _nearest(padded: Array, y: Array, x: Array, dtype: np.dtype[Any]) -> Array:
    n, c, ph, pw = padded.shape
    at = np.rint(y).astype(np.int64) * pw + np.rint(x).astype(np.int64)
    return np.take_along_axis(padded.reshape(n, c, ph * pw), at[:, None], 2).reshape(n, c, ph - 2, pw - 2)
