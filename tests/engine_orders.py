"""Random plans in the orders in which a broker can hand out: by age, by group, and by session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from engine_plans import NEVER_S

from qtune.engine import streams
from qtune.engine.plan import (
    BY_FAIRNESS,
    BY_GROUP,
    BY_SESSION,
    DRAWN_GROUPS,
    GIVEN_GROUPS,
    LINK_BURST,
    LINK_SLIDING,
    NO_GROUPS,
    OWN_GROUPS,
    SETTLE_CONCURRENT,
    SETTLE_EACH,
    Plan,
)

Pick = Callable[..., Any]
Fields = dict[str, Any]


def in_any_order(pick: Pick, plan: Plan) -> Plan:
    """The same load, handed out by age, by group or by session."""
    ordered: Plan = pick(_by_group, _by_group, _by_session, _fairly, _by_age, _by_age, _by_age, _by_age)(
        pick, plan
    )
    scaled = ordered.scale_every_s > 0.0 and ordered.hands_out in (BY_GROUP, BY_SESSION)
    return replace(ordered, scale_groups=True) if scaled and pick(False, True) else ordered


def with_groups(pick: Pick, arrivals: Fields) -> Fields:
    kind = pick(NO_GROUPS, OWN_GROUPS, DRAWN_GROUPS, GIVEN_GROUPS)
    if kind == DRAWN_GROUPS:
        ends = pick((1.0,), (0.5, 1.0), (0.0, 0.25, 0.375, 1.0, 1.0))
        return {**arrivals, "grouping": kind, "group_ends": np.array(ends)}
    if kind == GIVEN_GROUPS:
        if "explicit" not in arrivals:
            return arrivals
        return {**arrivals, "grouping": kind, "group_of": np.arange(arrivals["due_s"].size) // 3 % 4}
    return {**arrivals, "grouping": kind}


def _by_age(pick: Pick, plan: Plan) -> Plan:
    """The same plan; handlers that take batches fail in part more often than by chance."""
    if plan.handler_batch == 1 or pick(False, False, True):
        return plan
    return replace(plan, fail_steps=streams.chance_steps(0.3), batch_fails_whole=False)


def _fairly(pick: Pick, plan: Plan) -> Plan:
    """The same load by few or many tenants of a fair queue that is quick to call one of them noisy."""
    few: Fields = {"grouping": DRAWN_GROUPS, "group_ends": np.array((0.5, 0.75, 1.0))}
    return replace(
        plan,
        hands_out=BY_FAIRNESS,
        redelivers_first=False,
        fair_share=pick(0.1, 0.4),
        fair_least=pick(1, 2, 5),
        fair_quiet_s=pick(300.0, 0.02 * plan.horizon_s, 0.1),
        **pick(few, few, {"grouping": OWN_GROUPS}, {}),
    )


def _by_session(pick: Pick, plan: Plan) -> Plan:
    """The same load, handled by receivers each of which holds a session."""
    few: Fields = {"grouping": DRAWN_GROUPS, "group_ends": np.array((0.25, 0.5, 1.0))}
    many: Fields = {"grouping": DRAWN_GROUPS, "group_ends": np.arange(1, 33) / 32.0}
    return replace(
        plan,
        hands_out=BY_SESSION,
        handler_batch=1,
        discipline=LINK_SLIDING,
        batch=1,
        in_hand_limit=pick(1, plan.workers, 5),
        credit_at_settle=True,
        prefetch=0,
        settle_mode=pick(SETTLE_EACH, SETTLE_CONCURRENT),
        settle_batch=1,
        abandons=True,
        accepts_late=False,
        in_flight_most=0,
        short_poll_steps=0,
        session_idle_s=pick(1.0, 0.05, 0.3, 10.0),
        accept_wait_s=pick(60.0, 1.0),
        renewers=0,
        renews_sessions=pick(False, True),
        renew_after_s=pick(0.5, 0.66) * plan.lock_s,
        renew_max_s=pick(NEVER_S, 3.0 * plan.lock_s),
        fail_steps=pick(plan.fail_steps, streams.chance_steps(0.3)),
        **pick({"grouping": OWN_GROUPS}, few, many),
    )


def _by_group(pick: Pick, plan: Plan) -> Plan:
    """The same plan, but group by group, by the broker, the client or both, and with more failures."""
    keeps = pick(True, True, False) and plan.discipline != LINK_BURST
    by_group = pick(True, True, False)
    of_broker: Fields = (
        {
            "hands_out": BY_GROUP,
            "accepts_late": False,
            "short_poll_steps": 0,
            "group_window": pick(0, 2, 4),
        }
        if by_group
        else {}
    )
    few: Fields = {"grouping": DRAWN_GROUPS, "group_ends": np.array((0.25, 0.5, 1.0))}
    return replace(
        plan,
        fail_steps=pick(plan.fail_steps, streams.chance_steps(0.3)),
        abandons=pick(plan.abandons, False, False),
        keeps_order=keeps,
        handler_batch=1 if keeps else plan.handler_batch,
        **of_broker,
        **pick({}, few),
    )
