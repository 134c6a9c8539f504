"""A damaged .db: wherever a bit flips or the file ends early, fsck or verify says so, or every row is what it was.

A page that nothing uses may hold anything, and so may the gap between the cells of a page. What can't be noticed otherwise
is listed by name: columns that nothing hashes.
"""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from specimen import PAGE, Rows, build, columns_of, connected, regions, rows_of

import ifpdb as ifp
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck

UNHASHED = {
    "dataset": {"size"},
    "dataset_column": {"nulls", "categorical", "min", "max", "values", "edges", "counts"},
    "run_dataset": {"uri", "file"},
    "run": {"live_bytes"},
}
"""Columns that no digest, no event and no index holds: docs/reliability.md says so."""

KINDS = ["header", "schema", "table, inner", "table, leaf", "index, inner", "index, leaf", "overflow", "free"]
SAMPLE = 40


@dataclass(frozen=True)
class Specimen:
    """A registry that may be harmed and is made whole by `write(data)`: its bytes, rows and newest event."""

    path: Path
    data: bytes
    rows: Rows
    columns: dict[str, list[str]]
    anchor: str

    def write(self, data: bytes | bytearray) -> None:
        self.path.write_bytes(data)


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    path = build(tmp_path_factory.mktemp("specimen"))
    with ifp.open(path, readonly=True) as registry:
        anchor = registry.events()[-1].id
    data = path.read_bytes()
    with closing(connected(data)) as connection:
        return Specimen(path, data, rows_of(connection), columns_of(connection), anchor)


@pytest.fixture
def whole(specimen: Specimen) -> Iterator[Specimen]:
    yield specimen
    specimen.write(specimen.data)


def told(specimen: Specimen) -> bool:
    """Whether opening, fsck or verify says that something is wrong; anything but an IfpError fails the test."""
    try:
        with ifp.open(specimen.path, readonly=True) as registry:
            return not fsck(registry, fast=True).ok or not verify(registry, anchors=[specimen.anchor]).ok
    except ifp.IfpError:
        return True


def differences(specimen: Specimen, data: bytes | bytearray) -> set[tuple[str, str]]:
    """(table, column) of every place where the rows are not what they were; '*' where rows can't be matched or read."""
    try:
        with closing(connected(data)) as connection:
            now = rows_of(connection)
    except (sqlite3.Error, UnicodeDecodeError, zlib.error):
        return {("*", "*")}
    found = {(table, "*") for table in specimen.rows.keys() ^ now.keys()}
    for table in specimen.rows.keys() & now.keys():
        old, new = specimen.rows[table], now[table]
        lost, fresh = [row for row in old if row not in new], [row for row in new if row not in old]
        if len(lost) != len(fresh):
            found.add((table, "*"))
        for one, other in zip(lost, fresh, strict=False):
            found |= {(table, name) for name, a, b in zip(specimen.columns[table], one, other, strict=True) if a != b}
    return found


