"""A drawn SVG as PNG through resvg (the extra `png`), with fonts of our own: the same picture on every machine.

resvg leaves out all text for which it has no font, and says nothing. So the fonts beside this module are always
given, and those of the system only where a text needs more than ours draw.
"""

import math
import re
from pathlib import Path

from .fonts import COVERED
from .render import RenderError

SCALE = 2.0  # sharp on a screen of twice the usual density
MOST_PIXELS = 100e6  # resvg holds 4 bytes of each, and ends the process where it gets no memory
FONTS = Path(__file__).with_name("fonts")
FILES = ("Arimo-Regular.ttf", "Arimo-Bold.ttf", "DejaVuSans.ttf")
_SIZE = re.compile(r'<svg\b[^>]*? width="([0-9.]+)"[^>]*? height="([0-9.]+)"')


def to_png(svg: str, scale: float = SCALE) -> bytes:
    """The bytes of a PNG file of the SVG with `fitting_scale(svg, scale)` pixels for one of the SVG.

    The colours are those of the SVG's attributes: a theme is chosen when the SVG is made.

    Raises RenderError where resvg-py is not installed or refuses the SVG, ValueError as `fitting_scale` does.
    """
    scale = fitting_scale(svg, scale)
    try:
        import resvg_py
    except ImportError:
        raise RenderError("to_png: resvg-py is not installed; pip install 'tinygrad_cnn[png]'") from None
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=scale,
            dpi=96.0,
            font_files=[str(FONTS / name) for name in FILES],
            sans_serif_family="Arimo",
            skip_system_fonts=COVERED.issuperset(svg.replace("\n", "")),
        )
    except ValueError as error:
        raise RenderError(f"to_png: resvg says: {error}") from error
    return bytes(png)


def fitting_scale(svg: str, scale: float = SCALE) -> float:
    """The scale, or the largest one that keeps the PNG within MOST_PIXELS.

    Raises ValueError for a scale that is not positive and finite, and for an SVG that does not start with its width
    and height in pixels.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"to_png: scale is {scale}; it must be a positive number")
    found = _SIZE.match(svg)
    if found is None:
        raise ValueError(f"to_png: the SVG starts with {svg[:40]!r}; it must start with its width and height in pixels")
    width, height = map(float, found.groups())
    return min(scale, math.sqrt(MOST_PIXELS / max(width * height, 1.0)))
