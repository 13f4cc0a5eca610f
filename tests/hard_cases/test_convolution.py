"""Hard cases of convolution: H60 to H77. The answers that a user of the ops sees, with gradients."""

import tracemalloc

import numpy as np
import pytest
from oracles import conv2d as loop_conv2d
from oracles import conv_transpose2d as loop_conv_transpose2d

import tinygrad_cnn as tg
from hard_cases.at_points import adjoint_holds, integers, leaf, numbers
from tinygrad_cnn import ShapeError, Tensor, grad
from tinygrad_cnn.nn import functional as F

inf, nan = np.inf, np.nan


def test_H60_a_batch_of_nothing():
    x, w, b = leaf(np.zeros((0, 2, 4, 5))), leaf(numbers(3, 2, 3, 2)), leaf(numbers(3))
    y = F.conv2d(x, w, b)
    assert y.shape == (0, 3, 2, 4)
    dx, dw, db = grad(y, [x, w, b], np.zeros(y.shape))
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw.array, np.zeros(w.shape))
    np.testing.assert_array_equal(db.array, np.zeros(3))
    for pool in (F.max_pool2d, F.avg_pool2d, F.sum_pool2d):
        y = pool(x, 2)
        assert y.shape == (0, 2, 2, 2)
        assert grad(y, x, np.zeros(y.shape))[0].shape == x.shape
    t = F.conv_transpose2d(x, leaf(numbers(2, 3, 3, 2)))
    assert t.shape == (0, 3, 6, 6)


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((1, 0, 4, 4), (3, 0, 3, 3)),
        ((1, 2, 4, 4), (0, 2, 3, 3)),
        ((1, 2, 4, 4), (3, 2, 0, 3)),
        ((1, 2, 4, 4), (3, 2, 3, 0)),
    ],
)
def test_H61_H62_no_channels_and_no_kernel_are_refused(x, w):
    with pytest.raises(ValueError, match=r"conv2d: .*0"):
        F.conv2d(leaf(np.zeros(x)), leaf(np.zeros(w)))


def test_H63_a_kernel_larger_than_the_padded_image_is_refused_with_the_sum():
    for shape, padding in (((2, 5), 0), ((5, 2), 0), ((1, 3), (0, 1))):
        with pytest.raises(ShapeError, match="conv2d"):
            F.conv2d(leaf(np.zeros((1, 1, *shape))), leaf(np.zeros((1, 1, 3, 3))), padding=padding)
    for pool in (F.max_pool2d, F.avg_pool2d, F.sum_pool2d):
        with pytest.raises(ShapeError, match="pool2d"):
            pool(leaf(np.zeros((1, 1, 2, 5))), 3)


@pytest.mark.parametrize(
    "params",
    [
        {"stride": 0},
        {"stride": (1, -1)},
        {"dilation": 0},
        {"dilation": (-1, 1)},
        {"padding": -1},
        {"padding": ((0, 0), (0, -1))},
        {"padding": "some"},
        {"groups": 0},
        {"groups": -1},
        {"groups": 3},
        {"stride": (1, 1, 1)},
        {"padding": (1, 2, 3)},
    ],
)
def test_H64_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValueError, match="conv2d"):
        F.conv2d(leaf(np.zeros((1, 4, 5, 5))), leaf(np.zeros((4, 4, 3, 3))), **params)


@pytest.mark.parametrize(
    ("x", "w", "b"),
    [
        ((4, 4), (1, 1, 3, 3), None),
        ((1, 1, 1, 4, 4), (1, 1, 3, 3), None),
        ((1, 1, 4, 4), (1, 3, 3), None),
        ((1, 3, 4, 4), (1, 2, 3, 3), None),
        ((1, 2, 4, 4), (3, 2, 3, 3), (2,)),
        ((1, 2, 4, 4), (3, 2, 3, 3), (1, 3)),
        ((1, 2, 4, 4), (3, 2, 3, 3), ()),
        ((1, 2, 4, 4), (3, 2, 3, 3), (1,)),
    ],
)
def test_H64_shapes_that_do_not_fit_are_refused(x, w, b):
    with pytest.raises(ValueError, match="conv2d"):
        F.conv2d(leaf(np.zeros(x)), leaf(np.zeros(w)), None if b is None else leaf(np.zeros(b)))


