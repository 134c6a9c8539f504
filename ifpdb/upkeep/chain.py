"""Is the log whole: every event's bytes, id and parents, the heads, and the stages that it tells.

An event's id is the hash of its bytes, which name its parents: who changes one has to write all that follow anew. Each is
later than its parents, so there is no cycle. What was cut off at the end shows only against an anchor: the id of an event
that was noted where a thief with the file has no hand.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from sqlite3 import Connection
from typing import Any

from .. import digest
from ..desk import Registry
from ..errors import UsageError
from ..ledger import events
from .logical import logical_digest

Problem = tuple[str, str, str]
"""(kind, id of the event or '', what is wrong)"""

STAGES_OFF = """
    SELECT 'sha256:' || lower(hex(v.digest)), v.stage, s.stage FROM version v JOIN stage_by_log s ON s.version = v.key
     WHERE v.stage IS NOT s.stage"""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found: the number of events, the heads of the log, the registry's logical digest, the problems.

    `anchors` is the number of those that the log was held against. `digest` is '' where not every row can be read.
    """

    events: int
    heads: tuple[str, ...]
    digest: str
    problems: tuple[Problem, ...]
    anchors: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "events": self.events,
            "heads": list(self.heads),
            "digest": self.digest,
            "anchors": self.anchors,
            "problems": [{"kind": kind, "event": event, "detail": detail} for kind, event, detail in self.problems],
        }


def verify(registry: Registry, *, anchors: Mapping[str, str] | Sequence[str] = ()) -> Verification:
    """Hash every event anew, follow every parent link, and hold the stages against the log.

    `anchors` are ids of events that were noted elsewhere, such as heads in commit messages (`anchors.in_commits`), if need be
    with where that was: each must still be here. Raises UsageError for an anchor that is no digest. What can't be read is a
    problem, and the rest is read on.
    """
    noted = anchors if isinstance(anchors, Mapping) else dict.fromkeys(anchors, "elsewhere")
    for anchor in noted:
        digest.to_bytes(anchor)
    with registry.reading() as tx:
        log = Log(tx)
        found = [*_readable("the log", log.problems), *_readable("the heads", log.head_problems)]
        found += _readable("the log", partial(_anchors, tx, noted))
        found += _readable("the stages", partial(_stages, tx))
        whole = list[str]()
        found += _readable("some rows", lambda: whole.append(logical_digest(tx)))
        return Verification(log.count, tuple(log.heads), "".join(whole), tuple(found), len(noted))


def _readable(what: str, check: Callable[[], Iterator[Problem] | None]) -> Iterator[Problem]:
    """The problems of one check, and what stopped it, if anything did."""
    try:
        yield from check() or ()
    except sqlite3.Error as error:
        yield "unreadable", "", f"{what} can't be read further ({error}); ifp fsck tells more"


EVENTS = "SELECT key, 'sha256:' || lower(hex(id)), CAST(body AS BLOB) FROM event ORDER BY key"
PARENT = "SELECT key, CAST(body AS BLOB) FROM event WHERE id = ?"


@dataclass(slots=True)
class Log:
    """The log, read once in the order of its rows: parents come before their children, so that little has to be kept."""

    tx: Connection
    count: int = 0
    heads: list[str] = field(default_factory=list)
    _open: dict[str, str] = field(default_factory=dict)  # the time of each event that none has named so far
    _ahead: set[str] = field(default_factory=set)  # events that were named before they came

    def problems(self) -> Iterator[Problem]:
        """What is wrong with each event's bytes, parents and time."""
        for key, id, body in self.tx.execute(EVENTS):
            self.count += 1
            at, parents, wrong = _read(id, body)
            if wrong:
                yield wrong
            for parent in parents:
                before = self._time_of(parent, key)
                if before is None:
                    yield "missing", parent, f"event {id} names it as its parent, but it is not here"
                elif before >= at:
                    yield "order", id, "it is not later than its parent"
            if id in self._ahead:
                self._ahead.remove(id)
            else:
                self._open[id] = at

    def _time_of(self, parent: str, child: int) -> str | None:
        """When an event was that another one names; None where it isn't here."""
        if (before := self._open.pop(parent, None)) is not None:
            return before
        try:
            row = self.tx.execute(PARENT, (digest.to_bytes(parent),)).fetchone()
        except UsageError:  # its child was changed
            return None
        if row is None:
            return None
        if row[0] > child:
            self._ahead.add(parent)
        return _read(parent, row[1])[0]

    def head_problems(self) -> Iterator[Problem]:
        """Whether the heads on record are the events that no other names."""
        self.heads = events.heads(self.tx)
        if sorted(self._open) != self.heads:
            yield "heads", "", "the heads on record are not the events that no other names as parent"


def _read(id: str, body: bytes) -> tuple[str, list[str], Problem | None]:
    """An event's time, its parents, and what is wrong with its bytes."""
    wrong = None
    if "sha256:" + hashlib.sha256(body).hexdigest() != id:
        wrong = "changed", id, "its bytes are not the ones that its id was made of"
    try:
        told = json.loads(body)
        at, parents = str(told["at"]), [str(parent) for parent in told["parents"]]
        if digest.canonical(told) == body and parents == sorted(set(parents)):
            return at, parents, wrong
    except (ValueError, KeyError, TypeError, UsageError):
        at, parents = "~", []
    return at, parents, wrong or ("form", id, "its bytes are not the canonical JSON of an event with sorted parents")


def _anchors(tx: Connection, noted: Mapping[str, str]) -> Iterator[Problem]:
    for anchor, where in noted.items():
        if tx.execute(PARENT, (digest.to_bytes(anchor),)).fetchone() is None:
            yield "anchor", anchor, f"it was noted {where}, but it is not here: the log was cut short or written anew"


def _stages(tx: Connection) -> Iterator[Problem]:
    for version, held, told in tx.execute(STAGES_OFF):
        yield "stage", "", f"{version} is in {held}, but the log says {told}"
