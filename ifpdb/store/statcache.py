"""What was read before: a file that is as it was then is known by its blob, without reading it again.

It is a file of the blob folder, `statcache`: 1,024 pages of 32 records, each page for the inodes that hash to it, so that
a look-up reads one page, a note writes 128 bytes, and neither takes a lock. A record bears a checksum of itself and of this
boot of the machine: what is torn, damaged, half of two writers', or from before the last boot is not there. So nothing
needs an fsync, and nothing but time is lost with the file.

A record says more than it seems: *no byte of this inode changed since* is what its size, mtime and ctime must show. They do
where each write after the note gives the file a new time. So a file is noted only

- on a file system that is known to keep that promise (`RELIABLE`; tmpfs, overlayfs, FAT and whatever has a network in
  between don't, or not for memory maps);
- when it was at rest for 2 s before it was read, for clocks tick (git's racy problem), and its times don't lie ahead;
- when nobody had it open for writing as reading began: a page of a shared memory map gives the file a new time when it is
  written first, and no more until the kernel has cleaned it, up to half a minute later.

What it can't see: a clock set back to the nanosecond of an earlier write, writes beneath the file system, and dirty pages
of the source that the disk fails to take.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from struct import Struct
from time import time_ns
from typing import Self

import xxhash

from ..digest import to_bytes, to_text
from ..records import Blob
from ..tree import Source
from .filesystem import type_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RACY = 2_000_000_000
"""Nanoseconds: a file that changed so shortly before it was read is not noted."""

RELIABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})
"""File systems whose times and inode numbers show every change, one by a memory map included."""

_KEY = Struct("<QQ")
_BODY = Struct("<QQQqqqQq32s16s")
_RECORD, _SLOTS, _PAGES = 128, 32, 1024
_PAGE = _RECORD * _SLOTS


@dataclass(frozen=True, slots=True)
class Known:
    """The blob that a file was kept as, and the (inode, ctime) that the blob's own file had then."""

    blob: Blob
    mark: tuple[int, int]


class StatCache:
    """The records of one blob folder. It never fails: what can't be read is not known, what can't be written not noted."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "statcache"
        self._descriptor = -1
        self._reliable: dict[int, bool] = {}

    def __enter__(self) -> Self:
        self._open(os.O_RDWR)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def find(self, status: os.stat_result) -> Known | None:
        """What is known of a file that looks like this."""
        if self._descriptor < 0:
            return None
        key = _KEY.pack(status.st_dev, status.st_ino)
        _, page = self._page(key)
        for slot in range(0, _PAGE, _RECORD):
            if page.startswith(key, slot) and _is_sound(page[slot : slot + _RECORD]):
                _, _, size, mtime, ctime, noted, *mark, digest, xxh3 = _BODY.unpack_from(page, slot)
                if (size, mtime, ctime) == _times(status) and noted <= time_ns():
                    return Known(Blob(to_text(digest), size, xxh3.hex()), (mark[0], mark[1]))
        return None

    def is_worth_noting(self, source: Source) -> bool:
        """Whether every later change of a file will show; asked before its first byte is read."""
        status = source.status
        if max(status.st_mtime_ns, status.st_ctime_ns) > time_ns() - RACY:
            return False
        if status.st_dev not in self._reliable:
            self._reliable[status.st_dev] = is_reliable(source.path)
        return self._reliable[status.st_dev] and _nobody_writes(source.descriptor)

    def note(self, status: os.stat_result, blob: Blob, kept: os.stat_result) -> None:
        """Remember which blob a file was kept as. Only for what was worth noting before it was read."""
        if self._descriptor < 0:
            self._open(os.O_RDWR | os.O_CREAT)
        key = _KEY.pack(status.st_dev, status.st_ino)
        at, page = self._page(key)
        body = _BODY.pack(
            status.st_dev,
            status.st_ino,
            *_times(status),
            time_ns(),
            *mark_of(kept),
            to_bytes(blob.digest),
            bytes.fromhex(blob.xxh3),
        )
        slot = min(range(0, _PAGE, _RECORD), key=lambda slot: _worth(page[slot : slot + _RECORD], key))
        with suppress(OSError):
            os.pwrite(self._descriptor, (body + _checksum(body)).ljust(_RECORD, b"\0"), at + slot)

    def _open(self, flags: int) -> None:
        with suppress(OSError):
            self._descriptor = os.open(self._path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    def _page(self, key: bytes) -> tuple[int, bytes]:
        """The page that a file's record lies on, and its place."""
        at = xxhash.xxh3_64_intdigest(key) % _PAGES * _PAGE
        try:
            return at, os.pread(self._descriptor, _PAGE, at).ljust(_PAGE, b"\0")
        except OSError:
            return at, bytes(_PAGE)


def mark_of(kept: os.stat_result) -> tuple[int, int]:
    """What changes with a blob's own file, whether it is written to or replaced."""
    return kept.st_ino, kept.st_ctime_ns


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _worth(record: bytes, key: bytes) -> int:
    """Which record of a page goes first: this file's own, one that is empty or damaged, the oldest."""
    if record.startswith(key):
        return -2
    return int(_BODY.unpack_from(record)[5]) if _is_sound(record) else -1


def _is_sound(record: bytes) -> bool:
    return record[_BODY.size : _BODY.size + 8] == _checksum(record[: _BODY.size])


def _checksum(body: bytes) -> bytes:
    return xxhash.xxh3_64_digest(body, seed=_boot())


@cache
def _boot() -> int:
    """A number for this boot: device numbers mean nothing after it, and what a crash does to dirty pages shows in no time."""
    with suppress(OSError):
        return xxhash.xxh3_64_intdigest(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    return 0


def is_reliable(path: Path) -> bool:
    """Whether a path lies on a file system whose times show every change."""
    with suppress(OSError):
        return type_of(os.path.realpath(path), Path("/proc/self/mountinfo").read_bytes()) in RELIABLE
    return False


def _nobody_writes(descriptor: int) -> bool:
    """Whether no process has the file open, or mapped, for writing at this moment. Only its owner and root may ask."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # who opens it meanwhile waits, and we'd get SIGIO, which kills
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
