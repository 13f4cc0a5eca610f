"""Figures of classification, as numbers and arrays: at once, and added up over batches.

Scores are (n c) or (n c d1 ...), labels (n) or (n d1 ...) whole numbers from 0 to c - 1, as in cross_entropy. Tensors
and arrays are taken alike. Of equal scores the one of the first class counts as the higher.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .graph import Array, Tensor
from .shapes import whole

__all__ = [
    "Accuracy",
    "ConfusionMatrix",
    "F1",
    "Mean",
    "PrecisionRecallF1",
    "accuracy",
    "confusion_matrix",
    "precision_recall_f1",
    "top_k_accuracy",
]

Average = Literal["macro", "micro", "weighted"]


def accuracy(logits: Any, labels: Any, ignore_index: int | None = None) -> float:
    """The share of labels whose class has the highest score.

    (n c ...), (n ...) -> a float from 0 to 1; of equal scores the first class counts

    Labels that are ignore_index do not count. Raises ValueError for labels out of range, nan scores, or no labels.
    """
    right, counted = _hits("accuracy", logits, labels, 1, ignore_index)
    return _share("accuracy", right, counted)


def top_k_accuracy(logits: Any, labels: Any, k: int = 5, ignore_index: int | None = None) -> float:
    """The share of labels whose class is among those of the k highest scores.

    (n c ...), (n ...) -> a float from 0 to 1; of equal scores that of the first class is higher

    Raises ValueError unless 1 <= k <= c, and as accuracy does.
    """
    right, counted = _hits("top_k_accuracy", logits, labels, k, ignore_index)
    return _share("top_k_accuracy", right, counted)


def confusion_matrix(
    predictions: Any, labels: Any, num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """How often class j was predicted where i was right: rows are true classes, columns predicted ones.

    whole numbers of one shape, as `logits.argmax(1)` and labels -> (c c) int64; all zeros of no labels

    Labels that are ignore_index do not count. Raises ValueError for classes out of range or shapes that differ.
    """
    name = "confusion_matrix"
    c = whole(name, "num_classes", num_classes, 1)
    truth = _classes(name, "labels", labels)
    guesses = _classes(name, "predictions", predictions)
    if guesses.shape != truth.shape:
        raise ValueError(
            f"{name}: predictions have shape {guesses.shape}, labels {truth.shape}; they must be equal; "
            "for scores give logits.argmax(1)"
        )
    if ignore_index is not None:
        counted = truth != ignore_index
        truth, guesses = truth[counted], guesses[counted]
    _check_range(name, "labels", truth, c)
    _check_range(name, "predictions", guesses, c)
    pairs = truth.astype(np.int64).ravel() * c + guesses.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=c * c).reshape(c, c).astype(np.int64)


class PrecisionRecallF1(NamedTuple):
    """Floats, or with average=None arrays of a number per class."""

    precision: Any
    recall: Any
    f1: Any


def precision_recall_f1(
    confusion: Any, average: Average | None = None, zero_division: float = 0.0
) -> PrecisionRecallF1:
    """precision = tp / (tp + fp), recall = tp / (tp + fn), f1 = 2 tp / (2 tp + fp + fn), from a confusion matrix.

    (c c), rows true -> three arrays of (c), or three floats

    average: None gives a number per class; "macro" their mean, each class alike, also those that never occur;
    "weighted" their mean by how often the class is true; "micro" adds up tp, fp and fn first, and all three are the
    accuracy. zero_division: the number where a denominator is 0; nan leaves the class out of the means.

    Raises ValueError if the matrix is not square, has negative or broken counts, or counts nothing.
    """
    name = "precision_recall_f1"
    matrix = _confusion(name, confusion)
    if average not in (None, "macro", "micro", "weighted"):
        raise ValueError(f"{name}: average={average!r}; None, 'macro', 'micro' or 'weighted' is needed")
    if not (math.isnan(zero_division) or 0 <= zero_division <= 1):
        raise ValueError(f"{name}: zero_division={zero_division!r}; a number from 0 to 1 or nan is needed")
    right, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    if average == "micro":
        share = float(right.sum() / matrix.sum())
        return PrecisionRecallF1(share, share, share)
    each = [
        np.divide(top, bottom, out=np.full(len(matrix), float(zero_division)), where=bottom != 0)
        for top, bottom in ((right, predicted), (right, support), (2 * right, predicted + support))
    ]
    if average is None:
        return PrecisionRecallF1(*each)
    weights = support if average == "weighted" else np.ones(len(matrix), np.int64)
    return PrecisionRecallF1(*(_mean(values, weights) for values in each))


class Mean:
    """The mean of numbers that come with weights: update(loss, len(labels)), then compute()."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all numbers."""
        self.total = self.weight = 0.0

    def update(self, value: Any, weight: float = 1.0) -> None:
        """Take a number, a float or a Tensor of one, that stands for `weight` of them."""
        if not weight >= 0:
            raise ValueError(f"Mean: weight={weight!r}; a number >= 0 is needed")
        self.total += float(_array(value)) * weight if weight else 0.0
        self.weight += weight

    def merge(self, other: Mean) -> None:
        """Take the numbers of another one too. Raises TypeError for what is no Mean."""
        _check_alike(self, other, Mean)
        self.total += other.total
        self.weight += other.weight

    def compute(self) -> float:
        """sum(weight * value) / sum(weight). Raises ValueError of no numbers."""
        if not self.weight:
            raise ValueError("Mean: no numbers were counted; call update first")
        return self.total / self.weight


