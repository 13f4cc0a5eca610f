"""The losses as modules, under PyTorch's names."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..graph import Tensor
from ..ops.elementwise import array_of
from ..shapes import broadcast_shape
from . import functional as F
from .module import Layer


class _Loss(Layer):
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, reduction: str) -> None:
        super().__init__()
        if reduction not in self.reductions:
            *others, last = map(repr, self.reductions)
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r}; it can be {', '.join(others)} or {last}")
        self.reduction = reduction

    def count(self, input: Any, target: Any) -> float | None:
        """What the mean over this input and target divides by; None if the loss is no mean.

        The means of two parts of a batch, weighted by it, make the mean of the whole.
        """
        if self.reduction == "batchmean":
            return float(np.shape(array_of(input))[0])
        return self._terms(array_of(input), array_of(target)) if self.reduction == "mean" else None

    def _terms(self, input: Any, target: Any) -> float:
        return float(prod(broadcast_shape(np.shape(input), np.shape(target), op=type(self).__name__)))


def _labels_that_count(labels: Any, weight: Tensor | None, ignore_index: int) -> float:
    """The number of labels that are not ignored, or the sum of the weights of their classes."""
    kept = labels[labels != ignore_index]
    return float(kept.size if weight is None else weight.array[kept].sum(dtype=np.float64))


class CrossEntropyLoss(_Loss):
    """-log softmax(logits)[label], averaged: (n k), (n) -> (). See functional.cross_entropy."""

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing={label_smoothing}; a number from 0 to 1 is needed")
        self.register_buffer("weight", None if weight is None else Tensor(weight))
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def _terms(self, input: Any, target: Any) -> float:
        if np.shape(target) == np.shape(input):  # probabilities of classes, whose weights change no mean
            return float(np.size(target) / np.shape(target)[min(1, np.ndim(target) - 1)])
        return _labels_that_count(np.asarray(target), self.weight, self.ignore_index)


class NLLLoss(_Loss):
    """-input[label] for log-probabilities, averaged: (n k), (n) -> ()."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", None if weight is None else Tensor(weight))
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)

    def _terms(self, input: Any, target: Any) -> float:
        return _labels_that_count(np.asarray(target), self.weight, self.ignore_index)


class MSELoss(_Loss):
    """(input - target)^2, averaged."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class HalfSquaredError(_Loss):
    """(input - target)^2 / 2, summed."""

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.half_squared_error(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|input - target|, averaged."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) up to d = beta, and d - beta / 2 beyond, for d = |input - target|, averaged."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 up to d = delta, and delta * (d - delta / 2) beyond, for d = |input - target|, averaged."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(_Loss):
    """target * (log(target) - input) of log-probabilities and probabilities; "batchmean" is the divergence."""

    reductions = ("mean", "sum", "none", "batchmean")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class HingeEmbeddingLoss(_Loss):
    """x where the target is 1, max(0, margin - x) where it is -1, averaged."""

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class BCELoss(_Loss):
    """-(y log(p) + (1 - y) log(1 - p)) of probabilities, averaged. See functional.binary_cross_entropy."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", None if weight is None else Tensor(weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """BCELoss of sigmoid(input) in one stable step; pos_weight: factors for the targets above 0."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", None if weight is None else Tensor(weight))
        self.register_buffer("pos_weight", None if pos_weight is None else Tensor(pos_weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
