"""The database file: opened with the settings that make it safe, read and written only through `read` and `write`.

Nothing else begins or commits a transaction. A write begins with BEGIN IMMEDIATE, so that it never waits with a read
lock in its hands; the journal is a rollback journal with synchronous=EXTRA, so that the .db is whole on disk whenever
no write is in progress and a commit that was acknowledged survives a power cut (docs/decisions/001).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from ..errors import Busy, IfpError, IntegrityError, NotFound, Refused, StorageError, UsageError

APPLICATION_ID = 0x69667031  # "ifp1"
SCHEMA_NUMBER = 1
MIN_READER = 1
MIN_SQLITE = (3, 37, 0)
TIMEOUT = 60.0
"""Seconds that a write waits for another writer before it gives up with Busy."""

_MAGIC = b"SQLite format 3\0"
_STATEMENTS = 256


class Database:
    """One registry file, held open by one process; threads take turns."""

    def __init__(self, path: Path, *, readonly: bool = False, timeout: float | None = None) -> None:
        """Open the file at `path`; `create` makes one. Raises what `check_header` raises, and NotFound."""
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise UsageError(f"SQLite {sqlite3.sqlite_version} is too old: ifpdb needs 3.37 or newer")
        self.path = path
        self.readonly = readonly
        self._timeout = TIMEOUT if timeout is None else timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int, int] | None = None
        self._number = SCHEMA_NUMBER
        with _explained(path):
            self._connect()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the registry and can't change it."""
        with self._lock, _explained(self.path):
            connection = self._connect()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that commits when the block ends and leaves nothing behind when it raises."""
        if self.readonly:
            raise Refused(f"{self.path} was opened read-only: open it without readonly=True to write")
        with self._lock, _explained(self.path):
            connection = self._connect()
            if self._number > SCHEMA_NUMBER:
                raise Refused(f"{self.path} was made by a newer ifpdb (schema {self._number}): {_UPGRADE}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file. The database can be used again; it opens anew."""
        with self._lock:
            if self._connection is not None:
                if self._opened_as is not None and self._opened_as[0] == os.getpid():
                    self._connection.close()
                self._connection = None

    def _connect(self) -> sqlite3.Connection:
        """The connection, made anew after a fork and when the file was replaced (as `git checkout` does)."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self.close()
            raise NotFound(f"there is no registry at {self.path}: make one with ifp init") from None
        identity = (os.getpid(), status.st_dev, status.st_ino)
        if self._connection is None or identity != self._opened_as:
            self.close()
            self._number = check_header(self.path)
            connection = _open(self.path, readonly=self.readonly, timeout=self._timeout)
            self._connection, self._opened_as = connection, identity
        return self._connection


def create(path: Path) -> None:
    """Make an empty registry at `path`, or do nothing when there is one; any number of processes may do so at once.

    Raises IntegrityError for a file that is something else, StorageError where nothing can be written.
    """
    with _explained(path):
        if path.exists() and path.stat().st_size:
            check_header(path)
            return
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}: make it first")
        connection = sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)
        try:
            _configure(connection)
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA application_id").fetchone()[0] == 0:
                for statement in _statements(schema_sql()):
                    connection.execute(statement)
                connection.execute("INSERT INTO registry VALUES (1, ?)", (MIN_READER,))
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_NUMBER}")
            connection.execute("COMMIT")
        finally:
            connection.close()


def schema_sql() -> str:
    """The text of schema.sql: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "schema.sql"
    return (inside if inside.exists() else package.parent / "schema.sql").read_text(encoding="utf-8")


def check_header(path: Path) -> int:
    """The schema's number in the file's first 100 bytes, read without SQLite.

    Raises IntegrityError for what is no registry, Refused for one in WAL mode or one too new to read.
    """
    with open(path, "rb") as file:
        header = file.read(100)
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


_UPGRADE = "upgrade with pip install --upgrade ifpdb"


def _lfs_hint(header: bytes) -> str:
    return " but a Git LFS pointer; run git lfs pull" if header.startswith(b"version https://git-lfs") else ""


def _open(path: Path, *, readonly: bool, timeout: float) -> sqlite3.Connection:
    connection = _open_as(path, "ro" if readonly else "rw", timeout)
    try:
        _check_readable(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        if not readonly or error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        # A writer was killed and left a hot journal: only a connection that may write can roll it back.
        connection = _open_as(path, "rw", timeout)
        _check_readable(connection, path)
        connection.execute("PRAGMA query_only = ON")
    return connection


def _open_as(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    _configure(connection)
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA cell_size_check = ON")


def _check_readable(connection: sqlite3.Connection, path: Path) -> None:
    number = connection.execute("PRAGMA user_version").fetchone()[0]
    least = connection.execute("SELECT min_reader FROM registry").fetchone()
    if number > SCHEMA_NUMBER and (least is None or least[0] > SCHEMA_NUMBER):
        raise Refused(f"{path} was made by a newer ifpdb (schema {number}) and can't be read by this one: {_UPGRADE}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: executescript would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into an error that tells what to do."""
    try:
        yield
    except IfpError:
        raise
    except sqlite3.Error as error:
        explain(error, path)
    except OSError as error:
        raise StorageError(f"{error.filename or path}: {error.strerror or error}") from error


def explain(error: sqlite3.Error, path: Path) -> NoReturn:
    """Raise the IfpError that an sqlite3.Error means; decided by SQLite's code, never by its text."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise Busy(f"{path}: another writer held the registry for longer than {TIMEOUT:.0f} s; try again") from error
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise IntegrityError(
            f"{path} is damaged ({error}): restore it from git or a backup; sqlite3 {path.name} .recover saves what is left"
        ) from error
    if primary == sqlite3.SQLITE_FULL:
        raise StorageError(f"{path}: the disk is full; nothing was changed; free some space and try again") from error
    if primary == sqlite3.SQLITE_READONLY:
        raise Refused(f"{path} can't be written ({error}): look at the permissions of the file and its folder") from error
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        raise StorageError(f"{path}: the file system failed ({error}); nothing was changed") from error
    if primary == sqlite3.SQLITE_CONSTRAINT:
        raise IntegrityError(f"{path}: the registry refused a row that breaks its rules: {error}") from error
    raise error
