"""What happens to the messages of one queue: they come in, are locked, come back, leave, and run out of time."""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from qtune.broker.deadlines import BECOMES_VISIBLE, EXPIRES, LOCK_ENDS, SESSION_LOCK_ENDS, Deadlines
from qtune.broker.demand import Demand, HandsOutTo
from qtune.broker.lines import ByAge, ByGroup, Line
from qtune.broker.message import TOO_MANY_DELIVERIES, Counters, DeadLetter, Delivery, Message, Receiver
from qtune.broker.sessions import Lock, Session, Sessions
from qtune.broker.store import Store
from qtune.providers.base import DeliverySemantics

if TYPE_CHECKING:
    from qtune.broker.broker import Broker


class Core:
    """The state of one queue and its rules; :class:`qtune.broker.Broker` is what others call.

    ``_messages`` has all that have not left, ``_locks`` the deliveries that have not ended. ``_lapsed`` has the tokens
    of lost locks of messages that are still here, where a settlement may come late. ``_door`` has the sends that wait
    for room. ``_to_tell`` has what others are told at the end of a call.
    """

    def __init__(
        self,
        semantics: DeliverySemantics,
        *,
        clock: Callable[[], float],
        hands_out_to: HandsOutTo,
        seed: int,
        store: Store | None,
        depth: int,
        numbers: Iterator[int] | None,
    ) -> None:
        self.semantics, self.clock = semantics, clock
        self.counters = Counters()
        self._store, self._depth = store, depth
        self._sessions = Sessions(semantics.lock_s) if semantics.hands_out == "by session" else None
        self._line: Line = self._sessions or (
            ByGroup() if semantics.hands_out == "by group" else ByAge(semantics.redelivers_first)
        )
        self._demand = Demand(hands_out_to, seed)
        self._deadlines = Deadlines(self._is_live)
        self._messages: dict[int, Message] = {}
        self._locks: dict[bytes, Lock] = {}
        self._lapsed: dict[bytes, Message] = {}
        self._lapsed_of: dict[Message, list[bytes]] = {}
        self._door: deque[tuple[Message, Callable[[int], None]]] = deque()
        self._to_tell: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._calls_open = 0
        self._now_s = clock()
        self._numbers = numbers or count(1 + (store.last_number() if store is not None else 0))
        if store is not None:
            self._open(store)

    def _open(self, store: Store) -> None:
        """What was locked when the process ended is ready again, and its delivery counts."""
        with self.one_call():
            for message in store.load(self._depth):
                self._keep(message)
                if message.state == "deferred":
                    continue
                if message.visible_s > self._now_s:
                    message.state = "scheduled"
                    self._deadlines.add(message.visible_s, BECOMES_VISIBLE, message)
                elif self._has_had_all_deliveries(message):
                    self._dead_letter(message, DeadLetter(reason=TOO_MANY_DELIVERIES))
                else:
                    message.state = "ready"
                    self._line.add(message)
            if self._sessions is not None:
                for name, state in store.load_session_states():
                    self._sessions.set_state(name, state)

    def _dead_letters_to(self) -> Broker:
        """The broker that gets the dead letters of this one."""
        raise AssertionError("Broker says which one")

    # -- time --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A call takes effect now: first what fell due before."""
        self._now_s = max(self._now_s, self.clock())
        if self._deadlines.earliest_s() < self._now_s:
            self._do_what_is_due(until_s=self._now_s)

    def _do_what_is_due(self, until_s: float) -> None:
        """All that falls due before an instant, in order; nothing is handed out before all is done.

        So a door that looks late, as after a freeze of its process, hands out nothing that has outlived its time. (The
        engines, which are never late, hand out between two locks that end at one instant.)
        """
        if self._deadlines.next_s() >= until_s:
            return
        with self.one_call():
            while self._deadlines.next_s() < until_s:
                self._fall_due(*self._deadlines.take())

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """Everything in this block is one call of a client, such as a batch.

        What it makes ready is handed out at its end, and it is written to disk in one go. An error in it is raised
        after that, with what was done before it in effect.
        """
        self._calls_open += 1
        try:
            yield
        finally:
            self._calls_open -= 1
            self._finish()

    def _finish(self) -> None:
        """Hand out what is ready, make sure of what happened, and then tell those whom it concerns."""
        if self._calls_open:
            return
        self._match()
        if self._store is not None:
            self._store.write()
        while self._to_tell:
            tell, what = self._to_tell.popleft()
            tell(*what)

    def _is_live(self, kind: int, what: Any, due_s: float) -> bool:
        if kind == LOCK_ENDS:
            return what.end_s == due_s and self._locks.get(what.token) is what
        if kind == SESSION_LOCK_ENDS:
            return what.is_locked and bool(what.lock_end_s == due_s)
        if kind == EXPIRES:
            return self._messages.get(what.number) is what
        return bool(what.state == "scheduled")

    def _fall_due(self, kind: int, what: Any) -> None:
        if kind == LOCK_ENDS:
            self.counters.expired += 1
            self._lapse(what)
        elif kind == SESSION_LOCK_ENDS:
            self._lose_session(what)
        elif kind == BECOMES_VISIBLE:
            what.enqueued_s, what.state = what.visible_s, "ready"
            self._line.add(what)
        elif what.state != "locked":
            self._outlive(what)

    # -- coming in and leaving ---------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        return 0 < self.semantics.capacity_messages <= len(self._messages)

    def _enter(self, message: Message) -> None:
        """Take a message in that there is room for."""
        message.number, message.enqueued_s = next(self._numbers), self._now_s
        starts_s = max(self._now_s, message.visible_s)
        message.expires_s = min(message.expires_s, starts_s + self.semantics.retention_s)
        self.counters.sent += 1
        self._keep(message)
        if message.visible_s > self._now_s:
            message.state = "scheduled"
            self._deadlines.add(message.visible_s, BECOMES_VISIBLE, message)
        else:
            message.state = "ready"
            self._line.add(message)

    def _keep(self, message: Message) -> None:
        self._messages[message.number] = message
        self._deadlines.add(message.expires_s, EXPIRES, message)
        self._note(message)

    def _note(self, message: Message) -> None:
        """What is known of a message has changed, and is to be on disk at the end of the call."""
        if self._store is not None:
            self._store.note(message, self._depth)

    def _let_in(self) -> None:
        """Sends that wait go on while there is room."""
        while self._door and not self._is_full():
            message, sent = self._door.popleft()
            self._enter(message)
            self._to_tell.append((sent, (message.number,)))

    def _leave(self, message: Message) -> None:
        """A message is gone from this queue, and its place is free."""
        del self._messages[message.number]
        for token in self._lapsed_of.pop(message, ()):
            del self._lapsed[token]
        message.state = "gone"
        if self._store is not None:
            self._store.drop(message)
        self._let_in()

    def _outlive(self, message: Message) -> None:
        """A message that nobody holds is deleted at the end of its time."""
        was_ready = message.state == "ready"
        self.counters.outlived += 1
        self._leave(message)
        if was_ready:
            self._line.remove(message)

    def _dead_letter(self, message: Message, why: DeadLetter) -> None:
        """A message goes on to the dead letters; on disk that is one change."""
        self.counters.dead_lettered += 1
        target = self._dead_letters_to()
        self._leave(message)
        message.dead_letter, message.expires_s, message.visible_s = why, math.inf, -math.inf
        if self._store is not None:
            self._store.note(message, self._depth + 1)
        self._to_tell.append((target._receive_dead_letter, (message,)))

    def _receive_dead_letter(self, message: Message) -> None:
        """Keep a message of the queue whose dead letters these are."""
        self._begin()
        message.state = "ready"
        self.counters.sent += 1
        self._keep(message)
        self._line.add(message)
        self._finish()

    # -- going out ---------------------------------------------------------------------------------------------

    def _is_full_of_locks(self) -> bool:
        return 0 < self.semantics.in_flight_most <= len(self._locks)

    def _may_hand_out(self) -> bool:
        return not self._is_full_of_locks()

    def _match(self) -> None:
        """Give what is ready to those who wait for it."""
        if self._sessions is not None:
            self._match_sessions(self._sessions)
            return
        while self._line.offers() and self._may_hand_out() and (receiver := self._demand.next()) is not None:
            most = receiver.credit if self._demand.is_poll(receiver) else 1
            if self.semantics.in_flight_most:
                most = min(most, self.semantics.in_flight_most - len(self._locks))
            for message in self._line.take(most):
                self._lock(message, receiver)
            self._demand.served(receiver)

    def _match_sessions(self, sessions: Sessions) -> None:
        """Sessions go to those who ask for one, and messages to those who hold theirs."""
        while self._may_hand_out() and (grant := sessions.next_grant()) is not None:
            name, receiver = grant
            session = sessions.lock(name, receiver, self._now_s)
            self._start_session_lock(session)
            self._to_tell.append((receiver.session_accepted, (name, session.lock_end_s)))
        while (given := sessions.next_message(self._may_hand_out)) is not None:
            self._lock(*given)

    def _start_session_lock(self, session: Session) -> None:
        self._deadlines.add(session.lock_end_s, SESSION_LOCK_ENDS, session)

    def _lock(self, message: Message, receiver: Receiver) -> None:
        """Lock a message for a receiver that has credit, and tell it at the end of the call."""
        receiver.credit -= 1
        self._to_tell.append((receiver.deliver, (self._start_delivery(message, receiver),)))

    def _start_delivery(self, message: Message, receiver: object, *, set_aside: bool = False) -> Delivery:
        """Lock a message for whoever it is."""
        message.state = "locked"
        message.deliveries += 1
        self.counters.delivered += 1
        self._note(message)
        token = uuid.uuid4().bytes
        if self._sessions is not None:
            session = self._sessions.of(message)
            lock = Lock(
                token=token, message=message, end_s=session.lock_end_s, receiver=receiver, set_aside=set_aside
            )
            session.in_hand[token] = lock
        else:
            lock = Lock(token=token, message=message, end_s=math.nan, receiver=receiver, set_aside=set_aside)
            self._start_lock(lock)
        self._locks[token] = lock
        return Delivery(token=token, message=message, lock_end_s=lock.end_s, delivery_no=message.deliveries)

    def _start_lock(self, lock: Lock) -> None:
        """A lock runs from now on, for the first time or again."""
        lock.end_s = self._now_s + self.semantics.lock_s
        self._deadlines.add(lock.end_s, LOCK_ENDS, lock)

    # -- coming back -------------------------------------------------------------------------------------------

    def _unlock(self, lock: Lock) -> None:
        """A delivery has ended; its message still has to go somewhere."""
        del self._locks[lock.token]
        if self._sessions is not None:
            self._sessions.unlock(lock)

    def _ended(self, lock: Lock) -> None:
        """The message of a delivery has gone somewhere."""
        if not lock.set_aside:
            self._line.ended(lock.message)

    def _lapse(self, lock: Lock) -> None:
        """The lock of a delivery has run out."""
        self._unlock(lock)
        if self.semantics.accepts_late:
            self._lapsed[lock.token] = lock.message
            self._lapsed_of.setdefault(lock.message, []).append(lock.token)
        self._give_back(lock)

    def _give_back(self, lock: Lock, counted: bool = True) -> None:
        """A message that was locked is dead-lettered after too many deliveries, or at its end, or free again."""
        message = lock.message
        if not counted:
            message.deliveries -= 1
        message.state = "deferred" if lock.set_aside else "ready"
        self._note(message)
        if counted and self._has_had_all_deliveries(message):
            self._dead_letter(message, DeadLetter(reason=TOO_MANY_DELIVERIES))
        elif message.expires_s <= self._now_s:
            self.counters.outlived += 1
            self._leave(message)
        elif not lock.set_aside:
            self._line.come_back(message)
        self._ended(lock)

    def _has_had_all_deliveries(self, message: Message) -> bool:
        return 0 < self.semantics.max_deliveries <= message.deliveries

    def _lose_session(self, session: Session) -> None:
        """The lock of a session has run out."""
        assert self._sessions is not None
        holder = session.holder
        for lock in self._sessions.free(session):
            self.counters.expired += 1
            self._lapse(lock)
        if holder is not None:
            self._to_tell.append((holder.session_lost, ()))
