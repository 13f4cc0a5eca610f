"""Cells around lines and images as layers, under PyTorch's names: `functional.pad` with its mode.

padding: an int for all sides, or (left, right) of lines and (left, right, top, bottom) of images; a negative one crops.
"""

from __future__ import annotations

from typing import Any

from ..graph import Tensor
from ..shapes import ShapeError, is_int, wrong_kind
from . import functional as F
from .module import Layer


class _Pad(Layer):
    """Padding of the last one or two axes."""

    axes = 2
    mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        name, sides = type(self).__name__, ("left, right, top, bottom", "left, right")[self.axes == 1]
        wanted = f"an int or {2 * self.axes} ints ({sides})"
        widths = (padding,) * (2 * self.axes) if is_int(padding) else padding
        if not isinstance(widths, (tuple, list)) or not all(map(is_int, widths)):
            raise wrong_kind(name, "padding", padding, wanted)
        if len(widths) != 2 * self.axes:
            raise ShapeError(f"{name}: padding is {tuple(widths)} with {len(widths)} numbers, needs {wanted}")
        self.padding = tuple(int(n) for n in widths)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (self.axes + 1, self.axes + 2):
            axes = "(n, c, h, w) or (c, h, w)" if self.axes == 2 else "(n, c, length) or (c, length)"
            raise ShapeError(f"{type(self).__name__}: x has {x.ndim} axes, shape {tuple(x.shape)}, needs {axes}")
        return F.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(_ConstantPad):
    """`value` around images: (n c h w) -> (n c top+h+bottom left+w+right), or without n."""


class ConstantPad1d(_ConstantPad):
    """`value` around lines: (n c l) -> (n c left+l+right), or without n."""

    axes = 1


class ZeroPad2d(ConstantPad2d):
    """Zeros around images: (n c h w) -> (n c top+h+bottom left+w+right), or without n."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad1d(ConstantPad1d):
    """Zeros around lines: (n c l) -> (n c left+l+right), or without n."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ReflectionPad2d(_Pad):
    """Images continued by their mirror image, the cell at the edge once: fewer cells than an axis has."""

    mode = "reflect"


class ReflectionPad1d(_Pad):
    """Lines continued by their mirror image, the cell at the edge once: fewer cells than there are."""

    axes = 1
    mode = "reflect"


class ReplicationPad2d(_Pad):
    """Images continued by the cells at their edges."""

    mode = "replicate"


class ReplicationPad1d(_Pad):
    """Lines continued by the cells at their ends."""

    axes = 1
    mode = "replicate"


class CircularPad2d(_Pad):
    """Images continued from their other side: at most as many cells as an axis has."""

    mode = "circular"


class CircularPad1d(_Pad):
    """Lines continued from their other end: at most as many cells as there are."""

    axes = 1
    mode = "circular"
