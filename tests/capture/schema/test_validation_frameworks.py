"""The same answers from pandas, polars, pyarrow and numpy, and schemas that Frictionless understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifpdb.capture.data import dataset
from ifpdb.capture.schema.datafile import validate_file
from ifpdb.capture.schema.features import Feature, FeatureSchema, make_schema
from ifpdb.capture.schema.inference import infer_schema
from ifpdb.errors import UsageError

pytestmark = pytest.mark.frameworks
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

FEATURES = [
    Feature(0, "amount", "number", False, 0.0, 10.0),
    Feature(1, "age", "integer", True, 18, 90),
    Feature(2, "known", "boolean", True),
    Feature(3, "country", "category", True, categories=("DE", "FR")),
    Feature(4, "at", "timestamp", True, "2025-01-01T00:00:00.000000000Z", "2025-12-31T00:00:00.000000000Z"),
]
SCHEMA = make_schema(FEATURES)
VALUES = {
    "amount": st.sampled_from([0.5, 9.5, 11.5, None]),
    "age": st.sampled_from([18, 90, 91, None]),
    "known": st.sampled_from([True, False, None]),
    "country": st.sampled_from(["DE", "FR", "XX", "YY", None]),
    "at": st.sampled_from([np.datetime64("2025-06-01", "us"), np.datetime64("2026-01-01", "us"), None]),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=4)
TYPES = {"amount": pl.Float64, "age": pl.Int64, "known": pl.Boolean, "country": pl.String, "at": pl.Datetime("us")}


def tables(rows: list[dict[str, Any]], names: list[str]) -> list[Any]:
    plain = [{name: row[name].item() if name == "at" and row[name] else row[name] for name in names} for row in rows]
    polars = pl.DataFrame(plain, schema={name: TYPES[name] for name in names})
    pandas = pd.DataFrame({name: [row[name] for row in plain] for name in names})
    nullable = pandas.convert_dtypes()
    typed = pandas.assign(country=pd.Categorical(pandas["country"]), at=pd.to_datetime(pandas["at"]))
    arrow = polars.to_arrow()
    columns = {name: [row[name] for row in rows] for name in names}
    return [polars, arrow, pandas, nullable, typed, columns, polars.with_columns(pl.col("country").cast(pl.Categorical))]


@settings(deadline=None)  # the first to come imports a library
@given(ROWS, st.permutations(list(VALUES)))
def test_every_library_gives_the_same_answer(rows: list[dict[str, Any]], names: list[str]) -> None:
    batches = tables(rows, names)
    found = [SCHEMA.validate(batch) for batch in batches]
    expected = [(problem.code, problem.feature) for problem in found[0].problems]
    for one in found:
        assert [(problem.code, problem.feature) for problem in one.problems] == expected
    details = {tuple(problem.detail for problem in one.problems if problem.feature not in ("at", "age")) for one in found}
    assert len(details) == 1
    assert ("order" in dict(expected)) == (names != list(VALUES))
    for batch in batches:
        aligned = SCHEMA.align(batch)
        assert type(aligned) is type(batch)
        assert [(p.code, p.feature) for p in SCHEMA.validate(aligned).problems] == [
            one for one in expected if one[0] != "order"
        ]


NUMBERS = make_schema(Feature(i, f"x{i}", "number", False, -1.0, 1.0) for i in range(3))


@settings(deadline=None)  # the first to come imports a library
@given(
    st.lists(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, float("nan")]), min_size=3, max_size=3), min_size=1, max_size=80)
)
def test_numbers_give_the_same_details_from_every_library(rows: list[list[float]]) -> None:
    matrix = np.array(rows)
    torch = pytest.importorskip("torch")
    frame = pd.DataFrame(matrix, columns=NUMBERS.names)
    batches = [matrix, frame, pl.from_numpy(matrix, list(NUMBERS.names)), pa.Table.from_pandas(frame), torch.from_numpy(matrix)]
    assert len({NUMBERS.validate(batch) for batch in batches}) == 1


def test_a_name_that_stands_twice_is_one_too_many() -> None:
    frame = pd.DataFrame([[0.0, 0.5, 1.0, 1.0]], columns=["x0", "x1", "x2", "x1"])
    assert [(p.code, p.feature) for p in NUMBERS.validate(frame).problems] == [("extra", "x1")]
    assert NUMBERS.validate(NUMBERS.align(frame))


def test_one_row_of_a_frame_is_a_batch() -> None:
    frame = pd.DataFrame([[0.0, 0.5, 1.0]], columns=NUMBERS.names)
    assert NUMBERS.validate(frame.iloc[0])
    assert NUMBERS.validate({"x0": frame["x0"], "x1": pl.Series([0.5]), "x2": pa.array([1.0])})
    assert NUMBERS.validate(pa.RecordBatch.from_pandas(frame))


def test_a_lazy_frame_is_refused_with_the_way_on() -> None:
    with pytest.raises(UsageError, match="collect"):
        NUMBERS.validate(pl.LazyFrame({"x0": [1.0]}))


def test_tensors_of_torch_are_judged_like_arrays() -> None:
    torch = pytest.importorskip("torch")
    schema = make_schema([Feature(0, "x0", "tensor", False, 0.0, 1.0, dtype="float32", shape=(3, 4))])
    assert schema.validate(torch.ones(2, 3, 4))
    assert schema.validate(torch.ones(2, 3, 4, dtype=torch.bfloat16))
    assert [p.code for p in schema.validate(torch.ones(2, 4, 3)).problems] == ["type"]
    assert [p.code for p in schema.validate(torch.ones(2, 3, 4, dtype=torch.int64)).problems] == ["type"]


@pytest.mark.parametrize("columns", [[[1, 2], [3]], [[1, 2], None]])
def test_a_column_of_lists_is_a_tensor_of_any_length(columns: list[Any]) -> None:
    schema = make_schema([Feature(0, "a", "tensor", True, dtype="int64", shape=(None,)), Feature(1, "b", "number")])
    for frame in (pl.DataFrame({"a": columns, "b": [1, 2]}), pa.table({"a": columns, "b": [1, 2]})):
        assert schema.validate(frame)
    assert [p.code for p in schema.validate({"a": [["x"], [1.5]], "b": [1, 2]}).problems] == ["type"]


def frictionless_says(schema: FeatureSchema, row: dict[str, Any]) -> bool:
    frictionless = pytest.importorskip("frictionless")
    resource = frictionless.Resource(
        data=[list(row), list(row.values())], schema=frictionless.Schema.from_descriptor(schema.to_frictionless())
    )
    return bool(resource.validate().valid)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"amount": 11.0},
        {"amount": None},
        {"age": 17},
        {"age": None},
        {"country": "XX"},
        {"country": None},
        {"day": "2026-01-01"},
    ],
)
def test_frictionless_judges_as_validate_does(changed: dict[str, Any]) -> None:
    schema = make_schema([*FEATURES[:4], Feature(4, "day", "date", False, "2025-01-01", "2025-12-31")])
    row = {"amount": 1.5, "age": 20, "known": True, "country": "DE", "day": "2025-06-01"} | changed
    assert frictionless_says(schema, row) == bool(schema.validate(row))


@pytest.mark.filterwarnings("ignore")
def test_every_type_is_one_that_frictionless_knows() -> None:
    frictionless = pytest.importorskip("frictionless")
    tensor = Feature(5, "image", "tensor", True, 0, 1, dtype="float32", shape=(2, 2))
    document = make_schema([*FEATURES, tensor]).to_frictionless()
    assert frictionless.Schema.from_descriptor(document).field_names == [field["name"] for field in document["fields"]]
    assert not list(frictionless.Schema.metadata_validate(document))


def test_pandas_takes_the_dtypes() -> None:
    frame = pd.DataFrame({"amount": [1.0], "age": [None], "known": [None], "country": ["DE"], "at": [None]})
    assert SCHEMA.dtypes() == {
        "amount": "float64",
        "age": "Int64",
        "known": "boolean",
        "country": "category",
        "at": "datetime64[ns, UTC]",
    }
    assert SCHEMA.validate(frame.astype(SCHEMA.dtypes()))


def test_what_polars_and_parquet_hold_validates_against_its_own_schema(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "lists": [[1, 2], [3], None],
            "bytes": [b"x", None, b""],
            "nothing": [None, None, None],
            "day": pl.Series([1, 2, None]).cast(pl.Date),
            "hour": pl.Series([10**9, 2 * 10**9, None]).cast(pl.Time),
            "price": pl.Series(["1.5", "2.5", None]).str.to_decimal(scale=1),
            "took": pl.Series([1, None, 3]).cast(pl.Duration("ms")),
            "record": [{"a": 1}, {"a": 2}, None],
            "pair": pl.Series([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=pl.Array(pl.Float64, 2)),
        }
    )
    schema = infer_schema(dataset.describe(frame).columns)
    frame.write_parquet(tmp_path / "frame.parquet")
    assert schema.validate(frame).problems == ()
    assert schema.validate(frame.to_arrow()).problems == ()
    assert validate_file(schema, tmp_path / "frame.parquet").problems == ()
    assert [p.code for p in schema.validate(frame.with_columns(price=-1)).problems] == ["range"]
