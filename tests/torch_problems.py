"""One function run by this library and by PyTorch on the same numbers, and generated problems to run it on.

A problem is written once, `lambda m, x, w: m.F.conv2d(x, w, stride=2)`, for both libraries: that it can be is a
fact of its own. Values are multiples of 1/16, exact in every float dtype, so that ties are frequent and fall
alike everywhere.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from libraries import Array, Library, derivatives, values
from libraries import a as a

import tinygrad_cnn

BOTH = OURS, THEIRS = Library(tinygrad_cnn), Library(torch)


def agree(f: Callable[..., Any], *arrays: Any, order: int = 2, tolerance: float = 1e-10, float32: bool = True) -> None:
    """Assert that both libraries compute the same from float64 inputs, up to derivatives of this order.

    float32: also that our float32 result and gradients are float32, and near PyTorch's of float64.
    """
    arrays = [np.asarray(a) for a in arrays]
    seed = zlib.crc32(b"".join(a.tobytes() for a in arrays))
    theirs = derivatives(THEIRS, f, arrays, order, seed)
    compare(derivatives(OURS, f, arrays, order, seed), theirs, tolerance)
    if float32:
        narrow = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
        ours = derivatives(OURS, f, narrow, min(order, 1), seed)
        assert {a.dtype for a in ours} <= {np.dtype(np.float32)} or theirs[0].dtype != np.float64
        compare(ours, theirs[: len(ours)], 3e-5, dtypes=False)


def agree_on_running_statistics(normalise: Callable[..., Any], x: Any, mean: Any, var: Any, *weights: Any) -> None:
    """`agree` of normalise(m, x, mean, var, *weights), and that both leave the same running statistics."""
    running = []

    def f(m: Library, x: Any, *weights: Any) -> Any:
        stats = m.constant(mean), m.constant(var)
        y = normalise(m, x, *stats, *weights)
        running.append([values(s) for s in stats])
        return y

    agree(f, x, *weights, float32=False, tolerance=1e-9)
    theirs, ours = running
    compare(ours, theirs, 1e-12)


def modules_agree(make: Callable[[Library], Any], x: Any, order: int = 2, tolerance: float = 1e-10) -> tuple[Any, Any]:
    """Assert that our module with PyTorch's state_dict does what PyTorch's does, to x, its parameters and its buffers.

    Returns both modules, ours first.
    """
    torch.manual_seed(0)
    theirs = make(THEIRS).double()
    ours = make(OURS).double()
    ours.load_state_dict({name: values(tensor) for name, tensor in theirs.state_dict().items()})
    names = [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_parameters()] == names
    results = [
        derivatives(m, lambda _, x, module=module: module(x), [np.asarray(x)], order, 1, list(module.parameters()))
        for m, module in ((OURS, ours), (THEIRS, theirs))
    ]
    compare(*results, tolerance)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    compare(*[[values(t) for t in module.state_dict().values()] for module in (ours, theirs)], tolerance)
    return ours, theirs


def compare(ours: list[Array], theirs: list[Array], tolerance: float, dtypes: bool = True) -> None:
    """Assert equal shapes, dtypes, nans and infinities, and differences within `tolerance` of the largest value."""
    assert len(ours) == len(theirs)
    for i, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        assert mine.shape == reference.shape, i
        assert mine.dtype == reference.dtype or not dtypes, i
        finite = reference[np.isfinite(reference)].astype(np.float64)
        scale = max(1.0, np.abs(finite).max(initial=0.0))
        np.testing.assert_allclose(mine, reference, rtol=0, atol=tolerance * scale, err_msg=f"result {i}")


def fails(f: Callable[..., Any], *arrays: Any) -> tuple[type[Exception], type[Exception]]:
    """The kinds of exceptions that both raise, ours first. Fails if one of them does not."""
    kinds = []
    for m in (OURS, THEIRS):
        try:
            f(m, *[m.constant(np.asarray(a)) for a in arrays])
        except Exception as error:
            kinds.append(type(error))
        else:
            raise AssertionError(f"{'ours' if m is OURS else 'PyTorch'} accepted it")
    return kinds[0], kinds[1]


sides = st.integers(1, 4)
seeds = st.integers(0, 2**16)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def grid(seed: int, *shape: int, low: float = -3.0, high: float = 3.0) -> Array:
    """float64 multiples of 1/16 in [low, high], ties and zeros among them."""
    rng = np.random.default_rng((seed, *shape))
    return np.asarray(rng.integers(round(low * 16), round(high * 16), shape, endpoint=True) / 16)


@st.composite
def arrays(
    draw: Any, min_dims: int = 0, max_dims: int = 4, min_side: int = 1, low: float = -3.0, high: float = 3.0
) -> Any:
    """An array of a generated shape."""
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=4))
    return grid(draw(seeds), *shape, low=low, high=high)


@st.composite
def broadcastable(draw: Any, n: int = 2, low: float = -3.0, high: float = 3.0) -> Any:
    """n arrays whose shapes broadcast together, empty ones included."""
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=4, min_side=0, max_side=4)
    seed = draw(seeds)
    return [grid(seed + i, *shape, low=low, high=high) for i, shape in enumerate(draw(shapes).input_shapes)]


@st.composite
def reductions(draw: Any, min_side: int = 1) -> Any:
    """(array, dim as int or tuple or None, keepdim)."""
    x = draw(arrays(min_dims=1, min_side=min_side))
    dims = st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)
    dim = draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | dims.map(tuple))
    return x, dim, draw(st.booleans())


@st.composite
def convolutions(draw: Any, spread: int = 3) -> Any:
    """(x, w, b or None, parameters of F.conv2d): nothing is symmetric unless by chance, every relation occurs."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group, multiplier = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    kernel, stride = draw(st.tuples(sides, sides)), draw(st.tuples(sides, sides))
    dilation, padding = draw(pairs), draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = _sizes(draw, kernel, dilation, padding, spread)
    x = grid(draw(seeds), draw(st.integers(1, 3)), groups * per_group, *size)
    w = grid(draw(seeds), groups * multiplier, per_group, *kernel)
    b = grid(draw(seeds), groups * multiplier) if draw(st.booleans()) else None
    return x, w, b, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _sizes(draw: Any, kernel: Any, dilation: Any, padding: Any, spread: int) -> list[int]:
    """Height and width: the least that the kernel fits into, or up to `spread` more."""
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    return [n + draw(st.integers(0, spread)) for n in least]


