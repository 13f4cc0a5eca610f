"""How losses are written: of labels as ONNX's own, of numbers by their formulas."""

from typing import Any

import numpy as np

from ...ops import loss, pointwise_loss
from .reductions import soft
from .table import Call, translation
from .writer import Value


def _reduced(call: Call, losses: Value) -> Value:
    """The losses of all positions as they are, their mean or their sum."""
    reduction = call["reduction"]
    if reduction == "none":
        return losses
    flat = call.writer.reshape(losses, (-1,))
    return call.writer.reduce("ReduceMean" if reduction == "mean" else "ReduceSum", flat, (0,))


def _apart(call: Call) -> Value:
    x, y = call.pair
    return x - y


@translation(loss.squared_error)
def _squared_error(call: Call) -> Value:
    apart = _apart(call)
    return _reduced(call, apart * apart)


@translation(pointwise_loss.half_squared_error)
def _half_squared_error(call: Call) -> Value:
    apart = _apart(call)
    return _reduced(call, apart * apart * 0.5)


@translation(pointwise_loss.l1_loss)
def _l1_loss(call: Call) -> Value:
    return _reduced(call, call.node("Abs", _apart(call)))


@translation(pointwise_loss.huber_loss)
def _huber_loss(call: Call) -> Value:
    distance = call.node("Abs", _apart(call))
    inner = call.node("Min", distance, call["delta"])
    return _reduced(call, inner * (distance - inner * 0.5))


@translation(pointwise_loss.smooth_l1_loss)
def _smooth_l1_loss(call: Call) -> Value:
    distance, beta = call.node("Abs", _apart(call)), call["beta"]
    if not beta:
        return _reduced(call, distance)
    inner = call.node("Min", distance, beta)
    return _reduced(call, inner / beta * (distance - inner * 0.5))


@translation(pointwise_loss.hinge_embedding_loss)
def _hinge_embedding_loss(call: Call) -> Value:
    x, target = call.x, call.array("target")
    beyond = call.node("Max", call["margin"] - x, 0)
    return _reduced(call, call.writer.where(call.node("Equal", target, 1, dtype=np.bool_), x, beyond))


@translation(pointwise_loss.divergence)
def _divergence(call: Call) -> Value:
    x, y = call.pair
    none = call.node("Equal", y, 0, dtype=np.bool_)
    return _reduced(call, y * (call.node("Log", call.writer.where(none, 1, y)) - x))


@translation(pointwise_loss.divergence_of_logs)
def _divergence_of_logs(call: Call) -> Value:
    x, y = call.pair
    return _reduced(call, call.node("Exp", y) * (y - x))


def _number(call: Call, name: str) -> Value | None:
    """A parameter of weights in the dtype of the result."""
    found = call[name]
    return call.writer.cast(found, call.dtype) if isinstance(found, Value) else found


@translation(pointwise_loss.binary_cross_entropy)
def _binary_cross_entropy(call: Call) -> Value:
    x, y = call.pair

    def log(p: Value) -> Value:
        return call.node("Max", call.node("Log", p), -100)

    losses = -(y * log(x) + (1 - y) * log(1 - x))
    weight = _number(call, "weight")
    return _reduced(call, losses if weight is None else losses * weight)


@translation(pointwise_loss.binary_cross_entropy_with_logits)
def _binary_cross_entropy_with_logits(call: Call) -> Value:
    x, y = call.pair
    hit, weight, pos_weight = y * call.node("Softplus", -x), _number(call, "weight"), _number(call, "pos_weight")
    losses = (hit if pos_weight is None else hit * pos_weight) + (1 - y) * call.node("Softplus", x)
    return _reduced(call, losses if weight is None else losses * weight)


# Classes


def _of_labels(call: Call, node: str) -> Value:
    """One node; logits without a batch get one."""
    w, x, labels = call.writer, call.x, call.array("labels")
    labels = labels if labels.dtype in (np.int32, np.int64) else w.cast(labels, np.int64)
    alone = call.ndim == 1
    if alone:
        x, labels = w.unsqueeze(x, [0]), w.reshape(labels, (1,))
    reduction = call["reduction"]
    made = call.node(
        node, x, labels, _number(call, "weight"), ignore_index=int(call["ignore_index"]), reduction=reduction
    )
    return w.reshape(made, ()) if alone and reduction == "none" else made


@translation(loss.nll_of_labels)
def _nll_of_labels(call: Call) -> Value:
    return _of_labels(call, "NegativeLogLikelihoodLoss")


@translation(loss.cross_entropy_of_labels)
def _cross_entropy_of_labels(call: Call) -> Value:
    smoothing = call["label_smoothing"]
    if not smoothing:
        return _of_labels(call, "SoftmaxCrossEntropyLoss")
    w, axis = call.writer, min(1, call.ndim - 1)
    (classes,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis of classes")
    labels = w.cast(call.array("labels"), np.int64)
    logs, weight = soft(call, call.x, (axis,), True), _number(call, "weight")
    kept = call.node("Not", call.node("Equal", labels, call["ignore_index"], dtype=np.bool_))
    at = w.where(kept, labels, 0)
    own = call.node(
        "Squeeze", call.node("GatherElements", logs, w.unsqueeze(at, [axis]), axis=axis), w.integers([axis])
    )
    counted: Any = w.cast(kept, call.dtype)
    if weight is not None:
        counted = w.where(kept, call.node("Gather", weight, at, axis=0), 0)
        own = own * counted
        logs = logs * w.reshape(weight, (classes, *(1,) * (call.ndim - 1 - axis)))
    others = w.reduce("ReduceSum", logs, (axis,))
    losses = w.where(kept, -(own * (1 - smoothing) + others * (smoothing / classes)), 0)
    if call["reduction"] == "mean":
        total, number = (w.reduce("ReduceSum", w.reshape(v, (-1,)), (0,)) for v in (losses, counted))
        return total / number
    return _reduced(call, losses)


@translation(loss.cross_entropy_of_probabilities)
def _cross_entropy_of_probabilities(call: Call) -> Value:
    x, q = call.pair
    w, axis, smoothing, weight = call.writer, min(1, call.ndim - 1), call["label_smoothing"], _number(call, "weight")
    (classes,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis of classes")
    if smoothing:
        q = q * (1 - smoothing) + smoothing / classes
    if weight is not None:
        q = q * w.reshape(weight, (classes, *(1,) * (call.ndim - 1 - axis)))
    terms = q * soft(call, x, (axis,), True)
    nothing = call.node("Equal", q, 0, dtype=np.bool_)  # 0 * log(0) counts 0
    return _reduced(call, -w.reduce("ReduceSum", w.where(nothing, 0, terms), (axis,)))
