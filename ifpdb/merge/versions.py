"""Versions carried over. A version never changes; of one that both sides registered, the earlier registration counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import digest
from ..errors import Conflict, IntegrityError
from ..ledger import facts, versions
from ..records import Event
from .facts import Facts
from .fork import order
from .runs import Carried

STORED = """
    SELECT v.digest, v.manifest, v.ordinal, v.weights, v.schema, b.digest, s.digest
      FROM run r JOIN version v ON v.key = r.version LEFT JOIN blob b ON b.key = v.weights
      LEFT JOIN feature_schema s ON s.key = v.schema WHERE r.key = ?"""
COUNT = "SELECT count(*) FROM version v JOIN model m ON m.key = v.model WHERE m.name = ?"
REGISTERED = "SELECT v.sha256, r.registered_at FROM run r JOIN version v ON v.key = r.version WHERE r.key = ?"
FIRST = """
    SELECT at, 'sha256:' || lower(hex(id)) FROM event WHERE model = ? AND version = ? AND to_stage IS NOT NULL
     ORDER BY at, id LIMIT 1"""
ORDINAL = "SELECT ordinal FROM version WHERE key = ?"
SET_ORDINAL = "UPDATE version SET ordinal = ? WHERE key = ?"


@dataclass(slots=True)
class Versions:
    """What came in: the keys here of new versions; and of others the number that they bore where they were first."""

    new: set[int] = field(default_factory=set)
    renumbered: dict[int, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)  # of each model there: none can bear a higher number


def carry(known: Facts, carried: Carried, incoming: Iterable[Event]) -> Versions:
    """Bring the version that each of these runs registered; `renumber` must follow when the events are here.

    Raises IntegrityError for one that is not what its digest was made of, Conflict for a run that registered another one.
    """
    found, first = Versions(), dict[tuple[str | None, str | None], tuple[str, str]]()
    for event in incoming:
        if event.kind == "registered" and event.to_stage is not None:
            first.setdefault((event.model, event.version), order(event))
    for name, event in carried.told.registered.items():
        version = _bring(known, carried.there[name], event, found, first.get((event.model, event.version)))
        run = carried.here[name]
        held = known.tx.execute(REGISTERED, (run,)).fetchone()
        if held is not None and held[0] != event.version:
            raise Conflict(f"{name} registered another version here than in {known.called}: they can't be united")
        if held is None or event.at < held[1]:
            versions.set_run(known.tx, run=run, version=version, at=event.at)
    return found


def renumber(known: Facts, found: Versions) -> None:
    """Give versions that both sides registered the number that they had where that was first."""
    known.tx.executemany(SET_ORDINAL, [(ordinal, version) for version, ordinal in found.renumbered.items()])


def _code(known: Facts, training: Mapping[str, Any] | None) -> None:
    """The code of a registration is in no row of its run once more of it was imported."""
    if training and training.get("code"):
        row = known.theirs.execute(facts.CODE, (digest.to_bytes(training["code"]),)).fetchone()
        if row is not None:
            known.code(row[0])


def _bring(known: Facts, there: int, event: Event, found: Versions, first: tuple[str, str] | None) -> int:
    tx, called = known.tx, known.called
    row = known.theirs.execute(STORED, (there,)).fetchone()
    if row is None or event.version is None or event.model is None or digest.to_text(row[0]) != event.version:
        raise IntegrityError(f"{called}: {event.run} is not the run that its log tells of: see ifp --db {called} fsck")
    _, manifest, ordinal, weights, schema, *parts = row
    named = json.loads(manifest) if digest.sha256(manifest.encode()) == event.version else {}
    if [named.get("weights"), named.get("schema")] != [digest.to_text(part) if part else None for part in parts] or not named:
        raise IntegrityError(f"{called}: the version {event.version[:19]} was changed: see ifp --db {called} fsck")
    if event.model not in found.highest:
        found.highest[event.model] = known.theirs.execute(COUNT, (event.model,)).fetchone()[0]
    if ordinal > found.highest[event.model]:
        raise IntegrityError(f"{called}: the version {event.version[:19]} can't be v{ordinal}: see ifp --db {called} fsck")
    _code(known, named["training"])
    model = facts.keep_model(tx, event.model)
    key = versions.find(tx, model, event.version)
    if key is None:
        key = versions.insert(
            tx,
            model=model,
            digest=event.version,
            manifest=manifest.encode(),
            weights=None if weights is None else known.blob(weights),
            schema=None if schema is None else known.schema(schema),
            ordinal=ordinal,
        )
        found.new.add(key)
        return key
    ours = tx.execute(FIRST, (event.model, event.version)).fetchone()
    if first is not None and ours is not None and first < ours and tx.execute(ORDINAL, (key,)).fetchone()[0] != ordinal:
        found.renumbered[key] = ordinal
    return key
