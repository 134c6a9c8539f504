"""Files that hold a table, told from those that only look like one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ...records import Dataset
from . import csvfile, frames, tablefile
from .description import Description
from .table import Leaf, Table, available

ARROW_FROM = 1 << 20
"""CSV files of this many bytes are worth the half second that importing pyarrow takes."""


def table_in(path: Path, *, role: str, name: str, profile: bool, lengths: Collection[int] = ()) -> Dataset | None:
    """The table that a file holds; None for a file that holds none."""
    ending = path.suffix.lower()
    if ending in tablefile.ENDINGS and not tablefile.is_one(path):
        return None
    if ending not in tablefile.ENDINGS and not available("numpy"):
        return _plain_csv(path, role=role, name=name, lengths=lengths)
    description, fresh = (Description(role=role, name=name, profile=profile, lengths=lengths) for _ in range(2))
    try:
        if ending in tablefile.ENDINGS:
            description.add_leaves(*tablefile.leaves(path))
        else:
            description = _csv(path, description, fresh)
        return description.finish()
    except csvfile.NotATableError:
        return None


def _csv(path: Path, description: Description, fresh: Description) -> Description:
    """A large CSV file by pyarrow where it is there and agrees to read it, else by Python; whoever reads, the digest is one."""
    if path.stat().st_size >= ARROW_FROM and available("pyarrow"):
        import pyarrow

        try:
            description.add_leaves(*frames.csv_by_arrow(path))
        except pyarrow.ArrowInvalid:
            description = fresh
        else:
            return description
    description.add_leaves(*frames.csv_by_python(path))
    return description


def _plain_csv(path: Path, *, role: str, name: str, lengths: Collection[int] = ()) -> Dataset | None:
    """A CSV file without numpy: no profiles."""
    try:
        fields = csvfile.fields(path)
        table = Table(fields, lengths=lengths)
        for columns in csvfile.columns(path, fields):
            cuts = table.cuts(len(columns[0]))
            leaves = [_plain_leaf(one.type, cells, cuts) for one, cells in zip(fields, columns, strict=True)]
            table.add(len(columns[0]), leaves)
    except csvfile.NotATableError:
        return None
    columns_found = table.columns()
    return Dataset(
        role, name, table.digest(), None, table.rows, kind="table", columns=columns_found, prefixes=tuple(table.prefixes)
    )


def _plain_leaf(kind: str, cells: Sequence[Any], cuts: Sequence[int]) -> Leaf:
    firsts = [csvfile.plain_leaf(kind, cells[:count]) for count in cuts]
    return csvfile.plain_leaf(kind, cells), sum(x is None or x != x for x in cells), firsts
