"""The standard normal distribution's share below x, which gelu is made of."""

from math import pi, prod, sqrt
from typing import Any

import numpy as np

from ..kernels.normal import share_below
from ..primitive import op
from .elementwise import clip, exp

__all__: list[str] = []

_DENSITY = 1.0 / sqrt(2.0 * pi)


@op(floating=True)
def normal_cdf(x: Any, /) -> Any:
    """The share of a standard normal distribution below x: erfc(-x / sqrt(2)) / 2."""
    return share_below(x.astype(np.promote_types(x.dtype, np.float32), copy=False)).astype(x.dtype, copy=False)


def normal_density(x: Any) -> Any:
    """exp(-x^2 / 2) / sqrt(2 pi)"""
    return exp(x * x * -0.5) * _DENSITY


def _density_within(x: Any) -> Any:
    """The density, of x bounded: beyond it is 0, and 0 * inf in the next derivative would be nan."""
    return normal_density(clip(x, -40.0, 40.0))


normal_cdf.vjp(x=lambda g, x: g * _density_within(x))
normal_cdf.formula(x="∂out · pdf x")
normal_cdf.flops(lambda out_shape: 4 * prod(out_shape))
