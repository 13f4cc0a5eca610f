"""`explain` and `explain_grad`: the arithmetic behind one number of a recorded graph, and behind one of a gradient."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..backprop import grad
from ..basics import sum_to
from ..diagram import collector
from ..diagram.skeleton import Skeleton, op_name
from ..diagram.variables import global_values, local_tensors, local_values
from ..graph import Array, Node, Tensor, wrap
from ..nn import Module
from ..shapes import is_int
from .calls import Call, UnknownValue, Upstream, Values, result_name
from .explanation import Explanation
from .moving import source
from .rules import BACKWARD, FORWARD, VARIADIC
from .table import Factor, Index, Shown, Term, place, product
from .writers import ends

__all__ = ["explain", "explain_grad"]

_MOST_HELD = 1000  # of the caller's lists and dicts that are looked through for Tensors


def explain(
    t: Tensor,
    index: int | Sequence[int] | None = None,
    depth: int = 1,
    *,
    names: Mapping[str, Tensor] | None = None,
    max_terms: int = 24,
) -> Explanation:
    """The arithmetic behind one number of a Tensor that an op made: its terms, and their sum.

    index: which number; may be left out for one element. `explain(y[0, 1])` is `explain(y, (0, 1))`.
    depth: how many ops to go back, reshapes not counted; what enters the first one is explained below it.
    names: Tensors by the name to show; the caller's variables are known by theirs, and its modules by their layers.
    max_terms: longer lists are cut in the middle, with the count and the sum of what is left out.

        >>> import tinygrad_cnn as tg
        >>> from tinygrad_cnn.nn import functional as F
        >>> x = tg.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
        >>> w = tg.tensor([[[[1.0, 2.0], [0.5, -1.0]]]], requires_grad=True)
        >>> y = F.conv2d(x, w)
        >>> print(tg.explain(y, (0, 0, 1, 0)))
        conv2d: y[0,0,1,0] = Σ x[n,c,i·s+p·d−pad,j·s+q·d−pad] · w[o,c,p,q] = 9.5
          x[0,0,1,0] · w[0,0,0,0]     4 · 1    4
          x[0,0,1,1] · w[0,0,0,1]     5 · 2   10
          x[0,0,2,0] · w[0,0,1,0]   7 · 0.5  3.5
          x[0,0,2,1] · w[0,0,1,1]  8 · (-1)   -8
          sum of 4 terms                     9.5

    The values are those that the graph keeps for backward, the caller's Tensors and modules, what `watch` saw (with
    `values=True` all), and what can be computed again from these. An op without an explainer
    is shown as one step, and says so.

    Raises RuntimeError for a Tensor without graph and for values that nobody knows any more, TypeError and IndexError
    for what is no index.
    """
    if not isinstance(t, Tensor):
        raise TypeError(f"explain: a {type(t).__name__}; a Tensor is needed")
    _check_counts("explain", depth=depth, max_terms=max_terms)
    if t.node is None or t.node.plan is None:
        kind = "a leaf" if t.node is not None else "no result of a recorded op"
        raise RuntimeError(
            f"explain: this Tensor, shape {t.shape}, is {kind}; explain what is computed from it, with an input that "
            "has requires_grad=True"
        )
    at = _checked_index("explain", t.shape, index)
    variables, others = {**local_tensors(2), **(names or {})}, _others(3)
    with collector.waiting():
        skeleton = Skeleton(t.node, t.array, names, variables)
        values = Values(skeleton, [*variables.values(), *others])
        node, name = t.node, skeleton.name(t.node) or "out"
        if index is None and not t.shape:
            node, at, name = _behind(node, at, name, values)
        return _explained(
            Call(node, values), at, name, float(t.array[at]) if node is t.node else t.item(), depth, max_terms
        )


def explain_grad(
    loss: Tensor,
    w: Tensor,
    index: int | Sequence[int] | None = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    max_terms: int = 24,
) -> Explanation:
    """The terms that add up to one number of d(loss)/d(w): upstream gradients times what they met on the way back.

    w: a leaf, or a result on the way to the loss. Its gradient is shown at the ops that read it; the gradients that
        reach these are computed by `grad`, which keeps the graph and runs hooks. Where a hook on w itself changes what
        the terms add up to, the text says so.
    index, names, max_terms: as for `explain`.

        >>> import tinygrad_cnn as tg
        >>> from tinygrad_cnn.nn import functional as F
        >>> x = tg.tensor([[1.0, 2.0], [3.0, -1.0]])
        >>> w = tg.tensor([[0.5, -0.5]], requires_grad=True)
        >>> y = F.linear(x, w)
        >>> loss = (y * y).sum()
        >>> print(tg.explain_grad(loss, w, (0, 1)))
        linear: ∂loss/∂w[0,1] = Σ ∂out[n,o] · x[n,i] = -6
          ∂y[0,0] · x[0,1]    -1 · 2  -2
          ∂y[1,0] · x[1,1]  4 · (-1)  -4
          sum of 2 terms              -6

    Raises RuntimeError where the loss does not depend on w, for a graph that a backward has freed, and for values
    that nobody knows any more; ValueError for a loss of several numbers.
    """
    for what, given in (("loss", loss), ("w", w)):
        if not isinstance(given, Tensor):
            raise TypeError(f"explain_grad: {what} is a {type(given).__name__}; a Tensor is needed")
    _check_counts("explain_grad", max_terms=max_terms)
    if loss.array.size != 1:
        raise ValueError(
            f"explain_grad: the loss has shape {loss.shape}; one number is needed: reduce it, as with .sum(), or take "
            "one, as in y[0, 1]"
        )
    if loss.node is None or w.node is None or loss.node is w.node:
        raise RuntimeError(
            "explain_grad: w is the loss itself, or one of them has no graph; w needs requires_grad=True before the "
            "loss is computed from it"
        )
    at = _checked_index("explain_grad", w.shape, index)
    variables, others = {**local_tensors(2), **(names or {})}, _others(3)
    with collector.waiting():
        skeleton = Skeleton(loss.node, loss.array, names, variables)
        values = Values(skeleton, [*variables.values(), *others])
        users = _readers(skeleton, w.node, at)
        if not users:
            raise RuntimeError("explain_grad: the loss does not depend on w")
        nodes = list(dict.fromkeys(node for node, _, _ in users))
        own, *upstream = grad(loss, [_handle(w.node), *map(_handle, nodes)], retain_graph=True)
        arrived = dict(zip(nodes, (g.array for g in upstream), strict=True))
        shown = [_gradient_at(Call(node, values), k, cell, arrived[node]) for node, k, cell in users]
    ops = ", ".join(dict.fromkeys(op_name(node) for node, _, _ in users))
    w_name = skeleton.name(w.node) or skeleton.title(w.node)
    return Explanation(
        title=f"{ops}: ∂{skeleton.name(loss.node) or 'loss'}/∂{place(w_name, at)}",
        formula=" + ".join(dict.fromkeys(part.formula for part in shown)),
        terms=tuple(term for part in shown for term in part.terms),
        value=float(own.array[at]),
        steps=tuple(step for part in shown for step in part.steps),
        note=" ".join(part.note for part in shown if part.note),
        max_terms=max_terms,
        tolerance=_tolerance(w.dtype),
        smallest=_smallest(w.dtype),
        apart=f"a hook on {w_name} changed the gradient" if _has_hooks(w.node) else Explanation.apart,
    )


def _readers(skeleton: Skeleton, node: Node, at: Index) -> list[tuple[Node, int, Index]]:
    """The ops that read a number: (op, as which of its inputs, at which index); behind reshapes that have no name."""
    found: list[tuple[Node, int, Index]] = []
    waiting = [(node, at)]
    while waiting:
        read, cell = waiting.pop(0)
        for user, k in skeleton.consumers.get(read, ()):
            passes = user.plan.op.name == "reshape" and not skeleton.name(user) and not _has_hooks(user)
            if passes and skeleton.consumers.get(user):
                flat = int(np.ravel_multi_index(cell, read.shape)) if cell else 0
                waiting.append((user, tuple(int(i) for i in np.unravel_index(flat, user.shape)) if user.shape else ()))
            else:
                found.append((user, k, cell))
    return found


def _has_hooks(node: Node) -> bool:
    return node.watch is not None and bool(node.watch.hooks)


def _behind(node: Node, at: Index, name: str, values: Values) -> tuple[Node, Index, str]:
    """The op and the cell that a single number was taken from, as y[0, 1] is taken from y."""
    while node.plan is not None and node.plan.op.name == "getitem":
        call = Call(node, values)
        found = source(call, at)
        if found is None or not isinstance(parent := call.keys[found[0]], Node) or parent.plan is None:
            break
        name = values.skeleton.name(parent) or "out"
        node, at = parent, found[1]
    return node, at, name


def _explained(call: Call, at: Index, name: str, value: float | None, depth: int, max_terms: int) -> Explanation:
    shown = _shown(call, at, value)
    below: dict[tuple[Node, Index], Explanation] = {}
    first, _, last = ends(shown.terms, max_terms)
    further = depth if call.name == "reshape" else depth - 1
    for term in [*first, *last] if further else ():
        for factor in term.factors:
            key = call.keys.get(factor.operand)
            if isinstance(key, Node) and key.plan is not None and (key, factor.index) not in below:
                below[key, factor.index] = _below(call, factor, key, further, max_terms)
    return Explanation(
        title=f"{op_name(call.node)}: {place(name, at)}",
        formula=shown.formula,
        terms=tuple(shown.terms),
        value=value,
        steps=tuple(shown.steps),
        note=shown.note,
        below=tuple(below.values()),
        max_terms=max_terms,
        tolerance=_tolerance(call.node.dtype),
        smallest=_smallest(call.node.dtype),
    )


def _below(call: Call, factor: Factor, node: Node, depth: int, max_terms: int) -> Explanation:
    """What is behind a number that enters; only its value where the values behind it are not known."""
    inner, name = Call(node, call.values), call.title(factor.operand)
    own = factor.text == place(name, factor.index)  # else the factor is made of the number, as a logarithm
    known = factor.value if own else float(call.array(factor.operand)[factor.index])
    try:
        return _explained(inner, factor.index, name, known, depth, max_terms)
    except UnknownValue as error:
        return Explanation(
            f"{op_name(node)}: {place(name, factor.index)}",
            "",
            (),
            known,
            note=str(error).removeprefix("explain: "),
        )


def _shown(call: Call, at: Index, value: float | None) -> Shown:
    if call.name in FORWARD:
        return FORWARD[call.name](call, at)
    inputs = [f"{call.title(i)} {call.shape(i)}" for i in sorted(call.keys)]
    result = call.result(at) if value is None else value
    term = Term(f"{call.name}({', '.join(inputs)})", "", math.nan if result is None else result)
    return Shown("", [term], note=f"explain: {call.name} is shown as one step; it has no explainer.")


def _gradient_at(call: Call, k: int, cell: Index, g: Array) -> Shown:
    """What one op sends to its k-th input that takes a gradient."""
    i = call.node.plan.indices[k]
    skeleton = call.values.skeleton
    upstream = Upstream(f"∂{skeleton.name(call.node) or result_name(skeleton, call.node)}", g)
    if call.name in VARIADIC:
        return VARIADIC[call.name](call, cell, upstream, i)
    name = call.op.variadic or call.op.inputs[i]
    if (call.name, name) in BACKWARD:
        return BACKWARD[call.name, name](call, cell, upstream)
    return _by_rule(call, k, i, cell, g)


def _by_rule(call: Call, k: int, i: int, cell: Index, g: Array) -> Shown:
    """The gradient as the op's own rule gives it, for an op without an explainer."""
    plan, saved = call.node.plan, call.node.saved or ()
    with np.errstate(all="ignore"):
        sent = plan.joint(g, *saved[0])[i] if plan.joint is not None else plan.steps[k][1](g, *saved[k])
    shape = call.node.parents[k].shape
    sent = np.asarray(sent if sent.shape == shape else sum_to(sent, shape))
    formula = call.op.formulas.get(call.op.variadic or call.op.inputs[i], "its rule of ∂out")
    note = f"explain_grad: {call.name} is shown by its formula; it has no explainer."
    return Shown(formula, [product(Factor(f"the rule of {call.name}", float(sent[cell])))], note=note)


