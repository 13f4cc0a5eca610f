"""Pooling. The maximum is a choice of one cell per window: its gradient scatters to the chosen cells."""

from math import prod
from typing import Any

import numpy as np

from ..flops import moves_data
from ..geometry import Pool2dGeometry, checked_pair, pool2d_geometry
from ..kernels import pool as kernels
from ..kernels.reduce import widened
from ..primitive import op
from .layout import unsqueeze

__all__ = ["avg_pool2d", "max_pool2d", "sum_pool2d"]


@op(residual="winners")
def max_pool2d(
    x: Any,
    /,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    ties: str = "first",
    strict: bool = False,
) -> Any:
    """The maximum of each window: y[n,c,i,j] = max x[n,c,i*s+p*d,j*s+q*d] over p, q.

    (n c h w) -> (n c oh ow), oh as for conv2d; with ceil_mode rounded up

    kernel_size, stride, dilation: an int or (height, width); stride is kernel_size unless given.
    padding: with minus infinity, at most half a kernel. nan wins.
    ties: which of several equal cells takes the gradient: 'first' in row-major order, 'last', or 'split' evenly.
    strict: refuse sizes whose last rows or columns no window reads.

    Raises ShapeError if no window fits, TypeError for booleans. Residual: (cells, shares, whether cells are distinct).
    """
    if ties not in ("first", "last", "split"):
        raise ValueError(f"max_pool2d: ties={ties!r}; it can be 'first', 'last' or 'split'")
    _refuse_booleans("max_pool2d", x)
    at = pool2d_geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode, strict=strict)
    y, cells, share = kernels.max_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.out, ties)
    distinct = all(s >= d * (k - 1) + 1 for s, d, k in zip(at.stride, at.dilation, at.kernel, strict=True))
    return y, (cells, share, distinct and share is None)


def _refuse_booleans(name: str, x: Any) -> None:
    if x.dtype.kind == "b":
        raise TypeError(f"{name}: the image is bool; convert it first, as with .float()")


def _cells(kernel_size: Any) -> int:
    """How many cells a window has."""
    return prod(checked_pair("pooling", "kernel_size", kernel_size, 1))


def _max_pool2d_gradient(g: Any, winners: Any, x_shape: Any) -> Any:
    """Each window's g goes to the cells that held its maximum."""
    cells, share, distinct = winners
    return scatter_planes(g if share is None else unsqueeze(g, -1) * share, cells, x_shape[2:], distinct)


max_pool2d.vjp(x=_max_pool2d_gradient)
max_pool2d.formula(x="scatter(∂out, winners x)")
max_pool2d.flops(lambda kernel_size, out_shape: prod(out_shape) * (_cells(kernel_size) - 1))


@op
def gather_planes(x: Any, /, cells: Any) -> Any:
    """y[n,c,...] = x[n,c].flat[cells[n,c,...]]."""
    return kernels.gather(x, cells)


@op
def scatter_planes(g: Any, /, cells: Any, size: Any, distinct: bool = False) -> Any:
    """The adjoint of gather_planes: zeros (n c *size) with every g[n,c,...] added at its cell.

    distinct: the caller knows that no cell of a plane occurs twice.
    """
    return kernels.scatter(g, cells, tuple(size), distinct=distinct)


gather_planes.vjp(x=lambda g, x_shape, cells: scatter_planes(g, cells, x_shape[2:]))
gather_planes.formula(x="scatter(∂out, planes cells)")
gather_planes.flops(moves_data)
scatter_planes.vjp(g=lambda h, cells: gather_planes(h, cells))
scatter_planes.formula(g="∂out[planes cells]")
scatter_planes.flops(lambda g_shape: prod(g_shape))


@op
def sum_pool2d(
    x: Any,
    /,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    strict: bool = False,
) -> Any:
    """The sum of each window: conv2d with a kernel of ones, channel by channel.

    (n c h w) -> (n c oh ow). Parameters and errors as for max_pool2d; padding is with zeros.
    """
    _refuse_booleans("sum_pool2d", x)
    at = pool2d_geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode, strict=strict, name="sum_pool2d")
    return kernels.sum_pool2d(x, at.kernel, at.stride, at.padding, at.dilation, at.out)


