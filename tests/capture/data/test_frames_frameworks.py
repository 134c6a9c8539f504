"""One table has one digest, from pandas, polars, pyarrow, Parquet, Feather or Hugging Face, by Arrow or by numpy alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifpdb.capture.data import arrays, arrow, files, frames
from ifpdb.capture.data.dataset import describe, hash_data
from ifpdb.capture.data.description import Description
from ifpdb.capture.data.digesting import Digesting
from ifpdb.capture.data.values import digest
from ifpdb.errors import UsageError

pytestmark = pytest.mark.frameworks
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

ROWS = 70_000


@pytest.fixture(scope="module")
def frame() -> Any:
    """Columns of every plain type, with nulls, longer than a leaf."""
    draw = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "amount": draw.gamma(2, 50, ROWS),
            "small": draw.normal(size=ROWS).astype("f4"),
            "age": draw.integers(18, 90, ROWS).astype("i4"),
            "merchant": draw.choice(["amazon", "ébay", "店", ""], ROWS),
            "flag": draw.random(ROWS) > 0.5,
            "at": pd.Timestamp("2025-01-01") + pd.to_timedelta(draw.integers(0, 10**7, ROWS), unit="s"),
            "kind": pd.Categorical(draw.choice(list("abc"), ROWS)),
            "items": pd.array(draw.integers(0, 5, ROWS), dtype="Int64"),
        }
    )
    made["at_utc"] = made["at"].dt.tz_localize("UTC")
    made.loc[::7, "amount"] = np.nan
    made.loc[3, "amount"] = -0.0
    made.loc[::11, "items"] = pd.NA
    made.loc[::13, "merchant"] = None
    made.loc[::17, "at"] = pd.NaT
    made.loc[::19, "kind"] = None
    return made


@pytest.fixture(scope="module")
def expected(frame: Any) -> str:
    return hash_data(frame)


SAME: dict[str, Callable[[Any], Any]] = {
    "arrow": lambda f: pa.Table.from_pandas(f, preserve_index=False),
    "batch": lambda f: pa.Table.from_pandas(f, preserve_index=False).combine_chunks().to_batches()[0],
    "polars": pl.from_pandas,
    "lazy": lambda f: pl.from_pandas(f).lazy(),
    "chunks": lambda f: pl.concat([pl.from_pandas(f[a:b]) for a, b in ((0, 1), (1, 65_536), (65_536, ROWS))], rechunk=False),
    "row labels": lambda f: f.set_axis(np.random.default_rng(1).permutation(len(f))),
    "objects": lambda f: f.assign(merchant=f.merchant.astype(object)),
    "arrow strings": lambda f: f.assign(merchant=f.merchant.astype("string[pyarrow]")),
    "arrow dtypes": lambda f: f.convert_dtypes(dtype_backend="pyarrow").assign(
        age=f.age, amount=f.amount, small=f.small, kind=f.kind
    ),
    "other categories": lambda f: f.assign(kind=f.kind.cat.reorder_categories(list("cba"))),
    "plain text": lambda f: f.assign(kind=f.kind.astype("str").where(f.kind.notna(), None)),
    "seconds": lambda f: f.assign(at=f["at"].astype("datetime64[s]")),
    "another zone": lambda f: f.assign(at_utc=f.at_utc.dt.tz_convert("Asia/Tokyo")),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_table_has_one_digest_in_every_library(frame: Any, expected: str, name: str) -> None:
    assert hash_data(SAME[name](frame)) == expected


def test_hugging_faces_datasets_are_the_tables_they_hold(frame: Any, expected: str) -> None:
    datasets = pytest.importorskip("datasets")
    assert hash_data(datasets.Dataset.from_pandas(frame, preserve_index=False)) == expected
    with pytest.raises(UsageError, match=r"data\['train'\]"):
        hash_data(datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}))


FILES: dict[str, Callable[[Any, Path], Any]] = {
    "t.parquet": lambda f, path: f.to_parquet(path),
    "groups.parquet": lambda f, path: f.to_parquet(path, row_group_size=1000),
    "labels.pq": lambda f, path: f.set_index(f.age.rename("label")).to_parquet(path),
    "zstd.parquet": lambda f, path: pq.write_table(pa.Table.from_pandas(f), path, compression="zstd", version="1.0"),
    "t.feather": lambda f, path: f.to_feather(path),
    "t.arrow": lambda f, path: feather.write_feather(f, path, compression="uncompressed"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_table_in_it(frame: Any, expected: str, folder: Path, name: str) -> None:
    FILES[name](frame, folder / name)
    found, told = describe(name), describe(frame)
    assert (found.digest, found.rows, found.kind) == (expected, ROWS, "table")
    assert found.prefixes == told.prefixes
    assert found.columns == told.columns, "profiles too"


@pytest.mark.parametrize("library", [lambda f: f, pl.from_pandas], ids=["pandas", "polars"])
def test_without_arrow_the_digest_is_the_same(frame: Any, expected: str, library: Callable[[Any], Any]) -> None:
    described = Description(role="train", name=None, profile=False)
    described.add_leaves(*frames.narwhals(library(frame)))
    assert described.finish().digest == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[::-1],
        lambda f: f[f.columns[::-1]],
        lambda f: f.rename(columns={"age": "Age"}),
        lambda f: f.astype({"age": "i8"}),
        lambda f: f.assign(age=f.age + (np.arange(len(f)) == 66_000)),
        lambda f: f.assign(merchant=f.merchant.where(f.index != 1, None)),
        lambda f: f.assign(merchant=f.merchant.fillna("")),
        lambda f: f.assign(at=f.at_utc),
        lambda f: f[1:],
    ],
    ids=["rows", "columns", "a name", "a type", "a value", "a null", "no nulls", "a zone", "a row less"],
)
def test_what_differs_differs(frame: Any, expected: str, change: Callable[[Any], Any]) -> None:
    assert hash_data(change(frame)) != expected


def test_arrays_and_frames_of_numbers_are_one() -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 3))
    named = pd.DataFrame(numbers, columns=["x0", "x1", "x2"])
    assert hash_data(named) == hash_data(numbers) == hash_data(pl.from_pandas(named))
    assert hash_data(pd.Series(numbers[:, 0])) == hash_data(numbers[:, 0]) == hash_data(pl.Series(numbers[:, 0]))
    assert hash_data(pd.Series(numbers[:, 0], name="y")) != hash_data(numbers[:, 0])


VECTORS = [[1.0, 2.0], [3.0, 4.0], [0.0, float("nan")]]


def test_vectors_are_one_in_arrow_polars_and_numpy() -> None:
    array = np.array(VECTORS, "f4")
    arrow = pa.table({"x0": pa.array(VECTORS, pa.list_(pa.float32(), 2))})
    whole = pa.concat_tables([arrow.slice(1), arrow])
    assert hash_data(arrow) == hash_data(whole.slice(2)) == hash_data(pl.DataFrame({"x0": array}))
    assert describe(arrow).columns[0].type == "f32[2]"


NESTED = {
    "lists": [[1, 2], None, [], [3]],
    "places": [{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}, {"x": 2, "y": None}],
    "deep": [[{"x": 1}], [], None, [{"x": 2}, {"x": None}]],
    "prices": [Decimal("1.50"), None, Decimal("-2.25"), Decimal("0.00")],
    "days": [date(2025, 1, 1), None, date(1969, 12, 31), date(2025, 2, 1)],
    "times": [datetime(2025, 1, 1, tzinfo=UTC), None, datetime(1969, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)],
}


def test_nested_columns_are_one_however_they_are_cut() -> None:
    table = pa.table(NESTED)
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1, 1), table.slice(2)])
    padded = pa.concat_tables([table, table]).slice(4)
    assert len({hash_data(one) for one in (table, cut, padded, pl.from_arrow(table))}) == 1


def test_booleans_are_read_at_their_bit() -> None:
    bits = pa.array([True, False, True, None, False, True, True])
    assert hash_data(pa.table({"a": bits.slice(3)})) == hash_data(pa.table({"a": pa.array(bits.slice(3).to_pylist())}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: pd.DataFrame({"a": [1, "x", 2.5]}), r"column 'a' mixes int \(row 0\) and str \(row 1\)"),
        (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
        (lambda: pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns are called '1'"),
        (lambda: pd.DataFrame({"a": []}), "no rows"),
        (lambda: pd.DataFrame(index=[1, 2]), "no columns"),
        (lambda: pd.DataFrame({"a": [1 + 2j]}), "complex"),
        (lambda: pd.DataFrame({"a": [object()]}), "column 'a' holds a object in row 0"),
        (lambda: pl.DataFrame({"a": [object()]}), "a"),
        (lambda: pl.DataFrame(), "no columns"),
        (lambda: pa.table({"a": pa.nulls(0)}), "no rows"),
        (lambda: pa.RecordBatchReader.from_batches(pa.schema([]), []), "only once"),
    ],
)
def test_what_has_no_digest_names_the_column(data: Callable[[], Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        hash_data(data())


@pytest.mark.parametrize(
    "column",
    [
        pd.period_range("2025-01", periods=2, freq="M"),
        pd.interval_range(0, 2),
        pd.arrays.SparseArray([0.0, 1.0]),
        pd.Series([1, 2], dtype="timedelta64[ns]"),
        pd.Series([Decimal("1.5"), None]),
        pd.Series([[1], [2, 3]]),
        pd.Series([date(2025, 1, 1), None]),
    ],
    ids=["period", "interval", "sparse", "timedelta", "decimal", "lists", "dates"],
)
def test_odd_columns_have_a_digest_or_a_reason(column: Any) -> None:
    odd = pd.DataFrame({"a": column})
    try:
        assert hash_data(odd) == hash_data(odd.copy())
    except UsageError as error:
        assert "a" in str(error)


def test_a_damaged_parquet_file_is_said_to_be_damaged(frame: Any, folder: Path) -> None:
    frame.to_parquet("t.parquet")
    data = Path("t.parquet").read_bytes()
    Path("t.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"t\.parquet"):
        hash_data("t.parquet")
    Path("fake.parquet").write_bytes(b"no parquet")
    assert describe("fake.parquet").kind == "file"


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from ifpdb.capture.data.dataset import describe
from ifpdb.capture.data.values import digest
from ifpdb.errors import UsageError
try:
    print(describe(sys.argv[1]))
except UsageError as error:
    print(error)
"""


