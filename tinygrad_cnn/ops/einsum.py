"""Sums of products over named axes: einsum, and what it says in one word."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..basics import broadcast_to, sum_to
from ..graph import method
from ..kernels.reduce import widened
from ..primitive import op
from ..shapes import ShapeError, normalize_axes
from .elementwise import mul
from .index import getitem
from .layout import permute, reshape, unsqueeze
from .matmul import matmul

__all__ = ["einsum", "outer", "tensordot"]

Labels = tuple[int, ...]


def _lengths(terms: Sequence[Labels], shapes: Sequence[tuple[int, ...]]) -> dict[int, int]:
    """The length of every label; 1 stretches. Raises ShapeError for two others."""
    found: dict[int, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, n in zip(term, shape, strict=True):
            known = found.get(label, 1)
            if 1 not in (known, n) and known != n:
                raise ShapeError(f"einsum: one label has lengths {known} and {n}, in shapes {list(shapes)}")
            found[label] = n if known == 1 else known
    return found


@op
def contraction(*xs: Any, terms: Sequence[Labels], kept: Labels) -> Any:
    """The product of all arrays, summed over the labels that are not kept.

    terms: the labels of each array's axes, none twice in one; a length of 1 stretches. kept: those of the output.
    """
    lengths = _lengths(terms, [x.shape for x in xs])
    axes = [part for x, term in zip(xs, terms, strict=True) for part in (widened(x), list(term))]
    out = np.einsum(*axes, list(kept), optimize=len(xs) > 1)
    return out.astype(xs[0].dtype, copy=False).reshape([lengths[label] for label in kept])


def _contraction_gradient(
    g: Any, xs: Any, xs_shape: Any, needs: tuple[bool, ...], terms: Sequence[Labels], kept: Labels
) -> list[Any]:
    """For each array the product of g and all others, summed over the labels that it lacks."""
    lengths = _lengths(terms, xs_shape)
    gradients: list[Any] = []
    for k, (term, needed) in enumerate(zip(terms, needs, strict=True)):
        if not needed:
            gradients.append(None)
            continue
        others = [*xs[:k], g, *xs[k + 1 :]]
        around = (*terms[:k], kept, *terms[k + 1 :])
        there = tuple(label for label in term if any(label in other for other in around))
        part = contraction(*others, terms=around, kept=there)
        known = dict(zip(there, part.shape, strict=True))
        full = reshape(part, [known.get(label, 1) for label in term])
        gradients.append(sum_to(broadcast_to(full, [lengths[label] for label in term]), xs_shape[k]))
    return gradients


contraction.vjp_all(_contraction_gradient)
contraction.formula(xs="product(∂out, xs, terms, kept)")


def _contraction_flops(xs_shape: Any, terms: Any, kept: Any) -> int:
    lengths = _lengths(terms, xs_shape)
    return prod(lengths.values()) * (len(terms) - 1 + (len(kept) < len(lengths)))


contraction.flops(_contraction_flops)


_SAMPLES: list[tuple[list[tuple[int, ...]], list[Labels], Labels]] = [
    ([(2, 3), (3, 4)], [(0, 1), (1, 2)], (0, 2)),
    ([(2, 3), (3, 4)], [(0, 1), (1, 2)], (2, 0)),
    ([(2, 3, 4), (4, 2)], [(5, 0, 1), (1, 5)], (5, 0)),
    ([(2, 3), (3,), (2, 2)], [(0, 1), (1,), (2, 0)], (2, 1)),
    ([(2, 1, 3), (4, 3)], [(0, 1, 2), (1, 2)], (0, 1)),
    ([(4, 3), (2, 1, 3)], [(1, 2), (0, 1, 2)], (0, 1)),
    ([(2, 3, 4)], [(0, 1, 2)], (2, 0)),
    ([(2, 3), (3,)], [(0, 1), (1,)], (1, 0)),
    ([(2, 3), (4,)], [(0, 1), (2,)], (1, 2)),
    ([(2, 1), (3, 4)], [(0, 1), (1, 2)], (0, 2)),
    ([(3,), (3,)], [(0,), (0,)], ()),
    ([(2, 1), (2, 1)], [(0, 1), (0, 1)], (0,)),
]


@contraction.sample
def _(draw: Any) -> Any:
    shapes, terms, kept = draw.choice(_SAMPLES)
    return tuple(draw.array(*shape) for shape in shapes), {"terms": tuple(terms), "kept": kept}


def einsum(equation: str, *operands: Any) -> Any:
    """The sum of products that the equation names: 'ij,jk->ik' is the matrix product.

    Letters are axes. One that stands in several operands is multiplied along; one that is not behind '->' is summed.
    Without '->' the output has the letters that occur once, sorted. '...' are axes that broadcast. A letter twice in
    one operand is its diagonal. The operands may stand in one list.

    Raises ValueError for an equation that cannot be read and ShapeError for operands that do not fit it.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation is a {type(equation).__name__}; a string like 'ij,jk->ik' comes first")
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(operands):
        raise ValueError(f"einsum: {equation!r} has {len(texts)} operands, {len(operands)} were given")
    for text in (*texts, right):
        letters = text.replace("...", "", 1)
        if not (letters.isascii() and (letters.isalpha() or not letters)):
            raise ValueError(f"einsum: {text!r} in {equation!r} cannot be read; it needs letters and at most one '...'")
    extra = [_ellipsis(text, x, equation) for text, x in zip(texts, operands, strict=True)]
    most = max(extra)
    if not arrow:
        together = left.replace(".", "").replace(",", "")
        right = "..." * (most > 0) + "".join(sorted({c for c in together if together.count(c) == 1}))
    terms = [_labels(text, n, most) for text, n in zip(texts, extra, strict=True)]
    kept = _labels(right, most, most) if "..." in right else _labels(right, 0, most)
    known = {label for term in terms for label in term}
    if len(set(kept)) < len(kept) or not set(kept) <= known:
        raise ValueError(
            f"einsum: the output {right!r} of {equation!r} names an axis twice, or one that no operand has"
        )
    arrays = list(operands)
    for i, term in enumerate(terms):
        arrays[i], terms[i] = _diagonals(arrays[i], term)
    return contraction(*arrays, terms=tuple(terms), kept=kept)


