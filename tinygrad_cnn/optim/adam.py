"""Adam, AdamW and NAdam: a running mean of gradients, over the root of a running mean of their squares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..graph import Array
from .optimizer import Group, Optimizer, State, mean_of, mean_square_of, plus_decay, shrunk

__all__ = ["Adam", "AdamW", "NAdam"]


class Adam(Optimizer):
    """p -= lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), m and v the running means of g and g^2.

    m = m + (1 - b1) (g - m), v = b2 v + (1 - b2) g^2, where weight_decay * p is added to g first;
    decoupled_weight_decay: lr * weight_decay * p is taken off p instead, as AdamW does.
    amsgrad: the largest v so far, not counting steps while it is off. maximize: g is negated.
    Source: Kingma & Ba, Adam (2015), algorithm 1; Reddi et al., On the convergence of Adam (2018), algorithm 2.
    """

    arrays = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    optional = ("max_exp_avg_sq",)
    counts = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, options)

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        p, g = _decayed(p, g, group)
        b1, b2 = map(float, group["betas"])
        t = state.get("step", 0) + 1
        m = mean_of(state.get("exp_avg"), g, b1)
        v = mean_square_of(state.get("exp_avg_sq"), g, b2)
        new = {**state, "step": t, "exp_avg": m, "exp_avg_sq": v}
        if group["amsgrad"]:
            v = np.maximum(state.get("max_exp_avg_sq", np.zeros_like(p)), v)
            new["max_exp_avg_sq"] = v
        change = np.sqrt(v)
        change /= math.sqrt(1.0 - b2**t)
        change += float(group["eps"])
        return p - float(group["lr"]) / (1.0 - b1**t) * m / change, new


class AdamW(Adam):
    """Adam whose weight decay takes lr * weight_decay * p off p first instead of entering g.

    Source: Loshchilov & Hutter, Decoupled weight decay regularization (2019), algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if not group["decoupled_weight_decay"]:
            raise ValueError("AdamW: decoupled_weight_decay=False; it must be True here, use Adam")


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: p -= lr * (c g + d m) / (sqrt(v / (1 - b2^t)) + eps).

    c = (1 - u_t) / (1 - u_1 ... u_t), d = u_(t+1) / (1 - u_1 ... u_(t+1)), u_t = b1 (1 - 0.96^(t momentum_decay) / 2),
    m and v as in Adam. weight_decay * p is added to g first; decoupled_weight_decay: lr * weight_decay * p is taken off
    p instead. maximize: g is negated.
    Source: Dozat, Incorporating Nesterov momentum into Adam (2016), algorithm 2 and its schedule of the momentum.
    """

    arrays = ("exp_avg", "exp_avg_sq")
    numbers = ("mu_product",)
    counts = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        p, g = _decayed(p, g, group)
        b1, b2 = map(float, group["betas"])
        lr, fading = float(group["lr"]), float(group["momentum_decay"])
        t = state.get("step", 0) + 1
        u, u_next = (b1 * (1.0 - 0.5 * 0.96 ** (step * fading)) for step in (t, t + 1))
        product = state.get("mu_product", 1.0) * u
        m = mean_of(state.get("exp_avg"), g, b1)
        v = mean_square_of(state.get("exp_avg_sq"), g, b2)
        change = np.sqrt(v / (1.0 - b2**t))
        change += float(group["eps"])
        ahead = lr * (1.0 - u) / (1.0 - product) * g + lr * u_next / (1.0 - product * u_next) * m
        return p - ahead / change, {"step": t, "mu_product": product, "exp_avg": m, "exp_avg_sq": v}


def _decayed(p: Array, g: Array, group: Group) -> tuple[Array, Array]:
    """The parameter and its gradient with weight decay in one of them."""
    return (shrunk(p, group), g) if group["decoupled_weight_decay"] else (p, plus_decay(p, g, group))
