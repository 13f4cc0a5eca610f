"""`Explanation`: terms that add up to one number, the steps on the way to them, and what is behind what enters."""

import math
from dataclasses import dataclass, field

from . import writers
from .table import Term, total_of


@dataclass(frozen=True)
class Explanation:
    """The arithmetic behind one number; `str()` is a table, and a notebook shows it as one.

    title: what is explained, as "conv2d: y[0,1,2,3]". formula: how it is computed, in names.
    terms: all summands, `total` their sum in float64. steps: what is computed before them, such as a mean.
    value: the number as the engine computed it; None where it is not known any more.
    below: the numbers that enter and are results themselves, each explained, as deep as was asked for.
    max_terms: of a longer list the text shows the two ends, and how many there are between and what they add up to.
    """

    title: str
    formula: str
    terms: tuple[Term, ...]
    value: float | None
    steps: tuple[Term, ...] = ()
    note: str = ""
    below: tuple["Explanation", ...] = field(default=(), repr=False)
    max_terms: int = 24
    tolerance: float = field(default=1e-9, repr=False)
    smallest: float = field(default=0.0, repr=False)

    @property
    def total(self) -> float:
        """The sum of the terms, rounded once."""
        return total_of(self.terms)

    @property
    def agrees(self) -> bool:
        """Whether the terms add up to the engine's value, but for the rounding of its dtype."""
        if self.value is None or not self.terms:
            return True
        if not (math.isfinite(self.total) and math.isfinite(self.value)):
            return self.total == self.value or (math.isnan(self.total) and math.isnan(self.value))
        size = math.fsum(abs(term.value) for term in (*self.terms, *self.steps))
        return abs(self.total - self.value) <= self.tolerance * size + self.smallest

    def __str__(self) -> str:
        return writers.text(self)

    def _repr_html_(self) -> str:
        return writers.html(self)

    def markdown(self) -> str:
        """The table in Markdown."""
        return writers.markdown(self)

    def latex(self) -> str:
        """The sum in LaTeX, as an aligned environment to stand in $$ ... $$."""
        return writers.latex(self)
