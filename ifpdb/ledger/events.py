"""The event log: appended to, read, and checked; never changed.

An event's id is SHA-256 of its canonical JSON, which names its parents' ids: the heads of the log when it was written.
Its time is later than every parent's, whatever the clocks say.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .. import digest, times
from ..records import Event


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes in one transaction, and when. `clock` is the clock's own time where `now` was set by hand.

    `written` are the events of the transaction so far; `sign` gives the signature under an event's canonical JSON, or None.
    """

    actor: str
    now: str
    clock: str | None = None
    written: list[Event] = field(default_factory=list, compare=False)
    sign: Callable[[bytes], str | None] | None = None


DECISIONS = ("promoted", "rolled_back", "moved", "settled", "approved", "approval_withdrawn", "policy_set")
"""Kinds of events by which somebody answers for a version: these are signed, where somebody has a key."""


INSERT_EVENT = "INSERT INTO event (id, body) VALUES (?, ?)"
HEADS = "SELECT id FROM head ORDER BY id"
AT = "SELECT at FROM event WHERE id = ?"


def append(
    tx: sqlite3.Connection,
    by: Author,
    kind: str,
    *,
    model: str | None = None,
    run: str | None = None,
    version: str | None = None,
    from_stage: str | None = None,
    to_stage: str | None = None,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Event:
    """Write one event after every head of the log. `to_stage` moves the version, by the database's own trigger.

    Raises what `by.sign` raises, before anything is written.
    """
    parents = heads(tx)
    newest = max((tx.execute(AT, (digest.to_bytes(parent),)).fetchone()[0] for parent in parents), default="")
    moment = by.now if by.now > newest else times.one_microsecond_after(newest)
    detail = {**(detail or {}), "clock": by.clock} if by.clock else detail or {}
    fields = {
        "actor": by.actor,
        "at": moment,
        "detail": detail,
        "from_stage": from_stage,
        "kind": kind,
        "model": model,
        "parents": parents,
        "reason": reason,
        "run": run,
        "to_stage": to_stage,
        "version": version,
    }
    told = {key: value for key, value in fields.items() if value is not None}
    body = digest.canonical(told)
    if by.sign is not None and kind in DECISIONS and (signature := by.sign(body)):
        detail = {**detail, "signature": signature}
        body = digest.canonical(told | {"detail": detail})
    identity = hashlib.sha256(body).digest()
    tx.execute(INSERT_EVENT, (identity, body.decode()))
    event = Event(
        digest.to_text(identity),
        tuple(parents),
        moment,
        by.actor,
        kind,
        model,
        run,
        version,
        from_stage,
        to_stage,
        reason,
        detail,
    )
    by.written.append(event)
    return event


def heads(tx: sqlite3.Connection) -> list[str]:
    """The ids that the next event will name as its parents, sorted."""
    return [row[0] for row in tx.execute(HEADS)]


SELECT = "SELECT id, body FROM event WHERE {} ORDER BY at, id"
CLAUSES = {"model": "model = ?", "version": "version = ?", "kind": "kind = ?", "since": "at >= ?", "until": "at < ?"}


def select(
    tx: sqlite3.Connection,
    *,
    model: str | None = None,
    version: str | None = None,
    kind: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Iterator[Event]:
    """Events in log order, oldest first; `since` is inclusive and `until` exclusive (registry times)."""
    asked = {"model": model, "version": version, "kind": kind, "since": since, "until": until}
    given = {name: value for name, value in asked.items() if value is not None}
    # Only what is asked for: with `:model IS NULL OR model = :model` SQLite would use no index.
    query = SELECT.format(" AND ".join(CLAUSES[name] for name in given) or "TRUE")
    for identity, body in tx.execute(query, tuple(given.values())):
        yield from_body(identity, body)


FIND = "SELECT id, body FROM event WHERE id = ?"


def find(tx: sqlite3.Connection, id: str) -> Event | None:
    """The event with an id, or None."""
    row = tx.execute(FIND, (digest.to_bytes(id),)).fetchone()
    return from_body(*row) if row else None


BODY = "SELECT body FROM event WHERE id = ?"


def body(tx: sqlite3.Connection, id: str) -> str:
    """The very bytes of an event that is here, as text."""
    return str(tx.execute(BODY, (digest.to_bytes(id),)).fetchone()[0])


def from_body(identity: bytes, body: str) -> Event:
    """The Event behind the bytes of its body."""
    found = json.loads(body)
    return Event(
        digest.to_text(identity),
        tuple(found["parents"]),
        found["at"],
        found["actor"],
        found["kind"],
        found.get("model"),
        found.get("run"),
        found.get("version"),
        found.get("from_stage"),
        found.get("to_stage"),
        found.get("reason"),
        found.get("detail", {}),
    )
