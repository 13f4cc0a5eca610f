"""`explain` and `explain_grad`: the terms add up to what the engine computed, op by op, and say where they are from."""

import gc
import itertools
import re
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.explanation import UnknownValue
from tinygrad_cnn.explanation.pointwise import FORMULAS
from tinygrad_cnn.explanation.rules import BACKWARD, FORWARD, VARIADIC
from tinygrad_cnn.explanation.table import place
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing.samples import Draw, sample


def seeds(name):
    """More draws for ops of many shapes and parameters than for elementwise ones."""
    return range(2 if name in FORMULAS else 20)


def scene(name, draw):
    """An op on drawn inputs that all take gradients, watched: (the Tensors, the output, an index of it)."""
    op = registry[name]
    while True:
        arrays, params = sample(op, draw)
        tensors = [None if a is None else Tensor(a, requires_grad=True) for a in arrays]
        with tg.watch(values=True):
            out = op.apply(*tensors, **params)
        if out.numpy().size and all(t is None or t.numpy().size for t in tensors):
            break  # a sample may hold an empty array, which has no number to explain
    return tensors, out, one_of(draw, out.shape)


def one_of(draw, shape):
    return tuple(draw.size(0, n - 1) for n in shape)


def adds_up(shown, value):
    size = sum(abs(term.value) for term in shown.terms)
    assert shown.value == value
    assert abs(shown.total - value) <= 1e-12 * (1.0 + size)
    assert shown.agrees


@pytest.mark.parametrize("name", sorted(FORWARD))
def test_terms_add_up_to_the_value(name):
    for seed in seeds(name):
        tensors, out, at = scene(name, Draw.seeded(seed))
        for place_of in np.ndindex(out.shape) if name in FORMULAS else [at]:
            shown = tg.explain(out, place_of, max_terms=3)
            adds_up(shown, out.numpy()[place_of])
            for factor in (factor for term in shown.terms for factor in term.factors if factor.operand >= 0):
                if factor.text.startswith(("(", "-")):
                    continue  # a value made of the cell, such as a logarithm
                assert factor.text.endswith(place("", factor.index))
                assert factor.value == tensors[factor.operand].numpy()[factor.index]


GRADIENTS = sorted({*BACKWARD} | {(name, "xs") for name in VARIADIC})


@pytest.mark.parametrize(("name", "input"), GRADIENTS)
def test_terms_of_a_gradient_add_up_to_it(name, input):
    for seed in seeds(name):
        draw = Draw.seeded(seed)
        tensors, out, _ = scene(name, draw)
        op = registry[name]
        i = draw.size(0, len(tensors) - 1) if op.variadic else op.inputs.index(input)
        if i >= len(tensors) or tensors[i] is None:
            continue
        loss = (out * draw.array(*out.shape)).sum()
        at = one_of(draw, tensors[i].shape)
        (expected,) = tg.grad(loss, tensors[i], retain_graph=True)
        for place_of in np.ndindex(expected.shape) if name in FORMULAS else [at]:
            shown = tg.explain_grad(loss, tensors[i], place_of)
            adds_up(shown, expected.numpy()[place_of])
            assert "no explainer" not in shown.note


def test_every_input_with_a_rule_of_an_explained_op_has_its_gradient_explained():
    missing = {
        (name, input)
        for name in FORWARD
        for input in registry[name].inputs
        if not registry[name].variadic and registry[name].differentiable >> registry[name].inputs.index(input) & 1
    } - set(BACKWARD)
    assert missing == set()


@given(st.data())
def test_a_convolution_s_terms_are_those_of_its_window(data):
    draw = Draw.of(data)
    (x, w, *b), out, (n, o, i, j) = scene("conv2d", draw)
    shown = tg.explain(out, (n, o, i, j))
    adds_up(shown, out.numpy()[n, o, i, j])
    assert len(shown.terms) == w.numpy()[0].size + bool(b)
    assert [term.factors[1].index for term in shown.terms[: w.numpy()[0].size]] == [
        (o, *k) for k in itertools.product(*map(range, w.shape[1:]))
    ]
    assert sum(abs(term.value) > 0 for term in shown.terms) <= x.numpy()[n].size + bool(b)


@given(st.data())
def test_pools_are_explained_for_every_window_and_cell(data):
    draw = Draw.of(data)
    name = draw.choice(["max_pool2d", "avg_pool2d", "sum_pool2d"])
    (x,), out, at = scene(name, draw)
    adds_up(tg.explain(out, at), out.numpy()[at])
    loss = (out * draw.array(*out.shape)).sum()
    (expected,) = tg.grad(loss, x, retain_graph=True)
    cell = one_of(draw, x.shape)
    adds_up(tg.explain_grad(loss, x, cell), expected.numpy()[cell])


