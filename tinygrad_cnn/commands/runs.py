"""The folder of a run: its files, and run.json, which says all that is needed to go on and to predict."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..interchange.atomic import replace_file
from .datasets import Parts
from .frame import CommandError
from .preparation import AUGMENTATIONS, Preparation

__all__ = ["Run", "Settings", "option", "read", "refuse_foreign_files", "remembered", "write"]

KIND = "tinygrad_cnn run 1"
NAME = "run.json"
FILES = ("checkpoint.safetensors", "weights.safetensors", "log.csv", "metrics.json", "curves.png", "confusion.png")


@dataclass(frozen=True)
class Settings:
    """What decides the numbers of a run; all names are those of the options."""

    data: str
    data_dir: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    augment: str
    size: int | None
    patience: int | None
    limit: int | None


@dataclass(frozen=True)
class Run:
    """A run as run.json has it.

    shape: of a picture (c h w) in its size, without the border. images: how many are in each part.
    """

    settings: Settings
    classes: list[str]
    shape: tuple[int, int, int]
    preparation: Preparation
    images: dict[str, int]

    @property
    def given_shape(self) -> tuple[int, int, int]:
        """(c h w) of what the network is given."""
        (c, h, w), (left, top, right, bottom) = self.shape, self.preparation.border
        return c, h + top + bottom, w + left + right

    def check_data(self, parts: Parts) -> None:
        """Raises CommandError if the data is no longer what it was."""
        for what, then, now in (("images", self.images, parts.counts), ("classes", self.classes, parts.classes)):
            if then != now:
                raise CommandError(
                    f"the data in {self.settings.data} changed: its {what} were {then}, now they are {now}; "
                    "bring it back, or train anew with another --out"
                )


def option(name: str) -> str:
    """The option of a setting: data_dir -> --data-dir."""
    return f"--{name.replace('_', '-')}"


def write(folder: Path, run: Run) -> None:
    """Write run.json."""
    text = json.dumps({"kind": KIND, **asdict(run)}, indent=1, allow_nan=False)
    replace_file(folder / NAME, f"{text}\n".encode())


def read(folder: Path) -> Run | None:
    """The run of a folder, None where there is no run.json. Raises CommandError for a damaged one."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["kind"] != KIND:
            raise ValueError(f"its kind is {found['kind']!r}, {KIND!r} is needed")
        settings = Settings(**{field.name: found["settings"][field.name] for field in fields(Settings)})
        _check_settings(settings)
        prepared = found["preparation"]
        border = prepared["border"]
        preparation = Preparation(
            prepared["size"],
            (border[0], border[1], border[2], border[3]),
            tuple(map(float, prepared["mean"])),
            tuple(map(float, prepared["std"])),
        )
        c, h, w = found["shape"]
        run = Run(settings, list(found["classes"]), (c, h, w), preparation, dict(found["images"]))
        _check_pictures(run)
        return run
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CommandError(f"{path} is damaged: {reason}; give another folder") from error


def _check_settings(settings: Settings) -> None:
    """Raises ValueError for what no option lets through."""
    for name in ("data", "data_dir", "model", "augment"):
        if not isinstance(value := getattr(settings, name), str):
            raise ValueError(f"its {name} is {_short(value)}; a text is needed")
    if settings.augment not in AUGMENTATIONS:
        raise ValueError(f"its augment is {_short(settings.augment)}; one of {', '.join(AUGMENTATIONS)} is needed")
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        _check_whole(name, getattr(settings, name), least)
    for name in ("size", "patience", "limit"):
        if getattr(settings, name) is not None:
            _check_whole(name, getattr(settings, name), 1)
    if type(settings.lr) not in (int, float) or not 0 < settings.lr < math.inf:
        raise ValueError(f"its lr is {_short(settings.lr)}; a finite number > 0 is needed")


def _check_pictures(run: Run) -> None:
    """Raises ValueError for shapes, classes and a preparation that no pictures have."""
    prepared, c = run.preparation, run.shape[0]
    for length in run.shape:
        _check_whole("shape", length, 1)
    for width in prepared.border:
        _check_whole("border", width, 0)
    if prepared.size is not None:
        _check_whole("size", prepared.size, 1)
    if not all(isinstance(name, str) for name in run.classes):
        raise ValueError("its classes are not texts")
    for name, numbers, least in (("mean", prepared.mean, -math.inf), ("std", prepared.std, 0)):
        if len(numbers) not in (1, c) or not all(least < number < math.inf for number in numbers):
            needed = "finite numbers" if least else "finite numbers > 0"
            raise ValueError(
                f"its {name} is {_short(numbers)}; {needed} are needed, one or one for each of {c} channels"
            )


def _check_whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"its {name} is {_short(value)}; a whole number >= {least} is needed")


def _short(value: Any) -> str:
    return repr(value)[:80]


def refuse_foreign_files(folder: Path) -> None:
    """Raises CommandError if the folder holds files of the names of a run's, but no run."""
    if there := [name for name in FILES if (folder / name).exists()]:
        raise CommandError(f"{folder} holds {', '.join(there)}, but no {NAME}; give another --out")


def remembered(run: Run, given: dict[str, Any], folder: Path) -> None:
    """Raises CommandError if options that were given are other than those of the run."""
    before = asdict(run.settings)
    other = [
        f"{option(name)} {_shown(before[name])}, now {_shown(value)}"
        for name, value in given.items()
        if before[name] != value
    ]
    if other:
        raise CommandError(
            f"the run in {folder} was begun with {'; '.join(other)}; leave that out to go on, or give another --out "
            "for a new run"
        )


def _shown(value: Any) -> str:
    return "left out" if value is None else str(value)
