"""Activations, the softmax family and Dropout."""

from math import prod
from typing import Any

import numpy as np

from ...graph import Tensor, wrap
from ...ops.activation import (
    celu,
    elu,
    gelu,
    hardswish,
    hardtanh,
    leaky_relu,
    mish,
    parametric_relu,
    silu,
    softplus,
    softsign,
)
from ...ops.dropout import drop, dropout
from ...ops.elementwise import relu, sigmoid, tanh, where
from ...ops.layout import reshape
from ...ops.softmax import log_softmax, softmax
from ...shapes import normalize_axes
from .registry import Node, operator

__all__: list[str] = []


@operator("Relu")
def _relu(node: Node, x: Tensor) -> Tensor:
    """max(x, 0)"""
    return relu(x)


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    """x where x > 0, else alpha x"""
    return leaky_relu(x, node.attribute("alpha", 0.01))


@operator("PRelu")
def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """x where x > 0, else slope x, with a slope that broadcasts to x."""
    if slope.ndim > x.ndim or any(k not in (1, n) for k, n in zip(slope.shape[::-1], x.shape[::-1], strict=False)):
        raise node.fail(f"slope has shape {slope.shape}, which does not broadcast to the input's {x.shape}")
    return parametric_relu(x, slope)


@operator("Elu")
def _elu(node: Node, x: Tensor) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1)"""
    return elu(x, node.attribute("alpha", 1.0))


@operator("Selu")
def _selu(node: Node, x: Tensor) -> Tensor:
    """gamma x where x > 0, else gamma alpha (exp(x) - 1)"""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    return elu(x, alpha, node.attribute("gamma", 1.05070102214813232421875))


@operator("Celu")
def _celu(node: Node, x: Tensor) -> Tensor:
    """x where x > 0, else alpha (exp(x / alpha) - 1)"""
    return celu(x, node.attribute("alpha", 1.0))


@operator("Sigmoid")
def _sigmoid(node: Node, x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))"""
    return sigmoid(x)


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    """min(max(alpha x + beta, 0), 1), with gradient 0 at both bounds."""
    return hardtanh(x * node.attribute("alpha", 0.2) + node.attribute("beta", 0.5), 0.0, 1.0)


@operator("HardSwish")
def _hard_swish(node: Node, x: Tensor) -> Tensor:
    """x min(max(x / 6 + 1 / 2, 0), 1)"""
    return hardswish(x)


@operator("Tanh")
def _tanh(node: Node, x: Tensor) -> Tensor:
    """tanh(x)"""
    return tanh(x)


@operator("Softplus")
def _softplus(node: Node, x: Tensor) -> Tensor:
    """log(1 + exp(x))"""
    return softplus(x)


@operator("Softsign")
def _softsign(node: Node, x: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return softsign(x)


@operator("ThresholdedRelu")
def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    """x where x > alpha, else 0"""
    kept: Tensor = where(x.array > node.attribute("alpha", 1.0), x, 0.0)
    return kept


@operator("Gelu")
def _gelu(node: Node, x: Tensor) -> Tensor:
    """x times the share of a standard normal distribution below x, or its approximation with tanh."""
    return gelu(x, node.attribute("approximate", "none"))


@operator("Mish")
def _mish(node: Node, x: Tensor) -> Tensor:
    """x tanh(log(1 + exp(x)))"""
    return mish(x)


@operator("Swish")
def _swish(node: Node, x: Tensor) -> Tensor:
    """x sigmoid(alpha x)"""
    alpha = node.attribute("alpha", 1.0)
    return silu(x) if alpha == 1.0 else x * sigmoid(x * alpha)


def _along(node: Node, x: Tensor, function: Any) -> Tensor:
    """A function along an axis; before opset 13 along all axes from it on as one."""
    if node.opset >= 13:
        (axis,) = normalize_axes(node.attribute("axis", -1), x.ndim, node.op_type)
        result: Tensor = function(x, axis)
        return result
    axis = node.attribute("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise node.fail(f"axis is {axis} for an input of shape {x.shape}; {-x.ndim} to {x.ndim} are possible")
    axis = axis + x.ndim if axis < 0 else axis
    rows = reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
    return reshape(function(rows, 1), x.shape)


@operator("Softmax")
def _softmax(node: Node, x: Tensor) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`."""
    return _along(node, x, softmax)


@operator("LogSoftmax")
def _log_softmax(node: Node, x: Tensor) -> Tensor:
    """x - log(sum(exp(x))) along `axis`."""
    return _along(node, x, log_softmax)


@operator("Hardmax")
def _hardmax(node: Node, x: Tensor) -> Tensor:
    """1 at the first largest number along `axis`, 0 elsewhere; no gradient flows."""
    return _along(node, x, _one_at_largest)


def _one_at_largest(x: Tensor, axis: int) -> Tensor:
    ones = np.zeros_like(x.array)
    if x.array.size:
        np.put_along_axis(ones, x.array.argmax(axis, keepdims=True), 1, axis)
    return wrap(ones)


@operator("Dropout")
def _dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training_mode: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """In training 0 with probability `ratio` and x / (1 - ratio) else, and where x was kept; else x itself.

    A module that trains draws anew each time, from the default generator. Where the caller gives the training mode, the
    node's own seed is used if it has one.
    """
    p = node.attribute("ratio", 0.5) if ratio is None else float(ratio.array)
    if not 0.0 <= p <= 1.0:
        raise node.fail(f"the ratio is {p}; a probability must lie between 0 and 1")
    trains = node.training
    if trains is None:
        trains = training_mode is not None and bool(training_mode.array)
    if p == 0.0 or not trains:
        keep = np.ones(x.shape, np.bool_)
        return x, wrap(keep if node.opset >= 10 else keep.astype(x.dtype))
    seed = node.attribute("seed")
    if seed is None or node.training is not None:
        y = dropout(wrap(np.ones(x.shape, x.dtype)), p)
        keep = y.array != 0
    else:
        keep = np.random.RandomState(seed % 2**32).uniform(0.0, 1.0, x.shape) >= p
    scaled: Tensor = drop(x, keep=keep, scale=0.0 if p == 1.0 else 1.0 / (1.0 - p))
    return scaled, wrap(keep if node.opset >= 10 else keep.astype(x.dtype))
