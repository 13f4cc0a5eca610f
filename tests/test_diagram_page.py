"""The page: one safe file, and what a reader sees and does in it in Chromium."""

import itertools
import json
import random
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from test_diagram_svg import HOSTILE

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor
from tinygrad_cnn.diagram.model import PALETTE, Card, Detail, Drawing, Edge, Group, Part, Row, Strip
from tinygrad_cnn.diagram.page import SCRIPTS, to_page
from tinygrad_cnn.diagram.picture import draw
from tinygrad_cnn.diagram.steps import backward_steps, forward_steps, sent
from tinygrad_cnn.diagram.svg import to_svg
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import ResNet20
from tinygrad_cnn.observation import summarize

EVIL = [
    *HOSTILE,
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    "<img src=x onerror=window.hacked=1>",
    "\u2028a\u2029",
]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def png(n: int) -> bytes:
    """A grey picture of n by n pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", n, n, 8, 0, 0, 0, 0)
    body = b"".join(b"\0" + bytes(range(0, 16 * n, 16)) for _ in range(n))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def digits() -> Drawing:
    x = Tensor(rng().standard_normal((4, 1, 8, 8)).astype(np.float32))
    loss = F.cross_entropy(DigitsNet(rng())(x), Tensor([1, 2, 3, 4]))
    loss.backward()
    return draw(loss, inputs={"x": x}, view="teach").drawing


def resnet(**options) -> Drawing:
    x = Tensor(rng().standard_normal((2, 3, 32, 32)).astype(np.float32))
    loss = F.cross_entropy(ResNet20(generator=rng())(x), Tensor([1, 2]))
    return draw(loss, inputs={"x": x}, **({"fold": False} | options)).drawing


def residual() -> Drawing:
    """x -> fc (w) -> relu -> two ways -> + -> loss; relu's gradient is a sum of two; `block` holds fc and relu."""
    cards = [
        Card("x", "input", "input", "x", rows=(Row("no gradient"),)),
        Card("w", "note", "parameter", "fc.weight", rows=(Row("3×2"),), group="inner"),
        Card("fc", "card", "conv", "fc", "LINEAR", (Row("Linear 2→3"),), "inner", link="https://example.org/net.py"),
        Card(
            "relu",
            "card",
            "act",
            "relu",
            "ACT",
            (Row("ReLU"),),
            "block",
            strips=(Strip((png(4), png(4)), 24, 24, "units"),),
        ),
        Card("exp", "card", "math", "exp", "OP", group="block"),
        Card("add", "sign", "math", "+"),
        Card("loss", "card", "loss", "sum", "LOSS", (Row("L = 1.5", "bold"),)),
    ]
    edges = [
        Edge("x", "fc", "constant", (Row("1×2"),)),
        Edge("w", "fc", "parameter"),
        Edge("fc", "relu", rows=(Row("1×3"),)),
        Edge("relu", "exp", rows=(Row("1×3"),)),
        Edge("exp", "add", rows=(Row("1×3"),)),
        Edge("relu", "add", rows=(Row("1×3"),)),
        Edge("add", "loss", rows=(Row("1×3"),)),
    ]
    groups = [Group("block", "block", "Block", "6 params"), Group("inner", "block.fc", "Linear", parent="block")]
    gradient = np.array([[3.0, 4.0, 0.0]], np.float32)
    details = {
        "fc": Detail(
            (("op", "linear"), ("recorded at", "net.py:7")),
            parts=(Part("w", "w", "∂outᵀ @ x", summarize(np.eye(3, 2, dtype=np.float32))),),
        ),
        "relu": Detail(
            value=summarize(np.array([[0.1, 0.0, np.nan]], np.float32)),
            gradient=summarize(gradient),
            parts=(Part("x", "fc", "∂out · 1[x > 0]", summarize(gradient)),),
        ),
        "exp": Detail(value=summarize(rng().standard_normal((10, 10))), parts=(Part("x", "relu", "∂out · out"),)),
        "add": Detail(parts=(Part("a", "exp", "∂out"), Part("b", "relu", "∂out"))),
        "loss": Detail(parts=(Part("x", "add", "broadcast ∂out"),)),
    }
    return Drawing("residual · loss 1.5", cards, edges, groups, (Row("∂: gradients", "gradient"),), details=details)


