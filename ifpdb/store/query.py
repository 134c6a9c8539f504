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
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
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
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})


def query(db: Database, sql: str, params: Sequence[Any] | Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The rows of one statement as dictionaries, by sqlite-utils.

    Raises Refused for whatever would change or attach anything, UsageError for SQL that SQLite doesn't understand.
    """
    import sqlite_utils

    with db.read() as connection:
        tool = sqlite_utils.Database(connection, execute_plugins=False, recursive_triggers=False)
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorize)
        try:
            return list(tool.query(sql, params))
        except sqlite3.DatabaseError as error:
            raise _explained(error) from error
        except (ValueError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
            raise UsageError(f"one statement that gives rows, please: {error}") from None
        finally:
            connection.set_authorizer(None)
            connection.execute("PRAGMA query_only = OFF")


def _authorize(action: int, name: str | None, argument: str | None, _database: str | None, _trigger: str | None) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if argument in _REFUSED_FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and name in _ALLOWED_PRAGMAS:
        return sqlite3.SQLITE_OK if argument is None or not name.endswith(("version", "_id")) else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _explained(error: sqlite3.DatabaseError) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return Refused(f"this query may only read: {error}")
    if isinstance(error, sqlite3.OperationalError | sqlite3.ProgrammingError | sqlite3.InterfaceError) and code in (1, None):
        return UsageError(f"SQLite doesn't understand this query: {error} (the views are described in docs/audits.md)")
    return error
