"""The table of explainers, by op, and by op and input for gradients; each file of explainers fills in its part."""

from collections.abc import Callable
from typing import TypeVar

from .calls import Call, Upstream
from .table import Index, Shown

Forward = Callable[[Call, Index], Shown]
Backward = Callable[[Call, Index, Upstream], Shown]
OfMany = Callable[[Call, Index, Upstream, int], Shown]
F = TypeVar("F", bound=Forward)
B = TypeVar("B", bound=Backward)

FORWARD: dict[str, Forward] = {}
BACKWARD: dict[tuple[str, str], Backward] = {}
VARIADIC: dict[str, OfMany] = {}  # of ops of any number of inputs: told which one is meant


def shows(*ops: str) -> Callable[[F], F]:
    """Make a function the explainer of what these ops compute."""

    def enter(explainer: F) -> F:
        FORWARD.update(dict.fromkeys(ops, explainer))
        return explainer

    return enter


def shows_gradient(name: str, *ops: str) -> Callable[[B], B]:
    """Make a function the explainer of the gradient of input `name` of these ops."""

    def enter(explainer: B) -> B:
        BACKWARD.update(dict.fromkeys(((op, name) for op in ops), explainer))
        return explainer

    return enter
