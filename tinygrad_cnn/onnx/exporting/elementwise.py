"""How elementwise ops, activations, comparisons and conversions are written."""

import math
from typing import Any

import numpy as np

from ...basics import add, cast
from ...ops import activation, comparison, elementary, elementwise
from ...ops.convert import clone
from ...ops.dropout import drop
from .table import Call, translation
from .writer import Value

_ONE_NODE: dict[str, tuple[Any, ...]] = {
    "Neg": (elementwise.neg,),
    "Exp": (elementwise.exp,),
    "Log": (elementwise.log,),
    "Sqrt": (elementwise.sqrt,),
    "Sin": (elementwise.sin,),
    "Cos": (elementwise.cos,),
    "Sign": (elementwise.sign,),
    "Abs": (elementwise.abs,),
    "Sigmoid": (elementwise.sigmoid,),
    "Tanh": (elementwise.tanh,),
    "Reciprocal": (elementary.reciprocal,),
    "Tan": (elementary.tan,),
    "Asin": (elementary.asin,),
    "Acos": (elementary.acos,),
    "Atan": (elementary.atan,),
    "Sinh": (elementary.sinh,),
    "Cosh": (elementary.cosh,),
    "Asinh": (elementary.asinh,),
    "Acosh": (elementary.acosh,),
    "Atanh": (elementary.atanh,),
    "Erf": (elementary.erf,),
    "Floor": (elementary.floor,),
    "Ceil": (elementary.ceil,),
    "Softsign": (activation.softsign,),
    "HardSwish": (activation.hardswish,),
    "Identity": (clone,),
}

for _op_type, _ops in _ONE_NODE.items():

    @translation(*_ops)
    def _one_node(call: Call, op_type: str = _op_type) -> Value:
        if call.dtype.kind in "biu" and op_type in ("Floor", "Ceil"):
            return call.node("Identity", call.x)
        return call.node(op_type, call.x)


def _of_two(*ops: Any, node: str, of_booleans: str = "") -> None:
    @translation(*ops)
    def _(call: Call) -> Value:
        x, y = call.pair
        return call.node(of_booleans if of_booleans and x.dtype == np.bool_ else node, x, y)


_of_two(add, node="Add", of_booleans="Or")
_of_two(elementwise.sub, node="Sub")
_of_two(elementwise.mul, node="Mul", of_booleans="And")
_of_two(elementwise.div, node="Div")
_of_two(elementwise.pow, node="Pow")
_of_two(elementwise.maximum, node="Max", of_booleans="Or")
_of_two(elementwise.minimum, node="Min", of_booleans="And")


@translation(elementwise.relu)
def _relu(call: Call) -> Value:
    return call.node("Relu", call.x) if call.dtype.kind == "f" else call.node("Max", call.x, 0)


@translation(elementwise.square)
def _square(call: Call) -> Value:
    return call.x * call.x


@translation(elementwise.mask)
def _mask(call: Call) -> Value:
    return call.writer.where(call.array("keep"), call.x, 0)


@translation(elementwise.mask_positive)
def _mask_positive(call: Call) -> Value:
    where = call.array("where")
    return call.writer.where(call.node("Greater", where, 0, dtype=np.bool_), call.x, 0)


@translation(drop)
def _drop(call: Call) -> Value:
    kept = call.writer.where(call.array("keep"), call.x, 0)
    return kept * float(call["scale"])


@translation(elementwise.select)
def _select(call: Call) -> Value:
    x, y = call.pair
    return call.writer.where(boolean(call.array("condition")), x, y)


@translation(elementwise.clip)
def _clip(call: Call) -> Value:
    return call.node("Clip", call.x, call["min"], call["max"])


# Elementary functions


@translation(elementary.log1p)
def _log1p(call: Call) -> Value:
    return call.node("Log", call.x + 1)


@translation(elementary.expm1)
def _expm1(call: Call) -> Value:
    return call.node("Exp", call.x) - 1


