"""Questions that a reference answers: what is asked of this library and of PyTorch alike, and how answers compare.

A question is `lambda m, x: m.F.relu(x)` of some inputs, asked with m = this library or PyTorch. PyTorch's answers are
kept in answers.json, so that nobody needs PyTorch to compare with them; `python -m tests.hard_cases --record` writes
the file from the PyTorch installed. Inputs are written out or drawn from a generator whose stream is frozen.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from libraries import Array, Library, values

ANSWERS = Path(__file__).with_name("answers.json")
TOLERANCE = {"float64": 1e-9, "float32": 3e-5, "float16": 2e-3}

Answer = list[Array | str]


class Question(NamedTuple):
    """What is asked of a library m, of which inputs, and to which order of derivatives.

    refused: PyTorch refuses it, and we do, with this kind of error. ours: where PyTorch's answer is not the right
    one: ours, as an `Answer` or as the kind of our error.
    """

    ask: Callable[..., Any]
    inputs: tuple[Any, ...]
    order: int
    refused: type[Exception] | None = None
    ours: Answer | type[Exception] | None = None


Rows = dict[str, tuple[Any, ...]]


def twice(rows: Rows) -> dict[str, Question]:
    """Values and two derivatives: (ask, *inputs)."""
    return {name: Question(ask, tuple(inputs), 2) for name, (ask, *inputs) in rows.items()}


def once(rows: Rows) -> dict[str, Question]:
    """Values and one derivative, where the second is only more of the same nan or infinity: (ask, *inputs)."""
    return {name: Question(ask, tuple(inputs), 1) for name, (ask, *inputs) in rows.items()}


def plain(rows: Rows) -> dict[str, Question]:
    """What is asked is the answer, without a derivative of it: (ask, *inputs)."""
    return {name: Question(ask, tuple(inputs), 0) for name, (ask, *inputs) in rows.items()}


def refused(rows: Rows) -> dict[str, Question]:
    """What both refuse: (the kind of our error, ask, *inputs)."""
    return {name: Question(ask, tuple(inputs), 0, refused=kind) for name, (kind, ask, *inputs) in rows.items()}


def better(rows: Rows, order: int = 0) -> dict[str, Question]:
    """What PyTorch answers otherwise: (our answer or the kind of our error, ask, *inputs)."""
    return {name: Question(ask, tuple(inputs), order, ours=ours) for name, (ours, ask, *inputs) in rows.items()}


def drawn(seed: int, *shape: int) -> Array:
    """float64 multiples of 1/16 in [-3, 3], ties and zeros among them; the same in every version of NumPy."""
    return np.asarray(np.random.RandomState((seed, *shape)).randint(-48, 49, shape) / 16)


def cotangent(*shape: int) -> Array:
    """float64 odd multiples of 1/16 in (-3, 3): none of them is 0."""
    return np.asarray((2 * np.random.RandomState(shape or 1).randint(-24, 24, shape) + 1) / 16)


def ask(m: Library, question: Question) -> Answer:
    """m's answer: its values, then, if an order is asked for, the gradients by all inputs of floats."""
    inputs = [np.asarray(x) for x in question.inputs]
    tensors = [m.leaf(x) if x.dtype.kind == "f" else m.constant(x) for x in inputs]
    found = question.ask(m, *tensors)
    answer = [_part(part) for part in (found if isinstance(found, list | tuple) else [found])]
    if question.order:
        g = m.constant(cotangent(*found.shape).astype(values(found).dtype))
        wanted = [x for x, array in zip(tensors, inputs, strict=True) if array.dtype.kind == "f"]
        answer += [values(d) for d in m.grad(found, wanted, g)]
    return answer


def _part(part: Any) -> Array | str:
    if hasattr(part, "detach"):
        return values(part)
    return str(part).removeprefix("torch.") if part is None or not isinstance(part, int | float) else np.asarray(part)


def answers(m: Library, question: Question) -> Answer | Exception:
    """m's answer, or the exception in its place. What m warns of is no part of the answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ask(m, question)
        except Exception as error:
            return error


def assert_same(have: Answer, want: Answer) -> None:
    """Assert equal shapes, dtypes, nans and infinities, and numbers within the precision of the dtype."""
    assert len(have) == len(want)
    for i, (mine, reference) in enumerate(zip(have, want, strict=True)):
        if isinstance(mine, str) or isinstance(reference, str):
            assert mine == reference, i
            continue
        assert (mine.shape, mine.dtype) == (reference.shape, reference.dtype), i
        if reference.dtype.kind != "f":
            np.testing.assert_array_equal(mine, reference, err_msg=f"part {i}")
            continue
        finite = reference[np.isfinite(reference)].astype(np.float64)
        scale = TOLERANCE[str(reference.dtype)] * max(1.0, np.abs(finite).max(initial=0.0))
        np.testing.assert_allclose(mine, reference, rtol=0, atol=scale, err_msg=f"part {i}")


def encoded(answer: Answer | Exception) -> Any:
    """An answer as JSON has it: {"error": its text}, or [dtype, shape, numbers] and texts."""
    if isinstance(answer, Exception):
        return {"error": f"{type(answer).__name__}: {str(answer).splitlines()[0][:120]}"}
    return [x if isinstance(x, str) else [str(x.dtype), list(x.shape), x.ravel().tolist()] for x in answer]


def decoded(entry: Any) -> Answer | str:
    """What `encoded` wrote: an answer, or the text of an error."""
    if isinstance(entry, dict):
        return str(entry["error"])
    return [x if isinstance(x, str) else np.array(x[2], x[0]).reshape(x[1]) for x in entry]


def recorded() -> dict[str, Any]:
    """answers.json: "about", "versions", and by question the "answers" of PyTorch."""
    return dict(json.loads(ANSWERS.read_text(encoding="utf-8")))
