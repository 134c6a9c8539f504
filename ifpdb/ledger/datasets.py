"""Datasets: rows keyed by the digest of the data or by a pointer to it, with a table's columns and first rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from ..digest import JSON, to_bytes, to_text
from ..records import Column, Dataset

BY_DIGEST = "SELECT key FROM dataset WHERE digest = ?"
BY_POINTER = "SELECT key FROM dataset WHERE pointer = ?"
INSERT = "INSERT INTO dataset (digest, pointer, kind, size, rows) VALUES (?, ?, ?, ?, ?) RETURNING key"
NEW_PREFIX = "INSERT INTO dataset_prefix VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def keep(tx: sqlite3.Connection, dataset: Dataset) -> int:
    """The key of a dataset, which is inserted when it is not there yet; its columns too, once they are known.

    The digests of its first rows are added to those that are there: each time it is described, others may be asked for.
    """
    key = find(tx, dataset.identity)
    if key is None:
        identity = None if dataset.digest is None else to_bytes(dataset.digest)
        row = (identity, None if identity else dataset.uri, dataset.kind, dataset.size, dataset.rows)
        key = int(tx.execute(INSERT, row).fetchone()[0])
    if dataset.columns:
        _keep_columns(tx, key, dataset)
    tx.executemany(NEW_PREFIX, [(key, count, to_bytes(digest)) for count, digest in dataset.prefixes])
    return key


def find(tx: sqlite3.Connection, identity: str) -> int | None:
    """The key of the dataset with this digest or pointer."""
    digest = identity.startswith("sha256:")
    row = tx.execute(BY_DIGEST if digest else BY_POINTER, (to_bytes(identity) if digest else identity,)).fetchone()
    return row[0] if row else None


HAS_COLUMNS = "SELECT 1 FROM dataset_column WHERE dataset = ?"
NEW_COLUMN = "INSERT INTO dataset_column VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _keep_columns(tx: sqlite3.Connection, key: int, dataset: Dataset) -> None:
    if tx.execute(HAS_COLUMNS, (key,)).fetchone():
        return
    rows = [
        (
            *(key, c.position, c.name, c.type, to_bytes(c.digest), c.nulls, c.categorical, c.min, c.max),
            *(_json(c.values), _json(c.edges or None), _json(c.counts or None)),
        )
        for c in dataset.columns
    ]
    tx.executemany(NEW_COLUMN, rows)


def _json(values: Sequence[JSON] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, separators=(",", ":"))


COLUMNS = """
    SELECT c.position, c.name, c.type, c.digest, c.nulls, c.categorical, c.min, c.max, c."values", c.edges, c.counts
      FROM dataset_column c JOIN dataset d ON d.key = c.dataset WHERE d.digest = ? ORDER BY c.position"""


def columns(tx: sqlite3.Connection, digest: str) -> tuple[Column, ...]:
    """The columns of the table with this digest; none where they are not known."""
    found = []
    for position, name, type, identity, nulls, categorical, low, high, values, edges, counts in tx.execute(
        COLUMNS, (to_bytes(digest),)
    ):
        lists = (None if values is None else tuple(json.loads(values)), _numbers(edges), _numbers(counts))
        found.append(Column(position, name, type, to_text(identity), nulls, bool(categorical), low, high, *lists))
    return tuple(found)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(json.loads(text)) if text else ()


MOST_LENGTHS = 8
"""At how many row counts a table is compared with those before it: each costs hashing its first rows once more."""

LENGTHS = f"""
    SELECT d.rows
      FROM (SELECT key, ordinal FROM version WHERE model = (SELECT key FROM model WHERE name = ?)
             ORDER BY ordinal DESC LIMIT 50) v
      JOIN run_dataset u
        ON u.run = (SELECT r.key FROM run r WHERE r.version = v.key ORDER BY r.registered_at, r.id LIMIT 1)
      JOIN dataset d ON d.key = u.dataset
     WHERE u.role NOT IN ('test', 'holdout') AND d.kind = 'table' AND d.rows > 0
     GROUP BY d.rows ORDER BY max(v.ordinal) DESC, d.rows DESC LIMIT {MOST_LENGTHS}"""


def lengths_of(tx: sqlite3.Connection, model: str) -> tuple[int, ...]:
    """How many rows the training tables of a model's newest versions have, the newest first: each once, at most 8.

    Its next training data may have grown from these. None for a model that is not there.
    """
    return tuple(row[0] for row in tx.execute(LENGTHS, (model,)))


SAME_ROWS = """
    SELECT max(p.rows) FROM dataset a JOIN dataset_prefix p ON p.dataset = a.key
      JOIN dataset_prefix q ON q.digest = p.digest JOIN dataset b ON b.key = q.dataset
     WHERE a.digest = ? AND b.digest = ?"""


def same_rows(tx: sqlite3.Connection, a: str, b: str) -> int | None:
    """How many first rows two tables share, as far as their prefixes tell; None where not one is known to be the same.

    It is the row count of one of the two where that one is wholly the beginning of the other, if the longer was described
    with the shorter's among its `lengths`; else a multiple of 65,536 or a length that both were asked for.
    """
    found: int | None = tx.execute(SAME_ROWS, (to_bytes(a), to_bytes(b))).fetchone()[0]
    return found
