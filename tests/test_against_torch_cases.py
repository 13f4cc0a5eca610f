"""The hard cases whose reference is PyTorch, live: kinks, ties, empty arrays, nan and infinity, and refusals."""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch_problems import BOTH, OURS, THEIRS, a, agree, compare, derivatives, fails, grid, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

inf, nan = math.inf, math.nan


# The catalogue of hard cases: values and gradients

ONES = np.ones((1, 1, 3, 3))
X = a([1, 2, 3], [0, 1, -1])
LABELS = np.array([0, 2])

VALUES: dict[str, Any] = {
    "H1 relu at 0": (lambda m, x: x.relu(), a(-1, 0, 2)),
    "H2 relu of infinities": (lambda m, x: x.relu(), a(inf, -inf, -0.0)),
    "H4 abs at 0": (lambda m, x: x.abs(), a(-2, 0, 2)),
    "H5 maximum and minimum tie": (lambda m, x, y: x.maximum(y) * x.minimum(y), a(1, 2, 3), a(1, 0, 4)),
    "H6 max, amax tie": (lambda m, x: x.max() * x.amax(0).sum() * x.min(), a(3, 1, 3)),
    "H6 max(dim) tie": (lambda m, x: x.max(0).values, a(1, 3, 3)),
    "H7 max_pool2d tie, overlapping": (lambda m, x: m.F.max_pool2d(x, 2, 1), ONES),
    "H7 max_pool2d tie, padded": (lambda m, x: m.F.max_pool2d(x, (3, 2), 2, 1, (1, 2)), np.ones((2, 1, 5, 6))),
    "H8 clamp at its bounds": (lambda m, x: x.clamp(0, 1), a(-1, 0, 0.5, 1, 2)),
    "H9 clamp of nan, crossed bounds": (lambda m, x: x.clamp(0, 1) + x.clamp(2, -1), a(nan, 0.5, 3, -3)),
    "H12 integer powers at 0": (lambda m, x: x**0 + x**1 + x**2, a(0, -1, 2)),
    "H13 where trap": (lambda m, x: m.where(x > 0, x.sqrt(), m.constant(np.zeros(()))), a(0, 4)),
    "H14 sign, comparisons inside": (lambda m, x: x.sign() * x + (x > 0) * x, a(-2, 0, 3)),
    "H16 0 * inf": (lambda m, x: (x * 0).sum(), a(inf, 1)),
    "H17 softmax of +inf": (lambda m, x: m.F.softmax(x, 0), a(inf, 1)),
    "H20 broadcasting into nothing": (lambda m, x, y: x + y, np.zeros((0, 3)), np.ones((1, 3))),
    "H20 broadcasting by nothing": (lambda m, x, y: x * y, np.zeros((2, 0)), np.ones((2, 1))),
    "H23 0-d + 0-d": (lambda m, x, y: x + y, a(1)[0], a(2)[0]),
    "H34 sum of nothing": (lambda m, x: x.sum(), np.zeros((0, 3))),
    "H34 sum along nothing": (lambda m, x: x.sum(0), np.zeros((0, 3))),
    "H35 mean of nothing": (lambda m, x: x.mean(), np.zeros(0)),
    "H36 max along an axis beside nothing": (lambda m, x: x.amax(1) + x.max(1).values, np.zeros((0, 3))),
    "H37 logsumexp of nothing": (lambda m, x: x.logsumexp(0), np.zeros((0, 2))),
    "H42 permute with negative axes": (lambda m, x: x.permute(-1, 0, 1, -2), grid(0, 2, 3, 4, 5)),
    "H43 reshape of nothing": (lambda m, x: x.reshape(-1, 3), np.zeros((0, 3))),
    "H44 duplicates": (lambda m, x: x[m.constant(np.array([0, 0, 2]))], a(1, 2, 3)),
    "H44 0-d": (lambda m, x: x[...] + x[None][0], a(1)[0]),
    "H44 empty result": (lambda m, x: x[2:1] * x[0], a(1, 2, 3)),
    "H46 one part": (lambda m, x: m.cat([x]) + m.stack([x])[0], a(1, 2)),
    "H46 a part of nothing": (lambda m, x, y: m.cat([x, y, x], 1), np.ones((2, 2)), np.zeros((2, 0))),
    "H47 pad by nothing and by inf": (lambda m, x: m.F.pad(m.F.pad(x, (0, 0)), (1, 0), value=inf), a(1, 2)),
    "H47 pad of nothing": (lambda m, x: m.F.pad(x, (1, 2, 0, 1)), np.zeros((2, 0))),
    "H48 matmul over nothing": (lambda m, x, y: x @ y, np.zeros((2, 0)), np.zeros((0, 3))),
    "H49 an operand twice": (lambda m, x: x @ x.T - x * x.sum() + (x - x), grid(0, 2, 2)),
    "H60 conv2d of no image": (
        lambda m, x, w, b: m.F.conv2d(x, w, b),
        np.zeros((0, 2, 4, 4)),
        np.ones((3, 2, 3, 3)),
        a(1, 2, 3),
    ),
    "H60 pools of no image": (lambda m, x: m.F.max_pool2d(x, 2) + m.F.avg_pool2d(x, 2), np.zeros((0, 2, 4, 4))),
    "H60 linear of no row": (lambda m, x, w: m.F.linear(x, w), np.zeros((0, 3)), grid(0, 2, 3)),
    "H65 stride > kernel": (lambda m, x, w: m.F.conv2d(x, w, stride=3), grid(0, 1, 1, 5, 6), grid(0, 2, 1, 1, 2)),
    "H67 depthwise, multiplier 2": (
        lambda m, x, w: m.F.conv2d(x, w, groups=3),
        grid(0, 2, 3, 4, 5),
        grid(0, 6, 1, 2, 3),
    ),
    "H68 kernel = input, 1x1 stride 2": (
        lambda m, x, w, v: m.F.conv2d(m.F.conv2d(x, w), v, stride=2),
        grid(0, 2, 3, 4, 5),
        grid(0, 2, 3, 1, 1),
        grid(0, 1, 2, 4, 5),
    ),
    "H70 unbatched": (lambda m, x, w: m.F.conv2d(x, w, padding=1), grid(0, 3, 4, 5), grid(0, 2, 3, 2, 2)),
    "H80 all padding loses to -5": (lambda m, x: m.F.max_pool2d(x, 2, 2, 1), np.full((1, 1, 2, 2), -5.0)),
    "H81 all -inf": (lambda m, x: m.F.max_pool2d(x, 3, 2, 1), np.full((1, 1, 4, 4), -inf)),
    "H82 nan wins": (lambda m, x: m.F.max_pool2d(x, 2, 1), a([1, nan, 3], [4, 5, 2], [nan, 0, 9])[None, None]),
    "H85 ceil_mode drops a window in the padding": (
        lambda m, x: m.F.max_pool2d(x, 1, 2, 0, 1, True),
        grid(0, 1, 1, 3, 4),
    ),
    "H86 avg_pool2d ceil_mode divisor": (lambda m, x: m.F.avg_pool2d(x, 2, 2, 0, True), ONES),
    "H86 avg_pool2d ceil_mode padded": (lambda m, x: m.F.avg_pool2d(x, 3, 2, 1, True), np.ones((1, 2, 4, 6))),
    "H87 avg_pool2d without its padding": (lambda m, x: m.F.avg_pool2d(x, 3, 2, 1, True, False), np.ones((1, 1, 4, 6))),
    "H90 huge logits": (lambda m, x: m.F.softmax(x, 0) + m.F.log_softmax(x, 0)[0], a(1e4, 1e4 - 1, -1e4)),
    "H90 1e308 spread": (lambda m, x: m.F.log_softmax(x, 0), a(1e308, -1e308)),
    "H91 some -inf": (lambda m, x: m.F.softmax(x, 0), a(-inf, 0, 1)),
    "H92 0-d": (lambda m, x: m.F.softmax(x, 0), a(2)[0]),
    "H92 an axis of nothing": (lambda m, x: m.F.softmax(x, 1) + m.F.log_softmax(x, -1), np.zeros((2, 0))),
    "H94 hugely wrong": (lambda m, x, t: m.F.cross_entropy(x, t), a([1e4, -1e4]), np.array([1])),
    "H95 all ignored, mean": (lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([-100, -100])),
    "H95 all ignored, sum": (lambda m, x, t: m.F.cross_entropy(x, t, reduction="sum"), X, np.array([-100, -100])),
    "H95 all ignored, none": (lambda m, x, t: m.F.cross_entropy(x, t, reduction="none"), X, np.array([-100, -100])),
    "H96 nothing, sum": (
        lambda m, x, t: m.F.cross_entropy(x, t, reduction="sum"),
        np.zeros((0, 3)),
        np.zeros(0, np.int64),
    ),
    "H97 kept weights": (lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(1, 2, 3))), X, np.array([0, -100])),
    "H97 probabilities": (lambda m, x, p: m.F.cross_entropy(x, p, m.constant(a(1, 2, 3))), X, np.full((2, 3), 0.5)),
    "H99 a class is ignored": (lambda m, x, t: m.F.cross_entropy(x, t, ignore_index=2), X, LABELS),
    "H99 a class beyond is ignored": (lambda m, x, t: m.F.cross_entropy(x, t, ignore_index=255), X, np.array([255, 1])),
    "H99 -1 is ignored": (lambda m, x, t: m.F.nll_loss(x, t, ignore_index=-1), X, np.array([1, -1])),
    "H101 uint8": (lambda m, x, t: m.F.cross_entropy(x, t), X, LABELS.astype(np.uint8)),
    "H102 label_smoothing 1": (lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=1.0), X, LABELS),
    "H103 smoothing, ignore, weight": (
        lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(1, 2, 3)), ignore_index=1, label_smoothing=0.3),
        grid(0, 4, 3),
        np.array([0, 1, 2, 0]),
    ),
    "H105 -inf on the target": (lambda m, x, t: m.F.cross_entropy(x, t), a([-inf, 1]), np.array([0])),
    "H105 -inf off it, smoothed": (
        lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=0.1),
        a([-inf, 1]),
        np.array([1]),
    ),
    "H106 unbatched": (lambda m, x, t: m.F.cross_entropy(x, t) + m.F.nll_loss(x, t), a(1, 2, 3), np.array(1)),
    "H106 five extra axes": (
        lambda m, x, t: m.F.cross_entropy(x, t, reduction="none"),
        grid(0, 2, 3, 1, 2, 1, 2, 1),
        np.ones((2, 1, 2, 1, 2, 1), np.int64),
    ),
    "H108 sigmoid of 1e4": (lambda m, x: x.sigmoid() * x.tanh(), a(-1e4, 0, 1e4)),
    "H110 weights of 0": (lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(0, 1, 0))), X, LABELS),
}

