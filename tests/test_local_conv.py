"""Convolution with kernels of each place's own: conv2d place by place."""

import numpy as np
import pytest
from hypothesis import given

import tinygrad_cnn as tg
from tinygrad_cnn import ShapeError, Tensor, grad, nn
from tinygrad_cnn.geometry import conv2d_geometry
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.testing import gradcheck, gradgradcheck
from tinygrad_cnn.testing.strategies import conv_problems


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def integers(*shape, seed=0):
    """Small integers stored as floats: what is bilinear in them is exact."""
    return np.random.default_rng((seed, *shape)).integers(-4, 5, shape).astype(np.float64)


def local(problem):
    """(x, w, b, parameters without groups, the output's size) of a local convolution."""
    x, w, b, params = problem
    params = {name: value for name, value in params.items() if name != "groups"}
    x, w = integers(*x.shape), integers(w.shape[0], x.shape[1], *w.shape[2:])
    out = conv2d_geometry(x.shape, w.shape, **params).out
    return x, integers(*out, *w.shape, seed=1), None if b is None else integers(w.shape[0], *out), params, out


@given(problem=conv_problems())
def test_each_place_is_that_of_a_convolution_with_its_kernels(problem):
    x, w, b, params, out = local(problem)
    y = np.asarray(F.local_conv2d(x, w, b, **params))
    for i, j in np.ndindex(*out):
        there = np.asarray(F.conv2d(x, w[i, j], None, **params))[:, :, i, j]
        np.testing.assert_array_equal(y[:, :, i, j], there if b is None else there + b[:, i, j])


@given(problem=conv_problems())
def test_the_gradients_are_the_adjoints(problem):
    x, w, b, params, _ = local(problem)
    leaves = [Tensor(a, requires_grad=True) for a in (x, w, b) if a is not None]
    y = F.local_conv2d(*leaves, **params)
    g = integers(*y.shape, seed=2)
    for d, v in zip(grad(y, leaves, g), leaves, strict=True):
        u = integers(*v.shape, seed=3)
        moved = F.local_conv2d(*[Tensor(t.array + u) if t is v else t.detach() for t in leaves], **params)
        assert np.sum(g * (moved.numpy() - y.numpy())) == np.sum(d.numpy() * u)  # integers: to the last bit


def test_equal_kernels_are_a_convolution_and_its_gradient_is_their_sum():
    x, w = integers(2, 3, 6, 5), integers(4, 3, 3, 2)
    shared = Tensor(w, requires_grad=True)
    y = F.conv2d(x, shared, None, 2, 1)
    everywhere = Tensor(np.broadcast_to(w, (*y.shape[2:], *w.shape)), requires_grad=True)
    z = F.local_conv2d(x, everywhere, None, 2, 1)
    np.testing.assert_array_equal(z.numpy(), y.numpy())
    g = integers(*y.shape)
    np.testing.assert_array_equal(grad(z, everywhere, g)[0].numpy().sum((0, 1)), grad(y, shared, g)[0].numpy())


def test_it_has_gradients_of_second_order():
    leaves = [Tensor(numbers(*s), requires_grad=True) for s in ((2, 2, 4, 5), (2, 2, 3, 2, 3, 2), (3, 2, 2))]
    assert gradcheck(lambda x, w, b: tg.local_conv2d(x, w, b, 2, ((1, 0), (0, 0))), leaves)
    assert gradgradcheck(lambda x, w, b: tg.local_conv2d(x, w, b, 2, ((1, 0), (0, 0))), leaves)


def test_H70_H60_a_single_image_and_none():
    x, w, b = integers(2, 3, 4, 5), integers(2, 2, 2, 3, 3, 4), integers(2, 2, 2)
    y = np.asarray(F.local_conv2d(x, w, b))
    np.testing.assert_array_equal(np.asarray(F.local_conv2d(x[1], w, b)), y[1])
    leaf = Tensor(w, requires_grad=True)
    empty = F.local_conv2d(x[:0], leaf, b)
    assert empty.shape == (0, 2, 2, 2)
    np.testing.assert_array_equal(grad(empty, leaf, np.zeros(empty.shape))[0].numpy(), np.zeros(w.shape))


def test_H72_a_nan_is_seen_by_its_windows_alone():
    x = integers(1, 1, 3, 5)
    x[0, 0, 0, 1] = np.nan
    seen = np.isnan(np.asarray(F.local_conv2d(x, np.ones((2, 4, 1, 1, 2, 2)))))
    assert seen[0, 0].tolist() == [[True, True, False, False], [False] * 4]


