"""The gamma function and the quantiles of the gamma distribution, to the same bits on every platform.

The gamma function is within 2e-14 relative for arguments up to 20. A quantile of the gamma distribution is
within a few 1e-14 of the true one for shapes of at least 1; below that it is within 2e-14 / shape, because
there a change of the probability in its last bit already moves it that far.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from qtune.exactmath import Array, exp, expm1, log, log1p, normal_quantile, number, polynomial

_LOG_SQRT_2PI = 0.91893853320467274178
_STIRLING_FROM = 9  # from here on eight terms of the series are good to 2e-17
_STIRLING = tuple(
    float(Fraction(n, d))
    for n, d in (
        (1, 12),
        (-1, 360),
        (1, 1260),
        (-1, 1680),
        (1, 1188),
        (-691, 360360),
        (1, 156),
        (-3617, 122400),
    )
)
_NEGLIGIBLE = 2.0**-55
_MOST_TERMS = 4000


def gamma(x: Array) -> Array:
    """Euler's gamma function, for 0 < x < 170."""
    product, x = np.ones_like(x), x + 0.0
    for _ in range(_STIRLING_FROM):
        small = x < _STIRLING_FROM
        product = np.where(small, product * x, product)
        x = np.where(small, x + 1.0, x)
    return exp((x - 0.5) * log(x) - x + (_LOG_SQRT_2PI + _stirling(x))) / product


def gamma_log_quantile(shape: float, v: Array, *, upper: bool) -> Array:
    """log(x / shape), where a gamma variable of this shape and scale 1 is below x with probability v.

    upper: above x with probability v, instead. v lies in (0, 1/2], the shape in [0.01, 10000].
    The result is the logarithm of a quantile of the gamma distribution with mean 1. As a logarithm it is
    exact even where that quantile underflows: with shape 0.01 every second draw is below 1e-28 of the mean.

    The logarithm of a gamma variable has a log-concave density, so log P and log Q are concave in log(x), and
    Newton's method on either cannot go astray from where P or Q is below its target; Halley's correction
    makes two or three steps enough. P is summed as a series below shape + 1 and Q as a continued fraction
    above it, so neither is found as 1 minus the other.
    """
    log_p, log_q = (log1p(-v), log(v)) if upper else (log(v), log1p(-v))
    position = _first_guess(shape, v, log_p, log_q, upper=upper)
    close = 1e-5 / math.sqrt(1.0 + shape)  # convergence is cubic: the step after this is below 1e-15
    for _ in range(40):
        step = _halley_step(shape, position, log_p, log_q)
        position = position + step
        if float(np.max(np.abs(step))) < close:
            return position
    raise ArithmeticError(f"the quantiles of a gamma distribution of shape {shape!r} did not converge")


def _first_guess(shape: float, v: Array, log_p: Array, log_q: Array, *, upper: bool) -> Array:
    """The law of the small values, the law of the large ones, or between them the cube of a normal variable.

    The cube is E. B. Wilson and M. M. Hilferty, PNAS 17 (1931).
    """
    log_shape = number(log, shape)
    log_gamma_plus = _log_normalizer(shape) - shape + shape * log_shape  # log of gamma(shape + 1)
    small = (log_p + log_gamma_plus) / shape - log_shape
    if shape < 1.0:
        large = log_shape - log_gamma_plus - log_q  # for large x: x + (1 - shape) * log(x)
        usable = large > 1.0 if upper else np.zeros(v.shape, dtype=np.bool_)
        large = np.where(usable, large, 2.0)
        return np.where(usable, log(large - (1.0 - shape) * log(large)) - log_shape, small)
    z = -normal_quantile(v) if upper else normal_quantile(v)
    ninth = 1.0 / (9.0 * shape)
    cube_root = 1.0 - ninth + z * np.sqrt(ninth)
    usable = cube_root > 0.5
    return np.where(usable, 3.0 * log(np.where(usable, cube_root, 1.0)), small)


def _halley_step(shape: float, position: Array, log_p: Array, log_q: Array) -> Array:
    """Halley's step on log P where x < shape + 1, on log Q elsewhere; at most a change of x by a factor e."""
    x = shape * exp(position)
    low = x < shape + 1.0
    # No term cancels another: position - expm1(position) is never positive and 0 only at x = shape.
    log_density = shape * (position - expm1(position)) - _log_normalizer(shape)
    step = np.empty_like(position)
    for side, sign, tail, target in (
        (low, 1.0, _p_over_density, log_p),
        (~low, -1.0, _q_over_density, log_q),
    ):
        if not bool(side.any()):
            continue
        ratio = tail(shape, x[side])
        excess = log_density[side] + log(ratio) - target[side]
        slope = sign * shape / ratio  # the first derivative of the excess by the position
        curvature = (shape - x[side]) - slope  # its second derivative, divided by the first
        step[side] = -(excess / slope) / np.maximum(1.0 - 0.5 * excess * (curvature / slope), 0.5)
    return np.clip(step, -1.0, 1.0)


def _p_over_density(shape: float, x: Array) -> Array:
    """P(shape, x) * gamma(shape + 1) * e**x / x**shape: a series with positive terms, for x < shape + 1."""
    term = np.ones_like(x)
    total = np.ones_like(x)
    for n in range(1, _MOST_TERMS):
        term = term * (x / (shape + n))
        total = total + term
        if n % 8 == 0 and not bool(np.any(term > _NEGLIGIBLE * total)):
            return total
    raise ArithmeticError(f"the series of the incomplete gamma function of shape {shape!r} did not converge")


def _q_over_density(shape: float, x: Array) -> Array:
    """(1 - P) * gamma(shape + 1) * e**x / x**shape: Legendre's continued fraction, for x >= shape + 1."""
    b = x + (1.0 - shape)
    d = 1.0 / b
    c = np.full_like(x, np.inf)
    total = shape * d
    for n in range(1, _MOST_TERMS):
        a = n * (shape - n)
        b = b + 2.0
        d = 1.0 / (a * d + b)
        c = b + a / c
        factor = c * d
        total = total * factor
        if n % 8 == 0 and not bool(np.any(np.abs(factor - 1.0) > 2.0**-51)):
            return total
    raise ArithmeticError(f"the continued fraction of the gamma function of shape {shape!r} did not converge")


def _stirling(x: Array) -> Array:
    """log gamma(x) minus the leading terms (x - 1/2) log(x) - x + log(2 pi)/2."""
    inverse = 1.0 / x
    return inverse * polynomial(_STIRLING, inverse * inverse)


@lru_cache(maxsize=256)
def _log_normalizer(shape: float) -> float:
    """log of gamma(shape + 1) * e**shape / shape**shape."""
    if shape < _STIRLING_FROM:
        log_gamma = number(log, number(gamma, shape + 1.0))
        return log_gamma + (shape - shape * number(log, shape))
    return _LOG_SQRT_2PI + 0.5 * number(log, shape) + number(_stirling, shape)
