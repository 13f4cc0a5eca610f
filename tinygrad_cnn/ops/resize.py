"""Images in another size: every pixel of the output reads one, two or four pixels along each axis.

One op resamples along one axis, and its adjoint gives back along it: each other's gradients. An image is resampled
along its rows, then along its columns.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import floor, prod
from typing import Any

import numpy as np

from ..geometry import check_not_huge
from ..graph import Tensor
from ..kernels.reduce import widened
from ..primitive import op
from ..shapes import ShapeError, is_int

TAPS = {"nearest": 1, "nearest-exact": 1, "linear": 2, "cubic": 4}  # how many pixels are read
SPREAD = -0.75  # the free number of the cubic kernel: PyTorch's
KINDS = {"nearest": "nearest", "nearest-exact": "nearest-exact", "linear": "linear", "bilinear": "linear"}
KINDS |= {"trilinear": "linear", "bicubic": "cubic"}
AXES = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


@lru_cache(maxsize=256)
def _taps(n: int, size: int, kind: str, align_corners: bool, scale: float | None) -> tuple[Any, Any]:
    """(which of n pixels each of `size` reads, with which weights), both (size, taps).

    Source: Keys, Cubic convolution interpolation for digital image processing (1981), eq. 4, for the cubic weights.
    """
    step = n / size if scale is None else 1 / scale
    i = np.arange(size)
    if TAPS[kind] == 1:
        # In float32, as in PyTorch: at a whole number it is the rounding that decides.
        at = (i.astype(np.float32) + np.float32(0.5 if kind == "nearest-exact" else 0)) * np.float32(step)
        return np.minimum(np.floor(at).astype(np.int64), n - 1)[:, None], np.ones((size, 1))
    at = i * ((n - 1) / max(size - 1, 1)) if align_corners else (i + 0.5) * step - 0.5
    if kind == "linear":
        at = np.maximum(at, 0.0)
    first = np.floor(at)
    t = at - first
    cells = first.astype(np.int64)[:, None] + (np.arange(2) if kind == "linear" else np.arange(-1, 3))
    shares = np.stack([1 - t, t] if kind == "linear" else [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)], 1)
    return np.clip(cells, 0, n - 1), shares


def _near(t: Any) -> Any:
    return ((SPREAD + 2) * t - (SPREAD + 3)) * t * t + 1


def _far(t: Any) -> Any:
    return ((SPREAD * t - 5 * SPREAD) * t + 8 * SPREAD) * t - 4 * SPREAD


@op
def resampled(x: Any, /, size: int, axis: int, kind: str, align_corners: bool, scale: float | None) -> Any:
    """x with `size` pixels along an axis, each a weighted sum of the pixels around where it comes to lie.

    kind: 'nearest', 'nearest-exact', 'linear' or 'cubic'. scale: output pixels to an input pixel, if not size / length.
    """
    wide = np.moveaxis(widened(x), axis, -1)
    cells, shares = _taps(wide.shape[-1], size, kind, align_corners, scale)
    out = wide[..., cells[:, 0]]
    if shares.shape[1] > 1:
        shares = shares.astype(wide.dtype)
        out = out * shares[:, 0]
        for k in range(1, shares.shape[1]):
            out += wide[..., cells[:, k]] * shares[:, k]
    return np.moveaxis(out, -1, axis).astype(x.dtype, copy=False)


@op
def resampled_adjoint(g: Any, /, length: int, axis: int, kind: str, align_corners: bool, scale: float | None) -> Any:
    """The adjoint of resampled: every g given back to the pixels that it was read from, `length` of them."""
    wide = np.moveaxis(widened(g), axis, 0)
    cells, shares = _taps(length, len(wide), kind, align_corners, scale)
    out = np.zeros((length, *wide.shape[1:]), wide.dtype)
    for cell, share in zip(cells.T, shares.astype(wide.dtype).T, strict=True):
        part = wide if shares.shape[1] == 1 else wide * share.reshape(-1, *(1,) * (wide.ndim - 1))
        starts = np.flatnonzero(np.diff(cell, prepend=-1))  # pixels are read in order: equal ones stand together
        out[cell[starts]] += np.add.reduceat(part, starts, 0)
    return np.moveaxis(out, 0, axis).astype(g.dtype, copy=False)


resampled.vjp(
    x=lambda g, x_shape, axis, kind, align_corners, scale: resampled_adjoint(
        g, x_shape[axis], axis, kind, align_corners, scale
    )
)
resampled.formula(x="apply(readsᵀ, ∂out, axis)")
resampled.flops(lambda out_shape, kind: (2 * TAPS[kind] - 1) * prod(out_shape) if TAPS[kind] > 1 else 0)
resampled_adjoint.vjp(
    g=lambda h, g_shape, axis, kind, align_corners, scale: resampled(h, g_shape[axis], axis, kind, align_corners, scale)
)
resampled_adjoint.formula(g="apply(reads, ∂out, axis)")
resampled_adjoint.flops(lambda g_shape, kind: (2 * TAPS[kind] if TAPS[kind] > 1 else 1) * prod(g_shape))


def _problem(draw: Any) -> Any:
    kind = draw.choice(["linear", "nearest", "nearest-exact", "cubic"])
    n, size = draw.choice([(3, 5), (4, 3), (1, 3), (4, 1), (3, 3), (2, 6)])
    scale = draw.choice([None, None, size / n, (size + 0.5) / n])
    corners = kind in ("linear", "cubic") and draw.choice([False, True])
    return n, size, {"axis": draw.choice([2, -1, 1]), "kind": kind, "align_corners": corners, "scale": scale}


def _image(draw: Any, n: int, axis: int) -> Any:
    return draw.array(*((2, n, 3) if axis == 1 else (2, 3, n)))


@resampled.sample
def _(draw: Any) -> Any:
    n, size, params = _problem(draw)
    return (_image(draw, n, params["axis"]),), {"size": size, **params}


@resampled_adjoint.sample
def _(draw: Any) -> Any:
    n, size, params = _problem(draw)
    return (_image(draw, size, params["axis"]),), {"length": n, **params}


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """`torch.nn.functional.interpolate` for the modes of KINDS: see nn/functional.py."""
    k = input.ndim - 2
    if mode not in KINDS:
        raise ValueError(f"interpolate: mode={mode!r}; it can be {', '.join(map(repr, KINDS))}")
    if k < 1 or AXES.get(mode, k) != k:
        needed = f"{AXES[mode]} axes" if mode in AXES else "at least one"
        raise ShapeError(f"interpolate: mode {mode!r} of shape {tuple(input.shape)}; (n c ...) with {needed} is needed")
    if align_corners is not None and mode not in AXES:
        raise ValueError(f"interpolate: align_corners has no meaning in mode {mode!r}; leave it out")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: size and scale_factor; give one of them")
    given = size if scale_factor is None else scale_factor
    each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * k
    if len(each) != k:
        raise ShapeError(f"interpolate: {len(each)} sizes {each} for shape {tuple(input.shape)}; {k} are needed")
    sizes, scales = each, (None,) * k
    if scale_factor is not None:
        sizes = tuple(floor(n * float(s)) for n, s in zip(input.shape[2:], each, strict=True))
        scales = scales if recompute_scale_factor else tuple(float(s) for s in each)
    if not all(is_int(n) and n > 0 for n in sizes) or 0 in input.shape[2:]:
        raise ShapeError(f"interpolate: from {tuple(input.shape[2:])} to {sizes}; at least one pixel is needed in both")
    check_not_huge("interpolate", "the output", (*input.shape[:2], *sizes), "use a smaller size or scale_factor")
    output: Tensor = input
    kind = KINDS[mode]
    for i, (length, n, scale) in enumerate(zip(input.shape[2:], sizes, scales, strict=True), 2):
        if n == length and (kind in ("nearest", "linear") or scale in (None, 1.0)):
            continue  # as PyTorch, which copies an axis that stays as long in these two, whatever the scale
        if kind == "nearest" and n == 2 * length:
            scale = None  # as PyTorch too: every pixel twice
        output = resampled(output, int(n), i, kind, bool(align_corners), scale)
    return output
