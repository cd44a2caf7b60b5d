"""The answers of the recommender: the right number of workers, the cheapest setting, and the honest no."""

from __future__ import annotations

import json

import pytest
from recommending import PINNED, in_memory, on_sqs

from qtune.analysis import setup_of, summarize
from qtune.errors import Infeasible, InputError
from qtune.presets import load_scenario
from qtune.recommendation import Budget, Progress, Recommendation, Targets, recommend
from qtune.recommendation.objectives import Meter, checks_of, overall
from qtune.recommendation.search import INDIFFERENT
from qtune.scenario import Scenario
from qtune.shipped import shipped
from qtune.simulation import replicate

FIXED_SERVICE = {"family": "constant", "mean_s": 0.18}
SMOOTH_SERVICE = {"family": "lognormal", "mean_s": 0.18, "cv": 0.5}


@pytest.fixture(scope="module")
def example() -> Recommendation:
    """The answer for the shipped trace, with a p95 of 500 ms."""
    return recommend(load_scenario(shipped("examples", "llm-conversations.yaml")), "p95=500ms")


@pytest.mark.parametrize(("service", "workers"), [(FIXED_SERVICE, {46, 47}), (SMOOTH_SERVICE, {47, 48})])
def test_the_number_of_workers_is_the_one_that_queueing_needs(
    service: dict[str, object], workers: set[int]
) -> None:
    """At 250 messages a second of 180 ms each, 45 workers are busy, and 47 meet a p95 of 500 ms."""
    found = recommend(in_memory(250.0, service, horizon_s=3600.0), "p95=500ms", keep=PINNED)
    assert found.scenario.consumers.workers in workers
    assert found.checks[0].estimate.high <= 0.5
    assert any("each run lasts" in note for note in found.notes)


@pytest.mark.parametrize(
    ("service", "floor_s"),
    [
        ({"family": "exponential", "mean_s": 0.18}, 0.5392),
        ({"family": "lognormal", "mean_s": 0.18, "cv": 1.5}, 0.593),
    ],
)
def test_a_target_below_the_floor_is_refused_before_any_run(
    service: dict[str, object], floor_s: float
) -> None:
    """No worker is faster than the handler: the refusal names the floor and carries it as a number."""
    with pytest.raises(Infeasible, match=r"p95 <= 500ms is below the floor of (539|59\d)ms") as caught:
        recommend(in_memory(250.0, service), "p95=500ms")
    floors_s = caught.value.data["floors_s"]
    assert isinstance(floors_s, dict)
    assert floors_s["p95"] == pytest.approx(floor_s, rel=0.01)
    assert caught.value.data["runs"] == 0
    assert caught.value.exit_code == 1


def test_printed_figures_come_back_to_the_digit(example: Recommendation) -> None:
    """Whoever simulates the recommended scenario with the seeds given gets the summary that was printed."""
    again = summarize(replicate(example.scenario, len(example.seeds)))
    assert again.to_dict() == example.summary.to_dict()
    assert example.checks[0].estimate == example.summary.latency_s_p95


def test_the_shipped_example_has_an_answer_with_all_its_evidence(example: Recommendation) -> None:
    """The answer meets the target, came back from the pause, names what binds and what it rests on, as JSON too."""
    assert example.checks[0].status == "met"
    assert example.probe.came_back
    assert example.headroom.factor < example.headroom.breaks_at
    assert example.month_usd.value < 50.0  # the scenario as it is needs two instances and costs 84
    stored = json.loads(json.dumps(example.to_dict(), allow_nan=False))
    assert stored["settings"]["consumers.workers"] == example.scenario.consumers.workers
    assert stored["explanation"]["findings"]
    assert any("nobody has measured" in line for line in example.assumptions)
    assert len(repr(example)) < 400


def test_runners_up_cost_more_or_miss(example: Recommendation) -> None:
    """No runner-up that meets everything is cheaper than the answer, beyond what is taken as equal."""
    good = [other for other in example.runners_up if other.fate == "meets"]
    assert good
    for other in good:
        assert other.month_usd.value * (1.0 + 2.0 * INDIFFERENT) >= example.month_usd.value
    assert all(other.reason for other in example.failed)


def test_two_calls_give_the_same_answer() -> None:
    """Nothing but the seed decides: the same question has the same answer, run for run."""
    first, second = (recommend(in_memory(), "p95=300ms", threads=threads) for threads in (1, 2))
    assert first.summary.to_dict() == second.summary.to_dict()
    assert (first.effort.runs, first.effort.messages) == (second.effort.runs, second.effort.messages)
    assert first.settings == second.settings


