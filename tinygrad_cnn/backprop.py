"""Reverse-mode differentiation: `Tensor.backward` and `grad`.

Nodes are numbered as they are made, so descending order is a topological order: nothing recurses, and
each Node's rules run once, on the sum of all that reaches it.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Literal, overload
from typing import cast as typed

import numpy as np

from . import memory
from .basics import add, cast, sum_to
from .declaration import Plan
from .graph import Array, Node, Tensor, Watch, method, wrap
from .kernels.sweeps import added
from .modes import enable_grad
from .watching import told, watchers

_by_order = attrgetter("order")


@method
def backward(
    self: Tensor,
    gradient: Tensor | Array | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add d(self)/d(leaf) to the `grad` of every leaf below, or of `inputs` alone.

    gradient: d(something)/d(self), of this Tensor's shape and dtype; may be left out for one element.
    retain_graph: keep what the rules need, so that backward can run again.

    If anything fails on the way, every `grad` is left as it was; the graph counts as freed.
    Raises RuntimeError without a graph, on a freed graph, for several elements without `gradient`, and for
    a value that was changed in place since the forward pass. `create_graph` belongs to `grad`.
    """
    if create_graph:
        raise no_graph_of_gradients("loss")
    if self.node is None:
        raise RuntimeError(
            "backward: this Tensor has no graph: nothing it was computed from requires grad, or it was computed "
            "under no_grad or detached; make a leaf with requires_grad=True and compute it again"
        )
    accumulate([(self.node, cotangent_for(self, gradient, "backward").array)], inputs, retain_graph)


def no_graph_of_gradients(outputs: str) -> RuntimeError:
    """The error of a backward that is asked for create_graph."""
    return RuntimeError(
        "backward: create_graph=True would tie each leaf's grad to the graph in a reference cycle; "
        f"ask for the gradients instead: tinygrad_cnn.grad({outputs}, parameters, create_graph=True)"
    )


def accumulate(roots: Sequence[tuple[Node, Array]], inputs: Tensor | Sequence[Tensor] | None, retain: bool) -> None:
    """Add what reaches the inputs, by default all that keep a gradient, to their `grad`: to all or to none."""
    wanted = None
    if inputs is not None:
        wanted = {node_of(x, i, "backward") for i, x in enumerate([inputs] if isinstance(inputs, Tensor) else inputs)}
        if not wanted:
            raise ValueError(
                "backward: inputs is empty; name the Tensors that collect a gradient, or leave it out for all"
            )
    found = backprop(roots, wanted, retain=retain)
    with memory.lock:  # two threads may run backward into the same leaves
        watches, sums = [], []
        for node, g in found.items():
            watch = node.watched()
            watches.append(watch)
            total: Any = g if watch.grad is None else add(watch.grad.array, g)
            sums.append(wrap(total))
        # One call that runs no Python code between the first assignment and the last: all of them or none.
        deque(map(setattr, watches, itertools.repeat("grad"), sums), maxlen=0)


