"""How convolutions, pools, patches, resampling and normalizations are written; the image's sizes are fixed."""

from functools import reduce
from math import prod
from operator import add
from typing import Any

import numpy as np

from ...geometry import (
    Conv2dGeometry,
    ConvTranspose2dGeometry,
    Pool2dGeometry,
    checked_pair,
    conv2d_geometry,
    conv_transpose2d_geometry,
    pool2d_geometry,
)
from ...kernels.pool import pool_counts
from ...ops import adaptive_pool, conv, norm, patches, pool, resize, standardize
from ...shapes import normalize_axes
from .dims import Length
from .table import Call, translation
from .writer import Value


def _image(call: Call, name: str = "") -> tuple[int, int, int, int]:
    """(1 c h w) of an input: of a batch of any size."""
    c, h, w = call.lengths(call.shape_of(name)[1:], "the image (c h w)")
    return 1, c, h, w


def _kernel(call: Call) -> tuple[int, ...]:
    """The shape of the weight."""
    return call.lengths(call.shape_of("w"), "the weight")


def _pads(padding: Any) -> list[int]:
    """ONNX's order: where all axes begin, then where they end."""
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


# Convolution


@translation(conv.conv2d)
def _conv2d(call: Call) -> Value:
    at: Conv2dGeometry = conv2d_geometry(
        _image(call), _kernel(call), *(call[name] for name in ("stride", "padding", "dilation", "groups"))
    )
    return call.node(
        "Conv",
        *call.inputs,
        kernel_shape=list(at.kernel),
        strides=list(at.stride),
        pads=_pads(at.padding),
        dilations=list(at.dilation),
        group=at.groups,
    )


@translation(conv.conv_transpose2d)
def _conv_transpose2d(call: Call) -> Value:
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    at: ConvTranspose2dGeometry = conv_transpose2d_geometry(
        _image(call), _kernel(call), *(call[name] for name in names)
    )
    x, w, b = call.inputs
    windows: dict[str, Any] = {
        "kernel_shape": list(at.kernel),
        "strides": list(at.stride),
        "dilations": list(at.dilation),
    }
    if all(extra < s for extra, s in zip(at.output_padding, at.stride, strict=True)):
        more: dict[str, Any] = {"output_padding": list(at.output_padding)} if any(at.output_padding) else {}
        return call.node("ConvTranspose", x, w, b, **windows, pads=_pads(at.padding), group=at.groups, **more)
    # onnxruntime wants output_padding below the stride: cut less, and put zeros where nothing was cut.
    cut = [(lo, max(0, hi - extra)) for (lo, hi), extra in zip(at.padding, at.output_padding, strict=True)]
    bottom, right = (max(0, extra - hi) for (_, hi), extra in zip(at.padding, at.output_padding, strict=True))
    out = call.node("ConvTranspose", x, w, **windows, pads=_pads(cut), group=at.groups)
    out = call.node("Pad", out, call.writer.integers([0, 0, 0, 0, 0, 0, bottom, right]), 0)
    return out if b is None else out + call.writer.reshape(b, (1, at.out_shape[1], 1, 1))


# Pools


def _pool(call: Call, value: float) -> tuple[Value, Pool2dGeometry, Any]:
    """The image, the geometry and the padding that windows of floor mode need for the same windows.

    Runtimes differ in what ceil_mode leaves out, and refuse a padding as long as the kernel: then it is put around the
    image before.
    """
    at = pool2d_geometry(
        _image(call),
        call["kernel_size"],
        call["stride"],
        call["padding"],
        call.recorded.params.get("dilation", 1),
        call["ceil_mode"],
    )
    x, padding = call.x, list(at.padding)
    if at.ceil_mode:
        sides = zip(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, strict=True)
        padding = [(lo, max(0, (n - 1) * s + d * (k - 1) + 1 - h - lo)) for h, k, s, (lo, _), d, n in sides]
    if any(max(pair) >= k for pair, k in zip(padding, at.kernel, strict=True)):
        (top, bottom), (left, right) = padding
        pads = call.writer.integers([0, 0, top, left, 0, 0, bottom, right])
        x, padding = call.node("Pad", x, pads, value), [(0, 0), (0, 0)]
    return x, at, padding


@translation(pool.max_pool2d)
def _max_pool2d(call: Call) -> Value:
    if call.dtype.kind != "f":
        raise call.fail(f"of {call.dtype}; ONNX's MaxPool takes floats, so convert first with .float()")
    x, at, padding = _pool(call, -np.inf)
    dilations: dict[str, Any] = {"dilations": list(at.dilation)} if max(at.dilation) > 1 else {}
    return call.node(
        "MaxPool", x, kernel_shape=list(at.kernel), strides=list(at.stride), pads=_pads(padding), **dilations
    )


def _average(call: Call, x: Value, at: Pool2dGeometry, padding: Any, count_padding: bool) -> Value:
    border: dict[str, Any] = (
        {"pads": _pads(padding), "count_include_pad": int(count_padding)} if any(_pads(padding)) else {}
    )
    return call.node("AveragePool", x, kernel_shape=list(at.kernel), strides=list(at.stride), **border)


