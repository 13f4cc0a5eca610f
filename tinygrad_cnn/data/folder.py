"""A folder of pictures as a dataset: one folder inside for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pictures import EXTENSIONS, read_image
from .vision import Change, VisionDataset, folder, missing

__all__ = ["ImageFolder"]


class ImageFolder(VisionDataset):
    """Pairs (image, label) of root/class/.../file: (3 h w) uint8, and the class's place in the alphabet from 0 on.

    loader: reads a file; by default `read_image(path, "RGB")`
    is_valid_file: which files are pictures; by default those with one of the usual extensions, in any case
    allow_empty: whether a class may have no pictures

    A file is read each time that it is asked for. Hidden files and folders are left out. `classes`, `class_to_idx`,
    `samples` and `targets` are torchvision's. Raises FileNotFoundError where there is no such folder, no class in it,
    or a class has no pictures.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Change | None = None,
        target_transform: Change | None = None,
        loader: Callable[[str], NDArray[Any]] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(transform, target_transform)
        self.root = folder(root)
        self.loader = loader or _rgb
        if not self.root.is_dir():
            raise missing("ImageFolder", self.root, downloads=False)
        valid = is_valid_file or _is_picture
        folders = sorted((path for path in self.root.iterdir() if path.is_dir() and not _hidden(path)), key=_name)
        if not folders:
            raise FileNotFoundError(
                f"ImageFolder: {self.root} has no folders; it needs one for each class, as in {self.root}/cat/1.png"
            )
        self.classes = [path.name for path in folders]
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        for label, place in enumerate(folders):
            files = [path for path in _files(place) if valid(path)]
            if not files and not allow_empty:
                raise FileNotFoundError(
                    f"ImageFolder: {place} has no pictures; it needs at least one of {' '.join(EXTENSIONS)}, "
                    "or give allow_empty=True"
                )
            self.samples += [(path, label) for path in files]
        self.imgs = self.samples
        self.targets = [label for _, label in self.samples]

    def picture(self, index: int) -> NDArray[Any]:
        """What the loader makes of file `index`."""
        return self.loader(self.samples[index][0])

    def __repr__(self) -> str:
        return f"ImageFolder({len(self)} pictures of {len(self.classes)} classes in {self.root})"


def _rgb(path: str) -> NDArray[np.uint8]:
    return read_image(path, "RGB")


def _is_picture(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)


def _name(path: Path) -> str:
    return path.name


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _files(place: Path) -> list[str]:
    """All files below a folder, in one order on every machine."""
    found = []
    for parent, folders, files in os.walk(place, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [str(Path(parent, name)) for name in sorted(files) if not name.startswith(".")]
    return found
