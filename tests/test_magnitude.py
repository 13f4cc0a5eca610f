"""Norms, var and std, and their slopes, where a quotient, a power or a square leaves the range of the dtype."""

import numpy as np
import pytest

import tinygrad_cnn as tg

INF, NAN = np.inf, np.nan
WIDE = [  # values, dtype, p: the norm is finite, the sizes are far apart or near the ends of the range
    ([1e-3, -6e4], "float16", 3),
    ([1e-4, -6e4, 0], "float16", 1.1),
    ([1e-6, -2e-6, 0], "float16", 1.9),
    ([0, 6e-8], "float16", 1.9),
    ([1e-30, 1e20], "float32", 1.5),
    ([-1e-30, 1e20, 0], "float32", 0.5),
    ([1e-12, -1e12, 3e5], "float32", 3),
    ([1e-30, -3e-30, 0], "float32", 1),
    ([1e-300, -1e200, 1e-9], "float64", 1.25),
]


@pytest.mark.parametrize(("values", "dtype", "p"), WIDE)
def test_the_slope_of_a_norm_is_right_where_the_quotient_leaves_the_range_of_the_dtype(values, dtype, p):
    x = tg.tensor(values, dtype=dtype, requires_grad=True)
    cotangent = 0.75
    x.norm(p=p).backward(np.asarray(cotangent, dtype))
    exact = x.numpy().astype(np.longdouble)
    size = np.abs(exact)
    norm = (size**p).sum() ** (1 / np.longdouble(p))
    expected = np.where(size == 0, 0, np.sign(exact) * (np.where(size == 0, 1, size) / norm) ** (p - 1))
    tolerance = {"float16": 0.15 if norm < 1e-5 else 1e-2, "float32": 4e-6, "float64": 1e-14}[dtype]  # few digits there
    np.testing.assert_allclose(
        x.grad.numpy(), (cotangent * expected).astype(float), rtol=tolerance, atol=float(np.finfo(dtype).tiny)
    )


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        ([1e13, 2e13, -3e13], 3, [0, 0, 0]),
        ([3e38, -3e38, 0], 1.5, [0, 0, 0]),
        ([0, -1, -INF, 2], 3, [0, 0, NAN, 0]),
        ([0, -1, -INF, 2], 1.5, [0, 0, NAN, 0]),
        ([0, -1, -INF, 2], 1, [0, -1, -1, 1]),
        ([0, -1, INF, 2], 0.5, [0, -INF, NAN, INF]),
        ([1e-30, -2e-30], 3, [0, 0]),
        ([0, 0], 0.5, [0, 0]),
        ([0, NAN, -1], 1.5, [0, NAN, NAN]),
    ],
)
def test_beside_a_norm_of_inf_or_0_the_slope_is_that_of_the_norm_as_computed(values, p, expected):
    x = tg.tensor(values, dtype="float32", requires_grad=True)
    x.norm(p=p).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.float32(expected), rtol=2e-6)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 3])
def test_the_second_derivative_of_a_norm_of_wide_range_is_finite_and_right(p):
    values, v = np.array([[1e-8, 0.0, -3e8], [2e7, -1e-7, 5.0]]), np.array([[0.5, -2.0, 3.0], [1.0, 0.25, -1.5]])
    x = tg.Tensor(values, requires_grad=True)
    (slope,) = tg.grad(x.norm(p=p, dim=1), x, np.ones(2), create_graph=True)
    (second,) = tg.grad((slope * v).sum(), x)
    size = np.abs(values)
    norm = (size**p).sum(1, keepdims=True) ** (1 / p)
    slopes = np.sign(values) * np.where(size == 0, 1, size / norm) ** (p - 1)
    own = (p - 1) * np.where(size == 0, 0, np.where(size == 0, 1, size) ** (p - 2) * norm ** (1 - p))
    expected = own * v - (p - 1) * slopes * (slopes * v).sum(1, keepdims=True) / norm
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3])
def test_an_explanation_gives_the_slopes_of_a_norm_at_zero_and_beside_inf(p):
    for values in ([0.0, -2.0, 3.0], [0.0, -1.0, INF], [1e-200, -1e200, 0.0], [1e200, 1e-200, 3.0], [0.0, 0.0]):
        x = tg.Tensor(np.array(values), requires_grad=True)
        loss = x.norm(p=p)
        explained = [tg.explain_grad(loss, x, i).value for i in range(len(values))]
        loss.backward()
        np.testing.assert_allclose(tg.explain(loss, ()).value, loss.item(), rtol=1e-13)
        np.testing.assert_allclose(explained, x.grad.numpy(), rtol=1e-13, atol=1e-150)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("axis", "correction"), [(1, 1), ((0, 2), 0), (-1, 0.5), (None, 1)])
