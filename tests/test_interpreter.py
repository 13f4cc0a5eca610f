"""The interpreter of vector code, by which mutants are judged: it computes, and refuses what a processor would not."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="vector code is emitted with numba, which is not installed")

from llvmlite import ir
from mutation import plain
from mutation.interpreter import Code, Misused, held, holding
from numba.core import cgutils

from tinygrad_cnn.kernels import instructions
from tinygrad_cnn.kernels.instructions import INT, LANES

F = np.float32


@pytest.fixture(autouse=True)
def begun():
    plain.start()


def frozen(x):
    x.flags.writeable = False
    return x


def write_doubled(b, x, to, count, vectors):
    """Twice the first lanes of some vectors."""
    mask = instructions.first_lanes(b, count, LANES)
    with cgutils.for_range(b, vectors) as loop:
        place = b.mul(loop.index, INT(4 * LANES))
        value = instructions.load_some(b, b.add(x, place), mask)
        instructions.store_some(b, b.fadd(value, value), b.add(to, place), mask)


doubled = Code("x to count vectors", write_doubled)


def call(x, y, *numbers, before=0, after=0):
    with holding((x, (y,))):
        doubled(x.ctypes.data + before, y.ctypes.data + after, *numbers)


@pytest.mark.parametrize("count", [0, 1, LANES - 1, LANES, LANES + 5])
def test_lanes_of_a_mask_are_computed_and_others_are_left(count):
    x, y = frozen(np.arange(2 * LANES, dtype=F)), np.full(2 * LANES, 77, F)
    call(x, y, count, 2)
    chosen = np.arange(2 * LANES) % LANES < count
    assert np.array_equal(y, np.where(chosen, 2 * x, 77))


def test_lanes_outside_of_a_mask_may_lie_outside_of_the_array():
    x, y = np.arange(LANES + 3, dtype=F), np.full(LANES + 3, 77, F)
    call(x, y, 3, 2)
    assert np.array_equal(y[LANES:], 2 * x[LANES:])


@pytest.mark.parametrize(
    ("count", "vectors", "before", "after", "complaint"),
    [
        (4, 2, 0, 0, "are read outside"),
        (LANES, 1, 16, 0, "are read outside"),
        (LANES, 1, -4, 0, "are read outside"),
        (LANES, 1, 0, 16, "are written outside"),
        (LANES, 1, 0, -4, "are written outside"),
        (1, 1, 2, 0, "aligned to 4"),
    ],
)
def test_an_address_that_is_wrong_is_refused(count, vectors, before, after, complaint):
    x, y = np.zeros(LANES + 3, F), np.zeros(LANES + 3, F)
    with pytest.raises(Misused, match=complaint):
        call(x, y, count, vectors, before=before, after=after)


def test_what_is_read_only_is_not_written_and_what_is_not_given_is_not_read():
    x, y = np.zeros(LANES, F), frozen(np.zeros(LANES, F))
    with pytest.raises(Misused, match="are written outside"):
        call(x, y, LANES, 1)
    with pytest.raises(Misused, match="are read outside"), holding((x,)):
        doubled(y.ctypes.data, x.ctypes.data, 1, 1)
    with pytest.raises(Misused, match="are read outside"):
        held(lambda y: doubled(x.ctypes.data, y.ctypes.data, 1, 1))(np.zeros(LANES, F))


def test_a_view_ends_where_its_last_value_does():
    x, y = np.arange(2 * LANES + 2, dtype=F), np.zeros(LANES, F)
    call(x[: 2 * LANES : 2], y, LANES, 1)
    assert np.array_equal(y, 2 * x[:LANES])
    with pytest.raises(Misused, match="are read outside"):
        call(x[:LANES], y, LANES, 1, before=4)


def test_an_endless_loop_ends():
    with pytest.raises(plain.Endless):
        call(np.zeros(LANES, F), np.zeros(LANES, F), 0, 2**60)


def run(names, write, *arrays, numbers=()):
    with holding(arrays):
        Code(names, write)(*(a.ctypes.data for a in arrays), *numbers)


def test_numbers_are_integers_and_as_many_as_named():
    with pytest.raises(TypeError, match="no integer"):
        doubled(1.0, 2, 3, 4)
    with pytest.raises(TypeError, match="3 arguments for x to count vectors"):
        doubled(1, 2, 3)


@pytest.mark.parametrize("compare", ["fcmp_ordered", "fcmp_unordered"])
@pytest.mark.parametrize("sign", ["<", "<=", ">", ">=", "==", "!="])
def test_comparisons_of_nan(compare, sign):
    values = np.array([1, 2, np.nan], F)
    x, y = (np.resize(a, LANES) for a in (values.repeat(3), np.tile(values, 3)))
    out, unordered = np.full(LANES, 77, F), np.isnan(x) | np.isnan(y)

    def write(b, x, y, to):
        found = getattr(b, compare)(sign, instructions.load(b, x), instructions.load(b, y))
        ones, zeros = (ir.Constant(instructions.VECTOR, [v] * LANES) for v in (1.0, 0.0))
        instructions.store(b, b.select(found, ones, zeros), to)

    run("x y to", write, x, y, out)
    right = eval(f"x {sign} y", {"x": x, "y": y})
    assert np.array_equal(out, right | unordered if compare == "fcmp_unordered" else right & ~unordered)


def write_aligned(b, x):
    b.load(instructions.pointer(b, b.add(x, INT(4)), instructions.VECTOR))


def write_copied(b, x):
    cgutils.raw_memcpy(b, *(instructions.pointer(b, b.add(x, INT(k)), ir.IntType(8)) for k in (0, 4)), INT(8), 1)


def write_unset(b, x):
    slot = cgutils.alloca_once(b, instructions.VECTOR)
    instructions.store(b, b.fadd(b.load(slot), b.load(slot)), x)


def write_shifted(b, x):
    b.shl(x, INT(64))


def write_chosen(b, x):
    with b.if_then(x):
        b.add(x, x)


def write_unknown(b, x):
    b.sdiv(x, INT(3))


@pytest.mark.parametrize(
    ("write", "error", "complaint"),
    [
        (write_aligned, Misused, "aligned to"),
        (write_copied, Misused, "copied to where it is"),
        (write_unset, TypeError, "NoneType"),
        (write_shifted, Misused, "64 bits are shifted by 64"),
        (write_chosen, Misused, "a choice by i64"),
        (write_unknown, Misused, "not known"),
    ],
)
def test_what_llvm_leaves_undefined_or_the_interpreter_does_not_know_is_refused(write, error, complaint):
    with pytest.raises(error, match=complaint):
        run("x", write, np.zeros(3 * LANES, F))