def _sum(call: Call) -> tuple[Value, Pool2dGeometry]:
    """The sums over windows: kernels of ones, or means times the number of cells."""
    x, at, padding = _pool(call, 0.0)
    if max(at.dilation) == 1:
        return _average(call, x, at, padding, True) * prod(at.kernel), at
    channels = _image(call)[1]
    ones = call.writer.constant(np.ones((channels, 1, *at.kernel), call.dtype))
    windows: dict[str, Any] = {"strides": list(at.stride), "pads": _pads(padding), "dilations": list(at.dilation)}
    return call.node("Conv", x, ones, kernel_shape=list(at.kernel), group=channels, **windows), at


@translation(pool.sum_pool2d)
def _sum_pool2d(call: Call) -> Value:
    return _sum(call)[0]


@translation(pool.avg_pool2d)
def _avg_pool2d(call: Call) -> Value:
    divisor = call["divisor_override"]
    if divisor is not None:
        return _sum(call)[0] / float(divisor)
    x, at, padding = _pool(call, 0.0)
    counts = pool_counts(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, call["count_include_pad"])
    if counts.min() == prod(at.kernel):
        return _average(call, x, at, padding, True)
    return _average(call, x, at, padding, True) * call.writer.constant((prod(at.kernel) / counts).astype(call.dtype))


