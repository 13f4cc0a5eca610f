"""The built-in layout: what every picture keeps, whatever the graph."""

import math
import random
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.diagram import layout
from tinygrad_cnn.diagram import level as levels
from tinygrad_cnn.diagram.fonts import shorten, text_width
from tinygrad_cnn.diagram.layout import Box, Layout, Route, Sizes, place
from tinygrad_cnn.diagram.level import Size
from tinygrad_cnn.diagram.model import Card, Drawing, Edge, Group, Row

SHAPES = ["card", "card", "note", "input", "sign", "stack"]
SLACK = 1e-6


@st.composite
def drawings(draw, most=14):
    """Cards in any groups, with edges in any direction, parallel ones and gradients among them."""
    seed = draw(st.randoms(use_true_random=False))
    n, n_groups = draw(st.integers(1, most)), draw(st.integers(0, 4))
    groups = [
        Group(f"g{i}", f"path.{i}", "Block", "note", f"g{seed.randrange(i)}" if i and seed.random() < 0.6 else "")
        for i in range(n_groups)
    ]
    names = ["", *(group.id for group in groups)]
    cards = [Card(f"c{i}", seed.choice(SHAPES), "math", f"c{i}", group=seed.choice(names)) for i in range(n)]
    edges = []
    for _ in range(draw(st.integers(0, 2 * n)) if n > 1 else 0):
        a, b = sorted(seed.sample(range(n), 2))
        kind = seed.choice(["forward", "forward", "parameter", "constant", "gradient"])
        if kind == "gradient" or seed.random() < 0.1:
            a, b = b, a
        rows = (Row("4×8"),) if seed.random() < 0.6 else ()
        edges.append(Edge(f"c{a}", f"c{b}", kind, rows, seed.choice([1.2, 6.0])))
    for i in range(n if draw(st.booleans()) else 0):  # parameters of one card each
        for k in range(seed.choice([0, 0, 1, 2, 4]) if cards[i].shape != "note" else 0):
            cards.append(Card(f"p{i}.{k}", "note", "parameter", "p", group=cards[i].group))
            edges.append(Edge(f"p{i}.{k}", f"c{i}", "parameter"))
    return Drawing("title", cards, edges, groups, direction=draw(st.sampled_from(["TB", "LR"])))


@st.composite
def problems(draw):
    """A drawing and random sizes of everything in it."""
    drawing = draw(drawings())
    seed = random.Random(draw(st.integers(0, 1000)))

    def size(card):
        return Size(28.0, 28.0) if card.shape == "sign" else Size(seed.uniform(30, 250), seed.uniform(20, 120))

    return drawing, Sizes(
        [size(card) for card in drawing.cards],
        [Size(seed.uniform(10, 120), seed.uniform(10, 40)) if edge.rows else None for edge in drawing.edges],
        [[Size(seed.uniform(50, 300), 17), Size(seed.uniform(50, 150), 32)] for _ in drawing.groups],
    )


def overlap(a: Box, b: Box) -> bool:
    return (
        a.x + SLACK < b.x + b.width
        and b.x + SLACK < a.x + a.width
        and a.y + SLACK < b.y + b.height
        and b.y + SLACK < a.y + a.height
    )


def inside(inner: Box, outer: Box) -> bool:
    return (
        inner.x >= outer.x - SLACK
        and inner.y >= outer.y - SLACK
        and inner.x + inner.width <= outer.x + outer.width + SLACK
        and inner.y + inner.height <= outer.y + outer.height + SLACK
    )


def ancestors(drawing: Drawing, group: str) -> set[str]:
    parents = {group.id: group.parent for group in drawing.groups}
    found = set()
    while group:
        found.add(group)
        group = parents[group]
    return found


