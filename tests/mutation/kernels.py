"""Every small way to break a kernel, as functions built in memory and put into their module for a while.

A mutant changes one place of one function or method. It is compiled into the namespace of its module, so whatever the
module calls by that name is broken. Loops under @compiled run as plain Python, where an index out of range raises. A
broken writer of instructions is broken in every module that imports it, and what they emit is emitted anew.
"""

import ast
import copy
import importlib
import inspect
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from tinygrad_cnn.kernels.compiled import Loop

from .mutants import _COMPARISONS, _alternatives, _guards, _local_names, _show
from .plain import NO_VECTORS, TICK, VECTOR_CODE, VECTORS, as_numba, drives_vectors, emitted, tick

# What is judged. PREPARED have cases, which the suite runs, but not every mutant that lives has its test or its reason
# yet: python -m tests.mutation --kernels tiles lists them. Vector code and what drives it is judged where numba is
# installed, whatever the processor: interpreter.py carries out what it emits, and checks every address. Of modules that
# do without it too, DRIVERS are judged both ways, others without it. Not judged at all: the choice of an algorithm
# (conv.py), and the machinery: buffers.py, compiled.py, parallel.py, spin.py, and in instructions.py what makes
# functions.
JUDGED = ("conv_loops", "conv_im2col", "windows", "pool", "pool_loops", "norm", "reduce", "sweeps", "packing", "normal")
JUDGED += ("depthwise_vectors", "pool_vectors", "conv_direct", "instructions", "vectors")
PREPARED = ("standardize", "activations", "winograd", "tiles", "conv_depthwise")

# A name is taken for the others of its group, or else for the next name of the function.
_GROUPS = [
    ("sh", "sw", "dh", "dw"),
    ("kh", "kw"),
    ("top", "left"),
    ("h", "w", "height", "width", "oh", "ow", "tw"),
    ("i", "j", "p", "q"),
    ("row", "column"),
    ("n", "c", "o", "groups"),
    ("n0", "n1", "r0", "r1"),
    ("first", "last", "start", "stop", "begin"),
    ("stride", "padding", "dilation", "kernel", "size", "out", "corner"),
    ("scale", "shift", "centre", "slope"),
]
_NEXT = {name: [other for other in group if other != name] for group in _GROUPS for name in group}


_COMMUTE = ("dtypes", ".swapaxes", "np.minimum", "np.add", "np.multiply", "np.multiply.outer")
_COMMUTE += ("b.add", "b.mul", ".fadd", ".fmul", "b.and_")

# What makes functions of loops, and of emitted code: the gate has its own.
_MACHINERY = [("instructions", "njit"), ("instructions", "entry"), ("instructions", "emits")]


class Target(NamedTuple):
    """A function of a kernel module, or a method of one of its classes."""

    module: ModuleType
    owner: Any
    tree: ast.FunctionDef

    @property
    def title(self) -> str:
        place = "" if self.owner is self.module else f"{self.owner.__name__}."
        return f"{short(self.module)}.{place}{self.tree.name}"


class KernelMutant(NamedTuple):
    """One broken place: `change` makes it in the tree of the target, and gives back what undoes it."""

    label: str
    target: Target
    change: Callable[[], Callable[[], None]]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """With the broken function in its place."""
        undo = self.change()
        try:
            function = _built(self.target)
        finally:
            undo()
        owner, name = self.target.owner, self.target.tree.name
        before = vars(owner)[name]
        holders = [owner, *(m for m in _vector_modules(owner) if vars(m).get(name) is before)]
        if isinstance(before, Loop):  # others may refer to it
            kept = before.python, before._fast
            before.python, before._fast = function, as_numba(function)
        else:
            for holder in holders:
                setattr(holder, name, property(function) if isinstance(before, property) else function)
        try:
            yield
        finally:
            if isinstance(before, Loop):
                before.python, before._fast = kept
            else:
                for holder in holders:
                    setattr(holder, name, before)


def missing(name: str) -> str | None:
    """Why a kernel module cannot be judged here, or None."""
    return NO_VECTORS if name in VECTOR_CODE and not emitted() else None


