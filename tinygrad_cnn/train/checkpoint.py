"""Checkpoints: everything that decides the next steps of a run, in one safetensors file without pickle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..distributed import DataParallel
from ..distributed.group import ALONE, Group
from ..graph import Tensor
from ..interchange import CheckpointError
from ..interchange.tree import load_tree, save_tree
from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..random import default_generator
from .history import History
from .loss_state import LossState

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

KIND = "tinygrad_cnn checkpoint 2"
OTHERS = {"random": "random of other ranks", "loss": "loss of other ranks"}  # {"1": as under the first name, ...}
LOSS_MISSING = (
    "it was saved without the state of the loss; begin the run anew, or, where nothing in the loss changes, give a "
    "function that calls it"
)

Path = str | os.PathLike[str]
Generators = np.random.Generator | Sequence[np.random.Generator] | None


class Checkpoint(NamedTuple):
    """What a checkpoint says beside the states that it gave back."""

    epoch: int  # how many epochs are complete
    history: History
    extra: dict[str, Any]


def save_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    *,
    loss: Callable[..., Any] | None = None,
    loader: Any = None,
    generator: Generators = None,
    epoch: int = 0,
    history: History | None = None,
    callbacks: Iterable[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the states of a run to `path`, replacing a file there in one step; a crash leaves the old file.

    The weights and buffers of the model and of a loss that is a Module, the states of the optimizer, the scheduler and
    those callbacks that have one, the pass that the loader (or each of a tuple) comes to, the random state of this
    thread's default generator, of those that modules, the loss and loaders hold, and of `generator` (one, or a list).
    epoch: how many are complete. extra: a dict of numbers, texts, arrays and nested dicts and lists of them.
    The weights are stored as "model." + name, so that other programs find them, and what a loss has beside the model as
    "loss." + name.
    Of a DataParallel model rank 0 writes the module inside; all processes call this, and the file has the random states
    and the loss of each of them.

    Raises TypeError for a state that cannot be stored, and OSError if the file cannot be written.
    """
    model, group = _inside(model)
    parts = _parts("save_checkpoint", model, optimizer, scheduler, loss, loader, generator, callbacks)
    own = {name: group.collect(parts[name].read()) for name in OTHERS if name in parts}
    if group.rank:
        return
    tree = {name: part.read() for name, part in parts.items()}
    if group.size > 1:
        tree |= {OTHERS[name]: {str(rank): s for rank, s in enumerate(states) if rank} for name, states in own.items()}
    about = {
        "epoch": epoch,
        "history": (History() if history is None else history).state_dict(),
        "extra": dict(extra or {}),
    }
    save_tree({**tree, "run": about}, path, KIND)


def load_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    *,
    loss: Callable[..., Any] | None = None,
    loader: Any = None,
    generator: Generators = None,
    callbacks: Iterable[Any] = (),
    random_state: bool = True,
) -> Checkpoint:
    """Give back the states of `save_checkpoint` to objects made as then; returns the epoch, the history and extra.

    What is left out here is left as it is; random_state=False leaves all random generators, for a model that is only
    to be used. Of a DataParallel model all processes read the file, each its own random states and its own loss.

    Raises CheckpointError if the file is damaged or of another kind, or a state does not fit, as where the loss that is
    given has parameters or buffers and the saved one had none, or the other way round; nothing is changed then.
    """
    model, group = _inside(model)
    parts = _parts("load_checkpoint", model, optimizer, scheduler, loss, loader, generator, callbacks)
    tree = load_tree(path, KIND)
    if not random_state:
        del parts["random"]
    elif "random" in tree:
        tree["random"] = _own_random(path, group, tree)
    if missing := [name for name in (*parts, "run") if name not in tree]:
        raise CheckpointError(
            f"{path}: it holds {', '.join(tree)}, but no {', '.join(missing)}; nothing was changed: "
            + (LOSS_MISSING if "loss" in missing else "leave out what was not saved")
        )
    if "loss" in parts:
        tree["loss"] = _of_ranks(path, tree, "loss").get(str(group.rank), tree["loss"])
    elif loss is not None and "loss" in tree:
        raise CheckpointError(
            f"{path}: it holds the state of a loss, and the loss that is given, a {type(loss).__name__}, has none; "
            "nothing was changed: give the loss of the run"
        )
    about, history, name = tree["run"], History(), "run"
    undo: list[Callable[[], Any]] = []
    # The model is the last: its own loading is all or nothing, and a lazy one has no state yet to return to.
    names = [name for name in parts if name != "model"] + ["model"]
    try:
        found = Checkpoint(about["epoch"], history, about["extra"])
        history.load_state_dict(about["history"])
        for name in names:
            if name != "model":
                undo.append(parts[name].keep())
            parts[name].write(tree[name])
    except BaseException as error:
        for restore in reversed(undo):
            restore()
        if not isinstance(error, Exception):
            raise
        raise CheckpointError(f"{path}: its {name} does not fit, nothing was changed: {_text(error)}") from error
    return found


def _inside(model: Any) -> tuple[Any, Group]:
    """The module that a DataParallel has inside, and its processes."""
    return (model.module, model.group) if isinstance(model, DataParallel) else (model, ALONE)


def _own_random(path: Path, group: Group, tree: dict[str, Any]) -> Any:
    """The random states of this process."""
    others = _of_ranks(path, tree, "random")
    if len(others) + 1 != group.size:
        raise CheckpointError(
            f"{path}: it has the random states of {len(others) + 1} processes, and {group.size} read it; nothing was "
            f"changed: start with mpiexec -n {len(others) + 1}, or load_checkpoint with random_state=False"
        )
    return others[str(group.rank)] if group.rank else tree["random"]


