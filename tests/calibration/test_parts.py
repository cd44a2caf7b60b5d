"""The parts of a fit, each on data whose law is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from calibration_truth import BUS, CALL_COST_S, MESSAGE_COST_S, SQS, TIMES, run, truth
from scipy import stats

from qtune.calibration.client_cost import fit_client_cost
from qtune.calibration.fitting import fit
from qtune.calibration.latency import fit_latency, of_two_halves, shortened
from qtune.calibration.observations import times_of
from qtune.calibration.waiting import fit_look
from qtune.errors import InputError
from qtune.providers import dump_model, load_model
from qtune.providers.model import HandOut, Latency, Looking
from qtune.result import OP_RECEIVE, OP_SEND, OP_SETTLE
from qtune.shapes import ConstantTime, EmpiricalTime, ExponentialTime, FittedTime

TODAY = date(2026, 11, 25)


def known(mean_s: float) -> Latency:
    """A constant time whose source is this test."""
    return Latency(time=ConstantTime(mean_s=mean_s), prior=False, source="known", as_of=TODAY)


LAWS = {
    "lognormal": stats.lognorm(0.6, scale=0.01),
    "gamma": stats.gamma(2.5, scale=0.004),
    "weibull": stats.weibull_min(1.6, scale=0.01),
}


@pytest.mark.parametrize("family", list(LAWS))
def test_a_family_is_found_with_its_mean_and_its_p95(family: str) -> None:
    """Of the families, the one that the times were drawn from is found; its mean and p95 are within four errors."""
    law = LAWS[family]
    found = fit_latency(law.rvs(2000, random_state=1))
    assert found.time.family == family
    for estimate, value in ((found.mean_s, law.mean()), (found.p95_s, law.ppf(0.95))):
        assert abs(estimate.value - value) < estimate.high - estimate.low
    shape = found.time.distribution()
    assert shape.quantile(0.95) == pytest.approx(found.p95_s.value, rel=1e-3)


@pytest.mark.parametrize("family", list(LAWS))
def test_calls_that_had_not_ended_count_as_longer(family: str) -> None:
    """With half of the calls cut off before their end, the mean is found; of those that ended alone it would not be."""
    law = LAWS[family]
    drawn_s, cut_s = law.rvs(2000, random_state=2), law.ppf(0.9) * np.random.default_rng(2).random(2000)
    ended = drawn_s <= cut_s
    assert 0.3 < ended.mean() < 0.7
    found = fit_latency(drawn_s[ended], cut_s[~ended])
    assert abs(found.mean_s.value - law.mean()) < found.mean_s.high - found.mean_s.low
    assert fit_latency(drawn_s[ended]).mean_s.high < law.mean()


def test_times_of_no_family_are_kept_as_they_are() -> None:
    """Times of two kinds of calls fit no family: the model then holds the measured times, with their quantiles."""
    rng = np.random.default_rng(3)
    mixed_s = np.concatenate((rng.normal(0.002, 0.0001, 700), rng.normal(0.02, 0.001, 300)))
    found = fit_latency(mixed_s)
    assert isinstance(found.time, EmpiricalTime)
    shape = found.time.distribution()
    assert shape.mean == pytest.approx(mixed_s.mean(), rel=1e-3)
    for level in (0.25, 0.5, 0.9, 0.99):
        assert shape.quantile(level) == pytest.approx(np.quantile(mixed_s, level), rel=0.05)
    assert found.mean_s.low < mixed_s.mean() < found.mean_s.high


def test_equal_times_are_a_constant_and_few_are_refused() -> None:
    """Calls that all take the same are constant; fewer than thirty tell nothing, and the error says what to do."""
    found = fit_latency(np.full(50, 0.003))
    assert isinstance(found.time, ConstantTime)
    assert found.time.mean_s == pytest.approx(0.003)
    with pytest.raises(InputError, match="run longer"):
        fit_latency(np.full(29, 0.003))


@pytest.mark.parametrize(
    "time",
    [
        FittedTime(family="lognormal", mean_s=0.01, cv=0.5),
        ExponentialTime(mean_s=0.01),
        ConstantTime(mean_s=0.01),
        EmpiricalTime(samples_s=(0.008, 0.012)),
    ],
)
def test_a_shape_that_is_shortened_keeps_its_spread(time: FittedTime) -> None:
    """When a fixed part is taken off, the mean falls by it and the standard deviation stays."""
    before, after = time.distribution(), shortened(time, 0.004).distribution()
    assert after.mean == pytest.approx(before.mean - 0.004)
    assert after.scv**0.5 * after.mean == pytest.approx(before.scv**0.5 * before.mean, abs=1e-12)


def test_two_halves_make_a_whole_of_twice_the_variance() -> None:
    """A receive over a link is two halves drawn apart: the whole has the same mean and twice the variance."""
    whole = FittedTime(family="gamma", mean_s=0.01, cv=0.6).distribution()
    rng = np.random.default_rng(4)
    halves_s = rng.gamma(1.0 / whole.scv, whole.mean * whole.scv, (3000, 2))
    found = of_two_halves(fit_latency(halves_s.mean(axis=1)))
    assert abs(found.mean_s.value - 0.01) < found.mean_s.high - found.mean_s.low
    assert found.time.distribution().scv ** 0.5 == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize("every_s", [0.0, 0.03, 0.5])
def test_how_often_a_broker_looks_is_found_from_the_waits(every_s: float) -> None:
    """Messages that wait for the next look wait up to its interval, and half of a round trip follows."""
    receive = FittedTime(family="gamma", mean_s=0.006, cv=0.4).distribution()
    rng = np.random.default_rng(5)
    back_s = 0.5 * np.array([receive.quantile(u) for u in rng.random(400)])
    found = fit_look(every_s * rng.random(400) + back_s, receive)
    assert found.low - 1e-9 <= every_s <= found.high * 1.02
    assert abs(found.value - every_s) <= 0.05 * every_s


def test_a_slow_way_to_who_waits_is_no_looking() -> None:
    """A client that is woken takes longer than a call that finds something; nobody looks now and then for all that."""
    receive = FittedTime(family="gamma", mean_s=0.0001, cv=0.4).distribution()
    found = fit_look(stats.lognorm(0.5, scale=0.0003).rvs(500, random_state=6), receive)
    assert found.value == 0.0


@pytest.mark.parametrize("to", ["any", "longest_waiting"])
def test_whose_receive_gets_the_next_message_is_found(to: str, tmp_path: Path) -> None:
    """Where several receives wait, a broker that serves any is told from one that serves the longest waiting."""
    hand_out = HandOut(to=to, prior=False, source="known", as_of=TODAY)  # type: ignore[arg-type]
    _, path = truth("sqs", tmp_path, hand_out=hand_out)
    waits = {"instances": 6, "receive_batch": 1, "receive_wait_s": 5.0}
    fitted = fit([run(SQS, path, 1, arrivals={"rate_per_s": 40.0}, consumers=waits)], load_model("sqs"))
    assert fitted.model.broker.hand_out is not None
    assert fitted.model.broker.hand_out.to == to
    assert not fitted.model.broker.hand_out.prior


def test_the_hand_out_over_links_is_found(tmp_path: Path) -> None:
    """Links that wait in a receive call tell whom the broker serves as polls do."""
    _, path = truth(
        "servicebus", tmp_path, hand_out=HandOut(to="any", prior=False, source="known", as_of=TODAY)
    )
    fitted = fit(
        [run(BUS, path, 1, arrivals={"rate_per_s": 40.0}, consumers={"workers": 6})], load_model("servicebus")
    )
    assert fitted.model.broker.hand_out is not None
    assert fitted.model.broker.hand_out.to == "any"


def test_calls_that_open_a_connection_are_not_taken_for_round_trips(tmp_path: Path) -> None:
    """A client's first call on a connection waits for its handshakes, and is left out of the times of calls."""
    model, path = truth("sqs", tmp_path)
    latency = model.latency.model_copy(update={"connect": known(0.5)})
    slow = model.model_copy(update={"latency": latency})
    Path(path).write_text(dump_model(slow), encoding="utf-8")
    result = run(SQS, path, 1, arrivals={"rate_per_s": 30.0}, consumers={"workers": 4})
    took_s = result.calls["end_s"] - result.calls["start_s"]
    assert (took_s[result.calls["op"] == OP_SEND] > 0.5).any()
    for op in (OP_SEND, OP_SETTLE, OP_RECEIVE):
        assert times_of(result, op).seen_s.max() < 0.5


