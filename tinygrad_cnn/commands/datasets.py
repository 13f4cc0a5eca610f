"""Datasets by name, and folders of image folders, in parts for training, for choosing and for testing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..data import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    Digits,
    FashionMNIST,
    ImageFolder,
    Subset,
    SyntheticImages,
    random_split,
)
from .frame import CommandError

__all__ = ["DATASETS", "Parts", "choose", "load", "parts"]

FILES: dict[str, Any] = {
    "mnist": MNIST, "fashion": FashionMNIST, "kmnist": KMNIST, "cifar10": CIFAR10, "cifar100": CIFAR100
}  # fmt: skip
DRAWN = {"synthetic28": (28, 1), "synthetic32": (32, 3)}  # size, channels
DRAWN_IMAGES = {True: (10_000, 0), False: (2_000, 1)}  # of training or not: how many, seed
DATASETS = ("digits", *FILES, *DRAWN)
HELD_OUT = 10  # one image of so many chooses the best weights
TEST = 5  # one image of so many tests, where a folder has no test part
PART_NAMES = ("train", "training", "test", "testing", "val", "valid", "validation")


class Parts(NamedTuple):
    """train: is learned from. valid: chooses the best weights. test: is measured at the end."""

    train: Any
    valid: Any
    test: Any
    classes: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many images are in each part."""
        return {"train": len(self.train), "valid": len(self.valid), "test": len(self.test)}


def parts(data: str, data_dir: str, download: bool, seed: int, limit: int | None) -> Parts:
    """All parts of a dataset; the seed alone decides which training images are held out.

    limit: take at most so many of the training images, and of the others, chosen by the seed.
    """
    train, test, classes = load(data, data_dir, download, seed)
    train, test = _limited(train, limit, seed), _limited(test, limit, seed)
    if len(train) < 2 or not len(test):
        raise CommandError(
            f"{data} has {len(train)} images to train and {len(test)} to test; at least 2 and 1 are needed"
        )
    held_out = max(1, len(train) // HELD_OUT)
    kept, valid = random_split(train, [len(train) - held_out, held_out], seed=seed)
    return Parts(kept, valid, test, classes)


def choose(data: str) -> tuple[str, str]:
    """(network, augmentation) where nothing is said."""
    network = {"digits": "digits", "mnist": "lenet5", "fashion": "lenet5", "kmnist": "lenet5", "synthetic28": "lenet5"}
    pictures = data not in network and data != "synthetic32"
    return network.get(data, "resnet20"), "crop-flip" if pictures or data == "fashion" else "shift"


def load(data: str, data_dir: str, download: bool, seed: int) -> tuple[Any, Any, list[str]]:
    """(training images, test images, names of the classes).

    Raises CommandError for a name that is no dataset and no folder, and for a folder whose parts do not fit.
    """
    if data == "digits":
        return Digits(True), Digits(False), list(Digits.classes)
    if data in DRAWN:
        size, channels = DRAWN[data]
        train, test = (
            SyntheticImages(n, size, channels, seed=drawn) for n, drawn in (DRAWN_IMAGES[True], DRAWN_IMAGES[False])
        )
        return train, test, list(train.classes)
    if data in FILES:
        try:
            found = [FILES[data](data_dir, train=train, download=download) for train in (True, False)]
        except FileNotFoundError as error:
            raise CommandError(
                f"{one_reason(error)}; give --download, or --data-dir, the folder that holds it (now {data_dir})"
            ) from error
        return found[0], found[1], list(found[0].classes)
    return _folders(Path(data).expanduser(), seed)


def one_reason(error: Exception) -> str:
    """What an error says is wrong, without what Python code could do about it."""
    return str(error).partition("; ")[0]


def _folders(root: Path, seed: int) -> tuple[Any, Any, list[str]]:
    if not root.is_dir():
        raise CommandError(
            f"--data {root}: no dataset and no folder; there are {', '.join(DATASETS)}, "
            "or give a folder of image folders"
        )
    if not ((root / "train").is_dir() and (root / "test").is_dir()):
        for folder in sorted(root.iterdir()):
            if (
                folder.name.casefold() in PART_NAMES
                and folder.is_dir()
                and any(inner.is_dir() and not inner.name.startswith(".") for inner in folder.iterdir())
            ):
                raise CommandError(
                    f"--data {root}: its folder {folder.name} holds folders itself, as a part does and no class; "
                    "give both parts, as train and test, or one folder that holds the image folders of all classes"
                )
        images = ImageFolder(root)
        test = max(1, len(images) // TEST)
        split = random_split(images, [len(images) - test, test], seed=seed)
        return split[0], split[1], images.classes
    train_images, test_images = ImageFolder(root / "train"), ImageFolder(root / "test")
    if train_images.classes != test_images.classes:
        only = sorted({*train_images.classes} ^ {*test_images.classes})
        raise CommandError(
            f"--data {root}: train and test have other classes; {', '.join(only)} in one of them alone; "
            "both need the same folders"
        )
    return train_images, test_images, train_images.classes


def _limited(dataset: Any, limit: int | None, seed: int) -> Any:
    n = len(dataset)
    if limit is None or n <= limit:
        return dataset
    chosen: Subset = random_split(dataset, [limit, n - limit], seed=seed)[0]
    return chosen
