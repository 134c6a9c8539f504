"""The database keeps its own rules, whichever program writes: schema.sql attacked with sqlite3, the shell and the module."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb import digest

Make = Callable[..., ifp.Version]

EVERYTHING = "SELECT 'event', key, id, body FROM event UNION ALL SELECT 'version', key, digest, stage || manifest FROM version"


@pytest.fixture
def attacked(make: Make, registry: ifp.Registry) -> Path:
    """A registry with fraud v1 in production and v2 in staging, and another model; closed."""
    make("a")
    make("b")
    make("z", "churn")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    registry.close()
    return registry.path


@pytest.fixture
def raw(attacked: Path) -> Iterator[sqlite3.Connection]:
    """A bare connection, as another program would open it: no foreign keys, no settings of ours."""
    connection = sqlite3.connect(attacked, isolation_level=None)
    yield connection
    connection.close()


def facts(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute(EVERYTHING).fetchall(), key=repr)
    finally:
        connection.close()


def forge(raw: sqlite3.Connection, **fields: object) -> tuple[bytes, str]:
    """The id and body of an event that nobody at ifpdb wrote, behind the very first event."""
    first = raw.execute("SELECT id FROM event ORDER BY at LIMIT 1").fetchone()[0]
    event = {"actor": "eve", "kind": "promoted", "parents": [digest.to_text(first)], "detail": {}} | fields
    body = digest.canonical(event)
    return hashlib.sha256(body).digest(), body.decode()


def insert(raw: sqlite3.Connection, **fields: object) -> None:
    raw.execute("INSERT INTO event (id, body) VALUES (?, ?)", forge(raw, **fields))


def consistent(raw: sqlite3.Connection) -> bool:
    """Whether each version's stage is what the log says."""
    return (
        raw.execute("SELECT version, stage FROM stage_by_log ORDER BY 1").fetchall()
        == raw.execute("SELECT key, stage FROM version ORDER BY key").fetchall()
    )