def _of_ranks(path: Path, tree: dict[str, Any], name: str) -> dict[str, Any]:
    """What the file holds of a part of the processes from rank 1 on."""
    others = tree.get(OTHERS[name], {})
    if not isinstance(others, dict) or set(others) != {str(rank) for rank in range(1, len(others) + 1)}:
        raise CheckpointError(f"{path}: its {OTHERS[name]!r} are not by the ranks from 1; nothing was changed")
    return others


class Part(NamedTuple):
    """How the state of a part of a checkpoint is read, and how it is given back."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]

    def keep(self) -> Callable[[], Any]:
        """A function that makes the state what it is now."""
        return partial(self.write, self.read())


def _parts(
    caller: str,
    model: Any,
    optimizer: Any,
    scheduler: Any,
    loss: Any,
    loader: Any,
    generator: Any,
    callbacks: Iterable[Any],
) -> dict[str, Part | LossState]:
    """The parts of a checkpoint by name."""
    for name, value, kind in (
        ("model", model, Module),
        ("optimizer", optimizer, Optimizer),
        ("scheduler", scheduler, LRScheduler),
    ):
        if not isinstance(value, kind) and (value is not None or name == "model"):
            raise TypeError(f"{caller}: {name} is a {type(value).__name__}; a {kind.__name__} is needed")
    if loss is not None and not callable(loss):
        raise TypeError(f"{caller}: loss is a {type(loss).__name__}; a Module is needed, or a function")
    loaders = list(loader) if isinstance(loader, (tuple, list)) else [loader]
    loaders = [one for one in loaders if hasattr(one, "epoch")]
    stateful = [one for one in callbacks if hasattr(one, "state_dict") and hasattr(one, "load_state_dict")]
    generators = _generators(caller, model, loss, loaders, generator)
    parts: dict[str, Part | LossState] = {"model": Part(model.state_dict, model.load_state_dict)}
    if isinstance(loss, Module) and (own := LossState(loss, model)):
        parts["loss"] = own
    if optimizer is not None:
        parts["optimizer"] = Part(optimizer.state_dict, optimizer.load_state_dict)
    if scheduler is not None:
        parts["scheduler"] = Part(scheduler.state_dict, scheduler.load_state_dict)
    if loaders:
        parts["loader"] = Part(lambda: [one.epoch for one in loaders], lambda state: _set_epochs(loaders, state))
    if stateful:
        parts["callbacks"] = Part(
            lambda: [[type(one).__name__, one.state_dict()] for one in stateful],
            lambda state: _set_callbacks(stateful, state),
        )
    parts["random"] = Part(
        lambda: {name: one.bit_generator.state for name, one in generators.items()},
        lambda state: _set_generators(generators, state),
    )
    return parts


def _generators(
    caller: str, model: Module, loss: Any, loaders: list[Any], given: Any
) -> dict[str, np.random.Generator]:
    """Every generator that may decide a step, by where it is held."""
    listed = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for one in listed:
        if not isinstance(one, np.random.Generator):
            raise TypeError(
                f"{caller}: generator is a {type(one).__name__}; a numpy.random.Generator is needed, or a list of them"
            )
    held = {f"given {i}": one for i, one in enumerate(listed)}
    held |= {f"loader {i}": getattr(one, "generator", None) for i, one in enumerate(loaders)}
    for path, module in model.named_modules():
        held |= {f"module {path}.{name}": value for name, value in vars(module).items()}
    known = {id(value) for value in (default_generator(), *held.values())}
    for path, module in loss.named_modules() if isinstance(loss, Module) else ():
        held |= {f"loss {path}.{name}": value for name, value in vars(module).items() if id(value) not in known}
    return {
        "default": default_generator(),
        **{name: one for name, one in held.items() if isinstance(one, np.random.Generator)},
    }


def _set_epochs(loaders: list[Any], state: list[int]) -> None:
    if len(loaders) != len(state):
        raise ValueError(f"{len(state)} loaders were saved, {len(loaders)} are given")
    if wrong := [epoch for epoch in state if type(epoch) is not int or epoch < 0]:
        raise ValueError(f"the pass of a loader is {wrong[0]!r}; a whole number >= 0 is needed")
    for loader, epoch in zip(loaders, state, strict=True):
        loader.epoch = epoch


def _set_callbacks(callbacks: list[Any], state: list[Any]) -> None:
    ours, theirs = [type(one).__name__ for one in callbacks], [name for name, _ in state]
    if ours != theirs:
        raise ValueError(f"the callbacks with a state were {theirs}, now they are {ours}; give the same in this order")
    for callback, (_, entries) in zip(callbacks, state, strict=True):
        callback.load_state_dict(entries)


def _set_generators(generators: dict[str, np.random.Generator], state: dict[str, Any]) -> None:
    if missing := [name for name in generators if name not in state]:
        raise ValueError(f"no random state was saved of {', '.join(missing)}; make the run's objects as then")
    for name, generator in generators.items():
        generator.bit_generator.state = _arrays(state[name])


def _arrays(state: Any) -> Any:
    """A state with arrays in the places of Tensors."""
    if isinstance(state, dict):
        return {key: _arrays(value) for key, value in state.items()}
    return state.numpy() if isinstance(state, Tensor) else state


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
