"""Gradient rules proved with `==`: on fractions (`exact_check`), and by the adjoint identity on integers.

The rules are functions of arrays, so they run on arrays of fractions too, and nothing rounds. Differences are then
exactly the derivative, for a step of any size: one-sided ones of functions that are linear or piecewise linear,
central ones of those that are quadratic. Tensors hold floating-point numbers only; the checks call the op's own
function and rules.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backprop import grad
from ..basics import sum_to
from ..declaration import Op, Plan
from ..graph import Tensor, wrap
from .gradients import GradientError
from .samples import declaration, seeded

__all__ = ["adjoint_check", "exact_check"]

Array = NDArray[Any]

_STEP = Fraction(1, 2**24)
_COARSEST = 2**20  # the largest denominator of a float that is taken for a number that was not rounded
_ROUNDING = Fraction(1, 2**48)
_LARGEST = 2**20  # integers whose products and sums float64 holds


class Exact(Fraction):
    """A fraction that stays one when it meets a float, which is a fraction too; as a scalar of NumPy where asked."""

    ndim, size, shape, dtype = 0, 1, (), np.dtype(object)

    def astype(self, dtype: Any, copy: bool = True) -> "Exact":
        return self


def _exactly(name: str) -> Callable[[Any, Any], Any]:
    plain = getattr(Fraction, name)

    def operation(self: Any, other: Any) -> Any:
        if isinstance(other, np.generic):
            other = other.item()
        if isinstance(other, float) and np.isfinite(other):
            other = int(other) if name == "__pow__" and other.is_integer() else Fraction(other)
        result = plain(self, other)
        return Exact(result) if isinstance(result, (Fraction, int)) else result

    return operation


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod"):
    for _side in (f"__{_name}__", f"__r{_name}__"):
        setattr(Exact, _side, _exactly(_side))
Exact.__pow__ = _exactly("__pow__")  # type: ignore[method-assign]
Exact.__neg__ = lambda self: Exact(Fraction.__neg__(self))  # type: ignore[method-assign]
Exact.__pos__ = lambda self: self  # type: ignore[method-assign]
Exact.__abs__ = lambda self: Exact(Fraction.__abs__(self))  # type: ignore[method-assign]


def exact_check(op: Any, *arrays: Any, seed: int = 0, **params: Any) -> bool:
    """Prove the rules of an op at `arrays` without tolerance: on fractions, every entry, `==`.

    arrays: of integers, floats (each is a fraction) or Fractions, one per input, None for one that is left out;
        integers where the op has no gradient, as indices, stay what they are. params: the op's parameters.

    At a kink every gradient between the one-sided derivatives is right. True, or raises GradientError that names the
    entry and both numbers; TypeError for an op that leaves the fractions, as exp does, or has no gradient; ValueError
    where it is neither piecewise linear nor quadratic, as 1 / x, and differences are no proof.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> image, kernel = np.arange(12).reshape(1, 1, 3, 4), np.array([[[[1, -2], [3, 5]]]])
        >>> tg.testing.exact_check(tg.conv2d, image, kernel, stride=2)
        True
        >>> @tg.op
        ... def doubled(x, /):
        ...     "x + x"
        ...     return x + x
        >>> doubled.vjp(x=lambda g: g * 3)
        >>> try:
        ...     tg.testing.exact_check(doubled, np.array([1, -2]))
        ... except tg.testing.GradientError as error:
        ...     print(str(error).partition("): ")[2])
        the rule gives 9 for x[0]; the derivative is 6, for the cotangent [3, -2]
    """
    declared, rng = declaration(op), seeded(seed, "exact_check")
    xs: list[Any] = [
        None if a is None else _fractions(a) if _free(declared, i) else np.asarray(a) for i, a in enumerate(arrays)
    ]
    if not declared.variadic:
        xs += [None] * (len(declared.inputs) - len(xs))
    given = {k: _fractions(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in params.items()}
    call = _Call(declared, xs, {**declared.defaults, **given})
    out = call.forward(xs)
    c = _fractions(rng.integers(1, 4, out.shape) * rng.choice([-1, 1], out.shape))
    gradients = call.gradients(c)
    if not gradients:
        raise TypeError(f"exact_check: no input of {declared.name} has a gradient; there is nothing to prove")
    for i, gradient in gradients.items():
        name = f"{declared.variadic}[{i}]" if declared.variadic else declared.inputs[i]
        shape = np.shape(xs[i])
        if gradient.shape != shape:
            raise GradientError(f"exact_check: the gradient of {name} has shape {gradient.shape}, needs {shape}")
        for at in np.ndindex(shape):
            low, high = call.derivative(i, at, c, out, name)
            if not low <= gradient[at] <= high:
                if low - _ROUNDING * abs(low) <= gradient[at] <= high + _ROUNDING * abs(high):
                    raise ValueError(
                        f"exact_check: the rule of {declared.name} for {name} rounds: a number like 1 / 3 is a float "
                        "on its way; use gradcheck, or sizes that are powers of two"
                    )
                wanted = f"the derivative is {low}" if low == high else f"at this kink it is from {low} to {high}"
                raise GradientError(
                    f"exact_check: {declared.describe(xs, params)}: the rule gives {gradient[at]} for "
                    f"{name}{list(at)}; {wanted}, for the cotangent {_shown(c)}"
                )
    return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _free(op: Op, i: int) -> bool:
    return bool(op.differentiable >> i & 1)


def _shown(c: Array) -> str:
    text = str(np.vectorize(str, otypes=[object])(c).tolist()).replace("'", "")
    return text if len(text) <= 200 else f"{text[:197]}..."


def _fractions(a: Any) -> Array:
    """An array of Exact numbers."""
    source = np.asarray(a.array if isinstance(a, Tensor) else a)
    result = np.empty(source.shape, object)
    for at in np.ndindex(source.shape):
        value: Any = source[at]
        number = isinstance(value, (int, float, Fraction, np.number, np.bool_))
        if not number or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
            raise TypeError(
                f"exact_check: {value!r} at {list(at)} is no fraction; integers, finite floats and Fractions are"
            )
        result[at] = Exact(value.item() if isinstance(value, np.generic) else value)
    return result


class _Call:
    """One call of an op on fractions."""

    def __init__(self, op: Op, xs: Sequence[Any], params: dict[str, Any]) -> None:
        self.op, self.xs, self.params = op, list(xs), params
        self.numbers = {v for v in params.values() if isinstance(v, float)}  # not rounded here, however many digits

    def forward(self, xs: Sequence[Any]) -> Array:
        out = self._stays(lambda: self.op.forward(*xs, **self.params))
        return self._exact(out[0] if self.op.residual else out)

    def gradients(self, c: Array) -> dict[int, Array]:
        """What the rules give, per input."""
        op, n = self.op, len(self.xs)
        free = [i for i, x in enumerate(self.xs) if x is not None and _free(op, i)]
        if not free or (op.joint is None and not op.rules):
            return {}
        plan = Plan(op, sum(1 << i for i in free), n)
        results = self._stays(lambda: self._ruled(plan, c))
        return {i: self._exact(results[k]) for k, i in enumerate(free)}

    def _ruled(self, plan: Plan, c: Array) -> list[Any]:
        out = self.op.forward(*self.xs, **self.params)
        value, residual = out if self.op.residual else (out, None)
        saved = plan.save([*self.xs, np.asarray(value), residual], self.params)
        if self.op.joint is None:
            found = [rule(c, *kept) for (_, rule), kept in zip(plan.steps, saved, strict=True)]
        else:
            every = plan.steps[0][1](c, *saved[0])
            found = [every[i] for i in plan.indices]
        if not self.op.broadcast:
            return found
        return [sum_to(np.asarray(g), np.shape(self.xs[i])) for g, i in zip(found, plan.indices, strict=True)]

    def derivative(self, i: int, at: tuple[int, ...], c: Array, out: Array, name: str) -> tuple[Any, Any]:
        """The least and the largest derivative of <c, f> by one entry: the same, but for a kink."""
        low = high = Exact(0)
        sides, shorter = self._sides(i, at, out, _STEP), self._sides(i, at, out, _STEP / 2)
        for g, ahead, behind, ahead2, behind2 in zip(c.flat, *sides, *shorter, strict=True):
            middle = (ahead + behind) / 2
            if ahead - behind == 2 * (ahead2 - behind2) and middle == (ahead2 + behind2) / 2:
                ahead = behind = middle
            elif (ahead, behind) != (ahead2, behind2):
                raise ValueError(
                    f"exact_check: {self.op.name} is neither piecewise linear nor quadratic in {name}{list(at)}, "
                    "so that no difference is its derivative; use gradcheck"
                )
            low, high = low + min(g * ahead, g * behind), high + max(g * ahead, g * behind)
        return low, high

    def _sides(self, i: int, at: tuple[int, ...], out: Array, h: Fraction) -> tuple[list[Any], list[Any]]:
        """The difference quotients ahead and behind, per output."""
        values = []
        for step in (h, -h):
            xs = list(self.xs)
            xs[i] = xs[i].copy()
            xs[i][at] += step
            values.append(self.forward(xs))
        after, before = (value.ravel().tolist() for value in values)
        here = out.ravel().tolist()
        return [(a - v) / h for a, v in zip(after, here, strict=True)], [
            (v - b) / h for b, v in zip(before, here, strict=True)
        ]

    def _stays(self, compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except Exception as error:  # whatever a function of floats does with other numbers
            raise TypeError(
                f"exact_check: {self.op.name} does not stay within the fractions ({_first_line(error)}); "
                "use gradcheck, in float64"
            ) from error

    def _exact(self, result: Any) -> Array:
        """The result as fractions, of which none was rounded on the way."""
        array = np.asarray(result, object)
        for value in array.ravel():
            fine = isinstance(value, (int, Fraction, np.integer))
            if not fine and isinstance(value, (float, np.floating)) and np.isfinite(value):
                fine = Fraction(float(value)).denominator <= _COARSEST or value in self.numbers
            if not fine or isinstance(value, bool):
                raise TypeError(
                    f"exact_check: {self.op.name} does not stay within the fractions: it gives {value!r}; "
                    "use gradcheck, in float64"
                )
        return _fractions(array)


def adjoint_check(op: Any, *arrays: Any, seed: int = 0, **params: Any) -> bool:
    """Prove the rules of an op that is linear in each input, to the last bit: <f(y), c> = <y, rule(c)>, on integers.

    In float64, on Tensors, with the kernels that compute in earnest; small integers round nowhere. arrays and params
    as for exact_check, integers all; y and c are drawn, three of each per input. What f gives for a zero input, as the
    other summands of a sum, is taken off.

    True, or raises GradientError with both numbers; ValueError for arrays that hold other numbers, and for an op that
    is not linear in an input that has a gradient; TypeError for an op without one.

        >>> import numpy as np
        >>> import tinygrad_cnn as tg
        >>> image, kernel = np.arange(12).reshape(1, 1, 3, 4), np.array([[[[1, -2], [3, 5]]]])
        >>> tg.testing.adjoint_check(tg.conv2d, image, kernel, stride=2)
        True
    """
    declared, rng = declaration(op), seeded(seed, "adjoint_check")
    xs: list[Any] = [
        None if a is None else _integers(a, i) if _free(declared, i) else np.asarray(a) for i, a in enumerate(arrays)
    ]
    free = [i for i, x in enumerate(xs) if x is not None and _free(declared, i)]
    if not free or (declared.joint is None and not declared.rules):
        raise TypeError(f"adjoint_check: no input of {declared.name} has a gradient; there is nothing to prove")

    def value(i: int, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(declared.apply(*(np.asarray(y) if k == i else x for k, x in enumerate(xs)), **params))

    for i in free:
        name = f"{declared.variadic}[{i}]" if declared.variadic else declared.inputs[i]
        shape = np.shape(xs[i])
        zero = value(i, np.zeros(shape))
        for _ in range(3):
            y, z = (np.asarray(rng.integers(-4, 5, shape), np.float64) for _ in range(2))
            with np.errstate(all="ignore"):
                share = value(i, y) - zero
                linear = np.array_equal(value(i, y / 2 + z) - zero, share / 2 + (value(i, z) - zero))
            if not linear or not np.array_equal(share * _LARGEST, np.round(share * _LARGEST)):
                raise ValueError(
                    f"adjoint_check: {declared.name} is not linear in {name}, or rounds: f(y/2 + z) is not "
                    "f(y)/2 + f(z) to the last bit; use exact_check or gradcheck"
                )
            c = np.asarray(rng.integers(-3, 4, zero.shape), np.float64)
            leaf = wrap(y.copy()).requires_grad_()
            out = declared.apply(*(leaf if k == i else x for k, x in enumerate(xs)), **params)
            (found,) = grad(out, [leaf], wrap(c), allow_unused=True)
            gradient = np.zeros(shape) if found is None else found.array
            left, right = float((share * c).sum()), float((y * gradient).sum())
            if left != right:
                raise GradientError(
                    f"adjoint_check: {declared.describe(xs, params)}: <f(y), c> is {left:g}, but <y, rule(c)> is "
                    f"{right:g}: the rule for {name} is not the adjoint"
                )
    return True


def _integers(a: Any, i: int) -> Array:
    array = np.asarray(a.array if isinstance(a, Tensor) else a, np.float64)
    if not (np.isfinite(array).all() and (array == np.round(array)).all() and np.abs(array).max(initial=0) <= _LARGEST):
        raise ValueError(
            f"adjoint_check: input {i} holds numbers that are no integers up to {_LARGEST}, so that sums would round; "
            "pass integers"
        )
    return array
