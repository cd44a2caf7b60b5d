"""From a scenario to a plan: the last place where a name has a meaning; behind it there are only numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from qtune.distributions import Constant
from qtune.downstream import Downstream
from qtune.engine import streams
from qtune.engine.load import arrivals_of
from qtune.engine.plan import (
    BY_AGE,
    BY_FAIRNESS,
    BY_GROUP,
    BY_SESSION,
    DRAWN_GROUPS,
    GIVEN_GROUPS,
    LINK_BURST,
    LINK_SLIDING,
    NO_FLOATS,
    NO_GROUPS,
    OWN_GROUPS,
    POLL,
    SETTLE_BATCH,
    SETTLE_CONCURRENT,
    SETTLE_EACH,
    Floats,
    Plan,
)
from qtune.faults import (
    Burst,
    DropConnections,
    KillConsumers,
    Network,
    Outage,
    PauseHandlers,
    SlowBroker,
    kills,
)
from qtune.handler import CircuitBreaker, Handler
from qtune.producer import Producers
from qtune.providers.base import DeliverySemantics, Op, RateLimit, ReceiveBehaviour
from qtune.result import CALL_OPS
from qtune.scenario import Scenario

SAMPLES: Final = 500
"""The state is written down at this many even steps of the horizon."""

_DISCIPLINES: Final = {"poll": POLL, "link_sliding": LINK_SLIDING, "link_burst": LINK_BURST}
_SETTLES: Final = {"each": SETTLE_EACH, "batch": SETTLE_BATCH, "concurrent": SETTLE_CONCURRENT}
_ORDERS: Final = {
    "by age": BY_AGE,
    "by group": BY_GROUP,
    "by session": BY_SESSION,
    "by fairness": BY_FAIRNESS,
}
_NOTHING: Final = Constant(value=0.0)


def make_plan(scenario: Scenario, seed: int) -> Plan:
    """Flatten a scenario into the numbers of one run.

    The plan depends on the seed only through ``seed`` itself and, for bursts, the path of on and off phases."""
    behaviour, semantics, calls = scenario.behaviour(), scenario.semantics(), scenario.call_model()
    schedule, others = scenario.schedule(), scenario.consumers.other_queues
    bursts = [fault for fault in scenario.faults if isinstance(fault, Burst)]
    given_s = scenario.service_by_message_s()
    service = _NOTHING if given_s is not None else scenario.service_distribution()
    tables = (
        schedule.gap or _NOTHING,
        service,
        calls.send,
        calls.receive,
        calls.settle,
        calls.renew,
        calls.call_service if calls.calls_served_at_once else _NOTHING,
        schedule.think or _NOTHING,
        calls.connect or _NOTHING,
        others.turn.distribution() if others else _NOTHING,
    )
    pauses = sorted(
        (fault.at_s, fault.end_s) for fault in scenario.faults if isinstance(fault, PauseHandlers)
    )
    retry = scenario.failures.retry
    return Plan(
        seed=seed,
        horizon_s=scenario.horizon_s,
        sample_every_s=scenario.horizon_s / SAMPLES,
        **arrivals_of(schedule, bursts, seed),
        **_grouping(scenario),
        service_s=NO_FLOATS if given_s is None else given_s,
        fail_steps=streams.chance_steps(scenario.failures.rate),
        poison_steps=streams.chance_steps(scenario.failures.poison),
        abandons=scenario.failures.on_failure == "abandon",
        backoff_s=np.array(retry.waits_s() if retry else (), np.float64),
        backoff_jitter=retry.jitter if retry else 0.0,
        cpu_share=scenario.handler.cpu_share,
        **_handling(scenario.handler, behaviour),
        **_breaker(scenario.handler.circuit_breaker),
        **_downstream(scenario.downstream),
        **_sending(scenario.producers),
        lock_s=semantics.lock_s,
        max_deliveries=semantics.max_deliveries,
        retention_s=semantics.retention_s,
        delay_s=semantics.delay_s,
        capacity_messages=semantics.capacity_messages,
        rejects_when_full=semantics.rejects_when_full,
        accepts_late=semantics.accepts_late,
        in_flight_most=semantics.in_flight_most,
        **_order(semantics),
        over_limit_fails=semantics.over_limit_fails and behaviour.wait_s <= 0.0,
        look_every_s=calls.look_every_s if behaviour.discipline == "poll" and behaviour.wait_s > 0.0 else 0.0,
        short_poll_steps=_short_poll_steps(calls.short_poll_share, behaviour),
        calls_served_at_once=calls.calls_served_at_once,
        serves_any_receiver=calls.hands_out_to == "any",
        consumers=scenario.consumers.instances,
        receivers=behaviour.receivers,
        workers=scenario.consumers.workers // behaviour.receivers,
        cores=behaviour.cores,
        **_receiving(behaviour, scenario.consumers.workers // behaviour.receivers),
        senders_each=scenario.producers.senders if scenario.producers else 1,
        pool_connections=behaviour.pool_connections if calls.connect else 0,
        **_refusing(scenario),
        **_slow(scenario),
        **_fleet(scenario),
        pause_start_s=np.array([start for start, _ in pauses], np.float64),
        pause_end_s=np.array([end for _, end in pauses], np.float64),
        tables=tuple((table.kind, table.values) for table in (each.table() for each in tables)),
    )


def _order(semantics: DeliverySemantics) -> dict[str, Any]:
    """In which order the broker hands out, and where in it a message is that comes back."""
    return {
        "redelivers_first": semantics.redelivers_first,
        "hands_out": _ORDERS[semantics.hands_out],
        "group_window": semantics.group_window,
        "fair_share": semantics.fair_share,
        "fair_least": semantics.fair_least,
        "fair_quiet_s": semantics.fair_quiet_s,
    }


def _sending(producers: Producers | None) -> dict[str, Any]:
    """How messages are sent; nothing where the broker has each at its due instant."""
    if producers is None:
        return {}
    return {
        "senders": producers.senders_total,
        "send_batch": producers.batch,
        "send_batch_from": producers.batch if producers.batch_from is None else producers.batch_from,
        "send_linger_s": producers.linger_s,
        "entry_fail_steps": streams.chance_steps(producers.entry_failures),
    }


def _short_poll_steps(share: float, behaviour: ReceiveBehaviour) -> int:
    """The chance to see a message in steps; 0 where every receive sees all that is ready."""
    short = behaviour.discipline == "poll" and behaviour.wait_s <= 0.0
    return streams.chance_steps(share) if short and share < 1.0 else 0


def _grouping(scenario: Scenario) -> dict[str, Any]:
    """To which group each message belongs; shares are cumulated here, once for both engines."""
    if scenario.groups is None:
        return {"grouping": NO_GROUPS}
    given = scenario.group_by_message()
    if given is not None:
        return {"grouping": GIVEN_GROUPS, "group_of": given}
    shares = scenario.groups.shares()
    if shares is None:
        return {"grouping": OWN_GROUPS}
    ends = shares.cumsum()
    ends[np.flatnonzero(shares)[-1] :] = (
        1.0  # a sum of shares may end a bit below, and nobody draws beyond it
    )
    return {"grouping": DRAWN_GROUPS, "group_ends": ends}


def _handling(handler: Handler, behaviour: ReceiveBehaviour) -> dict[str, Any]:
    """How many messages a handler takes, and how long it works on several."""
    most = handler.most_of(behaviour.most_together)
    if most == 1:
        return {}
    return {
        "handler_batch": most,
        "batch_call_s": handler.per_call_s or 0.0,
        "batch_longest": handler.batch_time == "longest",
        "batch_fails_whole": handler.failure != "partial",
    }


def _breaker(breaker: CircuitBreaker | None) -> dict[str, Any]:
    """What makes attempts fail at once while too many fail."""
    if breaker is None:
        return {}
    return {
        "breaker_window": breaker.window,
        "breaker_least": breaker.least,
        "breaker_failures": breaker.failure_rate,
        "breaker_open_s": breaker.open_for_s,
        "breaker_trials": breaker.half_open_calls,
        "breaker_trials_least": breaker.least_half_open,
    }


def _downstream(downstream: Downstream | None) -> dict[str, Any]:
    """What all handlers share."""
    if downstream is None:
        return {}
    gap_s = 1.0 / downstream.rate_per_s if downstream.rate_per_s else 0.0
    # Added up one by one, as the engines move the pace on, so that a whole burst fits to the last bit.
    ahead_s = float(np.append(0.0, np.cumsum(np.full((downstream.burst or 1) - 1, gap_s)))[-1])
    return {
        "downstream_connections": downstream.connections or 0,
        "downstream_gap_s": gap_s,
        "downstream_ahead_s": ahead_s,
        "downstream_rejects": downstream.rejects,
        "refusal_s": downstream.refusal_s or 0.0,
    }


def _receiving(behaviour: ReceiveBehaviour, workers: int) -> dict[str, Any]:
    """How consumers receive, settle and renew."""
    limit, at_settle = behaviour.in_hand_limit, behaviour.credit_returned == "settled"
    if behaviour.discipline == "link_sliding" and limit == 0:
        # No place in the buffer: credit belongs to idle workers, and comes back when they are done.
        limit, at_settle = workers, True
    renews = behaviour.renewers > 0 or behaviour.renews_sessions
    return {
        "discipline": _DISCIPLINES[behaviour.discipline],
        "batch": behaviour.batch,
        "adaptive_least": behaviour.adaptive_least,
        "adaptive_target_s": behaviour.adaptive_target_s,
        "gather_s": behaviour.gather_s,
        "wait_s": behaviour.wait_s,
        "in_hand_limit": 0 if behaviour.discipline == "link_burst" else limit,
        "refill_at": behaviour.refill_at,
        "credit_at_settle": at_settle,
        "prefetch": behaviour.prefetch if behaviour.discipline == "link_burst" else 0,
        "linger_s": behaviour.linger_s,
        "keepalive_s": behaviour.keepalive_s,
        "idle_pause_s": behaviour.idle_pause_s,
        "other_queues": behaviour.other_queues,
        "settle_mode": _SETTLES[behaviour.settle],
        "settle_batch": behaviour.settle_batch if behaviour.settle == "batch" else 1,
        "settle_entry_fail_steps": streams.chance_steps(behaviour.settle_entry_failures),
        "drops_expired": behaviour.drops_expired,
        "keeps_order": behaviour.keeps_order,
        "renewers": behaviour.renewers,
        "renew_after_s": behaviour.renew_after_s if renews else 0.0,
        "renew_max_s": behaviour.renew_max_s if renews else 0.0,
        "renews_sessions": behaviour.renews_sessions,
        "session_idle_s": behaviour.session_idle_s,
        "accept_wait_s": behaviour.accept_wait_s,
        "call_cost_s": behaviour.call_cost_s,
        "message_cost_s": behaviour.message_cost_s,
    }


def _refusing(scenario: Scenario) -> dict[str, Any]:
    """What the broker refuses, and what clients do then; nothing where no call can be refused."""
    limits, retries = scenario.rate_limits(), scenario.retries()
    outages = [fault for fault in scenario.faults if isinstance(fault, Outage)]
    drops_s = [fault.at_s for fault in scenario.faults if isinstance(fault, DropConnections)]
    if not limits and not outages and not drops_s:
        return {}

    def numbers(of: Callable[[RateLimit], float]) -> Floats:
        return np.array([of(limit) for limit in limits], np.float64)

    def costs(of: Callable[[RateLimit], Mapping[Op, int]]) -> Floats:
        by_op: list[Mapping[Any, int]] = [of(limit) for limit in limits]
        return np.array([cost.get(op, 0) for cost in by_op for op in CALL_OPS], np.float64)

    return {
        "limit_credits": numbers(lambda limit: limit.credits),
        "limit_period_s": numbers(lambda limit: limit.period_s),
        "limit_start_s": numbers(lambda limit: limit.start_s),
        "limit_end_s": numbers(lambda limit: limit.end_s),
        "limit_call_cost": costs(lambda limit: limit.call_cost),
        "limit_message_cost": costs(lambda limit: limit.message_cost),
        "outage_start_s": np.array([outage.at_s for outage in outages], np.float64),
        "outage_end_s": np.array([outage.end_s for outage in outages], np.float64),
        "drop_s": np.array(drops_s, np.float64),
        "failed_wait_s": np.array(retries.failed_waits_s(), np.float64),
        "failed_tokens": retries.failed_tokens,
        "throttled_wait_s": np.array(retries.throttled_waits_s(), np.float64),
        "retry_jitter": retries.jitter,
        "paces_calls": retries.paces,
        "retry_tokens": retries.tokens,
        "throttled_tokens": retries.throttled_tokens,
    }


def _fleet(scenario: Scenario) -> dict[str, Any]:
    """When consumers end and start again."""
    ends = kills(scenario.faults)
    graces_s = [0.0 if isinstance(end, KillConsumers) else end.grace_s or np.inf for end in ends]
    return {
        "fleet_at_s": np.array([end.at_s for end in ends], np.float64),
        "fleet_count": np.array([end.count for end in ends], np.int64),
        "fleet_grace_s": np.array(graces_s, np.float64),
        "fleet_back_s": np.array([end.restart_after_s or np.inf for end in ends], np.float64),
        "returns_unstarted": scenario.behaviour().returns_unstarted,
        **_scaling(scenario),
    }


def _scaling(scenario: Scenario) -> dict[str, Any]:
    """What the scaler does, if there is one."""
    scaling, most = scenario.scaling, scenario.consumers.instances
    if scaling is None:
        return {}
    in_sessions = scenario.semantics().hands_out == "by session"
    rule = scaling.rule(scenario.queue.provider, scenario.behaviour().most_together, in_sessions)
    return {
        "absent_at_start": most - min(scaling.starts_with, most),
        "start_up_s": scaling.start_up_s,
        "scale_every_s": rule.every_s,
        "scale_poll_s": rule.poll_s,
        "scale_lag_s": scaling.metric_lag_s,
        "scale_in_flight": rule.counts_in_flight,
        "scale_groups": rule.counts_groups,
        "scale_target": rule.target,
        "scale_tolerance": rule.tolerance,
        "scale_least": scaling.min_instances,
        "scale_up_window_s": rule.up_window_s,
        "scale_down_window_s": rule.down_window_s,
        "scale_up_share": rule.up_share,
        "scale_up_count": rule.up_count,
        "scale_activation": rule.activation,
        "scale_cooldown_s": rule.cooldown_s,
        "scale_asleep": rule.asleep,
        "scale_fallback": rule.fallback,
        "scale_failures": rule.failures,
        "scale_grace_s": scaling.lingers_s,
    }


def _slow(scenario: Scenario) -> dict[str, Any]:
    """When round trips take longer, and how much."""
    slow = [fault for fault in scenario.faults if isinstance(fault, SlowBroker | Network)]
    return {
        "slow_start_s": np.array([fault.at_s for fault in slow], np.float64),
        "slow_end_s": np.array([fault.end_s for fault in slow], np.float64),
        "slow_factor": np.array([getattr(fault, "factor", 1.0) for fault in slow], np.float64),
        "slow_extra_s": np.array([getattr(fault, "delay_s", 0.0) for fault in slow], np.float64),
    }
