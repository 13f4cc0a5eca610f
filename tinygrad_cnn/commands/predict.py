"""`predict`: the classes of image files by a trained run, or how good it is on its test set."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from ..data import DataLoader, read_image
from ..data.transforms import Resize
from ..interchange import load
from ..modes import no_grad
from ..nn import functional as F
from . import datasets, networks, options, runs
from .evaluation import measure, table
from .frame import CommandError, printing

__all__ = ["main"]

AT_ONCE = 64
EXAMPLES = ["runs/drawn --test", "runs/photos new/*.jpg --top 1", "runs/photos cat.png --resize --json"]


def main(arguments: Sequence[str]) -> int:
    """0 when done. Raises CommandError and other expected errors."""
    parser = options.parser("predict", "Use a network that `train` has trained.", EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that train wrote")
    parser.add_argument("images", nargs="*", type=Path, help="image files, whose classes are told")
    parser.add_argument("--model", help=f"{networks.WAYS}, where the run was trained with such a network")
    parser.add_argument("--test", action="store_true", help="measure on the test set of the run instead")
    parser.add_argument("--top", type=options.positive(int), default=3, metavar="K", help="most likely classes (3)")
    parser.add_argument("--resize", action="store_true", help="bring images of another size to that of the run")
    given = parser.parse_args(arguments)
    if given.model is not None:
        networks.check_name(parser, "--model", given.model)
    if given.test == bool(given.images):
        parser.error("give image files, or --test, one of the two")
    with printing(given.json) as tell, threadpoolctl.threadpool_limits(1, "blas"):
        run, model = _loaded(given.run, None if given.model is None else networks.full_name(given.model))
        if given.test:
            measured = _measured(run, model)
            tell(lambda: table(measured), {"run": str(given.run), **measured})
        else:
            found = _predicted(run, model, given)
            tell(lambda: _lines(found), {"run": str(given.run), "predictions": found})
    return 0


def _loaded(folder: Path, named: str | None) -> tuple[runs.Run, Any]:
    """The run and its network with the best weights, in eval mode."""
    run = runs.read(folder)
    if run is None:
        raise CommandError(f"{folder} holds no {runs.NAME}; give a folder that train wrote")
    networks.check_allowed(run.settings.model, named, folder / runs.NAME)
    weights = folder / "weights.safetensors"
    if not weights.exists():
        raise CommandError(f"{folder} has no weights yet; its first epoch is not complete: train --resume goes on")
    shape = run.given_shape
    model = networks.build(run.settings.model, len(run.classes), shape[0], run.settings.seed)
    networks.run_once(run.settings.model, model, (1, *shape))
    try:
        model.load_state_dict(load(weights))
    except (ValueError, KeyError) as error:
        raise CommandError(f"{weights} does not fit {run.settings.model}: {error}") from error
    model.eval()
    return run, model


def _measured(run: runs.Run, model: Any) -> dict[str, Any]:
    s = run.settings
    parts = datasets.parts(s.data, s.data_dir, False, s.seed, s.limit)
    run.check_data(parts)
    return measure(model, DataLoader(parts.test, 256, collate_fn=run.preparation.collate()), run.classes)


@no_grad()
def _predicted(run: runs.Run, model: Any, given: argparse.Namespace) -> list[dict[str, Any]]:
    """For each file its most likely classes, the most likely first."""
    found = []
    for first in range(0, len(given.images), AT_ONCE):
        paths = given.images[first : first + AT_ONCE]
        pictures = [_picture(path, run, given.resize) for path in paths]
        logits = model(run.preparation.normalised(run.preparation.pixels(pictures)))
        for path, row in zip(paths, F.softmax(logits, 1).numpy(), strict=True):
            best = np.argsort(-row, kind="stable")[: given.top]
            classes = [{"class": run.classes[k], "probability": float(row[k])} for k in best]
            if not all(math.isfinite(entry["probability"]) for entry in classes):
                raise FloatingPointError(f"{path}: the network gives probabilities that are not finite")
            found.append({"image": str(path), "classes": classes})
    return found


def _picture(path: Path, run: runs.Run, resize: bool) -> Any:
    """A file as the run's images are: (c h w), with as many channels and pixels."""
    c, h, w = run.shape
    picture = read_image(path, "GRAY" if c == 1 else "RGB")
    if picture.shape[1:] == (h, w) or run.preparation.size is not None:
        return picture
    if not resize:
        raise CommandError(
            f"{path} has {picture.shape[1]}x{picture.shape[2]} pixels, the images of the run {h}x{w}; give --resize"
        )
    return Resize((h, w))(picture)


def _lines(found: list[dict[str, Any]]) -> str:
    width = max(len(entry["image"]) for entry in found)
    names = ["  ".join(f"{guess['class']} {guess['probability']:.4f}" for guess in entry["classes"]) for entry in found]
    return "\n".join(f"{entry['image']:{width}}  {text}" for entry, text in zip(found, names, strict=True))
