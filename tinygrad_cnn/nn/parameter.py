"""What a Module trains: Parameter, and one whose shape is still to come."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Tensor, wrap

__all__ = ["Parameter", "UninitializedParameter", "lengths"]


class Parameter(Tensor):
    """A Tensor that a Module trains: a leaf that requires grad, found by `parameters()` when it is an attribute.

    data is copied, as by Tensor.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype)

    def __repr__(self) -> str:
        return "Parameter" + super().__repr__().removeprefix("Tensor").replace("\n", "\n   ")


class UninitializedParameter(Parameter):
    """A Parameter whose shape is known in part: an axis of length 0 stands for a length still to come.

    `materialize` makes it a Parameter, so that whoever holds it holds the real one.
    """

    __slots__ = ()

    def materialize(self, values: Array) -> None:
        """Become a Parameter with these values. Raises ValueError if their shape contradicts what is known."""
        if not self.admits(values.shape):
            raise ValueError(f"materialize: values of shape {values.shape} for a parameter of shape {lengths(self)}")
        with np.errstate(all="ignore"):
            self.data = wrap(values.astype(self.dtype))
        self.__class__ = Parameter  # type: ignore[assignment]

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape` agrees with the lengths that are known."""
        return len(shape) == self.ndim and all(n in (0, m) for n, m in zip(self.shape, shape, strict=True))

    def __repr__(self) -> str:
        return f"UninitializedParameter(shape={lengths(self)}, dtype={self.dtype})"


def lengths(p: Tensor) -> str:
    """The shape of a parameter, with "?" for a length still to come."""
    if not isinstance(p, UninitializedParameter):
        return str(p.shape)
    return f"({', '.join('?' if n == 0 else str(n) for n in p.shape)}{',' if p.ndim == 1 else ''})"
