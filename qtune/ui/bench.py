"""`qtune bench`: a scenario on a real queue, beside the simulation of the same messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import qtune
from qtune.ui import text
from qtune.ui.asking import (
    AsJson,
    Endpoint,
    ModelName,
    QueueName,
    ScenarioFile,
    TakeOver,
    check_new,
    finish,
    scenario_of,
)
from qtune.ui.progress import make_ready, progress


def bench(
    scenario: ScenarioFile = None,
    endpoint: Endpoint = None,
    queue: QueueName = None,
    take_over: TakeOver = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the messages; default: the scenario's.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="On the provider's own servers, where calls cost money.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics of the run on this port of 127.0.0.1.")
    ] = None,
    model: ModelName = None,
    save: Annotated[Path | None, typer.Option(help="Keep the rows of the run in this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario on a real queue in real time, and show it beside the simulation of the same messages.

    Consumers and producers run as processes of their own, with the provider's SDK; handlers wait, or burn processor
    time, as the scenario says. The queue is made before the run and removed after it, also after Ctrl-C. Credentials
    are found by the SDK. On a provider's own servers the run costs what its calls cost, so that needs --yes.
    """
    if save is not None:
        check_new(save.with_suffix(".npz"), "--save")
    _, given = scenario_of(scenario, as_json, model)
    provider = given.queue.provider
    if endpoint is None and provider != "memory" and not yes:
        raise typer.BadParameter(
            f"{given.name} would run for {given.horizon_s:g} s on servers of {provider}, for which you pay: add --yes, "
            "or name a server of your own with --endpoint, such as that of `qtune emulator`",
            param_hint="bench",
        )
    with progress() as steps:
        measured = qtune.measure(
            given,
            endpoint=endpoint,
            queue=queue,
            takes_over=take_over,
            seed=seed,
            watch=lambda live: steps.at(str(live)),
            metrics_port=metrics_port,
        )
        if save is not None:
            text.tell(f"qtune: the rows of the run are in {measured.save(save)}")
        make_ready(steps)
        simulated = qtune.simulate(measured.scenario, seed=measured.seed)
    finish(qtune.describe([measured, simulated]), as_json)
