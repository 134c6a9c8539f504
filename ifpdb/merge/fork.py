"""Where two logs part: what theirs has that ours lacks, verified before anything of it is believed.

Both logs hold all parents of each of their events, so that the events that both have are the common past, and what lies
before one of them needs no look.
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

HEADS = "SELECT id FROM head"
HAS = "SELECT 1 FROM event WHERE id = ?"
ANY = "SELECT EXISTS (SELECT 1 FROM event)"
BODY = "SELECT CAST(body AS BLOB) FROM event WHERE id = ?"
AT = "SELECT at FROM event WHERE id = ?"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
AHEAD = 24 * 3600 * 1_000_000
"""Microseconds that an event may be ahead of this machine's clock: every later one here would bear that time too."""


@dataclass(frozen=True, slots=True)
class Fork:
    """`incoming` is what only theirs has, the oldest first; `bodies` are its exact bytes by id.

    `related` is whether the two have an event in common, or one has none; `has_news` whether only ours has something too.
    """

    incoming: tuple[Event, ...]
    bodies: Mapping[str, str]
    related: bool
    has_news: bool
    theirs: Connection

    def is_only_ours(self, id: bytes) -> bool:
        """Whether theirs lacks this event of ours."""
        return not _has(self.theirs, id)


def fork(tx: Connection, theirs: Connection, *, called: str, clock: str) -> Fork:
    """Walk their log down from its heads to where it meets ours, and check each event: its bytes, id, parents and time.

    Raises IntegrityError for one that is not as ifpdb writes it, Refused for one of the future.
    """
    found, at, bodies = list[Event](), dict[str, str](), dict[str, str]()
    waiting, seen = [digest.to_bytes(head) for (head,) in theirs.execute(HEADS)], set[bytes]()
    related = not waiting or not tx.execute(ANY).fetchone()[0]
    while waiting:
        if (id := waiting.pop()) in seen:
            continue
        seen.add(id)
        if _has(tx, id):
            related = True
            continue
        event, body = _read(theirs, id, called)
        found.append(event)
        at[event.id], bodies[event.id] = event.at, body
        waiting += map(digest.to_bytes, event.parents)
    _check_heads(tx, theirs, seen, called)
    found.sort(key=order)
    for event in found:
        if any((at.get(parent) or _time_of(tx, parent)) >= event.at for parent in event.parents):
            raise IntegrityError(
                f"{called}: the event {event.id[:19]} is not later than its parent: see ifp --db {called} verify"
            )
    if found and times.to_microseconds(found[-1].at) > times.to_microseconds(clock) + AHEAD:
        raise Refused(
            f"{called} has an event of {found[-1].at}, but here it is {clock}, and later events would have to bear that time: "
            f"set this machine's clock, or, where theirs was wrong, take the revision before it and register again"
        )
    has_news = not all(_has(theirs, digest.to_bytes(head)) for (head,) in tx.execute(HEADS))
    return Fork(tuple(found), bodies, related, has_news, theirs)


IDS = "SELECT id FROM event ORDER BY id"


def _check_heads(tx: Connection, theirs: Connection, seen: Collection[bytes], called: str) -> None:
    """See that their heads lead to everything that ours lacks: what isn't found from them would be left out in silence."""
    ours = tx.execute(IDS)
    here = next(ours, (b"\xff" * 33,))[0]
    for (id,) in theirs.execute(IDS):
        while here < id:
            here = next(ours, (b"\xff" * 33,))[0]
        if here != id and id not in seen:
            raise IntegrityError(
                f"{called}: its heads don't lead to the event {digest.to_text(id)[:19]}: see ifp --db {called} verify"
            )


def order(event: Event) -> tuple[str, str]:
    """Where an event stands in the log."""
    return event.at, event.id


def _has(connection: Connection, id: bytes) -> bool:
    return connection.execute(HAS, (id,)).fetchone() is not None


def _time_of(tx: Connection, id: str) -> str:
    return str(tx.execute(AT, (digest.to_bytes(id),)).fetchone()[0])


def _read(theirs: Connection, id: bytes, called: str) -> tuple[Event, str]:
    row = theirs.execute(BODY, (id,)).fetchone()
    if row is None:
        raise IntegrityError(f"{called}: the event {digest.to_text(id)[:19]} is in neither log: see ifp --db {called} verify")
    body: bytes = row[0]
    try:
        told = json.loads(body)
        whole = hashlib.sha256(body).digest() == id and digest.canonical(told) == body and _TIME.fullmatch(told["at"])
        event = events.from_body(id, body.decode()) if whole else None
        if event is not None and list(event.parents) == sorted(set(event.parents)) and _is_told(event):
            return event, body.decode()
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
