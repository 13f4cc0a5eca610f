"""Hard cases of pooling: H7 and H80 to H89. The answers that a user of the ops sees, with gradients."""

import numpy as np
import pytest
from oracles import avg_pool2d as loop_avg_pool2d

import tinygrad_cnn as tg
from hard_cases.at_points import integers, leaf, numbers
from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import functional as F

inf, nan = np.inf, np.nan


def pooled(x, *args, g=None, **params):
    """The maxima of one plane and the gradient of their sum (or of <g, maxima>)."""
    x = leaf(np.asarray(x, float)[None, None])
    y = F.max_pool2d(x, *args, **params)
    (d,) = grad(y, x, np.ones(y.shape) if g is None else np.asarray(g, float)[None, None])
    return y.array[0, 0], d.array[0, 0]


def test_H7_a_tie_goes_to_the_first_cell_of_each_window_and_overlaps_add():
    y, d = pooled(np.ones((3, 3)), 2, 1)
    np.testing.assert_array_equal(y, np.ones((2, 2)))
    np.testing.assert_array_equal(d, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(pooled(np.ones((2, 2)), 2)[1], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(
        pooled(np.ones((3, 3)), 2, 1, g=[[1, 2], [4, 8]])[1], [[1, 2, 0], [4, 8, 0], [0, 0, 0]]
    )


def test_H7_other_ties_when_asked():
    np.testing.assert_array_equal(pooled(np.ones((2, 2)), 2, ties="last")[1], [[0, 0], [0, 1]])
    np.testing.assert_array_equal(pooled(np.ones((2, 2)), 2, ties="split")[1], np.full((2, 2), 0.25))
    np.testing.assert_array_equal(pooled([[1, 2], [2, 0]], 2, ties="split")[1], [[0, 0.5], [0.5, 0]])
    with pytest.raises(ValueError, match="max_pool2d: ties='random'; it can be 'first', 'last' or 'split'"):
        pooled(np.ones((2, 2)), 2, ties="random")


def test_H65_pooling_with_stride_above_the_kernel():
    x = np.arange(16.0).reshape(4, 4)
    y, d = pooled(x, 1, 3)
    np.testing.assert_array_equal(y, [[0, 3], [12, 15]])
    want = np.zeros((4, 4))
    want[::3, ::3] = 1
    np.testing.assert_array_equal(d, want)


def test_H80_the_padding_of_max_pool_is_minus_infinity():
    y, d = pooled(np.full((2, 2), -5.0), 2, 2, 1)
    np.testing.assert_array_equal(y, np.full((2, 2), -5.0))
    np.testing.assert_array_equal(d, np.ones((2, 2)))


def test_H81_a_window_of_minus_infinity_keeps_its_gradient_inside_the_image():
    y, d = pooled(np.full((2, 2), -inf), 2)
    assert y.item() == -inf
    np.testing.assert_array_equal(d, [[1, 0], [0, 0]])
    for ties in ("first", "last", "split"):
        y, d = pooled(np.full((3, 3), -inf), 2, 2, 1, ties=ties)
        assert d.sum() == 4
        np.testing.assert_array_equal(y, np.full((2, 2), -inf))


def test_H82_nan_wins_and_takes_the_gradient():
    y, d = pooled([[1.0, nan], [3.0, 2.0]], 2)
    assert np.isnan(y.item())
    np.testing.assert_array_equal(d, [[0, 1], [0, 0]])
    y, d = pooled([[inf, 1.0], [nan, 2.0]], 2)
    assert np.isnan(y.item())
    np.testing.assert_array_equal(d, [[0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((1, 2, 4, 4), {"kernel_size": 2, "padding": 2}),
        ((1, 2, 4, 4), {"kernel_size": 3, "padding": (1, 2)}),
        ((1, 2, 4, 4), {"kernel_size": 0}),
        ((1, 2, 4, 4), {"kernel_size": (2, 0)}),
        ((1, 2, 4, 4), {"kernel_size": 2, "stride": 0}),
        ((1, 2, 4, 4), {"kernel_size": 2, "padding": -1}),
        ((1, 2, 0, 4), {"kernel_size": 2}),
        ((1, 2, 4, 0), {"kernel_size": 2}),
        ((4, 4), {"kernel_size": 2}),
    ],
)
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d, F.sum_pool2d])
def test_H83_pools_out_of_range_are_refused(pool, shape, params):
    with pytest.raises(ValueError, match="pool2d"):
        pool(leaf(np.zeros(shape)), **params)


def test_H84_integers_are_pooled_as_integers():
    x = Tensor(np.arange(16).reshape(1, 1, 4, 4))
    y = F.max_pool2d(x, 2)
    assert (y.dtype, y.tolist()) == (np.int64, [[[[5, 7], [13, 15]]]])
    low = np.iinfo(np.int8).min
    y = F.max_pool2d(Tensor(np.full((1, 1, 2, 2), low, np.int8)), 2, 2, 1)
    assert (y.dtype, y.array.max()) == (np.int8, low)
    y = F.max_pool2d(Tensor(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)), 2, 1, 1)
    assert (y.dtype, y.tolist()) == (np.uint8, [[[[0, 1, 1], [2, 3, 3], [2, 3, 3]]]])
    with pytest.raises(TypeError, match=r"avg_pool2d: the input is int64; .*\.float\(\)"):
        F.avg_pool2d(x, 2)


