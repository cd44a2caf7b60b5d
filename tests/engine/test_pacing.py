"""Clients that slow their calls down when they are throttled, by the rule of botocore's retry mode adaptive."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nextafter
from typing import Any

import numpy as np
import pytest
from botocore.retries.adaptive import ClientRateLimiter, RateClocker
from botocore.retries.bucket import TokenBucket
from botocore.retries.throttling import CubicCalculator
from engine_plans import NEVER_S, Plan, at_once, limit, queue_plan, run, tables
from hypothesis import given
from hypothesis import strategies as st

from qtune.distributions import Constant
from qtune.engine.pacing import cube_root
from qtune.engine.plan import POLL
from qtune.result import CALL_THROTTLED, OP_RECEIVE, OP_SEND, OP_SETTLE
from qtune.scenario import Scenario
from qtune.simulation import simulate

ROUND_TRIP_S = 0.02


def calling(op: int, most: float, messages: int = 3000, **fields: Any) -> Plan:
    """One client that makes one call after the other; of one kind so many are answered in each second."""
    moment = Constant(value=ROUND_TRIP_S)
    plain: dict[str, Any] = {
        "horizon_s": 60.0,
        "discipline": POLL,
        "wait_s": 20.0,
        "lock_s": NEVER_S,
        "senders": int(op == OP_SEND),
        "paces_calls": True,
        "tables": tables(send=moment, receive=moment, settle=moment, service=Constant(value=0.001)),
        **limit(most, 1.0, calls={op: 1.0}),
        **at_once(messages),
    }
    return queue_plan(**{**plain, **fields})


class Clock:
    """A clock that goes on only when someone waits; it is the lock of a token bucket besides."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def current_time(self) -> float:
        return self.now_s

    def wait(self, wait_s: float) -> None:
        self.now_s = max(self.now_s + wait_s, nextafter(self.now_s, inf))

    def notify(self) -> None:
        """Nobody else waits."""

    def __enter__(self) -> None:
        """Nobody else is there."""

    def __exit__(self, *error: object) -> None:
        """Nobody else is there."""


class Detector:
    """Tells botocore which answers were throttled."""

    def is_throttling_error(self, *, throttled: bool) -> bool:
        return throttled


def botocore_limiter(clock: Clock) -> ClientRateLimiter:
    """What botocore registers for a client in mode adaptive, on this clock."""
    bucket = TokenBucket(max_rate=1, clock=clock)
    bucket._new_fill_rate_condition = clock
    return ClientRateLimiter(
        rate_adjustor=CubicCalculator(starting_max_rate=0, start_time=clock.current_time()),
        rate_clocker=RateClocker(clock),
        token_bucket=bucket,
        throttling_detector=Detector(),
        clock=clock,
    )


@pytest.mark.parametrize(
    ("op", "most"), [(OP_SEND, 1.0), (OP_SEND, 12.0), (OP_SEND, 40.0), (OP_RECEIVE, 5.0), (OP_SETTLE, 5.0)]
)
def test_one_call_at_a_time_leaves_when_botocore_lets_it_leave(engine: str, op: int, most: float) -> None:
    """Botocore's own code, told the answers of a run, holds each call up as long as the run did."""
    calls = run(engine, calling(op, most)).calls
    calls = calls[(calls["op"] == OP_SEND) == (op == OP_SEND)]  # senders have a client of their own
    clock = Clock()
    limiter = botocore_limiter(clock)
    for call in calls:
        clock.now_s = float(call["start_s"])
        limiter.on_sending_request(request=None)
        clock.now_s += ROUND_TRIP_S
        assert clock.now_s == pytest.approx(call["end_s"], abs=1e-9)
        clock.now_s = float(call["end_s"])
        limiter.on_receiving_response(throttled=call["outcome"] == CALL_THROTTLED)
    held_up = calls["end_s"] - calls["start_s"] > ROUND_TRIP_S + 1e-9
    assert held_up.any()
    assert (calls["outcome"] == CALL_THROTTLED).any()


def test_a_client_that_is_never_throttled_is_never_held_up(engine: str) -> None:
    """Its rows are those of a client that does not pace its calls."""
    plan = calling(OP_SEND, 1e6, messages=200)
    paced, plain = run(engine, plan), run(engine, replace(plan, paces_calls=False))
    assert paced.calls.tobytes() == plain.calls.tobytes()


def test_the_rate_never_falls_below_one_call_in_two_seconds(engine: str) -> None:
    """A broker that refuses everything still sees a call every 2 s."""
    calls = run(engine, calling(OP_SEND, 1.0, limit_period_s=np.array([NEVER_S]))).calls
    starts_s = calls["start_s"][-10:]
    assert np.diff(starts_s) == pytest.approx(2.0, abs=2.0 * ROUND_TRIP_S)


@given(st.floats(min_value=0.0, max_value=1e12))
def test_a_cube_root_is_exact_to_the_last_digits(number: float) -> None:
    """Its cube is the number again, but for the rounding of four operations; of less than 0 it is 0."""
    root = cube_root(number)
    assert root * root * root == pytest.approx(number, rel=8.0 * np.finfo(float).eps, abs=1e-300)
    assert cube_root(-number) == 0.0


def test_adaptive_clients_are_throttled_less_than_standard_ones() -> None:
    """Both work the same queue through a minute in which it answers 20 calls a second."""

    def throttled(mode: str) -> int:
        scenario = Scenario(
            arrivals={"kind": "poisson", "rate_per_s": 30.0},
            service_time={"family": "constant", "mean_s": 0.05},
            queue={"provider": "sqs"},
            consumers={"workers": 10, "receive_wait_s": 20.0, "retry_mode": mode, "max_attempts": 8},
            faults=({"kind": "throttling", "at_s": 20.0, "for_s": 60.0, "rate_per_s": 20.0},),
            horizon_s=90.0,
        )
        return int((simulate(scenario).calls["outcome"] == CALL_THROTTLED).sum())

    assert throttled("adaptive") < throttled("standard")
