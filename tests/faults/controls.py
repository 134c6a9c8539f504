"""Negative controls: ifpdb with one promise broken, so that a harness which doesn't notice is seen to be blind.

They are patches in the process that does the work, asked for by name; the library knows nothing of them.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ifpdb import desk
from ifpdb.ledger import events
from ifpdb.store import blobs, db, live

FSYNC, RENAME = os.fsync, os.rename


BLIND = "live files can't be read"
"""No control: what a fault makes of a write when nobody can tell whether a run is dead. The next write notices."""


def apply(name: str) -> None:
    """Break one promise in this process; '' breaks none."""
    if name == BLIND:
        live.is_dead = lambda folder, run: False
    elif name:
        CONTROLS[name]()


def synchronous(level: str) -> Callable[[], None]:
    """SQLite told to be less careful."""

    def patch() -> None:
        configure = db._configure

        def careless(connection: Any) -> None:
            configure(connection)
            connection.execute(f"PRAGMA synchronous = {level}")

        db._configure = careless

    return patch


def blob_is_not_synced() -> None:
    os.fsync = lambda descriptor: None if _is_file(descriptor) else FSYNC(descriptor)


def shard_is_not_synced() -> None:
    os.fsync = lambda descriptor: FSYNC(descriptor) if _is_file(descriptor) else None


def row_before_bytes() -> None:
    """A file is copied into the blob folder only after the transaction that names it."""
    put, writing, late = blobs.BlobStore.put_path, desk.Registry.writing, list[Callable[[], Any]]()

    def put_later(store: blobs.BlobStore, path: Path, **given: Any) -> Any:
        late.append(lambda: put(store, path, **given))
        with tempfile.TemporaryDirectory() as elsewhere:
            return put(blobs.BlobStore(Path(elsewhere) / "cas"), path, **given)

    @contextmanager
    def write_first(registry: desk.Registry) -> Iterator[Any]:
        with writing(registry) as opened:
            yield opened
        while late:
            late.pop()()

    blobs.BlobStore.put_path = put_later
    desk.Registry.writing = write_first


def renamed_before_synced() -> None:
    """A blob gets its name first and is flushed to the disk under it."""
    waiting: list[int] = []

    def wait(descriptor: int) -> None:
        if _is_file(descriptor):
            waiting.append(descriptor)
        else:
            FSYNC(descriptor)

    def rename_first(source: Any, target: Any) -> None:
        RENAME(source, target)
        while waiting:
            FSYNC(waiting.pop())

    os.fsync, os.rename = wait, rename_first


def event_apart_from_change() -> None:
    """What an event tells of is committed before the event."""
    append = events.append

    def append_later(tx: Any, *arguments: Any, **given: Any) -> Any:
        tx.execute("COMMIT")
        tx.execute("BEGIN IMMEDIATE")
        return append(tx, *arguments, **given)

    events.append = append_later


def live_file_is_not_synced() -> None:
    live._make_durable = lambda descriptor, folder: None


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


CONTROLS: dict[str, Callable[[], None]] = {
    "synchronous=FULL": synchronous("FULL"),
    "synchronous=OFF": synchronous("OFF"),
    "blob not synced": blob_is_not_synced,
    "shard not synced": shard_is_not_synced,
    "row before bytes": row_before_bytes,
    "renamed before synced": renamed_before_synced,
    "live file not synced": live_file_is_not_synced,
    "event apart from change": event_apart_from_change,
}
