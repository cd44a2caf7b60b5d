"""Single queues of the textbooks: what both engines say about waiting, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_agreement import MESSAGES, PRECISION, agrees, means, replications, sojourns_s, waits_s
from engine_plans import NOTHING, poisson, queue_plan, run, tables

from qtune.analysis.theory import MG1, BulkService, MMc, MMcFeedback, m_d_1
from qtune.distributions import Constant, Distribution, Exponential, Gamma, Lognormal
from qtune.engine import streams
from qtune.engine.plan import LINK_BURST, LINK_SLIDING, POLL, SETTLE_BATCH, Plan

SECOND = Exponential(mean=1.0)


def queue(engine: str, rate_per_s: float, service: Distribution = SECOND, **fields: Any) -> Plan:
    """A queue with as many Poisson messages as the engine can do quickly, run until all have left."""
    count = MESSAGES[engine]
    served: dict[str, Any] = {"tables": tables(service=service), **fields}
    return queue_plan(
        horizon_s=2.0 * count / rate_per_s, messages_most=count, **poisson(rate_per_s), **served
    )


# Four ways in which four workers can get messages without delay; to the theory they are one queue.
FACES: dict[str, dict[str, Any]] = {
    "link": {"discipline": LINK_SLIDING, "workers": 4, "in_hand_limit": 4},
    "loops": {"discipline": POLL, "receivers": 4, "wait_s": 20.0, "in_hand_limit": 1},
    "permits": {"discipline": POLL, "workers": 4, "batch": 4, "wait_s": 20.0, "in_hand_limit": 4},
    "calls": {"discipline": LINK_BURST, "receivers": 4, "wait_s": 60.0, "linger_s": 0.2, "keepalive_s": 5.0},
}


@pytest.mark.parametrize("face", FACES)
def test_four_workers_are_a_queue_with_four_servers(engine: str, face: str) -> None:
    """M/M/4: the share that waits is Erlang's C, and the mean wait and the p95 of the sojourn follow.

    It makes no difference whether the workers are fed by a link, by a poll each, by one poll for all, or by
    calls.
    """
    theory = MMc(arrival_per_s=3.0, service_mean_s=1.0, servers=4)
    runs = replications(engine, queue(engine, 3.0, **FACES[face]))
    agrees(means(runs, lambda rows: waits_s(rows) > 0.0), theory.wait_chance, precision=PRECISION[engine])
    agrees(means(runs, waits_s), theory.wait_mean_s, precision=2.0 * PRECISION[engine])
    p95_s = theory.sojourn_quantile_s(0.95)
    agrees(means(runs, lambda rows: sojourns_s(rows) > p95_s), 0.05, precision=2.0 * PRECISION[engine])


@pytest.mark.parametrize("face", FACES)
def test_messages_are_handled_in_the_order_in_which_they_came(engine: str, face: str) -> None:
    """However the workers are fed, what has waited longest is handled first."""
    rows = run(
        engine, queue_plan(horizon_s=200.0, **FACES[face], **poisson(4.0), tables=tables(service=SECOND))
    )
    assert len(rows.messages) > 600
    assert (np.diff(rows.deliveries["message"]) == 1).all()
    started_s = rows.deliveries["started_s"]
    assert (np.diff(started_s[~np.isnan(started_s)]) >= 0.0).all()


def test_one_worker_is_a_queue_with_one_server(engine: str) -> None:
    """M/M/1: with one worker the time in the system is exponential, with mean S / (1 - load)."""
    theory = MMc(arrival_per_s=0.6, service_mean_s=1.0)
    runs = replications(engine, queue(engine, 0.6))
    agrees(means(runs, sojourns_s), 2.5, precision=PRECISION[engine])
    for p in (0.5, 0.95):
        beyond_s = theory.sojourn_quantile_s(p)
        shares = [float((sojourns_s(rows) > beyond_s).mean()) for rows in runs]
        agrees(shares, 1.0 - p, precision=2.0 * PRECISION[engine])


def test_a_constant_service_halves_the_wait(engine: str) -> None:
    """M/D/1: the mean wait is half of that of M/M/1, and its second moment is Takacs's."""
    theory = m_d_1(0.7, 1.0)
    runs = replications(engine, queue(engine, 0.7, Constant(value=1.0)))
    agrees(means(runs, waits_s), theory.wait_mean_s, precision=PRECISION[engine])
    agrees(
        means(runs, lambda rows: waits_s(rows) ** 2),
        theory.wait_second_moment_s2,
        precision=3.0 * PRECISION[engine],
    )


