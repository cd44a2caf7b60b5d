"""Strategies that make random scenarios and random plans, small enough for the slow engine.

The first choice everywhere is the plain one, so that a counterexample shrinks to the few features it needs.
Service, think and polling times stay above 0: with a worker that takes no time, or a poll that finds
nothing in no time, an endless number of events would happen at one instant.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from engine_orders import in_any_order, with_groups
from engine_plans import NEVER_S, poisson, tables
from hypothesis import strategies as st

from qtune.distributions import Constant, Distribution, Empirical, Exponential, Lognormal
from qtune.engine import streams
from qtune.engine.plan import (
    LINK_BURST,
    LINK_SLIDING,
    POLL,
    SETTLE_BATCH,
    SETTLE_CONCURRENT,
    SETTLE_EACH,
    Plan,
)
from qtune.result import CALL_OPS

Pick = Callable[..., Any]
Whole = Callable[[int, int], int]
Fields = dict[str, Any]

# A lock so short that it runs out while a message lies unread in a link, which random plans seldom have.
LOST_RELEASE = Plan(
    seed=0,
    horizon_s=5.0,
    sample_every_s=1.0,
    lock_s=0.08,
    max_deliveries=1,
    abandons=True,
    discipline=LINK_BURST,
    in_hand_limit=0,
    batch=4,
    wait_s=20.0,
    linger_s=0.2,
    keepalive_s=5.0,
    tables=tables(
        service=Constant(value=0.1), receive=Exponential(mean=0.02), settle=Exponential(mean=0.014)
    ),
    **poisson(7.0),
)

MOST_SEED = 10**9


def by_chance(seed: int) -> tuple[Pick, Whole]:
    """Choices of which each is made by itself, and each value as likely as the next: they find rare coincidences."""
    chance = random.Random(seed)
    return lambda *values: chance.choice(values), chance.randint


def by_hypothesis(draw: st.DrawFn) -> tuple[Pick, Whole]:
    """Choices that hypothesis makes: it explores a few corners at a time, and shrinks what fails."""
    return lambda *values: draw(st.sampled_from(values)), lambda low, high: draw(st.integers(low, high))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans whose choices hypothesis makes."""
    return any_plan(*by_hypothesis(draw))


def any_plan(pick: Pick, whole: Whole) -> Plan:
    """Any combination of what a plan can hold, also of features that no provider has together."""
    discipline = pick(POLL, POLL, LINK_SLIDING, LINK_BURST, LINK_BURST)
    consumers, receivers = pick(1, 1, 2, 4), pick(1, 1, 2, 3)
    workers = 1 if discipline == LINK_BURST else pick(1, 1, 2, 5)
    service_s = pick(0.1, 0.01, 0.5, 3.0)
    load = consumers * receivers * workers / service_s
    rate_per_s = min(load * pick(0.7, 0.2, 0.95, 1.5), 200.0)
    horizon_s = min(60.0, whole(30, 250) / rate_per_s)
    lock_s = pick(NEVER_S, 10.0 * service_s + 1.0, 2.0 * service_s + 0.2, 0.3 * service_s + 0.05)
    constant = pick(False, False, True)
    limits = _limits(pick, rate_per_s, horizon_s)
    wait_s = pick(20.0, 1.0, 0.05) if discipline == LINK_BURST else pick(20.0, 1.0, 0.05, 0.0)
    plan = Plan(
        seed=whole(0, MOST_SEED),
        horizon_s=horizon_s,
        sample_every_s=horizon_s / pick(7, 10, 50),
        tables=_tables(pick, service_s, constant),
        workers=workers,
        receivers=receivers,
        consumers=consumers,
        discipline=discipline,
        wait_s=wait_s,
        # Constant round trips can be 0, and then only a pause lets time pass between polls that find nothing.
        idle_pause_s=0.013 if constant and (wait_s == 0.0 or limits) else pick(0.0, 0.0, 0.07),
        **limits,
        **with_groups(pick, _arrivals(pick, whole, rate_per_s, horizon_s, service_s)),
        **_receiving(pick, discipline, workers),
        **_broker(pick, lock_s, service_s, horizon_s),
        **_downstream(pick, load),
        **_handler(pick, service_s, _client(pick, lock_s, receivers * workers)),
        **_faults(pick, horizon_s),
        **_fleet(pick, consumers, horizon_s),
    )
    return in_any_order(pick, replace(plan, **_breaker(pick, plan, service_s, constant)))


