"""Gradients at kinks: a rule may give any element of the subdifferential, and nothing else.

At the zero of relu and at the ties of a maximum there is no derivative, and frameworks choose differently. What all
right choices have in common: they lie in the convex hull of the derivatives at points near by, the subdifferential.
So <rule, u> must lie between the least and the largest derivative near by along u, for every direction u. Along one
entry that allows relu'(0) = 0, 1/2 or 1, and any share of a tie; along two entries of a tie together it refuses the
gradient that counts the tie twice.

Source: Clarke, Optimization and nonsmooth analysis (1983), theorem 2.5.1.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .gradients import Problem

__all__ = ["has_kink", "outside_the_subdifferential"]

Array = NDArray[Any]

_SHORTER = 8.0
_POINTS = 48  # near by; two independent kinks meet in one of four ways, and all but surely in each
_MOST = 400  # inputs' and outputs' entries that are judged
_PAIRS = 300  # of tied entries per output


def has_kink(problem: "Problem", cotangents: Sequence[Array], u: Sequence[Array], step: float) -> bool:
    """Whether <c, f> bends along u within a step: its one-sided derivatives stay apart for a shorter step.

    A smooth function's are h |f''| apart, an eighth for an eighth of the step; at a jump they are eight times as much.
    """
    gaps = []
    for h in (step, step / _SHORTER):
        right, left = _one_sided(problem, u, h)
        gaps.append(sum(float((c * (r - s)).sum()) for c, r, s in zip(cotangents, right, left, strict=True)))
    return bool(_bends(np.asarray(gaps[0]), np.asarray(gaps[1]), problem.tolerance(cotangents)))


def outside_the_subdifferential(problem: "Problem", names: Sequence[str], step: float) -> tuple[str, bool]:
    """(where the rules leave the subdifferential, "" where they do not; whether that is away from the kinks)."""
    if len(problem.values) != 1:
        return "\n  f has a kink here, which only functions with one output are judged at", False
    places = [(i, at) for i, a in enumerate(problem.arrays) for at in np.ndindex(a.shape)]
    out = problem.values[0]
    if max(len(places), out.size) > _MOST:
        return (
            f"\n  f has a kink here, and with {len(places)} entries and {out.size} outputs it is too large for judging "
            f"its subdifferential; pass at most {_MOST} of each, or inputs clear of kinks",
            False,
        )
    rules = _rows(problem, out, len(places))
    tolerances = np.array([problem.tolerance([_one_hot(out, at)]) for at in np.ndindex(out.shape)])[:, None]
    right, left = (np.empty((out.size, len(places))) for _ in range(2))
    short, between = (np.empty((out.size, len(places))) for _ in range(2))
    for k, place in enumerate(places):
        u = problem.unit(place)
        right[:, k], left[:, k] = (side[0].ravel() for side in _one_sided(problem, u, step))
        ahead, behind = _one_sided(problem, u, step / _SHORTER)
        short[:, k], between[:, k] = (ahead[0] - behind[0]).ravel(), (ahead[0] + behind[0]).ravel() / 2
    bends = _bends(right - left, short, tolerances)
    low, high = np.minimum(right, left), np.maximum(right, left)
    middle = (right + left) / 2
    limit = (_SHORTER * between - middle) / (_SHORTER - 1)  # right where the slope has a kink, too
    low[~bends], high[~bends] = np.minimum(middle, limit)[~bends], np.maximum(middle, limit)[~bends]
    bent = [int(k) for k in np.flatnonzero(bends.any(0))]
    near = _derivatives_near_by(problem, places, bent, step)  # (points outputs bent)
    if len(near):
        low[:, bent] = np.where(bends[:, bent], np.minimum(low[:, bent], near.min(0)), low[:, bent])
        high[:, bent] = np.where(bends[:, bent], np.maximum(high[:, bent], near.max(0)), high[:, bent])
    wrong = ~((low - tolerances <= rules) & (rules <= high + tolerances))
    if wrong.any():
        o, k = (int(i) for i in np.argwhere(wrong)[0])
        what = f"output{_at(out, o)} by {_name(names, places[k])}"
        if not bends[o, k]:
            return f"\n  the derivative of {what} is {middle[o, k]:.9g}; the rule gives {rules[o, k]:.9g}", True
        return (
            f"\n  at the kink of {what} every derivative from {low[o, k]:.9g} to {high[o, k]:.9g} is right; "
            f"the rule gives {rules[o, k]:.9g}",
            False,
        )
    return _tied(problem, names, places, bent, bends, rules, near, tolerances, step), False


def _tied(
    problem: "Problem",
    names: Sequence[str],
    places: list[tuple[int, tuple[int, ...]]],
    bent: list[int],
    bends: Array,
    rules: Array,
    near: Array,
    tolerances: Array,
    step: float,
) -> str:
    """Two entries with kinks of one output, moved together."""
    for o in range(len(rules)):
        mine = [j for j, k in enumerate(bent) if bends[o, k]]
        for a, b in list(combinations(mine, 2))[:_PAIRS]:
            rule = float(rules[o, bent[a]] + rules[o, bent[b]])
            together = near[:, o, a] + near[:, o, b]
            low, high, allowed = float(together.min()), float(together.max()), 2 * float(tolerances[o, 0])
            if low - allowed <= rule <= high + allowed:
                continue
            pair = [places[bent[a]], places[bent[b]]]
            sides = [float(side[0].ravel()[o]) for side in _one_sided(problem, problem.unit(*pair), step)]
            low, high = min(low, *sides), max(high, *sides)
            if low - allowed <= rule <= high + allowed:
                continue
            more = abs(rule) > max(abs(low), abs(high))
            return (
                f"\n  {_name(names, pair[0])} and {_name(names, pair[1])} tie in output{_at(problem.values[0], o)}: "
                f"moved together they have a derivative from {low:.9g} to {high:.9g}; the rule gives {rule:.9g}"
                + (": ties are counted more than once" if more else "")
            )
    return ""


def _bends(gap: Array, shorter: Array, tolerance: Any) -> Any:
    """Whether one-sided derivatives that are `gap` apart, `shorter` apart for a shorter step, are those of a kink."""
    noise = 4 * _SHORTER * tolerance
    smooth = np.abs(shorter - gap / _SHORTER) <= noise
    jump = np.abs(shorter) > 2 * np.abs(gap) + noise
    return ~smooth & ~jump


def _one_sided(problem: "Problem", u: Sequence[Array], step: float) -> tuple[list[Array], list[Array]]:
    """The difference quotients ahead and behind, per output."""
    after, before = (
        problem.at([a + h * part for a, part in zip(problem.arrays, u, strict=True)]) for h in (step, -step)
    )
    right = [(p - v) / step for p, v in zip(after, problem.values, strict=True)]
    return right, [(v - m) / step for m, v in zip(before, problem.values, strict=True)]


def _derivatives_near_by(
    problem: "Problem", places: list[tuple[int, tuple[int, ...]]], bent: list[int], step: float
) -> Array:
    """Central differences at points that lie some steps from here: (points outputs bent)."""
    rng = np.random.default_rng(len(places))
    found = []
    for _ in range(_POINTS if bent else 0):
        here = [a + _SHORTER * step * rng.uniform(-1.0, 1.0, a.shape) for a in problem.arrays]
        columns = []
        for k in bent:
            u = problem.unit(places[k])
            ahead, behind = (problem.at([a + h * p for a, p in zip(here, u, strict=True)]) for h in (step, -step))
            columns.append(((ahead[0] - behind[0]) / (2 * step)).ravel())
        found.append(np.stack(columns, 1))
    return np.array(found)


def _rows(problem: "Problem", out: Array, width: int) -> Array:
    """The Jacobian by the rules: (outputs entries)."""
    rows = np.empty((out.size, width))
    for o, at in enumerate(np.ndindex(out.shape)):
        rows[o] = np.concatenate([g.ravel() for g in problem.gradients([_one_hot(out, at)])])
    return rows


def _one_hot(out: Array, at: tuple[int, ...]) -> Array:
    c = np.zeros(out.shape)
    c[at] = 1.0
    return c


def _at(out: Array, o: int) -> list[int]:
    return list(map(int, np.unravel_index(o, out.shape)))


def _name(names: Sequence[str], place: tuple[int, tuple[int, ...]]) -> str:
    return f"{names[place[0]]}{list(place[1])}"
