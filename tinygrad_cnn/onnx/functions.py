"""Functions that a file defines, put in place of the nodes that call them."""

from typing import Any

from .errors import OnnxUnsupported
from .values import shown

__all__ = ["inlined"]


def inlined(nodes: Any, functions: Any) -> list[Any]:
    """The nodes without calls of functions."""
    if len(functions):
        raise OnnxUnsupported(f"the file defines the function {shown(functions[0].name)}; functions are not supported")
    return list(nodes)
