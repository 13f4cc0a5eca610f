"""Output shapes against the loops and against counting; every refusal with its derivation and its remedies."""

import itertools
import math
import re

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.geometry import conv2d_geometry, conv_transpose2d_geometry, pool2d_geometry
from tinygrad_cnn.shapes import (
    AxisError,
    ShapeError,
    broadcast_shape,
    broadcastable,
    concat_shape,
    linear_shape,
    matmul_shape,
    normalize_axes,
    reshape_shape,
)

X, W = (2, 3, 8, 9), (4, 3, 3, 2)


def refused(text, kind=ShapeError):
    """The whole text must occur in the message as it stands."""
    return pytest.raises(kind, match=re.escape(text))


# Arguments


def test_every_spelling_of_stride_padding_and_dilation_is_normalised():
    g = conv2d_geometry(X, W, stride=[2, 1], padding=(1, 2), dilation=np.int64(1))
    assert (g.stride, g.padding, g.dilation, g.groups) == ((2, 1), ((1, 1), (2, 2)), (1, 1), 1)
    assert (g.size, g.kernel, g.out, g.out_shape) == ((8, 9), (3, 2), (4, 12), (2, 4, 4, 12))
    assert conv2d_geometry(X, W, padding=((1, 2), (np.int32(3), 0))).padding == ((1, 2), (3, 0))
    assert conv2d_geometry(X, W, padding=2).padding == ((2, 2), (2, 2))
    assert all(type(v) is int for v in conv2d_geometry(X, W, np.array([2, 2])[0], np.uint8(1)).stride)


@pytest.mark.parametrize("bad", [True, 1.0, np.float64(2), np.bool_(True), None, (1, 2.0), (True, 1), {1, 2}, b"1"])
@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_H64_what_is_no_integer_is_refused(name, bad):
    with pytest.raises(TypeError, match=rf"conv2d: {name} is .*, needs an int(, \(ph, pw\)| or a pair of ints)"):
        conv2d_geometry(X, W, **{name: bad})
    if name == "stride" and bad is not None:
        with pytest.raises(TypeError, match=r"max_pool2d: kernel_size is .*, needs an int or a pair of ints"):
            pool2d_geometry(X, bad)


@pytest.mark.parametrize("bad", [True, 1.0, (1, 1), None, "1"])
def test_H64_groups_must_be_an_int(bad):
    with pytest.raises(TypeError, match=r"conv2d: groups is .*, needs an int"):
        conv2d_geometry(X, W, groups=bad)


@pytest.mark.parametrize("bad", [(1, 1, 1, 1), (1, 1, 1), "(1, 1)", None, ((1, 1), 1)])
def test_H64_a_padding_that_cannot_be_read_is_told_every_form(bad):
    with pytest.raises((ShapeError, TypeError)) as caught:
        conv2d_geometry((1, 1, 4, 4), (1, 1, 2, 2), padding=bad)
    assert str(caught.value).startswith("conv2d: padding is ")
    forms = [] if isinstance(bad, str) else ["an int, (ph, pw) or ((top, bottom), (left, right))"]
    assert all(form in str(caught.value) for form in [*forms, "'same'"])


