"""Numbers that follow the batch: what a model computes with them is found by running it with several batch sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

__all__ = ["Dim", "fixed", "followed"]

NAME = "batch"  # of the batch's length in the file


@dataclass(frozen=True)
class Dim:
    """times * batch + plus"""

    times: int
    plus: int

    def __str__(self) -> str:
        text = NAME if self.times == 1 else f"{self.times}*{NAME}"
        return text if not self.plus else f"{text}{self.plus:+d}"


Length = int | Dim
Shape = tuple[Length, ...]


def followed(values: Sequence[float], batches: Sequence[int]) -> Length | None:
    """The number that took these values at these batch sizes, or None where no line leads through them."""
    if len(set(values)) == 1 and float(values[0]).is_integer():
        return int(values[0])
    other = next((i for i, batch in enumerate(batches) if batch != batches[0]), None)
    if other is None:
        return None
    times = (values[other] - values[0]) / (batches[other] - batches[0])
    plus = values[0] - times * batches[0]
    if not (float(times).is_integer() and float(plus).is_integer()):
        return None
    if any(value != times * batch + plus for value, batch in zip(values, batches, strict=True)):
        return None
    return Dim(int(times), int(plus))


def fixed(shape: Sequence[Length]) -> TypeGuard[tuple[int, ...]]:
    """Whether no length of a shape follows the batch."""
    return all(isinstance(n, int) for n in shape)
