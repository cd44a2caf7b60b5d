"""The closed forms: against exact arithmetic, against each other where they meet, and against simulation.

Simulations here are textbook recursions in numpy, independent of the engines. Every tolerance is an
interval of the simulation itself: Student's t over replications, wide enough that one test in ten thousand
fails by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from handmade import lindley
from hypothesis import given
from hypothesis import strategies as st

from qtune.analysis.intervals import student_interval
from qtune.analysis.theory import (
    MG1,
    BulkService,
    GGc,
    MGInfinity,
    MMc,
    MMcFeedback,
    erlang_b,
    erlang_c,
    m_d_1,
)
from qtune.distributions import Constant, Distribution, Exponential, Lognormal
from qtune.errors import InputError

SURE = 0.9999
RUNS = 40
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def within(values: list[float], expected: float) -> bool:
    """Whether an expected mean lies in the interval of independent values at confidence SURE."""
    _, low, high = student_interval(values, SURE)
    return low <= expected <= high


def exact_erlang_c(servers: int, load: Fraction) -> Fraction:
    """The chance to wait, summed state by state from the definition of M/M/c in exact arithmetic."""
    states = [load**n / math.factorial(n) for n in range(servers)]
    waiting = load**servers / math.factorial(servers) * servers / (servers - load)
    return waiting / (sum(states) + waiting)


@pytest.mark.parametrize(("servers", "load"), [(1, "1/2"), (2, "1"), (5, "9/2"), (40, "35"), (47, "45")])
def test_erlang_c_is_the_sum_over_states(servers: int, load: str) -> None:
    """Erlang C equals the sum over the states of M/M/c, computed without rounding."""
    assert erlang_c(servers, float(Fraction(load))) == pytest.approx(
        float(exact_erlang_c(servers, Fraction(load))), rel=1e-12
    )


def test_erlang_formulas_survive_many_servers() -> None:
    """With thousands of servers nothing overflows: Erlang B obeys its recursion from one size to the next."""
    load = 4_900.0
    smaller = erlang_b(4_999, load)
    assert erlang_b(5_000, load) == pytest.approx(load * smaller / (5_000 + load * smaller), rel=1e-10)
    assert erlang_b(10_000, 10.0) == 0.0


def test_one_server_is_the_textbook_queue() -> None:
    """M/M/1 at load 0.8: an arrival waits four services on average, and its sojourn is exponential."""
    queue = MMc(arrival_per_s=8.0, service_mean_s=0.1)
    assert queue.wait_chance == pytest.approx(0.8)
    assert queue.wait_mean_s == pytest.approx(0.4)
    assert queue.sojourn_mean_s == pytest.approx(0.5)
    assert queue.sojourn_quantile_s(0.95) == pytest.approx(-math.log(0.05) / (10.0 - 8.0), rel=1e-9)
    assert queue.wait_quantile_s(0.1) == 0.0
    assert queue.wait_exceeds(queue.wait_quantile_s(0.95)) == pytest.approx(0.05)


@given(servers=st.integers(1, 60), busy=st.floats(0.01, 0.99), p=st.floats(0.01, 0.999))
def test_sojourn_quantiles_invert_the_distribution(servers: int, busy: float, p: float) -> None:
    """A sojourn quantile of M/M/c is exceeded with exactly the chance that it was asked for."""
    queue = MMc(arrival_per_s=busy * servers / 0.2, service_mean_s=0.2, servers=servers)
    assert queue.sojourn_exceeds(queue.sojourn_quantile_s(p)) == pytest.approx(1.0 - p, abs=1e-9)


@pytest.mark.parametrize(("servers", "load"), [(2, 1.0), (3, 2.0 + 1e-9), (8, 7.0), (4, 3.2)])
def test_sojourn_is_wait_plus_service(servers: int, load: float) -> None:
    """The mean of the sojourn's distribution is the mean wait plus service, also where its form changes."""
    queue = MMc(arrival_per_s=load, service_mean_s=1.0, servers=servers)
    times_s = np.linspace(0.0, 400.0, 400_001)
    tail = np.array([queue.sojourn_exceeds(float(t)) for t in times_s[::10]])
    area_s = float(np.trapezoid(tail, times_s[::10]))
    assert area_s == pytest.approx(queue.wait_mean_s + 1.0, rel=1e-5)


def mm_c_waits(rng: np.random.Generator, servers: int, load: float, count: int) -> Floats:
    """Waits of M/M/c by the recursion of Kiefer and Wolfowitz: the workloads of all servers, sorted."""
    work = np.zeros(servers)
    waits = np.empty(count)
    gaps, services = rng.exponential(1.0 / load, count).tolist(), rng.exponential(1.0, count).tolist()
    for i in range(count):
        waits[i] = work[0]
        work[0] += services[i]
        work.sort()
        work = np.maximum(work - gaps[i], 0.0)
    return waits


