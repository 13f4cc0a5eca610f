"""Ops that move values without changing them. Where it can, the result is a view of the input's memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..basics import broadcast_to, cast, sum_to
from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op
from ..shapes import ShapeError, concat_shape, normalize_axes, reshape_shape
from .index import getitem

__all__ = [
    "broadcast_to",
    "cast",
    "cat",
    "concat",
    "expand",
    "flatten",
    "flip",
    "pad",
    "permute",
    "ravel",
    "reshape",
    "squeeze",
    "stack",
    "sum_to",
    "transpose",
    "unsqueeze",
]


@op(numpy=np.reshape)
def reshape(x: Any, /, shape: Any) -> Any:
    """x with another shape of the same size; one length may be -1. Raises ShapeError if the sizes differ."""
    return x.reshape(reshape_shape(x.shape, shape))


reshape.vjp(x=lambda g, x_shape: reshape(g, x_shape))
reshape.formula(x="reshape(∂out, shape x)")
reshape.flops(moves_data)


@reshape.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 6),), {"shape": draw.choice([(3, 4), (4, -1), (12,), (-1, 1, 3)])}


def one_of(op: str, **spellings: Any) -> Any:
    """The one spelling of a parameter that was given, or None: dim or axis. Raises TypeError for two of them."""
    given = {name: value for name, value in spellings.items() if value is not None}
    if len(given) > 1:
        raise TypeError(f"{op}: {' and '.join(given)} are the same parameter; give one")
    return next(iter(given.values()), None)


def sizes_of(op: str, sizes: tuple[Any, ...], **named: Any) -> tuple[int, ...]:
    """(2, 3) from f(2, 3), from f((2, 3)) and from f(name=(2, 3))."""
    found = one_of(op, sizes=sizes or None, **named)
    if found is None:
        return ()
    if found is sizes and len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        found = sizes[0]
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


@method("reshape")
def _reshape(x: Tensor, *sizes: Any, shape: Any = None) -> Any:
    """x.reshape(2, -1), x.reshape((2, -1)) or x.reshape(shape=(2, -1))."""
    return reshape(x, sizes_of("reshape", sizes, shape=shape))


@method("view")
def _view(x: Tensor, *sizes: Any, shape: Any = None) -> Any:
    """As reshape: any layout is accepted, and a copy is made where a view cannot be."""
    return reshape(x, sizes_of("view", sizes, shape=shape))


@method
def view_as(x: Tensor, other: Any) -> Any:
    """x in the shape of another Tensor."""
    return reshape(x, tuple(other.shape))


method("reshape_as")(view_as)


@method
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim, both included, into one."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = (normalize_axes(d, x.ndim, "flatten")[0] for d in (start_dim, end_dim))
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {tuple(x.shape)}")
    joined = int(np.prod(x.shape[first : last + 1]))
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


@method
def ravel(x: Any) -> Tensor:
    """All elements in one row, in row-major order."""
    return reshape(x, (int(np.prod(x.shape)),))


@method
def squeeze(x: Any, dim: int | Sequence[int] | None = None, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Drop the axes of length one, all of them or those in `dim`; an axis that is longer stays."""
    axes = normalize_axes(one_of("squeeze", dim=dim, axis=axis), x.ndim, "squeeze")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in axes))


