"""Facts that are keyed by their content and shared between runs: models, blobs, schemas, environments, code.

Each `keep_…` returns the local key of the row, which it inserts when it is not there yet.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from ..capture.schema.features import FeatureSchema, schema_body
from ..digest import JSON, canonical, code_body, sha256, to_bytes
from ..records import Blob, Code

MODEL = "SELECT key FROM model WHERE name = ?"
NEW_MODEL = "INSERT INTO model (name) VALUES (?) RETURNING key"


def keep_model(tx: sqlite3.Connection, name: str) -> int:
    return _keep(tx, MODEL, (name,), NEW_MODEL, (name,))


def find_model(tx: sqlite3.Connection, name: str) -> int | None:
    row = tx.execute(MODEL, (name,)).fetchone()
    return row[0] if row else None


BLOB = "SELECT key FROM blob WHERE digest = ?"
NEW_BLOB = "INSERT INTO blob (digest, size, xxh3) VALUES (?, ?, ?) RETURNING key"


def keep_blob(tx: sqlite3.Connection, blob: Blob) -> int:
    identity = to_bytes(blob.digest)
    return _keep(tx, BLOB, (identity,), NEW_BLOB, (identity, blob.size, bytes.fromhex(blob.xxh3)))


def blob_key(tx: sqlite3.Connection, digest: str) -> int:
    """The key of a blob that is on record."""
    return int(tx.execute(BLOB, (to_bytes(digest),)).fetchone()[0])


SCHEMA = "SELECT key FROM feature_schema WHERE digest = ?"
NEW_SCHEMA = "INSERT INTO feature_schema (digest, body) VALUES (?, ?) RETURNING key"
NEW_FEATURE = "INSERT INTO feature VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def keep_schema(tx: sqlite3.Connection, schema: FeatureSchema) -> int:
    identity = to_bytes(schema.digest)
    row = tx.execute(SCHEMA, (identity,)).fetchone()
    if row:
        return int(row[0])
    key = int(tx.execute(NEW_SCHEMA, (identity, schema_body(schema.features).decode())).fetchone()[0])
    rows = [
        (key, f.position, f.name, f.type, f.nullable, f.min, f.max, _json(f.categories), f.dtype, _json(f.shape))
        for f in schema.features
    ]
    tx.executemany(NEW_FEATURE, rows)
    return key


ENVIRONMENT = "SELECT key FROM environment WHERE digest = ?"
NEW_ENVIRONMENT = "INSERT INTO environment (digest, body) VALUES (?, ?) RETURNING key"


def keep_environment(tx: sqlite3.Connection, environment: Mapping[str, JSON]) -> int | None:
    if not environment:
        return None
    body = canonical(environment)
    identity = to_bytes(sha256(body))
    return _keep(tx, ENVIRONMENT, (identity,), NEW_ENVIRONMENT, (identity, body.decode()))


CODE = "SELECT key FROM code WHERE digest = ?"
NEW_CODE = "INSERT INTO code (digest, body) VALUES (?, ?) RETURNING key"


def keep_code(tx: sqlite3.Connection, code: Code) -> int | None:
    if code.digest is None:
        return None
    identity = to_bytes(code.digest)
    return _keep(tx, CODE, (identity,), NEW_CODE, (identity, code_body(code.files).decode()))


def _json(values: Sequence[JSON] | None) -> str | None:
    return None if values is None else json.dumps(values)


def _keep(tx: sqlite3.Connection, find: str, identity: tuple[object, ...], insert: str, values: tuple[object, ...]) -> int:
    row = tx.execute(find, identity).fetchone()
    return int(row[0] if row else tx.execute(insert, values).fetchone()[0])
