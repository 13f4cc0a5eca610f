"""Softmax and the losses: closed forms, hard cases by id, and what their errors say."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.backprop import grad
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.ops.loss import cross_entropy, mse_loss, nll_loss
from tinygrad_cnn.ops.softmax import log_softmax, softmax
from tinygrad_cnn.shapes import ShapeError

INF, NAN = np.inf, np.nan


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def value_and_grad(f, *leaves):
    """The value, and the gradient of its sum for each leaf, as arrays."""
    out = f(*leaves)
    return out.numpy(), *(g.numpy() for g in grad(out, leaves, Tensor(np.ones(out.shape, out.dtype))))


@st.composite
def problems(draw):
    """Logits, integer labels and class weights of 1 to 5 classes, over 0 to 3 axes of positions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes = draw(st.integers(1, 5))
    positions = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    logits = rng.uniform(-5, 5, (*positions[:1], classes, *positions[1:]))
    return logits, rng.integers(0, classes, positions), rng.uniform(0.1, 2, classes), rng


def one_hot(labels, logits):
    axis = min(1, logits.ndim - 1)
    return np.moveaxis(np.eye(logits.shape[axis])[labels], -1, axis)


# Softmax


@given(problems())
def test_softmax_is_the_quotient_of_exponentials_and_log_softmax_its_logarithm(problem):
    x = problem[0]
    for axis in range(-x.ndim, x.ndim):
        e = np.exp(x)
        np.testing.assert_allclose(softmax(x, axis), e / e.sum(axis, keepdims=True), rtol=1e-13)
        np.testing.assert_allclose(log_softmax(x, dim=axis), np.log(e / e.sum(axis, keepdims=True)), atol=1e-13)


@given(problems())
def test_the_gradient_of_softmax_is_its_jacobian(problem):
    x, _, _, rng = problem
    x = x.reshape(x.shape[0], -1)
    g, p = rng.standard_normal(x.shape), softmax(x, 1)
    jacobian = p[:, :, None] * (np.eye(x.shape[1]) - p[:, None, :])
    (found,) = grad(softmax(leaf(x).requires_grad_(), 1), [t := leaf(x)], Tensor(g), allow_unused=True)
    assert found is None
    (found,) = grad(softmax(t, 1), [t], Tensor(g))
    np.testing.assert_allclose(found.numpy(), np.einsum("nij,nj->ni", jacobian, g), atol=1e-14)
    (found,) = grad(log_softmax(t, 1), [t], Tensor(g))
    np.testing.assert_allclose(found.numpy(), np.einsum("nij,nj->ni", jacobian / p[:, None, :], g), atol=1e-12)


def test_softmax_ignores_a_shift_and_its_gradients_sum_to_zero():
    x = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    np.testing.assert_allclose(softmax(x + 100.0, 1), softmax(x, 1), rtol=1e-12)
    t = leaf(x)
    (g,) = grad(softmax(t, 1), [t], Tensor(np.array([[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]])))
    np.testing.assert_allclose(g.numpy().sum(1), 0, atol=1e-15)


@pytest.mark.parametrize("f", [softmax, log_softmax])
def test_softmax_neither_changes_nor_shares_its_input(f):
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    before = x.copy()
    assert not np.shares_memory(f(x, 1), x)
    np.testing.assert_array_equal(x, before)


def test_H17_H91_a_row_with_inf_is_nan_and_minus_inf_counts_nothing():
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        y, g = value_and_grad(lambda t: softmax(t, 1), leaf([[-INF, 0.0, 1.0], [-INF, -INF, -INF], [INF, 0.0, 1.0]]))
    np.testing.assert_allclose(y[0], [0.0, 1 / (1 + np.e), np.e / (1 + np.e)])
    assert np.isnan(y[1:]).all()
    np.testing.assert_allclose(g[0], 0, atol=1e-16)
    assert np.isnan(g[1:]).all()
    y, g = value_and_grad(lambda t: log_softmax(t, 0), leaf([-INF, 0.0, 1.0]))
    np.testing.assert_allclose(y, [-INF, -1.3132616875, -0.3132616875])
    np.testing.assert_allclose(g, [1.0, 1 - 3 / (1 + np.e), 1 - 3 * np.e / (1 + np.e)])


