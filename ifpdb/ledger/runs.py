"""Runs: rows for what one execution was given, and the Run record read back.

The metrics of a run have a file of their own (metrics.py), and so has its lineage (lineage.py).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..digest import JSON, canonical, sha256, to_bytes, to_text
from ..records import Artifact, ArtifactSource, Code, Dataset, Parent, Run
from . import datasets as dataset_rows
from . import facts
from .metrics import measurements_of

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no i, l, o or u."""

NEW_RUN = """
    INSERT INTO run (id, model, status, actor, started_at, seed, command, generation, code_commit, code_dirty, code_diff)
    VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) RETURNING key"""


def new_id(random: bytes) -> str:
    """`run-` and 10 base-32 characters, of at least 10 random bytes."""
    return "run-" + "".join(ALPHABET[byte & 31] for byte in random[:10])


def insert(
    tx: sqlite3.Connection,
    *,
    id: str,
    model: int,
    status: str,
    actor: str,
    started_at: str,
    seed: int | None,
    command: Sequence[str] | None,
    code: Code,
) -> int:
    """A new run; its local key."""
    words = None if command is None else json.dumps(list(command), ensure_ascii=False)
    diff = to_bytes(code.diff) if code.diff else None
    row = (id, model, status, actor, started_at, seed, words, code.commit, code.dirty, diff)
    return int(tx.execute(NEW_RUN, row).fetchone()[0])


SET_OBSERVED = "UPDATE run SET environment = coalesce(?, environment), code = coalesce(?, code) WHERE key = ?"


def set_observed(tx: sqlite3.Connection, run: int, *, environment: Mapping[str, JSON], code: Code) -> None:
    """Keep the surroundings and the code of a run, as they are known by now."""
    keys = facts.keep_environment(tx, environment), facts.keep_code(tx, code)
    if any(keys):
        tx.execute(SET_OBSERVED, (*keys, run))


SET_PARAM = "INSERT INTO param VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


def set_params(tx: sqlite3.Connection, run: int, params: Mapping[str, JSON]) -> None:
    """Keep parameters; one that is logged again has its new value."""
    rows = [(run, key, json.dumps(value, ensure_ascii=False, allow_nan=False)) for key, value in params.items()]
    tx.executemany(SET_PARAM, rows)


ADD_DATASET = "INSERT INTO run_dataset VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"


def add_datasets(tx: sqlite3.Connection, run: int, datasets: Iterable[Dataset]) -> None:
    """Keep which data a run used, by role."""
    for dataset in datasets:
        key = dataset_rows.keep(tx, dataset)
        file = to_bytes(dataset.file) if dataset.file else None
        tx.execute(ADD_DATASET, (run, dataset.role, key, dataset.name, dataset.uri, file))


ADD_ARTIFACT = """
    INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET blob = excluded.blob, kind = excluded.kind, format = excluded.format, size = excluded.size"""


def add_artifact(tx: sqlite3.Connection, run: int, artifact: Artifact) -> int:
    """Keep a file or folder of a run; the key of its blob. One kept again under its name takes the other's place."""
    keys = [facts.keep_blob(tx, blob) for blob in artifact.blobs] or [facts.blob_key(tx, artifact.digest)]
    tx.execute(ADD_ARTIFACT, (run, artifact.name, keys[0], artifact.kind, artifact.format, artifact.size))
    return keys[0]


SET_FIT = "UPDATE run SET fit = ?, seed = coalesce(seed, ?) WHERE key = ?"


def set_fit(tx: sqlite3.Connection, run: int, fit: Mapping[str, JSON], *, seed: int | None) -> None:
    """Keep what was seen training: the estimator's class, the method and its seconds; its seed where none was told."""
    tx.execute(SET_FIT, (json.dumps(fit, ensure_ascii=False), seed, run))


END = "UPDATE run SET status = ?, ended_at = ?, error = ? WHERE key = ?"


def end(tx: sqlite3.Connection, run: int, *, status: str, at: str, error: str | None) -> None:
    """Close a run as finished, failed or killed."""
    tx.execute(END, (status, at, error, run))


RUNNING = "SELECT r.key, r.id, m.name, r.live_bytes FROM run r JOIN model m ON m.key = r.model WHERE r.status = 'running'"


