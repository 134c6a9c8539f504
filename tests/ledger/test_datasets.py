"""Datasets as rows: a table's columns and first rows are kept once, and views tell what changed and what grew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.digest import sha256
from ifpdb.ledger import datasets
from ifpdb.records import Column, Dataset


def digest(text: str) -> str:
    return sha256(text.encode())


AMOUNT = Column(0, "amount", "f64", digest("amounts"), 3, min=-0.5, max=25000.0, edges=(1.5, 1e300), counts=(4, 0, 2**40))
COUNTRY = Column(1, "country", "utf8", digest("countries"), 0, categorical=True, values=("DE", "ü"), counts=(5, 1))
WHEN = Column(2, "when", "ts[utc]", digest("times"), 0, min="2025-01-01T00:00:00Z", max="2025-02-01T00:00:00Z")


def table(name: str, rows: int, *blocks: str, columns: tuple[Column, ...] = (AMOUNT, COUNTRY)) -> Dataset:
    prefixes = tuple((65_536 * (i + 1), digest(block)) for i, block in enumerate(blocks))
    return Dataset("train", name, digest(name), f"{name}.csv", rows, kind="table", columns=columns, prefixes=prefixes)


def test_a_tables_columns_come_back_as_they_were_kept(registry: ifp.Registry) -> None:
    given = table("a", 7, columns=(AMOUNT, COUNTRY, WHEN))
    with registry.writing() as (tx, _):
        first, again = datasets.keep(tx, given), datasets.keep(tx, given)
    with registry.reading() as tx:
        assert first == again
        assert datasets.columns(tx, digest("a")) == given.columns
        assert datasets.columns(tx, digest("unknown")) == ()


def test_columns_are_kept_once_they_are_known(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _):
        bare = datasets.keep(tx, table("a", 7, columns=()))
        assert datasets.columns(tx, digest("a")) == ()
        assert datasets.keep(tx, table("a", 7)) == bare
        assert datasets.columns(tx, digest("a")) == (AMOUNT, COUNTRY)


def test_the_same_column_is_found_in_several_tables(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _):
        datasets.keep(tx, table("a", 7))
        datasets.keep(tx, table("b", 7, columns=(AMOUNT,)))
    query = "SELECT dataset FROM dataset_columns GROUP BY digest HAVING count(*) = 2"
    assert len(registry.sql(query)) == 1


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        ((100_000, "x"), (150_000, "x", "y"), 65_536),
        ((131_072, "x", "y"), (131_073, "x", "y"), 131_072),
        ((150_000, "x", "y"), (150_000, "x", "z"), 65_536),
        ((100_000, "x"), (150_000, "y", "z"), None),
        ((60_000,), (150_000, "x", "y"), None),
    ],
)
def test_a_table_that_grew_says_from_which_one(
    registry: ifp.Registry, older: tuple[Any, ...], newer: tuple[Any, ...], same: int | None
) -> None:
    with registry.writing() as (tx, _):
        datasets.keep(tx, table("older", *older))
        datasets.keep(tx, table("newer", *newer))
    found = registry.sql("SELECT other, same_rows FROM dataset_growth WHERE dataset = ?", [digest("newer")])
    assert found == ([] if same is None else [{"other": digest("older"), "same_rows": same}])


def test_views_name_data_by_digest_or_pointer_and_say_nothing_of_what_is_not_there(
    registry: ifp.Registry, folder: Path
) -> None:
    (folder / "train.csv").write_bytes(b"\x00")
    data = {"train": ["train.csv", "s3://bucket/extra#v1"]}
    registry.register("fraud", {"a": 1}, data=data, params={}, metrics={"f1": 1}, partial=True)
    with ifp.track("fraud", derived_from="fraud@v1"):
        pass
    named = {row["dataset"] for row in registry.sql("SELECT dataset FROM datasets")}
    assert named == {sha256(b"\x00"), "s3://bucket/extra#v1"}
    assert registry.sql("SELECT file FROM datasets") == [{"file": None}] * 2
    assert registry.sql("SELECT dataset FROM metrics") == [{"dataset": None}]
    assert registry.sql("SELECT version FROM runs WHERE registered_at IS NULL") == [{"version": None}]
    assert registry.sql("SELECT child_version FROM lineage") == [{"child_version": None}]
