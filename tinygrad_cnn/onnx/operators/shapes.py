"""Axes reordered, joined, cut, padded and stretched: values that move without being changed."""

from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from ...graph import Tensor, wrap
from ...ops.arrange import repeat
from ...ops.elementwise import where
from ...ops.index import getitem
from ...ops.layout import broadcast_to, cat, pad, permute, reshape
from ...shapes import ShapeError, broadcast_shape, reshape_shape
from .axes import axes_of, axis_of, given
from .registry import Node, operator

PADDINGS = ("reflect", "edge", "wrap")  # as NumPy calls them, too
_CHANNEL_ORDERS = ("DCR", "CRD")


@operator("Reshape", first=1)
def reshaped(node: Node, x: Tensor, shape: Tensor | None = None) -> Tensor:
    """x in another shape: 0 keeps a length, unless allowzero=1 lets it mean none; one length may be -1."""
    wanted = given(node, "shape", shape, 5)
    if wanted is None:
        raise node.fail("the new shape is missing")
    if not node.attribute("allowzero", 0):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
            raise node.fail(f"{wanted} keeps a length that the shape {x.shape} has not")
        wanted = tuple(n or x.shape[i] for i, n in enumerate(wanted))
    elif 0 in wanted and -1 in wanted:
        raise node.fail(f"{wanted} holds 0 and -1, which allowzero=1 leaves undecided; write the length out")
    try:
        found = reshape_shape(x.shape, wanted)
    except ShapeError as error:
        raise node.fail(str(error).removeprefix("reshape: ")) from None
    if prod(n for n in found if n) * x.array.itemsize >= 1 << 63:  # more than NumPy can address, if one axis is empty
        raise node.fail(f"the shape {found} has lengths that are too large together")
    y: Tensor = reshape(x, found)
    return y


@operator("Transpose", first=1)
def transposed(node: Node, x: Tensor) -> Tensor:
    """The axes in another order, in reverse unless perm says which."""
    order = axes_of(node, node.attribute("perm") or range(x.ndim)[::-1], x.ndim)
    if len(order) != x.ndim:
        raise node.fail(f"perm {order} for shape {x.shape}; every axis must be named")
    y: Tensor = permute(x, order)
    return y


@operator("Flatten", first=1)
def flattened(node: Node, x: Tensor) -> Tensor:
    """A matrix of the axes before `axis` and those from it on."""
    axis = node.attribute("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise node.fail(f"axis {axis} of shape {x.shape}; -{x.ndim} to {x.ndim} are possible")
    before = axis if axis >= 0 else axis + x.ndim
    y: Tensor = reshape(x, (prod(x.shape[:before]), prod(x.shape[before:])))
    return y


@operator("Squeeze")
def squeezed(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """x without the axes named, which must have length one, or without all of that length."""
    named = given(node, "axes", axes, 13)
    dropped = axes_of(node, named, x.ndim) if named is not None else [i for i, n in enumerate(x.shape) if n == 1]
    if any(x.shape[i] != 1 for i in dropped):
        raise node.fail(f"axes {named} of shape {x.shape}; only those of length 1 can be dropped")
    y: Tensor = reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in dropped))
    return y


@operator("Unsqueeze")
def unsqueezed(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """x with axes of length one at these places of the result."""
    named = given(node, "axes", axes, 13)
    if named is None:
        raise node.fail("the axes are missing")
    ndim = x.ndim + len(named)
    if ndim > 64:
        raise node.fail(f"a result of {ndim} axes; at most 64 are possible")
    added, lengths = axes_of(node, named, ndim), iter(x.shape)
    y: Tensor = reshape(x, tuple(1 if i in added else next(lengths) for i in range(ndim)))
    return y


@operator("Concat", first=1)
def joined(node: Node, *xs: Tensor) -> Tensor:
    """Tensors joined along an axis."""
    axis = node.attribute("axis", 1 if node.opset < 4 else None)
    if axis is None:
        raise node.fail("the attribute 'axis' is missing")
    axis = axis_of(node, axis, xs[0].ndim)
    others = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs if x.ndim == xs[0].ndim}
    if len(others) > 1 or any(x.ndim != xs[0].ndim for x in xs):
        raise node.fail(f"shapes {', '.join(str(x.shape) for x in xs[:8])}; all axes but {axis} must have one length")
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    node.allow(tuple(shape), xs[0].array.itemsize)
    return cat(xs, axis)


