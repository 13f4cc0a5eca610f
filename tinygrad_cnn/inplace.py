"""Changing a Tensor's memory: `x += y`, `x[i] = v`, and the methods that end in an underscore.

No gradient flows through a change in place. Where no side requires grad, or under `no_grad`, the memory
is changed, and a graph that still needs the old values says so at backward. While recording, `h += skip`
means `h = h + skip`; everything else that would lose a gradient is refused with the functional way.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import memory
from .graph import Tensor, method
from .modes import recording
from .ops import elementary
from .ops import elementwise as elements
from .ops.elementwise import add, array_of, clip, div, mul, pow, sub
from .ops.index import index_steps
from .ops.scatter import scatter
from .random import source
from .shapes import ShapeError, broadcast_shape


def _needs_grad(*sides: Any) -> bool:
    return recording.get() and any(isinstance(side, Tensor) and side.node is not None for side in sides)


def _refuse(x: Tensor, by: str, instead: str) -> RuntimeError:
    if x.node is not None and x.is_leaf:
        what = "a leaf that requires grad"
        remedy = "to update it without a gradient, use `with no_grad():`; otherwise compute a new Tensor"
    else:
        what = "a Tensor in a recorded computation"
        remedy = "compute a new Tensor"
    return RuntimeError(
        f"{by}: {what} (shape {x.shape}) cannot be changed in place while recording; {remedy}: {instead}"
    )


def _value_for(x: Tensor, value: Any, by: str) -> Any:
    """`value` as an array or number that fits into x's dtype without loss of kind, and a memory to write to."""
    value = array_of(value)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (np.ndarray, bool, int, float)):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{by}: the value is a {type(value).__name__}; a Tensor, an ndarray or a number is needed")
        value = np.asarray(value)
    kind = value.dtype if isinstance(value, np.ndarray) else np.dtype(type(value))
    if not (np.can_cast(kind, x.dtype, "same_kind") or (type(value) is int and x.dtype.kind == "u")):
        raise TypeError(f"{by}: {kind} values do not fit into a {x.dtype} Tensor; convert one of them first")
    if type(value) is int and x.dtype.kind in "iu" and not np.iinfo(x.dtype).min <= value <= np.iinfo(x.dtype).max:
        raise OverflowError(f"{by}: {value} does not fit into a {x.dtype} Tensor; convert it first, as with .long()")
    if not x.array.flags.writeable:
        raise ValueError(
            f"{by}: the memory of this Tensor is read-only (a stretched view, or borrowed); clone() it first"
        )
    return value


def _check_fits(x: Tensor, value: Any, by: str) -> None:
    """Raise ShapeError if `value` does not broadcast to the shape of x: memory cannot grow."""
    if np.shape(value) == x.shape:
        return
    shape = broadcast_shape(x.shape, np.shape(value), op=by)
    if shape != x.shape:
        raise ShapeError(
            f"{by}: the result has shape {shape}, but memory of shape {x.shape} cannot grow; use x = x ..."
        )


def _apply(ufunc: np.ufunc, x: Tensor, value: Any, by: str) -> Tensor:
    """x.array = ufunc(x.array, value), in x's own memory. Nothing is written if shapes or dtypes do not fit."""
    value = _value_for(x, value, by)
    with np.errstate(all="ignore"):
        try:
            ufunc(x.array, value, out=x.array, casting="same_kind")
        except TypeError as error:
            raise TypeError(
                f"{by}: the result does not fit into a {x.dtype} Tensor; convert it first, as with .float() ({error})"
            ) from None
        except ValueError:
            _check_fits(x, value, by)
            raise
    memory.mark_changed(x.array, by)
    return x


def _install(name: str, symbol: str, ufunc: np.ufunc, function: Callable[..., Any], scaled: bool = False) -> None:
    """Give Tensor the operator `x symbol= y` and the method `name_`; `scaled` ones take PyTorch's alpha."""

    def operator(x: Tensor, y: Any) -> Any:
        by = f"x {symbol}= ..."
        if not _needs_grad(x, y):
            return _apply(ufunc, x, y, by)
        if x.node is not None and x.is_leaf:
            raise _refuse(x, by, f"x = x {symbol} ...")
        return function(x, y)

    def underscore(x: Tensor, other: Any, alpha: float = 1) -> Tensor:
        if alpha != 1 and not scaled:
            raise TypeError(f"{name}_ has no alpha; add_ and sub_ have one")
        if _needs_grad(x, other):
            raise _refuse(x, f"{name}_", f"x = x {symbol} ...")
        return _apply(ufunc, x, other if alpha == 1 else array_of(other) * alpha, f"{name}_")

    times = "alpha * " if scaled else ""
    underscore.__name__, underscore.__doc__ = f"{name}_", f"x {symbol}= {times}other, in place; returns x."
    setattr(Tensor, f"__i{'truediv' if name == 'div' else name}__", operator)
    setattr(Tensor, f"{name}_", underscore)