def points(route: Route, steps: int = 12) -> list[tuple[float, float]]:
    """Points on the line, from its start to its end."""
    result = [route.path[0]]
    for part in route.path[1:]:
        x0, y0 = result[-1]
        x3, y3 = part[-2:]
        x1, y1, x2, y2 = part[:4] if len(part) == 6 else (x0, y0, x3, y3)
        for k in range(1, steps + 1):
            t = k / steps
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            x = sum(w * v for w, v in zip(weights, (x0, x1, x2, x3), strict=True))
            y = sum(w * v for w, v in zip(weights, (y0, y1, y2, y3), strict=True))
            result.append((x, y))
    return result


def on_border(point: tuple[float, float], box: Box, circle: bool) -> bool:
    x, y = point
    if circle:
        return math.isclose(
            math.hypot(x - box.x - box.width / 2, y - box.y - box.height / 2), box.width / 2, abs_tol=1e-6
        )
    if not inside(Box(x, y, 0, 0), box):
        return False
    gaps = (x - box.x, box.x + box.width - x, y - box.y, box.y + box.height - y)
    return min(map(abs, gaps)) < 1e-6


def chain(n: int, **how: object) -> Drawing:
    edges = [Edge(f"c{i}", f"c{i + 1}", rows=(Row("4×8"),)) for i in range(n - 1)]
    return Drawing("", [Card(f"c{i}", "card", "math", "c") for i in range(n)], edges, **how)  # type: ignore[arg-type]


def equal_sizes(drawing: Drawing) -> Sizes:
    return Sizes(
        [Size(90, 40)] * len(drawing.cards),
        [Size(50, 12) if edge.rows else None for edge in drawing.edges],
        [[Size(80, 17)]] * len(drawing.groups),
    )


@given(problems())
def test_no_two_cards_overlap(problem):
    places = place(*problem)
    for i, card in enumerate(places.cards):
        assert not any(overlap(card, other) for other in places.cards[:i])


@given(problems())
def test_cards_keep_a_distance(problem):
    boxes = place(*problem).cards
    for i, (x, y, width, height) in enumerate(boxes):
        around = Box(x - 3.9, y - 3.9, width + 7.8, height + 7.8)
        assert not any(overlap(around, other) for other in boxes[:i])


@given(problems())
def test_a_box_holds_the_cards_of_its_group_and_no_others(problem):
    drawing, sizes = problem
    places = place(drawing, sizes)
    for card, box in zip(drawing.cards, places.cards, strict=True):
        around = ancestors(drawing, card.group)
        for group, frame in zip(drawing.groups, places.groups, strict=True):
            assert inside(box, frame) if group.id in around else not overlap(box, frame)


@given(problems())
def test_boxes_are_nested_as_their_groups_are(problem):
    drawing, sizes = problem
    places = place(drawing, sizes)
    for i, group in enumerate(drawing.groups):
        for j, other in enumerate(drawing.groups):
            if other.id in ancestors(drawing, group.parent):
                assert inside(places.groups[i], places.groups[j])
            elif i != j and group.id not in ancestors(drawing, other.parent):
                assert not overlap(places.groups[i], places.groups[j])


@given(problems())
def test_labels_and_titles_overlap_no_card_and_no_other_text(problem):
    places = place(*problem)
    texts = [route.label for route in places.routes if route.label] + [box for _, box in places.titles]
    for i, text in enumerate(texts):
        assert not any(overlap(text, card) for card in places.cards)
        assert not any(overlap(text, other) for other in texts[:i])


@given(problems())
def test_every_label_has_the_size_that_was_asked_for(problem):
    drawing, sizes = problem
    for route, size in zip(place(drawing, sizes).routes, sizes.labels, strict=True):
        assert (route.label is None) == (size is None)
        if route.label and size:
            assert route.label[2:] == pytest.approx(size)


@given(problems())
def test_edges_start_and_end_at_the_borders_of_their_cards(problem):
    drawing, sizes = problem
    places = place(drawing, sizes)
    number = {card.id: i for i, card in enumerate(drawing.cards)}
    for edge, route in zip(drawing.edges, places.routes, strict=True):
        for point, name in ((route.path[0], edge.source), (route.path[-1][-2:], edge.target)):
            i = number[name]
            assert on_border(point, places.cards[i], drawing.cards[i].shape == "sign")


