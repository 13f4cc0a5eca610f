"""Whether the checks of a gradient rule notice that it is broken.

The clean forward is not touched by a mutant, so central differences are taken once per op, and a mutant costs
one backward per probe. A mutant that passes all first-order probes has right gradients there, so that the clean
second differences are right for it too.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
from kinks import KINKS, SECOND_KINKS, gradients_at, second_gradients_at

from tinygrad_cnn.declaration import Op
from tinygrad_cnn.testing.gradients import Problem, direction, gradients_of, signed
from tinygrad_cnn.testing.properties import Case, each_gradient_stands_alone, function_of
from tinygrad_cnn.testing.samples import Draw

from .mutants import Mutant, modules, mutants

SAMPLES = 40
SECOND = 16


class Probe:
    """One problem with its clean central difference."""

    def __init__(self, f: Any, arrays: list[Any], rng: np.random.Generator) -> None:
        self.problem = Problem("probe", f, arrays)
        self.cotangents = [signed(rng, value.shape) for value in self.problem.values]
        for c in self.cotangents:
            c.flags.writeable = False  # a broken rule may not spoil them for the next one
        u = direction(rng, arrays)
        differences, self.taken = self.problem.difference(u)
        self.numeric = sum(float((c * d).sum()) for c, d in zip(self.cotangents, differences, strict=True))
        self.tolerance = self.problem.tolerance(self.cotangents)

    def agrees(self) -> bool:
        self.problem.record()
        gradients = self.problem.gradients(self.cotangents)
        rule = sum(float((g * part).sum()) for g, part in zip(gradients, self.taken, strict=True))
        return bool(abs(rule - self.numeric) <= self.tolerance)


class Judge:
    """All checks of one op, prepared with the clean rules."""

    def __init__(self, op: Op) -> None:
        self.cases = [Case(op, Draw.seeded(seed)) for seed in range(SAMPLES)]
        self.first, self.second = [], []
        for i, case in enumerate(self.cases):
            f, arrays, rng = function_of(case), [case.arrays[k] for k in case.free], case.rng()
            self.first += [Probe(lambda *xs, f=f: [f(*xs)], arrays, rng) for _ in range(2)]
            if i < SECOND:
                c = signed(rng, self.first[-1].problem.values[0].shape)
                self.second.append(Probe(gradients_of(f), [*arrays, c], rng))
        self.kinks = [kink for kink in KINKS if kink.op == op.name]
        self.second_kinks = [kink for kink in SECOND_KINKS if kink.op == op.name]

    def verdicts(self) -> Iterator[bool]:
        """One True or False after the other; a broken rule may also raise."""
        yield from (probe.agrees() for probe in self.first)
        for kink in self.kinks:
            pairs = zip(gradients_at(kink), kink.gradients, strict=True)
            yield all(wanted is None or np.array_equal(got, wanted, equal_nan=True) for got, wanted in pairs)
        for kink in self.second_kinks:
            pairs = zip(second_gradients_at(kink), kink.gradients, strict=True)
            yield all(wanted is None or np.allclose(got, wanted) for got, wanted in pairs)
        yield from (probe.agrees() for probe in self.second)
        for case in self.cases[:SECOND]:
            each_gradient_stands_alone(case)


_judges: dict[str, Judge] = {}


def judge(op: Op) -> Judge:
    if op.name not in _judges:
        _judges[op.name] = Judge(op)
    return _judges[op.name]


def survives(mutant: Mutant) -> bool:
    """Whether no check of any op that uses the broken rule notices."""
    ops = {rule.op.name: rule.op for rule in mutant.rules}
    judges = [judge(op) for op in ops.values()]
    clean = [(op, op.rules, op.joint) for op in ops.values()]
    try:
        mutant.apply()
        with np.errstate(all="ignore"):
            return all(verdict for j in judges for verdict in j.verdicts())
    except Exception:  # a broken rule that raises is noticed, whatever it raises
        return False
    finally:
        for op, rules, joint in clean:
            op.rules, op.joint = rules, joint
            op.plans.clear()


def all_mutants(names: Iterable[str] = ()) -> list[Mutant]:
    """The mutants of all rules, or of those whose op or function is named."""
    wanted, found = set(names), list(_found())
    if not wanted:
        return found
    return [m for m in found if wanted & {m.label.split(":")[0].split(".")[0], *(r.op.name for r in m.rules)}]


@cache
def _found() -> tuple[Mutant, ...]:
    return tuple(mutant for module in modules() for mutant in mutants(module))
