"""gradcheck, gradgradcheck, the sample protocol and the strategies, as users meet them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from tinygrad_cnn.declaration import registry
from tinygrad_cnn.geometry import conv2d_geometry, pool2d_geometry
from tinygrad_cnn.graph import Tensor, wrap
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import exp, mul, sin
from tinygrad_cnn.ops.pool import max_pool2d, sum_pool2d
from tinygrad_cnn.ops.reduce import sum
from tinygrad_cnn.primitive import op
from tinygrad_cnn.shapes import broadcast_shape
from tinygrad_cnn.testing import (
    Draw,
    GradientError,
    adjoint_check,
    broadcastable_arrays,
    conv_problems,
    exact_check,
    gradcheck,
    gradgradcheck,
    graphs,
    pool_problems,
)
from tinygrad_cnn.testing.gradients import EPS, STEP, TOLERANCE, direction
from tinygrad_cnn.testing.properties import rule_error

X = np.array([[0.3, -0.7, 1.1], [0.9, 0.1, -0.5]])


@pytest.fixture
def off_by():
    """product(x, y) whose gradient for y is multiplied by 1 + d, in one entry or in all."""

    def make(d, entry=None):
        registry.pop("product", None)

        @op
        def product(x, y, /):
            return x * y

        def for_y(g, x):
            right = g * x
            factor = np.ones(x.shape)
            factor[... if entry is None else entry] += d
            return right * factor

        product.vjp(x=lambda g, y: g * y, y=for_y)
        return product

    yield make
    registry.pop("product", None)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("full", [False, True])
def test_right_gradients_pass(check, full):
    assert check(lambda x, y: sum(sin(x * y) * exp(y), 1), [X, X + 0.05], full=full)


def test_step_and_tolerance_are_those_of_the_error_bound():
    assert STEP == pytest.approx(np.finfo(float).eps ** (1 / 3))
    assert pytest.approx(50 * np.finfo(float).eps ** (2 / 3)) == TOLERANCE
    assert EPS == np.finfo(float).eps


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(0, 3))
def test_directions_are_unit_vectors_over_all_inputs_with_no_small_entry(seed, n, m):
    u = direction(np.random.default_rng(seed), [np.zeros(n), np.zeros((m, 2))])
    flat = np.concatenate([part.ravel() for part in u])
    assert np.linalg.norm(flat) == pytest.approx(1)
    assert np.abs(flat).min() >= 0.1 / np.sqrt(flat.size)


@pytest.mark.parametrize("d", [1e-1, 1e-3, 1e-5, -1e-6])
def test_a_gradient_that_is_off_by_a_factor_is_found_and_named(off_by, d):
    with pytest.raises(GradientError, match=r"gradcheck: along a random direction the rules give ") as caught:
        gradcheck(off_by(d), [X, X + 2.0])
    text = str(caught.value)
    assert "inputs[0] (2, 3): right" in text
    assert "inputs[1] (2, 3): wrong" in text
    assert "the worst entry is inputs[1][1, 2]: rule" in text


@pytest.mark.parametrize("full", [False, True])
def test_one_wrong_entry_is_found_and_named(off_by, full):
    with pytest.raises(GradientError, match=r"inputs\[1\]\[1, 0\]"):
        gradcheck(off_by(1e-4, (1, 0)), [X, X + 2.0], full=full)


def test_a_wrong_second_derivative_is_found_and_named():
    try:

        @op
        def cube(x, /):
            return x * x * x

        def rule(g, x):
            constant = x.array if isinstance(x, Tensor) else x
            return g * (constant * constant * 3.0)

        cube.vjp(x=rule)
        assert gradcheck(cube, X)
        with pytest.raises(
            GradientError, match=r"gradgradcheck: .*\n.*inputs\[0\] \(2, 3\): wrong.*\n.*cotangent.*right"
        ):
            gradgradcheck(cube, X)
    finally:
        registry.pop("cube", None)


def test_a_detached_gradient_is_found():
    with pytest.raises(GradientError, match="the rules give 0, central differences"):
        gradcheck(lambda x: wrap(np.sin(x.array)), X)
    with pytest.raises(GradientError):
        gradcheck(lambda x: sin(x) * x.detach(), X)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
class TestRefusals:
    def test_float32_inputs(self, check):
        with pytest.raises(TypeError, match=rf"{check.__name__}: inputs\[1\] is float32 \(2, 3\); .* need float64"):
            check(mul, [X, X.astype(np.float32)])

    def test_inputs_that_are_no_arrays(self, check):
        with pytest.raises(TypeError, match=r"inputs\[0\] is a float; a float64 Tensor or ndarray is needed"):
            check(sin, [1.0])

    def test_no_inputs(self, check):
        with pytest.raises(ValueError, match="there are no inputs"):
            check(sin, [])

    def test_results_that_are_no_tensors(self, check):
        with pytest.raises(TypeError, match="f returned a tuple; it must return one Tensor"):
            check(lambda x: (x, x), X)

    def test_results_that_are_not_float64(self, check):
        with pytest.raises(TypeError, match="f returned bool for float64 inputs"):
            check(lambda x: x > 0, X)

    def test_results_that_are_not_finite(self, check):
        with pytest.raises(ValueError, match="f is not finite at the inputs"):
            check(lambda x: x / 0.0, X)

    def test_functions_that_are_not_deterministic(self, check):
        rng = np.random.default_rng(0)
        with pytest.raises(ValueError, match="another result for the same inputs; fix its random numbers"):
            check(lambda x: x * rng.normal(), X)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_no_probe_would_pass_any_rule_and_is_refused(off_by, check, full):
    wrong = off_by(1.0)
    for probes in (0, -3, np.int64(0)):
        with pytest.raises(ValueError, match=f"{check.__name__}: probes={probes}; a whole number >= 1 is"):
            check(wrong, [X, X + 2], probes=probes, full=full)
    for probes in (1.5, "2", None, True):
        with pytest.raises(TypeError, match=f"{check.__name__}: probes={probes!r}; a whole number >= 1 is"):
            check(wrong, [X, X + 2], probes=probes, full=full)
    assert check(mul, [X, X + 2], probes=np.int8(1), full=full)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("gradcheck", lambda seed: gradcheck(mul, [X, X], seed=seed)),
        ("gradgradcheck", lambda seed: gradgradcheck(mul, [X, X], seed=seed)),
        ("exact_check", lambda seed: exact_check(mul, [1, 2], [3, 4], seed=seed)),
        ("adjoint_check", lambda seed: adjoint_check(mul, [1, 2], [3, 4], seed=seed)),
        ("Draw.seeded", lambda seed: Draw.seeded(seed)),
    ],
)
def test_seeds_are_whole_numbers_from_zero(name, run):
    assert run(np.uint8(0))
    with pytest.raises(ValueError, match=f"^{name}: seed=-1; a whole number >= 0 is needed$"):
        run(-1)
    for seed in (1.5, "2", False):
        with pytest.raises(TypeError, match=f"^{name}: seed={seed!r}; a whole number >= 0 is needed$"):
            run(seed)


@pytest.mark.parametrize(
    ("name", "argument", "run"),
    [
        ("rule_error", "examples", lambda n: rule_error(mul, n)),
        ("broadcastable_arrays", "k", broadcastable_arrays),
        ("graphs", "max_steps", graphs),
    ],
)
def test_counts_are_whole_numbers_from_one(name, argument, run):
    assert run(1) is not None
    for n, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match=f"^{name}: {argument}={n!r}; a whole number >= 1 is needed$"):
            run(n)


@pytest.mark.parametrize("full", [False, True])
def test_another_result_on_tensors_than_on_arrays_is_not_taken_for_randomness(full):
    registry.pop("same", None)

    @op
    def same(x, /):
        return x * 1.0

    same.vjp(x=lambda g: g * (1.0000001 if isinstance(g, Tensor) else 1.0))
    try:
        with pytest.raises(
            GradientError,
            match=r"gradgradcheck: the gradient with create_graph=True is another than without, apart by \d\.\d+e-07: "
            "a rule, or f, computes something else on Tensors that require grad than on arrays",
        ):
            gradgradcheck(same, X, full=full)
        with pytest.raises(
            GradientError,
            match=r"gradcheck: f gives another result while gradients are recorded than under no_grad, apart by 1.1;",
        ):
            gradcheck(lambda x: x * (2.0 if x.requires_grad else 1.0), X, full=full)
        with pytest.raises(GradientError, match="than under no_grad, apart by inf;"):
            gradcheck(lambda x: x if x.requires_grad else x[:1], X, full=full)
    finally:
        registry.pop("same", None)


def test_the_inputs_of_gradcheck_keep_their_values_and_gradients():
    x = Tensor(X, requires_grad=True)
    assert gradcheck(lambda x: x * x, x)
    assert x.grad is None
    assert np.array_equal(x.numpy(), X)


def test_empty_inputs_and_scalars_pass():
    assert gradcheck(lambda x, y: x * y, [np.zeros((0, 3)), np.array(2.0)])
    assert gradgradcheck(lambda x: x * x, np.array(2.0))


class TestDraw:
    @given(st.data())
    def test_arrays_of_one_sample_have_no_ties_and_no_zeros(self, data):
        draw = Draw.of(data)
        values = np.concatenate([draw.array(*draw.shape()).ravel() for _ in range(4)])
        gaps = np.diff(np.sort(np.append(values, 0.0)))
        assert gaps.min() > 1000 * STEP

    @given(st.data())
    def test_one_array_is_a_shuffle_of_odd_multiples_of_a_tenth(self, data):
        x = Draw.of(data).array(3, 4)
        assert np.sort(x.ravel()) == pytest.approx((np.arange(12) - 6 + 0.5) * 0.2)

    @given(st.data())
    def test_ranges_are_as_promised(self, data):
        draw = Draw.of(data)
        assert 2 <= draw.size(2, 5) <= 5
        assert draw.choice("abc") in "abc"
        p = draw.probabilities(2, 5)
        assert p.sum(-1) == pytest.approx(1)
        assert p.min() > 0.05
        assert np.abs(draw.logits(9)).max() <= 5
        positive = draw.positive(4)
        assert ((positive >= 0.5) & (positive <= 2)).all()
        assert draw.positive_like(p).shape == p.shape
        labels = draw.labels(3, 7)
        assert labels.dtype == np.int64
        assert 0 <= labels.min() <= labels.max() < 3
        assert draw.booleans(2, 3).dtype == np.bool_

    def test_a_seed_repeats_its_draws(self):
        first, second = (Draw.seeded(7) for _ in range(2))
        assert [first.size(0, 99) for _ in range(5)] == [second.size(0, 99) for _ in range(5)]
        assert np.array_equal(first.array(3, 4), second.array(3, 4))


class TestStrategies:
    @given(broadcastable_arrays(3))
    def test_arrays_broadcast(self, arrays):
        assert len(arrays) == 3
        broadcast_shape(*(a.shape for a in arrays))

    @given(conv_problems())
    def test_conv_problems_are_valid_and_right(self, problem):
        x, w, b, params = problem
        assert conv2d(x, w, b, **params).shape == conv2d_geometry(x.shape, w.shape, **params).out_shape
        inputs = [a for a in (x, w, b) if a is not None]
        assert gradcheck(lambda *xs: conv2d(*xs, **params), inputs, probes=1)

    @given(pool_problems())
    def test_pool_problems_are_valid_and_right(self, problem):
        x, params = problem
        assert max_pool2d(x, **params).shape == pool2d_geometry(x.shape, **params).out_shape
        assert np.isfinite(max_pool2d(x, **params)).all()
        assert gradcheck(lambda x: max_pool2d(x, **params), x, probes=1)
        assert gradcheck(lambda x: sum_pool2d(x, **params), x, probes=1)

    @pytest.mark.parametrize(
        "edge",
        [
            lambda p: p.x.shape[0] == 1 and p.w.shape[0] == 1,
            lambda p: p.x.shape[2] != p.x.shape[3] and p.w.shape[2] != p.w.shape[3],
            lambda p: p.w.shape[2] % 2 == 0,
            lambda p: p.w.shape[2] > p.params["stride"][0] > 1,
            lambda p: p.params["stride"][1] > p.w.shape[3],
            lambda p: p.params["dilation"][0] > p.params["stride"][0] and p.w.shape[2] > 1,
            lambda p: p.params["groups"] == p.x.shape[1] > 1,
            lambda p: p.params["groups"] > 1 and p.w.shape[1] > 1 and p.w.shape[0] > p.params["groups"],
            lambda p: isinstance(p.params["padding"], tuple) and p.params["padding"][0] == (0, 2),
            lambda p: p.params["padding"] == "same_lower" and p.params["stride"][0] > 1,
            lambda p: p.b is None,
        ],
    )
    def test_H66_the_edges_of_convolution_are_drawn(self, edge):
        find(conv_problems(), edge, settings=settings(max_examples=2000, database=None, deadline=None))

    def test_failing_convolutions_shrink_to_a_small_one(self):
        small = find(
            conv_problems(), lambda p: p.params["stride"][0] > 1, settings=settings(database=None, deadline=None)
        )
        assert small.x.shape == (1, 1, 1, 1)
        assert small.w.shape == (1, 1, 1, 1)
        assert small.params == {"stride": (2, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}

    @pytest.mark.parametrize(
        "edge",
        [
            lambda p: p.params["stride"] is None,
            lambda p: p.params["stride"] is not None and p.params["stride"][0] > p.params["kernel_size"][0],
            lambda p: p.params["padding"][0][0] != p.params["padding"][0][1],
            lambda p: p.params["ceil_mode"] and p.params["dilation"][1] > 1,
        ],
    )
    def test_the_edges_of_pooling_are_drawn(self, edge):
        find(pool_problems(), edge, settings=settings(max_examples=2000, database=None, deadline=None))

    def test_graphs_share_values_and_broadcast(self):
        def shares(graph):
            used = [i for step in graph.steps for i in step.operands]
            return any(used.count(i) > 1 for i in used) and any(a.shape != graph.inputs[0].shape for a in graph.inputs)

        find(graphs(), shares, settings=settings(max_examples=2000, database=None, deadline=None))


def test_without_hypothesis_the_rest_works_and_the_strategies_name_the_extra():
    program = """
import sys
sys.modules["hypothesis"] = None
import numpy as np
import tinygrad_cnn.testing as testing
from tinygrad_cnn.ops.elementwise import mul
testing.check_op(mul, testing.Draw.seeded(0))
testing.gradcheck(lambda x: x * x, np.ones(3))
for use in (lambda: testing.graphs(), lambda: testing.Draw.of(lambda strategy: 0).size(0, 1)):
    try:
        use()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("the strategies need Hypothesis; install it with pip install 'tinygrad_cnn[test]'") == 2


def test_importing_testing_does_not_import_hypothesis():
    program = "import sys, tinygrad_cnn.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_public_name_of_testing_is_there():
    import tinygrad_cnn.testing as testing

    assert testing.__all__ == sorted(testing.__all__)
    assert all(getattr(testing, name) is not None and name in dir(testing) for name in testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        testing.nothing