# Where an infinity or a nan stands in the value or the gradient, a second gradient is only more of it.
FIRST_ORDER: dict[str, Any] = {
    "H10 sqrt at 0": (lambda m, x: x.sqrt(), a(0, 4)),
    "H12 fractional and negative powers at 0": (lambda m, x: x**0.5 + x**-1, a(0, 4)),
    "H12 0 ** y": (lambda m, x, y: x**y, a(0, 0, 0, 2), a(0, 1, 2, 0)),
    "H12 a negative base": (lambda m, x: x**0.5 + x**1.5, a(-1, 4)),
    "H12 a negative base, tensors": (lambda m, x, y: x**y, a(-1, -2), a(0.5, 2)),
    "H15 log": (lambda m, x: x.log(), a(0, -1, inf)),
    "H15 division": (lambda m, x, y: x / y, a(1, 0, -1), a(0, 0, 0)),
    "H37 logsumexp of infinities": (lambda m, x: x.logsumexp(1), a([-inf, -inf], [inf, 1], [-inf, 1])),
    "H72 nan in conv2d": (lambda m, x, w: m.F.conv2d(x, w), a([1, nan, 1, 1, 1])[None, None], np.ones((1, 1, 1, 2))),
    "H72 inf * 0 in conv2d": (lambda m, x, w: m.F.conv2d(x, w), a([inf, 1, 1])[None, None], a([0, 1])[None, None]),
    "H91 log_softmax with -inf": (lambda m, x: m.F.log_softmax(x, 0), a(-inf, 0, 1)),
    "H96 nothing, mean": (lambda m, x, t: m.F.cross_entropy(x, t), np.zeros((0, 3)), np.zeros(0, np.int64)),
    "H91 all -inf": (lambda m, x: m.F.softmax(x, 0), a(-inf, -inf)),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_and_two_gradients_of(name: str) -> None:
    f, *arrays = VALUES[name]
    with np.errstate(all="raise"):
        agree(f, *arrays, float32=False)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_values_and_gradients_of(name: str) -> None:
    f, *arrays = FIRST_ORDER[name]
    with np.errstate(all="raise"):
        agree(f, *arrays, order=1, float32=False)


# What both refuse, with our kind of error


def _number_of(m: Any, x: Any) -> Any:
    return float(x)


def _leaf(m: Any, x: Any) -> Any:
    return x.requires_grad_()


IMAGE, KERNEL = np.ones((1, 2, 3, 3)), np.ones((4, 2, 2, 2))
ERRORS: dict[str, Any] = {
    "H21 shapes that do not broadcast": (ValueError, lambda m, x, y: x + y, np.ones((2, 0)), np.ones((2, 3))),
    "H27 requires_grad on int": (TypeError, _leaf, np.array([1])),
    "H27 requires_grad on bool": (TypeError, _leaf, np.array([True])),
    "H28 mean of int": (TypeError, lambda m, x: x.mean(), np.array([1, 2])),
    "H28 var of int": (TypeError, lambda m, x: x.var(), np.array([1, 2])),
    "H30 -bool": (TypeError, lambda m, x: -x, np.array([True])),
    "H30 bool - bool": (TypeError, lambda m, x: x - x, np.array([True])),
    "H36 max of nothing": (ValueError, lambda m, x: x.max(), np.zeros(0)),
    "H36 max along nothing": (ValueError, lambda m, x: x.max(0), np.zeros((0, 3))),
    "H36 amin along nothing": (ValueError, lambda m, x: x.amin(0), np.zeros((0, 3))),
    "H36 argmax along nothing": (ValueError, lambda m, x: x.argmax(0), np.zeros((0, 3))),
    "H41 an axis twice": (ValueError, lambda m, x: x.sum((0, -2)), IMAGE[0, 0]),
    "H41 an axis out of range": (IndexError, lambda m, x: x.sum(2), IMAGE[0, 0]),
    "H42 permute with too few axes": (ValueError, lambda m, x: x.permute(0), IMAGE[0, 0]),
    "H43 reshape (-1, 0)": (ValueError, lambda m, x: x.reshape(-1, 0), np.zeros((0, 3))),
    "H43 reshape (-1, -1)": (ValueError, lambda m, x: x.reshape(-1, -1), np.zeros((2, 3))),
    "H44 an index out of range": (IndexError, lambda m, x: x[3], a(1, 2)),
    "H44 an integer array out of range": (IndexError, lambda m, x: x[m.constant(np.array([0, 2]))], a(1, 2)),
    "H44 a mask of another length": (IndexError, lambda m, x: x[m.constant(np.array([True]))], a(1, 2)),
    "H44 a float index": (IndexError, lambda m, x: x[m.constant(a(0, 1))], a(1, 2)),
    "H46 cat of an empty list": (ValueError, lambda m, x: m.cat([]), a(1)),
    "H46 stack of an empty list": (ValueError, lambda m, x: m.stack([]), a(1)),
    "H46 cat of shapes that differ": (ValueError, lambda m, x: m.cat([x, x[:1]], 1), IMAGE[0, 0]),
    "H46 stack of shapes that differ": (ValueError, lambda m, x: m.stack([x, x[:1]]), a(1, 2)),
    "H47 pad with three numbers": (ValueError, lambda m, x: m.F.pad(x, (1, 1, 1)), IMAGE),
    "H47 pad of more axes": (ValueError, lambda m, x: m.F.pad(x, (1, 1, 1, 1)), a(1)),
    "H48 inner lengths": (ValueError, lambda m, x: x @ x, np.ones((2, 3))),
    "H48 a 0-d operand": (ValueError, lambda m, x: x @ x, np.ones(())),
    "H50 bool of two": (ValueError, lambda m, x: bool(x), a(1, 2)),
    "H50 float of two": (ValueError, _number_of, a(1, 2)),
    "H50 len of 0-d": (TypeError, lambda m, x: len(x), np.ones(())),
    "H50 iter of 0-d": (TypeError, lambda m, x: iter(x), np.ones(())),
    "H62 no filters": (ValueError, lambda m, x: m.F.conv2d(x, m.constant(KERNEL[:0])), IMAGE),
    "H62 a kernel of nothing": (ValueError, lambda m, x: m.F.conv2d(x, m.constant(KERNEL[:, :, :0])), IMAGE),
    "H63 kernel > padded image": (ValueError, lambda m, x: m.F.conv2d(x, x, dilation=2), IMAGE),
    "H64 stride 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, stride=0), IMAGE, KERNEL),
    "H64 negative padding": (ValueError, lambda m, x, w: m.F.conv2d(x, w, padding=-1), IMAGE, KERNEL),
    "H64 dilation 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, dilation=0), IMAGE, KERNEL),
    "H64 groups 0": (ValueError, lambda m, x, w: m.F.conv2d(x, w, groups=0), IMAGE, KERNEL),
    "H64 groups that do not divide": (ValueError, lambda m, x, w: m.F.conv2d(x, w, groups=3), IMAGE, KERNEL),
    "H64 wrong channels": (ValueError, lambda m, x, w: m.F.conv2d(x, w[:, :1]), IMAGE, KERNEL),
    "H64 wrong rank": (ValueError, lambda m, x, w: m.F.conv2d(x[0, 0], w), IMAGE, KERNEL),
    "H64 wrong bias": (ValueError, lambda m, x, w: m.F.conv2d(x, w, m.constant(np.ones(3))), IMAGE, KERNEL),
    "H73 conv2d of two dtypes": (TypeError, lambda m, x, w: m.F.conv2d(x, w), IMAGE, KERNEL.astype(np.float32)),
    "H73 linear of two dtypes": (TypeError, lambda m, x, w: m.F.linear(x, w), IMAGE, np.ones((2, 3), np.float32)),
    "H73 matmul of two dtypes": (TypeError, lambda m, x, w: x @ w, IMAGE, np.ones((3, 3), np.float32)),
    "H74 conv2d of bool": (TypeError, lambda m, x: m.F.conv2d(x, x), np.ones((1, 1, 2, 2), np.bool_)),
    "H83 padding > kernel / 2": (ValueError, lambda m, x: m.F.max_pool2d(x, 2, padding=2), IMAGE),
    "H83 padding > kernel / 2 in avg": (ValueError, lambda m, x: m.F.avg_pool2d(x, 2, padding=2), IMAGE),
    "H83 a kernel of 0": (ValueError, lambda m, x: m.F.max_pool2d(x, 0), IMAGE),
    "H83 stride 0": (ValueError, lambda m, x: m.F.max_pool2d(x, 2, 0), IMAGE),
    "H83 an image of nothing": (ValueError, lambda m, x: m.F.max_pool2d(x, 1), np.ones((1, 2, 0, 3))),
    "H92 softmax over no such axis": (IndexError, lambda m, x: m.F.softmax(x, 2), X),
    "H100 label 3 of 3": (IndexError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([0, 3])),
    "H100 label -1": (IndexError, lambda m, x, t: m.F.nll_loss(x, t), X, np.array([0, -1])),
    "H101 bool labels": (TypeError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([True, False])),
    "H101 float labels": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t), X, a(0, 1)),
    "H101 labels (n, 1)": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([[0], [1]])),
    "H102 label_smoothing 1.5": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=1.5), X, LABELS),
    "H109 reduction typo": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t, reduction="typo"), X, LABELS),
    "H109 reduction typo in mse_loss": (ValueError, lambda m, x: m.F.mse_loss(x, x, reduction="typo"), X),
    "H111 one value per channel": (ValueError, lambda m, x: m.F.batch_norm(x, None, None, training=True), a([1, 2])),
    "H112 eps 0": (ValueError, lambda m, x: m.F.batch_norm(x, None, None, training=True, eps=0.0), X),
    "H118 p > 1": (ValueError, lambda m, x: m.F.dropout(x, 1.1), X),
    "H118 p < 0": (ValueError, lambda m, x: m.F.dropout(x, -0.1), X),
    "H131 a negative lr": (ValueError, lambda m, x: m.optim.SGD([_leaf(m, x)], lr=-1.0), X),
    "H131 nesterov alone": (ValueError, lambda m, x: m.optim.SGD([_leaf(m, x)], lr=1.0, nesterov=True), X),
    "H131 a beta of 1": (ValueError, lambda m, x: m.optim.Adam([_leaf(m, x)], betas=(1.0, 0.9)), X),
    "H131 a negative eps": (ValueError, lambda m, x: m.optim.AdamW([_leaf(m, x)], eps=-1.0), X),
    "H131 no parameters": (ValueError, lambda m, x: m.optim.Adam([]), X),
}


