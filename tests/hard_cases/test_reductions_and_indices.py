"""Reductions, shapes and indices: H34 to H50."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from hard_cases.at_points import check, leaf
from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import functional as F

inf, nan = np.inf, np.nan


# Reductions


def test_H34_H37_reductions_of_nothing():
    check(tg.sum, [np.zeros(0)], 0.0, np.zeros(0))
    check(lambda x: x.sum(0), [np.zeros((0, 3))], np.zeros(3), np.zeros((0, 3)))
    check(tg.logsumexp, [np.zeros(0)], -inf, np.zeros(0))
    check(lambda x: x.sum(1), [np.zeros((0, 3))], np.zeros(0), np.zeros((0, 3)))


def test_H35_the_mean_and_variance_of_nothing_are_nan():
    check(tg.mean, [np.zeros(0)], nan, np.zeros(0))
    check(tg.var, [np.zeros(0)], nan, np.zeros(0))
    check(lambda x: x.mean(0), [np.zeros((0, 2))], [nan, nan], np.zeros((0, 2)))


@pytest.mark.parametrize(
    "f", [tg.amax, tg.amin, tg.argmax, tg.argmin, lambda x, a=None: x.max() if a is None else x.max(a)]
)
def test_H36_nothing_has_no_extremum(f):
    with pytest.raises(ValueError, match=r"empty|zero-size"):
        f(Tensor(np.zeros((0, 3))))
    with pytest.raises(ValueError, match=r"empty|zero-size"):
        f(Tensor(np.zeros((0, 3))), 0)


def test_H36_over_an_axis_that_is_not_empty_the_result_is():
    check(lambda x: x.amax(1), [np.zeros((0, 3))], np.zeros(0), np.zeros((0, 3)))
    assert Tensor(np.zeros((0, 3))).argmax(1).shape == (0,)
    assert Tensor(np.zeros((0, 3))).max(1).values.shape == (0,)


def test_H37_logsumexp_of_extremes():
    check(tg.logsumexp, [[1e4, -1e4]], 1e4, [1, 0])
    check(tg.logsumexp, [[-inf, 0.0]], 0.0, [0, 1])


def test_H38_half_precision_is_accumulated_in_single():
    x = Tensor(np.ones(70000, np.float16), requires_grad=True)
    assert x.mean().item() == 1.0
    assert x.sum().item() == inf
    assert (x - 0.5).var(correction=0).item() == 0.0
    assert x[:2048].sum().item() == 2048.0
    assert (Tensor(np.ones(4096, np.float16)).sum()).item() == 4096.0
    assert (x[:3000].reshape(1, 3000) @ Tensor(np.ones((3000, 1), np.float16))).item() == 3000.0
    stretched = Tensor(np.float16(1.0), requires_grad=True)
    (stretched * np.full(4096, 1.0, np.float16)).sum().backward()
    assert stretched.grad.item() == 4096.0


@pytest.mark.parametrize("f", [lambda x: x.sum((0, 1)), lambda x: x.mean((0, 1)) * x.shape[0] * x.shape[1]])
def test_H39_long_sums_in_single_precision_are_exact_along_any_axis(f):
    one = np.ones((1, 1, 1), np.float32)
    for shape in [(2**12, 2**13, 1), (2**13, 2**12, 2)]:
        assert (f(tg.from_numpy(np.broadcast_to(one, shape))).array == 2**25).all()


def test_H39_the_gradient_of_a_stretched_bias_is_summed_exactly():
    b = Tensor(np.zeros(2, np.float32), requires_grad=True)
    (b + tg.from_numpy(np.broadcast_to(np.float32(1), (2**25, 2)))).sum().backward()
    assert b.grad.tolist() == [2.0**25] * 2


def test_H40_the_variance_of_one_value():
    check(lambda x: x.var(correction=1), [[3.0]], nan, [nan])
    check(lambda x: x.var(correction=0), [[3.0]], 0.0, [0])


def test_H41_axes_follow_numpy():
    a = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(a)
    for f, g in ((tg.sum, np.sum), (tg.mean, np.mean), (tg.amax, np.max)):
        for axis in (None, 0, -1, (0, 2), (-1, 0), (), [0, 1]):
            for keep in (False, True):
                want = g(a, tuple(axis) if isinstance(axis, list) else axis, keepdims=keep)
                np.testing.assert_array_equal(f(x, axis=axis, keepdims=keep).array, want)
        for wrong in (3, -4, (0, 3)):
            with pytest.raises((ValueError, IndexError)):
                f(x, axis=wrong)
        for twice in ((0, 0), (1, -2)):
            with pytest.raises(ValueError, match=r"(sum|mean|amax).*"):
                f(x, axis=twice)


# Shape and index


@given(data=st.data())
def test_H42_permute_is_undone_by_its_gradient(data):
    n = data.draw(st.integers(1, 4))
    dims = [d - n if data.draw(st.booleans()) else d for d in data.draw(st.permutations(range(n)))]
    a = np.random.default_rng(0).normal(size=(2, 3, 4, 5)[:n])
    x = leaf(a)
    y = x.permute(dims)
    np.testing.assert_array_equal(y.array, a.transpose(dims))
    g = np.random.default_rng(1).normal(size=y.shape)
    (d,) = grad(y, x, g)
    assert d.shape == x.shape
    np.testing.assert_array_equal(d.array.transpose(dims), g)


def test_H43_reshape_with_minus_one():
    assert leaf(np.zeros((0, 3))).reshape(-1, 3).shape == (0, 3)
    assert leaf(np.zeros((2, 6))).reshape(3, -1).shape == (3, 4)
    for shape in ((-1, 0), (-1, -1), (5,), (-2, 3)):
        with pytest.raises(ValueError, match="reshape"):
            leaf(np.zeros((0, 3)) if shape == (-1, 0) else np.zeros((2, 3))).reshape(*shape)


INDICES = [
    1,
    -1,
    np.int64(2),
    slice(None),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(2, 2),
    None,
    Ellipsis,
    (Ellipsis, None, 1),
    (slice(1, 3), -2),
    (1, 2, 0),
    [0, 2, 0, 0],
    np.array([], int),
    [],
    np.array([3, -1, 3]),
    np.array([[0, 1], [1, 1]]),
    (np.array([0, 0, 3]), np.array([1, 1, 2])),
    (np.array([[0], [2]]), slice(None), np.array([1, 1])),
    (slice(None), np.array([2, 2, 0]), None),
    np.array([True, False, True, True]),
    np.zeros(4, bool),
    (slice(None), np.array([True, False, True])),
    np.random.default_rng(0).random((4, 3, 2)) > 0.5,
    np.True_,
    (Ellipsis, np.array([1, 1, 1, 0])),
]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: repr(i).replace("\n", "")[:40])
def test_H44_indexing_reads_as_numpy_and_its_gradient_adds_up_duplicates(index):
    a = np.random.default_rng(5).normal(size=(4, 3, 2))
    x = leaf(a)
    y = x[index]
    want = a[np.array([], int) if isinstance(index, list) and not index else index]
    np.testing.assert_array_equal(y.array, want, strict=True)
    g = np.random.default_rng(6).normal(size=y.shape)
    expected = np.zeros_like(a)
    np.add.at(expected, np.array([], int) if isinstance(index, list) and not index else index, g)
    (d,) = grad(y, x, g)
    np.testing.assert_allclose(d.array, expected, rtol=1e-14)


def test_H44_duplicates_the_example():
    check(lambda x: x[[0, 0, 2]], [[1.0, 2.0, 3.0]], [1, 1, 3], [2, 0, 1])


def test_H44_a_tensor_may_be_an_index():
    x = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert x[Tensor(np.array([2, 0]))].tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert x[x > 2.5].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert x[Tensor(np.array(1)), 0].tolist() == 3.0


@pytest.mark.parametrize(
    ("index", "error"),
    [(3, IndexError), ([0, 5], IndexError), ((0, 0, 0), IndexError), (1.0, IndexError), ([0.5], IndexError)],
)
def test_H44_indices_out_of_range_or_no_integers_are_refused(index, error):
    with pytest.raises(error):
        leaf(np.zeros((3, 2)))[index]


def test_H45_indexing_gives_a_view_that_is_guarded():
    c, x = Tensor(np.array([1.0, 2.0, 3.0])), leaf([1.0, 1.0])
    part = c[1:]
    assert np.shares_memory(part.array, c.array)
    y = (x * part).sum()
    c[2] = 10.0
    assert part.tolist() == [2.0, 10.0]
    with pytest.raises(RuntimeError, match=r"mul: its input 'y' of shape \(2,\) was changed in place \(x\[i\] = v\)"):
        y.backward()


@pytest.mark.parametrize("join", [tg.cat, tg.concat, tg.stack])
def test_H46_joining(join):
    with pytest.raises(ValueError, match=r"(cat|stack): the list of Tensors is empty"):
        join([])
    with pytest.raises(TypeError, match=r"(cat|stack): a list of Tensors is needed"):
        join(leaf([1.0, 2.0]))
    x = leaf([1.0, 2.0])
    np.testing.assert_array_equal(join([x]).array.ravel(), x.array)
    (d,) = grad(join([x, x]).sum(), x)
    assert d.tolist() == [2.0, 2.0]
    mixed = [Tensor(np.ones(2, t), requires_grad=t != np.int64) for t in (np.float32, np.float64, np.int64)]
    y = join(mixed)
    assert y.dtype == np.float64
    assert [g.dtype for g in grad(y.sum(), mixed[:2])] == [np.float32, np.float64]


def test_H46_joining_parts_of_length_zero():
    check(
        lambda x, y: tg.cat([x, y], 1),
        [np.zeros((2, 0)), np.ones((2, 3))],
        np.ones((2, 3)),
        np.zeros((2, 0)),
        np.ones((2, 3)),
    )
    with pytest.raises(ValueError, match="cat"):
        tg.cat([leaf(np.zeros((2, 3))), leaf(np.zeros((3, 2)))])
    with pytest.raises(ValueError, match="stack"):
        tg.stack([leaf([1.0]), leaf([1.0, 2.0])])


def test_H47_padding():
    check(lambda x: tg.pad(x, ((0, 0), (0, 0))), [np.ones((2, 3))], np.ones((2, 3)), np.ones((2, 3)))
    check(lambda x: tg.pad(x, ((1, 0), (0, 2))), [np.zeros((0, 1))], np.zeros((1, 3)), np.zeros((0, 1)))
    check(lambda x: tg.pad(x, ((1, 2),), 7.5), [[1.0]], [7.5, 1, 7.5, 7.5], [2.0], g=[1.0, 2, 3, 4])
    check(lambda x: tg.pad(x, ((1, 0),), -inf), [[1.0]], [-inf, 1], [5.0], g=[nan, 5])
    ints = Tensor(np.array([3], np.int16))
    assert tg.pad(ints, ((1, 1),), -inf).tolist() == [-(2**15), 3, -(2**15)]
    assert tg.pad(ints, ((1, 0),), inf).tolist() == [2**15 - 1, 3]
    for wrong in (((1, 1), (1, 1)), ((1,),), ((-1, 0),), ()):
        with pytest.raises(ValueError, match="pad"):
            tg.pad(leaf([1.0]), wrong)


def test_H47_torchs_spelling_names_the_last_axis_first():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(F.pad(Tensor(x), (1, 2)).array, np.pad(x, ((0, 0), (1, 2))))
    np.testing.assert_array_equal(F.pad(Tensor(x), (1, 2, 3, 4)).array, np.pad(x, ((3, 4), (1, 2))))
    with pytest.raises(ValueError, match="pad"):
        F.pad(Tensor(x), (1, 2, 3))
    with pytest.raises(ValueError, match="pad"):
        F.pad(Tensor(x), (1,) * 6)


RANKS = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
]


@pytest.mark.parametrize("shapes", [*RANKS, ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((0,), (0,))])
def test_H48_matrix_products_of_all_ranks(shapes):
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=s) for s in shapes)
    x, y = leaf(a), leaf(b)
    out = x @ y
    np.testing.assert_allclose(out.array, a @ b, rtol=1e-13)
    g, u, v = draw.normal(size=out.shape), draw.normal(size=a.shape), draw.normal(size=b.shape)
    dx, dy = grad(out, [x, y], g)
    assert (dx.shape, dy.shape) == (a.shape, b.shape)
    np.testing.assert_allclose(
        np.sum(dx.array * u) + np.sum(dy.array * v), np.sum(g * (u @ b + a @ v)), rtol=1e-11, atol=1e-12
    )


def test_H48_inner_lengths_must_agree():
    for shapes in (((2, 3), (2, 3)), ((3,), (2,)), ((), (2,)), ((2, 2, 3), (3, 3, 2))):
        with pytest.raises(ValueError, match="matmul"):
            leaf(np.zeros(shapes[0])) @ leaf(np.zeros(shapes[1]))


def test_H49_one_tensor_as_both_operands():
    a = np.random.default_rng(0).normal(size=(3, 2))
    check(lambda x: x * x, [a], a * a, 2 * a)
    check(lambda x: x - x, [a], a * 0, a * 0)
    check(lambda x: x / x, [a], a / a, (1 / a) - (a / a) / a)
    x = leaf(a)
    g = np.random.default_rng(1).normal(size=(3, 3))
    (d,) = grad(x @ x.T, x, g)
    np.testing.assert_allclose(d.array, (g + g.T) @ a, rtol=1e-13)


def test_H50_a_tensor_of_two_is_no_truth_and_no_number():
    x = leaf([1.0, 2.0])
    with pytest.raises((ValueError, RuntimeError), match="ambiguous"):
        bool(x)
    for convert in (float, int, lambda t: t.item()):
        with pytest.raises((ValueError, TypeError), match="one"):
            convert(x)
    scalar = leaf(3.0)
    for call in (len, iter):
        with pytest.raises(TypeError, match="0-d"):
            call(scalar)
    assert (bool(scalar), float(scalar), int(scalar), scalar.item()) == (True, 3.0, 3, 3.0)
    assert [t.item() for t in x] == [1.0, 2.0]
    assert len(x) == 2


def test_H50_tensors_hash_by_identity_and_compare_elementwise():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    assert len({x, y, x}) == 2
    assert hash(x) != hash(y)
    assert {x: 1}[x] == 1
    assert (x == y).tolist() == [True, True]
    assert (x != y).tolist() == [False, False]
    assert (x == "text") is False
    assert (x == None) is False  # noqa: E711
    assert x in [x, y]
    assert 2.0 in x
    assert 5.0 not in x
    with pytest.raises((ValueError, RuntimeError), match="ambiguous"):
        [y, x].index(x)


def test_H50_an_ndarray_first_gives_a_tensor_and_is_not_written_to():
    a, x = np.array([1.0, 2.0]), leaf([3.0, 4.0])
    for f in (lambda p, q: p * q, lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p / q, lambda p, q: p**q):
        assert isinstance(f(a, x), Tensor)
        np.testing.assert_allclose(f(a, x).array, f(a, x.array), rtol=1e-15)
        assert f(np.float64(2.0), x).requires_grad
    with pytest.raises(TypeError, match="cannot be written into an ndarray"):
        a += x
    assert a.tolist() == [1.0, 2.0]
