"""Random programs of ops: values used several times, diamonds, broadcasting, views, reductions.

Two things keep central differences meaningful: ops with kinks are applied only where values are still those of
an input (or a view of one), and the degree in the inputs is limited.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..basics import add, broadcast_to
from ..ops import elementwise, index, layout, matmul, reduce
from .samples import Draw

Array = NDArray[Any]

_MOST_DEGREE = 4
_SMOOTH = [elementwise.tanh, elementwise.sigmoid, elementwise.sin, elementwise.neg, elementwise.square]
_KINKED = [elementwise.relu, elementwise.abs, reduce.amax]
_BINARY = [add, elementwise.sub, elementwise.mul]


class Step(NamedTuple):
    """One op of a program: on which values (numbered: inputs first, then results), with which parameters."""

    op: Callable[..., Any]
    operands: tuple[int, ...]
    params: dict[str, Any]


class Graph:
    """A program and inputs for it. Calling it, on arrays or Tensors, gives the last value; `all` gives every one."""

    def __init__(self, inputs: list[Array], steps: list[Step]) -> None:
        self.inputs, self.steps = inputs, steps

    def __call__(self, *inputs: Any) -> Any:
        return self.all(*inputs)[-1]

    def all(self, *inputs: Any) -> list[Any]:
        """The inputs, then the result of each step."""
        values = list(inputs)
        for step in self.steps:
            values.append(step.op(*(values[i] for i in step.operands), **step.params))
        return values

    def __repr__(self) -> str:
        lines = [f"v{i} = input {a.shape}" for i, a in enumerate(self.inputs)]
        for i, step in enumerate(self.steps, len(self.inputs)):
            args = [f"v{k}" for k in step.operands] + [f"{k}={v!r}" for k, v in step.params.items()]
            lines.append(f"v{i} = {getattr(step.op, '__name__', step.op)}({', '.join(args)})")
        return "Graph:\n  " + "\n  ".join(lines)


class _Value(NamedTuple):
    array: Array
    degree: int
    distinct: bool  # values of an input: clear of zero and of each other


def graph(draw: Draw, max_steps: int = 8) -> Graph:
    """One random graph from any draw. Its last step adds up every value that nothing else used."""
    inputs = list(draw.broadcastable(draw.size(1, 3)))
    values = [_Value(a, 1, True) for a in inputs]
    steps: list[Step] = []
    for _ in range(draw.size(1, max_steps)):
        step, value = _step(draw, values)
        steps.append(step)
        values.append(value)
    used = {i for step in steps for i in step.operands}
    ends = [i for i in range(len(values)) if i not in used]
    total = len(values) - 1
    for i in ends:
        if i != total:
            shape = values[i].array.shape
            axes = tuple(range(len(shape)))
            steps.append(Step(reduce.sum, (i,), {"axis": axes}))
            values.append(_Value(np.asarray(values[i].array.sum()), values[i].degree, False))
            steps.append(Step(add, (total, len(values) - 1), {}))
            values.append(_Value(values[total].array + values[-1].array, 1, False))
            total = len(values) - 1
    return Graph(inputs, steps)


def _step(draw: Draw, values: list[_Value]) -> tuple[Step, _Value]:
    i = draw.size(0, len(values) - 1)
    x = values[i]
    kind = draw.choice(["binary", "binary", "smooth", "view", "reduce", "kinked", "matmul", "concat", "binary"])
    if kind == "kinked" and x.distinct and x.array.size:
        op = draw.choice(_KINKED)
        return _apply(op, (i,), {"axis": -1} if op is reduce.amax and x.array.ndim else {}, [x], x.degree)
    if kind == "smooth" and 2 * x.degree <= _MOST_DEGREE:
        return _apply(draw.choice(_SMOOTH), (i,), {}, [x], 2 * x.degree)
    if kind == "reduce" and x.array.ndim:
        axis = draw.size(0, x.array.ndim - 1)
        op = draw.choice([reduce.sum, reduce.mean])
        return _apply(op, (i,), {"axis": axis, "keepdims": draw.choice([True, False])}, [x], x.degree)
    if kind == "view" and x.array.ndim:
        return _view(draw, i, x)
    if kind == "matmul" and x.array.ndim == 2 and 2 * x.degree <= _MOST_DEGREE:
        return _apply(_gram, (i,), {}, [x], 2 * x.degree)
    if kind == "concat" and x.array.ndim:
        return _apply(layout.concatenate, (i, i), {"axis": draw.size(0, x.array.ndim - 1)}, [x, x], x.degree)
    partners = [k for k, v in enumerate(values) if _broadcasts(x.array.shape, v.array.shape)]
    k = draw.choice(partners)
    y = values[k]
    ops = _BINARY if x.degree + y.degree <= _MOST_DEGREE else _BINARY[:2]
    op = draw.choice(ops)
    degree = x.degree + y.degree if op is elementwise.mul else max(x.degree, y.degree)
    return _apply(op, (i, k), {}, [x, y], degree)


def _gram(x: Any) -> Any:
    """x x^T: one value on both sides of a product."""
    return matmul.matmul(x, layout.permute(x, (1, 0)))


def _view(draw: Draw, i: int, x: _Value) -> tuple[Step, _Value]:
    ndim, shape = x.array.ndim, x.array.shape
    options: list[tuple[Any, dict[str, Any]]] = [
        (layout.permute, {"dims": tuple(range(ndim))[::-1]}),
        (layout.reshape, {"shape": (-1,)}),
        (layout.flip, {"axis": ndim - 1}),
        (index.getitem, {"index": slice(0, 1)}),
        (index.getitem, {"index": (Ellipsis, slice(None, None, -1))}),
        (index.getitem, {"index": -1}),
    ]
    if x.array.size <= 12 and ndim < 4:  # a partner for a sum is sought among values of up to four axes
        options.append((broadcast_to, {"shape": (2, *shape)}))
    op, params = draw.choice(options)
    step, value = _apply(op, (i,), params, [x], x.degree)
    return step, value._replace(distinct=x.distinct and op is not broadcast_to)


def _apply(
    op: Callable[..., Any], operands: tuple[int, ...], params: dict[str, Any], xs: list[_Value], degree: int
) -> tuple[Step, _Value]:
    out = op(*(x.array for x in xs), **params)
    return Step(op, operands, params), _Value(np.asarray(out), degree, False)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes broadcast to something small."""
    lead = max(len(a), len(b))
    pairs = zip((1,) * (lead - len(a)) + a, (1,) * (lead - len(b)) + b, strict=True)
    return all(m == n or 1 in (m, n) for m, n in pairs) and lead <= 4
