"""The capacity of a setting: the most messages per second that each resource lets through, without a run.

A capacity is never below what a run can reach, so a load above it needs no simulation to be called
unstable. It is made of means: a short run may pass it by its sampling error. Lost locks, polls that find
nothing and calls that wait only make things worse, and are left out.

Rule R4: every message holds each resource for some time, and a resource of n places that a message holds
for t seconds lets at most n / t messages through a second (Little's law).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from qtune.analysis.setup import Setup, largest_mean, setup_of
from qtune.providers.base import Op, RateLimit
from qtune.scenario import Scenario

Resource = Literal[
    "workers",
    "places in hand",
    "receive calls",
    "client cores",
    "broker calls",
    "senders",
    "credits",
    "messaging units",
    "downstream connections",
    "downstream turns",
    "groups",
    "sessions",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """The most messages per second that one resource lets through.

    places: how many there are. held_s: for how long one message holds one of them, on average.
    formula: the same in words.
    """

    resource: Resource
    places: float
    held_s: float
    formula: str

    @property
    def per_s(self) -> float:
        """Messages per second; infinite for a resource that no message holds."""
        return self.places / self.held_s if self.held_s > 0.0 else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """All ceilings of a scenario, the lowest first; ties stand in the order in which they are checked."""

    ceilings: tuple[Ceiling, ...]

    @property
    def per_s(self) -> float:
        """The capacity: the lowest ceiling, in messages per second."""
        return self.ceilings[0].per_s

    def of(self, resource: Resource) -> Ceiling | None:
        """The ceiling of one resource, or None when the scenario has no such resource."""
        return next((ceiling for ceiling in self.ceilings if ceiling.resource == resource), None)


def capacity_per_s(scenario: Scenario) -> float:
    """The most messages per second that can leave the queue of this scenario in the long run."""
    return capacity_of(setup_of(scenario)).per_s


def capacity_of(setup: Setup) -> Capacity:
    """All ceilings of a setup."""
    setup = replace(setup, work=setup.least_work)
    found = [workers_ceiling(setup), *_places(setup), *_receive_calls(setup), *_cores(setup), *_broker(setup)]
    found += _groups(setup)
    found += [ceiling for limit in setup.rate_limits for ceiling in _rate_limit(setup, limit)]
    found += _downstream(setup)
    if setup.senders:
        held_s = setup.calls.send.mean
        if setup.calls.calls_served_at_once:
            held_s += setup.calls.call_service.mean
        formula = "senders * messages per call / send round trip"
        held_s *= setup.sends
        found.append(Ceiling(resource="senders", places=setup.senders, held_s=held_s, formula=formula))
    return Capacity(ceilings=tuple(sorted(found, key=lambda ceiling: ceiling.per_s)))


def _settle_s(setup: Setup) -> float:
    """One settlement's round trip, with the client's and a busy broker's work for it."""
    served_s = setup.calls.call_service.mean if setup.calls.calls_served_at_once else 0.0
    return setup.calls.settle.mean + setup.behaviour.call_cost_s + served_s


def receive_round_trip_s(setup: Setup) -> float:
    """One receive's round trip, with the client's and a busy broker's work for it when it is a poll."""
    if setup.behaviour.discipline != "poll":
        return setup.calls.receive.mean
    served_s = setup.calls.call_service.mean if setup.calls.calls_served_at_once else 0.0
    return setup.calls.receive.mean + setup.behaviour.call_cost_s + served_s


def _settle_wait_s(setup: Setup) -> float:
    """How long a worker waits for settlements per message."""
    if setup.behaviour.settle == "concurrent":
        return 0.0
    if setup.behaviour.settle == "each":
        return setup.work.settles * _settle_s(setup)
    return setup.work.settles * _settle_s(setup) / setup.behaviour.settle_batch


def handling_s(setup: Setup) -> float:
    """How long a message keeps a worker busy: the client's work, the handler, the wait to settle."""
    own_s = setup.work.deliveries * setup.behaviour.message_cost_s
    return own_s + setup.work.handler_s + _settle_wait_s(setup)


