"""Networks by name: our own, or anybody's class or function in a file or module."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..digits_net import DigitsNet
from ..graph import Tensor
from ..nn import Module, models
from ..nn.module import evaluating
from ..random import manual_seed
from .frame import CommandError, one_line
from .options import positive, shape

__all__ = [
    "NETWORKS",
    "Network",
    "WAYS",
    "add_model",
    "build",
    "check_allowed",
    "check_name",
    "chosen",
    "forward",
    "full_name",
    "network",
    "run_once",
    "theirs",
]

STANDARD = (str(Path(argparse.__file__).parent),)  # the library that comes with Python
WAYS = "file.py:Name or package.module:Name"


class Network(NamedTuple):
    """image: the shape (c h w) that it is made for. side: the height and width that it must have, None for any.

    lr: a good largest learning rate of AdamW.
    """

    make: Callable[..., Any]
    image: tuple[int, int, int] = (3, 32, 32)
    side: int | None = None
    lr: float = 0.003


NETWORKS = {
    "digits": Network(DigitsNet, (1, 8, 8), 8, 0.01),
    "lenet5": Network(models.LeNet5, (1, 32, 32), 32, 0.003),
    "vgg11": Network(models.vgg11, (3, 32, 32), 32, 0.001),
    "vgg11_bn": Network(partial(models.vgg11, batch_norm=True), (3, 32, 32), 32, 0.003),
    "resnet20": Network(models.ResNet20, lr=0.01),
    "mobilenet": Network(models.MobileNetSmall, lr=0.01),
}


def network(name: str) -> Network:
    """The network of this name, which `check_name` has passed.

    Raises CommandError for a file or module that is not there, fails or lacks the name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    place, _, attribute = name.rpartition(":")
    module = _imported(name, place)
    try:
        found = getattr(module, attribute)
    except AttributeError:
        raise CommandError(f"{name}: {place} has no {attribute}; give a class or a function of it") from None
    if isinstance(found, Module) or not callable(found):
        raise CommandError(
            f"{name}: {attribute} is a {type(found).__name__}; a class, or a function that makes a network, is needed"
        )
    return Network(found)


def full_name(name: str) -> str:
    """The name as it holds from every folder: a file's path made absolute."""
    place, _, attribute = name.rpartition(":")
    return f"{Path(place).resolve()}:{attribute}" if place.endswith(".py") else name


def check_allowed(name: str, given: str | None, file: Path) -> None:
    """Refuse to run code because a file of a run names it: the command must name it too.

    Raises CommandError for a network that is not one of ours and is not `given`, or is another one than given.
    """
    if given is not None and given != name:
        raise CommandError(f"the run was trained with --model {name}, now {given}; give the same")
    if given is None and name not in NETWORKS:
        raise CommandError(
            f"{file} names code that would be run, {name}; if it is what you expect, add --model {shlex.quote(name)}"
        )


def build(name: str, num_classes: int, in_channels: int, seed: int = 0) -> Any:
    """A new network. It is given num_classes, in_channels and generator, as far as it has arguments of these names.

    The default generator is seeded too. Raises CommandError if that fails or no Module comes.
    """
    make = network(name).make
    manual_seed(seed)
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "generator": np.random.default_rng(seed),
    }
    if name not in NETWORKS:
        with theirs(name, "looking at its arguments"):
            accepted = inspect.signature(make).parameters
        options = {option: value for option, value in options.items() if option in accepted}
    with theirs(name, "making it"):
        model = make(**options)
    if not isinstance(model, Module):
        raise CommandError(f"{name} made a {type(model).__name__}; a Module is needed")
    return model


def chosen(parser: argparse.ArgumentParser, given: argparse.Namespace) -> tuple[Any, tuple[int, ...]]:
    """The network that `add_model` asked for, in training mode, and the shape of its input.

    Raises CommandError if it cannot be made or does not take the input.
    """
    check_name(parser, "MODEL", given.model)
    size = given.input or (1, *network(given.model).image)
    model = build(given.model, given.classes, size[1])
    run_once(given.model, model, size)
    return model, size


def add_model(parser: argparse.ArgumentParser) -> None:
    """The arguments by which a network and its input are chosen."""
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(NETWORKS)}, or {WAYS}")
    parser.add_argument("--input", type=shape, metavar="N,C,H,W", help="shape of the input (as the network needs it)")
    parser.add_argument("--classes", type=positive(int), default=10, metavar="N", help="what it tells apart (10)")


def check_name(parser: argparse.ArgumentParser, argument: str, name: str) -> None:
    """Exit with 2 for a name that can be no network's."""
    place, _, attribute = name.rpartition(":")
    if name not in NETWORKS and not (place and attribute):
        parser.error(
            f"argument {argument}: no network is named {name!r}; there are {', '.join(NETWORKS)}, or give {WAYS}"
        )


def run_once(name: str, model: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what the model makes of zeros of shape `size`, in eval mode; lazy layers count their inputs by it.

    Raises CommandError if the forward fails.
    """
    with evaluating(model):
        return forward(name, model, Tensor(np.zeros(size, np.float32))).shape


def forward(name: str, model: Any, x: Tensor) -> Tensor:
    """model(x). Raises CommandError where that fails, or gives no Tensor."""
    with theirs(name, f"its forward of {x.shape}"):
        output = model(x)
    if not isinstance(output, Tensor):
        raise CommandError(f"{name}: its forward of {x.shape} gave a {type(output).__name__}; a Tensor is needed")
    return output


@contextlib.contextmanager
def theirs(name: str, what: str, passing: tuple[type[Exception], ...] = (CommandError,)) -> Iterator[None]:
    """Turns any error of somebody's code into a CommandError with the place where it came from, but for `passing`."""
    try:
        yield
    except passing:
        raise
    except Exception as error:
        ours = str(Path(__file__).parent.parent)
        frames = traceback.extract_tb(error.__traceback__)
        outside = [frame for frame in frames if not frame.filename.startswith((ours, "<", *STANDARD))]
        where = f" ({outside[-1].filename}:{outside[-1].lineno})" if outside else ""
        raise CommandError(f"{name}: {what} raised {type(error).__name__}: {one_line(error)}{where}") from error


@cache
def _imported(name: str, place: str) -> Any:
    """The module in a file, or of a dotted name."""
    if not place.endswith(".py"):
        with theirs(name, f"importing {place}"):
            return importlib.import_module(place)
    path = Path(place).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise CommandError(f"{name}: there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # where dataclasses look for the module of a class
    with theirs(name, f"importing {place}"):
        spec.loader.exec_module(module)
    return module
