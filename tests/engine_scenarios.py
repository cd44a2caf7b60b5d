"""A strategy that makes random scenarios: what a user can write, small enough for the slow engine."""

from __future__ import annotations

from typing import Any

from engine_random import Pick, Whole, by_hypothesis
from hypothesis import strategies as st

from qtune.scenario import Scenario

Section = dict[str, Any]

TRACE = "azure_llm_conv_2023.csv"
OWN = {"kind": "own"}
EVEN = {"kind": "even", "count": 3}


@st.composite
def scenarios(draw: st.DrawFn, slow_sqs: str) -> Scenario:
    """Scenarios whose choices hypothesis makes."""
    return any_scenario(*by_hypothesis(draw), slow_sqs)


def any_scenario(pick: Pick, whole: Whole, slow_sqs: str) -> Scenario:
    """Any of the providers and their clients, under any kind of load, with everything that may go wrong.

    slow_sqs: the path of a model of SQS with a broker and a client that can do little at a time.
    """
    provider = pick("sqs", "sqs", "servicebus", "servicebus", "memory")
    instances = 1 if provider == "memory" else pick(1, 1, 2, 3)
    workers = pick(1, 2, 4)
    service_s = pick(0.1, 0.02, 0.5)
    rate_per_s = instances * workers / service_s * pick(0.6, 0.2, 0.9, 1.5)
    horizon_s = min(40.0, whole(40, 250) / rate_per_s)
    queue, consumers = _sides(pick, provider, workers, service_s)
    groups = pick(None, EVEN, {"kind": "zipf", "count": 5, "exponent": 1.0}, OWN)
    failures = _failures(pick, service_s)
    handler = _handler(pick, service_s, queue, consumers)
    if handler["takes"] == "batch":  # which neither tries again nor renews, and settles all at once
        failures = {**failures, "retry": None, "rate": pick(failures["rate"], 0.3, 0.3)}
        wide = {"memory_limit_bytes", "message_memory_bytes"} if "window_s" in handler else set()
        if "message_memory_bytes" in consumers:  # room for a batch in each handler, besides those that wait
            consumers = {**consumers, "message_memory_bytes": 500}
        left_out = {"renewal", "settle_batch", *wide}  # and there is room for all that a window gathers
        consumers = {key: consumers[key] for key in consumers if key not in left_out}
    arrivals = _arrivals(pick, rate_per_s, horizon_s)
    scenario = Scenario(
        arrivals=arrivals,
        service_time=_service_time(pick, service_s, arrivals["kind"]),
        failures=failures | ({"on_failure": "abandon"} if _has_sessions(queue) else {}),
        handler=handler,
        groups=groups or (EVEN if _needs_groups(queue) else None),
        downstream=_downstream(pick, workers / service_s),
        producers=_producers(pick, provider, service_s),
        queue=queue,
        consumers={"instances": instances, "workers": workers, "cores": pick(1, 1, 2), **consumers},
        scaling=_scaler(pick, queue, instances, horizon_s),
        faults=_faults(pick, provider, rate_per_s, horizon_s) + pick((), (_end(pick, instances, horizon_s),)),
        horizon_s=horizon_s,
        model=pick(None, slow_sqs) if provider == "sqs" else None,
        seed=whole(0, 10**9),
    )
    if provider != "sqs" or pick(True, False):
        return scenario
    each = scenario.behaviour()  # a fleet that can hold more than may be in flight is refused
    return scenario.with_(queue={"in_flight_limit": instances * each.receivers * each.in_hand_limit})


def _needs_groups(queue: Section) -> bool:
    return queue.get("type") == "fifo" or _has_sessions(queue) or bool(queue.get("fair"))


def _producers(pick: Pick, provider: str, service_s: float) -> Section | None:
    batches = {
        "senders": 2,
        "batch": pick(10, 3),
        "batch_from": pick(None, 1),
        "linger_s": pick(0.0, 3.0 * service_s),
        "entry_failures": pick(0.0, 0.2) if provider == "sqs" else 0.0,
    }
    return pick(None, {"senders": 1}, {"instances": 2, "senders": 3}, batches)