def workers_ceiling(setup: Setup) -> Ceiling:
    """What the workers let through; if a worker makes the receive calls itself, they take its time too."""
    behaviour, held_s = setup.behaviour, handling_s(setup)
    formula = "workers / (handler time + wait for settlements)"
    if behaviour.discipline == "link_burst":
        # The worker makes the receive call itself, and waits in it once for every burst of credit.
        stall_s = receive_round_trip_s(setup)
        if not behaviour.prefetch and behaviour.batch > 1 and behaviour.settle == "concurrent":
            # The next batch may be there already, on credit left over from a short call, which lingered.
            stall_s = min(stall_s, 0.5 * min(behaviour.linger_s, behaviour.wait_s))
        held_s += setup.work.deliveries * stall_s / behaviour.in_hand_limit
        formula = "workers / (handler time + wait for settlements + receive round trip / credit of a burst)"
    return Ceiling(resource="workers", places=setup.workers, held_s=held_s, formula=formula)


def _places(setup: Setup) -> list[Ceiling]:
    """Places of a receiver: each is empty for a receive round trip before a message comes into it."""
    behaviour, work = setup.behaviour, setup.work
    if behaviour.discipline == "link_burst":
        return []
    places = setup.receivers * behaviour.in_hand_limit
    held_s = work.deliveries * receive_round_trip_s(setup)
    formula = "places / receive round trip"
    if not places:  # credit only for idle workers
        places = setup.workers
        held_s += handling_s(setup)
        formula = "workers / (receive round trip + handler time + wait for settlements)"
    elif behaviour.credit_returned == "settled":
        held_s += (
            work.handler_s + work.deliveries * behaviour.message_cost_s + work.settles * _settle_s(setup)
        )
        formula = "places / (receive round trip + handler time + settle round trip)"
    return [Ceiling(resource="places in hand", places=places, held_s=held_s, formula=formula)]


def _receive_calls(setup: Setup) -> list[Ceiling]:
    """A polling receiver makes one call at a time; one that waits for its whole batch works in rounds."""
    behaviour = setup.behaviour
    if behaviour.discipline != "poll":
        return []
    most = setup.most_per_receive
    round_s = receive_round_trip_s(setup)
    formula = "receivers * batch / receive round trip"
    if behaviour.other_queues:
        round_s += behaviour.away_mean_s
        formula = "receivers * batch / (receive round trip + time with other queues)"
    if behaviour.gather_s:
        most = behaviour.in_hand_limit
        round_s = math.ceil(most / setup.most_per_receive) * round_s + _round_s(setup, most)
        formula = "receivers * batch / (receives that fill it * their round trip + time for the batch)"
    elif behaviour.credit_returned == "settled" and behaviour.refill_at == behaviour.in_hand_limit:
        round_s += _round_s(setup, most)
        formula = formula.removesuffix(")").replace("/ receive", "/ (receive") + " + time for the batch)"
    held_s = setup.work.deliveries * round_s / most
    return [Ceiling(resource="receive calls", places=setup.receivers, held_s=held_s, formula=formula)]


def _round_s(setup: Setup, count: int) -> float:
    """The least mean time in which the workers of a receiver get through a batch and its settlements."""
    hands = setup.workers_each // setup.behaviour.receivers
    each_s = handling_s(setup) / setup.work.deliveries
    shared_s = count * each_s / hands
    settle_s = _settle_s(setup) if setup.work.settles >= 1.0 else 0.0
    slowest_s = 0.0 if setup.may_refuse else largest_mean(setup.service, min(count, hands))
    return max(shared_s, slowest_s + settle_s)