def _breaker(pick: Pick, plan: Plan, service_s: float, constant: bool) -> Fields:
    """A circuit breaker, unless what it rejects could come back in no time."""
    if (constant and plan.abandons) or not pick(False, False, True):
        return {}
    window, trials = pick(2, 5, 20), pick(1, 3)
    least = pick(1, min(window, 4))
    return {
        "breaker_window": window,
        "breaker_least": least,
        "breaker_failures": pick(0.2, 0.5, 1.0),
        "breaker_open_s": pick(1.0, 5.0) * service_s,
        "breaker_trials": trials,
        "breaker_trials_least": min(least, trials),
    }


def _tables(pick: Pick, service_s: float, constant: bool) -> tuple[Any, ...]:
    round_trip_s = pick(0.02, 0.002, 0.2)

    def time(mean_s: float) -> Distribution:
        if constant:
            return Constant(value=mean_s * pick(1.0, 0.0, 2.0))
        return positive(mean_s)

    def positive(mean_s: float) -> Distribution:
        family = pick("constant", "exponential", "lognormal", "samples")
        if family == "exponential" and not constant:
            return Exponential(mean=mean_s)
        if family == "lognormal" and not constant:
            return Lognormal(mean=mean_s, cv=pick(0.3, 1.0, 2.0))
        if family == "samples" and not constant:
            return Empirical(samples=(0.5 * mean_s, mean_s, 1.5 * mean_s))
        return Constant(value=mean_s * pick(1.0, 2.0))

    return tables(
        service=positive(service_s),
        think=positive(0.5),
        send=time(0.01),
        receive=time(round_trip_s),
        settle=time(0.7 * round_trip_s),
        renew=time(0.7 * round_trip_s),
        broker=time(0.004),
        connect=time(1.3 * round_trip_s),
        turn=time(2.0 * round_trip_s),
    )


def _arrivals(pick: Pick, whole: Whole, rate_per_s: float, horizon_s: float, service_s: float) -> Fields:
    kind = pick("poisson", "piecewise", "explicit", "closed")
    if kind == "poisson":
        return {
            "segment_start_s": np.array([0.0]),
            "segment_rate_per_s": np.array([rate_per_s]),
            "messages_most": pick(0, 0, 40),
        }
    if kind == "piecewise":
        return {
            "segment_start_s": np.array([0.0, 0.1, 0.15, 0.5]) * horizon_s,
            "segment_rate_per_s": np.array([rate_per_s, 0.0, 1.7 * rate_per_s, pick(0.0, rate_per_s)]),
        }
    if kind == "closed":
        return {"customers": pick(1, 4, 30)}
    count = max(1, int(rate_per_s * horizon_s * 0.8))
    source = np.random.default_rng(whole(0, MOST_SEED))
    due_s = np.sort(np.round(source.random(count) * horizon_s, pick(3, 1, 0)))
    given_s = 2.0 * service_s * (0.001 + source.random(count))
    return {"due_s": due_s, "explicit": True, "service_s": pick(np.empty(0), given_s)}


def _receiving(pick: Pick, discipline: int, workers: int) -> Fields:
    batch = pick(1, 4, 10)
    if discipline == LINK_BURST:
        settle = {"settle_mode": pick(SETTLE_EACH, SETTLE_CONCURRENT)}
        burst = {"prefetch": pick(0, 0, 1, 20), "linger_s": 0.2, "keepalive_s": pick(5.0, 1.0)}
        return {"batch": batch, "in_hand_limit": 0, **burst, **settle}
    if discipline == LINK_SLIDING:
        settle = {"settle_mode": pick(SETTLE_EACH, SETTLE_CONCURRENT)}
        return {"in_hand_limit": pick(1, 5, 30), "credit_at_settle": pick(True, False), **settle}
    several = {"other_queues": pick(0, 0, 0, 1, 2)}
    mode = pick(SETTLE_EACH, SETTLE_BATCH, SETTLE_CONCURRENT)
    settle = {"settle_mode": mode, "settle_batch": pick(1, 4, 10) if mode == SETTLE_BATCH else 1}
    settle |= several
    if mode == SETTLE_BATCH:
        settle["settle_entry_fail_steps"] = pick(0, streams.chance_steps(0.3))
    settle["accepts_late"] = pick(False, True)  # no broker of a link does
    polling = pick("loop", "loop", "permits", "buffer")
    if polling == "loop":
        adaptive = {
            "batch": 10,
            "in_hand_limit": 10,
            "refill_at": 10,
            "adaptive_least": pick(1, 3),
            "adaptive_target_s": pick(0.3, 1.0, 5.0),
        }
        loop = {"batch": batch, "in_hand_limit": batch, "refill_at": batch, **settle}
        wider = pick(3, batch, 3 * batch)
        window = {"gather_s": pick(0.3, 2.0), "in_hand_limit": wider, "refill_at": wider}
        window["batch"] = min(batch, wider)
        return {**loop, **pick({}, adaptive, adaptive, window, window)}
    if polling == "permits":
        return {"batch": batch, "in_hand_limit": workers, "refill_at": 1, **settle}
    limit = pick(1, 6, 25)
    return {
        "batch": batch,
        "in_hand_limit": limit,
        "refill_at": pick(1, limit),
        "credit_at_settle": False,
        **settle,
    }


