"""The SVG writer: valid whatever the names, readable in light and dark, and true to the layout."""

import base64
import gc
import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_diagram_layout import drawings, inside, mixed, overlap

from tinygrad_cnn.diagram import theme as colours
from tinygrad_cnn.diagram.face import FAINT, Face, plain
from tinygrad_cnn.diagram.fonts import text_width
from tinygrad_cnn.diagram.layout import Box, place
from tinygrad_cnn.diagram.model import GRADIENT, PALETTE, PROBLEM, Card, Drawing, Edge, Group, Row, Strip
from tinygrad_cnn.diagram.svg import Sheet, sizes, to_svg
from tinygrad_cnn.diagram.theme import BAND_FILL, DARK, MARKS, ON_BAND

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "a\"b'c",
    "new\nline\ttab\x00\x07\x7f\x9f",
    "%n %s {x}",
    "]]> <!-- --> <?x?>",
    "&amp; &#0;",
    "\ud800 half",
    "\u202eevil",
    "\ufffe\uffff",
    'x" onload="alert(1)',
    "x" * 3000,
    "模型.层.权重",
    "",
]
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters()), st.text("<>&\"'%\x00\x1b]"))
TONES = ["plain", "bold", "quiet", "gradient", "problem"]
PIXEL = b"\x89PNG\r\n\x1a\n"  # the beginning of a PNG file: the writer does not look inside


@st.composite
def hostile_drawings(draw):
    def rows():
        texts = draw(st.lists(names, max_size=2))
        return tuple(Row(text, draw(st.sampled_from(TONES)), draw(st.sampled_from([0, 0.3, 1]))) for text in texts)

    def strips():
        pictures = st.lists(st.sampled_from([PIXEL, b"", b'"/><script>']), max_size=3).map(tuple)
        return tuple(Strip(draw(pictures), 20, 12, draw(names)) for _ in range(draw(st.integers(0, 2))))

    ids = draw(st.lists(names, min_size=2, max_size=5, unique=True))
    shapes = st.sampled_from(["card", "sign", "input", "target", "note", "stack"])
    families = st.sampled_from(sorted(PALETTE))
    group = draw(names.filter(bool))
    cards = [
        Card(
            name,
            draw(shapes),
            draw(families),
            draw(names),
            draw(names),
            rows(),
            draw(st.sampled_from(["", group])),
            draw(names),
            draw(names),
            draw(names),
            strips(),
            draw(st.sampled_from(["", *MARKS])),
            draw(st.booleans()),
        )
        for name in ids
    ]
    edges = [
        Edge(a, b, draw(st.sampled_from(["forward", "parameter", "constant", "gradient"])), rows(), 1.2, draw(names))
        for a, b in itertools.pairwise(ids)
    ]
    return Drawing(draw(names), cards, edges, [Group(group, draw(names), draw(names), draw(names))], rows())


def texts(root):
    """(x, y, text, width) of every text, whatever its anchor."""
    for element in root.iter(f"{SVG}text"):
        size, bold = float(element.get("font-size", "11")), element.get("font-weight") == "bold"
        text = (element.text or "") + "".join(child.tail or "" for child in element)
        width = text_width(text, size, bold)
        x = float(element.get("x")) - {"middle": width / 2, "end": width}.get(element.get("text-anchor"), 0)
        yield x, float(element.get("y")), text, width


def example() -> Drawing:
    drawing = mixed()
    cards = [replace(card, family=family) for card, family in zip(drawing.cards, PALETTE, strict=True)]
    return replace(drawing, title="net · loss 2.3", cards=cards, legend=(Row("dashed: parameters"),))


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
@given(hostile_drawings())
def test_H186_any_name_gives_valid_xml_without_script_or_handlers(theme, drawing):
    root = ET.fromstring(to_svg(drawing, theme))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg",
            "g",
            "a",
            "rect",
            "path",
            "circle",
            "text",
            "title",
            "style",
            "image",
        }
        assert not any(name.startswith("on") for name in element.attrib)
        kinds = "data:image/png;base64," if element.tag == f"{SVG}image" else ("http:", "https:", "file:", "vscode:")
        assert element.get("href") is None or element.get("href").startswith(kinds)