def net():
    """A small network in float64 and what it computes, by name."""
    rng = np.random.default_rng(3)
    x = Tensor(rng.normal(size=(2, 1, 6, 5)))
    w = Tensor(rng.normal(size=(3, 1, 3, 2)), requires_grad=True)
    b = Tensor(rng.normal(size=3), requires_grad=True)
    y = F.conv2d(x, w, b)
    h = F.relu(y)
    p = F.max_pool2d(h, 2)
    v = Tensor(rng.normal(size=(4, 12)), requires_grad=True)
    z = F.linear(p.reshape(2, -1), v)
    return {"x": x, "w": w, "b": b, "y": y, "h": h, "p": p, "v": v, "z": z, "loss": F.cross_entropy(z, [3, 0])}


def test_depth_follows_the_numbers_back_through_the_graph():
    t = net()
    shown = tg.explain(t["p"], (0, 1, 0, 1), depth=3, names=t)
    chain = [shown]
    while chain[-1].below:
        assert len(chain[-1].below) == 1
        chain.append(chain[-1].below[0])
    assert [part.title.split(":")[0] for part in chain] == ["max_pool2d", "relu", "conv2d"]
    assert [len(part.below) for part in chain] == [1, 1, 0]
    for part in chain:
        adds_up(part, part.value)
    assert tg.explain(t["p"], (0, 1, 0, 1), names=t).below == ()
    deep = tg.explain(t["loss"], depth=2, names=t)
    assert {part.title for part in deep.below} == {"linear: z[0,3]", "linear: z[1,0]"}
    assert all(part.value == t["z"].numpy()[at] for part, at in zip(deep.below, [(0, 3), (1, 0)], strict=True))


def test_one_number_taken_from_a_tensor_is_explained_as_that_number():
    t = net()
    y, w, b = t["y"], t["w"], t["b"]
    assert str(tg.explain(y[1, 2, 3, 0])) == str(tg.explain(y, (1, 2, 3, 0)))
    assert str(tg.explain(y[1, 2][3, 0])) == str(tg.explain(y, (1, 2, -1, 0)))
    assert {"w[2,0,0,0]", "b[2]"} <= {f.text for term in tg.explain(y[1, 2, 3, 0]).terms for f in term.factors}
    assert (w.grad, b.grad) == (None, None)
    assert tg.explain(y[1, 2, 3, 0]).title == "conv2d: y[1,2,3,0]"


def test_one_number_taken_from_a_leaf_is_the_cell_itself():
    w = net()["w"]
    shown = tg.explain(w[2, 0, 1, 1])
    assert [term.text for term in shown.terms] == ["w[2,0,1,1]"]
    assert shown.total == shown.value == w.numpy()[2, 0, 1, 1]


def test_a_convolution_of_lines_is_explained_behind_the_reshapes_that_make_it_one_of_images():
    x, w = Tensor([[[1.0, 2.0, 3.0, 4.0]]]), Tensor([[[1.0, -1.0]]], requires_grad=True)
    y = F.conv1d(x, w)
    shown = tg.explain(y, (0, 0, 1))
    (inner,) = shown.below
    assert (shown.title, inner.title) == ("reshape: y[0,0,1]", "conv2d: conv2d[0,0,0,1]")
    assert [term.value for term in inner.terms] == [2.0, -3.0]
    assert inner.below == ()
    loss = (y * y).sum()
    gradient = tg.explain_grad(loss, w, (0, 0, 1))
    assert [term.value for term in gradient.terms] == [-4.0, -6.0, -8.0]
    adds_up(gradient, -18.0)
    assert gradient.title == "conv2d: ∂loss/∂w[0,0,1]"
    flat = w.reshape(2)
    assert tg.explain_grad((flat * flat).sum(), w, (0, 0, 1)).terms[0].text == "∂flat[1]"


def test_a_target_of_zero_costs_nothing_whatever_its_logarithm():
    x, target = Tensor([-1.0, -2.0], requires_grad=True), Tensor([0.0, 1.0])
    shown = tg.explain(F.kl_div(x, target, reduction="sum"))
    assert [term.value for term in shown.terms] == [0.0, 2.0]
    sure = Tensor([-np.inf, np.inf], requires_grad=True)
    assert tg.explain(F.binary_cross_entropy_with_logits(sure, target)).total == 0.0


def test_a_negative_number_has_one_pair_of_brackets():
    x = Tensor([-2.0], requires_grad=True)
    assert [tg.explain(f(x), 0).terms[0].numbers for f in (tg.exp, tg.softplus)] == [
        "exp(-2)",
        "log(1 + exp(beta·(-2))) / beta",
    ]


