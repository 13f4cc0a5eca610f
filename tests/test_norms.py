"""Batch normalisation, dropout and the random numbers it draws: closed forms, hard cases by id, error messages."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import random
from tinygrad_cnn.backprop import grad
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.modes import no_grad
from tinygrad_cnn.ops.dropout import dropout
from tinygrad_cnn.ops.norm import batch_norm, batch_norm_input_grad, batch_norm_train, batch_norm_weight_grad
from tinygrad_cnn.shapes import ShapeError


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def train(x, w=None, b=None, **params):
    return batch_norm(x, None, None, w, b, training=True, **params)


@st.composite
def problems(draw):
    """x with a variance of 1 in each channel, w, b, and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    c = draw(st.integers(1, 4))
    shape = (draw(st.integers(2, 4)), c, *draw(st.lists(st.integers(1, 4), max_size=3)))
    x, axes = rng.standard_normal(shape), across(shape)
    x = x / x.std(axes, keepdims=True) + rng.uniform(-2, 2, (c,) + (1,) * (len(shape) - 2))
    return x, rng.standard_normal(c), rng.standard_normal(c), rng


def across(shape):
    return tuple(i for i in range(len(shape)) if i != 1)


def per_channel(values, ndim):
    return np.reshape(values, (1, -1) + (1,) * (ndim - 2))


# Batch normalisation in training


@given(problems(), st.sampled_from([1e-5, 0.5]))
def test_training_normalises_each_channel_over_the_batch(problem, eps):
    x, w, b, _ = problem
    axes = across(x.shape)
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    np.testing.assert_allclose(train(x, eps=eps), y, atol=1e-13)
    np.testing.assert_allclose(train(x, w, b, eps=eps), y * per_channel(w, x.ndim) + per_channel(b, x.ndim), atol=1e-12)


@given(problems(), st.sampled_from([1e-5, 0.5]))
def test_the_gradients_of_training_are_the_closed_form(problem, eps):
    x, w, b, rng = problem
    axes, g = across(x.shape), rng.standard_normal(x.shape)
    r = 1 / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = (x - x.mean(axes, keepdims=True)) * r
    leaves = leaf(x), leaf(w), leaf(b)
    dx, dw, db = grad(train(*leaves, eps=eps), leaves, Tensor(g))
    gw = g * per_channel(w, x.ndim)
    expected = r * (gw - gw.mean(axes, keepdims=True) - y * (gw * y).mean(axes, keepdims=True))
    np.testing.assert_allclose(dx.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(dw.numpy(), (g * y).sum(axes), atol=1e-12)
    np.testing.assert_allclose(db.numpy(), g.sum(axes), atol=1e-12)


@given(problems())
def test_each_gradient_alone_is_the_same_as_all_at_once(problem):
    x, w, b, rng = problem
    g = Tensor(rng.standard_normal(x.shape))
    leaves = leaf(x), leaf(w), leaf(b)
    together = grad(train(*leaves), leaves, g)
    for i in range(3):
        arrays = [x, w, b]
        arrays[i] = leaves[i]
        (alone,) = grad(train(*arrays), [leaves[i]], g)
        np.testing.assert_allclose(alone.numpy(), together[i].numpy(), rtol=1e-13)


@given(problems())
def test_the_gradient_in_training_sums_to_zero_and_sees_no_shift(problem):
    x, w, _, rng = problem
    g = Tensor(rng.standard_normal(x.shape))
    (d,) = grad(train(t := leaf(x), w), [t], g)
    (shifted,) = grad(train(t := leaf(x + 3.0), w), [t], g)
    np.testing.assert_allclose(d.numpy().sum(across(x.shape)), 0, atol=1e-12)
    np.testing.assert_allclose(shifted.numpy(), d.numpy(), atol=1e-11)


@given(problems())
def test_the_gradient_ops_give_the_same_with_and_without_the_sums_they_are_handed(problem):
    x, w, _, rng = problem
    g = rng.standard_normal(x.shape)
    _, statistics = batch_norm_train.with_residual(x, w)
    sums = g.sum(across(x.shape)), batch_norm_weight_grad(g, x)
    np.testing.assert_allclose(batch_norm_weight_grad(g, x, statistics=statistics), sums[1], rtol=1e-12)
    np.testing.assert_allclose(
        batch_norm_input_grad(g, x, w, statistics=statistics, sums=sums), batch_norm_input_grad(g, x, w), atol=1e-13
    )


@given(problems())
def test_the_second_derivative_is_that_of_the_composed_formula(problem):
    x, w, b, rng = problem
    g, v = Tensor(rng.standard_normal(x.shape)), Tensor(rng.standard_normal(x.shape))
    shape = (1, -1) + (1,) * (x.ndim - 2)

    def composed(t, w, b):
        centred = t - t.mean(across(x.shape), True)
        r = ((centred * centred).mean(across(x.shape), True) + 0.1) ** -0.5
        return centred * r * w.reshape(shape) + b.reshape(shape)

    found = []
    for f in (lambda *leaves: train(*leaves, eps=0.1), composed):
        leaves = leaf(x), leaf(w), leaf(b)
        dx, dw, _ = grad(f(*leaves), leaves, g, create_graph=True)
        found.append(grad((dx * v).sum() + (dw * dw).sum(), leaves[:2]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_H111_one_value_per_channel_is_refused_in_training(shape):
    mean, var = Tensor(np.zeros(3)), Tensor(np.ones(3))
    with pytest.raises(ValueError, match=r"has 1 value per channel, training needs at least 2; use a larger batch"):
        batch_norm(np.ones(shape), mean, var, training=True)
    np.testing.assert_array_equal(mean.numpy(), 0)
    assert batch_norm(np.ones(shape), mean, var).shape == shape


def test_H112_without_variance_the_output_is_the_bias_with_gradient_0():
    x, w, b = leaf(np.full((2, 2, 1, 3), 7.0)), leaf([3.0, 2.0]), leaf([0.5, -1.0])
    y = train(x, w, b)
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to([[[0.5]], [[-1.0]]], (2, 2, 1, 3)))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0)
    np.testing.assert_array_equal(w.grad.numpy(), 0)
    np.testing.assert_array_equal(b.grad.numpy(), 6)
    for eps in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"eps is {eps}; in training it must be positive"):
            train(x, eps=eps)


