"""Hard cases of elementwise ops, broadcasting, reductions, indexing and shape: H1 to H50.

Exact values, most of them PyTorch's answers; where NumPy or mathematics decides, the test says so by its name.
"""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import functional as F

inf, nan = np.inf, np.nan


def leaf(values, dtype=np.float64):
    return Tensor(np.asarray(values, dtype), requires_grad=True)


def value_and_gradients(f, *values, g=None):
    """f's value and its gradients for the cotangent g (ones unless given), all as arrays."""
    xs = [leaf(v) for v in values]
    y = f(*xs)
    got = grad(y, xs, np.ones(y.shape) if g is None else np.asarray(g, float), allow_unused=True)
    return [y.array, *(d.array for d in got)]


def check(f, values, y, *gradients, g=None):
    got = value_and_gradients(f, *values, g=g)
    for have, want in zip(got, [y, *gradients], strict=True):
        np.testing.assert_array_equal(have, np.asarray(want, float), strict=True)


def run_python(code, *flags):
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
        env={k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Kinks, ties, special points


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


# Broadcasting and dtypes


def test_H20_broadcasting_with_a_length_of_zero():
    check(lambda x, y: x + y, [np.zeros((0, 3)), np.ones((1, 3))], np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((1, 3)))
    check(lambda x, y: x + y, [np.zeros((2, 0)), np.ones((2, 1))], np.zeros((2, 0)), np.zeros((2, 0)), np.zeros((2, 1)))


def test_H21_shapes_that_do_not_broadcast_are_shown():
    for f in (lambda x, y: x + y, lambda x, y: x * y, tg.maximum, lambda x, y: tg.where(True, x, y)):
        with pytest.raises(ValueError, match=r"\(2, 0\) and \(2, 3\) do not broadcast"):
            f(leaf(np.zeros((2, 0))), leaf(np.zeros((2, 3))))


SHAPES = [
    ((3, 1), (2, 1, 4)),
    ((), (2, 3)),
    ((1,), (2,)),
    ((3, 1), (3, 2)),
    ((1, 1), (2, 3)),
    ((2, 3), ()),
    ((4, 1, 3), (2, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float16, np.float32), (np.float64, np.float64)])
def test_H22_H26_a_gradient_has_exactly_its_leafs_shape_and_dtype(shapes, dtypes):
    draw = np.random.default_rng(1)
    xs = [Tensor(draw.uniform(0.5, 1.5, s).astype(t), requires_grad=True) for s, t in zip(shapes, dtypes, strict=True)]
    ops = [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x**y]
    ops += [tg.maximum, tg.minimum, lambda x, y: tg.where(x > y, x, y)]
    for f in ops:
        y = f(*xs)
        g = draw.normal(size=y.shape)
        arrays = [x.array.astype(np.float64) for x in xs]
        for x, d, a in zip(xs, grad(y, xs, g), (0, 1), strict=True):
            assert (d.shape, d.dtype, type(d.array)) == (x.shape, x.dtype, np.ndarray)
            # along its own leaf the sum of the stretched gradient
            wide = [np.broadcast_to(v, y.shape).copy() for v in arrays]
            full = grad(f(*(w := [leaf(v) for v in wide])), w, g)[a].array
            lead = y.ndim - x.ndim
            want = full.sum(tuple(range(lead))) if lead else full
            want = want.sum(tuple(i for i, n in enumerate(x.shape) if n == 1), keepdims=True)
            np.testing.assert_allclose(d.array, want, rtol=2e-2 if np.float16 in dtypes else 1e-5, atol=2e-2)


def test_H23_two_scalars_give_a_zero_dimensional_tensor_and_array():
    x, y = leaf(1.5), leaf(2.0)
    for f in (
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
        tg.maximum,
        lambda a, b: a - b,
    ):
        out = f(x, y)
        assert isinstance(out, Tensor)
        assert type(out.array) is np.ndarray
        assert out.shape == ()
        assert type(f(x.array, y.array)) in (np.ndarray, np.float64)
    for f in (tg.exp, tg.relu, tg.sum, tg.mean, tg.amax, tg.neg, tg.sigmoid):
        assert type(f(x).array) is np.ndarray
        assert type(f(x.array)) is np.ndarray
        assert type(grad(f(x), x)[0].array) is np.ndarray


def test_H24_scalars_and_integers_never_widen_a_float():
    for dtype in (np.float16, np.float32):
        x = Tensor(np.ones(2, dtype), requires_grad=True)
        i = np.array([2, 3])
        for other in (2.5, np.float64(2.5), np.array(2.5), 2, np.int64(2), True, i, Tensor(i), Tensor(np.array(2.5))):
            for f in (lambda a, b: a * b, lambda a, b: b + a, lambda a, b: a / b, lambda a, b: b - a, tg.maximum):
                y = f(x, other)
                assert y.dtype == dtype
                assert grad(y.sum(), x)[0].dtype == dtype
    assert (Tensor(np.ones(2, np.float16)) + Tensor(np.ones(2, np.float32))).dtype == np.float32
    assert (Tensor(np.array([1, 2])) * 2.5).dtype == np.float32
    assert (Tensor(np.array([1, 2])) / 2).dtype == np.float32
    assert (Tensor(np.array([1, 2])) + 1).dtype == np.int64
    assert (Tensor(np.array([True])) + Tensor(np.array([1], np.int32))).dtype == np.int32


def test_H25_gradients_through_counts_and_masks_keep_the_leafs_dtype():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    m = x.array > 0
    for y in (x * m / m.sum(), x * np.arange(3), x.mean(), x.max(), x.var(0), x / np.int64(3), x[[0, 0]], x * m.sum()):
        assert y.dtype == np.float32
        assert grad(y.sum(), x)[0].dtype == np.float32


UNARY = [tg.exp, tg.log, tg.sqrt, tg.abs, tg.sigmoid, tg.tanh, tg.relu, tg.neg, tg.square, tg.sin, tg.cos, tg.sign]
UNARY += [tg.sum, tg.mean, tg.amax, tg.amin, tg.var, tg.logsumexp, lambda x: x.clip(0.0, 1.0), lambda x: x.flip(0)]
UNARY += [
    lambda x: x.T,
    lambda x: x[[0, 0]],
    lambda x: x @ x.T,
    lambda x: F.softmax(x, 1),
    lambda x: F.log_softmax(x, 0),
]
UNARY += [
    lambda x: tg.cat([x, x]),
    lambda x: F.pad(x, (1, 0)),
    lambda x: x.max(1).values,
    lambda x: x**2,
    lambda x: 2**x,
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("f", UNARY)
def test_H26_every_op_keeps_its_inputs_dtype_and_half_is_near_single(f, dtype):
    values = np.random.default_rng(2).uniform(0.3, 2.0, (2, 3)).astype(np.float16)
    x, exact = Tensor(values.astype(dtype), requires_grad=True), leaf(values)
    y, want = f(x), f(exact)
    (d,), (dwant,) = grad(y.sum(), x), grad(want.sum(), exact)
    assert (y.dtype, d.dtype) == (dtype, dtype)
    tolerance = {np.float16: 4e-3, np.float32: 1e-6, np.float64: 1e-15}[dtype]
    np.testing.assert_allclose(y.array, want.array, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(d.array, dwant.array, rtol=4 * tolerance, atol=4 * tolerance)


def test_H28_the_mean_of_integers_is_refused_with_the_way_out():
    for f in (tg.mean, tg.var):
        with pytest.raises(TypeError, match=r"(mean|var): the input is int64.*\.float\(\)"):
            f(Tensor(np.array([1, 2])))
    assert Tensor(np.array([1, 2])).float().mean().item() == 1.5


def test_H29_integers_wrap_as_numpys_do():
    assert (Tensor(np.uint8(0)) - Tensor(np.uint8(1))).item() == 255
    assert (Tensor(np.array([2**31 - 1], np.int32)) + 1).tolist() == [-(2**31)]
    assert (-Tensor(np.array([1], np.uint8))).tolist() == [255]
    assert not (Tensor(np.uint8(0)) - Tensor(np.uint8(1))).requires_grad


def test_H30_booleans_are_not_subtracted_or_negated():
    b = Tensor(np.array([True, False]))
    with pytest.raises(TypeError, match=r"neg: booleans have no sign; ~x"):
        -b
    for difference in (lambda: b - b, lambda: b - True, lambda: True - b):
        with pytest.raises(TypeError, match=r"sub: booleans do not subtract; x \^ y"):
            difference()


BITWISE = [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x & ~y]


@pytest.mark.parametrize("f", BITWISE)
def test_H30_conditions_combine_and_whole_numbers_have_bits(f):
    for x, y in [(np.array([True, True, False]), np.array([[True], [False]])), (np.arange(4), np.array([[5], [6]]))]:
        for got in (f(Tensor(x), Tensor(y)), f(Tensor(x), y), f(x, Tensor(y)), f(Tensor(x), y.dtype.type(1).item())):
            assert isinstance(got, Tensor)
            assert not got.requires_grad
        np.testing.assert_array_equal(f(Tensor(x), Tensor(y)).array, f(x, y), strict=True)
        np.testing.assert_array_equal(f(x, Tensor(y)).array, f(x, y), strict=True)
    with pytest.raises(TypeError, match=r"(bitwise_and|bitwise_or|bitwise_xor|invert): of float64.*compare first"):
        f(leaf([1.0]), leaf([2.0]))


def test_H30_logical_functions_ask_whether_numbers_are_zero():
    x, y = np.array([0.0, 2.0, nan, 0.0]), np.array([0, 0, 3, 4])
    for name in ("logical_and", "logical_or", "logical_xor"):
        expected = getattr(np, name)(x, y)
        np.testing.assert_array_equal(getattr(leaf(x), name)(Tensor(y)).array, expected, strict=True)
        np.testing.assert_array_equal(getattr(np, name)(leaf(x), y).array, expected, strict=True)
    assert leaf(x).logical_not().tolist() == np.logical_not(leaf(x)).tolist() == [True, False, False, True]
    assert np.invert(Tensor(y > 0)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">f2"])
def test_H31_big_endian_input_becomes_native(dtype):
    a = np.array([1, 2, 3], dtype)
    x = Tensor(a)
    assert x.dtype.isnative
    assert x.tolist() == [1, 2, 3]
    y = leaf([1.0, 2.0, 4.0])
    out = y * a
    assert out.dtype.isnative
    (d,) = grad(out.sum(), y)
    assert d.dtype.isnative
    assert d.tolist() == [1.0, 2.0, 3.0]
    y.grad = np.array([1.0, 2.0, 3.0], ">f8")
    assert y.grad.dtype.isnative


LAYOUTS = {
    "read-only": lambda a: (b := a.copy(), b.setflags(write=False))[0],
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran": np.asfortranarray,
    "non-contiguous": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [False, True])
def test_H32_the_memory_layout_changes_no_result_and_no_flag(layout, share):
    a = np.random.default_rng(3).uniform(0.3, 2.0, (3, 4))
    b = LAYOUTS[layout](a)
    flags = str(b.flags)
    np.testing.assert_array_equal(a, b)
    for f in [*UNARY, lambda x: x * a, lambda x: x.reshape(2, 6) * 1.0, lambda x: tg.maximum(x, 1.0)]:
        if share:
            want, got = f(Tensor(a)), f(tg.from_numpy(b))
        else:
            xs = [Tensor(v, requires_grad=True) for v in (a, b)]
            want, got = (f(x) for x in xs)
            g = np.random.default_rng(4).normal(size=want.shape)
            np.testing.assert_allclose(grad(got, xs[1], g)[0].array, grad(want, xs[0], g)[0].array, rtol=1e-14)
        np.testing.assert_allclose(got.array, want.array, rtol=1e-14)
        assert str(b.flags) == flags


def test_H32_a_stretched_array_is_read_like_its_copy():
    b = np.broadcast_to(np.array([[1.0], [2.0]]), (2, 3))
    x, y = Tensor(b, requires_grad=True), Tensor(b.copy(), requires_grad=True)
    for f in UNARY:
        np.testing.assert_array_equal(f(x).array, f(y).array)
        np.testing.assert_array_equal(grad(f(x).sum(), x)[0].array, grad(f(y).sum(), y)[0].array)
    with pytest.raises(ValueError, match="add_: the memory of this Tensor is read-only"):
        tg.from_numpy(b).add_(1.0)


@pytest.mark.parametrize(
    "data", [np.array([object()]), "text", ["a"], np.array([1 + 2j]), 1j, [None], {}, np.array(["2020"], "M8")]
)
def test_H33_what_is_no_number_is_no_tensor(data):
    with pytest.raises(TypeError, match=r"Tensor: .* cannot be a Tensor; it needs bool, integer or float numbers"):
        Tensor(data)


def test_H33_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="Tensor: the nested lists are ragged"):
        Tensor([[1.0, 2.0], [3.0]])


def test_H33_ops_on_bare_object_arrays_are_exact():
    x = np.array([Fraction(1, 3), Fraction(2, 7)], object)
    assert (tg.mul(x, x) == x * x).all()
    assert tg.sum(x) == Fraction(13, 21)


# Reductions


def test_H34_H37_reductions_of_nothing():
    check(tg.sum, [np.zeros(0)], 0.0, np.zeros(0))
    check(lambda x: x.sum(0), [np.zeros((0, 3))], np.zeros(3), np.zeros((0, 3)))
    check(tg.logsumexp, [np.zeros(0)], -inf, np.zeros(0))
    check(lambda x: x.sum(1), [np.zeros((0, 3))], np.zeros(0), np.zeros((0, 3)))


def test_H35_the_mean_and_variance_of_nothing_are_nan():
    check(tg.mean, [np.zeros(0)], nan, np.zeros(0))
    check(tg.var, [np.zeros(0)], nan, np.zeros(0))
    check(lambda x: x.mean(0), [np.zeros((0, 2))], [nan, nan], np.zeros((0, 2)))


@pytest.mark.parametrize(
    "f", [tg.amax, tg.amin, tg.argmax, tg.argmin, lambda x, a=None: x.max() if a is None else x.max(a)]
)
def test_H36_nothing_has_no_extremum(f):
    with pytest.raises(ValueError, match=r"empty|zero-size"):
        f(Tensor(np.zeros((0, 3))))
    with pytest.raises(ValueError, match=r"empty|zero-size"):
        f(Tensor(np.zeros((0, 3))), 0)


def test_H36_over_an_axis_that_is_not_empty_the_result_is():
    check(lambda x: x.amax(1), [np.zeros((0, 3))], np.zeros(0), np.zeros((0, 3)))
    assert Tensor(np.zeros((0, 3))).argmax(1).shape == (0,)
    assert Tensor(np.zeros((0, 3))).max(1).values.shape == (0,)


def test_H37_logsumexp_of_extremes():
    check(tg.logsumexp, [[1e4, -1e4]], 1e4, [1, 0])
    check(tg.logsumexp, [[-inf, 0.0]], 0.0, [0, 1])


def test_H38_half_precision_is_accumulated_in_single():
    x = Tensor(np.ones(70000, np.float16), requires_grad=True)
    assert x.mean().item() == 1.0
    assert x.sum().item() == inf
    assert (x - 0.5).var(correction=0).item() == 0.0
    assert x[:2048].sum().item() == 2048.0
    assert (Tensor(np.ones(4096, np.float16)).sum()).item() == 4096.0
    assert (x[:3000].reshape(1, 3000) @ Tensor(np.ones((3000, 1), np.float16))).item() == 3000.0
    stretched = Tensor(np.float16(1.0), requires_grad=True)
    (stretched * np.full(4096, 1.0, np.float16)).sum().backward()
    assert stretched.grad.item() == 4096.0


@pytest.mark.parametrize("f", [lambda x: x.sum((0, 1)), lambda x: x.mean((0, 1)) * x.shape[0] * x.shape[1]])
def test_H39_long_sums_in_single_precision_are_exact_along_any_axis(f):
    one = np.ones((1, 1, 1), np.float32)
    for shape in [(2**12, 2**13, 1), (2**13, 2**12, 2)]:
        assert (f(tg.from_numpy(np.broadcast_to(one, shape))).array == 2**25).all()


def test_H39_the_gradient_of_a_stretched_bias_is_summed_exactly():
    b = Tensor(np.zeros(2, np.float32), requires_grad=True)
    (b + tg.from_numpy(np.broadcast_to(np.float32(1), (2**25, 2)))).sum().backward()
    assert b.grad.tolist() == [2.0**25] * 2


def test_H40_the_variance_of_one_value():
    check(lambda x: x.var(correction=1), [[3.0]], nan, [nan])
    check(lambda x: x.var(correction=0), [[3.0]], 0.0, [0])


def test_H41_axes_follow_numpy():
    a = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(a)
    for f, g in ((tg.sum, np.sum), (tg.mean, np.mean), (tg.amax, np.max)):
        for axis in (None, 0, -1, (0, 2), (-1, 0), (), [0, 1]):
            for keep in (False, True):
                want = g(a, tuple(axis) if isinstance(axis, list) else axis, keepdims=keep)
                np.testing.assert_array_equal(f(x, axis=axis, keepdims=keep).array, want)
        for wrong in (3, -4, (0, 3)):
            with pytest.raises((ValueError, IndexError)):
                f(x, axis=wrong)
        for twice in ((0, 0), (1, -2)):
            with pytest.raises(ValueError, match=r"(sum|mean|amax).*"):
                f(x, axis=twice)


# Shape and index


@given(data=st.data())
def test_H42_permute_is_undone_by_its_gradient(data):
    n = data.draw(st.integers(1, 4))
    dims = [d - n if data.draw(st.booleans()) else d for d in data.draw(st.permutations(range(n)))]
    a = np.random.default_rng(0).normal(size=(2, 3, 4, 5)[:n])
    x = leaf(a)
    y = x.permute(dims)
    np.testing.assert_array_equal(y.array, a.transpose(dims))
    g = np.random.default_rng(1).normal(size=y.shape)
    (d,) = grad(y, x, g)
    assert d.shape == x.shape
    np.testing.assert_array_equal(d.array.transpose(dims), g)


def test_H43_reshape_with_minus_one():
    assert leaf(np.zeros((0, 3))).reshape(-1, 3).shape == (0, 3)
    assert leaf(np.zeros((2, 6))).reshape(3, -1).shape == (3, 4)
    for shape in ((-1, 0), (-1, -1), (5,), (-2, 3)):
        with pytest.raises(ValueError, match="reshape"):
            leaf(np.zeros((0, 3)) if shape == (-1, 0) else np.zeros((2, 3))).reshape(*shape)


INDICES = [
    1,
    -1,
    np.int64(2),
    slice(None),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(2, 2),
    None,
    Ellipsis,
    (Ellipsis, None, 1),
    (slice(1, 3), -2),
    (1, 2, 0),
    [0, 2, 0, 0],
    np.array([], int),
    [],
    np.array([3, -1, 3]),
    np.array([[0, 1], [1, 1]]),
    (np.array([0, 0, 3]), np.array([1, 1, 2])),
    (np.array([[0], [2]]), slice(None), np.array([1, 1])),
    (slice(None), np.array([2, 2, 0]), None),
    np.array([True, False, True, True]),
    np.zeros(4, bool),
    (slice(None), np.array([True, False, True])),
    np.random.default_rng(0).random((4, 3, 2)) > 0.5,
    np.True_,
    (Ellipsis, np.array([1, 1, 1, 0])),
]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: repr(i).replace("\n", "")[:40])
def test_H44_indexing_reads_as_numpy_and_its_gradient_adds_up_duplicates(index):
    a = np.random.default_rng(5).normal(size=(4, 3, 2))
    x = leaf(a)
    y = x[index]
    want = a[np.array([], int) if isinstance(index, list) and not index else index]
    np.testing.assert_array_equal(y.array, want, strict=True)
    g = np.random.default_rng(6).normal(size=y.shape)
    expected = np.zeros_like(a)
    np.add.at(expected, np.array([], int) if isinstance(index, list) and not index else index, g)
    (d,) = grad(y, x, g)
    np.testing.assert_allclose(d.array, expected, rtol=1e-14)


