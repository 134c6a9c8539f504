"""A log that is followed: each event once, in log order, as it comes, whoever writes it and whatever git does to the file.

A look is one short reading transaction; between looks nothing is held, so that no writer waits and no state grows old. The
heads of a log tell all that is in it: while they are what they were, nothing is new. What was seen is kept by id, so that a
file that is replaced, by an older revision and then by a newer one, repeats nothing. SQLite notices what others commit, even
within one tick of the file's clock, but not a copy over the file of one with as many commits: so a file whose size or time
is another one is opened anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .digest import to_bytes
from .errors import Busy, IfpError, NotFound, StorageError
from .ledger import events, news
from .records import Event
from .store.db import Database
from .store.explaining import reachable

INTERVAL = 0.1
"""Seconds between two looks."""
PAGE = 500
"""Events that are read at a time."""
AWAY, STRANGE = 60.0, 10.0
"""Seconds for which a file that is gone or locked is waited for, and one that is no registry: a checkout is writing it."""

Waiting = Callable[[IfpError], object]
"""Told why, when the file can't be read and is waited for."""


def follow(path: Path, seen: news.Seen, waiting: Waiting | None = None) -> Iterator[Event]:
    """Every event that wasn't seen, and for ever each one that comes. Raises what reading the file raises, when it lasts."""
    log = _Log(path, seen)
    began, before = 0.0, None
    try:
        while True:
            try:
                found = log.look()
            except IfpError as error:
                log.close()
                if type(error) is not before:
                    began, before = time.monotonic(), type(error)
                    if waiting is not None:
                        waiting(error)
                away = isinstance(error, NotFound | Busy | StorageError)
                if time.monotonic() - began > (AWAY if away else STRANGE):
                    raise
                found = []
            else:
                before = None
            for event in found:
                seen.add(event.id)
                yield event
            if not found:
                time.sleep(INTERVAL)
    finally:
        log.close()


class _Log:
    """The log of a file that may be replaced, through a connection of its own."""

    def __init__(self, path: Path, seen: news.Seen) -> None:
        self._path, self._seen = path.absolute(), seen
        self._database: Database | None = None
        self._looks: tuple[int, ...] | None = None  # inode, size and time of the file
        self._heads: list[str] | None = None
        self._next: tuple[str, bytes] | None = None  # where the events stand that are still to be told

    def look(self) -> list[Event]:
        """The next events that weren't seen, in log order; none when there are none now."""
        with reachable(self._path), suppress(FileNotFoundError):
            status = os.stat(self._path)
            looks = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if looks != self._looks:
                self.close()
                self._looks = looks
        if self._database is None:
            self._database = Database(self._path, readonly=True, timeout=1.0)
        with self._database.read() as tx:
            heads = events.heads(tx)
            if heads != self._heads:
                self._next = news.oldest(tx, self._seen)
                self._heads = heads
            if self._next is None:
                return []
            found = news.page(tx, self._seen, self._next, size=PAGE)
        self._next = (found[-1].at, to_bytes(found[-1].id)) if len(found) == PAGE else None
        return found

    def close(self) -> None:
        """Let go of the file: whoever looks next opens what is there then, and rolls back what a killed writer left."""
        if self._database is not None:
            self._database.close()
        self._database = None
