"""Settings whose capacity and floor are held against runs: every provider, client and resource that can bind."""

from __future__ import annotations

from typing import Any

SQS: dict[str, Any] = {"provider": "sqs", "visibility_timeout_s": 300.0}
BUS: dict[str, Any] = {"provider": "servicebus", "tier": "standard", "lock_duration_s": 300.0}
PYTHON = "azure-servicebus-7.15"
SETTINGS: dict[str, dict[str, Any]] = {
    "sqs loop": {"queue": SQS, "consumers": {"workers": 4, "receive_wait_s": 20.0}},
    "sqs loop of batches": {
        "queue": SQS,
        "consumers": {"workers": 4, "receivers": 1, "receive_batch": 10, "receive_wait_s": 20.0},
    },
    "sqs permits": {
        "queue": SQS,
        "consumers": {
            "workers": 8,
            "receivers": 1,
            "polling": "permits",
            "receive_batch": 10,
            "receive_wait_s": 20.0,
            "settle": "batch",
            "settle_batch": 10,
        },
    },
    "sqs buffer": {
        "queue": SQS,
        "consumers": {
            "workers": 4,
            "receivers": 2,
            "polling": "buffer",
            "buffer": 20,
            "receive_batch": 10,
            "receive_wait_s": 20.0,
            "settle": "concurrent",
        },
    },
    "bus, one at a time": {"queue": BUS, "consumers": {"workers": 4, "client": PYTHON}},
    "bus, batches": {"queue": BUS, "consumers": {"workers": 4, "client": PYTHON, "receive_batch": 5}},
    "bus, prefetch": {"queue": BUS, "consumers": {"workers": 4, "client": PYTHON, "prefetch": 9}},
    "bus, settled ahead": {"queue": BUS, "consumers": {"workers": 4, "client": "azure-servicebus-7.14"}},
    "bus, processor": {"queue": BUS, "consumers": {"workers": 4, "client": "azure-processor"}},
    "bus, credit for takers": {
        "queue": BUS,
        "consumers": {"workers": 4, "client": "azure-processor", "credit_returned": "taken", "prefetch": 1},
    },
    "memory": {
        "queue": {"provider": "memory", "max_queue_size": 100_000, "when_full": "block"},
        "consumers": {"workers": 4, "receive_wait_s": 1.0, "polling": "permits"},
    },
    "failures": {
        "queue": {**SQS, "visibility_timeout_s": 5.0, "max_receive_count": 3},
        "consumers": {"workers": 4, "receive_wait_s": 20.0},
        "failures": {
            "rate": 0.2,
            "poison": 0.05,
            "retry": {"attempts": 2, "base_s": 0.02},
            "on_failure": "abandon",
        },
    },
    "senders of batches": {
        "queue": SQS,
        "consumers": {"workers": 40, "receive_wait_s": 20.0},
        "producers": {"senders": 1, "batch": 3},
    },
    "senders": {
        "queue": SQS,
        "consumers": {"workers": 40, "receive_wait_s": 20.0},
        "producers": {"instances": 1, "senders": 2},
    },
    "messaging units": {
        "queue": {**BUS, "tier": "premium", "messaging_units": 2},
        "message_size_bytes": 80_000,
        "consumers": {"workers": 12, "client": "azure-processor", "prefetch": 20},
    },
    "credits": {
        "queue": {**BUS, "credits_per_s": 50.0},
        "consumers": {"workers": 8, "client": "azure-processor", "prefetch": 20},
    },
    "batches in turn": {
        "queue": SQS,
        "handler": {"takes": "batch", "per_call_s": 0.05},
        "consumers": {"workers": 4, "receive_batch": 10, "receive_wait_s": 20.0, "settle": "batch"},
    },
    "batches at once": {
        "queue": SQS,
        "handler": {"takes": "batch", "batch_time": "longest", "most": 5},
        "consumers": {
            "workers": 4,
            "receivers": 1,
            "polling": "buffer",
            "buffer": 40,
            "receive_batch": 10,
            "receive_wait_s": 20.0,
        },
    },
    "bus, batches at once": {
        "queue": BUS,
        "handler": {"takes": "batch", "batch_time": "longest"},
        "consumers": {"workers": 4, "client": PYTHON, "receive_batch": 5},
    },
    "downstream pool": {
        "queue": SQS,
        "consumers": {"workers": 10, "receive_wait_s": 20.0},
        "downstream": {"connections": 3},
    },
    "downstream rate": {
        "queue": SQS,
        "consumers": {"workers": 10, "receive_wait_s": 20.0},
        "failures": {"rate": 0.2, "retry": {"attempts": 2}},
        "downstream": {"rate_per_s": 50.0, "burst": 5},
    },
    "downstream that refuses": {
        "queue": {**SQS, "visibility_timeout_s": 1.0},
        "consumers": {"workers": 10, "receive_wait_s": 20.0},
        "failures": {"on_failure": "lock_expiry", "retry": {"attempts": 5, "base_s": 0.01}},
        "downstream": {"connections": 3, "when_full": "reject"},
    },
    "handlers on cores": {
        "queue": SQS,
        "handler": {"cpu_share": 0.5},
        "consumers": {"workers": 12, "cores": 2, "receive_wait_s": 20.0},
    },
    "client cores": {
        "queue": SQS,
        "consumers": {"workers": 400, "receive_wait_s": 20.0},
        "service_time": {"family": "constant", "mean_s": 0.02},
    },
}
