"""A registry that schema 1 made: read as it lies there, migrated by the first write, whole or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.errors import IfpError, IntegrityError, Refused
from ifpdb.store import db as module
from ifpdb.store.db import SCHEMA_NUMBER, Database, check_header, schema_sql
from ifpdb.store.migrations import migrate, verify
from ifpdb.upkeep import chain

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SCHEMA_1 = (FIXTURES / "schema-1.sql").read_text()
SCHEMA_2 = (FIXTURES / "schema-2.sql").read_text()
REGISTRY_1 = (FIXTURES / "registry-1.sql").read_text()
NO_ROWS = "INSERT INTO registry VALUES (1, 1); PRAGMA application_id = 0x69667031; PRAGMA user_version = 1;"

NOBODY = 65534
ADD = "INSERT INTO model (name) VALUES (?)"
DEFINITIONS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY 1, 2"

Rows = dict[str, list[str]]


def run(path: Path, script: str) -> None:
    """What another program does to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)


def ask(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the registry of schema 1."""
    path = tmp_path_factory.mktemp("schema-1") / "ifp.db"
    run(path, "BEGIN;" + SCHEMA_1 + REGISTRY_1 + "COMMIT;")
    return path.read_bytes()


@pytest.fixture
def old(folder: Path, made: bytes) -> Path:
    (folder / "ifp.db").write_bytes(made)
    return folder / "ifp.db"


def empty_registry(schema: str) -> sqlite3.Connection:
    """An empty registry of this schema, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(schema + NO_ROWS)
    connection.execute("PRAGMA user_version = 7")
    return connection


def rows(connection: sqlite3.Connection, columns: dict[str, str]) -> Rows:
    return {
        table: sorted(map(repr, connection.execute(f"SELECT {names} FROM {table}").fetchall()))
        for table, names in columns.items()
    }


def columns_of_schema_1() -> dict[str, str]:
    """Every column of every table but `registry`, the generated ones and the rowids included."""
    with closing(empty_registry(SCHEMA_1)) as connection:
        tables = connection.execute(
            "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        ).fetchall()
        found = {}
        for table, without_rowid in tables:
            if not table.startswith("sqlite_") and table != "registry":
                names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
                found[table] = ", ".join(names if without_rowid else ["rowid", *names])
        return found


COLUMNS = columns_of_schema_1()


def facts(path: Path) -> Rows:
    """Every row, as schema 1 had it."""
    with closing(sqlite3.connect(path)) as connection:
        return rows(connection, COLUMNS)


def add(db: Database, *names: str) -> None:
    with db.write() as tx:
        tx.executemany(ADD, [(name,) for name in names])


def names(db: Database) -> list[str]:
    with db.read() as tx:
        return [name for (name,) in tx.execute("SELECT name FROM model ORDER BY name")]


def do_nothing(db: Database) -> None:
    with db.write():
        pass


def is_whole(path: Path) -> bool:
    """Whether the file has the number and the schema of a fresh registry, and SQLite finds nothing wrong with it."""
    with closing(module.fresh_registry()) as fresh:
        return (
            ask(path, DEFINITIONS) == fresh.execute(DEFINITIONS).fetchall()
            and check_header(path) == SCHEMA_NUMBER
            and ask(path, "SELECT min_reader FROM registry") == [(module.MIN_READER,)]
            and ask(path, "PRAGMA integrity_check") == [("ok",)]
            and ask(path, "PRAGMA foreign_key_check") == []
        )


# -- migrated by a write


def test_a_registry_of_schema_2_is_migrated_with_all_that_it_has(folder: Path) -> None:
    """Its tables are today's: only an index is another."""
    path = folder / "ifp.db"
    rows_of_1 = REGISTRY_1.replace("user_version = 1", "user_version = 2")
    run(path, "BEGIN;" + SCHEMA_2 + rows_of_1 + "COMMIT;")
    before = facts(path)
    with ifp.open(path) as registry:
        registry.model("fraud").approve("v1")
        assert is_whole(path)
        assert chain.verify(registry).ok
    after = facts(path)
    assert len(after.pop("event")) == len(before.pop("event")) + 1
    assert {name: found for name, found in after.items() if name not in ("event_parent", "head")} == {
        name: found for name, found in before.items() if name not in ("event_parent", "head")
    }


def test_the_registry_of_schema_1_has_something_of_everything(old: Path) -> None:
    assert check_header(old) == 1
    found = facts(old)
    empty = {table for table in found if not found[table]}
    assert empty == {"environment", "code"}
    assert ask(old, "SELECT DISTINCT stage FROM version ORDER BY 1") == [
        ("archived",),
        ("production",),
        ("shadow",),
        ("staging",),
    ]
    assert ask(old, "SELECT rowid FROM metric ORDER BY 1")[:2] == [(10,), (20,)]


def test_a_write_gives_an_old_file_the_very_schema_of_a_fresh_one_and_keeps_every_row(old: Path, folder: Path) -> None:
    before = facts(old)
    do_nothing(Database(old))
    assert is_whole(old)
    assert facts(old) == before
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]


def test_an_empty_old_registry_becomes_a_fresh_one(folder: Path) -> None:
    path = folder / "ifp.db"
    run(path, SCHEMA_1 + NO_ROWS)
    add(Database(path), "fraud")
    assert is_whole(path)
    assert names(Database(path)) == ["fraud"]


def test_new_columns_and_tables_hold_nothing(old: Path) -> None:
    do_nothing(Database(old))
    assert ask(old, "SELECT DISTINCT dtype, shape FROM feature") == [(None, None)]
    assert ask(old, "SELECT DISTINCT file FROM run_dataset") == [(None,)]
    assert ask(old, "SELECT count(*) FROM dataset_column") == [(0,)]


def test_only_the_first_write_migrates(old: Path) -> None:
    db = Database(old)
    do_nothing(db)
    migrated = old.read_bytes()
    do_nothing(db)
    module._migrate(old, 1)
    assert old.read_bytes() == migrated


def test_a_migrated_registry_goes_on(old: Path, parts: dict[str, Any], folder: Path) -> None:
    (folder / "model.bin").write_text("e")
    with ifp.open() as registry:
        before = registry.resolve("fraud@production").name
        version = registry.register("fraud", "model.bin", **parts | {"metrics": {"f1": 0.99}})
        registry.model("fraud").promote(version.digest, "production", reason="better")
        assert chain.verify(registry).ok
        assert registry.resolve("fraud@production").digest == version.digest
        assert registry.resolve(before).stage == "archived"
    assert is_whole(old)


# -- read as it lies there


@pytest.mark.parametrize("readonly", [False, True])
def test_a_read_answers_as_the_migrated_file_will_and_leaves_the_old_one_byte_for_byte(
    old: Path, folder: Path, readonly: bool
) -> None:
    before, status = old.read_bytes(), old.stat()
    with ifp.open(readonly=readonly) as registry:
        seen = registry.find("fraud@v3").as_dict(), registry.sql("SELECT * FROM features"), chain.verify(registry).as_dict()
    assert old.read_bytes() == before
    assert (old.stat().st_ino, old.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]

    do_nothing(Database(old))
    with ifp.open(readonly=readonly) as registry:
        assert (
            registry.find("fraud@v3").as_dict(),
            registry.sql("SELECT * FROM features"),
            chain.verify(registry).as_dict(),
        ) == seen
    assert seen[2]["ok"]


@pytest.mark.parametrize(
    "command", [["ls"], ["show", "fraud@v3"], ["history", "fraud"], ["at", "2025-11-15"], ["verify"], ["runs"]]
)
def test_commands_that_read_work_on_an_old_file(old: Path, cli: Callable[..., Any], command: list[str]) -> None:
    before = old.read_bytes()
    done = cli(*command, "--json")
    assert (done.code, done.err) == (0, "")
    assert old.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_reader_sees_what_an_older_program_writes_meanwhile(old: Path, readonly: bool) -> None:
    db = Database(old, readonly=readonly)
    assert names(db) == ["churn", "fraud"]
    for name in ("a", "b"):
        run(old, f"INSERT INTO model (name) VALUES ('{name}')")
        assert name in names(db)
    assert check_header(old) == 1


def test_a_reader_of_an_old_file_follows_it_when_another_process_migrates_it(old: Path) -> None:
    reader = Database(old, readonly=True)
    assert names(reader) == ["churn", "fraud"]
    add(Database(old), "spam")
    assert names(reader) == ["churn", "fraud", "spam"]
    assert reader._older is None


def test_a_checkout_of_an_old_file_is_migrated_too(old: Path, made: bytes) -> None:
    db = Database(old)
    add(db, "spam")
    old.unlink()
    old.write_bytes(made)
    assert names(db) == ["churn", "fraud"]
    assert check_header(old) == 1
    add(db, "spam")
    assert is_whole(old)


def test_a_read_of_an_old_file_cannot_be_slipped_a_write(old: Path) -> None:
    db = Database(old)
    with pytest.raises(Refused), db.read() as tx:
        tx.execute(ADD, ("spam",))
    assert names(db) == ["churn", "fraud"]


@pytest.fixture
def shelf(made: bytes) -> Iterator[Path]:
    """The old registry in a folder that everybody may look into and nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ifp.db"
        path.write_bytes(made)
        path.chmod(0o444)
        Path(name).chmod(0o555)
        yield path
        Path(name).chmod(0o755)


def test_an_old_file_that_may_not_be_written_is_read_and_not_migrated(shelf: Path, made: bytes) -> None:
    assert schema_sql(), "read while it may be: a checkout can lie in a folder that is closed to others"
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        db = Database(shelf)
        assert names(db) == names(Database(shelf, readonly=True)) == ["churn", "fraud"]
        with pytest.raises(Refused, match="look at the permissions"):
            add(db, "spam")
        assert names(db) == ["churn", "fraud"]
    finally:
        if user == 0:
            os.seteuid(user)
    assert shelf.read_bytes() == made


# -- all or nothing

NOT_READ = [
    ("CREATE TABLE notes (text)", Refused, "no table notes"),
    ("ALTER TABLE run ADD COLUMN mood TEXT", Refused, r"no column run\.mood"),
    ("ALTER TABLE tag ADD COLUMN colour TEXT", Refused, r"no column tag\.colour"),
    ("PRAGMA ignore_check_constraints = ON; UPDATE dataset SET size = -1", IntegrityError, "breaks a rule"),
]
STILL_READ = [
    ("DELETE FROM model WHERE key = 9; DELETE FROM blob WHERE key = 1", IntegrityError, "a row of blob that is not there"),
    ("PRAGMA ignore_check_constraints = ON; UPDATE param SET value = '{'", IntegrityError, "CHECK constraint failed in param"),
    (
        "DROP TRIGGER version_stage_follows_log; UPDATE version SET stage = 'shadow' WHERE key = 1",
        IntegrityError,
        "1 of its ver",
    ),
]


@pytest.mark.parametrize(("harm", "error", "why"), NOT_READ + STILL_READ)
def test_what_cannot_be_migrated_stays_as_it_was(old: Path, harm: str, error: type[IfpError], why: str) -> None:
    run(old, harm)
    before = old.read_bytes()
    with pytest.raises(
        error, match=rf"ifp\.db \(schema 1\) was not brought to schema {SCHEMA_NUMBER}: .*{why}.*Nothing was changed"
    ):
        add(Database(old), "spam")
    assert old.read_bytes() == before


@pytest.mark.parametrize("harm", [harm for harm, *_ in STILL_READ])
def test_a_damaged_old_registry_can_be_looked_at(old: Path, harm: str) -> None:
    run(old, harm)
    assert names(Database(old)) == ["churn", "fraud"]


@pytest.mark.parametrize(
    "habit",
    [
        "ANALYZE",
        "CREATE VIEW mine AS SELECT * FROM versions",
        "CREATE INDEX mine ON run(actor)",
        "CREATE TRIGGER mine AFTER INSERT ON run BEGIN SELECT 1; END",
        "PRAGMA auto_vacuum = INCREMENTAL; VACUUM",
        "PRAGMA page_size = 8192; VACUUM",
    ],
)
def test_what_holds_no_facts_is_no_hindrance(old: Path, habit: str) -> None:
    run(old, habit)
    before = facts(old)
    do_nothing(Database(old))
    assert is_whole(old)
    assert facts(old) == before


FULL = """
import resource, signal
from pathlib import Path
from ifpdb.errors import StorageError
from ifpdb.store.db import Database
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = Database(Path("ifp.db"))
limit = Path("ifp.db").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with db.write():
        pass
except StorageError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_told_and_changes_nothing(old: Path, made: bytes, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=120)
    assert "nothing was changed" in done.stdout
    assert done.stderr == ""
    assert old.read_bytes() == made
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]


