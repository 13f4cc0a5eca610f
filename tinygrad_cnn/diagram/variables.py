"""The Tensors by the names that the caller's program gives them."""

import inspect
import sys

from ..graph import Tensor


def local_tensors(level: int) -> dict[str, Tensor]:
    """The Tensors among the local variables of the caller `level` frames up."""
    frame = sys._getframe(level)
    found = frame.f_locals
    names = [name for name in found if name.isidentifier() and not name.startswith("_")]  # none that Python made up
    tensors = {name: found[name] for name in names if isinstance(found[name], Tensor)}
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED and type(found) is dict and sys.getrefcount(found) <= 3:
        found.clear()  # before Python 3.13 a function keeps this copy, and all that was in it, until it returns
    return tensors
