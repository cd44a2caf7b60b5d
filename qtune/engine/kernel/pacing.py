"""The steps of a client that slows its calls down when the broker throttles it: see reference/pacing.py."""

from __future__ import annotations

from math import floor

from qtune.engine import pacing
from qtune.engine.kernel.compiled import apart, rare, step
from qtune.engine.pacing import BUCKET_S, CURVE, FIRST_PER_S, KEPT, LEAST_PER_S, MOST_ABOVE, SMOOTHING
from qtune.result import CALL_THROTTLED

cube_root = apart(pacing.cube_root)


@rare()
def begin_pace(w, client, now_s):  # type: ignore[no-untyped-def]
    """A client that has made no call yet."""
    row = w.clients[client]
    row.paced, row.answers, row.counted_from_s, row.measured_per_s = 0, 0, float(floor(now_s)), 0.0
    row.throttled_s, row.throttled_at_per_s, row.back_after_s = now_s, 0.0, 0.0
    row.rate_per_s, row.most_pace_tokens, row.pace_tokens, row.filled_s = FIRST_PER_S, FIRST_PER_S, 0.0, now_s


@rare(0.0)
def paced_s(w, client, ready_s):  # type: ignore[no-untyped-def]
    """Take a token for a try that could leave then: when it leaves."""
    row = w.clients[client]
    if row.paced == 0:
        return ready_s
    fill(row, ready_s)
    wait_s = (1.0 - row.pace_tokens) / row.rate_per_s if row.pace_tokens < 1.0 else 0.0
    row.pace_tokens = row.pace_tokens - 1.0
    return ready_s + wait_s


@rare()
def note_answer(w, client, outcome, now_s):  # type: ignore[no-untyped-def]
    """An answer has come: set the rate."""
    row = w.clients[client]
    count(row, now_s)
    if outcome == CALL_THROTTLED:
        at_per_s = min(row.measured_per_s, row.rate_per_s) if row.paced == 1 else row.measured_per_s
        row.throttled_s, row.throttled_at_per_s = now_s, at_per_s
        row.back_after_s = cube_root(at_per_s * (1.0 - KEPT) / CURVE)
        row.paced = 1
        wanted_per_s = at_per_s * KEPT
    else:
        past_s = (now_s - row.throttled_s) - row.back_after_s
        wanted_per_s = CURVE * (past_s * past_s * past_s) + row.throttled_at_per_s
    wanted_per_s = min(wanted_per_s, MOST_ABOVE * row.measured_per_s)
    fill(row, now_s)
    row.rate_per_s = max(wanted_per_s, LEAST_PER_S)
    row.most_pace_tokens = max(wanted_per_s, 1.0)
    row.pace_tokens = min(row.pace_tokens, row.most_pace_tokens)


@step
def count(row, now_s):  # type: ignore[no-untyped-def]
    """Measure the rate of answers, whenever a new half second has begun."""
    row.answers += 1
    counted_to_s = floor(now_s / BUCKET_S) * BUCKET_S
    if counted_to_s > row.counted_from_s:
        per_s = row.answers / (counted_to_s - row.counted_from_s)
        row.measured_per_s = per_s * SMOOTHING + row.measured_per_s * (1.0 - SMOOTHING)
        row.answers, row.counted_from_s = 0, counted_to_s


@step
def fill(row, now_s):  # type: ignore[no-untyped-def]
    """Add the tokens that have come since the last time."""
    come = (now_s - row.filled_s) * row.rate_per_s
    row.pace_tokens, row.filled_s = min(row.most_pace_tokens, row.pace_tokens + come), now_s