def test_a_bool_is_refused_even_where_an_equal_int_was_accepted_before():
    conv2d_geometry(X, W, 1, 1, 1, 1)
    for params in ((True, 1, 1, 1), (1, True, 1, 1), (1, 1, 1.0, 1), (1, 1, 1, True)):
        with pytest.raises(TypeError, match="needs an int"):
            conv2d_geometry(X, W, *params)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"stride": 0}, "conv2d: stride is (0, 0), needs at least 1 on both axes; use stride=1"),
        ({"stride": (1, -2)}, "conv2d: stride is (1, -2), needs at least 1 on both axes; use stride=1"),
        ({"dilation": 0}, "conv2d: dilation is (0, 0), needs at least 1 on both axes; use dilation=1"),
        ({"padding": -1}, "conv2d: padding is (-1, -1), needs at least 0 on both axes; use padding=0"),
        ({"padding": ((0, 0), (0, -1))}, "conv2d: padding is (0, -1), needs at least 0 on both axes; use padding=0"),
        ({"groups": 0}, "conv2d: groups is 0, needs at least 1; use groups=1"),
        ({"groups": -1}, "conv2d: groups is -1, needs at least 1; use groups=1"),
        ({"stride": (1, 2, 3)}, "conv2d: stride is (1, 2, 3) with 3 numbers, needs an int or a pair of ints"),
        ({"padding": "mirror"}, "conv2d: padding is 'mirror'; the names are 'valid', 'same', 'same_lower', 'full'"),
        (
            {"groups": 2},
            "conv2d: groups=2 does not divide the 3 channels of x and the 4 of w (3 % 2 = 1, 4 % 2 = 0); use groups=1",
        ),
    ],
)
def test_H64_numbers_out_of_range_are_refused(params, text):
    with refused(text):
        conv2d_geometry(X, W, **params)


# Convolution


@given(st.data())
def test_convolution_has_as_many_windows_as_fit(data):
    draw = data.draw
    size, kernel, stride, dilation, padding, out = [], [], [], [], [], []
    for _ in range(2):
        h, k, s, d = (draw(st.integers(1, m)) for m in (9, 4, 4, 3))
        sides = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
        starts = range(0, max(h + sum(sides) - d * (k - 1), 0), s)
        for numbers, number in zip(
            (size, kernel, stride, dilation, padding, out), (h, k, s, d, sides, len(starts)), strict=True
        ):
            numbers.append(number)
    x, w = (2, 3, *size), (5, 3, *kernel)
    if min(out) == 0:
        with pytest.raises(ShapeError, match="exceeds the padded image"):
            conv2d_geometry(x, w, stride, padding, dilation)
    else:
        assert conv2d_geometry(x, w, stride, padding, dilation).out == tuple(out)


@given(*[st.integers(1, 12) for _ in range(4)], st.sampled_from(["same", "same_lower"]))
def test_H69_same_gives_ceil_of_size_over_stride_with_the_least_padding(h, k, s, d, name):
    g = conv2d_geometry((1, 1, h, h), (1, 1, k, k), s, name, d)
    lo, hi = g.padding[0]
    assert g.out[0] == math.ceil(h / s)
    assert (hi - lo if name == "same" else lo - hi) in (0, 1)
    assert lo + hi == max((math.ceil(h / s) - 1) * s + d * (k - 1) + 1 - h, 0)


def test_H71_the_odd_padding_goes_to_the_end_or_with_same_lower_to_the_start():
    assert conv2d_geometry(X, (4, 3, 2, 4), padding="same").padding == ((0, 1), (1, 2))
    assert conv2d_geometry(X, (4, 3, 2, 4), padding="same_lower").padding == ((1, 0), (2, 1))


def test_full_sees_every_overlap_and_valid_none_of_the_padding():
    assert conv2d_geometry(X, W, padding="full", dilation=(2, 1)).padding == ((4, 4), (1, 1))
    assert conv2d_geometry(X, W, padding="valid").out == (6, 8)


def test_H60_an_empty_batch_has_a_shape():
    assert conv2d_geometry((0, 3, 8, 9), W).out_shape == (0, 4, 6, 8)


