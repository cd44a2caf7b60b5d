"""What a user sees when a scenario is wrong: the file, the line, the value, the bound and its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from qtune.errors import ScenarioError
from qtune.presets import load_scenario
from qtune.scenario import Scenario

SQS = """\
name: t
arrivals: {kind: poisson, rate: 100/s}
service_time: {family: exponential, mean: 50ms}
queue: {provider: sqs}
consumers: {workers: 8}
horizon: 10min
"""
SERVICEBUS = SQS.replace("{provider: sqs}", "{provider: servicebus, tier: standard}")
MEMORY = SQS.replace("{provider: sqs}", "{provider: memory}")
SMALLEST = {"sqs": SQS, "servicebus": SERVICEBUS, "memory": MEMORY}
CASES = Path(__file__).parent / "scenario_errors.txt"
MODEL = "botocore 1.44.8, service model of SQS, as of 2026-11"


def errors(text: str) -> list[str]:
    """The text of each problem that loading reports."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario(text, name="t.yaml")
    return [str(problem) for problem in caught.value.problems]


def changed(text: str, key: str, value: str) -> str:
    """The text with another value of one top-level key; a new key goes to the end."""
    lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
    position = next((n for n, line in enumerate(text.splitlines()) if line.startswith(f"{key}:")), len(lines))
    return "\n".join([*lines[:position], f"{key}: {value}", *lines[position:]]) + "\n"


@pytest.mark.parametrize("text", [SQS, SERVICEBUS, MEMORY])
def test_the_scenarios_of_these_tests_are_right(text: str) -> None:
    """Each provider's smallest scenario loads without an error."""
    assert load_scenario(text).name == "t"


def cases() -> list[tuple[str, str, str, str]]:
    """The blocks of scenario_errors.txt: the scenario to change, the key, its value, and the whole error."""
    found = []
    for block in CASES.read_text(encoding="utf-8").split("\n\n")[1:]:
        change, *expected = block.strip("\n").split("\n")
        provider, _, setting = change.partition(" | ")
        key, _, value = setting.partition(": ")
        found.append((SMALLEST[provider], key, value, "\n".join(line[4:] for line in expected)))
    return found


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"), cases(), ids=[f"{key}: {value}" for _, key, value, _ in cases()]
)
def test_a_wrong_setting_is_shown_with_its_place_its_bound_and_what_to_write(
    text: str, key: str, value: str, expected: str
) -> None:
    """A value of the wrong kind, a broken limit and a contradiction are each one error, at their line."""
    assert errors(changed(text, key, value)) == [expected.replace("HERE", str(Path().resolve()))]


def test_the_cases_cover_every_rule_and_every_provider() -> None:
    """The list of cases is not cut short by a mistake in its form."""
    assert len(cases()) > 70
    assert {text for text, _, _, _ in cases()} == set(SMALLEST.values())


def test_a_horizon_is_needed_unless_the_arrivals_end() -> None:
    """Without a horizon, only a recording says how long to look."""
    assert errors(SQS.replace("horizon: 10min\n", "")) == [
        "t.yaml:1:1: horizon\n"
        "  poisson arrivals do not end by themselves: say how long to look, such as horizon: 1h"
    ]
    trace = changed(SQS, "arrivals", "{kind: trace, file: azure_llm_code_2023.csv}")
    assert load_scenario(trace.replace("horizon: 10min\n", "")).horizon_s == 3435.948056


def test_a_fleet_must_fit_both_limits_of_a_namespace() -> None:
    """Each receiver of the Python client takes a connection and a place among the receivers of the queue."""
    held = "626 instances open 8 receivers and connections each, and"
    quotas = "(a hard limit)\n  stated in: Azure documentation, Service Bus quotas, as of 2022-07"
    assert errors(changed(SERVICEBUS, "consumers", "{workers: 8, instances: 626}")) == [
        "t.yaml:5:36: consumers.instances: 626\n"
        f"  {held} receive requests on a queue is at most 5000 receivers {quotas}",
        "t.yaml:5:36: consumers.instances: 626\n"
        f"  {held} AMQP connections of a namespace is at most 5000 connections {quotas}",
    ]


def test_a_python_name_is_no_key_of_a_file() -> None:
    """A file is written without units in its keys, and the right key is suggested."""
    assert errors(changed(SQS, "arrivals", "{kind: poisson, rate_per_s: 100/s}")) == [
        't.yaml:2:27: arrivals.rate_per_s\n  there is no such key; there are kind, rate. Did you mean "rate"?'
    ]