@given(names)
def test_H186_a_name_arrives_as_it_is_but_for_control_characters(name):
    root = ET.fromstring(to_svg(Drawing("", [Card(name, "card", "math", name)])))
    card = next(element for element in root.iter() if element.get("class") == "card")
    assert card.get("data-id") == plain(name)
    shown = card.find(f"{SVG}text")
    full = shown.find(f"{SVG}title")
    assert (shown.text or "" if full is None else full.text) == plain(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x00\x1b", "\u2400\u241b"),
        ("\x7f", "\u2421"),
        ("\u202eab", "\ufffdab"),
        ("\ud800", "\ufffd"),
        ("∂y ‖x‖", "∂y ‖x‖"),
    ],
)
def test_control_characters_are_shown_by_a_sign(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "https:\n//x", " https://x"])
def test_a_link_that_is_no_plain_address_is_left_out(link):
    assert "<a " not in to_svg(Drawing("", [Card("a", "card", "math", "a", link=link)]))


def test_a_link_to_a_source_line_is_kept():
    text = to_svg(Drawing("", [Card("a", "card", "math", "a", link="vscode://file/net.py:3")]))
    assert '<a href="vscode://file/net.py:3">' in text


@given(hostile_drawings())
def test_text_fits_its_card(drawing):
    for card, size in zip(drawing.cards, sizes(drawing).cards, strict=True):
        left = 12.0 if card.shape in ("input", "target") else 0.0
        root = ET.fromstring(f'<svg xmlns="{SVG[1:-1]}">{Face(card).svg(Box(0, 0, *size))}</svg>')
        for x, y, _, width in texts(root):
            assert x >= left + 2
            assert x + width <= size.width - left - 2
            assert 8 <= y <= size.height - 2


@given(hostile_drawings())
def test_the_lines_of_a_card_do_not_meet(drawing):
    for card, size in zip(drawing.cards, sizes(drawing).cards, strict=True):
        root = ET.fromstring(f'<svg xmlns="{SVG[1:-1]}">{Face(card).svg(Box(0, 0, *size))}</svg>')
        heights = sorted(y for _, y, _, _ in texts(root))
        assert all(b - a >= 10 or b - a == 0.5 for a, b in itertools.pairwise(heights))  # a tag: half a pixel higher


@given(hostile_drawings())
def test_the_title_and_the_tag_of_a_card_do_not_meet(drawing):
    for card, size in zip(drawing.cards, sizes(drawing).cards, strict=True):
        face = Face(card)
        if face.headed and face.tag.text:
            assert face.title.width + face.tag.width + 2 * 9 <= size.width


@given(st.one_of(drawings(), hostile_drawings()))
def test_labels_lie_on_no_card_and_all_text_is_inside_the_page(drawing):
    places = Sheet(drawing).places
    labels = [route.label for route in places.routes if route.label]
    assert not any(overlap(label, card) for label in labels for card in places.cards)
    root = ET.fromstring(to_svg(drawing))
    left, top, width, height = map(float, root.get("viewBox").split())
    assert (left, top, root.get("width"), root.get("height")) == (0, 0, f"{width:.0f}", f"{height:.0f}")
    shift = next(element.get("transform") for element in root.iter() if element.get("transform"))
    dx, dy = map(float, re.findall(r"[\d.]+", shift))
    page = Box(-dx, -dy, width, height)
    assert inside(Box(0, 0, places.width, places.height), page)
    moved = {id(element) for element in root.iter(f"{SVG}g") if element.get("transform")}
    heading = [child for child in root if id(child) not in moved and child.tag == f"{SVG}text"]
    for text in heading:
        assert 0 <= float(text.get("y")) <= dy


def test_edges_carry_what_a_script_needs():
    drawing = example()
    root = ET.fromstring(to_svg(drawing))
    edges = [element for element in root.iter() if element.get("class") == "edge"]
    assert [(e.get("data-source"), e.get("data-target")) for e in edges] == [
        (e.source, e.target) for e in drawing.edges
    ]
    assert {e.get("data-id") for e in root.iter() if e.get("class") == "group"} == {"outer", "inner"}


@pytest.mark.parametrize(("kind", "heads"), [("forward", 1), ("gradient", 1), ("constant", 1), ("parameter", 0)])
def test_every_kind_but_parameters_has_an_arrow_head(kind, heads):
    cards = [Card(name, "card", "math", name) for name in "ab"]
    root = ET.fromstring(to_svg(Drawing("", cards, [Edge("a", "b", kind)])))
    edge = next(element for element in root.iter() if element.get("class") == "edge")
    assert len(edge.findall(f"{SVG}path")) == 1 + heads


