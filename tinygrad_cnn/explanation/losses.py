"""Losses that compare each element with its target: the loss of every pair, weighted and averaged as asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .calls import Call, Upstream, indices, unstretched
from .pointwise import Slope, asks, sigmoid, softplus
from .rules import BACKWARD, FORWARD
from .table import Factor, Index, Shown, constant, product, shown_number, worked


@dataclass(frozen=True)
class Loss:
    """formula: the sum. text: a format string for one element, by its values; of: what that comes to."""

    formula: str
    text: Callable[..., str]
    of: Callable[..., Any]
    slopes: dict[str, Slope]


def _times(share: float, value: Any) -> Any:
    """share · value, where a share of 0 counts nothing."""
    return share * value if share else 0.0


def _huber(d: float, delta: float) -> Any:
    return d * d / 2.0 if abs(d) <= delta else delta * (abs(d) - delta / 2.0)


def _huber_text(d: float, delta: float) -> str:
    tangent = f"{shown_number(delta)} · (|{{x}} - {{y}}| - {shown_number(delta / 2.0)})"
    return "({x} - {y})^2 / 2" if abs(d) <= delta else tangent


def _smooth(d: float, beta: float) -> Any:
    return d * d / (2.0 * beta) if abs(d) < beta else abs(d) - beta / 2.0


def _smooth_text(d: float, beta: float) -> str:
    if abs(d) < beta:
        return f"({{x}} - {{y}})^2 / (2 · {shown_number(beta)})"
    return f"(|{{x}} - {{y}}| - {shown_number(beta / 2.0)})" if beta else "|{x} - {y}|"


def _smooth_slope(d: float, beta: float) -> Any:
    return np.clip(d / beta, -1.0, 1.0) if beta else np.sign(d)


def _log(x: float) -> Any:
    return np.maximum(np.log(x), -100.0)


def _logits(x: float, y: float, pos_weight: Any) -> Any:
    share = y if pos_weight is None else y * pos_weight
    return _times(share, softplus(-x)) + _times(1.0 - y, softplus(x))


def _logits_text(pos_weight: Any) -> str:
    weight = "" if pos_weight is None else f"{shown_number(pos_weight)} · "
    return f"({weight}{{y}} · log(1 + exp(-{{x}})) + (1 - {{y}}) · log(1 + exp({{x}})))"


def _logits_slope(x: float, y: float, pos_weight: Any) -> Any:
    p = 1.0 if pos_weight is None else pos_weight
    return (1.0 - y) * sigmoid(x) - p * y * sigmoid(-x)


def _logits_target(x: float, pos_weight: Any) -> Any:
    return (1.0 if pos_weight is None else pos_weight) * softplus(-x) - softplus(x)


LOSSES: dict[str, Loss] = {
    "l1_loss": Loss(
        "Σ |x - y|", lambda: "|{x} - {y}|", lambda x, y: abs(x - y),
        {"x": Slope("sign(x - y)", lambda x, y: np.sign(x - y)),
         "y": Slope("sign(y - x)", lambda x, y: np.sign(y - x))}),
    "half_squared_error": Loss(
        "Σ (x - y)^2 / 2", lambda: "({x} - {y})^2 / 2", lambda x, y: (x - y) ** 2 / 2.0,
        {"x": Slope("(x - y)", lambda x, y: x - y), "y": Slope("(y - x)", lambda x, y: y - x)}),
    "huber_loss": Loss(
        "Σ (x - y)^2/2, or its tangent beyond delta",
        lambda x, y, delta: _huber_text(x - y, delta), lambda x, y, delta: _huber(x - y, delta),
        {"x": Slope("clip(x - y, ±delta)", lambda x, y, delta: np.clip(x - y, -delta, delta)),
         "y": Slope("clip(y - x, ±delta)", lambda x, y, delta: np.clip(y - x, -delta, delta))}),
    "smooth_l1_loss": Loss(
        "Σ (x - y)^2/(2·beta), or |x - y| - beta/2 beyond beta",
        lambda x, y, beta: _smooth_text(x - y, beta), lambda x, y, beta: _smooth(x - y, beta),
        {"x": Slope("clip((x - y)/beta, ±1)", lambda x, y, beta: _smooth_slope(x - y, beta)),
         "y": Slope("clip((y - x)/beta, ±1)", lambda x, y, beta: _smooth_slope(y - x, beta))}),
    "hinge_embedding_loss": Loss(
        "Σ x where alike, max(0, margin - x) elsewhere",
        lambda target, margin: "{x}" if target == 1 else f"max(0, {shown_number(margin)} - {{x}})",
        lambda x, target, margin: x if target == 1 else np.maximum(margin - x, 0.0),
        {"x": Slope("1, or -1[x ≤ margin]", lambda x, target, margin: 1.0 if target == 1 else -float(x <= margin))}),
    "divergence": Loss(
        "Σ y · (log y - x)", lambda: "{y} · (log({y}) - {x})", lambda x, y: _times(y, np.log(y) - x),
        {"x": Slope("-y", lambda y: -y), "y": Slope("(log y + 1 - x)", lambda x, y: np.log(y) + 1.0 - x)}),
    "divergence_of_logs": Loss(
        "Σ exp(y) · (y - x)", lambda: "exp({y}) · ({y} - {x})", lambda x, y: _times(np.exp(y), y - x),
        {"x": Slope("-exp(y)", lambda y: -np.exp(y)),
         "y": Slope("exp(y)·(y + 1 - x)", lambda x, y: np.exp(y) * (y + 1.0 - x))}),
    "binary_cross_entropy": Loss(
        "Σ -(y · log x + (1 - y) · log(1 - x))", lambda: "-({y} · log({x}) + (1 - {y}) · log(1 - {x}))",
        lambda x, y: -(y * _log(x) + (1.0 - y) * _log(1.0 - x)),
        {"x": Slope("(x - y)/(x·(1-x))", lambda x, y: (x - y) / np.maximum(x * (1.0 - x), 1e-12)),
         "y": Slope("(log(1-x) - log x)", lambda x: _log(1.0 - x) - _log(x))}),
    "binary_cross_entropy_with_logits": Loss(
        "Σ y · log(1 + exp(-x)) + (1 - y) · log(1 + exp(x))", _logits_text, _logits,
        {"x": Slope("(sigmoid(x) - y)", _logits_slope), "y": Slope("-x", _logits_target)}),
}  # fmt: skip


def _weight(call: Call, at: Index) -> list[Factor]:
    """The factor that `weight` gives an element, if it was given."""
    if call.params.get("weight") is None:
        return []
    weight = np.asarray(call.array_param("weight"), np.float64)
    return [constant(float(weight[unstretched(weight.shape, at)]), "weight")]


def _is_mean(call: Call) -> bool:
    return bool(call.params["reduction"] == "mean")


def _loss(call: Call, out: Index) -> Shown:
    """The loss of each element; a mean divides every one."""
    loss, shape = LOSSES[call.name], call.shape(0)
    count, mean = math.prod(shape), _is_mean(call)
    terms = []
    for at in [out] if call.params["reduction"] == "none" else indices([range(n) for n in shape]):
        text, value = asks(loss.text, call, at), float(asks(loss.of, call, at))
        factors = {name: call.cell(i, at) for i, name in enumerate(call.op.inputs)}
        for weight in _weight(call, at):
            text, value, factors["weight"] = "{weight} · " + text, value * weight.value, weight
        if mean:
            text, value, factors["n"] = text + " / {n}", value / count, constant(count)
        terms.append(worked(text, value, **factors))
    return Shown(loss.formula + " / n" * mean, terms)


def _loss_gradient(name: str, call: Call, cell: Index, g: Upstream) -> Shown:
    """The slope of the element's own loss."""
    slope, mean = LOSSES[call.name].slopes[name], _is_mean(call)
    weighted = call.params.get("pos_weight") is not None
    text = {"x": "sigmoid(x)·(1-y) - pos_weight·y·sigmoid(-x)", "y": "pos_weight·softplus(-x) - softplus(x)"}[name]
    factors = [g.at(cell if call.params["reduction"] == "none" else ()), *_weight(call, cell)]
    if mean:
        count = math.prod(call.shape(0))
        factors.append(constant(1.0 / count, f"1/{count}"))
    factors.append(constant(float(asks(slope.of, call, cell)), f"({text})" if weighted else slope.text))
    return Shown("∂out · " + factors[-1].text + " / n" * mean, [product(*factors)])


def _enter() -> None:
    """Fill in the table for all of the above."""
    FORWARD.update(dict.fromkeys(LOSSES, _loss))
    for op, loss in LOSSES.items():
        for name in loss.slopes:
            BACKWARD[op, name] = partial(_loss_gradient, name)


_enter()
