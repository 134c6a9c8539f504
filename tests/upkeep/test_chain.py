"""verify and the logical digest: whole is told from not whole, and equal from different."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import digest, times
from ifpdb.store.db import fresh_registry
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
    found = problems(connection)
    connection.execute("ROLLBACK")
    return found


def problems(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """What is wrong with the log."""
    log = chain.Log(connection)
    return [*log.problems(), *log.head_problems()]


def test_an_untouched_log_has_no_problem(connection: sqlite3.Connection) -> None:
    assert problems(connection) == []


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


def rewritten(connection: sqlite3.Connection, change: Callable[[dict[str, Any]], bytes]) -> list[tuple[str, str, str]]:
    """The problems once the newest event was changed, given an id that follows from its bytes, and made the head again."""
    text = change(json.loads(connection.execute("SELECT body FROM event WHERE key = 3").fetchone()[0]))
    identity = hashlib.sha256(text).hexdigest()
    return tampered(
        connection,
        "DELETE FROM event WHERE key = 3",
        f"INSERT INTO event (key, id, body) VALUES (3, x'{identity}', '{text.decode()}')",
        f"UPDATE head SET id = 'sha256:{identity}'",
    )


def test_an_event_that_was_rewritten_with_care_shows_only_against_an_anchor(connection: sqlite3.Connection) -> None:
    assert rewritten(connection, lambda body: digest.canonical(body | {"actor": "eve"})) == []


def test_an_event_that_is_not_later_than_its_parent_shows(connection: sqlite3.Connection) -> None:
    found = rewritten(connection, lambda body: digest.canonical(body | {"at": "2001-01-01T00:00:00.000000Z"}))
    assert [kind for kind, _, _ in found] == ["order"]


def test_two_parents_out_of_order_show(connection: sqlite3.Connection) -> None:
    first = "sha256:" + connection.execute("SELECT hex(id) FROM event WHERE key = 1").fetchone()[0].lower()
    found = rewritten(
        connection, lambda body: digest.canonical(body | {"parents": sorted([first, *body["parents"]], reverse=True)})
    )
    assert [kind for kind, _, _ in found] == ["form"]
    assert rewritten(connection, lambda body: digest.canonical(body | {"parents": sorted([first, *body["parents"]])})) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda body: json.dumps(body).encode(),
        lambda body: digest.canonical(body).replace(b'"actor"', b'"actor":"eve","actor"'),
        lambda body: digest.canonical(body | {"reason": "x"}).replace(b'"x"', b"1.0"),
        lambda body: digest.canonical(body | {"reason": "x"}).replace(b'"x"', b"1e-07"),
        lambda body: digest.canonical(body | {"reason": "x"}).replace(b'"x"', rb'"\u0041"'),
        lambda body: digest.canonical(dict(body, parents=None)),
    ],
    ids=["spaces", "a key twice", "a number with a needless zero", "a long exponent", "a needless escape", "no parents"],
)
def test_an_event_that_is_not_written_canonically_shows(
    connection: sqlite3.Connection, write: Callable[[dict[str, Any]], bytes]
) -> None:
    found = rewritten(connection, write)
    assert "form" in [kind for kind, _, _ in found]
    assert "changed" not in [kind for kind, _, _ in found]


def test_events_that_come_before_their_parents_are_followed_all_the_same(connection: sqlite3.Connection) -> None:
    assert tampered(connection, "UPDATE event SET key = -key") == []


def test_two_branches_of_a_log_have_two_heads(connection: sqlite3.Connection) -> None:
    """As after a merge of two registries that went on from the same event; the next event names both."""

    def event(parents: list[str], actor: str) -> tuple[str, str]:
        times = ["2031-01-01T00:00:00.000000Z", "2031-01-02T00:00:00.000000Z"]
        body = digest.canonical({"at": times[len(parents) - 1], "actor": actor, "kind": "moved", "parents": sorted(parents)})
        return digest.sha256(body), f"INSERT INTO event (id, body) VALUES (x'{digest.sha256(body)[7:]}', '{body.decode()}')"

    base = "sha256:" + connection.execute("SELECT lower(hex(id)) FROM event WHERE key = 3").fetchone()[0]
    (one, first), (other, second) = event([base], "ada"), event([base], "bob")
    heads = f"DELETE FROM head; INSERT INTO head VALUES ('{one}'), ('{other}')".split("; ")
    assert tampered(connection, first, second, *heads) == []
    assert [kind for kind, _, _ in tampered(connection, first, second, *heads[:1])] == ["heads"]
    joined, third = event([one, other], "eve")
    assert tampered(connection, first, second, third, f"UPDATE head SET id = '{joined}'") == []


def overwrite_root(registry: ifp.Registry, table: str) -> None:
    """Fill the first page of a table with ones."""
    connection = sqlite3.connect(registry.path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    connection.close()
    registry.close()
    data = bytearray(registry.path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    registry.path.write_bytes(data)


def test_a_page_of_the_log_that_can_t_be_read_is_told_and_the_rest_is_checked(busy: ifp.Registry) -> None:
    overwrite_root(busy, "event")
    found = verify(busy)
    assert {kind for kind, _, _ in found.problems} == {"unreadable", "heads"}
    assert (found.events, len(found.heads)) == (0, 1)


def test_rows_that_can_t_be_read_have_no_digest(busy: ifp.Registry) -> None:
    overwrite_root(busy, "param")
    found = verify(busy)
    assert ([kind for kind, _, _ in found.problems], found.digest) == (["unreadable"], "")
    assert found.events == 3


def test_a_long_log_is_read_in_little_memory() -> None:
    """20,000 events of half a kilobyte, of which no more than the open ends are kept."""
    with closing(fresh_registry()) as connection:
        connection.execute("DROP TRIGGER event_becomes_head")
        parents, moment = list[str](), times.to_microseconds("2031-01-01T00:00:00.000000Z")
        for number in range(20_000):
            at = times.from_microseconds(moment + number)
            body = digest.canonical({"at": at, "actor": "ada" * 150, "kind": "moved", "parents": parents})
            parents = [digest.sha256(body)]
            connection.execute("INSERT INTO event (id, body) VALUES (?, ?)", (digest.to_bytes(parents[0]), body.decode()))
        connection.execute("INSERT INTO head VALUES (?)", parents)
        tracemalloc.start()
        assert problems(connection) == []
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000


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