@pytest.mark.parametrize("kind", [Tensor, np.array])
def test_H113_running_statistics_move_by_momentum_with_the_unbiased_variance(kind):
    mean, var = kind(np.zeros(1)), kind(np.ones(1))
    batch_norm(np.array([[0.0], [2.0]]), mean, var, training=True, momentum=0.1)
    np.testing.assert_allclose([np.asarray(mean), np.asarray(var)], [[0.1], [1.1]], rtol=1e-15)


@given(problems(), st.sampled_from([0.0, 0.3, 1.0]))
def test_running_statistics_move_by_the_formula(problem, momentum):
    x, w, b, rng = problem
    old = rng.standard_normal(x.shape[1]), rng.uniform(0.5, 2, x.shape[1])
    mean, var = map(Tensor, old)
    batch_norm(leaf(x), mean, var, w, b, training=True, momentum=momentum)
    axes = across(x.shape)
    np.testing.assert_allclose(mean.numpy(), (1 - momentum) * old[0] + momentum * x.mean(axes), atol=1e-13)
    np.testing.assert_allclose(var.numpy(), (1 - momentum) * old[1] + momentum * x.var(axes, ddof=1), atol=1e-13)


def test_H114_a_batch_without_images_moves_nothing():
    mean, var, w = Tensor(np.full(3, 2.0)), Tensor(np.full(3, 5.0)), leaf(np.ones(3))
    x = leaf(np.zeros((0, 3, 2, 2)))
    y = batch_norm(x, mean, var, w, training=True)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3, 2, 2)
    np.testing.assert_array_equal(w.grad.numpy(), 0)
    np.testing.assert_array_equal(mean.numpy(), 2)
    np.testing.assert_array_equal(var.numpy(), 5)
    assert batch_norm(x, mean, var, w).shape == (0, 3, 2, 2)


def test_H114_evaluation_with_a_running_variance_of_0():
    y = batch_norm(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32))
    np.testing.assert_allclose(y, [[[[316.22778]]]], rtol=1e-6)


def test_H115_a_large_mean_does_not_hide_the_variance():
    x = (1e4 + np.arange(4, dtype=np.float32)).reshape(4, 1)
    np.testing.assert_allclose(train(x)[:, 0], [-1.342, -0.4478, 0.4468, 1.341], atol=1e-3)
    t = leaf(x, np.float32)
    (d,) = grad(train(t), [t], Tensor(np.array([[1.0], [0.0], [0.0], [0.0]], np.float32)))
    (exact,) = grad(train(t := leaf(x)), [t], Tensor(np.array([[1.0], [0.0], [0.0], [0.0]])))
    np.testing.assert_allclose(d.numpy(), exact.numpy(), atol=1e-6)


