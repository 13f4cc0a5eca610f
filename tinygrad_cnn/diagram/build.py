"""From a recorded graph to a Drawing: what stands on each card, and which module it belongs to.

Reads the skeleton that Nodes keep after a backward, so the picture is the same before and after it, but for the
gradients. Cards are numbered in the order in which their ops were recorded.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..graph import Node, Outline, Tensor
from .model import Card, Drawing, Edge, Group, Row

VIEWS = ("ops", "arch", "teach")

# The family of an op by the beginning of its name, first match; the tag says it in words.
_FAMILIES = (
    ("conv", "CONV", ("conv",)),
    ("conv", "LINEAR", ("linear", "matmul")),
    ("loss", "LOSS", ("cross_entropy", "nll", "squared_error")),
    ("act", "ACT", ("relu", "sigmoid", "tanh", "softmax", "log_softmax", "clip")),
    ("pool", "POOL", ("max_pool", "avg_pool", "sum_pool")),
    ("pool", "REDUCE", ("amax", "amin", "mean", "sum", "var", "logsumexp")),
    ("norm", "NORM", ("batch_norm",)),
    ("norm", "DROP", ("drop",)),
    (
        "shape",
        "SHAPE",
        ("reshape", "permute", "broadcast_to", "pad", "flip", "concatenate", "stacked", "getitem", "cast", "clone"),
    ),
)
_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "concatenate": "‖"}
_LAYER_NAMES = {"w": "weight", "b": "bias"}  # the names that layers give to an op's inputs
_BRIEF = {"kernel_size": "k", "stride": "s", "padding": "p", "dilation": "d"}


@dataclass
class _Place:
    """Where an op stands: the group around it, and the layer whose only op it is."""

    group: str
    layer: str = ""
    kind: str = ""


@dataclass
class _Plan:
    nodes: list[Node]
    number: dict[Node, int]
    places: dict[Node, _Place]
    kinds: dict[str, str] = field(default_factory=dict)  # path of a module -> its class


def build(
    output: Tensor,
    names: Mapping[str, Tensor] | None = None,
    view: str = "ops",
    depth: int | None = None,
    max_nodes: int = 400,
    title: str | None = None,
) -> Drawing:
    """The Drawing of the graph that `output` was computed by.

    names: Tensors by the name to show. view: "ops" (every op), "arch" (modules folded) or "teach" (every
    op with the formula of its gradients, proved against its rule; the notation is in notation.py).
    depth: fold modules that lie deeper than this many levels. max_nodes: fold from the inside until no more cards
        than this are left; the title says so.

    Raises TypeError for what is no Tensor, RuntimeError for a Tensor without a graph, ValueError for a view that
    does not exist.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"graph: a {type(output).__name__} was given; a Tensor is needed")
    if view not in VIEWS:
        raise ValueError(f"graph: view={view!r}; it can be {', '.join(map(repr, VIEWS))}")
    if output.node is None:
        raise RuntimeError(
            "graph: this Tensor has no graph; compute it from one with requires_grad=True, outside no_grad"
        )
    plan = _plan(output.node)
    shown = {_key(tensor): name for name, tensor in (names or {}).items() if _key(tensor) is not None}
    deepest = max((place.group.count(".") + 1 for place in plan.places.values() if place.group), default=0)
    fold = 1 if view == "arch" and depth is None else depth
    drawing = _draw(output, plan, shown, fold, view == "teach")
    while len(drawing.cards) > max_nodes and (fold is None or fold > 0) and deepest:
        fold = deepest - 1 if fold is None else fold - 1
        drawing = _draw(output, plan, shown, fold, view == "teach")
    drawing.title = _title(output, plan, drawing, title)
    return drawing


def _key(tensor: Tensor) -> Any:
    """What stands for a Tensor in the graph."""
    return tensor.node if tensor.node is not None else getattr(tensor, "outline", None)


