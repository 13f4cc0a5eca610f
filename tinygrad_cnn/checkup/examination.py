"""`doctor`: what is likely to be wrong with a model, told from one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Tensor, wrap
from ..nn import Module
from ..ops.elementwise import array_of
from ..optim import Optimizer
from . import data_checks as data
from . import graph_checks as graph
from . import parameter_checks as parameters
from . import value_checks as values
from .evidence import Evidence, evidence_of, random_states_kept, run
from .findings import Finding, Findings
from .graph_checks import Remark

__all__ = ["CHECKS", "Check", "doctor"]


@dataclass(frozen=True, slots=True)
class Check:
    """A check of `doctor`. needs: what it looks at: "", "gradients" (of a training) or "optimizer"."""

    code: str
    title: str
    look: Callable[[Evidence], Iterator[Remark]]
    needs: str = ""


CHECKS = (
    Check("TGC001", "softmax before cross_entropy", graph.softmax_before_cross_entropy),
    Check("TGC002", "sigmoid before the loss of logits", graph.sigmoid_before_logits_loss),
    Check("TGC003", "nll_loss of what is no logarithm", graph.no_logarithm_before_nll),
    Check("TGC004", "broadcasting in the loss", graph.broadcast_in_the_loss),
    Check("TGC005", "bias before batch norm", graph.bias_before_batch_norm),
    Check("TGC006", "relu on the logits", graph.relu_on_logits),
    Check("TGC007", "pixels that no window reads", graph.pixels_dropped),
    Check("TGC008", "parameter that is not registered", parameters.unregistered),
    Check("TGC009", "parameter without a path to the loss", parameters.unused, "gradients"),
    Check("TGC010", "parameter that is never updated", parameters.never_updated, "optimizer"),
    Check("TGC011", "size of an update", parameters.update_ratio, "optimizer"),
    Check("TGC012", "gradient across depth", parameters.gradient_across_depth, "gradients"),
    Check("TGC013", "eval mode in training", data.eval_in_training, "gradients"),
    Check("TGC014", "training mode in evaluation", data.training_in_evaluation),
    Check("TGC015", "batch norm with a batch of 1", data.batch_norm_of_one),
    Check("TGC016", "channels last", data.channels_last),
    Check("TGC017", "input that is not normalised", data.not_normalised),
    Check("TGC018", "label out of range", data.labels_out_of_range),
    Check("TGC019", "nan or inf", parameters.not_finite),
    Check("TGC020", "constant output", values.constant_output),
    Check("TGC021", "initial loss", values.initial_loss, "gradients"),
    Check("TGC022", "dead relu", values.dead_relu),
    Check("TGC023", "saturated sigmoid or tanh", values.saturated),
    Check("TGC024", "one batch cannot be learned", values.no_overfit, "gradients"),
)
MOST = 3  # findings of one code that are told
_OF_THE_BATCH = (data.batch_norm_of_one, data.channels_last)  # known before anything runs


def doctor(
    model: Module, x: Any, y: Any, loss: Any = None, optimizer: Optimizer | None = None, *, ignore: Iterable[str] = ()
) -> Findings:
    """What is likely to be wrong with a model, told from one batch: a list of Findings, empty for a healthy one.

    x: the input, or a tuple of inputs. y: the targets. loss: a function of (outputs, targets) or a loss module;
        cross_entropy for integer targets and mse_loss for others unless given.
    optimizer: the one of the training; without it, two checks have nothing to look at.
    ignore: codes of checks to leave out.

        >>> images, labels = tg.data.digits("train")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))
        >>> found = tg.doctor(net, images[:64], labels[:64], nn.CrossEntropyLoss())
        >>> print(found[0].code, found[0].title)
        TGC001 softmax before cross_entropy
        >>> print(found[0].remedy)
        give it the logits: leave softmax out

    Called inside `no_grad` it checks an evaluation, else a training. It works on a copy of the model and the optimizer:
    parameters, gradients, buffers, states and random numbers stay what they are. The bounds are conventions, wide
    enough to be silent on networks that train.

    What the model or the loss itself refuses is raised, with a note of what was found before.
    Raises TypeError for what is no Module, Optimizer or Tensor; ValueError for an unknown code.
    """
    left_out = _codes(ignore)
    xs, target = _inputs(model, x, y, optimizer)
    found = evidence_of(model, xs, target, loss, optimizer)
    checks = tuple(check for check in CHECKS if check.code not in left_out)
    with random_states_kept():
        try:
            run(found)
        except Exception as error:
            early = Findings(_look(found, [c for c in checks if c.look in _OF_THE_BATCH]), ())
            if early:
                error.add_note("doctor found before:\n" + "\n".join(map(str, early)))
            raise
        there = {"": True, "gradients": found.is_training, "optimizer": found.is_training and optimizer is not None}
        made = [check for check in checks if there[check.needs]]
        return Findings(_look(found, made), tuple(check.code for check in made))


def _look(found: Evidence, checks: list[Check]) -> list[Finding]:
    findings = []
    with np.errstate(all="ignore"):
        for check in checks:
            remarks = list(check.look(found))
            for i, (what, where, remedy) in enumerate(remarks[:MOST], 1):
                more = f" (and {len(remarks) - MOST} places more)" if i == MOST < len(remarks) else ""
                findings.append(Finding(check.code, check.title, what, where + more, remedy))
    return findings


def _codes(ignore: Iterable[str]) -> set[str]:
    codes = {ignore} if isinstance(ignore, str) else set(ignore)
    if unknown := sorted(map(str, codes - {check.code for check in CHECKS})):
        raise ValueError(
            f"doctor: ignore names {', '.join(unknown)}; the codes are {CHECKS[0].code} to {CHECKS[-1].code}"
        )
    return codes


def _inputs(model: Any, x: Any, y: Any, optimizer: Any) -> tuple[tuple[Tensor, ...], Tensor]:
    """The inputs and targets as Tensors without graph."""
    if not isinstance(model, Module):
        raise TypeError(f"doctor: model is a {type(model).__name__}; a Module is needed")
    if not isinstance(optimizer, Optimizer | None):
        raise TypeError(f"doctor: optimizer is a {type(optimizer).__name__}; an Optimizer or None is needed")
    given = x if isinstance(x, tuple) else (x,)
    if not given:
        raise ValueError("doctor: x is an empty tuple; at least one input is needed")
    return tuple(_tensor("x", value) for value in given), _tensor("y", y)


def _tensor(name: str, value: Any) -> Tensor:
    array = array_of(value)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise TypeError(f"doctor: {name} is a {type(value).__name__}; a Tensor or an array of numbers is needed")
    return wrap(array)
