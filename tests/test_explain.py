"""`explain` and `explain_grad`: the terms add up to what the engine computed, op by op, and say where they are from."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.explain.rules import BACKWARD, FORWARD
from tinygrad_cnn.explain.table import place
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.testing.samples import Draw, sample

SEEDS = range(4)


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
    for seed in SEEDS:
        tensors, out, at = scene(name, Draw.seeded(seed))
        shown = tg.explain(out, at, max_terms=3)
        adds_up(shown, out.numpy()[at])
        for factor in (factor for term in shown.terms for factor in term.factors if factor.operand >= 0):
            if factor.text.startswith(("(", "-")):
                continue  # a value made of the cell, such as a logarithm
            assert factor.text.endswith(place("", factor.index))
            assert factor.value == tensors[factor.operand].numpy()[factor.index]


GRADIENTS = sorted({*BACKWARD} | {(name, "xs") for name in ("concatenate", "stacked")})


@pytest.mark.parametrize(("name", "input"), GRADIENTS)
def test_terms_of_a_gradient_add_up_to_it(name, input):
    for seed in SEEDS:
        draw = Draw.seeded(seed)
        tensors, out, _ = scene(name, draw)
        op = registry[name]
        i = draw.size(0, len(tensors) - 1) if op.variadic else op.inputs.index(input)
        if i >= len(tensors) or tensors[i] is None:
            continue
        loss = (out * draw.array(*out.shape)).sum()
        at = one_of(draw, tensors[i].shape)
        (expected,) = tg.grad(loss, tensors[i], retain_graph=True)
        shown = tg.explain_grad(loss, tensors[i], at)
        adds_up(shown, expected.numpy()[at])
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
