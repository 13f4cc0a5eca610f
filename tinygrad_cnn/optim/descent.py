"""SGD and Lion: steps along the gradient, or along its signs, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..graph import Array
from .optimizer import Group, Optimizer, State, mean_of, plus_decay, shrunk

__all__ = ["Lion", "SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * v, v = momentum * v + (1 - dampening) * (g + weight_decay * p).

    The first v is g itself. nesterov: p -= lr * (g + momentum * v). maximize: g is negated.
    Source: Sutskever et al., On the importance of initialization and momentum in deep learning (2013), sec. 2,
    in PyTorch's form, where lr stands outside of v.
    """

    arrays = ("momentum_buffer",)
    optional = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum > 0 and dampening 0, "
                f"here momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        momentum = float(group["momentum"])
        g = plus_decay(p, g, group)
        if momentum:
            v = state.get("momentum_buffer")
            v = g.copy() if v is None else momentum * v + (1.0 - float(group["dampening"])) * g
            g = g + momentum * v if group["nesterov"] else v
            state = {"momentum_buffer": v}
        return p - float(group["lr"]) * g, state


class Lion(Optimizer):
    """p -= lr * sign(m + (1 - b1) (g - m)), then m = m + (1 - b2) (g - m): every entry moves by lr, or stays at 0.

    weight_decay: lr * weight_decay * p is taken off p first. maximize: g is negated.
    lr is to be 3 to 10 times smaller than for AdamW, and weight_decay as much larger.
    Source: Chen et al., Symbolic discovery of optimization algorithms (2023), algorithm 2 and sec. 5. PyTorch does not
    have it; the arguments are those of the authors' code.
    """

    arrays = ("exp_avg",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        b1, b2 = map(float, group["betas"])
        m = state.get("exp_avg")
        signs = np.sign(mean_of(m, g, b1))
        return shrunk(p, group) - float(group["lr"]) * signs, {"exp_avg": mean_of(m, g, b2)}