@pytest.mark.parametrize(
    ("x", "w", "params", "text"),
    [
        ((3, 8, 9), W, {}, "conv2d: x has 3 axes, shape (3, 8, 9), needs 4: (n, c, h, w); give a single image"),
        ((3, 8, 9), W, {}, "with x[None]"),
        ((8, 9), W, {}, "give a single grey image its batch and channel axes with x[None, None]"),
        ((1, 2, 3, 8, 9), W, {}, "conv2d: x has 5 axes, shape (1, 2, 3, 8, 9), needs 4: (n, c, h, w); reshape x"),
        (X, (4, 3, 3), {}, "conv2d: w has 3 axes, shape (4, 3, 3), needs 4: (o, c/groups, kh, kw); reshape w"),
        ((2, 3, 5, 4), (8, 4, 3, 3), {}, "conv2d: x has 3 channels, w wants 4 (x is (2, 3, 5, 4), "),
        ((2, 3, 5, 4), (8, 4, 3, 3), {}, "w is o c/groups kh kw = (8, 4, 3, 3), groups=1: 4*1 = 4); "),
        ((2, 3, 5, 4), (8, 4, 3, 3), {}, "make w (8, 3, 3, 3), or if x is NHWC use x.permute(0, 3, 1, 2)"),
        ((2, 6, 5, 4), (8, 3, 3, 3), {}, "make w (8, 6, 3, 3), or use groups=2"),
        ((2, 6, 5, 4), (8, 6, 3, 3), {"groups": 2}, "groups=2: 6*2 = 12); make w (8, 3, 3, 3), or use groups=1"),
    ],
)
def test_H64_wrong_ranks_and_channels_are_refused_with_the_edits_that_fit(x, w, params, text):
    with refused(text):
        conv2d_geometry(x, w, **params)


def test_H61_no_input_channels_are_refused():
    with refused("conv2d: x has 0 channels, shape (1, 0, 4, 4), needs at least 1 in (n, c, h, w)"):
        conv2d_geometry((1, 0, 4, 4), (2, 0, 3, 3))


def test_H62_no_output_channels_or_an_empty_kernel_are_refused():
    with refused("conv2d: w has 0 output channels, shape (0, 3, 3, 2), needs (o, c/groups, kh, kw), all at least 1"):
        conv2d_geometry(X, (0, 3, 3, 2))
    with refused("conv2d: w has an empty kernel 3x0, shape (4, 3, 3, 0), needs (o, c/groups, kh, kw)"):
        conv2d_geometry(X, (4, 3, 3, 0))


@pytest.mark.parametrize(
    ("x", "w", "params", "texts"),
    [
        (
            (1, 3, 4, 6),
            (2, 3, 5, 5),
            {},
            [
                "conv2d: kernel 5x5 exceeds the padded image 4x6 (x is (1, 3, 4, 6), padding ((0, 0), (0, 0)))",
                ": oh = (4 + 0 + 0 - 1*(5-1) - 1)//1 + 1 = 0; ",
                "use padding >= (1, 0), or a kernel of at most 4x6, or images of at least 5x6",
            ],
        ),
        (
            (1, 1, 5, 3),
            (1, 1, 3, 3),
            {"dilation": (2, 3), "padding": ((0, 0), (1, 0)), "stride": (1, 2)},
            [
                "kernel 3x3 (dilated by (2, 3) it reaches over 5x7) exceeds the padded image 5x4",
                "ow = (3 + 1 + 0 - 3*(3-1) - 1)//2 + 1 = -1",
                "use padding >= (0, 3), or a kernel of at most 3x2, or dilation <= (2, 1), or images of at least 5x6",
            ],
        ),
        ((1, 1, 0, 3), (1, 1, 1, 1), {}, ["exceeds the padded image 0x3", "use padding >= (1, 0), or images of"]),
    ],
)
def test_H63_kernel_larger_than_padded_image_is_refused(x, w, params, texts):
    for text in texts:
        with refused(text):
            conv2d_geometry(x, w, **params)


def test_H63_the_proposed_edits_work():
    assert conv2d_geometry((1, 3, 4, 6), (2, 3, 5, 5), padding=(1, 0)).out == (2, 2)
    assert conv2d_geometry((1, 3, 4, 6), (2, 3, 4, 5)).out == (1, 2)
    dilated = {"padding": ((0, 0), (1, 0)), "stride": (1, 2)}
    assert conv2d_geometry((1, 1, 5, 3), (1, 1, 3, 2), dilation=(2, 3), **dilated).out == (1, 1)
    assert conv2d_geometry((1, 1, 5, 3), (1, 1, 3, 3), dilation=(2, 1), **dilated).out == (1, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: conv2d_geometry(X, W, padding=2**31),
        lambda: conv2d_geometry(X, W, padding=2**31, stride=2**31),
        lambda: conv2d_geometry((1, 1, 2**20, 2**20), (2**10, 1, 1, 1)),
        lambda: conv_transpose2d_geometry(X, (3, 4, 3, 3), stride=2**31),
        lambda: conv_transpose2d_geometry(X, (3, 4, 3, 3), dilation=2**31),
        lambda: pool2d_geometry(X, 2**40, padding=2**39, stride=1),
    ],
)
def test_H76_huge_geometry_is_refused_before_any_allocation(call):
    with pytest.raises(MemoryError, match=r"would have \d+ elements, \d+ bytes in float32, and no more than 2\*\*48"):
        call()


