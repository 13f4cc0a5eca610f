"""Each view answers its question: what it says is computed here again, from arrays and from the graph itself."""

import contextlib
import gc
import math
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, memory, nn
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.diagram.captions import amount, number
from tinygrad_cnn.diagram.kept import kept_memory
from tinygrad_cnn.diagram.views import VIEWS
from tinygrad_cnn.diagram.views.grad import THICKEST, THINNEST
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.flops import flops_of, total_flops
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import ResNet20


def rng():
    return np.random.default_rng(0)


def leaf(*values, dtype="float64"):
    return Tensor(list(values), dtype=dtype, requires_grad=True)


def digits():
    net = DigitsNet(rng())
    x = Tensor(rng().normal(size=(4, 1, 8, 8)).astype(np.float32))
    return F.cross_entropy(net(x), Tensor([1, 2, 3, 4])), list(net.parameters())


def resnet():
    net = ResNet20(generator=rng())
    x = Tensor(rng().normal(size=(2, 3, 8, 8)).astype(np.float32))
    return (net(x) ** 2.0).mean(), list(net.parameters())


def shared():
    """Values that are used several times, shared memory, a broadcast, parameters through views, a constant."""
    x, w = leaf(1.0, -2.0, 3.0, 0.5, 2.0, 1.5), leaf(0.5, 1.0, -1.0, 2.0, 0.1, 0.3)
    h = F.relu(x * 2.0).reshape(2, 3)
    y = h @ w.reshape(2, 3).transpose(0, 1)
    z = y.transpose(0, 1).exp() * Tensor([[0.1, 0.2], [0.3, 0.4]], dtype="float64")
    wide = (h.sum() * 0.1).expand(4, 4) * (h.mean() * 0.2).expand(4, 4)
    copied = y.sigmoid().transpose(0, 1).reshape(4)
    return (z + y).sum() + (h * h).sum() + wide.sum() + (copied * copied).sum(), [x, w]


PROGRAMS = (digits, resnet, shared)  # each gives a loss and its leaves


def run(program, is_watched=True):
    if not is_watched:
        return program()[0]
    with tg.watch(images=True):
        return program()[0]


def said(card):
    return [row.text for row in card.rows]


def cards_of(picture):
    return {card.id: card for card in picture.drawing.cards}


def card(picture, title):
    (found,) = [c for c in picture.drawing.cards if c.title == title]
    return found


# --- every view, before and after backward ---


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("is_watched", [False, True])
def test_a_picture_after_backward_is_the_one_before_and_lines_of_gradients(view, program, is_watched):
    loss = run(program, is_watched)
    before = tg.draw(loss, view=view).drawing
    loss.backward()
    after = tg.draw(loss, view=view).drawing
    is_exact = view != "memory" or is_watched  # or backward has freed the sizes of residuals
    notes = [[g.note if is_exact else "" for g in drawing.groups] for drawing in (before, after)]
    assert notes[0] == notes[1]
    assert [replace(g, note="") for g in before.groups] == [replace(g, note="") for g in after.groups]
    assert [replace(c, rows=(), strips=(), problem="") for c in before.cards] == [
        replace(c, rows=(), strips=(), problem="") for c in after.cards
    ]
    assert [replace(e, rows=(), width=0.0, problem=False) for e in before.edges] == [
        replace(e, rows=(), width=0.0, problem=False) for e in after.edges
    ]
    if (view == "cost" and is_watched) or not is_exact:
        return  # of cost, backward adds its times
    if view != "health":
        assert [c.problem for c in before.cards] == [c.problem for c in after.cards]
    for one, two in (*zip(before.cards, after.cards, strict=True), *zip(before.edges, after.edges, strict=True)):
        plain = [row for row in one.rows if row.tone != "gradient"]
        assert plain == [row for row in two.rows if row.tone != "gradient"]
    for one, two in zip(before.cards, after.cards, strict=True):
        assert [s for s in one.strips if "∂" not in s.label] == [s for s in two.strips if "∂" not in s.label]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_every_loss_is_written_in_every_format(view):
    for program in PROGRAMS:
        picture = run(program).graph(view=view)
        assert picture.show("ops").drawing == picture.show("ops").drawing
        for written in (picture.svg(), picture.dot().source, picture.text(), picture.html()):
            assert picture.drawing.title.partition(" ")[0] in written


