"""`train`: a network learns a dataset; weights, a checkpoint to go on from, logs and figures go to a folder."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from .. import plot
from ..data import DataLoader
from ..distributed import DataParallel, DistributedSampler, Group, init
from ..interchange.atomic import replace_file
from ..kernels.parallel import get_num_threads, set_num_threads
from ..nn import CrossEntropyLoss
from ..optim import AdamW
from ..optim.lr_scheduler import OneCycleLR
from ..random import manual_seed
from ..train import BestModel, CSVLog, EarlyStopping, History, fit
from . import datasets, networks, options, preparation, runs
from .evaluation import measure
from .frame import EXPECTED, CommandError, Interrupted, printing

__all__ = ["main"]

WEIGHT_DECAY = 0.05
DESCRIPTION = """Train a network on a dataset of images.

With the extra mpi, several processes share the work of each batch:
  mpiexec -n 4 python -m mpi4py -m tinygrad_cnn train --data cifar10"""
EXAMPLES = [
    "",
    "--data synthetic28 --epochs 5 --out runs/drawn",
    "--data cifar10 --download --model resnet20 --epochs 30 --patience 5",
    "--data photos/ --size 64 --model mynet.py:Net",
    "--out runs/drawn --resume",
]


def main(arguments: Sequence[str]) -> int:
    """0 when the run is complete. Raises CommandError and other expected errors, Interrupted by Ctrl-C."""
    try:
        group = init()
    except RuntimeError as error:
        raise CommandError(str(error)) from error
    given, free = _options(arguments, group)
    with printing(free["json"]) as tell:
        out = free["out"] or _folder(given)
        threads = get_num_threads()
        if free["threads"] is not None:
            set_num_threads(free["threads"])
        try:
            # A matrix product on more threads of BLAS gives other bits.
            with threadpoolctl.threadpool_limits(1, "blas"):
                result = _Training(out, given, free, group).run()
        finally:
            set_num_threads(threads)
        tell(lambda: _closing(out, result), {"out": str(out), **result})
    return 0


def _options(arguments: Sequence[str], group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the options that decide the numbers of a run, the others); of several processes the first tells of errors."""
    parser = _parser()
    with contextlib.ExitStack() as stack:
        if group.rank:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        given = vars(parser.parse_args(arguments))
        free = {name: given.pop(name) for name in ("json", "out", "resume", "threads", "workers", "download")}
        _check_names(parser, given)
        if free["resume"] and free["out"] is None:
            parser.error("--resume needs --out, the folder of the run to go on with")
    return given, free


def _parser() -> argparse.ArgumentParser:
    parser = options.parser("train", DESCRIPTION, EXAMPLES)
    whole, positive = options.whole, options.positive

    def add(name: str, help: str, **more: Any) -> None:
        # What is left out is not in the result, so that --resume can tell.
        parser.add_argument(name, help=help, **{"default": argparse.SUPPRESS, **more})

    named = ", ".join(datasets.DATASETS)
    add("--data", f"{named}, or a folder with an image folder for each class, or with both train/ and test/ of such "
        "folders (digits)")  # fmt: skip
    add("--data-dir", "folder of the files of mnist, cifar10 and so on (data)", metavar="DIR")
    add("--download", "fetch the files that are not there", action="store_true", default=False)
    add("--model", f"{', '.join(networks.NETWORKS)}, or {networks.WAYS} (by the data)")
    add("--epochs", "passes over the training images (10)", type=positive(int))
    add("--batch-size", "images per step (64)", type=positive(int))
    add("--lr", "largest learning rate of AdamW, in one cycle (by the model)", type=positive(float))
    add("--seed", "of the weights, the parts, the order and the augmentation (0)", type=whole)
    add("--augment", "random changes of training images (by the data)", choices=preparation.AUGMENTATIONS)
    add("--size", "height and width that all images are resized to", type=positive(int))
    add("--limit", "use at most so many training images, and so many test images", type=positive(int), metavar="N")
    add("--patience", "stop after so many epochs in a row without a better loss of the held-out images",
        type=positive(int), metavar="N")  # fmt: skip
    add("--out", "folder for the results (runs/DATA-MODEL)", type=Path, default=None)
    add("--resume", "go on with the run in --out after its last complete epoch, with the options that it has",
        action="store_true", default=False)  # fmt: skip
    add("--workers", "threads that make batches ahead (0)", type=whole, default=0, metavar="N")
    add("--threads", "threads that compute (those of TINYGRAD_CNN_THREADS, or all; with several processes 1 in each)",
        type=positive(int), default=None, metavar="N")  # fmt: skip
    return parser


