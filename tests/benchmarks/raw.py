"""The physical limit: the least SQLite and file work that makes a version, or moves a name, durable.

Rollback journal, synchronous=FULL, the artifact and its folder fsynced. It keeps no event log, chain, schema or data.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

SCHEMA = """
CREATE TABLE version(id INTEGER PRIMARY KEY, model TEXT NOT NULL, number INT NOT NULL, sha256 TEXT, created REAL,
                     UNIQUE(model, number));
CREATE TABLE param(version INT, key TEXT, value TEXT, PRIMARY KEY(version, key)) WITHOUT ROWID;
CREATE TABLE tag(version INT, name TEXT, PRIMARY KEY(version, name)) WITHOUT ROWID;
CREATE TABLE metric(version INT, key TEXT, value REAL, PRIMARY KEY(version, key)) WITHOUT ROWID;
CREATE INDEX tag_name ON tag(name, version);
CREATE INDEX metric_value ON metric(key, value, version);
CREATE TABLE alias(model TEXT, alias TEXT, version INT, PRIMARY KEY(model, alias)) WITHOUT ROWID;
"""


class Raw:
    """A store in a folder, by hand."""

    def __init__(self, folder: Path) -> None:
        self.cas = folder / "cas"
        self.cas.mkdir(parents=True)
        self.db = sqlite3.connect(folder / "raw.db", timeout=60, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=DELETE")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(SCHEMA)

    def register(
        self, model: str, path: Path, params: Mapping[str, str], metrics: Mapping[str, float], tags: Iterable[str]
    ) -> int:
        digest = self._put(path)
        self.db.execute("BEGIN IMMEDIATE")
        row = self.db.execute("SELECT coalesce(max(number), 0) + 1 FROM version WHERE model = ?", (model,)).fetchone()
        insert = "INSERT INTO version(model, number, sha256, created) VALUES (?, ?, ?, ?)"
        key = self.db.execute(insert, (model, row[0], digest, time.time())).lastrowid
        self.db.executemany("INSERT INTO param VALUES (?, ?, ?)", [(key, k, v) for k, v in params.items()])
        self.db.executemany("INSERT INTO tag VALUES (?, ?)", [(key, tag) for tag in tags])
        self.db.executemany("INSERT INTO metric VALUES (?, ?, ?)", [(key, k, v) for k, v in metrics.items()])
        self.db.execute("COMMIT")
        return int(row[0])

    def set_alias(self, model: str, alias: str, number: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO alias VALUES (?, ?, ?)", (model, alias, number))

    def get_alias(self, model: str, alias: str) -> tuple[object, ...]:
        query = """
            SELECT v.* FROM alias a JOIN version v ON v.model = a.model AND v.number = a.version
             WHERE a.model = ? AND a.alias = ?"""
        found: tuple[object, ...] = self.db.execute(query, (model, alias)).fetchone()
        return found

    def _put(self, path: Path) -> str:
        checksum, temporary = hashlib.sha256(), self.cas / f"tmp-{secrets.token_hex(8)}"
        with path.open("rb") as source, temporary.open("wb") as target:
            while chunk := source.read(1 << 20):
                checksum.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        digest = checksum.hexdigest()
        final = self.cas / digest[:2] / digest
        if final.exists():
            temporary.unlink()
            return digest
        new_folder = not final.parent.exists()
        final.parent.mkdir(exist_ok=True)
        temporary.replace(final)
        for folder in [final.parent] + ([self.cas] if new_folder else []):
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return digest