def test_a_view_that_does_not_exist_is_refused_also_by_show():
    with pytest.raises(ValueError, match="view='size'; it can be 'ops', 'arch'"):
        run(digits, False).graph().show("size")


# --- grad ---


def test_arrows_of_the_grad_view_run_backward():
    loss = run(shared)
    loss.backward()
    ops, grad = loss.graph().drawing, loss.graph(view="grad").drawing
    assert {e.kind for e in grad.edges} == {"gradient", "constant"}
    forward = [(e.source, e.target) for e in ops.edges if e.kind != "constant"]
    assert forward == [(e.target, e.source) for e in grad.edges if e.kind != "constant"]


def test_an_arrow_is_as_wide_as_the_logarithm_of_the_norm_that_it_carries():
    x = leaf(1.0)
    with tg.watch():
        a = x * 10.0
        b = a * 100.0
        c = b * 1000.0
    c.backward()
    by_norm = {said(e)[-1]: e.width for e in c.graph(view="grad").drawing.edges if e.rows}
    assert list(by_norm) == ["∂ 1e+05", "∂ 1e+03"]  # b's rule sends 1e5, c's 1e3; a's 1e6 stands on the note of x
    (thickest,) = (e.width for e in c.graph(view="grad").drawing.edges if not e.rows)
    assert by_norm["∂ 1e+03"] < by_norm["∂ 1e+05"] < thickest
    assert (by_norm["∂ 1e+05"] - by_norm["∂ 1e+03"]) / (thickest - by_norm["∂ 1e+03"]) == pytest.approx(2 / 3)


def test_widths_grow_with_the_norms_in_a_network():
    loss = run(resnet)
    loss.backward()
    picture = loss.graph(view="grad", fold=False)
    pairs = sorted(
        (float(row.text.removeprefix("∂ ")), edge.width)
        for edge in picture.drawing.edges
        for row in edge.rows
        if row.text.startswith("∂ ")
    )
    assert len(pairs) > 20
    assert all(thin <= thick + 0.05 for (_, thin), (_, thick) in pairwise(pairs))  # three digits
    widths = [edge.width for edge in picture.drawing.edges if edge.kind == "gradient"]
    assert (min(widths), max(widths)) == (THINNEST, THICKEST)


@pytest.mark.parametrize("other", [lambda h: h.tanh(), lambda h: h * -0.9, lambda h: h.relu()])
def test_at_a_fan_out_stand_the_parts_their_sum_and_the_cosine(other):
    x = leaf(1.0, -0.5, 2.0)
    with tg.watch():
        h = x * 2.0
        loss = (h.sigmoid() + other(h)).sum()
    loss.backward()
    s = 1 / (1 + np.exp(-h.array))
    t = Tensor(h.array, requires_grad=True)
    other(t).sum().backward()
    a, b = s * (1 - s), t.grad.array
    norms = [float(np.linalg.norm(v)) for v in (a + b, a, b)]
    cosine = float(a @ b) / (norms[1] * norms[2])
    rows = said(card(loss.graph(view="grad"), "h = mul"))
    assert rows[-2] == "‖∂‖ {} = ‖sum of 2: {}, {}‖".format(*map(number, norms))
    assert rows[-1] == f"cosine between the two {cosine:.2f}"


def test_a_leaf_that_is_used_three_times_lists_three_norms():
    x = leaf(3.0, 4.0)
    with tg.watch():
        loss = (x * 1.0 + x * 2.0 + x * -3.0).sum()
    loss.backward()
    assert said(card(loss.graph(view="grad"), "x"))[1:] == ["‖∂‖ 0", "‖sum of 3: 1.41, 2.83, 4.24‖"]