def test_H76_huge_numbers_that_are_harmless_are_accepted():
    assert conv2d_geometry(X, W, stride=2**62).out == (1, 1)
    assert pool2d_geometry(X, 1, stride=2**62).out == (1, 1)
    with pytest.raises(ShapeError, match="exceeds the padded image"):
        conv2d_geometry(X, W, dilation=2**62)
    with pytest.raises(ShapeError, match="exceeds the padded image"):
        pool2d_geometry(X, 2**62)


@pytest.mark.parametrize(
    ("x", "params", "texts"),
    [
        (
            (1, 1, 12, 11),
            {"stride": 2},
            [
                "conv2d: strict=True and the last 1 of 12 rows are never read: ",
                "oh = (12 + 0 + 0 - 1*(3-1) - 1)//2 + 1 = 5, so the windows end after (5-1)*2 + 3 = 11 of 12; ",
                "crop the image to 11 rows, or use padding 1 on the rows (any of [1, 2]), "
                "or pad the end by 1 instead of 0, or use stride 1 (any of [1])",
            ],
        ),
        ((1, 1, 11, 12), {"stride": 2}, ["the last 1 of 12 columns are never read: ow = "]),
        (
            (1, 1, 10, 15),
            {"stride": (1, 5), "padding": ((0, 0), (0, 1))},
            [
                "the last 2 of 15 columns",
                "crop the image to 13 columns",
                "pad the end by 3",
                "use stride 4 (any of [1, 2, 3, 4])",
            ],
        ),
    ],
)
def test_strict_refuses_sizes_whose_last_pixels_no_window_reads(x, params, texts):
    for text in texts:
        with refused(text):
            conv2d_geometry(x, (1, 1, 3, 3), **params, strict=True)
    assert conv2d_geometry(x, (1, 1, 3, 3), **params).out_shape


def test_strict_accepts_what_drops_padding_only_and_the_edits_it_proposes():
    assert conv2d_geometry((1, 1, 32, 32), (1, 1, 3, 3), 2, 1, strict=True).out == (16, 16)
    assert conv2d_geometry((1, 1, 12, 11), (1, 1, 3, 3), 2, (1, 0), strict=True).out == (6, 5)
    assert conv2d_geometry((1, 1, 11, 11), (1, 1, 3, 3), 2, strict=True).out == (5, 5)
    assert conv2d_geometry((1, 1, 12, 11), (1, 1, 3, 3), 2, ((0, 1), (0, 0)), strict=True).out == (6, 5)
    with refused("max_pool2d: strict=True and the last 1 of 9 columns are never read"):
        pool2d_geometry(X, 2, strict=True)
    assert pool2d_geometry(X, 2, ceil_mode=True, strict=True).out == (4, 5)


# Transposed convolution


@given(st.data())
def test_a_transposed_convolution_undoes_the_shape_of_a_convolution(data):
    h, k, s, d = (data.draw(st.integers(1, m)) for m in (9, 4, 4, 3))
    sides = (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2)))
    h += max(0, d * (k - 1) + 1 - h - sum(sides))
    there = conv2d_geometry((1, 2, h, h), (6, 2, k, k), s, (sides, sides), d)
    extra = (h + sum(sides) - d * (k - 1) - 1) % s
    back = conv_transpose2d_geometry(there.out_shape, (6, 2, k, k), s, (sides, sides), extra, 1, d)
    assert back.out_shape == (1, 2, h, h)
    assert (back.size, back.kernel, back.output_padding) == (there.out, (k, k), (extra, extra))


