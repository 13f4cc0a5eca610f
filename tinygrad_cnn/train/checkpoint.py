"""Checkpoints: everything that decides the next steps of a run, in one safetensors file without pickle."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
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

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

KIND = "tinygrad_cnn checkpoint 2"
OTHERS = "random of other ranks"  # {"1": as "random", ...}

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
    loader: Any = None,
    generator: Generators = None,
    epoch: int = 0,
    history: History | None = None,
    callbacks: Iterable[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the states of a run to `path`, replacing a file there in one step; a crash leaves the old file.

    The weights and buffers of the model, the states of the optimizer, the scheduler and those callbacks that have one,
    the pass that the loader (or each of a tuple) comes to, the random state of this thread's default generator, of
    those that modules and loaders hold, and of `generator` (one, or a list).
    epoch: how many are complete. extra: a dict of numbers, texts, arrays and nested dicts and lists of them.
    The weights are stored as "model." + name, so that other programs find them.
    Of a DataParallel model rank 0 writes the module inside; all processes call this, and the file has the random states
    of each of them.

    Raises TypeError for a state that cannot be stored, and OSError if the file cannot be written.
    """
    model, group = _inside(model)
    holders = _holders("save_checkpoint", model, optimizer, scheduler, loader, generator, callbacks)
    states = group.collect(holders["random"][0]())
    if group.rank:
        return
    tree = {name: read() for name, (read, _) in holders.items()}
    if group.size > 1:
        tree[OTHERS] = {str(rank): state for rank, state in enumerate(states) if rank}
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
    loader: Any = None,
    generator: Generators = None,
    callbacks: Iterable[Any] = (),
    random_state: bool = True,
) -> Checkpoint:
    """Give back the states of `save_checkpoint` to objects made as then; returns the epoch, the history and extra.

    What is left out here is left as it is; random_state=False leaves all random generators, for a model that is only
    to be used. Of a DataParallel model all processes read the file, each its own random states.

    Raises CheckpointError if the file is damaged or of another kind, or a state does not fit; nothing is changed then.
    """
    model, group = _inside(model)
    holders = _holders("load_checkpoint", model, optimizer, scheduler, loader, generator, callbacks)
    tree = load_tree(path, KIND)
    if not random_state:
        del holders["random"]
    elif "random" in tree:
        tree["random"] = _own_random(path, group, tree)
    if missing := [name for name in (*holders, "run") if name not in tree]:
        raise CheckpointError(
            f"{path}: it holds {', '.join(tree)}, but no {', '.join(missing)}; nothing was changed: "
            "leave out what was not saved"
        )
    about, history, name = tree["run"], History(), "run"
    undo: list[tuple[Callable[[Any], Any], Any]] = []
    # The model is the last: its own loading is all or nothing, and a lazy one has no state yet to return to.
    names = [name for name in holders if name != "model"] + ["model"]
    try:
        found = Checkpoint(about["epoch"], history, about["extra"])
        history.load_state_dict(about["history"])
        for name in names:
            read, write = holders[name]
            if name != "model":
                undo.append((write, read()))
            write(tree[name])
    except BaseException as error:
        for write, before in reversed(undo):
            write(before)
        if not isinstance(error, Exception):
            raise
        raise CheckpointError(f"{path}: its {name} does not fit, nothing was changed: {_text(error)}") from error
    return found


def _inside(model: Any) -> tuple[Any, Group]:
    """The module that a DataParallel has inside, and its processes."""
    return (model.module, model.group) if isinstance(model, DataParallel) else (model, ALONE)


def _own_random(path: Path, group: Group, tree: dict[str, Any]) -> Any:
    """The random states of this process."""
    others = tree.get(OTHERS, {})
    if not isinstance(others, dict) or set(others) != {str(rank) for rank in range(1, len(others) + 1)}:
        raise CheckpointError(f"{path}: its {OTHERS!r} are not by the ranks from 1; nothing was changed")
    if len(others) + 1 != group.size:
        raise CheckpointError(
            f"{path}: it has the random states of {len(others) + 1} processes, and {group.size} read it; nothing was "
            f"changed: start with mpiexec -n {len(others) + 1}, or load_checkpoint with random_state=False"
        )
    return others[str(group.rank)] if group.rank else tree["random"]


Holder = tuple[Callable[[], Any], Callable[[Any], Any]]


def _holders(
    caller: str, model: Any, optimizer: Any, scheduler: Any, loader: Any, generator: Any, callbacks: Iterable[Any]
) -> dict[str, Holder]:
    """For each part of a checkpoint how its state is read, and how it is given back."""
    for name, value, kind in (
        ("model", model, Module),
        ("optimizer", optimizer, Optimizer),
        ("scheduler", scheduler, LRScheduler),
    ):
        if not isinstance(value, kind) and (value is not None or name == "model"):
            raise TypeError(f"{caller}: {name} is a {type(value).__name__}; a {kind.__name__} is needed")
    loaders = list(loader) if isinstance(loader, (tuple, list)) else [loader]
    loaders = [one for one in loaders if hasattr(one, "epoch")]
    stateful = [one for one in callbacks if hasattr(one, "state_dict") and hasattr(one, "load_state_dict")]
    generators = _generators(caller, model, loaders, generator)
    parts: dict[str, Holder] = {"model": (model.state_dict, model.load_state_dict)}
    if optimizer is not None:
        parts["optimizer"] = optimizer.state_dict, optimizer.load_state_dict
    if scheduler is not None:
        parts["scheduler"] = scheduler.state_dict, scheduler.load_state_dict
    if loaders:
        parts["loader"] = lambda: [one.epoch for one in loaders], lambda state: _set_epochs(loaders, state)
    if stateful:
        parts["callbacks"] = (
            lambda: [[type(one).__name__, one.state_dict()] for one in stateful],
            lambda state: _set_callbacks(stateful, state),
        )
    parts["random"] = (
        lambda: {name: one.bit_generator.state for name, one in generators.items()},
        lambda state: _set_generators(generators, state),
    )
    return parts


def _generators(caller: str, model: Module, loaders: list[Any], given: Any) -> dict[str, np.random.Generator]:
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
