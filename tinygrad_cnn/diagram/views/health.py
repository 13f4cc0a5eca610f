"""The view `health`: what is wrong, and where did it begin?"""

from collections.abc import Mapping

from ...graph import Node, Outline, Tensor
from ..ailments import Ailments
from ..captions import by
from ..cuts import Break
from ..model import Card, Row
from ..skeleton import Skeleton
from .ops import View

MOST_NAMES, MOST_NOTES = 6, 8  # of parameters without a path, on one note; notes of them in a picture


class Health(View):
    """A red card with the reason at every op and parameter that ails, and the way of nan and inf in red."""

    def __init__(self, skeleton: Skeleton, parameters: Mapping[str, Tensor]) -> None:
        super().__init__(skeleton)
        self._parameters = parameters
        self.ailments = Ailments(skeleton, parameters)

    def problem(self, node: Node) -> str:
        return "; ".join(self.ailments.of_op(node))

    def leaf_problem(self, leaf: Node) -> str:
        return self.ailments.of_leaf(leaf)

    def causes(self) -> frozenset[Node]:
        return self.ailments.causes

    def constant_problem(self, outline: Outline) -> str:
        return self.ailments.of_constant(outline)

    def is_poisoned(self, source: Node | Outline, node: Node) -> bool:
        if self.ailments.is_sick(source):
            return True
        return any(p is source and self.ailments.sends_sick(node, k) for k, p in enumerate(node.parents))

    def loose(self) -> list[tuple[Card, Break | None]]:
        found: list[tuple[Card, Break | None]] = []
        by_reason: dict[tuple[str, Break | None], list[str]] = {}
        for name, cut in self.ailments.unreached.items():
            by_reason.setdefault((name.partition(".")[0], cut), []).append(name)
        for i, ((part, cut), names) in enumerate(by_reason.items()):
            lines = [f"{name.removeprefix(f'{part}.')} {by(self._parameters[name].shape)}" for name in names]
            rows = tuple(Row(line) for line in lines[:MOST_NAMES])
            if len(lines) > MOST_NAMES:
                rows += (Row(f"and {len(lines) - MOST_NAMES} more"),)
            card = Card(f"p{i}", "note", "parameter", part, rows=rows, problem="no path to the loss")
            found.append((card, cut))
        if len(found) > MOST_NOTES:
            rest = sum(len(names) for names in list(by_reason.values())[MOST_NOTES:])
            title, rows = f"{len(found) - MOST_NOTES} more", (Row(f"{rest} parameters"),)
            more = Card(f"p{len(found)}", "note", "parameter", title, rows=rows, problem="no path to the loss")
            found[MOST_NOTES:] = [(more, None)]
        return found

    def legend(self) -> tuple[Row, ...]:
        sick = sum(bool(self.ailments.of_op(node)) for node in self.skeleton.ops)
        leaves = sum(bool(self.ailments.of_leaf(leaf)) for leaf in self.skeleton.leaves) + len(self.ailments.unreached)
        words = f"problems at {sick} ops and {leaves} parameters" if sick or leaves else "no problem found"
        rows = [Row(words, "problem" if sick or leaves else "bold")]
        if not self.skeleton.is_watched:
            rows.append(Row("record under tg.watch() to have every value and gradient examined", "quiet"))
        return tuple(rows)