def test_H44_duplicates_the_example():
    check(lambda x: x[[0, 0, 2]], [[1.0, 2.0, 3.0]], [1, 1, 3], [2, 0, 1])


def test_H44_a_tensor_may_be_an_index():
    x = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert x[Tensor(np.array([2, 0]))].tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert x[x > 2.5].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert x[Tensor(np.array(1)), 0].tolist() == 3.0


@pytest.mark.parametrize(
    ("index", "error"),
    [(3, IndexError), ([0, 5], IndexError), ((0, 0, 0), IndexError), (1.0, IndexError), ([0.5], IndexError)],
)
def test_H44_indices_out_of_range_or_no_integers_are_refused(index, error):
    with pytest.raises(error):
        leaf(np.zeros((3, 2)))[index]


def test_H45_indexing_gives_a_view_that_is_guarded():
    c, x = Tensor(np.array([1.0, 2.0, 3.0])), leaf([1.0, 1.0])
    part = c[1:]
    assert np.shares_memory(part.array, c.array)
    y = (x * part).sum()
    c[2] = 10.0
    assert part.tolist() == [2.0, 10.0]
    with pytest.raises(RuntimeError, match=r"mul: its input 'y' of shape \(2,\) was changed in place \(x\[i\] = v\)"):
        y.backward()


