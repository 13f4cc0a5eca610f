"""Operators of ONNX called on arrays, as a node of a file would call them."""

import numpy as np
import pytest

from tinygrad_cnn import Tensor
from tinygrad_cnn.onnx import OnnxError
from tinygrad_cnn.onnx.operators import Node, registered
from tinygrad_cnn.testing import gradcheck


def call(op_type, *inputs, opset=21, outputs=1, max_bytes=1 << 31, **attributes):
    """The result of a node: a Tensor or a tuple of them. Inputs are arrays, Tensors, or None for those left out."""
    node = Node(op_type, "here", opset, attributes, outputs, max_bytes)
    given = [x if x is None or isinstance(x, Tensor) else Tensor(np.asarray(x)) for x in inputs]
    return registered()[op_type](node, *given)


def values(*args, **kwargs):
    """The result of a node as an array, or as a list of them."""
    made = call(*args, **kwargs)
    return [part.numpy() for part in made] if isinstance(made, tuple) else made.numpy()


def refused(text, *args, **kwargs):
    """Assert that the node is refused with a text, whole but for the node's name in front."""
    with pytest.raises(OnnxError) as caught:
        call(*args, **kwargs)
    assert str(caught.value) == f"{args[0]} 'here': {text}"


def numbers(*shape, seed=0):
    """Different float64 numbers away from 0."""
    draw = np.random.default_rng(seed)
    return draw.permutation(np.linspace(0.3, 2.9, int(np.prod(shape)))).reshape(shape) * draw.choice([-1, 1], shape)


def check_gradient(op_type, inputs, constants=(), **kwargs):
    """Compare the gradients of the float inputs with differences; constants come behind them in the call."""

    def function(*xs):
        made = call(op_type, *xs, *constants, **kwargs)
        return made[0] if isinstance(made, tuple) else made

    assert gradcheck(function, inputs)