def test_the_arrow_head_points_at_the_target():
    cards = [Card(name, "card", "math", name) for name in "ab"]
    drawing = Drawing("", cards, [Edge("a", "b")])
    route = place(drawing, sizes(drawing)).routes[0]
    root = ET.fromstring(to_svg(drawing))
    head = next(element for element in root.iter(f"{SVG}path") if element.get("fill") == colours.LINE)
    x, y = route.path[-1][-2:]
    assert head.get("d").startswith(f"M{x:.1f} {y:.1f}L")


def test_gradients_are_always_and_only_burnt_orange():
    drawing = Drawing("", [Card("a", "card", "conv", "a", rows=(Row("∂ 1", "gradient"), Row("4×8")))])
    root = ET.fromstring(to_svg(drawing, "light"))
    fills = {text.text: text.get("fill") for text in root.iter(f"{SVG}text")}
    assert fills == {"a": None, "∂ 1": GRADIENT, "4×8": None}


def test_a_problem_has_a_red_border_and_says_what_is_wrong():
    text = to_svg(Drawing("", [Card("a", "card", "act", "log", problem="first −inf here")]), "light")
    assert f'stroke="{PROBLEM}" stroke-width="3"' in text
    assert "⚠ first −inf here" in text


def test_a_target_is_dashed_and_a_folded_module_has_three_sheets():
    assert "stroke-dasharray" in to_svg(Drawing("", [Card("y", "target", "input", "y")]), "light")
    stack = to_svg(Drawing("", [Card("s", "stack", "shape", "Block ×3")]), "light")
    assert stack.count('rx="7"') == 3


def test_a_long_title_is_broken_between_its_parts():
    parts = ["part of some length"] * 12
    root = ET.fromstring(to_svg(Drawing(" · ".join(parts))))
    lines = [text.text for text in root.iter(f"{SVG}text")]
    assert len(lines) > 1
    assert " · ".join(lines).split(" · ") == parts


def test_an_empty_drawing_is_a_picture():
    assert ET.fromstring(to_svg(Drawing(""))).tag == f"{SVG}svg"


def rectangles(root, tag):
    for element in root.iter(f"{SVG}{tag}"):
        yield Box(*(float(element.get(name)) for name in ("x", "y", "width", "height")))


@given(hostile_drawings())
def test_pictures_and_bars_lie_in_their_card_and_on_no_other_text(drawing):
    for card, size in zip(drawing.cards, sizes(drawing).cards, strict=True):
        root = ET.fromstring(f'<svg xmlns="{SVG[1:-1]}">{Face(card).svg(Box(0, 0, *size))}</svg>')
        images = list(rectangles(root, "image"))
        assert len(images) == sum(len(strip.pictures) for strip in card.strips)
        bars = [
            box
            for box, rect in zip(rectangles(root, "rect"), root.iter(f"{SVG}rect"), strict=True)
            if "share" in rect.get("class", "")
        ]
        assert all(inside(box, Box(0, 0, *size)) for box in images + bars)
        lines = [Box(x, y - 7, width, 8) for x, y, text, width in texts(root) if text.strip()]
        assert not any(overlap(box, text) for box in images for text in lines)
        assert not any(overlap(a, b) for a, b in itertools.combinations(images, 2))


def test_a_strip_is_png_pictures_side_by_side_below_the_first_row_with_its_label():
    strip = Strip((PIXEL, PIXEL), 40, 30, "channels 0 and 1")
    card = Card("a", "card", "conv", "conv1", rows=(Row("Conv2d"), Row("μ 0")), strips=(strip,))
    root = ET.fromstring(to_svg(Drawing("", [card])))
    first, second = rectangles(root, "image")
    assert (first.width, first.height) == (40, 30)
    assert (second.x - first.x, second.y) == (42, first.y)
    image = next(root.iter(f"{SVG}image"))
    assert image.get("style") == "image-rendering:pixelated"
    assert base64.b64decode(image.get("href").removeprefix("data:image/png;base64,")) == PIXEL
    heights = {text: y for _, y, text, _ in texts(root)}
    assert heights["Conv2d"] < first.y < first.y + 30 < heights["channels 0 and 1"] < heights["μ 0"]


@pytest.mark.parametrize("shape", ["card", "stack", "note", "input", "sign"])
def test_bars_of_equal_rows_are_as_long_as_their_shares(shape):
    rows = (Row("1.2 MFLOP", share=0.25), Row("4.8 MFLOP", "quiet", share=1), Row("no bar"))
    root = ET.fromstring(to_svg(Drawing("", [Card("a", shape, "conv", "conv1", rows=rows)])))
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "share"]
    quarter, whole = (float(bar.get("width")) for bar in bars)
    assert whole == pytest.approx(4 * quarter, abs=0.3)


