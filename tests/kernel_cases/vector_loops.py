"""Depthwise convolution and maxima in vector code, at every width about a vector, against the definition."""

import numpy as np

from tinygrad_cnn.kernels import depthwise_vectors, pool_vectors
from tinygrad_cnn.kernels.instructions import LANES

from . import case
from .arrays import called, same, whole

F = np.float32
WIDTHS = (1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3)

# n, oh, ow, width, kernel, stride, dilation, rows and columns of the image that no window reads
PROBLEMS = [
    (2, 2, 5, 3, (3, 2), (2, 1), (1, 2), (0, 0)),
    (1, 3, 9, 2, (2, 3), (1, 2), (2, 1), (1, 0)),
    (2, 1, 4, 0, (1, 2), (0, 1), (1, 3), (0, 2)),
    (1, 2, 3, 1, (2, 1), (3, 2), (1, 0), (2, 1)),
    (3, 2, 2, 4, (2, 2), (1, 3), (1, 1), (0, 1)),
    (1, 2, 1, 2, (2, 2), (1, 0), (2, 1), (0, 0)),
    (1, 1, 8, 1, (1, 1), (0, 1), (0, 0), (1, 1)),
    (1, 5, 3, 0, (1, 1), (1, 1), (0, 0), (0, 0)),
]


def images(n, oh, ow, width, kernel, stride, dilation, spare, seed):
    height, along = (
        (out - 1) * s + (k - 1) * d + 1 + more
        for out, s, k, d, more in zip((oh, ow), stride, kernel, dilation, spare, strict=True)
    )
    return whole((n, height, along, WIDTHS[width]), seed, F)


def cells(x, oh, ow, kernel, stride, dilation):
    """For every tap the pixels that it meets, one for each output."""
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            rows, columns = (
                [i * s + t * d for i in range(out)]
                for out, s, t, d in zip((oh, ow), stride, (p, q), dilation, strict=True)
            )
            yield p, q, x[:, rows][:, :, columns].astype(float)


@case("instructions", *PROBLEMS[:2])
@case("depthwise_vectors", *PROBLEMS)
def outputs_are_sums_over_the_taps(n, oh, ow, width, kernel, stride, dilation, spare):
    x, c = images(n, oh, ow, width, kernel, stride, dilation, spare, 1), WIDTHS[width]
    taps, bias = whole((*kernel, c), 2, F), whole(c, 3, F)
    y = np.full((n, oh, ow, c), np.nan, F)
    room = np.full(kernel[0] * kernel[1] + n - 1, 77)
    called(depthwise_vectors.forward, x, taps, bias, *stride, *dilation, room, y)
    same(y, bias + sum(cell * taps[p, q] for p, q, cell in cells(x, oh, ow, kernel, stride, dilation)), F)


@case("depthwise_vectors", *PROBLEMS)
def each_row_of_outputs_adds_to_its_own_sums(n, oh, ow, width, kernel, stride, dilation, spare):
    x, c = images(n, oh, ow, width, kernel, stride, dilation, spare, 1), WIDTHS[width]
    g, before = whole((n, oh, ow, c), 2, F), whole((oh, *kernel, c), 3, F)
    rows, wanted = before.copy(), before.astype(float)
    called(depthwise_vectors.weight_grad, x, g, *stride, *dilation, rows)
    for p, q, cell in cells(x, oh, ow, kernel, stride, dilation):
        wanted[:, p, q] += (cell * g).sum((0, 2))
    same(rows, wanted, F)


@case("depthwise_vectors")
def a_tap_has_two_sums_in_turn_so_that_less_is_rounded_away():
    big = 2.0**24
    for terms in [(big, 1, 0, 1), (1, big, 1, 0), (1, big, 1), (big, 0, 0, 1, 0, 1, 0)]:
        x, rows = np.array(terms, F).reshape(1, 1, -1, 1), np.zeros((1, 1, 1, 1), F)
        called(depthwise_vectors.weight_grad, x, np.ones_like(x), 0, 1, 0, 0, rows)
        assert rows[0, 0, 0, 0] == big + 2, terms


