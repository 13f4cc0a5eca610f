"""Gradients at ties and kinks, as each framework has them; the numbers of the table were measured."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.conventions import _KINDS, PRESETS
from tinygrad_cnn.declaration import registry

QUARTER = [0.25] * 4
FIRST = [1.0, 0.0, 0.0, 0.0]


def gradient(f, *arrays):
    leaves = [tg.Tensor(np.array(a, np.float64), requires_grad=True) for a in arrays]
    f(*leaves).sum().backward()
    return np.concatenate([x.grad.numpy().ravel() for x in leaves]).tolist()


CASES = {
    "max_pool2d of equal cells": (lambda x: tg.max_pool2d(x, 2), np.ones((1, 1, 2, 2))),
    "max() of equal values": (lambda x: x.max(), np.ones(4)),
    "amax of equal values": (lambda x: x.amax(0), np.ones(4)),
    "max(dim) of equal values": (lambda x: x.max(0).values, np.ones(4)),
    "maximum(a, a)": (tg.maximum, np.ones(1), np.ones(1)),
    "relu at 0": (tg.relu, np.zeros(1)),
    "clamp(min=0) at 0": (lambda x: x.clamp(min=0.0), np.zeros(1)),
    "abs at 0": (tg.abs, np.zeros(1)),
    "sqrt at 0": (tg.sqrt, np.zeros(1)),
    "norm at 0": (lambda x: x.norm(), np.zeros(2)),
}
TORCH = [FIRST, QUARTER, QUARTER, FIRST, [0.5, 0.5], [0.0], [1.0], [0.0], [math.inf], [0.0, 0.0]]
TABLE = {
    "tinygrad_cnn": TORCH,
    "torch": TORCH,
    "jax": [FIRST, QUARTER, QUARTER, FIRST, [0.5, 0.5], [0.0], [0.5], [1.0], [math.inf], [math.nan, math.nan]],
    "tinygrad": [QUARTER, *TORCH[1:]],
}


@pytest.mark.parametrize("preset", TABLE)
@pytest.mark.parametrize("case", CASES)
def test_a_preset_gives_the_gradients_of_its_framework(preset, case):
    f, *arrays = CASES[case]
    wanted = TABLE[preset][list(CASES).index(case)]
    with tg.conventions(preset):
        found = gradient(f, *arrays)
    np.testing.assert_array_equal(found, wanted)
    if preset == "tinygrad_cnn":
        np.testing.assert_array_equal(gradient(f, *arrays), wanted)


@pytest.mark.parametrize("case", CASES)
def test_the_column_of_pytorch_is_what_pytorch_does(case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = {
        "max_pool2d of equal cells": lambda x: torch.nn.functional.max_pool2d(x, 2),
        "maximum(a, a)": torch.maximum,
        "relu at 0": torch.relu,
        "abs at 0": torch.abs,
        "sqrt at 0": torch.sqrt,
    }
    f, *arrays = CASES[case]
    leaves = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    theirs.get(case, f)(*leaves).sum().backward()
    found = np.concatenate([x.grad.numpy().ravel() for x in leaves])
    np.testing.assert_array_equal(found, TABLE["torch"][list(CASES).index(case)])


SINGLE = [
    ({"max_pool_ties": "last"}, "max_pool2d of equal cells", [0.0, 0.0, 0.0, 1.0]),
    ({"max_ties": "first"}, "max() of equal values", FIRST),
    ({"max_ties": "last"}, "amax of equal values", [0.0, 0.0, 0.0, 1.0]),
    ({"maximum_ties": "first"}, "maximum(a, a)", [1.0, 0.0]),
    ({"maximum_ties": "last"}, "maximum(a, a)", [0.0, 1.0]),
    ({"abs_at_zero": -1}, "abs at 0", [-1.0]),
    ({"clip_at_bounds": 0.0}, "clamp(min=0) at 0", [0.0]),
]


@pytest.mark.parametrize(("chosen", "case", "wanted"), SINGLE)
def test_one_convention_can_be_chosen_by_name(chosen, case, wanted):
    f, *arrays = CASES[case]
    with tg.conventions(**chosen):
        assert gradient(f, *arrays) == wanted
    with tg.conventions("jax", **chosen):
        assert gradient(f, *arrays) == wanted


def test_minimum_gives_ties_to_the_same_operand_as_maximum():
    with tg.conventions(maximum_ties="first"):
        assert gradient(tg.minimum, np.ones(1), np.ones(1)) == [1.0, 0.0]


def test_a_backward_after_the_block_follows_what_held_in_it():
    x = tg.Tensor(np.zeros(1), requires_grad=True)
    with tg.conventions("jax"):
        inside = x.abs()
    outside = x.abs()
    with tg.conventions("jax"):
        assert tg.grad(outside, x)[0].tolist() == [0.0]
    assert tg.grad(inside, x)[0].tolist() == [1.0]


def test_an_argument_goes_before_a_convention():
    with tg.conventions("tinygrad"):
        assert gradient(lambda x: tg.max_pool2d(x, 2, ties="first"), np.ones((1, 1, 2, 2))) == FIRST


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (lambda x: tg.nn.functional.max_pool2d(x, 2), (1, 1, 2, 2)),
        (tg.nn.MaxPool2d(2), (1, 1, 2, 2)),
        (lambda x: tg.nn.functional.max_pool1d(x, 4), (1, 1, 4)),
        (tg.nn.MaxPool1d(4), (1, 1, 4)),
    ],
)
def test_layers_and_functions_that_pool_follow_the_convention(pool, shape):
    assert gradient(pool, np.ones(shape)) == FIRST
    with tg.conventions("tinygrad"):
        assert gradient(pool, np.ones(shape)) == [0.25] * 4
    with tg.conventions(max_pool_ties="last"):
        assert gradient(pool, np.ones(shape)) == FIRST[::-1]


def test_a_convention_that_shares_names_no_index():
    x = tg.ones(1, 1, 2, 2)
    with tg.conventions("tinygrad"):
        with pytest.raises(ValueError, match=r"max_pool2d: ties='split' with return_indices=True"):
            tg.nn.functional.max_pool2d(x, 2, return_indices=True)
        assert tg.nn.functional.max_pool2d(x, 2, return_indices=True, ties="first")[1].tolist() == [[[[0]]]]


def test_blocks_nest_and_a_preset_replaces_all_that_held():
    assert tg.get_conventions() == PRESETS["tinygrad_cnn"]
    with tg.conventions(max_ties="last"):
        with tg.conventions(abs_at_zero=1.0):
            assert (tg.get_conventions()["max_ties"], tg.get_conventions()["abs_at_zero"]) == ("last", 1.0)
        with tg.conventions("torch"):
            assert tg.get_conventions() == PRESETS["tinygrad_cnn"]
        assert tg.get_conventions()["max_ties"] == "last"
    with pytest.raises(ZeroDivisionError), tg.conventions("jax"):
        1 / 0
    assert tg.get_conventions() == PRESETS["tinygrad_cnn"]


def test_the_table_and_the_ops_have_the_same_defaults():
    declared = {
        (op.name, param): op.defaults[param]
        for op in registry.values()
        for param in ("ties", "at_zero", "at_bounds")
        if param in op.params
    }
    assert {(op, param): default for ops, param, default, _ in _KINDS.values() for op in ops} == declared


def test_another_thread_keeps_its_own():
    found = []
    with tg.conventions("jax"):
        thread = threading.Thread(target=lambda: found.append(gradient(tg.abs, np.zeros(1))))
        thread.start()
        thread.join()
    assert found == [[0.0]]


@given(st.lists(st.integers(0, 2), min_size=12, max_size=12), st.sampled_from(["first", "last", "split"]))
def test_the_mass_of_the_gradient_is_the_same_for_every_choice(values, ties):
    """What flows in flows out once, to the extrema alone."""
    x = np.array(values, np.float64).reshape(2, 3, 2)
    for op in (tg.amax, tg.amin):
        for axis in (None, 1, (0, 2)):
            leaf = tg.Tensor(x, requires_grad=True)
            out = op(leaf, axis=axis, ties=ties)
            c = np.random.default_rng(0).uniform(1, 2, out.shape)
            (out * tg.Tensor(c)).sum().backward()
            g = leaf.grad.numpy()
            np.testing.assert_allclose(g.sum(axis), c, rtol=1e-15)
            kept = np.expand_dims(out.numpy(), axis if axis is not None else (0, 1, 2))
            assert not g[x != kept].any()
            if ties != "split":
                assert np.count_nonzero(g) == c.size


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=6, max_size=6), st.sampled_from(["first", "last", "split"]))
def test_the_shares_of_the_larger_and_the_smaller_add_up_to_one(values, ties):
    a, b = np.array(values).reshape(2, 3)
    for op in (tg.maximum, tg.minimum):
        g = gradient(lambda x, y, op=op: op(x, y, ties=ties), a, b)
        assert np.array_equal(np.add(g[:3], g[3:]), np.ones(3))


def test_a_script_follows_the_conventions_that_held():
    x = tg.Tensor(np.zeros(2), requires_grad=True)
    y = tg.Tensor(np.zeros(2), requires_grad=True)
    with tg.conventions(abs_at_zero=1.0, clip_at_bounds=0.5, maximum_ties="first", max_ties="last"):
        loss = (x.abs() + x.clip(0.0, 1.0) + tg.maximum(x, y) * 10.0 + tg.minimum(x, y) * 100.0).sum() + x.amax()
    names = {}
    exec(tg.to_numpy(loss, inputs={"x": x, "y": y}), names)
    loss.backward()
    assert x.grad.tolist() == [111.5, 112.5]
    assert names["gradients"]["x"].tolist() == [111.5, 112.5]
    assert names["gradients"]["y"].tolist() == y.grad.tolist() == [0.0, 0.0]


def test_what_is_no_convention_is_refused():
    with pytest.raises(ValueError, match="conventions: preset='keras'; it can be 'tinygrad_cnn', 'torch', 'jax', 't"):
        tg.conventions("keras")
    with pytest.raises(TypeError, match="conventions: there is none named 'relu'; there are max_pool_ties, max_ties"):
        tg.conventions(relu=1)
    with pytest.raises(ValueError, match="conventions: max_ties='all'; it can be 'first', 'last', 'split'"):
        tg.conventions(max_ties="all")
    with pytest.raises(ValueError, match=r"conventions: abs_at_zero=True; it can be -1.0, 0.0, 1.0"):
        tg.conventions(abs_at_zero=True)
    for op in (tg.maximum, tg.minimum):
        with pytest.raises(ValueError, match=f"{op.__name__}: ties='both'; it can be 'first', 'last' or 'split'"):
            op(np.ones(1), np.ones(1), ties="both")
    for op in (tg.amax, tg.amin):
        with pytest.raises(ValueError, match=f"{op.__name__}: ties='both'; it can be 'first', 'last' or 'split'"):
            op(np.ones(1), ties="both")
