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


@method
def to(x: Tensor, dtype: Any) -> Any:
    """x converted to `dtype` (a NumPy dtype or its name), or x itself if it has it already.

    "cpu" is accepted for scripts written for several devices. Raises ValueError for another device.
    """
    if isinstance(dtype, str) and dtype.split(":")[0] in ("cpu", "cuda", "mps", "xpu"):
        if dtype.split(":")[0] != "cpu":
            raise ValueError(f"to: there is no device {dtype!r}; tinygrad_cnn computes on the cpu")
        return x
    wanted = np.dtype(dtype)
    return x if wanted == x.dtype else cast(x, wanted)


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
    "long": np.int64,
    "bool": np.bool_,
}.items():
    _converter(_name, _dtype)
