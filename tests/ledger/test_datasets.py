"""Datasets as rows: a table's columns and first rows are kept once, and views tell what changed and what grew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb.capture.data.dataset import describe
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


def growth(registry: ifp.Registry) -> list[tuple[int, int, int]]:
    """(rows, other_rows, same_rows) of each pair of tables that begin alike."""
    rows = registry.sql("SELECT rows, other_rows, same_rows FROM dataset_growth ORDER BY rows, other_rows, same_rows")
    return [(row["rows"], row["other_rows"], row["same_rows"]) for row in rows]


def csv(rows: int, first: object = 0) -> str:
    """A CSV file with so many rows."""
    name = f"{rows}-{first}.csv"
    Path(name).write_text("a,b\n" + "".join(f"{i if i else first},{i % 7}\n" for i in range(rows)))
    return name


def test_registering_tells_growth_from_replacement_at_any_number_of_rows(make: Callable[..., ifp.Version]) -> None:
    registry = ifp.open()
    versions = [make(str(i), data=data) for i, data in enumerate([csv(300), csv(400), csv(450, 9), csv(500)])]
    assert growth(registry) == [(400, 300, 300), (500, 300, 300), (500, 400, 400)]
    old, new, replaced, newest = (version.data[0].digest or "" for version in versions)
    with registry.reading() as tx:
        assert datasets.same_rows(tx, old, new) == datasets.same_rows(tx, new, old) == 300
        assert datasets.same_rows(tx, new, newest) == 400
        assert datasets.same_rows(tx, new, replaced) is None
        assert datasets.same_rows(tx, old, old) == 300
        assert datasets.same_rows(tx, old, digest("unknown")) is None


def test_a_measurement_on_the_training_data_and_more_is_seen(make: Callable[..., ifp.Version]) -> None:
    registry = ifp.open()
    make("a", data=csv(300))
    registry.measure("fraud@latest", {"f1": 0.9}, dataset=csv(320))
    registry.measure("fraud@latest", {"f1": 0.8}, dataset=csv(330, 9))
    assert growth(registry) == [(320, 300, 300)]


def test_a_table_that_is_known_learns_more_of_its_first_rows(registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _):
        datasets.keep(tx, describe(csv(400)))
        datasets.keep(tx, describe(csv(300)))
    assert growth(registry) == []
    with registry.writing() as (tx, _):
        datasets.keep(tx, describe(csv(400), lengths=[300]))
        datasets.keep(tx, describe(csv(400), lengths=[200]))
    assert growth(registry) == [(400, 300, 300)]
    assert registry.sql("SELECT rows FROM dataset_prefix ORDER BY rows") == [{"rows": rows} for rows in (200, 300, 300, 400)]


def test_lengths_are_those_of_a_models_newest_training_tables(make: Callable[..., ifp.Version]) -> None:
    registry = ifp.open()
    assert lengths(registry, "fraud") == ()
    make("file", data=Path("schema.json"))
    make("pointer", data="s3://bucket/train#v1")
    assert lengths(registry, "fraud") == ()
    make("a", data={"train": csv(30), "target": csv(20), "holdout": csv(7), "test": csv(8)})
    make("b", data=csv(10))
    make("b", "churn", data=csv(90))
    assert lengths(registry, "fraud") == (10, 30, 20)
    make("c", data=csv(30))
    make("a", data={"train": csv(30), "target": csv(20)})
    assert lengths(registry, "fraud") == (30, 10, 20)
    assert lengths(registry, "churn") == (90,)
    for rows in range(40, 50):
        make("a", data=csv(rows))
    assert lengths(registry, "fraud") == (49, 48, 47, 46, 45, 44, 43, 42)


def lengths(registry: ifp.Registry, model: str) -> tuple[int, ...]:
    with registry.reading() as tx:
        return datasets.lengths_of(tx, model)


def test_lengths_are_found_by_indexes_alone(registry: ifp.Registry) -> None:
    with registry.reading() as tx:
        plan = [row[3] for row in tx.execute("EXPLAIN QUERY PLAN " + datasets.LENGTHS, ("fraud",))]
    assert [step for step in plan if step.startswith("SCAN")] == ["SCAN v"], "of the newest versions, which are few"


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
