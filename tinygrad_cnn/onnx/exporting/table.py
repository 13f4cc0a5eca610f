"""The table of ops that can be written in ONNX: how one recorded call becomes nodes.

@translation(silu)
def _(call):
    return call.x * call.node("Sigmoid", call.x)
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ...declaration import Op, Primitive
from ...shapes import normalize_axes
from ..errors import OnnxError
from .dims import Dim, Length, Shape, fixed
from .merging import REMEDY, Recorded, Slot
from .writer import Value, Writer

__all__ = ["Call", "refused", "translation", "translations"]


class Call:
    """One recorded call, as its translation sees it.

    x: the first input. call["w"]: an input as a Value, None if it was left out; or a parameter: a number, a Dim, a
    Value for an array, a nest of them. writer: where nodes go. shape, dtype: of the result.
    """

    def __init__(self, recorded: Recorded, writer: Writer, values: dict[Slot, Value]) -> None:
        self.op, self.writer, self.recorded = recorded.op, writer, recorded
        self.shape, self.dtype = recorded.out.shape, recorded.out.dtype
        self._values = values
        self.node = writer.node

    def fail(self, what: str) -> OnnxError:
        """The error to raise, with the op and its module named."""
        path = self.recorded.path
        return OnnxError(f"export: {self.op.name}{f' in {path!r}' if path else ''}: {what}")

    @property
    def inputs(self) -> list[Any]:
        """All inputs as Values, or None."""
        slots = [s for s in self.recorded.inputs if isinstance(s, Slot)]
        dtype = slots[0].dtype if slots else self.dtype
        return [None if given is None else self._input(given, dtype) for given in self.recorded.inputs]

    def _input(self, given: Any, dtype: Any) -> Value:
        if isinstance(given, Slot):
            return self.value(given)
        if isinstance(given, Dim):
            return self.writer.cast(self.writer.reshape(self.writer.integers([given]), ()), dtype)
        return self.writer.constant(np.asarray(given, dtype))

    @property
    def pair(self) -> tuple[Value, Value]:
        """Both inputs of an op of two."""
        x, y = self.inputs
        return x, y

    @property
    def x(self) -> Value:
        """The first input."""
        found: Value = self.inputs[0]
        return found

    def __getitem__(self, name: str) -> Any:
        if name in self.op.inputs and not self.op.variadic:
            return self.inputs[self.op.inputs.index(name)]
        return self._resolved(self.recorded.params[name])

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Slot):
            return self.value(value)
        return tuple(map(self._resolved, value)) if isinstance(value, tuple) else value

    def array(self, name: str) -> Value:
        """A parameter as a Value, a single number too."""
        found = self[name]
        return found if isinstance(found, Value) else self.writer.constant(np.asarray(found))

    def given(self, name: str) -> Any:
        """A parameter as it was recorded: a Slot for an array."""
        return self.recorded.params[name]

    def value(self, slot: Slot) -> Value:
        """The Value of a Slot, a constant if nothing made it."""
        if slot not in self._values:
            self._values[slot] = self._constant(slot)
        return self._values[slot]

    def bind(self, slot: Slot, value: Value) -> None:
        """Let a loose Slot be a Value that was found to hold the same."""
        self._values[slot] = value

    def _constant(self, slot: Slot) -> Value:
        if slot.counts:
            length = self.writer.reshape(self.writer.integers(slot.shape), ())
            return self.writer.cast(self.node("Range", self.writer.like(0, length), length, 1), slot.dtype)
        if slot.array is None:
            shown = ", ".join(map(str, slot.shape))
            raise self.fail(f"it reads an array ({shown}) that differs between runs and that no op made; {REMEDY}")
        found = self.writer.constant(slot.array, slot.name, of_model=True)
        return found if fixed(slot.shape) else self.writer.expand(self.writer.reshape(found, ()), slot.shape)

    def shape_of(self, name: str = "") -> Shape:
        """The shape of an input, the first unless named."""
        slot = self.recorded.inputs[self.op.inputs.index(name) if name else 0]
        return slot.shape if isinstance(slot, Slot) else ()

    def lengths(self, shape: Shape, what: str) -> tuple[int, ...]:
        """The lengths of some axes as numbers. Raises OnnxError where one follows the batch."""
        if fixed(shape):
            return shape
        shown = " x ".join(map(str, shape))
        raise self.fail(f"{what} follows the batch ({shown}), fixed numbers are needed; use dynamic_batch=False")

    @property
    def ndim(self) -> int:
        """The number of axes of the first input."""
        return len(self.shape_of())

    def axes(self, name: str = "axis") -> tuple[int, ...]:
        """The axes that a parameter names, from 0."""
        return () if self.ndim == 0 else normalize_axes(self.recorded.params[name], self.ndim, self.op.name)

    def count(self, axes: tuple[int, ...]) -> Length | Value:
        """How many elements of the first input lie along axes: a number, or a scalar in the dtype of the result."""
        lengths = [self.shape_of()[i] for i in axes]
        if fixed(lengths):
            return prod(lengths)
        product = self.writer.reduce("ReduceProd", self.writer.integers(lengths), (0,))
        return self.writer.cast(product, self.dtype)


Translation = Callable[[Call], Value]
translations: dict[str, Translation] = {}
refused: dict[str, str] = {}  # op -> why ONNX does not get it, and what to do


def translation(*ops: Primitive) -> Callable[[Translation], Translation]:
    """Say how a recorded call of these ops is written; a later one replaces an earlier one.

    The function takes a Call and gives the Value of the result:

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> @tg.op
        ... def cube(x, /):
        ...     "x ** 3"
        ...     return x**3
        >>> cube.vjp(x=lambda g, x: g * x * x * 3.0)
        >>> @tg.onnx.translation(cube)
        ... def _(call):
        ...     return call.x ** 3.0
        >>> len(tg.onnx.export(cube, tg.ones(2, 3), None)) > 0
        True

    Raises TypeError for what is no op.
    """
    for one in ops:
        if not isinstance(getattr(one, "op", None), Op):
            raise TypeError(f"translation: {one!r} is no op; pass the function that @op made")

    def enter(function: Translation) -> Translation:
        for one in ops:
            translations[one.op.name] = function
        return function

    return enter
