"""How a Tensor takes part in Python's and NumPy's protocols.

NumPy's functions on a Tensor record the op that means the same, or raise a TypeError that names them: a
graph is never lost silently.
"""

import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .declaration import numpy_ops
from .graph import Array, Tensor, method
from .ops import arrange, einsum, elementwise, joining, layout, magnitude, matrices, reduce, scan
from .ops.index import getitem
from .shapes import ShapeError, normalize_axes


@method("__len__")
def _len(x: Tensor) -> int:
    if not x.ndim:
        raise TypeError("len: a 0-d Tensor has no length")
    return x.shape[0]


@method("__iter__")
def _iter(x: Tensor) -> Iterator[Any]:
    if not x.ndim:
        raise TypeError("iter: a 0-d Tensor cannot be iterated over; .item() is its value")
    return (getitem(x, i) for i in range(x.shape[0]))


@method("__contains__")
def _contains(x: Tensor, value: Any) -> bool:
    return bool(np.any(x.array == elementwise.array_of(value)))


@method
def item(x: Tensor) -> Any:
    """The value of a one-element Tensor as a Python number. Raises ValueError for any other."""
    if x.array.size != 1:
        raise ValueError(f"item: only a one-element Tensor is one number; this one has shape {x.shape}; use tolist()")
    return x.array.item()


@method
def tolist(x: Tensor) -> Any:
    """The values as nested Python lists, or as a number for a 0-d Tensor."""
    return x.array.tolist()


@method("__bool__")
def _bool(x: Tensor) -> bool:
    if x.array.size != 1:
        raise ValueError(f"bool: the truth of a Tensor of shape {x.shape} is ambiguous; reduce it to one element first")
    return bool(x.array.item())


@method("__float__")
def _float(x: Tensor) -> float:
    return float(item(x))


@method("__int__")
def _int(x: Tensor) -> int:
    return int(item(x))


@method("__index__")
def _index(x: Tensor) -> int:
    if x.dtype.kind not in "iu" or x.array.size != 1:
        raise TypeError(f"index: a {x.dtype} Tensor of shape {x.shape} cannot be an index; one integer can")
    return int(x.array.item())


@method("__format__")
def _format(x: Tensor, spec: str) -> str:
    return format(item(x), spec) if spec and x.array.size == 1 else format(repr(x), spec)


@method
def size(x: Tensor, dim: int | None = None) -> Any:
    """The shape, or the length of axis `dim`."""
    return x.shape if dim is None else x.shape[normalize_axes(dim, x.ndim, "size")[0]]


@method
def dim(x: Tensor) -> int:
    """The number of axes."""
    return x.ndim


@method
def numel(x: Tensor) -> int:
    """The number of elements."""
    return x.array.size


method("nelement")(numel)
method("ndimension")(dim)


