"""What holds for every op, whatever it computes: `check_op` proves an op with one line.

@given(st.data())
def test_my_op(data):
    check_op(my_op, data)
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Tensor, wrap
from ..shapes import whole
from .cases import Case, function_of, grads_of
from .formulas import Scene
from .gradients import TOLERANCE, GradientError, Problem, direction, gradcheck, gradgradcheck, signed
from .samples import Draw, unprovable
from .smallest import agreed_mistakes, in_full, smallest_failure

Array = NDArray[Any]


def nothing_is_written_to(case: Case) -> None:
    """No input, no parameter and no cotangent changes in a forward or a backward."""
    if case.free:
        case.vjp(case.present(), case.cotangent())
    case.unchanged()


def gradient_agrees_with_central_differences(case: Case) -> None:
    """The rules give the derivative."""
    gradcheck(function_of(case), [case.arrays[i] for i in case.free], seed=case.seed)


def second_gradient_agrees_with_central_differences(case: Case) -> None:
    """The rules, run on Tensors, give the derivative of the gradient."""
    gradgradcheck(function_of(case), [case.arrays[i] for i in case.free], seed=case.seed)


def arrays_and_tensors_agree(case: Case) -> None:
    """The op gives the same bits for arrays, Tensors, and Tensors that require grad; an array for arrays."""
    xs = case.present()
    plain = case.call(xs)
    if type(plain) is not np.ndarray:
        case.fail(f"arrays gave a {type(plain).__name__}, not an ndarray")
    for kind, tensors in (("Tensors", list(map(wrap, xs))), ("leaves", case.leaves(xs)[0])):
        out = case.call(tensors)
        if not isinstance(out, Tensor):
            case.fail(f"{kind} gave a {type(out).__name__}, not a Tensor")
        case.same(out.array, plain, f"{kind} and arrays give different values")


def create_graph_changes_no_bit(case: Case) -> None:
    """The rules give the same gradient on Tensors as on arrays."""
    tensors, leaves = case.leaves(case.present())
    out, c = case.call(tensors), case.cotangent()
    recorded = grads_of(out, leaves, c, create_graph=True)
    for x, y in zip(grads_of(out, leaves, c), recorded, strict=True):
        case.same(y.array, x.array, "the gradient with create_graph=True differs")


def each_gradient_stands_alone(case: Case) -> None:
    """An input's gradient is the same bits whether others are wanted or not."""
    xs, c = case.present(), case.cotangent()
    _, together = case.vjp(xs, c)
    tensors, leaves = case.leaves(xs)
    out = case.call(tensors)
    for i, leaf, g in zip(case.free, leaves, together, strict=True):
        (asked,) = grads_of(out, [leaf], c, retain_graph=True)
        case.same(asked.array, g, f"the gradient of input {i} differs when it is the only one asked for")
        alone, only = case.leaves(xs, [i])
        (single,) = grads_of(case.call(alone), only, c)
        case.same(single.array, g, f"the gradient of input {i} differs when no other input requires grad")


def gradients_have_the_inputs_shape_and_dtype(case: Case) -> None:
    """In float16, float32 and float64; and the output has that dtype too."""
    c = case.cotangent()
    for dtype in (np.float16, np.float32, np.float64):
        xs, params = _cast(case.present(), dtype), _cast_params(case.params, dtype)
        out, gradients = case.vjp(xs, c.astype(dtype), params)
        if out.dtype != dtype and "dtype" not in case.params:
            case.fail(f"the output is {out.dtype} for {np.dtype(dtype)} inputs")
        for i, g in zip(case.free, gradients, strict=True):
            if g.dtype != dtype or g.shape != case.arrays[i].shape:
                case.fail(f"the gradient of input {i} is {g.dtype} {g.shape} for {np.dtype(dtype)} inputs")


def low_precision_is_near_float64(case: Case) -> None:
    """The error is within a small multiple of what rounding does to the inputs, to what cancels, and to the result."""
    c = case.cotangent()
    for dtype in (np.float16, np.float32):
        xs = _cast(case.present(), dtype)
        low_c = c.astype(dtype)
        out, gradients = case.vjp(xs, low_c, _cast_params(case.params, dtype))
        exact_xs, exact_c = _cast(xs, np.float64), low_c.astype(np.float64)
        exact = _flat(case.vjp(exact_xs, exact_c, _cast_params(case.params, np.float64)))
        u = float(np.finfo(dtype).eps) / 2
        scale = 1 + max(map(_largest, exact_xs))  # of what may cancel on the way
        rng, moved = case.rng(), [0.0] * len(exact)
        for _ in range(3):
            signs = [x * (1 + u * rng.choice([-1.0, 1.0], x.shape)) for x in [*exact_xs, exact_c]]
            around = _flat(case.vjp(signs[:-1], signs[-1]))
            moved = [max(m, _largest(a - b)) for m, a, b in zip(moved, around, exact, strict=True)]
        for k, (low, high) in enumerate(zip(_flat((out, gradients)), exact, strict=True)):
            what = f"gradient {k - 1}" if k else "the output"
            allowed = 32 * moved[k] + 8 * u * (scale + _largest(high))
            case.near(low, high, allowed, f"{what} in {np.dtype(dtype)} is far from float64")


