"""Convolution along one axis: what conv2d does on images of height 1, said of lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import conv2d as loop_conv2d
from oracles import conv_transpose2d as loop_conv_transpose2d

import tinygrad_cnn as tg
from tinygrad_cnn import ShapeError, Tensor, grad, nn
from tinygrad_cnn.geometry import conv2d_geometry
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing import gradcheck, gradgradcheck

sides = st.integers(1, 4)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def integers(*shape, seed=0):
    """Small integers stored as floats: what is bilinear in them is exact."""
    return np.random.default_rng((seed, *shape)).integers(-4, 5, shape).astype(np.float64)


def leaf(array):
    return Tensor(array, requires_grad=True)


@st.composite
def line_problems(draw):
    groups, k = draw(st.sampled_from([1, 1, 2, 3])), draw(sides)
    stride, dilation = draw(sides), draw(st.integers(1, 3))
    padding = draw(st.sampled_from([0, 1, (2,), ((1, 0),), ((0, 3),), "same", "same_lower", "full", "valid"]))
    length = dilation * (k - 1) + 1 + draw(st.integers(0, 5))
    x = integers(draw(st.integers(1, 3)), groups * draw(sides), length, seed=draw(st.integers(0, 99)))
    w = integers(groups * draw(st.integers(1, 2)), x.shape[1] // groups, k, seed=1)
    return x, w, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@given(problem=line_problems(), with_bias=st.booleans())
def test_conv1d_is_the_loop_over_places_and_its_gradients_its_adjoints(problem, with_bias):
    x, w, params = problem
    b = integers(w.shape[0]) if with_bias else None
    leaves = [leaf(a) for a in (x, w, b) if a is not None]
    y = F.conv1d(*leaves, **params)
    pads = params["padding"]
    if not isinstance(pads, str):
        pads = pads[0] if isinstance(pads, tuple) else pads
        pads = ((0, 0), (pads, pads) if isinstance(pads, int) else pads)
    at = conv2d_geometry(
        (*x.shape[:2], 1, x.shape[2]), (*w.shape[:2], 1, w.shape[2]), (1, params["stride"]), pads,
        (1, params["dilation"]), params["groups"],
    )  # fmt: skip
    wanted = loop_conv2d(x[:, :, None], w[:, :, None], b, at.stride, at.padding, at.dilation, at.groups)[:, :, 0]
    np.testing.assert_array_equal(y.numpy(), wanted)
    g = integers(*y.shape, seed=5)
    for d, x_of in zip(grad(y, leaves, g), leaves, strict=True):
        u = integers(*x_of.shape, seed=6)
        moved = F.conv1d(*[Tensor(v.array + u) if v is x_of else v.detach() for v in leaves], **params)
        assert np.sum(g * (moved.numpy() - y.numpy())) == np.sum(d.numpy() * u)  # integers: to the last bit


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "extra"), [(1, 0, 0), (3, (1,), 2), (2, ((2, 0),), 1)])
def test_conv_transpose1d_is_the_loop_over_places(stride, padding, extra, dilation):
    x, w, b = integers(2, 4, 5), integers(4, 3, 3), integers(6)
    pads = {0: (0, 0), (1,): (1, 1)}.get(padding, (2, 0))
    wanted = loop_conv_transpose2d(
        x[:, :, None], w[:, :, None], b, (1, stride), ((0, 0), pads), (0, extra), 2, (1, dilation)
    )
    y = F.conv_transpose1d(x, w, b, stride, padding, extra, 2, dilation)
    np.testing.assert_array_equal(np.asarray(y), wanted[:, :, 0])


def test_conv_transpose1d_is_the_gradient_of_conv1d_in_its_input():
    x, w = leaf(integers(2, 3, 7)), integers(4, 3, 2)
    y = F.conv1d(x, w, None, 2, 1)
    g = integers(*y.shape)
    np.testing.assert_array_equal(grad(y, x, g)[0].numpy(), np.asarray(F.conv_transpose1d(g, w, None, 2, 1, 1)))


def test_lines_have_gradients_of_second_order():
    x, w, b = (leaf(numbers(*shape)) for shape in ((2, 4, 6), (2, 2, 3), (2,)))
    assert gradcheck(lambda x, w, b: tg.conv1d(x, w, b, 2, 1, 1, 2), (x, w, b))
    assert gradgradcheck(lambda x, w, b: tg.conv1d(x, w, b, 2, 1, 1, 2), (x, w, b))
    assert gradgradcheck(lambda x, w: tg.conv_transpose1d(x, w, None, 2, 1, 1), (x, leaf(numbers(4, 3, 2))))


def test_H70_a_single_line_comes_back_without_the_batch_axis():
    x, w = integers(3, 8), integers(3, 3, 2)
    np.testing.assert_array_equal(np.asarray(F.conv1d(x, w)), np.asarray(F.conv1d(x[None], w))[0])
    np.testing.assert_array_equal(np.asarray(F.conv_transpose1d(x, w)), np.asarray(F.conv_transpose1d(x[None], w))[0])


def test_H60_a_batch_of_no_lines():
    x, w = leaf(np.zeros((0, 2, 5))), leaf(numbers(3, 2, 2))
    y = F.conv1d(x, w)
    assert y.shape == (0, 3, 4)
    dx, dw = grad(y, [x, w], np.zeros(y.shape))
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw.numpy(), np.zeros(w.shape))


def test_H72_a_nan_is_seen_by_its_windows_alone():
    x = integers(1, 1, 8)
    x[0, 0, 3] = np.nan
    seen = np.isnan(np.asarray(F.conv1d(x, np.array([[[1.0, 0.0, 2.0]]]))))
    np.testing.assert_array_equal(seen[0, 0], [0, 1, 1, 1, 0, 0])


def test_H77_a_kernel_is_turned_only_where_flip_asks_for_it():
    x, w = np.array([[[1.0, 0, 0, 0, 0]]]), np.array([[[1.0, 2, 3]]])
    np.testing.assert_array_equal(np.asarray(F.conv1d(x, w, padding=2))[0, 0], [3, 2, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(np.asarray(F.conv1d(x, w, padding=2, flip=True))[0, 0], [1, 2, 3, 0, 0, 0, 0])
    a, v = integers(9), integers(4)
    ours = np.asarray(F.conv1d(a[None, None], v[None, None], padding="full", flip=True))[0, 0]
    np.testing.assert_array_equal(ours, np.convolve(a, v))


def test_H74_integers_stay_exact():
    x = np.array([[[2**60, 1, -(2**60)]]])
    assert np.asarray(F.conv1d(x, np.array([[[1, 1, 1]]]))).tolist() == [[[1]]]


X, W = np.ones((2, 4, 5)), np.ones((4, 2, 3))
REFUSED = {
    "axes": (lambda: F.conv1d(X[None], W), ShapeError, r"^conv1d: the input has 4 axes, shape \(1, 2, 4, 5\), needs"),
    "weight": (
        lambda: F.conv1d(X, W[0]),
        ShapeError,
        r"^conv1d: the weight has 2 axes, shape \(2, 3\), needs 3: \(o, c/",
    ),
    "channels": (lambda: F.conv1d(X, W), ShapeError, "^conv1d, as conv2d of height 1: x has 4 channels, w wants 2"),
    "kernel": (
        lambda: F.conv1d(X, np.ones((1, 4, 6))),
        ShapeError,
        "^conv1d, as conv2d of height 1: kernel 1x6 exceeds",
    ),
    "bias": (lambda: F.conv1d(X, W, W[0, 0], groups=2), ShapeError, r"height 1: the bias has shape \(3,\)"),
    "bool": (lambda: F.conv1d(X > 0, W > 0), TypeError, "^conv1d, as conv2d of height 1: the image is bool"),
    "dtypes": (lambda: F.conv1d(X, W.astype("f4"), groups=2), TypeError, "^conv1d, as conv2d of height 1: its inputs"),
    "huge": (
        lambda: F.conv1d(X, W, None, 1, 2**60, groups=2),
        MemoryError,
        "^conv1d, as conv2d of height 1: the padded",
    ),
    "stride 0": (lambda: F.conv1d(X, W, None, 0), ShapeError, "^conv1d: stride is 0, needs at least 1; use stride=1"),
    "stride": (
        lambda: F.conv1d(X, W, None, (1, 2)),
        ShapeError,
        r"^conv1d: stride is \(1, 2\) with 2 numbers, needs one",
    ),
    "kind": (lambda: F.conv1d(X, W, None, 1.0), TypeError, r"^conv1d: stride is 1.0 \(float\), needs an int"),
    "dilation": (lambda: F.conv1d(X, W, dilation=0), ShapeError, "^conv1d: dilation is 0, needs at least 1"),
    "padding": (lambda: F.conv1d(X, W, None, 1, -1), ShapeError, "^conv1d: padding is -1, needs at least 0"),
    "paddings": (lambda: F.conv1d(X, W, None, 1, (1, 2)), ShapeError, r"padding is \(1, 2\), needs an int, \(p,\) or"),
    "sides": (
        lambda: F.conv1d(X, W, None, 1, ((1, -2),)),
        ShapeError,
        r"padding is \(1, -2\), needs at least 0 on both",
    ),
    "name": (lambda: F.conv1d(X, W, None, 1, "some"), ShapeError, "^conv1d: padding is 'some'; the names are 'valid'"),
    "strict": (lambda: F.conv1d(X, W, None, 4, groups=2, strict=True), ShapeError, "the last 2 of 5 columns are never"),
    "transposed name": (
        lambda: F.conv_transpose1d(X, W, padding="same"),
        ShapeError,
        "^conv_transpose1d: padding is 'same', needs numbers",
    ),
    "transposed": (
        lambda: F.conv_transpose1d(X, W, padding=4),
        ShapeError,
        "^conv_transpose1d, as conv_transpose2d of height 1: nothing",
    ),
    "output_padding": (
        lambda: F.conv_transpose1d(X, W, None, 2, 0, 2),
        ShapeError,
        "output_padding .0, 2. must be smaller than stride",
    ),
    "transposed weight": (
        lambda: F.conv_transpose1d(X, W[0]),
        ShapeError,
        r"^conv_transpose1d: the weight has 2 axes, shape \(2, 3\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_H63_H64_what_does_not_fit_is_refused_in_the_words_of_lines(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


# Layers


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2,), ((1, 2),), "same", "same_lower", "full"])
def test_a_padded_layer_is_the_layer_of_the_padded_line(mode, padding):
    layer = nn.Conv1d(3, 2, 3, 2, padding, padding_mode=mode, dtype=np.float64)
    x = Tensor(integers(2, 3, 7))
    sides = {1: (1, 1), (2,): (2, 2), ((1, 2),): (1, 2), "same": (1, 1), "same_lower": (1, 1), "full": (2, 2)}[padding]
    moved = F.pad(x, sides, mode="constant" if mode == "zeros" else mode)
    wanted = F.conv1d(moved, layer.weight, layer.bias, 2)
    np.testing.assert_array_equal(layer(x).numpy(), wanted.numpy())
    np.testing.assert_array_equal(layer(x[1]).numpy(), layer(x).numpy()[1])


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            nn.Conv1d(2, 4, 3, padding=1, groups=2),
            "Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=(1,), groups=2)",
        ),
        (
            nn.Conv1d(1, 1, 2, 2, dilation=2, bias=False),
            "Conv1d(1, 1, kernel_size=(2,), stride=(2,), dilation=(2,), bias=False)",
        ),
        (
            nn.ConvTranspose1d(2, 3, 3, 2, 1, 1),
            "ConvTranspose1d(2, 3, kernel_size=(3,), stride=(2,), padding=(1,), output_padding=(1,))",
        ),
    ],
)
def test_the_repr_of_a_layer_of_lines_is_pytorchs(layer, text):
    assert repr(layer) == text


def test_a_layer_of_lines_refuses_what_it_cannot_use():
    with pytest.raises(ShapeError, match=r"Conv1d: kernel_size is \(3, 3\) with 2 numbers, needs one"):
        nn.Conv1d(1, 1, (3, 3))
    with pytest.raises(ShapeError, match="Conv1d: groups=2 does not divide in_channels=3"):
        nn.Conv1d(3, 2, 1, groups=2)
    with pytest.raises(ValueError, match="ConvTranspose1d: padding_mode='reflect'; it can be zeros"):
        nn.ConvTranspose1d(3, 2, 1, padding_mode="reflect")
    with pytest.raises(ShapeError, match=r"Conv1d: x has 4 axes, shape \(1, 1, 1, 9\); it needs 3"):
        nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")(Tensor(np.ones((1, 1, 1, 9))))


def test_a_layer_of_lines_learns_a_kernel():
    rng = np.random.default_rng(0)
    layer = nn.Conv1d(1, 1, 3, generator=rng)
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.3)
    x = Tensor(rng.normal(size=(8, 1, 12)).astype(np.float32))
    wanted = F.conv1d(x, Tensor(np.array([[[1, -2, 0.5]]], np.float32)))
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(layer(x), wanted).backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.numpy(), [[[1, -2, 0.5]]], atol=1e-3)


def test_a_layer_keeps_its_padding_when_the_list_that_it_was_given_changes():
    widths = [[np.int64(1), 2], [0, 1]]
    layer, line = nn.Conv2d(1, 1, 3, padding=widths), nn.Conv1d(1, 1, 3, padding=[np.int64(1)])
    widths[0][0] = 7
    assert (layer.padding, line.padding) == (((1, 2), (0, 1)), (1,))
    assert "padding=((1, 2), (0, 1))" in repr(layer)
    assert repr(nn.Conv2d(1, 1, 3, padding=np.int64(1))) == repr(nn.Conv2d(1, 1, 3, padding=1))
