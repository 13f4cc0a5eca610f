"""A recorded graph as diagrams read it: its ops and leaves in order, where each stands, and what it is called.

Reads the skeleton that Nodes keep after a backward, so that a picture is the same before and after it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from ..graph import Array, Node, Outline, Tensor
from ..records import Record
from ..scopes import outermost_of

COLLECTED = "gradients present"  # of another backward, or of this one that kept the graph
_READERS = ("conv2d", "linear", "matmul")  # ops whose first input is what a network looks at
_LAYER_NAMES = {"w": "weight", "b": "bias"}  # the names that layers give to an op's inputs


@dataclass(frozen=True)
class Place:
    """Where an op stands: the path of the module around it, and the layer (path, class) whose only op it is."""

    group: str
    layer: str = ""
    kind: str = ""

    @property
    def path(self) -> str:
        """The path of the innermost module, the layer itself included."""
        return self.layer or self.group


class Skeleton:
    """All that leads to `root`. Nodes are numbered in the order in which they were recorded.

    result: what the root computed, where it is known. names: Tensors, or arrays, by the name that the user gave them.
    variables: Tensors by the names of the caller's program. modules: of the model, by path, "" for itself.
    """

    def __init__(
        self,
        root: Node,
        result: Array | None = None,
        names: Mapping[str, Tensor | Array] | None = None,
        variables: Mapping[str, Tensor] | None = None,
        modules: Mapping[str, Any] | None = None,
    ) -> None:
        self.root, self.result = root, result
        self.nodes = _below(root)
        self.ops = [node for node in self.nodes if node.plan is not None]
        self.leaves = [node for node in self.nodes if node.plan is None]
        self.number = {node: i for i, node in enumerate(self.nodes)}
        self.consumers: dict[Node, list[tuple[Node, int]]] = {node: [] for node in self.nodes}
        for node in self.ops:
            for k, parent in enumerate(node.parents):
                self.consumers[parent].append((node, k))
        named = {name: given for name, given in (names or {}).items() if isinstance(given, Tensor)}
        here = {*self.nodes, *(outline for node in self.ops for _, outline in outlines(node))}
        self.given = {key: name for name, tensor in named.items() if (key := key_of(tensor)) in here}
        self.looks = {name: f"{given.dtype}{given.shape}" for name, given in (names or {}).items()}
        reverse = reversed(list((variables or {}).items()))  # of two names, the first
        self._variables = {key: name for name, tensor in reverse if (key := key_of(tensor)) in here}
        self.tensors = WeakValueDictionary({**(variables or {}), **named})  # a picture keeps no Tensor alive
        self.kinds: dict[str, str] = {}  # of a module's path, its class
        self.model = ""  # the class of the outermost module, if there is one
        self.place = self._places(self._roots(modules or {}))

    def _roots(self, modules: Mapping[str, Any]) -> dict[int, str]:
        """The path of every outermost module that was called, by the identity of its entry in all chains below it.

        A module of the model has its path there; another one is called by its class, if it is not the only one.
        """
        kinds: dict[int, str] = {}
        for node in self.ops:
            if node.scope is not None:
                kinds.setdefault(id(node.scope.chain[0]), node.scope.chain[0][1])
        own = {id(scope.chain[0]): path for path, part in modules.items() if (scope := outermost_of(part)) is not None}
        paths = {key: own[key] for key in kinds if key in own}
        used: dict[str, int] = {}
        for key, kind in kinds.items():
            if key in paths:
                continue
            used[kind] = used.get(kind, 0) + 1
            paths[key] = "" if len(kinds) == 1 else kind if used[kind] == 1 else f"{kind} {used[kind]}"
        self.kinds.update((path, kinds[key]) for key, path in paths.items() if path)
        self.model = type(modules[""]).__name__ if "" in modules else " and ".join(dict.fromkeys(kinds.values()))
        return paths

    def _places(self, labels: Mapping[int, str]) -> dict[Node, Place]:
        chains: dict[Node, list[tuple[str, str]]] = {}
        ops_in: dict[str, set[str]] = {}
        inner: set[str] = set()
        for node in self.ops:
            if node.scope is None:
                continue
            label = labels[id(node.scope.chain[0])]
            chain = [(_join(label, path), kind) for path, kind in node.scope.chain]
            chains[node] = chain
            ops_in.setdefault(chain[-1][0], set()).add(node.plan.op.name)
            inner.update(path for path, _ in chain[:-1])
        places = {}
        for node in self.ops:
            if node not in chains:
                places[node] = Place("")
                continue
            chain = chains[node]
            self.kinds.update((path, kind) for path, kind in chain if path and path not in self.kinds)
            path, kind = chain[-1]
            alone = path and len(ops_in[path]) == 1 and path not in inner
            around = chain[-2][0] if len(chain) > 1 else path.rpartition(".")[0]
            places[node] = Place(around, path, kind) if alone else Place(path)
        return places

    def record(self, node: Node) -> Record | None:
        """What was watched of an op, if it was."""
        record: Record | None = node.watch.record if node.watch is not None else None
        return record

    @property
    def is_watched(self) -> bool:
        """Whether any op was recorded under `watch`."""
        return any(node.watch is not None and node.watch.record is not None for node in self.ops)

    @property
    def is_done(self) -> bool:
        """Whether a backward has left a gradient at a leaf."""
        return any(self.gradient(leaf) is not None for leaf in self.leaves)

    @cached_property
    def state(self) -> str:
        """How far backward is, in words. Gradients at leaves may be those of another result."""
        record = self.record(self.root)
        if self.root.saved is None or (record is not None and record.gradient is not None):
            return "backward done"
        return COLLECTED if self.is_done else "before backward"

    def gradient(self, node: Node) -> Tensor | None:
        """The gradient that is kept at a Node."""
        return node.watch.grad if node.watch is not None else None

    def name(self, key: Node | Outline) -> str:
        """The name that a Tensor was given, or has in the caller's program, or ""."""
        return self.given.get(key) or self._variables.get(key, "")

    def leaf_name(self, leaf: Node, user: Node, i: int) -> str:
        """What a leaf is called: as it was given, conv1.weight in a layer, as the caller calls it, as the op does."""
        called = self.input_name(user, i)
        return self.given.get(leaf) or (called if "." in called else "") or self.name(leaf) or called

    def input_name(self, node: Node, i: int) -> str:
        """What an op's input is called: conv1.weight in a layer, else as the op calls it."""
        op = node.plan.op
        name = op.variadic or op.inputs[i]
        if node.scope is None:
            return str(name)
        name = _LAYER_NAMES.get(name, name)
        path = self.place[node].path
        return f"{path}.{name}" if path and name in _LAYER_NAMES.values() else str(name)

    def is_frozen(self, node: Node, i: int) -> bool:
        """Whether a constant input is the weight or bias of a layer."""
        return i > 0 and self.input_name(node, i).endswith(("weight", "bias"))

    def constant_name(self, outline: Outline, node: Node, i: int) -> str:
        """What a constant input is called."""
        if outline in self.given:
            return self.given[outline]
        if self.is_frozen(node, i):
            return self.input_name(node, i)
        look = f"{outline.dtype}{outline.shape}"
        alike = [name for name, other in self.looks.items() if other == look and name not in self.given.values()]
        is_input = i == 0 and not outline.cuts and (node.scope is not None or node.plan.op.name in _READERS)
        guessed = alike[0] if len(alike) == 1 else "input" if is_input else "constant"
        return self.name(outline) or guessed

    def tensor(self, leaf: Node) -> Tensor | None:
        """The Tensor whose leaf this is, if it has a name and is still there."""
        return next((tensor for tensor in self.tensors.values() if tensor.node is leaf), None)

    @property
    def names(self) -> dict[str, Node]:
        """The Nodes by what they are called; of two with one name, the first. A module's is that of its last op."""
        modules = {}
        for node in self.ops:
            parts = self.place[node].path.split(".")
            modules.update({".".join(parts[:i]): node for i in range(1, len(parts) + 1)})
        titles = {self.title(node): node for node in reversed(self.nodes)}
        called = {name: key for key, name in (self._variables | self.given).items() if isinstance(key, Node)}
        return modules | titles | called

    def title(self, node: Node) -> str:
        """What a Node is called in sentences: a parameter's name; of an op, its layer's path, its name, or the op."""
        if node.plan is None:
            if not self.consumers[node]:
                return self.name(node) or "the result"
            user, k = self.consumers[node][0]
            return self.leaf_name(node, user, user.plan.indices[k])
        place = self.place[node]
        if place.layer:
            return place.layer
        op = op_name(node)
        return f"{place.group}.{op}" if place.group else self.name(node) or op

    def named(self, start: str) -> frozenset[Node]:
        """The ops whose path, or title, is `start` or lies in it."""
        return frozenset(
            node
            for node in self.ops
            for path in (self.place[node].path, self.title(node))
            if path == start or path.startswith(f"{start}.")
        )

    def between(self, a: Node, b: Node) -> set[Node]:
        """All Nodes on ways from a to b, both included; empty if there is no way."""
        after, before = {a}, {b}
        for node in self.ops:
            if any(parent in after for parent in node.parents):
                after.add(node)
        for node in reversed(self.nodes):
            if node in before:
                before.update(node.parents)
        return after & before

    def parameters(self, nodes: list[Node]) -> list[Node]:
        """The leaves that enter the ops, each once."""
        return list(dict.fromkeys(p for node in nodes for p in node.parents if p.plan is None))


