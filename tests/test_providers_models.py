"""Provider models: latencies and costs with their provenance, prices, and models of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from qtune.errors import ModelError, ScenarioError
from qtune.presets import load_scenario
from qtune.providers import ProviderModel, all_providers, dump_model, load_model, model_names
from qtune.providers.prices import PriceTier, RequestPrice
from qtune.shapes import TimeShape
from qtune.shipped import models_dir

SCENARIO = """\
arrivals: {kind: poisson, rate: 100/s}
service_time: {family: exponential, mean: 50ms}
queue: {provider: sqs}
consumers: {workers: 8}
horizon: 10min
"""


def test_every_provider_has_a_model() -> None:
    """The shipped models are those that the providers name."""
    assert model_names() == ("memory", "servicebus", "sqs")
    assert {provider.default_model for provider in all_providers().values()} == set(model_names())


@pytest.mark.parametrize("name", ["memory", "servicebus", "sqs"])
def test_a_model_survives_writing(name: str, tmp_path: Path) -> None:
    """A model is data: written and read back it is the same, as a calibrated one will be."""
    model = load_model(name)
    path = tmp_path / "copy.yaml"
    path.write_text(dump_model(model), encoding="utf-8")
    assert load_model(path) == model
    assert (model.name, model.version) == (name, "2026.11")


@pytest.mark.parametrize("name", ["memory", "servicebus", "sqs"])
def test_a_model_says_what_nobody_has_measured(name: str) -> None:
    """Every latency and cost says whether it is assumed, by whom it is stated, and when."""
    model = load_model(name)
    for client, cost in model.clients.items():
        assert {"send", "receive", "settle", "renew"} <= model.priors(client)
        assert ("client_cost" in model.priors(client)) == cost.prior
        assert cost.source
    assert not load_model("sqs").clients["boto3"].prior


def test_the_time_a_limited_broker_works_is_a_prior_too() -> None:
    """The broker's time per call is listed as assumed only if it serves a limited number at once."""
    model = load_model("sqs")
    limited = model.model_dump(by_alias=True)
    limited["broker"]["calls_served_at_once"] = 4
    assert "call_service" not in model.priors("boto3")
    assert "call_service" in ProviderModel(**limited).priors("boto3")


def test_the_assumed_latency_of_sqs_has_the_anchors_it_names() -> None:
    """Median 8.5 ms and mean 10.3 ms, and a p99 between 30 and 100 ms."""
    time = load_model("sqs").latency.receive.time
    assert isinstance(time, TimeShape)
    law = time.distribution()
    assert law.mean == 0.0103
    assert law.quantile(0.5) == pytest.approx(0.0085, rel=1e-3)
    assert 0.030 < law.quantile(0.99) < 0.100


def test_the_cost_of_boto3_has_the_measurements_it_names() -> None:
    """One line through single calls and batches of ten is within a tenth of each of the measured times."""
    cost = load_model("sqs").clients["boto3"]
    for messages, measured_ms in ((1, 0.24), (10, 0.37), (10, 0.33), (10, 0.34)):
        assert 1000.0 * (cost.call_cost_s + messages * cost.message_cost_s) == pytest.approx(
            measured_ms, rel=0.1
        )


def test_requests_are_charged_by_tiers_after_the_free_ones() -> None:
    """SQS: a million free, then $0.40 a million up to 100 billion, then less."""
    plan = load_model("sqs").prices.plans["standard"]
    assert plan.requests is not None
    assert [plan.requests.usd(requests) for requests in (0.0, 1e6, 2e6)] == [0.0, 0.0, pytest.approx(0.40)]
    all_tiers = plan.requests.usd(3e11)
    assert all_tiers == pytest.approx((1e5 - 1) * 0.40 + 1e5 * 0.30 + 1e5 * 0.24)


def test_an_idle_poller_costs_what_the_price_list_says() -> None:
    """One 20 s long poll after another is 129,600 requests in 30 days: five cents without the free tier."""
    plan = load_model("sqs").prices.plans["standard"]
    assert plan.requests is not None
    polls = 30 * 86_400 / 20
    assert plan.requests.usd(1e6 + polls) == pytest.approx(0.0518, rel=0.01)


def test_service_bus_charges_by_the_hour_and_by_the_operation() -> None:
    """The standard tier has a base charge with operations included; premium has messaging units only."""
    plans = load_model("servicebus").prices.plans
    standard, premium = plans["standard"], plans["premium"]
    assert standard.hours is not None
    assert standard.requests is not None
    assert premium.hours is not None
    assert (standard.hours.per, premium.hours.per) == ("namespace", "messaging_unit")
    assert standard.requests.usd(13e6) == 0.0
    assert standard.requests.usd(100e6) == pytest.approx(87 * 0.80)
    assert premium.requests is None
    assert premium.hours.usd * 730 == pytest.approx(677.0, rel=0.01)


