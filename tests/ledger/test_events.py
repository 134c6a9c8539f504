"""The event log: what an event holds, how it is chained, and how a change to it shows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import digest
from ifpdb.ledger import events

Make = Callable[..., ifp.Version]


@pytest.fixture
def connection(make: Make, registry: ifp.Registry) -> sqlite3.Connection:
    """A bare connection to a registry with a little log, as another program would open it."""
    make("a", tags=["q1"])
    make("b")
    registry.model("fraud").promote("v1", "shadow", reason="try it")
    return sqlite3.connect(registry.path, isolation_level=None)


def test_an_id_is_the_sha256_of_the_stored_canonical_bytes(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT id, body FROM event").fetchall()
    assert len(rows) == 3
    for identity, body in rows:
        assert hashlib.sha256(body.encode()).digest() == identity
        assert digest.canonical(json.loads(body)) == body.encode()


def test_each_event_names_the_heads_before_it_as_parents(registry: ifp.Registry, connection: sqlite3.Connection) -> None:
    log = registry.events()
    assert log[0].parents == ()
    assert [event.parents for event in log[1:]] == [(event.id,) for event in log[:-1]]
    assert events.heads(connection) == [log[-1].id]


def test_an_event_after_two_heads_names_both_and_becomes_the_only_head(connection: sqlite3.Connection) -> None:
    first = connection.execute("SELECT id FROM event ORDER BY at LIMIT 1").fetchone()[0]
    body = digest.canonical(
        {"actor": "eve", "at": "2020-01-01T00:00:00.000000Z", "kind": "noted", "parents": [digest.to_text(first)]}
    )
    connection.execute("INSERT INTO event (id, body) VALUES (?, ?)", (hashlib.sha256(body).digest(), body.decode()))
    both = events.heads(connection)
    assert len(both) == 2
    event = events.append(connection, events.Author("ada", "2030-01-01T00:00:00.000000Z"), "noted")
    assert list(event.parents) == sorted(both)
    assert events.heads(connection) == [event.id]


def test_time_never_runs_backwards_along_the_log(make: Make, clock: Callable[[str], None], registry: ifp.Registry) -> None:
    clock("2025-06-01T00:00:00Z")
    make("a")
    clock("2025-01-01T00:00:00Z")
    make("b")
    assert [event.at for event in registry.events()] == ["2025-06-01T00:00:00.000000Z", "2025-06-01T00:00:00.000001Z"]


def test_a_backdated_event_also_says_what_the_clock_said(
    make: Make, clock: Callable[[str], None], registry: ifp.Registry
) -> None:
    make("a")
    assert "clock" not in registry.events()[0].detail
    clock("1 day ago")
    make("b")
    assert registry.events()[1].detail["clock"] > registry.events()[1].at


def test_a_registered_event_holds_what_a_gate_judges_by(make: Make, registry: ifp.Registry) -> None:
    parent = make("a")
    version = make("b", metrics={"f1": 0.9}, derived_from=parent.run, tags=["q1"], labels=["2025-Q4"])
    event = registry.events(kind="registered")[-1]
    assert (event.run, event.version, event.to_stage) == (version.run, version.digest, "staging")
    assert event.detail["metrics"] == [{"metric": "f1", "value": 0.9, "dataset": None}]
    assert event.detail["parents"] == [{"run": parent.run, "kind": "derived_from"}]
    assert [data["dataset"] for data in event.detail["data"]] == [version.data[0].digest]
    assert (event.detail["tags"], event.detail["labels"]) == (["q1"], ["2025-Q4"])


def test_events_are_asked_for_by_model_kind_and_time(
    make: Make, clock: Callable[[str], None], registry: ifp.Registry, parts: dict[str, Any], folder: Path
) -> None:
    clock("2025-01-10T12:00:00Z")
    make("a")
    clock("2025-01-11T12:00:00Z")
    make("b", "churn")
    registry.model("churn").tag("v1", "q1")
    assert [event.model for event in registry.events(model="fraud")] == ["fraud"]
    assert [event.kind for event in registry.events(kind="tagged")] == ["tagged"]
    assert len(registry.events(since="2025-01-11")) == 2
    assert len(registry.events(until="2025-01-10")) == 1
    assert len(registry.events(since="2025-01-10T12:00:00Z", until="2025-01-11T12:00:00Z")) == 1
    with pytest.raises(ifp.NotFound, match="fraud"):
        registry.events(model="frodd")


def test_an_event_as_a_document_has_every_key_of_the_promise(make: Make, registry: ifp.Registry) -> None:
    make("a")
    document = registry.events()[0].as_dict()
    wanted = {"id", "parents", "at", "actor", "kind", "model", "run", "from_stage", "to_stage", "reason", "detail"}
    assert wanted <= document.keys()
    assert json.loads(json.dumps(document)) == document