_install("add", "+", np.add, add, scaled=True)
_install("sub", "-", np.subtract, sub, scaled=True)
_install("mul", "*", np.multiply, mul)
_install("div", "/", np.true_divide, div)
_install("pow", "**", np.power, pow)


def _install_function(name: str, function: Callable[..., Any]) -> None:
    """Give Tensor the method `name_`, which puts function(x) into x's own memory."""
    by = f"{name}_"

    def underscore(x: Tensor) -> Tensor:
        if _needs_grad(x):
            raise _refuse(x, by, f"x = x.{name}()")
        return _overwrite(x, function(x.array), by)

    underscore.__name__, underscore.__doc__ = by, f"x = x.{name}(), in place; returns x."
    setattr(Tensor, by, underscore)


def _overwrite(x: Tensor, values: Any, by: str) -> Tensor:
    """x with `values` of its own shape in its own memory."""
    np.copyto(x.array, _value_for(x, values, by), casting="same_kind")
    memory.mark_changed(x.array, by)
    return x


for _name in ("abs", "cos", "exp", "log", "neg", "relu", "sigmoid", "sin", "sqrt", "square", "tanh"):
    _install_function(_name, getattr(elements, _name))
for _name in ("ceil", "expm1", "floor", "log1p", "reciprocal", "round", "rsqrt", "trunc"):
    _install_function(_name, getattr(elementary, _name))


@method
def scatter_(x: Tensor, dim: int, index: Any, src: Any) -> Tensor:
    """x with src[i, j, ...], or one number, at [index[i, j, ...], j, ...] for dim 0, and so on, in place; returns x."""
    if _needs_grad(x, src):
        raise _refuse(x, "scatter_", "x = x.scatter(dim, index, src)")
    found = scatter(x.array, dim, array_of(index), array_of(src))
    return _overwrite(x, array_of(found), "scatter_")


@method
def copy_(x: Tensor, source: Any) -> Tensor:
    """Overwrite x with `source`, broadcast to its shape and converted to its dtype; returns x."""
    if _needs_grad(x, source):
        raise _refuse(x, "copy_", "x = source.clone()")
    value = _value_for(x, source, "copy_")
    _check_fits(x, value, "copy_")
    with np.errstate(all="ignore"):
        np.copyto(x.array, value, casting="same_kind")
    memory.mark_changed(x.array, "copy_")
    return x


@method
def fill_(x: Tensor, value: float) -> Tensor:
    """Overwrite every element of x with one number; returns x."""
    return _fill(x, value, "fill_")


@method
def zero_(x: Tensor) -> Tensor:
    """Overwrite x with zeros; returns x."""
    return _fill(x, 0, "zero_")


def _fill(x: Tensor, value: Any, by: str) -> Tensor:
    if _needs_grad(x, value):
        raise _refuse(x, by, "x = Tensor(np.full(x.shape, value))")
    if np.ndim(array_of(value)) != 0:
        raise ValueError(
            f"{by}: the value has shape {np.shape(array_of(value))}; one number is needed (copy_ takes arrays)"
        )
    value = _value_for(x, value, by)
    with np.errstate(all="ignore"):
        x.array[...] = value
    memory.mark_changed(x.array, by)
    return x


@method
def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: np.random.Generator | None = None) -> Tensor:
    """Overwrite x with normally distributed numbers; returns x. They come from the thread's generator unless given."""
    if not std >= 0:
        raise ValueError(f"normal_: std={std}; it must not be negative")
    return _draw(x, lambda draw: draw.normal(mean, std, x.shape), generator, "normal_")


@method
def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: np.random.Generator | None = None) -> Tensor:
    """Overwrite x with numbers a <= x < b, evenly distributed; returns x.

    They come from the thread's generator unless given.
    """
    if not b >= a:
        raise ValueError(f"uniform_: from {a} to {b}; the first must not be the larger one")
    return _draw(x, lambda draw: draw.uniform(a, b, x.shape), generator, "uniform_")


