"""The hard cases whose reference is PyTorch, live: the questions of tests/hard_cases, and what needs more than one.

tests/hard_cases/answers.json keeps PyTorch's answers for all who do not have it; here they are the installed one's.
"""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from hard_cases.asking import Answer, answers, assert_same, decoded, encoded, recorded  # noqa: E402
from hard_cases.questions import QUESTIONS  # noqa: E402
from torch_problems import OURS, THEIRS, a, agree, grid, values  # noqa: E402

inf, nan = math.inf, math.nan


X = a([1, 2, 3], [0, 1, -1])
LABELS = np.array([0, 2])

ORDERS = {name: q.order for name, q in QUESTIONS.items() if q.refused is None and q.ours is None}
RECORDED = recorded()


@pytest.mark.filterwarnings("ignore:var\\(\\):UserWarning")
@pytest.mark.parametrize("name", [name for name, order in ORDERS.items() if order])
def test_values_and_gradients_of(name: str) -> None:
    question = QUESTIONS[name]
    tolerance = 1e-10 if all(np.asarray(x).dtype != np.float32 for x in question.inputs) else 1e-5
    with np.errstate(all="raise"):
        agree(question.ask, *question.inputs, order=question.order, tolerance=tolerance, float32=False)


@pytest.mark.parametrize("name", [name for name, order in ORDERS.items() if not order])
def test_the_answer_to(name: str) -> None:
    assert_same(_answer(OURS, name), _answer(THEIRS, name))


@pytest.mark.parametrize("name", [name for name, q in QUESTIONS.items() if q.refused])
def test_pytorch_refuses_too(name: str) -> None:
    assert isinstance(answers(THEIRS, QUESTIONS[name]), Exception)


@pytest.mark.skipif(
    torch.__version__.partition("+")[0] != RECORDED["versions"]["torch"],
    reason=f"tests/hard_cases/answers.json has the answers of PyTorch {RECORDED['versions']['torch']}",
)
@pytest.mark.parametrize("name", QUESTIONS)
def test_the_recorded_answer_is_the_installed_pytorchs(name: str) -> None:
    live, kept = answers(THEIRS, QUESTIONS[name]), decoded(RECORDED["answers"][name])
    if isinstance(live, Exception):
        assert decoded(encoded(live)) == kept
    else:
        assert not isinstance(kept, str)
        assert_same(live, kept)


def _answer(m: Any, name: str) -> Answer:
    found = answers(m, QUESTIONS[name])
    assert not isinstance(found, Exception), found
    return found


# Numbers without gradients, and single precision


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


def test_H101_labels_of_every_integer_dtype() -> None:
    for dtype in ("uint8", "int8", "int16", "int32"):
        loss = OURS.F.cross_entropy(OURS.constant(X), OURS.constant(LABELS.astype(dtype)))
        assert values(loss) == pytest.approx(
            values(THEIRS.F.cross_entropy(THEIRS.constant(X), THEIRS.constant(LABELS)))
        )
