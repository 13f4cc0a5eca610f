"""How reductions, running sums, softmax and matrix products are written."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops import comparison, einsum, magnitude, matmul, reduce, scan, softmax
from .elementwise import boolean
from .table import Call, translation
from .writer import Value


def _reduction(op: Any, node: str) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        x = call.writer.cast(call.x, call.dtype)
        return call.writer.reduce(node, x, call.axes(), call["keepdims"])


_reduction(reduce.sum, "ReduceSum")
_reduction(reduce.mean, "ReduceMean")
_reduction(reduce.logsumexp, "ReduceLogSumExp")
_reduction(scan.prod, "ReduceProd")


def _extremum(op: Any, node: str) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        x = call.writer.cast(call.x, np.int32) if call.x.dtype == np.bool_ else call.x
        return call.writer.cast(call.writer.reduce(node, x, call.axes(), call["keepdims"]), call.dtype)


_extremum(reduce.amax, "ReduceMax")
_extremum(reduce.amin, "ReduceMin")


def _quantifier(op: Any, node: str) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        counted = call.writer.cast(boolean(call.x), np.int32)
        return call.writer.cast(call.writer.reduce(node, counted, call.axes(), call["keepdims"]), np.bool_)


_quantifier(comparison.any, "ReduceMax")
_quantifier(comparison.all, "ReduceMin")


def _variance(call: Call) -> Value:
    w, axes = call.writer, call.axes()
    apart = call.x - w.reduce("ReduceMean", call.x, axes, True)
    free = call.count(axes)
    correction = call["correction"]
    divisor = max(free - correction, 0) if isinstance(free, int) else w.node("Max", free - correction, 0)
    return w.reduce("ReduceSum", apart * apart, axes, call["keepdims"]) / divisor


translation(reduce.var)(_variance)


@translation(magnitude.std)
def _std(call: Call) -> Value:
    return call.node("Sqrt", _variance(call))


@translation(magnitude.power_norm)
def _power_norm(call: Call) -> Value:
    w, p, axes, keepdims = call.writer, float(call["p"]), call.axes(), call["keepdims"]
    if p in (1, 2) and axes:
        return w.reduce(f"ReduceL{int(p)}", call.x, axes, keepdims)
    return w.reduce("ReduceSum", call.node("Abs", call.x) ** p, axes, keepdims) ** (1 / p)


def _position(op: Any, node: str) -> None:
    @translation(op)
    def _(call: Call) -> Value:
        axis, x = call.given("axis"), call.x
        x = call.writer.cast(x, np.int32) if x.dtype == np.bool_ else x
        if axis is None:
            found = call.node(node, call.writer.reshape(x, (-1,)), axis=0, keepdims=0, dtype=np.int64)
            return call.writer.reshape(found, (1,) * call.ndim) if call["keepdims"] else found
        (axis,) = call.axes()
        return call.node(node, x, axis=axis, keepdims=int(call["keepdims"]), dtype=np.int64)


_position(reduce.argmax, "ArgMax")
_position(reduce.argmin, "ArgMin")


@translation(scan.cumsum)
def _cumsum(call: Call) -> Value:
    (axis,) = call.axes()
    x = call.writer.cast(call.x, call.dtype)
    return call.node("CumSum", x, call.writer.constant(np.asarray(axis, np.int64)))


def _unrolled(call: Call, axis: int, step: Any) -> Value:
    """The results of step(k, the one before) along an axis, side by side."""
    (length,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis that is run along")
    rows: list[Value] = []
    for k in range(length):
        rows.append(step(k, rows[-1] if rows else None))
    return call.node("Concat", *rows, axis=axis) if rows else call.node("Identity", call.x)


@translation(scan.cumprod)
def _cumprod(call: Call) -> Value:
    (axis,) = call.axes()
    x = call.writer.cast(call.x, call.dtype)

    def step(k: int, before: Value | None) -> Value:
        row = call.writer.slice(x, axis, k, k + 1)
        return row if before is None else before * row

    return _unrolled(call, axis, step)


@translation(scan.recurrence)
def _recurrence(call: Call) -> Value:
    (axis,) = call.axes()
    a, b = call.pair

    def step(k: int, before: Value | None) -> Value:
        row = call.writer.slice(b, axis, k, k + 1)
        return row if before is None else call.writer.slice(a, axis, k, k + 1) * before + row

    return _unrolled(call, axis, step)


# Softmax


def soft(call: Call, x: Value, axes: Sequence[int], log: bool) -> Value:
    """softmax of x along axes, or its logarithm."""
    if len(axes) == 1:
        return call.node("LogSoftmax" if log else "Softmax", x, axis=axes[0])
    w = call.writer
    shifted = x - w.reduce("ReduceMax", x, axes, True)
    total = w.reduce("ReduceSum", call.node("Exp", shifted), axes, True)
    return shifted - call.node("Log", total) if log else call.node("Exp", shifted) / total


@translation(softmax.softmax)
def _softmax(call: Call) -> Value:
    return soft(call, call.x, call.axes(), False)


@translation(softmax.log_softmax)
def _log_softmax(call: Call) -> Value:
    return soft(call, call.x, call.axes(), True)


# Products


@translation(matmul.matmul)
def _matmul(call: Call) -> Value:
    return call.node("MatMul", *call.inputs)


@translation(matmul.linear)
def _linear(call: Call) -> Value:
    x, w, b = call.inputs
    if call.ndim == 2:
        return call.node("Gemm", x, w, b, transB=1)
    product = call.node("MatMul", x, call.writer.transpose(w, (1, 0)))
    return product if b is None else product + b


@translation(einsum.contraction)
def _contraction(call: Call) -> Value:
    shapes = [slot.shape for slot in call.recorded.inputs]
    terms, values = [list(term) for term in call["terms"]], call.inputs
    lengths = [pair for term, shape in zip(terms, shapes, strict=True) for pair in zip(term, shape, strict=True)]
    longer = {label for label, n in lengths if n != 1}
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):  # a length of 1 that stretches is taken out
        thin = [k for k, (label, n) in enumerate(zip(term, shape, strict=True)) if n == 1 and label in longer]
        if thin:
            values[i] = call.node("Squeeze", values[i], call.writer.integers(thin))
            terms[i] = [label for k, label in enumerate(term) if k not in thin]
    letters = {label: chr(ord("a") + i) for i, label in enumerate(dict.fromkeys(x for term in terms for x in term))}
    if len(letters) > 26:
        raise call.fail(f"it names {len(letters)} axes; at most 26 have letters, so write it as several products")
    left = ",".join("".join(letters[label] for label in term) for term in terms)
    right = "".join(letters[label] for label in call["kept"])
    return call.node("Einsum", *values, equation=f"{left}->{right}")
