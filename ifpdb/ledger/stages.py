"""Stages: the one event that moves a version, who held a stage when, approvals and policies, all read off the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from ..digest import to_text
from ..policy import Policy, from_event
from ..records import Event, Interval
from . import events, versions

PLACE = "SELECT m.name, v.digest, v.stage FROM version v JOIN model m ON m.key = v.model WHERE v.key = ?"


def move(
    tx: sqlite3.Connection,
    by: events.Author,
    version: int,
    kind: str,
    *,
    to_stage: str,
    run: str | None = None,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """Move a version to a stage. Into production, whatever is there is archived by the same event."""
    model, identity, from_stage = tx.execute(PLACE, (version,)).fetchone()
    detail = dict(detail or {})
    replaced = production(tx, model) if to_stage == "production" else None
    if replaced is not None and replaced != version:
        left = to_text(tx.execute(PLACE, (replaced,)).fetchone()[1])
        detail["replaced"] = {"run": versions.own_run_id(tx, replaced), "version": left}
    return events.append(
        tx,
        by,
        kind,
        model=model,
        run=run or versions.own_run_id(tx, version),
        version=to_text(identity),
        from_stage=from_stage,
        to_stage=to_stage,
        reason=reason,
        detail=detail,
    )


PRODUCTION = "SELECT v.key FROM version v JOIN model m ON m.key = v.model WHERE m.name = ? AND v.stage = 'production'"


def production(tx: sqlite3.Connection, model: str) -> int | None:
    """The version that a model has in production."""
    row = tx.execute(PRODUCTION, (model,)).fetchone()
    return row[0] if row else None


WAS_IN_PRODUCTION = """
    SELECT 1 FROM version v JOIN model m ON m.key = v.model
      JOIN event e ON e.model = m.name AND e.version = 'sha256:' || lower(hex(v.digest)) AND e.to_stage IS NOT NULL
     WHERE v.key = ? AND e.to_stage = 'production' LIMIT 1"""


def was_in_production(tx: sqlite3.Connection, version: int) -> bool:
    """Whether a version has ever been in production, today included."""
    return tx.execute(WAS_IN_PRODUCTION, (version,)).fetchone() is not None


ENTRIES = "SELECT version, kind FROM event WHERE model = ? AND to_stage = 'production' ORDER BY at, id"
BY_DIGEST = """
    SELECT v.key FROM version v JOIN model m ON m.key = v.model
     WHERE m.name = ? AND v.digest = ?"""


def version_before(tx: sqlite3.Connection, model: str) -> int | None:
    """What a rollback without a target goes to: the last production version before today's that was not itself left
    by a rollback the last time it was left."""
    entered, rolled_away = list[str](), dict[str, bool]()
    for version, kind in tx.execute(ENTRIES, (model,)):
        if entered and entered[-1] != version:
            rolled_away[entered[-1]] = kind == "rolled_back"
        entered.append(version)
    today = production(tx, model)
    current = to_text(tx.execute(PLACE, (today,)).fetchone()[1]) if today is not None else None
    for version in reversed(entered):
        if version != current and not rolled_away.get(version, False):
            row = tx.execute(BY_DIGEST, (model, bytes.fromhex(version.removeprefix("sha256:")))).fetchone()
            return int(row[0])
    return None


INTERVALS = """
    SELECT model, run, version, stage, since, until, actor, approved_by, reason FROM stage_intervals
     WHERE (:model IS NULL OR model = :model) AND (:stage IS NULL OR stage = :stage)
       AND (:version IS NULL OR version = :version)
     ORDER BY since, model"""
MODEL_INTERVALS = INTERVALS.replace("(:model IS NULL OR model = :model)", "model = :model")


def intervals(
    tx: sqlite3.Connection, *, model: str | None = None, stage: str | None = None, version: str | None = None
) -> Iterator[Interval]:
    """Who held which stage from when to when, oldest first."""
    query = INTERVALS if model is None else MODEL_INTERVALS
    bound = {"model": model, "stage": stage, "version": version}
    for model_name, run, digest, held, since, until, actor, approved, reason in tx.execute(query, bound).fetchall():
        approved_by = tuple(json.loads(approved or "[]"))
        yield Interval(model_name, run, digest, held, since, until, actor, approved_by, reason)


def held_during(interval: Interval, start: str, end: str) -> bool:
    """Whether an interval holds the instant `start == end`, or touches the span [start, end)."""
    if start == end:
        return interval.since <= start and (interval.until is None or start < interval.until)
    return interval.since < end and (interval.until is None or interval.until > start)


APPROVERS = """
    SELECT actor FROM event WHERE kind = 'approved' AND model = ? AND version = ? GROUP BY actor ORDER BY min(at), actor"""


def approvers(tx: sqlite3.Connection, model: str, version: str) -> list[str]:
    """Who approved a version, in the order of their first approval."""
    return [row[0] for row in tx.execute(APPROVERS, (model, version))]


ENTRY_APPROVERS = """
    SELECT a.value FROM event e, json_each(e.body, '$.detail.approved_by') a
     WHERE e.model = ? AND e.version = ? AND e.to_stage = 'production' ORDER BY e.at, a.key"""


def approvers_of_entries(tx: sqlite3.Connection, model: str, version: str) -> list[str]:
    """Who was on record as approving when a version entered production before."""
    return list(dict.fromkeys(row[0] for row in tx.execute(ENTRY_APPROVERS, (model, version))))


POLICY = "SELECT body FROM event WHERE kind = 'policy_set' AND model = ? ORDER BY at DESC, id DESC LIMIT 1"


def policy(tx: sqlite3.Connection, model: str) -> Policy | None:
    """The policy that the newest event sets for a model."""
    row = tx.execute(POLICY, (model,)).fetchone()
    return from_event(json.loads(row[0])["detail"]["policy"]) if row else None