def is_noticed_by_sqlite(data: bytes | bytearray) -> bool:
    """Whether SQLite's own check complains; fsck passes on what it says."""
    try:
        with closing(connected(data)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() != [(b"ok",)]
    except (sqlite3.Error, UnicodeDecodeError):
        return True


def flipped(data: bytes, at: int, bit: int) -> bytearray:
    harmed = bytearray(data)
    harmed[at] ^= 1 << bit
    return harmed


def silent(specimen: Specimen, data: bytes | bytearray) -> set[tuple[str, str]]:
    """What differs without being told, but for what nothing hashes."""
    specimen.write(data)
    if told(specimen):
        return set()
    return {(table, column) for table, column in differences(specimen, data) if column not in UNHASHED.get(table, ())}


def places(offsets: Iterable[int], count: int, seed: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    return [(at, dice.randrange(8)) for at in dice.sample(list(offsets), count)]


def test_the_specimen_is_whole_and_has_pages_of_every_kind(whole: Specimen) -> None:
    assert not told(whole)
    assert sorted(regions(whole.data)) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_told_or_every_row_is_what_it_was(whole: Specimen, kind: str) -> None:
    for at, bit in places(regions(whole.data)[kind], SAMPLE, seed=KINDS.index(kind)):
        assert silent(whole, flipped(whole.data, at, bit)) == set(), f"bit {bit} of byte {at % PAGE} in page {at // PAGE + 1}"


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_in_each_byte_is_told_or_every_row_is_what_it_was(whole: Specimen, kind: str) -> None:
    """SQLite and the rows are asked first, in memory: only what both let pass is held against fsck and verify. An hour."""
    offsets = regions(whole.data)[kind]
    for at, bit in places(offsets, len(offsets), seed=6):
        harmed = flipped(whole.data, at, bit)
        if not is_noticed_by_sqlite(harmed) and differences(whole, harmed):
            assert silent(whole, harmed) == set(), f"bit {bit} of byte {at % PAGE} in page {at // PAGE + 1}"


def test_a_change_that_nobody_tells_would_be_noticed_here(whole: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(connected(whole.data)) as connection:
        connection.execute("UPDATE run SET live_bytes = live_bytes + 1 WHERE key = 1")
        harmed = connection.serialize()
    assert silent(whole, harmed) == set()
    monkeypatch.delitem(UNHASHED, "run")
    assert silent(whole, harmed) == {("run", "live_bytes")}


def lengths(data: bytes, every: int) -> list[int]:
    """Where to cut: in the header, at the ends of pages, and in the middle of them."""
    ends = range(PAGE, len(data), PAGE * every)
    return [0, 1, 50, 99, 100, *ends, *(end + PAGE // 2 for end in ends), len(data) - 1]


def is_told_or_harmless(specimen: Specimen, length: int) -> bool:
    """SQLite reads what is missing of a last page as zeros: that harms nothing where the page isn't used."""
    specimen.write(specimen.data[:length])
    return told(specimen) or not differences(specimen, specimen.data[:length].ljust(len(specimen.data), b"\0"))


def test_a_file_that_ends_early_is_told(whole: Specimen) -> None:
    for length in lengths(whole.data, every=9):
        assert is_told_or_harmless(whole, length), f"cut to {length} of {len(whole.data)} bytes"


@pytest.mark.nightly
def test_a_file_that_ends_at_any_page_is_told(whole: Specimen) -> None:
    for length in lengths(whole.data, every=1):
        assert is_told_or_harmless(whole, length), f"cut to {length} of {len(whole.data)} bytes"
        assert told(whole) or length > max(regions(whole.data)["free"]) - PAGE, "only a free page may go unnoticed"


def test_two_pages_that_were_swapped_are_told(whole: Specimen) -> None:
    leaves = [at for at in regions(whole.data)["table, leaf"] if at % PAGE == 0]
    for one, other in zip(leaves[::4], leaves[1::4], strict=False):
        harmed = bytearray(whole.data)
        harmed[one : one + PAGE], harmed[other : other + PAGE] = whole.data[other : other + PAGE], whole.data[one : one + PAGE]
        whole.write(harmed)
        assert told(whole), f"pages {one // PAGE + 1} and {other // PAGE + 1}"


@pytest.mark.parametrize("name", ["run_model", "event", "dataset_prefix", "dataset_column"])
def test_what_is_whole_is_still_read(whole: Specimen, name: str) -> None:
    with closing(connected(whole.data)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
    harmed = bytearray(whole.data)
    harmed[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    whole.write(harmed)
    with ifp.open(whole.path, readonly=True) as registry:
        found = fsck(registry)
        assert not found.ok and found.blobs > 10
        assert {problem.kind for problem in found.problems} <= {"sqlite", "unreadable"}
        assert registry.resolve("fraud@v9").params["C"] == 8
        assert len(registry.model("fraud").versions()) == 15
        assert registry.blobs.read(registry.artifact("fraud@v9").digest) == b"weights 8"
