"""Convolution and pooling of lines, pools of other kinds, padding and their layers, as PyTorch has them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import torch_problems as problems  # noqa: E402
from torch_problems import agree, fails, grid, modules_agree  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402


def rows(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the first of two axes."""
    return {name: value[0] if isinstance(value, tuple) else value for name, value in params.items()}


# Convolution of lines


@given(problem=problems.convolutions())
def test_conv1d(problem: Any) -> None:
    x, w, b, params = problem
    x, w, params = x[..., 0], w[..., 0], rows(params)
    if b is None:
        agree(lambda m, x, w: m.F.conv1d(x[0], w, **params), x, w, order=1)
    else:
        order = tuple(params[name] for name in ("stride", "padding", "dilation", "groups"))
        agree(lambda m, x, w, b: m.conv1d(x, w, b, *order), x, w, b, order=1)


@given(problem=problems.transposed_convolutions())
def test_conv_transpose1d(problem: Any) -> None:
    x, w, b, params = problem
    x, w, params = x[..., 0], w[..., 0], rows(params)
    if b is None:
        agree(lambda m, x, w: m.F.conv_transpose1d(x[0], w, **params), x, w, order=1)
    else:
        order = tuple(params[name] for name in ("stride", "padding", "output_padding", "groups", "dilation"))
        agree(lambda m, x, w, b: m.conv_transpose1d(x, w, b, *order), x, w, b, order=1)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("padding", ["same", "valid", (1,)])
def test_conv1d_with_a_name_for_its_padding(padding: Any) -> None:
    for k, d in ((3, 1), (2, 1), (3, 2), (1, 1)):
        agree(
            lambda m, x, w, d=d: m.F.conv1d(x, w, None, 1, padding, (d,)), grid(0, 2, 3, 7), grid(1, 4, 3, k), order=1
        )


