"""Figures of classification, against counting label by label."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import Tensor
from tinygrad_cnn.metrics import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Mean,
    accuracy,
    confusion_matrix,
    precision_recall_f1,
    top_k_accuracy,
)


def counted_hits(logits, labels, k, ignore_index):
    """(hits, labels that count), one label at a time: sorted by falling score, then by rising class."""
    hits = counted = 0
    rows = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]).tolist()
    for scores, label in zip(rows, labels.reshape(-1).tolist(), strict=True):
        if label != ignore_index:
            order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
            hits += label in order[:k]
            counted += 1
    return hits, counted


@st.composite
def problems(draw):
    """Logits with many ties, labels, a label to ignore."""
    c = draw(st.integers(1, 5))
    shape = (draw(st.integers(1, 5)), *draw(st.sampled_from([(), (2,), (3, 2)])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.integers(-2, 3, (shape[0], c, *shape[1:])).astype(draw(st.sampled_from(["f4", "f8", "i8"])))
    if draw(st.booleans()) and logits.dtype.kind == "f":
        logits[rng.random(logits.shape) < 0.2] = np.inf
    ignore_index = draw(st.sampled_from([None, -100, 0]))
    labels = rng.integers(0, c, shape)
    if ignore_index == -100:
        labels[rng.random(shape) < 0.3] = -100
    return logits, labels, c, ignore_index


@given(problems(), st.data())
def test_accuracies_are_shares_of_counted_hits(problem, data):
    logits, labels, c, ignore_index = problem
    k = data.draw(st.integers(1, c))
    hits, counted = counted_hits(logits, labels, k, ignore_index)
    running = Accuracy(k, ignore_index)
    cut = data.draw(st.integers(0, len(labels)))
    for part in (slice(None, cut), slice(cut, None)):
        running.update(logits[part], Tensor(labels[part]))
    if not counted:
        for compute in (running.compute, lambda: top_k_accuracy(logits, labels, k, ignore_index)):
            with pytest.raises(ValueError, match="no labels are left to count; at least one that is not ignored"):
                compute()
        return
    assert top_k_accuracy(Tensor(logits), labels, k, ignore_index) == hits / counted
    assert running.compute() == hits / counted
    if k == 1:
        assert accuracy(logits, labels, ignore_index) == hits / counted
    running.reset()
    with pytest.raises(ValueError, match="no labels are left"):
        running.compute()


def test_of_equal_scores_the_first_class_counts():
    assert accuracy([[1.0, 1.0]], [0]) == 1.0
    assert accuracy([[1.0, 1.0]], [1]) == 0.0
    assert top_k_accuracy([[0.0, 1.0, 1.0, 1.0]], [3], k=2) == 0.0
    assert top_k_accuracy([[0.0, 1.0, 1.0, 1.0]], [2], k=2) == 1.0


@given(problems())
def test_a_confusion_matrix_counts_pairs(problem):
    logits, labels, c, ignore_index = problem
    guesses = logits.argmax(1)
    wanted = np.zeros((c, c), int)
    for guess, label in zip(guesses.reshape(-1), labels.reshape(-1), strict=True):
        if label != ignore_index:
            wanted[label, guess] += 1
    found = confusion_matrix(Tensor(guesses), labels, c, ignore_index)
    assert found.dtype == np.int64
    assert found.tolist() == wanted.tolist()
    running = ConfusionMatrix(c, ignore_index)
    for i in range(len(labels)):
        scores = logits[i : i + 1] if logits.dtype.kind == "f" and i % 2 else guesses[i : i + 1]
        running.update(scores, labels[i : i + 1])
    assert running.compute().tolist() == wanted.tolist()
    running.compute()[...] = 7  # a copy
    assert running.compute().tolist() == wanted.tolist()


def test_rows_are_true_and_columns_predicted():
    assert confusion_matrix([1, 1, 2], [0, 1, 1], 3).tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
    small = confusion_matrix(np.array([200, 3], np.uint8), np.array([3, 200], np.int16), 201)  # 200 * 201 is no uint8
    assert small[3, 200] == small[200, 3] == 1


matrices = st.integers(1, 5).flatmap(
    lambda c: st.lists(st.lists(st.integers(0, 3), min_size=c, max_size=c), min_size=c, max_size=c)
)


@given(matrices, st.sampled_from([0.0, 1.0, 0.25, math.nan]))
def test_precision_recall_and_f1_follow_from_single_labels(rows, zero):
    pairs = [(i, j) for i, row in enumerate(rows) for j, n in enumerate(row) for _ in range(n)]
    if not pairs:
        with pytest.raises(ValueError, match="the confusion matrix counts no labels; at least one is needed"):
            precision_recall_f1(rows)
        return
    each, support = [], []
    for k in range(len(rows)):
        tp = sum(t == k and p == k for t, p in pairs)
        fp = sum(t != k and p == k for t, p in pairs)
        fn = sum(t == k and p != k for t, p in pairs)
        ratios = ((tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn))
        each.append([top / bottom if bottom else zero for top, bottom in ratios])
        support.append(sum(t == k for t, _ in pairs))
    np.testing.assert_allclose(np.array(precision_recall_f1(rows, zero_division=zero)).T, each, rtol=1e-14)
    for average, weights in (("macro", [1] * len(rows)), ("weighted", support)):
        found = precision_recall_f1(rows, average, zero)
        for name, column in zip(found._fields, zip(*each, strict=True), strict=True):
            known = [(v, w) for v, w in zip(column, weights, strict=True) if not math.isnan(v)]
            total = sum(w for _, w in known)
            wanted = sum(v * w for v, w in known) / total if total else math.nan
            np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-13, err_msg=f"{average} {name}")
            assert type(getattr(found, name)) is float
    share = sum(t == p for t, p in pairs) / len(pairs)
    assert precision_recall_f1(rows, "micro", zero) == (share, share, share)


def test_f1_adds_up_over_batches():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 3, 2)), rng.integers(0, 3, (9, 2))
    for average in ("macro", "micro", "weighted"):
        running = F1(3, average)
        for part in (slice(0, 4), slice(4, 9)):
            running.update(logits[part], labels[part])
        whole = precision_recall_f1(confusion_matrix(logits.argmax(1), labels, 3), average).f1
        assert running.compute() == whole


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 4)), max_size=6))
def test_a_mean_weighs_its_numbers(numbers):
    mean = Mean()
    for value, weight in numbers:
        mean.update(Tensor(float(value)) if value % 2 else value, weight)
    total = sum(weight for _, weight in numbers)
    if total:
        assert mean.compute() == sum(value * weight for value, weight in numbers) / total
    else:
        with pytest.raises(ValueError, match="Mean: no numbers were counted; call update first"):
            mean.compute()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: accuracy([[1.0, 2.0]], [2]), ValueError, "accuracy: 1 of the labels are out of range, the first is 2; "
         "0 to 1 is needed for 2 classes; ignore_index= leaves a label out"),
        (lambda: accuracy([[1.0, 2.0]], [-100]), ValueError, "the first is -100"),
        (lambda: accuracy([[1.0, 2.0]], [1.0]), TypeError, r"labels are float64; whole numbers are needed; "
         r"convert them with .long\(\)"),
        (lambda: accuracy([["a", "b"]], [1]), TypeError, "accuracy: logits are <U1; numbers are needed"),
        (lambda: accuracy([[1.0, math.nan]], [1]), ValueError, "1 of the logits are nan, which has no place in"),
        (lambda: accuracy([1.0, 2.0], [1, 0]), ValueError, r"logits have shape \(2,\), labels \(2,\); \(n, c, ...\)"),
        (lambda: accuracy([[1.0, 2.0]], [[1, 0]]), ValueError, r"logits have shape \(1, 2\), labels \(1, 2\)"),
        (lambda: accuracy(np.zeros((0, 2)), []), ValueError, "accuracy: no labels are left to count"),
        (lambda: top_k_accuracy([[1.0, 2.0]], [1]), ValueError, "k=5 of 2 classes; a number from 1 to 2 is needed"),
        (lambda: top_k_accuracy([[1.0, 2.0]], [1], 0), ValueError, "k=0; a whole number >= 1 is needed"),
        (lambda: Accuracy(1.5), TypeError, "Accuracy: k=1.5; a whole number >= 1 is needed"),
        (lambda: confusion_matrix([[0.1, 0.9]], [1], 2), TypeError, "predictions are float64; whole numbers are "
         r"needed; give logits.argmax\(1\)"),
        (lambda: confusion_matrix([0, 1], [1], 2), ValueError, r"predictions have shape \(2,\), labels \(1,\); they"),
        (lambda: confusion_matrix([2], [1], 2), ValueError, "1 of the predictions are out of range, the first is 2"),
        (lambda: confusion_matrix([1], [1], 0), ValueError, "num_classes=0; a whole number >= 1 is needed"),
        (lambda: precision_recall_f1([[1, 2]]), ValueError, r"is int64 \(1, 2\); whole numbers of shape \(c, c\)"),
        (lambda: precision_recall_f1([[0.5]]), ValueError, "is float64"),
        (lambda: precision_recall_f1([[-1]]), ValueError, "the confusion matrix holds -1; counts are not negative"),
        (lambda: precision_recall_f1([[1]], "mean"), ValueError, "average='mean'; None, 'macro', 'micro' or"),
        (lambda: precision_recall_f1([[1]], zero_division=2), ValueError, "zero_division=2; a number from 0 to 1 or"),
        (lambda: F1(3, None), ValueError, "F1: average=None; 'macro', 'micro' or 'weighted' is needed"),
        (lambda: Mean().update(1.0, -1), ValueError, "Mean: weight=-1; a number >= 0 is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_batch_that_is_refused_counts_nothing():
    running, matrix = Accuracy(), ConfusionMatrix(2)
    for metric in (running, matrix):
        with pytest.raises(ValueError, match="out of range"):
            metric.update([[1.0, 2.0], [3.0, 4.0]], [1, 2])
    assert (running.right, running.counted, matrix.compute().sum()) == (0, 0, 0)


LOGITS, LABELS = np.array([[0.1, 2.0, 0.3], [1.0, 0.2, 0.5], [0.4, 0.6, 0.5]]), np.array([1, 2, 2])


@pytest.mark.parametrize(
    "make",
    [Mean, Accuracy, lambda: Accuracy(2, ignore_index=1), lambda: ConfusionMatrix(3), lambda: F1(3, "weighted")],
)
def test_metrics_that_are_merged_give_what_one_gives(make):
    whole, first, second = make(), make(), make()
    for metric, some in ((whole, slice(None)), (first, slice(2)), (second, slice(2, None))):
        if isinstance(metric, Mean):
            metric.update(LABELS[some].mean(), len(LABELS[some]))
        else:
            metric.update(LOGITS[some], LABELS[some])
    before = np.array(second.compute())
    assert first.merge(second) is None
    assert np.allclose(first.compute(), whole.compute(), rtol=1e-15)
    assert np.array_equal(second.compute(), before)


def test_a_confusion_matrix_and_an_f1_count_the_same_and_are_merged():
    matrix, f1 = ConfusionMatrix(3), F1(3, "micro")
    for metric in (matrix, f1):
        metric.update(LOGITS, LABELS)
    matrix.merge(f1)
    f1.merge(matrix)
    assert matrix.compute().tolist() == (2 * confusion_matrix(LOGITS.argmax(1), LABELS, 3)).tolist()
    assert f1.matrix.tolist() == (3 * confusion_matrix(LOGITS.argmax(1), LABELS, 3)).tolist()


@pytest.mark.parametrize(
    ("metric", "other", "error", "message"),
    [
        (ConfusionMatrix(3), ConfusionMatrix(1), ValueError,
         "ConfusionMatrix: merge was given one with num_classes=1, this one has num_classes=3; what they counted "
         "cannot be put together; make both alike"),
        (ConfusionMatrix(3), ConfusionMatrix(2), ValueError, "ConfusionMatrix: merge was given one with num_classes=2"),
        (ConfusionMatrix(3), ConfusionMatrix(3, 0), ValueError,
         "ConfusionMatrix: merge was given one with ignore_index=0, this one has ignore_index=None"),
        (F1(3), F1(4), ValueError, "F1: merge was given one with num_classes=4, this one has num_classes=3"),
        (F1(3), Accuracy(), TypeError, "F1: merge was given a Accuracy; a ConfusionMatrix is needed"),
        (Accuracy(1), Accuracy(2), ValueError, "Accuracy: merge was given one with k=2, this one has k=1; what"),
        (Accuracy(2), Accuracy(2, -1), ValueError, "Accuracy: merge was given one with ignore_index=-1, this one has"),
        (Accuracy(1), Mean(), TypeError, "Accuracy: merge was given a Mean; a Accuracy is needed"),
        (Mean(), 3.0, TypeError, "Mean: merge was given a float; a Mean is needed"),
    ],
)  # fmt: skip
def test_metrics_that_count_otherwise_are_not_merged(metric, other, error, message):
    def counted(one):
        return {name: np.array(value).tolist() for name, value in vars(one).items()}

    for one in (metric, other):
        if isinstance(one, Mean):
            one.update(2.5, 3)
        elif isinstance(one, (Accuracy, ConfusionMatrix)):
            one.update(np.zeros((1, 2)) if isinstance(one, Accuracy) else np.array([0]), np.array([0]))
    before = counted(metric)
    assert before
    with pytest.raises(error, match=message):
        metric.merge(other)
    assert counted(metric) == before
