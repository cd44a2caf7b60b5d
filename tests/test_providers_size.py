"""How many bytes a queue of Service Bus holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qtune.engine.planning import make_plan
from qtune.errors import ScenarioError
from qtune.result import MESSAGE_REJECTED
from qtune.scenario import Scenario
from qtune.simulation import simulate

MIB = 2**20


def scenario(queue: dict[str, Any], message_bytes: int = 64 * MIB) -> Scenario:
    """Twenty large messages at once, and one worker that takes a second for each."""
    return Scenario(
        arrivals={"kind": "burst_at_once", "messages": 20},
        service_time={"family": "constant", "mean_s": 1.0},
        message_size_bytes=message_bytes,
        queue={"provider": "servicebus", "tier": "premium", **queue},
        consumers={"workers": 1, "client": "azure-processor"},
        horizon_s=60.0,
    )


def test_a_queue_refuses_what_it_has_no_room_for() -> None:
    """A gibibyte holds 16 messages of 64 MiB: of twenty at once four are refused, and the others are completed."""
    found = simulate(scenario({"max_size_bytes": 1024 * MIB}))
    state = found.messages["state"]
    assert np.count_nonzero(state == MESSAGE_REJECTED) == 4
    assert np.count_nonzero(~np.isnan(found.messages["completed_s"])) == 16


def test_a_queue_without_a_size_has_room_for_every_message() -> None:
    """Only a size that is given bounds what a queue holds; a part of a message does not count as room."""
    assert make_plan(scenario({}), 1).capacity_messages == 0
    plan = make_plan(scenario({"max_size_bytes": 1500 * MIB}), 1)
    assert (plan.capacity_messages, plan.rejects_when_full) == (23, True)


@pytest.mark.parametrize(
    ("queue", "message_bytes", "said"),
    [
        ({"max_size_bytes": 100 * 1024 * MIB}, 1024, "max_size of a queue in premium is at most 80GiB"),
        ({"tier": "standard", "max_size_bytes": 6 * 1024 * MIB}, 1024, "in standard is at most 5GiB"),
        ({"max_size_bytes": 512 * MIB}, 1024, "smallest max_size of a queue is at least 1GiB"),
        ({"max_size_bytes": 1024 * MIB}, 0, "messages of 0 bytes never fill a queue"),
    ],
)
def test_a_size_that_no_queue_has_is_an_error(queue: dict[str, Any], message_bytes: int, said: str) -> None:
    """A queue has 1 to 5 GB in standard and up to 80 GB in premium, and a size that bounds nothing is an error too."""
    with pytest.raises(ScenarioError, match=said):
        scenario(queue, message_bytes)