@pytest.mark.parametrize("name", ["memory", "servicebus", "sqs"])
def test_prices_are_rows_with_a_date(name: str) -> None:
    """A price list can be shown whole: item, dollars, unit, source and date; an assumption is marked."""
    rows = load_model(name).prices.rows()
    assert all(row.source and row.as_of.startswith("2026-") for row in rows)
    assert rows[-1].item == "consumer instance (assumption)"


def test_tiers_must_ascend_and_end_open() -> None:
    """A price list with a gap at the top, or out of order, is refused."""
    rest = {"billed": "call", "chunk_bytes": 65_536, "source": "x", "as_of": "2026-01-01"}
    for bounds in ((1.0,), (None, 1.0), (2.0, 1.0, None), (None, None)):
        tiers = tuple(PriceTier(up_to=bound, usd_per_million=1.0) for bound in bounds)
        with pytest.raises(ModelError, match="tiers need ascending up_to values, and the last tier none"):
            RequestPrice(tiers=tiers, **rest)  # type: ignore[arg-type]


def test_an_unknown_model_is_an_error_with_the_known_ones() -> None:
    """A model that is neither shipped nor a file is answered with the nearest name."""
    with pytest.raises(ModelError, match=r'memory, servicebus, sqs. Did you mean "servicebus"\?'):
        load_model("service-bus")


def test_errors_of_a_model_have_their_line(tmp_path: Path) -> None:
    """A model is read as strictly as a scenario; all its errors stand under the key that names it."""
    text = (models_dir() / "sqs.yaml").read_text(encoding="utf-8")
    lines = text.replace("call_cost: 0.228ms", "call_cost: 0.228").replace(
        "free_per_month: 1000000", "free_per_month: -1", 1
    )
    (tmp_path / "bad.yaml").write_text(lines, encoding="utf-8")
    cost = next(n for n, line in enumerate(text.splitlines(), 1) if "call_cost" in line)
    free = next(n for n, line in enumerate(text.splitlines(), 1) if "free_per_month" in line)
    expected = [
        f"bad.yaml:{cost}:16: clients.boto3.call_cost: 0.228",
        f"bad.yaml:{free}:25: prices.plans.standard.requests.free_per_month: -1",
    ]
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "bad.yaml")
    assert [str(problem).split("\n")[0] for problem in caught.value.problems] == expected
    path = tmp_path / "t.yaml"
    path.write_text(f"{SCENARIO}model: bad.yaml\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as inside:
        load_scenario(path)
    (problem,) = inside.value.problems
    assert problem.where == "t.yaml:6:8"
    assert [line for line in problem.message.split("\n") if line.startswith("bad.yaml")] == expected


def test_a_model_must_know_the_client(tmp_path: Path) -> None:
    """A model without costs of the scenario's client cannot be used with it."""
    text = (models_dir() / "sqs.yaml").read_text(encoding="utf-8").replace("  boto3:", "  other:")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    path = tmp_path / "t.yaml"
    path.write_text(f"{SCENARIO}model: mine.yaml\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match="the model sqs has no costs of the client boto3; it has other"):
        load_scenario(path)


def test_a_receive_that_takes_no_time_must_wait_or_pause(tmp_path: Path) -> None:
    """Polls that are answered at once and repeated at once would keep a run at one instant for ever."""
    text = (models_dir() / "memory.yaml").read_text(encoding="utf-8").replace("mean: 50us", "mean: 0s")
    (tmp_path / "instant.yaml").write_text(text, encoding="utf-8")
    path = tmp_path / "t.yaml"
    for wait, is_right in (("0s", False), ("1s", True)):
        memory = SCENARIO.replace("provider: sqs", "provider: memory")
        memory = memory.replace("workers: 8", f"workers: 8, receive_wait: {wait}")
        path.write_text(f"{memory}model: instant.yaml\n", encoding="utf-8")
        if is_right:
            assert load_scenario(path).call_model().receive.mean == 0.0
        else:
            with pytest.raises(ScenarioError, match="takes no time and is repeated for ever"):
                load_scenario(path)


def test_a_model_must_have_prices_for_the_queue(tmp_path: Path) -> None:
    """A model without the price plan of the queue is an error, and not a run that fails at its end."""
    text = (models_dir() / "sqs.yaml").read_text(encoding="utf-8").replace("    fifo:", "    other:")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    path = tmp_path / "t.yaml"
    fifo = SCENARIO.replace("{provider: sqs}", "{provider: sqs, type: fifo}")
    path.write_text(f"{fifo}groups: {{kind: own}}\nmodel: mine.yaml\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match="no prices of the plan fifo; it has standard, fair, other"):
        load_scenario(path)
