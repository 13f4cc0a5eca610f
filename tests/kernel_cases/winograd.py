"""3x3 convolution in tiles: the transforms from their matrices, the whole by the definition; packed kernels."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import compiled, packing, tiles, winograd

from . import case
from .arrays import frozen, whole

F = np.float32
# Lavin & Gray (2015), sec. 4.3
B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    float,
)
A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float)

# images, height, width, channels, corner, images and rows of tiles of the chunk, tiles along
CHUNKS = [
    (2, 9, 10, 3, (1, 1), (0, 2), (0, 3), 3),
    (3, 13, 6, 2, (0, 2), (1, 3), (1, 3), 1),
    (2, 9, 5, 1, (2, 0), (0, 1), (0, 2), 1),
    (2, 11, 7, 2, (1, 0), (1, 2), (1, 2), 2),
    (1, 3, 3, 2, (5, 6), (0, 1), (0, 2), 2),
    (1, 5, 12, 2, (0, 1), (0, 1), (0, 2), 2),
    (1, 2, 9, 2, (0, 9), (0, 1), (0, 2), 2),
    (3, 9, 3, 2, (5, 0), (1, 3), (0, 1), 2),  # the first row of the image is the last of the tiles
    (3, 11, 6, 1, (1, 1), (0, 2), (2, 3), 2),
    (4, 7, 8, 2, (1, 12), (2, 4), (1, 2), 2),  # the image lies to the right of the tiles
    (1, 7, 2, 1, (7, 1), (0, 1), (0, 1), 1),  # below
    (2, 4, 3, 2, (8, 2), (1, 2), (5, 7), 1),  # above
    (2, 1, 1, 2, (2, 5), (0, 2), (0, 2), 3),  # of one pixel
    (1, 2, 19, 1, (1, 1), (0, 1), (0, 1), 5),
    *[(1, 9, 3, 1, (top, 8 - top), (0, 1), (0, 5), 2) for top in range(9)],
]


@case("tiles", *CHUNKS)
def the_pixels_of_every_tile_are_transformed(n, h, w, c, corner, images, rows, along):
    x = whole((n, h, w, c), 1, F)
    wide = np.zeros((n, h + 60, w + 60, c))
    wide[:, corner[0] : corner[0] + h, corner[1] : corner[1] + w] = x
    count = (images[1] - images[0]) * (rows[1] - rows[0]) * along
    v = np.full((36, count * c + 5), 77, F)
    tiles.to_tiles(x, *corner, images, rows, along, v)
    places = [(n, i, j) for n in range(*images) for i in range(*rows) for j in range(along)]
    for t, (image, i, j) in enumerate(places):
        d = wide[image, 4 * i : 4 * i + 6, 4 * j : 4 * j + 6]
        wanted = np.einsum("ap,pqc,bq->abc", B, d, B).reshape(36, c)
        assert np.array_equal(v[:, t * c : (t + 1) * c], wanted)
    assert (v[:, count * c :] == 77).all()


OUTPUTS = [
    (2, 9, 10, 3, (0, 2), (0, 3), 3),
    (3, 13, 5, 2, (1, 3), (1, 3), 2),
    (2, 7, 7, 1, (0, 1), (1, 2), 2),
    (2, 8, 4, 2, (1, 2), (0, 2), 1),
    (1, 6, 11, 2, (0, 1), (0, 2), 3),
    (1, 5, 6, 2, (0, 1), (0, 2), 2),
    (4, 11, 8, 1, (2, 4), (1, 2), 2),
    (3, 10, 6, 2, (0, 2), (2, 3), 2),
    (1, 1, 26, 1, (0, 1), (0, 1), 7),
    (2, 19, 3, 2, (0, 1), (0, 5), 1),
]


@case("tiles", *OUTPUTS)
def the_outputs_of_every_tile_and_the_adjoint(n, oh, ow, o, images, rows, along):
    count = (images[1] - images[0]) * (rows[1] - rows[0]) * along
    m, b = whole((36, count * o + 5), 1, F), whole(o, 2, F)
    y = np.full((n, oh, ow, o), 77, F)
    tiles.from_tiles(m, b, images, rows, along, y)
    wanted, g = np.full((n, 100, 100, o), 77.0), whole((n, oh, ow, o), 3, F)
    wide = np.zeros((n, 100, 100, o))
    wide[:, :oh, :ow] = g
    spread = np.full((36, count * o + 5), 77, F)
    tiles.spread_tiles(g, images, rows, along, spread)
    places = [(n, i, j) for n in range(*images) for i in range(*rows) for j in range(along)]
    for t, (image, i, j) in enumerate(places):
        tile = m[:, t * o : (t + 1) * o].astype(float).reshape(6, 6, o)
        wanted[image, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = np.einsum("pa,abo,qb->pqo", A, tile, A) + b
        given = wide[image, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        assert np.array_equal(spread[:, t * o : (t + 1) * o], np.einsum("pa,pqo,qb->abo", A, given, A).reshape(36, o))
    assert np.array_equal(y, wanted[:, :oh, :ow])
    assert (spread[:, count * o :] == 77).all()


@case("tiles")
def loops_and_slices_give_the_same_bits():
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((2, 9, 10, c)).astype(F) for c in (2, 3))
    m, b = rng.standard_normal((36, 18 * 3 + 5)).astype(F), rng.standard_normal(3).astype(F)
    chunk = ((0, 2), (0, 3), 3)
    found = []
    for loops in (True, False):
        v, y, spread = np.zeros((36, 18 * 2 + 5), F), np.zeros_like(g), np.zeros_like(m)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "available", lambda loops=loops: loops)
            tiles.to_tiles(x, 1, 1, *chunk, v)
            tiles.from_tiles(m, b, *chunk, y)
            tiles.spread_tiles(g, *chunk, spread)
        found.append((v, y, spread))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@case("tiles")
def the_transforms_belong_together():
    """A^T [(G w) * (B^T d)] is the correlation of 6 values with 3."""
    d, w = whole(6, 1), whole(3, 2)
    y = A @ ((tiles.G @ w) * (B @ d))
    assert np.allclose(y, [d[k : k + 3] @ w for k in range(4)])
    assert np.allclose(tiles.KERNEL, np.kron(tiles.G, tiles.G))


# n h w c, o, corner, out
IMAGES = [
    ((2, 9, 10, 3), 4, (1, 1), (9, 10)),
    ((3, 6, 5, 2), 1, (0, 2), (5, 7)),
    ((1, 13, 4, 5), 2, (2, 0), (13, 2)),
    ((4, 4, 4, 1), 3, (1, 1), (4, 4)),
]
BLOCKS = (1, 3000, 2**21)


@cache
def solved(at):
    shape, o, corner, out = IMAGES[at]
    rng = np.random.default_rng(at)
    x = frozen(rng.standard_normal(shape).astype(F))
    w, b = (frozen(rng.standard_normal(s).astype(F)) for s in ((o, shape[3], 3, 3), (o,)))
    g = frozen(rng.standard_normal((shape[0], *out, o)).astype(F))
    padding = tuple((p, m + 2 - p - h) for p, m, h in zip(corner, out, shape[1:3], strict=True))
    planes, given = x.transpose(0, 3, 1, 2).astype(float), g.transpose(0, 3, 1, 2).astype(float)
    y = oracles.conv2d(planes, w.astype(float), b, (1, 1), padding)
    dw = oracles.conv2d_weight_grad(planes, given, (3, 3), (1, 1), padding)
    dx = oracles.conv2d_input_grad(given, w.astype(float), shape[1:3], (1, 1), padding)
    return x, w, b, g, corner, out, y.transpose(0, 2, 3, 1), dw, dx.transpose(0, 2, 3, 1)


class Blocks:
    """Blocks of so many bytes, and any number of tiles for the weight gradient."""

    def __init__(self, size, name="LARGE_BLOCK"):
        self.size, self.name = size, name

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for name in ("BLOCK", "LARGE_BLOCK"):
            self.patch.setattr(winograd, name, self.size if name == self.name else None)
        self.patch.setattr(winograd, "LEAST", 1 if self.size < 2**20 else 64)

    def __exit__(self, *_):
        self.patch.undo()


def near(found, wanted):
    assert found.dtype == F
    assert found.shape == wanted.shape
    assert abs(found - wanted).max(initial=0) <= 2e-5 * max(1, abs(wanted).max(initial=0))


@case("winograd", *[(at, block) for at in range(len(IMAGES)) for block in BLOCKS])
def tiles_equal_the_definition(at, block):
    x, w, b, g, corner, out, y, dw, dx = solved(at)
    with Blocks(block):
        for bias in (b, None):
            found, rest = winograd.forward(x, w, bias, corner, out)
            near(found, y if bias is not None else y - b)
            assert len(rest) == 0
        found = winograd.weight_grad(x, g, corner)
        near(found, dw)
        assert found.flags.c_contiguous
        found, rest = winograd.forward(g, w, None, (2 - corner[0], 2 - corner[1]), x.shape[1:3], turned=True)
        near(found, dx)
        assert len(rest) == 0


def outlier(x, value, image=0, row=0):
    x = x.copy()
    x[image, row, 1, 0] = value
    return x


@case("winograd", (np.nan, 0, 1), (np.inf, 4, 3000), (1e6, 8, 1), (-1e6, 0, 3000), (3e38, 4, 2**21), (1e6, 4, 2**21))
def images_with_outliers_are_refused_and_only_those(bad, row, block):
    x, w, b, g, corner, out, y, *_ = solved(0)
    x = np.concatenate([x, 2 * x, x])
    g = np.concatenate([g, g, 2 * g])
    broken = outlier(x, bad, 3, row)
    small = abs(bad) == 1e6
    with Blocks(block):
        found, rest = winograd.forward(broken, w, b, corner, out)
        assert rest.tolist() == [3]
        near(found[[0, 1]], y)
        near(found[[4, 5]], y)
        found, rest = winograd.forward(broken, w, b, corner, out, trust=True)
        assert rest.tolist() == ([] if small else [3])
        assert winograd.weight_grad(broken, g, corner) is None
        assert winograd.weight_grad(x, outlier(g, bad, 2, row), corner) is None
        assert (winograd.weight_grad(broken, g, corner, trust=True) is None) is not small
        assert (winograd.weight_grad(x, outlier(g, bad, 2, row), corner, trust=True) is None) is not small


@case("winograd")
def two_outliers_in_a_small_image_are_seen_by_the_mean():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 8, 16)).astype(F), rng.standard_normal((1, 16, 3, 3)).astype(F)
    x[0, 0, 0, 0], x[0, 7, 7, 7] = 1e6, -1e6
    assert winograd.forward(x, w, None, (1, 1), (8, 8))[1].tolist() == [0]


def still_fine(size):
    """The largest a, of an image of 257 to 4096 pixels that are 1 or -1 apart from it: a * size <= 256 * sum."""
    return 256 * (size - 1) // (size - 256)


def ones_with(shape, seed, row):
    """Images of 1 and -1, the second with the largest value that is fine, the third with the next one."""
    x = np.random.default_rng(seed).choice([F(-1), F(1)], shape)
    x[1, row, 1, 2] = still_fine(x[0].size)
    x[2, row, 1, 2] = -still_fine(x[0].size) - 1
    return frozen(x)


# images, corner, outputs, row: images that reach beyond the last tile, and tiles that reach far beyond the image
EDGES = [((4, 14, 4, 5), (0, 0), (12, 2, 14), row) for row in (0, 5, 11, 13)]
EDGES += [((3, 3, 9, 10), (6, 1), (9, 10, 3), 2), ((3, 9, 4, 8), (2, 2), (11, 6, 5), 8)]


@case("winograd", *[(*edge, block) for edge in EDGES for block in (1, 2**21)], (*EDGES[0], 15000), (*EDGES[3], 15000))
def every_pixel_counts_once_when_an_image_is_judged(shape, corner, out, row, block):
    x, g = ones_with(shape, 1, row), ones_with((shape[0], *out), 2, min(row, out[0] - 1))
    w = whole((1, shape[3], 3, 3), 3, F)
    few, some = np.delete(x, 2, 0), np.delete(g, 2, 0)
    with Blocks(block):
        assert winograd.forward(x, w, None, corner, out[:2])[1].tolist() == [2]
        assert winograd.weight_grad(few, some, corner) is not None
        assert winograd.weight_grad(np.delete(x, 1, 0), some, corner) is None
        assert winograd.weight_grad(few, np.delete(g, 1, 0), corner) is None


@case("winograd")
def sizes_of_rows_are_those_of_the_definition():
    x = whole((5, 6, 4, 3), 1, F, -9, 10)
    for images, rows in (((1, 4), (2, 5)), ((2, 3), (0, 6)), ((0, 5), (5, 6))):
        seen = np.zeros((5, 2, 3))
        winograd.measure(x, images, rows, seen[slice(*images), 1])
        part = abs(x[slice(*images), slice(*rows)].astype(float))
        wanted = np.zeros_like(seen)
        wanted[slice(*images), 1] = np.stack([part.sum((1, 2, 3)), (part**2).sum((1, 2, 3)), part.max((1, 2, 3))], 1)
        assert np.array_equal(seen, wanted)
    for rows in ((6, 6), (8, 6)):
        seen = np.zeros((2, 3))
        winograd.measure(x, (0, 2), rows, seen)
        assert not seen.any()


# sums, squares and largest value of images of 16 * 128 * 4 pixels; refused; refused though outliers are taken
JUDGED = [
    ((2048, 8192, 64), False, False),  # as large as may be by both rules
    ((2047, 8192, 64), True, False),
    ((2048, 8191, 64), True, False),
    ((2e-6, 8e-15, 6e-8), False, False),
    ((2e-6, 8e-15, 7e-8), True, False),
    ((0, 0, 0), False, False),
    ((2048, 99999, 65), True, False),
    ((99999, 8191, 64), True, False),
    ((99999, 99999, 70), False, False),
    ((99999, 99999, 70.1), True, True),  # beyond the limit
    ((np.nan, np.nan, 0), True, True),
    ((np.nan, np.nan, 5), True, True),
    ((1e20, np.inf, 60), True, True),
]


@case("winograd", (1,), (4,))
def an_image_is_judged_by_its_sums_and_its_largest_value(rows):
    for sizes, refused, always in JUDGED:
        seen = np.zeros((3, rows, 3))
        seen[1, 0, :2] = np.multiply(sizes[:2], 0.75 if rows > 1 else 1)
        seen[1, -1, :2] += np.multiply(sizes[:2], 0.25 if rows > 1 else 0)
        seen[1, -1, 2] = sizes[2]
        seen[2] = seen[1]
        for trust, wanted in ((False, refused), (True, always)):
            found = winograd._refused(seen, (3, 16, 128, 4), trust, 70.0)
            assert found.tolist() == ([1, 2] if wanted else [])
        assert winograd._refused(seen[1:2], (1, 16, 128, 4), False, 70.0).tolist() == ([0] if refused else [])


@case("winograd")
def kernels_are_judged_by_their_squares():
    w = np.zeros((64, 64, 3, 3), F)
    w[5, :9, 1, 2] = 1
    assert winograd._largest(w) == (1, False)
    assert winograd._largest(-w) == (1, False)
    w[5, 3, 1, 2] = 0
    assert winograd._largest(w) == (1, True)
    for large in (1e18, 1e-12):
        largest, outlier = winograd._largest(F(-large) * w)
        assert largest == float(F(large))
        assert outlier
    assert winograd._largest(np.full((2, 3, 3, 3), F(0.01))) == (float(F(0.01)), False)


@case("winograd", (np.nan,), (np.inf,), (3e38,), (1e6,), (-1e6,))
def kernels_with_outliers_refuse_every_image(bad):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 8, 16)).astype(F), rng.standard_normal((40, 16, 3, 3)).astype(F)
    assert winograd.forward(x, w, None, (1, 1), (8, 8))[1].tolist() == []
    w[1, 2, 0, 1] = bad
    assert winograd.forward(x, w, None, (1, 1), (8, 8))[1].tolist() == [0, 1]
    assert winograd.forward(x, w, None, (1, 1), (8, 8), trust=True)[1].tolist() == ([] if abs(bad) == 1e6 else [0, 1])
    x = np.zeros_like(x)
    assert winograd.forward(x, w, None, (1, 1), (8, 8), trust=True)[1].tolist() == ([] if np.isfinite(bad) else [0, 1])


@case("winograd")
def nothing_finite_overflows():
    x, w = np.full((1, 8, 8, 4), F(1e17)), np.full((2, 4, 3, 3), F(1e18))
    assert winograd.forward(x, w, None, (1, 1), (8, 8), trust=True)[1].tolist() == [0]
    x = np.full((1, 8, 8, 4), F(1e16))
    assert winograd.forward(x, w, None, (1, 1), (8, 8), trust=True)[1].tolist() == []
    assert winograd.forward(x, 0 * w, None, (1, 1), (8, 8), trust=True)[1].tolist() == []
    for value, refused in ((2e16, []), (3e16, [0])):
        x = np.full((1, 5, 4, 4), F(value))
        assert winograd.forward(x, w, None, (1, 1), (5, 4), trust=True)[1].tolist() == refused
    for sign in (1, -1):
        y, rest = winograd.forward(np.full((1, 3, 4, 4), F(1e-5)), F(sign * 3e20) * w, None, (1, 1), (3, 4))
        near(y / F(sign * 3e38), 4e-5 * np.outer([2, 3, 2], [2, 3, 3, 2])[None, :, :, None].repeat(2, 3))
        assert rest.tolist() == []
    x = np.full((1, 5, 4, 2), F(1e18))
    assert winograd.weight_grad(x, x, (1, 1)) is None
    assert winograd.weight_grad(x, F(1e-9) * x, (1, 1)) is not None


@case("winograd")
def zeros_are_fine_and_what_is_empty_is_for_others():
    w, b = whole((3, 2, 3, 3), 1, F), whole(3, 2, F)
    y, rest = winograd.forward(np.zeros((2, 5, 6, 2), F), w, b, (1, 1), (5, 6))
    assert np.array_equal(y, np.broadcast_to(b, y.shape))
    assert rest.tolist() == []
    assert winograd.forward(np.zeros((2, 5, 6, 2), F), w, b, (1, 1), (5, 6), trust=True)[1].tolist() == []
    for n, h, width, oh, ow in ((0, 5, 6, 5, 6), (2, 0, 5, 2, 7), (2, 5, 0, 7, 2), (2, 2, 7, 0, 5), (2, 7, 2, 5, 0)):
        x, g = np.zeros((n, h, width, 2), F), np.zeros((n, oh, ow, 3), F)
        y, rest = winograd.forward(x, w, b, (2, 2), (oh, ow))
        assert (y.shape, rest.tolist()) == (g.shape, [*range(n)])
        assert winograd.weight_grad(x, g, (2, 2)) is None


@case(
    "winograd",
    *[
        ((n, 5, 9, 3), (h, w, o), least, block)
        for n in (1, 3)
        for h, w, o in ((9, 5, 2), (4, 13, 1), (4, 3, 2))
        for least in (1, 4)
        for block in (1, 2000, 2304, 2880, 4000, 4320, 9000, 2**21)
    ],
)
def blocks_of_tiles_fit_and_are_all_tiles(shape, out, least, block):
    with Blocks(block):
        made = winograd.Tiles(shape, out, least)
    down, along = -(-out[0] // 4), -(-out[1] // 4)
    assert (made.down, made.along, made.c, made.o, made.lanes, made.panels) == (down, along, 3, out[2], out[2], 1)
    places = [
        (image, row) for n0, n1, r0, r1 in made.blocks.tolist() for image in range(n0, n1) for row in range(r0, r1)
    ]
    assert places == [(image, row) for image in range(shape[0]) for row in range(down)]
    fit = max(least, block // (144 * (3 + out[2])))
    counts = [(n1 - n0) * (r1 - r0) * along for n0, n1, r0, r1 in made.blocks.tolist()]
    assert all(count <= max(fit, along) for count in counts)
    assert made.most == max(counts)
    assert made.rows == max(r1 - r0 for *_, r0, r1 in made.blocks.tolist())
    assert made.steps == 36.0 * shape[0] * down * along * 3 * out[2]
    assert len(counts) == (
        -(-shape[0] // (fit // (down * along))) if down * along <= fit else shape[0] * -(-down // max(1, fit // along))
    )
    assert (made.blocks.shape, made.blocks.dtype) == ((len(counts), 4), np.int64)
    lines = made.lines()
    assert [line.shape for line in lines] == [(36, made.most * 3 + 16), (36, made.most * out[2] + 16)]


@case(
    "packing",
    *[(lanes, channels, swapped) for lanes in (1, 2, 4, 8) for channels in (0, 5) for swapped in (False, True)],
)
def kernels_are_packed_in_panels_and_unpacked(lanes, channels, swapped):
    w = whole((5, 3, 2, 3), 1)
    taps = [5, 0, 2]
    found = packing.packed(w, taps, lanes, channels=channels, swapped=swapped)
    turned = w.swapaxes(0, 1) if swapped else w
    o, c = turned.shape[:2]
    wanted = np.zeros((-(-o // lanes), 3, max(channels, c), lanes), F)
    for k, i, tap in np.ndindex(o, c, 3):
        wanted[k // lanes, tap, i, k % lanes] = turned[k, i].reshape(-1)[taps[tap]]
    assert found.dtype == F
    assert np.array_equal(found, wanted)
    back = packing.unpacked(found, o, c)
    assert back.dtype == F
    assert np.array_equal(back, turned.reshape(o, c, 6)[:, :, taps])


@case("packing")
def a_bias_is_padded_with_zeros():
    assert packing.padded(whole(3, 1), 5).tolist() == [*whole(3, 1), 0, 0]
    assert packing.padded(None, 4).tolist() == [0] * 4
    assert packing.padded(None, 4).dtype == F


@case("packing")
def a_panel_is_as_narrow_as_the_outputs_allow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "vectors", lambda: SimpleNamespace(LANES=8, PANEL=16))
        found = [packing.lanes_of(m) for m in (1, 4, 5, 8, 9, 16, 17, 100)]
        assert found == [4, 4, 8, 8, 16, 16, 16, 16]
        assert [packing.lanes_of(m, 8) for m in (1, 4, 5, 8, 9)] == [8, 8, 8, 8, 16]
        assert packing.lanes_of(3, 16) == 16
        assert type(packing.lanes_of(3)) is int


@case("packing")
def kernels_are_kept_as_long_as_their_values_stay():
    made = []

    def make():
        made.append(len(made))
        return np.zeros(1000, F), made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_kept", {})
        patch.setattr(packing, "MOST", 20000)
        w, b = np.arange(12, dtype=F).reshape(3, 4), np.arange(3, dtype=F)
        assert packing.kept("one", w, b, make)[1] == 0
        assert packing.kept("one", w, b, make)[1] == 0
        assert packing.kept("two", w, b, make)[1] == 1
        assert packing.kept("one", w, None, make)[1] == 2
        assert packing.kept("one", w, b, make)[1] == 3
        b[1] = 5
        assert packing.kept("one", w, b, make)[1] == 4
        w[0, 0] = np.nan
        assert packing.kept("one", w, b, make)[1] == 5
        assert packing.kept("one", w, b, make)[1] == 5  # nan is itself
        assert packing.kept("one", w.reshape(4, 3), b, make)[1] == 6
        assert packing.kept("one", w, b[:2], make)[1] == 7
        w[0, 1] = -0.0
        assert packing.kept("one", w, b[:2], make)[1] == 8
        # of 4000 bytes and 48 each, four at most: those that have been asked for longest ago are given up
        for k in range(10):
            packing.kept(f"many {k}", w, None, make)
        assert [place[0].split(",")[0] for place in packing._kept] == [f"many {k}" for k in (6, 7, 8, 9)]
        before = len(made)
        packing.kept("many 6", w, None, make)
        packing.kept("many 10", w, None, make)
        assert len(made) == before + 1
        assert [place[0].split(",")[0] for place in packing._kept] == ["many 8", "many 9", "many 6", "many 10"]
        patch.setattr(packing, "MOST", 10)
        packing.kept("large", w, None, make)
        assert len(packing._kept) == 1
