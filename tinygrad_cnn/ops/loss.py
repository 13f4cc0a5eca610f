"""Losses. Softmax and cross-entropy are one primitive, for integer labels and for probabilities."""

from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..basics import cast
from ..graph import Tensor
from ..kernels.reduce import sum_pairwise
from ..primitive import op
from ..shapes import ShapeError, broadcast_shape
from .elementwise import array_of, mask
from .index import add_at, getitem
from .layout import unsqueeze
from .reduce import sum
from .softmax import log_softmax, shifted_exp, softmax

__all__ = ["cross_entropy", "mse_loss", "nll_loss"]

REDUCTIONS = ("none", "mean", "sum")


class Labels(NamedTuple):
    """Integer labels as the losses read them: one position is one label."""

    at: tuple[Any, ...]  # indexes the logits: each position's entry of its own class
    keep: Any  # which positions count, or None if all do
    weight: Any  # of each position's class, or 1.0
    total: float  # what a mean divides by: the weights of the positions that count

    def scale(self, reduction: str) -> float:
        """The factor of the summed losses."""
        return float(np.divide(1.0, self.total)) if reduction == "mean" else 1.0


def _class_axis(op: str, shape: tuple[int, ...]) -> int:
    """Which axis of the logits counts classes: 1, or 0 without a batch."""
    if not shape:
        raise ShapeError(f"{op}: the input has shape (), needs (classes,), (n, classes) or (n, classes, ...)")
    axis = min(1, len(shape) - 1)
    if not shape[axis]:
        raise ShapeError(f"{op}: the input has shape {tuple(shape)}, so 0 classes, needs at least 1 on axis {axis}")
    return axis


def _check_weight(op: str, weight: Any, classes: int, dtype: Any) -> Any:
    weight = np.asarray(weight)
    if weight.dtype.kind not in "iuf":
        raise TypeError(f"{op}: weight is {weight.dtype}; one number for each class is needed")
    if weight.shape != (classes,):
        raise ShapeError(f"{op}: weight has shape {weight.shape}, needs ({classes},), one number for each class")
    return weight.astype(dtype, copy=False)


def _read_labels(op: str, shape: tuple[int, ...], labels: Any, weight: Any, ignore_index: int) -> Labels:
    """Check labels against logits of `shape`; ignored ones point at class 0."""
    axis = _class_axis(op, shape)
    classes, positions = shape[axis], (*shape[:axis], *shape[axis + 1 :])
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: the target is {labels.dtype}; class labels are integers from 0 to {classes - 1}")
    if labels.shape != positions:
        raise ShapeError(_wrong_target(op, shape, labels.shape, positions))
    index = labels.astype(np.intp)  # always a copy, which later writes to the caller's labels do not reach
    keep = index != ignore_index
    wrong = (index < 0) | (index >= classes)
    if wrong.any() and (wrong := wrong & keep).any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        found = int(labels[place])
        remedy = f"ignore_index={found} would leave such targets out" if found < 0 else "or give the input more classes"
        raise IndexError(
            f"{op}: target{list(place) if place else ''} is {found}, but the {classes} classes of the input "
            f"{tuple(shape)} are 0 to {classes - 1}; correct the labels ({remedy})"
        )
    if keep.all():
        keep = None
    else:
        index[~keep] = 0
    grid = np.indices(positions, sparse=True)
    own, total = 1.0, float(index.size if keep is None else np.count_nonzero(keep))
    if weight is not None:
        own = weight[index]
        counted = own if keep is None else np.where(keep, own, own.dtype.type(0))
        total = float(sum_pairwise(np.asarray(counted), tuple(range(counted.ndim)), False))
    return Labels((*grid[:axis], index, *grid[axis:]), keep, own, total)


