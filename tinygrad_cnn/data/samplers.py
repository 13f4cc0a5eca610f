"""Which items come next, under PyTorch's names: whatever gives indices can be the `sampler` of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..random import source
from .arguments import check_generator, whole
from .dataset import Dataset, sized

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "WeightedRandomSampler"]


class Sampler:
    """Indices of a dataset, anew for each pass: `__iter__` gives them, `__len__` says how many.

    A class of your own may, but need not, be a subclass.
    """

    def __iter__(self) -> Iterator[Any]:
        """The indices of one pass."""
        raise NotImplementedError(f"{type(self).__name__}: no __iter__; a Sampler needs one; yield the indices")

    def __len__(self) -> int:
        """How many indices one pass has."""
        raise NotImplementedError(f"{type(self).__name__}: no __len__; a Sampler needs one; return how many it yields")


class SequentialSampler(Sampler):
    """0, 1, ..., len(data_source) - 1."""

    def __init__(self, data_source: Dataset[Any]) -> None:
        self.data_source = sized("SequentialSampler", data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """`num_samples` indices (all by default) in random order; with `replacement` each is drawn from all of them.

    Without replacement, more than len(data_source) of them are several permutations behind one another.
    """

    def __init__(
        self,
        data_source: Dataset[Any],
        replacement: bool = False,
        num_samples: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        self.data_source = sized("RandomSampler", data_source)
        self.replacement = replacement
        if len(data_source) == 0:
            raise ValueError("RandomSampler: the dataset is empty; it needs at least one item")
        count = len(data_source) if num_samples is None else num_samples
        self.num_samples = whole("RandomSampler", "num_samples", count, 1)
        check_generator("RandomSampler", generator)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        n, generator = len(self.data_source), source(self.generator)
        if self.replacement:
            return iter(generator.integers(0, n, self.num_samples).tolist())
        orders = [generator.permutation(n) for _ in range(-(-self.num_samples // n))]
        return iter(np.concatenate(orders)[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class WeightedRandomSampler(Sampler):
    """`num_samples` indices, i with a probability of weights[i] / sum(weights) in each draw.

    Without `replacement` each index comes at most once: as if drawn one after the other from those that are left.
    Raises ValueError for weights that are negative, not finite or all zero, and without replacement for fewer
    positive weights than samples, not counting those that are nothing beside the largest: below 1e-323 of it, about.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: np.random.Generator | None = None,
    ) -> None:
        self.weights = np.asarray(weights, np.float64)
        self.num_samples = whole("WeightedRandomSampler", "num_samples", num_samples, 1)
        self.replacement = replacement
        check_generator("WeightedRandomSampler", generator)
        self.generator = generator
        if self.weights.ndim != 1:
            raise ValueError(
                f"WeightedRandomSampler: weights of shape {self.weights.shape}; it needs one number for each item"
            )
        if not np.isfinite(self.weights).all() or (self.weights < 0).any() or not self.weights.any():
            raise ValueError("WeightedRandomSampler: the weights must be finite, 0 or more, and not all 0")
        positive = int((self.weights > 0).sum())
        if not replacement and positive < self.num_samples:
            raise ValueError(
                f"WeightedRandomSampler: {self.num_samples} samples of {positive} items with a positive weight; "
                "without replacement there cannot be more; use replacement=True or fewer samples"
            )
        left = int((self._probabilities() > 0).sum())
        if not replacement and left < self.num_samples:
            raise ValueError(
                f"WeightedRandomSampler: {self.num_samples} samples of {positive} items with a positive weight, but "
                f"{positive - left} of these weights are nothing in float64 beside the largest, "
                f"{float(self.weights.max())!r}; without replacement there cannot be more than {left}; give weights "
                "that differ less, replacement=True or fewer samples"
            )

    def _probabilities(self) -> NDArray[np.float64]:
        p = self.weights / self.weights.max()  # a sum of large weights could overflow
        shares: NDArray[np.float64] = p / p.sum()
        return shares

    def __iter__(self) -> Iterator[int]:
        p = self._probabilities()
        return iter(source(self.generator).choice(len(p), self.num_samples, self.replacement, p).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The indices of a sampler in lists of `batch_size`; the last may be shorter, or is left out by `drop_last`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool = False) -> None:
        self.sampler = sampler
        self.batch_size = whole("BatchSampler", "batch_size", batch_size, 1)
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        rows = iter(self.sampler)
        while len(batch := list(islice(rows, self.batch_size))) == self.batch_size:
            yield batch
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
