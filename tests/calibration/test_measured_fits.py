"""Fits to measured runs on servers of this machine, of which one thing is known: what it was told to do.

The machine that runs these tests may be busy, and its stalls make means longer. So they hold medians, and believe every
run.
"""

from __future__ import annotations

from typing import Any

import pytest

from qtune.calibration.fitting import Fit, fit
from qtune.emulators.servicebus import ServiceBusEmulator
from qtune.emulators.servicebus.faults import Faults
from qtune.measurement import measure
from qtune.providers import load_model
from qtune.scenario import Scenario

ANY_MACHINE = 2.0
BUS: dict[str, Any] = {
    "arrivals": {"kind": "poisson", "rate_per_s": 12.0},
    "service_time": {"family": "exponential", "mean_s": 0.02},
    "message_size_bytes": 200,
    "producers": {"senders": 8},
    "queue": {"provider": "servicebus", "tier": "premium", "lock_duration_s": 30.0},
    "consumers": {"workers": 1},
}


def fitted_at(rtt_s: float, horizon_s: float, **changes: Any) -> Fit:
    """The fit to a run on the emulator, on a network with such a round trip."""
    with ServiceBusEmulator(faults=Faults(rtt_s=rtt_s)) as emulator:
        scenario = Scenario(**BUS, name=f"{rtt_s * 1e3:g} ms", horizon_s=horizon_s).with_(**changes)
        run = measure(scenario, endpoint=f"127.0.0.1:{emulator.port}")
    return fit([run], load_model("servicebus"), busiest=ANY_MACHINE)


def median_s(fitted: Fit, op: str) -> float:
    """The median of a call."""
    found = fitted.parameter(f"latency.{op}")
    assert found.identified, found.reason
    return getattr(fitted.model.latency, op).time.distribution().quantile(0.5)


def test_a_run_on_a_server_tells_its_round_trips() -> None:
    """A few seconds on an emulated network are enough to know a send, and it is no shorter than the network's round
    trip."""
    fitted = fitted_at(0.05, 3.0, arrivals={"rate_per_s": 25.0}, consumers={"workers": 3})
    assert median_s(fitted, "send") > 0.05
    assert not fitted.model.latency.send.prior
    assert fitted.parameter("latency.send").estimate.low > 0.0


@pytest.mark.nightly
def test_round_trips_come_back_and_what_server_and_client_take_themselves_is_seen_apart() -> None:
    """Round trips of 20 and 40 ms come back within 5 %, and so does the difference between two of them, which holds
    nothing of what the server and the client take themselves."""
    medians_s = {}
    print(f"\n{'asked':>6} {'send':>8} {'receive':>8} {'settle':>8} {'mean':>8} {'call':>8}")
    for rtt_s in (0.0, 0.005, 0.02, 0.04):
        fitted = fitted_at(rtt_s, 20.0)
        medians_s[rtt_s] = median_s(fitted, "settle")
        send_ms, receive_ms, settle_ms = (
            1e3 * getattr(fitted.model.latency, op).time.distribution().quantile(0.5)
            for op in ("send", "receive", "settle")
        )
        mean_ms = 1e3 * fitted.parameter("latency.settle").estimate.value
        cost_ms = 1e3 * fitted.model.clients["azure-servicebus-7.15"].call_cost_s
        print(
            f"{1e3 * rtt_s:6.1f} {send_ms:8.3f} {receive_ms:8.3f} {settle_ms:8.3f} {mean_ms:8.3f} {cost_ms:8.3f}"
        )
    for rtt_s in (0.02, 0.04):
        assert medians_s[rtt_s] == pytest.approx(rtt_s, rel=0.05)
        assert medians_s[rtt_s] - medians_s[0.0] == pytest.approx(rtt_s, rel=0.05)
