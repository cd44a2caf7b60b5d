"""How the recommender judges: every kind of target, the pause that a setting must survive, and the load asked for."""

from __future__ import annotations

import math

import pytest
from recommending import PINNED, in_memory, on_sqs

from qtune.analysis import setup_of
from qtune.errors import Infeasible, InputError
from qtune.recommendation import Targets, recommend
from qtune.recommendation.headroom import whole
from qtune.recommendation.objectives import Figures, Meter, checks_of, guard_text, worst_excess
from qtune.recommendation.question import least_dead_share, pose
from qtune.recommendation.search import pick
from qtune.recommendation.styles import Style
from qtune.recommendation.trials import Trial
from qtune.scenario import Scenario
from qtune.simulation import replicate

FAILING = {"rate": 0.1, "on_failure": "abandon"}


def metastable(**consumers: object) -> Scenario:
    """A processor that may hold 1,000 messages, needs 0.1 s for each, and has a lock of 60 s."""
    return Scenario(
        arrivals={"kind": "poisson", "rate_per_s": 5.0},
        service_time={"family": "constant", "mean_s": 0.1},
        queue={
            "provider": "servicebus",
            "tier": "standard",
            "lock_duration_s": 60.0,
            "max_delivery_count": 10,
        },
        consumers={"workers": 1, "client": "azure-processor", "prefetch": 1000, **consumers},
        horizon_s=3600.0,
    )


def test_a_buffer_that_outlives_its_locks_is_refused() -> None:
    """With 1,000 messages in the buffer of one worker nothing is completed any more after a pause: no answer."""
    keep = ("consumers.prefetch", "consumers.workers", "consumers.instances", "consumers.settle")
    with pytest.raises(Infeasible, match="does not come back") as caught:
        recommend(metastable(), "p95=2s", keep=keep)
    (nearest,) = caught.value.data["nearest"]  # type: ignore[misc]
    assert nearest["fate"] == "does not come back"
    assert {check["status"] for check in nearest["checks"]} == {
        "met"
    }  # until something happens all looks well


def test_a_smaller_buffer_is_recommended_instead() -> None:
    """When the prefetch may be chosen, one that comes back is, and the refused one is listed with its reason."""
    found = recommend(metastable(), "p95=2s", keep=("consumers.workers", "consumers.instances"))
    assert (found.scenario.consumers.prefetch or 0) < 600
    assert found.probe.came_back
    assert 0.0 <= found.probe.recovery_s <= found.probe.allowed_s
    refused = [other for other in found.failed if other.fate == "does not come back"]
    assert [other.scenario.consumers.prefetch for other in refused] == [1000]


DECIDING = [
    ("p50=95ms", {"workers": 6}),
    ("p99=400ms", {"workers": 6}),
    ("utilization=50%", {"workers": 10}),
    ("throughput=80/s", {"workers": 9}),
]


@pytest.mark.parametrize(("target", "least"), DECIDING)
def test_each_target_can_decide_the_fleet(target: str, least: dict[str, int]) -> None:
    """A sharper bound on any one metric asks for a larger fleet than a loose p95 alone does."""
    loose = recommend(in_memory(), "p95=2s", keep=PINNED)
    sharp = recommend(in_memory(), f"p95=2s,{target}", keep=PINNED)
    assert sharp.scenario.consumers.workers > loose.scenario.consumers.workers
    assert sharp.scenario.consumers.workers >= least["workers"]
    assert {check.status for check in sharp.checks} == {"met"}


def test_a_bound_on_the_bill_can_decide() -> None:
    """A bill between those of two settings is met by the cheaper one, and one below all is refused with the least."""
    free = recommend(on_sqs(), "p95=2s")
    bound = math.ceil(100.0 * free.month_usd.value * 1.02) / 100.0
    found = recommend(on_sqs(), f"p95=2s,cost={bound}")
    assert found.month_usd.high <= bound
    with pytest.raises(Infeasible, match=r"no setting that carries the load costs less than \$"):
        recommend(on_sqs(), "p95=2s,cost=1")


