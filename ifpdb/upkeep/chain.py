"""Is the log whole: every event's bytes, id and parents, the heads, and the stages that it tells."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from .. import digest
from ..desk import Registry
from ..errors import UsageError
from ..ledger import events
from .logical import logical_digest

STAGES_OFF = """
    SELECT 'sha256:' || lower(hex(v.digest)), v.stage, s.stage FROM version v JOIN stage_by_log s ON s.version = v.key
     WHERE v.stage IS NOT s.stage"""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found: the number of events, the heads of the log, the registry's logical digest, the problems."""

    events: int
    heads: tuple[str, ...]
    digest: str
    problems: tuple[tuple[str, str, str], ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "events": self.events,
            "heads": list(self.heads),
            "digest": self.digest,
            "problems": [{"kind": kind, "event": event, "detail": detail} for kind, event, detail in self.problems],
        }


def verify(registry: Registry, *, anchors: Sequence[str] = ()) -> Verification:
    """Hash every event anew, follow every parent link, and hold the stages against the log.

    `anchors` are ids of events that were noted elsewhere, such as heads in commit messages: each must still be here, which is
    how a cut tail or a rewritten log shows. Raises UsageError for an anchor that is no digest.
    """
    noted = {digest.to_bytes(anchor): anchor for anchor in anchors}
    with registry.reading() as tx:
        times = dict(tx.execute(TIMES).fetchall())
        found = list(problems(tx, times))
        found += [("anchor", noted[id], "it was noted elsewhere, but it is not here") for id in noted.keys() - times.keys()]
        said = ""
        try:
            for version, held, told in tx.execute(STAGES_OFF):
                found.append(("stage", "", f"{version} is in {held}, but the log says {told}"))
            said = logical_digest(tx)
        except sqlite3.Error as error:  # a row that can't be read has no digest
            found.append(("unreadable", "", f"{error} (ifp fsck)"))
        return Verification(len(times), tuple(events.heads(tx)), said, tuple(found))


# As bytes, and NULL where the body is no JSON: a damaged event is to be told, not to stop the telling.
TIMES = "SELECT id, iif(json_valid(body), CAST(json_extract(body, '$.at') AS BLOB), NULL) FROM event"
LINKS = """
    SELECT id, CAST(body AS BLOB), iif(json_valid(body), CAST(json_extract(body, '$.parents') AS BLOB), NULL)
      FROM event ORDER BY key"""


def problems(tx: Connection, times: Mapping[bytes, bytes | None]) -> Iterator[tuple[str, str, str]]:
    """(kind, event id, what is wrong) for each event whose bytes, parents or time break the chain, and wrong heads.

    `times` are what TIMES gives.
    """
    named = set[bytes]()
    for identity, body, parents in tx.execute(LINKS):
        if hashlib.sha256(body).digest() != identity:
            yield "changed", digest.to_text(identity), "its bytes are not the ones that its id was made of"
        for parent in _parents(parents):
            named.add(parent)
            if parent not in times:
                name = digest.to_text(identity)
                yield "missing", digest.to_text(parent), f"event {name} names it as its parent, but it is not here"
            elif (times[parent] or b"") >= (times[identity] or b""):
                yield "order", digest.to_text(identity), "it is not later than its parent"
    if sorted(map(digest.to_text, times.keys() - named)) != events.heads(tx):
        yield "heads", "", "the heads on record are not the events that no other names as parent"


def _parents(text: bytes | None) -> list[bytes]:
    """The ids in an event's list of parents; none where that can't be read, since the event is told as changed then."""
    try:
        return [digest.to_bytes(parent) for parent in json.loads(text or b"[]")]
    except (ValueError, TypeError, UsageError):
        return []
