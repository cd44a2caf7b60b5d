"""`qtune calibrate`: a provider model fitted to runs on a real queue, which says how wrong it is."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Protocol

import typer

import qtune
from qtune.ui import text
from qtune.ui.asking import ANSWER_IS_NO, AsJson, Endpoint, QueueName, TakeOver, check_new
from qtune.ui.figures import calibration_figure
from qtune.ui.progress import Steps, make_ready, progress

Provider = Literal["sqs", "servicebus", "memory"]

_FOLDER = Path("models")


class Now(Protocol):
    """How far a calibration is."""

    @property
    def doing(self) -> str:
        """What it does."""

    @property
    def done_s(self) -> float:
        """Seconds of its runs that are over."""

    @property
    def of_s(self) -> float:
        """Seconds of all its runs."""


class Teller:
    """Says at once what is begun, and then now and then how far it is."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._doing = ""

    def tell(self, now: Now) -> None:
        """Say it."""
        if now.doing != self._doing:
            self._steps.say(now.doing)
            self._doing = now.doing
        self._steps.at(f"{now.doing}, seconds of all", int(now.done_s), int(now.of_s))


class Expense(Protocol):
    """What is told before a calibration is begun."""

    @property
    def usd(self) -> float:
        """What it costs."""

    @property
    def text(self) -> str:
        """All that it takes."""


ProviderName = Annotated[Provider, typer.Option("--provider", help="Whose queue it is.")]
Name = Annotated[
    str | None, typer.Option(help="Of the model, which goes to models/NAME.yaml; default: provider and date.")
]
Client = Annotated[
    str | None, typer.Option(help="The client library; default: that of the SDK that is installed.")
]
Tier = Annotated[str | None, typer.Option(help="Of a Service Bus namespace: standard or premium.")]
KeptRuns = Annotated[
    Path | None,
    typer.Option("--runs", help="The folder that keeps every run, to go on from; default: models/NAME-runs."),
]
RunTime = Annotated[float, typer.Option(help="Seconds of each run; longer ones are surer.")]
HeldOut = Annotated[int, typer.Option(help="How many settings are predicted, of up to 9.")]
WithNoise = Annotated[
    bool, typer.Option("--noise", help="Measure one setting five times, to show how much that varies.")
]
Busiest = Annotated[
    float, typer.Option(help="Runs on a machine that was busier than this share of its cores are not fitted.")
]
FigureFile = Annotated[Path | None, typer.Option(help="Draw predicted against measured into this HTML file.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before it costs money.")]


def calibrate(
    provider: ProviderName,
    endpoint: Endpoint = None,
    queue: QueueName = None,
    take_over: TakeOver = False,
    name: Name = None,
    client: Client = None,
    tier: Tier = None,
    runs: KeptRuns = None,
    run_time: RunTime = 10.0,
    held_out: HeldOut = 9,
    noise: WithNoise = False,
    busiest: Busiest = 0.85,
    figure: FigureFile = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Fit a provider's model to runs on a real queue, then predict other runs and say how far it was off.

    An idle queue, moderate loads and saturated ones are measured, and the model is fitted to them. It predicts settings
    that it has not seen; these are measured too, and their errors are written into the model. Use it with
    `qtune recommend --model NAME`. On a provider's own servers the runs cost what their calls cost, so that is asked
    first. When the model predicts worse than it should, the exit code is 1; it is written all the same.
    """
    called = name or f"{provider}-{date.today()}"
    to = _FOLDER / f"{called}.yaml"
    check_new(to, "--name")
    if figure is not None:
        _check_figure(figure)
    with ExitStack() as stack:
        shown: list[Teller] = []

        def agree(expense: Expense) -> None:
            _ask(expense, yes)
            steps = stack.enter_context(progress())
            make_ready(steps)
            shown.append(Teller(steps))

        found = qtune.calibrate(
            provider,
            name=called,
            endpoint=endpoint,
            queue=queue,
            takes_over=take_over,
            client=client,
            tier=tier,
            runs=runs if runs is not None else _FOLDER / f"{called}-runs",
            run_s=run_time,
            held_out=held_out,
            noise=noise,
            busiest=busiest,
            agree=agree,
            watch=lambda now: shown[0].tell(now),
        )
    _FOLDER.mkdir(exist_ok=True)
    written = qtune.export(found, to)
    if figure is not None:
        calibration_figure(found.curves()).write_html(figure)
        text.tell(f"qtune: the figure is in {figure}")
    report = qtune.describe(found)
    if as_json:
        text.write_json({**report.data, "model": str(written)})
    else:
        text.print_report(report)
        text.write(
            f"\nwrote {written}\nto use it: qtune recommend SCENARIO --model {called} --target p95=500ms\n"
        )
    if report.good is False:
        raise typer.Exit(ANSWER_IS_NO)


def _check_figure(path: Path) -> None:
    """Refuse a figure that could not be written when all is measured."""
    check_new(path, "--figure")
    if find_spec("plotly") is None:
        raise typer.BadParameter("plotly draws it: pip install 'qtune[notebook]'", param_hint="--figure")


def _ask(expense: Expense, yes: bool) -> None:
    """Say what it takes, and ask before money is spent."""
    text.tell(f"qtune: {expense.text}")
    if yes or not expense.usd:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("that costs money: add --yes", param_hint="calibrate")
    if not typer.confirm("Begin?", err=True):
        raise typer.Exit(ANSWER_IS_NO)