_Cotangents = Tensor | Array | Sequence[Tensor | Array | None] | None


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: _Cotangents = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: Literal[False] = False,
) -> tuple[Tensor, ...]: ...


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: _Cotangents = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = ...,
) -> tuple[Tensor | None, ...]: ...


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: _Cotangents = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """d(sum of <grad_outputs, outputs>)/d(inputs), one Tensor per input, leaving every `.grad` alone.

    create_graph: the results can be differentiated again; records even inside `no_grad`.
    retain_graph: keep the graph; with `create_graph` it is always kept.
    allow_unused: None for an input that the outputs do not depend on, instead of a RuntimeError.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    cotangents: Sequence[Any]
    if grad_outputs is None or isinstance(grad_outputs, (Tensor, np.ndarray)):
        cotangents = [grad_outputs] * len(outs)
        if grad_outputs is not None and len(outs) > 1:
            raise ValueError(f"grad: one gradient for {len(outs)} outputs; grad_outputs needs a list, one for each")
    else:
        cotangents = list(grad_outputs)
        if len(cotangents) != len(outs):
            raise ValueError(
                f"grad: {len(cotangents)} grad_outputs for {len(outs)} outputs; there must be one for each"
            )
    roots = []
    for i, (out, g) in enumerate(zip(outs, cotangents, strict=True)):
        node = node_of(out, i, "grad", "outputs")
        given = cotangent_for(out, g, "grad")
        roots.append((node, given if create_graph else given.array))
    nodes = [node_of(x, i, "grad") for i, x in enumerate(ins)]
    if create_graph:
        with enable_grad():
            found = backprop(roots, set(nodes), retain=True, create=True)
    else:
        found = backprop(roots, set(nodes), retain=bool(retain_graph))
    if not allow_unused and (unused := [i for i, node in enumerate(nodes) if node not in found]):
        raise RuntimeError(
            f"grad: the outputs do not depend on inputs {unused} (of {len(nodes)}); "
            "pass allow_unused=True to get None for them"
        )
    # No result shares memory with another, with an input or with a cotangent: adding 0 makes a copy, in the graph.
    taken = {id(memory.owner(x.array)) for x in [*outs, *ins, *cotangents] if isinstance(x, Tensor)}
    taken |= {id(memory.owner(x)) for x in cotangents if isinstance(x, np.ndarray)}
    results: list[Tensor | None] = []
    with enable_grad():
        for node in nodes:
            g = found.get(node)
            if g is not None:
                g = g if create_graph else wrap(g)
                if id(memory.owner(g.array)) in taken or not g.array.flags.writeable:
                    g = add(g, 0.0)
                taken.add(id(memory.owner(g.array)))
            results.append(g)
    return tuple(results)


def node_of(x: Any, i: int, caller: str, what: str = "inputs") -> Node:
    """The Node of a Tensor that requires grad."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{caller}: {what}[{i}] is a {type(x).__name__}; a Tensor is needed")
    if x.node is None:
        raise RuntimeError(
            f"{caller}: {what}[{i}] (shape {x.shape}) does not require grad, so there is no gradient for it"
        )
    return x.node


def cotangent_for(out: Tensor, g: Any, caller: str) -> Tensor:
    """The gradient to start from, checked against the output."""
    if g is None:
        if out.array.size != 1:
            raise RuntimeError(
                f"{caller}: only one-element Tensors can start without a gradient, this one has shape {out.shape}; "
                "reduce it first, as in .sum() or .mean(), or pass a gradient of that shape"
            )
        return wrap(np.ones_like(out.array))
    given = g if isinstance(g, Tensor) else wrap(np.asarray(g))
    if given.shape != out.shape:
        raise ValueError(f"{caller}: a gradient of shape {given.shape} was given for an output of shape {out.shape}")
    if given.dtype.kind != "f":
        raise TypeError(f"{caller}: a {given.dtype} gradient was given for a {out.dtype} output; it must be float")
    return given if given.dtype == out.dtype else cast(given, out.dtype)


