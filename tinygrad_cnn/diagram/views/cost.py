"""The view `cost`: which ops take the operations, and which take the time?"""

from collections.abc import Sequence
from functools import cached_property

from ...flops import flops_of, total_flops
from ...graph import Node
from ..captions import amount, percent, seconds
from ..folding import Stack
from ..model import Row
from .ops import View


class Cost(View):
    """FLOPs of every op's forward and its share; where it was watched, the time of forward and of its rules."""

    @cached_property
    def _total(self) -> int:
        return total_flops(self.skeleton.ops)

    @cached_property
    def _time(self) -> float:
        return sum(self._seconds([node])[2] for node in self.skeleton.ops)

    def rows(self, node: Node) -> tuple[Row, ...]:
        counted = flops_of(node)
        if counted is None:
            return (Row("FLOPs not declared", "quiet"), *self._times([node]))
        return (self._count(counted), *self._times([node]))

    def stack_rows(self, stack: Stack) -> tuple[Row, ...]:
        return (self._count(total_flops(stack.nodes)), *self._times(stack.nodes))

    def note(self, nodes: Sequence[Node]) -> str:
        counted = total_flops(nodes)
        return f"{amount(counted, 'FLOP')} · {percent(counted / self._total)}" if self._total else ""

    def _count(self, counted: int) -> Row:
        share = counted / self._total if self._total else 0.0
        return Row(f"{amount(counted, 'FLOP')} · {percent(share)}", "plain", share)

    def _seconds(self, nodes: Sequence[Node]) -> tuple[float, float, float]:
        records = [record for node in nodes if (record := self.skeleton.record(node)) is not None]
        forward, backward = sum(r.seconds for r in records), sum(r.backward_seconds for r in records)
        return forward, backward, forward + backward

    def _times(self, nodes: Sequence[Node]) -> tuple[Row, ...]:
        forward, backward, both = self._seconds(nodes)
        if not both or not self._time:
            return ()
        after = f" + backward {seconds(backward)}" if backward else ""
        share = both / self._time
        return (Row(f"{seconds(forward)}{after} · {percent(share)} of the time", "plain", share),)

    def legend(self) -> tuple[Row, ...]:
        time = (
            f"; time: forward and rules, once, {seconds(self._time)} in all"
            if self._time
            else "; times: under tg.watch()"
        )
        return (
            Row(
                f"FLOP: operations of the forward, a multiply-add counts 2, {amount(self._total, 'FLOP')} in all{time}",
                "quiet",
            ),
        )
