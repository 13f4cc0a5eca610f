"""Normalization by statistics of each sample, under torch.nn.functional's names; functional.py has them.

Layer, group and instance normalization differ in the axes that share a mean. Half precision is computed in float32.
"""

from math import prod
from typing import Any

import numpy as np

from ..basics import cast
from ..geometry import checked_integer
from ..graph import Tensor
from ..ops.elementwise import array_of
from ..ops.layout import pad, reshape
from ..ops.norm import batch_norm, check_movable, move, running_statistics
from ..ops.pool import avg_pool2d
from ..ops.standardize import standardize
from ..replicas import averaged
from ..shapes import ShapeError, is_int, wrong_kind

__all__ = ["group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with the mean and variance of each sample: (n ... s) -> (n ... s)

    normalized_shape: the lengths s of the last axes, which share a mean; weight and bias have this shape.

    A single value becomes its bias. Raises ShapeError for shapes that do not fit, ValueError for eps < 0.
    Source: Ba, Kiros & Hinton, Layer normalization (2016), eq. 3 and 4.
    """
    axes = _last_axes("layer_norm", input, normalized_shape, {"weight": weight, "bias": bias}, eps)
    return standardize(input, weight, bias, axis=axes, eps=eps)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight, with the mean of each sample: (n ... s) -> (n ... s)

    normalized_shape: the lengths s of the last axes, which share a mean; weight has this shape.
    eps: the distance of the dtype's numbers at 1 unless given.

    Raises ShapeError for shapes that do not fit, ValueError for eps < 0.
    Source: Zhang & Sennrich, Root mean square layer normalization (2019), eq. 4.
    """
    axes = _last_axes("rms_norm", input, normalized_shape, {"weight": weight}, 0.0 if eps is None else eps)
    if eps is None:
        dtype = array_of(input).dtype
        eps = float(np.finfo(dtype if dtype.kind == "f" else np.float32).eps)
    return standardize(input, weight, axis=axes, eps=eps, centred=False)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with the mean and variance of each group of channels of a sample.

    (n c ...), (c), (c) -> (n c ...); a group is c / num_groups neighbouring channels.

    A group of a single value becomes its bias. Raises ShapeError if num_groups does not divide the channels, and
    ValueError for eps < 0 and for a single sample whose groups have one value each.
    Source: Wu & He, Group normalization (2018), eq. 1, 2 and 7.
    """
    groups = checked_integer("group_norm", "num_groups", num_groups, 1)
    shape = _shape("group_norm", input, 2, "(n, channels, ...)", eps)
    n, c = shape[:2]
    if c % groups:
        fitting = [k for k in range(1, c + 1) if c % k == 0]
        raise ShapeError(
            f"group_norm: the input {shape} has {c} channels, which num_groups={groups} does not divide; "
            f"use one of {', '.join(map(str, fitting))}"
        )
    _check_per_channel("group_norm", shape, {"weight": weight, "bias": bias})
    if prod(shape) == groups:
        raise ValueError(
            f"group_norm: the input {shape} has 1 value per group for num_groups={groups}, of which nothing is left; "
            "use fewer groups or larger images"
        )
    split = (groups, c // groups, *[1] * (len(shape) - 2))
    weight, bias = (None if a is None else reshape(a, split) for a in (weight, bias))
    x = reshape(input, (n, groups, c // groups, *shape[2:]))
    y = standardize(x, weight, bias, axis=tuple(range(2, x.ndim)), eps=eps)
    return reshape(y, shape)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with the mean and variance of each channel of a sample.

    (n c ...), (c), (c), (c), (c) -> (n c ...)

    The running statistics, if given, move towards the samples' averaged mean and unbiased variance in place:
    running = (1 - momentum) running + momentum average, under no_grad too. Without use_input_stats they are used
    instead. If it raises, they are as before.

    Raises ValueError for eps < 0 and for channels of a single value, and without use_input_stats for no statistics.
    Source: Ulyanov, Vedaldi & Lempitsky, Instance normalization (2016), eq. 4 and 5.
    """
    running = running_statistics("instance_norm", input, running_mean, running_var)
    shape = _shape("instance_norm", input, 3, "(n, channels, length, ...)", eps)
    if not use_input_stats:
        if running_mean is None:
            raise ValueError(
                "instance_norm: running_mean and running_var are None; without use_input_stats they are needed"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    _check_per_channel("instance_norm", shape, {**running, "weight": weight, "bias": bias})
    check_movable("instance_norm", running, momentum)
    n = prod(shape[2:])
    if n == 1:
        raise ValueError(
            f"instance_norm: the input {shape} has 1 value per channel of a sample, of which nothing is left; "
            "use larger images"
        )
    across = (shape[1], *[1] * (len(shape) - 2))
    weight, bias = (None if a is None else reshape(a, across) for a in (weight, bias))
    out: Tensor
    out, (mean, variance) = standardize.with_residual(input, weight, bias, axis=tuple(range(2, len(shape))), eps=eps)
    if prod(shape) and running_mean is not None:
        with np.errstate(all="ignore"):
            found = [s.reshape(shape[:2]).mean(0) for s in (mean, variance * variance.dtype.type(n / (n - 1)))]
        move("instance_norm", running, averaged((found[0], found[1]), shape[0]), momentum)
    return out


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean(x^2))^beta, with the mean of `size` neighbouring channels: (n c ...) -> (n c ...)

    The window of channel i is i - size // 2 to i + (size - 1) // 2; channels beyond the first and the last count as 0.
    Of the paper's formula, which sums, this is the one for alpha / size.
    Source: Krizhevsky, Sutskever & Hinton, ImageNet classification (2012), sec. 3.3.
    """
    size = checked_integer("local_response_norm", "size", size, 1)
    shape = _shape("local_response_norm", input, 3, "(n, channels, length, ...)", 0.0)
    n, c = shape[:2]
    x = array_of(input)
    wide = input if x.dtype in (np.float32, np.float64) else cast(input, np.dtype(np.float32))
    if not x.size:
        return wide
    window = ((0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0))
    planes = pad(reshape(wide * wide, (n, 1, c, prod(shape[2:]))), window)
    means = reshape(avg_pool2d(planes, (size, 1), 1), shape)
    y: Tensor = wide * (means * alpha + k) ** -beta
    return cast(y, x.dtype) if x.dtype == np.float16 else y


def _shape(op: str, input: Any, least: int, wanted: str, eps: float) -> tuple[int, ...]:
    """The shape of an input with at least so many axes, and eps checked."""
    x = array_of(input)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{op}: the input is a {type(x).__name__}; a Tensor or ndarray is needed")
    if not eps >= 0:
        raise ValueError(f"{op}: eps is {eps}; a number of at least 0 is needed")
    if x.ndim < least:
        raise ShapeError(f"{op}: the input has shape {tuple(x.shape)}, needs {wanted}")
    return tuple(x.shape)


def _last_axes(op: str, input: Any, lengths: Any, beside: dict[str, Any], eps: float) -> tuple[int, ...]:
    """The last axes, which have these lengths, and so have weight and bias."""
    if is_int(lengths):
        lengths = (lengths,)
    if not isinstance(lengths, (tuple, list)) or not all(map(is_int, lengths)):
        raise wrong_kind(op, "normalized_shape", lengths, "an int or several, the lengths of the last axes")
    wanted = tuple(int(n) for n in lengths)
    if not wanted:
        raise ShapeError(f"{op}: normalized_shape is (), needs at least one length; (1,) leaves single values")
    shape = _shape(op, input, 0, "", eps)
    if shape[-len(wanted) :] != wanted:
        raise ShapeError(
            f"{op}: the input has shape {shape}, needs (..., {', '.join(map(str, wanted))}), "
            f"as normalized_shape={wanted}; its last axes are {shape[-len(wanted) :]}"
        )
    for name, values in beside.items():
        if values is not None and tuple(np.shape(array_of(values))) != wanted:
            raise ShapeError(
                f"{op}: {name} has shape {tuple(np.shape(array_of(values)))}, needs normalized_shape={wanted}"
            )
    return tuple(range(-len(wanted), 0))


def _check_per_channel(op: str, shape: tuple[int, ...], beside: dict[str, Any]) -> None:
    for name, values in beside.items():
        if values is not None and tuple(np.shape(array_of(values))) != shape[1:2]:
            raise ShapeError(
                f"{op}: {name} has shape {tuple(np.shape(array_of(values)))}, needs ({shape[1]},), one number for each "
                f"channel of the input {shape}"
            )
