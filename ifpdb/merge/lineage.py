"""Lineage after a merge: the edges that the log tells, each run's parents in the order of the log.

Two people may link two runs both ways round, each in a registry that the other doesn't see. The link that came first in the
log stands; one that would close a cycle, or call a known edge something else, stays in the log and has no effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from sqlite3 import Connection

from ..errors import Conflict, IntegrityError, UsageError
from ..ledger import events, lineage, runs
from ..records import Event
from .fork import order
from .runs import Carried

KINDS = ("run_started", "registered", "linked")
OF_RUNS = """
    SELECT id, body FROM event WHERE model = ? AND kind IN ('run_started', 'registered', 'linked')
       AND run IN (SELECT value FROM json_each(?))"""
LINKED = "SELECT DISTINCT model, run FROM event WHERE kind = 'linked'"
NO_PARENTS = "DELETE FROM edge WHERE child = ?"


def carry(tx: Connection, carried: Carried, incoming: Sequence[Event]) -> list[str]:
    """Put in the edges that the incoming events tell; what has no effect, in words."""
    telling = [event for event in incoming if event.kind in KINDS and event.run is not None]
    contested = {event.run: event.model for event in telling if event.run not in carried.new and parents(event)}
    jobs = [event for event in telling if event.run in carried.new] + _all_of(tx, contested, telling)
    if not (refused := _link(tx, contested, jobs)):
        return []
    # Whoever linked against whom, the whole order of links decides it.
    linked: dict[str | None, str | None] = {run: model for model, run in tx.execute(LINKED)}
    wide = contested | linked | {event.run: event.model for event in telling}
    refused = _link(tx, wide, _all_of(tx, wide, telling))
    lineage.renumber(tx)
    return refused


def _all_of(tx: Connection, children: dict[str | None, str | None], telling: Iterable[Event]) -> list[Event]:
    """Every event of both sides that tells an edge of these runs."""
    found = {event.id: event for event in telling if event.run in children}
    by_model = dict[str | None, list[str | None]]()
    for run, model in children.items():
        by_model.setdefault(model, []).append(run)
    for model, names in by_model.items():
        for id, body in tx.execute(OF_RUNS, (model, json.dumps(names))):
            event = events.from_body(id, body)
            found[event.id] = event
    return list(found.values())


def _link(tx: Connection, anew: Iterable[str | None], telling: Iterable[Event]) -> list[str]:
    """Give runs the parents that events tell, those in `anew` from the beginning; the edges that can't be, in words."""
    for run in anew:
        tx.execute(NO_PARENTS, (_key(tx, run),))
    refused = list[str]()
    for event in sorted(telling, key=order):
        for parent, kind in parents(event):
            try:
                lineage.link(tx, _key(tx, event.run), _key(tx, parent), kind)
            except Conflict as error:
                refused.append(str(error))
            except UsageError as error:
                raise IntegrityError(f"the log tells of lineage that can't be: {error}") from error
    return refused


def parents(event: Event) -> list[tuple[str, str]]:
    """(run, kind) of each parent that an event tells of; raises IntegrityError where it tells nonsense."""
    try:
        if event.kind == "linked":
            return [(event.detail["parent"], event.detail["lineage"])]
        return [(parent["run"], parent["kind"]) for parent in event.detail["parents"]]
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"the event {event.id[:19]} doesn't tell its parents as ifpdb does") from error


def _key(tx: Connection, run: str | None) -> int:
    key = runs.find(tx, run) if isinstance(run, str) else None
    if key is None:
        raise IntegrityError(f"the log tells of {run}, but that run is nowhere")
    return key
