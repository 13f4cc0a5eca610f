"""Normalizations."""

from math import prod
from typing import Any

import numpy as np

from ...basics import cast
from ...graph import Tensor, wrap
from ...ops.elementwise import abs, pow, sqrt, where
from ...ops.layout import pad, reshape
from ...ops.norm import batch_norm, batch_norm_train
from ...ops.pool import sum_pool2d
from ...ops.reduce import mean, sum
from ...ops.standardize import standardize
from ...shapes import normalize_axes
from .registry import Node, operator

__all__: list[str] = []


@operator("BatchNormalization")
def batch_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, average: Tensor, variance: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """scale (x - mean) / sqrt(var + epsilon) + bias for each channel: (n c ...), (c), (c), (c), (c) -> (n c ...)

    In a module that trains the statistics are those of the batch, and the running ones move towards them in place as
    PyTorch's do: with 1 - momentum as its momentum, and the unbiased variance. The further outputs of training_mode=1
    are ONNX's, from the biased variance, or in eval mode the running ones.
    """
    eps, momentum = node.attribute("epsilon", 1e-5), node.attribute("momentum", 0.9)
    if not node.attribute("spatial", 1):
        raise node.unsupported("spatial=0, statistics of each pixel; those of each channel are supported")
    scale, bias = (cast(p, x.dtype) if p.dtype != x.dtype else p for p in (scale, bias))
    written = bool(node.attribute("training_mode", 0))
    if written and (node.training is None or node.training):
        return _training_mode(node, x, scale, bias, (average, variance), eps, momentum)
    if node.outputs > 1 and not written:
        raise node.unsupported(f"{node.outputs} outputs without training_mode=1; Y alone is supported")
    if node.training:
        return batch_norm(x, average, variance, scale, bias, True, 1.0 - momentum, eps)
    if average.requires_grad or variance.requires_grad:
        across = (-1,) + (1,) * (x.ndim - 2)
        m, v, s, b = (reshape(p, across) for p in (average, variance, scale, bias))
        return (x - m) / sqrt(v + eps) * s + b
    y = batch_norm(x, average, variance, scale, bias, eps=eps)
    return y if node.outputs == 1 else (y, average.detach(), variance.detach())


def _training_mode(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, running: tuple[Tensor, Tensor], eps: float, momentum: float
) -> tuple[Tensor, ...]:
    """(y, running mean, running variance)"""
    y, found = batch_norm_train.with_residual(x, scale, bias, eps=eps)
    moved = [
        wrap((old.array * momentum + new * (1.0 - momentum)).astype(old.dtype, copy=False))
        for old, new in zip(running, found, strict=True)
    ]
    if node.training:
        batch_norm(x.detach(), *running, None, None, True, 1.0 - momentum, eps)  # for what it does to the statistics
    return (y, *moved)


@operator("LayerNormalization")
def layer_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor, ...]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over the axes from `axis` on; also the mean and 1 / sqrt(...)."""
    eps, axes = node.attribute("epsilon", 1e-5), _from_axis(node, x)
    y: Tensor = standardize(x, *_fitting(node, x, axes, scale, bias), axis=axes, eps=eps)
    if node.outputs == 1:
        return y
    wide = cast(x, np.dtype(np.float32)) if x.dtype == np.float16 else x
    average = mean(wide, axes, True)
    centred = wide - average
    return y, average, pow(mean(centred * centred, axes, True) + eps, -0.5)


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on."""
    axes = _from_axis(node, x)
    (weight,) = _fitting(node, x, axes, scale)
    y: Tensor = standardize(x, weight, axis=axes, eps=node.attribute("epsilon", 1e-5), centred=False)
    return y


def _from_axis(node: Node, x: Tensor) -> tuple[int, ...]:
    if node.attribute("stash_type", 1) != 1:
        raise node.unsupported(f"stash_type={node.attribute('stash_type')}; 1, float32, is supported")
    (first,) = normalize_axes(node.attribute("axis", -1), x.ndim, node.op_type)
    return tuple(range(first, x.ndim))