def _flat(result: tuple[Array, list[Array]]) -> list[Array]:
    return [result[0], *result[1]]


def _largest(a: Array) -> float:
    return float(np.max(np.abs(a), initial=0.0))


def _cast(xs: Sequence[Array], dtype: Any) -> list[Array]:
    return [x.astype(dtype) for x in xs]


def _cast_params(params: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Parameters that are float arrays (weights, probabilities) come in the inputs' dtype."""
    is_float = {k: isinstance(v, np.ndarray) and v.dtype.kind == "f" for k, v in params.items()}
    return {k: v.astype(dtype) if is_float[k] else v for k, v in params.items()}


def backward_repeats_bit_for_bit(case: Case) -> None:
    """With retain_graph a second backward gives the same gradient again, so that `.grad` doubles exactly."""
    tensors, leaves = case.leaves(case.present())
    out, c = case.call(tensors), case.cotangent()
    out.backward(wrap(c), retain_graph=True)
    once = [None if x.grad is None else x.grad.array.copy() for x in leaves]
    out.backward(wrap(c))
    for x, g in zip(leaves, once, strict=True):
        if (x.grad is None) != (g is None):
            case.fail("one of two backward passes left a gradient, the other none")
        if x.grad is not None and g is not None:
            case.same(x.grad.array, g + g, "two backward passes do not give twice the gradient of one")


def gradient_is_linear_in_the_cotangent(case: Case) -> None:
    """VJP(0) = 0; VJP(2c) = 2 VJP(c) and VJP(-c) = -VJP(c) bit for bit; VJP(c + d) = VJP(c) + VJP(d) to rounding."""
    xs, c = case.present(), case.cotangent()
    d = c[::-1].copy() if c.ndim else c * 0.75
    _, of_c = case.vjp(xs, c)
    _, of_d = case.vjp(xs, d)
    _, of_sum = case.vjp(xs, c + d)
    for factor in (0.0, 2.0, -1.0):
        for got, g in zip(case.vjp(xs, c * factor)[1], of_c, strict=True):
            case.same(got, g * factor, f"the gradient for {factor} c is not {factor} times the gradient for c")
    for got, a, b in zip(of_sum, of_c, of_d, strict=True):
        case.near(got, a + b, 1e-12 * (1 + _largest(a) + _largest(b)), "VJP(c + d) is not VJP(c) + VJP(d)")


def gradients_share_no_memory(case: Case) -> None:
    """A gradient aliases no input, no output, no cotangent and no other gradient."""
    xs, c = case.present(), case.cotangent()
    tensors, leaves = case.leaves(xs)
    out = case.call(tensors)
    for way in ("grad", "backward"):
        if way == "grad":
            found = grads_of(out, leaves, c, retain_graph=True)
        else:
            out.backward(wrap(c))
            found = [x.grad for x in leaves if x.grad is not None]
        arrays = [g.array for g in found]
        others = [("an input", x) for x in xs] + [("the cotangent", c), ("the output", out.array)]
        others += [("a parameter", p) for p in case.params.values() if isinstance(p, np.ndarray)]
        for i, g in enumerate(arrays):
            for name, other in [*others, *(("another gradient", h) for h in arrays[:i])]:
                if np.may_share_memory(g, other):
                    case.fail(f"{way}: gradient {i} shares memory with {name}")
            if not g.flags.writeable:
                case.fail(f"{way}: gradient {i} is read-only")


def layout_does_not_matter(case: Case) -> None:
    """Strided, reversed, Fortran, unaligned, read-only and 0-stride arrays give what contiguous copies give."""
    for name, layout in _LAYOUTS.items():
        xs = [layout(x) for x in case.present()]
        copies = [np.array(x, order="C") for x in xs]
        c = layout(case.cotangent())
        if not case.free:
            case.same(case.call(xs), case.call(copies), f"{name} inputs give another result")
            continue
        got, wanted = _flat(case.vjp(xs, c)), _flat(case.vjp(copies, np.array(c, order="C")))
        for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
            what = f"gradient {k - 1}" if k else "the output"
            if a.shape != b.shape:
                case.fail(f"{name} inputs: {what} has shape {a.shape}, {b.shape} for contiguous ones")
            if not np.array_equal(a, b, equal_nan=True):
                case.near(a, b, 1e-13 * (1 + _largest(b)) * max(1, a.size), f"{name} inputs: {what} differs")


def formulas_agree_with_the_rules(case: Case) -> None:
    """What the op's formulas compute, evaluated from first principles, is what its rules compute."""
    op = case.op
    if not op.formulas:
        return
    c = case.cotangent()
    out, gradients = case.vjp(case.present(), c)
    scene = Scene(op, case.arrays, case.params, out, c)
    for place, gradient in zip(case.free, gradients, strict=True):
        name = op.variadic or op.inputs[place]
        if name in op.formulas:
            fact = f"the formula ∂{name} = {op.formulas[name]} is not what the rule computes"
            case.near(gradient, scene.gradient(place), 1e-9 * (1 + _largest(gradient)), fact)


def _everywhere(a: Array, step: int) -> Any:
    """An index that walks every axis in steps of `step`; a view of 0-d arrays too."""
    return (Ellipsis, *(slice(None, None, step),) * a.ndim)


def _every_second(a: Array) -> Array:
    wide = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view: Array = wide[_everywhere(a, 2)]
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    return np.asarray(np.array(a[_everywhere(a, -1)])[_everywhere(a, -1)])


def _unaligned(a: Array) -> Array:
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:]
    view = memory.view(a.dtype).reshape(a.shape) if a.size else a.copy()
    view[...] = a
    return view


