"""Another registry's file, opened so that it can do no harm: a revision from git, a backup, a colleague's copy.

What is read is a private copy, so that nobody changes it meanwhile and it may be migrated. A file may say anything in its
schema; but a query that names only base tables runs none of its triggers and views, and `opened` refuses a file where
such a table is not the one that ifpdb makes. Rows are still what somebody wrote: their digests have to be checked by
whoever takes them over. https://www.sqlite.org/security.html has the reasons for each setting.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from sqlite3 import Connection
from urllib.parse import quote

from ..errors import IntegrityError, Refused
from . import db, migrations
from .explaining import TIMEOUT, explain, reachable

LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1 << 28,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
"""More than any query of ifpdb needs, less than a crafted file could make use of."""

_TABLES = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
_KINDS = "SELECT name, type FROM pragma_table_list WHERE schema = 'main'"
_COLUMNS = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = ?"
_STORED, _GENERATED = 0, 2


@contextmanager
def opened(source: Path | bytes, *, name: str | None = None, in_place: bool = False) -> Iterator[Connection]:
    """A connection to a private copy of a registry that came from elsewhere; `name` is what errors call it.

    With `in_place` a file of today's schema is read where it lies, and its writers wait as long as it is open: for who reads
    little of a large one.

    Read base tables only, with SQL of your own. In a file of another schema number, read stored columns only: what is
    generated there is not what it is here. Raises IntegrityError for what is no registry, is damaged or differs from
    what ifpdb makes, Refused for one in WAL mode, one of a newer ifpdb that this one can't read, or one that has an
    interrupted write.
    """
    called = Path(name or (source if isinstance(source, Path) else "registry"))
    try:
        with closing(_read(source, called) if in_place and isinstance(source, Path) else _copied(source, called)) as connection:
            _defend(connection)
            _hold_against_ours(connection, called)
            yield connection
    except UnicodeDecodeError as error:  # what SQLite says of a damaged schema quotes it
        raise _strange(called, "its schema is damaged") from error
    except sqlite3.Error as error:
        try:
            explain(error, called)
        except sqlite3.Error:
            raise _strange(called, str(error)) from error


def _read(source: Path, called: Path) -> Connection:
    with reachable(source):
        number = db.check_header(source)
    if number != db.SCHEMA_NUMBER:
        return _copied(source, called)
    connection = _readonly(source)
    try:
        db.begin_reading(connection)
    except BaseException as error:
        connection.close()
        _say_interrupted(error, called)
        raise
    return connection


def _readonly(source: Path) -> Connection:
    uri = f"file:{quote(os.fsencode(source.absolute()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=TIMEOUT, isolation_level=None)


def _say_interrupted(error: BaseException, called: Path) -> None:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
        raise Refused(f"{called} has an interrupted write: open it once with ifp --db {called} verify") from error


def _copied(source: Path | bytes, called: Path) -> Connection:
    if isinstance(source, bytes):
        check_header(source, called)
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            connection.deserialize(source)
        except BaseException:
            connection.close()
            raise
        return connection
    with reachable(source):
        db.check_header(source)
    connection = sqlite3.connect("", isolation_level=None)
    try:
        with closing(_readonly(source)) as other:
            other.backup(connection)
    except BaseException as error:
        connection.close()
        _say_interrupted(error, called)
        raise
    return connection


def in_our_schema(connection: Connection, called: str) -> None:
    """Give a private copy that an older ifpdb made today's schema. Raises Refused for one of a newer ifpdb."""
    number = connection.execute("PRAGMA user_version").fetchone()[0]
    if number > db.SCHEMA_NUMBER:
        raise Refused(
            f"{called} was made by a newer ifpdb (schema {number}), whose rows this one may not know: upgrade with "
            f"pip install --upgrade ifpdb"
        )
    if number < db.SCHEMA_NUMBER:
        connection.execute("PRAGMA query_only = OFF")
        with closing(db.fresh_registry()) as fresh:
            migrations.migrate(connection, fresh)
            migrations.verify(connection, fresh)
        connection.execute("PRAGMA query_only = ON")


def is_registry(data: bytes) -> bool:
    """Whether a file that begins with these bytes says that it is a registry."""
    return data[:16] == b"SQLite format 3\0" and data[68:72] == db.APPLICATION_ID.to_bytes(4, "big")


def check_header(data: bytes, called: Path) -> None:
    """As `db.check_header`, for bytes that are in no file."""
    if not is_registry(data):
        raise IntegrityError(f"{called} is not a registry")
    if 2 in data[18:20]:
        raise Refused(f"{called} is in WAL mode, where a committed file may lack its newest rows")


def _defend(connection: Connection) -> None:
    for limit, value in LIMITS.items():
        connection.setlimit(limit, value)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    for setting in ("cell_size_check = ON", "mmap_size = 0", "query_only = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {setting}")
    try:
        connection.execute("SELECT 1 FROM sqlite_schema")
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        # An older SQLite takes JSON functions for unsafe and can't even parse our own CHECKs so. What is parsed isn't run,
        # what is run is held against our own, and no function of this connection could do more than read.
        connection.execute("PRAGMA trusted_schema = ON")


def _hold_against_ours(connection: Connection, called: Path) -> None:
    """See that each table of ours is, in this file, a table of ours."""
    number, texts = connection.execute("PRAGMA user_version").fetchone()[0], dict(connection.execute(_TABLES))
    kinds = {} if number == db.SCHEMA_NUMBER else dict(connection.execute(_KINDS))
    for table, (text, stored) in _ours().items():
        if number == db.SCHEMA_NUMBER:  # a table that was made by our words is our table
            if texts.get(table) != text:
                raise _strange(called, f"its table {table} is {'another one' if table in texts else 'missing'}")
        elif kinds.get(table, "table") != "table":
            raise _strange(called, f"its {table} is a {kinds[table]}")
        elif made_up := stored & _columns(connection, table, _GENERATED):
            raise _strange(called, f"it makes up {table}.{min(made_up)}")
    least = connection.execute("SELECT min_reader FROM registry").fetchone()
    if number > db.SCHEMA_NUMBER and (least is None or least[0] > db.SCHEMA_NUMBER):
        raise Refused(
            f"{called} was made by a newer ifpdb (schema {number}) and can't be read by this one: upgrade with "
            f"pip install --upgrade ifpdb"
        )


@cache
def _ours() -> dict[str, tuple[str, frozenset[str]]]:
    """The text and the stored columns of each table as this ifpdb makes it."""
    with closing(db.fresh_registry()) as fresh:
        texts = fresh.execute(_TABLES).fetchall()
        return {table: (text, _columns(fresh, table, _STORED)) for table, text in texts}


def _columns(connection: Connection, table: str, kind: int) -> frozenset[str]:
    return frozenset(column for (column,) in connection.execute(_COLUMNS, (table, kind)))


def _strange(called: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{called} is not built as ifpdb builds a registry: {why}")
