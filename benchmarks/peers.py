"""JAX's and MyGrad's sides: a training step and the logits of a network, and single layers.

JAX is compiled by jit, on images of channels last; its arrays never change, so a step returns new ones.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.bench import SCHEDULE, Network, Side, our_model

Array = np.ndarray[Any, Any]


class Peer(NamedTuple):
    """A library beside PyTorch.

    training: (network, x, y) -> a step. inference: (network, x) -> the logits.
    layer: (case of layers.py, inputs) -> forward, and forward with gradients; None where it has no such layer.
    """

    name: str
    module: str
    training: Callable[[Network, Array, Array], Side]
    inference: Callable[[Network, Array], Side]
    layer: Callable[[Any, list[Array]], tuple[Side, Side] | None]


def installed() -> list[Peer]:
    """Those that can be imported."""
    return [peer for peer in PEERS if find_spec(peer.module) is not None]


def weights_of(network: Network) -> list[tuple[Array, Array]]:
    """(weight, bias) of each layer of our model, in order."""
    values = [np.array(p.numpy()) for p in our_model(network.build).parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def gradient_of(shape: tuple[int, ...]) -> Array:
    """The gradient that arrives at a layer's output (n c h w), always the same."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def jax_network(network: Network) -> tuple[Callable[[Any, Any], Any], Any]:
    """((weights, images) -> logits, our weights)."""
    from jax import nn, numpy

    def logits(params: Any, z: Any) -> Any:
        steps = iter(params)
        for layer in network.layers:
            z = jax_pool(z, 2, 2, 0) if layer == "M" else nn.relu(jax_conv(z, *next(steps), padding=1))
        w, b = next(steps)
        return z.transpose(0, 3, 1, 2).reshape(len(z), -1) @ w.T + b

    return logits, [(jax_kernel(w) if w.ndim == 4 else numpy.array(w), numpy.array(b)) for w, b in weights_of(network)]


def jax_kernel(w: Array) -> Any:
    """(o c kh kw) -> (kh kw c o)"""
    from jax import numpy

    return numpy.array(w.transpose(2, 3, 1, 0))


def jax_images(x: Array) -> Any:
    """(n c h w) -> (n h w c)"""
    from jax import numpy

    return numpy.array(x.transpose(0, 2, 3, 1))


def jax_conv(x: Any, w: Any, b: Any, stride: int = 1, padding: int = 0, groups: int = 1) -> Any:
    from jax import lax

    layout = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=layout, feature_group_count=groups
    )
    return y + b


def jax_pool(x: Any, kernel: int, stride: int, padding: int, mean: bool = False) -> Any:
    from jax import lax, numpy

    window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    if mean:
        return lax.reduce_window(x, 0.0, lax.add, window, strides, pads) / kernel**2
    return lax.reduce_window(x, -numpy.inf, lax.max, window, strides, pads)


def jax_training(network: Network, x: Array, y: Array) -> Side:
    import jax
    from jax import numpy

    logits, params = jax_network(network)

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        scores = jax.nn.log_softmax(logits(params, images))
        return -numpy.take_along_axis(scores, labels[:, None], 1).mean()

    @jax.jit
    def update(params: Any, velocity: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, images, labels)
        velocity = jax.tree.map(lambda v, g: SCHEDULE["momentum"] * v + g, velocity, gradients)
        return loss, jax.tree.map(lambda p, v: p - SCHEDULE["lr"] * v, params, velocity), velocity

    state = [params, jax.tree.map(numpy.zeros_like, params)]
    images, labels = jax_images(x), numpy.array(y)

    def step() -> float:
        loss, *state[:] = update(*state, images, labels)
        jax.block_until_ready(state)
        return float(loss)

    return Side("JAX jit", step, lambda: [step() for _ in range(3)])


def jax_inference(network: Network, x: Array) -> Side:
    import jax

    logits, params = jax_network(network)
    compiled, images = jax.jit(logits), jax_images(x)

    def run() -> Any:
        return jax.block_until_ready(compiled(params, images))

    return Side("JAX jit", run, lambda: [run()])


