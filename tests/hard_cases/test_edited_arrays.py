"""No gradient is silently wrong after an array was edited between forward and backward: H121, H122.

What an op keeps of a bare ndarray is a copy, so the gradient is the right one. What it keeps of a Tensor is named.
"""

import numpy as np
import pytest

import tinygrad_cnn as tg
from hard_cases.at_points import numbers
from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import functional as F


def between(low, high, *shape, seed=1):
    return np.random.default_rng(seed).uniform(low, high, shape)


def part(*shape):
    return between(0.2, 0.8, *shape)


X, IMAGES = between(0.2, 0.8, 3, 4, seed=2), between(0.2, 0.8, 2, 2, 5, 5, seed=3)
MASK = part(3, 4) > 0.5
COLUMNS = np.array([[0, 1], [2, 3], [1, 1]])
LABELS = np.array([0, 1, 3])

# The op as a function of its input and the arrays beside it; the input; the arrays.
USES = {
    "x * m": (lambda x, m: x * m, X, part(3, 4)),
    "m * x of functions": (lambda x, m: tg.mul(m, x), X, part(3, 4)),
    "x / m": (lambda x, m: x / m, X, part(3, 4)),
    "m / x": (lambda x, m: m / x, X, part(3, 4)),
    "x ** m": (lambda x, m: x**m, X, part(3, 4)),
    "m ** x": (lambda x, m: m**x, X, part(3, 4)),
    "x @ m": (lambda x, m: x @ m, X, part(4, 2)),
    "m @ x": (lambda x, m: m @ x, X, part(2, 3)),
    "einsum": (lambda x, m: tg.einsum("ij,jk->ik", x, m), X, part(4, 2)),
    "outer": (lambda x, m: tg.outer(x[0], m), X, part(3)),
    "bmm": (lambda x, m: tg.bmm(x[None], m), X, part(1, 4, 2)),
    "where": (lambda x, m: tg.where(m, x, 0.0), X, MASK),
    "masked_fill": (lambda x, m: x.masked_fill(m, 0.0), X, MASK),
    "masked_select": (lambda x, m: x.masked_select(m), X, MASK),
    "clip": (lambda x, m: x.clip(m, m + 0.5), X, part(3, 4)),
    "clip above": (lambda x, m: x.clip(max=m), X, part(3, 4)),
    "maximum": (tg.maximum, X, part(3, 4)),
    "x[rows]": (lambda x, i: x[i], X, np.array([0, 2, 1])),
    "x[rows, 1:]": (lambda x, i: x[i, 1:], X, np.array([0, 2])),
    "x[mask]": (lambda x, m: x[m], X, MASK),
    "gather": (lambda x, i: tg.gather(x, 1, i), X, COLUMNS),
    "take_along_axis": (lambda x, i: tg.take_along_axis(x, i, 1), X, COLUMNS),
    "index_select": (lambda x, i: tg.index_select(x, 0, i), X, np.array([0, 2])),
    "scatter_add": (lambda x, i: tg.scatter_add(np.zeros((3, 4)), 1, i, x[:, :2]), X, COLUMNS),
    "linear": (F.linear, X, part(2, 4), part(2)),
    "conv2d": (F.conv2d, IMAGES, part(3, 2, 3, 3)),
    "conv_transpose2d": (F.conv_transpose2d, IMAGES, part(2, 3, 3, 3)),
    "local_conv2d": (F.local_conv2d, IMAGES, part(3, 3, 3, 2, 3, 3)),
    "max_unpool2d": (
        lambda x, i: F.max_unpool2d(F.max_pool2d(x, 2), i, 2),
        IMAGES,
        np.array([[[0, 2], [10, 12]], [[1, 3], [5, 7]]])[:, None].repeat(2, 1),
    ),
    "prelu": (lambda x, m: F.prelu(x - 0.5, m), X, part(4)),
    "cosine_similarity": (F.cosine_similarity, X, part(3, 4)),
    "batch_norm in evaluation": (lambda x, m, v: F.batch_norm(x, m, v), IMAGES, part(2), part(2)),
    "batch_norm in training": (lambda x, m: F.batch_norm(x, None, None, m, None, training=True), IMAGES, part(2)),
    "layer_norm": (lambda x, m, b: F.layer_norm(x, (4,), m, b), X, part(4), part(4)),
    "group_norm": (lambda x, m, b: F.group_norm(x, 2, m, b), IMAGES, part(2), part(2)),
    "cross_entropy": (lambda x, t, m: F.cross_entropy(x, t, m, reduction="none"), X, LABELS, part(4)),
    "cross_entropy of probabilities": (lambda x, p: F.cross_entropy(x, p, reduction="none"), X, part(3, 4)),
    "nll_loss": (lambda x, t, m: F.nll_loss(x, t, m, reduction="none"), X, LABELS, part(4)),
    "mse_loss": (lambda x, t: F.mse_loss(x, t, reduction="none"), X, part(3, 4)),
    "l1_loss": (lambda x, t: F.l1_loss(x, t, reduction="none"), X, part(3, 4)),
    "huber_loss": (lambda x, t: F.huber_loss(x, t, reduction="none"), X, 5 * part(3, 4)),
    "binary_cross_entropy": (
        lambda x, t, m: F.binary_cross_entropy(x, t, m, reduction="none"),
        X,
        part(3, 4),
        part(3, 4),
    ),
    "binary_cross_entropy_with_logits": (
        lambda x, t, m, p: F.binary_cross_entropy_with_logits(x, t, m, pos_weight=p, reduction="none"),
        X,
        part(3, 4),
        part(3, 4),
        part(4),
    ),
    "kl_div": (lambda x, t: F.kl_div(x, t, reduction="none"), X, part(3, 4)),
}


def edited(array):
    """Other values of the same kind, all of them elsewhere."""
    if array.dtype == np.bool_:
        return ~array
    return np.roll(array, 1, 0) if array.dtype.kind == "i" else -3 * array


def gradient_of_edited(f, x, arrays, write=None):
    x = Tensor(x, requires_grad=True)
    y = f(x, *arrays)
    for array in arrays:
        if write is not None:
            write(array)
    return grad(y, x, numbers(*y.shape))[0].array


def write_to_array(array):
    array[...] = edited(array)


def write_to_tensor(tensor):
    tensor.copy_(edited(tensor.numpy()))


@pytest.mark.parametrize("use", USES)
def test_H121_the_gradient_is_that_of_the_array_as_it_was(use):
    f, x, *arrays = USES[use]
    right = gradient_of_edited(f, x, [array.copy() for array in arrays])
    np.testing.assert_array_equal(gradient_of_edited(f, x, [a.copy() for a in arrays], write_to_array), right)


@pytest.mark.parametrize("use", USES)
def test_H122_a_tensor_that_is_kept_and_changed_is_named_unless_the_gradient_is_right(use):
    f, x, *arrays = USES[use]
    right = gradient_of_edited(f, x, [array.copy() for array in arrays])
    try:
        got = gradient_of_edited(f, x, [Tensor(array) for array in arrays], write_to_tensor)
    except RuntimeError as error:
        named = str(error)
    else:
        np.testing.assert_array_equal(got, right)
        return
    assert "was changed in place (copy_)" in named


@pytest.mark.parametrize("use", USES)
def test_the_edit_would_change_the_gradient(use):
    f, x, *arrays = USES[use]
    right, wrong = (gradient_of_edited(f, x, given) for given in (arrays, [edited(array) for array in arrays]))
    assert not np.array_equal(right, wrong, equal_nan=True)
