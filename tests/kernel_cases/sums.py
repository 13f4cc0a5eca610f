"""Sums over any axes (reduce), sums and sweeps of channels (norm), and standardized values and their gradient."""

import itertools

import numpy as np
import pytest

from tinygrad_cnn.kernels import compiled, norm, reduce, standardize

from . import case
from .arrays import LAYOUTS, frozen, laid_out, same, whole

UNIT = 2.0**-24


def sums(shape, axes, dtype, small, order=None):
    x = whole(shape, 1, dtype, 0, 9)
    x = x if order is None else x.transpose(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "SMALL", small)
        patch.setattr(reduce, "RUN", 2 if small < 9 else 128)
        for keepdims in (False, True):
            y = reduce.sum_pairwise(x, axes, keepdims)
            wanted = x.sum(axes, keepdims=keepdims)
            assert isinstance(y, np.ndarray)
            same(y, np.asarray(wanted))
            assert not np.shares_memory(x, y)


SHAPES = [(), (7,), (3, 5), (5, 3), (2, 3, 4), (3, 1, 5), (2, 3, 4, 5), (13, 2), (2, 13), (0, 3), (3, 0, 2), (9, 2, 3)]
ALL = [
    (shape, axes)
    for shape in SHAPES
    for k in range(len(shape) + 1)
    for axes in itertools.combinations(range(len(shape)), k)
]


@case("reduce", *[(shape, axes, np.float64, small) for shape, axes in ALL for small in (2, 1024)])
@case("reduce", *[(shape, axes, dtype, 2) for shape, axes in ALL[::2] for dtype in (np.float16, np.int32, np.bool_)])
@case(
    "reduce",
    *[
        ((2, 3, 4, 5), axes, np.float32, 2, order)
        for shape, axes in ALL
        if len(shape) == 4
        for order in ((0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3))
    ],
)
def a_sum_is_numpys(shape, axes, dtype, small, order=None):
    sums(shape, axes, dtype, small, order)


@case("reduce", ((9, 7, 30), (0,)), ((9, 7, 30), (1,)), ((40, 5), (0,)), ((3, 100), (1,)), ((5, 40, 3), (0, 1)))
def a_sum_is_no_view_and_unread_memory_counts_nothing(shape, axes):
    wide = np.full((*shape[:-1], 2 * shape[-1]), np.nan)
    wide[..., ::2] = whole(shape, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "SMALL", 2)
        patch.setattr(reduce, "RUN", 3)
        same(reduce.sum_pairwise(wide[..., ::2], axes, False), wide[..., ::2].sum(axes))
        same(reduce.sum_pairwise(wide[::-1, ..., ::2], axes, True), wide[::-1, ..., ::2].sum(axes, keepdims=True))


@case(
    "reduce",
    ((2**15, 2), (0,)),
    ((2**15, 1), (0,)),
    ((2**13, 3, 4), (0, 2)),
    ((2, 2**14), (1,)),
    ((300, 2, 300), (0, 2)),
)
def an_error_grows_with_the_logarithm_of_the_length(shape, axes):
    for dtype, unit in ((np.float32, UNIT), (np.float64, 2.0**-53)):
        x = np.random.default_rng(0).random(shape, dtype) + dtype(1)
        exact = x.sum(axes, np.longdouble)
        assert (abs(reduce.sum_pairwise(x, axes, False) - exact) <= 6 * unit * exact).all()


@case("reduce")
def float16_is_summed_in_float32():
    x = np.full((7000, 2), 0.1, np.float16)
    for axes, count in (((0,), 7000), ((1,), 2), ((0, 1), 14000)):
        total = reduce.sum_pairwise(x, axes, False)
        assert total.dtype == np.float16
        assert (total == np.float16(count * float(x[0, 0]))).all()
    small = reduce.sum_pairwise(np.full((1000, 1), 1.001, np.float16), (0,), False)
    assert (small.dtype, small[0]) == (np.float16, np.float16(1000 * float(np.float16(1.001))))
    across = reduce.sum_pairwise(np.full((500, 2), 1.001, np.float16), (0,), False)
    assert across.tolist() == [np.float16(500 * float(np.float16(1.001)))] * 2
    short = reduce.sum_pairwise(np.full((100, 20), 1.001, np.float16), (0,), False)
    assert short.tolist() == [np.float16(100 * float(np.float16(1.001)))] * 20
    assert reduce.sum_pairwise(np.full(2000, 60.0, np.float16), (0,), False) == np.inf
    assert reduce.widened(x).dtype == np.float32
    assert reduce.widened(small.astype(float)).dtype == np.float64
    same(reduce.widened(x), x, np.float32)


