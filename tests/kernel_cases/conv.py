"""Convolution and its two gradients: conv_loops, conv_im2col and conv_depthwise, against the definition."""

from functools import cache
from typing import NamedTuple

import numpy as np
import oracles
import pytest

from tinygrad_cnn.kernels import compiled, conv_depthwise, conv_im2col, conv_loops
from tinygrad_cnn.kernels.windows import channels_last

from . import case
from .arrays import LAYOUTS, NONE, laid_out, same, whole

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
    "strided": Problem(3, 3, (6, 5), 2, (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 2)),
    "strided, many channels": Problem(2, 6, (7, 8), 5, (2, 3), (3, 2), ((1, 0), (2, 1)), (2, 1)),
    "one channel": Problem(2, 1, (5, 6), 3, (2, 3), (1, 2), ((0, 1), (2, 3)), (2, 1)),
    "groups": Problem(3, 4, (5, 6), 6, (2, 3), (1, 3), ((0, 2), (3, 0)), (2, 1), 2),
    "wide groups": Problem(3, 10, (4, 3), 4, (2, 2), (2, 1), ((1, 1), (0, 2)), (1, 2), 2),
    "few outputs": Problem(3, 6, (4, 5), 4, (2, 3), (1, 1), ((1, 0), (0, 2)), (1, 1)),
    "few outputs, groups": Problem(2, 6, (4, 5), 4, (3, 2), (1, 1), ((1, 2), (1, 0)), (1, 1), 2),
    "dilated": Problem(1, 5, (6, 7), 7, (2, 2), (1, 1), ((2, 0), (1, 3)), (3, 2)),
    "far padding": Problem(1, 2, (3, 4), 2, (2, 2), (1, 1), ((4, 0), (0, 3)), (1, 1)),
    "far padding across": Problem(1, 6, (4, 3), 5, (2, 2), (1, 2), ((0, 3), (5, 4)), (1, 1)),
    "turned, dilated": Problem(2, 3, (7, 8), 4, (3, 2), (1, 1), ((1, 2), (0, 1)), (2, 3)),
    "turned, groups": Problem(2, 10, (6, 5), 4, (2, 3), (1, 1), ((0, 1), (2, 3)), (2, 2), 2),
    "turned, first windows only": Problem(2, 4, (6, 7), 3, (2, 3), (1, 1), ((1, 0), (1, 2)), (1, 1), 1, (4, 5)),
    "turned, twice the outputs": Problem(2, 2, (4, 5), 4, (2, 3)),
    "more outputs": Problem(2, 2, (4, 5), 5, (2, 3)),
    "four channels": Problem(2, 4, (4, 5), 9, (2, 3)),
    "five channels": Problem(2, 5, (4, 5), 11, (2, 3)),
    "far above": Problem(2, 3, (5, 4), 2, (2, 3), (1, 1), ((2, 0), (0, 0)), (1, 1)),
    "far below": Problem(2, 3, (5, 4), 2, (2, 3), (1, 1), ((0, 2), (0, 0)), (1, 1)),
    "far left": Problem(2, 3, (5, 4), 2, (3, 2), (1, 1), ((0, 0), (2, 0)), (1, 1)),
    "far right": Problem(2, 3, (5, 4), 2, (3, 2), (1, 1), ((0, 0), (0, 2)), (1, 1)),
    "as many groups as outputs": Problem(2, 4, (4, 5), 2, (2, 3), (1, 2), ((1, 0), (0, 1)), (1, 1), 2),
    "fast rows": Problem(1, 6, (5, 6), 3, (2, 2), (2, 1)),
    "fast columns": Problem(1, 6, (5, 6), 3, (2, 2), (1, 2)),
    "fast columns, few channels": Problem(2, 2, (5, 7), 3, (2, 2), (1, 2), ((0, 0), (3, 0))),
    "first windows only": Problem(2, 5, (7, 8), 3, (2, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), 1, (2, 3)),
    "depthwise": Problem(3, 3, (6, 5), 3, (2, 3), (2, 1), ((0, 1), (2, 0)), (1, 2), 3),
    "depthwise, two kernels": Problem(3, 3, (5, 7), 6, (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 1), 3),
    "1x1": Problem(2, 3, (3, 4), 5, (1, 1)),
    "1x1, square": Problem(2, 4, (3, 3), 2, (1, 1)),
    "1x1, strided": Problem(2, 3, (4, 5), 2, (1, 1), (1, 2)),
    "1x1, padded": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), ((1, 0), (0, 2))),
    "1x1, cut": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), NONE, (1, 1), 1, (3, 4)),
    "1x1, cut across": Problem(2, 3, (4, 4), 2, (1, 1), (1, 1), NONE, (1, 1), 1, (4, 3)),
    "1x1, padded and cut to the size": Problem(2, 3, (4, 5), 2, (1, 1), (1, 1), ((1, 0), (0, 0)), (1, 1), 1, (4, 5)),
    "1x1, padded and cut across": Problem(2, 3, (4, 5), 2, (1, 1), (1, 1), ((0, 0), (2, 0)), (1, 1), 1, (4, 5)),
    "1x1, groups": Problem(2, 4, (3, 4), 6, (1, 1), (1, 1), NONE, (1, 1), 2),
    "1x2": Problem(2, 3, (3, 4), 2, (1, 2), (1, 1), ((0, 0), (1, 0))),
    "2x1": Problem(2, 3, (3, 4), 2, (2, 1), (1, 1), ((1, 0), (0, 0))),
    "whole image": Problem(2, 3, (3, 4), 2, (3, 4), (HUGE, HUGE)),
    "one row": Problem(2, 3, (1, 6), 2, (1, 2), (HUGE, 2), NONE, (HUGE, 3)),
    "one column": Problem(2, 3, (6, 1), 2, (2, 1), (2, HUGE), NONE, (3, HUGE)),
    "depthwise, one row": Problem(2, 3, (1, 6), 3, (1, 2), (HUGE, 2), NONE, (HUGE, 3), 3),
    "depthwise, one column": Problem(2, 3, (6, 1), 3, (2, 1), (2, HUGE), NONE, (3, HUGE), 3),
    "no image": Problem(0, 3, (3, 4), 2, (2, 2)),
    "depthwise, far apart": Problem(2, 5, (11, 11), 5, (2, 2), (3, 4), ((0, 1), (1, 0)), (2, 1), 5),
    "depthwise, three kernels": Problem(2, 2, (4, 5), 6, (1, 2), (2, 1), ((1, 0), (0, 0)), (1, 1), 2),
    "depthwise, a row left over": Problem(3, 5, (6, 5), 5, (2, 1), (3, 2), NONE, (1, 1), 5),
    "depthwise, columns left over": Problem(3, 3, (5, 6), 3, (1, 2), (2, 3), NONE, (1, 1), 3),
}


