"""Where windows touch an image, by trying every one."""

import itertools

import numpy as np
import pytest

from tinygrad_cnn.kernels import windows as where

from . import case
from .arrays import laid_out, same, whole


@case("windows")
def a_span_is_the_windows_whose_cell_is_inside():
    for offset, stride, size, out in itertools.product(range(-6, 7), (1, 2, 3), (1, 2, 5), (1, 3, 4)):
        found, pixels = where.span(offset, stride, size, out)
        inside = [i for i in range(out) if 0 <= i * stride + offset < size]
        assert list(range(out))[found] == inside
        assert list(range(size))[pixels] == [i * stride + offset for i in inside]
        assert 0 <= found.start <= found.stop
        assert (found.step, pixels.step) == (None, stride)
        assert pixels.start <= pixels.stop
        assert found.stop - found.start == len(range(pixels.start, pixels.stop, stride))


@case("windows")
def cells_are_those_of_the_window_in_the_image():
    for window, kernel, stride, before, dilation, size in itertools.product(
        (0, 1, 3), (1, 2, 4), (1, 3), (0, 1, 5), (1, 2), (1, 4)
    ):
        found = where.cells(window, kernel, stride, before, dilation, size)
        assert list(found) == [p for p in range(kernel) if 0 <= window * stride + p * dilation - before < size]
        assert found.start >= 0


@case("windows")
def spans_are_those_of_the_cells_that_some_window_has_inside():
    for kernel, stride, before, dilation, size, out in itertools.product(
        (1, 2, 4, 9), (1, 3), (0, 2, 6), (1, 2), (1, 4, 6), (1, 2, 5)
    ):
        every = {p: where.span(p * dilation - before, stride, size, out) for p in range(kernel)}
        seen = {p: both for p, both in every.items() if range(out)[both[0]]}
        assert where.spans(kernel, stride, before, dilation, size, out) == list(seen.items())


@case("windows")
def of_a_huge_kernel_only_the_cells_inside_are_visited():
    assert [p for p, _ in where.spans(2**60, 1, 2**59, 1, 4, 5)] == list(range(2**59 - 4, 2**59 + 4))
    assert [p for p, _ in where.spans(2**90, 2**80, 0, 2**70, 4, 1)] == [0]


VIEWS = [
    ((2, 7, 8, 3), (3, 2), (2, 1), (1, 3), (3, 5)),
    ((1, 6, 5, 2), (2, 3), (3, 2), (2, 1), (2, 2)),
    ((2, 2, 9, 1), (1, 2), (2**64, 2), (2**64, 3), (1, 3)),
    ((2, 9, 2, 1), (2, 1), (2, 2**64), (3, 2**64), (3, 1)),
]


@case("windows", *VIEWS)
def a_view_of_windows_holds_their_pixels(shape, kernel, stride, dilation, out):
    x = whole(shape, 1)
    view = where.windows(x, kernel, stride, dilation, out)
    assert view.shape == (shape[0], *out, *kernel, shape[3])
    assert not view.flags.writeable
    assert not where.windows(x.copy(), kernel, stride, dilation, out).flags.writeable
    for i, j, p, q in np.ndindex(*out, *kernel):
        same(view[:, i, j, p, q], x[:, i * stride[0] + p * dilation[0], j * stride[1] + q * dilation[1]])


@case("windows")
def a_window_that_would_leave_the_image_is_refused():
    x = np.zeros((1, 5, 6, 2))
    where.windows(x, (3, 2), (2, 1), (1, 3), (2, 3))
    where.windows(x, (3, 2), (2, 2), (1, 3), (2, 2))
    for kernel, stride, dilation, out in [
        ((3, 2), (2, 1), (1, 3), (3, 3)),
        ((4, 2), (2, 1), (1, 3), (2, 3)),
        ((3, 3), (2, 1), (1, 3), (2, 1)),
        ((3, 2), (2, 1), (1, 3), (2, 4)),
        ((3, 2), (3, 1), (1, 3), (2, 3)),
        ((3, 2), (2, 1), (1, 4), (2, 3)),
    ]:
        with pytest.raises(ValueError, match="leave"):
            where.windows(x, kernel, stride, dilation, out)


ROWS = [
    # images, rows, kernel, stride, corner, dilation, ow
    ((0, 2), (0, 3), (3, 2), (2, 1), (1, 2), (1, 2), 4),
    ((1, 3), (1, 3), (2, 3), (1, 2), (0, 1), (2, 1), 2),
    ((0, 1), (2, 4), (2, 2), (2, 2), (0, 0), (1, 1), 3),
    ((2, 3), (0, 2), (2, 2), (1, 1), (5, 7), (1, 1), 3),
    ((0, 2), (3, 5), (2, 2), (4, 1), (0, 0), (1, 1), 2),
    ((0, 3), (0, 5), (2, 4), (1, 1), (0, 0), (1, 1), 4),
    ((0, 3), (1, 3), (2, 2), (1, 2), (0, 0), (1, 3), 2),
    ((1, 3), (1, 4), (3, 2), (2, 2), (1, 2), (1, 2), 5),
    ((0, 2), (0, 2), (2, 2), (1, 1), (4, 0), (1, 1), 3),
    ((0, 1), (0, 1), (2, 1), (2**64, 2**64), (0, 0), (1, 2**64), 1),
]


@case("windows", *[(*row, layout) for row in ROWS for layout in ("channels last", "planes", "narrow")])
def padded_rows_are_the_pixels_that_windows_read(images, rows, kernel, stride, corner, dilation, ow, layout):
    dtype = np.dtype(np.float64)
    x = whole((3, 2, 6, 7), 1, np.float32 if layout == "narrow" else np.float64)
    last = laid_out(x, "channels last" if layout == "narrow" else layout).transpose(0, 2, 3, 1)
    found = where.padded_rows(last, images, rows, kernel, stride, corner, dilation, ow, dtype)
    (r0, r1), (top, left) = rows, corner
    height = (r1 - r0 - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1
    width = (ow - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1
    wanted = np.zeros((images[1] - images[0], height, width, 2))
    for row, column in np.ndindex(height, width):
        i, j = row + r0 * stride[0] - top, column - left
        if 0 <= i < 6 and 0 <= j < 7:
            wanted[:, row, column] = last[slice(*images), i, j]
    same(found, wanted)
    inside = r0 * stride[0] >= top and r0 * stride[0] - top + height <= 6 and left == 0 and width <= 7
    assert np.shares_memory(found, last) is (inside and layout == "channels last")  # no copy where none is needed
    assert found.flags.c_contiguous or np.shares_memory(found, last)


@case("windows")
def channels_last_is_a_matter_of_memory():
    x = whole((2, 3, 4, 5), 1)
    assert where.channels_last(laid_out(x, "channels last")) is True
    for layout in ("planes", "Fortran", "reversed", "every second"):
        assert where.channels_last(laid_out(x, layout)) is False
