"""Files that hold a typed table, Parquet, Feather and Arrow IPC, read a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import UsageError
from . import arrow
from .table import Field
from .values import Values

ENDINGS = {".parquet": b"PAR1", ".pq": b"PAR1", ".feather": b"ARROW1", ".arrow": b"ARROW1", ".ipc": b"ARROW1"}
"""How the name of such a file ends, and how the file begins."""


def is_one(path: Path) -> bool:
    """Whether a file begins as its name promises."""
    magic = ENDINGS[path.suffix.lower()]
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def leaves(path: Path) -> tuple[list[Field], Iterator[list[Values]]]:
    """The fields of the table, and its rows as they lie in the file.

    Row labels that pandas wrote are no columns. Raises UsageError without pyarrow, and for a damaged file.
    """
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            f"{path} holds a table, and reading it takes pyarrow: pip install 'ifpdb[data]', or point to it with a "
            f"pointer URI#REVISION (--data-ref)"
        ) from None
    try:
        schema, batches = _parquet(path) if ENDINGS[path.suffix.lower()] == b"PAR1" else _ipc(path)
        labels = arrow.row_labels(schema)
        wanted = [name for name in schema.names if name not in labels]
        fields = arrow.fields(pyarrow.schema([schema.field(name) for name in wanted]) if labels else schema)
    except (pyarrow.ArrowException, OSError, ValueError, LookupError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None

    def parts() -> Iterator[list[Values]]:
        try:
            for batch in batches:
                table = pyarrow.Table.from_batches([batch])
                yield from arrow.leaves(table.select(wanted) if labels else table)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{path} is damaged: {error}") from None

    return fields, parts()


def _parquet(path: Path) -> tuple[Any, Iterator[Any]]:
    from pyarrow import parquet

    file = parquet.ParquetFile(path, pre_buffer=False)  # else all row groups are read ahead
    return file.schema_arrow, file.iter_batches()


def _ipc(path: Path) -> tuple[Any, Iterator[Any]]:
    import pyarrow

    reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
    return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
