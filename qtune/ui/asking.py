"""What commands ask for and answer in the same way: a scenario, JSON, a file that is new, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import qtune
from qtune.ui import text

ANSWER_IS_NO = 1
EXAMPLE = "llm-conversations"

ScenarioFile = Annotated[
    str | None,
    typer.Argument(metavar="[SCENARIO]", help=f"A scenario file or a shipped example; default: {EXAMPLE}."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document, and nothing else, to stdout.")]

Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "--endpoint-url",
        help="SQS: a server's URL. Service Bus: a namespace, or host:port of `qtune emulator`.",
    ),
]
QueueName = Annotated[
    str | None, typer.Option(help="A queue that is there, instead of one made for the run and removed.")
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Use that queue although it holds messages: they are deleted.")
]
ModelName = Annotated[
    str | None,
    typer.Option(
        help="A provider model: NAME for models/NAME.yaml, as `qtune calibrate` writes it, or a path."
    ),
]


def scenario_of(name: str | None, as_json: bool, model: str | None = None) -> tuple[Path, qtune.Scenario]:
    """The scenario in a file, or the shipped example of that name, and its file; ``model`` replaces its model."""
    path = Path(name or EXAMPLE)
    if name is None or not path.exists():
        examples = qtune.catalogue().examples
        if name is None:
            said = f"no scenario was named: this is the shipped example {EXAMPLE} ({examples[EXAMPLE]})"
            (text.tell if as_json else text.print_line)(said)
        path = examples.get(str(path), path)
    scenario = qtune.load_scenario(path)
    return path, scenario if model is None else scenario.with_(model=model)


def finish_no(no: qtune.AnswerIsNo, as_json: bool) -> None:
    """Print why the answer is no."""
    if as_json:
        text.write_json({"answer": "no", "reason": str(no), "data": no.data})
    else:
        text.print_line(str(no))


def check_new(path: Path, where: str) -> None:
    """Refuse a file that exists: nothing is overwritten."""
    if path.exists():
        raise typer.BadParameter(
            f"{path} exists and is not overwritten: choose another name", param_hint=where
        )


def finish(report: text.Answer, as_json: bool) -> None:
    """Print a report, and end with the exit code of its answer."""
    if as_json:
        text.write_json(report.data)
    else:
        text.print_report(report)
    if report.good is False:
        raise typer.Exit(ANSWER_IS_NO)