@pytest.mark.parametrize("name", ERRORS)
def test_both_refuse(name: str) -> None:
    kind, f, *arrays = ERRORS[name]
    assert issubclass(fails(f, *arrays)[0], kind)


# Numbers without gradients, and single precision


def test_H2_relu_keeps_nan() -> None:
    agree(lambda m, x: x.relu(), a(nan, 1), order=0)


def test_H29_uint8_wraps() -> None:
    agree(lambda m, x: x - 1 + x * 200, np.array([0, 2], np.uint8), order=0)


@pytest.mark.filterwarnings("ignore:var\\(\\)")
def test_H35_and_H40_variance_of_too_little_is_nan() -> None:
    agree(lambda m, x: x.var(), np.zeros(0), order=1)
    agree(lambda m, x: x.var(0), a([1, 2]), order=0)
    agree(lambda m, x: x.var(0, correction=0), a([1, 2]))


def test_H38_half_precision_sums_in_single() -> None:
    agree(lambda m, x: x.mean(), np.ones(70000, np.float16), order=0)
    agree(lambda m, x: x.sum(), np.ones(70000, np.float16), order=0)


def test_H93_half_precision_softmax_of_70000_classes() -> None:
    agree(lambda m, x: m.F.softmax(x, 0), np.zeros(70000, np.float16), order=0)
    agree(lambda m, x: m.F.log_softmax(x, 0), grid(0, 300).astype(np.float16), order=0, tolerance=2e-3)
    agree(lambda m, x: m.F.log_softmax(x, 0), a(65504, 0).astype(np.float16), order=0)


