"""Dropout."""

from typing import Any

import numpy as np

from ..flops import one_per_output
from ..graph import Tensor
from ..primitive import op
from ..random import source
from .elementwise import array_of

__all__ = ["dropout"]


@op
def drop(x: Any, /, keep: Any, scale: float) -> Any:
    """scale * x where `keep`, which broadcasts to x, is true, 0 elsewhere, whatever x holds there."""
    out = np.where(keep, x, x.dtype.type(0))
    return np.multiply(out, scale, out=out if out.ndim else None)


drop.vjp(x=lambda g, keep, scale: drop(g, keep, scale))
drop.formula(x="∂out · scale · 1[keep]")
drop.flops(one_per_output)


@drop.sample
def _(draw: Any) -> Any:
    keep = draw.choice([draw.booleans(2, 3, 4), draw.booleans(2, 3, 1)])
    return (draw.array(2, 3, 4),), {"keep": keep, "scale": draw.choice([1.25, 2.0, 0.0])}


def dropout(input: Any, p: float = 0.5, training: bool = True, generator: np.random.Generator | None = None) -> Tensor:
    """In training each element is 0 with probability p and x / (1 - p) else, so that its mean stays; else x itself.

    generator: where the draws come from; this thread's `default_generator()` if none is given.

    p = 1 gives zeros, also for inf and nan. Raises ValueError unless 0 <= p <= 1.
    Source: Srivastava et al., Dropout (2014), sec. 10 (the scaled form).
    """
    check_probability("dropout", p)
    if not training or p == 0.0:
        same: Tensor = input
        return same
    return drop(input, keep=_kept(float_array("dropout", input).shape, p, generator), scale=_scale(p))


def feature_dropout(
    op: str, input: Any, p: float, training: bool, generator: np.random.Generator | None, axes: int
) -> Tensor:
    """dropout of whole channels: all values along the last `axes` axes are 0, or none."""
    check_probability(op, p)
    if not training or p == 0.0:
        same: Tensor = input
        return same
    shape = float_array(op, input).shape
    keep = _kept(shape[: len(shape) - axes] + (1,) * axes, p, generator)
    return drop(input, keep=keep, scale=_scale(p))


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = True, generator: np.random.Generator | None = None
) -> Tensor:
    """In training a x + b, where x is selu's limit -1.7581 with probability p, else x itself.

    a and b are those with which mean 0 and variance 1 stay. p = 1 gives zeros.
    Source: Klambauer et al., Self-normalizing neural networks (2017), sec. 2.
    """
    check_probability("alpha_dropout", p)
    if not training or p == 0.0:
        same: Tensor = input
        return same
    x = float_array("alpha_dropout", input)
    keep = _kept(x.shape, p, generator)
    if p == 1.0:
        return drop(input, keep=keep, scale=0.0)
    a = ((1.0 - p) * (1.0 + p * _LIMIT * _LIMIT)) ** -0.5
    shifts = np.where(keep, -a * p * _LIMIT, a * (1.0 - p) * _LIMIT).astype(x.dtype)
    shifted: Tensor = drop(input, keep=keep, scale=a) + shifts
    return shifted


_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717  # of selu at -inf


def check_probability(op: str, p: float) -> None:
    """Raise ValueError unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{op}: p is {p}; a probability must lie between 0 and 1")


def float_array(op: str, input: Any) -> Any:
    """The array of an input that must hold floats."""
    x = array_of(input)
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{op}: the input is {kind}; a float Tensor or ndarray is needed")
    return x


def _kept(shape: tuple[int, ...], p: float, generator: np.random.Generator | None) -> Any:
    """True with probability 1 - p, drawn for every place."""
    keep = np.zeros(shape, np.bool_) if p == 1.0 else np.asarray(source(generator).random(shape, np.float32) >= p)
    keep.flags.writeable = False  # the graph keeps this array itself instead of a copy
    return keep


def _scale(p: float) -> float:
    return 0.0 if p == 1.0 else 1.0 / (1.0 - p)
