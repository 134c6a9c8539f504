"""From leaves to what is known of a table: its digest, its columns and their profiles.

Large tables are hashed by two threads, which numpy and hashlib let run at once; small ones at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from ...errors import UsageError
from ...records import Column
from .profile import Profiler
from .table import LEAF, Field, Leaf, Table
from .values import Values, copied, digest, joined, part_of, present

_THREADS = 2
_LARGE = 4 << 20
"""A leaf of this many bytes is shared out."""


class Digesting:
    """Takes the leaves of one table, or of several with the same columns that follow one another."""

    def __init__(self, fields: Sequence[Field], *, profile: bool, lengths: Collection[int] = ()) -> None:
        self.fields = list(fields)
        self.table = Table(self.fields, lengths=lengths)
        self._profilers = [Profiler(one.type, categorical=one.categorical) for one in fields] if profile else None
        self._waiting: list[list[Values]] = []
        self._count = 0
        self._pool: ThreadPoolExecutor | None = None
        self._running: tuple[int, list[Future[list[Leaf]]]] = 0, []

    def add(self, fields: Sequence[Field], leaves: Iterable[list[Values]], *, last: bool) -> None:
        """Take in leaves of any sizes. What fills no leaf waits in a copy for more; with `last` there is none to come.

        Raises UsageError for other columns than before.
        """
        if [(one.name, one.type) for one in fields] != [(one.name, one.type) for one in self.fields]:
            raise UsageError(f"this batch has the columns {_named(fields)}, the one before {_named(self.fields)}")
        try:
            for leaf in leaves:
                self._wait(leaf, last=last)
            if last:
                self._take_rest()
            self._settle()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def finish(self) -> tuple[Column, ...]:
        """The columns; the digest, rows and prefixes are the table's."""
        self._take_rest()
        self._settle()
        columns = self.table.columns()
        if self._profilers is None:
            return columns
        return tuple(replace(one, **profiler.finish()) for one, profiler in zip(columns, self._profilers, strict=True))

    def _wait(self, leaf: list[Values], *, last: bool) -> None:
        """Let rows wait until LEAF of them are there. If others may follow, in copies: their owner may use the memory again."""
        self._waiting.append(leaf if last or leaf[0].count == LEAF else [copied(values) for values in leaf])
        while not last and len(self._waiting) > 1 and self._waiting[-2][0].count <= 2 * self._waiting[-1][0].count:
            self._waiting[-2:] = [_together(self._waiting[-2:])]  # few parts, and no row is copied often
        self._count += leaf[0].count
        while self._count >= LEAF:
            whole, count = _together(self._waiting), self._count
            self._waiting = [[part_of(values, LEAF, count) for values in whole]] if count > LEAF else []
            self._count -= LEAF
            self._take([part_of(values, 0, LEAF) for values in whole] if count > LEAF else whole)

    def _take_rest(self) -> None:
        if self._waiting:
            self._take(_together(self._waiting))
        self._waiting, self._count = [], 0

    def _take(self, leaf: list[Values]) -> None:
        """Begin to hash a leaf, the one before being done; meanwhile the next one can be made."""
        self._settle()
        kinds = [one.type for one in self.fields]
        cuts = self.table.cuts(leaf[0].count)

        def some(columns: range) -> list[Leaf]:
            found = list[Leaf]()
            for i in columns:
                firsts = [digest(kinds[i], part_of(leaf[i], 0, count)) for count in cuts]
                found.append((digest(kinds[i], leaf[i]), leaf[i].nulls, firsts))
                if self._profilers is not None:
                    self._profilers[i].add(present(kinds[i], leaf[i]))
            return found

        size = sum(getattr(values.data, "nbytes", 0) for values in leaf)
        if size < _LARGE or len(leaf) == 1:
            self.table.add(leaf[0].count, some(range(len(leaf))))
            return
        self._pool = self._pool or ThreadPoolExecutor(_THREADS)
        step = max(1, len(leaf) // (_THREADS * 2))
        jobs = [self._pool.submit(some, range(i, min(i + step, len(leaf)))) for i in range(0, len(leaf), step)]
        self._running = leaf[0].count, jobs

    def _settle(self) -> None:
        """Wait for the leaf that is being hashed."""
        rows, jobs = self._running
        if jobs:
            self.table.add(rows, [one for job in jobs for one in job.result()])
        self._running = 0, []


def _together(parts: Sequence[list[Values]]) -> list[Values]:
    return [joined(values) for values in zip(*parts, strict=True)]


def _named(fields: Sequence[Field]) -> str:
    shown = ", ".join(f"{one.name} {one.type}" for one in fields[:6])
    return shown + ("" if len(fields) <= 6 else f" and {len(fields) - 6} more")
