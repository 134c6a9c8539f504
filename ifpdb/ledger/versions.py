"""Versions: found by their parts, inserted once, read back whole; their tags and labels."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..capture.schema.features import schema_from_body
from ..digest import JSON, missing_parts, to_bytes, to_text
from ..records import Artifact, ArtifactSource, Measurement, ModelSummary, Version
from . import runs
from .metrics import measurements_of, newest

FIND = "SELECT key FROM version WHERE sha256 = ? AND model = ?"
NEXT_ORDINAL = "SELECT coalesce(max(ordinal), 0) + 1 FROM version WHERE model = ?"
INSERT = """
    INSERT INTO version (model, digest, manifest, ordinal, weights, schema) VALUES (?, ?, ?, ?, ?, ?) RETURNING key"""
REGISTERED = "UPDATE run SET version = ?, registered_at = ? WHERE key = ?"


def find(tx: sqlite3.Connection, model: int, digest: str) -> int | None:
    """The key of a model's version with this digest."""
    row = tx.execute(FIND, (digest, model)).fetchone()
    return row[0] if row else None


def insert(
    tx: sqlite3.Connection,
    *,
    model: int,
    digest: str,
    manifest: bytes,
    weights: int | None,
    schema: int | None,
    ordinal: int | None = None,
) -> int:
    """A new version, in no stage yet; its key. Its number is the next of its model, unless it has one."""
    if ordinal is None:
        ordinal = tx.execute(NEXT_ORDINAL, (model,)).fetchone()[0]
    row = (model, to_bytes(digest), manifest.decode(), ordinal, weights, schema)
    return int(tx.execute(INSERT, row).fetchone()[0])


def set_run(tx: sqlite3.Connection, *, run: int, version: int, at: str) -> None:
    """Say that a run registered this version at that time."""
    tx.execute(REGISTERED, (version, at, run))


OWN_RUN = "SELECT key, id FROM run WHERE version = ? ORDER BY registered_at, id LIMIT 1"


def own_run(tx: sqlite3.Connection, version: int) -> int:
    """The earliest run that registered a version."""
    return int(tx.execute(OWN_RUN, (version,)).fetchone()[0])


def own_run_id(tx: sqlite3.Connection, version: int) -> str:
    """The id of the earliest run that registered a version."""
    return str(tx.execute(OWN_RUN, (version,)).fetchone()[1])


VERSIONS = """
    SELECT v.key, m.name, v.digest, v.ordinal, v.stage, v.manifest, s.digest, s.body, r.key, r.id, r.seed,
           r.registered_at, r.actor, r.code_commit, r.code_dirty, r.code_diff, c.digest, c.body, e.body,
           w.digest, a.size, a.format, a.kind, r.fit
      FROM json_each(?) wanted JOIN version v ON v.key = wanted.value JOIN model m ON m.key = v.model
      JOIN run r ON r.key = (SELECT f.key FROM run f WHERE f.version = v.key ORDER BY f.registered_at, f.id LIMIT 1)
      LEFT JOIN feature_schema s ON s.key = v.schema LEFT JOIN code c ON c.key = r.code
      LEFT JOIN environment e ON e.key = r.environment LEFT JOIN blob w ON w.key = v.weights
      LEFT JOIN artifact a ON a.run = r.key AND a.name = 'model'
     ORDER BY wanted.key"""
RUNS_OF = """
    SELECT r.version, r.key, r.id FROM json_each(?) w JOIN run r ON r.version = w.value
     ORDER BY r.version, r.registered_at, r.id"""
TAGS_OF = "SELECT t.version, t.name FROM json_each(?) w JOIN tag t ON t.version = w.value ORDER BY t.version, t.name"
LABELS_OF = "SELECT l.version, l.name FROM json_each(?) w JOIN label l ON l.version = w.value ORDER BY l.version, l.name"


def read(tx: sqlite3.Connection, keys: Sequence[int], source: ArtifactSource | None, *, created: bool = False) -> list[Version]:
    """The Version records behind these keys, in their order."""
    wanted = str(list(keys))  # integers: a list of them is written as in JSON
    rows = tx.execute(VERSIONS, (wanted,)).fetchall()
    version_of, names_of = dict[int, int](), dict[int, list[str]]()
    for version, run, name in tx.execute(RUNS_OF, (wanted,)):
        version_of[run] = version
        names_of.setdefault(version, []).append(name)
    measured = dict[int, list[Measurement]]()
    by_run = measurements_of(tx, str(list(version_of)))
    for run, version in version_of.items():
        measured.setdefault(version, []).extend(by_run[run])
    own = str([row[8] for row in rows])
    params, data, parents = runs.params_of(tx, own), runs.datasets_of(tx, own), runs.parents_of(tx, own)
    tags, labels = _grouped(tx, TAGS_OF, wanted), _grouped(tx, LABELS_OF, wanted)
    return [
        Version(
            model=row[1],
            digest=to_text(row[2]),
            run=row[9],
            ordinal=row[3],
            stage=row[4],
            missing=missing_parts(json.loads(row[5])),
            weights=Artifact("model", to_text(row[19]), row[20], row[21], row[22]) if row[19] else None,
            data=tuple(data[row[8]]),
            schema=_schema(row[7], to_text(row[6])) if row[6] else None,
            params=params[row[8]],
            seed=row[10],
            measurements=newest(measured.get(row[0], ())),
            code=runs.read_code(row[13:18]),
            environment=json.loads(row[18]) if row[18] else {},
            fit=json.loads(row[23]) if row[23] else None,
            tags=tuple(tags.get(row[0], ())),
            labels=tuple(labels.get(row[0], ())),
            parents=tuple(parents[row[8]]),
            created_at=row[11],
            actor=row[12],
            runs=tuple(names_of[row[0]]),
            manifest=row[5],
            created=created,
            source=source,
        )
        for row in rows
    ]


