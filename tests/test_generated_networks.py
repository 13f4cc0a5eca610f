"""Generated convolutional networks: float32 against our own float64, and both against PyTorch's and JAX's."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases.arrays import LAYOUTS, laid_out

import tinygrad_cnn as tg

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_JAX = importlib.util.find_spec("jax") is not None


SMOOTH = ["Tanh", "SiLU", "GELU", "Softplus", "Sigmoid"]
KINKED = ["ReLU", "ELU", "Hardswish", "LeakyReLU"]  # at 0 rounding decides which gradient is right

# What is not a layer: of the value before and, by number, of an earlier one (0 is the images).
JOINS = {
    "Add": lambda concatenate, x, other: x + other,
    "Concat": lambda concatenate, x, other: concatenate([x, other], 1),
    "Turn": lambda concatenate, x: x.swapaxes(2, 3),
    "Part": lambda concatenate, x, first, step, every: x[:, first::step, :, ::every],
}


def pair(draw, least, most):
    return draw(st.integers(least, most)), draw(st.integers(least, most))


def windows(size, kernel, stride, padding, dilation=(1, 1), ceil=False):
    """How many windows there are; with ceil also those that begin inside and end outside."""
    counts = []
    for s, k, t, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = s + 2 * p - d * (k - 1) - 1
        count = (-(-room // t) if ceil else room // t) + 1
        counts.append(count - (ceil and (count - 1) * t >= s + p))
    return counts


@st.composite
def convs(draw, c, size):
    """A convolution of c channels, and the shape of its result: textbook, depthwise, of groups, or by points."""
    kind = draw(st.sampled_from(["3x3", "3x3", "any", "depthwise", "points"]))
    kernel = {"3x3": (3, 3), "points": (1, 1)}.get(kind) or pair(draw, 1, 5)
    stride, padding, dilation = pair(draw, 1, 3), pair(draw, 0, 2), pair(draw, 1, 2)
    if draw(st.booleans()):
        stride = dilation = (1, 1)
    if kind == "depthwise":
        o, groups = c * draw(st.integers(1, 2 if c < 48 else 1)), c
    else:
        o = draw(st.sampled_from([2, 4, 6, 16, 32]))
        groups = draw(st.sampled_from([g for g in (1, 2, c) if c % g == 0 and o % g == 0]))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shape = (o, *windows(size, kernel, stride, padding, dilation))
    return ("Conv2d", (c, o, kernel), {**options, "bias": draw(st.booleans())}), shape


@st.composite
def pools(draw, size, smooth):
    kernel = pair(draw, 1, 3)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    options = {"stride": pair(draw, 1, 3), "padding": padding, "ceil_mode": draw(st.booleans())}
    name = "AvgPool2d" if smooth else draw(st.sampled_from(["MaxPool2d", "AvgPool2d"]))
    return (name, (kernel,), options), windows(size, kernel, options["stride"], padding, ceil=options["ceil_mode"])


@st.composite
def transposed_convs(draw, c, size):
    o, k, stride = draw(st.sampled_from([1, 3, 16])), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding, more = draw(st.integers(0, (k - 1) // 2)), draw(st.integers(0, stride - 1))
    options = {"stride": stride, "padding": padding, "output_padding": more}
    return ("ConvTranspose2d", (c, o, k), options), (o, *((s - 1) * stride - 2 * padding + k + more for s in size))


@st.composite
def networks(draw, smooth=False):
    """Images' shape (n c h w), layers by name and arguments, which all libraries have, and joins; training? penalty?

    The penalty is on the gradient by the images, so that gradients of gradients are compared.
    """
    shapes = [(draw(st.integers(2, 4)), draw(st.sampled_from([1, 2, 3, 16, 24])), *pair(draw, 5, 14))]
    kinds, layers = ["conv"] * 4 + ["norm", "activation", "pool", "adaptive", "up", "add", "concat", "cut"], []
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(kinds))
        n, c, *size = shapes[-1]
        if kind == "conv":
            layer, (c, *size) = draw(convs(c, size))
        elif kind == "norm":
            layer, count = draw(
                st.sampled_from(
                    [
                        (("BatchNorm2d", (c,), {}), n * size[0] * size[1]),
                        (("GroupNorm", (1, c), {}), c * size[0] * size[1]),
                        (("InstanceNorm2d", (c,), {"affine": True}), size[0] * size[1]),
                    ]
                )
            )
            if count < 4:  # of fewer the deviation may be next to nothing, and rounding all that is left
                continue
        elif kind == "activation":
            layer = (draw(st.sampled_from(SMOOTH if smooth else SMOOTH + KINKED)), (), {})
        elif kind == "pool":
            layer, size = draw(pools(size, smooth))
        elif kind == "adaptive":
            size = [draw(st.integers(1, min(s, 4))) for s in size]
            layer = ("AdaptiveAvgPool2d", (tuple(size),), {})
        elif kind == "up" and max(size) < 8:
            layer, (c, *size) = draw(transposed_convs(c, size))
        elif kind == "add":
            layer = ("Add", (draw(st.sampled_from([k for k, s in enumerate(shapes) if s == shapes[-1]])),), {})
        elif kind == "concat" and c < 48:
            other = draw(st.sampled_from([k for k, s in enumerate(shapes) if [*s[2:]] == size and s[1] < 48]))
            layer, c = ("Concat", (other,), {}), c + shapes[other][1]
        elif kind == "cut" and draw(st.booleans()):
            layer, size = ("Turn", (), {}), size[::-1]
        elif kind == "cut":
            first, (step, every) = draw(st.integers(0, min(c - 1, 2))), pair(draw, 1, 2)
            layer, c, size = ("Part", (first, step, every), {}), -((first - c) // step), [size[0], -(-size[1] // every)]
        else:
            continue
        if min(size) > 0:
            layers.append(layer)
            shapes.append((n, c, *size))
    _, c, h, w = shapes[-1]
    layers += [("Flatten", (), {}), ("Linear", (c * h * w, 5), {})]
    return shapes[0], layers, draw(st.booleans()), draw(st.booleans())


def made(nn, layers):
    return nn.Sequential(
        *(
            nn.Identity() if name in JOINS else getattr(nn, name)(*arguments, **options)
            for name, arguments, options in layers
        )
    )


def outputs(model, layers, x, concatenate):
    values = [x]
    for module, (name, arguments, _) in zip(model, layers, strict=True):
        others = [values[k] for k in arguments] if name in ("Add", "Concat") else arguments
        x = JOINS[name](concatenate, x, *others) if name in JOINS else module(x)
        values.append(x)
    return x


def problem(network, seed):
    """Weights by name, images, labels and class weights, all float64."""
    rng = np.random.default_rng(seed)
    image, layers, *_ = network
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


def step(lib, network, seed, dtype="float64", layout=None):
    """Outputs, loss, every gradient and the buffers after a step, the same lines in both libraries.

    layout: where the images are in memory.
    """
    _, layers, training, penalty = network
    state, images, labels, weights = problem(network, seed)

    def tensor(x):
        return lib.from_numpy(x.astype(dtype if x.dtype.kind == "f" else x.dtype))

    model = made(lib.nn, layers).to(getattr(lib, dtype)).train(training)
    model.load_state_dict({k: tensor(v) for k, v in state.items()})
    x = lib.from_numpy(laid_out(images.astype(dtype), layout) if layout else images.astype(dtype)).requires_grad_()
    logits = outputs(model, layers, x, lib.cat)
    loss = lib.nn.functional.cross_entropy(logits, tensor(labels), weight=tensor(weights), label_smoothing=0.1)
    if penalty:
        (g,) = lib.autograd.grad(loss, [x], create_graph=True)
        loss = loss + (g * g).sum()
    loss.backward()
    found = {"logits": logits, "loss": loss, "gradient of images": x.grad}
    found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    found |= {name: buffer for name, buffer in model.named_buffers() if "num_batches" not in name}
    return {name: value.detach().numpy() for name, value in found.items()}


def agree(ours, wanted, share):
    """Values by their own size; gradients by that of the largest, since some are sums in which all cancels."""
    assert ours.keys() == wanted.keys()
    sizes = {name: float(np.abs(value).max(initial=0.0)) for name, value in wanted.items()}
    steepest = max(size for name, size in sizes.items() if name.startswith("gradient"))
    for name, value in wanted.items():
        assert ours[name].shape == value.shape
        assert np.isfinite(ours[name]).all()
        size = max(1.0, steepest if name.startswith("gradient") else sizes[name])
        error = float(np.abs(ours[name] - value).max(initial=0.0))
        assert error <= share * size, f"{name} differs by {error:.3g} of {size:.3g}"


seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from(LAYOUTS)
algorithms = st.sampled_from(["auto", "auto", "loops", "direct", "im2col", "winograd"])


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed; CI installs it")
@pytest.mark.usefixtures("one_torch_thread")
@given(networks(), seeds, layouts)
def test_float64_is_that_of_pytorch(network, seed, layout):
    import torch

    agree(step(tg, network, seed, layout=layout), step(torch, network, seed), 1e-9)


@pytest.mark.skipif(not HAS_JAX, reason="JAX is not installed")
@settings(max_examples=max(10, settings().max_examples // 10))  # it compiles each of them
@given(networks(), seeds)
def test_float64_is_that_of_jax(network, seed):
    import jax_networks

    agree(step(tg, network, seed), jax_networks.step(network, *problem(network, seed), 0.1), 1e-9)


@given(networks(smooth=True), seeds, layouts, algorithms)
def test_float32_is_near_our_float64(network, seed, layout, algorithm):
    # A norm divides by deviations that may be small, and rounding with them.
    share = 1e-2 if any("Norm" in name for name, _, _ in network[1]) else 1e-4
    with tg.conv_algorithm(algorithm):
        found = step(tg, network, seed, "float32", layout)
    agree(found, step(tg, network, seed), share)
