"""Garbage: blobs that nothing names. Found by looking everywhere that a name could be, removed only then.

Named is what a row names: of this .db, of every revision of it that git can still bring back, and of its copies in other
worktrees. Where one of them can't be read, nothing is removed. gc removes while nobody ingests (store/claims.py), and
nothing younger than the grace period: a colleague's registration may come by git before or after its bytes. It deletes
only what is unreferenced, one file after the other, so that a gc that is killed has done a part of its work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from .. import digest as digests
from .. import tree
from ..desk import Registry
from ..errors import IfpError, NotFound, Refused, StorageError
from ..store import claims, foreign
from ..store.revisions import History

GRACE = 14.0
"""Days that a blob which nothing names is kept."""
LEFTOVER = 1.0
"""Days after which a file in tmp/ whose process is gone is nobody's."""

Progress = Callable[[str, int], None]
"""Told what is being looked at or removed, and how many of them by now."""

NAMED = "SELECT digest FROM blob"
LISTINGS = "SELECT DISTINCT b.digest FROM artifact a JOIN blob b ON b.key = a.blob WHERE a.kind = 'tree'"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file that nothing names: relative to the blob folder; `digest` is None for what a writer left in tmp/. Age in days."""

    path: str
    digest: str | None
    size: int
    age: float

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "digest": self.digest, "size": self.size, "age": round(self.age, 3)}


@dataclass(frozen=True, slots=True)
class Sweep:
    """What gc found, and whether it is gone. `kept` are named blobs, `young` unnamed ones within the grace period.

    `revisions` is how many of git's revisions were looked at.
    """

    deleted: bool
    garbage: tuple[Garbage, ...]
    kept: int
    young: int
    revisions: int

    @property
    def bytes(self) -> int:
        return sum(found.size for found in self.garbage)

    def as_dict(self) -> dict[str, Any]:
        return {
            "deleted": self.deleted,
            "bytes": self.bytes,
            "kept": self.kept,
            "young": self.young,
            "revisions": self.revisions,
            "garbage": [found.as_dict() for found in self.garbage],
        }


def collect(
    registry: Registry,
    *,
    delete: bool = False,
    grace: float = GRACE,
    forget: Collection[str] = (),
    progress: Progress | None = None,
) -> Sweep:
    """Find what nothing names and is older than `grace` days; remove it with `delete`.

    `forget` are git's ids of revisions that can't be read and that nobody needs. Raises Refused, and removes nothing, where
    a revision can't be read or history isn't whole, Busy while others ingest for longer than a minute.
    """
    names = _Names(registry, forget, progress)
    names.gather()  # most of the work, while others may still register
    if not delete:
        return _swept(registry, names, grace, deleted=False)
    with claims.exclusive(registry.blobs.root):
        with registry.writing():
            pass  # seals what interrupted runs have left
        names.gather()
        found = _swept(registry, names, grace, deleted=True)
        for number, garbage in enumerate(found.garbage, 1):
            _remove(registry.blobs.root / garbage.path)
            if progress:
                progress("removing files", number)
    return found


class _Names:
    """The digests that are named anywhere, as 32 bytes; gathered again, only what is new is read."""

    def __init__(self, registry: Registry, forget: Collection[str], progress: Progress | None) -> None:
        self.registry = registry
        self.digests: set[bytes] = set()
        self.revisions = 0
        self._looked: set[str] = set()
        self._forget = tuple(forget)
        self._listings: set[str] = set()
        self._progress = progress

    def gather(self) -> None:
        path = self.registry.path
        for place in dict.fromkeys((path.absolute(), path.resolve())):  # a link may lie in one repository, its file in another
            self._gather_from(History(place))
        with self.registry.reading() as tx:
            self._take(tx)

    def _gather_from(self, history: History) -> None:
        for revision in history.revisions(self._looked):
            self.revisions += 1
            if not self._forget or not revision.id.startswith(self._forget):
                self._read(_as_restored(revision.data), f"{revision.path} at {revision.id}")
            if self._progress:
                self._progress("reading revisions", self.revisions)
        for path in history.siblings():
            self._read(path, str(path))

    def _read(self, source: Path | bytes, name: str) -> None:
        try:
            with foreign.opened(source, name=name) as connection:
                told = connection.execute("PRAGMA integrity_check(blob)").fetchone()[0]
                if told != "ok":
                    raise Refused(f"{name} is damaged ({told})")
                self._take(connection)
        except IfpError as error:
            raise Refused(
                f"nothing was removed, since not all that names a blob can be read: {error}. If that is a revision which "
                f"nobody needs: ifp gc --forget ID, the id being the one that stands behind 'at'"
            ) from error

    def _take(self, connection: Connection) -> None:
        self.digests.update(digest for (digest,) in connection.execute(NAMED))
        for (digest,) in connection.execute(LISTINGS):
            listing = "sha256:" + digest.hex()
            if listing not in self._listings:
                self._listings.add(listing)
                self.digests.update(_files(self.registry, listing))


def _as_restored(data: bytes) -> bytes:
    """A file as git restores it: without a write-ahead log beside it, so that what it holds by itself is all there is."""
    return data[:18] + b"\1\1" + data[20:]


def _files(registry: Registry, listing: str) -> list[bytes]:
    try:
        return [digests.to_bytes(entry.digest) for entry in tree.load(registry.blobs.read(listing))]
    except NotFound:
        return []  # its files are named by rows too; it may lie on another machine
    except IfpError as error:
        raise Refused(f"nothing was removed, since the listing of a folder is damaged: {error} (ifp fsck)") from error


def _swept(registry: Registry, names: _Names, grace: float, *, deleted: bool) -> Sweep:
    root, now = registry.blobs.root, time.time()
    unnamed, kept = list[Garbage](), 0
    try:
        for shard, entry in _blobs(root):
            name = shard + entry.name
            if bytes.fromhex(name) in names.digests:
                kept += 1
            else:
                unnamed.append(_garbage(f"sha256/{shard}/{entry.name}", "sha256:" + name, entry, now))
        left = [_garbage(f"tmp/{entry.name}", None, entry, now) for entry in _entries(root / "tmp") if _is_nobodys(entry.name)]
    except OSError as error:
        raise StorageError(f"{error.filename or root} can't be read: {error.strerror}; nothing was removed") from error
    garbage = [found for found in unnamed if found.age >= grace]
    young = len(unnamed) - len(garbage)
    garbage += [found for found in left if found.age >= LEFTOVER]
    return Sweep(deleted, tuple(sorted(garbage, key=lambda g: -g.age)), kept, young, names.revisions)


def _blobs(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(the first two digits, the file) of each blob; what is named otherwise isn't ours to judge."""
    for shard in _folders(root / "sha256"):
        for entry in _entries(root / "sha256" / shard):
            if len(entry.name) == 62 and _HEX.issuperset(entry.name):
                yield shard, entry


def _folders(place: Path) -> list[str]:
    names = os.listdir(place) if place.is_dir() else []
    return sorted(name for name in names if len(name) == 2 and _HEX.issuperset(name))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The plain files in a folder."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def _garbage(path: str, digest: str | None, entry: os.DirEntry[str], now: float) -> Garbage:
    status = entry.stat(follow_symlinks=False)
    return Garbage(path, digest, status.st_size, (now - max(status.st_mtime, status.st_ctime)) / 86400)


def _is_nobodys(name: str) -> bool:
    """Whether the process that began this temporary file is gone."""
    process = name.partition("-")[0]
    if os.name == "nt":  # where os.kill does kill
        return False
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return True
    except PermissionError:
        pass
    return False


def _remove(path: Path) -> None:
    # An emptied shard folder stays: a process that saw it made durable doesn't look again.
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} can't be removed: {error.strerror}") from error