def _fitting(node: Node, x: Tensor, axes: tuple[int, ...], *params: Tensor | None) -> list[Tensor | None]:
    """Parameters that broadcast to x, as they are; those that x would have to be stretched to are refused."""
    for p in params:
        if p is not None and (
            p.ndim > x.ndim or any(k not in (1, n) for k, n in zip(p.shape[::-1], x.shape[::-1], strict=False))
        ):
            raise node.fail(f"a parameter has shape {p.shape}, which does not broadcast to the input's {x.shape}")
    return [p if p is None or p.dtype == x.dtype else cast(p, x.dtype) for p in params]


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + epsilon) * scale + bias for each channel of a sample: (n c ...), (c), (c) -> (n c ...)"""
    _check_channels(node, x, scale, bias)
    across = (x.shape[1], *[1] * (x.ndim - 2))
    axes = tuple(range(2, x.ndim))
    eps = node.attribute("epsilon", 1e-5)
    y: Tensor = standardize(x, reshape(scale, across), reshape(bias, across), axis=axes, eps=eps)
    return y


@operator("GroupNormalization")
def group_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + epsilon) * scale + bias for each group of neighbouring channels of a sample.

    (n c ...), (c), (c) -> (n c ...); before opset 21 scale and bias have one number for each group.
    """
    groups = node.attribute("num_groups")
    if x.ndim < 3:
        raise node.fail(f"the input has shape {x.shape}; (n, c, ...) with at least 3 axes is needed")
    n, c = x.shape[:2]
    if groups < 1 or c % groups:
        raise node.fail(f"num_groups is {groups}, which does not divide the {c} channels of {x.shape}")
    if node.attribute("stash_type", 1) != 1:
        raise node.unsupported(f"stash_type={node.attribute('stash_type')}; 1, float32, is supported")
    each = groups if node.opset < 21 else c
    for p in (scale, bias):
        if p.shape != (each,):
            raise node.fail(f"a parameter has shape {p.shape}; ({each},) is needed in opset {node.opset}")
    split = (groups, each // groups, *[1] * (x.ndim - 2))
    y: Tensor = standardize(
        reshape(x, (n, groups, c // groups, *x.shape[2:])),
        reshape(scale, split),
        reshape(bias, split),
        axis=tuple(range(2, x.ndim + 1)),
        eps=node.attribute("epsilon", 1e-5),
    )
    return reshape(y, x.shape)


def _check_channels(node: Node, x: Tensor, *params: Tensor) -> None:
    if x.ndim < 3:
        raise node.fail(f"the input has shape {x.shape}; (n, c, ...) with at least 3 axes is needed")
    for p in params:
        if p.shape != (x.shape[1],):
            raise node.fail(f"a parameter has shape {p.shape}; ({x.shape[1]},), one number for each channel, is needed")


@operator("LRN")
def local_response(node: Node, x: Tensor) -> Tensor:
    """x / (bias + alpha / size * sum x^2)^beta over `size` channels around each, one more after than before if even."""
    size = node.attribute("size")
    if x.ndim < 3 or size < 1:
        raise node.fail(f"size is {size} for an input of shape {x.shape}; at least 1 and (n, c, ...) are needed")
    n, c = x.shape[:2]
    before, after = (min(k, c - 1) for k in ((size - 1) // 2, size // 2))  # beyond all channels there is nothing
    wide = cast(x, np.dtype(np.float32)) if x.dtype == np.float16 else x
    planes = reshape(wide * wide, (n, 1, c, prod(x.shape[2:])))
    node.allow((n, 1, c + before + after, planes.shape[3]), planes.dtype.itemsize)
    sums = sum_pool2d(pad(planes, ((0, 0), (0, 0), (before, after), (0, 0))), (before + after + 1, 1), 1)
    alpha = node.attribute("alpha", 1e-4) / size
    scaled = pow(reshape(sums, x.shape) * alpha + node.attribute("bias", 1.0), -node.attribute("beta", 0.75))
    return cast(wide * scaled, x.dtype)


@operator("MeanVarianceNormalization")
def mean_variance(node: Node, x: Tensor) -> Tensor:
    """(x - mean) / (sqrt(var) + 1e-9) over `axes`, all but the channels unless given."""
    axes = normalize_axes(tuple(node.attribute("axes", (0, 2, 3))), x.ndim, node.op_type)
    centred = x - mean(x, axes, True)
    return centred / (_length(centred, 2, axes, mean) + 1e-9)


@operator("LpNormalization")
def lp_normalization(node: Node, x: Tensor) -> Tensor:
    """x / sum(|x|^p)^(1/p) along `axis`, p 1 or 2; 0 where that is 0."""
    p = node.attribute("p", 2)
    if p not in (1, 2):
        raise node.fail(f"p is {p}; 1 and 2 are possible")
    length = _length(x, p, normalize_axes(node.attribute("axis", -1), x.ndim, node.op_type), sum)
    y: Tensor = x / where(length.array == 0, 1.0, length)
    return y


def _length(x: Tensor, p: int, axes: tuple[int, ...], total: Any) -> Tensor:
    """The root of the sum or mean of |x|^p, with slope 0 where it is 0."""
    if p == 1:
        length: Tensor = total(abs(x), axes, True)
        return length
    squares = total(x * x, axes, True)
    empty = squares.array == 0
    root: Tensor = where(empty, 0.0, sqrt(where(empty, 1.0, squares)))
    return root
