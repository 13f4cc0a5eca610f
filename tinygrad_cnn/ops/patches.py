"""Windows of an image as columns, and columns added up to an image (im2col and col2im): each other's gradients.

A convolution is a matrix product with the columns that unfold gives.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from ..flops import moves_data
from ..geometry import Conv2dGeometry, checked_pair, conv2d_geometry
from ..primitive import op
from ..shapes import ShapeError


def _geometry(name: str, shape: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Conv2dGeometry:
    kernel = checked_pair(name, "kernel_size", kernel_size, 1)
    return conv2d_geometry(shape, (1, shape[1], *kernel), stride, padding, dilation)


def _cells(at: Conv2dGeometry) -> Iterator[tuple[int, int, slice, slice]]:
    """(p, q, rows, columns): the cells of the padded image that place (p, q) of all windows lies on."""
    (oh, ow), (sh, sw), (dh, dw) = at.out, at.stride, at.dilation
    for p, q in np.ndindex(at.kernel):
        yield p, q, slice(p * dh, p * dh + sh * (oh - 1) + 1, sh), slice(q * dw, q * dw + sw * (ow - 1) + 1, sw)


def _padded(at: Conv2dGeometry, x_shape: Any, dtype: Any) -> tuple[Any, Any]:
    """Zeros as large as the image with its border, and a view of the image in it."""
    (top, bottom), (left, right) = at.padding
    h, w = at.size
    whole = np.zeros((*x_shape[:2], top + h + bottom, left + w + right), dtype)
    return whole, whole[:, :, top : top + h, left : left + w]


@op
def unfold(x: Any, /, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Every window of an image as a column: out[n, (c p q), (i j)] = x[n, c, i*s + p*d, j*s + q*d].

    (n c h w) -> (n c*kh*kw oh*ow), oh as for conv2d; the padding is zeros
    """
    at = _geometry("unfold", x.shape, kernel_size, dilation, padding, stride)
    whole, image = _padded(at, x.shape, x.dtype)
    image[...] = x
    n, c = x.shape[:2]
    out = np.empty((n, c, *at.kernel, *at.out), x.dtype)
    for p, q, rows, columns in _cells(at):
        out[:, :, p, q] = whole[:, :, rows, columns]
    return out.reshape(n, c * prod(at.kernel), prod(at.out))


@op
def fold(g: Any, /, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The adjoint of unfold: columns added up where their windows lie in an image of output_size.

    (n c*kh*kw oh*ow) -> (n c h w)

    Raises ShapeError for another number of rows or columns.
    """
    size, kernel = (
        checked_pair("fold", name, value, 1)
        for name, value in (("output_size", output_size), ("kernel_size", kernel_size))
    )
    if g.ndim != 3 or g.shape[1] % prod(kernel):
        raise ShapeError(f"fold: the columns have shape {g.shape}; (n c*{prod(kernel)} windows) is needed")
    shape = (g.shape[0], g.shape[1] // prod(kernel), *size)
    at = _geometry("fold", shape, kernel, dilation, padding, stride)
    if g.shape[2] != prod(at.out):
        raise ShapeError(
            f"fold: {g.shape[2]} columns for an image of {size}, which has {at.out[0]}*{at.out[1]} windows"
        )
    whole, image = _padded(at, shape, g.dtype)
    columns_of = g.reshape(*shape[:2], *at.kernel, *at.out)
    for p, q, rows, columns in _cells(at):
        whole[:, :, rows, columns] += columns_of[:, :, p, q]
    return np.ascontiguousarray(image)


unfold.vjp(
    x=lambda g, x_shape, kernel_size, dilation, padding, stride: fold(
        g, x_shape[2:], kernel_size, dilation, padding, stride
    )
)
unfold.formula(x="overlay(∂out, kernel_size)")
unfold.flops(moves_data)
fold.vjp(
    g=lambda h, kernel_size, dilation, padding, stride: unfold(h, kernel_size, dilation, padding, stride),
)
fold.formula(g="columns(∂out, kernel_size)")
fold.flops(lambda g_shape: prod(g_shape))


def _problem(draw: Any) -> Any:
    """A shape and parameters with nothing symmetric."""
    kernel, dilation = (draw.size(1, 3), draw.size(1, 2)), (draw.size(1, 2), draw.size(1, 2))
    padding = draw.choice([0, (1, 0), (0, 2)])
    params = {"kernel_size": kernel, "dilation": dilation, "padding": padding}
    h, w = (d * (k - 1) + 1 + draw.size(0, 3) for k, d in zip(kernel, dilation, strict=True))
    return (2, draw.size(1, 2), h, w), {**params, "stride": (draw.size(1, 3), draw.size(1, 2))}


@unfold.sample
def _(draw: Any) -> Any:
    shape, params = _problem(draw)
    return (draw.array(*shape),), params


@fold.sample
def _(draw: Any) -> Any:
    shape, params = _problem(draw)
    at = _geometry("fold", shape, **params)
    g = draw.array(shape[0], shape[1] * prod(at.kernel), prod(at.out))
    return (g,), {"output_size": shape[2:], **params}