def _broker(pick: Pick, lock_s: float, service_s: float, horizon_s: float) -> Fields:
    retention_s = pick(np.inf, np.inf, horizon_s / 3.0, 5.0 * service_s + 0.5)
    return {
        "lock_s": lock_s,
        **_sending(pick, service_s),
        "max_deliveries": pick(0, 1, 2, 5),
        "retention_s": retention_s,
        "delay_s": pick(0.0, 0.0, 0.0, 0.3, 0.01) * min(retention_s, horizon_s),
        "capacity_messages": pick(0, 0, 3, 20),
        "rejects_when_full": pick(False, True),
        "redelivers_first": pick(False, True),
        "calls_served_at_once": pick(0, 0, 1, 4),
        "serves_any_receiver": pick(False, True),
        "in_flight_most": pick(0, 0, 1, 12),
        "over_limit_fails": pick(False, True),
        "short_poll_steps": pick(0, streams.chance_steps(0.3)),
        "look_every_s": pick(0.0, 0.0, 0.3 * service_s, 7.0 * service_s + 0.01),
    }


def _downstream(pick: Pick, load: float) -> Fields:
    connections, gap_s = pick((0, 0.0), (0, 0.0), (1, 0.0), (3, 0.0), (0, 0.9 / load), (2, 0.9 / load))
    rejects = bool(connections or gap_s) and pick(False, True)
    return {
        "downstream_connections": connections,
        "downstream_gap_s": gap_s,
        "downstream_ahead_s": pick(0.0, 3.0) * gap_s,
        "downstream_rejects": rejects,
        # A refusal that takes no time, abandoned at once, would come back at once.
        "refusal_s": pick(0.01, 0.1) if rejects else 0.0,
    }


def _sending(pick: Pick, service_s: float) -> Fields:
    batch = pick(1, 1, 3, 10)
    return {
        "senders": pick(0, 0, 1, 8),
        "send_batch": batch,
        "send_batch_from": pick(batch, 1),
        "send_linger_s": pick(0.0, 0.0, 2.0 * service_s),
        "entry_fail_steps": streams.chance_steps(pick(0.0, 0.0, 0.2)),
    }


def _handler(pick: Pick, service_s: float, client: Fields) -> Fields:
    """What the client does, with handlers that may take several messages; those neither try again nor renew."""
    most = pick(1, 3, 10)
    if most == 1:
        return client
    alone = {"backoff_s": np.empty(0), "renewers": 0, "renew_after_s": 0.0, "renew_max_s": 0.0}
    call = {"batch_call_s": pick(0.0, 0.3) * service_s, "batch_longest": pick(False, True)}
    call["fail_steps"] = pick(client["fail_steps"], streams.chance_steps(0.3))
    return {**client, **alone, **call, "handler_batch": most, "batch_fails_whole": pick(False, True)}


def _client(pick: Pick, lock_s: float, workers: int) -> Fields:
    renewers = min(pick(0, 0, 1, 3), workers)
    return {
        "fail_steps": streams.chance_steps(pick(0.0, 0.02, 0.3)),
        "poison_steps": streams.chance_steps(pick(0.0, 0.0, 0.05)),
        "abandons": pick(True, False),
        "backoff_jitter": pick(0.0, 0.5, 1.0),
        "cpu_share": pick(0.0, 0.0, 0.0, 0.0, 0.3, 1.0),
        "backoff_s": np.array(pick((), (0.01,), (0.1, 0.3, 0.9))),
        "drops_expired": pick(False, False, True),
        "renewers": renewers,
        "renew_after_s": pick(0.5, 0.66) * lock_s if renewers else 0.0,
        "renew_max_s": pick(NEVER_S, 3.0 * lock_s) if renewers else 0.0,
        "cores": pick(1, 2),
        "call_cost_s": pick(0.0, 0.0, 0.0003, 0.01),
        "message_cost_s": pick(0.0, 0.0, 0.0002, 0.005),
        "pool_connections": pick(0, 0, 0, 1, 3),
    }


