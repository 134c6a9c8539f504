"""Datasets: what a run is told it used, with the digest or the stable pointer that says which data that was.

A table is known by its values, whichever library or file holds them (`ifp-table/1`); any other file or folder by its bytes.
The data itself is never kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import Conflict, UsageError
from ...names import check_key, check_role
from ...records import Dataset
from ...tree import hash_path

TABLES = frozenset([".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".ipc"])
"""How the names of files end that may hold a table."""


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
    lengths: Collection[int] = (),
) -> Dataset:
    """The Dataset behind a frame, an array, a path or a pointer; `uri` is kept relative to `project`, else as a base name.

    Without `profile` the columns have no ranges, values or bins. `lengths` are the row counts of tables that this one may
    have grown from: where it is longer, the digest of its first rows is taken there too.
    """
    check_role(role)
    if isinstance(data, Dataset):
        kept = data.uri if data.digest is None else _portable(uri or data.uri, project)
        return replace(data, role=role, name=name or data.name, uri=kept)
    if not isinstance(data, str | os.PathLike):
        from .description import Description

        description = Description(role=role, name=name, profile=profile, lengths=lengths)
        description.add(data)
        return replace(description.finish(), uri=_portable(uri, project))
    text = os.fspath(data)
    if is_pointer(text) and not os.path.exists(text):
        pointer = _without_secrets(text)
        return Dataset(role, check_key(name or pointer_name(pointer), "dataset name"), None, pointer, kind="pointer")
    path = Path(text)
    status = os.stat(path) if os.path.isfile(path) else None
    found, size, kind = hash_path(path)
    label = check_key(name or path.resolve().name, "dataset name")
    place = _portable(uri, project) or relative_path(path, project)
    table = None
    if path.suffix.lower() in TABLES and status is not None:
        table = _table_in(path, found, _writes(status), profile=profile, lengths=tuple(sorted(lengths)))
    if table is None:
        return Dataset(role, label, found, place, size=size, kind=kind)
    return replace(table, role=role, name=label, uri=place, file=found)


@lru_cache(maxsize=32)
def _table_in(path: Path, _digest: str, writes: tuple[int, ...], *, profile: bool, lengths: tuple[int, ...]) -> Dataset | None:
    """The table in a file whose bytes have that digest; one process doesn't parse the same bytes twice.

    `writes` is what the file's status was before they were read: it must be so still.
    """
    from .files import table_in  # readers and hashers are loaded where there is something to read

    table = table_in(path, role="train", name=path.name, profile=profile, lengths=lengths)
    if _writes(os.stat(path)) != writes:
        raise Conflict(f"{path} changed while it was read; try again when its writer is done")
    return table


def _writes(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def describe_all(data: object, *, project: Path | None = None, lengths: Collection[int] = ()) -> list[Dataset]:
    """Datasets from what `data=` accepts: a path, a frame, an array, a Dataset, a list of these, or a mapping of roles."""
    return [describe(item, role=role, project=project, lengths=lengths) for role, item in items(data)]


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


def is_pointer(text: str) -> bool:
    """Whether `text` is a stable pointer: something, a '#', and a revision."""
    uri, _, revision = text.rpartition("#")
    return bool(uri) and bool(revision)


def check_pointer(text: str) -> str:
    """`text` without credentials, or UsageError: a pointer without a revision points to something else tomorrow."""
    if not is_pointer(text):
        raise UsageError(f"'{text}' is no stable pointer: write URI#REVISION, as in s3://bucket/train.parquet#v12")
    return check_key(_without_secrets(text), "data pointer")


def pointer_name(text: str) -> str:
    """The last part of a pointer's path, which names the dataset where nothing else does."""
    return text.rpartition("#")[0].rstrip("/").rpartition("/")[2] or text


def _portable(uri: str | None, project: Path | None) -> str | None:
    if uri is None:
        return None
    return relative_path(Path(uri), project) if os.path.isabs(uri) else _without_secrets(uri)


def _without_secrets(text: str) -> str:
    from ..redaction import redact_text  # its patterns take 2 ms to compile

    return redact_text(text)


def relative_path(path: Path, project: Path | None) -> str:
    """A path relative to the project, else its base name: an absolute path says something only on one machine."""
    absolute = path.resolve()
    if project is not None and absolute.is_relative_to(project):
        return absolute.relative_to(project).as_posix()
    return absolute.name