# n, images, (h, w), width, (oh, ow), stride, cells of a window
WINDOWS = [
    (2, (0, 2), (4, 5), 3, (2, 3), (2, 2), [(0, 0), (0, 1), (1, 0), (1, 1)]),
    (3, (1, 2), (5, 4), 1, (3, 2), (1, 2), [(-1, 0), (0, -1), (0, 1), (1, 0)]),
    (1, (0, 1), (3, 7), 2, (2, 3), (1, 3), [(1, -1), (-1, 1), (0, 0)]),
    (2, (1, 2), (6, 3), 4, (2, 3), (3, 1), [(2, 0), (1, 0), (0, 0)]),
    (1, (0, 1), (2, 2), 0, (2, 2), (1, 1), [(0, 0)]),
    (1, (0, 1), (5, 3), 1, (4, 1), (1, 1), [(-2, 0), (0, 1), (2, 0), (3, 2), (0, 3)]),
    (1, (0, 1), (3, 6), 1, (1, 4), (1, 1), [(0, -2), (1, 0), (0, 2), (2, 3), (3, 0)]),
]


# (h, w), (oh, ow), stride, cells: windows that leave the image above or below, but not beside it
ABOVE_AND_BELOW = [
    ((5, 9), (3, 1), (2, 1), [(1, 4), (0, 4)]),
    ((2, 9), (3, 1), (1, 1), [(-1, 4), (0, 4)]),
    ((4, 9), (3, 1), (1, 3), [(-2, 4), (1, 4), (0, 4)]),
    ((4, 9), (3, 1), (1, 1), [(1, 0), (3, 0), (0, 0)]),
    ((4, 9), (4, 2), (1, 2), [(0, 3), (2, 2), (0, 5)]),
    ((7, 9), (3, 2), (3, 1), [(2, 7), (-1, 7), (0, 7)]),
    ((3, 9), (3, 8), (1, 1), [(0, 0), (0, 1), (1, 0), (1, 1)]),
]


def turned(*pairs):
    return [[(q, p) for p, q in pair] if isinstance(pair, list) else pair[::-1] for pair in pairs]


def special(shape, seed, values):
    """Whole numbers, many of them equal, and some nan and -inf."""
    x = np.random.default_rng(seed).choice(np.array(values, F), shape)
    x.flags.writeable = False
    return x


@case("instructions", (*WINDOWS[0], [-2, -1, 0, 1]), (*WINDOWS[1], [-2, -1, 0, 1]))
@case("pool_vectors", *((*row, values) for values in ([-2, -1, 0, 1], [-np.inf, 1, np.nan]) for row in WINDOWS))
@case("pool_vectors", *((1, (0, 1), row[0], 1, *row[1:], [-2, -1, 0, 1]) for row in ABOVE_AND_BELOW))
@case("pool_vectors", *((1, (0, 1), row[0], 1, *row[1:], [-2, 0]) for row in (turned(*row) for row in ABOVE_AND_BELOW)))
def the_first_of_the_largest_cells_wins_and_nan_above_all(n, some, size, width, out, stride, window, values):
    x = special((n, *size, WIDTHS[width]), 1, values)
    y, winners = np.full((n, *out, WIDTHS[width]), 77, F), np.full((n, *out, WIDTHS[width]), 77, np.int32)
    wanted, places = y.copy(), winners.copy()
    rows, columns = (np.array(numbers) for numbers in zip(*window, strict=True))
    called(pool_vectors.maxima, x, some, rows, columns, *stride, y, winners, np.full((2, len(rows)), 77, np.int32))
    for image, i, j, e in np.ndindex(wanted.shape):
        if image in range(*some):
            pixels = [(i * stride[0] + p, j * stride[1] + q) for p, q in window]
            seen = [(r, k) for r, k in pixels if 0 <= r < size[0] and 0 <= k < size[1]]
            found = [x[image, r, k, e] for r, k in seen]
            best = int(np.argmax(found))  # the first, and nan above all
            wanted[image, i, j, e], places[image, i, j, e] = found[best], seen[best][0] * size[1] + seen[best][1]
    same(y, wanted)
    same(winners, places)
