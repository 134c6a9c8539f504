"""Where two logs part: what theirs has that ours lacks, verified before anything of it is believed.

Both logs hold all parents of each of their events, so that the events that both have are the common past.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from sqlite3 import Connection

from .. import digest, times
from ..errors import IfpError, IntegrityError, Refused
from ..ledger import events
from ..records import Event

IDS = "SELECT id FROM event"
BODY = "SELECT CAST(body AS BLOB) FROM event WHERE id = ?"
AT = "SELECT at FROM event WHERE id = ?"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
AHEAD = 24 * 3600 * 1_000_000
"""Microseconds that an event may be ahead of this machine's clock: every later one here would bear that time too."""


@dataclass(frozen=True, slots=True)
class Fork:
    """`incoming` is what only theirs has, the oldest first; `only_ours` are the ids of what only ours has.

    `bodies` are the exact bytes of what comes in. `related` is whether the two have an event in common, or one has none.
    """

    incoming: tuple[Event, ...]
    bodies: Mapping[str, str]
    only_ours: Collection[bytes]
    related: bool


def fork(tx: Connection, theirs: Connection, *, called: str, clock: str) -> Fork:
    """Compare two logs, and check each event that ours lacks: its bytes, its id, its parents, its time.

    Raises IntegrityError for one that is not as ifpdb writes it, Refused for one of the future.
    """
    ours = {id for (id,) in tx.execute(IDS)}
    others = {id for (id,) in theirs.execute(IDS)}
    new, only_ours = others - ours, ours - others
    found, at, bodies = list[Event](), dict[str, str](), dict[str, str]()
    for id in new:
        body = theirs.execute(BODY, (id,)).fetchone()[0]
        event = _read(id, body, called)
        found.append(event)
        at[event.id], bodies[event.id] = event.at, body.decode()
    found.sort(key=order)
    for event in found:
        for parent in event.parents:
            before = at.get(parent) or _time_of(tx, parent)
            if before is None or before >= event.at:
                why = "names a parent that is in neither log" if before is None else "is not later than its parent"
                raise IntegrityError(f"{called}: the event {event.id[:19]} {why}: see ifp --db {called} verify")
    if found and times.to_microseconds(found[-1].at) > times.to_microseconds(clock) + AHEAD:
        raise Refused(
            f"{called} has an event of {found[-1].at}, but here it is {clock}, and later events would have to bear that time: "
            f"set this machine's clock, or, where theirs was wrong, take the revision before it and register again"
        )
    return Fork(tuple(found), bodies, only_ours, len(only_ours) < len(ours) or not ours or not others)


def order(event: Event) -> tuple[str, str]:
    """Where an event stands in the log."""
    return event.at, event.id


def _time_of(tx: Connection, id: str) -> str | None:
    row = tx.execute(AT, (digest.to_bytes(id),)).fetchone()
    return row[0] if row else None


def _read(id: bytes, body: bytes, called: str) -> Event:
    try:
        told = json.loads(body)
        whole = hashlib.sha256(body).digest() == id and digest.canonical(told) == body and _TIME.fullmatch(told["at"])
        event = events.from_body(id, body.decode()) if whole else None
        if event is not None and list(event.parents) == sorted(set(event.parents)) and _is_told(event):
            return event
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IfpError):
        pass
    raise IntegrityError(f"{called}: the event {digest.to_text(id)[:19]} was changed: see ifp --db {called} verify")


def _is_told(event: Event) -> bool:
    """Whether each field has the type that ifpdb gives it."""
    names = (event.model, event.run, event.version, event.from_stage, event.to_stage, event.reason)
    texts = isinstance(event.actor, str) and isinstance(event.kind, str) and all(isinstance(n, str | None) for n in names)
    return texts and isinstance(event.detail, dict) and all(map(digest.to_bytes, event.parents))


SINCE = "SELECT id, body FROM event WHERE model = ? AND at >= ? ORDER BY at, id"


def told_since(tx: Connection, since: Iterable[tuple[str, str]]) -> Iterator[Event]:
    """What ours tells of models from a time on, which is given for each; only this can overrule what comes in."""
    for model, at in since:
        for id, body in tx.execute(SINCE, (model, at)):
            yield events.from_body(id, body)
