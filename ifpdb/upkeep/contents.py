"""Blobs against their digests: every byte that a row names is here and is what it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

import xxhash

from .. import digest, tree
from ..errors import IfpError, NotFound
from ..store.blobs import BlobStore
from .findings import Damage

BLOBS = "SELECT digest, size, xxh3 FROM blob ORDER BY digest"
TREES = """
    SELECT DISTINCT b.digest, a.name, r.id FROM artifact a JOIN blob b ON b.key = a.blob JOIN run r ON r.key = a.run
     WHERE a.kind = 'tree' ORDER BY 1"""
SIZES = """
    SELECT r.id, a.name, b.digest, a.size, b.size FROM artifact a JOIN blob b ON b.key = a.blob JOIN run r ON r.key = a.run
     WHERE a.kind = 'file' AND a.size <> b.size"""


@dataclass(frozen=True, slots=True)
class Expected:
    """A blob that a row names, and what the row says of it. `xxh3` is None where a listing names it and no row does."""

    digest: str
    size: int
    xxh3: str | None


def expected(tx: Connection, store: BlobStore, found: dict[str, Expected]) -> Iterator[Damage]:
    """Gather in `found` every blob that this registry needs: those of the rows, and the files that listings of folders name."""
    for name, size, xxh3 in tx.execute(BLOBS):
        found[digest.to_text(name)] = Expected(digest.to_text(name), size, xxh3.hex())
    for run, artifact, name, told, size in tx.execute(SIZES):
        yield Damage("size", digest.to_text(name), f"artifact '{artifact}' of {run} says {told} bytes, its blob has {size}")
    for name, artifact, run in tx.execute(TREES):
        listing = digest.to_text(name)
        try:
            entries = tree.load(store.read(listing))
        except NotFound:
            continue  # it is told as missing with the other blobs
        except IfpError:
            yield Damage("tree", listing, f"the listing of folder '{artifact}' of {run} can't be read")
            continue
        for entry in entries:
            row = found.setdefault(entry.digest, Expected(entry.digest, entry.size, None))
            if row.size != entry.size:
                yield Damage("size", entry.digest, f"{entry.path} has {entry.size} bytes in {listing}, {row.size} in its row")


def check(
    store: BlobStore, wanted: Iterable[Expected], *, fast: bool, progress: Callable[[int], None] | None = None
) -> list[Damage]:
    """Read every blob, in as many threads as there are processors; what is missing, cut short or damaged.

    With `fast` a blob is held to its xxh3-128, which notices rot as well as SHA-256 and is some ten times as fast. It is no
    match for somebody who means to deceive.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return [problem for problem in pool.map(lambda one: _look(store, one, fast, progress), wanted) if problem is not None]


def _look(store: BlobStore, one: Expected, fast: bool, progress: Callable[[int], None] | None) -> Damage | None:
    path = store.path(one.digest)
    try:
        if not path.is_file():
            return Damage("missing", one.digest, f"{_place(store, path)} is not here")
        if (size := path.stat().st_size) != one.size:
            return Damage("damaged", one.digest, f"{_place(store, path)} has {size} bytes, not {one.size}")
        sha256, xxh3 = hashlib.sha256(), xxhash.xxh3_128()

        def take(chunk: memoryview) -> None:
            xxh3.update(chunk)
            if not fast or one.xxh3 is None:
                sha256.update(chunk)
            if progress is not None:
                progress(len(chunk))

        tree.read_steadily(path, take)
    except (IfpError, OSError) as error:
        return Damage("unreadable", one.digest, str(error))
    whole = (fast and one.xxh3 is not None) or sha256.hexdigest() == one.digest.removeprefix("sha256:")
    if whole and one.xxh3 in (None, xxh3.hexdigest()):
        return None
    if whole and not fast:
        return Damage("blob", one.digest, "its row has another xxh3-128 than its bytes")
    return Damage("damaged", one.digest, f"{_place(store, path)} no longer holds the bytes that it is named by")


def _place(store: BlobStore, path: Path) -> str:
    return path.relative_to(store.root.parent).as_posix()


def unnamed(store: BlobStore, wanted: Iterable[str]) -> list[str]:
    """What lies in the blob folder and no row names: notes, since another branch or a registration may need it."""
    known, strays, count, size = set(wanted), list[str](), 0, 0
    for path in _files(store.root / "sha256"):
        name = "sha256:" + path.parent.name + path.name
        if len(name) != len("sha256:") + 64:
            strays.append(f"{_place(store, path)} is no blob")
        elif name not in known:
            count, size = count + 1, size + path.stat().st_size
    leftovers = sum(1 for _ in _files(store.root / "tmp"))
    notes = [f"{count} blobs of {size} bytes that no row names (ifp gc)"] if count else []
    if leftovers:
        notes.append(f"{leftovers} temporary files in {store.root.name}, of writers at work or gone (ifp gc)")
    return notes + strays


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