def _plan(root: Node) -> _Plan:
    seen, nodes = {root}, [root]
    for node in nodes:  # grows while it is walked
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                nodes.append(parent)
    nodes.sort(key=lambda node: node.order)
    ops_in: dict[str, set[str]] = {}
    for node in nodes:
        if node.scope is not None:
            ops_in.setdefault(node.scope.path, set()).add(node.plan.op.name)
    inner = {path for node in nodes if node.scope is not None for path, _ in node.scope.chain[:-1]}
    places: dict[Node, _Place] = {}
    kinds: dict[str, str] = {}
    for node in nodes:
        if node.scope is None:
            places[node] = _Place("")
            continue
        chain = node.scope.chain
        kinds.update(chain)
        path, kind = chain[-1]
        if path and len(ops_in[path]) == 1 and path not in inner and len(chain) > 1:  # perhaps called several times
            places[node] = _Place(chain[-2][0], path, kind)
        else:
            places[node] = _Place(path)
    return _Plan(nodes, {node: i for i, node in enumerate(nodes)}, places, kinds)


def _draw(output: Tensor, plan: _Plan, shown: Mapping[Any, str], fold: int | None, teach: bool) -> Drawing:
    drawing = Drawing("")
    folded: dict[str, list[Node]] = {}
    card_of: dict[Node, str] = {}
    for node in plan.nodes:
        if node.plan is None:
            continue
        place = plan.places[node]
        around = _folded_path(place, fold)
        if around is not None:
            folded.setdefault(around, []).append(node)
    groups = {path: f"g{i}" for i, path in enumerate(_groups(plan, fold))}
    drawing.groups = _group_boxes(groups, plan)
    inputs: dict[Any, str] = {}
    started: set[str] = set()
    fold_id = {path: f"m{plan.number[nodes[0]]}" for path, nodes in folded.items()}
    seen_edges: set[tuple[str, str]] = set()
    for node in plan.nodes:
        if node.plan is None:
            continue
        place = plan.places[node]
        around = _folded_path(place, fold)
        if around is not None:
            card_of[node] = fold_id[around]
            if around not in started:
                started.add(around)
                drawing.cards.append(_stack(around, folded[around], plan, fold_id[around], groups))
        else:
            card_of[node] = f"n{plan.number[node]}"
        target = card_of[node]
        for card, edge in _inputs_of(node, place, target, plan, shown, inputs, groups, around):
            if card is not None:
                drawing.cards.append(card)
            drawing.edges.append(edge)
        if around is None:
            card = _op_card(target, node, place, groups, output if node is output.node else None)
            drawing.cards.append(replace(card, rows=card.rows + _formulas(node)) if teach else card)
        for parent in node.parents:
            if parent.plan is None:
                continue
            source = card_of[parent]
            if source == target or ((source, target) in seen_edges and around is not None):
                continue
            seen_edges.add((source, target))
            drawing.edges.append(Edge(source, target, rows=_flow(parent)))
    return drawing


def _folded_path(place: _Place, fold: int | None) -> str | None:
    """The module whose stack an op disappears into, or None."""
    if fold is None:
        return None
    path = place.group if not place.layer else place.layer
    parts = path.split(".") if path else []
    if len(parts) <= fold or (place.layer and place.group.count(".") + bool(place.group) < fold):
        return None
    if place.layer and len(parts) == fold + 1 and not place.group:
        return None  # a layer of the outermost module is a card already
    return ".".join(parts[: max(fold, 1)])


def _groups(plan: _Plan, fold: int | None) -> list[str]:
    """The paths of the modules that get a box, outermost first."""
    paths: dict[str, None] = {}
    for node in plan.nodes:
        place = plan.places[node]
        if node.plan is None or not place.group or _folded_path(place, fold) is not None:
            continue
        parts = place.group.split(".")
        for i in range(1, len(parts) + 1):
            path = ".".join(parts[:i])
            if path in plan.kinds:  # a container that was never called has no box of its own
                paths[path] = None
    return sorted(paths, key=lambda path: path.count("."))


def _group_boxes(groups: Mapping[str, str], plan: _Plan) -> list[Group]:
    return [
        Group(id, path, plan.kinds.get(path, ""), parent=_group_id(path.rpartition(".")[0], groups))
        for path, id in groups.items()
    ]


def _group_id(path: str, groups: Mapping[str, str]) -> str:
    """The id of the innermost box around `path`."""
    while path and path not in groups:
        path = path.rpartition(".")[0]
    return groups.get(path, "")


