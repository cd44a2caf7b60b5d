"""The broker against a second one that was written to be obviously right, on random sequences of calls."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from typing import Any, Literal

from broker_hands import HandClock, Hands, semantics
from broker_model import Model
from hypothesis import given, settings
from hypothesis import strategies as st

from qtune.broker import Broker, Message
from qtune.errors import LockLost, QueueFull, SessionLocked
from qtune.providers.base import DeliverySemantics

Call = tuple[Any, ...]

CALLS: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("send"), st.sampled_from("abc"), st.sampled_from([0, 0, 0, 2])),
    st.tuples(st.just("send"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("poll"), st.integers(1, 4), st.booleans()),
    st.tuples(
        st.just("settle"),
        st.integers(0, 30),
        st.sampled_from(["completed", "completed", "abandoned", "released", "dead_lettered"]),
    ),
    st.tuples(st.just("renew"), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.integers(1, 4)),
)


@st.composite
def rules(draw: st.DrawFn) -> DeliverySemantics:
    """Any queue without sessions; a queue by group takes no late completion, as no provider's does."""
    hands_out = draw(st.sampled_from(["by age", "by group"]))
    return semantics(
        lock_s=float(draw(st.integers(2, 6))),
        max_deliveries=draw(st.integers(0, 3)),
        retention_s=draw(st.sampled_from([math.inf, math.inf, 9.0])),
        capacity_messages=draw(st.sampled_from([0, 0, 4])),
        rejects_when_full=True,
        redelivers_first=hands_out == "by age" and draw(st.booleans()),
        accepts_late=hands_out == "by age" and draw(st.booleans()),
        in_flight_most=draw(st.sampled_from([0, 0, 2])),
        hands_out=hands_out,
    )


class Both:
    """The broker and the model, which get the same calls."""

    def __init__(self, rules: DeliverySemantics) -> None:
        self.clock = HandClock()
        self.broker = Broker(rules, clock=self.clock)
        self.model = Model(rules)
        self.given: list[tuple[int, int, int]] = []
        self.tokens: list[bytes] = []
        self.receivers = 0

    def deliver_to(self, receiver: int, credit: int) -> Hands:
        """A receiver that writes down what it gets in the order of all hand-outs."""
        both = self

        class Noting(Hands):
            def deliver(self, delivery: Any) -> None:
                both.given.append((receiver, delivery.message.number, delivery.delivery_no))
                both.tokens.append(delivery.token)

        return Noting(credit=credit)

    def call(self, call: Call) -> None:
        """Make one call of both, which answer the same."""
        match call:
            case ("send", group, delay_s):
                self.send(group, delay_s)
            case ("poll", most, waits):
                self.receivers += 1
                self.model.poll(self.receivers, most, waits)
                self.broker.poll(self.deliver_to(self.receivers, most), waits=waits)
            case ("settle", place, outcome) if self.given:
                self.settle(place % len(self.given), outcome)
            case ("renew", place) if self.given:
                self.renew(place % len(self.given))
            case ("pass", seconds):
                self.model.pass_s(seconds)
                self.clock.go_to(self.clock.now_s + seconds, self.broker)

    def send(self, group: str, delay_s: int) -> None:
        """A message, now or scheduled."""
        visible_s = self.clock.now_s + delay_s if delay_s else -math.inf
        try:
            self.broker.send(Message(body=b"", group=group, visible_s=visible_s))
            taken = True
        except QueueFull:
            taken = False
        assert taken == self.model.send(group, float(delay_s))

    def settle(self, place: int, outcome: Literal["completed", "abandoned"]) -> None:
        """One of the deliveries so far, whether it has ended or not."""
        _, number, delivery = self.given[place]
        if self.given[place][1:] in {later[1:] for later in self.given[place + 1 :]}:
            return  # released and given again: the model tells deliveries apart by their counts alone
        try:
            self.broker.settle(self.tokens[place], outcome)
            held = True
        except LockLost:
            held = False
        assert held == self.model.settle(number, delivery, outcome)

    def renew(self, place: int) -> None:
        """One of the deliveries so far, whether it has ended or not."""
        _, number, delivery = self.given[place]
        if self.given[place][1:] in {later[1:] for later in self.given[place + 1 :]}:
            return
        try:
            end_s = self.broker.renew(self.tokens[place])
            held = True
            assert end_s == self.clock.now_s + self.broker.semantics.lock_s
        except LockLost:
            held = False
        assert held == self.model.renew(number, delivery)

    def agree(self) -> None:
        """Both have given the same to the same receivers, in order, and hold the same."""
        assert self.given == self.model.given
        states = {message.number: message.state for message in self.broker.peek(1, 1_000)}
        assert states == {held.number: held.state for held in self.model.messages.values()}
        assert [message.number for message in self.broker.dead_letters.peek(1, 1_000)] == sorted(
            self.model.dead
        )
        counters, counts = self.broker.counters, self.broker.counts()
        assert (counters.completed, counters.outlived) == (
            len(self.model.completed),
            len(self.model.outlived),
        )
        assert counters.sent == counters.completed + counters.outlived + counters.dead_lettered + len(states)
        assert Counter(states.values())["locked"] == counts.locked


