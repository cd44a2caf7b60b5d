"""Sessions: groups of which one receiver holds all messages, those that are there and those that come.

A session is locked as a whole: its messages have no locks of their own, and what is in flight of it comes back together
when the lock runs out. Whoever holds it keeps it while messages come in time, and closes it after a while without any.
"""

from __future__ import annotations

from collections import defaultdict, deque
from heapq import heappop
from typing import TYPE_CHECKING

from qtune.engine import streams
from qtune.engine.plan import ACCEPT, CLOSE
from qtune.engine.reference.clock import Slot
from qtune.engine.reference.lines import ByGroup
from qtune.engine.reference.links import Link
from qtune.result import (
    CALL_EMPTY,
    CALL_LOCK_LOST,
    CALL_OK,
    DELIVERY_RELEASED,
    OP_RECEIVE,
    OP_RENEW,
)

if TYPE_CHECKING:
    from qtune.engine.reference.broker import Broker
    from qtune.engine.reference.consumer import Consumer

GRANTED, NOTHING, LOST = -1, -2, -3
"""What the broker tells a receiver: a session, none, or that the lock is lost; other numbers are deliveries."""


class BySession(ByGroup):
    """A session with messages that nobody holds goes to who has asked for one longest, oldest message first.

    ``holders`` has every session that is locked, with its receiver, or None when that receiver was killed.
    ``to_serve`` are those who may have both a message and credit for it.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.holders: dict[int, SessionLink | None] = {}
        self.lock_end_s: dict[int, float] = {}
        self.in_hand: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self.asking: deque[SessionLink] = deque()
        self.to_serve: dict[SessionLink, None] = {}

    def is_closed(self, group: int) -> bool:
        """Whether somebody holds the session."""
        return group in self.holders

    def is_in_flight(self, group: int) -> bool:
        """Whether a message of the session is in flight."""
        return bool(self.in_hand[group])

    def add(self, message: int) -> None:
        """At the end of its session, whose holder may have credit for it."""
        super().add(message)
        self._may_serve_holder(message)

    def come_back(self, message: int) -> None:
        """By its age, and its session's holder may have credit for it."""
        super().come_back(message)
        self._may_serve_holder(message)

    def ended(self, message: int) -> None:
        """The session stays closed whatever is in flight."""
        del self.in_hand[self.messages[message].group][message]

    def _may_serve_holder(self, message: int) -> None:
        group = self.messages[message].group
        holder = self.holders.get(group)
        if holder is not None and holder.session == group:
            self.may_serve(holder)

    def may_serve(self, link: SessionLink) -> None:
        """A receiver has credit, or its session a message: look at it when next something is handed out."""
        self.to_serve.setdefault(link)

    def match(self) -> None:
        """Sessions go to those who ask for one, and messages to those who hold theirs."""
        if not self.broker.backlog or self.broker.held:
            return
        while self.asking and self.open and self.broker.may_hand_out():
            self.grant(heappop(self.open)[1], self.asking.popleft())
        while self.to_serve:
            link = next(iter(self.to_serve))
            while link.session is not None and link.pushed < link.known_limit and self.ready[link.session]:
                if not self.broker.may_hand_out():
                    return
                message = self.ready[link.session].popleft()
                self.in_hand[link.session][message] = None
                link.push_delivery(self.broker.lock(message, link))
            del self.to_serve[link]

    def grant(self, group: int, link: SessionLink) -> None:
        """Lock a session for a receiver."""
        self.holders[group] = link
        self.start_lock(group)
        link.granted(group)

    def start_lock(self, group: int) -> None:
        """Lock a session from now on, for the first time or again."""
        ends_s = self.broker.clock.now + self.plan.lock_s
        self.lock_end_s[group] = ends_s
        for message in self.in_hand[group]:
            self.broker.rows.deliveries[self.messages[message].delivery].lock_end_s = ends_s
        self.broker.queue_lock(ends_s, -1 - group)

    def renew(self, group: int) -> None:
        """Start the lock of a session that is held afresh."""
        self.start_lock(group)
        for message in self.in_hand[group]:
            self.broker.rows.deliveries[self.messages[message].delivery].renewals += 1

    def lose(self, group: int) -> None:
        """The lock of a session has run out: what is in flight of it comes back, and counts as delivered."""
        link = self.holders[group]
        self._free(group, counted=True)
        if link is not None:
            link.tell_lost()

    def close(self, group: int) -> None:
        """The holder gives a session up: what is in flight of it comes back uncounted."""
        rows, now_s = self.broker.rows, self.broker.clock.now
        for message in self.in_hand[group]:
            its = rows.deliveries[self.messages[message].delivery]
            its.lock_end_s = now_s
            its.outcome = DELIVERY_RELEASED
            self.messages[message].deliveries -= 1
        self._free(group, counted=False)

    def _free(self, group: int, counted: bool) -> None:
        link = self.holders[group]
        if link is not None:
            link.session = None
        for message in list(self.in_hand[group]):
            self.broker.in_flight -= 1
            self.broker.give_back(message, counted)
        del self.holders[group], self.lock_end_s[group]
        self._open(group)

    def leave(self, link: SessionLink) -> None:
        """A receiver asks for nothing any more."""
        if link in self.asking:
            self.asking.remove(link)
        self.to_serve.pop(link, None)


