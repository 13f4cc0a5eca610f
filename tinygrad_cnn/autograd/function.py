"""Functions with a backward of their own, as PyTorch's `torch.autograd.Function` writes them.

`@op` (primitive.py) needs less code and is checked more; this is for code that exists.
"""

import copy
from collections.abc import Callable, Sequence
from functools import wraps
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from .. import memory
from ..declaration import Op, Plan, registry
from ..graph import Array, Node, Tensor, wrap
from ..modes import enable_grad, no_grad, recording
from ..ops.convert import to
from ..primitive import outline_of
from ..scopes import current as current_scope
from ..watching import told, watchers

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What `forward` leaves for `backward`: the Tensors that it saves, and any attributes.

    needs_input_grad: for each argument, whether a gradient is asked for.
    """

    needs_input_grad: tuple[bool, ...]
    _node: Node | None = None  # where backward is to be recorded, for saved_tensors

    def __init__(self, function: type["Function"], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, [isinstance(a, Tensor) for a in args]
        self._inputs = [a for a in args if isinstance(a, Tensor)]
        self._kinds = [(x.shape, x.dtype) for x in self._inputs]
        self._given: tuple[Tensor | None, ...] = ()
        self._kept: list[tuple[Array, tuple[str, int]] | None] = []
        self._order = 0
        self._constant: set[int] = set()
        self.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad and recording.get() for a in args)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other Tensors for `backward`, which finds them in `saved_tensors`."""
        for x in tensors:
            if not isinstance(x, Tensor | None):
                raise TypeError(
                    f"save_for_backward: a {type(x).__name__} was given; Tensors or None are needed, else set an "
                    "attribute of ctx"
                )
        self._given = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that no gradient flows through these outputs, as through all that are not float."""
        self._constant = {id(x) for x in tensors}

    def mark_dirty(self, *tensors: Tensor) -> NoReturn:
        """Refused: a Function here gives new Tensors and leaves its inputs alone."""
        raise RuntimeError(
            f"{self._function.__name__}: mark_dirty: no gradient flows through a change in place; compute a new Tensor"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """Accepted: an output that no gradient reached has gradient zeros in any case."""

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What save_for_backward was given; parts of the graph where backward is recorded, and constants elsewhere.

        Raises RuntimeError for one that was changed in place since.
        """
        return tuple(None if kept is None else self._restored(*kept) for kept in self._kept)

    def _restored(self, array: Array, place: tuple[str, int]) -> Tensor:
        kind, k = place
        if by := memory.changed_since(array, self._order):
            raise RuntimeError(
                f"{self._function.__name__}: a saved Tensor of shape {array.shape} was changed in place ({by}) between "
                "forward and backward; change a copy (.clone()), or after backward"
            )
        if self._node is None or not recording.get() or kind == "constant":
            return wrap(array)
        if kind == "input":
            return wrap(array, self._node.parents[k])
        return self._parts(wrap(self._made, self._node))[k]

    # How Function.apply fills it in

    def _finish(self, outs: Sequence[Any]) -> Tensor | None:
        """One step from the inputs to the differentiable outputs, recorded where a gradient is asked for.

        None if there are no such outputs.
        """
        self._places = [i for i, y in enumerate(outs) if _is_float(y) and id(y) not in self._constant]
        self._shapes = [(y.shape, y.dtype) if isinstance(y, Tensor) else None for y in outs]
        arrays = [outs[i].array for i in self._places]
        if not arrays:
            return None
        self._made = arrays[0] if len(arrays) == 1 else np.concatenate([a.ravel() for a in arrays])
        if not any(self.needs_input_grad):
            return wrap(self._made)
        wanted = [x.requires_grad for x in self._inputs]
        parents = iter(range(len(wanted)))
        links: dict[int, tuple[str, int]] = {}
        for x, want in zip(self._inputs, wanted, strict=True):
            links[id(x)] = ("input", next(parents)) if want else ("constant", 0)
        links |= {id(outs[i]): ("output", k) for k, i in enumerate(self._places) if id(outs[i]) not in links}
        self._kept = [None if x is None else (x.array, links.get(id(x), ("constant", 0))) for x in self._given]
        inputs, self._inputs, self._given = self._inputs, [], ()
        made = record(_op_of(self._function), inputs, self._made, self)
        self._order = made.node.order if made.node is not None else 0
        return made

    def _parts(self, made: Tensor) -> list[Tensor]:
        """The differentiable outputs, from what holds them one after the other."""
        if len(self._places) == 1:
            return [made]
        parts, begin = [], 0
        for i in self._places:
            shape, dtype = self._shapes[i]  # type: ignore[misc]
            end = begin + int(np.prod(shape))
            parts.append(to(made[begin:end].reshape(shape), dtype))
            begin = end
        return parts

    def at(self, node: Node) -> "FunctionCtx":
        """The same for a backward that is recorded at `node`."""
        placed = copy.copy(self)
        placed._node = node
        return placed

    def _pull(self, g: Any) -> list[Any]:
        """The gradients of the inputs, from the gradient of the recorded step."""
        create, name = isinstance(g, Tensor), self._function.__name__
        parts = iter(self._parts(g if create else wrap(g)))
        given = []
        for i, known in enumerate(self._shapes):
            zeros = None if known is None else wrap(np.zeros(*known))
            given.append(next(parts) if i in self._places else zeros)
        with enable_grad() if create else no_grad():
            found = self._function.backward(self, *given)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != len(self._args):
            raise RuntimeError(
                f"{name}: backward returned {len(found)} gradients for {len(self._args)} arguments; one for each is "
                "needed, None where no gradient flows"
            )
        for i, (d, is_tensor) in enumerate(zip(found, self._args, strict=True)):
            if d is not None and not (is_tensor and isinstance(d, Tensor)):
                raise TypeError(
                    f"{name}: backward returned a {type(d).__name__} for argument {i}; "
                    + ("a Tensor or None is needed" if is_tensor else "it is no Tensor, so None is needed")
                )
        gradients = [d for d, is_tensor in zip(found, self._args, strict=True) if is_tensor]
        gradients = [wrap(np.zeros(*kind)) if d is None else d for d, kind in zip(gradients, self._kinds, strict=True)]
        return gradients if create else [d.array for d in gradients]


