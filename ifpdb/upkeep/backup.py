"""A copy of a registry that is whole, made while others write: the database as it stood at one moment, and its blobs.

The database is copied page by page by SQLite's backup API (VACUUM INTO would build another file: a backup shall hold what
there was), checked, and put in place last, when every blob that its rows name is there; so what stands at the destination
is a whole backup at every moment, this one or the one before. To restore is to copy it back.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from .. import digest as digests
from .. import settings, tree
from ..desk import Registry
from ..errors import IfpError, IntegrityError, Refused, StorageError, UsageError
from ..store import claims, foreign
from ..store.blobs import BlobStore, fsync_path
from ..store.explaining import explain
from .chain import Verification, verify

Progress = Callable[[int, int], None]
"""Told how many bytes of blobs are done, and how many there are in all."""

BLOBS = "SELECT digest, size, xxh3 FROM blob ORDER BY digest"
EVENTS = "SELECT id FROM event"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup at `path`: its events and logical digest, how many blobs of how many bytes it has, and how many were new.

    A problem is (kind, digest, detail) of a blob that it lacks; kind is 'missing' or 'damaged'.
    """

    path: Path
    events: int
    digest: str
    blobs: int
    bytes: int
    copied: int
    copied_bytes: int
    problems: tuple[tuple[str, str, str], ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "path": str(self.path),
            "events": self.events,
            "digest": self.digest,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "copied": self.copied,
            "copied_bytes": self.copied_bytes,
            "problems": [{"kind": kind, "digest": digest, "detail": detail} for kind, digest, detail in self.problems],
        }


def backup(registry: Registry, dest: Path, *, fast: bool = False, progress: Progress | None = None) -> Backup:
    """Copy a registry to `dest`: to that file where it ends in .db, else into that folder under its own name.

    A backup that is there is brought up to date: blobs that it has are read and compared (with `fast`, by size alone) and
    copied again only where they rotted. What is missing here is a problem in the answer, the rest is copied. Raises
    Refused where `dest` holds another registry, IntegrityError where this one's database isn't whole, StorageError where a
    disk can't be read or written, and leaves the backup that was there.
    """
    place = _place(registry, dest)
    _check_older(registry, place)
    target = BlobStore(settings.blob_folder(place))
    with claims.shared(registry.blobs.root), claims.shared(target.root):
        copy = target.root / "tmp" / f"{os.getpid()}-{os.urandom(6).hex()}"
        try:
            target.make_folders()
            told, named = _copy_database(registry, copy)
            blobs = _Blobs(registry.blobs, target, fast, sum(size for _, size, _ in named), progress)
            for blob in named:
                blobs.bring(*blob)
            _put(copy, place)
        except OSError as error:
            raise StorageError(f"{error.filename or place}: {error.strerror}; {place} is as it was") from error
        except sqlite3.Error as error:
            explain(error, copy)
        finally:
            with suppress(OSError):  # the next gc removes it
                copy.unlink(missing_ok=True)
    problems = tuple(blobs.problems)
    return Backup(place, told.events, told.digest, len(named), blobs.total, blobs.copied, blobs.copied_bytes, problems)


def _place(registry: Registry, dest: Path) -> Path:
    dest = dest.absolute()
    place = dest if dest.suffix == ".db" and not dest.is_dir() else dest / registry.path.name
    if settings.blob_folder(place).resolve() == registry.blobs.root.resolve():
        raise UsageError(f"{place} is the registry itself: name another folder for its backup")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{place.parent} can't be made: {error.strerror}") from error
    return place


def _check_older(registry: Registry, place: Path) -> None:
    """See that what stands at the destination, if anything, is an older backup of this registry."""
    if not os.path.lexists(place):
        return
    with registry.reading() as tx, foreign.opened(place) as older:
        ours, theirs = set(tx.execute(EVENTS)), set(older.execute(EVENTS))
    if theirs - ours:
        raise Refused(
            f"{place} is no older backup of {registry.path}: {len(theirs - ours)} of its {len(theirs)} events are not in "
            f"this registry; name another place"
        )


def _copy_database(registry: Registry, copy: Path) -> tuple[Verification, list[tuple[str, int, bytes]]]:
    """Write the database as it is now to a file and check it; the blobs that it names."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as written:
        written.execute("PRAGMA journal_mode = OFF")  # what isn't in place yet needs no rollback
        with registry.reading() as tx:
            tx.backup(written)
        found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise IntegrityError(f"{registry.path} is damaged ({found}): nothing was backed up; look at it with ifp fsck")
        named = [(digests.to_text(digest), size, xxh3) for digest, size, xxh3 in written.execute(BLOBS)]
    with Registry(copy, readonly=True) as opened:
        told = verify(opened)
    if not told.ok:
        _, _, detail = told.problems[0]
        raise IntegrityError(f"the log of {registry.path} is not whole ({detail}): nothing was backed up; see ifp verify")
    return told, named


class _Blobs:
    """Blobs brought from one folder to another, and what went wrong."""

    def __init__(self, source: BlobStore, target: BlobStore, fast: bool, total: int, progress: Progress | None) -> None:
        self.copied = self.copied_bytes = self._done = 0
        self.problems: list[tuple[str, str, str]] = []
        self.total = total
        self._source, self._target, self._fast, self._progress = source, target, fast, progress

    def bring(self, digest: str, size: int, xxh3: bytes) -> None:
        """See that the target has this blob."""
        begun = self._done
        if not self._is_good(self._target.path(digest), size, xxh3):
            self._done = begun
            self._copy(digest, size)
        self._tell(begun + size - self._done)

    def _is_good(self, path: Path, size: int, xxh3: bytes) -> bool:
        if not path.is_file() or path.stat().st_size != size:
            return False
        if self._fast:
            return True
        checksum = xxhash.xxh3_128()

        def take(chunk: memoryview) -> None:
            checksum.update(chunk)
            self._tell(len(chunk))

        try:
            tree.read_steadily(path, take)
        except IfpError:
            return False
        return checksum.digest() == xxh3

    def _copy(self, digest: str, size: int) -> None:
        path = self._source.path(digest)
        if not path.is_file():
            self.problems.append(("missing", digest, f"{path} is not here: copy it from a machine that has it"))
            return
        try:
            self._target.replace(digest, path, progress=self._tell)  # until then what is there stays
        except IntegrityError:
            self.problems.append(("damaged", digest, f"{path} holds other bytes: replace it with a good copy (ifp fsck)"))
        except UsageError as error:
            raise StorageError(
                f"{error}; nothing was put in place. Try again, or move that file away to go on without it"
            ) from error
        else:
            self.copied += 1
            self.copied_bytes += size

    def _tell(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._done, self.total)


def _put(copy: Path, place: Path) -> None:
    """Give the copy its name, durably. No journal of what it replaces may stay: SQLite would roll it back into it."""
    if os.path.lexists(f"{place}-journal"):
        raise Refused(f"{place} has an interrupted write: open it once with ifp --db {place} verify, and try again")
    fsync_path(copy)
    os.replace(copy, place)
    fsync_path(place.parent)
