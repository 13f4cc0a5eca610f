"""Reading along an axis by an index for each element, and its adjoint and relatives that write.

gather and scatter_add are each other's gradients. index_select and index_add are the same with one index for whole
rows: `getitem` and its adjoint.
"""

from math import prod
from typing import Any

import numpy as np

from ..basics import add
from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op
from ..shapes import ShapeError, normalize_axes
from .elementwise import array_of, mask
from .index import add_at, getitem

__all__ = ["gather", "index_add", "index_select", "scatter", "scatter_add"]


def _cells(name: str, shape: tuple[int, ...], axis: Any, index: Any) -> tuple[Any, ...]:
    """The NumPy index of the elements that `index` means along `axis` of an array of this shape."""
    (axis,) = normalize_axes(axis, len(shape), name)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index is {index.dtype}; integers are needed")
    if index.ndim != len(shape) or any(
        m > n for i, (m, n) in enumerate(zip(index.shape, shape, strict=True)) if i != axis
    ):
        raise ShapeError(
            f"{name}: the index has shape {index.shape}, the array {tuple(shape)}; it needs as many axes, "
            f"none longer but axis {axis}"
        )
    if index.size and not (index.min() >= 0 and index.max() < shape[axis]):
        wrong = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"{name}: index {wrong} is outside axis {axis} of length {shape[axis]}")
    grids: list[Any] = list(np.ogrid[tuple(map(slice, index.shape))])
    grids[axis] = index
    return tuple(grids)


@op(method=True)
def gather(x: Any, /, axis: int, index: Any) -> Any:
    """out[i, j, ...] = x[index[i, j, ...], j, ...] for axis 0, and so on: one index for every element of the output.

    The index has as many axes as x, and none longer but `axis`.
    Raises ShapeError if it has not, and IndexError for an index below 0 or beyond the end.
    """
    return x[_cells("gather", x.shape, axis, index)]


@op
def scatter_added(x: Any, src: Any, /, axis: int, index: Any) -> Any:
    """x with src[i, j, ...] added at [index[i, j, ...], j, ...] for axis 0, and so on; the adjoint of gather."""
    out = x.copy()
    np.add.at(out, _cells("scatter_add", x.shape, axis, index), src)
    return out


gather.vjp(x=lambda g, x_shape, axis, index: scatter_added(np.zeros(x_shape, g.dtype), g, axis, index))
gather.formula(x="scatter(∂out, cells(index, axis))")
gather.flops(moves_data)
scatter_added.vjp(x=lambda g: g, src=lambda g, axis, index: gather(g, axis, index))
scatter_added.formula(x="∂out", src="∂out[cells(index, axis)]")
scatter_added.flops(lambda src_shape: prod(src_shape))


@op(residual="stays")
def scattered(x: Any, src: Any, /, axis: int, index: Any) -> Any:
    """x with src[i, j, ...] in the place of [index[i, j, ...], j, ...] for axis 0, and so on.

    Where several fall together the last one stays, and takes the gradient. Residual: which elements of x stay, and
    which of src.
    """
    cells = _cells("scatter", x.shape, axis, index)
    turn = np.arange(index.size).reshape(index.shape)
    writer = np.full(x.shape, -1)
    writer[cells] = turn
    out = x.copy()
    out[cells] = src
    return out, (writer < 0, writer[cells] == turn)


scattered.vjp(
    x=lambda g, stays: mask(g, stays[0]),
    src=lambda g, stays, axis, index: mask(gather(g, axis, index), stays[1]),
)
scattered.formula(
    x="∂out · 1[¬hit(cells(index, axis))]",
    src="∂out[cells(index, axis)] · last(cells(index, axis))",
)
scattered.flops(moves_data)


def _index_of(index: Any) -> Any:
    index = np.asarray(array_of(index))
    return index.astype(np.int64) if index.size == 0 else index


@method
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """x with src[i, j, ...] added at [index[i, j, ...], j, ...] for dim 0, and so on; duplicates accumulate."""
    index = _index_of(index)
    return scatter_added(x, _first("scatter_add", src, index), dim, index)


def _first(name: str, src: Any, index: Any) -> Any:
    """What of src has an index."""
    if src.ndim != index.ndim or any(m > n for m, n in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"{name}: the index has shape {index.shape}, src {tuple(src.shape)}; src needs an element for each"
        )
    return src if src.shape == index.shape else getitem(src, tuple(map(slice, index.shape)))


@method
def scatter(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """x with src[i, j, ...], or one number, at [index[i, j, ...], j, ...] for dim 0, and so on.

    Where several fall together the last one stays (PyTorch leaves open which) and takes the gradient.
    """
    index = _index_of(index)
    if isinstance(src, (bool, int, float)):
        src = np.full(index.shape, src, x.dtype)
    return scattered(x, _first("scatter", src, index), dim, index)


@method
def index_select(x: Any, dim: int, index: Any) -> Tensor:
    """The rows of x along `dim` that a vector of indices names, in its order."""
    return getitem(x, _rows("index_select", x, dim, index))


@method
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """x with alpha times row k of `source` added to row index[k] along `dim`; duplicates accumulate."""
    rows = _rows("index_add", x, dim, index)
    wanted = (*x.shape[: len(rows) - 1], len(rows[-1]), *x.shape[len(rows) :])
    if tuple(source.shape) != wanted:
        raise ShapeError(f"index_add: source has shape {tuple(source.shape)}, needs {wanted}: a row for each index")
    return add(x, add_at(source if alpha == 1 else source * alpha, rows, tuple(x.shape)))


def _rows(name: str, x: Any, dim: int, index: Any) -> tuple[Any, ...]:
    (axis,) = normalize_axes(dim, x.ndim, name)
    index = _index_of(index)
    if index.dtype.kind not in "iu" or index.ndim > 1:
        raise TypeError(f"{name}: the index is {index.dtype} {index.shape}; a vector of integers is needed")
    if index.size and not (index.min() >= 0 and index.max() < x.shape[axis]):
        wrong = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"{name}: index {wrong} is outside axis {axis} of length {x.shape[axis]}")
    return (*(slice(None),) * axis, np.atleast_1d(index))


_INDEX = np.array([[2, 0, 2, 1], [0, 0, 1, 2]])


@gather.sample
def _(draw: Any) -> Any:
    axis = draw.choice([0, -2])
    if draw.choice([False, True]):
        return (draw.array(3, 2),), {"axis": 1, "index": np.array([[1, 0, 0, 1], [1, 1, 0, 1]])}
    return (draw.array(3, 5),), {"axis": axis, "index": _INDEX}


def _writing_sample(draw: Any) -> Any:
    return (draw.array(3, 5), draw.array(2, 4)), {"axis": draw.choice([0, -2]), "index": _INDEX}


scatter_added.sample(_writing_sample)
scattered.sample(_writing_sample)