def _arrivals(pick: Pick, rate_per_s: float, horizon_s: float) -> Section:
    kind = pick("poisson", "renewal", "piecewise", "bursts", "burst_at_once", "closed_loop", "trace")
    if kind == "poisson":
        return {"kind": kind, "rate_per_s": rate_per_s}
    if kind == "renewal":
        return {"kind": kind, "rate_per_s": rate_per_s, "cv": pick(1.5, 0.0, 0.5)}
    if kind == "piecewise":
        segments = [
            {"for_s": share * horizon_s, "rate_per_s": part * rate_per_s}
            for share, part in ((0.2, 1.0), (0.1, 0.0), (0.1, 4.0))
        ]
        return {"kind": kind, "segments": segments, "repeat": pick(False, True)}
    if kind == "bursts":
        means_s = {"on_mean_s": 0.1 * horizon_s, "off_mean_s": 0.2 * horizon_s}
        return {
            "kind": kind,
            "on_rate_per_s": 3.0 * rate_per_s,
            "off_rate_per_s": 0.3 * rate_per_s,
            **means_s,
        }
    if kind == "burst_at_once":
        return {"kind": kind, "messages": pick(20, 100)}
    if kind == "closed_loop":
        think_s = pick(0.05, 0.5)
        return {
            "kind": kind,
            "customers": pick(1, 5, 20),
            "think_time": {"family": "exponential", "mean_s": think_s},
        }
    return {"kind": kind, "file": TRACE, "speed": 0.2 * rate_per_s}


def _faults(pick: Pick, provider: str, rate_per_s: float, horizon_s: float) -> tuple[Section, ...]:
    window = {"at_s": 0.2 * horizon_s, "for_s": 0.2 * horizon_s}
    pause = {"kind": "pause_handlers", **window}
    few, fewer = float(max(1, int(rate_per_s))), float(max(1, int(0.3 * rate_per_s)))
    kinds = pick({}, {}, {"calls": ("settle", "renew")}, {"calls": ("receive",)})
    throttling = {"kind": "throttling", **window, "rate_per_s": pick(few, fewer), **kinds}
    outage = {"kind": "outage", **window}
    slow = {"kind": "slow_broker", **window, "factor": 4.0}
    network: Section = {"kind": "network", **window, "delay_s": 0.05}
    breaks = tuple({"kind": "drop_connections", "at_s": part * horizon_s} for part in (0.2, 0.4, 0.6, 0.8))
    lines = {"sqs": ((network,), breaks), "servicebus": ((network,),)}.get(provider, ())
    return tuple(pick((), (pause,), (throttling,), (pause, throttling), (outage,), (slow,), *lines))


def _scaler(pick: Pick, queue: Section, instances: int, horizon_s: float) -> Section | None:
    """A scaler of the provider's, in a hurry."""
    provider = queue["provider"]
    if provider == "memory" or instances == 1 or pick(True, True, False):
        return None
    every_s, kill = 0.04 * horizon_s, pick({}, {"on_scale_in": "kill"}, {"grace_s": 0.3})
    shared = {"start_up_s": pick(0.0, every_s), "metric_lag_s": pick(0.0, every_s), **kill}
    kind = pick("keda", "other")
    if kind == "keda":
        sleeps = pick(
            {"min_instances": 1},
            {"polling_interval_s": 2.0 * every_s, "cooldown_s": 3.0 * every_s},
            {"min_instances": 1, "idle_instances": 0, "polling_interval_s": every_s, "cooldown_s": every_s},
        )
        sleeps["fallback"] = pick(None, {"failure_threshold": pick(0, 1), "replicas": instances})
        window_s = {"sync_s": every_s, "scale_down_window_s": pick(0.0, 3.0 * every_s)}
        grouped = queue.get("type") == "fifo" or _has_sessions(queue)
        target = pick({"messages": 1.0}, {"messages": 4.0}, {"groups": 1.0} if grouped else {"messages": 2.0})
        return {"kind": kind, **target, **window_s, **sleeps, **shared}
    if provider == "servicebus":
        return {"kind": "functions", "executions": 2.0, "every_s": every_s, "start_instances": 1, **shared}
    after_s = {"scale_out_after_s": 2.0 * every_s, "scale_in_after_s": 3.0 * every_s}
    return {"kind": "target_tracking", "backlog": 4.0, "every_s": every_s, **after_s, **shared}


def _end(pick: Pick, instances: int, horizon_s: float) -> Section:
    back_s, count = pick(0.1 * horizon_s, None), pick(1, instances)
    when = {"at_s": 0.5 * horizon_s, "count": count, "restart_after_s": back_s}
    if pick(False, False, True):
        return {"kind": "kill_consumers", **when}
    return {"kind": "drain_consumers", "grace_s": pick(None, 0.3), **when}


