"""A file that came from elsewhere: read where it is a registry, refused where it only looks like one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import ifpdb as ifp
from ifpdb.errors import IfpError, IntegrityError, Refused
from ifpdb.store import foreign

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
Make = Callable[..., ifp.Version]


@pytest.fixture
def file(make: Make, registry: ifp.Registry) -> Path:
    """A registry of one version, closed."""
    make("a")
    registry.close()
    return registry.path


def crafted(file: Path, *statements: str) -> Path:
    """The same file after somebody ran these statements in it, with the power to write into its schema."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return file


def rewritten(table: str, old: str, new: str) -> str:
    return f"UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}') WHERE name = '{table}'"


@pytest.mark.parametrize("read", [lambda path: path, Path.read_bytes], ids=["path", "bytes"])
def test_a_registry_is_read(file: Path, read: Callable[[Path], Path | bytes]) -> None:
    before = file.read_bytes()
    with foreign.opened(read(file)) as connection:
        assert connection.execute("SELECT count(*) FROM blob").fetchone() == (1,)
        assert connection.execute("SELECT id, body FROM event").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM tag")
        with pytest.raises(sqlite3.Error, match="attached"):
            connection.execute("ATTACH ':memory:' AS other")
    assert file.read_bytes() == before


def test_a_registry_of_schema_1_is_read(folder: Path) -> None:
    connection = sqlite3.connect(folder / "old.db")
    for name in ("schema-1.sql", "registry-1.sql"):
        connection.executescript((FIXTURES / name).read_text())
    connection.close()
    with foreign.opened(folder / "old.db") as old:
        assert old.execute("SELECT count(*) FROM event").fetchone()[0] > 0


def test_what_is_read_does_not_change_when_the_file_does(make: Make, registry: ifp.Registry) -> None:
    make("a")
    with foreign.opened(registry.path) as connection:
        make("b")
        assert connection.execute("SELECT count(*) FROM version").fetchone() == (1,)


MINE = "evil.db"
VIEW = "CREATE VIEW tag AS SELECT 1 AS version, 'x' AS name"
VIRTUAL = "CREATE VIRTUAL TABLE tag USING fts5(version, name)"
CRAFTED = {
    "a view in a table's place": (["DROP TABLE tag", VIEW], "table tag is missing"),
    "a view in a table's place of another schema": (["DROP TABLE tag", VIEW, "PRAGMA user_version = 1"], "tag is a view"),
    "a view that says it is a table": (
        ["DROP TABLE tag", VIEW, "UPDATE sqlite_schema SET type = 'table' WHERE name = 'tag'"],
        "tag",
    ),
    "two of a name": (["CREATE VIEW gat AS SELECT 1", "UPDATE sqlite_schema SET sql = replace(sql, 'gat', 'tag')"], "evil"),
    "a virtual table": (["DROP TABLE tag", VIRTUAL], "table tag is another one"),
    "a virtual table of another schema": (["DROP TABLE tag", VIRTUAL, "PRAGMA user_version = 1"], "tag is a virtual"),
    "another column": (["ALTER TABLE blob ADD COLUMN more TEXT"], "table blob is another one"),
    "a made up column": (
        [rewritten("event", "CHECK (length(id) = 32)", "AS (zeroblob(32))"), "PRAGMA user_version = 1"],
        "makes up event.id",
    ),
    "no such table": (["DROP TABLE arrival"], "arrival is missing"),
    "a schema that is no SQL": ([rewritten("tag", "CREATE", "CERATE")], "evil"),
    "a newer one that says so": (["PRAGMA user_version = 99", "UPDATE registry SET min_reader = 99"], "newer ifpdb"),
}


@pytest.mark.parametrize("case", CRAFTED)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_crafted_file_is_refused(file: Path, case: str, as_bytes: bool) -> None:
    statements, why = CRAFTED[case]
    place = crafted(file, *statements).rename(file.with_name(MINE))
    with (
        pytest.raises((IntegrityError, Refused), match=why),
        foreign.opened(place.read_bytes() if as_bytes else place, name=MINE),
    ):
        pass


def test_a_newer_file_that_lets_itself_be_read_is(file: Path) -> None:
    crafted(file, "PRAGMA user_version = 99", "ALTER TABLE tag ADD COLUMN colour TEXT", "CREATE TABLE more (x)")
    with foreign.opened(file) as connection:
        assert connection.execute("SELECT count(*) FROM blob").fetchone() == (1,)


def test_triggers_and_views_of_its_own_do_nothing(file: Path) -> None:
    bomb = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    crafted(
        file,
        f"CREATE VIEW endless AS {bomb}",
        "CREATE TRIGGER evil AFTER INSERT ON tag BEGIN DELETE FROM label; END",
        "DROP VIEW versions",
        f"CREATE VIEW versions AS {bomb}",
    )
    with foreign.opened(file) as connection:
        for (table,) in connection.execute(foreign._TABLES.replace(", sql", "")).fetchall():
            connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty|no registry|not a registry"),
        (b"hello" * 100, "not a registry"),
        (b"SQLite format 3\0" + bytes(84), "not a reg|another"),
    ],
)
def test_what_is_no_registry_is_refused(folder: Path, data: bytes, why: str) -> None:
    (folder / "x.db").write_bytes(data)
    for source in (folder / "x.db", data):
        with pytest.raises(IntegrityError, match=why), foreign.opened(source, name="x.db"):
            pass


def test_wal_mode_is_refused(file: Path) -> None:
    crafted(file, "PRAGMA journal_mode = WAL")
    for source in (file, file.read_bytes()):
        with pytest.raises(Refused, match="WAL mode"), foreign.opened(source):
            pass


def test_every_cut_and_many_flips_end_in_an_answer_or_an_error_of_ours(file: Path) -> None:
    data = file.read_bytes()
    said = set()
    for position in range(100, len(data), 977):
        for damaged in (data[:position], data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]):
            try:
                with foreign.opened(damaged, name="x") as connection:
                    connection.execute("PRAGMA integrity_check(blob)").fetchall()
                    said.add("read")
            except IfpError as error:
                said.add(type(error).__name__)
    assert said >= {"read", "IntegrityError"}
    assert said <= {"read", "IntegrityError", "Refused"}


def test_a_hot_journal_is_told(file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO code (digest, body) VALUES (randomblob(32), ?)", [(f'["{"x" * 3000}"]',)] * 50)
    data, journal = file.read_bytes(), Path(f"{file}-journal").read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    file.write_bytes(data)
    Path(f"{file}-journal").write_bytes(journal)
    with pytest.raises(Refused, match="interrupted write"), foreign.opened(file):
        pass