@case("reduce")
def channels_of_images_are_summed_by_their_own_loops():
    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "total", lambda x: called.append(x) or np.full(x.shape[1], 7, x.dtype))
        for layout, keepdims, axes in itertools.product(
            ("planes", "channels last"), (True, False), ((0, 2, 3), (0, 2), (0,))
        ):
            called.clear()
            y = reduce.sum_pairwise(laid_out(np.ones((4, 16, 12, 12), np.float32), layout), axes, keepdims)
            assert (y == 7).all() == bool(called)
            assert bool(called) is (
                compiled.available() and layout == "channels last" and not keepdims and axes == (0, 2, 3)
            )


IMAGES = [
    ((2, 9, 3, 4), "channels last"),
    ((40, 8), "planes"),
    ((3, 10, 25), "channels last"),
    ((66, 8, 1), "planes"),
    ((1, 8), "planes"),
]
CHUNKS = (1, 100, 33 * 8, 64 * 9, norm.CHUNK)


def rows_of(x):
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(float)


def of_channel(a, x):
    return a.reshape(1, -1, *[1] * (x.ndim - 2))


@case("norm", *[(shape, layout, chunk) for shape, layout in IMAGES for chunk in CHUNKS])
def sums_of_channels_are_exact_for_whole_numbers(shape, layout, chunk):
    x, g = (laid_out(whole(shape, k, np.float32), layout) for k in (1, 2))
    c = shape[1]
    centre, scale, slope, shift = (whole(c, k, np.float32) for k in (3, 4, 5, 6))
    rows, given = rows_of(x), rows_of(g)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "CHUNK", chunk)
        same(norm.total(x), rows.sum(0), np.float32)
        same(norm.weighted_sum(g, x, centre), (given * (rows - centre)).sum(0), np.float32)
        mean, variance = norm.moments(x)
    assert mean.dtype == variance.dtype == np.float32
    assert np.allclose(mean, rows.mean(0), rtol=1e-6, atol=1e-6)
    assert np.allclose(variance, rows.var(0), rtol=1e-5, atol=1e-6)
    d = x.astype(float) - of_channel(centre, x)
    y = norm.affine(x, centre, scale, shift)
    same(y, d * of_channel(scale, x) + of_channel(shift, x), np.float32)
    y = norm.combined(g, x, centre, slope, scale, shift)
    same(y, d * of_channel(slope, x) + g * of_channel(scale, x) + of_channel(shift, x), np.float32)
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


@case("norm")
def moments_far_from_zero_are_those_of_float64():
    rng = np.random.default_rng(0)
    for rows, offset, deviation, chunk in ((201, 1e4, 1, 900), (64, -3e3, 1e-1, norm.CHUNK), (65, 1e4, 30, 70)):
        x = (deviation * rng.standard_normal((rows, 9)) + offset * rng.uniform(0.5, 1, 9)).astype(np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(norm, "CHUNK", chunk)
            mean, variance = norm.moments(x)
        wide = x.astype(float)
        assert np.allclose(mean, wide.mean(0), rtol=16 * UNIT)
        assert np.allclose(variance, wide.var(0), rtol=1e-3)
    # the mean is no float32
    x = np.repeat(np.where(np.arange(3000) % 3, 2.0**18, 2.0**18 + 1)[:, None], 9, 1).astype(np.float32)
    for chunk in (9 * 150, norm.CHUNK):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(norm, "CHUNK", chunk)
            mean, variance = norm.moments(x)
        assert np.array_equal(mean, np.full(9, 2.0**18 + 1 / 3, np.float32))
        assert np.allclose(variance, 2 / 9, rtol=8 * UNIT)
    constant = np.repeat((np.arange(1, 70) / 7).astype(np.float32)[None], 1000, 0)
    assert (norm.moments(constant)[1] >= 0).all()
    assert (norm.moments(constant)[1] <= (33 * UNIT * constant[0]) ** 2).all()


@case("norm")
def a_chunk_is_some_rows_and_at_least_one():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "CHUNK", 100)
        assert [norm._step(np.zeros((5, c))) for c in (8, 100, 101)] == [12, 1, 1]
        assert type(norm._step(np.zeros((5, 8)))) is int


