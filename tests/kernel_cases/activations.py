"""gelu, silu and hardswish, and the normal distribution's share, against Python's math in float64."""

import math

import numpy as np
import pytest

from tinygrad_cnn.kernels import activations, compiled, normal

from . import case
from .arrays import frozen, laid_out

INF, NAN = np.inf, np.nan
FUNCTIONS = ("gelu", "silu", "hardswish")
# In units of the last place, times 1 + x^2 for gelu: what exp(-x^2 / 2) makes of the rounding of x^2.
BOUNDS = {"gelu": 4.0, "silu": 2.5, "hardswish": 2.0}


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def share(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def exact(name, x):
    """The value and the slope at x, and what their errors are measured by."""
    if name == "hardswish":
        slope = 0.0 if x <= -3 else 1.0 if x >= 3 else x / 3 + 0.5
        return x * min(max(x + 3, 0), 6) / 6, slope, max(abs(x), 1), 1.0
    if name == "silu":
        s = sigmoid(x)
        return x * s, s + x * s * sigmoid(-x), abs(x) * s, s * (1 + abs(x) * sigmoid(-x))
    below, density = share(x), math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return x * below, below + x * density, abs(x) * below * (1 + x * x), (below + abs(x) * density) * (1 + x * x)


def points(dtype):
    rng = np.random.default_rng(3)
    parts = [rng.uniform(-14, 14, 300), rng.standard_normal(200), -(10 ** rng.uniform(-8, 1.2, 100)), [0.0, 3.0, -3.0]]
    return frozen(np.concatenate(parts).astype(dtype))


def functions(name):
    return getattr(activations, name), getattr(activations, f"{name}_gradient")


@case(
    "activations",
    *[(name, dtype, block) for name in FUNCTIONS for dtype in (np.float32, np.float64) for block in (100, 2**15)],
)
def values_and_slopes_are_within_a_few_units_of_the_last_place(name, dtype, block):
    x, (value, gradient) = points(dtype), functions(name)
    g = frozen(np.random.default_rng(1).choice(np.array([1, -2, 0.5, 4], dtype), x.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", 0)
        patch.setattr(activations, "BLOCK", block)
        y, slope = value(x), gradient(g, x)
    assert y.dtype == slope.dtype == dtype
    expected = np.array([exact(name, float(v)) for v in x])
    one = BOUNDS[name] * np.finfo(dtype).eps * (1 + (dtype == np.float64))  # the reference is float64 too
    assert (np.abs(y - expected[:, 0]) <= one * expected[:, 2] + np.finfo(dtype).tiny).all()
    assert (np.abs(slope / g - expected[:, 1]) <= one * expected[:, 3] + np.finfo(dtype).tiny).all()


@case("activations", *[(name, dtype) for name in FUNCTIONS for dtype in (np.float32, np.float64)])
def far_from_0_they_are_their_limits_and_nan_stays_where_it_is(name, dtype):
    value, gradient = functions(name)
    x = frozen(np.array([-INF, -1e30, -2000.0, -0.0, 0.0, 2000.0, 1e30, INF, NAN], dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", 0)
        y, slope = value(x), gradient(np.full_like(x, 2.0), x)
    np.testing.assert_array_equal(y, np.array([0, 0, 0, 0, 0, 2000.0, 1e30, INF, NAN], dtype))
    assert np.array_equal(np.signbit(y[:-1]), np.signbit(x[:-1]))
    np.testing.assert_array_equal(slope, np.array([0, 0, 0, 1, 1, 2, 2, 2, NAN], dtype))


@case("activations", (0,), (2**10,))
def what_hardswish_cuts_off_holds_nothing_even_of_inf_and_nan(small):
    g, x = np.array([INF, NAN, INF, NAN, -INF]), np.array([-4.0, -3.0, 4.0, 3.0, 0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", small)
        np.testing.assert_array_equal(activations.hardswish_gradient(g, x), [0, 0, INF, NAN, -INF])
        assert activations.hardswish_gradient(np.array(NAN), np.array(-4.0)) == 0


LAYOUTS = ("planes", "channels last", "reversed", "every second")


@case(
    "activations",
    *[
        (name, mine, others, dtype)
        for name in FUNCTIONS
        for mine in LAYOUTS
        for others in LAYOUTS
        for dtype in (np.float32, np.float64)
    ],
)
def every_memory_order_gives_the_same(name, mine, others, dtype):
    rng, (value, gradient) = np.random.default_rng(5), functions(name)
    plain = [rng.normal(0, 3, (2, 3, 4, 5)).astype(dtype) for _ in range(2)]
    g, x = laid_out(plain[0], others), laid_out(plain[1], mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", 0)
        patch.setattr(activations, "BLOCK", 50)
        expected = value(plain[1].reshape(-1)), gradient(plain[0].reshape(-1), plain[1].reshape(-1))
        for found, wanted in zip((value(x), gradient(g, x)), expected, strict=True):
            assert np.allclose(found.reshape(-1), wanted, rtol=1e-6 if dtype == np.float32 else 1e-14, atol=1e-15)
            assert found.shape == x.shape
            assert found.strides == x.strides or mine not in ("planes", "channels last")
            assert found.flags.c_contiguous or mine == "channels last"


@case("activations", *[(name,) for name in FUNCTIONS])
def few_values_are_left_to_numpy_in_one_piece(name):
    called = []
    value, gradient = functions(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations.buffers, "empty", lambda shape, dtype: called.append(shape) or np.zeros(shape, dtype))
        for size in (2**10 - 1, 2**10):
            x = np.ones(size)
            for function in (lambda x=x: value(x), lambda x=x: gradient(x, x)):
                called.clear()
                assert isinstance(function(), np.ndarray)
                assert bool(called) is (size == 2**10)
    assert isinstance(value(np.float64(1).reshape(())), np.ndarray)


@case("activations", *[(name, dtype) for name in FUNCTIONS for dtype in (np.float32, np.float64)])
def loops_take_float32_and_numpy_the_rest_in_pieces(name, dtype):
    (value, gradient), sizes = functions(name), []
    x = np.linspace(-4, 4, 2**10 + 1, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "BLOCK", 100)
        for one in (f"_{name}_by_numpy", f"_{name}_gradient_by_numpy"):
            function = getattr(activations, one)
            patch.setattr(activations, one, lambda *a, f=function: sizes.append(len(a[-1])) or f(*a))
        value(x)
        gradient(x, x)
    if compiled.available() and (dtype == np.float32 or name == "hardswish"):
        assert sizes == []
    else:  # three spans
        assert sorted(sizes) == sorted(2 * ([100] * 9 + [42, 42, 41]))


@case("activations", *[(name, dtype) for name in FUNCTIONS for dtype in (np.float32, np.float64)])
def of_one_value_or_a_few_the_results_are_arrays_of_their_dtype(name, dtype):
    value, gradient = functions(name)
    one = BOUNDS[name] * np.finfo(dtype).eps * (1 + (dtype == np.float64))
    for v in (-4.0, -1.5, 0.0, 0.75, 2.5, 5.0):
        y, slope, size, spread = exact(name, v)
        for shape in ((), (1,), (2, 3)):
            x, g = frozen(np.full(shape, v, dtype)), frozen(np.full(shape, -2.0, dtype))
            for found, wanted, by in ((value(x), y, size), (gradient(g, x), -2 * slope, 2 * spread)):
                assert isinstance(found, np.ndarray)
                assert (found.dtype, found.shape) == (dtype, shape)
                assert (abs(found - wanted) <= one * by).all()


@case("activations", ("silu", 1.5, 2.1), ("gelu", 2.7, 1.9))
def exp_in_the_loops_is_right_between_the_powers_of_2_too(name, of_value, of_slope):
    if not compiled.available():
        return
    middle = (np.arange(1, 6) + 0.5) * math.log(2)  # where its polynomial is worst
    x = -(middle if name == "silu" else np.sqrt(2 * middle))
    x = frozen(np.concatenate([x * near for near in (1 - 1e-6, 1 + 1e-6, 0.999, 0.995, 0.99)]).astype(np.float32))
    value, gradient = functions(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", 0)
        found = value(x), gradient(np.ones_like(x), x)
    expected = np.array([exact(name, float(v))[:2] for v in x])
    for k, bound in enumerate((of_value, of_slope)):
        assert (abs(found[k] - expected[:, k]) <= bound * np.finfo(np.float32).eps * abs(expected[:, k])).all()


@case("normal", (np.float32,), (np.float64,))
def the_share_below_keeps_the_digits_of_its_small_tail(dtype):
    rng = np.random.default_rng(4)
    edges = np.sqrt(2) * np.array([0.46875, 4.0])
    x = np.concatenate(
        [rng.uniform(-13, 13, 600), rng.standard_normal(300), rng.uniform(-0.7, 0.7, 200), edges, -edges, [0.0]]
    )
    x = frozen(x.astype(dtype))
    y = normal.share_below(x)
    assert y.dtype == dtype
    expected = np.array([share(float(v)) for v in x])
    wide = x.astype(float)
    bound = 4 * np.finfo(dtype).eps * (1 + wide * wide) * expected + np.finfo(dtype).tiny
    assert (abs(y - expected) <= bound).all()


@case("normal")
def the_share_at_0_is_a_half_and_far_away_0_or_1():
    for dtype in (np.float32, np.float64):
        x = np.array([-INF, -1e30, -50.0, -0.0, 0.0, 50.0, 1e30, INF], dtype)
        np.testing.assert_array_equal(normal.share_below(x), np.array([0, 0, 0, 0.5, 0.5, 1, 1, 1], dtype))
    assert normal.share_below(0.0) == 0.5
    assert abs(normal.share_below(-9.0) / share(-9.0) - 1) < 1e-13
    assert np.isnan(normal.share_below(np.array([NAN, NAN]))).all()
    near = normal.share_below(np.array([1e-300, -1e-9]))
    assert near[0] == 0.5
    assert abs(near[1] - share(-1e-9)) <= 1e-16


@case("normal", (np.float32,), (np.float64,))
def erf_keeps_its_digits_near_0_and_its_sign(dtype):
    rng = np.random.default_rng(5)
    edges = np.array([0.46875, 4.0, 6.0, 30.0, 31.0, 1e30, INF])
    x = np.concatenate([rng.uniform(-7, 7, 600), rng.uniform(-0.5, 0.5, 300), edges, -edges, [0.0, -0.0, 1e-30]])
    x = frozen(x.astype(dtype))
    y = normal.erf(x)
    assert y.dtype == dtype
    expected = np.array([math.erf(float(v)) for v in x])
    assert (abs(y - expected) <= 3 * np.finfo(dtype).eps * abs(expected)).all()
    assert np.signbit(y[x == 0]).tolist() == [False, True]
    assert normal.erf(0.25) == pytest.approx(math.erf(0.25), rel=1e-15)
    assert np.isnan(normal.erf(np.array([NAN]))).all()
