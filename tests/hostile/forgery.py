"""Somebody else's registry: rows and events that no ifpdb would write, put in by plain sqlite3 around every check."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ifpdb import digest

ESCAPES = "\x1b[2J\x1b]8;;http://x.example\x1b\\click\x07\x9b31m\x85\x90\r\b\x7f\x01\u202egnp\u2066\u200f\u061c\u2028\ufeff"
"""What steers a terminal: CSI, OSC 8, C1, backspace, bidi overrides, separators; but not the colours that ifp itself sets."""

EVIL = f"{ESCAPES}<script>alert(1)</script>'\"; DROP TABLE version; --\n\t=cmd|' /C calc'!A0\ud83d\ude00".encode(
    "utf-16", "surrogatepass"
).decode("utf-16")


def steers(text: str) -> set[str]:
    """The characters of `text` that can move a cursor, end a line unseen or turn the direction of reading."""
    return {c for c in text if c not in "\n\t" and (unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))}


@contextmanager
def forging(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for which no trigger, CHECK or foreign key stands; the triggers are there again afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.execute(sql)


def rewrite_events(connection: sqlite3.Connection, change: Callable[[dict[str, Any]], None]) -> None:
    """Let `change` have its way with each event, and make ids and parents fit again, as a forger would."""
    renamed = dict[str, str]()
    for key, body in connection.execute("SELECT key, body FROM event ORDER BY key").fetchall():
        event = json.loads(body)
        before = digest.sha256(body.encode())
        event["parents"] = sorted(renamed[parent] for parent in event["parents"])
        change(event)
        text = digest.canonical(event)
        renamed[before] = digest.sha256(text)
        row = (hashlib.sha256(text).digest(), text.decode(), key)
        connection.execute("UPDATE event SET id = ?, body = ? WHERE key = ?", row)
    for before, after in renamed.items():
        connection.execute("UPDATE head SET id = ? WHERE id = ?", (after, before))
