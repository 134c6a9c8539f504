"""The database file: opened with the settings that make it safe, read and written only through `read` and `write`.

Nothing else begins or commits a transaction. A write begins with BEGIN IMMEDIATE, so that it never waits with a read
lock in its hands; the journal is a rollback journal with synchronous=EXTRA, so that the .db is whole on disk whenever
no write is in progress and a commit that was acknowledged survives a power cut (docs/decisions/001). A file of an older
ifpdb is read through a migrated copy; the first write migrates the file (docs/decisions/008). Writers stand in line
(turns.py). SQLite waits for a lock in short slices, so that Ctrl-C is answered and the whole wait is within the timeout.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote
from weakref import WeakSet

from ..errors import Busy, IntegrityError, NotFound, Refused, UsageError
from ..settings import blob_folder
from . import migrations, turns
from .explaining import TIMEOUT, explained, reachable, replaced

APPLICATION_ID = 0x69667031  # "ifp1"
SCHEMA_NUMBER = 3
MIN_READER = 1
MIN_SQLITE = (3, 37, 0)
_SLICE = 0.05
"""Seconds that SQLite waits by itself, deaf to signals."""
_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_STATEMENTS = 256
_LEFT_TO_PARENT: list[sqlite3.Connection] = []
"""Connections that came along in a fork: kept, since closing one could roll back what its owner is about to commit."""
_IN_USE_BY_PARENT: set[tuple[int, int]] = set()
"""Files that a fork came upon in a transaction. SQLite takes its parent's locks on them for its own, which the child lacks."""

T = TypeVar("T")