@pytest.mark.parametrize("join", [tg.cat, tg.concat, tg.stack])
def test_H46_joining(join):
    with pytest.raises(ValueError, match=r"(cat|stack): the list of Tensors is empty"):
        join([])
    with pytest.raises(TypeError, match=r"(cat|stack): a list of Tensors is needed"):
        join(leaf([1.0, 2.0]))
    x = leaf([1.0, 2.0])
    np.testing.assert_array_equal(join([x]).array.ravel(), x.array)
    (d,) = grad(join([x, x]).sum(), x)
    assert d.tolist() == [2.0, 2.0]
    mixed = [Tensor(np.ones(2, t), requires_grad=t != np.int64) for t in (np.float32, np.float64, np.int64)]
    y = join(mixed)
    assert y.dtype == np.float64
    assert [g.dtype for g in grad(y.sum(), mixed[:2])] == [np.float32, np.float64]


def test_H46_joining_parts_of_length_zero():
    check(
        lambda x, y: tg.cat([x, y], 1),
        [np.zeros((2, 0)), np.ones((2, 3))],
        np.ones((2, 3)),
        np.zeros((2, 0)),
        np.ones((2, 3)),
    )
    with pytest.raises(ValueError, match="cat"):
        tg.cat([leaf(np.zeros((2, 3))), leaf(np.zeros((3, 2)))])
    with pytest.raises(ValueError, match="stack"):
        tg.stack([leaf([1.0]), leaf([1.0, 2.0])])


