"""Pooling by slices (pool) and by loops (pool_loops), against the definition, for every rule of ties."""

import math
from functools import cache

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import pool, pool_loops
from tinygrad_cnn.kernels.windows import channels_last

from . import case
from .arrays import NONE, frozen, laid_out, same, whole

HUGE = 2**64
# n, c, size, kernel, stride, padding, dilation, ceil_mode
PROBLEMS = {
    "overlapping": (3, 3, (6, 5), (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), False),
    "apart": (2, 2, (6, 8), (2, 3), (2, 3), NONE, (1, 1), False),
    "with gaps": (1, 2, (7, 9), (2, 2), (3, 4), ((0, 1), (1, 0)), (1, 1), False),
    "dilated": (2, 1, (7, 6), (2, 3), (1, 2), ((1, 0), (2, 2)), (2, 2), False),
    "last one cut": (1, 3, (6, 7), (3, 2), (2, 3), ((0, 0), (1, 1)), (1, 1), True),
    "five cells": (1, 2, (7, 3), (5, 1), (1, 2), ((2, 2), (0, 0)), (1, 1), False),
    "many channels": (2, 9, (5, 6), (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), False),
    "many channels, apart": (3, 8, (4, 6), (2, 3), (2, 3), NONE, (1, 1), False),
    "many channels, cut": (1, 10, (6, 5), (2, 3), (3, 2), ((1, 0), (1, 1)), (2, 1), True),
    "whole image": (2, 9, (3, 4), (3, 4), (HUGE, HUGE), NONE, (1, 1), False),
    "one row": (2, 9, (1, 6), (1, 2), (HUGE, 2), NONE, (HUGE, 3), False),
    "one column": (2, 9, (6, 1), (2, 1), (2, HUGE), NONE, (3, HUGE), False),
    "nine images": (9, 8, (2, 3), (2, 2), (1, 1), NONE, (1, 1), False),
    "many channels, with gaps": (1, 8, (7, 12), (2, 2), (4, 5), NONE, (1, 1), False),
    "strides beyond the image": (1, 8, (4, 4), (6, 4), (6, 5), ((3, 3), (2, 2)), (1, 1), True),
    "strides of the image": (1, 8, (4, 4), (4, 4), (4, 4), ((2, 2), (2, 2)), (1, 1), False),
    "flat windows": (2, 9, (2, 6), (1, 2), (1, 2), NONE, (HUGE, 3), False),
    "flat windows across": (2, 9, (6, 2), (2, 1), (2, 1), NONE, (3, HUGE), False),
    "many channels, five cells": (1, 8, (7, 3), (5, 1), (1, 2), ((2, 2), (0, 0)), (1, 1), False),
    "one cell": (1, 8, (3, 4), (1, 1), (2, 1), NONE, (1, 1), False),
    "more windows than columns": (1, 8, (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), False),
    "tall windows": (1, 8, (18, 2), (17, 1), (1, 1), NONE, (1, 1), False),
    "nothing": (0, 9, (3, 4), (2, 2), (1, 1), NONE, (1, 1), False),
}
VALUES = {"ties": (), "nan": (np.nan, np.inf), "low": (-np.inf, -np.inf)}


@cache
def solved(name, values, dtype):
    n, c, size, *params, ceil_mode = PROBLEMS[name]
    rng = np.random.default_rng(len(name))
    if np.dtype(dtype).kind == "f":
        x = frozen(rng.choice(np.array([-2.0, 0.0, 1.0, 2.0, *VALUES[values]], dtype), (n, c, *size)))
    else:
        x = whole((n, c, *size), 1, dtype, -2, 3)
    y, holders = oracles.max_pool2d(x, *params, ceil_mode)
    out = y.shape[2:]
    high = 10**9 if dtype == np.float64 else 5  # beyond what float32 holds
    finite = whole(x.shape, 2, dtype, -4, high)
    g = whole(y.shape, 3, dtype, -4, high)
    total = oracles.sum_pool2d(finite, *params, ceil_mode)
    spread = oracles.sum_pool2d_input_grad(g, size, *params)
    return x, y, holders, out, finite, g, total, spread, params


def placed(holders, shape, k):
    places = np.zeros(shape, np.int64)
    for at, held in holders.items():
        places[at] = held[k]
    return places


LAYOUTS = ("planes", "channels last", "every second")


