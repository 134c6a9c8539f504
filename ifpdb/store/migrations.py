"""A registry that an older ifpdb made, given today's schema: every row, every key and every word of the log stays.

There is one migration for all steps: a table whose text differs from a fresh registry's is made anew and its rows are
copied, column by column; new columns hold their defaults. What has no place in the new schema is refused, never lost.
The caller holds the transaction, and rolls it back when anything here raises (docs/decisions/008).
"""

from __future__ import annotations

import sqlite3
from sqlite3 import Connection

from ..errors import IntegrityError, Refused

_OBJECTS = "SELECT name, sql FROM sqlite_schema WHERE type = ? AND name NOT GLOB 'sqlite_*' ORDER BY rowid"
_COLUMNS = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid"
_HAVE_ROWIDS = "SELECT max(wr) = 0 FROM pragma_table_list WHERE schema = 'main' AND name IN (?, ?)"
_STAGES = "SELECT count(*) FROM version v LEFT JOIN stage_by_log s ON s.version = v.key WHERE v.stage IS NOT s.stage"


def migrate(old: Connection, fresh: Connection) -> None:
    """Make the schema of `old` that of `fresh`, an empty registry; foreign keys must be off in `old`.

    Raises Refused for a table or column that `fresh` lacks, IntegrityError for rows that its rules turn away.
    """
    old.execute("PRAGMA legacy_alter_table = ON")  # a table that is renamed away takes no reference with it
    for type in ("trigger", "view"):
        for name in _objects(old, type):
            old.execute(f"DROP {type} {_quoted(name)}")
    try:
        _change_tables(old, fresh)
        _change_indexes(old, fresh)
    except sqlite3.IntegrityError as error:
        raise IntegrityError(f"a row breaks a rule of the new schema ({error})") from error
    for type in ("view", "trigger"):
        for text in _objects(fresh, type).values():
            old.execute(text)
    old.execute("UPDATE registry SET min_reader = ?", fresh.execute("SELECT min_reader FROM registry").fetchone())
    old.execute(f"PRAGMA user_version = {fresh.execute('PRAGMA user_version').fetchone()[0]}")


def verify(migrated: Connection, fresh: Connection) -> None:
    """Hold what `migrate` made against a fresh registry and against itself. Raises IntegrityError with what is wrong."""
    for type in ("table", "index", "view", "trigger"):
        if _objects(migrated, type) != _objects(fresh, type):
            raise IntegrityError(f"its {type} definitions are not those of the new schema")
    for table, row, parent, _ in migrated.execute("PRAGMA foreign_key_check"):
        raise IntegrityError(f"row {row} of {table} names a row of {parent} that is not there")
    found = migrated.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise IntegrityError(f"SQLite finds it damaged: {found}")
    if wrong := migrated.execute(_STAGES).fetchone()[0]:
        raise IntegrityError(f"{wrong} of its versions are in a stage that the log doesn't tell (ifp verify)")


def _change_tables(old: Connection, fresh: Connection) -> None:
    before, after = _objects(old, "table"), _objects(fresh, "table")
    for name in before:
        if name not in after:
            raise Refused(f"the new schema has no table {name}: move it into another file")
    for name, text in after.items():
        if name not in before:
            old.execute(text)
        elif before[name] != text:
            _rebuild(old, name, text)


def _rebuild(old: Connection, name: str, text: str) -> None:
    """Make a table anew and copy its rows. A rename into place would leave another text in sqlite_schema."""
    source = f"{name} before"
    old.execute(f"ALTER TABLE {_quoted(name)} RENAME TO {_quoted(source)}")
    old.execute(text)
    columns = [column for (column,) in old.execute(_COLUMNS, (source,))]
    known = {column for (column,) in old.execute(_COLUMNS, (name,))}
    for column in columns:
        if column not in known:
            raise Refused(f"the new schema has no column {name}.{column}")
    if old.execute(_HAVE_ROWIDS, (name, source)).fetchone()[0]:
        columns.append("rowid")
    copied = ", ".join(map(_quoted, columns))
    old.execute(f"INSERT INTO {_quoted(name)} ({copied}) SELECT {copied} FROM {_quoted(source)}")
    if _count(old, name) != _count(old, source):
        raise IntegrityError(f"not every row of {name} was copied")
    old.execute(f"DROP TABLE {_quoted(source)}")


def _change_indexes(old: Connection, fresh: Connection) -> None:
    after = _objects(fresh, "index")
    for name, text in _objects(old, "index").items():
        if after.get(name) == text:
            del after[name]
        else:
            old.execute(f"DROP INDEX {_quoted(name)}")
    for text in after.values():
        old.execute(text)


def _objects(connection: Connection, type: str) -> dict[str, str]:
    return dict(connection.execute(_OBJECTS, (type,)).fetchall())


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