def test_gradients_of_a_network_are_explained_at_every_tensor():
    t = net()
    for name in ("w", "b", "y", "h", "p", "v", "z"):
        (expected,) = tg.grad(t["loss"], t[name], retain_graph=True)
        at = tuple(n // 2 for n in t[name].shape)
        adds_up(tg.explain_grad(t["loss"], t[name], at, names=t), expected.numpy()[at])


def test_a_gradient_sums_over_every_op_that_reads_the_tensor():
    x = Tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True, dtype="float64")
    loss = (x.exp() + x * x + F.relu(x)).sum()
    shown = tg.explain_grad(loss, x, (1, 0))
    adds_up(shown, np.exp(3.0) + 6.0 + 1.0)
    assert [term.text for term in shown.terms] == [
        "∂exp[1,0] · exp(x)", "∂mul[1,0] · x[1,0]", "∂mul[1,0] · x[1,0]", "∂relu[1,0] · 1[x > 0]",
    ]  # fmt: skip
    assert shown.title == "exp, mul, relu: ∂loss/∂x[1,0]"


def test_cross_entropy_is_p_minus_q_over_n():
    logits = Tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]], requires_grad=True, dtype="float64")
    loss = F.cross_entropy(logits, [0, 2])
    e = np.exp(logits.numpy()[1] - 3.0)
    shown = tg.explain_grad(loss, logits, (1, 2))
    assert shown.formula == "∂out · (p - q) / N"
    assert [term.value for term in shown.terms] == pytest.approx([e[2] / e.sum() / 2, -0.5], rel=1e-12)
    forward = tg.explain(loss)
    assert [step.text for step in forward.steps[:2]] == ["m = max x", "exp(logits[0,0] - m)"]
    assert [term.value for term in forward.terms] == pytest.approx(
        [np.log(np.exp([0.0, -1.0, -3.0]).sum()) / 2, (2.0 + np.log(e.sum())) / 2], rel=1e-12
    )


def test_only_a_mean_divides_and_weights_of_one_are_left_out():
    x = Tensor([[2.0, 1.0], [0.0, 3.0]], requires_grad=True)
    soft, other = Tensor([[0.25, 0.75], [1.0, 0.0]]), Tensor([[1.0, 1.0], [1.0, 1.0]])
    losses = {
        "cross_entropy": lambda reduction: F.cross_entropy(x, [0, 1], reduction=reduction),
        "soft": lambda reduction: F.cross_entropy(x, soft, reduction=reduction),
        "nll": lambda reduction: F.nll_loss(x, np.array([0, 1]), reduction=reduction),
        "mse": lambda reduction: F.mse_loss(x, other, reduction=reduction),
    }
    for name, loss in losses.items():
        for reduction in ("mean", "sum"):
            y = loss(reduction)
            assert tg.explain(y).formula.lower().endswith(" / n") == (reduction == "mean")
            shown = tg.explain_grad(y, x, (0, 0))
            assert shown.formula.lower().endswith(" / n") == (reduction == "mean" and name != "nll")
            assert any(f"1/{4 if name == 'mse' else 2}" in t.text for t in shown.terms) == (reduction == "mean")
    hard, mixed = tg.explain(losses["cross_entropy"]("sum")), tg.explain(losses["soft"]("sum"))
    assert [term.text for term in hard.terms] == ["-log p of x[0,0]", "-log p of x[1,1]"]
    assert [term.text for term in mixed.terms] == ["q · -log p of x[0,0]", "q · -log p of x[0,1]", "-log p of x[1,0]"]
    assert "Σq" not in tg.explain_grad(losses["cross_entropy"]("sum"), x, (0, 0)).terms[0].text


def test_a_softmax_s_gradient_tells_the_number_itself_from_the_others():
    x = Tensor([1.0, 2.0, 4.0], requires_grad=True)
    for y, words in ((x.softmax(0), "p_j · "), (x.log_softmax(0), "")):
        loss = (y * Tensor([1.0, -1.0, 3.0])).sum()
        own, *others = [term.text for term in tg.explain_grad(loss, x, 0).terms]
        assert own == f"∂y[0] · {words}(1 - p_i)"
        assert others == [f"∂y[{j}] · {words}(-p_i)" for j in (1, 2)]


def test_a_window_s_cells_are_listed_and_its_winner_named():
    x = Tensor([[[[1.0, 4.0], [4.0, 2.0]]]], requires_grad=True)
    first = tg.explain(F.max_pool2d(x, 2), (0, 0, 0, 0))
    assert [step.value for step in first.steps] == [1.0, 4.0, 4.0, 2.0]
    assert first.terms[0].text == "x[0,0,0,1]"
    assert first.note == "2 cells hold the maximum: ties='first'."
    last = tg.explain(tg.max_pool2d(x, 2, ties="last"), (0, 0, 0, 0))
    assert last.terms[0].text == "x[0,0,1,0]"
    split = tg.max_pool2d(x, 2, ties="split").sum()
    assert [tg.explain_grad(split, x, (0, 0, 0, 1)).total, tg.explain_grad(split, x, (0, 0, 0, 0)).total] == [0.5, 0.0]
    assert tg.explain_grad(split, x, (0, 0, 0, 0)).note == "The cell has won no window."


