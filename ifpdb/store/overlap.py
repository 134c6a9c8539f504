"""What goes on beside reading and writing a large file: hashing its bytes, and flushing them to the disk.

Without early flushes the kernel lets a gigabyte of dirty pages pile up, throttles the writer and leaves the fsync at the
end to wait for all of it.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from typing import Self

import xxhash

from ..records import Blob

BUFFERS = 8
"""Chunks in flight between the thread that reads and the one that hashes."""

FLUSH_EVERY = 32 << 20
"""Bytes written between two flushes."""


class Hashing:
    """SHA-256 and xxh3-128 of a stream of chunks, in a thread of its own when overlapped."""

    def __init__(self, overlapped: bool) -> None:
        self._overlapped = overlapped
        self._sha256, self._xxh3 = hashlib.sha256(), xxhash.xxh3_128()
        self._chunks: queue.Queue[memoryview | None] = queue.Queue(BUFFERS - 3)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        if self._overlapped:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def update(self, chunk: memoryview) -> None:
        """Take a chunk; its memory must stay as it is until `BUFFERS - 1` further chunks were taken."""
        if self._overlapped:
            self._chunks.put(chunk)
        else:
            self._add(chunk)

    def result(self, size: int) -> Blob:
        self._finish()
        return Blob("sha256:" + self._sha256.hexdigest(), size, self._xxh3.hexdigest())

    def _add(self, chunk: memoryview) -> None:
        self._sha256.update(chunk)
        self._xxh3.update(chunk)

    def _work(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._add(chunk)

    def _finish(self) -> None:
        if self._thread.is_alive():
            self._chunks.put(None)
            self._thread.join()


class Flushing:
    """Has the kernel begin, every FLUSH_EVERY bytes, to write them to the disk. It waits for nothing and takes no error from
    the fsync at the end; where there is no such advice (macOS, Windows), that fsync writes it all.

    Tried and rejected: fdatasync in a thread of its own, which commits the file's growth to the journal each time.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._written, self._begun = descriptor, 0, 0

    def wrote(self, count: int) -> None:
        """Take note of bytes that were written."""
        self._written += count
        if self._written - self._begun >= FLUSH_EVERY and hasattr(os, "posix_fadvise"):
            # Advised that pages aren't needed, Linux writes those that are dirty, and drops only those that are clean.
            os.posix_fadvise(self._descriptor, self._begun, self._written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._written
