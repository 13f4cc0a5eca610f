"""A recorded loss and its backward as a script of plain NumPy, with the same numbers and without this package."""

import inspect
import io
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import Node, Tensor
from ..interchange.atomic import replace_file
from . import library
from .names import Names
from .templates import Call, bare, number, templates
from .values import Values, forward, key_of_constant

__all__ = ["Script", "to_numpy"]

INLINE = 24  # a script without larger arrays stands alone; else `save` writes them beside it

_FUNCTIONS = {
    name: function for name, function in vars(library).items() if inspect.isfunction(function)
}  # in the order of the file


class Script(str):
    """The text of a script; `arrays` are those that it loads from the file beside it, by their names there.

    gradients: for each parameter or input by its name, the variable that holds its gradient.
    """

    arrays: dict[str, Any]
    gradients: dict[str, str]

    def save(self, path: Any) -> None:
        """Write `path`, which ends in .py, and before it the arrays beside it, as .npz.

        Raises ValueError for another ending.
        """
        target = Path(path)
        if target.suffix != ".py":
            raise ValueError(f"save: the script's file is {target.name!r}; a name that ends in .py is needed")
        if self.arrays:
            data = io.BytesIO()
            np.savez(data, allow_pickle=False, **self.arrays)
            replace_file(target.with_suffix(".npz"), data.getvalue())
        replace_file(target, self.encode())


def to_numpy(loss: Tensor | Callable[[], Tensor], model: Any = None, inputs: Mapping[str, Any] | None = None) -> Script:
    """A standalone NumPy script of how a loss was computed, and of every gradient, one op at a time.

    loss: the recorded Tensor of one element, or a function that computes it.
    model: names the parameters by their paths. inputs: names other Tensors and arrays.

    The script computes `loss` and the dict `gradients` from the same numbers, with the formula of each gradient above
    its line. `script.save("step.py")` writes it, and its larger arrays as step.npz beside it.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> w = tg.tensor([[2.0, -1.0]], requires_grad=True)
        >>> x = tg.tensor([[3.0], [5.0]])
        >>> script = tg.to_numpy((w @ x).relu().sum(), inputs={"w": w, "x": x})
        >>> names = {}
        >>> exec(script, names)
        >>> float(names["loss"]), names["gradients"]["w"].tolist()
        (1.0, [[3.0, 5.0]])

    A graph keeps only the values that gradient rules need: where the script needs another one that is in neither model
    nor inputs, pass a function, as in `to_numpy(lambda: F.mse_loss(model(x), y), model)`.

    Raises RuntimeError without a graph, for a value that is not kept, and for one that was changed since; TypeError for
    an op without a template, which `emit.template` gives it.
    """
    if not isinstance(loss, Tensor) and not callable(loss):
        raise TypeError(
            f"to_numpy: the loss is a {type(loss).__name__}; a Tensor or a function that gives one is needed"
        )
    out, seen = forward(loss)
    if not isinstance(out, Tensor):
        raise TypeError(f"to_numpy: the function gave a {type(out).__name__}; it must give a Tensor")
    if out.node is None:
        raise RuntimeError("to_numpy: this Tensor has no graph; compute it from leaves with requires_grad=True")
    if out.array.size != 1:
        raise ValueError(f"to_numpy: the loss has shape {out.shape}; reduce it to one element, as with .sum()")
    return _Writer(Values(model, inputs, seen)).write(out.node)


def _recorded(root: Node) -> list[Node]:
    """The root and all Nodes below it, earlier ones first."""
    found, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=lambda node: node.order)


