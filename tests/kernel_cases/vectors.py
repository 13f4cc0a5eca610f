"""Convolution in vector code, where it is and in tiles, at every width and number of rows, against the definition."""

import numpy as np
from mutation import interpreter

from tinygrad_cnn.kernels import instructions, tiles, vectors
from tinygrad_cnn.kernels.vectors import LANES, PANEL

from . import case
from .arrays import called, same, whole
from .winograd import A, B

F = np.float32
HALF = LANES // 2

# n, (h, w), c, kernel, stride, dilation, corner, windows, blocks
WINDOWS = {
    "one window": (1, (2, 3), 2, (2, 1), (1, 1), (1, 1), (0, 1), (1, 1), [(0, 1, 0, 1)]),
    "two, and three rows": (2, (4, 3), 1, (2, 2), (1, 2), (1, 1), (0, -1), (3, 2), [(0, 2, 0, 2), (1, 2, 2, 3)]),
    "three, far apart": (2, (6, 5), 2, (2, 3), (2, 1), (3, 2), (-2, -1), (2, 3), [(1, 2, 0, 2)]),
    "five, in rows": (1, (5, 6), 3, (1, 2), (2, 1), (1, 1), (1, 0), (2, 5), [(0, 1, 0, 1), (0, 1, 1, 2)]),
    "six, all outside": (1, (2, 2), 1, (2, 2), (1, 2), (1, 1), (1, 3), (2, 6), [(0, 1, 0, 2)]),
    "seven, left of all": (1, (3, 4), 2, (2, 2), (1, 1), (1, 3), (0, -9), (2, 7), [(0, 1, 0, 2)]),
    "two, left of all": (1, (3, 4), 2, (2, 2), (1, 1), (1, 1), (0, -9), (2, 2), [(0, 1, 0, 2)]),
    "of one tap": (2, (2, 3), 1, (1, 1), (1, 1), (1, 1), (0, 0), (2, 3), [(0, 2, 0, 2)]),
    "eight": (1, (2, 9), 1, (1, 2), (1, 1), (1, 1), (0, 0), (2, 8), [(0, 1, 0, 2)]),
    "eleven": (1, (3, 7), 2, (2, 2), (1, 1), (1, 1), (-1, -2), (2, 11), [(0, 1, 1, 2)]),
    "eighteen": (1, (1, 9), 1, (1, 2), (0, 1), (0, 1), (0, -4), (1, 18), [(0, 1, 0, 1)]),
}
# outputs, lanes
WIDTHS = [
    (1, HALF), (HALF, HALF), (HALF - 1, HALF), (LANES - 1, LANES), (LANES, LANES), (LANES + 1, PANEL),
    (PANEL - 1, PANEL), (PANEL, PANEL), (PANEL + 1, PANEL), (LANES + 3, LANES), (HALF + 1, HALF), (HALF + 1, LANES),
]  # fmt: skip
PROBLEMS = [(name, *width) for name, width in zip([*WINDOWS, *WINDOWS], WIDTHS, strict=False)]
PROBLEMS += [
    ("of one tap", HALF + 2, HALF),
    ("seven, left of all", LANES + 2, PANEL),
    ("eleven", 3, HALF),
    ("two, and three rows", PANEL - 1, PANEL),
]
PROBLEMS += [("five, in rows", LANES - 2, LANES), ("six, all outside", PANEL, PANEL), ("eighteen", LANES + 1, PANEL)]
NUMBER = {name: k for k, name in enumerate(WINDOWS)}


