"""Images in another size, with the coordinates, kernels and borders that ONNX knows.

Along each axis every new pixel is a weighted sum of old ones, its taps.
"""

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph import Tensor, wrap
from ...ops.elementwise import where
from ...ops.index import getitem
from ...ops.layout import cast
from ...ops.resize import resampled
from .axes import axes_of
from .registry import Node, operator

Array = NDArray[Any]
MODES = ("nearest", "linear", "cubic")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)


@dataclass(frozen=True)
class Resampling:
    """How a node makes new pixels of old ones."""

    mode: str
    coordinates: str
    rounding: str
    coefficient: float  # of the cubic kernel
    exclude_outside: bool
    antialias: bool

    def positions(self, n: int, size: int, scale: float, crop: tuple[float, float]) -> Array:
        """Where each of `size` new pixels lies among n old ones. crop: the part of them to take, between 0 and 1."""
        i, width = np.arange(size), n * scale  # which need not be whole
        if self.coordinates == "align_corners":
            return i * ((n - 1) / (width - 1) if size > 1 else 0.0)
        if self.coordinates == "asymmetric":
            return i / scale
        if self.coordinates == "tf_half_pixel_for_nn":
            return (i + 0.5) / scale
        if self.coordinates == "tf_crop_and_resize":
            start, end = crop
            if size == 1:
                return np.full(1, 0.5 * (start + end) * (n - 1))
            return start * (n - 1) + i * ((end - start) * (n - 1) / (width - 1))
        if self.coordinates == "pytorch_half_pixel" and size == 1:
            return np.zeros(1)
        shift = n / 2 * (1 - size / width) if self.coordinates == "half_pixel_symmetric" else 0.0
        return shift + (i + 0.5) / scale - 0.5

    def taps(self, at: Array, n: int, scale: float) -> tuple[Array, Array]:
        """(which of n old pixels each new one reads, with which weights), both (size, taps)."""
        if self.mode == "nearest":
            return np.clip(self._nearest(at), 0, n - 1)[:, None], np.ones((len(at), 1))
        stretch = min(scale, 1.0) if self.antialias else 1.0
        reach = (1 if self.mode == "linear" else 2) / stretch
        first = np.floor(at - reach).astype(np.int64) + 1
        cells = first[:, None] + np.arange(int(np.ceil(2 * reach)))
        weights = self._kernel((cells - at[:, None]) * stretch)
        if self.exclude_outside:
            weights = weights * ((cells >= 0) & (cells < n))
        if self.exclude_outside or self.antialias:
            weights = weights / weights.sum(1, keepdims=True)
        return np.clip(cells, 0, n - 1), weights

    def _nearest(self, at: Array) -> Array:
        rounded = {
            "floor": np.floor(at),
            "ceil": np.ceil(at),
            "round_prefer_floor": np.ceil(at - 0.5),
            "round_prefer_ceil": np.floor(at + 0.5),
        }[self.rounding]
        return np.asarray(rounded, np.int64)

    def _kernel(self, t: Array) -> Array:
        """The share of a pixel at distance t. Source: Keys, Cubic convolution interpolation (1981), eq. 4."""
        t = np.abs(t)
        if self.mode == "linear":
            return np.asarray(np.maximum(1 - t, 0))
        a = self.coefficient
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0.0))

    def engine_kind(self, n: int, size: int, scale: float) -> tuple[str, bool] | None:
        """(kind, align_corners) of the package's own op where it computes the same, which has the faster gradient."""
        if self.exclude_outside or self.antialias or size == 1:
            return None
        if self.mode == "nearest":
            whole = (
                scale == size / n and size % n == 0 and self.coordinates == "asymmetric" and self.rounding == "floor"
            )
            return ("nearest", False) if whole else None
        if self.mode == "cubic" and self.coefficient != -0.75:
            return None
        known = {"half_pixel": False, "pytorch_half_pixel": False}
        if n * scale == size:
            known["align_corners"] = True
        corners = known.get(self.coordinates)
        return None if corners is None else (self.mode, corners)


def _resampling(node: Node) -> Resampling:
    """What the attributes say. Raises OnnxError for a word that is not known."""
    old = node.opset < 11  # Upsample, and the first Resize
    mode = node.attribute("mode", "nearest")
    coordinates = "asymmetric" if old else node.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else node.attribute("nearest_mode", "round_prefer_floor")
    for name, word, known in (
        ("mode", mode, MODES),
        ("coordinate_transformation_mode", coordinates, COORDINATES),
        ("nearest_mode", rounding, ROUNDINGS),
    ):
        if word not in known:
            raise node.fail(f"{name} is {word!r}; it can be {', '.join(map(repr, known))}")
    return Resampling(
        mode,
        coordinates,
        rounding,
        node.attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("exclude_outside", 0)),
        bool(node.attribute("antialias", 0)) and mode != "nearest",
    )


def _numbers(node: Node, name: str, value: Tensor | None, length: int) -> list[float] | None:
    """The floats of an input, None if it is left out or empty."""
    if value is None or not value.array.size:
        return None
    if value.array.size != length or not np.isfinite(value.array).all():
        raise node.fail(f"{name} is {value.array.reshape(-1)[:8].tolist()}; {length} finite numbers are needed")
    return [float(number) for number in value.array.reshape(-1)]


