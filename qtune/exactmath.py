"""Elementary functions that give the same bits on every platform.

``math.exp`` and ``numpy.exp`` come from the C library or from a vector library and differ in the last bit
between platforms, which is enough to make two simulations of one seed part company. Everything here is built
from + - * / and sqrt, which IEEE 754 defines to the bit, and from frexp, ldexp, floor and rint, which are
exact. Each operation is one numpy ufunc on arrays of float64, so no compiler can contract a product and a sum
into one rounding. Sums are never left to numpy.sum, dot or matmul, whose order differs between machines.

All functions take and return arrays of float64 of any shape; ``number`` applies one of them to a float. exp,
log, expm1 and log1p are within 5e-16 relative of the true value, the normal quantile is within 2e-15.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # ln 2 to 32 bits: its product with a small integer is exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")  # the rest
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
_LARGEST_EXPONENT = 1100.0  # exp of anything beyond it overflows or vanishes

# r*coth(r/2) - 2 and 2*atanh(s)/s - 2 as power series in r*r and s*s: the Taylor coefficients, not a fit.
_COTH = tuple(
    float(Fraction(n, d))
    for n, d in ((1, 6), (-1, 360), (1, 15120), (-1, 604800), (1, 23950080), (-691, 653837184000),
                 (1, 37362124800))
)  # fmt: skip
_ATANH = tuple(float(Fraction(2, k)) for k in range(3, 25, 2))


def number(function: Callable[[Array], Array], x: float) -> float:
    """function(x) for one float, to the same bits as for an array that holds it."""
    return float(function(np.array([x], dtype=np.float64))[0])


def polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """coefficients[0] + coefficients[1]*x + ..., by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def exp(x: Array) -> Array:
    """e to the power x; 0 below the range of float64, inf above it."""
    x = np.clip(x, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    k = np.rint(x * 1.4426950408889634)
    high, low = x - k * _LN2_HIGH, k * _LN2_LOW
    r = high - low
    square = r * r
    c = r - square * polynomial(_COTH, square)  # exp(r) = 1 + 2r / (2 - c), arranged to lose nothing
    reduced = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    half = np.floor(k * 0.5)
    with np.errstate(over="ignore", under="ignore"):
        return _times_power_of_two(_times_power_of_two(reduced, half), k - half)


def log(x: Array) -> Array:
    """The natural logarithm, for x > 0."""
    mantissa, exponent = np.frexp(x)
    below = mantissa < _SQRT_HALF
    f = np.where(below, mantissa * 2.0, mantissa) - 1.0
    k = exponent - below.astype(np.float64)
    s = f / (2.0 + f)
    square = s * s
    half_square = 0.5 * f * f
    rest = s * (half_square + square * polynomial(_ATANH, square))
    return k * _LN2_HIGH - ((half_square - (rest + k * _LN2_LOW)) - f)


def expm1(x: Array) -> Array:
    """exp(x) - 1 without cancellation, by Kahan's correction of the rounding of exp."""
    u = exp(x)
    usual = (u != 1.0) & (u > 2.0**-60) & (u < 2.0**60)
    safe = np.where(usual, u, 2.0)
    corrected = (safe - 1.0) * x / log(safe)
    return np.where(usual, corrected, np.where(u == 1.0, x, u - 1.0))


def log1p(x: Array) -> Array:
    """log(1 + x) without cancellation, for x > -1."""
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u


def normal_quantile(v: Array) -> Array:
    """The v-quantile of the standard normal distribution, for 0 < v <= 1/2 (so it is <= 0).

    The upper half is its mirror image, -normal_quantile(1 - p), which the caller knows without a subtraction.
    M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37 (1988).
    """
    q = v - 0.5
    r = 0.180625 - q * q
    central = q * (polynomial(_CENTRAL_TOP, r) / polynomial(_CENTRAL_BOTTOM, r))
    distance = np.sqrt(-log(v))
    r = distance - 1.6
    tail = polynomial(_TAIL_TOP, r) / polynomial(_TAIL_BOTTOM, r)
    r = distance - 5.0
    far_tail = polynomial(_FAR_TOP, r) / polynomial(_FAR_BOTTOM, r)
    return np.where(q >= -0.425, central, -np.where(distance <= 5.0, tail, far_tail))


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with a change of sign between low and high is 0: regula falsi, Illinois variant.

    Raises ValueError when both ends have the same sign.
    """
    f_low, f_high = function(low), function(high)
    if (f_low > 0) == (f_high > 0) and f_low != 0 and f_high != 0:
        raise ValueError(f"no change of sign between {low!r} and {high!r}")
    kept = 0
    for _ in range(200):
        if f_low == 0 or f_high == 0:
            return low if f_low == 0 else high
        middle = high - f_high * ((high - low) / (f_high - f_low))
        if not min(low, high) < middle < max(low, high):
            middle = 0.5 * (low + high)
        if middle in (low, high) or abs(high - low) <= 4e-16 * abs(middle):
            return middle
        f_middle = function(middle)
        if (f_middle > 0) == (f_high > 0):
            high, f_high = middle, f_middle
            f_low, kept = (f_low * 0.5, 1) if kept == 1 else (f_low, 1)
        else:
            low, f_low = middle, f_middle
            f_high, kept = (f_high * 0.5, -1) if kept == -1 else (f_high, -1)
    return 0.5 * (low + high)


def _times_power_of_two(x: Array, k: Array) -> Array:
    """x * 2**k, where 2**k is a normal number: one multiplication, rounded as IEEE 754 says."""
    power: Array = np.ldexp(1.0, k.astype(np.int32))
    return x * power


_CENTRAL_TOP = (
    3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946,
    45921.95393154987, 67265.7709270087, 33430.57558358813, 2509.0809287301227,
)  # fmt: skip
_CENTRAL_BOTTOM = (
    1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751,
    21213.794301586597, 39307.89580009271, 28729.085735721943, 5226.495278852854,
)  # fmt: skip
_TAIL_TOP = (
    1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
    1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
)  # fmt: skip
_TAIL_BOTTOM = (
    1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851,
    0.14810397642748008, 0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09,
)  # fmt: skip
_FAR_TOP = (
    6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487,
    0.026532189526576124, 0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07,
)  # fmt: skip
_FAR_BOTTOM = (
    1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615,
    0.0007868691311456133, 1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15,
)  # fmt: skip
