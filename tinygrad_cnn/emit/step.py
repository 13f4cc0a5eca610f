"""A loss and its gradients: every op forward, then every gradient rule, in the order of backward."""

import re
from typing import Any

import numpy as np

from ..graph import Node
from ..nn.hooks import is_of_module
from .templates import Call, templates
from .writer import Script, Writer, recorded

TITLE = [
    '"""A loss and its gradients in plain NumPy, one op at a time.',
    "",
    "Above each gradient stands its formula; d_x is the gradient of x, and ∂out that of the op's result.",
    '"""',
]


class Step(Writer):
    """The script that computes a loss and the gradient of each leaf."""

    def write(self, root: Node) -> Script:
        """The script of a loss, the Node `root`. Raises RuntimeError for a hook, which no script can hold."""
        nodes = recorded(root)
        for node in nodes:
            self._check_hooks(node)
        calls = {node: self.call(node) for node in nodes if node.plan is not None}
        head, back = [], []
        for node, call in calls.items():
            head += self.forward(node, call)
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
        body = "\n".join(["# Forward", "", *head, "# Backward", "", *back, "", *result, ""])
        script = self.document(TITLE, body)
        script.gradients = dict(self.leaves)
        return script

    def _check_hooks(self, node: Node) -> None:
        """Refuse a Node whose gradient a hook may change."""
        if node.watch is None or not node.watch.hooks:
            return
        hook = next(iter(node.watch.hooks.values()))
        if node.plan is not None and is_of_module(hook):
            path = node.scope.path if node.scope is not None else ""
            what = f"the module {path!r}" if path else "the model"
            raise RuntimeError(
                f"to_numpy: {what} has a backward hook, which may change gradients, and a script of the ops would "
                "write others than backward gives; remove() the hook and compute the loss again"
            )
        name = self.values.results.get(node) or self.values.named.get(node, ("",))[0]
        made = "a leaf" if node.plan is None else f"the result of {node.plan.op.name}"
        what = f"{name!r} ({made} of shape {node.shape})" if name else f"{made} of shape {node.shape}"
        raise RuntimeError(
            f"to_numpy: {what} has a hook, {getattr(hook, '__qualname__', None) or repr(hook)}, which may change its "
            "gradient, and a script of the ops would write others than backward gives; take the hook out with the "
            "remove() of what register_hook returned"
        )

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


def _term(expression: str, adds: Any) -> str:
    return f"({expression})" if adds and not re.fullmatch(r"\w+", expression) else expression


def _summed(expression: str, call: Call, shape: tuple[int, ...]) -> str:
    """The gradient of an input that may have been broadcast."""
    whole = np.broadcast_shapes(*(s for s in call.shapes if s is not None))
    return expression if whole == shape else f"sum_to({expression}, {shape})"
