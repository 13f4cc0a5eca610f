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
    apart: what the text says of a value that the terms do not add up to.
    max_terms: of a longer list the text shows the two ends, and how many there are between and what they add up to.

        >>> import tinygrad_cnn as tg
        >>> x, w = tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0, -2.0]], requires_grad=True)
        >>> shown = tg.explain(tg.linear(x, w), (0, 0))
        >>> shown.total, shown.agrees, [term.value for term in shown.terms]
        (-3.0, True, [1.0, -4.0])
        >>> print(shown.markdown())
        `linear: out[0,0] = Σ x[i] · w[o,i] = -3`
        <BLANKLINE>
        | term | numbers | value |
        | --- | ---: | ---: |
        | x[0,0] · w[0,0] | 1 · 1 | 1 |
        | x[0,1] · w[0,1] | 2 · (-2) | -4 |
        | sum of 2 terms |  | -3 |
        >>> print(shown.latex())
        \\begin{aligned}
          \\mathrm{out}_{0,0} &= 1 \\cdot 1 \\\\
          &\\quad + 2 \\cdot (-2) \\\\
          &= -3
        \\end{aligned}
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
    apart: str = field(default="a value was replaced since the op ran, or the dtype rounded it away", repr=False)

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
