"""torch.nn.functional's spelling of the ops.

Images are (n, c, h, w), or (c, h, w) for a single one, which comes back without the batch axis.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..basics import broadcast_to
from ..graph import Tensor
from ..ops import arrange as _arrange
from ..ops import dropout as _dropout
from ..ops import elementwise as _elementwise
from ..ops import layout as _layout
from ..ops import loss as _loss
from ..ops import magnitude as _magnitude
from ..ops import matmul as _matmul
from ..ops import norm as _norm
from ..ops import patches as _patches
from ..ops import reduce as _reduce
from ..ops import resize as _resize
from ..ops import softmax as _softmax
from ..ops.convert import to
from ..ops.index import getitem
from ..shapes import ShapeError, broadcast_shape
from .functional_conv import batched, conv1d, conv2d, conv_transpose1d, conv_transpose2d, local_conv2d
from .functional_norm import group_norm, instance_norm, layer_norm, local_response_norm, rms_norm
from .functional_pointwise import (
    becomes,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    elu,
    gaussian,
    gelu,
    glu,
    half_squared_error,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    smooth_l1_loss,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)
from .functional_pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    lp_pool2d,
    max_pool2d,
    max_unpool2d,
    sum_pool2d,
)
from .functional_pool1d import (
    adaptive_avg_pool1d,
    adaptive_max_pool1d,
    avg_pool1d,
    lp_pool1d,
    max_pool1d,
    max_unpool1d,
    sum_pool1d,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "elu",
    "fold",
    "gaussian",
    "gelu",
    "glu",
    "group_norm",
    "half_squared_error",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_conv2d",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_unpool1d",
    "max_unpool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sum_pool1d",
    "sum_pool2d",
    "tanh",
    "tanhshrink",
    "threshold",
    "unfold",
]


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """x w^T + b: (... i), (o i), (o) -> (... o)"""
    return _matmul.linear(input, weight, bias)


def relu(input: Any, inplace: bool = False) -> Tensor:
    """max(x, 0). With `inplace` the Tensor `input` itself becomes the result."""
    return becomes(input, _elementwise.relu(input), "relu") if inplace else _elementwise.relu(input)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-x))"""
    return _elementwise.sigmoid(input)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _elementwise.tanh(input)


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None, axis: int | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim` (or `axis`), to be given: else axis 0 or 1 is guessed, with a warning."""
    return _softmax.softmax(_as(input, dtype), _dim(input, dim, axis, "softmax"))


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None, axis: int | None = None) -> Tensor:
    """log(softmax(x)) along `dim` (or `axis`), to be given: else axis 0 or 1 is guessed, with a warning."""
    return _softmax.log_softmax(_as(input, dtype), _dim(input, dim, axis, "log_softmax"))


def softmin(input: Any, dim: int | None = None, *, dtype: Any = None, axis: int | None = None) -> Tensor:
    """softmax(-x) along `dim` (or `axis`), to be given: else axis 0 or 1 is guessed, with a warning."""
    return _softmax.softmax(-_as(input, dtype), _dim(input, dim, axis, "softmin"))


def normalize(
    input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12, *, axis: Any = None
) -> Tensor:
    """x / max(norm(x), eps), with the p-norm along `dim` (or `axis`)."""
    along = dim if axis is None else axis
    unit: Tensor = input / _elementwise.clip(_magnitude.norm(input, p, along, True), eps, None)
    return unit


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8, *, axis: int | None = None) -> Tensor:
    """x1 x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim` (or `axis`), which goes away; the shapes broadcast."""
    along = dim if axis is None else axis
    shapes: list[tuple[int, ...]] = [tuple(np.shape(_elementwise.array_of(x))) for x in (x1, x2)]
    shape = broadcast_shape(*shapes, op="cosine_similarity")
    both = [x if of == shape else broadcast_to(x, shape) for x, of in zip((x1, x2), shapes, strict=True)]
    units = [x / _elementwise.clip(_magnitude.norm(x, 2, along, True), eps, None) for x in both]
    return _reduce.sum(units[0] * units[1], along)


def _as(input: Any, dtype: Any) -> Any:
    """The input in another dtype before anything is computed, which saves the digits; itself for None."""
    return input if dtype is None else to(input, dtype)


def _dim(input: Any, dim: int | None, axis: int | None, name: str) -> int:
    if (given := one_axis(name, dim, axis)) is not None:
        return given
    guess = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(
        f"{name}: dim was not given, {guess} is guessed from {input.ndim} axes; pass dim={guess}", stacklevel=3
    )
    return guess


def one_axis(name: str, dim: int | None, axis: int | None) -> int | None:
    """The axis under either of its two names. Raises TypeError if both are given."""
    if dim is not None and axis is not None:
        raise TypeError(f"{name}: dim and axis are the same parameter; give one")
    return axis if dim is None else dim


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(logits)[label]: (n k), (n) -> (), or (n k ...), (n ...), or target as probabilities (n k ...)."""
    return _loss.cross_entropy(
        input,
        target,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input[label] for log-probabilities: (n k), (n) -> ()"""
    return _loss.nll_loss(input, target, weight=weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(input - target)^2, averaged, summed or as it is."""
    return _loss.mse_loss(input, target, reduction=reduction)


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p; the input itself unless `training`.

    generator: where the choice is drawn; the package's default generator unless given.
    """
    output = _dropout.dropout(input, p, training, generator)
    return becomes(input, output, "dropout") if inplace and output is not input else output


def dropout1d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """dropout of whole channels: (n c l) -> (n c l), or (c l) for a single sample."""
    _check_axes("dropout1d", input, "(n, c, l) or (c, l)", 2, 3)
    output = _dropout.feature_dropout("dropout1d", input, p, training, generator, 1)
    return becomes(input, output, "dropout1d") if inplace and output is not input else output


def dropout2d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """dropout of whole channels: (n c h w) -> (n c h w)

    Raises ShapeError for three axes, which PyTorch reads as (n, c, l), with a warning, where an image is (c, h, w).
    Source: Tompson et al., Efficient object localization using convolutional networks (2015), sec. 3.2.
    """
    _check_axes("dropout2d", input, "(n, c, h, w); use unsqueeze(0) for a single image, dropout1d for (n, c, l)", 4)
    output = _dropout.feature_dropout("dropout2d", input, p, training, generator, 2)
    return becomes(input, output, "dropout2d") if inplace and output is not input else output


def alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """dropout to the limit of selu instead of 0, scaled and shifted so that mean 0 and variance 1 stay.

    Source: Klambauer et al., Self-normalizing neural networks (2017), sec. 2.
    """
    output = _dropout.alpha_dropout(input, p, training, generator)
    return becomes(input, output, "alpha_dropout") if inplace and output is not input else output


def _check_axes(name: str, input: Any, wanted: str, *numbers: int) -> None:
    x = _elementwise.array_of(input)
    if isinstance(x, np.ndarray) and x.ndim not in numbers:
        raise ShapeError(f"{name}: the input has shape {tuple(x.shape)}, needs {wanted}")


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel: (n c ...) -> (n c ...)

    In training mean and var are the batch's, and running_mean and running_var, if given, move towards them in place
    by `momentum` (the variance by its unbiased estimate); otherwise they are the running ones.
    """
    return _norm.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` with cells around it: pad is [before, after] of the last axis, then of the one before it, and so on.

    mode: 'constant' (`value`, 0 unless given), 'reflect' (without repeating the edge), 'replicate', 'circular'.
    A negative number crops. Raises ShapeError for an odd list, too long a list, or more than the axis can give.
    """
    widths = list(pad)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in widths):
        raise TypeError(f"pad: {widths!r} is not a list of integers")
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ShapeError(
            f"pad: {len(widths)} numbers {widths} for shape {tuple(input.shape)}; "
            f"two for each axis are needed, last axis first, at most {2 * input.ndim}"
        )
    if mode not in ("constant", *_MODES):
        raise ValueError(f"pad: mode={mode!r}; it can be 'constant', {', '.join(map(repr, _MODES))}")
    if mode != "constant" and value is not None:
        raise ValueError(f"pad: value={value} has no meaning in mode {mode!r}; leave it out")
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2) + list(zip(widths[-2::-2], widths[::-2], strict=True))
    for n, (before, after) in zip(input.shape, pairs, strict=True):
        if n + min(before, 0) + min(after, 0) < 0:
            raise ShapeError(f"pad: {widths} crops more than there is of shape {tuple(input.shape)}")
    output: Tensor = input
    if any(n < 0 for pair in pairs for n in pair):
        spans = zip(input.shape, pairs, strict=True)
        output = getitem(input, tuple(slice(max(0, -before), n - max(0, -after)) for n, (before, after) in spans))
        pairs = [(max(0, before), max(0, after)) for before, after in pairs]
    if mode == "constant":
        return _layout.pad(output, tuple(pairs), 0.0 if value is None else value)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            rows = _rows(output.shape[axis], before, after, mode)
            output = getitem(output, (slice(None),) * axis + (rows,))
    return output


_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # PyTorch's names -> NumPy's


def _rows(n: int, before: int, after: int, mode: str) -> Any:
    """Which row of an axis of length n each padded row repeats."""
    most = {"reflect": n - 1, "circular": n}.get(mode)
    if (most is not None and max(before, after) > most) or n == 0:
        raise ShapeError(
            f"pad: ({before}, {after}) cells in mode {mode!r} for an axis of length {n}; at most {most or 0} are there"
        )
    return np.pad(np.arange(n), (before, after), mode=_MODES[mode])  # type: ignore[call-overload]


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Every window of an image as a column (im2col): (n c h w) -> (n c*kh*kw windows)."""
    return batched(_patches.unfold, input, kernel_size, dilation, padding, stride)


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns added up where their windows lie in an image (col2im): (n c*kh*kw windows) -> (n c h w)."""
    if getattr(input, "ndim", 3) != 2:
        return _patches.fold(input, output_size, kernel_size, dilation, padding, stride)
    image = _patches.fold(_layout.unsqueeze(input, 0), output_size, kernel_size, dilation, padding, stride)
    return _layout.reshape(image, image.shape[1:])


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images in another size: (n c h w) -> (n c *size), or floor(length * scale_factor) of every axis behind (n c).

    mode: 'nearest' and 'nearest-exact'; 'linear', 'bilinear' and 'trilinear' for 1, 2 and 3 axes; 'bicubic' for 2.
    align_corners: whether the outermost pixels lie on each other, instead of the borders around them.

    Raises ValueError for another mode and for antialias, ShapeError for sizes that do not fit.
    """
    if antialias:
        raise ValueError("interpolate: antialias=True is not there; average with avg_pool2d first")
    return _resize.interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor)


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(... c*r*r h w) -> (... c h*r w*r): the r*r channels of a group become a square of pixels."""
    return _arrange.pixel_shuffle(input, upscale_factor)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """(... c h*r w*r) -> (... c*r*r h w): the inverse of pixel_shuffle."""
    return _arrange.pixel_unshuffle(input, downscale_factor)


def one_hot(labels: Any, num_classes: int = -1) -> Tensor:
    """1 at the label and 0 elsewhere, as int64: (...) -> (... num_classes); the largest label + 1 classes unless given.

    Raises TypeError unless the labels are integers, and IndexError for a label below 0 or beyond the last class.
    """
    values = labels.array if isinstance(labels, Tensor) else np.asarray(labels)
    if values.dtype.kind not in "iu":
        raise TypeError(f"one_hot: the labels are {values.dtype}; integers are needed")
    if num_classes == -1:
        if values.size == 0:
            raise ValueError("one_hot: no labels to count the classes from; give num_classes")
        num_classes = int(values.max()) + 1
    if values.size and not (values.min() >= 0 and values.max() < num_classes):
        worst = values.min() if values.min() < 0 else values.max()
        raise IndexError(f"one_hot: label {worst} is outside the {num_classes} classes 0 to {num_classes - 1}")
    return Tensor((values[..., None] == np.arange(num_classes)).astype(np.int64))
