"""verify and the logical digest: whole is told from not whole, and equal from different."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb import digest
from ifpdb.upkeep import chain
from ifpdb.upkeep.chain import Verification, verify

Make = Callable[..., ifp.Version]


@pytest.fixture
def busy(make: Make, registry: ifp.Registry) -> ifp.Registry:
    """A registry with a little of everything."""
    make("a", metrics={"f1": 0.9}, tags=["q1"], labels=["2025-Q4"])
    make("b", derived_from="fraud@v1")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    return registry


def after(registry: ifp.Registry, *statements: str) -> Verification:
    """What verify says once a thief, who drops the triggers first, ran these statements."""
    connection = sqlite3.connect(registry.path)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return verify(registry)


def test_an_untouched_registry_is_whole(busy: ifp.Registry) -> None:
    before = busy.path.read_bytes()
    found = verify(busy)
    assert found.ok and found.problems == ()
    assert (found.events, found.heads) == (3, (busy.events()[-1].id,))
    assert busy.path.read_bytes() == before
    assert json.loads(json.dumps(found.as_dict())).keys() >= {"ok", "events", "heads", "digest", "problems"}


def test_an_empty_registry_is_whole(registry: ifp.Registry) -> None:
    found = verify(registry)
    assert (found.ok, found.events, found.heads) == (True, 0, ())


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE version SET stage = 'shadow' WHERE ordinal = 2", "stage"),
        ("UPDATE model SET name = 'other'", "stage"),
        ("UPDATE event SET body = replace(body, 'first', 'worst')", "changed"),
        ("DELETE FROM event WHERE key = 1", "missing"),
        ("DELETE FROM head", "heads"),
        ("INSERT INTO head VALUES ('sha256:00')", "heads"),
    ],
)
def test_what_a_thief_did_shows(busy: ifp.Registry, statement: str, kind: str) -> None:
    found = after(busy, statement)
    assert not found.ok
    assert kind in [problem[0] for problem in found.problems]


@pytest.fixture
def connection(make: Make, registry: ifp.Registry) -> sqlite3.Connection:
    """A bare connection to a registry with a little log, as another program would open it."""
    make("a", tags=["q1"])
    make("b")
    registry.model("fraud").promote("v1", "shadow", reason="try it")
    return sqlite3.connect(registry.path, isolation_level=None)


def tampered(connection: sqlite3.Connection, *statements: str) -> list[tuple[str, str, str]]:
    """The problems that the log has after a thief, who drops the triggers first, ran these statements."""
    connection.execute("BEGIN")
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    found = list(chain.problems(connection, dict(connection.execute(chain.TIMES).fetchall())))
    connection.execute("ROLLBACK")
    return found


def test_an_untouched_log_has_no_problem(connection: sqlite3.Connection) -> None:
    assert list(chain.problems(connection, dict(connection.execute(chain.TIMES).fetchall()))) == []


def test_a_changed_body_shows(connection: sqlite3.Connection) -> None:
    found = tampered(connection, "UPDATE event SET body = replace(body, 'try it', 'why not')")
    assert [kind for kind, _, _ in found] == ["changed"]


def test_a_cut_out_event_shows(connection: sqlite3.Connection) -> None:
    found = tampered(connection, "DELETE FROM event WHERE key = 2")
    assert "missing" in [kind for kind, _, _ in found]


def test_a_cut_tail_shows_against_the_heads_on_record(connection: sqlite3.Connection) -> None:
    found = tampered(connection, "DELETE FROM event WHERE key = 3")
    assert [kind for kind, _, _ in found] == ["heads"]


def test_a_cut_tail_with_mended_heads_shows_against_an_anchor(busy: ifp.Registry) -> None:
    anchors = [event.id for event in busy.events()]
    mended = "INSERT INTO head SELECT 'sha256:' || lower(hex(id)) FROM event WHERE key = 2"
    cut = ("DELETE FROM event WHERE key = 3", "DELETE FROM head", mended, "UPDATE version SET stage = 'staging'")
    assert verify(busy, anchors=anchors).ok
    assert after(busy, *cut).ok, "by itself nothing tells"
    found = verify(busy, anchors=anchors)
    assert [(kind, event) for kind, event, _ in found.problems] == [("anchor", anchors[2])]


def test_an_anchor_is_a_digest(busy: ifp.Registry) -> None:
    with pytest.raises(ifp.UsageError, match="no digest"):
        verify(busy, anchors=["HEAD"])


def test_an_event_that_is_not_later_than_its_parent_shows(connection: sqlite3.Connection) -> None:
    body = json.loads(connection.execute("SELECT body FROM event WHERE key = 3").fetchone()[0])
    body["at"] = "2001-01-01T00:00:00.000000Z"
    text = digest.canonical(body)
    identity = hashlib.sha256(text).hexdigest()
    found = tampered(
        connection,
        "DELETE FROM event WHERE key = 3",
        f"INSERT INTO event (key, id, body) VALUES (3, x'{identity}', '{text.decode()}')",
        f"UPDATE head SET id = 'sha256:{identity}'",
    )
    assert [kind for kind, _, _ in found] == ["order"]


def test_a_moved_registry_has_the_same_digest(busy: ifp.Registry, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("copy") / "ifp.db"
    shutil.copy(busy.path, place)
    with ifp.open(place) as copy:
        assert verify(copy).digest == verify(busy).digest


def test_the_files_bytes_do_not_count(busy: ifp.Registry) -> None:
    before, size = verify(busy).digest, busy.path.read_bytes()
    connection = sqlite3.connect(busy.path, isolation_level=None)
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("VACUUM")
    connection.close()
    assert busy.path.read_bytes() != size
    assert verify(busy).digest == before


CHANGES = [
    "UPDATE tag SET name = 'q2'",
    "UPDATE label SET name = '2025-Q3'",
    "UPDATE label SET version = 2",
    "UPDATE param SET value = '2.0'",
    "UPDATE metric SET series = x'00'",
    "UPDATE metric SET last = 0.99",
    "UPDATE run SET actor = 'eve' WHERE key = 1",
    "UPDATE run SET error = 'none' WHERE key = 1",
    "UPDATE run SET code_commit = 'abc' WHERE key = 1",
    "UPDATE run SET registered_at = '2020-01-01T00:00:00.000000Z' WHERE key = 1",
    "UPDATE run_dataset SET uri = 'elsewhere.csv'",
    "UPDATE run SET seed = 1 WHERE key = 1",
    "UPDATE run SET version = 1 WHERE key = 2",
    "UPDATE run_dataset SET role = 'other'",
    "UPDATE edge SET kind = 'forked_from'",
    "DELETE FROM artifact WHERE run = 1",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_any_changed_fact_changes_the_digest(busy: ifp.Registry, statement: str) -> None:
    before = verify(busy).digest
    assert after(busy, statement).digest != before


def test_two_registries_of_the_same_facts_are_different_by_their_events(
    make: Make, registry: ifp.Registry, folder: Path
) -> None:
    make("a")
    with ifp.init(folder / "other.db") as other:
        other.register("fraud", folder / "model.bin", partial=True)
        assert verify(other).digest != verify(registry).digest