def hostile() -> Drawing:
    """Every text of the model is hostile somewhere."""
    cards = [
        Card(
            f"{i}{text}",
            ("card", "sign", "input", "note", "stack")[i % 5],
            sorted(PALETTE)[i % len(PALETTE)],
            text,
            text,
            (Row(text, "gradient"), Row(text, share=0.5)),
            ("", "g" + EVIL[0], "h" + EVIL[3])[i % 3],
            text,
            text,
            text,
            (Strip((text.encode("utf-8", "replace"),), 9, 9, text),),
            ("", "added", "removed")[i % 3],
        )
        for i, text in enumerate(EVIL)
    ]
    edges = [
        Edge(a.id, b.id, "parameter" if a.shape == "note" else "forward", (Row(a.title),), 1.2, a.title)
        for a, b in itertools.pairwise(cards)
    ]
    groups = [
        Group("g" + EVIL[0], EVIL[13], EVIL[1], EVIL[2]),
        Group("h" + EVIL[3], EVIL[5], EVIL[9], EVIL[13], folded=True),
    ]
    details = {
        card.id: Detail(
            ((card.title, card.title),),
            summarize(np.array([np.inf, 1])),
            parts=(Part(card.title, cards[0].id, card.title),),
        )
        for card in cards[1:]
    }
    return Drawing(EVIL[13], cards, edges, groups, (Row(EVIL[13]),), details=details)