def _service_time(pick: Pick, mean_s: float, arrivals: str) -> Section:
    if arrivals == "trace" and pick(True, False):
        return {"family": "hints", "mean_s": mean_s}
    family = pick("exponential", "constant", "lognormal", "gamma", "weibull", "uniform", "empirical")
    if family == "uniform":
        return {"family": family, "low_s": 0.5 * mean_s, "high_s": 1.5 * mean_s}
    if family == "empirical":
        return {"family": family, "samples_s": (0.5 * mean_s, mean_s, 1.5 * mean_s)}
    cv = {"cv": pick(0.5, 1.5)} if family in {"lognormal", "gamma", "weibull"} else {}
    return {"family": family, "mean_s": mean_s, **cv}


def _failures(pick: Pick, service_s: float) -> Section:
    retry = {"attempts": 3, "base_s": 0.5 * service_s, "factor": 3.0, "ceiling_s": service_s}
    retry["jitter"] = pick(0.0, 0.5)
    return {
        "rate": pick(0.0, 0.02, 0.3),
        "poison": pick(0.0, 0.0, 0.05),
        "on_failure": pick("abandon", "lock_expiry"),
        "retry": pick(None, None, retry),
    }


def _downstream(pick: Pick, rate_per_s: float) -> Section | None:
    bound = pick(
        None,
        None,
        {"connections": 1},
        {"connections": 3, "rate_per_s": 1.1 * rate_per_s},
        {"rate_per_s": 0.8 * rate_per_s, "burst": 3},
    )
    full: Section = pick({}, {"when_full": "reject"}, {"when_full": "reject", "refusal_s": 0.02})
    return {**bound, **full} if bound else None


def _handler(pick: Pick, service_s: float, queue: Section, consumers: Section) -> Section:
    """A handler that takes batches, where a client can hand it any."""
    brings, polling = consumers.get("receive_batch", 1), consumers.get("polling")
    brings = 10 if "adaptive_batch" in consumers else brings
    ordered = queue.get("type") == "fifo" and consumers.get("keep_group_order") is not False
    can = (
        brings > 1
        and not ordered
        and polling != "permits"
        and consumers.get("client") not in ("azure-processor", "azure-functions")
        and not _has_sessions(queue)
    )
    if not can or pick(False, False, True):
        return {"takes": "message", "cpu_share": pick(0.0, 0.0, 0.4), **_breaker(pick, service_s)}
    failure = pick("whole", "partial")
    loop = "adaptive_batch" not in consumers and polling == "loop"
    window: Section = {}
    if loop:
        some = {"window_s": pick(0.3, 2.0), "most": pick(None, 3 * brings)}
        window = pick({}, some, some, some)
    return {
        "takes": "batch",
        "cpu_share": pick(0.0, 0.0, 0.4),
        **(_breaker(pick, service_s) if failure == "whole" else {}),
        "most": pick(None, 2, brings),
        **window,
        "batch_time": pick("sum", "longest"),
        "per_call_s": pick(None, 0.5 * service_s),
        "failure": failure,
    }


def _breaker(pick: Pick, service_s: float) -> Section:
    """A circuit breaker that opens for a few failures."""
    breaker = {"failure_rate": pick(0.2, 0.5), "window": pick(2, 10), "open_for_s": 5.0 * service_s}
    return {"circuit_breaker": pick(None, None, {**breaker, "half_open_calls": pick(1, 3)})}


