"""From a graph to a Drawing: which cards, which names, which groups; the same before and after backward."""

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn
from tinygrad_cnn.diagram.model import Drawing
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import ResNet20


def build(output: Tensor, inputs=None, **options) -> Drawing:
    return tg.draw(output, inputs=inputs, **options).drawing


def images(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def digits_loss() -> tuple[Tensor, Tensor]:
    x = images(4, 1, 8, 8)
    return F.cross_entropy(DigitsNet(np.random.default_rng(0))(x), Tensor([1, 2, 3, 4])), x


def leaf() -> Tensor:
    return Tensor([1.0, 2.0], requires_grad=True)


def texts(drawing, shape=None):
    return [
        (card.title, *(row.text for row in card.rows)) for card in drawing.cards if shape is None or card.shape == shape
    ]


def test_a_layer_is_one_card_with_its_path_class_channels_and_parameters():
    loss, _ = digits_loss()
    drawing = loss.graph().drawing
    cards = texts(drawing, "card")
    assert ("conv2", "Conv2d 16→32 k3 p1 · 4,608 params") in cards
    assert ("max_pool2d", "k2") in cards
    assert ("fc", "Linear 256→10 · 2,570 params") in cards
    assert cards[-1] == ("loss = cross_entropy", f"L = {loss.item():.4f}")


def test_the_title_has_the_value_the_parameters_the_flops_and_the_peak():
    w = Tensor([1.0, 2.0, 3.0], requires_grad=True, dtype="float64")
    h = w * 2.0
    value = (h * h).sum()  # h is kept; the peak is h, the gradient of its square and its own: 24 B each
    start = "value 56.0000 · 3 parameters · 9 FLOP · peak 72 B · "
    assert build(value).title == start + "before backward"
    value.backward()
    assert build(value).title == start + "backward done"
    loss, _ = digits_loss()
    assert build(loss).title.startswith(f"DigitsNet · loss {loss.item():.4f} · 25,978 parameters · ")


def test_the_title_of_a_second_result_does_not_claim_the_backward_of_the_first():
    w = Tensor([1.0, 2.0], requires_grad=True)
    first, second = (w * w).sum(), (w * 3.0).sum()
    first.backward()
    assert build(first).title.endswith("backward done")
    assert build(second).title.endswith("gradients present")
    second.backward(retain_graph=True)
    assert build(second).title.endswith("gradients present")  # whose, the graph does not know
    with tg.watch():
        third = (w * 3.0).sum()
    assert build(third).title.endswith("gradients present")
    third.backward(retain_graph=True)
    assert build(third).title.endswith("backward done")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0000"), (-2.5, "-2.5000"), (1e-6, "1e-06"), (3.4e20, "3.4e+20"), (math.inf, "inf"), (math.nan, "nan")],
)
def test_a_value_is_shown_with_digits_that_say_something(value, shown):
    drawing = build(Tensor([value], requires_grad=True).sum())
    assert drawing.title.startswith(f"value {shown} · ")
    assert texts(drawing, "card") == [("output = sum", f"value = {shown}")]


def test_the_title_says_the_same_peak_before_and_after_backward():
    loss, _ = digits_loss()
    before = build(loss).title
    assert " · peak 1" in before
    loss.backward()
    assert build(loss).title == before.replace("before backward", "backward done")


def test_inputs_parameters_and_labels_have_cards_of_their_own():
    loss, x = digits_loss()
    drawing = build(loss, {"x": x})
    assert texts(drawing, "input") == [("x", "no gradient")]
    assert texts(drawing, "target") == [("labels", "int64 (4) · no gradient")]
    assert texts(drawing, "note")[0] == ("conv1.weight", "16×1×3×3", "∂ not computed")
    assert [edge.rows[0].text for edge in drawing.edges if edge.kind == "constant" and edge.rows] == ["4×1×8×8"]


def test_a_gradient_that_was_not_computed_is_never_zero_and_one_that_was_is_its_norm():
    loss, _ = digits_loss()
    before = build(loss)
    assert {row[-1] for row in texts(before, "note")} == {"∂ not computed"}
    loss.backward()
    after = build(loss)
    assert all(row[-1].startswith("‖∂‖ ") for row in texts(after, "note"))
    assert after.title.endswith("backward done")
    stripped = [(c.id, c.shape, c.title, c.group) for c in before.cards]
    assert stripped == [(c.id, c.shape, c.title, c.group) for c in after.cards]
    assert before.edges == after.edges
    assert before.groups == after.groups


def test_the_gradient_of_an_intermediate_shows_where_it_was_kept():
    x = Tensor([3.0, 4.0], requires_grad=True)
    h = x * 1.0
    h.retain_grad()
    (h * h).sum().backward()
    labels = [[row.text for row in edge.rows] for edge in build((h * 2).sum()).edges]
    assert ["2", "∂ 10"] in labels