class Elements(HTMLParser):
    """Every element as an HTML reader sees it, and what stands in scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.content: dict[str, list[str]] = {}
        self.at = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.at = tag

    def handle_endtag(self, tag):
        self.at = ""

    def handle_data(self, data):
        self.content.setdefault(self.at, []).append(data)


def read(page: str) -> dict:
    return json.loads(Elements(page).content["script"][0])


# Without a browser


@pytest.mark.parametrize("drawing", [residual(), hostile(), Drawing("")], ids=["residual", "hostile", "empty"])
def test_the_page_is_one_file_that_asks_for_nothing(drawing):
    page = to_page(drawing)
    elements = Elements(page)
    policy = next(tag for name, tag in elements.tags if name == "meta" and tag.get("http-equiv"))
    assert (
        policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )
    for name, attributes in elements.tags:
        assert name not in ("iframe", "object", "embed", "base", "form", "img")
        assert attributes.get("src") is None
        if name in ("link", "image"):
            assert attributes["href"].startswith("data:")
    assert "@import" not in page
    assert "url(" not in page


def test_H186_hostile_names_add_no_element_and_no_handler():
    tags = Elements(to_page(hostile())).tags
    assert [tag for tag in tags if tag[0] == "script"] == [
        ("script", {"type": "application/json", "id": "data"}),
        ("script", {}),
    ]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    links = [attributes["href"] for name, attributes in tags if name == "a"]
    assert all(link.startswith(("http:", "https:", "file:", "vscode:")) for link in links)


def test_H186_the_data_cannot_end_its_element():
    text = to_page(hostile())
    data = text.split('id="data">')[1].split("</script>")[0]
    assert not set(data) & set("<>&\u2028\u2029")
    assert data.isascii()


def test_the_data_holds_cards_edges_groups_details_and_steps():
    drawing = residual()
    data = read(to_page(drawing))
    assert [card["title"] for card in data["cards"]] == [card.title for card in drawing.cards]
    assert [(edge["source"], edge["target"]) for edge in data["edges"]] == [
        (0, 2),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (3, 5),
        (5, 6),
    ]
    assert [(group["title"], group["parent"]) for group in data["groups"]] == [("block", -1), ("block.fc", 0)]
    relu = data["cards"][3]
    assert relu["value"]["numbers"] == [0.1, 0.0, "nan"]  # the shortest decimals, not 0.10000000149011612
    assert relu["gradient"]["norm"] == 5.0
    assert relu["parts"][0] | {"gradient": None} == {
        "input": "x",
        "target": 2,
        "formula": "∂out · 1[x > 0]",
        "gradient": None,
    }
    assert relu["path"] == "block"
    assert data["cards"][2]["path"] == "block / block.fc"
    assert data["cards"][2]["link"] == "https://example.org/net.py"
    assert data["cards"][4]["gradient"] is None


def test_the_same_drawing_gives_the_same_page():
    assert to_page(residual()) == to_page(residual())


def test_a_small_network_takes_less_than_200_kilobytes():
    assert len(to_page(digits()).encode()) < 200_000


def test_the_scripts_are_read_from_the_package_and_cannot_end_their_element():
    for name in (*SCRIPTS, "page.css"):
        text = (files("tinygrad_cnn.diagram") / name).read_text(encoding="utf-8")
        assert "</" not in text
        assert "<!--" not in text
        assert text in to_page(Drawing(""))


def names(drawing: Drawing, steps: list[int]) -> list[str]:
    return [drawing.cards[i].title for i in steps]


def test_steps_run_forward_as_recorded_and_back_over_what_passes_a_gradient():
    drawing = residual()
    assert names(drawing, forward_steps(drawing)) == ["fc", "relu", "exp", "+", "sum"]
    assert names(drawing, backward_steps(drawing)) == ["sum", "+", "exp", "relu", "fc"]


def test_without_details_a_gradient_flows_along_the_edges_to_the_parameters():
    drawing = replace(residual(), details={})
    assert names(drawing, backward_steps(drawing)) == ["sum", "+", "exp", "relu", "fc"]
    parts = {
        card.title: [part.target for part in found] for card, found in zip(drawing.cards, sent(drawing), strict=True)
    }
    assert parts["+"] == ["exp", "relu"]
    assert parts["fc"] == ["w"]  # and not x, which is a constant


def test_what_does_not_lead_to_the_last_op_has_no_backward_step():
    drawing = replace(residual(), details={})
    drawing.cards.insert(5, Card("side", "card", "act", "side"))
    drawing.edges.append(Edge("relu", "side"))
    assert "side" in names(drawing, forward_steps(drawing))
    assert "side" not in names(drawing, backward_steps(drawing))


def test_a_drawing_without_parameters_has_no_backward_steps():
    cards = [Card("x", "input", "input", "x"), Card("y", "card", "act", "relu")]
    assert backward_steps(Drawing("", cards, [Edge("x", "y")])) == []


# In Chromium


@pytest.fixture
def show(browser, tmp_path):
    """Open a text as a file; at the end nothing was logged and nothing else was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    logged, asked = [], []

    def opened(text: str, name: str = "page.html"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        page = context.new_page()
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    context.close()
    assert logged == []
    assert {url for url in asked if not url.startswith("data:")} <= {
        (tmp_path / f"page.{end}").as_uri() for end in ("html", "svg")
    }


VISIBLE = """() => [...document.querySelectorAll("#canvas .card")].filter((card) => card.getClientRects().length)
  .map((card) => [card, card.querySelector("rect, path, circle").getBoundingClientRect()])
  .map(([card, box]) => [card.dataset.id, box.x, box.y, box.width, box.height])"""


def overlaps(page) -> list[tuple[str, str]]:
    """Pairs of cards that are seen one over the other."""
    boxes = page.evaluate(VISIBLE)
    return [
        (a[0], b[0])
        for a, b in itertools.combinations(boxes, 2)
        if a[1] + 1 < b[1] + b[3] and b[1] + 1 < a[1] + a[3] and a[2] + 1 < b[2] + b[4] and b[2] + 1 < a[2] + a[4]
    ]


def card(page, id):
    return page.locator(f'#canvas .card[data-id="{id}"]:visible')


def status(page) -> str:
    return page.locator("#status").inner_text()


def panel(page) -> str:
    return page.locator("#panel").inner_text()


def test_a_card_that_is_clicked_shows_its_facts_values_gradient_and_parts(show):
    page = show(to_page(residual()))
    card(page, "relu").click()
    text = panel(page)
    for line in (
        "relu ACT",
        "block",
        "1×3 float32",
        "nan\n1 of 3 (33.33 %)",
        "norm\n5",
        "∂x = ∂out · 1[x > 0]",
        "to fc ‖∂‖ 5",
    ):
        assert line in text, line
    assert "The gradient is the sum of these 2 parts:\n\nfrom +\nfrom exp" in text
    assert page.locator("#panel img").count() == 2
    assert page.locator("#panel td").all_inner_texts()[:3] == ["0.1", "0", "nan"]
    assert page.locator("#panel .histogram rect").count() > 2
    page.locator("#panel li button", has_text="fc").click()
    assert panel(page).startswith("fc LINEAR")
    link = page.locator("#panel a")
    assert (link.inner_text(), link.get_attribute("href")) == ("net.py:7", "https://example.org/net.py")


def test_what_was_not_kept_or_not_computed_says_so_and_never_zero(show):
    page = show(to_page(residual()))
    card(page, "fc").click()
    assert panel(page).count("not kept: record under tg.watch()") == 2
    card(page, "x").click()
    assert "no gradient flows here" in panel(page)
    drawing = resnet(max_nodes=40)
    page = show(to_page(drawing))
    page.locator("#canvas .card").nth(2).click()
    assert "not computed: call backward()" in panel(page)
    assert "norm" not in panel(page)


def test_65_numbers_are_a_heat_map_with_the_exact_number_on_hover(show):
    page = show(to_page(residual()))
    card(page, "exp").click()
    cells = page.locator("#panel td.cell")
    assert cells.count() == 100
    assert float(cells.nth(0).get_attribute("title")) == rng().standard_normal()
    assert cells.nth(0).inner_text() == ""


def test_search_counts_marks_and_visits_the_cards(show):
    page = show(to_page(resnet()))
    page.keyboard.press("/")
    page.keyboard.type("conv2d 16→32")
    assert page.locator("#count").inner_text() == "1 card"
    page.fill("#search", "layer3")
    n = page.evaluate("state.hits.length")
    assert n > 20
    assert page.locator("#canvas .card.hit").count() == n
    assert page.locator("#canvas .card.miss").count() == page.evaluate("cards.length") - n
    page.keyboard.press("Enter")
    first = panel(page)
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() == f"2 of {n}"
    assert panel(page) != first
    box = page.locator("#canvas .card.picked").bounding_box()
    canvas = page.locator("#canvas").bounding_box()
    assert box["y"] + box["height"] / 2 == pytest.approx(canvas["y"] + canvas["height"] / 2, abs=8)
    page.keyboard.press("Escape")
    assert page.locator("#canvas .card.miss").count() == 0
    assert page.locator("#count").inner_text() == ""


def test_a_hit_inside_a_folded_module_unfolds_it(show):
    page = show(to_page(resnet()))
    page.click("#fold-all")
    page.fill("#search", "layer2.1.conv1.weight")
    assert page.locator("#canvas .folded .hit").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("#canvas .card.picked").get_attribute("data-id") == page.evaluate("cards[state.hits[0]].id")


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_folding_makes_the_picture_shorter_and_unfolding_restores_it(show, direction):
    page = show(to_page(replace(resnet(), direction=direction)))
    drawn = "[...document.querySelectorAll('#canvas path')].map((path) => path.getAttribute('d'))"
    state = f"() => [state.boxes, {drawn}, state.size]"
    boxes, paths, size = page.evaluate(state)
    assert overlaps(page) == []
    along = 0 if direction == "LR" else 1
    shorter = size[along]
    for title in ("layer2.1", "layer2", "layer1.0"):
        page.evaluate(f"fold(groups.findIndex((group) => group.title === {title!r}), true)")
        assert page.evaluate("state.size")[along] < shorter
        shorter = page.evaluate("state.size")[along]
        assert overlaps(page) == []
    page.click("#fold-all")
    assert page.evaluate("state.size")[along] < size[along] / 2
    assert overlaps(page) == []
    page.click("#unfold-all")
    again = page.evaluate(state)
    assert np.abs(np.array(again[0]) - boxes).max() < 0.05
    assert again[1] == paths
    assert again[2] == size


CROSSED = """() => edges.flatMap((edge, i) => {
  const nodes = [nodeOf(edge.source), nodeOf(edge.target)], { line } = drawn.lines[i], length = line.getTotalLength();
  if (nodes[0] === nodes[1]) return [];
  const points = Array.from({ length: 200 }, (_, k) => line.getPointAtLength((length * k) / 199));
  const inside = ([x, y, w, h]) => (p) => p.x > x + 2 && p.x < x + w - 2 && p.y > y + 2 && p.y < y + h - 2;
  return nodes.filter(isModule).flatMap((node) => points.filter(inside(state.boxes[node])).length);
})"""


ENDS = """() => edges.flatMap(({ source, target }, i) => {
  const [a, b] = [nodeOf(source), nodeOf(target)], { line, head } = drawn.lines[i];
  if (a === b) return [];
  const start = parsed(line)[0], tip = head ? parsed(head)[0] : parsed(line).at(-1).slice(-2);
  return [[isModule(a), start, state.boxes[a]], [isModule(b), tip, state.boxes[b]]];
})"""


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_edges_end_at_the_folded_box(show, direction):
    page = show(to_page(replace(resnet(), direction=direction)))
    for title in ("layer2.1", "layer3"):
        page.evaluate(f"fold(groups.findIndex((group) => group.title === {title!r}), true)")
    ends = [(end, box) for folded, end, box in page.evaluate(ENDS) if folded]
    assert len(ends) >= 5
    for (x, y), (left, top, width, height) in ends:
        assert left - 1 <= x <= left + width + 1
        assert top - 1 <= y <= top + height + 1
        assert min(abs(x - left), abs(x - left - width), abs(y - top), abs(y - top - height)) < 1
    assert not any(page.evaluate(CROSSED))


def any_drawing(seed: random.Random, n: int = 16) -> Drawing:
    """Cards of every shape in nested groups, with edges in any direction."""
    groups = [
        Group(f"g{i}", f"path.{i}", "Block", "note", f"g{seed.randrange(i)}" if i and seed.random() < 0.6 else "")
        for i in range(seed.randint(1, 5))
    ]
    shapes, homes = ["card", "note", "input", "sign", "stack"], ["", *(group.id for group in groups)]
    cards = [
        Card(
            f"c{i}",
            seed.choice(shapes),
            "math",
            f"c{i}",
            rows=(Row("x" * seed.randint(1, 40)),),
            group=seed.choice(homes),
        )
        for i in range(n)
    ]
    pairs = [seed.sample(range(n), 2) for _ in range(2 * n)]
    kinds = ["forward", "forward", "parameter", "constant", "gradient"]
    edges = [Edge(f"c{a}", f"c{b}", seed.choice(kinds), (Row("4×8"),) if a % 2 else ()) for a, b in pairs]
    return Drawing("", cards, edges, groups, direction=seed.choice(["TB", "LR"]))


@pytest.mark.parametrize("number", range(5))
def test_whatever_is_folded_nothing_overlaps_and_edges_stay_on_their_cards(show, number):
    seed = random.Random(number)
    drawing = any_drawing(seed)
    page = show(to_page(drawing))
    for _ in range(3):
        page.evaluate(f"fold({seed.randrange(len(drawing.groups))}, {str(seed.random() < 0.7).lower()})")
        assert overlaps(page) == []
        assert not any(page.evaluate(CROSSED))
        for _, (x, y), (left, top, width, height) in page.evaluate(ENDS):
            assert left - 1 <= x <= left + width + 1
            assert top - 1 <= y <= top + height + 1


def test_groups_start_folded_where_the_drawing_says_so_and_open_by_control_double_click_and_key(show):
    drawing = residual()
    drawing.groups = [replace(drawing.groups[0], folded=True), drawing.groups[1]]
    page = show(to_page(drawing))
    assert [box[0] for box in page.evaluate(VISIBLE)] == ["x", "add", "loss", "block"]
    assert card(page, "block").text_content() == "▸ blockMODULEBlock4 cards6 params"
    card(page, "block").dblclick()
    assert card(page, "relu").count() == 1
    page.get_by_role("button", name="Fold block.fc", exact=True).click()
    assert [box[0] for box in page.evaluate(VISIBLE)] == ["x", "relu", "exp", "add", "loss", "inner"]
    card(page, "inner").focus()
    page.keyboard.press("f")
    assert card(page, "fc").count() == 1
    assert status(page) == "block.fc unfolded"


def test_a_module_may_bring_its_own_card(show):
    drawing = residual()
    stack = Card("stack", "stack", "conv", "Block ×3", "MODULE", (Row("27 ops"),))
    drawing.groups = [replace(drawing.groups[0], folded=True, stack=stack), drawing.groups[1]]
    page = show(to_page(drawing))
    assert card(page, "stack").text_content() == "▸ Block ×3MODULE27 ops"


SQUEEZES = [
    # spans of folded modules with what they need, kept intervals, and where values go
    ([], [[0, 10]], {5: 5, 100: 100}),
    ([[100, 400, 60]], [[0, 50], [450, 500]], {0: 0, 100: 100, 400: 160, 450: 210, 500: 260}),
    ([[100, 400, 60]], [[200, 280]], {100: 100, 200: 130, 280: 210, 400: 240}),  # kept inside, 30 on each side
    ([[100, 110, 60]], [], {100: 100, 110: 160}),  # a module that was smaller than its card
    ([[0, 100, 40], [50, 200, 40]], [], {0: 0, 200: 55}),
]


@pytest.mark.parametrize(("spans", "keeps", "places"), SQUEEZES)
def test_squeeze_shrinks_what_folding_empties(show, spans, keeps, places):
    page = show(to_page(Drawing("")))
    program = "([spans, keeps, values]) => values.map((v) => mapped(squeeze(spans, keeps, 30), v))"
    got = page.evaluate(program, [spans, keeps, list(places)])
    assert got == pytest.approx(list(places.values()))


def test_squeeze_keeps_the_order_and_all_that_is_seen(show):
    page = show(to_page(Drawing("")))
    seed = rng()
    for _ in range(50):
        spans = [[a, a + w, n] for a, w, n in seed.uniform(1, [900, 400, 200], (3, 3)).tolist()]
        keeps = [[a, a + w] for a, w in seed.uniform(0, [1200, 80], (6, 2)).tolist()]
        knots = page.evaluate("([spans, keeps]) => squeeze(spans, keeps, 30)", [spans, keeps])
        x, y = np.array(knots).T
        assert np.all(np.diff(x) > 0)
        assert np.all(np.diff(y) > 0)
        for low, high in keeps:
            assert np.interp(high, x, y) - np.interp(low, x, y) >= high - low - 1e-6
        for low, high, need in spans:
            assert np.interp(high, x, y) - np.interp(low, x, y) >= need - 1e-6


def test_the_player_runs_forward_and_backward_and_says_what_happens(show):
    page = show(to_page(residual()))
    assert status(page) == "Whole picture. 10 steps: forward, then backward."
    page.click("#forward")
    assert status(page) == "Forward 1 of 5: fc (LINEAR)"
    assert page.evaluate("[...document.querySelectorAll('.card.pale')].map((card) => card.dataset.id)") == [
        "relu",
        "exp",
        "add",
        "loss",
    ]
    assert card(page, "fc").get_attribute("class") == "card now"
    assert page.locator(".edge.used").evaluate_all("(all) => all.map((edge) => edge.dataset.source)") == ["x", "w"]
    for _ in range(5):
        page.click("#forward")
    assert status(page) == "Backward 1 of 5: sum (LOSS) sends ∂x to +"
    assert page.locator(".card.pale").count() == 0
    page.click("#forward")
    assert status(page) == "Backward 2 of 5: + sends ∂a to exp, ∂b to relu"
    assert card(page, "add").get_attribute("class") == "card now backward"
    assert page.locator(".edge.carrying").evaluate_all("(all) => all.map((edge) => edge.dataset.source)") == [
        "exp",
        "relu",
    ]
    cued = "[...document.querySelectorAll('.cue')].map((cue) => cue.parentNode.dataset.id)"
    assert page.evaluate(cued) == ["exp", "add", "loss"]  # relu waits for what exp sends
    card(page, "relu").click()
    assert "1 of 2 parts have arrived. The gradient is the sum of these 2 parts:" in panel(page)
    page.click("#forward")
    assert page.evaluate(cued) == ["relu", "exp", "add", "loss"]
    page.click("#last")
    assert status(page) == "Backward 5 of 5: fc (LINEAR) sends ∂w to fc.weight"
    assert panel(page).startswith("fc LINEAR")
    assert "∂w = ∂outᵀ @ x" in panel(page)
    assert page.locator(".edge.carrying").get_attribute("data-source") == "w"
    assert page.locator(".cue").count() == 6
    assert page.locator("#forward").is_disabled()
    for _ in range(10):
        page.click("#back")
    assert page.evaluate("state.step") == 0
    assert page.locator(".cue, .now, .pale, .carrying, .used").count() == 0


@pytest.mark.parametrize("kind", ["forward", "gradient"])
def test_the_arrow_of_a_gradient_points_at_the_input_that_it_is_sent_to(show, kind):
    drawing = residual()
    edge = drawing.edges[2]  # from fc to relu, or back
    drawing.edges[2] = edge if kind == "forward" else replace(edge, source="relu", target="fc", kind="gradient")
    page = show(to_page(drawing))
    page.evaluate("go(9)")
    assert status(page) == "Backward 4 of 5: relu (ACT) sends ∂x to fc"
    (x, y), (left, top, width, height) = page.evaluate(
        "[parsed(document.querySelector('.carrying .carried'))[0], state.boxes[2]]"
    )
    assert left <= x <= left + width
    assert y == pytest.approx(top + height, abs=1)


def test_a_step_inside_a_folded_module_shows_on_its_box(show):
    page = show(to_page(residual()))
    page.click("#fold-all")
    page.click("#forward")
    assert card(page, "block").get_attribute("class") == "card now"
    assert "drop-shadow" in card(page, "block").evaluate("(card) => getComputedStyle(card).filter")
    assert panel(page).startswith("fc LINEAR")
    page.locator("#panel button", has_text="Unfold block").click()
    assert card(page, "inner").get_attribute("class") == "card now"
    page.click("#fold-all")
    page.click("#last")
    assert card(page, "block").get_attribute("class") == "card now backward"
    assert page.locator(".folded .cue").count() == 1


def test_play_goes_on_by_itself_and_can_be_paused(show):
    from playwright import sync_api as sync

    page = show(to_page(residual()))
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    sync.expect(page.locator("#status")).to_contain_text("Forward 2 of 5")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"
    assert page.evaluate("state.timer") == 0


def test_all_can_be_done_by_the_keyboard(show):
    page = show(to_page(residual()))
    focused = "document.activeElement.dataset.id ?? document.activeElement.id"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('svg') !== null"):
            break
    assert page.evaluate(focused) == "x"
    path = []
    for _ in range(5):
        page.keyboard.press("ArrowDown")
        path.append(page.evaluate(focused))
    assert path[0] == "fc"
    assert path[-1] in ("add", "loss")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert panel(page).split()[0] == page.evaluate("cards[state.focus].title")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('svg') === null")  # one stop for all cards
    scale = page.evaluate("state.view.k")
    page.keyboard.press("+")
    assert page.evaluate("state.view.k") > scale
    page.keyboard.press("-")
    page.keyboard.press("0")
    page.keyboard.press("]")
    page.keyboard.press("PageDown")
    assert page.evaluate("state.step") == 2
    page.keyboard.press("[")
    assert page.evaluate("state.step") == 1
    page.keyboard.press("Escape")
    assert page.evaluate("[state.step, state.picked]") == [0, -1]
    page.keyboard.press("/")
    assert page.evaluate(focused) == "search"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_wheel_zooms_at_the_pointer_and_dragging_moves(show):
    page = show(to_page(residual()))
    before = card(page, "relu").bounding_box()
    x, y = before["x"] + 10, before["y"] + 10
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    page.evaluate("new Promise(requestAnimationFrame)")
    scale = card(page, "relu").bounding_box()["width"] / before["width"]
    assert scale > 1.1
    assert card(page, "relu").bounding_box()["x"] == pytest.approx(x - 10 * scale, abs=1.5)
    at = card(page, "relu").bounding_box()
    page.mouse.move(60, 300)
    page.mouse.down()
    page.mouse.move(110, 330, steps=4)
    page.mouse.up()
    moved = card(page, "relu").bounding_box()
    assert (moved["x"] - at["x"], moved["y"] - at["y"]) == pytest.approx((50, 30), abs=1)
    page.click("#fit")
    assert page.evaluate("[svg.viewBox.baseVal.x <= 0, svg.viewBox.baseVal.height >= state.size[1]]") == [True, True]


def test_H186_hostile_names_run_nothing(show):
    page = show(to_page(hostile()))
    page.click("#unfold-all")
    for i in range(page.evaluate("cards.length")):
        page.evaluate(f"pick({i})")
    page.fill("#search", "</script>")
    page.click("#last")
    page.evaluate("steps.forEach((_, i) => go(i + 1))")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#panel script, #panel img[onerror]").count() == 0
    assert page.evaluate("cards.map((card) => card.title)")[13] == EVIL[13]


def test_the_page_is_dark_where_the_system_is(show):
    page = show(to_page(residual()))
    seen = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.card rect')).fill]"
    )
    assert page.evaluate(seen) == ["rgb(255, 255, 255)", "rgb(255, 255, 255)"]
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(seen) == ["rgb(30, 30, 30)", "rgb(30, 30, 30)"]