class Database:
    """One registry file, held open by one process; threads take turns."""

    def __init__(self, path: Path, *, readonly: bool = False, timeout: float | None = None) -> None:
        """Open the file at `path`; `create` makes one. Raises what `check_header` raises, and NotFound."""
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise UsageError(f"SQLite {sqlite3.sqlite_version} is too old: ifpdb needs 3.37 or newer")
        self.path = path
        self.readonly = readonly
        self._timeout = TIMEOUT if timeout is None else timeout
        self._line = blob_folder(path)
        self.lock = threading.RLock()  # held by the thread that is at work in it
        self._connection: sqlite3.Connection | None = None
        self._older: sqlite3.Connection | None = None  # to an older file, when _connection is to its migrated copy
        self._copied = 0  # the older file's data_version before it was copied
        self.opened_as: tuple[int, int] | None = None  # device and inode, while it is open
        _OPEN.add(self)
        with explained(path, self._timeout):
            self._connect(self._until())

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the registry, as it is when the block begins, and can't change it."""
        until = self._until()
        with self._alone(until), explained(self.path, self._timeout):
            connection = self._connect(until)
            with _ended_by(connection):
                connection.execute("BEGIN")
                _patiently(until, lambda: _number(connection))  # takes the lock
                yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that commits when the block ends and leaves nothing behind when it raises."""
        if self.readonly:
            raise Refused(f"{self.path} was opened read-only: open it without readonly=True to write")
        until, process = self._until(), os.getpid()
        with turns.turn(self._line, until), self._alone(until), explained(self.path, self._timeout):
            connection = self._connect(until)
            while self._older is not None:
                _migrate(self.path, until)
                self.close()
                connection = self._connect(until)
            with _ended_by(connection):
                _patiently(until, lambda: connection.execute("BEGIN IMMEDIATE"))
                began = time.monotonic()
                _check_writable(connection, self.path)
                yield connection
                if process != os.getpid():
                    raise Refused(f"{self.path}: a process forked inside a transaction can't commit it, its parent can")
                until += time.monotonic() - began
                self._check_in_place()
                _patiently(until, lambda: connection.execute("COMMIT"))
                self._check_in_place()

    def close(self) -> None:
        """Let go of the file, when no other thread is at work in it. The database can be used again; it opens anew."""
        with self.lock:
            for connection in (self._connection, self._older):
                if connection is not None:
                    connection.close()
            self._connection = self._older = self.opened_as = None

    def _check_in_place(self) -> None:
        """SQLite looks for this only before it changes its first page, and would write on into a file that has no name."""
        try:
            status = os.stat(self.path)
        except OSError:
            raise replaced(self.path) from None
        if (status.st_dev, status.st_ino) != self.opened_as:
            raise replaced(self.path)

    def _until(self) -> float:
        return time.monotonic() + self._timeout

    @contextmanager
    def _alone(self, until: float) -> Iterator[None]:
        """Keep other threads out. Raises Busy when one of them is at work for longer than the timeout."""
        lock = self.lock
        if not lock.acquire(timeout=max(0, until - time.monotonic())):
            raise Busy(f"{self.path}: another thread was at work in it for longer than {self._timeout:g} s; try again")
        try:
            yield
        finally:
            lock.release()

    def leave_to_parent(self, *, idle: bool) -> None:
        """Begin anew in a forked child; `idle` is whether no thread was at work in it."""
        connections = [connection for connection in (self._connection, self._older) if connection is not None]
        if self.opened_as and any(connection.in_transaction for connection in connections):
            _IN_USE_BY_PARENT.add(self.opened_as)
        _LEFT_TO_PARENT.extend(connections)
        self._connection = self._older = self.opened_as = None
        if not idle:
            self.lock = threading.RLock()

    def _connect(self, until: float) -> sqlite3.Connection:
        """The connection, made anew when the file was replaced (as `git checkout` does), or changed after it was copied."""
        if self._connection is not None and self._connection.in_transaction:
            raise UsageError(f"{self.path}: this thread is in a transaction: end it before the next one begins")
        with reachable(self.path):
            return _patiently(until, lambda: self._connected(until))

    def _connected(self, until: float) -> sqlite3.Connection:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self.close()
            raise NotFound(f"there is no registry at {self.path}: make one with ifp init") from None
        identity = (status.st_dev, status.st_ino)
        if identity in _IN_USE_BY_PARENT:
            raise Refused(
                f"{self.path} can't be used here: this process was forked in the middle of a transaction on it; fork before "
                f"that begins, or start the process by spawn"
            )
        if self._connection is None or identity != self.opened_as or self._is_stale():
            self.close()
            check_header(self.path, until=until)
            with _LOOKING:
                self.opened_as = identity
            try:
                return self._opened()
            except BaseException:
                self.close()
                raise
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        connection = self._connection = _open(self.path, readonly=self.readonly)
        if _number(connection) < SCHEMA_NUMBER:
            self._older, self._copied = connection, _data_version(connection)
            self._connection = _migrated_copy(connection, self.path)
        return self._connection

    def _is_stale(self) -> bool:
        """Whether an older file has changed after it was copied."""
        return self._older is not None and _data_version(self._older) != self._copied


_OPEN: WeakSet[Database] = WeakSet()
_LOOKING = threading.Lock()
"""Held while a file is looked at from outside SQLite, and while a database says that it is about to open one."""
_MAKING = threading.Lock()
"""Held while a file is made: its maker's connection belongs to no Database, so that `_is_open_here` doesn't see it."""
_FORK_PATIENCE = 1.0
"""Seconds that a fork waits for other threads to end their transactions."""
_FORKING = threading.RLock()
_held_over_fork: list[threading.RLock | threading.Lock] = []


def _before_fork() -> None:
    _FORKING.acquire()
    until = time.monotonic() + _FORK_PATIENCE
    locks: list[threading.RLock | threading.Lock] = [*(database.lock for database in list(_OPEN)), _MAKING, _LOOKING]
    _held_over_fork.extend(lock for lock in locks if lock.acquire(timeout=max(0, until - time.monotonic())))


def _after_fork() -> None:
    while _held_over_fork:
        _held_over_fork.pop().release()
    _FORKING.release()


def _after_fork_in_child() -> None:
    for database in list(_OPEN):
        database.leave_to_parent(idle=database.lock in _held_over_fork)
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def create(path: Path) -> None:
    """Make an empty registry at `path`, or do nothing when there is one; any number of processes may do so at once.

    Raises IntegrityError for a file that is something else, StorageError where nothing can be written.
    """
    with _MAKING, explained(path), reachable(path):
        if path.exists() and path.stat().st_size and not _is_unfinished(path):
            check_header(path)
            return
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}: make it first")
        connection = sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)
        try:
            _configure(connection)
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                _fill(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
        check_header(path)


def _fill(connection: sqlite3.Connection) -> None:
    """Make an empty database an empty registry."""
    for statement in _statements(schema_sql()):
        connection.execute(statement)
    connection.execute("INSERT INTO registry VALUES (1, ?)", (MIN_READER,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_NUMBER}")


def _migrate(path: Path, until: float) -> None:
    """Give an older file today's schema, in one transaction; do nothing when another process was faster."""
    with closing(_patiently(until, lambda: _open_as(path, "rw"))) as connection, closing(fresh_registry()) as fresh:
        connection.execute("PRAGMA foreign_keys = OFF")  # inside a transaction it can't be set
        _patiently(until, lambda: connection.execute("BEGIN IMMEDIATE"))
        number = _number(connection)
        if number < SCHEMA_NUMBER:
            with _migrating(path, number):
                migrations.migrate(connection, fresh)
                migrations.verify(connection, fresh)
        _patiently(until, lambda: connection.execute("COMMIT"))