def test_a_looser_target_never_costs_more() -> None:
    """More time to answer can only make the bill smaller, or leave it."""
    bills = [recommend(on_sqs(), f"p95={bound}ms").month_usd.value for bound in (220, 400, 1500)]
    assert bills[0] * (1.0 + INDIFFERENT) >= bills[1]
    assert bills[1] * (1.0 + INDIFFERENT) >= bills[2]
    assert bills[0] > bills[2]


def test_a_small_space_searched_by_brute_force_has_the_same_winner() -> None:
    """Every fleet of up to two instances with five workers, simulated one by one, leaves the same cheapest one."""
    scenario, targets = on_sqs(60.0), Targets.parse("p95=250ms")
    found = recommend(
        scenario, targets, keep=(*PINNED, "consumers.receive_wait"), most_workers=5, most_instances=2
    )
    good = []
    for instances in (1, 2):
        for workers in (1, 2, 3, 4, 5):
            tried = scenario.with_(consumers={"instances": instances, "workers": workers})
            setup, meter = setup_of(tried), Meter(tried, targets)
            figures = [meter.figures(run, setup, 10.0) for run in replicate(tried, 8, seed=50)]
            if overall(checks_of(targets, figures, setup), "", figures) == "met":
                usd = sum(figure.values["cost"] for figure in figures) / len(figures)
                good.append((usd, instances * workers))
    least_usd = min(good)[0]
    fewest = min(total for usd, total in good if usd <= least_usd * (1.0 + INDIFFERENT))
    chosen = found.scenario.consumers
    assert found.month_usd.value == pytest.approx(least_usd, rel=0.01)
    assert chosen.instances * chosen.workers == fewest


def test_what_is_kept_stays() -> None:
    """A setting in ``keep`` is that of the scenario in the answer and in everything that was tried."""
    found = recommend(on_sqs(), "p95=1s", keep=["consumers.receive_batch", "consumers.workers"])
    tried = [found.scenario, *(other.scenario for other in (*found.runners_up, *found.failed))]
    assert {scenario.consumers.workers for scenario in tried} == {2}
    assert {scenario.consumers.receive_batch for scenario in tried} == {None}


def test_a_path_that_is_not_searched_cannot_be_kept() -> None:
    """A mistyped path is an error that says which one was meant."""
    with pytest.raises(InputError, match=r'Did you mean "consumers\.receive_batch"'):
        recommend(in_memory(), "p95=1s", keep="consumers.recieve_batch")


def test_progress_is_reported_while_it_searches() -> None:
    """Each step is told, with counts that only grow, from the search to the confirmation and the headroom."""
    told: list[Progress] = []
    found = recommend(in_memory(), "p95=300ms", on_progress=told.append)
    assert {"search", "probe", "confirm", "headroom"} == {step.stage for step in told}
    assert [step.runs for step in told] == sorted(step.runs for step in told)
    assert told[-1].best_month_usd is not None
    assert told[-1].runs <= found.effort.runs


def test_a_load_that_no_fleet_can_carry_is_infeasible_at_once() -> None:
    """When even the largest fleet has too little capacity, theory says so, with both numbers."""
    with pytest.raises(Infeasible, match=r"unstable: the offered load of 100/s reaches the capacity of"):
        recommend(in_memory(100.0), "p95=1s", most_workers=9)


def test_a_closed_loop_is_sized_by_what_its_customers_ask() -> None:
    """Customers who wait cannot overrun a queue: the fewest workers that answer in time, and whole customers more."""
    scenario = in_memory(
        arrivals={
            "kind": "closed_loop",
            "customers": 10,
            "think_time": {"family": "exponential", "mean_s": 0.4},
        }
    )
    found = recommend(scenario, "p95=400ms", keep=PINNED)
    assert 2 <= found.scenario.consumers.workers <= 6
    assert found.checks[0].status == "met"
    assert float(10.0 * found.headroom.factor).is_integer()


def test_a_budget_that_is_spent_is_said() -> None:
    """A search that had to stop early says that a cheaper setting may exist, or that it found none."""
    found = recommend(on_sqs(), "p95=1s", budget=Budget(most_candidates=3))
    assert any("the budget ended the search" in note for note in found.notes)
    with pytest.raises(InputError, match="at least 1"):
        Budget(most_messages=0)


def test_a_candidate_whose_runs_fail_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every run ends in an error the error is raised, because a crash is neither a yes nor a no."""

    def fails(scenario: Scenario, *args: object, **kwargs: object) -> object:
        raise RuntimeError("the engine stopped")

    monkeypatch.setattr("qtune.recommendation.trials.read_each", fails)
    with pytest.raises(RuntimeError, match="the engine stopped"):
        recommend(in_memory(), "p95=1s")