def test_every_error_of_a_file_is_listed_in_the_order_of_its_lines() -> None:
    """Syntax, fields and rules are reported at once; an invalid field hides no other field and no rule."""
    text = """\
name: t
arrivals: {kind: bursts, on_rate: 10, off_rate: 1/s, on_mean: 5s, off_mean: .inf}
service_time: {family: lognormal, mean: 1s, p95: 1s, cv: 1}
queue: {provider: sqs, visibility_timeout: 13h, message_retention: soon}
consumers:
  workers: many
  receive_wait: 21s
  receive_wait: 20s
  settle: eech
  settle_batch: 11
  buffer: 5
  prefetch: 3
  renewal: {max: 1min, renewers: 0}
faults: [{kind: pause_handlers, at: 11min, for: 1s}]
horizon: 10min
warm_up: 1h
modle: sqs
"""
    assert [problem.split("\n")[0].removeprefix("t.yaml:") for problem in errors(text)] == [
        "2:35: arrivals.on_rate: 10",
        "2:77: .inf",
        "3:15: service_time",
        "4:44: queue.visibility_timeout: 13h",
        "4:68: queue.message_retention: soon",
        "6:12: consumers.workers: many",
        "7:17: consumers.receive_wait: 21s",
        "8:3: receive_wait",
        "9:11: consumers.settle: eech",
        "10:17: consumers.settle_batch: 11",
        "11:11: consumers.buffer: 5",
        "12:13: consumers.prefetch: 3",
        "13:34: consumers.renewal.renewers: 0",
        "14:37: faults.0.at: 11min",
        "16:10: warm_up: 1h",
        "17:1: modle",
    ]


def test_a_file_that_is_no_mapping_is_refused() -> None:
    """A list or a single value is no scenario."""
    assert errors("- a\n- b\n") == ["t.yaml:1:1: the whole file\n  this must be a mapping of keys to values"]
    assert errors("'x'\n") == ["t.yaml:1:1: x\n  this must be a mapping of keys to values"]


def test_the_file_is_named_in_its_errors(tmp_path: Path) -> None:
    """A problem in a file starts with the name of the file."""
    path = tmp_path / "mine.yaml"
    path.write_text(changed(SQS, "horizon", "10"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"^mine\.yaml:6:10: horizon: 10\n"):
        load_scenario(path)


def test_a_scenario_made_in_python_lists_all_problems_too() -> None:
    """In Python a place is an expression, a value is shown as Python has it, and all problems are listed."""
    with pytest.raises(ScenarioError) as caught:
        Scenario(
            arrivals={"kind": "poisson", "rate": -1.0},
            service_time={"family": "exponential", "mean_s": 0.05},
            queue={"provider": "sqs", "visibility_timeout_s": 50_000},
            consumers={"workers": 8, "prefetch": 5, "receive_wait_s": float("nan")},
            colour="red",
        )
    known = ", ".join(Scenario.model_fields)
    assert sorted(str(problem) for problem in caught.value.problems) == [
        "arrivals.rate_per_s: -1.0\n  this must be at least 0",
        f"colour: 'red'\n  there is no such key; there are {known}.",
        "consumers.prefetch: 5\n"
        "  SQS has no prefetch: use a client-side buffer, polling: buffer with buffer: 5",
        "consumers.receive_wait_s: nan\n  this must be a finite number",
        "queue.visibility_timeout_s: 50000.0\n  visibility_timeout is at most 12h (a hard limit)\n"
        f"  stated in: {MODEL}",
    ]


def test_a_bad_line_of_a_trace_is_shown_with_its_file_and_line(tmp_path: Path) -> None:
    """Every bad line of a trace is listed under the key that names the file."""
    content = "# mine\narrival_s,service_hint\n1,1\n0.5,x\n-2,1\n"
    (tmp_path / "bad.csv").write_text(f"{content}3\n", encoding="utf-8")
    path = tmp_path / "t.yaml"
    path.write_text(changed(SQS, "arrivals", "{kind: trace, file: bad.csv}"), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value) == (
        "t.yaml:2:31: arrivals.file: bad.csv\n  bad.csv:6: 3\n    2 columns are needed, as in the header"
    )
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value) == (
        "t.yaml:2:31: arrivals.file: bad.csv\n"
        "  bad.csv:4: x\n"
        "    service_hint must be a finite number that is not negative\n"
        "  bad.csv:5: -2\n"
        "    arrival_s must be a finite number that is not negative"
    )
