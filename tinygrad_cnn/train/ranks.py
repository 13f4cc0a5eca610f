"""What `fit` and `evaluate` see to where several processes train one model."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

from ..distributed import DataParallel, DistributedSampler
from ..distributed.group import Group
from ..optim import Optimizer


def check_trained(parallel: DataParallel, optimizer: Optimizer) -> None:
    """Refuse parameters whose gradients would not be added up, so that they would come to differ."""
    own = {id(p) for p in parallel.module.parameters()}
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    strangers = sum(id(p) not in own for p in moved)
    if strangers and parallel.group.size > 1:
        raise ValueError(
            f"fit: {strangers} of the {len(moved)} parameters in the optimizer are not the DataParallel model's, and "
            "their gradients would stay those of one process; make them part of the module"
        )


def check_loader(group: Group, loader: Any) -> None:
    """Refuse to train where the processes do not have equally many batches: those with more would wait for ever."""
    counts = group.collect(len(loader) if isinstance(loader, Sized) else None)
    if len(set(counts)) > 1:
        raise ValueError(
            f"fit: loader has {', '.join(map(str, counts))} batches in the {group.size} processes; all need the same; "
            "use DistributedSampler with pad=True or drop_last=True"
        )


def check_counted_once(name: str, group: Group, loader: Any) -> None:
    """Refuse to measure items twice."""
    sampler = getattr(loader, "sampler", None)
    if group.size > 1 and isinstance(sampler, DistributedSampler) and sampler.repeated:
        n = len(sampler.dataset)
        raise ValueError(
            f"{name}: its sampler gives {sampler.repeated} of the {n} items twice, so that {sampler.num_replicas} "
            "processes have equally many, and they would count twice; give DistributedSampler pad=False"
        )


def begin_pass(loader: Iterable[Any], epoch: int) -> None:
    """Tell the samplers that have set_epoch the number of the pass, from 0."""
    for name in ("sampler", "batch_sampler"):
        set_epoch = getattr(getattr(loader, name, None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch - 1)
