"""Pixel values: from bytes to floats, and to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, from_numpy
from ..arguments import native, number
from .base import CHANNELS, Transform

__all__ = ["Normalize", "ToTensor"]

Array = NDArray[Any]


class ToTensor:
    """A picture as a Tensor (c h w): bytes become float32 in [0, 1], other dtypes keep their values.

    (h w c), (h w), (c h w) or a batch (n h w c), (n c h w) -> (c h w) or (n c h w)

    Takes arrays, Tensors, and whatever has `__array_interface__`, such as images of Pillow. The channels are the axis
    of length 1 to 4, last as PyTorch reads arrays, or first as this package's datasets give them; `layout="hwc"` or
    "chw" says which. Raises ValueError where both or none could be, unless it is said.
    """

    def __init__(self, layout: str | None = None) -> None:
        if layout not in (None, "hwc", "chw"):
            raise ValueError(f"ToTensor: layout={layout!r}; it is 'hwc', 'chw', or None to tell by the shape")
        self.layout = layout

    def __call__(self, picture: Any) -> Tensor:
        """The picture, or batch of pictures, as a new Tensor."""
        array, layout = self._array(picture)
        if array.ndim == 2:
            array = array[None]
        elif (layout or self._told_by(array.shape)) == "hwc":
            array = np.moveaxis(array, -1, -3)
        if array.dtype == np.uint8:
            return from_numpy(np.divide(array, np.float32(255), order="C"))
        if array.dtype == np.bool_:
            return from_numpy(array.astype(np.float32, order="C"))
        return from_numpy(array.copy(order="C"))

    def _array(self, picture: Any) -> tuple[Array, str | None]:
        layout = self.layout
        if isinstance(picture, Tensor):
            array: Array = picture.detach().numpy()
        elif isinstance(picture, np.ndarray):
            array = picture
        elif hasattr(picture, "__array_interface__"):
            array, layout = np.asarray(picture), "hwc"  # an image of Pillow
        else:
            raise TypeError(
                f"ToTensor: the picture is of type {type(picture).__name__}; it needs an array, or an image of Pillow"
            )
        if array.dtype.kind not in "biuf":
            raise TypeError(f"ToTensor: a picture of dtype {array.dtype}; it needs bool, integer or float numbers")
        if array.ndim not in (2, 3, 4) or 0 in array.shape:
            raise ValueError(f"ToTensor: a picture of shape {array.shape}; it needs (h, w), (h, w, c) or (c, h, w)")
        return native(array), layout

    def _told_by(self, shape: tuple[int, ...]) -> str:
        last, first = shape[-1] <= CHANNELS, shape[-3] <= CHANNELS
        if last == first:
            raise ValueError(
                f"ToTensor: a picture of shape {shape}; either its last or its first axis must be that of 1 to 4 "
                "channels; say which with layout='hwc' or layout='chw'"
            )
        return "hwc" if last else "chw"

    def __repr__(self) -> str:
        return f"ToTensor({'' if self.layout is None else f'layout={self.layout!r}'})"


class Normalize(Transform):
    """(x - mean[c]) / std[c] for each channel c; one number stands for all channels.

    Computed in the dtype of the images, as PyTorch does; where that does not hold a mean or std, in float64, then
    rounded. Raises TypeError for images that are not of a float dtype, ValueError for a std that is not positive, for
    other numbers of channels, and for a result that the dtype does not hold.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = _channels("mean", mean), _channels("std", std)
        if min(self.std) <= 0:
            raise ValueError(f"Normalize: std={self.std}; each must be positive")

    def apply(self, images: Array) -> Array:
        """(x - mean) / std"""
        if images.dtype.kind != "f":
            raise TypeError(f"Normalize: images of dtype {images.dtype}; it needs floats; put ToTensor() before it")
        c = images.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, c):
                raise ValueError(
                    f"Normalize: {len(values)} values of {name} for images of shape {images.shape}; "
                    f"it needs one for each of the {c} channels, or one for all"
                )
        least, most = float(np.finfo(images.dtype).tiny), float(np.finfo(images.dtype).max)
        holds = min(self.std) >= least and max(map(abs, self.mean + self.std)) <= most
        with np.errstate(all="ignore"):
            mean, std = (
                np.array(v, images.dtype if holds else np.float64)[:, None, None] for v in (self.mean, self.std)
            )
            result: Array = ((images - mean) / std).astype(images.dtype, copy=False)
        if np.isinf(result).any() and (beyond := np.isinf(result) & np.isfinite(images)).any():
            raise ValueError(
                f"Normalize: a pixel of {images[beyond][0]:g} becomes larger than {images.dtype} can hold, {most:g}, "
                f"by mean={self.mean} and std={self.std}; give others, or images of a wider dtype"
            )
        return result


def _channels(name: str, values: Any) -> tuple[float, ...]:
    """One number for each channel, or one for all."""
    given = np.asarray(values).tolist() if isinstance(values, (np.ndarray, Tensor)) else values
    given = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not given:
        raise ValueError(f"Normalize: {name} is empty; it needs one number for each channel, or one for all")
    return tuple(number("Normalize", name, value) for value in given)