def test_a_line_that_is_nearly_straight_ends_at_the_port_itself():
    path = layout._smooth([(50.0, 30.0, 40.0), (50.04, 55.0, 60.0), (50.02, 75.0, 80.0)], None, None)
    assert path == [(50.0, 30.0), (50.02, 80.0)]


@given(problems())
def test_lines_pass_through_no_card(problem):
    """Unless there are more long lines than LONG_EDGES allows."""
    drawing, sizes = problem
    places = place(drawing, sizes)
    cores = [Box(box.x + 2, box.y + 2, box.width - 4, box.height - 4) for box in places.cards]
    for edge, route in zip(drawing.edges, places.routes, strict=True):
        for x, y in points(route):
            for card, core in zip(drawing.cards, cores, strict=True):
                if card.id not in (edge.source, edge.target):
                    assert not overlap(Box(x, y, 1e-3, 1e-3), core), (edge, card)


@given(problems())
def test_everything_is_inside_the_picture(problem):
    places = place(*problem)
    page = Box(0, 0, places.width, places.height)
    texts = [route.label for route in places.routes if route.label] + [box for _, box in places.titles]
    for box in [*places.cards, *places.groups, *texts]:
        assert inside(box, page)
    for route in places.routes:
        for x, y in points(route):
            assert inside(Box(x, y, 0, 0), page)


@given(problems())
def test_the_same_drawing_gives_the_same_places(problem):
    assert place(*problem) == place(*problem)


def test_places_do_not_depend_on_the_hash_seed():
    code = "import test_diagram_layout as t; d = t.mixed(); print(t.place(d, t.equal_sizes(d)))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            cwd=__file__.rpartition("/")[0],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def mixed() -> Drawing:
    """A residual block in a group with parameters, and a group of another."""
    drawing = chain(8)
    drawing.cards[2:6] = [Card(f"c{i}", "card", "math", "c", group="inner") for i in range(2, 6)]
    drawing.cards.append(Card("w", "note", "parameter", "w", group="inner"))
    drawing.edges += [Edge("c2", "c5", rows=(Row("4×8"),)), Edge("w", "c3", "parameter"), Edge("c1", "c7")]
    drawing.groups = [Group("outer", "outer"), Group("inner", "outer.inner", parent="outer")]
    return drawing


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_a_chain_is_one_straight_line(direction):
    drawing = chain(60, direction=direction)
    places = place(drawing, equal_sizes(drawing))
    across = 0 if direction == "TB" else 1
    assert len({box[across] for box in places.cards}) == 1
    assert all(len(route.path) == 2 for route in places.routes)
    along = [box[1 - across] for box in places.cards]
    assert along == sorted(along)


def test_the_main_path_stays_straight_beside_a_skip_edge_and_through_a_group():
    drawing = mixed()
    places = place(drawing, equal_sizes(drawing))
    middles = [box.x + box.width / 2 for box in places.cards[:8]]
    assert max(middles) - min(middles) < 0.1
    assert all(len(route.path) == 2 for route in places.routes[:7])


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_a_second_edge_into_a_small_card_does_not_bend_the_main_path(direction):
    drawing = chain(3, direction=direction)
    drawing.cards.append(Card("y", "target", "input", "y"))
    drawing.edges.append(Edge("y", "c2", "constant"))
    sizes = equal_sizes(drawing)
    places = place(drawing, Sizes([Size(32, 32)] * 4, sizes.labels, sizes.titles))
    assert [len(route.path) for route in places.routes[:2]] == [2, 2]
    assert len(places.routes[2].path) > 2


