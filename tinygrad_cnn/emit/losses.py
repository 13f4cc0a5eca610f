"""Templates of losses. N is written as a number, and each class label's target distribution as an array q."""

from math import prod
from typing import Any

import numpy as np

from ..ops import loss, pointwise_loss
from ..shapes import broadcast_shape
from .templates import Call, template


def _reduced(call: Call, losses: str) -> str:
    reduction = call.params["reduction"]
    return losses if reduction == "none" else f"({losses}).{reduction}()"


def _number(call: Call) -> int:
    """How many losses there are."""
    return prod(broadcast_shape(*call.shapes)) or 1


def _each(call: Call) -> str:
    """The gradient of each element's loss."""
    return f"{call['g']} / {_number(call)}" if call.params["reduction"] == "mean" else call["g"]


def _difference(call: Call) -> str:
    """x - y in the order of the input whose gradient is asked for."""
    return "({} - {})".format(*(call[name] for name in ("xy" if not call.index else "yx")))


def _signed(slope: str) -> Any:
    """A gradient that is a function of the difference, where D stands for it."""
    return lambda call: f"{_each(call)} * " + slope.replace("D", _difference(call)).format_map(call)


def _of_difference(op: Any, losses: str, slope: str) -> None:
    forward = losses.replace("D", "({x} - {y})")
    template(op, lambda call: _reduced(call, forward.format_map(call)), x=_signed(slope), y=_signed(slope))


_of_difference(loss.squared_error, "D ** 2", "2 * D")
_of_difference(pointwise_loss.l1_loss, "np.abs(D)", "np.sign(D)")
_of_difference(pointwise_loss.half_squared_error, "D ** 2 / 2", "D")
_of_difference(
    pointwise_loss.huber_loss,
    "np.minimum(np.abs(D), {delta}) * (np.abs(D) - np.minimum(np.abs(D), {delta}) / 2)",
    "np.clip(D, -{delta}, {delta})",
)


def _smooth(call: Call) -> str:
    d, beta = f"np.abs({call['x']} - {call['y']})", call["beta"]
    if not call.params["beta"]:
        return _reduced(call, d)
    return _reduced(call, f"np.minimum({d}, {beta}) / {beta} * ({d} - np.minimum({d}, {beta}) / 2)")


def _smooth_gradient(call: Call) -> str:
    d = _difference(call)
    slope = f"np.clip({d} / {call['beta']}, -1, 1)" if call.params["beta"] else f"np.sign({d})"
    return f"{_each(call)} * {slope}"


template(pointwise_loss.smooth_l1_loss, _smooth, x=_smooth_gradient, y=_smooth_gradient)
template(
    pointwise_loss.hinge_embedding_loss,
    lambda call: _reduced(call, "np.where({target} == 1, {x}, np.maximum({margin} - {x}, 0))".format_map(call)),
    x=lambda call: (
        f"{_each(call)} * np.where({call['target']} == 1, 1, -({call['x']} <= {call['margin']}).astype(int))"
        f".astype({call['x']}.dtype)"
    ),
)
template(
    pointwise_loss.divergence,
    lambda call: _reduced(
        call, "np.where({y} == 0, 0, {y} * (np.log(np.where({y} == 0, 1, {y})) - {x}))".format_map(call)
    ),
    x=lambda call: f"-({_each(call)}) * {call['y']}",
    y=lambda call: f"{_each(call)} * (np.log({call['y']}) + 1 - {call['x']})",
)
template(
    pointwise_loss.divergence_of_logs,
    lambda call: _reduced(call, "np.exp({y}) * ({y} - {x})".format_map(call)),
    x=lambda call: f"-({_each(call)}) * np.exp({call['y']})",
    y=lambda call: f"{_each(call)} * np.exp({call['y']}) * ({call['y']} + 1 - {call['x']})",
)


def _weighted(call: Call, text: str) -> str:
    return text if call.params["weight"] is None else f"{call['weight']} * ({text})"


def _log_floor(x: str) -> str:
    return f"np.maximum(np.log({x}), -100)"


template(
    pointwise_loss.binary_cross_entropy,
    lambda call: _reduced(
        call,
        _weighted(
            call,
            f"-({call['y']} * {_log_floor(call['x'])} + (1 - {call['y']}) * {_log_floor('1 - ' + call['x'])})",
        ),
    ),
    x=lambda call: (
        _weighted(call, _each(call)) + " * ({x} - {y}) / np.maximum({x} * (1 - {x}), 1e-12)".format_map(call)
    ),
    y=lambda call: f"{_weighted(call, _each(call))} * ({_log_floor('1 - ' + call['x'])} - {_log_floor(call['x'])})",
)


def _pos_weight(call: Call) -> str:
    return "" if call.params["pos_weight"] is None else f"{call['pos_weight']} * "


def _logits_slope(call: Call) -> str:
    s, y = f"sigmoid({call['x']})", call["y"]
    if not _pos_weight(call):
        return f"({s} - {y})"
    return f"({s} * (1 - {y}) - {_pos_weight(call)}{y} * (1 - {s}))"


