"""Matrix products."""

from math import prod
from typing import Any

import numpy as np

from ..basics import sum_to
from ..kernels.parallel import one_blas_thread
from ..primitive import op
from ..shapes import linear_shape, matmul_shape
from .layout import reshape, transpose, unsqueeze

__all__ = ["linear", "matmul"]

# Multiply-adds from which OpenBLAS wakes its threads, and from which that pays. Awake, they spin for a while in the way
# of the threads that convolutions run on: a training step on two threads takes 1.2 to 1.4 times as long.
WAKES, PAYS = 262_144, 100_000_000


def product(x: Any, y: Any) -> Any:
    """x @ y of arrays; half precision is accumulated in float32 and rounded once."""
    if x.dtype == np.float16:
        return product(x.astype(np.float32), y.astype(np.float32)).astype(np.float16)
    if x.ndim and y.ndim > 1 and WAKES < x.size * y.shape[-1] < PAYS:
        with one_blas_thread():
            return np.matmul(x, y)
    return np.matmul(x, y)


@op(operator="matmul", method=True, numpy=np.matmul)
def matmul(x: Any, y: Any, /) -> Any:
    """The matrix product over the last two axes; leading axes broadcast, a 1-d operand is a vector.

    (... n k), (... k m) -> (... n m)

    Raises ShapeError if the inner lengths differ and TypeError for different dtypes.
    """
    matmul_shape(x.shape, y.shape)
    return product(x, y)


def _left(g: Any, y: Any, x_shape: tuple[int, ...]) -> Any:
    """g y^T, summed over the axes that x was broadcast along."""
    if y.ndim == 1:
        return unsqueeze(g, -1) * y
    if len(x_shape) == 1:
        return sum_to(reshape(matmul(y, unsqueeze(g, -1)), y.shape[:-1]), x_shape)
    return sum_to(matmul(g, transpose(y, -2, -1)), x_shape)


def _right(g: Any, x: Any, y_shape: tuple[int, ...]) -> Any:
    """x^T g, summed over the axes that y was broadcast along."""
    if x.ndim == 1 and len(y_shape) == 1:
        return g * x
    if x.ndim == 1:
        return unsqueeze(x, -1) * unsqueeze(g, -2)
    if len(y_shape) == 1:
        return sum_to(reshape(matmul(transpose(x, -2, -1), unsqueeze(g, -1)), (*x.shape[:-2], x.shape[-1])), y_shape)
    return sum_to(matmul(transpose(x, -2, -1), g), y_shape)


matmul.vjp(x=_left, y=_right)
matmul.formula(x="∂out @ yᵀ", y="xᵀ @ ∂out")
matmul.flops(lambda x_shape, out_shape: 2 * prod(out_shape) * x_shape[-1])

_SHAPES = [
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (2, 3, 4)),
    ((2, 4, 3), (3,)),
    ((1, 2, 3), (5, 3, 1)),
]


@matmul.sample
def _(draw: Any) -> Any:
    x, y = draw.choice(_SHAPES)
    return (draw.array(*x), draw.array(*y)), {}


@op
def linear(x: Any, w: Any, b: Any = None, /) -> Any:
    """x w^T + b.

    (... i), (o i), (o) -> (... o)

    Raises ShapeError if x does not end in w's number of input features.
    """
    linear_shape(x.shape, w.shape, None if b is None else b.shape)
    y = product(x, w.T)
    if b is not None:
        y = np.add(y, b, out=y) if y.ndim else y + b
    return y


def _rows(x: Any) -> Any:
    """(... i) -> (rows i)"""
    return reshape(x, (int(np.prod(x.shape[:-1])), x.shape[-1]))


linear.vjp(
    x=lambda g, w: matmul(g, w),
    w=lambda g, x: matmul(transpose(_rows(g), 0, 1), _rows(x)),
    b=lambda g, b_shape: sum_to(g, b_shape),
)
linear.formula(x="∂out @ w", w="∂outᵀ @ x", b="Σ_rows ∂out")
linear.flops(lambda w_shape, b_shape, out_shape: prod(out_shape) * (2 * w_shape[1] + bool(b_shape)))


@linear.sample
def _(draw: Any) -> Any:
    lead = draw.choice([(2,), (), (2, 3)])
    x, w, b = draw.array(*lead, 4), draw.array(3, 4), draw.array(3)
    return draw.choice([(x, w, b), (x, w)]), {}
