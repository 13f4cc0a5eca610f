"""Templates of elementwise ops, activations and rounding."""

from ..basics import add, broadcast_to, cast, sum_to
from ..ops import activation, elementary, elementwise
from ..ops.convert import clone
from ..ops.dropout import drop
from .templates import Call, template

template(add, "{x} + {y}", x="{g}", y="{g}")
template(elementwise.sub, "{x} - {y}", x="{g}", y="-{g}")
template(elementwise.mul, "{x} * {y}", x="{g} * {y}", y="{g} * {x}")
template(elementwise.div, "{x} / {y}", x="{g} / {y}", y="-{g} * {out} / {y}")
template(elementwise.neg, "-{x}", x="-{g}")
template(
    elementwise.pow,
    "{x} ** {y}",
    x="{g} * np.where({y} == 0, 0, {y} * {x} ** np.where({y} == 0, 1, {y} - 1)).astype({out}.dtype)",
    y="{g} * {out} * np.log(np.where(({x} == 0) & ({y} >= 0), 1, {x})).astype({out}.dtype)",
)
template(sum_to, "sum_to({x}, {shape})", x="np.broadcast_to({g}, {x_shape})")
template(broadcast_to, "np.broadcast_to({x}, {shape})", x="sum_to({g}, {x_shape})")
template(cast, "{x}.astype({dtype})", x="{g}.astype({x}.dtype)")
template(clone, "{x}.copy()", x="{g}")

for _op, _forward, _gradient in (
    (elementwise.exp, "np.exp({x})", "{g} * {out}"),
    (elementwise.log, "np.log({x})", "{g} / {x}"),
    (elementwise.square, "{x} * {x}", "{g} * 2 * {x}"),
    (elementwise.sin, "np.sin({x})", "{g} * np.cos({x})"),
    (elementwise.cos, "np.cos({x})", "-{g} * np.sin({x})"),
    (elementwise.sign, "np.sign({x})", "np.zeros_like({g})"),
    (elementwise.mask, "masked({x}, {keep})", "masked({g}, {keep})"),
    (elementwise.mask_positive, "masked({x}, {where} > 0)", "masked({g}, {where} > 0)"),
    (elementwise.sigmoid, "sigmoid({x})", "{g} * {out} * (1 - {out})"),
    (elementwise.tanh, "np.tanh({x})", "{g} * (1 - {out} * {out})"),
    (drop, "masked({x}, {keep}) * {scale}", "masked({g}, {keep}) * {scale}"),
    (elementary.log1p, "np.log1p({x})", "{g} / ({x} + 1)"),
    (elementary.expm1, "np.expm1({x})", "{g} * ({out} + 1)"),
    (elementary.log2, "np.log2({x})", "{g} / ({x} * math.log(2))"),
    (elementary.log10, "np.log10({x})", "{g} / ({x} * math.log(10))"),
    (elementary.exp2, "np.exp2({x})", "{g} * {out} * math.log(2)"),
    (elementary.reciprocal, "1 / {x}", "-{g} * {out} * {out}"),
    (elementary.rsqrt, "1 / np.sqrt({x})", "{g} * {out} / {x} * -0.5"),
    (elementary.tan, "np.tan({x})", "{g} * ({out} * {out} + 1)"),
    (elementary.asin, "np.arcsin({x})", "{g} / np.sqrt(1 - {x} * {x})"),
    (elementary.acos, "np.arccos({x})", "-{g} / np.sqrt(1 - {x} * {x})"),
    (elementary.atan, "np.arctan({x})", "{g} / ({x} * {x} + 1)"),
    (elementary.sinh, "np.sinh({x})", "{g} * np.cosh({x})"),
    (elementary.cosh, "np.cosh({x})", "{g} * np.sinh({x})"),
    (elementary.asinh, "np.arcsinh({x})", "{g} / np.sqrt({x} * {x} + 1)"),
    (elementary.acosh, "np.arccosh({x})", "{g} / np.sqrt({x} * {x} - 1)"),
    (elementary.atanh, "np.arctanh({x})", "{g} / (1 - {x} * {x})"),
    (
        elementary.erf,
        "2 * normal_cdf({x} * math.sqrt(2)) - 1",
        "{g} * 2 * math.sqrt(2) * normal_pdf({x} * math.sqrt(2))",
    ),
    (elementary.floor, "np.floor({x})", "np.zeros_like({g})"),
    (elementary.ceil, "np.ceil({x})", "np.zeros_like({g})"),
    (elementary.trunc, "np.trunc({x})", "np.zeros_like({g})"),
    (elementary.round, "np.round({x}, {decimals})", "np.zeros_like({g})"),
    (
        activation.leaky_relu,
        "np.maximum({x}, 0) + np.minimum({x}, 0) * {negative_slope}",
        "np.where({x} > 0, {g}, {g} * {negative_slope})",
    ),
    (
        activation.hardtanh,
        "np.clip({x}, {min_val}, {max_val})",
        "masked({g}, ~(({out} <= {min_val}) | ({out} >= {max_val})))",
    ),
    (activation.hardsigmoid, "np.clip({x} + 3, 0, 6) / 6", "masked({g} / 6, ~(({x} <= -3) | ({x} >= 3)))"),
    (
        activation.hardswish,
        "{x} * np.clip({x} + 3, 0, 6) / 6",
        "np.where({x} >= 3, {g}, masked({g} * ({x} / 3 + 0.5), ~({x} <= -3)))",
    ),
    (
        activation.elu,
        "(np.maximum({x}, 0) + np.expm1(np.minimum({x}, 0)) * {alpha}) * {scale}",
        "np.where({x} > 0, {g}, {g} * np.exp(np.minimum({x}, 0)) * {alpha}) * {scale}",
    ),
    (
        activation.celu,
        "np.maximum({x}, 0) + np.expm1(np.minimum({x}, 0) / {alpha}) * {alpha}",
        "{g} * np.exp(np.minimum({x}, 0) / {alpha})",
    ),
    (
        activation.softplus,
        "np.where({x} * {beta} > {threshold}, {x}, log_sum({x} * {beta}) / {beta})",
        "np.where({x} * {beta} > {threshold}, {g}, {g} * sigmoid({x} * {beta}))",
    ),
    (activation.logsigmoid, "-log_sum(-{x})", "{g} * sigmoid(-{x})"),
    (activation.silu, "{x} * sigmoid({x})", "{g} * (sigmoid({x}) + {out} * sigmoid(-{x}))"),
    (
        activation.mish,
        "{x} * np.tanh(log_sum({x}))",
        "{g} * (np.tanh(log_sum({x})) + {x} * sigmoid({x}) * (1 - np.tanh(log_sum({x})) ** 2))",
    ),
    (activation.gaussian, "np.exp(-{x} * {x})", "{g} * -2 * {x} * {out}"),
    (activation.softsign, "{x} / (1 + np.abs({x}))", "{g} / (1 + np.abs({x})) ** 2"),
    (activation.gelu_erf, "{x} * normal_cdf({x})", "{g} * (normal_cdf({x}) + {x} * normal_pdf({x}))"),
):
    template(_op, _forward, x=_gradient)


