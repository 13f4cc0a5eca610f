"""Conv and ConvTranspose, along one axis or two."""

from dataclasses import replace

from ...graph import Tensor
from ...ops.conv import conv2d, conv_transpose2d
from ...ops.layout import reshape
from .registry import Node, operator
from .windows import Pair, Windows, as_plane, bordered, from_plane, out_sizes, windows

__all__: list[str] = []


@operator("Conv")
def conv(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """(n c h w), (o c/group kh kw), (o) -> (n o oh ow), or with one axis less. Negative pads cut off."""
    at = _windows(node, x, w)
    oh, ow = out_sizes(node, at)
    (top, bottom), (left, right) = at.pads
    node.allow((*x.shape[:2], at.size[0] + max(top + bottom, 0), at.size[1] + max(left + right, 0)), x.dtype.itemsize)
    node.allow((x.shape[0], w.shape[0], oh, ow), x.dtype.itemsize)
    image = as_plane(x)
    if min(top, bottom, left, right) < 0:
        image = bordered(node, image, at.pads)
        at = replace(at, pads=((0, 0), (0, 0)))
    y = conv2d(image, as_plane(w), b, at.stride, at.pads, at.dilation, node.attribute("group", 1))
    return from_plane(y, at.rank)


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """(n c h w), (c o/group kh kw), (o) -> (n o oh ow), or with one axis less.

    oh = stride (h - 1) + output_padding + dilation (kh - 1) + 1 - pads; pads may be negative, and output_padding of
    any size: both add zeros.
    """
    at = _windows(node, x, w, transposed=True)
    group = node.attribute("group", 1)
    extra = node.attribute("output_padding", [0] * at.rank)
    if len(extra) != at.rank or min(extra) < 0:
        raise node.fail(f"output_padding is {extra}; {at.rank} numbers of at least 0 are needed")
    more: Pair = (0, extra[0]) if at.rank == 1 else (extra[0], extra[1])
    full = tuple(s * (n - 1) + r for n, s, r in zip(at.size, at.stride, at.reach, strict=True))
    pads = _transposed_pads(node, at, (full[0] + more[0], full[1] + more[1]))
    out = tuple(n + e - lo - hi for n, e, (lo, hi) in zip(full, more, pads, strict=True))
    channels = w.shape[1] * group
    if min(out) < 1:
        raise node.fail(f"nothing is left of the output of {full} cells with pads {pads}")
    for shape in (full, out):
        node.allow((x.shape[0], channels, *shape), x.dtype.itemsize)
    image, kernel = as_plane(x), as_plane(w)
    usual = all(e < max(s, d) for e, s, d in zip(more, at.stride, at.dilation, strict=True))
    if usual and min(map(min, pads)) >= 0:
        y = conv_transpose2d(image, kernel, b, at.stride, pads, more, group, at.dilation)
        return from_plane(y, at.rank)
    y = conv_transpose2d(image, kernel, None, at.stride, 0, 0, group, at.dilation)
    y = bordered(node, y, [(-lo, e - hi) for e, (lo, hi) in zip(more, pads, strict=True)])
    return from_plane(y if b is None else y + reshape(b, (-1, 1, 1)), at.rank)


def _windows(node: Node, x: Tensor, w: Tensor, transposed: bool = False) -> Windows:
    if w.ndim != x.ndim:
        raise node.fail(f"the weight has shape {w.shape} for an input of {x.shape}; both need as many axes")
    if node.attribute("group", 1) < 1:
        raise node.fail(f"group is {node.attribute('group')}; at least 1 is needed")
    kernel = node.attribute("kernel_shape")
    if kernel is not None and tuple(kernel) != w.shape[2:]:
        raise node.fail(f"kernel_shape is {kernel} for a weight of shape {w.shape}; it must be {list(w.shape[2:])}")
    return windows(node, x, w.shape[2:], transposed)


def _transposed_pads(node: Node, at: Windows, whole: Pair) -> tuple[Pair, Pair]:
    """What is cut off before and after: as `pads` says, or so that the output has the size that is asked for."""
    auto, wanted = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape")
    if wanted is None and not auto.startswith("SAME"):
        return at.pads
    if wanted is None:
        sizes = [n * s for n, s in zip(at.size, at.stride, strict=True)]
    else:
        sizes = list(wanted[2:] if len(wanted) == at.rank + 2 else wanted)
        if len(sizes) != at.rank or min(sizes) < 1:
            raise node.fail(f"output_shape is {wanted}; {at.rank} numbers of at least 1 are needed")
        sizes = [whole[0], *sizes] if at.rank == 1 else sizes
    pads = []
    for n, size in zip(whole, sizes, strict=True):
        total = n - size
        pads.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
    return pads[0], pads[1]
