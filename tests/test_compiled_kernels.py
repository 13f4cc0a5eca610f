"""Compiled pooling and normalisation against NumPy's, value by value, and the same for any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import laid_out

import tinygrad_cnn as tg
from tinygrad_cnn.geometry import pool2d_geometry
from tinygrad_cnn.kernels import compiled, norm, parallel, pool, pool_loops, sweeps
from tinygrad_cnn.kernels.windows import channels_last
from tinygrad_cnn.ops import norm as ops

pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is not installed, or refused")


@pytest.fixture(autouse=True, scope="module")
def three_threads():
    """Where parallel.SMALL is 0, work is cut into spans of unequal lengths."""
    before = tg.get_num_threads()
    tg.set_num_threads(3)
    yield
    tg.set_num_threads(before)


def without_numba(function):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", lambda: False)
        return function()


def bits(x):
    """The values as integers, row-major: -0.0 is not 0.0 there, and all nan are one."""
    x = np.where(np.isnan(x), np.nan, x).astype(x.dtype)
    return x.view(f"i{x.itemsize}")


def special(rng, shape, dtype, values):
    """Small whole numbers with -0.0 and other values among them."""
    return rng.choice(np.array([-2.0, -0.0, 0.0, 1.0, 2.0, *values], dtype), shape)


@st.composite
def poolings(draw):
    """Images with equal values, nan and infinities, in several memory orders, and every form of window."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 5)) for k, d in zip(kernel, dilation, strict=True))
    shape = draw(st.integers(0, 3)), draw(st.sampled_from([1, 8, 9, 19])), *size
    at = pool2d_geometry(shape, kernel, stride, padding, dilation, draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(st.sampled_from([(), (np.nan, np.inf), (-np.inf,)]))
    x = special(rng, shape, draw(st.sampled_from([np.float32, np.float64])), values)
    g = special(rng, at.out_shape, x.dtype, values)
    layouts = st.sampled_from(["channels last", "planes", "reversed"])
    return laid_out(x, draw(layouts)), laid_out(g, draw(layouts)), at


@given(poolings(), st.sampled_from(["first", "last"]), st.sampled_from([0, parallel.SMALL]))
def test_compiled_pooling_equals_slices_and_so_does_its_gradient(case, ties, small):
    x, g, at = case

    def pooled():
        return pool.max_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.out, ties)

    plain, places, _ = without_numba(pooled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "SMALL", small)
        y, winners, share = pooled()
        assert share is None
        assert (y.dtype, winners.dtype.kind) == (x.dtype, "i")
        assert np.array_equal(y, plain, equal_nan=True)
        assert np.array_equal(winners, places)
        if pool_loops.fits(x):  # the maximum of 0.0 and -0.0 is the winner there, and any of them by slices
            assert np.array_equal(bits(pool.gather(x, winners)), bits(y))
        apart = all(s >= d * (k - 1) + 1 for s, d, k in zip(at.stride, at.dilation, at.kernel, strict=True))
        for distinct in (False, True)[: 1 + apart]:

            def scattered(distinct=distinct):
                return pool.scatter(g, winners, at.size, distinct=distinct)

            assert np.array_equal(bits(scattered()), bits(without_numba(scattered)))
            assert scattered().dtype == x.dtype


@given(poolings(), st.sampled_from([0, parallel.SMALL]))
def test_compiled_sums_of_windows_equal_slices_bit_by_bit_and_so_do_their_gradients(case, small):
    x, g, at = case

    def summed():
        return pool.sum_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.out)

    def spread():
        return pool.sum_pool2d_input_grad(g, at.size, at.kernel, at.stride, at.padding, at.dilation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "SMALL", small)
        for pooled in (summed, spread):
            assert np.array_equal(bits(pooled()), bits(without_numba(pooled)))
            assert pooled().dtype == x.dtype


