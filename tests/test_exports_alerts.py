"""Rules for Prometheus: what they say, when they are refused, and that nothing in them is loose."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml
from alert_cases import write_cases
from small_scenarios import OVERLOADED, STEADY

import qtune
from qtune.analysis import Summary, setup_of
from qtune.distributions import Constant, Exponential
from qtune.exports.alerts import (
    BOUNDS_S,
    AlertRule,
    alert_rules,
    prometheus_time,
    shown_quantile_s,
    window_of,
)
from qtune.ui.cli import run

METRICS = {
    "queue_runtime_messages_processed_total",
    "queue_runtime_processing_duration_seconds_bucket",
    "queue_runtime_processing_duration_seconds_sum",
    "queue_runtime_errors_total",
}


@pytest.fixture(scope="module")
def steady() -> Summary:
    """The prediction of a queue that keeps up."""
    return qtune.predict(qtune.load_scenario(STEADY), replications=3)


def by_name(summary: Summary) -> dict[str, AlertRule]:
    """The rules by the name of their alert."""
    return {rule.alert: rule for rule in alert_rules(summary)}


def bound_of(rule: AlertRule) -> float:
    """The number that an expression compares with."""
    return float(re.split(" [<>] ", rule.expr)[1])


def test_the_file_is_what_prometheus_reads(steady: Summary, tmp_path: Path) -> None:
    """One group of four alerts, each with exactly the keys of an alerting rule, and every expression closed."""
    written = qtune.export(steady, tmp_path / "alerts.yaml").read_text(encoding="utf-8")
    assert "left out" not in written
    document = yaml.safe_load(written)
    assert list(document) == ["groups"]
    (group,) = document["groups"]
    assert list(group) == ["name", "rules"]
    assert len(group["rules"]) == 4
    for rule in group["rules"]:
        assert list(rule) == ["alert", "expr", "for", "labels", "annotations"]
        assert re.fullmatch(r"[A-Z]\w+", rule["alert"])
        assert re.fullmatch(r"[1-9]\d*m", rule["for"])
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(re.findall(r"queue_runtime_\w+", rule["expr"])) <= METRICS
        assert re.fullmatch(r"[\w\s().,/+\[\]]+ [<>] [0-9.e-]+", rule["expr"])


def test_thresholds_are_the_documented_factors_of_the_prediction(steady: Summary) -> None:
    """Throughput at 80 % of the baseline, p95 at twice, errors at five times, utilization at 80 %."""
    rules = by_name(steady)
    assert bound_of(rules["QueueThroughputDown"]) == pytest.approx(0.8 * steady.goodput_per_s.value, rel=1e-5)
    shown_s = shown_quantile_s(steady.scenario.service_distribution(), 0.95)
    assert bound_of(rules["QueueProcessingSlow"]) == pytest.approx(2.0 * shown_s, rel=1e-5)
    assert bound_of(rules["QueueErrorsUp"]) == 0.0
    assert "a single one fires it" in rules["QueueErrorsUp"].note
    assert bound_of(rules["QueueWorkersBusy"]) == 0.8
    failing = qtune.load_scenario(STEADY.replace("horizon", "failures: {rate: 10%, poison: 2%}\nhorizon"))
    errors = by_name(qtune.predict(failing, replications=3))["QueueErrorsUp"]
    assert bound_of(errors) == pytest.approx(5.0 * (0.02 + 0.98 * 0.1), rel=1e-5)


def test_a_quantile_is_the_one_that_the_histogram_shows() -> None:
    """Between two bounds it is read on a straight line, as Prometheus does, and above the last it is the last."""
    share = [1.0 - math.exp(-bound_s / 0.02) for bound_s in BOUNDS_S]
    expected_s = 0.05 + 0.05 * (0.95 - share[3]) / (share[4] - share[3])
    assert shown_quantile_s(Exponential(mean=0.02), 0.95) == pytest.approx(expected_s, rel=1e-3)
    assert shown_quantile_s(Constant(value=0.0005), 0.95) == pytest.approx(0.00095)
    assert shown_quantile_s(Constant(value=60.0), 0.95) == 5.0


def test_a_handler_slower_than_the_histogram_has_no_alert_of_its_latency(tmp_path: Path) -> None:
    """A threshold beyond the last bound could never be passed: the rule is left out, and the file says so."""
    slow = STEADY.replace("20ms", "4s").replace("50/s", "0.5/s").replace("2s}", "1min}").replace("60s", "2h")
    summary = qtune.predict(qtune.load_scenario(slow), replications=3)
    assert set(by_name(summary)) == {"QueueThroughputDown", "QueueErrorsUp", "QueueWorkersBusy"}
    written = qtune.export(summary, tmp_path / "alerts.yaml").read_text(encoding="utf-8")
    assert "# QueueProcessingSlow is left out" in written
    assert len(yaml.safe_load(written)["groups"][0]["rules"]) == 3


def test_a_window_is_long_enough_that_chance_fires_nothing() -> None:
    """In a window a fifth of the messages is four standard deviations of a Poisson count, or more."""
    for rate_per_s in (0.1, 0.5, 50.0):
        scenario = qtune.load_scenario(STEADY.replace("50/s", f"{rate_per_s}/s"))
        window_s = window_of(setup_of(scenario), rate_per_s)
        messages = rate_per_s * window_s
        assert 0.2 * messages >= 4.0 * math.sqrt(messages) * (1.0 - 1e-9)
        assert window_s >= 600.0
    assert prometheus_time(600.0) == "10m"
    assert prometheus_time(600.1) == "11m"


def test_bursts_are_watched_for_longer_than_even_arrivals() -> None:
    """The same rate in bursts scatters more, and so does its count: the window grows with that."""
    bursts = "{kind: bursts, on_rate: 95/s, off_rate: 5/s, on_mean: 10s, off_mean: 10s}"
    scenario = qtune.load_scenario(STEADY.replace("{kind: poisson, rate: 50/s}", bursts))
    scatter = 1.0 + 2.0 * 0.25 * 90.0**2 / (50.0 * 0.2)  # Heffes and Lucantoni
    assert window_of(setup_of(scenario), 50.0) == pytest.approx(max(600.0, scatter * 400.0 / 50.0))


def test_a_load_with_a_course_is_watched_over_all_of_it() -> None:
    """Where the rate changes by the clock, a shorter window would take a quiet hour for a failure."""
    hours = "{kind: piecewise, segments: [{for: 1h, rate: 80/s}, {for: 1h, rate: 20/s}]}"
    text = STEADY.replace("{kind: poisson, rate: 50/s}", hours).replace("60s", "2h")
    assert window_of(setup_of(qtune.load_scenario(text)), 50.0) == 7200.0


def test_utilization_is_that_of_all_workers_of_the_fleet() -> None:
    """The time spent in handlers is divided by the workers of every instance."""
    text = STEADY.replace("{provider: memory, lock_duration: 2s}", "{provider: sqs}")
    text = text.replace("{workers: 4,", "{instances: 3, workers: 4,")
    summary = qtune.predict(qtune.load_scenario(text), replications=2)
    assert " / 12 > " in by_name(summary)["QueueWorkersBusy"].expr


def test_a_queue_that_does_not_keep_up_has_no_baseline(tmp_path: Path) -> None:
    """An unstable prediction is no baseline: the answer is no, and no file is written."""
    summary = qtune.predict(qtune.load_scenario(OVERLOADED), replications=3)
    with pytest.raises(qtune.AnswerIsNo, match="no baseline to alert on: unstable"):
        qtune.export(summary, tmp_path / "alerts.yaml")
    assert not list(tmp_path.iterdir())


def test_a_prediction_that_would_fire_at_once_says_so() -> None:
    """A fleet that is predicted to be busy above 80 % gets the rule, with a warning."""
    busy = qtune.predict(qtune.load_scenario(STEADY.replace("50/s", "170/s")), replications=3)
    assert "from the start" in by_name(busy)["QueueWorkersBusy"].note


def test_the_command_writes_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`qtune alerts` writes SCENARIO-alerts.yaml, never over a file, and ends with 1 without a baseline."""
    monkeypatch.chdir(tmp_path)
    Path("steady.yaml").write_text(STEADY, encoding="utf-8")
    Path("overloaded.yaml").write_text(OVERLOADED, encoding="utf-8")
    assert run(["alerts", "steady.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("wrote steady-alerts.yaml\n")
    assert out.startswith(Path("steady-alerts.yaml").read_text(encoding="utf-8"))
    assert run(["alerts", "steady.yaml"]) == 0
    assert capsys.readouterr().out.endswith("wrote steady-alerts-2.yaml\n")
    assert run(["alerts", "overloaded.yaml"]) == 1
    assert "no baseline" in capsys.readouterr().out


def test_the_cases_for_promtool_fire_each_alert_once(tmp_path: Path) -> None:
    """What `.ci/run` has promtool play covers every alert, and some deviations that must fire none."""
    write_cases(tmp_path)
    cases = yaml.safe_load((tmp_path / "cases.yaml").read_text(encoding="utf-8"))["tests"]
    fired = [[test["alertname"] for test in case["alert_rule_test"] if test["exp_alerts"]] for case in cases]
    assert sorted(names[0] for names in fired if names) == sorted(
        ["QueueThroughputDown", "QueueProcessingSlow", "QueueErrorsUp", "QueueWorkersBusy"]
    )
    assert fired.count([]) == 4
