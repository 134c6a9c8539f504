"""No query of the ledger goes through a whole table where an index leads to its rows, or else it is listed here with why."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from ifpdb import ledger
from ifpdb.ledger import ancestry, events, stages
from ifpdb.store.db import schema_sql

FORMS: dict[str, list[str]] = {
    "ancestry.ALL": [ancestry.ALL.format(to=to, at=at) for to, at in (ancestry.UP, ancestry.DOWN)],
    "ancestry.NEAR": [ancestry.NEAR.format(to=to, at=at) for to, at in (ancestry.UP, ancestry.DOWN)],
    "events.SELECT": [
        events.SELECT.format(" AND ".join(clauses))
        for clauses in (
            [events.CLAUSES["model"]],
            [events.CLAUSES["since"]],
            [events.CLAUSES["model"], events.CLAUSES["kind"], events.CLAUSES["since"]],
        )
    ],
    "stages.MOVES": [stages.MODEL_MOVES],
}
"""The statements that a constant with blanks in it becomes."""

WHOLE = {
    "lineage.ALL_RUNS": "generations counted anew, after a link lost its effect in a merge",
    "lineage.ALL_EDGES": "likewise",
    "events.HEADS": "every head is asked for",
    "news.ALL": "every id is asked for, by an index of nothing else",
    "news.DOWN": "from the newest down, to the oldest that is new",
    "resolve.ALL_RUNS": "the newest thousand, from the end",
    "resolve.ALL_MODELS": "every model is asked for",
    "runs.LIST": "one statement for whatever is asked: the runs of a model too are found among all",
    "runs.RUNNING": "every run in progress is asked for, by an index of nothing else",
    "stages.ALL_MOVES": "every move is asked for",
    "stages.PRODUCTION_MOVES": "every entry into production is asked for",
    "versions.SUMMARIES": "every model is asked for",
}
"""The queries that do go through a whole table, and why."""


def constants() -> Iterator[tuple[str, str]]:
    """(name, statement) of each query that stands in a module of the ledger."""
    for info in pkgutil.iter_modules(ledger.__path__):
        module = importlib.import_module(f"{ledger.__name__}.{info.name}")
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, str) and re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", value):
                place = f"{info.name}.{name}"
                yield from ((place, statement) for statement in FORMS.get(place, [value]))


def scanned(tx: sqlite3.Connection, statement: str) -> set[str]:
    """The tables, as the statement names them, that it goes through from end to end; not what it makes itself."""
    named = dict.fromkeys(re.findall(r"(?<!:):([a-z_]\w*)", statement))
    plan = tx.execute(f"EXPLAIN QUERY PLAN {statement}", named or (None,) * statement.count("?")).fetchall()
    found = {line.split()[1] for *_, line in plan if line.startswith("SCAN") and "VIRTUAL TABLE" not in line}
    own = set(re.findall(r"(\w+)(?:\([\w, ]*\))? AS (?:NOT )?(?:MATERIALIZED )?\(", statement)) | {"CONSTANT"}
    aliases = {alias for name in own for alias in re.findall(rf"\b{name} (?:AS )?([a-z])\b", statement)}
    return found - own - aliases - set(re.findall(r"\) ([a-z]\w*)\b", statement))


QUERIES = list(constants())


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    """An empty registry without foreign keys, whose plans name look-ups that only a deferred violation would run."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_sql())
        yield connection


@pytest.mark.parametrize(("place", "statement"), QUERIES, ids=[place for place, _ in QUERIES])
def test_a_query_finds_its_rows_by_an_index(tx: sqlite3.Connection, place: str, statement: str) -> None:
    assert not scanned(tx, statement) or place in WHOLE


def test_what_is_said_to_go_through_a_whole_table_does(tx: sqlite3.Connection) -> None:
    assert set(WHOLE) == {place for place, statement in QUERIES if scanned(tx, statement)}


def test_a_query_without_its_index_is_seen(tx: sqlite3.Connection) -> None:
    tx.execute("DROP INDEX run_version")
    statement = next(statement for place, statement in QUERIES if place == "versions.OWN_RUN")
    assert scanned(tx, statement) == {"run"}
