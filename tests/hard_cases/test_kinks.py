"""Kinks, ties and special points: H1 to H17. Central differences cannot decide them."""

import numpy as np
import pytest

import tinygrad_cnn as tg
from hard_cases.at_points import check, leaf, run_python, value_and_gradients
from tinygrad_cnn import Tensor, grad

inf, nan = np.inf, np.nan


def test_H1_relu_at_zero_has_gradient_zero():
    check(tg.relu, [[-1.0, 0.0, 2.0]], [0, 0, 2], [0, 0, 1])


def test_H2_relu_of_nan_and_infinities():
    y, dx = value_and_gradients(tg.relu, [nan, inf, -inf, -0.0])
    np.testing.assert_array_equal(y, [nan, inf, 0, 0])
    np.testing.assert_array_equal(dx, [0, 1, 0, 0])  # documented: 0 at nan


def test_H3_no_infinite_gradient_passes_where_relu_is_closed():
    check(tg.relu, [[-1.0, 0.0, 2.0, -3.0]], [0, 0, 2, 0], [0, 0, nan, 0], g=[inf, -inf, nan, nan])


def test_H4_abs_at_zero_has_gradient_zero():
    check(tg.abs, [[-2.0, 0.0, 2.0]], [2, 0, 2], [-1, 0, 1])


@pytest.mark.parametrize(("f", "dx", "dy"), [(tg.maximum, [0.5, 1], [0.5, 0]), (tg.minimum, [0.5, 0], [0.5, 1])])
def test_H5_a_tie_of_two_splits_in_halves(f, dx, dy):
    y = [1.0, 2.0] if f is tg.maximum else [1.0, 1.0]
    check(f, [[1.0, 2.0], [1.0, 1.0]], y, dx, dy)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x.max(), [0, 0.5, 0.5]),
        (lambda x: x.amax(), [0, 0.5, 0.5]),
        (lambda x: x.max(axis=0), [0, 0.5, 0.5]),
        (lambda x: x.max(0).values, [0, 1, 0]),
        (lambda x: x.max(dim=-1).values, [0, 1, 0]),
    ],
)
def test_H6_a_tie_in_max_is_shared_evenly_or_goes_to_the_first_index(f, expected):
    check(f, [[1.0, 3.0, 3.0]], 3.0, expected)
    check(f, [[1.0, 3.0, 3.0]], 3.0, [2.0 * e for e in expected], g=2.0)


def test_H6_min_does_as_max():
    check(lambda x: x.min(), [[3.0, 1.0, 1.0, 1.0]], 1.0, [0, 1 / 3, 1 / 3, 1 / 3])
    check(lambda x: x.min(0).values, [[3.0, 1.0, 1.0]], 1.0, [0, 1, 0])
    x = leaf([[1.0, 2.0], [2.0, 2.0]])
    assert x.max(1).indices.tolist() == [1, 0]


def test_H8_clip_passes_the_gradient_at_both_bounds():
    check(lambda x: x.clamp(0.0, 1.0), [[-1.0, 0.0, 0.5, 1.0, 2.0]], [0, 0, 0.5, 1, 1], [0, 1, 1, 1, 0])


def test_H9_clip_keeps_nan_and_the_upper_bound_wins():
    y, dx = value_and_gradients(lambda x: x.clip(1.0, 0.0), [nan, 3.0, 0.5])
    np.testing.assert_array_equal(y, [nan, 0.0, 0.0])
    np.testing.assert_array_equal(dx, [0, 0, 0])
    with pytest.raises(ValueError, match="clip: neither min nor max"):
        leaf([1.0]).clip()


def test_H9_array_bounds_limit_each_element_and_never_stretch_x():
    low = np.array([[0.0], [2.0]])
    check(lambda x: x.clip(min=low), [[[-1.0, 3.0], [1.0, 4.0]]], [[0, 3], [2, 4]], [[0, 1], [0, 1]])
    for bounds in ({"min": low}, {"max": low}, {"min": 0.0, "max": low}, {"min": Tensor(low)}):
        with pytest.raises(tg.ShapeError, match=r"clip: a bound of shape \(2, 1\) .* shape \(2,\) of x; expand x"):
            leaf([1.0, 2.0]).clip(**bounds)


