"""Activations and their gradients stay channels-last in memory from one layer to the next: nothing is turned around."""

from contextvars import ContextVar

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.models import ResNet20
from tinygrad_cnn.watching import Watcher

N = 8


def in_order(x):
    """Whether (n c h w) lies in memory in the order n h w c, all of it or a slice."""
    n, c, h, w = x.strides
    return c == x.itemsize and n >= h >= w >= c


class Orders(Watcher):
    """What ops make of images with several channels, by the name of the op: in the order of pixels, and in another."""

    running = ContextVar("orders", default=())

    def __init__(self):
        self.pixels, self.others = [], []

    def saw_op(self, op, args, scope, params, result, began, seconds):
        self.note(op, result.array)

    def saw_plain(self, op, args, params, out):
        self.note(op, out)

    def note(self, op, out):
        if out.ndim == 4 and len(out) == N and out.shape[1] > 1:  # no kernels, which are no images
            (self.pixels if in_order(out) else self.others).append(op.name)


def net():
    """3x3 convolutions in pairs, with pooling between them, and a linear layer over all that is left."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 10),
    )  # fmt: skip


# With the op whose gradient comes from values that are not images.
NETWORKS = {
    "ResNet20 A": (lambda: ResNet20(), "broadcast_to"),
    "ResNet20 B": (lambda: ResNet20(shortcut="B"), "broadcast_to"),
    "pairs": (net, "reshape"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_and_gradients_are_channels_last_but_for_the_gradient_that_comes_from_no_image(name):
    make, first = NETWORKS[name]
    model = make()
    x = tg.Tensor(np.random.default_rng(0).standard_normal((N, 3, 32, 32)).astype(np.float32))
    with Orders() as forward:
        loss = F.cross_entropy(model(x), np.arange(N))
    with Orders() as backward:
        loss.backward()
    assert forward.others == []
    assert backward.others == [first]
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert forward.pixels.count("conv2d") == convolutions
    assert backward.pixels.count("conv2d_input_grad") == convolutions - 1


def test_an_order_is_seen():
    x = np.zeros((2, 3, 4, 5))
    assert not in_order(x)
    assert in_order(np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2))
    assert in_order(np.zeros((2, 8, 5, 6)).transpose(0, 3, 1, 2)[1:, 2:, ::2])
    assert not in_order(np.zeros((2, 5, 4, 3)).transpose(0, 3, 2, 1))
    assert not in_order(np.zeros((4, 2, 5, 3)).transpose(1, 3, 0, 2))