def _ellipsis(text: str, x: Any, equation: str) -> int:
    """How many axes of x the '...' in its text stands for."""
    letters, dots = text.replace("...", "", 1), "..." in text
    if x.ndim < len(letters) or (x.ndim > len(letters) and not dots):
        raise ShapeError(f"einsum: {text!r} in {equation!r} has {len(letters)} axes, the operand has {tuple(x.shape)}")
    return int(x.ndim - len(letters))


def _labels(text: str, n: int, most: int) -> Labels:
    """Numbers for the letters, and for the n axes of '...' the last of the first `most` numbers."""
    before, dots, after = text.partition("...")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    inside = range(most - n, most) if dots else ()
    number = [most + letters.index(c) for c in before + after]
    return (*number[: len(before)], *inside, *number[len(before) :])


def _diagonals(x: Any, term: Labels) -> tuple[Any, Labels]:
    """x with the diagonal in the place of axes that have one label."""
    for label in dict.fromkeys(term):
        places = [i for i, other in enumerate(term) if other == label]
        if len(places) > 1:
            lengths = {x.shape[i] for i in places}
            if len(lengths) > 1:
                raise ShapeError(f"einsum: a diagonal of axes of lengths {sorted(lengths)}; they must be equal")
            others = [i for i in range(x.ndim) if i not in places]
            along = (np.arange(lengths.pop()),) * len(places)
            x = getitem(permute(x, (*places, *others)), along)
            term = (label, *(term[i] for i in others))
    return x, term


@method
def outer(x: Any, vec2: Any) -> Any:
    """out[i, j] = x[i] vec2[j], of two vectors."""
    if x.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(f"outer: shapes {tuple(x.shape)} and {tuple(vec2.shape)}; two vectors are needed")
    return mul(unsqueeze(x, 1), unsqueeze(vec2, 0))


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The product summed over `dims`: the last n axes of a with the first n of b, or two lists of axes, in pairs."""
    if isinstance(dims, (int, np.integer)) and not isinstance(dims, bool):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: dims={dims} for shapes {tuple(a.shape)} and {tuple(b.shape)}")
        dims = range(a.ndim - dims, a.ndim), range(dims)
    left, right = (
        normalize_axes(tuple(axes) if isinstance(axes, (tuple, list, range)) else axes, x.ndim, "tensordot")
        for axes, x in zip(dims, (a, b), strict=True)
    )
    joined = [a.shape[i] for i in left]
    if joined != [b.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: axes {left} of {tuple(a.shape)} and {right} of {tuple(b.shape)}; their lengths must be equal"
        )
    rows, columns = ([i for i in range(x.ndim) if i not in axes] for x, axes in ((a, left), (b, right)))
    outside = [a.shape[i] for i in rows], [b.shape[i] for i in columns]
    x = reshape(permute(a, (*rows, *left)), (prod(outside[0]), prod(joined)))
    y = reshape(permute(b, (*right, *columns)), (prod(joined), prod(outside[1])))
    return reshape(matmul(x, y), (*outside[0], *outside[1]))