@pytest.mark.parametrize("layout", ["channels last", "planes"])
def test_pooled_gradients_are_channels_last_whatever_arrives(layout):
    x = laid_out(np.random.default_rng(0).standard_normal((2, 8, 6, 4)).astype(np.float32), layout)
    y, winners, _ = pool.max_pool2d(x, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), (3, 2), "first")
    g = laid_out(y, layout)
    spread = pool.sum_pool2d_input_grad(g, (6, 4), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    for array in (y, winners, pool.scatter(g, winners, (6, 4), distinct=True), spread):
        assert channels_last(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_winners_are_as_wide_as_the_values_where_planes_are_not_too_large(dtype):
    small, large = (np.broadcast_to(np.zeros((), dtype), (1, 8, 2**15, w)) for w in (2**16 - 1, 2**16))
    assert pool_loops.index_of(small) == f"i{small.itemsize}"
    assert pool_loops.index_of(large) == np.int64


def test_H39_a_compiled_scatter_of_many_to_one_cell_keeps_its_accuracy():
    rng = np.random.default_rng(0)
    g = laid_out(rng.standard_normal((2, 8, 40, 50)).astype(np.float32) + 5, "channels last")
    winners = laid_out(rng.integers(0, 2, g.shape), "channels last")

    def scattered():
        return pool.scatter(g, winners, (2, 2))

    assert np.array_equal(bits(scattered()), bits(without_numba(scattered)))
    exact = sum(np.where(winners == cell, g.astype(float), 0).sum((2, 3)) for cell in (0, 1))
    assert np.allclose(scattered().sum((2, 3)), exact, rtol=2e-7)


def test_a_winner_outside_the_plane_is_refused():
    g = laid_out(np.ones((1, 8, 1, 1), np.float32), "channels last")
    for wrong in (6, -1):
        winners = np.full(g.shape, wrong)
        with pytest.raises(IndexError, match="scatter: a winner lies outside the plane of 2 x 3 cells"):
            pool.scatter(g, winners, (2, 3))


@pytest.mark.parametrize("layout", ["channels last", "planes"])
def test_pooling_is_bitwise_the_same_for_any_number_of_threads(monkeypatch, layout):
    monkeypatch.setattr(parallel, "SMALL", 0)
    x = laid_out(np.random.default_rng(0).standard_normal((40, 32, 22, 21)).astype(np.float32), layout)
    windows = (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1)

    def pooled():
        y, winners, _ = pool.max_pool2d(x, *windows, (11, 20), "first")
        g = laid_out(y, layout)
        sums = pool.sum_pool2d(x, *windows, (11, 20))
        return y, winners, pool.scatter(g, winners, (22, 21)), sums, pool.sum_pool2d_input_grad(g, (22, 21), *windows)

    same_for_any_number_of_threads(pooled)


def same_for_any_number_of_threads(function):
    before, results = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            tg.set_num_threads(threads)
            results.append(function())
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

    def normalised():
        y, statistics = ops.batch_norm_train.op.forward(x)
        return y, *statistics, ops.batch_norm_input_grad.op.forward(y, x, statistics=statistics)

    same_for_any_number_of_threads(normalised)


@st.composite
def rows_of_channels(draw):
    """Images whose channels have means far from zero, any number of rows, and how many values make a chunk."""
    rows, c = draw(st.sampled_from([1, 2, 31, 32, 33, 64, 65, 200])), draw(st.integers(8, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset, deviation = draw(st.sampled_from([0.0, 1e4, -3e3])), draw(st.sampled_from([1.0, 1e-3, 30.0]))
    x = (deviation * rng.standard_normal((rows, c)) + offset * rng.uniform(0.5, 1, c)).astype(np.float32)
    g = rng.standard_normal((rows, c)).astype(np.float32)
    if rows % 2 == 0 and draw(st.booleans()):
        x, g = (np.moveaxis(a.reshape(2, 1, rows // 2, c), -1, 1) for a in (x, g))
    return x, g, draw(st.sampled_from([1, 50, 33 * c, 64 * c, norm.CHUNK]))


UNIT = 2.0**-24


def by_channel(x):
    """(n c ...) -> (n*... c), float64"""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(float)


@given(rows_of_channels())
def test_sums_moments_and_products_of_channels_are_within_the_rounding_of_32_rows(case):
    x, g, chunk = case
    rows, given_rows = by_channel(x), by_channel(g)
    centre = rows.mean(0).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "CHUNK", chunk)
        patch.setattr(norm, "SMALL", 0)
        patch.setattr(parallel, "SMALL", 0)
        assert norm.fits(x, g)
        total, (mean, variance), products = norm.total(x), norm.moments(x), norm.weighted_sum(g, x, centre)
    assert {a.dtype for a in (total, mean, variance, products)} == {np.dtype(np.float32)}
    # Of a run of up to 32 in float32, and of the result; what is added in float64 does not count.
    few = 33 * UNIT
    assert (abs(total - rows.sum(0)) <= few * abs(rows).sum(0)).all()
    off = few * abs(rows).mean(0)  # by how much a mean may be off, of a chunk too
    assert (abs(mean - rows.mean(0)) <= off).all()
    step = max(1, chunk // x.shape[1])
    spread = max(abs(rows[k : k + step].mean(0) - rows.mean(0)).max() for k in range(0, len(rows), step))
    assert (abs(variance - rows.var(0)) <= 4 * few * (rows.var(0) + off**2) + 8 * off * (spread + off)).all()
    assert (variance >= 0).all()
    away = rows - centre
    assert (abs(products - (given_rows * away).sum(0)) <= (few + 2 * UNIT) * abs(given_rows * away).sum(0)).all()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_of_many_rows_far_from_zero_are_those_of_float64(offset):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((50001, 11)) * np.linspace(0.1, 3, 11) + offset).astype(np.float32)
    rows = x.astype(float)
    mean, variance = norm.moments(x)
    assert np.allclose(mean, rows.mean(0), rtol=2 * UNIT, atol=1e-6)
    assert np.allclose(variance, rows.var(0), rtol=2e-5 if offset else 1e-6)  # NumPy's is off by a fifth


def test_the_variance_is_right_though_the_mean_is_no_float32():
    x = np.repeat(np.where(np.arange(3000) % 3, 2.0**18, 2.0**18 + 1)[:, None], 9, 1).astype(np.float32)
    mean, variance = norm.moments(x)
    assert np.array_equal(mean, np.full(9, 2.0**18 + 1 / 3, np.float32))
    assert np.allclose(variance, 2 / 9, rtol=8 * UNIT)


def test_a_constant_channel_has_the_variance_of_its_rounding_at_most():
    value = np.float32(1e4 / 3)
    mean, variance = norm.moments(np.full((1000, 9), value))
    assert (abs(mean.astype(float) - value) <= 33 * UNIT * value).all()
    assert (variance <= (33 * UNIT * value) ** 2).all()


@pytest.mark.parametrize("shape", [(4, 9, 150, 200), (3, 64, 20, 30), (120000, 8)])
def test_the_sum_over_all_but_the_channels_does_not_lose_accuracy_with_the_length(shape):
    x = np.random.default_rng(0).uniform(0.5, 1, shape).astype(np.float32)
    x = laid_out(x, "channels last") if x.ndim == 4 else x
    exact = by_channel(x).sum(0)
    axes = (0, *range(2, x.ndim))
    for y in (tg.sum(x, axes), tg.Tensor(x).sum(axes).numpy()):
        assert (abs(y - exact) <= 5 * UNIT * exact).all()


@st.composite
def values_in_memory(draw):
    """Arrays of several dtypes and memory orders, with nan, infinities and -0.0, and which of their values to keep."""
    shape = draw(st.sampled_from([(2, 8, 3, 5), (3, 1, 4, 2), (40,), (2, 3), (3, 14), (0, 8, 2, 2)]))
    layout = draw(st.sampled_from(["planes", "channels last", "reversed", "mixed"]))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = (np.nan, -np.nan, np.inf, -np.inf, 0.5, np.finfo(dtype).tiny) if np.dtype(dtype).kind == "f" else ()
    x, keep = special(rng, shape, dtype, values), rng.random(shape) < 0.5
    if len(shape) == 4:
        x = laid_out(x, "channels last" if layout == "mixed" else layout)
        keep = laid_out(keep, "planes" if layout == "mixed" else layout)
    return x, keep


def swept(function, fast):
    """function() with small arrays given to the compiled sweeps in spans, or to NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "SMALL", 0)
        patch.setattr(sweeps, "FEW", 0)
        patch.setattr(parallel, "SMALL", 0)
        return function() if fast else without_numba(function)


@given(values_in_memory(), st.booleans())
def test_masking_keeps_each_value_bit_by_bit_and_lets_nothing_else_through(case, fast):
    x, keep = case
    y = swept(lambda: sweeps.masked(x, keep), fast)
    expected = np.where(keep, x, np.zeros((), x.dtype))
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.strides == expected.strides or not x.size
    assert np.array_equal(y, expected, equal_nan=x.dtype.kind == "f")
    assert np.array_equal(np.signbit(y), np.signbit(expected)) or x.dtype.kind == "i"


@given(values_in_memory())
def test_a_compiled_relu_equals_numpys_maximum_bit_by_bit_in_the_memory_order_of_its_input(case):
    x, _ = case
    before = x.copy()
    y, expected = swept(lambda: sweeps.rectified(x), True), np.maximum(x, np.zeros((), x.dtype))
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.strides == expected.strides or not x.size
    assert y.tobytes() == expected.tobytes()
    assert x.tobytes() == before.tobytes()


@given(values_in_memory(), st.booleans())
def test_masking_by_what_is_positive_is_masking_bit_by_bit_in_the_memory_order_of_the_mask(case, fast):
    x, keep = case
    where = np.empty_like(keep, x.dtype)
    where[...] = np.where(keep, 2, -1)
    if x.dtype.kind == "f":
        where[...] = np.where(keep, np.where(x > 0, np.inf, where), np.where(x > 0, np.nan, -0.0))
    y = swept(lambda: sweeps.masked_positive(x, where), fast)
    expected = np.where(keep, x, np.zeros((), x.dtype))
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.strides == where.strides or x.ndim != 4 or x.dtype.char not in "fd" or not x.size
    assert np.array_equal(y, expected, equal_nan=x.dtype.kind == "f")
    assert np.array_equal(np.signbit(y), np.signbit(expected)) or x.dtype.kind == "i"


@pytest.mark.parametrize("fast", [True, False])
def test_the_mask_decides_the_memory_order(fast):
    x = np.random.default_rng(0).standard_normal((2, 8, 3, 5)).astype(np.float32)
    for mine, others in (("channels last", "planes"), ("planes", "channels last")):
        mask = laid_out(np.cos(x), mine)
        for y in (
            swept(lambda mask=mask, others=others: sweeps.masked(laid_out(x, others), mask > 0), fast),
            swept(lambda mask=mask, others=others: sweeps.masked_positive(laid_out(x, others), mask), fast),
        ):
            assert y.strides == mask.strides
            assert np.array_equal(y, np.where(np.cos(x) > 0, x, 0))


@given(values_in_memory())
@pytest.mark.filterwarnings("ignore:invalid value")  # inf - inf
def test_a_sum_is_numpys_bit_by_bit_and_in_its_memory_order(case):
    x, keep = case
    rolled = np.roll(x, 1)
    same = np.empty_like(x)
    same[...] = rolled
    others = [same, rolled, np.asfortranarray(same), same[..., :1], np.array(3, x.dtype), keep]
    others += [same.astype(dtype) for dtype in (np.float32, np.float64)]
    for y in others:
        before = x.copy(), y.copy()
        expected = np.asarray(x + y)
        for first, second in ((x, y), (y, x)):
            for fast in (True, False):
                total = swept(lambda first=first, second=second: sweeps.added(first, second), fast)
                assert (total.dtype, total.shape) == (expected.dtype, expected.shape)
                assert total.strides == np.asarray(first + second).strides or not x.size
                assert np.array_equal(total, expected, equal_nan=expected.dtype.kind == "f")
                number = expected == expected  # which of two nan comes out is the processor's business
                assert expected.dtype.kind == "i" or np.array_equal(
                    np.signbit(total)[number], np.signbit(expected)[number]
                )
                assert not np.shares_memory(total, x)
        assert x.tobytes() == before[0].tobytes()
        assert y.tobytes() == before[1].tobytes()


def test_sweeps_are_bitwise_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(parallel, "SMALL", 0)
    x = laid_out(np.random.default_rng(0).standard_normal((3, 8, 37, 41)).astype(np.float32), "channels last")
    y = np.cos(x)
    same_for_any_number_of_threads(
        lambda: (sweeps.rectified(x), sweeps.masked(x, x > 0), sweeps.masked_positive(y, x), sweeps.added(x, y))
    )
    assert np.array_equal(sweeps.rectified(x), np.maximum(x, 0))
