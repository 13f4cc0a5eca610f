"""The slope of norms where a quotient, a power or the norm itself leaves the range of the dtype."""

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