def test_H116_evaluation_leaves_the_statistics_and_training_under_no_grad_moves_them():
    mean, var, x = Tensor(np.zeros(1)), Tensor(np.ones(1)), leaf([[0.0], [2.0]])
    batch_norm(x, mean, var)
    np.testing.assert_array_equal([mean.numpy(), var.numpy()], [[0.0], [1.0]])
    with no_grad():
        assert not batch_norm(x, mean, var, training=True).requires_grad
    np.testing.assert_allclose([mean.numpy(), var.numpy()], [[0.1], [1.1]])


def test_nothing_moves_if_training_raises():
    mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
    x = np.arange(6.0).reshape(3, 2)
    read_only = np.ones(2)
    read_only.flags.writeable = False
    for call, message in [
        (lambda: batch_norm(x, mean, var, np.ones(3), training=True), r"weight has shape \(3,\), needs \(2,\)"),
        (lambda: batch_norm(x, mean, var, None, np.ones(1), training=True), r"bias has shape \(1,\), needs \(2,\)"),
        (lambda: batch_norm(x, mean, Tensor(np.ones(3)), training=True), r"running_var has shape \(3,\), needs \(2,\)"),
        (lambda: batch_norm(x, mean, read_only, training=True), "running_var is read-only"),
        (lambda: batch_norm(x, mean, var, training=True, eps=0), "eps is 0"),
        (lambda: batch_norm(np.ones(2), mean, var, training=True), r"input has shape \(2,\), needs \(n, channels\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="momentum is None; a number is needed"):
        batch_norm(x, mean, var, training=True, momentum=None)
    with pytest.raises(TypeError, match=r"different dtypes .*x float64.*w float32"):
        batch_norm(x, mean, var, np.ones(2, np.float32), training=True)
    np.testing.assert_array_equal([mean.numpy(), var.numpy()], [[0, 0], [1, 1]])


def test_statistics_that_cannot_be_used_are_refused():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="running_mean and running_var are None; outside training they are needed"):
        batch_norm(x, None, None)
    with pytest.raises(ValueError, match="one of running_mean and running_var is None; give both or neither"):
        batch_norm(x, np.zeros(2), None, training=True)
    with pytest.raises(RuntimeError, match="running_mean requires grad, but it is updated in place"):
        batch_norm(x, leaf([0.0, 0.0]), np.ones(2), training=True)
    for bad, kind in [([0.0, 0.0], "list"), (np.zeros(2, np.int64), "int64")]:
        with pytest.raises(TypeError, match=f"running_mean is {kind}; a float Tensor or ndarray is needed"):
            batch_norm(x, bad, np.ones(2))
    with pytest.raises(ShapeError, match=r"running_var has shape \(1,\), needs \(2,\)"):
        batch_norm(x, np.zeros(2), np.ones(1))


def test_an_input_that_is_no_array_is_refused():
    for training in (False, True):
        with pytest.raises(TypeError, match="the input is a list; a Tensor or ndarray is needed"):
            batch_norm([[1.0], [2.0]], np.zeros(1), np.ones(1), training=training)


def test_a_graph_that_keeps_the_running_statistics_learns_that_they_moved():
    mean, var = Tensor(np.ones(2)), Tensor(np.ones(2))
    scale = leaf([2.0, 3.0])
    y = (scale * mean).sum()
    batch_norm(np.array([[0.0, 1.0], [2.0, 5.0]]), mean, var, training=True)
    with pytest.raises(RuntimeError, match=r"changed in place \(batch_norm's running statistics\)"):
        y.backward()


# Evaluation


@given(problems())
def test_evaluation_scales_and_shifts_each_channel(problem):
    x, w, b, rng = problem
    mean, var = rng.standard_normal(x.shape[1]), rng.uniform(0.5, 2, x.shape[1])
    r = 1 / np.sqrt(var + 1e-5)
    y = (x - per_channel(mean, x.ndim)) * per_channel(r, x.ndim)
    np.testing.assert_allclose(batch_norm(x, mean, var), y, atol=1e-13)
    leaves = leaf(x), leaf(w), leaf(b)
    out = batch_norm(leaves[0], mean, var, *leaves[1:])
    np.testing.assert_allclose(out.numpy(), y * per_channel(w, x.ndim) + per_channel(b, x.ndim), atol=1e-12)
    g = rng.standard_normal(x.shape)
    dx, dw, db = grad(out, leaves, Tensor(g))
    np.testing.assert_allclose(dx.numpy(), g * per_channel(w * r, x.ndim), atol=1e-13)
    np.testing.assert_allclose(dw.numpy(), (g * y).sum(across(x.shape)), atol=1e-12)
    np.testing.assert_allclose(db.numpy(), g.sum(across(x.shape)), atol=1e-13)


def test_statistics_moved_between_forward_and_backward_of_evaluation_change_nothing():
    mean, var = Tensor(np.array([1.0, 2.0])), Tensor(np.array([0.5, 2.0]))
    x, w = leaf([[1.0, 2.0], [3.0, 5.0]]), leaf([1.0, -2.0])
    expected = [g.numpy() for g in grad(batch_norm(x, mean, var, w).sum(), [x, w])]
    y = batch_norm(x, mean, var, w)
    batch_norm(x, mean, var, w, training=True)
    for g, kept in zip(grad(y.sum(), [x, w]), expected, strict=True):
        np.testing.assert_array_equal(g.numpy(), kept)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_outputs_and_gradients_keep_their_dtype_beside_float32_statistics(dtype, training):
    mean, var = Tensor(np.zeros(2, np.float32)), Tensor(np.ones(2, np.float32))
    leaves = leaf([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]], dtype), leaf([1.0, 2.0], dtype), leaf([0.0, 1.0], dtype)
    y = batch_norm(leaves[0], mean, var, *leaves[1:], training=training)
    assert y.dtype == dtype
    assert mean.dtype == var.dtype == np.float32
    assert [g.dtype for g in grad(y.sum(), leaves)] == [dtype] * 3


