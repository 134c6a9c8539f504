"""What became of a dataset between two versions: rows that were added, columns that came, went or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from ..answers import Change
from ..ledger import datasets
from ..records import Column, Dataset
from .sentences import COLUMN


def table_changes(tx: sqlite3.Connection, name: str, before: Dataset, after: Dataset) -> Iterator[Change]:
    """A change of the dataset `name`, with a note on its rows, then one for each column that differs.

    Columns are known by the digest of their values. Where the table only grew, every column has more values; those are
    listed whose type, range or set of values differs.
    """
    same = _same_rows(tx, before, after)
    yield Change("data", name, "changed", before.identity, after.identity, _note(before.rows, after.rows, same))
    if not (before.digest and after.digest):
        return
    grew = same is not None and same in (before.rows, after.rows)
    old, new = ({c.name: c for c in datasets.columns(tx, one.digest)} for one in (before, after) if one.digest)
    if not old or not new:
        return
    for column in [*old, *(column for column in new if column not in old)]:
        left, right = old.get(column), new.get(column)
        label = f"{name}{COLUMN}{column}"
        if left is None or right is None:
            kind = "added" if left is None else "removed"
            yield Change("data", label, kind, left and _described(left), right and _described(right))
        elif left.digest != right.digest or left.type != right.type:
            facts = _described(left), _described(right)
            differing = [key for key in facts[0] if facts[0][key] != facts[1][key]]
            if not (grew and differing == ["digest"]):
                was, now = ({key: fact[key] for key in differing} for fact in facts)
                yield Change("data", label, "changed", was, now)


def _described(column: Column) -> dict[str, Any]:
    values = None if column.values is None else list(column.values)
    facts = {"type": column.type, "min": column.min, "max": column.max, "nulls": column.nulls, "values": values}
    return {**facts, "digest": column.digest}


def _same_rows(tx: sqlite3.Connection, before: Dataset, after: Dataset) -> int | None:
    return datasets.same_rows(tx, before.digest, after.digest) if before.digest and after.digest else None


def _note(before: int | None, after: int | None, same: int | None) -> str | None:
    if before is None or after is None:
        return None
    if same == before:
        return f"append-only growth, from {before:,} to {after:,} rows"
    if same == after:
        return f"cut off behind row {after:,} of {before:,}"
    rows = f"from {before:,} to {after:,} rows" if before != after else f"{after:,} rows, as before"
    return f"{rows}; the first {same:,} are the same" if same else rows
