"""Every small way to break a gradient rule, as new rules built in memory.

A rule is what `f.vjp(x=...)` or `f.vjp_all(...)` was given, with the plain functions of the same module that it
calls. A mutant changes one place in one of them. It is compiled into a copy of the module's namespace, so the
forward, which may share functions with the rules, stays right.
"""

import ast
import builtins
import copy
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import tinygrad_cnn.basics
import tinygrad_cnn.ops
from tinygrad_cnn.declaration import Op, registry

Function = ast.Lambda | ast.FunctionDef


class Rule(NamedTuple):
    """One rule as written: `name` is the input, None for a joint rule; `value` a lambda or a function's name."""

    op: Op
    name: str | None
    value: ast.expr
    reaches: frozenset[str]


class Mutant(NamedTuple):
    """One broken place, and the rules that have to be built anew for it."""

    label: str
    module: ModuleType
    target: str | Rule
    tree: Function
    rules: list[Rule]

    def apply(self) -> None:
        """Give the ops their broken rules; `restore` takes them out."""
        functions = _functions(self.module)
        for rule in self.rules:
            ops = {name: op.apply for name, op in registry.items() if not hasattr(builtins, name)}
            space = ops | vars(self.module)
            for name in rule.reaches:
                tree = self.tree if name == self.target else functions[name]
                _run(ast.Module([tree], []), space)
            value = self.tree if rule == self.target else rule.value
            broken = eval(compile(ast.fix_missing_locations(ast.Expression(value)), "<mutant>", "eval"), space)
            if rule.name is None:
                rule.op.joint = broken
            else:
                rule.op.rules = {**rule.op.rules, rule.name: broken}
            rule.op.plans.clear()


def _run(tree: ast.Module, space: dict[str, Any]) -> None:
    exec(compile(ast.fix_missing_locations(tree), "<mutant>", "exec"), space)


def modules() -> list[ModuleType]:
    """Every module that declares ops."""
    names = [m.name for m in pkgutil.walk_packages(tinygrad_cnn.ops.__path__, "tinygrad_cnn.ops.")]
    return [tinygrad_cnn.basics, *map(importlib.import_module, names)]


_parsed: dict[str, tuple[ast.Module, dict[str, ast.FunctionDef]]] = {}


def _parse(module: ModuleType) -> tuple[ast.Module, dict[str, ast.FunctionDef]]:
    if module.__name__ not in _parsed:
        tree = ast.parse(inspect.getsource(module))
        plain = {n.name: _bare(n) for n in tree.body if isinstance(n, ast.FunctionDef) and not n.decorator_list}
        _parsed[module.__name__] = tree, plain
    return _parsed[module.__name__]


def _functions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    return _parse(module)[1]


class _Bare(ast.NodeTransformer):
    """Without annotations, which no test could tell apart."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _bare(function: ast.FunctionDef) -> ast.FunctionDef:
    function = _Bare().visit(copy.deepcopy(function))
    function.returns = None
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    return function


def rules(module: ModuleType) -> list[Rule]:
    """The rules that a module declares, in order."""
    tree, functions = _parse(module)
    found = []
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        owner = call.func.value
        given: list[tuple[str | None, ast.expr]] = []
        if call.func.attr == "vjp" and isinstance(owner, ast.Name):
            given = [(k.arg, k.value) for k in call.keywords if not isinstance(k.value, ast.Constant)]
        elif call.func.attr == "vjp_all" and isinstance(owner, ast.Name):
            given = [(None, call.args[0])]
        for name, value in given:
            op = getattr(module, owner.id).op
            found.append(Rule(op, name, value, frozenset(_reached(value, functions))))
    return found


def _reached(tree: ast.AST, functions: dict[str, ast.FunctionDef]) -> set[str]:
    seen: set[str] = set()
    stack = [tree]
    while stack:
        for node in ast.walk(stack.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
                seen.add(node.id)
                stack.append(functions[node.id])
    return seen


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Every mutant of every rule of a module, each place once, with labels that are unique and stable."""
    declared = rules(module)
    for rule in declared:
        if isinstance(rule.value, ast.Lambda):
            yield from _of(module, f"{rule.op.name}.{rule.name or 'all'}", rule, rule.value, [rule])
    for name, function in _functions(module).items():
        users = [rule for rule in declared if name in rule.reaches]
        if users:
            yield from _of(module, f"{module.__name__.split('.')[-1]}.{name}", name, function, users)


def _of(module: ModuleType, title: str, target: str | Rule, tree: Function, users: list[Rule]) -> Iterator[Mutant]:
    for label, broken in _labelled(title, _broken(tree, users, is_rule=_is_rule(target, users))):
        yield Mutant(label, module, target, broken, users)


