"""Blobs that are missing here, copied by their digest from the folder of the registry that came in.

Each copy is verified while it is written and named only then, so that what was copied stays when the rest fails, and to
merge again goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from .. import digest
from ..errors import IfpError, StorageError
from ..store.blobs import BlobStore

NAMED = "SELECT digest, size FROM blob ORDER BY digest"
ROWS = "SELECT digest, size, xxh3 FROM blob"
HELD = "SELECT digest FROM blob"
NEW = "INSERT INTO blob (digest, size, xxh3) VALUES (?, ?, ?)"


@dataclass(slots=True)
class Copied:
    """What became of the blobs that the other registry names and this one lacked. `missing` are digests, `damaged` says why."""

    count: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"copied": self.count, "bytes": self.bytes, "missing": [*self.missing, *self.damaged]}


Named = list[tuple[str, int]]


def named(theirs: Connection) -> Named:
    """The digest and size of each blob that a registry names."""
    return [(digest.to_text(name), size) for name, size in theirs.execute(NAMED)]


def copy(every: Named, source: Path, target: BlobStore, *, progress: Callable[[int, int], None] | None = None) -> Copied:
    """Copy of these what `source` has and `target` lacks. Raises StorageError where it can't be written."""
    wanted = [(name, size) for name, size in every if not target.has(name)]
    if not source.is_dir():
        return Copied(missing=[name for name, _ in wanted])
    there, found = BlobStore(source), Copied()
    total, done = sum(size for _, size in wanted), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    for name, size in wanted:
        if not there.has(name):
            found.missing.append(name)
            continue
        try:
            target.replace(name, there.path(name), progress=count)
            found.count, found.bytes = found.count + 1, found.bytes + size
        except StorageError:
            raise
        except IfpError as error:
            found.damaged[name] = str(error)
    return found


def name(tx: Connection, theirs: Connection) -> None:
    """Put in a row for each blob that only theirs names: nothing else tells a backup of the files in a folder."""
    held = set(tx.execute(HELD))
    tx.executemany(NEW, [row for row in theirs.execute(ROWS) if row[:1] not in held])