def test_a_gradient_that_is_not_known_is_never_a_number():
    loss = run(shared, False)
    texts = [row.text for edge in loss.graph(view="grad").drawing.edges for row in edge.rows]
    assert not [t for t in texts if "∂" in t and t != "∂ not computed"]
    loss.backward()
    texts = [row.text for edge in loss.graph(view="grad").drawing.edges for row in edge.rows]
    assert not [t for t in texts if "∂" in t and t != "∂ not kept"]


# --- memory ---


def kept_by_hand(loss, leaves):
    """What the graph of a loss keeps, from its arrays: the total, and the bytes that live at every step of backward."""
    nodes = [loss.node]
    for node in nodes:  # grows
        nodes += [p for p in dict.fromkeys(node.parents) if p not in nodes]
    ops = sorted((n for n in nodes if n.plan is not None), key=lambda n: n.order)
    of_leaves = {id(memory.owner(t.array)) for t in leaves}
    first, size = {}, {}
    for i, node in enumerate(ops):
        for value in (v for rule in node.saved for v in rule):
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray) and (key := id(memory.owner(array))) not in of_leaves:
                    first.setdefault(key, i)
                    size[key] = max(size.get(key, 0), min(array.nbytes, memory.owner(array).nbytes))
    live = []
    for i in reversed(range(len(ops))):
        gradients = [
            math.prod(node.shape) * node.dtype.itemsize
            for k, node in enumerate(ops)
            if k <= i <= max((j for j, user in enumerate(ops) if node in user.parents), default=i)
        ]
        live.append(sum(size[key] for key in size if first[key] <= i) + sum(gradients))
    return sum(size.values()), live


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_memory_view_counts_what_the_graph_keeps_and_the_peak(program):
    with tg.watch():
        loss, leaves = program()
    total, live = kept_by_hand(loss, leaves)
    picture = loss.graph(view="memory", fold=False)
    found = kept_memory(picture.skeleton)
    assert (found.total, found.peak) == (total, max(live))
    ops = picture.skeleton.ops
    assert [found.live[node] for node in reversed(ops)] == live
    assert [found.step[node] for node in reversed(ops)] == list(range(1, len(ops) + 1))
    assert sum(found.freed.values()) == total
    assert f"peak {amount(max(live), 'B')}" in picture.drawing.title
    assert picture.drawing.legend[0].text == f"kept from forward to backward: {amount(total, 'B')}"
    (at_peak,) = [c for c in picture.drawing.cards if "the peak of the memory" in said(c)]
    assert f": {amount(max(live), 'B')} live" in said(at_peak)[-2]
    loss.backward()
    after = kept_memory(loss.graph(view="memory").skeleton)
    assert (after.total, after.peak) == (total, max(live))
    assert list(after.live.values()) == list(found.live.values())


@pytest.mark.parametrize("program", PROGRAMS)
def test_after_a_backward_that_nobody_watched_the_memory_is_what_it_was(program):
    loss = run(program, is_watched=False)
    skeleton = loss.graph().skeleton
    before = kept_memory(skeleton)
    loss.backward()
    after = kept_memory(skeleton)
    assert after == before
    assert before.total > 0


def test_a_reshape_that_copies_counts_and_one_that_shows_the_same_memory_does_not():
    w = leaf(*range(6))
    for rearranged in (lambda h: h, lambda h: h.permute(1, 0)):
        h = (w * 1.0).tanh().reshape(2, 3)
        skeleton = (rearranged(h).reshape(6) * rearranged(h).reshape(6)).sum().graph().skeleton
        before = kept_memory(skeleton)
        skeleton.root.saved = None
        for node in skeleton.ops:
            node.saved = None
        assert kept_memory(skeleton) == before


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("part", [lambda y: y[:1], lambda y: y[3:7].reshape(-1), lambda y: y[:, ::2].T])
def test_a_view_keeps_all_that_an_op_has_made_whichever_op_comes_first(part, is_watched):
    x = Tensor(rng().normal(size=(10, 100)), requires_grad=True)

    def squares(y):
        return (y * y).sum()

    def kept(add):
        with tg.watch() if is_watched else contextlib.nullcontext():
            y = x * 3.0
            loss = add(y)
        live = kept_memory(loss.graph().skeleton)
        loss.backward()
        freed = kept_memory(loss.graph().skeleton)
        for found in (live, freed):
            rows = [item for items in found.kept.values() for item in items]
            assert sum(item.bytes for item in rows if item.first is None and not item.is_leaf) == found.total
        assert freed.total == live.total
        return live.total

    of_y = 1000 * 8
    assert kept(lambda y: squares(part(y)) + squares(y)) == of_y
    assert kept(lambda y: squares(y) + squares(part(y))) == of_y
    assert kept(lambda y: squares(part(y))) == of_y