_schema = lru_cache(maxsize=64)(schema_from_body)
"""Many versions share a schema, and a FeatureSchema never changes: read each of the last few once."""


def _grouped(tx: sqlite3.Connection, query: str, wanted: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for key, name in tx.execute(query, (wanted,)):
        found.setdefault(key, []).append(name)
    return found


AUTHORS = "SELECT DISTINCT actor FROM run WHERE version = ?"


def authors(tx: sqlite3.Connection, version: int) -> frozenset[str]:
    """Everybody whose run registered a version."""
    return frozenset(row[0] for row in tx.execute(AUTHORS, (version,)))


def select(
    tx: sqlite3.Connection,
    model: int,
    *,
    stage: str | None = None,
    tag: str | None = None,
    conditions: Iterable[tuple[str, str, float]] = (),
    limit: int = -1,
) -> list[int]:
    """Keys of a model's versions, the newest first; a limit of -1 is none.

    A condition (metric, op, number) holds where some run of the version has the metric's last value so; `op` is one
    of the keys of OPERATORS.
    """
    # CROSS JOIN keeps the order of the tables, and + an index from being used: left alone, SQLite goes through every
    # value of a metric once for each version (33 s for 20,000).
    clauses, bound = ["v.model = ?"], list[JSON]([model])
    source, order, version = "version v", "v.ordinal DESC, v.digest", "v.key"
    if stage is not None:
        clauses.append("v.stage = ?")
        bound.append(stage)
    if tag is not None:
        source, version = "tag t CROSS JOIN version v ON v.key = t.version", "t.version"
        clauses.append("t.name = ?")
        bound.append(tag)
    for metric, op, number in conditions:
        clauses.append(
            "EXISTS (SELECT 1 FROM run r CROSS JOIN metric x ON x.run = r.key"
            f" WHERE r.version = {version} AND x.name = ? AND +x.last {OPERATORS[op]} ?)"
        )
        bound += [metric, number]
    query = f"SELECT v.key FROM {source} WHERE {' AND '.join(clauses)} ORDER BY {order} LIMIT ?"
    return [row[0] for row in tx.execute(query, (*bound, limit))]


OPERATORS = {">=": ">=", "<=": "<=", ">": ">", "<": "<", "==": "=", "=": "=", "!=": "<>"}
"""The comparisons of `where`, as SQL writes them."""

TAGS = "SELECT name FROM tag WHERE version = ?"
DIGEST = "SELECT digest FROM version WHERE key = ?"


def digest_of(tx: sqlite3.Connection, version: int) -> str:
    """`sha256:…` of a version."""
    return to_text(tx.execute(DIGEST, (version,)).fetchone()[0])


ADD_TAG = "INSERT INTO tag VALUES (?, ?)"
REMOVE_TAG = "DELETE FROM tag WHERE version = ? AND name = ? RETURNING name"
GET_LABEL = "SELECT version FROM label WHERE model = ? AND name = ?"
SET_LABEL = "INSERT INTO label VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version"


def add_tags(tx: sqlite3.Connection, version: int, names: Iterable[str]) -> list[str]:
    """Tag a version; the tags that it did not bear before."""
    wanted = dict.fromkeys(names)
    if not wanted:
        return []
    known = {row[0] for row in tx.execute(TAGS, (version,))}
    fresh = [name for name in wanted if name not in known]
    tx.executemany(ADD_TAG, [(version, name) for name in fresh])
    return fresh


def remove_tags(tx: sqlite3.Connection, version: int, names: Iterable[str]) -> list[str]:
    """Untag a version; the tags that it did bear."""
    return [name for name in dict.fromkeys(names) if tx.execute(REMOVE_TAG, (version, name)).fetchone()]


def set_label(tx: sqlite3.Connection, model: int, name: str, version: int) -> int | None:
    """Put a label on a version; the key of the version that bore it before."""
    row = tx.execute(GET_LABEL, (model, name)).fetchone()
    tx.execute(SET_LABEL, (model, name, version))
    return row[0] if row else None


SUMMARIES = """
    SELECT m.name, (SELECT count(*) FROM version WHERE model = m.key),
           (SELECT digest FROM version WHERE model = m.key AND stage = 'production'), l.digest,
           (SELECT min(registered_at) FROM run WHERE version = l.key)
      FROM model m LEFT JOIN version l
        ON l.model = m.key AND l.sha256 = (
           SELECT e.version FROM event e WHERE e.model = m.name AND e.kind = 'registered' AND e.to_stage IS NOT NULL
            ORDER BY e.at DESC, e.id DESC LIMIT 1)
     ORDER BY m.name"""


def summaries(tx: sqlite3.Connection) -> list[ModelSummary]:
    """Every model at a glance, by name."""
    return [
        ModelSummary(name, count, to_text(held) if held else None, to_text(latest) if latest else None, at)
        for name, count, held, latest, at in tx.execute(SUMMARIES)
    ]
