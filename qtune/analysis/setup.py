"""What formulas read of a scenario: its settings in the one vocabulary, with the totals of the fleet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from qtune.analysis.grids import low_grid
from qtune.distributions import Distribution
from qtune.downstream import Downstream
from qtune.handler import Handler
from qtune.producer import Producers
from qtune.providers.base import CallModel, DeliverySemantics, RateLimit, ReceiveBehaviour
from qtune.scenario import Scenario

STEADY: Final = ("poisson", "renewal", "bursts", "closed_loop")
"""The kinds of arrivals that have no course of their own: they go on alike for as long as one looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What one message costs on average until it leaves, when no lock is lost.

    A handler attempt fails with chance f, each on its own; a delivery has up to A attempts, a message up to D
    deliveries. The means below are those of the truncated geometric distributions that follow.

    deliveries: how often it is handed out. settles: how many of them end with a call to the broker.
    handler_s: worker time in handlers and in the waits between their attempts. attempts: how many of them.
    """

    deliveries: float
    settles: float
    handler_s: float
    attempts: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """A scenario's settings, resolved, with the totals of the fleet.

    arrivals: their kind. rate_per_s: planned arrivals per second; None for a closed loop.
    arrival_scv: squared coefficient of variation of the gaps; of bursts and of steps in the rate, what
    counts over
        many gaps instead (see :func:`arrival_scv_of`).
    producers: None when the broker has each message at its due instant.
    rate_limits: those that always apply; one that a fault brings is over some day.
    refused_s: worker time of a message that is refused every time, downstream or by a circuit
        breaker; inf: none ever leaves so.
    busiest_share: of the messages, that of the largest group; 0 when each is its own, or there are none.
    each_its_own: whether each message is a group of its own.
    margins: of the provider model: by how much predictions must be doubted, by metric; {} where that is not known.
    """

    arrivals: str
    rate_per_s: float | None
    arrival_scv: float
    horizon_s: float
    service: Distribution
    work: Work
    semantics: DeliverySemantics
    behaviour: ReceiveBehaviour
    calls: CallModel
    instances: int
    workers_each: int
    producers: Producers | None
    message_bytes: int
    abandons: bool
    disturbed: bool
    handler: Handler
    downstream: Downstream | None
    refused_s: float
    rate_limits: tuple[RateLimit, ...] = ()
    busiest_share: float = 0.0
    each_its_own: bool = False
    margins: Mapping[str, float] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """Workers of the whole fleet."""
        return self.instances * self.workers_each

    @property
    def senders(self) -> int:
        """Send calls that can be under way at the same time; 0 when nothing is sent."""
        return self.producers.senders_total if self.producers else 0

    @property
    def sends(self) -> float:
        """Send calls for each message when batches are full, without those for entries that fail."""
        return 1.0 / self.producers.batch_mean if self.producers else 0.0

    @property
    def receivers(self) -> int:
        """Receivers of the whole fleet."""
        return self.instances * self.behaviour.receivers

    @property
    def cores(self) -> int:
        """Client cores of the whole fleet."""
        return self.instances * self.behaviour.cores

    @property
    def offered_load(self) -> float | None:
        """Worker time that falls due per second, in erlangs, by the plan; None for a closed loop."""
        return None if self.rate_per_s is None else self.rate_per_s * self.handler_s

    @property
    def most_per_call(self) -> int:
        """The most messages that a handler has at a time."""
        return self.handler.most_of(self.behaviour.most_together)

    @property
    def call_s(self) -> float:
        """Mean time of a handler call with as many messages as it takes; of the longest of them a lower bound."""
        count, longest = self.most_per_call, self.handler.batch_time == "longest"
        work_s = largest_mean(self.service, count) if longest else count * self.service.mean
        return (self.handler.per_call_s or 0.0) + work_s

    @property
    def handler_s(self) -> float:
        """Worker time that a message takes in handlers; where these take batches, its share of full calls."""
        if self.most_per_call == 1:
            return self.work.handler_s
        return self.work.deliveries * self.call_s / self.most_per_call

    @property
    def may_refuse(self) -> bool:
        """Whether a message may leave without service: refused until it is dead-lettered."""
        return math.isfinite(self.refused_s)

    @property
    def least_work(self) -> Work:
        """The least that a message costs until it leaves; less than its work where a downstream may refuse it.

        A message is either served at least once or refused in every attempt.
        """
        work = replace(self.work, handler_s=self.handler_s, attempts=self.work.attempts / self.most_per_call)
        if not self.may_refuse:
            return work
        handler_s = min(work.handler_s, self.service.mean, self.refused_s / self.most_per_call)
        settles = work.settles if self.abandons else 0.0
        return replace(work, handler_s=handler_s, settles=settles, attempts=0.0)

    @property
    def most_per_receive(self) -> int:
        """The most messages that one receive call can bring."""
        behaviour = self.behaviour
        if behaviour.discipline == "poll":
            return min(behaviour.batch, behaviour.in_hand_limit)
        return max(behaviour.batch, behaviour.in_hand_limit, 1)


def setup_of(scenario: Scenario) -> Setup:
    """The settings of a scenario, resolved."""
    schedule = scenario.schedule()
    service = scenario.service_distribution()
    return Setup(
        arrivals=scenario.arrivals.kind,
        rate_per_s=schedule.mean_rate_per_s,
        arrival_scv=arrival_scv_of(scenario),
        horizon_s=scenario.horizon_s,
        service=service,
        work=work_of(scenario, service.mean),
        semantics=scenario.semantics(),
        behaviour=scenario.behaviour(),
        calls=scenario.call_model(),
        instances=scenario.consumers.instances,
        workers_each=scenario.consumers.workers,
        producers=scenario.producers,
        message_bytes=scenario.message_size_bytes,
        abandons=scenario.failures.on_failure == "abandon",
        disturbed=bool(scenario.faults) or scenario.scaling is not None,
        rate_limits=tuple(limit for limit in scenario.rate_limits() if limit.end_s == math.inf),
        handler=scenario.handler,
        downstream=scenario.downstream,
        refused_s=_refused_s(scenario),
        busiest_share=_busiest_share(scenario),
        each_its_own=scenario.groups is not None and scenario.groups.kind == "own",
        margins=scenario.provider_model().margins,
    )


def _busiest_share(scenario: Scenario) -> float:
    if scenario.groups is None:
        return 0.0
    given = scenario.group_by_message()
    if given is not None:
        return float(np.bincount(given).max() / given.size) if given.size else 0.0
    shares = scenario.groups.shares()
    return 0.0 if shares is None else float(shares.max())


def largest_mean(service: Distribution, count: int) -> float:
    """A lower bound, within a few per cent, of the mean of the largest of ``count`` independent values."""
    return service.mean if count <= 1 else float(low_grid(service, count).mean())


def arrival_scv_of(scenario: Scenario) -> float:
    """How irregular arrivals are, for formulas that take one number for it.

    Of a renewal process the squared coefficient of variation of its gaps. Of bursts (MMPP-2) the limit of
    variance over mean of the counts, which is 1 + 2 p q (r1 - r2)^2 / (m (a + b)) with rates r1, r2, shares
    p, q, mean rate m and phase-ending rates a, b (Heffes and Lucantoni 1986). A trace is taken by its own
    gaps, a closed loop as Poisson.
    """
    schedule = scenario.schedule()
    if schedule.modulation is not None:
        on_per_s, off_per_s, on_mean_s, off_mean_s = schedule.modulation
        on_share = on_mean_s / (on_mean_s + off_mean_s)
        mean_per_s = off_per_s + on_share * (on_per_s - off_per_s)
        ends_per_s = 1.0 / on_mean_s + 1.0 / off_mean_s
        spread = on_share * (1.0 - on_share) * (on_per_s - off_per_s) ** 2
        return 1.0 + 2.0 * spread / (mean_per_s * ends_per_s)
    if schedule.gap is not None:
        return schedule.gap.scv
    if schedule.due_s is not None and schedule.due_s.size > 2 and schedule.due_s[-1] > schedule.due_s[0]:
        gaps_s = np.diff(schedule.due_s)
        return float(gaps_s.var() / gaps_s.mean() ** 2)
    return 1.0


def work_of(scenario: Scenario, service_mean_s: float) -> Work:
    """What one message of a scenario costs on average; poison without a bound on deliveries counts as one.

    A poison message that is never dead-lettered would cost without end; counting one delivery keeps every
    bound that is built on this on the safe side.
    """
    failures = scenario.failures
    waits_s = failures.retry.mean_waits_s if failures.retry else ()
    most = scenario.semantics().max_deliveries
    normal = _work(failures.rate, failures.attempts, waits_s, most, service_mean_s)
    poison = _work(1.0, failures.attempts, waits_s, most or 1, service_mean_s)
    share = failures.poison
    settles = normal.settles, poison.settles
    if failures.on_failure == "lock_expiry":
        last = 1.0 - failures.rate ** (failures.attempts * most) if most else 1.0
        settles = last, 0.0
    return Work(
        deliveries=(1.0 - share) * normal.deliveries + share * poison.deliveries,
        settles=(1.0 - share) * settles[0] + share * settles[1],
        handler_s=(1.0 - share) * normal.handler_s + share * poison.handler_s,
        attempts=(1.0 - share) * normal.attempts + share * poison.attempts,
    )


def _refused_s(scenario: Scenario) -> float:
    """The least time that a worker is with a message whose every attempt is refused, until it is dead-lettered.

    By a circuit breaker an attempt is refused in no time, and a message that comes back without end still costs that.
    """
    downstream, failures, most = scenario.downstream, scenario.failures, scenario.semantics().max_deliveries
    waits_s = sum(failures.retry.mean_waits_s) if failures.retry else 0.0
    if scenario.handler.circuit_breaker is not None:
        return max(most, 1) * waits_s
    if downstream is None or not downstream.rejects or not most:
        return math.inf
    return most * (failures.attempts * (downstream.refusal_s or 0.0) + waits_s)


def _work(
    failure: float, attempts: int, waits_s: tuple[float, ...], most: int, service_mean_s: float
) -> Work:
    """Of messages whose every attempt fails with the same chance; ``most`` 0: no bound on deliveries."""
    lost = failure**attempts
    if failure < 1.0:
        deliveries = (1.0 - lost**most if most else 1.0) / (1.0 - lost)
        attempts_mean = (1.0 - lost) / (1.0 - failure)
    else:
        deliveries, attempts_mean = float(most or 1), float(attempts)
    waiting_s = sum(failure ** (k + 1) * wait_s for k, wait_s in enumerate(waits_s))
    handler_s = deliveries * (attempts_mean * service_mean_s + waiting_s)
    attempts_all = deliveries * attempts_mean
    return Work(deliveries=deliveries, settles=deliveries, handler_s=handler_s, attempts=attempts_all)
