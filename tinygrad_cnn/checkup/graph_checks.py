"""Checks of what was computed: which op follows which, and which pixels no window reads."""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry import conv2d_geometry, pool2d_geometry, unread_at_end
from ..graph import Tensor
from ..shapes import shown
from .evidence import Evidence
from .trace import Step

Remark = tuple[str, str, str]  # what is there, where, what to do

CROSS_ENTROPY = ("cross_entropy_of_labels", "cross_entropy_of_probabilities")
_WITH_LOGITS = (*CROSS_ENTROPY, "binary_cross_entropy_with_logits")
_POOLS = ("max_pool2d", "avg_pool2d", "sum_pool2d")


def softmax_before_cross_entropy(found: Evidence) -> Iterator[Remark]:
    """cross_entropy takes the softmax itself."""
    for step in found.trace.named(*CROSS_ENTROPY):
        maker = found.trace.maker(step.inputs[0])
        if maker is not None and maker.name in ("softmax", "log_softmax"):
            harm = (
                "a second softmax keeps every probability near 1/C, so that the gradient is small"
                if maker.name == "softmax"
                else "the logarithm is taken twice, which changes nothing and costs time"
            )
            yield (
                f"cross_entropy, which takes the softmax itself, is given the result of {maker.name}: {harm}",
                maker.where,
                f"give it the logits: leave {maker.name} out" + (", or use nll_loss" if "log" in maker.name else ""),
            )


def sigmoid_before_logits_loss(found: Evidence) -> Iterator[Remark]:
    """binary_cross_entropy_with_logits takes the sigmoid itself."""
    for step in found.trace.named("binary_cross_entropy_with_logits"):
        maker = found.trace.maker(step.inputs[0])
        if maker is not None and maker.name == "sigmoid":
            yield (
                "binary_cross_entropy_with_logits, which takes the sigmoid itself, is given the result of sigmoid: no "
                "probability leaves the range from 0.5 to 0.73",
                maker.where,
                "leave sigmoid out, or use binary_cross_entropy",
            )


def no_logarithm_before_nll(found: Evidence) -> Iterator[Remark]:
    """nll_loss takes logarithms of probabilities."""
    for step in found.trace.named("nll_of_labels"):
        if step.x.size and step.x.max() > 1e-4:
            maker = found.trace.maker(step.inputs[0])
            made = f", the result of {maker.name}" if maker is not None else ""
            yield (
                f"nll_loss is given values up to {step.x.max():g}{made}; a logarithm of a probability is at most 0",
                step.where,
                "use cross_entropy on the logits, or log_softmax before nll_loss",
            )


def broadcast_in_the_loss(found: Evidence) -> Iterator[Remark]:
    """An outer difference of (n 1) and (n) is (n n)."""
    for step in found.trace.steps:
        shapes = [array.shape for array in step.arrays if getattr(array, "ndim", 0)]
        if not step.is_loss or len(shapes) != 2 or not step.arrays[0].size or step.name in ("matmul", "getitem"):
            continue
        if step.out.size > max(array.size for array in step.arrays):
            yield (
                f"{step.name} of {shown(shapes[0])} and {shown(shapes[1])} in the loss is {shown(step.out.shape)}: "
                "every output is compared with every target",
                step.where,
                "give both one shape: outputs.squeeze(1), or targets[:, None]",
            )


def bias_before_batch_norm(found: Evidence) -> Iterator[Remark]:
    """The mean that batch norm subtracts holds the bias."""
    for step in found.trace.of_model("batch_norm_train", "batch_norm_eval"):
        maker = found.trace.maker(step.inputs[0])
        if maker is None or maker.name not in ("conv2d", "linear", "conv_transpose2d"):
            continue
        bias = maker.inputs[2] if len(maker.inputs) > 2 else None
        if isinstance(bias, Tensor) and bias.requires_grad:
            yield (
                f"the {bias.array.size} numbers of the bias do nothing: the batch norm behind it subtracts them again",
                maker.where,
                "bias=False",
            )


def relu_on_logits(found: Evidence) -> Iterator[Remark]:
    """Logits must be able to be negative."""
    for step in found.trace.named(*_WITH_LOGITS):
        maker = found.trace.maker(step.inputs[0])
        if maker is not None and maker.name in ("relu", "mask_positive"):
            share = float((maker.out == 0).mean())
            yield (
                f"the logits come out of relu: {share:.0%} of them are 0 and get no gradient, none can be negative",
                maker.where,
                "leave the last relu out",
            )


def pixels_dropped(found: Evidence) -> Iterator[Remark]:
    """Rows and columns at the end that no window reads."""
    seen = set()
    for step in found.trace.of_model("conv2d", *_POOLS):
        unread = _unread(step)
        key = (step.path, step.name, step.x.shape[1:])
        if max(unread) > 0 and key not in seen:
            seen.add(key)
            words = [f"{n} of {m} {w}" for n, m, w in zip(unread, step.x.shape[2:], ("rows", "columns"), strict=True)]
            said = " and ".join(word for word, n in zip(words, unread, strict=True) if n > 0)
            yield (
                f"the last {said} are never read: the windows do not tile {shown(step.x.shape[2:])}",
                step.where,
                "choose a padding or a stride that tiles (solve_conv lists them), or crop on purpose",
            )


def _unread(step: Step) -> tuple[int, int]:
    """How many rows and columns at the end of the image no window reads; 0 where windows leave gaps anyway."""
    p = step.params
    geometry: object
    if step.name == "conv2d":
        geometry = conv2d_geometry(
            step.x.shape, step.arrays[1].shape, p["stride"], p["padding"], p["dilation"], p["groups"]
        )
    else:
        geometry = pool2d_geometry(
            step.x.shape, p["kernel_size"], p["stride"], p["padding"], p.get("dilation", 1), p["ceil_mode"]
        )
    found = []
    for h, k, s, (lo, _), d, o in zip(
        geometry.size, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.out, strict=True
    ):
        reach = d * (k - 1) + 1
        found.append(unread_at_end(h, lo, s, reach, o) if reach >= s else 0)
    return found[0], found[1]