@pytest.mark.parametrize("shape", ["card", "stack", "note", "input", "target", "sign"])
@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_a_sign_a_word_and_a_border_on_every_shape(shape, mark):
    words, colour, _, dashes = MARKS[mark]
    text = to_svg(Drawing("", [Card("a", shape, "conv", "+", mark=mark)]), "light")
    assert f">{words}<" in text
    assert f'stroke="{colour}" stroke-width="2.4"' in text
    assert not dashes or f'stroke-dasharray="{dashes}"' in text


@pytest.mark.parametrize("shape", ["card", "stack", "note", "input", "target", "sign"])
def test_a_problem_is_said_on_every_shape_and_goes_before_a_mark(shape):
    text = to_svg(Drawing("", [Card("a", shape, "conv", "+", mark="changed", problem="nan")]), "light")
    assert f'stroke="{PROBLEM}" stroke-width="3"' in text
    assert text.index("⚠ nan") < text.index("~ changed")


def test_edges_meet_a_sign_with_words_on_it_at_its_border():
    sign = Card("s", "sign", "math", "+", problem="the shapes differ")
    drawing = Drawing(
        "", [Card("a", "card", "math", "a"), Card("b", "card", "math", "b"), sign], [Edge("a", "s"), Edge("b", "s")]
    )
    places = Sheet(drawing).places
    assert [route.path[-1][-1] for route in places.routes] == [places.cards[2].y] * 2


def test_what_is_faint_is_pale_until_it_is_pointed_at():
    cards = [Card("a", "card", "math", "a", faint=True), Card("b", "card", "math", "b")]
    text = to_svg(Drawing("", cards, [Edge("a", "b", rows=(Row("4"),), faint=True)]), "light")
    assert text.count(f'faint" opacity="{FAINT:g}"') == 3  # the card, the edge and its label
    assert ".faint:hover{opacity:1}" in text
    assert "faint" not in to_svg(example())


@pytest.mark.parametrize("title", ["relu", "cross_entropy_of_labels"])
def test_the_header_is_squeezed_where_a_wider_font_would_not_fit(title):
    """DejaVu Sans is up to 1.3 times as wide as Arial."""
    narrow = to_svg(Drawing("", [Card("a", "card", "loss", title, "loss")]))
    roomy = to_svg(Drawing("", [Card("a", "card", "loss", title, "loss", rows=(Row("x" * 45),))]))
    assert narrow.count("textLength") == 2
    assert roomy.split("x" * 45)[0].count("textLength") == 1  # the row's own, which fills the card


def test_the_label_of_an_edge_is_not_squeezed():
    cards = [Card(name, "card", "math", name) for name in "ab"]
    label = to_svg(Drawing("", cards, [Edge("a", "b", rows=(Row("64×16×32×32"),))]))
    assert "textLength" not in label


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match="theme is 'auto', 'light' or 'dark', not 'print'"):
        to_svg(Drawing(""), "print")


def test_the_garbage_collector_is_as_it_was():
    with pytest.raises(ValueError, match="no card"):
        to_svg(Drawing("", [], [Edge("a", "b")]))
    assert gc.isenabled()
    gc.disable()
    try:
        to_svg(example())
        assert not gc.isenabled()
    finally:
        gc.enable()