def test_a_view_of_what_no_op_has_made_counts_by_its_own_bytes_the_largest_once():
    w, data = leaf(2.0, dtype="float32"), Tensor(np.ones((10, 100), np.float32))
    few, more = data[:1], data[:4]
    for one, other in ((few, more), (more, few)):
        loss = (w * one).sum() + (w * other).sum()
        assert kept_memory(loss.graph().skeleton).total == 4 * 100 * 4


def test_the_memory_view_says_what_is_kept_for_which_gradient_and_why_it_does_not_count():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (x * w).relu()
    loss = (h * h).sum()
    picture = loss.graph(view="memory")
    rows = {c.id: said(c) for c in picture.drawing.cards}
    assert rows["n2"][:2] == [
        "keeps y for ∂x · 16 B · a parameter, there anyway",
        "keeps x for ∂y · 16 B · a parameter, there anyway",
    ]
    assert rows["n3"] == ["keeps out for ∂x · 16 B", "backward step 3: 48 B live, then frees 16 B"]
    assert rows["n4"][0] == "keeps y for ∂x, ∂y · 16 B · the same memory as in h"
    assert rows["n5"] == ["value = 73.0000", "keeps nothing", "backward step 1: 40 B live"]


# --- cost ---


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("fold", [True, False])
def test_the_cost_view_counts_operations_and_their_shares_sum_to_one(program, fold):
    picture = run(program, is_watched=False).graph(view="cost", fold=fold)
    skeleton, total = picture.skeleton, total_flops(picture.skeleton.ops)
    by_id = {f"n{i}": node for node, i in skeleton.number.items()}
    shares = 0.0
    for c in picture.drawing.cards:
        counts = [row for row in c.rows if "FLOP · " in row.text]
        if c.shape in ("card", "sign"):
            counted = flops_of(by_id[c.id])
            (row,) = counts
            assert row.text.startswith(f"{amount(counted, 'FLOP')} · ")
            assert row.share == pytest.approx(counted / total)
        shares += sum(row.share for row in counts)
    assert shares == pytest.approx(1.0)
    assert amount(total, "FLOP") in picture.drawing.title
    assert f"{amount(total, 'FLOP')} in all" in picture.drawing.legend[0].text


def test_an_op_whose_cost_nobody_declared_is_named_and_makes_the_total_a_bound():
    def undeclared(x, /):
        return x * 2.0

    op = tg.op(undeclared)
    op.vjp(x=lambda g: g * 2.0)
    try:
        loss = op(leaf(1.0, 2.0)).sum()
        picture = loss.graph(view="cost")
    finally:
        del registry["undeclared"]
    assert said(card(picture, "undeclared")) == ["FLOPs not declared"]
    assert " · ≥ 2 FLOP · " in picture.drawing.title


def test_times_are_shown_where_they_were_watched_and_share_the_whole():
    loss = run(digits)
    for _ in range(2):
        picture = loss.graph(view="cost")
        times = [row for c in picture.drawing.cards for row in c.rows if row.text.endswith("of the time")]
        assert len(times) == len(picture.skeleton.ops)
        assert sum(row.share for row in times) == pytest.approx(1.0)
        if picture.skeleton.is_done:
            assert all(" + backward " in row.text for row in times)
            break
        loss.backward()
    assert not [c for c in run(digits, False).graph(view="cost").drawing.cards if "time" in " ".join(said(c))]