def _inputs_of(
    node: Node,
    place: _Place,
    target: str,
    plan: _Plan,
    shown: Mapping[Any, str],
    inputs: dict[Any, str],
    groups: Mapping[str, str],
    folded: str | None,
) -> Iterable[tuple[Card | None, Edge]]:
    """The cards of leaves and constants that enter an op, each once, and their edges."""
    op = node.plan.op
    for k, parent in zip(node.plan.indices, node.parents, strict=False):
        if parent.plan is not None or folded is not None:
            continue
        card = None
        if parent not in inputs:
            inputs[parent] = f"n{plan.number[parent]}"
            name = shown.get(parent) or _leaf_name(op, k, node)
            card = _leaf_card(parent, inputs[parent], name, _group_id(place.group, groups))
        yield card, Edge(inputs[parent], target, "parameter")
    for k, constant in node.constants:
        if not isinstance(constant, Outline) or (folded is not None and k):
            continue
        card = None
        if constant not in inputs:
            inputs[constant] = f"c{plan.number[node]}.{k}"
            name = shown.get(constant) or ("input" if k == 0 else _leaf_name(op, k, node))
            family = "input" if k == 0 else "parameter"
            rows = (Row("no gradient"),) if k == 0 else (Row(_by(constant.shape)), Row("frozen"))
            shape = "input" if k == 0 else "note"
            card = Card(
                inputs[constant], shape, family, name, rows=rows, group=_group_id(place.group, groups) if k else ""
            )
        label = (Row(_by(constant.shape)),) if k == 0 else ()
        yield card, Edge(inputs[constant], target, "constant", rows=label)
    labels = node.params.get("labels")
    if labels is not None:
        text = labels if isinstance(labels, str) else f"{labels.dtype}{labels.shape}"  # a str once backward is done
        text = text.replace("(", " (").replace(",)", ")")
        id = f"t{plan.number[node]}"
        card = Card(id, "target", "input", "labels", rows=(Row(f"{text} · no gradient"),))
        yield card, Edge(id, target, "constant")


def _leaf_name(op: Any, k: int, node: Node) -> str:
    name = op.variadic or op.inputs[k]
    if node.scope is not None and node.scope.path and name in _LAYER_NAMES:
        return f"{node.scope.path}.{_LAYER_NAMES[name]}"
    return str(_LAYER_NAMES.get(name, name) if node.scope is not None else name)


def _leaf_card(leaf: Node, id: str, name: str, group: str) -> Card:
    gradient = leaf.watch.grad if leaf.watch is not None else None
    row = Row(f"‖∂‖ {_norm(gradient):.3g}" if gradient is not None else "∂ not computed", "gradient")
    kind = "" if leaf.dtype == "float32" else f" {leaf.dtype}"
    return Card(id, "note", "parameter", name, rows=(Row(_by(leaf.shape) + kind), row), group=group)


def _op_card(id: str, node: Node, place: _Place, groups: Mapping[str, str], output: Tensor | None) -> Card:
    op = node.plan.op
    group = _group_id(place.group, groups)
    family, tag = _family(op.name)
    numbers = [c for _, c in node.constants if not isinstance(c, Outline)]
    tensors = len(node.parents) + sum(isinstance(c, Outline) for _, c in node.constants)
    if op.name in _SIGNS and tensors > 1:
        return Card(id, "sign", "math", _SIGNS[op.name], group=group, tooltip=op.name)
    rows = []
    layer = (
        place.layer.rpartition(".")[2] if place.layer and not place.layer.rpartition(".")[2].isdigit() else place.layer
    )
    facts = _facts(node)
    if place.layer:
        rows.append(Row(" ".join([place.kind, *facts])))
        parameters = sum(math.prod(p.shape) for p in node.parents if p.plan is None)
        if parameters:
            rows[-1] = replace(rows[-1], text=f"{rows[-1].text} · {parameters:,} params")
    elif facts:
        rows.append(Row(" ".join(facts)))
    if numbers and op.name in _SIGNS:
        rows.append(Row(f"{_SIGNS[op.name]} {numbers[0]:.4g}"))
    if output is not None and output.array.size == 1:
        rows.append(Row(f"{'L' if family == 'loss' else 'value'} = {output.array.item():.4f}", "bold"))
    return Card(id, "card", family, layer or op.name, tag, tuple(rows), group, tooltip=place.layer)


def _formulas(node: Node) -> tuple[Row, ...]:
    """One line for each input that a gradient flows to."""
    op = node.plan.op
    names = [op.variadic] if op.variadic else [op.inputs[i] for i in node.plan.indices]
    return tuple(Row(f"∂{name} = {op.formulas[name]}", "gradient") for name in names if name in op.formulas)


def _family(name: str) -> tuple[str, str]:
    for family, tag, starts in _FAMILIES:
        if name.startswith(starts):
            return family, tag
    return "math", "OP"


