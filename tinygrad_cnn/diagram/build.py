"""From a graph to a Drawing: the cards, edges and groups of a view.

Cards are numbered in the order in which their ops were recorded, so that the same program gives the same drawing.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..flops import flops_of, total_flops
from ..graph import Node, Outline, Tensor
from ..shapes import is_int
from .captions import SIGNS, amount, by, decimals, facts, family, is_sign, number, some
from .details import Details
from .folding import Stack, fold
from .kept import kept_memory
from .model import Card, Drawing, Edge, Group, Row
from .skeleton import Skeleton, count, input_shapes, op_name, outlines
from .views import View, view_of

PAGE = 24  # ops that fit a readable page; above this, repeats and then modules fold unless told otherwise
FEWEST = 6  # cards that are worth a picture: what would leave fewer stays open up to two pages
PARAMS = ("nodes", "inline", "hide")


@dataclass(frozen=True)
class Options:
    """How to draw a graph; `picture.draw` says what each of these does."""

    view: str = "ops"
    depth: int | None = None
    fold: bool | None = None
    params: str = "nodes"
    max_nodes: int = 400
    title: str | None = None
    legend: bool = True
    direction: str = "TB"
    theme: str = "auto"
    parameters: Mapping[str, Tensor] = field(default_factory=dict)  # of the model, by path
    problems: Mapping[Node, str] = field(default_factory=dict)  # of ops, beside those that the view finds
    stamps: Mapping[str, str] = field(default_factory=dict)  # of ops by name: what gradcheck said
    emphasis: frozenset[Node] | None = None  # all else is pale
    is_page: bool = False  # draw every module open, with the stack that stands for it where the page folds it


def build(skeleton: Skeleton, options: Options) -> Drawing:
    """The Drawing of a graph. Raises ValueError for an option that does not exist."""
    if options.params not in PARAMS:
        raise ValueError(f"graph: params={options.params!r}; it can be {', '.join(map(repr, PARAMS))}")
    if options.direction not in ("TB", "LR"):
        raise ValueError(f"graph: direction={options.direction!r}; it can be 'TB' or 'LR'")
    if options.fold not in (None, True, False):
        raise ValueError(f"graph: fold={options.fold!r}; it can be None, True or False")
    for name, value in (("depth", 1 if options.depth is None else options.depth), ("max_nodes", options.max_nodes)):
        if not is_int(value) or value < 1:
            raise ValueError(f"graph: {name}={value!r}; it can be an int from 1 on")
    if options.theme not in ("auto", "light", "dark", "print"):
        raise ValueError(f"graph: theme={options.theme!r}; it can be 'auto', 'light', 'dark' or 'print'")
    view = view_of(options.view, skeleton, options.parameters)
    stacks = _folded(skeleton, view, options)
    refused = {stacks.get(node) for node in options.problems}  # what is around an op that refused its inputs stays open
    stacks = {node: stack for node, stack in stacks.items() if stack not in refused}
    if options.is_page and len(skeleton.nodes) <= MOST_ON_A_PAGE:
        drawing = _Drawer(skeleton, view, {}, options).draw(_paths(skeleton, stacks))
    else:
        drawing = _Drawer(skeleton, view, stacks, options).draw(set())
    drawing.direction, drawing.theme = options.direction, "light" if options.theme == "print" else options.theme
    drawing.title = _title(skeleton, drawing, stacks, options)
    drawing.legend = view.legend() if options.legend else ()
    return drawing


MOST_ON_A_PAGE = 2000  # nodes; a page of more opens with what is folded


def _folded(skeleton: Skeleton, view: View, options: Options) -> dict[Node, Stack]:
    """The stacks that bring the number of cards below the limits, or those that were asked for."""
    depth, limit = options.depth, options.max_nodes
    if depth is None and options.view == "arch":
        depth = 1
    is_free = depth is None and options.fold is None
    stacks = fold(skeleton, depth, options.fold is True)
    if is_free:
        limit = min(limit, PAGE)
    if options.fold is False:
        limit = options.max_nodes
    if _visible(skeleton, stacks) <= limit:
        return stacks
    stacks = fold(skeleton, depth, True) if options.fold is not False else stacks
    deepest = max((place.group.count(".") + 1 for place in skeleton.place.values() if place.group), default=0)
    level = deepest if depth is None else min(depth - 1, deepest)
    while level >= 1 and _visible(skeleton, stacks) > limit:
        folded = fold(skeleton, level, options.fold is not False)
        if (
            is_free
            and _visible(skeleton, folded) < FEWEST
            and _visible(skeleton, stacks) <= min(2 * PAGE, options.max_nodes)
        ):
            break
        stacks = folded
        level -= 1
    return stacks


def _visible(skeleton: Skeleton, stacks: Mapping[Node, Stack]) -> int:
    """How many cards for ops are drawn."""
    return sum(node not in stacks for node in skeleton.ops) + len(set(stacks.values()))


def _paths(skeleton: Skeleton, stacks: Mapping[Node, Stack]) -> set[str]:
    """The paths of the modules that are folded."""
    paths = set()
    for stack in set(stacks.values()):
        depth = stack.path.count(".")
        for node in stack.nodes:
            path = ".".join(skeleton.place[node].path.split(".")[: depth + 1])
            if path in skeleton.kinds:
                paths.add(path)
    return paths


class _Drawer:
    def __init__(self, skeleton: Skeleton, view: View, stacks: Mapping[Node, Stack], options: Options) -> None:
        self.skeleton, self.view, self.stacks, self.options = skeleton, view, stacks, options
        self.drawing = Drawing("")
        self.groups = {path: f"g{i}" for i, path in enumerate(self._open_paths())}
        self.inputs: dict[Any, str] = {}  # the cards of leaves and constants
        self.edges: set[tuple[str, str]] = set()
        self.details = Details(skeleton) if options.is_page else None

    def draw(self, folded: set[str]) -> Drawing:
        """The drawing without title and legend. folded: the modules that a page folds at first."""
        self._add_groups(folded)
        if self.skeleton.root.plan is None:
            self._add_leaf(self.skeleton.root, self.skeleton.title(self.skeleton.root), "")
        started: set[Stack] = set()
        for node in self.skeleton.ops:
            stack = self.stacks.get(node)
            self._add_inputs(node, stack)
            if stack is not None and stack not in started:
                started.add(stack)
                id = self._id(node)
                self.drawing.cards.append(self._stack_card(stack, id))
                if self.details is not None:
                    self.drawing.details[id] = self.details.of_module(stack.nodes, stack.title, stack.kind)
            if stack is None:
                id = self._id(node)
                self.drawing.cards.append(self._op_card(node, id))
                if self.details is not None:
                    cards = {k: self.inputs.get(parent, self._id(parent)) for k, parent in enumerate(node.parents)}
                    self.drawing.details[id] = self.details.of_op(node, cards)
            for k, parent in enumerate(node.parents):
                if parent.plan is not None:
                    self._add_flow(parent, node, k)
        for card, user, cut in self.view.loose():
            self.drawing.cards.append(card)
            if user is not None:
                edge = Edge(card.id, self._id(user), "constant", (Row(cut, "problem"),), problem=True)
                self.drawing.edges.append(edge)
        return self.drawing

    def _id(self, node: Node) -> str:
        stack = self.stacks.get(node)
        if stack is not None:
            return f"m{self.skeleton.number[stack.copies[0][0]]}"
        return f"n{self.skeleton.number[node]}"

    def _open_paths(self) -> list[str]:
        """The paths of the modules that get a box, outermost first."""
        paths: dict[str, None] = {}
        for node in self.skeleton.ops:
            stack = self.stacks.get(node)
            group = self.skeleton.place[node].group if stack is None else stack.inside
            parts = group.split(".") if group else []
            for i in range(1, len(parts) + 1):
                path = ".".join(parts[:i])
                if path in self.skeleton.kinds:  # a container that was never called has no box of its own
                    paths[path] = None
        return sorted(paths, key=lambda path: path.count("."))

    def _add_groups(self, folded: set[str]) -> None:
        members: dict[str, list[Node]] = {path: [] for path in self.groups}
        for node in self.skeleton.ops:
            parts = self.skeleton.place[node].group.split(".")
            for i in range(1, len(parts) + 1):
                if (path := ".".join(parts[:i])) in members:
                    members[path].append(node)
        for path, id in self.groups.items():
            nodes, kind = members[path], self.skeleton.kinds.get(path, "")
            outer = path.rpartition(".")[0]
            stack = None
            if self.details is not None:
                whole = Stack(path, kind, path, path, outer, (tuple(nodes),))
                stack = self._stack_card(whole, f"s{id}")
                self.drawing.details[stack.id] = self.details.of_module(nodes, path, kind)
            note = self.view.note(nodes)
            self.drawing.groups.append(Group(id, path, kind, note, self._group(outer), stack, path in folded))

    def _group(self, path: str) -> str:
        """The id of the innermost box around `path`."""
        while path and path not in self.groups:
            path = path.rpartition(".")[0]
        return self.groups.get(path, "")

    def _is_faint(self, *nodes: Node) -> bool:
        """Whether none of the nodes is what the picture is about."""
        return self.options.emphasis is not None and self.options.emphasis.isdisjoint(nodes)

    def _op_card(self, node: Node, id: str) -> Card:
        skeleton, op = self.skeleton, node.plan.op
        place = skeleton.place[node]
        group = self._group(place.group)
        kind, tag = family(op.name)
        said = self.options.problems.get(node)
        problem = f"{op_name(node)} refuses its inputs" if said else self.view.problem(node)
        link = _link(skeleton, node)
        rows = self.view.rows(node)
        name = "" if node.scope is not None else skeleton.name(node)
        if is_sign(node) and said is None:
            about = f"{name} = {op.name}" if name else op.name
            return Card(
                id, "sign", "math", SIGNS[op.name], group=group, tooltip=about, link=link, problem=problem, rows=rows,
                faint=self._is_faint(node),
            )  # fmt: skip
        last = place.layer.rpartition(".")[2]
        layer = place.layer if last.isdigit() else last
        title = layer or (f"{name} = {op_name(node)}" if name else op_name(node))
        return Card(
            id,
            "card",
            kind,
            title,
            tag,
            (*self._fact_rows(node), *self._value_row(node, kind), *rows, *self._stamp(op.name), *_message(node, said)),
            group,
            tooltip=place.layer or op.name,
            link=link,
            problem=problem,
            strips=self.view.strips(node),
            faint=self._is_faint(node),
        )

    def _fact_rows(self, node: Node) -> list[Row]:
        """The layer's class, what differs from the defaults, and the number of parameters."""
        place, said = self.skeleton.place[node], facts(node)
        op = node.plan.op
        rows = []
        if place.layer:
            text = " ".join([place.kind, *said])
            parameters = count(self.skeleton.parameters([node]))
            rows.append(Row(f"{text} · {parameters:,} params" if parameters else text))
        elif said:
            rows.append(Row(" ".join(said)))
        numbers = [c for _, c in node.constants if not isinstance(c, Outline)]
        if numbers and op.name in SIGNS:
            rows.append(Row(f"{SIGNS[op.name]} {numbers[0]:.4g}"))
        if self.options.params == "inline":
            for i, leaf in zip(node.plan.indices, node.parents, strict=False):
                if leaf.plan is None:
                    name = self.skeleton.name(leaf) or self.skeleton.input_name(node, i)
                    rows.append(Row(f"{name.rpartition('.')[2]} {by(leaf.shape)}", "quiet"))
                    rows += self.view.leaf_rows(leaf)
        return rows

    def _value_row(self, node: Node, kind: str) -> list[Row]:
        result = self.skeleton.result
        if node is not self.skeleton.root or result is None or result.size != 1:
            return []
        return [Row(f"{'L' if kind == 'loss' else 'value'} = {decimals(result.item())}", "bold")]

    def _stamp(self, op: str) -> list[Row]:
        said = self.options.stamps.get(op)
        return (
            []
            if said is None
            else [Row(said, "plain" if said.startswith("✓") else "problem" if said.startswith("✗") else "quiet")]
        )

    def _stack_card(self, stack: Stack, id: str) -> Card:
        skeleton, nodes = self.skeleton, stack.nodes
        parameters = skeleton.parameters(nodes)
        families = Counter(family(node.plan.op.name)[0] for node in nodes)
        kind = "conv" if families["conv"] else families.most_common(1)[0][0]
        rows = [Row(stack.kind)] if stack.kind else []
        if stack.path and stack.path != stack.last_path:
            rows.append(Row(f"{stack.path} … {stack.last_path}"))
        tally = f"{len(nodes)} ops"
        if parameters:
            numbers = count(parameters)
            tally += f" · {numbers:,} param{'s' if numbers != 1 else ''}"
        rows.append(Row(tally))
        problems = [p for node in nodes if (p := self.options.problems.get(node) or self.view.problem(node))]
        problem = (
            problems[0]
            if len(problems) == 1
            else f"{len(problems)} problems, the first: {problems[0]}"
            if problems
            else ""
        )
        tag = "MODULE" if stack.path else "OPS"
        return Card(
            id, "stack", kind, stack.title, tag, (*rows, *self.view.stack_rows(stack)), self._group(stack.inside),
            tooltip=some(list(dict.fromkeys(map(skeleton.title, nodes))), 12), problem=problem,
            faint=self._is_faint(*nodes),
        )  # fmt: skip

    def _add_inputs(self, node: Node, stack: Stack | None) -> None:
        """The cards of leaves and constants that enter an op, each once, and their edges."""
        target = self._id(node)
        group = self._group(self.skeleton.place[node].group)
        for k, (i, parent) in enumerate(zip(node.plan.indices, node.parents, strict=False)):
            if parent.plan is None and self._shows_leaf(node, i, parent, stack):
                if parent not in self.inputs:
                    self._add_leaf(parent, self.skeleton.name(parent) or self.skeleton.input_name(node, i), group)
                self._add_leaf_edge(parent, node, k, target)
        for i, outline in outlines(node):
            if stack is None or i == 0:
                self._add_constant(outline, node, i, target, group)
        if stack is None:
            self._add_labels(node, target)

    def _shows_leaf(self, node: Node, i: int, leaf: Node, stack: Stack | None) -> bool:
        if stack is not None:
            return i == 0 and node in stack.copies[0]
        return self.options.params == "nodes" or i == 0

    def _add_leaf(self, leaf: Node, name: str, group: str) -> None:
        id = self.inputs[leaf] = f"n{self.skeleton.number[leaf]}"
        dtype = "" if leaf.dtype == "float32" else f" {leaf.dtype}"
        rows = (Row(by(leaf.shape) + dtype), *self.view.leaf_rows(leaf))
        problem = self.view.leaf_problem(leaf)
        self.drawing.cards.append(
            Card(id, "note", "parameter", name, rows=rows, group=group, problem=problem, faint=self._is_faint(leaf))
        )
        if self.details is not None:
            self.drawing.details[id] = self.details.of_leaf(leaf, name)

    def _add_leaf_edge(self, leaf: Node, node: Node, k: int, target: str) -> None:
        source = self.inputs[leaf]
        faint = self._is_faint(leaf) or self._is_faint(node)
        if self.view.is_backward:
            rows = self.view.flow(leaf, node, k)[1:]  # the note has the shape
            width = self.view.width(leaf, node, k)
            self.drawing.edges.append(Edge(target, source, "gradient", rows, width, faint=faint))
        else:
            poisoned = self.view.is_poisoned(leaf, node)
            self.drawing.edges.append(Edge(source, target, "parameter", problem=poisoned, faint=faint))

    def _add_constant(self, outline: Outline, node: Node, i: int, target: str, group: str) -> None:
        """An input picture, another constant, or a frozen parameter."""
        called = self.skeleton.input_name(node, i)
        is_frozen = i > 0 and called.endswith(("weight", "bias"))
        if outline not in self.inputs:
            id = self.inputs[outline] = f"c{self.skeleton.number[node]}.{i}"
            name = self.skeleton.name(outline) or (called if is_frozen else "constant" if i else "input")
            faint = self._is_faint(node)
            if not is_frozen:
                inside = "" if i == 0 else group
                card = Card(id, "input", "input", name, rows=(Row("no gradient"),), group=inside, faint=faint)
            else:
                rows = (Row(by(outline.shape)), Row("frozen"))
                card = Card(id, "note", "parameter", name, rows=rows, group=group, faint=faint)
            self.drawing.cards.append(card)
            if self.details is not None:
                self.drawing.details[id] = self.details.of_leaf(outline, name)
        label = (Row(by(outline.shape)),) if not is_frozen else ()
        if (self.inputs[outline], target) not in self.edges:
            self.edges.add((self.inputs[outline], target))
            faint = self._is_faint(node)
            self.drawing.edges.append(Edge(self.inputs[outline], target, "constant", rows=label, faint=faint))

    def _add_labels(self, node: Node, target: str) -> None:
        labels = node.params.get("labels")
        if labels is None:
            return
        text = labels if isinstance(labels, str) else f"{labels.dtype}{labels.shape}"  # a str once backward is done
        named = [n for n, t in self.skeleton.tensors.items() if f"{t.dtype}{t.shape}" == text]
        id = f"t{self.skeleton.number[node]}"
        row = Row(f"{text.replace('(', ' (').replace(',)', ')')} · no gradient")
        name, faint = named[0] if len(named) == 1 else "labels", self._is_faint(node)
        self.drawing.cards.append(Card(id, "target", "input", name, rows=(row,), faint=faint))
        self.drawing.edges.append(Edge(id, target, "constant", faint=faint))

    def _add_flow(self, parent: Node, node: Node, k: int) -> None:
        """The arrow between two ops."""
        ends = (self._id(parent), self._id(node))
        is_folded = node in self.stacks or parent in self.stacks
        if ends[0] == ends[1] or (is_folded and ends in self.edges):
            return
        self.edges.add(ends)
        rows, width = self._flow(parent, node, k, is_folded), self.view.width(parent, node, k)
        faint = self._is_faint(parent) or self._is_faint(node)
        if self.view.is_backward:
            self.drawing.edges.append(Edge(ends[1], ends[0], "gradient", rows, width, faint=faint))
        else:
            poisoned = self.view.is_poisoned(parent, node)
            self.drawing.edges.append(Edge(*ends, "forward", rows, width, problem=poisoned, faint=faint))

    def _flow(self, parent: Node, node: Node, k: int, is_folded: bool) -> tuple[Row, ...]:
        """The label of an arrow; of one that stands for several, the gradient that all of them bring together."""
        if not is_folded:
            return self.view.flow(parent, node, k)
        skeleton, target = self.skeleton, self._id(node)
        users = [user for user, _ in skeleton.consumers[parent] if self._id(user) == target]
        if len(users) == 1:
            return self.view.flow(parent, node, k)
        record = skeleton.record(parent)
        shape = Row(by(parent.shape))
        if len(users) < len(skeleton.consumers[parent]) or record is None or record.gradient is None:
            return (shape,)
        return (shape, Row(f"∂ {number(record.gradient.norm)}", "gradient"))