def _sides(pick: Pick, provider: str, workers: int, service_s: float) -> tuple[Section, Section]:
    """The queue and what its consumers add to a fleet, in the provider's words."""
    lock_s = pick(30.0, 10.0 * service_s, 2.0 * service_s, 0.6 * service_s)
    shared: Section = {
        "drop_expired": pick(False, True),
        "renewal": pick(None, None, {"max_s": pick(60.0, 2.5 * lock_s), "renewers": 1}, {"max_s": 60.0}),
    }
    if provider == "servicebus":
        queue = {"lock_duration_s": lock_s, "max_delivery_count": pick(10, 1, 3)}
        tier = pick(
            {"tier": "premium"},
            {"tier": "standard"},
            {"tier": "standard", "credits_per_s": 30.0, "settle_credits": pick(0, 1)},
        )
        ttl = {"message_ttl_s": pick(None, 10.0 * service_s)}
        sections = {"provider": provider, **queue, **tier, **ttl}, {**shared, **_servicebus_client(pick)}
        return _with_sessions(pick, *sections, workers) if pick(False, True) else sections
    if provider == "memory":
        queue = {
            "max_queue_size": pick(10_000, 2, 8),
            "when_full": pick("block", "reject"),
            "lock_duration_s": lock_s,
            "max_delivery_count": pick(3, 1),
            "persistence_s": pick(None, None, 0.1 * service_s),
            "message_ttl_s": pick(None, 10.0 * service_s),
        }
        if pick(False, False, True):
            own = {"lock_duration_s", "persistence_s"}
            queue = {name: value for name, value in queue.items() if name not in own}
            _, held = _with_sessions(pick, queue, shared, workers)
            held = {name: value for name, value in held.items() if name not in ("client", "prefetch")}
            return {"provider": provider, "session_lock_duration_s": lock_s, **queue}, held
        client = {
            "settle": pick("each", "concurrent"),
            "receive_wait_s": 1.0,
            **_polling(pick, own_loops=False),
        }
        return {"provider": provider, **queue}, {**shared, **client}
    queue = {"visibility_timeout_s": lock_s, "max_receive_count": pick(None, 1, 3)}
    queue["delay_s"] = pick(0.0, 0.0, 3.0 * service_s)
    queue["fair"] = pick(False, False, True)
    if pick(False, False, True):
        queue["fair"] = False
        queue["type"] = "fifo"
        shared = {**shared, "keep_group_order": pick(None, True, False)}
    settle = pick({"settle": "each"}, {"settle": "concurrent"}, {"settle": "batch", "settle_batch": 5})
    if settle["settle"] == "batch":
        settle = {**settle, "settle_entry_failures": pick(0.0, 0.3)}
    waiting = pick(
        {"receive_wait_s": 20.0}, {"receive_wait_s": 0.05}, {"receive_wait_s": 0.0, "idle_pause_s": 0.1}
    )
    retries = {"retry_mode": pick(None, "legacy", "adaptive"), "max_attempts": pick(None, None, 1)}
    retries["max_pool_connections"] = pick(None, 1, 2)
    turn = {"count": pick(1, 2), "turn": {"family": "exponential", "mean_s": service_s}}
    retries["other_queues"] = pick(None, None, turn)
    memory = pick({}, {}, {"memory_limit_bytes": 40_000, "message_memory_bytes": pick(1_000, 500)})
    client = {**settle, **waiting, **_polling(pick, own_loops=True), **retries, **memory}
    return {"provider": provider, **queue}, {**shared, **client}


def _polling(pick: Pick, *, own_loops: bool) -> Section:
    batch = pick(1, 4, 10)
    kind = pick("loop", "loop", "permits", "buffer") if own_loops else pick("permits", "buffer")
    if kind == "buffer":
        return {"polling": kind, "buffer": pick(12, 30), "receive_batch": batch}
    if kind == "loop" and pick(False, True):
        return {"adaptive_batch": {"min": 1, "max": 10, "target_duration_s": pick(0.1, 0.4)}}
    return {"polling": kind, "receive_batch": batch}


def _has_sessions(queue: Section) -> bool:
    return "requires_session" in queue or "session_lock_duration_s" in queue


def _with_sessions(pick: Pick, queue: Section, consumers: Section, workers: int) -> tuple[Section, Section]:
    """The same with sessions, which only one client of Service Bus has."""
    renewal = consumers["renewal"] and {"max_s": consumers["renewal"]["max_s"]}
    held: Section = {
        "client": pick("azure-processor", "azure-functions"),
        "prefetch": pick(0, 0, 5),
        "settle": pick("each", "concurrent"),
        "sessions": pick(None, workers, workers // 2 or 1),
        "session_idle_timeout_s": pick(None, 0.5, 0.1),
        "drop_expired": consumers["drop_expired"],
        "renewal": renewal,
    }
    return {**queue, "requires_session": True}, held


def _servicebus_client(pick: Pick) -> Section:
    client = pick("azure-servicebus-7.15", "azure-servicebus-7.14", "azure-processor")
    if client == "azure-processor":
        credit = pick("settled", "taken")
        return {
            "client": pick(client, "azure-functions"),
            "prefetch": pick(0, 2, 20),
            "credit_returned": credit,
            "settle": pick("each", "concurrent"),
        }
    return {
        "client": client,
        "prefetch": pick(0, 0, 1, 15),
        "receive_batch": pick(1, 3, 10, 10),
        "receive_wait_s": pick(60.0, 0.5, 0.5),
        "settle": "each",
    }
