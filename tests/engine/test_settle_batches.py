"""Batches of settlements that fail in part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_plans import at_once, run, tables

from qtune.consumer import Consumers
from qtune.distributions import Constant
from qtune.engine import streams
from qtune.engine.plan import POLL, SETTLE_BATCH, Plan
from qtune.errors import InputError
from qtune.result import CALL_OK, MESSAGE_COMPLETED, OP_SETTLE


def batches(messages: int, share: float, **fields: Any) -> Plan:
    """A worker that receives ten at a time and deletes them with one call of 50 ms, entries of which may fail."""
    fixed: dict[str, Any] = {
        "seed": 4,
        "horizon_s": 0.4 * messages + 10.0,
        "sample_every_s": 10.0,
        "lock_s": 1e6,
        "discipline": POLL,
        "batch": 10,
        "in_hand_limit": 10,
        "refill_at": 10,
        "wait_s": 20.0,
        "settle_mode": SETTLE_BATCH,
        "settle_batch": 10,
        "settle_entry_fail_steps": streams.chance_steps(share),
        "tables": tables(
            service=Constant(value=0.01), receive=Constant(value=0.02), settle=Constant(value=0.05)
        ),
        **at_once(messages),
    }
    return Plan(**{**fixed, **fields})


def test_what_fails_of_a_batch_is_deleted_again_until_all_is_gone(engine: str) -> None:
    """Every message is completed once, and each entry is in 1 / (1 - share) calls on average."""
    messages, share = 2_000, 0.3
    rows = run(engine, batches(messages, share))
    assert (rows.messages["state"] == MESSAGE_COMPLETED).all()
    assert (rows.messages["deliveries"] == 1).all()
    settles = rows.calls[rows.calls["op"] == OP_SETTLE]
    assert (settles["outcome"] == CALL_OK).all()
    assert settles["count"].sum() == messages
    # A batch of ten takes as many calls as the entry that fails most often, the largest of ten geometric numbers.
    most = sum(1.0 - (1.0 - share**k) ** 10 for k in range(60))
    second = sum((2 * k + 1) * (1.0 - (1.0 - share**k) ** 10) for k in range(60))
    error = np.sqrt((second - most**2) / (messages / 10))
    assert abs(settles.size / (messages / 10) - most) < 5.0 * error


def test_the_worker_waits_until_the_last_entry_is_deleted(engine: str) -> None:
    """A call follows the one before it at once, and the next receive only the last of them."""
    rows = run(engine, batches(100, 0.5))
    settles = rows.calls[rows.calls["op"] == OP_SETTLE]
    again = settles["start_s"][1:] == settles["end_s"][:-1]
    assert again.any()
    last = np.append(~again, True)
    ends_s = settles["end_s"][last]
    assert ends_s.size == 10
    # The next ten reach the client a receive after that.
    received_s = np.unique(rows.deliveries["received_s"])
    assert received_s[1:] == pytest.approx(ends_s[:-1] + 0.02)


def test_without_failures_a_batch_takes_one_call(engine: str) -> None:
    """With a chance of 0 there is a call for each batch."""
    rows = run(engine, batches(100, 0.0))
    assert np.count_nonzero(rows.calls["op"] == OP_SETTLE) == 10


@pytest.mark.parametrize(
    ("consumers", "message"),
    [({"settle": "each"}, "entries fail in batches"), ({"settle": "batch"}, "use less than 100%")],
)
def test_entries_fail_in_batches_and_not_always(consumers: dict[str, Any], message: str) -> None:
    """A settlement that is a call of its own fails as a whole, and what never succeeds never ends."""
    with pytest.raises(InputError, match=message):
        Consumers(workers=1, settle_entry_failures=1.0, **consumers)
