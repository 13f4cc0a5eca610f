"""The view `memory`: what is kept for backward, why, when is it freed, and where is the peak?"""

from collections.abc import Sequence
from functools import cached_property

from ...graph import Node
from ..captions import amount
from ..folding import Stack
from ..kept import Memory, because, kept_memory
from ..model import Row
from .ops import View


class MemoryView(View):
    """On every op, what it keeps for which gradient, the backward step that frees it, and the memory at that step."""

    @cached_property
    def _memory(self) -> Memory:
        return kept_memory(self.skeleton)

    def rows(self, node: Node) -> tuple[Row, ...]:
        memory = self._memory
        rows = []
        for kept in memory.kept[node]:
            size = amount(kept.bytes, "B")
            why = because(self.skeleton, kept)
            share = kept.bytes / memory.total if kept.bytes and memory.total and not why else 0.0
            rows.append(
                Row(f"keeps {kept.reason} · {size}{f' · {why}' if why else ''}", "quiet" if why else "plain", share)
            )
        if not rows:
            rows.append(Row("keeps nothing", "quiet"))
        live = f"backward step {memory.step[node]}: {amount(memory.live[node], 'B')} live"
        freed = f", then frees {amount(memory.freed[node], 'B')}" if memory.freed[node] else ""
        rows.append(Row(f"{live}{freed}", "quiet"))
        if node is memory.at_peak:
            rows.append(Row("the peak of the memory", "bold"))
        return tuple(rows)

    def stack_rows(self, stack: Stack) -> tuple[Row, ...]:
        return (Row(self._held(stack.nodes)),)

    def note(self, nodes: Sequence[Node]) -> str:
        return self._held(nodes)

    def _held(self, nodes: Sequence[Node]) -> str:
        own = sum(k.bytes for node in nodes for k in self._memory.kept[node] if not k.is_leaf and k.first is None)
        return f"keeps {amount(own, 'B')}"

    def legend(self) -> tuple[Row, ...]:
        return (
            Row(f"kept from forward to backward: {amount(self._memory.total, 'B')}", "quiet"),
            Row(
                "live: what is kept still, and the gradients on their way; without parameters and their gradients",
                "quiet",
            ),
        )
