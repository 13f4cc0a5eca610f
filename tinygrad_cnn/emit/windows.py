"""Templates of convolutions, pools, patches and normalizations. Sizes and paddings are written out as numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..geometry import checked_pair, conv2d_geometry, conv_transpose2d_geometry, pool2d_geometry
from ..kernels.pool import pool_counts
from ..ops import adaptive_pool, conv, norm, patches, pool, resize, standardize
from ..shapes import normalize_axes
from .templates import Call, template

# Convolution


def _convolution(call: Call) -> Any:
    p = call.params
    return conv2d_geometry(call.shape("x"), call.shape("w"), p["stride"], p["padding"], p["dilation"], p["groups"])


def _transposed(call: Call) -> Any:
    p = call.params
    return conv_transpose2d_geometry(
        call.shape("x"), call.shape("w"), p["stride"], p["padding"], p["output_padding"], p["groups"], p["dilation"]
    )


def _sum_of(function: str, a: str, b: str, lengths: str, geometry: Callable[[Call], Any]) -> Callable[[Call], str]:
    """The call of one of the three functions of convolutions; `lengths` of the geometry are those of its result."""

    def text(call: Call) -> str:
        at = geometry(call)
        windows = f"stride={at.stride}, padding={at.padding}, dilation={at.dilation}, groups={at.groups}"
        return f"{function}({call[a]}, {call[b]}, {getattr(at, lengths)}, {windows})"

    return text


def _biased(forward: Callable[[Call], str]) -> Callable[[Call], str]:
    return lambda call: forward(call) + (f" + {call['b']}[:, None, None]" if call.given("b") else "")


template(
    conv.conv2d,
    _biased(_sum_of("conv2d", "x", "w", "out", _convolution)),
    x=_sum_of("conv2d_input_gradient", "g", "w", "size", _convolution),
    w=_sum_of("conv2d_weight_gradient", "x", "g", "kernel", _convolution),
    b="{g}.sum(axis=(0, 2, 3))",
)
template(
    conv.conv_transpose2d,
    _biased(_sum_of("conv2d_input_gradient", "x", "w", "out", _transposed)),
    x=_sum_of("conv2d", "g", "w", "size", _transposed),
    w=_sum_of("conv2d_weight_gradient", "g", "x", "kernel", _transposed),
    b="{g}.sum(axis=(0, 2, 3))",
)


# Pools


def _pool(call: Call) -> tuple[Any, Any]:
    """The geometry, and the padding that every window fits into: ceil_mode may reach beyond the declared one."""
    p = call.params
    dilation, ceil_mode = p.get("dilation", 1), p.get("ceil_mode", False)
    at: Any
    if call.op.name == "unfold":  # any padding may stand around patches
        kernel = checked_pair("unfold", "kernel_size", p["kernel_size"], 1)
        at = conv2d_geometry(call.shape(), (1, call.shape()[1], *kernel), p["stride"], p["padding"], dilation, 1)
    else:
        at = pool2d_geometry(call.shape(), p["kernel_size"], p["stride"], p["padding"], dilation, ceil_mode)
    sides = zip(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, strict=True)
    return at, tuple((lo, max(hi, (n - 1) * s + d * (k - 1) + 1 - h - lo)) for h, k, s, (lo, hi), d, n in sides)


def _cells(call: Call, value: str) -> str:
    at, padding = _pool(call)
    return f"pool_cells({call['x']}, {value}, {at.kernel}, {at.stride}, {padding}, {at.dilation}, {at.out})"


def _scattered(call: Call, g: str) -> str:
    at, padding = _pool(call)
    return f"pool_scatter({g}, {at.size}, {at.kernel}, {at.stride}, {padding}, {at.dilation})"


def _to_all(call: Call, g: str) -> str:
    """g for every cell of its window."""
    at, _ = _pool(call)
    return _scattered(call, f"np.broadcast_to({g}, ({at.kernel[0] * at.kernel[1]}, *{call['out_shape']}))")


def _divisor(call: Call) -> str:
    """What each window's sum is divided by: one number, or an array in the data where windows differ."""
    if call.params["divisor_override"] is not None:
        return call["divisor_override"]
    at, _ = _pool(call)
    include = call.params["count_include_pad"]
    counts = pool_counts(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, include)
    if counts.min() == counts.max():
        return str(int(counts.max()))
    return call.data("counts", counts.astype(np.float64))


template(
    pool.max_pool2d,
    lambda call: f"{_cells(call, '-np.inf')}.max(axis=0)",
    x=lambda call: _scattered(call, f"{call['g']} * winners({_cells(call, '-np.inf')}, {call['ties']})"),
)
template(
    pool.sum_pool2d,
    lambda call: f"{_cells(call, '0')}.sum(axis=0)",
    x=lambda call: _to_all(call, call["g"]),
)
template(
    pool.avg_pool2d,
    lambda call: f"{_cells(call, '0')}.sum(axis=0) / {_divisor(call)}",
    x=lambda call: _to_all(call, f"{call['g']} / {_divisor(call)}"),
)


