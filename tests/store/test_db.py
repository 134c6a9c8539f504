"""The database file: what is opened and what is not, transactions, damage, and many processes at once."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ifpdb.errors import Busy, Conflict, IntegrityError, NotFound, Refused, StorageError, UsageError
from ifpdb.store import db as module
from ifpdb.store.db import APPLICATION_ID, SCHEMA_NUMBER, Database, check_header, create, schema_sql

NOBODY = 65534
ADD = "INSERT INTO model (name) VALUES (?)"


@pytest.fixture
def path(folder: Path) -> Path:
    create(folder / "ifp.db")
    return folder / "ifp.db"


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    opened = Database(path, timeout=0.05)
    yield opened
    opened.close()


def add(db: Database, *names: str) -> None:
    with db.write() as tx:
        tx.executemany(ADD, [(name,) for name in names])


def names(db: Database) -> list[str]:
    with db.read() as tx:
        return [name for (name,) in tx.execute("SELECT name FROM model ORDER BY name")]


def pragma(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# -- making one


def test_a_new_registry_is_a_whole_database_with_its_marks(path: Path, folder: Path) -> None:
    assert check_header(path) == SCHEMA_NUMBER
    connection = sqlite3.connect(path)
    facts = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "page_size", "journal_mode")
    }
    assert facts == {"application_id": APPLICATION_ID, "page_size": 4096, "journal_mode": "delete"}
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]


def test_the_schema_is_that_of_schema_sql(path: Path) -> None:
    fresh, made = sqlite3.connect(":memory:"), sqlite3.connect(path)
    fresh.executescript(schema_sql())
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    assert made.execute(query).fetchall() == fresh.execute(query).fetchall()
    fresh.close()
    made.close()


def test_making_it_again_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    create(path)
    assert path.read_bytes() == before


def test_an_empty_file_may_become_a_registry(folder: Path) -> None:
    (folder / "ifp.db").touch()
    create(folder / "ifp.db")
    assert names(Database(folder / "ifp.db")) == []


def test_a_registry_is_not_made_in_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        create(folder / "deep" / "ifp.db")


CREATE = """
import sys
from pathlib import Path
from ifpdb.store.db import Database, create
print("ready", flush=True)
sys.stdin.readline()
create(Path("ifp.db"))
db = Database(Path("ifp.db"))
with db.write() as tx:
    tx.execute("INSERT INTO model (name) VALUES (?)", (sys.argv[1],))