def _check_names(parser: argparse.ArgumentParser, given: dict[str, Any]) -> None:
    """Exit with 2 for a name of a network that cannot be one; make names that are paths hold from everywhere."""
    model = given.get("model")
    if model is not None:
        networks.check_name(parser, "--model", model)
        given["model"] = networks.full_name(model)
    if "data_dir" in given:
        given["data_dir"] = str(Path(given["data_dir"]).expanduser().resolve())
    if given.get("data", "digits") not in datasets.DATASETS:
        given["data"] = str(Path(given["data"]).expanduser().resolve())


class _Training:
    """A run from its settings to its files, which the first process writes."""

    settings: runs.Settings
    about: runs.Run
    parts: datasets.Parts
    model: Any

    def __init__(self, out: Path, given: dict[str, Any], free: dict[str, Any], group: Group) -> None:
        self.out, self.workers, self.group = out, free["workers"], group
        if group.rank == 0:
            self._begin(given, free)
        # The others wait here until the first has looked at the options, fetched the data and made the folder.
        self.settings, self.about = group.share(None if group.rank else (self.settings, self.about))
        s = self.settings
        if group.rank:
            self.parts = datasets.parts(s.data, s.data_dir, False, s.seed, s.limit)
            self.about.check_data(self.parts)
            self.model = self._model()
            manual_seed(self._own_seed)  # what dropout drops is another thing in each process
        self.parallel = DataParallel(self.model)

    def _begin(self, given: dict[str, Any], free: dict[str, Any]) -> None:
        """Look at the options, the folder, the data and the network, and write what a new run is."""
        out = self.out
        before = runs.read(out)
        if before is None:
            if free["resume"]:
                raise CommandError(f"--resume: {out} holds no run; leave --resume out to begin one")
            runs.refuse_foreign_files(out)
        elif not free["resume"]:
            raise CommandError(f"{out} holds a run; give --resume to go on with it, or another --out")
        else:
            runs.remembered(before, given, out)
            networks.check_allowed(before.settings.model, given.get("model"), out / runs.NAME)
        self.settings = _settings(given) if before is None else before.settings
        s, size = self.settings, self.group.size
        if s.batch_size % size:
            raise CommandError(
                f"--batch-size {s.batch_size} cannot be shared by {size} processes; give a multiple of {size}, as "
                f"{-(-s.batch_size // size) * size}"
            )
        self.parts = datasets.parts(s.data, s.data_dir, free["download"], s.seed, s.limit)
        self.about = self._described() if before is None else before
        self.about.check_data(self.parts)
        if len(self.parts.train) < size:
            raise CommandError(f"{len(self.parts.train)} training images for {size} processes; start fewer")
        self.model = self._model()
        if before is None:
            out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=out).close()  # a folder that cannot be written to fails now
            runs.write(out, self.about)

    def run(self) -> dict[str, Any]:
        """Train, measure, write; returns what metrics.json holds."""
        try:
            return self._measured()
        except KeyboardInterrupt:
            command = f"python -m tinygrad_cnn train --out {shlex.quote(str(self.out))} --resume"
            if self.settings.model not in networks.NETWORKS:
                command += f" --model {shlex.quote(self.settings.model)}"
            raise Interrupted(f"go on after the last complete epoch with: {command}") from None

    def _measured(self) -> dict[str, Any]:
        began = time.perf_counter()
        s, best = self.settings, BestModel(self.out / "weights.safetensors", restore=True)
        history = self._fit(best)
        measured = measure(self.parallel, self._measuring(self.parts.test), self.about.classes)
        chosen = history.best("valid_loss")
        result: dict[str, Any] = {
            **{f"test_{name}": measured[name] for name in ("accuracy", "loss")},
            **{name: chosen[name] for name in ("valid_accuracy", "valid_loss")},
            "best_epoch": chosen["epoch"],
            "epochs": len(history),
            "stopped": history.stopped,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "images": self.about.images,
            "seconds": sum(history["seconds"]),
            "seconds_in_all": time.perf_counter() - began,
            "classes": measured["classes"],
            "confusion": measured["confusion"],
            "settings": dataclasses.asdict(s),
            "history": history.logs,
        }
        if self.group.rank:
            return result
        replace_file(self.out / "metrics.json", f"{json.dumps(result, indent=1, allow_nan=False)}\n".encode())
        _draw(self.out, history, measured, self.about.classes)
        return result

    def _fit(self, best: BestModel) -> History:
        s, prepared = self.settings, self.about.preparation
        _, h, w = self.about.given_shape
        images, size = self.parts.train, self.group.size
        sampler = DistributedSampler(images, seed=s.seed, drop_last=True) if size > 1 else None
        train = DataLoader(
            images, min(s.batch_size, len(images)) // size, shuffle=size == 1, sampler=sampler, drop_last=True,
            seed=self._own_seed, num_workers=self.workers,
            collate_fn=prepared.collate(preparation.augmentation(s.augment, h, w)),
        )  # fmt: skip
        valid = self._measuring(self.parts.valid)
        optimizer = AdamW(self.model.parameters(), lr=s.lr, weight_decay=WEIGHT_DECAY)
        callbacks: list[Any] = [CSVLog(self.out / "log.csv"), best]
        if s.patience is not None:
            callbacks.append(EarlyStopping(patience=s.patience))
        # Errors of our own networks would be ours, and keep their traceback.
        passing = (Exception,) if s.model in networks.NETWORKS else EXPECTED
        try:
            with networks.theirs(s.model, "training it", passing):
                return fit(
                    self.parallel, train, CrossEntropyLoss(), optimizer,
                    epochs=s.epochs, valid=valid, metrics={"accuracy": _accuracy},
                    scheduler=OneCycleLR(optimizer, s.lr, total_steps=s.epochs * len(train)),
                    callbacks=callbacks, checkpoint=self.out / "checkpoint.safetensors", resume="auto",
                )  # fmt: skip
        except FloatingPointError as error:
            what = str(error).removeprefix("fit: ").partition(":")[0].partition("; ")[0]
            raise CommandError(f"{what}; give a smaller --lr than {s.lr:g}, and another --out") from error

    @property
    def _own_seed(self) -> int:
        """The seed of what each process draws for itself."""
        seed, rank = self.settings.seed, self.group.rank
        return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0]) if rank else seed

    def _measuring(self, images: Any) -> DataLoader:
        """Batches of this process's part of the images, in which each is once."""
        sampler = DistributedSampler(images, shuffle=False, pad=False) if self.group.size > 1 else None
        collate = self.about.preparation.collate()
        return DataLoader(images, 256, sampler=sampler, num_workers=self.workers, collate_fn=collate)

    def _described(self) -> runs.Run:
        """The new run, once its data was looked at."""
        s, parts = self.settings, self.parts
        side = networks.network(s.model).side
        prepared = preparation.prepare(parts.train, s.size, side, s.model, self.workers)
        c, h, w = np.asarray(parts.train[0][0]).shape
        shape = (c, h, w) if s.size is None else (c, s.size, s.size)
        return runs.Run(s, parts.classes, shape, prepared, parts.counts)

    def _model(self) -> Any:
        name, shape = self.settings.model, self.about.given_shape
        model = networks.build(name, len(self.about.classes), shape[0], self.settings.seed)
        found, wanted = networks.run_once(name, model, (1, *shape)), (1, len(self.about.classes))
        if found != wanted:
            raise CommandError(f"{name}: of images {(1, *shape)} it makes {found}; a number for each class {wanted}")
        return model


