"""`conv2d_matrix`: the matrix multiplies as the convolution does, its transpose as both of its adjoints."""

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import ShapeError, Tensor
from tinygrad_cnn.explanation import matrix_picture
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing.samples import Draw, sample

FIG_9 = tg.conv2d_matrix(Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), (3, 3))


@given(st.data())
def test_the_matrix_multiplies_as_the_convolution_does(data):
    draw = Draw.of(data)
    (x, w, *_), params = sample(tg.conv2d, draw)
    image = Tensor(x[:1], requires_grad=True)
    y = tg.conv2d(image, w, **params)
    m = tg.conv2d_matrix(w, x.shape[1:], **params)
    assert m.shape == (y.numpy().size, image.numpy().size)
    np.testing.assert_allclose(m @ image, y.numpy().ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(m.dense() @ image.numpy().ravel(), m @ image, rtol=0, atol=1e-12)
    g = draw.array(*y.shape)
    (dx,) = tg.grad(y, image, g)
    np.testing.assert_allclose(m.T @ g, dx.numpy().ravel(), rtol=0, atol=1e-12)


@given(st.data())
def test_the_transpose_is_the_transposed_convolution(data):
    draw = Draw.of(data)
    groups = draw.choice([1, 2])
    w = draw.array(2 * groups, draw.size(1, 2), draw.size(1, 3), draw.size(1, 2))
    stride, dilation = (draw.size(1, 2), draw.size(1, 3)), (draw.size(1, 2), 1)
    x = draw.array(1, 2 * groups, draw.size(2, 3), draw.size(2, 4))
    y = F.conv_transpose2d(x, w, stride=stride, dilation=dilation, groups=groups)
    m = tg.conv2d_matrix(w, y.shape[1:], stride=stride, dilation=dilation, groups=groups)
    np.testing.assert_allclose(m.T @ x, np.ravel(y), rtol=0, atol=1e-12)
    assert np.array_equal(m.T.dense(), m.dense().T)
    assert np.array_equal(m.T.T.dense(), m.dense())


def test_integers_multiply_exactly():
    assert (tg.conv2d_matrix(np.array([[[[2**60 + 1]]]]), (1, 1)) @ np.array([1])).tolist() == [2**60 + 1]
    w = np.random.default_rng(0).integers(-(2**58), 2**58, (3, 2, 2, 3))
    x = np.random.default_rng(1).integers(-2, 3, (2, 4, 5))
    matrix = tg.conv2d_matrix(w, x.shape, padding=1)
    for m, v in ((matrix, x), (matrix.T, np.ones(matrix.shape[0], np.int16))):
        product = m @ v
        assert product.dtype == np.int64
        assert product.tolist() == (m.dense().astype(object) @ v.ravel().astype(object)).tolist()
    small = tg.conv2d_matrix(np.array([[[[3, -2]]]], np.int8), (1, 3)) @ np.array([5, 1, -4], np.int8)
    assert (small.dtype, small.tolist()) == (np.int8, [13, 11])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_floats_keep_the_dtype_of_the_product(dtype):
    product = FIG_9 @ np.arange(9).astype(dtype)
    assert product.dtype == np.result_type(FIG_9.data, dtype)
    assert product.tolist() == [27, 37, 57, 67]
    tiny = np.finfo(np.longdouble).eps
    exact = tg.conv2d_matrix([[[[1.0]]]], (1, 1)) @ np.array([1 + tiny], np.longdouble)
    assert exact[0] == 1 + tiny


def test_only_real_numbers_are_multiplied():
    for v in (np.ones(9, complex), np.array(["a"] * 9), np.array([None] * 9)):
        with pytest.raises(
            TypeError, match=rf"^ConvMatrix @ v: v is {v.dtype}; real numbers are needed: floats, integ"
        ):
            FIG_9 @ v


@given(st.data())
def test_entries_are_sorted_distinct_and_share_their_weights(data):
    draw = Draw.of(data)
    (x, w, *_), params = sample(tg.conv2d, draw)
    for m in (found := tg.conv2d_matrix(w, x.shape[1:], **params), found.T):
        places = m.rows * m.shape[1] + m.cols
        assert np.all(np.diff(places) > 0)
        assert np.array_equal(m.data, w.ravel()[m.which])
        assert m.counts == (m.shape[0] * m.shape[1], len(places), w.size)


def test_connections_are_cut_and_weights_shared_36_to_16_to_4():
    assert FIG_9.counts == (36, 16, 4)
    one, two, three, four = 1.0, 2.0, 3.0, 4.0
    assert FIG_9.dense().tolist() == [
        [one, two, 0, three, four, 0, 0, 0, 0],
        [0, one, two, 0, three, four, 0, 0, 0],
        [0, 0, 0, one, two, 0, three, four, 0],
        [0, 0, 0, 0, one, two, 0, three, four],
    ]
    assert FIG_9.dense().dtype == np.float32


@pytest.mark.parametrize("shape", [(3, 3), (1, 3, 3), [3, 3], (1, 1, 3, 3)])
def test_an_image_s_shape_may_leave_out_its_channels_and_hold_a_batch_of_one(shape):
    assert np.array_equal(tg.conv2d_matrix(FIG_9.weight, shape).dense(), FIG_9.dense())


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ShapeError, r"input_shape is \(2, 1, 3, 3\); the matrix is that of one image",
         lambda: tg.conv2d_matrix(FIG_9.weight, (2, 1, 3, 3))),
        (ShapeError, r"the weight has shape \(2, 2\), needs \(o, c/groups, kh, kw\)",
         lambda: tg.conv2d_matrix(np.ones((2, 2)), (3, 3))),
        (TypeError, r"input_shape is \(3, 2.5\); a tuple of ints", lambda: tg.conv2d_matrix(FIG_9.weight, (3, 2.5))),
        (ShapeError, "conv2d: kernel 2x2 exceeds the padded image 1x3", lambda: tg.conv2d_matrix(FIG_9.weight, (1, 3))),
        (ShapeError, r"v has 8 numbers, the matrix has 9 columns, one for each of x \(1, 3, 3\)",
         lambda: FIG_9 @ np.ones(8)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(error, words, call):
    with pytest.raises(error, match=words):
        call()


def test_the_table_shows_letters_and_is_cut_where_it_is_large():
    lines = str(FIG_9).splitlines()
    assert lines[1] == "  a b · c d · · · ·"
    assert str(FIG_9.T).splitlines()[0].startswith("conv2d transposed as a 9 x 4 matrix")
    large = str(tg.conv2d_matrix(np.ones((1, 3, 3, 3)), (9, 9))).splitlines()
    assert all(len(line) <= 3 * matrix_picture.WIDEST + 4 for line in large[1 : matrix_picture.WIDEST + 1])
    assert large[1].endswith(" …")
    assert large[-1] == "  … and 1 more weights"


@pytest.mark.parametrize("groups", [1, 2])
def test_the_picture_has_a_square_for_each_connection_in_its_weight_s_colour(groups):
    m = tg.conv2d_matrix(np.ones((2, 2 // groups, 2, 3)), (2, 4, 3), padding=(1, 0), groups=groups)
    root = ElementTree.fromstring(m.svg())
    n = m.weight.size
    squares = {
        path.get("fill"): path.get("d").count("M") for path in root.findall("{*}path") if path.get("fill") is not None
    }
    assert squares == {matrix_picture.colour(k, n): int(np.sum(m.which == k)) for k in range(n)}
    middle = root.find("{*}g[@text-anchor='middle']")
    assert [word.text for word in middle] == [m.letters()[k] for k in m.which]
    assert set(m.legend()) <= {word.text for word in root.iter("{http://www.w3.org/2000/svg}text")}
    assert m._repr_svg_() == m.svg()


def test_colours_differ_and_letters_are_legible_on_them():
    for n in (1, 2, 8, 9, 10, 27):
        colours = [matrix_picture.colour(k, n) for k in range(n)]
        assert len(set(colours)) == n
    assert matrix_picture.ink("#F0E442") == "#000000"
    assert matrix_picture.ink("#00204D") == "#FFFFFF"


# Machado, Oliveira & Fernandes, A physiologically-based model for simulation of color vision deficiency (2009),
# severity 1.0; for linear RGB.
DEFICIENCIES = {
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colour, deficiency):
    """CIE L*a*b* (D65) of a colour, as seen with the deficiency."""
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    value = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    value = np.clip(np.array(DEFICIENCIES[deficiency]) @ value, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ value / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_colours_of_up_to_nine_weights_differ_for_every_kind_of_colour_vision(deficiency):
    colours = [seen(matrix_picture.colour(k, 9), deficiency) for k in range(9)]
    pairs = {pair: np.linalg.norm(colours[pair[0]] - colours[pair[1]]) for pair in itertools.combinations(range(9), 2)}
    nearest = min(pairs, key=pairs.get)
    assert pairs[nearest] >= 12, (nearest, pairs[nearest])


def test_a_matrix_too_large_to_draw_says_so_and_shows_itself_as_text():
    m = tg.conv2d_matrix(np.ones((8, 8, 3, 3)), (16, 16), padding=1)
    assert len(m.data) > matrix_picture.MOST
    with pytest.raises(ValueError, match="more than 100000 are not drawn; use a smaller image"):
        m.svg()
    assert m._repr_svg_() is None
    assert repr(m) == f"<ConvMatrix 2048x2048, {len(m.data)} connections>"