X, W = np.ones((1, 3, 4, 5)), np.ones((2, 2, 2, 3, 3, 4))
REFUSED = {
    "axes": (lambda: F.local_conv2d(X[0, 0], W), ShapeError, r"^local_conv2d: the input has shape \(4, 5\)"),
    "weight": (lambda: F.local_conv2d(X, W[0, 0]), ShapeError, r"\(n, c, h, w\) and \(oh, ow, o, c, kh, kw\) are"),
    "channels": (
        lambda: F.local_conv2d(X[:, :2], W),
        ShapeError,
        r"x has 2 channels, w wants 3 .*make w \(2, 2, 2, 2,",
    ),
    "places": (
        lambda: F.local_conv2d(X, W[:1]),
        ShapeError,
        r"kernels for 1x2 places, the image has 2x2 windows \(x is \(1, 3, 4, 5\)\); make w \(2, 2, 2, 3, 3, 4\)",
    ),
    "kernel": (lambda: F.local_conv2d(X[:, :, :2], W), ShapeError, "^local_conv2d: kernel 3x4 exceeds"),
    "stride": (lambda: F.local_conv2d(X, W, None, 0), ShapeError, "^local_conv2d: stride is .0, 0., needs at"),
    "padding": (lambda: F.local_conv2d(X, W, None, 1, "some"), ShapeError, "^local_conv2d: padding is 'some'; the"),
    "bias": (lambda: F.local_conv2d(X, W, W[0, 0, 0, 0, 0]), ShapeError, r"bias has shape \(4,\); .* output, \(2, 2"),
    "bool": (lambda: F.local_conv2d(X > 0, W), TypeError, "^local_conv2d: the image is bool; convert it first"),
    "H73 dtypes": (
        lambda: F.local_conv2d(X, W.astype(np.float32)),
        TypeError,
        r"dtypes \(input float64, weight float32\); it needs one",
    ),
    "layer": (lambda: nn.LocalConv2d(1, 1, (3, 2), 3), ShapeError, "^LocalConv2d: kernel 3x3 exceeds"),
    "layer size": (lambda: nn.LocalConv2d(1, 1, 0, 3), ShapeError, "^LocalConv2d: in_size is .0, 0., needs"),
    "image of another size": (
        lambda: nn.LocalConv2d(1, 1, 4, 3)(Tensor(np.ones((1, 1, 5, 4), np.float32))),
        ShapeError,
        "kernels for 2x2 places",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_layer_has_kernels_and_a_bias_for_each_place():
    layer = nn.LocalConv2d(3, 2, (6, 5), (3, 2), (2, 1), "same", dtype=np.float64, generator=np.random.default_rng(0))
    assert (layer.weight.shape, layer.bias.shape) == ((3, 5, 2, 3, 3, 2), (2, 3, 5))
    assert list(layer.state_dict()) == ["weight", "bias"]
    bound = 1 / np.sqrt(3 * 3 * 2)
    for parameter in layer.parameters():
        assert 0.9 * bound < np.abs(parameter.numpy()).max() <= bound
    x = Tensor(integers(2, 3, 6, 5))
    wanted = F.local_conv2d(x, layer.weight, layer.bias, (2, 1), "same")
    np.testing.assert_array_equal(layer(x).numpy(), wanted.numpy())
    assert repr(layer) == ("LocalConv2d(3, 2, in_size=(6, 5), kernel_size=(3, 2), stride=(2, 1), padding=same)")
    other = nn.LocalConv2d(1, 1, 4, 2, padding=1, dilation=2, bias=False)
    assert repr(other) == (
        "LocalConv2d(1, 1, in_size=(4, 4), kernel_size=(2, 2), stride=(1, 1), padding=(1, 1), "
        "dilation=(2, 2), bias=False)"
    )
    assert other(Tensor(np.ones((1, 4, 4), np.float32))).shape == (1, 4, 4)


def test_a_layer_learns_what_no_shared_kernel_can():
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(64, 1, 4, 4)).astype(np.float32))
    places = Tensor(rng.normal(size=(4, 4)).astype(np.float32))  # another factor at each place
    errors = []
    for layer in (nn.LocalConv2d(1, 1, 4, 1, generator=rng), nn.Conv2d(1, 1, 1, generator=rng)):
        optimizer = tg.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(200):
            optimizer.zero_grad()
            loss = F.mse_loss(layer(x), x * places)
            loss.backward()
            optimizer.step()
        errors.append(loss.item())
    assert errors[0] < 1e-4 < 0.1 < errors[1]