@settings(max_examples=200, deadline=None)
@given(rules(), st.lists(CALLS, min_size=15, max_size=60))
def test_the_broker_does_what_the_simple_broker_does(rules: DeliverySemantics, calls: list[Call]) -> None:
    """On any sequence of calls both give the same messages to the same receivers, and lose and keep the same."""
    both = Both(rules)
    for call in calls:
        both.call(call)
        both.agree()


SESSION_CALLS: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("send"), st.sampled_from("abc")),
    st.tuples(st.just("accept"), st.integers(0, 2), st.sampled_from([None, None, "a", "b"])),
    st.tuples(st.just("credit"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("close"), st.integers(0, 2)),
    st.tuples(st.just("gone"), st.integers(0, 2)),
    st.tuples(
        st.just("settle"), st.integers(0, 30), st.sampled_from(["completed", "completed", "abandoned"])
    ),
    st.tuples(st.just("renew"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.integers(1, 4)),
)


def _make(broker: Broker, hands: list[Hands], clock: HandClock, call: Call) -> None:
    """One call; what the broker refuses is no concern here."""
    match call:
        case ("send", group):
            broker.send(Message(body=b"", group=group))
        case ("accept", place, name):
            broker.accept_session(hands[place], name)
        case ("credit", place, credit):
            broker.grant(hands[place], credit)
        case ("close", place):
            broker.close_session(hands[place])
        case ("gone", place):
            broker.remove(hands[place])
            hands[place] = Hands()
        case ("renew", place):
            broker.renew_session(hands[place])
        case ("settle", place, outcome):
            got = [delivery for each in hands for delivery in each.got]
            if got:
                broker.settle(got[place % len(got)].token, outcome)
        case ("pass", seconds):
            clock.go_to(clock.now_s + seconds, broker)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2), st.lists(SESSION_CALLS, min_size=15, max_size=60))
def test_sessions_keep_their_laws(max_deliveries: int, calls: list[Call]) -> None:
    """Nothing is lost, a session has one holder, and its messages come to that in the order of their numbers."""
    clock = HandClock()
    broker = Broker(
        semantics(lock_s=5.0, max_deliveries=max_deliveries, hands_out="by session"), clock=clock, seed=1
    )
    hands = [Hands() for _ in range(3)]
    for call in calls:
        before = [len(each.got) for each in hands]
        with suppress(LockLost, SessionLocked, ValueError):
            _make(broker, hands, clock, call)
        counters, counts = broker.counters, broker.counts()
        inside = counts.ready + counts.locked
        assert counters.sent == counters.completed + counters.dead_lettered + inside
        for each, seen in zip(hands, before, strict=False):
            new = [delivery.message.number for delivery in each.got[seen:] if call[0] != "pass"]
            assert new == sorted(new)
            assert {delivery.message.group for delivery in each.got} <= set(each.sessions)
        _no_session_waits_in_vain(broker, hands)


def _no_session_waits_in_vain(broker: Broker, hands: list[Hands]) -> None:
    """A holder with credit has got all of its session; what waits has no holder with credit."""
    for message in broker.peek(1, 1_000):
        holder = broker.session_holder(str(message.group))
        if message.state == "ready" and isinstance(holder, Hands) and holder in hands:
            assert holder.credit == 0
