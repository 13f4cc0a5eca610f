"""gelu, silu and hardswish of arrays and their gradients, in one pass each.

The loops work in float32, where exp is 2^k times a polynomial: gelu and its gradient together take a twentieth of what
NumPy took on whole arrays. float64, and float32 where numba is missing, is computed by NumPy in pieces that stay in the
cache.

With a = |x| and e = exp(-a^2 / 2), the share of the normal distribution beyond a is e R(a), R = erfcx(a / sqrt(2)) / 2.
For float32, R is t times a polynomial in t = 1 / (1 + a / sqrt(8)), fitted for a from 0 to 15 to a relative 5e-8.
The gradients of gelu and silu at x and at -x add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, compiled, parallel
from .normal import share_below
from .sweeps import back, in_one_order, masked_by_bits, ordered_as

Array = NDArray[Any]

BLOCK = 2**15  # values in a piece
SMALL = 2**10  # with fewer values than that a call of a loop takes as long as NumPy

_R = (
    *(1.4104251068506074e-1, 1.4119991661263873e-1, 1.2146262392140172e-1, 1.0169660151156977e-1),
    *(-1.4147235934741405e-2, 1.402441109741066e-1, -2.4465728572065135e-1, 1.4279769900411152e-1),
    -2.963892291733908e-2,
)
_T, _DENSITY = sqrt(0.125), 1.0 / sqrt(2.0 * pi)

# The same in float32, as numba computes in the wider of two dtypes.
_F = np.float32
_R0, _R1, _R2, _R3, _R4, _R5, _R6, _R7, _R8 = map(_F, _R)
_HALF, _ONE, _T32, _DENSITY32, _FAR, _FURTHER = map(_F, (0.5, 1.0, _T, _DENSITY, 15.0, 110.0))
# exp(u) = 2^k exp(r), k = round(u / log 2), r = u - k log 2. Adding 1.5 * 2^23 rounds, and leaves k in the last bits;
# the bits above are shifted out.
# Source: Moshier, Cephes, expf: log 2 in two parts, and the polynomial (exp(r) - 1 - r) / r^2.
_LOG2E, _ROUND, _LN2, _LN2_REST = map(_F, (1.4426950408889634, 12582912.0, 0.693359375, -2.12194440e-4))
_E0, _E1, _E2, _E3, _E4, _E5 = map(
    _F, (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)


def gelu(x: Array) -> Array:
    """x times the share of the standard normal distribution below x."""
    return _swept(_gelu, _gelu_by_numpy, 16, x)


def gelu_gradient(g: Array, x: Array) -> Array:
    """g times the slope of gelu at x."""
    return _swept(_gelu_gradient, _gelu_gradient_by_numpy, 16, g, x)


def silu(x: Array) -> Array:
    """x / (1 + exp(-x))"""
    return _swept(_silu, _silu_by_numpy, 8, x)


def silu_gradient(g: Array, x: Array) -> Array:
    """g times the slope of silu at x."""
    return _swept(_silu_gradient, _silu_gradient_by_numpy, 8, g, x)


def hardswish(x: Array) -> Array:
    """x * min(max(x + 3, 0), 6) / 6"""
    return _swept(_hardswish, _hardswish_by_numpy, 2, x)


def hardswish_gradient(g: Array, x: Array) -> Array:
    """g times the slope of hardswish at x; 0 where that is 0, whatever g holds."""
    return _swept(_hardswish_gradient, _hardswish_gradient_by_numpy, 2, g, x)


def _swept(loop: Any, by_numpy: Callable[..., Array], steps: float, *arrays: Array) -> Array:
    """What the loop, or NumPy, makes of arrays of one shape, in the memory order of the last one."""
    x = arrays[-1]
    if x.size < SMALL:
        return by_numpy(*arrays)
    if not (flat := in_one_order(*arrays)):
        flat = in_one_order(*(a if a.strides == x.strides else ordered_as(x, a) for a in arrays))
    if not flat:
        x = np.ascontiguousarray(x)
        flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    y = buffers.empty((x.size,), x.dtype)
    in_loop = compiled.available() and (x.dtype == np.float32 or loop in _ANY_FLOAT)

    def body(first: int, last: int) -> None:
        if in_loop:
            loop(*(a[first:last] for a in flat), y[first:last])
            return
        for start in range(first, last, BLOCK):
            piece = slice(start, min(start + BLOCK, last))
            y[piece] = by_numpy(*(a[piece] for a in flat))

    parallel.spans(body, x.size, steps * x.size)
    return back(y, x)


def _above(x: Array, below: Array) -> Array:
    """below where x <= 0, else 1 - below: np.where would take longer for signs at random."""
    above = (x > 0).astype(x.dtype)
    sign = np.asarray(above * -2.0)
    sign += 1.0
    sign *= below
    sign += above
    return sign


def _tail(x: Array) -> tuple[Array, Array, Array]:
    """a, e and R of float32."""
    a = np.asarray(np.abs(x))
    np.minimum(a, 15.0, out=a)
    t = np.asarray(a * _T)
    t += 1.0
    np.divide(1.0, t, out=t)
    r: Array = t * _R[8]
    for coefficient in _R[7:0:-1]:
        r += coefficient
        r *= t
    r += _R[0]
    r *= t
    e = np.multiply(a, a, out=t)
    e *= -0.5
    return a, np.exp(e, out=e), r


def _gelu_by_numpy(x: Array) -> Array:
    if x.dtype == np.float64:
        return np.asarray(np.maximum(x, -40.0) * share_below(x))
    _, e, r = _tail(x)
    r *= e
    r = _above(x, r)
    r *= np.maximum(x, -15.0)
    return r


def _gelu_gradient_by_numpy(g: Array, x: Array) -> Array:
    if x.dtype == np.float64:
        x = np.clip(x, -40.0, 40.0)
        return np.asarray(g * (share_below(x) + x * (np.exp(x * x * -0.5) * _DENSITY)))
    a, e, r = _tail(x)
    a *= _DENSITY
    r -= a
    r *= e
    r = _above(x, r)
    r *= g
    return r


def _silu_by_numpy(x: Array) -> Array:
    z = np.asarray(np.abs(x))
    np.exp(np.negative(z, out=z), out=z)
    d = z + 1.0
    z = np.divide(z, d, out=z)
    z = _above(x, z)
    z *= np.maximum(x, -800.0)
    return z


def _silu_gradient_by_numpy(g: Array, x: Array) -> Array:
    a = np.asarray(np.abs(x))
    np.minimum(a, 800.0, out=a)
    z = np.exp(-a)
    d = z + 1.0
    np.subtract(d, a, out=a)
    z *= a
    d *= d
    z /= d
    z = _above(x, z)
    z *= g
    return z


def _hardswish_by_numpy(x: Array) -> Array:
    s = np.asarray(x + 3.0)
    np.maximum(s, 0.0, out=s)
    np.minimum(s, 6.0, out=s)
    s /= 6.0
    s *= np.maximum(x, -3.0)
    return s


def _hardswish_gradient_by_numpy(g: Array, x: Array) -> Array:
    slope: Array = np.minimum(x, 3.0)
    slope /= 3.0
    slope += 0.5  # 1.5 at 3 and beyond
    slope -= np.multiply(x >= 3.0, 0.5, dtype=x.dtype)
    slope *= g
    inside = ~(x <= -3.0)
    return masked_by_bits(slope, inside) if x.ndim else np.where(inside, slope, 0.0)


# No loop may call another (compiled.py), so the lines of exp stand in each of the first four.


@compiled.compiled
def _gelu(x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        a = abs(v)
        a = _FAR if a > _FAR else a
        u = -_HALF * a * a
        n = u * _LOG2E + _ROUND
        k = np.float32(n).view(np.int32)
        n -= _ROUND
        r = u - n * _LN2 - n * _LN2_REST
        p = (((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0) * r * r + r + _ONE
        k1 = k >> 1
        e = p * np.int32((k1 + 127) << 23).view(np.float32) * np.int32((k - k1 + 127) << 23).view(np.float32)
        t = _ONE / (a * _T32 + _ONE)
        s = (((_R8 * t + _R7) * t + _R6) * t + _R5) * t + _R4
        s = e * ((((s * t + _R3) * t + _R2) * t + _R1) * t + _R0) * t
        s = _ONE - s if v > 0 else s
        y[i] = (-_FAR if v < -_FAR else v) * s


@compiled.compiled
def _gelu_gradient(g: Array, x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        a = abs(v)
        a = _FAR if a > _FAR else a
        u = -_HALF * a * a
        n = u * _LOG2E + _ROUND
        k = np.float32(n).view(np.int32)
        n -= _ROUND
        r = u - n * _LN2 - n * _LN2_REST
        p = (((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0) * r * r + r + _ONE
        k1 = k >> 1
        e = p * np.int32((k1 + 127) << 23).view(np.float32) * np.int32((k - k1 + 127) << 23).view(np.float32)
        t = _ONE / (a * _T32 + _ONE)
        s = (((_R8 * t + _R7) * t + _R6) * t + _R5) * t + _R4
        s = e * (((((s * t + _R3) * t + _R2) * t + _R1) * t + _R0) * t - a * _DENSITY32)
        y[i] = g[i] * (_ONE - s if v > 0 else s)


@compiled.compiled
def _silu(x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        u = -abs(v)
        u = -_FURTHER if u < -_FURTHER else u
        n = u * _LOG2E + _ROUND
        k = np.float32(n).view(np.int32)
        n -= _ROUND
        r = u - n * _LN2 - n * _LN2_REST
        p = (((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0) * r * r + r + _ONE
        k1 = k >> 1
        z = p * np.int32((k1 + 127) << 23).view(np.float32) * np.int32((k - k1 + 127) << 23).view(np.float32)
        y[i] = (-_FURTHER if v < -_FURTHER else v) * ((_ONE if v > 0 else z) / (_ONE + z))


@compiled.compiled
def _silu_gradient(g: Array, x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        u = -abs(v)
        u = -_FURTHER if u < -_FURTHER else u
        n = u * _LOG2E + _ROUND
        k = np.float32(n).view(np.int32)
        n -= _ROUND
        r = u - n * _LN2 - n * _LN2_REST
        p = (((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0) * r * r + r + _ONE
        k1 = k >> 1
        z = p * np.int32((k1 + 127) << 23).view(np.float32) * np.int32((k - k1 + 127) << 23).view(np.float32)
        d = _ONE + z
        s = z * (d + u) / (d * d)
        y[i] = g[i] * (_ONE - s if v > 0 else s)


@compiled.compiled
def _hardswish(x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        s = v + _F(3.0)
        s = _F(0.0) if s < 0 else s
        s = _F(6.0) if s > 6 else s
        y[i] = (_F(-3.0) if v < -3 else v) * (s / _F(6.0))


@compiled.compiled
def _hardswish_gradient(g: Array, x: Array, y: Array) -> None:
    for i in range(len(y)):
        v = x[i]
        d = g[i] * (v / _F(3.0) + _HALF)
        d = g[i] if v >= 3 else d
        y[i] = _F(0.0) if v <= -3 else d


_ANY_FLOAT = (_hardswish, _hardswish_gradient)  # whose constants are the same numbers in float32