class Problem:
    """A correlation: what the loops are told, and every pixel that each tap meets."""

    def __init__(self, name, outputs, lanes):
        self.n, (h, w), self.c, self.kernel, stride, dilation, corner, self.out, self.blocks = WINDOWS[name]
        self.lanes, self.panels, self.o = lanes, -(-outputs // lanes), outputs
        (kh, kw), (dh, dw), c = self.kernel, dilation, self.c
        size = (kh - 1) * dh + 1, (kw - 1) * dw + 1
        self.width = (self.out[1] - 1) * stride[1] + size[1]
        together = dw == 1
        starts = [(p * dh, q * dw) for p in range(kh) for q in ([0] if together else range(kw))]
        self.length, self.terms = kw * c if together else c, kh * kw * c
        self.window = (stride, corner, size)
        self.offsets = np.array([(p * self.width + q) * c * 4 for p, q in starts], np.int64)
        self.array = np.array(self.blocks, np.int64)
        rows = max(r1 - r0 for _, _, r0, r1 in self.blocks)
        self.rows, area = rows, (rows - 1) * stride[0] + size[0]
        self.room = np.full(area * self.width * c + 2, np.nan, F)
        self.x = whole((self.n, h, w, c), 10 + NUMBER[name], F)
        wide = np.zeros((self.n, h + 80, w + 80, c))
        wide[:, 40 : 40 + h, 40 : 40 + w] = self.x
        self.seen = np.zeros((self.n, *self.out, kh, kw, c))
        for i, j, p, q in np.ndindex(*self.out, kh, kw):
            row, column = i * stride[0] + corner[0] + p * dh, j * stride[1] + corner[1] + q * dw
            self.seen[:, i, j, p, q] = wide[:, 40 + row, 40 + column]

    def covered(self):
        """The images and rows of windows of the blocks."""
        return [(image, i) for n0, n1, r0, r1 in self.blocks for image in range(n0, n1) for i in range(r0, r1)]


@case("instructions", *PROBLEMS[:4])
@case("vectors", *PROBLEMS)
def windows_times_kernels_go_to_their_places(name, outputs, lanes):
    it = Problem(name, outputs, lanes)
    w, bias = whole((it.panels, it.terms, it.lanes), 1, F), whole(it.panels * it.lanes, 2, F)
    place, step = ((1, 0), (1, 2)) if outputs % 2 else ((0, 2), (2, 1))
    size = (place[k] + (it.out[k] - 1) * step[k] + 1 + k for k in range(2))
    y = np.full((it.n, *size, it.o), 77, F)
    wanted = y.copy()
    called(
        vectors.correlate, it.x, it.array, it.window, it.offsets, it.length, w, bias, y, place, step, it.out[1], it.room
    )  # fmt: skip
    kernels = w.transpose(1, 0, 2).reshape(*it.kernel, it.c, -1)[..., : it.o]
    for image, i in it.covered():
        for j in range(it.out[1]):
            sums = np.einsum("pqc,pqco->o", it.seen[image, i, j], kernels) + bias[: it.o]
            wanted[image, place[0] + step[0] * i, place[1] + step[1] * j] = sums
    same(y, wanted)


@case("vectors", *PROBLEMS)
def every_tap_adds_what_its_pixels_bring(name, outputs, lanes):
    it = Problem(name, outputs, lanes)
    g, before = whole((it.n, *it.out, it.o), 1, F), whole((it.panels, it.terms, it.lanes), 2, F)
    dw, lines = before.copy(), np.full(it.rows + 1, 77, np.int64)
    panel = np.full(it.rows * it.out[1] * it.lanes + 1, np.nan, F)
    called(
        vectors.correlate_weights, it.x, g, it.array, it.window, it.offsets, it.length, dw, it.room, lines, panel
    )  # fmt: skip
    sums = sum(np.einsum("jpqc,jo->pqco", it.seen[n, i], g[n, i].astype(float)) for n, i in it.covered())
    brought = np.zeros((it.terms, it.panels * it.lanes))
    brought[:, : it.o] = sums.reshape(it.terms, it.o)
    same(dw, before + brought.reshape(it.terms, it.panels, it.lanes).transpose(1, 0, 2), F)


# rows that vector code multiplies at once in the weight gradient, where what is there is added to


@case("vectors", *((c, o) for c, o in [(4, 1), (7, HALF + 1), (12, LANES), (13, LANES + 1), (15, PANEL), (22, 2)]))
def any_number_of_terms_adds_to_what_is_there(terms, outputs):
    lanes = HALF if outputs <= HALF else LANES if outputs <= LANES else PANEL
    x, g, before = whole((1, 2, 3, terms), 1, F), whole((1, 2, 3, outputs), 2, F), whole((1, terms, lanes), 3, F)
    dw, room = before.copy(), (np.full(6 * terms, np.nan, F), np.zeros(2, np.int64), np.full(6 * lanes, np.nan, F))
    window, blocks = ((1, 1), (0, 0), (1, 1)), np.array([[0, 1, 0, 2]], np.int64)
    called(vectors.correlate_weights, x, g, blocks, window, np.zeros(1, np.int64), terms, dw, *room)
    wanted = before.astype(float)
    wanted[0, :, :outputs] += np.einsum("nijc,nijo->co", x.astype(float), g.astype(float))
    same(dw, wanted, F)


@case("instructions")
def vectors_stand_at_any_address():
    x, y = (memory[1 - memory.ctypes.data // 4 % 2 :][:LANES] for memory in np.zeros((2, LANES + 2), F))
    x[...] = whole(LANES, 1, F)
    assert x.ctypes.data % 8 == y.ctypes.data % 8 == 4

    def write(b, source, to):
        instructions.store(b, instructions.load(b, source), to)

    with interpreter.holding((x, y)):
        instructions.emits("source to", write)(x.ctypes.data, y.ctypes.data)
    assert np.array_equal(y, x)


@case("instructions", (0,), (1,), (LANES - 1,), (LANES,))
def other_lanes_are_loaded_as_zeros(count):
    x, y = whole(count, 1, F), np.full(LANES, 77, F)

    def write(b, source, to, lanes):
        mask = instructions.first_lanes(b, lanes, LANES)
        instructions.store(b, instructions.load_some(b, source, mask), to)

    with interpreter.holding((x, y)):
        instructions.emits("source to lanes", write)(x.ctypes.data, y.ctypes.data, count)
    assert np.array_equal(y[:count], x)
    assert (y[count:] == 0).all()


# Tiles


@case("instructions", (1, PANEL, (1, 3), 4))
@case("vectors", *((2, LANES, (0, 3), 3), (1, PANEL, (1, 3), 4), (3, LANES, (2, 2), 2)))
def kernels_are_transformed(panels, lanes, channels, c):
    w = whole((panels, 9, c, lanes), 1, F)
    u = np.full((36, panels, c, lanes), 77, F)
    called(vectors.kernels_to_tiles, w, channels, u)
    some = slice(*channels)
    wanted = np.einsum("fk,pkcl->fpcl", tiles.KERNEL.astype(float), w.astype(float))
    assert np.allclose(u[:, :, some], wanted[:, :, some], rtol=0, atol=1e-6 * abs(w).max())
    u[:, :, some] = 77
    assert (u == 77).all()


# n, (h, w), c, channels, corner, (oh, ow), o, lanes, blocks
IMAGES = [
    (2, (5, 6), 3, LANES, (1, 1), (5, 6), 3, LANES, [(0, 1, 0, 2), (1, 2, 0, 1), (1, 2, 1, 2)]),
    (1, (9, 3), 2, LANES, (2, 0), (9, 3), LANES + 3, LANES, [(0, 1, 0, 1), (0, 1, 1, 3)]),
    (3, (2, 5), 1, LANES, (0, 2), (4, 5), PANEL, PANEL, [(0, 2, 0, 1), (2, 3, 0, 1)]),
    (1, (4, 8), LANES + 1, 2 * LANES, (1, 0), (4, 8), PANEL - 1, PANEL, [(0, 1, 0, 1)]),
    (1, (6, 4), LANES, LANES, (3, 1), (8, 4), LANES, LANES, [(0, 1, 0, 2)]),
    (1, (3, 2), 1, LANES, (5, 1), (7, 2), 1, LANES, [(0, 1, 0, 2)]),
    (1, (6, 6), 3, LANES, (0, 0), (4, 4), 3, LANES, [(0, 1, 0, 1)]),
    (1, (9, 4), 1, LANES, (3, 1), (12, 4), 1, LANES, [(0, 1, 0, 1), (0, 1, 1, 3)]),
    (1, (14, 3), 1, LANES, (1, 1), (14, 3), 2, LANES, [(0, 1, 0, 1), (0, 1, 1, 3), (0, 1, 3, 4)]),
    (1, (5, 8), 1, LANES, (1, 1), (5, 8), LANES, LANES, [(0, 1, 0, 2)]),
    (1, (8, 5), 1, LANES, (1, 1), (8, 5), LANES, LANES, [(0, 1, 0, 2)]),
    (1, (3, 16), 1, LANES, (1, 1), (3, 16), LANES, LANES, [(0, 1, 0, 1)]),
    (1, (4, 3), 1, LANES, (1, 1), (4, 3), 3 * LANES, LANES, [(0, 1, 0, 1)]),
    (1, (10, 4), 1, LANES, (1, 1), (10, 4), LANES, LANES, [(0, 1, 0, 3)]),
    (1, (4, 10), 1, LANES, (1, 1), (4, 10), LANES, LANES, [(0, 1, 0, 1)]),
    (LANES + 1, (4, 4), 1, LANES, (1, 1), (4, 4), 3, LANES, [(0, LANES + 1, 0, 1)]),
]


class Image:
    """Images in tiles, in which the pixels of each are transformed."""

    def __init__(self, n, size, c, channels, corner, out, o, lanes, blocks):
        self.n, self.out, self.o, self.lanes, self.blocks = n, out, o, lanes, np.array(blocks, np.int64)
        self.panels, self.channels, self.corner = -(-o // lanes), channels, corner
        self.down, self.along = -(-out[0] // 4), -(-out[1] // 4)
        self.x = whole((n, *size, c), 1, F, -2, 3)
        wide = np.zeros((n, size[0] + 60, size[1] + 60, channels))
        wide[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1], :c] = self.x
        self.pixels = np.zeros((n, self.down, self.along, 36, channels))
        for image, i, j in np.ndindex(n, self.down, self.along):
            d = wide[image, 4 * i : 4 * i + 6, 4 * j : 4 * j + 6]
            self.pixels[image, i, j] = np.einsum("ap,pqc,bq->abc", B, d, B).reshape(36, channels)
        most = max((n1 - n0) * (r1 - r0) * self.along for n0, n1, r0, r1 in blocks)
        rows = max(r1 - r0 for _, _, r0, r1 in blocks)
        area = max((4 * rows + 2) * (4 * self.along + 2) * channels, 16 * rows * self.along * self.panels * lanes)
        self.room = (
            np.full(area, np.nan, F),
            np.full((36, most * channels + 3), np.nan, F),
            np.full((36, most * self.panels * lanes + 5), np.nan, F),
            np.full(16 * LANES, np.nan, F),
            np.zeros(PANEL, np.int64),
        )

    def measured(self, before, x):
        """What is measured of images that all blocks cover, in the rows where blocks begin."""
        sizes = abs(x.astype(float)).reshape(self.n, -1)
        sums, squares, largest = sizes.sum(1), (sizes**2).sum(1), sizes.max(1)
        starts = np.zeros((self.n, self.down), bool)
        for n0, n1, r0, _ in self.blocks:
            starts[n0:n1, r0] = True

        def check(seen):
            assert np.array_equal(seen[~starts], before[~starts])
            assert (seen[starts][:, :2] > before[starts][:, :2]).all()
            assert np.array_equal((seen - before)[:, :, :2].sum(1), np.stack([sums, squares], 1))
            assert np.array_equal(seen[:, :, 2].max(1), np.maximum(before[:, :, 2].max(1), largest))

        return check


def sizes_before(it, seed):
    return whole((it.n, it.down, 3), seed, float, 0, 2)


@case("vectors", *IMAGES)
def the_outputs_of_tiles_with_their_bias(*row):
    it = Image(*row)
    u, bias = whole((36, it.panels, it.channels, it.lanes), 2, F, -1, 2), whole(it.panels * it.lanes, 3, F)
    y, before = np.full((it.n, *it.out, it.o), 77, F), sizes_before(it, 4)
    seen = before.copy()
    called(vectors.correlate_tiles, it.x, it.blocks, it.along, it.corner, u, bias, y, it.room, seen)
    products = np.einsum("nijfc,fpcl->nijfpl", it.pixels, u.astype(float))
    squares = products.reshape(it.n, it.down, it.along, 6, 6, -1)
    tiled = np.einsum("pa,nijabo,qb->nipjqo", A, squares, A) + bias
    wanted = tiled.reshape(it.n, 4 * it.down, 4 * it.along, -1)[:, : it.out[0], : it.out[1], : it.o]
    assert abs(wanted).max() < 2**22
    same(y, wanted, F)
    it.measured(before, it.x)(seen)


@case("vectors", *IMAGES)
def tiles_add_to_the_transformed_kernels_what_they_bring(*row):
    it = Image(*row)
    g, du_before = whole((it.n, *it.out, it.o), 2, F, -2, 3), whole((36, it.channels, it.panels * it.lanes), 3, F)
    du, before, before_g = du_before.copy(), sizes_before(it, 4), sizes_before(it, 5)
    seen, seen_g = before.copy(), before_g.copy()
    arguments = it.x, g, it.blocks, it.along, it.corner, it.lanes, du, it.room, seen, seen_g
    called(vectors.correlate_tiles_weights, *arguments)
    wide = np.zeros((it.n, it.down, 4, it.along, 4, it.panels * it.lanes))
    flat = wide.reshape(it.n, 4 * it.down, 4 * it.along, -1)
    flat[:, : it.out[0], : it.out[1], : it.o] = g
    spread = np.einsum("pa,nipjqo,qb->nijabo", A, wide, A).reshape(it.n, it.down, it.along, 36, -1)
    wanted = du_before + np.einsum("nijfc,nijfo->fco", it.pixels, spread)
    assert abs(wanted).max() < 2**22
    same(du, wanted, F)
    it.measured(before, it.x)(seen)
    it.measured(before_g, g)(seen_g)


@case("vectors")
def a_pixel_that_is_nan_is_among_the_sums_and_not_the_largest():
    it = Image(1, (5, 3), 2, LANES, (1, 1), (5, 3), 1, LANES, [(0, 1, 0, 2)])
    for place in ((0, 0, 0, 0), (0, 2, 0, 1), (0, 2, 2, 1), (0, 4, 2, 1)):
        x, y, seen = it.x.copy(), np.zeros((1, 5, 3, 1), F), np.zeros((1, 2, 3))
        x[0, 2, 1, 1] = 9
        x[place] = np.nan
        u, bias = np.zeros((36, 1, LANES, LANES), F), np.zeros(LANES, F)
        called(vectors.correlate_tiles, x, it.blocks, 1, it.corner, u, bias, y, it.room, seen)
        assert np.isnan(seen[0, 0, :2]).all()
        assert seen[0, 0, 2] == 9