def test_lines_into_a_low_group_beside_a_tall_one_bend_above_both():
    cards = [Card("c0", "card", "math", "c"), Card("low", "card", "math", "c", group="low")]
    cards += [Card(f"t{i}", "card", "math", "c", group="tall") for i in range(6)]
    edges = [Edge("c0", "low"), *(Edge(f"t{i}", f"t{i + 1}") for i in range(5)), Edge("c0", "t0")]
    drawing = Drawing("", cards, edges, [Group("low", "low"), Group("tall", "tall")])
    places = place(drawing, equal_sizes(drawing))
    bends = [part for part in places.routes[0].path if len(part) == 6]
    assert bends
    assert max(part[-1] for part in bends) <= places.groups[1].y + SLACK


def test_a_parameter_stands_beside_its_only_consumer():
    drawing = mixed()
    places = place(drawing, equal_sizes(drawing))
    note, card = places.cards[8], places.cards[3]
    assert note.y + note.height / 2 == card.y + card.height / 2
    assert note.x + note.width < card.x


def test_a_card_stands_as_near_to_its_successor_as_the_label_permits():
    drawing = chain(5)
    places = place(drawing, equal_sizes(drawing))
    gaps = [below.y - above.y - above.height for above, below in pairwise(places.cards)]
    assert gaps == pytest.approx([2 * levels.STRAIGHT_GAP + 12] * 4)
    labels = [route.label.y - box.y - box.height for route, box in zip(places.routes, places.cards, strict=False)]
    assert labels == pytest.approx([levels.STRAIGHT_GAP] * 4)


def test_notes_reach_into_the_gaps_above_and_below_their_card():
    drawing = chain(7)
    alone = place(drawing, equal_sizes(drawing)).cards[:7]
    drawing.cards += [Card(name, "note", "parameter", name) for name in "wb"]
    drawing.edges += [Edge(name, "c3", "parameter") for name in "wb"]
    sizes = equal_sizes(drawing)
    places = place(drawing, Sizes([*sizes.cards[:7], Size(60, 36), Size(60, 36)], sizes.labels, sizes.titles)).cards
    assert [box.y for box in places[:7]] == [box.y for box in alone]
    assert places[7].y == places[3].y - 20
    assert places[8].y + 36 == places[3].y + 40 + 20


def noted(seed: int) -> tuple[Drawing, Sizes]:
    """Cards in a row that have up to four notes each, with a few skip edges, most of it in a group."""
    rng = random.Random(seed)
    n = rng.randint(3, 8)
    groups = [Group("g", "g")] if rng.random() < 0.5 else []
    home = ["g" if groups and rng.random() < 0.9 else "" for _ in range(n)]
    cards = [Card(f"c{i}", rng.choice(["card", "card", "sign"]), "math", "c", group=home[i]) for i in range(n)]
    edges = [Edge(f"c{i}", f"c{i + 1}", rows=(Row("4"),) * rng.randint(0, 1)) for i in range(n - 1)]
    for _ in range(rng.choice([0, 0, 1, 2])):
        i, j = sorted(rng.sample(range(n), 2))
        edges.append(Edge(f"c{i}", f"c{j}", rows=(Row("4"),) * rng.randint(0, 1)))
    for i in range(n):
        for k in range(rng.choice([0, 1, 2, 2, 4])):
            cards.append(Card(f"p{i}.{k}", "note", "parameter", "p", group=home[i]))
            edges.append(Edge(f"p{i}.{k}", f"c{i}", "parameter"))
    high = rng.choice([25.0, 40.0, 70.0])
    card_sizes = [
        Size(28.0, 28.0) if card.shape == "sign" else Size(rng.uniform(40, 250), rng.uniform(20, high))
        for card in cards
    ]
    labels = [Size(rng.uniform(20, 90), rng.choice([12.0, 24.0])) if edge.rows else None for edge in edges]
    direction = rng.choice(["TB", "TB", "LR"])
    return Drawing("", cards, edges, groups, direction=direction), Sizes(
        card_sizes, labels, [[Size(90, 17)]] * len(groups)
    )


