"""The layers of generated networks in JAX, which is asked for derivatives alone: a third opinion, in float64.

Parameters and buffers have the names and shapes of PyTorch's. What is a matter of convention at a kink, or among equal
maxima, follows PyTorch.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

ACTIVATIONS = {
    "Tanh": jnp.tanh,
    "SiLU": jax.nn.silu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
    "Softplus": jax.nn.softplus,
    "Sigmoid": jax.nn.sigmoid,
    "ReLU": jax.nn.relu,
    "ELU": jax.nn.elu,
    "Hardswish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "LeakyReLU": lambda x: jnp.where(x > 0, x, 0.01 * x),
}


def correlation(x, w, **options):
    return jax.lax.conv_general_dilated(x, w, dimension_numbers=("NCHW", "OIHW", "NCHW"), **options)


def conv(x, p, layer):
    _, _, options = layer
    padding = [(side, side) for side in options["padding"]]
    y = correlation(
        x, p["weight"], window_strides=options["stride"], padding=padding,
        rhs_dilation=options["dilation"], feature_group_count=options["groups"],
    )  # fmt: skip
    return y + p["bias"][:, None, None] if "bias" in p else y


def conv_transpose(x, p, layer):
    (_, _, k), options = layer[1], layer[2]
    stride, before = options["stride"], k - 1 - options["padding"]
    turned = jnp.flip(p["weight"], (2, 3)).swapaxes(0, 1)
    around = [(before, before + options["output_padding"])] * 2
    y = correlation(x, turned, window_strides=(1, 1), padding=around, lhs_dilation=(stride, stride))
    return y + p["bias"][:, None, None]


def standardized(x, mean, variance, p, eps=1e-5):
    y = (x - mean) / jnp.sqrt(variance + eps)
    return y * p["weight"][:, None, None] + p["bias"][:, None, None]


def standardized_over(x, axes, p):
    return standardized(x, x.mean(axes, keepdims=True), x.var(axes, keepdims=True), p)


def cells(x, layer, outside):
    """(windows' cells n c oh ow): the windows of a pool, where the padding, and what ceil_mode adds, is `outside`."""
    (kernel,), options = layer[1], layer[2]
    stride, padding, ceil = options["stride"], options["padding"], options["ceil_mode"]
    sizes, more = [], []
    for size, k, t, side in zip(x.shape[2:], kernel, stride, padding, strict=True):
        count = (math.ceil if ceil else math.floor)((size + 2 * side - k) / t) + 1
        sizes.append(count - (ceil and (count - 1) * t >= size + side))
        more.append((sizes[-1] - 1) * t + k - size - side)
    sides = [(0, 0), (0, 0), *((p, max(m, p)) for p, m in zip(padding, more, strict=True))]
    wide = jnp.pad(x, sides, constant_values=outside)
    down, across = stride
    ends = [(n - 1) * t + 1 for n, t in zip(sizes, stride, strict=True)]
    places = itertools.product(*map(range, kernel))
    return jnp.stack([wide[:, :, i : i + ends[0] : down, j : j + ends[1] : across] for i, j in places])


def max_pool(x, layer):
    found = cells(x, layer, -jnp.inf)
    return jnp.take_along_axis(found, found.argmax(0)[None], 0)[0]  # the first of equal ones


def avg_pool(x, layer):
    """Padding counts; what ceil_mode adds beyond it does not."""
    padding = layer[2]["padding"]
    inside = jnp.pad(jnp.ones(x.shape), [(0, 0), (0, 0), *((p, p) for p in padding)])
    counted = (layer[0], layer[1], {**layer[2], "padding": (0, 0)})
    ones = cells(jnp.ones_like(inside), counted, 0.0)
    sums = cells(x, layer, 0.0).sum(0)
    return sums / ones.sum(0)[:, :, : sums.shape[2], : sums.shape[3]]


def adaptive(x, sizes):
    """Means over the windows [i*h // oh, ceil((i+1)*h / oh))."""
    for axis, out in zip((2, 3), sizes, strict=True):
        size = x.shape[axis]
        bounds = [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
        x = jnp.stack([jax.lax.slice_in_dim(x, a, b, axis=axis).mean(axis) for a, b in bounds], axis)
    return x


def forward(layers, state, x, training):
    """The output, and the buffers after the step."""
    buffers, values = {}, [x]
    for number, layer in enumerate(layers):
        name, arguments, _ = layer
        p = {key.split(".")[1]: value for key, value in state.items() if key.startswith(f"{number}.")}
        if name in ACTIVATIONS:
            x = ACTIVATIONS[name](x)
        elif name == "Conv2d":
            x = conv(x, p, layer)
        elif name == "ConvTranspose2d":
            x = conv_transpose(x, p, layer)
        elif name == "BatchNorm2d":
            axes, mean, variance = (0, 2, 3), p["running_mean"], p["running_var"]
            if training:
                count = x.size / x.shape[1]
                mean = 0.9 * mean + 0.1 * x.mean(axes)
                variance = 0.9 * variance + 0.1 * x.var(axes) * count / (count - 1)
                x = standardized_over(x, axes, p)
            else:
                x = standardized(x, mean[:, None, None], variance[:, None, None], p)
            buffers[f"{number}.running_mean"], buffers[f"{number}.running_var"] = mean, variance
        elif name == "GroupNorm":
            x = standardized_over(x, (1, 2, 3), p)
        elif name == "InstanceNorm2d":
            x = standardized_over(x, (2, 3), p)
        elif name == "MaxPool2d":
            x = max_pool(x, layer)
        elif name == "AvgPool2d":
            x = avg_pool(x, layer)
        elif name == "AdaptiveAvgPool2d":
            x = adaptive(x, arguments[0])
        elif name == "Add":
            x = x + values[arguments[0]]
        elif name == "Concat":
            x = jnp.concatenate([x, values[arguments[0]]], 1)
        elif name == "Turn":
            x = x.swapaxes(2, 3)
        elif name == "Part":
            first, step, every = arguments
            x = x[:, first::step, :, ::every]
        elif name == "Flatten":
            x = x.reshape(len(x), -1)
        else:
            assert name == "Linear", name
            x = x @ p["weight"].T + p["bias"]
        values.append(x)
    return x, buffers


def cross_entropy(logits, labels, weights, smoothing):
    """PyTorch's mean: by the weights of the labels, also for what smoothing adds."""
    log = jax.nn.log_softmax(logits)
    rows = jnp.arange(len(labels))
    hard = -(weights[labels] * log[rows, labels]).sum()
    soft = -(log * weights).sum() / logits.shape[1]
    return ((1 - smoothing) * hard + smoothing * soft) / weights[labels].sum()


def step(network, state, images, labels, weights, smoothing):
    """Outputs, loss, every gradient and the buffers after a step, as arrays by name."""
    _, layers, training, penalty = network
    parameters = {k: v for k, v in state.items() if "running" not in k and "num_batches" not in k}
    fixed = {k: v for k, v in state.items() if k not in parameters}

    def loss(parameters, images):
        logits, buffers = forward(layers, {**fixed, **parameters}, images, training)
        return cross_entropy(logits, labels, weights, smoothing), (logits, buffers)

    def penalized(parameters, images):
        (value, made), g = jax.value_and_grad(loss, 1, has_aux=True)(parameters, images)
        return value + penalty * (g * g).sum(), made

    gradients = jax.jit(jax.value_and_grad(penalized, (0, 1), has_aux=True))
    (value, (logits, buffers)), (by_parameter, by_image) = gradients(parameters, images)
    found = {"logits": logits, "loss": value, "gradient of images": by_image, **buffers}
    found |= {f"gradient of {name}": g for name, g in by_parameter.items()}
    return {name: np.asarray(x) for name, x in found.items()}
