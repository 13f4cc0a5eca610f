"""Activations."""

from ...graph import Tensor
from ...ops.elementwise import relu
from .registry import Node, operator

__all__: list[str] = []


@operator("Relu")
def rectified(node: Node, x: Tensor) -> Tensor:
    """max(x, 0)"""
    return relu(x)