template(
    pointwise_loss.binary_cross_entropy_with_logits,
    lambda call: _reduced(
        call,
        _weighted(
            call,
            f"{_pos_weight(call)}{call['y']} * log_sum(-{call['x']}) + (1 - {call['y']}) * log_sum({call['x']})",
        ),
    ),
    x=lambda call: f"{_weighted(call, _each(call))} * {_logits_slope(call)}",
    y=lambda call: (
        f"{_weighted(call, _each(call))} * ({_pos_weight(call)}log_sum(-{call['x']}) - log_sum({call['x']}))"
    ),
)


# Classes


def _axis(call: Call) -> int:
    return min(1, len(call.shape()) - 1)


def _classes(call: Call) -> int:
    return call.shape()[_axis(call)]


def _keep(call: Call) -> Any:
    """Which labels count."""
    return np.asarray(call.params["labels"]) != call.params["ignore_index"]


def _targets(call: Call) -> str:
    """The array q of what every class should get."""
    smoothing = call.literal("smoothing", float(call.params.get("label_smoothing", 0.0)))
    weight = call["weight"] if call.params["weight"] is not None else f"np.ones({_classes(call)}, {call['x']}.dtype)"
    ignored = call.literal("ignore_index", call.params["ignore_index"])
    labels = call["labels"]
    counted, dtype = f"{labels} != {ignored}", f"{call['x']}.dtype.type"
    return f"class_targets({labels}, {_classes(call)}, {counted}, {weight}, {smoothing}, {dtype})"


def _total(call: Call) -> float:
    """What a mean divides by: the labels that count, or the sum of their weights."""
    keep, weight = _keep(call), call.params["weight"]
    if weight is None:
        return float(np.count_nonzero(keep))
    labels = np.asarray(call.params["labels"])
    return float(np.asarray(weight, np.float64)[np.where(keep, labels, 0)][keep].sum())


def _of_positions(call: Call, losses: str, total: float) -> str:
    reduction = call.params["reduction"]
    if reduction == "none":
        return losses
    return f"({losses}).sum()" + (f" / {call.literal('total', total)}" if reduction == "mean" else "")


def _position_gradient(call: Call, total: float) -> str:
    """The gradient of each position's loss, with an axis for the classes."""
    reduction = call.params["reduction"]
    if reduction == "none":
        return f"np.expand_dims({call['g']}, {_axis(call)})"
    return f"{call['g']} / {call.literal('total', total)}" if reduction == "mean" else call["g"]


def _log_softmax(call: Call) -> str:
    return f"log_softmax({call['x']}, {_axis(call)})"


def _spread(call: Call, q: str) -> str:
    return f"(softmax({call['x']}, {_axis(call)}) * {q}.sum(axis={_axis(call)}, keepdims=True) - {q})"


def _counted(call: Call, text: str) -> str:
    """The text; where labels are ignored, 0 there whatever the logits are."""
    q = call.local("q")
    return text if _keep(call).all() else f"np.where({q} == 0, 0, {text})"


def _labels_gradient(call: Call) -> str:
    q = call.local("q")
    text = f"{_position_gradient(call, _total(call))} * {_spread(call, q)}"
    return text if _keep(call).all() else f"masked({text}, {q}.sum(axis={_axis(call)}, keepdims=True) != 0)"


template(
    loss.cross_entropy_of_labels,
    lambda call: (
        f"{call.local('q')} = {_targets(call)}\n"
        + _of_positions(
            call,
            f"-({_counted(call, call.local('q') + ' * ' + _log_softmax(call))}).sum(axis={_axis(call)})",
            _total(call),
        )
    ),
    x=_labels_gradient,
)
template(
    loss.nll_of_labels,
    lambda call: (
        f"{call.local('q')} = {_targets(call)}\n"
        + _of_positions(
            call, f"-({_counted(call, call.local('q') + ' * ' + call['x'])}).sum(axis={_axis(call)})", _total(call)
        )
    ),
    x=lambda call: f"-({_position_gradient(call, _total(call))}) * {call.local('q')}",
)


def _positions(call: Call) -> float:
    return float(prod(call.shape()) // _classes(call))


def _class_weight(call: Call) -> str:
    """Class weights shaped to multiply logits, if there are any."""
    if call.params["weight"] is None:
        return ""
    shape = (-1, *(1,) * (len(call.shape()) - 1 - _axis(call)))
    return f" * {call['weight']}.reshape({call.literal('shape', shape)})"


def _smoothed(call: Call) -> str:
    s = call.params["label_smoothing"]
    q = f"({call['target']} * {1 - s!r} + {s / _classes(call)!r})" if s else call["target"]
    return f"({q}{_class_weight(call)})" if _class_weight(call) else q


template(
    loss.cross_entropy_of_probabilities,
    lambda call: _of_positions(
        call, f"-({_smoothed(call)} * {_log_softmax(call)}).sum(axis={_axis(call)})", _positions(call)
    ),
    x=lambda call: f"{_position_gradient(call, _positions(call))} * {_spread(call, _smoothed(call))}",
    target=lambda call: (
        f"-({_position_gradient(call, _positions(call))}) * {_log_softmax(call)} * "
        f"{1 - call.params['label_smoothing']!r}{_class_weight(call)}"
    ),
)
