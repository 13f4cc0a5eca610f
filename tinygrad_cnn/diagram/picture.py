"""`draw` and `Tensor.graph`: one call that gives a picture which shows itself in a notebook and saves itself."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph import Tensor, method
from .build import build
from .digraph import to_digraph
from .explorer import to_model_explorer
from .mermaid import to_mermaid
from .model import Drawing
from .save import save
from .svg import to_svg
from .text import to_text

if TYPE_CHECKING:
    import graphviz


class Picture:
    """A drawn graph. In a notebook it shows itself; `save` writes it; `drawing` is the plain model behind it."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing

    def svg(self) -> str:
        """The picture as SVG with a light and a dark theme, laid out by our own layout: needs no Graphviz."""
        return to_svg(self.drawing)

    def dot(self) -> "graphviz.Digraph":
        """The picture as a `graphviz.Digraph`, for people who want to edit it."""
        return to_digraph(self.drawing)

    def text(self) -> str:
        """The picture as lines of text."""
        return to_text(self.drawing)

    def save(self, path: str | Path, engine: str = "auto") -> Path:
        """Write the picture in the format of the path's ending; returns the path that was written.

        .svg, .dot, .txt, .md (Mermaid) and .json (Model Explorer) need nothing else. .png needs resvg-py (the extra
        `png`) or Graphviz's program `dot`, .pdf needs `dot`; without them an SVG is written beside the path, and a line
        on stderr says what to install.

        engine: "auto"; "builtin", which never runs dot; or "dot", whose layout .svg, .png and .pdf then have. If dot
        fails or takes more than 10 s, the built-in layout is used, and a line on stderr says why.

        Raises ValueError for another ending or engine.
        """
        writers: dict[str, Callable[[], str]] = {
            ".svg": self.svg,
            ".dot": lambda: self.dot().source,
            ".txt": self.text,
            ".md": lambda: f"```mermaid\n{to_mermaid(self.drawing).rstrip()}\n```\n",
            ".json": lambda: to_model_explorer(self.drawing),
        }
        return save(self.drawing, Path(path), engine, writers)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        drawing = self.drawing
        return f"<Picture: {drawing.title}; {len(drawing.cards)} cards, {len(drawing.edges)} edges>"


@method("graph")
def draw(
    output: Tensor,
    model: Any = None,
    names: Mapping[str, Tensor] | None = None,
    view: str = "ops",
    depth: int | None = None,
    max_nodes: int = 400,
    title: str | None = None,
    direction: str = "TB",
) -> Picture:
    """The graph that `output` was computed by, before or after backward, as a Picture; also `output.graph(...)`.

    model: its parameters are shown by their paths (they are also found by the modules that ran).
    names: more Tensors by the name to show; else the caller's variables name them.
    view: "ops" shows every op, "arch" folds modules, "teach" adds the formula of every gradient.
    depth: fold modules deeper than this many levels.
    max_nodes: fold from the inside until no more cards than this are left; the title says so.
    direction: "TB" from top to bottom, "LR" from left to right.

    Raises TypeError, RuntimeError or ValueError for what cannot be drawn.
    """
    if direction not in ("TB", "LR"):
        raise ValueError(f"graph: direction={direction!r}; it can be 'TB' or 'LR'")
    if not isinstance(names or {}, Mapping) or not all(isinstance(t, Tensor) for t in (names or {}).values()):
        raise TypeError("graph: names must be a dict of Tensors by name, as in dict(model.named_parameters())")
    known: dict[str, Tensor] = {**_variables(2), **(dict(model.named_parameters()) if model is not None else {})}
    drawing = build(output, {**known, **(names or {})}, view, depth, max_nodes, title)
    drawing.direction = direction
    return Picture(drawing)


def _variables(level: int) -> dict[str, Tensor]:
    """The Tensors among the local variables of the caller `level` frames up."""
    found = sys._getframe(level).f_locals
    return {name: value for name, value in found.items() if isinstance(value, Tensor) and not name.startswith("_")}