def _out_size(call: Call) -> str:
    return call.literal("out", call.out_shape[2:])


template(
    adaptive_pool.adaptive_avg_pool2d,
    lambda call: f"adaptive_avg_pool2d({call['x']}, {_out_size(call)})",
    x=lambda call: f"adaptive_avg_pool2d_gradient({call['g']}, {call.literal('size', call.shape()[2:])})",
)
template(
    adaptive_pool.adaptive_max_pool2d,
    lambda call: f"adaptive_max_pool2d({call['x']}, {_out_size(call)})",
    x="adaptive_max_pool2d_gradient({g}, {x})",
)
template(
    patches.unfold,
    lambda call: f"{_cells(call, '0')}.transpose(1, 2, 0, 3, 4).reshape({call['out_shape']})",
    x=lambda call: _scattered(call, f"{call['g']}.reshape({_patches(call)}).transpose(2, 0, 1, 3, 4)"),
)


def _patches(call: Call) -> tuple[int, ...]:
    """(n c kh*kw oh ow)"""
    at, _ = _pool(call)
    return (*call.shape()[:2], at.kernel[0] * at.kernel[1], *at.out)


# Resampling


def _reads(call: Call) -> str:
    """The matrix (size, n) of what each output reads of each cell of a line, in the data."""
    units = np.eye(call.shape()[call.params["axis"]])
    return call.data("reads", call.op.forward(units, **{**call.params, "axis": 1}).T)


template(
    resize.resampled,
    lambda call: f"along({_reads(call)}, {call['x']}, {call['axis']})",
    x=lambda call: f"along({_reads(call)}.T, {call['g']}, {call['axis']})",
)


# Normalization


def _scale_shift(call: Call, text: str, ndim: int | None = None) -> str:
    """text * w + b, of what was given; across the channels where the rank of x is given."""
    for name, sign in (("w", "*"), ("b", "+")):
        if call.given(name):
            text += f" {sign} {call[name]}" if ndim is None else f" {sign} across({call[name]}, {ndim})"
    return text


def _batch(call: Call) -> tuple[str, int]:
    """The arguments of a normalization over the batch, and the rank of x."""
    ndim = len(call.shape())
    return f"{(0, *range(2, ndim))}, {call['eps']}, True", ndim


def _train_forward(call: Call) -> str:
    along, ndim = _batch(call)
    return _scale_shift(call, f"standardized({call['x']}, {along})", ndim)


def _train_input(call: Call) -> str:
    along, ndim = _batch(call)
    g = f"{call['g']} * across({call['w']}, {ndim})" if call.given("w") else call["g"]
    return f"standardized_gradient({g}, {call['x']}, {along})"


def _over_channels(call: Call) -> str:
    return str((0, *range(2, len(call.shape()))))


template(
    norm.batch_norm_train,
    _train_forward,
    x=_train_input,
    w=lambda call: f"({call['g']} * standardized({call['x']}, {_batch(call)[0]})).sum(axis={_over_channels(call)})",
    b=lambda call: f"{call['g']}.sum(axis={_over_channels(call)})",
)


def _running(call: Call) -> tuple[str, str]:
    """x - mean, and 1 / sqrt(var + eps) of the running statistics."""
    ndim = len(call.shape())
    centred = f"({call['x']} - across({call['mean']}, {ndim}))"
    return centred, f"across(1 / np.sqrt({call['var']} + {call['eps']}), {ndim})"


def _eval_input(call: Call) -> str:
    weight = f" * across({call['w']}, {len(call.shape())})" if call.given("w") else ""
    return f"{call['g']} * {_running(call)[1]}{weight}"


template(
    norm.batch_norm_eval,
    lambda call: _scale_shift(call, " * ".join(_running(call)), len(call.shape())),
    x=_eval_input,
    w=lambda call: f"({call['g']} * {' * '.join(_running(call))}).sum(axis={_over_channels(call)})",
    b=lambda call: f"{call['g']}.sum(axis={_over_channels(call)})",
)


def _along(call: Call) -> str:
    axes = normalize_axes(call.params["axis"], len(call.shape()), "standardize")
    return f"{call.literal('axis', axes)}, {call['eps']}, {call['centred']}"


template(
    standardize.standardize,
    lambda call: _scale_shift(call, f"standardized({call['x']}, {_along(call)})"),
    x=lambda call: (
        f"standardized_gradient({call['g']}{' * ' + call['w'] if call.given('w') else ''}, {call['x']}, {_along(call)})"
    ),
    w=lambda call: f"sum_to({call['g']} * standardized({call['x']}, {_along(call)}), {call['w_shape']})",
    b="sum_to({g}, {b_shape})",
)
