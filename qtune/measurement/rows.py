"""From what the processes wrote down to the tables of a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qtune.conditions import Account
from qtune.measurement.logs import read_rows
from qtune.measurement.recorder import REJECTED, SENT, TAKEN
from qtune.result import (
    CALL,
    DELIVERY,
    DELIVERY_COMPLETED,
    DELIVERY_LATE,
    DELIVERY_LOST,
    DELIVERY_OPEN,
    DELIVERY_UNSETTLED,
    MESSAGE,
    MESSAGE_COMPLETED,
    MESSAGE_DEAD_LETTERED,
    MESSAGE_LOCKED,
    MESSAGE_READY,
    MESSAGE_REJECTED,
    MESSAGE_UNSENT,
    STATE,
    Table,
)
from qtune.workload import Workload

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

SAMPLES: Final = 500


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What is known of a run when it is over.

    start_s: the instant of the machine's clock that is 0. killed_s: when each consumer process was killed; inf: never.
    core_s: processor time of all consumers at instants, as two columns. dead: most deliveries of a message; 0: any.
    """

    folder: Path
    workload: Workload
    start_s: float
    horizon_s: float
    consumers: int
    senders: int
    killed_s: Floats
    core_s: Floats
    dead: int


def tables(ran: Ran) -> tuple[Table, Table, Table, Table]:
    """Messages, deliveries, calls and states of a measured run, up to its horizon."""
    deliveries = _deliveries(ran)
    calls = _all(ran, "calls", CALL, ("start_s", "end_s"))
    calls = calls[calls["end_s"] <= ran.horizon_s]
    calls = calls[np.argsort(calls["end_s"], kind="stable")]
    messages = _messages(ran, deliveries)
    return messages, deliveries, calls, _states(ran, messages, deliveries)


def sent_rows(ran: Ran) -> NDArray[np.void]:
    """Every message of every send call."""
    return _all(ran, "sent", SENT, ("start_s", "end_s"))


def account(ran: Ran, left: int | None) -> Account:
    """Where the messages were when all processes had ended, of which so many were left in the queue."""
    sent = sent_rows(ran)
    rows = _all(ran, "deliveries", DELIVERY, ())
    done = np.bincount(rows["message"][rows["outcome"] == DELIVERY_COMPLETED], minlength=len(ran.workload))
    unsure = np.isin(rows["outcome"], (DELIVERY_OPEN, DELIVERY_UNSETTLED, DELIVERY_LATE))
    asked = unsure & ~np.isnan(rows["finished_s"])
    return Account(
        sent=int(np.unique(sent["message"][sent["fate"] == TAKEN]).size),
        completed=int((done > 0).sum()),
        completed_twice=int((done > 1).sum()),
        unanswered=int(np.unique(rows["message"][asked & (done[rows["message"]] == 0)]).size),
        left=left,
    )


def lateness_s(ran: Ran) -> Floats:
    """How late each send began of those that had a free sender when their message was due.

    What waits for a sender that is busy is late by the scenario's own doing, and does not count.
    """
    sent = sent_rows(ran)
    start_s, first = np.unique(sent["start_s"], return_index=True)
    due_s = ran.workload.due_s[sent["message"][first]]
    begun = np.searchsorted(start_s, due_s)
    ended = np.searchsorted(np.sort(sent["end_s"][first]), due_s)
    return np.asarray((start_s - due_s)[begun - ended < ran.senders])


def _all(ran: Ran, kind: str, dtype: np.dtype[Any], times: tuple[str, ...]) -> NDArray[np.void]:
    """The rows of all processes, with times from the start of the run."""
    rows = read_rows(ran.folder, kind, dtype)
    for name in times:
        rows[name] -= ran.start_s
    return rows


def _deliveries(ran: Ran) -> Table:
    """Deliveries in the order in which they came; what was after the horizon had not happened."""
    times = ("locked_s", "received_s", "started_s", "finished_s", "settled_s", "lock_end_s")
    rows = _all(ran, "deliveries", DELIVERY, times)
    rows = rows[rows["received_s"] <= ran.horizon_s]
    rows = rows[np.argsort(rows["received_s"], kind="stable")]
    for name, others in (
        ("started_s", ("worker",)),
        ("finished_s", ("attempts",)),
        ("settled_s", ("outcome",)),
    ):
        later = rows[name] > ran.horizon_s
        rows[name][later] = np.nan
        for other in others:
            rows[other][later] = -1 if other == "worker" else 0
    unfinished = np.isnan(rows["finished_s"]) & ~np.isnan(rows["started_s"])
    killed = ran.killed_s[rows["consumer"]] <= ran.horizon_s
    open_still = rows["outcome"] == DELIVERY_OPEN
    rows["outcome"][killed & open_still & (rows["received_s"] <= ran.killed_s[rows["consumer"]])] = (
        DELIVERY_LOST
    )
    rows["outcome"][unfinished & ~killed] = DELIVERY_OPEN
    # A lock ends with the settlement, or by itself when its time is over; one that is live has no end yet.
    rows["lock_end_s"] = np.fmin(rows["lock_end_s"], rows["settled_s"])
    rows["lock_end_s"][rows["lock_end_s"] > ran.horizon_s] = np.nan
    unknown = rows["delivery_no"] == 0
    if unknown.any():
        rows["delivery_no"][unknown] = _ranks(rows["message"])[unknown]
    return rows


