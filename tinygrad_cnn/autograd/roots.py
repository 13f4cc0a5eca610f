"""backward from several Tensors at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backprop import accumulate, cotangent_for, node_of
from ..graph import Array, Tensor

__all__ = ["backward"]


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
        raise RuntimeError(
            "backward: create_graph=True would tie each leaf's grad to the graph in a reference cycle; "
            "ask for the gradients instead: tinygrad_cnn.grad(tensors, parameters, create_graph=True)"
        )
    outs = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    given: list[Any]
    if grad_tensors is None or isinstance(grad_tensors, (Tensor, np.ndarray)):
        given = [grad_tensors] if grad_tensors is not None else [None] * len(outs)
    else:
        given = list(grad_tensors)
    if len(given) != len(outs):
        raise ValueError(f"backward: {len(given)} grad_tensors for {len(outs)} tensors; there must be one for each")
    wanted = None
    if inputs is not None:
        leaves = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        wanted = {node_of(x, i, "backward") for i, x in enumerate(leaves)}
        if not wanted:
            raise ValueError(
                "backward: inputs is empty; name the Tensors that collect a gradient, or leave it out for all"
            )
    roots = [
        (node_of(out, i, "backward", "tensors"), cotangent_for(out, g, "backward").array)
        for i, (out, g) in enumerate(zip(outs, given, strict=True))
    ]
    accumulate(roots, wanted, bool(retain_graph))
