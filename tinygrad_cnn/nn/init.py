"""Initial values of weights, written in place, under PyTorch's names.

`generator` is a numpy.random.Generator; without one the package's default generator is used (random.manual_seed).
Numbers are drawn in float64 and rounded, so a seed gives the same values in every dtype.

Sources: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010), eq. 16;
He et al., Delving deep into rectifiers (2015), sec. 2.2.
"""

import math
from typing import Any, TypeVar

import numpy as np

from .. import memory
from ..graph import Tensor
from ..random import source

T = TypeVar("T", bound=Tensor)
Generator = np.random.Generator

_GAINS = {"linear": 1.0, "conv2d": 1.0, "conv_transpose2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights must grow to keep the variance behind a nonlinearity.

    sqrt(2) for relu, 5/3 for tanh, 3/4 for selu, 1 for linear, conv2d and sigmoid, sqrt(2 / (1 + a^2)) for leaky_relu
    of slope a = param (0.01 unless given). Raises ValueError for another name.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    gains = _GAINS | {"selu": 3 / 4}
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: no gain for {nonlinearity!r}; it can be {', '.join([*gains, 'leaky_relu'])}")
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): the inputs that one output sums over, and the outputs that one input reaches.

    (o i *kernel) -> i * prod(kernel), o * prod(kernel). Raises ValueError for fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"fans: a tensor of shape {tensor.shape} has no fan in and out; at least two axes are needed")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Values from U(a, b)."""
    if not a <= b:
        raise ValueError(f"uniform_: a={a}, b={b}; a <= b is needed")
    return _write(tensor, _rng(generator).uniform(a, b, _shape(tensor, "uniform_")), "uniform_")


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """Values from N(mean, std^2)."""
    if not std >= 0:
        raise ValueError(f"normal_: std={std}; it must not be negative")
    return _write(tensor, _rng(generator).normal(mean, std, _shape(tensor, "normal_")), "normal_")


def constant_(tensor: T, val: float) -> T:
    """Every value `val`."""
    _shape(tensor, "constant_")
    return _write(tensor, val, "constant_")


def zeros_(tensor: T) -> T:
    """Every value 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """Every value 1."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)). Source: Glorot & Bengio (2010), eq. 16."""
    bound = gain * math.sqrt(6.0 / max(1, sum(fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """N(0, s^2) with s = gain * sqrt(2 / (fan_in + fan_out)). Source: Glorot & Bengio (2010), eq. 12."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(1, sum(fans(tensor)))), generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """U(-b, b) with b = gain * sqrt(3 / fan): the standard deviation of kaiming_normal_.

    a: the slope of the leaky_relu that follows. mode: "fan_in" keeps the forward variance, "fan_out" the backward one.
    Source: He et al. (2015), sec. 2.2.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """N(0, s^2) with s = gain / sqrt(fan); parameters as for kaiming_uniform_. Source: He et al. (2015), eq. 10."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode={mode!r}; it can be 'fan_in' or 'fan_out'")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def _rng(generator: Generator | None) -> Generator:
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"generator: a {type(generator).__name__} was given; numpy.random.default_rng(seed) makes one")
    return source(generator)


def _shape(tensor: Tensor, caller: str) -> tuple[int, ...]:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{caller}: a {type(tensor).__name__} was given; a Tensor is needed")
    return tensor.shape


def default_weight_(weight: Tensor, generator: Generator | None = None) -> None:
    """What PyTorch's layers start with: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    kaiming_uniform_(weight, a=math.sqrt(5.0), generator=generator)


def default_bias_(bias: Tensor | None, weight: Tensor, generator: Generator | None = None) -> None:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) of the weight, where there is a bias."""
    if bias is not None:
        bound = 1.0 / math.sqrt(fans(weight)[0])
        uniform_(bias, -bound, bound, generator)


def _write(tensor: T, values: Any, by: str) -> T:
    with np.errstate(all="ignore"):  # rounding to the tensor's dtype may overflow or underflow
        tensor.array[...] = values
    memory.mark_changed(tensor.array, by)
    return tensor