def test_H65_what_no_window_reads_has_gradient_zero():
    x, w = leaf(np.ones((1, 1, 5, 5))), leaf(np.ones((1, 1, 1, 1)))
    y = F.conv2d(x, w, stride=3)
    dx, dw = grad(y, [x, w], np.ones((1, 1, 2, 2)))
    want = np.zeros((5, 5))
    want[::3, ::3] = 1
    np.testing.assert_array_equal(y.array, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(dx.array[0, 0], want)
    assert dw.array.item() == 4.0
    x = leaf(integers(1, 2, 6, 7))
    (dx,) = grad(F.conv2d(x, leaf(integers(1, 2, 2, 3)), stride=2).sum(), x)  # the last column is not covered
    np.testing.assert_array_equal(dx.array[:, :, :, 7:], 0)
    (dx,) = grad(F.conv2d(x, leaf(np.ones((1, 2, 2, 2))), stride=3).sum(), x)
    np.testing.assert_array_equal(
        dx.array[0, 0], [[1, 1, 0, 1, 1, 0, 0]] * 2 + [[0] * 7] + [[1, 1, 0, 1, 1, 0, 0]] * 2 + [[0] * 7]
    )


PROBLEMS = {
    "all different": ((2, 3, 9, 8), (4, 3, 2, 3), {"stride": (2, 1), "padding": (1, 2), "dilation": (3, 2)}),
    "dilation above stride": ((1, 2, 8, 9), (1, 2, 3, 2), {"stride": (1, 2), "dilation": (2, 3)}),
    "four pads": ((2, 1, 5, 4), (2, 1, 3, 2), {"padding": ((2, 0), (1, 3)), "stride": (2, 3)}),
    "one filter, one image": ((1, 1, 4, 7), (1, 1, 4, 2), {}),
    "stride above kernel": ((2, 2, 9, 10), (3, 2, 2, 1), {"stride": (4, 3)}),
    "groups": ((2, 4, 5, 6), (6, 2, 3, 2), {"groups": 2, "padding": (1, 0)}),
    "depthwise": ((2, 3, 5, 6), (3, 1, 2, 3), {"groups": 3, "stride": (1, 2)}),
    "depthwise with a multiplier": ((2, 3, 5, 4), (6, 1, 3, 2), {"groups": 3, "dilation": (1, 2)}),
    "1x1": ((2, 3, 4, 5), (2, 3, 1, 1), {}),
    "1x1 strided": ((2, 3, 4, 5), (2, 3, 1, 1), {"stride": 2}),
    "kernel as large as the image": ((2, 3, 4, 5), (2, 3, 4, 5), {}),
    "full": ((1, 2, 3, 4), (3, 2, 2, 3), {"padding": "full"}),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_H66_H67_H68_H77_conv2d_equals_plain_loops_and_is_its_gradients_adjoint(name):
    x_shape, w_shape, params = PROBLEMS[name]
    x, w, b = integers(*x_shape), integers(*w_shape, seed=1), integers(w_shape[0], seed=2)
    y = adjoint_holds(lambda x, w, b: F.conv2d(x, w, b, **params), x, w, b)
    padding = params.get("padding", (0, 0))
    if padding == "full":
        padding = tuple((k - 1, k - 1) for k in w_shape[2:])
    elif not isinstance(padding[0], tuple):
        padding = tuple((p, p) for p in padding)
    stride = params.get("stride", (1, 1))
    want = loop_conv2d(
        x,
        w,
        b,
        (stride, stride) if isinstance(stride, int) else stride,
        padding,
        params.get("dilation", (1, 1)),
        params.get("groups", 1),
    )
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"stride": (2, 3), "output_padding": (1, 2), "padding": (1, 0)},
        {"dilation": (2, 1), "groups": 2, "padding": (0, 1)},
        {"stride": (1, 2), "output_padding": (0, 1), "groups": 2},
    ],
)
def test_H66_conv_transpose2d_equals_plain_loops_and_is_its_gradients_adjoint(params):
    x, w = integers(2, 4, 3, 5), integers(4, 3, 2, 3, seed=1)
    b = integers(3 * params.get("groups", 1), seed=2)
    y = adjoint_holds(lambda x, w, b: F.conv_transpose2d(x, w, b, **params), x, w, b)
    pads = params.get("padding", (0, 0))
    plain = dict(params, padding=((pads[0], pads[0]), (pads[1], pads[1])))
    np.testing.assert_array_equal(y, loop_conv_transpose2d(x, w, b, **plain))


