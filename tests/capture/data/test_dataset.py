"""Datasets: paths, pointers and what is neither."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy
import pytest

from ifpdb.capture.data.dataset import check_pointer, describe, describe_all, hash_data, is_pointer, pointer_name
from ifpdb.digest import sha256
from ifpdb.errors import UsageError
from ifpdb.records import Dataset

POINTER = "s3://bucket/train.parquet#v12"


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "data" / "parts").mkdir(parents=True)
    (folder / "data" / "train.csv").write_bytes(b"a\n1\n")
    (folder / "data" / "parts" / "0.csv").write_bytes(b"a\n2\n")
    return folder / "data"


def test_a_file_is_described_by_its_bytes_and_its_place_in_the_project(data: Path, folder: Path) -> None:
    (data / "train.bin").write_bytes(b"1\n")
    found = describe("data/train.bin", project=folder)
    assert found == Dataset("train", "train.bin", sha256(b"1\n"), "data/train.bin", None, 2, "file")


def test_a_file_that_holds_a_table_is_described_by_that(data: Path, folder: Path) -> None:
    found = describe("data/train.csv", project=folder)
    table = hash_data(numpy.array([(1,)], [("a", "i8")]))
    assert found == Dataset("train", "train.csv", table, "data/train.csv", 1, None, "table", sha256(b"a\n1\n"))


def test_a_folder_is_described_by_its_listing(data: Path, folder: Path) -> None:
    found = describe(data / "parts", role="test", name="all", project=folder)
    assert (found.role, found.name, found.uri, found.kind, found.size) == ("test", "all", "data/parts", "tree", 4)
    assert found.digest == hash_data(data / "parts")


@pytest.mark.parametrize("project", [None, Path("/nowhere")])
def test_outside_the_project_only_the_base_name_is_kept(data: Path, project: Path | None) -> None:
    assert describe(data / "train.csv", project=project).uri == "train.csv"


def test_an_absolute_path_is_not_kept_though_it_was_given_as_the_uri(data: Path, folder: Path) -> None:
    path = data / "train.csv"
    assert describe(path, uri=str(path), project=folder).uri == "data/train.csv"
    assert describe(path, uri="/mnt/lake/train.csv", project=folder).uri == "train.csv"
    assert describe(path, uri="s3://lake/train.csv", project=folder).uri == "s3://lake/train.csv"


def test_an_empty_file_is_data(folder: Path) -> None:
    (folder / "empty").touch()
    assert hash_data("empty") == sha256(b"")


def test_a_pointer_stands_for_bytes_that_are_elsewhere() -> None:
    assert describe(POINTER) == Dataset("train", "train.parquet", None, POINTER, kind="pointer")
    with pytest.raises(UsageError, match="can't be hashed here"):
        hash_data(POINTER)


def test_a_file_that_looks_like_a_pointer_is_a_file(folder: Path) -> None:
    (folder / "a#b").write_bytes(b"x")
    assert describe("a#b").digest == sha256(b"x")


@pytest.mark.parametrize("text", ["s3://bucket/train", "#v1", "s3://bucket/train#", "#", ""])
def test_a_pointer_needs_something_and_its_revision(text: str) -> None:
    assert not is_pointer(text)
    with pytest.raises(UsageError, match="URI#REVISION"):
        check_pointer(text)


@pytest.mark.parametrize(
    ("text", "name"), [(POINTER, "train.parquet"), ("db.table#7", "db.table"), ("s3://b/d/#1", "d"), ("a#b#c", "a#b")]
)
def test_a_pointers_last_part_names_it(text: str, name: str) -> None:
    assert pointer_name(text) == name
    assert check_pointer(text) == text


@pytest.mark.parametrize("bad", ["missing.csv", "train.csv/x", "x" * 300, "nul\0"])
def test_a_path_with_nothing_behind_it_is_refused(folder: Path, bad: str) -> None:
    (folder / "train.csv").touch()
    with pytest.raises(UsageError):
        describe(bad)


@pytest.mark.parametrize("bad", [7, None, 1.5, b"train.csv"])
def test_what_is_no_path_is_refused_by_its_type(bad: Any) -> None:
    with pytest.raises(UsageError, match=type(bad).__name__):
        describe(bad)


def test_a_fifo_is_refused(folder: Path) -> None:
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        describe("pipe")


@pytest.mark.parametrize("role", ["Train", "", "a b"])
def test_a_bad_role_is_refused(data: Path, role: str) -> None:
    with pytest.raises(UsageError, match="role"):
        describe(data, role=role)


@pytest.mark.parametrize(
    ("given", "roles"),
    [
        (None, []),
        ({}, []),
        ("data/train.csv", ["train"]),
        (Path("data"), ["train"]),
        (["data/train.csv", "data/parts"], ["train", "train"]),
        ({"train": "data", "holdout": [POINTER, "data/parts"]}, ["train", "holdout", "holdout"]),
        (Dataset("test", "t", None, POINTER), ["test"]),
        ({"holdout": Dataset("test", "t", None, POINTER)}, ["holdout"]),
    ],
)
def test_data_is_one_or_several_or_by_role(data: Path, given: Any, roles: list[str]) -> None:
    assert [found.role for found in describe_all(given)] == roles