def _labelled(title: str, changes: Iterator[tuple[str, Function]]) -> Iterator[tuple[str, Function]]:
    seen: dict[str, int] = {}
    for what, broken in changes:
        label = f"{title}: {what}"
        seen[label] = seen.get(label, 0) + 1
        yield (f"{label} ({seen[label]})" if seen[label] > 1 else label), broken


def broken(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every mutant of one function that is no rule, and of the plain functions of its module that it calls."""
    module = sys.modules[function.__module__]
    tree, functions = _parse(module)
    line, own = function.__code__.co_firstlineno, functions.get(function.__name__)
    if own is None:
        own = next(node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == line)
    called = [functions[name] for name in sorted(_reached(own, functions)) if functions[name] is not own]
    for target in [own, *called]:
        title = target.name if isinstance(target, ast.FunctionDef) else "lambda"
        for label, mutant in _labelled(title, _broken(target, [], is_rule=False)):
            space = vars(module).copy()
            for helper in called:
                _run(ast.Module([mutant if helper is target else helper], []), space)
            root = mutant if own is target else own
            if isinstance(root, ast.Lambda):
                code = compile(ast.fix_missing_locations(ast.Expression(root)), "<mutant>", "eval")
                yield label, eval(code, space)
            else:
                _run(ast.Module([root], []), space)
                yield label, space[root.name]


def _is_rule(target: str | Rule, users: list[Rule]) -> bool:
    return isinstance(target, Rule) or all(isinstance(u.value, ast.Name) and u.value.id == target for u in users)


def _broken(tree: Function, users: list[Rule], is_rule: bool) -> Iterator[tuple[str, Function]]:
    bodies = [tree.body] if isinstance(tree, ast.Lambda) else tree.body
    names = _local_names(tree)
    skipped = _guards(tree)
    for body in bodies:
        for node in ast.walk(body):
            if node in skipped:
                continue
            for new in _alternatives(node, names):
                yield f"{_show(node)} -> {_show(new)}", _replaced(tree, node, new)
    for body in [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.If, ast.For))]:
        for field in ("body", "orelse"):
            block = getattr(body, field, [])
            for i, line in enumerate(block):
                if not isinstance(line, (ast.Return, ast.Raise)) and line not in skipped:
                    broken = copy.deepcopy(tree)
                    twin = _twin(tree, broken, body)
                    getattr(twin, field)[i : i + 1] = [] if len(block) > 1 else [ast.Pass()]
                    yield f"without {_show(line)}", broken
    if is_rule:
        yield from _other_arguments(tree, users)


def _other_arguments(tree: Function, users: list[Rule]) -> Iterator[tuple[str, Function]]:
    """The rule asks for another value than it should: another input, its shape, the output."""
    op = users[0].op
    arguments = [*tree.args.posonlyargs, *tree.args.args]
    taken = {a.arg for a in arguments}
    inputs = [*op.inputs, "out"]
    for i, argument in enumerate(arguments[1:], 1):
        old = argument.arg
        same_kind = (
            inputs if old in inputs else [f"{name}_shape" for name in op.inputs] if old.endswith("_shape") else []
        )
        for new in same_kind:
            if new not in taken:
                broken = copy.deepcopy(tree)
                for node in ast.walk(broken):
                    if isinstance(node, ast.Name) and node.id == old:
                        node.id = new
                [*broken.args.posonlyargs, *broken.args.args][i].arg = new
                yield f"asks for {new} as {old}", broken


def _local_names(tree: Function) -> list[str]:
    names = [a.arg for a in [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]]
    names += [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return list(dict.fromkeys(names))


def _guards(tree: ast.AST) -> set[ast.AST]:
    """What only raises (the tests of error messages look after it), and what tells plain numbers from arrays."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            found.update(ast.walk(node.args[1]))
        if isinstance(node, ast.keyword) and node.arg == "strict":
            found.add(node.value)
        if isinstance(node, ast.Attribute) and node.attr in ("ndim", "dtype"):
            found.add(
                node.value
            )  # which array a rank or a dtype is read from matters little; the rank is changed itself
        raises = isinstance(node, ast.If) and all(isinstance(line, ast.Raise) for line in node.body)
        if raises or isinstance(node, ast.Raise):
            found.update(ast.walk(node))
    return found


_OPERATORS: dict[type, list[Any]] = {
    ast.Add: [ast.Sub()],
    ast.Sub: [ast.Add()],
    ast.Mult: [ast.Div()],
    ast.Div: [ast.Mult()],
    ast.FloorDiv: [ast.Mult()],
    ast.Mod: [ast.Mult()],
    ast.Pow: [ast.Mult()],
    ast.MatMult: [ast.Mult()],
    ast.BitAnd: [ast.BitOr()],
    ast.BitOr: [ast.BitAnd()],
}
_COMPARISONS: dict[type, list[Any]] = {
    ast.Eq: [ast.NotEq()],
    ast.NotEq: [ast.Eq()],
    ast.Lt: [ast.LtE(), ast.Gt()],
    ast.LtE: [ast.Lt(), ast.GtE()],
    ast.Gt: [ast.GtE(), ast.Lt()],
    ast.GtE: [ast.Gt(), ast.LtE()],
    ast.Is: [ast.IsNot()],
    ast.IsNot: [ast.Is()],
    ast.In: [ast.NotIn()],
    ast.NotIn: [ast.In()],
}
_COMMUTE = ("min", "max", "np.maximum", "np.result_type", "np.promote_types", "isinstance")
_TWINS = [("sum", "mean"), ("sin", "cos"), ("exp", "log"), ("broadcast_to", "sum_to"), ("amax", "amin")]
_TWINS += [("maximum", "minimum"), ("getitem", "add_at"), ("softmax", "log_softmax"), ("abs", "sign")]
_TWIN = dict(_TWINS) | {b: a for a, b in _TWINS}


def _alternatives(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(left, operator, right):
            yield from (ast.BinOp(left, new, right) for new in _OPERATORS.get(type(operator), []))
            yield left
            yield right
            if isinstance(operator, (ast.Sub, ast.Div, ast.MatMult)):
                yield ast.BinOp(right, operator, left)
        case ast.UnaryOp(ast.USub() | ast.Not() | ast.Invert(), operand):
            yield operand
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            yield from values
        case ast.Compare(left, [operator], [right]):
            yield from (ast.Compare(left, [new], [right]) for new in _COMPARISONS.get(type(operator), []))
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.If(_, body, orelse):
            yield ast.If(ast.Constant(True), body, orelse)
            yield ast.If(ast.Constant(False), body, orelse)
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Name(name, ast.Load()):
            if name in names:
                yield from (ast.Name(other, ast.Load()) for other in names if other != name)
            elif name in _TWIN:
                yield ast.Name(_TWIN[name], ast.Load())
        case ast.Attribute(_, "ndim"):
            yield ast.BinOp(node, ast.Add(), ast.Constant(1))
        case ast.Attribute(_, "shape"):
            yield ast.Subscript(node, ast.Slice(None, None, ast.UnaryOp(ast.USub(), ast.Constant(1))), ast.Load())
        case ast.Call(function, args, keywords):
            plain = [a for a in args if not isinstance(a, ast.Starred)]
            if len(plain) == len(args):
                commutes = ast.unparse(function) in _COMMUTE
                for i in range(0 if commutes else len(args) - 1):
                    yield ast.Call(function, [*args[:i], args[i + 1], args[i], *args[i + 2 :]], keywords)
                if len(args) > 1:
                    yield ast.Call(function, args[:-1], keywords)
            for i, keyword in enumerate(keywords):
                if keyword.arg != "strict":  # a length check, which a right program never meets
                    yield ast.Call(function, args, [*keywords[:i], *keywords[i + 1 :]])
            yield from plain
            if isinstance(function, ast.Attribute):
                yield function.value
        case ast.Subscript(value, _, ast.Load()):
            yield value
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)
            if step is not None:
                yield ast.Slice(lower, upper, None)
        case ast.Tuple(parts, ast.Load()) if len(parts) > 1:
            for i in range(len(parts) - 1):
                yield ast.Tuple([*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]], ast.Load())
        case ast.AugAssign(target, operator, value):
            yield from (ast.AugAssign(target, new, value) for new in _OPERATORS.get(type(operator), []))
            yield ast.Assign([target], value)
        case ast.Return(value) if value is not None and not isinstance(value, (ast.Tuple, ast.List, ast.ListComp)):
            yield ast.Return(ast.UnaryOp(ast.USub(), value))
        case _:
            return


def _replaced(tree: Function, old: ast.AST, new: ast.AST) -> Function:
    memo: dict[int, Any] = {id(old): ast.copy_location(copy.deepcopy(new), old)}
    return copy.deepcopy(tree, memo)


def _twin(tree: ast.AST, twin: ast.AST, node: ast.AST) -> ast.AST:
    pairs = zip(ast.walk(tree), ast.walk(twin), strict=True)
    return next(b for a, b in pairs if a is node)


def _show(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
    return text if len(text) <= 90 else f"{text[:60]} ... {text[-27:]}"
