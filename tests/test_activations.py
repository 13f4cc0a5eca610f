"""Activations: their limits, precision, kinks and errors; test_against_torch_pointwise.py compares their values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.kernels.normal import erf, share_below
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.shapes import ShapeError

INF, NAN = np.inf, np.nan
SELU = 1.0507009873554805

# name -> (function, its value and its slope at -inf, the same at inf)
LIMITS = {
    "leaky_relu": (F.leaky_relu, (-INF, 0.01), (INF, 1)),
    "elu": (F.elu, (-1, 0), (INF, 1)),
    "selu": (F.selu, (-SELU * 1.6732632423543772, 0), (INF, SELU)),
    "celu": (F.celu, (-1, 0), (INF, 1)),
    "gelu": (F.gelu, (0, 0), (INF, 1)),
    "gelu_tanh": (lambda x: F.gelu(x, "tanh"), (0, 0), (INF, 1)),
    "silu": (F.silu, (0, 0), (INF, 1)),
    "mish": (F.mish, (0, 0), (INF, 1)),
    "softplus": (F.softplus, (0, 0), (INF, 1)),
    "softsign": (F.softsign, (-1, 0), (1, 0)),
    "hardtanh": (F.hardtanh, (-1, 0), (1, 0)),
    "relu6": (F.relu6, (0, 0), (6, 0)),
    "hardsigmoid": (F.hardsigmoid, (0, 0), (1, 0)),
    "hardswish": (F.hardswish, (0, 0), (INF, 1)),
    "logsigmoid": (F.logsigmoid, (-INF, 1), (0, 0)),
    "gaussian": (F.gaussian, (0, 0), (0, 0)),
}


def value_and_slope(f, x):
    x = Tensor(np.asarray(x), requires_grad=True)
    y = f(x)
    y.backward(Tensor(np.ones_like(x.array)))
    return y.numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
@np.errstate(under="ignore")  # of the test's own arithmetic
def test_values_and_slopes_have_their_limits_at_infinity(name, dtype):
    f, low, high = LIMITS[name]
    with np.errstate(all="raise"):
        y, slope = value_and_slope(f, np.array([-INF, INF], dtype))
    np.testing.assert_allclose(y, np.array([low[0], high[0]], dtype), rtol=1e-3 if dtype == np.float16 else 1e-6)
    np.testing.assert_allclose(slope, np.array([low[1], high[1]], dtype), rtol=1e-3 if dtype == np.float16 else 1e-6)
    assert y.dtype == slope.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
@given(size=st.sampled_from([20.0, 41.0, 100.0, 900.0, 1e4, 6e4]))
def test_nothing_overflows_far_from_0(name, dtype, size):
    f = LIMITS[name][0]
    with np.errstate(all="raise"):
        y, slope = value_and_slope(f, np.array([-size, size], dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", LIMITS)
@given(x=st.floats(-1e308, 1e308))
def test_every_finite_number_has_a_finite_value_and_slope(name, x):
    y, slope = value_and_slope(LIMITS[name][0], np.array([x]))
    assert np.isfinite(y).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", LIMITS)
def test_nan_stays_where_it_is(name):
    y, slope = value_and_slope(LIMITS[name][0], np.array([NAN, 0.5]))
    assert np.isnan(y).tolist() == [True, False]
    assert not np.isnan(slope[1])


@pytest.mark.parametrize("name", LIMITS)
def test_values_of_integers_have_their_dtype_or_float32(name):
    y = LIMITS[name][0](np.array([-4, 0, 7]))
    assert y.dtype == (np.int64 if name in ("leaky_relu", "hardtanh", "relu6") else np.float32)


@pytest.mark.parametrize("name", LIMITS)
def test_an_activation_of_nothing_or_of_a_single_number_has_its_shape(name):
    for shape in [(), (0,), (2, 0, 3)]:
        y, slope = value_and_slope(LIMITS[name][0], np.zeros(shape))
        assert y.shape == slope.shape == shape


# Precision


@given(x=st.floats(-37.5, 37.5))
@np.errstate(under="ignore")  # of the test's own arithmetic
def test_the_share_of_the_normal_distribution_has_its_last_digits_in_the_tail_too(x):
    exact = math.erfc(-x / math.sqrt(2)) / 2
    for dtype in (np.float64, np.float32):
        y = dtype(x)
        exact = math.erfc(-float(y) / math.sqrt(2)) / 2
        found = float(share_below(np.array([y]))[0])
        allowed = 3 * np.finfo(dtype).eps * (1 + float(y) ** 2) * exact + np.finfo(dtype).tiny
        assert abs(found - exact) <= allowed


def test_the_share_is_the_same_for_a_number_alone_and_among_others():
    x = np.linspace(-9, 9, 77)
    np.testing.assert_array_equal(share_below(x), [share_below(np.asarray(v)) for v in x])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(x=st.floats(-9, 9) | st.floats(-1e-3, 1e-3) | st.sampled_from([0.46875, 4.0, -0.0, 1e-30, math.inf, -math.inf]))
def test_the_error_function_keeps_its_digits(dtype, x):
    with np.errstate(under="ignore"):  # a kernel leaves that to its op
        y = dtype(x)
        found = float(erf(np.array([y]))[0])
    exact = math.erf(float(y))
    assert abs(found - exact) <= 3 * float(np.finfo(dtype).eps) * abs(exact) + float(np.finfo(dtype).tiny)
    assert math.copysign(1, found) == math.copysign(1, x)


@given(x=st.floats(-30, -1e-6))
def test_small_values_keep_their_digits(x):
    e = math.exp(x)
    np.testing.assert_allclose(F.softplus(np.array([x])), [math.log1p(e)], rtol=1e-14)
    np.testing.assert_allclose(F.logsigmoid(np.array([-x])), [-math.log1p(e)], rtol=1e-14)
    np.testing.assert_allclose(F.elu(np.array([x])), [math.expm1(x)], rtol=1e-14)
    np.testing.assert_allclose(F.silu(np.array([x])), [x * e / (1 + e)], rtol=1e-14)
    np.testing.assert_allclose(F.mish(np.array([x])), [x * math.tanh(math.log1p(e))], rtol=1e-13)
    np.testing.assert_allclose(F.gelu(np.array([x])), [x * math.erfc(-x / math.sqrt(2)) / 2], rtol=1e-12)


def test_selu_keeps_mean_0_and_variance_1():
    y = F.selu(np.random.default_rng(0).standard_normal(400_000))
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01


def test_a_celu_has_one_slope_at_0_from_both_sides():
    _, slope = value_and_slope(lambda x: F.celu(x, 0.3), np.array([-1e-12, 0.0, 1e-12]))
    np.testing.assert_allclose(slope, 1)


# Kinks


def test_gradients_at_the_bounds_of_hardtanh_are_0_and_at_those_of_clip_1():
    x = np.array([-1.0, 0.0, 1.0])
    assert value_and_slope(F.hardtanh, x)[1].tolist() == [0, 1, 0]
    assert value_and_slope(lambda x: tg.clip(x, -1.0, 1.0), x)[1].tolist() == [1, 1, 1]


# Errors


def test_glu_halves_an_axis_of_even_length():
    with pytest.raises(ShapeError, match=r"glu: axis 1 of the input \(2, 3\) has length 3, which has no two halves"):
        F.glu(np.zeros((2, 3)), 1)
    with pytest.raises(ShapeError, match=r"glu: the input has shape \(\), needs an axis of even length to halve"):
        F.glu(np.float64(1.0))
    with pytest.raises(IndexError, match="glu: axis 2 is out of range"):
        F.glu(np.zeros((2, 4)), 2)


def test_prelu_has_one_weight_or_one_for_each_channel():
    message = r"prelu: weight has shape \(2,\) for an input of \(2, 3, 4\); \(1,\) is needed, or \(3,\), one number for"
    with pytest.raises(ShapeError, match=message):
        F.prelu(np.zeros((2, 3, 4)), np.zeros(2))
    with pytest.raises(ShapeError, match=r"prelu: weight has shape \(3, 1\)"):
        F.prelu(np.zeros((2, 3, 4)), np.zeros((3, 1)))
    for shape in [(), (5,), (2, 1), (2, 4, 3, 3)]:
        assert F.prelu(np.zeros(shape), np.zeros(1)).shape == shape


def test_parameters_that_mean_nothing_are_refused():
    x = np.zeros(3)
    with pytest.raises(ValueError, match=r"hardtanh: min_val=1\.0 is greater than max_val=-1\.0; swap them"):
        F.hardtanh(x, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"Hardtanh: min_val=1\.0 and max_val=1\.0; max_val must be the greater one"):
        nn.Hardtanh(1.0, 1.0)
    with pytest.raises(ValueError, match="celu: alpha is 0, by which x is divided; relu is the limit"):
        F.celu(x, 0)
    with pytest.raises(ValueError, match="gelu: approximate='erf'; it can be 'none' or 'tanh'"):
        F.gelu(x, "erf")
    with pytest.raises(ValueError, match="GELU: approximate='erf'; it can be 'none' or 'tanh'"):
        nn.GELU("erf")
    with pytest.raises(ValueError, match="PReLU: num_parameters"):
        nn.PReLU(0)


# Modules


def test_a_prelu_learns_and_starts_again():
    layer = nn.PReLU(3, 0.5)
    x = Tensor(-np.ones((2, 3, 4), np.float32))
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [-8, -8, -8]
    layer.weight.data = np.zeros(3, np.float32)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.5] * 3
    assert nn.PReLU(dtype=np.float64).weight.dtype == np.float64


def test_the_gaussian_module_is_the_function():
    x = np.array([0.0, 1.0, -2.0])
    np.testing.assert_array_equal(nn.Gaussian()(Tensor(x)).numpy(), np.exp(-(x**2)))
