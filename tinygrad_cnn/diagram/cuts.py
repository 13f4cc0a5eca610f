"""Where the gradient stops between a parameter and the loss: the op, and the way to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..graph import Cut, Node, Outline
from .skeleton import Skeleton, op_name, outlines


@dataclass(frozen=True)
class Break:
    """A place where the gradient stops.

    way: the ops from the parameter to `cut`. cut: what ended it. user: the op of the graph that took the result.
    """

    way: tuple[Node, ...]
    cut: Cut
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
    seen: set[Node | Outline] = set()
    for user, outline in _cut_constants(skeleton):
        waiting: list[Outline] = [outline]
        while waiting:
            at = waiting.pop()
            if at in seen or at.cut is None:
                continue
            seen.add(at)
            for source in at.cut.sources:
                if isinstance(source, Outline):
                    waiting.append(source)
                elif (way := _way(leaf, source)) is not None:
                    return Break(way, at.cut, user)
    return None


def _cut_constants(skeleton: Skeleton) -> Iterator[tuple[Node, Outline]]:
    for node in reversed(skeleton.ops):
        yield from ((node, outline) for _, outline in outlines(node) if outline.cut is not None)


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
