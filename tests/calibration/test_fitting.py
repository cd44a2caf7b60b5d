"""Fits of provider models to runs whose parameters are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from calibration_truth import BUS, CALL_COST_S, MESSAGE_COST_S, SQS, TIMES, run, truth, with_a_real_clock

from qtune.calibration.fitting import Fit, fit
from qtune.conditions import Account, Conditions
from qtune.errors import InputError
from qtune.providers import dump_model, load_model
from qtune.shapes import FittedTime


def must_hold(fitted: Fit, name: str, true: float) -> None:
    """Fail unless a parameter is identified and within four standard errors of what is true, and is told well."""
    found = fitted.parameter(name)
    assert found.identified, found.reason
    estimate = found.estimate
    assert abs(estimate.value - true) <= estimate.high - estimate.low, f"{name}: {estimate}, and it is {true}"
    assert estimate.half_width < 0.25 * true, f"{name}: {estimate}"


def test_latencies_and_costs_of_sqs_come_back_from_simulated_runs(tmp_path: Path) -> None:
    """From runs with known parameters the fit finds the mean and p95 of each call, and what the client costs."""
    _, path = truth("sqs", tmp_path)
    runs = [
        run(SQS, path, 1, name="idle", consumers={"receive_batch": 1}),
        run(SQS, path, 2, name="busy", arrivals={"rate_per_s": 30.0}),
    ]
    fitted = fit([with_a_real_clock(each, 1) for each in runs], load_model("sqs"))
    for op in ("send", "receive", "settle"):
        family, mean_s, cv = TIMES[op]
        shape = FittedTime(family=family, mean_s=mean_s, cv=cv).distribution()  # type: ignore[arg-type]
        must_hold(fitted, f"latency.{op}", shape.mean)
        must_hold(fitted, f"latency.{op}.p95", shape.quantile(0.95))
        assert not getattr(fitted.model.latency, op).prior
    must_hold(fitted, "clients.boto3.call_cost", CALL_COST_S)
    assert abs(fitted.model.clients["boto3"].message_cost_s / MESSAGE_COST_S - 1.0) < 1.0


def test_what_runs_do_not_tell_stays_a_prior_and_says_which_run_would_tell(tmp_path: Path) -> None:
    """A parameter that no run shows is not identified; the model keeps the assumed value, and its mark."""
    _, path = truth("sqs", tmp_path)
    start = load_model("sqs")
    fitted = fit([run(SQS, path, 1)], start)
    renew = fitted.parameter("latency.renew")
    assert not renew.identified
    assert "renewal" in renew.reason
    assert fitted.model.latency.renew == start.latency.renew
    assert fitted.model.latency.renew.prior
    assert not fitted.parameter("broker.hand_out").identified
    assert fitted.model.broker.hand_out == start.broker.hand_out


def test_a_fitted_model_is_a_model(tmp_path: Path) -> None:
    """What is fitted can be written to a file, read back and used."""
    _, path = truth("servicebus", tmp_path)
    runs = [run(BUS, path, 1), run(BUS, path, 2, arrivals={"rate_per_s": 30.0})]
    fitted = fit(runs, load_model("servicebus"))
    file = tmp_path / "fitted.yaml"
    file.write_text(dump_model(fitted.model), encoding="utf-8")
    assert load_model(file) == fitted.model
    must_hold(fitted, "latency.receive", TIMES["receive"][1])


def test_under_the_fitted_model_the_runs_come_out_as_they_were(tmp_path: Path) -> None:
    """Residuals tell every stage of every run, and those of a model of the right form are small."""
    _, path = truth("sqs", tmp_path)
    runs = [run(SQS, path, 1, name="idle"), run(SQS, path, 2, name="busy", arrivals={"rate_per_s": 30.0})]
    residuals = fit(runs, load_model("sqs")).residuals
    assert {each.run for each in residuals} == {"idle", "busy"}
    stages = {each.stage for each in residuals}
    assert stages == {"send call", "receive call", "settle call", "queue wait", "throughput"}
    assert max(abs(each.error) for each in residuals if each.statistic == "mean") < 0.2


def test_a_run_of_a_machine_that_was_too_busy_is_refused_with_the_figure(tmp_path: Path) -> None:
    """A run without a core to spare is left out; when no other is there, that is an error with the figure."""
    _, path = truth("sqs", tmp_path)
    good = run(SQS, path, 1)
    nothing = Account(sent=0, completed=0, completed_twice=0, unanswered=0, left=0)
    conditions = Conditions(
        machine="two cores",
        clock_error_s=0.0,
        utilization=((1.0, 0.97),),
        late_s_p95=0.0,
        account=nothing,
    )
    busy = replace(run(SQS, path, 2, name="hot"), conditions=conditions)
    fitted = fit([good, busy], load_model("sqs"))
    assert [(each.run, each.utilization) for each in fitted.refused] == [("hot", 0.97)]
    assert {each.run for each in fitted.residuals} == {good.scenario.name}
    with pytest.raises(InputError, match="97%"):
        fit([busy], load_model("sqs"))


def test_runs_of_different_clients_or_providers_are_not_fitted_together(tmp_path: Path) -> None:
    """One fit is of one provider and one client: anything else is an error that says what to do."""
    _, path = truth("sqs", tmp_path)
    with pytest.raises(InputError, match="fit them apart"):
        fit([run(SQS, path, 1)], load_model("servicebus"))
    memory = run({"provider": "memory", "persistence_s": 0.001}, "memory", 1)
    with pytest.raises(InputError, match="without its persistence"):
        fit([memory], load_model("memory"))
    with pytest.raises(InputError, match="at least one run"):
        fit([], load_model("sqs"))