def test_H90_huge_logits_stay_finite():
    with np.errstate(all="raise"):
        np.testing.assert_allclose(softmax(np.array([1e4, 9999.0, -1e4]), 0), [0.7310585786, 0.2689414214, 0.0])
        y, g = value_and_grad(lambda t: log_softmax(t, 0), leaf([1e308, -1e308]))
        half = softmax(np.array([65504.0, -65504.0, 65504.0], np.float16), 0)
    np.testing.assert_array_equal(y, [0.0, -INF])
    np.testing.assert_array_equal(g, [-1.0, 1.0])
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, [0.5, 0.0, 0.5])


@pytest.mark.parametrize("axis", [0, -1])
def test_H92_a_0d_softmax_is_1_with_gradient_0(axis):
    y, g = value_and_grad(lambda t: softmax(t, axis), leaf(3.0))
    assert (y.shape, y, g.shape, g) == ((), 1.0, (), 0.0)
    y, g = value_and_grad(lambda t: log_softmax(t, axis), leaf(3.0))
    assert (y.shape, y, g.shape, g) == ((), 0.0, (), 0.0)


@pytest.mark.parametrize("f", [softmax, log_softmax])
def test_H92_softmax_of_nothing_is_empty_and_an_axis_out_of_range_an_error(f):
    for shape, axis in [((2, 0), 1), ((0, 3), 1), ((0, 3), 0)]:
        y, g = value_and_grad(lambda t, axis=axis: f(t, axis), leaf(np.zeros(shape)))
        assert y.shape == g.shape == shape
    for axis in (2, -3):
        with pytest.raises(IndexError, match=f"softmax: axis {axis} is out of range, the array has 2 axes"):
            f(np.zeros((2, 3)), axis)
    with pytest.raises(ValueError, match="out of range"):
        f(np.zeros(()), 1)
    with pytest.raises(TypeError, match="needs its parameter 'axis'"):
        f(np.zeros(3))


@np.errstate(under="ignore")  # of the test's own arithmetic
def test_H93_half_precision_sums_in_float32():
    x = leaf(np.zeros(70000), np.float16)
    y = softmax(x, 0)
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y.numpy(), np.float16(1 / 70000))
    np.testing.assert_allclose(log_softmax(x, 0).numpy(), np.float16(-np.log(70000)))


def test_softmax_of_integers_is_float32():
    assert softmax(np.array([1, 2]), 0).dtype == np.float32


# Cross-entropy of labels