def test_settlements_that_are_open_at_the_horizon_are_counted(tmp_path: Path) -> None:
    """What the run ended before its answer came is a call of which a lower bound is known."""
    model, path = truth("sqs", tmp_path)
    latency = model.latency.model_copy(update={"settle": known(3.0)})
    slow = model.model_copy(update={"latency": latency})
    Path(path).write_text(dump_model(slow), encoding="utf-8")
    result = run(SQS, path, 1, consumers={"workers": 10, "polling": "permits"}, horizon_s=10.0)
    times = times_of(result, OP_SETTLE)
    assert times.censored_s.size > 0
    assert (times.censored_s < 3.0 + CALL_COST_S * 10.0).all()


def test_costs_of_calls_and_messages_are_told_apart_by_two_sizes_of_batch(tmp_path: Path) -> None:
    """Runs with batches of two sizes tell exactly what a call and a message cost; with one size, the interval of a call
    has room for every cost of a message."""
    _, path = truth("sqs", tmp_path)
    single = run(SQS, path, 1, arrivals={"rate_per_s": 30.0}, consumers={"receive_batch": 1})
    batches = run(
        SQS,
        path,
        2,
        arrivals={"rate_per_s": 200.0},
        service_time={"mean_s": 0.004},
        consumers={"settle": "batch", "receive_batch": 10},
    )
    both = fit_client_cost([single, batches], 1e-5)
    assert both.call.value == pytest.approx(CALL_COST_S, rel=0.01)
    assert both.message.value == pytest.approx(MESSAGE_COST_S, rel=0.1)
    one = fit_client_cost([single], 1e-5)
    assert not one.message.known
    assert "receive_batch" in one.message.reason
    assert one.call.low < CALL_COST_S < one.call.high


