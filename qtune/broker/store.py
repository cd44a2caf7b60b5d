"""Messages on disk: a SQLite file from which a queue goes on after its process was killed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qtune.broker.message import DeadLetter, Message
from qtune.errors import InputError, Problem, ProviderFailure

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, depth INTEGER NOT NULL, body BLOB NOT NULL, its_group TEXT, properties BLOB,
    visible_s REAL, expires_s REAL, enqueued_s REAL NOT NULL, deliveries INTEGER NOT NULL, deferred INTEGER NOT NULL,
    dead_letter TEXT
);
CREATE TABLE IF NOT EXISTS sessions (name TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS last_number (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO last_number VALUES (1, 0);
"""
_INSERT: Final = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE: Final = """
UPDATE messages SET depth = ?, visible_s = ?, expires_s = ?, enqueued_s = ?, deliveries = ?, deferred = ?,
    dead_letter = ? WHERE number = ?
"""
