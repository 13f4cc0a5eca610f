"""Reading by index, and its adjoint: adding at an index, where duplicates accumulate."""

from math import prod
from typing import Any

import numpy as np

from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op

__all__ = ["getitem", "take_along_axis"]


@op
def getitem(x: Any, /, index: Any) -> Any:
    """x[index]: integers, slices, None, ..., boolean masks, integer arrays, or a tuple of them, as in NumPy.

    True and False are masks of no axes: x[True] has a new axis of length 1, x[False] one of length 0. The axes of index
    arrays come first where a slice, None or ... separates the arrays, as in NumPy also where ... stands for no axes.
    A basic index gives a view of the same memory. Raises IndexError where x does not reach.
    """
    try:
        out = x[index]
    except IndexError as error:
        raise IndexError(f"getitem: {error}; the shape is {x.shape}") from None
    if isinstance(out, np.ndarray):
        return out
    return x[(*index, ...) if type(index) is tuple else (index, ...)]  # one element, as a view and not as a number


@op
def add_at(g: Any, /, index: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of getitem: zeros of `shape` with g added at `index`; an index that occurs twice adds twice."""
    same = len(shape) == g.ndim
    out = np.zeros_like(g, shape=shape, subok=False) if same else np.zeros(shape, g.dtype)  # in the memory order of g
    if _is_basic(index):
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


def _is_basic(index: Any) -> bool:
    """Whether no element can be meant twice."""
    parts = index if type(index) is tuple else (index,)
    return all(isinstance(part, (int, slice, type(None), type(Ellipsis), np.integer)) for part in parts)


getitem.vjp(x=lambda g, x_shape, index: add_at(g, index, x_shape))
getitem.formula(x="scatter(∂out, index)")
getitem.flops(moves_data)
add_at.vjp(g=lambda h, index: getitem(h, index))
add_at.formula(g="∂out[index]")
add_at.flops(lambda g_shape: prod(g_shape))

_INDICES = [
    1,
    -1,
    slice(None, None, -2),
    (slice(1, 3), 0),
    (None, Ellipsis, 2),
    (Ellipsis, slice(0, 0)),
    np.array([2, 0, 2, -1]),
    (np.array([[0, 2], [2, 2]]), slice(None), np.array([1, 0])),
    np.array([True, False, True, True]),
    (slice(None), np.array([False, True, True])),
]


@getitem.sample
def _(draw: Any) -> Any:
    return (draw.array(4, 3, 5),), {"index": draw.choice(_INDICES)}


@add_at.sample
def _(draw: Any) -> Any:
    index = draw.choice(_INDICES)
    shape = np.zeros((4, 3, 5), np.bool_)[index].shape
    return (draw.array(*shape),), {"index": index, "shape": (4, 3, 5)}


@method("__getitem__")
def _getitem(x: Tensor, index: Any) -> Any:
    """x[index]; Tensors and lists in the index are taken as integer or boolean arrays.

    As in PyTorch, integers are applied before index arrays, True and False among these: x[0, :, i] is x[0][:, i].
    """
    for step in index_steps(index):
        x = getitem(x, step)
    return x


def index_steps(index: Any) -> list[Any]:
    """The index as one NumPy index, or two: a basic one, then one with arrays. Raises IndexError for floats.

    NumPy takes an integer beside an index array or a bool for an array, which moves the axes; PyTorch selects first.
    """
    if type(index) is not tuple:
        return [_plain(index)]
    parts = [_plain(part) for part in index]
    arrays = [isinstance(part, (np.ndarray, bool, np.bool_)) for part in parts]
    integers = [isinstance(part, (int, np.integer)) and not isinstance(part, bool) for part in parts]
    if not (any(arrays) and any(integers)):
        return [tuple(parts)]
    select: list[Any] = []
    for part, integer in zip(parts, integers, strict=True):
        if integer or part is Ellipsis:
            select.append(part)
        else:
            select.extend([slice(None)] * axes_of(part))
    return [tuple(select), tuple(part for part, integer in zip(parts, integers, strict=True) if not integer)]


def axes_of(part: Any) -> int:
    """How many axes of the array one part of an index stands for, beside `...`: a mask for as many as it has."""
    if part is None or isinstance(part, (bool, np.bool_)):
        return 0
    return part.ndim if getattr(part, "dtype", None) == np.bool_ else 1


def _plain(index: Any) -> Any:
    """One part of an index as NumPy takes it: Tensors and lists as arrays, a single integer as an int."""
    if isinstance(index, Tensor):
        index = index.array
    elif isinstance(index, list):
        index = np.asarray(index) if index else np.zeros(0, np.int64)
    if isinstance(index, (float, np.floating)) or (isinstance(index, np.ndarray) and index.dtype.kind not in "biu"):
        kind = index.dtype if isinstance(index, np.ndarray) else type(index).__name__
        raise IndexError(f"getitem: an index is {kind}; integers, slices, ..., None and boolean masks are possible")
    return int(index) if isinstance(index, np.ndarray) and index.ndim == 0 and index.dtype != np.bool_ else index


@op(numpy=np.take_along_axis)
def take_along_axis(x: Any, /, indices: Any, axis: int) -> Any:
    """out[..., i, ...] = x[..., indices[..., i, ...], ...] along `axis`; the other axes broadcast."""
    return np.take_along_axis(x, indices, axis)


@op
def add_along_axis(g: Any, /, indices: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The adjoint of take_along_axis: zeros of `shape` with g added at `indices`, duplicates accumulating."""
    out = np.zeros(shape, g.dtype)
    grids: list[Any] = list(np.ogrid[tuple(map(slice, g.shape))])
    grids[axis] = indices
    np.add.at(out, tuple(grids), g)
    return out


take_along_axis.vjp(x=lambda g, x_shape, indices, axis: add_along_axis(g, indices, axis, x_shape))
take_along_axis.formula(x="scatter(∂out, along(indices, axis))")
take_along_axis.flops(moves_data)
add_along_axis.vjp(g=lambda h, indices, axis: take_along_axis(h, indices, axis))
add_along_axis.formula(g="∂out[along(indices, axis)]")
add_along_axis.flops(lambda g_shape: prod(g_shape))


@take_along_axis.sample
def _(draw: Any) -> Any:
    return (draw.array(3, 4),), {"indices": np.array([[3, 0, 3], [1, 1, 1], [0, 2, 3]]), "axis": draw.choice([1, -1])}


@add_along_axis.sample
def _(draw: Any) -> Any:
    indices = np.array([[2, 0, 2, 1], [0, 0, 1, 2]])
    return (draw.array(2, 4),), {"indices": indices, "axis": 0, "shape": (3, 4)}