@translation(elementary.log2)
def _log2(call: Call) -> Value:
    return call.node("Log", call.x) * (1 / math.log(2))


@translation(elementary.log10)
def _log10(call: Call) -> Value:
    return call.node("Log", call.x) * (1 / math.log(10))


@translation(elementary.exp2)
def _exp2(call: Call) -> Value:
    return call.node("Pow", call.writer.like(2, call.x), call.x)


@translation(elementary.rsqrt)
def _rsqrt(call: Call) -> Value:
    return call.node("Reciprocal", call.node("Sqrt", call.x))


@translation(elementary.trunc)
def _trunc(call: Call) -> Value:
    x = call.x
    return call.node("Identity", x) if x.dtype.kind != "f" else call.node("Sign", x) * call.node("Floor", _abs(call, x))


def _abs(call: Call, x: Value) -> Value:
    return call.node("Abs", x)


@translation(elementary.round)
def _round(call: Call) -> Value:
    x, decimals = call.x, call["decimals"]
    if x.dtype.kind != "f":
        if decimals < 0:
            raise call.fail(
                f"decimals={decimals} of integers; ONNX rounds floats alone, so convert first with .float()"
            )
        return call.node("Identity", x)
    return call.node("Round", x * 10.0**decimals) / 10.0**decimals if decimals else call.node("Round", x)


def _modulo(call: Call) -> tuple[Value, Value, Value]:
    """x, y and x modulo y with the sign of y, as Python's: ONNX has C's for floats."""
    x, y = call.pair
    if x.dtype.kind != "f":
        return x, y, call.node("Mod", x, y)
    rest = call.node("Mod", x, y, fmod=1)
    other_side = call.node("Less", call.node("Sign", rest) * call.node("Sign", y), 0, dtype=np.bool_)
    return x, y, call.writer.where(other_side, rest + y, rest)


@translation(elementary.remainder)
def _remainder(call: Call) -> Value:
    return _modulo(call)[2]


@translation(elementary.floor_divide)
def _floor_divide(call: Call) -> Value:
    x, y, rest = _modulo(call)
    quotient = (x - rest) / y
    return call.node("Round", quotient) if x.dtype.kind == "f" else quotient


# Activations


def _attributes(op: Any, node: str, **attributes: Any) -> None:
    """One node with attributes: numbers, or the names of parameters."""

    @translation(op)
    def _(call: Call) -> Value:
        values: dict[str, Any] = {k: float(call[v]) if isinstance(v, str) else v for k, v in attributes.items()}
        return call.node(node, call.x, **values)


_attributes(activation.leaky_relu, "LeakyRelu", alpha="negative_slope")
_attributes(activation.celu, "Celu", alpha="alpha")
_attributes(activation.hardsigmoid, "HardSigmoid", alpha=1 / 6, beta=0.5)


@translation(activation.hardtanh)
def _hardtanh(call: Call) -> Value:
    return call.node("Clip", call.x, call["min_val"], call["max_val"])


@translation(activation.elu)
def _elu(call: Call) -> Value:
    made = call.node("Elu", call.x, alpha=float(call["alpha"]))
    return made if call["scale"] == 1 else made * call["scale"]


@translation(activation.softplus)
def _softplus(call: Call) -> Value:
    x, beta = call.x, call["beta"]
    inner = x if beta == 1 else x * beta
    soft = call.node("Softplus", inner)
    soft = soft if beta == 1 else soft / beta
    return call.writer.where(call.node("Greater", inner, call["threshold"], dtype=np.bool_), x, soft)


@translation(activation.logsigmoid)
def _logsigmoid(call: Call) -> Value:
    return -call.node("Softplus", -call.x)


@translation(activation.silu)
def _silu(call: Call) -> Value:
    return call.x * call.node("Sigmoid", call.x)