def test_a_norm_shows_mean_variance_and_what_is_scaled():
    x = Tensor([[1.0, 5.0], [3.0, 5.0]], requires_grad=True)
    w, b = Tensor([2.0, 1.0], requires_grad=True), Tensor([0.5, 0.0], requires_grad=True)
    y = F.batch_norm(x, None, None, w, b, training=True, eps=3.0)
    assert [" ".join(line.split()) for line in str(tg.explain(y, (1, 0))).splitlines()] == [
        "batch_norm: y[1,0] = w · (x - mean)/σ + b = 1.5",
        "mean of 2 values 2",
        "var = Σ (x - mean)^2 / n of 2 values 1",
        "σ = √(var + eps) √(1 + 3) 2",
        "(x[1,0] - mean) / σ (3 - 2) / 2 0.5",
        "-" * 42,
        "w[0] · (x[1,0] - mean)/σ 2 · 0.5 1",
        "b[0] 0.5",
        "sum of 2 terms 1.5",
    ]
    for weight, bias, formula in ((w, None, "w · (x - mean)/σ"), (None, b, "(x - mean)/σ + b")):
        assert tg.explain(F.batch_norm(x, None, None, weight, bias, training=True), (0, 0)).formula == formula
    square = tg.explain(F.rms_norm(x, (2,)), (0, 0))
    assert [step.text for step in square.steps[:2]] == ["mean square", "σ = √(var + eps)"]
    assert square.steps[0].value == 13.0


def test_nine_products_make_the_sixty_five_of_the_textbook():
    x, w = (
        Tensor(np.arange(1.0, 10.0).reshape(1, 1, 3, 3)),
        Tensor([[[[1.0, 2, 1], [2, 1, 2], [1, 2, 1]]]], dtype="float64"),
    )
    shown = tg.explain(F.conv2d(x, w.requires_grad_()))
    assert [term.numbers for term in shown.terms] == [f"{k} · {(1, 2)[k % 2 == 0]}" for k in range(1, 10)]
    assert shown.value == shown.total == 65.0


def test_what_no_window_reaches_says_so():
    x = Tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    w = Tensor(np.ones((1, 1, 1, 1)))
    for y in (F.conv2d(x, w, stride=2), F.avg_pool2d(x, 1, stride=2)):
        shown = tg.explain_grad(y.sum(), x, (0, 0, 0, 1))
        assert (shown.terms, shown.value, shown.note) == ((), 0.0, "No window reads this pixel.")
        assert tg.explain_grad(y.sum(), x, (0, 0, 0, 2)).note == ""
    spread = F.conv_transpose2d(x, w, stride=2)
    shown = tg.explain(spread, (0, 0, 1, 0))
    assert (shown.terms, shown.value, shown.note) == ((), 0.0, "No kernel reaches this cell.")
    assert tg.explain(spread, (0, 0, 2, 0)).note == ""
    assert tg.explain(F.conv2d(x, w), (0, 0, 2, 0)).note == ""


def test_a_nan_wins_every_comparison_and_ties_share_an_extremum():
    x = Tensor([[[[1.0, np.nan, 3.0, np.nan]]]], requires_grad=True)
    for y in (F.max_pool2d(x, (1, 4)), x.amax(3, keepdim=True)):
        shown = tg.explain(y, (0, 0, 0, 0))
        assert shown.terms[0].text == "x[0,0,0,1]"
        assert shown.agrees
    t = Tensor([2.0, 1.0, 2.0], requires_grad=True)
    assert tg.explain_grad(t.amax(), t, 2).total == 0.5
    assert tg.explain_grad(t.amax(), t, 1).note == "t[1] is not the extremum."
    assert [tg.explain(f).formula for f in (t.amax(), t.amin())] == ["max x", "min x"]
    assert [len(tg.explain_grad(t.amin(), t, k).terms) for k in range(3)] == [0, 1, 0]


KINKS = [
    (lambda x, how: tg.maximum(x, np.array([1.0, 5.0, 2.0]), ties=how), ("first", "last", "split")),
    (lambda x, how: tg.maximum(np.array([1.0, 5.0, 2.0]), x, ties=how), ("first", "last", "split")),
    (lambda x, how: tg.minimum(x, np.array([1.0, 5.0, 2.0]), ties=how), ("first", "last", "split")),
    (lambda x, how: tg.minimum(np.array([1.0, 5.0, 2.0]), x, ties=how), ("first", "last", "split")),
    (lambda x, how: tg.amax(x, ties=how), ("first", "last", "split")),
    (lambda x, how: tg.amin(tg.stack([x, -x]), (1, 0), ties=how), ("first", "last", "split")),
    (lambda x, how: tg.clip(x, -1, 1.0, at_bounds=how), (0.0, 0.5, 1.0)),
    (lambda x, how: tg.clip(x, np.array([[0.0], [1.0]]), how), (np.array([1.0, 2.0, 1.0]), None)),
    (lambda x, how: tg.abs(x, at_zero=how), (-1.0, 0.0, 1.0)),
]


