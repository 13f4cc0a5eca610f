"""Drawn images without a file: digits and letters, turned, bent, shifted, in clutter and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .glyphs import NAMES, segments
from .vision import Change, ImageArrays

__all__ = ["SyntheticImages", "synthetic"]

AT_ONCE = 2**16  # pixels that are drawn together: they stay in the cache
DRAWS = 32  # random numbers of each image beside its noise
CLUTTER = 2  # lines that belong to no glyph
F = np.float32


def synthetic(
    n: int, size: int = 28, channels: int = 1, classes: int = 10, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """n images in [0, 1] of the first `classes` of 0 to 9 and A to Z, and their labels from 0 on.

    -> (n channels size size) float32, (n) int64

    size: 12 or more; channels: any number, each with a brightness of its own; classes: 2 to 36

    Each image is its own draw: a glyph turned by up to 23 degrees, sheared, stretched, shifted and of random width,
    on a sloping background with noise and two lines of clutter. The first images are the same for any n. Use another
    seed for a test set. The bits are the same on every platform: the random numbers are raw ones of PCG64, and only
    +, -, *, /, square roots and comparisons of floats are used, each rounded as IEEE 754 asks for.
    """
    images, labels = _drawn(n, size, channels, classes, seed)
    return images.astype(np.float32) / F(255), labels


class SyntheticImages(ImageArrays):
    """`synthetic` as a dataset: pairs (image, label), (channels size size) uint8 and 0 to classes - 1.

    A stand-in for MNIST where there is no network: SyntheticImages(60000, transform=ToTensor()).
    """

    def __init__(
        self,
        n: int,
        size: int = 28,
        channels: int = 1,
        classes: int = 10,
        seed: int = 0,
        transform: Change | None = None,
        target_transform: Change | None = None,
    ) -> None:
        super().__init__(transform, target_transform)
        self.images, self.targets = _drawn(n, size, channels, classes, seed)
        self.classes = list(NAMES[:classes])


def _drawn(n: int, size: int, channels: int, classes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    n, size = whole("synthetic", "n", n), whole("synthetic", "size", size, 12)
    channels, seed = whole("synthetic", "channels", channels, 1), whole("synthetic", "seed", seed)
    if not 2 <= (classes := whole("synthetic", "classes", classes)) <= len(NAMES):
        raise ValueError(f"synthetic: classes={classes}; it needs 2 to {len(NAMES)}")
    images = np.empty((n, channels, size, size), np.uint8)
    labels = np.empty(n, np.int64)
    glyphs = segments(classes)
    pixels = channels * size * size
    noise = -(-pixels // 4)  # 16 bits for each pixel
    source = np.random.PCG64(seed)
    step = max(1, AT_ONCE // (size * size))
    for first in range(0, n, step):
        some = slice(first, min(n, first + step))
        count = some.stop - first
        raw = source.random_raw(count * (DRAWS + channels * 2 + noise)).reshape(count, -1)
        # 24 bits are exact in float32: from 0 to 1 - 2^-24
        draws = (raw[:, : DRAWS + 2 * channels] >> np.uint64(40)).astype(F) * F(2.0**-24)
        labels[some] = (draws[:, 0] * F(classes)).astype(np.int64)
        bits = raw[:, DRAWS + 2 * channels :].astype("<u8", copy=False).view("<u2")[:, :pixels]
        grain = ((bits & 255).astype(F) + (bits >> 8).astype(F) - F(255)) / F(255)  # a triangle from -1 to 1
        images[some] = _images(glyphs[labels[some]], draws, grain.reshape(count, channels, size, size))
    return images, labels


def _images(lines: NDArray[Any], draws: NDArray[Any], grain: NDArray[Any]) -> NDArray[np.uint8]:
    """(n s 4), (n draws), (n c h w) -> (n c h w)"""
    n, channels, size, _ = grain.shape

    def draw(k: int, low: float, high: float) -> NDArray[Any]:
        result: NDArray[Any] = F(low) + draws[:, k] * F(high - low)
        return result

    # cos = (1 - t^2) / (1 + t^2), sin = 2t / (1 + t^2), so that no library's sine decides a bit
    t = draw(1, -0.2, 0.2)
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    wide, high, shear = draw(2, 0.2, 0.38) * F(size), draw(3, 0.24, 0.36) * F(size), draw(4, -0.3, 0.3)
    middle_x, middle_y = (F(size / 2) + draw(k, -0.13, 0.13) * F(size) for k in (5, 6))
    ends = lines.reshape(n, -1, 2)  # (n 2s 2)
    across = (ends[..., 0] + shear[:, None] * ends[..., 1]) * wide[:, None]
    down = ends[..., 1] * high[:, None]
    x = cos[:, None] * across - sin[:, None] * down + middle_x[:, None]
    y = sin[:, None] * across + cos[:, None] * down + middle_y[:, None]
    half = draw(7, 0.025, 0.05) * F(size)
    ink = _ink(x, y, half, size)
    for k in range(CLUTTER):
        at = 8 + 4 * k
        stray_x = np.stack([draw(at, 0, size), draw(at + 1, 0, size)], 1)
        stray_y = np.stack([draw(at + 2, 0, size), draw(at + 3, 0, size)], 1)
        # the further end is brought to a quarter of the way: short lines, anywhere
        for stray in (stray_x, stray_y):
            stray[:, 1] = stray[:, 0] + (stray[:, 1] - stray[:, 0]) * F(0.4)
        ink = np.maximum(ink, _ink(stray_x, stray_y, half * F(0.8), size) * draw(24 + k, 0.2, 0.9)[:, None, None])
    ramp = np.arange(size, dtype=F) / F(size) - F(0.5)
    slope_x, slope_y = draw(20, -0.3, 0.3), draw(21, -0.3, 0.3)
    slope = slope_x[:, None, None] * ramp + slope_y[:, None, None] * ramp[:, None]
    loud = draw(22, 0.1, 0.45)
    paper = np.stack([draw(DRAWS + 2 * c, 0.05, 0.4) for c in range(channels)], 1)[:, :, None, None]
    contrast = np.stack([draw(DRAWS + 2 * c + 1, 0.3, 0.55) for c in range(channels)], 1)[:, :, None, None]
    values = paper + slope[:, None] + contrast * ink[:, None] + loud[:, None, None, None] * grain
    bright: NDArray[np.uint8] = (np.clip(values, F(0), F(1)) * F(255) + F(0.5)).astype(np.uint8)
    return bright


def _ink(x: NDArray[Any], y: NDArray[Any], half: NDArray[Any], size: int) -> NDArray[Any]:
    """How much of each pixel a line covers: 1 nearer than half a line's width, falling to 0 over one pixel.

    (n 2s) ends of s lines, (n) -> (n size size)
    """
    centres = np.arange(size, dtype=F) + F(0.5)
    nearest = np.full((len(x), size, size), np.inf, F)
    for k in range(0, x.shape[1], 2):
        x0, y0 = x[:, k, None, None], y[:, k, None, None]
        dx, dy = x[:, k + 1, None, None] - x0, y[:, k + 1, None, None] - y0
        right, down = centres - x0, centres[:, None] - y0
        # how far along the line the nearest point lies, from 0 to 1
        along = (right * dx + down * dy) / np.maximum(dx * dx + dy * dy, F(1e-6))
        np.clip(along, F(0), F(1), out=along)
        off_x, off_y = right - along * dx, down - along * dy
        np.minimum(nearest, off_x * off_x + off_y * off_y, out=nearest)
    result: NDArray[Any] = np.clip(half[:, None, None] + F(0.5) - np.sqrt(nearest), F(0), F(1))
    return result