@pytest.mark.parametrize(
    ("changes", "target", "text"),
    [
        ({"failures": FAILING}, "error_rate=1%", "10% of the deliveries fail"),
        ({"failures": FAILING}, "duplicates=1%", "failures alone cause more deliveries"),
        ({"failures": {"poison": 0.05}}, "dead_letters=1%", "5% of the messages fail at every delivery"),
        ({}, "api_call=1us", "a call takes"),
        ({"arrivals": {"kind": "closed_loop", "customers": 5, "think_time": {"family": "constant", "mean_s": 1}}},
         "throughput=10/s", "it can offer 4.55/s at most"),
    ],
)  # fmt: skip
def test_a_target_that_contradicts_the_scenario_is_refused(
    changes: dict[str, object], target: str, text: str
) -> None:
    """What the workload itself makes impossible is said at once, with the number that makes it so."""
    with pytest.raises(Infeasible, match=f"contradicts the scenario: .*{text}"):
        recommend(in_memory(**changes), target)


def test_shares_are_judged_by_what_runs_show() -> None:
    """Duplicates, failures and dead letters are met, missed or open by the interval, and 0 is never proven."""
    scenario = in_memory(failures=FAILING)
    targets = Targets.parse(
        "error_rate=20%,duplicates=11.2%,dead_letters=0,cpu=50%,batch_efficiency=90%,api_call=1ms"
    )
    setup, meter = setup_of(scenario), Meter(scenario, targets)
    figures = [meter.figures(run, setup, 10.0) for run in replicate(scenario, 5)]
    checks = {check.target.metric: check for check in checks_of(targets, figures, setup)}
    assert checks["error_rate"].status == "met"
    assert checks["error_rate"].estimate.low <= 0.1 <= checks["error_rate"].estimate.high
    assert checks["duplicates"].estimate.value == pytest.approx(0.11, abs=0.01)
    assert checks["cpu"].status == "met"
    assert checks["batch_efficiency"].reason == "a receive of one message is always full"
    assert checks["api_call"].status == "met"


def test_nothing_seen_is_not_nothing_there() -> None:
    """A target of no dead letters is met when none was seen, and it is said how small a share that shows."""
    scenario, targets = in_memory(), Targets.parse("dead_letters=0")
    setup, meter = setup_of(scenario), Meter(scenario, targets)
    (check,) = checks_of(targets, [meter.figures(run, setup, 0.0) for run in replicate(scenario, 3)], setup)
    assert check.status == "met"
    assert 0.0 < check.estimate.high < 0.001
    assert check.reason.startswith("none in ")


def test_what_cannot_be_told_is_not_passed() -> None:
    """A target of memory is reported as not evaluated with its reason, and alone it cannot be asked for."""
    found = recommend(in_memory(), "p95=2s,memory=80%", keep=PINNED)
    check = found.check("memory")
    assert check is not None
    assert check.status == "not evaluated"
    assert "no model of memory" in check.reason
    with pytest.raises(InputError, match="give a target that a run can be judged by"):
        recommend(in_memory(), "memory=80%")


def test_a_throughput_above_the_load_raises_the_load() -> None:
    """A queue completes no more than it is given, so the load is raised to the throughput asked for, and said."""
    question = pose(in_memory(), Targets.parse("throughput=80/s"), 10**7)
    assert question.setup.rate_per_s == pytest.approx(80.0)
    assert any("load was multiplied by 1.6" in note for note in question.notes)
    assert pose(in_memory(), Targets.parse("throughput=20/s"), 10**7).setup.rate_per_s == 50.0
    poisoned = in_memory(failures={"poison": 0.01})
    assert least_dead_share(poisoned) == pytest.approx(0.01)
    raised = pose(poisoned, Targets.parse("throughput=50/s"), 10**7).setup.rate_per_s
    assert raised is not None
    assert raised * 0.99 > 50.0