def _draw(x: Tensor, numbers: Callable[[Any], Any], generator: np.random.Generator | None, by: str) -> Tensor:
    if _needs_grad(x):
        raise _refuse(x, by, "x = tinygrad_cnn.randn(x.shape)")
    if x.dtype.kind != "f":
        raise TypeError(f"{by}: a {x.dtype} Tensor; it must be float")
    _value_for(x, 0.0, by)
    with np.errstate(all="ignore"):
        x.array[...] = numbers(source(generator))
    memory.mark_changed(x.array, by)
    return x


@method
def clamp_(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Limit x to min <= x <= max in place; returns x."""
    if min is None and max is None:
        raise ValueError("clamp_: neither min nor max was given; give at least one")
    if _needs_grad(x, min, max):
        raise _refuse(x, "clamp_", "x = x.clamp(min, max)")
    low, high = (None if bound is None else _value_for(x, bound, "clamp_") for bound in (min, max))
    np.copyto(x.array, clip(x.array, low, high))
    memory.mark_changed(x.array, "clamp_")
    return x


@method
def masked_fill_(x: Tensor, mask: Any, value: float) -> Tensor:
    """Overwrite x with one number where `mask` holds, which broadcasts; returns x."""
    if _needs_grad(x, value):
        raise _refuse(x, "masked_fill_", "x = x.masked_fill(mask, value)")
    chosen = np.asarray(array_of(mask))
    if chosen.dtype != np.bool_:
        raise TypeError(f"masked_fill_: the mask is {chosen.dtype}; booleans are needed, as from a comparison")
    _check_fits(x, chosen, "masked_fill_")
    value = _value_for(x, value, "masked_fill_")
    if np.ndim(value) != 0:
        raise ValueError(f"masked_fill_: the value has shape {np.shape(value)}; one number is needed")
    with np.errstate(all="ignore"):
        np.copyto(x.array, value, where=chosen, casting="same_kind")
    memory.mark_changed(x.array, "masked_fill_")
    return x


def _combined(x: Tensor, by: str, instead: str, others: tuple[Any, ...], change: Callable[..., Any]) -> Tensor:
    """x += change(arrays of the others), in x's own memory."""
    if _needs_grad(x, *others):
        raise _refuse(x, by, instead)
    with np.errstate(all="ignore"):
        amount = change(*(array_of(other) for other in others))
    return _apply(np.add, x, amount, by)


@method
def lerp_(x: Tensor, end: Any, weight: Any) -> Tensor:
    """x += weight (end - x), in place: a step of a moving average; returns x."""
    if x.dtype == np.bool_:
        raise TypeError("lerp_: a bool Tensor; convert it first, as with .float()")
    return _combined(x, "lerp_", "x = x + weight * (end - x)", (end, weight), lambda e, w: w * (e - x.array))


@method
def addcmul_(x: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """x += value * tensor1 * tensor2, in place; returns x."""
    return _combined(x, "addcmul_", "x = x + value * a * b", (tensor1, tensor2), lambda a, b: value * a * b)


@method
def addcdiv_(x: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """x += value * tensor1 / tensor2, in place; returns x."""
    return _combined(x, "addcdiv_", "x = x + value * a / b", (tensor1, tensor2), lambda a, b: value * (a / b))


@method("__setitem__")
def _setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, in place, where no gradient is lost by it."""
    if _needs_grad(x, value):
        raise _refuse(x, "x[i] = v", "tinygrad_cnn.where(condition, v, x), or stack and cat the parts")
    value = _value_for(x, value, "x[i] = v")
    *select, last = index_steps(index)
    target = x.array
    with np.errstate(all="ignore"):
        try:
            for step in select:  # a basic index: a view, of a single element too
                target = target[step if Ellipsis in step else (*step, ...)]
            target[last] = value
        except IndexError as error:
            raise IndexError(f"x[i] = v: {error}; the shape is {x.shape}") from None
        except ValueError:
            raise ShapeError(
                f"x[i] = v: v has shape {np.shape(value)}, which does not broadcast to that of x[i], "
                f"{np.shape(target[last])}"
            ) from None
    memory.mark_changed(x.array, "x[i] = v")
