"""Measured runs: the load of a scenario on a real queue, with rows like those of a simulation."""

from __future__ import annotations

from qtune.measurement.run import Watch, run_on
from qtune.measurement.where import adapter_of
from qtune.result import Result
from qtune.scenario import Scenario

__all__ = ["Watch", "adapter_of", "measure", "run_on"]


def measure(
    scenario: Scenario,
    *,
    endpoint: str | None = None,
    queue: str | None = None,
    takes_over: bool = False,
    seed: int | None = None,
    watch: Watch | None = None,
) -> Result:
    """Run a scenario on a real queue, in real time up to its horizon, with real processes.

    endpoint: where the provider is. SQS: the URL of a server; None: AWS, as boto3 is configured. Service Bus: the name
        of a namespace, whose identity azure-identity finds, or "host:port" of `qtune emulator servicebus`; None: the
        connection string in the environment variable SERVICEBUS_CONNECTION_STRING. Memory: None.
    queue: the name of a queue that is there, to use instead of one that is made for the run and removed after it, also
        after Ctrl-C. takes_over: use it although it holds messages, which are deleted.
    seed: of the workload; None takes the scenario's own. :func:`qtune.simulate` with it has the same messages.
    watch: called now and then with the seconds that are over and those there are.

    The result holds the scenario as it was run: without producers it gets eight senders, as a queue needs some.
    InputError for what is simulated and cannot be measured; ProviderFailure when the broker cannot be reached.
    """
    adapter = adapter_of(scenario, endpoint=endpoint, queue=queue, takes_over=takes_over)
    return run_on(scenario, adapter, seed=seed, watch=watch or (lambda done_s, of_s: None))
