"""The logical digest: what a registry says, hashed by its ids and digests, so that two registries can be compared."""

from __future__ import annotations

import hashlib
import json
import zlib
from sqlite3 import Connection

FACTS = (
    "SELECT lower(hex(id)) FROM event ORDER BY id",
    "SELECT m.name, lower(hex(v.digest)), v.manifest FROM version v JOIN model m ON m.key = v.model ORDER BY 1, 2",
    "SELECT r.id, m.name, r.status, r.actor, r.started_at, r.ended_at, r.error, r.seed, r.command, r.fit, lower(hex(e.digest)),"
    " lower(hex(c.digest)), r.code_commit, r.code_dirty, lower(hex(r.code_diff)), lower(hex(v.digest)), r.registered_at"
    " FROM run r JOIN model m ON m.key = r.model LEFT JOIN version v ON v.key = r.version"
    " LEFT JOIN environment e ON e.key = r.environment LEFT JOIN code c ON c.key = r.code ORDER BY r.id",
    "SELECT r.id, p.key, p.value FROM param p JOIN run r ON r.key = p.run ORDER BY 1, 2",
    "SELECT r.id, x.name, coalesce(nullif(lower(hex(d.digest)), ''), d.pointer), x.last, x.min, x.max, x.count,"
    " x.series FROM metric x JOIN run r ON r.key = x.run LEFT JOIN dataset d ON d.key = x.dataset ORDER BY 1, 2, 3",
    "SELECT r.id, u.role, coalesce(nullif(lower(hex(d.digest)), ''), d.pointer), u.name, u.uri, lower(hex(u.file))"
    " FROM run_dataset u JOIN run r ON r.key = u.run JOIN dataset d ON d.key = u.dataset ORDER BY 1, 2, 3",
    "SELECT lower(hex(d.digest)), c.position, c.name, c.type, lower(hex(c.digest)), c.nulls, c.categorical, c.min, c.max,"
    ' c."values", c.edges, c.counts FROM dataset_column c JOIN dataset d ON d.key = c.dataset ORDER BY 1, 2',
    "SELECT lower(hex(d.digest)), p.rows, lower(hex(p.digest)) FROM dataset_prefix p JOIN dataset d ON d.key = p.dataset"
    " ORDER BY 1, 2",
    "SELECT r.id, a.name, lower(hex(b.digest)), a.kind, a.format FROM artifact a JOIN run r ON r.key = a.run"
    " JOIN blob b ON b.key = a.blob ORDER BY 1, 2",
    "SELECT c.id, e.position, p.id, e.kind FROM edge e JOIN run c ON c.key = e.child JOIN run p ON p.key = e.parent"
    " ORDER BY 1, 2",
    "SELECT lower(hex(v.digest)), t.name FROM tag t JOIN version v ON v.key = t.version ORDER BY 1, 2",
    "SELECT m.name, l.name, lower(hex(v.digest)) FROM label l JOIN model m ON m.key = l.model"
    " JOIN version v ON v.key = l.version ORDER BY 1, 2",
)
"""What two equal registries have alike: every fact by its hash or id, without local keys."""
METRICS = next(number for number, query in enumerate(FACTS) if "x.series" in query)


def logical_digest(tx: Connection) -> str:
    """SHA-256 over what the registry says, by hashes and ids: equal for equal registries, whatever their files' bytes."""
    checksum = hashlib.sha256()
    for number, query in enumerate(FACTS):
        checksum.update(b"%d\n" % number)
        for row in tx.execute(query):
            if number == METRICS:
                row = (*row[:-1], _points(row[-1]).hex())
            checksum.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return "sha256:" + checksum.hexdigest()


def _points(series: bytes) -> bytes:
    """What is inside: not every zlib packs the same points into the same bytes. What is damaged stands for itself."""
    try:
        return zlib.decompress(series)
    except zlib.error:
        return series
