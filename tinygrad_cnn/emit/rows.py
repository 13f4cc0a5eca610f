"""Whether a recorded computation treats every row, along axis 0 of its inputs, by itself: then it serves any batch."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..graph import Node, Tensor
from ..shapes import is_int, normalize_axes

# Those that never look beyond a row, whatever their parameters: of one input, and of an input with weights.
_ALONE = frozenset({
    "neg", "cast", "clone", "exp", "log", "square", "sin", "cos", "sign", "sigmoid", "tanh", "log1p", "expm1",
    "log2", "log10", "exp2", "reciprocal", "rsqrt", "tan", "asin", "acos", "atan", "sinh", "cosh", "floor",
    "ceil", "trunc", "round", "leaky_relu", "hardtanh", "hardsigmoid", "hardswish", "elu", "celu", "softplus",
    "logsigmoid", "silu", "mish", "gaussian", "softsign", "gelu_erf", "gelu_tanh", "relu", "abs", "sqrt", "clip",
})  # fmt: skip
_WITH_WEIGHTS = frozenset({
    "conv2d", "conv_transpose2d", "max_pool2d", "sum_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "unfold", "batch_norm_eval", "reshape",
})  # fmt: skip
# Those that work along axes: axis 0 must not be one of them.
_ALONG = frozenset({
    "flipped", "rolled", "cumsum", "glu", "softmax", "log_softmax", "standardize", "sum", "mean", "var", "std",
    "amax", "amin", "logsumexp", "power_norm", "prod", "concatenate", "stacked",
})  # fmt: skip


def any_rows(nodes: list[Node], sources: set[Any], n: int) -> bool:
    """Whether each result follows row by row from the sources, Nodes and Outlines of n rows.

    nodes: in the order of the computation, the last one the result.
    """
    carrying = set(sources)
    for node in nodes:
        if node.plan is None:
            continue
        flags = [False] * (max([*node.plan.indices, *dict(node.constants)], default=-1) + 1)
        shapes: list[Any] = [()] * len(flags)
        for i, parent in [*zip(node.plan.indices, node.parents, strict=True), *node.constants]:
            shapes[i] = getattr(parent, "shape", ())
            flags[i] = parent in carrying
        if any(flags):
            if not _by_row(node, flags, shapes, n):
                return False
            carrying.add(node)
    return nodes[-1] in carrying


def _by_row(node: Node, flags: list[bool], shapes: list[Any], n: int) -> bool:
    op, out = node.plan.op, node.shape
    if not out or out[0] != n or not prod(out[1:]):
        return False
    params = {**op.defaults, **node.params}
    if not all(_for_all_rows(v.shape, out) for v in params.values() if isinstance(v, (np.ndarray, Tensor))):
        return False
    if op.name in _ALONE:
        return True
    if op.name in _ALONG:
        ndim = len(out) if op.name == "stacked" else len(shapes[0])
        alone = 0 not in normalize_axes(params["axis"], ndim, op.name)
        if op.variadic:
            return alone and all(flags)
        return alone and flags[0] and not any(flags[1:]) and all(_for_all_rows(s, out) for s in shapes[1:])
    if op.name in _WITH_WEIGHTS:
        return flags[0] and not any(flags[1:])
    if op.name in _OTHERS:
        return _OTHERS[op.name](flags, shapes, params)
    # NumPy aligns the last axes: a row meets its row where the ranks are equal, and all rows meet the same elsewhere
    return bool(op.broadcast) and all(
        len(s) == len(out) if carries else _for_all_rows(s, out) for carries, s in zip(flags, shapes, strict=True)
    )


def _for_all_rows(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    return len(shape) < len(out) or shape[0] == 1


def _linear(flags: list[bool], shapes: list[Any], params: Any) -> bool:
    return flags[0] and not any(flags[1:]) and len(shapes[0]) > 1


def _matmul(flags: list[bool], shapes: list[Any], params: Any) -> bool:
    x, y = map(len, shapes)
    return x == y > 2 if all(flags) else flags[0] and x > 1 and y < 3


def _permute(flags: list[bool], shapes: list[Any], params: Any) -> bool:
    return normalize_axes(params["dims"][0], len(shapes[0]), "permute") == (0,)


def _pad(flags: list[bool], shapes: list[Any], params: Any) -> bool:
    return tuple(params["widths"][0]) == (0, 0)


def _getitem(flags: list[bool], shapes: list[Any], params: Any) -> bool:
    index = params["index"] if type(params["index"]) is tuple else (params["index"],)
    plain = all(part is None or part is Ellipsis or is_int(part) or isinstance(part, slice) for part in index)
    return plain and isinstance(index[0], slice) and index[0] == slice(None)


_OTHERS: dict[str, Callable[[list[bool], list[Any], Any], bool]] = {
    "linear": _linear,
    "matmul": _matmul,
    "permute": _permute,
    "pad": _pad,
    "getitem": _getitem,
}
