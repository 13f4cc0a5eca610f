"""The graph: `Tensor`, and the `Node` that remembers how it was made.

The ops are handed to Tensor by their declarations (primitive.py); `backward` and `grad` are in backprop.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload
from typing import cast as typed

import numpy as np
from numpy.typing import NDArray

from . import memory
from .dtypes import as_array
from .scopes import Scope
from .watching import told, watchers

Array = NDArray[Any]

if TYPE_CHECKING:
    import builtins

    from .devices import device as Device

F = TypeVar("F")
_new = object.__new__


class Tensor:
    """An array, and the Node it came from if gradients flow through it.

    data: numbers, nested lists, an array or a Tensor, always copied. Python floats become float32;
        arrays keep their dtype (made native-endian).
    requires_grad: make it a leaf that collects `.grad`; needs a float dtype.

    Raises TypeError for data that is not bool, integer or float, and for a leaf that is not float.
    """

    __slots__ = ("__weakref__", "array", "node", "outline")

    array: Array
    node: "Node | None"
    outline: "Outline"  # set when a recorded op uses this Tensor as a constant

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

        Memory shared with the outside (`from_numpy`) is copied first. Raises RuntimeError on the
        result of a recorded op and TypeError on a dtype that is not float.
        """
        if not self.is_leaf:
            if requires_grad:
                return self
            raise RuntimeError(f"requires_grad_(False): this Tensor is the result of {made_by(self)}; use detach()")
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
            value = value.detach() if isinstance(value, Tensor) else wrap(as_array(value))
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
        out = wrap(self.array)
        if watchers:
            for block in told():
                block.saw_cut("detach", (self,), out)
        return out

    @property
    def data(self) -> "Tensor":
        """The same memory as a Tensor without graph. Assigning puts another array in place of this one."""
        return self.detach()

    @data.setter
    def data(self, value: "Tensor | Array") -> None:
        array = value.array if isinstance(value, Tensor) else as_array(value)
        if array is self.array:
            return
        node = self.node
        if node is not None:
            if array.dtype != self.dtype:
                raise TypeError(f"data: {array.dtype} data for a {self.dtype} Tensor that requires grad; cast it first")
            if array.shape != node.shape and not self.is_leaf:
                raise ValueError(f"data: shape {array.shape} for the result of an op of shape {node.shape}")
            if memory.is_shared(array):
                array = array.copy()
            if array.shape != node.shape:  # a gradient of the old shape has no meaning; the hooks stay
                self.node = _leaf(array)
                self.node.watched().hooks.update(node.watched().hooks)
        self.array = array

    def numpy(self) -> Array:
        """The values as a read-only view (`np.array(t.numpy())` for a copy to write to). Always works."""
        view = self.array.view()
        view.flags.writeable = False
        return view

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
                f"{verb}: this Tensor is the result of {made_by(self)} and hangs in a graph, which cannot be copied; "
                f"{verb} its detach() instead"
            )

    if TYPE_CHECKING:
        # generated by scripts/tensor_methods.py: begin
        @property
        def T(self) -> "Tensor": ...
        def __abs__(self) -> "Tensor": ...
        def __add__(self, y: Any, /) -> "Tensor": ...
        def __and__(self, y: Any, /) -> "Tensor": ...
        def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> Array: ...
        def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any: ...
        def __array_ufunc__(self, ufunc: np.ufunc, call: str, *inputs: Any, **options: Any) -> Any: ...
        def __bool__(self) -> builtins.bool: ...
        def __contains__(self, value: Any) -> builtins.bool: ...
        def __dlpack__(
            self,
            *,
            stream: Any = None,
            max_version: tuple[builtins.int, builtins.int] | None = None,
            dl_device: tuple[builtins.int, builtins.int] | None = None,
            copy: builtins.bool | None = None,
        ) -> "Tensor": ...
        def __dlpack_device__(self) -> tuple[builtins.int, builtins.int]: ...
        def __eq__(self, y: object) -> "Tensor": ...  # type: ignore[override]
        def __float__(self) -> builtins.float: ...
        def __floordiv__(self, y: Any, /) -> "Tensor": ...
        def __format__(self, spec: str) -> str: ...
        def __ge__(self, y: Any, /) -> "Tensor": ...
        def __getitem__(self, index: Any) -> "Tensor": ...
        def __gt__(self, y: Any, /) -> "Tensor": ...
        def __iadd__(self, y: Any) -> Self: ...
        def __imul__(self, y: Any) -> Self: ...
        def __index__(self) -> builtins.int: ...
        def __int__(self) -> builtins.int: ...
        def __invert__(self) -> "Tensor": ...
        def __ipow__(self, y: Any) -> Self: ...
        def __isub__(self, y: Any) -> Self: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __itruediv__(self, y: Any) -> Self: ...
        def __le__(self, y: Any, /) -> "Tensor": ...
        def __len__(self) -> builtins.int: ...
        def __lt__(self, y: Any, /) -> "Tensor": ...
        def __matmul__(self, y: Any, /) -> "Tensor": ...
        def __mod__(self, y: Any, /) -> "Tensor": ...
        def __mul__(self, y: Any, /) -> "Tensor": ...
        def __ne__(self, y: object) -> "Tensor": ...  # type: ignore[override]
        def __neg__(self) -> "Tensor": ...
        def __or__(self, y: Any, /) -> "Tensor": ...
        def __pow__(self, y: Any, /) -> "Tensor": ...
        def __radd__(self, y: Any) -> "Tensor": ...
        def __rand__(self, y: Any) -> "Tensor": ...
        def __repr__(self) -> str: ...
        def __rfloordiv__(self, y: Any) -> "Tensor": ...
        def __rmatmul__(self, y: Any) -> "Tensor": ...
        def __rmod__(self, y: Any) -> "Tensor": ...
        def __rmul__(self, y: Any) -> "Tensor": ...
        def __ror__(self, y: Any) -> "Tensor": ...
        def __rpow__(self, y: Any) -> "Tensor": ...
        def __rsub__(self, y: Any) -> "Tensor": ...
        def __rtruediv__(self, y: Any) -> "Tensor": ...
        def __rxor__(self, y: Any) -> "Tensor": ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __sub__(self, y: Any, /) -> "Tensor": ...
        def __truediv__(self, y: Any, /) -> "Tensor": ...
        def __xor__(self, y: Any, /) -> "Tensor": ...
        def _repr_html_(self) -> str: ...
        def abs(self) -> "Tensor": ...
        def acos(self) -> "Tensor": ...
        def add(self, y: Any, /) -> "Tensor": ...
        def add_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def addcdiv_(self, tensor1: Any, tensor2: Any, *, value: builtins.float = 1) -> "Tensor": ...
        def addcmul_(self, tensor1: Any, tensor2: Any, *, value: builtins.float = 1) -> "Tensor": ...
        def addmm(self, mat1: Any, mat2: Any, *, beta: builtins.float = 1, alpha: builtins.float = 1) -> "Tensor": ...
        def all(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def allclose(
            self,
            other: Any,
            rtol: builtins.float = 1e-05,
            atol: builtins.float = 1e-08,
            equal_nan: builtins.bool = False,
        ) -> builtins.bool: ...
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
        def any(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def arccos(self) -> "Tensor": ...
        def arcsin(self) -> "Tensor": ...
        def arctan(self) -> "Tensor": ...
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
        def argsort(
            self,
            dim: builtins.int | None = None,
            descending: builtins.bool = False,
            stable: builtins.bool = True,
            *,
            axis: builtins.int | None = None,
        ) -> "Tensor": ...
        def asin(self) -> "Tensor": ...
        def atan(self) -> "Tensor": ...
        def backward(
            self,
            gradient: "Tensor | Array | None" = None,
            retain_graph: builtins.bool = False,
            create_graph: builtins.bool = False,
            inputs: "Tensor | Sequence[Tensor] | None" = None,
        ) -> None: ...
        def bincount(self, weights: Any = None, minlength: builtins.int = 0) -> "Tensor": ...
        def bitwise_and(self, y: Any, /) -> "Tensor": ...
        def bitwise_not(self) -> "Tensor": ...
        def bitwise_or(self, y: Any, /) -> "Tensor": ...
        def bitwise_xor(self, y: Any, /) -> "Tensor": ...
        def bmm(self, mat2: Any) -> "Tensor": ...
        def bool(self) -> "Tensor": ...
        def ceil(self) -> "Tensor": ...
        def chunk(
            self, chunks: builtins.int, dim: builtins.int | None = None, *, axis: builtins.int | None = None
        ) -> Any: ...
        def clamp(self, /, min: Any = None, max: Any = None) -> "Tensor": ...
        def clamp_(self, min: builtins.float | None = None, max: builtins.float | None = None) -> "Tensor": ...
        def clip(self, /, min: Any = None, max: Any = None) -> "Tensor": ...
        def clone(self) -> "Tensor": ...
        def contiguous(self) -> "Tensor": ...
        def copy_(self, source: Any) -> "Tensor": ...
        def cos(self) -> "Tensor": ...
        def cosh(self) -> "Tensor": ...
        def count_nonzero(self, dim: Any = None, *, axis: Any = None) -> "Tensor": ...
        def cpu(self) -> "Tensor": ...
        def cuda(self, device: Any = None) -> "Tensor": ...
        def cumprod(self, /, axis: builtins.int, *, dim: Any = None) -> "Tensor": ...
        def cumsum(self, /, axis: builtins.int, *, dim: Any = None) -> "Tensor": ...
        def data_ptr(self) -> builtins.int: ...
        @property
        def device(self) -> "Device": ...
        def diag(self, diagonal: builtins.int = 0) -> "Tensor": ...
        def diagonal(self, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1) -> "Tensor": ...
        def dim(self) -> builtins.int: ...
        def div(self, y: Any, /) -> "Tensor": ...
        def div_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def dot(self, other: Any) -> "Tensor": ...
        def double(self) -> "Tensor": ...
        def element_size(self) -> builtins.int: ...
        def eq(self, y: Any, /) -> "Tensor": ...
        def equal(self, other: Any) -> builtins.bool: ...
        def exp(self) -> "Tensor": ...
        def exp2(self) -> "Tensor": ...
        def expand(self, *sizes: Any) -> "Tensor": ...
        def expand_as(self, other: Any) -> "Tensor": ...
        def expm1(self) -> "Tensor": ...
        def fill_(self, value: builtins.float) -> "Tensor": ...
        def flatten(self, start_dim: builtins.int = 0, end_dim: builtins.int = -1) -> "Tensor": ...
        def flip(self, *axes: Any, dims: Any = None, axis: Any = None) -> "Tensor": ...
        def float(self) -> "Tensor": ...
        def floor(self) -> "Tensor": ...
        def floor_divide(self, y: Any, /) -> "Tensor": ...
        def gather(self, /, axis: builtins.int, index: Any, *, dim: Any = None) -> "Tensor": ...
        def ge(self, y: Any, /) -> "Tensor": ...
        def graph(
            self,
            model: Any = None,
            inputs: Mapping[str, Any] | None = None,
            view: str = "ops",
            depth: builtins.int | None = None,
            fold: builtins.bool | None = None,
            params: str = "nodes",
            focus: str | None = None,
            hops: builtins.int = 2,
            max_nodes: builtins.int = 400,
            title: str | None = None,
            legend: builtins.bool = True,
            direction: str = "TB",
            theme: str = "auto",
            label: Callable[..., Any] | None = None,
        ) -> Any: ...
        def greater(self, y: Any, /) -> "Tensor": ...
        def greater_equal(self, y: Any, /) -> "Tensor": ...
        def gt(self, y: Any, /) -> "Tensor": ...
        def half(self) -> "Tensor": ...
        def index_add(self, dim: builtins.int, index: Any, source: Any, *, alpha: builtins.float = 1) -> "Tensor": ...
        def index_select(self, dim: builtins.int, index: Any) -> "Tensor": ...
        def int(self) -> "Tensor": ...
        def is_contiguous(self) -> builtins.bool: ...
        def is_floating_point(self) -> builtins.bool: ...
        def isclose(
            self,
            other: Any,
            rtol: builtins.float = 1e-05,
            atol: builtins.float = 1e-08,
            equal_nan: builtins.bool = False,
        ) -> "Tensor": ...
        def isfinite(self) -> "Tensor": ...
        def isinf(self) -> "Tensor": ...
        def isnan(self) -> "Tensor": ...
        def item(self) -> Any: ...
        def le(self, y: Any, /) -> "Tensor": ...
        def lerp_(self, end: Any, weight: Any) -> "Tensor": ...
        def less(self, y: Any, /) -> "Tensor": ...
        def less_equal(self, y: Any, /) -> "Tensor": ...
        def log(self) -> "Tensor": ...
        def log10(self) -> "Tensor": ...
        def log1p(self) -> "Tensor": ...
        def log2(self) -> "Tensor": ...
        def log_softmax(self, /, axis: Any, *, dim: Any = None) -> "Tensor": ...
        def logical_and(self, y: Any, /) -> "Tensor": ...
        def logical_not(self) -> "Tensor": ...
        def logical_or(self, y: Any, /) -> "Tensor": ...
        def logical_xor(self, y: Any, /) -> "Tensor": ...
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
        def masked_fill(self, mask: Any, value: Any) -> "Tensor": ...
        def masked_fill_(self, mask: Any, value: builtins.float) -> "Tensor": ...
        def masked_select(self, mask: Any) -> "Tensor": ...
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
        def mm(self, mat2: Any) -> "Tensor": ...
        def movedim(
            self, source: builtins.int | Sequence[builtins.int], destination: builtins.int | Sequence[builtins.int]
        ) -> "Tensor": ...
        def mul(self, y: Any, /) -> "Tensor": ...
        def mul_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def mv(self, vec: Any) -> "Tensor": ...
        def narrow(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> "Tensor": ...
        def ndimension(self) -> builtins.int: ...
        def ne(self, y: Any, /) -> "Tensor": ...
        def neg(self) -> "Tensor": ...
        def nelement(self) -> builtins.int: ...
        def new_empty(
            self, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
        ) -> "Tensor": ...
        def new_full(
            self,
            size: Any,
            fill_value: Any,
            dtype: Any = None,
            device: Any = None,
            requires_grad: builtins.bool = False,
        ) -> "Tensor": ...
        def new_ones(
            self, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
        ) -> "Tensor": ...
        def new_tensor(
            self, data: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
        ) -> "Tensor": ...
        def new_zeros(
            self, *sizes: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
        ) -> "Tensor": ...
        def nonzero(self, *, as_tuple: builtins.bool = False) -> Any: ...
        def norm(
            self, p: Any = "fro", dim: Any = None, keepdim: builtins.bool = False, *, axis: Any = None
        ) -> "Tensor": ...
        def normal_(
            self, mean: builtins.float = 0.0, std: builtins.float = 1.0, *, generator: np.random.Generator | None = None
        ) -> "Tensor": ...
        def not_equal(self, y: Any, /) -> "Tensor": ...
        def numel(self) -> builtins.int: ...
        def outer(self, vec2: Any) -> "Tensor": ...
        def permute(self, *axes: Any, dims: Any = None) -> "Tensor": ...
        def pow(self, y: Any, /) -> "Tensor": ...
        def pow_(self, other: Any, alpha: builtins.float = 1) -> "Tensor": ...
        def prod(
            self,
            /,
            axis: Any = None,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def ravel(self) -> "Tensor": ...
        def reciprocal(self) -> "Tensor": ...
        def relu(self) -> "Tensor": ...
        def remainder(self, y: Any, /) -> "Tensor": ...
        def repeat(self, *sizes: Any) -> "Tensor": ...
        def repeat_interleave(
            self, repeats: Any, dim: builtins.int | None = None, *, axis: builtins.int | None = None
        ) -> "Tensor": ...
        def reshape(self, *sizes: Any, shape: Any = None) -> "Tensor": ...
        def reshape_as(self, other: Any) -> "Tensor": ...
        def roll(
            self,
            shifts: builtins.int | Sequence[builtins.int],
            dims: builtins.int | Sequence[builtins.int] | None = None,
            *,
            axis: Any = None,
        ) -> "Tensor": ...
        def rot90(self, k: builtins.int = 1, dims: Sequence[builtins.int] = (0, 1)) -> "Tensor": ...
        def round(self, /, decimals: builtins.int = 0) -> "Tensor": ...
        def rsqrt(self) -> "Tensor": ...
        def scatter(self, dim: builtins.int, index: Any, src: Any) -> "Tensor": ...
        def scatter_add(self, dim: builtins.int, index: Any, src: Any) -> "Tensor": ...
        def select(self, dim: builtins.int, index: builtins.int) -> "Tensor": ...
        def short(self) -> "Tensor": ...
        def sigmoid(self) -> "Tensor": ...
        def sign(self) -> "Tensor": ...
        def sin(self) -> "Tensor": ...
        def sinh(self) -> "Tensor": ...
        def size(self, dim: builtins.int | None = None) -> Any: ...
        def softmax(self, /, axis: Any, *, dim: Any = None) -> "Tensor": ...
        def sort(
            self,
            dim: builtins.int | None = None,
            descending: builtins.bool = False,
            stable: builtins.bool = True,
            *,
            axis: builtins.int | None = None,
        ) -> Any: ...
        def split(
            self, split_size: Any, dim: builtins.int | None = None, *, axis: builtins.int | None = None
        ) -> Any: ...
        def sqrt(self) -> "Tensor": ...
        def square(self) -> "Tensor": ...
        def squeeze(
            self,
            dim: builtins.int | Sequence[builtins.int] | None = None,
            *,
            axis: builtins.int | Sequence[builtins.int] | None = None,
        ) -> "Tensor": ...
        def std(
            self,
            /,
            axis: Any = None,
            correction: builtins.float = 1,
            keepdims: builtins.bool = False,
            *,
            dim: Any = None,
            keepdim: builtins.bool = False,
        ) -> "Tensor": ...
        def stride(self, dim: builtins.int | None = None) -> Any: ...
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
        def swapaxes(self, dim0: builtins.int, dim1: builtins.int) -> "Tensor": ...
        def t(self) -> "Tensor": ...
        def tan(self) -> "Tensor": ...
        def tanh(self) -> "Tensor": ...
        def tile(self, *dims: Any) -> "Tensor": ...
        def to(
            self,
            *wanted: Any,
            dtype: Any = None,
            device: Any = None,
            non_blocking: builtins.bool = False,
            copy: builtins.bool = False,
        ) -> "Tensor": ...
        def tolist(self) -> Any: ...
        def topk(
            self,
            k: builtins.int,
            dim: builtins.int | None = None,
            largest: builtins.bool = True,
            sorted: builtins.bool = True,
            *,
            axis: builtins.int | None = None,
        ) -> Any: ...
        def trace(self) -> "Tensor": ...
        def transpose(self, dim0: builtins.int, dim1: builtins.int) -> "Tensor": ...
        def tril(self, diagonal: builtins.int = 0) -> "Tensor": ...
        def triu(self, diagonal: builtins.int = 0) -> "Tensor": ...
        def trunc(self) -> "Tensor": ...
        def type_as(self, other: Any) -> "Tensor": ...
        def unbind(self, dim: builtins.int | None = None, *, axis: builtins.int | None = None) -> Any: ...
        def unflatten(self, dim: builtins.int, sizes: Sequence[builtins.int]) -> "Tensor": ...
        def uniform_(
            self, a: builtins.float = 0.0, b: builtins.float = 1.0, *, generator: np.random.Generator | None = None
        ) -> "Tensor": ...
        def unique(
            self,
            sorted: builtins.bool = True,
            return_inverse: builtins.bool = False,
            return_counts: builtins.bool = False,
            dim: builtins.int | None = None,
            *,
            axis: builtins.int | None = None,
        ) -> Any: ...
        def unsqueeze(self, dim: builtins.int | None = None, *, axis: builtins.int | None = None) -> "Tensor": ...
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
        def view(self, *sizes: Any, shape: Any = None) -> "Tensor": ...
        def view_as(self, other: Any) -> "Tensor": ...
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


def made_by(tensor: Tensor) -> str:
    """The name of the op whose result this Tensor is."""
    return tensor.node.plan.op.name if tensor.node is not None and tensor.node.plan is not None else "no op"


class Watch:
    """What somebody wants to know at one Node: the gradient kept there, the hooks on it, what `watch` saw of it."""

    __slots__ = ("grad", "hooks", "keep", "record")

    def __init__(self, keep: bool) -> None:
        self.grad: Tensor | None = None
        self.record: Any = None  # a records.Record
        self.hooks: dict[int, Callable[[Tensor], Tensor | None]] = {}
        self.keep = keep


class Hook:
    """A registered hook; `remove()` takes it out again. Also a context manager."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._key = hooks, memory.tick()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook out; harmless when it is out already."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> "Hook":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Outline:
    """What the graph remembers of a constant: enough to draw it, and where a gradient stopped on its way."""

    __slots__ = ("__weakref__", "cuts", "dtype", "order", "shape")

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype, self.order = array.shape, array.dtype, memory.tick()
        self.cuts: tuple[Cut, ...] = ()  # the latest first


@dataclass(frozen=True, slots=True)
class Cut:
    """Why no gradient flows to `sources`: `op` made something of them, and `why` ("no_grad", or an op) ends it."""

    op: str
    why: str
    sources: "tuple[Node, ...]"
    line: tuple[str, int] | None


class Node:
    """One recorded step: which plan, on which nodes, and the values that its gradient rules asked for.

    A Node never refers to the Tensor it made, so a graph has no reference cycles and dies with its last
    Tensor. A leaf is a Node without a plan. After a backward `saved` is None, and the rest stays as the
    skeleton that diagrams read. In a checkpoint `saved` is an empty tuple that can `recall` the values.
    """

    __slots__ = (
        "__weakref__",
        "bytes",
        "constants",
        "dtype",
        "order",
        "params",
        "parents",
        "plan",
        "saved",
        "scope",
        "shape",
        "watch",
    )

    plan: Any  # how to run backward, a primitive.Plan; None for a leaf
    parents: Sequence["Node"]
    saved: tuple[Any, ...] | None
    params: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int  # of the residual that the forward returned; -1 where the output shows the memory of the first input
    order: int  # from memory.tick: later than its parents, comparable with changes in place
    watch: Watch | None
    scope: Scope | None  # the module it was recorded in
    constants: tuple[tuple[int, Any], ...]  # (index of the input, its Outline or the number) where no gradient flows

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
    node.scope, node.constants, node.bytes = None, (), 0
    return node


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
