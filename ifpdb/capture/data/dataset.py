"""Datasets: what a run is told it used, with the digest or the stable pointer that says which data that was.

A table is known by its values, whichever library or file holds them (`ifp-table/1`); any other file or folder by its bytes.
The data itself is never kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import IfpError, UsageError
from ...names import check_key, check_role
from ...records import Dataset
from ...tree import hash_path
from ..redaction import redact_text
from . import csvfile, tablefile
from .digesting import Digesting
from .table import Field, Table


def hash_data(data: object) -> str:
    """The stable digest of training data, `sha256:…`: of a table's values, else of a file's bytes or a folder's listing.

    Equal tables have equal digests from pandas, polars, pyarrow, numpy, CSV, Parquet or Feather. Raises UsageError for what
    can't be read or has no digest, Conflict for what changes meanwhile.
    """
    described = describe(data, profile=False)
    if described.digest is None:
        raise UsageError(f"{described.uri} is a pointer: the bytes behind it can't be hashed here")
    return described.digest


def describe(
    data: object,
    *,
    role: str = "train",
    name: str | None = None,
    uri: str | None = None,
    project: Path | None = None,
    profile: bool = True,
) -> Dataset:
    """The Dataset behind a frame, an array, a path or a pointer; `uri` is kept relative to `project`, else as a base name.

    Without `profile` the columns have no ranges, values or bins.
    """
    check_role(role)
    if isinstance(data, Dataset):
        kept = data.uri if data.digest is None else _portable(uri or data.uri, project)
        return replace(data, role=role, name=name or data.name, uri=kept)
    if not isinstance(data, str | os.PathLike):
        description = Description(role=role, name=name, profile=profile)
        description.add(data)
        return replace(description.finish(), uri=_portable(uri, project))
    text = os.fspath(data)
    if is_pointer(text) and not os.path.exists(text):
        pointer = redact_text(text)
        return Dataset(role, check_key(name or pointer_name(pointer), "dataset name"), None, pointer, kind="pointer")
    path = Path(text)
    found, size, kind = hash_path(path)
    label = check_key(name or path.resolve().name, "dataset name")
    place = _portable(uri, project) or relative_path(path, project)
    table = _table_in(path, role=role, name=label, profile=profile) if kind == "file" else None
    if table is None:
        return Dataset(role, label, found, place, size=size, kind=kind)
    return replace(table, uri=place, file=found)


def describe_all(data: object, *, project: Path | None = None) -> list[Dataset]:
    """Datasets from what `data=` accepts: a path, a frame, an array, a Dataset, a list of these, or a mapping of roles."""
    return [describe(item, role=role, project=project) for role, item in items(data)]


def items(data: object) -> Iterator[tuple[str, object]]:
    """(role, item) of each dataset in what `data=` accepts."""
    by_role: Mapping[str, object] = data if isinstance(data, Mapping) else {} if data is None else {"train": data}
    for role, found in by_role.items():
        for item in _several(found):
            yield (item.role if isinstance(item, Dataset) and not isinstance(data, Mapping) else role), item


def _several(item: Any) -> Iterable[Any]:
    """The datasets in a list; a list of numbers or rows is one."""
    if isinstance(item, list | tuple) and all(not isinstance(one, int | float | list | tuple) for one in item):
        return item
    return [item]


class Description:
    """A table in memory, described as it is handed over; several parts with the same columns are one table."""

    def __init__(self, *, role: str, name: str | None, profile: bool = True) -> None:
        self._role, self._name, self._profile = role, name, profile
        self._digesting: Digesting | None = None

    def add(self, data: object, *, last: bool = True) -> None:
        """Take in a table, or the next rows of it when `last` is false. Raises UsageError for what has no digest."""
        try:
            self.add_leaves(*_leaves(data), last=last)
        except (IfpError, OSError, MemoryError):
            raise
        except Exception as error:  # every library has its own for what it can't read
            raise UsageError(f"this {type(data).__name__} can't be read ({type(error).__name__}: {error})") from error

    def add_leaves(self, fields: Sequence[Field], leaves: Iterable[Any], *, last: bool = True) -> None:
        """As `add`, for a table that was opened already."""
        if self._digesting is None:
            self._digesting = Digesting(fields, profile=self._profile)
        self._digesting.add(fields, leaves, last=last)

    def finish(self) -> Dataset:
        """What was taken in, as a dataset. Raises UsageError for a table without rows."""
        assert self._digesting is not None, "nothing was added"
        columns, table = self._digesting.finish(), self._digesting.table
        prefixes = tuple(table.prefixes)
        return Dataset(
            self._role, self._name, table.digest(), None, table.rows, kind="table", columns=columns, prefixes=prefixes
        )


def _table_in(path: Path, *, role: str, name: str, profile: bool) -> Dataset | None:
    """The table that a file holds; None for a file that holds none."""
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", *tablefile.ENDINGS):
        return None
    if ending in tablefile.ENDINGS and not tablefile.is_one(path):
        return None
    if ending not in tablefile.ENDINGS and find_spec("numpy") is None:
        return _plain_csv(path, role=role, name=name)
    description = Description(role=role, name=name, profile=profile)
    try:
        if ending in tablefile.ENDINGS:
            description.add_leaves(*tablefile.leaves(path))
        else:
            description = _csv(path, description, Description(role=role, name=name, profile=profile))
        return description.finish()
    except csvfile.NotATableError:
        return None


def _csv(path: Path, description: Description, fresh: Description) -> Description:
    """A CSV file by pyarrow where it is there and agrees to read it, else by Python; whoever reads, the digest is one."""
    from . import frames

    if csvfile.has_arrow():
        import pyarrow

        try:
            description.add_leaves(*frames.csv_by_arrow(path))
        except pyarrow.ArrowInvalid:
            description = fresh
        else:
            return description
    description.add_leaves(*frames.csv_by_python(path))
    return description


def _plain_csv(path: Path, *, role: str, name: str) -> Dataset | None:
    """A CSV file without numpy: no profiles."""
    try:
        fields = csvfile.fields(path)
        table = Table(fields)
        for columns in csvfile.columns(path, fields):
            leaves = [
                (csvfile.plain_leaf(one.type, cells), sum(x is None or x != x for x in cells))
                for one, cells in zip(fields, columns, strict=True)
            ]
            table.add(len(columns[0]), leaves)
    except csvfile.NotATableError:
        return None
    columns_found = table.columns()
    return Dataset(
        role, name, table.digest(), None, table.rows, kind="table", columns=columns_found, prefixes=tuple(table.prefixes)
    )


def _leaves(data: Any) -> tuple[list[Field], Iterable[Any]]:
    """The fields and leaves of a table in memory, whoever's it is. Nothing is imported that its maker didn't import."""
    from . import arrays, frames

    home = type(data).__module__.partition(".")[0]
    bases = {base.__module__.partition(".")[0] + "." + base.__name__ for base in type(data).__mro__}
    if home == "numpy":
        return arrays.array(data)
    if home == "pandas" or "pandas.DataFrame" in bases or "pandas.Series" in bases:
        return frames.pandas(data)
    if home == "polars":
        return frames.polars(data)
    if home == "pyarrow":
        return frames.of_arrow(data)
    if "datasets.Dataset" in bases or home == "datasets":
        return frames.hugging_face(data)
    if home == "scipy" and hasattr(data, "tocsr"):
        return arrays.sparse(data)
    if "torch.Tensor" in bases:
        return arrays.tensor(data)
    if "torch.Dataset" in bases and hasattr(data, "__len__"):
        return arrays.items(data)
    if isinstance(data, list | tuple | range):
        return arrays.lists(data)
    if home == "torch" or hasattr(data, "__next__") or "torch.IterableDataset" in bases:
        raise UsageError(f"a {type(data).__name__} can't be read without using it up or mixing it: give the data behind it")
    if isinstance(data, int | float | bool | bytes | Mapping | set):
        raise UsageError(
            f"data is a frame, an array, a file or folder, or a pointer 'uri#revision'; not a {type(data).__name__}"
        )
    return frames.narwhals(data)


def is_pointer(text: str) -> bool:
    """Whether `text` is a stable pointer: something, a '#', and a revision."""
    uri, _, revision = text.rpartition("#")
    return bool(uri) and bool(revision)


def check_pointer(text: str) -> str:
    """`text` without credentials, or UsageError: a pointer without a revision points to something else tomorrow."""
    if not is_pointer(text):
        raise UsageError(f"'{text}' is no stable pointer: write URI#REVISION, as in s3://bucket/train.parquet#v12")
    return check_key(redact_text(text), "data pointer")


def pointer_name(text: str) -> str:
    """The last part of a pointer's path, which names the dataset where nothing else does."""
    return text.rpartition("#")[0].rstrip("/").rpartition("/")[2] or text


def _portable(uri: str | None, project: Path | None) -> str | None:
    if uri is None:
        return None
    return relative_path(Path(uri), project) if os.path.isabs(uri) else redact_text(uri)


def relative_path(path: Path, project: Path | None) -> str:
    """A path relative to the project, else its base name: an absolute path says something only on one machine."""
    absolute = path.resolve()
    if project is not None and absolute.is_relative_to(project):
        return absolute.relative_to(project).as_posix()
    return absolute.name
