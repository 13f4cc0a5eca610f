"""The view `health`: what is wrong, and where did it begin?"""

from collections.abc import Mapping

from ...graph import Node, Tensor
from ..ailments import Ailments
from ..captions import by
from ..cuts import Break
from ..model import Card, Row
from ..skeleton import Skeleton
from .ops import View


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

    def is_poisoned(self, parent: Node, node: Node) -> bool:
        if self.ailments.is_sick(parent):
            return True
        return any(p is parent and self.ailments.sends_sick(node, k) for k, p in enumerate(node.parents))

    def loose(self) -> list[tuple[Card, Node | None, str]]:
        found = []
        by_module: dict[tuple[str, Break | None], list[str]] = {}
        for name, cut in self.ailments.unreached.items():
            by_module.setdefault((name.rpartition(".")[0], cut), []).append(name)
        for i, ((module, cut), names) in enumerate(by_module.items()):
            shapes = [Row(f"{name.rpartition('.')[2]} {by(self._parameters[name].shape)}") for name in names]
            title = module if module and len(names) > 1 else names[0]
            card = Card(f"p{i}", "note", "parameter", title, rows=tuple(shapes), problem="no path to the loss")
            found.append((card, cut.user if cut is not None else None, cut.brief if cut is not None else ""))
        return found

    def legend(self) -> tuple[Row, ...]:
        sick = sum(bool(self.ailments.of_op(node)) for node in self.skeleton.ops)
        leaves = sum(bool(self.ailments.of_leaf(leaf)) for leaf in self.skeleton.leaves) + len(self.ailments.unreached)
        words = f"problems at {sick} ops and {leaves} parameters" if sick or leaves else "no problem found"
        rows = [Row(words, "problem" if sick or leaves else "bold")]
        if not self.skeleton.is_watched:
            rows.append(Row("record under tg.watch() to have every value and gradient examined", "quiet"))
        return tuple(rows)
