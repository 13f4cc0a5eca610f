"""FLOPs of recorded ops, as their declarations count them."""

from collections.abc import Iterable

from ..graph import Node
from .skeleton import input_shapes


def flops(node: Node) -> int | None:
    """The floating-point operations of an op's forward; None if its declaration does not say."""
    plan = node.plan
    shapes = input_shapes(node) | {i: () for i, constant in node.constants if not hasattr(constant, "shape")}
    count: int | None = plan.op.flops.count([shapes.get(i) for i in range(plan.n_inputs)], node.shape, node.params)
    return count


def total_flops(nodes: Iterable[Node]) -> int:
    """The FLOPs of several ops, without those that do not say."""
    return sum(flops(node) or 0 for node in nodes)