@method
def unsqueeze(x: Any, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """Put in an axis of length one at `dim`."""
    dim = one_of("unsqueeze", dim=dim, axis=axis)
    if dim is None:
        raise TypeError("unsqueeze: dim was not given; it says where the new axis stands")
    (axis,) = normalize_axes(dim, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@op
def permute(x: Any, /, dims: Any) -> Any:
    """The axes in another order: axis i of the result is axis dims[i] of x."""
    axes = normalize_axes(tuple(dims), x.ndim, "permute")
    if len(axes) != x.ndim:
        raise ShapeError(
            f"permute: dims {tuple(dims)} for shape {x.shape}; every one of its {x.ndim} axes must be named"
        )
    return x.transpose(axes)


permute.vjp(x=lambda g, dims: permute(g, inverse(dims)))
permute.formula(x="permute(∂out, inverse dims)")
permute.flops(moves_data)


def inverse(dims: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that undoes `dims`."""
    return tuple(int(i) for i in np.argsort([d % len(dims) for d in dims]))


@permute.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"dims": draw.choice([(2, 0, 1), (1, 0, 2), (-1, 0, 1), (0, -1, -2)])}


@method("permute")
def _permute(x: Tensor, *axes: Any, dims: Any = None) -> Any:
    """x.permute(0, 2, 3, 1), x.permute((0, 2, 3, 1)) or x.permute(dims=(0, 2, 3, 1))."""
    return permute(x, sizes_of("permute", axes, dims=dims))


@method
def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Swap two axes, as PyTorch does (`permute` reorders them all)."""
    dims = list(range(x.ndim))
    a, b = (normalize_axes(d, x.ndim, "transpose")[0] for d in (dim0, dim1))
    dims[a], dims[b] = b, a
    return permute(x, tuple(dims))


method("swapaxes")(transpose)
method("mT")(property(lambda x: transpose(x, -2, -1), doc="The last two axes swapped."))
method("T")(property(lambda x: permute(x, tuple(range(x.ndim))[::-1]), doc="The axes in reverse order."))


@method
def expand(x: Any, *sizes: Any) -> Tensor:
    """x stretched to `sizes` by broadcasting, as a read-only view; -1 keeps a length."""
    target = sizes_of("expand", sizes)
    lead = len(target) - x.ndim
    if lead < 0 or -1 in target[:lead]:
        raise ShapeError(
            f"expand: sizes {target} for shape {tuple(x.shape)}; there must be one for every axis, -1 only for those"
        )
    shape = tuple(x.shape[i - lead] if n == -1 else n for i, n in enumerate(target))
    if any(n not in (1, shape[i + lead]) for i, n in enumerate(x.shape)):
        raise ShapeError(f"expand: shape {tuple(x.shape)} does not stretch to {shape}; only axes of length 1 do")
    return broadcast_to(x, shape)


@method
def expand_as(x: Any, other: Any) -> Tensor:
    """x stretched to the shape of another Tensor by broadcasting, as a read-only view."""
    return expand(x, tuple(other.shape))


@op
def pad(x: Any, /, widths: Any, value: float = 0.0) -> Any:
    """x with `value` around it: widths is one (before, after) pair per axis, first axis first, none negative.

    `nn.functional.pad` takes PyTorch's flat list, last axis first. In an integer array -inf stands for the
    smallest integer.
    """
    if len(widths) != x.ndim or any(len(pair) != 2 or pair[0] < 0 or pair[1] < 0 for pair in widths):
        raise ShapeError(f"pad: widths {widths} for shape {x.shape}; {x.ndim} pairs (before, after) >= 0 are needed")
    if x.dtype.kind in "iu" and np.isinf(value):
        value = np.iinfo(x.dtype).min if value < 0 else np.iinfo(x.dtype).max
    if x.dtype.kind in "iu" and not np.iinfo(x.dtype).min <= value <= np.iinfo(x.dtype).max:
        raise ValueError(
            f"pad: value is {value}, which {x.dtype} cannot hold; use one of its values, or convert x first"
        )
    sizes = [before + n + after for (before, after), n in zip(widths, x.shape, strict=True)]
    out = np.full_like(x, value, shape=sizes, subok=False)  # in the memory order of x, as np.pad is not
    out[tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))] = x
    return out


pad.vjp(
    x=lambda g, x_shape, widths: getitem(
        g, tuple(slice(before, before + n) for n, (before, _) in zip(x_shape, widths, strict=True))
    )
)
pad.formula(x="crop(∂out, widths)")
pad.flops(moves_data)


@pad.sample
def _(draw: Any) -> Any:
    widths = draw.choice([((1, 2), (0, 1)), ((0, 0), (3, 0)), ((0, 0), (0, 0))])
    return (draw.array(2, 3),), {"widths": widths, "value": draw.choice([0.0, -1.5])}


@op
def flipped(x: Any, /, axis: Any) -> Any:
    """x with the order along `axis` (an int or several) reversed: a copy."""
    return np.flip(x, normalize_axes(axis, x.ndim, "flip")).copy(order="K")


flipped.vjp(x=lambda g, axis: flipped(g, axis))
flipped.formula(x="flip(∂out, axis)")
flipped.flops(moves_data)


@flipped.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"axis": draw.choice([0, (1, 2), -1, (0, -2)])}