@operator("Split", first=1)
def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """x cut along an axis into parts of these sizes, or of one size: the last is smaller with num_outputs."""
    axis = axis_of(node, node.attribute("axis", 0), x.ndim)
    n, parts = x.shape[axis], node.outputs
    wanted = node.integers(sizes, "split") if sizes is not None else node.attribute("split")
    if wanted is None:
        if node.attribute("num_outputs", parts) != parts:
            raise node.fail(f"num_outputs is {node.attribute('num_outputs')} with {parts} outputs; they must agree")
        size = -(-n // parts)
        if n % parts and node.attribute("num_outputs") is None:
            raise node.fail(f"{parts} equal parts of axis {axis} of shape {x.shape}; {n} is no multiple of {parts}")
        wanted = [max(min(size, n - i * size), 0) for i in range(parts)]
    if len(wanted) != parts or any(part < 0 for part in wanted) or sum(wanted) != n:
        raise node.fail(
            f"parts of {tuple(wanted)} for {parts} outputs and axis {axis} of shape {x.shape}; "
            f"one for each is needed, {n} together"
        )
    before = (slice(None),) * axis
    return tuple(
        getitem(x, (*before, slice(end - part, end))) for part, end in zip(wanted, accumulate(wanted), strict=True)
    )


@operator("Slice", first=1)
def sliced(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Every step-th place from start to before end along some axes; what lies outside is left out."""
    first, last = given(node, "starts", starts, 10), given(node, "ends", ends, 10)
    if first is None or last is None:
        raise node.fail("starts or ends are missing")
    along = axes_of(node, given(node, "axes", axes, 10) or range(len(first)), x.ndim)
    step = node.integers(steps, "steps") or (1,) * len(first)
    if not len(first) == len(last) == len(along) == len(step) or 0 in step:
        raise node.fail(
            f"starts {first}, ends {last}, axes {along}, steps {step}; one of each is needed for every axis, no step 0"
        )
    index = [slice(None)] * x.ndim
    for axis, *span in zip(along, first, last, step, strict=True):
        index[axis] = _span(x.shape[axis], *span)
    y: Tensor = getitem(x, tuple(index))
    return y


def _span(n: int, start: int, end: int, step: int) -> slice:
    """The places of an axis of length n. Backwards, a start before the axis is its first place, as not in Python."""
    start, end = (place + n if place < 0 else place for place in (start, end))
    if step > 0:
        return slice(max(start, 0), max(end, 0), step)
    return slice(max(start, 0), end if end >= 0 else None, step)


def _cropped(x: Tensor, widths: list[tuple[int, int]]) -> Tensor:
    """x without the cells that negative widths take away."""
    if all(n >= 0 for pair in widths for n in pair):
        return x
    spans = zip(x.shape, widths, strict=True)
    y: Tensor = getitem(x, tuple(slice(max(0, -before), n - max(0, -after)) for n, (before, after) in spans))
    return y


@operator("Pad", first=1)
def padded(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """x in a frame of one value, of its mirror image, its edge or its other end; negative widths crop."""
    numbers = given(node, "paddings" if node.opset < 2 else "pads", pads, 11)
    along = axes_of(node, node.integers(axes, "axes") or range(x.ndim), x.ndim)
    if numbers is None or len(numbers) != 2 * len(along):
        raise node.fail(f"pads {numbers} for axes {along}; the beginnings of all are needed, then the ends")
    mode = node.attribute("mode", "constant")
    if mode != "constant" and mode not in PADDINGS:
        raise node.fail(f"mode {mode!r}; it can be 'constant', {', '.join(map(repr, PADDINGS))}")
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(along, numbers[: len(along)], numbers[len(along) :], strict=True):
        widths[axis] = before, after
    for n, (before, after) in zip(x.shape, widths, strict=True):
        if n + min(before, 0) + min(after, 0) < 0:
            raise node.fail(f"pads {numbers} crop more than there is of shape {x.shape}")
    node.allow(tuple(before + n + after for n, (before, after) in zip(x.shape, widths, strict=True)), x.array.itemsize)
    x = _cropped(x, widths)
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        return _surrounded(node, x, widths, value)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            n = x.shape[axis]
            if n == 0:
                raise node.fail(f"axis {axis} of shape {x.shape} is empty; mode {mode!r} has nothing to repeat")
            rows = np.pad(np.arange(n), (before, after), mode=mode)
            x = getitem(x, (slice(None),) * axis + (rows,))
    return x


def _surrounded(node: Node, x: Tensor, widths: list[tuple[int, int]], value: Tensor | None) -> Tensor:
    fill: Any = node.attribute("value", 0.0) if node.opset < 11 else 0
    if value is not None:
        if value.array.size != 1:
            raise node.fail(f"the value has shape {value.shape}; one number is needed")
        fill = value.array.reshape(-1)[0].item()
    y: Tensor = pad(x, tuple(widths), fill)
    if value is None or not value.requires_grad:
        return y
    inside = np.zeros(y.shape, np.bool_)
    inside[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True))] = True
    z: Tensor = where(inside, y, reshape(value, ()))
    return z


@operator("CenterCropPad")
def centred(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """x cropped or padded with zeros on both sides to these lengths; an odd rest is on the right."""
    lengths = node.integers(shape, "shape") or ()
    along = axes_of(node, node.attribute("axes") or range(x.ndim), x.ndim)
    if len(lengths) != len(along):
        raise node.fail(f"lengths {lengths} for axes {along}; one for each is needed")
    wanted = dict(zip(along, lengths, strict=True))
    node.allow(tuple(wanted.get(i, n) for i, n in enumerate(x.shape)), x.array.itemsize)
    widths = []
    for i, n in enumerate(x.shape):
        more = wanted.get(i, n) - n
        before = more // 2 if more >= 0 else -(-more // 2)
        widths.append((before, more - before))
    y: Tensor = pad(_cropped(x, widths), tuple((max(before, 0), max(after, 0)) for before, after in widths), 0)
    return y


@operator("Expand")
def expanded(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """x stretched by broadcasting with a shape."""
    wanted = node.integers(shape, "shape") or ()
    node.allow(wanted, x.array.itemsize)
    try:
        found = broadcast_shape(x.shape, wanted, op="expand")
    except ShapeError as error:
        raise node.fail(str(error).removeprefix("expand: ")) from None
    node.allow(found, x.array.itemsize)
    y: Tensor = broadcast_to(x, found)
    return y


@operator("Tile", first=1)
def tiled(node: Node, x: Tensor, repeats: Tensor, axis: Tensor | None = None) -> Tensor:
    """x laid side by side; before opset 6 along one axis."""
    counts = node.integers(repeats, "repeats") or ()
    if node.opset < 6:
        along = axes_of(node, node.integers(axis, "axis") or (), x.ndim)
        if len(counts) != 1 or len(along) != 1:
            raise node.fail(f"{counts} tiles along axes {along}; one number of each is needed")
        counts = tuple(counts[0] if i == along[0] else 1 for i in range(x.ndim))
    if len(counts) != x.ndim:
        raise node.fail(f"repeats {counts} for shape {x.shape}; one for every axis is needed")
    node.allow(tuple(n * count for n, count in zip(x.shape, counts, strict=True)), x.array.itemsize)
    return repeat(x, counts) if x.ndim else x


def _block(node: Node, x: Tensor) -> int:
    size = node.attribute("blocksize", 0)
    if x.ndim != 4 or size < 1:
        raise node.fail(f"blocks of {size} for shape {x.shape}; (n c h w) and a size of at least 1 are needed")
    return int(size)


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """(n c*b*b h w) -> (n c h*b w*b): channels become blocks of pixels; CRD counts channels first, DCR last."""
    b = _block(node, x)
    n, c, h, w = x.shape
    mode = node.attribute("mode", "DCR")
    if c % (b * b) or mode not in _CHANNEL_ORDERS:
        raise node.fail(f"mode {mode!r}, {c} channels by {b}; 'DCR' or 'CRD' and a multiple of {b * b} are needed")
    c //= b * b
    if mode == "CRD":
        y = permute(reshape(x, (n, c, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        y = permute(reshape(x, (n, b, b, c, h, w)), (0, 3, 4, 1, 5, 2))
    z: Tensor = reshape(y, (n, c, h * b, w * b))
    return z


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """(n c h*b w*b) -> (n c*b*b h w): blocks of pixels become channels; CRD counts channels first, DCR last."""
    b = _block(node, x)
    n, c, h, w = x.shape
    mode = node.attribute("mode", "DCR")
    if h % b or w % b or mode not in _CHANNEL_ORDERS:
        raise node.fail(f"mode {mode!r}, {h} by {w} pixels in blocks of {b}; 'DCR' or 'CRD' and multiples are needed")
    y = permute(reshape(x, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    z: Tensor = reshape(y, (n, b * b * c, h // b, w // b))
    return z


@operator("Shape")
def shape_of(node: Node, x: Tensor) -> Tensor:
    """The lengths of x, from the axis `start` to before `end`."""
    return wrap(np.array(x.shape[node.attribute("start", 0) : node.attribute("end", x.ndim)], np.int64))


@operator("Size")
def size_of(node: Node, x: Tensor) -> Tensor:
    """How many elements x has."""
    return wrap(np.array(x.array.size, np.int64))