CONVOLUTIONS: dict[str, Any] = {
    "Conv1d": (lambda m: m.nn.Conv1d(4, 6, 3), (2, 4, 7)),
    "Conv1d by position": (lambda m: m.nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), (2, 4, 7)),
    "Conv1d unbatched": (lambda m: m.nn.Conv1d(4, 2, (2,), (2,), (1,), padding_mode="reflect"), (4, 5)),
    "Conv1d same": (lambda m: m.nn.Conv1d(2, 3, 4, padding="same"), (3, 2, 6)),
    "Conv1d same circular": (lambda m: m.nn.Conv1d(2, 3, 4, padding="same", padding_mode="circular"), (3, 2, 6)),
    "Conv1d replicate": (lambda m: m.nn.Conv1d(2, 3, 4, 3, 2, padding_mode="replicate"), (3, 2, 6)),
    "ConvTranspose1d": (lambda m: m.nn.ConvTranspose1d(4, 6, 3), (2, 4, 5)),
    "ConvTranspose1d by position": (lambda m: m.nn.ConvTranspose1d(4, 6, 3, 3, 2, 1, 2, False, 2), (2, 4, 5)),
    "ConvTranspose1d unbatched": (lambda m: m.nn.ConvTranspose1d(4, 6, (3,), (2,), output_padding=(1,)), (4, 5)),
    "Conv2d reflect": (lambda m: m.nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 2), padding_mode="reflect"), (2, 2, 5, 6)),
    "Conv2d circular": (lambda m: m.nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode="circular"), (2, 2, 5, 6)),
    "Conv2d replicate": (lambda m: m.nn.Conv2d(2, 3, 3, padding=2, padding_mode="replicate"), (2, 5, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_layers_of_convolution(name: str) -> None:
    make, shape = CONVOLUTIONS[name]
    ours, theirs = modules_agree(make, grid(7, *shape))
    assert repr(ours) == repr(theirs)


def test_a_layer_of_lines_starts_as_wide_as_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = tg.nn.Conv1d(5, 4000, 10, generator=np.random.default_rng(0)), torch.nn.Conv1d(5, 4000, 10)
    for name in ("weight", "bias"):
        drawn, reference = (problems.values(getattr(layer, name)) for layer in (ours, theirs))
        assert np.abs(drawn).max() <= 1 / np.sqrt(50)
        assert drawn.std() == pytest.approx(reference.std(), rel=0.05)


LINE_FAULTS: dict[str, Any] = {
    "4 axes": lambda m, x, w: m.F.conv1d(x[None], w),
    "a kernel beyond the line": lambda m, x, w: m.F.conv1d(x[..., :2], w),
    "stride 0": lambda m, x, w: m.F.conv1d(x, w, None, 0),
    "two strides": lambda m, x, w: m.F.conv1d(x, w, None, (1, 2)),
    "other channels": lambda m, x, w: m.F.conv1d(x, w, groups=3),
    "nothing left": lambda m, x, w: m.F.conv_transpose1d(x, w, padding=9),
    "output_padding": lambda m, x, w: m.F.conv_transpose1d(x, w, None, 2, 0, 2),
}


@pytest.mark.parametrize("name", LINE_FAULTS)
def test_H63_H64_both_refuse_lines_that_do_not_fit(name: str) -> None:
    fails(LINE_FAULTS[name], grid(0, 2, 3, 6), grid(1, 3, 3, 3))


# Pools with indices and back


@given(problem=problems.poolings(dilated=True))
def test_H88_indices_of_maxima(problem: Any) -> None:
    x, params = problem
    agree(lambda m, x: m.F.max_pool2d(x, **params, return_indices=True)[0], x, order=1)
    agree(lambda m, x: m.F.max_pool2d(x, **params, return_indices=True)[1], x, order=0)
    line = x[..., 0]
    agree(lambda m, x: m.F.max_pool1d(x, **rows(params), return_indices=True)[1], line, order=0)
    order = tuple(rows(params)[name] for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
    agree(lambda m, x: m.F.max_pool1d(x, *order), line, order=1)


@given(problem=problems.poolings(dilated=False))
def test_means_of_lines(problem: Any) -> None:
    x, params = problem
    del params["divisor_override"]
    agree(lambda m, x: m.F.avg_pool1d(x, **rows(params)), x[..., 0], order=1)
    order = tuple(rows(params)[name] for name in ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"))
    agree(lambda m, x: m.F.avg_pool1d(x[0], *order), x[..., 0], order=1)


@pytest.mark.parametrize("stride", [3, (3, 4)])
def test_unpooling_of_windows_that_do_not_overlap(stride: Any) -> None:
    x = grid(0, 2, 3, 9, 11)

    def back(m: Any, x: Any, **params: Any) -> Any:
        y, cells = m.F.max_pool2d(x, (3, 2), stride, 1, return_indices=True)
        return m.F.max_unpool2d(y, cells, (3, 2), stride, 1, **params)

    def line(m: Any, x: Any, **params: Any) -> Any:
        y, cells = m.F.max_pool1d(x, 2, 3, return_indices=True)
        return m.F.max_unpool1d(y, cells, 2, 3, **params)

    agree(lambda m, x: back(m, x, output_size=(2, 3, 9, 11)), x)
    agree(lambda m, x: back(m, x, output_size=[9, 11]), x, order=1)
    agree(lambda m, x: back(m, x[0], output_size=(9, 11)), x, order=1)
    agree(lambda m, x: back(m, x), x[..., :7, : 6 if stride == 3 else 4], order=1)
    agree(lambda m, x: line(m, x), x[0, :, :, :8])
    agree(lambda m, x: line(m, x, output_size=(9,)), x[0, ..., :9])


# Pools to a size, and of powers


@given(x=problems.arrays(min_dims=4, max_dims=4), out=problems.pairs, keep=problems.sides)
def test_pools_to_a_size(x: Any, out: tuple[int, int], keep: int) -> None:
    size = (None, out[1]) if keep == 1 else (out[0], None) if keep == 2 else out[0] if keep == 3 else out
    agree(lambda m, x: m.F.adaptive_avg_pool2d(x, size), x)
    agree(lambda m, x: m.F.adaptive_max_pool2d(x, size), x)
    agree(lambda m, x: m.F.adaptive_max_pool2d(x[0], size, return_indices=True)[1], x, order=0)
    agree(lambda m, x: m.F.adaptive_avg_pool1d(x[0], out[0]), x, order=1)
    agree(lambda m, x: m.F.adaptive_max_pool1d(x[0, 0], (out[1],), True)[0], x, order=1)
    agree(lambda m, x: m.F.adaptive_max_pool1d(x[0], out[1], True)[1], x, order=0)


@given(problem=problems.poolings(dilated=False))
def test_pools_of_powers_negative_numbers_and_zeros_among_them(problem: Any) -> None:
    x, params = problem
    args = params["kernel_size"], params["stride"], params["ceil_mode"]
    x = np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 3)))  # without padding a kernel may not fit
    line = args[0][0], args[1] and rows(params)["stride"], args[2]
    for p in (1, 2, 4):
        agree(lambda m, x, p=p: m.F.lp_pool2d(x, p, *args), x, order=0)
        agree(lambda m, x, p=p: m.F.lp_pool1d(x[0], p, *line), x, order=0)
        agree(lambda m, x, p=p: m.F.lp_pool2d(x, p, *args), np.abs(x) + 0.5, order=1)
    agree(lambda m, x: m.F.lp_pool2d(x, 2, *args), x, order=1)
    for p in (3, 1.5, 0.5):
        agree(lambda m, x, p=p: m.F.lp_pool2d(x, p, *args), np.abs(x), order=0)
        agree(lambda m, x, p=p: m.F.lp_pool2d(x, p, *args), np.abs(x) + 0.5, tolerance=1e-9, order=1)


def test_a_root_of_a_negative_number_is_nan_in_both() -> None:
    agree(lambda m, x: m.F.lp_pool1d(x, 3, 2), np.array([[1.0, -2, 3, 1]]), order=0)
    agree(lambda m, x: m.F.lp_pool1d(x, 2, 2), np.array([[0.0, 0, 3, 1]]), order=1)


LAYERS: dict[str, Any] = {
    "MaxPool1d": (lambda m: m.nn.MaxPool1d(3, 2, 1, 2, False, True), (2, 3, 10)),
    "MaxPool2d": (lambda m: m.nn.MaxPool2d((3, 2), 2, (1, 0), 1, False, True), (2, 3, 8, 7)),
    "AvgPool1d": (lambda m: m.nn.AvgPool1d(3, 2, 1, True, False), (2, 3, 10)),
    "AvgPool2d": (lambda m: m.nn.AvgPool2d((3, 2), 2, (1, 0), True, False, 5), (2, 3, 8, 7)),
    "LPPool1d": (lambda m: m.nn.LPPool1d(2, 3, 2, True), (2, 3, 10)),
    "LPPool2d": (lambda m: m.nn.LPPool2d(2, (3, 2)), (2, 3, 8, 7)),
    "AdaptiveAvgPool1d": (lambda m: m.nn.AdaptiveAvgPool1d(4), (2, 3, 10)),
    "AdaptiveAvgPool2d": (lambda m: m.nn.AdaptiveAvgPool2d((None, 4)), (2, 3, 8, 7)),
    "AdaptiveMaxPool1d": (lambda m: m.nn.AdaptiveMaxPool1d(4), (2, 3, 10)),
    "AdaptiveMaxPool2d": (lambda m: m.nn.AdaptiveMaxPool2d((3, 4)), (3, 8, 7)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_pools(name: str) -> None:
    make, shape = LAYERS[name]
    ours, theirs = modules_agree(make, grid(3, *shape), order=1)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("axes", [1, 2])
def test_layers_of_pools_with_indices(axes: int) -> None:
    for name, args in ((f"MaxPool{axes}d", (3, 2, 1, 1, True)), (f"AdaptiveMaxPool{axes}d", (3, True))):
        agree(
            lambda m, x, name=name, args=args: getattr(m.nn, name)(*args)(x)[1], grid(0, 2, 3, 7, 5)[0][:axes], order=0
        )
    for args in ((2,), (2, 3), ((2,) * axes, (2,) * axes, 1)):
        theirs, ours = (getattr(m.nn, f"MaxUnpool{axes}d")(*args) for m in problems.BOTH)
        assert repr(ours) == repr(theirs)


POOL_FAULTS: dict[str, Any] = {
    "H83 padding > kernel / 2": lambda m, x: m.F.max_pool1d(x[0], 2, 1, 2),
    "H83 a kernel of 0": lambda m, x: m.F.avg_pool1d(x[0], 0),
    "two kernels": lambda m, x: m.F.avg_pool1d(x[0], (2, 2)),
    "1 axis": lambda m, x: m.F.avg_pool1d(x[0, 0, 0], 2),
    "None": lambda m, x: m.F.adaptive_max_pool2d(x, None),
    "three sizes": lambda m, x: m.F.adaptive_avg_pool2d(x, (1, 2, 3)),
    "far from its size": lambda m, x: m.F.max_unpool2d(x, m.zeros(2, 3, 4, 5).long(), 2, None, 0, (9, 20)),
    "indices of another shape": lambda m, x: m.F.max_unpool2d(x, m.zeros(2, 3, 4, 4).long(), 2),
    "indices outside": lambda m, x: m.F.max_unpool2d(x, m.zeros(2, 3, 4, 5).long() + 80, 2),
    "indices that are floats": lambda m, x: m.F.max_unpool2d(x, m.zeros(2, 3, 4, 5), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", POOL_FAULTS)
def test_both_refuse_pools_that_do_not_fit(name: str) -> None:
    fails(POOL_FAULTS[name], grid(0, 2, 3, 4, 5))


# Padding, and what moves pixels


MOVING: dict[str, Any] = {
    "ZeroPad1d": (lambda m: m.nn.ZeroPad1d(2), (2, 3, 5)),
    "ZeroPad2d": (lambda m: m.nn.ZeroPad2d((1, 2, 0, 3)), (2, 3, 5, 4)),
    "ZeroPad2d that crops": (lambda m: m.nn.ZeroPad2d((1, -2, -1, 3)), (2, 3, 5, 4)),
    "ConstantPad1d": (lambda m: m.nn.ConstantPad1d((1, 2), 3.5), (3, 5)),
    "ConstantPad2d": (lambda m: m.nn.ConstantPad2d((1, 2, 3, 4), -0.5), (2, 3, 5, 4)),
    "ReflectionPad1d": (lambda m: m.nn.ReflectionPad1d((4, 1)), (2, 3, 5)),
    "ReflectionPad2d": (lambda m: m.nn.ReflectionPad2d((3, 2, 0, 4)), (2, 3, 5, 4)),
    "ReplicationPad1d": (lambda m: m.nn.ReplicationPad1d(6), (3, 5)),
    "ReplicationPad2d": (lambda m: m.nn.ReplicationPad2d((3, 2, 0, 7)), (3, 5, 4)),
    "CircularPad1d": (lambda m: m.nn.CircularPad1d((5, 1)), (2, 3, 5)),
    "CircularPad2d": (lambda m: m.nn.CircularPad2d((4, 2, 0, 5)), (2, 3, 5, 4)),
    "Unfold": (lambda m: m.nn.Unfold((2, 3), (1, 2), 1, 2), (2, 3, 6, 7)),
    "Fold": (lambda m: m.nn.Fold((4, 5), (2, 3), stride=(2, 1)), (2, 12, 6)),
    "PixelShuffle": (lambda m: m.nn.PixelShuffle(2), (2, 8, 3, 4)),
    "PixelUnshuffle": (lambda m: m.nn.PixelUnshuffle(2), (2, 3, 4, 6)),
    "Upsample by": (lambda m: m.nn.Upsample(scale_factor=2), (2, 3, 5)),
    "Upsample by two": (lambda m: m.nn.Upsample(scale_factor=(2, 1.5), mode="bilinear"), (2, 3, 5, 4)),
    "Upsample to": (lambda m: m.nn.Upsample((3, 7), mode="bicubic", align_corners=True), (2, 3, 5, 4)),
    "UpsamplingNearest2d": (lambda m: m.nn.UpsamplingNearest2d((3, 7)), (2, 3, 5, 4)),
    "UpsamplingBilinear2d": (lambda m: m.nn.UpsamplingBilinear2d(scale_factor=3), (2, 3, 5, 4)),
    "Unflatten": (lambda m: m.nn.Unflatten(1, (2, 3)), (2, 6, 2)),
}


@pytest.mark.parametrize("name", MOVING)
def test_layers_that_pad_and_move(name: str) -> None:
    make, shape = MOVING[name]
    ours, theirs = modules_agree(make, grid(5, *shape), order=1)
    assert repr(ours) == repr(theirs)


MOVING_FAULTS: dict[str, Any] = {
    "reflected too far": lambda m, x: m.nn.ReflectionPad2d(4)(x),
    "round too far": lambda m, x: m.nn.CircularPad2d(6)(x),
    "two axes": lambda m, x: m.nn.ReplicationPad2d(1)(x[0, 0]),
    "cropped away": lambda m, x: m.nn.ZeroPad2d((-3, -3, 0, 0))(x),
}


@pytest.mark.parametrize("name", MOVING_FAULTS)
def test_both_refuse_padding_that_does_not_fit(name: str) -> None:
    fails(MOVING_FAULTS[name], grid(0, 2, 3, 4, 5))