def _migrated_copy(older: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """What an older file holds, in today's schema, as a temporary database; in memory until it is large.

    It isn't verified, so that a damaged registry can be looked at.
    """
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS)
    try:
        older.execute("BEGIN")
        number = _number(older)  # from here on the file stays as it is, and waiting for that ended with the timeout
        older.backup(copy)
        older.execute("ROLLBACK")
        copy.execute("PRAGMA foreign_keys = OFF")
        with closing(fresh_registry()) as fresh, _migrating(path, number):
            migrations.migrate(copy, fresh)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    return copy


def fresh_registry() -> sqlite3.Connection:
    """An empty registry in memory: what a migration aims at."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _fill(connection)
    return connection


@contextmanager
def _migrating(path: Path, number: int) -> Iterator[None]:
    """Say of what stops a migration which file it was, and that it is as it was."""
    try:
        yield
    except (IntegrityError, Refused) as error:
        raise type(error)(
            f"{path} (schema {number}) was not brought to schema {SCHEMA_NUMBER}: {error}. Nothing was changed"
        ) from error


def _is_unfinished(path: Path) -> bool:
    """Whether a journal lies beside the file that would make it empty again: its maker is at work, or was killed."""
    try:
        with open(f"{path}-journal", "rb") as file:
            header = file.read(20)
    except FileNotFoundError:
        return False
    return header[:8] == _JOURNAL_MAGIC and header[16:20] == bytes(4)


@cache
def schema_sql() -> str:
    """The text of schema.sql: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "schema.sql"
    return (inside if inside.exists() else package.parent / "schema.sql").read_text(encoding="utf-8")


def check_header(path: Path, *, until: float | None = None) -> int:
    """The schema's number in the file's header.

    Raises IntegrityError for what is no registry, Refused for one in WAL mode, Busy where only SQLite may look and has to
    wait for writers for longer than time.monotonic() says `until` (default: 60 s from now).
    """
    header = _header(path)
    if header is None:
        with explained(path):
            return _patiently(time.monotonic() + TIMEOUT if until is None else until, lambda: _number_by_sqlite(path))
    if header and header[68:72] != APPLICATION_ID.to_bytes(4, "big") and _is_unfinished(path):
        raise IntegrityError(f"{path} was not finished, its maker was killed: run ifp init to make it anew")
    if not header:
        raise IntegrityError(f"{path} is empty, no registry: remove it and run ifp init")
    if len(header) < 100 or header[:16] != _MAGIC:
        raise IntegrityError(f"{path} is not a registry: it is no SQLite database{_lfs_hint(header)}")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise IntegrityError(f"{path} is another program's SQLite database, not a registry: name another file with --db")
    if 2 in header[18:20]:
        raise Refused(
            f"{path} is in WAL mode, where a committed file may lack its newest rows: convert it with "
            f"sqlite3 {path.name} 'PRAGMA journal_mode=DELETE'"
        )
    return int.from_bytes(header[60:64], "big")