def test_work_that_does_not_fit_into_calls_is_counted_to_messages(tmp_path: Path) -> None:
    """A client that works longer than its calls last works between them too: no call is left shorter than nothing."""
    _, path = truth("sqs", tmp_path)
    result = run(SQS, path, 1, arrivals={"rate_per_s": 30.0}, consumers={"receive_batch": 1})
    states = result.states.copy()
    states["core_busy_s"] *= 20.0
    fitted = fit([replace(result, states=states)], load_model("sqs"))
    cost = fitted.model.clients["boto3"]
    took_s = times_of(result, OP_SETTLE).seen_s
    assert 0.0 < cost.call_cost_s < np.quantile(took_s, 0.05)
    assert "counted to the messages" in fitted.parameter("clients.boto3.message_cost").reason
    calls, handled = (result.calls["op"] != OP_SEND).sum(), (~np.isnan(result.deliveries["started_s"])).sum()
    spent_s = cost.call_cost_s * calls + cost.message_cost_s * handled
    # The rest is what the fit takes for work of a client that has nothing to do.
    assert spent_s == pytest.approx(states["core_busy_s"][-1], rel=0.1)
    assert fitted.parameter("latency.settle").estimate.low > 0.0


def test_a_client_that_shares_its_process_has_no_cost_of_its_own(tmp_path: Path) -> None:
    """Where processor time was not seen, the costs stay assumed, and it is said why."""
    _, path = truth("sqs", tmp_path)
    result = run(SQS, path, 1)
    states = result.states.copy()
    states["core_busy_s"] = np.nan
    start = load_model("sqs")
    fitted = fit([replace(result, states=states)], start)
    cost = fitted.parameter("clients.boto3.call_cost")
    assert not cost.identified
    assert "shared" in cost.reason
    assert fitted.model.clients == start.clients


def test_a_client_that_does_not_wait_for_settlements_does_not_tell_how_long_they_take(tmp_path: Path) -> None:
    """A measured settlement that nobody waits for is as long as its sending, so it is no round trip."""
    _, path = truth("servicebus", tmp_path)
    old = {"client": "azure-servicebus-7.14", "workers": 1}
    result = replace(run(BUS, path, 1, consumers=old), source="measured:servicebus")
    settle = fit([result], load_model("servicebus")).parameter("latency.settle")
    assert not settle.identified
    assert "waits for the answer" in settle.reason


def test_a_broker_without_a_limit_is_seen_to_have_none(tmp_path: Path) -> None:
    """Where calls never get in each other's way, the model serves any number, and it is said what would tell."""
    _, path = truth("sqs", tmp_path)
    runs = [
        run(SQS, path, 1, arrivals={"rate_per_s": 15.0}, consumers={"receive_batch": 1}),
        run(SQS, path, 2, arrivals={"rate_per_s": 100.0}, consumers={"workers": 8, "receive_batch": 1}),
    ]
    fitted = fit(runs, load_model("sqs"))
    served = fitted.parameter("broker.calls_served_at_once")
    assert served.identified
    assert served.estimate.value == 0.0
    assert fitted.model.broker.calls_served_at_once == 0
    assert "more calls at once" in fitted.parameter("broker.call_service").reason


def test_times_of_sends_have_no_bias(tmp_path: Path) -> None:
    """Calls are chosen by how they begin, so the mean of those chosen is that of all."""
    _, path = truth("sqs", tmp_path)
    result = run(SQS, path, 1, arrivals={"rate_per_s": 60.0}, consumers={"workers": 4}, horizon_s=120.0)
    times_s = times_of(result, OP_SEND).seen_s
    everything = result.calls[result.calls["op"] == OP_SEND]
    assert times_s.size < 0.8 * everything.size
    mean_s = TIMES["send"][1]
    assert abs(times_s.mean() - mean_s) < 4.0 * times_s.std() / times_s.size**0.5


def test_looking_is_not_a_word_of_links(tmp_path: Path) -> None:
    """A broker that pushes has nothing to look for; one that is polled has, and the model holds it."""
    looking = Looking(every_s=0.1, prior=False, source="known", as_of=TODAY)
    _, path = truth("sqs", tmp_path, long_poll=looking)
    waits = {"receive_batch": 1, "receive_wait_s": 5.0}
    runs = [
        run(SQS, path, 1, consumers=waits),
        run(SQS, path, 2, consumers=waits, arrivals={"rate_per_s": 20.0}),
    ]
    fitted = fit(runs, load_model("sqs"))
    assert fitted.model.broker.long_poll is not None
    assert fitted.model.broker.long_poll.every_s == pytest.approx(0.1, rel=0.1)
    _, path = truth("servicebus", tmp_path)
    names = {each.name for each in fit([run(BUS, path, 1)], load_model("servicebus")).parameters}
    assert "broker.long_poll.every" not in names
