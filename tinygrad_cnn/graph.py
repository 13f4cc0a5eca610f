"""The graph: `Tensor`, the `Node` that remembers how it was made, and the `op` decorator.

An op is one function on arrays plus one gradient rule per input:

    @op(operator="mul", broadcast=True)
    def mul(x, y, /):
        "Elementwise product."
        return x * y

    mul.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)

Before the slash stand the differentiable arrays, after it the plain parameters. A rule takes the
output's gradient `g` first; its other argument names say what the graph keeps for it: an input (`x`),
only an input's shape (`x_shape`), the output (`out`), a parameter (`axis`), or the constant that the
forward returned beside its output (`@op(residual="winners")`).

Rules are written with the ops themselves. On arrays an op computes an array; on Tensors it records a
Node. `backward` (backprop.py) feeds the rules arrays; `grad(create_graph=True)` feeds the same rules
Tensors, so that the gradient comes out differentiable.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload
from typing import cast as typed

import numpy as np
from numpy.typing import NDArray

from . import memory
from .dtypes import as_array, common_dtype, default_float
from .modes import recording
from .shapes import broadcast_shape

Array = NDArray[Any]

registry: dict[str, "Op"] = {}  # every op by name: docs, diagrams and the property tests walk this
numpy_ops: dict[Any, "Primitive"] = {}  # NumPy's own functions -> ops, for __array_ufunc__ and __array_function__

if TYPE_CHECKING:
    import builtins

F = TypeVar("F")
_new = object.__new__


class Tensor:
    """An array, and the Node it came from if gradients flow through it.

    data: numbers, nested lists, an array or a Tensor, always copied. Python floats become float32;
        arrays keep their dtype (made native-endian).
    requires_grad: make it a leaf that collects `.grad`; needs a float dtype.

    Raises TypeError for data that is not bool, integer or float, and for a leaf that is not float.
    """

    __slots__ = ("__weakref__", "array", "node")

    array: Array
    node: "Node | None"

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self.array = as_array(data.array if isinstance(data, Tensor) else data, dtype)
        self.node = None
        if requires_grad:
            self.node = _leaf(self.array)

    shape = typed("tuple[int, ...]", property(lambda self: self.array.shape, doc="The length of each axis."))
    ndim = typed(int, property(lambda self: self.array.ndim, doc="The number of axes."))
    dtype = typed("np.dtype[Any]", property(lambda self: self.array.dtype, doc="The NumPy dtype."))
    is_leaf = typed(
        bool,
        property(lambda self: self.node is None or self.node.plan is None, doc="Whether no recorded op made it."),
    )

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through this Tensor. Settable on leaves, like `requires_grad_`."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Start or stop collecting a gradient here, in place. Stopping drops the gradient collected so far.

        Memory shared with the outside (`from_numpy`, DLPack) is copied first. Raises RuntimeError on the
        result of a recorded op and TypeError on a dtype that is not float.
        """
        if not self.is_leaf:
            if requires_grad:
                return self
            raise RuntimeError(f"requires_grad_(False): this Tensor is the result of {_made_by(self)}; use detach()")
        if requires_grad and self.node is None:
            self.node = _leaf(self.array)
            if memory.is_shared(self.array):
                self.array = self.array.copy()
        elif not requires_grad:
            self.node = None
        return self

    @property
    def grad(self) -> "Tensor | None":
        """The gradient collected by `backward()`; on a result of an op only after `retain_grad()`."""
        node = self.node
        return None if node is None or node.watch is None else node.watch.grad

    @grad.setter
    def grad(self, value: "Tensor | Array | None") -> None:
        if value is not None:
            value = value.detach() if isinstance(value, Tensor) else wrap(np.array(value))
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(
                    f"grad: a gradient of {_kind(value.array)} was given to a Tensor of {_kind(self.array)}; "
                    "shape and dtype must be the same"
                )
        if self.node is not None:
            self.node.watched().grad = value
        elif value is not None:
            raise RuntimeError("grad: this Tensor does not require grad; call requires_grad_() first")

    def retain_grad(self) -> None:
        """Keep `.grad` here too, although this is the result of an op. Raises RuntimeError without a graph."""
        if self.node is None:
            raise RuntimeError("retain_grad: this Tensor does not require grad, so no gradient ever reaches it")
        self.node.watched().keep = True

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> "Hook":
        """Call `hook(gradient)` whenever a backward has summed this Tensor's gradient; a result replaces it.

        Returns a handle whose `remove()` takes the hook out. Raises RuntimeError without a graph.
        """
        if self.node is None:
            raise RuntimeError("register_hook: this Tensor does not require grad, so no gradient ever reaches it")
        return Hook(self.node.watched().hooks, hook)

    def detach(self) -> "Tensor":
        """The same memory without the graph: no gradient flows through the result."""
        return wrap(self.array)

    @property
    def data(self) -> "Tensor":
        """The same memory as a Tensor without graph. Assigning puts another array in place of this one."""
        return wrap(self.array)

    @data.setter
    def data(self, value: "Tensor | Array") -> None:
        array = value.array if isinstance(value, Tensor) else as_array(value)
        if array is self.array:
            return
        if self.node is not None and array.dtype != self.dtype:
            raise TypeError(f"data: {array.dtype} data for a {self.dtype} Tensor that requires grad; cast it first")
        self.array = array
        if self.node is not None and array.shape != self.node.shape:
            if not self.is_leaf:
                raise ValueError(f"data: shape {array.shape} for the result of an op of shape {self.node.shape}")
            self.node = _leaf(array)

    def numpy(self) -> Array:
        """The values as a read-only view (`np.array(t.numpy())` for a copy to write to). Always works."""
        view = self.array.view()
        view.flags.writeable = False
        return view

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="Tensor(", threshold=1000, edgeitems=3)
        parts = [values]
        if 0 in self.shape:
            parts.append(f"shape={self.shape}")
        if self.dtype not in (default_float, np.int64, np.bool_):
            parts.append(f"dtype={self.dtype}")
        if self.node is not None:
            parts.append("requires_grad=True" if self.is_leaf else f"from {_made_by(self)}")
        return f"Tensor({', '.join(parts)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        self._refuse_to_copy("deepcopy")
        copy = _rebuild(type(self), self.array.copy(), self.requires_grad)
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = wrap(self.grad.array.copy())
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        self._refuse_to_copy("pickle")
        return _rebuild, (type(self), self.array, self.requires_grad)

    def _refuse_to_copy(self, verb: str) -> None:
        if not self.is_leaf:
            raise RuntimeError(
                f"{verb}: this Tensor is the result of {_made_by(self)} and hangs in a graph, which cannot be copied; "
                f"{verb} its detach() instead"
            )

    if TYPE_CHECKING:
        # generated by scripts/tensor_methods.py: begin
        @property
        def T(self) -> "Tensor": ...
        def __abs__(self) -> "Tensor": ...
        def __add__(self, y: Any, /) -> "Tensor": ...
        def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> Array: ...
        def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any: ...
        def __array_ufunc__(self, ufunc: np.ufunc, call: str, *inputs: Any, **options: Any) -> Any: ...
        def __bool__(self) -> builtins.bool: ...
        def __contains__(self, value: Any) -> builtins.bool: ...
        def __eq__(self, y: object) -> "Tensor": ...  # type: ignore[override]
        def __float__(self) -> builtins.float: ...
        def __format__(self, spec: str) -> str: ...
        def __ge__(self, y: Any, /) -> "Tensor": ...
        def __getitem__(self, index: Any) -> "Tensor": ...
        def __gt__(self, y: Any, /) -> "Tensor": ...
        def __iadd__(self, y: Any) -> "Tensor": ...
        def __imul__(self, y: Any) -> "Tensor": ...
        def __index__(self) -> builtins.int: ...
        def __int__(self) -> builtins.int: ...
        def __ipow__(self, y: Any) -> "Tensor": ...
        def __isub__(self, y: Any) -> "Tensor": ...
        def __iter__(self) -> Iterator[Any]: ...
        def __itruediv__(self, y: Any) -> "Tensor": ...
        def __le__(self, y: Any, /) -> "Tensor": ...
        def __len__(self) -> builtins.int: ...
        def __lt__(self, y: Any, /) -> "Tensor": ...
        def __matmul__(self, y: Any, /) -> "Tensor": ...
        def __mul__(self, y: Any, /) -> "Tensor": ...
        def __ne__(self, y: object) -> "Tensor": ...  # type: ignore[override]
        def __neg__(self) -> "Tensor": ...
        def __pow__(self, y: Any, /) -> "Tensor": ...
        def __radd__(self, y: Any) -> "Tensor": ...
        def __rmatmul__(self, y: Any) -> "Tensor": ...
        def __rmul__(self, y: Any) -> "Tensor": ...
        def __rpow__(self, y: Any) -> "Tensor": ...
        def __rsub__(self, y: Any) -> "Tensor": ...
        def __rtruediv__(self, y: Any) -> "Tensor": ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __sub__(self, y: Any, /) -> "Tensor": ...
        def __truediv__(self, y: Any, /) -> "Tensor": ...
        def abs(self) -> "Tensor": ...
        def add(self, y: Any, /) -> "Tensor": ...
        def add_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def amax(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def amin(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def argmax(
            self,
            /,
            axis: builtins.int | None = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def argmin(
            self,
            /,
            axis: builtins.int | None = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def backward(
            self,
            gradient: "Tensor | Array | None" = None,
            retain_graph: builtins.bool = False,
            create_graph: builtins.bool = False,
            inputs: "Tensor | Sequence[Tensor] | None" = None,
        ) -> None: ...
        def bool(self) -> "Tensor": ...
        def clamp(self, /, min: Any = None, max: Any = None) -> "Tensor": ...
        def clamp_(self, min: builtins.float | None = None, max: builtins.float | None = None) -> "Tensor": ...
        def clip(self, /, min: Any = None, max: Any = None) -> "Tensor": ...
        def clone(self) -> "Tensor": ...
        def contiguous(self) -> "Tensor": ...
        def copy_(self, source: Any) -> "Tensor": ...
        def cos(self) -> "Tensor": ...
        def dim(self) -> builtins.int: ...
        def div(self, y: Any, /) -> "Tensor": ...
        def div_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def double(self) -> "Tensor": ...
        def eq(self, y: Any, /) -> "Tensor": ...
        def exp(self) -> "Tensor": ...
        def expand(self, *sizes: Any) -> "Tensor": ...
        def fill_(self, value: builtins.float) -> "Tensor": ...
        def flatten(self, start_dim: builtins.int = 0, end_dim: builtins.int = -1) -> "Tensor": ...
        def flip(self, *dims: Any) -> "Tensor": ...
        def float(self) -> "Tensor": ...
        def ge(self, y: Any, /) -> "Tensor": ...
        def greater(self, y: Any, /) -> "Tensor": ...
        def greater_equal(self, y: Any, /) -> "Tensor": ...
        def gt(self, y: Any, /) -> "Tensor": ...
        def half(self) -> "Tensor": ...
        def int(self) -> "Tensor": ...
        def isfinite(self) -> "Tensor": ...
        def isnan(self) -> "Tensor": ...
        def item(self) -> Any: ...
        def le(self, y: Any, /) -> "Tensor": ...
        def less(self, y: Any, /) -> "Tensor": ...
        def less_equal(self, y: Any, /) -> "Tensor": ...
        def log(self) -> "Tensor": ...
        def logsumexp(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def long(self) -> "Tensor": ...
        def lt(self, y: Any, /) -> "Tensor": ...
        @property
        def mT(self) -> "Tensor": ...
        def matmul(self, y: Any, /) -> "Tensor": ...
        def max(
            self, dim: Any = None, keepdim: builtins.bool = False, *, axis: Any = None, keepdims: builtins.bool = False
        ) -> Any: ...
        def maximum(self, y: Any, /) -> "Tensor": ...
        def mean(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def min(
            self, dim: Any = None, keepdim: builtins.bool = False, *, axis: Any = None, keepdims: builtins.bool = False
        ) -> Any: ...
        def minimum(self, y: Any, /) -> "Tensor": ...
        def mul(self, y: Any, /) -> "Tensor": ...
        def mul_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def ne(self, y: Any, /) -> "Tensor": ...
        def neg(self) -> "Tensor": ...
        def not_equal(self, y: Any, /) -> "Tensor": ...
        def numel(self) -> builtins.int: ...
        def permute(self, *dims: Any) -> "Tensor": ...
        def pow(self, y: Any, /) -> "Tensor": ...
        def pow_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def relu(self) -> "Tensor": ...
        def reshape(self, *shape: Any) -> "Tensor": ...
        def sigmoid(self) -> "Tensor": ...
        def sign(self) -> "Tensor": ...
        def sin(self) -> "Tensor": ...
        def size(self, dim: builtins.int | None = None) -> Any: ...
        def sqrt(self) -> "Tensor": ...
        def square(self) -> "Tensor": ...
        def squeeze(self, dim: builtins.int | Sequence[builtins.int] | None = None) -> "Tensor": ...
        def sub(self, y: Any, /) -> "Tensor": ...
        def sub_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def sum(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def tanh(self) -> "Tensor": ...
        def to(self, dtype: Any) -> "Tensor": ...
        def tolist(self) -> Any: ...
        def transpose(self, dim0: builtins.int, dim1: builtins.int) -> "Tensor": ...
        def unsqueeze(self, dim: builtins.int) -> "Tensor": ...
        def var(
            self,
            /,
            axis: Any = None,
            correction: builtins.float = 1,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def zero_(self) -> "Tensor": ...

        # generated by scripts/tensor_methods.py: end

        __hash__ = object.__hash__


def _rebuild(kind: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    tensor = _new(kind)
    tensor.array, tensor.node = array, _leaf(array) if requires_grad else None
    return tensor


def wrap(array: Array, node: "Node | None" = None) -> Tensor:
    """A Tensor around an existing array, without the copy and the checks of Tensor()."""
    tensor = _new(Tensor)
    tensor.array, tensor.node = array, node
    return tensor


def from_numpy(array: Array) -> Tensor:
    """A Tensor that shares the memory of `array`: later writes to either are seen by both, and by no check.

    `Tensor(array)` copies and is safe. `requires_grad_()` on the result copies first.
    Raises TypeError unless `array` is a native-endian bool, integer or float ndarray.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: an ndarray is needed, not a {type(array).__name__}; use Tensor(data)")
    if array.dtype.kind not in "biuf" or not array.dtype.isnative:
        raise TypeError(f"from_numpy: {array.dtype.str} data cannot be shared; use Tensor(array), which converts")
    memory.mark_shared(array)
    return wrap(array.view(np.ndarray))


def _kind(array: Array) -> str:
    return f"{array.dtype} {tuple(array.shape)}"


def _made_by(tensor: Tensor) -> str:
    return tensor.node.plan.op.name if tensor.node is not None and tensor.node.plan is not None else "no op"


class Watch:
    """What somebody wants to know at one Node: the gradient kept there, and the hooks on it."""

    __slots__ = ("grad", "hooks", "keep")

    def __init__(self, keep: bool) -> None:
        self.grad: Tensor | None = None
        self.hooks: dict[int, Callable[[Tensor], Tensor | None]] = {}
        self.keep = keep


class Hook:
    """A registered hook; `remove()` takes it out again. Also a context manager."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks, self._key = hooks, memory.tick()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook out; harmless when it is out already."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> "Hook":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Node:
    """One recorded step: which plan, on which nodes, and the values that its gradient rules asked for.

    A Node never refers to the Tensor it made, so a graph has no reference cycles and dies with its last
    Tensor. A leaf is a Node without a plan. After a backward `saved` is None, and the rest stays as the
    skeleton that diagrams read.
    """

    __slots__ = ("__weakref__", "dtype", "order", "params", "parents", "plan", "saved", "shape", "watch")

    plan: "Plan | None"
    parents: Sequence["Node"]
    saved: tuple[Any, ...] | None
    params: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: int  # from memory.tick: later than its parents, comparable with changes in place
    watch: Watch | None

    def watched(self) -> Watch:
        """The Watch of this Node, made at first use."""
        if self.watch is None:
            self.watch = Watch(keep=False)
        return self.watch


def _leaf(array: Array) -> Node:
    if array.dtype.kind != "f":
        raise TypeError(f"requires_grad: a {array.dtype} Tensor has no gradient; make it float first, as with .float()")
    node = _new(Node)
    node.plan, node.parents, node.saved, node.params, node.watch = None, (), (), {}, Watch(keep=True)
    node.shape, node.dtype, node.order = array.shape, array.dtype, memory.tick()
    return node


class Primitive(Protocol):
    """An op as users call it: a function on arrays and Tensors, and its declaration."""

    op: "Op"
    vjp: Callable[..., None]
    vjp_all: Callable[[Callable[..., Any]], None]
    sample: Callable[[Callable[..., Any]], Callable[..., Any]]
    with_residual: Callable[..., tuple[Any, Any]]

    def __call__(self, *args: Any, **params: Any) -> Any: ...


class Op:
    """A primitive's declaration: its function on arrays, its rules, and a Plan per set of inputs wanting gradients."""

    apply: Primitive

    def __init__(self, forward: Callable[..., Any], residual: str | None, broadcast: bool, floating: bool) -> None:
        self.forward, self.name, self.residual = forward, forward.__name__, residual
        self.broadcast, self.floating = broadcast, floating
        signature = inspect.signature(forward).parameters.values()
        self.variadic = next((p.name for p in signature if p.kind is p.VAR_POSITIONAL), None)
        inputs = [p for p in signature if p.kind is p.POSITIONAL_ONLY]
        self.inputs = [self.variadic] if self.variadic else [p.name for p in inputs]
        self.required = sum(p.default is p.empty for p in inputs)
        plain = [p for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.params = [p.name for p in plain]
        self.defaults = {p.name: p.default for p in plain if p.default is not p.empty}
        self.rules: dict[str, Callable[..., Any] | None] = {}
        self.joint: Callable[..., Any] | None = None
        self.sample: Callable[..., Any] | None = None
        self.plans: dict[int, Plan] = {}
        self.differentiable = -1  # bit mask of the inputs that have a rule; all, until vjp says which

    def vjp(self, **rules: Callable[..., Any] | None) -> None:
        """Set the gradient rule of each input; None where no gradient flows.

        Raises TypeError if an input has no rule, or a rule asks for a name that the op does not have.
        """
        if set(rules) != set(self.inputs) or self.variadic:
            raise TypeError(f"{self.name}: rules for {sorted(rules)}, but the inputs are {self.inputs}")
        self.rules = rules
        self.differentiable = sum(1 << i for i, name in enumerate(self.inputs) if rules[name] is not None)
        Plan(self, self.differentiable, len(self.inputs))  # a misspelt name fails here, not in backward
        self.plans.clear()

    def vjp_all(self, rule: Callable[..., Any]) -> None:
        """Set one rule that returns the gradients of all inputs, in order; `needs` says which are wanted.

        For variadic ops, and where separate rules would repeat heavy work.
        """
        self.joint, self.differentiable = rule, -1
        Plan(self, 1, 1 if self.variadic else len(self.inputs))
        self.plans.clear()

    def set_sample(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        """Set the function that draws inputs for the property tests: sample(draw) -> (arrays, params)."""
        self.sample = sample
        return sample

    def describe(self, scope: Sequence[Any], params: dict[str, Any]) -> str:
        """The call with dtypes and shapes instead of values, for error messages."""
        names = [f"{self.variadic}[{i}]" for i in range(len(scope))] if self.variadic else self.inputs
        parts = [f"{name}: {_brief(value)}" for name, value in zip(names, scope, strict=False) if value is not None]
        return f"{self.name}({', '.join(parts + [f'{k}={_brief(v)}' for k, v in params.items()])})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Plan:
    """How one op runs backward when the inputs in the bit mask want gradients.

    steps[k] is the k-th wanted input's index and rule, wants[k] the names that the rule asks for. `save(scope, params)`
    gives the arguments of each rule; links[k] says where each of them hangs in the graph, for create_graph:
    an index into `Node.parents`, -1 for the Node's own output, None for a constant.
    """

    def __init__(self, op: Op, mask: int, n_inputs: int) -> None:
        self.op, self.indices = op, [i for i in range(n_inputs) if mask >> i & 1]
        self.joint, self.n_inputs = op.joint, n_inputs
        self.keeps = 0  # bit mask of the inputs whose value is kept
        if op.joint is None and not op.rules:
            raise TypeError(f"{op.name} has no gradient rules; declare them with {op.name}.vjp(...)")
        if op.joint is None:
            rules = [(i, typed("Callable[..., Any]", op.rules[op.inputs[i]])) for i in self.indices]
        else:
            rules = [(0, op.joint)]
        self.steps = rules
        self.wants = [list(inspect.signature(rule).parameters)[1:] for _, rule in rules]
        place = {i: k for k, i in enumerate(self.indices)}
        self.links: list[list[Any]] = []
        calls = []
        for wants in self.wants:
            found = [self._find(want, n_inputs, place) for want in wants]
            calls.append("(" + "".join(code + "," for code, _ in found) + ")")
            self.links.append([link for _, link in found])
        needs = tuple(bool(mask >> i & 1) for i in range(n_inputs))
        # The rules' names, compiled once into a function that picks the values out: the list above as code.
        self.save: Callable[[Sequence[Any], dict[str, Any]], tuple[Any, ...]] = eval(
            f"lambda s, p: ({''.join(call + ',' for call in calls)})", {"shape": np.shape, "needs": needs}
        )

    def _find(self, want: str, n_inputs: int, place: dict[int, int]) -> tuple[str, Any]:
        """Python code that picks `want` from scope `s` and params `p`, and its link."""
        op = self.op
        if want in op.params:
            return f"p[{want!r}]", None
        if want == "out":
            return f"s[{n_inputs}]", -1
        if want == op.residual:
            return f"s[{n_inputs + 1}]", None
        if want == "needs" and op.joint:
            return "needs", None
        name = want.removesuffix("_shape")
        if op.variadic and name == op.variadic:
            if name != want:
                return f"[shape(a) for a in s[:{n_inputs}]]", None
            self.keeps = (1 << n_inputs) - 1
            return f"tuple(s[:{n_inputs}])", [place.get(i) for i in range(n_inputs)]
        if name in op.inputs:
            i = op.inputs.index(name)
            if name != want:
                return f"shape(s[{i}])", None
            self.keeps |= 1 << i
            return f"s[{i}]", place.get(i)
        shapes = [f"{name}_shape" for name in op.inputs]
        allowed = [
            *op.inputs,
            *shapes,
            "out",
            *filter(None, [op.residual]),
            *op.params,
            *(["needs"] if op.joint else []),
        ]
        raise TypeError(f"{op.name}: a gradient rule asks for {want!r}; it can have {', '.join(allowed)}")


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
    function.sample, function.with_residual = declaration.set_sample, apply
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
                agree = agree and (type(a) is float or type(a) is int) and not variadic
                foreign |= bit
            scope.append(a)
            bit += bit
        if not agree or ((floating or foreign) and (dtype is None or dtype.kind != "f")):
            scope, parents = _agree(op, args, mask)
        try:
            out = forward(*scope, **params)
        except (FloatingPointError, RuntimeWarning):
            with np.errstate(all="ignore"):
                out = forward(*scope, **params)
        except Exception as error:
            if op.broadcast and isinstance(error, ValueError):
                broadcast_shape(*map(np.shape, scope), op=op.name)  # the ShapeError that NumPy's message stands for
            error.add_note(f"in {op.describe(scope, params)}")
            raise
        extra = None
        if residual:
            out, extra = out
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        if plain:
            return (out, extra) if residual else out
        tensor = _new(Tensor)
        tensor.array = out
        if mask and is_recording():
            plan = get_plan(mask)
            if plan is None:
                plan = plans[mask] = Plan(op, mask, len(args))
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
        else:
            tensor.node = None
        return (tensor, extra) if residual else tensor

    simple = not n_params and not residual and not variadic and op.required == n_inputs <= 2
    return _short(op, forward, apply) if simple else apply


def _short(op: Op, forward: Callable[..., Any], apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` with a short way for the common call: one or two Tensors of one float dtype, or a Tensor and a number.

    Everything else, and everything that raises, goes the long way. Saves a quarter of the time per recorded op.
    """
    get_plan, plans, tick, is_recording, two = op.plans.get, op.plans, memory.tick, recording.get, len(op.inputs) == 2
    every = (1 << len(op.inputs)) - 1

    def short(*args: Any, **params: Any) -> Any:
        b: Any
        scope: tuple[Any, ...]
        parents: list[Any]
        if op.differentiable != every:
            return apply(*args, **params)
        if two:
            if params or len(args) != 2:
                return apply(*args, **params)
            x, y = args
            if not isinstance(x, Tensor):
                return apply(x, y)
            a, node = x.array, x.node
            dtype = a.dtype
            if isinstance(y, Tensor):
                b, other = y.array, y.node
                if b.dtype is not dtype or dtype.kind != "f":
                    return apply(x, y)
            elif type(y) is float and dtype.kind == "f":
                b, other = y, None
            else:
                return apply(x, y)
            scope = (a, b)
        else:
            if params or len(args) != 1:
                return apply(*args, **params)
            (x,) = args
            if not isinstance(x, Tensor) or x.array.dtype.kind != "f":
                return apply(x)
            node, other = x.node, None
            scope = (x.array,)
        try:
            out = forward(*scope)
        except Exception:
            return apply(*args)
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        tensor = _new(Tensor)
        tensor.array = out
        if (node is None and other is None) or not is_recording():
            tensor.node = None
            return tensor
        if other is None:
            mask, parents = 1, [node]
        elif node is None:
            mask, parents = 2, [other]
        else:
            mask, parents = 3, [node, other]
        plan = get_plan(mask)
        if plan is None:
            plan = plans[mask] = Plan(op, mask, len(scope))
        tensor.node = made = _new(Node)
        made.plan = plan
        made.parents = parents
        made.saved = plan.save((*scope, out), _NONE)
        made.params = _NONE
        made.shape = out.shape
        made.dtype = out.dtype
        made.order = tick()
        made.watch = None
        return tensor

    return short


_NONE: dict[str, Any] = {}  # the parameters of an op that has none


def _plain(op: Op, args: tuple[Any, ...]) -> Array:
    """An op of one array, which calls for nothing but its forward: how rules call ops during backward."""
    try:
        out = op.forward(*args)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            out = op.forward(*args)
    return out if type(out) is np.ndarray else np.asarray(out)


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
        params = op.defaults | params
        if missing := [name for name in op.params if name not in params]:
            raise TypeError(f"{op.name} needs its parameter {missing[0]!r}")
    return args, params


def _agree(op: Op, args: Sequence[Any], mask: int) -> tuple[list[Any], list[Node]]:
    """The operands in one dtype: promoted for broadcasting ops, refused for the others if floats differ.

    Casting a Tensor records a step of its own, so gradients come back in the input's dtype.
    """
    alone = not any(isinstance(a, (Tensor, np.ndarray)) for a in args)
    values: list[Any] = []
    for i, a in enumerate(args):
        if isinstance(a, np.generic):  # a 0-d result of NumPy's arithmetic; alone it keeps its dtype
            values.append(np.asarray(a) if alone else a.item())
        elif isinstance(a, (Tensor, np.ndarray, float)) or a is None or hasattr(a, "numerator"):
            values.append(a)  # bool, int and Fraction (in exact checks) have a numerator
        else:
            name = op.variadic or op.inputs[i]
            raise TypeError(
                f"{op.name}: its input {name!r} is a {type(a).__name__}; pass a Tensor, an ndarray or a number"
            )
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
                f"{n} {_kind(a)}" for n, a in zip(op.inputs, arrays, strict=False) if isinstance(a, np.ndarray)
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


@overload
def method(name: str) -> Callable[[F], F]: ...


@overload
def method(name: F) -> F: ...


def method(name: Any) -> Any:
    """Make a function that is composed of ops a Tensor method, under its own name or the one given."""
    if not isinstance(name, str):
        setattr(Tensor, name.__name__, name)
        return name

    def attach(function: Any) -> Any:
        setattr(Tensor, name, function)
        return function

    return attach
