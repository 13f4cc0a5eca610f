"""Functions of functions: value_and_grad, grad, vjp and jvp, under JAX's names, with exact results and no side effects.

A function is called with stand-ins of its arguments: views of their memory with Nodes of their own, either leaves or
steps of the graph that the arguments hang in. So gradients come from the function's own part of the graph, and are
Tensors in the graph around it: transforms nest to any order. No `.grad` is read or written.
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..backprop import grad as gradients
from ..graph import Node, Tensor, wrap
from ..modes import enable_grad, recording
from ..ops.layout import reshape
from .trees import leaves, mapped, tensors

__all__ = ["grad", "jvp", "linearize", "value_and_grad", "vjp"]

Function = Callable[..., Any]
_active: ContextVar[tuple[set[Node], ...]] = ContextVar("active", default=())  # the stand-ins of the running calls


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """(*args) -> (f(*args), gradient): of an f that gives a number, by the arguments at `argnums`, at one forward.

    An argument is a float Tensor, or a tree of them: nested tuples, lists and dicts, as of a Module's parameters for
    `functional_call`. The gradient has its form; for several argnums it is a tuple. An argument that f ignores has
    gradient 0. With has_aux, f gives (number, anything) and the result is ((number, anything), gradient).

    The results are parts of the graph of what requires grad outside, as arguments or by closure, and else constants.
    Raises TypeError for arguments and results that are no float Tensors, ValueError unless the result is a number.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = Run("grad", f, args, argnums, has_aux, kwargs)
        value = run.result
        if not isinstance(value, Tensor) or value.dtype.kind != "f":
            raise TypeError(f"grad: f returned {kind(value)}; a float Tensor of shape () is needed")
        if value.shape != ():
            raise ValueError(
                f"grad: f returned shape {value.shape}; a number, of shape (), is needed; sum it, or use vjp or jacrev"
            )
        found = run.pull([wrap(np.ones_like(value.array))], keep=False)
        value = run.outward(value)
        return ((value, run.outward(run.aux)) if has_aux else value), found

    return wrapped


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """(*args) -> gradient of f, as `value_and_grad` gives it; with has_aux, (gradient, anything)."""
    both = value_and_grad(f, argnums, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(f(*primals), g -> gradients of <g, f>): the value, and the product with f's Jacobian from the left.

    f may give a tree of float Tensors; g has its form, shapes and dtypes, and the gradients are a tuple in the primals'
    form. With has_aux, f gives (tree, anything) and the result is (tree, function, anything). The function may be
    called many times, each at the cost of a backward, and keeps the graph as long as it lives.
    """
    run = Run("vjp", f, primals, tuple(range(len(primals))), has_aux, {})
    run.check_float()

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        given = matched("vjp", "the cotangent", cotangents, run.result, "the result")
        found: tuple[Any, ...] = run.pull(given)
        return found

    out = run.outward(run.result)
    return (out, pullback, run.outward(run.aux)) if has_aux else (out, pullback)


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> tuple[Any, ...]:
    """(f(*primals), f's Jacobian · tangents): the value, and how it moves when the primals move along the tangents.

    The tangents have the primals' form, shapes and dtypes. The gradients of <u, f> are linear in u, and their own
    transposed Jacobian is f's Jacobian: so it takes one forward and two backwards, the second over the first.
    With has_aux, f gives (tree, anything) and the result is (tree, tangent, anything).
    Source: Townsend, A new trick for calculating Jacobian vector products (2017).
    """
    check_sequences("jvp", primals, tangents)
    run = Run("jvp", f, tuple(primals), tuple(range(len(primals))), has_aux, {})
    run.check_float()
    given = matched("jvp", "the tangents", tuple(tangents), run.primals, "the primals")
    out = run.outward(run.result)
    moved = run.push(given)
    return (out, moved, run.outward(run.aux)) if has_aux else (out, moved)


def linearize(f: Function, *primals: Any) -> tuple[Any, Function]:
    """(f(*primals), (*tangents) -> f's Jacobian · tangents): `jvp` in two parts, the second at one backward a call."""
    run = Run("linearize", f, primals, tuple(range(len(primals))), False, {})
    run.check_float()

    def pushforward(*tangents: Any) -> Any:
        return run.push(matched("linearize", "the tangents", tangents, run.primals, "the primals"))

    return run.outward(run.result), pushforward


class Run:
    """One call of f on stand-ins, and what is asked of its graph.

    primals, inner: the arguments to differentiate by, and their stand-ins. result, aux: what f gave.
    """

    def __init__(
        self, name: str, f: Function, args: tuple[Any, ...], argnums: Any, has_aux: bool, kwargs: dict[str, Any]
    ) -> None:
        if not callable(f):
            raise TypeError(f"{name}: f is {kind(f)}; a function is needed")
        self.name, self.records = name, recording.get()
        self.single = not isinstance(argnums, (tuple, list, range))
        places = _places(name, argnums, len(args))
        self.primals = tuple(args[i] for i in places)
        for i in places:
            for x in leaves(args[i]):
                if not isinstance(x, Tensor) or x.dtype.kind != "f":
                    raise TypeError(
                        f"{name}: argument {i} holds {kind(x)}; only float Tensors have a gradient, so make it one, or "
                        "leave it to the arguments that are not differentiated"
                    )
        with enable_grad():
            self.inner = tuple(mapped(self._stand_in, primal) for primal in self.primals)
            given = list(args)
            for i, stand_in in zip(places, self.inner, strict=True):
                given[i] = stand_in
            self.leaves = [x for stand_in in self.inner for x in tensors(stand_in)]
            self.ours = {x.node for x in self.leaves if x.node is not None}
            token = _active.set((*_active.get(), self.ours))
            try:
                result = f(*given, **kwargs)
            finally:
                _active.reset(token)
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{name}: f returned {kind(result)}; with has_aux it must return a pair (result, aux)")
            result, self.aux = result
        self.result = result
        self.leads_out = self.records and self._lead_out([*tensors(self.result), *tensors(self.aux)])
        self._linear: tuple[list[Tensor], list[Tensor], Sequence[Tensor | None]] | None = None

    def _stand_in(self, x: Tensor) -> Tensor:
        if x.node is not None and self.records:
            return reshape(x, x.shape)
        same = wrap(x.array).requires_grad_()
        if same.node is not None:
            same.node.watch = None  # a leaf that no backward leaves a gradient at
        return same

    def check_float(self) -> None:
        """Raise TypeError unless f gave a tree of float Tensors."""
        for x in leaves(self.result):
            if not isinstance(x, Tensor) or x.dtype.kind != "f":
                raise TypeError(
                    f"{self.name}: f returned {kind(x)}; float Tensors are needed, with has_aux=True beside others"
                )

    def outward(self, tree: Any) -> Any:
        """The tree, its Tensors as parts of the graph outside, or as constants if nothing leads there."""
        found = tensors(tree)
        kept = self._outside(x.node for x in found if x.node is not None) if self.records else set()

        def settled(x: Any) -> Any:
            inside = isinstance(x, Tensor) and x.node is not None and x.node not in kept
            return wrap(x.array) if inside else x

        return mapped(settled, tree)

    def _outside(self, roots: Iterable[Node]) -> set[Node]:
        """The Nodes at and below the roots that lead to a leaf outside: the user's, or a stand-in of a call around."""
        seen = {*roots}
        stack = list(seen)
        while stack:
            for parent in stack.pop().parents:
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        around = _active.get()
        found: set[Node] = set()
        for node in sorted(seen, key=lambda node: node.order):
            if node.plan is not None or node in self.ours:
                leads = any(parent in found for parent in node.parents)
            else:
                leads = node.watch is not None or any(node in stand_ins for stand_ins in around)
            if leads:
                found.add(node)
        return found

    def _lead_out(self, found: Iterable[Tensor | None]) -> bool:
        roots = {x.node for x in found if x is not None and x.node is not None}
        return not roots.isdisjoint(self._outside(roots))

    def _recorded(self, *given: Tensor | None) -> bool:
        """Whether what is made of the graph and of these Tensors is to be recorded."""
        return self.records and recording.get() and (self.leads_out or self._lead_out(given))

    def pull(self, cotangents: Sequence[Tensor | None], keep: bool = True) -> Any:
        """The gradients of <cotangents, result>, None for 0, in the form of the primals. keep: will be asked again."""
        pairs = zip(tensors(self.result), cotangents, strict=True)
        asked = [(y, g) for y, g in pairs if y.node is not None and g is not None]
        create = self._recorded(*cotangents)
        found: Sequence[Tensor | None] = [None] * len(self.leaves)
        if asked and self.leaves:
            outs, given = zip(*asked, strict=True)
            found = gradients(
                outs, self.leaves, list(given), retain_graph=create or keep, create_graph=create, allow_unused=True
            )
        return self._formed(found)

    def push(self, tangents: Sequence[Tensor | None]) -> Any:
        """The Jacobian times the tangents, None for 0, in the form of the result."""
        if self._linear is None:
            outs = [y for y in tensors(self.result) if y.node is not None]
            us = [wrap(np.zeros_like(y.array)).requires_grad_() for y in outs]
            for u in us:
                if u.node is not None:
                    u.node.watch = None
            linear: Sequence[Tensor | None] = []
            if outs and self.leaves:
                linear = gradients(outs, self.leaves, us, create_graph=True, allow_unused=True)
            self._linear = outs, us, linear
        outs, us, linear = self._linear
        pairs = zip(linear, tangents, strict=False)
        asked = [(d, t) for d, t in pairs if d is not None and d.node is not None and t is not None]
        create = self._recorded(*tangents)
        moved: Sequence[Tensor | None] = [None] * len(us)
        if asked:
            ds, given = zip(*asked, strict=True)
            moved = gradients(ds, us, list(given), retain_graph=True, create_graph=create, allow_unused=True)
        by_node = {y.node: m for y, m in zip(outs, moved, strict=True)}

        def formed(y: Tensor) -> Tensor:
            m = by_node.get(y.node) if y.node is not None else None
            return wrap(np.zeros_like(y.array)) if m is None else m

        return self.outward(mapped(formed, self.result))

    def _formed(self, found: Sequence[Tensor | None]) -> Any:
        given = iter(found)

        def next_one(x: Tensor) -> Tensor:
            g = next(given)
            return wrap(np.zeros_like(x.array)) if g is None else g

        made = self.outward(tuple(mapped(next_one, primal) for primal in self.inner))
        return made[0] if self.single else made


def _places(name: str, argnums: Any, n: int) -> tuple[int, ...]:
    places = tuple(argnums) if isinstance(argnums, (tuple, list, range)) else (argnums,)
    for i in places:
        if isinstance(i, bool) or not isinstance(i, int):
            raise TypeError(f"{name}: argnums holds {i!r}; integers are needed, which count the arguments from 0")
        if not -n <= i < n:
            raise ValueError(f"{name}: argnums holds {i}, but f was called with {n} arguments by position")
    places = tuple(i % n for i in places)
    if len(set(places)) < len(places):
        raise ValueError(f"{name}: argnums names argument {max(places, key=places.count)} twice")
    return places


def check_sequences(name: str, primals: Any, tangents: Any) -> None:
    """Raise TypeError unless both are tuples or lists."""
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"{name}: {what} is {kind(given)}; a tuple is needed, one for each argument of f")


def matched(name: str, what: str, given: Any, wanted: Any, whose: str) -> list[Tensor]:
    """The leaves of `given`, checked against the Tensors of `wanted`: form, shape and dtype."""
    pairs: list[tuple[Tensor, Any]] = []
    try:
        mapped(lambda x, g: pairs.append((x, g)), wanted, given)
    except ValueError as error:
        raise ValueError(f"{name}: {what} must have the form of {whose}: {error}") from None
    found: list[Tensor] = []
    for x, g in pairs:
        g = wrap(np.asarray(g)) if isinstance(g, np.ndarray) else g
        if not isinstance(g, Tensor):
            raise TypeError(f"{name}: {what} holds {kind(g)}; a Tensor of shape {x.shape} is needed")
        if (g.shape, g.dtype) != (x.shape, x.dtype):
            raise ValueError(
                f"{name}: {what} holds {kind(g)} for {kind(x)} in {whose}; shape and dtype must be the same"
            )
        found.append(g)
    return found


def kind(x: Any) -> str:
    """What a value is, for a message."""
    return f"{x.dtype} {x.shape}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