def short(module: ModuleType) -> str:
    return module.__name__.split(".")[-1]


def kernel(name: str) -> ModuleType:
    return importlib.import_module(f"tinygrad_cnn.kernels.{name}")


def _vector_modules(owner: Any) -> list[ModuleType]:
    """Those that may have imported a function of `owner`, where that is one of them itself."""
    modules = [sys.modules.get(f"tinygrad_cnn.kernels.{name}") for name in VECTORS]
    return [module for module in modules if module is not None] if owner in modules else []


def _built(target: Target) -> Any:
    tree = copy.deepcopy(target.tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.While)):  # an endless loop ends
            node.body.insert(0, ast.Expr(ast.Call(ast.Name(TICK, ast.Load()), [], [])))
    space: dict[str, Any] = {}
    setattr(target.module, TICK, tick)
    exec(compile(ast.fix_missing_locations(ast.Module([tree], [])), "<mutant>", "exec"), vars(target.module), space)
    return space[target.tree.name]


class _Plain(ast.NodeTransformer):
    """Without annotations, docstrings and decorators."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns, node.decorator_list = None, []
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


@cache
def targets(name: str) -> tuple[Target, ...]:
    """The functions and methods of a kernel module, in order."""
    module = kernel(name)
    found = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and (name, node.name) not in _MACHINERY:
            found.append(Target(module, module, _Plain().visit(node)))
        elif isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found += [Target(module, getattr(module, node.name), _Plain().visit(method)) for method in methods]
    return tuple(found)


@cache
def kernel_mutants(name: str) -> tuple[KernelMutant, ...]:
    """Every mutant of a kernel module, each place once, with labels that are unique and stable."""
    return tuple(_mutants(name))


def _mutants(name: str) -> Iterator[KernelMutant]:
    for target in targets(name):
        seen: dict[str, int] = {}
        for what, change in _changes(target.tree, emits=name in VECTOR_CODE, drives=drives_vectors(name)):
            label = f"{target.title}: {what}"
            seen[label] = seen.get(label, 0) + 1
            yield KernelMutant(f"{label} ({seen[label]})" if seen[label] > 1 else label, target, change)


def _changes(
    tree: ast.FunctionDef, *, emits: bool, drives: bool
) -> Iterator[tuple[str, Callable[[], Callable[[], None]]]]:
    """emits: it may write instructions, mostly in functions of its own, whose arguments are names too.

    drives: the cases also run with vector code.
    """
    skipped = _skipped(tree, drives)
    names = _local_names(tree)
    if emits:
        inner = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node is not tree]
        names = list(dict.fromkeys([*names, *(name for node in inner for name in _local_names(node))]))
    for parent, field, index, node, line in _places(tree, ""):
        if node in skipped:
            continue
        where = "" if isinstance(node, ast.stmt) else f" | {line}"
        for new in [*_alternatives(node, []), *_more(node, names), *(_instructions(node) if emits else ())]:
            if not _saves_a_copy(node, new) and ast.dump(node) != ast.dump(new):
                yield f"{_show(node)} -> {_show(new)}{where}", _swap(parent, field, index, new)
        if isinstance(node, ast.stmt) and not isinstance(node, (ast.Return, ast.Raise, ast.FunctionDef, ast.Nonlocal)):
            yield f"without {_show(node)}", _swap(parent, field, index, ast.Pass())


def _places(parent: ast.AST, line: str) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, str]]:
    """Every node below `parent` and where it stands: in which field of which node, and in which line of code."""
    for field, value in ast.iter_fields(parent):
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST):
                continue
            inside = _head(node) if isinstance(node, ast.stmt) else line
            yield parent, field, index, node, inside
            yield from _places(node, inside)


def _head(line: ast.stmt) -> str:
    """A statement, without the block below it."""
    match line:
        case ast.If(test) | ast.While(test):
            return f"if {_show(test)}"
        case ast.For(target, source):
            return f"for {_show(target)} in {_show(source)}"
        case ast.FunctionDef(name):
            return f"def {name}"
        case _:
            return _show(line)


def _swap(parent: ast.AST, field: str, index: int | None, new: ast.AST) -> Callable[[], Callable[[], None]]:
    def change() -> Callable[[], None]:
        old = getattr(parent, field)

        def undo() -> None:
            setattr(parent, field, old)

        setattr(parent, field, new if index is None else [*old[:index], new, *old[index + 1 :]])
        return undo

    return change


def _more(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    """What rules do not need: names for their counterparts, and each part of 0 <= i < n."""
    match node:
        case ast.Name(name, ast.Load()) if name in names and len(names) > 1:
            others = [other for other in _NEXT.get(name, ()) if other in names]
            others = others or [names[(names.index(name) + 1) % len(names)]]
            yield from (ast.Name(other, ast.Load()) for other in others)
        case ast.Compare(left, operators, right) if len(operators) > 1:
            for i, operator in enumerate(operators):
                for new in _COMPARISONS.get(type(operator), []):
                    yield ast.Compare(left, [*operators[:i], new, *operators[i + 1 :]], right)
        case _:
            return


_TWINS = [("add", "sub"), ("fadd", "fsub"), ("and_", "or_"), ("shl", "lshr"), ("sext", "zext")]
_TWINS += [("fcmp_ordered", "fcmp_unordered"), ("load_some", "load"), ("store_some", "store")]
_TWIN = {"mul": "add", "fmul": "fadd", **dict(_TWINS), **{b: a for a, b in _TWINS if "_some" not in a}}
_SIGNS = {"<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",), "!=": ("==",)}


def _instructions(node: ast.AST) -> Iterator[ast.AST]:
    """Another instruction, or another comparison."""
    match node:
        case ast.Call(ast.Attribute(builder, name), args, keywords) if name in _TWIN:
            yield ast.Call(ast.Attribute(builder, _TWIN[name], ast.Load()), args, keywords)
        case ast.Call(ast.Name(name), args, keywords) if name in _TWIN:  # without the mask
            yield ast.Call(ast.Name(_TWIN[name], ast.Load()), args[:-1], keywords)
        case ast.Constant(str() as sign) if sign in (*_SIGNS, "ord"):
            yield from (ast.Constant(other) for other in _SIGNS.get(sign, ("uno",)))
        case _:
            return


def _saves_a_copy(node: ast.AST, new: ast.AST) -> bool:
    """Whether the only change is a copy that need not be made, or the order of two arguments that are alike."""
    if not (isinstance(node, ast.Call) and isinstance(new, ast.Call)):
        return False
    lost = {keyword.arg for keyword in node.keywords} - {keyword.arg for keyword in new.keywords}
    swapped = len(node.args) == len(new.args) and ast.unparse(node.func).endswith(_COMMUTE)
    if len(node.args) == len(new.args) == 3 and ast.unparse(node.args[0]) in ("'=='", "'!='"):
        swapped |= new.args[0] is node.args[0]
    return swapped or bool(lost & {"copy", "casting", "flags"})


def _skipped(tree: ast.AST, drives: bool) -> set[ast.AST]:
    """What only raises or converts nothing, and how many steps the threads are told that work takes."""
    found = _guards(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("parallel.spans", "parallel.run", "_in_spans"):
            found.update(ast.walk(node.args[-1]))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("reshape"):  # any negative length will do
            found.update(one for a in node.args if isinstance(a, ast.UnaryOp) for one in ast.walk(a))
        if isinstance(node, ast.For) and found.issuperset(node.body):  # a guard for each of some values
            found.update(ast.walk(node))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "vectors" and not drives:  # what drives vector code
            found.add(node)
            found.update(one for line in node.body for one in ast.walk(line))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "vectors" and not drives:
            found.update(ast.walk(node))
        if isinstance(node, ast.keyword) and node.arg in ("copy", "casting", "flags"):
            found.update(ast.walk(node))
        if isinstance(node, ast.FunctionDef):
            found.update(ast.walk(node.args))
    return found


def sample(name: str, mutants: list[KernelMutant], every: int) -> list[KernelMutant]:
    """Some of a kernel module's mutants, at least one; which ones depends on its text: a change brings others."""
    start = zlib.crc32(inspect.getsource(kernel(name)).encode()) % min(every, len(mutants))
    return mutants[start::every]
