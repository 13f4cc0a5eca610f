"""The mistakes that gradient rules are written with, each as a transform of the true gradient.

A wrong gradient is compared with what every mistake of the table would have made of the true one, for several random
cotangents. A mistake is named only if all numbers fit, so the name is a fact about the numbers.

    sign, factor, batch mean     the whole gradient by a number: -1, 2, the batch size, 1 / the batch size, ...
    turned, flipped              a kernel rotated by 180 degrees; one axis reversed
    swapped axes                 height and width, or the two channel axes, also where the lengths differ
    swapped inputs               the gradient of another input
    mean, variance left out      the mean, or both, are taken as constants: what goes through them is missing
    missing sum                  one slice of the output counts, the others do not: a broadcast is not summed
    shifted                      padding not cropped
    stride                       windows are taken to lie side by side
    overwritten                  assignment instead of accumulation where windows overlap
    no upstream gradient         the gradient does not depend on the cotangent
    wrong input                  the derivative at -x, at f(x), or at a kernel that is turned or transposed
    zeros                        no gradient at all, or none at some entries
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "Mistake", "misplaced", "mistakes"]

Array = NDArray[Any]


class Mistake(NamedTuple):
    """A mistake that fits. key: the same for the same mistake at other shapes; text: what the gradient is."""

    key: str
    text: str


class Evidence(NamedTuple):
    """What is known of one input's gradient.

    jacobian: (*out *x) by central differences; cotangents: of the output's shape; gradients: what the rule gave for
    each. others: {name: jacobian} of the other inputs of the same shape. elsewhere: (where, jacobian) at other points.
    tolerance: how far numbers that are equal may be apart. x: the input, where it may have been normalised.
    """

    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    jacobian: Array
    cotangents: list[Array]
    gradients: list[Array]
    others: dict[str, Array]
    elsewhere: Iterable[tuple[str, Array]]
    tolerance: float
    x: Array | None = None

    def pulled(self, c: Array, jacobian: Array | None = None) -> Array:
        """The gradient for the cotangent c: (*out) -> (*x)."""
        j = self.jacobian if jacobian is None else jacobian
        return np.tensordot(c, j, c.ndim)

    @property
    def truth(self) -> list[Array]:
        """The true gradient for each cotangent."""
        return [self.pulled(c) for c in self.cotangents]


Guess = tuple[str, str, list[Array]]  # key, text, the gradient that the mistake makes for each cotangent; nan: anything


def mistakes(evidence: Evidence) -> list[Mistake]:
    """Every mistake of the table that explains all of the numbers; none for a gradient that is right."""
    truth = evidence.truth
    if not truth[0].size or _alike(truth, evidence.gradients, evidence.tolerance):
        return []
    found: dict[str, Mistake] = {}
    for row in _TABLE:
        if row in _LATER and found:
            break
        for key, text, made in row(evidence, truth):
            if key not in found and _fits(evidence, truth, made):
                found[key] = Mistake(key, text)
    return list(found.values())


def _alike(a: list[Array], b: list[Array], tolerance: float) -> bool:
    """Equal where `a` is not nan."""
    return all(bool(np.all((np.abs(p - q) <= tolerance) | np.isnan(p))) for p, q in zip(a, b, strict=True))


def _fits(evidence: Evidence, truth: list[Array], made: list[Array]) -> bool:
    """Whether the mistake made the gradients, and is seen: it changes numbers, and at least two speak for it."""
    if not _alike(made, evidence.gradients, evidence.tolerance) or _alike(made, truth, 2 * evidence.tolerance):
        return False
    known = sum(int((~np.isnan(a)).sum()) for a in made)
    return known >= min(2, sum(t.size for t in truth))


def _sign(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    yield "sign", "the true gradient with its sign flipped", [-t for t in truth]


def _factor(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    square = sum(float((t * t).sum()) for t in truth)
    if square <= evidence.tolerance:
        return
    k = sum(float((g * t).sum()) for g, t in zip(evidence.gradients, truth, strict=True)) / square
    if not np.isfinite(k) or abs(k) < 1e-3 or abs(k - 1) < 1e-3 or abs(k + 1) < 1e-3:
        return
    made = [k * t for t in truth]
    named = False
    for key, text, factor in _factors(evidence):
        if factor not in (0.0, 1.0) and abs(k - factor) <= 1e-6 * abs(factor):
            named = True
            yield key, text, made
    if not named:
        yield f"times {k:.6g}", f"{k:.6g} times the true gradient", made


def _factors(evidence: Evidence) -> Iterator[tuple[str, str, float]]:
    yield "times 2", "2 times the true gradient", 2.0
    yield "times 1/2", "half of the true gradient", 0.5
    counts = []
    if evidence.out_shape or len(evidence.x_shape) > 1:
        counts.append(("the batch size", (evidence.out_shape or evidence.x_shape)[0]))
    n_x, n_out = int(np.prod(evidence.x_shape)), int(np.prod(evidence.out_shape))
    counts.append(("the number of its entries", n_x))
    counts.append(("the number of outputs", n_out))
    if n_out > 1 and n_x % n_out == 0:
        counts.append(("the number of entries per output", n_x // n_out))
    for what, n in counts:
        yield f"times {what}", f"{n} times the true gradient, and {n} is {what}: a mean over it is missing", float(n)
        yield f"by {what}", f"the true gradient divided by {n}, {what}: a mean over it is one too many", 1.0 / max(n, 1)


def _turned(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    if truth[0].ndim < 2:
        if truth[0].ndim:
            yield "flipped", "the true gradient in reverse order", [t[::-1] for t in truth]
        return
    both = min(truth[0].shape[-2:]) > 1
    if truth[0].ndim != 3 and truth[0].shape[-2:] != (1, 1):
        text = "the true gradient with its last two axes rotated by 180 degrees, as a kernel that is flipped"
        yield "rotated", text, [t[..., ::-1, ::-1] for t in truth]
    for axis in range(truth[0].ndim):
        if truth[0].ndim == 3 or both or axis < truth[0].ndim - 2:
            yield f"flipped {axis}", f"the true gradient reversed along axis {axis}", [np.flip(t, axis) for t in truth]


def _permuted(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    n = truth[0].ndim
    if not 2 <= n <= 4:
        return
    seen: list[list[int]] = []
    for order in permutations(range(n)):
        long = [axis for axis in order if truth[0].shape[axis] > 1]  # where one of length 1 goes makes no difference
        if long != sorted(long) and long not in seen:
            seen.append(long)
            made = [t.transpose(order).reshape(t.shape) for t in truth]
            yield f"permuted {order}", f"the true gradient with {_swap(order)}", made


def _swap(order: tuple[int, ...]) -> str:
    n, moved = len(order), [i for i, axis in enumerate(order) if i != axis]
    if len(moved) > 2:
        return f"its axes permuted to {order}"
    if n > 2 and moved == [n - 2, n - 1]:
        return "height and width, its last two axes, swapped"
    if n == 4 and moved == [0, 1]:
        return "its first two axes swapped, as a kernel's output and input channels"
    return "rows and columns swapped (transposed)" if n == 2 else f"axes {moved[0]} and {moved[1]} swapped"


def _swapped(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    for name, jacobian in evidence.others.items():
        made = [evidence.pulled(c, jacobian) for c in evidence.cotangents]
        yield f"swapped {name}", f"the true gradient of {name}: the two are swapped", made


def _left_out(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    """What is normalised by a mean, or a mean and a variance, has a gradient without the parts along 1 and x - mean.

    These parts are what a rule adds that takes the mean, or the variance, as a constant.
    """
    shape, n = evidence.x_shape, len(evidence.x_shape)
    if evidence.out_shape != shape or n > 4 or evidence.x is None:
        return
    for axes in (axes for k in range(1, n + 1) for axes in combinations(range(n), k)):
        if min(shape[i] for i in axes) < 2:
            continue
        where, length = "axis " + " and ".join(map(str, axes)), int(np.prod([shape[i] for i in axes]))
        means = [g.mean(axes, keepdims=True) for g in evidence.gradients]
        text = f"the true gradient with the part of the mean over {where} left out: a mean depends on every x, too"
        yield f"mean {axes}", text, [t + m for t, m in zip(truth, means, strict=True)]
        centred = evidence.x - evidence.x.mean(axes, keepdims=True)
        square = (centred * centred).sum(axes, keepdims=True)
        if length < 4 or not square.all():
            continue
        along = [(g * centred).sum(axes, keepdims=True) / square * centred for g in evidence.gradients]
        text = f"the true gradient with the part of the variance over {where} left out: it depends on every x, too"
        yield f"variance {axes}", text, [t + a for t, a in zip(truth, along, strict=True)]
        if not all(np.abs(part).max() > evidence.tolerance for part in (means[0], along[0])):
            continue
        text = f"the true gradient with the parts of mean and variance over {where} left out: both depend on every x"
        yield f"mean, variance {axes}", text, [t + m + a for t, m, a in zip(truth, means, along, strict=True)]


def _unsummed(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    for axis, n in enumerate(evidence.out_shape):
        for place, at in (("first", 0), ("last", n - 1)) if n > 1 else ():
            only = np.zeros(evidence.out_shape)
            only[(slice(None),) * axis + (at,)] = 1.0
            made = [evidence.pulled(c * only) for c in evidence.cotangents]
            text = f"what the {place} of axis {axis} of the output contributes: the sum over that axis is missing"
            yield f"unsummed {axis} {place}", text, made


def _shifted(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    """Where the shift brings in what lies outside, anything may stand: there, the padding has a gradient of its own."""
    n = truth[0].ndim
    spatial = range(max(0, n - 2), n) if n != 3 else (2,)
    for steps in product(range(-3, 4), repeat=len(spatial)):
        if not any(steps):
            continue
        made = [np.full(t.shape, np.nan) for t in truth]
        to: list[Any] = [slice(None)] * n
        of: list[Any] = [slice(None)] * n
        for axis, step in zip(spatial, steps, strict=True):
            to[axis], of[axis] = slice(max(step, 0), min(step, 0) or None), slice(max(-step, 0), min(-step, 0) or None)
        overlap = truth[0][tuple(of)]
        if 2 * overlap.size < truth[0].size or not np.any(overlap):
            continue
        for a, t in zip(made, truth, strict=True):
            a[tuple(to)] = t[tuple(of)]
        shown = steps[0] if len(steps) == 1 else steps
        text = f"the true gradient shifted by {shown} along its last axes, as by padding that is not cropped"
        yield f"shifted {tuple(map(np.sign, steps))}", text, made


def _windows(evidence: Evidence) -> int:
    """How many of the last axes windows move along: of images 2, of lines 1; else none."""
    n = len(evidence.x_shape)
    return {4: 2, 3: 1, 2: 0}.get(n, 0) if n == len(evidence.out_shape) else 0


def _unstrided(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    """Each window's part of the Jacobian, moved to where the window would lie for stride 1."""
    spatial = _windows(evidence) or int(0 < len(evidence.x_shape) == len(evidence.out_shape) < 3)
    if not spatial:
        return
    n_out, shape = len(evidence.out_shape), evidence.x_shape
    for strides in product(range(1, 5), repeat=spatial):
        if max(strides) == 1:
            continue
        moved = np.zeros(evidence.jacobian.shape)
        for at in np.ndindex(evidence.out_shape[-spatial:]):
            to: list[Any] = [slice(None)] * (len(shape) - spatial)
            of: list[Any] = list(to)
            for i, stride, length in zip(at, strides, shape[-spatial:], strict=True):
                step = i * (stride - 1)
                of.append(slice(min(step, length), None))
                to.append(slice(0, max(length - step, 0)))
            window = (slice(None),) * (n_out - spatial) + at
            moved[(*window, *to)] = evidence.jacobian[(*window, *of)]
        shown = strides[0] if len(set(strides)) == 1 else strides
        text = f"the true gradient of stride 1: the stride {shown} is ignored"
        yield "stride", text, [evidence.pulled(c, moved) for c in evidence.cotangents]


