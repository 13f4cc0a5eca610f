"""The four ops that the engine itself needs: to add up gradients, to undo broadcasting, to keep each input's dtype."""

from math import prod
from typing import Any

import numpy as np

from .flops import moves_data, one_per_output
from .kernels.reduce import sum_pairwise
from .kernels.sweeps import added
from .primitive import op

LARGE = 2**16  # bytes; to ask how to add smaller arrays would take longer than to add them


@op(operator="add", method=True, broadcast=True, numpy=np.add)
def add(x: Any, y: Any, /) -> Any:
    """x + y, elementwise with broadcasting."""
    large = type(x) is type(y) is np.ndarray and x.nbytes >= LARGE
    return added(x, y) if large else x + y


@op
def sum_to(x: Any, /, shape: tuple[int, ...]) -> Any:
    """Sum away the axes that broadcasting from `shape` to the shape of x added or stretched."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1)
    return sum_pairwise(x, axes, keepdims=True).reshape(shape)


@op
def broadcast_to(x: Any, /, shape: tuple[int, ...]) -> Any:
    """x stretched to `shape`, as a read-only view."""
    return np.broadcast_to(x, shape)


@op
def cast(x: Any, /, dtype: Any) -> Any:
    """x converted to `dtype`; its gradient is converted back."""
    return x.astype(dtype)


add.vjp(x=lambda g: g, y=lambda g: g)
add.formula(x="∂out", y="∂out")
add.flops(one_per_output)
sum_to.vjp(x=lambda g, x_shape: broadcast_to(g, x_shape))
sum_to.formula(x="∂out")
sum_to.flops(lambda x_shape, out_shape: prod(x_shape) if prod(x_shape) > prod(out_shape) else 0)  # 0: nothing to sum
broadcast_to.vjp(x=lambda g, x_shape: sum_to(g, x_shape))
broadcast_to.formula(x="∂out")
broadcast_to.flops(moves_data)
cast.vjp(x=lambda g: g)
cast.formula(x="∂out")
cast.flops(moves_data)


@sum_to.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"shape": draw.choice([(3, 1), (1, 4), (2, 1, 4), (2, 3, 4), ()])}


@broadcast_to.sample
def _(draw: Any) -> Any:
    shape = draw.choice([(3, 1), (1, 4), (2, 1, 4), ()])
    return (draw.array(*shape),), {"shape": (2, 3, 4)}


@cast.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3),), {"dtype": np.dtype(np.float64)}
