"""Softmax and losses: H90 to H110."""

import numpy as np
from libraries import a

from hard_cases.asking import Question, better, drawn, once, plain, refused, twice

inf, nan = np.inf, np.nan

X = a([1, 2, 3], [0, 1, -1])
LABELS = np.array([0, 2])
SOFTMAX = np.exp(X[0]) / np.exp(X[0]).sum()


QUESTIONS: dict[str, Question] = {
    **twice(
        {
            "H90 huge logits": (lambda m, x: m.F.softmax(x, 0) + m.F.log_softmax(x, 0)[0], a(1e4, 1e4 - 1, -1e4)),
            "H90 1e308 spread": (lambda m, x: m.F.log_softmax(x, 0), a(1e308, -1e308)),
            "H91 some -inf": (lambda m, x: m.F.softmax(x, 0), a(-inf, 0, 1)),
            "H92 0-d": (lambda m, x: m.F.softmax(x, 0), a(2)[0]),
            "H92 an axis of nothing": (lambda m, x: m.F.softmax(x, 1) + m.F.log_softmax(x, -1), np.zeros((2, 0))),
            "H94 hugely wrong": (lambda m, x, t: m.F.cross_entropy(x, t), a([1e4, -1e4]), np.array([1])),
            "H95 all ignored, mean": (lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([-100, -100])),
            "H95 all ignored, sum": (
                lambda m, x, t: m.F.cross_entropy(x, t, reduction="sum"),
                X,
                np.array([-100, -100]),
            ),
            "H95 all ignored, none": (
                lambda m, x, t: m.F.cross_entropy(x, t, reduction="none"),
                X,
                np.array([-100, -100]),
            ),
            "H96 nothing, sum": (
                lambda m, x, t: m.F.cross_entropy(x, t, reduction="sum"),
                np.zeros((0, 3)),
                np.zeros(0, np.int64),
            ),
            "H97 kept weights": (
                lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(1, 2, 3))),
                X,
                np.array([0, -100]),
            ),
            "H97 probabilities": (
                lambda m, x, p: m.F.cross_entropy(x, p, m.constant(a(1, 2, 3))),
                X,
                np.full((2, 3), 0.5),
            ),
            "H99 a class is ignored": (lambda m, x, t: m.F.cross_entropy(x, t, ignore_index=2), X, LABELS),
            "H99 a class beyond is ignored": (
                lambda m, x, t: m.F.cross_entropy(x, t, ignore_index=255),
                X,
                np.array([255, 1]),
            ),
            "H99 -1 is ignored": (lambda m, x, t: m.F.nll_loss(x, t, ignore_index=-1), X, np.array([1, -1])),
            "H101 uint8": (lambda m, x, t: m.F.cross_entropy(x, t), X, LABELS.astype(np.uint8)),
            "H102 label_smoothing 1": (lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=1.0), X, LABELS),
            "H102 label_smoothing 0 and 0.3": (
                lambda m, x, t: (
                    m.F.cross_entropy(x, t, label_smoothing=0.0) * m.F.cross_entropy(x, t, label_smoothing=0.3)
                ),
                X,
                LABELS,
            ),
            "H103 smoothing, ignore, weight": (
                lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(1, 2, 3)), ignore_index=1, label_smoothing=0.3),
                drawn(0, 4, 3),
                np.array([0, 1, 2, 0]),
            ),
            "H104 probabilities that do not sum to 1": (lambda m, x, p: m.F.cross_entropy(x, p), a([0, 0]), a([2, 2])),
            "H105 -inf on the target": (lambda m, x, t: m.F.cross_entropy(x, t), a([-inf, 1]), np.array([0])),
            "H105 -inf off it, smoothed": (
                lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=0.1),
                a([-inf, 1]),
                np.array([1]),
            ),
            "H106 unbatched": (lambda m, x, t: m.F.cross_entropy(x, t) + m.F.nll_loss(x, t), a(1, 2, 3), np.array(1)),
            "H106 five extra axes": (
                lambda m, x, t: m.F.cross_entropy(x, t, reduction="none"),
                drawn(0, 2, 3, 1, 2, 1, 2, 1),
                np.ones((2, 1, 2, 1, 2, 1), np.int64),
            ),
            "H108 sigmoid of 1e4": (lambda m, x: x.sigmoid() * x.tanh(), a(-1e4, 0, 1e4)),
            "H108 huge logits": (
                lambda m, x, y: m.F.binary_cross_entropy_with_logits(x, y, reduction="none"),
                a(1e4, -1e4, 1e4, -1e4),
                a(0, 1, 1, 0),
            ),
            "H110 weights of 0": (lambda m, x, t: m.F.cross_entropy(x, t, m.constant(a(0, 1, 0))), X, LABELS),
        }
    ),
    **once(
        {
            "H90 a column of 1e4": (lambda m, x: m.F.log_softmax(x, 1), a([1e4, 1e4], [0, -1e4]).astype(np.float32)),
            "H91 log_softmax with -inf": (lambda m, x: m.F.log_softmax(x, 0), a(-inf, 0, 1)),
            "H91 all -inf": (lambda m, x: m.F.softmax(x, 0), a(-inf, -inf)),
            "H91 log_softmax with +inf": (lambda m, x: m.F.log_softmax(x, 0), a(inf, 0, 1)),
            "H96 nothing, mean": (lambda m, x, t: m.F.cross_entropy(x, t), np.zeros((0, 3)), np.zeros(0, np.int64)),
            "H107 certain probabilities": (
                lambda m, x: m.F.binary_cross_entropy(x, m.constant(np.float32([1, 0, 1, 0])), reduction="none"),
                np.float32([0, 1, 1, 0]),
            ),
            "H108 softplus, logsigmoid, sigmoid of 1e4": (
                lambda m, x: m.F.softplus(x) + m.F.logsigmoid(x) * x.sigmoid(),
                a(-1e4, 0, 1e4),
            ),
        }
    ),
    **plain(
        {
            "H90 the largest half": (lambda m, x: m.F.log_softmax(x, 0), a(65504, 0).astype(np.float16)),
            "H93 70000 classes in half precision": (lambda m, x: m.F.softmax(x, 0)[:2], np.zeros(70000, np.float16)),
            "H95 all ignored: the gradient of the nan": (
                lambda m, x, t: [loss := m.F.cross_entropy(x, t), *m.grad(loss, x)],
                X,
                np.array([-100, -100]),
            ),
        }
    ),
    **refused(
        {
            "H92 softmax over no such axis": (IndexError, lambda m, x: m.F.softmax(x, 2), X),
            "H100 label 3 of 3": (IndexError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([0, 3])),
            "H100 label -1": (IndexError, lambda m, x, t: m.F.nll_loss(x, t), X, np.array([0, -1])),
            "H100 label 5 of 3": (IndexError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([5, 0])),
            "H100 label -1 of cross_entropy": (
                IndexError,
                lambda m, x, t: m.F.cross_entropy(x, t),
                X,
                np.array([-1, 0]),
            ),
            "H101 bool labels": (TypeError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([True, False])),
            "H101 float labels": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t), X, a(0, 1)),
            "H101 labels (n, 1)": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t), X, np.array([[0], [1]])),
            "H102 label_smoothing 1.5": (
                ValueError,
                lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=1.5),
                X,
                LABELS,
            ),
            "H107 a probability above 1": (ValueError, lambda m, x: m.F.binary_cross_entropy(x, x), a(0.5, 1.25)),
            "H107 a negative probability": (ValueError, lambda m, x: m.F.binary_cross_entropy(x, x), a(0.5, -0.25)),
            "H109 reduction typo": (ValueError, lambda m, x, t: m.F.cross_entropy(x, t, reduction="typo"), X, LABELS),
            "H109 reduction typo in mse_loss": (ValueError, lambda m, x: m.F.mse_loss(x, x, reduction="typo"), X),
            "H109 reduction typo in binary_cross_entropy": (
                ValueError,
                lambda m, x: m.F.binary_cross_entropy(x, x, reduction="typo"),
                a(0.5),
            ),
        }
    ),
    **better(
        {
            "H98 an ignored row of nan": (
                [np.log(np.exp(X[0] - X[0, 0]).sum()), np.array([SOFTMAX - np.eye(3)[0], np.zeros(3)])],
                lambda m, x, t: [loss := m.F.cross_entropy(x, t), *m.grad(loss, x)],
                np.array([X[0], [nan, nan, nan]]),
                np.array([0, -100]),
            ),
            "H101 labels of int32": (
                [np.log(3.0)],
                lambda m, x, t: m.F.cross_entropy(x, t),
                np.zeros((2, 3)),
                LABELS.astype(np.int32),
            ),
            "H102 a negative label_smoothing": (
                ValueError,
                lambda m, x, t: m.F.cross_entropy(x, t, label_smoothing=-0.1),
                X,
                LABELS,
            ),
            "H104 probability 0 at a logit of -inf": (
                [np.float64(0)],
                lambda m, x, p: m.F.cross_entropy(x, p),
                a([-inf, 1]),
                a([0, 1]),
            ),
        }
    ),
}
