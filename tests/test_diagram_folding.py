"""What is folded into one card, and what never is: on random trees of modules and on chains of plain ops."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn
from tinygrad_cnn.diagram.folding import PAGE, fold
from tinygrad_cnn.diagram.views import VIEWS
from tinygrad_cnn.nn.models import ResNet20


class Block(nn.Module):
    """x + tanh(body(x)), with a plain op beside its parts."""

    def __init__(self, *parts):
        super().__init__()
        self.body = nn.Sequential(*parts)

    def forward(self, x):
        return x + self.body(x).tanh()


class Listed(nn.Module):
    """Its parts stand in a list, which is never called."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(part, nn.ReLU()) for part in parts)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Twice(nn.Module):
    """Its part runs twice, with an op between."""

    def __init__(self, *parts):
        super().__init__()
        self.part = nn.Sequential(*parts)

    def forward(self, x):
        return self.part(self.part(x) * 2.0)


def made(tree):
    """The module that a tree describes: a leaf is a layer, a node (class, parts, repeats)."""
    if tree == "linear":
        return nn.Linear(3, 3)
    if tree == "relu":
        return nn.ReLU()
    kind, parts, repeats = tree
    return kind(*(made(part) for _ in range(repeats) for part in parts))


trees = st.recursive(
    st.sampled_from(["linear", "relu"]),
    lambda inner: st.tuples(
        st.sampled_from([nn.Sequential, Block, Listed, Twice]),
        st.lists(inner, min_size=1, max_size=3),
        st.integers(1, 3),
    ),
    max_leaves=6,
)
DEEP = (nn.Sequential, [(Block, ["linear", (Block, ["linear", "relu"], 2)], 2), (Twice, ["linear"], 2)], 3)
options = st.fixed_dictionaries(
    {
        "depth": st.sampled_from([None, None, 1, 2, 3]),
        "fold": st.sampled_from([None, None, True, False]),
        "max_nodes": st.sampled_from([400, 400, 30, 8, 1]),
        "view": st.sampled_from(["ops", "grad", "arch"]),
    }
)


def run(tree):
    net = nn.Sequential(made("linear"), made(tree))
    return net, (net(Tensor(np.ones((2, 3), np.float32))) * 1.0).sum()


def ops_in(card):
    return (
        next(int(m[1]) for row in card.rows if (m := re.match(r"(\d+) ops", row.text))) if card.shape == "stack" else 1
    )


def op_cards(drawing):
    return [c for c in drawing.cards if c.shape in ("card", "sign", "stack")]


@given(trees, options)
@example(DEEP, {"depth": None, "fold": None, "max_nodes": 400, "view": "ops"})
@example(DEEP, {"depth": 2, "fold": True, "max_nodes": 8, "view": "ops"})
def test_a_drawing_is_the_graph_with_some_ops_drawn_as_one(tree, wanted):
    _, loss = run(tree)
    picture = loss.graph(**wanted)
    drawing, skeleton = picture.drawing, picture.skeleton
    cards = {card.id: card for card in drawing.cards}
    assert len(cards) == len(drawing.cards)
    # every op is on one card
    assert sum(map(ops_in, op_cards(drawing))) == len(skeleton.ops)
    # edges join cards, and every step of the graph between two cards is an edge
    assert all(edge.source in cards and edge.target in cards for edge in drawing.edges)
    singles = {skeleton.number[n] for n in skeleton.ops} & {int(i[1:]) for i in cards if i[0] == "n"}
    for node in skeleton.ops:
        for parent in node.parents:
            ends = (skeleton.number[parent], skeleton.number[node])
            if parent.plan is not None and set(ends) <= singles:
                pair = tuple(f"n{i}" for i in ends)
                assert pair[:: -1 if wanted["view"] == "grad" else 1] in {(e.source, e.target) for e in drawing.edges}
    assert all(e.source != e.target for e in drawing.edges)
    # groups are a tree, and their cards are inside
    groups = {group.id: group for group in drawing.groups}
    assert len(groups) == len(drawing.groups) == len({g.title for g in drawing.groups})
    assert all(g.parent in groups or not g.parent for g in drawing.groups)
    assert all(not g.parent or g.title.startswith(f"{groups[g.parent].title}.") for g in drawing.groups)
    assert all(c.group in groups or not c.group for c in drawing.cards)
    # the title counts what is folded
    stacks = [c for c in drawing.cards if c.shape == "stack"]
    folded = re.search(r"(\d+) ops folded into (\d+) stack", drawing.title)
    assert (folded is None) == (not stacks)
    if folded:
        assert (int(folded[1]), int(folded[2])) == (sum(map(ops_in, stacks)), len(stacks))


@given(trees, st.integers(1, 60))
@example(DEEP, 30)
@example(DEEP, 400)
def test_no_more_cards_than_max_nodes_where_modules_allow_it(tree, most):
    _, loss = run(tree)
    fewest = len(op_cards(loss.graph(depth=1, fold=True).drawing))
    for wanted in (None, False, True):
        assert len(op_cards(loss.graph(fold=wanted, max_nodes=most).drawing)) <= max(most, fewest)