def test_H47_padding():
    check(lambda x: tg.pad(x, ((0, 0), (0, 0))), [np.ones((2, 3))], np.ones((2, 3)), np.ones((2, 3)))
    check(lambda x: tg.pad(x, ((1, 0), (0, 2))), [np.zeros((0, 1))], np.zeros((1, 3)), np.zeros((0, 1)))
    check(lambda x: tg.pad(x, ((1, 2),), 7.5), [[1.0]], [7.5, 1, 7.5, 7.5], [2.0], g=[1.0, 2, 3, 4])
    check(lambda x: tg.pad(x, ((1, 0),), -inf), [[1.0]], [-inf, 1], [5.0], g=[nan, 5])
    ints = Tensor(np.array([3], np.int16))
    assert tg.pad(ints, ((1, 1),), -inf).tolist() == [-(2**15), 3, -(2**15)]
    assert tg.pad(ints, ((1, 0),), inf).tolist() == [2**15 - 1, 3]
    for wrong in (((1, 1), (1, 1)), ((1,),), ((-1, 0),), ()):
        with pytest.raises(ValueError, match="pad"):
            tg.pad(leaf([1.0]), wrong)


def test_H47_torchs_spelling_names_the_last_axis_first():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(F.pad(Tensor(x), (1, 2)).array, np.pad(x, ((0, 0), (1, 2))))
    np.testing.assert_array_equal(F.pad(Tensor(x), (1, 2, 3, 4)).array, np.pad(x, ((3, 4), (1, 2))))
    with pytest.raises(ValueError, match="pad"):
        F.pad(Tensor(x), (1, 2, 3))
    with pytest.raises(ValueError, match="pad"):
        F.pad(Tensor(x), (1,) * 6)


