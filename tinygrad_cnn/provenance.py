"""Where nan and inf come from: whether an op made them or passed them on, and why, in words.

`detect_anomaly` asks while the ops run, `find_nan` when they have run.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from .observation import Summary

Key = TypeVar("Key")
Values = Mapping[str, Summary]


def came_in_with(sources: Iterable[tuple[Key, bool]]) -> Key | None:
    """The first of the inputs, (key, whether nan or inf was there before); None if the op made them itself."""
    return next((key for key, is_sick in sources if is_sick), None)


def not_finite(value: Summary) -> str:
    """−inf (3,136 values)"""
    total = value.infs + value.nans
    return f"{kinds(value)} ({total:,} value{'s' if total > 1 else ''})"


def kinds(value: Summary) -> str:
    """inf and nan"""
    found = {"−inf": value.minus_infs, "inf": value.infs - value.minus_infs, "nan": value.nans}
    return " and ".join(kind for kind, n in found.items() if n)


def reason(op: str, inputs: Values, out: Summary) -> str:
    """Why an op made `out`, which is not finite, of finite inputs; "" where that is not known."""
    found = _REASONS[op](inputs, out) if op in _REASONS and inputs else ""
    if found or not all(value.is_finite for value in inputs.values()):
        return found
    if any(value.size == 0 for value in inputs.values()):
        return f"the {op} of no numbers; leave empty arrays out"
    if out.dtype not in _LARGEST:
        return ""
    if out.nans:  # of sums, whose parts overflow to inf and −inf
        large = max(max(value.high, -value.low) for value in inputs.values()) > _LARGEST[out.dtype] ** 0.5
        return _overflow(f"a part of {op}", out) if large else ""
    return _overflow(op, out)


def gradient_reason(op: str, values: Values, g: Summary, sent: Summary) -> str:
    """Why an op's gradient rule sent what is not finite, of a finite gradient `g`.

    values: what the rule keeps, by its names, and `g` where the first bad value is.
    """
    slope = next((words for name, test, words in _SLOPES.get(op, ()) if name in values and test(values[name])), "")
    if not slope:
        return "" if sent.nans else _overflow("the gradient", sent)
    if sent.nans and g.zeros == g.size:
        return (
            f"{slope}, and the gradient that arrives is 0: 0*inf is nan, even where a `where` or a mask throws the "
            f"value away; choose the input before the op, too: where(ok, {op}(where(ok, x, 1)), 0)"
        )
    return f"{slope}; keep the input away from there, as with {op}(x + 1e-8) or clamp"


_LARGEST = {"float16": 65504.0, "float32": 3.4028e38, "float64": 1.7976e308}
_EXPONENTS = {"float16": 11.09, "float32": 88.72, "float64": 709.78}


def _overflow(what: str, out: Summary) -> str:
    remedy = "cast to float32 before" if out.dtype == "float16" else "scale the inputs down"
    return f"{what} overflows: {out.dtype} ends at {_LARGEST.get(out.dtype, 0.0):.5g}; {remedy}"


def _x(inputs: Values) -> Summary:
    return next(iter(inputs.values()))


def _log(name: str, zero: float = 0.0) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        x, shown = _x(inputs), f"{zero:g}".replace("-", "−")
        if out.minus_infs and x.low <= zero <= x.high:
            return f"{name}({shown}) is −inf; add a small number, {name}(x + 1e-8), or use log_softmax or logsigmoid"
        return f"{name} of a number below {shown} is nan; clamp the input" if x.low < zero else ""

    return words


def _root(name: str) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        if out.nans:
            return f"{name} of a negative number is nan; clamp the input to 0 or more"
        return f"{name}(0) divides by 0; add a small number, {name}(x + 1e-8)" if _x(inputs).zeros else ""

    return words


def _division(name: str) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        above, *_, below = (_x(inputs), *inputs.values())
        if not below.zeros:
            return ""
        if out.nans and (above.zeros or name != "div"):
            return "0/0 is nan; add a small number to the denominator" if name == "div" else f"{name} by 0 is nan"
        return "a division by 0; add a small number to the denominator"

    return words


def _exponential(name: str, scale: float = 1.0) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        x = _x(inputs)
        most = _EXPONENTS.get(out.dtype, 0.0) / scale
        if not out.infs or max(x.high, -x.low) <= 0:
            return ""
        return (
            f"{name}(x) overflows {out.dtype} beyond {most:.4g}; subtract the maximum first, or use log_softmax, "
            "logsumexp or softplus"
        )

    return words


def _power(inputs: Values, out: Summary) -> str:
    x = _x(inputs)
    if out.nans and x.low < 0:
        return "a negative number to a power that is no integer is nan; clamp the input to 0 or more"
    return "0 to a negative power divides by 0; add a small number to the base" if out.infs and x.zeros else ""


def _inverse(name: str) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        return f"{name} is nan outside [−1, 1]; clamp the input" if max(_x(inputs).high, -_x(inputs).low) > 1 else ""

    return words


def _area(inputs: Values, out: Summary) -> str:
    return "atanh is nan outside [−1, 1], and inf at both; clamp the input" if out.nans or out.infs else ""


def _spread(name: str) -> Callable[[Values, Summary], str]:
    def words(inputs: Values, out: Summary) -> str:
        return f"{name} divides by n − correction = 0; use correction=0, or more numbers" if out.nans else ""

    return words


def _all_ignored(inputs: Values, out: Summary) -> str:
    return "the mean over no target: all are ignore_index, or weigh 0, or the batch is empty" if out.nans else ""


_REASONS: dict[str, Callable[[Values, Summary], str]] = {
    "acos": _inverse("acos"),
    "acosh": lambda inputs, out: "acosh is nan below 1; clamp the input to 1 or more" if out.nans else "",
    "asin": _inverse("asin"),
    "atanh": _area,
    "cosh": _exponential("cosh"),
    "cross_entropy_of_labels": _all_ignored,
    "div": _division("div"),
    "exp": _exponential("exp"),
    "exp2": _exponential("exp2", 0.6931),
    "expm1": _exponential("expm1"),
    "floor_divide": _division("floor_divide"),
    "log": _log("log"),
    "log10": _log("log10"),
    "log1p": _log("log1p", -1.0),
    "log2": _log("log2"),
    "nll_of_labels": _all_ignored,
    "pow": _power,
    "reciprocal": _division("reciprocal"),
    "remainder": _division("remainder"),
    "rsqrt": _root("rsqrt"),
    "sinh": _exponential("sinh"),
    "sqrt": _root("sqrt"),
    "std": _spread("std"),
    "var": _spread("var"),
}


def _has_zero(value: Summary) -> bool:
    return value.zeros > 0


def _has_one(value: Summary) -> bool:
    return max(value.high, -value.low) >= 1


_Test = Callable[[Summary], bool]
_SLOPES: dict[str, tuple[tuple[str, _Test, str], ...]] = {  # where a rule divides by 0: what it keeps, and the words
    "acos": (("x", _has_one, "acos′ is −inf at −1 and 1"),),
    "acosh": (("x", lambda value: value.low <= 1, "acosh′(1) is inf"),),
    "asin": (("x", _has_one, "asin′ is inf at −1 and 1"),),
    "atanh": (("x", _has_one, "atanh′ is inf at −1 and 1"),),
    "div": (("y", _has_zero, "x/y and its slope divide by 0"),),
    "log": (("x", _has_zero, "log′(0) = 1/0 is inf"),),
    "log10": (("x", _has_zero, "log10′(0) is inf"),),
    "log1p": (("x", lambda value: value.low <= -1, "log1p′(−1) is inf"),),
    "log2": (("x", _has_zero, "log2′(0) is inf"),),
    "pow": (("x", _has_zero, "the slope of 0 to a power below 1 is inf"),),
    "reciprocal": (("out", lambda value: not value.is_finite, "the slope of 1/0 is inf"),),
    "rsqrt": (("out", lambda value: not value.is_finite, "the slope of 1/√0 is inf"),),
    "sqrt": (("out", _has_zero, "sqrt′(0) = 1/(2·0) is inf"),),
}
