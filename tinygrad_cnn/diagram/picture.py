"""`draw` and `Tensor.graph`: one call that gives a picture which shows itself in a notebook and saves itself."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Array, Node, Tensor, method
from ..shapes import ShapeError, is_int
from . import collector
from .build import build
from .changes import around, compare, relabel
from .digraph import to_digraph
from .explorer import to_model_explorer
from .mermaid import to_mermaid
from .model import Card, Drawing
from .options import Options
from .page import to_page
from .questions import Answer, between, find, kept_arrays, nan_causes, no_gradient
from .report import Report
from .save import save
from .skeleton import Skeleton
from .stamps import stamps
from .svg import to_svg
from .text import to_text
from .variables import local_tensors

if TYPE_CHECKING:
    import graphviz


class Picture:
    """A drawn graph. In a notebook it shows itself; `save` writes it; `drawing` is the plain model behind it.

    It keeps the graph that it shows alive.
    """

    def __init__(
        self, skeleton: Skeleton, options: Options, change: Callable[[Drawing], Drawing] | None = None
    ) -> None:
        self.skeleton, self.options = skeleton, options
        self._change = change
        self.drawing = self._draw(options)

    def _draw(self, options: Options) -> Drawing:
        with collector.waiting():
            drawing = build(self.skeleton, options)
        return drawing if self._change is None else self._change(drawing)

    def show(self, view: str) -> "Picture":
        """The same graph as it is now, in another view."""
        return Picture(self.skeleton, replace(self.options, view=view), self._change)

    def find_nan(self) -> Report:
        """The ops and parameters that hold nan or inf, the first cause first; marked in the view `health`.

        Before a backward, values are known where rules keep them; under `tg.watch()`, all are.

            >>> import tinygrad_cnn as tg
            >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
            >>> with tg.watch():
            ...     loss = (x.log() * 2.0).sum()
            >>> print(tg.draw(loss).find_nan().answer.partition("; add")[0])
            log: first −inf (1 value) here; log(0) is −inf
        """
        return self._report(nan_causes(self.skeleton, self.options.parameters), "health")

    def why_no_grad(self, parameter: Tensor | str) -> Report:
        """Why a Tensor (or the parameter of this name) has no gradient: the op that cuts it off, if it was watched."""
        if isinstance(parameter, str) and parameter in self.skeleton.tensors:
            name, parameter = parameter, self.skeleton.tensors[parameter]
            return self._report(no_gradient(self.skeleton, parameter, name))
        if isinstance(parameter, Tensor):
            return self._report(no_gradient(self.skeleton, parameter, find(self.skeleton, parameter)[1]))
        find(self.skeleton, parameter)
        raise ValueError(f"graph: {parameter!r} is an op; why_no_grad needs a Tensor or a parameter's name")

    def path(self, a: Tensor | str, b: Tensor | str) -> Report:
        """The ops on all ways from a to b, Tensors or names in the picture; the rest of the picture is pale."""
        ends = []
        for wanted in (a, b):
            node, name = find(self.skeleton, wanted)
            if node is None or node not in self.skeleton.number:
                raise ValueError(f"graph: {name} is not in this graph, or no gradient flows through it")
            ends.append((node, name))
        return self._report(between(self.skeleton, *ends))

    def saved(self) -> Report:
        """What every op keeps for backward, why, how many bytes, when it is freed; the picture is the view `memory`."""
        return self._report(kept_arrays(self.skeleton), "memory")

    def diff(self, other: "Picture") -> Report:
        """What differs from this picture to another, later one: cards added, removed, and changed in what they say."""
        if not isinstance(other, Picture):
            raise TypeError(f"diff: a {type(other).__name__} was given; a Picture is needed, as graph() gives")
        drawing, changes = compare(self.drawing, other.drawing)
        rows: list[tuple[str, ...]] = [(change.kind, change.title, change.before, change.after) for change in changes]
        kinds = [f"{sum(c.kind == kind for c in changes)} {kind}" for kind in ("added", "removed", "changed")]
        answer = f"cards: {', '.join(kinds)}" if rows else "no difference"
        picture = Picture(other.skeleton, other.options, lambda _: drawing)
        return Report(answer, ("what", "card", "before", "after"), rows, picture)

    def gradcheck(self) -> "Picture":
        """The same picture with a stamp on every op: how far its rules are from central differences, on its samples.

        An op without a sample is stamped as not checked.
        """
        return Picture(self.skeleton, replace(self.options, stamps=stamps(self.skeleton.ops)), self._change)

    def _report(self, answer: Answer, view: str | None = None) -> Report:
        sentence, columns, rows, marked = answer
        options = self.options if view is None else replace(self.options, view=view)
        if marked is not None:
            options = replace(options, emphasis=frozenset(marked))
        picture = Picture(self.skeleton, options, self._change) if rows or marked else None
        return Report(sentence, columns, rows, picture)

    def svg(self) -> str:
        """The picture as SVG, laid out by our own layout: needs no Graphviz."""
        return to_svg(self.drawing, self.drawing.theme)

    def dot(self) -> "graphviz.Digraph":
        """The picture as a `graphviz.Digraph`, for people who want to edit it."""
        return to_digraph(self.drawing)

    def text(self) -> str:
        """The picture as lines of text."""
        return to_text(self.drawing)

    def html(self) -> str:
        """The picture as one HTML file that needs no network: zoom, search, folding, details, and a step player.

        Up to 2,000 ops, every module can be unfolded there; what the picture folds is folded at first.
        """
        return to_page(self._draw(replace(self.options, is_page=True)))

    def save(self, path: str | Path, engine: str = "auto") -> Path:
        """Write the picture in the format of the path's ending; returns the path that was written.

        .svg, .html, .dot, .txt, .md (Mermaid) and .json (Model Explorer) need nothing else. .png needs resvg-py (the
        extra `png`) or Graphviz's program `dot`, .pdf needs `dot`; without them an SVG is written beside the path, and
        a line on stderr says what to install.

        engine: "auto"; "builtin", which never runs dot; or "dot", whose layout .svg, .png and .pdf then have. If dot
        fails or takes more than 10 s, the built-in layout is used, and a line on stderr says why.

        Raises ValueError for another ending or engine.
        """
        writers: dict[str, Callable[[], str]] = {
            ".svg": self.svg,
            ".html": self.html,
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
    inputs: Mapping[str, Any] | None = None,
    view: str = "ops",
    depth: int | None = None,
    fold: bool | None = None,
    params: str = "nodes",
    focus: str | None = None,
    hops: int = 2,
    max_nodes: int = 400,
    title: str | None = None,
    legend: bool = True,
    direction: str = "TB",
    theme: str = "auto",
    label: Callable[..., Any] | None = None,
) -> Picture:
    """The graph that `output` was computed by, before or after backward, as a Picture; also `output.graph(...)`.

    model: its parameters are shown by their paths (they are also found by the modules that ran).
    inputs: more Tensors, or arrays, by the name to show; else the caller's variables name Tensors.
    view: "ops" shows every op, "arch" folds modules, "grad" sends arrows backward, as thick as the gradient, "teach"
        adds the formula of every gradient, with pictures, "memory" what is kept and when it is freed, "cost" FLOPs
        and times, "health" what is wrong. Much of it needs the forward pass to run under `tg.watch()`.
    depth: fold modules deeper than this many levels. fold: fold repeats, as BasicBlock ×3; False folds nothing before
        max_nodes. With neither, repeats and then modules fold where the picture would not fit a page.
    params: "nodes" draws parameters as notes, "inline" as rows of their op, "hide" not at all.
    focus: show only what is within `hops` steps of the cards whose title or path begins so.
    max_nodes: fold from the inside until no more cards than this are left; the title says so.
    direction: "TB" from top to bottom, "LR" from left to right. theme: of an SVG or PNG; "auto" follows the reader's
        system, "print" is light.
    label: a function that is given every Card and returns the one to draw.

    Raises TypeError, RuntimeError or ValueError for what cannot be drawn.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"graph: a {type(output).__name__} was given; a Tensor is needed")
    if output.node is None:
        raise RuntimeError(
            "graph: this Tensor has no graph; compute it from one with requires_grad=True, outside no_grad"
        )
    options = Options(view, focus, depth, fold, params, max_nodes, title, legend, direction, theme)
    return _picture(output.node, output.array, local_tensors(2), model, inputs, options, hops, label)