@pytest.mark.parametrize(
    ("x", "w", "params", "text"),
    [
        ((3, 8, 9), W, {}, "conv_transpose2d: x has 3 axes, shape (3, 8, 9), needs 4: (n, c, h, w)"),
        (X, (3, 4, 3), {}, "conv_transpose2d: w has 3 axes, shape (3, 4, 3), needs 4: (c, o/groups, kh, kw)"),
        (
            X,
            (4, 3, 3, 3),
            {},
            "conv_transpose2d: x has 3 channels, w wants 4 (x is (2, 3, 8, 9), w is c o/groups kh kw",
        ),
        (X, (4, 3, 3, 3), {}, "make w (3, 3, 3, 3), or if w is a conv2d weight (o, c, kh, kw) use w.transpose(0, 1)"),
        (X, (9, 2, 3, 3), {}, "or if x is NHWC use x.permute(0, 3, 1, 2)"),
        (X, (3, 4, 3, 3), {"groups": 2}, "groups=2 does not divide the 3 channels of x (3 % 2 = 1); use groups=1 or 3"),
        ((1, 0, 2, 2), (0, 1, 1, 1), {}, "conv_transpose2d: x is empty, shape (1, 0, 2, 2)"),
        ((1, 1, 0, 2), (1, 1, 1, 1), {}, "conv_transpose2d: x is empty, shape (1, 1, 0, 2)"),
        (X, (3, 0, 3, 3), {}, "conv_transpose2d: w has 0 output channels, shape (3, 0, 3, 3)"),
        (X, (3, 4, 0, 3), {}, "conv_transpose2d: w has an empty kernel 0x3"),
        (X, (3, 4, 3, 3), {"padding": "same"}, "padding is 'same', needs numbers: an int, (ph, pw) or ((top, bottom)"),
        (
            X,
            (3, 4, 3, 3),
            {"stride": 2, "output_padding": (1, 2)},
            "output_padding (1, 2) must be smaller than stride (2, 2) or dilation (1, 1); use output_padding <= 1",
        ),
        (
            (1, 1, 2, 7),
            (1, 1, 2, 1),
            {"padding": (2, 0)},
            "oh = (2-1)*1 - 2 - 2 + 1*(2-1) + 0 + 1 = -1; use padding <= 1, or a larger stride or kernel",
        ),
    ],
)
def test_H64_a_transposed_convolution_that_cannot_be_is_refused(x, w, params, text):
    with refused(text):
        conv_transpose2d_geometry(x, w, **params)


def test_output_padding_may_be_below_the_dilation_only():
    assert conv_transpose2d_geometry(X, (3, 4, 3, 3), output_padding=(1, 2), dilation=(2, 3)).out == (13, 17)


# Pooling


@given(st.data())
def test_H85_pooling_has_the_windows_of_the_loops(data):
    draw = data.draw
    size, kernel, stride, dilation, padding, out = [], [], [], [], [], []
    ceil_mode = draw(st.booleans())
    for _ in range(2):
        k, s, d = (draw(st.integers(1, m)) for m in (4, 5, 3))
        half = (d * (k - 1) + 1) // 2
        sides = (draw(st.integers(0, half)), draw(st.integers(0, half)))
        h = draw(st.integers(d * (k - 1) + 1, 14))
        for numbers, number in zip((size, kernel, stride, dilation, padding), (h, k, s, d, sides), strict=True):
            numbers.append(number)
        out.append(oracles.pool_out(h, k, s, sides, d, ceil_mode))
    geometry = pool2d_geometry((2, 3, *size), kernel, stride, padding, dilation, ceil_mode)
    assert geometry.out == tuple(out)
    assert geometry.out_shape == (2, 3, *out)


def test_H85_a_window_that_would_start_in_the_right_padding_is_dropped():
    assert pool2d_geometry((1, 1, 2, 2), 1, 2, ceil_mode=True).out == (1, 1)
    assert pool2d_geometry((1, 1, 4, 4), 3, 2, ceil_mode=True).out == (2, 2)
    assert pool2d_geometry((1, 1, 5, 5), 3, 3, 1, ceil_mode=True).out == (2, 2)
    assert pool2d_geometry((1, 1, 1, 1), 3, 3, ceil_mode=True).out == (1, 1)


