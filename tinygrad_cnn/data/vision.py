"""What datasets of images have in common, under torchvision's names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .dataset import row_of

__all__ = ["ImageArrays", "VisionDataset", "folder", "missing"]

Change = Callable[[Any], Any]


class VisionDataset:
    """Pairs (image, label): `picture(i)` as an array (c h w) and `targets[i]` as an int, after their transforms.

    A dataset of your own is a subclass with `picture` and `targets`.
    """

    targets: Any

    def __init__(self, transform: Change | None = None, target_transform: Change | None = None) -> None:
        for name, given in (("transform", transform), ("target_transform", target_transform)):
            if given is not None and not callable(given):
                raise TypeError(f"{type(self).__name__}: {name}={given!r}; it needs a function")
        self.transform, self.target_transform = transform, target_transform

    def picture(self, index: int) -> NDArray[Any]:
        """Image `index` (c h w), fresh and untransformed."""
        raise NotImplementedError(f"{type(self).__name__}: no picture; a VisionDataset needs one; return the image")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int, /) -> tuple[Any, Any]:
        """(image, label)"""
        row = row_of(index, len(self), type(self).__name__)
        image: Any = self.picture(row)
        label: Any = int(self.targets[row])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label


class ImageArrays(VisionDataset):
    """Images and labels in memory: `images` (n c h w) and `targets` (n)."""

    images: NDArray[Any]

    def picture(self, index: int) -> NDArray[Any]:
        """Image `index` (c h w), copied."""
        image: NDArray[Any] = self.images[index].copy()
        return image

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images {self.images.shape[1:]} of {self.images.dtype})"


def missing(name: str, path: Path, downloads: bool = True) -> FileNotFoundError:
    """The error for a file or folder that is not there."""
    what = "give the folder that holds it as root" + (", or download=True" if downloads else "")
    return FileNotFoundError(f"{name}: there is no {path}; {what}")


def folder(root: str | os.PathLike[str]) -> Path:
    """`root` with the home folder for ~."""
    return Path(root).expanduser()
