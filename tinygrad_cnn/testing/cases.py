"""One drawn call of an op, as the generated properties see it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backprop import grad
from ..graph import Tensor, wrap
from .gradients import GradientError
from .samples import Draw, declaration, sample

__all__ = ["Case", "function_of", "grads_of"]

Array = NDArray[Any]


class Case:
    """One drawn call of an op: its arrays (None where an input is absent), its parameters, its random numbers.

    free: the places of the inputs that have a gradient.
    """

    def __init__(self, op: Any, draw: Draw) -> None:
        self.op = declaration(op)
        self.arrays, self.params = sample(op, draw)
        self.seed = draw.size(0, 2**16)
        given = [a for a in [*self.arrays, *self.params.values()] if isinstance(a, np.ndarray)]
        self._given = [(a, a.tobytes()) for a in given]
        self._cotangents: list[tuple[Array, bytes]] = []
        self.free = [i for i, a in enumerate(self.arrays) if a is not None and self.op.differentiable >> i & 1]

    def __repr__(self) -> str:
        return self.op.describe(self.arrays, self.params)

    def op_names(self) -> list[str]:
        """What the inputs are called."""
        op = self.op
        return [f"{op.variadic}[{i}]" for i in range(len(self.arrays))] if op.variadic else list(op.inputs)

    def names(self) -> list[str]:
        """What the free inputs are called."""
        return [self.op_names()[i] for i in self.free]

    def rng(self) -> np.random.Generator:
        """The generator of this case's random numbers, from its start."""
        return np.random.default_rng(self.seed)

    def call(self, xs: Sequence[Any], params: dict[str, Any] | None = None) -> Any:
        """The op on `xs` in the places of all arrays that are there."""
        given = iter(xs)
        args = [None if a is None else next(given) for a in self.arrays]
        return self.op.apply(*args, **(self.params if params is None else params))

    def present(self) -> list[Array]:
        """The arrays that are there, in order."""
        return [a for a in self.arrays if a is not None]

    def leaves(self, xs: Sequence[Array], wanted: Sequence[int] | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """(all inputs as Tensors over the memory of `xs`, those among them that require grad)."""
        places = [i for i, a in enumerate(self.arrays) if a is not None]
        tensors = [wrap(x) for x in xs]
        chosen = [t for t, i in zip(tensors, places, strict=True) if i in (self.free if wanted is None else wanted)]
        return tensors, [t.requires_grad_() for t in chosen]

    def vjp(self, xs: Sequence[Array], c: Array, params: dict[str, Any] | None = None) -> tuple[Array, list[Array]]:
        """(the output, the gradient of every free input) for the cotangent c."""
        tensors, leaves = self.leaves(xs)
        out = self.call(tensors, params)
        return out.array, [g.array for g in grads_of(out, leaves, c)]

    def cotangent(self) -> Array:
        """A random gradient of the output, in its dtype."""
        out = self.call(self.present())
        rng = self.rng()
        c = np.asarray(rng.uniform(0.5, 1.5, out.shape) * rng.choice([-1.0, 1.0], out.shape)).astype(out.dtype)
        self._cotangents.append((c, c.tobytes()))
        return c

    def unchanged(self) -> None:
        """Fail if an input, a parameter or a cotangent has changed."""
        if any(a.tobytes() != was for a, was in self._given):
            self.fail("an input or a parameter was changed")
        if any(c.tobytes() != was for c, was in self._cotangents):
            self.fail("the cotangent was changed")

    def fail(self, fact: str) -> None:
        """Raise GradientError with the call and the fact."""
        raise GradientError(f"{self!r}: {fact}")

    def same(self, got: Array, wanted: Array, fact: str) -> None:
        """Fail unless dtype, shape and every value are the same."""
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            self.fail(f"{fact}: {got.dtype} {got.shape} instead of {wanted.dtype} {wanted.shape}")
        if not np.array_equal(got, wanted, equal_nan=got.dtype.kind == "f"):
            self.fail(f"{fact}:\n{got}\ninstead of\n{wanted}")

    def near(self, got: Array, wanted: Array, allowed: float, fact: str) -> None:
        """Fail unless the values are within `allowed` of each other."""
        apart = float(np.max(np.abs(got.astype(np.float64) - wanted), initial=0.0))
        if not apart <= allowed:
            self.fail(f"{fact}: apart by {apart:.3g}, allowed {allowed:.3g}")


def grads_of(out: Tensor, leaves: Sequence[Tensor], c: Array, **options: Any) -> list[Tensor]:
    """The gradients of the leaves, zeros where the output does not depend on one."""
    found = grad(out, leaves, wrap(c), allow_unused=True, **options)
    return [wrap(np.zeros_like(x.array)) if g is None else g for g, x in zip(found, leaves, strict=True)]


def function_of(case: Case) -> Callable[..., Any]:
    """The op as a function of its free inputs."""

    def f(*tensors: Tensor) -> Any:
        args: list[Any] = list(case.arrays)
        for i, t in zip(case.free, tensors, strict=True):
            args[i] = t
        return case.op.apply(*args, **case.params)

    return f
