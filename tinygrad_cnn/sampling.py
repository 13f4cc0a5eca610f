"""Random numbers that follow given probabilities, under PyTorch's names.

They come from `generator`, the thread's own unless given; no gradient flows to the probabilities.
"""

from typing import Any

import numpy as np

from .creation import randn
from .graph import Tensor, wrap
from .ops.elementwise import array_of
from .random import source
from .shapes import ShapeError, broadcast_shape, is_int

__all__ = ["bernoulli", "multinomial", "normal"]

Generator = np.random.Generator | None


def bernoulli(input: Any, *, generator: Generator = None) -> Tensor:
    """1 with the probability `input`, 0 otherwise, each for itself; shape and dtype of the input."""
    p = np.asarray(array_of(input))
    if p.dtype.kind != "f":
        raise TypeError(f"bernoulli: the probabilities are {p.dtype}; floats are needed")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("bernoulli: a probability is below 0, above 1 or nan; all must lie in [0, 1]")
    return wrap((source(generator).random(p.shape) < p).astype(p.dtype))


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator = None) -> Tensor:
    """Normally distributed numbers: normal(means, stds) each by its own, which broadcast, or normal(0., 1., size)."""
    m, s = array_of(mean), array_of(std)
    if (np.asarray(s) < 0).any():
        raise ValueError(f"normal: the smallest std is {np.min(s)}; none must be negative")
    shape = broadcast_shape(np.shape(m), np.shape(s), op="normal")
    if size is not None and shape != ():
        raise ShapeError(f"normal: size {size} beside means and stds of shape {shape}; give numbers with a size")
    kinds = [x.dtype for x in (m, s) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    drawn = randn(shape if size is None else size, generator=generator, dtype=np.result_type(*kinds) if kinds else None)
    values: Any = drawn.array * np.asarray(s, drawn.dtype) + np.asarray(m, drawn.dtype)
    return wrap(np.asarray(values))


def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Generator = None) -> Tensor:
    """For every row of weights, `num_samples` places drawn in proportion to them: (k) -> (s) or (n k) -> (n s), int64.

    Without replacement no place comes twice, so at least as many weights must not be 0.
    """
    weights = np.asarray(array_of(input), np.float64)
    if weights.ndim not in (1, 2):
        raise ShapeError(f"multinomial: weights of shape {weights.shape}; (k) or (n, k) is needed")
    if not is_int(num_samples) or num_samples < 1:
        raise ValueError(f"multinomial: num_samples={num_samples!r}; an integer of at least 1 is needed")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not (weights > 0).any(-1).all():
        raise ValueError("multinomial: weights must be finite, not negative, and not all 0 in a row")
    possible = int((weights > 0).sum(-1).min(initial=weights.shape[-1]))
    if not replacement and num_samples > possible:
        raise ValueError(
            f"multinomial: {num_samples} samples without replacement of {possible} weights above 0; "
            "draw fewer, or with replacement=True"
        )
    draw = source(generator)
    rows = np.atleast_2d(weights)
    rows = rows / rows.max(-1, keepdims=True, initial=0.0)  # whose sum is finite
    if replacement:
        # the inverse of the cumulative distribution; rounding must not lead past the last weight above 0
        levels = rows.cumsum(-1)
        at = draw.random((len(rows), num_samples)) * levels[:, -1:]
        found = np.stack([np.searchsorted(level, a, side="right") for level, a in zip(levels, at, strict=True)])
        last = rows.shape[1] - 1 - (rows[:, ::-1] > 0).argmax(-1)
        found = np.minimum(found, last[:, None])
    else:
        # the largest of log(weight) + Gumbel noise: drawing without replacement (Efraimidis & Spirakis 2006)
        with np.errstate(divide="ignore"):
            keys = np.log(np.atleast_2d(weights)) + draw.gumbel(size=rows.shape)  # in rows a small one may be 0
        found = np.argsort(-keys, axis=-1)[:, :num_samples]
    return wrap(found.astype(np.int64).reshape((*weights.shape[:-1], num_samples)))
