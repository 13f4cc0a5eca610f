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
from ..shapes import is_int

T = TypeVar("T", bound=Tensor)
Generator = np.random.Generator

_LINEAR = ("linear", "sigmoid", *(f"conv{kind}{n}d" for n in (1, 2, 3) for kind in ("", "_transpose")))
_GAINS = {**dict.fromkeys(_LINEAR, 1.0), "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights must grow to keep the variance behind a nonlinearity.

    sqrt(2) for relu, 5/3 for tanh, 3/4 for selu, 1 for linear, convolutions and sigmoid, sqrt(2 / (1 + a^2)) for
    leaky_relu of slope a = param (0.01 unless given). Raises ValueError for another name.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"calculate_gain: no gain for {nonlinearity!r}; it can be {', '.join([*_GAINS, 'leaky_relu'])}"
        )
    return _GAINS[nonlinearity]


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
    return _write(tensor, source(generator).uniform(a, b, _shape(tensor, "uniform_")), "uniform_")


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """Values from N(mean, std^2)."""
    if not std >= 0:
        raise ValueError(f"normal_: std={std}; it must not be negative")
    return _write(tensor, source(generator).normal(mean, std, _shape(tensor, "normal_")), "normal_")


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


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None
) -> T:
    """Values from N(mean, std^2) given that they lie in a <= x <= b; a and b are not in units of std.

    Drawn again until they do, as a share of the normal distribution; from less than a thousandth of it refused with
    ValueError.
    """
    if not std > 0:
        raise ValueError(f"trunc_normal_: std={std}; it must be positive")
    if not a < b:
        raise ValueError(f"trunc_normal_: a={a}, b={b}; a < b is needed")
    low, high = (a - mean) / std, (b - mean) / std
    share = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    if share < 1e-3:
        raise ValueError(
            f"trunc_normal_: from a={a} to b={b} there is {share:.1g} of N({mean}, {std}^2); at least 0.001 is needed, "
            "so move the bounds towards the mean, or use uniform_"
        )
    draw, shape = source(generator), _shape(tensor, "trunc_normal_")
    values = draw.normal(mean, std, shape).reshape(-1)
    while (outside := np.flatnonzero((values < a) | (values > b))).size:
        values[outside] = draw.normal(mean, std, outside.size)
    return _write(tensor, values.reshape(shape), "trunc_normal_")


def eye_(tensor: T) -> T:
    """1 where row and column are the same, 0 elsewhere: (o i), the identity of a linear layer."""
    if len(_shape(tensor, "eye_")) != 2:
        raise ValueError(f"eye_: a tensor of shape {tensor.shape}; two axes are needed")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]), "eye_")


def dirac_(tensor: T, groups: int = 1) -> T:
    """1 in the middle of the kernel from each input channel to the output channel of its number, 0 elsewhere.

    (o i *kernel) with one to three axes of the kernel: a convolution that leaves as many channels as possible as they
    are, in each of `groups` groups of output channels.
    """
    shape = _shape(tensor, "dirac_")
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac_: a tensor of shape {shape}; (out in *kernel) with three to five axes is needed")
    if not is_int(groups) or groups < 1 or shape[0] % groups:
        raise ValueError(f"dirac_: groups={groups!r} for {shape[0]} output channels; a divisor of them is needed")
    values, each = np.zeros(shape), shape[0] // groups
    middle = tuple(n // 2 for n in shape[2:])
    for group in range(groups):
        for channel in range(min(each, shape[1])):
            values[(group * each + channel, channel, *middle)] = 1.0
    return _write(tensor, values, "dirac_")


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """gain times a matrix whose rows, or columns if those are fewer, are orthonormal, drawn evenly from all such.

    (o i *kernel) is seen as (o, i * prod(kernel)). Source: Saxe, McClelland & Ganguli, Exact solutions to the nonlinear
    dynamics of learning in deep linear neural networks (2014), sec. 3; signs after Mezzadri (2007), sec. 5.
    """
    shape = _shape(tensor, "orthogonal_")
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: a tensor of shape {shape}; at least two axes are needed")
    if 0 in shape:
        return tensor
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(source(generator).normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _write(tensor, gain * (q.T if rows < columns else q).reshape(shape), "orthogonal_")


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> T:
    """Values from N(0, std^2), and in each column ceil(sparsity * rows) zeros at random rows: (o i)

    Source: Martens, Deep learning via Hessian-free optimization (2010), sec. 5.
    """
    shape = _shape(tensor, "sparse_")
    if len(shape) != 2:
        raise ValueError(f"sparse_: a tensor of shape {shape}; two axes are needed")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparse_: sparsity={sparsity}; a share from 0 to 1 is needed")
    if not std >= 0:
        raise ValueError(f"sparse_: std={std}; it must not be negative")
    draw = source(generator)
    values, zeros = draw.normal(0.0, std, shape), math.ceil(sparsity * shape[0])
    for column in range(shape[1]):
        values[draw.permutation(shape[0])[:zeros], column] = 0.0
    return _write(tensor, values, "sparse_")


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
