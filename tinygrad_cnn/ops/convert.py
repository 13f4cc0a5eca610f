"""Copies and conversions."""

from typing import Any

import numpy as np

from ..basics import cast
from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op

__all__ = ["clone", "to"]


@op(method=True, numpy=np.copy)
def clone(x: Any, /) -> Any:
    """A copy in memory of its own, contiguous; gradients flow through it."""
    return x.copy(order="C")


clone.vjp(x=lambda g: g)
clone.formula(x="∂out")
clone.flops(moves_data)


@method
def contiguous(x: Tensor) -> Any:
    """x itself if its memory is in row-major order, else a copy that is."""
    return x if x.array.flags.c_contiguous else clone(x)


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta", "hpu", "vulkan")


def check_device(name: str, device: Any) -> None:
    """Raise ValueError unless the device is the CPU: "cpu", "cpu:0" or None."""
    if device is not None and not (isinstance(device, str) and device.split(":")[0] == "cpu"):
        raise ValueError(f"{name}: there is no device {device!r}; tinygrad_cnn computes on the cpu")


@method
def to(
    x: Tensor, *wanted: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
) -> Any:
    """x converted to a dtype (a NumPy dtype or its name) or to that of another Tensor; x itself if it has it already.

    "cpu" is accepted for scripts written for several devices: to("cpu"), to("cpu", dtype), to(device=..., dtype=...).
    copy: a copy in any case. Raises ValueError for another device.
    """
    for value in wanted:
        if _is_device(value):
            device = value
        elif isinstance(value, Tensor):
            dtype = value.dtype
        elif value is not None and type(value) is not bool:  # else non_blocking, by position
            dtype = value
    check_device("to", device)
    kind = x.dtype if dtype is None else np.dtype(dtype)
    if kind == x.dtype:
        return clone(x) if copy else x
    return cast(x, kind)


@method
def cpu(x: Tensor) -> Any:
    """x itself, which is on the CPU."""
    return x


@method
def cuda(x: Tensor, device: Any = None) -> Any:
    """Raises ValueError: there is no such device."""
    check_device("cuda", device or "cuda")


@method
def type_as(x: Tensor, other: Any) -> Any:
    """x converted to the dtype of another Tensor."""
    return to(x, other.dtype)


@method
def element_size(x: Tensor) -> int:
    """The number of bytes of one element."""
    return x.dtype.itemsize


@method
def is_floating_point(x: Tensor) -> bool:
    """Whether the elements are floats."""
    return x.dtype.kind == "f"


method("device")(property(lambda x: "cpu", doc='Where the memory is: always "cpu".'))


def _converter(name: str, dtype: Any) -> None:
    def convert(x: Tensor) -> Any:
        return to(x, dtype)

    convert.__name__, convert.__doc__ = name, f"x converted to {np.dtype(dtype)}."
    setattr(Tensor, name, convert)


for _name, _dtype in {
    "half": np.float16,
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "short": np.int16,
    "long": np.int64,
    "bool": np.bool_,
}.items():
    _converter(_name, _dtype)
