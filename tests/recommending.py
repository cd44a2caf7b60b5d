"""Small scenarios to recommend for, fast enough to search in a test."""

from __future__ import annotations

from typing import Any

from qtune.scenario import Scenario


def in_memory(rate_per_s: float = 50.0, service: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """A queue in memory, whose calls take next to no time, before consumers with cores to spare."""
    values: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": rate_per_s},
        "service_time": service or {"family": "lognormal", "mean_s": 0.1, "cv": 0.5},
        "queue": {"provider": "memory", "max_queue_size": 1_000_000, "lock_duration_s": 5.0},
        "consumers": {"workers": 8, "receive_batch": 1, "polling": "permits", "cores": 64},
        "horizon_s": 200.0,
    }
    return Scenario(**{**values, **changes})


def on_sqs(rate_per_s: float = 20.0, **changes: Any) -> Scenario:
    """An SQS queue with cheap instances, so that the bill is mostly one of requests."""
    values: dict[str, Any] = {
        "arrivals": {"kind": "poisson", "rate_per_s": rate_per_s},
        "service_time": {"family": "exponential", "mean_s": 0.05},
        "queue": {"provider": "sqs", "visibility_timeout_s": 10.0, "max_receive_count": 5},
        "consumers": {"workers": 2, "receive_wait_s": 20.0, "instance_price_usd_per_hour": 0.01},
        "horizon_s": 200.0,
    }
    return Scenario(**{**values, **changes})


PINNED = ("consumers.polling", "consumers.receive_batch", "consumers.receivers", "consumers.settle")
"""What is kept where a test is about the number of workers only."""