def test_parquet_without_pyarrow_is_refused_and_never_another_digest(frame: Any, folder: Path) -> None:
    frame[:10].to_parquet("t.parquet")
    said = subprocess.run([sys.executable, "-c", WITHOUT, "t.parquet"], capture_output=True, text=True, check=True).stdout
    assert "pip install 'ifpdb[data]'" in said


def test_a_parquet_file_is_read_a_group_at_a_time(folder: Path) -> None:
    group = pa.table({"a": np.random.default_rng(0).normal(size=1_000_000)})
    with pq.ParquetWriter("t.parquet", group.schema) as writer:
        for _ in range(10):
            writer.write_table(group)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    peaks: list[int] = []
    take = Digesting._take

    def watched(self: Digesting, leaf: Any) -> None:
        peaks.append(pool.bytes_allocated() - before)
        take(self, leaf)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digesting, "_take", watched)
        assert describe("t.parquet").rows == 10_000_000
    assert max(peaks) < 3 * group.nbytes, "of ten groups"


CELLS = st.text(max_size=6) | st.integers().map(str) | st.floats().map(repr) | st.sampled_from(["", "NA", "True", "007", "1e5"])
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TABLES)
def test_arrow_and_python_read_csv_alike(folder: Path, rows: list[list[str]]) -> None:
    import csv

    path = Path("t.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[f"c{i}" for i in range(len(rows[0]))], *rows])
    by_python = describe(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ARROW_FROM", 0)
        assert describe(path) == by_python


def test_pandas_reads_the_same_from_csv_where_its_rules_agree(folder: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.1, None], "c": ["x", "ü, y"], "d": [True, False]})
    frame.to_csv("t.csv", index=False)
    assert hash_data("t.csv") == hash_data(pd.read_csv("t.csv")) == hash_data(frame)


