"""The union of two registries: facts and events by their hashes, theirs put into ours; then state folded anew from the log.

A merge writes no event of its own, so that A into B and B into A give the same, in whatever order three people do it. Ours
changes in one transaction, or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from .. import digest, settings
from ..desk import Registry
from ..errors import IntegrityError, NotFound, UsageError
from ..ledger import events, facts
from ..policy import from_event
from ..records import Event
from ..store import foreign
from . import blobs, disagreement, lineage, names, proof, runs, settlement, versions
from .facts import Facts
from .fork import Fork, fork

ARRIVED = "INSERT INTO arrival VALUES (?, ?)"
BROKEN = (UsageError, sqlite3.Error, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a row that no ifpdb wrote may lead to."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge brought: events, and the new runs and versions in them.

    `related` is False where the two logs have no event in common. `running` are runs that theirs has in progress,
    `without_effect` links that contradict an earlier one.
    """

    events: int
    runs: int
    versions: int
    related: bool
    heads: tuple[str, ...] = ()
    settled: tuple[settlement.Settled, ...] = ()
    running: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    blobs: blobs.Copied = field(default_factory=blobs.Copied)

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "runs": self.runs,
            "versions": self.versions,
            "related": self.related,
            "heads": list(self.heads),
            "settled": [one.as_dict() for one in self.settled],
            "running": list(self.running),
            "without_effect": list(self.without_effect),
            **self.blobs.as_dict(),
        }


def merge(
    registry: Registry,
    other: Path | bytes,
    *,
    name: str | None = None,
    prefer: Sequence[str] = (),
    reason: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """Put another registry into this one: a file, with the blobs in the folder beside it, or a revision's bytes without.

    `name` is what errors call the other. `prefer` settles disagreements: 'ours', 'theirs' or a REF; `progress` is told the
    bytes of blobs copied so far, and of all. Merging the same again changes nothing.

    Raises MergeConflict where both sides decided differently, IntegrityError for an other that is no registry or isn't what
    its digests say, Refused for one of a newer ifpdb or of the future, Conflict for other runs of the same id. This
    registry is then as it was.
    """
    called = name or (str(other) if isinstance(other, Path) else "the other registry")
    if isinstance(other, Path) and not other.is_file():
        raise NotFound(f"{other} is no file: name another registry's .db")
    if isinstance(other, Path) and other.samefile(registry.path):
        raise UsageError(f"{other} is this registry itself: name another one")
    with registry.ingesting():
        copied = blobs.Copied()
        if isinstance(other, Path):
            with _theirs(other, called) as theirs:
                named = blobs.named(theirs)
            copied = blobs.copy(named, settings.blob_folder(other), registry.blobs, progress=progress)  # its writers may go on
        with _theirs(other, called) as theirs, registry.writing() as (tx, by):
            with _blaming(theirs, called):
                merged, in_question = _unite(tx, theirs, called, by.clock or by.now)
            settled = settlement.settle(tx, by, in_question, prefer=prefer, reason=reason)
            return replace(merged, heads=tuple(events.heads(tx)), settled=tuple(settled), blobs=copied)


@contextmanager
def _theirs(other: Path | bytes, called: str) -> Iterator[Connection]:
    with foreign.opened(other, name=called, in_place=True) as theirs:
        foreign.in_our_schema(theirs, called)
        yield theirs


@contextmanager
def _blaming(theirs: Connection, called: str) -> Iterator[None]:
    """Say of what stops a merge because of a row of theirs that it was theirs."""
    try:
        yield
    except IntegrityError as error:
        if called in str(error):
            raise
        raise IntegrityError(f"{called}: {error}: see ifp --db {called} fsck") from error
    except BROKEN as error:
        ours = isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError) and _is_whole(theirs)
        if ours:
            raise
        raise IntegrityError(f"{called} has a row that breaks a rule ({error}): see ifp --db {called} fsck") from error


def _is_whole(connection: Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _unite(tx: Connection, theirs: Connection, called: str, clock: str) -> tuple[Merged, list[disagreement.Disagreement]]:
    """Put everything of theirs in; what came, and what only a person can decide."""
    parted = fork(tx, theirs, called=called, clock=clock)
    in_question = disagreement.find(tx, parted)
    known = Facts(tx, theirs, called)
    blobs.name(tx, theirs)
    carried = runs.carry(known, parted.incoming)
    found = versions.carry(known, carried, parted.incoming)
    refused = lineage.carry(tx, carried, parted.incoming)
    names.carry(tx, parted.incoming, new=found.new)
    _append(tx, parted, clock)
    versions.renumber(known, found)
    runs.check(known, carried)
    proof.check(known, carried, parted.incoming)
    merged = Merged(
        events=len(parted.incoming),
        runs=len(carried.new),
        versions=len(found.new),
        related=parted.related,
        running=tuple(carried.running),
        without_effect=tuple(refused),
    )
    return merged, in_question


def _append(tx: Connection, parted: Fork, clock: str) -> None:
    """Put theirs into the log, parents first; the database's own rules move the stages."""
    for event in parted.incoming:
        if event.kind == "policy_set":
            _check_policy(event)
            facts.keep_model(tx, str(event.model))
        written = tx.execute(events.INSERT_EVENT, (digest.to_bytes(event.id), parted.bodies[event.id]))
        tx.execute(ARRIVED, (written.lastrowid, clock))


def _check_policy(event: Event) -> None:
    """Raise what `_blaming` tells of a policy that can't be read, or is not what its digest was made of."""
    from_event(event.detail["policy"])
    if digest.sha256(digest.canonical(event.detail["policy"])) != event.detail["policy_digest"]:
        raise IntegrityError(f"the policy of {event.model} is not what its digest was made of")