RANKS = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
]


@pytest.mark.parametrize("shapes", [*RANKS, ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((0,), (0,))])
def test_H48_matrix_products_of_all_ranks(shapes):
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=s) for s in shapes)
    x, y = leaf(a), leaf(b)
    out = x @ y
    np.testing.assert_allclose(out.array, a @ b, rtol=1e-13)
    g, u, v = draw.normal(size=out.shape), draw.normal(size=a.shape), draw.normal(size=b.shape)
    dx, dy = grad(out, [x, y], g)
    assert (dx.shape, dy.shape) == (a.shape, b.shape)
    np.testing.assert_allclose(
        np.sum(dx.array * u) + np.sum(dy.array * v), np.sum(g * (u @ b + a @ v)), rtol=1e-11, atol=1e-12
    )


def test_H48_inner_lengths_must_agree():
    for shapes in (((2, 3), (2, 3)), ((3,), (2,)), ((), (2,)), ((2, 2, 3), (3, 3, 2))):
        with pytest.raises(ValueError, match="matmul"):
            leaf(np.zeros(shapes[0])) @ leaf(np.zeros(shapes[1]))


def test_H49_one_tensor_as_both_operands():
    a = np.random.default_rng(0).normal(size=(3, 2))
    check(lambda x: x * x, [a], a * a, 2 * a)
    check(lambda x: x - x, [a], a * 0, a * 0)
    check(lambda x: x / x, [a], a / a, (1 / a) - (a / a) / a)
    x = leaf(a)
    g = np.random.default_rng(1).normal(size=(3, 3))
    (d,) = grad(x @ x.T, x, g)
    np.testing.assert_allclose(d.array, (g + g.T) @ a, rtol=1e-13)


