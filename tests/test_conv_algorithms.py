"""Every algorithm of convolution against plain loops and against torch, with numba and without, on any threads."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import LAYOUTS, convolutions, laid_out, whole

import tinygrad_cnn as tg
from tinygrad_cnn.kernels import compiled, conv, conv_direct, conv_im2col, parallel, winograd

NONE = ((0, 0), (0, 0))
PLAIN = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
WAYS = ["vectors", "numba", "NumPy"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Vector code, the compiled loops without it, and what runs where numba is missing."""
    in_way(monkeypatch, request.param)
    return request.param


def in_way(patch, way):
    if way != "NumPy" and not compiled.available():
        pytest.skip("numba is not installed, or TINYGRAD_CNN_NUMBA refuses it")
    if way == "vectors" and compiled.vectors() is None:
        pytest.skip("vector code does not know this processor")
    if way != "vectors":
        patch.setattr(compiled, "vectors", lambda: None)
    if way == "NumPy":
        patch.setattr(compiled, "available", lambda: False)


def normal(shape, seed, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def largest_near(x, corner, out):
    """For each tile of 4x4 outputs the largest |pixel| of the 6x6 that it reads: (n h w c) -> (n th tw)."""
    n, h, w, _ = x.shape
    th, tw = -(-out[0] // 4), -(-out[1] // 4)
    most = np.zeros((n, th, tw))
    for i in range(th):
        for j in range(tw):
            y0, x0 = 4 * i - corner[0], 4 * j - corner[1]
            seen = x[:, max(0, y0) : max(0, min(h, y0 + 6)), max(0, x0) : max(0, min(w, x0 + 6))]
            most[:, i, j] = abs(seen).max((1, 2, 3), initial=0)
    return most


def assert_near_by_tiles(y, exact, x, w, corner):
    """A norm-wise bound: 60 units times the largest pixel of the tile times the sum of |w|, per output channel."""
    oh, ow = y.shape[2:]
    most = largest_near(x.transpose(0, 2, 3, 1).astype(float), corner, (oh, ow))
    per_output = most.repeat(4, 1).repeat(4, 2)[:, :oh, :ow]
    bound = 60 * 2.0**-24 * per_output[:, None] * abs(w.astype(float)).sum((1, 2, 3))[:, None, None]
    assert (abs(y - exact) <= bound).all(), (abs(y - exact) / np.maximum(bound, 1e-300)).max()


@st.composite
def three_by_three(draw):
    """3x3 problems that Winograd may take, asymmetric, in every layout, at any place of its tiles."""
    n, c, o = draw(st.integers(0, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 3))) for _ in range(2))
    size = tuple(draw(st.integers(max(1, 3 - sum(sides)), 11)) for sides in padding)
    seed = draw(st.integers(0, 2**32 - 1))
    scale = draw(st.sampled_from([1e-6, 1.0, 1e4]))
    x = laid_out(normal((n, c, *size), seed, scale), draw(st.sampled_from(LAYOUTS)))
    w = laid_out(normal((o, c, 3, 3), seed + 1), draw(st.sampled_from(LAYOUTS)))
    b = normal(o, seed + 2) if draw(st.booleans()) else None
    block, parts = draw(st.sampled_from([1, 30000, winograd.BLOCK])), draw(st.sampled_from([1, 2, 8]))
    return x, w, b, padding, draw(st.sampled_from(LAYOUTS)), seed + 3, block, parts


@pytest.mark.parametrize("way", WAYS)
@given(three_by_three())
def test_winograd_equals_the_loops_within_a_bound_for_each_tile(way, case):
    x, w, b, padding, layout, seed, block, parts = case
    corner = (padding[0][0], padding[1][0])
    before = x.copy(), w.copy()
    with pytest.MonkeyPatch.context() as patch, tg.conv_algorithm("winograd"):
        in_way(patch, way)
        patch.setattr(winograd, "BLOCK", block)
        patch.setattr(winograd, "LARGE_BLOCK", block)
        patch.setattr(winograd, "LEAST", 1)
        patch.setattr(winograd, "PARTS", parts)
        y = conv.conv2d(x, w, b, (1, 1), padding, (1, 1), 1)
        g = laid_out(normal(y.shape, seed), layout)
        dx = conv.conv2d_input_grad(g, w, x.shape[2:], (1, 1), padding, (1, 1), 1)
        dw = conv.conv2d_weight_grad(x, g, (3, 3), (1, 1), padding, (1, 1), 1)
    assert y.dtype == dx.dtype == dw.dtype == np.float32
    exact = oracles.conv2d(x, w, None, padding=padding)
    plain = y.astype(float) if b is None else y.astype(float) - b.astype(float)[:, None, None]
    slack = 0 if b is None else abs(y).max(initial=0) * 2.0**-23
    assert y.shape == exact.shape
    assert_near_by_tiles(
        np.sign(plain - exact) * np.maximum(abs(plain - exact) - slack, 0) + exact, exact, x, w, corner
    )
    turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    exact = oracles.conv_transpose2d(g, w, None, padding=padding)
    assert dx.shape == exact.shape == x.shape
    assert_near_by_tiles(dx, exact, g, turned, (2 - corner[0], 2 - corner[1]))
    # <w, dw> = <conv(x, w), g>, one entry of w at a time
    out = y.shape[2:]
    most = largest_near(x.transpose(0, 2, 3, 1), corner, out) * largest_near(g.transpose(0, 2, 3, 1), (0, 0), out)
    for place in np.random.default_rng(seed).integers(0, w.size, 4):
        unit = np.zeros(w.shape)
        unit.flat[place] = 1
        right = (oracles.conv2d(x, unit, None, padding=padding) * g).sum()
        assert abs(dw.flat[place] - right) <= 2000 * 2.0**-24 * most.sum()
    assert np.array_equal(x, before[0])
    assert np.array_equal(w, before[1])


