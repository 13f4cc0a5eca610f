"""A drawing as PNG through resvg: that nothing is missing in it, and that texts are as wide as they were measured."""

import base64
import importlib.util
import re
import sys
import zlib
from html import escape
from pathlib import Path

import numpy as np
import pytest
from test_diagram_writers import residual

from tinygrad_cnn.diagram import png as module
from tinygrad_cnn.diagram.fonts import COVERED, FAMILY, text_width
from tinygrad_cnn.diagram.model import Card, Drawing
from tinygrad_cnn.diagram.png import FILES, FONTS, MOST_PIXELS, fitting_scale, to_png
from tinygrad_cnn.diagram.render import RenderError
from tinygrad_cnn.diagram.svg import to_svg

PACKAGE = Path(module.__file__).parent.parent
needs_resvg = pytest.mark.skipif(importlib.util.find_spec("resvg_py") is None, reason="resvg-py is not installed")


def pixels(png: bytes) -> np.ndarray:
    """The RGBA values (h w 4) of a PNG file of 8 bits without interlacing. Source: PNG specification, section 9."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, width, height = 8, b"", 0, 0
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        content = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
            assert content[8:] == bytes([8, 6, 0, 0, 0])
        data += content if kind == b"IDAT" else b""
        at += size + 12
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 4 * width + 1)
    result = np.zeros((height + 1, width + 1, 4), int)  # a border of zeros above and on the left
    for y, line in enumerate(lines, 1):
        how, values = line[0], line[1:].reshape(width, 4).astype(int)
        if how in (0, 2):
            result[y, 1:] = values + (result[y - 1, 1:] if how == 2 else 0)
        elif how == 1:
            result[y, 1:] = np.cumsum(values, axis=0)
        else:
            for x in range(1, width + 1):
                left, up, corner = result[y, x - 1], result[y - 1, x], result[y - 1, x - 1]
                guess = (left + up) // 2 if how == 3 else paeth(left, up, corner)
                result[y, x] = (values[x - 1] + guess) % 256
        result[y] %= 256
    return result[1:, 1:].astype(np.uint8)


def paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    far = [abs(left + up - corner - value) for value in (left, up, corner)]
    first = (far[0] <= far[1]) & (far[0] <= far[2])
    return np.where(first, left, np.where(far[1] <= far[2], up, corner))


def page(content: str, width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FAMILY}" font-size="16"><rect width="{width}" height="{height}" fill="#FFFFFF"/>{content}</svg>'
    )


def signs() -> set[str]:
    """Every character beyond ASCII in the package's formulas, notation and diagrams."""
    of_pages = {PACKAGE / "diagram" / name for name in ("page.py", "steps.py")}  # a reader's browser has fonts
    drawn = {*PACKAGE.glob("diagram/**/*.py")} - of_pages
    paths = [*PACKAGE.glob("ops/*.py"), *sorted(drawn), PACKAGE / "notation.py"]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {character for text in texts for character in text if ord(character) > 126}


