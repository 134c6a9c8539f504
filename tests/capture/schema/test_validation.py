"""Batches held against a schema: each way of breaking it, with its position and values; good ones pass, and fast."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture.data import dataset
from ifpdb.capture.schema.features import Feature, FeatureSchema, make_schema
from ifpdb.capture.schema.inference import infer_schema
from ifpdb.capture.schema.validation import Problem
from ifpdb.errors import UsageError


def schema_of(*features: dict[str, Any]) -> FeatureSchema:
    return make_schema(Feature(i, **given) for i, given in enumerate(features))


AMOUNT = {"name": "amount", "type": "number", "nullable": False, "min": 0.0, "max": 10.0}
AGE = {"name": "age", "type": "integer", "nullable": True, "min": 18, "max": 90}
COUNTRY = {"name": "country", "type": "category", "nullable": False, "categories": ("DE", "FR")}
SCHEMA = schema_of(AMOUNT, AGE, COUNTRY)
GOOD = {"amount": [1.5, 10.0], "age": [18, None], "country": ["DE", "FR"]}


def codes(schema: FeatureSchema, batch: Any) -> list[tuple[str, str]]:
    return [(problem.code, problem.feature) for problem in schema.validate(batch).problems]


def only(schema: FeatureSchema, batch: Any) -> Problem:
    (problem,) = schema.validate(batch).problems
    return problem


def test_a_good_batch_is_true() -> None:
    found = SCHEMA.validate(GOOD)
    assert found
    assert found.as_dict() == {"ok": True, "problems": []}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"extra": [1, 2]}, Problem("extra", "extra", "position 3: 'extra' was not in training")),
        ({"amount": None}, Problem("missing", "amount", "position 0: 'amount' (number) is not in the batch")),
        ({"amount": [1, "x"]}, Problem("type", "amount", "position 0, row 1: 'x' is no number")),
        ({"amount": [True, 1]}, Problem("type", "amount", "position 0, row 0: True is no number")),
        ({"age": [20, 20.5]}, Problem("type", "age", "position 1, row 1: 20.5 is no integer")),
        ({"country": ["DE", 7]}, Problem("type", "country", "position 2, row 1: 7 is no category")),
        ({"amount": [1, None]}, Problem("null", "amount", "position 0, row 1: a null, and there was none in training")),
        (
            {"amount": [-1, 11.5]},
            Problem("range", "amount", "position 0, row 0: -1, 11.5 not in [0.0, 10.0], the range in training; 2 rows"),
        ),
        (
            {"country": ["DE", "XX"]},
            Problem("category", "country", "position 2, row 1: 'XX' not seen in training, which had 'DE', 'FR'"),
        ),
    ],
)
def test_each_break_is_told_with_its_position_and_values(changed: dict[str, Any], problem: Problem) -> None:
    batch = {name: values for name, values in (GOOD | changed).items() if values is not None}
    found = SCHEMA.validate(batch)
    assert not found
    assert found.problems == (problem,)
    assert found.as_dict() == {"ok": False, "problems": [problem.as_dict()]}


def test_a_permuted_table_is_out_of_order_and_align_repairs_it() -> None:
    permuted = {"extra": [0, 0], **{name: GOOD[name] for name in ("age", "country", "amount")}}
    problem = SCHEMA.validate(permuted).problems[1]
    assert problem == Problem("order", "age", "position 0: got age, trained with amount; align(batch) fixes this")
    aligned = SCHEMA.align(permuted)
    assert list(aligned) == list(SCHEMA.names)
    assert SCHEMA.validate(aligned)


def test_rows_that_name_their_values_have_no_order() -> None:
    row = {"country": "DE", "age": 20, "amount": 1}
    assert SCHEMA.validate(row)
    assert SCHEMA.validate([row, row])
    assert list(SCHEMA.align(row)) == list(SCHEMA.align([row])[0]) == list(SCHEMA.names)


def test_a_row_that_lacks_a_value_has_a_null_there() -> None:
    assert codes(SCHEMA, [{"country": "DE", "age": 20, "amount": 1}, {"country": "DE"}]) == [("null", "amount")]
    assert codes(SCHEMA, {"country": "DE"}) == [("missing", "amount"), ("missing", "age")]


def test_align_names_what_is_missing() -> None:
    with pytest.raises(UsageError, match="lacks 'age', 'country'"):
        SCHEMA.align({"amount": [1]})
    with pytest.raises(UsageError, match="by position"):
        SCHEMA.align(np.ones((1, 3)))


NUMBERS = schema_of(AMOUNT, AGE | {"nullable": False}, {"name": "new", "type": "boolean", "nullable": True})


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (np.array([1.0, 18.0, np.nan]), []),
        (np.array([[1.0, 18.0, 1.0], [10.0, 90.0, 0.0]]), []),
        (np.array([[1, 18, 1]], "i4"), []),
        (np.array([[1, 18, 1]], "f2"), []),
        ([[1, 18, True]], []),
        ([1, 18, None], []),
        (scipy.sparse.csr_matrix(np.array([[0.0, 18.0, 1.0]])), []),
        (np.array([[1.0, 18.5, 0.0]]), [("type", "age")]),
        (np.array([[np.nan, np.inf, 2.0]]), [("null", "amount"), ("type", "age"), ("type", "new")]),
        (np.array([[-1.0, 17.0, 0.0]]), [("range", "amount"), ("range", "age")]),
        (scipy.sparse.csc_matrix(np.array([[0.0, 0.0, 1.0]])), [("range", "age")]),
        (np.array([["a", "b", "c"]]), [("type", "amount"), ("type", "age"), ("type", "new")]),
        (np.array([[1.0, 18.0]]), [("missing", "new")]),
        (np.array([[1.0, 18.0, 1.0, 0.0]]), [("extra", "x3")]),
        (np.array([(18, 1.0)], [("age", "i4"), ("amount", "f8")]), [("missing", "new"), ("order", "age")]),
        (np.empty((0, 3)), []),
        ([], []),
    ],
)
def test_arrays_are_taken_by_position(batch: Any, found: list[tuple[str, str]]) -> None:
    assert codes(NUMBERS, batch) == found


@pytest.mark.parametrize(
    "batch", [5, 1.5, "data.csv", None, b"x", {1, 2}, iter([]), (i for i in range(3)), np.array(7), object]
)
def test_what_is_no_batch_is_refused(batch: Any) -> None:
    with pytest.raises(UsageError, match="batch"):
        NUMBERS.validate(batch)


def test_rows_of_different_lengths_are_no_batch() -> None:
    with pytest.raises(UsageError, match="differ in length"):
        NUMBERS.validate([[1, 2, 3], [1]])


def test_limits_have_the_precision_of_the_batch() -> None:
    exact = schema_of({"name": "a", "type": "number", "min": 0.1, "max": 0.1}, {"name": "b", "type": "number"})
    assert exact.validate(np.array([[0.1, 0]], "f4"))
    assert not exact.validate(np.array([[0.1 + 1e-9, 0]], "f8"))


def test_a_feature_without_limits_takes_any_number() -> None:
    free = schema_of({"name": "a", "type": "number"}, {"name": "b", "type": "integer"})
    assert free.validate(np.array([[np.inf, 1e300]]))
    assert free.validate({"a": -1e300, "b": 2**70})


MOMENT = "2025-01-02T03:04:05.000000006Z"
TIMES = schema_of(
    {"name": "at", "type": "timestamp", "nullable": False, "min": "2025-01-01T00:00:00.000000000Z", "max": MOMENT},
    {"name": "day", "type": "date", "nullable": True, "min": "2025-01-01", "max": "2025-01-31"},
    {"name": "took", "type": "number", "nullable": True, "min": 0.0, "max": 60.0},
)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([np.datetime64("2025-01-02T03:04:05.000000006"), np.datetime64("2025-01-31"), np.timedelta64(60, "s")], []),
        ([datetime(2025, 1, 2, tzinfo=UTC), date(2025, 1, 1), timedelta(minutes=1)], []),
        ([MOMENT, "2025-01-31", Decimal("1.5")], []),
        (["2025-01-01T01:00:00+01:00", None, None], []),
        ([np.datetime64("NaT"), np.datetime64("NaT"), float("nan")], ["null"]),
        ([np.datetime64("2025-01-02T03:04:05.000000007"), np.datetime64("2025-02-01"), np.timedelta64(2, "m")], ["range"] * 3),
        (["yesterday", "2025-01-01T01:00:00", "1"], ["type"] * 3),
        ([20_000, np.datetime64("2025-01-01T01"), True], ["type"] * 3),
    ],
)
def test_times_are_compared_as_instants(row: list[Any], found: list[str]) -> None:
    assert [code for code, _ in codes(TIMES, dict(zip(TIMES.names, row, strict=True)))] == found
    columns = {
        name: np.array([value]) if isinstance(value, np.generic) else [value]
        for name, value in zip(TIMES.names, row, strict=True)
    }
    assert [code for code, _ in codes(TIMES, columns)] == found


IMAGE = schema_of({"name": "x0", "type": "tensor", "nullable": False, "min": 0, "max": 1, "dtype": "float32", "shape": (2, 2)})


@pytest.mark.parametrize(
    ("batch", "detail"),
    [
        (np.ones((3, 2, 2), "f4"), None),
        (np.ones((3, 2, 2), "f8"), None),
        ({"x0": [[[0, 1], [1, 0.5]]]}, None),
        (np.ones((3, 2, 2), "u1"), "position 0, row 0: 'uint8 (2, 2)' is no float32 of shape (2, 2); 3 rows"),
        (np.ones((3, 3, 2), "f4"), "position 0, row 0: 'float32 (3, 2)' is no float32 of shape (2, 2); 3 rows"),
        (np.full((3, 2, 2), 7, "f4"), "position 0, row 0: 7.0 not in [0, 1], the range in training; 3 rows"),
    ],
)
def test_tensors_have_a_kind_of_dtype_a_shape_and_a_range(batch: Any, detail: str | None) -> None:
    assert [problem.detail for problem in IMAGE.validate(batch).problems] == ([] if detail is None else [detail])


def test_a_sparse_batch_is_one_tensor() -> None:
    schema = schema_of({"name": "x0", "type": "tensor", "min": 0, "max": 2, "dtype": "float64", "shape": (4,)})
    assert schema.validate(scipy.sparse.csr_matrix(np.eye(4)))
    assert only(schema, scipy.sparse.csr_matrix(np.eye(4) * 3)).detail.startswith("position 0, row 0: 3.0 not in [0, 2]")
    assert only(schema, scipy.sparse.csr_matrix(np.eye(5))).code == "type"


def test_batches_that_are_one_have_rows_that_count_through() -> None:
    from ifpdb.capture.schema.validation import Validator

    def blocks() -> Iterator[tuple[int, Any]]:
        yield 2, GOOD
        yield 2, GOOD | {"country": ["DE", "XX"], "z": [0, 0]}
        yield 2, GOOD | {"country": ["YY", "XX"], "z": [0, 0]}

    extra, category = Validator(SCHEMA).validate_blocks(blocks()).problems
    assert extra.code == "extra"
    assert category.detail == "position 2, row 3: 'XX', 'YY' not seen in training, which had 'DE', 'FR'; 3 rows"


def test_a_schema_stays_what_it_is_once_it_was_used() -> None:
    fresh, used = make_schema(SCHEMA.features), make_schema(SCHEMA.features)
    used.validate(GOOD)
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert repr(used) == repr(fresh)
    assert pickle.loads(pickle.dumps(used)).validate(GOOD)
    assert copy.deepcopy(used).validate(GOOD)


NAMES = st.sampled_from("abcd")
COLUMN = st.one_of(
    st.lists(st.floats(), min_size=4, max_size=4).map(np.array),
    st.lists(st.integers(-(2**60), 2**60), min_size=4, max_size=4).map(np.array),
    st.lists(st.booleans(), min_size=4, max_size=4).map(np.array),
    st.lists(st.integers(-(2**62), 2**62), min_size=4, max_size=4).map(lambda counts: np.array(counts, "M8[ns]")),
    st.lists(st.sampled_from(["x", "y", ""]), min_size=4, max_size=4).map(lambda texts: np.array(texts, "U1")),
)


@given(st.dictionaries(NAMES, COLUMN, min_size=1))
def test_a_batch_validates_against_the_schema_inferred_from_it(columns: dict[str, Any]) -> None:
    table = np.zeros(4, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    described = [dataset.describe(table[[name]]).columns[0] for name in columns]
    schema = infer_schema([replace(column, position=i) for i, column in enumerate(described)])
    for batch in (table, dict(columns), [{name: row[name] for name in columns} for row in table]):
        assert schema.validate(batch).problems == ()
    assert schema.validate(schema.align(table[list(reversed(list(columns)))]))