"""


def test_eight_processes_may_make_it_at_the_same_moment(folder: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, f"m{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
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
    assert names(Database(folder / "ifp.db")) == [f"m{i}" for i in range(8)]


# -- what is no registry


def an_empty_file(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("model,score\n" * 50)


def a_short_file(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def an_lfs_pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n")


def another_programs(path: Path) -> None:
    pragma(path, "CREATE TABLE t (a)")


def another_programs_that_is_marked(path: Path) -> None:
    pragma(path, "PRAGMA application_id = 7", "CREATE TABLE registry (min_reader)")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (an_empty_file, "is empty"),
        (text, "no SQLite database"),
        (a_short_file, "no SQLite database"),
        (an_lfs_pointer, "git lfs pull"),
        (another_programs, "another program's"),
        (another_programs_that_is_marked, "another program's"),
    ],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_no_registry_is_refused_and_stays_as_it_is(
    folder: Path, make: Callable[[Path], None], why: str, readonly: bool
) -> None:
    make(folder / "ifp.db")
    before = (folder / "ifp.db").read_bytes()
    with pytest.raises(IntegrityError, match=why):
        Database(folder / "ifp.db", readonly=readonly)
    if before:
        with pytest.raises(IntegrityError, match=why):
            create(folder / "ifp.db")
    assert (folder / "ifp.db").read_bytes() == before
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]


def test_a_missing_registry_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(NotFound, match="ifp init"):
        Database(folder / "ifp.db")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", [".", "file/ifp.db", "x" * 300])
def test_a_path_that_cannot_be_opened_is_a_storage_error(folder: Path, name: str) -> None:
    (folder / "file").touch()
    with pytest.raises(StorageError):
        Database(folder / name)


def test_a_name_with_special_characters_is_a_name(folder: Path) -> None:
    path = folder / "a?b#c%20&mode=memory é.db"
    create(path)
    add(Database(path), "fraud")
    assert names(Database(path, readonly=True)) == ["fraud"]
    assert [entry.name for entry in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("readonly", [False, True])
def test_a_registry_in_wal_mode_is_refused_until_it_is_converted(path: Path, readonly: bool) -> None:
    pragma(path, "PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    with pytest.raises(Refused, match="PRAGMA journal_mode=DELETE"):
        Database(path, readonly=readonly)
    with pytest.raises(Refused, match="WAL"):
        create(path)
    assert path.read_bytes() == before
    pragma(path, "PRAGMA journal_mode = DELETE")
    assert names(Database(path, readonly=readonly)) == []


def test_a_newer_registry_that_allows_it_is_read_and_not_written(path: Path) -> None:
    add(Database(path), "fraud")
    pragma(path, f"PRAGMA user_version = {SCHEMA_NUMBER + 1}")
    newer = Database(path)
    assert names(newer) == ["fraud"]
    with pytest.raises(Refused, match="pip install --upgrade"):
        add(newer, "churn")
    assert names(newer) == ["fraud"]


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_registry_that_does_not_is_refused_with_the_way_on(path: Path, readonly: bool) -> None:
    pragma(path, f"PRAGMA user_version = {SCHEMA_NUMBER + 1}", f"UPDATE registry SET min_reader = {SCHEMA_NUMBER + 1}")
    with pytest.raises(Refused, match=r"newer ifpdb .*pip install --upgrade"):
        Database(path, readonly=readonly)


# -- transactions


def test_a_write_is_seen_by_others_when_its_block_ends(db: Database, path: Path) -> None:
    other = Database(path, readonly=True)
    with db.write() as tx:
        tx.execute(ADD, ("fraud",))
        assert names(other) == []
    assert names(other) == names(db) == ["fraud"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_write_that_raises_leaves_the_file_byte_for_byte(db: Database, path: Path, error: type[BaseException]) -> None:
    before = path.read_bytes()
    with pytest.raises(error), db.write() as tx:
        tx.execute(ADD, ("fraud",))
        raise error
    assert path.read_bytes() == before
    add(db, "churn")
    assert names(db) == ["churn"]


def test_a_broken_rule_is_an_integrity_error(db: Database) -> None:
    with pytest.raises(IntegrityError, match="breaks its rules"):
        add(db, "Not A Name")
    with pytest.raises(IntegrityError, match="breaks its rules"), db.write() as tx:
        tx.execute("INSERT INTO run_dataset (run, role, dataset) VALUES (7, 'train', 7)")


def test_a_read_sees_one_state_and_cannot_be_slipped_a_write(db: Database, path: Path) -> None:
    with db.read() as tx:
        assert tx.execute("SELECT count(*) FROM model").fetchone() == (0,)
        with pytest.raises(Busy):
            add(Database(path, timeout=0.05), "fraud")
        assert tx.execute("SELECT count(*) FROM model").fetchone() == (0,)
    add(db, "fraud")


def test_what_a_read_changed_is_rolled_back(db: Database) -> None:
    with db.read() as tx:
        tx.execute(ADD, ("fraud",))
    assert names(db) == []


def test_a_second_writer_waits_no_longer_than_its_timeout(db: Database, path: Path) -> None:
    with db.write(), pytest.raises(Busy, match=r"another writer held the registry for longer than 0\.05 s"):
        add(Database(path, timeout=0.05), "fraud")
    add(db, "fraud")


LOCKED = """
import sqlite3
connection = sqlite3.connect("ifp.db", timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def test_opening_the_file_a_second_time_does_not_let_go_of_its_locks(db: Database, path: Path) -> None:
    with db.write():
        Database(path).close()
        Database(path, readonly=True).close()
        create(path)
        check_header(path)
        found = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60)
        assert found.stdout == "database is locked\n"


HALF_WRITTEN = """
import sqlite3, sys
connection = sqlite3.connect("ifp.db", isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
file = open("ifp.db", "r+b", buffering=0)  # not closed before the end, which would drop the lock
file.seek(28)
pages = file.read(4)
file.seek(28)
file.write((int.from_bytes(pages, "big") + 9).to_bytes(4, "big"))
print("half", flush=True)
sys.stdin.readline()
file.seek(28)
file.write(pages)
"""


