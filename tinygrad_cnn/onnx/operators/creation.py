"""Tensors of constants, of equal steps and of random numbers."""

from math import ceil, isfinite
from typing import Any

import numpy as np

from ...graph import Tensor, wrap
from ...random import source
from .casting import dtype_of
from .registry import Node, operator

_FLOAT32 = np.dtype(np.float32)
_NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@operator("Constant")
def constant(node: Node) -> Tensor:
    """The Tensor, number or numbers of an attribute."""
    value = node.attribute("value")
    if isinstance(value, Tensor):
        return value
    for name, dtype in _NUMBERS.items():
        if (value := node.attribute(name)) is not None:
            return wrap(np.asarray(value, dtype))
    raise node.fail(
        f"no number is in the attributes {sorted(node.attributes)}; 'value' or one of {sorted(_NUMBERS)} is needed"
    )


@operator("ConstantOfShape")
def filled(node: Node, shape: Tensor) -> Tensor:
    """One number throughout, 0 in float32 unless given."""
    lengths, value = node.integers(shape, "shape") or (), node.attribute("value")
    number = np.zeros(1, np.float32) if value is None else value.array.reshape(-1)
    if number.size != 1:
        raise node.fail(f"the value has {number.size} elements; one is needed")
    node.allow(lengths, number.itemsize)
    return wrap(np.full(lengths, number[0], number.dtype))


@operator("Range")
def steps(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """start, start + delta, ... before limit."""
    if any(x.array.size != 1 for x in (start, limit, delta)):
        raise node.fail(f"shapes {start.shape}, {limit.shape}, {delta.shape}; three numbers are needed")
    first, last, step = (x.array.reshape(-1)[0].item() for x in (start, limit, delta))
    if not all(isfinite(number) for number in (first, last, step)) or step == 0:
        raise node.fail(f"from {first} to {last} by {step}; finite numbers and a step that is not 0 are needed")
    whole = start.dtype.kind != "f"
    count = max(-((first - last) // step), 0) if whole else ceil(min(max((last - first) / step, 0.0), 2.0**62))
    node.allow((count,), start.array.itemsize)
    kind: Any = (np.uint64 if start.dtype.kind == "u" else np.int64) if whole else np.float64
    with np.errstate(all="ignore"):
        numbers = first + np.arange(count, dtype=kind) * np.asarray(step).astype(kind)
    return wrap(numbers.astype(start.dtype))


def _drawn(node: Node, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    if dtype.kind != "f":
        raise node.fail(f"random numbers in {dtype}; a float is needed")
    node.allow(shape, 8)
    seed = node.attribute("seed")
    draw = source(None) if seed is None else np.random.default_rng(int(np.float32(seed).view(np.uint32)))
    if node.op_type.startswith("RandomNormal"):
        numbers = draw.standard_normal(shape) * node.attribute("scale", 1.0) + node.attribute("mean", 0.0)
    else:
        low, high = node.attribute("low", 0.0), node.attribute("high", 1.0)
        numbers = draw.random(shape) * (high - low) + low
    return wrap(np.asarray(numbers, dtype))


@operator("RandomNormal", "RandomUniform")
def drawn(node: Node) -> Tensor:
    """Normally or evenly distributed numbers; a seed draws the same ones every time."""
    return _drawn(node, tuple(node.attribute("shape", ())), dtype_of(node, "dtype", _FLOAT32))


@operator("RandomNormalLike", "RandomUniformLike")
def drawn_like(node: Node, x: Tensor) -> Tensor:
    """Normally or evenly distributed numbers in the shape and, unless another is given, the element type of x."""
    return _drawn(node, x.shape, dtype_of(node, "dtype", x.dtype))


@operator("Bernoulli")
def coins(node: Node, p: Tensor) -> Tensor:
    """1 with probability p, else 0."""
    dtype = dtype_of(node, "dtype", p.dtype)
    seed = node.attribute("seed")
    draw = source(None) if seed is None else np.random.default_rng(int(np.float32(seed).view(np.uint32)))
    return wrap(np.asarray(draw.random(p.shape) < p.array).astype(dtype))
