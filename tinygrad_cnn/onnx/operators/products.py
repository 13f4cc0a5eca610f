"""Sums of products over named axes."""

from ...graph import Tensor
from ...ops.einsum import einsum
from .registry import Node, operator


@operator("Einsum")
def summed(node: Node, *xs: Tensor) -> Tensor:
    """The sum of products that the equation names."""
    equation = node.attribute("equation")
    if not isinstance(equation, str):
        raise node.fail("the attribute 'equation' is missing; it says which axes are multiplied and summed")
    node.allow(_size(node, equation, xs), max((x.array.itemsize for x in xs), default=1))
    y: Tensor = einsum(equation, *xs)
    return y


def _size(node: Node, equation: str, xs: tuple[Tensor, ...]) -> tuple[int, ...]:
    """The lengths of the output's axes, as far as the equation can be read: einsum says what is wrong with it."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    lengths: dict[str, int] = {}
    around: dict[int, int] = {}  # the axes of '...', counted from their last one
    for text, x in zip(left.split(","), xs, strict=False):
        before, dots, after = text.partition("...")
        inside = x.ndim - len(before) - len(after)
        named = (*x.shape[: len(before)], *x.shape[x.ndim - len(after) :]) if inside >= 0 else x.shape
        for letter, n in zip(before + after, named, strict=False):
            lengths[letter] = max(n, lengths.get(letter, 0))
        for i in range(inside if dots else 0):
            around[i] = max(x.shape[len(before) + inside - 1 - i], around.get(i, 0))
    together = left.replace(".", "").replace(",", "")
    kept = right.replace("...", "") if arrow else [c for c in lengths if together.count(c) == 1]
    return (*(around.values() if "..." in right or not arrow else ()), *(lengths.get(letter, 1) for letter in kept))
