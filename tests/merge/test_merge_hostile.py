"""Files that nobody should merge: refused with a sentence that blames them, and both files are byte for byte as they were."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, Put

import ifpdb as ifp
from ifpdb import digest
from ifpdb.errors import IfpError, IntegrityError, NotFound, Refused
from ifpdb.merge.union import merge
from ifpdb.store import series

Change = Callable[[sqlite3.Connection], object]


@pytest.fixture
def other(two: ifp.Registry, clone: Clone, put: Put) -> Path:
    """What bob did meanwhile: a version with data, metrics and parents, a folder's worth of rows; closed."""
    theirs = clone("bob")
    put(theirs, "c", params={"C": 3.0, "deep": [1]}, metrics={"f1": 0.97}, derived_from="fraud@v1", tags=["new"])
    theirs.measure("fraud@v3", {"auc": 0.8}, dataset="sha256:" + _dataset(theirs))
    theirs.model("fraud").label("v3", "golden")
    theirs.model("fraud").set_policy({"validation": {"min_f1": 0.5}})
    theirs.close()
    return theirs.path


def _dataset(registry: ifp.Registry) -> str:
    return str(registry.sql("SELECT lower(hex(digest)) AS d FROM dataset")[0]["d"])


@contextmanager
def forging(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for which no trigger, CHECK, foreign key or type stands; the schema is the same again afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        schema = connection.execute("SELECT rowid, sql FROM sqlite_schema").fetchall()
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'trigger'")
        for row, sql in schema:
            loose = (sql or "").replace("STRICT, ", "").replace("STRICT", "").rstrip()
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ? AND type = 'table'", (loose, row))
        connection.execute("PRAGMA writable_schema = RESET")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection
    _give_back(path, schema)


def _give_back(path: Path, schema: list[tuple[int, str]]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection, ifp_schema() as (fresh, _):
        connection.execute("PRAGMA writable_schema = ON")
        for row, sql in schema:
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ? AND type = 'table'", (sql, row))
        triggers = fresh.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE type = 'trigger'")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", triggers.fetchall())


@contextmanager
def ifp_schema() -> Iterator[tuple[sqlite3.Connection, None]]:
    from ifpdb.store.db import fresh_registry

    with closing(fresh_registry()) as fresh:
        yield fresh, None


def retold(kind: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """A forger's hand on the newest event of a kind: its id, and those of all that follow, fit again."""

    def rewrite(connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT key, body FROM event ORDER BY at, id").fetchall()
        wanted = [key for key, body in rows if json.loads(body)["kind"] == kind][-1]
        renamed = dict[str, str]()
        for key, body in rows:
            event, before = json.loads(body), digest.sha256(body.encode())
            event["parents"] = sorted(renamed.get(parent, parent) for parent in event["parents"])
            if key == wanted:
                change(event)
            text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            if (after := digest.sha256(text)) != before:
                renamed[before] = after
                connection.execute(
                    "UPDATE event SET id = ?, body = ? WHERE key = ?", (hashlib.sha256(text).digest(), text.decode(), key)
                )
                connection.execute("UPDATE head SET id = ? WHERE id = ?", (after, before))

    return rewrite


def sql(statement: str, *bound: object) -> Change:
    return lambda connection: connection.execute(statement, bound)


def _revalue(connection: sqlite3.Connection) -> None:
    row, packed = connection.execute("SELECT rowid, series FROM metric ORDER BY rowid DESC LIMIT 1").fetchone()
    _, steps, times = series.unpack(packed)
    connection.execute("UPDATE metric SET series = ? WHERE rowid = ?", (series.pack([0.99], steps, times), row))


V3 = "(SELECT run FROM metric WHERE name = 'auc')"
BIG = zlib.compress(b"".join(number.to_bytes(8, "little") for number in (0, 1, 2**62)))
CRAFTED: dict[str, Change] = {
    "an event's words": sql("UPDATE event SET body = replace(body, '\"bob\"', '\"eve\"') WHERE kind = 'labelled'"),
    "an event's id": sql("UPDATE event SET id = zeroblob(32) WHERE kind = 'labelled'"),
    "an event's id as text": sql("UPDATE event SET id = 'x' WHERE kind = 'labelled'"),
    "an event's body as a number": sql("UPDATE event SET body = 7 WHERE kind = 'labelled'"),
    "a head that is no digest": sql("UPDATE head SET id = 'master'"),
    "no head": sql("DELETE FROM head"),
    "a head that leaves the newest events out": sql(
        "UPDATE head SET id = (SELECT 'sha256:' || lower(hex(id)) FROM event ORDER BY at LIMIT 1)"
    ),
    "a parent cut off": sql("DELETE FROM event WHERE kind = 'measured'"),
    "an event without its label": retold("labelled", lambda event: event["detail"].pop("label")),
    "an event with a label of a wrong type": retold("labelled", lambda event: event["detail"].update(label=[1])),
    "an event with a label that can't be": retold("labelled", lambda event: event["detail"].update(label="../x y")),
    "an event with text where details are": retold("labelled", lambda event: event.update(detail="x")),
    "an event on a version that is nowhere": retold("labelled", lambda e: e.update(version="sha256:" + "0" * 64)),
    "an event on a version without a digest": retold("labelled", lambda event: event.update(version="v3")),
    "an event on a run that is nowhere": retold("labelled", lambda event: event.update(run="run-nowhere")),
    "an event earlier than its parent": retold("labelled", lambda e: e.update(at="2020-01-01T00:00:00.000000Z")),
    "an event at no time": retold("labelled", lambda event: event.update(at="today")),
    "an event that isn't canonical": retold("labelled", lambda event: event["detail"].update(weight=1e2)),
    "an edge told to nowhere": retold("registered", lambda e: e["detail"]["parents"][0].update(run="run-nowhere")),
    "an edge of no kind": retold("registered", lambda e: e["detail"]["parents"][0].update(kind="stolen_from")),
    "an edge to itself": retold("registered", lambda e: e["detail"]["parents"][0].update(run=e["run"])),
    "a stage that isn't one": retold("registered", lambda event: event.update(to_stage="heaven")),
    "metrics that aren't numbers": retold("measured", lambda e: e["detail"]["metrics"][0].update(value="much")),
    "metrics that aren't told as they are": retold("measured", lambda event: event["detail"].update(metrics=7)),
    "a policy that isn't one": retold("policy_set", lambda event: event["detail"].update(policy=[1])),
    "a policy without its own digest": retold("policy_set", lambda e: e["detail"].update(policy_digest="sha256:" + "0" * 64)),
    "a policy without a model": retold("policy_set", lambda event: event.pop("model")),
    "a run's actor": sql(f"UPDATE run SET actor = 'eve' WHERE key = {V3}"),
    "a run's seed": sql(f"UPDATE run SET seed = 8 WHERE key = {V3}"),
    "a run's command, not UTF-8": sql(f"UPDATE run SET command = CAST(x'ff' AS TEXT) WHERE key = {V3}"),
    "a run's start as a number": sql(f"UPDATE run SET started_at = 7 WHERE key = {V3}"),
    "a run of another model": sql(f"UPDATE run SET model = 99 WHERE key = {V3}"),
    "a run gone": sql(f"DELETE FROM run WHERE key = {V3}"),
    "a version gone from its run": sql(f"UPDATE run SET version = NULL, registered_at = NULL WHERE key = {V3}"),
    "a parameter": sql(f"UPDATE param SET value = '4.0' WHERE run = {V3} AND key = 'C'"),
    "a parameter gone": sql(f"DELETE FROM param WHERE run = {V3} AND key = 'C'"),
    "an artifact's size": sql(f"UPDATE artifact SET size = 7 WHERE run = {V3}"),
    "an artifact's blob": sql(f"UPDATE artifact SET blob = 1 WHERE run = {V3}"),
    "a manifest": sql("UPDATE version SET manifest = replace(manifest, 'train', 'brain')"),
    "a manifest that is none": sql("UPDATE version SET manifest = '7'"),
    "a version's weights": sql("UPDATE version SET weights = 1 WHERE ordinal = 3"),
    "a version's number": sql("UPDATE version SET ordinal = 9 WHERE ordinal = 3"),
    "a version's number below all": sql("UPDATE version SET ordinal = 0 WHERE ordinal = 3"),
    "a version's number as text": sql("UPDATE version SET ordinal = 'three' WHERE ordinal = 3"),
    "a schema's text": sql("UPDATE feature_schema SET body = replace(body, 'amount', 'number')"),
    "a metric's points": sql("UPDATE metric SET series = x'00112233' WHERE name = 'auc'"),
    "a metric's points as text": sql("UPDATE metric SET series = 'points' WHERE name = 'auc'"),
    "a metric without points": sql("UPDATE metric SET series = ? WHERE name = 'auc'", zlib.compress(b"")),
    "a metric of the far future": sql("UPDATE metric SET series = ? WHERE name = 'auc'", BIG),
    "a metric's value": lambda connection: _revalue(connection),
    "a metric gone": sql("DELETE FROM metric WHERE name = 'auc'"),
    "a metric on another dataset": sql("UPDATE metric SET dataset = NULL WHERE name = 'auc'"),
    "data gone": sql(f"DELETE FROM run_dataset WHERE run = {V3}"),
    "data under another name": sql(f"UPDATE run_dataset SET name = 'clean.csv' WHERE run = {V3}"),
    "data in another role": sql(f"UPDATE run_dataset SET role = 'holdout' WHERE run = {V3}"),
    "data under a name of a wrong type": sql(f"UPDATE run_dataset SET name = x'ff' WHERE run = {V3}"),
    "data that is nowhere": sql(f"UPDATE run_dataset SET dataset = 77 WHERE run = {V3}"),
    "a column's name": sql("UPDATE dataset_column SET name = 'sum' WHERE name = 'amount'"),
    "a column's digest": sql("UPDATE dataset_column SET digest = zeroblob(32) WHERE name = 'amount'"),
    "a dataset's digest": sql("UPDATE dataset SET digest = zeroblob(32)"),
    "a dataset's row count": sql("UPDATE dataset SET rows = 99"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_what_was_changed_there_stops_the_merge(two: ifp.Registry, other: Path, what: str) -> None:
    with forging(other) as connection:
        CRAFTED[what](connection)
    assert untouched(two, other, IntegrityError)


def untouched(ours: ifp.Registry, other: Path, error: type[IfpError]) -> str:
    """What was said when a merge was refused; neither file has changed, nor come to have another beside it."""
    before, beside = [_digest(path) for path in (ours.path, other)], sorted(os.listdir(other.parent))
    with pytest.raises(error) as caught:
        merge(ours, other)
    assert type(caught.value) is error
    assert [_digest(path) for path in (ours.path, other)] == before
    assert sorted(os.listdir(other.parent)) == beside
    assert str(other) in str(caught.value)
    return str(caught.value)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def test_the_forger_leaves_what_can_be_merged_where_it_changes_nothing(two: ifp.Registry, other: Path) -> None:
    with forging(other):
        pass
    assert merge(two, other).versions == 1


def _another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


def _in_wal(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _interrupted(path: Path) -> None:
    journal = bytes.fromhex("d9d505f920a163d7") + (1).to_bytes(4, "big") + bytes(4) + (9).to_bytes(4, "big")
    path.with_name("ifp.db-journal").write_bytes(journal + (512).to_bytes(4, "big") + (4096).to_bytes(4, "big") + bytes(9000))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, tuple[Callable[[Path], object], type[IfpError], str]] = {
    "missing": (Path.unlink, NotFound, "no file"),
    "a folder": (_folder, NotFound, "no file"),
    "empty": (lambda path: path.write_bytes(b""), IntegrityError, "empty"),
    "text": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n" * 9), IntegrityError, "LFS"),
    "another program's": (_another_program, IntegrityError, "another program's"),
    "in WAL mode": (_in_wal, Refused, "journal_mode=DELETE"),
    "newer": (_newer, Refused, "pip install --upgrade"),
    "interrupted": (_interrupted, Refused, "interrupted write"),
    "cut off": (lambda path: os.truncate(path, path.stat().st_size // 8192 * 4096), IntegrityError, ""),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_whole_registry_is_refused(two: ifp.Registry, other: Path, what: str) -> None:
    spoil, error, said = FILES[what]
    spoil(other)
    assert said in untouched(two, other, error)


def test_an_event_of_the_future_is_refused_and_what_to_do_is_said(two: ifp.Registry, other: Path) -> None:
    with forging(other) as connection:
        retold("policy_set", lambda event: event.update(at="2222-01-01T00:00:00.000000Z"))(connection)
    assert "clock" in untouched(two, other, Refused)


def test_the_command_ends_with_the_code_of_the_error(two: ifp.Registry, other: Path, cli: Callable[..., Any]) -> None:
    with forging(other) as connection:
        CRAFTED["a parameter"](connection)
    said = cli("merge", "bob/ifp.db")
    assert (said.code, said.out) == (5, "")
    assert "ifp --db bob/ifp.db fsck" in said.err
    assert cli("merge", "nowhere.db").code == 3
