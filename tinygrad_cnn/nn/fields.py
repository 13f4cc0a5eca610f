"""Receptive fields: which pixels of the input image a value can depend on, followed from op to op, axis by axis.

Exact for windows, strides, dilations, transposed convolution, resampling, slices and skips that join: what is followed
is not a size but the first and the last pixel, as a function of the position that repeats after some positions. Padding
counts as pixels that lie outside. The statistics of normalisations are not counted: they see the whole image. Where
indices choose, as in unpooling and sorting, every place along their axis may be the one.
Source of the arithmetic: Araujo, Norris & Sim, Computing receptive fields of convolutional neural networks (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..geometry import conv2d_geometry, conv_transpose2d_geometry, pool2d_geometry
from ..ops.index import axes_of
from ..shapes import is_int

Shape = tuple[int, ...]
Span = tuple[int, int]  # the first and the last pixel


@dataclass(frozen=True)
class Sight:
    """What the values along one axis of a Tensor see of one axis of the image.

    spans: of the first positions, after which it repeats `advance` pixels further; None for a value that sees nothing.
    axis: of the Tensor, None where every value sees the same. length: of that axis. joined: other axes are part of it,
    and `inner` elements lie from one position to the next, 0 where that is not known.
    """

    spans: tuple[Span | None, ...]
    advance: int
    axis: int | None
    length: int
    joined: bool = False
    inner: int = 0

    def at(self, i: int) -> Span | None:
        """What position i sees; the positions go on outside of the Tensor."""
        turns, place = divmod(i, len(self.spans))
        span = self.spans[place]
        return None if span is None else (span[0] + turns * self.advance, span[1] + turns * self.advance)

    @property
    def size(self) -> int:
        """The pixels that one value sees, of the one that sees most."""
        return max((last - first + 1 for first, last in filter(None, self.spans)), default=0)

    @property
    def jump(self) -> Fraction | None:
        """The pixels from one position to the next, None where every value sees the same."""
        return None if self.axis is None else abs(Fraction(self.advance, len(self.spans)))

    def reading(self, taps: Callable[[int], Iterable[int]], period: int, advance: int, length: int) -> Sight:
        """The Sight of an op whose position i reads the positions taps(i)."""
        spans = tuple(_union(map(self.at, taps(i))) for i in range(period))
        return replace(self, spans=spans, advance=advance, length=length)

    def strided(self, first: int, stride: int, taps: int, dilation: int, length: int) -> Sight:
        """That of an op whose position i reads first + i*stride and, each `dilation` further, taps - 1 more."""
        period = len(self.spans) // math.gcd(len(self.spans), stride)
        advance = self.advance * stride * period // len(self.spans)
        return self.reading(lambda i: (first + i * stride + t * dilation for t in range(taps)), period, advance, length)

    def everywhere(self) -> Sight:
        """That of an op which mixes the whole axis."""
        if self.axis is None:
            return self
        return Sight((_union(map(self.at, range(self.length))),), 0, None, 1)

    def on(self, axis: int) -> Sight:
        """The same along another axis of the Tensor."""
        return self if self.axis is None else replace(self, axis=axis)


def _union(spans: Iterable[Span | None]) -> Span | None:
    seen = [span for span in spans if span is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


class Unknown(Exception):
    """Raised for an op of which nothing is known."""


def image_sights(shape: Shape) -> list[Sight] | None:
    """What an image (n c h w) or (c h w) sees of itself, for both axes; None for another shape."""
    if len(shape) not in (3, 4):
        return None
    return [Sight(((0, 0),), 1, axis, shape[axis]) for axis in (len(shape) - 2, len(shape) - 1)]


_IMAGES = ("conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "sum_pool2d", "unfold")


def of_channels(op: Any, shape: Shape | None, sight: Sight | None) -> bool:
    """Whether what was taken for an axis of the image is the channels of an op on images, as for lines (n c l)."""
    of_images = op.name in _IMAGES or op.name.startswith("adaptive_")
    return of_images and sight is not None and shape is not None and sight.axis == len(shape) - 3 and not sight.joined


def after(
    op: Any, shapes: Sequence[Shape | None], sights: Sequence[Sight | None], params: Mapping[str, Any], out: Shape
) -> Sight | None:
    """What the output of an op sees, from what its inputs see; None for nothing. Raises Unknown."""
    if not any(sights):
        return None
    family = op.forward.__module__.rpartition(".")[2]
    rule = _RULES.get(op.name) or _FAMILIES.get(family) or (_pointwise if op.broadcast else None)
    if rule is None or not op.forward.__module__.startswith(__package__.partition(".")[0] + "."):
        raise Unknown
    found: Sight | None = rule(shapes, sights, params, out)
    return found


def _pointwise(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of elements at the same place, after broadcasting."""
    found: list[Sight] = []
    for shape, sight in zip(shapes, sights, strict=True):
        if sight is not None and sight.axis is not None:
            axis = sight.axis + len(out) - len(shape)
            sight = sight.on(axis) if out[axis] == shape[sight.axis] else sight.everywhere()
        if sight is not None:
            found.append(sight)
    return _merged(found)