def op_name(node: Node) -> str:
    """The op as readers know it: batch_norm for the one of training."""
    name: str = node.plan.op.name
    for ending in ("_of_labels", "_of_probabilities", "_train", "_eval"):
        name = name.removesuffix(ending)
    return {"drop": "dropout", "select": "where", "flipped": "flip", "stacked": "stack"}.get(name, name)


def key_of(tensor: Tensor) -> Any:
    """What stands for a Tensor in the graph."""
    return tensor.node if tensor.node is not None else getattr(tensor, "outline", None)


def count(nodes: list[Node]) -> int:
    """How many numbers the leaves hold."""
    return sum(math.prod(node.shape) for node in nodes)


def outlines(node: Node) -> Iterator[tuple[int, Outline]]:
    """The arrays without gradient that enter an op, by the input's index."""
    for i, constant in node.constants:
        if isinstance(constant, Outline):
            yield i, constant


def input_shapes(node: Node) -> dict[int, tuple[int, ...]]:
    """The shapes of an op's inputs by index; numbers have none."""
    shapes = {node.plan.indices[k]: parent.shape for k, parent in enumerate(node.parents)}
    return shapes | {i: outline.shape for i, outline in outlines(node)}


def _join(label: str, path: str) -> str:
    return f"{label}.{path}" if label and path else label or path


def _below(root: Node) -> list[Node]:
    seen, nodes = {root}, [root]
    for node in nodes:  # grows while it is walked
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                nodes.append(parent)
    nodes.sort(key=lambda node: node.order)
    return nodes
