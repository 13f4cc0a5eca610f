"""Networks by name: our own, or anybody's class or function in a file or module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..digits_net import DigitsNet
from ..graph import Tensor
from ..modes import no_grad
from ..nn import Module, models
from ..random import manual_seed
from .frame import CommandError, one_line

__all__ = ["NETWORKS", "Network", "build", "full_name", "network", "run_once"]

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
    "resnet20": Network(models.ResNet20, lr=0.01),
}


def network(name: str) -> Network:
    """The network of this name.

    Raises CommandError for an unknown name, and for a file or module that is not there, fails or lacks the name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    place, colon, attribute = name.rpartition(":")
    if not (place and colon and attribute):
        raise CommandError(f"no network is named {name!r}; there are {', '.join(NETWORKS)}, or give {WAYS}")
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
        accepted = inspect.signature(make).parameters
        options = {option: value for option, value in options.items() if option in accepted}
    try:
        model = make(**options)
    except Exception as error:
        raise CommandError(f"{name}: making it raised {_raised(error)}") from error
    if not isinstance(model, Module):
        raise CommandError(f"{name} made a {type(model).__name__}; a Module is needed")
    return model


@no_grad()
def run_once(name: str, model: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what the model makes of zeros of `shape`, in eval mode; lazy layers count their inputs by it.

    Raises CommandError if the forward fails.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        output = model(Tensor(np.zeros(shape, np.float32)))
    except Exception as error:
        raise CommandError(f"{name}: its forward of {shape} raised {_raised(error)}") from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(output, Tensor):
        raise CommandError(f"{name}: its forward of {shape} gave a {type(output).__name__}; a Tensor is needed")
    return output.shape


def _imported(name: str, place: str) -> Any:
    """The module in a file, or of a dotted name."""
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).resolve()
        if not path.is_file():
            raise CommandError(f"{name}: there is no file {path}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise CommandError(f"{name}: {path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # where dataclasses and pickle look for its classes
        spec.loader.exec_module(module)
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(f"{name}: importing {place} raised {_raised(error)}") from error
    return module


def _raised(error: Exception) -> str:
    """The kind, the text and the place of an error in somebody's code."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((str(Path(__file__).parent.parent), "<"))]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {one_line(error)}{where}"
