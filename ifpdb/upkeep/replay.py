"""The registry as it was when an event was written: what its author could know, so that a gate can be asked again.

Its past is what the event comes from, not what bears an earlier time: a merge brings older events that its author hadn't seen.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from sqlite3 import Connection

from .. import times
from ..ledger import metrics
from ..records import Event
from ..store import series

PARENTS = "SELECT 'sha256:' || lower(hex(id)), body FROM event"
TRIGGERS = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
FORGET = "DELETE FROM event WHERE 'sha256:' || lower(hex(id)) NOT IN (SELECT value FROM json_each(?))"
OTHER_RUNS = """
    UPDATE run SET version = NULL, registered_at = NULL
     WHERE version IS NOT NULL AND id NOT IN (SELECT run FROM event WHERE kind = 'registered')"""
NO_PRODUCTION = "UPDATE version SET stage = NULL WHERE stage = 'production'"
STAGES = """
    UPDATE version SET stage = (SELECT stage FROM stage_by_log s WHERE s.version = version.key)
     WHERE sha256 IN (SELECT version FROM event WHERE to_stage = 'production')"""
METRICS = """
    SELECT x.rowid, x.run, x.name, x.dataset, x.series, r.id, coalesce('sha256:' || nullif(lower(hex(d.digest)), ''), d.pointer)
      FROM metric x JOIN run r ON r.key = x.run LEFT JOIN dataset d ON d.key = x.dataset
      JOIN version v ON v.key = r.version JOIN model m ON m.key = v.model
     WHERE m.name = ? AND (v.stage = 'production' OR v.sha256 = ?)"""
NO_METRIC = "DELETE FROM metric WHERE rowid = ?"
MEASURED = "SELECT 'sha256:' || lower(hex(id)), run, at, body FROM event WHERE kind = 'measured' AND model = ?"


def parents_of_all(tx: Connection) -> dict[str, list[str]]:
    """The parents of each event of the log."""
    return {id: json.loads(body)["parents"] for id, body in tx.execute(PARENTS)}


def past_of(event: str, parents: Mapping[str, list[str]]) -> set[str]:
    """The events that this one comes from, without itself."""
    found, waiting = set[str](), list(parents[event])
    while waiting:
        if (id := waiting.pop()) not in found:
            found.add(id)
            waiting += parents.get(id, ())
    return found


@contextmanager
def as_it_was(tx: Connection, event: Event, parents: Mapping[str, list[str]]) -> Iterator[Connection]:
    """A private copy of the registry as it was just before `event`, for what the gate asks of the event's model."""
    past = past_of(event.id, parents)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        tx.backup(copy)
        for (name,) in copy.execute(TRIGGERS).fetchall():
            copy.execute(f'DROP TRIGGER "{name}"')
        later = _measured_since(copy, event, past)
        copy.execute(FORGET, (json.dumps(sorted(past)),))
        copy.execute(OTHER_RUNS)
        copy.execute(NO_PRODUCTION)  # one after the other there could be two in production
        copy.execute(STAGES)
        _cut_metrics(copy, event, later)
        yield copy


def _measured_since(copy: Connection, event: Event, past: set[str]) -> set[tuple[str, str, str | None, int]]:
    """(run, metric, dataset, microseconds) of the measurements that others told of without the author's knowledge."""
    found = set[tuple[str, str, str | None, int]]()
    for id, run, at, body in copy.execute(MEASURED, (event.model,)):
        if id not in past:
            moment = times.to_microseconds(at)
            found.update((run, one["metric"], one["dataset"], moment) for one in json.loads(body)["detail"]["metrics"])
    return found


def _cut_metrics(copy: Connection, event: Event, later: set[tuple[str, str, str | None, int]]) -> None:
    """Take away the points that came after the event, or that only another branch had, of the two that the gate compares."""
    end = times.to_microseconds(event.at)
    for row, run, name, dataset, packed, run_id, identity in copy.execute(METRICS, (event.model, event.version)).fetchall():
        values, steps, moments = series.unpack(packed)
        kept = [
            number for number, moment in enumerate(moments) if moment <= end and (run_id, name, identity, moment) not in later
        ]
        if len(kept) == len(moments):
            continue
        copy.execute(NO_METRIC, (row,))
        if kept:
            cut = series.pack([values[i] for i in kept], [steps[i] for i in kept], [moments[i] for i in kept])
            metrics.unite(copy, run, name, dataset, cut)


def version_key(copy: Connection, event: Event) -> int | None:
    """The version that an event is about."""
    query = "SELECT v.key FROM version v JOIN model m ON m.key = v.model WHERE m.name = ? AND v.sha256 = ?"
    row = copy.execute(query, (event.model, event.version)).fetchone()
    return int(row[0]) if row else None