def running(tx: sqlite3.Connection) -> list[tuple[int, str, str, int]]:
    """(key, id, model, sealed bytes) of the runs that have not ended, as far as this file knows."""
    return tx.execute(RUNNING).fetchall()


FIND = "SELECT key FROM run WHERE id = ?"
BY_PREFIX = "SELECT id FROM run WHERE id >= ? AND id < ? ORDER BY id LIMIT 20"


def find(tx: sqlite3.Connection, id: str) -> int | None:
    """The key of the run with exactly this id."""
    row = tx.execute(FIND, (id,)).fetchone()
    return row[0] if row else None


def ids_with_prefix(tx: sqlite3.Connection, prefix: str) -> list[str]:
    """Up to 20 run ids that begin so."""
    return [row[0] for row in tx.execute(BY_PREFIX, (prefix, prefix + "~"))]


LIST = """
    SELECT r.key FROM run r JOIN model m ON m.key = r.model
     WHERE (:model IS NULL OR m.name = :model) AND (:status IS NULL OR r.status = :status)
     ORDER BY r.started_at DESC, r.id DESC"""


def select(tx: sqlite3.Connection, *, model: str | None = None, status: str | None = None) -> list[int]:
    """Run keys, the newest first."""
    return [row[0] for row in tx.execute(LIST, {"model": model, "status": status})]


RUNS = """
    SELECT r.key, r.id, m.name, r.status, v.digest, r.seed, r.command, r.started_at, r.ended_at, r.actor, r.error,
           r.code_commit, r.code_dirty, r.code_diff, c.digest, c.body, e.body, r.fit
      FROM json_each(?) wanted JOIN run r ON r.key = wanted.value JOIN model m ON m.key = r.model
      LEFT JOIN version v ON v.key = r.version LEFT JOIN code c ON c.key = r.code
      LEFT JOIN environment e ON e.key = r.environment
     ORDER BY wanted.key"""


def read(tx: sqlite3.Connection, keys: Sequence[int], source: ArtifactSource | None) -> list[Run]:
    """The Run records behind these keys, in their order."""
    wanted = json.dumps(keys)
    params, data = params_of(tx, wanted), datasets_of(tx, wanted)
    measurements, artifacts, parents = measurements_of(tx, wanted), artifacts_of(tx, wanted), parents_of(tx, wanted)
    return [
        Run(
            id=row[1],
            model=row[2],
            status=row[3],
            version=to_text(row[4]) if row[4] else None,
            params=params[row[0]],
            measurements=tuple(measurements[row[0]]),
            seed=row[5],
            data=tuple(data[row[0]]),
            code=read_code(row[11:16]),
            environment=json.loads(row[16]) if row[16] else {},
            artifacts=artifacts[row[0]],
            parents=tuple(parents[row[0]]),
            command=tuple(json.loads(row[6])) if row[6] else None,
            fit=json.loads(row[17]) if row[17] else None,
            started_at=row[7],
            ended_at=row[8],
            actor=row[9],
            error=row[10],
            source=source,
        )
        for row in tx.execute(RUNS, (wanted,)).fetchall()
    ]


def read_code(row: Sequence[Any]) -> Code:
    """Code from (commit, dirty, diff, digest, body)."""
    commit, dirty, diff, identity, body = row
    files = tuple((path, file) for path, file in json.loads(body)) if body else ()
    return Code(
        commit,
        None if dirty is None else bool(dirty),
        to_text(diff) if diff else None,
        to_text(identity) if identity else None,
        files,
    )


PARAMS = "SELECT p.run, p.key, p.value FROM json_each(?) w JOIN param p ON p.run = w.value ORDER BY p.run, p.key"


def params_of(tx: sqlite3.Connection, wanted: str) -> defaultdict[int, dict[str, JSON]]:
    """Parameters by run key; `wanted` is a JSON array of run keys, here and below."""
    found: defaultdict[int, dict[str, JSON]] = defaultdict(dict)
    rows = tx.execute(PARAMS, (wanted,)).fetchall()
    values = json.loads(f"[{','.join(row[2] for row in rows)}]")  # in one go: a listing has hundreds of them
    for (run, key, _), value in zip(rows, values, strict=True):
        found[run][key] = value
    return found


