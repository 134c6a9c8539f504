"""What SQLite and the file system say of a registry's file, turned into an error that tells what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ..errors import Busy, Conflict, IntegrityError, Refused, StorageError
from .filesystem import writer_of

TIMEOUT = 60.0
"""Seconds that a transaction waits for others before it gives up with Busy."""


@contextmanager
def explained(path: Path, timeout: float = TIMEOUT) -> Iterator[None]:
    """Turn what SQLite says into an error that tells what to do."""
    try:
        yield
    except sqlite3.Error as error:
        explain(error, path, timeout)
    except UnicodeDecodeError as error:  # Python can't decode what SQLite quotes of a damaged schema
        if b"malformed database schema" not in error.object:
            raise
        raise IntegrityError(f"{path} is damaged (its schema is no text): restore it from git or a backup") from error


@contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Turn what the file system says into an error that tells of which file."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{error.filename or path}: {error.strerror or error}") from error


def replaced(path: Path) -> Conflict:
    return Conflict(f"{path} was replaced or removed while it was being written: the file that is there now has none of it")


def explain(error: sqlite3.Error, path: Path, timeout: float = TIMEOUT) -> NoReturn:
    """Raise the IfpError that an sqlite3.Error means; decided by SQLite's code, never by its text."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        who = f" (process {found})" if (found := writer_of(path)) else ""
        raise Busy(f"{path}: another writer held the registry for longer than {timeout:g} s{who}; try again") from error
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise IntegrityError(
            f"{path} is damaged ({error}): restore it from git or a backup (docs/reliability.md says how to save what is left)"
        ) from error
    if primary == sqlite3.SQLITE_FULL:
        raise StorageError(f"{path}: the disk is full; nothing was changed; free some space and try again") from error
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        raise replaced(path) from error
    if primary == sqlite3.SQLITE_READONLY:
        raise Refused(f"{path} can't be written ({error}): look at the permissions of the file and its folder") from error
    if code == sqlite3.SQLITE_IOERR_DIR_FSYNC:
        raise StorageError(
            f"{path}: the change was made, but its folder can't be synced ({error}): a power cut could undo it"
        ) from error
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        raise StorageError(f"{path}: the file system failed ({error}); nothing was changed") from error
    if primary == sqlite3.SQLITE_CONSTRAINT:
        raise IntegrityError(f"{path}: the registry refused a row that breaks its rules: {error}") from error
    raise error