@method
def stride(x: Tensor, dim: int | None = None) -> Any:
    """How many elements apart neighbours along each axis stand in memory, or along axis `dim`."""
    steps = tuple(step // x.array.itemsize for step in x.array.strides)
    return steps if dim is None else steps[normalize_axes(dim, x.ndim, "stride")[0]]


@method
def is_contiguous(x: Tensor) -> bool:
    """Whether the memory is in row-major order without gaps."""
    return x.array.flags.c_contiguous


@method
def data_ptr(x: Tensor) -> int:
    """The address of the first element."""
    return int(x.array.ctypes.data)


@method("__array__")
def _array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    """np.asarray(x): a read-only view, or a copy where one is asked for or the dtype differs."""
    if x.node is not None:
        raise RuntimeError(
            "np.asarray: this Tensor requires grad and an ndarray has no graph; "
            "say so with .detach().numpy() or .numpy()"
        )
    if copy is False and dtype is not None and np.dtype(dtype) != x.dtype:
        raise ValueError(f"np.asarray: {x.dtype} values as {np.dtype(dtype)} need a copy")
    if copy or (dtype is not None and np.dtype(dtype) != x.dtype):
        return np.array(x.array, dtype=dtype)
    return x.numpy()


@method("__array_ufunc__")
def _array_ufunc(x: Tensor, ufunc: np.ufunc, call: str, *inputs: Any, **options: Any) -> Any:
    """np.exp(x), array * x: the op that means the same."""
    name = f"np.{ufunc.__name__}"
    if options.get("out") is not None:
        raise TypeError(f"{name}: a Tensor cannot be written into an ndarray (arr += tensor); use arr = arr + tensor")
    if call != "__call__" or options or ufunc not in numpy_ops:
        what = name if call == "__call__" else f"{name}.{call}"
        with_options = f" with {', '.join(sorted(options))}" if options else ""
        raise TypeError(
            f"{what}{with_options} has no op here, so a gradient would be lost; use .numpy() for the values"
        )
    return numpy_ops[ufunc](*inputs)


@method("__array_function__")
def _array_function(x: Tensor, function: Any, types: Any, args: Any, options: Any) -> Any:
    """np.sum(x, axis=0): the op that means the same, with NumPy's defaults."""
    name, known = f"np.{function.__name__}", _FUNCTIONS.get(function) or numpy_ops.get(function)
    if known is None:
        raise TypeError(f"{name} has no op here, so a gradient would be lost; use .numpy() for the values")
    signature = inspect.signature(known)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        takes = ", ".join(str(p.replace(annotation=p.empty)) for p in signature.parameters.values())
        raise TypeError(f"{name} of Tensors takes ({takes}): {error}; use .numpy() for anything else") from None
    return known(*args, **options)


def _size(x: Any, axis: Any = None) -> int:
    return math.prod(x.shape[i] for i in normalize_axes(axis, len(x.shape), "np.size"))


def _var(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    return reduce.var(x, axis, ddof, keepdims)


def _std(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    return magnitude.std(x, axis, ddof, keepdims)


def _running(function: Any) -> Any:
    def along(x: Any, axis: int | None = None) -> Any:
        return function(x, axis) if axis is not None else function(layout.reshape(x, -1), 0)

    return along


def _roll(x: Any, shift: Any, axis: Any = None) -> Any:
    return arrange.roll(x, shift, axis)


def _tile(x: Any, reps: Any) -> Any:
    return arrange.tile(x, reps)


def _moveaxis(x: Any, source: Any, destination: Any) -> Any:
    return arrange.movedim(x, source, destination)


def _outer(x: Any, y: Any) -> Any:
    return einsum.outer(layout.reshape(x, -1), layout.reshape(y, -1))


def _tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    return einsum.tensordot(x, y, axes)


def _einsum(subscripts: str, *operands: Any) -> Any:
    return einsum.einsum(subscripts, *operands)


def _transpose(x: Any, axes: Any = None) -> Any:
    return layout.permute(x, tuple(range(x.ndim))[::-1] if axes is None else axes)


def _flip(x: Any, axis: Any = None) -> Any:
    return layout.flip(x, tuple(range(x.ndim)) if axis is None else axis)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = layout.one_of("np.clip", a_min=a_min, min=min), layout.one_of("np.clip", a_max=a_max, max=max)
    return elementwise.clip(x, low, high)


def _squeeze(x: Any, axis: Any = None) -> Any:
    long = [] if axis is None else [i for i in normalize_axes(axis, x.ndim, "np.squeeze") if x.shape[i] != 1]
    if long:
        raise ShapeError(f"np.squeeze: axis {long[0]} of shape {tuple(x.shape)} is longer than 1; leave it out")
    return layout.squeeze(x, axis)


def _expand_dims(x: Any, axis: Any) -> Any:
    new = normalize_axes(axis, x.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1), "np.expand_dims")
    lengths = iter(x.shape)
    return layout.reshape(x, tuple(1 if i in new else next(lengths) for i in range(x.ndim + len(new))))


def _swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    return layout.transpose(x, axis1, axis2)


def _tril(x: Any, k: int = 0) -> Any:
    return matrices.tril(x, k)


def _triu(x: Any, k: int = 0) -> Any:
    return matrices.triu(x, k)


def _repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    return arrange.repeat_interleave(x, repeats, axis)


def _stacking(function: Any) -> Any:
    def stacked(tup: Any) -> Any:
        return function(tup)

    return stacked


def _concatenate(xs: Any, axis: int | None = 0) -> Any:
    return layout.cat(xs, axis) if axis is not None else layout.cat([layout.reshape(x, -1) for x in xs])


def _stack(xs: Any, axis: int = 0) -> Any:
    return layout.stack(xs, axis)


_FUNCTIONS: dict[Any, Any] = {  # where NumPy's signature or default differs from the op's
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: _size,
    np.max: reduce.amax,
    np.min: reduce.amin,
    np.var: _var,
    np.std: _std,
    np.cumsum: _running(scan.cumsum),
    np.cumprod: _running(scan.cumprod),
    np.roll: _roll,
    np.tile: _tile,
    np.moveaxis: _moveaxis,
    np.outer: _outer,
    np.tensordot: _tensordot,
    np.einsum: _einsum,
    np.transpose: _transpose,
    np.flip: _flip,
    np.clip: _clip,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.vstack: _stacking(joining.vstack),
    np.hstack: _stacking(joining.hstack),
    np.dstack: _stacking(joining.dstack),
    np.swapaxes: _swapaxes,
    np.tril: _tril,
    np.triu: _triu,
    np.repeat: _repeat,
    np.where: elementwise.where,
    np.broadcast_to: layout.broadcast_to,
    np.ravel: layout.ravel,
    np.squeeze: _squeeze,
    np.expand_dims: _expand_dims,
}