# --- teach and arch ---


def test_the_teach_view_has_pictures_where_they_were_watched_and_formulas_everywhere():
    loss = run(digits)
    loss.backward()
    cards = {c.title: c for c in loss.graph(view="teach").drawing.cards}
    assert [strip.label for strip in cards["conv2"].strips] == [
        "values, 8 of 32",
        "∂, 8 of 32",
        "kernels of the first filter, 8 of 16",
    ]
    assert cards["fc"].strips == ()
    assert "∂x = ∂out · 1[x > 0]" in said(cards["relu"])
    plain = run(digits, False).graph(view="teach").drawing.cards
    assert not any(c.strips for c in plain)
    formulas = {c.title: [t for t in said(c) if t.startswith("∂x =")] for c in plain}
    assert formulas["conv2"] == [t for t in said(cards["conv2"]) if t.startswith("∂x =")]


def test_the_arch_view_folds_the_outermost_modules():
    picture = run(resnet).graph(view="arch")
    assert [c.title for c in picture.drawing.cards if c.shape == "stack"] == ["layer1", "layer2", "layer3"]
    assert picture.drawing.groups == []
    assert picture.drawing.cards == picture.show("ops").show("arch").drawing.cards


# --- health ---


def log_of_zero():
    x = leaf(0.0, 1.0)
    return ((x * 1.0).log() * 2.0).sum()


def zero_by_zero():
    x, y = leaf(0.0, 1.0), leaf(0.0, 1.0)
    return ((x * 1.0) / (y * 1.0) + 1.0).sum()


def overflow():
    x = Tensor([1000.0, 1.0], requires_grad=True, dtype="float32")
    return ((x * 1.0).exp() * 0.5).sum()


def sqrt_at_zero():
    x = leaf(0.0, 1.0)
    return ((x * 1.0).sqrt() * 2.0).sum()


def dead_relu():
    x = Tensor(-np.ones((4, 8)), requires_grad=True)
    return ((x * 1.0).relu() * 2.0).sum()


def sigmoids():
    y = Tensor(np.ones((2, 4)), requires_grad=True)
    for _ in range(4):
        y = (y * 20.0).sigmoid()
    return y.sum()


def explosion():
    return (Tensor(np.ones(3), requires_grad=True) * 1e5).sum()


def problems(picture):
    return {c.title: c.problem for c in picture.drawing.cards if c.problem}


def run_both(make):
    """A watched loss after backward in the view health."""
    with tg.watch():
        loss = make()
    loss.backward()
    return loss.graph(view="health")


@pytest.mark.parametrize(
    ("make", "title", "first", "inherits"),
    [
        (log_of_zero, "log", "first −inf (1 value) here", "mul"),
        (zero_by_zero, "÷", "first nan (1 value) here", "add"),
        (overflow, "exp", "first inf (1 value) here", "mul"),
    ],
)
def test_the_first_cause_is_told_from_what_inherits_it(make, title, first, inherits):
    picture = run_both(make)
    found = problems(picture)
    assert found[title].startswith(first)
    name = {"÷": "div"}.get(title, title)
    kind = first.split()[1]
    assert found[inherits] == found["loss = sum"] == f"{kind} (1 value), inherited from {name}"
    ids = {c.title: c.id for c in picture.drawing.cards}
    red = {(e.source, e.target) for e in picture.drawing.edges if e.problem}
    assert (ids[title], ids[inherits]) in red
    assert (ids[inherits], ids["loss = sum"]) in red


def test_an_inf_of_the_gradients_is_found_at_the_rule_that_made_it_and_followed_back():
    picture = run_both(sqrt_at_zero)
    assert problems(picture) == {"sqrt": "∂x: first inf (1 value) of the gradients here"}
    red = [(e.source, e.target) for e in picture.drawing.edges if e.problem]
    assert red == [("n0", "n1"), ("n1", "n2")]  # to the leaf, not to the loss