def test_H67_groups_are_blocks_of_a_convolution():
    x, w = integers(2, 4, 5, 4), integers(6, 2, 2, 3, seed=1)
    halves = [F.conv2d(Tensor(x[:, 2 * i : 2 * i + 2]), Tensor(w[3 * i : 3 * i + 3])).array for i in (0, 1)]
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(w), groups=2).array, np.concatenate(halves, 1))


def test_H68_a_1x1_kernel_is_a_matrix_product_and_a_full_one_has_one_output():
    x, w = integers(2, 3, 4, 5), integers(6, 3, 1, 1, seed=1)
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(w)).array, np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]))
    np.testing.assert_array_equal(
        F.conv2d(Tensor(x), Tensor(w), stride=2).array, np.einsum("nchw,oc->nohw", x[:, :, ::2, ::2], w[:, :, 0, 0])
    )
    big = integers(6, 3, 4, 5, seed=1)
    np.testing.assert_array_equal(
        F.conv2d(Tensor(x), Tensor(big)).array[:, :, 0, 0], np.einsum("nchw,ochw->no", x, big)
    )


@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 2), (3, 4), (2, 5)])
def test_H69_H71_same_padding_at_any_stride_puts_the_odd_zero_last_and_same_lower_first(stride, dilation, kernel):
    x, w = integers(1, 2, 7, 8), integers(3, 2, *kernel, seed=1)
    strides = (stride, stride) if isinstance(stride, int) else stride
    totals = [
        max((-(-n // s) - 1) * s + dilation * (k - 1) + 1 - n, 0)
        for n, s, k in zip((7, 8), strides, kernel, strict=True)
    ]
    for name, pads in (
        ("same", tuple((t // 2, t - t // 2) for t in totals)),
        ("same_lower", tuple((t - t // 2, t // 2) for t in totals)),
    ):
        y = F.conv2d(Tensor(x), Tensor(w), None, stride, name, dilation)
        assert y.shape[2:] == tuple(-(-n // s) for n, s in zip((7, 8), strides, strict=True))
        np.testing.assert_array_equal(y.array, loop_conv2d(x, w, None, strides, pads, (dilation, dilation)))
    valid = F.conv2d(Tensor(x), Tensor(w), None, stride, "valid")
    np.testing.assert_array_equal(valid.array, F.conv2d(Tensor(x), Tensor(w), None, stride, 0).array)


def test_H70_a_single_image_comes_back_single():
    x, w, b = integers(2, 5, 6), integers(3, 2, 2, 3, seed=1), integers(3, seed=2)
    y = adjoint_holds(lambda x, w, b: F.conv2d(x, w, b, padding=1), x, w, b)
    np.testing.assert_array_equal(y, F.conv2d(Tensor(x[None]), Tensor(w), Tensor(b), padding=1).array[0])
    for pool in (F.max_pool2d, F.avg_pool2d, F.sum_pool2d):
        np.testing.assert_array_equal(pool(Tensor(x), 2).array, pool(Tensor(x[None]), 2).array[0])


def test_H72_nan_reaches_only_the_windows_that_see_it():
    x = np.ones((1, 1, 1, 4))
    x[..., 0] = nan
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(np.ones((1, 1, 1, 2)))).array.ravel(), [nan, 2, 2])
    x[..., 0] = inf
    w = np.array([0.0, 1.0]).reshape(1, 1, 1, 2)
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(w)).array.ravel(), [nan, 1, 1])
    for dtype in (np.float32, np.float64):
        image = np.ones((1, 4, 9, 9), dtype)
        image[0, 2, 4, 4] = nan
        y = F.conv2d(Tensor(image), Tensor(np.ones((8, 4, 3, 3), dtype)), padding=1).array
        np.testing.assert_array_equal(np.isnan(y).any((0, 1)), np.pad(np.ones((3, 3), bool), 3))


@pytest.mark.parametrize("f", [F.conv2d, F.conv_transpose2d])
def test_H73_mixed_float_dtypes_are_refused_by_name(f):
    x, w = Tensor(np.ones((1, 1, 4, 4), np.float32)), leaf(np.ones((1, 1, 2, 2)))
    name = f.__name__
    with pytest.raises(
        TypeError, match=rf"{name}: its inputs have different dtypes \(x float32\(.*, w float64\(.*\.to\("
    ):
        f(x, w)
    with pytest.raises(TypeError, match=r"float32.*float64"):
        f(x, Tensor(np.ones((1, 1, 2, 2), np.float32)), Tensor(np.ones(1)))
    with pytest.raises(TypeError, match=r"float32.*float64"):
        F.linear(Tensor(np.ones((1, 4), np.float32)), Tensor(np.ones((2, 4))))
    with pytest.raises(TypeError, match=r"float32.*float64"):
        Tensor(np.ones((1, 4), np.float32)) @ Tensor(np.ones((4, 4)))


def test_H74_integers_are_convolved_exactly_and_booleans_refused():
    x, w = Tensor(np.ones((1, 1, 3, 3), np.int64)), Tensor(np.ones((1, 1, 2, 2), np.int64))
    y = F.conv2d(x, w)
    assert (y.dtype, y.tolist(), y.requires_grad) == (np.int64, [[[[4, 4], [4, 4]]]], False)
    big = Tensor(np.full((1, 1, 1, 1), 2**62 + 1))
    assert F.conv2d(big, Tensor(np.ones((1, 1, 1, 1), np.int64))).array.item() == 2**62 + 1
    with pytest.raises(TypeError, match="conv2d: the image is bool"):
        F.conv2d(Tensor(np.ones((1, 1, 3, 3), bool)), Tensor(np.ones((1, 1, 2, 2), bool)))


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        np.asfortranarray,
        lambda a: a[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1],
        lambda a: np.repeat(a, 2, 3)[..., ::2],
    ],
)
def test_H75_the_memory_layout_changes_no_result(layout):
    x, w = integers(2, 3, 6, 7), integers(4, 3, 3, 2, seed=1)
    for f in (
        lambda x: F.conv2d(x, Tensor(w), padding=(1, 2), stride=(1, 2)),
        lambda x: F.max_pool2d(x, (2, 3), 1, 1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.conv_transpose2d(x, Tensor(w.transpose(1, 0, 2, 3))),
    ):
        one, two = leaf(x), tg.from_numpy(layout(x))
        two_leaf = leaf(0.0)
        y, z = f(one), f(two + two_leaf * 0.0)
        np.testing.assert_array_equal(y.array, z.array)
        np.testing.assert_array_equal(f(two).array, y.array)


def test_H75_a_stretched_image_is_read_like_its_copy():
    b = np.broadcast_to(integers(1, 1, 6, 1), (2, 3, 6, 7))
    w = Tensor(integers(4, 3, 3, 2, seed=1))
    np.testing.assert_array_equal(
        F.conv2d(tg.from_numpy(b), w, padding=1).array, F.conv2d(Tensor(b.copy()), w, padding=1).array
    )


@pytest.mark.parametrize(
    "params",
    [
        {"stride": 2**31},
        {"stride": 2**63},
        {"padding": 2**31},
        {"padding": 2**62},
        {"dilation": 2**31},
        {"dilation": 2**63},
    ],
)
def test_H76_a_huge_geometry_is_refused_or_right_and_allocates_nothing(params):
    x, w = Tensor(np.ones((1, 1, 4, 4), np.float32)), Tensor(np.ones((1, 1, 2, 2), np.float32))
    tracemalloc.start()
    try:
        if "stride" in params:
            assert F.conv2d(x, w, **params).tolist() == [[[[4.0]]]]
        else:
            with pytest.raises((ValueError, MemoryError)):
                F.conv2d(x, w, **params)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("pool", [tg.max_pool2d, tg.sum_pool2d, tg.avg_pool2d], ids=lambda pool: pool.__name__)
def test_H76_a_huge_pooling_is_right_and_allocates_nothing(pool):
    x = leaf(np.arange(16.0).reshape(1, 1, 4, 4))
    tracemalloc.start()
    try:
        # 5 windows, each of which has at least the 4 - |i - 2| nearest rows inside, as a kernel of 4 and padding 2 has.
        y = pool(x, (2**40, 1), 1, (2**39, 0))
        y.backward(np.ones(y.shape))
        one = pool(x, 2, 2**70)
        all_of_it = pool(x, 2**70, 2**70, ceil_mode=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    small = leaf(x.array)
    reference = pool(small, (8, 1), 1, (4, 0))
    reference.backward(np.ones(y.shape))
    factor = 2**37 if pool is tg.avg_pool2d else 1  # the divisors are 2**40 and 8
    np.testing.assert_array_equal(y.array * factor, reference.array)
    np.testing.assert_array_equal(x.grad.array * factor, small.grad.array)
    np.testing.assert_array_equal(one.array, pool(x[:, :, :2, :2], 2).array)
    np.testing.assert_array_equal(all_of_it.array, pool(x, 4).array)


@pytest.mark.parametrize("pool", [tg.max_pool2d, tg.sum_pool2d], ids=lambda pool: pool.__name__)
def test_H76_a_huge_dilation_is_harmless_in_a_kernel_of_one_cell(pool):
    x = leaf(np.arange(16.0).reshape(1, 1, 4, 4))
    np.testing.assert_array_equal(pool(x, 1, 1, 0, 2**70).array, x.array)
    for huge in ({"padding": 2**60}, {"dilation": 2**70}, {"kernel_size": 2**70}):
        with pytest.raises((ValueError, MemoryError), match=pool.__name__):
            pool(x, **{"kernel_size": 2, **huge})


@pytest.mark.parametrize("pool", [tg.max_pool2d, tg.sum_pool2d, tg.avg_pool2d], ids=lambda pool: pool.__name__)
def test_H84_booleans_are_not_pooled(pool):
    with pytest.raises(TypeError, match=rf"{pool.__name__}: the (image|input) is bool; .*\.float\(\)"):
        pool(Tensor(np.ones((1, 1, 4, 4), bool)), 2)


def test_H77_the_kernel_is_not_turned_unless_asked():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    w = np.arange(9.0).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(w), padding=1).array, w[:, :, ::-1, ::-1])
    np.testing.assert_array_equal(F.conv2d(Tensor(x), Tensor(w), padding=1, flip=True).array, w)


IMAGE = tg.zeros(1, 1, 2, 2)
HUGE = {
    r"Linear: the weight \(4294967296, 4294967296\) .*; use fewer features": lambda: tg.nn.Linear(2**32, 2**32),
    r"adaptive_avg_pool2d: the output .*; use a smaller output_size": lambda: F.adaptive_avg_pool2d(IMAGE, 2**31),
    r"adaptive_max_pool2d: the output .*; use a smaller output_size": lambda: F.adaptive_max_pool2d(IMAGE, 2**31),
    r"adaptive_avg_pool1d.*; use a smaller output_size": lambda: F.adaptive_avg_pool1d(IMAGE[0], 2**60),
    r"interpolate: the output \(1, 1, 4294967296, .*; use a smaller size or scale_factor": lambda: F.interpolate(
        IMAGE, scale_factor=2**31
    ),
    r"interpolate: the output \(1, 2, 1152921504606846976\) .* smaller size": lambda: F.interpolate(IMAGE[0], 2**60),
}


@pytest.mark.parametrize("message", HUGE)
def test_H76_no_part_of_a_huge_output_is_made(message):
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError, match=message):
            HUGE[message]()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
