"""Pictures of a computation graph: graph -> Drawing (build.py) -> SVG, DOT, Mermaid, JSON or text."""

from .picture import Picture, draw
from .render import RenderError

__all__ = ["Picture", "RenderError", "draw"]
