"""Prometheus metrics of a measured run, with the names and buckets of the queue-runtime page on performance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from qtune.errors import InputError, Problem
from qtune.measurement.live import Live, Watch

DURATION_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
BATCH_BUCKETS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PORTS: Final = (1024, 65535)


@contextmanager
def metrics_at(port: int) -> Iterator[Watch]:
    """Serve the metrics of a run on this port of the loopback interface, as long as the context lasts.

    port: 1024 to 65535. What is yielded takes each look at the run; counters grow by what it brought.

    ``queue_runtime_messages_processed_total`` counts completed messages,
    ``queue_runtime_processing_duration_seconds`` has the time of each handler, ``queue_runtime_batch_sizes`` what each
    receive brought that was not empty, ``queue_runtime_errors_total`` errors by ``cause``: handler, call, lock_lost.
    InputError for a port that is out of range or taken, and without the package prometheus-client.
    """
    try:
        import prometheus_client as prometheus
    except ModuleNotFoundError as missing:
        message = "prometheus-client is not installed: pip install 'qtune[metrics]'"
        raise InputError(Problem(where="metrics_port", value=str(port), message=message)) from missing
    if not PORTS[0] <= port <= PORTS[1]:
        message = f"a port from {PORTS[0]} to {PORTS[1]} is needed"
        raise InputError(Problem(where="metrics_port", value=str(port), message=message))
    registry = prometheus.CollectorRegistry()
    completed = prometheus.Counter(
        "queue_runtime_messages_processed", "Messages that were completed", registry=registry
    )
    duration = prometheus.Histogram(
        "queue_runtime_processing_duration_seconds",
        "Time of a handler",
        buckets=DURATION_BUCKETS_S,
        registry=registry,
    )
    sizes = prometheus.Histogram(
        "queue_runtime_batch_sizes", "Messages of a receive", buckets=BATCH_BUCKETS, registry=registry
    )
    errors = prometheus.Counter("queue_runtime_errors", "Errors by their cause", ["cause"], registry=registry)
    for cause in ("handler", "call", "lock_lost"):
        errors.labels(cause)
    try:
        server, thread = prometheus.start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as taken:
        message = f"nothing can listen there ({taken.strerror}): name another port"
        raise InputError(Problem(where="metrics_port", value=str(port), message=message)) from taken
    before = 0

    def take(live: Live) -> None:
        nonlocal before
        completed.inc(live.completed - before)
        before = live.completed
        for handled_s in live.handled_s:
            duration.observe(handled_s)
        for count in live.received:
            sizes.observe(count)
        for cause, number in live.errors.items():
            errors.labels(cause).inc(number)

    try:
        yield take
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
