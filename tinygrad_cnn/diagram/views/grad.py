"""The view `grad`: where does the gradient come from, how large is it, and where do several add up?"""

import math
from functools import cached_property

from ...graph import Node
from ..captions import number
from ..model import Row
from ..skeleton import Skeleton
from .ops import View, formulas, part, shape

THINNEST, THICKEST = 1.2, 7.0


class Grad(View):
    """Arrows run backward, as thick as the logarithm of what they carry; a sum stands where several meet."""

    is_backward = True

    def rows(self, node: Node) -> tuple[Row, ...]:
        return (*formulas(node), *fan_out(self.skeleton, node))

    def leaf_rows(self, leaf: Node) -> tuple[Row, ...]:
        return (*super().leaf_rows(leaf), *fan_out(self.skeleton, leaf))

    def flow(self, parent: Node, node: Node, k: int) -> tuple[Row, ...]:
        if parent.plan is None and len(self.skeleton.consumers[parent]) == 1:
            return ()  # the note says it
        sent = part(self.skeleton, node, k)
        if sent is not None:
            words = f"∂ {number(sent)}"
        elif self.skeleton.is_done and self.skeleton.record(node) is None:
            words = "∂ not kept"
        else:
            words = "∂ not computed"
        return (Row(shape(parent, node, k)), Row(words, "gradient"))

    @cached_property
    def _range(self) -> tuple[float, float]:
        """The logarithms of the smallest and the largest part."""
        sent = [part(self.skeleton, node, k) for node in self.skeleton.ops for k in range(len(node.parents))]
        logs = [math.log10(value) for value in sent if value is not None and 0 < value < math.inf]
        return (min(logs), max(logs)) if logs else (0.0, 0.0)

    def width(self, parent: Node, node: Node, k: int) -> float:
        sent, (low, high) = part(self.skeleton, node, k), self._range
        if sent is None or not 0 < sent < math.inf or high - low < 1e-9:
            return THINNEST
        return THINNEST + (THICKEST - THINNEST) * (math.log10(sent) - low) / (high - low)

    def legend(self) -> tuple[Row, ...]:
        low, high = self._range
        kept = self.skeleton.is_watched
        widths = f"; width: log ‖∂‖ from {number(10**low)} to {number(10**high)}" if high > low else ""
        hint = "" if kept else "; record under tg.watch() to keep the gradients between ops"
        return (Row(f"∂: what the rule of an op sends back, in Euclidean norm{widths}{hint}", "gradient"),)


def fan_out(skeleton: Skeleton, node: Node) -> tuple[Row, ...]:
    """The parts that add up to the gradient of a value that is used several times: norms, which do not add."""
    users = skeleton.consumers[node]
    if len(users) < 2:
        return ()
    parts = [part(skeleton, user, k) for user, k in users]
    known = [value for value in parts if value is not None]
    record = skeleton.record(node)
    whole = record.gradient.norm if record is not None and record.gradient is not None else None
    if len(known) < len(users):
        return (Row(f"∂ = sum of {len(users)} parts", "gradient"),)
    shown = ", ".join(number(value) for value in known[:4]) + (", …" if len(known) > 4 else "")
    total = f"‖∂‖ {number(whole)} = " if whole is not None else ""
    rows = [Row(f"{total}‖sum of {len(known)}: {shown}‖", "gradient")]
    if len(known) == 2 and whole is not None and (cosine := _cosine(whole, *known)) is not None:
        rows.append(Row(f"cosine between the two {cosine:.2f}", "gradient"))
    return tuple(rows)


def _cosine(whole: float, a: float, b: float) -> float | None:
    """The cosine between two parts from three norms: |a + b|² = |a|² + |b|² + 2ab; None where rounding would decide."""
    if not (min(a, b) > 0 and max(a, b, whole) < math.inf and max(a, b) < 1e4 * min(a, b)):
        return None
    top = max(a, b)
    a, b, whole = a / top, b / top, whole / top
    return max(-1.0, min(1.0, (whole * whole - a * a - b * b) / (2 * a * b)))