def _limits(pick: Pick, rate_per_s: float, horizon_s: float) -> Fields:
    """None, or one or two limits that count some kinds of calls, and what clients do when they are refused."""
    count, down = pick(0, 0, 0, 1, 2), pick(False, False, False, True)
    drops = pick((), (), (), (0.3,), (0.25, 0.3, 0.6))
    if not count and not down and not drops:
        return {}
    kinds = len(CALL_OPS)
    periods_s = [pick(1.0, 0.1, 0.3 * horizon_s) for _ in range(count)]
    windows = [pick((0.0, np.inf), (0.0, np.inf), (0.2 * horizon_s, 0.5 * horizon_s)) for _ in range(count)]
    retries = pick(0, 1, 3)
    return {
        "limit_credits": np.array(
            [float(max(1, int(pick(0.5, 1.0, 3.0) * rate_per_s * s))) for s in periods_s]
        ),
        "limit_period_s": np.array(periods_s),
        "limit_start_s": np.array([start_s for start_s, _ in windows]),
        "limit_end_s": np.array([end_s for _, end_s in windows]),
        "limit_call_cost": np.array([float(pick(1, 0)) for _ in range(count * kinds)]),
        "limit_message_cost": np.array([float(pick(0, 0, 1, 3)) for _ in range(count * kinds)]),
        "failed_wait_s": np.array((0.02, 0.3, 1.0)[:retries]),
        "failed_tokens": 14,
        "outage_start_s": np.array([0.2 * horizon_s] * down),
        "outage_end_s": np.array([0.4 * horizon_s] * down),
        "drop_s": np.array(drops) * horizon_s,
        "throttled_wait_s": np.array((0.05, 0.1, 2.0)[:retries]),
        "retry_jitter": pick(True, False),
        "retry_tokens": pick(0, 0, 20),
        "throttled_tokens": 5,
        "senders_each": pick(1, 4),
        "paces_calls": pick(False, True),
    }


def _faults(pick: Pick, horizon_s: float) -> Fields:
    pauses = pick((), (), ((0.1, 0.2),), ((0.1, 0.2), (0.3, 0.6)))
    slow = pick((), (), (3.0,), (1.0,))
    return {
        "slow_start_s": np.array([0.3 * horizon_s for _ in slow]),
        "slow_end_s": np.array([0.5 * horizon_s for _ in slow]),
        "slow_factor": np.array(slow),
        "slow_extra_s": np.array([pick(0.0, 0.05) for _ in slow]),
        "pause_start_s": np.array([start * horizon_s for start, _ in pauses]),
        "pause_end_s": np.array([end * horizon_s for _, end in pauses]),
    }


def _fleet(pick: Pick, consumers: int, horizon_s: float) -> Fields:
    """Up to two orders to stop, the second perhaps to consumers that have started again."""
    at = pick((), (), (), (0.5,), (0.1, 0.6))
    return {
        "absent_at_start": pick(0, 0, 0, consumers // 2) if at else 0,
        "fleet_at_s": np.array([share * horizon_s for share in at]),
        "fleet_count": np.array([pick(1, 1, consumers) for _ in at], np.int64),
        "fleet_grace_s": np.array([pick(0.0, np.inf, np.inf, 0.03 * horizon_s, 0.3) for _ in at]),
        "fleet_back_s": np.array([pick(0.1 * horizon_s, 0.02 * horizon_s, np.inf) for _ in at]),
        "returns_unstarted": pick(True, False),
        **_scaling(pick, consumers, horizon_s),
    }


def _scaling(pick: Pick, consumers: int, horizon_s: float) -> Fields:
    """No scaler, or one with any of the ways of the real ones."""
    every_s = pick(0.0, 0.0, 0.0, 0.05 * horizon_s, 0.02 * horizon_s)
    if not every_s:
        return {}
    least, asleep = pick((0, 0), (0, 0), (1, 0), (2, 1))
    window_s = pick(0.0, 3.0 * every_s, 0.4 * every_s)
    return {
        "absent_at_start": consumers - min(pick(1, least, consumers), consumers),
        "scale_every_s": every_s,
        "scale_poll_s": pick(0.0, 2.0 * every_s, 0.7 * every_s),
        "scale_lag_s": pick(0.0, 0.0, every_s, 2.5 * every_s),
        "scale_in_flight": pick(True, False),
        "scale_target": pick(5.0, 1.0, 2.5),
        "scale_tolerance": pick(0.0, 0.1, 0.5),
        "scale_least": least,
        "scale_up_window_s": pick(0.0, 0.0, window_s),
        "scale_down_window_s": window_s,
        "scale_up_share": pick(1.0, 0.0, 0.3),
        "scale_up_count": pick(4, 1),
        "scale_activation": pick(0.0, 3.0),
        "scale_cooldown_s": pick(every_s, 5.0 * every_s),
        "scale_asleep": asleep,
        "scale_fallback": pick(0, 1, consumers),
        "scale_failures": pick(0, 1),
        "scale_grace_s": pick(np.inf, 0.0, 0.05 * horizon_s),
        "start_up_s": pick(0.0, 0.03 * horizon_s, every_s),
    }