def _overwritten(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    """The last output, or window of outputs, that reaches an entry decides alone."""
    n_out, spatial = len(evidence.out_shape), _windows(evidence)
    for loops in {spatial, n_out} - {0}:
        free, looped = evidence.out_shape[: n_out - loops], evidence.out_shape[n_out - loops :]
        made = []
        for c in evidence.cotangents:
            g = np.zeros(evidence.x_shape)
            for at in np.ndindex(looped):
                window = (slice(None),) * len(free) + at
                part = evidence.jacobian[window]
                share = np.tensordot(c[window], part, len(free))
                reached = np.any(part != 0, axis=tuple(range(len(free))))
                g = np.where(reached, share, g)
            made.append(g)
        yield "overwritten", "what the last window alone contributes: overlaps are assigned, not added", made


def _unrelated(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    first = evidence.gradients[0]
    if _alike([first] * len(truth), evidence.gradients, evidence.tolerance):
        ones = evidence.pulled(np.ones(evidence.out_shape))
        if np.any(first) and not _alike([ones], [first], evidence.tolerance):
            yield "upstream", "the same for every upstream gradient g: it does not depend on g", [first] * len(truth)
        text = "the derivative without the upstream gradient g: g is not multiplied in"
        yield "upstream", text, [ones] * len(truth)


def _elsewhere(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    for where, jacobian in evidence.elsewhere:
        made = [evidence.pulled(c, jacobian) for c in evidence.cotangents]
        yield f"at {where}", f"the true gradient at the wrong input: {where}", made


def _zero(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    nothing = [np.zeros(t.shape) for t in truth]
    yield "zero", "zero: no gradient flows, as through a value that is detached", nothing


def _partly_zero(evidence: Evidence, truth: list[Array]) -> Iterator[Guess]:
    lost = np.all(
        [(g == 0) & (np.abs(t) > 2 * evidence.tolerance) for g, t in zip(evidence.gradients, truth, strict=True)], 0
    )
    if lost.any() and not lost.all():
        first = list(map(int, np.argwhere(lost)[0]))
        text = f"the true gradient but for {int(lost.sum())} of {lost.size} entries that are zero, {first} the first"
        yield "partly zero", text, [np.where(lost, 0.0, t) for t in truth]


# Asked in turn where nothing else fits: they take long, or leave some numbers open.
_LATER = [_elsewhere, _partly_zero, _shifted]
_TABLE: list[Any] = [
    _zero,
    _sign,
    _factor,
    _unrelated,
    _turned,
    _permuted,
    _swapped,
    _left_out,
    _unsummed,
    _unstrided,
    _overwritten,
    *_LATER,
]


def misplaced(x: Array, name: str) -> Iterator[tuple[str, Array]]:
    """What is put in the place of another input by mistake: (what, values of the same shape)."""
    if x.ndim >= 2 and x.shape[-2:] != (1, 1):
        yield f"{name} rotated by 180 degrees", x[..., ::-1, ::-1]
    for a, b in combinations(range(x.ndim), 2) if x.ndim <= 4 else ():
        if min(x.shape[a], x.shape[b]) > 1:
            order = list(range(x.ndim))
            order[a], order[b] = b, a
            yield f"{name} with {_swap(tuple(order))}", x.transpose(order).reshape(x.shape)
