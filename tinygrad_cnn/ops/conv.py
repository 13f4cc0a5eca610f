"""Convolution is bilinear in image and weight: three ops, each the others' gradient; and its transpose.

Source: Dumoulin & Visin, A guide to convolution arithmetic for deep learning (2016), sections 2 and 4.
"""

from math import prod
from typing import Any

import numpy as np

from ..geometry import Conv2dGeometry, conv2d_geometry, conv_transpose2d_geometry
from ..kernels import conv as kernels
from ..modes import is_grad_enabled
from ..primitive import op
from ..shapes import ShapeError
from .index import getitem
from .reduce import sum

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv_transpose2d"]


@op
def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    /,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    strict: bool = False,
) -> Any:
    """Cross-correlate images with kernels: y[n,o,i,j] = b[o] + sum x[n,c,i*s+p*d,j*s+q*d] w[o,c,p,q].

    (n c h w), (o c/groups kh kw), (o) -> (n o oh ow), oh = (h + padding - dilation*(kh - 1) - 1) // stride + 1

    stride, dilation: an int or (height, width).
    padding: zeros around the image: an int, (height, width), ((top, bottom), (left, right)), or
        'valid' (none), 'same' (oh = ceil(h / stride); an odd zero goes last), 'same_lower' (first), 'full'.
    strict: refuse sizes whose last rows or columns no window reads.

    Raises ShapeError if channels differ or the kernel exceeds the padded image, TypeError for booleans.
    Source: Dumoulin & Visin (2016), section 2.
    """
    if x.dtype.kind == "b":
        raise TypeError("conv2d: the image is bool; convert it first, as with .float()")
    at = conv2d_geometry(x.shape, w.shape, stride, padding, dilation, groups, strict=strict)
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"conv2d: the bias has shape {b.shape}; it needs one value for each filter, {w.shape[:1]}")
    # Without gradients the kernels stay as they are from one batch to the next.
    keep = not is_grad_enabled()
    return kernels.conv2d(x, w, b, at.stride, at.padding, at.dilation, at.groups, keep=keep)


