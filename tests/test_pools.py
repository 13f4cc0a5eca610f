"""Pools with indices and back, of lines, to a size, of powers: H85 to H89 and what a user of nn sees."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import avg_pool2d as loop_avg_pool2d
from oracles import max_pool2d as loop_max_pool2d
from oracles import sum_pool2d as loop_sum_pool2d

import tinygrad_cnn as tg
from tinygrad_cnn import ShapeError, Tensor, grad, nn
from tinygrad_cnn.geometry import pool2d_geometry
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing import gradcheck, gradgradcheck
from tinygrad_cnn.testing.strategies import pool_problems

inf, nan = np.inf, np.nan
sides = st.integers(1, 7)


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def integers(*shape, seed=0):
    """Small integers stored as floats: their sums are exact."""
    return np.random.default_rng((seed, *shape)).integers(-4, 5, shape).astype(np.float64)


def leaf(values):
    return Tensor(np.asarray(values, np.float64), requires_grad=True)


# Indices, and the way back


@given(problem=pool_problems(), ties=st.sampled_from(["first", "last"]), rounded=st.booleans())
def test_H88_an_index_is_that_of_the_cell_in_its_plane(problem, ties, rounded):
    x, params = problem
    x = np.round(x) if rounded else x  # with ties
    y, cells = F.max_pool2d(x, **params, return_indices=True, ties=ties)
    at = pool2d_geometry(x.shape, **params)
    wanted, holders = loop_max_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.ceil_mode)
    np.testing.assert_array_equal(np.asarray(y), wanted)
    assert cells.dtype == np.int64
    assert not cells.requires_grad
    for place, held in holders.items():
        assert cells.numpy()[place] == (held[0] if ties == "first" else held[-1])


def test_indices_belong_to_who_asked_for_them():
    x = leaf(integers(1, 2, 4, 6))
    y, cells = F.max_pool2d(x, 2, return_indices=True)
    wanted = grad(F.max_pool2d(x, 2), x, np.ones(y.shape))[0].numpy()
    cells.array[...] = 0
    np.testing.assert_array_equal(grad(y, x, np.ones(y.shape))[0].numpy(), wanted)


@given(n=st.integers(1, 2), size=st.tuples(sides, sides), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_pooling_what_was_unpooled_gives_it_back(n, size, kernel):
    x = np.abs(integers(n, 2, *(a * k for a, k in zip(size, kernel, strict=True)))) + 1
    y, cells = F.max_pool2d(leaf(x), kernel, return_indices=True)
    back = F.max_unpool2d(y, cells, kernel)
    assert back.shape == x.shape
    np.testing.assert_array_equal(F.max_pool2d(back, kernel).numpy(), y.numpy())
    kept = back.numpy() != 0
    np.testing.assert_array_equal(back.numpy()[kept], x[kept])
    assert kept.sum() == y.numel()


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 3), sides, sides), seed=st.integers(0, 99))
def test_unpooling_writes_to_the_cells_that_are_named_and_takes_its_gradient_from_there(shape, seed):
    plane = shape[2] * 2, shape[3] * 3
    rng = np.random.default_rng(seed)
    cells = np.array([rng.permutation(plane[0] * plane[1])[: shape[2] * shape[3]] for _ in range(shape[0] * shape[1])])
    v, cells = leaf(integers(*shape)), cells.reshape(shape)
    back = F.max_unpool2d(v, cells, (2, 3))
    wanted, g = np.zeros((*shape[:2], *plane)), integers(*shape[:2], *plane, seed=1)
    d = grad(back, v, g)[0].numpy()
    for n, c, i, j in np.ndindex(*shape):
        r, s = divmod(cells[n, c, i, j], plane[1])
        wanted[n, c, r, s] = v.numpy()[n, c, i, j]
        assert d[n, c, i, j] == g[n, c, r, s]
    np.testing.assert_array_equal(back.numpy(), wanted)


def test_where_windows_overlap_the_last_value_stays_and_takes_the_gradient():
    v = leaf([[[5.0, 5.0, 7.0]]])
    cells = Tensor(np.array([[[1, 1, 3]]]))
    back = F.max_unpool1d(v, cells, 2, 1)
    assert back.numpy().tolist() == [[[0, 5, 0, 7]]]
    assert grad(back, v, np.array([[[1.0, 2, 3, 4]]]))[0].numpy().tolist() == [[[0, 2, 4]]]


def test_unpooling_has_gradients_of_second_order():
    cells = np.array([[[[0, 7], [9, 11]], [[1, 2], [8, 5]]]])
    assert gradgradcheck(
        lambda v: F.max_unpool2d(v, cells, (2, 2), 2, output_size=(3, 4)) ** 3, (leaf(numbers(1, 2, 2, 2)),)
    )


def test_unpooling_to_the_size_that_was_pooled():
    x = leaf(np.abs(integers(2, 3, 5, 7)) + 1)
    y, cells = F.max_pool2d(x, 2, return_indices=True)
    assert F.max_unpool2d(y, cells, 2, output_size=x.shape).shape == x.shape
    assert F.max_unpool2d(y[0], cells[0], 2, output_size=x.shape[1:]).shape == x.shape[1:]
    assert F.max_unpool2d(y, cells.numpy() % 24, 2).shape == (2, 3, 4, 6)
    line, places = F.max_pool1d(x[0, 0], 2, 3, 1, return_indices=True)
    back = F.max_unpool1d(line, places, 2, 3, 1, [x.shape[-1]])
    assert back.shape == x.shape[2:]
    np.testing.assert_array_equal(F.max_unpool1d(line, places, 2, 3, 1, x.shape[2:]).numpy(), back.numpy())


Y = Tensor(np.ones((1, 1, 2, 3)))
CELLS = Tensor(np.arange(6).reshape(1, 1, 2, 3))
UNPOOL_REFUSED = {
    "floats": (
        lambda: F.max_unpool2d(Y, Y, 2),
        TypeError,
        "max_unpool2d: the indices are float64; integers are needed",
    ),
    "shapes": (
        lambda: F.max_unpool2d(Y, CELLS[..., :2], 2),
        ShapeError,
        r"input has shape \(1, 1, 2, 3\), the indices \(1",
    ),
    "outside": (lambda: F.max_unpool2d(Y, CELLS + 19, 2), IndexError, r"index 24 is outside a plane of 4\*6 cells"),
    "negative": (lambda: F.max_unpool2d(Y, CELLS - 1, 2), IndexError, "index -1 is outside a plane"),
    "far": (
        lambda: F.max_unpool2d(Y, CELLS, 2, output_size=(4, 8)),
        ShapeError,
        r"output \(4, 8\) for an input of shape",
    ),
    "near": (lambda: F.max_unpool2d(Y, CELLS, 2, output_size=(2, 6)), ShapeError, r"away from \(4, 6\)"),
    "nothing": (lambda: F.max_unpool2d(Y, CELLS, 1, 1, 1), ShapeError, "it needs to be at least 1"),
    "sizes": (
        lambda: F.max_unpool2d(Y, CELLS, 2, output_size=(1, 4, 6)),
        ShapeError,
        r"needs \(oh, ow\) or \(n, c, oh, ow\)",
    ),
    "kind": (lambda: F.max_unpool2d(Y, CELLS, 2, output_size=4), TypeError, "max_unpool2d: output_size is 4"),
    "line kind": (
        lambda: F.max_unpool1d(Y[0], CELLS[0], 2, output_size=4),
        TypeError,
        "max_unpool1d: output_size is 4",
    ),
    "line sizes": (
        lambda: F.max_unpool1d(Y[0], CELLS[0], 2, output_size=(4, 6)),
        ShapeError,
        r"needs \(length,\) or the",
    ),
    "line outside": (
        lambda: F.max_unpool1d(Y[0], CELLS[0] + 9, 2),
        IndexError,
        "max_unpool1d, as max_unpool2d of height 1: ind",
    ),
    "split": (
        lambda: F.max_pool2d(Y, 2, ties="split", return_indices=True),
        ValueError,
        "max_pool2d: ties='split' with",
    ),
    "split line": (
        lambda: F.max_pool1d(Y[0], 2, ties="split", return_indices=True),
        ValueError,
        "max_pool1d: ties='spl",
    ),
}


@pytest.mark.parametrize("name", UNPOOL_REFUSED)
def test_what_cannot_be_unpooled_is_refused(name):
    call, kind, message = UNPOOL_REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


# Lines


@given(problem=pool_problems(), include=st.booleans())
def test_H89_pools_of_lines_are_the_loops_over_their_places(problem, include):
    x, params = problem
    x = np.round(x[:, :, 0])
    k, d, c = params["kernel_size"][1], params["dilation"][1], params["ceil_mode"]
    s = params["stride"] and params["stride"][1]
    p = params["padding"][1]
    images, at = x[:, :, None], ((1, k), (1, s or k), ((0, 0), p))
    y, cells = F.max_pool1d(x, k, s, (p,), d, c, return_indices=True)
    wanted, holders = loop_max_pool2d(images, *at, (1, d), c)
    np.testing.assert_array_equal(np.asarray(y), wanted[:, :, 0])
    assert [held[0] for held in holders.values()] == cells.numpy().ravel().tolist()
    np.testing.assert_array_equal(np.asarray(F.max_pool1d(x, (k,), s and (s,), (p,), d, c)), wanted[:, :, 0])
    sums = F.sum_pool1d(x, k, s, (p,), d, c)
    np.testing.assert_array_equal(np.asarray(sums), loop_sum_pool2d(images, *at, (1, d), c)[:, :, 0])
    if d == 1:
        means = F.avg_pool1d(x, k, s, (p,), c, include)
        np.testing.assert_allclose(np.asarray(means), loop_avg_pool2d(images, *at, c, include)[:, :, 0], rtol=1e-14)


def test_H70_pools_of_a_single_line_and_of_a_single_image():
    x = integers(2, 3, 8)
    y, cells = F.max_pool1d(x[0], 3, return_indices=True)
    assert y.shape == cells.shape == (3, 2)
    for pool in (lambda x: F.avg_pool1d(x, 2), lambda x: F.sum_pool1d(x, 2), lambda x: F.lp_pool1d(x, 2, 3),
                 lambda x: F.adaptive_avg_pool1d(x, 3), lambda x: F.adaptive_max_pool1d(x, 3)):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(pool(x[1])), np.asarray(pool(x))[1])
    for pool in (lambda x: F.adaptive_avg_pool2d(x, (2, 5)), lambda x: F.adaptive_max_pool2d(x, 3),
                 lambda x: F.lp_pool2d(x, 2, 2), lambda x: F.adaptive_max_pool2d(x, 3, True)[1]):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(pool(x)), np.asarray(pool(x[None]))[0])


def test_H85_a_window_that_would_start_in_the_padding_at_the_end_is_dropped():
    x = np.arange(1.0, 6)[None]
    assert np.asarray(F.max_pool1d(x, 1, 3, 0, 1, True)).tolist() == [[1, 4]]
    assert np.asarray(F.max_pool1d(x, 2, 2, 1, 1, True)).tolist() == [[1, 3, 5]]
    assert np.asarray(F.max_pool1d(x, 3, 3, 1, 1, True)).tolist() == [[2, 5]]
    assert np.asarray(F.max_pool1d(x, 2, 2, 0, 1, True)).tolist() == [[2, 4, 5]]


def test_H86_H87_ones_stay_ones_where_the_padding_does_not_count():
    ones = np.ones((1, 1, 7))
    assert np.all(np.asarray(F.avg_pool1d(ones, 3, 2, 0, True)) == 1)
    assert np.all(np.asarray(F.avg_pool1d(ones, 3, 2, 1, True, False)) == 1)
    np.testing.assert_allclose(np.asarray(F.avg_pool1d(ones, 3, 2, 1))[0, 0], [2 / 3, 1, 1, 2 / 3])


def test_H80_H81_H82_lines_of_minus_infinity_and_nan():
    assert np.asarray(F.max_pool1d(np.full((1, 4), -5.0), 2, 2, 1)).tolist() == [[-5, -5, -5]]
    y, cells = F.max_pool1d(np.full((1, 4), -inf), 2, 2, 1, return_indices=True)
    assert (y.tolist(), cells.numpy().tolist()) == ([[-inf] * 3], [[0, 1, 3]])
    y, cells = F.max_pool1d(np.array([[1, nan, 3, 4]]), 2, return_indices=True)
    assert np.isnan(y[0, 0])
    assert cells.numpy().tolist() == [[1, 3]]


def test_H83_a_padding_of_more_than_half_a_kernel_is_refused_in_the_words_of_lines():
    with pytest.raises(
        ShapeError, match=r"^max_pool1d, as max_pool2d of height 1: padding 2 is more than half of the kernel"
    ):
        F.max_pool1d(np.ones((1, 1, 6)), 2, 1, 2)
    with pytest.raises(ShapeError, match=r"^avg_pool1d: kernel_size is 0, needs at least 1"):
        F.avg_pool1d(np.ones((1, 1, 6)), 0)
    with pytest.raises(ShapeError, match=r"^sum_pool1d: the input has 1 axes, shape \(6,\)"):
        F.sum_pool1d(np.ones(6), 2)
    with pytest.raises(ShapeError, match=r"^max_pool1d: kernel_size is \(2, 2\) with 2 numbers, needs one"):
        F.max_pool1d(np.ones((1, 1, 6)), (2, 2))
    with pytest.raises(
        ShapeError, match=r"^max_pool1d, as max_pool2d of height 1: kernel 1x7 exceeds the padded image"
    ):
        F.max_pool1d(np.ones((1, 1, 6)), 7)


def test_H84_integers_are_pooled_as_integers():
    x = np.array([[3, -7, 2**60, 5]])
    assert np.asarray(F.max_pool1d(x, 2)).tolist() == [[3, 2**60]]
    assert np.asarray(F.sum_pool1d(x, 2)).tolist() == [[-4, 2**60 + 5]]
    assert np.asarray(F.adaptive_max_pool1d(x, 3)).tolist() == [[3, 2**60, 2**60]]


# To a size


def spans(n, m):
    return [range(math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i in range(m)]


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), sides, sides), out=st.tuples(sides, sides), last=st.booleans()
)
def test_pools_to_a_size_read_the_windows_that_cover_the_image(shape, out, last):
    x = integers(*shape)
    if last:  # the same numbers in channels-last memory
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    means, (maxima, cells) = F.adaptive_avg_pool2d(x, out), F.adaptive_max_pool2d(x, out, True)
    assert means.shape == maxima.shape == (*shape[:2], *out)
    for i, rows in enumerate(spans(shape[2], out[0])):
        for j, columns in enumerate(spans(shape[3], out[1])):
            part = x[:, :, rows.start : rows.stop, columns.start : columns.stop].reshape(*shape[:2], -1)
            np.testing.assert_allclose(np.asarray(means)[:, :, i, j], part.mean(-1), rtol=1e-15, atol=1e-15)
            np.testing.assert_array_equal(np.asarray(maxima)[:, :, i, j], part.max(-1))
            places = np.array([r * shape[3] + c for r in rows for c in columns])
            np.testing.assert_array_equal(cells.numpy()[:, :, i, j], places[part.argmax(-1)])


@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 2), sides, sides), out=st.tuples(sides, sides))
def test_the_gradient_of_a_mean_to_a_size_is_its_adjoint(shape, out):
    x, u = leaf(integers(*shape)), integers(*shape, seed=1)
    y = F.adaptive_avg_pool2d(x, out)
    g = integers(*y.shape, seed=2)
    moved = np.sum(g * np.asarray(F.adaptive_avg_pool2d(u, out)))
    assert moved == pytest.approx(np.sum(grad(y, x, g)[0].numpy() * u), abs=1e-11)


def test_none_keeps_a_length_and_one_is_the_whole_image():
    x = leaf(integers(2, 3, 4, 5))
    assert F.adaptive_avg_pool2d(x, (None, 2)).shape == (2, 3, 4, 2)
    assert F.adaptive_max_pool2d(x, [2, None]).shape == (2, 3, 2, 5)
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, (None, None)).numpy(), x.numpy())
    np.testing.assert_array_equal(F.adaptive_max_pool1d(x[0], None).numpy(), x.numpy()[0])
    np.testing.assert_array_equal(F.adaptive_avg_pool1d(x[0], (None,)).numpy(), x.numpy()[0])
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).numpy()[..., 0, 0], x.numpy().mean((2, 3)), rtol=1e-15)
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, 1).numpy()[..., 0, 0], x.numpy().max((2, 3)))


def test_H7_H82_ties_and_nans_to_a_size():
    for out in (1, 2):  # the windows are equal, and are not
        x = leaf(np.ones((1, 3, 3))[:, :, : 3 - (out == 1)])
        y = F.adaptive_max_pool2d(x, out)
        taken = grad(y.sum(), x)[0].numpy()
        assert taken.sum() == y.numel()
        assert taken[0, 0, 0] == 1
    x = np.array([[[1, nan, 2], [nan, 0, 0], [5, 6, 7]]])
    y, cells = F.adaptive_max_pool2d(x, 2, True)
    assert np.isnan(np.asarray(y)).tolist() == [[[True, True], [True, False]]]
    assert cells.numpy().tolist() == [[[1, 1], [3, 8]]]
    seen = np.isnan(np.asarray(F.adaptive_avg_pool2d(np.array([[[nan, 1, 2, 3, 4]]]), (1, 3))))
    assert seen.tolist() == [[[True, False, False]]]
    assert np.asarray(F.adaptive_avg_pool2d(np.array([[[inf, 1, 2, 3, 4]]]), (1, 3))).tolist() == [[[inf, 2, 3.5]]]


def test_H60_no_image_to_a_size():
    x = leaf(np.zeros((0, 2, 4, 5)))
    for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        for out in (2, (2, 5), (3, 4)):
            y = pool(x, out)
            assert y.shape == (0, 2, *(out if isinstance(out, tuple) else (out, out)))
            assert grad(y.sum(), x)[0].shape == x.shape


def test_means_to_a_size_do_not_overflow_in_float16():
    x = np.full((1, 1, 64, 48), 60000, np.float16)
    for out in (1, (5, 7)):
        y = np.asarray(F.adaptive_avg_pool2d(x, out))
        assert y.dtype == np.float16
        assert np.all(y == np.float16(60000))


X = np.ones((1, 2, 4, 5))
ADAPTIVE_REFUSED = {
    "int": (
        lambda: F.adaptive_avg_pool2d(X, 0),
        ShapeError,
        "adaptive_avg_pool2d: output_size is .0, 0., needs at least 1",
    ),
    "kind": (lambda: F.adaptive_avg_pool2d(X, 2.0), TypeError, "adaptive_avg_pool2d: output_size is 2.0"),
    "None": (lambda: F.adaptive_max_pool2d(X, None), TypeError, "adaptive_max_pool2d: output_size is None"),
    "one": (
        lambda: F.adaptive_max_pool2d(X, (2,)),
        ShapeError,
        r"output_size is \(2,\) with 1 numbers, needs an int or a",
    ),
    "axes": (lambda: F.adaptive_max_pool2d(X[0, 0], 1), ShapeError, r"x has shape \(4, 5\), needs \(n, c, h, w\)"),
    "empty": (lambda: F.adaptive_avg_pool2d(X[..., :0], 1), ShapeError, "with c, h, w at least 1"),
    "integers": (lambda: F.adaptive_avg_pool2d(X.astype(int), 1), TypeError, "the input is int64; convert it first"),
    "bool": (lambda: F.adaptive_max_pool2d(X > 0, 1), TypeError, "adaptive_max_pool2d: the image is bool"),
    "line": (
        lambda: F.adaptive_avg_pool1d(X[0], (1, 2)),
        ShapeError,
        "adaptive_avg_pool1d: output_size is .1, 2. with 2",
    ),
    "line ints": (
        lambda: F.adaptive_avg_pool1d(X[0].astype(int), 2),
        TypeError,
        "adaptive_avg_pool1d, as adaptive_avg_pool2d of height 1: the input is int64",
    ),
}


@pytest.mark.parametrize("name", ADAPTIVE_REFUSED)
def test_what_cannot_be_pooled_to_a_size_is_refused(name):
    call, kind, message = ADAPTIVE_REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


# Powers


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, 0.5])
def test_a_pool_of_powers_is_the_norm_of_each_window_where_nothing_is_negative(p):
    x = np.abs(numbers(2, 3, 6, 5))
    wanted = loop_sum_pool2d(x**p, (3, 2), (2, 1)) ** (1 / p)
    np.testing.assert_allclose(np.asarray(F.lp_pool2d(x, p, (3, 2), (2, 1))), wanted, rtol=1e-13)
    assert gradcheck(lambda x: F.lp_pool2d(x, p, (3, 2), (2, 1)), (leaf(x + 0.1),))
    assert gradgradcheck(lambda x: F.lp_pool1d(x, p, 2), (leaf(x[0] + 0.1),))


def test_a_pool_of_powers_keeps_the_signs_that_its_powers_have():
    x = np.array([[1.0, -2, 3, -4]])
    np.testing.assert_allclose(np.asarray(F.lp_pool1d(x, 2, 2)), [[5**0.5, 5]])
    assert np.asarray(F.lp_pool1d(x, 1, 2)).tolist() == [[-1, -1]]
    assert np.all(np.isnan(np.asarray(F.lp_pool1d(x, 3, 2))))  # the cube root of -7, as in PyTorch
    assert np.all(np.isnan(np.asarray(F.lp_pool1d(x, 1.5, 2))))


@pytest.mark.parametrize("p", [2, 3, 1.5, 0.5])
def test_the_gradient_of_a_pool_of_powers_is_zero_at_zero(p):
    x = leaf([[0.0, 0, 0, 2]])
    y = F.lp_pool1d(x, p, 2)
    assert y.numpy()[0, 0] == 0
    assert grad(y, x, np.ones((1, 2)))[0].numpy()[0].tolist() == pytest.approx([0, 0, 0, 1])


def test_the_slope_of_a_pool_of_values_is_one_also_where_they_add_up_to_zero():
    x = leaf([[1.0, -1, 0, 0]])
    assert grad(F.lp_pool1d(x, 1, 2).sum(), x)[0].numpy().tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("p", [0, -1, inf, nan, True, "2"])
def test_a_power_without_meaning_is_refused(p):
    with pytest.raises(ValueError, match=r"lp_pool2d: norm_type=.*; a finite number above 0 is needed"):
        F.lp_pool2d(X, p, 2)


def test_integers_have_no_pool_of_powers():
    with pytest.raises(TypeError, match=r"lp_pool1d, as lp_pool2d of height 1: the input is int64; convert it first"):
        F.lp_pool1d(np.ones((1, 4), int), 2, 2)


# Layers


LAYERS = {
    "MaxPool1d": (nn.MaxPool1d(3, 2, 1, 1, False, True), lambda x: F.max_pool1d(x, 3, 2, 1, 1, True)),
    "MaxPool2d": (nn.MaxPool2d((3, 2), 2, 1, ceil_mode=True), lambda x: F.max_pool2d(x, (3, 2), 2, 1, 1, True)),
    "AvgPool1d": (nn.AvgPool1d(3, 2, 1, True, False), lambda x: F.avg_pool1d(x, 3, 2, 1, True, False)),
    "AvgPool2d": (nn.AvgPool2d(3, 2, 1, True, False, 5), lambda x: F.avg_pool2d(x, 3, 2, 1, True, False, 5)),
    "SumPool1d": (nn.SumPool1d(3, 2, 1, 2, True), lambda x: F.sum_pool1d(x, 3, 2, 1, 2, True)),
    "SumPool2d": (nn.SumPool2d((2, 3), 2, 1, 2, True), lambda x: F.sum_pool2d(x, (2, 3), 2, 1, 2, True)),
    "LPPool1d": (nn.LPPool1d(2, 3, 2, True), lambda x: F.lp_pool1d(x, 2, 3, 2, True)),
    "LPPool2d": (nn.LPPool2d(2, (3, 2)), lambda x: F.lp_pool2d(x, 2, (3, 2))),
    "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(4), lambda x: F.adaptive_avg_pool1d(x, 4)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((None, 4)), lambda x: F.adaptive_avg_pool2d(x, (None, 4))),
    "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d(4), lambda x: F.adaptive_max_pool1d(x, 4)),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(4), lambda x: F.adaptive_max_pool2d(x, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function_with_all_its_parameters(name):
    layer, function = LAYERS[name]
    x = Tensor(integers(*((2, 3, 10) if name.endswith("1d") else (2, 3, 8, 7))))
    np.testing.assert_array_equal(layer(x).numpy(), function(x).numpy())


@pytest.mark.parametrize("axes", [1, 2])
def test_layers_pool_with_indices_and_back(axes):
    x = Tensor(np.abs(integers(*(2, 3, 6, 8)[: axes + 2])) + 1)
    y, cells = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(x)
    back = getattr(nn, f"MaxUnpool{axes}d")(2)(y, cells)
    assert back.shape == x.shape
    assert back.sum() == y.sum()
    assert getattr(nn, f"MaxUnpool{axes}d")(2)(y, cells, x.shape).shape == x.shape
    size = tuple(n // 2 for n in x.shape[2:])
    other, places = getattr(nn, f"AdaptiveMaxPool{axes}d")(size, return_indices=True)(x)
    np.testing.assert_array_equal(places.numpy(), cells.numpy())
    np.testing.assert_array_equal(other.numpy(), y.numpy())


def test_layers_know_ties_and_strict():
    x = Tensor(np.ones((1, 1, 5)), requires_grad=True)
    for layer in (nn.MaxPool1d(2, strict=True), nn.AvgPool1d(2, strict=True), nn.SumPool1d(2, strict=True)):
        with pytest.raises(ShapeError, match="strict=True and the last 1 of 5 columns are never read"):
            layer(x)
    nn.MaxPool1d(2, ties="split")(x).sum().backward()
    assert x.grad.tolist() == [[[0.5, 0.5, 0.5, 0.5, 0]]]


def test_a_picture_and_a_profile_know_the_pools_to_a_size():
    x = leaf(integers(1, 2, 5, 5))
    with tg.profile() as p:
        y = F.adaptive_avg_pool2d(x, 2) + F.adaptive_max_pool2d(x, 2)
    found = {row.name: row.flops for row in p.rows if row.name.startswith("adaptive")}
    assert found == {"adaptive_avg_pool2d": 2 * 6 * 6, "adaptive_max_pool2d": 2 * (6 * 6 - 4)}
    assert "adaptive_max_pool2d" in tg.draw(y).text()