def _facts(node: Node) -> list[str]:
    """Channels and the parameters that differ from their defaults, briefly: 1→8 k3 p1."""
    op, facts = node.plan.op, []
    shapes = {node.plan.indices[k]: parent.shape for k, parent in enumerate(node.parents)}
    shapes |= {k: constant.shape for k, constant in node.constants if isinstance(constant, Outline)}
    if op.name.startswith("conv2d") and 1 in shapes and 0 in shapes:
        facts += [f"{shapes[0][1]}→{node.shape[1]}", f"k{_pair(shapes[1][2:])}"]
    elif op.name == "linear" and 0 in shapes:
        facts.append(f"{shapes[0][-1]}→{node.shape[-1]}")
    for name, value in node.params.items():
        if name in ("labels", "shape") or _is_default(value, op.defaults.get(name)):  # the edges say both
            continue
        facts.append(f"{_BRIEF[name]}{_pair(value)}" if name in _BRIEF else f"{name}={_short(value)}")
    return facts


def _is_default(value: Any, default: Any) -> bool:
    if value is None or (isinstance(value, str) and value.endswith(")")):  # an array, by dtype and shape
        return True
    if isinstance(value, tuple) and value and all(v == default for v in value):
        return True
    return type(value) is type(default) and not hasattr(value, "shape") and bool(value == default)


def _pair(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return str(value[0]) if len(set(value)) == 1 else "×".join(map(str, value))
    return str(value)


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, float) else f"{value:.4g}"
    return text if len(text) <= 24 else f"{text[:21]}..."


def _stack(path: str, nodes: list[Node], plan: _Plan, id: str, groups: Mapping[str, str]) -> Card:
    """A folded module: its class, how many ops, how many parameters."""
    leaves = {parent for node in nodes for parent in node.parents if parent.plan is None}
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    families = Counter(_family(node.plan.op.name)[0] for node in nodes)
    family = "conv" if families["conv"] else families.most_common(1)[0][0]
    rows: tuple[Row, ...] = (Row(plan.kinds.get(path, "")), Row(f"{len(nodes)} ops · {parameters:,} params"))
    gradients = [leaf.watch.grad for leaf in leaves if leaf.watch is not None and leaf.watch.grad is not None]
    if gradients:
        rows += (Row(f"‖∂‖ {math.hypot(*map(_norm, gradients)):.3g}", "gradient"),)
    return Card(
        id,
        "stack",
        family,
        path,
        "MODULE",
        tuple(row for row in rows if row.text),
        _group_id(path.rpartition(".")[0], groups),
    )


def _flow(node: Node) -> tuple[Row, ...]:
    """The label of an edge: the shape once, and the gradient where one was kept."""
    rows = (Row(_by(node.shape)),)
    gradient = node.watch.grad if node.watch is not None else None
    return rows if gradient is None else (*rows, Row(f"∂ {_norm(gradient):.3g}", "gradient"))


def _norm(gradient: Tensor) -> float:
    """The Euclidean norm, in float64, scaled so that nothing overflows."""
    values = gradient.array.astype("float64")
    top = float(abs(values).max(initial=0.0))
    return top * float(((values / top) ** 2).sum()) ** 0.5 if 0.0 < top < math.inf else top


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _title(output: Tensor, plan: _Plan, drawing: Drawing, title: str | None) -> str:
    leaves = [node for node in plan.nodes if node.plan is None]
    model = next((node.scope.chain[0][1] for node in plan.nodes if node.scope is not None), "")
    parts = [title or model] if title or model else []
    if output.array.size == 1:
        loss = output.node is not None and _family(output.node.plan.op.name if output.node.plan else "")[0] == "loss"
        parts.append(f"{'loss' if loss else 'value'} {output.array.item():.4f}")
    parts.append(f"{sum(math.prod(leaf.shape) for leaf in leaves):,} parameters")
    done = any(leaf.watch is not None and leaf.watch.grad is not None for leaf in leaves)
    parts.append("backward done" if done else "before backward")
    stacks = [card for card in drawing.cards if card.shape == "stack"]
    if stacks:
        ops = len(plan.nodes) - len(leaves)
        folded = ops - sum(card.shape in ("card", "sign") for card in drawing.cards)
        parts.append(f"{folded} ops folded into {len(stacks)} modules")
    return " · ".join(parts)
