"""Broadcasting, dtypes and memory layouts: H20 to H33."""

from fractions import Fraction

import numpy as np
import pytest

import tinygrad_cnn as tg
from hard_cases.at_points import check, leaf
from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import functional as F

nan = np.nan


def test_H20_broadcasting_with_a_length_of_zero():
    check(lambda x, y: x + y, [np.zeros((0, 3)), np.ones((1, 3))], np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((1, 3)))
    check(lambda x, y: x + y, [np.zeros((2, 0)), np.ones((2, 1))], np.zeros((2, 0)), np.zeros((2, 0)), np.zeros((2, 1)))


def test_H21_shapes_that_do_not_broadcast_are_shown():
    for f in (lambda x, y: x + y, lambda x, y: x * y, tg.maximum, lambda x, y: tg.where(True, x, y)):
        with pytest.raises(ValueError, match=r"\(2, 0\) and \(2, 3\) do not broadcast"):
            f(leaf(np.zeros((2, 0))), leaf(np.zeros((2, 3))))


SHAPES = [
    ((3, 1), (2, 1, 4)),
    ((), (2, 3)),
    ((1,), (2,)),
    ((3, 1), (3, 2)),
    ((1, 1), (2, 3)),
    ((2, 3), ()),
    ((4, 1, 3), (2, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float16, np.float32), (np.float64, np.float64)])
def test_H22_H26_a_gradient_has_exactly_its_leafs_shape_and_dtype(shapes, dtypes):
    draw = np.random.default_rng(1)
    xs = [Tensor(draw.uniform(0.5, 1.5, s).astype(t), requires_grad=True) for s, t in zip(shapes, dtypes, strict=True)]
    ops = [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x**y]
    ops += [tg.maximum, tg.minimum, lambda x, y: tg.where(x > y, x, y)]
    for f in ops:
        y = f(*xs)
        g = draw.normal(size=y.shape)
        arrays = [x.array.astype(np.float64) for x in xs]
        for x, d, a in zip(xs, grad(y, xs, g), (0, 1), strict=True):
            assert (d.shape, d.dtype, type(d.array)) == (x.shape, x.dtype, np.ndarray)
            # along its own leaf the sum of the stretched gradient
            wide = [np.broadcast_to(v, y.shape).copy() for v in arrays]
            full = grad(f(*(w := [leaf(v) for v in wide])), w, g)[a].array
            lead = y.ndim - x.ndim
            want = full.sum(tuple(range(lead))) if lead else full
            want = want.sum(tuple(i for i, n in enumerate(x.shape) if n == 1), keepdims=True)
            np.testing.assert_allclose(d.array, want, rtol=2e-2 if np.float16 in dtypes else 1e-5, atol=2e-2)


def test_H23_two_scalars_give_a_zero_dimensional_tensor_and_array():
    x, y = leaf(1.5), leaf(2.0)
    for f in (
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
        tg.maximum,
        lambda a, b: a - b,
    ):
        out = f(x, y)
        assert isinstance(out, Tensor)
        assert type(out.array) is np.ndarray
        assert out.shape == ()
        assert type(f(x.array, y.array)) in (np.ndarray, np.float64)
    for f in (tg.exp, tg.relu, tg.sum, tg.mean, tg.amax, tg.neg, tg.sigmoid):
        assert type(f(x).array) is np.ndarray
        assert type(f(x.array)) is np.ndarray
        assert type(grad(f(x), x)[0].array) is np.ndarray


def test_H24_scalars_and_integers_never_widen_a_float():
    for dtype in (np.float16, np.float32):
        x = Tensor(np.ones(2, dtype), requires_grad=True)
        i = np.array([2, 3])
        for other in (2.5, np.float64(2.5), np.array(2.5), 2, np.int64(2), True, i, Tensor(i), Tensor(np.array(2.5))):
            for f in (lambda a, b: a * b, lambda a, b: b + a, lambda a, b: a / b, lambda a, b: b - a, tg.maximum):
                y = f(x, other)
                assert y.dtype == dtype
                assert grad(y.sum(), x)[0].dtype == dtype
    assert (Tensor(np.ones(2, np.float16)) + Tensor(np.ones(2, np.float32))).dtype == np.float32
    assert (Tensor(np.array([1, 2])) * 2.5).dtype == np.float32
    assert (Tensor(np.array([1, 2])) / 2).dtype == np.float32
    assert (Tensor(np.array([1, 2])) + 1).dtype == np.int64
    assert (Tensor(np.array([True])) + Tensor(np.array([1], np.int32))).dtype == np.int32


def test_H25_gradients_through_counts_and_masks_keep_the_leafs_dtype():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    m = x.array > 0
    for y in (x * m / m.sum(), x * np.arange(3), x.mean(), x.max(), x.var(0), x / np.int64(3), x[[0, 0]], x * m.sum()):
        assert y.dtype == np.float32
        assert grad(y.sum(), x)[0].dtype == np.float32


