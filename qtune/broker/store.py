"""Messages on disk: a SQLite file from which a queue goes on after its process was killed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qtune.broker.message import DeadLetter, Message
from qtune.errors import BrokerDown, InputError, Problem

_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, depth INTEGER NOT NULL, body BLOB NOT NULL, its_group TEXT,
    properties BLOB, visible_s REAL NOT NULL, expires_s REAL NOT NULL, enqueued_s REAL NOT NULL,
    deliveries INTEGER NOT NULL, deferred INTEGER NOT NULL, dead_letter TEXT
);
CREATE TABLE IF NOT EXISTS sessions (name TEXT PRIMARY KEY, state BLOB NOT NULL);
"""
_INSERT: Final = (
    "INSERT INTO messages (depth, visible_s, expires_s, enqueued_s, deliveries, deferred, dead_letter, number,"
    " body, its_group, properties) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE: Final = (
    "UPDATE messages SET depth = ?, visible_s = ?, expires_s = ?, enqueued_s = ?, deliveries = ?, deferred = ?,"
    " dead_letter = ? WHERE number = ?"
)
_DELETE: Final = "DELETE FROM messages WHERE number = ?"
_LOAD: Final = (
    "SELECT number, body, its_group, properties, visible_s, expires_s, enqueued_s, deliveries, deferred, dead_letter"
    " FROM messages WHERE depth = ? ORDER BY number"
)
_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"


class Store:
    """The file of one queue, its dead letters and the states of its sessions; one process has it open at a time.

    What a call of the broker changed is on disk before that call returns, in one transaction. The file is in WAL mode
    with synchronous=FULL, so that a transaction also outlives a loss of power: with NORMAL it would only outlive the
    death of the process (SQLite documentation, PRAGMA synchronous). That a message is locked is not written: after a
    restart it is ready, with the deliveries that it has had. What is ready then goes out by number, so what had come
    back before the restart has lost its place behind the others.

    path: the file, made when it is not there. properties of messages must be bytes or None, which is all that is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted: dict[int, tuple[Message, int | None]] = {}
        self._states: dict[str, bytes | None] = {}
        try:
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.0)
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._file.close()
            raise self._unusable(str(error)) from error
        except InputError:
            self._file.close()
            raise

    def _prepare(self) -> None:
        self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        [(version,)] = self._file.execute("PRAGMA user_version")
        if version not in (0, _VERSION):
            raise self._unusable(
                f"it is of version {version} of this format, and this qtune knows {_VERSION}"
            )
        self._file.executescript(f"BEGIN EXCLUSIVE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
        self._written = {number for (number,) in self._file.execute("SELECT number FROM messages")}

    def _unusable(self, why: str) -> InputError:
        message = (
            f"the file of the queue cannot be used: {why}; end the process that has it open, or name another"
        )
        return InputError(Problem(where="queue file", value=str(self.path), message=message))

    # -- what a broker reads when it begins --------------------------------------------------------------------

    def last_number(self) -> int:
        """The number of the last message that was ever sent; 0: none was."""
        return next((int(number) for (number,) in self._file.execute(_LAST)), 0)

    def load(self, depth: int) -> Iterator[Message]:
        """The messages of the queue (0), its dead letters (1), or theirs (2...), in the order of their numbers."""
        for row in self._file.execute(_LOAD, (depth,)).fetchall():
            (
                number,
                body,
                group,
                properties,
                visible_s,
                expires_s,
                enqueued_s,
                deliveries,
                deferred,
                letter,
            ) = row
            yield Message(
                number=number,
                body=body,
                group=group,
                properties=properties,
                visible_s=visible_s,
                expires_s=expires_s,
                enqueued_s=enqueued_s,
                deliveries=deliveries,
                state="deferred" if deferred else "new",
                dead_letter=None if letter is None else DeadLetter(**json.loads(letter)),
            )

    def load_session_states(self) -> list[tuple[str, bytes]]:
        """The name and the state of each session that has one."""
        return self._file.execute("SELECT name, state FROM sessions").fetchall()

    # -- what a broker tells -----------------------------------------------------------------------------------

    def check(self, message: Message) -> None:
        """Refuse, with an InputError, what could not be read back."""
        if not (message.properties is None or isinstance(message.properties, bytes)):
            text = "a queue with a file keeps properties that are bytes, or none: encode them"
            raise InputError(Problem(where="message", value=type(message.properties).__name__, message=text))

    def note(self, message: Message, depth: int) -> None:
        """The next :meth:`write` keeps what is known of a message then."""
        self._noted[message.number] = (message, depth)

    def drop(self, message: Message) -> None:
        """The next :meth:`write` deletes a message."""
        self._noted[message.number] = (message, None)

    def note_session_state(self, name: str, state: bytes | None) -> None:
        """The next :meth:`write` keeps the state of a session, or that it has none."""
        self._states[name] = state

    def write(self) -> None:
        """Put on disk what was noted since the last time; BrokerDown when that fails, and this is of no more use."""
        if not self._noted and not self._states:
            return
        try:
            self._file.execute("BEGIN")
            for number, (message, depth) in self._noted.items():
                self._write(number, message, depth)
            for name, state in self._states.items():
                if state is None:
                    self._file.execute("DELETE FROM sessions WHERE name = ?", (name,))
                else:
                    self._file.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (name, state))
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            text = (
                f"the queue cannot write to its file {self.path}: {error}; make room, and open the queue anew"
            )
            raise BrokerDown(text) from error
        self._noted.clear()
        self._states.clear()

    def _write(self, number: int, message: Message, depth: int | None) -> None:
        if depth is None:
            if number in self._written:
                self._written.remove(number)
                self._file.execute(_DELETE, (number,))
            return
        letter = message.dead_letter
        values: tuple[Any, ...] = (
            depth,
            message.visible_s,
            message.expires_s,
            message.enqueued_s,
            message.deliveries,
            message.state == "deferred",
            None
            if letter is None
            else json.dumps({"reason": letter.reason, "description": letter.description}),
            number,
        )
        if number in self._written:
            self._file.execute(_UPDATE, values)
        else:
            self._written.add(number)
            self._file.execute(_INSERT, (*values, message.body, message.group, message.properties))

    def close(self) -> None:
        """Give the file back; what was written stays."""
        self._file.close()