def _adaptive(call: Call) -> tuple[tuple[int, int], tuple[int, int], list[int] | None]:
    """The image's height and width, the output's, and the kernel where the windows are equal and side by side."""
    _, _, *size = _image(call)
    oh, ow = call.lengths(call.shape[2:], "the output")
    kernel = [size[0] // oh, size[1] // ow] if size[0] % oh == size[1] % ow == 0 else None
    return (size[0], size[1]), (oh, ow), kernel


def _equal_windows(call: Call, kind: str, kernel: list[int], out: tuple[int, int]) -> Value:
    if out == (1, 1):
        return call.node(f"Global{kind}", call.x)
    return call.node(kind, call.x, kernel_shape=kernel, strides=kernel)


def _between(call: Call, mean: bool) -> Value:
    """Matrices that sum or average rows and columns: (oh h) (h w) (w ow)"""
    (h, w), (oh, ow), _ = _adaptive(call)
    shares = []
    for n, m in ((h, oh), (w, ow)):
        first, lengths = adaptive_pool.windows(n, m)
        cells = np.arange(n)
        inside = (cells >= first[:, None]) & (cells < (first + lengths)[:, None])
        shares.append((inside / lengths[:, None] if mean else inside).astype(call.dtype))
    rows, columns = call.writer.constant(shares[0]), call.writer.constant(shares[1].T)
    return call.node("MatMul", call.node("MatMul", rows, call.x), columns)


@translation(adaptive_pool.adaptive_avg_pool2d)
def _adaptive_avg_pool2d(call: Call) -> Value:
    _, out, kernel = _adaptive(call)
    return _between(call, True) if kernel is None else _equal_windows(call, "AveragePool", kernel, out)


@translation(adaptive_pool.adaptive_sum_pool2d)
def _adaptive_sum_pool2d(call: Call) -> Value:
    return _between(call, False)


@translation(adaptive_pool.adaptive_max_pool2d)
def _adaptive_max_pool2d(call: Call) -> Value:
    size, out, kernel = _adaptive(call)
    if kernel is not None:
        return _equal_windows(call, "MaxPool", kernel, out)
    x = call.x
    for axis, n, m in zip((2, 3), size, out, strict=True):
        first, lengths = adaptive_pool.windows(n, m)
        cells = first[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # the last one again
        x = call.writer.reduce("ReduceMax", call.node("Gather", x, call.writer.constant(cells), axis=axis), (axis + 1,))
    return x


# Patches and sizes


def _picks(call: Call, channels: int, kernel: tuple[int, int]) -> Value:
    """Kernels for each channel that see one cell each: (c*kh*kw 1 kh kw)"""
    cells = prod(kernel)
    one = np.eye(cells, dtype=call.dtype).reshape(cells, 1, *kernel)
    return call.writer.constant(np.tile(one, (channels, 1, 1, 1)))


def _patches(call: Call, size: tuple[int, ...]) -> Conv2dGeometry:
    """The windows of an image (c h w)."""
    kernel = checked_pair(call.op.name, "kernel_size", call["kernel_size"], 1)
    return conv2d_geometry((1, *size), (1, size[0], *kernel), call["stride"], call["padding"], call["dilation"])


@translation(patches.unfold)
def _unfold(call: Call) -> Value:
    _, *size = _image(call)
    at = _patches(call, tuple(size))
    windows: dict[str, Any] = {"strides": list(at.stride), "pads": _pads(at.padding), "dilations": list(at.dilation)}
    picks = _picks(call, size[0], at.kernel)
    found = call.node("Conv", call.x, picks, kernel_shape=list(at.kernel), group=size[0], **windows)
    return call.writer.reshape(found, call.shape)


@translation(patches.fold)
def _fold(call: Call) -> Value:
    w = call.writer
    size = call.lengths(call.shape[1:], "the image (c h w)")
    c, at = size[0], _patches(call, size)
    windows: dict[str, Any] = {"strides": list(at.stride), "dilations": list(at.dilation)}
    if w.opset >= 18:
        sizes = w.integers(at.size), w.integers(at.kernel)
        return call.node("Col2Im", call.x, *sizes, **windows, pads=_pads(at.padding))
    columns = w.reshape(call.x, (call.shape[0], c * prod(at.kernel), *at.out))
    out = call.node(
        "ConvTranspose", columns, _picks(call, c, at.kernel), **windows, kernel_shape=list(at.kernel), group=c
    )
    sides = list(zip(at.size, at.kernel, at.stride, at.padding, at.dilation, at.out, strict=True))
    unread = [h + lo + hi - ((n - 1) * s + d * (k - 1) + 1) for h, k, s, (lo, hi), d, n in sides]
    out = call.node("Pad", out, w.integers([0, 0, 0, 0, 0, 0, *unread]), 0)
    for axis, (h, _, _, (lo, _), _, _) in enumerate(sides, 2):
        out = w.slice(out, axis, lo, lo + h)
    return out


@translation(resize.resampled)
def _resampled(call: Call) -> Value:
    axis, size, kind, scale = call["axis"] % call.ndim, call["size"], call["kind"], call["scale"]
    (n,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis that is resampled")
    image = call.ndim == 4 and axis > 1 and scale is None
    if image and kind in ("linear", "cubic") and not (call["align_corners"] and size == 1):
        how = "align_corners" if call["align_corners"] else "half_pixel"
        cubic: dict[str, Any] = {"cubic_coeff_a": resize.SPREAD} if kind == "cubic" else {}
        return _resize(call, axis, mode=kind, coordinate_transformation_mode=how, **cubic)
    if image and kind == "nearest" and size % n == 0:
        return _resize(call, axis, mode=kind, coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    cells, shares = resize._taps(n, size, kind, call["align_corners"], scale)
    parts = [call.node("Gather", call.x, call.writer.constant(column), axis=axis) for column in cells.T]
    if len(parts) == 1:
        return parts[0]
    beside = shares.T.reshape(len(parts), -1, *(1,) * (call.ndim - 1 - axis)).astype(call.dtype)
    weighted = [part * call.writer.constant(share) for part, share in zip(parts, beside, strict=True)]
    return reduce(add, weighted)


def _resize(call: Call, axis: int, **attributes: Any) -> Value:
    (n,) = call.lengths(call.shape_of()[axis : axis + 1], "the axis that is resampled")
    scales = [1.0] * call.ndim
    scales[axis] = call["size"] / n
    if n * float(np.float32(scales[axis])) != call["size"]:  # rounded, the scale leads to another size
        lengths: list[Length] = list(call.shape)
        return call.node("Resize", call.x, None, None, call.writer.integers(lengths), **attributes)
    return call.node("Resize", call.x, None, call.writer.constant(np.array(scales, np.float32)), **attributes)


# Normalization


def _per_channel(call: Call) -> tuple[Value | None, Value | None]:
    _, w, b = call.inputs
    return w, b


@translation(norm.batch_norm_eval)
def _batch_norm_eval(call: Call) -> Value:
    w, b = _per_channel(call)
    (c,) = call.lengths(call.shape_of()[1:2], "the channels")
    mean, var = (call.writer.cast(call[name], call.dtype) for name in ("mean", "var"))
    scale, shift = (
        call.writer.constant(np.full(c, value, call.dtype)) if given is None else given
        for given, value in ((w, 1), (b, 0))
    )
    return call.node("BatchNormalization", call.x, scale, shift, mean, var, epsilon=float(call["eps"]))


def _normalized(call: Call, axes: tuple[int, ...], eps: float, centred: bool) -> Value:
    w, x = call.writer, call.x
    apart = x - w.reduce("ReduceMean", x, axes, True) if centred else x
    return apart / call.node("Sqrt", w.reduce("ReduceMean", apart * apart, axes, True) + eps)


@translation(norm.batch_norm_train)
def _batch_norm_train(call: Call) -> Value:
    out = _normalized(call, (0, *range(2, call.ndim)), call["eps"], True)
    across = (1, call.shape_of()[1], *(1,) * (call.ndim - 2))
    w, b = (None if v is None else call.writer.reshape(v, across) for v in _per_channel(call))
    out = out if w is None else out * w
    return out if b is None else out + b


@translation(standardize.standardize)
def _standardize(call: Call) -> Value:
    x, w, b = call.inputs
    axes, shape = normalize_axes(call["axis"], call.ndim, "standardize"), call.shape_of()
    last = tuple(range(call.ndim - len(axes), call.ndim))
    fits = all(v is None or v.shape == tuple(shape[i] for i in last) for v in (w, b))
    if call["centred"] and tuple(sorted(axes)) == last and fits and w is not None:
        return call.node("LayerNormalization", x, w, b, axis=last[0], epsilon=float(call["eps"]))
    out = _normalized(call, axes, call["eps"], call["centred"])
    out = out if w is None else out * w
    return out if b is None else out + b