CATEGORIES: dict[str, tuple[Any, list[Any]]] = {
    "texts": (["a", "ü"], ["ü", None, "a"]),
    "all null": (["a"], [None, None]),
    "no categories": ([], [None]),
    "small integers": (np.array([1, 2], "i1"), [2, None, 1]),
    "small floats": (np.array([1, 2], "f4"), [2, None]),
    "booleans": ([True, False], [False, None]),
    "times": (pd.to_datetime(["2025-01-01"]), [None, pd.Timestamp("2025-01-01")]),
    "a leaf of nulls": (["a"], [None] * 65_536 + ["a"]),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories_are_the_values_that_they_stand_for(name: str) -> None:
    categories, values = CATEGORIES[name]
    frame = pd.DataFrame({"a": pd.Categorical(values, categories=categories)})
    assert hash_data(frame) == hash_data(pa.Table.from_pandas(frame))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.Series([None, None], dtype="str")}),
        pd.DataFrame({"a": pd.Series([None, None], dtype="string")}),
        pl.DataFrame({"a": pl.Series([None, None], dtype=pl.String)}),
        pl.DataFrame({"a": pl.Series([None, None], dtype=pl.Binary)}),
    ],
    ids=["pandas str", "pandas string", "polars texts", "polars bytes"],
)
def test_a_column_of_nulls_has_its_type_without_arrow(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    by_arrow = hash_data(frame)
    monkeypatch.setattr(frames, "available", lambda package: False)
    assert hash_data(frame) == by_arrow


def test_a_null_in_a_vector_is_not_hidden_by_a_null_row() -> None:
    parts = pa.array([7, 7, 1, None])
    hidden = pa.FixedSizeListArray.from_arrays(parts, 2, mask=pa.array([True, False]))
    with pytest.raises(UsageError, match="nulls inside"):
        hash_data(pa.table({"a": hidden}))
    behind = pa.FixedSizeListArray.from_arrays(pa.array([None, 7, 1, 0]), 2, mask=pa.array([True, False]))
    assert hash_data(pa.table({"a": behind})) == hash_data(pa.table({"a": pa.array([None, [1, 0]], behind.type)}))


def test_fixed_lists_of_dates_are_lists() -> None:
    days = pa.table({"a": pa.array([[1, 2]], pa.list_(pa.date32(), 2))})
    assert describe(days).columns[0].type == "list[date]"
    assert hash_data(days) == hash_data(pa.table({"a": pa.array([[1, 2]], pa.list_(pa.date32()))}))


@pytest.mark.parametrize("name", ["b", "a}", "]", ",", '"', "ü"])
def test_a_field_of_a_struct_may_have_any_name(name: str) -> None:
    inner = pa.struct([(name, pa.int64()), ("z", pa.string())])
    table = pa.table({"s": pa.array([{"p": {name: 1, "z": "x"}, "q": 2}], pa.struct([("p", inner), ("q", pa.int64())]))})
    other = pa.table({"s": pa.array([{"p": {name: 1, "z": "x"}, "q": 3}], table.schema.field("s").type)})
    assert hash_data(table) != hash_data(other)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_a_file_with_a_changed_byte_is_read_or_refused(folder: Path, name: str) -> None:
    FILES[name](pd.DataFrame({"a": range(50), "b": list("abcde") * 10}), folder / name)
    data = Path(name).read_bytes()
    refused = 0
    for at in np.random.default_rng(0).integers(8, len(data), 300):
        Path(name).write_bytes(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        try:
            describe(name, profile=False)
        except UsageError:
            refused += 1
    assert refused, "nothing was damaged"


def test_a_streamed_dataset_of_hugging_face_is_refused() -> None:
    datasets = pytest.importorskip("datasets")
    with pytest.raises(UsageError, match="without streaming"):
        hash_data(datasets.Dataset.from_dict({"a": [1]}).to_iterable_dataset())


def test_matrices_are_one_in_arrow_polars_and_numpy() -> None:
    array = np.arange(12, dtype="f4").reshape(2, 2, 3)
    arrow = pa.table({"x0": pa.array(array.tolist(), pa.list_(pa.list_(pa.float32(), 3), 2))})
    assert hash_data(array) == hash_data(arrow) == hash_data(pl.DataFrame({"x0": array}))
    assert describe(arrow).columns[0].type == "f32[2,3]"
    inner = pa.array([None, [[1.0, 2.0, 3.0], None]], arrow.schema.field("x0").type)
    with pytest.raises(UsageError, match="nulls inside"):
        hash_data(pa.table({"x0": inner}))


@pytest.mark.parametrize("text", ["0.0000001", "-0.0000001", "0.0000000", "12345678901.0000000"])
def test_a_decimal_has_all_its_digits_and_no_exponent(text: str) -> None:
    column = pa.array([Decimal(text), None], pa.decimal128(38, 7))
    expected = arrays.texts([text, None])
    assert digest("decimal[7]", arrow.values(column, "decimal[7]")) == digest("decimal[7]", expected)


def test_row_labels_are_no_column_in_an_arrow_table_either(folder: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}, index=pd.Index([5, 3], name="id"))
    frame.to_parquet("t.parquet")
    same = [frame, "t.parquet", pq.read_table("t.parquet"), pa.Table.from_pandas(frame)]
    assert len(set(map(hash_data, same))) == 1
