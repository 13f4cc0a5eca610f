"""Copies and conversions."""

from typing import Any

import numpy as np

from ..basics import cast
from ..devices import check_device, is_device
from ..devices import device as Device
from ..dtypes import element_type
from ..flops import moves_data
from ..graph import Tensor, method
from ..primitive import op

__all__ = ["clone", "to"]

CPU = Device("cpu")


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


def wanted_dtype(name: str, wanted: tuple[Any, ...], dtype: Any, device: Any) -> Any:
    """The dtype that the arguments of `to` ask for, None if none does. Raises ValueError for a device but the CPU."""
    for value in wanted:
        if is_device(value):
            device = value
        elif isinstance(value, Tensor):
            dtype = value.dtype
        elif value is not None and type(value) is not bool:  # else non_blocking, by position
            dtype = value
    check_device(name, device)
    return dtype


@method
def to(
    x: Tensor, *wanted: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
) -> Any:
    """x converted to a dtype (a NumPy dtype or its name) or to that of another Tensor; x itself if it has it already.

    "cpu" is accepted for scripts written for several devices: to("cpu"), to("cpu", dtype), to(device=..., dtype=...).
    copy: a copy in any case. Raises ValueError for another device, TypeError for a dtype that no Tensor can have.
    """
    dtype = wanted_dtype("to", wanted, dtype, device)
    kind = x.dtype if dtype is None else element_type("to", dtype)
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
    check_device("cuda", "cuda")


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


method("device")(property(lambda x: CPU, doc='Where the memory is: always device("cpu").'))


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
