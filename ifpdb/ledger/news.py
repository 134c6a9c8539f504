"""What is new in a log: the events that somebody has not seen, wherever in it they stand.

A merge brings events that are older than some that were seen, and a checkout of the file takes some away: so what is new
is told by ids and parents, never by time or by the order of rows. Whoever has seen an event has seen its ancestors.
"""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import merge

from ..digest import to_text
from ..errors import Ambiguous, NotFound, UsageError
from ..records import Event
from . import events

_ID = re.compile(r"sha256:([0-9a-f]{7,64})", re.I)
_RECENT = 4096


class Seen:
    """The ids of events that were seen; eight bytes of each, so that a million of them take 8 MB."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """`numbers` are the first eight bytes of each id, ascending."""
        self._old = array("Q", numbers)
        self._recent = set[int]()

    def __contains__(self, id: str) -> bool:
        number = _number(id)
        place = bisect_left(self._old, number)
        return number in self._recent or (place < len(self._old) and self._old[place] == number)

    def add(self, id: str) -> None:
        """Take note of one more."""
        self._recent.add(_number(id))
        if len(self._recent) > _RECENT:
            self._old = array("Q", merge(self._old, sorted(self._recent)))
            self._recent.clear()


def _number(id: str) -> int:
    return int(id[7:23], 16)


def is_id(text: str) -> bool:
    """Whether somebody means an event by its id, or by the beginning of it."""
    return text[:7].lower() == "sha256:"


BETWEEN = "SELECT id FROM event WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 11"


def find(tx: sqlite3.Connection, text: str) -> str:
    """The id that begins so. Raises UsageError for no beginning of an id, NotFound, and Ambiguous with the candidates."""
    match = _ID.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is no event: write its id, sha256: and 7 or more hex digits (ifp events)")
    bounds = [bytes.fromhex(match[1].lower().ljust(64, digit)) for digit in "0f"]
    found = [to_text(id) for (id,) in tx.execute(BETWEEN, bounds)]
    if not found:
        raise NotFound(f"there is no event {text} in this registry: it may be in a later revision of the file (ifp events)")
    if len(found) > 1:
        raise Ambiguous(f"'{text}' is the beginning of several events: {', '.join(found[:10])}; write more of it")
    return found[0]


# A log is whole: whatever stands in it, but for some events and those that came after them, has been seen.
ALL = "SELECT substr(id, 1, 8) FROM event ORDER BY id"
BEFORE = "SELECT substr(id, 1, 8) AS begin FROM event WHERE at < ? ORDER BY begin"


def all_of(tx: sqlite3.Connection) -> Seen:
    """Every event of the log."""
    return Seen(int.from_bytes(begin) for (begin,) in tx.execute(ALL))


def before(tx: sqlite3.Connection, time: str) -> Seen:
    """Every event that took place before a registry time."""
    return Seen(int.from_bytes(begin) for (begin,) in tx.execute(BEFORE, (time,)))


def up_to(tx: sqlite3.Connection, ids: Sequence[str]) -> Seen:
    """These events, which are in the log, and all their ancestors."""
    new = _beyond(tx, ids)
    return Seen(number for (begin,) in tx.execute(ALL) if (number := int.from_bytes(begin)) not in new)


DOWN = "SELECT id, at, json_extract(body, '$.parents') FROM event ORDER BY at DESC, id DESC"


def _beyond(tx: sqlite3.Connection, ids: Sequence[str]) -> set[int]:
    """What is neither among these events nor an ancestor of them, as `git rev-list HEADS ^IDS` has it.

    An event is later than its parents: from the newest down, all that is to be known of one is known when its turn comes.
    """
    known, new = set(ids), set[int]()
    to_do = set(events.heads(tx)) - known
    for id, _, parents in tx.execute(DOWN):
        if not to_do:
            break
        text = to_text(id)
        to_do.discard(text)
        if text in known:
            known.remove(text)
            known.update(json.loads(parents))
            to_do -= known
        else:
            new.add(_number(text))
            to_do.update(parent for parent in json.loads(parents) if parent not in known)
    return new


def oldest(tx: sqlite3.Connection, seen: Seen) -> tuple[str, bytes] | None:
    """Where in the log, as (at, id), the oldest event stands that wasn't seen; None where all were."""
    to_do, found = {head for head in events.heads(tx) if head not in seen}, None
    for id, at, parents in tx.execute(DOWN):
        if not to_do:
            break
        text = to_text(id)
        if text not in seen:
            found = (at, id)
            to_do.discard(text)
            to_do.update(parent for parent in json.loads(parents) if parent not in seen)
    return found


UP = "SELECT id, body FROM event WHERE (at, id) >= (?, ?) ORDER BY at, id"


def page(tx: sqlite3.Connection, seen: Seen, start: tuple[str, bytes], *, size: int) -> list[Event]:
    """The first events from a place in the log on that weren't seen, in log order; fewer than `size` are the last ones."""
    found = list[Event]()
    for id, body in tx.execute(UP, start):
        if to_text(id) not in seen:
            found.append(events.from_body(id, body))
            if len(found) == size:
                break
    return found