def test_H74_and_H84_integers_are_exact() -> None:
    x = np.arange(-30, 30).reshape(1, 2, 5, 6)
    agree(lambda m, x, w: m.F.conv2d(x, w, padding=1), x, np.arange(16).reshape(2, 2, 2, 2), order=0)
    agree(lambda m, x: m.F.max_pool2d(x, 3, 2, 1), x, order=0)


def test_H115_batch_norm_of_a_large_offset_in_single_precision() -> None:
    x = (1e4 + np.arange(4))[:, None]
    agree(lambda m, x: m.F.batch_norm(x, None, None, training=True), x, order=0)
    agree(lambda m, x: x.var(), x, order=0)


# Where PyTorch's answer is not ours: its answer, and the better one


def test_H31_big_endian_data_is_converted() -> None:
    data = np.array([1.0, 2.0], ">f8")
    with pytest.raises(ValueError, match="byte order"):
        torch.tensor(data)
    assert tg.Tensor(data).dtype == np.float64
    np.testing.assert_array_equal(values(tg.Tensor(data)), data)


def test_H61_no_input_channels_are_refused() -> None:
    arrays = [m.constant(np.zeros(shape)) for m in BOTH for shape in ((1, 0, 4, 4), (3, 0, 3, 3))]
    assert THEIRS.F.conv2d(*arrays[2:]).shape[1] != 3
    with pytest.raises(ValueError, match="channels"):
        OURS.F.conv2d(*arrays[:2])


