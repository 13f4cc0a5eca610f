"""Batch normalisation: training, its gradients as ops of a closed family, and evaluation with running statistics."""

from math import prod
from typing import Any

import numpy as np

from .. import memory, replicas
from ..graph import Tensor
from ..kernels import norm as kernels
from ..kernels.reduce import sum_pairwise, widened
from ..modes import replaying
from ..primitive import op
from ..replicas import Shared
from ..shapes import ShapeError
from .elementwise import array_of
from .reduce import mean, sum, var

__all__ = ["batch_norm"]


def _axes(ndim: int) -> tuple[int, ...]:
    """All but the channels."""
    return (0, *range(2, ndim))


def _count(shape: tuple[int, ...]) -> int:
    """How many values one channel has; 1 for none, so that nothing has mean and variance 0."""
    return max(prod(shape) // max(shape[1], 1), 1)


def _across(values: Any, ndim: int) -> Any:
    """One number per channel, shaped to multiply images: (c) -> (1 c 1 1)."""
    return values.reshape((1, -1) + (1,) * (ndim - 2))


def _per_channel(x: Any) -> Any:
    """The sum over all but the channels: (n c h w) -> (c)."""
    return sum(x, _axes(x.ndim))


def _check(x: Any, per_channel: dict[str, Any]) -> None:
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: the input has shape {tuple(x.shape)}, needs (n, channels) or (n, channels, ...)")
    for name, values in per_channel.items():
        if values is not None and values.shape != (x.shape[1],):
            raise ShapeError(
                f"batch_norm: {name} has shape {tuple(values.shape)}, needs ({x.shape[1]},), one number for each "
                f"channel of the input {tuple(x.shape)}"
            )


@op(floating=True, residual="statistics")
def batch_norm_train(x: Any, w: Any = None, b: Any = None, /, eps: float = 1e-5, shared: Shared | None = None) -> Any:
    """w (x - mean) / sqrt(var + eps) + b, with the mean and the biased variance of each channel over the batch.

    (n c ...), (c), (c) -> (n c ...)

    The statistics are (mean, variance), float32 for half precision. shared: those of a batch of which x is the part of
    this process; its gradient is that of the sum of all processes' losses.
    Source: Ioffe & Szegedy, Batch normalization (2015), algorithm 1.
    """
    _check(x, {"weight": w, "bias": b})
    if kernels.fits(x):
        average, variance = kernels.moments(x) if shared is None else (shared.mean, shared.variance)
        scale = _inverse_std(variance, eps)
        scale, shift = scale if w is None else scale * w, np.zeros_like(scale) if b is None else b.copy()
        return kernels.affine(x, average, scale, shift), (average, variance)
    wide, axes = widened(x), _axes(x.ndim)
    n = wide.dtype.type(_count(x.shape))
    average = sum_pairwise(wide, axes, False) / n if shared is None else shared.mean
    out = wide - _across(average, x.ndim)
    variance = sum_pairwise(out * out, axes, False) / n if shared is None else shared.variance
    scale = _inverse_std(variance, eps)
    out *= _across(scale if w is None else scale * w, x.ndim)
    if b is not None:
        out += _across(b, x.ndim)
    return out.astype(x.dtype, copy=False), (average, variance)


def _inverse_std(variance: Any, eps: float) -> Any:
    return 1 / np.sqrt(variance + variance.dtype.type(eps))


def _statistics(x: Any) -> tuple[Any, Any]:
    """The mean and the biased variance of each channel of an array."""
    if kernels.fits(x):
        return kernels.moments(x)
    wide, axes = widened(x), _axes(x.ndim)
    n = wide.dtype.type(_count(x.shape))
    average = sum_pairwise(wide, axes, False) / n
    centred = wide - _across(average, x.ndim)
    return average, sum_pairwise(centred * centred, axes, False) / n


def _weighted_sum(g: Any, x: Any, statistics: tuple[Any, Any], eps: float) -> Any:
    """sum g (x - mean) / sqrt(var + eps) for each channel, of arrays, in the dtype of the statistics."""
    average, variance = statistics
    if kernels.fits(x, g):
        return kernels.weighted_sum(g, x, average) * _inverse_std(variance, eps)
    c = x - _across(average, x.ndim)
    return sum_pairwise(np.multiply(c, g, out=c), _axes(x.ndim), False) * _inverse_std(variance, eps)


def _statistics_flops(x_shape: tuple[int, ...], statistics: Any) -> int:
    """What it costs to make the statistics, unless they are there."""
    return 0 if statistics is not None else 4 * prod(x_shape) + 2 * x_shape[1]


@op
def batch_norm_weight_grad(g: Any, x: Any, /, statistics: Any = None, eps: float = 1e-5) -> Any:
    """sum g y for each channel, with y = (x - mean(x)) / sqrt(var(x) + eps).

    (n c ...), (n c ...) -> (c)

    statistics: the mean and biased variance of x, which only save computing them again: the rules take them as
    functions of x.
    """
    return _weighted_sum(g, x, statistics or _statistics(x), eps).astype(g.dtype, copy=False)


@op
def batch_norm_input_grad(
    g: Any,
    x: Any,
    w: Any = None,
    /,
    statistics: Any = None,
    eps: float = 1e-5,
    sums: Any = None,
    shared: Shared | None = None,
) -> Any:
    """w r (g - mean(g) - y mean(g y)) with y = (x - mean(x)) r, r = 1 / sqrt(var(x) + eps).

    (n c ...), (n c ...), (c) -> (n c ...)

    statistics: the mean and biased variance of x; sums: sum g and sum g y for each channel. Both only save
    computing them again: the rules take them as functions of g and x. shared: the batch of which x is a part, where
    the means are those of the whole; without rules.
    Source: Ioffe & Szegedy, Batch normalization (2015), sec. 3.
    """
    average, variance = statistics = statistics or _statistics(x)
    total, along = sums or (sum_pairwise(widened(g), _axes(x.ndim), False), _weighted_sum(g, x, statistics, eps))
    if shared is not None:
        total, along = shared.means_to_own_sums(total, along)
    n = average.dtype.type(_count(x.shape))
    r = _inverse_std(variance, eps)
    scale = r if w is None else r * w
    slope, shift = -scale * r * along / n, -scale * total / n
    if kernels.fits(x, g):
        return kernels.combined(g, x, average, slope, scale, shift)
    out = x - _across(average, x.ndim)
    out *= _across(slope, x.ndim)
    out += g * _across(scale, x.ndim)
    out += _across(shift, x.ndim)
    return out.astype(x.dtype, copy=False)


def _train_gradients(
    g: Any, x: Any, w: Any, statistics: Any, eps: float, shared: Shared | None, needs: tuple[bool, ...]
) -> Any:
    """All three at once, because the sums that are the gradients of w and b are what the gradient of x needs."""
    if shared is not None and not isinstance(g, np.ndarray):
        raise RuntimeError(
            "batch_norm: create_graph=True needs a gradient that can be differentiated again, but the batch is shared "
            "with other processes, where only first gradients are computed; use the module inside the DataParallel"
        )
    total = _per_channel(g) if needs[0] or needs[2] else None
    weighted = batch_norm_weight_grad(g, x, statistics=statistics, eps=eps) if needs[0] or needs[1] else None
    if not needs[0]:
        return None, weighted, total
    # Half precision may have overflowed in the sums, so there they are made again in float32.
    sums = None if g.dtype == np.float16 else (array_of(total), array_of(weighted))
    gradient = batch_norm_input_grad(g, x, w, statistics=statistics, eps=eps, sums=sums, shared=shared)
    return gradient, weighted, total


batch_norm_train.vjp_all(_train_gradients)
batch_norm_train.formula(x="w_c/σ · (∂out − mean ∂out − x̂·mean(∂out·x̂))", w="Σ ∂out·x̂", b="Σ ∂out")
batch_norm_train.flops(
    lambda x_shape, w_shape, b_shape: (5 + bool(b_shape)) * prod(x_shape) + (5 + bool(w_shape)) * x_shape[1]
)

batch_norm_weight_grad.vjp(
    g=lambda v, x, eps: batch_norm_train(x, v, eps=eps),
    x=lambda v, g, x, statistics, eps: batch_norm_input_grad(g, x, v, statistics=statistics, eps=eps),
)
batch_norm_weight_grad.formula(g="∂out_c · x̂", x="∂out_c/σ · (g − mean g − x̂·mean(g·x̂))")
batch_norm_weight_grad.flops(
    lambda x_shape, statistics: _statistics_flops(x_shape, statistics) + 3 * prod(x_shape) + 4 * x_shape[1]
)


def _second_input_gradient(v: Any, g: Any, x: Any, w: Any, out: Any, statistics: Any, eps: float) -> Any:
    """-(r / n) (y <v, out> + <g, y> G(v) + <v, y> G(g)), where G is batch_norm_input_grad and out is G(g)."""
    r = (var(x, _axes(x.ndim), 0, True) + eps) ** -0.5
    y = (x - mean(x, _axes(x.ndim), True)) * r
    along_v = _across(_per_channel(v * y), x.ndim)
    along_g = _across(_per_channel(g * y), x.ndim)
    along_both = _across(_per_channel(v * out), x.ndim)
    other = batch_norm_input_grad(v, x, w, statistics=statistics, eps=eps)
    return (y * along_both + along_g * other + along_v * out) * r * (-1.0 / _count(x.shape))


batch_norm_input_grad.vjp(
    g=lambda v, x, w, statistics, eps: batch_norm_input_grad(v, x, w, statistics=statistics, eps=eps),
    x=_second_input_gradient,
    w=lambda v, g, x, statistics, eps: _per_channel(
        v * batch_norm_input_grad(g, x, None, statistics=statistics, eps=eps)
    ),
)
batch_norm_input_grad.formula(
    g="w_c/σ · (∂out − mean ∂out − x̂·mean(∂out·x̂))",
    x="−(x̂·mean(∂out·out) + mean(g·x̂)·∂g + mean(∂out·x̂)·out) / σ",
    w="Σ ∂out·(g − mean g − x̂·mean(g·x̂))/σ",
)
batch_norm_input_grad.flops(
    lambda x_shape, w_shape, statistics, sums: (
        _statistics_flops(x_shape, statistics)
        + (0 if sums is not None else 4 * prod(x_shape) + 4 * x_shape[1])
        + 5 * prod(x_shape)
        + (10 + bool(w_shape)) * x_shape[1]
    )
)


@op(floating=True)
def batch_norm_eval(
    x: Any, w: Any = None, b: Any = None, /, mean: Any = None, var: Any = None, eps: float = 1e-5
) -> Any:
    """w (x - mean) / sqrt(var + eps) + b with a given mean and variance for each channel.

    (n c ...), (c), (c) -> (n c ...)
    """
    _check(x, {"running_mean": mean, "running_var": var, "weight": w, "bias": b})
    wide = np.promote_types(x.dtype, np.float32)
    r = _running_inverse_std(var, eps, wide)
    scale = r if w is None else r * w
    shift = -scale * mean if b is None else b - scale * mean
    out = x * _across(scale.astype(wide, copy=False), x.ndim)
    out += _across(shift.astype(wide, copy=False), x.ndim)
    return out.astype(x.dtype, copy=False)


def _running_inverse_std(var: Any, eps: float, dtype: Any) -> Any:
    return _inverse_std(np.asarray(var, np.promote_types(dtype, np.float32)), eps)


def _eval_input_gradient(g: Any, x_shape: tuple[int, ...], w: Any, var: Any, eps: float) -> Any:
    r = _running_inverse_std(var, eps, g.dtype).astype(g.dtype, copy=False)
    return g * _across(r if w is None else w * r, len(x_shape))


def _eval_weight_gradient(g: Any, x: Any, mean: Any, var: Any, eps: float) -> Any:
    centre = np.asarray(mean, g.dtype)
    r = _running_inverse_std(var, eps, g.dtype).astype(g.dtype, copy=False)
    return _per_channel(g * (x - _across(centre, x.ndim))) * r


batch_norm_eval.vjp(x=_eval_input_gradient, w=_eval_weight_gradient, b=lambda g: _per_channel(g))
batch_norm_eval.formula(x="∂out · w_c / σ", w="Σ ∂out·x̂", b="Σ ∂out")
batch_norm_eval.flops(lambda x_shape, w_shape: 2 * prod(x_shape) + (5 + bool(w_shape)) * x_shape[1])


def _sample(draw: Any) -> Any:
    """Images with a variance of at least 0.1 in every channel."""
    shape = draw.choice([(3, 2), (2, 3, 4), (3, 2, 1, 4), (1, 2, 3, 2)])
    x = draw.array(*shape)
    x = x / np.sqrt(np.maximum(x.var(_axes(x.ndim), keepdims=True), 0.01))
    return x, draw.array(shape[1]), draw.array(shape[1])


@batch_norm_train.sample
def _(draw: Any) -> Any:
    x, w, b = _sample(draw)
    return draw.choice([(x, w, b), (x, w), (x, None, b), (x,)]), {"eps": draw.choice([1e-5, 0.3])}


@batch_norm_weight_grad.sample
def _(draw: Any) -> Any:
    x, _, _ = _sample(draw)
    return (draw.array(*x.shape), x), {"eps": draw.choice([1e-5, 0.3])}


@batch_norm_input_grad.sample
def _(draw: Any) -> Any:
    x, w, _ = _sample(draw)
    g = draw.array(*x.shape)
    return draw.choice([(g, x, w), (g, x)]), {"eps": draw.choice([1e-5, 0.3])}


@batch_norm_eval.sample
def _(draw: Any) -> Any:
    x, w, b = _sample(draw)
    running = {"mean": draw.array(x.shape[1]), "var": draw.positive(x.shape[1])}
    return draw.choice([(x, w, b), (x, w), (x, None, b), (x,)]), {**running, "eps": draw.choice([1e-5, 0.3])}


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight (input - mean) / sqrt(var + eps) + bias for each channel (axis 1).

    (n c ...), (c), (c), (c), (c) -> (n c ...)

    In training mean and variance are those of the batch, and the running ones, if given, move towards them in
    place: running = (1 - momentum) running + momentum batch, with the unbiased variance, under no_grad too. Else
    they are the running ones. A batch without images moves nothing, nor does a checkpoint that computes again. In a
    DataParallel model the batch is that of all processes.

    Raises ValueError in training for a single value per channel and for eps <= 0, and without running statistics
    outside training. If it raises, the running statistics are as before.
    """
    running = running_statistics("batch_norm", input, running_mean, running_var)
    if not training:
        if running_mean is None:
            raise ValueError("batch_norm: running_mean and running_var are None; outside training they are needed")
        return batch_norm_eval(input, weight, bias, mean=running["running_mean"], var=running["running_var"], eps=eps)
    if not eps > 0:
        raise ValueError(f"batch_norm: eps is {eps}; in training it must be positive")
    shape = array_of(input).shape
    check_movable("batch_norm", running, momentum)
    _check(array_of(input), running)
    shared = _shared(array_of(input))
    n = _count(shape) if shared is None else shared.count
    if n == 1 and prod(shape):
        raise ValueError(
            f"batch_norm: the input {tuple(shape)} has 1 value per channel, training needs at least 2; "
            "use a larger batch, or eval()"
        )
    out: Tensor
    out, (average, variance) = batch_norm_train.with_residual(input, weight, bias, eps=eps, shared=shared)
    if prod(shape) and running_mean is not None:
        with np.errstate(all="ignore"):
            unbiased = variance * variance.dtype.type(n / (n - 1))
        move("batch_norm", running, (average, unbiased), momentum)
    return out


def _shared(x: Any) -> Shared | None:
    """The statistics of the batch that this process shares with others; None where it is alone."""
    others = replicas.current.get()
    if others is None:
        return None
    if not x.size:
        raise ValueError(
            f"batch_norm: the input {tuple(x.shape)} has no values, but the batch is shared with other processes; give "
            "every process at least one image of each batch"
        )
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    with np.errstate(all="ignore"):
        return replicas.share(others, _count(x.shape), *_statistics(x))


def running_statistics(op: str, input: Any, running_mean: Any, running_var: Any) -> dict[str, Any]:
    """The arrays of the running mean and variance, None for both or neither, of an input that is an array."""
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{op}: one of running_mean and running_var is None; give both or neither")
    x = array_of(input)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{op}: the input is a {type(x).__name__}; a Tensor or ndarray is needed")
    return {
        "running_mean": _running(op, running_mean, "running_mean"),
        "running_var": _running(op, running_var, "running_var"),
    }


def check_movable(op: str, running: dict[str, Any], momentum: Any) -> None:
    """Raise unless the running statistics can be written to and the momentum is a number."""
    if isinstance(momentum, bool) or not isinstance(momentum, (int, float, np.floating)):
        raise TypeError(f"{op}: momentum is {momentum!r}; a number is needed (the layer computes cumulative averages)")
    for name, array in running.items():
        if array is not None and not array.flags.writeable:
            raise ValueError(f"{op}: {name} is read-only, but training updates it in place; pass a copy")


def move(op: str, running: dict[str, Any], found: tuple[Any, Any], momentum: float) -> None:
    """running = (1 - momentum) running + momentum found, in place; not when a checkpoint computes again."""
    if replaying.get():
        return
    with np.errstate(all="ignore"):
        moved = [
            (1.0 - momentum) * old + momentum * new.astype(old.dtype, copy=False)
            for old, new in zip(running.values(), found, strict=True)
        ]
    for old, new in zip(running.values(), moved, strict=True):
        old[...] = new
        memory.mark_changed(old, f"{op}'s running statistics")


def _running(op: str, values: Any, name: str) -> Any:
    """The array of running statistics, which is written to."""
    if isinstance(values, Tensor) and values.requires_grad:
        raise RuntimeError(f"{op}: {name} requires grad, but it is updated in place; pass {name}.detach()")
    array = array_of(values)
    if array is not None and (not isinstance(array, np.ndarray) or array.dtype.kind != "f"):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{op}: {name} is {kind}; a float Tensor or ndarray is needed")
    return array