class _Writer:
    """Collects the lines of one script."""

    def __init__(self, values: Values) -> None:
        self.values, self.names = values, Names(set(_FUNCTIONS))
        self.data: dict[str, Any] = {}
        self.kept: dict[Any, str] = {}  # constants: (dtype, shape, bytes) -> name
        self.known: dict[Any, str] = {}  # (what an array is known by, its dtype) -> its name
        self.variables: dict[Node, str] = {}
        self.leaves: dict[str, str] = {}  # the owner's name -> the variable's

    def write(self, root: Node) -> Script:
        nodes = _recorded(root)
        calls = {node: self._call(node) for node in nodes if node.plan is not None}
        head, back = [], []
        for node, call in calls.items():
            head += self._forward(node, call)
        started: dict[Node, bool] = {root: True}
        for node in reversed(nodes):
            if node in calls and started.get(node):
                back += self._backward(node, calls[node], started)
        last = self.variables[root]
        back = [f"d_{last} = np.ones({root.shape}, np.{root.dtype})", *back]
        if root.plan is None:  # the loss is a leaf itself
            head = []
        result = [f"loss = {last}", "gradients = {"]
        result += [
            f"    {owner!r}: np.asarray(d_{name}),"
            for owner, name in self.leaves.items()
            if name in {self.variables[node] for node in started}
        ]
        result += ["}", "", 'if __name__ == "__main__":', '    print("loss", loss)']
        result += [
            "    for name, gradient in gradients.items():",
            "        print(name, gradient.shape, np.abs(gradient).max(initial=0))",
        ]
        return self._assembled(head, back, result)

    # Names and data

    def _keep(self, wanted: str, array: Any) -> str:
        """Put an array into the data once, under a name like `wanted`."""
        array = np.array(array, order="C")
        key = array.dtype, array.shape, array.tobytes()
        if key not in self.kept:
            self.kept[key] = self.names.fresh(self.values.called(wanted, array))
            self.data[self.kept[key]] = array
        return self.kept[key]

    def _leaf(self, node: Node, user: Node, i: int) -> str:
        if node in self.variables:
            return self.variables[node]
        owner, array = self.values.of_input(user, i, node, user.order)
        if array is None:
            raise RuntimeError(self._missing(user, i, f"the leaf of shape {node.shape}"))
        owner = owner or f"leaf_{len(self.leaves) + 1}"
        while owner in self.leaves:
            owner += "_"
        name = self.variables[node] = self.leaves[owner] = self.names.fresh(owner)
        self.data[name] = np.array(array)
        return name

    def _constant(self, node: Node, i: int, constant: Any) -> str:
        if isinstance(constant, (bool, int, float)):
            return number(constant)
        key = key_of_constant(constant), node.dtype
        if key[0] is not None and key in self.known:
            return self.known[key]
        owner, array = self.values.of_input(node, i, constant, node.order)
        if array is None:
            raise RuntimeError(self._missing(node, i, f"the constant of shape {constant.shape}"))
        name = self._keep(owner or "constant", np.asarray(array, node.dtype))
        self.known[key] = name
        return name

    def _missing(self, node: Node, i: int, what: str) -> str:
        op = node.plan.op
        return (
            f"to_numpy: {what} that {op.name} takes as {op.variadic or op.inputs[i]!r} is not kept by the graph; "
            "name it in model= or inputs=, or pass a function that computes the loss: to_numpy(lambda: ...)"
        )

    # Lines

    def _call(self, node: Node) -> Call:
        op = node.plan.op
        if op.name not in templates:
            raise TypeError(
                f"to_numpy: the op {op.name} has no template; give it one with emit.template({op.name}, '...', ...)"
            )
        constants = dict(node.constants)
        count = max([*node.plan.indices, *constants], default=-1) + 1
        names: list[str | None] = [None] * count
        shapes: list[Any] = [None] * count
        for i, parent in zip(node.plan.indices, node.parents, strict=True):
            names[i] = self._leaf(parent, node, i) if parent.plan is None else self.variables[parent]
            shapes[i] = parent.shape
        for i, constant in constants.items():
            names[i], shapes[i] = self._constant(node, i, constant), getattr(constant, "shape", ())
        path = node.scope.path if node.scope is not None else ""
        out = self.names.fresh(f"{path}_{op.name}") if path else self.names.numbered(op.name)
        self.variables[node] = out
        params = {**op.defaults, **node.params}
        return Call(op, names, shapes, out, node.shape, node.dtype, params, self._keep, self.names.fresh)

    def _forward(self, node: Node, call: Call) -> list[str]:
        *before, expression = call.text(templates[call.op.name].forward).split("\n")
        said = (inspect.getdoc(call.op.forward) or call.op.name).partition("\n")[0].partition(". ")[0].removesuffix(".")
        return [f"# {call.op.name}: {said}", *before, f"{call.out} = {expression}  # {_shape(node.shape)}", ""]

    def _backward(self, node: Node, call: Call, started: dict[Node, bool]) -> list[str]:
        gradients, lines = templates[call.op.name].gradients, [f"# {call.op.name}"]
        formulas = []
        for i, parent in zip(node.plan.indices, node.parents, strict=True):
            call.index, key = i, call.op.variadic or call.op.inputs[i]
            expression = call.text(gradients[key])
            if call.op.broadcast and not call.op.variadic:
                expression = _summed(expression, call, parent.shape)
            if (formula := call.op.formulas.get(key)) and formula not in formulas:
                formulas.append(formula)
                lines[0] += f"{':' if len(formulas) == 1 else ';'} ∂{key} = {formula}"
            name = f"d_{self.variables[parent]}"
            lines.append(
                f"{name} = {f'{name} + ' if started.get(parent) else ''}{_term(expression, started.get(parent))}"
            )
            started[parent] = True
        return [*lines, ""]

    def _assembled(self, head: list[str], back: list[str], result: list[str]) -> Script:
        body = "\n".join(["# Forward", "", *head, "# Backward", "", *back, "", *result, ""])
        arrays = {} if all(a.size <= INLINE and np.isfinite(a).all() for a in self.data.values()) else dict(self.data)
        data = [f"{name} = {_literal(array)}" for name, array in self.data.items()]
        if arrays:
            data = ['data = np.load(Path(__file__).with_suffix(".npz"))']
            data += [
                f'{name} = data["{name}"]  # {array.dtype} {_shape(array.shape)}' for name, array in self.data.items()
            ]
        functions = _sources(body)
        text = "\n".join([*functions, body])
        head = ['"""A loss and its gradients in plain NumPy, one op at a time.', ""]
        head += [
            "Above each gradient stands its formula; d_x is the gradient of x, and ∂out that of the op's result.",
            '"""',
            "",
        ]
        head += ["import math"] * bool(re.search(r"\bmath\.", text)) + ["from pathlib import Path"] * bool(arrays)
        head += ["", "import numpy as np", ""]
        parts = ["\n".join(head)]
        parts += ["", *functions] if functions else []
        parts += ["# Data", "", *data, "", body]
        script = Script("\n".join(parts))
        script.arrays, script.gradients = arrays, dict(self.leaves)
        return script


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"


