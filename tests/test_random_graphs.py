"""Random programs of ops with shared values, diamonds, broadcasting and views."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import testing
from tinygrad_cnn.backprop import grad
from tinygrad_cnn.graph import Tensor, wrap

graphs = testing.graphs()


def leaves_of(graph):
    return [Tensor(x, requires_grad=True) for x in graph.inputs]


def random_like(x, seed):
    return np.random.default_rng(seed).uniform(0.5, 1.5, x.shape) * np.random.default_rng(seed + 1).choice(
        [-1, 1], x.shape
    )


@given(graphs, st.integers(0, 1000))
def test_gradients_agree_with_central_differences_to_second_order(graph, seed):
    testing.gradcheck(graph, graph.inputs, seed=seed)
    testing.gradgradcheck(graph, graph.inputs, seed=seed, probes=1)


@given(graphs)
def test_arrays_and_tensors_give_the_same_bits(graph):
    for plain, tensor in zip(graph.all(*graph.inputs), graph.all(*leaves_of(graph)), strict=True):
        assert np.array_equal(np.asarray(plain), tensor.array)


@given(graphs)
def test_every_run_gives_the_same_bits_and_backward_agrees_with_grad(graph):
    results = []
    for _ in range(2):
        leaves = leaves_of(graph)
        out = graph(*leaves)
        c = random_like(out, 3)
        asked = grad(out, leaves, wrap(c), retain_graph=True, allow_unused=True)
        out.backward(wrap(c))
        for leaf, g in zip(leaves, asked, strict=True):
            assert (leaf.grad is None) == (g is None)
            assert g is None or np.array_equal(leaf.grad.array, g.array)
        results.append([None if g is None else g.array.tobytes() for g in asked])
    assert results[0] == results[1]


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_outputs_and_inputs_asked_for_does_not_matter(graph, random):
    leaves = leaves_of(graph)
    values = [v for v in graph.all(*leaves) if v.requires_grad]
    cotangents = [wrap(random_like(v, i)) for i, v in enumerate(values)]
    first = grad(values, leaves, cotangents, retain_graph=True, allow_unused=True)
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = grad(
        [values[i] for i in order], leaves[::-1], [cotangents[i] for i in order], retain_graph=True, allow_unused=True
    )[::-1]
    for a, b in zip(first, shuffled, strict=True):
        assert np.array_equal(a.array, b.array)


@given(graphs)
def test_several_outputs_at_once_are_the_sum_of_one_after_the_other(graph):
    leaves = leaves_of(graph)
    values = graph.all(*leaves)[len(leaves) :]
    cotangents = [wrap(random_like(v, i)) for i, v in enumerate(values)]
    together = grad(values, leaves, cotangents, retain_graph=True, allow_unused=True)
    sums = [np.zeros(x.shape) for x in leaves]
    for value, c in zip(values, cotangents, strict=True):
        for total, g in zip(sums, grad(value, leaves, c, retain_graph=True, allow_unused=True), strict=True):
            if g is not None:
                total += g.array
    for g, total in zip(together, sums, strict=True):
        np.testing.assert_allclose(0.0 if g is None else g.array, total, rtol=1e-11, atol=1e-11)


@given(graphs)
def test_H149_gradients_of_shared_values_alias_nothing(graph):
    leaves = leaves_of(graph)
    out = graph(*leaves)
    c = wrap(random_like(out, 0))
    out.backward(c)
    held = [x.grad.array for x in leaves if x.grad is not None]
    held += [x.array for x in leaves] + [c.array, out.array]
    for a, b in itertools.combinations(held, 2):
        assert a is out.array or b is out.array or not np.may_share_memory(a, b)
    for x in leaves:
        assert x.grad is None or not np.may_share_memory(x.grad.array, out.array)


@given(graphs)
def test_a_graph_prints_as_a_program(graph):
    lines = repr(graph).splitlines()
    assert lines[0] == "Graph:"
    assert len(lines) == 1 + len(graph.inputs) + len(graph.steps)


@pytest.mark.parametrize("seed", [8082, 51697])
def test_values_of_many_axes_find_a_partner(seed):
    graph = testing.programs.graph(testing.Draw.seeded(seed), max_steps=12)
    assert max(np.ndim(value) for value in graph.all(*graph.inputs)) == 4