@given(trees)
@example(DEEP)
def test_without_folding_every_op_and_every_called_module_is_shown(tree):
    _, loss = run(tree)
    drawing = loss.graph(fold=False, max_nodes=10_000).drawing
    assert not [c for c in drawing.cards if c.shape == "stack"]
    assert len(op_cards(drawing)) == len(loss.graph().skeleton.ops)


@given(trees, st.integers(1, 4))
@example(DEEP, 2)
@example(DEEP, 3)
def test_at_a_depth_modules_below_it_are_folded_and_those_above_are_boxes(tree, depth):
    _, loss = run(tree)
    free, folded = (loss.graph(fold=False, depth=d, max_nodes=10_000).drawing for d in (None, depth))
    boxes = {g.title for g in free.groups}
    assert {g.title for g in folded.groups} == {path for path in boxes if path.count(".") + 1 < depth}
    for stack in (c for c in folded.cards if c.shape == "stack"):
        paths = [row.text for row in stack.rows if " … " in row.text] or [stack.title]
        assert all(part.count(".") + 1 >= depth for part in paths[0].split(" … "))


@given(trees, st.booleans(), st.sampled_from([None, 1, 2]))
@example(DEEP, True, None)
@example(DEEP, True, 2)
def test_a_stack_of_copies_is_a_chain_of_equal_parts(tree, repeats, depth):
    _, loss = run(tree)
    skeleton = loss.graph().skeleton
    stacks = fold(skeleton, depth, repeats)
    for stack in set(stacks.values()):
        assert {node for node, found in stacks.items() if found is stack} == set(stack.nodes)
        assert len(set(stack.nodes)) == len(stack.nodes)
        if len(stack.copies) == 1:
            continue
        assert stack.title.endswith(f" ×{len(stack.copies)}")
        for one, two in pairwise(stack.copies):
            assert [(n.plan.op.name, n.shape) for n in one] == [(n.plan.op.name, n.shape) for n in two]
            users = {user for node in one for user, _ in skeleton.consumers[node]}
            assert users <= {*one, *two}  # nobody else sees what is inside


# --- chains of plain ops ---


def chain(steps, n):
    y = Tensor(np.ones(3), requires_grad=True)
    for i in range(n):
        y = steps[i % len(steps)](y)
    return y.sum()


STEPS = [lambda y: y.tanh(), lambda y: y * 1.01, lambda y: y.sigmoid(), lambda y: y.exp() * 0.1, lambda y: y + 1.0]


@pytest.mark.parametrize("period", range(1, 6))
def test_a_chain_of_two_thousand_ops_becomes_few_cards(period):
    loss = chain(STEPS[:period], 2000)
    drawing = loss.graph().drawing
    assert len(drawing.cards) <= 8
    assert sum(map(ops_in, op_cards(drawing))) == len(loss.graph().skeleton.ops) > 2000


def test_a_step_that_differs_breaks_the_chain_in_two():
    y = x = Tensor(np.ones(3), requires_grad=True)
    for i in range(60):
        y = y.exp() if i == 30 else y.tanh()
    assert [c.title for c in op_cards(y.graph().drawing)] == ["tanh ×30", "exp", "tanh ×29"]
    y = x
    for i in range(60):
        y = y * (2.0 if i < 30 else 3.0)
    assert [c.title for c in op_cards(y.graph().drawing)] == ["mul ×60"]  # numbers are data


class Act(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.op = op

    def forward(self, x):
        return self.op(x)


def test_only_equal_ops_parameters_and_shapes_repeat():
    layers = nn.Sequential(*(Act(op) for op in (tg.tanh, tg.sigmoid) for _ in range(4)))
    drawing = layers(Tensor(np.ones(3), requires_grad=True)).graph(fold=True).drawing
    assert [c.rows[0].text for c in drawing.cards if c.shape == "stack"] == ["0 … 3", "4 … 7"]
    y = Tensor(np.ones(3), requires_grad=True)
    for _ in range(6):
        y = tg.cat([y, y])  # twice as long each time
    assert "stack" not in {c.shape for c in op_cards(y.graph(fold=True).drawing)}
    y = Tensor(np.ones((2, 3)), requires_grad=True)
    for axis in (0, 1) * 4:
        y = y.softmax(axis)
    assert [c.title for c in op_cards(y.graph(fold=True).drawing)] == ["(softmax, softmax) ×4"]


def test_four_equal_ops_fold_and_three_do_not_nor_any_that_nobody_asked_for():
    assert [c.title for c in op_cards(chain(STEPS[:1], 4).graph(fold=True).drawing)] == ["tanh ×4", "sum"]
    assert "stack" not in {c.shape for c in op_cards(chain(STEPS[:1], 3).graph(fold=True).drawing)}
    assert "stack" not in {c.shape for c in op_cards(chain(STEPS[:1], 10).graph(depth=1).drawing)}


def test_a_value_that_is_used_elsewhere_ends_a_stack():
    y = Tensor(np.ones(3), requires_grad=True)
    for i in range(60):
        y = y.tanh()
        if i == 30:
            middle = y
    loss = (y + middle).sum()
    titles = [c.title for c in op_cards(loss.graph().drawing)]
    assert titles[:2] == ["tanh ×31", "tanh ×29"]


def test_up_to_a_page_nothing_is_folded_and_above_it_is():
    for n, shapes in ((PAGE - 1, {"card"}), (PAGE, {"card", "stack"})):  # and the sum
        assert {c.shape for c in op_cards(chain(STEPS[:1], n).graph().drawing)} == shapes


# --- known networks ---


def resnet():
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32))
    return ResNet20(generator=np.random.default_rng(0))(x).sum()