def cells(characters: list[str], more: str = "") -> np.ndarray:
    """Every character drawn in a cell of its own: (character, 24, 24), dark where there is ink."""
    rows = -(-len(characters) // 24)
    text = "".join(
        f'<text x="{24 * (k % 24) + 4}" y="{24 * (k // 24) + 17}"{more}>{escape(c)}</text>'
        for k, c in enumerate(characters)
    )
    drawn = 255 - pixels(to_png(page(text, 576, 24 * rows), 1.0))[..., :3].min(axis=2).astype(int)
    return drawn.reshape(rows, 24, 24, 24).swapaxes(1, 2).reshape(-1, 24, 24)[: len(characters)]


def test_the_fonts_cover_every_sign_that_the_package_writes():
    assert {"∂", "‖", "⋆", "ᵀ", "ʷ", "⚠", "\u0302"} <= signs()
    assert signs() <= COVERED


@needs_resvg
@pytest.mark.parametrize("more", ["", ' font-weight="bold"'])
def test_every_covered_character_is_drawn_and_none_as_the_box_of_a_missing_one(more):
    characters = sorted(c for c in COVERED if c.strip() and c != "\u00ad")
    (box,) = cells(["\ue000"], more)
    assert box.any()
    for character, cell in zip(characters, cells(characters, more), strict=True):
        assert cell.max() > 60, character
        assert not np.array_equal(cell, box), character


@needs_resvg
def test_a_hat_stands_above_its_letter():
    plain, hat = cells(["x", "x\u0302"])
    above = hat.astype(int) - plain
    rows = np.flatnonzero(above.any(axis=1))
    assert len(rows)
    assert rows.max() < np.flatnonzero(plain.any(axis=1)).min()


TEXTS = [
    "Conv2d 16→32 k3 s2 · 4,640 params",
    "∂x = w_c/σ · (∂out − mean ∂out − x\u0302·mean(∂out·x\u0302))",
    "∂w = ∂outᵀ @ w ⋆ᵀ x ⋆ʷ ‖∂‖ ∇ ⟨a, b⟩ ∈ ✓ ⚠ ¬",
    "Ťľďĩ œuvre Ærø ß żółć",
]


@needs_resvg
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("bold", [False, True])
def test_a_text_is_as_wide_as_it_was_measured(text, bold):
    width = text_width(f"||{text}", 16.0, bold)
    more = ' font-weight="bold"' if bold else ""
    drawn = pixels(to_png(page(f'<text x="8" y="20"{more}>|{escape(text)}|</text>', 700, 30), 1.0))[..., 0]
    ink = np.flatnonzero((drawn < 160).any(axis=0))
    # The bars stand in the middle of their own width.
    taken = ink[-1] + 1 - ink[0] + text_width("|", 16.0, bold) * 0.7
    assert 0.96 * width - 2 <= taken <= width + 2


@needs_resvg
def test_a_drawing_comes_out_with_its_words_colours_and_size():
    svg = to_svg(residual(), theme="light")
    drawn = pixels(to_png(svg, 1.0))
    found = re.match(r'<svg[^>]* width="(\d+)" height="(\d+)"', svg)
    assert found
    assert drawn.shape == (int(found[2]), int(found[1]), 4)
    assert (drawn[..., 3] == 255).all()
    colours = {tuple(value) for value in drawn[..., :3].reshape(-1, 3).tolist()}
    assert {(0xD6, 0xE8, 0xF5), (0xFF, 0xF6, 0xE0), (0xBF, 0, 0), (0, 0, 0)} <= colours
    wordless = pixels(to_png(re.sub(r"<text.*?</text>", "", svg), 1.0))
    assert (wordless != drawn).any(axis=2).sum() > 1000


@needs_resvg
def test_a_dark_drawing_is_dark_and_the_scale_counts():
    drawing = Drawing("", [Card("a", "card", "conv", "a")])
    light, dark = (to_png(to_svg(drawing, theme=theme), 0.5) for theme in ("light", "dark"))
    assert pixels(light)[0, 0].tolist() == [255, 255, 255, 255]
    assert pixels(dark)[0, 0].tolist() == [0x1E, 0x1E, 0x1E, 255]
    height, width, _ = pixels(to_png(to_svg(drawing, theme="light"), 1.5)).shape
    assert [round(side / 3) for side in (width, height)] == [*pixels(light).shape[1::-1]]


@needs_resvg
def test_an_embedded_picture_comes_out():
    red = to_png(
        '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"><rect width="2" height="2" fill="red"/></svg>'
    )
    uri = f"data:image/png;base64,{base64.b64encode(red).decode()}"
    drawn = pixels(to_png(page(f'<image x="4" y="2" width="8" height="6" href="{uri}"/>', 20, 10), 1.0))
    assert (drawn[3:7, 5:11, :3] == [255, 0, 0]).all()
    assert (drawn[:2, :, :3] == 255).all()


@needs_resvg
def test_the_same_drawing_gives_the_same_bytes_with_the_package_s_fonts_alone(monkeypatch):
    import resvg_py

    asked = []
    original = resvg_py.svg_to_bytes

    def svg_to_bytes(**options):
        asked.append(options["skip_system_fonts"])
        return original(**options)

    monkeypatch.setattr(resvg_py, "svg_to_bytes", svg_to_bytes)
    svg = to_svg(residual(), theme="light")
    assert to_png(svg) == to_png(svg)
    to_png(page('<text x="8" y="20">卷积</text>', 100, 30))
    assert asked == [True, True, False]


@needs_resvg
def test_an_svg_that_resvg_refuses_is_told():
    with pytest.raises(RenderError, match="to_png: resvg says: "):
        to_png('<svg width="3" height="3"')


def test_a_missing_resvg_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(RenderError, match=re.escape("resvg-py is not installed; pip install 'tinygrad_cnn[png]'")):
        to_png(to_svg(residual()))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_scale_is_refused(scale):
    with pytest.raises(ValueError, match="it must be a positive number"):
        to_png(to_svg(residual()), scale)


def test_an_svg_without_a_size_is_refused():
    with pytest.raises(ValueError, match="it must start with its width and height"):
        to_png("<svg/>")


def test_a_large_picture_is_scaled_to_what_fits():
    svg = page("", 10_000, 40_000)
    scale = fitting_scale(svg)
    assert scale == pytest.approx(0.5)
    assert 10_000 * scale * 40_000 * scale == pytest.approx(MOST_PIXELS)
    assert fitting_scale(page("", 100, 100), 3.0) == 3.0


def test_the_fonts_are_small_and_stand_beside_their_licences():
    assert sorted(path.name for path in FONTS.glob("*.ttf")) == sorted(FILES)
    assert sum((FONTS / name).stat().st_size for name in FILES) < 150_000
    assert "SIL OPEN FONT LICENSE" in (FONTS / "LICENSE_ARIMO.txt").read_text(encoding="utf-8")
    dejavu = (FONTS / "LICENSE_DEJAVU.txt").read_text(encoding="utf-8")
    assert "Bitstream Vera Fonts Copyright" in dejavu
    assert "Arev Fonts Copyright" in dejavu
