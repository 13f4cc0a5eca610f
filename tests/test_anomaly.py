"""`tg.detect_anomaly`: the first nan or inf is an error where it is made, with the op, the place and the cause."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn
from tinygrad_cnn.anomaly import is_finite
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.observation import norm
from tinygrad_cnn.provenance import _REASONS, _SLOPES
from tinygrad_cnn.watching import watchers

NAN, INF = math.nan, math.inf


def leaf(*values, dtype="float64"):
    return Tensor(list(values), dtype=dtype, requires_grad=True)


def refused(function):
    """The text of the error, and where it says that the call stood."""
    with pytest.raises(FloatingPointError) as caught, tg.detect_anomaly():
        function()
    assert watchers == []
    return str(caught.value)


FORWARD = {
    "log of 0": (lambda: leaf(2.0, 0.0).log(), "log: makes the first −inf (1 value) here, of finite inputs; "
                 "log(0) is −inf; add a small number", "(1,): x = 0"),
    "log of -1": (lambda: leaf(2.0, -1.0).log(), "log of a number below 0 is nan; clamp the input", "(1,): x = -1"),
    "log1p of -1": (lambda: tg.log1p(leaf(-1.0)), "log1p(−1) is −inf", "(0,): x = -1"),
    "log2": (lambda: tg.log2(leaf(0.0)), "log2(0) is −inf", "x = 0"),
    "log10": (lambda: tg.log10(leaf(0.0)), "log10(0) is −inf", "x = 0"),
    "0/0": (lambda: leaf(1.0, 0.0) / leaf(2.0, 0.0), "div: makes the first nan (1 value) here, of finite inputs; "
            "0/0 is nan; add a small number to the denominator", "(1,): x = 0, y = 0"),
    "1/0": (lambda: 1.0 / leaf(3.0, 0.0), "a division by 0; add a small number to the denominator", "x = 1, y = 0"),
    "reciprocal": (lambda: tg.reciprocal(leaf(0.0)), "reciprocal: makes the first inf (1 value) here, of finite "
                   "inputs; a division by 0", "x = 0"),
    "remainder": (lambda: tg.remainder(leaf(1.0), leaf(0.0)), "remainder by 0 is nan", "x = 1, y = 0"),
    "floor_divide": (lambda: tg.floor_divide(leaf(1.0), leaf(0.0)), "a division by 0", "x = 1, y = 0"),
    "exp": (lambda: leaf(1.0, 89.0, dtype="float32").exp(), "exp(x) overflows float32 beyond 88.72; subtract the "
            "maximum first", "(1,): x = 89"),
    "exp2": (lambda: tg.exp2(leaf(1025.0)), "exp2(x) overflows float64 beyond 1024", "x = 1025"),
    "expm1": (lambda: tg.expm1(leaf(710.0)), "expm1(x) overflows float64 beyond 709.8", "x = 710"),
    "cosh": (lambda: tg.cosh(leaf(-712.0)), "cosh(x) overflows float64", "x = -712"),
    "sinh": (lambda: tg.sinh(leaf(-712.0)), "sinh(x) overflows float64", "x = -712"),
    "sqrt": (lambda: leaf(-4.0).sqrt(), "sqrt of a negative number is nan; clamp the input to 0 or more", "x = -4"),
    "rsqrt": (lambda: tg.rsqrt(leaf(0.0)), "rsqrt(0) divides by 0; add a small number", "x = 0"),
    "pow": (lambda: leaf(-8.0) ** 0.5, "a negative number to a power that is no integer is nan", "x = -8, y = 0.5"),
    "negative pow": (lambda: leaf(0.0) ** -1.0, "0 to a negative power divides by 0", "x = 0, y = -1"),
    "acos": (lambda: tg.acos(leaf(1.5)), "acos is nan outside [−1, 1]; clamp the input", "x = 1.5"),
    "acosh": (lambda: tg.acosh(leaf(0.5)), "acosh is nan below 1; clamp the input to 1 or more", "x = 0.5"),
    "atanh": (lambda: tg.atanh(leaf(1.0)), "atanh is nan outside [−1, 1], and inf at both; clamp the input", "x = 1"),
    "asin": (lambda: tg.asin(leaf(-1.5)), "asin is nan outside [−1, 1]; clamp the input", "x = -1.5"),
    "var": (lambda: leaf(1.0).var(), "var divides by n − correction = 0; use correction=0", "()"),
    "std": (lambda: leaf(1.0).std(), "std divides by n − correction = 0; use correction=0", "()"),
    "mean of nothing": (lambda: leaf().mean(), "the mean of no numbers; leave empty arrays out", "()"),
    "ignored": (lambda: F.cross_entropy(Tensor([[1.0, 2.0]]), np.array([-100])), "the mean over no target", "()"),
    "nll ignored": (lambda: F.nll_loss(Tensor([[1.0, 2.0]]), np.array([-100])), "the mean over no target", "()"),
    "mul": (lambda: leaf(1e30, dtype="float32") * 1e10, "mul overflows: float32 ends at 3.4028e+38; scale the inputs",
            "(0,): x = 1e+30"),
    "half": (lambda: leaf(300.0, dtype="float16") ** 2.0, "pow overflows: float16 ends at 65504; cast to float32",
             "(0,): x = 300"),
    "matmul": (lambda: Tensor([[1e30, 1e30]]) @ Tensor([[1e30], [-1e30]]), "a part of matmul overflows", "(0, 0)"),
    "inf - inf": (lambda: leaf(1.0, INF) - INF, "sub: makes the first nan (1 value) here, of inf in its input 'x'; "
                  "inf − inf, 0*inf and inf/inf are nan", "(1,): x = inf, y = inf"),
    "nan data": (lambda: leaf(1.0) * Tensor([NAN, 2.0], dtype="float64"), "mul: gives nan (1 value), because "
                 "its input 'y' came in with nan (1 value); look for it in the data or the weights", "x = 1, y = nan"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARD)
def test_a_forward_names_the_op_the_cause_and_the_first_place(case):
    function, cause, place = FORWARD[case]
    text = refused(function)
    assert cause in text
    (first,) = [line for line in text.splitlines() if line.startswith("    first at")]
    assert place in first
    assert f"line      {__file__}:" in text


def test_every_cause_is_tested():
    text = [function for function, _, _ in FORWARD.values()]
    named = set()
    for function in text:
        with tg.profile() as seen:
            function()
        named |= {row.name for row in seen.rows}
    assert set(_REASONS) - named == set()


BACKWARD = {
    "sqrt": (lambda: leaf(4.0, 0.0).sqrt(), "sqrt: its gradient rule makes the first inf (1 value) for 'x'; sqrt′(0) = "
             "1/(2·0) is inf; keep the input away from there"),
    "pow": (lambda: leaf(0.0) ** 0.5, "the slope of 0 to a power below 1 is inf"),
    "asin": (lambda: tg.asin(leaf(1.0)), "asin′ is inf at −1 and 1"),
    "acos": (lambda: tg.acos(leaf(-1.0)), "acos′ is −inf at −1 and 1"),
    "acosh": (lambda: tg.acosh(leaf(1.0)), "acosh′(1) is inf"),
    "mul": (lambda: (leaf(1e30, dtype="float32") * 1e8 * leaf(1e-38, dtype="float32")) * 1e8, "mul: its gradient rule "
            "makes the first inf (1 value) for 'y'; the gradient overflows: float32 ends at"),
}  # fmt: skip


@pytest.mark.parametrize("case", BACKWARD)
def test_a_backward_names_the_rule_its_input_and_the_cause(case):
    function, cause = BACKWARD[case]
    assert cause in refused(lambda: function().sum().backward())


MASKED = {
    "sqrt": lambda x: x.sqrt(),
    "pow": lambda x: x**0.5,
    "log": lambda x: x.log(),
    "log2": tg.log2,
    "log10": tg.log10,
    "log1p": lambda x: tg.log1p(x - 1.0),
    "reciprocal": tg.reciprocal,
    "rsqrt": tg.rsqrt,
    "div": lambda x: 1.0 / x,
    "asin": lambda x: tg.asin(1.0 - x),
    "acos": lambda x: tg.acos(1.0 - x),
    "acosh": lambda x: tg.acosh(1.0 + x),
    "atanh": lambda x: tg.atanh(1.0 - x),
}


@pytest.mark.parametrize("op", MASKED)
def test_a_gradient_that_a_where_throws_away_is_a_trap_with_a_name(op):
    x = leaf(0.5, 0.0)
    masked = tg.where(x > 0, MASKED[op](x), 0.0).sum()
    text = refused(masked.backward)
    assert text.startswith(f"{op}: its gradient rule makes the first nan (1 value) for '")
    assert "the gradient that arrives is 0: 0*inf is nan, even where a `where` or a mask throws the value away" in text
    assert f"where(ok, {op}(where(ok, x, 1)), 0)" in text
    assert "(1,): g = 0, " in text
    assert "line      not known: run the forward pass in the block, too" in text
    assert x.grad is None


def test_every_slope_is_tested():
    assert set(_SLOPES) == set(MASKED)


def test_the_remedy_for_the_trap_is_one():
    x = leaf(0.5, 0.0)
    with tg.detect_anomaly():
        tg.where(x > 0, tg.where(x > 0, x, 1.0).sqrt(), 0.0).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.5 / 0.5**0.5, 0.0])


def test_a_gradient_that_came_in_with_nan_is_not_blamed_on_the_rule():
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        y = x * 3.0
    text = refused(lambda: y.backward(np.array([1.0, NAN])))
    assert "mul: its gradient rule gives nan (1 value) for 'x', because the gradient came in with nan (1 value)" in text


def test_a_gradient_that_came_in_with_inf_is_passed_on():
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        (x * 3.0).backward(np.array([1.0, INF]))
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, INF])


def test_the_line_and_the_module_of_the_forward_are_named_in_backward():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    net = nn.Sequential(nn.Identity(), Root())
    text = refused(lambda: net(leaf(0.0)).sum().backward())
    assert "module    1 (Root)" in text
    assert f"line      {__file__}:" in text
    assert "module    1 (Root)" in refused(lambda: net(leaf(-1.0)))
    assert "module    Root" in refused(lambda: Root()(leaf(-1.0)))


def test_a_mask_of_minus_infinity_is_meant():
    x = leaf(1.0, 2.0, 3.0)
    with tg.detect_anomaly():
        F.softmax(tg.where(x > 1.5, x, -INF), -1)[0].backward()
        F.softmax(x.masked_fill(np.array([True, False, False]), -INF), -1)
        tg.pad(x, ((1, 1),), value=-INF).amax()
        F.max_pool2d(Tensor(-np.ones((1, 1, 4, 4), "float32")), 2, padding=1)
    assert np.isfinite(x.grad.numpy()).all()


def test_a_gradient_of_a_gradient_is_looked_at_where_it_is_sent():
    x = leaf(0.0, 1.0)
    y = (x**2.0).sum()  # the rule of the exponent takes log(0), and masks it
    with tg.detect_anomaly():
        (g,) = tg.grad(y, x, create_graph=True)
        g.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0])
    root = leaf(0.0)
    assert "sqrt: its gradient rule" in refused(lambda: tg.grad(root.sqrt().sum(), root, create_graph=True))


def test_after_an_error_the_block_goes_on_looking():
    x = leaf(0.0)
    with tg.detect_anomaly():
        with pytest.raises(FloatingPointError, match="sqrt: its gradient rule"):
            x.sqrt().backward(np.ones(1))
        with pytest.raises(FloatingPointError, match="log: makes the first"):
            x.log()
        y = x * 1.0
        y.sum().backward()
        with pytest.raises(RuntimeError, match="freed"):
            y.sum().backward()
        with pytest.raises(FloatingPointError, match="log: makes the first"):
            x.log()


def test_a_backward_that_is_stopped_leaves_every_grad():
    x, w = leaf(0.0, 1.0), leaf(2.0, 3.0)
    loss = (x.sqrt() * w).sum()
    refused(loss.backward)
    assert (x.grad, w.grad) == (None, None)


def test_outside_the_block_and_in_other_threads_nothing_is_said():
    tg.log(Tensor([0.0]))
    found = []
    with tg.detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(tg.log(Tensor([0.0])).item()))
        thread.start()
        thread.join()
        tg.log(np.zeros(1))  # arrays alone
    assert found == [-INF]
    assert watchers == []


def test_inside_no_grad_ops_are_looked_at_too():
    def run():
        with tg.no_grad():
            leaf(0.0).log()

    assert "log(0)" in refused(run)


@given(st.lists(st.floats(width=32), max_size=8), st.integers(1, 3))
def test_is_finite_is_numpys(values, times):
    array = np.array(values * times, "float32")
    assert is_finite(array) == np.isfinite(array).all()


def test_a_sum_that_overflows_is_not_taken_for_an_inf():
    assert is_finite(np.full(4, 3e38, "float32"))
    assert not is_finite(np.array([INF, -INF]))
    assert is_finite(np.array([1, 2]))
    assert norm(np.full(4, 3e38, "float32")) > 3e38


@given(st.data())
def test_the_first_producer_is_named_in_a_random_chain(data):
    steps = data.draw(st.lists(st.sampled_from(["add", "mul", "neg", "exp_small"]), min_size=1, max_size=6))
    at = data.draw(st.integers(0, len(steps)))
    place = data.draw(st.integers(0, 3))
    apply = {
        "add": lambda t: t + 1.0,
        "mul": lambda t: t * 0.5,
        "neg": lambda t: -t,
        "exp_small": lambda t: (t * 0.01).exp(),
    }

    def run():
        x = leaf(1.0, 2.0, 3.0, 4.0)
        for i, step in enumerate([*steps, "neg"]):
            if i == at:
                zeros = np.ones(4)
                zeros[place] = 0.0
                x = tg.log((x * x + 1.0) * zeros)
            x = apply[step](x)

    text = refused(run)
    assert text.startswith("log: makes the first −inf (1 value) here")
    assert f"first at  ({place},): x = 0" in text