def test_of_two_inputs_only_the_way_of_the_one_that_gets_inf_is_red():
    x, y = leaf(1.0), leaf(1e-200)
    with tg.watch():
        loss = (x / y).sum()
    loss.backward()
    picture = loss.graph(view="health")
    assert problems(picture)["÷"] == "∂y: first −inf (1 value) of the gradients here"
    assert [(e.source, e.target) for e in picture.drawing.edges if e.problem] == [("n1", "n2")]


def test_a_parameter_or_an_input_that_holds_nan_is_the_first_cause():
    x = leaf(math.nan, 1.0)
    with tg.watch():
        loss = (x * 2.0).sum()
    assert problems(loss.graph(view="health")) == {
        "x": "holds nan (1 value)", "mul": "nan (1 value), which came in with x",
        "loss = sum": "nan (1 value), which came in with x",
    }  # fmt: skip
    with tg.watch():
        other = (leaf(1.0, 1.0) * Tensor([math.inf, 1.0], dtype="float64")).sum()
    found = problems(other.graph(view="health"))
    assert found["×"] == "inf (1 value), which came in with constant"
    assert found["constant"] == "holds inf (1 value)"


def test_without_watch_the_first_is_the_first_that_is_known():
    picture = log_of_zero().graph(view="health")
    assert list(problems(picture).values()) == ["first −inf (1 value) that is known"]
    assert "record under tg.watch()" in picture.drawing.legend[-1].text
    found = problems(zero_by_zero().graph(view="health"))  # between the two is a sum that nobody keeps
    assert list(found.values()) == ["first nan (1 value) that is known", "nan (1 value), inherited from div"]


def test_dead_units_are_counted():
    found = problems(run_both(dead_relu))
    assert "dead units: 100 % zero, 8 of 8 channels never on" in found["relu"]
    assert "the gradient stops here: ∂x is 0 everywhere" in found["relu"]
    half = Tensor(np.concatenate([np.ones((4, 4)), -np.ones((4, 4))], axis=1), requires_grad=True)
    assert problems((half.relu() * 1.0).sum().graph(view="health")) == {
        "relu": "dead units: 50 % zero, 4 of 8 channels never on"
    }
    third = Tensor(np.array([[1.0, 1.0, -1.0]]), requires_grad=True)
    assert problems((third.relu() * 1.0).sum().graph(view="health")) == {}


def test_an_empty_batch_is_healthy():
    with tg.watch(images=True):
        loss = (Tensor(np.zeros((0, 3)), requires_grad=True) * 2.0).relu().sum()
    loss.backward()
    assert problems(loss.graph(view="health")) == {}


def test_vanishing_and_exploding_gradients_are_found_with_their_factor():
    picture = run_both(sigmoids)
    found = [c.problem.partition(" is ")[0] for c in picture.drawing.cards if c.title.endswith("sigmoid")]
    assert found == ["vanishing: ‖∂x‖"] * 4
    picture = run_both(explosion)
    assert problems(picture)["mul"] == "exploding: ‖∂x‖ is 1e+05 times ‖∂out‖"


def test_a_vanishing_gradient_of_a_named_parameter_is_found_without_watch():
    w = leaf(1.0, 1.0)
    loss = (w * 1e-9).sum()
    loss.backward()
    assert problems(loss.graph(view="health")) == {"w": "vanishing: ‖∂‖ is 1e-09 of ‖w‖"}


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.spare = (nn.Linear(3, 3, generator=rng()) for _ in range(3))

    def forward(self, x):
        return self.head(self.body(x).detach())


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_parameter_with_no_path_to_the_loss_is_drawn_with_the_op_that_cut_it(is_watched):
    net, x = Detached(), Tensor(np.ones((2, 3), np.float32))
    if is_watched:
        with tg.watch():
            loss = net(x).sum()
    else:
        loss = net(x).sum()
    loss.backward()
    picture = tg.draw(loss, net, view="health")
    loose = {c.title: c for c in picture.drawing.cards if c.problem == "no path to the loss"}
    assert list(loose) == ["body", "spare"]
    assert said(loose["body"]) == ["weight 3×3", "bias 3"]
    cuts = [e for e in picture.drawing.edges if e.source in {c.id for c in loose.values()}]
    if not is_watched:
        assert cuts == []
        return
    (cut,) = cuts
    assert (cut.source, [row.text for row in cut.rows], cut.problem) == (loose["body"].id, ["cut by detach"], True)
    (constant,) = [c for c in picture.drawing.cards if c.id == cut.target]
    (into,) = [e for e in picture.drawing.edges if e.source == constant.id]
    (user,) = [c for c in picture.drawing.cards if c.id == into.target]
    assert (constant.title, user.title) == ("constant", "head")