@pytest.mark.parametrize("values", [(1.0, -1.0, 1.0), (0.0, 1.0, 2.0), (np.nan, 0.0, np.nan), (1.0, np.nan, 1.0)])
@pytest.mark.parametrize("kink", KINKS)
def test_a_kink_is_explained_by_the_convention_that_it_was_recorded_with(kink, values):
    f, choices = kink
    for how in choices:
        x = Tensor(np.array([values, values[::-1]]) if isinstance(how, np.ndarray) or how is None else np.array(values))
        y = f(x.requires_grad_(), how)
        loss = (y * Draw.seeded(1).array(*y.shape)).sum()
        (expected,) = tg.grad(loss, x, retain_graph=True)
        for at in np.ndindex(x.shape):
            shown = tg.explain_grad(loss, x, at)
            assert np.isclose(shown.total, expected.numpy()[at], rtol=1e-12, atol=1e-12, equal_nan=True)
            assert shown.agrees
        for at in np.ndindex(y.shape):
            assert tg.explain(y, at).agrees


def test_the_note_of_a_tie_names_its_convention():
    t = Tensor([2.0, 1.0, 2.0], requires_grad=True)
    with tg.conventions(max_ties="last"):
        top = t.amax()
    first, _, last = (tg.explain_grad(top, t, k) for k in range(3))
    assert (first.total, first.note) == (0.0, "2 cells hold the extremum: ties='last'.")
    assert (last.total, last.note, last.formula) == (1.0, "", "∂out · 1[x = out]")


@pytest.mark.parametrize("f", [lambda x: x.clamp(-0.7, 0.7), lambda x: F.hardtanh(x, -0.7, 0.7)])
def test_a_bound_is_rounded_as_the_op_rounds_it(f):
    x = tg.tensor([0.7, -0.7, 0.69, 0.1], dtype=tg.float32, requires_grad=True)
    loss = f(f(x)).sum()
    for k in range(4):
        shown = tg.explain_grad(loss, x, k)
        assert shown.total == shown.value


def test_a_choice_says_what_was_chosen_and_where_the_gradient_goes():
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    out = tg.where(np.array([True, False]), x, y)
    assert [tg.explain(out, k).terms[0].text for k in (0, 1)] == ["x[0]", "y[1]"]
    assert tg.explain(out, 1).note == "The condition is False there."
    shown = [tg.explain_grad(out.sum(), t, 0) for t in (x, y)]
    assert [(s.terms[0].text, s.total) for s in shown] == [
        ("∂out[0] · 1[condition]", 1.0), ("∂out[0] · 1[not condition]", 0.0),
    ]  # fmt: skip
    assert [tg.explain_grad((x - y).sum(), t, 0).formula for t in (x, y)] == ["∂out", "-∂out"]


def test_where_a_condition_does_not_hold_an_infinite_gradient_is_nothing():
    x = Tensor([-1.0, 4.0], requires_grad=True)
    loss = (F.relu(x) * np.inf).sum()
    shown = tg.explain_grad(loss, x, 0)
    assert (shown.total, shown.value) == (0.0, 0.0)


def test_a_mean_of_a_window_shows_what_it_divides_by():
    x = Tensor(np.arange(9.0).reshape(1, 1, 3, 3), requires_grad=True)
    with_padding = tg.explain(F.avg_pool2d(x, 2, padding=1), (0, 0, 0, 0))
    assert [term.text for term in with_padding.terms] == ["padding · 1/4"] * 3 + ["x[0,0,0,0] · 1/4"]
    assert with_padding.formula == "Σ x over the window / count"
    without = tg.explain(F.avg_pool2d(x, 2, padding=1, count_include_pad=False), (0, 0, 1, 0))
    assert [term.text for term in without.terms if term.value] == ["x[0,0,1,0] · 1/2", "x[0,0,2,0] · 1/2"]
    assert tg.explain_grad(tg.sum_pool2d(x, 2).sum(), x, (0, 0, 0, 0)).formula == "Σ ∂out"
    assert tg.explain_grad(F.avg_pool2d(x, 2).sum(), x, (0, 0, 0, 0)).formula == "Σ ∂out / count"


def test_a_single_number_is_its_own_sum_and_its_own_softmax():
    x = Tensor(2.5, requires_grad=True)
    for y, value in ((x.sum(), 2.5), (x.softmax(0), 1.0), (x.log_softmax(-1), 0.0)):
        adds_up(tg.explain(y), value)


def test_layers_lend_their_names_to_weights_and_results():
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    out = model(tg.ones(1, 1, 3, 3))
    shown = tg.explain(out, depth=3)
    assert shown.terms[0].text.endswith(" · 3.weight[0,0]")
    inner = shown.below[0].below[0]
    assert inner.title == "relu: relu.1[0,0,0,0]"
    assert inner.terms[0].text == "max(0, conv2d.0[0,0,0,0])"


