"""Sessions: groups of which one receiver holds all messages, those that are there and those that come.

A session is locked as a whole. Its messages have no locks of their own, and what is in flight of it comes back together
when its lock runs out, counted as delivered, or when its holder closes it, uncounted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qtune.broker.lines import ByGroup, group_of
from qtune.broker.message import Message, Receiver, SessionReceiver
from qtune.errors import LockLost, SessionLocked


@dataclass(kw_only=True, slots=True, eq=False)
class Lock:
    """One delivery that has not ended.

    receiver: whose it is; None: of somebody who asked for a message by its number. set_aside: the message was deferred
    before, and is so again when it comes back.
    """

    token: bytes
    message: Message
    end_s: float
    receiver: object
    set_aside: bool = False


@dataclass(kw_only=True, slots=True, eq=False)
class Session:
    """One session: who holds it (None: nobody, or a receiver that is gone), until when, and what is in flight of it."""

    name: str
    holder: SessionReceiver | None = None
    is_locked: bool = False
    lock_end_s: float = -math.inf
    state: bytes | None = None
    in_hand: dict[bytes, Lock] = field(default_factory=dict)


class Sessions(ByGroup):
    """The sessions of one queue. A session with messages that nobody holds goes to who has asked for one longest."""

    def __init__(self, lock_s: float) -> None:
        super().__init__()
        self._lock_s = lock_s
        self._sessions: dict[str, Session] = {}
        self._held: dict[Receiver, Session] = {}
        self._asking: dict[Receiver, SessionReceiver] = {}
        self._to_serve: dict[Receiver, None] = {}

    # -- as a line of messages ---------------------------------------------------------------------------------

    def is_closed(self, group: str) -> bool:
        """Whether somebody holds the session."""
        session = self._sessions.get(group)
        return session is not None and session.is_locked

    def add(self, message: Message) -> None:
        """Into its session, whose holder may have credit for it."""
        super().add(message)
        self._may_serve_holder(group_of(message))

    def come_back(self, message: Message) -> None:
        """Into its session, whose holder may have credit for it."""
        super().come_back(message)
        self._may_serve_holder(group_of(message))

    def ended(self, message: Message) -> None:
        """The session stays closed, whatever is in flight."""

    def _may_serve_holder(self, name: str) -> None:
        session = self._sessions.get(name)
        if session is not None and session.holder is not None:
            self._to_serve[session.holder] = None

    # -- asking for a session ----------------------------------------------------------------------------------

    def ask(self, receiver: SessionReceiver) -> None:
        """Wait for the next session that is free and has messages."""
        self._refuse_a_second(receiver)
        self._asking[receiver] = receiver

    def _refuse_a_second(self, receiver: SessionReceiver) -> None:
        if receiver in self._held or receiver in self._asking:
            raise ValueError("a receiver holds, and asks for, one session at a time")

    def ask_no_more(self, receiver: SessionReceiver) -> None:
        """Do not wait any longer."""
        self._asking.pop(receiver, None)

    def lock(self, name: str, receiver: SessionReceiver, now_s: float) -> Session:
        """Lock a session for a receiver, whether it has messages or not."""
        self._refuse_a_second(receiver)
        session = self._named(name)
        if session.is_locked:
            raise SessionLocked(f"session {name!r} is locked by another receiver: ask for it again later")
        session.holder, session.is_locked = receiver, True
        session.lock_end_s = now_s + self._lock_s
        self._held[receiver] = session
        self._to_serve[receiver] = None
        return session

    def renew(self, session: Session, now_s: float) -> None:
        """Start the lock of a session afresh."""
        session.lock_end_s = now_s + self._lock_s
        for lock in session.in_hand.values():
            lock.end_s = session.lock_end_s

    def held_by(self, receiver: SessionReceiver) -> Session:
        """The session of a receiver; LockLost when it has none, or not any more."""
        try:
            return self._held[receiver]
        except KeyError:
            raise LockLost(
                "this receiver holds no session, or its lock has run out: accept one again"
            ) from None

    def of(self, message: Message) -> Session:
        """The session of a message that is in flight or about to be, which is locked therefore."""
        return self._sessions[group_of(message)]

    def unlock(self, lock: Lock) -> None:
        """A delivery has ended, and its session may have."""
        session = self._sessions.get(group_of(lock.message))
        if session is not None:
            session.in_hand.pop(lock.token, None)

    def holder(self, name: str) -> SessionReceiver | None:
        """Who holds a session; None: nobody who is still there."""
        session = self._sessions.get(name)
        return None if session is None else session.holder

    def free(self, session: Session) -> list[Lock]:
        """Nobody holds a session any more; what was in flight of it."""
        if session.holder is not None:
            self.forget(session.holder)
        locks = list(session.in_hand.values())
        session.in_hand.clear()
        session.holder, session.is_locked = None, False
        self._may_open(session.name)
        self._drop_if_void(session)
        return locks

    def forget(self, receiver: Receiver) -> None:
        """A receiver is gone; the session that it held stays locked until its lock runs out."""
        self._asking.pop(receiver, None)
        self._to_serve.pop(receiver, None)
        session = self._held.pop(receiver, None)
        if session is not None:
            session.holder = None

    # -- handing out -------------------------------------------------------------------------------------------

    def look_at(self, receiver: Receiver) -> None:
        """A receiver has got credit."""
        self._to_serve[receiver] = None

    def next_grant(self) -> tuple[str, SessionReceiver] | None:
        """The session that is free and has the oldest message, and who has asked longest; None without both."""
        name = self.first_open() if self._asking else None
        if name is None:
            return None
        return name, self._asking.pop(next(iter(self._asking)))

    def next_message(self, may_hand_out: Callable[[], bool]) -> tuple[Message, Receiver] | None:
        """The next message for a holder with credit, taken from its session; None: there is none to give."""
        while self._to_serve:
            receiver = next(iter(self._to_serve))
            session = self._held.get(receiver)
            ready = self._ready.get(session.name) if session is not None and receiver.credit > 0 else None
            if not ready:
                del self._to_serve[receiver]
                continue
            if not may_hand_out():
                return None
            return ready.popleft(), receiver
        return None

    # -- state -------------------------------------------------------------------------------------------------

    def state_of(self, name: str) -> bytes | None:
        """What receivers have stored with a session; None: nothing."""
        session = self._sessions.get(name)
        return None if session is None else session.state

    def set_state(self, name: str, state: bytes | None) -> None:
        """Store something with a session, or nothing (None)."""
        session = self._named(name)
        session.state = state
        self._drop_if_void(session)

    def _named(self, name: str) -> Session:
        return self._sessions.setdefault(name, Session(name=name))

    def _drop_if_void(self, session: Session) -> None:
        if not session.is_locked and session.state is None:
            self._sessions.pop(session.name, None)