def test_a_network_that_learns_has_no_problem():
    net, generator = DigitsNet(rng()), rng()
    optimizer = tg.optim.SGD(net.parameters(), lr=0.05)
    x, y = Tensor(generator.normal(size=(16, 1, 8, 8)).astype(np.float32)), Tensor(generator.integers(0, 10, 16))
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        with tg.watch():
            loss = F.cross_entropy(net(x), y)
        loss.backward()
        picture = tg.draw(loss, net, view="health")
        assert problems(picture) == {}
        assert [row.text for row in picture.drawing.legend] == ["no problem found"]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


# --- what the card of an op says of its operands ---


def rows_of(output: Tensor) -> list[str]:
    """The rows of the op that made the output."""
    (card,) = [c for c in output.graph().drawing.cards if c.id == output.graph().drawing.cards[-1].id]
    return said(card)


@pytest.mark.parametrize(
    ("program", "row"),
    [
        (lambda x: 1.0 - x, "1 − x"),
        (lambda x: x - 1.0, "− 1"),
        (lambda x: 2.0 / x, "2 ÷ x"),
        (lambda x: x / 2.0, "÷ 2"),
        (lambda x: x**3.0, "^ 3"),
        (lambda x: 3.0**x, "3 ^ x"),
        (lambda x: tg.maximum(x, 0.5), "y=0.5"),
        (lambda x: x[1:, ::2], "[1:, ::2]"),
    ],
)
def test_a_number_stands_where_it_is_in_the_operation(program, row):
    assert row in rows_of(program(Tensor(np.ones((3, 4)), requires_grad=True)))


def test_the_second_operand_is_marked_where_the_order_matters():
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    a, b = x.exp(), x.tanh()
    for program, sign in ((lambda a, b: a - b, "− 2×2"), (lambda a, b: a / b, "÷ 2×2"), (lambda a, b: a @ b, "@ 2×2")):
        for first, second in ((a, b), (b, a)):
            drawing = program(first, second).graph().drawing
            into = [e for e in drawing.edges if e.target == drawing.cards[-1].id]
            name = {c.id: c.title for c in drawing.cards}
            marked = {name[e.source]: e.rows[0].text for e in into}
            assert marked == {("a = exp", "b = tanh")[second is b]: sign, ("a = exp", "b = tanh")[first is b]: "2×2"}


@pytest.mark.parametrize(
    "program",
    [
        lambda x: tg.dropout(x, 0.5),
        lambda x: x[np.array([0, 2])],
        lambda x: x[np.array([0, 2]), 1:],
        lambda x: tg.where(np.ones((3, 4), bool), x, 0.0),
        lambda x: F.nll_loss(x, np.array([0, 1, 2]), weight=np.ones(4)),
    ],
)
def test_no_array_is_printed_on_a_card_so_that_backward_changes_none(program):
    out = program(Tensor(np.ones((3, 4)), requires_grad=True)).sum()
    before = out.graph().drawing
    out.backward()
    after = out.graph().drawing
    assert [c.rows for c in before.cards if c.shape == "card"] == [c.rows for c in after.cards if c.shape == "card"]
    assert before.title.replace("before backward", "backward done") == after.title


# --- folding does not hide what a view is about ---


