"""Generated convolutional networks: float32 against our own float64, and both against PyTorch's and JAX's."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_JAX = importlib.util.find_spec("jax") is not None


SMOOTH = ["Tanh", "SiLU", "GELU", "Softplus", "Sigmoid"]
KINKED = ["ReLU", "ELU", "Hardswish", "LeakyReLU"]  # at 0 rounding decides which gradient is right


@st.composite
def networks(draw, smooth=False):
    """Layers by name and arguments, which both libraries have, and the shape of the images (n c h w)."""
    n, c = draw(st.integers(2, 4)), draw(st.sampled_from([1, 2, 3, 16]))
    h, w = draw(st.integers(5, 12)), draw(st.integers(5, 12))
    image, layers = (n, c, h, w), []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "conv", "conv", "norm", "activation", "pool", "up"]))
        if kind == "conv":
            o = draw(st.sampled_from([2, 4, 6, 16, 32]))
            kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
            if draw(st.booleans()):
                kh = kw = 3
            stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
            dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
            if draw(st.booleans()):
                stride = dilation = (1, 1)
            groups = draw(st.sampled_from([g for g in (1, 2, c) if c % g == 0 and o % g == 0]))
            size = [
                (s + 2 * p - d * (k - 1) - 1) // t + 1
                for s, p, d, k, t in zip((h, w), padding, dilation, (kh, kw), stride, strict=True)
            ]
            if min(size) < 1:
                continue
            options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            layers.append(("Conv2d", (c, o, (kh, kw)), {**options, "bias": draw(st.booleans())}))
            c, (h, w) = o, size
        elif kind == "norm" and n * h * w > 2:
            layers.append(draw(st.sampled_from([("BatchNorm2d", (c,), {}), ("GroupNorm", (1, c), {})])))
        elif kind == "activation":
            layers.append((draw(st.sampled_from(SMOOTH if smooth else SMOOTH + KINKED)), (), {}))
        elif kind == "pool" and min(h, w) > 2:
            name = "AvgPool2d" if smooth else draw(st.sampled_from(["MaxPool2d", "AvgPool2d"]))
            stride = draw(st.integers(1, 2))
            layers.append((name, ((2, 3),), {"stride": stride, "padding": (1, 0), "ceil_mode": draw(st.booleans())}))
            layers.append(("AdaptiveAvgPool2d", ((min(h, 3), 2),), {}))
            h, w = min(h, 3), 2
        elif kind == "up" and max(h, w) < 8:
            o, k, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
            layers.append(("ConvTranspose2d", (c, o, k), {"stride": stride}))
            c, h, w = o, (h - 1) * stride + k, (w - 1) * stride + k
    return image, [*layers, ("Flatten", (), {}), ("Linear", (c * h * w, 5), {})]


def made(nn, layers):
    return nn.Sequential(*(getattr(nn, name)(*arguments, **options) for name, arguments, options in layers))


def problem(network, seed):
    """Weights by name, images, labels and class weights, all float64."""
    rng = np.random.default_rng(seed)
    image, layers = network
    state = {
        name: value.numpy()
        if value.dtype.kind != "f"
        else rng.normal(size=value.shape) / np.sqrt(max(1, value[:1].numel()))
        for name, value in made(tg.nn, layers).state_dict().items()
    }
    for name in state:
        if name.endswith("running_var"):
            state[name] = np.abs(state[name]) + 0.5
    return state, rng.normal(size=image), rng.integers(0, 5, image[0]), rng.uniform(0.5, 2.0, 5)


def step(network, seed, dtype):
    """Outputs, loss, every gradient and the buffers after a training step of ours."""
    state, images, labels, weights = problem(network, seed)
    model = made(tg.nn, network[1]).to(dtype)
    model.load_state_dict({k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in state.items()})
    x = tg.Tensor(images.astype(dtype), requires_grad=True)
    logits = model(x)
    loss = tg.nn.functional.cross_entropy(logits, labels, weight=weights.astype(dtype), label_smoothing=0.1)
    loss.backward()
    found = {"logits": logits, "loss": loss, "images": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    found |= {name: buffer for name, buffer in model.named_buffers() if buffer.dtype.kind == "f"}
    return {name: value.numpy() for name, value in found.items()}


def torch_step(network, seed):
    """The same in float64 by PyTorch."""
    import torch

    state, images, labels, weights = problem(network, seed)
    model = made(torch.nn, network[1]).double()
    model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    x = torch.tensor(images, requires_grad=True)
    logits = model(x)
    loss = torch.nn.functional.cross_entropy(
        logits, torch.tensor(labels), weight=torch.tensor(weights), label_smoothing=0.1
    )
    loss.backward()
    found = {"logits": logits, "loss": loss, "images": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    found |= {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    return {name: value.detach().numpy() for name, value in found.items()}


def agree(ours, wanted, share):
    """Norm by norm: the difference of each array against its own size and that of its kind."""
    assert ours.keys() == wanted.keys()
    largest = max(1.0, *(float(np.abs(value).max(initial=0.0)) for value in wanted.values()))
    for name, value in wanted.items():
        assert ours[name].shape == value.shape
        assert np.isfinite(ours[name]).all()
        error = float(np.abs(ours[name] - value).max(initial=0.0))
        assert error <= share * largest, f"{name} differs by {error:.3g} of {largest:.3g}"


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed; CI installs it")
@pytest.mark.usefixtures("one_torch_thread")
@given(networks(), st.integers(0, 2**32 - 1))
def test_float64_is_that_of_pytorch(network, seed):
    agree(step(network, seed, np.float64), torch_step(network, seed), 1e-9)


@pytest.mark.skipif(not HAS_JAX, reason="JAX is not installed")
@settings(max_examples=max(10, settings().max_examples // 10))  # it compiles each of them
@given(networks(), st.integers(0, 2**32 - 1))
def test_float64_is_that_of_jax(network, seed):
    import jax_networks

    state, images, labels, weights = problem(network, seed)
    agree(step(network, seed, np.float64), jax_networks.step(network[1], state, images, labels, weights, 0.1), 1e-9)


@given(networks(smooth=True), st.integers(0, 2**32 - 1))
def test_float32_is_near_our_float64(network, seed):
    agree(step(network, seed, np.float32), step(network, seed, np.float64), 2e-3)
