"""backward and grad from several Tensors at once, with PyTorch's arguments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backprop
from ..backprop import accumulate, cotangent_for, no_graph_of_gradients, node_of
from ..graph import Array, Tensor, wrap

__all__ = ["backward", "grad"]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Array | Sequence[Tensor | Array | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """`tinygrad_cnn.grad` with all of PyTorch's arguments.

    materialize_grads: zeros, not None, for an input that the outputs do not depend on. only_inputs is always True, as
    in PyTorch; is_grads_batched is not there.
    """
    if not only_inputs or is_grads_batched:
        wrong = "is_grads_batched=True" if only_inputs else "only_inputs=False"
        raise ValueError(f"grad: {wrong} is not there; leave it out")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "grad: materialize_grads=True with allow_unused=False; zeros stand for unused inputs, or none do"
        )
    unused = materialize_grads if allow_unused is None else allow_unused
    found = backprop.grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused=unused)
    if not materialize_grads:
        return found
    leaves = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    return tuple(wrap(np.zeros(x.shape, x.dtype)) if g is None else g for x, g in zip(leaves, found, strict=True))


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Array | Sequence[Tensor | Array | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add d(sum of <grad_tensors, tensors>)/d(leaf) to the `grad` of every leaf below, or of `inputs` alone.

    In one backward, so that what they share is passed once. Arguments and errors as for `Tensor.backward`.
    """
    if create_graph:
        raise no_graph_of_gradients("tensors")
    outs = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    given: list[Any]
    if grad_tensors is None or isinstance(grad_tensors, (Tensor, np.ndarray)):
        given = [grad_tensors] if grad_tensors is not None else [None] * len(outs)
    else:
        given = list(grad_tensors)
    if len(given) != len(outs):
        raise ValueError(f"backward: {len(given)} grad_tensors for {len(outs)} tensors; there must be one for each")
    roots = [
        (node_of(out, i, "backward", "tensors"), cotangent_for(out, g, "backward").array)
        for i, (out, g) in enumerate(zip(outs, given, strict=True))
    ]
    accumulate(roots, inputs, bool(retain_graph))