def _ranks(keys: Numbers) -> Numbers:
    """For each row, how many rows of the same key there are up to it."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
    ranks = np.empty(keys.size, np.int64)
    ranks[order] = np.arange(keys.size) - np.repeat(starts, np.diff(np.append(starts, keys.size))) + 1
    return ranks


def _messages(ran: Ran, deliveries: Table) -> Table:
    """One row a message that is due by the horizon."""
    rows = np.zeros(len(ran.workload), MESSAGE)
    rows["due_s"], rows["group"], rows["delivery"] = ran.workload.due_s, ran.workload.groups, -1
    for name in ("sent_s", "completed_s", "settled_s", "left_s"):
        rows[name] = np.nan
    sent = sent_rows(ran)
    sent = sent[sent["end_s"] <= ran.horizon_s]
    given_up = sent[sent["fate"] == REJECTED]
    sent = sent[sent["fate"] == TAKEN]
    # The broker has a message half-way through the call, as near as its sender can tell.
    half_way_s = 0.5 * (sent["start_s"] + sent["end_s"])
    rows["sent_s"][sent["message"][::-1]] = half_way_s[::-1]  # the first of those taken twice stays
    message = deliveries["message"]
    rows["deliveries"] = np.bincount(message, minlength=rows.size)
    rows["delivery"][message] = np.arange(message.size)  # the last
    good = np.flatnonzero((deliveries["outcome"] == DELIVERY_COMPLETED) & ~np.isnan(deliveries["settled_s"]))[
        ::-1
    ]
    its = deliveries[good]
    rows["completed_s"][its["message"]], rows["settled_s"][its["message"]] = (
        its["finished_s"],
        its["settled_s"],
    )
    rows["delivery"][its["message"]], rows["left_s"][its["message"]] = good, its["settled_s"]
    # A broker may hand a message out before half of the call is over, if the way there was the shorter one.
    had = rows["deliveries"] > 0
    first_s = np.full(rows.size, np.inf)
    np.minimum.at(first_s, message, deliveries["received_s"])
    rows["sent_s"][had] = np.fmin(rows["sent_s"][had], first_s[had])
    rows["state"] = _state_of(ran, rows, deliveries)
    lost = given_up[np.isnan(rows["sent_s"][given_up["message"]])]
    rows["state"][lost["message"]], rows["left_s"][lost["message"]] = MESSAGE_REJECTED, lost["end_s"]
    return rows


def _state_of(ran: Ran, messages: Table, deliveries: Table) -> Numbers:
    """Where each message is at the horizon, as far as its deliveries tell."""
    state = np.where(np.isnan(messages["sent_s"]), MESSAGE_UNSENT, MESSAGE_READY)
    last = deliveries[messages["delivery"]] if deliveries.size else deliveries
    had = messages["deliveries"] > 0
    if deliveries.size:
        locked = had & np.isnan(last["lock_end_s"])
        state[locked] = MESSAGE_LOCKED
        spent = had & ~locked & (last["delivery_no"] >= ran.dead) if ran.dead else np.zeros(had.size, bool)
        state[spent] = MESSAGE_DEAD_LETTERED
        lost = spent & np.isnan(messages["left_s"])
        messages["left_s"][lost] = last["lock_end_s"][lost]
    state[~np.isnan(messages["completed_s"])] = MESSAGE_COMPLETED
    return state


def _states(ran: Ran, messages: Table, deliveries: Table) -> Table:
    """The state at even steps, as the rows have it."""
    times_s = np.linspace(0.0, ran.horizon_s, SAMPLES + 1)
    rows = np.zeros(times_s.size, STATE)
    rows["time_s"] = times_s

    def before(instants_s: Floats) -> Numbers:
        known = np.sort(instants_s[~np.isnan(instants_s)])
        return np.searchsorted(known, times_s, side="right")

    received, ended = before(deliveries["received_s"]), before(deliveries["lock_end_s"])
    came = ~np.isnan(messages["sent_s"])
    entered, left = before(messages["sent_s"]), before(messages["left_s"][came])
    rows["unsent"] = before(messages["due_s"]) - entered - before(messages["left_s"][~came])
    rows["in_flight"] = received - ended
    rows["backlog"] = np.maximum(entered - left - rows["in_flight"], 0)
    started = before(deliveries["started_s"])
    finished = before(deliveries["finished_s"])
    rows["busy_workers"] = started - finished
    rows["buffered"] = received - started
    alive = ran.consumers - before(ran.killed_s[np.isfinite(ran.killed_s)])
    rows["consumers"] = alive
    rows["instance_s"] = np.append(0.0, np.cumsum(alive[:-1] * np.diff(times_s)))
    rows["downstream_busy_s"] = np.nan
    rows["core_busy_s"] = (
        np.interp(times_s, ran.core_s[:, 0], ran.core_s[:, 1]) if ran.core_s.size else np.nan
    )
    return rows