def agrees(name, values, dtype, layout):
    x, y, holders, out, finite, g, total, spread, params = solved(name, values, dtype)
    x, finite, g = laid_out(x, layout), laid_out(finite, layout), laid_out(g, layout)
    n, c, size, *_ = PROBLEMS[name]
    for ties, k in (("first", 0), ("last", -1)):
        found, winners, share = pool.max_pool2d(x, *params, out, ties)
        same(found, y, dtype)
        same(winners, placed(holders, y.shape, k), winners.dtype)
        by_loops = pool_loops.fits(x, params[0])
        assert winners.dtype == (np.int32 if by_loops and dtype == np.float32 else np.int64)
        assert share is None
        gathered = pool.gather(x, winners)
        same(gathered, y, dtype)
        if c > 1 and y.size > c * n:
            assert channels_last(winners) is channels_last(found) is (by_loops or layout == "channels last")
            assert channels_last(gathered) is (layout == "channels last")
        wanted = np.zeros(x.shape, np.int64 if np.dtype(dtype).kind == "i" else np.float64)
        for at, held in holders.items():
            wanted[at[:2]].flat[held[k]] += g[at]
        back = pool.scatter(g, winners, size)
        same(back, wanted, dtype)
        if c > 1 and x.size:
            assert channels_last(back) is (pool_loops.fits(g) or layout == "channels last" or channels_last(winners))
            for first, second in (("planes", "channels last"), ("channels last", "planes")):
                again = pool.scatter(laid_out(g, first), laid_out(winners, second), size)
                same(again, wanted, dtype)
                assert channels_last(again)
        assert not by_loops or (channels_last(found) and channels_last(winners))
        apart = all(s >= d * (k - 1) + 1 for s, d, k in zip(params[1], params[3], params[0], strict=True))
        if apart:
            same(pool.scatter(g, winners, size, distinct=True), wanted, dtype)
    found, winners, share = pool.max_pool2d(x, *params, out, "split")
    same(found, y, dtype)
    count = oracles.cells_inside(size, *params, out)
    assert winners.shape == share.shape == (*y.shape, count)
    assert share.dtype == (dtype if np.dtype(dtype).kind == "f" else np.float64)
    assert winners.dtype == np.int64
    for at, held in holders.items():
        chosen = share[at] > 0
        assert winners[at][chosen].tolist() == held
        assert (share[at][chosen] == np.array(1 / len(held)).astype(share.dtype)).all()
        assert not winners[at][~chosen].any()
    many = whole(winners.shape, 5, dtype)
    wanted = np.zeros(x.shape)
    for at in holders:
        for cell, value in zip(winners[at], many[at], strict=True):
            wanted[at[:2]].flat[cell] += value
    same(pool.scatter(many, winners, size), wanted, dtype)
    same(
        pool.gather(finite, winners),
        np.array([finite[at[:2]].reshape(-1)[cell] for at, cell in np.ndenumerate(winners)], dtype).reshape(
            winners.shape
        ),
    )
    added = pool.sum_pool2d(finite, *params, out)
    same(added, total, dtype)
    given = pool.sum_pool2d_input_grad(g, size, *params)
    same(given, spread, dtype)
    if c > 1 and added.size > c * n:
        assert channels_last(given) is (pool_loops.fits(g, params[0]) or layout == "channels last")
        assert channels_last(added) is (layout == "channels last")


SMALL = [name for name in PROBLEMS if PROBLEMS[name][1] < 8]
LARGE = [name for name in PROBLEMS if PROBLEMS[name][1] > 7]


@case(
    "pool",
    *[(name, values, np.float64, layout) for layout, values in zip(LAYOUTS, VALUES, strict=True) for name in SMALL],
)
@case("pool", *[(name, "nan", np.float32, "channels last") for name in SMALL])
@case(
    "pool",
    *[
        (name, "nan", np.float32, "planes")
        for name in ("many channels", "many channels, apart", "tall windows", "nothing")
    ],
)
@case("pool", *[(name, "ties", np.float64, "channels last") for name in ("many channels", "tall windows")])
@case("pool", *[(name, "ties", np.int64, "planes") for name in SMALL[::2]])
@case("pool", ("whole image", "ties", np.int64, "planes"), ("one row", "nan", np.float16, "planes"))
@case("pool", *[(name, "nan", np.float16, "planes") for name in SMALL[1::2]])
@case("pool_loops", *[(name, "nan", np.float32, "planes") for name in LARGE])
@case("pool_loops", *[(name, "low", np.float64, "channels last") for name in LARGE])
@case(
    "pool_loops",
    ("many channels", "nan", np.float32, "every second"),
    ("many channels, cut", "nan", np.float32, "planes"),
)
def pooling_equals_the_definition(name, values, dtype, layout):
    agrees(name, values, dtype, layout)


