"""Checkpoints: a forward pass that keeps nothing for its gradient rules, and is computed again when they ask for it.

The graph of a checkpoint is the ordinary one, Node by Node: pictures, hooks and rules see no difference. Only what its
Nodes keep is dropped when the forward is done, and `recall` runs the forward again, with the modes, the module and the
random numbers of the first time, to take what the new Nodes keep. A backward holds that until its rules have run.

Source: Chen, Xu, Zhang & Guestrin, Training deep nets with sublinear memory cost (2016), sec. 4.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar, copy_context
from typing import Any, ClassVar

import numpy as np

from .. import memory
from ..backprop import outlined
from ..conventions import held
from ..graph import Node, Tensor
from ..modes import recording, replaying
from ..nn.module import Module
from ..random import Draws
from ..scopes import current as current_scope
from ..scopes import scope_of
from ..watching import Watcher, watchers
from .trees import mapped, tensors

__all__ = ["checkpoint", "checkpoint_sequential"]

_CHECKS = ("default", "none")


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), which keeps its inputs alone and is computed again for its gradients.

    Gradients of every order, running statistics and random numbers are bitwise those of the plain call. What is dropped
    is what leads to the Tensors in the result, a tree of tuples, lists and dicts; a backward needs one more forward.

    preserve_rng_state: draw the same random numbers again, from every generator that the package's own functions drew
        from, and leave the generators as they were. Without it new ones are drawn, for functions that do not mind.
    determinism_check: 'default' compares ops, numbers beside Tensors, shapes, dtypes and the values of the results
        with those of the first time; 'none' leaves out the values.
    use_reentrant: accepted and without effect; there is one way, PyTorch's use_reentrant=False.

    Running statistics move once. Everything else that the function changes outside, it changes again for each backward.
    Raises RuntimeError in backward if the function does something else than before, and for a value it reads that was
    changed in place since.
    """
    if not callable(function):
        raise TypeError(
            f"checkpoint: the function is a {type(function).__name__}; a callable is needed, then its inputs"
        )
    if determinism_check not in _CHECKS:
        raise ValueError(f"checkpoint: determinism_check={determinism_check!r}; it can be 'default' or 'none'")
    if not recording.get():
        return function(*args, **kwargs)
    dropped = _Dropped()
    dropped.function, dropped.args, dropped.kwargs = function, mapped(_kept, args), mapped(_kept, kwargs)
    dropped.context, dropped.began = copy_context(), memory.tick()
    dropped.draws = Draws() if preserve_rng_state else None
    with dropped.draws.noted() if dropped.draws is not None else nullcontext():
        result = function(*args, **kwargs)
    nodes = _nodes_since(dropped.began, result)
    dropped.steps = [(node.order, node.plan, node.shape, node.dtype, _numbers(node)) for node in nodes]
    dropped.digest = _digest(result) if determinism_check == "default" else None
    for node in nodes:
        if not _is_light(node.saved):
            node.saved, node.params = dropped, {name: outlined(value) for name, value in node.params.items()}
            if node.watch is not None and node.watch.record is not None:
                node.watch.record.saved = ()
    return result


