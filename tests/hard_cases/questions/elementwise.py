"""Element-wise ops, dtypes, reductions, indices, shapes: H20 to H50."""

from typing import Any

import numpy as np
from libraries import Library, a

from hard_cases.asking import Question, better, drawn, once, plain, refused, twice

inf = np.inf

IMAGE = np.ones((1, 2, 3, 3))


def _number_of(m: Library, x: Any) -> Any:
    return float(x)


def _leaf(m: Library, x: Any) -> Any:
    return x.requires_grad_()


def _write_to_parent(m: Library, x: Any) -> Any:
    parent = m.constant(a(1, 2, 3))
    y = (x * parent[1:]).sum()
    parent[2] = 10.0
    return m.grad(y, x)


QUESTIONS: dict[str, Question] = {
    **twice(
        {
            "H20 broadcasting into nothing": (lambda m, x, y: x + y, np.zeros((0, 3)), np.ones((1, 3))),
            "H20 broadcasting by nothing": (lambda m, x, y: x * y, np.zeros((2, 0)), np.ones((2, 1))),
            "H22 (3,1) and (2,1,4)": (lambda m, x, y: x * y, drawn(0, 3, 1), drawn(1, 2, 1, 4)),
            "H22 () and (2,3)": (lambda m, x, y: x * y, drawn(0), drawn(1, 2, 3)),
            "H22 (1,) and (2,)": (lambda m, x, y: x * y - y, drawn(0, 1), drawn(1, 2)),
            "H22 (3,1) and (3,2)": (lambda m, x, y: x - x * y, drawn(0, 3, 1), drawn(1, 3, 2)),
            "H23 0-d + 0-d": (lambda m, x, y: x + y, a(1)[0], a(2)[0]),
            "H34 sum of nothing": (lambda m, x: x.sum(), np.zeros((0, 3))),
            "H34 sum along nothing": (lambda m, x: x.sum(0), np.zeros((0, 3))),
            "H34 product of nothing": (lambda m, x: x.prod(), np.zeros(0)),
            "H35 mean of nothing": (lambda m, x: x.mean(), np.zeros(0)),
            "H36 max along an axis beside nothing": (lambda m, x: x.amax(1) + x.max(1).values, np.zeros((0, 3))),
            "H37 logsumexp of nothing": (lambda m, x: x.logsumexp(0), np.zeros((0, 2))),
            "H37 logsumexp of large numbers": (lambda m, x: x.logsumexp(1), a([1e4, -1e4], [5, 5])),
            "H40 variance of one value, correction 0": (lambda m, x: x.var(0, correction=0), a([1, 2])),
            "H41 negative axes and several": (lambda m, x: x.sum((0, -1)) + x.mean(-3)[:, 0], drawn(0, 2, 3, 4)),
            "H42 permute with negative axes": (lambda m, x: x.permute(-1, 0, 1, -2), drawn(0, 2, 3, 4, 5)),
            "H43 reshape of nothing": (lambda m, x: x.reshape(-1, 3), np.zeros((0, 3))),
            "H44 duplicates": (lambda m, x: x[m.constant(np.array([0, 0, 2]))], a(1, 2, 3)),
            "H44 0-d": (lambda m, x: x[...] + x[None][0], a(1)[0]),
            "H44 empty result": (lambda m, x: x[2:1] * x[0], a(1, 2, 3)),
            "H44 slices and None": (lambda m, x: x[1:, None, 0] * x[..., 1:].sum(), drawn(0, 3, 2)),
            "H44 a mask": (lambda m, x: x[x > 0] * x.sum(), a(-1, 2, 3)),
            "H46 one part": (lambda m, x: m.cat([x]) + m.stack([x])[0], a(1, 2)),
            "H46 a part of nothing": (lambda m, x, y: m.cat([x, y, x], 1), np.ones((2, 2)), np.zeros((2, 0))),
            "H46 one tensor twice": (lambda m, x: m.cat([x, x]) * m.stack([x, x]).reshape(-1), a(1, 2, 3)),
            "H47 pad by nothing and by inf": (lambda m, x: m.F.pad(m.F.pad(x, (0, 0)), (1, 0), value=inf), a(1, 2)),
            "H47 pad of nothing": (lambda m, x: m.F.pad(x, (1, 2, 0, 1)), np.zeros((2, 0))),
            "H47 a constant": (lambda m, x: m.F.pad(x, (1, 0, 0, 2), value=7.5) ** 2, drawn(0, 2, 3)),
            "H48 matmul over nothing": (lambda m, x, y: x @ y, np.zeros((2, 0)), np.zeros((0, 3))),
            "H48 a vector and a matrix": (lambda m, x, y: x @ y, drawn(0, 3), drawn(1, 3, 2)),
            "H48 stretched matrices": (lambda m, x, y: x @ y, drawn(0, 2, 1, 2, 3), drawn(1, 4, 3, 2)),
            "H49 an operand twice": (lambda m, x: x @ x.T - x * x.sum() + (x - x), drawn(0, 2, 2)),
        }
    ),
    **once(
        {
            "H23 0-d and 0-d in single precision": (lambda m, x, y: x * y, np.float32(2), np.float32(3)),
            "H25 a mask and its count": (lambda m, x: x * (x > 0) / (x > 0).sum(), a(-1, 2, 3).astype(np.float32)),
            "H26 a leaf behind a cast to float64": (lambda m, x: x.double() * x.double(), a(2, 3).astype(np.float32)),
            "H26 half precision": (
                lambda m, x, y: x * y + x / y,
                drawn(0, 4).astype(np.float16),
                np.full(4, 2, np.float16),
            ),
            "H35 variance of nothing": (lambda m, x: x.var(), np.zeros(0)),
            "H37 logsumexp of infinities": (lambda m, x: x.logsumexp(1), a([-inf, -inf], [inf, 1], [-inf, 1])),
            "H46 two dtypes": (lambda m, x, y: m.cat([x, y]), a(1, 2).astype(np.float32), a(3)),
        }
    ),
    **plain(
        {
            "H24 scalars and integers keep float32": (
                lambda m, x, i: [x * 2.5, x + np.float64(2.5), x * i, i * x, x / 2],
                a(1, 2).astype(np.float32),
                np.array([2, 3]),
            ),
            "H24 float16 beside float32": (lambda m, x, y: x * y, a(1).astype(np.float16), a(2).astype(np.float32)),
            "H29 uint8 wraps": (lambda m, x: [x - 1, x * 200, -x], np.array([0, 2], np.uint8)),
            "H29 int32 overflows": (lambda m, x: x + 1, np.array([2**31 - 1], np.int32)),
            "H32 read-only memory": (lambda m: m.from_numpy(np.frombuffer(a(1, 2).tobytes())) * 2,),
            "H38 70000 halves": (lambda m, x: [x.mean(), x.sum(), x[:2048].sum()], np.ones(70000, np.float16)),
            "H40 variance of one value": (lambda m, x: x.var(0), a([1, 2])),
            "H44 lists of a 0-d": (lambda m, x: x[...], np.array(3)),
            "H47 integers": (lambda m, x: m.F.pad(x, (1, 0), value=7), np.array([1, 2])),
            "H49 x - x": (lambda m, x: x - x, a(1e308, 0.1)),
            "H50 sets and truth": (lambda m, x: [len({x, x, x * 1}), bool(x[0]), float(x[0]), len(x)], a(3, 4)),
        }
    ),
    **refused(
        {
            "H21 shapes that do not broadcast": (ValueError, lambda m, x, y: x + y, np.ones((2, 0)), np.ones((2, 3))),
            "H27 requires_grad on int": (TypeError, _leaf, np.array([1])),
            "H27 requires_grad on bool": (TypeError, _leaf, np.array([True])),
            "H28 mean of int": (TypeError, lambda m, x: x.mean(), np.array([1, 2])),
            "H28 var of int": (TypeError, lambda m, x: x.var(), np.array([1, 2])),
            "H30 -bool": (TypeError, lambda m, x: -x, np.array([True])),
            "H30 bool - bool": (TypeError, lambda m, x: x - x, np.array([True])),
            "H32 writing where elements share memory": (
                ValueError,
                lambda m: m.from_numpy(np.broadcast_to(a(1), (2,))).add_(1),
            ),
            "H33 texts": (TypeError, lambda m: m.constant(np.array(["a"]))),
            "H33 objects": (TypeError, lambda m: m.constant(np.array([object()]))),
            "H33 dates": (TypeError, lambda m: m.constant(np.array(["2020"], "M8[s]"))),
            "H36 max of nothing": (ValueError, lambda m, x: x.max(), np.zeros(0)),
            "H36 max along nothing": (ValueError, lambda m, x: x.max(0), np.zeros((0, 3))),
            "H36 amin along nothing": (ValueError, lambda m, x: x.amin(0), np.zeros((0, 3))),
            "H36 argmax along nothing": (ValueError, lambda m, x: x.argmax(0), np.zeros((0, 3))),
            "H41 an axis twice": (ValueError, lambda m, x: x.sum((0, -2)), IMAGE[0, 0]),
            "H41 an axis out of range": (IndexError, lambda m, x: x.sum(2), IMAGE[0, 0]),
            "H42 permute with too few axes": (ValueError, lambda m, x: x.permute(0), IMAGE[0, 0]),
            "H43 reshape (-1, 0)": (ValueError, lambda m, x: x.reshape(-1, 0), np.zeros((0, 3))),
            "H43 reshape (-1, -1)": (ValueError, lambda m, x: x.reshape(-1, -1), np.zeros((2, 3))),
            "H44 an index out of range": (IndexError, lambda m, x: x[3], a(1, 2)),
            "H44 an integer array out of range": (IndexError, lambda m, x: x[m.constant(np.array([0, 2]))], a(1, 2)),
            "H44 a mask of another length": (IndexError, lambda m, x: x[m.constant(np.array([True]))], a(1, 2)),
            "H44 a float index": (IndexError, lambda m, x: x[m.constant(a(0, 1))], a(1, 2)),
            "H45 the parent of a kept view is written to": (RuntimeError, _write_to_parent, a(1, 1)),
            "H46 cat of an empty list": (ValueError, lambda m, x: m.cat([]), a(1)),
            "H46 stack of an empty list": (ValueError, lambda m, x: m.stack([]), a(1)),
            "H46 cat of shapes that differ": (ValueError, lambda m, x: m.cat([x, x[:1]], 1), IMAGE[0, 0]),
            "H46 stack of shapes that differ": (ValueError, lambda m, x: m.stack([x, x[:1]]), a(1, 2)),
            "H47 pad with three numbers": (ValueError, lambda m, x: m.F.pad(x, (1, 1, 1)), IMAGE),
            "H47 pad of more axes": (ValueError, lambda m, x: m.F.pad(x, (1, 1, 1, 1)), a(1)),
            "H48 inner lengths": (ValueError, lambda m, x: x @ x, np.ones((2, 3))),
            "H48 a 0-d operand": (ValueError, lambda m, x: x @ x, np.ones(())),
            "H50 bool of two": (ValueError, lambda m, x: bool(x), a(1, 2)),
            "H50 float of two": (ValueError, _number_of, a(1, 2)),
            "H50 len of 0-d": (TypeError, lambda m, x: len(x), np.ones(())),
            "H50 iter of 0-d": (TypeError, lambda m, x: iter(x), np.ones(())),
        }
    ),
    **better(
        {
            "H31 big-endian numbers": ([a(2, 4)], lambda m: m.constant(np.array([1.0, 2.0], ">f8")) * 2),
            "H32 negative strides": ([a(2, 1)], lambda m: m.from_numpy(a(1, 2)[::-1]) * 1),
            "H41 no axis at all is NumPy's": ([a([1, 2], [3, 4])], lambda m, x: x.sum(()), a([1, 2], [3, 4])),
        }
    ),
}
