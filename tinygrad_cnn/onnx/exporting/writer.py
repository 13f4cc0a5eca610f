"""The nodes and constants of an ONNX graph, written through Values that add and multiply like arrays."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .dims import Dim, Length, Shape, fixed

__all__ = ["SINGLE", "Value", "Writer"]

# What onnxruntime computes on a CPU in float32 but not in float64; found by asking it for each.
SINGLE = frozenset(
    {"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "Celu", "Col2Im", "Conv", "ConvTranspose"}
    | {
        "Cosh",
        "Elu",
        "Erf",
        "HardSigmoid",
        "HardSwish",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "LeakyRelu",
        "Resize",
        "Sinh",
        "Softplus",
        "Softsign",
        "Tan",
    }
)
NOT_HALF = frozenset({"Celu", "IsInf", "ScatterElements"})  # and what is not there in float16
LAST, FIRST = 2**63 - 1, -(2**63)


class Value:
    """A named value of the graph, with its dtype, and the shape where it is known."""

    __slots__ = ("dtype", "name", "shape", "writer")

    def __init__(self, writer: "Writer", name: str, dtype: Any, shape: Shape | None = None) -> None:
        self.writer, self.name, self.dtype, self.shape = writer, name, np.dtype(dtype), shape

    def __add__(self, other: Any) -> "Value":
        return self.writer.node("Add", self, other)

    def __sub__(self, other: Any) -> "Value":
        return self.writer.node("Sub", self, other)

    def __rsub__(self, other: Any) -> "Value":
        return self.writer.node("Sub", self.writer.like(other, self), self)

    def __mul__(self, other: Any) -> "Value":
        return self.writer.node("Mul", self, other)

    def __truediv__(self, other: Any) -> "Value":
        return self.writer.node("Div", self, other)

    def __pow__(self, other: Any) -> "Value":
        return self.writer.node("Pow", self, other)

    def __neg__(self) -> "Value":
        return self.writer.node("Neg", self)

    __radd__, __rmul__ = __add__, __mul__


class Writer:
    """Collects nodes and constants; every name is used once."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[tuple[str, list[str], list[str], str, dict[str, Any]]] = []  # type, inputs, outputs, name
        self.constants: dict[str, Any] = {}
        self.of_model: set[str] = set()  # the constants that the model itself holds
        self.place = ""  # what the nodes of the current call are named after
        self.batch: Any = None  # (an input, its axis that is as long as the batch): there is one wherever a Dim is
        self._kept: dict[Any, Value] = {}
        self._turns: dict[str, int] = {}
        self._batch: Value | None = None

    # Names

    def fresh(self, wanted: str) -> str:
        """`wanted`, or with _2, _3, ... if it is taken."""
        wanted = re.sub(r"[^\w./-]", "_", wanted, flags=re.ASCII) or "value"
        turn = self._turns[wanted] = self._turns.get(wanted, 0) + 1
        return wanted if turn == 1 else self.fresh(f"{wanted}_{turn}")

    # Constants

    def constant(self, array: Any, name: str = "", of_model: bool = False) -> Value:
        """An array in the file; equal ones without a name of their own are kept once.

        of_model: whether the model holds it, so that readers may train it; what a translation adds stays as it is.
        """
        array = np.asarray(array)
        key = None if name else (array.dtype, array.shape, array.tobytes(), of_model)
        if key in self._kept:
            return self._kept[key]
        made = Value(self, self.fresh(name or "constant"), array.dtype, array.shape)
        self.constants[made.name] = array
        if of_model:
            self.of_model.add(made.name)
        if key is not None:
            self._kept[key] = made
        return made

    def like(self, value: Any, other: Value) -> Value:
        """A number as a constant of the dtype of another value; a Dim computed; a Value as it is."""
        if isinstance(value, Dim):
            return self.cast(self.reshape(self.integers([value]), ()), other.dtype)
        if value is None or isinstance(value, Value):
            return value  # type: ignore[return-value]
        return self.constant(value if isinstance(value, np.ndarray) else np.asarray(value, other.dtype))

    def integers(self, lengths: Sequence[Length]) -> Value:
        """Lengths as an int64 vector, computed where they follow the batch."""
        if fixed(lengths):
            return self.constant(np.asarray(lengths, np.int64).reshape(-1))
        parts = [self._followed(n) if isinstance(n, Dim) else self.constant(np.array([n], np.int64)) for n in lengths]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _followed(self, n: Dim) -> Value:
        if self._batch is None:
            x, axis = self.batch
            self._batch = self.node("Shape", x, start=axis, end=axis + 1, dtype=np.int64)
        value = self._batch
        value = value if n.times == 1 else value * n.times
        return value if not n.plus else value + n.plus

    # Nodes

    def node(
        self, op_type: str, *inputs: Any, dtype: Any = None, shape: Shape | None = None, **attributes: Any
    ) -> Value:
        """One node of one output, of the dtype of its first input unless given. Numbers become constants of that dtype.

        What onnxruntime has in single precision only is computed between casts.
        """
        return self.several(op_type, *inputs, dtypes=(dtype,), shape=shape, **attributes)[0]

    def several(
        self, op_type: str, *inputs: Any, dtypes: Sequence[Any], shape: Shape | None = None, **attributes: Any
    ) -> list[Value]:
        """One node with an output for each dtype; None is that of the first input."""
        first = next(x for x in inputs if isinstance(x, Value))
        values = [self.like(x, first) for x in inputs]
        absent = {np.dtype(np.float64): SINGLE, np.dtype(np.float16): NOT_HALF}
        single = op_type in absent.get(first.dtype, ())
        if single:
            values = [v if v is None or v.dtype != first.dtype else self.cast(v, np.float32) for v in values]
        kinds = [np.dtype(values[inputs.index(first)].dtype if d is None else d) for d in dtypes]
        name = self.fresh(f"{self.place}/{op_type}" if self.place else op_type)
        made = [Value(self, name if not i else f"{name}:{i}", kind, shape) for i, kind in enumerate(kinds)]
        names = ["" if v is None else v.name for v in values]
        while names and not names[-1]:
            names.pop()
        self.nodes.append((op_type, names, [v.name for v in made], name, attributes))
        if single:
            made = [self.cast(v, first.dtype) if v.dtype == np.float32 else v for v in made]
        return made

    def rename(self, name: str, to: str) -> None:
        """Give a value another name."""
        for _, inputs, outputs, _, _ in self.nodes:
            for names in (inputs, outputs):
                names[:] = [to if n == name else n for n in names]

    # What versions differ in, and what is needed often

    def cast(self, x: Value, dtype: Any) -> Value:
        """x in another dtype."""
        if x.dtype == np.dtype(dtype):
            return x
        return self.node("Cast", x, dtype=dtype, shape=x.shape, to=np.dtype(dtype))

    def reduce(self, kind: str, x: Value, axes: Sequence[int], keepdims: bool = False) -> Value:
        """ReduceSum and its like, whose axes are an attribute before opset 18. No axes leave x as it is."""
        if not axes:
            return self.node("Identity", x)
        if self.opset < 18 and kind != "ReduceSum":
            return self.node(kind, x, axes=list(axes), keepdims=int(keepdims))
        return self.node(kind, x, self.integers(axes), keepdims=int(keepdims))

    def reshape(self, x: Value, shape: Shape) -> Value:
        """x in another shape, of which one length that follows the batch is left to be found."""
        follows = [i for i, n in enumerate(shape) if isinstance(n, Dim)]
        if len(follows) == 1 and 0 not in shape:
            lengths = self.integers([-1 if i in follows else n for i, n in enumerate(shape)])
        else:
            lengths = self.integers(shape)
        zero = {"allowzero": 1} if 0 in shape else {}
        return self.node("Reshape", x, lengths, shape=shape, **zero)

    def expand(self, x: Value, shape: Shape) -> Value:
        """x stretched to a shape."""
        return x if x.shape == shape else self.node("Expand", x, self.integers(shape), shape=shape)

    def slice(self, x: Value, axis: int, start: Length | None, stop: Length | None, step: int = 1) -> Value:
        """x[start:stop:step] along an axis."""
        first, last = (0, LAST) if step > 0 else (LAST, FIRST)
        ends = [first if start is None else start], [last if stop is None else stop]
        return self.node("Slice", x, *map(self.integers, ends), self.integers([axis]), self.integers([step]))

    def where(self, condition: Value, x: Any, y: Any) -> Value:
        """x where the condition holds, else y."""
        like = x if isinstance(x, Value) else y
        if like.dtype == np.bool_:  # onnxruntime has no Where of booleans
            chosen = self.node("And", condition, x), self.node("And", self.node("Not", condition), y)
            return self.node("Or", *chosen)
        return self.node("Where", condition, self.like(x, like), self.like(y, like), dtype=like.dtype)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """x with its axes in another order."""
        if tuple(order) == tuple(range(len(order))):
            return x
        shape = None if x.shape is None else tuple(x.shape[i] for i in order)
        return self.node("Transpose", x, perm=list(order), shape=shape)

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        """x with axes of length one put in."""
        return self.node("Unsqueeze", x, self.integers(axes)) if axes else x
