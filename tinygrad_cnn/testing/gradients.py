"""Gradients against central differences: `gradcheck`, and `gradgradcheck` for gradients of gradients.

For a random cotangent c and a random unit direction u over all inputs jointly,

    (phi(h) - phi(-h)) / 2h  =  <VJP(c), u>,    phi(t) = <c, f(x + t u)>

up to h^2/6 max|phi'''| + eps K S / h with S = sum |c||f|, which is least at h ~ eps^(1/3). So float64 only,
h = eps^(1/3), and a tolerance of 50 eps^(2/3) (1 + S).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..backprop import grad
from ..graph import Tensor, wrap
from ..modes import enable_grad, no_grad
from ..shapes import whole
from .kinks import has_kink, outside_the_subdifferential
from .mistakes import Evidence, Mistake, misplaced, mistakes
from .samples import seeded

Array = NDArray[Any]
Function = Callable[..., Any]

EPS = float(np.finfo(np.float64).eps)
STEP: float = EPS ** (1 / 3)
TOLERANCE: float = 50 * EPS ** (2 / 3)
_MOST_ENTRIES = 500  # that a failure report looks through for the worst one
_MOST_NUMBERS = 1_000_000  # of the Jacobian that a mistake is looked for in


class GradientError(AssertionError):
    """A gradient that disagrees with central differences, or breaks another rule that all gradients obey."""


def gradcheck(f: Function, inputs: Any, *, probes: int = 2, full: bool = False, seed: int = 0) -> bool:
    """Check the gradient of `f`, a function of Tensors that returns a Tensor, at `inputs` (float64).

    probes: how many random directions and cotangents, at least one; two evaluations of f each.
    full: every entry of the Jacobian instead, for small problems.

    True, or raises GradientError that says which input's gradient is wrong, where and by how much, and how, if it is
    one of the mistakes that rules are written with (mistakes.py); TypeError for inputs that are not float64 and
    results that are not float Tensors; ValueError for less than one probe, which would prove nothing, and for an f
    that is random or not finite. Where an input lies at a kink or within a step of one (6e-6), as the zero of relu
    or a tie of max, any element of the subdifferential is right: relu'(0) = 0, 1/2 or 1, and any share of a tie,
    but not both shares in full (kinks.py). At a jump nothing is.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> image, kernel = np.ones((1, 2, 3, 4)), np.arange(12.0).reshape(1, 2, 3, 2)
        >>> tg.testing.gradcheck(lambda x, w: tg.conv2d(x, w, padding=1), [image, kernel])
        True
        >>> @tg.op
        ... def twice(x, /):
        ...     "x + x"
        ...     return x + x
        >>> twice.vjp(x=lambda g: g * -2.0)
        >>> try:
        ...     tg.testing.gradcheck(twice, np.array([[1.0, 2.0, 3.0]]))
        ... except tg.testing.GradientError as error:
        ...     print(str(error).splitlines()[-1].strip())
        the gradient of inputs[0] is the true gradient with its sign flipped

    Source: chainer.gradient_check, for the random direction over all inputs jointly.
    """
    probes, rng = whole("gradcheck", "probes", probes, 1), seeded(seed, "gradcheck")
    arrays = _float64_arrays(inputs, "gradcheck")
    names = [f"inputs[{i}]" for i in range(len(arrays))]

    def outputs(*xs: Tensor) -> list[Tensor]:
        return [_checked_output(f(*xs), "gradcheck")]

    _check("gradcheck", outputs, arrays, names, probes, full, rng)
    return True


def gradgradcheck(f: Function, inputs: Any, *, probes: int = 2, full: bool = False, seed: int = 0) -> bool:
    """Check the gradient of the gradient: `gradcheck` of (x, c) -> VJP of f at x for the cotangent c.

    Arguments and errors as for gradcheck; in a report, the last input is the cotangent.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> tg.testing.gradgradcheck(lambda x: x.tanh() * x, np.array([0.5, -1.0]))
        True
    """
    probes, rng = whole("gradgradcheck", "probes", probes, 1), seeded(seed, "gradgradcheck")
    arrays = _float64_arrays(inputs, "gradgradcheck")
    with no_grad():
        out = _checked_output(f(*map(wrap, arrays)), "gradgradcheck")
    names = [*(f"inputs[{i}]" for i in range(len(arrays))), "the cotangent"]
    _check("gradgradcheck", gradients_of(f), [*arrays, signed(rng, out.shape)], names, probes, full, rng)
    return True


def gradients_of(f: Function) -> Callable[..., list[Tensor]]:
    """(x, c) -> the gradients of <c, f(x)>, zeros where f does not depend on an input."""

    def gradients(*tensors: Tensor) -> list[Tensor]:
        *xs, c = tensors
        create = c.requires_grad
        with enable_grad():
            leaves = [x if create else wrap(x.array).requires_grad_() for x in xs]
            out = _checked_output(f(*leaves), "gradgradcheck")
            if not out.requires_grad:
                return [wrap(np.zeros_like(x.array)) for x in leaves]
            found = grad(out, leaves, c, create_graph=create, allow_unused=True)
        return [wrap(np.zeros_like(x.array)) if g is None else g for x, g in zip(leaves, found, strict=True)]

    return gradients


def _float64_arrays(inputs: Any, name: str) -> list[Array]:
    """Fresh arrays of the inputs, whatever they are given as."""
    given: Sequence[Any] = [inputs] if isinstance(inputs, (Tensor, np.ndarray)) else list(inputs)
    arrays = []
    for i, x in enumerate(given):
        if not isinstance(x, (Tensor, np.ndarray)):
            raise TypeError(f"{name}: inputs[{i}] is a {type(x).__name__}; a float64 Tensor or ndarray is needed")
        array = x.array if isinstance(x, Tensor) else x
        if array.dtype != np.float64:
            raise TypeError(
                f"{name}: inputs[{i}] is {array.dtype} {array.shape}; central differences need float64, "
                f"so pass x.astype(np.float64); what is not differentiated belongs into f, as in lambda x: f(x, labels)"
            )
        arrays.append(np.array(array, order="C"))
    if not arrays:
        raise ValueError(f"{name}: there are no inputs; at least one is needed")
    return arrays


def _checked_output(out: Any, name: str) -> Tensor:
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: f returned a {type(out).__name__}; it must return one Tensor")
    if out.dtype != np.float64:
        raise TypeError(f"{name}: f returned {out.dtype} for float64 inputs; it must return float64")
    return out


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random signs times magnitudes in [0.5, 1.5]: no entry is small, no two alike."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def direction(rng: np.random.Generator, arrays: Sequence[Array], only: int | None = None) -> list[Array]:
    """A random unit vector over all arrays jointly (or over one), each of n entries at least 0.1 / sqrt(n)."""
    u = [signed(rng, a.shape) if only in (None, i) else np.zeros(a.shape) for i, a in enumerate(arrays)]
    norm = float(np.sqrt(sum(float((part * part).sum()) for part in u)))
    return [part / norm if norm else part for part in u]


def _same(some: Sequence[Array], others: Sequence[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


class Problem:
    """f at one point: its values, its gradients for a cotangent, its central differences along a direction."""

    def __init__(self, name: str, f: Callable[..., list[Tensor]], arrays: list[Array]) -> None:
        self.f, self.arrays = f, arrays
        self.record()
        self.values = [np.array(out.array) for out in self.outs]
        if not all(np.isfinite(value).all() for value in self.values):
            raise ValueError(f"{name}: f is not finite at the inputs, so it has no central differences there")
        if not _same(self.values, again := self.at(arrays)):
            self._blame_randomness_or_recording(name, again)

    def _blame_randomness_or_recording(self, name: str, again: list[Array]) -> NoReturn:
        self.record()
        if not _same(self.values, [out.array for out in self.outs]) or not _same(again, self.at(self.arrays)):
            raise ValueError(
                f"{name}: f gives another result for the same inputs; fix its random numbers, as a dropout mask"
            )
        pairs = zip(self.values, again, strict=True)
        worst = max(float(np.max(np.abs(a - b), initial=0)) if a.shape == b.shape else np.inf for a, b in pairs)
        if name == "gradgradcheck":
            raise GradientError(
                f"{name}: the gradient with create_graph=True is another than without, apart by {worst:.3g}: a rule, "
                "or f, computes something else on Tensors that require grad than on arrays; both need the same formula"
            )
        raise GradientError(
            f"{name}: f gives another result while gradients are recorded than under no_grad, apart by {worst:.3g}; "
            "both need the same formula"
        )

    def record(self) -> None:
        """Run f on fresh leaves."""
        self.leaves = [wrap(a.copy()).requires_grad_() for a in self.arrays]
        with enable_grad():
            self.outs = self.f(*self.leaves)

    def at(self, arrays: Sequence[Array]) -> list[Array]:
        with no_grad():
            return [out.array for out in self.f(*(wrap(a.copy()) for a in arrays))]

    def gradients(self, cotangents: Sequence[Array]) -> list[Array]:
        pairs = [(out, c) for out, c in zip(self.outs, cotangents, strict=True) if out.requires_grad]
        if not pairs:
            return [np.zeros_like(a) for a in self.arrays]
        outs, given = zip(*pairs, strict=True)
        found = grad(outs, self.leaves, list(given), retain_graph=True, allow_unused=True)
        return [np.zeros_like(a) if g is None else g.array for g, a in zip(found, self.arrays, strict=True)]

    def difference(
        self, u: Sequence[Array], here: Sequence[Array] | None = None, step: float = STEP
    ) -> tuple[list[Array], list[Array]]:
        """((f(x + h u) - f(x - h u)) / 2h per output, and u as it came out after rounding x + h u)."""
        here = self.arrays if here is None else here
        after = [a + step * part for a, part in zip(here, u, strict=True)]
        before = [a - step * part for a, part in zip(here, u, strict=True)]
        taken = [(p - m) / (2 * step) for p, m in zip(after, before, strict=True)]
        return [(p - m) / (2 * step) for p, m in zip(self.at(after), self.at(before), strict=True)], taken

    def unit(self, *places: tuple[int, tuple[int, ...]]) -> list[Array]:
        """A direction that is 1 at the given entries, (of which array, where), and 0 elsewhere."""
        u = [np.zeros(a.shape) for a in self.arrays]
        for i, at in places:
            u[i][at] = 1.0
        return u

    def tolerance(self, cotangents: Sequence[Array]) -> float:
        pairs = zip(cotangents, self.values, strict=True)
        scale = sum(float((np.abs(c) * np.abs(value)).sum()) for c, value in pairs)
        return TOLERANCE * (1.0 + scale)

    def both(
        self, cotangents: Sequence[Array], gradients: Sequence[Array], u: Sequence[Array], step: float = STEP
    ) -> tuple[float, float]:
        """(<VJP(c), u>, its central difference)."""
        differences, taken = self.difference(u, step=step)
        numeric = sum(float((c * d).sum()) for c, d in zip(cotangents, differences, strict=True))
        return sum(float((g * part).sum()) for g, part in zip(gradients, taken, strict=True)), numeric


def _fades(problem: Problem, cotangents: Sequence[Array], gradients: Sequence[Array], u: Sequence[Array]) -> bool:
    """Whether the gap to central differences is half as large for half the step, so that the rule is right.

    Where the slope has a kink, as that of huber_loss at delta, differences are off by a quarter of a step times the
    jump of the second derivative; what a rule is wrong by stays.
    """
    gaps = []
    for step in (STEP, STEP / 2):
        rule, numeric = problem.both(cotangents, gradients, u, step)
        gaps.append(rule - numeric)
    return bool(abs(2 * gaps[1] - gaps[0]) <= problem.tolerance(cotangents))


def _check(
    name: str,
    f: Callable[..., list[Tensor]],
    arrays: list[Array],
    names: list[str],
    probes: int,
    full: bool,
    rng: np.random.Generator,
) -> None:
    problem = Problem(name, f, arrays)
    if full:
        _check_jacobian(name, problem, names)
        return
    for _ in range(probes):
        cotangents = [signed(rng, value.shape) for value in problem.values]
        gradients = problem.gradients(cotangents)
        tolerance = problem.tolerance(cotangents)
        u = direction(rng, arrays)
        rule, numeric = problem.both(cotangents, gradients, u)
        if not abs(rule - numeric) <= tolerance and not _fades(problem, cotangents, gradients, u):  # nan fails too
            kink = has_kink(problem, cotangents, u, STEP)
            outside, smooth = outside_the_subdifferential(problem, names, STEP) if kink else ("", True)
            if kink and not outside:
                return  # every entry has been judged
            head = f"{name}: along a random direction the rules give {rule:.12g}, central differences {numeric:.12g}"
            head += f" (apart by {abs(rule - numeric):.3g}, allowed {tolerance:.3g})"
            raise GradientError(head + outside + (_blame(problem, cotangents, gradients, names, rng) if smooth else ""))


def _blame(
    problem: Problem,
    cotangents: Sequence[Array],
    gradients: Sequence[Array],
    names: list[str],
    rng: np.random.Generator,
) -> str:
    """Which inputs are to blame, each probed alone, and the worst entry of the first of them."""
    tolerance = problem.tolerance(cotangents)
    lines, worst, how = [], "", []
    for i, (x, name) in enumerate(zip(problem.arrays, names, strict=True)):
        if not x.size:
            continue
        rule, numeric = problem.both(cotangents, gradients, direction(rng, problem.arrays, i))
        wrong = not abs(rule - numeric) <= tolerance
        lines.append(f"\n  {name} {x.shape}: {'wrong' if wrong else 'right'}, {rule:.12g} against {numeric:.12g}")
        if wrong:
            how.append(_said(name, mistakes_in(problem, i, names, rng)))
            worst = worst or _worst_entry(problem, cotangents, gradients, i, name)
    return "".join(lines) + worst + "".join(how)


def mistakes_in(problem: Problem, i: int, names: Sequence[str], rng: np.random.Generator) -> list[Mistake] | None:
    """The mistakes that explain the gradient of input i for three random cotangents; None where it is too large."""
    x, out = problem.arrays[i], problem.values[0]
    alike = [j for j, a in enumerate(problem.arrays) if j != i and a.shape == x.shape]
    if len(problem.values) != 1 or x.size * out.size > _MOST_NUMBERS or not np.isfinite(x).all():
        return None
    cotangents = [signed(rng, out.shape) for _ in range(3)]
    evidence = Evidence(
        x_shape=x.shape,
        out_shape=out.shape,
        jacobian=_jacobian(problem, i),
        cotangents=cotangents,
        gradients=[problem.gradients([c])[i] for c in cotangents],
        others={names[j]: _jacobian(problem, j) for j in alike},
        elsewhere=_elsewhere(problem, i, names),
        tolerance=4 * max(problem.tolerance([c]) for c in cotangents),
        x=x,
    )
    return mistakes(evidence)


def _elsewhere(problem: Problem, i: int, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """Where a rule for input i could have been evaluated by mistake, and the Jacobian there."""
    x, out = problem.arrays[i], problem.values[0]
    moved = [({i: -x}, f"-{names[i]} for {names[i]}")]
    moved += [({j: to}, what) for j, a in enumerate(problem.arrays) if j != i for what, to in misplaced(a, names[j])]
    moved += [({i: out}, f"the output for {names[i]}")] if out.shape == x.shape else []
    for point, what in moved:
        jacobian = _jacobian(problem, i, point)
        if np.isfinite(jacobian).all():
            yield what, jacobian


def _said(name: str, found: list[Mistake] | None) -> str:
    if found is None:
        return f"\n  {name} is too large to look for a known mistake"
    if not found:
        return f"\n  the gradient of {name} fits no known mistake"
    return f"\n  the gradient of {name} is " + ", or ".join(mistake.text for mistake in found)


def _jacobian(problem: Problem, i: int, moved: dict[int, Array] | None = None) -> Array:
    """d out / d x_i by central differences, at the inputs or at others: (*out *x)."""
    here = [(moved or {}).get(k, a) for k, a in enumerate(problem.arrays)]
    jacobian = np.empty((*problem.values[0].shape, *here[i].shape))
    for at in np.ndindex(here[i].shape):
        whole, half = (problem.difference(problem.unit((i, at)), here, step) for step in (STEP, STEP / 2))
        # As _fades: right where the slope has a kink, too.
        jacobian[(..., *at)] = 2 * half[0][0] / half[1][i][at] - whole[0][0] / whole[1][i][at]
    return jacobian


def _worst_entry(problem: Problem, cotangents: Sequence[Array], gradients: Sequence[Array], i: int, name: str) -> str:
    found = (-1.0, "")
    for at in list(np.ndindex(problem.arrays[i].shape))[:_MOST_ENTRIES]:
        rule, numeric = problem.both(cotangents, gradients, problem.unit((i, at)))
        gap = abs(rule - numeric)
        if not gap <= found[0]:
            found = (
                gap,
                f"\n  the worst entry is {name}{list(at)}: rule {rule:.12g}, central difference {numeric:.12g}",
            )
        if np.isnan(gap):
            break
    return found[1]


def _check_jacobian(name: str, problem: Problem, names: list[str]) -> None:
    columns: list[list[list[Array]]] = []  # per input, per entry, per output
    for i, x in enumerate(problem.arrays):
        columns.append([])
        for at in np.ndindex(x.shape):
            differences, taken = problem.difference(problem.unit((i, at)))
            columns[i].append([d / taken[i][at] for d in differences])
    for k, value in enumerate(problem.values):
        for at in np.ndindex(value.shape):
            cotangents = [np.zeros(v.shape) for v in problem.values]
            cotangents[k][at] = 1.0
            tolerance = problem.tolerance(cotangents)
            gradients = problem.gradients(cotangents)
            for i, g in enumerate(gradients):
                for j, (rule, entry) in enumerate(zip(g.ravel(), np.ndindex(g.shape), strict=True)):
                    numeric = columns[i][j][k][at]
                    if not abs(rule - numeric) <= tolerance:
                        if _fades(problem, cotangents, gradients, problem.unit((i, entry))):
                            continue
                        kink = has_kink(problem, cotangents, problem.unit((i, entry)), STEP)
                        outside, smooth = outside_the_subdifferential(problem, names, STEP) if kink else ("", True)
                        if kink and not outside:
                            return
                        raise GradientError(
                            f"{name}: the derivative of output{list(at)} by {names[i]}{list(entry)} is wrong: "
                            f"rule {rule:.12g}, central difference {numeric:.12g} "
                            f"(apart by {abs(rule - numeric):.3g}, allowed {tolerance:.3g})"
                            + outside
                            + (
                                _said(names[i], mistakes_in(problem, i, names, np.random.default_rng(0)))
                                if smooth
                                else ""
                            )
                        )