def test_H50_a_tensor_of_two_is_no_truth_and_no_number():
    x = leaf([1.0, 2.0])
    with pytest.raises((ValueError, RuntimeError), match="ambiguous"):
        bool(x)
    for convert in (float, int, lambda t: t.item()):
        with pytest.raises((ValueError, TypeError), match="one"):
            convert(x)
    scalar = leaf(3.0)
    for call in (len, iter):
        with pytest.raises(TypeError, match="0-d"):
            call(scalar)
    assert (bool(scalar), float(scalar), int(scalar), scalar.item()) == (True, 3.0, 3, 3.0)
    assert [t.item() for t in x] == [1.0, 2.0]
    assert len(x) == 2


def test_H50_tensors_hash_by_identity_and_compare_elementwise():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    assert len({x, y, x}) == 2
    assert hash(x) != hash(y)
    assert {x: 1}[x] == 1
    assert (x == y).tolist() == [True, True]
    assert (x != y).tolist() == [False, False]
    assert (x == "text") is False
    assert (x == None) is False  # noqa: E711
    assert x in [x, y]
    assert 2.0 in x
    assert 5.0 not in x
    with pytest.raises((ValueError, RuntimeError), match="ambiguous"):
        [y, x].index(x)


def test_H50_an_ndarray_first_gives_a_tensor_and_is_not_written_to():
    a, x = np.array([1.0, 2.0]), leaf([3.0, 4.0])
    for f in (lambda p, q: p * q, lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p / q, lambda p, q: p**q):
        assert isinstance(f(a, x), Tensor)
        np.testing.assert_allclose(f(a, x).array, f(a, x.array), rtol=1e-15)
        assert f(np.float64(2.0), x).requires_grad
    with pytest.raises(TypeError, match="cannot be written into an ndarray"):
        a += x
    assert a.tolist() == [1.0, 2.0]


