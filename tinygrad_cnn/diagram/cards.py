"""The cards of a view: what stands on an op, a stack, a parameter, a constant and labels."""

import textwrap
from collections import Counter

from ..graph import Node, Outline
from .captions import SIGNS, by, decimals, facts, family, is_sign, some
from .folding import Stack
from .model import Card, Row
from .options import Options
from .skeleton import Skeleton, count, input_shapes, op_name
from .views import View


class Cards:
    """Makes the cards of one picture. group: the id of the box that a card stands in."""

    def __init__(self, skeleton: Skeleton, view: View, options: Options) -> None:
        self.skeleton, self.view, self.options = skeleton, view, options

    def is_faint(self, *nodes: Node) -> bool:
        """Whether none of the nodes is what the picture is about."""
        return self.options.emphasis is not None and self.options.emphasis.isdisjoint(nodes)

    def op(self, node: Node, id: str, group: str) -> Card:
        """Of an op: a sign for sums and products of Tensors, else a card with all that is known."""
        skeleton, op = self.skeleton, node.plan.op
        place = skeleton.place[node]
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
                faint=self.is_faint(node),
            )  # fmt: skip
        last = place.layer.rpartition(".")[2]
        layer = f"{place.layer} {place.kind}" if last.isdigit() else last
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
            faint=self.is_faint(node),
        )

    def _fact_rows(self, node: Node) -> list[Row]:
        """The layer's class, what differs from the defaults, and the number of parameters."""
        place, said = self.skeleton.place[node], facts(node)
        rows = []
        if place.layer:
            in_title = place.layer.rpartition(".")[2].isdigit()
            parameters = count(self.skeleton.parameters([node]))
            words = [
                " ".join([*([] if in_title else [place.kind]), *said]),
                f"{parameters:,} params" if parameters else "",
            ]
            text = " · ".join(filter(None, words))
            rows += [Row(text)] if text else []
        elif said:
            rows.append(Row(" ".join(said)))
        if self.options.params == "inline":
            for i, leaf in zip(node.plan.indices, node.parents, strict=False):
                if leaf.plan is None:
                    name = self.skeleton.leaf_name(leaf, node, i)
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
        return [] if said is None else [Row(said, {"✓": "plain", "✗": "problem"}.get(said[0], "quiet"))]

    def stack(self, stack: Stack, id: str, group: str) -> Card:
        """Of a folded module, or of folded repeats."""
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
        problem = problems[0] if problems else ""
        if len(problems) > 1:
            problem = f"{len(problems)} problems, the first: {problem}"
        tag = "MODULE" if stack.path else "OPS"
        return Card(
            id, "stack", kind, stack.title, tag, (*rows, *self.view.stack_rows(stack)), group,
            tooltip=some(list(dict.fromkeys(map(skeleton.title, nodes))), 12), problem=problem,
            faint=self.is_faint(*nodes),
        )  # fmt: skip

    def leaf(self, leaf: Node, name: str, id: str, group: str) -> Card:
        """Of a parameter, or another Tensor that collects a gradient."""
        dtype = "" if leaf.dtype == "float32" else f" {leaf.dtype}"
        rows = (Row(by(leaf.shape) + dtype), *self.view.leaf_rows(leaf))
        problem, faint = self.view.leaf_problem(leaf), self.is_faint(leaf)
        return Card(id, "note", "parameter", name, rows=rows, group=group, problem=problem, faint=faint)

    def constant(self, outline: Outline, user: Node, i: int, id: str, group: str) -> Card:
        """Of a picture that enters, a frozen parameter, or another constant."""
        name, faint = self.skeleton.constant_name(outline, user, i), self.is_faint(user)
        problem = self.view.constant_problem(outline)
        if self.skeleton.is_frozen(user, i):
            rows = (Row(by(outline.shape)), Row("frozen"))
            return Card(id, "note", "parameter", name, rows=rows, group=group, problem=problem, faint=faint)
        inside = group if i else ""
        row = Row("no gradient")
        return Card(id, "input", "input", name, rows=(row,), group=inside, problem=problem, faint=faint)

    def labels(self, node: Node, id: str) -> Card | None:
        """Of the labels of a loss, by the name that was given to the only array or Tensor that looks like them."""
        labels = node.params.get("labels")
        if labels is None:
            return None
        text = labels if isinstance(labels, str) else f"{labels.dtype}{labels.shape}"  # a str once backward is done
        named = [name for name, look in self.skeleton.looks.items() if look == text]
        row = Row(f"{text.replace('(', ' (').replace(',)', ')')} · no gradient")
        name = named[0] if len(named) == 1 else "labels"
        return Card(id, "target", "input", name, rows=(row,), faint=self.is_faint(node))


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
