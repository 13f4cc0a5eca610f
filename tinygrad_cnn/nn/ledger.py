"""What one forward of a model did, call by call and op by op: what a summary adds up."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..graph import Array, Node, Tensor
from ..modes import enable_grad
from ..random import on_a_copy
from ..records import saved_of
from ..watching import Watcher
from .fields import Sight, Unknown, after, image_sights, of_channels
from .module import Module

# The ops whose FLOPs are multiply-adds, apart from the bias.
_CONTRACTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv_transpose2d", "linear", "matmul")
_LAYERS = ("conv2d", "conv_transpose2d", "linear")  # those whose place a dense layer could take

Sights = list[Sight | None] | None  # for each axis of the image; None where nothing is known


@dataclass
class OpCall:
    """One op: made: bytes of its output, 0 for a view. dense: weights of a dense layer in its place."""

    name: str
    shape: tuple[int, ...]
    node: Node | None
    macs: int
    flops: int | None
    made: int
    dense: int | None
    sights: Sights


@dataclass
class ModuleCall:
    """One call of a module: what happened inside in order, and what came out."""

    module: Module
    path: str
    inside: list[OpCall | ModuleCall] = field(default_factory=list)
    shapes: tuple[tuple[int, ...], ...] = ()
    sights: Sights = None

    def ops(self) -> Iterator[OpCall]:
        """Every op, also of the modules inside."""
        for part in self.inside:
            yield from part.ops() if isinstance(part, ModuleCall) else (part,)

    def calls(self) -> Iterator[ModuleCall]:
        """This call and every one inside it."""
        yield self
        for part in self.inside:
            if isinstance(part, ModuleCall):
                yield from part.calls()


class Ledger(Watcher):
    """Watches one forward of a copy of `model`: neither the model nor the random state changes."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("summarising", default=())

    def __init__(self, model: Module, inputs: Sequence[Tensor], kwargs: dict[str, Any]) -> None:
        try:
            self.model = copy.deepcopy(model)
        except Exception as error:
            error.add_note("in summary, which runs a copy of the model")
            raise
        self._known: dict[int, tuple[weakref.ref[Array], Sights]] = {}  # by the identity of the array
        self._image: list[Sight] | None = None
        self._lines = False
        self._arrays = [t.array for t in inputs]  # alive, as their identities stand in _known
        for t in inputs:
            if self._image is None and (sights := image_sights(t.shape)) is not None:
                self._image = sights
                self._know(t.array, list(sights))
                self._lines = t.ndim == 3  # or one image (c h w); which, the ops will tell
        self.image = None if self._image is None else tuple(sight.length for sight in self._image)
        self._stack: list[ModuleCall] = []
        self.root: ModuleCall | None = None
        for path, module in self.model.named_modules():
            module.register_forward_pre_hook(lambda m, args, path=path: self._enter(m, path), prepend=True)
            module.register_forward_hook(lambda m, args, output: self._leave(output))
        self._channels: set[int] = set()
        with on_a_copy(), enable_grad(), self:
            self._output = self.model(*inputs, **kwargs)
        if self._channels:
            self._become_lines()
        self.kept = self._kept()

    def _become_lines(self) -> None:
        """Lines (n c l) are images of height 1: what was taken for an axis of the image, the channels, is no longer."""
        image, one = list(self.image or ()), Sight(((0, 0),), 0, None, 1)
        for call in self.root.calls() if self.root else ():
            for part in (call, *call.inside):
                if part.sights is not None:
                    part.sights = [
                        one if axis in self._channels and sight is not None else sight
                        for axis, sight in enumerate(part.sights)
                    ]
        self.image = tuple(1 if axis in self._channels else n for axis, n in enumerate(image))

    def _enter(self, module: Module, path: str) -> None:
        call = ModuleCall(module, path)
        if self._stack:
            self._stack[-1].inside.append(call)
        elif self.root is None:
            self.root = call
        self._stack.append(call)

    def _leave(self, output: Any) -> None:
        call = self._stack.pop()
        found = list(_tensors(output))
        call.shapes = tuple(t.shape for t in found)
        call.sights = self._sights(found[0].array) if found else None

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Note an op under the module that runs."""
        shapes = [None if a is None else np.shape(a) for a in scope]
        macs, flops = 0, op.flops.count(shapes, result.shape, params)
        if op.name in _CONTRACTIONS:
            without_bias = [None if name == "b" else s for name, s in zip(op.inputs, shapes, strict=True)]
            macs = (op.flops.count(without_bias, result.shape, params) or 0) // 2
        elif op.name == "contraction" and set(params["kept"]) != {i for term in params["terms"] for i in term}:
            n = len(params["terms"])  # of the flops, n - 1 of n are products and the last is the sum
            macs = (flops or 0) * (n - 1) // n
        arrays = [getattr(a, "array", a) for a in args]
        sights = self._after(op, shapes, arrays, params, result.shape)
        self._know(result.array, sights)
        owners = {id(memory.owner(a)) for a in arrays if isinstance(a, np.ndarray)}
        dense = None
        if op.name in _LAYERS:
            x, y = shapes[0] or (), result.shape
            dense = prod(x[1:] if len(x) > 1 else x) * prod(y[1:] if len(y) > 1 else y)
        self._stack[-1].inside.append(
            OpCall(
                op.name,
                result.shape,
                result.node,
                macs,
                flops,
                0 if id(memory.owner(result.array)) in owners else result.array.nbytes,
                dense,
                sights,
            )
        )

    def _after(self, op: Any, shapes: Sequence[Any], arrays: Sequence[Any], params: Any, out: Any) -> Sights:
        inputs = [self._sights(a) if isinstance(a, np.ndarray) else [None, None] for a in arrays]
        known = [sights for sights in inputs if sights is not None]
        if len(known) < len(inputs):
            return None
        found: list[Sight | None] = []
        for axis in (0, 1):
            along = [sights[axis] for sights in known]
            if self._lines and of_channels(op, shapes[0], along[0]):
                self._channels.add(axis)
            try:
                found.append(after(op, shapes, along, params, out))
            except Unknown:
                return None
        return found

    def _know(self, array: Array, sights: Sights) -> None:
        self._known[id(array)] = (weakref.ref(array), sights)

    def _sights(self, array: Array) -> Sights:
        """What an array sees of the image: nothing if no op has made it."""
        seen, sights = self._known.get(id(array), (None, None))
        return sights if seen is not None and seen() is array else [None, None]

    def _kept(self) -> dict[int, int]:
        """Bytes that the graph of the outputs keeps for backward, by the identity of the Node that keeps them first."""
        stack = [t.node for t in _tensors(self._output) if t.node is not None]
        alive = set(stack)
        while stack:
            new = [parent for parent in stack.pop().parents if parent not in alive]
            alive.update(new)
            stack.extend(new)
        own = [*self.model.parameters(), *self.model.buffers()]
        counted = {id(memory.owner(t.array)) for t in own}
        counted |= {id(memory.owner(a)) for a in self._arrays}
        found: dict[int, int] = {}
        first: dict[int, int] = {}
        size: dict[int, int] = {}
        for node in sorted((node for node in alive if node.plan is not None), key=lambda node: node.order):
            found[id(node)] = 0
            for saved in saved_of(node):
                if saved.memory not in counted:
                    first.setdefault(saved.memory, id(node))
                    size[saved.memory] = max(size.get(saved.memory, 0), saved.nbytes)
        for key, holder in first.items():
            found[holder] += size[key]
        return found


def _tensors(value: Any) -> Iterator[Tensor]:
    """The Tensors of an output, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
