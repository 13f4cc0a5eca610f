"""What a wrong rule is shown by: the smallest call that fails, and the mistake that all samples agree on."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import Case, function_of
from .gradients import STEP, Problem, direction, mistakes_in, signed
from .kinks import has_kink
from .samples import Draw

__all__ = ["agreed_mistakes", "in_full", "smallest_failure"]

Array = NDArray[Any]

_SAMPLES = 6  # that must agree on a mistake
_TRIES = 60  # samples among which a small one is looked for, without Hypothesis
_LARGEST = 24  # entries that are made simpler one by one
_SIMPLE = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0)


def wrong_inputs(case: Case) -> list[int]:
    """The places among the free inputs whose gradient is not the derivative; none where f has a kink."""
    try:
        problem = _problem(case)
        rng = np.random.default_rng(case.seed)
        c = [signed(rng, value.shape) for value in problem.values]
        gradients = problem.gradients(c)
    except Exception:  # such inputs show something else
        return []
    wrong = []
    for i, x in enumerate(problem.arrays):
        u = direction(rng, problem.arrays, i)
        rule, numeric = problem.both(c, gradients, u)
        if x.size and not abs(rule - numeric) <= problem.tolerance(c) and not has_kink(problem, c, u, STEP):
            wrong.append(i)
    return wrong


def agreed_mistakes(op: Any) -> str:
    """The mistakes that explain the gradients of an op's inputs in all samples in which they are wrong; "" for none."""
    return _agreed(op, op.joint, *op.rules.values())


@lru_cache(maxsize=32)
def _agreed(op: Any, *rules: Any) -> str:
    found: dict[str, list[dict[str, str]]] = {}
    for seed in range(_SAMPLES):
        case = Case(op, Draw.seeded(seed))
        for i in wrong_inputs(case):
            names = case.names()
            mistakes = mistakes_in(_problem(case), i, names, case.rng())
            found.setdefault(names[i], []).append({m.key: m.text for m in mistakes or ()})
    lines = []
    for name, samples in found.items():
        keys = set.intersection(*(set(sample) for sample in samples))
        if len(samples) > 1 and len(keys) == 1:
            text = samples[0][keys.pop()]
            lines.append(f"in all {len(samples)} samples in which it is wrong, the gradient of {name} is {text}")
    return "\n".join(lines)


def smallest_failure(op: Any) -> Case | None:
    """A small call of an op whose gradient is wrong, on small integers where they do.

    Hypothesis looks for it where it is installed, which shrinks; else the smallest of some samples. None if there is
    none among them.
    """
    case = _drawn(op)
    if case is None:
        return None
    for k, a in enumerate(case.arrays):
        if a is None or a.dtype.kind != "f":
            continue
        steps = np.arange(1, a.size + 1, dtype=np.float64).reshape(a.shape)
        _try(case, k, steps)
        for at in list(np.ndindex(a.shape))[:_LARGEST]:
            for simple in _SIMPLE:
                now = case.arrays[k]
                changed = now.copy()
                changed[at] = simple
                if abs(simple) >= abs(now[at]) and now[at] == np.round(now[at]):
                    break
                if _try(case, k, changed):
                    break
    return case


def _try(case: Case, k: int, values: Array) -> bool:
    """Put the values in the place of an array, if the call still fails."""
    before = case.arrays[k]
    case.arrays[k] = values
    if wrong_inputs(case):
        return True
    case.arrays[k] = before
    return False


def _drawn(op: Any) -> Case | None:
    try:
        from .strategies import smallest
    except ImportError:
        failing = [case for seed in range(_TRIES) if wrong_inputs(case := Case(op, _low(seed)))]
        return min(failing, key=_size, default=None)
    return smallest(lambda draw: Case(op, draw), lambda case: bool(wrong_inputs(case)))


def _low(seed: int) -> Draw:
    """Draws that prefer small numbers, and so small shapes; the first draw the least of all."""
    rng = np.random.default_rng(seed)
    return Draw(lambda lo, hi: int(min(hi, lo + rng.geometric(0.6) - 1)) if seed else lo)


def _size(case: Case) -> int:
    return sum(a.size for a in case.arrays if a is not None)


def _problem(case: Case) -> Problem:
    f = function_of(case)
    return Problem("check_op", lambda *xs: [f(*xs)], [case.arrays[i] for i in case.free])


def in_full(case: Case) -> str:
    """The call with all its numbers, and for a cotangent what the rules give and what differences do."""
    problem = _problem(case)
    c = np.asarray([1.0, 2.0, -1.0])[np.arange(problem.values[0].size) % 3].reshape(problem.values[0].shape)
    lines = [f"{name} = {_numbers(a)}" for name, a in zip(case.op_names(), case.arrays, strict=False) if a is not None]
    lines += [f"{name} = {_numbers(v)}" for name, v in case.params.items()]
    lines.append(f"g = {_numbers(c)}")
    for i, (name, gradient) in enumerate(zip(case.names(), problem.gradients([c]), strict=True)):
        numeric = np.zeros(gradient.shape)
        for at in np.ndindex(gradient.shape):
            numeric[at] = problem.both([c], problem.unit(), problem.unit((i, at)))[1]
        lines.append(
            f"∂{name}: the rule gives {_numbers(gradient)}, differences {_numbers(np.round(numeric, 6) + 0.0)}"
        )
    return "\n  ".join(lines)


def _numbers(value: Any) -> str:
    return str(value.tolist()) if isinstance(value, np.ndarray) else repr(value)