def _inner(call: Call) -> str:
    """What the approximate gelu takes the sigmoid of."""
    return f"math.sqrt(8 / math.pi) * ({call['x']} + 0.044715 * {call['x']} ** 3)"


template(
    activation.gelu_tanh,
    lambda call: f"{call['x']} * sigmoid({_inner(call)})",
    x=lambda call: (
        f"{call['g']} * (sigmoid({_inner(call)}) + {call['out']} * sigmoid(-({_inner(call)})) * "
        f"math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * {call['x']} ** 2))"
    ),
)
template(elementwise.relu, "np.maximum({x}, 0)", x="masked({g}, {x} > 0)")
template(
    elementwise.abs,
    "np.abs({x})",
    x=lambda call: (
        f"{call['g']} * "
        + ("(np.sign({x}) + ({x} == 0) * {at_zero})" if call.params["at_zero"] else "np.sign({x})").format_map(call)
    ),
)
template(elementwise.sqrt, "np.sqrt({x})", x="{g} / (2 * {out})")


def _share(call: Call, larger: str, smaller: str) -> str:
    """What the input asked for gets: all where it wins, and its share of a tie."""
    first = {"split": 0.5, "first": 1.0, "last": 0.0}[call.params["ties"]]
    at_ties = first if call.index == 0 else 1.0 - first
    return f"share_of_ties({call[larger]}, {call[smaller]}, {at_ties})"


template(
    elementwise.maximum,
    "np.maximum({x}, {y})",
    x=lambda call: f"{call['g']} * {_share(call, 'x', 'y')}",
    y=lambda call: f"{call['g']} * {_share(call, 'y', 'x')}",
)
template(
    elementwise.minimum,
    "np.minimum({x}, {y})",
    x=lambda call: f"{call['g']} * {_share(call, 'y', 'x')}",
    y=lambda call: f"{call['g']} * {_share(call, 'x', 'y')}",
)
template(
    activation.parametric_relu,
    "np.maximum({x}, 0) + np.minimum({x}, 0) * {slope}",
    x="np.where({x} > 0, {g}, {g} * {slope})",
    slope="masked({g} * {x}, ~({x} >= 0))",
)
template(
    elementwise.select,
    "np.where({condition}, {x}, {y})",
    x="masked({g}, {condition})",
    y="masked({g}, ~{condition})",
)
template(elementary.floor_divide, "np.floor_divide({x}, {y})", x="np.zeros_like({g})", y="np.zeros_like({g})")
template(elementary.remainder, "np.remainder({x}, {y})", x="{g}", y="-{g} * np.floor_divide({x}, {y})")


def _clipped(call: Call) -> str:
    text = call["x"]
    if call.params["min"] is not None:
        text = f"np.maximum({text}, {call['min']})"
    return text if call.params["max"] is None else f"np.minimum({text}, {call['max']})"


def _inside(call: Call) -> str:
    sides = [f"({call['x']} >= {call['min']})"] if call.params["min"] is not None else []
    sides += [f"({call['x']} <= {call['max']})"] if call.params["max"] is not None else []
    text = f"masked({call['g']}, {' & '.join(sides)})"
    if call.params["at_bounds"] == 1:
        return text
    edges = [f"({call['x']} == {call[side]})" for side in ("min", "max") if call.params[side] is not None]
    return f"{text} * np.where({' | '.join(edges)}, {call['at_bounds']}, 1).astype({call['x']}.dtype)"


template(elementwise.clip, _clipped, x=_inside)


def _glu(call: Call, gradient: bool) -> str:
    x, axis = call["x"], call.params["axis"] % len(call.shape())
    first, second = f"np.split({x}, 2, {axis})[0]", f"sigmoid(np.split({x}, 2, {axis})[1])"
    if not gradient:
        return f"{first} * {second}"
    g, out = call["g"], call["out"]
    return f"np.concatenate([{g} * {second}, {g} * {out} * (1 - {second})], {axis})"


template(activation.glu, lambda call: _glu(call, False), x=lambda call: _glu(call, True))