@method
def flip(x: Any, *axes: Any, dims: Any = None, axis: Any = None) -> Tensor:
    """x with the order along some axes reversed, a copy: x.flip(2, 3), x.flip((2, 3)) or x.flip(dims=(2, 3))."""
    if not axes and dims is None and axis is None:
        raise TypeError(f"flip: no axes were given for shape {tuple(x.shape)}; name at least one")
    return flipped(x, sizes_of("flip", axes, dims=dims, axis=axis))


@op(broadcast=True)
def concatenate(*xs: Any, axis: int = 0) -> Any:
    """Arrays joined along an axis that they have."""
    concat_shape([x.shape for x in xs], axis)
    return np.concatenate(xs, axis)


def _concatenate_gradient(g: Any, xs_shape: Any, needs: tuple[bool, ...], axis: int) -> list[Any]:
    """Each input's own stretch of g."""
    gradients, start = [], 0
    axis %= g.ndim
    for shape, needed in zip(xs_shape, needs, strict=True):
        stop = start + shape[axis]
        gradients.append(getitem(g, (slice(None),) * axis + (slice(start, stop),)) if needed else None)
        start = stop
    return gradients


concatenate.vjp_all(_concatenate_gradient)
concatenate.formula(xs="split(∂out, xs, axis)[k]")
concatenate.flops(moves_data)


@concatenate.sample
def _(draw: Any) -> Any:
    axis = draw.choice([0, 1, -1])
    lengths = [draw.size(0, 3) for _ in range(draw.size(1, 3))]
    return tuple(draw.array(*((n, 2) if axis == 0 else (2, n))) for n in lengths), {"axis": axis}


@op(broadcast=True)
def stacked(*xs: Any, axis: int = 0) -> Any:
    """Arrays of one shape side by side along a new axis."""
    if any(x.shape != xs[0].shape for x in xs):
        raise ShapeError(f"stack: shapes {', '.join(str(x.shape) for x in xs[:8])}; they must all be the same")
    return np.stack(xs, normalize_axes(axis, xs[0].ndim + 1, "stack")[0])


def _stacked_gradient(g: Any, needs: tuple[bool, ...], axis: int) -> list[Any]:
    at = (slice(None),) * (axis % g.ndim)
    return [getitem(g, (*at, i)) if needed else None for i, needed in enumerate(needs)]


stacked.vjp_all(_stacked_gradient)
stacked.formula(xs="take(∂out, k, axis)")
stacked.flops(moves_data)


@stacked.sample
def _(draw: Any) -> Any:
    return tuple(draw.array(2, 3) for _ in range(draw.size(1, 3))), {"axis": draw.choice([0, 1, 2, -1, -2])}


def cat(tensors: Sequence[Any], dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """Join Tensors along an axis that they have, 0 unless `dim` says which; they may differ in its length only.

    Different dtypes are promoted. Raises ValueError for an empty list and ShapeError if other axes differ.
    """
    return concatenate(*_several(tensors, "cat"), axis=one_of("cat", dim=dim, axis=axis) or 0)


concat = cat


def stack(tensors: Sequence[Any], dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """Put Tensors of one shape side by side along a new axis at `dim`, 0 unless given.

    Raises ValueError for an empty list and ShapeError if shapes differ.
    """
    return stacked(*_several(tensors, "stack"), axis=one_of("stack", dim=dim, axis=axis) or 0)


def _several(tensors: Any, name: str) -> Any:
    if isinstance(tensors, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: a list of Tensors is needed, not one of shape {tuple(tensors.shape)}")
    if not len(tensors):
        raise ValueError(f"{name}: the list of Tensors is empty; it needs at least one")
    for i, x in enumerate(tensors):
        if not isinstance(x, (Tensor, np.ndarray)):
            raise TypeError(f"{name}: entry {i} of the list is a {type(x).__name__}; Tensors or ndarrays are needed")
    return tensors