@case("norm")
def runs_of_32_are_added_in_float32_and_those_sums_in_float64():
    x = np.full((3200, 8), 0.1, np.float32)
    run = np.float32(0)
    for _ in range(32):
        run += np.float32(0.1)
    assert (norm.total(x) == np.float32(100 * float(run))).all()
    ones, zeros = np.ones_like(x), np.zeros(8, np.float32)
    assert (norm.weighted_sum(ones, x, zeros) == np.float32(100 * float(run))).all()
    mean, _ = norm.moments(x)
    assert (mean == np.float32(float(run) / 32)).all()


@case("norm")
def the_loops_are_for_large_float32_images_of_channels():
    x = np.zeros((128, 64), np.float32)
    assert norm.fits(x) is compiled.available()
    assert norm.fits(x, x) is compiled.available()
    assert norm.fits(np.zeros((2**10, 8), np.float32)) is compiled.available()
    assert norm.fits(laid_out(np.zeros((2, 8, 32, 32), np.float32), "channels last")) is compiled.available()
    for other in (
        x[:127],
        x.astype(float),
        np.asfortranarray(x),
        np.zeros((2**11, 7), np.float32),
        np.zeros(2**14, np.float32),
    ):
        assert norm.fits(other) is False
    assert norm.fits(np.zeros((2, 8, 32, 32), np.float32)) is False
    assert norm.fits(x, np.asfortranarray(x)) is False


STANDARD = [
    ((3, 5, 4), (2,), "planes"),
    ((3, 5, 4), (1, 2), "planes"),
    ((3, 5, 4), (2, 1), "planes"),
    ((3, 5, 4), (1,), "planes"),
    ((2, 4, 3, 5), (2, 3), "channels last"),
    ((2, 4, 3, 5), (1, 2, 3), "channels last"),
    ((2, 4, 3, 5), (2, 3), "every second"),
    ((3, 5, 4), (0,), "planes"),
    ((7,), (0,), "planes"),
    ((3, 4), (), "planes"),
    ((2, 3, 40), (2,), "planes"),
    ((2, 37), (1,), "planes"),
    ((5, 3, 2, 2), (2, 3), "planes"),
    ((0, 4), (1,), "planes"),
    ((3, 0), (1,), "planes"),
    ((4, 3, 2), (0, 2), "Fortran"),
]


@case(
    "standardize",
    *[
        (shape, axes, layout, dtype, centred, block)
        for dtype, blocks in ((np.float64, (20,)), (np.float32, (1, 20, 2**15)), (np.float16, (20,)))
        for centred in (True, False)
        for block in blocks
        for shape, axes, layout in STANDARD
    ],
)
def standardized_values_and_their_gradient_are_those_of_the_definition(shape, axes, layout, dtype, centred, block):
    rng = np.random.default_rng(1)
    x, g = (laid_out((rng.standard_normal(shape) * 3 + k).astype(dtype), layout) for k in (2, 0))
    w, b = (frozen(rng.standard_normal(shape[1:] or shape).astype(dtype)) for _ in range(2))
    wide, given, eps = x.astype(float), g.astype(float), 0.3
    counted = max(1, int(np.prod([shape[a] for a in axes])))
    mean = wide.sum(axes, keepdims=True) / counted * centred
    variance = ((wide - mean) ** 2).sum(axes, keepdims=True) / counted
    r = 1 / np.sqrt(variance + eps)
    y = (wide - mean) * r
    dx = (
        given - centred * given.sum(axes, keepdims=True) / counted - y * (given * y).sum(axes, keepdims=True) / counted
    ) * r
    near = {np.float64: 1e-12, np.float32: 4e-6, np.float16: 4e-3}[dtype]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standardize, "BLOCK", block)
        for weight, bias in ((None, None), (w, None), (None, b), (w, b)):
            wanted = y * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)
            found, statistics = standardize.standardized(x, axes, eps, centred, weight, bias, None)
            statistics = tuple(map(frozen, statistics))
            again, kept = standardize.standardized(x, axes, eps, centred, weight, bias, statistics)
            for one in (found, again):
                assert one.dtype == dtype
                assert one.shape == x.shape
                assert np.allclose(one, wanted, rtol=near, atol=3 * near)
                assert one.strides == x.strides or not (x.flags.c_contiguous or x.flags.f_contiguous) or not x.size
            assert kept[0] is statistics[0]
        assert statistics[0].dtype == np.float64
        assert statistics[1].dtype == (np.float64 if dtype == np.float64 else np.float32)
        assert statistics[0].shape == statistics[1].shape == mean.shape
        assert np.allclose(statistics[0], mean, rtol=1e-6, atol=1e-6)
        assert np.allclose(statistics[1], variance, rtol=1e-5, atol=1e-6)
        for known in (None, statistics):
            found = standardize.input_gradient(g, x, axes, eps, centred, known)
            assert (found.dtype, found.shape) == (dtype, x.shape)
            assert np.allclose(found, dx, rtol=near, atol=3 * near)


