"""Closed forms of queueing theory: what the simulator is checked against, and what screens settings quickly.

Everything here is a plain function of numbers, or a frozen record of one system with its answers as
properties. Times are seconds, rates are per second, loads are erlangs (arrival rate times mean service
time). A system whose load reaches its servers has no steady state: its waiting times are infinite, and no
formula is bent to hide that.

Sources: Gross, Shortle, Thompson and Harris, "Fundamentals of Queueing Theory" (4th ed.); Medhi,
"Stochastic Models in Queueing Theory" (2nd ed.) for bulk service; Allen, "Probability, Statistics and
Queueing Theory" (2nd ed.) for the approximation of several servers with general times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qtune.analysis.grids import middle_grid
from qtune.distributions import Distribution
from qtune.errors import InputError, Problem

_INFINITE = math.inf
_HALVINGS = 200


def erlang_b(servers: int, load: float) -> float:
    """The chance that an arrival finds all servers busy when nobody can wait (Erlang's loss formula).

    servers: at least 1. load: in erlangs, at least 0.
    """
    _check_servers(servers)
    _check_not_negative("load", load)
    if load == 0.0:
        return 0.0
    # 1/B = sum over k of n (n-1) ... (n-k+1) / a^k; an overflow to infinity means that B is 0 in floating
    # point.
    with np.errstate(over="ignore"):
        terms = np.cumprod(np.arange(servers, 0, -1, dtype=np.float64) / load)
        return float(1.0 / (1.0 + terms.sum()))


def erlang_c(servers: int, load: float) -> float:
    """The chance that an arrival waits for a server (Erlang's delay formula); 1 at overload."""
    if load >= servers:
        _check_servers(servers)
        return 1.0
    blocked = erlang_b(servers, load)
    return blocked / (1.0 - load / servers * (1.0 - blocked))


@dataclass(frozen=True, kw_only=True, slots=True)
class MMc:
    """Poisson arrivals, exponential service, ``servers`` servers, in order; M/M/1 by default."""

    arrival_per_s: float
    service_mean_s: float
    servers: int = 1

    def __post_init__(self) -> None:
        _check_not_negative("arrival_per_s", self.arrival_per_s)
        _check_positive("service_mean_s", self.service_mean_s)
        _check_servers(self.servers)

    @property
    def load(self) -> float:
        """Offered load in erlangs."""
        return self.arrival_per_s * self.service_mean_s

    @property
    def stable(self) -> bool:
        """Whether a steady state exists: the load is below the number of servers."""
        return self.load < self.servers

    @property
    def wait_chance(self) -> float:
        """The chance that an arrival has to wait (Erlang C)."""
        return erlang_c(self.servers, self.load)

    @property
    def wait_mean_s(self) -> float:
        """Mean time in the queue, infinite at overload."""
        return self.wait_chance / self._drain_per_s if self.stable else _INFINITE

    @property
    def sojourn_mean_s(self) -> float:
        """Mean time in the system, infinite at overload."""
        return self.wait_mean_s + self.service_mean_s

    def wait_exceeds(self, time_s: float) -> float:
        """The chance that the time in the queue is above ``time_s``."""
        if not self.stable or time_s < 0.0:
            return 1.0
        return self.wait_chance * math.exp(-self._drain_per_s * time_s)

    def wait_quantile_s(self, p: float) -> float:
        """The time in the queue that a share ``p`` does not exceed; 0 when so many need not wait."""
        _check_chance(p)
        if not self.stable:
            return _INFINITE
        beyond = (1.0 - p) / self.wait_chance if self.load > 0.0 else _INFINITE
        return 0.0 if beyond >= 1.0 else -math.log(beyond) / self._drain_per_s

    def sojourn_exceeds(self, time_s: float) -> float:
        """The chance that the time in the system is above ``time_s``."""
        if not self.stable or time_s < 0.0:
            return 1.0
        units = time_s / self.service_mean_s
        # With c-1-a near 0 both exponentials coincide, and the limit of the quotient is the time itself.
        rate = self.servers - 1 - self.load
        grown = units if abs(rate) * units < 1e-12 else -math.expm1(-rate * units) / rate
        return math.exp(-units) * (1.0 + self.wait_chance * grown)

    def sojourn_quantile_s(self, p: float) -> float:
        """The time in the system that a share ``p`` of the arrivals does not exceed."""
        _check_chance(p)
        if not self.stable:
            return _INFINITE
        return _smallest(lambda time_s: self.sojourn_exceeds(time_s) <= 1.0 - p, self.service_mean_s)

    @property
    def _drain_per_s(self) -> float:
        return self.servers / self.service_mean_s - self.arrival_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class MG1:
    """Poisson arrivals, any service time, one server: the Pollaczek-Khinchine formulas.

    service_mean_s, service_scv: mean and squared coefficient of variation of the service time.
    service_third_moment_s3: E[S^3], needed by :attr:`wait_second_moment_s2` only; None when not known.
    """

    arrival_per_s: float
    service_mean_s: float
    service_scv: float
    service_third_moment_s3: float | None = None

    def __post_init__(self) -> None:
        _check_not_negative("arrival_per_s", self.arrival_per_s)
        _check_positive("service_mean_s", self.service_mean_s)
        _check_not_negative("service_scv", self.service_scv)

    @property
    def load(self) -> float:
        """Offered load in erlangs."""
        return self.arrival_per_s * self.service_mean_s

    @property
    def wait_mean_s(self) -> float:
        """Mean time in the queue: arrival rate times E[S^2] / (2 (1 - load)); infinite at overload."""
        if self.load >= 1.0:
            return _INFINITE
        second = self.service_mean_s**2 * (1.0 + self.service_scv)
        return self.arrival_per_s * second / (2.0 * (1.0 - self.load))

    @property
    def wait_second_moment_s2(self) -> float:
        """E[W^2] of the time in the queue: 2 E[W]^2 + arrival rate times E[S^3] / (3 (1 - load))."""
        if self.service_third_moment_s3 is None:
            message = "the second moment of the wait needs E[S^3]: give service_third_moment_s3"
            raise InputError(Problem(where="service_third_moment_s3", value="None", message=message))
        if self.load >= 1.0:
            return _INFINITE
        tail = self.arrival_per_s * self.service_third_moment_s3 / (3.0 * (1.0 - self.load))
        return 2.0 * self.wait_mean_s**2 + tail

    @property
    def sojourn_mean_s(self) -> float:
        """Mean time in the system, infinite at overload."""
        return self.wait_mean_s + self.service_mean_s


def m_d_1(arrival_per_s: float, service_s: float) -> MG1:
    """M/D/1: Poisson arrivals and a service that always takes ``service_s``."""
    return MG1(
        arrival_per_s=arrival_per_s,
        service_mean_s=service_s,
        service_scv=0.0,
        service_third_moment_s3=service_s**3,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MGInfinity:
    """Poisson arrivals and a server for everybody: nobody waits, and the number in service is Poisson."""

    arrival_per_s: float
    service_mean_s: float

    @property
    def busy_mean(self) -> float:
        """Mean number in service, which is also its variance."""
        return self.arrival_per_s * self.service_mean_s

    def busy_exceeds(self, count: int) -> float:
        """The chance that more than ``count`` are in service at a time."""
        from scipy.special import pdtrc

        return float(pdtrc(count, self.busy_mean)) if count >= 0 else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MMcFeedback:
    """M/M/c in which a served message fails with chance ``failure`` and goes back to the queue at once.

    By Jackson's theorem the queue is as long as that of M/M/c with the arrival rate divided by 1 - failure,
    and by Little's law the mean time over all deliveries of a message follows. There is no bound on the
    deliveries.
    """

    arrival_per_s: float
    service_mean_s: float
    failure: float
    servers: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.failure < 1.0:
            message = "a chance of failure lies in [0, 1); at 1 no message is ever done"
            raise InputError(Problem(where="failure", value=repr(self.failure), message=message))

    @property
    def deliveries_mean(self) -> float:
        """Mean number of deliveries of one message."""
        return 1.0 / (1.0 - self.failure)

    @property
    def queue(self) -> MMc:
        """The M/M/c queue that is as long as this one."""
        return MMc(
            arrival_per_s=self.arrival_per_s * self.deliveries_mean,
            service_mean_s=self.service_mean_s,
            servers=self.servers,
        )

    @property
    def sojourn_mean_s(self) -> float:
        """Mean time from arrival to the end of the delivery that succeeds, infinite at overload."""
        return self.queue.sojourn_mean_s * self.deliveries_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkService:
    """M/M^[1,b]/1: one server takes up to ``batch`` waiting messages, at least one, for one exponential time.

    Who arrives while a batch is served waits for a later one. With r the root in (0, 1) of
    mu r^(b+1) - (lambda + mu) r + lambda = 0, the number waiting while the server is busy is geometric in r.
    """

    arrival_per_s: float
    service_mean_s: float
    batch: int

    def __post_init__(self) -> None:
        _check_positive("arrival_per_s", self.arrival_per_s)
        _check_positive("service_mean_s", self.service_mean_s)
        _check_servers(self.batch)

    @property
    def stable(self) -> bool:
        """Whether a steady state exists: fewer than ``batch`` messages arrive in one service."""
        return self.arrival_per_s * self.service_mean_s < self.batch

    @property
    def root(self) -> float:
        """The root r; 1 at overload."""
        if not self.stable:
            return 1.0
        load = self.arrival_per_s * self.service_mean_s
        # Without the factor (r - 1) the equation is r + r^2 + ... + r^b = load, which rises in r.
        return _smallest(lambda r: sum(r**k for k in range(1, self.batch + 1)) >= load, 0.5)

    @property
    def busy(self) -> float:
        """The share of time in which the server is busy."""
        return self._empty_queue / (1.0 - self.root) if self.stable else 1.0

    @property
    def wait_mean_s(self) -> float:
        """Mean time in the queue, infinite at overload."""
        if not self.stable:
            return _INFINITE
        return self._empty_queue * self.root / (self.arrival_per_s * (1.0 - self.root) ** 2)

    @property
    def _empty_queue(self) -> float:
        """The share of time in which the server is busy and nobody waits."""
        idle = 1.0 / (self.arrival_per_s * self.service_mean_s)
        return 1.0 / (idle + 1.0 / (1.0 - self.root))


@dataclass(frozen=True, kw_only=True, slots=True)
class GGc:
    """General arrivals and service, several servers: the Allen-Cunneen approximation. Not a bound.

    held_mean_s: for how long a customer keeps its server on average; None: for its service. A server that
    is kept longer makes others wait, while the sojourn ends with the service; the rest of the time is taken
    as constant.

    The mean wait is that of M/M/c times (arrival_scv + scv of the time held) / 2. Exact for M/M/c and, with
    one server and Poisson arrivals, for M/G/1; within about 10 % for loads above half when both scv are at
    most 1. The wait of those who wait is taken as exponential, which is exact for M/M/c and right in heavy
    traffic.
    """

    arrival_per_s: float
    service: Distribution
    servers: int = 1
    arrival_scv: float = 1.0
    held_mean_s: float | None = None

    @property
    def exponential(self) -> MMc:
        """The M/M/c queue with the same rate, mean time held and servers."""
        held_s = self.service.mean if self.held_mean_s is None else self.held_mean_s
        return MMc(arrival_per_s=self.arrival_per_s, service_mean_s=held_s, servers=self.servers)

    @property
    def wait_mean_s(self) -> float:
        """Approximate mean time in the queue, infinite at overload."""
        exponential = self.exponential
        if not exponential.stable:
            return _INFINITE
        held_scv = self.service.scv * (self.service.mean / exponential.service_mean_s) ** 2
        return exponential.wait_mean_s * 0.5 * (self.arrival_scv + held_scv)

    def sojourn_quantile_s(self, p: float) -> float:
        """Approximate time in the system that a share ``p`` of the arrivals does not exceed."""
        _check_chance(p)
        wait_mean_s, wait_chance = self.wait_mean_s, self.exponential.wait_chance
        if math.isinf(wait_mean_s):
            return _INFINITE
        if wait_mean_s == 0.0:
            return self.service.quantile(p)
        service_s = middle_grid(self.service)
        waiting_s = wait_mean_s / wait_chance

        def reached(time_s: float) -> bool:
            spare_s = time_s - service_s
            beyond = np.where(spare_s < 0.0, 1.0, wait_chance * np.exp(-np.maximum(spare_s, 0.0) / waiting_s))
            return float(beyond.mean()) <= 1.0 - p

        found_s = _smallest(reached, self.service.mean + wait_mean_s, relative=1e-9)
        return max(found_s, self.service.quantile(p))  # which the few values of the grid may miss


def _smallest(reached: Callable[[float], bool], guess: float, relative: float = 1e-14) -> float:
    """The smallest value above 0 at which ``reached`` holds, by doubling and halving."""
    low, high = 0.0, guess
    while not reached(high):
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if high - low <= relative * high or not low < middle < high:
            break
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _check_servers(count: int) -> None:
    if count < 1:
        raise InputError(Problem(where="servers", value=repr(count), message="at least 1 is needed"))


def _check_not_negative(name: str, value: float) -> None:
    if not 0.0 <= value < _INFINITE:
        message = "a finite number of at least 0 is needed"
        raise InputError(Problem(where=name, value=repr(value), message=message))


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < _INFINITE:
        raise InputError(Problem(where=name, value=repr(value), message="a finite number above 0 is needed"))


def _check_chance(p: float) -> None:
    if not 0.0 < p < 1.0:
        message = "a quantile is asked for a probability between 0 and 1, both excluded"
        raise InputError(Problem(where="p", value=repr(p), message=message))
