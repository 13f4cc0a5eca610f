"""The `op` decorator, and what happens when an op is called; what it declares is in declaration.py.

An op is one function on arrays plus one gradient rule per input:

    @op(operator="mul", broadcast=True)
    def mul(x, y, /):
        "Elementwise product."
        return x * y

    mul.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)

Rules are written with the ops themselves. On arrays an op computes an array; on Tensors it records a
Node. `backward` (backprop.py) feeds the rules arrays; `grad(create_graph=True)` feeds the same rules
Tensors, so that the gradient comes out differentiable.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, overload
from typing import cast as typed

import numpy as np

from . import memory
from .conventions import active as conventions
from .conventions import defaults_of
from .declaration import Op, Plan, Primitive, brief, numpy_ops, registry
from .dtypes import common_dtype, default_float
from .floating import ignored
from .floating import state as errors
from .graph import Array, Node, Outline, Tensor
from .modes import recording
from .scopes import current as current_scope
from .shapes import ShapeError, broadcast_shape
from .watching import told, watchers

_new = object.__new__


@overload
def op(forward: Callable[..., Any], /) -> Primitive: ...


@overload
def op(
    forward: None = None,
    *,
    operator: str | None = None,
    method: bool | str | Sequence[str] = False,
    residual: str | None = None,
    broadcast: bool = False,
    floating: bool = False,
    numpy: Any = None,
) -> Callable[[Callable[..., Any]], Primitive]: ...


def op(
    forward: Callable[..., Any] | None = None,
    *,
    operator: str | None = None,
    method: bool | str | Sequence[str] = False,
    residual: str | None = None,
    broadcast: bool = False,
    floating: bool = False,
    numpy: Any = None,
) -> Any:
    """Make `forward`, a function on arrays, an op on arrays and Tensors.

    operator: a Python operator's name ("mul"): installs __mul__, and __rmul__ for two inputs.
    method: also a Tensor method, under the op's own name (True) or under the names given.
    residual: the name of the constant that `forward` returns beside its output, as (out, constant).
    broadcast: inputs of different dtypes are promoted, and the engine sums gradients back to each input's
        shape. Without it, several float dtypes are a TypeError and a gradient must have its input's shape.
    floating: integer inputs become float32 first.
    numpy: the NumPy function that means the same, so that `np.f(tensor)` records this op.
    """
    if forward is None:
        return lambda f: _declare(f, operator, method, residual, broadcast, floating, numpy)
    return _declare(forward, operator, method, residual, broadcast, floating, numpy)


def _declare(
    forward: Callable[..., Any],
    operator: str | None,
    method: bool | str | Sequence[str],
    residual: str | None,
    broadcast: bool,
    floating: bool,
    numpy: Any,
) -> Primitive:
    if forward.__name__ in registry:
        raise TypeError(f"op {forward.__name__!r} is registered already")
    declaration = Op(forward, residual, broadcast, floating)
    apply = _applier(declaration, forward)
    outer = apply
    if residual:

        def outer(*args: Any, **params: Any) -> Any:
            return apply(*args, **params)[0]

    function = typed(Primitive, outer)
    function.__name__, function.__doc__, function.__module__ = declaration.name, forward.__doc__, forward.__module__  # type: ignore[attr-defined]
    function.__qualname__, function.__wrapped__ = declaration.name, forward  # type: ignore[attr-defined]
    function.op, function.vjp, function.vjp_all = declaration, declaration.vjp, declaration.vjp_all
    function.formula, function.flops, function.sample = declaration.formula, declaration.flops, declaration.set_sample
    function.with_residual = apply
    declaration.apply = function
    registry[declaration.name] = declaration
    if method:
        for name in [declaration.name] if method is True else [method] if isinstance(method, str) else method:
            setattr(Tensor, name, function)
    if operator:
        setattr(Tensor, f"__{operator}__", function)
        if len(declaration.inputs) == 2:
            setattr(Tensor, f"__r{operator}__", lambda x, y: function(y, x))
    if numpy is not None:
        numpy_ops[numpy] = function
    return function


def _applier(op: Op, forward: Callable[..., Any]) -> Callable[..., Any]:
    """The function that runs an op: unpack, agree on a dtype, compute, record.

    Written out as one closure because every recorded step of every model passes through it.
    """
    n_inputs, n_params, plans, residual = len(op.inputs), len(op.params), op.plans, op.residual
    floating, variadic = op.floating, op.variadic is not None
    get_plan, tick, is_recording = plans.get, memory.tick, recording.get
    takes_numbers = op.broadcast and not variadic
    one_input = n_inputs == 1 and not variadic and not floating and not residual

    def apply(*args: Any, **params: Any) -> Any:
        if n_params or params or (len(args) != n_inputs and not variadic):
            if one_input and not params and args and type(args[0]) is np.ndarray and Tensor not in map(type, args):
                return _plain(op, args)
            args, params = _bind(op, args, params)
        scope: list[Any] = []
        parents = []
        mask = foreign = 0
        bit = 1
        dtype = None
        plain = agree = True
        for a in args:
            if isinstance(a, Tensor):
                plain = False
                node = a.node
                if node is not None and bit & op.differentiable:
                    mask |= bit
                    parents.append(node)
                a = a.array
                if a.dtype is not dtype:
                    if dtype is None:
                        dtype = a.dtype
                    else:
                        agree = False
            elif type(a) is np.ndarray:
                foreign |= bit
                if a.dtype is not dtype:
                    if dtype is None:
                        dtype = a.dtype
                    else:
                        agree = False
            elif a is not None:
                agree = agree and (type(a) is float or type(a) is int) and takes_numbers
                foreign |= bit
            scope.append(a)
            bit += bit
        if not agree or ((floating or foreign) and (dtype is None or dtype.kind != "f")):
            scope, parents = _agree(op, args, mask)
        token = errors.set(ignored)
        began = perf_counter() if watchers else 0.0
        try:
            out = forward(*scope, **params)
        except Exception as error:
            _explain(op, error, args, scope, params, parents, mask)
            raise
        finally:
            errors.reset(token)
        seconds = perf_counter() - began if watchers else 0.0
        extra = None
        if residual:
            out, extra = out
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        if plain:
            if watchers:
                for block in told():
                    block.saw_plain(op, args, params, out)
            return (out, extra) if residual else out
        tensor = _new(Tensor)
        tensor.array = out
        given = params
        if mask and is_recording() and out.dtype.kind == "f":  # integers have no gradient
            key = mask | bit if variadic else mask  # the bit above all inputs tells how many there are
            plan = get_plan(key)
            if plan is None:
                plan = plans[key] = Plan(op, mask, len(args))
            if foreign & plan.keeps:
                scope = [memory.freeze(a) if foreign >> i & 1 else a for i, a in enumerate(scope)]
            if params:
                params = {name: memory.freeze(value) for name, value in params.items()}
            scope.append(out)
            scope.append(extra)
            tensor.node = node = _new(Node)
            node.plan = plan
            node.parents = parents
            node.saved = plan.save(scope, params)
            node.params = params
            node.shape = out.shape
            node.dtype = out.dtype
            node.order = tick()
            node.watch = None
            node.scope = current_scope.get()
            node.bytes = 0
            if residual:
                node.bytes = _nbytes(extra)
            elif out.base is not None and isinstance(scope[0], np.ndarray):
                node.bytes = -(memory.owner(out) is memory.owner(scope[0]))
            node.constants = ()
            if len(parents) < len(args):
                node.constants = tuple(
                    (i, outline_of(a)) for i, a in enumerate(args) if a is not None and not mask >> i & 1
                )
        else:
            tensor.node = None
        if watchers:
            for block in told():
                block.saw_op(op, args, scope[: len(args)], given, tensor, began, seconds)
        return (tensor, extra) if residual else tensor

    simple = len(op.defaults) == n_params and not residual and not variadic and op.required == n_inputs <= 2
    return _short(op, forward, apply) if simple else apply


def _short(op: Op, forward: Callable[..., Any], apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` with a short way for the common call: one or two Tensors of one float dtype, or a Tensor and a number.

    Everything else, and everything that raises, goes the long way. Saves a third of the time per recorded op.
    """
    get_plan, plans, tick, is_recording = op.plans.get, op.plans, memory.tick, recording.get
    begin, end, every, scope = errors.set, errors.reset, (1 << len(op.inputs)) - 1, current_scope.get
    defaults = op.defaults

    def unary(x: Any = _ABSENT, /, *more: Any, **params: Any) -> Any:
        if (
            (more or params or not isinstance(x, Tensor) or x.array.dtype.kind != "f" or op.differentiable != every)
            or watchers
            or conventions
        ):
            return apply(*(() if x is _ABSENT else (x, *more)), **params)
        array, node = x.array, x.node
        token = begin(ignored)
        try:
            out = forward(array)
        except Exception:
            out = None
        finally:
            end(token)
        if type(out) is not np.ndarray:
            if out is None:
                return apply(x)
            out = np.asarray(out)
        tensor = _new(Tensor)
        tensor.array = out
        if node is None or not is_recording():
            tensor.node = None
            return tensor
        plan = get_plan(1) or plans.setdefault(1, Plan(op, 1, 1))
        tensor.node = made = _new(Node)
        made.plan, made.parents, made.saved = plan, (node,), plan.save((array, out), defaults)
        made.params, made.shape, made.dtype, made.order, made.watch = defaults, out.shape, out.dtype, tick(), None
        made.scope, made.constants, made.bytes = scope(), (), 0
        return tensor

    def binary(x: Any = _ABSENT, y: Any = _ABSENT, /, *more: Any, **params: Any) -> Any:
        if more or params or not isinstance(x, Tensor) or op.differentiable != every or watchers or conventions:
            return apply(*(a for a in (x, y) if a is not _ABSENT), *more, **params)
        parents: Any
        a, node = x.array, x.node
        dtype = a.dtype
        if isinstance(y, Tensor):
            b, other = y.array, y.node
            if b.dtype is not dtype:
                return apply(x, y)
        else:
            b, other = y, None
            if type(y) is not float or not op.broadcast:
                return apply(x) if y is _ABSENT else apply(x, y)
        if dtype.kind != "f":
            return apply(x, y)
        token = begin(ignored)
        try:
            out = forward(a, b)
        except Exception:
            out = None
        finally:
            end(token)
        if type(out) is not np.ndarray:
            if out is None:
                return apply(x, y)
            out = np.asarray(out)
        tensor = _new(Tensor)
        tensor.array = out
        if node is None:
            mask, parents = 2, (other,)
        elif other is None:
            mask, parents = 1, (node,)
        else:
            mask, parents = 3, (node, other)
        if parents[0] is None or not is_recording():
            tensor.node = None
            return tensor
        plan = get_plan(mask) or plans.setdefault(mask, Plan(op, mask, 2))
        tensor.node = made = _new(Node)
        made.plan, made.parents, made.saved = plan, parents, plan.save((a, b, out), defaults)
        made.params, made.shape, made.dtype, made.order, made.watch = defaults, out.shape, out.dtype, tick(), None
        made.scope, made.bytes = scope(), 0
        made.constants = () if mask == 3 else ((2 - mask, outline_of(x if mask == 2 else y)),)
        return tensor

    return unary if len(op.inputs) == 1 else binary