def _extent(node: Node, x: Tensor, axes: tuple[int, ...], scales: Any, sizes: Any) -> dict[int, tuple[int, float]]:
    """(the new length, new pixels to an old one) of every axis that is resampled."""
    if (scales is None) == (sizes is None):
        raise node.fail("scales and sizes; one of them is needed")
    lengths = [x.shape[axis] for axis in axes]
    if scales is not None:
        if min(scales, default=1.0) <= 0:
            raise node.fail(f"scales {tuple(scales)}; numbers above 0 are needed")
        return {axis: (floor(n * s), s) for axis, n, s in zip(axes, lengths, scales, strict=True)}
    if len(sizes) != len(axes):
        raise node.fail(f"sizes {sizes} for axes {axes}; one for each is needed")
    if any(n == 0 < size for n, size in zip(lengths, sizes, strict=True)):
        raise node.fail(f"sizes {sizes} of shape {x.shape}, which holds no pixel; at least one is needed")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    ratios = [size / n if n else 1.0 for size, n in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return {axis: (size, ratio) for axis, size, ratio in zip(axes, sizes, ratios, strict=True)}
    if policy not in ("not_larger", "not_smaller"):
        raise node.fail(f"keep_aspect_ratio_policy is {policy!r}; it can be 'stretch', 'not_larger' or 'not_smaller'")
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return {axis: (floor(ratio * n + 0.5), ratio) for axis, n in zip(axes, lengths, strict=True)}


@operator("Resize", "Upsample")
def resized(node: Node, x: Tensor, *inputs: Tensor | None) -> Tensor:
    """x with other lengths, given as scales or as sizes: nearest pixels, or linear or cubic sums of those around."""
    how, axes = _resampling(node), axes_of(node, node.attribute("axes") or range(x.ndim), x.ndim)
    if x.dtype.kind != "f" and how.mode != "nearest":
        raise node.fail(f"mode {how.mode!r} of {x.dtype}; floats are needed")
    roi, scales, sizes = (*((None, *inputs) if node.opset < 11 else inputs), None, None, None)[:3]
    if node.op_type == "Upsample" and node.opset < 9:
        scales = wrap(np.array(node.attribute("scales", ()), np.float32))
    crops = _numbers(node, "roi", roi, 2 * len(axes)) if how.coordinates == "tf_crop_and_resize" else None
    if how.coordinates == "tf_crop_and_resize" and crops is None:
        raise node.fail("roi is missing; it says which part to take")
    wanted = node.integers(sizes, "sizes") or None
    extent = _extent(node, x, axes, _numbers(node, "scales", scales, len(axes)), wanted)
    shape = tuple(extent[i][0] if i in extent else n for i, n in enumerate(x.shape))
    node.allow(shape, max(x.array.itemsize, 8))
    if 0 in shape:
        return wrap(np.zeros(shape, x.dtype))
    y = x
    for place, axis in enumerate(axes):
        size, scale = extent[axis]
        crop = (crops[place], crops[len(axes) + place]) if crops else (0.0, 1.0)
        if (size, scale, crop) != (x.shape[axis], 1.0, (0.0, 1.0)):
            y = _along(node, y, axis, size, scale, crop, how)
    return y


def _along(
    node: Node, x: Tensor, axis: int, size: int, scale: float, crop: tuple[float, float], how: Resampling
) -> Tensor:
    """x with `size` pixels along one axis."""
    n = x.shape[axis]
    if kind := how.engine_kind(n, size, scale):
        known: Tensor = resampled(x, size, axis, *kind, None if kind[0] == "nearest" else scale)
        return known
    at = how.positions(n, size, scale, crop)
    if not np.abs(at).max() < 2**31:
        raise node.fail(f"pixels of axis {axis} lie {np.abs(at).max()} away; less than 2**31 is needed")
    reach = 1 if how.mode == "nearest" else int(8 / (min(scale, 1.0) if how.antialias else 1.0))
    node.allow((size, reach), 8)
    cells, weights = how.taps(at, n, scale)
    before = (slice(None),) * axis
    if how.mode == "nearest":
        y = getitem(x, (*before, cells[:, 0]))
    else:
        column = (-1, *(1,) * (x.ndim - 1 - axis))
        wide = np.float32 if x.dtype == np.float16 else x.dtype
        parts = [
            getitem(x, (*before, cells[:, k])) * weights[:, k].astype(wide).reshape(column)
            for k in range(cells.shape[1])
        ]
        y = parts[0]
        for part in parts[1:]:
            y = y + part
        y = y if y.dtype == x.dtype else cast(y, x.dtype)
    if how.coordinates != "tf_crop_and_resize":
        z: Tensor = y
        return z
    inside = ((at >= 0) & (at <= n - 1)).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    outside = np.asarray(node.attribute("extrapolation_value", 0.0), x.dtype)
    cropped: Tensor = where(inside, y, outside)
    return cropped