def backprop(
    roots: Iterable[tuple[Node, Any]], targets: set[Node] | None = None, *, retain: bool = False, create: bool = False
) -> dict[Node, Any]:
    """Push gradients from the roots down to `targets` (default: every Node that keeps one); {node: gradient}.

    With `create` the rules run on Tensors, and the gradients are themselves part of a graph. Otherwise
    they run on arrays; the results are fresh arrays that nothing else refers to.
    """
    grads: dict[Node, Any] = {}
    for node, g in roots:
        grads[node] = add(grads[node], g) if node in grads else g
    order, needed = _schedule(list(grads), targets)
    found: dict[Node, Any] = {}
    recalled: dict[Any, Any] = {}  # what checkpoints have computed again
    ours: set[Node] = set()  # nodes whose gradient is a sum made here, safe to add to in place
    latest = memory.latest
    pop = grads.pop
    current: Node | None = None
    blocks = told() if watchers else None
    try:
        with np.errstate(all="ignore"):
            for node in order:
                current = node
                g = pop(node, None)
                if g is None:
                    continue
                plan, watch = node.plan, node.watch
                record = None
                if watch is not None:
                    record = watch.record
                    if watch.hooks:
                        g = _run_hooks(node, watch, g, create)
                        ours.discard(node)
                    if watch.keep and targets is None:
                        found[node] = _own(g, plan is None and node in ours)
                if targets is not None and node in targets:
                    found[node] = g if create else _own(g, plan is None and node in ours)
                if plan is None or (needed is not None and needed.isdisjoint(node.parents)):
                    continue  # the gradient ends here: below a target nothing is read, and nothing is freed
                saved, since = typed(Any, node.saved), node.order
                if type(saved) is not tuple:
                    if saved is None:
                        raise RuntimeError(_freed(plan))
                    saved, since = saved.recall(node, recalled)
                if latest[0] > since:
                    _check_unchanged(plan, saved, since)
                kept = saved
                if create:
                    saved = tuple(_linked(node, args, links) for args, links in zip(saved, plan.links, strict=True))
                steps = plan.steps
                if record is not None:
                    record.arrived(g)
                if blocks is not None:
                    for block in blocks:
                        block.rules_begin(node, kept, g, needed)
                if plan.joint is not None:
                    steps, saved = _joint_steps(plan, g, saved[0])
                for parent, (i, rule), args in zip(node.parents, steps, saved, strict=False):
                    if needed is not None and parent not in needed:
                        continue
                    d = rule(g, *args)
                    try:
                        if d.dtype is not parent.dtype or d.shape != parent.shape or create:
                            d = _fit(d, parent, plan, i, create)
                    except AttributeError:
                        d = _fit(d, parent, plan, i, create)
                    if record is not None:
                        record.sent(i, d)
                    if blocks is not None:
                        given = _kept(plan, i, args)
                        for block in blocks:
                            block.saw_rule(node, i, g, given, d)
                    if parent not in grads:
                        grads[parent] = d
                    elif create:
                        grads[parent] = add(grads[parent], d)
                    elif parent in ours:
                        grads[parent] += d
                    else:
                        grads[parent] = added(grads[parent], d)
                        ours.add(parent)
                if blocks is not None:
                    for block in blocks:
                        block.rules_end(node)
                if not retain:
                    node.saved = None
                    if node.params:
                        node.params = {name: outlined(value) for name, value in node.params.items()}
    except Exception as error:
        if current is not None and current.plan is not None:
            for block in blocks or ():
                block.rules_failed(current)
            error.add_note(f"in the gradient of {current.plan.op.name}, whose output has shape {current.shape}")
        raise
    return found


def _schedule(roots: list[Node], targets: set[Node] | None) -> tuple[list[Node], set[Node] | None]:
    """The Nodes to visit, later ones first; and, with targets, those among them that lead to one."""
    seen, stack, order = set(roots), list(roots), list(roots)
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
                order.append(parent)
    order.sort(key=_by_order, reverse=True)  # nearly sorted already, so nearly linear
    if targets is None:
        return order, None
    needed: set[Node] = set()
    for node in reversed(order):
        if node in targets or any(parent in needed for parent in node.parents):
            needed.add(node)
    return [node for node in order if node in needed], needed


def _run_hooks(node: Node, watch: Watch, g: Any, create: bool) -> Any:
    """The gradient after the Node's hooks; each sees a copy that it may keep or write to."""
    for hook in list(watch.hooks.values()):
        seen = g if create else wrap(np.array(g))
        result = hook(seen)
        if result is None:
            continue
        if not isinstance(result, Tensor):
            raise TypeError(f"hook {_name(hook)}: it returned a {type(result).__name__}; a Tensor or None is needed")
        if result.shape != node.shape:
            raise ValueError(
                f"hook {_name(hook)}: it returned shape {result.shape} for a gradient of shape {node.shape}"
            )
        if result.dtype != node.dtype:
            raise TypeError(f"hook {_name(hook)}: it returned {result.dtype} for a {node.dtype} gradient")
        g = result if create else np.array(result.array)
    return g


def _name(hook: Any) -> str:
    return getattr(hook, "__qualname__", None) or repr(hook)