def test_the_stride_of_a_pooling_is_its_kernel_unless_given():
    assert pool2d_geometry(X, (2, 3)).stride == (2, 3)
    assert pool2d_geometry(X, (2, 3), padding="same").padding == ((0, 0), (0, 0))
    assert pool2d_geometry(X, 3, 1, "same").out == (8, 9)


@pytest.mark.parametrize(
    ("x", "params", "text"),
    [
        (X, (0,), "max_pool2d: kernel_size is (0, 0), needs at least 1 on both axes; use kernel_size=1"),
        (X, (2, 0), "max_pool2d: stride is (0, 0), needs at least 1 on both axes; use stride=1"),
        (X, (3, 2, 2), "max_pool2d: padding 2 is more than half of the kernel 3x3, needs at most (1*(3-1) + 1)//2 = 1"),
        (X, (3, 2, 2), "use padding <= 1, or a kernel of at least 4, or pad x before with F.pad"),
        (X, (3, 2, ((0, 0), (0, 2))), "max_pool2d: padding 2 is more than half of the kernel"),
        ((1, 3, 0, 4), (1,), "max_pool2d: x is empty, shape (1, 3, 0, 4), needs (n, c, h, w) with c, h, w at least 1"),
        ((1, 0, 4, 4), (1,), "max_pool2d: x is empty, shape (1, 0, 4, 4)"),
        ((3, 8, 9), (2,), "max_pool2d: x has 3 axes, shape (3, 8, 9), needs 4: (n, c, h, w)"),
        (X, (10,), "max_pool2d: kernel 10x10 exceeds the padded image 8x9"),
        (X, (10,), "oh = (8 + 0 + 0 - 1*(10-1) - 1)//10 + 1 = 0, ow = (9 + 0 + 0 - 1*(10-1) - 1)//10 + 1 = 0"),
        ((1, 1, 1, 7), (2, 1, (2, 0), (4, 1)), "max_pool2d: dilation 4 lets a window see padding only: x has 1 rows"),
        ((1, 1, 1, 7), (2, 1, (2, 0), (4, 1)), "use padding=0, or dilation <= 1"),
    ],
)
def test_H83_poolings_that_cannot_be_are_refused(x, params, text):
    with refused(text):
        pool2d_geometry(x, *params)


def test_the_name_of_the_pooling_is_in_its_errors():
    with refused("avg_pool2d: kernel 10x10 exceeds"):
        pool2d_geometry(X, 10, name="avg_pool2d")


# Broadcasting


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=4).map(tuple), min_size=1, max_size=3))
def test_H20_shapes_broadcast_as_in_numpy(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        assert not broadcastable(*shapes)
        with pytest.raises(ShapeError, match="do not broadcast: axis -"):
            broadcast_shape(*shapes)
    else:
        assert broadcastable(*shapes)
        assert broadcast_shape(*shapes) == expected


def test_H21_the_shapes_are_lined_up_and_the_axis_is_marked():
    with pytest.raises(ShapeError) as error:
        broadcast_shape((2, 10, 3, 4), (7, 1, 4), op="add")
    assert str(error.value).splitlines() == [
        "add: shapes (2, 10, 3, 4) and (7, 1, 4) do not broadcast: "
        "axis -3 has lengths 10 and 7, needs equal lengths or 1:",
        "    2  10  3  4",
        "        7  1  4",
        "       ^^",
        "  give one of them length 1 there",
    ]


def test_H21_columns_are_as_wide_as_the_longest_number():
    with pytest.raises(ShapeError) as error:
        broadcast_shape((9, 7), (100, 7))
    assert str(error.value).splitlines()[1:4] == ["      9  7", "    100  7", "    ^^^"]


def test_H21_a_vector_over_channels_is_shown_the_reshape_that_fits():
    with refused("line (3,) up with axis 1 by reshaping it to (3, 1, 1)"):
        broadcast_shape((2, 3, 4, 5), (3,), op="add")


# Products


@given(st.data())
def test_H48_matmul_has_the_shape_of_numpy(data):
    shapes = st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=4).map(tuple)
    a, b = data.draw(shapes), data.draw(shapes)
    try:
        expected = np.matmul(np.zeros(a), np.zeros(b)).shape
    except ValueError:
        with pytest.raises(ShapeError, match=r"^matmul"):
            matmul_shape(a, b)
    else:
        assert matmul_shape(a, b) == expected


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (
            (2, 3),
            (2, 4),
            "matmul: a is (2, 3) with 3 columns, b is (2, 4) with 2 rows, (... m k) @ (... k n) needs them",
        ),
        ((2, 3), (2, 4), "use b of 3 rows, or a of 2 columns, or the transpose of a: a.mT @ b"),
        ((2, 3), (4, 3), "or the transpose of b: a @ b.mT"),
        ((), (2, 4), "matmul: shapes are () and (2, 4), needs at least 1 axis each; multiply scalars with *"),
        ((2, 5, 3), (3, 3, 4), "matmul (batch axes): shapes (2,) and (3,) do not broadcast: axis -1"),
    ],
)
def test_H48_products_that_do_not_fit_are_refused(a, b, text):
    with refused(text):
        matmul_shape(a, b)


