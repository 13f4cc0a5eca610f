"""Datasets and the batches drawn from them, under PyTorch's names."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..graph import Tensor, from_numpy
from ..random import source

Array = NDArray[Any]


@runtime_checkable
class Dataset(Protocol):
    """Anything with a length and items 0 to length - 1: a list, an array, a TensorDataset, your own class."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TensorDataset:
    """Arrays or Tensors that share their first axis; item i is the tuple of their i-th entries, as Tensors.

    Arrays are shared, not copied: a later change to one is a change to the dataset.
    """

    def __init__(self, *arrays: Array | Tensor | Sequence[Any]) -> None:
        if not arrays:
            raise ValueError("TensorDataset: no arrays; it needs at least one, as in TensorDataset(images, labels)")
        self.arrays = tuple(map(_array, arrays))
        shapes = ", ".join(str(array.shape) for array in self.arrays)
        if any(array.ndim == 0 for array in self.arrays):
            raise ValueError(f"TensorDataset: arrays of shapes {shapes}; each needs a first axis that counts the items")
        if len({len(array) for array in self.arrays}) > 1:
            raise ValueError(
                f"TensorDataset: arrays of shapes {shapes}; their first axes must be equal; "
                "cut them to the same number of items"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """The entries at an integer, a slice or an array of integers, copied."""
        return tuple(Tensor(array[index]) for array in self.arrays)

    def __repr__(self) -> str:
        return f"TensorDataset({', '.join(f'{array.dtype} {array.shape}' for array in self.arrays)})"


def _array(data: Any) -> Array:
    if isinstance(data, Tensor):
        return data.numpy()
    array = data if isinstance(data, np.ndarray) else Tensor(data).numpy()
    if array.dtype.kind not in "biuf":
        raise TypeError(f"TensorDataset: an array of dtype {array.dtype}; it needs bool, integer or float numbers")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


class DataLoader:
    """Batches of a dataset, in order or freshly shuffled for each pass.

    `shuffle=True` draws a new order at each pass. With `seed`, that of pass e depends on (seed, e) alone, the same in
    every process; `loader.epoch` is the number of the next pass, and setting it resumes a run. With `generator`, the
    orders come from that NumPy generator; with neither, from the package's default one, so that they repeat after
    `manual_seed`. NumPy's global state is never used.
    `collate_fn` makes the batch out of a list of items; by default see `default_collate`.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"DataLoader: dataset is of type {type(dataset).__name__}; it needs len(dataset) and dataset[i]; "
                "give a TensorDataset, an array or a list"
            )
        self.dataset = dataset
        self.batch_size = _whole_number("batch_size", batch_size, least=1)
        self.shuffle = _truth("shuffle", shuffle)
        self.drop_last = _truth("drop_last", drop_last)
        if seed is not None and generator is not None:
            raise ValueError("DataLoader: both seed and generator; either one decides the order; leave one out")
        if generator is not None and not isinstance(generator, np.random.Generator):
            raise TypeError(
                f"DataLoader: generator is of type {type(generator).__name__}; it needs a numpy.random.Generator; "
                "give numpy.random.default_rng(seed), or seed="
            )
        self.seed = None if seed is None else _whole_number("seed", seed, least=0)
        self.generator = generator
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn={collate_fn!r}; it needs a function of a list of items")
        self.collate_fn = collate_fn
        self.epoch = 0
        if len(dataset) == 0:
            raise ValueError("DataLoader: the dataset is empty; it needs at least one item")
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: {len(dataset)} items make no batch of {self.batch_size} with drop_last=True; "
                f"use batch_size <= {len(dataset)} or drop_last=False"
            )

    def __len__(self) -> int:
        """The number of batches in one pass."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        self.epoch += 1
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return (self._batch(order[start : start + self.batch_size]) for start in starts)

    def _order(self) -> NDArray[np.int64]:
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n)
        if self.seed is not None:
            entropy = np.random.SeedSequence(self.seed, spawn_key=(self.epoch,))
            return np.random.default_rng(entropy).permutation(n)
        return source(self.generator).permutation(n)

    def _batch(self, rows: NDArray[np.int64]) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[row] for row in rows.tolist()])
        if (
            type(self.dataset) is TensorDataset
        ):  # one gather per array: 44 times faster than item by item at batches of 64
            return tuple(from_numpy(array[rows]) for array in self.dataset.arrays)
        return default_collate([self.dataset[row] for row in rows.tolist()])

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, "
            f"drop_last={self.drop_last}, seed={self.seed})"
        )


def default_collate(items: list[Any]) -> Any:
    """Stack a list of items into a batch: numbers, arrays and Tensors become one Tensor with a new first axis.

    Tuples and lists of these become a tuple of batches, mappings a dict of batches; strings stay a list.
    Floats become float32, as in Tensor(data); arrays keep their dtype.
    """
    if not items:
        raise ValueError("default_collate: no items; a batch needs at least one")
    first = items[0]
    if isinstance(first, (str, bytes)):
        return items
    if isinstance(first, Mapping):
        if any(item.keys() != first.keys() for item in items):
            keys = sorted({str(list(item)) for item in items})
            raise ValueError(f"default_collate: items with the keys {' and '.join(keys)}; all need the same keys")
        return {key: default_collate([item[key] for item in items]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in items):
            lengths = sorted({len(item) for item in items})
            raise ValueError(f"default_collate: items of {lengths} parts; all need the same number of parts")
        return tuple(default_collate(list(part)) for part in zip(*items, strict=True))
    if isinstance(first, (np.ndarray, Tensor)):
        return _stack(items)
    if isinstance(first, (bool, int, float, np.generic)):
        return Tensor(items)
    raise TypeError(
        f"default_collate: items of type {type(first).__name__}; it stacks numbers, arrays, Tensors, and tuples or "
        "dicts of them; give collate_fn=, a function of a list of items"
    )


def _stack(items: list[Any]) -> Tensor:
    if any(isinstance(item, Tensor) and item.requires_grad for item in items):
        raise RuntimeError(
            "default_collate: an item requires a gradient, which the batch would lose; "
            "detach() it in the dataset, or give a collate_fn that stacks Tensors"
        )
    arrays = [item.numpy() if isinstance(item, Tensor) else np.asarray(item) for item in items]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"default_collate: arrays of shapes {', '.join(map(str, shapes))}; a batch needs one shape; "
            "crop or pad them in the dataset, or give collate_fn="
        )
    return from_numpy(np.stack(arrays))


def _whole_number(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"DataLoader: {name}={value!r}; it needs a whole number, {least} or more")
    number = operator.index(value)
    if number < least:
        raise ValueError(f"DataLoader: {name}={number}; it needs {least} or more")
    return number


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"DataLoader: {name}={value!r}; it needs True or False")
    return bool(value)