@op
def conv2d_input_grad(
    g: Any, w: Any, /, size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The adjoint of conv2d in x: every g[n,o,i,j] w[o,c,p,q] is added to x[n,c,i*s+p*d,j*s+q*d].

    (n o oh ow), (o c/groups kh kw) -> (n c *size)
    """
    at = _geometry(
        "conv2d_input_grad",
        (g.shape[0], w.shape[1] * groups, *size),
        w.shape,
        g.shape,
        stride,
        padding,
        dilation,
        groups,
    )
    return kernels.conv2d_input_grad(g, w, at.size, at.stride, at.padding, at.dilation, at.groups)


@op
def conv2d_weight_grad(
    x: Any, g: Any, /, size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The adjoint of conv2d in w: dw[o,c,p,q] = sum g[n,o,i,j] x[n,c,i*s+p*d,j*s+q*d] over n, i, j.

    (n c h w), (n o oh ow) -> (o c/groups *size)
    """
    w_shape = (g.shape[1], x.shape[1] // groups, *size)
    at = _geometry("conv2d_weight_grad", x.shape, w_shape, g.shape, stride, padding, dilation, groups)
    return kernels.conv2d_weight_grad(x, g, at.kernel, at.stride, at.padding, at.dilation, at.groups)


def _geometry(name: str, x_shape: Any, w_shape: Any, g_shape: Any, *params: Any) -> Conv2dGeometry:
    """The geometry in which g is the gradient of conv2d's output, or of its top left corner."""
    at = conv2d_geometry(x_shape, w_shape, *params)
    if g_shape[:2] != at.out_shape[:2] or any(m > n for m, n in zip(g_shape[2:], at.out, strict=True)):
        raise ShapeError(f"{name}: a gradient of shape {g_shape} for an output of shape {at.out_shape}")
    return at


def _cropped(y: Any, shape: Any) -> Any:
    """The top left corner of y, in the height and width of `shape`."""
    h, w = shape[2:]
    return y if y.shape[2:] == (h, w) else getitem(y, (Ellipsis, slice(0, h), slice(0, w)))


def _x_of_conv(g: Any, w: Any, x_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return conv2d_input_grad(g, w, x_shape[2:], stride, padding, dilation, groups)


def _w_of_conv(g: Any, x: Any, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return conv2d_weight_grad(x, g, w_shape[2:], stride, padding, dilation, groups)


conv2d.vjp(x=_x_of_conv, w=_w_of_conv, b=lambda g: sum(g, (0, 2, 3)))
conv2d.formula(x="∂out ⋆ᵀ w", w="x ⋆ʷ ∂out", b="Σ ∂out")
conv2d.flops(lambda w_shape, b_shape, out_shape: prod(out_shape) * (2 * prod(w_shape[1:]) + bool(b_shape)))

conv2d_input_grad.vjp(
    g=lambda h, g_shape, w, stride, padding, dilation, groups: _cropped(
        conv2d(h, w, None, stride, padding, dilation, groups), g_shape
    ),
    w=lambda h, g, w_shape, stride, padding, dilation, groups: conv2d_weight_grad(
        h, g, w_shape[2:], stride, padding, dilation, groups
    ),
)
conv2d_input_grad.formula(g="∂out ⋆ w", w="∂out ⋆ʷ g")
conv2d_input_grad.flops(lambda g_shape, w_shape: 2 * prod(g_shape) * prod(w_shape[1:]))

conv2d_weight_grad.vjp(
    x=lambda h, x_shape, g, stride, padding, dilation, groups: conv2d_input_grad(
        g, h, x_shape[2:], stride, padding, dilation, groups
    ),
    g=lambda h, x, g_shape, stride, padding, dilation, groups: _cropped(
        conv2d(x, h, None, stride, padding, dilation, groups), g_shape
    ),
)
conv2d_weight_grad.formula(x="g ⋆ᵀ ∂out", g="x ⋆ ∂out")
conv2d_weight_grad.flops(lambda g_shape, out_shape: 2 * prod(g_shape) * prod(out_shape[1:]))


@op
def conv_transpose2d(
    x: Any,
    w: Any,
    b: Any = None,
    /,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of conv2d: every x[n,c,i,j] puts a kernel w[c,:] into the output at (i*s - p, j*s - p).

    (n c h w), (c o/groups kh kw), (o) -> (n o oh ow),
    oh = (h - 1)*stride - padding + dilation*(kh - 1) + output_padding + 1

    output_padding: rows and columns added at the end, fewer than the stride or the dilation: a strided
        conv2d gives one size for several inputs, and this says which is meant.

    Raises ShapeError as conv2d does. Source: Dumoulin & Visin (2016), section 4.
    """
    if x.dtype.kind == "b":
        raise TypeError("conv_transpose2d: the image is bool; convert it first, as with .float()")
    at = conv_transpose2d_geometry(x.shape, w.shape, stride, padding, output_padding, groups, dilation)
    if b is not None and b.shape != (at.out_shape[1],):
        raise ShapeError(
            f"conv_transpose2d: the bias has shape {b.shape}; it needs one value for each of {at.out_shape[1]} filters"
        )
    y = kernels.conv2d_input_grad(x, w, at.out, at.stride, at.padding, at.dilation, at.groups)
    return y if b is None else np.add(y, b[:, None, None], out=y)


conv_transpose2d.vjp(
    x=lambda g, x_shape, w, stride, padding, groups, dilation: _cropped(
        conv2d(g, w, None, stride, padding, dilation, groups), x_shape
    ),
    w=lambda g, x, w_shape, stride, padding, groups, dilation: conv2d_weight_grad(
        g, x, w_shape[2:], stride, padding, dilation, groups
    ),
    b=lambda g: sum(g, (0, 2, 3)),
)
conv_transpose2d.formula(x="∂out ⋆ w", w="∂out ⋆ʷ x", b="Σ ∂out")
conv_transpose2d.flops(
    lambda x_shape, w_shape, b_shape, out_shape: 2 * prod(x_shape) * prod(w_shape[1:]) + prod(out_shape) * bool(b_shape)
)


def _problem(draw: Any, out_of: Any = None) -> Any:
    """Shapes and parameters with nothing symmetric: (x shape, w shape, out shape, params)."""
    groups = draw.choice([1, 1, 2, 3])
    c, o = groups * draw.size(1, 2), groups * draw.size(1, 2)
    kh, kw = draw.size(1, 3), draw.size(1, 4)
    stride = (draw.size(1, 3), draw.size(1, 2))
    dilation = (draw.size(1, 2), draw.size(1, 3))
    padding = draw.choice([0, (1, 0), ((1, 0), (0, 2)), "same", "same_lower", "full", "valid"])
    h = dilation[0] * (kh - 1) + 1 + draw.size(0, 3)
    w = dilation[1] * (kw - 1) + 1 + draw.size(0, 2)
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x_shape, w_shape = (draw.size(1, 2), c, h, w), (o, c // groups, kh, kw)
    return x_shape, w_shape, conv2d_geometry(x_shape, w_shape, **params).out_shape, params


@conv2d.sample
def _(draw: Any) -> Any:
    x, w, _, params = _problem(draw)
    if draw.choice([True, False]):
        return (draw.array(*x), draw.array(*w), draw.array(w[0])), params
    return (draw.array(*x), draw.array(*w)), params


def _corner(draw: Any, out: Any) -> Any:
    """All of the output's shape, or its top left corner without the last row or column."""
    return (*out[:2], *(max(1, length - draw.choice([0, 0, 1])) for length in out[2:]))


@conv2d_input_grad.sample
def _(draw: Any) -> Any:
    x, w, out, params = _problem(draw)
    return (draw.array(*_corner(draw, out)), draw.array(*w)), {"size": x[2:], **params}


@conv2d_weight_grad.sample
def _(draw: Any) -> Any:
    x, w, out, params = _problem(draw)
    return (draw.array(*x), draw.array(*_corner(draw, out))), {"size": w[2:], **params}


@conv_transpose2d.sample
def _(draw: Any) -> Any:
    groups = draw.choice([1, 2])
    c, o = groups * draw.size(1, 2), groups * draw.size(1, 2)
    stride, dilation = (draw.size(1, 3), draw.size(1, 2)), (draw.size(1, 2), draw.size(1, 2))
    output_padding = tuple(draw.size(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    params = {"stride": stride, "padding": draw.choice([0, (1, 0)]), "output_padding": output_padding}
    x, w = (draw.size(1, 2), c, draw.size(2, 4), draw.size(2, 3)), (c, o // groups, draw.size(2, 3), draw.size(1, 2))
    arrays = draw.array(*x), draw.array(*w), draw.array(o)
    return draw.choice([arrays, arrays[:2]]), {**params, "groups": groups, "dilation": dilation}