def checkpoint_sequential(
    functions: Module | Iterable[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions (an nn.Sequential, or a list) one after the other, in segments; all but the last are checkpoints.

    With n functions of like size, about sqrt(n) segments keep least: the results between segments and, during backward,
    what one segment keeps. Raises ValueError unless 1 <= segments <= n.
    """
    steps = list(functions.children()) if isinstance(functions, Module) else list(functions)
    if isinstance(segments, bool) or not isinstance(segments, int):
        raise TypeError(f"checkpoint_sequential: segments is {segments!r}; an integer is needed")
    if not 1 <= segments <= len(steps):
        raise ValueError(
            f"checkpoint_sequential: {segments} segments of {len(steps)} functions; from 1 to {len(steps)} can be made"
        )

    def run(first: int, last: int) -> Callable[[Any], Any]:
        def segment(x: Any) -> Any:
            for step in steps[first:last]:
                x = step(x)
            return x

        return segment

    token = current_scope.set(scope_of(functions)) if isinstance(functions, Module) else None
    try:
        size = len(steps) // segments
        for k in range(segments - 1):
            input = checkpoint(run(k * size, k * size + size), input, preserve_rng_state=preserve_rng_state)
        return run((segments - 1) * size, len(steps))(input)
    finally:
        if token is not None:
            current_scope.reset(token)


class _Dropped(tuple[Any, ...]):
    """What the Nodes of one checkpoint keep: nothing to those who read it, until `recall` has computed it again.

    It knows its Nodes by their numbers alone: they refer to it, and there must be no cycle.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Any  # the context variables of the first time: recording, the module, the algorithm of convolutions
    draws: Draws | None
    began: int
    steps: list[tuple[Any, ...]]  # (number, plan, shape, dtype, numbers that stay) of its Nodes
    digest: Any

    __hash__ = object.__hash__

    def recall(self, node: Node, recalled: dict[int, Any]) -> tuple[Any, int]:
        """What the Node's rules asked for, and the number of the step that gave it. recalled: what a backward holds."""
        saved: Any = self
        order = node.order
        while type(saved) is _Dropped:  # what is computed again may hold checkpoints in turn
            if id(saved) not in recalled:
                recalled[id(saved)] = saved, saved._again()
            saved, order = recalled[id(saved)][1].pop(order)
        return saved, order

    def _again(self) -> dict[int, tuple[Any, int]]:
        """Run the forward again; what its Nodes keep, and their numbers, by the numbers of the first ones."""
        running = [(type(block).running, type(block).running.get()) for block in list(watchers)]
        try:
            began, result = self.context.copy().run(self._forward, running)
            nodes = _nodes_since(began, result)
            self._compare(nodes, result)
        except Exception as error:
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            error.add_note(f"while checkpoint computed {name} again for its gradients")
            raise
        found = {order: (node.saved, node.order) for (order, *_), node in zip(self.steps, nodes, strict=True)}
        for node in nodes:
            node.saved = None  # so that a checkpoint inside, whose inputs hang on them, holds none of it
        return found

    def _forward(self, running: Sequence[tuple[ContextVar[Any], Any]]) -> tuple[int, Any]:
        for variable, blocks in running:
            variable.set(blocks)
        replaying.set(True)
        changed = memory.latest[0] > self.began
        with self.draws.again() if self.draws is not None else nullcontext(), held():
            began = memory.tick()
            with _Unchanged(self.began, began) if changed else nullcontext():
                return began, self.function(*self.args, **self.kwargs)

    def _compare(self, nodes: Sequence[Node], result: Any) -> None:
        """Raise RuntimeError unless this was done the first time, too."""
        for (_, plan, shape, dtype, numbers), node in zip(self.steps, nodes, strict=False):
            if (plan, shape, dtype) != (node.plan, node.shape, node.dtype):
                raise RuntimeError(
                    f"checkpoint: where {plan.op.name} gave {dtype} {shape}, {node.plan.op.name} gave {node.dtype} "
                    f"{node.shape} when it was computed again; {_REMEDY}"
                )
            if self.digest is not None and numbers != _numbers(node):
                raise RuntimeError(
                    f"checkpoint: {plan.op.name} kept {numbers}, and {_numbers(node)} when it was computed again; "
                    f"{_REMEDY}"
                )
        if len(nodes) != len(self.steps):
            raise RuntimeError(
                f"checkpoint: {len(self.steps)} steps were recorded, and {len(nodes)} when they were computed again; "
                f"{_REMEDY}"
            )
        if self.digest is not None and self.digest != _digest(result):
            raise RuntimeError(
                "checkpoint: the result has other values when it is computed again: something that the function reads "
                f"has changed, or it drew random numbers past this package's functions; {_REMEDY}"
            )


_REMEDY = "the function must do the same each time, so change modes and data after backward"


class _Unchanged(Watcher):
    """A block whose ops may not read memory that was changed in place after `began` and before `again`."""

    running: ClassVar[ContextVar[tuple[Any, ...]]] = ContextVar("unchanged", default=())

    def __init__(self, began: int, again: int) -> None:
        self._began, self._again = began, again

    def saw_op(
        self, op: Any, args: Sequence[Any], scope: Sequence[Any], params: Any, result: Any, began: float, seconds: float
    ) -> None:
        """Check what an op has read."""
        for array in scope:
            if not isinstance(array, np.ndarray) or memory.changed_since(array, self._again):
                continue
            if by := memory.changed_since(array, self._began):
                raise RuntimeError(
                    f"checkpoint: {op.name} reads memory of shape {array.shape} that was changed in place ({by}) "
                    "between forward and backward, and computing it again needs the old value; change a copy "
                    "(.clone()), or after backward"
                )


def _kept(value: Any) -> Any:
    """An argument as the checkpoint keeps it, out of reach of assignments to `.data` and writes to bare arrays."""
    if not isinstance(value, Tensor):
        return memory.freeze(value) if isinstance(value, np.ndarray) else value
    same = object.__new__(type(value))
    same.array, same.node = value.array, value.node
    return same


def _nodes_since(began: int, result: Any) -> list[Node]:
    """The recorded steps after `began` that lead to the Tensors in a result, in the order of their making."""
    stack = [x.node for x in tensors(result) if x.node is not None]
    found: set[Node] = set()
    while stack:
        node = stack.pop()
        if node.order > began and node.plan is not None and node not in found:
            found.add(node)
            stack.extend(node.parents)
    return sorted(found, key=lambda node: node.order)


def _is_light(saved: Any) -> bool:
    """Whether there is nothing to drop: shapes and numbers alone, or what was freed already."""
    if isinstance(saved, (tuple, list)) and type(saved) is not _Dropped:
        return all(map(_is_light, saved))
    return saved is None or isinstance(saved, (bool, int, float, str, slice))


def _numbers(node: Node) -> str | None:
    """What a Node keeps where that is not dropped."""
    return repr(node.saved) if _is_light(node.saved) else None


def _digest(result: Any) -> list[tuple[Any, ...]]:
    """Shape, dtype and a checksum of the bytes of each Tensor in a result."""
    return [(x.shape, x.dtype, zlib.crc32(np.ascontiguousarray(x.array).data)) for x in tensors(result)]
