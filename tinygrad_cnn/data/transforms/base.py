"""What every transform is: a function of an image or a batch, with its own randomness or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, from_numpy
from ...random import source
from ..arguments import check_generator, native

__all__ = ["Compose", "Lambda", "RandomTransform", "Transform"]

Array = NDArray[Any]
Images = TypeVar("Images", Array, Tensor)
CHANNELS = 4  # an image of bytes has at most so many


class Transform:
    """A function of an image (c h w) or a batch of them (n c h w), array or Tensor, that gives a new one of its kind.

    Arrays in the byte order of another machine come out in that of this one.
    A transform of your own is a subclass with `apply`, which gets a batch as an array, or any other callable.
    """

    def __call__(self, images: Images) -> Images:
        """The transformed image, or batch of images; what is given stays as it is."""
        array = self._checked(images)
        batch = array if array.ndim == 4 else array[None]
        result = self.apply(batch)
        if np.may_share_memory(result, array):
            result = result.copy()
        result = result if array.ndim == 4 else result[0]
        return from_numpy(result) if isinstance(images, Tensor) else result

    def apply(self, images: Array) -> Array:
        """The batch (n c h w) of images transformed, of the same dtype."""
        raise NotImplementedError(f"{type(self).__name__}: no apply; a Transform needs one; return the images changed")

    def _checked(self, images: Array | Tensor) -> Array:
        name = type(self).__name__
        if isinstance(images, Tensor):
            if images.requires_grad:
                raise RuntimeError(f"{name}: the images require a gradient, which they would lose; detach() them first")
            images = images.numpy()
        if not isinstance(images, np.ndarray):
            raise TypeError(
                f"{name}: images are of type {type(images).__name__}; it needs an array or a Tensor; "
                "ToTensor() makes one of a picture"
            )
        if images.dtype.kind not in "biuf":
            raise TypeError(f"{name}: images of dtype {images.dtype}; it needs bool, integer or float numbers")
        if images.ndim not in (3, 4):
            raise ValueError(
                f"{name}: images have shape {images.shape}; it needs (c, h, w) or (n, c, h, w); "
                "add the missing axes, as in image[None]"
            )
        if 0 in images.shape[-3:]:
            raise ValueError(f"{name}: images have shape {images.shape}; it needs at least one channel, row and column")
        if images.dtype == np.uint8 and images.shape[-1] <= CHANNELS < min(images.shape[-3:-1]):
            raise ValueError(
                f"{name}: images of bytes have shape {images.shape}, which looks like (h, w, c); it needs (c, h, w); "
                "put ToTensor() before it, or use numpy.moveaxis(images, -1, -3)"
            )
        return native(images)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if k != 'generator')})"


class RandomTransform(Transform):
    """A transform that draws, for each image of a batch, from `generator`, else from the package's default generator.

    For the items of a DataLoader the default one depends on the item, the pass and the seed alone: leave `generator`
    out there, or the order in which threads come by decides what is drawn.
    """

    def __init__(self, generator: np.random.Generator | None = None) -> None:
        check_generator(type(self).__name__, generator)
        self.generator = generator

    def apply(self, images: Array) -> Array:
        return self.vary(images, source(self.generator))

    def vary(self, images: Array, generator: np.random.Generator) -> Array:
        """The batch (n c h w) of images changed at random, each by its own draws."""
        raise NotImplementedError(f"{type(self).__name__}: no vary; a RandomTransform needs one; return the images")


class Compose:
    """One transform after the other: Compose([f, g])(x) = g(f(x))."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: {transform!r} is no transform; it needs functions of an image")

    def __call__(self, images: Any) -> Any:
        """What the last transform gives."""
        for transform in self.transforms:
            images = transform(images)
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class Lambda:
    """Any function of an image as a transform, with nothing checked."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Lambda: lambd={lambd!r}; it needs a function of an image")
        self.lambd = lambd

    def __call__(self, images: Any) -> Any:
        """lambd(images)"""
        return self.lambd(images)

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.lambd, '__name__', self.lambd)})"