ATTACKS = {
    "update an event": "UPDATE event SET body = json_set(body, '$.reason', 'x')",
    "update an event's id": "UPDATE event SET id = randomblob(32)",
    "update an event's key": "UPDATE event SET key = key + 100",
    "update an event's rowid": "UPDATE event SET rowid = rowid + 100",
    "update or replace an event": "UPDATE OR REPLACE event SET key = 1 WHERE key = 2",
    "update or ignore an event": "UPDATE OR FAIL event SET body = '{}'",
    "delete an event": "DELETE FROM event WHERE key = 1",
    "delete all events": "DELETE FROM event",
    "replace an event by its key": "INSERT OR REPLACE INTO event (key, id, body) SELECT key, randomblob(32), body FROM event",
    "replace an event by its id": "INSERT OR REPLACE INTO event (id, body) SELECT id, body FROM event",
    "replace an event by its rowid": "REPLACE INTO event (rowid, id, body) SELECT 1, randomblob(32), body FROM event",
    "upsert an event": "INSERT INTO event (id, body) SELECT id, body FROM event WHERE true "
    "ON CONFLICT (id) DO UPDATE SET body = '{}'",
    "an event without a time": "INSERT INTO event (id, body) SELECT randomblob(32), json_remove(body, '$.at') FROM event",
    "an event without an actor": "INSERT INTO event (id, body) SELECT randomblob(32), json_remove(body, '$.actor') FROM event",
    "an event without parents": "INSERT INTO event (id, body) SELECT randomblob(32), json_remove(body, '$.parents') FROM event",
    "an event that is no JSON": "INSERT INTO event (id, body) VALUES (randomblob(32), 'hello')",
    "an event with a short id": "INSERT INTO event (id, body) SELECT randomblob(8), body FROM event",
    "a stage without an event": "UPDATE version SET stage = 'production' WHERE key = 2",
    "a stage taken away": "UPDATE version SET stage = NULL",
    "a demotion without an event": "UPDATE version SET stage = 'archived' WHERE stage = 'production'",
    "two productions": "UPDATE version SET stage = 'production'",
    "two productions by replace": "UPDATE OR REPLACE version SET stage = 'production' WHERE key = 2",
    "an unknown stage": "UPDATE version SET stage = 'live'",
    "update a version's manifest": "UPDATE version SET manifest = '{}'",
    "update a version's digest": "UPDATE version SET digest = randomblob(32)",
    "update a version's ordinal": "UPDATE version SET ordinal = 9",
    "update a version's model": "UPDATE version SET model = 2",
    "update a version's weights": "UPDATE version SET weights = NULL",
    "update a version's schema": "UPDATE version SET schema = NULL",
    "update a version's key": "UPDATE version SET key = key + 100",
    "update a version's rowid": "UPDATE version SET rowid = rowid + 100",
    "update a version's oid": "UPDATE version SET oid = oid + 100",
    "replace a version by another's rowid": "UPDATE OR REPLACE version SET _rowid_ = 2 WHERE key = 1",
    "delete a version": "DELETE FROM version WHERE key = 2",
    "delete all versions": "DELETE FROM version",
    "insert a version with a stage": "INSERT INTO version (model, digest, manifest, ordinal, stage) "
    "SELECT model, randomblob(32), manifest, 7, 'staging' FROM version",
    "insert a version into production": "INSERT OR REPLACE INTO version (model, digest, manifest, ordinal, stage) "
    "SELECT model, randomblob(32), manifest, 7, 'production' FROM version",
    "replace a version by its key": "INSERT OR REPLACE INTO version (key, model, digest, manifest, ordinal) "
    "SELECT key, model, randomblob(32), manifest, ordinal FROM version",
    "replace a version by its rowid": "REPLACE INTO version (rowid, model, digest, manifest, ordinal) "
    "SELECT 1, model, randomblob(32), manifest, ordinal FROM version",
    "replace a version by its digest": "INSERT OR REPLACE INTO version (model, digest, manifest, ordinal) "
    "SELECT model, digest, '{}', ordinal FROM version",
    "rename the model of a version": "UPDATE model SET name = 'other' WHERE key = 1",
    "replace the model of a version": "INSERT OR REPLACE INTO model VALUES (1, 'other')",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sqlite3_shell_is_refused(attacked: Path, attack: str) -> None:
    before = facts(attacked)
    done = subprocess.run(["sqlite3", str(attacked), ATTACKS[attack]], capture_output=True, text=True)
    assert facts(attacked) == before
    assert done.returncode != 0, "it was not refused"


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_sqlite3_module_is_refused(raw: sqlite3.Connection, attacked: Path, attack: str) -> None:
    before = facts(attacked)
    with pytest.raises(sqlite3.DatabaseError):
        raw.execute(ATTACKS[attack])
    assert facts(attacked) == before
    assert consistent(raw)


def test_recursive_triggers_change_nothing(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA recursive_triggers = ON")
    with pytest.raises(sqlite3.IntegrityError, match="never replaced"):
        raw.execute(ATTACKS["replace a version by its key"])
    with pytest.raises(sqlite3.IntegrityError, match="never replaced"):
        raw.execute(ATTACKS["replace an event by its key"])


def test_a_forged_older_event_does_not_move_production(raw: sqlite3.Connection, attacked: Path) -> None:
    (run, version) = raw.execute("SELECT run, version FROM versions WHERE model = 'fraud' AND ordinal = 'v2'").fetchone()
    insert(raw, at="2020-01-01T00:00:00.000000Z", model="fraud", run=run, version=version, to_stage="production")
    assert raw.execute("SELECT ordinal FROM versions WHERE model = 'fraud' AND stage = 'production'").fetchall() == [("v1",)]
    assert consistent(raw)
    with ifp.open(attacked) as registry:
        production = registry.model("fraud").production
        assert production is not None and production.ordinal == 1
        assert [i.digest for i in registry.model("fraud").history()] == [version, production.digest]


def test_a_later_event_from_another_program_does_move_it(raw: sqlite3.Connection) -> None:
    (run, version) = raw.execute("SELECT run, version FROM versions WHERE model = 'fraud' AND ordinal = 'v2'").fetchone()
    insert(raw, at="2099-01-01T00:00:00.000000Z", model="fraud", run=run, version=version, to_stage="production")
    assert dict(raw.execute("SELECT ordinal, stage FROM versions WHERE model = 'fraud'").fetchall()) == {
        "v1": "archived",
        "v2": "production",
    }
    assert consistent(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"run": "run-0000000000"},
        {"model": "churn"},
        {"model": "nobody"},
        {"version": "sha256:" + "0" * 64},
        {"run": None},
        {"to_stage": "live"},
        {"to_stage": 1},
    ],
)
def test_an_event_that_moves_what_is_not_here_is_refused(raw: sqlite3.Connection, change: dict[str, object]) -> None:
    (run, version) = raw.execute("SELECT run, version FROM versions WHERE model = 'fraud' AND ordinal = 'v2'").fetchone()
    fields: dict[str, object] = {"model": "fraud", "run": run, "version": version, "to_stage": "production"}
    before = raw.execute(EVERYTHING).fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        insert(raw, at="2099-01-01T00:00:00.000000Z", **(fields | change))
    assert raw.execute(EVERYTHING).fetchall() == before
    assert consistent(raw)


