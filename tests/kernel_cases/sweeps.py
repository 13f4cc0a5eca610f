"""Sweeps over values in memory, against NumPy, bit by bit."""

import itertools

import numpy as np
import pytest

from tinygrad_cnn.kernels import sweeps

from . import case
from .arrays import frozen, laid_out

SPECIAL = (-2.0, -0.0, 0.0, 1.0, 2.0, np.nan, np.inf, -np.inf, 0.5)
SHAPES = ((2, 8, 3, 5), (3, 1, 4, 2), (40,), (2, 3), (0, 8, 2, 2))
LAYOUTS = ("planes", "channels last", "reversed")
PLACES = [
    (shape, mine, others)
    for shape in SHAPES
    for mine in LAYOUTS[: 1 if len(shape) < 4 else 3]
    for others in LAYOUTS[: 1 if len(shape) < 4 else 3]
]


def values(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return frozen(rng.choice(np.array(SPECIAL, dtype), shape))
    return frozen(rng.integers(-2, 3, shape).astype(dtype))


def same_bits(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.array_equal(found, wanted, equal_nan=wanted.dtype.kind == "f")
    if wanted.dtype.kind == "f":
        number = wanted == wanted
        assert np.array_equal(np.signbit(found)[number], np.signbit(wanted)[number])


class Eager:
    """Small arrays are swept too."""

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(sweeps, "SMALL", 0)
        self.patch.setattr(sweeps, "FEW", 0)

    def __exit__(self, *_):
        self.patch.undo()


@case("sweeps", *[(*place, dtype) for dtype in (np.float32, np.float64, np.float16, np.int64) for place in PLACES])
def masks_rectifies_and_adds_as_numpy_does(shape, mine, others, dtype):
    plain, second = values(shape, dtype, 1), values(shape, dtype, 2)
    x = laid_out(plain, mine) if len(shape) == 4 else plain
    y = laid_out(second, others) if len(shape) == 4 else second
    keep = y > 0
    ordered = others in ("planes", "channels last") and dtype in (np.float32, np.float64) and x.size
    with Eager():
        for found, wanted in (
            (sweeps.masked(x, keep), np.where(keep, x, x.dtype.type(0))),
            (sweeps.masked_positive(x, y), np.where(keep, x, x.dtype.type(0))),
        ):
            same_bits(found, wanted)
            assert not ordered or found.strides == y.strides
            assert not np.shares_memory(found, x)
        found = sweeps.rectified(x)
        same_bits(found, np.maximum(x, np.zeros((), dtype)))
        assert found.strides == np.maximum(x, 0).strides or mine == "reversed" or not x.size
        assert not np.shares_memory(found, x)
        found = sweeps.added(x, y)
        same_bits(found, np.asarray(x + y))
        assert found.strides == (x + y).strides or not x.size


@case("sweeps", *[(first, second) for first, second in itertools.product((np.float32, np.float64, np.int64), repeat=2)])
def operands_of_two_dtypes_or_shapes_are_numpys_business(first, second):
    x = values((2, 8, 3, 5), first, 1)
    with Eager():
        for y in (values((2, 8, 3, 5), second, 2), values((8, 1, 5), second, 2), values((2, 8, 3, 1), second, 3)):
            same_bits(sweeps.added(x, y), np.asarray(x + y))
            same_bits(sweeps.added(y, x), np.asarray(y + x))
            same_bits(sweeps.masked(x, y > 0), np.where(y > 0, x, x.dtype.type(0)))
            same_bits(sweeps.masked(x, y), np.where(y, x, x.dtype.type(0)))
            same_bits(sweeps.masked_positive(x, y), np.where(y > 0, x, x.dtype.type(0)))
            same_bits(sweeps.masked(y, x > 0), np.where(x > 0, y, y.dtype.type(0)))


@case("sweeps")
def arrays_in_one_order_are_read_in_that_order():
    x, y = values((2, 3, 4, 5), np.float32, 1), values((2, 3, 4, 5), np.float32, 2)
    last = [laid_out(a, "channels last") for a in (x, y)]
    for arrays in ([x, y], last):
        flat = sweeps.in_one_order(*arrays)
        for a, line in zip(arrays, flat, strict=True):
            assert line.shape == (120,)
            assert np.shares_memory(a, line)
            assert np.array_equal(sweeps.back(line, a), a, equal_nan=True)
            assert sweeps.back(line, a).strides == a.strides
    assert sweeps.in_one_order(x, last[1]) == []
    assert sweeps.in_one_order(x[:, ::-1]) == []
    assert sweeps.in_one_order(np.asfortranarray(x[0])) == []
    copy = sweeps.ordered_as(last[0], y)
    assert copy.strides == last[0].strides
    assert copy.dtype == y.dtype
    assert np.array_equal(copy, y, equal_nan=True)
    assert sweeps.ordered_as(last[0] > 0, y).dtype == np.float32


@case("sweeps", (np.float32,), (np.float64,))
def masks_may_have_any_strides_and_sums_no_axes(dtype):
    x, wide = values((2, 3, 4, 5), dtype, 1), values((2, 3, 4, 10), dtype, 2)
    y = wide[..., ::2]
    keep = (wide > 0)[..., ::2]
    with Eager():
        same_bits(sweeps.masked(x, keep), np.where(keep, x, dtype(0)))
        same_bits(sweeps.masked(y, keep), np.where(keep, y, dtype(0)))
        same_bits(sweeps.masked_positive(x, y), np.where(keep, x, dtype(0)))
        same_bits(sweeps.rectified(y), np.maximum(y, dtype(0)))
        same_bits(sweeps.added(x, y), x + y)
    assert isinstance(sweeps.added(np.array(1.0), np.array(2.0)), np.ndarray)


@case("sweeps")
def few_values_are_left_to_numpy():
    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_swept", lambda loop, x, *others: called.append(len(x)) or np.zeros_like(x))
        patch.setattr(sweeps, "_masked", lambda x, keep: called.append(len(x)) or np.zeros_like(x))
        for few, function in (
            (sweeps.FEW, sweeps.rectified),
            (sweeps.FEW, lambda x: sweeps.added(x, x)),
            (sweeps.SMALL, lambda x: sweeps.masked(x, x > 0)),
        ):
            for size in (few - 1, few):
                called.clear()
                function(np.ones(size, np.float32))
                assert called == ([size] if size == few else [])