@case("pool_loops", *[(chunk,) for chunk in (1, 300, 2**20)])
def loops_take_any_number_of_images_at_once(chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_loops, "CHUNK", chunk)
        for name in ("many channels", "many channels, apart"):
            agrees(name, "nan", np.float32, "planes")


@case("pool_loops")
def a_chunk_of_images_is_as_large_as_it_says():
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_loops, "CHUNK", 30)
        pool_loops._in_spans(seen.append, 12, 120)
    assert sorted((part.start, part.stop) for part in seen) == [
        (k + i, min(k + i + 3, k + 4)) for k in (0, 4, 8) for i in (0, 3)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_loops, "CHUNK", 1)
        seen.clear()
        pool_loops._in_spans(seen.append, 2, 0)
        pool_loops._in_spans(seen.append, 0, 0)
    assert len(seen) == 2


@case("pool_loops")
def the_loops_are_for_floats_with_channels_and_small_windows():
    x = np.zeros((1, 8, 2, 2), np.float32)
    assert pool_loops.fits(x)
    assert pool_loops.fits(x.astype(float), (16, 3))
    assert pool_loops.fits(x, (1, 16))
    assert not pool_loops.fits(x[:, :7])
    assert not pool_loops.fits(x.astype(np.float16))
    assert not pool_loops.fits(x.astype(int))
    assert not pool_loops.fits(x, (17, 1))
    assert not pool_loops.fits(x, (1, 17))


@case("pool_loops")
def winners_are_as_wide_as_the_values_where_planes_are_not_too_large():
    for dtype in (np.float32, np.float64):
        small, large = (np.broadcast_to(np.zeros((), dtype), (1, 8, 2**15, w)) for w in (2**16 - 1, 2**16))
        assert pool_loops.index_of(small) == f"i{small.itemsize}"
        assert pool_loops.index_of(large) == np.int64
        assert isinstance(pool_loops.index_of(small), np.dtype)


@case("pool_loops")
@case("pool")
def many_to_one_cell_are_added_in_float64():
    for c, count in ((8, (40, 50)), (1, (40, 50)), (3, (40, 50)), (8, (41, 25)), (1, (41, 25))):
        for layout in ("planes", "channels last"):
            g = laid_out(np.full((2, c, *count), np.float32(0.1)), layout)
            total = pool.scatter(g, laid_out(np.ones(g.shape, np.int64), layout), (2, 3))
            assert total.dtype == np.float32
            assert (total[:, :, 0, 1] == np.float32(math.prod(count) * float(np.float32(0.1)))).all()
            total[:, :, 0, 1] = 0
            assert not total.any()
    g = np.full((1, 1, 32, 32), 0.1, np.float32)  # 1024 and no more, in float32
    plain = np.zeros(2, np.float32)
    np.add.at(plain, np.zeros(1024, np.int64), g.reshape(-1))
    assert pool.scatter(g, np.zeros(g.shape, np.int64), (1, 2))[0, 0, 0, 0] == plain[0]
    halves = pool.scatter(np.full((1, 1, 30, 30), 0.1, np.float16), np.zeros((1, 1, 30, 30), np.int64), (1, 2))
    assert halves[0, 0, 0, 0] == np.float16(900 * float(np.float16(0.1)))


@case("pool_loops")
@case("pool")
def up_to_1024_to_a_plane_are_added_in_their_dtype():
    for c, layout in ((1, "planes"), (8, "planes"), (8, "channels last")):
        g = laid_out(np.full((1, c, 32, 32), 0.1, np.float32), layout)
        plain = np.float32(0)
        for _ in range(1024):
            plain += np.float32(0.1)
        assert (pool.scatter(g, np.zeros(g.shape, np.int64), (1, 2))[0, :, 0, 0] == plain).all()


@case("pool_loops", ("many channels",), ("more windows than columns",), ("strides beyond the image",))
def sums_are_those_of_slices_bit_by_bit(name):
    n, c, size, *params, _ = PROBLEMS[name]
    out, rng = solved(name, "ties", np.float32)[3], np.random.default_rng(1)
    x, g = (rng.standard_normal((n, c, *s)).astype(np.float32) for s in (size, out))
    found = pool_loops.sum_pool2d(x, *params, out), pool_loops.sum_pool2d_input_grad(g, size, *params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_loops, "fits", lambda *_: False)
        assert np.array_equal(found[0], pool.sum_pool2d(x, *params, out))
        assert np.array_equal(found[1], pool.sum_pool2d_input_grad(g, size, *params))