def test_half_precision_is_normalised_in_float32():
    x = leaf(np.full((4, 1, 200, 200), 300.0) + 200.0 * np.tile([-1.0, 1.0], 80000).reshape(4, 1, 200, 200), np.float16)
    y = train(x)
    np.testing.assert_allclose(np.abs(y.numpy()), 1.0, rtol=1e-3)
    (d,) = grad(y, [x], Tensor(np.ones(x.shape, np.float16)))
    np.testing.assert_array_equal(d.numpy(), 0)


def test_the_mean_of_a_long_channel_is_summed_in_pairs():
    x = np.ones((2**19, 1, 8, 8), np.float32)
    _, (mean, var) = batch_norm_train.with_residual(x)
    np.testing.assert_array_equal([mean, var], [[1.0], [0.0]])


def test_batch_norm_gives_the_same_for_any_memory_layout_and_keeps_its_input():
    rng = np.random.default_rng(2)
    x, w, b = rng.standard_normal((3, 4, 5, 2)), rng.standard_normal(4), rng.standard_normal(4)
    g = rng.standard_normal(x.shape)
    t = leaf(x)
    y = train(t, w, b)
    (d,) = grad(y, [t], Tensor(g))
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for z in (channels_last, np.asfortranarray(x), x[::-1].copy()[::-1]):
        before = z.copy()
        np.testing.assert_allclose(train(z, w, b), y.numpy(), atol=1e-13)
        np.testing.assert_allclose(batch_norm_input_grad(g, z, w), d.numpy(), atol=1e-13)
        np.testing.assert_array_equal(z, before)


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_1_minus_p_and_scales_it(p):
    y = dropout(np.ones(20000), p, generator=np.random.default_rng(0))
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - p), rtol=1e-15)
    assert abs(kept.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / 20000)


def test_H118_p_0_and_evaluation_are_the_input_itself():
    x = leaf([1.0, 2.0])
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.7, training=False) is x
    assert dropout(x, 1, False) is x


def test_H118_p_1_is_zeros_with_zero_gradient_even_for_inf_and_nan():
    x = leaf([1.0, np.inf, np.nan])
    with np.errstate(all="raise"):
        y = dropout(x, 1.0)
    np.testing.assert_array_equal(y.numpy(), 0)
    y.backward(Tensor(np.array([1.0, np.inf, np.nan])))
    np.testing.assert_array_equal(x.grad.numpy(), 0)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
