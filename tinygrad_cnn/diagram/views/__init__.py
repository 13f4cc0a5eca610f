"""Views of a graph: each answers one question."""

from collections.abc import Callable, Mapping

from ...graph import Tensor
from ..skeleton import Skeleton
from .cost import Cost
from .grad import Grad
from .health import Health
from .memory import MemoryView
from .ops import Teach, View

__all__ = ["VIEWS", "View", "view_of"]

_Parameters = Mapping[str, Tensor]
VIEWS: dict[str, Callable[[Skeleton, _Parameters], View]] = {
    "ops": lambda skeleton, _: View(skeleton),
    "arch": lambda skeleton, _: View(skeleton),
    "grad": lambda skeleton, _: Grad(skeleton),
    "teach": lambda skeleton, _: Teach(skeleton),
    "memory": lambda skeleton, _: MemoryView(skeleton),
    "cost": lambda skeleton, _: Cost(skeleton),
    "health": Health,
}


def view_of(name: str, skeleton: Skeleton, parameters: _Parameters) -> View:
    """The view of this name. parameters: of the model, by path. Raises ValueError for a name that does not exist."""
    if name not in VIEWS:
        raise ValueError(f"graph: view={name!r}; it can be {', '.join(map(repr, VIEWS))}")
    return VIEWS[name](skeleton, parameters)