def test_var_and_std_are_right_where_squares_leave_the_range_of_the_dtype(dtype, keepdims, axis, correction):
    rng = np.random.default_rng(0)
    numbers = np.finfo(dtype)
    unit = rng.integers(16, 65, (2, 5, 3)) / 64 * rng.choice([-1.0, 1.0], (2, 5, 3))  # times a power of two, exact
    axes = (0, 1, 2) if axis is None else axis
    mean, variance = (f(unit, axis=axes, keepdims=True) for f in (np.mean, np.var))
    n = unit.size // mean.size
    variance *= n / (n - correction)
    slope = (unit - mean) / (np.sqrt(variance) * (n - correction))
    eps, least = float(numbers.eps), float(numbers.smallest_subnormal)
    for k in (
        numbers.minexp + 6,
        numbers.minexp // 2 - 2,
        0,
        numbers.maxexp // 2,
        numbers.maxexp // 2 + 3,
        numbers.maxexp - 7,
    ):
        size = 2.0**k
        x = tg.Tensor((unit * size).astype(dtype), requires_grad=True)
        with np.errstate(over="ignore"):
            square = (variance * size * size).astype(dtype)
        std, var = (f(x, axis, correction, keepdims) for f in (tg.std, tg.var))
        for out, wanted in ((std, np.sqrt(variance) * size), (var, square)):
            assert out.dtype == dtype
            assert out.shape == (mean if keepdims else mean.squeeze(axes)).shape
            np.testing.assert_allclose(out.numpy().reshape(mean.shape), wanted, rtol=8 * eps, atol=least)
        c = rng.uniform(0.5, 1, std.shape).astype(dtype)
        (g,) = tg.grad(std, x, c)
        np.testing.assert_allclose(g.numpy(), slope * c.reshape(mean.shape), rtol=0, atol=8 * eps)


def test_one_group_whose_squares_leave_the_range_changes_no_bit_of_the_others():
    x = np.random.default_rng(1).normal(size=(4, 300)).astype(np.float32)
    for f in (tg.var, tg.std):
        apart = f(x, 1)
        for size in (1e-30, 1e25, np.inf, np.nan, 0.0):
            mixed = x.copy()
            mixed[2] *= np.float32(size)
            out = f(mixed, 1)
            assert np.array_equal(out[[0, 1, 3]], apart[[0, 1, 3]])
            assert np.isnan(out[2]) or size < 1e26


@pytest.mark.parametrize("size", [1e-153, 1e154])
def test_the_second_derivative_of_std_scales_as_it_must(size):
    numbers = np.array([0.3, -1.1, 0.7, 2.0])

    def second(scale):
        x = tg.Tensor(numbers * scale, requires_grad=True)
        (g,) = tg.grad(x.std(), x, create_graph=True)
        (h,) = tg.grad((g * tg.Tensor([1.0, -2.0, 0.5, 3.0], dtype="float64")).sum(), x)
        return h.numpy()

    np.testing.assert_allclose(second(size) * size, second(1.0), rtol=1e-12)


def test_the_slope_of_std_is_right_where_n_times_it_leaves_the_range():
    unit = np.random.default_rng(2).integers(-8, 9, 3000).astype(np.float64)
    x = tg.Tensor((unit * 2.0**115).astype(np.float32), requires_grad=True)
    (g,) = tg.grad(x.std(), x)
    np.testing.assert_allclose(g.numpy(), (unit - unit.mean()) / (unit.std(ddof=1) * 2999), rtol=1e-4, atol=1e-8)
