"""`ifp-table/1`: the digest of tabular data, the same whatever library or file held it. Specified in docs/format.md.

A column is cut into leaves of 65,536 rows. Each leaf is hashed, a column is the hash of its leaves, a table that of its
columns; and the digests of its first rows, chained leaf by leaf, tell which other table this one grew from.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec

from ...digest import to_text
from ...errors import UsageError
from ...records import Column

LEAF = 65_536
"""Rows in each leaf but the last."""


@cache
def available(package: str) -> bool:
    """Whether a package can be imported; looked for once."""
    return find_spec(package) is not None


@dataclass(frozen=True, slots=True)
class Field:
    """A column's name and its type, such as 'f64', 'utf8' or 'ts[utc]'."""

    name: str
    type: str
    categorical: bool = False


Leaf = tuple[bytes, int, Sequence[bytes]]
"""What was hashed of a column's leaf: its digest, its nulls, and the digests of its first rows at each of `Table.cuts`."""


@dataclass(slots=True)
class _Hashed:
    """What has been hashed of one column so far."""

    of: Field
    leaves: list[bytes] = field(default_factory=list)
    nulls: int = 0

    def digest(self, rows: int) -> bytes:
        head = b"ifp-col/1\0" + _prefixed(self.of.type) + struct.pack("<Q", rows)
        return hashlib.sha256(head + b"".join(self.leaves)).digest()


class Table:
    """Takes the leaves of a table in their order."""

    def __init__(self, fields: Sequence[Field], *, lengths: Collection[int] = ()) -> None:
        """`lengths` are the row counts at which its first rows are to be known too, besides whole leaves and all of it.

        Raises UsageError for a table without columns, or with two of one name.
        """
        if not fields:
            raise UsageError("the table has no columns: nothing can be said of it")
        names = [one.name for one in fields]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"two columns are called {twice!r}: rename one, so that each can be told apart")
        self._columns = [_Hashed(one) for one in fields]
        self.rows = 0
        self.prefixes: list[tuple[int, str]] = []
        self._lengths = sorted(set(lengths))
        named = b"".join(_prefixed(one.name) + _prefixed(one.type) for one in fields)
        self._chain = hashlib.sha256(b"ifp-prefix/1\0" + struct.pack("<I", len(fields)) + named).digest()

    def cuts(self, rows: int) -> list[int]:
        """At how many rows of the next leaf, which has so many, its first rows are to be known."""
        return [length - self.rows for length in self._lengths if self.rows < length < self.rows + rows]

    def add(self, rows: int, leaves: Sequence[Leaf]) -> None:
        """Add one leaf of each column. Only the last one may have fewer than LEAF rows."""
        assert self.rows % LEAF == 0, "a short leaf is the last"
        for i, count in enumerate(self.cuts(rows)):
            self._keep_prefix(count, [firsts[i] for _, _, firsts in leaves])
        chain = self._keep_prefix(rows, [digest for digest, _, _ in leaves])
        if rows == LEAF:
            self._chain = chain
        for column, (digest, nulls, _) in zip(self._columns, leaves, strict=True):
            column.leaves.append(digest)
            column.nulls += nulls
        self.rows += rows

    def _keep_prefix(self, rows: int, leaves: Sequence[bytes]) -> bytes:
        """The chain with one more leaf; a short one says its rows, since one of nulls has the same bytes for any number."""
        short = b"" if rows == LEAF else struct.pack("<I", rows)
        chain = hashlib.sha256(b"ifp-prefix/1\0" + self._chain + short + b"".join(leaves)).digest()
        self.prefixes.append((self.rows + rows, to_text(chain)))
        return chain

    def columns(self) -> tuple[Column, ...]:
        """What the columns are, without profiles."""
        return tuple(
            Column(i, one.of.name, one.of.type, to_text(one.digest(self.rows)), one.nulls, one.of.categorical)
            for i, one in enumerate(self._columns)
        )

    def digest(self) -> str:
        """`sha256:…` of the table. Raises UsageError for one without rows."""
        if not self.rows:
            raise UsageError("the table has no rows: an empty table trains nothing")
        return table_digest(self.rows, [(one.of.name, one.of.type, one.digest(self.rows)) for one in self._columns])


def table_digest(rows: int, columns: Sequence[tuple[str, str, bytes]]) -> str:
    """`sha256:…` of a table, from the name, the type and the digest of each column."""
    whole = hashlib.sha256(b"ifp-table/1\0" + struct.pack("<QI", rows, len(columns)))
    for name, type, digest in columns:
        whole.update(_prefixed(name) + _prefixed(type) + digest)
    return "sha256:" + whole.hexdigest()


def leaf_digest(pieces: Iterable[bytes | memoryview]) -> bytes:
    """The digest of a leaf's bytes, piece by piece."""
    checksum = hashlib.sha256()
    for piece in pieces:
        checksum.update(piece)
    return checksum.digest()


def _prefixed(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(data)) + data
