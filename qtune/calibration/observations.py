"""What a run tells about single parameters: the times of calls that nothing else disturbed, and who got what."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qtune.result import CALL_OK, OP_RECEIVE, Result, Table

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

AT_ONCE_S: Final = 0.002
"""A client has written down what a receive brought at most so long after the call."""


def alone(calls: Table) -> Mask:
    """Which calls had no other call under way when they began, and none that began before they ended."""
    order = np.argsort(calls["start_s"], kind="stable")
    start_s, end_s = calls["start_s"][order], calls["end_s"][order]
    ended_s = np.append(-np.inf, np.maximum.accumulate(end_s)[:-1])
    next_s = np.append(start_s[1:], np.inf)
    found = np.zeros(calls.size, np.bool_)
    found[order] = (start_s >= ended_s) & (next_s >= end_s)
    return found


def undisturbed_s(result: Result, op: int) -> Floats:
    """How long calls of ``op`` took that succeeded alone; of receives those that found something when they came."""
    calls = result.calls
    if op != OP_RECEIVE:
        chosen = alone(calls) & (calls["op"] == op) & (calls["outcome"] == CALL_OK)
        return np.asarray(calls["end_s"][chosen] - calls["start_s"][chosen])
    # A receive that waits is under way all the time, so only other calls are asked to be away.
    receives, sent_s = brought(result)
    ready = sent_s < receives["start_s"]
    others = np.concatenate((calls[calls["op"] != OP_RECEIVE], receives))
    found = alone(others)[-receives.size :] if receives.size else np.zeros(0, np.bool_)
    chosen = ready & found
    return np.asarray(receives["end_s"][chosen] - receives["start_s"][chosen])


def brought(result: Result) -> tuple[Table, Floats]:
    """The receives that brought something, with when the last message of each had come to the broker."""
    calls, deliveries = result.calls, result.deliveries
    receives = calls[(calls["op"] == OP_RECEIVE) & (calls["outcome"] == CALL_OK) & (calls["count"] > 0)]
    order = np.argsort(deliveries["received_s"], kind="stable")
    received_s = deliveries["received_s"][order]
    first = np.searchsorted(received_s, receives["end_s"], side="left")
    last = np.searchsorted(received_s, receives["end_s"] + AT_ONCE_S, side="right")
    whole = last - first == receives["count"]
    sent_s = result.messages["sent_s"][deliveries["message"][order]]
    latest_s = np.array(
        [sent_s[a:b].max() if ok else np.inf for a, b, ok in zip(first, last, whole, strict=True)]
    ).reshape(-1)
    return receives, latest_s


def waits_s(result: Result) -> Floats:
    """For messages that came while a receive waited for them: how long until the client had them."""
    receives, sent_s = brought(result)
    single = (receives["count"] == 1) & (sent_s > receives["start_s"]) & np.isfinite(sent_s)
    return np.asarray(receives["end_s"][single] - sent_s[single])


def ranks(result: Result) -> tuple[Numbers, Numbers]:
    """For messages that came while several receives waited: by how many earlier ones the taker was passed over.

    The number of receives that began before the one that got it and were still waiting, and the number of all that
    waited.
    """
    calls = result.calls[result.calls["op"] == OP_RECEIVE]
    receives, sent_s = brought(result)
    waited = (sent_s > receives["start_s"]) & np.isfinite(sent_s)
    passed, of = [], []
    for row, at_s in zip(receives[waited], sent_s[waited], strict=True):
        there = (calls["start_s"] < at_s) & (calls["end_s"] > at_s)
        of.append(int(there.sum()))
        passed.append(int((there & (calls["start_s"] < row["start_s"])).sum()))
    several = np.array(of, np.int64) > 1
    return np.array(passed, np.int64)[several], np.array(of, np.int64)[several]
