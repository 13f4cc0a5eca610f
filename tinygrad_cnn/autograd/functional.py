"""Derivatives of functions as `torch.autograd.functional` spells them; `tinygrad_cnn.func` has more and says more.

inputs: a Tensor or a tuple of them; what is given for one Tensor is a Tensor, for a tuple a tuple.
create_graph: the results are parts of the graph of what requires grad outside, instead of constants.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..func import jacobians, transforms
from ..graph import Tensor, wrap
from ..modes import enable_grad, no_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]


def jacobian(func: Function, inputs: Any, create_graph: bool = False) -> Any:
    """d func / d inputs: `func.jacrev` of all inputs; a Tensor, or by output and by input a tuple."""
    xs, argnums = _split(inputs)
    with _mode(create_graph):
        return jacobians.jacrev(func, argnums)(*xs)


def hessian(func: Function, inputs: Any, create_graph: bool = False) -> Any:
    """d² func / d inputs² of a func that gives one number; a Tensor, or a tuple of tuples."""
    xs, argnums = _split(inputs)
    with _mode(create_graph):
        return jacobians.hessian(lambda *xs: _number("hessian", func(*xs)), argnums)(*xs)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), v · Jacobian); v may be left out where func gives one number."""
    xs, argnums = _split(inputs)
    with _mode(create_graph):
        out, pullback = transforms.vjp(func, *xs)
        return out, _like(argnums, pullback(_ones("vjp", out) if v is None else v))


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), Jacobian · v); v may be left out where the input is one number."""
    xs, _ = _split(inputs)
    with _mode(create_graph):
        return transforms.jvp(func, xs, _vectors("jvp", inputs, v))


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), Hessian · v) of a func that gives one number."""
    xs, argnums = _split(inputs)
    with _mode(create_graph):
        both = transforms.value_and_grad(lambda *xs: _number("hvp", func(*xs)), tuple(range(len(xs))))
        (value, _), pullback = transforms.vjp(both, *xs)
        vectors = tuple(transforms.matched("hvp", "v", _vectors("hvp", inputs, v), xs, "the inputs"))
        return value, _like(argnums, pullback((wrap(np.zeros_like(value.array)), vectors)))


vhp = hvp


def _split(inputs: Any) -> tuple[tuple[Any, ...], Any]:
    """The inputs as a tuple, and which to differentiate by: 0 for a single one, so that results are single too."""
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs), tuple(range(len(inputs)))
    return (inputs,), 0


def _mode(create_graph: bool) -> Any:
    return enable_grad() if create_graph else no_grad()


def _like(argnums: Any, found: tuple[Any, ...]) -> Any:
    return found[0] if argnums == 0 else found


def _vectors(name: str, inputs: Any, v: Any) -> tuple[Any, ...]:
    if v is None:
        return tuple(_ones(name, x) for x in _split(inputs)[0])
    return tuple(v) if isinstance(v, (tuple, list)) else (v,)


def _ones(name: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor) or x.array.size != 1:
        shown = f"shape {x.shape}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise RuntimeError(f"{name}: v may be left out for one number, this is {shown}; pass a v of that form")
    return wrap(np.ones_like(x.array))


def _number(name: str, y: Any) -> Any:
    """What func gave, as a number: one entry of any shape will do."""
    if not isinstance(y, Tensor) or y.array.size != 1:
        shown = f"shape {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise RuntimeError(f"{name}: func gave {shown}; one number is needed, as of .sum()")
    return y.reshape(())
