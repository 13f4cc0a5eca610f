"""CIFAR-10 and CIFAR-100: 60 000 coloured images of 32 x 32 pixels, from torchvision's folders."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .batches import read_batch
from .download import fetch
from .errors import DatasetError
from .vision import Change, ImageArrays, folder, missing

__all__ = ["CIFAR10", "CIFAR100"]

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


class CIFAR10(ImageArrays):
    """Photographs of ten kinds of things: pairs (image, label), (3 32 32) uint8 and 0 to 9.

    Reads root/cifar-10-batches-py (pickles, read without running anything of them), else root/cifar-10-batches-bin.

    train: the 50 000 images for training, or the 10 000 others
    download: fetch and unpack the archive where no folder is there, with the extra `data`; its MD5 checksum is
        torchvision's

    `data` (n 32 32 3) and `targets` (n) are the arrays. Raises FileNotFoundError for files that are not there, and
    DatasetError for files that are no batches of CIFAR.
    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """

    base_folder: ClassVar[str] = "cifar-10-batches-py"
    binary_folder: ClassVar[str] = "cifar-10-batches-bin"
    mirrors: ClassVar[tuple[str, ...]] = ("https://www.cs.toronto.edu/~kriz/",)
    filename: ClassVar[str] = "cifar-10-python.tar.gz"
    tgz_md5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{k}" for k in range(1, 6))
    test_list: ClassVar[tuple[str, ...]] = ("test_batch",)
    meta: ClassVar[tuple[str, str, str]] = ("batches.meta", "label_names", "batches.meta.txt")
    labels_key: ClassVar[str] = "labels"
    label_bytes: ClassVar[int] = 1  # of a binary record; the last of them is the label
    per_file: ClassVar[dict[str, int]] = {}  # images in a binary file, where there are not 10 000
    count: ClassVar[int] = 10

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
        if download and not any(path.is_dir() for path in (self._pickles, self._binaries)):
            self._download()
        if self._pickles.is_dir():
            read, place, suffix = self._read_pickle, self._pickles, ""
        elif self._binaries.is_dir():
            read, place, suffix = self._read_binary, self._binaries, ".bin"
        else:
            raise missing(type(self).__name__, self._pickles)
        files = [place / f"{name}{suffix}" for name in (self.train_list if train else self.test_list)]
        for path in files:
            if not path.is_file():
                raise missing(type(self).__name__, path, downloads=False)
        batches = [read(path) for path in files]
        self.images = np.concatenate([images for images, _ in batches])
        self.targets = np.concatenate([labels for _, labels in batches])

    @property
    def _pickles(self) -> Path:
        return self.root / self.base_folder

    @property
    def _binaries(self) -> Path:
        return self.root / self.binary_folder

    @property
    def data(self) -> NDArray[np.uint8]:
        """The images with their channels last: (n 32 32 3)."""
        return np.moveaxis(self.images, 1, -1)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, as a file of the dataset lists them."""
        pickled, key, text = self.meta
        if (path := self._pickles / pickled).is_file():
            names = read_batch(path).get(key)
        elif (path := self._binaries / text).is_file():
            names = path.read_text(encoding="utf-8", errors="replace").split()
        else:
            raise missing(type(self).__name__, self._pickles / pickled, downloads=False)
        if not isinstance(names, list) or len(names) != self.count or not all(isinstance(x, str) for x in names):
            raise DatasetError(f"{type(self).__name__}: {path} has no list of the {self.count} names of classes")
        return names

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: label for label, name in enumerate(self.classes)}

    def _read_pickle(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        batch = read_batch(path)
        images, labels = batch.get("data"), batch.get(self.labels_key)
        if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != PIXELS:
            found = f"an array {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise DatasetError(f"{type(self).__name__}: {path} has {found} as 'data'; it needs bytes (n, {PIXELS})")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DatasetError(f"{type(self).__name__}: {path} has no list of whole numbers as '{self.labels_key}'")
        if len(labels) != len(images):
            raise DatasetError(
                f"{type(self).__name__}: {path} has {len(labels)} labels for {len(images)} images; each needs one"
            )
        return images.reshape(-1, *SHAPE), self._labels(path, labels)

    def _read_binary(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        record = self.label_bytes + PIXELS
        n = self.per_file.get(path.stem, 10_000)
        size = path.stat().st_size
        if size != n * record:
            raise DatasetError(
                f"{type(self).__name__}: {path} has {size} bytes; {n} images of {record} bytes need {n * record}; "
                "the file was cut or changed; fetch it again"
            )
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(n, record)
        images = records[:, self.label_bytes :].reshape(n, *SHAPE)
        return images, self._labels(path, records[:, self.label_bytes - 1])

    def _labels(self, path: Path, given: Any) -> NDArray[np.int64]:
        if len(given) and not 0 <= min(given) <= max(given) < self.count:
            raise DatasetError(
                f"{type(self).__name__}: {path} has labels from {min(given)} to {max(given)}; "
                f"it needs 0 to {self.count - 1}"
            )
        return np.asarray(given, np.int64)

    def _download(self) -> None:
        """Fetch the archive and unpack the files that are read, all of them or none."""
        import tarfile  # 4 ms of the package's import, with what it needs

        archive = self.root / self.filename
        fetch(type(self).__name__, self.mirrors, archive, self.tgz_md5)
        unpacked = self.root / f".{self.base_folder}.{os.getpid()}.part"
        try:
            unpacked.mkdir()
            with tarfile.open(archive, "r:gz") as content:
                for name in (*self.train_list, *self.test_list, self.meta[0]):
                    member = content.extractfile(f"{self.base_folder}/{name}")  # a name of ours, never the archive's
                    if member is None:
                        raise DatasetError(f"{type(self).__name__}: {archive}: {name} is no file")
                    with member, (unpacked / name).open("wb") as target:
                        shutil.copyfileobj(member, target)
            unpacked.rename(self._pickles)
        except (tarfile.TarError, EOFError, KeyError, zlib.error) as error:
            raise DatasetError(f"{type(self).__name__}: {archive}: {error}; remove it and fetch it again") from error
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things: as CIFAR10, from root/cifar-100-python, else root/cifar-100-binary.

    The labels are the fine ones, 0 to 99.
    """

    base_folder = "cifar-100-python"
    binary_folder = "cifar-100-binary"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = ("train",)
    test_list = ("test",)
    meta = ("meta", "fine_label_names", "fine_label_names.txt")
    labels_key = "fine_labels"
    label_bytes = 2
    per_file: ClassVar[dict[str, int]] = {"train": 50_000}
    count = 100
