"""A file from somebody else: what its triggers, views and listings can do to who opens it, and what a text can do to SQL."""

from __future__ import annotations

import _thread
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forgery import forging

import ifpdb as ifp
from ifpdb import digest
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.logical import logical_digest

Make = Callable[..., ifp.Version]
ZEROS = "sha256:" + "0" * 64


# -- SQL in texts

INJECTIONS = [
    "'; DROP TABLE event; --",
    '"; DELETE FROM version; --',
    "' OR '1'='1",
    "x') UNION SELECT 1 --",
    "%",
    "*",
    "a\0'; --",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_text_with_sql_in_it_is_a_text(two: ifp.Registry, text: str) -> None:
    """Where a text is kept, it is kept as it is; where a name is asked for, it is refused; nothing else changes."""
    fraud = two.model("fraud")
    before = len(two.events())
    kept = text.replace("\0", "")
    two.register("churn", b"a", params={kept: text}, metrics={kept: 1.0}, partial=True)
    fraud.approve("v2", reason=text)
    fraud.promote("v2", "shadow", reason=text, approved_by=kept)
    fraud.deployed("v2", kept)
    two.measure("fraud@v2", {kept: 0.5})
    refusals = [
        lambda: two.register(text, b"a", partial=True),
        lambda: two.register("churn", b"a", partial=True, tags=[text]),
        lambda: two.register("churn", b"a", partial=True, labels=[text]),
        lambda: two.register("churn", b"a", partial=True, derived_from=text),
        lambda: two.register("churn", b"a", data={text: "train.csv"}, partial=True),
        lambda: two.link(text, "fraud"),
        lambda: two.link("fraud", "fraud@v2", text),
        lambda: two.measure("fraud", {"f1": 1.0}, dataset=text),
        lambda: fraud.tag("v1", text),
        lambda: fraud.label("v1", text),
        lambda: fraud.promote("v1", text),
        lambda: fraud.rollback(reason="x", to=text),
        lambda: fraud.set_policy({"validation": {"dataset": text}}),
        lambda: two.model(text).set_policy({"validation": {}}),
    ]
    for refused in refusals:
        with pytest.raises(ifp.IfpError):
            refused()
    assert [event.reason for event in two.events()[before:]].count(text.strip()) == 2
    assert two.resolve("churn@v1").params == {kept: text}
    assert two.resolve("churn@v1").metrics == {kept: 1.0}
    assert [event.kind for event in two.events()[before:]] == ["registered", "approved", "moved", "deployed", "measured"]
    assert verify(two).ok


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT readfile('train.csv')",
        "SELECT writefile('x', 'y')",
        "SELECT edit('x')",
        "SELECT * FROM fsdir('.')",
        "SELECT load_extension('x')",
        "SELECT * FROM pragma_table_list WHERE (SELECT 1 FROM model) AND load_extension('x')",
        "ATTACH DATABASE 'ifp.db' AS other",
        "CREATE TEMP TRIGGER t AFTER INSERT ON event BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE temp.t USING fts5(a)",
        "PRAGMA main.journal_mode = OFF",
        "PRAGMA trusted_schema = ON",
        "PRAGMA temp_store_directory = '.'",
        "EXPLAIN DELETE FROM event",
    ],
)
def test_a_query_reaches_neither_files_nor_settings(two: ifp.Registry, folder: Path, sql: str) -> None:
    with two.reading() as tx:
        before = logical_digest(tx)
    files = sorted(path.name for path in folder.iterdir())
    with pytest.raises((ifp.Refused, ifp.UsageError)):
        two.sql(sql)
    with two.reading() as tx:
        assert logical_digest(tx) == before
        assert tx.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert sorted(path.name for path in folder.iterdir()) == files


def test_a_query_without_end_can_be_interrupted(two: ifp.Registry) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        two.sql(endless)
    timer.join()
    assert two.sql("SELECT count(*) AS count FROM model") == [{"count": 1}]
    two.model("fraud").approve("v2")


# -- trees that want out of their folder


def listing(*paths: str) -> bytes:
    """What `tree.dump` would never write."""
    return digest.canonical([[path, False, 4, "sha256:" + hashlib.sha256(b"evil").hexdigest()] for path in paths])


@pytest.mark.parametrize(
    "paths",
    [
        ["../out"],
        ["a/../../out"],
        ["/tmp-ifp-out"],
        ["a/./b"],
        ["a//b"],
        ["a\\..\\..\\out"],
        ["C:/out"],
        ["C:out"],
        ["A", "a"],
        ["a", "a/b"],
        ["a\0b"],
        ["e\u0301"],
        [""],
    ],
    ids=ascii,
)
def test_a_crafted_listing_writes_nothing_outside_its_folder(
    two: ifp.Registry, make: Make, folder: Path, paths: list[str]
) -> None:
    crafted = two.blobs.put_bytes(listing(*paths), name="model", format="bytes")
    two.blobs.put_bytes(b"evil", name="x", format="bytes")
    before = sorted(path for path in folder.rglob("*"))
    with pytest.raises((ifp.IntegrityError, ifp.StorageError)):
        two.blobs.checkout(ifp.Artifact("model", crafted.digest, 4, "folder", "tree"), folder / "dest")
    assert sorted(path for path in folder.rglob("*")) == before


def test_a_checkout_never_writes_through_a_link(two: ifp.Registry, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "victim").write_text("kept")
    (folder / "folder-link").symlink_to("elsewhere")
    (folder / "file-link").symlink_to("victim")
    (folder / "dangling").symlink_to("nowhere")
    for link in ("file-link", "dangling"):
        with pytest.raises(ifp.UsageError, match="is there already"):
            two.checkout("fraud@v1", link)
    two.checkout("fraud@v1", "folder-link")  # a folder by another name takes a file in, as cp has it
    assert [path.read_text() for path in (folder / "elsewhere").iterdir()] == ["a"]
    assert (folder / "victim").read_text() == "kept"
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("place", ["/dev/null", "/dev/zero", "train.csv", "missing/ifp.db", "nul\0.db", "x" * 5000, "."])
def test_a_place_that_holds_no_registry_is_refused(
    make: Make, two: ifp.Registry, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == ".":
        (Path.cwd() / "ifp.db").write_bytes(b"")
    with pytest.raises(ifp.IfpError):
        ifp.open(place)


# -- definitions that are not ours


FOREIGN = {
    "a trigger on the log": "CREATE TRIGGER z AFTER INSERT ON event BEGIN UPDATE run SET actor = 'mallory'; END",
    "a view in a table's place": "CREATE VIEW version_copy AS SELECT * FROM version",
    "a table beside": "CREATE TABLE notes (a)",
    "an index": "CREATE INDEX run_actor ON run(actor)",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN)
def test_a_registry_with_more_in_it_can_be_read(two: ifp.Registry, statement: str) -> None:
    shown = two.resolve("fraud").as_dict()
    two.close()
    with closing(sqlite3.connect(two.path)) as other:
        other.execute(statement)
    with ifp.open(two.path, readonly=True) as opened:
        assert opened.resolve("fraud").as_dict() == shown
        assert verify(opened).ok


def test_a_forged_event_is_not_one_of_the_chain(two: ifp.Registry) -> None:
    with forging(two.path) as forger:
        key, body = forger.execute("SELECT key, body FROM event WHERE kind = 'promoted'").fetchone()
        event: dict[str, Any] = json.loads(body)
        event["actor"] = "mallory"
        forger.execute("UPDATE event SET body = ? WHERE key = ?", (digest.canonical(event).decode(), key))
    assert {kind for kind, _, _ in verify(two).problems} == {"changed"}
