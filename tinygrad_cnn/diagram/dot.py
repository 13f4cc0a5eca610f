"""A recorded graph as Graphviz DOT, before or after backward. Needs no `dot` program; drawing it as a picture does."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Array, Node, Tensor

if TYPE_CHECKING:
    import graphviz

# Fill and line of each family, the operator's name, and which ops belong to it (black text >= 16:1 on each fill).
_FAMILIES = {
    "conv": ("#D6E8F5", "#00619A", ("conv", "linear", "matmul")),
    "act": ("#FBF4C6", "#4D4600", ("relu", "sigmoid", "tanh", "softmax", "log_softmax")),
    "pool": ("#D2EDE2", "#004D38", ("max_pool", "avg_pool", "sum_pool", "amax", "mean", "sum")),
    "norm": ("#F4E1EC", "#9B2F6D", ("batch_norm", "mask", "dropout")),
    "loss": ("#FCE3CF", "#B34700", ("cross_entropy", "mse")),
    "op": ("#EFEFEF", "#6B6B6B", ("",)),
}
_PARAMETER = ("#FFF6E0", "#8A5E00")


def draw(output: Tensor, names: Mapping[str, Tensor] | None = None, title: str = "") -> "graphviz.Digraph":
    """The graph that `output` was computed by, inputs at the top, as an editable `graphviz.Digraph`.

    names: Tensors by the name to show, as in `dict(model.named_parameters())`.

    Nodes are numbered in the order in which they were made, so the same program gives the same text. Raises
    RuntimeError for a Tensor without a graph.
    """
    import graphviz

    if not isinstance(output, Tensor):
        raise TypeError(f"draw: a {type(output).__name__} was given; the Tensor at the end of a graph is needed")
    named = {} if names is None else names
    if not isinstance(named, Mapping) or not all(isinstance(value, Tensor) for value in named.values()):
        raise TypeError(
            f"draw: names is a {type(names).__name__}; a dict of name -> Tensor is needed, "
            "as in dict(model.named_parameters())"
        )
    if output.node is None:
        raise RuntimeError(
            "draw: this Tensor has no graph; compute it from one with requires_grad=True, outside no_grad"
        )
    nodes = _nodes(output.node)
    number = {node: i for i, node in enumerate(nodes)}
    shown = {tensor.node: name for name, tensor in named.items() if tensor.node is not None}
    picture = graphviz.Digraph(
        comment="drawn by tinygrad_cnn",
        graph_attr={"label": title, "labelloc": "t", "fontname": "Arial", "fontsize": "14", "rankdir": "TB"},
        node_attr={"fontname": "Arial", "fontsize": "11", "shape": "box", "style": "rounded,filled"},
        edge_attr={"fontname": "Arial", "fontsize": "9", "color": "#333333"},
    )
    for node, i in number.items():
        fill, line, shape = _look(node)
        label = graphviz.escape(_label(node, shown.get(node)))
        chain = "leaf" + str(i) if node.plan is None else "ops"  # ops of one group stand below each other
        picture.node(f"n{i}", label, fillcolor=fill, color=line, shape=shape, group=chain)
    for node, i in number.items():
        for parent in node.parents:
            if parent.plan is None:  # its own card shows the shape
                picture.edge(f"n{number[parent]}", f"n{i}", style="dashed", arrowhead="none")
            else:
                picture.edge(f"n{number[parent]}", f"n{i}", label=f" {_by(parent.shape)}")
    return picture


def _nodes(root: Node) -> list[Node]:
    """Every Node below, earliest first."""
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.order)


def _look(node: Node) -> tuple[str, str, str]:
    if node.plan is None:
        return (*_PARAMETER, "note")
    name = node.plan.op.name
    for fill, line, starts in _FAMILIES.values():
        if name.startswith(starts):
            return fill, line, "box"
    raise KeyError(name)


def _label(node: Node, name: str | None) -> str:
    if node.plan is None:
        rows = [name or "leaf", f"{_by(node.shape)} {node.dtype}"]
        gradient = node.watch.grad if node.watch is not None else None
        if gradient is not None:
            rows.append(f"‖∂‖ = {_norm(gradient.array):.3g}")
        else:
            rows.append("∂ not computed")
        return "\n".join(rows)
    rows = [node.plan.op.name]
    defaults = node.plan.op.defaults
    changed = [f"{key}={_short(value)}" for key, value in node.params.items() if not _same(value, defaults.get(key))]
    if changed:
        rows.append(", ".join(changed))
    return "\n".join(rows)


def _norm(g: Array) -> float:
    """sqrt(sum(g^2)), the largest entry being divided out so that no square overflows or vanishes."""
    with np.errstate(all="ignore"):
        size = np.abs(g.astype(np.float64))
        largest = float(np.max(size, initial=0.0))
        if largest == 0.0 or not math.isfinite(largest):
            return largest
        return largest * math.sqrt(float(np.square(size / largest).sum()))


def _same(value: Any, default: Any) -> bool:
    if type(value) is tuple and set(value) == {default}:
        return True
    return type(value) is type(default) and not hasattr(value, "shape") and bool(value == default)


def _short(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{value.dtype}{tuple(value.shape)}"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
