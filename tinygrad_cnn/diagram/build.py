"""From a graph to a Drawing: the cards, edges and groups of a view.

Cards are numbered in the order in which their ops were recorded, so that the same program gives the same drawing.
"""

from collections.abc import Mapping
from typing import Any

from ..flops import flops_of, total_flops
from ..graph import Node, Outline
from .captions import amount, by, decimals, family, number, operand
from .cards import Cards
from .details import Details
from .folding import Stack, choose, folded_paths
from .kept import kept_memory
from .model import Drawing, Edge, Group, Row
from .options import Options
from .skeleton import Skeleton, count, outlines
from .views import View, view_of

MOST_ON_A_PAGE = 2000  # nodes; a page of more opens with what is folded


def build(skeleton: Skeleton, options: Options) -> Drawing:
    """The Drawing of a graph. Raises ValueError for an option that does not exist."""
    view = view_of(options.view, skeleton, options.parameters)
    depth = 1 if options.depth is None and options.view == "arch" else options.depth
    keep = view.causes() | frozenset(options.problems)
    if options.focus is not None:
        keep |= skeleton.named(options.focus)
    stacks = choose(skeleton, depth, options.fold, options.max_nodes, keep)
    if options.is_page and len(skeleton.nodes) <= MOST_ON_A_PAGE:
        drawing = _Drawer(skeleton, view, {}, options).draw(folded_paths(skeleton, stacks))
    else:
        drawing = _Drawer(skeleton, view, stacks, options).draw(set())
    drawing.is_before_backward = skeleton.state == "before backward"
    drawing.direction, drawing.theme = options.direction, "light" if options.theme == "print" else options.theme
    drawing.title = _title(skeleton, drawing, stacks, options)
    drawing.legend = view.legend() if options.legend else ()
    return drawing


class _Drawer:
    def __init__(self, skeleton: Skeleton, view: View, stacks: Mapping[Node, Stack], options: Options) -> None:
        self.skeleton, self.view, self.stacks, self.options = skeleton, view, stacks, options
        self.cards = Cards(skeleton, view, options)
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
                self.drawing.cards.append(self.cards.stack(stack, id, self._group(stack.inside)))
                if self.details is not None:
                    self.drawing.details[id] = self.details.of_module(stack.nodes, stack.title, stack.kind)
            if stack is None:
                id = self._id(node)
                self.drawing.cards.append(self.cards.op(node, id, self._group(self.skeleton.place[node].group)))
                if self.details is not None:
                    cards = {k: self.inputs.get(parent, self._id(parent)) for k, parent in enumerate(node.parents)}
                    self.drawing.details[id] = self.details.of_op(node, cards)
            for k, parent in enumerate(node.parents):
                if parent.plan is not None:
                    self._add_flow(parent, node, k)
        for card, cut in self.view.loose():
            self.drawing.cards.append(card)
            if cut is not None:
                target = self.inputs.get(cut.constant, self._id(cut.user))
                self.drawing.edges.append(Edge(card.id, target, "constant", (Row(cut.brief, "problem"),), problem=True))
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
                stack = self.cards.stack(whole, f"s{id}", self._group(outer))
                self.drawing.details[stack.id] = self.details.of_module(nodes, path, kind)
            note = self.view.note(nodes)
            self.drawing.groups.append(Group(id, path, kind, note, self._group(outer), stack, path in folded))

    def _group(self, path: str) -> str:
        """The id of the innermost box around `path`."""
        while path and path not in self.groups:
            path = path.rpartition(".")[0]
        return self.groups.get(path, "")

    def _add_inputs(self, node: Node, stack: Stack | None) -> None:
        """The cards of leaves and constants that enter an op, each once, and their edges."""
        target = self._id(node)
        group = self._group(self.skeleton.place[node].group)
        for k, (i, parent) in enumerate(zip(node.plan.indices, node.parents, strict=False)):
            if parent.plan is None and self._shows_leaf(node, i, parent, stack):
                if parent not in self.inputs:
                    self._add_leaf(parent, self.skeleton.leaf_name(parent, node, i), group)
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
        self.drawing.cards.append(self.cards.leaf(leaf, name, id, group))
        if self.details is not None:
            self.drawing.details[id] = self.details.of_leaf(leaf, name)

    def _add_leaf_edge(self, leaf: Node, node: Node, k: int, target: str) -> None:
        source = self.inputs[leaf]
        faint = self.cards.is_faint(leaf) or self.cards.is_faint(node)
        if self.view.is_backward:
            rows = self.view.flow(leaf, node, k)[1:]  # the note has the shape
            width = self.view.width(leaf, node, k)
            self.drawing.edges.append(Edge(target, source, "gradient", rows, width, faint=faint))
        else:
            poisoned = self.view.is_poisoned(leaf, node)
            sign = operand(node, k)
            label = (Row(sign),) if sign else ()
            self.drawing.edges.append(Edge(source, target, "parameter", label, problem=poisoned, faint=faint))

    def _add_constant(self, outline: Outline, node: Node, i: int, target: str, group: str) -> None:
        if outline not in self.inputs:
            id = self.inputs[outline] = f"c{self.skeleton.number[node]}.{i}"
            card = self.cards.constant(outline, node, i, id, group)
            self.drawing.cards.append(card)
            if self.details is not None:
                self.drawing.details[id] = self.details.of_leaf(outline, card.title)
        label = () if self.skeleton.is_frozen(node, i) else (Row(by(outline.shape)),)
        if (self.inputs[outline], target) not in self.edges:
            self.edges.add((self.inputs[outline], target))
            faint, poisoned = self.cards.is_faint(node), self.view.is_poisoned(outline, node)
            edge = Edge(self.inputs[outline], target, "constant", rows=label, problem=poisoned, faint=faint)
            self.drawing.edges.append(edge)

    def _add_labels(self, node: Node, target: str) -> None:
        card = self.cards.labels(node, f"t{self.skeleton.number[node]}")
        if card is not None:
            self.drawing.cards.append(card)
            self.drawing.edges.append(Edge(card.id, target, "constant", faint=card.faint))

    def _add_flow(self, parent: Node, node: Node, k: int) -> None:
        """The arrow between two ops."""
        ends = (self._id(parent), self._id(node))
        is_folded = node in self.stacks or parent in self.stacks
        if ends[0] == ends[1] or (is_folded and ends in self.edges):
            return
        self.edges.add(ends)
        rows, width = self._flow(parent, node, k, is_folded), self.view.width(parent, node, k)
        faint = self.cards.is_faint(parent) or self.cards.is_faint(node)
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
        if peak := kept_memory(skeleton).peak:
            parts.append(f"peak {amount(peak, 'B')}")
        parts.append(skeleton.state)
    if stacks and not (options.is_page and len(skeleton.nodes) <= MOST_ON_A_PAGE):
        cards = len(set(stacks.values()))
        parts.append(f"{len(stacks)} ops folded into {cards} {'stack' if cards == 1 else 'stacks'}")
    return " · ".join(parts)
