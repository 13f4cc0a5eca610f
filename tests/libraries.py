"""One function run by this library or by PyTorch, `lambda m, x, w: m.F.conv2d(x, w, stride=2)`, on the same numbers.

This module does not need PyTorch: `Library(torch)` is made by those who have it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn

Array = NDArray[Any]


class Library:
    """The names of this library or of PyTorch (`module`), and the few things that are spelt differently."""

    def __init__(self, module: Any) -> None:
        self._module, self.F, self.grad = module, module.nn.functional, self._autograd(module).grad

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    @staticmethod
    def _autograd(module: Any) -> Any:
        return getattr(module, "autograd", module)

    def leaf(self, array: Array) -> Any:
        return self.constant(array).requires_grad_()

    def constant(self, array: Array) -> Any:
        make = tinygrad_cnn.Tensor if self._module is tinygrad_cnn else self._module.tensor
        return make(np.array(array, order="C"))


def values(tensor: Any) -> Array:
    """The numbers of a Tensor of either library, as an array of its own."""
    tensor = tensor.detach()
    return np.array(tensor.numpy() if isinstance(tensor, tinygrad_cnn.Tensor) else tensor.numpy(force=True))


def derivatives(
    m: Library, f: Callable[..., Any], arrays: list[Array], order: int, seed: int = 0, parameters: Sequence[Any] = ()
) -> list[Array]:
    """f's value; then <g, f'> for a random g, by input; then the gradient of <h, that> for random h, by input and g.

    parameters: further leaves, which f uses by itself.
    """
    rng = np.random.default_rng(seed)
    floats = [a.dtype.kind == "f" for a in arrays]
    inputs = [m.leaf(a) if is_float else m.constant(a) for a, is_float in zip(arrays, floats, strict=True)]
    leaves = [x for x, is_float in zip(inputs, floats, strict=True) if is_float]
    leaves += parameters
    out = f(m, *inputs)
    found = [values(out)]
    if order == 0:
        return found
    g = m.leaf(_normal(rng, out))
    first = m.grad(out, leaves, g, create_graph=order > 1, allow_unused=True)
    found += [_or_zeros(d, x) for d, x in zip(first, leaves, strict=True)]
    if order == 1:
        return found
    cotangents = [m.constant(_normal(rng, x)) for x in leaves]
    total = sum((d * h).sum() for d, h in zip(first, cotangents, strict=True) if d is not None)
    wanted = [*leaves, g]
    if not getattr(total, "requires_grad", False):
        return found + [_or_zeros(None, x) for x in wanted]
    second = m.grad(total, wanted, allow_unused=True)
    return found + [_or_zeros(d, x) for d, x in zip(second, wanted, strict=True)]


def _normal(rng: np.random.Generator, like: Any) -> Array:
    like = values(like)
    return np.asarray(rng.standard_normal(like.shape)).astype(like.dtype)


def _or_zeros(gradient: Any, x: Any) -> Array:
    return np.zeros_like(values(x)) if gradient is None else values(gradient)


def a(*rows: Any) -> Array:
    """A float64 array of these rows."""
    return np.array(rows, np.float64)