@case("pool")
def planes_may_be_empty_and_integers_beyond_53_bits():
    x, winners = np.zeros((2, 3, 0, 4)), np.zeros((2, 3, 0, 2), np.int64)
    assert pool.gather(x, winners).shape == winners.shape
    assert pool.scatter(np.zeros(winners.shape), winners, (0, 4)).shape == x.shape
    g = np.full((1, 1, 40, 50), 2**51 + 1)
    assert pool.scatter(g, np.zeros(g.shape, np.int64), (1, 2))[0, 0, 0, 0] == 2000 * (2**51 + 1)


class Derived(np.ndarray):
    """Some class of arrays."""


@case("pool")
def results_are_plain_arrays_and_objects_are_pooled():
    x = whole((1, 2, 4, 4), 1)
    params = (2, 2), (2, 2), NONE, (1, 1)
    for y in (
        *pool.max_pool2d(x.view(Derived), *params, (2, 2), "first")[:2],
        pool.sum_pool2d(x.view(Derived), *params, (2, 2)),
        pool.sum_pool2d_input_grad(x.view(Derived), (8, 8), *params),
    ):
        assert type(y) is np.ndarray
    for ties in ("first", "split"):
        y, winners, _ = pool.max_pool2d(x.astype(object), *params, (2, 2), ties)
        assert y.dtype == object
        assert np.array_equal(y.astype(float), oracles.max_pool2d(x, *params)[0])
        assert np.array_equal(winners, pool.max_pool2d(x, *params, (2, 2), ties)[1])


@case("pool_loops")
def a_winner_outside_the_plane_is_refused():
    g = np.ones((1, 8, 1, 1), np.float32)
    for wrong in (6, -1):
        with pytest.raises(IndexError, match="scatter: a winner lies outside the plane of 2 x 3 cells"):
            pool_loops.scatter(g, np.full(g.shape, wrong), (2, 3), False, False)
    pool_loops.scatter(g, np.full(g.shape, 5), (2, 3), False, False)


@case("pool")
def more_cells_than_a_byte_counts():
    x = np.random.default_rng(0).permutation(20 * 30).reshape(1, 1, 20, 30).astype(float)
    for kernel, out in (((17, 16), (4, 15)), ((17, 15), (4, 16)), ((16, 16), (5, 15))):  # 272, 255, 256
        expected, holders = oracles.max_pool2d(x, kernel, (1, 1))
        y, winners, _ = pool.max_pool2d(x, kernel, (1, 1), NONE, (1, 1), out, "first")
        same(y, expected)
        same(winners, placed(holders, y.shape, 0))


@case("pool", *[(dtype,) for dtype in (np.uint8, np.int8, np.int64)])
def the_lowest_integer_is_a_value(dtype):
    x = np.full((1, 2, 3, 3), np.iinfo(dtype).min, dtype)
    x[0, 1, 2, 2] = 7
    y, winners, _ = pool.max_pool2d(x, (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), (4, 4), "first")
    assert y.dtype == dtype
    assert (y[0, 0] == np.iinfo(dtype).min).all()
    assert np.array_equal(y[0, 1] == 7, np.outer([0, 0, 1, 1], [0, 0, 1, 1]))
    assert winners[0, 0, 0, 0] == 0
    assert 0 <= winners.min() <= winners.max() < 9


@case("pool")
def sums_of_float16_are_taken_in_float32():
    x = np.full((1, 1, 60, 60), 1.001, np.float16)
    y = pool.sum_pool2d(x, (60, 60), (1, 1), NONE, (1, 1), (1, 1))
    assert (y.dtype, y.item()) == (np.float16, np.float16(x.astype(float).sum()))
    g = np.full((1, 1, 60, 60), 1.001, np.float16)
    dx = pool.sum_pool2d_input_grad(g, (1, 1), (60, 60), (1, 1), ((59, 59), (59, 59)), (1, 1))
    assert (dx.dtype, dx.item()) == (np.float16, np.float16(g.astype(float).sum()))


@case("pool", *[(name, pad) for name in PROBLEMS for pad in (True, False)])
def counts_are_those_of_the_cells(name, pad):
    _, _, size, *params, ceil_mode = PROBLEMS[name]
    out = solved(name, "ties", np.float64)[3]
    same(pool.pool_counts(size, *params, out, pad), oracles.pool_counts(size, *params, ceil_mode, pad))
