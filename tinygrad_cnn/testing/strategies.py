"""Hypothesis strategies: convolution and pooling problems, arrays that broadcast, random graphs.

Shapes are built to fit, never filtered, and everything shrinks towards one filter, one image, a 1x1 kernel.
Edges come up often: batch 1, one filter, non-square images and kernels, even kernels, kernel > stride,
stride > kernel, pixels that no window reads, dilation > stride, groups = channels, asymmetric padding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

try:
    from hypothesis import find, settings
    from hypothesis import strategies as st
    from hypothesis.errors import NoSuchExample
except ImportError:
    raise ImportError(
        "tinygrad_cnn.testing: the strategies need Hypothesis; install it with pip install 'tinygrad_cnn[test]'"
    ) from None

from numpy.typing import NDArray

from ..geometry import conv2d_geometry
from ..shapes import whole
from .programs import Graph, graph
from .samples import Draw

Array = NDArray[Any]
T = TypeVar("T")
integers = st.integers


class ConvProblem(NamedTuple):
    """Arguments for conv2d(x, w, b, **params); b is None or one number per filter."""

    x: Array
    w: Array
    b: Array | None
    params: dict[str, Any]


class PoolProblem(NamedTuple):
    """Arguments for max_pool2d(x, **params) and sum_pool2d."""

    x: Array
    params: dict[str, Any]


def conv_problem(draw: Draw) -> ConvProblem:
    """One convolution problem from any draw."""
    groups = draw.choice([1, 1, 1, 2, 3])
    per_group = draw.choice([1, 1, 2, 3])  # with groups > 1 and one channel per group: depthwise
    filters = groups * draw.choice([1, 2, 3])
    n = draw.choice([1, 2, 3])
    kernel = draw.size(1, 4), draw.size(1, 3)
    stride = draw.size(1, 3), draw.size(1, 4)
    dilation = draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2])
    numbers = [[draw.choice([0, 0, 1, 2]) for _ in range(2)] for _ in range(2)]
    padding: Any = draw.choice(["numbers", "numbers", "int", "pair", "same", "same_lower", "full", "valid"])
    if padding == "int":
        padding = numbers[0][0]
        numbers = [[padding] * 2] * 2
    elif padding == "pair":
        padding = numbers[0][0], numbers[1][0]
        numbers = [[p, p] for p in padding]
    elif padding == "numbers":
        padding = tuple(map(tuple, numbers))
    else:
        numbers = [[0, 0], [0, 0]]  # the image alone holds a kernel, whatever the name adds
    size = tuple(
        max(1, d * (k - 1) + 1 - sum(p)) + draw.size(0, 4) for d, k, p in zip(dilation, kernel, numbers, strict=True)
    )
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = draw.array(n, groups * per_group, *size), draw.array(filters, per_group, *kernel)
    conv2d_geometry(x.shape, w.shape, **params)
    return ConvProblem(x, w, draw.array(filters) if draw.choice([False, True]) else None, params)


def pool_problem(draw: Draw) -> PoolProblem:
    """One pooling problem from any draw. Every window has a cell of the image, and all cells differ."""
    kernel = draw.size(1, 4), draw.size(1, 3)
    stride = draw.choice([None, (draw.size(1, 3), draw.size(1, 4))])
    dilation = draw.choice([1, 1, 2]), draw.choice([1, 1, 3])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple((draw.size(0, r // 2), draw.size(0, r // 2)) for r in reach)
    size = tuple(max(r - min(p), d) + draw.size(0, 4) for r, p, d in zip(reach, padding, dilation, strict=True))
    ceil_mode = draw.choice([False, True])
    params = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return PoolProblem(draw.array(draw.choice([1, 2]), draw.choice([1, 3]), *size), params)


def conv_problems() -> "st.SearchStrategy[ConvProblem]":
    """Problems for conv2d in float64: `ConvProblem(x, w, b, params)`."""
    return st.composite(lambda draw: conv_problem(Draw.of(draw)))()


def pool_problems() -> "st.SearchStrategy[PoolProblem]":
    """Problems for max_pool2d and sum_pool2d in float64: `PoolProblem(x, params)`."""
    return st.composite(lambda draw: pool_problem(Draw.of(draw)))()


def broadcastable_arrays(k: int = 2) -> "st.SearchStrategy[tuple[Array, ...]]":
    """`k` float64 arrays whose shapes broadcast together, all values distinct and clear of zero."""
    k = whole("broadcastable_arrays", "k", k, 1)
    return st.composite(lambda draw: Draw.of(draw).broadcastable(k))()


def graphs(max_steps: int = 8) -> "st.SearchStrategy[Graph]":
    """Random graphs with shared values, diamonds, broadcasting and views.

    A graph is called with its inputs, `graph(*graph.inputs)`, arrays or Tensors; its repr is the program.
    """
    max_steps = whole("graphs", "max_steps", max_steps, 1)
    return st.composite(lambda draw: graph(Draw.of(draw), max_steps))()


def smallest(make: Callable[[Draw], T], holds: Callable[[T], bool]) -> T | None:
    """The smallest thing made from draws that Hypothesis finds to hold; None if there is none in 100."""
    same_each_time = settings(max_examples=100, database=None, deadline=None, derandomize=True)
    try:
        return find(st.composite(lambda draw: make(Draw.of(draw)))(), holds, settings=same_each_time)
    except NoSuchExample:
        return None
