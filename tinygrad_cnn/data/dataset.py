"""Datasets under PyTorch's names: what they are, arrays as one, parts of one, and several behind one another."""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..graph import Tensor
from ..random import source
from .arguments import check_generator, native, whole

__all__ = ["ConcatDataset", "Dataset", "Subset", "TensorDataset", "random_split"]

Array = NDArray[Any]
Item = TypeVar("Item", covariant=True)


@runtime_checkable
class Dataset(Protocol[Item]):
    """Anything with a length and items 0 to length - 1: a list, an array, a TensorDataset, your own class.

    A class of your own may, but need not, be a subclass; `class Pairs(Dataset[tuple[Tensor, int]])` names its items.
    """

    def __len__(self) -> int:
        """The number of items."""
        raise NotImplementedError(f"{type(self).__name__}: no __len__; a Dataset needs one; return the number of items")

    def __getitem__(self, index: int, /) -> Item:
        """Item `index`."""
        raise NotImplementedError(f"{type(self).__name__}: no __getitem__; a Dataset needs one; return item {index!r}")


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
        if isinstance(index, (bool, np.bool_)):  # NumPy would take it for a new axis
            raise TypeError(
                f"TensorDataset: index {index!r} is of type {type(index).__name__}; it needs a whole number"
            )
        return tuple(Tensor(array[index]) for array in self.arrays)

    def __repr__(self) -> str:
        return f"TensorDataset({', '.join(f'{array.dtype} {array.shape}' for array in self.arrays)})"


def _array(data: Any) -> Array:
    if isinstance(data, Tensor):
        return data.numpy()
    array = data if isinstance(data, np.ndarray) else Tensor(data).numpy()
    if array.dtype.kind not in "biuf":
        raise TypeError(f"TensorDataset: an array of dtype {array.dtype}; it needs bool, integer or float numbers")
    return native(array)


class Subset:
    """The items of a dataset at `indices`, in their order: item i is dataset[indices[i]].

    Raises TypeError for an index that is no integer and IndexError for one outside the dataset.
    """

    def __init__(self, dataset: Dataset[Any], indices: Iterable[Any]) -> None:
        self.dataset = sized("Subset", dataset)
        n = len(dataset)
        self.indices: NDArray[np.int64] = np.array([row_of(index, n, "Subset") for index in indices], np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        """Item `index` of the part; a slice or an array of integers gives a smaller Subset."""
        if isinstance(index, (slice, list, np.ndarray)):
            return Subset(self.dataset, self.indices[index])
        return self.dataset[int(self.indices[row_of(index, len(self), "Subset")])]

    def __repr__(self) -> str:
        return f"Subset({len(self)} items of {self.dataset!r})"


class ConcatDataset:
    """Datasets behind one another: first the items of the first, then those of the second, and so on."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = [sized("ConcatDataset", dataset) for dataset in datasets]
        if not self.datasets:
            raise ValueError("ConcatDataset: no datasets; it needs at least one, as in ConcatDataset([train, extra])")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int, /) -> Any:
        """Item `index`, counted over all datasets."""
        row = row_of(index, len(self), "ConcatDataset")
        which = bisect_right(self.cumulative_sizes, row)
        return self.datasets[which][row - (self.cumulative_sizes[which - 1] if which else 0)]

    def __repr__(self) -> str:
        return f"ConcatDataset([{', '.join(map(repr, self.datasets))}])"


def random_split(
    dataset: Dataset[Any],
    lengths: Sequence[float],
    generator: np.random.Generator | None = None,
    *,
    seed: int | None = None,
) -> list[Subset]:
    """Parts of a dataset that share no item, chosen at random: of the given lengths, or fractions that sum to 1.

    A fraction f gives floor(f * n) items; what is left over goes to the parts in turn, one item each.

    The draw comes from `generator`, from a fresh one for `seed`, or from the package's default generator. Raises
    ValueError unless the lengths sum to len(dataset), or the fractions, each from 0 to 1, to 1.
    """
    n = len(sized("random_split", dataset))
    if generator is not None and seed is not None:
        raise ValueError("random_split: both seed and generator; either one decides the parts; leave one out")
    check_generator("random_split", generator, ", or seed=")
    counts = _counts(lengths, n)
    if seed is not None:
        generator = np.random.default_rng(whole("random_split", "seed", seed))
    order = source(generator).permutation(n)
    return [Subset(dataset, order[first:last]) for first, last in pairwise(accumulate(counts, initial=0))]


def _counts(lengths: Sequence[float], n: int) -> list[int]:
    """The number of items in each part."""
    given = list(lengths)
    if not given or any(isinstance(x, (bool, np.bool_)) or not isinstance(x, (int, float, np.number)) for x in given):
        raise TypeError(f"random_split: lengths={given}; it needs numbers of items, or fractions that sum to 1")
    if all(hasattr(x, "__index__") for x in given) and (sum(given) == n or sum(given) != 1):
        counts = [operator.index(x) for x in given]  # type: ignore[arg-type]
        if min(counts) < 0 or sum(counts) != n:
            raise ValueError(
                f"random_split: the lengths {counts} sum to {sum(counts)}; they must be 0 or more and sum to {n}, "
                "the number of items"
            )
        return counts
    if not all(0 <= x <= 1 for x in given) or not math.isclose(sum(given), 1):
        raise ValueError(
            f"random_split: the fractions {given} sum to {sum(given)}; each must be from 0 to 1 and all sum to 1"
        )
    counts = [math.floor(x * n) for x in given]
    for i in range(n - sum(counts)):
        counts[i % len(counts)] += 1
    return counts


def sized(name: str, dataset: Any) -> Dataset[Any]:
    """The dataset itself. Raises TypeError unless it has a length and items."""
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"{name}: dataset is of type {type(dataset).__name__}; it needs len(dataset) and dataset[i]; "
            "give a TensorDataset, an array or a list"
        )
    return dataset


def row_of(index: Any, n: int, name: str) -> int:
    """`index` as a number from 0 to n - 1; one below 0 counts from the end."""
    if isinstance(index, (bool, np.bool_)) or not hasattr(index, "__index__"):
        raise TypeError(f"{name}: index {index!r} is of type {type(index).__name__}; it needs a whole number")
    row = operator.index(index)
    if not -n <= row < n:
        raise IndexError(f"{name}: index {row} of {n} items; it needs {-n} to {n - 1}")
    return row % n
