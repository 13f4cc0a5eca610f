"""One op of a recorded graph as explainers see it: its inputs by name, and their values where these are known."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import memory
from ..diagram.skeleton import Skeleton, key_of, op_name
from ..graph import Array, Node, Outline, Tensor
from .table import Factor, Index, place

_OUTLINE = re.compile(r"(bool|u?int\d+|float\d+)\([\d, ]*\)")


class UnknownValue(RuntimeError):
    """A value that an explanation needs and nothing keeps any more."""


class Values:
    """The known values of a graph: the result, those kept for backward, those watched, the caller's Tensors."""

    def __init__(self, skeleton: Skeleton, tensors: Iterable[Tensor]) -> None:
        self.skeleton = skeleton
        self._found: dict[Node | Outline, list[Array]] = {}
        self._copies: dict[tuple[Node, int], Array] = {}  # what watch kept of inputs and, at -1, outputs
        self._computed: dict[Node, Array | None] = {}
        if skeleton.result is not None:
            self._found[skeleton.root] = [skeleton.result]
        for node in skeleton.ops:
            self._take_kept(node)
            self._take_watched(node)
        for tensor in tensors:
            key = key_of(tensor)
            if key is not None:
                self._found.setdefault(key, []).append(tensor.array)

    def _take_kept(self, node: Node) -> None:
        op, inputs = node.plan.op, operand_keys(node)
        for wants, kept in zip(node.plan.wants, node.saved or (), strict=False):
            for want, value in zip(wants, kept, strict=True):
                if want == "out":
                    self._found.setdefault(node, []).append(value)
                elif want == op.variadic:
                    for i, array in enumerate(value):
                        self._add(inputs.get(i), array)
                elif want in op.inputs:
                    self._add(inputs.get(op.inputs.index(want)), value)

    def _take_watched(self, node: Node) -> None:
        record = self.skeleton.record(node)
        if record is None:
            return
        for i, seen in ((-1, record.value), *record.inputs.items()):
            if seen is not None and seen.numbers is not None:
                self._copies[node, i] = seen.numbers
        self._copies |= {(node, i): array for i, array in record.arrays.items()}

    def _add(self, key: Any, array: Any) -> None:
        if isinstance(key, (Node, Outline)) and isinstance(array, np.ndarray):
            self._found.setdefault(key, []).append(array)

    def known(self, key: Node | Outline, user: Node, i: int) -> tuple[Array | None, str]:
        """The value of `key` as input i of the Node `user`; or None, and what has changed it since.

        A Node is the user of its own output, as input -1. What nothing keeps is computed again where its inputs are
        known: ops are functions of inputs and parameters alone.
        """
        array, changed = self._kept(key, user, i)
        if array is None and isinstance(key, Node) and key.plan is not None:
            array = self._again(key)
        return array, changed

    def _kept(self, key: Node | Outline, user: Node, i: int) -> tuple[Array | None, str]:
        for copy in ((user, i), (key, -1)):
            if copy in self._copies:
                return self._copies[copy], ""
        when, changed = user.order, ""
        for array in self._found.get(key, ()):
            by = memory.changed_since(array, when)
            if by is None and array.shape == key.shape:
                return array, ""
            changed = by or changed
        return None, changed

    def _again(self, root: Node) -> Array | None:
        """The output of an op, computed from what is known before it; None if that is too little."""
        waiting = [root]
        while waiting:
            node = waiting[-1]
            missing: list[Node] = []
            inputs: dict[int, Any] = {}
            possible = node.plan.op.runs_alone and not _is_dropped(node)
            for i, key in operand_keys(node).items():
                inputs[i] = key
                if isinstance(key, (Node, Outline)):
                    inputs[i], _ = self._kept(key, node, i)
                    if inputs[i] is None and isinstance(key, Node) and key.plan is not None:
                        if key not in self._computed:
                            missing.append(key)
                        inputs[i] = self._computed.get(key)
                    possible &= inputs[i] is not None or bool(missing)
            if missing and possible:
                waiting += missing
                continue
            self._computed[node] = _computed(node, inputs) if possible else None
            waiting.pop()
        return self._computed[root]


def _is_dropped(node: Node) -> bool:
    """Whether a backward has left only the outline of a parameter that was an array."""
    return node.saved is None and any(map(_outline_in, node.params.values()))


def _outline_in(value: Any) -> str | None:
    """The outline in a parameter that held an array, as an index can among others; None where there is none."""
    parts = value if type(value) is tuple else (value,)
    return next((part for part in parts if isinstance(part, str) and _OUTLINE.fullmatch(part)), None)


def _computed(node: Node, inputs: dict[int, Any]) -> Array | None:
    op = node.plan.op
    args = [inputs.get(i) for i in range(node.plan.n_inputs if op.variadic else len(op.inputs))]
    with np.errstate(all="ignore"):
        out = op.forward(*args, **(node.params or op.defaults))
    out = np.asarray(out[0] if op.residual else out)
    return out if out.shape == node.shape else None


def operand_keys(node: Node) -> dict[int, Any]:
    """What stands for each input of an op: a Node, an Outline, or a number; an input that is left out has none."""
    keys: dict[int, Any] = dict(node.constants)
    return keys | dict(zip(node.plan.indices, node.parents, strict=False))


def result_name(skeleton: Skeleton, node: Node) -> str:
    """What an op's result without a name is called: by its layer, or by the op; conv2d.0 in a layer called 0."""
    title = skeleton.title(node)
    return f"{op_name(node)}.{title}" if title[0].isdigit() else title


