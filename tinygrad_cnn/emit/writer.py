"""What every script is made of: names for the arrays of a graph, a line for each op, the data and the functions."""

import inspect
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import Node
from ..interchange.atomic import replace_file
from . import library
from .names import Names
from .templates import NUMBERS, Call, bare, number, templates
from .values import Values, key_of_constant

INLINE = 24  # a script without larger arrays stands alone; else `save` writes them beside it

_FUNCTIONS = {
    name: function for name, function in vars(library).items() if inspect.isfunction(function)
}  # in the order of the file


def recorded(root: Node) -> list[Node]:
    """The root and all Nodes below it, earlier ones first."""
    found, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=lambda node: node.order)


class Script(str):
    """The text of a script; `arrays` are those that it loads from the file beside it, by their names there.

    gradients: for each parameter or input by its name, the variable that holds its gradient; none where the script is a
    function `predict`.
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


class Writer:
    """Names the arrays of a graph, and writes the lines of one script."""

    def __init__(self, values: Values) -> None:
        self.values, self.names = values, Names(set(_FUNCTIONS))
        self.data: dict[str, Any] = {}
        self.kept: dict[Any, str] = {}  # constants: (dtype, shape, bytes) -> name
        self.known: dict[Any, str] = {}  # (what an array is known by, its dtype) -> its name
        self.variables: dict[Node, str] = {}
        self.leaves: dict[str, str] = {}  # the owner's name -> the variable's

    # Names and data

    def _keep(self, wanted: str, array: Any) -> str:
        """Put an array into the data once, under a name like `wanted`."""
        array = np.array(array, order="C")
        key = array.dtype, array.shape, array.tobytes()
        if key not in self.kept:
            self.kept[key] = self.names.fresh(self.values.called(wanted, array))
            self.data[self.kept[key]] = array
        return self.kept[key]

    def leaf(self, node: Node, user: Node, i: int) -> str:
        """The variable of a leaf, which `user` takes as its input i."""
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

    def constant(self, node: Node, i: int, constant: Any) -> str:
        """The text of a constant, which a Node takes as its input i."""
        if isinstance(constant, NUMBERS):
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

    def call(self, node: Node) -> Call:
        """A Node with its arrays named, the result too."""
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
            names[i] = self.leaf(parent, node, i) if parent.plan is None else self.variables[parent]
            shapes[i] = parent.shape
        for i, constant in constants.items():
            names[i], shapes[i] = self.constant(node, i, constant), getattr(constant, "shape", ())
        path = node.scope.path if node.scope is not None else ""
        out = self.names.fresh(f"{path}_{op.name}") if path else self.names.numbered(op.name)
        self.variables[node] = out
        params = {**op.defaults, **node.params}
        return Call(op, names, shapes, out, node.shape, node.dtype, params, self._keep, self.names.fresh)

    def forward(self, node: Node, call: Call) -> list[str]:
        """The lines that compute the result."""
        *before, expression = call.text(templates[call.op.name].forward).split("\n")
        said = (inspect.getdoc(call.op.forward) or call.op.name).partition("\n")[0].partition(". ")[0].removesuffix(".")
        size = " x ".join(["n", *map(str, node.shape[1:])]) if call.any_rows else shown(node.shape)
        return [f"# {call.op.name}: {said}", *before, f"{call.out} = {expression}  # {size}", ""]

    def document(self, title: list[str], body: str) -> Script:
        """The whole text: its title, what it imports, the functions that the body calls, the data, the body."""
        arrays = {} if all(a.size <= INLINE and np.isfinite(a).all() for a in self.data.values()) else dict(self.data)
        data = [f"{name} = {_literal(array)}" for name, array in self.data.items()]
        if arrays:
            data = ['data = np.load(Path(__file__).with_suffix(".npz"))']
            data += [
                f'{name} = data["{name}"]  # {array.dtype} {shown(array.shape)}' for name, array in self.data.items()
            ]
        functions = _sources(body)
        text = "\n".join([*functions, body])
        head = [*title, ""]
        head += ["import math"] * bool(re.search(r"\bmath\.", text))
        head += ["import sys"] * bool(re.search(r"\bsys\.", text))
        head += ["from pathlib import Path"] * bool(arrays)
        head += ["", "import numpy as np", ""]
        parts = ["\n".join(head)]
        parts += ["", *functions] if functions else []
        parts += ["# Data", "", *data, ""] if data else []
        script = Script("\n".join([*parts, body]))
        script.arrays = arrays
        return script


def shown(shape: tuple[int, ...]) -> str:
    """(2, 3) as 2 x 3"""
    return " x ".join(map(str, shape)) or "()"


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