def _explain(
    op: Op,
    error: Exception,
    args: Sequence[Any],
    scope: Sequence[Any],
    params: dict[str, Any],
    parents: Sequence[Node],
    mask: int,
) -> None:
    """Note the call on the error of a forward, or raise the error that it stands for; no frame keeps either."""
    for name, value in zip(op.inputs[: op.required], scope, strict=False):
        if value is None:
            raise TypeError(f"{op.name}: its input {name!r} is None; pass a Tensor, an ndarray or a number") from None
    if op.broadcast and isinstance(error, ValueError):
        try:
            broadcast_shape(*map(np.shape, scope), op=op.name)
        except ShapeError as misfit:  # what NumPy's message stands for
            misfit.failed = _failed(op, args, parents, mask, params)
            raise
    if isinstance(error, ShapeError):
        error.failed = _failed(op, args, parents, mask, params)
    error.add_note(f"in {op.describe(scope, params)}")


def _failed(op: Op, args: Sequence[Any], parents: Sequence[Node], mask: int, params: dict[str, Any]) -> Node | None:
    """The Node of a call that failed, of no shape, for a picture of the graph so far.

    None for an op without rules, and for one on arrays alone, which no picture leads to.
    """
    if (op.joint is None and not op.rules) or not any(isinstance(a, Tensor) for a in args):
        return None
    node = _new(Node)
    node.plan, node.parents, node.saved, node.watch = Plan(op, mask, len(args)), tuple(parents), None, None
    node.params = {name: brief(value) if isinstance(value, np.ndarray) else value for name, value in params.items()}
    node.shape, node.dtype, node.order, node.scope = (), default_float, memory.tick(), current_scope.get()
    node.bytes = 0
    node.constants = tuple((i, outline_of(a)) for i, a in enumerate(args) if a is not None and not mask >> i & 1)
    return node