@cache
def solved(name, dtype, bias):
    """x, w, b, g and what comes of them."""
    at = PROBLEMS[name]
    high = {np.float16: 60, np.float64: 10**6, np.int64: 10**9}.get(dtype, 5)  # beyond what narrower ones hold
    x, w = (
        whole(shape, seed, dtype, 1 - high, high)
        for seed, shape in ((1, (at.n, at.c, *at.size)), (2, (at.o, at.c // at.groups, *at.kernel)))
    )
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


@cache
def in_single(name):
    """A problem whose inputs are float32 too, and whose results are not."""
    at, arrays = PROBLEMS[name], solved(name, np.float64, True)
    x, w, b, g = (whole(a.shape, k, np.float64, -1500, 1500) for k, a in enumerate(arrays[:4]))
    y, dx = oracles.conv2d(x, w, b, *at.params), oracles.conv2d_input_grad(g, w, at.size, *at.params)
    return x, w, b, g, y, dx, oracles.conv2d_weight_grad(x, g, at.kernel, *at.params)


@case("conv_loops", ("strided",))
@case("conv_im2col", *[(name,) for name in ("strided", "turned, dilated", "groups", "five channels", "1x1")])
def the_operands_alone_say_the_dtype(name):
    at, (x, w, b, g, y, dx, dw) = PROBLEMS[name], in_single(name)
    for kernels in (conv_loops, conv_im2col):
        single = kernels.conv2d(x.astype(np.float32), w.astype(np.float32), b, *at.params, at.windows)
        assert single.dtype == np.float32
        assert np.allclose(single, y, rtol=1e-5, atol=1)
        for first, second in ((np.float32, np.float64), (np.float64, np.float32)):
            same(kernels.conv2d(x.astype(first), w.astype(second), None, *at.params, at.windows), y - b[:, None, None])
            same(kernels.conv2d_input_grad(g.astype(first), w.astype(second), at.size, *at.params), dx)
            same(kernels.conv2d_weight_grad(x.astype(first), g.astype(second), at.kernel, *at.params), dw)


@case("conv_im2col", *[(name, np.float64, "planes", 6000) for name in PROBLEMS])
@case("conv_im2col", *[(name, np.float32, "channels last", 300) for name in PROBLEMS])
@case("conv_im2col", *[(name, np.float32, "every second", 2**19) for name in list(PROBLEMS)[::2]])
@case("conv_im2col", *[(name, np.float64, "channels last", 1) for name in list(PROBLEMS)[1::2]])
@case(
    "conv_im2col",
    *[(name, np.float16, "planes", 700) for name in (*list(PROBLEMS)[::3], "depthwise", "depthwise, two kernels")],
)
@case("conv_im2col", *[(name, np.int64, "planes", 700) for name in list(PROBLEMS)[1::3]])
@case("conv_im2col", ("strided, many channels", np.float64, "Fortran", 300), ("1x1", np.float64, "reversed", 90))
@case("conv_im2col", ("1x1", np.float16, "planes", 700), ("1x1", np.int64, "planes", 700))
def columns_equal_the_definition(name, dtype, layout, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_im2col, "BLOCK", block)
        agrees(conv_im2col, name, dtype, layout)


def turns(at):
    """Whether the gradient to the image is a convolution with the turned kernels."""
    sides = [d * (k - 1) - m for pair, d, k in zip(at.padding, at.dilation, at.kernel, strict=True) for m in pair]
    return at.stride == (1, 1) and min(sides) >= 0 and at.o <= 2 * at.c


@case("conv_im2col", *[(name,) for name in PROBLEMS if PROBLEMS[name].n and PROBLEMS[name].kernel != (1, 1)])
def of_few_channels_the_gradient_comes_in_planes_unless_it_is_a_convolution(name):
    at, (_, w, _, g, *_) = PROBLEMS[name], solved(name, np.float64, True)
    dx = conv_im2col.conv2d_input_grad(g, w, at.size, *at.params)
    if at.out is None and 1 not in dx.shape:
        planes = at.c // at.groups <= 4 and not turns(at)
        assert dx.flags.c_contiguous is planes
        assert channels_last(dx) is not planes


@case(
    "conv_im2col",
    *[
        (name, dtype)
        for name in (
            "strided",
            "one channel",
            "groups",
            "wide groups",
            "four channels",
            "five channels",
            "strided, many channels",
            "more outputs",
        )
        for dtype in (np.float32, np.float64, np.int64)
    ],
)
def few_channels_are_copied_in_runs_of_windows(name, dtype):
    at, (x, *_) = PROBLEMS[name], solved(name, dtype, True)
    columns = conv_im2col.Columns(
        x, at.kernel, at.stride, at.padding, at.dilation, at.groups, at.windows, np.dtype(dtype)
    )
    floats = dtype != np.int64
    by_loops = compiled.available() and at.groups == 1 and floats
    assert columns._compiles is by_loops
    few = at.c // at.groups <= (4 if by_loops and dtype == np.float32 else 2)
    assert columns.by_depth is few
    assert columns[0].swapaxes(1, 2).flags.c_contiguous is few
    assert columns[0].flags.c_contiguous is not few
    count = at.n * at.windows[0] * at.windows[1] * at.kernel[0] * at.kernel[1] * at.c
    assert columns.steps == (count if floats else 0)
    assert type(columns.steps) is float
    assert not conv_im2col.Columns(
        x.astype(np.int16), at.kernel, at.stride, at.padding, at.dilation, 1, at.windows, np.dtype(dtype)
    )._compiles


@case("conv_im2col", ("planes", False), ("channels last", True))
def a_1x1_convolution_keeps_the_memory_order_of_its_image(layout, last):
    x, w, *_ = solved("1x1", np.float64, True)
    for dilation in ((1, 1), (2, 3)):
        y = conv_im2col.conv2d(laid_out(x, layout), w, None, (1, 1), NONE, dilation, 1)
        assert channels_last(y) is last
        assert y.flags.c_contiguous is not last


@case("conv_im2col", *[(name,) for name in (*list(PROBLEMS)[:4], "1x1", "1x1, padded", "depthwise")])
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
    assert columns.steps == at.n * oh * ow * at.kernel[0] * at.kernel[1] * at.c
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


@case(
    "conv_depthwise",
    *[
        (name, dtype, layout, block)
        for name in PROBLEMS
        if "depth" in name
        for dtype, layout in ((np.float64, "planes"), (np.float32, "channels last"), (np.int64, "every second"))
        for block in (1, 500, 1500, 2**19)
    ],
)
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
        found = conv_depthwise.weight_grad(x, last, at.kernel, at.stride, at.padding, at.dilation, np.dtype(dtype))
        same(found, dw, dtype)
        assert found.flags.c_contiguous


@case("conv_depthwise", *[(name, layout) for name in ("depthwise", "depthwise, far apart") for layout in LAYOUTS])
def of_float16_depthwise_sums_are_float32(name, layout):
    at = PROBLEMS[name]
    x, w, b, g, y, _, dw = solved(name, np.float16, True)
    x, w, last = laid_out(x, layout), laid_out(w, layout), laid_out(g, layout).transpose(0, 2, 3, 1)
    found = np.full((at.n, *at.windows, at.o), np.nan, np.float32)
    conv_depthwise.conv2d(x, w, b, at.stride, at.padding, at.dilation, found)
    same(found.transpose(0, 3, 1, 2), y, np.float32)
    single = np.dtype(np.float32)
    same(conv_depthwise.weight_grad(x, last, at.kernel, at.stride, at.padding, at.dilation, single), dw, single)


@case(
    "conv_depthwise",
    *[(m, dtype) for m in (1, 2) for dtype in (np.float32, np.float64, np.int64)],
)
def depthwise_loops_are_for_one_kernel_a_channel(m, dtype):
    called = []
    x, w, y = whole((2, 3, 4, 5), 1, dtype), whole((3 * m, 1, 2, 3), 2, dtype), np.zeros((2, 3, 3, 3 * m), dtype)
    with pytest.MonkeyPatch.context() as patch:
        for one in ("_forward", "_weight_grad"):
            patch.setattr(conv_depthwise, one, lambda *_, one=one: called.append(one))
        patch.setattr(compiled, "depthwise_vectors", lambda: None)
        conv_depthwise.conv2d(x, w, None, (1, 1), NONE, (1, 1), y)
        conv_depthwise.weight_grad(x, y, (2, 3), (1, 1), NONE, (1, 1), np.dtype(dtype))
    floats = compiled.available() and m == 1 and dtype != np.int64
    assert called == (["_forward"] if floats else []) + (["_weight_grad"] if floats and dtype == np.float32 else [])


@case(
    "conv_depthwise",
    *[
        (step, offset, n, size)
        for step in (1, 2, 4, 7)
        for offset in (0, -1)
        for n, size in ((6, (4, 4)), (5, (9, 4)), (6, (4, 13)))
    ],
)
def depthwise_images_are_taken_in_blocks_that_fit(step, offset, n, size):
    x, w, taken = whole((n, 2, *size), 1, np.float32), whole((6, 1, 2, 3), 2, np.float32), []
    params = (2, 1), ((1, 0), (2, 3)), (3, 2)
    y = np.zeros((n, 2, 5, 6), np.float32)
    pixels = max(1 + size[0], 6) * max(2 + size[1], 9)  # the windows read 6 x 9
    with pytest.MonkeyPatch.context() as patch:
        padded = conv_depthwise.padded_rows
        patch.setattr(conv_depthwise, "BLOCK", step * pixels * 6 * 4 + offset)
        patch.setattr(conv_depthwise, "padded_rows", lambda *a: taken.append(a[1]) or padded(*a))
        for function in (
            lambda: conv_depthwise.conv2d(x, w, None, *params, y),
            lambda: conv_depthwise.weight_grad(x, y, (2, 3), *params, np.dtype(np.float32)),
        ):
            taken.clear()
            function()
            most = max(1, min(n, step + offset))
            assert sorted(taken) == [(k, min(n, k + most)) for k in range(0, n, most)]


@case("conv_depthwise", *[(k * 3840 + e,) for k in (1, 2, 5) for e in (0, -1)], *[(k * 3888,) for k in (1, 4)], (3,))
def a_block_of_depthwise_images_fits(block):
    y = np.zeros((5, 3, 4, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_depthwise, "BLOCK", block)
        found = conv_depthwise._images_at_once((7, 8), (2, 3), (2, 1), (1, 2), (2, 1), y)
        small = conv_depthwise._images_at_once((2, 3), (2, 3), (3, 2), (0, 1), (2, 1), y)
        none = conv_depthwise._images_at_once((2, 3), (2, 3), (3, 2), (0, 1), (2, 1), y[..., :0])
    # rows of pixels: 1 + 7, and 3 windows, 2 apart, of 3; of the small image 0 + 2, and 3 windows, 3 apart, of 3
    assert found == max(1, min(5, block // (8 * 10 * 6 * 8)))
    assert small == max(1, min(5, block // (9 * 9 * 6 * 8)))
    assert none == min(5, block)
    assert type(found) is int


@case("conv_depthwise")
def depthwise_sums_of_weights_are_taken_in_float64():
    """Those of the rows where each is summed up in vectors."""
    x, g = np.full((3, 2, 40, 50), 0.1, np.float32), np.ones((3, 40, 50, 2), np.float32)
    dw = conv_depthwise.weight_grad(x, g, (1, 1), (1, 1), NONE, (1, 1), np.dtype(np.float32))
    exact = compiled.available() and compiled.depthwise_vectors() is None
    assert abs(dw / (6000 * np.float64(np.float32(0.1))) - 1).max() < (2e-7 if exact else 2e-6)


@case("conv_depthwise")
def depthwise_sums_of_rows_are_added_in_float64():
    x, g = np.full((1, 2, 1500, 1), 0.1, np.float32), np.ones((1, 1500, 1, 2), np.float32)
    dw = conv_depthwise.weight_grad(x, g, (1, 1), (1, 1), NONE, (1, 1), np.dtype(np.float32))
    exact = compiled.available()  # NumPy adds runs of float32
    assert abs(dw / (1500 * np.float64(np.float32(0.1))) - 1).max() < (1e-7 if exact else 2e-6)