def test_modules_are_boxes_and_a_called_container_too():
    drawing = build(ResNet20(generator=np.random.default_rng(0))(images(2, 3, 32, 32)).sum(), fold=False)
    boxes = {group.title: group for group in drawing.groups}
    assert boxes["layer2"].kind == "Sequential"
    assert boxes["layer2.1"].kind == "BasicBlock"
    assert boxes["layer2.1"].parent == boxes["layer2"].id
    inside = [card.title for card in drawing.cards if card.group == boxes["layer2.1"].id and card.shape != "note"]
    assert inside == ["conv1", "bn1", "relu", "conv2", "bn2", "+", "relu"]


class Twice(nn.Module):
    """A layer without parameters that is called twice, as torchvision's blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.relu = nn.Linear(3, 4), nn.Linear(4, 2), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.fc2(self.relu(self.fc1(x))))


def test_a_layer_that_is_called_twice_is_a_card_each_time_and_no_box():
    drawing = build(nn.Sequential(Twice(), nn.Linear(2, 1))(images(5, 3)).sum())
    assert [row[:2] for row in texts(drawing, "card")].count(("relu", "ReLU")) == 2
    assert [group.title for group in drawing.groups] == ["0"]


def test_the_arch_view_folds_modules_and_the_title_says_so():
    loss = ResNet20(generator=np.random.default_rng(0))(images(2, 3, 32, 32)).sum()
    arch = build(loss, view="arch")
    assert [row[0] for row in texts(arch, "stack")] == ["layer1", "layer2", "layer3"]
    assert arch.title.endswith("67 ops folded into 3 stacks")
    assert build(loss, max_nodes=10).cards == arch.cards
    assert not texts(build(loss, fold=False), "stack")
    ids = {card.id for card in arch.cards}
    assert all(edge.source in ids and edge.target in ids for edge in arch.edges)
    total = sum(int(text.split(" · ")[1].split()[0].replace(",", "")) for _, _, text in texts(arch, "stack"))
    assert total == 14_016 + 51_072 + 203_520


def test_the_teach_view_adds_the_formula_of_every_gradient_that_flows():
    loss, _ = digits_loss()
    cards = {row[0]: row[1:] for row in texts(build(loss, view="teach"), "card")}
    assert cards["conv1"][1:] == ("∂w = x ⋆ʷ ∂out",)  # the image needs no gradient
    assert cards["conv2"][1:] == ("∂x = ∂out ⋆ᵀ w", "∂w = x ⋆ʷ ∂out")
    assert cards["relu"] == ("∂x = ∂out · 1[x > 0]",)
    assert not any("∂x" in text for row in texts(build(loss)) for text in row)


def test_a_number_and_a_second_tensor_are_drawn_differently():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    drawing = build(((a + b) * 1.5).sum(), {"a": a, "b": b})
    assert texts(drawing, "sign") == [("+",)]
    assert ("mul", "× 1.5") in texts(drawing, "card")
    assert [row[0] for row in texts(drawing, "note")] == ["a", "b"]


def test_every_edge_joins_two_cards_and_every_card_has_an_id_of_its_own():
    loss, _ = digits_loss()
    for output in (loss, ResNet20()(images(1, 3, 32, 32)).sum()):
        drawing = build(output)
        ids = [card.id for card in drawing.cards]
        assert len(set(ids)) == len(ids)
        assert all(edge.source in ids and edge.target in ids for edge in drawing.edges)
        groups = {group.id for group in drawing.groups}
        assert all(card.group in groups | {""} for card in drawing.cards)


def test_a_second_order_graph_and_a_diamond_are_drawn():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (g,) = tg.grad((x * x * x).sum(), x, create_graph=True)
    assert len(build(g.sum()).cards) > 5
    y = x
    for _ in range(60):
        y = y + y
    plain = build(y.sum(), fold=False)
    assert len(plain.cards) == 62
    assert [(e.source, e.target) for e in plain.edges].count(("n1", "n2")) == 2
    assert [row[0] for row in texts(build(y.sum()), "stack")] == ["add ×59"]


def test_H140_a_graph_of_twenty_thousand_ops_is_walked_without_recursion():
    y = x = Tensor([1.0], requires_grad=True)
    for _ in range(20_000):
        y = y * 1.0
    assert len(build(y, {"x": x}, fold=False, max_nodes=20_000).cards) == 20_001
    assert [row[0] for row in texts(build(y, {"x": x}))] == ["x", "mul ×20000"]


def test_the_caller_s_variables_name_tensors_and_names_win():
    weight = Tensor([1.0, 2.0], requires_grad=True)
    picture = (weight * weight).sum().graph()
    assert texts(picture.drawing, "note")[0][0] == "weight"
    assert texts(tg.draw((weight * weight).sum(), inputs={"w": weight}).drawing, "note")[0][0] == "w"
    model = nn.Linear(2, 3)
    assert [row[0] for row in texts(tg.draw(model(images(1, 2)).sum(), model).drawing, "note")] == ["weight", "bias"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.draw(3), TypeError, "a int was given; a Tensor is needed"),
        (lambda: Tensor([1.0]).graph(), RuntimeError, "has no graph"),
        (lambda: leaf().graph(view="art"), ValueError, "view='art'; it can be 'ops', 'arch', 'grad', 'teach', 'm"),
        (lambda: leaf().graph(direction="RL"), ValueError, "direction='RL'; it can be 'TB' or 'LR'"),
        (lambda: leaf().graph(params="all"), ValueError, "params='all'; it can be 'nodes', 'inline' or 'hide'"),
        (lambda: leaf().graph(fold="all"), ValueError, "fold='all'; it can be None, True or False"),
        (lambda: leaf().graph(fold=1), ValueError, "fold=1; it can be None, True or False"),
        (lambda: leaf().graph(depth=0), ValueError, "depth=0; it can be an int from 1 on"),
        (lambda: leaf().graph(depth="a"), ValueError, "depth='a'; it can be an int from 1 on"),
        (lambda: leaf().graph(max_nodes=None), ValueError, "max_nodes=None; it can be an int from 1 on"),
        (lambda: digits_loss()[0].graph(focus="conv"), ValueError, "focus='conv' is no card; there are conv1.weight, "),
        (lambda: leaf().graph(theme="red"), ValueError, "theme='red'; it can be 'auto', 'light', 'dark' or 'print'"),
        (
            lambda: leaf().graph(label=lambda c: c.title),
            TypeError,
            "label returned a str for the card '.*'; it must return a Card of the same id",
        ),
        (
            lambda: leaf().graph(label=lambda c: replace(c, id="q")),
            TypeError,
            "label returned a Card of the id 'q' for",
        ),
        (lambda: leaf().graph(inputs=["w"]), TypeError, "inputs must be a dict of Tensors"),
        (lambda: leaf().graph(inputs={"w": 3}), TypeError, "inputs must be a dict of Tensors"),
        (lambda: leaf().graph().save("net.gif"), ValueError, r"ends in '.gif'; it can be .svg, .html, .dot"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_focus_shows_what_is_near_and_the_notes_of_that():
    loss, _ = digits_loss()
    for view in ("ops", "grad"):
        alone = build(loss, focus="conv2", hops=0, view=view)
        assert [row[0] for row in texts(alone)] == ["conv2.weight", "conv2"]
        near = build(loss, focus="conv2", hops=1, view=view)
        names = ["conv2.weight", "relu", "conv2", "bn2.weight", "bn2.bias", "bn2"]
        assert sorted(row[0] for row in texts(near)) == sorted(names)
        assert near.title.endswith(" · 6 of 27 cards, around conv2")
        ids = {card.id for card in near.cards}
        assert all({edge.source, edge.target} <= ids for edge in near.edges)
    net = ResNet20(generator=np.random.default_rng(0))(images(1, 3, 8, 8)).sum()
    stage = build(net, focus="layer2", hops=0, fold=False)
    assert {group.title for group in stage.groups} == {"layer2", "layer2.0", "layer2.1", "layer2.2"}


def test_a_label_function_changes_cards_alone():
    loss, _ = digits_loss()
    before = loss.graph().drawing
    after = loss.graph(label=lambda card: replace(card, title=card.title.upper())).drawing
    assert [card.title for card in after.cards] == [card.title.upper() for card in before.cards]
    assert (after.edges, after.groups) == (before.edges, before.groups)


def test_parameters_are_notes_or_rows_of_their_op_or_nothing():
    loss, _ = digits_loss()
    loss.backward()
    plain = build(loss)
    inline, hidden = (build(loss, params=how) for how in ("inline", "hide"))
    assert not texts(inline, "note") + texts(hidden, "note")
    fc = next(card for card in inline.cards if card.title == "fc")
    rows = [row.text for row in fc.rows]
    assert rows[1] == "weight 10×256"
    assert rows[2].startswith("‖∂‖ ")
    assert rows[3] == "bias 10"
    others = [card for card in plain.cards if card.shape != "note"]
    assert [card.id for card in others] == [card.id for card in hidden.cards] == [card.id for card in inline.cards]


def test_title_legend_and_direction_are_what_was_asked_for():
    loss, _ = digits_loss()
    drawing = build(loss, title="Mine", legend=False, direction="LR")
    assert (drawing.title.partition(" · ")[0], drawing.legend, drawing.direction) == ("Mine", (), "LR")
    assert (build(loss).legend != (), build(loss).direction) == (True, "TB")


def shown_norm(gradient: np.ndarray) -> float:
    """The norm that the picture shows for a leaf with this gradient."""
    p = Tensor(np.zeros_like(gradient), requires_grad=True)
    p.grad = Tensor(gradient)
    (note,) = texts((p * 1.0).graph().drawing, "note")
    return float(note[-1].removeprefix("‖∂‖ ").removesuffix(" collected"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_norm_of_a_gradient_is_right_to_three_digits(dtype):
    g = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(dtype)
    assert math.isclose(shown_norm(g), math.hypot(*g.astype(np.float64).ravel()), rel_tol=5e-3)


@pytest.mark.parametrize(
    ("gradient", "norm"),
    [([3e300, 4e300], 5e300), ([3e-300, 4e-300], 5e-300), ([0.0, 0.0], 0.0), ([], 0.0), ([5e-324], 5e-324),
     ([1e308, 1e308, 1e308, 1e308], math.inf), ([math.inf, 1.0], math.inf), ([math.nan, 1.0], math.nan)],
)  # fmt: skip
def test_the_norm_of_a_huge_or_tiny_gradient_is_shown_whatever_numpy_is_told_to_raise(gradient, norm):
    with np.errstate(all="raise"):
        shown = shown_norm(np.array(gradient))
    assert math.isclose(shown, norm, rel_tol=0.02) or (math.isnan(shown) and math.isnan(norm))


@pytest.mark.parametrize("ending", [".svg", ".html", ".dot", ".txt", ".md", ".json"])
def test_a_picture_saves_itself_without_graphviz(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("PATH", "")
    loss, _ = digits_loss()
    path = loss.graph().save(tmp_path / f"net{ending}")
    text = path.read_text(encoding="utf-8")
    assert "conv2" in text
    if ending == ".svg":
        ElementTree.fromstring(text)
        assert loss.graph()._repr_svg_() == text
    if ending == ".json":
        assert json.loads(text)["graphs"]


PROGRAM = """
import numpy as np
from tinygrad_cnn import Tensor
from tinygrad_cnn.digits_net import DigitsNet
x = Tensor(np.ones((2, 1, 8, 8), np.float32))
picture = DigitsNet(np.random.default_rng(0))(x).sum().graph()
print(picture.dot().source, picture.svg(), picture.text())
"""


def test_two_processes_draw_the_same_bytes():
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert hashlib.sha256(runs[0]).digest() == hashlib.sha256(runs[1]).digest()
    assert b"Conv2d" in runs[0]


def test_every_edge_says_its_shape_once_and_no_op_repeats_it():
    loss, x = digits_loss()
    drawing = build(loss, {"x": x})
    flows = [edge for edge in drawing.edges if edge.kind == "forward"]
    shapes = {edge.rows[0].text for edge in flows}
    assert all([row.text for row in edge.rows].count(edge.rows[0].text) == 1 for edge in flows)
    assert "4×16×8×8" in shapes
    said = {row.text for card in drawing.cards if card.shape in ("card", "sign") for row in card.rows}
    assert not said & shapes


def calls(action) -> int:
    """How many Python functions a call runs."""
    count = 0

    def hook(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(hook)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def chain(n: int) -> Tensor:
    y = leaf()
    for _ in range(n):
        y = y * 1.0
    return y.sum()


def used_again(n: int) -> Tensor:
    y, states = leaf(), []
    for _ in range(n):
        y = tg.tanh(y * 2.0)
        states.append(y)
    return tg.stack(states).sum()


@pytest.mark.parametrize("program", [chain, used_again])
@pytest.mark.parametrize("options", [{"fold": False, "max_nodes": 10**6}, {}])
def test_the_work_of_a_picture_grows_with_its_ops_alone(program, options):
    few, many = program(500), program(2000)
    work = [calls(lambda loss=loss: loss.graph(**options).svg()) for loss in (few, many)]
    assert work[1] < 4.6 * work[0]


def dead(n: int) -> Tensor:
    """n layers behind a relu that passes nothing."""
    with tg.watch(lines=False):
        y = Tensor([1.0, 1.0], requires_grad=True)
        for _ in range(n):
            y = y * Tensor([1.0, 1.0], requires_grad=True)
        loss = ((y - 2.0).relu() * 1.0).sum()
    loss.backward()
    return loss


def test_the_work_of_finding_what_stops_the_gradients_grows_with_the_ops_alone():
    few, many = dead(50), dead(200)
    work = [calls(lambda loss=loss: loss.graph(view="health", fold=False)) for loss in (few, many)]
    assert work[1] < 4.6 * work[0]
    notes = [c for c in many.graph(view="health", fold=False).drawing.cards if c.shape == "note"]
    assert {c.problem for c in notes} == {"the gradient is 0 everywhere: relu stops it"}
