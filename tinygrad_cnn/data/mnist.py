"""MNIST and its kin: 70 000 grey images of 28 x 28 pixels in ten classes, from torchvision's folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .download import fetch
from .errors import DatasetError
from .idx import read_idx
from .vision import Change, ImageArrays, folder, missing

__all__ = ["FashionMNIST", "KMNIST", "MNIST"]

SIDE = 28


class MNIST(ImageArrays):
    """Handwritten digits, from root/MNIST/raw: pairs (image, label), (1 28 28) uint8 and 0 to 9.

    train: the 60 000 images of train-*, or the 10 000 of t10k-*; the IDX files may be compressed (.gz) or not
    download: fetch the files that are not there, with the extra `data`; their MD5 checksums are torchvision's

    `data` (n 28 28) and `targets` (n) are the arrays. Raises FileNotFoundError for files that are not there, and
    DatasetError for files that are no images and labels of MNIST.
    Source: LeCun, Bottou, Bengio & Haffner, Gradient-Based Learning Applied to Document Recognition (1998).
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )
    resources: ClassVar[tuple[tuple[str, str], ...]] = (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    classes: ClassVar[tuple[str, ...]] = (
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    )  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(transform, target_transform)
        self.root, self.train = folder(root), bool(train)
        name, wanted = type(self).__name__, "train" if train else "t10k"
        found = []
        for resource, md5 in self.resources:
            if not resource.startswith(wanted):
                continue
            if download and self._file(resource) is None:
                fetch(name, self.mirrors, self.raw_folder / resource, md5)
            path = self._file(resource)
            if path is None:
                raise missing(name, self.raw_folder / resource)
            found.append(path)
        self.images, self.targets = _read(name, found[0], found[1], len(self.classes))

    @property
    def raw_folder(self) -> Path:
        """The folder of the IDX files, root/MNIST/raw."""
        return self.root / type(self).__name__ / "raw"

    @property
    def data(self) -> NDArray[np.uint8]:
        """The images without their axis of channels: (n 28 28)."""
        return self.images[:, 0]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: label for label, name in enumerate(self.classes)}

    def _file(self, resource: str) -> Path | None:
        """The file, as it is or without .gz."""
        compressed = self.raw_folder / resource
        return next((path for path in (compressed.with_suffix(""), compressed) if path.is_file()), None)


class FashionMNIST(MNIST):
    """Clothes, as MNIST, from root/FashionMNIST/raw.

    Source: Xiao, Rasul & Vollgraf, Fashion-MNIST (2017).
    """

    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class KMNIST(MNIST):
    """Characters of cursive Japanese, as MNIST, from root/KMNIST/raw.

    Source: Clanuwat et al., Deep Learning for Classical Japanese Literature (2018).
    """

    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    )
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def _read(name: str, images_path: Path, labels_path: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """(n 1 28 28) and (n) from two IDX files."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DatasetError(
            f"{name}: {images_path} holds {images.dtype} {images.shape}; it needs uint8 (n, {SIDE}, {SIDE})"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DatasetError(
            f"{name}: {labels_path} holds {labels.dtype} {labels.shape}; it needs uint8 ({len(images)},), "
            f"a label for each image of {images_path.name}"
        )
    if labels.size and labels.max() >= classes:
        raise DatasetError(f"{name}: {labels_path} has a label {labels.max()}; it needs 0 to {classes - 1}")
    return images[:, None], labels.astype(np.int64)
