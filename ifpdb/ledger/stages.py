"""Stages: the one event that moves a version, who held a stage when, and policies, all read off the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from ..answers import Interval
from ..digest import to_text
from ..policy import Policy, from_event
from ..records import Deployment, Event, Measurement, Version
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


ENTRIES = """
    SELECT version, kind, json_extract(body, '$.detail.settles') FROM event WHERE model = ? AND to_stage = 'production'
     ORDER BY at, id"""
BY_DIGEST = "SELECT v.key FROM version v JOIN model m ON m.key = v.model WHERE v.sha256 = ? AND m.name = ?"


def version_before(tx: sqlite3.Connection, model: str) -> int | None:
    """What a rollback without a target goes to: the last production version before today's that was not itself left
    by a rollback the last time it was left, nor decided against in a merge since."""
    entered, rolled_away = list[str](), dict[str, bool]()
    for version, kind, settles in tx.execute(ENTRIES, (model,)):
        if entered and entered[-1] != version:
            rolled_away[entered[-1]] = kind == "rolled_back"
        rolled_away.update({other: True for other in json.loads(settles or "[]") if other not in (None, version)})
        entered.append(version)
    today = production(tx, model)
    current = to_text(tx.execute(PLACE, (today,)).fetchone()[1]) if today is not None else None
    for version in reversed(entered):
        if version != current and not rolled_away.get(version, False):
            row = tx.execute(BY_DIGEST, (version, model)).fetchone()
            return int(row[0])
    return None


KNOWN_AT = "coalesce(a.at, json_extract(e.body, '$.detail.clock'), e.at)"
MOVES = f"""
    SELECT e.model, e.version, e.run, e.to_stage, e.at, e.actor, json_extract(e.body, '$.detail.approved_by'), e.reason
      FROM event e LEFT JOIN arrival a ON a.event = e.key
     WHERE e.to_stage IS NOT NULL AND (:known_by IS NULL OR {KNOWN_AT} <= :known_by)
       AND {{}}
     ORDER BY e.at, e.id"""
ALL_MOVES = MOVES.format("TRUE")
MODEL_MOVES = MOVES.format("e.model = :model")
# Of a hundred thousand versions, few have been in production: only their moves are read.
ENTERED = "(e.model, e.version) IN (SELECT model, version FROM event WHERE to_stage = 'production' AND {})"
PRODUCTION_MOVES = MOVES.format(ENTERED.format("TRUE"))
MODEL_PRODUCTION_MOVES = MOVES.format(ENTERED.format("model = :model"))


def intervals(
    tx: sqlite3.Connection,
    *,
    model: str | None = None,
    stage: str | None = None,
    version: str | None = None,
    known_by: str | None = None,
) -> list[Interval]:
    """Who held which stage from when to when, oldest first: the moves folded into what the view `stage_intervals` says.

    Of what this file learned after `known_by` (a registry time) nothing is told.
    """
    if stage == "production":
        query = PRODUCTION_MOVES if model is None else MODEL_PRODUCTION_MOVES
    else:
        query = ALL_MOVES if model is None else MODEL_MOVES
    begun, ends = list[tuple[Any, ...]](), list[str | None]()
    newest = dict[tuple[str, str], int]()  # where the interval stands that a version is in
    holders = dict[str, str]()  # the version that each model has in production

    def begin(since: str, name: str, digest: str, *rest: Any) -> None:
        if (name, digest) in newest:
            ends[newest[name, digest]] = since
        newest[name, digest] = len(begun)
        begun.append((since, name, digest, *rest))
        ends.append(None)

    for name, digest, run, to, at, actor, approved, reason in tx.execute(query, {"model": model, "known_by": known_by}):
        holder = holders.get(name)
        if to == "production":
            if holder is not None and holder != digest:
                begin(at, name, holder, begun[newest[name, holder]][3], "archived", actor, None, reason)
            holders[name] = digest
        elif holder == digest:
            del holders[name]
        begin(at, name, digest, run, to, actor, approved, reason)
    return [
        Interval(name, run, digest, held, since, until, actor, tuple(json.loads(approved or "[]")), reason)
        for (since, name, digest, run, held, actor, approved, reason), until in zip(begun, ends, strict=True)
        if stage in (None, held) and version in (None, digest)
    ]


def held_during(interval: Interval | Deployment, start: str, end: str) -> bool:
    """Whether an interval holds the instant `start == end`, or touches the span [start, end)."""
    if start == end:
        return interval.since <= start and (interval.until is None or start < interval.until)
    return interval.since < end and (interval.until is None or interval.until > start)


TOLD = f"""
    SELECT {KNOWN_AT} <= ?, e.at, json_extract(e.body, '$.detail.metrics')
      FROM event e LEFT JOIN arrival a ON a.event = e.key
     WHERE e.model = ? AND e.version = ? AND e.kind IN ('registered', 'measured')
     ORDER BY e.at, e.id"""


def measurements_known_by(tx: sqlite3.Connection, version: Version, known_by: str) -> tuple[Measurement, ...]:
    """A version's measurements without those that this file learned of after `known_by` (a registry time).

    Where a metric was measured again since, its value of then is told, without the points that led to it.
    """
    told, later = dict[tuple[str, str | None], Measurement](), set[tuple[str, str | None]]()
    for known, at, metrics in tx.execute(TOLD, (known_by, version.model, version.digest)):
        for one in json.loads(metrics or "[]"):
            place = (one["metric"], one["dataset"])
            if known:
                value = float(one["value"])
                told[place] = Measurement(one["metric"], value, value, value, 1, one["dataset"], at)
            else:
                later.add(place)
    found = []
    for one in version.measurements:
        place = (one.metric, one.dataset)
        if one.at <= known_by and place not in later:
            found.append(one)
        elif place in told:
            found.append(told[place])
    return tuple(found)


POLICY = "SELECT body FROM event WHERE kind = 'policy_set' AND model = ? ORDER BY at DESC, id DESC LIMIT 1"


def policy(tx: sqlite3.Connection, model: str) -> Policy | None:
    """The policy that the newest event sets for a model."""
    row = tx.execute(POLICY, (model,)).fetchone()
    return from_event(json.loads(row[0])["detail"]["policy"]) if row else None
