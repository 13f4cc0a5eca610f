"""`picture` draws and keeps the figure of an example; `cells` is an array as squares with its numbers in them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BLUE", "GREY", "ORANGE", "calm", "cells", "frame", "picture"]

BLUE, ORANGE, GREY = "#00619A", "#B34700", "#6B6B6B"  # apart for every eye, and on paper without colour


def folder() -> Path:
    """Where pictures go: the first argument of the program, else runs/examples."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs", "examples")
    place.mkdir(parents=True, exist_ok=True)
    return place


def picture(script: str, draw: Callable[[Any], None], width: float, height: float) -> None:
    """Call `draw` with an empty figure of width x height inches, and keep it under the script's name."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image
    except ImportError:
        print("\nno picture: matplotlib is not installed; pip install 'tinygrad_cnn[plot]'")
        return
    with rc_context({"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 8, "legend.fontsize": 8}):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.canvas.draw()
    path = folder() / f"{Path(script).stem}.png"
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)  # half the bytes
    print(f"\npicture: {path}")


def cells(
    axes: Any, array: Any, title: str, *, size: float = 8, form: str = "{:g}", reach: float = 0.0, zeros: bool = True
) -> None:
    """The matrix as squares with its numbers: orange above 0, blue below, white at 0.

    reach: the value of the darkest colour, the largest unless given. zeros: print the zeros, too.
    """
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("signed", [BLUE, "#8FC1DE", "white", "#F2B48A", ORANGE])
    a = np.atleast_2d(np.asarray(array, float))
    reach = reach or np.abs(a).max() or 1.0
    axes.imshow(a, cmap=colours, vmin=-reach, vmax=reach)
    for (i, j), value in np.ndenumerate(a):
        ink = "white" if abs(value) > 0.72 * reach else "black"
        if value or zeros:
            axes.text(j, i, form.format(value), ha="center", va="center", color=ink, fontsize=size)
    axes.set_xticks(np.arange(a.shape[1] + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(a.shape[0] + 1) - 0.5, labels=[])
    axes.grid(color="#B4B4B4", linewidth=0.6)
    axes.tick_params(length=0)
    axes.set_title(title)


def frame(axes: Any, row: float, column: float, height: float, width: float, colour: str = "black") -> None:
    """A thick frame around cells."""
    from matplotlib.patches import Rectangle

    box = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(box, width, height, fill=False, edgecolor=colour, linewidth=2.2, zorder=5))


def calm(axes: Any, title: str, x: str = "", y: str = "") -> None:
    """A plot with a faint grid and two spines."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