def test_forged_events_in_any_order_leave_stage_and_log_agreeing(raw: sqlite3.Connection) -> None:
    versions = raw.execute("SELECT run, version FROM versions WHERE model = 'fraud' ORDER BY ordinal").fetchall()
    years = [2031, 2024, 2035, 2010, 2028, 2033, 2012, 2030]
    stages = ["production", "archived", "production", "production", "shadow", "production", "staging", "archived"]
    for number, (year, stage) in enumerate(zip(years, stages, strict=True)):
        run, version = versions[number % 2]
        insert(raw, at=f"{year}-01-01T00:00:00.000000Z", model="fraud", run=run, version=version, to_stage=stage)
        assert consistent(raw)
        assert raw.execute("SELECT count(*) FROM version WHERE stage = 'production'").fetchone()[0] <= 1


def test_a_version_inserted_bare_has_no_stage_until_an_event_gives_it_one(raw: sqlite3.Connection) -> None:
    manifest = json.dumps({"data": None, "schema": None, "training": None, "type": "ifp-version/1", "weights": None})
    raw.execute("INSERT INTO version (model, digest, manifest, ordinal) VALUES (1, randomblob(32), ?, 3)", (manifest,))
    assert raw.execute("SELECT stage, partial FROM version WHERE ordinal = 3").fetchone() == (None, 1)


@pytest.mark.parametrize("name", ["Fraud", "fraud detector", "-fraud", "run-1", "", "a" * 129, "frÄud", "fraud/x", "fraud\nx"])
def test_a_model_name_breaks_no_rule(raw: sqlite3.Connection, name: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("INSERT INTO model (name) VALUES (?)", (name,))


def test_columns_that_users_were_promised_are_there(raw: sqlite3.Connection) -> None:
    tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables >= {
        "model",
        "run",
        "version",
        "edge",
        "dataset",
        "feature_schema",
        "feature",
        "metric",
        "event",
        "blob",
        "tag",
        "label",
    }
    kinds = raw.execute("SELECT typeof(digest), length(digest), typeof(stage) FROM version").fetchall()
    assert set(kinds) == {("blob", 32, "text")}
    assert {row[0] for row in raw.execute("SELECT typeof(body) FROM event")} == {"text"}


def test_every_table_is_strict_and_every_view_answers(raw: sqlite3.Connection) -> None:
    listed = raw.execute("SELECT name, type, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    ours = [row for row in listed if not row[0].startswith("sqlite_")]
    assert all(strict for _, kind, strict in ours if kind == "table")
    views = [name for name, kind, _ in ours if kind == "view"]
    assert {"versions", "runs", "stage_intervals", "production_history", "lineage", "metrics", "events"} <= set(views)
    for view in views:
        raw.execute(f"SELECT * FROM {view}").fetchall()


def test_production_is_looked_up_by_an_index(raw: sqlite3.Connection) -> None:
    plan = raw.execute("EXPLAIN QUERY PLAN SELECT key FROM version WHERE model = 1 AND stage = 'production'").fetchall()
    assert "USING" in plan[0][3] and "SCAN" not in plan[0][3]
