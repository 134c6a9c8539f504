"""Somebody with the file and SQLite's own tools: rules taken away show, and a log that was written anew shows by an anchor."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb import digest
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck

RULES = [
    "UPDATE sqlite_schema SET sql = replace(sql, 'BEFORE UPDATE', 'BEFORE UPDATE OF key') WHERE name = 'event_never_changes'",
    "DELETE FROM sqlite_schema WHERE name = 'version_never_changes'",
    "UPDATE sqlite_schema SET sql = replace(sql, 'ORDER BY e.at DESC', 'ORDER BY e.at') WHERE name = 'stage_by_log'",
    "UPDATE sqlite_schema SET sql = replace(sql, ' CHECK (count > 0)', '') WHERE name = 'metric'",
    "UPDATE sqlite_schema SET sql = replace(sql, ' AND v.version = i.version', '') WHERE name = 'production_history'",
]


@pytest.mark.parametrize("statement", RULES)
def test_a_rule_that_was_changed_through_writable_schema_shows(two: ifp.Registry, statement: str) -> None:
    with closing(sqlite3.connect(two.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        assert connection.execute(statement).rowcount == 1
    assert "schema" in {problem.kind for problem in fsck(two).problems}


def without_rules(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    """Run these statements with every trigger dropped, and put the triggers back as they were."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        for statement, values in statements:
            connection.execute(statement, values)
        for _, text in rules:
            connection.execute(text)


def test_another_approver_in_the_newest_event_shows_only_by_an_anchor(two: ifp.Registry) -> None:
    """A thief who knows the format hashes the event anew and makes it the head: nothing inside of the file can tell."""
    two.model("fraud").promote("v2", "production", force=True, reason="in a hurry", approved_by="grace")
    noted = two.events()[-1].id
    with two.reading() as tx:
        (key, body), told = tx.execute("SELECT key, body FROM event ORDER BY key DESC LIMIT 1").fetchone(), ["eve"]
    document = json.loads(body)
    document["detail"]["approved_by"] = told
    text = digest.canonical(document)
    identity = digest.sha256(text)
    change = ("UPDATE event SET id = ?, body = ? WHERE key = ?", (digest.to_bytes(identity), text.decode(), key))
    without_rules(two.path, change, ("UPDATE head SET id = ?", (identity,)))
    assert [version.approved_by for version in two.at("now")] == [("eve",)]
    assert fsck(two).ok and verify(two).ok
    assert [(kind, event) for kind, event, _ in verify(two, anchors=[noted]).problems] == [("anchor", noted)]


def test_the_newest_events_taken_away_show_only_by_an_anchor(two: ifp.Registry) -> None:
    """As when an older copy of the file is put in place of the new one."""
    older = two.path.read_bytes()
    two.model("fraud").promote("v2", "production", force=True, reason="in a hurry")
    noted = two.events()[-1].id
    two.close()
    two.path.write_bytes(older)
    assert fsck(two).ok and verify(two).ok
    assert [(kind, event) for kind, event, _ in verify(two, anchors=[noted]).problems] == [("anchor", noted)]