@case(
    "standardize",
    *[
        (axes, dtype, size, steps)
        for axes in ((1,), (0,))
        for dtype, size, steps in (
            *((np.float32, *one) for one in ((9, 3), (40, 2), (48, 500), (1100, 2), (2048, 3), (2500, 500))),
            *((np.float64, *one) for one in ((40, 2), (1100, 500))),
        )
    ],
)
def a_mean_far_from_zero_is_kept_in_float64(axes, dtype, size, steps):
    rng = np.random.default_rng(2)
    x = (np.rint(rng.standard_normal((3, size)) * steps) * 2.0**-10 + 1e4).astype(dtype)  # 2^-10: one unit of float32
    x = frozen(x if axes == (1,) else np.ascontiguousarray(x.T))
    g = frozen((rng.standard_normal(x.shape) + 2).astype(dtype))
    wide, eps = x.astype(float), 1e-7
    y, statistics = standardize.standardized(x, axes, eps, True, None, None, None)
    mean, variance = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    near = 1e-6 if dtype == np.float32 else 1e-9
    assert np.allclose(statistics[0], mean, rtol=1e-12)
    assert np.allclose(statistics[1], variance, rtol=near)
    r = 1 / np.sqrt(variance + eps)
    exact = (wide - mean) * r
    assert np.allclose(y, exact, rtol=3 * near, atol=3 * near)
    again, _ = standardize.standardized(x, axes, eps, True, None, None, tuple(map(frozen, statistics)))
    assert np.allclose(again, exact, rtol=3 * near, atol=3 * near)
    dx = (g - g.mean(axes, keepdims=True) - exact * (g * exact).mean(axes, keepdims=True)) * r
    for known in (None, statistics):
        found = standardize.input_gradient(g, x, axes, eps, True, known)
        assert abs(found - dx).max() <= 20 * near * r.max()


@case("standardize", *[(axes, dtype) for axes in ((2,), (1,)) for dtype in (np.float64, np.float32, np.float16)])
def statistics_that_are_known_are_taken_as_they_are(axes, dtype):
    rng = np.random.default_rng(4)
    x, g = (frozen(rng.standard_normal((3, 5, 20)).astype(dtype)) for _ in range(2))
    shape = np.mean(x, axes, keepdims=True).shape
    mean = frozen(rng.standard_normal(shape))
    variance = frozen((rng.random(shape) + 1).astype(np.promote_types(dtype, np.float32)))
    r = 1 / np.sqrt(variance + 0.25)
    wanted = (x - mean) * r
    dx = (g - g.mean(axes, float, keepdims=True) - wanted * (g * wanted).mean(axes, keepdims=True)) * r
    y, kept = standardize.standardized(x, axes, 0.25, True, None, None, (mean, variance))
    near = 1e-12 if dtype == np.float64 else 4 * np.finfo(dtype).eps
    assert kept[0] is mean
    assert kept[1] is variance
    assert np.allclose(y, wanted, rtol=near, atol=near)
    found = standardize.input_gradient(g, x, axes, 0.25, True, (mean, variance))
    assert np.allclose(found, dx, rtol=near, atol=near)


