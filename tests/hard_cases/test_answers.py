"""Our answers to all questions are PyTorch's, which answers.json keeps, or better ones that the question states."""

import numpy as np
import pytest
from libraries import Library

import tinygrad_cnn
from hard_cases.asking import answers, ask, assert_same, decoded, encoded, recorded
from hard_cases.questions import QUESTIONS

OURS = Library(tinygrad_cnn)
RECORDED = recorded()["answers"]


@pytest.mark.parametrize("name", [name for name, q in QUESTIONS.items() if q.refused is None and q.ours is None])
def test_the_answer_is_the_recorded_one_of_pytorch(name):
    with np.errstate(all="raise"):
        assert_same(ask(OURS, QUESTIONS[name]), decoded(RECORDED[name]))


@pytest.mark.parametrize("name", [name for name, q in QUESTIONS.items() if q.refused])
def test_what_pytorch_refuses_is_refused_with_an_error_of_our_kind(name):
    assert "Error: " in decoded(RECORDED[name])
    with pytest.raises(QUESTIONS[name].refused, match=r"\w+.*\w+"):
        ask(OURS, QUESTIONS[name])


@pytest.mark.asserts  # of the questions
@pytest.mark.parametrize("name", [name for name, q in QUESTIONS.items() if q.ours is not None])
def test_where_another_answer_is_better_it_is_ours_and_not_pytorchs(name):
    question, theirs = QUESTIONS[name], decoded(RECORDED[name])
    if isinstance(question.ours, type):
        assert not isinstance(theirs, str), "PyTorch refuses it, too: ask it with `refused`"
        with pytest.raises(question.ours, match=r"\w+.*\w+"):
            ask(OURS, question)
        return
    with np.errstate(all="raise"):
        found = ask(OURS, question)
    assert_same(found, [part if isinstance(part, str) else np.asarray(part) for part in question.ours])
    if not isinstance(theirs, str):
        with pytest.raises(AssertionError):
            assert_same(found, theirs)


def test_every_question_has_a_recorded_answer_and_no_other_is_kept():
    assert list(RECORDED) == list(QUESTIONS)


@pytest.mark.asserts
@pytest.mark.parametrize(
    ("have", "want"),
    [
        ([np.array([1.0, 2.0])], [np.array([1.0, 2.0 + 1e-8])]),
        ([np.array([0.0, 1e300])], [np.array([0.0, np.inf])]),
        ([np.array([0.0])], [np.array([np.nan])]),
        ([np.array([[0.0]])], [np.array([0.0])]),
        ([np.zeros((0, 2))], [np.zeros((2, 0))]),
        ([np.array([1], np.int32)], [np.array([1])]),
        ([np.array([2**53])], [np.array([2**53 + 1])]),
        ([np.float32([1.0])], [np.array([1.0])]),
        (["None"], [np.array(0.0)]),
        ([np.array(1.0)], [np.array(1.0), np.array(2.0)]),
    ],
)
def test_answers_that_differ_are_told_apart(have, want):
    with pytest.raises(AssertionError):
        assert_same(have, want)


def test_an_answer_survives_the_file():
    kept = [np.float16([np.nan, -np.inf, 0.1]), np.zeros((0, 3)), np.array(2**62 + 1), np.array(True), "None"]
    for part, back in zip(kept, decoded(encoded(kept)), strict=True):
        if isinstance(part, str):
            assert part == back
        else:
            np.testing.assert_array_equal(back, part, strict=True)
    assert decoded(encoded(ValueError("no\nmore"))) == "ValueError: no"


def test_a_question_that_raises_is_answered_by_the_exception():
    question = next(q for q in QUESTIONS.values() if q.refused is IndexError)
    assert isinstance(answers(OURS, question), IndexError)
