"""Where the gradient stops between a parameter and the loss: the op, and the way to it."""

from dataclasses import dataclass

from ..graph import Cut, Node, Outline
from .skeleton import Skeleton, op_name, outlines


@dataclass(frozen=True)
class Break:
    """A place where the gradient stops.

    way: the ops from the parameter to `cut`. cut: what ended it. constant: what came of it into the graph, and into
    which op of it.
    """

    way: tuple[Node, ...]
    cut: Cut
    constant: Outline
    user: Node

    @property
    def brief(self) -> str:
        """cut by detach"""
        return self.words.partition(" on the result")[0]

    @property
    def words(self) -> str:
        """cut by detach on the result of relu"""
        if self.cut.why == "no_grad":
            words = f"cut by no_grad around {self.cut.op}"
        elif self.cut.why == "detach":
            words = "cut by detach"
        else:
            words = f"cut by {self.cut.why} (an op without gradient)"
        return words + (f" on the result of {_title(self.way[-1])}" if self.way else "")


def find_break(skeleton: Skeleton, leaf: Node) -> Break | None:
    """The place where the gradient stops on a way from the leaf to the graph, if it was watched."""
    for user in reversed(skeleton.ops):
        for _, outline in outlines(user):
            for cut in outline.cuts:
                for source in cut.sources:
                    if (way := _way(leaf, source)) is not None:
                        return Break(way, cut, outline, user)
    return None


def _way(leaf: Node, end: Node) -> tuple[Node, ...] | None:
    """The ops from a leaf to `end`, None if `end` does not depend on it."""
    after: dict[Node, Node | None] = {end: None}
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is leaf:
            way = []
            at: Node | None = node
            while at is not None:
                way.append(at)
                at = after[at]
            return tuple(node for node in way if node.plan is not None)
        for parent in node.parents:
            if parent not in after:
                after[parent] = node
                waiting.append(parent)
    return None


def _title(node: Node) -> str:
    path = node.scope.path if node.scope is not None else ""
    return f"{op_name(node)} in {path}" if path else op_name(node)
