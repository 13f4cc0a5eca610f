"""Kinks, ties, special points: H1 to H17."""

import numpy as np
from libraries import a

from hard_cases.asking import Question, better, once, plain, twice

inf, nan = np.inf, np.nan


QUESTIONS: dict[str, Question] = {
    **twice(
        {
            "H1 relu at 0": (lambda m, x: x.relu(), a(-1, 0, 2)),
            "H2 relu of infinities": (lambda m, x: x.relu(), a(inf, -inf, -0.0)),
            "H4 abs at 0": (lambda m, x: x.abs(), a(-2, 0, 2)),
            "H5 maximum and minimum tie": (lambda m, x, y: x.maximum(y) * x.minimum(y), a(1, 2, 3), a(1, 0, 4)),
            "H5 three equal operands": (lambda m, x, y: m.maximum(m.maximum(x, y), x), a(1, 2), a(1, 3)),
            "H6 max, amax tie": (lambda m, x: x.max() * x.amax(0).sum() * x.min(), a(3, 1, 3)),
            "H6 max(dim) tie": (lambda m, x: x.max(0).values, a(1, 3, 3)),
            "H7 max_pool2d tie, overlapping": (lambda m, x: m.F.max_pool2d(x, 2, 1), np.ones((1, 1, 3, 3))),
            "H7 max_pool2d tie, padded": (lambda m, x: m.F.max_pool2d(x, (3, 2), 2, 1, (1, 2)), np.ones((2, 1, 5, 6))),
            "H8 clamp at its bounds": (lambda m, x: x.clamp(0, 1), a(-1, 0, 0.5, 1, 2)),
            "H9 clamp of nan, crossed bounds": (lambda m, x: x.clamp(0, 1) + x.clamp(2, -1), a(nan, 0.5, 3, -3)),
            "H12 integer powers at 0": (lambda m, x: x**0 + x**1 + x**2, a(0, -1, 2)),
            "H13 where trap": (lambda m, x: m.where(x > 0, x.sqrt(), m.constant(np.zeros(()))), a(0, 4)),
            "H14 sign, comparisons inside": (lambda m, x: x.sign() * x + (x > 0) * x, a(-2, 0, 3)),
            "H14 steps": (lambda m, x: x.sign() + x.round() + x.floor() + x.ceil() + x.trunc(), a(-1.5, -0.25, 0, 2.5)),
            "H16 0 * inf": (lambda m, x: (x * 0).sum(), a(inf, 1)),
            "H17 softmax of +inf": (lambda m, x: m.F.softmax(x, 0), a(inf, 1)),
        }
    ),
    **once(
        {
            "H10 sqrt at 0": (lambda m, x: x.sqrt(), a(0, 4)),
            "H11 norm at 0": (lambda m, x: x.norm(), a(0, 0)),
            "H11 norms of rows, one of them 0": (lambda m, x: x.norm(dim=1), a([0, 0], [3, -4])),
            "H12 fractional and negative powers at 0": (lambda m, x: x**0.5 + x**-1, a(0, 4)),
            "H12 0 ** y": (lambda m, x, y: x**y, a(0, 0, 0, 2), a(0, 1, 2, 0)),
            "H12 a negative base": (lambda m, x: x**0.5 + x**1.5, a(-1, 4)),
            "H12 a negative base, tensors": (lambda m, x, y: x**y, a(-1, -2), a(0.5, 2)),
            "H15 log": (lambda m, x: x.log(), a(0, -1, inf)),
            "H15 division": (lambda m, x, y: x / y, a(1, 0, -1), a(0, 0, 0)),
        }
    ),
    **plain(
        {
            "H2 relu keeps nan": (lambda m, x: x.relu(), a(nan, 1)),
            "H3 inf and nan come back to closed relus": (
                lambda m, x: m.grad(x.relu(), x, m.constant(a(inf, nan, 2))),
                a(-1, -2, 3),
            ),
        }
    ),
    **better(
        {
            "H2 the gradient of relu at nan": ([a(0, 1)], lambda m, x: m.grad(x.relu().sum(), x), a(nan, 1)),
        }
    ),
}