@pytest.mark.parametrize("algorithm", ["loops", "direct", "im2col", "winograd", "auto"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@given(convolutions())
def test_every_algorithm_is_exact_where_sums_of_products_are(algorithm, dtype, case):
    x, w, b, params, layout, seed, _ = case
    if algorithm == "winograd":  # its sums of quarters and sixths are not exact
        x, w = x[:, :, :, :2], w[:, :, :, :2]
        params = (params[0], (params[1][0], (2, 2)), params[2], params[3])
    stride, padding, dilation, groups = params
    x, w = x.astype(dtype), w.astype(dtype)
    b = b if b is None else b.astype(dtype)
    with tg.conv_algorithm(algorithm):
        y = conv.conv2d(x, w, b, *params)
        assert np.array_equal(y, oracles.conv2d(x, w, b, stride, padding, dilation, groups))
        g = laid_out(whole(y.shape, seed, dtype), layout)
        dx = conv.conv2d_input_grad(g, w, x.shape[2:], *params)
        dw = conv.conv2d_weight_grad(x, g, w.shape[2:], *params)
    assert y.dtype == dx.dtype == dw.dtype == dtype
    with tg.conv_algorithm("im2col"):
        assert np.array_equal(dx, conv.conv2d_input_grad(g, w, x.shape[2:], *params))
        assert np.array_equal(dw, conv.conv2d_weight_grad(x, g, w.shape[2:], *params))
    assert (x * dx).sum() == (oracles.conv2d(x, w, None, stride, padding, dilation, groups) * g).sum() == (w * dw).sum()


@given(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 16, 17, 40]), st.sampled_from([2, 16, 33]), st.integers(1, 13)),
    st.sampled_from([(3, 3), (1, 1), (2, 5), (5, 3)]),
    st.sampled_from([1, 2]),
    st.sampled_from(["loops", "direct", "im2col", "winograd", "auto"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_op_and_its_gradients_are_those_of_torch(shape, kernel, stride, algorithm, last, seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    n, c, o, extra = shape
    size = (kernel[0] + extra - 1, kernel[1] + 1)
    x, w, b = normal((n, c, *size), seed), normal((o, c, *kernel), seed + 1), normal(o, seed + 2)
    x = laid_out(x, "channels last") if last else x
    theirs = [torch.tensor(a.astype(float), requires_grad=True) for a in (x, w, b)]
    out = torch.nn.functional.conv2d(*theirs, stride=stride, padding=1)
    g = normal(tuple(out.shape), seed + 3)
    out.backward(torch.tensor(g.astype(float)))
    ours = [tg.Tensor(a, requires_grad=True) for a in (x, w, b)]
    with tg.conv_algorithm(algorithm):
        y = tg.conv2d(*ours, stride=stride, padding=1)
        y.backward(tg.Tensor(g))
    for mine, right in zip(
        (y.numpy(), *(t.grad.numpy() for t in ours)), (out.detach(), *(t.grad for t in theirs)), strict=True
    ):
        assert np.allclose(mine, right.numpy(), rtol=1e-4, atol=2e-5 * float(abs(right).max()))


def images(seed, shape=(4, 16, 8, 8)):
    return normal(shape, seed), normal((16, shape[1], 3, 3), seed + 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6, 3e20, 3e38])
def test_H72_auto_computes_images_with_outliers_directly_and_only_those(way, bad, monkeypatch):
    monkeypatch.setattr(conv, "FEWEST", (1, 1))
    x, w = images(0)
    x[2, 3, 4, 5] = bad
    with np.errstate(all="ignore"):
        y = conv.conv2d(x, w, None, *PLAIN)
        with tg.conv_algorithm("im2col"):
            direct = conv.conv2d(x, w, None, *PLAIN)
            # One image alone may be multiplied in blocks of other sizes.
            alone = conv.conv2d(x[2:3], w, None, *PLAIN)[0]
    assert np.array_equal(y[2], alone, equal_nan=True)
    sees = np.zeros((8, 8), bool)
    sees[3:6, 4:7] = True
    assert np.isfinite(y[2, :, ~sees]).all()
    others = [0, 1, 3]
    assert not np.array_equal(y[others], direct[others])  # they went through Winograd
    assert np.allclose(y[others], direct[others], atol=1e-3)
    assert (abs(y[2][:, ~sees] - direct[2][:, ~sees]) < 1e-4).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6, 3e20])
