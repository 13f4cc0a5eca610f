"""Planes of numbers as PNG: the files decode to the right colours, and what is not finite is red."""

import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.diagram.images import SIDE, gradients, png, values
from tinygrad_cnn.observation import MAPS, summarize

WHITE, BLUE, ORANGE, RED = (255, 255, 255), (0, 97, 154), (168, 67, 0), (192, 0, 0)


def decoded(data):
    """The pixels (h w 3) of a PNG of 8-bit RGB without filters; every chunk's checksum is verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks.append((kind, body))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, rest) == (8, 2, [0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()  # no filter
    return rows[:, 1:].reshape(height, width, 3)


def pixels(strip):
    return np.stack([decoded(picture) for picture in strip.pictures])


def strip_of(array, make=values):
    strip = make(summarize(np.asarray(array, np.float64), maps=True))
    assert strip is not None
    return strip


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_a_png_decodes_to_the_pixels_it_was_made_of(array):
    np.testing.assert_array_equal(decoded(png(array)), array)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(ValueError, match=r"png: pixels are .*, needs uint8 \(h w 3\)"):
        png(array)


@pytest.mark.parametrize("offset", [0.0, -7.0, 5.0])
def test_values_run_from_white_at_the_lowest_to_blue_at_the_highest(offset):
    seen = pixels(strip_of([[offset, offset + 2.0], [offset + 1.0, math.nan]]))[0]
    assert tuple(seen[0, 0]) == WHITE
    assert tuple(seen[0, 1]) == BLUE
    assert np.abs(seen[1, 0] - (np.add(WHITE, BLUE) / 2)).max() <= 0.5
    assert tuple(seen[1, 1]) == RED


def test_gradients_run_from_blue_over_white_to_orange_the_largest_magnitude_full():
    seen = pixels(strip_of([[-4.0, 0.0, 2.0], [4.0, -2.0, math.inf]], gradients))[0]
    assert [tuple(seen[0, 0]), tuple(seen[0, 1]), tuple(seen[1, 0]), tuple(seen[1, 2])] == [BLUE, WHITE, ORANGE, RED]
    assert np.abs(seen[0, 2] - np.add(WHITE, ORANGE) / 2).max() <= 0.5
    assert np.abs(seen[1, 1] - np.add(WHITE, BLUE) / 2).max() <= 0.5


@given(
    hnp.arrays(np.float32, st.tuples(st.just(1), st.integers(1, 3), st.integers(2, 6), st.integers(2, 6))),
    st.sampled_from([values, gradients]),
)
def test_exactly_what_is_not_finite_is_red_and_darker_means_more(array, make):
    seen = pixels(strip_of(array, make)).astype(int)
    maps = summarize(array, maps=True).maps
    np.testing.assert_array_equal((seen == RED).all(-1), ~np.isfinite(maps))
    fine = np.isfinite(maps)
    if make is values:
        order = np.argsort(maps[fine], kind="stable")
        assert (np.diff(seen[fine][order].sum(-1)) <= 0).all()
    else:
        blue = fine & (maps < 0)
        assert (seen[blue][:, 0] <= seen[blue][:, 2]).all()
        orange = fine & (maps > 0)
        assert (seen[orange][:, 0] >= seen[orange][:, 2]).all()
        assert (seen[fine & (maps == 0)] == 255).all()


@pytest.mark.parametrize("make", [values, gradients])
@pytest.mark.parametrize("value", [0.0, 3.0, math.nan, 1e308])
def test_a_plane_of_one_value_is_drawn(make, value):
    seen = pixels(strip_of(np.full((1, 1, 3, 4), value), make))
    expected = RED if math.isnan(value) else ORANGE if make is gradients and value else WHITE
    assert (seen == expected).all()


def test_huge_ranges_do_not_overflow():
    seen = pixels(strip_of([[1e308, -1e308], [0.0, 0.0]]))[0]
    assert [tuple(seen[0, 0]), tuple(seen[0, 1])] == [BLUE, WHITE]


def test_a_scale_is_shared_by_all_planes_of_a_strip():
    array = np.zeros((1, 2, 2, 2))
    array[0, 0], array[0, 1] = 1.0, 2.0
    array[0, 0, 0, 0] = 0.0
    seen = pixels(strip_of(array))
    assert (seen[1] == BLUE).all()
    assert tuple(seen[0, 0, 0]) == WHITE


@pytest.mark.parametrize(
    ("shape", "planes", "label"),
    [
        ((2, 5, 4, 4), 5, "values"),
        ((2, MAPS + 3, 4, 4), MAPS, f"values, {MAPS} of {MAPS + 3}"),
        ((MAPS + 1, 1, 3, 3), MAPS, f"values, {MAPS} of {MAPS + 1}"),
        ((3, 4, 5), 3, "values"),
        ((MAPS + 2, 4, 5), MAPS, f"values, {MAPS} of {MAPS + 2}"),
        ((4, 5), 1, "values"),
        ((2, 3, 4, 2, 2), MAPS, f"values, {MAPS} of 12"),
    ],
)
def test_a_label_says_how_many_planes_of_how_many_are_shown(shape, planes, label):
    strip = strip_of(np.random.default_rng(0).normal(size=shape))
    assert (len(strip.pictures), strip.label) == (planes, label)


@pytest.mark.parametrize(("high", "wide"), [(4, 4), (2, 6), (6, 2), (100, 30)])
def test_pictures_keep_their_proportions_and_fit_a_square(high, wide):
    strip = strip_of(np.zeros((1, 1, high, wide)))
    assert max(strip.width, strip.height) == SIDE
    shown_high, shown_wide, _ = decoded(strip.pictures[0]).shape
    assert strip.width / strip.height == pytest.approx(shown_wide / shown_high)
    assert strip.width / strip.height == pytest.approx(wide / high, rel=0.1)


@pytest.mark.parametrize("shape", [(5,), (), (1, 1, 1, 3), (1, 0, 4, 4)])
def test_what_has_no_plane_worth_a_picture_has_none(shape):
    summary = summarize(np.zeros(shape), maps=True)
    assert values(summary) is None
    assert gradients(summary) is None
    assert values(summarize(np.zeros((1, 1, 4, 4)))) is None  # no maps were kept
