"""Arguments that every layer takes because PyTorch's do: device, dtype and inplace."""

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn.module import Layer

MADE: dict[str, tuple[Any, ...]] = {
    "BatchNorm1d": (3,),
    "BatchNorm2d": (3,),
    "Conv1d": (3, 2, 2),
    "Conv2d": (3, 2, 2),
    "ConvTranspose1d": (3, 2, 2),
    "ConvTranspose2d": (3, 2, 2),
    "GroupNorm": (1, 3),
    "InstanceNorm1d": (3,),
    "InstanceNorm2d": (3,),
    "LayerNorm": (5,),
    "Linear": (3, 2),
    "LocalConv2d": (3, 2, 5, 2),
    "PReLU": (),
    "RMSNorm": (5,),
}
LAYERS = [v for v in vars(nn).values() if inspect.isclass(v) and issubclass(v, Layer) and v is not Layer]


def test_the_layers_of_this_file_are_those_that_hold_numbers() -> None:
    takes = {layer.__name__ for layer in LAYERS if "dtype" in inspect.signature(layer).parameters}
    assert takes == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_layer_takes_the_cpu_and_no_other_device(name: str) -> None:
    kind, extra = getattr(nn, name), {"affine": True} if name.startswith("Instance") else {}
    for device in (None, "cpu", "cpu:0", tg.device("cpu")):
        layer = kind(*MADE[name], device=device, dtype=tg.float64, **extra)
        assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float64)}
    with pytest.raises(ValueError, match=f"{name}: there is no device 'cuda'; tinygrad_cnn computes on the cpu"):
        kind(*MADE[name], device="cuda", **extra)
    with pytest.raises(TypeError, match=f"{name}: dtype=int64 parameters could not be trained"):
        kind(*MADE[name], dtype=tg.int64, **extra)


def test_device_and_dtype_may_stand_where_pytorch_has_them() -> None:
    assert nn.Linear(3, 2, True, "cpu", tg.float64).weight.dtype == np.float64
    assert nn.Conv2d(3, 2, 1, 1, 0, 1, 1, True, "zeros", None, tg.float64).weight.dtype == np.float64
    assert nn.BatchNorm2d(3, 1e-5, 0.1, True, True, None, tg.float64).running_mean.dtype == np.float64


@pytest.mark.parametrize(
    "layer", [v for v in LAYERS if "inplace" in inspect.signature(v).parameters], ids=lambda v: v.__name__
)
def test_inplace_gives_the_same_numbers_and_gradients(layer: Any) -> None:
    first: tuple[Any, ...] = (0.1, 20.0) if layer.__name__ == "Threshold" else ()
    kept = {"p": 0.0} if "ropout" in layer.__name__ else {}
    shape = (2, 3, 4) if layer.__name__ in ("Dropout1d",) else (2, 3, 4, 5)
    found = []
    for inplace in (False, True):
        x = tg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
        h = x * 1.0
        y = layer(*first, inplace=inplace, **kept)(h)
        (y * y).sum().backward()
        found.append((y.array, x.grad.array))
        assert (y is h) == inplace or bool(kept)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