def _freed(plan: Plan) -> str:
    return (
        f"backward: the graph below {plan.op.name} was freed by an earlier backward (values are dropped as it goes); "
        "pass retain_graph=True to the first one, or compute the loss again"
    )


def _check_unchanged(plan: Plan, saved: Sequence[Sequence[Any]], since: int) -> None:
    for wants, args in zip(plan.wants, saved, strict=True):
        for want, value in zip(wants, args, strict=True):
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray) and (by := memory.changed_since(array, since)):
                    what = f"its {'output' if want == 'out' else f'input {want!r}'} of shape {array.shape}"
                    raise RuntimeError(
                        f"{plan.op.name}: {what} was changed in place ({by}) between forward and backward, "
                        "and its gradient rule needs the old value; change a copy (.clone()), or after backward"
                    )


def _linked(node: Node, args: Sequence[Any], links: Sequence[Any]) -> list[Any]:
    """Kept values as Tensors at their places in the graph, so that rules on them are recorded."""
    values: list[Any] = []
    for value, link in zip(args, links, strict=True):
        if isinstance(link, list):
            values.append(tuple(v if k is None else wrap(v, node.parents[k]) for v, k in zip(value, link, strict=True)))
        elif link is None:
            values.append(value)
        elif link == -2:
            values.append(value.at(node))
        else:
            values.append(wrap(value, node if link < 0 else node.parents[link]))
    return values


def _joint_steps(plan: Plan, g: Any, args: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """A joint rule's gradients as steps that only hand them out."""
    gradients = plan.joint(g, *args) if plan.joint is not None else ()
    if not isinstance(gradients, (tuple, list)) or len(gradients) != plan.n_inputs:
        shown = len(gradients) if isinstance(gradients, (tuple, list)) else type(gradients).__name__
        raise TypeError(
            f"{plan.op.name}: its joint rule must return {plan.n_inputs} gradients, one per input, not {shown}"
        )
    return [(i, _second) for i in plan.indices], tuple((gradients[i],) for i in plan.indices)


def _kept(plan: Plan, i: int, args: Sequence[Any]) -> dict[str, Any]:
    """What the rule of input i is given beside the gradient, by name; nothing of a joint rule."""
    return {} if plan.joint is not None else dict(zip(plan.wants[plan.indices.index(i)], args, strict=True))


def _second(_: Any, d: Any) -> Any:
    return d


def _own(g: Any, fresh: bool) -> Any:
    """g in memory of its own, in row-major order; as it is if nobody else refers to it."""
    return g if fresh else np.array(g, order="C")


def _fit(d: Any, parent: Node, plan: Plan, i: int, create: bool) -> Any:
    """A rule's gradient in its input's shape and dtype. Raises if the rule returned something else."""
    op = plan.op
    name = f"{op.variadic}[{i}]" if op.variadic else op.inputs[i]
    if not isinstance(d, (np.ndarray, np.generic, Tensor)):
        raise TypeError(f"{op.name}: its gradient rule for {name!r} returned a {type(d).__name__}; an array is needed")
    if create and not isinstance(d, Tensor):
        raise RuntimeError(
            f"{op.name}: its gradient rule for {name!r} left the graph (it returned an {type(d).__name__} for a "
            "Tensor), so create_graph=True would lose its derivative; write the rule with ops and operators"
        )
    if d.dtype != parent.dtype and d.dtype.kind != "f":
        raise TypeError(f"{op.name}: its gradient rule for {name!r} returned {d.dtype}; {parent.dtype} is needed")
    if d.shape != parent.shape:
        if not op.broadcast or not _stretches(parent.shape, d.shape):
            raise ValueError(
                f"{op.name}: its gradient rule for {name!r} returned shape {d.shape}; "
                f"the input has shape {parent.shape}"
            )
        d = sum_to(d, parent.shape)
    return d if d.dtype == parent.dtype else cast(d, parent.dtype)


def _stretches(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether broadcasting takes `shape` to `target`."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, target[lead:], strict=True))


def outlined(value: Any) -> Any:
    """A parameter as a skeleton keeps it: arrays by dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    return tuple(map(outlined, value)) if type(value) is tuple else value
