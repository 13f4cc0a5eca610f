"""The array kernels against plain loops: small integers in float64, so that equal means equal."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.geometry import conv2d_geometry, conv_transpose2d_geometry, pool2d_geometry
from tinygrad_cnn.kernels import conv, conv_depthwise, conv_im2col, packing, pool, reduce
from tinygrad_cnn.kernels.windows import span, spans, windows

NONE = ((0, 0), (0, 0))
LAYOUTS = ("planes", "channels last", "Fortran", "reversed", "every second", "read-only")


def whole(shape, seed, dtype=np.float64, low=-4, high=5):
    """Small whole numbers: their sums of products are exact in any order."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def laid_out(x, layout):
    """The same values in another memory layout."""
    if layout == "channels last":
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "Fortran":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.ascontiguousarray(x[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1]
    if layout == "every second":
        wide = np.zeros((*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3]), x.dtype)
        wide[:, :, ::2, ::3] = x
        return wide[:, :, ::2, ::3]
    x = x.copy()
    x.flags.writeable = layout != "read-only"
    return x


@st.composite
def convolutions(draw):
    """Arrays and parameters of a convolution, asymmetric in everything; the image covers the kernel by construction."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    n, c_group, o_group = draw(st.integers(0, 3)), draw(st.sampled_from([1, 1, 2, 3, 5])), draw(st.integers(1, 4))
    most = draw(st.sampled_from([1, 4]))
    kernel, stride, dilation, padding, size = [], [], [], [], []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, most)), draw(st.integers(1, 3))
        lo, hi = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        h = draw(st.integers(max(1, d * (k - 1) + 1 - lo - hi), d * (k - 1) + 5))
        for numbers, number in zip((kernel, stride, dilation, padding, size), (k, s, d, (lo, hi), h), strict=True):
            numbers.append(number)
    seed = draw(st.integers(0, 2**32 - 1))
    x = laid_out(whole((n, c_group * groups, *size), seed), draw(st.sampled_from(LAYOUTS)))
    w = laid_out(whole((o_group * groups, c_group, *kernel), seed + 1), draw(st.sampled_from(LAYOUTS)))
    b = whole(o_group * groups, seed + 2) if draw(st.booleans()) else None
    params = (tuple(stride), tuple(padding), tuple(dilation), groups)
    block = draw(st.sampled_from([1, 400, 2000, conv_im2col.BLOCK]))
    return x, w, b, params, draw(st.sampled_from(LAYOUTS)), seed + 3, block


@given(convolutions())
def test_H66_convolution_equals_the_loops_and_its_gradients_are_its_adjoints(case):
    x, w, b, params, layout, seed, block = case
    stride, padding, dilation, groups = params
    before = x.copy(), w.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_im2col, "BLOCK", block)
        patch.setattr(conv_depthwise, "BLOCK", block)
        y = conv.conv2d(x, w, b, *params)
        expected = oracles.conv2d(x, w, b, stride, padding, dilation, groups)
        assert y.shape == conv2d_geometry(x.shape, w.shape, *params).out_shape == expected.shape
        assert np.array_equal(y, expected)
        g = laid_out(whole(y.shape, seed), layout)
        dx = conv.conv2d_input_grad(g, w, x.shape[2:], *params)
        dw = conv.conv2d_weight_grad(x, g, w.shape[2:], *params)
    assert (dx.shape, dw.shape, dx.dtype, dw.dtype) == (x.shape, w.shape, x.dtype, w.dtype)
    inner = (oracles.conv2d(x, w, None, stride, padding, dilation, groups) * g).sum()
    assert (x * dx).sum() == inner == (w * dw).sum()
    # The scalar products could hide a misplaced entry: one entry at a time.
    for place in np.random.default_rng(seed).integers(0, max(x.size, 1), 2 * bool(x.size)):
        unit = np.zeros(x.shape)
        unit.flat[place] = 1
        assert dx.flat[place] == (oracles.conv2d(unit, w, None, stride, padding, dilation, groups) * g).sum()
    for place in np.random.default_rng(seed).integers(0, w.size, 2):
        unit = np.zeros(w.shape)
        unit.flat[place] = 1
        assert dw.flat[place] == (oracles.conv2d(x, unit, None, stride, padding, dilation, groups) * g).sum()
    assert np.array_equal(x, before[0])
    assert np.array_equal(w, before[1])
    for result in (y, dx, dw):
        assert not np.shares_memory(result, x)
        assert not np.shares_memory(result, w)
        assert not np.shares_memory(result, g)
        assert result.flags.writeable


@given(convolutions(), st.integers(0, 2), st.integers(0, 2))
def test_the_input_gradient_is_the_transposed_convolution(case, extra_rows, extra_columns):
    x, w, _, (stride, padding, dilation, groups), *_ = case
    x = whole((x.shape[0], w.shape[0], *x.shape[2:]), case[-2])
    sizes = zip(x.shape[2:], stride, padding, dilation, w.shape[2:], strict=True)
    # Less padding where it would eat the whole output; output_padding below stride or dilation.
    padding = tuple(sides if (h - 1) * s + d * (k - 1) >= sum(sides) else (0, 0) for h, s, sides, d, k in sizes)
    extra = tuple(min(e, max(s, d) - 1) for e, s, d in zip((extra_rows, extra_columns), stride, dilation, strict=True))
    geometry = conv_transpose2d_geometry(x.shape, w.shape, stride, padding, extra, groups, dilation)
    y = conv.conv2d_input_grad(x, w, geometry.out, stride, padding, dilation, groups)
    expected = oracles.conv_transpose2d(x, w, None, stride, padding, extra, groups, dilation)
    assert geometry.out_shape == y.shape == expected.shape
    assert np.array_equal(y, expected)
    # With output_padding a plain convolution of y could be larger than x: `out` asks for the windows of x.
    h = whole(y.shape, case[-2] + 1)
    back = conv.conv2d(h, w, None, stride, padding, dilation, groups, x.shape[2:])
    assert back.shape == x.shape
    assert (back * x).sum() == (h * y).sum()
    dw = conv.conv2d_weight_grad(h, x, w.shape[2:], stride, padding, dilation, groups)
    assert (dw * w).sum() == (h * y).sum()


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 1)), ((0, 2), (1, 0)), ((4, 0), (0, 3))])
@pytest.mark.parametrize(("c", "o", "groups"), [(6, 4, 1), (5, 10, 1), (1, 3, 1), (4, 6, 2), (10, 4, 2), (3, 6, 3)])
def test_both_gradients_equal_the_loops_entry_by_entry(stride, padding, c, o, groups):
    dilation, kernel = (1, 2), (3, 2)
    x, w = whole((2, c, 7, 4), 1), whole((o, c // groups, *kernel), 2)
    params = (stride, padding, dilation, groups)
    y = conv.conv2d(x, w, None, *params)
    assert np.array_equal(y, oracles.conv2d(x, w, None, *params))
    g = whole(y.shape, 3)
    # What the last windows do not reach is zero in the gradient: the loops' output_padding.
    rest = tuple(
        (h + sum(sides) - d * (k - 1) - 1) % s
        for h, k, s, sides, d in zip((7, 4), kernel, stride, padding, dilation, strict=True)
    )
    expected = oracles.conv_transpose2d(g, w, None, stride, padding, rest, groups, dilation)
    assert np.array_equal(conv.conv2d_input_grad(g, w, (7, 4), *params), expected)
    dw = conv.conv2d_weight_grad(x, g, kernel, *params)
    for place in range(w.size):
        unit = np.zeros(w.shape)
        unit.flat[place] = 1
        assert dw.flat[place] == (conv.conv2d(x, unit, None, *params) * g).sum()


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("channels", [6, 12])
def test_H67_groups_equal_a_block_diagonal_convolution(groups, channels):
    x, w = whole((2, channels, 5, 4), 1), whole((2 * channels, channels // groups, 3, 2), 2)
    dense = np.zeros((2 * channels, channels, 3, 2))
    for o in range(2 * channels):
        start = o // (2 * channels // groups) * (channels // groups)
        dense[o, start : start + channels // groups] = w[o]
    params = ((1, 2), ((1, 0), (0, 1)), (1, 1))
    assert np.array_equal(conv.conv2d(x, w, None, *params, groups), conv.conv2d(x, dense, None, *params, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_H67_depthwise_convolution_equals_the_loops(layout, multiplier):
    x, w, b = laid_out(whole((2, 4, 6, 5), 1), layout), whole((4 * multiplier, 1, 2, 3), 2), whole(4 * multiplier, 3)
    params = ((2, 1), ((0, 1), (2, 0)), (1, 2), 4)
    y = conv.conv2d(x, w, b, *params)
    assert np.array_equal(y, oracles.conv2d(x, w, b, *params))
    g = whole(y.shape, 4)
    inner = ((y - b[:, None, None]) * g).sum()
    assert (conv.conv2d_input_grad(g, w, (6, 5), *params) * x).sum() == inner
    assert (conv.conv2d_weight_grad(x, g, (2, 3), *params) * w).sum() == inner


@pytest.mark.parametrize("layout", LAYOUTS)
def test_H68_a_1x1_convolution_is_a_matrix_product(layout):
    x, w, b = laid_out(whole((2, 3, 4, 5), 1), layout), whole((7, 3, 1, 1), 2), whole(7, 3)
    params = ((1, 1), NONE, (1, 1), 1)
    y = conv.conv2d(x, w, b, *params)
    assert np.array_equal(y, np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]) + b[:, None, None])
    g = laid_out(whole(y.shape, 4), layout)
    assert np.array_equal(conv.conv2d_input_grad(g, w, (4, 5), *params), np.einsum("nohw,oc->nchw", g, w[:, :, 0, 0]))
    dw = conv.conv2d_weight_grad(x, g, (1, 1), *params)
    assert np.array_equal(dw[:, :, 0, 0], np.einsum("nohw,nchw->oc", g, x))


@pytest.mark.parametrize("padding", [((1, 0), (0, 0)), ((0, 0), (0, 1))])
def test_H68_a_padded_1x1_convolution_of_a_square_image_equals_the_loops(padding):
    x, w = whole((2, 3, 4, 4), 1), whole((5, 3, 1, 1), 2)
    y = conv.conv2d(x, w, None, (1, 1), padding, (1, 1), 1)
    assert np.array_equal(y, oracles.conv2d(x, w, None, (1, 1), padding))
    g = whole(y.shape, 3)
    dw = conv.conv2d_weight_grad(x, g, (1, 1), (1, 1), padding, (1, 1), 1)
    dx = conv.conv2d_input_grad(g, w, (4, 4), (1, 1), padding, (1, 1), 1)
    assert (dw * w).sum() == (dx * x).sum() == (y * g).sum()


def test_H68_a_kernel_as_large_as_the_image_gives_one_number():
    x, w = whole((2, 3, 4, 5), 1), whole((6, 3, 4, 5), 2)
    y = conv.conv2d(x, w, None, (1, 1), NONE, (1, 1), 1)
    assert np.array_equal(y, np.einsum("nchw,ochw->no", x, w)[:, :, None, None])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_H60_an_empty_batch_works(groups):
    x, w, b = np.zeros((0, 4, 5, 6)), np.ones((8, 4 // groups, 3, 2)), np.ones(8)
    params = ((1, 2), ((1, 1), (0, 0)), (1, 1), groups)
    y = conv.conv2d(x, w, b, *params)
    assert y.shape == (0, 8, 5, 3)
    assert conv.conv2d_input_grad(y, w, (5, 6), *params).shape == (0, 4, 5, 6)
    dw = conv.conv2d_weight_grad(x, y, (3, 2), *params)
    assert dw.shape == w.shape
    assert not dw.any()


def test_H65_pixels_between_and_after_the_windows_get_no_gradient():
    w = np.ones((1, 1, 2, 2))
    dx = conv.conv2d_input_grad(np.ones((1, 1, 2, 2)), w, (7, 6), (3, 3), NONE, (1, 1), 1)
    read = np.array([1, 1, 0, 1, 1, 0, 0])
    assert np.array_equal(dx[0, 0], np.outer(read, read[:6]))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_H72_a_bad_pixel_reaches_only_the_windows_that_see_it(bad, groups):
    x, w = whole((2, 4, 8, 7), 1), whole((8, 4 // groups, 3, 2), 2, low=1)
    x[1, 2, 4, 3] = bad
    y = conv.conv2d(x, w, None, (1, 1), NONE, (1, 1), groups)
    sees = np.zeros(y.shape, bool)
    sees[1, slice(None) if groups == 1 else slice(4, 6), 2:5, 2:4] = True
    assert np.array_equal(~np.isfinite(y), sees)
    g = whole(y.shape, 3)
    g[1, 5, 2, 2] = bad
    dx = conv.conv2d_input_grad(g, w, (8, 7), (1, 1), NONE, (1, 1), groups)
    reached = np.zeros(x.shape, bool)
    reached[1, slice(None) if groups == 1 else 2, 2:5, 2:4] = True
    assert np.array_equal(~np.isfinite(dx), reached)


def test_H72_an_infinite_pixel_times_a_zero_weight_is_nan():
    x = np.array([[[[np.inf, 1.0, 2.0]]]])
    with np.errstate(invalid="ignore"):
        y = conv.conv2d(x, np.array([[[[0.0, 1.0]]]]), None, (1, 1), NONE, (1, 1), 1)
    assert np.isnan(y[0, 0, 0, 0])
    assert y[0, 0, 0, 1] == 2


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_H74_integers_give_the_exact_integer(dtype, groups):
    x, w = whole((2, 4, 5, 4), 1, dtype, -2, 3), whole((4, 4 // groups, 3, 2), 2, dtype, -2, 3)
    y = conv.conv2d(x, w, None, (1, 1), ((1, 1), (0, 1)), (1, 1), groups)
    assert y.dtype == dtype
    assert np.array_equal(y, oracles.conv2d(x, w, None, (1, 1), ((1, 1), (0, 1)), (1, 1), groups))


def test_H74_large_integers_do_not_pass_through_floats():
    x = np.full((1, 1, 1, 2), 2**53 + 1)
    y = conv.conv2d(x, np.array([[[[1, -1]]]]) + np.array([[[[1, 1]]]]), None, (1, 1), NONE, (1, 1), 1)
    assert y.item() == 2 * (2**53 + 1)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_float16_is_summed_in_float32_and_rounded_once(groups):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 9, 9)).astype(np.float16), rng.standard_normal((8, 8 // groups, 3, 3))
    w, b = w.astype(np.float16), rng.standard_normal(8).astype(np.float16)
    params = ((1, 1), ((1, 1), (1, 1)), (1, 1), groups)
    y = conv.conv2d(x, w, b, *params)
    g = rng.standard_normal(y.shape).astype(np.float16)
    wide = [a.astype(np.float32) for a in (x, w, b, g)]
    assert y.dtype == np.float16
    assert np.array_equal(y, conv.conv2d(*wide[:3], *params).astype(np.float16))
    dx = conv.conv2d_input_grad(g, w, (9, 9), *params)
    assert np.array_equal(dx, conv.conv2d_input_grad(wide[3], wide[1], (9, 9), *params).astype(np.float16))
    dw = conv.conv2d_weight_grad(x, g, (3, 3), *params)
    assert np.array_equal(dw, conv.conv2d_weight_grad(wide[0], wide[3], (3, 3), *params).astype(np.float16))
    assert dx.dtype == dw.dtype == np.float16


@pytest.mark.parametrize("shape", [(3, 20, 17, 18), (2, 1, 40, 41), (3, 3, 30, 31)])
def test_float32_meets_the_forward_error_bound(shape):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape).astype(np.float32), rng.standard_normal((5, shape[1], 3, 4)).astype(np.float32)
    params = ((1, 1), ((1, 1), (2, 1)), (1, 1), 1)
    y, exact = conv.conv2d(x, w, None, *params), conv.conv2d(x.astype(float), w.astype(float), None, *params)
    terms = 12 * shape[1]
    gamma = terms * 2.0**-24 / (1 - terms * 2.0**-24)
    assert (abs(y - exact) <= gamma * conv.conv2d(abs(x).astype(float), abs(w).astype(float), None, *params)).all()


def test_H75_an_image_of_zero_strides_equals_its_copy():
    x = np.broadcast_to(whole((1, 1, 1, 6), 1), (2, 3, 5, 6))
    w = whole((4, 3, 3, 2), 2)
    params = ((1, 1), ((1, 0), (0, 2)), (1, 1), 1)
    assert np.array_equal(conv.conv2d(x, w, None, *params), conv.conv2d(x.copy(), w, None, *params))
    g = np.broadcast_to(np.float64(2), (2, 4, 4, 7))
    for f, args in (
        (conv.conv2d_input_grad, (g, w, (5, 6))),
        (conv.conv2d_weight_grad, (x, g, (3, 2))),
    ):
        assert np.array_equal(f(*args, *params), f(args[0].copy(), args[1].copy(), args[2], *params))


def test_H76_steps_that_are_never_taken_may_be_huge():
    x, w = whole((1, 2, 3, 4), 1), whole((3, 2, 3, 1), 2)
    params = ((2**62, 2**62), NONE, (1, 2**62), 1)
    y = conv.conv2d(x, w, None, *params)
    assert np.array_equal(y, oracles.conv2d(x, w, None, *params))
    assert conv.conv2d_input_grad(y, w, (3, 4), *params).shape == x.shape
    assert conv.conv2d_weight_grad(x, y, (3, 1), *params).shape == w.shape
    x, w = x.swapaxes(2, 3), w.swapaxes(2, 3)
    turned = conv.conv2d(x, w, None, (2**62, 2**62), NONE, (2**62, 1), 1)
    assert np.array_equal(turned, y)


def test_H77_convolution_is_cross_correlation():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    w = np.arange(9.0).reshape(1, 1, 3, 3)
    assert np.array_equal(conv.conv2d(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1), w[:, :, ::-1, ::-1])


@given(st.integers(-8, 8), st.integers(1, 5), st.integers(1, 9), st.integers(1, 6))
def test_span_is_the_windows_whose_cell_is_inside(offset, stride, size, out):
    windows_inside, cells = span(offset, stride, size, out)
    inside = [i for i in range(out) if 0 <= i * stride + offset < size]
    assert list(range(out))[windows_inside] == inside
    assert list(range(size))[cells] == [i * stride + offset for i in inside]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 9), st.integers(1, 4), st.integers(1, 9), st.integers(1, 6))
def test_spans_are_those_of_the_cells_that_some_window_has_inside(kernel, stride, before, dilation, size, out):
    every = {p: span(p * dilation - before, stride, size, out) for p in range(kernel)}
    seen = {p: both for p, both in every.items() if range(out)[both[0]]}
    assert spans(kernel, stride, before, dilation, size, out) == list(seen.items())


def test_H76_of_a_huge_kernel_only_the_cells_inside_are_visited():
    assert [p for p, _ in spans(2**60, 1, 2**59, 1, 4, 5)] == list(range(2**59 - 4, 2**59 + 4))
    assert [p for p, _ in spans(2**90, 2**80, 0, 2**70, 4, 1)] == [0]


def test_windows_are_read_only_and_never_leave_the_image():
    x = np.zeros((1, 5, 6, 2))
    assert not windows(x, (3, 2), (2, 1), (1, 3), (2, 3)).flags.writeable
    with pytest.raises(ValueError, match=r"windows: \(3, 3\) windows of \(3, 2\) .* leave \(1, 5, 6, 2\)"):
        windows(x, (3, 2), (2, 1), (1, 3), (3, 3))
    assert windows(x, (3, 2), (2, 2), (1, 3), (2, 2)).shape == (1, 2, 2, 3, 2, 2)


@st.composite
def poolings(draw):
    """An image and the windows of a pooling, asymmetric in everything; values repeat, so that there are ties."""
    kernel, stride, dilation, padding, size = [], [], [], [], []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        half = (d * (k - 1) + 1) // 2
        lo, hi = draw(st.integers(0, half)), draw(st.integers(0, half))
        h = draw(st.integers(d * (k - 1) + 1, d * (k - 1) + 5))
        for numbers, number in zip((kernel, stride, dilation, padding, size), (k, s, d, (lo, hi), h), strict=True):
            numbers.append(tuple(number) if isinstance(number, tuple) else number)
    n, c, ceil_mode = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.booleans())
    x = whole((n, c, *size), draw(st.integers(0, 2**32 - 1)), low=-2, high=3)
    params = tuple(kernel), tuple(stride), tuple(padding), tuple(dilation)
    return laid_out(x, draw(st.sampled_from(LAYOUTS))), params, ceil_mode


def pool_geometry(x, params, ceil_mode):
    return pool2d_geometry(x.shape, *params, ceil_mode).out


@given(poolings(), st.booleans())
def test_H7_max_pooling_equals_the_loops_for_every_rule_of_ties(case, with_nan):
    x, params, ceil_mode = case
    if with_nan and x.size:
        x = x.copy()
        x[x == 1] = np.nan
        x[x == 2] = -np.inf
    expected, holders = oracles.max_pool2d(x, *params, ceil_mode)
    out = pool_geometry(x, params, ceil_mode)
    for ties, k in (("first", 0), ("last", -1)):
        y, winners, share = pool.max_pool2d(x, *params, out, ties)
        assert y.shape == winners.shape == expected.shape
        assert y.dtype == x.dtype
        assert winners.dtype == np.int64
        assert share is None
        assert np.array_equal(y, expected, equal_nan=True)
        assert {place: held[k] for place, held in holders.items()} == dict(np.ndenumerate(winners))
        assert np.array_equal(pool.gather(x, winners), y, equal_nan=True)
    y, winners, share = pool.max_pool2d(x, *params, out, "split")
    assert np.array_equal(y, expected, equal_nan=True)
    assert winners.shape == share.shape == (*y.shape, oracles.cells_inside(x.shape[2:], *params[:4], out))
    assert share.dtype == x.dtype
    for place, held in holders.items():
        counted = [int(cell) for cell, part in zip(winners[place], share[place], strict=True) if part]
        assert counted == held
        assert (share[place][share[place] > 0] == 1 / len(held)).all()
        assert not winners[place][share[place] == 0].any()


@given(poolings(), st.booleans())
def test_scatter_is_the_adjoint_of_gather(case, trailing):
    x, params, ceil_mode = case
    y, winners, _ = pool.max_pool2d(x, *params, pool_geometry(x, params, ceil_mode), "split" if trailing else "first")
    g = whole(winners.shape, 3) if trailing else laid_out(whole(y.shape, 3), "channels last")
    back = pool.scatter(g, winners, x.shape[2:])
    assert back.shape == x.shape
    expected = np.zeros(x.shape)
    for (n, c, *rest), winner in np.ndenumerate(winners):
        expected[n, c].flat[winner] += g[(n, c, *rest)]
    assert np.array_equal(back, expected)
    assert (pool.gather(x, winners) * g).sum() == (x * back).sum()
    assert np.array_equal(pool.scatter(g.astype(np.int32), winners, x.shape[2:]), expected)


@pytest.mark.parametrize("layout", ["planes", "channels last"])
def test_scatter_of_distinct_winners_needs_no_sums(layout):
    x = laid_out(whole((2, 3, 6, 8), 1), layout)
    _, winners, _ = pool.max_pool2d(x, (2, 2), (2, 2), NONE, (1, 1), (3, 4), "first")
    g = laid_out(whole(winners.shape, 2), layout)
    assert np.array_equal(pool.scatter(g, winners, (6, 8), distinct=True), pool.scatter(g, winners, (6, 8)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_H39_scatter_of_many_to_one_cell_keeps_its_accuracy(dtype):
    g = np.full((1, 1, 40, 50), 0.1, dtype)
    total = pool.scatter(g, np.zeros(g.shape, np.int64), (2, 2))
    assert total.dtype == dtype
    assert total[0, 0, 0, 0] == pytest.approx(2000 * float(dtype(0.1)), rel=max(1e-13, 2 * float(np.finfo(dtype).eps)))
    assert not total[0, 0, 1].any()


def test_H7_overlapping_windows_of_equal_values_add_at_the_first_cell():
    _, winners, _ = pool.max_pool2d(np.ones((1, 1, 3, 3)), (2, 2), (1, 1), NONE, (1, 1), (2, 2), "first")
    assert pool.scatter(np.ones((1, 1, 2, 2)), winners, (3, 3)).ravel().tolist() == [1, 1, 0, 1, 1, 0, 0, 0, 0]


def test_H80_padding_never_wins():
    y, _, _ = pool.max_pool2d(np.full((1, 1, 3, 3), -5.0), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (3, 3), "first")
    assert (y == -5).all()


def test_H81_a_window_of_minus_infinity_is_won_by_its_first_real_cell():
    x = np.full((1, 1, 3, 3), -np.inf)
    y, winners, _ = pool.max_pool2d(x, (2, 2), (2, 2), ((1, 0), (1, 0)), (1, 1), (2, 2), "first")
    assert (y == -np.inf).all()
    assert winners.ravel().tolist() == [0, 1, 3, 4]


def test_H82_the_first_nan_wins():
    x = np.array([[[[1.0, 9.0, np.nan, 3.0], [np.nan, 2.0, 4.0, np.nan]]]])
    y, winners, _ = pool.max_pool2d(x, (2, 2), (2, 2), NONE, (1, 1), (1, 2), "first")
    assert np.isnan(y).all()
    assert winners.ravel().tolist() == [4, 2]


def test_max_pooling_with_more_cells_than_a_byte_counts():
    x = np.random.default_rng(0).permutation(20 * 30).reshape(1, 1, 20, 30).astype(float)
    y, winners, _ = pool.max_pool2d(x, (17, 18), (1, 2), NONE, (1, 1), (4, 7), "first")
    expected, holders = oracles.max_pool2d(x, (17, 18), (1, 2))
    assert np.array_equal(y, expected)
    assert {place: held[0] for place, held in holders.items()} == dict(np.ndenumerate(winners))


@given(poolings(), st.booleans())
def test_H86_sum_pooling_and_its_counts_equal_the_loops(case, count_include_pad):
    x, params, ceil_mode = case
    out = pool_geometry(x, params, ceil_mode)
    y = pool.sum_pool2d(x, *params, out)
    assert np.array_equal(y, oracles.sum_pool2d(x, *params, ceil_mode))
    g = laid_out(whole(y.shape, 5), "channels last" if ceil_mode else "Fortran")
    back = pool.sum_pool2d_input_grad(g, x.shape[2:], *params)
    assert back.shape == x.shape
    assert (back * x).sum() == (g * y).sum()
    for place in range(0, x.size, max(1, x.size // 5)):
        unit = np.zeros(x.shape)
        unit.flat[place] = 1
        assert back.flat[place] == (oracles.sum_pool2d(unit, *params, ceil_mode) * g).sum()
    counts = pool.pool_counts(x.shape[2:], *params, out, count_include_pad)
    assert np.array_equal(counts, oracles.pool_counts(x.shape[2:], *params, ceil_mode, count_include_pad))
    assert counts.min() >= 1


def test_H86_ones_stay_ones_in_windows_that_reach_past_the_image():
    x = np.ones((1, 1, 6, 5))
    params = (3, 2), (2, 2), NONE, (1, 1)
    out = pool_geometry(x, params, True)
    average = pool.sum_pool2d(x, *params, out) / pool.pool_counts((6, 5), *params, out, True)
    assert out == (3, 3)
    assert (average == 1).all()


def test_H87_a_corner_without_its_padding_counts_once():
    corner = pool.pool_counts((3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), (4, 4), False)[0, 0]
    assert corner == 1


def test_sum_pooling_of_float16_is_summed_in_float32():
    x = np.full((1, 1, 60, 60), 1.001, np.float16)
    y = pool.sum_pool2d(x, (60, 60), (1, 1), NONE, (1, 1), (1, 1))
    assert y.dtype == np.float16
    assert y.item() == np.float16(x.astype(float).sum())


@given(
    st.lists(st.integers(0, 6), max_size=4),
    st.data(),
    st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.bool_]),
    st.sampled_from([2, 1024]),
)
def test_H41_sum_equals_numpy_for_all_axes_layouts_and_dtypes(shape, data, dtype, small):
    x = whole(shape, 1, low=0).astype(dtype)
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    axes = tuple(data.draw(st.lists(st.sampled_from(range(x.ndim)), unique=True))) if x.ndim else ()
    keepdims = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "SMALL", small)
        patch.setattr(reduce, "RUN", 2 if small == 2 else 128)
        y = reduce.sum_pairwise(x, axes, keepdims)
    expected = x.sum(axes, keepdims=keepdims)
    assert isinstance(y, np.ndarray)
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    assert np.array_equal(y, expected)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("shape", [(2**24 + 77, 2), (2**24 + 77, 1), (2**12, 2, 2**12 + 5)])
def test_H39_sums_over_leading_axes_do_not_saturate(shape):
    ones = np.broadcast_to(np.float32(1), shape) if len(shape) == 3 else np.ones(shape, np.float32)
    axes = (0, 2) if len(shape) == 3 else (0,)
    total = reduce.sum_pairwise(ones, axes, False)
    assert (total == np.float32(ones.size // shape[1])).all()
    assert total.dtype == np.float32


def test_H39_a_sum_over_channels_last_pixels_is_as_good_as_over_planes():
    x = np.random.default_rng(0).random((16, 8, 64, 65)).astype(np.float32)
    exact = x.astype(float).sum((0, 2, 3))
    for layout in LAYOUTS:
        total = reduce.sum_pairwise(laid_out(x, layout), (0, 2, 3), False)
        assert (abs(total - exact) <= 8 * 2.0**-24 * exact).all()


def test_H38_float16_is_summed_in_float32():
    x = np.full((70000, 2), 0.01, np.float16)
    for axes, expected in (((0,), 70000 * float(x[0, 0])), ((1,), 2 * float(x[0, 0]))):
        total = reduce.sum_pairwise(x, axes, False)
        assert total.dtype == np.float16
        assert (total == np.float16(expected)).all()
    small = np.full((1000, 1), 1.001, np.float16)
    assert reduce.sum_pairwise(small, (0,), False)[0] == np.float16(1000 * float(small[0, 0]))


def test_H34_an_empty_sum_is_zero():
    assert reduce.sum_pairwise(np.zeros((0, 3), np.float32), (0,), False).tolist() == [0, 0, 0]
    assert reduce.sum_pairwise(np.zeros((3, 0), np.float32), (0,), False).shape == (0,)
    assert reduce.sum_pairwise(np.zeros((0, 3)), (0, 1), True).tolist() == [[0]]


def test_transformed_kernels_are_kept_for_few_layers_and_few_bytes(monkeypatch):
    monkeypatch.setattr(packing, "_kept", {})
    monkeypatch.setattr(packing, "LAYERS", 3)
    kernels = [np.full((2, 1, 2, 2), i, np.float32) for i in range(5)]
    made = []

    def ask(i):
        def make():
            made.append(i)
            return (kernels[i] * 2,)

        (found,) = packing.kept("twice", kernels[i], None, make)
        np.testing.assert_array_equal(found, kernels[i] * 2)

    for i in (0, 1, 2, 0, 3, 0, 2, 1):
        ask(i)
    assert made == [0, 1, 2, 3, 1]  # 1 had not been asked for longest when 3 came
    assert len(packing._kept) == 3
    kernels[1][0, 0, 0, 0] = 7  # in place, unsaid
    ask(1)
    assert made[-2:] == [1, 1]
    monkeypatch.setattr(packing, "MOST", 3 * kernels[0].nbytes)
    ask(4)
    assert len(packing._kept) == 1