@pytest.mark.parametrize("service", [Lognormal(mean=1.0, cv=1.5), Gamma(mean=1.0, cv=2.0)])
def test_a_variable_service_lengthens_the_wait(engine: str, service: Distribution) -> None:
    """M/G/1: the mean wait grows with 1 + cv^2 of the service, whatever its family."""
    theory = MG1(arrival_per_s=0.5, service_mean_s=1.0, service_scv=service.scv)
    runs = replications(engine, queue(engine, 0.5, service))
    agrees(means(runs, waits_s), theory.wait_mean_s, precision=3.0 * PRECISION[engine])


@pytest.mark.parametrize("servers", [1, 2])
def test_failed_messages_at_the_back_of_the_queue(engine: str, servers: int) -> None:
    """M/M/c with feedback: 20 % fail and queue again, so the load is 1 / 0.8 of what it seems."""
    rate_per_s = 0.5 * servers
    theory = MMcFeedback(arrival_per_s=rate_per_s, service_mean_s=1.0, failure=0.2, servers=servers)
    plan = queue(engine, rate_per_s, workers=servers, fail_steps=streams.chance_steps(0.2))
    runs = replications(engine, plan)
    sojourns = means(runs, lambda rows: sojourns_s(rows, leave_out=200))
    agrees(sojourns, theory.sojourn_mean_s, precision=PRECISION[engine])
    for more_than in (1, 2):
        again = [float((rows.messages["deliveries"] > more_than).mean()) for rows in runs]
        agrees(again, 0.2**more_than, precision=PRECISION[engine])


def test_failed_messages_at_the_front_of_the_queue(engine: str) -> None:
    """With one worker and returned messages first, the tries of a message are one longer service."""
    theory = MMc(arrival_per_s=0.5, service_mean_s=1.25)
    plan = queue(engine, 0.5, fail_steps=streams.chance_steps(0.2), redelivers_first=True)
    runs = replications(engine, plan)
    agrees(means(runs, sojourns_s), theory.sojourn_mean_s, precision=PRECISION[engine])
    p95_s = theory.sojourn_quantile_s(0.95)
    agrees(means(runs, lambda rows: sojourns_s(rows) > p95_s), 0.05, precision=2.0 * PRECISION[engine])


@pytest.mark.parametrize("rate_per_s", [0.8, 2.5])
def test_a_batch_that_is_settled_in_one_call_is_bulk_service(engine: str, rate_per_s: float) -> None:
    """M/M^[1,4]/1: a loop that takes up to 4 and spends its time in one call for all is a bulk server.

    Handlers take no time here and the settle call an exponential one, so that a batch is served as one, and
    what arrives meanwhile waits for the next poll.
    """
    theory = BulkService(arrival_per_s=rate_per_s, service_mean_s=1.0, batch=4)
    loop: dict[str, Any] = {"batch": 4, "in_hand_limit": 4, "refill_at": 4, "wait_s": 20.0}
    plan = queue(
        engine,
        rate_per_s,
        discipline=POLL,
        settle_mode=SETTLE_BATCH,
        settle_batch=4,
        tables=tables(service=NOTHING, settle=SECOND),
        **loop,
    )
    runs = replications(engine, plan)
    agrees(means(runs, waits_s), theory.wait_mean_s, precision=PRECISION[engine])


@pytest.mark.parametrize("face", ["loops", "calls"])
def test_whoever_gets_the_next_message_four_workers_are_one_queue(engine: str, face: str) -> None:
    """M/M/4 with messages that go to any receiver that waits: workers without a buffer are as good as each other."""
    theory = MMc(arrival_per_s=3.0, service_mean_s=1.0, servers=4)
    runs = replications(engine, queue(engine, 3.0, serves_any_receiver=True, **FACES[face]))
    agrees(means(runs, waits_s), theory.wait_mean_s, precision=2.0 * PRECISION[engine])


def test_two_buffers_filled_by_chance_are_two_queues(engine: str) -> None:
    """Two consumers with room for everything: by chance each is an M/M/1 with half the rate.

    Served in turn each gets every second message, and waits less: the second moment of the gaps is halved.
    """
    each = {"consumers": 2, "workers": 1, "in_hand_limit": 20_000}
    theory = MMc(arrival_per_s=0.6, service_mean_s=1.0)
    chance = replications(engine, queue(engine, 1.2, serves_any_receiver=True, **each))
    agrees(means(chance, sojourns_s), theory.sojourn_mean_s, precision=2.0 * PRECISION[engine])
    in_turn = replications(engine, queue(engine, 1.2, **each))
    assert float(np.mean(means(in_turn, sojourns_s))) < 0.9 * theory.sojourn_mean_s