def jax_layer(case: Any, inputs: list[Array]) -> tuple[Side, Side]:
    import jax
    from jax import numpy

    def layer(x: Any, *weights: Any) -> Any:
        if case.filters:
            return jax_conv(x, *weights, **case.options)
        mean, stride = case.name.startswith("mean"), case.options.get("stride", case.kernel)
        return jax_pool(x, case.kernel, stride, case.options.get("padding", 0), mean)

    x, *weights = inputs
    values = [jax_images(x), *(jax_kernel(w) if w.ndim == 4 else numpy.array(w) for w in weights)]
    n, oh, ow, o = jax.eval_shape(layer, *values).shape
    g = jax_images(gradient_of((n, o, oh, ow)))
    forward = jax.jit(layer)

    @jax.jit
    def both(*values: Any) -> Any:
        return jax.vjp(layer, *values)[1](g)

    def planes(array: Any) -> Array:
        return np.asarray(array).transpose(0, 3, 1, 2)

    def gradients() -> list[Array]:
        x, *weights = both(*values)
        return [planes(x), *(np.asarray(w).transpose(3, 2, 0, 1) if w.ndim == 4 else w for w in weights)]

    return (
        Side("JAX jit", lambda: jax.block_until_ready(forward(*values)), lambda: [planes(forward(*values))]),
        Side("JAX jit", lambda: jax.block_until_ready(both(*values)), gradients),
    )


def mygrad_network(network: Network) -> tuple[Callable[[Any], Any], list[Any]]:
    """(images -> logits, its weights, which are ours)."""
    import mygrad
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool

    pairs = [(mygrad.tensor(w), mygrad.tensor(b)) for w, b in weights_of(network)]

    def logits(z: Any) -> Any:
        steps = iter(pairs)
        for layer in network.layers:
            if layer == "M":
                z = max_pool(z, (2, 2), 2)
            else:
                w, b = next(steps)
                z = relu(conv_nd(z, w, stride=1, padding=1) + b.reshape(1, -1, 1, 1))
        w, b = next(steps)
        return mygrad.matmul(z.reshape(len(z), -1), w.T) + b

    return logits, [p for pair in pairs for p in pair]


def mygrad_training(network: Network, x: Array, y: Array) -> Side:
    from mygrad.nnet.losses import softmax_crossentropy

    logits, params = mygrad_network(network)
    velocity = [np.zeros_like(p.data) for p in params]

    def step() -> float:
        loss = softmax_crossentropy(logits(x), y)
        loss.backward()
        for v, p in zip(velocity, params, strict=True):
            v *= SCHEDULE["momentum"]
            v += p.grad
            p.data[...] -= SCHEDULE["lr"] * v
        return float(loss.item())

    return Side("MyGrad", step, lambda: [step() for _ in range(3)])


def mygrad_inference(network: Network, x: Array) -> Side:
    import mygrad

    logits, _ = mygrad_network(network)

    def run() -> Any:
        with mygrad.no_autodiff:
            return logits(x).data

    return Side("MyGrad", run, lambda: [run()])


def mygrad_layer(case: Any, inputs: list[Array]) -> tuple[Side, Side] | None:
    """None for groups, mean pooling, padded pooling and windows that leave pixels over, which it has not."""
    import mygrad
    from mygrad.nnet.layers import conv_nd, max_pool

    stride, padding = case.options.get("stride", 1 if case.filters else case.kernel), case.options.get("padding", 0)
    pooling = not case.filters and (padding or case.name.startswith("mean"))
    if pooling or "groups" in case.options or (case.size + 2 * padding - case.kernel) % stride:
        return None
    tensors = [mygrad.tensor(array) for array in inputs]

    def layer() -> Any:
        if not case.filters:
            return max_pool(tensors[0], (case.kernel, case.kernel), stride)
        x, w, b = tensors
        return conv_nd(x, w, stride=stride, padding=padding) + b.reshape(1, -1, 1, 1)

    def forward() -> Any:
        with mygrad.no_autodiff:
            return layer().data

    g = gradient_of(forward().shape)

    def both() -> list[Any]:
        layer().backward(g)
        return [tensor.grad for tensor in tensors]

    return Side("MyGrad", forward, lambda: [forward()]), Side("MyGrad", both, both)


PEERS = (
    Peer("JAX jit", "jax", jax_training, jax_inference, jax_layer),
    Peer("MyGrad", "mygrad", mygrad_training, mygrad_inference, mygrad_layer),
)
