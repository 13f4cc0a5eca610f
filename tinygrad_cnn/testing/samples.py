"""The sample protocol: what `@my_op.sample def _(draw)` may ask for, and the inputs that follow from it.

Finite differences cannot judge a gradient next to a kink, so arrays are made without kinks in reach: their
values are a shuffle of (k + 1/2) * 0.2, far from zero and from each other compared with a step of 6e-6,
also between the arrays of one sample.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..declaration import Op
from ..shapes import whole

Array = NDArray[Any]
T = TypeVar("T")

GAP = 0.2
_OFFSETS = (0.0, 0.05, -0.05, 0.025, -0.025, 0.075, -0.075)  # within half a gap: the arrays of one sample do not tie
_SHAPES = [(3,), (2, 3), (4, 2), (3, 1), (1, 4), (2, 3, 4), (3, 1, 2), (2,), (1,)]


class Draw:
    """A source of sizes, choices and arrays, from Hypothesis (`Draw.of(data)`) or from a seed (`Draw.seeded(0)`).

    integer: a function (lo, hi) -> an int with lo <= int <= hi; all the rest is derived from it.
    """

    def __init__(self, integer: Callable[[int, int], int]) -> None:
        self._integer = integer
        self._arrays = 0

    @classmethod
    def of(cls, data: Any) -> Self:
        """From the `data` of Hypothesis's `st.data()`, or from the `draw` of a composite strategy."""
        from . import strategies

        draw = getattr(data, "draw", data)
        return cls(lambda lo, hi: int(draw(strategies.integers(lo, hi))))

    @classmethod
    def seeded(cls, seed: int) -> Self:
        """The same draws for the same seed, a whole number >= 0, without Hypothesis."""
        rng = seeded(seed, "Draw.seeded")
        return cls(lambda lo, hi: int(rng.integers(lo, hi, endpoint=True)))

    def rng(self) -> np.random.Generator:
        """A generator of random numbers that this draw has seeded."""
        return np.random.default_rng(self._integer(0, 2**16))

    def size(self, lo: int, hi: int) -> int:
        """An int from lo to hi, both included."""
        return self._integer(lo, hi)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options; failing examples shrink towards the first."""
        return options[self._integer(0, len(options) - 1)]

    def shape(self) -> tuple[int, ...]:
        """A small shape of one to three axes, never square."""
        return self.choice(_SHAPES)

    def array(self, *shape: int) -> Array:
        """float64 values clear of zero and of each other, those of this sample's other arrays included."""
        n = int(np.prod(shape))
        values = (np.arange(n) - n // 2 + 0.5) * GAP + _OFFSETS[self._arrays % len(_OFFSETS)]
        self._arrays += 1
        return self.rng().permutation(values).reshape(shape)

    def positive(self, *shape: int) -> Array:
        """float64 values in [0.5, 2]."""
        return np.asarray(self.rng().uniform(0.5, 2.0, shape))

    def positive_like(self, a: Array) -> Array:
        """float64 values in [0.5, 2] in the shape of `a`."""
        return self.positive(*a.shape)

    def broadcastable(self, k: int) -> tuple[Array, ...]:
        """`k` arrays whose shapes broadcast together, stretched along leading, middle and trailing axes."""
        return tuple(self.array(*shape) for shape in self.broadcastable_shapes(k))

    def broadcastable_shapes(self, k: int) -> list[tuple[int, ...]]:
        """`k` shapes that broadcast together."""
        full = self.shape()
        shapes = []
        for _ in range(k):
            stretched = tuple(1 if self.size(0, 3) == 3 else n for n in full)
            shapes.append(stretched[self.choice([0, 0, 0, len(full) - 1, len(full)]) :])
        return shapes

    def booleans(self, *shape: int) -> Array:
        """Trues and Falses."""
        return np.asarray(self.rng().random(shape) < 0.5)

    def probabilities(self, *shape: int) -> Array:
        """float64 rows along the last axis, each summing to 1, each value above 0.05 (up to ten of them)."""
        weights = self.rng().uniform(1.0, 1.8, shape)
        return np.asarray(weights / weights.sum(-1, keepdims=True))

    def labels(self, n_classes: int, *shape: int) -> Array:
        """int64 values in [0, n_classes)."""
        return np.asarray(self.rng().integers(0, n_classes, shape))

    def logits(self, *shape: int) -> Array:
        """float64 values in [-5, 5]."""
        return np.asarray(self.rng().uniform(-5.0, 5.0, shape))


def seeded(seed: Any, name: str) -> np.random.Generator:
    """A generator for a seed. Raises TypeError and ValueError for what is no whole number >= 0."""
    return np.random.default_rng(whole(name, "seed", seed, 0))


def declaration(op: Any) -> Op:
    """The declaration of an op given as the function or as its registry entry. Raises TypeError for anything else."""
    found = getattr(op, "op", op)
    if not isinstance(found, Op):
        raise TypeError(f"an op is needed, as made by @op; this is a {type(op).__name__}")
    return found


def unprovable(op: Any) -> str | None:
    """Why the generated properties cannot prove an op, or None.

    An op needs gradient rules, `f.vjp(x=None)` where no gradient flows. It needs a sample too, except where
    arrays of any one shape (one input), or of shapes that broadcast (declared so), are inputs enough.
    """
    op = declaration(op)
    if not op.rules and op.joint is None:
        return f"{op.name} has no gradient rules; declare them with {op.name}.vjp(...), None where no gradient flows"
    if op.sample is None and not _elementwise(op):
        return f"{op.name} has no sample; declare one with @{op.name}.sample, a function draw -> (arrays, params)"
    return None


def _elementwise(op: Op) -> bool:
    required = [name for name in op.params if name not in op.defaults]
    return not required and not op.variadic and (len(op.inputs) == 1 or op.broadcast)


def sample(op: Any, draw: Draw) -> tuple[list[Array], dict[str, Any]]:
    """Inputs and parameters for one call of an op, from its own sample or by its shape rule."""
    op = declaration(op)
    if reason := unprovable(op):
        raise TypeError(f"sample: {reason}")
    if op.sample is not None:
        arrays, params = op.sample(draw)
        return list(arrays), dict(params)
    if len(op.inputs) == 1:
        return [draw.array(*draw.choice([*[draw.shape()] * 6, (), (2, 0)]))], {}
    return list(draw.broadcastable(len(op.inputs))), {}