@pytest.mark.parametrize("seed", range(10))
def test_notes_keep_their_distance_and_no_line_passes_through_one(seed):
    for number in range(25 * seed, 25 * seed + 25):
        drawing, sizes = noted(number)
        places = place(drawing, sizes)
        for i, (x, y, width, height) in enumerate(places.cards):
            around = Box(x - 3.9, y - 3.9, width + 7.8, height + 7.8)
            assert not any(overlap(around, other) for other in places.cards[:i]), number
            frames = [frame for frame in places.groups if drawing.cards[i].group]
            assert all(inside(places.cards[i], frame) for frame in [*frames, Box(0, 0, places.width, places.height)])
            assert not any(overlap(places.cards[i], box) for _, box in places.titles), number
        cores = [Box(box.x + 2, box.y + 2, box.width - 4, box.height - 4) for box in places.cards]
        for edge, route in zip(drawing.edges, places.routes, strict=True):
            others = [
                core
                for card, core in zip(drawing.cards, cores, strict=True)
                if card.id not in (edge.source, edge.target)
            ]
            assert route.label is None or not any(overlap(route.label, core) for core in others), number
            for x, y in points(route):
                assert not any(overlap(Box(x, y, 1e-3, 1e-3), core) for core in others), (number, edge)


def test_notes_of_neighbours_and_a_line_that_bends_push_the_cards_apart():
    drawing = chain(7)
    drawing.cards += [Card(name, "note", "parameter", name) for name in "wbvc"]
    drawing.edges += [
        Edge(name, card, "parameter") for name, card in zip("wbvc", ("c3", "c3", "c4", "c4"), strict=True)
    ]
    notes = place(drawing, equal_sizes(drawing)).cards[7:]
    assert [below.y - above.y - above.height for above, below in pairwise(notes)] == pytest.approx([8.0] * 3)
    drawing.edges += [Edge(f"c{i}", f"c{j}") for i, j in ((2, 6), (2, 5), (1, 6), (0, 6))]
    places = place(drawing, equal_sizes(drawing))
    assert not any(overlap(a, b) for i, a in enumerate(places.cards) for b in places.cards[:i])


def test_a_shared_parameter_stands_above_its_first_consumer():
    drawing = chain(4)
    drawing.cards.append(Card("w", "note", "parameter", "w"))
    drawing.edges += [Edge("w", "c2", "parameter"), Edge("w", "c3", "parameter")]
    places = place(drawing, equal_sizes(drawing))
    assert places.cards[1].y == places.cards[4].y < places.cards[2].y


def test_a_source_stands_just_above_its_use():
    drawing = chain(9)
    drawing.cards += [Card("y", "target", "input", "y"), Card("onehot", "card", "math", "onehot")]
    drawing.edges += [Edge("y", "onehot"), Edge("onehot", "c8")]
    places = place(drawing, equal_sizes(drawing))
    assert places.cards[10].y == places.cards[7].y
    assert places.cards[9].y == places.cards[6].y


def test_gradient_edges_leave_the_loss_at_the_bottom():
    cards = [Card(name, "card", "math", name) for name in ("x", "y", "loss")]
    drawing = Drawing("", cards, [Edge("loss", "y", "gradient"), Edge("y", "x", "gradient")])
    places = place(drawing, equal_sizes(drawing))
    x, y, loss = (box.y for box in places.cards)
    assert x < y < loss
    assert places.routes[0].path[0][1] > places.routes[0].path[-1][1]


def test_a_group_that_is_left_and_entered_again_still_holds_only_its_own():
    drawing = chain(3)
    drawing.cards[0] = Card("c0", "card", "math", "c", group="g")
    drawing.cards[2] = Card("c2", "card", "math", "c", group="g")
    drawing.groups = [Group("g", "shared")]
    places = place(drawing, equal_sizes(drawing))
    assert not overlap(places.cards[1], places.groups[0])


def test_many_cards_without_edges_stand_in_rows():
    cards = [Card(f"c{i}", "card", "math", "c") for i in range(400)]
    drawing = Drawing("", cards)
    places = place(drawing, equal_sizes(drawing))
    assert places.width < 400 * 90 / 10


