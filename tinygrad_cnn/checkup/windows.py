"""`solve_conv`: the windows that turn an image of one size into an image of another."""

from __future__ import annotations

from typing import NamedTuple

from ..geometry import checked_integer, unread_at_end

__all__ = ["Window", "solve_conv"]


class Window(NamedTuple):
    """Arguments of a convolution or a pooling along one axis. unread: pixels at the end that no window reads."""

    kernel_size: int
    stride: int
    padding: int
    dilation: int
    unread: int


def solve_conv(
    size: int,
    out: int,
    *,
    max_kernel: int = 7,
    max_stride: int | None = None,
    max_padding: int | None = None,
    max_dilation: int = 1,
    strict: bool = False,
) -> list[Window]:
    """All (kernel, stride, padding, dilation) with (size + 2*padding - dilation*(kernel-1) - 1) // stride + 1 = out.

    The simplest first: those that read every pixel, then by dilation, stride, padding and kernel. Windows leave no gaps
    (stride <= dilation*(kernel-1) + 1) and are never padding alone (padding <= dilation*(kernel-1)).

        >>> [tuple(window)[:3] for window in tg.solve_conv(28, 14, max_kernel=4, strict=True)]
        [(2, 2, 0), (3, 2, 1), (4, 2, 1)]

    max_kernel, max_dilation: the largest that are tried. max_stride, max_padding: too, if less than what those allow.
    strict: leave those out that drop pixels. The list is empty where there is none.
    Raises ShapeError for sizes below 1, TypeError for what is no integer.
    """
    op = "solve_conv"
    size, out = checked_integer(op, "size", size, 1), checked_integer(op, "out", out, 1)
    kernels = range(1, checked_integer(op, "max_kernel", max_kernel, 1) + 1)
    dilations = range(1, checked_integer(op, "max_dilation", max_dilation, 1) + 1)
    stride_limit = None if max_stride is None else checked_integer(op, "max_stride", max_stride, 1)
    padding_limit = None if max_padding is None else checked_integer(op, "max_padding", max_padding, 0)
    found = []
    for dilation in dilations:
        for kernel in kernels:
            if kernel == 1 and dilation > 1:
                continue  # one pixel has no dilation
            reach = dilation * (kernel - 1) + 1
            most = reach - 1 if padding_limit is None else min(padding_limit, reach - 1)
            for stride in range(1, (reach if stride_limit is None else min(stride_limit, reach)) + 1):
                for padding in range(most + 1):
                    span = size + 2 * padding - reach
                    if span >= 0 and span // stride + 1 == out:
                        unread = unread_at_end(size, padding, stride, reach, out)
                        if not (strict and unread):
                            found.append(Window(kernel, stride, padding, dilation, unread))
    return sorted(found, key=lambda w: (w.unread > 0, w.dilation, w.stride, w.padding, w.kernel_size))
