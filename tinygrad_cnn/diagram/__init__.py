"""Pictures of a computation graph."""

from .dot import draw

__all__ = ["draw"]
