"""The stamp of gradcheck: how far an op's rules are from central differences."""

from collections.abc import Iterable

from ..graph import Node


def stamps(ops: Iterable[Node]) -> dict[str, str]:
    """By the op's name: ✓ and the largest relative error on its samples, ✗ if it is too large, or why there is none."""
    from ..testing.gradients import TOLERANCE
    from ..testing.properties import rule_error

    found = {}
    for op in {node.plan.op.name: node.plan.op for node in ops}.values():
        error = rule_error(op)
        if error is None:
            found[op.name] = "gradcheck: it has no sample"
        else:
            found[op.name] = (
                f"✓ gradcheck {error:.0e}" if error <= TOLERANCE else f"✗ gradcheck {error:.0e}: a wrong rule"
            )
    return found