@pytest.mark.parametrize(("theme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(30, 30, 30)")])
@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_theme_of_the_drawing_goes_before_that_of_the_system(show, theme, ground, system):
    page = show(to_page(replace(residual(), theme=theme)))
    page.emulate_media(color_scheme=system)
    seen = "[document.body, document.querySelector('.card rect')].map((thing) => getComputedStyle(thing))"
    assert page.evaluate(f"(([body, card]) => [body.backgroundColor, card.fill])({seen})") == [ground, ground]


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match="theme is 'auto', 'light' or 'dark', not 'blue'"):
        to_page(replace(residual(), theme="blue"))


@pytest.mark.parametrize("size", [(1280, 800), (390, 800)])
def test_the_page_fits_its_window_and_is_not_blank(show, size):
    page = show(to_page(residual()))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == list(size)
    for part in ("#canvas", "#panel", "#player", "#search"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
    picture = page.locator("#canvas").screenshot()
    page.evaluate("svg.remove()")
    assert len(picture) > 2 * len(page.locator("#canvas").screenshot())


def test_printing_shows_the_whole_picture_alone(show):
    page = show(to_page(resnet()))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    box = page.evaluate("(({ x, y, width, height }) => [x, y, width, height])(svg.viewBox.baseVal)")
    size = page.evaluate("state.size")
    assert box == pytest.approx([-16, -16, size[0] + 32, size[1] + 32])
    assert not page.locator("#panel").is_visible()
    assert not page.locator("#tools").is_visible()
    page.emulate_media(media="print", color_scheme="dark")  # paper is white
    assert page.evaluate("getComputedStyle(document.querySelector('.card rect')).fill") == "rgb(255, 255, 255)"


def test_a_watched_step_is_shown_with_the_values_that_passed(show):
    x = Tensor(rng().standard_normal((4, 1, 8, 8)).astype(np.float32))
    with tg.watch(images=True):
        loss = F.cross_entropy(DigitsNet(rng())(x), Tensor([1, 2, 3, 4]))
        loss.backward()
    page = show(draw(loss, inputs={"x": x}, view="teach").html())
    page.click("#last")
    assert status(page).endswith("conv1 (CONV) sends ∂w to conv1.weight")
    assert "∂out, the gradient that arrives" in panel(page)
    assert page.locator("#panel section").count() >= 2
    assert "not kept" not in panel(page)
    assert page.locator("#panel img").count() > 0
    assert page.locator(".cue").count() == page.evaluate("cards.filter((card, i) => arrivals[i].length).length") + 1


def test_every_control_has_a_name(show):
    page = show(to_page(residual()))
    named = "(control) => Boolean(control.labels?.length || control.ariaLabel || control.textContent)"
    assert page.evaluate(f"[...document.querySelectorAll('button, input')].every({named})")


# Text in Chromium, in the fonts of this machine


def long_names() -> Drawing:
    titles = [
        "cross_entropy_of_labels",
        "relu",
        "a.long.path.of.modules.to.a.layer",
        "MMMMMMMMMMMM",
        "模型.层",
        "x" * 400,
    ]
    shapes = ["card", "stack", "note", "input", "target", "sign"]
    cards = [
        Card(
            f"{shape}{i}",
            shape,
            "loss" if i % 2 else "conv",
            title,
            ("LOSS", "", "MODULE")[i % 3],
            (Row("Conv2d 16→32 k3 p1 · 4,608 params"), Row(title, "gradient")) if i % 2 else (),
            problem=title if i == 0 else "",
            mark="changed" if i == 1 else "",
        )
        for i, title in enumerate(titles)
        for shape in shapes
    ]
    edges = [
        Edge(a.id, b.id, rows=(Row("64×16×32×32"), Row("∂ 0.331", "gradient"))) for a, b in itertools.pairwise(cards)
    ]
    return Drawing("long names", cards, edges)


OVERFLOW = """() => [...document.querySelectorAll(".card")].flatMap((card) => {
  const shapes = [...card.querySelectorAll("rect, path, circle")].map((shape) => shape.getBBox());
  const [left, top] = [Math.min(...shapes.map((s) => s.x)), Math.min(...shapes.map((s) => s.y))];
  const right = Math.max(...shapes.map((s) => s.x + s.width)), bottom = Math.max(...shapes.map((s) => s.y + s.height));
  return [...card.querySelectorAll("text")].filter((text) => {
    const { x, y, width, height } = text.getBBox();
    return x < left || x + width > right || y < top - 1 || y + height > bottom + 1;
  }).map((text) => text.textContent);
})"""


@pytest.mark.parametrize("drawing", [long_names(), digits(), resnet(view="arch")], ids=["long", "digits", "arch"])
def test_no_text_overflows_its_card_in_chromium(show, drawing):
    page = show(to_svg(drawing), "page.svg")
    assert page.evaluate(OVERFLOW) == []


HEADS = """() => [...document.querySelectorAll(".card")].map((card) => [...card.querySelectorAll("text")])
  .map((texts) => texts.filter((text) => text.getAttribute("font-weight") === "bold").slice(0, 2))
  .map((texts) => texts.map((text) => text.getBBox()).map(({ x, y, width }) => [x, y, width]))"""

LABELS_ON_CARDS = """() => {
  const shapes = [...document.querySelectorAll(".card")].map((card) => card.querySelector("rect, path, circle"));
  const boxes = shapes.map((shape) => shape.getBBox());
  const meet = (a) => boxes.some((b) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y + 2 < b.y + b.height && b.y + 2 < a.y + a.height);
  return [...document.querySelectorAll(".label")].filter((label) => meet(label.getBBox())).length;
}"""


def test_titles_and_tags_do_not_meet_and_labels_lie_on_no_card_in_chromium(show):
    page = show(to_svg(long_names()), "page.svg")
    heads = [texts for texts in page.evaluate(HEADS) if len(texts) == 2 and abs(texts[0][1] - texts[1][1]) < 6]
    assert len(heads) >= 6
    assert all(title[0] + title[2] < tag[0] for title, tag in heads)
    assert page.evaluate(LABELS_ON_CARDS) == 0
