"""What a call of an op costs in floating-point operations (FLOPs), as a function of shapes and parameters.

    conv2d.flops(lambda w_shape, b_shape, out_shape: prod(out_shape) * (2 * prod(w_shape[1:]) + bool(b_shape)))

The arguments' names say what the count needs: an input's shape (`x_shape`, None for an input that is left out; the
list of all of them for a variadic op), the output's (`out_shape`), a parameter (`axis`). A parameter that is an array
is its dtype and shape as text once backward is done, so a count may only ask whether it is None.

The convention:

    1 each             + - ·, a comparison or a logical operation, /, a power, sqrt, exp, log, sin, tanh, |x|, −x, sign:
                       so a multiply-add counts 2
    n                  a sum, maximum or minimum of n numbers along axes, which starts from its neutral element
    k - 1              the same over a pooling's window of k cells, which starts from the first
    0                  moving data: reshape, permute, pad, index, join, select, cast, copy, broadcast

Counted is the op's formula as it is evaluated, with the shift by the maximum that keeps exp in range and without
guards against nan, checks, and constants made once for a call. Cells in the padding count like any other. Whether a
dtype has floating-point operations does not matter.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]


class Flops:
    """An op's count: a call declares it, and `count` evaluates it."""

    def __init__(self, op: str, inputs: Sequence[str], variadic: bool, params: Sequence[str]) -> None:
        self.op, self.shapes, self.variadic, self.params = op, [f"{name}_shape" for name in inputs], variadic, params
        self.declared: Callable[..., int] | None = None
        self._wants: list[str] = []

    def __call__(self, count: Callable[..., int]) -> None:
        """Declare the count. Raises TypeError for an argument that is no input's shape, `out_shape` or parameter."""
        wants, allowed = list(inspect.signature(count).parameters), [*self.shapes, "out_shape", *self.params]
        for want in wants:
            if want not in allowed:
                raise TypeError(f"{self.op}: its flops ask for {want!r}; they can have {', '.join(allowed)}")
        self.declared, self._wants = count, wants

    def count(self, shapes: Sequence[Shape | None], out_shape: Shape, params: Mapping[str, Any]) -> int | None:
        """The FLOPs of a call on inputs of these shapes, None for one that is left out; None if none were declared.

        params: all of the call's, as a Node keeps them, before backward and after it.
        """
        if self.declared is None:
            return None
        by_input = {self.shapes[0]: shapes} if self.variadic else dict(zip(self.shapes, shapes, strict=True))
        known = {**by_input, "out_shape": out_shape, **params}
        return int(self.declared(*(known[want] for want in self._wants)))


def moves_data() -> int:
    """The count of an op that computes nothing: 0."""
    return 0


def one_per_output(out_shape: Shape) -> int:
    """The count of an op that does one operation for each element of its output."""
    return prod(out_shape)


def one_per_input(x_shape: Shape) -> int:
    """The count of an op that does one operation for each element of its input x, as a sum does."""
    return prod(x_shape)


def flops_of(node: Any) -> int | None:
    """The FLOPs of the call that a Node recorded, before backward or after it; None if its op declares none."""
    plan, shapes = node.plan, [None] * node.plan.n_inputs
    for i, parent in zip(plan.indices, node.parents, strict=True):
        shapes[i] = parent.shape
    for i, constant in node.constants:
        shapes[i] = getattr(constant, "shape", ())
    count: int | None = plan.op.flops.count(shapes, node.shape, node.params)
    return count


def total_flops(nodes: Iterable[Any]) -> int:
    """The FLOPs of several recorded calls together, without those that declare none."""
    return sum(flops_of(node) or 0 for node in nodes)