def _merged(found: Sequence[Sight]) -> Sight:
    first = found[0]
    if len(found) == 1:
        return first
    period = math.lcm(*(len(sight.spans) for sight in found))
    if len({(s.axis, s.length, s.joined, s.inner, s.jump, s.advance < 0) for s in found}) == 1:
        advance = first.advance * period // len(first.spans)
        spans = tuple(_union(sight.at(i) for sight in found) for i in range(period))
        return replace(first, spans=spans, advance=advance)
    return Sight((_union(sight.everywhere().spans[0] for sight in found),), 0, None, 1)


def _first(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of the first input alone, place by place."""
    found: Sight | None = sights[0]
    return found


def _everything(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    return _merged([sight.everywhere() for sight in sights if sight is not None])


def _windows(shape: Shape, sight: Sight, at: Any) -> Sight:
    """Of a convolution or pooling, with its geometry."""
    if sight.axis is None or sight.axis == len(shape) - 4:
        return sight
    k = sight.axis - len(shape) + 2
    if k >= 0 and (at.kernel[k], at.stride[k], at.padding[k]) == (1, 1, (0, 0)):
        return sight
    if k < 0 or sight.joined:
        return sight.everywhere()
    return sight.strided(-at.padding[k][0], at.stride[k], at.kernel[k], at.dilation[k], at.out[k])


def _conv2d(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    if sights[0] is None or any(sights[1:]):
        return _everything(shapes, sights, params, out)
    names = ("stride", "padding", "dilation", "groups")
    at = conv2d_geometry(shapes[0], shapes[1], **{name: params[name] for name in names if name in params})
    return _windows(shapes[0], sights[0], at)


def _pool2d(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    at = pool2d_geometry(shapes[0], **{name: params[name] for name in names if name in params})
    return _windows(shapes[0], sights[0], at)


def _conv_transpose2d(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    if sight is None or any(sights[1:]):
        return _everything(shapes, sights, params, out)
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    at = conv_transpose2d_geometry(shapes[0], shapes[1], **{name: params[name] for name in names if name in params})
    if sight.axis is None or sight.axis == 0:
        return sight
    k = sight.axis - len(shapes[0]) + 2
    if k < 0 or sight.joined:
        return sight.everywhere()
    s, p, d = at.stride[k], at.padding[k][0], at.dilation[k]

    def taps(i: int) -> Iterable[int]:
        return ((i + p - t * d) // s for t in range(at.kernel[k]) if (i + p - t * d) % s == 0)

    return sight.reading(taps, len(sight.spans) * s, sight.advance, out[sight.axis])


def _resampled(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    axis = params["axis"] % len(out)
    if sight.axis != axis:
        return sight
    if sight.joined:
        return sight.everywhere()
    n, size, kind = sight.length, params["size"], params["kind"]
    corners = params["align_corners"]  # whatever the scale
    step = Fraction(n - 1, max(size - 1, 1)) if corners else Fraction(n, size)
    if not corners and params["scale"] is not None and params["scale"] * n != size:
        step = Fraction(1 / params["scale"]).limit_denominator(1000)
    period = step.denominator * len(sight.spans) // math.gcd(step.numerator, len(sight.spans))

    def taps(i: int) -> Iterable[int]:
        if kind in ("nearest", "nearest-exact"):
            return [math.floor((i + Fraction(kind == "nearest-exact", 2)) * step)]
        at = i * step if corners else (i + Fraction(1, 2)) * step - Fraction(1, 2)
        first = math.floor(at)
        if at == first:
            return [first]
        return [first, first + 1] if kind == "linear" else [first - 1, first, first + 1, first + 2]

    return sight.reading(taps, period, int(sight.advance * step * period / len(sight.spans)), size)


def _adaptive_pool2d(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of a pool to a size: position i reads floor(i n/m) to before ceil((i + 1) n/m)."""
    sight: Sight = sights[0]
    if sight.axis is None or sight.axis < len(out) - 2:
        return sight
    n, m = sight.length, out[sight.axis]
    if sight.joined or not n or not m:
        return sight.everywhere()
    step = Fraction(n, m)
    period = step.denominator * len(sight.spans) // math.gcd(step.numerator, len(sight.spans))
    advance = int(sight.advance * step * period / len(sight.spans))
    return sight.reading(lambda i: range(math.floor(i * step), math.ceil((i + 1) * step)), period, advance, m)


def _unfold(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of windows as columns: (n c h w) -> (n c*kh*kw oh*ow)"""
    shape, kernel = shapes[0], params["kernel_size"]
    kernel = kernel if isinstance(kernel, (tuple, list)) else (kernel, kernel)
    names = ("stride", "padding", "dilation")
    given = {name: params[name] for name in names if name in params}
    at = conv2d_geometry(shape, (1, shape[1], *kernel), **given)
    seen = _windows(shape, sights[0], at)
    return _reshape([(*out[:2], *at.out)], [seen], params, out)


def _fold(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    return sight if sight.axis == 0 else sight.everywhere()


def _pad(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    if sight.axis is None or not any(params["widths"][sight.axis]):
        return sight
    if sight.joined:
        return replace(sight, inner=0)
    return sight.strided(-params["widths"][sight.axis][0], 1, 1, 1, out[sight.axis])


def _getitem(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    shape, index = shapes[0], params["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    if sight.axis is None:
        return sight
    skipped = len(shape) - sum(axes_of(part) for part in parts if part is not Ellipsis)
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    depths = [_depth(part) for part in parts]
    arrays = [i for i, depth in enumerate(depths) if depth is not None]
    gathers = [i for i, part in enumerate(parts) if i in arrays or (arrays and is_int(part))]
    depth = max((depths[i] or 0 for i in arrays), default=0) or int(bool(arrays))  # of the axes that they all give
    apart = bool(gathers) and gathers[-1] - gathers[0] >= len(gathers)
    axis, place = 0, depth if apart else 0
    for i, part in enumerate(parts):
        used = skipped if part is Ellipsis else axes_of(part)
        if axis <= sight.axis < axis + used:
            if part is Ellipsis:
                return sight.on(sight.axis - axis + place)
            mixed = i in gathers and (len(gathers) > 1 or used > 1)
            return sight.everywhere() if mixed else _indexed(sight, part, shape[axis], place)
        if i in gathers:
            place += depth if i == gathers[0] and not apart else 0
        elif not is_int(part):
            place += 1 if part is None else used
        axis += used
    return sight.everywhere()


def _depth(part: Any) -> int | None:
    """How many axes an index array gives the result, a mask one or, as True, of no axes, 0; None for no array."""
    if isinstance(part, (bool, np.bool_)):
        return 0
    if not hasattr(part, "shape") or is_int(part):
        return None
    return min(1, part.ndim) if part.dtype == np.bool_ else len(part.shape)


def _indexed(sight: Sight, part: Any, n: int, place: int) -> Sight:
    """After an index along the axis itself; padding by rows that repeat counts as pixels outside, like any other."""
    if sight.joined:
        is_line = not is_int(part) and _depth(part) in (None, 1)
        return replace(sight.on(place), inner=0) if is_line else sight.everywhere()
    if is_int(part):
        return Sight((sight.at(int(part) % n),), 0, None, 1)
    if isinstance(part, slice):
        start, _, step = part.indices(n)
        return sight.strided(start, step, 1, 1, len(range(*part.indices(n)))).on(place)
    rows = np.asarray(getattr(part, "array", part))
    if rows.ndim == 1 and rows.dtype.kind in "iu":
        for before in np.flatnonzero(rows == 0).tolist():
            if np.array_equal(rows[before : before + n], np.arange(n)):
                return sight.strided(-before, 1, 1, 1, len(rows)).on(place)
    return sight.everywhere()


def _reshape(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    shape, n = shapes[0], sight.length
    if sight.axis is None or n == 1 or 0 in out:
        return sight.everywhere()
    before, whole = math.prod(shape[: sight.axis]), shape[sight.axis]
    if sight.joined and not sight.inner:
        return next(
            (sight.on(a) for a, m in enumerate(out) if math.prod(out[:a]) == before and m == whole), sight.everywhere()
        )
    before *= whole // (n * (sight.inner or 1))  # the elements of the axes in front, and behind one position
    behind = math.prod(out) // (before * n)
    starts = [(a, m, math.prod(out[:a])) for a, m in enumerate(out)]
    for a, m, left in starts:
        if left == before and m == n:
            return replace(sight, axis=a, joined=False, inner=0)
    for a, m, left in starts:
        if left == before and m > n and m % n == 0:
            # It goes on into the axes behind: position i was i // (m // n).
            more = sight.reading(lambda i, r=m // n: [i // r], len(sight.spans) * (m // n), sight.advance, m)  # type: ignore[misc]
            return replace(more, axis=a, joined=False, inner=0)
        if left == before and 1 < m < n and n % m == 0:
            # It is cut: position i was those from i * (n // m) to before the next.
            return replace(sight, joined=False, inner=0).strided(0, n // m, n // m, 1, m).on(a)
    for a, m, left in starts:
        right = math.prod(out[a + 1 :])
        if before % left == 0 and m % (before // left * n) == 0 and behind % right == 0:
            return replace(sight, axis=a, joined=True, inner=behind // right)
    return sight.everywhere()


def _permute(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    dims = [d % len(out) for d in params["dims"]]
    return sight if sight.axis is None else sight.on(dims.index(sight.axis))


def _flipped(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    if sight.axis not in _axes(params.get("axis"), len(out)):
        return sight
    if sight.joined:
        return replace(sight, inner=0)
    return sight.strided(sight.length - 1, -1, 1, 1, sight.length)


def _mixing(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of an op that puts its inputs together along one axis, each at any place of it."""
    axis = params.get("axis", 0) % len(out)
    return _merged([sight.everywhere() if sight.axis == axis else sight for sight in sights if sight is not None])


def _stacked(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    axis = params.get("axis", 0) % len(out)
    return _merged([s if s.axis is None else s.on(s.axis + (s.axis >= axis)) for s in sights if s is not None])


def _axes(axis: Any, ndim: int) -> list[int]:
    if axis is None:
        return list(range(ndim))
    return [a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]


def _reduced(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    sight: Sight = sights[0]
    if sight.axis is None:
        return sight
    gone = _axes(params.get("axis"), len(shapes[0]))
    if sight.axis in gone:
        return sight.everywhere()
    return sight if params.get("keepdims") else sight.on(sight.axis - sum(a < sight.axis for a in gone))


def _along(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of an op that mixes one axis and keeps its place."""
    sight: Sight = sights[0]
    return sight.everywhere() if sight.axis in _axes(params.get("axis", -1), len(shapes[0])) else sight


def _linear(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    if sights[0] is None or any(sights[1:]):
        return _everything(shapes, sights, params, out)
    sight: Sight = sights[0]
    return sight.everywhere() if sight.axis == len(shapes[0]) - 1 else sight


def _matmul(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of rows that are kept, of columns that are kept, or of the axis that is summed."""
    if all(sights):
        return _everything(shapes, sights, params, out)
    k = 0 if sights[0] is not None else 1
    sight: Sight = sights[k]
    shape, other = shapes[k], shapes[1 - k]
    if sight.axis is None:
        return sight
    last = sight.axis - len(shape)
    if last == (-1 if k == 0 or len(shape) == 1 else -2):
        return sight.everywhere()
    gone = len(other) == 1 and not (k == 1 and last == -1)  # a vector leaves no axis of its own
    axis = len(out) + last + gone
    return sight.on(axis) if out[axis] == shape[sight.axis] else sight.everywhere()


def _contraction(shapes: Any, sights: Any, params: Any, out: Shape) -> Sight | None:
    """Of an einsum: a label that is kept keeps its place, one that is summed is seen as a whole."""
    found: list[Sight] = []
    for sight, term in zip(sights, params["terms"], strict=True):
        if sight is not None and sight.axis is not None:
            label = term[sight.axis]
            sight = sight.on(params["kept"].index(label)) if label in params["kept"] else sight.everywhere()
        if sight is not None:
            found.append(sight)
    return _merged(found)


_FAMILIES: dict[str, Callable[..., Any]] = {
    "elementwise": _pointwise,
    "activation": _pointwise,
    "normal": _pointwise,
    "dropout": _first,
    "norm": _first,
    "standardize": _first,
    "convert": _first,
    "reduce": _reduced,
    "magnitude": _reduced,
    "softmax": _along,
    "scan": _along,
    "loss": _everything,
    "pointwise_loss": _everything,
    "einsum": _contraction,
}
_RULES: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": _adaptive_pool2d,
    "adaptive_max_pool2d": _adaptive_pool2d,
    "add": _pointwise,
    "avg_pool2d": _pool2d,
    "broadcast_to": _pointwise,
    "cast": _first,
    "concatenate": _mixing,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "flipped": _flipped,
    "fold": _fold,
    "gather": _along,
    "getitem": _getitem,
    "glu": _along,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool2d": _pool2d,
    "pad": _pad,
    "permute": _permute,
    "prod": _reduced,
    "resampled": _resampled,
    "reshape": _reshape,
    "rolled": _along,
    "scatter_added": _mixing,
    "scattered": _mixing,
    "stacked": _stacked,
    "sum_pool2d": _pool2d,
    "sum_to": _everything,
    "take_along_axis": _along,
    "unfold": _unfold,
}
