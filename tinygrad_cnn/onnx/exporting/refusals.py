"""The ops that are not written: those that only gradients are made of."""

from ...ops import activation, conv, loss, norm, pool, resize, standardize
from .table import refused

_GRADIENTS = (
    activation.gelu_gradient,
    activation.hardswish_gradient,
    activation.silu_gradient,
    conv.conv2d_input_grad,
    conv.conv2d_weight_grad,
    loss.cross_entropy_gradient,
    norm.batch_norm_input_grad,
    norm.batch_norm_weight_grad,
    pool.sum_pool2d_input_grad,
    resize.resampled_adjoint,
    standardize.standardize_input_grad,
)
for _op in _GRADIENTS:
    refused[_op.op.name] = (
        "it computes a gradient, for which ONNX has no operator; export the forward alone, and train here"
    )