def _term(expression: str, adds: Any) -> str:
    return f"({expression})" if adds and not re.fullmatch(r"\w+", expression) else expression


def _summed(expression: str, call: Call, shape: tuple[int, ...]) -> str:
    """The gradient of an input that may have been broadcast."""
    whole = np.broadcast_shapes(*(s for s in call.shapes if s is not None))
    return expression if whole == shape else f"sum_to({expression}, {shape})"


def _literal(array: Any) -> str:
    """A small array as Python code with the same bits."""
    if array.size == 0:
        return f"np.zeros({array.shape}, np.{array.dtype})"
    return f"np.array({bare(repr(array.tolist()))}, np.{array.dtype})"


def _sources(body: str) -> list[str]:
    """The functions that a script calls, and those that they call, in the order of the library."""
    wanted: set[str] = set()
    texts = [body]
    sources = {name: _plain_source(function) for name, function in _FUNCTIONS.items()}
    while texts:
        called = set(re.findall(r"\b(\w+)\(", texts.pop())) & sources.keys()
        texts += [sources[name] for name in called - wanted]
        wanted |= called
    return [f"{sources[name]}\n" for name in sources if name in wanted]


@cache
def _plain_source(function: Any) -> str:
    """The source of a library function without its annotations."""
    return re.sub(r": Any\b| -> Any\b", "", inspect.getsource(function))