def test_H10_sqrt_at_zero_has_an_infinite_gradient():
    check(tg.sqrt, [[0.0, 4.0]], [0, 2], [inf, 0.25])


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, inf])
def test_H11_norms_at_zero_have_gradient_zero(p):
    check(lambda x: x.norm(p), [[0.0, 0.0]], 0.0, [0, 0], g=3.0)
    check(lambda x: x.norm(p, 1), [[[0.0, 0.0], [0.0, -2.0]]], [0, 2], [[0, 0], [0, -5]], g=[3, 5])


def test_H12_powers_of_zero():
    check(lambda x: x**0, [[0.0, 2.0, nan]], [1, 1, 1], [0, 0, 0])
    y, dx, dy = value_and_gradients(lambda x, y: x**y, [0.0, 0.0, 2.0], [0.0, 2.0, 0.0])
    np.testing.assert_array_equal(y, [1, 0, 1])
    np.testing.assert_array_equal(dx, [0, 0, 0])
    np.testing.assert_allclose(dy, [0, 0, np.log(2)], rtol=1e-15)


def test_H12_a_negative_base_under_a_fraction_is_nan():
    check(lambda x: x**0.5, [[-1.0]], [nan], [nan])
    y, dx, dy = value_and_gradients(lambda x, y: x**y, [-8.0], [1 / 3])
    assert np.isnan([y, dx, dy]).all()
    check(lambda x: x**2, [[-3.0]], [9], [-6])


def test_H13_where_does_not_hide_the_branch_it_excludes():
    check(lambda x: tg.where(x > 0, tg.sqrt(x), 0.0), [[0.0, 4.0]], [0, 2], [nan, 0.25])
    safe = lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0)  # noqa: E731
    check(safe, [[0.0, 4.0]], [0, 2], [0, 0.25])


def test_H14_steps_have_gradient_zero_and_comparisons_are_constants():
    check(tg.sign, [[-2.5, 0.0, 3.0]], [-1, 0, 1], [0, 0, 0])
    check(lambda x: x * tg.sign(x), [[-2.5, 3.0]], [2.5, 3], [-1, 1])
    check(lambda x: x * (x > 0), [[-2.5, 3.0]], [0, 3], [0, 1])
    x = leaf([1.0, nan])
    for f in (tg.greater, tg.greater_equal, tg.less, tg.less_equal, tg.eq, tg.not_equal):
        assert f(x, 1.0).dtype == np.bool_
        assert not f(x, 1.0).requires_grad
    for y in (tg.isnan(x), tg.isfinite(x), x.argmax(), x.argmin(0)):
        assert not y.requires_grad


