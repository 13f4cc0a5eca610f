"""gradcheck and check_op name the mistake: a deliberately wrong rule for each name, and no right rule accused."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_cnn as tg
from tinygrad_cnn.ops.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from tinygrad_cnn.ops.elementwise import abs, maximum, relu
from tinygrad_cnn.ops.matmul import matmul
from tinygrad_cnn.ops.pool import max_pool2d
from tinygrad_cnn.ops.reduce import amax, sum
from tinygrad_cnn.testing import (
    Draw,
    GradientError,
    check_op,
    conv_problems,
    gradcheck,
    gradgradcheck,
)
from tinygrad_cnn.testing.mistakes import Evidence, mistakes
from tinygrad_cnn.testing.smallest import smallest_failure

RNG = np.random.default_rng(3)
A, B, SQUARE, ROW = (RNG.normal(size=shape) for shape in ((4, 3), (4, 3), (3, 3), (3,)))
IMAGE, KERNEL = RNG.normal(size=(3, 2, 6, 5)), RNG.normal(size=(4, 2, 3, 2))
NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))


@pytest.fixture
def made(made):
    """The same of any callable and a dict of rules, one for each input."""

    def make(forward, rules, sample=None):
        def wrong1(x, /):
            return forward(x)

        def wrong2(x, w, /):
            return forward(x, w)

        return made(wrong1 if len(rules) == 1 else wrong2, sample, **rules)

    return make


def said(function, inputs, **options):
    with pytest.raises(GradientError) as caught:
        gradcheck(function, inputs, **options)
    return str(caught.value)


def by_x(g, w, stride=1, padding=NONE, size=(6, 5)):
    return conv2d_input_grad(g, w, size, (stride, stride), padding, (1, 1), 1)


def by_w(g, x, stride=1, padding=NONE):
    return conv2d_weight_grad(x, g, (3, 2), (stride, stride), padding, (1, 1), 1)


def assigned(g, w):
    """The gradient by the image for stride 1, written with = instead of +=."""
    dx = np.zeros((3, 2, 6, 5))
    for i, j in np.ndindex(4, 4):
        dx[:, :, i : i + 3, j : j + 2] = np.tensordot(g[:, :, i, j], w, 1)
    return dx


WRONG = [
    ("sign", np.sin, {"x": lambda g, x: -g * np.cos(x)}, [A], "inputs[0] is the true gradient with its sign flipped"),
    ("twice", np.square, {"x": lambda g, x: 4 * g * x}, [A], "inputs[0] is 2 times the true gradient"),
    ("half", np.square, {"x": lambda g, x: g * x}, [A], "inputs[0] is half of the true gradient"),
    ("odd-factor", np.square, {"x": lambda g, x: g * x * 1.4}, [A], "inputs[0] is 0.7 times the true gradient"),
    (
        "batch-mean-missing",
        lambda x, w: (x @ w) / 4,
        {"x": lambda g, w: g @ w.T / 4, "w": lambda g, x: x.T @ g},
        [A, SQUARE],
        "inputs[1] is 4 times the true gradient, and 4 is the batch size: a mean over it is missing",
    ),
    (
        "batch-mean-extra",
        lambda x, w: x @ w,
        {"x": lambda g, w: g @ w.T, "w": lambda g, x: x.T @ g / 4},
        [A, SQUARE],
        "inputs[1] is the true gradient divided by 4, the batch size: a mean over it is one too many",
    ),
    (
        "kernel-not-turned",
        conv2d,
        {"x": lambda g, w: by_x(g, w[:, :, ::-1, ::-1]), "w": lambda g, x: by_w(g, x)},
        [IMAGE, KERNEL],
        "inputs[0] is the true gradient at the wrong input: inputs[1] rotated by 180 degrees",
    ),
    (
        "kernel-gradient-turned",
        conv2d,
        {"x": lambda g, w: by_x(g, w), "w": lambda g, x: by_w(g, x)[:, :, ::-1, ::-1]},
        [IMAGE, KERNEL],
        "inputs[1] is the true gradient with its last two axes rotated by 180 degrees, as a kernel that is flipped",
    ),
    (
        "flipped-along-one-axis",
        lambda x: x[::-1],
        {"x": lambda g: g},
        [ROW],
        "inputs[0] is the true gradient in reverse order",
    ),
    (
        "height-and-width",
        conv2d,
        {"x": lambda g, w: by_x(g, w), "w": lambda g, x: np.swapaxes(by_w(g, x), 2, 3).reshape(4, 2, 3, 2)},
        [IMAGE, KERNEL],
        "inputs[1] is the true gradient with height and width, its last two axes, swapped",
    ),
    (
        "channels",
        conv2d,
        {"x": lambda g, w: by_x(g, w), "w": lambda g, x: np.swapaxes(by_w(g, x), 0, 1).reshape(4, 2, 3, 2)},
        [IMAGE, KERNEL],
        "inputs[1] is the true gradient with its first two axes swapped, as a kernel's output and input channels",
    ),
    (
        "transposed",
        lambda x, w: x @ w,
        {"x": lambda g, w: g @ w, "w": lambda g, x: x.T @ g},
        [A, SQUARE],
        "inputs[0] is the true gradient at the wrong input: inputs[1] with rows and columns swapped (transposed)",
    ),
    (
        "swapped-inputs",
        lambda x, w: x * w,
        {"x": lambda g, x: g * x, "w": lambda g, w: g * w},
        [A, B],
        "inputs[0] is the true gradient of inputs[1]: the two are swapped",
    ),
    (
        "missing-sum",
        lambda x, w: x + w,
        {"x": lambda g: g, "w": lambda g: g[0]},
        [A, ROW],
        "inputs[1] is what the first of axis 0 of the output contributes: the sum over that axis is missing",
    ),
    (
        "padding-not-cropped",
        lambda x, w: conv2d(x, w, padding=1),
        {
            "x": lambda g, w: by_x(g, w, size=(8, 7))[:, :, :6, :5],
            "w": lambda g, x: by_w(g, x, padding=ONE),
        },
        [IMAGE, KERNEL],
        "inputs[0] is the true gradient shifted by (1, 1) along its last axes, as by padding that is not cropped",
    ),
    (
        "stride-ignored",
        lambda x, w: conv2d(x, w, stride=2),
        {"x": lambda g, w: by_x(g, w), "w": lambda g, x: by_w(g, x, 2)},
        [IMAGE, KERNEL],
        "inputs[0] is the true gradient of stride 1: the stride 2 is ignored",
    ),
    (
        "assigned",
        conv2d,
        {"x": assigned, "w": lambda g, x: by_w(g, x)},
        [IMAGE, KERNEL],
        "inputs[0] is what the last window alone contributes: overlaps are assigned, not added",
    ),
    (
        "stride-ignored-along-rows",
        lambda x: x[:, ::2] * 1.0,
        {"x": lambda g, x_shape: np.pad(g, ((0, 0), (0, x_shape[1] - g.shape[1])))},
        [RNG.normal(size=(2, 6))],
        "inputs[0] is the true gradient of stride 1: the stride 2 is ignored",
    ),
    (
        "mean-left-out",
        lambda x: x - x.mean(1, keepdims=True),
        {"x": lambda g: g},
        [A],
        "inputs[0] is the true gradient with the part of the mean over axis 1 left out: a mean depends on every x, too",
    ),
    (
        "mean-and-variance-left-out",
        lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True),
        {"x": lambda g, x: g / x.std((0, 2, 3), keepdims=True)},
        [RNG.normal(size=(2, 3, 2, 2))],
        "inputs[0] is the true gradient with the parts of mean and variance over axis 0 and 2 and 3 left out: both",
    ),
    (
        "variance-left-out",
        lambda x: (x - x.mean(0)) / x.std(0),
        {"x": lambda g, x: (g - g.mean(0)) / x.std(0)},
        [RNG.normal(size=(5, 2))],
        "inputs[0] is the true gradient with the part of the variance over axis 0 left out: it depends on every x, too",
    ),
    (
        "no-upstream",
        np.sin,
        {"x": lambda g, x: np.cos(x)},
        [A],
        "inputs[0] is the derivative without the upstream gradient g: g is not multiplied in",
    ),
    (
        "constant",
        np.sin,
        {"x": lambda g, x: np.cos(x) ** 2},
        [A],
        "inputs[0] is the same for every upstream gradient g: it does not depend on g",
    ),
    (
        "wrong-input",
        lambda x: np.log1p(np.exp(x)),
        {"x": lambda g, x: g / (1 + np.exp(x))},
        [A],
        "inputs[0] is the true gradient at the wrong input: -inputs[0] for inputs[0]",
    ),
    (
        "output-for-input",
        np.sin,
        {"x": lambda g, out: g * np.cos(out)},
        [A],
        "inputs[0] is the true gradient at the wrong input: the output for inputs[0]",
    ),
    ("zero", np.sin, {"x": lambda g: g * 0}, [A], "inputs[0] is zero: no gradient flows, as through a value that is"),
    (
        "partly-zero",
        np.square,
        {"x": lambda g, x: np.where(x > np.sort(x.ravel())[-4], 0.0, 2 * g * x)},
        [A],
        "inputs[0] is the true gradient but for 3 of 12 entries that are zero, [",
    ),
]


@pytest.mark.parametrize(
    ("forward", "rules", "inputs", "text"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
@pytest.mark.parametrize("full", [False, True])
def test_a_wrong_rule_is_named(made, forward, rules, inputs, text, full):
    report = said(made(forward, rules), inputs, full=full)
    assert f"\n  the gradient of {text}" in report
    assert ", or " not in report


def test_a_rule_whose_mistake_has_no_name_is_not_given_one(made):
    report = said(made(np.square, {"x": lambda g, x: g * x**4}), [A])
    assert report.endswith("the gradient of inputs[0] fits no known mistake")
    assert "the worst entry is inputs[0][" in report


def test_a_shift_of_what_is_alike_everywhere_explains_nothing(made):
    ones = np.ones((4, 3))
    ones[0] = 5.0
    report = said(made(np.sum, {"x": lambda g: g * ones}), [A])
    assert report.endswith("the gradient of inputs[0] fits no known mistake")


def test_two_mistakes_that_give_the_same_numbers_are_both_named(made):
    report = said(made(lambda x: x / 1.0, {"x": lambda g: 2 * g}), [A[:2]])
    assert "2 times the true gradient, or 2 times the true gradient, and 2 is the batch size" in report


def test_what_is_too_large_is_said_to_be(made):
    report = said(made(np.sin, {"x": lambda g, x: -g * np.cos(x)}), [RNG.normal(size=(40, 30))])
    assert report.endswith("inputs[0] is too large to look for a known mistake")


@given(st.data())
def test_no_right_gradient_is_accused(data):
    """Of any Jacobian: the table is asked only about gradients that differ, and stays silent for one that is right."""
    number = st.integers(-3, 3).map(float)
    x_shape, out_shape = (tuple(data.draw(st.lists(st.integers(1, 3), max_size=4))) for _ in range(2))
    jacobian = data.draw(arrays(np.float64, out_shape + x_shape, elements=number))
    cotangents = [data.draw(arrays(np.float64, out_shape, elements=number)) for _ in range(3)]
    gradients = [np.tensordot(c, jacobian, c.ndim) for c in cotangents]
    evidence = Evidence(x_shape, out_shape, jacobian, cotangents, gradients, {"y": -jacobian}, [("z", jacobian)], 1e-9)
    assert mistakes(evidence) == []


@given(conv_problems())
@settings(max_examples=10)
def test_a_right_convolution_passes(problem):
    x, w, b, params = problem
    assert gradcheck(lambda *xs: conv2d(*xs, **params), [a for a in (x, w, b) if a is not None], probes=1)


class TestKinks:
    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize(
        ("f", "x"),
        [
            (relu, np.array([0.0, 1.0, -1.0, 0.0])),
            (abs, np.zeros(3)),
            (lambda x: amax(x, axis=1), np.array([[1.0, 1, 1], [0, 2, 2]])),
            (lambda x: maximum(x, 2.0), np.array([1.0, 2.0, 2.0])),
            (lambda x: sum(relu(x) * np.array([1.0, -2.0, 3.0])), np.zeros(3)),
            *(
                (lambda x, ties=ties: max_pool2d(x, 2, 1, ties=ties), np.ones((1, 2, 3, 4)))
                for ties in ("first", "split")
            ),
            (lambda x: max_pool2d(relu(x), 2), np.zeros((1, 1, 2, 4))),
            (relu, np.array([1e-6, -3e-7, 2.0])),
        ],
        ids=["relu", "abs", "amax", "maximum", "sum", "first", "split", "composed", "within a step"],
    )
    def test_our_conventions_lie_in_the_subdifferential(self, f, x, full):
        assert all(gradcheck(f, x, full=full, seed=seed) for seed in range(3))

    @pytest.mark.parametrize("at_zero", [0.0, 0.25, 1.0])
    def test_any_other_does_too(self, made, at_zero):
        rule = {"x": lambda g, x: g * np.where(x == 0, at_zero, x > 0)}
        assert gradcheck(made(lambda x: np.maximum(x, 0), rule), np.array([0.0, 1.0, -1.0, 0.0]))

    @pytest.mark.parametrize("at_zero", [-0.01, 1.01])
    def test_nothing_outside_passes(self, made, at_zero):
        rule = {"x": lambda g, x: g * np.where(x == 0, at_zero, x > 0)}
        wrong = made(lambda x: np.maximum(x, 0), rule)
        for full in (False, True):
            report = said(wrong, np.array([1.0, 0.0, -1.0]), full=full)
            assert "at the kink of output[1] by inputs[0][1] every derivative from 0 to 1 is right" in report
            assert report.endswith(f"the rule gives {at_zero}")

    def test_what_lies_between_derivatives_near_by_is_right_beyond_the_one_sided_ones(self, made):
        """x of relu(x + y) - relu(x - y) + relu(x) + 2 |y| with slopes 0, 1/2, 0: a half below both sides, 0 and 1."""

        def forward(x):
            return np.maximum(x[0] + x[1], 0) - np.maximum(x[0] - x[1], 0) + np.maximum(x[0], 0) + 2 * np.abs(x[1])

        assert gradcheck(made(forward, {"x": lambda g: g * np.array([-0.5, 0.5])}), np.zeros(2))
        assert "from -1 to 2 is right" in said(made(forward, {"x": lambda g: g * np.array([-1.5, 0.5])}), np.zeros(2))

    def test_ties_that_are_counted_twice_are_named(self, made):
        wrong = made(lambda x: np.max(x, 0), {"x": lambda g, x, out: g * (x == out)})
        assert gradcheck(wrong, A)
        report = said(wrong, np.array([[1.0, 2, 3], [1, 0, 3], [0, 1, 2]]))
        assert (
            "inputs[0][0, 0] and inputs[0][1, 0] tie in output[0]: moved together they have a derivative from 1"
            in report
        )
        assert report.endswith("the rule gives 2: ties are counted more than once")

    def test_a_tie_that_gets_too_little_is_outside_too(self, made):
        wrong = made(lambda x: np.max(x, 0), {"x": lambda g, x, out: g * (x == out) / 4})
        report = said(wrong, np.array([[1.0, 0], [1, 0]]))
        assert report.endswith("the rule gives 0.5")
        assert "more than once" not in report

    def test_a_wrong_rule_beside_a_kink_is_named(self, made):
        wrong = made(np.abs, {"x": lambda g, x: -g * np.sign(x)})
        report = said(wrong, np.array([0.0, 1.0, -2.0]))
        assert "the derivative of output[1] by inputs[0][1] is 1; the rule gives -1" in report
        assert report.endswith("the gradient of inputs[0] is the true gradient with its sign flipped")

    @pytest.mark.parametrize("full", [False, True])
    def test_a_kink_of_the_slope_accuses_nobody(self, made, full):
        at = np.array([[1.0, -1.0, 0.5]])
        losses = (lambda x: tg.smooth_l1_loss(x, 0 * at, reduction="none"), lambda x: tg.clip(x, 0.0) * x)
        for loss, x in zip(losses, (at, at - at), strict=True):
            assert gradcheck(loss, x, full=full)
        both = lambda x: tg.relu(x[0, 0] - 1.0) + tg.smooth_l1_loss(x, 0 * at, reduction="sum")  # noqa: E731
        assert gradcheck(both, at, full=full)
        wrong = made(lambda x: np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5), {"x": lambda g, x: g * x * 1.5})
        assert "inputs[0] is 1.5 times the true gradient" in said(wrong, at, full=full)

    def test_a_jump_is_no_kink(self):
        with pytest.raises(GradientError, match="along a random direction"):
            gradcheck(lambda x: x + np.asarray(x.detach() >= 0) * 1.0, np.array([0.0]))

    def test_the_gradient_of_a_gradient_jumps_at_a_kink_of_the_function(self):
        with pytest.raises(GradientError, match="gradgradcheck: along a random direction"):
            gradgradcheck(lambda x: relu(x) * x.detach() + relu(x), np.array([0.0, 1.0]))

    def test_a_kink_of_something_too_large_is_said_to_be(self, made):
        wrong = made(lambda x: np.maximum(x, 0), {"x": lambda g, x: g * np.where(x == 0, 2.0, x > 0)})
        report = said(wrong, np.zeros((30, 20)))
        assert "f has a kink here, and with 600 entries and 600 outputs it is too large for judging" in report
        assert "pass at most 400 of each, or inputs clear of kinks" in report


def convolution(draw):
    n, c, o = (draw.size(1, 2) for _ in range(3))
    image = draw.array(n, c, draw.size(4, 6), draw.size(4, 5))
    return (image, draw.array(o, c, draw.size(2, 3), draw.size(1, 2))), {}


def turned_twice(g, w, x_shape):
    return conv2d_input_grad(g, w[:, :, ::-1, ::-1], x_shape[2:], (1, 1), NONE, (1, 1), 1)


def kernel_gradient(g, x, w_shape):
    return conv2d_weight_grad(x, g, w_shape[2:], (1, 1), NONE, (1, 1), 1)


class TestCheckOp:
    def notes(self, wrong, data):
        with pytest.raises(GradientError) as caught:
            check_op(wrong, data)
        return "\n".join(caught.value.__notes__)

    def test_the_mistake_that_all_samples_agree_on_is_noted(self, made):
        wrong = made(conv2d, {"x": turned_twice, "w": kernel_gradient}, convolution)
        notes = self.notes(wrong, Draw.seeded(0))
        assert "samples in which it is wrong, the gradient of x is the true gradient at the wrong input: " in notes

    def test_the_smallest_call_is_shown_in_full(self, made):
        wrong = made(lambda x: x * 3.0, {"x": lambda g: g * -3.0})
        notes = self.notes(wrong, Draw.seeded(0))
        assert "in all 5 samples in which it is wrong, the gradient of x is the true gradient with its sign" in notes
        assert "the smallest failing call found:\n  x = [0.0, 0.0, 0.0]\n  g = [1.0, 2.0, -1.0]\n" in notes
        assert "∂x: the rule gives [-3.0, -6.0, 3.0], differences [3.0, 6.0, -3.0]" in notes

    def test_what_hypothesis_has_shrunk_is_shown_as_it_is(self, made):
        wrong = made(lambda x: x * 3.0, {"x": lambda g: g * -3.0})

        @given(st.data())
        @settings(phases=[Phase.generate], max_examples=3)
        def shrinking(data):
            check_op(wrong, data)

        with pytest.raises(GradientError) as caught:
            shrinking()
        assert any(note.startswith("the call:\n  x = [") for note in caught.value.__notes__)

    def test_the_smallest_call_has_small_integers_and_a_wrong_gradient(self, made):
        wrong = made(conv2d, {"x": turned_twice, "w": kernel_gradient}, convolution)
        small = smallest_failure(wrong.op)
        assert [a.shape for a in small.arrays] == [(1, 1, 4, 4), (1, 1, 2, 1)]
        assert all((np.abs(a) <= 3).all() and (a == np.round(a)).all() for a in small.arrays)
        assert small.arrays[1].ravel().tolist() in ([0, 1], [1, 0])

    def test_more_entries_than_are_tried_one_by_one_are_integers_too(self, made):
        wrong = made(lambda x: x * 3.0, {"x": lambda g: -g}, lambda draw: ((draw.array(5, 6),), {}))
        (x,) = smallest_failure(wrong.op).arrays
        assert np.array_equal(x, np.round(x))

    def test_a_right_op_has_none(self, made):
        assert smallest_failure(matmul.op) is None

    def test_without_hypothesis_a_small_call_is_found_too(self):
        program = """
import sys
sys.modules["hypothesis"] = None
from tinygrad_cnn.primitive import op
from tinygrad_cnn.testing import Draw, GradientError, check_op
@op
def scaled(x, /):
    return x * 3.0
scaled.vjp(x=lambda g: g * -3.0)
try:
    check_op(scaled, Draw.seeded(0))
except GradientError as error:
    print(error.__notes__[-1])
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("the smallest failing call found:\n  x = [")
