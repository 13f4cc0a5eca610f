"""How the formula of a gradient is written, and its reader: the line that a diagram prints on an op.

    relu.formula(x="∂out · 1[x > 0]")           which a picture prints as  ∂x = ∂out · 1[x > 0]

A formula computes ∂x from ∂out. Its names are the op's inputs and parameters, `out`, the ∂ of another input, and
the names of LEGEND. What is None counts as a factor of 1, and as a bound that holds.

    + − · / ^ ²        elementwise with broadcasting; · and / from left to right
    a @ b, aᵀ          the matrix product and the last two axes swapped; a vector is a row left and a column right of @
    a ⋆ w              cross-correlation in the op's own geometry; a ⋆ 1 sums windows
    g ⋆ᵀ w, x ⋆ʷ g     its adjoints in the image and in the kernels
    1[x > 0]           1 where it holds, 0 elsewhere, whatever it is multiplied with: = ≠ < > ≤ ≥ ¬, also 1[a ≤ x ≤ b]
    Σ a·b, Σ(a)·b      the sum of the whole product to the right, or of the parentheses alone; so does mean
    exp x, f(x, y)     a function; without parentheses, of one factor
    a[i]               a at a NumPy index

Σ and mean keep what they sum at length one, and run along the op's `axis`, without that parameter over all axes but
the channels; Σ_c runs along the channels and Σ_rows over all axes but the last. Axes that the op itself reduced stand
in out and ∂out at length one. v_c is a vector along the channels, v_nhw has all axes but the channels.

As in gradient rules, broadcasting is undone unsaid: the result is summed, or stretched, to the input's shape.

testing/formulas.py evaluates a formula and has the functions. User ops may do without a formula.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LEGEND = {
    "n": "the number of elements that are reduced into one",
    "N": "what a mean divides by: the weights of the labels that count, or the number of values; 1 without a mean",
    "q": "the probabilities aimed at: onehot(labels) or target, smoothed and weighted; 0 where ignored",
    "σ": "sqrt(var + eps) of each channel, or along axis",
    "x̂": "(x − mean) / σ of each channel, or along axis",
    "k": "the place of the input among several",
    "count": "how many cells of each window the average counts",
    "reads": "with which weight each output pixel reads each input pixel, a row for each output",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """One node of a parsed formula, and which characters of the text it was; `kind` says what `text` is."""

    kind: str  # number, name, function, indicator, sign, minus, transpose, square, index
    text: str
    parts: tuple["Expression", ...]
    start: int
    end: int

    def walk(self) -> Iterator["Expression"]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


_TOKEN = re.compile(
    r"\s*(?:(?P<indicator>1\[)|(?P<number>\d+(?:\.\d+)?)|(?P<name>∂?[^\W\d_ᵀʷ²][^\Wᵀʷ²]*\u0302?)"
    r"|(?P<sign>⋆ᵀ|⋆ʷ|[−+·/@⋆^²ᵀ()\[\],=≠<>≤≥¬]))"
)
_PRODUCTS = ("·", "/", "@", "⋆", "⋆ᵀ", "⋆ʷ")
_RELATIONS = ("=", "≠", "<", ">", "≤", "≥")


def parse(text: str) -> Expression:
    """The formula as a tree. Raises ValueError that shows where it cannot be read."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[tuple[str, str, int, int]] = []  # kind, text, start, end
        place, stripped = 0, text.rstrip()
        while place < len(stripped):
            found = _TOKEN.match(text, place)
            if not found:
                raise self.wrong(place)
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind), place := found.end()))
        self.tokens.append(("end", "", len(text), len(text)))

    def wrong(self, place: int) -> ValueError:
        shown = f"{self.text[:place]}⟨here⟩{self.text[place:]}"
        return ValueError(f"formula: {shown} cannot be read; the notation is in tinygrad_cnn.notation")

    def next_is(self, *signs: str) -> bool:
        return self.tokens[self.at][1] in signs

    def take(self, *signs: str) -> str:
        kind, found, start, _ = self.tokens[self.at]
        if kind == "end" or (signs and found not in signs):
            raise self.wrong(start)
        self.at += 1
        return found

    def node(self, kind: str, text: str, parts: Sequence[Expression], start: int) -> Expression:
        return Expression(kind, text, tuple(parts), start, self.tokens[self.at - 1][3])

    def whole(self) -> Expression:
        found = self.sum()
        if self.tokens[self.at][0] != "end":
            raise self.wrong(self.tokens[self.at][2])
        return found

    def sum(self) -> Expression:
        start = self.tokens[self.at][2]
        if self.next_is("−"):
            self.take()
            left = self.node("minus", "−", [self.product()], start)
        else:
            left = self.product()
        while self.next_is("+", "−"):
            left = self.node("sign", self.take(), [left, self.product()], start)
        return left

    def product(self) -> Expression:
        start = self.tokens[self.at][2]
        left = self.power()
        while self.next_is(*_PRODUCTS):
            left = self.node("sign", self.take(), [left, self.power()], start)
        return left

    def power(self) -> Expression:
        start = self.tokens[self.at][2]
        base = self.postfix()
        if self.next_is("^"):
            return self.node("sign", self.take(), [base, self.postfix()], start)
        return base

    def postfix(self) -> Expression:
        start = self.tokens[self.at][2]
        found = self.atom()
        while self.next_is("ᵀ", "²", "["):
            if self.take() == "[":
                index = self.sum()
                self.take("]")
                found = self.node("index", "", [found, index], start)
            else:
                found = self.node("transpose" if self.tokens[self.at - 1][1] == "ᵀ" else "square", "", [found], start)
        return found

    def atom(self) -> Expression:
        kind, text, start, _ = self.tokens[self.at]
        if kind == "number":
            return self.node("number", self.take(), [], start)
        if kind == "indicator":
            return self.indicator()
        if kind == "name":
            self.take()
            return self.name(text, start)
        self.take("(")
        found = self.sum()
        self.take(")")
        return Expression(found.kind, found.text, found.parts, start, self.tokens[self.at - 1][3])

    def indicator(self) -> Expression:
        start = self.tokens[self.at][2]
        self.take()
        text = self.take() if self.next_is("¬") else ""
        parts = [self.sum()]
        while self.next_is(*_RELATIONS):
            text += self.take()
            parts.append(self.sum())
        self.take("]")
        return self.node("indicator", text, parts, start)

    def name(self, text: str, start: int) -> Expression:
        sums = text.partition("_")[0] in ("Σ", "mean")
        if self.next_is("("):
            self.take()
            parts = [self.sum()]
            while self.next_is(","):
                self.take()
                parts.append(self.sum())
            self.take(")")
        elif self.tokens[self.at][0] in ("number", "indicator", "name"):
            parts = [self.product() if sums else self.power()]
        else:
            return self.node("name", text, [], start)
        return self.node("function", text, parts, start)