def test_long_lists_are_cut_in_the_middle_with_what_is_left_out():
    x, w = Tensor(np.arange(10.0)), Tensor(np.ones(10), requires_grad=True)
    y = x @ w
    shown = tg.explain(y, max_terms=5)
    lines = str(shown).splitlines()
    assert len(shown.terms) == 10
    assert lines[0] == "matmul: y = Σ x[i,k] · y[k,j] = 45"
    assert [line.split()[0] for line in lines[1:]] == ["x[0]", "x[1]", "x[2]", "...", "x[8]", "x[9]", "sum"]
    assert lines[4].split() == ["...", "5", "more,", "which", "add", "up", "to", "25"]
    assert lines[-1].split() == ["sum", "of", "10", "terms", "45"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert "more" not in str(tg.explain(y, max_terms=10))


def test_an_explanation_writes_itself_as_markdown_html_and_latex():
    x, w = Tensor([[-1.0, 2.0]]), Tensor([[3.0, -4.0]], requires_grad=True)
    shown = tg.explain(F.linear(x, w), (0, 0))
    assert shown.markdown().splitlines()[2:] == [
        "| term | numbers | value |",
        "| --- | ---: | ---: |",
        "| x[0,0] · w[0,0] | -1 · 3 | -3 |",
        "| x[0,1] · w[0,1] | 2 · (-4) | -8 |",
        "| sum of 2 terms |  | -11 |",
    ]
    assert shown.latex().splitlines() == [
        r"\begin{aligned}",
        r"  \mathrm{out}_{0,0} &= \left(-1 \cdot 3\right) \\",
        r"  &\quad + 2 \cdot (-4) \\",
        r"  &= -11",
        r"\end{aligned}",
    ]
    page = shown._repr_html_()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert cells[3:] == ["x[0,1] · w[0,1]", "2 · (-4)", "-8", "sum of 2 terms", "", "-11"]
    assert page.count("<div>") == page.count("</div>") == 1
    deep = tg.explain(F.relu(F.linear(x, w)), (0, 0), depth=2)
    assert deep._repr_html_().count("<details>") == 1
    assert deep.latex().count(r"\begin{aligned}") == 2
    assert "max(0, linear[0,0])" in deep.markdown()


@pytest.mark.parametrize("name", sorted(FORWARD))
def test_latex_is_read_by_a_reader_of_latex(name):
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="matplotlib is not installed (the extra plot)")
    _, out, at = scene(name, Draw.seeded(1))
    lines = tg.explain(out, at, max_terms=100).latex().splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{aligned}", r"\end{aligned}")
    reader = mathtext.MathTextParser("path")
    for line in lines[1:-1]:
        reader.parse(f"${line.replace('&', '').removesuffix(chr(92) * 2)}$")


def test_latex_writes_names_powers_and_what_is_left_out_as_latex_has_them():
    my_x = Tensor([[1.5, 2.0]], requires_grad=True)
    y = Tensor([[2.0, -1.0]])
    assert r"&= 1.5^{2} \\" in tg.explain(my_x**y, (0, 0)).latex()
    assert r"&= 2^{-1} \\" in tg.explain(my_x**y, (0, 1)).latex()
    total = tg.explain((my_x.reshape(2, 1) * Tensor(np.ones((1, 3)))).sum(), max_terms=2).latex()
    assert r"\underbrace{7}_{\text{4 more}}" in total
    two = Tensor([2.0], requires_grad=True)
    assert r"&= \sqrt{2} \\" in tg.explain(two.sqrt()).latex()


def test_html_and_markdown_escape_what_stands_for_something_there():
    x = Tensor([-2.0], requires_grad=True)
    assert "1[x &gt; 0]" in tg.explain_grad(F.relu(x).sum(), x, 0)._repr_html_()
    assert r"| \|x[0]\| |" in tg.explain(x.abs(), 0).markdown()


def test_a_value_that_nothing_keeps_is_asked_for_and_found_in_each_of_three_ways():
    def hidden():
        return Tensor(np.ones((20, 20)), requires_grad=True) * 2.0

    y = hidden().sum()
    words = r"explain: sum: the value of its input 'x', shape \(20, 20\), is not known any more: nothing keeps it, or "
    words += r"what it is computed from; pass the Tensor with names=.* under tg.watch\(values=True\)"
    with pytest.raises(UnknownValue, match=words):
        tg.explain(y)
    h = hidden()
    assert tg.explain(h.sum()).total == 800.0  # the caller's variable
    assert tg.explain((box := [hidden()])[0].sum(), names={"h": box[0]}).terms[0].text == "h[0,0]"
    with tg.watch(values=True):
        y = hidden().sum()
    assert tg.explain(y).total == 800.0
    assert tg.explain(y, depth=3).below[0].title == "mul: mul[0,0]"


