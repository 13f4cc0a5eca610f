"""What a page shows of a card that is picked."""

from collections.abc import Mapping, Sequence

from ..flops import flops_of, total_flops
from ..graph import Node, Outline
from ..observation import Summary, summarize
from .captions import amount, by, seconds
from .known import Known
from .model import Detail, Part
from .skeleton import Skeleton, count


class Details:
    """The Detail of every kind of card of one graph."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton, self._known = skeleton, Known(skeleton)

    def of_op(self, node: Node, cards: Mapping[int, str]) -> Detail:
        """Of an op. cards: by the place among the parents, the id of the card that the gradient flows to."""
        skeleton, op = self._skeleton, node.plan.op
        place, record = skeleton.place[node], skeleton.record(node)
        facts = [("op", op.name)]
        if place.path:
            facts.append(
                (
                    "module",
                    f"{place.path} : {skeleton.kinds[place.path]}" if place.path in skeleton.kinds else place.path,
                )
            )
        facts += [(name, str(value)) for name, value in node.params.items() if not hasattr(value, "shape")]
        facts.append(("output", f"{by(node.shape)} {node.dtype}"))
        if (operations := flops_of(node)) is not None:
            facts.append(("forward", amount(operations, "FLOP")))
        if record is not None:
            after = f", backward {seconds(record.backward_seconds)}" if record.backward_seconds else ""
            facts.append(("time", f"forward {seconds(record.seconds)}{after}"))
            if record.line is not None:
                facts.append(("recorded at", f"{record.line[0]}:{record.line[1]}"))
        parts = []
        for k, i in enumerate(node.plan.indices[: len(node.parents)]):
            name = op.variadic or op.inputs[i]
            sent = record.parts.get(i) if record is not None else None
            parts.append(
                Part(f"{name}[{i}]" if op.variadic else name, cards.get(k, ""), op.formulas.get(name, ""), sent)
            )
        return Detail(tuple(facts), self._known.value(node), self._gradient(node), tuple(parts))

    def of_leaf(self, leaf: Node | Outline, name: str) -> Detail:
        """Of a parameter or a constant."""
        facts = (("name", name), ("shape", f"{by(leaf.shape)} {leaf.dtype}"))
        return Detail(facts, self._known.value(leaf), self._gradient(leaf) if isinstance(leaf, Node) else None)

    def of_module(self, nodes: Sequence[Node], title: str, kind: str) -> Detail:
        """Of a folded module or of folded repeats: its last op's value and gradient."""
        facts = [("module", f"{title} : {kind}" if kind else title), ("ops", f"{len(nodes):,}")]
        facts.append(("parameters", f"{count(self._skeleton.parameters(list(nodes))):,}"))
        facts.append(("forward", amount(total_flops(nodes), "FLOP")))
        return Detail(tuple(facts), self._known.value(nodes[-1]), self._gradient(nodes[-1]))

    def _gradient(self, node: Node) -> Summary | None:
        record, kept = self._skeleton.record(node), self._skeleton.gradient(node)
        if record is not None and record.gradient is not None:
            return record.gradient
        return None if kept is None else summarize(kept.array, maps=True)
