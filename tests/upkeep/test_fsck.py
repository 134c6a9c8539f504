"""fsck: each kind of damage is told, by its own check and by no other, and what can be read is read on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.digest import sha256
from ifpdb.upkeep.fsck import Inspection, fsck

Make = Callable[..., ifp.Version]


@pytest.fixture
def busy(make: Make, registry: ifp.Registry, folder: Path) -> ifp.Registry:
    """A registry with something of everything: a folder as artifact, a tracked run, lineage, names, a policy, late metrics."""
    fraud = registry.model("fraud")
    make("a", metrics={"f1": 0.9}, tags=["q1"], labels=["2025-Q4"])
    make("b", derived_from="fraud@v1", params={"C": 2.0, "penalty": "l2"}, metrics={"f1": 0.95, "auc": float("nan")})
    (folder / "weights").mkdir()
    (folder / "weights" / "one.bin").write_text("one")
    (folder / "weights" / "two.bin").write_text("two")
    registry.register("fraud", "weights", data="train.csv", schema="schema.json", seed=1, derived_from=["v1", "fraud@v2"][1:])
    with ifp.track("fraud", derived_from=("fraud@v1", "forked_from"), seed=3, params={"C": 3.0}) as run:
        for step in range(5):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_artifact("model.bin")
        run.register(data="train.csv", schema="schema.json")
        run.log_metric("loss", 0.01, step=5)
    with pytest.raises(ZeroDivisionError), ifp.track("fraud"):
        raise ZeroDivisionError
    fraud.set_policy({"validation": {"min_f1": 0.8}})
    fraud.promote("v1", "production", approved_by="grace")
    fraud.promote("v2", "production")
    fraud.rollback(reason="regression")
    fraud.tag("v2", "q2", "q3")
    fraud.untag("v2", "q3")
    fraud.label("v2", "2025-Q4")
    registry.measure("fraud@v2", {"f1": 0.91})
    registry.link("fraud@v4", "fraud@v3")
    return registry


def after(registry: ifp.Registry, *statements: str) -> Inspection:
    """What fsck says once somebody dropped the rules, ran these statements and put the rules back."""
    connection = sqlite3.connect(registry.path, isolation_level=None)
    rules = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in rules:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.executescript(statement)
    for _, text in rules:
        connection.execute(text)
    connection.close()
    return fsck(registry)


def kinds(found: Inspection) -> set[str]:
    return {problem.kind for problem in found.problems}


def test_a_registry_with_everything_is_clean(busy: ifp.Registry) -> None:
    before = busy.path.read_bytes()
    for fast in (False, True):
        found = fsck(busy, fast=fast)
        assert found.ok, found.problems
        assert (found.blobs, found.bytes) == (found.blobs, sum(p.stat().st_size for p in busy.blobs.root.rglob("sha256/*/*")))
        assert found.notes == ()
    assert busy.path.read_bytes() == before


def test_an_empty_registry_is_clean(registry: ifp.Registry) -> None:
    assert fsck(registry).as_dict() == {"ok": True, "blobs": 0, "bytes": 0, "problems": [], "notes": []}


def test_progress_ends_with_every_byte(busy: ifp.Registry) -> None:
    told: list[tuple[int, int]] = []
    found = fsck(busy, progress=lambda done, total: told.append((done, total)))
    assert max(told) == (found.bytes, found.bytes)


EMPTY = '{"data":null,"schema":null,"training":null,"weights":null}'
EDITS = [
    ("UPDATE version SET manifest = replace(manifest, 'ifp-version/1', 'ifp-version/2') WHERE ordinal = 1", "manifest"),
    ("UPDATE version SET weights = (SELECT weights FROM version WHERE ordinal = 2) WHERE ordinal = 1", "version"),
    ("UPDATE version SET schema = NULL WHERE ordinal = 1", "version"),
    ("UPDATE version SET ordinal = 9 WHERE ordinal = 1", "version"),
    (
        f"INSERT INTO version (model, digest, manifest, ordinal) VALUES (1, x'{sha256(EMPTY.encode())[7:]}', '{EMPTY}', 5)",
        "version",
    ),
    ("UPDATE version SET stage = 'shadow' WHERE ordinal = 3", "stage"),
    ("UPDATE param SET value = '2.5' WHERE key = 'C' AND value = '2.0'", "part run"),
    ("DELETE FROM param WHERE key = 'penalty'", "part run"),
    ("UPDATE run SET seed = 8 WHERE key = 1", "part run"),
    ("UPDATE run_dataset SET role = 'other' WHERE run = 1", "part data"),
    ("UPDATE run_dataset SET name = 'other' WHERE run = 1", "data"),
    ("INSERT INTO code (digest, body) VALUES (zeroblob(32), '[]')", "code"),
    ("UPDATE environment SET body = json_set(body, '$.python', '2.7.18')", "environment"),
    ("UPDATE feature_schema SET body = replace(body, '25000', '26000')", "schema feature"),
    ("UPDATE feature SET max = 26000 WHERE name = 'amount'", "feature"),
    ("DELETE FROM feature WHERE name = 'country'", "feature"),
    ("UPDATE dataset_column SET type = 'utf8' WHERE position = 0", "dataset"),
    ("UPDATE dataset SET rows = 7 WHERE kind = 'table'", "dataset"),
    ("UPDATE metric SET last = 0.99 WHERE name = 'auc'", "metric"),
    ("UPDATE metric SET count = 2 WHERE name = 'auc'", "metric"),
    ("UPDATE metric SET min = 0 WHERE name = 'loss'", "metric"),
    ("UPDATE metric SET series = substr(series, 3) WHERE name = 'loss'", "metric"),
    ("UPDATE metric SET at = '2020-01-01T00:00:00.000000Z' WHERE name = 'loss'", "metric"),
    ("DELETE FROM metric WHERE name = 'f1'", "metric"),
    ("UPDATE run SET generation = 9 WHERE key = 1", "lineage"),
    ("DELETE FROM edge WHERE child = 2", "lineage"),
    ("UPDATE edge SET kind = 'merged_from' WHERE child = 2", "lineage"),
    ("INSERT INTO edge VALUES (4, 9, 2, 'derived_from')", "lineage"),
    ("DELETE FROM tag WHERE name = 'q1'", "tag"),
    ("INSERT INTO tag VALUES (3, 'q9')", "tag"),
    ("UPDATE label SET version = 1", "label"),
    ("DELETE FROM label", "label"),
    ("UPDATE run SET status = 'finished' WHERE status = 'failed'", "run"),
    ("UPDATE run SET registered_at = '2020-01-01T00:00:00.000000Z' WHERE key = 1", "run"),
    ("UPDATE run SET actor = 'eve' WHERE key = 1", "run"),
    ("UPDATE run SET error = 'none' WHERE status = 'failed'", "run"),
    ("UPDATE run SET started_at = '2020-01-01T00:00:00.000000Z' WHERE key = 4", "run"),
    ("INSERT INTO param VALUES (1, 'extra', '1')", "run"),
    ("UPDATE artifact SET format = 'pickle' WHERE run = 1", "run"),
    ("UPDATE blob SET xxh3 = zeroblob(16) WHERE key = 1", "blob"),
    ("UPDATE blob SET size = size + 1 WHERE key = 1", "blob size"),
    ("UPDATE artifact SET size = 9 WHERE run = 1", "size run"),
    ("UPDATE artifact SET size = 9 WHERE kind = 'tree'", "size run"),
    ("UPDATE edge SET parent = 99 WHERE child = 2", "reference lineage"),
    ("INSERT INTO arrival VALUES (999, '2031-01-01T00:00:00.000000Z')", "reference"),
    ("PRAGMA ignore_check_constraints = ON; UPDATE dataset_column SET nulls = -1 WHERE position = 0", "sqlite"),
    ("UPDATE registry SET min_reader = 99", "schema"),
    ("DELETE FROM registry", "schema"),
    ("PRAGMA user_version = 258", "schema"),
    ("PRAGMA application_id = 1", "schema"),
    ("DROP VIEW metrics", "schema"),
    ("DROP INDEX tag_name", "schema"),
    ("DROP INDEX tag_name; CREATE INDEX tag_name ON tag(name)", "schema"),
    ("CREATE TRIGGER mine AFTER INSERT ON event BEGIN SELECT 1; END", "schema"),
    ("CREATE TABLE mine (a)", "schema"),
]
"""What somebody does to a row, and the kinds of problem that this is: no other check minds it."""


@pytest.mark.parametrize(("statement", "expected"), EDITS, ids=[statement for statement, _ in EDITS])
def test_an_edited_row_shows_by_its_own_check_and_no_other(busy: ifp.Registry, statement: str, expected: str) -> None:
    assert kinds(after(busy, statement)) == set(expected.split())


def test_a_rule_that_was_dropped_shows(busy: ifp.Registry) -> None:
    connection = sqlite3.connect(busy.path)
    connection.execute("DROP TRIGGER event_never_changes")
    connection.commit()
    assert [problem.detail for problem in fsck(busy).problems] == ["the trigger event_never_changes is missing"]


def blob(registry: ifp.Registry, ref: str = "fraud@v1") -> Path:
    return registry.blobs.path(registry.artifact(ref).digest)


def flip(path: Path, at: int = 0) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def swap_in_another(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"z")


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("harm", "kind"),
    [(flip, "damaged"), (cut, "damaged"), (swap_in_another, "damaged"), (Path.unlink, "missing")],
)
def test_a_blob_that_is_not_what_it_was_shows(busy: ifp.Registry, harm: Callable[[Path], Any], kind: str, fast: bool) -> None:
    digest = busy.artifact("fraud@v1").digest
    harm(blob(busy))
    assert [(problem.kind, problem.digest) for problem in fsck(busy, fast=fast).problems] == [(kind, digest)]


def test_a_damaged_file_of_a_folder_and_a_damaged_listing_show(busy: ifp.Registry) -> None:
    tree = busy.artifact("fraud@v3")
    one = next(path for path in busy.blobs.root.rglob("sha256/*/*") if path.read_bytes() == b"one")
    flip(one)
    assert [problem.kind for problem in fsck(busy).problems] == ["damaged"]
    flip(busy.blobs.path(tree.digest), 5)
    assert {(problem.kind, problem.digest) for problem in fsck(busy).problems} >= {
        ("tree", tree.digest),
        ("damaged", tree.digest),
    }


def test_swapped_blobs_show_both(busy: ifp.Registry) -> None:
    one, other = blob(busy, "fraud@v1"), blob(busy, "fraud@v2")
    kept = one.with_suffix(".kept")
    one.rename(kept)
    other.rename(one)
    kept.rename(other)
    assert sorted(problem.kind for problem in fsck(busy).problems) == ["damaged", "damaged"]


def test_a_folder_of_blobs_that_is_not_here_is_told_blob_by_blob(busy: ifp.Registry) -> None:
    shutil.rmtree(busy.blobs.root)
    found = fsck(busy)
    assert kinds(found) == {"missing"}
    assert len(found.problems) == found.blobs > 3


def test_what_no_row_names_is_a_note(busy: ifp.Registry) -> None:
    busy.blobs.put_bytes(b"nobody's", name="x", format="bytes")
    (busy.blobs.root / "tmp" / "1-abc").write_bytes(b"half")
    (busy.blobs.root / "sha256" / "aa").mkdir(exist_ok=True)
    (busy.blobs.root / "sha256" / "aa" / "notes.txt").write_text("mine")
    found = fsck(busy)
    assert found.ok
    assert [note.split(" ")[0] for note in found.notes] == ["1", "1", "ifp.cas/sha256/aa/notes.txt"]


def test_a_page_that_can_t_be_read_stops_only_the_checks_that_need_it(busy: ifp.Registry) -> None:
    connection = sqlite3.connect(busy.path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'param'").fetchone()[0]
    connection.close()
    digest = busy.artifact("fraud@v2").digest
    flip(blob(busy, "fraud@v2"))
    busy.close()
    data = bytearray(busy.path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    busy.path.write_bytes(data)
    found = fsck(busy)
    assert kinds(found) == {"unreadable", "damaged"}
    assert digest in {problem.digest for problem in found.problems}
    assert busy.sql("SELECT count(*) AS n FROM event")[0]["n"] > 10, "what is whole is still read"
