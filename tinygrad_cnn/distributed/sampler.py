"""DistributedSampler: each process takes its own items of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data import Dataset, Sampler
from ..data.arguments import whole
from ..data.dataset import sized
from .group import init

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler):
    """Item `rank`, rank + num_replicas, rank + 2 num_replicas and so on of an order that all processes share.

    num_replicas, rank: of the processes of `init()` unless given.
    shuffle: a new order for each pass, drawn from (seed, epoch) alone. It is that of DataLoader(shuffle=True,
        seed=seed), so N processes with batches of B / N see together the batches of B that one process sees. `fit` sets
        the epoch; a loop of your own calls set_epoch(e) before each pass.
    drop_last: leave out the last len(dataset) % num_replicas items of the order, so that all have equally many.
    pad: without drop_last, give the first items of the order once more to those that would have one item less. With
        pad=False they have one less, and every item comes exactly once: what `evaluate` needs.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        *,
        pad: bool = True,
    ) -> None:
        name = type(self).__name__
        self.dataset = sized(name, dataset)
        self.num_replicas = whole(name, "num_replicas", init().size if num_replicas is None else num_replicas, 1)
        self.rank = whole(name, "rank", init().rank if rank is None else rank)
        if self.rank >= self.num_replicas:
            raise ValueError(f"{name}: rank={self.rank} of num_replicas={self.num_replicas}; ranks begin at 0")
        if len(dataset) < self.num_replicas and (pad or drop_last):
            raise ValueError(
                f"{name}: {len(dataset)} items for {self.num_replicas} processes; each needs at least one to train; "
                "start fewer processes"
            )
        self.shuffle, self.seed, self.drop_last, self.pad = shuffle, whole(name, "seed", seed), drop_last, pad
        self.epoch = 0

    @property
    def repeated(self) -> int:
        """How many items of a pass come twice over all processes."""
        return -len(self.dataset) % self.num_replicas if self.pad and not self.drop_last else 0

    def set_epoch(self, epoch: int) -> None:
        """The number of the next pass, on which its order depends."""
        self.epoch = whole(f"{type(self).__name__}.set_epoch", "epoch", epoch)

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch,))).permutation(n)
        if self.drop_last:
            order = order[: n - n % self.num_replicas]
        elif self.repeated:
            order = np.concatenate([order, order[: self.repeated]])
        return iter(order[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        n = len(self.dataset)
        if self.drop_last:
            return n // self.num_replicas
        return -(-(n + self.repeated - self.rank) // self.num_replicas)
