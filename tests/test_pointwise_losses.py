"""Losses that compare element by element: hard cases by id, precision, and what their errors say."""

import re

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.shapes import ShapeError

INF, NAN = np.inf, np.nan
OF_PAIRS = {
    "l1_loss": F.l1_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": F.huber_loss,
    "half_squared_error": F.half_squared_error,
    "kl_div": F.kl_div,
    "binary_cross_entropy": F.binary_cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}
ALL = {**OF_PAIRS, "hinge_embedding_loss": F.hinge_embedding_loss}


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.parametrize("name", ALL)
def test_shapes_that_would_broadcast_are_refused_with_the_remedy(name):
    message = rf"{name}: the shapes are \(3, 1\) and \(3,\), needs equal shapes; reshape one: target.reshape\(3, 1\)"
    with pytest.raises(ShapeError, match=message):
        ALL[name](np.full((3, 1), 0.5), np.ones(3))
    with pytest.raises(ShapeError, match=rf"{name}: .*; expand one on purpose, as in target.expand\(3, 2\)"):
        ALL[name](np.full((3, 2), 0.5), np.ones(2))


@pytest.mark.parametrize("name", ALL)
def test_H109_a_misspelt_reduction_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: reduction is 'average'; it must be 'none', 'mean'"):
        ALL[name](np.full(3, 0.5), np.ones(3), reduction="average")


@pytest.mark.parametrize("name", ALL)
def test_the_mean_of_nothing_is_nan_and_its_sum_0(name):
    x = leaf(np.zeros(0))
    loss = ALL[name](x, np.zeros(0), reduction="mean")
    loss.backward()
    assert np.isnan(loss.numpy())
    assert x.grad.shape == (0,)
    assert ALL[name](x, np.zeros(0), reduction="sum").item() == 0


@pytest.mark.parametrize("name", ALL)
def test_the_loss_and_its_gradients_have_the_dtype_of_the_input(name):
    for dtype in (np.float16, np.float32, np.float64):
        x = leaf([0.25, 0.5, 0.75], dtype)
        loss = ALL[name](x, np.array([1, -1, 1], np.int64) if "hinge" in name else np.array([0, 1, 1], np.int64))
        loss.backward()
        assert loss.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("name", ["l1_loss", "smooth_l1_loss", "huber_loss", "half_squared_error"])
def test_half_precision_sums_what_it_cannot_hold(name):
    x = leaf(np.full(70000, 2.0), np.float16)
    loss = OF_PAIRS[name](x, np.zeros(70000, np.float16), reduction="mean")
    expected = {"l1_loss": 2, "smooth_l1_loss": 1.5, "huber_loss": 1.5, "half_squared_error": 2}[name]
    assert loss.item() == expected


@pytest.mark.parametrize("name", OF_PAIRS)
def test_nan_reaches_the_loss(name):
    assert np.isnan(OF_PAIRS[name](np.array([NAN, 0.5]), np.array([0.5, 0.5])))


@pytest.mark.parametrize("name", ["l1_loss", "smooth_l1_loss", "huber_loss"])
def test_a_huge_distance_costs_its_length(name):
    x = leaf([1e308, -1e4, INF, 1e4])
    loss = OF_PAIRS[name](x, np.zeros(4), reduction="none")
    loss.backward(Tensor(np.ones(4)))
    half = 0.0 if name == "l1_loss" else 0.5
    np.testing.assert_array_equal(loss.numpy(), [1e308, 1e4 - half, INF, 1e4 - half])
    np.testing.assert_array_equal(x.grad.numpy(), [1, -1, 1, 1])


def test_half_squared_error_has_the_difference_for_gradient():
    x, y = leaf([1.0, -2.0]), leaf([0.5, 2.0])
    loss = F.half_squared_error(x, y)
    loss.backward()
    assert loss.item() == 0.125 + 8.0
    assert (x.grad.tolist(), y.grad.tolist()) == ([0.5, -4.0], [-0.5, 4.0])
    assert nn.HalfSquaredError()(x, y).item() == 8.125
    assert nn.HalfSquaredError("mean")(x, y).item() == 8.125 / 2