def test_a_steady_load_is_shortened_and_no_other() -> None:
    """An hour at a steady rate is cut to what precision needs; a load with a course of its own is not touched."""
    steady = pose(in_memory(500.0, horizon_s=36_000.0), Targets.parse("p95=1s"), 10**8)
    assert steady.scenario.horizon_s < 1_000.0
    steps = {
        "kind": "piecewise",
        "segments": [{"for_s": 60, "rate_per_s": 10}, {"for_s": 60, "rate_per_s": 50}],
    }
    varying = in_memory(arrivals=steps, horizon_s=7_200.0)
    assert pose(varying, Targets.parse("p95=1s"), 10**8).scenario.horizon_s == 7_200.0
    with pytest.raises(InputError, match="use a shorter horizon"):
        pose(varying, Targets.parse("p95=1s"), 1_000)


def test_lost_locks_forbid_a_setting_whatever_its_latency() -> None:
    """A handler that outlasts its lock is a setting that throws work away: longer locks or renewal are chosen."""
    scenario = on_sqs(
        5.0,
        service_time={"family": "constant", "mean_s": 3.0},
        queue={"provider": "sqs", "visibility_timeout_s": 2.0},
        consumers={"workers": 30, "receive_wait_s": 20.0},
    )
    figures = [
        Meter(scenario, Targets.parse("p95=60s")).figures(run, setup_of(scenario), 0.0)
        for run in replicate(scenario, 1)
    ]
    assert guard_text(figures)
    found = recommend(scenario, "p95=20s")
    lock_s, renewal = found.scenario.semantics().lock_s, found.scenario.consumers.renewal
    assert lock_s > 3.0 or renewal is not None
    assert found.summary.lost_locks.value <= 0.001 * found.summary.handler_calls.value


def test_an_undecided_bound_is_open() -> None:
    """A bound inside the interval is neither met nor missed."""

    def figures(value_s: float) -> Figures:
        return Figures(
            values={"p95": value_s}, within={}, verdict="stable", verdict_text="", messages=1000, lost=0.0
        )

    setup, targets = setup_of(in_memory()), Targets.parse("p95=500ms")
    around = [figures(value_s) for value_s in (0.49, 0.50, 0.52)]
    below = [figures(value_s) for value_s in (0.40, 0.41, 0.42)]
    above = [figures(value_s) for value_s in (0.60, 0.61, 0.62)]
    statuses = [checks_of(targets, found, setup)[0].status for found in (around, below, above)]
    assert statuses == ["open", "met", "missed"]
    assert worst_excess(checks_of(targets, above, setup)) == pytest.approx(0.22)


def test_the_headroom_of_customers_is_whole() -> None:
    """There is no half customer: a closed loop is scaled to whole numbers of them."""
    loop = in_memory(
        arrivals={"kind": "closed_loop", "customers": 7, "think_time": {"family": "constant", "mean_s": 1.0}}
    )
    assert whole(loop, 1.1) == pytest.approx(8 / 7)
    assert whole(in_memory(), 1.1) == 1.1


def test_equal_bills_are_decided_by_workers_and_then_by_simplicity() -> None:
    """Of settings that cost the same to half a per cent the smallest fleet wins, then the least that is set."""
    scenario = in_memory()

    def trial(usd: float, workers: int, rank: int) -> Trial:
        values = {"cost": usd}
        figures = Figures(values=values, within={}, verdict="stable", verdict_text="", messages=1, lost=0.0)
        return Trial(
            style=Style(consumers={}, rank=rank),
            instances=1,
            workers=workers,
            scenario=scenario,
            setup=setup_of(scenario),
            figures=[figures],
        )

    cheap, few, simple, dear = trial(100.0, 9, 0), trial(100.4, 4, 3), trial(100.3, 4, 1), trial(101.0, 1, 0)
    assert pick([cheap, few, simple, dear]) is simple
    assert pick([cheap, dear]) is cheap
