"""Column profiles: the same whatever the blocks, exact at the ends, cheap where there is much."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture.data.profile import BINS, FEW_CATEGORIES, FEW_TEXTS, SAMPLE, Profiler


def profile(tag: str, *blocks: Any, categorical: bool = False) -> dict[str, Any]:
    profiler = Profiler(tag, categorical=categorical)
    for block in blocks:
        profiler.add(block)
    return profiler.finish()


def cut(values: Any, cuts: Iterable[int]) -> list[Any]:
    edges = [0, *sorted(at % (len(values) + 1) for at in cuts), len(values)]
    return [values[a:b] for a, b in pairwise(edges)]


@given(st.integers(0, 50_000), st.lists(st.integers(0, 50_000), max_size=8))
def test_a_profile_does_not_depend_on_the_blocks(count: int, cuts: list[int]) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert profile("f64", *cut(values, cuts)) == profile("f64", values)


@given(st.lists(st.floats(width=32), max_size=60))
def test_a_range_and_its_bins_are_json_whatever_the_floats(values: list[float]) -> None:
    found = profile("f32", np.array(values, "f4"))
    json.dumps(found, allow_nan=False)
    there = [value for value in values if value == value]
    finite = [value for value in there if abs(value) < float("inf")]
    if there and len(there) == len(finite):
        assert (found["min"], found["max"]) == (min(finite), max(finite))
    assert sum(found["counts"]) == len(finite)
    assert len(found["edges"]) < BINS
    assert len(found["counts"]) == (len(found["edges"]) + 1 if finite else 0)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=300))
def test_a_bin_holds_its_upper_edge(values: list[int]) -> None:
    found = profile("i64", np.array(values))
    bounds = [-float("inf"), *found["edges"], float("inf")]
    counted = [sum(low < value <= high for value in values) for low, high in pairwise(bounds)]
    assert list(found["counts"]) == counted


def test_few_distinct_numbers_have_a_bin_each() -> None:
    assert profile("i64", np.array([3, 1, 3, 2]))["edges"] == (1.0, 2.0, 3.0)
    assert profile("i64", np.array([3, 1, 3, 2]))["counts"] == (1, 1, 2, 0)


def test_many_values_are_sampled_and_their_range_is_exact() -> None:
    values = np.arange(10 * SAMPLE)
    found = profile("i64", values)
    assert (found["min"], found["max"]) == (0, 10 * SAMPLE - 1)
    assert SAMPLE / 2 <= sum(found["counts"]) <= SAMPLE
    assert max(found["counts"]) - min(found["counts"]) <= 1


@pytest.mark.parametrize(
    ("tag", "values", "low", "high"),
    [
        ("f64", np.array([1.5, np.nan, -2.0]), -2.0, 1.5),
        ("f64", np.array([1.0, np.inf]), 1.0, None),
        ("f64", np.array([-np.inf, 1.0]), None, 1.0),
        ("f64", np.array([np.nan]), None, None),
        ("u64", np.array([7, 2**64 - 1], "u8"), 7, None),
        ("i64", np.array([-(2**53), 2**53 - 1]), None, 2**53 - 1),
        ("date", np.array([0, 20_000], "i4"), "1970-01-01", "2024-10-04"),
        ("ts[utc]", np.array([0, 1]), "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:00.000000001Z"),
        ("ts[naive]", np.array([10**18]), "2001-09-09T01:46:40.000000000", "2001-09-09T01:46:40.000000000"),
        ("duration", np.array([1_500_000_000]), 1.5, 1.5),
        ("decimal[2]", ["1.25", "-3.50"], -3.5, 1.25),
        ("f32[2,2]", np.array([[[1, 2], [3, 4]]], "f4"), 1.0, 4.0),
        ("sparse[f64,9]", np.array([3.0, 5.0]), 0.0, 5.0),
        ("bytes", [b"x"], None, None),
        ("null", [], None, None),
    ],
)
def test_a_range_is_written_as_its_type_asks(tag: str, values: Any, low: Any, high: Any) -> None:
    found = profile(tag, values)
    assert (found["min"], found["max"]) == (low, high)
    json.dumps(found, allow_nan=False)


def test_booleans_are_counted() -> None:
    found = profile("bool", np.array([1, 0, 1], "u1"), np.array([True]))
    assert (found["values"], found["counts"]) == ((False, True), (1, 3))


@pytest.mark.parametrize(
    ("values", "categorical", "listed"),
    [
        (["b", "a", "b", "a"], False, ("a", "b")),
        (["a", "b", "c"], False, None),
        (["a", "b", "c"], True, ("a", "b", "c")),
        ([f"{i % FEW_TEXTS:03}" for i in range(2 * FEW_TEXTS)], False, tuple(f"{i:03}" for i in range(FEW_TEXTS))),
        ([f"{i % (FEW_TEXTS + 1)}" for i in range(10 * FEW_TEXTS)], False, None),
        ([f"{i}" for i in range(FEW_CATEGORIES + 1)], True, None),
    ],
)
def test_texts_are_listed_where_they_are_few(values: list[str], categorical: bool, listed: Any) -> None:
    found = profile("utf8", values[:3], values[3:], categorical=categorical)
    assert found["values"] == listed
    assert found["counts"] == (() if listed is None else tuple(values.count(value) for value in listed))


def test_numbers_declared_categorical_are_listed() -> None:
    found = profile("i64", np.array([3, 1]), np.array([3]), categorical=True)
    assert (found["values"], found["counts"], found["edges"]) == ((1, 3), (1, 2), ())
    many = profile("i64", np.arange(FEW_CATEGORIES + 1), categorical=True)
    assert many["values"] is None
    assert len(many["counts"]) == BINS


def test_negative_zero_is_zero() -> None:
    found = profile("f64", np.array([-0.0]))
    assert str(found["min"]) == str(found["edges"][0]) == "0.0"
