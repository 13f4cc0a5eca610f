"""Pooling as layers, under PyTorch's names; lines are (n c l), images (n c h w), and n may be absent.

stride is kernel_size unless given. `ties` and `strict` as in functional.max_pool2d.
"""

from __future__ import annotations

from typing import Any

from ..graph import Tensor
from . import functional as F
from .module import Layer


class _Windows(Layer):
    """A pool whose parameters are those of its function, by name; `shown` names those of the repr."""

    function: Any
    shown: tuple[str, ...] = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Any, stride: Any, padding: Any) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Windows):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        ties: str | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode
        self.ties, self.strict = ties, strict

    def forward(self, x: Tensor) -> Tensor:
        args = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)
        y: Tensor = self.function(x, *args, ties=self.ties, strict=self.strict)
        return y


class MaxPool2d(_MaxPool):
    """The maximum of each window: (n c h w) -> (n c oh ow).

    With return_indices the call gives (maxima, indices), as MaxUnpool2d takes them.
    """

    function = staticmethod(F.max_pool2d)


class MaxPool1d(_MaxPool):
    """The maximum of each window: (n c l) -> (n c ol); (maxima, indices) with return_indices."""

    function = staticmethod(F.max_pool1d)


class _MaxUnpool(_Windows):
    axes: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        kernel_size, padding = (
            tuple(value) if isinstance(value, (tuple, list)) else (value,) * self.axes
            for value in (kernel_size, padding)
        )
        stride = stride if stride is None or isinstance(stride, (tuple, list)) else (stride,) * self.axes
        super().__init__(kernel_size, stride, padding)

    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        y: Tensor = self.function(x, indices, self.kernel_size, self.stride, self.padding, output_size)
        return y


class MaxUnpool2d(_MaxUnpool):
    """Zeros with every value at the cell that `indices` names: (n c h w), (n c h w) -> (n c oh ow).

    oh = (h - 1)*stride - 2*padding + kernel_size, or as output_size says in the call.
    """

    function = staticmethod(F.max_unpool2d)
    axes = 2


class MaxUnpool1d(_MaxUnpool):
    """Zeros with every value at the place that `indices` names: (n c l), (n c l) -> (n c ol)."""

    function = staticmethod(F.max_unpool1d)
    axes = 1


class AvgPool2d(_Windows):
    """The mean of each window: (n c h w) -> (n c oh ow)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.strict = ceil_mode, strict
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        args = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return F.avg_pool2d(x, *args, self.divisor_override, strict=self.strict)


class AvgPool1d(_Windows):
    """The mean of each window: (n c l) -> (n c ol)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        strict: bool = False,
    ) -> None:
        kernel_size, padding = (
            tuple(value) if isinstance(value, (tuple, list)) else (value,) for value in (kernel_size, padding)
        )
        stride = stride if stride is None or isinstance(stride, (tuple, list)) else (stride,)
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad, self.strict = ceil_mode, count_include_pad, strict

    def forward(self, x: Tensor) -> Tensor:
        args = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return F.avg_pool1d(x, *args, strict=self.strict)


class _SumPool(_Windows):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation, self.ceil_mode, self.strict = dilation, ceil_mode, strict

    def forward(self, x: Tensor) -> Tensor:
        args = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        y: Tensor = self.function(x, *args, strict=self.strict)
        return y


class SumPool2d(_SumPool):
    """The sum of each window: (n c h w) -> (n c oh ow)."""

    function = staticmethod(F.sum_pool2d)


class SumPool1d(_SumPool):
    """The sum of each window: (n c l) -> (n c ol)."""

    function = staticmethod(F.sum_pool1d)


class _LPPool(Layer):
    function: Any

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
        return y

    def extra_repr(self) -> str:
        names = ("norm_type", "kernel_size", "stride", "ceil_mode")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class LPPool2d(_LPPool):
    """(sum x^p)^(1/p) of each window, p = norm_type: (n c h w) -> (n c oh ow). Signs as in functional.lp_pool2d."""

    function = staticmethod(F.lp_pool2d)


class LPPool1d(_LPPool):
    """(sum x^p)^(1/p) of each window, p = norm_type: (n c l) -> (n c ol). Signs as in functional.lp_pool2d."""

    function = staticmethod(F.lp_pool1d)


class _Adaptive(Layer):
    function: Any

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvg(_Adaptive):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x, self.output_size)
        return y


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """The mean of each of oh by ow windows that cover the image: (n c h w) -> (n c oh ow).

    output_size: an int or (oh, ow); None keeps the image's.
    """

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """The mean of each of `output_size` windows that cover the line: (n c l) -> (n c ol)."""

    function = staticmethod(F.adaptive_avg_pool1d)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x, self.output_size, self.return_indices)
        return y


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The maximum of each of oh by ow windows that cover the image: (n c h w) -> (n c oh ow).

    output_size: an int or (oh, ow); None keeps the image's. With return_indices the call gives (maxima, indices).
    """

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The maximum of each of `output_size` windows that cover the line: (n c l) -> (n c ol), indices as in 2d."""

    function = staticmethod(F.adaptive_max_pool1d)