def test_linear_proposes_only_what_would_fit():
    with pytest.raises(ShapeError, match=r"use Linear\(7, 10\) or in_features=None$"):
        linear_shape((32, 7), (10, 5))


def test_linear_keeps_the_leading_axes():
    assert linear_shape((7, 2, 5), (3, 5), (3,)) == (7, 2, 3)
    assert linear_shape((5,), (3, 5)) == (3,)


@pytest.mark.parametrize(
    ("x", "w", "b", "text"),
    [
        ((32, 576), (10, 400), None, "linear: x gives 576 = 16*6*6 features (x is (32, 576)), "),
        ((32, 576), (10, 400), None, "w wants in_features=400 = 16*5*5 (w is (out, in) = (10, 400)); "),
        ((32, 576), (10, 400), None, "use Linear(576, 10) or in_features=None"),
        ((32, 7), (10, 5), None, "linear: x gives 7 features (x is (32, 7)), w wants in_features=5 (w is"),
        ((32, 16, 5, 5), (10, 400), None, "flatten the image first: x.flatten(1) is (32, 400)"),
        ((32, 10), (10, 400), None, "if w is (in, out) use its transpose, (400, 10)"),
        ((32, 5), (10, 5, 1), None, "linear: w has 3 axes, shape (10, 5, 1), needs 2: (out, in)"),
        ((), (10, 5), None, "linear: x has no axes, shape (), needs (..., in); use x[None]"),
        ((2, 5), (10, 5), (5,), "linear: b has shape (5,), needs (10,), one number for each row of w (10, 5)"),
    ],
)
def test_linear_that_does_not_fit_is_refused(x, w, b, text):
    with refused(text):
        linear_shape(x, w, b)


# Layout


def test_H46_concat_adds_up_one_axis():
    assert concat_shape([(2, 3), (2, 0), (2, 5)], -1) == (2, 8)
    assert concat_shape([(4,)]) == (4,)


@pytest.mark.parametrize(
    ("shapes", "axis", "text"),
    [
        ([], 0, "concat: no arrays are there, needs at least one"),
        ([()], 0, "concat: the first array has no axes, shape (), needs at least 1; use stack"),
        (
            [(2, 3), (2,)],
            0,
            "concat: array 1 has 1 axes, shape (2,), the first has 2, shape (2, 3), needs the same number",
        ),
        ([(2, 3), (2, 4)], 0, "concat: array 1 is (2, 4), the first is (2, 3), all axes but axis 0 need equal lengths"),
        ([(2, 3), (2, 4)], 0, "axis 1 has 4 and 3; use axis=1"),
        ([(2, 3), (5, 4)], 0, "axis 1 has 4 and 3; crop or pad axis 1 first"),
        ([(2, 3)], 2, "concat: axis 2 is out of range, the array has 2 axes; the axes are -2 to 1"),
    ],
)
def test_H46_concats_that_do_not_fit_are_refused(shapes, axis, text):
    with refused(text):
        concat_shape(shapes, axis)


