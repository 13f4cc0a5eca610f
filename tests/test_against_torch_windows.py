"""Convolution and pooling of lines, pools of other kinds, padding and their layers, as PyTorch has them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import torch_problems as problems  # noqa: E402
from torch_problems import agree, fails, grid, modules_agree  # noqa: E402


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
    ours, theirs = (m.nn.Conv1d(50, 40, 5) for m in problems.BOTH)
    for name in ("weight", "bias"):
        assert np.abs(getattr(ours, name).numpy()).max() <= 1 / np.sqrt(250)
        widths = [float(getattr(layer, name).detach().numpy().std()) for layer in (ours, theirs)]
        assert widths[0] == pytest.approx(widths[1], rel=0.25)


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