def test_m_m_c_agrees_with_a_simulation_of_workloads() -> None:
    """The mean wait and its tail for three servers are those of a simulated queue."""
    queue = MMc(arrival_per_s=2.1, service_mean_s=1.0, servers=3)
    rng = np.random.default_rng(1)
    runs = [mm_c_waits(rng, 3, 2.1, 4_000)[500:] for _ in range(20)]
    assert within([float(waits.mean()) for waits in runs], queue.wait_mean_s)
    assert within([float((waits > 1.0).mean()) for waits in runs], queue.wait_exceeds(1.0))


def stationary_waits(
    rng: np.random.Generator, load: float, services: Callable[[int], Floats], count: int = 20_000
) -> Floats:
    """Waits of M/G/1 with mean service 1 and the given load, from the end of a long walk on."""
    return lindley(rng.exponential(1.0 / load, count), services(count))[count // 4 :]


@pytest.mark.parametrize("load", [0.3, 0.7])
@pytest.mark.parametrize(
    ("family", "scv", "third"),
    [("constant", 0.0, 1.0), ("exponential", 1.0, 6.0), ("gamma", 0.25, 1.25 * 1.5)],
)
def test_pollaczek_khinchine_agrees_with_lindley(load: float, family: str, scv: float, third: float) -> None:
    """The mean and the second moment of the wait in M/G/1 are those of Lindley's recursion."""
    queue = MG1(arrival_per_s=load, service_mean_s=1.0, service_scv=scv, service_third_moment_s3=third)
    rng = np.random.default_rng(7)
    draw: dict[str, Callable[[int], Floats]] = {
        "constant": np.ones,
        "exponential": lambda count: rng.exponential(1.0, count),
        "gamma": lambda count: rng.gamma(4.0, 0.25, count),
    }
    runs = [stationary_waits(rng, load, draw[family]) for _ in range(RUNS)]
    assert within([float(waits.mean()) for waits in runs], queue.wait_mean_s)
    assert within([float((waits**2).mean()) for waits in runs], queue.wait_second_moment_s2)


def test_constant_service_halves_the_wait() -> None:
    """M/D/1 waits half as long as M/M/1 at the same load."""
    assert m_d_1(7.0, 0.1).wait_mean_s == pytest.approx(
        0.5 * MMc(arrival_per_s=7.0, service_mean_s=0.1).wait_mean_s
    )
    assert m_d_1(7.0, 0.1).sojourn_mean_s == pytest.approx(0.1 + 0.7 * 0.1 / (2 * 0.3))


def test_a_second_moment_needs_a_third_moment() -> None:
    """What a formula needs and was not given is asked for by name, and not taken as 0."""
    with pytest.raises(InputError, match="service_third_moment_s3"):
        _ = MG1(arrival_per_s=1.0, service_mean_s=0.1, service_scv=1.0).wait_second_moment_s2


def test_enough_servers_hold_a_poisson_number() -> None:
    """With a server for everybody the number in service is Poisson with the offered load as its mean."""
    pool = MGInfinity(arrival_per_s=20.0, service_mean_s=0.1)
    assert pool.busy_mean == pytest.approx(2.0)
    assert pool.busy_exceeds(2) == pytest.approx(1.0 - math.exp(-2.0) * (1 + 2 + 2))
    assert pool.busy_exceeds(-1) == 1.0


def feedback_sojourn(rng: np.random.Generator, load: float, failure: float, count: int) -> float:
    """Mean sojourn of M/M/1 with feedback to the end of the queue, by going from event to event."""
    now, waiting, sums, done = 0.0, [], 0.0, 0
    arrival = rng.exponential(1.0 / load)
    departure = math.inf
    while done < count:
        now = min(arrival, departure)
        if arrival <= departure:
            waiting.append(now)
            arrival = now + rng.exponential(1.0 / load)
            if len(waiting) == 1:
                departure = now + rng.exponential(1.0)
            continue
        first = waiting.pop(0)
        if rng.random() < failure:
            waiting.append(first)
        else:
            sums, done = sums + now - first, done + 1
        departure = now + rng.exponential(1.0) if waiting else math.inf
    return sums / count


def test_failures_that_come_back_lengthen_the_queue() -> None:
    """With feedback the load is divided by the chance of success, and so is the time over all deliveries."""
    queue = MMcFeedback(arrival_per_s=0.4, service_mean_s=1.0, failure=0.25)
    assert queue.deliveries_mean == pytest.approx(4.0 / 3.0)
    rng = np.random.default_rng(3)
    assert within([feedback_sojourn(rng, 0.4, 0.25, 2_500) for _ in range(20)], queue.sojourn_mean_s)
    assert MMcFeedback(arrival_per_s=8.0, service_mean_s=0.1, failure=0.2).sojourn_mean_s == math.inf


def bulk_wait(rng: np.random.Generator, load: float, batch: int, count: int) -> float:
    """Mean wait when one server takes up to ``batch`` of those who wait, for one exponential time."""
    due = np.cumsum(rng.exponential(1.0 / load, count)).tolist()
    free, i, waited = 0.0, 0, 0.0
    while i < count:
        start = max(free, due[i])
        j = i
        while j < count and j - i < batch and due[j] <= start:
            waited += start - due[j]
            j += 1
        free, i = start + rng.exponential(1.0), j
    return waited / count


@pytest.mark.parametrize(("load", "batch"), [(0.5, 1), (1.5, 2), (3.0, 10)])
def test_bulk_service_agrees_with_a_simulation(load: float, batch: int) -> None:
    """The mean wait of a server that takes batches is that of a simulated one; batches of one are M/M/1."""
    queue = BulkService(arrival_per_s=load, service_mean_s=1.0, batch=batch)
    rng = np.random.default_rng(11)
    assert within([bulk_wait(rng, load, batch, 10_000) for _ in range(20)], queue.wait_mean_s)
    if batch == 1:
        assert queue.wait_mean_s == pytest.approx(MMc(arrival_per_s=load, service_mean_s=1.0).wait_mean_s)
        assert queue.busy == pytest.approx(load)


def test_bulk_service_is_unstable_when_batches_cannot_keep_up() -> None:
    """A server is overloaded when as many messages arrive in one service as it can take at once."""
    queue = BulkService(arrival_per_s=10.0, service_mean_s=1.0, batch=10)
    assert not queue.stable
    assert (queue.wait_mean_s, queue.busy) == (math.inf, 1.0)


@given(busy=st.floats(0.05, 0.95), servers=st.integers(1, 30))
def test_allen_cunneen_is_exact_where_theory_is(busy: float, servers: int) -> None:
    """The approximation equals M/M/c for exponential times, and M/G/1 for one server and Poisson arrivals."""
    rate = busy * servers / 0.1
    of_exponential = GGc(arrival_per_s=rate, service=Exponential(0.1), servers=servers)
    exact = MMc(arrival_per_s=rate, service_mean_s=0.1, servers=servers)
    assert of_exponential.wait_mean_s == pytest.approx(exact.wait_mean_s, rel=1e-9)
    one = GGc(arrival_per_s=busy / 0.1, service=Lognormal(0.1, 1.5))
    of_m_g_1 = MG1(arrival_per_s=busy / 0.1, service_mean_s=0.1, service_scv=2.25)
    assert one.wait_mean_s == pytest.approx(of_m_g_1.wait_mean_s, rel=1e-9)


@pytest.mark.parametrize("service", [Exponential(0.1), Lognormal(0.1, 0.5), Constant(0.1)])
def test_the_quantile_approximation_starts_at_the_service(service: Distribution) -> None:
    """Without a load the sojourn is the service; with an overload it is infinite; between, it rises."""
    times_s = [
        GGc(arrival_per_s=rate, service=service, servers=4).sojourn_quantile_s(0.95)
        for rate in (0.0, 1e-6, 20.0, 36.0, 40.0)
    ]
    assert times_s[0] == service.quantile(0.95)
    # The grid of 128 values can miss a quantile by the width of one of its shares.
    assert times_s[1] == pytest.approx(times_s[0], rel=abs(service.quantile(0.96) / times_s[0] - 1.0) + 1e-6)
    assert times_s == sorted(times_s)
    assert times_s[-1] == math.inf


def test_the_quantile_approximation_is_near_the_exact_one() -> None:
    """For exponential times the approximate p95 is that of M/M/c up to the grid on which it is computed."""
    for busy in (0.5, 0.8, 0.95):
        approximate = GGc(arrival_per_s=busy * 40.0, service=Exponential(0.1), servers=4)
        exact = MMc(arrival_per_s=busy * 40.0, service_mean_s=0.1, servers=4)
        assert approximate.sojourn_quantile_s(0.95) == pytest.approx(exact.sojourn_quantile_s(0.95), rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: MMc(arrival_per_s=-1.0, service_mean_s=0.1),
        lambda: MMc(arrival_per_s=1.0, service_mean_s=0.0),
        lambda: MMc(arrival_per_s=math.nan, service_mean_s=0.1),
        lambda: MMc(arrival_per_s=1.0, service_mean_s=0.1, servers=0),
        lambda: MMc(arrival_per_s=1.0, service_mean_s=0.1).sojourn_quantile_s(1.0),
        lambda: MMcFeedback(arrival_per_s=1.0, service_mean_s=0.1, failure=1.0),
        lambda: erlang_c(0, 1.0),
        lambda: BulkService(arrival_per_s=1.0, service_mean_s=0.1, batch=0),
    ],
)
def test_impossible_systems_are_refused(wrong: Callable[[], object]) -> None:
    """A negative rate, no server, no service or a certain failure is an InputError, and never a number."""
    with pytest.raises(InputError):
        wrong()


def test_overload_is_infinite_and_not_bent() -> None:
    """At and above full load waiting is infinite, and everybody waits."""
    for rate in (10.0, 11.0):
        queue = MMc(arrival_per_s=rate, service_mean_s=0.1)
        assert (queue.wait_chance, queue.wait_mean_s, queue.sojourn_quantile_s(0.5)) == (
            1.0,
            math.inf,
            math.inf,
        )
        assert MG1(arrival_per_s=rate, service_mean_s=0.1, service_scv=1.0).wait_mean_s == math.inf
