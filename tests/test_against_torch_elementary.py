"""Elementary functions, comparisons, counting, parts of matrices and joining, as PyTorch has them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import torch_problems as problems  # noqa: E402
from torch_problems import BOTH, OURS, a, agree, fails, grid, seeds, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402


def numbers(*shape: int) -> Any:
    return grid(sum(shape), *shape)


EVERYWHERE = ["expm1", "exp2", "tan", "atan", "sinh", "cosh", "asinh", "erf"]
WITHIN_ONE = ["asin", "acos", "atanh"]
ABOVE_ZERO = ["log1p", "log2", "log10", "reciprocal", "rsqrt"]
ROUNDING = ["floor", "ceil", "trunc", "round"]


@pytest.mark.parametrize("name", EVERYWHERE + ABOVE_ZERO + WITHIN_ONE + ["acosh", *ROUNDING])
@given(x=problems.arrays())
def test_elementary_functions(name: str, x: Any) -> None:
    x = (
        np.abs(x) + (1.25 if name == "acosh" else 0.25)
        if name in (*ABOVE_ZERO, "acosh")
        else np.tanh(x) * 0.9
        if name in WITHIN_ONE
        else np.tanh(x / 3) * 1.4
    )
    agree(lambda m, x: getattr(m, name)(x) * x, x, tolerance=1e-9)
    agree(lambda m, x: getattr(x, name)(), x, order=1, tolerance=1e-9)


@pytest.mark.parametrize("name", EVERYWHERE + ABOVE_ZERO + WITHIN_ONE + ["acosh", *ROUNDING])
def test_elementary_functions_at_their_limits(name: str) -> None:
    x = a(-math.inf, -2, -1, -0.5, -0.0, 0.0, 0.5, 1, 1.5, 2.5, math.inf, math.nan)
    agree(lambda m, x: getattr(m, name)(x), x, order=0, tolerance=1e-9)
    if name != "rsqrt":  # whose gradient at inf, 0 * 0 / inf, is nan there and 0 here
        agree(lambda m, x: getattr(m, name)(x), x, order=1, tolerance=1e-9)


@given(pair=problems.broadcastable())
def test_division_that_leaves_a_remainder(pair: Any) -> None:
    x, y = pair
    y = np.where(y == 0, 0.75, y)
    agree(lambda m, x, y: x % y, x, y, tolerance=1e-9, float32=False)
    agree(lambda m, x, y: m.remainder(x, y), x, y, order=1, tolerance=1e-9, float32=False)
    agree(lambda m, x, y: m.floor_divide(x.detach(), y.detach()), x, y, order=0, float32=False)
    for m in BOTH:
        assert values(7 % m.constant(a(4, -4))).tolist() == [3, -1]
        assert values(m.constant(np.array([7, -7])) // 2).tolist() == [3, -4]


def test_rounding_to_digits() -> None:
    for decimals in (0, 1, -1, 3):
        agree(lambda m, x, d=decimals: m.round(x, decimals=d), a(1.25, -3.14159, 15.0, 25.0, 2.5), order=1)
    agree(lambda m, x: m.floor(x), np.array([1, -2]), order=0)


# Comparisons


@given(pair=problems.broadcastable())
def test_comparisons_by_their_short_names(pair: Any) -> None:
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        agree(lambda m, x, y, name=name: getattr(m, name)(x, y), *pair, order=0)


@given(problem=problems.reductions(), zeros=st.booleans())
def test_any_and_all(problem: Any, zeros: bool) -> None:
    x, dim, keepdim = problem
    x = np.round(x) if zeros else x
    for name in ("any", "all"):
        agree(lambda m, x, name=name: getattr(x != 0, name)(dim, keepdim), x, order=0)
        agree(lambda m, x, name=name: getattr(m, name)(x), x, order=0)


def test_any_and_all_over_nothing_and_with_nan() -> None:
    for x in (np.zeros((0, 2)), a(math.nan), a(0.0, math.nan)):
        for name in ("any", "all"):
            agree(lambda m, x, name=name: getattr(m, name)(x), x, order=0)


def test_closeness_and_equality() -> None:
    x, y = a(1, math.inf, math.nan, -math.inf), a(1 + 5e-6, math.inf, math.nan, math.inf)
    for options in ({}, {"equal_nan": True}, {"rtol": 0.0, "atol": 1e-6}):
        agree(lambda m, x, y, o=options: m.isclose(x, y, **o), x, y, order=0, float32=False)
        found = [m.allclose(m.constant(x[:2]), m.constant(y[:2]), **options) for m in BOTH]
        assert found[0] is found[1]
    for m in BOTH:
        assert m.equal(m.constant(a(1, 2)), m.constant(a(1, 2))) is True
        assert m.constant(a(1, 2)).equal(m.constant(a(1, 3))) is False
        assert m.equal(m.constant(a(1, 2)), m.constant(a([1, 2]))) is False
        assert m.equal(m.constant(a(math.nan)), m.constant(a(math.nan))) is False
    agree(lambda m, x: m.isinf(x), x, order=0)


# Counting


@given(x=problems.arrays(min_dims=0), seed=seeds)
def test_where_and_how_often(x: Any, seed: int) -> None:
    x = np.round(x)
    agree(lambda m, x: m.nonzero(x), x, order=0)
    agree(lambda m, x: m.count_nonzero(x), x, order=0)
    agree(lambda m, x: m.unique(x), x, order=0)
    for i in range(3):
        agree(lambda m, x, i=i: m.unique(x, return_inverse=True, return_counts=True)[i], x, order=0)
    for dim in range(x.ndim):
        agree(lambda m, x, d=dim: m.count_nonzero(x, dim=d), x, order=0)
        agree(lambda m, x, d=dim: x.nonzero(as_tuple=True)[d], x, order=0)
        if x.size:
            for i in range(3):
                agree(
                    lambda m, x, i=i, d=dim: m.unique(x, return_inverse=True, return_counts=True, dim=d)[i], x, order=0
                )
    mask = np.random.default_rng(seed).random(x.shape[-1:]) < 0.5
    agree(lambda m, x: m.masked_select(x, m.constant(mask)), x)
    agree(lambda m, x: x.masked_select(x > 0) ** 2, x)


def test_unique_tells_nan_apart() -> None:
    agree(lambda m, x: m.unique(x), a(2, math.nan, 1, math.nan, 2), order=0)


def test_bincount() -> None:
    x = np.array([3, 1, 1, 0])
    agree(lambda m, x: m.bincount(x), x, order=0)
    agree(lambda m, x: x.bincount(minlength=7), x, order=0)
    agree(lambda m, x: m.bincount(x, m.constant(a(0.5, 1, 2, 4))), x, order=0, float32=False)
    agree(lambda m, x: m.bincount(x), np.array([], np.int64), order=0)
    fails(lambda m, x: m.bincount(x), np.array([-1, 2]))
    fails(lambda m, x: m.bincount(x), np.array([[1, 2]]))


# Matrices


@given(n=st.integers(0, 4), k=st.integers(0, 4), p=st.integers(0, 4), b=st.integers(0, 2))
def test_products_by_their_names(n: int, k: int, p: int, b: int) -> None:
    x, y = numbers(n, k), numbers(k, p)
    agree(lambda m, x, y: m.mm(x, y), x, y)
    agree(lambda m, x, y: m.bmm(x, y), numbers(b, n, k), numbers(b, k, p))
    agree(lambda m, x, y: m.mv(x, y), x, numbers(k))
    agree(lambda m, x, y: m.dot(x, y), numbers(k), numbers(k + 0) * 2)
    agree(lambda m, c, x, y: m.addmm(c, x, y), numbers(p), x, y)
    agree(lambda m, c, x, y: m.addmm(c, x, y, beta=0.5, alpha=-2.0), numbers(n, p), x, y)


def test_a_product_of_other_axes_is_refused() -> None:
    for name, shapes in {"mm": ((2,), (2, 2)), "bmm": ((2, 3, 2), (3, 2, 2)), "mv": ((2, 2), (2, 1))}.items():
        fails(lambda m, x, y, name=name: getattr(m, name)(x, y), *(numbers(*s) for s in shapes))
    agree(lambda m, c, x, y: m.addmm(c, x, y, beta=0.0), a(math.nan), numbers(2, 3), numbers(3, 1), order=0)


@given(x=problems.arrays(min_dims=2), k=st.integers(-3, 3))
def test_triangles_and_diagonals(x: Any, k: int) -> None:
    agree(lambda m, x: m.tril(x, k) * x, x)
    agree(lambda m, x: x.triu(k) * x, x)
    agree(lambda m, x: m.diagonal(x, k, -1, -2) ** 2, x)
    agree(lambda m, x: x.diagonal(k), x)
    flat = x.reshape(x.shape[0], -1)
    if -flat.shape[0] <= k <= flat.shape[1]:
        agree(lambda m, x: m.diag(x, k) ** 2, flat)
    agree(lambda m, x: m.diag(x, k) ** 2, flat[0] if len(flat) else np.zeros(0))
    agree(lambda m, x: m.trace(x), flat)
    agree(lambda m, x: x.t() * 2.0, flat)


# Joining and cutting


@given(shape=st.lists(st.integers(0, 3), max_size=4), extra=st.integers(1, 3))
def test_joining_by_direction(shape: Any, extra: int) -> None:
    x = numbers(*shape)
    agree(lambda m, x, y: m.vstack((x, y)), x, x * 2)
    agree(lambda m, x, y: m.hstack((x, y)), x, x * 2)
    agree(lambda m, x, y: m.dstack((x, y)), x, x * 2)
    agree(lambda m, x, y: m.broadcast_tensors(x, y)[1] * x, numbers(extra, *shape), x)


@given(lengths=st.lists(st.integers(0, 3), min_size=1, max_size=3), indexing=st.sampled_from(["ij", "xy"]))
def test_meshgrid(lengths: Any, indexing: str) -> None:
    vectors = [numbers(n) for n in lengths]
    for i in range(len(vectors)):
        agree(lambda m, *xs, i=i: m.meshgrid(*xs, indexing=indexing)[i] ** 2, *vectors)


@given(x=problems.arrays(min_dims=2), k=st.integers(-5, 5), data=st.data())
def test_turning_and_parts(x: Any, k: int, data: Any) -> None:
    dims = data.draw(st.permutations(range(x.ndim)))[:2]
    agree(lambda m, x: m.rot90(x, k, dims) ** 2, x)
    agree(lambda m, x: m.rot90(x), x)
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[dim]
    if n:
        place = data.draw(st.integers(-n, n - 1))
        agree(lambda m, x: x.select(dim, place) * 2.0, x)
        agree(lambda m, x: m.narrow(x, dim, place, n - place % n), x)
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
    agree(lambda m, x: m.repeat_interleave(x, m.constant(counts), dim), x)
    agree(lambda m, x: x.repeat_interleave(2) ** 2, x)
    agree(lambda m, x: m.ravel(x), x)
    agree(lambda m, x: x.swapaxes(dim, 0) * 2.0, x)


# In place, and what the memory looks like


@given(x=problems.arrays(min_dims=1), seed=seeds)
def test_changes_in_place(x: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=x.shape), rng.uniform(1, 2, x.shape)
    mask = rng.random(x.shape[-1:]) < 0.5
    for change in (
        lambda m, x, y, z: x.lerp_(y, 0.25),
        lambda m, x, y, z: x.lerp_(y, z),
        lambda m, x, y, z: x.addcmul_(y, z, value=-0.5),
        lambda m, x, y, z: x.addcdiv_(y, z, value=3),
        lambda m, x, y, z: x.masked_fill_(m.constant(mask), 7.5),
    ):
        agree(lambda m, x, y, z, f=change: f(m, x.detach().clone(), y.detach(), z.detach()), x, y, z, order=0)


def test_strides_and_order() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    for m in BOTH:
        t = m.constant(x).permute(2, 0, 1)
        assert (t.stride(), t.stride(-1), t.is_contiguous()) == ((1, 12, 4), 4, False)
        assert (t.nelement(), t.ndimension(), t.contiguous().is_contiguous()) == (24, 3, True)
        assert m.is_tensor(t)
        assert not m.is_tensor(x)
        assert m.as_tensor(t) is t


# Random numbers


def test_a_generator_repeats_its_numbers() -> None:
    for m in BOTH:
        generator = m.Generator()
        first = values(m.randn(5, generator=generator.manual_seed(3)))
        assert values(m.randn(5, generator=generator.manual_seed(3))).tolist() == first.tolist()
        assert values(m.randn(5, generator=generator)).tolist() != first.tolist()
        p = m.constant(a(0, 1, 0, 1))
        assert values(m.bernoulli(p, generator=generator)).tolist() == [0, 1, 0, 1]
        assert values(m.multinomial(m.constant(a(0, 2, 0)), 4, replacement=True)).tolist() == [1, 1, 1, 1]
        assert sorted(values(m.multinomial(m.constant(a([1, 0, 3], [0, 5, 5])), 2)).ravel().tolist()) == [0, 1, 2, 2]
    for case in (a(-0.1), a(1.5), a(math.nan)):
        fails(lambda m, p: m.bernoulli(p), case)
    for weights, k in ((a(-1, 2), 1), (a(0, 0), 1), (a(1, math.inf), 1), (a(1, 2), 3)):
        fails(lambda m, w, k=k: m.multinomial(w, k), weights)
    with pytest.raises(ValueError, match="2 samples without replacement of 1 weights above 0; draw fewer"):
        tg.multinomial(OURS.constant(a(1, 0, 0)), 2)  # PyTorch draws a place of weight 0


def test_drawn_numbers_have_their_means() -> None:
    generator = tg.Generator().manual_seed(0)
    p = OURS.constant(np.array([[0.2], [0.9]], np.float32)).expand(2, 20000)
    drawn = tg.bernoulli(p, generator=generator)
    assert drawn.dtype == np.float32
    assert np.abs(values(drawn).mean(1) - [0.2, 0.9]).max() < 0.01
    numbers = values(tg.normal(OURS.constant(a(-2, 5)).reshape(2, 1).expand(2, 20000), 3.0, generator=generator))
    assert np.abs(numbers.mean(1) - [-2, 5]).max() < 0.1
    assert np.abs(numbers.std(1) - 3).max() < 0.1
    weights = OURS.constant(a(1, 0, 3, 4))
    for replacement in (True, False):
        rows = tg.multinomial(weights.reshape(1, 4).expand(20000, 4), 2, replacement, generator=generator)
        first = np.bincount(values(rows)[:, 0], minlength=4) / 20000
        assert np.abs(first - a(1, 0, 3, 4) / 8).max() < 0.015
        assert (values(rows)[:, 0] != values(rows)[:, 1]).all() or replacement
