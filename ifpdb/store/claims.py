"""Who may touch the blob folder: those who ingest share it, and gc has it to itself.

A blob that nobody names yet is garbage by every rule but one: its registration is on the way. So whoever ingests holds the
claim from before the first byte until after COMMIT, and gc deletes only while nobody does. The lock is flock on the file
`claim` in the folder: it goes with its process, however that dies. It is a promise between processes of one machine, and
of several where the network file system keeps flock's. Among many who ingest there is always one that holds the claim; so
that gc gets it at all, those who come later wait at `gate` while it waits.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Busy, Refused, StorageError

try:
    import fcntl
except ImportError:  # Windows: nobody can claim, so that gc never deletes there
    fcntl = None  # type: ignore[assignment]

POSSIBLE = fcntl is not None
TIMEOUT = 60.0
"""Seconds that a claim waits for others to let go before it gives up with Busy."""

_HELD = threading.local()
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def shared(folder: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold off gc: for whoever adds blobs and then names them, or copies them. Claims may nest, also in threads.

    Raises Busy when gc holds the folder for longer than the timeout (60 s), StorageError where there can be no claim.
    """
    if fcntl is None:
        yield
        return
    held = _HELD.__dict__.setdefault("folders", list[Path]())
    if folder not in held:  # who has the claim goes on, or gc would wait for it and it for gc
        with _locked(folder, "gate", fcntl.LOCK_SH, timeout, "a garbage collection waits for or holds"):
            pass
    with _locked(folder, "claim", fcntl.LOCK_SH, timeout, "a garbage collection holds"):
        held.append(folder)
        try:
            yield
        finally:
            held.remove(folder)


@contextmanager
def exclusive(folder: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold off everybody else: for gc. It can't be taken inside of a shared claim.

    Raises Busy when registrations or a backup go on for longer than the timeout, Refused where a system has no flock.
    """
    if fcntl is None:
        raise Refused("this system has no flock, so that gc can't tell whether somebody registers: run it on another one")
    with (
        _locked(folder, "gate", fcntl.LOCK_EX, timeout, "another garbage collection holds"),
        _locked(folder, "claim", fcntl.LOCK_EX, timeout, "registrations or a backup hold"),
    ):
        yield


@contextmanager
def _locked(folder: Path, name: str, kind: int, timeout: float | None, holder: str) -> Iterator[None]:
    descriptor, process = _open(folder, name), os.getpid()
    if descriptor is None:
        yield
        return
    try:
        patience = TIMEOUT if timeout is None else timeout
        if not _wait(descriptor, kind, patience):
            raise Busy(f"{folder}: {holder} the blobs for longer than {patience:g} s; try again when that is done")
        yield
    finally:
        if process == os.getpid():  # a child forked meanwhile has the same lock, and must not give it away
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _wait(descriptor: int, kind: int, patience: float) -> bool:
    """Take the lock; False when that took longer than `patience`."""
    until, pause = time.monotonic() + patience, 0.001
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        else:
            return True


def _open(folder: Path, name: str) -> int | None:
    """The file to lock, made where it is missing; None in a folder that can't be written and that nobody has claimed yet."""
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise StorageError(f"{folder} can't be claimed: {error.strerror}") from error
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None