@op
def sum_pool2d_input_grad(
    g: Any,
    /,
    size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """The adjoint of sum_pool2d: every g is added to all cells of its window.

    (n c oh ow) -> (n c *size)
    """
    x_shape = (*g.shape[:2], *size)
    at = pool2d_geometry(x_shape, kernel_size, stride, padding, dilation, ceil_mode, name="sum_pool2d_input_grad")
    return kernels.sum_pool2d_input_grad(g, at.size, at.kernel, at.stride, at.padding, at.dilation)


sum_pool2d.vjp(
    x=lambda g, x_shape, kernel_size, stride, padding, dilation, ceil_mode: sum_pool2d_input_grad(
        g, x_shape[2:], kernel_size, stride, padding, dilation, ceil_mode
    )
)
sum_pool2d.formula(x="∂out ⋆ᵀ 1")
sum_pool2d.flops(lambda kernel_size, out_shape: prod(out_shape) * (_cells(kernel_size) - 1))
sum_pool2d_input_grad.vjp(
    g=lambda h, kernel_size, stride, padding, dilation, ceil_mode: sum_pool2d(
        h, kernel_size, stride, padding, dilation, ceil_mode
    )
)
sum_pool2d_input_grad.formula(g="∂out ⋆ 1")
sum_pool2d_input_grad.flops(lambda g_shape, kernel_size: prod(g_shape) * _cells(kernel_size))


@op
def avg_pool2d(
    x: Any,
    /,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    strict: bool = False,
) -> Any:
    """The mean of each window.

    (n c h w) -> (n c oh ow)

    count_include_pad: whether the padding's zeros count in the divisor. What ceil_mode adds never does.
    divisor_override: divide by this instead.

    Raises TypeError for integers. Other parameters and errors as for max_pool2d.
    """
    if x.dtype.kind != "f" and x.dtype.kind != "O":
        raise TypeError(f"avg_pool2d: the input is {x.dtype}; convert it first, as with .float()")
    at = pool2d_geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode, strict=strict, name="avg_pool2d")
    divisor = _divisor(at, count_include_pad, divisor_override)
    wide = widened(x)
    y = kernels.sum_pool2d(wide, at.kernel, at.stride, at.padding, at.dilation, at.out)
    return (y / divisor.astype(y.dtype)).astype(x.dtype, copy=False)


def _divisor(at: Pool2dGeometry, count_include_pad: bool, divisor_override: int | None) -> Any:
    """One number, or one for each window where they differ."""
    if divisor_override is None:
        counts = kernels.pool_counts(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, count_include_pad)
        return counts.max() if counts.max() == counts.min() else counts
    if (
        isinstance(divisor_override, bool)
        or not isinstance(divisor_override, (int, np.integer))
        or not divisor_override
    ):
        raise ValueError(f"avg_pool2d: divisor_override={divisor_override!r}; it must be a non-zero integer")
    return np.asarray(divisor_override)


def _avg_pool2d_gradient(
    g: Any,
    x_shape: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """g / divisor, added to all cells of its window."""
    at = pool2d_geometry(x_shape, kernel_size, stride, padding, 1, ceil_mode)
    divisor = _divisor(at, count_include_pad, divisor_override).astype(g.dtype)
    return sum_pool2d_input_grad(g / divisor, x_shape[2:], kernel_size, stride, padding, 1, ceil_mode)


avg_pool2d.vjp(x=_avg_pool2d_gradient)
avg_pool2d.formula(x="(∂out / count) ⋆ᵀ 1")
avg_pool2d.flops(lambda kernel_size, out_shape: prod(out_shape) * _cells(kernel_size))


def _problem(draw: Any) -> Any:
    """A shape and parameters with nothing symmetric."""
    kernel = draw.size(1, 3), draw.size(1, 4)
    stride = draw.choice([None, (draw.size(1, 3), draw.size(1, 2)), (draw.size(1, 2), draw.size(1, 4))])
    padding = draw.size(0, kernel[0] // 2), draw.size(0, kernel[1] // 2)
    dilation = draw.size(1, 2), draw.size(1, 2)
    h, w = (d * (k - 1) + 1 + draw.size(0, 3) for k, d in zip(kernel, dilation, strict=True))
    params = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw.choice([False, True])}
    return (draw.size(1, 2), draw.size(1, 3), h, w), params, dilation


@max_pool2d.sample
def _(draw: Any) -> Any:
    shape, params, dilation = _problem(draw)
    return (draw.array(*shape),), {**params, "dilation": dilation, "ties": draw.choice(["first", "last", "split"])}


@sum_pool2d.sample
def _(draw: Any) -> Any:
    shape, params, dilation = _problem(draw)
    return (draw.array(*shape),), {**params, "dilation": dilation}


@sum_pool2d_input_grad.sample
def _(draw: Any) -> Any:
    shape, params, dilation = _problem(draw)
    out = pool2d_geometry(
        shape, params["kernel_size"], params["stride"], params["padding"], dilation, params["ceil_mode"]
    )
    return (draw.array(*out.out_shape),), {"size": shape[2:], **params, "dilation": dilation}


@avg_pool2d.sample
def _(draw: Any) -> Any:
    shape, params, _ = _problem(draw)
    divisor = draw.choice([None, None, 3])
    return (draw.array(*shape),), {
        **params,
        "count_include_pad": draw.choice([True, False]),
        "divisor_override": divisor,
    }


_CELLS = np.array([[[[0, 5], [5, 11]]], [[[3, 3], [3, 0]]]])


@gather_planes.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 1, 3, 4),), {"cells": _CELLS}


@scatter_planes.sample
def _(draw: Any) -> Any:
    return (draw.array(2, 1, 2, 2),), {"cells": _CELLS, "size": (3, 4)}