@pytest.fixture(scope="module")
def watched():
    with tg.watch(images=True):
        loss = resnet()
    loss.backward()
    return loss.graph()


@pytest.mark.parametrize("view", VIEWS)
def test_resnet20_fits_a_page_in_every_view(watched, view):
    picture = watched.show(view)
    assert len(op_cards(picture.drawing)) <= PAGE
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.svg()).groups())
    assert width <= 700
    assert height <= 2600


def test_the_stages_of_resnet20_are_boxes_of_repeated_blocks():
    drawing = resnet().graph().drawing
    assert [g.title for g in drawing.groups] == ["layer1", "layer2", "layer3"]
    assert [(c.title, c.rows[0].text) for c in drawing.cards if c.shape == "stack"] == [
        ("BasicBlock ×3", "layer1.0 … layer1.2"),
        ("layer2.0", "BasicBlock"),
        ("BasicBlock ×2", "layer2.1 … layer2.2"),
        ("layer3.0", "BasicBlock"),
        ("BasicBlock ×2", "layer3.1 … layer3.2"),
    ]


def test_a_list_of_modules_has_no_box_and_its_repeats_are_folded():
    loss = Listed(*(nn.Linear(3, 3) for _ in range(4)))(Tensor(np.ones((2, 3), np.float32))).sum()
    assert [g.title for g in loss.graph(fold=False).drawing.groups] == [f"parts.{i}" for i in range(4)]
    folded = loss.graph(fold=True).drawing
    assert [(c.title, c.rows[0].text) for c in folded.cards if c.shape == "stack"] == [
        ("Sequential ×4", "parts.0 … parts.3")
    ]
    assert folded.groups == []


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, z):
        return self.net(z)


class Discriminator(Generator):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def test_two_models_in_one_graph_keep_boxes_of_their_own():
    g, d = Generator(), Discriminator()
    z, real = Tensor(np.ones((5, 2), np.float32)), Tensor(np.ones((5, 3), np.float32))
    loss = d(g(z)).mean() + d(real).mean()
    drawing = loss.graph().drawing
    assert drawing.title.startswith("Generator and Discriminator · ")
    boxes = {group.title: group.id for group in drawing.groups}
    assert list(boxes) == ["Generator", "Discriminator", "Generator.net", "Discriminator.net"]
    inside = [[c.title for c in drawing.cards if c.group == boxes[f"{name}.net"] and c.shape == "card"]
              for name in ("Generator", "Discriminator")]  # fmt: skip
    assert list(map(len, inside)) == [3, 6]  # d ran twice
    assert [c.title for c in loss.graph(depth=1).drawing.cards if c.shape == "stack"] == ["Generator", "Discriminator"]
    twins = Generator(), Generator()
    loss = (twins[0](z) + twins[1](z)).sum()
    assert [g.title for g in loss.graph().drawing.groups][:2] == ["Generator", "Generator 2"]


def test_a_part_that_is_called_on_its_own_has_its_path_in_the_model_when_that_is_given():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Generator(), Discriminator()

    model = Both()
    loss = model.decoder(model.encoder(Tensor(np.ones((5, 2), np.float32)))).mean()
    assert [g.title for g in tg.draw(loss, model).drawing.groups] == [
        "encoder", "decoder", "encoder.net", "decoder.net",
    ]  # fmt: skip
    assert [g.title for g in loss.graph().drawing.groups][:2] == ["Generator", "Discriminator"]
    assert tg.draw(loss, model).drawing.title.startswith("Both · ")
    notes = [c.title for c in tg.draw(loss, model).drawing.cards if c.shape == "note"]
    assert set(notes) == set(dict(model.named_parameters()))


def test_a_folded_module_that_runs_twice_with_an_op_between_is_drawn_in_every_format():
    net = Twice(nn.Linear(3, 3), nn.ReLU())
    picture = net(Tensor(np.ones((2, 3), np.float32))).sum().graph(depth=1)
    pairs = {(e.source, e.target) for e in picture.drawing.edges}
    (stack,) = [c.id for c in picture.drawing.cards if c.shape == "stack"]
    (between,) = [c.id for c in picture.drawing.cards if c.title == "mul"]
    assert {(stack, between), (between, stack)} <= pairs
    for written in (picture.svg(), picture.text(), picture.html(), picture.dot().source):
        assert "part" in written