SINGULAR = {
    "log": (lambda x: x.log(), [0.0, -1.0], [-inf, nan], [inf, -1.0]),
    "1/x": (lambda x: 1.0 / x, [0.0], [inf], [-inf]),
    "x/0": (lambda x: x / 0.0, [1.0, 0.0], [inf, nan], [inf, inf]),
    "exp": (lambda x: x.exp(), [1e4], [inf], [inf]),
    "x*x": (lambda x: x * x, [1e200], [inf], [2e200]),
    "x-inf": (lambda x: x - inf, [inf], [nan], [1]),
    "sum": (lambda x: x.sum(), [inf, -inf], nan, [1, 1]),
    "mean": (lambda x: x.mean(), [inf, -inf], nan, [0.5, 0.5]),
    "sqrt": (lambda x: x.sqrt(), [-1.0], [nan], [nan]),
    "pow": (lambda x: x**-1.0, [0.0], [inf], [-inf]),
    "maximum": (lambda x: tg.maximum(x, 0.0), [nan], [nan], [0]),
    "matmul": (lambda x: x @ x, [inf, 0.0], inf, [inf, 0]),
    "square": (lambda x: x.square(), [1e200], [inf], [2e200]),
    "sin": (lambda x: x.sin(), [inf], [nan], [nan]),
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("state", ["warn", "raise", "ignore"])
def test_H15_singular_points_give_ieee_values_whatever_numpy_is_told(name, state):
    f, x, y, dx = SINGULAR[name]
    with np.errstate(all=state):
        got = value_and_gradients(f, x)
    np.testing.assert_array_equal(got[0], y)
    np.testing.assert_array_equal(got[1], dx)


def test_H15_zero_over_zero_and_both_gradients():
    check(lambda x, y: x / y, [[1.0, 0.0], [0.0, 0.0]], [inf, nan], [inf, inf], [-inf, nan])


def test_H15_gradients_that_overflow_as_they_add_up_do_not_raise():
    x = leaf([1.0, 2.0])
    with np.errstate(all="raise"):
        x.sum().backward(np.array(inf))
        x.sum().backward(np.array(-inf))
        assert np.isnan(x.grad.array).all()
        (got,) = grad([x * 1.0, x * 1.0], x, [np.full(2, 1e308)] * 2)
        assert np.isinf(got.array).all()
        (twice,) = grad(x / 0.0, x, np.ones(2), create_graph=True)
        assert np.isinf(twice.array).all()


def test_H15_values_too_large_for_a_dtype_become_infinite_on_entry_and_in_place():
    with np.errstate(all="raise"):
        assert Tensor([1e300]).tolist() == [inf]
        assert Tensor(np.array([1e300]), dtype=np.float32).tolist() == [inf]
        x = Tensor(np.ones(2, np.float32))
        for change in (
            lambda: x.fill_(1e300),
            lambda: x.copy_(np.full(2, 1e300)),
            lambda: x.__setitem__(0, 1e300),
            lambda: x.add_(3e38).mul_(1e30),
            lambda: x.div_(0.0),
        ):
            change()
            assert np.isinf(x.array).any()
            x.fill_(1.0)


_SINGULAR_SCRIPT = """
import numpy as np
import tinygrad_cnn as tg
from tinygrad_cnn import Tensor
from tinygrad_cnn.nn import functional as F
if {errors}:
    np.seterr(all="raise")
x = Tensor(np.array([0.0, -1.0, 1e200, np.inf, np.nan]), requires_grad=True)
b = Tensor(np.array([[1e4, -1e4, np.inf], [-np.inf, -np.inf, -np.inf]]), requires_grad=True)
outs = [x.log(), 1.0 / x, x / x, x * x, x.exp(), x - x, x.sqrt(), x ** x, x ** -1.5, tg.maximum(x, -x), x.sigmoid(),
        x.tanh(), x.relu(), x.clip(0.0, 1.0), abs(x), x.sin(), x.sum(), x.mean(), x.var(), x.logsumexp(), x.max(),
        x[1:2].var(), x[0:0].mean(), x[0:0].var(), x.half().sum(), x.float() * 1e39,
        F.softmax(b, 1), F.log_softmax(b, 1), F.cross_entropy(b, np.array([0, 1])), b @ b.T,
        F.conv2d(b.reshape(1, 1, 2, 3), b.reshape(1, 1, 2, 3)), F.avg_pool2d(b.reshape(1, 1, 2, 3), 2),
        F.max_pool2d(b.reshape(1, 1, 2, 3), 2)]
for y in outs:
    y.backward(np.full(y.shape, np.inf))
(first,) = tg.grad((x.log() + 1.0 / x + x * x + x ** 0.5).sum(), x, create_graph=True)
(first / 0.0).sum().backward()
print(x.grad is not None, b.grad is not None)
"""


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize("flags", [(), ("-W", "error"), ("-W", "default")])
def test_H15_no_warning_reaches_the_user(errors, flags):
    assert run_python(_SINGULAR_SCRIPT.format(errors=errors), *flags) == "True True\n"


def test_H16_zero_times_infinity_is_nan_with_gradient_zero():
    check(lambda x: x * 0.0, [[inf]], [nan], [0])


def test_H17_the_logsumexp_of_infinities_does_not_raise():
    y, dx = value_and_gradients(lambda x: x.logsumexp(1), [[-inf, -inf], [inf, 0.0]])
    np.testing.assert_array_equal(y, [-inf, inf])
    np.testing.assert_array_equal(dx, [[nan, nan], [nan, 0]])


def test_H108_the_sigmoid_of_extremes():
    with np.errstate(all="raise"):
        check(tg.sigmoid, [[-1e4, 1e4, 0.0, -inf, inf]], [0, 1, 0.5, 0, 1], [0, 0, 0.25, 0, 0])
        x = leaf([-1e4, 1e4], np.float16)
        assert x.sigmoid().tolist() == [0.0, 1.0]
    assert tg.sigmoid(leaf([-700.0])).item() == pytest.approx(np.exp(-700.0), rel=1e-12)
