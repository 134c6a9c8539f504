"""What is new, over any log at all: equal to what a naive walk of the graph finds, from the heads or from any event."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifpdb import digest
from ifpdb.errors import Ambiguous
from ifpdb.ledger import news
from ifpdb.store.db import schema_sql
from ifpdb.times import from_microseconds

Logs = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 11), max_size=3)), min_size=1, max_size=12)
"""Of each event how much later than its newest parent it is, and which of those before it are its parents."""


@pytest.fixture(scope="module")
def tx() -> Iterator[sqlite3.Connection]:
    """An empty registry in memory; whoever uses it rolls back."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(schema_sql())
        yield connection


def write(tx: sqlite3.Connection, log: list[tuple[int, list[int]]]) -> dict[str, set[str]]:
    """The log, put in; of each event's id itself and all its ancestors. Rows don't stand in the order of time."""
    ids, at, above, rows = list[str](), list[int](), dict[str, set[str]](), list[tuple[bytes, str]]()
    for number, (later, wanted) in enumerate(log):
        parents = sorted({place % number for place in wanted} if number else set())
        at.append(1 + later + max((at[parent] for parent in parents), default=0))
        event = {
            "actor": f"a{number}",
            "at": from_microseconds(at[-1]),
            "kind": "tagged",
            "parents": [ids[parent] for parent in parents],
        }
        body = digest.canonical(event)
        ids.append(digest.sha256(body))
        above[ids[-1]] = {ids[-1]}.union(*(above[ids[parent]] for parent in parents))
        rows.append((hashlib.sha256(body).digest(), body.decode()))
    tx.executemany("INSERT INTO event (id, body) VALUES (?, ?)", rows)
    return above


def told(tx: sqlite3.Connection, seen: news.Seen) -> list[str]:
    start = news.oldest(tx, seen)
    return [] if start is None else [event.id for event in news.page(tx, seen, start, size=99)]


@settings(max_examples=300, deadline=None)
@given(log=Logs, known=st.lists(st.integers(0, 11), max_size=3))
def test_what_is_new_is_what_a_naive_walk_finds(
    tx: sqlite3.Connection, log: list[tuple[int, list[int]]], known: list[int]
) -> None:
    tx.execute("BEGIN")
    try:
        above = write(tx, log)
        order = [digest.to_text(id) for (id,) in tx.execute("SELECT id FROM event ORDER BY at, id")]
        ids = [list(above)[place % len(above)] for place in known]
        had = set[str]().union(*(above[id] for id in ids))
        seen = news.up_to(tx, ids)
        assert {id for id in order if id in seen} == had
        assert told(tx, seen) == [id for id in order if id not in had]
        assert told(tx, news.all_of(tx)) == []
        middle = json.loads(
            tx.execute("SELECT body FROM event ORDER BY at, id LIMIT 1 OFFSET ?", (len(order) // 2,)).fetchone()[0]
        )
        early = [id for (id,) in tx.execute("SELECT id FROM event WHERE at < ?", (middle["at"],))]
        assert {id for id in order if id in news.before(tx, middle["at"])} == set(map(digest.to_text, early))
    finally:
        tx.execute("ROLLBACK")


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=50), st.lists(st.binary(min_size=32, max_size=32), max_size=50))
def test_what_was_seen_is_known_and_nothing_else(old: list[bytes], new: list[bytes]) -> None:
    seen = news.Seen(sorted(int.from_bytes(id[:8]) for id in old))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news, "_RECENT", 5)
        for id in new:
            assert (digest.to_text(id) in seen) == (id[:8] in {other[:8] for other in old})
        for id in new:
            seen.add(digest.to_text(id))
    assert all(digest.to_text(id) in seen for id in old + new)
    assert digest.to_text(bytes(32)) not in seen or any(id[:8] == bytes(8) for id in old + new)


def test_a_beginning_that_several_events_have_is_ambiguous(tx: sqlite3.Connection) -> None:
    tx.execute("BEGIN")
    body = {"actor": "a", "at": "2025-11-14T09:30:00.000000Z", "kind": "tagged", "parents": []}
    for last in (b"\x00", b"\x01"):
        tx.execute("INSERT INTO event (id, body) VALUES (?, ?)", (bytes.fromhex("ab" * 31) + last, json.dumps(body)))
    with pytest.raises(Ambiguous, match="several events"):
        news.find(tx, "sha256:ABABABAB")
    assert news.find(tx, "sha256:" + "ab" * 31 + "01").endswith("01")
    tx.execute("ROLLBACK")
