"""What each operator of ONNX computes, written with the package's own ops.

Every module of this folder that enters operators in the table is found and imported by `registered`.
"""

import importlib
import pkgutil
from functools import cache

from .registry import OPERATORS, Node, Operator

__all__ = ["Node", "registered"]


@cache
def registered() -> dict[str, Operator]:
    """The table of all operators, by op_type."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f".{module.name}", __name__)
    return OPERATORS