def test_H69_same_padding_at_a_stride_halves_the_image() -> None:
    x, w = grid(0, 1, 1, 5, 6), grid(1, 1, 1, 3, 2)
    with pytest.raises(RuntimeError, match="strided"):
        THEIRS.F.conv2d(THEIRS.constant(x), THEIRS.constant(w), stride=2, padding="same")
    assert OURS.F.conv2d(OURS.constant(x), OURS.constant(w), stride=2, padding="same").shape == (1, 1, 3, 3)


def test_H98_an_ignored_row_of_nan_has_gradient_0() -> None:
    x = a([1, 2, 3], [nan, nan, nan])
    ours, theirs = (derivatives(m, lambda m, x, t: m.F.cross_entropy(x, t), [x, np.array([0, -100])], 1) for m in BOTH)
    compare([ours[0], ours[1][0]], [theirs[0], theirs[1][0]], 1e-12)
    assert np.isnan(theirs[1][1]).all()
    np.testing.assert_array_equal(ours[1][1], 0)


def test_H101_labels_of_every_integer_dtype() -> None:
    for dtype in ("uint8", "int8", "int16", "int32"):
        loss = OURS.F.cross_entropy(OURS.constant(X), OURS.constant(LABELS.astype(dtype)))
        assert values(loss) == pytest.approx(
            values(THEIRS.F.cross_entropy(THEIRS.constant(X), THEIRS.constant(LABELS)))
        )