@dataclass(frozen=True)
class Upstream:
    """The gradient that reaches an op's output."""

    name: str
    array: Array

    def at(self, index: Sequence[int]) -> Factor:
        """One number of it."""
        index = tuple(index)
        return Factor(place(self.name, index), float(self.array[index]))


class Call:
    """One op of the graph: parameters, shapes, and cells of its inputs. An input is meant by its number."""

    def __init__(self, node: Node, values: Values) -> None:
        self.node, self.op, self.values = node, node.plan.op, values
        self.name: str = node.plan.op.name
        self.params: dict[str, Any] = node.params or dict(self.op.defaults)
        self.keys = operand_keys(node)
        self.out_shape: tuple[int, ...] = node.shape
        self._arrays: dict[int, Array] = {}

    def has(self, i: int) -> bool:
        """Whether input i was given."""
        return i in self.keys

    def shape(self, i: int) -> tuple[int, ...]:
        """The shape of input i; () for a number."""
        key = self.keys[i]
        return tuple(key.shape) if isinstance(key, (Node, Outline)) else ()

    def title(self, i: int) -> str:
        """What input i is called: in the caller's program, in the layer, or by the op."""
        key, skeleton = self.keys[i], self.values.skeleton
        if isinstance(key, Node):
            if key.plan is None:
                return skeleton.leaf_name(key, self.node, i)
            return skeleton.name(key) or result_name(skeleton, key)
        if isinstance(key, Outline):
            return skeleton.constant_name(key, self.node, i)
        return str(self.op.variadic or self.op.inputs[i])

    def array(self, i: int) -> Array:
        """The value of input i in float64. Raises UnknownValue where nothing keeps it."""
        if i not in self._arrays:
            self._arrays[i] = self._read(i)
        return self._arrays[i]

    def _read(self, i: int) -> Array:
        key = self.keys[i]
        if not isinstance(key, (Node, Outline)):
            return np.asarray(key, np.float64)
        array, changed = self.values.known(key, self.node, i)
        if array is not None:
            return np.asarray(array, np.float64)
        own = self.op.variadic or self.op.inputs[i]
        what = f"the value of its input {own!r}, shape {tuple(key.shape)}"
        if changed:
            raise UnknownValue(
                f"explain: {self.name}: {what}, was changed in place ({changed}) since; explain before changing it"
            )
        raise UnknownValue(
            f"explain: {self.name}: {what}, is not known any more: nothing keeps it, or what it is computed from; pass "
            f"the Tensor with names={{{self.title(i)!r}: tensor}}, or record the forward pass under "
            "tg.watch(values=True)"
        )

    def array_param(self, name: str) -> Any:
        """A parameter that may hold an array. Raises UnknownValue once a backward has dropped it."""
        if (outline := _outline_in(self.params[name])) is not None:
            raise UnknownValue(
                f"explain: {self.name}: its parameter {name!r} ({outline}) was dropped by a backward; explain before "
                "backward, or pass retain_graph=True to it"
            )
        return self.params[name]

    def param_at(self, name: str, out: Index) -> Any:
        """A parameter; of an array, the number that broadcasting puts at the output's index.

        A float is rounded as the op does: in float32 a value at the bound 0.7 is 0.69999999, and so is the bound.
        """
        value = self.array_param(name)
        if isinstance(value, np.ndarray):
            value = value[unstretched(value.shape, out)]
        return self.node.dtype.type(value) if isinstance(value, float) else value

    def kept(self, want: str) -> Any:
        """What the op's rules keep under the name `want`. Raises UnknownValue once a backward has freed it."""
        for wants, saved in zip(self.node.plan.wants, self.node.saved or (), strict=False):
            if want in wants:
                return saved[wants.index(want)]
        raise UnknownValue(f"explain: {self.name}: its {want} were freed by a backward; pass retain_graph=True to it")

    def cell(self, i: int, index: Sequence[int]) -> Factor:
        """One number of input i."""
        index = tuple(int(k) for k in index)
        return Factor(place(self.title(i), index), float(self.array(i)[index]), i, index)

    def stretched(self, i: int, out: Index) -> Factor:
        """The number of input i that broadcasting puts at the output's index."""
        return self.cell(i, unstretched(self.shape(i), out))

    def result(self, out: Index) -> float | None:
        """What the op computed there, where that is known."""
        array, _ = self.values.known(self.node, self.node, -1)
        return None if array is None else float(array[out])


def unstretched(shape: Sequence[int], out: Index) -> Index:
    """Where an array of `shape` is read when broadcasting writes to index `out`."""
    own = out[len(out) - len(shape) :]
    return tuple(0 if n == 1 else k for n, k in zip(shape, own, strict=True))


def readers(shape: Sequence[int], at: Index, out_shape: Sequence[int]) -> list[Index]:
    """All output indices to which broadcasting takes the cell `at` of an array of `shape`."""
    lead = len(out_shape) - len(shape)
    ranges = [range(n) for n in out_shape[:lead]]
    ranges += [range(m) if n == 1 else range(k, k + 1) for n, k, m in zip(shape, at, out_shape[lead:], strict=True)]
    return indices(ranges)


def indices(ranges: Sequence[Sequence[int]]) -> list[Index]:
    """Every combination, the last axis fastest."""
    grid: list[Index] = [()]
    for values in ranges:
        grid = [(*head, k) for head in grid for k in values]
    return grid
