"""What an explanation consists of: terms that add up to one number, made of factors."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Index = tuple[int, ...]

_TWICE = re.compile(r"(?<=\()\((-[^()]*)\)(?=\))")  # exp((-2)) is exp(-2)


@dataclass(frozen=True, slots=True)
class Factor:
    """One number of a term: x[0,1,2], its value, and which input of the op it is (-1: none) at which index."""

    text: str
    value: float
    operand: int = -1
    index: Index = ()


@dataclass(frozen=True, slots=True)
class Term:
    """A summand, or a step: what it is in names (`text`) and in numbers, and its value."""

    text: str
    numbers: str
    value: float
    factors: tuple[Factor, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What an explainer says of one number: the formula, the terms that add up to it, the steps before them."""

    formula: str
    terms: Sequence[Term]
    steps: Sequence[Term] = ()
    note: str = ""


def total_of(terms: Iterable[Term]) -> float:
    """The sum of the terms' values, rounded once; nan and inf as in a plain sum."""
    values = [term.value for term in terms]
    if all(map(math.isfinite, values)):
        return math.fsum(values)
    return float(sum(values))


def shown_number(value: float) -> str:
    """A number with up to six digits, and 0 without a sign."""
    return f"{value + 0.0:.6g}"  # no -0


def bracketed(value: float) -> str:
    """A number as it stands behind a sign: a negative one in brackets."""
    text = shown_number(value)
    return f"({text})" if text.startswith("-") else text


def place(name: str, index: Sequence[int]) -> str:
    """x[0,1,2]"""
    return f"{name}[{','.join(map(str, index))}]" if len(index) else name


def constant(value: float, text: str = "") -> Factor:
    """A factor that is a number of the formula, such as 1/9."""
    return Factor(text or shown_number(value), value)


PADDING = Factor("padding", 0.0)


def product(*factors: Factor) -> Term:
    """The term that multiplies the factors."""
    value = 1.0
    for factor in factors:
        value *= factor.value
    numbers = " · ".join([shown_number(factors[0].value), *(bracketed(f.value) for f in factors[1:])])
    return Term(" · ".join(f.text for f in factors), numbers, value, factors)


def worked(template: str, value: float, **factors: Factor) -> Term:
    """A term or step that is more than a product: `template` is a format string, filled with names and with numbers."""
    text = template.format(**{name: f.text for name, f in factors.items()})
    numbers = template.format(**{name: bracketed(f.value) for name, f in factors.items()})
    numbers = _TWICE.sub(r"\1", numbers)
    return Term(text, numbers, float(value), tuple(factors.values()))
