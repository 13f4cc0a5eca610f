"""gelu, silu and hardswish as compiled loops and by NumPy: errors within bounds, every layout, special values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases.activations import BOUNDS, exact
from test_kernels import laid_out

from tinygrad_cnn import nn
from tinygrad_cnn.backprop import grad
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.kernels import activations, compiled, parallel

INF, NAN = np.inf, np.nan
WAYS = [
    pytest.param(True, marks=pytest.mark.skipif(not compiled.available(), reason="numba is not installed, or refused")),
    False,
]
FUNCTIONS = {
    "gelu": (activations.gelu, activations.gelu_gradient),
    "silu": (activations.silu, activations.silu_gradient),
    "hardswish": (activations.hardswish, activations.hardswish_gradient),
}


@pytest.fixture(params=WAYS, ids=["compiled", "numpy"])
def fast(request, monkeypatch):
    """Whether the loops are compiled; they are taken for few values too."""
    monkeypatch.setattr(activations, "SMALL", 0)
    if not request.param:
        monkeypatch.setattr(compiled, "available", lambda: False)
    return request.param


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@np.errstate(under="ignore")  # of the test's own arithmetic
def test_values_and_slopes_are_within_a_few_units_of_the_last_place(name, dtype, fast):
    rng, (value, gradient) = np.random.default_rng(3), FUNCTIONS[name]
    x = np.concatenate(
        [rng.uniform(-14, 14, 2000), rng.standard_normal(2000), -(10 ** rng.uniform(-8, 1.2, 500)), [0.0, 3.0, -3.0]]
    ).astype(dtype)
    y, slope = value(x), gradient(np.ones_like(x), x)
    assert y.dtype == slope.dtype == dtype
    expected = np.array([exact(name, float(v)) for v in x])
    one = BOUNDS[name] * np.finfo(dtype).eps * (1 + (dtype == np.float64))  # the reference is float64 too
    assert (np.abs(y - expected[:, 0]) <= one * expected[:, 2] + np.finfo(dtype).tiny).all()
    assert (np.abs(slope - expected[:, 1]) <= one * expected[:, 3] + np.finfo(dtype).tiny).all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_0_they_are_their_limits_and_nan_stays_where_it_is(name, dtype, fast):
    value, gradient = FUNCTIONS[name]
    x = np.array([-INF, -1e30, -2000.0, -0.0, 0.0, 2000.0, 1e30, INF, NAN], dtype)
    with np.errstate(all="ignore"):
        y, slope = value(x), gradient(np.full_like(x, 2.0), x)
    half = 2.0 * 0.5
    np.testing.assert_array_equal(y, np.array([0, 0, 0, 0, 0, 2000.0, 1e30, INF, NAN], dtype))
    np.testing.assert_array_equal(slope, np.array([0, 0, 0, half, half, 2, 2, 2, NAN], dtype))


def test_what_hardswish_cuts_off_holds_nothing_even_of_inf_and_nan(fast):
    g, x = np.array([INF, NAN, INF, NAN, -INF]), np.array([-4.0, -3.0, 4.0, 3.0, 0.0])
    np.testing.assert_array_equal(activations.hardswish_gradient(g, x), [0, 0, INF, NAN, -INF])


@given(
    name=st.sampled_from(sorted(FUNCTIONS)),
    layouts=st.tuples(*[st.sampled_from(["channels last", "planes", "reversed"])] * 2),
    shape=st.tuples(st.integers(0, 3), *[st.integers(1, 5)] * 3),
    block=st.sampled_from([1, 7, 2**15]),
    use=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_every_layout_block_and_number_of_threads_gives_the_same(name, layouts, shape, block, use, dtype, seed):
    rng, (value, gradient) = np.random.default_rng(seed), FUNCTIONS[name]
    plain = [rng.normal(0, 3, shape).astype(dtype) for _ in range(2)]
    g, x = (laid_out(a, layout) for a, layout in zip(plain, layouts, strict=True))
    before = parallel.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "SMALL", 0)
        if not use:
            patch.setattr(compiled, "available", lambda: False)
        expected = value(plain[1]), gradient(*plain)
        patch.setattr(activations, "BLOCK", block)
        patch.setattr(parallel, "SMALL", 0)
        parallel.set_num_threads(3)
        try:
            found = value(x), gradient(g, x)
        finally:
            parallel.set_num_threads(before)
    tolerance = 0 if use and dtype == np.float32 else 4 * np.finfo(dtype).eps  # NumPy's exp differs at the end of a run
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == shape
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)


def test_the_memory_order_of_the_input_stays(fast):
    x = laid_out(np.random.default_rng(0).standard_normal((2, 3, 4, 5)), "channels last")
    for value, gradient in FUNCTIONS.values():
        for y in (value(x), gradient(np.ascontiguousarray(x), x)):
            assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("name", FUNCTIONS)
@np.errstate(under="ignore")  # of the test's own arithmetic
def test_half_precision_is_computed_in_float32_and_rounded_once(name):
    x = np.random.default_rng(1).normal(0, 3, 3000)
    t = Tensor(x.astype(np.float16), requires_grad=True)
    y = getattr(nn.functional, name)(t)
    (d,) = grad(y, [t], Tensor(np.ones(3000, np.float16)))
    assert y.dtype == d.dtype == np.float16
    expected = np.array([exact(name, float(v)) for v in t.numpy()])
    for found, wanted in ((y, expected[:, 0]), (d, expected[:, 1])):
        assert (np.abs(found.numpy() - wanted) <= 0.51 * np.spacing(np.abs(wanted).astype(np.float16)) + 3e-8).all()
