"""The losses of classification."""

from typing import Any

from ...graph import Tensor
from ...ops.loss import cross_entropy, nll_loss
from ...ops.softmax import log_softmax
from .registry import Node, operator

__all__: list[str] = []


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node, x: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """-weight[t] x[t] at each position's label t: (n c ...), (n ...), (c) -> () or (n ...)

    A mean divides by the weights that count. Without ignore_index every label counts.
    """
    return nll_loss(x, labels, *_arguments(node, labels, weight))


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    node: Node, scores: Tensor, labels: Tensor, weight: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """NegativeLogLikelihoodLoss of log_softmax(scores), and the latter: (n c ...), (n ...), (c) -> () or (n ...)"""
    if node.outputs == 1:
        return cross_entropy(scores, labels, *_arguments(node, labels, weight))
    logs: Tensor = log_softmax(scores, 1)
    return nll_loss(logs, labels, *_arguments(node, labels, weight)), logs


def _arguments(node: Node, labels: Tensor, weight: Tensor | None) -> tuple[Any, int, str]:
    """(weight, ignore_index, reduction); no label has the index that is ignored unless the node names one."""
    if labels.dtype.kind not in "iu":
        raise node.fail(f"the labels are {labels.dtype}; integers are needed")
    ignored = node.attribute("ignore_index")
    if ignored is None:
        ignored = int(labels.array.min(initial=0)) - 1
    return None if weight is None else weight.detach(), ignored, node.attribute("reduction", "mean")
