"""DataParallel: the same model in every process, with gradients of the loss over all their batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import memory, replicas
from ..graph import Tensor, wrap
from ..nn import Module, Parameter
from ..nn.parameter import UninitializedParameter
from .group import Group, init

__all__ = ["DataParallel"]


class DataParallel(Module):
    """`module`, of which every process computes a part of each batch; its weights and buffers begin as those of rank 0.

        model = DataParallel(net)
        loss = F.cross_entropy(model(images), labels)
        mean = model.backward(loss, len(labels))  # in the place of loss.backward()
        optimizer.step()

    Afterwards the gradients are those of the mean loss over the items of all processes, however many each of them has,
    with the same bits in each, so that equal optimizers keep the weights equal. In training mode batch normalisation
    takes its statistics over the batch of all processes. `tinygrad_cnn.train.fit` and `evaluate` take the model as it
    is. group: the processes of `init()` unless given. With one process everything is as without it.

    Raises ValueError in all processes if their modules differ in names, shapes, dtypes or in what is trained.
    """

    def __init__(self, module: Module, group: Group | None = None) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise TypeError(f"DataParallel: module is a {type(module).__name__}; a Module is needed")
        self.module = module
        self.group = init() if group is None else group
        if self.group.size > 1:
            self._check_alike()
            self.synchronize()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._sharing():
            return self.module(*args, **kwargs)

    @contextmanager
    def _sharing(self) -> Iterator[None]:
        """A block in which batch norms share their statistics, in training mode with several processes."""
        token = replicas.current.set(self.group if self.training and self.group.size > 1 else None)
        try:
            yield
        finally:
            replicas.current.reset(token)

    def backward(self, loss: Tensor, count: float | None, outputs: Any = None) -> float:
        """Add the gradients of the loss over all processes to the parameters; returns that loss.

        loss: of this process's part of the batch, a mean over `count` items (`local_count` tells it), so that the loss
        of all is sum(count loss) / sum(count). count None: the loss is a sum, and that of all is their sum.
        outputs: the Tensor that the model gave; needed where count is 0, as where all labels are ignored.

        A nan or inf is in the gradients of all processes afterwards, and in what is returned. If the backward of this
        process raises, its gradients are as before.
        """
        weighed, total = self.weigh(loss, count, outputs)
        if self.group.size == 1:
            weighed.backward()
            return total
        params = self._trained()
        before = [p.grad for p in params]
        try:
            for p in params:
                p.grad = None
            weighed.backward()
            self.reduce_gradients()
        except BaseException:
            for p, old in zip(params, before, strict=True):
                p.grad = old
            raise
        for p, old in zip(params, before, strict=True):
            if old is not None:
                p.grad = old if p.grad is None else wrap(old.array + p.grad.array)
        return total

    def weigh(self, loss: Tensor, count: float | None, outputs: Any = None) -> tuple[Tensor, float]:
        """(the part of this process's loss in that of all, whose gradients add up; the loss of all processes).

        One all-reduce of two numbers. See `backward`, which calls it.
        """
        if count is not None and not 0 <= count < math.inf:
            raise ValueError(f"DataParallel: count={count!r}; a number >= 0 is needed, or None for a sum")
        if self.group.size == 1:
            return loss, loss.item()
        if count == 0 and not isinstance(outputs, Tensor):
            raise ValueError(
                "DataParallel: count=0, so the loss of this process is no number to begin from; give outputs=, the "
                "Tensor that the model gave"
            )
        weight = 1.0 if count is None else count
        sums = np.array([weight, loss.item() * weight if weight else 0.0])
        self.group.add(sums)
        if count is None:
            return loss, float(sums[1])
        with np.errstate(all="ignore"):
            total = float(sums[1] / sums[0])
        if count == 0:  # 0 times nan is nan, and batch norms of the other processes wait for this one's sums
            return outputs.sum() * 0.0, total
        return loss * (weight / float(sums[0])), total

    def reduce_gradients(self) -> None:
        """Replace the gradients of the parameters by their sums over all processes, in one all-reduce.

        A parameter that has a gradient in none of them stays without; where some have none, theirs counts as 0.
        """
        if self.group.size == 1:
            return
        params = self._trained()
        flat = self._buffer(params)
        begin = len(params)
        for i, p in enumerate(params):
            part = flat[begin : begin + p.array.size].reshape(p.array.shape)
            flat[i] = p.grad is not None
            part[...] = 0 if p.grad is None else p.grad.array
            begin += p.array.size
        self.group.add(flat)
        begin = len(params)
        for i, p in enumerate(params):
            if flat[i]:
                part = flat[begin : begin + p.array.size].reshape(p.array.shape)
                p.grad = wrap(part.astype(p.array.dtype))
            begin += p.array.size

    def _trained(self) -> list[Parameter]:
        return [p for p in self.module.parameters() if p.requires_grad]

    def _buffer(self, params: list[Parameter]) -> NDArray[Any]:
        """Room for one number and all gradients of each parameter, kept from step to step."""
        size = len(params) + sum(p.array.size for p in params)
        dtype = np.result_type(np.float32, *(p.array.dtype for p in params))
        flat: NDArray[Any] | None = self.__dict__.get("_flat")
        if flat is None or flat.size != size or flat.dtype != dtype:
            flat = self._flat = np.empty(size, dtype)
        return flat

    def synchronize(self) -> None:
        """Give all processes the weights and buffers of rank 0."""
        for tensor in [*self.module.parameters(), *self.module.buffers()]:
            values = np.ascontiguousarray(tensor.array)
            self.group.broadcast(values)
            if values is not tensor.array:
                tensor.array[...] = values
            memory.mark_changed(tensor.array, "DataParallel")

    def _check_alike(self) -> None:
        """Raise ValueError unless the modules of all processes have the same parameters and buffers."""
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        if lazy := [name for name, tensor in named if isinstance(tensor, UninitializedParameter)]:
            raise ValueError(
                f"DataParallel: {', '.join(lazy)}: no shape yet; run the module once before it is made parallel"
            )
        own = {name: f"{t.dtype} {tuple(t.shape)}, trained: {t.requires_grad}" for name, t in named}
        first = self.group.share(own)
        wrong = [name for name in {**first, **own} if first.get(name) != own.get(name)]
        found = self.group.collect((wrong[0], own.get(wrong[0]), first.get(wrong[0])) if wrong else None)
        for rank, difference in enumerate(found):
            if difference:
                name, there, wanted = difference
                raise ValueError(
                    f"DataParallel: {name} is {there or 'missing'} in rank {rank} and {wanted or 'missing'} in rank 0; "
                    "make the same module in every process"
                )

    def extra_repr(self) -> str:
        return f"rank {self.group.rank} of {self.group.size}"
