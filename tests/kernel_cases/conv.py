"""Convolution and its two gradients: conv_loops, conv_im2col and conv_depthwise, against the definition."""

from functools import cache
from typing import NamedTuple

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import conv_depthwise, conv_im2col, conv_loops
from tinygrad_cnn.kernels.windows import channels_last

from . import case
from .arrays import NONE, laid_out, same, whole

HUGE = 2**64


class Problem(NamedTuple):
    n: int
    c: int
    size: tuple[int, int]
    o: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = NONE
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    out: tuple[int, int] | None = None

    @property
    def params(self):
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def windows(self):
        sizes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return self.out or tuple(oracles._out(*one) for one in sizes)


PROBLEMS = {
    "strided": Problem(2, 3, (6, 5), 2, (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2)),
    "strided, many channels": Problem(2, 6, (7, 8), 5, (2, 3), (3, 2), ((1, 0), (2, 1)), (2, 1)),
    "one channel": Problem(2, 1, (5, 6), 3, (2, 3), (1, 2), ((0, 1), (2, 3)), (2, 1)),
    "groups": Problem(2, 4, (5, 6), 6, (2, 3), (1, 3), ((0, 2), (3, 0)), (2, 1), 2),
    "wide groups": Problem(3, 10, (4, 3), 4, (2, 2), (2, 1), ((1, 1), (0, 2)), (1, 2), 2),
    "few outputs": Problem(3, 6, (4, 5), 4, (2, 3), (1, 1), ((1, 0), (0, 2)), (1, 1)),
    "few outputs, groups": Problem(2, 6, (4, 5), 4, (3, 2), (1, 1), ((1, 2), (1, 0)), (1, 1), 2),
    "dilated": Problem(1, 5, (6, 7), 7, (2, 2), (1, 1), ((2, 0), (1, 3)), (3, 2)),
    "far padding": Problem(1, 2, (3, 4), 2, (2, 2), (1, 1), ((4, 0), (0, 3)), (1, 1)),
    "far padding across": Problem(1, 6, (4, 3), 5, (2, 2), (1, 2), ((0, 3), (5, 4)), (1, 1)),
    "first windows only": Problem(2, 5, (7, 8), 3, (2, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), 1, (2, 3)),
    "depthwise": Problem(3, 3, (6, 5), 3, (2, 3), (2, 1), ((0, 1), (2, 0)), (1, 2), 3),
    "depthwise, two kernels": Problem(3, 3, (5, 7), 6, (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 1), 3),
    "1x1": Problem(2, 3, (3, 4), 5, (1, 1)),
    "1x1, square": Problem(2, 4, (3, 3), 2, (1, 1)),
    "1x1, strided": Problem(2, 3, (4, 5), 2, (1, 1), (1, 2)),
    "1x1, padded": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), ((1, 0), (0, 2))),
    "1x1, cut": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), NONE, (1, 1), 1, (3, 4)),
    "1x1, cut across": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), NONE, (1, 1), 1, (4, 3)),
    "1x1, groups": Problem(2, 4, (3, 4), 6, (1, 1), (1, 1), NONE, (1, 1), 2),
    "1x2": Problem(2, 3, (3, 4), 2, (1, 2), (1, 1), ((0, 0), (1, 0))),
    "2x1": Problem(2, 3, (3, 4), 2, (2, 1), (1, 1), ((1, 0), (0, 0))),
    "whole image": Problem(2, 3, (3, 4), 2, (3, 4), (HUGE, HUGE)),
    "one row": Problem(2, 3, (1, 6), 2, (1, 2), (HUGE, 2), NONE, (HUGE, 3)),
    "one column": Problem(2, 3, (6, 1), 2, (2, 1), (2, HUGE), NONE, (3, HUGE)),
    "depthwise, one row": Problem(2, 3, (1, 6), 3, (1, 2), (HUGE, 2), NONE, (HUGE, 3), 3),
    "depthwise, one column": Problem(2, 3, (6, 1), 3, (2, 1), (2, HUGE), NONE, (3, HUGE), 3),
    "no image": Problem(0, 3, (3, 4), 2, (2, 2)),
}


