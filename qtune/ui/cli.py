"""The `qtune` command. Nothing heavy is loaded before a command needs it, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

import qtune
from qtune.ui import bench, calibrate, emulator, text
from qtune.ui.asking import AsJson, ModelName, ScenarioFile, check_new, finish, finish_no, scenario_of
from qtune.ui.progress import make_ready, progress
from qtune.ui.starting import Provider, starting_text

BAD_INPUT, UNEXPECTED, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(emulator.app)
app.command(short_help="Run a scenario on a real queue, and compare it with its prediction.")(bench.bench)
app.command(short_help="Fit a provider's model to a real queue.")(calibrate.calibrate)

Engine = Literal["kernel", "reference"]

UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]  # typer does not name it itself


@app.callback(invoke_without_command=True)
def _qtune(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Tune the consumers of message queues: simulate, recommend, and say how sure the answer is.

    Exit codes: 0 the answer is yes; 1 it is no (unstable, no setting meets the targets, an assertion fails);
    2 bad input; 3 a provider failed; 70 a bug in qtune; 130 interrupted.
    """
    if version:
        text.write(f"qtune {qtune.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        text.tell(context.get_help())
        raise typer.Exit(BAD_INPUT)


@app.command(short_help="Predict what a scenario does, and whether it keeps up.")
def simulate(
    scenario: ScenarioFile = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the first run; default: the scenario's.")
    ] = None,
    replications: Annotated[
        int | None, typer.Option(min=1, help="So many runs with different seeds. With --width: at most.")
    ] = None,
    width: Annotated[
        str | None, typer.Option(help="Run until the p95 is known to this share of it; default 5%.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="kernel is compiled; reference is SimPy.")] = "kernel",
    save: Annotated[
        Path | None, typer.Option(help="Keep the rows of the first run in this .npz file.")
    ] = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Predict what a scenario does: whether it keeps up, how late messages are, at what cost, and why.

    A preset that `qtune recommend` wrote repeats its runs, unless you say which runs to make.
    """
    if save is not None:
        check_new(save.with_suffix(".npz"), "--save")
    path, given = scenario_of(scenario, as_json, model)
    tuned = qtune.load_tuned(path)
    repeats = seed is None and replications is None and width is None
    with progress() as steps:
        if engine == "kernel":
            make_ready(steps)
        summary = qtune.predict(
            given,
            seed=seed,
            seeds=tuned.seeds if tuned is not None and repeats else None,
            replications=replications,
            width=width,
            engine=engine,
            progress=lambda done, of: steps.at("simulating", done, of),
        )
        if save is not None:
            rows = qtune.simulate(given, seed=summary.seeds[0], engine=engine).save(save)
            text.tell(f"qtune: the rows of the run with seed {summary.seeds[0]} are in {rows}")
    report = qtune.describe(summary)
    if tuned is not None and repeats:
        _compare(tuned.differences(summary), path)
    finish(report, as_json)


@app.command(short_help="Find the cheapest setting that meets targets.")
def recommend(
    scenario: ScenarioFile = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Such as p95=500ms, or production or development; may be given more than once."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Start from this preset's queue and consumers; see `qtune models`.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A setting not to change, such as prefetch; more than once.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="The file to write the answer to; default: SCENARIO-tuned.yaml.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The first of all seeds; default: the scenario's.")
    ] = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Find the cheapest setting that meets every target, say how sure that is, and write it to a file.

    When no setting meets them, the answer is no, and why (exit code 1). The file is a scenario: `qtune simulate`
    with it gives the predicted figures again. A file that exists is never overwritten: a number is added to the name.
    """
    if not target:
        raise typer.BadParameter(_targets_text(), param_hint="--target")
    path, given = scenario_of(scenario, as_json, model)
    targets = qtune.Targets.parse(target)
    if preset is not None:
        given = given.using(qtune.load_preset(preset))
    to = export if export is not None else Path(f"{path.stem}-tuned.yaml")
    if not to.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {to.parent}", param_hint="--export")
    try:
        with progress() as steps:
            make_ready(steps)
            found = qtune.recommend(
                given,
                targets,
                seed=seed,
                keep=[name if "." in name else f"consumers.{name}" for name in keep or ()],
                on_progress=lambda now: steps.at(f"{now.stage}: {now.candidates} settings, {now.runs} runs"),
            )
    except qtune.AnswerIsNo as no:
        finish_no(no, as_json)
        raise typer.Exit(no.exit_code) from None
    report = qtune.describe(found)
    written = qtune.export(found, to)
    if as_json:
        text.write_json({**report.data, "preset": str(written)})
    else:
        text.print_report(report)
        text.write(f"\nwrote {written}\nto see these figures again: qtune simulate {written}\n")


@app.command(short_help="Show what is known about each provider.")
def models(
    name: Annotated[str | None, typer.Argument(help="A provider, a model or a model's file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known about the providers: limits, latencies, prices, clients, with source and date."""
    finish(qtune.describe(qtune.catalogue(name)), as_json)


@app.command(short_help="Judge whether a setting behaves as a message system should.")
def verify(
    scenario: ScenarioFile = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="What thresholds mean, such as p95=500ms; default: those the preset was tuned for."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Verify this preset's queue and consumers under the scenario's load.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The first of all seeds; default: the scenario's.")
    ] = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Judge sixteen assertions about throughput, latency, resources and scaling, each with its evidence.

    They are the behavioural assertions of the queue-runtime document. What the simulator has no model of is "not
    applicable", with the reason. When one fails, the exit code is 1.
    """
    path, given = scenario_of(scenario, as_json, model)
    tuned = qtune.load_tuned(path)
    targets = qtune.Targets.parse(target) if target else tuned.asked() if tuned is not None else None
    if preset is not None:
        given = given.using(qtune.load_preset(preset))
    with progress() as steps:
        make_ready(steps)
        found = qtune.verify(
            given, targets, seed=seed, on_progress=lambda done, of: steps.at("verifying", done, of)
        )
    finish(qtune.describe(found), as_json)


@app.command(short_help="Write Prometheus rules with the prediction as their baseline.")
def alerts(
    scenario: ScenarioFile = None,
    export: Annotated[
        Path | None, typer.Option(help="The file to write the rules to; default: SCENARIO-alerts.yaml.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the first run; default: the scenario's.")
    ] = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Predict a setting, and write the rules that tell when the real system leaves the prediction.

    Throughput down by more than 20 %, p95 of the processing time above twice, error rate above five times, utilization
    above 80 %, by the metrics of queue-runtime. A queue that does not keep up has no baseline (exit code 1).
    """
    path, given = scenario_of(scenario, as_json, model)
    with progress() as steps:
        make_ready(steps)
        summary = qtune.predict(given, seed=seed, progress=lambda done, of: steps.at("simulating", done, of))
    try:
        written = qtune.export(summary, export if export is not None else Path(f"{path.stem}-alerts.yaml"))
    except qtune.AnswerIsNo as no:
        finish_no(no, as_json)
        raise typer.Exit(no.exit_code) from None
    if as_json:
        text.write_json({"path": str(written), "rules": written.read_text(encoding="utf-8")})
    else:
        text.write(f"{written.read_text(encoding='utf-8')}\nwrote {written}\n")


@app.command(short_help="List real incidents, or run one: what broke, its fix, and the recommended one.")
def lab(
    name: Annotated[str | None, typer.Argument(help="An incident such as A1, or a file of one.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run all of them, for a minute or two.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the incidents of the lab, or run one.

    One that is run is simulated as reported and after the fix of its source, with the rule that broke; then the
    recommender is asked about the same workload, and its answer is simulated too. When a run does not show what the
    incident says, the exit code is 1.
    """
    if name is not None and every:
        raise typer.BadParameter("give either a name or --all", param_hint="--all")
    if every:
        with progress() as steps:
            make_ready(steps)
            finish(qtune.describe(qtune.lab.survey(qtune.lab.incidents(), on_progress=steps.at)), as_json)
        return
    if name is None:
        finish(qtune.describe(qtune.lab.incidents()), as_json)
        return
    incident = qtune.lab.load_incident(name)
    if incident.not_reproduced is not None:
        finish(qtune.describe(incident), as_json)
        return
    with progress() as steps:
        make_ready(steps)
        found = qtune.lab.reproduce(incident, on_progress=lambda what: steps.at(f"{incident.id}: {what}"))
    finish(qtune.describe(found), as_json)


@app.command(short_help="Write a commented scenario to start from.")
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("scenario.yaml"),
    provider: Annotated[Provider, typer.Option(help="Whose queue it is.")] = "sqs",
    as_json: AsJson = False,
) -> None:
    """Write a commented scenario to start from; an existing file is never overwritten."""
    check_new(path, "init")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starting_text(provider, path.name))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from error
    if as_json:
        text.write_json({"path": str(path), "provider": provider})
    else:
        text.write(f"wrote {path}\nnext: qtune simulate {path}\n")


def _targets_text() -> str:
    known = qtune.catalogue()
    lines = ["say what must be achieved, for example: qtune recommend --target p95=500ms", "targets:"]
    lines += [
        f"  {f'{metric.name}={metric.example}':22} {metric.meaning}, {metric.sense}"
        for metric in known.metrics.values()
        if metric.not_evaluated is None
    ]
    return "\n".join([*lines, f"or a profile: {', '.join(known.profiles)}"])


def _compare(differences: Sequence[str], path: Path) -> None:
    if not differences:
        text.tell(f"qtune: every figure is the one in {path}, to the last digit")
        return
    text.tell(
        f"qtune: {len(differences)} figures differ from those in {path}, the first is {differences[0]}: "
        "the scenario in it was changed, or it was made by the versions it names"
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong is told in words on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a dash shows a question mark
    try:
        code = app(args=arguments, prog_name="qtune", standalone_mode=False)
    except UsageError as error:
        text.tell(f"qtune: {error.format_message()}")
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        text.tell("qtune: interrupted")
        return INTERRUPTED
    except SystemExit:  # what typer makes of a closed pipe, which it has already replaced
        return CLOSED_PIPE
    except Exception as error:
        return _told(error)
    if code == INTERRUPTED:
        text.tell("qtune: interrupted")
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> int:
    """Tell an error in words; its exit code."""
    if isinstance(error, qtune.QtuneError):
        text.tell(str(error))
        return error.exit_code
    if os.environ.get("QTUNE_TRACEBACK") == "1":
        raise error
    words = " ".join(f"{type(error).__name__}: {error}".split())
    text.tell(
        f"qtune: this is a bug in qtune: {words}; please report it with the command and the scenario, "
        "and what QTUNE_TRACEBACK=1 shows"
    )
    return UNEXPECTED


def main() -> None:
    """The console script."""
    code = run()
    if code == INTERRUPTED:
        os._exit(code)  # without waiting for the compiler, which does not hear an interrupt
    sys.exit(code)