def _read_only(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran": lambda a: np.array(a, order="F"),
    "strided": _every_second,
    "reversed": _reversed,
    "unaligned": _unaligned,
    "read-only": _read_only,
    "0-stride": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and a.size else a,
}

_SHOWN = 200  # entries of a call that is shown in full

FORWARD = (nothing_is_written_to, arrays_and_tensors_agree, layout_does_not_matter)
GRADIENT = (
    gradient_agrees_with_central_differences,
    create_graph_changes_no_bit,  # before what takes both gradients for the same
    second_gradient_agrees_with_central_differences,
    formulas_agree_with_the_rules,
    each_gradient_stands_alone,
    gradients_have_the_inputs_shape_and_dtype,
    low_precision_is_near_float64,
    backward_repeats_bit_for_bit,
    gradient_is_linear_in_the_cotangent,
    gradients_share_no_memory,
)


def check_op(op: Any, data: Any) -> None:
    """Prove one op on one drawn example: gradients to second order, formulas, dtypes, layouts, aliasing, linearity.

    data: the `data` of Hypothesis's `st.data()`, or a `Draw`, as Draw.seeded(0).

    Raises GradientError that names the call and the fact that does not hold, TypeError for an op without
    gradient rules or without the sample that its inputs need. Where a gradient is wrong its notes say how, if it is
    one of the mistakes that rules are written with (mistakes.py), and show the smallest call that fails in full:
    Hypothesis shrinks to it; for a Draw it is looked for, by Hypothesis too where that is installed.

        >>> import tinygrad_cnn as tg
        >>> @tg.op
        ... def scaled(x, /):
        ...     "x * 3"
        ...     return x * 3.0
        >>> scaled.vjp(x=lambda g: g * -3.0)
        >>> try:
        ...     tg.testing.check_op(scaled, tg.testing.Draw.seeded(0))
        ... except tg.testing.GradientError as error:
        ...     print("\\n".join(error.__notes__[1:]))
        in all 5 samples in which it is wrong, the gradient of x is the true gradient with its sign flipped
        the smallest failing call found:
          x = [0.0, 0.0, 0.0]
          g = [1.0, 2.0, -1.0]
          ∂x: the rule gives [-3.0, -6.0, 3.0], differences [3.0, 6.0, -3.0]
    """
    case = Case(op, data if isinstance(data, Draw) else Draw.of(data))
    for check in FORWARD + (GRADIENT if case.free else ()):
        try:
            check(case)
        except GradientError as error:
            error.add_note(f"in {check.__name__}, for {case!r}")
            if check is gradient_agrees_with_central_differences:
                _show(error, case, isinstance(data, Draw))
            raise
        case.unchanged()


def _show(error: GradientError, case: Case, search: bool) -> None:
    """Note what mistake it is, and the smallest call: this one where it is drawn by Hypothesis, which shrinks."""
    if agreed := agreed_mistakes(case.op):
        error.add_note(agreed)
    small = smallest_failure(case.op) if search else case
    if small is not None and sum(a.size for a in small.present()) <= _SHOWN:
        error.add_note(f"{'the smallest failing call found' if search else 'the call'}:\n  {in_full(small)}")


def rule_error(op: Any, examples: int = 3) -> float | None:
    """How far the rules of an op are from central differences along a random direction, at most, on seeded examples.

    Relative to 1 + sum |c||f|, as `gradcheck` judges it: a right rule stays below TOLERANCE. None for an op without
    the rules or the sample that a proof needs. Raises ValueError for less than one example.
    """
    examples = whole("rule_error", "examples", examples, 1)
    if unprovable(op):
        return None
    worst = 0.0
    for seed in range(examples):
        case = Case(op, Draw.seeded(seed))
        if not case.free:
            continue
        f, arrays = function_of(case), [case.arrays[i] for i in case.free]
        problem = Problem("rule_error", lambda *xs, f=f: [f(*xs)], arrays)
        rng = case.rng()
        cotangents = [signed(rng, value.shape) for value in problem.values]
        rule, numeric = problem.both(cotangents, problem.gradients(cotangents), direction(rng, arrays))
        worst = max(worst, abs(rule - numeric) * TOLERANCE / problem.tolerance(cotangents))
    return worst