@cache
def solved(name, dtype, bias):
    """x, w, b, g and what comes of them."""
    at = PROBLEMS[name]
    high = 60 if dtype == np.float16 else 5
    x, w = whole((at.n, at.c, *at.size), 1, dtype, 1 - high, high), whole((at.o, at.c // at.groups, *at.kernel), 2, dtype)
    b = whole(at.o, 3, dtype) if bias else None
    g = whole((at.n, at.o, *at.windows), 4, dtype, 1 - high, high)
    full = oracles.conv2d(x, w, b, *at.params)
    y = np.zeros((at.n, at.o, *at.windows), full.dtype)
    y[...] = full[:, :, : at.windows[0], : at.windows[1]]
    dx = oracles.conv2d_input_grad(g, w, at.size, *at.params)
    return x, w, b, g, y, dx, oracles.conv2d_weight_grad(x, g, at.kernel, *at.params)


def agrees(kernels, name, dtype, layout="planes", bias=True):
    at = PROBLEMS[name]
    x, w, b, g, y, dx, dw = solved(name, dtype, bias)
    x, w, g = laid_out(x, layout), laid_out(w, layout), laid_out(g, layout)
    for found, wanted in (
        (kernels.conv2d(x, w, b, *at.params, at.windows), y),
        (kernels.conv2d_input_grad(g, w, at.size, *at.params), dx),
        (kernels.conv2d_weight_grad(x, g, at.kernel, *at.params), dw),
    ):
        same(found, wanted, dtype)
        assert found.flags.writeable
    return x


@case(
    "conv_loops",
    *[(name, np.float64, "planes") for name in PROBLEMS],
    ("strided", np.float64, "every second"),
    ("strided", np.int8, "planes"),
    ("groups", np.float16, "planes"),
    ("few outputs", np.float32, "channels last"),
)
def loops_equal_the_definition(name, dtype, layout):
    agrees(conv_loops, name, dtype, layout)


@case("conv_loops")
def loops_take_objects_and_mixed_dtypes():
    x, w, _, g, y, dx, dw = solved("strided", np.int64, False)
    at = PROBLEMS["strided"]
    big = [a.astype(object) * 2**70 for a in (x, w, g)]
    same(conv_loops.conv2d(big[0], w, None, *at.params, at.windows), y.astype(object) * 2**70)
    same(conv_loops.conv2d_input_grad(g, big[1], at.size, *at.params), dx.astype(object) * 2**70)
    same(conv_loops.conv2d_weight_grad(x, big[2], at.kernel, *at.params), dw.astype(object) * 2**70)
    halves = whole(w.shape, 5, np.float32) / 2
    wanted = oracles.conv2d(x.astype(float), halves.astype(float), None, *at.params)
    same(conv_loops.conv2d(x, halves, None, *at.params, at.windows), wanted)
    assert conv_loops.dtypes(x.astype(np.int8), w)[0] == np.int64


@case("conv_loops")
@case("conv_im2col")
def the_operands_alone_say_the_dtype():
    at = PROBLEMS["strided"]
    x, w, b, g, y, dx, dw = solved("strided", np.float64, True)
    for kernels in (conv_loops, conv_im2col):
        single = kernels.conv2d(x.astype(np.float32), w.astype(np.float32), b, *at.params, at.windows)
        same(single, y, np.float32)
        for first, second in ((np.float32, np.float64), (np.float64, np.float32)):
            same(kernels.conv2d(x.astype(first), w.astype(second), None, *at.params, at.windows), y - b[:, None, None])
            same(kernels.conv2d_input_grad(g.astype(first), w.astype(second), at.size, *at.params), dx)
            same(kernels.conv2d_weight_grad(x.astype(first), g.astype(second), at.kernel, *at.params), dw)


BLOCKS = (1, 150, 700, 2**19)


@case("conv_im2col", *[(name, np.float64, "planes", block) for name in PROBLEMS for block in BLOCKS])
@case("conv_im2col", *[(name, np.float32, "channels last", block) for name in PROBLEMS for block in (1, 300)])
@case("conv_im2col", *[(name, np.float32, "every second", 200) for name in PROBLEMS])
@case("conv_im2col", *[(name, np.float16, "planes", 100) for name in PROBLEMS if "depth" not in name])
@case("conv_im2col", *[(name, np.int64, "channels last", 400) for name in PROBLEMS])
@case("conv_im2col", ("strided, many channels", np.float64, "Fortran", 300), ("1x1", np.float64, "reversed", 90))
def columns_equal_the_definition(name, dtype, layout, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_im2col, "BLOCK", block)
        agrees(conv_im2col, name, dtype, layout)


@case("conv_im2col", ("planes", False), ("channels last", True))
def a_1x1_convolution_keeps_the_memory_order_of_its_image(layout, last):
    x, w, *_ = solved("1x1", np.float64, True)
    y = conv_im2col.conv2d(laid_out(x, layout), w, None, (1, 1), NONE, (1, 1), 1)
    assert channels_last(y) is last
    assert y.flags.c_contiguous is not last


@case("conv_im2col", *[(name,) for name in PROBLEMS if PROBLEMS[name].out is None])
def without_out_every_window_is_computed(name):
    x, w, b, _, y, *_ = solved(name, np.float64, True)
    same(conv_im2col.conv2d(x, w, b, *PROBLEMS[name].params), y)


@case("conv_im2col", *[(name, block) for name in ("strided", "groups", "one channel") for block in (1, 700, 3000)])
def a_block_of_columns_fits_and_all_blocks_are_all_windows(name, block):
    at, (x, *_) = PROBLEMS[name], solved(name, np.float64, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_im2col, "BLOCK", block)
        columns = conv_im2col.Columns(
            x, at.kernel, at.stride, at.padding, at.dilation, at.groups, at.windows, np.dtype(np.float64)
        )
    oh, ow = at.windows
    places = [(image, row) for (n0, n1), (r0, r1) in columns.blocks for image in range(n0, n1) for row in range(r0, r1)]
    assert places == [(image, row) for image in range(at.n) for row in range(oh)]
    per_row = ow * at.kernel[0] * at.kernel[1] * at.c * 8
    for (n0, n1), (r0, r1) in columns.blocks:
        rows = (n1 - n0) * (r1 - r0)
        assert rows == 1 or rows * per_row <= block  # and never more than that
        assert n1 - n0 == 1 or r1 - r0 == oh
    most = max((n1 - n0) * (r1 - r0) for (n0, n1), (r0, r1) in columns.blocks)
    assert most == oh * min(at.n, block // (oh * per_row)) or most == max(1, min(oh, block // per_row))


@case("conv_im2col")
def nan_outside_a_window_stays_outside():
    x, w = whole((2, 4, 8, 7), 1).copy(), whole((8, 4, 3, 2), 2, low=1)
    x[1, 2, 4, 3] = np.nan
    y = conv_im2col.conv2d(x, w, None, (1, 1), NONE, (1, 1), 1)
    sees = np.zeros(y.shape, bool)
    sees[1, :, 2:5, 2:4] = True
    assert np.array_equal(np.isnan(y), sees)
    g = whole(y.shape, 3).copy()
    g[1, 5, 2, 2] = np.nan
    reached = np.zeros(x.shape, bool)
    reached[1, :, 2:5, 2:4] = True
    assert np.array_equal(np.isnan(conv_im2col.conv2d_input_grad(g, w, (8, 7), (1, 1), NONE, (1, 1), 1)), reached)


@case("conv_depthwise", *[(name, dtype, layout, block)
    for name in PROBLEMS if "depth" in name
    for dtype, layout in ((np.float64, "planes"), (np.float32, "channels last"), (np.int64, "every second"))
    for block in (1, 500, 1500, 2**19)])
def depthwise_equals_the_definition(name, dtype, layout, block):
    at = PROBLEMS[name]
    x, w, b, g, y, _, dw = solved(name, dtype, True)
    x, w, g = laid_out(x, layout), laid_out(w, layout), laid_out(g, layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_depthwise, "BLOCK", block)
        for bias in (b, None):
            found = np.full((at.n, *at.windows, at.o), 99, dtype)
            conv_depthwise.conv2d(x, w, bias, at.stride, at.padding, at.dilation, found)
            same(found.transpose(0, 3, 1, 2), y if bias is not None else y - b[:, None, None], dtype)
        last = g.transpose(0, 2, 3, 1)
        same(conv_depthwise.weight_grad(x, last, at.kernel, at.stride, at.padding, at.dilation, np.dtype(dtype)), dw, dtype)


@case("conv_depthwise", *[(block,) for block in (1, 400, 1000, 2**19)])
def a_block_of_depthwise_images_fits(block):
    y = np.zeros((5, 3, 4, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_depthwise, "BLOCK", block)
        found = conv_depthwise._images_at_once((7, 8), (2, 3), (2, 1), (1, 2), (2, 1), y)
        small = conv_depthwise._images_at_once((2, 3), (2, 3), (3, 2), (0, 1), (2, 1), y)
    # rows of pixels: 1 + 7, and 3 windows, 2 apart, of 3; of the small image 0 + 2, and 3 windows, 3 apart, of 3
    assert found == max(1, min(5, block // (8 * 10 * 6 * 8)))
    assert small == max(1, min(5, block // (9 * 9 * 6 * 8)))
    assert type(found) is int


@case("conv_depthwise")
def depthwise_sums_of_weights_are_taken_in_float64():
    x, g = np.full((3, 2, 40, 50), 0.1, np.float32), np.ones((3, 40, 50, 2), np.float32)
    dw = conv_depthwise.weight_grad(x, g, (1, 1), (1, 1), NONE, (1, 1), np.dtype(np.float32))
    assert abs(dw / (6000 * np.float64(np.float32(0.1))) - 1).max() < 2e-7