def test_H107_certain_probabilities_cost_at_most_100():
    for dtype in (np.float32, np.float64):
        x = leaf([0.0, 1.0, 0.0, 1.0], dtype)
        loss = F.binary_cross_entropy(x, np.array([1, 0, 0, 1], dtype), reduction="none")
        loss.backward(Tensor(np.ones(4, dtype)))
        np.testing.assert_array_equal(loss.numpy(), [100, 100, 0, 0])
        np.testing.assert_allclose(x.grad.numpy(), [-1e12, 1e12, 0, 0], rtol=1e-6)


def test_H107_half_precision_has_a_least_number_of_its_own():
    x = leaf([0.0, 1.0, 0.0, 1.0], np.float16)
    loss = F.binary_cross_entropy(x, np.array([1, 0, 0, 1], np.float16), reduction="none")
    loss.backward(Tensor(np.full(4, 2.0**-12, np.float16)))
    np.testing.assert_array_equal(loss.numpy(), [100, 100, 0, 0])
    np.testing.assert_array_equal(x.grad.numpy(), np.array([-INF, INF, 0, 0], np.float16))


@pytest.mark.parametrize(("values", "worst"), [([0.5, 1.25], "1.25"), ([-0.5, 0.5, 1.25], "-0.5"), ([-INF], "-inf")])
def test_H107_what_is_no_probability_is_refused(values, worst):
    message = f"binary_cross_entropy: the input holds {worst}; probabilities from 0 to 1 are needed: take the sigmoid"
    with pytest.raises(ValueError, match=re.escape(message)):
        F.binary_cross_entropy(np.array(values), np.ones(len(values)))


def test_H108_huge_logits_cost_their_distance_without_a_warning():
    x = leaf([1e4, -1e4, 1e4, -1e4, INF, -INF])
    with np.errstate(all="raise"):
        loss = F.binary_cross_entropy_with_logits(x, np.array([0, 1, 1, 0, 1, 0.0]), reduction="none")
        loss.backward(Tensor(np.ones(6)))
    np.testing.assert_array_equal(loss.numpy(), [1e4, 1e4, 0, 0, 0, 0])
    np.testing.assert_array_equal(x.grad.numpy(), [1, -1, 0, 0, 0, 0])


def test_a_right_logit_costs_what_is_left_to_the_last_digit():
    loss = F.binary_cross_entropy_with_logits(np.array([-40.0, 40.0]), np.array([0.0, 1.0]), reduction="none")
    np.testing.assert_allclose(loss, np.exp(-40.0), rtol=1e-15)


def test_logits_cost_what_their_probabilities_do():
    rng = np.random.default_rng(0)
    x, y, w = rng.uniform(-4, 4, (3, 4)), rng.uniform(0, 1, (3, 4)), rng.uniform(0.5, 2, 4)
    for reduction in ("none", "mean", "sum"):
        np.testing.assert_allclose(
            F.binary_cross_entropy_with_logits(x, y, w, reduction=reduction),
            F.binary_cross_entropy(1 / (1 + np.exp(-x)), y, w, reduction=reduction),
            rtol=1e-12,
        )