NUMPY_SPELLINGS = [
    lambda x: np.squeeze(x[None], axis=0),
    lambda x: np.expand_dims(x, axis=0),
    lambda x: np.expand_dims(x, axis=(0, -1)),
    lambda x: np.clip(x, min=1, max=4),
    lambda x: np.clip(x, a_min=1, a_max=None),
    lambda x: np.concatenate([x, x], axis=None),
    lambda x: np.concatenate([x, x], axis=1),
    lambda x: np.stack([x, x], axis=-1),
    lambda x: np.flip(x),
    lambda x: np.flip(x, axis=1),
    lambda x: np.transpose(x, axes=(1, 0)),
    lambda x: np.reshape(x, (3, 2)),
    lambda x: np.max(x, axis=1, keepdims=True),
]


@pytest.mark.parametrize("f", NUMPY_SPELLINGS)
def test_numpys_keywords_mean_what_they_mean_in_numpy(f):
    array = np.arange(6.0).reshape(2, 3)
    x = leaf(array)
    y = f(x)
    np.testing.assert_array_equal(y.array, f(array), strict=True)
    assert y.requires_grad


def test_numpys_size_and_shape_of_a_tensor():
    x = leaf(np.zeros((2, 3)))
    assert [np.size(x), np.size(x, 0), np.size(x, axis=-1), np.ndim(x), np.shape(x)] == [6, 2, 3, 2, (2, 3)]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda x: np.sum(x, dtype=float),
            r"np\.sum of Tensors takes \(x, axis=None, keepdims=False\).*'dtype'.*numpy",
        ),
        (lambda x: np.reshape(x, (3, 2), order="F"), r"np\.reshape of Tensors takes \(x, shape\).*'order'"),
        (lambda x: np.concatenate([x], dtype=float), r"np\.concatenate of Tensors takes \(xs, axis=0\)"),
        (lambda x: np.where(x > 1), r"np\.where of Tensors takes \(condition, x, y\)"),
        (lambda x: np.median(x), r"np\.median has no op here"),
    ],
)
def test_what_numpys_functions_cannot_do_with_a_tensor_is_said_in_numpys_names(f, message):
    with pytest.raises(TypeError, match=message):
        f(leaf(np.zeros((2, 3))))


def test_numpys_squeeze_refuses_a_longer_axis():
    with pytest.raises(tg.ShapeError, match=r"np.squeeze: axis 1 of shape \(1, 3\) is longer than 1"):
        np.squeeze(leaf(np.zeros((1, 3))), axis=(0, 1))


def test_where_names_the_shapes_that_do_not_broadcast_and_draws_them():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with pytest.raises(tg.ShapeError, match=r"where: shapes \(4,\) and \(2, 3\) and \(\) do not broadcast") as caught:
        tg.where(np.ones(4, bool), x * 2.0, 0.0)
    assert [card.title for card in caught.value.graph().drawing.cards if card.problem] == ["where"]
