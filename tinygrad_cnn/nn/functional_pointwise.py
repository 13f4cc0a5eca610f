"""torch.nn.functional's spelling of the activations and losses that work element by element; functional.py has them.

With `inplace` the Tensor `input` itself becomes the result.
"""

from typing import Any

from .. import memory
from ..graph import Tensor
from ..modes import recording
from ..ops import activation as _activation
from ..ops import elementwise as _elementwise
from ..ops import pointwise_loss as _loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "elu",
    "gaussian",
    "gelu",
    "glu",
    "half_squared_error",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "selu",
    "silu",
    "smooth_l1_loss",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return _given(input, _activation.leaky_relu(input, negative_slope), "leaky_relu", inplace)


def prelu(input: Any, weight: Any) -> Tensor:
    """x where x > 0, else w * x, with one w for all or one for each channel: (n c ...), (1) or (c) -> (n c ...)"""
    return _activation.prelu(input, weight)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _given(input, _activation.elu(input, alpha), "elu", inplace)


def selu(input: Any, inplace: bool = False) -> Tensor:
    """elu with the alpha and the scale that keep activations at mean 0 and variance 1."""
    return _given(input, _activation.selu(input), "selu", inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""
    return _given(input, _activation.celu(input, alpha), "celu", inplace)


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x times the share of a standard normal distribution below x; approximate: 'none' or 'tanh'."""
    return _activation.gelu(input, approximate)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """x / (1 + exp(-x)), also named swish."""
    return _given(input, _activation.silu(input), "silu", inplace)


def mish(input: Any, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))"""
    return _given(input, _activation.mish(input), "mish", inplace)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold."""
    return _activation.softplus(input, beta, threshold)


def softsign(input: Any) -> Tensor:
    """x / (1 + |x|)"""
    return _activation.softsign(input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to min_val <= x <= max_val, with gradient 0 at both."""
    return _given(input, _activation.hardtanh(input, min_val, max_val), "hardtanh", inplace)


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), with gradient 0 at both."""
    return _given(input, _activation.relu6(input), "relu6", inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6"""
    return _given(input, _activation.hardsigmoid(input), "hardsigmoid", inplace)


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)"""
    return _given(input, _activation.hardswish(input), "hardswish", inplace)


def logsigmoid(input: Any) -> Tensor:
    """log(sigmoid(x)) without its underflow."""
    return _activation.logsigmoid(input)


def glu(input: Any, dim: int = -1) -> Tensor:
    """a * sigmoid(b) for the two halves a and b of x along `dim`."""
    return _activation.glu(input, dim)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value. nan stays."""
    x = _elementwise.array_of(input)
    return _given(input, _elementwise.where(~(x <= threshold), input, value), "threshold", inplace)


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    _check_lambd("hardshrink", lambd)
    x = _elementwise.array_of(input)
    return _elementwise.mask(input, ~((x >= -lambd) & (x <= lambd)))


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, to 0 at most."""
    _check_lambd("softshrink", lambd)
    shrunk: Tensor = input - _elementwise.clip(input, -lambd, lambd)
    return shrunk


def tanhshrink(input: Any) -> Tensor:
    """x - tanh(x)"""
    shrunk: Tensor = input - _elementwise.tanh(input)
    return shrunk


def _check_lambd(name: str, lambd: float) -> None:
    if not lambd >= 0:
        raise ValueError(f"{name}: lambd is {lambd}; a number of at least 0 is needed")


def gaussian(input: Any) -> Tensor:
    """exp(-x^2)"""
    return _activation.gaussian(input)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """-(y log(p) + (1 - y) log(1 - p)) of probabilities of the target's shape; a logarithm counts -100 at least."""
    return _loss.binary_cross_entropy(input, target, weight=weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """binary_cross_entropy of sigmoid(x) in one stable step; pos_weight: factors for the targets above 0."""
    return _loss.binary_cross_entropy_with_logits(
        input, target, weight=weight, reduction=reduction, pos_weight=pos_weight
    )


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """|input - target|, averaged, summed or as it is."""
    return _loss.l1_loss(input, target, reduction=reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) up to d = beta, and d - beta / 2 beyond, for d = |input - target|."""
    return _loss.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 up to d = delta, and delta * (d - delta / 2) beyond, for d = |input - target|."""
    return _loss.huber_loss(input, target, reduction=reduction, delta=delta)


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input) of log-probabilities and probabilities; "batchmean" is the divergence."""
    return _loss.kl_div(input, target, reduction=reduction, log_target=log_target)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    return _loss.hinge_embedding_loss(input, target=target, margin=margin, reduction=reduction)


def half_squared_error(input: Any, target: Any, reduction: str = "sum") -> Tensor:
    """(input - target)^2 / 2, summed, averaged or as it is."""
    return _loss.half_squared_error(input, target, reduction=reduction)


def _given(input: Any, output: Tensor, by: str, inplace: bool) -> Tensor:
    return becomes(input, output, by) if inplace else output


def becomes(input: Any, output: Any, by: str) -> Tensor:
    """`input` with the values, and while recording the graph, of `output`.

    Nodes hold arrays, not Tensors: a recorded Tensor takes the new array and Node, and what older Nodes keep stays.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"{by}: inplace=True needs a Tensor, not a {type(input).__name__}")
    if recording.get() and input.node is not None:
        if input.is_leaf:
            raise RuntimeError(
                f"{by}: a leaf that requires grad (shape {input.shape}) cannot be changed in place while recording; "
                "leave inplace=True out"
            )
        input.array, input.node = output.array, output.node
    else:
        input.array[...] = output.array
        memory.mark_changed(input.array, f"{by}(inplace=True)")
    return input