@pytest.mark.parametrize("where", ["x", "g"])
def test_H72_the_gradients_of_images_with_outliers_are_direct(way, bad, where, monkeypatch):
    monkeypatch.setattr(conv, "FEWEST", (1, 1))
    x, w = images(2)
    g = normal((4, 16, 8, 8), 5)
    if where == "x":
        x[1, 2, 3, 4] = bad
    else:
        g[1, 2, 3, 4] = bad
    with np.errstate(all="ignore"):
        dx, dw = (
            conv.conv2d_input_grad(g, w, (8, 8), *PLAIN),
            conv.conv2d_weight_grad(x, g, (3, 3), *PLAIN),
        )
        with tg.conv_algorithm("im2col"):
            alone = conv.conv2d_input_grad(g[1:2], w, (8, 8), *PLAIN)[0]
            direct = conv.conv2d_weight_grad(x, g, (3, 3), *PLAIN)
    assert np.array_equal(dw, direct, equal_nan=True)
    assert np.array_equal(dx[1], alone, equal_nan=True) is (where == "g")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_winograd_leaves_images_without_pixels_to_other_algorithms(way, size):
    padding, w, b = ((2, 2), (2, 3)), normal((2, 3, 3, 3), 1), normal(2, 2)
    x = normal((2, 3, *size), 0)
    g = normal((2, 2, size[0] + 2, size[1] + 3), 3)
    with tg.conv_algorithm("winograd"):
        y = conv.conv2d(x, w, b, (1, 1), padding, (1, 1), 1)
        dx = conv.conv2d_input_grad(g, w, size, (1, 1), padding, (1, 1), 1)
        dw = conv.conv2d_weight_grad(x, g, (3, 3), (1, 1), padding, (1, 1), 1)
    assert np.array_equal(y, np.broadcast_to(b[:, None, None], g.shape))
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert not dw.any()


