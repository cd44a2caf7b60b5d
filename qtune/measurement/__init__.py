"""Measured runs: the load of a scenario on a real queue, with rows like those of a simulation."""

from __future__ import annotations

from contextlib import ExitStack

from qtune.measurement.live import Live, Watch
from qtune.measurement.metrics import metrics_at
from qtune.measurement.notebook_line import notebook_line
from qtune.measurement.run import run_on
from qtune.measurement.where import adapter_of
from qtune.result import Result
from qtune.scenario import Scenario

__all__ = ["Live", "Watch", "adapter_of", "measure", "run_on"]


def measure(
    scenario: Scenario,
    *,
    endpoint: str | None = None,
    queue: str | None = None,
    takes_over: bool = False,
    seed: int | None = None,
    watch: Watch | None = None,
    metrics_port: int | None = None,
) -> Result:
    """Run a scenario on a real queue, in real time up to its horizon, with real processes.

    endpoint: where the provider is. SQS: the URL of a server; None: AWS, as boto3 is configured. Service Bus: the name
        of a namespace, whose identity azure-identity finds, or "host:port" of `qtune emulator servicebus`; None: the
        connection string in the environment variable SERVICEBUS_CONNECTION_STRING. Memory: None.
    queue: the name of a queue that is there, to use instead of one that is made for the run and removed after it, also
        after Ctrl-C. takes_over: use it although it holds messages, which are deleted.
    seed: of the workload; None takes the scenario's own. :func:`qtune.simulate` with it has the same messages.
    watch: shown about once a second how the run goes. None: in a notebook a line below the cell, otherwise nothing.
    metrics_port: serve Prometheus metrics of the run there, on the loopback interface, while it lasts; None: do not.
        They have the names and buckets of the queue-runtime crate, so that its dashboards show a measured run too.

    The result holds the scenario as it was run: without producers it gets eight senders, as a queue needs some.
    InputError for what is simulated and cannot be measured; ProviderFailure when the broker cannot be reached.
    """
    adapter = adapter_of(scenario, endpoint=endpoint, queue=queue, takes_over=takes_over)
    with ExitStack() as stack:
        watches = [watch if watch is not None else stack.enter_context(notebook_line())]
        if metrics_port is not None:
            watches.append(stack.enter_context(metrics_at(metrics_port)))
        wanted = [one for one in watches if one is not None]

        def show(live: Live) -> None:
            for one in wanted:
                one(live)

        return run_on(scenario, adapter, seed=seed, watch=show if wanted else None)
