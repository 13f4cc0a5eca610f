"""What `watch` keeps of the values and gradients that pass: statistics, and small pictures of them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 24  # of a histogram
NUMBERS = 256  # a Tensor with no more elements is kept whole
MAPS, SIDE = 8, 48  # how many planes are kept as pictures, and their longest side


@dataclass(frozen=True, slots=True)
class Summary:
    """An array in numbers: what is known about its finite values, and how many others there are.

    mean, std (population), low and high are nan where no value is finite; norm is Euclidean, of all values.
    counts: the histogram of the finite values, in equal bins from low to high.
    dead: how many of the `channels` (axis 1) are zero in the whole batch; 0 of 0 without that axis.
    numbers: the values themselves where there are few. maps: planes of the first example as (k h w) float32.
    """

    shape: tuple[int, ...]
    dtype: str
    size: int
    mean: float
    std: float
    low: float
    high: float
    norm: float
    zeros: int
    nans: int
    infs: int  # of both signs
    minus_infs: int
    dead: int
    channels: int
    counts: tuple[int, ...]
    numbers: NDArray[Any] | None = None
    maps: NDArray[np.float32] | None = None

    @property
    def is_finite(self) -> bool:
        """Whether there is no nan and no inf."""
        return self.nans == 0 and self.infs == 0


def summarize(array: NDArray[Any], maps: bool = False) -> Summary:
    """The Summary of an array; with `maps`, also its first planes as small pictures.

    Nothing overflows or underflows on the way: the finite values are scaled by a power of two.
    """
    with np.errstate(all="ignore"):  # whatever the caller lets NumPy raise
        return _summary(array, maps)


def _summary(array: NDArray[Any], maps: bool) -> Summary:
    values = np.asarray(array, np.float64)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    nans = int(np.isnan(values).sum())
    infs = values.size - finite.size - nans
    low, high, mean, std = math.nan, math.nan, math.nan, math.nan
    counts: tuple[int, ...] = ()
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        exponent = math.frexp(max(-low, high))[1]
        scaled = np.ldexp(finite, -exponent)  # below 1 in magnitude
        least, most = float(scaled.min()), float(scaled.max())
        middle = min(max(float(scaled.mean()), least), most)  # rounding may not lead out of the range
        spread = min(float(np.sqrt(np.mean((scaled - middle) ** 2))), max(-least, most))
        mean, std = math.ldexp(middle, exponent), math.ldexp(spread, exponent)
        counts = _histogram(scaled, least, most)
    dead = channels = 0
    if values.ndim >= 2:
        channels = values.shape[1]
        dead = int(np.sum(~values.any(axis=(0, *range(2, values.ndim))))) if values.size else 0
    return Summary(
        shape=tuple(array.shape),
        dtype=str(array.dtype),
        size=values.size,
        mean=mean,
        std=std,
        low=low,
        high=high,
        norm=norm(values),
        zeros=int(values.size - np.count_nonzero(values)),
        nans=nans,
        infs=infs,
        minus_infs=int(np.isneginf(values).sum()) if infs else 0,
        dead=dead,
        channels=channels,
        counts=counts,
        numbers=np.array(array) if values.size <= NUMBERS else None,
        maps=_maps(values) if maps else None,
    )


def _histogram(finite: NDArray[Any], low: float, high: float) -> tuple[int, ...]:
    if high == low:
        return (finite.size,)
    place = ((finite - low) / (high - low) * BINS).astype(int)
    return tuple(np.bincount(np.minimum(place, BINS - 1), minlength=BINS).tolist())


def norm(array: NDArray[Any]) -> float:
    """The Euclidean norm, in float64, scaled so that nothing overflows."""
    values = array.astype("float64")
    top = float(abs(values).max(initial=0.0))
    with np.errstate(under="ignore"):  # what vanishes beside the largest value
        return top * float(((values / top) ** 2).sum()) ** 0.5 if 0.0 < top < math.inf else top


def _maps(values: NDArray[Any]) -> NDArray[np.float32] | None:
    """The first planes of an array with at least two axes: of the first image, or of the kernels in order."""
    if values.ndim < 2 or 0 in values.shape:
        return None
    if values.ndim == 2:
        planes = values[None]
    elif values.ndim == 3:
        planes = values
    else:
        planes = values[0] if values.shape[0] and values.shape[1] > 1 else values[:, 0]
        planes = planes.reshape(-1, *planes.shape[-2:])
    planes = planes[:MAPS]
    step = max(1, math.ceil(max(planes.shape[1:]) / SIDE))
    planes = planes[:, ::step, ::step]
    top = float(np.finfo(np.float32).max)
    return np.ascontiguousarray(np.where(np.isfinite(planes), planes.clip(-top, top), planes), np.float32)