@pytest.mark.parametrize("grouped", [False, True])
def test_the_work_grows_with_the_graph_and_no_faster(grouped, monkeypatch):
    made = []
    original = levels.Level.arrange

    def arrange(self, *arguments):
        original(self, *arguments)
        made.append(self.work)

    monkeypatch.setattr(levels.Level, "arrange", arrange)

    def work(n):
        made.clear()
        drawing = chain(n)
        drawing.edges += [Edge(f"c{i}", f"c{i + 5}") for i in range(0, n - 5, 5)]
        if grouped:
            drawing.groups = [Group(f"g{i}", "g") for i in range(n // 10)]
            drawing.cards = [Card(f"c{i}", "card", "math", "c", group=f"g{i // 10}") for i in range(n)]
        place(drawing, equal_sizes(drawing))
        return sum(made)

    assert work(1600) < 4.5 * work(400)


def test_edges_that_pass_too_many_layers_are_drawn_behind_the_cards():
    n = 300
    drawing = chain(n)
    drawing.edges += [Edge(f"c{i}", f"c{n - 1 - i}") for i in range(n // 2 - 1)]
    places = place(drawing, equal_sizes(drawing))
    assert len(places.routes) == len(drawing.edges)
    assert max(len(route.path) for route in places.routes) < 50


def test_a_chain_of_20000_cards_needs_no_recursion():
    drawing = chain(20_000)
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        places = place(drawing, equal_sizes(drawing))
    finally:
        sys.setrecursionlimit(depth)
    assert len({box.x for box in places.cards}) == 1


def test_groups_nested_500_deep_need_no_recursion():
    groups = [Group(f"g{i}", "g", parent=f"g{i - 1}" if i else "") for i in range(500)]
    drawing = Drawing(
        "", [Card("c", "card", "math", "c", group="g499"), Card("d", "card", "math", "d")], [Edge("c", "d")], groups
    )
    places = place(drawing, equal_sizes(drawing))
    assert inside(places.cards[0], places.groups[0])


def test_an_empty_drawing_has_an_empty_layout():
    assert place(Drawing(""), Sizes([], [], [])) == Layout(0.0, 0.0, [], [], [], [])


a, b = Card("a", "card", "math", "a"), Card("b", "card", "math", "b")


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        (Drawing("", [a, a]), "two cards have the same id"),
        (Drawing("", [a], [Edge("a", "z")]), "there is no card 'z'"),
        (Drawing("", [a], [Edge("a", "a")]), "an edge leads from the card 'a' to itself"),
        (Drawing("", [Card("a", "card", "math", "a", group="g")]), "there is no group 'g'"),
        (Drawing("", [], [], [Group("g", "g", parent="h"), Group("h", "h", parent="g")]), "a group is inside itself"),
        (Drawing("", [], [], [Group("g", "g"), Group("g", "h")]), "two groups have the same id"),
        (Drawing("", [], [], [Group("", "g")]), "a group's id is not empty"),
        (Drawing("", [a], direction="up"), "direction is 'TB' or 'LR', not 'up'"),
    ],
)
def test_a_drawing_that_contradicts_itself_is_refused(drawing, message):
    with pytest.raises(ValueError, match=message):
        place(drawing, equal_sizes(drawing))


@given(st.text(), st.floats(20, 300), st.booleans())
def test_a_shortened_text_fits_and_keeps_its_ends(text, width, bold):
    short = shorten(text, width, 11.0, bold)
    assert text_width(short, 11.0, bold) <= width + 1e-9
    if short != text:
        start, end = short.split("…", 1) if "…" not in text else ("", "")
        assert text.startswith(start)
        assert text.endswith(end)


@pytest.mark.parametrize(
    ("text", "plain", "bold"), [("conv1", 2668, 2890), ("∂y", 994, 1050), ("é", 556, 556), ("\u0302", 0, 0)]
)
def test_widths_are_those_of_arial(text, plain, bold):
    assert text_width(text, 1000) == plain
    assert text_width(text, 1000, bold=True) == bold
