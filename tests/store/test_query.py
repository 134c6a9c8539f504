"""Read-only SQL: SQLite refuses to write, whatever the words are, and the connection can write afterwards."""

from __future__ import annotations

import _thread
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from ifpdb.errors import Refused, UsageError
from ifpdb.store.db import SCHEMA_NUMBER, Database, create
from ifpdb.store.query import query


@pytest.fixture
def db(folder: Path) -> Database:
    create(folder / "ifp.db")
    opened = Database(folder / "ifp.db")
    add(opened, "fraud")
    return opened


def add(db: Database, model: str) -> None:
    with db.write() as tx:
        tx.execute("INSERT INTO model (name) VALUES (?)", (model,))


@pytest.mark.parametrize(
    ("sql", "params", "rows"),
    [
        ("SELECT name FROM model", None, [{"name": "fraud"}]),
        ("SELECT ? AS a, ? AS b", [1, None], [{"a": 1, "b": None}]),
        ("SELECT :x AS a", {"x": "é"}, [{"a": "é"}]),
        ("SELECT * FROM versions", None, []),
        ("VALUES (1), (2)", None, [{"column1": 1}, {"column1": 2}]),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2) SELECT i FROM n",
            None,
            [{"i": 1}, {"i": 2}],
        ),
        ("/* why */ SELECT 1 AS a;", None, [{"a": 1}]),
        ("SELECT 1 AS a, 2 AS a", None, [{"a": 1, "a_2": 2}]),
        ("PRAGMA user_version", None, [{"user_version": SCHEMA_NUMBER}]),
        ("PRAGMA integrity_check", None, [{"integrity_check": "ok"}]),
    ],
)
def test_a_reading_query_gives_its_rows(db: Database, sql: str, params: Any, rows: list[dict[str, Any]]) -> None:
    assert query(db, sql, params) == rows


WRITES = [
    "INSERT INTO model (name) VALUES ('churn')",
    "INSERT INTO model (name) VALUES ('churn') RETURNING name",
    "INSERT OR REPLACE INTO model SELECT * FROM model",
    "UPDATE model SET name = 'churn'",
    "DELETE FROM model",
    "WITH x AS (SELECT 1) DELETE FROM model",
    "-- SELECT\nDELETE FROM model",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t (a)",
    "CREATE VIEW x AS SELECT 1",
    "DROP TABLE model",
    "DROP TRIGGER event_never_goes",
    "ALTER TABLE model RENAME TO m",
    "ATTACH 'other.db' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "REINDEX",
    "ANALYZE",
    "PRAGMA user_version = 7",
    "PRAGMA application_id(7)",
    "PRAGMA journal_mode = WAL",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA synchronous = OFF",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA wal_checkpoint",
    "PRAGMA optimize",
    "SELECT load_extension('x.so')",
    "SELECT fts3_tokenizer('simple')",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "ROLLBACK",
]


@pytest.mark.parametrize("sql", WRITES)
def test_a_query_that_does_more_than_read_is_refused(db: Database, folder: Path, sql: str) -> None:
    before = db.path.read_bytes(), sorted(folder.iterdir())
    with pytest.raises(Refused, match="may only read"):
        query(db, sql, None)
    assert (db.path.read_bytes(), sorted(folder.iterdir())) == before


@pytest.mark.parametrize("sql", WRITES)
def test_the_connection_can_write_after_a_refusal(db: Database, sql: str) -> None:
    with pytest.raises(Refused):
        query(db, sql, None)
    add(db, "churn")
    assert query(db, "SELECT name FROM model ORDER BY name", None) == [{"name": "churn"}, {"name": "fraud"}]


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("", None),
        ("-- nothing", None),
        ("SELEC 1", None),
        ("SELECT 1; SELECT 2", None),
        ("SELECT 1; DELETE FROM model", None),
        ("SELECT * FROM nowhere", None),
        ("SELECT nothing FROM model", None),
        ("SELECT ?", None),
        ("SELECT ?", [1, 2]),
        ("SELECT ?", [2**70]),
        ("SELECT ?", [print]),
        ("SELECT :a", {"b": 1}),
        ("SELECT 1\0", None),
        ("SELECT '\ud800'", None),
        ("SELECT json('{')", None),
        ("SELECT abs(-9223372036854775807 - 1)", None),
        ("SELECT CAST(x'ff' AS TEXT)", None),
        ("SELECT zeroblob(2000000000)", None),
        ("SAVEPOINT x", None),
    ],
    ids=ascii,
)
def test_a_query_that_makes_no_sense_is_a_usage_error(db: Database, sql: str, params: Any) -> None:
    with pytest.raises(UsageError):
        query(db, sql, params)
    add(db, "churn")


def test_a_statement_that_the_registry_itself_has_run_is_refused_all_the_same(db: Database) -> None:
    sql = "INSERT INTO model (name) VALUES ('churn')"
    with db.write() as tx:
        tx.execute(sql)
    with pytest.raises(Refused):
        query(db, sql, None)


def test_a_readonly_registry_answers_too(db: Database) -> None:
    assert query(Database(db.path, readonly=True), "SELECT name FROM model", None) == [{"name": "fraud"}]


def test_every_view_can_be_read(db: Database) -> None:
    views = query(db, "SELECT name FROM sqlite_master WHERE type = 'view'", None)
    assert len(views) > 5
    for view in views:
        assert query(db, f'SELECT * FROM "{view["name"]}"', None) is not None


def test_a_query_without_end_is_ended_by_ctrl_c(db: Database) -> None:
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        query(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", None)
    timer.join()
    add(db, "churn")


def test_the_transaction_of_a_query_is_over_when_it_returns(db: Database) -> None:
    query(db, "SELECT name FROM model", None)
    other = sqlite3.connect(db.path, timeout=0, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("COMMIT")
    other.close()
