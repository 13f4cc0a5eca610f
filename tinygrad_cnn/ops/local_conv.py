"""Convolution whose kernels are not shared: each place of the output has its own."""

from math import prod
from typing import Any

from ..basics import add
from ..geometry import conv2d_geometry
from ..graph import Tensor
from ..shapes import ShapeError, shown
from .layout import permute, reshape
from .lines import named
from .matmul import matmul
from .patches import unfold

__all__ = ["local_conv2d"]


def local_conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Tensor:
    """y[n,o,i,j] = b[o,i,j] + sum x[n,c,i*s+p*d,j*s+q*d] w[i,j,o,c,p,q]: conv2d with the kernels w[i,j] at (i, j).

    (n c h w) or (c h w), (oh ow o c kh kw), (o oh ow) -> (n o oh ow) or (o oh ow), oh as for conv2d

    stride, padding, dilation: as for conv2d. Recorded as unfold and a matrix product for each place.

    Raises ShapeError if there is not one kernel for each window, TypeError for booleans and for several dtypes.
    Source: LeCun, Generalization and network design strategies (1989), on nets with and without shared weights.
    """
    name = "local_conv2d"
    _check_kinds(name, input, weight, bias)
    single = input.ndim == 3
    x = reshape(input, (1, *input.shape)) if single else input
    if x.ndim != 4 or weight.ndim != 6:
        raise ShapeError(
            f"{name}: the input has shape {shown(input.shape)}, the weight {shown(weight.shape)}; "
            "(n, c, h, w) and (oh, ow, o, c, kh, kw) are needed"
        )
    oh, ow, o, c, kh, kw = weight.shape
    if c != x.shape[1]:
        raise ShapeError(
            f"{name}: x has {x.shape[1]} channels, w wants {c} (x is {shown(x.shape)}, w is oh ow o c kh kw = "
            f"{shown(weight.shape)}); make w {shown((oh, ow, o, x.shape[1], kh, kw))}"
        )
    with named(name, "conv2d"):
        at = conv2d_geometry(x.shape, (o, c, kh, kw), stride, padding, dilation)
    if at.out != (oh, ow):
        raise ShapeError(
            f"{name}: the weight has kernels for {oh}x{ow} places, the image has {at.out[0]}x{at.out[1]} windows "
            f"(x is {shown(x.shape)}); make w {shown((*at.out, o, c, kh, kw))}"
        )
    if bias is not None and tuple(bias.shape) != (o, oh, ow):
        raise ShapeError(f"{name}: the bias has shape {tuple(bias.shape)}; it needs that of an output, {(o, oh, ow)}")
    columns = unfold(x, at.kernel, at.dilation, at.padding, at.stride)
    at_places = permute(columns, (2, 0, 1))  # (n c*kh*kw places) -> (places n c*kh*kw)
    kernels = permute(reshape(weight, (oh * ow, o, c * prod(at.kernel))), (0, 2, 1))
    y = reshape(permute(matmul(at_places, kernels), (1, 2, 0)), at.out_shape)
    y = y if bias is None else add(y, bias)
    image: Tensor = reshape(y, at.out_shape[1:]) if single else y
    return image


def _check_kinds(name: str, x: Any, w: Any, b: Any) -> None:
    if x.dtype.kind == "b":
        raise TypeError(f"{name}: the image is bool; convert it first, as with .float()")
    dtypes = {"input": x.dtype, "weight": w.dtype, **({} if b is None else {"bias": b.dtype})}
    if len(set(dtypes.values())) > 1:
        shown_dtypes = ", ".join(f"{k} {v}" for k, v in dtypes.items())
        raise TypeError(f"{name}: its inputs have different dtypes ({shown_dtypes}); it needs one, as by .to(dtype)")