KILLED = """
import os, signal, sqlite3, sys
from itertools import count
from pathlib import Path
from ifpdb.store.db import Database

db, connect, steps, last = Database(Path("ifp.db")), sqlite3.connect, count(), int(sys.argv[1])

def step():
    if next(steps) == last:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(*args, **options):
    connection = connect(*args, **options)
    connection.execute("PRAGMA cache_size = 5")  # so that pages reach the file before the commit
    connection.set_progress_handler(step, 10)
    return connection

sqlite3.connect = watched
with db.write():
    pass
print(next(steps))
"""


def migrate_and_die(step: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", KILLED, str(step)], capture_output=True, text=True, timeout=120)


def test_a_migration_that_is_killed_anywhere_leaves_an_old_file(old: Path, made: bytes) -> None:
    before, steps, torn = facts(old), int(migrate_and_die(-1).stdout), 0
    assert is_whole(old)
    for i in range(20):
        old.write_bytes(made)
        assert migrate_and_die(steps * i // 20).returncode == -signal.SIGKILL
        torn += old.read_bytes() != made
        assert names(Database(old, readonly=True)) == ["churn", "fraud"]
        assert old.read_bytes() == made
        do_nothing(Database(old))
        assert is_whole(old)
        assert facts(old) == before
    assert torn > 5


MANY = """
import sys
from pathlib import Path
from ifpdb.store.db import Database
print("ready", flush=True)
sys.stdin.readline()
db = Database(Path("ifp.db"))
for _ in range(5):
    with db.read() as tx:
        assert tx.execute("SELECT count(*) FROM features").fetchone()[0] > 5
with db.write() as tx:
    tx.execute("INSERT INTO model (name) VALUES (?)", (sys.argv[1],))
"""


def test_eight_processes_may_write_to_an_old_file_at_the_same_moment(old: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, f"m{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for i in range(8)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    assert [child.communicate()[1] for child in children] == [b""] * 8
    assert names(Database(old)) == ["churn", "fraud", *(f"m{i}" for i in range(8))]
    assert is_whole(old)


def test_a_file_that_a_newer_program_migrates_while_it_is_open_is_no_longer_written(old: Path) -> None:
    db = Database(old)
    add(db, "spam")
    run(old, f"PRAGMA user_version = {SCHEMA_NUMBER + 1}")
    with pytest.raises(Refused, match="pip install --upgrade"):
        add(db, "ham")
    assert names(db) == ["churn", "fraud", "spam"]


# -- what a later schema may change without a line of code


def change(old: str, new: str) -> str:
    text = schema_sql()
    assert text.count(old) == 1, old
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old_text", "new_text"),
    [
        ("kind IN ('table', 'file',", "kind IN ('stream', 'table', 'file',"),
        ("  name TEXT NOT NULL UNIQUE\n", "  note TEXT NOT NULL DEFAULT 'none',\n  name TEXT NOT NULL UNIQUE\n"),
        ("  at      TEXT NOT NULL,  ", "  unit    TEXT, at TEXT NOT NULL,  "),
        ("  PRIMARY KEY (version, name)\n) STRICT, WITHOUT ROWID;", "  PRIMARY KEY (version, name)\n) STRICT;"),
        ("  body       TEXT NOT NULL", "  word TEXT AS (body) STORED,\n  body       TEXT NOT NULL"),
        ("CREATE INDEX tag_name ON tag(name, version);", "CREATE INDEX tags_by_name ON tag(name, version);"),
        ("CREATE INDEX tag_name ON tag(name, version);", "CREATE INDEX tag_name ON tag(name);"),
        ("CREATE INDEX tag_name ON tag(name, version);", ""),
        ("'ifpdb: a model is kept for ever'", "'ifpdb: a model stays'"),
        ("ON a.event = e.key ORDER BY e.at, e.id;", "ON a.event = e.key ORDER BY e.at DESC;"),
    ],
)
def test_a_changed_schema_needs_no_code(old: Path, old_text: str, new_text: str) -> None:
    before = facts(old)
    with (
        closing(sqlite3.connect(old, isolation_level=None)) as connection,
        closing(empty_registry(change(old_text, new_text))) as fresh,
    ):
        migrate(connection, fresh)
        verify(connection, fresh)
        assert connection.execute(DEFINITIONS).fetchall() == fresh.execute(DEFINITIONS).fetchall()
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)
        changed = rows(connection, COLUMNS)
    if "PRIMARY KEY (version, name)" in old_text:
        assert len(changed.pop("tag")) == len(before.pop("tag")) > 0
    assert changed == before


@pytest.mark.parametrize(
    ("old_text", "new_text", "error", "why"),
    [
        ("  name TEXT NOT NULL UNIQUE\n", "  note TEXT NOT NULL,\n  name TEXT\n", IntegrityError, "breaks a rule"),
        ("INDEX run_model ON run(model, started_at)", "UNIQUE INDEX run_model ON run(model)", IntegrityError, "a rule"),
        ("(length(xxh3) = 16)", "(1) UNIQUE, CHECK (size > 1)", IntegrityError, "breaks a rule"),
        ("(length(xxh3) = 16)", "(1), UNIQUE (size) ON CONFLICT IGNORE", IntegrityError, "not every row of blob"),
        ("  error         TEXT,", "  failure       TEXT,", Refused, r"no column run\.error"),
    ],
)
def test_a_schema_that_has_no_room_for_the_facts_is_refused(
    old: Path, old_text: str, new_text: str, error: type[IfpError], why: str
) -> None:
    with (
        closing(sqlite3.connect(old, isolation_level=None)) as connection,
        closing(empty_registry(change(old_text, new_text))) as fresh,
        pytest.raises(error, match=why),
    ):
        migrate(connection, fresh)


def test_verify_notices_a_schema_that_is_not_quite_the_new_one(old: Path) -> None:
    with (
        closing(sqlite3.connect(old, isolation_level=None)) as connection,
        closing(empty_registry(schema_sql())) as fresh,
    ):
        migrate(connection, fresh)
        connection.execute("DROP INDEX tag_name")
        with pytest.raises(IntegrityError, match="index definitions"):
            verify(connection, fresh)
