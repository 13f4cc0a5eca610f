"""Adagrad, RMSprop and Adadelta: every entry has its own step, the gradient over the root of its squares so far."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..graph import Array
from .optimizer import Group, Optimizer, State, mean_of, mean_square_of, plus_decay

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps), s = initial_accumulator_value + g_1^2 + ... + g_t^2.

    weight_decay * p is added to g first. maximize: g is negated. A state begins at the parameter's first step.
    Source: Duchi, Hazan & Singer, Adaptive subgradient methods (2011), sec. 1.1, the diagonal form.
    """

    arrays = ("sum",)
    counts = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        g = plus_decay(p, g, group)
        t = state.get("step", 0) + 1
        total = state.get("sum", float(group["initial_accumulator_value"])) + g * g
        change = np.sqrt(total)
        change += float(group["eps"])
        lr = float(group["lr"]) / (1.0 + (t - 1) * float(group["lr_decay"]))
        return p - lr * g / change, {"step": t, "sum": total}


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps), v = alpha * v + (1 - alpha) * g^2 from 0.

    centered: v - m^2 stands under the root, m the running mean of g: an estimate of the variance.
    momentum: p -= lr * u, u = momentum * u + g / (sqrt(v) + eps). weight_decay * p is added to g first.
    maximize: g is negated. What centered and momentum have summed up stays while they are off.
    Source: Tieleman & Hinton, Lecture 6.5, rmsprop (2012); Graves, Generating sequences with recurrent neural networks
    (2013), eq. 38 to 41, for centered and momentum, in PyTorch's form, where eps stands outside of the root.
    """

    arrays = ("square_avg", "grad_avg", "momentum_buffer")
    optional = ("grad_avg", "momentum_buffer")
    counts = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if group["alpha"] > 1:
            raise ValueError(f"RMSprop: alpha={group['alpha']}; it must be from 0 to 1, as in 0.99")

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        alpha, momentum = float(group["alpha"]), float(group["momentum"])
        g = plus_decay(p, g, group)
        v = mean_square_of(state.get("square_avg"), g, alpha)
        new = {**state, "step": state.get("step", 0) + 1, "square_avg": v}  # with what an option does without for now
        if group["centered"]:
            m = new["grad_avg"] = mean_of(state.get("grad_avg"), g, alpha)
            v = np.maximum(v - m * m, 0.0)  # no variance is negative, but rounding can make it look so
        change = np.sqrt(v)
        change += float(group["eps"])
        u = g / change
        if momentum:
            u = new["momentum_buffer"] = momentum * state.get("momentum_buffer", 0.0) + u
        return p - float(group["lr"]) * u, new


class Adadelta(Optimizer):
    """p -= lr * u, u = sqrt(d + eps) / sqrt(v + eps) * g, v and d the running means of g^2 and of u^2, from 0.

    v = rho * v + (1 - rho) * g^2 comes before the step, d = rho * d + (1 - rho) * u^2 after it. weight_decay * p is
    added to g first. maximize: g is negated.
    Source: Zeiler, ADADELTA: an adaptive learning rate method (2012), algorithm 1.
    """

    arrays = ("square_avg", "acc_delta")
    counts = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if group["rho"] > 1:
            raise ValueError(f"Adadelta: rho={group['rho']}; it must be from 0 to 1, as in 0.9")

    def update(self, p: Array, g: Array, state: State, group: Group) -> tuple[Any, State]:
        rho, eps = float(group["rho"]), float(group["eps"])
        g = plus_decay(p, g, group)
        v = mean_square_of(state.get("square_avg"), g, rho)
        reach = np.sqrt(state["acc_delta"] + eps) if state else math.sqrt(eps)
        u = reach / np.sqrt(v + eps) * g
        d = mean_square_of(state.get("acc_delta"), u, rho)
        new = {"step": state.get("step", 0) + 1, "square_avg": v, "acc_delta": d}
        return p - float(group["lr"]) * u, new