@pytest.mark.parametrize("hold", [lambda w, b: [w, b], lambda w, b: (w, b), lambda w, b: {"weight": w, "bias": b}])
def test_values_are_found_in_the_caller_s_lists_and_dicts(hold):
    held = hold(Tensor(np.ones((3, 2)), requires_grad=True), Tensor(np.full(3, 4.0), requires_grad=True))
    w, b = held.values() if isinstance(held, dict) else held
    y = F.linear(Tensor(np.ones((1, 2))), w, b)
    del w, b
    assert tg.explain(y, (0, 2)).total == 6.0


def test_a_value_that_nothing_keeps_is_computed_again_from_what_is_known():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    deep = x
    for _ in range(3000):  # nothing recurses
        deep = deep + 1.0
    assert tg.explain(deep, (1, 2)).terms[0].value == 3004.0
    chosen = F.relu(x.reshape(3, 2) * 2.0 - 3.0)
    shown = tg.explain(chosen, (2, 1), depth=4)
    names = [shown.title.split(":")[0]]
    while shown.below:
        shown = shown.below[0]
        names.append(shown.title.split(":")[0])
    assert names == ["relu", "sub", "mul", "reshape"]


def test_nothing_is_computed_again_from_a_parameter_that_a_backward_dropped():
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    y = x[np.array([0, 0])] + 0.5
    z = y * Tensor([3.0], requires_grad=True)
    del y
    assert tg.explain(z, (1, 1)).total == 7.5
    z.sum().backward()
    with pytest.raises(UnknownValue, match="mul: the value of its input 'x'"):
        tg.explain(z, (1, 1))


def test_below_a_known_number_what_is_unknown_says_so():
    def hidden():
        return (Tensor(np.ones((20, 20)), requires_grad=True) + 2.0).sqrt()

    y = hidden() * Tensor(np.full((20, 20), 2.0), requires_grad=True)
    shown = tg.explain(y, (0, 0), depth=2)
    assert shown.total == y.numpy()[0, 0]
    below = shown.below[0]
    assert (below.title, below.terms, below.value) == ("sqrt: sqrt[0,0]", (), float(np.float64(3.0) ** 0.5))
    assert "is not known any more" in str(below)


def test_a_value_changed_in_place_is_not_taken_for_the_old_one():
    w = Tensor([1.0, 2.0], requires_grad=True)
    x = Tensor([3.0, 4.0])
    y = (x * w).sum()
    mul = x * w
    with tg.no_grad():
        w += 1.0
    with pytest.raises(UnknownValue, match=r"mul: the value of its input 'y', shape \(2,\), was changed in place"):
        tg.explain(mul, 0)
    del y


def test_a_replaced_value_shows_as_a_sum_that_does_not_agree():
    w = Tensor([1.0, 2.0], requires_grad=True)
    y = w + 1.0
    w.data = Tensor([5.0, 6.0])
    shown = tg.explain(y, 0)
    assert not shown.agrees
    assert "The engine's value is 2, the terms add up to 6: a value was replaced since the op ran" in str(shown)


def test_after_a_backward_what_it_dropped_is_named():
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    loss, tall, pooled = F.cross_entropy(x, [1]), x[[0, 0]], F.max_pool2d(x[None, None], (1, 2)).sum()
    for root in (loss, tall.sum(), pooled):
        root.backward()
    with pytest.raises(UnknownValue, match=r"its parameter 'labels' \(int64\(1,\)\) was dropped by a backward"):
        tg.explain(loss)
    with pytest.raises(RuntimeError, match="was freed by an earlier backward"):
        tg.explain_grad(loss, x, (0, 0))
    assert tg.explain(F.relu(x), (0, 1)).total == 2.0


def test_an_op_without_an_explainer_says_so_and_is_shown_as_one_step():
    x = Tensor([[1.5, -2.0, 5.0]], requires_grad=True, dtype="float64")
    y = tg.remainder(x, 2.0)
    shown = tg.explain(y, (0, 2))
    assert shown.note == "explain: remainder is shown as one step; it has no explainer."
    assert (shown.value, shown.total) == (1.0, 1.0)
    gradient = tg.explain_grad((y * y).sum(), y, (0, 0))
    adds_up(gradient, 3.0)
    loss = (y * Tensor([[1.0, 2.0, 4.0]], dtype="float64")).sum()
    shown = tg.explain_grad(loss, x, (0, 1))
    adds_up(shown, 2.0)
    assert shown.note == "explain_grad: remainder is shown by its formula; it has no explainer."
    assert shown.formula == registry["remainder"].formulas["x"]