@given(problems(), st.sampled_from(["mean", "sum", "none"]), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_cross_entropy_is_the_closed_form(problem, reduction, smoothing, weighted):
    x, labels, w, _ = problem
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    w = w if weighted else np.ones(classes)
    across = w.reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    q = (1 - smoothing) * one_hot(labels, x) * across + smoothing / classes * across
    p = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    losses = -(q * np.log(p)).sum(axis)
    scale = 1 / w[labels].sum() if reduction == "mean" else 1.0
    loss, g = value_and_grad(
        lambda t: cross_entropy(t, labels, w if weighted else None, reduction=reduction, label_smoothing=smoothing),
        leaf(x),
    )
    np.testing.assert_allclose(loss, losses if reduction == "none" else losses.sum() * scale, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(g, scale * (p * q.sum(axis, keepdims=True) - q), atol=1e-13)


@given(problems(), st.sampled_from(["mean", "sum", "none"]), st.booleans())
def test_cross_entropy_is_nll_of_log_softmax(problem, reduction, weighted):
    x, labels, w, rng = problem
    w = w if weighted else None
    ignored = int(labels.flat[0])
    t = leaf(x)
    for ignore_index in (-100, ignored):
        fused = cross_entropy(t, labels, w, ignore_index, reduction)
        chain = nll_loss(log_softmax(t, min(1, x.ndim - 1)), labels, w, ignore_index, reduction)
        np.testing.assert_allclose(fused.numpy(), chain.numpy(), rtol=1e-12, atol=1e-14)
        if reduction == "mean" and np.all(labels == ignore_index):
            continue
        g = Tensor(rng.standard_normal(fused.shape))
        for a, b in zip(grad(fused, [t], g), grad(chain, [t], g), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-13)


@given(problems(), st.sampled_from([0.0, 0.4]), st.sampled_from(["sum", "none"]))
def test_labels_are_one_hot_probabilities(problem, smoothing, reduction):
    x, labels, _, _ = problem
    a = value_and_grad(lambda t: cross_entropy(t, labels, reduction=reduction, label_smoothing=smoothing), leaf(x))
    target = one_hot(labels, x)
    b = value_and_grad(lambda t: cross_entropy(t, target, reduction=reduction, label_smoothing=smoothing), leaf(x))
    for ours, theirs in zip(a, b, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@given(problems())
def test_the_second_derivative_of_cross_entropy_is_p_minus_pp(problem):
    x, labels, _, rng = problem
    x = np.atleast_2d(x.reshape(x.shape[0], -1)) if x.ndim > 1 else x[None]
    labels = np.resize(labels, len(x)) % x.shape[1]
    t, v = leaf(x), rng.standard_normal(x.shape)
    (g,) = grad(cross_entropy(t, labels, reduction="sum"), [t], create_graph=True)
    (hv,) = grad(g, [t], Tensor(v))
    p = softmax(x, 1)
    np.testing.assert_allclose(hv.numpy(), p * v - p * (p * v).sum(1, keepdims=True), atol=1e-14)


def test_H94_a_huge_wrong_logit_costs_its_distance():
    loss, g = value_and_grad(lambda t: cross_entropy(t, [1]), leaf([[1e4, -1e4]], np.float32))
    assert (loss, loss.dtype) == (20000.0, np.float32)
    np.testing.assert_array_equal(g, [[1.0, -1.0]])


def test_H95_the_mean_over_ignored_labels_alone_is_nan_with_zero_gradients():
    x, labels = leaf([[1.0, 2.0, 3.0], [0.0, NAN, 1.0]]), [-100, -100]
    with np.errstate(all="raise"):
        loss, g = value_and_grad(lambda t: cross_entropy(t, labels), x)
    assert np.isnan(loss)
    np.testing.assert_array_equal(g, np.zeros((2, 3)))
    for reduction, expected in [("sum", 0.0), ("none", [0.0, 0.0])]:
        loss, g = value_and_grad(lambda t, r=reduction: cross_entropy(t, labels, reduction=r), x)
        np.testing.assert_array_equal(loss, expected)
        np.testing.assert_array_equal(g, np.zeros((2, 3)))
    assert np.isnan(nll_loss(x, labels).numpy())


def test_H96_no_positions():
    for target in (np.zeros(0, np.int64), np.zeros((0, 3))):
        loss, g = value_and_grad(lambda t, target=target: cross_entropy(t, target), leaf(np.zeros((0, 3))))
        assert np.isnan(loss)
        assert g.shape == (0, 3)
        assert cross_entropy(np.zeros((0, 3)), target, reduction="sum") == 0
        assert cross_entropy(np.zeros((0, 3)), target, reduction="none").shape == (0,)


ROWS = [[1.0, 2.0, 3.0], [0.5, -1.0, 0.0]]


def test_H97_the_mean_divides_by_the_kept_weights_for_labels_and_by_n_for_probabilities():
    loss, g = value_and_grad(lambda t: cross_entropy(t, [0, -100], np.array([2.0, 1.0, 1.0])), leaf(ROWS))
    np.testing.assert_allclose(loss, 2.40761, atol=5e-6)
    np.testing.assert_allclose(g, [[-0.90997, 0.24473, 0.66524], [0, 0, 0]], atol=5e-6)
    loss, g = value_and_grad(
        lambda t: cross_entropy(t, np.eye(2), np.array([1.0, 3.0])),
        leaf(np.zeros((2, 2))),
    )
    np.testing.assert_allclose(loss, 1.38629, atol=5e-6)
    np.testing.assert_allclose(g, [[-0.25, 0.25], [0.75, -0.75]])


@pytest.mark.parametrize("weight", [None, np.array([2.0, 0.5, 1.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_H98_nan_logits_of_an_ignored_row_reach_nothing(weight, smoothing):
    def loss_of(t):
        return cross_entropy(t, [0, -100], weight, label_smoothing=smoothing)

    clean, g_clean = value_and_grad(loss_of, leaf(ROWS))
    for poison in ([NAN, 1.0, INF], [-INF, -INF, -INF]):
        loss, g = value_and_grad(loss_of, leaf([ROWS[0], poison]))
        assert loss == clean
        np.testing.assert_array_equal(g, g_clean)
        np.testing.assert_array_equal(g[1], 0)
        t = leaf([ROWS[0], poison])
        (first,) = grad(loss_of(t), [t], create_graph=True)
        (second,) = grad(first, [t], Tensor(np.array([[0.3, -1.0, 0.2], [1.0, 1.0, 1.0]])))
        assert np.isfinite(second.numpy()).all()
        np.testing.assert_array_equal(second.numpy()[1], 0)


def test_an_infinite_gradient_at_an_ignored_position_stays_out():
    t = leaf(ROWS)
    (g,) = grad(cross_entropy(t, [0, -100], reduction="none"), [t], Tensor(np.array([1.0, INF])))
    np.testing.assert_array_equal(g.numpy()[1], 0)


@pytest.mark.parametrize("ignored", [1, -1, 255, 1000])
def test_H99_any_label_can_be_ignored(ignored):
    labels = np.array([0, ignored])
    expected = cross_entropy(np.array(ROWS)[:1], [0])
    loss, g = value_and_grad(lambda t: cross_entropy(t, labels, ignore_index=ignored), leaf(ROWS))
    np.testing.assert_allclose(loss, expected)
    np.testing.assert_array_equal(g[1], 0)


@pytest.mark.parametrize("bad", [3, 5, -1, -100])
@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_H100_a_label_that_is_no_class_is_named_with_its_place(bad, loss):
    name = loss.__name__
    with pytest.raises(IndexError, match=rf"{name}: target\[1\] is {bad}, but the 3 classes .* are 0 to 2"):
        loss(leaf(ROWS), [0, bad], ignore_index=7)
    with pytest.raises(IndexError, match=rf"{name}: target\[0, 1\] is {bad}"):
        loss(np.zeros((1, 3, 2)), np.array([[0, bad]]), ignore_index=7)
    with pytest.raises(IndexError, match=rf"{name}: target is {bad}"):
        loss(np.zeros(3), bad, ignore_index=7)
    if bad < 0:
        with pytest.raises(IndexError, match=f"ignore_index={bad} would leave such targets out"):
            loss(leaf(ROWS), [0, bad], ignore_index=7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64, np.int64])
def test_H101_labels_may_have_any_integer_dtype(dtype):
    labels = np.array([2, 0], dtype)
    expected = cross_entropy(np.array(ROWS), [2, 0])
    assert cross_entropy(np.array(ROWS), labels) == expected
    assert cross_entropy(np.array(ROWS), Tensor(labels)) == expected


def test_H101_booleans_are_refused():
    with pytest.raises(TypeError, match="the target is bool; class labels are integers and probabilities are float"):
        cross_entropy(np.array(ROWS), np.array([True, False]))
    with pytest.raises(TypeError, match="nll_loss: the target is bool; class labels are integers from 0 to 2"):
        nll_loss(np.array(ROWS), np.array([True, False]))


def test_H101_targets_of_another_shape_are_refused_with_the_remedy():
    x = np.array(ROWS)
    with pytest.raises(ShapeError, match=r"target has shape \(2, 1\) .* needs \(2,\).*; .*target.squeeze\(1\)"):
        cross_entropy(x, np.zeros((2, 1), np.int64))
    with pytest.raises(ShapeError, match=r"needs \(2,\), one class label for each position; reshape it"):
        cross_entropy(x, np.zeros(3, np.int64))
    with pytest.raises(
        ShapeError, match=r"integer class labels need \(2,\); make them float if they are probabilities"
    ):
        cross_entropy(x, np.eye(2, 3, dtype=np.int64))
    for shape in [(2,), (2, 1)]:
        with pytest.raises(ShapeError, match=r"float64 of shape .* \(2, 3\); convert class labels to integers"):
            cross_entropy(x, np.zeros(shape))
    with pytest.raises(ShapeError, match=r"need the input's shape \(2, 3\); reshape it"):
        cross_entropy(x, np.zeros((3, 2)))


def test_logits_without_classes_are_refused():
    with pytest.raises(ShapeError, match=r"the input has shape \(2, 0\), so 0 classes, needs at least 1 on axis 1"):
        cross_entropy(np.zeros((2, 0)), [0, 0])
    with pytest.raises(ShapeError, match=r"the input has shape \(\), needs \(classes,\)"):
        cross_entropy(np.zeros(()), 0)


def test_H102_label_smoothing_lies_between_0_and_1():
    np.testing.assert_allclose(cross_entropy(np.zeros((1, 3)), [1], label_smoothing=1), np.log(3))
    for smoothing in (1.5, -0.1, NAN):
        with pytest.raises(ValueError, match=rf"label_smoothing is {smoothing}; it must lie between 0 and 1"):
            cross_entropy(np.zeros((1, 3)), [1], label_smoothing=smoothing)


def test_H103_smoothing_with_weights_and_ignored_labels():
    x = leaf([[1.0, 2.0, 3.0], [0.0, NAN, 0.0], [3.0, 2.0, 1.0]])
    loss, g = value_and_grad(
        lambda t: cross_entropy(t, [0, -100, 1], np.array([1.0, 2.0, 3.0]), label_smoothing=0.3), x
    )
    np.testing.assert_allclose(loss, 1.7817, atol=5e-5)
    expected = [[-0.22765, 0.03938, 0.18827], [0, 0, 0], [0.41016, -0.37018, -0.03998]]
    np.testing.assert_allclose(g, expected, atol=5e-6)


def test_H104_probabilities_are_not_normalised_and_0_log_0_counts_0():
    loss, g = value_and_grad(lambda t: cross_entropy(t, np.array([[2.0, 2.0]])), leaf([[0.0, 0.0]]))
    np.testing.assert_allclose(loss, 2.77259, atol=5e-6)
    np.testing.assert_array_equal(g, [[0.0, 0.0]])
    loss, g = value_and_grad(lambda t: cross_entropy(t, np.array([[1.0, 0.0]])), leaf([[0.0, -INF]]))
    assert loss == 0
    np.testing.assert_array_equal(g, [[0.0, 0.0]])
    assert np.isnan(cross_entropy(np.array([[0.0, NAN]]), np.array([[1.0, 0.0]])))


def test_H105_minus_inf_at_the_target_costs_inf_with_finite_gradients():
    loss, g = value_and_grad(lambda t: cross_entropy(t, [0]), leaf([[-INF, 0.0]]))
    assert loss == INF
    np.testing.assert_array_equal(g, [[-1.0, 1.0]])
    loss, g = value_and_grad(lambda t: cross_entropy(t, [1], label_smoothing=0.1), leaf([[-INF, 0.0]]))
    assert loss == INF
    np.testing.assert_allclose(g, [[-0.05, 0.05]])


def test_a_class_of_weight_0_counts_0_even_at_minus_inf():
    w = np.array([0.0, 1.0])
    for smoothing in (0.0, 0.1):
        loss = cross_entropy(
            np.array([[-INF, 0.0], [0.0, 0.0]]), [0, 1], w, reduction="none", label_smoothing=smoothing
        )
        assert np.isfinite(loss).all()


def test_H106_dense_and_unbatched_logits():
    rng = np.random.default_rng(3)
    x, labels = rng.standard_normal((2, 4, 3, 1, 2, 1, 2)), rng.integers(0, 4, (2, 3, 1, 2, 1, 2))
    flat = np.moveaxis(x, 1, -1).reshape(-1, 4)
    np.testing.assert_allclose(cross_entropy(x, labels), cross_entropy(flat, labels.ravel()), rtol=1e-14)
    losses = cross_entropy(x, labels, reduction="none")
    np.testing.assert_allclose(losses.ravel(), cross_entropy(flat, labels.ravel(), reduction="none"), rtol=1e-14)
    assert losses.shape == labels.shape
    for target in (1, np.int64(1), np.array(1), Tensor(np.array(1)), np.array([0.0, 1.0, 0.0])):
        np.testing.assert_allclose(cross_entropy(np.zeros(3), target), np.log(3))


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss, mse_loss])
def test_H109_a_misspelt_reduction_is_refused(loss):
    target = np.zeros((2, 3)) if loss is mse_loss else [0, 1]
    for reduction in ("typo", None, "Mean"):
        with pytest.raises(ValueError, match=f"reduction is {reduction!r}; it must be 'none', 'mean' or 'sum'"):
            loss(np.zeros((2, 3)), target, reduction=reduction)


def test_H110_weights_of_zero_for_all_classes_present_give_nan():
    loss, g = value_and_grad(lambda t: cross_entropy(t, [0, 0], np.array([0.0, 1.0, 1.0])), leaf(ROWS))
    assert np.isnan(loss)
    assert np.isnan(g).all()


def test_weights_that_do_not_fit_are_refused():
    for loss, target in [(cross_entropy, [0, 1]), (cross_entropy, np.zeros((2, 3))), (nll_loss, [0, 1])]:
        with pytest.raises(ShapeError, match=r"weight has shape \(1,\), needs \(3,\), one number for each class"):
            loss(np.array(ROWS), target, np.ones(1))
    with pytest.raises(TypeError, match="weight is bool; one number for each class"):
        cross_entropy(np.array(ROWS), [0, 1], np.ones(3, np.bool_))
    with pytest.raises(TypeError, match=r"parameter 'weight' is a Tensor that requires grad"):
        cross_entropy(leaf(ROWS), [0, 1], leaf(np.ones(3)))
    assert cross_entropy(np.array(ROWS), [0, 1], [1, 1, 1]) == cross_entropy(np.array(ROWS), [0, 1])


def test_inputs_that_are_no_arrays_are_refused():
    for target in ([0, 1], np.zeros((2, 3))):
        with pytest.raises(TypeError, match="input 'x' is a list; pass a Tensor, an ndarray or a number"):
            cross_entropy(ROWS, target)
    with pytest.raises(TypeError, match="input 'x' is a list"):
        mse_loss([1.0], np.zeros(1))


def test_probabilities_have_no_class_to_ignore():
    with pytest.raises(ValueError, match="ignore_index=0 with probabilities as target"):
        cross_entropy(np.zeros((2, 3)), np.zeros((2, 3)), ignore_index=0)


@given(problems(), st.sampled_from(["mean", "sum"]), st.sampled_from([0.0, 0.3]))
def test_the_gradient_of_probabilities_is_minus_log_softmax(problem, reduction, smoothing):
    x, labels, w, rng = problem
    plain, soft = leaf(x), leaf(rng.uniform(0, 1, x.shape))
    (unweighted,) = grad(cross_entropy(plain, soft, reduction="sum"), [soft])
    np.testing.assert_allclose(unweighted.numpy(), -log_softmax(x, min(1, x.ndim - 1)), rtol=1e-12, atol=1e-14)
    axis = min(1, x.ndim - 1)
    target = rng.uniform(0, 1, x.shape)
    _, _, found = value_and_grad(
        lambda t, q: cross_entropy(t, q, w, reduction=reduction, label_smoothing=smoothing), leaf(x), leaf(target)
    )
    scale = (1 - smoothing) / (labels.size if reduction == "mean" else 1)
    across = w.reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    np.testing.assert_allclose(found, -scale * across * log_softmax(x, axis), rtol=1e-12, atol=1e-14)


def test_probabilities_of_another_float_dtype_are_cast_and_their_gradient_cast_back():
    x, q = leaf(ROWS, np.float32), leaf(np.full((2, 3), 0.5), np.float64)
    loss = cross_entropy(x, q)
    loss.backward()
    assert (loss.dtype, x.grad.dtype, q.grad.dtype) == (np.float32, np.float32, np.float64)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradients_have_the_dtype_of_the_logits(dtype, smoothing):
    x, w = leaf(ROWS, dtype), np.array([0.5, 1.0, 2.0])
    for target in ([0, 2], [-100, 2], np.full((2, 3), 0.25, dtype)):
        for reduction in ("mean", "none"):
            loss, g = value_and_grad(
                lambda t, target=target, r=reduction: cross_entropy(
                    t, target, w, reduction=r, label_smoothing=smoothing
                ),
                x,
            )
            assert loss.dtype == g.dtype == dtype


def test_half_precision_averages_more_positions_than_it_can_count():
    x = leaf(np.zeros((70000, 2)), np.float16)
    loss, g = value_and_grad(lambda t: cross_entropy(t, np.zeros(70000, np.int64)), x)
    assert loss == np.float16(np.log(2))
    assert (g != 0).all()
    assert mse_loss(np.full(70000, 3, np.float16), np.zeros(70000, np.float16)) == 9


def test_H121_labels_and_weights_changed_after_the_forward_change_nothing():
    labels, w = np.array([0, 2]), np.array([1.0, 2.0, 3.0])
    for smoothing in (0.0, 0.2):
        t = leaf(ROWS)
        _, expected = value_and_grad(lambda t, s=smoothing: cross_entropy(t, [0, 2], [1.0, 2, 3], label_smoothing=s), t)
        loss = cross_entropy(t, labels, w, label_smoothing=smoothing)
        labels[:], w[:] = 1, 0
        loss.backward()
        np.testing.assert_array_equal(t.grad.numpy(), expected)
        labels[:], w[:] = [0, 2], [1, 2, 3]


def test_cross_entropy_gives_the_same_for_any_memory_layout():
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((3, 4, 5)), rng.integers(0, 4, (3, 5))
    expected = cross_entropy(x, labels)
    for y in (np.asfortranarray(x), x[::-1].copy()[::-1], np.moveaxis(np.moveaxis(x, 1, 2).copy(), 2, 1)):
        np.testing.assert_allclose(cross_entropy(y, labels), expected, rtol=1e-15)


# Mean squared error


@given(problems(), st.sampled_from(["mean", "sum", "none"]))
def test_mse_is_the_closed_form_with_opposite_gradients(problem, reduction):
    x, _, _, rng = problem
    y = rng.standard_normal(x.shape)
    loss, gx, gy = value_and_grad(lambda a, b: mse_loss(a, b, reduction), leaf(x), leaf(y))
    expected = {"mean": ((x - y) ** 2).mean(), "sum": ((x - y) ** 2).sum(), "none": (x - y) ** 2}[reduction]
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(gx, 2 * (x - y) / (x.size if reduction == "mean" else 1), rtol=1e-13)
    np.testing.assert_array_equal(gy, -gx)


def test_mse_refuses_shapes_that_would_broadcast():
    message = r"mse_loss: the shapes are \(3, 1\) and \(3,\), needs equal shapes; reshape one: target.reshape\(3, 1\)"
    with pytest.raises(ShapeError, match=message):
        mse_loss(leaf(np.zeros((3, 1))), np.zeros(3))
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(\), needs equal shapes; expand one on purpose"):
        mse_loss(np.zeros((2, 3)), 0.5)
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\), needs equal shapes"):
        mse_loss(np.zeros(2), np.zeros(3))


def test_mse_of_nothing_is_nan_or_0():
    with np.errstate(all="raise"):
        assert np.isnan(mse_loss(np.zeros((0, 2)), np.zeros((0, 2))))
    assert mse_loss(np.zeros(0), np.zeros(0), "sum") == 0
    _, g, _ = value_and_grad(mse_loss, leaf(np.zeros((0, 2))), leaf(np.zeros((0, 2))))
    assert g.shape == (0, 2)


def test_mse_accepts_integer_targets():
    loss, g = value_and_grad(lambda t: mse_loss(t, np.array([1, 5])), leaf([1.5, 3.0], np.float32))
    assert (loss, loss.dtype) == (2.125, np.float32)
    np.testing.assert_array_equal(g, [0.5, -2.0])
