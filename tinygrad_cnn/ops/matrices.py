"""Products of two or three factors under PyTorch's names, and the parts of matrices."""

from typing import Any

import numpy as np

from ..graph import Tensor, method
from ..shapes import ShapeError, normalize_axes
from .elementwise import where
from .index import getitem
from .layout import pad, permute, reshape, transpose
from .matmul import matmul
from .reduce import sum

__all__ = ["addmm", "bmm", "diag", "diagonal", "dot", "mm", "mv", "trace", "tril", "triu"]


def _product(name: str, x: Any, y: Any, first: int, second: int) -> Any:
    if x.ndim != first or y.ndim != second:
        raise ShapeError(
            f"{name}: shapes {tuple(x.shape)} and {tuple(y.shape)}; {first} and {second} axes are needed, "
            "matmul takes any"
        )
    if first == 3 and x.shape[0] != y.shape[0]:
        raise ShapeError(f"{name}: {x.shape[0]} and {y.shape[0]} matrices; as many on both sides are needed")
    return matmul(x, y)


@method
def mm(x: Any, mat2: Any) -> Any:
    """(n m) @ (m p) -> (n p)"""
    return _product("mm", x, mat2, 2, 2)


@method
def bmm(x: Any, mat2: Any) -> Any:
    """(b n m) @ (b m p) -> (b n p)"""
    return _product("bmm", x, mat2, 3, 3)


@method
def mv(x: Any, vec: Any) -> Any:
    """(n m) @ (m) -> (n)"""
    return _product("mv", x, vec, 2, 1)


@method
def dot(x: Any, other: Any) -> Any:
    """The sum of the products of two vectors of the same length: (n), (n) -> ()"""
    return _product("dot", x, other, 1, 1)


@method
def addmm(x: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta x + alpha (mat1 @ mat2); x broadcasts, and does not count at all where beta is 0."""
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else (x if beta == 1 else x * beta) + product


def _triangle(name: str, x: Any, keep: Any) -> Any:
    if x.ndim < 2:
        raise ShapeError(f"{name}: shape {tuple(x.shape)}; at least two axes are needed")
    return where(keep(np.ones(x.shape[-2:], np.bool_)), x, np.zeros((), x.dtype))


@method
def tril(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with zeros above the diagonal; `diagonal` > 0 is one further up."""
    return _triangle("tril", x, lambda ones: np.tril(ones, diagonal))


@method
def triu(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with zeros below the diagonal; `diagonal` > 0 is one further up."""
    return _triangle("triu", x, lambda ones: np.triu(ones, diagonal))


@method
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements x[.., i, .., i + offset, ..] in a new last axis, in place of the axes dim1 and dim2.

    A copy, not a view as in PyTorch: x[i, i] = v with i = arange(n) writes to a diagonal.
    """
    if x.ndim < 2:
        raise ShapeError(f"diagonal: shape {tuple(x.shape)}; at least two axes are needed")
    (a,), (b,) = (normalize_axes(d, x.ndim, "diagonal") for d in (dim1, dim2))
    if a == b:
        raise ValueError(f"diagonal: dim1={dim1} and dim2={dim2} are one axis; two are needed")
    rows, columns = x.shape[a], x.shape[b]
    first = max(-offset, 0)
    length = max(min(rows - first, columns - max(offset, 0)), 0)
    steps = np.arange(first, first + length)
    rest = [i for i in range(x.ndim) if i not in (a, b)]
    moved = permute(x, (a, b, *rest))
    found = getitem(moved, (steps, steps + offset))
    return permute(found, (*range(1, len(rest) + 1), 0))


@method
def diag(x: Any, diagonal: int = 0) -> Any:
    """A matrix with the vector x on its diagonal, or the diagonal of a matrix x; `diagonal` > 0 is one further up."""
    if x.ndim == 2:
        return _diagonal(x, diagonal)
    if x.ndim != 1:
        raise ShapeError(f"diag: shape {tuple(x.shape)}; a vector or a matrix is needed")
    n, k = x.shape[0], abs(diagonal)
    # each element followed by n zeros, in one row: the next stands one column further to the right
    row = reshape(pad(reshape(x, (n, 1)), ((0, 0), (0, n))), (n * n + n,))
    square = reshape(getitem(row, slice(n * n)), (n, n))
    return pad(square, ((0, k), (k, 0)) if diagonal > 0 else ((k, 0), (0, k)))


_diagonal = diagonal


@method
def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix."""
    if x.ndim != 2:
        raise ShapeError(f"trace: shape {tuple(x.shape)}; a matrix is needed")
    return sum(_diagonal(x))


@method
def t(x: Tensor) -> Any:
    """A matrix transposed; a vector as it is."""
    if x.ndim > 2:
        raise ShapeError(f"t: shape {x.shape}; at most two axes, or name them: transpose(dim0, dim1)")
    return transpose(x, 0, 1) if x.ndim == 2 else x
