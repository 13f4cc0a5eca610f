"""Direct sums in vector code: the three maps against plain loops, in blocks and parts; which calls they are for."""

from functools import cache

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import compiled, conv_direct, packing, parallel

from . import case
from .arrays import frozen, whole

F = np.float32

# (n, h, w, c), outputs, kernel, stride, corner, dilation, out
PROBLEMS = [
    ((2, 5, 6, 3), 4, (3, 2), (1, 1), (1, 0), (1, 1), (4, 5)),
    ((3, 6, 4, 2), 9, (2, 3), (2, 1), (0, 1), (1, 1), (3, 4)),
    ((1, 4, 7, 1), 17, (2, 2), (1, 3), (2, 1), (2, 1), (4, 2)),
    ((2, 7, 5, 2), 3, (2, 3), (3, 2), (1, 2), (1, 2), (3, 3)),
    ((1, 9, 8, 2), 5, (1, 2), (4, 3), (0, 0), (1, 4), (2, 1)),
    ((2, 3, 9, 1), 2, (3, 1), (1, 2), (3, 0), (1, 1), (5, 4)),
    ((1, 6, 3, 2), 33, (3, 3), (2, 2), (1, 1), (1, 1), (3, 2)),
    ((4, 4, 5, 2), 2, (2, 2), (5, 6), (1, 0), (1, 1), (1, 1)),
    ((1, 2, 3, 33), 1, (1, 2), (1, 1), (0, 1), (1, 1), (2, 3)),
    ((1, 6, 4, 1), 2, (2, 1), (2, 1), (1, 0), (2, 1), (2, 4)),
    ((1, 4, 6, 1), 2, (1, 2), (1, 2), (0, 1), (1, 2), (4, 2)),
    ((1, 5, 6, 1), 2, (2, 2), (2, 2), (0, 1), (2, 2), (2, 2)),
    ((1, 5, 6, 1), 1, (2, 2), (2, 2), (1, 1), (2, 2), (2, 3)),
    ((1, 4, 5, 2), 1, (1, 1), (2, 2), (0, 1), (2, 2), (2, 3)),
    ((1, 4, 4, 1), 1, (1, 2), (2, 2), (0, 0), (1, 1), (2, 2)),
    ((1, 2, 2, 1), 2, (2, 2), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((1, 1, 1, 1), 2, (2, 2), (2, 2), (1, 1), (2, 2), (1, 1)),
    ((1, 3, 4, 2), 2, (2, 2), (1, 6), (0, 1), (1, 1), (2, 1)),
    ((1, 4, 3, 2), 2, (2, 2), (6, 1), (1, 0), (1, 1), (1, 2)),
]
CUTS = [{}, {"BLOCK": 1, "STEPS": 1, "PARTS": 2}, {"BLOCK": 400, "PARTS": 3}, {"STEPS": 400, "SUMS": 1}]


@cache
def solved(shape, o, kernel, stride, corner, dilation, out):
    """Arrays, and the three maps of them from plain loops."""
    (n, h, w, c), planes = shape, (0, 3, 1, 2)
    x, g = whole(shape, 1, F), whole((n, *out, o), 2, F)
    taps, b = whole((o, c, *kernel), 3, F), whole(o, 4, F)
    padding = tuple(
        (p, (m - 1) * s + d * (k - 1) + 1 - p - size)
        for p, m, s, d, k, size in zip(corner, out, stride, dilation, kernel, (h, w), strict=True)
    )
    wide = [a.astype(float) for a in (x.transpose(planes), g.transpose(planes), taps)]
    y = oracles.conv2d(wide[0], wide[2], b, stride, padding, dilation)
    dx = oracles.conv2d_input_grad(wide[1], wide[2], (h, w), stride, padding, dilation)
    dw = oracles.conv2d_weight_grad(wide[0], wide[1], kernel, stride, padding, dilation)
    return (x, g, taps, b), (y.transpose(0, 2, 3, 1), dx.transpose(0, 2, 3, 1), dw)


def writable(*arrays):
    """Copies, as it is for these that vector code is compiled."""
    return [a.copy() for a in arrays]


def same(found, wanted):
    assert found.dtype == F
    assert np.array_equal(found, wanted.astype(F))
    assert found.flags.writeable


def cut(patch, sizes):
    for name, size in sizes.items():
        patch.setattr(conv_direct, name, size)


@case("conv_direct")
def a_call_is_for_direct_sums():
    reach = conv_direct.REACH
    call = {"kernel": (3, 2), "stride": (1, 2), "dilation": (2, 1), "groups": 1}
    x, half = np.zeros((1, 2, 3, 4), F), np.zeros((1, 2, 3, 4), np.float16)

    def fits(*arrays, **changes):
        found = conv_direct.fits(*(call | changes).values(), *arrays)
        assert isinstance(found, bool)
        return found

    assert fits(x)
    assert fits(x, half)
    assert not fits(x, x.astype(float))
    assert not fits(x.astype(float), x)
    assert not fits(x, x[:0])
    assert not fits(x[..., :0], x)
    assert not fits(x, groups=2)
    for k in range(2):
        assert fits(x, stride=tuple(reach if e == k else 1 for e in range(2)))
        assert not fits(x, stride=tuple(reach + 1 if e == k else 1 for e in range(2)))
        assert fits(x, kernel=tuple(4 if e == k else 1 for e in range(2)), dilation=(reach // 3, reach // 3))
        assert not fits(x, kernel=tuple(3 if e == k else 1 for e in range(2)), dilation=(reach // 2, reach // 2))
        assert not fits(x, kernel=tuple(reach + 1 if e == k else 1 for e in range(2)), dilation=(1, 1))
        assert fits(x, kernel=tuple(reach if e == k else 1 for e in range(2)), dilation=(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "vectors", lambda: None)
        assert not fits(x)


# rows, columns, channels; runs of memory: where they start, and how long they are
TAPS = [
    ([-1, 0, 1], [-2, -1], 3, [-2], 6),
    ([0, 2], [1, 3, 5], 2, [1, 3, 5], 2),
    ([4], [-3], 5, [-3], 5),
    ([-1, 1], [0, 1, 3], 1, [0, 1, 3], 1),
]


@case("conv_direct", *TAPS)
def taps_are_runs_of_memory(rows, columns, c, starts, length):
    taps = conv_direct.Taps(rows, columns, c)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert taps.window((2, 3)) == ((2, 3), (rows[0], columns[0]), (height, width))
    assert (taps.starts, taps.length) == (starts, length)
    assert (taps.width(5, (2, 3)), taps.area(5, (2, 3))) == (12 + width, 8 + height)
    offsets = taps.offsets(11)
    assert offsets.dtype == np.int64
    wanted = [((s - rows[0]) * 11 + t - columns[0]) * c * 4 for s in rows for t in starts]
    assert offsets.tolist() == wanted


# images, rows, bytes and multiplications of a row, BLOCK, STEPS; images and rows of a block
BLOCKS = [
    (4, 6, 10, 5, 60, 60, 2, 6),
    (4, 6, 10, 5, 59, 60, 1, 3),
    (5, 6, 10, 5, 600, 89, 2, 6),
    (2, 7, 10, 5, 39, 600, 1, 3),
    (3, 7, 10, 5, 1000, 19, 1, 3),
    (3, 4, 100, 500, 60, 60, 1, 1),
    (2, 3, 0, 0, 7, 5, 2, 3),
    (2, 9, 1, 1, 5, 600, 1, 5),
    (2, 9, 1, 1, 600, 5, 1, 5),
    (5, 1, 1, 1, 9, 4, 3, 1),
    (5, 6, 10, 5, 600, 59, 1, 6),
    (7, 3, 1, 1, 100, 9, 3, 3),
]


@case("conv_direct", *BLOCKS)
def blocks_are_whole_images_or_parts_of_one(n, rows, by_row, steps, block, most, images, height):
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, {"BLOCK": block, "STEPS": most})
        blocks = conv_direct._blocks(n, rows, by_row, steps)
    assert blocks.dtype == np.int64
    places = [(image, row) for n0, n1, r0, r1 in blocks for image in range(n0, n1) for row in range(r0, r1)]
    assert sorted(places) == list(np.ndindex(n, rows))
    assert (blocks[:, 1] - blocks[:, 0]).max() == images
    assert (blocks[:, 3] - blocks[:, 2]).max() == conv_direct._rows(blocks) == height


@case("conv_direct", *((*row, CUTS[k % 4]) for k, row in reversed([*enumerate(PROBLEMS)])))
def three_maps_equal_the_loops(shape, o, kernel, stride, corner, dilation, out, sizes):
    (x, g, w, b), (y, dx, dw) = solved(shape, o, kernel, stride, corner, dilation, out)
    x, g = writable(x, g)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, sizes)
        same(conv_direct.conv2d(x, w, b, stride, corner, dilation, out), y)
        same(conv_direct.conv2d(x, w, None, stride, corner, dilation, out), y - b)
        same(conv_direct.input_grad(g, w, shape[1:3], stride, corner, dilation), dx)
        same(conv_direct.weight_grad(x, g, kernel, stride, corner, dilation), dw)


@case("conv_direct")
def kernels_are_packed_once_if_they_are_to_be_kept():
    (x, _, w, b), (y, *_) = solved(*PROBLEMS[0])
    (x,) = writable(x)
    count = []

    def packed(*arguments):
        count.append(arguments)
        return packing.packed(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_kept", {})
        patch.setattr(conv_direct, "packed", packed)
        for keep, times in ((True, 1), (True, 1), (False, 2), (False, 3)):
            same(conv_direct.conv2d(x, w, b, *PROBLEMS[0][3:], keep=keep), y)
            assert len(count) == times
        conv_direct.conv2d(x, w, b, *PROBLEMS[0][3:])
        assert len(count) == 4
        same(conv_direct.conv2d(x, frozen(2 * w), b, *PROBLEMS[0][3:], keep=True), 2 * (y - b) + b)
        same(conv_direct.conv2d(x, w, frozen(b + 1), *PROBLEMS[0][3:], keep=True), y + 1)
        same(conv_direct.conv2d(x, w, None, *PROBLEMS[0][3:], keep=True), y - b)


def recorded(patch, owner, name, calls):
    """Keep the arguments of every call."""
    function = getattr(owner, name)

    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    patch.setattr(owner, name, call)


@case("conv_direct", *((*PROBLEMS[k], at_once) for k in (1, 3, 6, 8) for at_once in (1, 2**20)))
def a_block_is_cut_by_the_bytes_and_multiplications_of_a_row_and_done_once(
    shape, o, kernel, stride, corner, dilation, out, at_once
):
    (x, g, w, b), _ = solved(shape, o, kernel, stride, corner, dilation, out)
    (x, g), c, (kh, kw) = writable(x, g), shape[3], kernel
    width = (out[1] - 1) * stride[1] + (kw - 1) * dilation[1] + 1
    row = stride[0] * width * c * 4, out[1] * kh * kw * c * o
    asked, done, added = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, {"STEPS": at_once})
        recorded(patch, conv_direct, "_blocks", asked)
        recorded(patch, compiled.vectors(), "correlate", done)
        recorded(patch, compiled.vectors(), "correlate_weights", added)
        conv_direct.conv2d(x, w, b, stride, corner, dilation, out)
        conv_direct.weight_grad(x, g, kernel, stride, corner, dilation)
    assert asked == [(shape[0], out[0], *row)] * 2
    for calls in (done, added):
        assert sum((n1 - n0) * (r1 - r0) for call in calls for n0, n1, r0, r1 in blocks_of(call)) == shape[0] * out[0]


def blocks_of(call):
    """The blocks among the arguments of a loop."""
    return next(a for a in call if isinstance(a, np.ndarray) and a.ndim == 2 and a.shape[1] == 4 and a.dtype == int)


SUM = 4 * 12 * 2  # bytes
# PARTS, SUMS; parts of five blocks
MANY = [(1, 9 * SUM, 1), (2, 9 * SUM, 2), (5, 9 * SUM, 5), (9, 9 * SUM, 5), (9, 3 * SUM, 3), (9, 3 * SUM - 1, 2)]
MANY += [(9, SUM - 1, 1)]


@case("conv_direct", *MANY)
def the_weight_gradient_has_so_many_sums(most, fit, parts):
    (x, g, *_), (_, _, dw) = solved((5, 2, 3, 3), 2, (2, 2), (1, 1), (0, 0), (1, 1), (1, 2))
    x, g = writable(x, g)
    lengths = []
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, {"STEPS": 1, "PARTS": most, "SUMS": fit})
        recorded(patch, parallel, "spans", lengths)
        same(conv_direct.weight_grad(x, g, (2, 2), (1, 1), (0, 0), (1, 1)), dw)
    assert [length for _, length, _ in lengths] == [parts]