def _wrong_target(op: str, shape: tuple[int, ...], target: tuple[int, ...], positions: tuple[int, ...]) -> str:
    there = f"{op}: the target has shape {tuple(target)} for an input of {tuple(shape)}"
    if target == shape:
        return f"{there}, integer class labels need {positions}; make them float if they are probabilities, else argmax"
    one = next((i for i, n in enumerate(target) if n == 1 and target[:i] + target[i + 1 :] == positions), None)
    remedy = f"drop its axis of length 1: target.squeeze({one})" if one is not None else "reshape it"
    return f"{there}, needs {positions}, one class label for each position; {remedy}"


def weighted_logs(q: Any, logp: Any) -> Any:
    """q * logp of arrays, where 0 * -inf counts 0 (the limit of q log q)."""
    return np.where((q == 0) & (logp == -np.inf), logp.dtype.type(0), q * logp)


def reduced(losses: Any, reduction: str, scale: float) -> Any:
    """The losses of all positions as they are, or their sum times `scale`."""
    if reduction == "none":
        return losses
    total = sum_pairwise(losses, tuple(range(losses.ndim)), False)
    return total * total.dtype.type(scale)


def _unreduced(g: Any, positions: tuple[int, ...], reduction: str, scale: float) -> Any:
    """The gradient of every position's loss from that of the reduced one."""
    return g if reduction == "none" else g * np.full(positions, scale, g.dtype)


