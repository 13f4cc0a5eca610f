"""Batches drawn from a dataset, in this thread or in threads that work ahead."""

from __future__ import annotations

import copy
import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import from_numpy
from ..random import drawing_from, source
from .arguments import check_generator, whole
from .collate import default_collate
from .dataset import Dataset, Subset, TensorDataset, sized
from .prefetch import ahead
from .samplers import BatchSampler

__all__ = ["DataLoader"]

ITEM, BATCH = 0, 1  # the first key of the random numbers of an item, and of a batch as a whole


class DataLoader:
    """Batches of a dataset, in order or freshly shuffled for each pass.

    `shuffle=True` draws a new order at each pass. With `seed`, that of pass e depends on (seed, e) alone, the same in
    every process; `loader.epoch` is the number of the next pass, and setting it resumes a run. With `generator`, the
    orders come from that NumPy generator; with neither, from the package's default one, so that they repeat after
    `manual_seed`. NumPy's global state is never used.
    `sampler` gives the indices of a pass instead, `batch_sampler` a list of them for each batch; -1 is the last item.
    `collate_fn` makes the batch out of a list of items; by default see `default_collate`.

    `num_workers` threads make batches ahead of their use, `prefetch_factor` (2) for each; items that read files, or
    that NumPy computes, gain by it, items in pure Python do not. Order and contents are the same for any number of
    workers, random numbers too: while an item is made, `default_generator()` is one that depends on the item's index
    and the pass alone, besides the seed (or the state of the generator at the start of the pass). A dataset must bear
    being asked by several threads. An error of an item is raised where its batch would have come, with the index of
    the item as a note. The threads end with the pass, or when its iterator is closed or dropped.
    `worker_init_fn(k)` is called once in thread k before its first batch. `pin_memory` and `persistent_workers` are
    accepted for PyTorch's sake and mean nothing here.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Iterable[int]] | None = None,
        num_workers: int = 0,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        worker_init_fn: Callable[[int], Any] | None = None,
        generator: np.random.Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        seed: int | None = None,
    ) -> None:
        self.dataset = sized("DataLoader", dataset)
        self.batch_size = whole("DataLoader", "batch_size", batch_size, 1)
        self.shuffle = _truth("shuffle", shuffle)
        self.drop_last = _truth("drop_last", drop_last)
        self.num_workers = whole("DataLoader", "num_workers", num_workers)
        if prefetch_factor is not None and self.num_workers == 0:
            raise ValueError(
                f"DataLoader: prefetch_factor={prefetch_factor} with num_workers=0; only workers make batches ahead; "
                "give num_workers=1 or more, or leave it out"
            )
        self.prefetch_factor = whole(
            "DataLoader", "prefetch_factor", 2 if prefetch_factor is None else prefetch_factor, 1
        )
        self.pin_memory = _truth("pin_memory", pin_memory)
        self.persistent_workers = _truth("persistent_workers", persistent_workers)
        if seed is not None and generator is not None:
            raise ValueError("DataLoader: both seed and generator; either one decides the order; leave one out")
        check_generator("DataLoader", generator, ", or seed=")
        self.seed = None if seed is None else whole("DataLoader", "seed", seed)
        self.generator = generator
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn={collate_fn!r}; it needs a function of a list of items")
        self.collate_fn = collate_fn
        if worker_init_fn is not None and not callable(worker_init_fn):
            raise TypeError(f"DataLoader: worker_init_fn={worker_init_fn!r}; it needs a function of a worker's number")
        self.worker_init_fn = worker_init_fn
        self.sampler = _indices("sampler", sampler)
        self.batch_sampler = _indices("batch_sampler", batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: both sampler and shuffle=True; either one decides the order; leave one out")
        if batch_sampler is not None and (sampler is not None or shuffle or drop_last or self.batch_size != 1):
            raise ValueError(
                "DataLoader: batch_sampler beside batch_size, shuffle, sampler or drop_last; "
                "it decides all of them; leave the others out"
            )
        self.epoch = 0
        if len(dataset) == 0:
            raise ValueError("DataLoader: the dataset is empty; it needs at least one item")
        if sampler is None and batch_sampler is None and len(self) == 0:
            raise ValueError(
                f"DataLoader: {len(dataset)} items make no batch of {self.batch_size} with drop_last=True; "
                f"use batch_size <= {len(dataset)} or drop_last=False"
            )

    def __len__(self) -> int:
        """The number of batches in one pass."""
        if self.batch_sampler is not None:
            return _length("batch_sampler", self.batch_sampler)
        n = len(self.dataset) if self.sampler is None else _length("sampler", self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        randomness = self._randomness()
        batches = self._rows()
        self.epoch += 1
        # An index that a sampler gives k times in one pass is made of other random numbers each time.
        seen: Counter[int] | None = None if self.sampler is self.batch_sampler is None else Counter()
        tasks = (self._task(randomness, number, rows, seen) for number, rows in enumerate(batches))
        if self.num_workers == 0:
            return (task(_always) for task in tasks)
        return ahead(tasks, self.num_workers, self.num_workers * self.prefetch_factor, self.worker_init_fn)

    def _rows(self) -> Iterator[NDArray[np.int64]]:
        """The indices of each batch of the pass that begins."""
        if self.batch_sampler is not None:
            return (_whole_numbers("batch_sampler", rows, len(self.dataset)) for rows in self.batch_sampler)
        if self.sampler is not None:
            chosen = BatchSampler(self.sampler, self.batch_size, self.drop_last)
            return (_whole_numbers("sampler", rows, len(self.dataset)) for rows in chosen)
        order = self._order()
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return (order[start : start + self.batch_size] for start in starts)

    def _order(self) -> NDArray[np.int64]:
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n)
        if self.seed is not None:
            entropy = np.random.SeedSequence(self.seed, spawn_key=(self.epoch,))
            return np.random.default_rng(entropy).permutation(n)
        return source(self.generator).permutation(n)

    def _randomness(self) -> Callable[..., np.random.Generator]:
        """A function from keys to the generators of the pass that begins; no generator is advanced by it."""
        epoch, seed = self.epoch, self.seed
        parent = source(self.generator).bit_generator
        kind, state = type(parent), copy.deepcopy(parent.state)

        @functools.cache
        def entropy() -> int | list[int]:
            if seed is not None:
                return seed
            copied = kind()
            copied.state = state
            return [int(x) for x in np.random.Generator(copied).integers(0, 2**32, 8)]

        def generator(*key: int) -> np.random.Generator:
            return np.random.default_rng(np.random.SeedSequence(entropy(), spawn_key=(epoch, *key)))

        return generator

    def _task(
        self,
        randomness: Callable[..., np.random.Generator],
        number: int,
        rows: NDArray[np.int64],
        seen: Counter[int] | None,
    ) -> Callable[[Callable[[], bool]], Any]:
        """A function that makes batch `number`, and asks before each item whether it is still wanted."""
        keys = [(row,) for row in rows.tolist()] if seen is None else [_again(row, seen) for row in rows.tolist()]

        def make(wanted: Callable[[], bool]) -> Any:
            with drawing_from(lambda: randomness(BATCH, number)):
                if self.collate_fn is None and (gathered := _gather(self.dataset, rows)) is not None:
                    return gathered
                items = []
                for row, key in zip(rows.tolist(), keys, strict=True):
                    if not wanted():
                        return None
                    items.append(self._item(row, functools.partial(randomness, ITEM, *key)))
                return (self.collate_fn or default_collate)(items)

        return make

    def _item(self, row: int, randomness: Callable[[], np.random.Generator]) -> Any:
        try:
            with drawing_from(randomness):
                return self.dataset[row]
        except Exception as error:
            error.add_note(f"DataLoader: raised by item {row} of a {type(self.dataset).__name__}")
            raise

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, "
            f"drop_last={self.drop_last}, seed={self.seed})"
        )


def _gather(dataset: Dataset[Any], rows: NDArray[np.int64]) -> tuple[Any, ...] | None:
    """A batch of a TensorDataset, or of a part of one, by one gather per array; None for another dataset.

    44 times faster than item by item at batches of 64.
    """
    whole: Any = dataset
    while type(whole) is Subset:
        whole, rows = whole.dataset, whole.indices[rows]
    return tuple(from_numpy(array[rows]) for array in whole.arrays) if type(whole) is TensorDataset else None


def _again(row: int, seen: Counter[int]) -> tuple[int, ...]:
    """The key of the next time that the pass comes by this row: (row), (row 1), (row 2), ..."""
    before = seen[row]
    seen[row] += 1
    return (row, before) if before else (row,)


def _always() -> bool:
    return True


def _indices(name: str, given: Any) -> Any:
    if given is not None and not hasattr(given, "__iter__"):
        raise TypeError(f"DataLoader: {name} is of type {type(given).__name__}; it needs indices that can be iterated")
    return given


def _length(name: str, given: Any) -> int:
    if not hasattr(given, "__len__"):
        raise TypeError(
            f"DataLoader: the {name} of type {type(given).__name__} has no length, so the number of batches is unknown"
        )
    return len(given)


def _whole_numbers(name: str, rows: Iterable[Any], n: int) -> NDArray[np.int64]:
    given = list(rows)
    for row in given:
        if isinstance(row, (bool, np.bool_)) or not hasattr(row, "__index__"):
            raise TypeError(f"DataLoader: the {name} gave {row!r}; it must give whole numbers, indices of the dataset")
        if not -n <= operator.index(row) < n:
            raise IndexError(
                f"DataLoader: the {name} gave {row}; the dataset has {n} items, 0 to {n - 1}, or {-n} to -1"
            )
    return np.array([operator.index(row) % n for row in given], np.int64)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"DataLoader: {name}={value!r}; it needs True or False")
    return bool(value)
