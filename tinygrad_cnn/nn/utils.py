"""What is done to the gradients or the values of many parameters at once, under PyTorch's names in torch.nn.utils."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from types import GeneratorType
from typing import Any

import numpy as np

from .. import memory
from ..graph import Array, Tensor, wrap
from ..ops.elementwise import array_of
from ..ops.layout import cat

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm that of all as one vector; returns the norm.

    norm_type: the p of the p-norm, math.inf for the largest. A norm of inf makes finite gradients 0, and nan makes all
    of them nan, as the norm says; `error_if_nonfinite` raises RuntimeError instead and changes nothing. Gradients that
    are None do not count. Sums are in float64, so that no norm of float32 gradients overflows on the way.
    Source: Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks (2013), algorithm 1.
    """
    name = "clip_grad_norm_"
    most, p = _limit(name, "max_norm", max_norm), float(norm_type)
    if math.isnan(p):
        raise ValueError(f"{name}: norm_type={norm_type!r}; a number is needed, math.inf for the largest entry")
    grads = _gradients(name, parameters)
    with np.errstate(all="ignore"):
        norm = _norm(np.array([_norm(g, p) for g in grads if g.size]), p)
        if error_if_nonfinite and not math.isfinite(norm):
            raise RuntimeError(
                f"{name}: the norm of order {p:g} of the gradients is {norm}; nothing was changed: look for the cause "
                "with find_nan, skip the step, or give error_if_nonfinite=False"
            )
        scale = most / (norm + 1e-6)
        if not scale >= 1.0:
            for g in grads:
                memory.mark_changed(g, name)
                np.multiply(g, scale, out=g)
        dtype = np.result_type(*{g.dtype for g in grads}) if grads else np.dtype(np.float32)
        return wrap(np.asarray(norm).astype(dtype))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every entry of the gradients between -clip_value and clip_value; nan stays nan."""
    name = "clip_grad_value_"
    most = _limit(name, "clip_value", clip_value)
    with np.errstate(all="ignore"):
        for g in _gradients(name, parameters):
            memory.mark_changed(g, name)
            np.clip(g, g.dtype.type(-most), g.dtype.type(most), out=g)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after the other, flat, as one Tensor; differentiable."""
    return cat([p.reshape(-1) for p in _listed("parameters_to_vector", parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the entries of a vector into the parameters, one after the other: the inverse of parameters_to_vector.

    Raises ValueError unless the vector has just as many entries and TypeError unless it has their dtype; nothing is
    changed then. PyTorch makes the parameters views of the vector; here they keep memory of their own.
    """
    name = "vector_to_parameters"
    if not isinstance(vec, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: vec is a {type(vec).__name__}; a Tensor is needed")
    values, targets = np.array(array_of(vec)), _listed(name, parameters)
    total = sum(p.array.size for p in targets)
    if values.shape != (total,):
        raise ValueError(
            f"{name}: vec has the shape {values.shape}, the parameters have {total} entries; ({total},) is needed"
        )
    for i, p in enumerate(targets):
        if p.dtype != values.dtype:
            raise TypeError(f"{name}: vec is {values.dtype}, parameter {i} is {p.dtype}; convert one with to()")
        _check_writeable(name, p.array, f"parameter {i}")
    begin = 0
    for p in targets:
        memory.mark_changed(p.array, name)
        p.array[...] = values[begin : begin + p.array.size].reshape(p.array.shape)
        begin += p.array.size


def _listed(name: str, parameters: Any) -> list[Tensor]:
    """The parameters as a list."""
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, (str, dict)) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"{name}: parameters is a {type(parameters).__name__}; a Tensor or a list of Tensors is needed, as "
            "model.parameters() gives"
        )
    params = list(parameters)
    if not params and isinstance(parameters, GeneratorType):
        warnings.warn(
            f"{name}: the generator of parameters is empty, so nothing is done (a generator runs out: make a list to "
            "use it twice)",
            UserWarning,
            stacklevel=4,
        )
    for i, p in enumerate(params):
        if not isinstance(p, Tensor):
            remedy = "; pass model.parameters(), without the names" if isinstance(p, tuple) else ""
            raise TypeError(f"{name}: parameter {i} is a {type(p).__name__}; a Tensor is needed{remedy}")
    return params


def _gradients(name: str, parameters: Any) -> list[Array]:
    """The memory of the gradients, each once though a parameter may occur twice, all of it writeable."""
    grads = {id(p.grad.array): p.grad.array for p in _listed(name, parameters) if p.grad is not None}
    for g in grads.values():
        _check_writeable(name, g, "a gradient")
    return list(grads.values())


def _check_writeable(name: str, array: Array, what: str) -> None:
    if not array.flags.writeable:
        raise RuntimeError(f"{name}: the memory of {what} of shape {array.shape} is read-only; assign a copy of it")


def _limit(name: str, option: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not hasattr(array_of(value), "__float__"):
        raise TypeError(f"{name}: {option}={value!r}; a number is needed")
    number = float(array_of(value))
    if not number >= 0:
        raise ValueError(f"{name}: {option}={value!r}; a number >= 0 is needed")
    return number


def _norm(x: Array, p: float) -> float:
    """(sum |x|^p)^(1/p) of all entries in float64; 0 of none."""
    if x.size == 0:
        return 0.0
    x = np.abs(x, dtype=np.float64)
    if math.isinf(p):
        return float(x.max() if p > 0 else x.min())
    if p == 0:
        return float(np.count_nonzero(x))
    largest = float(x.max())
    unit = largest if 0 < largest < math.inf else 1.0  # so that no power overflows
    return float(unit * np.sum((x / unit) ** p) ** (1 / p))
