"""What elementwise ops compute: each as its formula with the values put in, and its slope for the gradient.

Where broadcasting repeats an input, its gradient is a sum over all outputs that read it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import erf, pi, sqrt
from typing import Any

import numpy as np

from .calls import Call, Upstream, readers, unstretched
from .rules import BACKWARD, FORWARD
from .table import Factor, Index, Shown, Term, bracketed, constant, product, worked


@dataclass(frozen=True)
class Slope:
    """The derivative of an output with respect to one input, in words and as a function of what it needs."""

    text: str
    of: Callable[..., Any]


@dataclass(frozen=True)
class Formula:
    """An elementwise op. text: a format string over its inputs. of: the same as a function of inputs and parameters."""

    text: str
    of: Callable[..., Any]
    slopes: dict[str, Slope]


def sigmoid(x: float) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x)))


def softplus(x: float) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _normal_cdf(x: float) -> float:
    return 0.5 * (1.0 + erf(x / sqrt(2.0)))


def _normal_density(x: float) -> Any:
    return np.exp(-0.5 * x * x) / sqrt(2.0 * pi)


def _gelu_tanh_slope(x: float) -> Any:
    t = np.tanh(sqrt(2.0 / pi) * (x + 0.044715 * x**3))
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * sqrt(2.0 / pi) * (1.0 + 3 * 0.044715 * x * x)


def _mish_slope(x: float) -> Any:
    w = np.tanh(softplus(x))
    return w + x * sigmoid(x) * (1.0 - w * w)


_AT_TIES = {"split": 0.5, "first": 1.0, "last": 0.0}  # what the first of two equal values gets


def _share(x: float, y: float, at_ties: float) -> float:
    return 1.0 if x > y else at_ties if x == y else 0.0


def _inside(x: float, min: Any, max: Any, at_bounds: float) -> float:
    within = (min is None or x >= min) and (max is None or x <= max)
    return float(within) * (at_bounds if x in (min, max) else 1.0)


def _clip(x: float, min: Any, max: Any) -> Any:
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


def _one(text: str, of: Callable[..., Any], slope: str, by: Callable[..., Any]) -> Formula:
    return Formula(text, of, {"x": Slope(slope, by)})


def _step(x: float) -> float:
    return float(x > 0)


_LN2, _LN10 = float(np.log(2.0)), float(np.log(10.0))

FORMULAS: dict[str, Formula] = {
    "neg": _one("-{x}", lambda x: -x, "-1", lambda x: -1.0),
    "div": Formula("{x} / {y}", lambda x, y: x / y, {
        "x": Slope("1/y", lambda y: 1.0 / y), "y": Slope("-x/y²", lambda x, y: -(x / y) / y)}),
    "pow": Formula("{x} ^ {y}", lambda x, y: x**y, {
        "x": Slope("y·x^(y-1)", lambda x, y: y * x ** (y - 1.0) if y else 0.0),
        "y": Slope("out·log x", lambda x, y: 0.0 if x == 0 and y >= 0 else x**y * np.log(x))}),
    "exp": _one("exp({x})", np.exp, "exp(x)", np.exp),
    "log": _one("log({x})", np.log, "1/x", lambda x: 1.0 / x),
    "sqrt": _one("√{x}", np.sqrt, "1/(2·√x)", lambda x: 0.5 / np.sqrt(x)),
    "square": _one("{x}^2", lambda x: x * x, "2·x", lambda x: 2.0 * x),
    "sin": _one("sin({x})", np.sin, "cos(x)", np.cos),
    "cos": _one("cos({x})", np.cos, "-sin(x)", lambda x: -np.sin(x)),
    "sign": _one("sign({x})", np.sign, "0", lambda x: 0.0),
    "abs": _one("|{x}|", np.abs, "sign(x)", lambda x, at_zero: np.sign(x) if x else at_zero),
    "maximum": Formula("max({x}, {y})", np.maximum, {
        "x": Slope("1[x > y]", lambda x, y, ties: _share(x, y, _AT_TIES[ties])),
        "y": Slope("1[y > x]", lambda x, y, ties: _share(y, x, 1.0 - _AT_TIES[ties]))}),
    "minimum": Formula("min({x}, {y})", np.minimum, {
        "x": Slope("1[x < y]", lambda x, y, ties: _share(y, x, _AT_TIES[ties])),
        "y": Slope("1[y < x]", lambda x, y, ties: _share(x, y, 1.0 - _AT_TIES[ties]))}),
    "clip": _one("clip({x})", _clip, "1[min ≤ x ≤ max]", _inside),
    "sigmoid": _one("1 / (1 + exp(-{x}))", sigmoid, "out·(1-out)", lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": _one("tanh({x})", np.tanh, "1-out²", lambda x: 1.0 - np.tanh(x) ** 2),
    "relu": _one("max(0, {x})", lambda x: np.maximum(x, 0.0), "1[x > 0]", _step),
    "leaky_relu": _one(
        "({x} if x > 0 else slope·x)", lambda x, negative_slope: x if x > 0 else negative_slope * x,
        "1 or slope", lambda x, negative_slope: 1.0 if x > 0 else negative_slope),
    "parametric_relu": Formula(
        "({x} if x > 0 else {slope}·x)", lambda x, slope: x if x > 0 else slope * x,
        {"x": Slope("1 or slope", lambda x, slope: 1.0 if x > 0 else slope),
         "slope": Slope("x·1[x < 0]", lambda x: 0.0 if x >= 0 else x)}),
    "hardtanh": _one(
        "min(max({x}, min_val), max_val)", lambda x, min_val, max_val: np.clip(x, min_val, max_val),
        "1[min_val < x < max_val]", lambda x, min_val, max_val: float(min_val < x < max_val)),
    "hardsigmoid": _one(
        "min(max({x} + 3, 0), 6) / 6", lambda x: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        "1[-3 < x < 3]/6", lambda x: (-3 < x < 3) / 6.0),
    "hardswish": _one(
        "{x} · min(max(x + 3, 0), 6) / 6", lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        "0, x/3 + 1/2 or 1", lambda x: 0.0 if x <= -3 else 1.0 if x >= 3 else x / 3.0 + 0.5),
    "elu": _one(
        "scale · ({x} if x > 0 else alpha·(exp(x) - 1))",
        lambda x, alpha, scale: scale * (x if x > 0 else alpha * np.expm1(x)),
        "scale·(1 or alpha·exp(x))", lambda x, alpha, scale: scale * (1.0 if x > 0 else alpha * np.exp(x))),
    "celu": _one(
        "({x} if x > 0 else alpha·(exp(x/alpha) - 1))", lambda x, alpha: x if x > 0 else alpha * np.expm1(x / alpha),
        "1 or exp(x/alpha)", lambda x, alpha: 1.0 if x > 0 else np.exp(x / alpha)),
    "softplus": _one(
        "log(1 + exp(beta·{x})) / beta",
        lambda x, beta, threshold: x if x * beta > threshold else softplus(x * beta) / beta,
        "sigmoid(beta·x)", lambda x, beta, threshold: 1.0 if x * beta > threshold else sigmoid(x * beta)),
    "logsigmoid": _one("log(1 / (1 + exp(-{x})))", lambda x: -softplus(-x), "sigmoid(-x)", lambda x: sigmoid(-x)),
    "silu": _one(
        "{x} · sigmoid(x)", lambda x: x * sigmoid(x),
        "sigmoid(x)·(1 + x·sigmoid(-x))", lambda x: sigmoid(x) * (1.0 + x * sigmoid(-x))),
    "mish": _one("{x} · tanh(log(1 + exp(x)))", lambda x: x * np.tanh(softplus(x)), "mish'(x)", _mish_slope),
    "gelu_erf": _one(
        "{x} · (1 + erf(x/√2)) / 2", lambda x: x * _normal_cdf(x),
        "Φ(x) + x·φ(x)", lambda x: _normal_cdf(x) + x * _normal_density(x)),
    "gelu_tanh": _one(
        "{x} · (1 + tanh(√(2/π)·(x + 0.044715·x^3))) / 2",
        lambda x: 0.5 * x * (1.0 + np.tanh(sqrt(2.0 / pi) * (x + 0.044715 * x**3))), "gelu'(x)", _gelu_tanh_slope),
    "gaussian": _one("exp(-{x}^2)", lambda x: np.exp(-x * x), "-2·x·out", lambda x: -2.0 * x * np.exp(-x * x)),
    "softsign": _one(
        "{x} / (1 + |x|)", lambda x: x / (1.0 + abs(x)), "1/(1 + |x|)²", lambda x: 1.0 / (1.0 + abs(x)) ** 2),
    "log1p": _one("log(1 + {x})", np.log1p, "1/(1 + x)", lambda x: 1.0 / (1.0 + x)),
    "expm1": _one("exp({x}) - 1", np.expm1, "exp(x)", np.exp),
    "log2": _one("log2({x})", np.log2, "1/(x·log 2)", lambda x: 1.0 / (x * _LN2)),
    "log10": _one("log10({x})", np.log10, "1/(x·log 10)", lambda x: 1.0 / (x * _LN10)),
    "exp2": _one("2^{x}", np.exp2, "out·log 2", lambda x: np.exp2(x) * _LN2),
    "reciprocal": _one("1 / {x}", lambda x: 1.0 / x, "-1/x²", lambda x: -1.0 / (x * x)),
    "rsqrt": _one("1 / √{x}", lambda x: 1.0 / np.sqrt(x), "-1/(2·x·√x)", lambda x: -0.5 / (x * np.sqrt(x))),
    "tan": _one("tan({x})", np.tan, "1 + out²", lambda x: 1.0 + np.tan(x) ** 2),
    "asin": _one("asin({x})", np.arcsin, "1/√(1-x²)", lambda x: 1.0 / np.sqrt(1.0 - x * x)),
    "acos": _one("acos({x})", np.arccos, "-1/√(1-x²)", lambda x: -1.0 / np.sqrt(1.0 - x * x)),
    "atan": _one("atan({x})", np.arctan, "1/(1 + x²)", lambda x: 1.0 / (1.0 + x * x)),
    "sinh": _one("sinh({x})", np.sinh, "cosh(x)", np.cosh),
    "cosh": _one("cosh({x})", np.cosh, "sinh(x)", np.sinh),
    "asinh": _one("asinh({x})", np.arcsinh, "1/√(x²+1)", lambda x: 1.0 / np.sqrt(x * x + 1.0)),
    "acosh": _one("acosh({x})", np.arccosh, "1/√(x²-1)", lambda x: 1.0 / np.sqrt(x * x - 1.0)),
    "atanh": _one("atanh({x})", np.arctanh, "1/(1-x²)", lambda x: 1.0 / (1.0 - x * x)),
    "erf": _one("erf({x})", lambda x: erf(x), "2/√π·exp(-x²)", lambda x: 2.0 / sqrt(pi) * np.exp(-x * x)),
}  # fmt: skip


def asks(function: Callable[..., Any], call: Call, out: Index) -> Any:
    """The function on those inputs and parameters at an output that it names; a ufunc takes the inputs in order."""
    inputs = _inputs(call, out)
    values = {name: np.float64(factor.value) for name, factor in inputs.items()}
    with np.errstate(all="ignore"):
        if isinstance(function, np.ufunc):
            return function(*list(values.values())[: function.nin])
        named = inspect.signature(function).parameters
        return function(**{name: values[name] if name in values else call.param_at(name, out) for name in named})


def _inputs(call: Call, out: Index) -> dict[str, Factor]:
    return {name: call.stretched(i, out) for i, name in enumerate(call.op.inputs)}


def _pointwise(call: Call, out: Index) -> Shown:
    formula = FORMULAS[call.name]
    value = asks(formula.of, call, out)
    words = {name: name for name in call.op.inputs}
    params = [f"{name} = {given!r}" for name, given in call.params.items() if isinstance(given, (int, float))]
    term = worked(formula.text, value, **_inputs(call, out))
    return Shown(formula.text.format(**words), [term], note=", ".join(params) and f"With {', '.join(params)}.")


def _pointwise_gradient(name: str, call: Call, cell: Index, g: Upstream) -> Shown:
    slope, i = FORMULAS[call.name].slopes[name], call.op.inputs.index(name)
    terms = []
    for out in readers(call.shape(i), cell, call.out_shape):
        value = float(asks(slope.of, call, out))
        terms.append(masked(g.at(out), constant(value, slope.text)))
    return Shown(f"∂out · {slope.text}", terms)


def masked(g: Factor, keep: Factor) -> Term:
    """g · keep, where a condition that does not hold gives 0 whatever g is, as in the engine."""
    term = product(g, keep)
    shut = keep.value == 0.0 and keep.text.startswith("1[")
    return Term(term.text, term.numbers, 0.0, term.factors) if shut else term


def _sum_of_two(call: Call, out: Index) -> Shown:
    """x + y or x - y: two terms."""
    x, y = call.stretched(0, out), call.stretched(1, out)
    if call.name == "add":
        return Shown("x + y", [product(x), product(y)])
    return Shown("x - y", [product(x), Term(f"-{y.text}", f"-{bracketed(y.value)}", -y.value, (y,))])


def _product(call: Call, out: Index) -> Shown:
    return Shown("x · y", [product(call.stretched(0, out), call.stretched(1, out))])


def _passed_on(sign: float, i: int, call: Call, cell: Index, g: Upstream) -> Shown:
    factors = [] if sign > 0 else [constant(sign)]
    outs = readers(call.shape(i), cell, call.out_shape)
    terms = [product(*factors, g.at(out)) for out in outs]
    return Shown("∂out" if sign > 0 else "-∂out", terms)


def _product_gradient(i: int, call: Call, cell: Index, g: Upstream) -> Shown:
    outs = readers(call.shape(i), cell, call.out_shape)
    other = 1 - i
    return Shown(f"∂out · {'xy'[other]}", [product(g.at(out), call.stretched(other, out)) for out in outs])


def _kept(call: Call, out: Index) -> Factor:
    """What a mask, dropout or a choice multiplies x by at an output."""
    if call.name == "select":
        chosen = call.array_param("condition")
        return constant(float(chosen[unstretched(chosen.shape, out)]), "1[condition]")
    keep = np.asarray(call.array_param("where" if call.name == "mask_positive" else "keep"))
    holds = keep[unstretched(keep.shape, out)] > 0
    scale = float(call.params.get("scale", 1.0))
    return constant(scale * float(holds), f"1[kept]·{scale:g}" if call.name == "drop" else "1[kept]")


def _masked(call: Call, out: Index) -> Shown:
    return Shown("x · 1[kept]", [masked(call.stretched(0, out), _kept(call, out))])


def _masked_gradient(call: Call, cell: Index, g: Upstream) -> Shown:
    outs = readers(call.shape(0), cell, call.out_shape)
    return Shown("∂out · 1[kept]", [masked(g.at(out), _kept(call, out)) for out in outs])


def _chosen(call: Call, out: Index) -> Shown:
    holds = bool(_kept(call, out).value)
    term = product(call.stretched(0 if holds else 1, out))
    return Shown("x if condition else y", [term], note=f"The condition is {holds} there.")


def _chosen_gradient(i: int, call: Call, cell: Index, g: Upstream) -> Shown:
    terms = []
    for out in readers(call.shape(i), cell, call.out_shape):
        holds = _kept(call, out).value
        kept = constant(holds, "1[condition]") if i == 0 else constant(1.0 - holds, "1[not condition]")
        terms.append(masked(g.at(out), kept))
    return Shown("∂out · " + ("1[condition]" if i == 0 else "1[not condition]"), terms)


def _enter() -> None:
    """Fill in the table for all of the above."""
    FORWARD.update(dict.fromkeys(FORMULAS, _pointwise))
    for op, formula in FORMULAS.items():
        for name in formula.slopes:
            BACKWARD[op, name] = partial(_pointwise_gradient, name)
    FORWARD.update({"add": _sum_of_two, "sub": _sum_of_two, "mul": _product, "select": _chosen})
    FORWARD.update(dict.fromkeys(("mask", "mask_positive", "drop"), _masked))
    for op in ("mask", "mask_positive", "drop"):
        BACKWARD[op, "x"] = _masked_gradient
    for i, name in enumerate("xy"):
        BACKWARD["add", name] = partial(_passed_on, 1.0, i)
        BACKWARD["sub", name] = partial(_passed_on, 1.0 - 2.0 * i, i)
        BACKWARD["mul", name] = partial(_product_gradient, i)
        BACKWARD["select", name] = partial(_chosen_gradient, i)


_enter()
