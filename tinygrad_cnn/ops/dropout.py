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
    """scale * x where `keep` is true, 0 elsewhere, whatever x holds there."""
    out = np.where(keep, x, x.dtype.type(0))
    return np.multiply(out, scale, out=out if out.ndim else None)


drop.vjp(x=lambda g, keep, scale: drop(g, keep, scale))
drop.formula(x="∂out · scale · 1[keep]")
drop.flops(one_per_output)


@drop.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 3, 4),), {"keep": draw.booleans(2, 3, 4), "scale": draw.choice([1.25, 2.0, 0.0])}


def dropout(input: Any, p: float = 0.5, training: bool = True, generator: np.random.Generator | None = None) -> Tensor:
    """In training each element is 0 with probability p and x / (1 - p) else, so that its mean stays; else x itself.

    generator: where the draws come from; this thread's `default_generator()` if none is given.

    p = 1 gives zeros, also for inf and nan. Raises ValueError unless 0 <= p <= 1.
    Source: Srivastava et al., Dropout (2014), sec. 10 (the scaled form).
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}; a probability must lie between 0 and 1")
    if not training or p == 0.0:
        same: Tensor = input
        return same
    x = array_of(input)
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"dropout: the input is {kind}; a float Tensor or ndarray is needed")
    if p == 1.0:
        keep = np.zeros(x.shape, np.bool_)
    else:
        draws = source(generator).random(x.shape, np.float32)
        keep = np.asarray(draws >= p)
    keep.flags.writeable = False  # the graph keeps this array itself instead of a copy
    return drop(input, keep=keep, scale=0.0 if p == 1.0 else 1.0 / (1.0 - p))
