"""Which other processes hold a part of the same batch: what normalises over the batch asks here for its sums.

`tinygrad_cnn.distributed` sets `current` while a DataParallel model computes in training mode; elsewhere it is None.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Replicas(Protocol):
    """The processes, which all make the same calls in the same order."""

    def gather(self, values: Array) -> Array:
        """The float64 values of every process: (k) -> (processes k)."""

    def add(self, values: Array) -> None:
        """Replace the values by their sums over the processes."""


current: ContextVar[Replicas | None] = ContextVar("replicas", default=None)


@dataclass(frozen=True, eq=False)
class Shared:
    """The mean and the biased variance of each channel over the batch of all processes, which has `count` values."""

    replicas: Replicas
    count: int
    own_count: int
    mean: Array
    variance: Array

    def means_to_own_sums(self, total: Array, along: Array) -> tuple[Array, Array]:
        """Two sums of this process's values -> own_count times their means over the values of all processes."""
        sums = np.stack([total, along]).astype(np.float64)
        self.replicas.add(sums)
        sums *= self.own_count / self.count
        return sums[0].astype(self.mean.dtype), sums[1].astype(self.mean.dtype)

    def __repr__(self) -> str:
        return f"Shared({self.count} values, {self.own_count} here)"


def share(replicas: Replicas, count: int, mean: Array, variance: Array) -> Shared:
    """The statistics of all processes' values, from those of this one's.

    The parts are joined as sum n_k (var_k + (mean_k - mean)^2), in float64 and in the order of the processes, so that
    all get the same bits; with sums of squares in its place, a mean of a thousand deviations costs six digits.
    Source: Chan, Golub & LeVeque, Algorithms for computing the sample variance (1983), eq. 2.1.
    """
    c = len(mean)
    parts = replicas.gather(np.concatenate([[count], mean, variance]).astype(np.float64))
    counts, means, variances = parts[:, :1], parts[:, 1 : c + 1], parts[:, c + 1 :]
    n = max(counts.sum(), 1.0)
    average = (counts * means).sum(0) / n
    spread = (counts * (variances + (means - average) ** 2)).sum(0) / n
    return Shared(replicas, int(n), count, average.astype(mean.dtype), spread.astype(mean.dtype))


def averaged(values: tuple[Array, Array], weight: int) -> tuple[Array, Array]:
    """Two arrays of one length, averaged over the processes by their weights; as they are for a process alone."""
    replicas = current.get()
    if replicas is None:
        return values
    first, second = values
    sums = np.concatenate([[1.0], first, second]).astype(np.float64) * weight
    replicas.add(sums)
    sums /= max(sums[0], 1.0)
    c = len(first)
    return sums[1 : c + 1].astype(first.dtype), sums[c + 1 :].astype(second.dtype)
