"""A result that is no loss: a function `predict` of the inputs, forward only."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node, Outline, Tensor
from .rows import any_rows
from .templates import NUMBERS, Call
from .trial import follows
from .values import Values
from .writer import Script, Writer, recorded

TITLE = ['"""A recorded computation in plain NumPy, one op at a time: predict({arguments})."""']


class Inference(Writer):
    """The script of `predict`; its arguments are the Tensors among the caller's inputs that the result depends on."""

    def __init__(self, values: Values, model: Any) -> None:
        super().__init__(values)
        self.arguments: dict[Any, str] = {}  # a leaf's Node or a constant's Outline -> its name
        self.callers: set[str] = set()  # the names of the arguments in `inputs`
        self.rows = False
        self.converted: list[str] = []
        for name, tensor in () if model is None else (*model.named_parameters(), *model.named_buffers()):
            if tensor.node is None:
                values.arrays.append((name, tensor.array))
                if hasattr(tensor, "outline"):
                    values.named.setdefault(tensor.outline, (name, tensor))

    def write(self, root: Node, inputs: Any, function: Callable[[], Any] | None = None) -> Script:
        """The script of a result, the Node `root`, as a function of what it needs of `inputs`.

        function: what computed it, if the caller gave that. It is called again, to see if it serves any number of rows.
        """
        nodes = recorded(root)
        used = {x for node in nodes for x in (node, *dict(node.constants).values()) if isinstance(x, (Node, Outline))}
        for name, value in inputs.items():
            key = _key(value)
            if key in used and key not in self.arguments:
                self.arguments[key] = self.names.fresh(name)
                self.callers.add(name)
        if not self.arguments:
            raise ValueError(
                f"to_numpy: the result has shape {root.shape}, so the script is a function of its inputs, but it "
                f"depends on none of the Tensors in inputs={sorted(inputs)}; name them, as in inputs={{'x': x}}, or "
                "reduce the result to a loss of one element, as with .sum()"
            )
        lengths = {key.shape[0] if key.shape else None for key in self.arguments}
        n = lengths.pop() if len(lengths) == 1 else None
        self.rows = n is not None and any_rows(nodes, set(self.arguments), n)
        why = self._unsure(nodes, inputs, function) if self.rows else ""
        self.rows = self.rows and not why
        checks = [line for key, name in self.arguments.items() for line in self._checked(key, name)]
        if self.rows and len(self.arguments) > 1:
            lengths_of = ", ".join(f"len({name})" for name in self.arguments.values())
            text = f"predict: {{{lengths_of}}} rows; all must have as many"
            checks += [f"if len({{{lengths_of}}}) > 1:", f'    raise ValueError(f"{text}")']
        lines = [line for node in nodes if node.plan is not None for line in self.forward(node, self.call(node))]
        names = list(self.arguments.values())
        shapes = ", ".join(self._shape(key.shape) for key in self.arguments)
        body = [
            *([f"# For {n} rows alone: {why}"] if why else []),
            f"def predict({', '.join(names)}):",
            f'    """{shapes} -> {self._shape(root.shape)}"""',
            *(f"    {line}" if line else "" for line in [*checks, *self.converted, "", *lines]),
            f"    return {self.variables[root]}",
            "",
            "",
            'if __name__ == "__main__":',
            "    print(predict(*map(np.load, sys.argv[1:])))",
            "",
        ]
        script = self.document([line.format(arguments=", ".join(names)) for line in TITLE], "\n".join(body))
        script.gradients = {}
        return script

    def _unsure(self, nodes: list[Node], inputs: Any, function: Callable[[], Any] | None) -> str:
        """Why the script may be wrong for another number of rows, although it looks at rows alone; "" if it is not."""
        if function is not None:
            given = [value for value in inputs.values() if isinstance(value, Tensor) and _key(value) in self.arguments]
            same = follows(function, nodes, self.values.seen, given)
            return "" if same else "with more of them the function computes something else."
        if any(isinstance(c, NUMBERS) for node in nodes for _, c in node.constants):
            return "a number below may have been made of how many there are; to_numpy(lambda: ...) finds out."
        return ""

    def _shape(self, shape: tuple[int, ...]) -> str:
        return f"({' '.join(['n', *map(str, shape[1:])] if self.rows else map(str, shape))})"

    def _checked(self, key: Any, name: str) -> list[str]:
        """Lines that refuse another shape."""
        found, needed = (f"np.shape({name})", key.shape)
        if self.rows:
            found, needed = f"{found}[1:]", key.shape[1:]
        text = f"predict: {name} has shape {{np.shape({name})}}; {self._shape(key.shape)} is needed"
        return [f"if {found} != {needed}:", f'    raise ValueError(f"{text}")']

    # Names and data

    def leaf(self, node: Node, user: Node, i: int) -> str:
        """As Writer's; an argument has no data."""
        if node not in self.arguments:
            return super().leaf(node, user, i)
        if node not in self.variables:
            self.variables[node] = self._argument(node, node.dtype)
        return self.variables[node]

    def constant(self, node: Node, i: int, constant: Any) -> str:
        """As Writer's; an argument has no data. Raises TypeError for what may come from the arguments unrecorded."""
        if isinstance(constant, NUMBERS):
            return super().constant(node, i, constant)
        if constant in self.arguments:
            key = constant, node.dtype
            if key not in self.known:
                self.known[key] = self._argument(constant, node.dtype)
            return self.known[key]
        owner, array = self.values.of_input(node, i, constant, node.order)
        if array is not None and not self._is_owned(owner):
            op = node.plan.op
            raise self._unowned(op, op.variadic or op.inputs[i], constant.shape)
        return super().constant(node, i, constant)

    def call(self, node: Node) -> Call:
        """As Writer's. Raises TypeError for a parameter that may come from the arguments unrecorded."""
        op = node.plan.op
        for name, value in node.params.items():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                array = part.array if isinstance(part, Tensor) else part
                if isinstance(array, np.ndarray) and not self._is_owned(self.values.called("", array)):
                    raise self._unowned(op, name, array.shape)
        call = super().call(node)
        call.any_rows = self.rows
        return call

    def _argument(self, key: Any, dtype: Any) -> str:
        """The variable that holds an argument in this dtype."""
        name = self.arguments[key]
        variable = self.names.fresh(name) if any(line.startswith(f"{name} = ") for line in self.converted) else name
        self.converted.append(f"{variable} = np.asarray({name}, np.{dtype})")
        return variable

    def _is_owned(self, name: str | None) -> bool:
        return bool(name) and name not in self.callers

    def _unowned(self, op: Any, name: str, shape: tuple[int, ...]) -> TypeError:
        return TypeError(
            f"to_numpy: {op.name} takes as {name!r} an array of shape {shape} that is no parameter or buffer of the "
            "model, and may have been computed from the inputs without a record; register it as a buffer or name it, "
            "as a NumPy array, in inputs=, if it is always the same"
        )


def _key(value: Any) -> Any:
    """What a Tensor among the inputs is known by in the graph; None for what is in none."""
    return (value.node or getattr(value, "outline", None)) if isinstance(value, Tensor) else None
