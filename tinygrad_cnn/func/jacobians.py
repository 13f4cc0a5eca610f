"""Whole Jacobians and Hessians, row by row or column by column, and the Hessian times a vector."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..graph import Tensor, wrap
from ..ops.layout import reshape, stack
from .transforms import Function, Run, check_sequences, grad, matched, vjp
from .trees import mapped, tensors

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev"]


def jacrev(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """(*args) -> d f / d args, row by row: a forward, and a backward for each entry of what f gives.

    For a result y and an argument x the Jacobian has shape y.shape + x.shape, and J[i, j] = d y[i] / d x[j]. Where f
    gives a tree, each y of it becomes the Jacobian in the form of the argument; for several argnums, a tuple. With
    has_aux, f gives (tree, anything) and the result is (Jacobian, anything). Arguments as for `value_and_grad`.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = Run("jacrev", f, args, argnums, has_aux, kwargs)
        run.check_float()
        ys, blocks = tensors(run.result), []
        for k, y in enumerate(ys):
            rows = [tensors(run.pull([e if i == k else None for i in range(len(ys))])) for e in _units(y)]
            blocks.append([_joined([row[m] for row in rows], 0, y, x) for m, x in enumerate(run.leaves)])
        return _arranged(run, blocks, has_aux)

    return wrapped


def jacfwd(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """(*args) -> d f / d args, column by column: two forwards, and a backward for each entry of the arguments.

    For functions that give more numbers than they take. Otherwise as `jacrev`, with the same result.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = Run("jacfwd", f, args, argnums, has_aux, kwargs)
        run.check_float()
        ys = tensors(run.result)
        blocks: list[list[Tensor]] = [[] for _ in ys]
        for m, x in enumerate(run.leaves):
            columns = [tensors(run.push([e if i == m else None for i in range(len(run.leaves))])) for e in _units(x)]
            for k, y in enumerate(ys):
                blocks[k].append(_joined([column[k] for column in columns], -1, y, x))
        return _arranged(run, blocks, has_aux)

    return wrapped


jacobian = jacrev


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """(*args) -> d² f / d args²: `jacrev` of `jacrev`, of shape y.shape + x.shape + x.shape.

    For an argument of n entries and an f that gives a number, n backwards over one backward; `hvp` takes one. In trees
    and for several argnums, the Jacobian's form at each place of the Jacobian.
    """
    return jacrev(jacrev(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The Hessian of f, which gives a number, times the tangents: a tuple in the primals' form, at two backwards.

    The gradients of <gradient of f, tangents>, by the symmetry of the Hessian; where f is not twice differentiable they
    are its transpose times the tangents.
    Source: Pearlmutter, Fast exact multiplication by the Hessian (1994).
    """
    check_sequences("hvp", primals, tangents)
    matched("hvp", "the tangents", tuple(tangents), tuple(primals), "the primals")
    _, pullback = vjp(grad(f, tuple(range(len(primals)))), *primals)
    found: tuple[Any, ...] = pullback(tuple(tangents))
    return found


def _units(x: Tensor) -> Iterator[Tensor]:
    """The arrays of x's shape and dtype with a single 1."""
    for i in range(x.array.size):
        unit = np.zeros(x.array.size, x.dtype)
        unit[i] = 1
        yield wrap(unit.reshape(x.shape))


def _joined(parts: list[Tensor], axis: int, y: Tensor, x: Tensor) -> Tensor:
    """The Jacobian of y by x, from its rows (axis 0) or columns (axis -1)."""
    shape = y.shape + x.shape
    return reshape(stack(parts, axis), shape) if parts else wrap(np.zeros(shape, y.dtype))


def _arranged(run: Run, blocks: list[list[Tensor]], has_aux: bool) -> Any:
    """The blocks, one for each result and argument, in the form of the results and within it of the arguments."""
    by_result = iter(blocks)

    def of_result(_: Tensor) -> Any:
        block = iter(next(by_result))
        found = tuple(mapped(lambda _: next(block), primal) for primal in run.inner)
        return found[0] if run.single else found

    found = mapped(of_result, run.result)
    return (found, run.outward(run.aux)) if has_aux else found