def test_H85_ceil_mode_drops_a_window_that_would_start_in_the_right_padding():
    x = np.arange(9.0).reshape(3, 3)
    y, d = pooled(x, 1, 2, ceil_mode=True)
    np.testing.assert_array_equal(y, [[0, 2], [6, 8]])
    np.testing.assert_array_equal(d, [[1, 0, 1], [0, 0, 0], [1, 0, 1]])
    ones = leaf(np.ones((1, 1, 2, 2)))
    assert F.max_pool2d(ones, 1, 2, ceil_mode=True).shape == (1, 1, 1, 1)  # ONNX: output size reduced by one
    assert F.max_pool2d(leaf(np.ones((1, 1, 4, 4))), 3, 2, 1, ceil_mode=True).shape == (1, 1, 3, 3)
    assert F.max_pool2d(leaf(np.ones((1, 1, 4, 4))), 3, 2, ceil_mode=True).shape == (1, 1, 2, 2)
    assert F.max_pool2d(leaf(np.ones((1, 1, 4, 4))), 3, 2).shape == (1, 1, 1, 1)


def averaged(x, *args, **params):
    x = leaf(np.asarray(x, float)[None, None])
    y = F.avg_pool2d(x, *args, **params)
    return y.array[0, 0], grad(y.sum(), x)[0].array[0, 0]


def test_H86_ceil_mode_divides_by_the_cells_inside():
    y, d = averaged(np.ones((3, 3)), 2, 2, ceil_mode=True)
    np.testing.assert_array_equal(y, np.ones((2, 2)))
    np.testing.assert_array_equal(d, [[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.5, 0.5, 1.0]])


def test_H86_H87_the_padding_counts_in_the_divisor_unless_told():
    np.testing.assert_array_equal(averaged(np.ones((2, 2)), 2, 2, 1)[0], np.full((2, 2), 0.25))
    y, d = averaged(np.ones((2, 2)), 2, 2, 1, count_include_pad=False)
    np.testing.assert_array_equal(y, np.ones((2, 2)))
    np.testing.assert_array_equal(d, np.ones((2, 2)))
    y, d = averaged(np.ones((2, 2)), 2, 2, 1, divisor_override=2)
    np.testing.assert_array_equal(y, np.full((2, 2), 0.5))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_H86_H87_avg_pool_equals_plain_loops_and_is_its_gradients_adjoint(include, ceil_mode):
    x, kernel, stride, padding = integers(2, 3, 7, 8), (3, 4), (2, 3), (1, 2)
    params = {"ceil_mode": ceil_mode, "count_include_pad": include}
    xt = leaf(x)
    y = F.avg_pool2d(xt, kernel, stride, padding, **params)
    np.testing.assert_allclose(y.array, loop_avg_pool2d(x, kernel, stride, ((1, 1), (2, 2)), **params), rtol=1e-15)
    g, u = numbers(*y.shape, seed=1), numbers(*x.shape, seed=2)
    moved = F.avg_pool2d(Tensor(u), kernel, stride, padding, **params).array
    assert np.sum(g * moved) == pytest.approx(np.sum(grad(y, xt, g)[0].array * u), rel=1e-12)


def test_H89_a_window_as_large_as_the_plane_is_a_global_pool():
    x = integers(2, 3, 4, 5)
    np.testing.assert_array_equal(F.max_pool2d(Tensor(x), (4, 5)).array[:, :, 0, 0], x.max((2, 3)))
    np.testing.assert_allclose(F.avg_pool2d(Tensor(x), (4, 5)).array[:, :, 0, 0], x.mean((2, 3)), rtol=1e-15)
    one = leaf(integers(2, 3, 1, 1))
    for pool in (F.max_pool2d, F.avg_pool2d, F.sum_pool2d):
        np.testing.assert_array_equal(pool(one, 1).array, one.array)


def test_H89_a_dilated_pool_reads_every_second_cell():
    x = np.arange(25.0).reshape(5, 5)
    y, d = pooled(x, 2, 1, 0, (2, 3))
    np.testing.assert_array_equal(y, x[2:5, 3:5])
    want = np.zeros((5, 5))
    want[2:5, 3:5] = 1
    np.testing.assert_array_equal(d, want)


def test_pooling_is_differentiable_twice():
    x = leaf(numbers(1, 2, 4, 6))
    y = F.max_pool2d(x * x * x, 2)
    (first,) = grad(y.sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    winners = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*y.shape):
        window = (x.array**3)[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        p, q = np.unravel_index(window.argmax(), (2, 2))
        winners[n, c, 2 * i + p, 2 * j + q] = 1
    np.testing.assert_allclose(first.array, 3 * x.array**2 * winners, rtol=1e-14)
    np.testing.assert_allclose(second.array, 6 * x.array * winners, rtol=1e-14)


@pytest.mark.parametrize(("dtype", "value"), [(np.uint8, -1), (np.int8, 200), (np.uint8, 256)])
def test_padding_with_what_an_integer_cannot_hold_is_refused(dtype, value):
    with pytest.raises(ValueError, match=f"pad: value is {value}, which {np.dtype(dtype)} cannot hold"):
        tg.pad(tg.Tensor(np.ones((2, 2), dtype)), ((1, 1), (0, 0)), value)