# Colours


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def linear(colour: str) -> np.ndarray:
    """Source: IEC 61966-2-1 (sRGB)."""
    value = rgb(colour)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.1, contrast ratio."""
    high, low = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira & Fernandes, A physiologically-based model for simulation of color vision deficiency (2009),
# severity 1.0; for linear RGB.
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour: str, deficiency: str = "") -> np.ndarray:
    """CIE L*a*b* (D65), as seen with the deficiency."""
    value = linear(colour)
    if deficiency:
        value = np.clip(np.array(DEFICIENCIES[deficiency]) @ value, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ value / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, deficiency: str = "") -> float:
    """CIE76."""
    return float(np.linalg.norm(lab(one, deficiency) - lab(other, deficiency)))


def identity(colour: str) -> str:
    return colour


def dark(colour: str) -> str:
    return DARK.get(colour, colour)


THEMES = pytest.mark.parametrize("theme", [identity, dark], ids=["light", "dark"])
OPS = ["conv", "act", "pool", "norm", "shape", "loss"]  # the others have shapes of their own, or are white


@pytest.mark.parametrize("family", sorted(PALETTE))
def test_contrast_in_light_is_as_the_palette_says(family):
    fill, line = PALETTE[family]
    assert contrast("#000000", fill) >= 16
    assert contrast(line, fill) >= 4.5
    assert contrast(line, "#FFFFFF") >= 5


@THEMES
@pytest.mark.parametrize("family", sorted(PALETTE))
def test_text_of_every_tone_has_a_contrast_of_at_least_4_5_on_every_fill(family, theme):
    fill, line = map(theme, PALETTE[family])
    for colour in (colours.INK, colours.QUIET, PROBLEM, GRADIENT):
        assert contrast(theme(colour), fill) >= 4.5, colour
    assert contrast(line, fill) >= 4.5
    assert contrast(line, theme(colours.PAGE)) >= 4.5


@THEMES
def test_text_outside_cards_has_a_contrast_of_at_least_4_5(theme):
    for ground in (colours.PAGE, colours.GROUP):
        for colour in (colours.INK, colours.QUIET, GRADIENT, PROBLEM):
            assert contrast(theme(colour), theme(ground)) >= 4.5
        for colour in (colours.LINE, colours.CONSTANT):
            assert contrast(theme(colour), theme(ground)) >= 3
    for fill in (BAND_FILL, *(mark[2] for mark in MARKS.values())):
        assert contrast(theme(ON_BAND), theme(fill)) >= 4.5
        assert fill not in DARK
    for tone, _ in colours.TONES.values():
        assert contrast(theme(tone), theme(colours.BAR)) >= 4.5


@THEMES
@pytest.mark.parametrize(
    ("deficiency", "least"), [("", 12.5), ("protanopia", 12.4), ("deuteranopia", 7.5), ("tritanopia", 16)]
)
def test_the_lines_of_op_families_differ_for_every_kind_of_colour_vision(deficiency, least, theme):
    """Lines and tags, not fills: light tints are too near each other for that (2.7 to 3.6 with a deficiency)."""
    pairs = {
        (a, b): distance(theme(PALETTE[a][1]), theme(PALETTE[b][1]), deficiency)
        for a, b in itertools.combinations(OPS, 2)
    }
    nearest = min(pairs, key=pairs.get)
    assert pairs[nearest] >= least, (nearest, pairs[nearest])


def test_every_colour_of_a_picture_has_a_dark_one():
    problem = Card("p", "card", "act", "p", rows=tuple(Row("x", tone, 0.5) for tone in TONES), problem="x")
    drawing = example()
    drawing.cards.append(problem)
    drawing.edges += [Edge("c1", "p", kind, problem=kind == "constant") for kind in colours.EDGES]
    drawing.cards += [replace(problem, id=mark, problem="", mark=mark) for mark in MARKS]
    drawing.cards += [
        replace(problem, id=shape, shape=shape, strips=(Strip((PIXEL,), 9, 9, "x"),)) for shape in ("note", "sign")
    ]
    used = set(re.findall(r'(?:fill|stroke)="(#[^"]*)"', to_svg(drawing, "light")))
    assert used - {BAND_FILL, ON_BAND, *(mark[2] for mark in MARKS.values())} <= set(DARK)
    assert all(line == line.upper() for line in used)


def test_the_dark_picture_is_the_light_one_in_other_colours():
    light, dark_ = to_svg(example(), "light"), to_svg(example(), "dark")
    assert light != dark_
    assert [re.sub("#[0-9A-F]{6}", "", text) for text in (light,)] == [re.sub("#[0-9A-F]{6}", "", dark_)]
    assert colours.PAGE not in dark_


def test_the_automatic_picture_maps_every_colour_in_every_dark_place():
    text = to_svg(example())
    style = re.search("<style>(.*?)</style>", text)[1]
    assert text.replace(f"<style>{style}</style>\n", "") == to_svg(example(), "light")
    own = "svg.tinygrad-cnn"
    jupyter = ':is([data-jp-theme-light="false"],.vscode-dark) ' + own
    assert style.startswith(f"@media screen and (prefers-color-scheme:dark){{{own}{{fill:{DARK[colours.INK]}}}")
    for what, old in set(re.findall('(fill|stroke)="(#[0-9A-F]*)"', to_svg(example(), "light"))):
        if old in DARK:
            rule = f'[{what}="{old}"]{{{what}:{DARK[old]}}}'
            assert style.count(f"{own} {rule}") == 2
            assert style.count(f"{jupyter} {rule}") == 1


def test_the_picture_names_its_fonts_and_no_size_of_page():
    text = to_svg(example())
    assert 'font-family="Arial, Helvetica, sans-serif"' in text
    assert "size=" not in text.replace("font-size=", "")
