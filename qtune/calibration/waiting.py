"""How a broker serves receives that wait: how soon it sees that there is a message, and whose receive gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qtune.analysis.intervals import Estimate
from qtune.calibration.latency import FEWEST
from qtune.distributions import Distribution

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

HALF_CHI_SQUARE_95: Final = 1.9207294103470245
"""By so much the log-likelihood falls from its top to the ends of a 95 % interval of one parameter."""

GRID: Final = 512
MOST: Final = 1000
"""More waits than this tell nothing new and take their time."""


def fit_look(waits_s: Floats, receive: Distribution) -> Estimate:
    """How often the broker looks for a receive that waits, from how long messages took to reach the only one.

    A look comes at any time of the interval, all equally likely, and half of a receive's round trip follows. 0 when
    messages that are handed out at once explain the waits as well.
    """
    if waits_s.size < FEWEST:
        reason = f"only {waits_s.size} messages came while a receive waited; {FEWEST} are needed"
        return Estimate(value=float("nan"), unit="s", reason=reason)
    waits_s = waits_s[:MOST]
    half_s = 0.5 * np.array([receive.quantile((k + 0.5) / GRID) for k in range(GRID)])
    floor_s = max(float(np.median(half_s)), 1e-5)
    spread_s = max(float(half_s.std()), 0.05 * floor_s, 1e-5)

    def log_likelihood(every_s: float) -> float:
        """Uniform on the interval, and after it the way back, blurred by as much as the way varies."""
        kernel = stats.norm(0.0, spread_s)
        shifted = waits_s[:, None] - half_s[None, ::8]
        if every_s <= 0.0:
            density = kernel.pdf(shifted).mean(axis=1)
        else:
            density = (kernel.cdf(shifted) - kernel.cdf(shifted - every_s)).mean(axis=1) / every_s
        return float(np.log(np.maximum(density, 1e-12 / floor_s)).sum())

    most_s = 2.0 * float(waits_s.max()) + floor_s
    tries_s = np.geomspace(0.1 * spread_s, most_s, 80)
    found = max(tries_s, key=log_likelihood)
    top = optimize.minimize_scalar(
        lambda log_s: -log_likelihood(float(np.exp(log_s))),
        bounds=(np.log(0.7 * found), np.log(1.4 * found)),
        method="bounded",
    )
    every_s, best = float(np.exp(top.x)), -float(top.fun)
    at_once = max(log_likelihood(0.0), _told_at_once(waits_s))
    if best - at_once < 2.0 * HALF_CHI_SQUARE_95 or every_s < 2.0 * spread_s:
        return Estimate(value=0.0, low=0.0, high=every_s, unit="s", method="likelihood ratio against none")
    low_s, high_s = _ends(log_likelihood, every_s, best)
    return Estimate(value=every_s, low=low_s, high=high_s, unit="s", method="maximum likelihood, profile")


def _told_at_once(waits_s: Floats) -> float:
    """The log-likelihood when a receive is told of each message, and the way to whoever waits takes a time of its own.

    A thread that is woken takes longer than a call that finds something, and that is no interval of looking.
    """
    logs = np.log(np.maximum(waits_s, 1e-9))
    return float(stats.norm(logs.mean(), max(float(logs.std()), 1e-6)).logpdf(logs).sum() - logs.sum())


def _ends(log_likelihood: Callable[[float], float], top_s: float, best: float) -> tuple[float, float]:
    """Where the log-likelihood has fallen by what a 95 % interval allows, at most to half and to twice the top."""

    def excess(log_s: float) -> float:
        return log_likelihood(float(np.exp(log_s))) - best + HALF_CHI_SQUARE_95

    def end(towards: float) -> float:
        far = float(np.log(top_s * towards))
        if excess(far) >= 0.0:
            return top_s * towards
        root: Any = optimize.brentq(excess, float(np.log(top_s)), far)
        return float(np.exp(root))

    return end(0.5), end(2.0)


@dataclass(frozen=True, kw_only=True)
class HandOutFit:
    """Whose receive got the next message: in what share it had waited longest, and in what by mere chance."""

    to: Literal["longest_waiting", "any"]
    share: Estimate
    chance: float


def fit_hand_out(passed: Numbers, of: Numbers) -> HandOutFit | None:
    """Whether the receive that has waited longest gets the next message, or any that waits; None: too few to tell."""
    if passed.size < FEWEST:
        return None
    first = int((passed == 0).sum())
    exact = stats.binomtest(first, passed.size).proportion_ci(0.95, method="exact")
    chance = float((1.0 / of).mean())
    share = Estimate(
        value=first / passed.size, low=float(exact.low), high=float(exact.high), method="exact binomial"
    )
    # Half-way between the two: messages that come close together blur who had waited longest.
    longest = share.value > 0.5 * (1.0 + chance)
    return HandOutFit(to="longest_waiting" if longest else "any", share=share, chance=chance)