@given(st.lists(st.integers(0, 6), max_size=4).map(tuple), st.lists(st.integers(-1, 6), max_size=4).map(tuple))
def test_H43_reshape_has_the_shape_of_numpy(shape, new):
    try:
        expected = np.zeros(shape).reshape(new).shape
    except ValueError:
        with pytest.raises(ShapeError, match=r"^reshape: "):
            reshape_shape(shape, new)
    else:
        assert reshape_shape(shape, new) == expected


def test_H43_minus_one_beside_a_zero_length():
    assert reshape_shape((0, 3), (-1, 3)) == (0, 3)
    assert reshape_shape((2, 3), -1) == (6,)
    with refused("reshape: -1 in (-1, 0) could be any length, the others multiply to 0; write the length out"):
        reshape_shape((0, 3), (-1, 0))


@pytest.mark.parametrize(
    ("shape", "new", "text", "kind"),
    [
        ((2, 3), (-1, -1), "reshape: (-1, -1) holds 2 times -1, at most one length can be found", ShapeError),
        ((2, 3), (-2, 3), "reshape: (-2, 3) holds -2, needs lengths >= 0 or one -1", ShapeError),
        ((3, 4), (5, -1), "reshape: (3, 4) has 12 elements, (5, -1) needs a multiple of 5: 12 = 2*5 + 2", ShapeError),
        ((3, 4), (5, -1), "keep the batch axis: (3, -1)", ShapeError),
        ((3, 4), (2, 5), "reshape: (3, 4) has 12 elements, (2, 5) has 10, needs equal numbers; use 6 inst", ShapeError),
        ((3, 4), (2, 5), "use 6 instead of 5 on axis 1, or -1 there", ShapeError),
        ((3, 4), (2, 6.0), "reshape: shape is (2, 6.0) (tuple), needs an int or a tuple of ints", TypeError),
        ((3, 4), (True, 12), "reshape: shape is (True, 12) (tuple), needs an int or a tuple of ints", TypeError),
    ],
)
def test_H43_reshapes_that_do_not_fit_are_refused(shape, new, text, kind):
    with refused(text, kind):
        reshape_shape(shape, new)


def test_H41_axes_are_counted_from_zero():
    assert normalize_axes(None, 3, "sum") == (0, 1, 2)
    assert normalize_axes((), 3, "sum") == ()
    assert normalize_axes(-1, 3, "sum") == (2,)
    assert normalize_axes([np.int64(-1), 0], 3, "sum") == (2, 0)
    assert normalize_axes(None, 0, "sum") == ()
    for ndim, axis in itertools.product(range(4), range(-5, 5)):
        if -ndim <= axis < ndim:
            assert normalize_axes(axis, ndim, "sum") == (range(ndim)[axis],)
        else:
            with pytest.raises(AxisError, match=rf"sum: axis {axis} is out of range, the array has {ndim} axes"):
                normalize_axes(axis, ndim, "sum")


def test_H41_wrong_axes_are_refused():
    with refused("sum: axis (0, -3) names axis 0 twice, needs different axes; use (0,)"):
        normalize_axes((0, -3), 3, "sum")
    with refused("sum: axis 5 is out of range, the array has 3 axes; the axes are -3 to 2", AxisError):
        normalize_axes((0, 5), 3, "sum")
    with refused("sum: axis 0 is out of range, the array has 0 axes; the axes are none", np.exceptions.AxisError):
        normalize_axes(0, 0, "sum")
    for bad in (1.0, True, "0", (0, 1.0)):
        with pytest.raises(TypeError, match=r"sum: axis is .*, needs None, an int or a tuple of ints"):
            normalize_axes(bad, 3, "sum")
    assert issubclass(ShapeError, ValueError)
    assert issubclass(AxisError, (ShapeError, IndexError))
