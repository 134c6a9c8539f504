"""The limit that ifpdb is measured against: hand-written sqlite3 with no log, no chain and no checks.

A rollback journal with synchronous=FULL and one transaction a change. An artifact is copied while it is hashed, fsynced,
renamed to its digest and its folder fsynced before the row is committed, as ifpdb does.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

SCHEMA = """
CREATE TABLE version (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT, created REAL, UNIQUE (model, number));
CREATE TABLE param (version INTEGER, key TEXT, value TEXT, PRIMARY KEY (version, key)) WITHOUT ROWID;
CREATE TABLE metric (version INTEGER, key TEXT, value REAL, PRIMARY KEY (version, key)) WITHOUT ROWID;
CREATE TABLE tag (version INTEGER, name TEXT, PRIMARY KEY (version, name)) WITHOUT ROWID;
CREATE TABLE stage (model TEXT, name TEXT, version INTEGER, PRIMARY KEY (model, name)) WITHOUT ROWID;
CREATE INDEX tag_name ON tag(name, version);
CREATE INDEX metric_value ON metric(key, value, version);
"""
Facts = tuple[Mapping[str, str], Mapping[str, float], Sequence[str]]
"""The parameters, metrics and tags of one version."""


class Raw:
    """A registry by hand: `raw.db` and the folder `cas` beside it."""

    def __init__(self, folder: Path, *, synchronous: str = "FULL") -> None:
        self.cas = folder / "cas"
        self.cas.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(folder / "raw.db", timeout=60, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = DELETE")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.db.execute("BEGIN IMMEDIATE")
        if not self.db.execute("SELECT 1 FROM sqlite_schema").fetchone():
            for statement in SCHEMA.split(";")[:-1]:
                self.db.execute(statement)
        self.db.execute("COMMIT")

    def register(self, model: str, path: Path, facts: Facts) -> int:
        """Keep the file and one new version; its number."""
        digest = self._put(path)
        self.db.execute("BEGIN IMMEDIATE")
        number = self.db.execute("SELECT coalesce(max(number), 0) + 1 FROM version WHERE model = ?", (model,)).fetchone()[0]
        self._insert(model, number, digest, facts)
        self.db.execute("COMMIT")
        return int(number)

    def load(self, model: str, digests: Iterable[tuple[str, Facts]]) -> None:
        """Many versions without bytes, in one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        for number, (digest, facts) in enumerate(digests, 1):
            self._insert(model, number, digest, facts)
        self.db.execute("COMMIT")

    def promote(self, model: str, stage: str, number: int) -> None:
        """Let a stage hold this version."""
        self.db.execute("INSERT OR REPLACE INTO stage VALUES (?, ?, ?)", (model, stage, number))

    def held(self, model: str, stage: str) -> list[object]:
        """The version in a stage, with its parameters, metrics and tags."""
        row = self.db.execute(
            "SELECT v.* FROM stage s JOIN version v ON v.model = s.model AND v.number = s.version"
            " WHERE s.model = ? AND s.name = ?",
            (model, stage),
        ).fetchone()
        return self._whole([row])

    def newest(self, model: str, count: int) -> list[object]:
        """The newest versions, whole."""
        rows = self.db.execute("SELECT * FROM version WHERE model = ? ORDER BY number DESC LIMIT ?", (model, count))
        return self._whole(rows.fetchall())

    def search(self, model: str, tag: str, metric: str, floor: float, count: int) -> list[object]:
        """The newest versions with a tag and a metric above a floor, whole."""
        rows = self.db.execute(
            "SELECT v.* FROM tag t JOIN metric m ON m.version = t.version AND m.key = ? AND m.value > ?"
            " JOIN version v ON v.id = t.version WHERE t.name = ? AND v.model = ? ORDER BY v.number DESC LIMIT ?",
            (metric, floor, tag, model, count),
        )
        return self._whole(rows.fetchall())

    def _whole(self, rows: list[tuple[object, ...]]) -> list[object]:
        found = []
        for row in rows:
            params = dict(self.db.execute("SELECT key, value FROM param WHERE version = ?", row[:1]))
            metrics = dict(self.db.execute("SELECT key, value FROM metric WHERE version = ?", row[:1]))
            tags = [name for (name,) in self.db.execute("SELECT name FROM tag WHERE version = ?", row[:1])]
            found.append((row, params, metrics, tags))
        return list(found)

    def _insert(self, model: str, number: int, digest: str, facts: Facts) -> None:
        params, metrics, tags = facts
        row = (model, number, digest, time.time())
        key = self.db.execute("INSERT INTO version (model, number, sha256, created) VALUES (?, ?, ?, ?)", row).lastrowid
        self.db.executemany("INSERT INTO param VALUES (?, ?, ?)", [(key, *pair) for pair in params.items()])
        self.db.executemany("INSERT INTO metric VALUES (?, ?, ?)", [(key, *pair) for pair in metrics.items()])
        self.db.executemany("INSERT INTO tag VALUES (?, ?)", [(key, tag) for tag in tags])

    def _put(self, path: Path) -> str:
        checksum, temporary = hashlib.sha256(), self.cas / f"tmp-{secrets.token_hex(8)}"
        with open(path, "rb") as source, open(temporary, "wb") as target:
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
        anew = not final.parent.exists()
        final.parent.mkdir(exist_ok=True)
        temporary.replace(final)
        for folder in (final.parent, self.cas) if anew else (final.parent,):
            _fsync(folder)
        return digest


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