@case("standardize", *[(size, dtype) for size in (9, 40, 1040) for dtype in (np.float32, np.float64)])
def small_deviations_from_zero_keep_their_digits(size, dtype):
    x = frozen((np.random.default_rng(3).standard_normal((2, size)) * 1e-5).astype(dtype))
    wide = x.astype(float)
    _, (mean, variance) = standardize.standardized(x, (1,), 1e-5, True, None, None, None)
    assert np.allclose(mean, wide.mean(1, keepdims=True), rtol=1e-6, atol=1e-12)
    assert np.allclose(variance, wide.var(1, keepdims=True), rtol=1e-6, atol=0)


@case("standardize", *[(axes,) for axes in ((1,), (0,))])
def the_variance_of_a_constant_is_not_negative(axes):
    x = np.full((30, 30), np.float32(1e4 / 3))
    _, (mean, variance) = standardize.standardized(x, axes, 1e-5, True, None, None, None)
    assert (variance >= 0).all()
    assert np.allclose(mean, x[0, 0], rtol=1e-7)
    for value in (1e-25 / 3, 1e-22 / 3, 7e-19):
        x = np.full((2, 1040), value, np.float32)
        _, (_, variance) = standardize.standardized(x, (1,), 0.0, True, None, None, None)
        assert not np.signbit(variance).any()
        assert (variance < 1e-40).all()


@case("standardize", *[(axes, layout) for axes in ((2,), (1, 2), (2, 1), (1,), (0, 2), ()) for layout in LAYOUTS[::2]])
def loops_are_for_means_of_neighbours_in_memory(axes, layout):
    called, loops = [], ("_measure", "_scale", "_combine")
    x = laid_out(np.random.default_rng(1).standard_normal((3, 5, 4)), layout)
    with pytest.MonkeyPatch.context() as patch:
        for name in loops:
            loop = getattr(standardize, name)
            patch.setattr(standardize, name, lambda *a, name=name, loop=loop: called.append(name) or loop(*a))
        _, statistics = standardize.standardized(x, axes, 0.1, True, None, None, None)
        standardize.input_gradient(x, x, axes, 0.1, True, statistics)
    fits = compiled.available() and layout == "planes" and sorted(axes) in ([2], [1, 2], [])
    assert called == (list(loops) if fits else [])


@case(
    "standardize",
    ((6, 5, 4), (2,), [(1, 5, 4)] * 6),
    ((3, 8, 4), (2,), [(1, 6, 4), (1, 2, 4)] * 3),
    ((2, 2, 7, 4), (3,), [(1, 1, 6, 4), (1, 1, 1, 4)] * 4),
    ((3, 2, 10), (2,), [(1, 2, 10)] * 3),
    ((5, 3, 2), (2,), [(4, 3, 2), (1, 3, 2)]),
    ((5, 50), (1,), [(1, 50)] * 5),
    ((7, 3), (0,), [(7, 3)]),
    ((9, 3), (0,), [(9, 3)]),
    ((4, 3, 2), (1, 2), [(4, 3, 2)]),
    ((5, 8), (), [(3, 8), (2, 8)]),
    ((0, 50), (1,), [(0, 50)]),
    ((3, 0, 50), (2,), [(3, 0, 50)]),
    ((3, 8, 4), (2,), [(1, 8, 4)] * 3, "Fortran"),
    ((5, 2, 4), (2,), [(3, 2, 4), (2, 2, 4)], "Fortran"),
)
def blocks_are_cut_along_the_axes_before_the_mean(shape, axes, blocks, layout="planes"):
    x, seen, taken = laid_out(np.zeros(shape), layout), np.zeros(shape, int), []

    def body(at):
        seen[at] += 1
        taken.append(x[at].shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standardize, "BLOCK", 24)
        standardize._in_blocks(body, x, axes)
    assert (seen == 1).all()
    assert sorted(taken) == sorted(blocks)