class SessionLink(Link):
    """Asks for the next session, is pushed its messages, and closes it when for a while it has had nothing in hand.

    ``session`` is the one that the broker knows it to hold; the client learns of a lost lock when the broker says so,
    or from the answer to a settle or a renewal, and then closes the session as soon as it has nothing in hand.
    """

    def __init__(self, consumer: Consumer, number: int) -> None:
        super().__init__(consumer, number)
        before = self.before()
        self.session: int | None = None
        self.holds = self.lost = False
        self.renewal_count = before.renewal_count if before else 0
        self.half_s = self.asked_s = self.renewal_s = self.last_renewal_s = 0.0
        self.timer = Slot(self.clock, self.slots.timers + number)
        self.renewer = Slot(self.clock, self.slots.renewers + number)
        self.ask_for_session(0.0)

    @property
    def line(self) -> BySession:
        """The broker's sessions."""
        assert isinstance(self.broker.line, BySession)
        return self.broker.line

    def leave(self) -> None:
        """The broker forgets this receiver, but not the session that it holds."""
        super().leave()
        self.line.leave(self)
        self.timer.cancel()

    def close(self) -> None:
        """What no handler has begun with comes back with the session, which is closed when all handlers have ended."""
        self.leave()
        self.model.buffered -= len(self.buffer)
        self.buffer.clear()
        self.flows.cancel()
        self.pushes.cancel()
        self.holds = False
        self.limit = self.known_limit = self.pushed

    def finish(self) -> None:
        """The consumer has drained: it closes its session."""
        if self.session is not None:
            self.line.close(self.session)

    def end(self) -> None:
        """A receiver is killed: the session that it holds stays locked until the lock runs out."""
        super().end()
        self.renewer.cancel()
        if self.session is not None:
            self.line.holders[self.session] = None
            self.session = None

    # -- the client ----------------------------------------------------------------------------------------------

    def half_trip_s(self) -> float:
        """Half of the round trip of what is told to the broker next."""
        self.flow_count += 1
        return 0.5 * self.model.round_trip_s(
            streams.RECEIVE, streams.RECEIVE, self.number, self.flow_count - 1
        )

    def ask_for_session(self, after_s: float) -> None:
        """Ask for the next session so much later, when the one before is closed."""
        self.asked_s = self.clock.now + after_s
        self.half_s = self.half_trip_s()
        self.flows.put(self.asked_s + self.half_s, ACCEPT)

    def landed(self, delivery: int) -> None:
        """A session, or that there is none, or a message of it; one that comes when it was closed is not looked at."""
        if delivery == GRANTED:
            self.holds, self.lost = True, False
            self.in_hand = self.freed = 0
            self.flow(self.pushed + self.plan.in_hand_limit)
            self.timer.ring_at(self.clock.now + self.plan.session_idle_s, self.close_session)
            self.last_renewal_s = self.clock.now + self.plan.renew_max_s
            self.renew_later()
        elif delivery == NOTHING:
            now_s = self.clock.now
            self.model.rows.add_call(self.asked_s, now_s, self.consumer.number, OP_RECEIVE, 0, CALL_EMPTY)
            self.ask_for_session(0.0)
        elif self.holds and delivery == LOST:
            self.learn_lost()
        elif self.holds:
            self.in_hand += 1
            self.timer.cancel()
            self.arrived([delivery])

    def ask(self) -> None:
        """One more message may come for each that is settled; with none in hand the session is held for a while."""
        if not self.freed:
            return
        freed, self.freed = self.freed, 0
        self.in_hand -= freed
        if self.in_hand == 0 and self.lost:
            self.close_session()
            return
        self.flow(self.limit + freed)
        if self.in_hand == 0:
            self.timer.ring_at(self.clock.now + self.plan.session_idle_s, self.close_session)

    def close_session(self) -> None:
        """Give the session up, and ask for the next one when that is answered."""
        self.holds = False
        self.timer.cancel()
        self.renewer.cancel()
        half_s = self.half_trip_s()
        self.flows.put(self.clock.now + half_s, CLOSE)
        self.ask_for_session(2.0 * half_s)

    def lost_lock(self) -> None:
        """An answer says that the lock is lost."""
        self.lost = True

    def learn_lost(self) -> None:
        """The lock is lost, and nothing may be in hand any more."""
        self.lost = True
        if self.in_hand == 0 and self.holds:
            self.close_session()

    def renew_later(self) -> None:
        """Renew the session's lock when it is time, if that is not too late."""
        due_s = self.clock.now + self.plan.renew_after_s
        if self.plan.renews_sessions and due_s <= self.last_renewal_s:
            self.renewer.ring_at(due_s, self.renew)

    def renew(self) -> None:
        """Call for a renewal; it is not tried again before the next is due."""
        self.renewal_s = self.clock.now
        self.renewal_count += 1
        round_trip_s = self.model.round_trip_s(
            streams.RENEW, streams.RENEW, self.number, self.renewal_count - 1
        )
        self.renewer.ring_at(self.clock.now + round_trip_s, self.renewed)

    def renewed(self) -> None:
        """A renewal takes effect, is refused, or says that the lock is lost."""
        outcome = self.broker.ask(OP_RENEW, 1, self.clock.now)
        count = int(outcome == CALL_OK)
        if outcome == CALL_OK and self.session is None:
            outcome = CALL_LOCK_LOST
        now_s = self.clock.now
        self.model.rows.add_call(self.renewal_s, now_s, self.consumer.number, OP_RENEW, count, outcome)
        if outcome == CALL_LOCK_LOST:
            self.learn_lost()
            return
        if outcome == CALL_OK and self.session is not None:
            self.line.renew(self.session)
        self.renew_later()

    # -- the broker ----------------------------------------------------------------------------------------------

    def credit_arrives(self, limit: int) -> None:
        """Credit for messages of the session, its end, or the wish for one, which is not kept for ever."""
        if limit == CLOSE:
            self.known_limit = self.pushed
            if self.session is not None:
                self.line.close(self.session)
        elif limit == ACCEPT:
            self.line.asking.append(self)
            self.timer.ring_at(self.clock.now + self.plan.accept_wait_s, self.asked_in_vain)
        else:
            self.known_limit = limit
            self.line.may_serve(self)
        self.broker.match()

    def asked_in_vain(self) -> None:
        """There has been no session for too long."""
        self.line.asking.remove(self)
        self.pushes.put(self.clock.now + self.half_s, NOTHING)

    def granted(self, group: int) -> None:
        """The broker has locked a session for this receiver."""
        self.session = group
        self.timer.cancel()
        self.pushes.put(self.clock.now + self.half_s, GRANTED)

    def tell_lost(self) -> None:
        """The lock has run out, and the broker ends the link (``session-lock-lost``)."""
        if not self.closed:
            self.pushes.put(self.clock.now + self.half_s, LOST)

    def push_delivery(self, delivery: int) -> None:
        """The broker sends one message down the link."""
        half_s = 0.5 * self.model.round_trip_s(streams.RECEIVE, streams.PUSH, self.number, self.pushed)
        self.pushed += 1
        self.pushes.put(self.clock.now + half_s, delivery)
