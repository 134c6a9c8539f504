"""A registry told in lines for git to compare, and what two revisions of it tell differently.

The lines are those of the log, in its order, so that a new event adds lines and changes none. A file may be anything that
git has at the registry's path: what can't be read is told in one line, since a textconv that fails stops `git log -p`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

from .. import digest
from ..drawing.story import sentences
from ..drawing.words import printable
from ..errors import IfpError, NotFound
from ..ledger import events
from ..records import Event
from ..store import foreign
from ..store.repository import Repository
from .past import past

EVENTS = """
    SELECT hex(id), CAST(body AS TEXT) FROM event
     ORDER BY CASE WHEN json_valid(body) THEN json_extract(body, '$.at') END, id"""
MANIFESTS = "SELECT CAST(manifest AS TEXT) FROM version WHERE manifest IS NOT NULL"
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What a body raises that no ifpdb wrote."""


@dataclass(frozen=True, slots=True)
class Log:
    """Events as (id, body) in log order, and every manifest by its own digest: one that was changed is no version's."""

    rows: tuple[tuple[str, str], ...]
    manifests: Mapping[str, str]

    def events(self) -> Iterator[Event]:
        """The events in log order. Thousands held at once would keep the garbage collector busy."""
        return starmap(_event, self.rows)

    def lines(self) -> Iterator[str]:
        """The events in sentences."""
        for event in self.events():
            yield from sentences(event, self._manifest(event))

    def without(self, other: Log) -> Log:
        """The events that the other one lacks, or has otherwise."""
        known = set(other.rows)
        return Log(tuple(row for row in self.rows if row not in known), self.manifests)

    def _manifest(self, event: Event) -> dict[str, Any] | None:
        text = self.manifests.get(event.version or "") if event.kind == "registered" else None
        try:
            found = json.loads(text) if text is not None else None
        except _UNREADABLE:
            return None
        return found if isinstance(found, dict) else None


def read(source: Path | bytes, *, name: str | None = None) -> Log:
    """The log of a registry's file. Raises what `foreign.opened` raises."""
    with foreign.opened(source, name=name) as connection:
        manifests = {digest.sha256(text.encode()): text for (text,) in connection.execute(MANIFESTS)}
        return Log(tuple(connection.execute(EVENTS)), manifests)


def tell(file: Path) -> list[str]:
    """What git compares of a registry's file; of anything else, one line that says what it is."""
    place = file.absolute()
    try:
        return list(read(place, name=_THIS).lines())
    except (IfpError, OSError, ValueError, MemoryError) as error:
        return [printable(str(error).replace(str(place), _THIS)).replace("\n", " ")]


_THIS = "this file"
"""What a story calls the file: git gives it a name of its own each time."""


def _event(identity: str, body: str) -> Event:
    id = bytes.fromhex(identity)
    try:
        event = events.from_body(id, body)
    except _UNREADABLE:
        return Event(digest.to_text(id), (), "", "", "unreadable", version=digest.to_text(id))
    always = (event.at, event.actor, event.kind)
    perhaps = (event.model, event.run, event.version, event.from_stage, event.to_stage, event.reason)
    texts = all(isinstance(text, str) for text in always) and all(isinstance(text, str | None) for text in perhaps)
    if not texts or not isinstance(event.detail, dict):
        return Event(event.id, (), "", "", "unreadable", version=event.id)
    return event


@dataclass(frozen=True, slots=True)
class Difference:
    """What happened from commit `a` to commit `b` (None: the work tree), and what `a` has that `b` lacks.

    `lost` is whether b comes from a, so that nothing should be lacking.
    """

    a: str
    b: str | None
    added: Log
    removed: Log
    lost: bool

    def as_dict(self) -> dict[str, Any]:
        added, removed = ([event.as_dict() for event in log.events()] for log in (self.added, self.removed))
        return {"a": self.a, "b": self.b, "added": added, "removed": removed}


def difference(registry: Path, a: str, b: str | None = None) -> Difference:
    """What a registry tells otherwise at revision `b` (None: in the work tree) than at `a`.

    Raises NotFound for a commit that git doesn't know or that doesn't have the registry, and what `read` raises.
    """
    before = past(registry, a)
    after = None if b is None else past(registry, b)
    if after is None and not registry.is_file():
        raise NotFound(f"there is no registry at {registry}: git restore brings it back, or name two revisions")
    old = read(before.data, name=before.name)
    new = read(registry) if after is None else read(after.data, name=after.name)
    fork = ("merge-base", before.commit, after.commit if after else "HEAD")
    comes_from = Repository(registry.parent).run(*fork, fine=(0, 1)).decode().strip() == before.commit
    return Difference(before.commit, after.commit if after else None, new.without(old), old.without(new), comes_from)
