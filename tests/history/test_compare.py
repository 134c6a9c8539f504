"""Differences between two versions: each part, each kind of change, and none where there is none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.answers import Change
from ifpdb.capture.schema.features import Feature, make_schema
from ifpdb.digest import canonical
from ifpdb.history.compare import compare
from ifpdb.records import Artifact, Code, Dataset, Measurement, Version

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
AMOUNT = Feature(0, "amount", "number", False, 0, 100)
COUNTRY = Feature(1, "country", "category", True, categories=("DE", "FR"))


def measured(metric: str, value: float, dataset: str | None = None) -> Measurement:
    return Measurement(metric, value, value, value, 1, dataset, "2026-01-01T00:00:00.000000Z")


def version(**changed: Any) -> Version:
    facts: dict[str, Any] = {
        "model": "fraud", "digest": A, "run": "run-1", "ordinal": 1, "stage": "staging", "missing": (),
        "weights": Artifact("model", A, 10, "pickle", "file"), "data": (Dataset("train", "train.csv", A, "train.csv"),),
        "schema": make_schema([AMOUNT, COUNTRY]), "params": {"lr": 0.1}, "seed": 7, "measurements": (measured("f1", 0.9),),
        "code": Code("c0ffee", False, None, A, (("train.py", A),)),
        "environment": {"python": "3.11", "packages": {"numpy": "2.0"}}, "tags": (), "labels": (), "parents": (),
        "created_at": "", "actor": "ada", "runs": ("run-1",), "manifest": "{}",
    }  # fmt: skip
    return Version(**facts | changed)


CASES: list[tuple[dict[str, Any], list[tuple[str, str, str, Any, Any]]]] = [
    ({"params": {"lr": 0.2}}, [("param", "lr", "changed", 0.1, 0.2)]),
    ({"params": {"lr": 0.1, "C": None}}, [("param", "C", "added", None, None)]),
    ({"params": {}}, [("param", "lr", "removed", 0.1, None)]),
    ({"params": {"lr": "0.1"}}, [("param", "lr", "changed", 0.1, "0.1")]),
    ({"seed": 8}, [("seed", "seed", "changed", 7, 8)]),
    ({"seed": None}, [("seed", "seed", "removed", 7, None)]),
    ({"seed": 2**64}, [("seed", "seed", "changed", 7, str(2**64))]),
    ({"data": ()}, [("data", "train:train.csv", "removed", A, None)]),
    ({"data": (Dataset("train", "train.csv", B, "train.csv"),)}, [("data", "train:train.csv", "changed", A, B)]),
    ({"weights": Artifact("model", B, 10, "pickle", "file")}, [("weights", "weights", "changed", A, B)]),
    ({"weights": None}, [("weights", "weights", "removed", A, None)]),
    ({"code": Code("c0ffee", True, B, A, (("train.py", A),))},
     [("code", "diff", "added", None, B), ("code", "dirty", "changed", False, True)]),
    ({"code": Code("c0ffee", False, None, B, (("train.py", B), ("new.py", C)))},
     [("code", "new.py", "added", None, C), ("code", "train.py", "changed", A, B)]),
    ({"environment": {"python": "3.12", "packages": {"numpy": "2.1", "scipy": "1"}}},
     [("environment", "package numpy", "changed", "2.0", "2.1"), ("environment", "package scipy", "added", None, "1"),
      ("environment", "python", "changed", "3.11", "3.12")]),
    ({"measurements": (measured("f1", math.nan),)}, [("metric", "f1", "changed", 0.9, "NaN")]),
    ({"measurements": ()}, [("metric", "f1", "removed", 0.9, None)]),
    ({"schema": make_schema([replace(COUNTRY, position=0), replace(AMOUNT, position=1)])},
     [("feature", "amount", "moved", 0, 1), ("feature", "country", "moved", 1, 0)]),
    ({"schema": make_schema([replace(AMOUNT, max=200, nullable=True), COUNTRY])},
     [("feature", "amount", "changed", {"nullable": False, "max": 100}, {"nullable": True, "max": 200})]),
    ({"schema": make_schema([AMOUNT])}, [("feature", "country", "removed", COUNTRY.as_dict(), None)]),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "expected"), CASES)
def test_a_difference_is_told_part_by_part(changed: dict[str, Any], expected: list[tuple[str, str, str, Any, Any]]) -> None:
    assert compare(version(), version(**changed)) == [Change(*change) for change in expected]


@pytest.mark.parametrize("changed", [changed for changed, _ in CASES])
def test_the_way_back_tells_the_opposite(changed: dict[str, Any]) -> None:
    opposite = {"added": "removed", "removed": "added", "changed": "changed", "moved": "moved"}
    there, back = compare(version(), version(**changed)), compare(version(**changed), version())
    assert {(c.part, c.name, opposite[c.change]) for c in there} == {(c.part, c.name, c.change) for c in back}


@pytest.mark.parametrize("changed", [changed for changed, _ in CASES])
def test_changes_are_json(changed: dict[str, Any]) -> None:
    assert canonical([change.as_dict() for change in compare(version(), version(**changed))])


@pytest.mark.parametrize("changed", [{}, *(changed for changed, _ in CASES)])
def test_a_version_does_not_differ_from_itself(changed: dict[str, Any]) -> None:
    assert compare(version(**changed), version(**changed)) == []


def test_a_feature_put_in_front_moves_none_of_the_others() -> None:
    shifted = make_schema([Feature(0, "age", "integer"), replace(AMOUNT, position=1), replace(COUNTRY, position=2)])
    changes = compare(version(), version(schema=shifted))
    assert [(change.name, change.change) for change in changes] == [("age", "added")]


def test_a_dataset_among_several_of_one_role_is_followed_by_name() -> None:
    before = version(data=(Dataset("train", "a", A, "a"), Dataset("train", "b", B, "b")))
    after = version(data=(Dataset("train", "b", C, "b"), Dataset("train", "a", A, "a")))
    assert compare(before, after) == [Change("data", "train:b", "changed", B, C)]


@pytest.mark.parametrize(
    ("data", "datasets"),
    [
        ((), (A, B)),
        ((), ("s3://bucket/holdout/a.parquet#1", "s3://bucket/holdout/b.parquet#1")),
        ((Dataset("holdout", "data.csv", A, None), Dataset("test", "data.csv", B, None)), (A, B)),
    ],
)
def test_one_metric_on_two_datasets_is_two_metrics(data: tuple[Dataset, ...], datasets: tuple[str, str]) -> None:
    before = version(data=data, measurements=[measured("f1", 0.5, dataset) for dataset in datasets])
    after = version(data=data, measurements=[measured("f1", 0.6, dataset) for dataset in datasets])
    changes = compare(before, after)
    assert len({change.name for change in changes}) == len(changes) == 2
    assert {(change.before, change.after) for change in changes} == {(0.5, 0.6)}


@given(
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3)),
    st.dictionaries(st.text(max_size=3), st.integers()),
)
def test_the_changes_lead_from_one_mapping_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    rebuilt = dict(before)
    for change in compare(version(params=before), version(params=after)):
        if change.change == "removed":
            del rebuilt[change.name]
        else:
            rebuilt[change.name] = change.after
    assert rebuilt == after