def test_two_outliers_in_a_small_image_are_seen(way, monkeypatch):
    """Two of 1024 values are 22 root mean squares: the mean of |x| sees what the square does not."""
    monkeypatch.setattr(conv, "FEWEST", (1, 1))
    x, w = images(3)
    x[0, 0, 0, 0], x[0, 7, 7, 7] = 1e6, -1e6
    y = conv.conv2d(x, w, None, *PLAIN)
    with tg.conv_algorithm("im2col"):
        assert np.array_equal(y[0], conv.conv2d(x[:1], w, None, *PLAIN)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_weights_that_are_not_finite_or_nearly_so_are_used_directly(way, bad):
    x, w = images(4)
    w[3, 2, 1, 1] = bad
    with np.errstate(all="ignore"), tg.conv_algorithm("winograd"):
        y = conv.conv2d(x, w, None, *PLAIN)
    assert np.array_equal(np.isfinite(y).all((0, 2, 3)), np.arange(16) != 3) or bad == 3e38
    with np.errstate(all="ignore"), tg.conv_algorithm("im2col"):
        assert np.array_equal(y, conv.conv2d(x, w, None, *PLAIN), equal_nan=True)


def test_a_zero_image_and_an_empty_batch_go_through_winograd(way):
    with tg.conv_algorithm("winograd"):
        y = conv.conv2d(np.zeros((2, 16, 5, 6), np.float32), images(0)[1], normal(16, 1), *PLAIN)
        assert np.array_equal(y, np.broadcast_to(normal(16, 1)[:, None, None], y.shape))
        assert conv.conv2d(np.zeros((0, 16, 5, 6), np.float32), images(0)[1], None, *PLAIN).shape == (0, 16, 5, 6)
        dw = conv.conv2d_weight_grad(*[np.zeros((0, 16, 5, 6), np.float32)] * 2, (3, 3), *PLAIN)
        assert dw.shape == (16, 16, 3, 3)
        assert not dw.any()


def test_float64_and_float16_never_go_through_winograd():
    for dtype in (np.float64, np.float16):
        x, w = (a.astype(dtype) for a in images(6))
        results = []
        for name in ("auto", "winograd", "im2col"):
            with tg.conv_algorithm(name):
                results.append(conv.conv2d(x, w, None, *PLAIN))
        assert np.array_equal(results[0], results[2])
        assert np.array_equal(results[1], results[2])


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "loops"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("c", "o", "groups", "stride"), [(16, 24, 1, 1), (3, 8, 1, 1), (16, 16, 16, 1), (8, 16, 2, 2)])
def test_results_are_bitwise_equal_for_any_number_of_threads(algorithm, dtype, c, o, groups, stride, way, monkeypatch):
    if algorithm == "loops" and way == "NumPy":
        pytest.skip("loops run in Python on one thread, and slowly")
    monkeypatch.setattr(parallel, "SMALL", 0)
    monkeypatch.setattr(winograd, "BLOCK", 2**16)
    monkeypatch.setattr(winograd, "LARGE_BLOCK", 2**16)
    monkeypatch.setattr(conv_direct, "BLOCK", 2**12)
    monkeypatch.setattr(conv_direct, "STEPS", 2**17)
    monkeypatch.setattr(conv_im2col, "BLOCK", 2**14)
    monkeypatch.setattr(conv, "FEWEST", (16, 16))
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((9, c, 13, 10), (o, c // groups, 3, 3), (o,)))
    params = ((stride, stride), ((1, 1), (1, 1)), (1, 1), groups)
    before, results = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            tg.set_num_threads(threads)
            with tg.conv_algorithm(algorithm):
                y = conv.conv2d(x, w, b, *params)
                g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
                dx = conv.conv2d_input_grad(g, w, (13, 10), *params)
                dw = conv.conv2d_weight_grad(x, g, (3, 3), *params)
            results.append((y, dx, dw))
    finally:
        tg.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_an_unknown_algorithm_is_refused_and_the_old_one_comes_back():
    wanted = r"name is 'fft'; it can be 'auto', 'loops', 'direct', 'im2col', 'winograd'"
    with pytest.raises(ValueError, match=wanted), tg.conv_algorithm("fft"):
        pass
    with tg.conv_algorithm("loops"):
        with pytest.raises(ZeroDivisionError), tg.conv_algorithm("im2col"):
            1 / 0
        assert conv._chosen.get() == "loops"
    assert conv._chosen.get() == "auto"


def test_an_outlier_in_the_last_row_that_a_tile_reads_is_seen(way, monkeypatch):
    monkeypatch.setattr(conv, "FEWEST", (1, 1))
    x, w = images(7, (2, 16, 10, 10))
    x[1, 5, 9, 9] = 1e6
    y = conv.conv2d(x, w, None, (1, 1), NONE, (1, 1), 1)
    with tg.conv_algorithm("im2col"):
        assert np.array_equal(y[1], conv.conv2d(x[1:], w, None, (1, 1), NONE, (1, 1), 1)[0])


@pytest.mark.parametrize("top", [0, 2, 3, 5, 6])
def test_an_outlier_in_any_row_is_seen_whatever_the_padding_and_the_blocks(way, monkeypatch, top):
    monkeypatch.setattr(winograd, "BLOCK", 1)
    monkeypatch.setattr(winograd, "LARGE_BLOCK", 1)
    monkeypatch.setattr(winograd, "LEAST", 1)
    x, w = images(8, (1, 16, 12, 9))
    g = normal((1, 16, 11 + top, 9), 9)
    params = (1, 1), ((top, 1), (1, 1)), (1, 1), 1
    for row in range(12):
        spoilt = x.copy()
        spoilt[0, 3, row, 5] = np.nan
        with tg.conv_algorithm("winograd"):
            y, dw = conv.conv2d(spoilt, w, None, *params), conv.conv2d_weight_grad(spoilt, g, (3, 3), *params)
        with tg.conv_algorithm("im2col"):
            assert np.array_equal(y, conv.conv2d(spoilt, w, None, *params), equal_nan=True)
            assert np.array_equal(dw, conv.conv2d_weight_grad(spoilt, g, (3, 3), *params), equal_nan=True)


def test_H72_an_outlier_among_the_kernels_reaches_no_output_that_does_not_read_it():
    """One tap of 1e6 beside others of about 1; images have values where both row and column are odd."""
    rng = np.random.default_rng(0)
    x, w = np.zeros((2, 32, 16, 16), np.float32), rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    x[:, :, 1::2, 1::2] = rng.standard_normal((2, 32, 8, 8))
    w[0, 0, 0, 0] = 1e6
    wide = [a.astype(np.float64) for a in (x, w)]
    same = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y, exact = (conv.conv2d(*arrays, None, *same) for arrays in ((x, w), wide))
    assert abs(y - exact)[:, :, 1::2, 1::2].max() < 1e-4
    dx, exact = (conv.conv2d_input_grad(*arrays, (16, 16), *same) for arrays in ((x, w), wide))
    assert abs(dx - exact)[:, :, 1::2, 1::2].max() < 1e-4
