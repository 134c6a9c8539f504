"""Blobs against their digests: every byte that a row names is here and is what it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection

import xxhash

from .. import digest, tree
from ..errors import IfpError, NotFound
from ..store.blobs import BlobStore
from .findings import Damage


@dataclass(frozen=True, slots=True)
class Expected:
    """A blob that a row names, what the row says of it, and who needs it.

    `xxh3` is None where a folder's listing names it and no row does.
    """

    digest: str
    size: int
    xxh3: str | None
    owner: str = ""


BLOBS = "SELECT digest, size, xxh3 FROM blob ORDER BY digest"
ARTIFACTS = """
    SELECT b.digest, b.size, a.kind, a.size, a.name || ' of ' || coalesce(m.name || '@v' || v.ordinal, r.id)
      FROM artifact a JOIN blob b ON b.key = a.blob JOIN run r ON r.key = a.run
      LEFT JOIN version v ON v.key = r.version LEFT JOIN model m ON m.key = v.model ORDER BY r.key, a.name"""


def expected(tx: Connection, store: BlobStore, found: dict[str, Expected]) -> Iterator[Damage]:
    """Gather in `found` every blob that this registry needs: those of the rows, and the files that listings of folders name."""
    for name, size, xxh3 in tx.execute(BLOBS):
        found[digest.to_text(name)] = Expected(digest.to_text(name), size, xxh3.hex())
    trees = set[str]()
    for name, size, kind, told, owner in tx.execute(ARTIFACTS):
        blob = digest.to_text(name)
        found[blob] = replace(found[blob], owner=found[blob].owner or owner)
        if kind == "file" and told != size:
            yield Damage("size", blob, f"{owner} says {told} bytes, its blob has {size}")
        if kind == "tree" and blob not in trees:
            trees.add(blob)
            yield from _files_of(store, blob, told, owner, found)


def _files_of(store: BlobStore, listing: str, told: int, owner: str, found: dict[str, Expected]) -> Iterator[Damage]:
    """Gather the files of a folder."""
    try:
        entries = tree.load(store.read(listing))
    except NotFound:
        return  # it is told as missing with the other blobs
    except IfpError:
        yield Damage("tree", listing, f"the listing of {owner} can't be read, so that its files can't be checked")
        return
    for entry in entries:
        row = found.get(entry.digest) or Expected(entry.digest, entry.size, None)
        found[entry.digest] = replace(row, owner=row.owner or f"{entry.path} in {owner}")
        if row.size != entry.size:
            yield Damage("size", entry.digest, f"{entry.path} in {owner} has {entry.size} bytes, its row says {row.size}")
    if told != (size := sum(entry.size for entry in entries)):
        yield Damage("size", listing, f"{owner} says {told} bytes, its files have {size}")


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
    place = _place(store, path) + (f" ({one.owner})" if one.owner else "")
    slow = not fast or one.xxh3 is None
    sha256, xxh3, size = hashlib.sha256(), xxhash.xxh3_128(), 0

    def take(chunk: memoryview) -> None:
        nonlocal size
        size += len(chunk)
        xxh3.update(chunk)
        if slow:
            sha256.update(chunk)
        if progress is not None:
            progress(len(chunk))

    try:
        if not path.is_file():
            return Damage("missing", one.digest, f"{place} is not here")
        tree.read_steadily(path, take)
    except (IfpError, OSError) as error:
        return Damage("unreadable", one.digest, str(error))
    as_told = size == one.size and one.xxh3 in (None, xxh3.hexdigest())
    if as_told if not slow else sha256.hexdigest() == one.digest.removeprefix("sha256:"):
        return None if as_told else Damage("blob", one.digest, "its row has another size or xxh3-128 than its bytes")
    why = f"has {size} bytes, not {one.size}" if size != one.size else "no longer holds the bytes that it is named by"
    return Damage("damaged", one.digest, f"{place} {why}")


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
            with suppress(FileNotFoundError):  # a gc may be at work
                count, size = count + 1, size + path.stat().st_size
    leftovers = sum(1 for _ in _files(store.root / "tmp"))
    notes = [f"{count} blobs of {size} bytes that no row names (ifp gc)"] if count else []
    if leftovers:
        notes.append(f"{leftovers} temporary files in {store.root.name}, of writers at work or gone (ifp gc)")
    return notes + strays


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