def test_health_leaves_the_module_open_in_which_nan_begins():
    net = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4, generator=rng()), nn.Tanh()) for _ in range(20)))
    with tg.no_grad():
        net[7][0].bias.fill_(math.inf)
    with tg.watch():
        loss = (net(Tensor(np.ones((2, 4), np.float32))) * 0.0).sum()
    picture = tg.draw(loss, net, view="health")
    assert picture.find_nan().answer.startswith("7.0.bias: holds inf")
    open_cards = {c.title: c.problem for c in picture.drawing.cards if c.shape in ("note", "card")}
    assert open_cards["7.0.bias"] == "holds inf (4 values)"
    assert [c.title for c in picture.drawing.cards if c.shape == "stack"] == ["Sequential ×7", "Sequential ×12"]


def test_what_is_focused_is_open_though_the_rest_folds():
    loss = run(resnet)
    drawing = loss.graph(focus="layer2.1.conv1", hops=1).drawing
    assert "conv1" in [c.title for c in drawing.cards if c.shape == "card"]
    path = loss.graph().path("conv1", "layer2.0")
    assert path.answer.endswith(" ops from conv1 to layer2.0")


def test_nan_in_the_data_is_found_and_marked():
    x = Tensor([[1.0, math.nan]])
    with tg.watch():
        loss = nn.Linear(2, 3, generator=rng())(x).sum()
    picture = loss.graph(view="health")
    assert picture.find_nan().answer == "x: holds nan (1 value)"
    (card,) = [c for c in picture.drawing.cards if c.title == "x"]
    assert card.problem == "holds nan (1 value)"
    assert all(e.problem for e in picture.drawing.edges if e.source == card.id)


# --- names ---


def test_a_path_in_the_model_wins_over_a_loop_variable_and_the_first_variable_over_an_alias():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for p in net.parameters():
        assert p.requires_grad
    notes = [c.title for c in net(Tensor(np.ones((1, 3), np.float32))).sum().graph().drawing.cards if c.shape == "note"]
    assert notes == ["0.weight", "0.bias", "1.weight", "1.bias"]
    w = leaf(1.0, 2.0)
    alias = w
    assert [c.title for c in (w * alias).sum().graph().drawing.cards if c.shape == "note"] == ["w"]


def test_labels_have_a_given_name_or_none():
    logits = Tensor(np.ones((4, 3)), requires_grad=True)
    y = np.array([0, 1, 2, 0])
    loss = F.cross_entropy(logits, y)
    pred = logits.argmax(1)
    assert pred.shape == y.shape
    assert [c.title for c in loss.graph().drawing.cards if c.shape == "target"] == ["labels"]
    assert [c.title for c in loss.graph(inputs={"y": y}).drawing.cards if c.shape == "target"] == ["y"]


def test_a_picture_keeps_no_tensor_of_the_caller_alive_that_it_does_not_show():
    big = Tensor(np.ones(1000), requires_grad=True)
    other = big * 2.0
    dead = [weakref.ref(big), weakref.ref(other), weakref.ref(other.node)]
    picture = leaf(1.0).exp().graph()
    del big, other
    gc.collect()
    assert [r() for r in dead] == [None] * 3
    assert picture.drawing.cards


# --- the limit of cards ---


def test_ops_that_nothing_else_folds_become_ranges():
    cell, h, states = nn.Linear(3, 3, generator=rng()), Tensor(np.ones((1, 3), np.float32)), []
    for _ in range(300):
        h = cell(h).tanh()
        states.append(h)
    drawing = tg.stack(states).sum().graph().drawing
    assert len([c for c in drawing.cards if c.shape in ("card", "sign", "stack")]) <= 400
    assert "ops folded into" in drawing.title
    order = {c.id: i for i, c in enumerate(drawing.cards)}
    assert all(order[e.source] < order[e.target] for e in drawing.edges if e.kind == "forward")


def test_rewiring_is_a_difference():
    def picture(which):
        x = leaf(1.0, 1.0)
        a, b = x.exp(), x.exp() * 1.0
        return ((a if which else b).relu() + a + b).sum().graph()

    assert [(row["what"], row["card"]) for row in picture(0).diff(picture(1))] == [("changed", "relu")]
    assert not picture(1).diff(picture(1))
