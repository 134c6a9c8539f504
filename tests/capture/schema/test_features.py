"""Feature schemas: read from files and records, checked feature by feature, named by their digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture.schema.features import TYPES, Feature, make_schema, read_schema, schema_body, schema_from_body
from ifpdb.errors import UsageError

AMOUNT = {"position": 0, "name": "amount", "type": "number", "nullable": False, "min": 0, "max": 25000, "categories": None}
COUNTRY = {"position": 1, "name": "country", "type": "category", "nullable": True, "categories": ["DE", "FR"]}

DIGEST = "sha256:8e45e75e84bd098f04b3ec3e3fcc0fe602861b8bd8a5b92023f3db50b940ba94"
"""Of AMOUNT and COUNTRY, as the first release had it."""


def one(**changed: Any) -> dict[str, Any]:
    return {"features": [{"name": "a", "type": "number"} | changed]}


def test_a_schema_reads_the_same_from_a_file_a_mapping_and_records(folder: Path) -> None:
    document = {"features": [AMOUNT, COUNTRY]}
    (folder / "schema.json").write_text(json.dumps(document))
    read = read_schema("schema.json")
    assert read.names == ("amount", "country")
    assert read.features[1].categories == ("DE", "FR")
    assert read == read_schema(folder / "schema.json") == read_schema(document) == read_schema([AMOUNT, COUNTRY])
    assert read == read_schema(list(read.features)) == read_schema(read) == read_schema(read.as_dict())


def test_position_is_the_place_in_the_list_where_it_is_not_told() -> None:
    found = read_schema([{"name": "b", "type": "string"}, {"name": "a", "type": "date"}])
    assert [(feature.position, feature.name) for feature in found.features] == [(0, "b"), (1, "a")]


def test_the_digest_follows_positions_and_not_the_order_of_the_file() -> None:
    assert read_schema([COUNTRY, AMOUNT]) == read_schema([AMOUNT, COUNTRY])
    swapped = [AMOUNT | {"position": 1}, COUNTRY | {"position": 0}]
    assert read_schema(swapped).digest != read_schema([AMOUNT, COUNTRY]).digest


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "b"},
        {"type": "integer"},
        {"nullable": False},
        {"min": 0},
        {"max": 1},
        {"categories": ["x"]},
        {"categories": []},
    ],
)
def test_the_digest_follows_each_fact(changed: dict[str, Any]) -> None:
    assert read_schema(one(**changed)).digest != read_schema(one()).digest


@pytest.mark.parametrize("type", TYPES)
def test_each_type_is_one(type: str) -> None:
    assert read_schema(one(type=type)).features[0].type == type


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "write"),
        ({"features": []}, "no features"),
        ({"features": {"a": 1}}, "write"),
        ({"features": [7]}, "feature 0"),
        ({"features": [None]}, "feature 0"),
        ({"features": [AMOUNT], "featurs": []}, "'featurs'"),
        ({"features": [AMOUNT], 7: 1, "x": 2}, "unknown key"),
        (7, "write"),
        (one(kind="x"), "feature 0: kind: is no key"),
        (one(name=""), "feature 0: name"),
        (one(name=7), "feature 0: name"),
        (one(type="float"), "'float' is not one of number"),
        (one(type=None), "feature 0: type"),
        (one(nullable=1), "feature 0: nullable"),
        (one(nullable="no"), "feature 0: nullable"),
        (one(position=1), "positions must run 0, 1, 2"),
        (one(position=-1), "feature 0: position"),
        (one(position="0"), "feature 0: position"),
        (one(min=float("nan")), "feature 0: min"),
        (one(max=float("inf")), "feature 0: max"),
        (one(min=2, max=1), "is not below max"),
        (one(min="a", max=1), "min and max of a number are numbers"),
        (one(type="integer", max="9"), "min and max of a number are numbers"),
        (one(type="timestamp", min="a", max=1), "is not below max"),
        (one(min=True), "feature 0: min"),
        (one(categories="DE"), "feature 0: categories"),
        (one(categories=[None]), "feature 0: categories"),
        (one(min=2**60 + 1), "not JSON"),
        (one(max=10**400), "not JSON"),
        (one(name="\ud800"), "feature 0: name"),
        (one(type="tensor", dtype="float32"), "dtype and shape stand together"),
        (one(type="tensor", shape=[2]), "dtype and shape stand together"),
        (one(dtype="float32", shape=[2]), "dtype and shape stand together"),
        (one(type="tensor", dtype="float32", shape=[-1]), "feature 0: shape"),
        (one(type="tensor", dtype=7, shape=[1]), "feature 0: dtype"),
        ({"features": [AMOUNT, AMOUNT]}, "positions must run"),
        ({"features": [AMOUNT, AMOUNT | {"position": 1}]}, "the name stands twice"),
    ],
)
def test_a_wrong_schema_is_refused_with_what_is_wrong(document: Any, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_schema(document)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"features": [{"name": "a", "type": "number", "min": NaN}]}', "NaN is not JSON"),
        (b"\xff\xfe\xff", "is not UTF-8|is not JSON"),
        (b"[" * 100_000, "nests too deep"),
        (b'{"features": [{"name": "a", "type": "number", "min": 1, "min": 2}]}', "'min' stands twice"),
        (b'{"features": [{"name": "a"}]}', "feature 0: type"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(folder: Path, content: bytes, why: str) -> None:
    (folder / "schema.json").write_bytes(content)
    with pytest.raises(UsageError, match=f"schema.json.*({why})"):
        read_schema("schema.json")


@pytest.mark.parametrize("path", ["missing.json", ".", "x" * 300, "nul\0"])
def test_a_file_that_cannot_be_read_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(UsageError, match=r"there is no schema file|can't be read"):
        read_schema(path)


@pytest.mark.parametrize(("written", "limit"), [(10**16, 1e16), (-(10**20), -1e20), (36028792723996670, 3.602879272399667e16)])
def test_a_great_double_is_the_same_without_its_point(written: int, limit: float) -> None:
    assert read_schema(one(max=written)) == read_schema(one(max=limit))


def test_a_tensor_has_a_dtype_and_a_shape() -> None:
    document = one(type="tensor", dtype="float32", shape=[28, None])
    schema = read_schema(document)
    assert (schema.features[0].dtype, schema.features[0].shape) == ("float32", (28, None))
    assert read_schema(schema.as_dict()) == schema
    assert schema_from_body(schema_body(schema.features).decode(), schema.digest) == schema
    assert schema.digest != read_schema(one(type="tensor", dtype="float32", shape=[28, 28])).digest


def test_a_schema_without_tensors_has_the_digest_it_always_had() -> None:
    assert read_schema([AMOUNT, COUNTRY]).digest == DIGEST


def test_dtypes_hold_what_the_features_are() -> None:
    kinds = [("number", "float64"), ("integer", "Int64"), ("boolean", "boolean"), ("string", "str"), ("category", "category")]
    times = [("timestamp", "datetime64[ns]"), ("date", "datetime64[s]"), ("tensor", "object")]
    schema = read_schema([{"name": type, "type": type} for type, _ in kinds + times])
    assert schema.dtypes() == dict(kinds + times)
    assert read_schema([{"name": "a", "type": "integer", "nullable": False}]).dtypes() == {"a": "int64"}


def test_a_table_schema_has_types_and_constraints() -> None:
    assert read_schema([AMOUNT, COUNTRY]).to_frictionless() == {
        "fields": [
            {"name": "amount", "type": "number", "constraints": {"required": True, "minimum": 0, "maximum": 25000}},
            {"name": "country", "type": "string", "constraints": {"enum": ["DE", "FR"]}},
        ]
    }


NUMBERS = st.none() | st.integers(-(2**50), 2**50) | st.floats(allow_nan=False, allow_infinity=False, width=32)
FEATURES = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.sampled_from(TYPES),
        st.booleans(),
        NUMBERS,
        st.none() | st.lists(st.booleans() | st.text(st.characters(exclude_categories=["Cs"])), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)


@given(FEATURES)
def test_a_schema_comes_back_from_its_body(rows: list[tuple[str, str, bool, Any, Any]]) -> None:
    features = [Feature(i, name, type, null, low, None, values) for i, (name, type, null, low, values) in enumerate(rows)]
    schema = make_schema(features)
    body = schema_body(schema.features).decode()
    assert schema_from_body(body, schema.digest) == schema == read_schema(json.loads(body))
