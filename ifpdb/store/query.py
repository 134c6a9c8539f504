"""Read-only SQL for auditors: SQLite itself refuses to write, attach or reach outside, whatever the text says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Refused, UsageError
from .db import Database

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_SAVEPOINT,  # sqlite-utils wraps each query in one
}
_ALLOWED_PRAGMAS = frozenset(
    [
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "user_version",
        "application_id",
        "integrity_check",
        "quick_check",
        "foreign_key_check",
        "compile_options",
        "function_list",
        "pragma_list",
        "collation_list",
    ]
)
_QUERY_IS_WRONG = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, None)
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})


def query(db: Database, sql: str, params: Sequence[Any] | Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The rows of one statement as dictionaries, by sqlite-utils.

    Raises Refused for whatever would change or attach anything, UsageError for SQL that SQLite doesn't understand.
    """
    import sqlite_utils

    with db.read() as connection:
        tool = sqlite_utils.Database(connection, execute_plugins=False, recursive_triggers=False)
        connection.execute("PRAGMA query_only = ON")
        denied = list[int]()

        def authorize(action: int, name: str | None, argument: str | None, _database: str | None, _trigger: str | None) -> int:
            if _may(action, name, argument):
                return sqlite3.SQLITE_OK
            denied.append(action)
            return sqlite3.SQLITE_DENY

        # Connecting a virtual table asks the authorizer for a write to sqlite_master; connected once, it asks no more.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        connection.set_authorizer(authorize)
        connection.set_progress_handler(_look_up, _STEPS)
        try:
            return _rows(tool, connection, sql, params)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from None
            if denied or getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
                raise Refused(f"this query may only read: {error}") from error
            raise _explained(error) from error
        except (ValueError, OverflowError, sqlite3.Warning) as error:
            raise UsageError(f"one statement that gives rows, please: {error}") from None
        finally:
            connection.set_progress_handler(None, 0)
            connection.set_authorizer(None)
            connection.execute("PRAGMA query_only = OFF")


_STEPS = 100_000
"""Steps of SQLite's machine between two looks at what happens outside: about a millisecond."""


def _look_up() -> int:
    """Let Python see a Ctrl-C, which ends the query by an error in here; SQLite itself would compute on for ever."""
    return 0


def _rows(tool: Any, connection: sqlite3.Connection, sql: str, params: Any) -> list[dict[str, Any]]:
    try:
        return list(tool.query(sql, params))
    except ValueError:
        # sqlite-utils turns away by its first word what gives no rows; SQLite says whether it would have been allowed.
        try:
            connection.execute(sql, params or ())
        except sqlite3.OperationalError as error:
            raise Refused(f"this query may only read: {error}") from error
        raise


def _may(action: int, name: str | None, argument: str | None) -> bool:
    if action == sqlite3.SQLITE_FUNCTION:
        return argument not in _REFUSED_FUNCTIONS
    if action == sqlite3.SQLITE_PRAGMA:
        return name in _ALLOWED_PRAGMAS and (argument is None or not name.endswith(("version", "_id")))
    return action in _ALLOWED


def _explained(error: sqlite3.DatabaseError) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code in _QUERY_IS_WRONG:
        return UsageError(f"SQLite doesn't understand this query: {error} (the views are described in docs/audits.md)")
    return error