DATASETS = """
    SELECT rd.run, rd.role, rd.name, d.digest, coalesce(d.pointer, rd.uri), d.rows, d.size, d.kind, rd.file
      FROM json_each(?) w JOIN run_dataset rd ON rd.run = w.value JOIN dataset d ON d.key = rd.dataset
     ORDER BY rd.run, rd.role <> 'train', rd.role, rd.name, d.digest, d.pointer"""


def datasets_of(tx: sqlite3.Connection, wanted: str) -> defaultdict[int, list[Dataset]]:
    """Datasets by run key, training data first."""
    found: defaultdict[int, list[Dataset]] = defaultdict(list)
    for run, role, name, identity, uri, rows, size, kind, file in tx.execute(DATASETS, (wanted,)):
        digest, held = (to_text(one) if one else None for one in (identity, file))
        found[run].append(Dataset(role, name, digest, uri, rows, size, kind, held))
    return found


ARTIFACTS = """
    SELECT a.run, a.name, b.digest, a.size, a.format, a.kind
      FROM json_each(?) w JOIN artifact a ON a.run = w.value JOIN blob b ON b.key = a.blob ORDER BY a.run, a.name"""


def artifacts_of(tx: sqlite3.Connection, wanted: str) -> defaultdict[int, dict[str, Artifact]]:
    """Artifacts by run key, by name."""
    found: defaultdict[int, dict[str, Artifact]] = defaultdict(dict)
    for run, name, identity, size, format, kind in tx.execute(ARTIFACTS, (wanted,)):
        found[run][name] = Artifact(name, to_text(identity), size, format, kind)
    return found


PARENTS = """
    SELECT e.child, p.id, e.kind FROM json_each(?) w JOIN edge e ON e.child = w.value JOIN run p ON p.key = e.parent
     ORDER BY e.child, e.position"""


def parents_of(tx: sqlite3.Connection, wanted: str) -> defaultdict[int, list[Parent]]:
    """Parents by run key, in their kept order."""
    found: defaultdict[int, list[Parent]] = defaultdict(list)
    for run, parent, kind in tx.execute(PARENTS, (wanted,)):
        found[run].append(Parent(parent, kind))
    return found


RECORD = """
    SELECT r.id, m.name, r.status, r.actor, r.started_at, r.ended_at, r.error, r.fit, CAST(r.seed AS TEXT), r.command,
           lower(hex(e.digest)), lower(hex(c.digest)), r.code_commit, r.code_dirty, lower(hex(r.code_diff))
      FROM run r JOIN model m ON m.key = r.model
      LEFT JOIN environment e ON e.key = r.environment LEFT JOIN code c ON c.key = r.code
     WHERE r.key = ?"""
RECORD_PARAMS = "SELECT key, value FROM param WHERE run = ? ORDER BY key"
RECORD_ARTIFACTS = """
    SELECT a.name, lower(hex(b.digest)), a.kind, a.format, a.size FROM artifact a JOIN blob b ON b.key = a.blob
     WHERE a.run = ? ORDER BY a.name"""


def record_digest(tx: sqlite3.Connection, run: int) -> str:
    """`sha256:…` over what is observed of a run and never changes once it has ended: its row, parameters and artifacts.

    The event that ends a run names it, so that a changed row shows ('ifp-record/1' in docs/format.md).
    """
    row = tx.execute(RECORD, (run,)).fetchone()
    rest = [tx.execute(query, (run,)).fetchall() for query in (RECORD_PARAMS, RECORD_ARTIFACTS)]
    return sha256(canonical(["ifp-record/1", list(row), *rest]))


SET_LIVE_BYTES = "UPDATE run SET live_bytes = ? WHERE key = ?"


def set_live_bytes(tx: sqlite3.Connection, run: int, count: int) -> None:
    """Remember how much of a run's live file is sealed."""
    tx.execute(SET_LIVE_BYTES, (count, run))


LIVE_BYTES = "SELECT live_bytes FROM run WHERE key = ?"


def live_bytes(tx: sqlite3.Connection, run: int) -> int:
    """How much of a run's live file is sealed."""
    return int(tx.execute(LIVE_BYTES, (run,)).fetchone()[0])
