"""The rules of the manual, applied to one scenario with its numbers.

Each rule compares a need with a bound; their ratio is how far the rule is used up, and above 1 it is broken.

R1  what waits in a client's buffer must be handled before its lock runs out
R2  a handler must be done, or its lock renewed, before the lock runs out
R3  a batch that is handled in turn must be done before its locks run out
R4  the offered load must fit through every resource: workers, calls, cores, senders
R5  places in hand must cover the round trip to the broker, or workers wait for messages
R6  a session is held for its idle timeout beside the work on its messages, and takes a receiver for so long
R7  a group of messages lets no more through than one at a time, and must be handled in its order
R8  receives that find nothing are paid for like all others
R9  each handler that outlasts its lock needs a renewer of its own, and each call at a time a kept connection
R10 messages that a full downstream refuses must be delivered often enough to get their turn
R11 a message must outlast its failed tries and the time in which nobody handles it
R12 a handler must be done before a scaler takes its instance away
R13 the fleet must not want more of a shared downstream than it has

Rules about sessions and scaling (R6 and R12) speak of what these scenarios do not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qtune.analysis.capacity import handling_s
from qtune.analysis.endurance import endurance_findings
from qtune.analysis.finding import Finding
from qtune.analysis.lifting import ceiling_findings
from qtune.analysis.open_sessions import session_findings
from qtune.analysis.ordering import order_findings
from qtune.analysis.refusing import refusal_findings
from qtune.analysis.scaling_in import scaling_findings
from qtune.analysis.setup import Setup
from qtune.analysis.summary import Summary
from qtune.providers import lock_field
from qtune.records import yaml_name
from qtune.scenario import Scenario
from qtune.units import format_duration, format_fraction, format_rate

_SURE: Final = 0.99
_SURE_SIGMAS: Final = 2.326  # the 99 % quantile of the normal distribution
_MOSTLY_EMPTY: Final = 0.5
_LAST: Final = (("R8", "empty receives"), ("R9", "connections"))


def findings_of(setup: Setup, demand_per_s: float, summary: Summary) -> tuple[Finding, ...]:
    """All rules that apply: the broken ones first, and of these and of the others the most used up first.

    Empty receives, which cost money and no time, and handshakes are the last of the broken ones, or of all.
    demand_per_s: messages per second that want to get through. summary: of the runs, for what polling cost.
    """
    found = [*of_scenario(summary.scenario, setup, demand_per_s), *_empty_receives(summary, setup)]
    return tuple(
        sorted(found, key=lambda finding: (not finding.broken, finding.key in _LAST, -finding.ratio))
    )


def of_scenario(scenario: Scenario, setup: Setup, demand_per_s: float) -> list[Finding]:
    """The rules that need no run, in no order."""
    found = ceiling_findings(scenario, setup, demand_per_s)
    if setup.semantics.hands_out != "by session":  # there the lock is not that of a message which waits
        found += [*_waiting_rule(setup), *_renewers(setup)]
    found += [_handler_rule(scenario, setup), *_connections(setup), *refusal_findings(setup)]
    found += [*_in_flight(setup, demand_per_s), *session_findings(scenario, setup, demand_per_s)]
    return [*found, *order_findings(setup), *scaling_findings(scenario, setup), *endurance_findings(scenario)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _InHand:
    """What one receiver may hold: ``count`` by a setting, ``extra`` beside it, for ``hands`` handled at a time.

    most: what it holds at most, which a backlog of fewer messages bounds.
    """

    count: int
    extra: int
    most: int
    hands: int
    rule: str
    setting: str

    @property
    def turns(self) -> int:
        """How many handlings one after the other the last message in hand needs, its own included."""
        return math.ceil(self.most / self.hands)


def _in_hand(setup: Setup) -> _InHand:
    behaviour = setup.behaviour
    hands = max(setup.workers_each // behaviour.receivers, 1) * setup.most_per_call
    rule, setting, count, extra = "R1", "consumers.prefetch", behaviour.prefetch, 0
    if behaviour.discipline == "link_burst" and behaviour.prefetch:
        extra = 1
    elif behaviour.discipline == "link_sliding":
        extra = hands if behaviour.credit_returned == "taken" else 0
    elif behaviour.discipline == "poll" and behaviour.credit_returned == "taken":
        setting, count, extra = "consumers.buffer", behaviour.in_hand_limit, hands
    else:
        count = min(behaviour.batch, behaviour.in_hand_limit)
        rule, setting = "R3", "consumers.receive_batch"
    most = count + extra
    if setup.arrivals == "burst_at_once" and setup.rate_per_s is not None:
        most = min(most, round(setup.rate_per_s * setup.horizon_s))
    return _InHand(count=count, extra=extra, most=most, hands=hands, rule=rule, setting=setting)


def _waiting_rule(setup: Setup) -> Iterator[Finding]:
    """R1 or R3: what waits its turn in the client, against the lock, which is not renewed while it waits."""
    lock_s, in_hand = setup.semantics.lock_s, _in_hand(setup)
    if in_hand.turns <= 1:
        return
    renewed = 1 if setup.behaviour.renewers else 0  # its own turn is covered by renewal
    need_s = turns_s(setup, in_hand.turns - renewed)
    what = "of a batch" if in_hand.rule == "R3" else "in the buffer"
    text = (
        f"the last message {what} has {in_hand.turns - 1} handlings before its own and needs its lock for "
        f"{format_duration(need_s)}; it has {format_duration(lock_s)}"
    )
    change, setting, value = "", None, None
    if need_s > lock_s:
        most_turns = _most_turns(setup, lock_s) + renewed
        setting = in_hand.setting
        value = max(most_turns * in_hand.hands - in_hand.extra, 1 if in_hand.rule == "R3" else 0)
        change = f"{setting}: {in_hand.count} -> {value}, or a lock of at least {format_duration(need_s)}"
    yield Finding(
        rule=in_hand.rule,
        subject="lock of waiting messages",
        ratio=need_s / lock_s,
        text=text,
        change=change,
        setting=setting,
        value=value,
    )


def turns_s(setup: Setup, turns: int) -> float:
    """How long so many handlings in a row take at most, in 99 of 100 cases.

    One is read from its distribution. Several are taken as normal around their mean, near enough for a few.
    """
    mean_s = handling_s(setup) / setup.work.deliveries
    if setup.most_per_call > 1:
        return turns * _call_s(setup)
    if turns <= 1:
        return turns * (setup.service.quantile(_SURE) + mean_s - setup.work.handler_s / setup.work.deliveries)
    spread_s = setup.service.mean * math.sqrt(setup.service.scv)
    return turns * mean_s + _SURE_SIGMAS * spread_s * math.sqrt(turns)


def _call_s(setup: Setup) -> float:
    """How long one call of a batch handler takes at most, in 99 of 100 cases, with its settlements."""
    count, service = setup.most_per_call, setup.service
    if setup.handler.batch_time == "longest":
        work_s = service.quantile(_SURE ** (1.0 / count))
    else:
        work_s = count * service.mean + _SURE_SIGMAS * service.mean * math.sqrt(service.scv * count)
    others_s = (handling_s(setup) - setup.work.handler_s) / setup.work.deliveries
    return (setup.handler.per_call_s or 0.0) + work_s + count * others_s


def _most_turns(setup: Setup, lock_s: float) -> int:
    """The most handlings in a row that a lock outlasts."""
    low, high = 0, 1
    while turns_s(setup, high) <= lock_s and high < 2**31:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if turns_s(setup, middle) <= lock_s else (low, middle)
    return low


def _handler_rule(scenario: Scenario, setup: Setup) -> Finding:
    """R2: one handler, or the time to the first renewal, against the lock."""
    lock_s, behaviour = setup.semantics.lock_s, setup.behaviour
    handler_s = turns_s(setup, 1)
    if behaviour.renewers or behaviour.renews_sessions:
        need_s = min(behaviour.renew_after_s + setup.calls.renew.quantile(_SURE), handler_s)
        text = (
            f"a lock is renewed {format_duration(behaviour.renew_after_s)} after it began, and lasts "
            f"{format_duration(lock_s)}"
        )
        instead = ""
    else:
        need_s = handler_s + behaviour.gather_s
        first = (
            f"a batch waits up to {format_duration(behaviour.gather_s)}, and " if behaviour.gather_s else ""
        )
        text = (
            f"{first}99 % of the handlers end within {format_duration(handler_s)}; the lock lasts "
            f"{format_duration(lock_s)} and is not renewed"
        )
        instead = "lock renewal"
    change, setting, value = "", None, None
    if need_s > lock_s:
        change, setting, value = _longer_lock(scenario, need_s, instead)
    return Finding(
        rule="R2",
        subject="lock of handled messages",
        ratio=need_s / lock_s,
        text=text,
        change=change,
        setting=setting,
        value=value,
    )


def _longer_lock(scenario: Scenario, need_s: float, instead: str) -> tuple[str, str | None, float | None]:
    """The change to a long enough lock of whole seconds, or what to do ``instead`` where none may be so long."""
    name, value = lock_field(scenario.queue), float(math.ceil(need_s))
    otherwise = f", or {instead}" if instead else ""
    if name is None:  # a provider of another package, which calls it in its own way
        return f"a lock of at least {format_duration(need_s)}{otherwise}", None, None
    limits = scenario.provider().limits
    most_s = next((limit.value for limit in limits if f"{limit.name}_s" == name), None)
    if most_s is not None and value > most_s:
        return (
            f"{instead or 'shorter handlers'}: no lock is longer than {format_duration(most_s)}",
            None,
            None,
        )
    setting, now = f"queue.{name}", format_duration(scenario.semantics().lock_s)
    return f"{yaml_name(setting)}: {now} -> {format_duration(value)}{otherwise}", setting, value


def _renewers(setup: Setup) -> Iterator[Finding]:
    """R9: a renewer stays with one delivery, so handlers that outlast the lock need one each."""
    behaviour, workers = setup.behaviour, setup.workers_each
    enough = behaviour.renewers >= workers or turns_s(setup, 1) <= setup.semantics.lock_s
    if not behaviour.renewers or enough:
        return
    setting = "consumers.renewal.renewers"
    yield Finding(
        rule="R9",
        subject="renewers",
        ratio=workers / behaviour.renewers,
        text=f"{workers} workers need their locks renewed, by {behaviour.renewers} renewers",
        change=f"{setting}: {behaviour.renewers} -> {workers}",
        setting=setting,
        value=workers,
    )


def _connections(setup: Setup) -> Iterator[Finding]:
    """R9 for connections: what an instance, of consumers or producers, calls at a time, against what its pool keeps."""
    kept, need = setup.behaviour.pool_connections, setup.behaviour.calls_at_once(setup.workers_each)
    need = max(need, setup.producers.senders if setup.producers else 0)
    if not kept or need <= kept or setup.calls.connect is None:
        return
    setting = "consumers.max_pool_connections"
    handshake = format_duration(setup.calls.connect.mean)
    yield Finding(
        rule="R9",
        subject="connections",
        ratio=need / kept,
        text=f"{need} calls at a time, and {kept} connections are kept; a call that finds none waits {handshake}",
        change=f"{setting}: {kept} -> {need}",
        setting=setting,
        value=need,
    )


def _in_flight(setup: Setup, demand_per_s: float) -> Iterator[Finding]:
    """R5 for the broker's own places: messages that are locked at the same time, against its quota.

    By Little's law so many are locked as arrive while one is. A delivery that is not settled is locked to the end.
    """
    quota, work = setup.semantics.in_flight_most, setup.work
    if not quota or work.deliveries <= 0.0:
        return
    left = max(0.0, 1.0 - work.settles / work.deliveries) if not setup.abandons else 0.0
    call_s = setup.call_s if setup.most_per_call > 1 else work.handler_s / work.deliveries
    held_s = call_s + left * setup.semantics.lock_s
    text = (
        f"a delivery is locked for {format_duration(held_s)} on average, so that at {format_rate(demand_per_s)} "
        f"{demand_per_s * held_s:,.0f} would be in flight; the broker lets {quota:,} be"
    )
    ratio = demand_per_s * held_s / quota
    change = "settle what is received, or a shorter lock" if ratio > 1.0 else ""
    yield Finding(rule="R5", subject="messages in flight", ratio=ratio, text=text, change=change)


def _empty_receives(summary: Summary, setup: Setup) -> Iterator[Finding]:
    """R8: the share of the calls that are receives which found nothing, against half of them."""
    empty, calls = summary.empty_receives_per_s, summary.calls_per_message
    if setup.behaviour.discipline != "poll" or not empty.known:
        return
    made_per_s = calls.value * summary.goodput_per_s.value if calls.known else empty.value
    share = empty.value / made_per_s if made_per_s > 0.0 else 0.0
    text = f"{format_rate(empty.value)} receives find nothing, {format_fraction(share)} of all calls"
    ratio = share / _MOSTLY_EMPTY
    if ratio <= 1.0:
        yield Finding(rule="R8", subject="empty receives", ratio=ratio, text=text)
        return
    yield _longer_wait(summary, setup, ratio, text)


def _longer_wait(summary: Summary, setup: Setup, ratio: float, text: str) -> Finding:
    longest_s = next(
        (limit.value for limit in summary.scenario.provider().limits if limit.name == "receive_wait"), None
    )
    setting, now_s = "consumers.receive_wait", setup.behaviour.wait_s
    if longest_s is None or now_s >= longest_s:
        return Finding(rule="R8", subject="empty receives", ratio=ratio, text=text, change="fewer receivers")
    change = f"{setting}: {format_duration(now_s)} -> {format_duration(longest_s)}"
    return Finding(
        rule="R8",
        subject="empty receives",
        ratio=ratio,
        text=text,
        change=change,
        setting=f"{setting}_s",
        value=longest_s,
    )
