"""Writing a picture to a file with whatever can draw it here: the best first, and never nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .digraph import to_digraph
from .model import Drawing
from .png import SCALE, fitting_scale, to_png
from .render import RenderError, render
from .svg import to_svg

ENGINES = ("auto", "dot", "builtin")


def save(drawing: Drawing, path: Path, engine: str, writers: Mapping[str, Callable[[], str]]) -> Path:
    """Write the drawing in the format of the path's ending; returns the path that was written.

    writers: makes the text of every other ending than .png and .pdf; needs nothing that may be missing.

    Nothing is opened before its content is there. Where no engine can draw a PNG or PDF, an SVG is written beside the
    path; that, a smaller scale and a dot that could not do what was asked of it are told in one line on stderr.

    Raises ValueError for another ending or engine.
    """
    ending = path.suffix.lower()
    if engine not in ENGINES:
        raise ValueError(f"save: engine={engine!r}; it can be {', '.join(ENGINES)}")
    if ending not in (*writers, ".png", ".pdf"):
        raise ValueError(f"save: {path.name!r} ends in {ending!r}; it can be {', '.join(writers)}, .png or .pdf")
    reasons = []
    for draw in _engines(ending, engine):
        try:
            content = draw(drawing, ending)
        except RenderError as error:
            reasons.append(str(error))
            continue
        path.write_bytes(content)
        return path
    if ending in (".png", ".pdf"):
        if ending == ".pdf" and engine == "builtin":
            reasons.append("save: the built-in engine draws no PDF; engine='dot' does where Graphviz is installed")
        path = path.with_suffix(".svg")
    if reasons:
        print(f"{'; '.join(reasons)}; wrote {path} with the built-in layout instead", file=sys.stderr)
    path.write_bytes(writers[path.suffix.lower()]().encode())
    return path


def _engines(ending: str, engine: str) -> Sequence[Callable[[Drawing, str], bytes]]:
    """What may draw the ending and may fail, the best first."""
    if ending == ".png":
        return {"auto": [_resvg, _dot], "dot": [_dot]}.get(engine, [_resvg])
    if ending == ".pdf":
        return [] if engine == "builtin" else [_dot]
    return [_dot] if ending == ".svg" and engine == "dot" else []


def _dot(drawing: Drawing, ending: str) -> bytes:
    return render(to_digraph(drawing), ending[1:])


def _resvg(drawing: Drawing, ending: str) -> bytes:
    svg = to_svg(drawing, theme="dark" if drawing.theme == "dark" else "light")
    png, scale = to_png(svg), fitting_scale(svg)
    if scale < SCALE:
        print(f"save: at the usual scale the PNG would be too large; it is {scale / SCALE:.2g} of it", file=sys.stderr)
    return png
