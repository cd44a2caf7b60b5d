"""Rules of the in-memory queue that change throughput, latency or loss: simulated, or why not."""

from __future__ import annotations

from qtune.providers.base import Rule, modelled

_CRATE = "queue-runtime 0.1.0, in-memory provider, source"
_SPEC = "queue-runtime 0.2.0, Performance Optimization, in-memory queues"


RULES: tuple[Rule, ...] = (
    modelled(
        "the queue holds max_queue_size messages",
        _SPEC,
        setting="queue.max_queue_size",
    ),
    modelled(
        "a send to a full queue waits or is refused",
        _SPEC,
        setting="queue.when_full",
    ),
    modelled(
        "a message that was delivered more often than max_delivery_count is dead-lettered",
        _CRATE,
        setting="queue.max_delivery_count",
        as_of="2026-01",
    ),
    modelled(
        "a message is lost when its time to live ends",
        _CRATE,
        setting="queue.message_ttl",
        as_of="2026-01",
    ),
    modelled(
        "a channel buffer between the queue and its workers",
        _SPEC,
        setting="consumers.buffer",
    ),
    modelled(
        "worker threads in one process share its cores",
        _SPEC,
        setting="consumers.workers",
    ),
    modelled(
        "a receive returns up to 100 messages",
        _CRATE,
        setting="consumers.receive_batch",
        as_of="2026-01",
    ),
    modelled(
        "persistence to a file, which calls write one after the other; what a write costs is for the user to measure",
        _SPEC,
        setting="queue.persistence",
    ),
    modelled(
        "a session is locked as a whole, for 5 min; that one without a message for 1 s is closed is assumed",
        _CRATE,
        setting="queue.session_lock_duration",
        as_of="2026-01",
    ),
)