def test_pos_weight_counts_the_positive_part_of_each_column():
    x, y, p = np.array([[0.5, -1.0], [2.0, 0.0]]), np.array([[1.0, 0.0], [0.25, 1.0]]), np.array([3.0, 0.5])
    s = 1 / (1 + np.exp(-x))
    expected = -(p * y * np.log(s) + (1 - y) * np.log(1 - s))
    found = F.binary_cross_entropy_with_logits(x, y, pos_weight=p, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_weights_that_do_not_fit_are_refused(name):
    x = np.full((2, 3), 0.5)
    with pytest.raises(ShapeError, match=rf"{name}: weight has shape \(4, 2, 3\), which does not fit into \(2, 3\)"):
        ALL[name](x, x, np.ones((4, 2, 3)))
    with pytest.raises(ShapeError, match=name):
        ALL[name](x, x, np.ones(2))
    with pytest.raises(TypeError, match=f"{name}: weight is bool; numbers are needed"):
        ALL[name](x, x, np.ones(3, bool))


def test_a_positional_weight_that_learns_is_refused():
    x = np.full(3, 0.5)
    with pytest.raises(TypeError, match="weight"):
        F.binary_cross_entropy(leaf(x), x, leaf(x))


def test_pos_weights_that_do_not_fit_are_refused():
    x = np.full((2, 3), 0.5)
    with pytest.raises(ShapeError, match="binary_cross_entropy_with_logits: pos_weight has shape"):
        F.binary_cross_entropy_with_logits(x, x, pos_weight=np.ones((2, 2, 3)))


def test_kl_div_of_log_probabilities_agrees_with_that_of_probabilities():
    rng = np.random.default_rng(1)
    p, q = (tg.softmax(rng.standard_normal((4, 5)), 1) for _ in range(2))
    for reduction in ("none", "mean", "sum", "batchmean"):
        np.testing.assert_allclose(
            F.kl_div(np.log(q), p, reduction=reduction),
            F.kl_div(np.log(q), np.log(p), reduction=reduction, log_target=True),
            atol=1e-15,
        )
    divergence = F.kl_div(np.log(q), p, reduction="batchmean")
    assert divergence == pytest.approx((p * np.log(p / q)).sum() / 4)
    assert F.kl_div(np.log(p), p, reduction="batchmean") == pytest.approx(0, abs=1e-15)


def test_H104_a_probability_of_0_counts_0_in_both_spellings():
    x = leaf([-INF, 0.0, -1.0])
    loss = F.kl_div(x, np.array([0.0, 0.0, 1.0]), reduction="sum")
    loss.backward()
    assert loss.item() == 1
    assert x.grad.tolist() == [0, 0, -1]
    assert F.kl_div(np.array([-1.0, -2.0]), np.array([-INF, 0.0]), reduction="sum", log_target=True) == 2


def test_batchmean_needs_a_batch():
    message = r"kl_div: the input has shape \(\), which has no axis 0 to count for reduction='batchmean'"
    with pytest.raises(ShapeError, match=message):
        F.kl_div(np.float64(-1.0), np.float64(1.0), reduction="batchmean")


def test_hinge_targets_are_1_and_minus_1():
    with pytest.raises(ValueError, match="hinge_embedding_loss: the target holds 0; 1 where alike and -1 elsewhere"):
        F.hinge_embedding_loss(np.ones(3), np.array([1, 0, -1]))
    loss = F.hinge_embedding_loss(np.array([0.5, 0.5, 3.0]), np.array([1, -1, -1]), 2.0, reduction="none")
    assert loss.tolist() == [0.5, 1.5, 0]


def test_bounds_between_a_parabola_and_a_line_are_above_0():
    x = np.ones(2)
    for delta in (0.0, -1.0, NAN):
        with pytest.raises(ValueError, match=f"huber_loss: delta is {delta}; a number above 0 is needed"):
            F.huber_loss(x, x, delta=delta)
    with pytest.raises(ValueError, match=r"smooth_l1_loss: beta is -1\.0; a number of at least 0 is needed"):
        F.smooth_l1_loss(x, x, beta=-1.0)


def test_H121_a_target_changed_after_the_forward_changes_nothing():
    for name in ALL:
        x, y = leaf([0.25, 0.5]), np.array([1.0, -1.0]) if "hinge" in name else np.array([1.0, 0.5])
        loss = ALL[name](x, y)
        y[:] = 1.0
        loss.backward()
        other = leaf([0.25, 0.5])
        ALL[name](other, np.array([1.0, -1.0]) if "hinge" in name else np.array([1.0, 0.5])).backward()
        np.testing.assert_array_equal(x.grad.numpy(), other.grad.numpy())


def test_a_module_refuses_a_reduction_that_there_is_not():
    with pytest.raises(ValueError, match="L1Loss: reduction='batchmean'; it can be 'mean', 'sum' or 'none'"):
        nn.L1Loss(reduction="batchmean")
    with pytest.raises(ValueError, match="KLDivLoss: reduction='avg'; it can be 'mean', 'sum', 'none' or 'batchmean'"):
        nn.KLDivLoss(reduction="avg")
