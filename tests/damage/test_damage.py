"""A damaged .db: wherever a bit flips or the file ends early, fsck or verify says so, or nothing that is read has changed.

What can't be noticed is listed by name: columns that nothing hashes. A page that SQLite doesn't use may hold anything.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck

UNHASHED = {
    "dataset": {"size"},
    "dataset_column": {"nulls", "categorical", "min", "max", "values", "edges", "counts"},
    "dataset_prefix": {"rows", "digest"},
    "run_dataset": {"name", "uri", "file"},
    "run": {"live_bytes"},
    "metric": {"at", "series", "dataset"},
    "version": {"ordinal"},
    "edge": {"position"},
    "registry": {"min_reader"},
    "model": {"name"},
    "tag": set[str](),
}
"""Columns that no digest and no event holds: docs/reliability.md says so."""

Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry with something of everything, and pages of every kind."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch, ifp.init(place / "ifp.db", actor="ada") as registry:
        patch.chdir(place)
        (place / "train.csv").write_text("amount,country\n" + "".join(f"{n},DE\n" for n in range(50)))
        schema = {"features": [{"position": 0, "name": "amount", "type": "number", "min": 0, "max": 50}]}
        fraud = registry.model("fraud")
        for number in range(30):
            (place / "model.bin").write_text(f"weights {number}")
            registry.register(
                "fraud", "model.bin", data="train.csv", schema=schema, params={"C": number, "why": "x" * 40}, seed=number,
                metrics={"f1": 0.9, "auc": number / 30}, tags=[f"t{number}"], derived_from=[f"fraud@v{number}"][: number],
            )  # fmt: skip
        fraud.set_policy({"validation": {"min_f1": 0.8}})
        for number in range(1, 8):
            fraud.promote(f"v{number}", "production", approved_by="grace", reason="long " * 900)
        fraud.label("v3", "2025-Q4")
        fraud.untag("v1", "t0")
    return place


def rows(path: Path) -> Rows:
    """Every stored row of every table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}


def told(path: Path, anchor: str) -> bool:
    """Whether opening, fsck or verify says that something is wrong."""
    try:
        with ifp.open(path, readonly=True) as registry:
            return not fsck(registry, fast=True).ok or not verify(registry, anchors=[anchor]).ok
    except ifp.IfpError:
        return True


def changed_columns(path: Path, before: Rows, names: dict[str, list[str]]) -> set[tuple[str, str]]:
    """(table, column) of each place where rows differ; a table whose rows can't be matched counts whole."""
    found = set[tuple[str, str]]()
    after = rows(path)
    for table, old in before.items():
        lost, fresh = [row for row in old if row not in after[table]], [row for row in after[table] if row not in old]
        if len(lost) != len(fresh):
            found.add((table, "*"))
        for one, other in zip(lost, fresh, strict=False):
            found |= {(table, name) for name, a, b in zip(names[table], one, other, strict=True) if a != b}
    return found


@pytest.fixture(scope="module")
def columns(whole: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(whole / "ifp.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {t: [row[1] for row in connection.execute(f"PRAGMA table_xinfo({t})")] for t in tables}


@pytest.fixture
def trial(whole: Path, tmp_path: Path) -> Iterator[tuple[Path, bytes, str]]:
    """A copy of the registry to harm, its bytes, and its newest event."""
    shutil.copytree(whole / "ifp.cas", tmp_path / "ifp.cas")
    shutil.copy(whole / "ifp.db", tmp_path / "ifp.db")
    with ifp.open(tmp_path / "ifp.db", readonly=True) as registry:
        anchor = registry.events()[-1].id
    yield tmp_path / "ifp.db", (whole / "ifp.db").read_bytes(), anchor


def flips(data: bytes, count: int) -> list[tuple[int, int]]:
    """(byte, bit): so many in every page, seeded."""
    dice = random.Random(5)
    return [(page + dice.randrange(4096), dice.randrange(8)) for page in range(0, len(data), 4096) for _ in range(count)]


def sweep(trial: tuple[Path, bytes, str], columns: dict[str, list[str]], places: list[tuple[int, int]]) -> None:
    path, data, anchor = trial
    before = rows(path)
    assert not told(path, anchor), "the control: unharmed, it is clean"
    noticed = 0
    for byte, bit in places:
        harmed = bytearray(data)
        harmed[byte] ^= 1 << bit
        path.write_bytes(harmed)
        if told(path, anchor):
            noticed += 1
            continue
        silent = changed_columns(path, before, columns)
        unexplained = {(table, column) for table, column in silent if column not in UNHASHED.get(table, ())}
        assert not unexplained, f"byte {byte} ({byte % 4096} of page {byte // 4096 + 1}), bit {bit}: {unexplained}"
    assert noticed > len(places) // 3


def test_a_flipped_bit_in_any_page_is_told_or_changes_nothing_that_is_hashed(
    trial: tuple[Path, bytes, str], columns: dict[str, list[str]]
) -> None:
    sweep(trial, columns, flips(trial[1], 2))


@pytest.mark.nightly
def test_flipped_bits_all_over_each_page_are_told_or_change_nothing_that_is_hashed(
    trial: tuple[Path, bytes, str], columns: dict[str, list[str]]
) -> None:
    sweep(trial, columns, flips(trial[1], 120))


def test_a_file_that_ends_early_is_told(trial: tuple[Path, bytes, str]) -> None:
    path, data, anchor = trial
    for length in [0, 1, 99, *range(100, len(data), 9 * 4096 + 100), len(data) - 4096, len(data) - 1]:
        path.write_bytes(data[:length])
        assert told(path, anchor), f"cut to {length} of {len(data)} bytes"


def test_what_is_whole_is_still_read(trial: tuple[Path, bytes, str]) -> None:
    path, data, _ = trial
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'run_model'").fetchone()[0]
    harmed = bytearray(data)
    harmed[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(harmed)
    with ifp.open(path, readonly=True) as registry:
        assert not fsck(registry).ok
        assert registry.resolve("fraud@production").ordinal == 7
        assert len(registry.model("fraud").versions()) == 30
        assert verify(registry).problems == ()