def test_a_file_that_is_just_being_written_is_not_taken_for_a_damaged_one(db: Database, path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", HALF_WRITTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"half\n"
    with pytest.raises(Busy, match=rf"\(process {writer.pid}\)"):
        Database(path, timeout=0.05)
    writer.communicate(b"\n")
    assert names(Database(path)) == names(db) == []


def test_a_readonly_registry_is_not_written(path: Path) -> None:
    db = Database(path, readonly=True)
    with pytest.raises(Refused, match="read-only"):
        add(db, "fraud")
    with pytest.raises(Refused, match="can't be written"), db.read() as tx:
        tx.execute(ADD, ("fraud",))
    assert names(db) == []


def test_a_closed_registry_opens_again_by_itself(db: Database) -> None:
    add(db, "fraud")
    db.close()
    db.close()
    assert names(db) == ["fraud"]


def test_threads_take_turns_with_one_registry(path: Path) -> None:
    db = Database(path)
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for i in range(10):
                add(db, f"m{thread}-{i}")
                assert f"m{thread}-{i}" in names(db)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(names(db)) == 80


# -- the file goes, or is another


def test_a_file_that_was_replaced_is_opened_anew(db: Database, path: Path, folder: Path) -> None:
    add(db, "fraud")
    create(folder / "other.db")
    add(Database(folder / "other.db"), "churn")
    os.replace(folder / "other.db", path)
    assert names(db) == ["churn"]
    add(db, "spam")
    assert names(Database(path)) == ["churn", "spam"]


def test_a_file_that_is_replaced_in_the_middle_of_a_write_loses_nothing_quietly(db: Database, path: Path, folder: Path) -> None:
    for first, last in (((), ("fraud",)), (("fraud",), ())):
        create(folder / "other.db")
        with pytest.raises(Conflict, match="was replaced"), db.write() as tx:
            tx.executemany(ADD, [(name,) for name in first])
            os.replace(folder / "other.db", path)
            tx.executemany(ADD, [(name,) for name in last])
        assert names(db) == []
        assert not path.with_name("ifp.db-journal").exists()


def test_a_file_that_was_removed_is_told(db: Database, path: Path) -> None:
    path.unlink()
    with pytest.raises(NotFound, match="ifp init"):
        names(db)


def test_a_file_that_became_something_else_is_told(db: Database, path: Path, folder: Path) -> None:
    (folder / "other").write_text("no database " * 20)
    os.replace(folder / "other", path)
    with pytest.raises(IntegrityError):
        names(db)


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_told(path: Path, damage: str) -> None:
    add(Database(path), *(f"m{i}" for i in range(500)))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="is damaged"):
        names(Database(path))


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; 0 when it came through."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_has_a_connection_of_its_own(db: Database) -> None:
    add(db, "parent")
    assert in_child(lambda: add(db, "child")) == 0
    add(db, "again")
    assert names(db) == ["again", "child", "parent"]


def test_a_forked_child_does_not_disturb_the_parents_transaction(db: Database, path: Path) -> None:
    many = [f"m{i}" for i in range(2000)]

    def leave() -> None:
        with pytest.raises(Refused, match="forked in the middle of a transaction"):
            add(db, "child")
        db.close()
        gc.collect()

    with db.write() as tx:
        tx.execute("PRAGMA cache_size = 5")
        tx.executemany(ADD, [(name,) for name in many])
        assert path.with_name("ifp.db-journal").exists()
        assert in_child(leave) == 0
        assert path.with_name("ifp.db-journal").exists()
    assert names(db) == sorted(many)
    with db.read() as tx:
        assert tx.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_child_forked_while_another_thread_writes_and_goes_on_is_refused_and_does_not_hang(db: Database, path: Path) -> None:
    writing, forked = threading.Event(), threading.Event()

    def write() -> None:
        with db.write() as tx:
            tx.execute(ADD, ("fraud",))
            writing.set()
            forked.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait(60)

    def read() -> None:
        signal.alarm(20)
        with pytest.raises(Refused, match="forked in the middle of a transaction"):
            names(db)

    try:
        assert in_child(read) == 0
    finally:
        forked.set()
        thread.join()
    assert names(db) == ["fraud"]


def test_a_fork_waits_for_the_transactions_of_other_threads(path: Path) -> None:
    db = Database(path)
    writing = threading.Event()

    def write() -> None:
        for number in range(20):
            with db.write() as tx:
                writing.set()
                tx.execute(ADD, (f"m{number}",))

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait(60)
    children = [in_child(lambda number=number: add(db, f"child{number}")) for number in range(5)]
    thread.join()
    assert children == [0] * 5
    assert len(names(db)) == 25


# -- killed, full, forbidden

KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect("ifp.db", isolation_level=None)
connection.execute("PRAGMA cache_size = 5")  # so that pages reach the file before the commit
connection.execute("BEGIN IMMEDIATE")
for statement in eval(sys.stdin.read()):
    connection.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_transaction(*statements: str) -> None:
    """Run statements on ./ifp.db in another process and kill it before it commits."""
    done = subprocess.run([sys.executable, "-c", KILLED], input=repr(statements), text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_writers_journal_is_rolled_back_by_the_next_reader(path: Path) -> None:
    add(Database(path), "fraud")
    before = path.read_bytes()
    kill_in_transaction(*(f"INSERT INTO model (name) VALUES ('m{i}')" for i in range(5000)))
    journal = path.with_name("ifp.db-journal")
    assert journal.stat().st_size > 0
    assert path.read_bytes() != before

    reader = Database(path, readonly=True)
    assert names(reader) == ["fraud"]
    assert path.read_bytes() == before
    assert not journal.exists()
    with pytest.raises(Refused), reader.read() as tx:
        tx.execute(ADD, ("churn",))
    assert names(Database(path)) == ["fraud"]


@pytest.mark.parametrize("readonly", [False, True])
def test_a_killed_creator_leaves_what_can_be_made_anew(folder: Path, readonly: bool) -> None:
    path = folder / "ifp.db"
    statements = [f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {SCHEMA_NUMBER}"]
    kill_in_transaction(*statements, *module._statements(schema_sql()))
    assert path.stat().st_size > 0
    assert path.with_name("ifp.db-journal").stat().st_size > 0
    with pytest.raises(IntegrityError, match="ifp init"):
        Database(path, readonly=readonly)
    create(path)
    add(Database(path), "fraud")
    assert names(Database(path, readonly=readonly)) == ["fraud"]


@pytest.mark.parametrize("readonly", [False, True])
def test_a_creator_killed_in_its_commit_leaves_what_can_be_made_anew(path: Path, folder: Path, readonly: bool) -> None:
    whole = path.read_bytes()
    path.unlink()
    kill_in_transaction(*module._statements(schema_sql()))
    path.write_bytes(whole)  # all pages are in the file; the journal that would undo them is still there
    with pytest.raises(IntegrityError, match="ifp init"):
        Database(path, readonly=readonly)
    create(path)
    assert names(Database(path, readonly=readonly)) == []


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
    with db.write() as tx:
        tx.executemany("INSERT INTO model (name) VALUES (?)", [(f"m{i}" * 20,) for i in range(1000)])
except StorageError as error:
    print(error)
with db.read() as tx:
    print(tx.execute("SELECT count(*) FROM model").fetchone()[0])
"""


def test_a_full_disk_is_told_and_changes_nothing(db: Database, path: Path, folder: Path) -> None:
    add(db, "fraud")
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=120)
    assert "nothing was changed" in done.stdout
    assert done.stdout.endswith("\n1\n")
    assert done.stderr == ""
    assert path.read_bytes() == before
    assert [entry.name for entry in folder.iterdir()] == ["ifp.db"]


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everything; nobody else may."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A registry in a folder that everybody may look into and nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        create(Path(name) / "ifp.db")
        (Path(name) / "ifp.db").chmod(0o444)
        Path(name).chmod(0o555)
        yield Path(name) / "ifp.db"
        Path(name).chmod(0o755)


def test_a_file_that_may_not_be_written_is_read_and_not_written(shelf: Path) -> None:
    before = shelf.read_bytes()
    with without_privileges():
        db = Database(shelf)
        assert names(db) == names(Database(shelf, readonly=True)) == []
        with pytest.raises(Refused, match="look at the permissions"):
            add(db, "fraud")
    assert shelf.read_bytes() == before


def test_a_file_that_may_not_be_read_is_a_storage_error(shelf: Path) -> None:
    shelf.chmod(0)
    with without_privileges(), pytest.raises(StorageError, match="Permission denied"):
        Database(shelf)


def test_a_folder_that_may_not_be_written_takes_no_registry(shelf: Path) -> None:
    with without_privileges(), pytest.raises(StorageError):
        create(shelf.with_name("other.db"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER z AFTER INSERT ON event BEGIN UPDATE run SET actor = 'mallory'; END",
        "DROP TRIGGER event_never_goes",
    ],
)
def test_a_file_with_other_triggers_is_read_but_not_written(folder: Path, statement: str) -> None:
    create(folder / "ifp.db")
    with closing(sqlite3.connect(folder / "ifp.db")) as other:
        other.execute(statement)
    database = Database(folder / "ifp.db")
    with database.read() as tx:
        assert tx.execute("SELECT count(*) FROM event").fetchone() == (0,)
    with pytest.raises(Refused, match="triggers"), database.write():
        pass


def test_the_triggers_of_a_new_registry_are_ours(folder: Path) -> None:
    create(folder / "ifp.db")
    with Database(folder / "ifp.db").read() as tx:
        assert hashlib.sha256(tx.execute(module.TRIGGERS).fetchone()[0].encode()).hexdigest() == module.OUR_TRIGGERS
