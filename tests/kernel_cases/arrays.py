"""Arrays of small whole numbers, whose sums of products are exact in any order, in awkward places of memory."""

import numpy as np

NONE = ((0, 0), (0, 0))
LAYOUTS = ("planes", "channels last", "Fortran", "reversed", "every second")


def whole(shape, seed, dtype=np.float64, low=-4, high=5):
    return frozen(np.random.default_rng(seed).integers(low, high, shape).astype(dtype))


def frozen(x):
    x.flags.writeable = False
    return x


def laid_out(x, layout):
    """The same values in another memory layout, read-only."""
    if layout == "channels last":
        return frozen(np.ascontiguousarray(np.moveaxis(x, 1, -1))).transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    if layout == "Fortran":
        return frozen(np.asfortranarray(x.copy()))
    if layout == "reversed":
        return frozen(np.ascontiguousarray(x[..., ::-1]))[..., ::-1]
    if layout == "every second":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return frozen(wide)[..., ::2]
    return frozen(x.copy())


def same(found, wanted, dtype=None):
    """Equal values, shapes and dtypes."""
    assert found.shape == wanted.shape
    assert found.dtype == (wanted.dtype if dtype is None else dtype)
    assert np.array_equal(found, wanted.astype(found.dtype), equal_nan=found.dtype.kind == "f")


def called(loop, *arguments):
    """Call a loop with writable copies of what is read-only, for which alone it may be compiled, and leave those be."""
    copies = [a.copy() if isinstance(a, np.ndarray) and not a.flags.writeable else a for a in arguments]
    loop(*copies)
    for before, after in zip(arguments, copies, strict=True):
        if before is not after:
            assert np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
