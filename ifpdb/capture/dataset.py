"""Datasets: what a run is told it used, with the digest or the stable pointer that says which data that was.

Only files and folders are digested here, by their bytes; the bytes themselves are never kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import UsageError
from ..names import check_key, check_role
from ..records import Dataset
from ..tree import hash_path

Data: TypeAlias = "str | os.PathLike[str] | Dataset"
"""A path of a file or folder, a pointer `uri#revision`, or a Dataset that was described before."""


def hash_data(data: Data) -> str:
    """The stable digest of training data, `sha256:…`: of a file's bytes, or of a folder's listing.

    Raises UsageError for what can't be read or is no file or folder, Conflict for what changes meanwhile.
    """
    described = describe(data)
    if described.digest is None:
        raise UsageError(f"{described.uri} is a pointer: the bytes behind it can't be hashed here")
    return described.digest


def describe(
    data: Data,
    *,
    role: str = "train",
    name: str | None = None,
    uri: str | None = None,
    project: Path | None = None,
) -> Dataset:
    """The Dataset behind a path or a pointer; `uri` is kept relative to `project`, else as a base name."""
    check_role(role)
    if isinstance(data, Dataset):
        kept = data.uri if data.digest is None else _portable(uri or data.uri, project)
        return Dataset(role, name or data.name, data.digest, kept, data.rows, data.size, data.kind)
    if not isinstance(data, str | os.PathLike):
        raise UsageError(f"data is a file or folder, or a pointer 'uri#revision'; not a {type(data).__name__}")
    text = os.fspath(data)
    if is_pointer(text) and not os.path.exists(text):
        return Dataset(role, check_key(name or pointer_name(text), "dataset name"), None, text, kind="pointer")
    path = Path(text)
    found, size, kind = hash_path(path)
    label = check_key(name or path.resolve().name, "dataset name")
    return Dataset(role, label, found, _portable(uri, project) or relative_path(path, project), size=size, kind=kind)


def describe_all(data: object, *, project: Path | None = None) -> list[Dataset]:
    """Datasets from what `data=` accepts: a path, a Dataset, a list of these, or a mapping of role to any of these."""
    if data is None:
        return []
    by_role: Mapping[str, object] = data if isinstance(data, Mapping) else {"train": data}
    found = []
    for role, items in by_role.items():
        for item in _several(items):
            own_role = item.role if isinstance(item, Dataset) and not isinstance(data, Mapping) else role
            found.append(describe(item, role=own_role, project=project))
    return found


def _several(items: Any) -> Iterable[Any]:
    return items if isinstance(items, Iterable) and not isinstance(items, str | os.PathLike) else [items]


def is_pointer(text: str) -> bool:
    """Whether `text` is a stable pointer: something, a '#', and a revision."""
    uri, _, revision = text.rpartition("#")
    return bool(uri) and bool(revision)


def check_pointer(text: str) -> str:
    """`text` itself, or UsageError: a pointer without a revision points to something else tomorrow."""
    if not is_pointer(text):
        raise UsageError(f"'{text}' is no stable pointer: write URI#REVISION, as in s3://bucket/train.parquet#v12")
    return check_key(text, "data pointer")


def pointer_name(text: str) -> str:
    """The last part of a pointer's path, which names the dataset where nothing else does."""
    return text.rpartition("#")[0].rstrip("/").rpartition("/")[2] or text


def _portable(uri: str | None, project: Path | None) -> str | None:
    return relative_path(Path(uri), project) if uri is not None and os.path.isabs(uri) else uri


def relative_path(path: Path, project: Path | None) -> str:
    """A path relative to the project, else its base name: an absolute path says something only on one machine."""
    absolute = path.resolve()
    if project is not None and absolute.is_relative_to(project):
        return absolute.relative_to(project).as_posix()
    return absolute.name
