"""The order of writers: who came first, writes first.

SQLite gives its lock to whoever asks at the right moment: of 16 processes that wrote as fast as they could, five wrote once
in 15 seconds and one 118 times. So a writer stands in line before it asks SQLite. The line is the file `turns` in the
blob folder, which stays empty: it is there for locks on ranges of its bytes. Byte 0 is the turn. A waiter holds the byte
of the nanosecond at which it came, and is next when it can have all bytes from 1 up to its own, since nobody before it is
left. What a process holds, the kernel takes back when it dies.

It is a courtesy: SQLite's lock decides. Where there is no line (no blob folder, no locks in that file system, not Linux),
and where it doesn't move because somebody in it was stopped, a writer goes on without. Tried and rejected: flock, which
whoever lets go of it may take again before the one that it woke; waiting in the kernel, which knows no timeout.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_UNLCK, F_WRLCK, fcntl  # of an open file: threads and forks have their own
except ImportError:
    POSSIBLE = False
else:
    POSSIBLE = True

NAME = "turns"
UNCLAIMED = 0.25
"""Seconds after which a turn that nobody takes is taken by whoever notices: those before it in line were stopped."""
HELD = 1.0
"""Seconds after which the next in line asks SQLite whether the holder is really writing."""

_FLOCK = struct.Struct("hhqqi4x")
_TURN = 0, 1
_REST = 0  # as a length: to the end


@contextmanager
def turn(folder: Path, until: float) -> Iterator[bool]:
    """Wait for this writer's turn, no longer than until time.monotonic() says `until`; whether it came.

    The block is to be entered in any case: SQLite says whether others write.
    """
    line = _open(folder)
    if line is None:
        yield False
        return
    process = os.getpid()
    try:
        yield _waited(line, until)
    finally:
        if process == os.getpid():  # a child forked meanwhile shares these locks, and must not give them away
            _leave(line)
        os.close(line)


def _open(folder: Path) -> int | None:
    if not POSSIBLE:
        return None
    try:
        return os.open(f"{folder}/{NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None


def _waited(line: int, until: float) -> bool:
    try:
        came = _wait(line, until)
        if not came:
            _leave(line)
        return came
    except OSError:  # the file system keeps no locks
        return False


def _wait(line: int, until: float) -> bool:
    place = time.time_ns()
    if _lock(line, 0, place + 1):  # nobody is here
        _unlock(line, 1, place)
        return True
    place = _stand(line, place)
    last = time.monotonic()  # when the turn was seen to be held
    while not _lock(line, 1, place):
        now = time.monotonic()
        if now > until:
            return False
        if _holder(line, *_TURN) is not None:
            last = now
        elif now - last > UNCLAIMED:
            return _lock(line, *_TURN)
        ahead = place - (_holder(line, 1, place - 1) or place)
        time.sleep(min(max(ahead / 4e9, 0.001), 0.02))
    return _wait_as_next(line, place, until)


def _wait_as_next(line: int, place: int, until: float) -> bool:
    began = time.monotonic()
    while not _lock(line, *_TURN):
        waited = time.monotonic() - began
        if waited > HELD or began + waited > until:
            return False
        time.sleep(max(waited / 20, 0.0002))
    _unlock(line, 1, place)
    return True


def _stand(line: int, place: int) -> int:
    """Take a place in line: the byte of this nanosecond, or the first after those that somebody has."""
    while not _lock(line, place, 1):
        taken = _holder(line, place, 1)
        place = place if taken is None else taken + 1
    return place


def _lock(line: int, start: int, length: int) -> bool:
    try:
        fcntl(line, F_OFD_SETLK, _FLOCK.pack(F_WRLCK, os.SEEK_SET, start, length, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN, or EACCES on some systems
        return False
    return True


def _leave(line: int) -> None:
    with suppress(OSError):
        _unlock(line, 0, _REST)


def _unlock(line: int, start: int, length: int) -> None:
    fcntl(line, F_OFD_SETLK, _FLOCK.pack(F_UNLCK, os.SEEK_SET, start, length, 0))


def _holder(line: int, start: int, length: int) -> int | None:
    """The last byte of a lock that stands in the way of one on this range: of the oldest waiter there, mostly."""
    found = _FLOCK.unpack(fcntl(line, F_OFD_GETLK, _FLOCK.pack(F_WRLCK, os.SEEK_SET, start, length, 0)))
    kind, _, first, count, _ = found
    return None if kind == F_UNLCK else first + count - 1
