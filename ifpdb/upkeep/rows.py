"""Rows against what was hashed: manifests, bodies, digests and the log say what a row must hold, so that an edited one shows.

Each check reads one kind of row and gives its problems. What nothing hashed (times, machines, profiles of columns) can't be
held against anything.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from sqlite3 import Connection
from typing import Any

from .. import digest, times
from ..capture.data.table import table_digest
from ..capture.schema.features import schema_from_body
from ..ledger import runs
from ..store import series
from .findings import Damage

VERSIONS = """
    SELECT v.digest, v.manifest, b.digest, s.digest
      FROM version v LEFT JOIN blob b ON b.key = v.weights LEFT JOIN feature_schema s ON s.key = v.schema ORDER BY v.key"""


def manifests(tx: Connection) -> Iterator[Damage]:
    """A version is named by its manifest, and points to the weights and the schema that are named there."""
    for name, manifest, weights, schema in tx.execute(VERSIONS):
        version = digest.to_text(name)
        if digest.sha256(manifest.encode()) != version:
            yield Damage("manifest", version, "its manifest is not the one that its digest was made of")
            continue
        parts = json.loads(manifest)
        for part, held in (("weights", weights), ("schema", schema)):
            if parts[part] != (digest.to_text(held) if held else None):
                yield Damage("version", version, f"its row points to other {part} than its manifest names")


REGISTERED = """
    SELECT r.key, r.id, v.digest, v.manifest, r.seed, e.body
      FROM run r JOIN version v ON v.key = r.version LEFT JOIN environment e ON e.key = r.environment
     WHERE {} ORDER BY r.key"""
SOME = "r.key IN (SELECT value FROM json_each(?))"
CODES = "SELECT digest FROM code"
BATCH = 1000


def parts(tx: Connection, some: Collection[int] | None = None) -> Iterator[Damage]:
    """A run has the data, parameters, seed, code and packages that the manifest of its version names; it may have more.

    With `some`, each of these runs.
    """
    codes = {digest.to_text(name) for (name,) in tx.execute(CODES)}
    bound = () if some is None else (json.dumps(list(some)),)
    rows = tx.execute(REGISTERED.format("TRUE" if some is None else SOME), bound)
    while batch := rows.fetchmany(BATCH):
        wanted = str([key for key, *_ in batch])
        params, data = runs.params_of(tx, wanted), runs.datasets_of(tx, wanted)
        for key, run, version, manifest, seed, environment in batch:
            named = json.loads(manifest)
            training = named["training"] or {}
            held = {(one.role, one.digest or one.uri) for one in data[key]}
            lost = [one["role"] for one in named["data"] or () if (one["role"], one.get("digest") or one["uri"]) not in held]
            lost += [f"parameter {name}" for name, value in training.get("params", ()) if not _same(params[key], name, value)]
            if training and training["seed"] != digest.integer_to_json(seed):
                lost.append("seed")
            if training.get("code") and training["code"] not in codes:
                lost.append("code")
            packages = json.loads(environment)["packages"] if environment and training.get("packages") else {}
            lost += [f"package {name}" for name, number in training.get("packages", ()) if packages.get(name) != number]
            for part in lost:
                yield Damage("part", digest.to_text(version), f"{run} has another {part} than the manifest names")


def _same(held: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in held and digest.canonical(held[name]) == digest.canonical(value)


BODIES = {
    "schema": "SELECT digest, body FROM feature_schema",
    "environment": "SELECT digest, body FROM environment",
    "code": "SELECT digest, body FROM code",
}


def bodies(tx: Connection) -> Iterator[Damage]:
    """Schemas, environments and code listings are named by their text."""
    for kind, query in BODIES.items():
        for name, body in tx.execute(query):
            if digest.sha256(body.encode()) != digest.to_text(name):
                yield Damage(kind, digest.to_text(name), f"its {kind} is not the one that its digest was made of")


SCHEMAS = "SELECT key, digest, body FROM feature_schema"
FEATURES = "SELECT position, name, type, nullable, min, max, categories, dtype, shape FROM feature WHERE schema = ? ORDER BY 1"


def features(tx: Connection) -> Iterator[Damage]:
    """The rows of a schema's features are those of its text."""
    for key, name, body in tx.execute(SCHEMAS).fetchall():
        told = [
            (f.position, f.name, f.type, f.nullable, f.min, f.max, _listed(f.categories), f.dtype, _listed(f.shape))
            for f in schema_from_body(body, "").features
        ]
        rows = [
            (*row[:6], None if row[6] is None else json.loads(row[6]), row[7], None if row[8] is None else json.loads(row[8]))
            for row in tx.execute(FEATURES, (key,))
        ]
        if rows != told:
            yield Damage("feature", digest.to_text(name), "its feature rows are not those of its schema")


def _listed(values: Any) -> list[Any] | None:
    return None if values is None else list(values)


COLUMNS = """
    SELECT d.digest, d.rows, c.name, c.type, c.digest FROM dataset d JOIN dataset_column c ON c.dataset = d.key
     WHERE d.kind = 'table' ORDER BY d.key, c.position"""


def tables(tx: Connection) -> Iterator[Damage]:
    """A table is named by its row count and its columns' names, types and digests."""
    for (name, count), rows in groupby(tx.execute(COLUMNS), lambda row: row[:2]):
        if table_digest(count, [column[2:] for column in rows]) != digest.to_text(name):
            yield Damage("dataset", digest.to_text(name), "its columns are not those that its digest was made of")


METRICS = """
    SELECT r.id, x.name, x.last, x.min, x.max, x.count, x.at, x.series FROM metric x JOIN run r ON r.key = x.run
     ORDER BY x.rowid"""


def metrics(tx: Connection) -> Iterator[Damage]:
    """A metric's last value, extremes, count and time are those of its points."""
    for run, name, *row, packed in tx.execute(METRICS):
        try:
            values, _, moments = series.unpack(packed)
        except (zlib.error, ValueError):
            yield Damage("metric", "", f"the points of {name} of {run} can't be read")
            continue
        numbers = [value for value in values if not math.isnan(value)]
        last = None if math.isnan(values[-1]) else values[-1]
        least, greatest = min(numbers, default=None), max(numbers, default=None)
        if row != [last, least, greatest, len(values), times.from_microseconds(moments[-1])]:
            yield Damage("metric", "", f"{name} of {run} is not what its points say")


GENERATIONS = """
    SELECT r.id FROM run r WHERE r.generation <> 1 + coalesce(
      (SELECT max(p.generation) FROM edge e JOIN run p ON p.key = e.parent WHERE e.child = r.key), 0)"""


def generations(tx: Connection) -> Iterator[Damage]:
    """Every run is one generation below its parents: walks rely on it."""
    for (run,) in tx.execute(GENERATIONS):
        yield Damage("lineage", "", f"{run} is not one generation below its parents")
