"""Rows that are keyed by their content, carried over: each is hashed anew, so that a row can't say other than its digest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any

from .. import digest
from ..capture.data.table import table_digest
from ..capture.schema.features import schema_body, schema_from_body
from ..errors import IntegrityError
from ..ledger import datasets, facts

BLOB = "SELECT digest, size, xxh3 FROM blob WHERE key = ?"
DATASET = "SELECT digest, pointer, kind, size, rows FROM dataset WHERE key = ?"
COLUMNS = """
    SELECT position, name, type, digest, nulls, categorical, min, max, "values", edges, counts
      FROM dataset_column WHERE dataset = ? ORDER BY position"""
NO_COLUMNS = "DELETE FROM dataset_column WHERE dataset = ?"
PREFIXES = "SELECT rows, digest FROM dataset_prefix WHERE dataset = ?"
SCHEMA = "SELECT digest, body FROM feature_schema WHERE key = ?"
ENVIRONMENT = "SELECT digest, body FROM environment WHERE key = ?"
CODE = "SELECT digest, body FROM code WHERE key = ?"


@dataclass(slots=True)
class Facts:
    """The facts of `theirs`, put into ours when they are asked for by their key there; each answer is the key here.

    `called` is what errors call theirs. Raises IntegrityError for a fact that is not what its digest was made of.
    """

    tx: Connection
    theirs: Connection
    called: str
    _known: dict[tuple[str, int], int] = field(default_factory=dict)

    def blob(self, key: int) -> int:
        """Only the row: whether the bytes are here is another question."""
        return self._once("blob", key, lambda: self._blob(key))

    def dataset(self, key: int) -> int:
        """With its columns and the digests of its first rows."""
        return self._once("dataset", key, lambda: self._dataset(key))

    def schema(self, key: int) -> int:
        """With its features, which are read out of its text."""
        return self._once("schema", key, lambda: self._schema(key))

    def environment(self, key: int) -> int:
        return self._once("environment", key, lambda: self._body(ENVIRONMENT, key, facts.ENVIRONMENT, facts.NEW_ENVIRONMENT))

    def code(self, key: int) -> int:
        return self._once("code", key, lambda: self._body(CODE, key, facts.CODE, facts.NEW_CODE))

    def _once(self, kind: str, key: int, bring: Any) -> int:
        if (kind, key) not in self._known:
            self._known[kind, key] = bring()
        return self._known[kind, key]

    def _blob(self, key: int) -> int:
        row = self._row(BLOB, key)
        found = self.tx.execute(facts.BLOB, row[:1]).fetchone() or self.tx.execute(facts.NEW_BLOB, row).fetchone()
        return int(found[0])

    def _dataset(self, key: int) -> int:
        identity, pointer, *_, rows = row = self._row(DATASET, key)
        columns, name = self.theirs.execute(COLUMNS, (key,)).fetchall(), digest.to_text(identity) if identity else pointer
        if columns and table_digest(rows, [column[1:4] for column in columns]) != name:
            raise self._wrong("the columns of a dataset", name)
        found = datasets.find(self.tx, name)
        here = int(self.tx.execute(datasets.INSERT, row).fetchone()[0]) if found is None else found
        self._columns(here, columns)
        prefixes = self.theirs.execute(PREFIXES, (key,)).fetchall()
        self.tx.executemany(datasets.NEW_PREFIX, [(here, *prefix) for prefix in prefixes])
        return here

    def _columns(self, here: int, columns: list[tuple[Any, ...]]) -> None:
        """Profiles of equal tables may differ by who took them: one of them stays, the same on either side."""
        held = self.tx.execute(COLUMNS, (here,)).fetchall()
        if columns and (not held or _text(columns) < _text(held)):
            self.tx.execute(NO_COLUMNS, (here,))
            self.tx.executemany(datasets.NEW_COLUMN, [(here, *column) for column in columns])

    def _schema(self, key: int) -> int:
        identity, body = self._hashed(SCHEMA, key)
        try:
            schema = schema_from_body(body, identity)
            if schema_body(schema.features).decode() != body:
                raise ValueError("it says more than a schema does")
        except (ValueError, TypeError, KeyError) as error:
            raise self._wrong("a feature schema", identity) from error
        return facts.keep_schema(self.tx, schema)

    def _body(self, query: str, key: int, find: str, insert: str) -> int:
        identity, body = self._hashed(query, key)
        name = digest.to_bytes(identity)
        found = self.tx.execute(find, (name,)).fetchone() or self.tx.execute(insert, (name, body)).fetchone()
        return int(found[0])

    def _hashed(self, query: str, key: int) -> tuple[str, str]:
        identity, body = self._row(query, key)
        if digest.sha256(body.encode()) != digest.to_text(identity):
            raise self._wrong("the text of a fact", digest.to_text(identity))
        return digest.to_text(identity), body

    def _row(self, query: str, key: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self.theirs.execute(query, (key,)).fetchone()
        if row is None:
            raise IntegrityError(f"{self.called}: a row is named that isn't there: see ifp --db {self.called} fsck")
        return row

    def _wrong(self, what: str, name: str) -> IntegrityError:
        return IntegrityError(f"{self.called}: {what} is not what {name[:19]} was made of: see ifp --db {self.called} fsck")


def _text(rows: list[tuple[Any, ...]]) -> str:
    return json.dumps(rows, default=bytes.hex)
