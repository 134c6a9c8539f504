"""Intervals over any log at all: moves put in by hand, in any order, at equal times, with the heads that merges leave."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb import digest
from ifpdb.ledger import facts, runs, stages, versions
from ifpdb.names import STAGES
from ifpdb.times import from_microseconds, one_microsecond_before


@dataclass(frozen=True, slots=True)
class Move:
    """An event that moves version number `version` (of two models, in turn) at a minute, known `late` minutes after it."""

    version: int
    to: str
    minute: int
    late: int = 0


Moves = st.lists(
    st.builds(Move, st.integers(0, 5), st.sampled_from(STAGES), st.integers(0, 30), st.integers(0, 40)), max_size=25
)


def minute(number: int) -> str:
    return from_microseconds(1_763_114_400_000_000 + number * 60_000_000)


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three versions of each of two models, no event on them yet."""
    path = tmp_path_factory.mktemp("six") / "ifp.db"
    with ifp.init(path, actor="ada") as registry, registry.writing() as (tx, by):
        for number in range(6):
            model = facts.keep_model(tx, ("fraud", "churn")[number % 2])
            run = runs.insert(
                tx,
                id=f"run-{number}",
                model=model,
                status="finished",
                actor="ada",
                started_at=by.now,
                seed=None,
                command=None,
                code=ifp.Code(),
            )
            manifest = f'{{"number":{number}}}'.encode()
            identity = digest.to_text(hashlib.sha256(manifest).digest())
            version = versions.insert(tx, model=model, digest=identity, manifest=manifest, weights=None, schema=None)
            versions.set_run(tx, run=run, version=version, at=by.now)
    return path


@contextmanager
def told(six: Path, moves: Sequence[Move], *, known: int | None = None) -> Iterator[ifp.Registry]:
    """The six versions with these moves in their log, inserted in this order, each a head beside the others.

    With `known`, moves that were known later than that minute are not there at all.
    """
    with tempfile.TemporaryDirectory() as name, ifp.open(shutil.copy(six, name)) as registry:
        with registry.writing() as (tx, _):
            for position, move in enumerate(moves):
                if known is not None and move.minute + move.late > known:
                    continue
                model, version = ("fraud", "churn")[move.version % 2], f'{{"number":{move.version}}}'.encode()
                body = {"actor": "ada", "at": minute(move.minute), "kind": "moved", "parents": [], "to_stage": move.to}
                body |= {"model": model, "run": f"run-{move.version}", "reason": f"number {position}"}
                body |= {"version": digest.to_text(hashlib.sha256(version).digest())}
                body |= {"detail": {"approved_by": ["grace", "alan"]} if position % 2 else {}}
                text = digest.canonical(body)
                row = (hashlib.sha256(text).digest(), text.decode())
                key = tx.execute("INSERT INTO event (id, body) VALUES (?, ?) RETURNING key", row).fetchone()[0]
                if move.late:
                    tx.execute("INSERT INTO arrival VALUES (?, ?)", (key, minute(move.minute + move.late)))
        yield registry


def seen(found: Iterable[ifp.Interval]) -> list[str]:
    return sorted(map(repr, found))


VIEW = "SELECT model, run, version, stage, since, until, actor, approved_by, reason FROM stage_intervals"


def by_view(tx: sqlite3.Connection) -> list[ifp.Interval]:
    return [ifp.Interval(*row[:7], tuple(json.loads(row[7] or "[]")), row[8]) for row in tx.execute(VIEW)]


@given(moves=Moves)
@settings(max_examples=60, deadline=None)
def test_the_fold_of_any_log_is_what_the_view_says(six: Path, moves: list[Move]) -> None:
    with told(six, moves) as registry, registry.reading() as tx:
        everything = by_view(tx)
        assert seen(stages.intervals(tx)) == seen(everything)
        for model, stage in itertools.product((None, "fraud", "churn"), (None, *STAGES)):
            expected = [i for i in everything if model in (None, i.model) and stage in (None, i.stage)]
            found = stages.intervals(tx, model=model, stage=stage)
            assert seen(found) == seen(expected)
            assert [i.since for i in found] == sorted(i.since for i in found)
            for version in {i.digest for i in everything}:
                one = stages.intervals(tx, model=model, stage=stage, version=version)
                assert seen(one) == seen(i for i in expected if i.digest == version)


@given(moves=Moves, known=st.integers(0, 75))
@settings(max_examples=60, deadline=None)
def test_as_known_on_a_day_is_the_log_without_what_came_later(six: Path, moves: list[Move], known: int) -> None:
    with told(six, moves) as registry, registry.reading() as tx:
        found = stages.intervals(tx, known_by=minute(known))
        entered = stages.intervals(tx, known_by=minute(known), stage="production")
    with told(six, moves, known=known) as earlier, earlier.reading() as tx:
        expected = by_view(tx)
    assert seen(found) == seen(expected)
    assert seen(entered) == seen(i for i in expected if i.stage == "production")


@given(moves=Moves)
@settings(max_examples=60, deadline=None)
def test_from_the_first_promotion_on_one_version_is_in_production_at_each_instant(six: Path, moves: list[Move]) -> None:
    promotions = [replace(move, to="production") for move in moves]
    with told(six, promotions) as registry, registry.reading() as tx:
        for model in ("fraud", "churn"):
            begun = [move.minute for move in moves if ("fraud", "churn")[move.version % 2] == model]
            chain = stages.intervals(tx, model=model, stage="production")
            for instant in (at for number in range(31) for at in (one_microsecond_before(minute(number)), minute(number))):
                held = [i for i in chain if stages.held_during(i, instant, instant)]
                assert len(held) == (bool(begun) and minute(min(begun)) <= instant)


def steps(registry: ifp.Registry, query: str) -> int:
    """How many hundreds of SQLite's instructions a query takes: its cost, whatever else the machine does."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    with registry.reading() as tx:
        tx.set_progress_handler(tick, 100)
        tx.execute(query).fetchall()
        tx.set_progress_handler(None, 0)
    return count


HISTORIES: dict[str, Callable[[int], list[Move]]] = {
    "one version in and out": lambda n: [Move(0, ("production", "archived")[i % 2], i) for i in range(n)],
    "two in turn": lambda n: [Move(i % 2 * 2, "production", i) for i in range(n)],
    "one again and again": lambda n: [Move(0, "production", i) for i in range(n)],
    "all stages": lambda n: [Move(i % 6, STAGES[i % 4], i) for i in range(n)],
}
QUERIES = {
    "view": VIEW,
    "history": "SELECT * FROM production_history",
    "model": "SELECT * FROM stage_intervals WHERE model = 'fraud'",
    "fold": stages.MODEL_PRODUCTION_MOVES.replace(":model", "'fraud'").replace(":known_by", "NULL"),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("query", QUERIES)
def test_a_history_twice_as_long_takes_twice_the_work(six: Path, history: str, query: str) -> None:
    with told(six, HISTORIES[history](200)) as short, told(six, HISTORIES[history](400)) as long:
        assert steps(long, QUERIES[query]) < 2.6 * steps(short, QUERIES[query])