def test_H102_negative_label_smoothing_is_refused() -> None:
    THEIRS.F.cross_entropy(THEIRS.constant(X), THEIRS.constant(LABELS), label_smoothing=-0.1)
    with pytest.raises(ValueError, match="label_smoothing"):
        OURS.F.cross_entropy(OURS.constant(X), OURS.constant(LABELS), label_smoothing=-0.1)


def test_H104_probability_0_at_a_logit_of_minus_infinity_counts_0() -> None:
    x, p = a([-inf, 1]), a([0, 1])
    assert np.isnan(values(THEIRS.F.cross_entropy(THEIRS.constant(x), THEIRS.constant(p))))
    agree(lambda m, x, p: m.F.cross_entropy(x, p), a([0, 0]), a([2, 2]))  # and nothing is renormalised
    assert values(OURS.F.cross_entropy(OURS.constant(x), OURS.constant(p))) == 0


def test_H118_dropout_with_p_1_gives_zeros_for_infinities_too() -> None:
    x = a(inf, nan, 1)
    assert np.isnan(values(THEIRS.F.dropout(THEIRS.constant(x), 1.0))).any()
    np.testing.assert_array_equal(values(OURS.F.dropout(OURS.constant(x), 1.0)), 0)


def test_H122_a_write_through_data_between_forward_and_backward_is_named() -> None:
    gradients = []
    for m in BOTH:
        x = m.leaf(a(1, 2))
        loss = (x * x).sum()
        x.data[0] = 100.0
        if m is OURS:
            with pytest.raises(RuntimeError, match="in place"):
                loss.backward()
        else:
            loss.backward()
            gradients = values(x.grad).tolist()
    assert gradients == [200, 4]


def test_H135_a_state_dict_that_does_not_fit_changes_nothing() -> None:
    changed = []
    for m in BOTH:
        net = m.nn.Sequential(m.nn.Linear(2, 2), m.nn.Linear(2, 1))
        state = {name: m.constant(np.full(tuple(t.shape), 9, np.float32)) for name, t in net.state_dict().items()}
        state["1.weight"] = m.constant(np.zeros((3, 3), np.float32))
        with pytest.raises((ValueError, RuntimeError, KeyError), match=r"1\.weight"):
            net.load_state_dict(state)
        changed.append([bool((values(t) == 9).all()) for t in net.state_dict().values()])
    assert not any(changed[0])
    assert any(changed[1])
