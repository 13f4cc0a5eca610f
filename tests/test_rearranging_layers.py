"""Layers that pad, cut windows, move pixels and resize: their functions with the parameters that they were given."""

import numpy as np
import pytest

from tinygrad_cnn import ShapeError, Tensor, nn
from tinygrad_cnn.nn import functional as F


def image(*shape):
    return Tensor(np.arange(float(np.prod(shape))).reshape(shape), requires_grad=True)


MODES = {"Reflection": "reflect", "Replication": "edge", "Circular": "wrap"}


@pytest.mark.parametrize("kind", ["Zero", "Constant", *MODES])
@pytest.mark.parametrize("padding", [1, (2, 1), (0, 2), (1, -1)])
def test_a_line_is_continued_as_numpy_continues_it(kind, padding):
    args = (padding, 2.5) if kind == "Constant" else (padding,)
    x = image(2, 3, 4)
    y = getattr(nn, f"{kind}Pad1d")(*args)(x)
    left, right = (padding, padding) if isinstance(padding, int) else padding
    cropped = x.numpy()[..., : x.shape[-1] + min(right, 0)]
    how = {"mode": MODES[kind]} if kind in MODES else {"constant_values": 2.5 * (kind == "Constant")}
    wanted = np.pad(cropped, ((0, 0), (0, 0), (left, max(right, 0))), **how)
    np.testing.assert_array_equal(y.numpy(), wanted)
    np.testing.assert_array_equal(getattr(nn, f"{kind}Pad1d")(*args)(x[1]).numpy(), wanted[1])


@pytest.mark.parametrize("kind", ["Zero", "Constant", *MODES])
@pytest.mark.parametrize("padding", [2, (2, 1, 0, 3), (0, 2, 1, 0)])
def test_an_image_is_continued_as_numpy_continues_it(kind, padding):
    args = (padding, -1.5) if kind == "Constant" else (padding,)
    x = image(2, 3, 4, 5)
    y = getattr(nn, f"{kind}Pad2d")(*args)(x)
    left, right, top, bottom = (padding,) * 4 if isinstance(padding, int) else padding
    how = {"mode": MODES[kind]} if kind in MODES else {"constant_values": -1.5 * (kind == "Constant")}
    wanted = np.pad(x.numpy(), ((0, 0), (0, 0), (top, bottom), (left, right)), **how)
    np.testing.assert_array_equal(y.numpy(), wanted)
    y.sum().backward()
    assert x.grad.numpy().sum() == (x.numel() if kind in ("Zero", "Constant") else y.numel())


REFUSED = {
    "numbers": (
        lambda: nn.ZeroPad2d((1, 2)),
        ShapeError,
        r"ZeroPad2d: padding is \(1, 2\) with 2 numbers, needs an int or 4 ints \(left, right, top, bottom\)",
    ),
    "line": (
        lambda: nn.CircularPad1d((1, 2, 3)),
        ShapeError,
        r"CircularPad1d: .* needs an int or 2 ints \(left, right\)",
    ),
    "kind": (
        lambda: nn.ReflectionPad1d(1.5),
        TypeError,
        r"ReflectionPad1d: padding is 1.5 \(float\), needs an int or 2",
    ),
    "axes": (
        lambda: nn.ZeroPad2d(1)(image(4, 5)),
        ShapeError,
        r"ZeroPad2d: x has 2 axes, shape \(4, 5\), needs \(n, c, h, w\) or \(c, h, w\)",
    ),
    "axes of lines": (lambda: nn.ZeroPad1d(1)(image(5)), ShapeError, r"needs \(n, c, length\) or \(c, length\)"),
    "reflected too far": (
        lambda: nn.ReflectionPad1d(4)(image(1, 4)),
        ShapeError,
        "mode 'reflect' for an axis of length 4",
    ),
    "round too far": (lambda: nn.CircularPad1d(5)(image(1, 4)), ShapeError, "mode 'circular' for an axis of length 4"),
    "no size": (nn.Upsample, ValueError, "Upsample: size=None and scale_factor=None; give one of them"),
    "two sizes": (
        lambda: nn.UpsamplingNearest2d(2, 2),
        ValueError,
        "UpsamplingNearest2d: size=2 and scale_factor=2; give",
    ),
    "named axis": (lambda: nn.Unflatten("c", (2, 3)), TypeError, "Unflatten: dim is 'c'"),
    "one size": (lambda: nn.Unflatten(1, 6), TypeError, "Unflatten: unflattened_size is 6"),
    "other sizes": (
        lambda: nn.Unflatten(1, (2, 4))(image(1, 6)),
        ShapeError,
        "unflatten: sizes .2, 4. for axis 1 of length 6",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


LAYERS = {
    "Unfold": (nn.Unfold((2, 3), (1, 2), 1, 2), lambda x: F.unfold(x, (2, 3), (1, 2), 1, 2)),
    "PixelShuffle": (nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), lambda x: F.pixel_unshuffle(x, 2)),
    "Upsample": (nn.Upsample((5, 7), mode="bicubic"), lambda x: F.interpolate(x, (5, 7), mode="bicubic")),
    "Upsample by": (
        nn.Upsample(None, 2.5, "bilinear", True, True),
        lambda x: F.interpolate(x, None, 2.5, "bilinear", True, True),
    ),
    "UpsamplingNearest2d": (nn.UpsamplingNearest2d(scale_factor=3), lambda x: F.interpolate(x, None, 3.0)),
    "UpsamplingBilinear2d": (
        nn.UpsamplingBilinear2d((7, 9)),
        lambda x: F.interpolate(x, (7, 9), None, "bilinear", True),
    ),
    "Unflatten": (nn.Unflatten(1, (2, -1)), lambda x: x.reshape(2, 2, 2, 6, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function_with_all_its_parameters(name):
    layer, function = LAYERS[name]
    x = image(2, 4, 6, 4)
    np.testing.assert_array_equal(layer(x).numpy(), function(x).numpy())


def test_fold_after_unfold_counts_the_windows_of_each_pixel():
    params = ((3, 2), 1, (1, 0), (2, 1))
    x = image(2, 3, 5, 6)
    counts = nn.Fold((5, 6), *params)(nn.Unfold(*params)(Tensor(np.ones(x.shape)))).numpy()
    assert counts.min() >= 1
    assert counts.max() > 1
    np.testing.assert_array_equal(nn.Fold((5, 6), *params)(nn.Unfold(*params)(x)).numpy(), x.numpy() * counts)


def test_pixels_come_back_from_where_they_were_shuffled_to():
    x = image(2, 4, 3, 5)
    np.testing.assert_array_equal(nn.PixelUnshuffle(2)(nn.PixelShuffle(2)(x)).numpy(), x.numpy())
