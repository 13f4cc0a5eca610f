"""Templates: how one op and each of its gradients are written in NumPy.

    template(silu, "{x} * sigmoid({x})", x="{g} * (sigmoid({x}) + {out} * sigmoid(-{x}))")

A field in braces is an input's name in the script, its shape (`{x_shape}`), the result (`{out}`, `{out_shape}`), the
gradient of the result (`{g}`), a parameter as a literal, or `{axes}`, the parameter `axis` as a tuple of axes >= 0.
What a text cannot say, a function from the Call to a text does.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..declaration import Op, Primitive
from ..graph import Tensor
from ..shapes import normalize_axes

__all__ = ["template"]


class Template(NamedTuple):
    """The right-hand side of the result, and that of each input's gradient."""

    forward: Any
    gradients: dict[str, Any]


templates: dict[str, Template] = {}


def template(op: Primitive, forward: Any, /, **gradients: Any) -> None:
    """Say how scripts write an op: the NumPy expression of its result, and of the gradient of each input by its name.

    forward, gradients: texts with fields in braces, or functions that take a Call and return the text:

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> @tg.op
        ... def cube(x, /):
        ...     "x ** 3"
        ...     return x**3
        >>> cube.vjp(x=lambda g, x: g * x * x * 3.0)
        >>> tg.emit.template(cube, "{x} ** 3", x="{g} * 3 * {x} ** 2")
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> "d_x = d_cube_1 * 3 * x ** 2" in tg.to_numpy(cube(x).sum(), inputs={"x": x})
        True

    A gradient is that of the broadcast result: scripts sum it to the input's shape. NumPy is `np` there, and the
    functions of `emit.library` can be called. Registering an op again replaces its template.

    Raises TypeError for what is no op, and unless there is one gradient for each input that has a rule.
    """
    declared = getattr(op, "op", None)
    if not isinstance(declared, Op):
        raise TypeError(f"template: {op!r} is no op; pass the function that @op made")
    wanted = {name for name in declared.inputs if declared.joint is not None or declared.rules.get(name) is not None}
    if set(gradients) != wanted:
        raise TypeError(
            f"template: gradients of {sorted(gradients)} for {declared.name}, whose inputs with a gradient are "
            f"{sorted(wanted)}; give one text for each"
        )
    templates[declared.name] = Template(forward, gradients)


class Call:
    """One recorded call: the names of its arrays in the script, their shapes, and its parameters.

    `call["x"]` is what the field {x} of a text stands for. `call.params` are the values; `call.data` puts an array into
    the script and gives its name. index: of the input whose gradient is asked for.
    any_rows: whether axis 0 may have any length.
    """

    def __init__(
        self,
        op: Op,
        names: Sequence[str | None],
        shapes: Sequence[Any],
        out: str,
        out_shape: tuple[int, ...],
        dtype: Any,
        params: dict[str, Any],
        keep: Callable[[str, Any], str],
        fresh: Callable[[str], str],
    ) -> None:
        self.op, self.names, self.shapes, self.out = op, names, shapes, out
        self.out_shape, self.dtype, self.params, self._keep = out_shape, dtype, params, keep
        self.gradient, self.index, self.any_rows = f"d_{out}", 0, False
        self._fresh, self._locals = fresh, dict[str, str]()

    def shape(self, name: str = "x") -> tuple[int, ...]:
        """The shape of an input."""
        found: tuple[int, ...] = self.shapes[self.op.inputs.index(name)]
        return found

    def given(self, name: str) -> bool:
        """Whether an optional input was given."""
        i = self.op.inputs.index(name)
        return i < len(self.names) and self.names[i] is not None

    def axes(self) -> tuple[int, ...]:
        """The parameter `axis` as axes of the first input, from 0."""
        axis, ndim = self.params["axis"], len(self.shapes[0])
        return () if ndim == 0 else normalize_axes(axis, ndim, self.op.name)

    def local(self, name: str) -> str:
        """The name of a variable of this call: the text of the result assigns it, in lines above its last one."""
        if name not in self._locals:
            self._locals[name] = self._fresh(f"{self.out}_{name}")
        return self._locals[name]

    def data(self, name: str, value: Any) -> str:
        """Put an array into the script's data; floats in the dtype of the result. Returns its name there."""
        array = np.asarray(value.array if isinstance(value, Tensor) else value)
        return self._keep(name, array.astype(self.dtype) if array.dtype.kind == "f" else array)

    def literal(self, name: str, value: Any) -> str:
        """A parameter's value as Python code; an array goes into the data."""
        if isinstance(value, (np.ndarray, Tensor)):
            return self.data(name, value)
        if isinstance(value, np.dtype):
            return f"np.{value.name}"
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str)):
            return repr(value)
        if value is Ellipsis:
            return "..."
        if isinstance(value, (int, float)):
            return number(value)
        if isinstance(value, slice):
            return f"slice({', '.join(self.literal(name, part) for part in (value.start, value.stop, value.step))})"
        if isinstance(value, (tuple, list)):
            parts = [bare(self.literal(name, part)) for part in value]
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        raise TypeError(
            f"to_numpy: the parameter {name!r} of {self.op.name} is a {type(value).__name__}, which has no literal; "
            "write the template as a function of the Call that puts what it needs into the script with call.data"
        )

    def __getitem__(self, field: str) -> str:
        if field == "g":
            return self.gradient
        if field == "out":
            return self.out
        if field == "out_shape":
            return self.literal(field, (-1, *self.out_shape[1:]) if self.any_rows else self.out_shape)
        if field == "axes":
            return self.literal(field, self.axes())
        if field == self.op.variadic:
            return ", ".join(str(name) for name in self.names)
        if field in self.op.inputs:
            return str(self.names[self.op.inputs.index(field)])
        if field.endswith("_shape") and field.removesuffix("_shape") in self.op.inputs:
            return self.literal(field, self.shape(field.removesuffix("_shape")))
        if field in self.params:
            return self.literal(field, self.params[field])
        known = [*self.op.inputs, "out", "g", *self.params]
        raise KeyError(
            f"to_numpy: the template of {self.op.name} has a field {field!r}; it can have {', '.join(known)}"
        )

    def text(self, template: Any) -> str:
        """A template's text with the fields filled in."""
        return template(self) if callable(template) else str(template).format_map(self)


NUMBERS = (bool, int, float, np.generic)


def number(value: Any) -> str:
    """A number as Python code, a negative one in parentheses."""
    value = value.item() if isinstance(value, np.generic) else value
    text = repr(value) if math.isfinite(value) else f"np.{abs(value)!r}" if not value < 0 else "-np.inf"
    return f"({text})" if text.startswith("-") else text


def bare(text: str) -> str:
    """A negative number without its parentheses, where it stands alone."""
    return text[1:-1] if text.startswith("(-") and text.count("(") == 1 else text


def shown_index(call: Call) -> str:
    """The parameter `index` as it stands in brackets: x[1:3, ..., rows]."""
    index = call.params["index"]
    parts = index if type(index) is tuple else (index,)
    return ", ".join(_part(call, part) for part in parts) or "()"


def _part(call: Call, part: Any) -> str:
    if not isinstance(part, slice):
        return bare(call.literal("index", part))
    start, stop, step = (
        "" if v is None else bare(call.literal("index", v)) for v in (part.start, part.stop, part.step)
    )
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
