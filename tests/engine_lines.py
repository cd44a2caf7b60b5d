"""Random plans in which nothing overtakes anything: those that the jump loop takes; and what happened in their runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_plans import NEVER_S, Rows, due_at, poisson, tables
from engine_random import MOST_SEED, Fields, Pick, Whole

from qtune.distributions import Constant, Distribution, Empirical, Exponential, Lognormal
from qtune.engine import streams
from qtune.engine.plan import LINK_SLIDING, Plan
from qtune.result import CALL_OPS

HAPPENS = {
    *("a worker was idle", "waited for a worker", "waited at the broker", "landed after it was handed out"),
    *("credit when taken", "credit when settled", "waited for a core", "a core between handler and settle"),
    *("several at one instant", "no time in the handler", "given service times", "piecewise rate"),
    *("open in a handler", "open in the buffer", "open on the way", "open at the broker", "slow for a while"),
    *("a lock that could run out", "a renewer that is not needed", "a limit that is not used up"),
}


def any_line(pick: Pick, whole: Whole) -> Plan:
    """Any plan that the jump loop takes, also with settings of other disciplines, which must change nothing.

    A quarter has times that are whole multiples of one another, so that much happens at equal times.
    """
    workers = pick(1, 1, 2, 3, 8, 20)
    service_s = pick(0.1, 0.5, 3.0)
    rate_per_s = workers / service_s * pick(0.7, 0.3, 0.95, 1.5)
    horizon_s = whole(20, 200) / rate_per_s
    lock_s = pick(NEVER_S, NEVER_S, 0.5 * horizon_s, 10.0 * service_s + 1.0)
    renewers = pick(0, 0, 1, workers)
    return Plan(
        seed=whole(0, MOST_SEED),
        horizon_s=horizon_s,
        sample_every_s=horizon_s / pick(7, 10, 50),
        discipline=LINK_SLIDING,
        workers=workers,
        cores=pick(1, 2, 8),
        in_hand_limit=pick(workers, 1, 5, 30, 1000),
        credit_at_settle=pick(True, False),
        call_cost_s=pick(0.0, 0.0, 0.0003, 0.2 * service_s),
        message_cost_s=pick(0.0, 0.0, 0.0002, 0.2 * service_s),
        retention_s=pick(np.inf, 1.01 * horizon_s),
        lock_s=lock_s,
        renewers=renewers,
        renew_after_s=0.5 * lock_s if renewers else 0.0,
        renew_max_s=3.0 * lock_s if renewers else 0.0,
        **_settings_without_effect(pick),
        **_limits(pick, rate_per_s, horizon_s),
        **_slowness(pick, horizon_s),
        **_times(pick, whole, rate_per_s, horizon_s, service_s),
    )


def _settings_without_effect(pick: Pick) -> Fields:
    waits_s = np.array(pick((), (0.1, 0.4)))
    return {
        "drops_expired": pick(True, False),
        "accepts_late": pick(True, False),
        "max_deliveries": pick(0, 1, 3),
        "redelivers_first": pick(True, False),
        "abandons": pick(True, False),
        "backoff_s": np.array(pick((), (0.1,))),
        "batch": pick(1, 10),
        "wait_s": pick(0.0, 20.0),
        "refill_at": pick(1, 5),
        "prefetch": pick(0, 20),
        "linger_s": pick(0.0, 0.2),
        "keepalive_s": pick(0.0, 5.0),
        "idle_pause_s": pick(0.0, 0.07),
        "settle_batch": pick(1, 4),
        "throttled_wait_s": waits_s,
        "failed_wait_s": waits_s,
        "retry_jitter": pick(True, False),
        "retry_tokens": pick(0, 100),
        "throttled_tokens": pick(0, 5),
        "failed_tokens": pick(0, 5),
        "senders_each": pick(1, 4),
        "returns_unstarted": pick(True, False),
        "serves_any_receiver": pick(True, False),
        "over_limit_fails": pick(True, False),
        "short_poll_steps": pick(0, streams.chance_steps(0.5)),
    }


def _limits(pick: Pick, rate_per_s: float, horizon_s: float) -> Fields:
    """One limit or two that nearly suffice, or do; costs are in the order of the codes of calls."""
    count = pick(0, 0, 1, 2)
    period_s = pick(1.0, 0.1 * horizon_s, 0.5 / rate_per_s)
    allowed = [pick(2.0, 4.0, 8.0) * max(1.0, rate_per_s * period_s) for _ in range(count)]
    costs = [[pick(0.0, 1.0, 0.1) for _ in CALL_OPS] for _ in range(2 * count)]
    return {
        "limit_credits": np.array(allowed),
        "limit_period_s": np.full(count, period_s),
        "limit_start_s": np.array([pick(0.0, 0.3) * horizon_s for _ in range(count)]),
        "limit_end_s": np.array([pick(np.inf, 0.7 * horizon_s) for _ in range(count)]),
        "limit_call_cost": np.array(costs[:count]).ravel(),
        "limit_message_cost": np.array(costs[count:]).ravel(),
    }


def _slowness(pick: Pick, horizon_s: float) -> Fields:
    factors = pick((), (), (3.0,))
    return {
        "slow_start_s": np.array([0.2 * horizon_s for _ in factors]),
        "slow_end_s": np.array([0.6 * horizon_s for _ in factors]),
        "slow_factor": np.array(factors),
        "slow_extra_s": np.array([pick(0.0, 0.05) for _ in factors]),
    }


def _times(pick: Pick, whole: Whole, rate_per_s: float, horizon_s: float, service_s: float) -> Fields:
    even = pick(True, False, False, False)
    round_trip_s = pick(0.02, 0.2, 0.002)

    def time(mean_s: float, *most: str) -> Distribution:
        family = pick(
            *most, *(("constant",) if even else ("constant", "exponential", "lognormal", "samples"))
        )
        if family == "exponential":
            return Exponential(mean=mean_s)
        if family == "lognormal":
            return Lognormal(mean=mean_s, cv=pick(0.3, 2.0))
        if family == "samples":
            return Empirical(samples=(0.5 * mean_s, mean_s, 1.5 * mean_s))
        return Constant(value=0.0 if family == "nothing" else mean_s * pick(1.0, 2.0))

    service = pick(time(service_s), time(service_s), time(service_s), time(service_s), Constant(value=0.0))
    made = tables(
        service=service, receive=time(round_trip_s, "nothing"), settle=time(round_trip_s, "nothing")
    )
    count = int(rate_per_s * horizon_s)
    if even:
        due_s = np.arange(count) // pick(1, 3) * (0.5 * service_s)
        return {"tables": made, **due_at(*due_s[due_s <= 2.0 * horizon_s])}
    kind = pick("poisson", "piecewise", "explicit")
    if kind == "poisson":
        return {"tables": made, "messages_most": pick(0, 0, 20), **poisson(rate_per_s)}
    if kind == "piecewise":
        starts_s = np.array([0.0, 0.1, 0.15, 0.5]) * horizon_s
        rates_per_s = np.array([rate_per_s, 0.0, 1.7 * rate_per_s, pick(0.0, rate_per_s)])
        return {"tables": made, "segment_start_s": starts_s, "segment_rate_per_s": rates_per_s}
    source = np.random.default_rng(whole(0, MOST_SEED))
    due_s = np.sort(np.round(source.random(count) * horizon_s, pick(0, 1, 3)))
    given_s = 2.0 * service_s * (0.001 + source.random(count))
    return {"tables": made, "service_s": pick(np.empty(0), given_s), **due_at(*due_s)}


def happened(plan: Plan, rows: Rows) -> set[str]:
    """What of :data:`HAPPENS` left a trace in the rows of a run."""
    messages, deliveries, states = rows.messages, rows.deliveries, rows.states
    waited_s = deliveries["started_s"] - deliveries["received_s"]
    locked = deliveries["locked_s"] - messages["sent_s"][deliveries["message"]]
    is_open = np.isnan(deliveries["settled_s"])
    calls_s = rows.calls["start_s"]
    full_s = plan.horizon_s * plan.cores
    found: dict[str, Any] = {
        "a worker was idle": (waited_s == 0.0).any(),
        "waited for a worker": (waited_s > 0.0).any(),
        "waited at the broker": (locked > 0.0).any(),
        "landed after it was handed out": (deliveries["received_s"] > deliveries["locked_s"]).any(),
        "credit when taken": not plan.credit_at_settle and len(deliveries) > plan.in_hand_limit,
        "credit when settled": plan.credit_at_settle and len(deliveries) > plan.in_hand_limit,
        "waited for a core": states["core_busy_s"][-1] > 0.3 * full_s,
        "a core between handler and settle": plan.call_cost_s > 0.0 and len(calls_s) > 0,
        "several at one instant": (np.diff(messages["due_s"]) == 0.0).any(),
        "no time in the handler": (deliveries["finished_s"] == deliveries["started_s"]).any(),
        "given service times": plan.service_s.size > 0,
        "piecewise rate": plan.segment_start_s.size > 1,
        "open in a handler": (is_open & (deliveries["started_s"] > 0.0)).any(),
        "open in the buffer": (is_open & (deliveries["received_s"] > 0.0) & (deliveries["worker"] < 0)).any(),
        "open on the way": np.isnan(deliveries["received_s"]).any(),
        "open at the broker": (messages["delivery"] < 0).any(),
        "slow for a while": plan.slow_factor.size > 0,
        "a lock that could run out": plan.lock_s <= plan.horizon_s,
        "a limit that is not used up": plan.limit_credits.size > 0,
        "a renewer that is not needed": plan.renewers > 0 and plan.renew_after_s <= plan.horizon_s,
    }
    return {name for name, it_did in found.items() if it_did}