class Accuracy:
    """`accuracy`, or with k > 1 `top_k_accuracy`, of all labels of all batches: update(logits, labels), compute()."""

    def __init__(self, k: int = 1, ignore_index: int | None = None) -> None:
        self.k, self.ignore_index = whole("Accuracy", "k", k, 1), ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all labels."""
        self.right = self.counted = 0

    def update(self, logits: Any, labels: Any) -> None:
        """Count a batch."""
        right, counted = _hits("Accuracy", logits, labels, self.k, self.ignore_index)
        self.right += right
        self.counted += counted

    def merge(self, other: Accuracy) -> None:
        """Count the labels of another one too, made with the same k and ignore_index.

        Raises TypeError for what is no Accuracy, and ValueError for one made otherwise; nothing is changed.
        """
        _check_alike(self, other, Accuracy, "k", "ignore_index")
        self.right += other.right
        self.counted += other.counted

    def compute(self) -> float:
        """The share of hits. Raises ValueError of no labels."""
        return _share("Accuracy", self.right, self.counted)


class ConfusionMatrix:
    """`confusion_matrix` of all batches: update(logits or predictions, labels), compute() -> (c c) int64.

    Floats (n c ...) are scores, of which the highest decides; whole numbers (n ...) are predicted classes.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes = whole(type(self).__name__, "num_classes", num_classes, 1)
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all labels."""
        self.matrix = np.zeros((self.num_classes, self.num_classes), np.int64)

    def update(self, predictions: Any, labels: Any) -> None:
        """Count a batch."""
        array = _array(predictions)
        if array.dtype.kind == "f":
            array = _scores(type(self).__name__, array, _array(labels)).argmax(1)
        self.matrix += confusion_matrix(array, labels, self.num_classes, self.ignore_index)

    def merge(self, other: ConfusionMatrix) -> None:
        """Count the labels of another one too, made with the same num_classes and ignore_index.

        Raises TypeError for what is no ConfusionMatrix, and ValueError for one made otherwise; nothing is changed.
        """
        _check_alike(self, other, ConfusionMatrix, "num_classes", "ignore_index")
        self.matrix += other.matrix

    def compute(self) -> Any:
        """The matrix, copied."""
        return self.matrix.copy()


class F1(ConfusionMatrix):
    """The averaged f1 of `precision_recall_f1` over all labels of all batches, as a number for `fit`."""

    def __init__(
        self,
        num_classes: int,
        average: Average = "macro",
        zero_division: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(num_classes, ignore_index)
        if average not in ("macro", "micro", "weighted"):
            raise ValueError(f"F1: average={average!r}; 'macro', 'micro' or 'weighted' is needed")
        self.average, self.zero_division = average, zero_division

    def compute(self) -> float:
        """The figure. Raises ValueError of no labels."""
        return float(precision_recall_f1(self.matrix, self.average, self.zero_division).f1)


def _check_alike(metric: Any, other: Any, kind: type[Any], *options: str) -> None:
    """Refuse to merge what was counted otherwise."""
    name = type(metric).__name__
    if not isinstance(other, kind):
        raise TypeError(f"{name}: merge was given a {type(other).__name__}; a {kind.__name__} is needed")
    for option in options:
        own, theirs = getattr(metric, option), getattr(other, option)
        if own != theirs:
            raise ValueError(
                f"{name}: merge was given one with {option}={theirs}, this one has {option}={own}; what they counted "
                "cannot be put together; make both alike"
            )


def _hits(name: str, logits: Any, labels: Any, k: int, ignore_index: int | None) -> tuple[int, int]:
    """How many labels are among the k highest scores, and how many count."""
    truth = _classes(name, "labels", labels)
    scores = _scores(name, _array(logits), truth)
    c = scores.shape[1]
    if whole(name, "k", k, 1) > c:
        raise ValueError(f"{name}: k={k} of {c} classes; a number from 1 to {c} is needed")
    scores, truth = np.moveaxis(scores, 1, -1).reshape(-1, c), truth.reshape(-1)
    if ignore_index is not None:
        counted = truth != ignore_index
        scores, truth = scores[counted], truth[counted]
    _check_range(name, "labels", truth, c)
    own = scores[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(c) < truth[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return int((rank < k).sum()), len(truth)


def _share(name: str, right: int, counted: int) -> float:
    if not counted:
        raise ValueError(f"{name}: no labels are left to count; at least one that is not ignored is needed")
    return right / counted


def _array(value: Any) -> Array:
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def _scores(name: str, scores: Array, labels: Array) -> Array:
    """The scores, checked against the labels."""
    if scores.dtype.kind not in "biuf":
        raise TypeError(f"{name}: logits are {scores.dtype}; numbers are needed")
    if scores.ndim < 2 or scores.shape[:1] + scores.shape[2:] != labels.shape or not scores.shape[1]:
        raise ValueError(
            f"{name}: logits have shape {scores.shape}, labels {labels.shape}; (n, c, ...) and (n, ...) are needed"
        )
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        raise ValueError(f"{name}: {int(np.isnan(scores).sum())} of the logits are nan, which has no place in an order")
    return scores


def _classes(name: str, what: str, values: Any) -> Array:
    array = _array(values)
    if array.dtype.kind not in "iu" and not (array.size == 0 and not isinstance(values, (np.ndarray, Tensor))):
        remedy = "; give logits.argmax(1)" if what == "predictions" else "; convert them with .long()"
        raise TypeError(f"{name}: {what} are {array.dtype}; whole numbers are needed{remedy}")
    return array.astype(np.int64) if array.size == 0 else array


def _check_range(name: str, what: str, classes: Array, c: int) -> None:
    if classes.size and (int(classes.min()) < 0 or int(classes.max()) >= c):
        wrong = classes[(classes < 0) | (classes >= c)]
        raise ValueError(
            f"{name}: {len(wrong)} of the {what} are out of range, the first is {wrong.ravel()[0]}; "
            f"0 to {c - 1} is needed for {c} classes"
            + ("; ignore_index= leaves a label out" if what == "labels" else "")
        )


def _confusion(name: str, confusion: Any) -> NDArray[np.int64]:
    matrix = _array(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: the confusion matrix is {matrix.dtype} {matrix.shape}; whole numbers of shape (c, c) are needed, "
            "as confusion_matrix gives"
        )
    if matrix.size and matrix.min() < 0:
        raise ValueError(f"{name}: the confusion matrix holds {matrix.min()}; counts are not negative")
    if not matrix.sum():
        raise ValueError(f"{name}: the confusion matrix counts no labels; at least one is needed")
    return matrix.astype(np.int64)


def _mean(values: Array, weights: Array) -> float:
    """The weighted mean of what is not nan; nan if nothing is left."""
    known = ~np.isnan(values)
    total = weights[known].sum()
    return float((values[known] * weights[known]).sum() / total) if total else math.nan