UNARY = [tg.exp, tg.log, tg.sqrt, tg.abs, tg.sigmoid, tg.tanh, tg.relu, tg.neg, tg.square, tg.sin, tg.cos, tg.sign]
UNARY += [tg.sum, tg.mean, tg.amax, tg.amin, tg.var, tg.logsumexp, lambda x: x.clip(0.0, 1.0), lambda x: x.flip(0)]
UNARY += [
    lambda x: x.T,
    lambda x: x[[0, 0]],
    lambda x: x @ x.T,
    lambda x: F.softmax(x, 1),
    lambda x: F.log_softmax(x, 0),
]
UNARY += [
    lambda x: tg.cat([x, x]),
    lambda x: F.pad(x, (1, 0)),
    lambda x: x.max(1).values,
    lambda x: x**2,
    lambda x: 2**x,
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("f", UNARY)
def test_H26_every_op_keeps_its_inputs_dtype_and_half_is_near_single(f, dtype):
    values = np.random.default_rng(2).uniform(0.3, 2.0, (2, 3)).astype(np.float16)
    x, exact = Tensor(values.astype(dtype), requires_grad=True), leaf(values)
    y, want = f(x), f(exact)
    (d,), (dwant,) = grad(y.sum(), x), grad(want.sum(), exact)
    assert (y.dtype, d.dtype) == (dtype, dtype)
    tolerance = {np.float16: 4e-3, np.float32: 1e-6, np.float64: 1e-15}[dtype]
    np.testing.assert_allclose(y.array, want.array, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(d.array, dwant.array, rtol=4 * tolerance, atol=4 * tolerance)


def test_H28_the_mean_of_integers_is_refused_with_the_way_out():
    for f in (tg.mean, tg.var):
        with pytest.raises(TypeError, match=r"(mean|var): the input is int64.*\.float\(\)"):
            f(Tensor(np.array([1, 2])))
    assert Tensor(np.array([1, 2])).float().mean().item() == 1.5


def test_H29_integers_wrap_as_numpys_do():
    assert (Tensor(np.uint8(0)) - Tensor(np.uint8(1))).item() == 255
    assert (Tensor(np.array([2**31 - 1], np.int32)) + 1).tolist() == [-(2**31)]
    assert (-Tensor(np.array([1], np.uint8))).tolist() == [255]
    assert not (Tensor(np.uint8(0)) - Tensor(np.uint8(1))).requires_grad


def test_H30_booleans_are_not_subtracted_or_negated():
    b = Tensor(np.array([True, False]))
    with pytest.raises(TypeError, match=r"neg: booleans have no sign; ~x"):
        -b
    for difference in (lambda: b - b, lambda: b - True, lambda: True - b):
        with pytest.raises(TypeError, match=r"sub: booleans do not subtract; x \^ y"):
            difference()


BITWISE = [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x & ~y]


@pytest.mark.parametrize("f", BITWISE)
def test_H30_conditions_combine_and_whole_numbers_have_bits(f):
    for x, y in [(np.array([True, True, False]), np.array([[True], [False]])), (np.arange(4), np.array([[5], [6]]))]:
        for got in (f(Tensor(x), Tensor(y)), f(Tensor(x), y), f(x, Tensor(y)), f(Tensor(x), y.dtype.type(1).item())):
            assert isinstance(got, Tensor)
            assert not got.requires_grad
        np.testing.assert_array_equal(f(Tensor(x), Tensor(y)).array, f(x, y), strict=True)
        np.testing.assert_array_equal(f(x, Tensor(y)).array, f(x, y), strict=True)
    with pytest.raises(TypeError, match=r"(bitwise_and|bitwise_or|bitwise_xor|invert): of float64.*compare first"):
        f(leaf([1.0]), leaf([2.0]))


def test_H30_logical_functions_ask_whether_numbers_are_zero():
    x, y = np.array([0.0, 2.0, nan, 0.0]), np.array([0, 0, 3, 4])
    for name in ("logical_and", "logical_or", "logical_xor"):
        expected = getattr(np, name)(x, y)
        np.testing.assert_array_equal(getattr(leaf(x), name)(Tensor(y)).array, expected, strict=True)
        np.testing.assert_array_equal(getattr(np, name)(leaf(x), y).array, expected, strict=True)
    assert leaf(x).logical_not().tolist() == np.logical_not(leaf(x)).tolist() == [True, False, False, True]
    assert np.invert(Tensor(y > 0)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">f2"])
def test_H31_big_endian_input_becomes_native(dtype):
    a = np.array([1, 2, 3], dtype)
    x = Tensor(a)
    assert x.dtype.isnative
    assert x.tolist() == [1, 2, 3]
    y = leaf([1.0, 2.0, 4.0])
    out = y * a
    assert out.dtype.isnative
    (d,) = grad(out.sum(), y)
    assert d.dtype.isnative
    assert d.tolist() == [1.0, 2.0, 3.0]
    y.grad = np.array([1.0, 2.0, 3.0], ">f8")
    assert y.grad.dtype.isnative


@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.zeros(2, dtype=">f4"),
        lambda: tg.full((2,), 0, dtype=">i8"),
        lambda: tg.arange(2, dtype=">f8"),
        lambda: tg.zeros_like(leaf([1.0, 2.0]), dtype=">f2"),
        lambda: leaf([1.0, 2.0]).new_ones(2, dtype=">f4"),
        lambda: tg.rand(2, dtype=">f8"),
        lambda: tg.randn(2, dtype=">f2"),
        lambda: leaf([1.0, 2.0]).to(">f4"),
        lambda: tg.as_tensor(leaf([1.0, 2.0]), dtype=">i4"),
        lambda: tg.as_tensor(np.array([1.0, 2.0], ">f8")),
        lambda: tg.as_tensor(np.array([1.0, 2.0], ">f8"), dtype=">f8"),
        lambda: F.softmax(leaf([1.0, 2.0]), 0, dtype=">f4"),
    ],
)
def test_H31_a_big_endian_dtype_means_the_native_one(make):
    x = make()
    assert x.dtype.isnative
    assert x.shape == (2,)