def _folder(given: dict[str, Any]) -> Path:
    """Where the results go if nothing is said."""
    data = given.get("data", "digits")
    model = given.get("model", datasets.choose(data)[0])
    return Path("runs", f"{Path(data).name}-{model.rpartition(':')[2]}")


def _settings(given: dict[str, Any]) -> runs.Settings:
    """The options that were given, and for the others what fits the data and the network."""
    data = given.get("data", "digits")
    model, augment = datasets.choose(data)
    model = given.get("model", model)
    usual: dict[str, Any] = {
        "data": data, "data_dir": str(Path("data").resolve()), "model": model, "epochs": 10, "batch_size": 64,
        "lr": networks.network(model).lr, "seed": 0, "augment": augment, "size": None, "patience": None, "limit": None,
    }  # fmt: skip
    return runs.Settings(**{**usual, **given})


def _accuracy(logits: Any, labels: Any) -> float:
    return float((logits.argmax(1) == labels).float().mean().item())


def _draw(out: Path, history: History, measured: dict[str, Any], classes: list[str]) -> None:
    """The curves and the confusion matrix, where matplotlib is installed."""
    try:
        plot.learning_curves(history, save=out / "curves.png")
        plot.confusion_matrix(np.array(measured["confusion"]), classes, save=out / "confusion.png")
    except ImportError as error:
        print(f"no curves.png and confusion.png: {error}")


def _closing(out: Path, result: dict[str, Any]) -> str:
    names = [name for name in (runs.NAME, *runs.FILES) if (out / name).exists()]
    return (
        f"test accuracy {result['test_accuracy']:.4f} on {result['images']['test']} images, weights of epoch "
        f"{result['best_epoch']} of {result['epochs']}\nwritten to {out}: {', '.join(names)}"
    )