def _picture(
    root: Node,
    result: Array | None,
    variables: Mapping[str, Tensor],
    model: Any,
    inputs: Mapping[str, Any] | None,
    options: Options,
    hops: int,
    label: Callable[..., Any] | None,
) -> Picture:
    if not isinstance(inputs or {}, Mapping) or not all(
        isinstance(name, str) and isinstance(given, (Tensor, np.ndarray)) for name, given in (inputs or {}).items()
    ):
        raise TypeError("graph: inputs must be a dict of Tensors or arrays by name, as in {'x': x, 'labels': y}")
    if model is not None and (isinstance(model, type) or not hasattr(model, "named_modules")):
        raise TypeError(f"graph: model is {model!r}; a Module is needed, or None")
    if label is not None and not callable(label):
        raise TypeError(f"graph: label is {label!r}; a function from Card to Card is needed, or None")
    if not is_int(hops) or hops < 0:
        raise ValueError(f"graph: hops={hops!r}; it can be an int from 0 on")
    parameters = dict(model.named_parameters()) if model is not None else {}
    modules = dict(model.named_modules()) if model is not None else {}
    with collector.waiting():
        skeleton = Skeleton(root, result, {**parameters, **(inputs or {})}, variables, modules)
    return Picture(skeleton, replace(options, parameters=parameters), _changes(options.focus, hops, label))


def _changes(
    focus_on: str | None, hops: int, label: Callable[[Card], Card] | None
) -> Callable[[Drawing], Drawing] | None:
    """What `focus` and `label` do to a drawing."""
    if focus_on is None and label is None:
        return None

    def change(drawing: Drawing) -> Drawing:
        drawing = drawing if focus_on is None else around(drawing, focus_on, hops)
        return drawing if label is None else relabel(drawing, label)

    return change


def _draw_error(error: ShapeError, **options: Any) -> Picture:
    if error.failed is None:
        raise RuntimeError("graph: this error was not raised by an op on Tensors, so there is no graph to draw")
    allowed = list(inspect.signature(draw).parameters)[1:]
    if unknown := sorted(options.keys() - set(allowed)):
        raise TypeError(f"graph: {unknown[0]!r} is no option; it can be {', '.join(allowed)}")
    model, inputs, label = (options.pop(name, None) for name in ("model", "inputs", "label"))
    hops = options.pop("hops", 2)
    chosen = Options(problems={error.failed: str(error)}, **options)
    return _picture(error.failed, None, local_tensors(3), model, inputs, chosen, hops, label)


ShapeError.draw = staticmethod(_draw_error)
