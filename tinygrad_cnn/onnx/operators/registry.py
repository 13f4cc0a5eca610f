"""The table of ONNX operators that can be run, and what each is told of its node.

    @operator("Gemm")
    def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor: ...

An input that the node leaves out is None. A result is a Tensor, or a tuple of them for operators of several outputs;
outputs that the node does not name are cut off. A function is for the forms that its operator has had since opset 7,
when broadcasting and most layers became what they are, or since an opset
`first` before. Source: the operator schemas of the ONNX specification.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...graph import Tensor
from ..errors import OnnxError, OnnxUnsupported

__all__ = ["FIRST", "Node", "OPERATORS", "operator"]


@dataclass(frozen=True)
class Node:
    """One node of an ONNX graph as its operator sees it."""

    op_type: str
    name: str
    opset: int  # of the node's domain
    attributes: Mapping[str, Any]  # numbers, texts, lists of them; Tensors
    outputs: int = 1  # how many it has to give
    max_bytes: int = 1 << 31  # the largest result that a node may make
    training: bool | None = None  # whether the module that runs it trains; None where the file has to decide

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, or its default."""
        return self.attributes.get(name, default)

    def fail(self, what: str) -> OnnxError:
        """The error to raise, with the node named."""
        return OnnxError(f"{self.op_type} {self.name!r}: {what}")

    def unsupported(self, what: str) -> OnnxUnsupported:
        """The error for what ONNX allows and the engine does not compute, with the node named."""
        return OnnxUnsupported(f"{self.op_type} {self.name!r}: {what}")

    def integers(self, value: Tensor | None, what: str) -> tuple[int, ...] | None:
        """The numbers of an input that says axes, sizes or the like; None where it is left out."""
        if value is None:
            return None
        if value.array.dtype.kind not in "iu" or value.array.ndim > 1:
            raise self.fail(f"{what} is {value.array.dtype} of shape {value.shape}; integers along one axis are needed")
        return tuple(int(number) for number in value.array.reshape(-1))

    def allow(self, shape: tuple[int, ...], itemsize: int) -> None:
        """Refuse a result that is larger than a node may make, before memory is asked for."""
        size = math.prod(shape) * itemsize
        if min(shape, default=0) < 0:
            raise self.fail(f"a result of shape {shape} cannot be; no size may be negative")
        if size > self.max_bytes:
            raise self.fail(
                f"a result of shape {shape} takes {size} bytes, more than the limit of {self.max_bytes}; "
                "raise max_bytes if that is meant"
            )


Operator = Callable[..., Tensor | tuple[Tensor, ...]]
OPERATORS: dict[str, Operator] = {}  # by op_type, of the domain ai.onnx
FIRST: dict[str, int] = {}  # the opset whose form of the operator is the first that its function is for


def operator(*names: str, first: int = 7) -> Callable[[Operator], Operator]:
    """Enter a function under these operator types, for their forms since the opset `first`."""

    def enter(function: Operator) -> Operator:
        for name in names:
            if name in OPERATORS:
                raise ValueError(f"the operator {name} is entered twice")
            OPERATORS[name], FIRST[name] = function, first
        return function

    return enter