@translation(activation.mish)
def _mish(call: Call) -> Value:
    return call.x * call.node("Tanh", call.node("Softplus", call.x))


@translation(activation.gaussian)
def _gaussian(call: Call) -> Value:
    return call.node("Exp", -(call.x * call.x))


@translation(activation.gelu_erf)
def _gelu_erf(call: Call) -> Value:
    x = call.x
    return x * (call.node("Erf", x * math.sqrt(0.5)) + 1) * 0.5


@translation(activation.gelu_tanh)
def _gelu_tanh(call: Call) -> Value:
    x = call.x
    return x * (call.node("Tanh", (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1) * 0.5


@translation(activation.parametric_relu)
def _parametric_relu(call: Call) -> Value:
    x, slope = call.pair
    return call.node("Relu", x) + call.node("Min", x, 0) * slope


@translation(activation.glu)
def _glu(call: Call) -> Value:
    (axis,) = call.axes()
    (length,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis that is halved")
    first, second = (call.writer.slice(call.x, axis, i * length // 2, (i + 1) * length // 2) for i in range(2))
    return first * call.node("Sigmoid", second)


# Comparisons and logic


def boolean(x: Value) -> Value:
    """Where x is not zero."""
    return x if x.dtype == np.bool_ else x.writer.cast(x, np.bool_)


def _comparison(op: Any, node: str, negated: bool = False) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        x, y = call.pair
        if x.dtype == np.bool_ and node != "Equal":
            x, y = call.writer.cast(x, np.int32), call.writer.cast(y, np.int32)
        found = call.node(node, x, y, dtype=np.bool_)
        return call.node("Not", found) if negated else found


_comparison(comparison.greater, "Greater")
_comparison(comparison.greater_equal, "GreaterOrEqual")
_comparison(comparison.less, "Less")
_comparison(comparison.less_equal, "LessOrEqual")
_comparison(comparison.eq, "Equal")
_comparison(comparison.not_equal, "Equal", negated=True)


def _nowhere(call: Call) -> Value:
    """False everywhere: what integers are of nan and infinite."""
    return call.node("Not", call.node("Equal", call.x, call.x, dtype=np.bool_))


@translation(comparison.isnan)
def _isnan(call: Call) -> Value:
    return call.node("IsNaN", call.x, dtype=np.bool_) if call.x.dtype.kind == "f" else _nowhere(call)


@translation(comparison.isinf)
def _isinf(call: Call) -> Value:
    return call.node("IsInf", call.x, dtype=np.bool_) if call.x.dtype.kind == "f" else _nowhere(call)


@translation(comparison.isfinite)
def _isfinite(call: Call) -> Value:
    if call.x.dtype.kind != "f":
        return call.node("Not", _nowhere(call))
    either = call.node("Or", *(call.node(kind, call.x, dtype=np.bool_) for kind in ("IsNaN", "IsInf")))
    return call.node("Not", either)


def _logic(logical: Any, bitwise: Any, node: str) -> None:
    @translation(logical)
    def _(call: Call) -> Value:
        return call.node(node, *map(boolean, call.inputs))

    @translation(bitwise)
    def _(call: Call) -> Value:
        if call.x.dtype == np.bool_:
            return call.node(node, *call.inputs)
        if call.writer.opset < 18:
            raise call.fail(
                f"of the bits of integers in opset {call.writer.opset}; ONNX has it from opset_version=18 on"
            )
        return call.node(f"Bitwise{node}", *call.inputs)


_logic(comparison.logical_and, comparison.bitwise_and, "And")
_logic(comparison.logical_or, comparison.bitwise_or, "Or")
_logic(comparison.logical_xor, comparison.bitwise_xor, "Xor")
_logic(comparison.logical_not, comparison.bitwise_not, "Not")


@translation(cast)
def _cast(call: Call) -> Value:
    x = call.x
    return call.node("Identity", x) if x.dtype == call.dtype else call.writer.cast(x, call.dtype)