ONE = Tensor([[1.0, 2.0]], requires_grad=True)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (TypeError, "explain: a list; a Tensor is needed", lambda: tg.explain([1.0])),
        (RuntimeError, r"explain: this Tensor, shape \(1, 2\), is a leaf", lambda: tg.explain(ONE, (0, 0))),
        (RuntimeError, "is no result of a recorded op", lambda: tg.explain(ONE.detach(), (0, 0))),
        (IndexError, r"explain: which number of shape \(1, 2\)\?", lambda: tg.explain(ONE * 2)),
        (IndexError, r"index \(0,\) has 1 numbers for the 2 axes of \(1, 2\)", lambda: tg.explain(ONE * 2, 0)),
        (IndexError, r"index \(0, 2\) is out of range for shape \(1, 2\)", lambda: tg.explain(ONE * 2, (0, 2))),
        (TypeError, r"index is \(0, 1.0\); a tuple of ints", lambda: tg.explain(ONE * 2, (0, 1.0))),
        (ValueError, "explain: depth=0; an int of at least 1", lambda: tg.explain(ONE * 2, (0, 0), depth=0)),
        (ValueError, "explain: max_terms=True; an int", lambda: tg.explain(ONE * 2, (0, 0), max_terms=True)),
        (TypeError, "explain_grad: loss is a float", lambda: tg.explain_grad(1.0, ONE)),
        (TypeError, "explain_grad: w is a list", lambda: tg.explain_grad(ONE.sum(), [1.0])),
        (ValueError, r"explain_grad: the loss has shape \(1, 2\); one number", lambda: tg.explain_grad(ONE * 2, ONE)),
        (RuntimeError, "explain_grad: w is the loss itself, or one", lambda: tg.explain_grad(ONE.sum(), ONE.detach())),
        (RuntimeError, "explain_grad: the loss does not depend on w",
         lambda: tg.explain_grad(ONE.sum(), Tensor([1.0], requires_grad=True), 0)),
        (IndexError, "explain_grad: index", lambda: tg.explain_grad(ONE.sum(), ONE, (0, 0, 0))),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(error, words, call):
    with pytest.raises(error, match=words):
        call()


def test_float32_networks_agree_within_their_rounding():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    out = model(Tensor(np.random.default_rng(0).normal(size=(2, 2, 5, 5)), dtype="float32"))
    loss = F.cross_entropy(out, [1, 2])
    assert tg.explain(loss, depth=4, max_terms=6).agrees
    for w in model.parameters():
        shown = tg.explain_grad(loss, w, (0,) * w.ndim)
        assert shown.agrees
        assert shown.total == pytest.approx(shown.value, rel=1e-3, abs=1e-6)


def test_explaining_leaves_the_graph_and_its_gradients_alone():
    t = net()
    tg.explain(t["loss"], depth=5)
    tg.explain_grad(t["loss"], t["w"], (0, 0, 0, 0))
    assert t["w"].grad is None
    t["loss"].backward()
    assert t["w"].grad is not None


def test_an_explanation_keeps_no_graph_alive():
    t = net()
    node = weakref.ref(t["y"].node)
    shown = tg.explain(t["loss"], depth=5, names=t), tg.explain_grad(t["loss"], t["w"], (0, 0, 0, 0), names=t)
    del t
    gc.collect()
    assert node() is None
    assert shown[0].below


class Squared(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


def test_what_a_function_gave_is_not_computed_again_but_asked_for():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    total = Squared.apply(x).sum()
    text = r"explain: sum: the value of its input 'x', shape \(2,\), is not known any more: .* under tg.watch"
    with pytest.raises(UnknownValue, match=text):
        tg.explain(total)
    with pytest.raises(UnknownValue, match="mul: the value of its input 'y'"):
        tg.explain(3.0 * (Squared.apply(x) + 1.0).sum())
    y = Squared.apply(x)
    assert tg.explain((y + 1.0).sum()).total == 7.0
    with tg.watch(values=True):
        total = Squared.apply(x).sum()
    assert tg.explain(total, depth=2).total == 5.0


def test_a_hook_on_the_tensor_itself_is_named_where_the_terms_are_apart_from_the_gradient():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    h = x * 3.0
    loss = (h * h).sum()
    handle = x.register_hook(lambda g: g * 10.0)
    found = tg.explain_grad(loss, x, 1)
    assert (found.value, found.total, found.agrees) == (360.0, 36.0, False)
    assert str(found).endswith("the terms add up to 36: a hook on x changed the gradient.")
    assert "changed the gradient." in found.markdown()
    handle.remove()
    assert tg.explain_grad(loss, x, 1).agrees
    x.register_hook(lambda g: None)
    assert "hook" not in str(tg.explain_grad(loss, x, 1))
    h.register_hook(lambda g: g * 5.0)
    found = tg.explain_grad(loss, x, 1)
    assert (found.value, found.total, found.agrees) == (180.0, 180.0, True)


def test_the_hook_of_a_module_counts_in_what_reaches_its_input():
    layer = nn.Linear(2, 3)
    layer.register_full_backward_hook(lambda module, g, out: (g[0] * 10.0,))
    x = tg.Tensor(np.array([[1.0, 2.0]], np.float32), requires_grad=True)
    found = tg.explain_grad(layer(x).sum(), x, (0, 1))
    assert found.agrees
    assert found.value == pytest.approx(10 * layer.weight.numpy()[:, 1].sum(), rel=1e-5)
