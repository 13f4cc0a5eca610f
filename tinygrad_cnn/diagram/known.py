"""The values of a graph that are still known: those that were watched, those kept for backward, and the result."""

from typing import Any

import numpy as np

from ..graph import Array, Node, Outline
from ..observation import Summary, summarize
from .skeleton import Skeleton, outlines


class Known:
    """What is known of the values in a graph. Kept arrays are summarized when they are first asked for."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._arrays: dict[Any, Array] = {}
        if skeleton.result is not None:
            self._arrays[skeleton.root] = skeleton.result
        self._found: dict[Any, Summary | None] = {}
        self._watched: dict[Any, Summary] = {}
        for node in skeleton.ops:
            inputs: dict[int, Node | Outline] = dict(outlines(node))
            inputs |= dict(zip(node.plan.indices, node.parents, strict=False))
            record = skeleton.record(node)
            if record is not None:
                if record.value is not None:
                    self._watched[node] = record.value
                self._watched |= {inputs[i]: seen for i, seen in record.inputs.items() if i in inputs}
            if node.saved:
                self._take(node, inputs)

    def _take(self, node: Node, inputs: dict[int, Node | Outline]) -> None:
        """Remember the arrays that a Node keeps."""
        op = node.plan.op
        for wants, values in zip(node.plan.wants, node.saved or (), strict=True):
            for want, value in zip(wants, values, strict=True):
                if want == "out":
                    self._arrays[node] = value
                elif want == op.variadic:
                    self._arrays |= {inputs[i]: array for i, array in enumerate(value) if i in inputs}
                elif want in op.inputs and op.inputs.index(want) in inputs and isinstance(value, np.ndarray):
                    self._arrays[inputs[op.inputs.index(want)]] = value

    def value(self, key: Node | Outline) -> Summary | None:
        """Of an op's output, of a leaf, or of a constant; None where nobody knows any more."""
        if key not in self._found:
            array = self._arrays.get(key)
            self._found[key] = self._watched.get(key) or (summarize(array) if array is not None else None)
        return self._found[key]
