"""The standard normal distribution's share below x, and the error function, of arrays."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

# Cody's coefficients, from the highest power down: erf(y) = y * A(y^2) / B(y^2) for y <= 0.46875,
# erfc(y) = exp(-y^2) C(y) / D(y) up to 4, and exp(-y^2) / y (1 / sqrt(pi) - z P(z) / Q(z)), z = 1 / y^2, beyond.
_A = 1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3
_B = 1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3
_C = (
    *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1),
    *(2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3),
    1.23033935479799725e3,
)
_D = (
    *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3),
    *(3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
_P = (
    *(1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1),
    *(1.60837851487422766e-2, 6.58749161529837803e-4),
)
_Q = (
    *(1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1),
    *(6.05183413124413191e-2, 2.33520497626869185e-3),
)


def share_below(x: Any) -> Any:
    """erfc(-x / sqrt(2)) / 2 of float32 or float64 arrays, the small tail with its own digits.

    In units of the last place and times 1 + x^2, which is what exp(-x^2 / 2) makes of the rounding of x^2, the error is
    below 3. Of float32 the middle approximation is right everywhere.
    Source: Cody, Rational Chebyshev approximations for the error function (1969).
    """
    x = np.asarray(x)
    y = np.minimum(np.abs(x) * sqrt(0.5), 30.0)  # beyond, the tail is 0
    tail = _tail(y) * 0.5
    above = (x > 0).astype(x.dtype)
    below = np.asarray(above + tail * (1.0 - 2.0 * above))  # 1 - tail or tail
    if x.dtype == np.float64 and (within := y <= 0.46875).any():
        near = x[within] * sqrt(0.5)
        below[within] = near * _ratio(_A, _B, near * near) * 0.5 + 0.5
    return below


def erf(x: Any) -> Any:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, of float32 or float64 arrays; exact also near 0.

    Source: as for share_below.
    """
    x = np.asarray(x)
    y = np.minimum(np.abs(x), 30.0)
    out = np.asarray(np.copysign(1.0 - _tail(y), x))
    if (within := y <= 0.46875).any():
        near = x[within]
        out[within] = near * _ratio(_A, _B, near * near)
    return out


def _tail(y: Any) -> Any:
    """erfc(y) for 0.46875 < y <= 30."""
    ratio = np.asarray(_ratio(_C, _D, y))
    if y.dtype == np.float64 and (beyond := y > 4.0).any():
        far = y[beyond]
        z = 1.0 / (far * far)
        ratio[beyond] = (1.0 / sqrt(pi) - z * _ratio(_P, _Q, z)) / far
    return np.exp(-(y * y)) * ratio


def _ratio(above: tuple[float, ...], below: tuple[float, ...], y: Any) -> Any:
    """The quotient of two polynomials by Horner's rule."""
    n, d = y * above[0] + above[1], y * below[0] + below[1]
    for a, b in zip(above[2:], below[2:], strict=True):
        n, d = n * y + a, d * y + b
    return n / d