def _groups(setup: Setup) -> list[Ceiling]:
    """A group is closed from the hand-out of a batch to the last settlement of it; the busiest group is full first.

    Its next batch may be asked for already, so only the way from the broker to the client counts of a receive.
    """
    if setup.semantics.hands_out == "by session":
        return _sessions(setup)
    if setup.semantics.hands_out != "by group" or not setup.busiest_share:
        return []
    behaviour, work, most = setup.behaviour, setup.work, setup.most_per_receive
    at_once = 1 if behaviour.keeps_order else max(1, min(most, setup.workers_each // behaviour.receivers))
    settle_s = _settle_wait_s(setup) if behaviour.settle != "batch" else 0.0
    held_s = (work.handler_s + settle_s) / at_once + 0.5 * work.deliveries * setup.calls.receive.mean / most
    if behaviour.settle != "each":
        held_s += work.settles * setup.calls.settle.mean / most
    formula = "groups as large as the busiest / (share of a receive + handler time + share of a settlement)"
    return [Ceiling(resource="groups", places=1.0 / setup.busiest_share, held_s=held_s, formula=formula)]


def _sessions(setup: Setup) -> list[Ceiling]:
    """Rule R6: a session has so many calls at a time, and one of a single message also waits for its idle timeout."""
    behaviour, work = setup.behaviour, setup.work
    handled_s = work.handler_s + _settle_wait_s(setup)
    if setup.busiest_share:
        calls_s = handled_s / (setup.workers_each // behaviour.receivers)
        places_s = (handled_s + work.deliveries * setup.calls.receive.mean) / behaviour.in_hand_limit
        formula = (
            "sessions as large as the busiest / (receive round trip + handler time + wait for settlements)"
        )
        held_s = max(calls_s, places_s)
        return [Ceiling(resource="groups", places=1.0 / setup.busiest_share, held_s=held_s, formula=formula)]
    if not setup.each_its_own:
        return []
    formula = "sessions held / (idle timeout + handler time + wait for settlements)"
    held_s = handled_s + behaviour.session_idle_s
    return [Ceiling(resource="sessions", places=setup.receivers, held_s=held_s, formula=formula)]


def _cores(setup: Setup) -> list[Ceiling]:
    behaviour, work = setup.behaviour, setup.work
    settles = work.settles / behaviour.settle_batch
    receives = 0.0 if behaviour.discipline == "link_sliding" else work.deliveries / setup.most_per_receive
    need_s = work.deliveries * behaviour.message_cost_s + (receives + settles) * behaviour.call_cost_s
    need_s += work.attempts * setup.call_s * setup.handler.cpu_share
    if need_s <= 0.0:
        return []
    formula = "client cores / CPU time of client and handler per message"
    return [Ceiling(resource="client cores", places=setup.cores, held_s=need_s, formula=formula)]


def _broker(setup: Setup) -> list[Ceiling]:
    calls = setup.calls
    if not calls.calls_served_at_once:
        return []
    count = setup.work.settles / setup.behaviour.settle_batch + setup.sends
    if setup.behaviour.discipline == "poll":
        count += setup.work.deliveries / setup.most_per_receive
    held_s = count * calls.call_service.mean
    formula = "calls served at once / (calls per message * broker time per call)"
    places = calls.calls_served_at_once
    return [Ceiling(resource="broker calls", places=places, held_s=held_s, formula=formula)]


def _rate_limit(setup: Setup, limit: RateLimit) -> list[Ceiling]:
    """What a rate limit lets through when no call is wasted; the last call of a period may overdraw it."""
    sent, work = 1.0 if setup.senders else 0.0, setup.work
    settles = work.settles / setup.behaviour.settle_batch
    calls: dict[Op, float] = {"send": setup.sends, "settle": settles}
    messages: dict[Op, float] = {"send": sent, "settle": work.settles, "receive": work.deliveries}
    if setup.behaviour.discipline == "poll":
        calls["receive"] = work.deliveries / setup.most_per_receive
    spent = sum(count * limit.call_cost.get(op, 0) for op, count in calls.items())
    spent += sum(count * limit.message_cost.get(op, 0) for op, count in messages.items())
    if spent <= 0.0:
        return []
    most: dict[Op, int] = {"settle": setup.behaviour.settle_batch}
    if setup.producers is not None:
        most["send"] = setup.producers.batch
    if setup.behaviour.discipline == "poll":
        most["receive"] = setup.most_per_receive
    dearest = max(
        limit.call_cost.get(op, 0) + limit.message_cost.get(op, 0) * most.get(op, 1) for op in messages
    )
    formula = "credits of a period / (credits per message * period)"
    places = limit.places or limit.credits
    each = limit.credits / places
    return [
        Ceiling(
            resource=limit.resource,
            places=(limit.credits + dearest - 1) / each,
            held_s=spent * limit.period_s / each,
            formula=formula,
        )
    ]


def _downstream(setup: Setup) -> list[Ceiling]:
    """What all handlers share: each attempt holds a connection, and takes a turn of the rate."""
    downstream, attempts = setup.downstream, setup.work.attempts
    found: list[Ceiling] = []
    if downstream is None or attempts <= 0.0:
        return found
    if downstream.connections is not None:
        held_s = attempts * setup.call_s * (1.0 - setup.handler.cpu_share)
        formula = "connections / service time without a core"
        found.append(
            Ceiling(
                resource="downstream connections",
                places=downstream.connections,
                held_s=held_s,
                formula=formula,
            )
        )
    if downstream.rate_per_s is not None:
        held_s, formula = attempts / downstream.rate_per_s, "rate / attempts"
        found.append(Ceiling(resource="downstream turns", places=1, held_s=held_s, formula=formula))
    return found