@op(floating=True, residual="read")
def cross_entropy_of_labels(
    x: Any,
    /,
    labels: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """sum_c q[c] (log(sum(exp(x))) - x[c]) with q = (1-s) w[t] onehot(t) + s w / classes, s = label_smoothing.

    (n c ...), (n ...) -> () or (n ...); or (c), () -> ()
    """
    axis = _class_axis("cross_entropy", x.shape)
    classes = x.shape[axis]
    wide = np.promote_types(x.dtype, np.float32)
    if weight is not None:
        weight = _check_weight("cross_entropy", weight, classes, wide)
    read = _read_labels("cross_entropy", x.shape, labels, weight, ignore_index)
    shifted, _, total = shifted_exp(x, (axis,))
    log_total = np.log(total)
    own = np.asarray(shifted[read.at] - log_total.squeeze(axis))
    if weight is not None or label_smoothing:
        own = weighted_logs(wide.type(1.0 - label_smoothing) * read.weight, own)
    if label_smoothing:
        others = shifted - log_total
        if weight is not None:
            others = weighted_logs(_beside(weight, axis, x.ndim), others)
        own = own + sum_pairwise(others, (axis,), False) * wide.type(label_smoothing / classes)
    losses = -own if read.keep is None else np.where(read.keep, -own, own.dtype.type(0))
    return reduced(np.asarray(losses), reduction, read.scale(reduction)).astype(x.dtype, copy=False), read


def _beside(weight: Any, axis: int, ndim: int) -> Any:
    """Class weights shaped to multiply logits: (c) -> (c 1 ...)."""
    return weight.reshape((-1,) + (1,) * (ndim - 1 - axis))


def _smoothing(weight: Any, label_smoothing: float, shape: tuple[int, ...], dtype: Any) -> tuple[Any, float]:
    """What every class receives beside the label, (c 1 ...) or a number, and the sum over the classes."""
    if not label_smoothing or weight is None:
        return label_smoothing / shape[min(1, len(shape) - 1)], label_smoothing
    axis = min(1, len(shape) - 1)
    share = np.asarray(weight, dtype) * dtype.type(label_smoothing / shape[axis])
    return _beside(share, axis, len(shape)), float(share.sum())


def _positions_classes(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many positions the logits have, and how many classes."""
    classes = shape[min(1, len(shape) - 1)]
    return prod(shape) // classes, classes


def reduction_flops(positions: int, reduction: str, weighted: bool = False) -> int:
    """The sum of the losses, and for a mean its quotient by the count or by the sum of the weights."""
    return {"none": 0, "sum": positions, "mean": positions * (1 + weighted) + 1}[reduction]


@op
def cross_entropy_gradient(p: Any, h: Any, /, read: Labels, kept: float, share: Any, shared: float) -> Any:
    """h (Q p - q): the gradient for the logits, from their softmax p and the gradient h of each position's loss.

    (n c ...), (n ...) -> (n c ...)

    q = kept w[t] onehot(t) + share, and Q = kept w[t] + shared is its sum over the classes; no one-hot is built.
    """
    axis = min(1, p.ndim - 1)
    own = h * (kept * read.weight)
    out = p * np.expand_dims(own + h * shared, axis)
    out[read.at] -= own
    if shared:
        out -= np.expand_dims(h, axis) * share
    return out.astype(p.dtype, copy=False)


cross_entropy_gradient.vjp(
    p=lambda g, h, read, kept, shared: g * unsqueeze(h * (read.weight * kept + shared), min(1, g.ndim - 1)),
    h=lambda g, p, read, kept, share, shared: (
        sum(g * p, min(1, g.ndim - 1)) * (read.weight * kept + shared)
        - getitem(g, read.at) * (read.weight * kept)
        - sum(g * share, min(1, g.ndim - 1))
    ),
)
cross_entropy_gradient.formula(p="∂out · h_nhw · Σ_c q", h="Σ_c ∂out·(p · Σ_c q − q)")
cross_entropy_gradient.flops(lambda p_shape, h_shape, shared: 5 * prod(h_shape) + (3 if shared else 1) * prod(p_shape))


def _labels_gradient(
    g: Any, x: Any, x_shape: tuple[int, ...], read: Labels, weight: Any, reduction: str, label_smoothing: float
) -> Any:
    axis = min(1, len(x_shape) - 1)
    h = _unreduced(g, x_shape[:axis] + x_shape[axis + 1 :], reduction, read.scale(reduction))
    if read.keep is not None:  # what an ignored position holds, nan too, must not reach the others
        h, x = mask(h, read.keep), mask(x, np.expand_dims(read.keep, axis))
    share, shared = _smoothing(weight, label_smoothing, x_shape, g.dtype)
    return cross_entropy_gradient(
        softmax(x, axis), h, read=read, kept=1.0 - label_smoothing, share=share, shared=shared
    )


cross_entropy_of_labels.vjp(x=_labels_gradient)
cross_entropy_of_labels.formula(x="∂out/N · (softmax x · Σ_c q − q)")


def _labels_flops(x_shape: tuple[int, ...], weight: Any, reduction: str, label_smoothing: float) -> int:
    """-log softmax at each label, its factors, and with smoothing the weighted sum over the classes."""
    positions, classes = _positions_classes(x_shape)
    weighted, smoothed = weight is not None, bool(label_smoothing)
    each = 4 * classes + 3 + weighted + smoothed + smoothed * ((2 + weighted) * classes + 2)
    return positions * each + reduction_flops(positions, reduction, weighted)


cross_entropy_of_labels.flops(_labels_flops)


def _labels_sample(draw: Any) -> Any:
    """The shape of logits with 4 classes, and labels for them, some of which may be ignored."""
    positions = draw.choice([(3,), (), (2, 3)])
    labels = draw.labels(4, *positions)
    first = int(labels.flat[0])
    return (*positions[:1], 4, *positions[1:]), {
        "labels": labels,
        "weight": draw.choice([None, np.array([0.5, 1.0, 1.5, 2.0])]),
        "ignore_index": -100 if np.all(labels == first) else draw.choice([-100, first]),
        "reduction": draw.choice(["none", "mean", "sum"]),
    }


@cross_entropy_of_labels.sample
def _(draw: Any) -> Any:
    shape, params = _labels_sample(draw)
    return (draw.logits(*shape),), {**params, "label_smoothing": draw.choice([0.0, 0.3, 1.0])}


@cross_entropy_gradient.sample
def _(draw: Any) -> Any:
    weight = draw.choice([None, np.array([0.5, 1.5, 2.0])])
    shape, positions = draw.choice([((2, 3, 2), (2, 2)), ((2, 3), (2,)), ((3,), ())])
    read = _read_labels("cross_entropy", shape, draw.labels(3, *positions), weight, -100)
    share, shared = _smoothing(weight, draw.choice([0.0, 0.25]), shape, np.dtype(np.float64))
    return (draw.array(*shape), draw.array(*positions)), {"read": read, "kept": 0.75, "share": share, "shared": shared}


@op(floating=True)
def cross_entropy_of_probabilities(
    x: Any, target: Any, /, weight: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    """-sum_c q[c] log_softmax(x)[c] with q = w ((1-s) target + s / classes), s = label_smoothing; 0 * -inf counts 0.

    (n c ...), (n c ...) -> () or (n ...); or (c), (c) -> (). The mean divides by the number of positions.
    """
    axis = _class_axis("cross_entropy", x.shape)
    wide = np.promote_types(x.dtype, np.float32)
    if weight is not None:
        weight = _check_weight("cross_entropy", weight, x.shape[axis], wide)
    shifted, _, total = shifted_exp(x, (axis,))
    q = _smoothed(target.astype(wide, copy=False), weight, label_smoothing, axis)
    losses = -sum_pairwise(weighted_logs(q, shifted - np.log(total)), (axis,), False)
    return reduced(losses, reduction, _position_scale(x.shape, reduction)).astype(x.dtype, copy=False)


def _position_scale(shape: tuple[int, ...], reduction: str) -> float:
    axis = min(1, len(shape) - 1)
    n = np.prod([*shape[:axis], *shape[axis + 1 :]])
    return float(np.divide(1.0, n)) if reduction == "mean" else 1.0


def _smoothed(target: Any, weight: Any, label_smoothing: float, axis: int) -> Any:
    """w ((1-s) target + s / classes)"""
    q = target * (1.0 - label_smoothing) + label_smoothing / target.shape[axis] if label_smoothing else target
    return q if weight is None else q * _beside(np.asarray(weight, target.dtype), axis, target.ndim)


def _position_gradient(g: Any, shape: tuple[int, ...], reduction: str) -> Any:
    """(n ...) or () -> (n 1 ...)"""
    axis = min(1, len(shape) - 1)
    positions = shape[:axis] + shape[axis + 1 :]
    return unsqueeze(_unreduced(g, positions, reduction, _position_scale(shape, reduction)), axis)


def _probabilities_input_gradient(
    g: Any, x: Any, target: Any, weight: Any, reduction: str, label_smoothing: float
) -> Any:
    axis = min(1, x.ndim - 1)
    q = _smoothed(target, weight, label_smoothing, axis)
    return _position_gradient(g, x.shape, reduction) * (softmax(x, axis) * sum(q, axis, True) - q)


def _probabilities_target_gradient(g: Any, x: Any, weight: Any, reduction: str, label_smoothing: float) -> Any:
    axis = min(1, x.ndim - 1)
    d = log_softmax(x, axis) * (label_smoothing - 1.0)
    if weight is not None:
        d = d * _beside(np.asarray(weight, x.dtype), axis, x.ndim)
    return _position_gradient(g, x.shape, reduction) * d


cross_entropy_of_probabilities.vjp(x=_probabilities_input_gradient, target=_probabilities_target_gradient)
cross_entropy_of_probabilities.formula(
    x="∂out/N · (softmax x · Σ_c q − q)", target="−∂out/N · weight_c · (1 − label_smoothing) · log softmax x"
)


def _probabilities_flops(x_shape: tuple[int, ...], weight: Any, reduction: str, label_smoothing: float) -> int:
    """q, log softmax, and the sum of their products."""
    positions, classes = _positions_classes(x_shape)
    q = 2 * bool(label_smoothing) + (weight is not None)
    return positions * ((7 + q) * classes + 2) + reduction_flops(positions, reduction)


cross_entropy_of_probabilities.flops(_probabilities_flops)


@cross_entropy_of_probabilities.sample
def _(draw: Any) -> Any:
    shape = draw.choice([(3, 4), (4,), (2, 4, 3)])
    return (draw.logits(*shape), draw.positive(*shape)), {
        "weight": draw.choice([None, np.array([0.5, 1.5, 2.0, 1.0])]),
        "reduction": draw.choice(["none", "mean", "sum"]),
        "label_smoothing": draw.choice([0.0, 0.3]),
    }


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log(softmax(input)[target]) of logits, averaged over the positions, in one stable step.

    (n c ...), (n ...) integer labels or (n c ...) probabilities -> (); unbatched: (c), () or (c) -> ()

    weight: a factor for each class. ignore_index: labels that do not count, whatever the logits are there.
    reduction: "mean", "sum", or "none" for one loss per position. The mean over labels divides by the sum of
        the weights that count, nan if there are none; over probabilities it divides by the number of positions.
    label_smoothing: from 0 to 1; the share of every target that is spread evenly over the classes.

    Probabilities are not normalised, gradients flow into them, and 0 * log(0) counts 0.

    Raises IndexError for labels that are no class, TypeError for boolean ones, ShapeError if target and input
    do not fit.
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}; it must lie between 0 and 1")
    target = target if isinstance(target, (Tensor, np.ndarray)) else np.asarray(target)
    shape = tuple(np.shape(array_of(input)))
    if target.dtype.kind == "b":
        raise TypeError(
            "cross_entropy: the target is bool; class labels are integers and probabilities are float, so convert it "
            "to the one that is meant"
        )
    if target.dtype.kind != "f":
        return cross_entropy_of_labels(
            input,
            labels=target,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    if target.shape != shape:
        _class_axis("cross_entropy", shape)
        remedy = "convert class labels to integers" if target.ndim < len(shape) or 1 in target.shape else "reshape it"
        raise ShapeError(
            f"cross_entropy: the target is {target.dtype} of shape {tuple(target.shape)}, so probabilities, which need "
            f"the input's shape {shape}; {remedy}"
        )
    if ignore_index >= 0:
        raise ValueError(
            f"cross_entropy: ignore_index={ignore_index} with probabilities as target, which name no class to ignore; "
            "leave it out, and give ignored positions probabilities of 0"
        )
    x = array_of(input)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and target.dtype != x.dtype:
        target = cast(target, x.dtype)
    return cross_entropy_of_probabilities(
        input, target, weight=weight, reduction=reduction, label_smoothing=label_smoothing
    )


def check_reduction(op: str, reduction: str) -> None:
    """Raise ValueError unless `reduction` is one of REDUCTIONS."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction is {reduction!r}; it must be 'none', 'mean' or 'sum'")


@op(floating=True, residual="read")
def nll_of_labels(x: Any, /, labels: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-w[t] x[t] at each position's label t; see nll_loss."""
    axis = _class_axis("nll_loss", x.shape)
    wide = np.promote_types(x.dtype, np.float32)
    if weight is not None:
        weight = _check_weight("nll_loss", weight, x.shape[axis], wide)
    read = _read_labels("nll_loss", x.shape, labels, weight, ignore_index)
    values = np.asarray(x[read.at], wide)
    if weight is not None:
        values = weighted_logs(read.weight, values)
    losses = -values if read.keep is None else np.where(read.keep, -values, wide.type(0))
    return reduced(np.asarray(losses), reduction, read.scale(reduction)).astype(x.dtype, copy=False), read


def _nll_gradient(g: Any, x_shape: tuple[int, ...], read: Labels, reduction: str) -> Any:
    axis = min(1, len(x_shape) - 1)
    h = _unreduced(g, x_shape[:axis] + x_shape[axis + 1 :], reduction, read.scale(reduction))
    if read.keep is not None:
        h = mask(h, read.keep)
    return add_at(h * -read.weight, read.at, x_shape)


nll_of_labels.vjp(x=_nll_gradient)
nll_of_labels.formula(x="−∂out/N · q")


def _nll_flops(x_shape: tuple[int, ...], weight: Any, reduction: str) -> int:
    """The sign, and the weight."""
    positions, _ = _positions_classes(x_shape)
    return positions * (1 + (weight is not None)) + reduction_flops(positions, reduction, weight is not None)


nll_of_labels.flops(_nll_flops)


@nll_of_labels.sample
def _(draw: Any) -> Any:
    shape, params = _labels_sample(draw)
    return (draw.array(*shape),), params


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-input[target] of log-probabilities: cross_entropy(x, t) = nll_loss(log_softmax(x, 1), t).

    (n c ...), (n ...) -> () or (n ...); or (c), () -> ()

    Arguments, weighting and errors as in cross_entropy.
    """
    check_reduction("nll_loss", reduction)
    labels = target if isinstance(target, (Tensor, np.ndarray)) else np.asarray(target)
    return nll_of_labels(input, labels=labels, weight=weight, ignore_index=ignore_index, reduction=reduction)


@op(broadcast=True, floating=True)
def squared_error(x: Any, y: Any, /, reduction: str = "mean") -> Any:
    """(x - y)^2, elementwise, summed or averaged."""
    d = np.asarray(x - y)
    wide = d.astype(np.promote_types(d.dtype, np.float32), copy=False)
    scale = float(np.divide(1.0, d.size)) if reduction == "mean" else 1.0
    return reduced(wide * wide, reduction, scale).astype(d.dtype, copy=False)


def _squared_error_gradient(g: Any, x: Any, y: Any, reduction: str) -> Any:
    d = x - y
    return g * d * (2.0 / max(array_of(d).size, 1) if reduction == "mean" else 2.0)


squared_error.vjp(x=_squared_error_gradient, y=lambda g, x, y, reduction: _squared_error_gradient(g, y, x, reduction))
squared_error.formula(x="∂out · 2 · (x − y) / N", y="∂out · 2 · (y − x) / N")


def _squared_error_flops(x_shape: tuple[int, ...], y_shape: tuple[int, ...], reduction: str) -> int:
    """Difference, square, reduction."""
    n = prod(broadcast_shape(x_shape, y_shape))
    return 2 * n + reduction_flops(n, reduction)


squared_error.flops(_squared_error_flops)


@squared_error.sample
def _(draw: Any) -> Any:
    return tuple(draw.broadcastable(2)), {"reduction": draw.choice(["none", "mean", "sum"])}


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)^2, averaged, summed ("sum") or for each element ("none"); gradients flow into both.

    Raises ShapeError unless the shapes are the same: (n, 1) against (n,) would broadcast to (n, n) unnoticed.

        >>> import tinygrad_cnn as tg
        >>> try:
        ...     tg.mse_loss(tg.zeros(4, 1), tg.zeros(4))
        ... except tg.ShapeError as error:
        ...     print(error.args[0].partition("; ")[2])
        reshape one: target.reshape(4, 1) or input.reshape(4,)
    """
    check_reduction("mse_loss", reduction)
    shapes: list[tuple[int, ...]] = [tuple(np.shape(array_of(x))) for x in (input, target)]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"mse_loss: the shapes are {shapes[0]} and {shapes[1]}, needs equal shapes; {aligned(*shapes)}"
        )
    return squared_error(input, target, reduction=reduction)


def aligned(input: tuple[int, ...], target: tuple[int, ...]) -> str:
    """What to do about an input and a target of two shapes."""
    if np.prod(input) == np.prod(target):
        return f"reshape one: target.reshape{input} or input.reshape{target}"
    return f"expand one on purpose, as in target.expand{input}, if it is meant to be repeated"