class Function:
    """A step with its own backward: subclass it, define `forward` and `backward`, call `apply`.

        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, g):
                (y,) = ctx.saved_tensors
                return g * y

        Exp.apply(x)

    forward runs without recording; it gives a Tensor, or a tuple of Tensors and others. backward takes a gradient for
    each output and gives one for each argument, None where none flows. It is recorded where a gradient of a gradient
    is asked for (`create_graph=True`, func.hessian), so it is written with operators and functions of Tensors, or
    under @once_differentiable. Instead of a ctx for forward, `setup_context(ctx, inputs, output)` may be defined.
    """

    @staticmethod
    def forward(*args: Any) -> Any:
        """Compute the outputs: forward(ctx, *args), or forward(*args) beside a setup_context."""
        raise NotImplementedError("Function: there is no forward; define forward(ctx, *args) as a staticmethod")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs, if forward takes no ctx."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments from those of the outputs."""
        raise NotImplementedError(
            "Function: there is no backward; define backward(ctx, *grad_outputs) as a staticmethod"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute the outputs and record one step, if an argument requires grad."""
        ctx = FunctionCtx(cls, args)
        began = perf_counter()
        hidden = [(kind.running, kind.running.set(())) for kind in {type(block) for block in list(watchers)}]
        try:
            with no_grad():  # whoever watches sees one step, and not those inside
                if cls.setup_context is Function.setup_context:
                    result = cls.forward(ctx, *args)
                else:
                    result = cls.forward(*args)
                    cls.setup_context(ctx, args, result)
        finally:
            for variable, token in hidden:
                variable.reset(token)
        outs = list(result) if isinstance(result, tuple) else [result]
        made = ctx._finish(outs) if watchers or any(ctx.needs_input_grad) else None
        found = [wrap(y.array) if isinstance(y, Tensor) and y.requires_grad else y for y in outs]
        seen = made if made is not None else next((y for y in found if isinstance(y, Tensor)), None)
        if watchers and seen is not None:
            seconds, inputs = perf_counter() - began, [a for a in args if isinstance(a, Tensor)]
            for block in told():
                block.saw_op(_op_of(cls), inputs, [x.array for x in inputs], {}, seen, began, seconds)
        if made is not None:
            for i, part in zip(ctx._places, ctx._parts(made), strict=True):
                part.array = outs[i].array  # memory of its own: a change of one output is none of the others
                found[i] = part
        return tuple(found) if isinstance(result, tuple) else found[0]


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A `backward` that is not recorded, as one with NumPy inside: `@staticmethod`, `@once_differentiable` above it.

    A gradient of its gradient is a RuntimeError.
    """

    @wraps(backward)
    def unrecorded(ctx: FunctionCtx, *grads: Any) -> Any:
        with no_grad():
            found = backward(ctx, *grads)
        if ctx._node is None or not recording.get():
            return found
        sources = [wrap(np.empty(node.shape, node.dtype), node) for node in ctx._node.parents]
        sources += [g for g in grads if isinstance(g, Tensor) and g.requires_grad]
        name = ctx._function.__name__
        several = found if isinstance(found, tuple) else (found,)
        ended = tuple(record(_ENDED, sources, d.array, name) if isinstance(d, Tensor) else d for d in several)
        return ended if isinstance(found, tuple) else ended[0]

    return unrecorded


def record(op: Op, inputs: Sequence[Tensor], array: Array, residual: Any) -> Tensor:
    """A Tensor that `op`, a variadic one with a joint rule, made of the inputs: its array, at a Node of its own."""
    n, mask = len(inputs), sum(1 << i for i, x in enumerate(inputs) if x.requires_grad)
    key = mask | 1 << n
    plan = op.plans.get(key)
    if plan is None:
        plan = op.plans[key] = Plan(op, mask, n)
        plan.links[0][0] = -2 if isinstance(residual, FunctionCtx) else None
    node = object.__new__(Node)
    node.plan, node.parents = plan, [x.node for x in inputs if x.node is not None]
    node.saved, node.params = plan.save([*(x.array for x in inputs), array, residual], {}), {}
    node.shape, node.dtype, node.order = array.shape, array.dtype, memory.tick()
    node.scope, node.watch, node.bytes = current_scope.get(), None, 0
    node.constants = tuple((i, outline_of(x)) for i, x in enumerate(inputs) if not mask >> i & 1)
    return wrap(array, node)


def _op_of(function: type[Function]) -> Op:
    """The Op that stands for a Function in the graph, one for each class."""
    op = vars(function).get("_op")
    if op is None:
        name = function.__name__
        if name in registry:  # scripts, explanations and exports know what an op of that name computes
            name = f"{function.__module__}.{name}"
        op = _declared(name, lambda g, ctx: ctx._pull(g))
        function._op = op  # type: ignore[attr-defined]
    return op


def _declared(name: str, rule: Callable[..., Any]) -> Op:
    def forward(*inputs: Any) -> NoReturn:
        raise RuntimeError(f"{name}: it runs by its own apply")

    forward.__name__ = name
    op = Op(forward, "ctx", broadcast=False, floating=False)
    op.runs_alone = False
    op.vjp_all(rule)
    return op


def _refuse(g: Any, ctx: str) -> NoReturn:
    raise RuntimeError(
        f"{ctx}: its backward is marked once_differentiable, so its gradient has no gradient; write it with operators "
        "and functions of Tensors, without the mark"
    )


_ENDED = _declared("once_differentiable", _refuse)


def _is_float(y: Any) -> bool:
    return isinstance(y, Tensor) and y.dtype.kind == "f"