_ABSENT: Any = object()


def outline_of(a: Any) -> Any:
    """What the graph remembers of an input without gradient; one Outline for a Tensor, however often it is used."""
    if isinstance(a, Tensor):
        try:
            return a.outline
        except AttributeError:
            a.outline = Outline(a.array)
            return a.outline
    return Outline(a) if isinstance(a, np.ndarray) else a


def _nbytes(residual: Any) -> int:
    return sum(getattr(part, "nbytes", 0) for part in (residual if isinstance(residual, tuple) else (residual,)))


_NONE: dict[str, Any] = {}  # the parameters of an op that has none


def _plain(op: Op, args: tuple[Any, ...]) -> Array:
    """An op of one array, which calls for nothing but its forward: how rules call ops during backward."""
    token = errors.set(ignored)
    try:
        out = op.forward(*args)
    finally:
        errors.reset(token)
    out = out if type(out) is np.ndarray else np.asarray(out)
    if watchers:
        for block in told():
            block.saw_plain(op, *_bind(op, args, {}), out)
    return out


_ALIASES = {"dim": "axis", "keepdim": "keepdims"}


def _bind(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Sort the call's arguments into inputs and parameters; PyTorch's dim/keepdim are axis/keepdims."""
    if not op.variadic:
        n = len(op.inputs)
        if len(args) > n:
            if len(args) > n + len(op.params):
                raise TypeError(f"{op.name} takes {op.inputs + op.params}; {len(args)} arguments were given")
            extra = dict(zip(op.params, args[n:], strict=False))
            if twice := extra.keys() & params.keys():
                raise TypeError(f"{op.name}: {sorted(twice)} given twice, by position and by name")
            params.update(extra)
            args = args[:n]
        elif len(args) < n:
            if len(args) < op.required:
                raise TypeError(f"{op.name} needs {op.inputs[: op.required]}; {len(args)} of them were given")
            args += (None,) * (n - len(args))
    if params:
        for alias, name in _ALIASES.items():
            if alias in params and name in op.params:
                if name in params:
                    raise TypeError(f"{op.name}: {alias} and {name} are the same parameter; give one")
                params[name] = params.pop(alias)
        for name, value in params.items():
            if isinstance(value, Tensor):
                if value.node is not None:
                    raise TypeError(
                        f"{op.name}: its parameter {name!r} is a Tensor that requires grad, "
                        "but no gradient flows into a parameter; pass .detach()"
                    )
                params[name] = value.array
            if name not in op.params:
                raise TypeError(f"{op.name} has no parameter {name!r}; it takes {op.inputs + op.params}")
    if len(params) < len(op.params):
        params = op.defaults | (defaults_of(op.name) if conventions else _NONE) | params
        if missing := [name for name in op.params if name not in params]:
            raise TypeError(f"{op.name} needs its parameter {missing[0]!r}")
    return args, params


def _operand(op: Op, i: int, a: Any, args: Sequence[Any]) -> Any:
    """One operand as a Tensor, a plain ndarray, a number or None. Raises TypeError for what is none of these."""
    if isinstance(a, Tensor) or a is None:
        return a
    beside_tensor = any(isinstance(other, Tensor) for other in args)
    beside_array = beside_tensor or any(isinstance(other, np.ndarray) for other in args)
    problem = None
    if isinstance(a, np.ma.MaskedArray):
        problem = "a masked array, whose mask would be lost; fill it first, as with .filled(0)"
    elif isinstance(a, np.ndarray):
        a = np.asarray(a)  # a matrix would multiply as one
        if beside_tensor and a.dtype.kind not in "biuf":
            problem = f"an array of {a.dtype}; beside a Tensor it needs bool, integer or float numbers"
    elif isinstance(a, np.generic):  # a 0-d result of NumPy's arithmetic; alone it keeps its dtype
        a = a.item() if beside_array and op.broadcast else np.asarray(a)
    elif not isinstance(a, (bool, int, float)) and (beside_tensor or not hasattr(a, "numerator")):
        problem = f"a {type(a).__name__}; pass a Tensor, an ndarray or a number"  # a Fraction has a numerator
    if problem is None and not (op.broadcast or isinstance(a, np.ndarray)) and len(args) > 1 and beside_array:
        problem = f"the number {a!r}; pass a Tensor or an ndarray"
    if problem is None:
        return a
    raise TypeError(f"{op.name}: its input {op.variadic or op.inputs[i]!r} is {problem}")


def _agree(op: Op, args: Sequence[Any], mask: int) -> tuple[list[Any], list[Node]]:
    """The operands in one dtype: promoted for broadcasting ops, refused for the others if floats differ.

    Casting a Tensor records a step of its own, so gradients come back in the input's dtype.
    """
    values = [_operand(op, i, a, args) for i, a in enumerate(args)]
    arrays = [a.array if isinstance(a, Tensor) else a for a in values]
    known = [a for a in arrays if a is not None]
    if any(isinstance(a, np.ndarray) and a.dtype.kind == "O" for a in known):
        return arrays, []
    if op.broadcast or not any(isinstance(a, np.ndarray) for a in known):
        target = common_dtype(known)
    else:
        dtypes = sorted({str(a.dtype) for a in known if isinstance(a, np.ndarray)})
        if len(dtypes) > 1:
            shown = ", ".join(
                f"{n} {brief(a)}" for n, a in zip(op.inputs, arrays, strict=False) if isinstance(a, np.ndarray)
            )
            raise TypeError(
                f"{op.name}: its inputs have different dtypes ({shown}); it needs one, "
                f"so cast: x.to({dtypes[0]!r}) or x.to({dtypes[-1]!r})"
            )
        target = next(a.dtype for a in known if isinstance(a, np.ndarray))
    if op.floating and target.kind != "f":
        target = default_float
    scope, parents = [], []
    for i, a in enumerate(values):
        if isinstance(a, (Tensor, np.ndarray)) and a.dtype != target:
            a = registry["cast"].apply(a, target)
        elif isinstance(a, (bool, int, float)) and op.floating:
            a = float(a)
        if isinstance(a, Tensor):
            if mask >> i & 1 and a.node is not None:
                parents.append(a.node)
            a = a.array
        elif isinstance(a, (bool, int, float)) and not any(isinstance(v, np.ndarray) for v in arrays):
            a = np.asarray(a, target)
        scope.append(a)
    return scope, parents