def _message(node: Node, said: str | None) -> tuple[Row, ...]:
    """What an op was given, and why it refused."""
    if said is None:
        return ()
    names = node.plan.op.inputs if not node.plan.op.variadic else []
    shapes = [
        f"{names[i] if names else f'{node.plan.op.variadic}[{i}]'}: {by(s)}"
        for i, s in sorted(input_shapes(node).items())
    ]
    lines = [part for line in said.splitlines() for part in textwrap.wrap(line, 56, subsequent_indent="  ")]
    return (*(Row(shape, "bold") for shape in shapes), *(Row(line, "problem") for line in lines[:12]))


def _link(skeleton: Skeleton, node: Node) -> str:
    """Where an editor finds the line that recorded the op, if it was watched."""
    record = skeleton.record(node)
    if record is None or record.line is None or not record.line[0].startswith("/"):
        return ""
    return f"vscode://file{record.line[0]}:{record.line[1]}".replace(" ", "%20")


def _title(skeleton: Skeleton, drawing: Drawing, stacks: Mapping[Node, Stack], options: Options) -> str:
    parts = [options.title or skeleton.model] if options.title or skeleton.model else []
    root, result = skeleton.root, skeleton.result
    if result is not None and result.size == 1:
        is_loss = root.plan is not None and family(root.plan.op.name)[0] == "loss"
        parts.append(f"{'loss' if is_loss else 'value'} {decimals(result.item())}")
    parameters = count(skeleton.leaves)
    parts.append(f"{parameters:,} parameter{'s' if parameters != 1 else ''}")
    if options.problems:
        parts.append("stopped by a ShapeError")
    else:
        if operations := total_flops(skeleton.ops):
            is_whole = all(flops_of(node) is not None for node in skeleton.ops)
            parts.append(f"{'' if is_whole else '≥ '}{amount(operations, 'FLOP')}")
        if (memory := kept_memory(skeleton)).peak:
            parts.append(f"peak {'' if memory.is_complete else '≥ '}{amount(memory.peak, 'B')}")
        parts.append(skeleton.state)
    if stacks and not (options.is_page and len(skeleton.nodes) <= MOST_ON_A_PAGE):
        cards = len(set(stacks.values()))
        parts.append(f"{len(stacks)} ops folded into {cards} {'stack' if cards == 1 else 'stacks'}")
    return " · ".join(parts)