def test_H31_x_is_itself_in_its_own_dtype_of_the_other_byte_order():
    x = leaf([1.0, 2.0])
    assert x.to(">f8") is x
    assert tg.as_tensor(x, dtype=">f8") is x
    assert tg.as_tensor(np.array([1.0, 2.0], ">f8")).tolist() == [1.0, 2.0]


LAYOUTS = {
    "read-only": lambda a: (b := a.copy(), b.setflags(write=False))[0],
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran": np.asfortranarray,
    "non-contiguous": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [False, True])
def test_H32_the_memory_layout_changes_no_result_and_no_flag(layout, share):
    a = np.random.default_rng(3).uniform(0.3, 2.0, (3, 4))
    b = LAYOUTS[layout](a)
    flags = str(b.flags)
    np.testing.assert_array_equal(a, b)
    for f in [*UNARY, lambda x: x * a, lambda x: x.reshape(2, 6) * 1.0, lambda x: tg.maximum(x, 1.0)]:
        if share:
            want, got = f(Tensor(a)), f(tg.from_numpy(b))
        else:
            xs = [Tensor(v, requires_grad=True) for v in (a, b)]
            want, got = (f(x) for x in xs)
            g = np.random.default_rng(4).normal(size=want.shape)
            np.testing.assert_allclose(grad(got, xs[1], g)[0].array, grad(want, xs[0], g)[0].array, rtol=1e-14)
        np.testing.assert_allclose(got.array, want.array, rtol=1e-14)
        assert str(b.flags) == flags


def test_H32_a_stretched_array_is_read_like_its_copy():
    b = np.broadcast_to(np.array([[1.0], [2.0]]), (2, 3))
    x, y = Tensor(b, requires_grad=True), Tensor(b.copy(), requires_grad=True)
    for f in UNARY:
        np.testing.assert_array_equal(f(x).array, f(y).array)
        np.testing.assert_array_equal(grad(f(x).sum(), x)[0].array, grad(f(y).sum(), y)[0].array)
    with pytest.raises(ValueError, match="add_: the memory of this Tensor is read-only"):
        tg.from_numpy(b).add_(1.0)


@pytest.mark.parametrize(
    "data", [np.array([object()]), "text", ["a"], np.array([1 + 2j]), 1j, [None], {}, np.array(["2020"], "M8")]
)
def test_H33_what_is_no_number_is_no_tensor(data):
    with pytest.raises(TypeError, match=r"Tensor: .* cannot be a Tensor; it needs bool, integer or float numbers"):
        Tensor(data)


@pytest.mark.parametrize("dtype", ["c8", object, "U3", "M8[s]", "V4"])
def test_H33_nothing_is_converted_to_what_is_no_number(dtype):
    x = leaf([1.0, 2.0])
    for name, convert in {
        "to": lambda: x.to(dtype),
        "as_tensor": lambda: tg.as_tensor(x, dtype=dtype),
        "zeros": lambda: tg.zeros(2, dtype=dtype),
        "rand": lambda: tg.rand(2, dtype=dtype),
        "randn": lambda: tg.randn(2, dtype=dtype),
    }.items():
        with pytest.raises(TypeError, match=rf"{name}: dtype .*; it can be bool, an integer or a float of up to 64 b"):
            convert()


def test_H33_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="Tensor: the nested lists are ragged"):
        Tensor([[1.0, 2.0], [3.0]])


def test_H33_ops_on_bare_object_arrays_are_exact():
    x = np.array([Fraction(1, 3), Fraction(2, 7)], object)
    assert (tg.mul(x, x) == x * x).all()
    assert tg.sum(x) == Fraction(13, 21)