def _others(level: int) -> list[Tensor]:
    """Tensors whose values help, though not their names: in the caller's modules, lists and global variables."""
    modules = [*local_values(level, Module).values(), *global_values(level, Module).values()]
    own = [tensor for module in dict.fromkeys(modules) for tensor in module.parameters()]
    several: list[Iterable[Any]] = [part.values() for part in local_values(level, dict).values()]
    several += [*local_values(level, list).values(), *local_values(level, tuple).values()]
    held = [item for part in several for item in islice(part, _MOST_HELD) if isinstance(item, Tensor)]
    return [*own, *held, *global_values(level, Tensor).values()]


def _handle(node: Node) -> Tensor:
    """A Tensor that stands for a Node where only its graph is asked for."""
    return wrap(np.broadcast_to(np.zeros((), node.dtype), node.shape), node)


def _tolerance(dtype: Any) -> float:
    """How far the engine's value may be from the exact sum, relative to the terms."""
    eps = float(np.finfo(dtype).eps)
    return math.pow(eps, 0.6)


def _smallest(dtype: Any) -> float:
    """Below this the dtype rounds to 0."""
    return float(np.finfo(dtype).smallest_normal)


def _check_counts(name: str, **counts: Any) -> None:
    for what, given in counts.items():
        if not is_int(given) or given < 1:
            raise ValueError(f"{name}: {what}={given!r}; an int of at least 1 is needed")


def _checked_index(name: str, shape: tuple[int, ...], index: Any) -> Index:
    """The index as a tuple of ints from 0 on."""
    if index is None:
        if math.prod(shape) != 1:
            raise IndexError(f"{name}: which number of shape {shape}? Pass index=, one int for each axis")
        return (0,) * len(shape)
    given = (index,) if is_int(index) else index
    if not isinstance(given, (tuple, list)) or not all(map(is_int, given)):
        raise TypeError(f"{name}: index is {index!r}; a tuple of ints is needed, one for each axis of {shape}")
    if len(given) != len(shape):
        raise IndexError(f"{name}: index {tuple(given)} has {len(given)} numbers for the {len(shape)} axes of {shape}")
    for k, n in zip(given, shape, strict=True):
        if not -n <= k < n:
            raise IndexError(f"{name}: index {tuple(given)} is out of range for shape {shape}")
    return tuple(int(k) % n for k, n in zip(given, shape, strict=True))