@st.composite
def transposed_convolutions(draw: Any) -> Any:
    """(x, w, b or None, parameters of F.conv_transpose2d)."""
    groups, kernel = draw(st.sampled_from([1, 1, 2, 3])), draw(st.tuples(sides, sides))
    per_group, multiplier = draw(pairs)
    stride, dilation, size = draw(st.tuples(sides, sides)), draw(pairs), draw(st.tuples(sides, sides))
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, min(3, (n - 1) // 2))) for n in full)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    x = grid(draw(seeds), draw(st.integers(1, 3)), groups * per_group, *size)
    w = grid(draw(seeds), groups * per_group, multiplier, *kernel)
    b = grid(draw(seeds), groups * multiplier) if draw(st.booleans()) else None
    params = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation}
    return x, w, b, params


@st.composite
def poolings(draw: Any, dilated: bool) -> Any:
    """(x, parameters of F.max_pool2d, or of F.avg_pool2d unless `dilated`).

    No window sees padding alone, as one could between the cells of a dilation beyond the image: PyTorch
    gives it an index outside the image, and fails in the second gradient.
    """
    kernel = draw(st.tuples(sides, sides))
    stride = draw(st.none() | sides | st.tuples(sides, sides))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(pairs) if dilated else (1, 1)
    size = [max(n, d) for n, d in zip(_sizes(draw, kernel, dilation, padding, 4), dilation, strict=True)]
    low = draw(st.sampled_from([-3.0, -0.25]))  # the narrow range is full of ties, and all of it is negative
    x = grid(draw(seeds), draw(sides), draw(sides), *size, low=low, high=-low if low < -1 else -0.0625)
    params = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    if dilated:
        return x, params | {"dilation": dilation}
    params["divisor_override"] = draw(st.none() | st.integers(1, 5))
    return x, params | {"count_include_pad": draw(st.booleans())}


@st.composite
def basic_indices(draw: Any) -> Any:
    """(x, index) of integers, slices with positive steps, None and Ellipsis."""
    x = draw(arrays(min_dims=1, max_dims=3))
    index = draw(hnp.basic_indices(x.shape, allow_newaxis=True, max_dims=5))
    parts = index if isinstance(index, tuple) else (index,)
    return x, tuple(slice(i.start, i.stop, i.step and abs(i.step)) if isinstance(i, slice) else i for i in parts)


@st.composite
def advanced_indices(draw: Any) -> Any:
    """(x, index) of slices and integer arrays that broadcast together and repeat elements."""
    x = draw(arrays(min_dims=1, max_dims=3))
    length = draw(st.integers(0, 5))
    seed, parts = draw(seeds), []
    for axis, n in enumerate(x.shape[: draw(st.integers(1, x.ndim))]):
        shape = draw(st.sampled_from([(length,), (1,), (2, length), (3, 1, length)]))
        picked = np.random.default_rng((seed, axis)).integers(-n, n, shape)
        if len(shape) == 3:
            picked = picked[0:1]
        parts.append(draw(st.sampled_from([picked, picked, slice(None), slice(1, None)])))
    return x, tuple(parts)


@st.composite
def classifications(draw: Any) -> Any:
    """(logits (N, C, d1...) or (C,), labels, class weights or None, parameters of F.cross_entropy)."""
    classes = draw(st.integers(1, 5))
    rest = draw(st.sampled_from([(), (3,), (2, 3), (1,)]))
    unbatched = not rest and draw(st.booleans())
    x = grid(draw(seeds), *(() if unbatched else (draw(sides),)), classes, *rest)
    shape = () if unbatched else (x.shape[0], *rest)
    labels = np.random.default_rng(draw(seeds)).integers(0, classes, shape)
    weight = grid(draw(seeds), classes, low=0.25, high=2.0) if draw(st.booleans()) else None
    params = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if draw(st.booleans()):
        params["ignore_index"] = draw(st.integers(-2, classes))
        labels = np.where(np.random.default_rng(draw(seeds)).random(shape) < 0.3, params["ignore_index"], labels)
        labels = np.where((labels < 0) & (labels != params["ignore_index"]), 0, labels)
    return x, np.asarray(labels, np.int64), weight, params