def _header(path: Path) -> bytes | None:
    """The file's first 100 bytes; None where this process has it open, since to close it would drop locks."""
    with _LOOKING:
        if _is_open_here(os.stat(path)):
            return None
        with open(path, "rb") as file:
            return file.read(100)


def _is_open_here(status: os.stat_result) -> bool:
    """Whether this process has the file open. To close a descriptor of it would then drop every POSIX lock on it.

    A write in progress would stand open to other processes: https://www.sqlite.org/howtocorrupt.html §2.2.
    """
    return any(database.opened_as == (status.st_dev, status.st_ino) for database in list(_OPEN))


def _number_by_sqlite(path: Path) -> int:
    """The schema's number of a registry whose header was looked at when it was first opened.

    Read with SQLite's locks: the first page of a file that another process is just writing may promise pages to come.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=_SLICE, isolation_level=None)) as connection:
        return _number(connection)


def begin_reading(connection: sqlite3.Connection) -> None:
    """See one state of a file from now on, for as long as the connection is open: its writers wait."""
    connection.execute("BEGIN")
    _number(connection)  # takes the lock


def _number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _data_version(connection: sqlite3.Connection) -> int:
    """A number that is another one after somebody else has changed the file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


_UPGRADE = "upgrade with pip install --upgrade ifpdb"


def _lfs_hint(header: bytes) -> str:
    return " but a Git LFS pointer; run git lfs pull" if header.startswith(b"version https://git-lfs") else ""


def _open(path: Path, *, readonly: bool) -> sqlite3.Connection:
    try:
        return _open_as(path, "ro" if readonly else "rw")
    except sqlite3.OperationalError as error:
        if not readonly or error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
    # A writer was killed and left a hot journal: only a connection that may write can roll it back.
    connection = _open_as(path, "rw")
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open_as(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=_SLICE, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    try:
        _configure(connection)
        _check_readable(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA cell_size_check = ON")


def _check_readable(connection: sqlite3.Connection, path: Path) -> None:
    number = _number(connection)
    if number == 0:  # what its header promised was rolled back a moment ago
        raise IntegrityError(f"{path} was not finished, its maker was killed: run ifp init to make it anew")
    least = connection.execute("SELECT min_reader FROM registry").fetchone()
    if number > SCHEMA_NUMBER and (least is None or least[0] > SCHEMA_NUMBER):
        raise Refused(f"{path} was made by a newer ifpdb (schema {number}) and can't be read by this one: {_UPGRADE}")


def _check_writable(connection: sqlite3.Connection, path: Path) -> None:
    """A newer ifpdb may have migrated the file a moment ago, while it was open here."""
    number = _number(connection)
    if number > SCHEMA_NUMBER:
        raise Refused(f"{path} was made by a newer ifpdb (schema {number}): {_UPGRADE}")
    found = connection.execute(TRIGGERS).fetchone()[0]
    if hashlib.sha256(found.encode()).hexdigest() != OUR_TRIGGERS:
        raise Refused(f"{path} has triggers that ifpdb didn't make, or lacks its own; a write would run them: see ifp fsck")


TRIGGERS = """
    SELECT json_group_array(name || ' ' || sql)
      FROM (SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name)"""
OUR_TRIGGERS = "5b231e6a4b716051d6bbe16888a10e7181ed3a1ee2319de3857469de57890e0d"
"""SHA-256 of what TRIGGERS gives in a new registry: the only SQL of a file that a write would run."""


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: executescript would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _patiently(until: float, work: Callable[[], T]) -> T:
    """Do it again while SQLite says that others are at work, until that time."""
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.001)


@contextmanager
def _ended_by(connection: sqlite3.Connection) -> Iterator[None]:
    """Roll back what the block has begun and not committed; what a parent has begun is left to it."""
    process = os.getpid()
    try:
        yield
    finally:
        if process == os.getpid() and connection.in_transaction:
            connection.execute("ROLLBACK")
