"""The broker's calls: what senders, receivers and onlookers may ask of one queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from qtune.broker.core import Core
from qtune.broker.demand import HandsOutTo
from qtune.broker.message import Counts, DeadLetter, Delivery, Message, Outcome, Receiver, SessionReceiver
from qtune.broker.sessions import Sessions
from qtune.broker.store import Store
from qtune.errors import InputError, LockLost, MessageNotFound, Problem, QueueFull, Throttled
from qtune.providers.base import DeliverySemantics


class Broker(Core):
    """One queue with its dead letters, on real time: the rules of DeliverySemantics, which the engines simulate.

    It has no thread, no socket and no timer, and is used by one caller at a time. Every public method takes effect at
    ``clock()``, after it has done what fell due before. What falls due at that very instant comes later, so that a
    settlement at the end of its lock is in time. :meth:`next_due_s` says when :meth:`advance` should be called next;
    without it nobody is told that a lock has run out until the next call. Receivers and senders are told what concerns
    them when the call has taken effect and is on disk, and may call the broker then.

    semantics: what the queue does with messages. clock: seconds; if it goes back, the broker's time stands still. With
        a store it must go on between processes, as time.time does.
    hands_out_to: who of those that wait is served; not read on a queue with sessions, where sessions go to who has
        asked longest. seed: of the draws of "any".
    store: keeps messages on disk; None: they are lost with the process. name: for error messages.
    dead_letters_of: the broker whose dead letters this one keeps; None for a queue of its own.
    """

    def __init__(
        self,
        semantics: DeliverySemantics,
        *,
        clock: Callable[[], float],
        hands_out_to: HandsOutTo = "longest_waiting",
        seed: int = 0,
        store: Store | None = None,
        name: str = "",
        dead_letters_of: Broker | None = None,
    ) -> None:
        self.name = name
        self._hands_out_to: HandsOutTo = hands_out_to
        self._seed = seed
        self._dead_letters: Broker | None = None
        super().__init__(
            semantics,
            clock=clock,
            hands_out_to=hands_out_to,
            seed=seed,
            store=store,
            depth=0 if dead_letters_of is None else dead_letters_of._depth + 1,
            numbers=None if dead_letters_of is None else dead_letters_of._numbers,
        )

    # -- time --------------------------------------------------------------------------------------------------

    def next_due_s(self) -> float:
        """When something falls due next, by the clock; inf: nothing will."""
        own_s = self._deadlines.next_s()
        return own_s if self._dead_letters is None else min(own_s, self._dead_letters.next_due_s())

    def advance(self) -> None:
        """Do what is due by now, this very instant included."""
        self._now_s = max(self._now_s, self.clock())
        self._do_what_is_due(until_s=math.nextafter(self._now_s, math.inf))
        if self._dead_letters is not None:
            self._dead_letters.advance()

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, message: Message) -> int:
        """Take a message in; its number. QueueFull when there is no room, whether the queue refuses sends or not."""
        self._begin()
        self._check(message)
        if self._is_full():
            self.counters.rejected += 1
            most = self.semantics.capacity_messages
            text = f"the queue {self.name!r} holds {most} messages, which is all it may: send again later"
            raise QueueFull(text)
        self._enter(message)
        self._finish()
        return message.number

    def send_when_there_is_room(self, message: Message, sent: Callable[[int], None]) -> None:
        """Take a message in now or when there is room, in the order of asking, and then call ``sent`` with its number.

        QueueFull when the queue refuses what it has no room for.
        """
        if self.semantics.rejects_when_full:
            sent(self.send(message))
            return
        self._begin()
        self._check(message)
        self._door.append((message, sent))
        self._let_in()
        self._finish()

    def withdraw(self, message: Message) -> bool:
        """Do not wait for room any longer; False when the message has got in before."""
        waiting = [entry for entry in self._door if entry[0] is message]
        for entry in waiting:
            self._door.remove(entry)
        return bool(waiting)

    def _check(self, message: Message) -> None:
        if self._store is not None:
            self._store.check(message)
        if self.semantics.hands_out != "by age" and message.group is None:
            text = (
                f"the queue {self.name!r} hands out {self.semantics.hands_out}: give each message its group"
            )
            raise InputError(Problem(where="message", value="group None", message=text))

    # -- receiving ---------------------------------------------------------------------------------------------

    def add(self, receiver: Receiver) -> None:
        """A link: it is pushed one message after the other while it has credit, until it is removed."""
        self._begin()
        self._check_without_sessions()
        self._demand.add(receiver)
        self._finish()

    def poll(self, receiver: Receiver, *, waits: bool = True) -> None:
        """A receive: it takes as many messages as it has credit, all at once, as soon as there is one; then it is over.

        waits: False: it is over now, whether it got something or not. Throttled when it does not wait, too many
        messages are locked, and the queue says so.
        """
        self._begin()
        self._check_without_sessions()
        if not waits and self.semantics.over_limit_fails and self._is_full_of_locks():
            most = self.semantics.in_flight_most
            text = (
                f"the queue {self.name!r} has {most} messages locked, which is all it may: settle some first"
            )
            raise Throttled(text)
        self._demand.add_poll(receiver)
        self._match()
        if not waits:
            self._demand.remove(receiver)
        self._finish()

    def grant(self, receiver: Receiver, credit: int) -> None:
        """So many messages may be pushed to a link, or to the holder of a session, from now on; 0 takes it all back."""
        self._begin()
        receiver.credit = credit
        if self._sessions is not None:
            self._sessions.look_at(receiver)
        elif not self._demand.has(receiver):
            raise ValueError("this receiver was not added")
        else:
            self._demand.look_at(receiver)
        self._finish()

    def remove(self, receiver: Receiver) -> None:
        """A link or a receive ends. What it has locked, messages or a session, stays so until that lock runs out."""
        self._begin()
        self._demand.remove(receiver)
        if self._sessions is not None:
            self._sessions.forget(receiver)

    def _check_without_sessions(self) -> None:
        if self._sessions is not None:
            raise ValueError(f"the queue {self.name!r} has sessions: accept one, and grant credit")

    def take_deferred(self, numbers: Sequence[int], receiver: Receiver | None = None) -> list[Delivery]:
        """Lock messages that were set aside, whatever credit there is; all of them, or MessageNotFound.

        They are set aside again when they come back. On a queue with sessions the receiver must hold theirs.
        """
        self._begin()
        found = [self._messages.get(number) for number in numbers]
        messages = [message for message in found if message is not None and message.state == "deferred"]
        if len({message.number for message in messages}) < len(numbers):
            text = f"not all of the messages {list(numbers)} of the queue {self.name!r} are set aside"
            raise MessageNotFound(f"{text}: ask for each once, by the number it was received with")
        if self._sessions is not None and any(
            receiver is None or self._sessions.holder(str(message.group)) is not receiver
            for message in messages
        ):
            raise LockLost("the session of a message is not held by this receiver: accept it first")
        deliveries = [self._start_delivery(message, receiver, set_aside=True) for message in messages]
        self._finish()
        return deliveries

    # -- settling ----------------------------------------------------------------------------------------------

    def settle(self, token: bytes, outcome: Outcome, *, reason: str = "", description: str = "") -> None:
        """End a delivery; reason and description are those of a dead letter. LockLost when it has ended already."""
        self._begin()
        lock = self._locks.get(token)
        if lock is None:
            self._settle_late(token, outcome)
            return
        self._unlock(lock)
        message = lock.message
        if outcome == "completed":
            self.counters.completed += 1
            self._leave(message)
            self._ended(lock)
        elif outcome == "dead_lettered":
            self._dead_letter(message, DeadLetter(reason=reason, description=description))
            self._ended(lock)
        elif outcome == "deferred":
            self.counters.deferred += 1
            message.state = "deferred"
            self._note(message)
            self._ended(lock)
        elif outcome == "abandoned":
            self.counters.abandoned += 1
            self._give_back(lock)
        else:
            self.counters.released += 1
            self._give_back(lock, counted=False)
        self._finish()

    def _settle_late(self, token: bytes, outcome: Outcome) -> None:
        """A late completion counts where the queue takes it and the message is still here; then it leaves."""
        message = self._lapsed.get(token) if outcome == "completed" else None
        if message is None:
            raise self._lock_lost()
        self.counters.completed += 1
        if message.state == "locked":
            lock = next(lock for lock in self._locks.values() if lock.message is message)
            self._unlock(lock)
            self._leave(message)
            self._ended(lock)
        else:
            was_ready = message.state == "ready"
            self._leave(message)
            if was_ready:
                self._line.remove(message)
        self._finish()

    def renew(self, token: bytes) -> float:
        """Start a lock afresh, on a queue with sessions that of the session; its end. LockLost when it has ended."""
        self._begin()
        lock = self._locks.get(token)
        if lock is None:
            raise self._lock_lost()
        if self._sessions is not None:
            session = self._sessions.of(lock.message)
            self._sessions.renew(session, self._now_s)
            self._start_session_lock(session)
        else:
            self._start_lock(lock)
        self.counters.renewed += 1
        return lock.end_s

    def _lock_lost(self) -> LockLost:
        self.counters.lock_lost += 1
        return LockLost(
            f"the lock of a message of the queue {self.name!r} has ended: it ran out, or the message was settled before"
        )

    # -- sessions ----------------------------------------------------------------------------------------------

    def accept_session(self, receiver: SessionReceiver, name: str | None = None) -> None:
        """Lock a session for a receiver, which is told by its ``session_accepted``.

        name: None: the free session with the oldest message, as soon as there is one. A session of that name is locked
        at once, even when it has no messages; SessionLocked when somebody else holds it.
        """
        self._begin()
        sessions = self._with_sessions()
        if name is None:
            sessions.ask(receiver)
        else:
            session = sessions.lock(name, receiver, self._now_s)
            self._start_session_lock(session)
            self._to_tell.append((receiver.session_accepted, (name, session.lock_end_s)))
        self._finish()

    def cancel_session(self, receiver: SessionReceiver) -> None:
        """Do not wait for a session any longer."""
        self._with_sessions().ask_no_more(receiver)

    def renew_session(self, receiver: SessionReceiver) -> float:
        """Start the lock of the session that a receiver holds afresh; its end. LockLost when it holds none."""
        self._begin()
        sessions = self._with_sessions()
        session = sessions.held_by(receiver)
        sessions.renew(session, self._now_s)
        self._start_session_lock(session)
        self.counters.renewed += 1
        return session.lock_end_s

    def close_session(self, receiver: SessionReceiver) -> None:
        """Give the session up; what is in flight of it comes back uncounted. LockLost when it is not held any more."""
        self._begin()
        sessions = self._with_sessions()
        session = sessions.held_by(receiver)
        for lock in sessions.free(session):
            self.counters.released += 1
            self._unlock(lock)
            self._give_back(lock, counted=False)
        self._finish()

    def session_holder(self, name: str) -> SessionReceiver | None:
        """Who holds a session; None: nobody, or a receiver that was removed."""
        self._begin()
        return self._with_sessions().holder(name)

    def session_state(self, name: str) -> bytes | None:
        """What was stored with a session; None: nothing."""
        return self._with_sessions().state_of(name)

    def set_session_state(self, name: str, state: bytes | None) -> None:
        """Store something with a session, or nothing; it stays when the session is closed or empty."""
        self._with_sessions().set_state(name, state)
        if self._store is not None:
            self._store.note_session_state(name, state)
        self._finish()

    def _with_sessions(self) -> Sessions:
        if self._sessions is None:
            raise ValueError(f"the queue {self.name!r} has no sessions")
        return self._sessions

    # -- looking -----------------------------------------------------------------------------------------------

    def peek(self, from_number: int = 1, count: int = 1, group: str | None = None) -> list[Message]:
        """Messages in the order of their numbers, whoever holds them; group: only those of one group."""
        self._begin()
        numbers = sorted(number for number in self._messages if number >= from_number)
        messages = (self._messages[number] for number in numbers)
        return list(islice((m for m in messages if group is None or m.group == group), count))

    def counts(self) -> Counts:
        """How many messages the queue holds now."""
        self._begin()
        states = [message.state for message in self._messages.values()]
        return Counts(
            ready=states.count("ready"),
            locked=len(self._locks),
            scheduled=states.count("scheduled"),
            deferred=states.count("deferred"),
            dead_lettered=len(self.dead_letters._messages),
        )

    @property
    def dead_letters(self) -> Broker:
        """The queue of the dead letters: without a limit, without sessions or groups, and nothing in it runs out."""
        if self._dead_letters is None:
            semantics = replace(
                self.semantics,
                max_deliveries=0,
                retention_s=math.inf,
                capacity_messages=0,
                in_flight_most=0,
                hands_out="by age",
            )
            self._dead_letters = Broker(
                semantics,
                clock=self.clock,
                hands_out_to=self._hands_out_to,
                seed=self._seed,
                store=self._store,
                name=f"{self.name}, dead letters",
                dead_letters_of=self,
            )
        return self._dead_letters

    def _dead_letters_to(self) -> Broker:
        return self.dead_letters
