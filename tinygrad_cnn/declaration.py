"""An op's declaration: its function on arrays, its gradient rules, and how they run backward.

Before the slash of the function stand the differentiable arrays, after it the plain parameters. A rule takes the
output's gradient `g` first; its other argument names say what the graph keeps for it: an input (`x`), only an input's
shape (`x_shape`), the output (`out`), a parameter (`axis`), or the constant that the forward returned beside its
output (`@op(residual="winners")`).

Beside the rules stands what the op costs, as `mul.flops(lambda out_shape: prod(out_shape))`: see flops.py.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from typing import cast as typed

import numpy as np

from .flops import Flops
from .graph import Tensor

registry: dict[str, "Op"] = {}  # every op by name: docs, diagrams and the property tests walk this
numpy_ops: dict[Any, "Primitive"] = {}  # NumPy's own functions -> ops, for __array_ufunc__ and __array_function__


class Primitive(Protocol):
    """An op as users call it: a function on arrays and Tensors, and its declaration."""

    op: "Op"
    vjp: Callable[..., None]
    vjp_all: Callable[[Callable[..., Any]], None]
    formula: Callable[..., None]
    flops: Callable[[Callable[..., int]], None]
    sample: Callable[[Callable[..., Any]], Callable[..., Any]]
    with_residual: Callable[..., tuple[Any, Any]]

    def __call__(self, *args: Any, **params: Any) -> Tensor: ...


class Op:
    """A primitive's declaration: its function on arrays, its rules, and a Plan per set of inputs wanting gradients.

    runs_alone: whether `forward` computes the output from the inputs' arrays; a Function runs by its own apply instead.
    """

    apply: Primitive
    runs_alone = True

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
        self.formulas: dict[str, str] = {}
        self.flops = Flops(self.name, self.inputs, self.variadic is not None, self.params)
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

    def formula(self, **by_input: str) -> None:
        """Set what readers see of each input's gradient, as x="∂out · 1[x > 0]"; the notation: notation.py.

        Raises TypeError for what is no input.
        """
        if unknown := sorted(by_input.keys() - set(self.inputs)):
            raise TypeError(f"{self.name}: a formula for {', '.join(unknown)}, but the inputs are {self.inputs}")
        self.formulas = {**self.formulas, **by_input}

    def set_sample(self, sample: Callable[..., Any]) -> Callable[..., Any]:
        """Set the function that draws inputs for the property tests: sample(draw) -> (arrays, params)."""
        self.sample = sample
        return sample

    def describe(self, scope: Sequence[Any], params: dict[str, Any]) -> str:
        """The call with dtypes and shapes instead of values, for error messages."""
        names = [f"{self.variadic}[{i}]" for i in range(len(scope))] if self.variadic else self.inputs
        parts = [f"{name}: {brief(value)}" for name, value in zip(names, scope, strict=False) if value is not None]
        return f"{self.name}({', '.join(parts + [f'{k}={brief(v)}' for k, v in params.items()])})"


def brief(value: Any) -> str:
    """An argument in an error message: arrays by dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Plan:
    """How one op runs backward when the inputs in the bit mask want gradients.

    steps[k] is the k-th wanted input's index and rule, wants[k] the names that the rule asks for. `save(scope, params)`
    gives the arguments of each rule; links[k] says where each of them hangs in the graph, for create_graph:
    an index into `Node.parents`, -1 for the Node's own output, None for a constant, -2 for what places itself, by
    `value.at(node)`.
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
        allowed = [*op.inputs, *op.flops.shapes, "out", *filter(None, [op.residual]), *op.params]
        allowed += ["needs"] if op.joint else []
        raise TypeError(f"{op.name}: a gradient rule asks for {want!r}; it can have {', '.join(allowed)}")