@pytest.mark.parametrize("training", [True, False])
def test_H118_a_p_that_is_no_probability_is_refused(p, training):
    with pytest.raises(ValueError, match=f"dropout: p is {p}; a probability must lie between 0 and 1"):
        dropout(leaf([1.0]), p, training)


def test_dropout_of_what_is_not_float_is_refused():
    with pytest.raises(TypeError, match="dropout: the input is int64; a float Tensor or ndarray is needed"):
        dropout(np.ones(3, np.int64))
    with pytest.raises(TypeError, match="dropout: the input is list"):
        dropout([1.0])


def test_H119_forward_and_backward_share_one_mask():
    x = leaf(np.random.default_rng(1).standard_normal((50, 3)))
    g = np.random.default_rng(2).standard_normal((50, 3))
    y = dropout(x, 0.4)
    (d,) = grad(y, [x], Tensor(g), create_graph=True)
    mask = np.where(y.numpy() != 0, 1 / 0.6, 0)
    np.testing.assert_allclose(y.numpy(), x.numpy() * mask, rtol=1e-14)
    np.testing.assert_allclose(d.numpy(), g * mask, rtol=1e-14)
    assert 0 < np.count_nonzero(mask) < 150


def test_H119_a_repeated_forward_draws_no_second_mask():
    x = np.full(64, 1e308)  # scaling overflows, so the op runs twice where that raises
    calm = dropout(x, 0.9, generator=np.random.default_rng(4))
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(dropout(x, 0.9, generator=np.random.default_rng(4)), calm)


def test_H119_the_seed_decides_the_mask():
    masks = []
    for _ in range(2):
        random.manual_seed(7)
        masks.append([dropout(np.ones((4, 5), np.float32)) for _ in range(2)])
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0][0] != masks[0][1]).any()
    np.testing.assert_array_equal(dropout(np.ones(9), generator=random.manual_seed(7)), 2.0 * _first_mask(7, 9))


def _first_mask(seed, n):
    return np.random.default_rng(seed).random(n, np.float32) >= 0.5


def test_the_mask_is_the_same_for_every_dtype_and_layout():
    x = np.random.default_rng(0).standard_normal((6, 5)) + 10
    masks = [
        dropout(y, 0.5, generator=np.random.default_rng(3)) != 0
        for y in (x, x.astype(np.float32), x.astype(np.float16), np.asfortranarray(x))
    ]
    for m in masks[1:]:
        np.testing.assert_array_equal(m, masks[0])


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_dropout_keeps_shape_and_dtype(shape):
    for p in (0.3, 1.0):
        x = leaf(np.ones(shape), np.float16)
        y = dropout(x, p)
        (d,) = grad(y, [x], Tensor(np.ones(shape, np.float16)))
        assert (y.shape, y.dtype, d.shape, d.dtype) == (shape, np.float16, shape, np.float16)


# Random numbers


def in_threads(*functions):
    """What each function returns, each in a thread of its own, one after the other has begun."""
    results = [None] * len(functions)

    def call(i, f):
        results[i] = f()

    threads = [threading.Thread(target=call, args=(i, f)) for i, f in enumerate(functions)]
    for thread in threads:
        thread.start()
        thread.join()
    return results


def draw():
    return random.default_generator().random()


def test_H119_threads_have_streams_of_their_own_that_follow_the_seed():
    runs = []
    for _ in range(2):
        random.manual_seed(3)
        runs.append([draw(), *in_threads(draw, draw, draw), draw()])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 5


def test_H119_draws_of_another_thread_do_not_move_this_one():
    random.manual_seed(3)
    alone = [draw(), draw()]
    random.manual_seed(3)
    first = draw()
    in_threads(draw, lambda: random.manual_seed(99))
    assert [first, draw()] == alone


def test_a_thread_that_sets_a_seed_gets_the_stream_of_that_seed():
    def seeded():
        random.manual_seed(5)
        return draw()

    random.manual_seed(5)
    assert in_threads(seeded, seeded) == [draw()] * 2


def test_seeds_that_are_no_natural_number_are_refused():
    for seed, kind in [(1.0, "float"), ("1", "str"), (None, "NoneType"), (True, "bool")]:
        with pytest.raises(TypeError, match=f"the seed is a {kind}; an integer is needed"):
            random.manual_seed(seed)
    with pytest.raises(ValueError, match="the seed is -1; it must not be negative"):
        random.manual_seed(-1)
