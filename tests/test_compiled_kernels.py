"""Compiled pooling and normalisation against NumPy's, value by value, and the same for any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import laid_out

import tinygrad_cnn as tg
from tinygrad_cnn.geometry import pool2d_geometry
from tinygrad_cnn.kernels import compiled, mask, norm, parallel, pool
from tinygrad_cnn.ops import norm as ops

pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is not installed, or refused")


def without_numba(function):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", lambda: False)
        return function()


@st.composite
def poolings(draw):
    """Channels-last images with equal values, nan and infinities, and every form of window."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 5)) for k, d in zip(kernel, dilation, strict=True))
    shape = draw(st.integers(0, 3)), draw(st.sampled_from([1, 8, 9, 19])), *size
    at = pool2d_geometry(shape, kernel, stride, padding, dilation, draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.choice([0.0, 1.0, 2.0, 3.0, *draw(st.sampled_from([(), (np.nan, np.inf), (-np.inf,)]))], shape)
    x = laid_out(
        x.astype(draw(st.sampled_from([np.float32, np.float64]))), draw(st.sampled_from(["channels last", "planes"]))
    )
    return x, at, rng, draw(st.sampled_from(["first", "last"]))


@given(poolings())
def test_compiled_pooling_equals_slices_and_so_does_its_gradient(case):
    x, at, rng, ties = case

    def pooled():
        return pool.max_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.out, ties)

    y, winners, share = pooled()
    plain, places, _ = without_numba(pooled)
    assert share is None
    assert (y.dtype, winners.dtype) == (x.dtype, np.int64)
    assert np.array_equal(y, plain, equal_nan=True)
    assert np.array_equal(winners, places)
    g = laid_out(rng.integers(-4, 5, y.shape).astype(x.dtype), "channels last")

    def scattered():
        return pool.scatter(g, winners, at.size)

    assert np.array_equal(scattered(), without_numba(scattered))
    assert scattered().dtype == x.dtype


def test_a_winner_outside_the_plane_is_refused():
    g = laid_out(np.ones((1, 8, 1, 1), np.float32), "channels last")
    for wrong in (6, -1):
        winners = np.full(g.shape, wrong)
        with pytest.raises(IndexError, match="scatter: a winner lies outside the plane of 2 x 3 cells"):
            pool.scatter(g, winners, (2, 3))


def test_pooling_is_bitwise_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(parallel, "SMALL", 0)
    x = laid_out(np.random.default_rng(0).standard_normal((40, 32, 22, 21)).astype(np.float32), "channels last")
    before, results = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            tg.set_num_threads(threads)
            y, winners, _ = pool.max_pool2d(x, (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1), (11, 20), "first")
            results.append((y, winners, pool.scatter(y, winners, (22, 21))))
    finally:
        tg.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@given(
    st.integers(1, 4),
    st.sampled_from([8, 9, 24]),
    st.lists(st.integers(1, 5), max_size=3),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([1e-3, 1.0, 1e3]),
    st.sampled_from([0, 30]),
    st.sampled_from([16, norm.CHUNK]),
    st.integers(0, 2**32 - 1),
)
def test_compiled_batch_norm_is_within_rounding_of_float64(n, c, rest, given_parts, scale, shift, chunk, seed):
    rng = np.random.default_rng(seed)

    def images(scale=1.0, shift=0.0):
        x = (scale * (rng.standard_normal((n, *rest, c)) + shift)).astype(np.float32)
        return np.moveaxis(x, -1, 1)

    x, g = images(scale, shift), images()
    w, b = (rng.standard_normal(c).astype(np.float32) if there else None for there in given_parts)
    wide = [a if a is None else a.astype(float) for a in (x, w, b, g)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "SMALL", 0)
        patch.setattr(norm, "CHUNK", chunk)
        assert norm.fits(x, g)
        y, statistics = ops.batch_norm_train.op.forward(x, w, b, eps=1e-5)
        dw = ops.batch_norm_weight_grad.op.forward(g, x, statistics=statistics, eps=1e-5)
        dx = ops.batch_norm_input_grad.op.forward(g, x, w, statistics=statistics, eps=1e-5)
    exact, (mean, variance) = ops.batch_norm_train.op.forward(*wide[:3], eps=1e-5)
    assert y.dtype == dw.dtype == dx.dtype == statistics[0].dtype == statistics[1].dtype == np.float32
    assert y.shape == dx.shape == x.shape
    # Rounding x and its mean to float32 is most of the error where the mean is large beside the deviation.
    unit = 4 * 2.0**-24 * (1 + scale * (shift + 4) / np.sqrt(variance + 1e-5).min())
    of_w = 1.0 if w is None else abs(wide[1]).max()
    assert np.allclose(statistics[0], mean, rtol=1e-6, atol=1e-6 * scale)
    assert np.allclose(statistics[1], variance, rtol=1e-4, atol=1e-9 * scale**2 * (1 + shift) ** 2)
    assert (abs(y - exact) <= 30 * unit * max(of_w, 1) * (1 + abs(exact).max())).all()
    right = ops.batch_norm_weight_grad.op.forward(wide[3], wide[0], eps=1e-5)
    assert (abs(dw - right) <= 30 * unit * abs(wide[3]).sum() + 1e-6).all()
    right = ops.batch_norm_input_grad.op.forward(wide[3], wide[0], wide[1], eps=1e-5)
    slope = of_w / np.sqrt(variance.min() + 1e-5)
    assert (abs(dx - right) <= 300 * unit * slope * (1 + abs(wide[3]).max())).all()


def test_batch_norm_is_bitwise_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(parallel, "SMALL", 0)
    monkeypatch.setattr(norm, "CHUNK", 2**12)
    x = laid_out(np.random.default_rng(0).standard_normal((20, 16, 22, 21)).astype(np.float32), "channels last")
    before, results = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            tg.set_num_threads(threads)
            y, statistics = ops.batch_norm_train.op.forward(x)
            results.append((y, *statistics, ops.batch_norm_input_grad.op.forward(y, x, statistics=statistics)))
    finally:
        tg.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@given(
    st.sampled_from([(2, 8, 3, 5), (3, 1, 4, 2), (40,), (2, 3)]),
    st.sampled_from(["planes", "channels last", "reversed", "mixed"]),
    st.sampled_from([np.float32, np.float64, np.float16, np.int64]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_masking_keeps_each_value_bit_by_bit_and_lets_nothing_else_through(shape, layout, dtype, fast, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    if x.dtype.kind == "f":
        x.flat[::3], x.flat[1::5], x.flat[2::7] = np.nan, -np.inf, -0.0
    keep = rng.random(shape) < 0.5
    if len(shape) == 4:
        x = laid_out(x, "channels last" if layout == "mixed" else layout)
        keep = laid_out(keep, "planes" if layout == "mixed" else layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask, "SMALL", 0)
        patch.setattr(mask, "CHUNK", 7)
        y = mask.masked(x, keep) if fast else without_numba(lambda: mask.masked(x, keep))
    expected = np.where(keep, x, np.zeros((), dtype))
    assert y.dtype == dtype
    assert y.strides == expected.strides
    assert np.array_equal(y, expected, equal_nan=x.dtype.kind == "f")
    assert np.array_equal(np.signbit(y), np.signbit(expected)) or x.dtype.kind == "i"
